//! Runs the scenarios of a plan: each begins in its order as soon as the queue lets it, and the sum comes at the end.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow};
use chrono::Utc;
use futures::FutureExt;
use millrace_e2e::catalogue::Entry;
use millrace_e2e::cluster::target;
use millrace_e2e::full_runs::FullRun;
use millrace_e2e::git::Checkout;
use millrace_e2e::minutes::{self, Minutes};
use millrace_e2e::namespace::{remove_shared, text_of};
use millrace_e2e::sets::Kind;
use millrace_e2e::turn::{Run, Turn};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::SCENARIOS;
use crate::plan::{Plan, record};

/// Most store sets of a run that is not the full one, without those of scenarios that only the changes have brought in.
const MOST_SETS: u32 = 12;
/// How long there is where no deadline is given.
const ENDLESS: Duration = Duration::from_secs(7 * 24 * 3600);

/// How far a run is.
#[derive(Default)]
struct Progress {
    /// The scenarios that have begun.
    begun: Vec<Turn>,
    /// What became of those that have ended.
    ended: Vec<Minutes>,
    /// Those that do not run after all, or not to their end, with the reason.
    put_off: BTreeMap<String, String>,
}

/// Takes the lock of the one run at a time: a second one would remove the first one's namespaces as leftovers.
fn alone() -> Result<File> {
    let lock = File::create(target().join("e2e.lock")).context("cannot make the lock of the run")?;
    lock.try_lock()
        .map_err(|_| anyhow!("another run of scenarios is in progress on this cluster; wait for its end"))?;
    Ok(lock)
}

/// Runs what the plan says; returns whether all of it passed. `E2E_DEADLINE`, in seconds since 1970, stops it.
pub fn run(names: &[String]) -> Result<bool> {
    let _alone = alone()?;
    let plan = Plan::make(names)?;
    plan.print();
    let run = Run::new(plan.settings.clone());
    let progress = RefCell::new(Progress::default());
    let scenarios = Builder::new_current_thread().enable_all().build().context("there is no runtime")?;
    let in_time = scenarios.block_on(async { tokio::time::timeout(time_left(), all(&plan, &run, &progress)).await });
    let mut progress = progress.into_inner();
    let is_complete = match in_time {
        Ok(done) => {
            done?;
            true
        }
        // What is being removed goes on without this run.
        Err(_) => cut_off(&run, &plan, &mut progress)?,
    };
    let passed = sum(&run, &plan, &progress)?;
    Ok(passed && is_complete)
}

/// Begins one scenario after the other, and gathers what became of them. Those that can wait are put off where less time
/// is left than they may take.
async fn all(plan: &Plan, run: &Run, progress: &RefCell<Progress>) -> Result<()> {
    for kind in [Kind::One, Kind::Three] {
        remove_shared(run, kind).await?;
    }
    let (told, mut verdicts) = unbounded_channel();
    let begun = async {
        for (name, why) in &plan.selection.run {
            let entry = plan.entry(name)?;
            run.queue.begin(name, &entry.needs).await;
            let left = time_left();
            if entry.begins(*why, left) {
                let turn = begin(run, entry, told.clone())?;
                progress.borrow_mut().begun.push(turn);
            } else {
                run.queue.end(name);
                let reason = format!("{} min were left, and it may take {}", in_minutes(left), in_minutes(entry.time));
                progress.borrow_mut().put_off.insert(name.clone(), format!("{}: {reason}", why.name()));
            }
        }
        drop(told);
        anyhow::Ok(())
    };
    let gathered = async {
        let mut left: BTreeSet<&str> = plan.selection.run.iter().map(|(name, _)| name.as_str()).collect();
        while let Some(minutes) = verdicts.recv().await {
            minutes.record()?;
            left.remove(minutes.name.as_str());
            left.retain(|name| !progress.borrow().put_off.contains_key(*name));
            let shares = |name: &str| plan.entry(name).ok().and_then(|entry| entry.shares);
            let kind = shares(&minutes.name).filter(|kind| left.iter().all(|name| shares(name) != Some(*kind)));
            progress.borrow_mut().ended.push(minutes);
            if let Some(kind) = kind {
                remove_shared(run, kind).await?;
            }
        }
        anyhow::Ok(())
    };
    futures::try_join!(begun, gathered)?;
    // A set that was kept for scenarios that were put off.
    for kind in [Kind::One, Kind::Three] {
        remove_shared(run, kind).await?;
    }
    Ok(())
}

/// Begins a scenario on a thread of its own.
fn begin(run: &Run, entry: &Entry, told: UnboundedSender<Minutes>) -> Result<Turn> {
    let (name, scenario) = *SCENARIOS
        .iter()
        .find(|(name, _)| *name == entry.name)
        .with_context(|| format!("there is no '{}'", entry.name))?;
    let turn = Turn::begin(run, name, entry.shares)?;
    let begun = turn.clone();
    run.say(format!("{name}: begins"));
    let carry_out = move || {
        let runtime: Runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let ended = runtime.block_on(AssertUnwindSafe(scenario(turn.clone())).catch_unwind());
        let outcome = ended.unwrap_or_else(|panic| Err(anyhow!("panicked: {}", text_of(panic.as_ref()))));
        match &outcome {
            Ok(()) => turn.run.say(format!("{name}: passed")),
            Err(error) => {
                turn.log(&format!("FAILED: {error:#}"));
                turn.run.say(format!("{name}: FAILED: {error:#}"));
            }
        }
        // Nobody listens any more where the deadline has come.
        let _ = told.send(turn.end(outcome.is_ok()));
        anyhow::Ok(())
    };
    std::thread::Builder::new().name(name.to_owned()).spawn(carry_out).context("there is no thread")?;
    Ok(begun)
}

fn time_left() -> Duration {
    let deadline = std::env::var("E2E_DEADLINE").ok().and_then(|text| text.parse().ok()).map(Duration::from_secs);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    deadline.map_or(ENDLESS, |deadline| deadline.saturating_sub(now))
}

/// Returns whole minutes, those that have begun left out.
fn in_minutes(time: Duration) -> u64 {
    time.as_secs() / 60
}

/// Puts off what the deadline has cut off and may; names what else is left. Returns whether nothing is.
fn cut_off(run: &Run, plan: &Plan, progress: &mut Progress) -> Result<bool> {
    let Progress { begun, ended, put_off } = progress;
    let mut left = Vec::new();
    for (name, why) in &plan.selection.run {
        if put_off.contains_key(name) || ended.iter().any(|minutes| minutes.name == *name) {
            continue;
        }
        let worked = begun.iter().find(|turn| turn.name == name).and_then(Turn::worked);
        if plan.entry(name)?.may_be_cut_off(*why, worked) {
            let reason = worked.map_or("the deadline came first", |_| "cut off by the deadline; what it made is left");
            put_off.insert(name.clone(), format!("{}: {reason}", why.name()));
        } else {
            left.push(name);
        }
    }
    if left.is_empty() {
        return Ok(true);
    }
    run.say("the deadline has come; left:");
    for name in left {
        println!("  LEFT      {name}");
    }
    Ok(false)
}

/// Prints what became of the scenarios and what they took; returns whether all is well.
fn sum(run: &Run, plan: &Plan, progress: &Progress) -> Result<bool> {
    let Progress { begun: _, ended, put_off } = progress;
    println!("{}", minutes::table(ended));
    let passed = ended.iter().filter(|minutes| minutes.result == "passed").count();
    let mut failed = plan.selection.run.len() - put_off.len() - passed;
    for (name, reason) in put_off {
        println!("  NOT RUN   {name}, {reason}");
    }
    let sets: u32 = ended.iter().map(|minutes| minutes.sets).sum();
    run.say(format!("{sets} store sets"));
    let follows_changes =
        |name: &str| plan.selection.run.iter().any(|(known, why)| known == name && why.follows_changes());
    let judged: u32 = ended.iter().filter(|minutes| !follows_changes(&minutes.name)).map(|minutes| minutes.sets).sum();
    if judged > MOST_SETS && !plan.settings.full {
        failed += 1;
        println!("FAILED: {judged} store sets were started, more than {MOST_SETS}; share them (docs/tests.md)");
    }
    if plan.settings.full {
        note(plan, ended)?;
    }
    if Checkout.is_shallow() {
        println!("NOTE: when the others have last passed is not judged: this clone is shallow");
    } else if !plan.is_partial {
        for stale in plan.stale(put_off)? {
            failed += 1;
            println!("FAILED: {stale}; make test-full");
        }
    }
    run.say(format!("{passed} passed, {failed} failed"));
    Ok(failed == 0 && passed > 0)
}

/// Adds this run to the record of full runs. A working tree that is no commit proves nothing of one, and is left out.
fn note(plan: &Plan, ended: &[Minutes]) -> Result<()> {
    let verdict = |name: &String| {
        let passed = ended.iter().any(|minutes| minutes.name == *name && minutes.result == "passed");
        (name.clone(), if passed { "passed" } else { "failed" }.to_owned())
    };
    let Some(commit) = plan.commit.clone() else {
        println!("NOTE: not recorded: the working tree differed from its commit when the run began");
        return Ok(());
    };
    record(&FullRun {
        kind: "full".to_owned(),
        commit,
        at: Utc::now(),
        seed: plan.settings.seed,
        verdicts: plan.selection.run.iter().map(|(name, _)| verdict(name)).collect(),
    })
}
