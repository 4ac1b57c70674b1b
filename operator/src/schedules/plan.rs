//! A schedule, the clock, what was decided before and the runs there are → the runs to make and the due times missed.
//! Pure.
//!
//! What was decided is one moment: every due time up to it has its run or is counted as missed. Due times after it are
//! decided in order. A due time whose run exists is decided, no matter who made the run, so that a pass that was cut
//! short between making a run and noting it neither makes it twice nor waits for it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use kube::ResourceExt;
use kube::api::ObjectMeta;
use millrace_api::crd::run::REQUESTED_BY;
use millrace_api::crd::schedule::{CatchUp, ConcurrencyPolicy};
use millrace_api::crd::time::{moment_of, time_of};
use millrace_api::crd::{MissedReason, RunPhase, ScheduleStatus};
use millrace_api::names::scheduled_run;
use millrace_api::params::rfc3339;
use millrace_api::schedule::{Schedule, Timetable};
use millrace_api::{IngestionRun, StreamingPipeline};

use crate::labels::{APPLICATION, INSTANCE_LABEL, NAME_LABEL, SCHEDULE_LABEL};
use crate::runs::plan::owner;
use crate::runs::report::is_final;

/// How late a run may be that is not caught up with: what an operator takes to look, and to be replaced.
const ON_TIME: TimeDelta = TimeDelta::minutes(1);

/// Due times that one pass looks at: 34 days of minutes. Of older ones none is caught up with.
const MOST_DUE: usize = 50_000;

/// What a decision about one schedule rests on.
#[derive(Debug)]
pub struct ScheduleWorld<'a> {
    /// The clock.
    pub now: DateTime<Utc>,
    /// The pipeline.
    pub pipeline: &'a StreamingPipeline,
    /// Name of the source.
    pub source: &'a str,
    /// Its schedule.
    pub schedule: &'a Schedule,
    /// What was noted last. Absent: the schedule is new.
    pub old: Option<&'a ScheduleStatus>,
    /// Runs of the namespace.
    pub runs: &'a [IngestionRun],
}

/// What to do about one schedule.
#[derive(Clone, Debug, PartialEq)]
pub struct SourcePlan {
    /// Runs to cancel.
    pub cancel: Vec<String>,
    /// Runs to make, oldest first.
    pub create: Vec<IngestionRun>,
    /// What to note.
    pub status: ScheduleStatus,
    /// Due times that are missed.
    pub missed: Vec<Missed>,
    /// Runs to delete, by name and UID.
    pub delete: Vec<(String, String)>,
    /// When to look again at the latest. Absent: nothing will be due.
    pub next: Option<DateTime<Utc>>,
}

impl SourcePlan {
    /// Leaves a schedule as it is while its source is rejected.
    pub fn held(old: &ScheduleStatus, why: &str) -> Self {
        let status = ScheduleStatus { message: Some(format!("no run is created: {why}")), ..old.clone() };
        Self { cancel: Vec::new(), create: Vec::new(), status, missed: Vec::new(), delete: Vec::new(), next: None }
    }

    /// Leaves a schedule as it is while its pipeline is suspended. What comes due meanwhile is decided afterwards, by the
    /// rules for what is late.
    pub fn suspended(old: &ScheduleStatus) -> Self {
        let old = ScheduleStatus { next_schedule_time: None, ..old.clone() };
        Self::held(&old, "the pipeline is suspended; due times that pass meanwhile are decided when it is resumed")
    }
}

/// Due times that pass without a run.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Missed {
    /// The source.
    pub source: String,
    /// Why.
    pub reason: MissedReason,
    /// How many.
    pub count: u64,
    /// The latest of them.
    pub latest: DateTime<Utc>,
}

/// Something to be written to the API server.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// Cancel a run.
    Cancel(String),
    /// Make a run; if it is there, nothing.
    Create(Box<IngestionRun>),
    /// Note what is decided, and tell what was missed.
    Status {
        /// All schedules of the pipeline.
        schedules: Vec<ScheduleStatus>,
        /// What was missed.
        missed: Vec<Missed>,
    },
    /// Delete a run.
    Delete {
        /// Its name.
        name: String,
        /// Its UID.
        uid: String,
    },
}

/// Returns the writes of a pass, in the order that makes it safe to be cut short anywhere.
pub fn writes(pipeline: &StreamingPipeline, plans: &[SourcePlan]) -> Vec<Write> {
    let mut writes = Vec::new();
    for plan in plans {
        writes.extend(plan.cancel.iter().cloned().map(Write::Cancel));
        writes.extend(plan.create.iter().cloned().map(|run| Write::Create(Box::new(run))));
    }
    let schedules: Vec<ScheduleStatus> = plans.iter().map(|plan| plan.status.clone()).collect();
    let noted = pipeline.status.as_ref().and_then(|status| status.schedules.clone()).unwrap_or_default();
    if schedules != noted {
        let missed = plans.iter().flat_map(|plan| plan.missed.clone()).collect();
        writes.push(Write::Status { schedules, missed });
    }
    for plan in plans {
        writes.extend(plan.delete.iter().cloned().map(|(name, uid)| Write::Delete { name, uid }));
    }
    writes
}

/// Plans one schedule. `None`: it has no due times.
pub fn plan(world: &ScheduleWorld<'_>) -> Option<SourcePlan> {
    let timetable = world.schedule.timetable.as_ref()?;
    let own = own_runs(world);
    let decided = world.old.map_or(world.now, |old| moment_of(&old.decided_until));
    let mut decision = decide(world, timetable, decided, &own);
    let active = own.iter().filter(|run| !is_final(run)).count() + decision.create.len();
    let from = world.now.max(decision.decided);
    let next = timetable.next_after(from);
    if world.now < decided {
        let until = rfc3339(decided);
        decision.message = Some(format!("the clock was set back; every due time up to {until} is already decided"));
    }
    if world.schedule.paused {
        decision.message = Some("paused: due times pass without a run".to_owned());
    }
    let old = world.old.cloned();
    let last_made = decision.made.last().cloned();
    let last_missed = decision.missed.iter().max_by_key(|missed| missed.latest);
    let missed: u64 = decision.missed.iter().map(|missed| missed.count).sum();
    let status = ScheduleStatus {
        source: world.source.to_owned(),
        decided_until: time_of(decision.decided),
        last_schedule_time: last_made
            .as_ref()
            .map(|(due, _)| time_of(*due))
            .or_else(|| old.as_ref()?.last_schedule_time.clone()),
        last_run: last_made.map(|(_, name)| name).or_else(|| old.as_ref()?.last_run.clone()),
        next_schedule_time: next.filter(|_| !world.schedule.paused).map(time_of),
        missed: old.as_ref().map_or(0, |old| old.missed) + i64::try_from(missed).unwrap_or(i64::MAX),
        last_missed_time: last_missed
            .map(|missed| time_of(missed.latest))
            .or_else(|| old.as_ref()?.last_missed_time.clone()),
        last_missed_reason: last_missed
            .map(|missed| missed.reason.as_str().to_owned())
            .or_else(|| old.as_ref()?.last_missed_reason.clone()),
        active: i32::try_from(active).unwrap_or(i32::MAX),
        paused: world.schedule.paused,
        message: decision.message,
    };
    Some(SourcePlan {
        cancel: decision.cancel,
        create: decision.create,
        status,
        missed: decision.missed,
        delete: surplus(world, &own),
        next,
    })
}

/// Returns the runs that the schedule has made.
fn own_runs<'a>(world: &ScheduleWorld<'a>) -> Vec<&'a IngestionRun> {
    let pipeline = world.pipeline.name_any();
    let is_own = |run: &&IngestionRun| {
        run.spec.pipeline == pipeline
            && run.spec.scheduled_time.is_some()
            && run.labels().get(SCHEDULE_LABEL).is_some_and(|source| source == world.source)
    };
    world.runs.iter().filter(is_own).collect()
}

/// What is decided in a pass.
#[derive(Default)]
struct Decision {
    decided: DateTime<Utc>,
    /// Due times whose run is made now, or was before it could be noted.
    made: Vec<(DateTime<Utc>, String)>,
    create: Vec<IngestionRun>,
    cancel: Vec<String>,
    missed: Vec<Missed>,
    message: Option<String>,
}

impl Decision {
    fn miss(&mut self, source: &str, reason: MissedReason, times: &[DateTime<Utc>]) {
        let Some(latest) = times.last() else { return };
        let count = times.len() as u64;
        self.missed.push(Missed { source: source.to_owned(), reason, count, latest: *latest });
    }
}

fn decide(world: &ScheduleWorld<'_>, timetable: &Timetable, decided: DateTime<Utc>, own: &[&IngestionRun]) -> Decision {
    let schedule = world.schedule;
    let mut decision = Decision { decided, ..Decision::default() };
    let due: Vec<DateTime<Utc>> = timetable.between(decided, world.now).take(MOST_DUE).collect();
    let Some(last) = due.last().copied() else { return decision };
    decision.decided = last;
    let are_more = due.len() == MOST_DUE;

    let existing: BTreeSet<String> = own.iter().map(|run| run.name_any()).collect();
    let name_of = |due: DateTime<Utc>| scheduled_run(&world.pipeline.name_any(), world.source, due);
    let (made, open): (Vec<_>, Vec<_>) = due.into_iter().partition(|due| existing.contains(&name_of(*due)));
    let last_made = made.last().copied();
    decision.made = made.into_iter().map(|due| (due, name_of(due))).collect();
    if schedule.paused {
        decision.miss(world.source, MissedReason::Paused, &open);
        return decision;
    }
    if are_more {
        decision.miss(world.source, MissedReason::CatchUpLimit, &open);
        return decision;
    }
    let deadline = match (schedule.starting_deadline, schedule.catch_up) {
        (Some(deadline), _) => TimeDelta::from_std(deadline.get()).ok(),
        (None, CatchUp::None) => Some(ON_TIME),
        (None, CatchUp::Latest | CatchUp::All) => None,
    };
    let is_late = |due: &DateTime<Utc>| deadline.is_some_and(|deadline| *due + deadline < world.now);
    let (late, open): (Vec<_>, Vec<_>) = open.into_iter().partition(is_late);
    decision.miss(world.source, MissedReason::Late, &late);

    let active: Vec<&IngestionRun> = own.iter().copied().filter(|run| !is_final(run)).collect();
    let forbids = schedule.concurrency_policy == ConcurrencyPolicy::Forbid;
    // Of those that only the latest stands for, one that a killed pass made has taken the place of all before it.
    let (most, reason, overtaken_by) = match (schedule.catch_up, schedule.concurrency_policy) {
        (CatchUp::All, ConcurrencyPolicy::Allow | ConcurrencyPolicy::Forbid) => {
            (schedule.max_catch_up, MissedReason::CatchUpLimit, None)
        }
        _ if forbids && !active.is_empty() => (1, MissedReason::StillRunning, last_made),
        _ => (1, MissedReason::Superseded, last_made),
    };
    let (overtaken, open): (Vec<_>, Vec<_>) = open.into_iter().partition(|due| Some(*due) < overtaken_by);
    decision.miss(world.source, reason, &overtaken);
    let (surplus, wanted) = open.split_at(open.len().saturating_sub(most));
    decision.miss(world.source, reason, surplus);

    let now_made = match schedule.concurrency_policy {
        ConcurrencyPolicy::Forbid if !active.is_empty() => 0,
        ConcurrencyPolicy::Forbid => wanted.len().min(1),
        ConcurrencyPolicy::Allow | ConcurrencyPolicy::Replace => wanted.len(),
    };
    if schedule.concurrency_policy == ConcurrencyPolicy::Replace && now_made > 0 {
        decision.cancel = active.iter().filter(|run| !run.spec.cancel).map(|run| run.name_any()).collect();
    }
    for due in &wanted[..now_made] {
        decision.create.push(scheduled(world, *due, name_of(*due)));
        decision.made.push((*due, name_of(*due)));
    }
    decision.made.sort();
    if let Some(waits) = wanted.get(now_made) {
        // Undecided are this one and those after it; due times are whole minutes.
        decision.decided = (*waits - TimeDelta::seconds(1)).max(decided);
        let under_way = active.first().map(|run| run.name_any());
        let before = under_way.or_else(|| decision.create.first().map(|run| run.name_any())).unwrap_or_default();
        decision.message = Some(format!("the run due at {} waits for the end of '{before}'", rfc3339(*waits)));
    }
    decision
}

/// Returns the run of a due time.
fn scheduled(world: &ScheduleWorld<'_>, due: DateTime<Utc>, name: String) -> IngestionRun {
    let pipeline = world.pipeline.name_any();
    let text = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let labels = [text(NAME_LABEL, APPLICATION), text(INSTANCE_LABEL, &pipeline), text(SCHEDULE_LABEL, world.source)];
    let metadata = ObjectMeta {
        name: Some(name.clone()),
        namespace: world.pipeline.namespace(),
        labels: Some(labels.into()),
        annotations: Some([text(REQUESTED_BY, "schedule")].into()),
        owner_references: Some(vec![owner(world.pipeline)]),
        ..ObjectMeta::default()
    };
    let spec = world.schedule.run.spec(pipeline, world.source, due);
    IngestionRun { metadata, ..IngestionRun::new(&name, spec) }
}

/// Returns the ended runs that the history has no room for, as far as they are noted as decided.
fn surplus(world: &ScheduleWorld<'_>, own: &[&IngestionRun]) -> Vec<(String, String)> {
    let Some(noted) = world.old.map(|old| &old.decided_until) else { return Vec::new() };
    let mut ended: BTreeMap<bool, Vec<&IngestionRun>> = BTreeMap::new();
    for run in own.iter().copied().filter(|run| is_final(run)) {
        let succeeded = run.status.as_ref().and_then(|status| status.phase) == Some(RunPhase::Succeeded);
        ended.entry(succeeded).or_default().push(run);
    }
    let mut surplus = Vec::new();
    for (succeeded, mut runs) in ended {
        runs.sort_by_key(|run| std::cmp::Reverse(run.spec.scheduled_time.clone()));
        let kept = if succeeded { world.schedule.successful_history } else { world.schedule.failed_history };
        let noted = |run: &&IngestionRun| run.spec.scheduled_time.as_ref().is_some_and(|due| due <= noted);
        let gone = runs.into_iter().skip(kept).filter(noted);
        surplus.extend(gone.map(|run| (run.name_any(), run.uid().unwrap_or_default())));
    }
    surplus
}
