//! Schedules in simulated time: the clock jumps, the operator is away or is killed between any two writes, and still every
//! due time has one run or is counted as missed.

#![expect(clippy::disallowed_methods, reason = "tests read fixtures and the clock")]

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use kube::ResourceExt;
use millrace_api::crd::time::moment_of;
use millrace_api::crd::{RunPhase, ScheduleStatus};
use millrace_api::params::rfc3339;
use millrace_api::{IngestionRun, StreamingPipeline, validate};
use millrace_operator::schedules::plan::{Write, writes};
use millrace_operator::schedules::plans;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rstest::rstest;
use serde_json::{Value, json};

const HOURLY: &str = "0 * * * *";

struct World {
    now: DateTime<Utc>,
    pipeline: StreamingPipeline,
    runs: BTreeMap<String, IngestionRun>,
    /// Every run that was ever made, in order.
    made: Vec<String>,
    /// Names that were made although they had been made before.
    doubled: Vec<String>,
    cancelled: BTreeSet<String>,
    missed: Vec<(&'static str, u64)>,
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("a moment")
}

impl World {
    fn new(now: &str, schedule: Value) -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/one.yaml");
        let text = std::fs::read_to_string(path).expect("the fixture is there");
        let mut resource: Value = serde_yaml::from_str(&text).expect("the fixture is YAML");
        resource["metadata"]["uid"] = json!("11111111-2222-3333-4444-555555555555");
        resource["spec"]["producer"]["sources"][0]["schedule"] = schedule;
        let pipeline: StreamingPipeline = serde_json::from_value(resource).expect("a pipeline");
        assert_eq!(validate(&pipeline, millrace_sql::judge).rejected, []);
        Self {
            now: at(now),
            pipeline,
            runs: BTreeMap::new(),
            made: Vec::new(),
            doubled: Vec::new(),
            cancelled: BTreeSet::new(),
            missed: Vec::new(),
        }
    }

    /// Returns a world with an hourly schedule of these rules, seen once, half an hour before its first due time.
    fn hourly(rules: Value) -> Self {
        let mut schedule = json!({"cron": HOURLY});
        schedule.as_object_mut().expect("an object").extend(rules.as_object().cloned().unwrap_or_default());
        let mut world = Self::new("2026-01-01T00:30:00Z", schedule);
        world.pass();
        world
    }

    /// Walks a pass; at most so many writes are carried out before the operator is killed.
    fn pass_until_killed(&mut self, survives: usize) {
        let listed: Vec<IngestionRun> = self.runs.values().cloned().collect();
        let plans = plans(&self.pipeline, &listed, self.now).expect("a valid spec");
        for write in writes(&self.pipeline, &plans).into_iter().take(survives) {
            self.carry_out(write);
        }
    }

    fn pass(&mut self) {
        self.pass_until_killed(usize::MAX);
    }

    fn carry_out(&mut self, write: Write) {
        match write {
            Write::Cancel(name) => {
                self.cancelled.insert(name.clone());
                self.end(&name, RunPhase::Cancelled);
            }
            Write::Create(run) => {
                let name = run.name_any();
                if self.runs.contains_key(&name) {
                    return;
                }
                if self.made.contains(&name) {
                    self.doubled.push(name.clone());
                }
                self.made.push(name.clone());
                let mut run = *run;
                run.metadata.uid = Some(format!("uid-{}", self.made.len()));
                self.runs.insert(name, run);
            }
            Write::Status { schedules, missed } => {
                self.missed.extend(missed.iter().map(|missed| (missed.reason.as_str(), missed.count)));
                self.pipeline.status.get_or_insert_default().schedules = Some(schedules);
            }
            Write::Delete { name, uid } => {
                let gone = self.runs.remove(&name).expect("it was there");
                assert_eq!(gone.uid(), Some(uid));
            }
        }
    }

    fn end(&mut self, name: &str, phase: RunPhase) {
        let run = self.runs.get_mut(name).expect("the run is there");
        run.status.get_or_insert_default().phase = Some(phase);
    }

    fn end_all(&mut self) {
        let names: Vec<String> = self.active();
        names.iter().for_each(|name| self.end(name, RunPhase::Succeeded));
    }

    fn active(&self) -> Vec<String> {
        let ended =
            |run: &IngestionRun| run.status.as_ref().and_then(|status| status.phase).is_some_and(RunPhase::is_final);
        self.runs.values().filter(|run| !ended(run)).map(ResourceExt::name_any).collect()
    }

    fn advance(&mut self, minutes: i64) {
        self.now += TimeDelta::minutes(minutes);
    }

    fn status(&self) -> ScheduleStatus {
        self.pipeline.status.as_ref().and_then(|status| status.schedules.as_ref()).expect("schedules")[0].clone()
    }

    /// The due times of the runs that were made, in order.
    fn due(&self) -> Vec<String> {
        let due = |name: &String| {
            let minute: i64 = name.rsplit('-').next().expect("a minute").parse().expect("a number");
            rfc3339(DateTime::from_timestamp(minute * 60, 0).expect("a moment"))
        };
        self.made.iter().map(due).collect()
    }
}

#[test]
fn a_new_schedule_makes_no_run_for_the_past_and_one_at_each_due_time() {
    let mut world = World::hourly(json!({}));
    assert_eq!(world.due(), [""; 0]);
    assert_eq!(
        world.status().next_schedule_time.map(|time| rfc3339(moment_of(&time))),
        Some("2026-01-01T01:00:00Z".to_owned())
    );
    world.advance(29);
    world.pass();
    assert_eq!(world.due(), [""; 0]);
    world.advance(1);
    world.pass();
    world.pass();
    assert_eq!(world.due(), ["2026-01-01T01:00:00Z"]);
    let run = world.runs.values().next().expect("a run");
    assert_eq!(run.annotations()["millrace.dev/requested-by"], "schedule");
    assert_eq!(run.owner_references()[0].kind, "StreamingPipeline");
    world.end_all();
    world.advance(60);
    world.pass();
    assert_eq!(world.due(), ["2026-01-01T01:00:00Z", "2026-01-01T02:00:00Z"]);
    assert_eq!(world.status().missed, 0);
}

#[rstest]
#[case::none(json!({"catchUp": "None"}), &[], &[("Late", 5)])]
#[case::latest(json!({"catchUp": "Latest"}), &["2026-01-01T05:00:00Z"], &[("Superseded", 4)])]
#[case::all(json!({"catchUp": "All", "concurrencyPolicy": "Allow"}), &["2026-01-01T01:00:00Z", "2026-01-01T02:00:00Z", "2026-01-01T03:00:00Z", "2026-01-01T04:00:00Z", "2026-01-01T05:00:00Z"], &[])]
#[case::all_up_to_a_cap(json!({"catchUp": "All", "maxCatchUp": 2, "concurrencyPolicy": "Allow"}), &["2026-01-01T04:00:00Z", "2026-01-01T05:00:00Z"], &[("CatchUpLimit", 3)])]
#[case::deadline(json!({"catchUp": "All", "concurrencyPolicy": "Allow", "startingDeadline": "90m"}), &["2026-01-01T05:00:00Z"], &[("Late", 4)])]
fn an_operator_that_was_down_over_five_due_times_does_as_it_is_told(
    #[case] rules: Value,
    #[case] made: &[&str],
    #[case] missed: &[(&str, u64)],
) {
    let mut world = World::hourly(rules);
    world.advance(5 * 60 + 15);
    world.pass();
    world.pass();
    assert_eq!(world.due(), made);
    assert_eq!(world.missed, missed);
    assert_eq!(world.status().missed, missed.iter().map(|(_, count)| *count as i64).sum::<i64>());
}

#[test]
fn forbid_waits_for_the_end_of_the_run_and_keeps_the_latest() {
    let mut world = World::hourly(json!({}));
    world.advance(30);
    world.pass();
    for _ in 0..2 {
        world.advance(60);
        world.pass();
    }
    assert_eq!(world.due(), ["2026-01-01T01:00:00Z"], "it is under way");
    assert!(world.status().message.unwrap_or_default().contains("waits for the end of"));
    assert_eq!(world.missed, [("StillRunning", 1)]);
    world.end_all();
    world.pass();
    assert_eq!(world.due(), ["2026-01-01T01:00:00Z", "2026-01-01T03:00:00Z"]);
    assert_eq!(world.status().message, None);
}

#[test]
fn forbid_catches_up_one_after_the_other_oldest_first() {
    let mut world = World::hourly(json!({"catchUp": "All"}));
    world.advance(3 * 60);
    for expected in 1..=3 {
        world.pass();
        world.pass();
        assert_eq!((world.made.len(), world.active().len()), (expected, 1));
        world.end_all();
    }
    world.pass();
    assert_eq!(world.due(), ["2026-01-01T01:00:00Z", "2026-01-01T02:00:00Z", "2026-01-01T03:00:00Z"]);
    assert_eq!(world.status().missed, 0);
}

#[test]
fn replace_cancels_the_older_run_and_allow_lets_both_be() {
    let mut world = World::hourly(json!({"concurrencyPolicy": "Replace"}));
    world.advance(30);
    world.pass();
    world.advance(60);
    world.pass();
    assert_eq!((world.made.len(), world.active().len(), world.cancelled.len()), (2, 1, 1));
    assert!(world.cancelled.contains(&world.made[0]));
    let mut both = World::hourly(json!({"concurrencyPolicy": "Allow"}));
    both.advance(30);
    both.pass();
    both.advance(60);
    both.pass();
    assert_eq!((both.active().len(), both.cancelled.len()), (2, 0));
}

#[test]
fn a_paused_schedule_makes_no_run_and_counts_what_passes() {
    let mut world = World::hourly(json!({"paused": true, "catchUp": "All"}));
    world.advance(120);
    world.pass();
    let status = world.status();
    assert_eq!((world.made.len(), status.missed, status.paused), (0, 2, true));
    assert_eq!(status.last_missed_reason.as_deref(), Some("Paused"));
    assert_eq!(status.next_schedule_time, None);
    let schedule = world.pipeline.spec.producer.sources[0].schedule.as_mut().expect("a schedule");
    schedule.paused = false;
    world.pass();
    assert_eq!(world.made.len(), 0, "what passed while it was paused is not caught up with");
    world.advance(60);
    world.pass();
    assert_eq!(world.due(), ["2026-01-01T03:00:00Z"]);
}

/// As if the operator had been down meanwhile: each schedule's own rules say what is caught up with.
#[rstest]
#[case::none(json!({"catchUp": "None"}), &[], &[("Late", 5)])]
#[case::latest(json!({}), &["2026-01-01T05:00:00Z"], &[("Superseded", 4)])]
#[case::all(json!({"catchUp": "All", "maxCatchUp": 2, "concurrencyPolicy": "Allow"}), &["2026-01-01T04:00:00Z", "2026-01-01T05:00:00Z"], &[("CatchUpLimit", 3)])]
fn a_suspended_pipeline_makes_no_run_and_decides_when_it_is_resumed(
    #[case] rules: Value,
    #[case] made: &[&str],
    #[case] missed: &[(&str, u64)],
) {
    let mut world = World::hourly(rules);
    world.pipeline.spec.suspend = true;
    world.pass();
    let suspended = world.status();
    assert_eq!(suspended.next_schedule_time, None);
    assert!(suspended.message.as_deref().is_some_and(|message| message.contains("suspended")), "{suspended:?}");
    for _ in 0..5 {
        world.advance(60);
        world.pass();
    }
    assert_eq!(
        (world.made.len(), world.missed.len(), world.status()),
        (0, 0, suspended),
        "nothing is written meanwhile"
    );
    world.pipeline.spec.suspend = false;
    world.advance(15);
    world.pass();
    world.pass();
    assert_eq!(world.due(), made);
    assert_eq!(world.missed, missed);
}

#[test]
fn a_clock_that_jumps_either_way_doubles_nothing() {
    let mut world = World::hourly(json!({"catchUp": "All", "concurrencyPolicy": "Allow"}));
    world.advance(3 * 60);
    world.pass();
    assert_eq!(world.made.len(), 3);
    world.advance(-4 * 60);
    world.pass();
    assert!(world.status().message.unwrap_or_default().starts_with("the clock was set back"));
    world.advance(60);
    world.pass();
    world.advance(60);
    world.pass();
    world.advance(60);
    world.pass();
    assert_eq!((world.made.len(), world.doubled.len()), (3, 0));
    world.advance(120);
    world.pass();
    assert_eq!(world.due().last().map(String::as_str), Some("2026-01-01T04:00:00Z"));
    assert_eq!(world.status().missed, 0);
}

#[test]
fn history_is_bounded_and_never_made_anew() {
    let mut world = World::hourly(json!({"successfulRunsHistoryLimit": 2, "failedRunsHistoryLimit": 1}));
    for hour in 0..12 {
        world.advance(60);
        world.pass();
        let active = world.active();
        let phase = if hour % 3 == 0 { RunPhase::Failed } else { RunPhase::Succeeded };
        active.iter().for_each(|name| world.end(name, phase));
        world.pass();
        world.pass();
    }
    assert_eq!((world.made.len(), world.runs.len(), world.doubled.len()), (12, 3, 0));
}

#[test]
fn an_older_due_time_whose_run_was_made_before_the_kill_is_neither_made_again_nor_missed() {
    let mut world = World::hourly(json!({}));
    world.advance(30);
    // Killed behind the run and before the note.
    world.pass_until_killed(1);
    assert_eq!(world.made.len(), 1);
    world.pass();
    assert_eq!((world.made.len(), world.status().missed), (1, 0));
    assert_eq!(world.status().last_run.as_ref(), world.made.first());
    world.end_all();
    world.advance(60);
    world.pass();
    assert_eq!(world.made.len(), 2);
}

/// 200 due times with the operator killed at random between any two writes, away at random, and runs that end when they
/// like: none is lost, none doubled.
#[rstest]
#[case::allow_all("Allow", "All", 1)]
#[case::allow_all_again("Allow", "All", 2)]
#[case::forbid_all("Forbid", "All", 3)]
#[case::forbid_all_again("Forbid", "All", 4)]
#[case::forbid_latest("Forbid", "Latest", 5)]
#[case::replace_latest("Replace", "Latest", 6)]
#[case::allow_none("Allow", "None", 7)]
fn two_hundred_runs_with_the_operator_killed_at_random(
    #[case] policy: &str,
    #[case] catch_up: &str,
    #[case] seed: u64,
) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut world = World::new(
        "2026-03-28T00:00:30Z",
        json!({
            "cron": "*/15 * * * *", "timeZone": "Europe/Berlin", "concurrencyPolicy": policy, "catchUp": catch_up,
            "maxCatchUp": 1000, "successfulRunsHistoryLimit": 3, "failedRunsHistoryLimit": 2,
        }),
    );
    world.pass();
    let begin = world.now;
    let end = begin + TimeDelta::minutes(200 * 15);
    while world.now < end {
        world.now = (world.now + TimeDelta::seconds(random.random_range(1..1200))).min(end);
        for name in world.active() {
            if random.random_bool(0.7) {
                let phase = if random.random_bool(0.2) { RunPhase::Failed } else { RunPhase::Succeeded };
                world.end(&name, phase);
            }
        }
        // Away, killed somewhere, or well.
        match random.random_range(0..4) {
            0 => {}
            1 | 2 => world.pass_until_killed(random.random_range(0..4)),
            _ => world.pass(),
        }
    }
    // In the end the operator is well, and runs end.
    for _ in 0..1_000 {
        world.end_all();
        world.pass();
    }
    let made: BTreeSet<&String> = world.made.iter().collect();
    let missed = u64::try_from(world.status().missed).expect("a count");
    assert_eq!(world.doubled, [""; 0]);
    assert_eq!(made.len(), world.made.len());
    assert_eq!(made.len() as u64 + missed, 200, "{} made, {missed} missed", made.len());
    if catch_up == "All" {
        assert_eq!(missed, 0);
    }
    if policy == "Forbid" {
        let mut sorted = world.due();
        sorted.sort();
        assert_eq!(world.due(), sorted);
    }
    assert!(world.runs.len() <= 5, "history: {}", world.runs.len());
}

/// Negative control: an operator that notes before it makes loses runs when it is killed in between, and the count shows.
#[test]
fn control_noting_before_making_loses_runs() {
    let mut world = World::new(
        "2026-01-01T00:00:30Z",
        json!({"cron": "*/15 * * * *", "catchUp": "All", "concurrencyPolicy": "Allow"}),
    );
    world.pass();
    for step in 0..20 {
        world.advance(15);
        let listed: Vec<IngestionRun> = world.runs.values().cloned().collect();
        let plans = plans(&world.pipeline, &listed, world.now).expect("a valid spec");
        let mut turned: Vec<Write> = writes(&world.pipeline, &plans);
        turned.reverse();
        let survives = if step % 2 == 0 { 1 } else { usize::MAX };
        turned.into_iter().take(survives).for_each(|write| world.carry_out(write));
    }
    assert!(world.made.len() as i64 + world.status().missed < 20, "{} made", world.made.len());
}

#[test]
fn an_invalid_pod_template_of_the_producers_holds_every_schedule() {
    let mut world = World::new("2026-01-01T00:00:30Z", json!({"cron": "*/15 * * * *"}));
    // The negative control.
    assert!(plans(&world.pipeline, &[], world.now).is_some());
    world.pipeline.spec.producer.pod_template = Some(json!({"nodeSelektor": {}}));
    assert!(plans(&world.pipeline, &[], world.now).is_none());
}
