//! `StreamingPipeline` → what is ready and what is not, and why. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use millrace_api::StreamingPipeline;
use millrace_api::crd::condition::{ConditionStatus, ConditionType, Link as ChainLink};
use millrace_api::crd::status::SourceStatus;
use millrace_api::crd::{ScheduleStatus, StreamingPipelineStatus};
use serde::Serialize;

/// The links as a tree has them, each below the one that waits for it, and what each is called here.
const TREE: [(ChainLink, &str); 6] = [
    (ChainLink::Producer, "producers"),
    (ChainLink::Processor, "processors"),
    (ChainLink::Topics, "topics"),
    (ChainLink::Kafka, "brokers"),
    (ChainLink::ZooKeeper, "zookeeper"),
    (ChainLink::Cassandra, "cassandra"),
];

/// Whether something is as it should be.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is.
    Met,
    /// It is not.
    Unmet,
    /// Nobody knows right now.
    Unknown,
}

impl State {
    /// Reads a condition. `None`: there is none yet.
    fn of(condition: Option<&Condition>) -> Self {
        match condition.map(ConditionStatus::of) {
            Some(ConditionStatus::True) => Self::Met,
            Some(ConditionStatus::False) => Self::Unmet,
            Some(ConditionStatus::Unknown) | None => Self::Unknown,
        }
    }
}

/// A link of the chain.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Link {
    /// The condition.
    pub condition: ConditionType,
    /// What it is about.
    pub name: &'static str,
    /// The condition that waits for it. Absent: the pipeline itself does.
    pub awaited_by: Option<ConditionType>,
    /// Whether it is met.
    pub state: State,
    /// Ready and wanted members, such as `2/3`. Absent: unknown, or it has none.
    pub members: Option<String>,
    /// Why, in one word.
    pub reason: String,
    /// Why, in a sentence.
    pub message: String,
    /// Whether it is not met although all that it waits for is.
    pub is_cause: bool,
}

/// What there is to say of a pipeline.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub pipeline: String,
    /// Whether data can flow.
    pub ready: State,
    /// The phase. Absent: the operator has not looked yet.
    pub phase: Option<String>,
    /// Why, in one word.
    pub reason: String,
    /// Why, in a sentence.
    pub message: String,
    /// Whether the status speaks of an older spec than the one that is there.
    pub outdated: bool,
    /// What is wrong with the spec. Absent: nothing.
    pub invalid: Option<String>,
    /// The links.
    pub chain: Vec<Link>,
    /// Records that wait for the processors. Absent: unknown.
    pub lag: Option<i64>,
    /// What the operator does or waits to do.
    pub planned: Vec<String>,
    /// Sources that are well and all of them, such as `12/15`. Absent: unknown.
    pub sources: Option<String>,
    /// The sources that fail, or had records that could not be mapped.
    pub faulty_sources: Vec<SourceStatus>,
    /// Sources with a schedule.
    pub schedules: Vec<ScheduleStatus>,
}

/// Reads a pipeline's conditions.
pub fn report(pipeline: &StreamingPipeline) -> Report {
    let (namespace, name) = (pipeline.namespace().unwrap_or_default(), pipeline.name_any());
    let Some(status) = &pipeline.status else {
        return Report {
            namespace,
            pipeline: name,
            ready: State::Unknown,
            phase: None,
            reason: "NotSeen".to_owned(),
            message: "no operator has processed it yet; check that one runs and watches this namespace".to_owned(),
            outdated: false,
            invalid: None,
            chain: Vec::new(),
            lag: None,
            planned: Vec::new(),
            sources: None,
            faulty_sources: Vec::new(),
            schedules: Vec::new(),
        };
    };
    let ready = ConditionType::Ready.of(&status.conditions);
    let invalid = ConditionType::SpecValid
        .of(&status.conditions)
        .filter(|condition| ConditionStatus::of(condition) == ConditionStatus::False);
    // With a Kafka that someone else runs there is no ensemble.
    let is_there = |link: &ChainLink| *link != ChainLink::ZooKeeper || pipeline.spec.zookeeper.is_some();
    let mut chain: Vec<Link> = TREE
        .into_iter()
        .filter(|(link, _)| is_there(link))
        .map(|(link, name)| {
            let found = link.condition().of(&status.conditions);
            Link {
                condition: link.condition(),
                name,
                awaited_by: link.awaited_by().map(ChainLink::condition),
                state: State::of(found),
                members: members(status, name),
                reason: found.map(|found| found.reason.clone()).unwrap_or_default(),
                message: found.map(|found| found.message.clone()).unwrap_or_default(),
                is_cause: false,
            }
        })
        .collect();
    let unmet: Vec<ConditionType> =
        chain.iter().filter(|link| link.state != State::Met).filter_map(|link| link.awaited_by).collect();
    for link in &mut chain {
        link.is_cause = link.state == State::Unmet && !unmet.contains(&link.condition);
    }
    Report {
        namespace,
        pipeline: name,
        ready: State::of(ready),
        phase: status.phase.clone(),
        reason: ready.map(|ready| ready.reason.clone()).unwrap_or_default(),
        message: ready.map(|ready| ready.message.clone()).unwrap_or_default(),
        outdated: status.observed_generation != pipeline.metadata.generation,
        invalid: invalid.map(|invalid| invalid.message.clone()),
        chain,
        lag: status.lag,
        planned: status.planned_actions.clone(),
        sources: status.producer.as_ref().and_then(|producer| producer.sources.clone()),
        faulty_sources: status
            .sources
            .iter()
            .filter(|source| !source.message.is_empty() || source.rejected > 0)
            .cloned()
            .collect(),
        schedules: status.schedules.clone().unwrap_or_default(),
    }
}

fn members(status: &StreamingPipelineStatus, link: &str) -> Option<String> {
    match link {
        "producers" => status.producer.as_ref().map(|status| status.ready.clone()),
        "processors" => status.processor.as_ref().map(|status| status.ready.clone()),
        "brokers" => status.kafka.as_ref().map(|status| status.ready.clone()),
        "zookeeper" => status.zookeeper.as_ref().map(|status| status.ready.clone()),
        "cassandra" => status.cassandra.as_ref().map(|status| status.ready.clone()),
        _ => None,
    }
}
