//! Outcome → status: pure. What was planned, done, refused or failed becomes conditions, phase and columns.
//!
//! `Ready` repeats the first unmet link of the chain, in its words. `Reconciling` and `Stalled` follow kstatus, so that
//! `kubectl wait`, `helm --wait` and GitOps tools understand them. Unknown is absent, never zero.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use millrace_api::crd::UpdatePolicy;
use millrace_api::crd::condition::{ConditionStatus, ConditionType, Link, Reason, is_true};
use millrace_api::crd::status::{
    CassandraStatus, ComponentStatus, KafkaStatus, PlanStatus, ProcessorStatus, ProducerStatus, ReassignmentStatus,
    StreamingPipelineStatus, TopicStatus, WaitingStatus,
};
use millrace_api::crd::time::{moment_of, time_of};
use millrace_api::names::Component;
use millrace_api::params::rfc3339;
use millrace_api::quantity::Quantity;
use millrace_api::{Pipeline, Rejected, StreamingPipeline};

use crate::act::Act;
use crate::cassandra::nodes;
use crate::cassandra::repair::{self, Schedule};
use crate::cassandra::ring::{newest_release, normal_nodes, replication_factor};
use crate::intact::{self, Intact, has_lost_records};
use crate::kafka::link::registered_brokers;
use crate::kafka::reassignment::Progress;
use crate::labels::{PAUSED, is_paused, pod_selector};
use crate::observed::{Claim, Observed};
use crate::plan::Plan;
use crate::plan::drift::Changed;
use crate::plan::template::Kept;
use crate::plan::waiting::Waiting;
use crate::readiness;
use crate::rounding::two_digits;
use crate::workers::sources;
use crate::workers::suspend::{self, Suspension};
use millrace_stores::kafka::KafkaFacts;
use millrace_stores::zookeeper::ZooKeeperFacts;

/// Most actions that the status lists.
const MAX_PLANNED: usize = 10;
/// Longest message that a condition may have by the API's own rule.
const MAX_MESSAGE: usize = 32_768;

/// How a pass went.
#[derive(Debug)]
pub enum Outcome<'a> {
    /// The resource could not be parsed at all.
    Unparsable {
        /// Every user error.
        rejected: &'a [Rejected],
    },
    /// The world was read and a plan made.
    Planned {
        /// The model.
        pipeline: &'a Pipeline,
        /// User errors that took a part out.
        rejected: &'a [Rejected],
        /// What was there.
        observed: &'a Observed,
        /// What was to be done.
        plan: &'a Plan,
        /// Why carrying it out ended early; `None`: it was carried out.
        failure: Option<Failure>,
    },
    /// The world could not be read.
    Unobserved {
        /// Why.
        failure: Failure,
        /// User errors that took a part out.
        rejected: &'a [Rejected],
    },
}

/// A failed pass.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The whole chain of errors, as one sentence.
    pub message: String,
    /// Whether only a changed spec can help.
    pub rejected: bool,
}

/// Computes the status. The old one supplies what is kept: transition times and write-timestamp bases.
pub fn report(resource: &StreamingPipeline, outcome: &Outcome<'_>, now: DateTime<Utc>) -> StreamingPipelineStatus {
    let old = resource.status.clone().unwrap_or_default();
    let mut conditions = Conditions::new(resource.metadata.generation.unwrap_or_default(), now, &old.conditions);
    let mut status = StreamingPipelineStatus {
        observed_generation: resource.metadata.generation,
        // What is not observed this time keeps its last value only in the columns' text, never in conditions.
        ..StreamingPipelineStatus::default()
    };
    match outcome {
        Outcome::Unparsable { rejected } => {
            conditions.spec_valid(rejected);
            conditions.keep_links();
            let message = first_of(rejected);
            conditions.add(ConditionType::Ready, false, Reason::SpecInvalid, &message);
            conditions.add(ConditionType::Reconciling, false, Reason::SpecInvalid, &message);
            conditions.add(ConditionType::Stalled, true, Reason::SpecInvalid, &message);
            status = StreamingPipelineStatus {
                conditions: Vec::new(),
                plan: None,
                waiting: Vec::new(),
                planned_actions: Vec::new(),
                ..old
            };
            status.phase = Some("Invalid".to_owned());
            status.observed_generation = resource.metadata.generation;
        }
        Outcome::Unobserved { failure, rejected } => {
            conditions.spec_valid(rejected);
            conditions.keep_links();
            conditions.unknown(ConditionType::Ready, &Reason::ObservationFailed.to_string(), &failure.message);
            conditions.add(ConditionType::Reconciling, true, Reason::ObservationFailed, &failure.message);
            conditions.add(ConditionType::Stalled, false, Reason::ObservationFailed, "the operator tries again");
            status = StreamingPipelineStatus { conditions: Vec::new(), phase: Some("Degraded".to_owned()), ..old };
            status.observed_generation = resource.metadata.generation;
        }
        Outcome::Planned { pipeline, rejected, observed, plan, failure } => {
            let rejected = &[*rejected, plan.refused.as_slice()].concat();
            conditions.spec_valid(rejected);
            for link in &plan.links {
                conditions.add(link.link.condition(), link.met, link.reason, &link.message);
            }
            let sources = sources::judge(pipeline, &observed.stores.sources);
            conditions.push(
                ConditionType::SourcesHealthy,
                sources.status,
                &sources.reason.to_string(),
                &sources.message,
            );
            conditions.intact(&plan.intact);
            conditions.repair(&repair::judge(pipeline, observed));
            conditions.suspended(plan.suspension.as_ref());
            status.losses.clone_from(&plan.intact.losses);
            status.drained = plan.suspension.as_ref().and_then(|suspension| suspension.drained.clone());
            let was_ready = conditions.was_true(ConditionType::Ready);
            let summary = Summary::of(plan, rejected, failure.as_ref());
            if is_paused(resource) {
                conditions.paused(&summary, plan);
                status.phase = Some("Paused".to_owned());
            } else {
                let summary = summary.unless_changing(plan, conditions.is_news());
                conditions.summary(&summary, plan);
                status.phase = Some(phase(&summary, plan, was_ready, old.phase.as_deref()).to_owned());
            }
            conditions.contested(&plan.contested);
            conditions.updates(plan);
            status.waiting = waiting(plan, &old.waiting, now);
            status.planned_actions = planned(plan, &status.waiting, nodes::planned(pipeline, observed));
            status.plan = proposal(pipeline, plan, old.plan.as_ref(), now);
            components(&mut status, pipeline, observed, &old);
            if let Some(kafka) = &mut status.kafka {
                kafka.reassignment = plan.reassignment.progress.map(progress);
            }
            status.sources = sources::statuses(&observed.stores.sources, two_digits);
            status.producer =
                Some(ProducerStatus { ready: ready_producers(pipeline, observed), sources: Some(sources.column) });
        }
    }
    status.conditions = conditions.new;
    // Written by `schedules`; named here, they would become ours.
    status.schedules = None;
    status
}

/// What `Ready` says.
struct Summary {
    ready: bool,
    stalled: bool,
    reason: Reason,
    message: String,
}

impl Summary {
    fn of(plan: &Plan, rejected: &[Rejected], failure: Option<&Failure>) -> Self {
        if let Some(failure) = failure {
            let reason = if failure.rejected { Reason::ApplyRejected } else { Reason::ApplyFailed };
            return Self { ready: false, stalled: failure.rejected, reason, message: failure.message.clone() };
        }
        if !rejected.is_empty() {
            return Self { ready: false, stalled: true, reason: Reason::SpecInvalid, message: first_of(rejected) };
        }
        let unready = |reason, message| Self { ready: false, stalled: false, reason, message };
        match (&plan.suspension, trouble(plan)) {
            (Some(Suspension { is_done: false, message, .. }), _) => unready(Reason::Suspending, message.clone()),
            (Some(suspension), None) => unready(Reason::Suspended, suspension.message.clone()),
            (Some(suspension), Some((reason, trouble))) => {
                unready(reason, format!("{trouble}; {}", suspension.message))
            }
            (None, Some((reason, trouble))) => unready(reason, trouble),
            (None, None) => {
                let ready = "every link of the readiness chain is met";
                let (reason, message) = match held(plan) {
                    Some((reason, held)) => (reason, format!("{ready}; {held}")),
                    None => (Reason::AllComponentsReady, ready.to_owned()),
                };
                Self { ready: true, stalled: false, reason, message }
            }
        }
    }
}

/// Returns what keeps data from flowing: the first unmet link, or else data that is gone.
fn trouble(plan: &Plan) -> Option<(Reason, String)> {
    if let Some(link) = plan.first_unmet() {
        return Some((link.reason, format!("{}: {}", link.link.condition(), link.message)));
    }
    let (reason, message) = plan.intact.first.clone()?;
    Some((reason, format!("{}: {message}", ConditionType::DataIntact)))
}

/// Returns what people or a time hold although the pipeline is ready, and why.
fn held(plan: &Plan) -> Option<(Reason, String)> {
    if let Some(waiting) = plan.held_by_people() {
        let pods = match plan.outdated {
            0 => format!("{} waits", waiting.act.describe()),
            1 => "1 pod with an outdated template waits".to_owned(),
            pods => format!("{pods} pods with an outdated template wait"),
        };
        return Some((waiting.cause.hold?, format!("{pods} for {}", waiting.cause.message)));
    }
    let reason = plan.kept.first()?.reason;
    let message = match requires_update(plan).filter(|_| reason == Reason::OperatorUpgraded) {
        Some(message) => message,
        None => {
            let stores = names_of(plan.kept.iter());
            format!("changes of {stores} wait for approval of the plan: {}", plan.approval.command)
        }
    };
    Some((reason, message))
}

/// Returns the stores whose template a new version of the operator changes, and what to do. `None`: there are none.
fn requires_update(plan: &Plan) -> Option<String> {
    let of_operator: Vec<&Kept> = plan.kept.iter().filter(|kept| !kept.by_people).collect();
    let when = match of_operator.first()?.reason {
        Reason::OperatorUpgraded => "with the next change of their spec, or now",
        _ => "when the plan is approved",
    };
    Some(format!(
        "this version of the operator has another template for the pods of {}, which run on as they are; they get it \
         {when}: {}",
        names_of(of_operator),
        plan.approval.command
    ))
}

/// Returns the stores of StatefulSets, each once.
fn names_of<'a>(kept: impl IntoIterator<Item = &'a Kept>) -> String {
    let stores: BTreeSet<Component> = kept.into_iter().map(|kept| kept.component).collect();
    stores.into_iter().map(|component| format!("{component:?}")).collect::<Vec<_>>().join(", ")
}

impl Summary {
    /// Returns whether all is as the spec asks for: data flows, or everything is drained.
    fn is_settled(&self) -> bool {
        self.ready || self.reason == Reason::Suspended
    }

    /// Links are judged before the plan is carried out. So a spec that was never Ready is not Ready by the facts of the
    /// one before it; a repair of the same spec lets Ready stand.
    fn unless_changing(self, plan: &Plan, spec_is_news: bool) -> Self {
        // What people hold is no change under way: it may take weeks, and the message says it.
        let rolls = plan.outdated > 0 && plan.held_by_people().is_none();
        let is_under_way = !plan.is_empty() || rolls || plan.is_under_way();
        if !self.ready || !spec_is_news || !is_under_way {
            return self;
        }
        Self { ready: false, stalled: false, reason: Reason::ApplyingChanges, message: under_way(plan) }
    }
}

fn under_way(plan: &Plan) -> String {
    let step = plan.acts.first().map(Act::describe).or_else(|| plan.growing.first().cloned());
    match step.or_else(|| plan.membership.waits.clone()) {
        Some(step) => format!("under way: {step}"),
        None if !plan.waiting.is_empty() => {
            let Waiting { act, cause } = &plan.waiting[0];
            format!("under way: {}; it waits for {}", act.describe(), cause.message)
        }
        None if plan.outdated > 0 => {
            format!("under way: {} pods with an outdated template are restarted one by one", plan.outdated)
        }
        None if plan.reassignment.is_wanted => "under way: partitions are moved to other brokers".to_owned(),
        None if plan.membership.is_wanted => "under way: the ZooKeeper ensemble changes".to_owned(),
        None => "under way: changed objects are being applied".to_owned(),
    }
}

/// Returns what waits, each since when it waits for the same.
fn waiting(plan: &Plan, old: &[WaitingStatus], now: DateTime<Utc>) -> Vec<WaitingStatus> {
    let status = |waiting: &Waiting| {
        let (action, cause) = (waiting.act.describe(), waiting.cause.message.clone());
        let before = old.iter().find(|before| before.action == action && before.cause == cause);
        WaitingStatus { since: before.map_or_else(|| time_of(now), |before| before.since.clone()), action, cause }
    };
    plan.waiting.iter().take(MAX_PLANNED).map(status).collect()
}

/// Returns what is about to be done or waits, in words.
fn planned(plan: &Plan, waiting: &[WaitingStatus], of_nodes: impl IntoIterator<Item = String>) -> Vec<String> {
    let under_way = plan.growing.iter().chain(&plan.membership.waits).cloned();
    let acts = plan.acts.iter().map(Act::describe).chain(under_way);
    let waits = waiting.iter().map(|WaitingStatus { action, cause, since }| {
        format!("held since {}: {action}; waits for {cause}", rfc3339(moment_of(since)))
    });
    let kept = plan.kept.iter().map(|kept| format!("held: {}; waits for approval of the plan", kept.describe()));
    acts.chain(of_nodes).chain(waits).chain(kept).take(MAX_PLANNED).collect()
}

/// Returns the plan that waits for approval, or that is approved and under way.
fn proposal(pipeline: &Pipeline, plan: &Plan, old: Option<&PlanStatus>, now: DateTime<Utc>) -> Option<PlanStatus> {
    let approval = &plan.approval;
    let is_under_way = plan.outdated > 0 && (approval.is_given || pipeline.update_policy == UpdatePolicy::Manual);
    if plan.kept.is_empty() && !is_under_way {
        return None;
    }
    let mut actions: Vec<String> = plan.kept.iter().map(Kept::describe).collect();
    match plan.outdated {
        0 => {}
        1 => actions.push("restart 1 pod with an outdated template".to_owned()),
        pods => actions.push(format!("restart {pods} pods with an outdated template one by one")),
    }
    let before = old.filter(|old| old.hash == approval.hash);
    Some(PlanStatus {
        hash: approval.hash.clone(),
        approved: approval.is_given,
        since: before.map_or_else(|| time_of(now), |before| before.since.clone()),
        actions,
    })
}

fn progress(progress: Progress) -> ReassignmentStatus {
    let Progress { moving, left, bytes_left } = progress;
    ReassignmentStatus {
        partitions_moving: moving as i32,
        partitions_left: left as i32,
        bytes_left: bytes_left.map(|bytes| two_digits(bytes.try_into().unwrap_or(i64::MAX))),
    }
}

fn phase(summary: &Summary, plan: &Plan, was_ready: bool, before: Option<&str>) -> &'static str {
    match (&plan.suspension, before) {
        _ if summary.ready => "Running",
        _ if summary.stalled => "Invalid",
        (Some(Suspension { is_done: true, .. }), _) => "Suspended",
        (Some(_), _) => "Suspending",
        (None, Some("Suspended" | "Suspending" | "Resuming")) => "Resuming",
        (None, before) if was_ready || before == Some("Degraded") => "Degraded",
        (None, _) => "Creating",
    }
}

fn first_of(rejected: &[Rejected]) -> String {
    match rejected {
        [] => String::new(),
        [only] => only.to_string(),
        [first, rest @ ..] => format!("{first} (and {} more; see the condition SpecValid)", rest.len()),
    }
}

/// Returns how many of the servers that are wanted vote and answer.
fn voting(facts: &ZooKeeperFacts, wanted: u32) -> usize {
    match facts.committed() {
        Some(committed) => facts.answering(committed).filter(|ordinal| *ordinal < wanted).count(),
        None => facts.servers.len(),
    }
}

fn components(
    status: &mut StreamingPipelineStatus,
    pipeline: &Pipeline,
    observed: &Observed,
    old: &StreamingPipelineStatus,
) {
    let of = |ready: usize, wanted: u32| format!("{ready}/{wanted}");
    let stores = &observed.stores;
    let (zookeeper, kafka, cassandra) =
        (pipeline.zookeeper.replicas, pipeline.kafka.replicas, pipeline.cassandra.nodes());
    status.zookeeper = Some(ComponentStatus {
        ready: of(voting(&stores.zookeeper, zookeeper), zookeeper),
        storage: storage(observed, Component::ZooKeeper),
    });
    status.cassandra = Some(CassandraStatus {
        ready: of(normal_nodes(&stores.cassandra), cassandra),
        storage: storage(observed, Component::Cassandra),
        version: newest_release(&stores.cassandra, old.cassandra.as_ref().and_then(|old| old.version.as_deref())),
        replication_factor: replication_factor(pipeline, observed, Some(old)).map(u32::cast_signed),
        tables: intact::tables(pipeline, observed),
        nodes: repair::nodes(pipeline, observed),
        repair: repair::status(pipeline, observed),
    });

    let facts = stores.kafka.as_ref().ok();
    status.kafka = Some(KafkaStatus {
        ready: of(facts.map_or(0, |facts| registered_brokers(kafka, facts)), kafka),
        storage: storage(observed, Component::Kafka),
        topics: topics(observed, old.kafka.as_ref()),
        reassignment: None,
    });
    status.lag = facts.and_then(KafkaFacts::lag).map(two_digits);

    let children = &observed.children;
    let deployment = children.deployments.get(&pipeline.names.component(Component::Processor));
    let existing = deployment.and_then(|workload| workload.status.as_ref()?.replicas).unwrap_or(0);
    status.processor = Some(ProcessorStatus {
        ready: of(readiness::deployment(deployment).ready as usize, suspend::processors(pipeline, observed)),
        replicas: existing,
        selector: pod_selector(&pipeline.names, Component::Processor),
    });
}

/// Returns the size that every volume of a store was given at least. `None`: it has none, or they cannot be listed.
fn storage(observed: &Observed, component: Component) -> Option<String> {
    let of_store = |claim: &&Claim| claim.component.as_deref() == Some(component.as_str());
    let claims = observed.children.volumes.iter().flat_map(BTreeMap::values).filter(of_store);
    let sizes = claims.filter_map(|claim| claim.size.as_ref());
    let least = sizes.filter_map(|size| Some((size.parse::<Quantity>().ok()?, size))).min();
    least.map(|(_, size)| size.clone())
}

fn ready_producers(pipeline: &Pipeline, observed: &Observed) -> String {
    let name = pipeline.names.component(Component::Producer);
    let producer = readiness::stateful_set(observed.children.stateful_sets.get(&name));
    format!("{}/{}", producer.ready, suspend::producers(pipeline, observed))
}

/// Keeps the base of each topic's write timestamps for as long as the topic is the same one with the same partitions and
/// all its records, and gives a new topic a base above all earlier ones: now. Topics that cannot be asked for keep what
/// they had.
fn topics(observed: &Observed, old: Option<&KafkaStatus>) -> Vec<TopicStatus> {
    let old = old.map_or(&[][..], |kafka| &kafka.topics);
    let Ok(facts) = &observed.stores.kafka else {
        return old.to_vec();
    };
    // Above every earlier base, also when this operator's clock is behind that of the one before it.
    let highest = old.iter().map(|topic| topic.write_timestamp_base).max();
    let now = observed.now.timestamp_micros().max(highest.map_or(i64::MIN, |highest| highest + 1));
    let mut topics: BTreeMap<String, TopicStatus> =
        old.iter().map(|topic| (topic.name.clone(), topic.clone())).collect();
    for (name, found) in &facts.topics {
        let id = found.id.to_string();
        let partitions = found.partitions.len() as i32;
        let position = facts.position(name);
        let is_same = |topic: &&TopicStatus| {
            topic.id == id && topic.partitions == partitions && !has_lost_records(topic, found, position)
        };
        let before = topics.get(name).filter(is_same);
        let unknown = before.filter(|_| facts.positions.is_none());
        let topic = TopicStatus {
            name: name.clone(),
            id,
            partitions,
            write_timestamp_base: before.map_or(now, |topic| topic.write_timestamp_base),
            records: position.map(|position| two_digits(position.end)).or_else(|| unknown?.records),
            lag: position.map(|position| two_digits(position.lag)).or_else(|| unknown?.lag),
            beyond: position.map(|position| position.beyond).filter(|beyond| *beyond > 0).or_else(|| unknown?.beyond),
        };
        topics.insert(name.clone(), topic);
    }
    topics.into_values().collect()
}

/// Builds conditions: the transition time moves only with the status, everything else is of now.
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
    fn unknown(&mut self, condition: ConditionType, reason: &str, message: &str) {
        self.push(condition, ConditionStatus::Unknown, reason, message);
    }

    fn push(&mut self, condition: ConditionType, status: ConditionStatus, reason: &str, message: &str) {
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

    fn spec_valid(&mut self, rejected: &[Rejected]) {
        if rejected.is_empty() {
            self.add(ConditionType::SpecValid, true, Reason::Valid, "the spec is valid");
            return;
        }
        let message = rejected.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        self.add(ConditionType::SpecValid, false, Reason::Rejected, &message);
    }

    fn summary(&mut self, summary: &Summary, plan: &Plan) {
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
    fn paused(&mut self, summary: &Summary, plan: &Plan) {
        let waiting = match plan.changes() {
            0 => "no change waits".to_owned(),
            1 => "one change waits".to_owned(),
            changes => format!("{changes} changes wait"),
        };
        let message = format!(
            "paused by the annotation {PAUSED}: the operator changes nothing, and {waiting}; as observed: {}",
            summary.message
        );
        self.unknown(ConditionType::Ready, &Reason::Paused.to_string(), &message);
        self.add(ConditionType::Reconciling, false, Reason::Paused, &message);
        self.add(ConditionType::Stalled, false, Reason::Paused, &message);
    }

    /// Says whether all data is there that was there. What cannot be asked now is as it was.
    fn intact(&mut self, intact: &Intact) {
        match (&intact.first, intact.known) {
            (Some((reason, message)), _) => self.add(ConditionType::DataIntact, false, *reason, message),
            (None, true) => {
                let message = "no loss is known: topics and tables are those that this pipeline has seen so far";
                self.add(ConditionType::DataIntact, true, Reason::NothingMissing, message);
            }
            (None, false) => self.new.extend(self.old.get(ConditionType::DataIntact.as_str()).cloned()),
        }
    }

    /// Says whether the nodes' last full repairs are recent enough. What cannot be asked now is as it was.
    fn repair(&mut self, schedule: &Schedule) {
        match schedule {
            Schedule::Absent => {}
            Schedule::Unknown => self.new.extend(self.old.get(ConditionType::RepairOnSchedule.as_str()).cloned()),
            Schedule::InTime => {
                let message = "no node's last full repair is too long ago for any table's gc_grace_seconds";
                self.add(ConditionType::RepairOnSchedule, true, Reason::RepairInTime, message);
            }
            Schedule::Overdue(message) => {
                self.add(ConditionType::RepairOnSchedule, false, Reason::RepairOverdue, message);
            }
        }
    }

    /// Says how far a pipeline that is to be suspended has come.
    fn suspended(&mut self, suspension: Option<&Suspension>) {
        if let Some(Suspension { is_done, reason, message, drained: _ }) = suspension {
            self.add(ConditionType::Suspended, *is_done, *reason, message);
        }
    }

    /// Says what differs and is left alone, if anything is.
    fn contested(&mut self, contested: &[Changed]) {
        if contested.is_empty() {
            return;
        }
        let listed: Vec<String> = contested.iter().map(Changed::describe).collect();
        let message = format!(
            "left as it is, since it is changed again whenever the operator sets it: {}; find who does it, such as an \
             admission webhook or an autoscaler, and make one of them stop",
            listed.join("; ")
        );
        self.add(ConditionType::Contested, true, Reason::ChangedByOthers, &message);
    }

    /// Says which restarts people or a time hold, and which templates wait, if any do.
    fn updates(&mut self, plan: &Plan) {
        if let Some((reason, message)) = held(plan).filter(|(reason, _)| *reason != Reason::OperatorUpgraded) {
            self.add(ConditionType::UpdatesHeld, true, reason, &message);
        }
        if let Some(message) = requires_update(plan) {
            self.add(ConditionType::RequiresUpdate, true, Reason::OperatorUpgraded, &message);
        }
    }

    /// Says of everything that is observed that it is unknown now, with what was last known.
    fn keep_links(&mut self) {
        let others = [
            ConditionType::SourcesHealthy,
            ConditionType::DataIntact,
            ConditionType::RepairOnSchedule,
            ConditionType::Contested,
            ConditionType::UpdatesHeld,
            ConditionType::RequiresUpdate,
            ConditionType::Suspended,
        ];
        for condition in Link::ALL.map(Link::condition).into_iter().chain(others) {
            let Some(old) = self.old.get(condition.as_str()).cloned() else {
                continue;
            };
            self.unknown(condition, &old.reason, &old.message);
        }
    }

    /// Returns whether the current generation has not been Ready yet.
    fn is_news(&self) -> bool {
        let ready = self.old.get(ConditionType::Ready.as_str()).filter(|old| is_true(old));
        ready.is_none_or(|old| old.observed_generation != Some(self.generation))
    }

    fn was_true(&self, condition: ConditionType) -> bool {
        self.old.get(condition.as_str()).is_some_and(is_true)
    }
}
