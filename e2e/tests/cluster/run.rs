//! Runs the scenarios of a plan: each begins in its order as soon as the queue lets it, and the sum comes at the end.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow};
use chrono::Utc;
use futures::FutureExt;
use millrace_e2e::catalogue::{Entry, ROTATING};
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

/// Most store sets of a run that is not the full one.
const MOST_SETS: u32 = 12;
/// Time that a scenario may take with its stores' start, on a slow machine. One that is in the run only because it is its
/// turn does not begin with less left: it comes round again.
const ROOM: Duration = Duration::from_secs(15 * 60);
/// How long there is where no deadline is given.
const ENDLESS: Duration = Duration::from_secs(7 * 24 * 3600);

/// Runs what the plan says; returns whether all of it passed. `E2E_DEADLINE`, in seconds since 1970, stops it.
pub fn run(names: &[String]) -> Result<bool> {
    let plan = Plan::make(names)?;
    plan.print();
    let run = Run::new(plan.settings.clone());
    let (ended, put_off) = (RefCell::new(Vec::new()), RefCell::new(BTreeSet::new()));
    let scenarios = Builder::new_current_thread().enable_all().build().context("there is no runtime")?;
    let in_time =
        scenarios.block_on(async { tokio::time::timeout(time_left(), all(&plan, &run, &ended, &put_off)).await });
    let (ended, put_off) = (ended.into_inner(), put_off.into_inner());
    let is_complete = match in_time {
        Ok(done) => {
            done?;
            true
        }
        // What is being removed goes on without this run.
        Err(_) if ended.len() + put_off.len() == plan.selection.run.len() => true,
        Err(_) => {
            say_what_is_left(&run, &plan, &ended, &put_off);
            false
        }
    };
    let passed = sum(&run, &plan, &ended, &put_off)?;
    Ok(passed && is_complete)
}

/// Begins one scenario after the other, and gathers what became of them. Those whose turn it merely is come last, and are
/// put off where too little time is left.
async fn all(plan: &Plan, run: &Run, ended: &RefCell<Vec<Minutes>>, put_off: &RefCell<BTreeSet<String>>) -> Result<()> {
    for kind in [Kind::One, Kind::Three] {
        remove_shared(run, kind).await?;
    }
    let (told, mut verdicts) = unbounded_channel();
    let begun = async {
        let (rotating, others): (Vec<_>, Vec<_>) = plan.selection.run.iter().partition(|(_, why)| *why == ROTATING);
        for (name, why) in others.into_iter().chain(rotating) {
            let entry = plan.entry(name)?;
            run.queue.begin(name, &entry.needs).await;
            if *why == ROTATING && time_left() < ROOM {
                run.queue.end(name);
                put_off.borrow_mut().insert(name.clone());
                continue;
            }
            begin(run, entry, told.clone())?;
        }
        drop(told);
        anyhow::Ok(())
    };
    let gathered = async {
        let mut left: BTreeSet<&str> = plan.selection.run.iter().map(|(name, _)| name.as_str()).collect();
        while let Some(minutes) = verdicts.recv().await {
            minutes.record()?;
            left.remove(minutes.name.as_str());
            left.retain(|name| !put_off.borrow().contains(*name));
            let shares = |name: &str| plan.entry(name).ok().and_then(|entry| entry.shares);
            let kind = shares(&minutes.name).filter(|kind| left.iter().all(|name| shares(name) != Some(*kind)));
            ended.borrow_mut().push(minutes);
            if let Some(kind) = kind {
                remove_shared(run, kind).await?;
            }
        }
        anyhow::Ok(())
    };
    futures::try_join!(begun, gathered).map(|_| ())
}

/// Begins a scenario on a thread of its own.
fn begin(run: &Run, entry: &Entry, told: UnboundedSender<Minutes>) -> Result<()> {
    let (name, scenario) = *SCENARIOS
        .iter()
        .find(|(name, _)| *name == entry.name)
        .with_context(|| format!("there is no '{}'", entry.name))?;
    let turn = Turn::begin(run, name, entry.shares)?;
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
    Ok(())
}

fn time_left() -> Duration {
    let deadline = std::env::var("E2E_DEADLINE").ok().and_then(|text| text.parse().ok()).map(Duration::from_secs);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    deadline.map_or(ENDLESS, |deadline| deadline.saturating_sub(now))
}

fn say_what_is_left(run: &Run, plan: &Plan, ended: &[Minutes], put_off: &BTreeSet<String>) {
    run.say("the deadline has come; left:");
    for (name, _) in &plan.selection.run {
        if !ended.iter().any(|minutes| minutes.name == *name) && !put_off.contains(name) {
            println!("  LEFT      {name}");
        }
    }
}

/// Prints what became of the scenarios and what they took; returns whether all is well.
fn sum(run: &Run, plan: &Plan, ended: &[Minutes], put_off: &BTreeSet<String>) -> Result<bool> {
    println!("{}", minutes::table(ended));
    let passed = ended.iter().filter(|minutes| minutes.result == "passed").count();
    let mut failed = plan.selection.run.len() - put_off.len() - passed;
    for name in put_off {
        println!("  NOT RUN   {name}: too little time was left for one whose turn it merely was");
    }
    let sets: u32 = ended.iter().map(|minutes| minutes.sets).sum();
    run.say(format!("{sets} store sets"));
    if sets > MOST_SETS && !plan.settings.full {
        failed += 1;
        println!("FAILED: {sets} store sets were started, more than {MOST_SETS}; share them (docs/tests.md)");
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
