//! The conditions of a status: the transition time moves only with the status, everything else is of now. Pure.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use millrace_api::Rejected;
use millrace_api::crd::condition::{ConditionStatus, ConditionType, Link, Reason, is_true};

use super::summary::{Summary, held, requires_update, under_way};
use crate::cassandra::repair::Schedule;
use crate::intact::Intact;
use crate::labels::PAUSED;
use crate::plan::Plan;
use crate::plan::drift::Changed;
use crate::workers::canary::Flow;
use crate::workers::retention::Risk;
use crate::workers::suspend::Suspension;

/// Longest message that a condition may have by the API's own rule.
const MAX_MESSAGE: usize = 32_768;

/// Builds conditions.
pub(crate) struct Conditions {
    generation: i64,
    now: DateTime<Utc>,
    old: BTreeMap<String, Condition>,
    new: Vec<Condition>,
}

impl Conditions {
    /// Begins the conditions of a generation; `old` are those that are there.
    pub(crate) fn new(generation: i64, now: DateTime<Utc>, old: &[Condition]) -> Self {
        let old = old.iter().map(|condition| (condition.type_.clone(), condition.clone())).collect();
        Self { generation, now, old, new: Vec::new() }
    }

    /// Returns the conditions in the order in which they were added.
    pub(crate) fn finish(self) -> Vec<Condition> {
        self.new
    }

    pub(crate) fn add(&mut self, condition: ConditionType, status: bool, reason: Reason, message: &str) {
        let status = if status { ConditionStatus::True } else { ConditionStatus::False };
        self.push(condition, status, &reason.to_string(), message);
    }

    /// The reason may be one that an earlier operator wrote.
    pub(super) fn unknown(&mut self, condition: ConditionType, reason: &str, message: &str) {
        self.push(condition, ConditionStatus::Unknown, reason, message);
    }

    pub(super) fn push(&mut self, condition: ConditionType, status: ConditionStatus, reason: &str, message: &str) {
        let (condition, status) = (condition.as_str(), status.as_str());
        let kept = self.old.get(condition).filter(|old| old.status == status);
        let now = Timestamp::from_second(self.now.timestamp()).unwrap_or(Timestamp::UNIX_EPOCH);
        let message: String = message.chars().take(MAX_MESSAGE).collect();
        self.new.push(Condition {
            type_: condition.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message,
            observed_generation: Some(self.generation),
            last_transition_time: kept.map_or(Time(now), |old| old.last_transition_time.clone()),
        });
    }

    pub(super) fn spec_valid(&mut self, rejected: &[Rejected]) {
        if rejected.is_empty() {
            self.add(ConditionType::SpecValid, true, Reason::Valid, "the spec is valid");
            return;
        }
        let message = rejected.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        self.add(ConditionType::SpecValid, false, Reason::Rejected, &message);
    }

    pub(super) fn summary(&mut self, summary: &Summary, plan: &Plan) {
        let Summary { ready, stalled, reason, message } = summary;
        let is_settled = summary.is_settled();
        self.add(ConditionType::Ready, *ready, *reason, message);
        match is_settled && !plan.is_empty() {
            true => self.add(ConditionType::Reconciling, true, Reason::ApplyingChanges, &under_way(plan)),
            false => self.add(ConditionType::Reconciling, !is_settled && !stalled, *reason, message),
        }
        self.add(ConditionType::Stalled, *stalled, *reason, message);
    }

    /// Whether a pipeline will be as its spec says is unknown while nobody works on it.
    pub(super) fn paused(&mut self, summary: &Summary, plan: &Plan) {
        let waiting = match plan.changes() {
            0 => "no changes are pending".to_owned(),
            1 => "1 change is pending".to_owned(),
            changes => format!("{changes} changes are pending"),
        };
        let message = format!(
            "paused by the annotation {PAUSED}: the operator changes nothing; {waiting}; observed state: {}",
            summary.message
        );
        self.unknown(ConditionType::Ready, &Reason::Paused.to_string(), &message);
        self.add(ConditionType::Reconciling, false, Reason::Paused, &message);
        self.add(ConditionType::Stalled, false, Reason::Paused, &message);
    }

    /// Says whether all data is there that was there. What cannot be asked now is as it was.
    pub(super) fn intact(&mut self, intact: &Intact) {
        match (&intact.first, intact.known) {
            (Some((reason, message)), _) => self.add(ConditionType::DataIntact, false, *reason, message),
            (None, true) => {
                let message = "no known loss: topics and tables are the ones that this pipeline had before";
                self.add(ConditionType::DataIntact, true, Reason::NothingMissing, message);
            }
            (None, false) => self.new.extend(self.old.get(ConditionType::DataIntact.as_str()).cloned()),
        }
    }

    /// Says whether the nodes' last full repairs are recent enough. What cannot be asked now is as it was.
    pub(super) fn repair(&mut self, schedule: &Schedule) {
        match schedule {
            Schedule::Absent => {}
            Schedule::Unknown => self.new.extend(self.old.get(ConditionType::RepairOnSchedule.as_str()).cloned()),
            Schedule::InTime => {
                let message = "the last full repair of every node is recent enough for the gc_grace_seconds of all \
                               tables";
                self.add(ConditionType::RepairOnSchedule, true, Reason::RepairInTime, message);
            }
            Schedule::Overdue(message) => {
                self.add(ConditionType::RepairOnSchedule, false, Reason::RepairOverdue, message);
            }
        }
    }

    /// Says that retention is about to delete records unread, if it is. What cannot be asked now is as it was.
    pub(super) fn retention(&mut self, risk: &Risk) {
        match risk {
            Risk::Absent => {}
            Risk::Unknown => self.new.extend(self.old.get(ConditionType::RetentionAtRisk.as_str()).cloned()),
            Risk::Present(message) => {
                self.add(ConditionType::RetentionAtRisk, true, Reason::RetentionAtRisk, message);
            }
        }
    }

    /// Says how far a pipeline that is to be suspended has come.
    pub(super) fn suspended(&mut self, suspension: Option<&Suspension>) {
        if let Some(Suspension { is_done, reason, message, drained: _ }) = suspension {
            self.add(ConditionType::Suspended, *is_done, *reason, message);
        }
    }

    /// Says whether canary records become readable rows, where there are any.
    pub(super) fn flowing(&mut self, flow: Option<&Flow>) {
        if let Some(Flow { status, reason, message, latency: _ }) = flow {
            self.push(ConditionType::DataFlowing, *status, reason, message);
        }
    }

    /// Says what differs and is left alone, if anything is.
    pub(super) fn contested(&mut self, contested: &[Changed]) {
        if contested.is_empty() {
            return;
        }
        let listed: Vec<String> = contested.iter().map(Changed::describe).collect();
        let message = format!(
            "left unchanged, since it changes again whenever the operator sets it: {}; find what changes it, such as \
             an admission webhook or an autoscaler, and stop one of the two",
            listed.join("; ")
        );
        self.add(ConditionType::Contested, true, Reason::ChangedByOthers, &message);
    }

    /// Says which restarts people or a time hold, and which templates wait, if any do.
    pub(super) fn updates(&mut self, plan: &Plan) {
        if let Some((reason, message)) = held(plan).filter(|(reason, _)| *reason != Reason::OperatorUpgraded) {
            self.add(ConditionType::UpdatesHeld, true, reason, &message);
        }
        if let Some(message) = requires_update(plan) {
            self.add(ConditionType::RequiresUpdate, true, Reason::OperatorUpgraded, &message);
        }
    }

    /// Says of everything that is observed that it is unknown now, with what was last known.
    pub(super) fn keep_links(&mut self) {
        let others = [
            ConditionType::SourcesHealthy,
            ConditionType::DataIntact,
            ConditionType::RepairOnSchedule,
            ConditionType::RetentionAtRisk,
            ConditionType::Contested,
            ConditionType::UpdatesHeld,
            ConditionType::RequiresUpdate,
            ConditionType::Suspended,
            ConditionType::DataFlowing,
        ];
        for condition in Link::ALL.map(Link::condition).into_iter().chain(others) {
            let Some(old) = self.old.get(condition.as_str()).cloned() else {
                continue;
            };
            self.unknown(condition, &old.reason, &old.message);
        }
    }

    /// Returns whether the current generation has not been Ready yet.
    pub(super) fn is_news(&self) -> bool {
        let ready = self.old.get(ConditionType::Ready.as_str()).filter(|old| is_true(old));
        ready.is_none_or(|old| old.observed_generation != Some(self.generation))
    }

    pub(super) fn was_true(&self, condition: ConditionType) -> bool {
        self.old.get(condition.as_str()).is_some_and(is_true)
    }
}
