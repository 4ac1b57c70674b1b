//! `StreamingPipeline` → what is ready and what is not, and why. Pure.

use kube::ResourceExt;
use millrace_api::StreamingPipeline;
use millrace_api::crd::{ScheduleStatus, StreamingPipelineStatus};
use serde::Serialize;

/// The links, each with what the one that waits for it is: `None`, the pipeline itself.
const CHAIN: [(&str, &str, Option<&str>); 6] = [
    ("ProducerReady", "producers", None),
    ("ProcessorReady", "processors", Some("ProducerReady")),
    ("TopicsReady", "topics", Some("ProcessorReady")),
    ("KafkaReady", "brokers", Some("TopicsReady")),
    ("ZooKeeperReady", "zookeeper", Some("KafkaReady")),
    ("CassandraReady", "cassandra", Some("ProcessorReady")),
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
    fn of(status: &str) -> Self {
        match status {
            "True" => Self::Met,
            "False" => Self::Unmet,
            _ => Self::Unknown,
        }
    }
}

/// A link of the chain.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Link {
    /// The condition.
    pub condition: &'static str,
    /// What it is about.
    pub name: &'static str,
    /// The condition that waits for it. Absent: the pipeline itself does.
    pub awaited_by: Option<&'static str>,
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
            message: "no operator has looked at it yet; does one run, and watch this namespace?".to_owned(),
            outdated: false,
            invalid: None,
            chain: Vec::new(),
            lag: None,
            planned: Vec::new(),
            schedules: Vec::new(),
        };
    };
    let condition = |name: &str| status.conditions.iter().find(|condition| condition.type_ == name);
    let ready = condition("Ready");
    let invalid = condition("SpecValid").filter(|condition| condition.status == "False");
    let mut chain: Vec<Link> = CHAIN
        .into_iter()
        .map(|(kind, name, awaited_by)| {
            let found = condition(kind);
            Link {
                condition: kind,
                name,
                awaited_by,
                state: found.map_or(State::Unknown, |found| State::of(&found.status)),
                members: members(status, name),
                reason: found.map(|found| found.reason.clone()).unwrap_or_default(),
                message: found.map(|found| found.message.clone()).unwrap_or_default(),
                is_cause: false,
            }
        })
        .collect();
    let unmet: Vec<&str> =
        chain.iter().filter(|link| link.state != State::Met).filter_map(|link| link.awaited_by).collect();
    for link in &mut chain {
        link.is_cause = link.state == State::Unmet && !unmet.contains(&link.condition);
    }
    Report {
        namespace,
        pipeline: name,
        ready: ready.map_or(State::Unknown, |ready| State::of(&ready.status)),
        phase: status.phase.clone(),
        reason: ready.map(|ready| ready.reason.clone()).unwrap_or_default(),
        message: ready.map(|ready| ready.message.clone()).unwrap_or_default(),
        outdated: status.observed_generation != pipeline.metadata.generation,
        invalid: invalid.map(|invalid| invalid.message.clone()),
        chain,
        lag: status.lag,
        planned: status.planned_actions.clone(),
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
