//! A pipeline's resource → its line in the list, its conditions, and how it is.

use k8s_openapi::apimachinery::pkg::apis::meta::v1;
use kube::ResourceExt;
use millrace_api::StreamingPipeline;
use millrace_api::crd::StreamingPipelineStatus;
use millrace_api::crd::condition::{ConditionStatus, ConditionType, Link, Reason};
use millrace_api::crd::status::PlanStatus;
use millrace_api::names::Names;

use super::moment;
use crate::api::history::{Measure, SeriesKey};
use crate::api::pipeline::{Component, ComponentSummary, Condition, PipelineSummary, Plan, Stage, State};
use crate::measure::history::{History, STEP_SECONDS};

/// Length of a sparkline in samples, and which of them it shows: ten minutes, 30 s apart.
const SPARKLINE: (usize, usize) = (600 / STEP_SECONDS as usize, 30 / STEP_SECONDS as usize);

impl Component {
    /// All components, in the order of the readiness chain.
    pub const ALL: [Self; 5] = [Self::ZooKeeper, Self::Kafka, Self::Cassandra, Self::Processor, Self::Producer];

    /// Returns the link of the readiness chain that says how it is.
    pub const fn link(self) -> Link {
        match self {
            Self::ZooKeeper => Link::ZooKeeper,
            Self::Kafka => Link::Kafka,
            Self::Cassandra => Link::Cassandra,
            Self::Producer => Link::Producer,
            Self::Processor => Link::Processor,
        }
    }
}

/// Returns a pipeline's line in the list.
pub fn summary(resource: &StreamingPipeline, history: &History) -> PipelineSummary {
    let names = crate::cluster::names_of(resource);
    let status = resource.status.clone().unwrap_or_default();
    let conditions = conditions(&status.conditions);
    let ready = conditions.into_iter().find(|condition| condition.kind == ConditionType::Ready.as_str());
    let recent = |stage, measure| history.recent(&names, &series(Some(stage), measure));
    let error_rate = error_rate(&names, history);
    let lag = series(None, Measure::LagRecords);
    let (samples, every) = SPARKLINE;
    PipelineSummary {
        namespace: names.namespace().to_owned(),
        name: names.pipeline().to_owned(),
        created: resource.creation_timestamp().as_ref().map(moment).unwrap_or_default(),
        state: state(resource, error_rate),
        ready,
        phase: status.phase.clone(),
        components: components(resource).map(|component| members(component, &status)).collect(),
        lag_records: history.latest(&names, &lag),
        lag_seconds: history.latest(&names, &series(None, Measure::LagSeconds)),
        in_rate: recent(Stage::Source, Measure::OutRate),
        out_rate: recent(Stage::Sink, Measure::OutRate),
        error_rate,
        paused_sources: paused(resource),
        lag_sparkline: history.thinned(&names, &lag, samples, every),
    }
}

/// Returns the components of a pipeline: one on a Kafka that someone else runs has no ensemble.
fn components(resource: &StreamingPipeline) -> impl Iterator<Item = Component> {
    let has_ensemble = resource.spec.zookeeper.is_some();
    Component::ALL.into_iter().filter(move |component| *component != Component::ZooKeeper || has_ensemble)
}

/// Returns the key of a series of a whole stage, or of the whole pipeline.
pub fn series(stage: Option<Stage>, measure: Measure) -> SeriesKey {
    SeriesKey { measure, stage, name: None, partition: None }
}

/// Returns the errors a second of all stages; `None`: of one it is unknown.
fn error_rate(names: &Names, history: &History) -> Option<f64> {
    let stages = [Stage::Source, Stage::Processor, Stage::Sink];
    stages.into_iter().map(|stage| history.recent(names, &series(Some(stage), Measure::ErrorRate))).sum()
}

/// Returns the sources whose schedule is paused.
pub fn paused(resource: &StreamingPipeline) -> Vec<String> {
    let sources = resource.spec.producer.sources.iter();
    let paused = sources.filter(|source| source.schedule.as_ref().is_some_and(|schedule| schedule.paused));
    paused.map(|source| source.name.clone()).collect()
}

/// Returns how a pipeline is.
pub fn state(resource: &StreamingPipeline, error_rate: Option<f64>) -> State {
    let Some(status) = &resource.status else {
        return State::Waiting;
    };
    let spec = &resource.spec;
    match ConditionType::Ready.of(&status.conditions).map(ConditionStatus::of) {
        None => State::Waiting,
        Some(ConditionStatus::Unknown) => State::Unknown,
        Some(ConditionStatus::True) if spec.processor.replicas == 0 => State::Empty,
        Some(ConditionStatus::True) if paused(resource).len() == spec.producer.sources.len() => State::Paused,
        Some(ConditionStatus::True) if error_rate.is_some_and(|rate| rate > 0.0) => State::Degraded,
        Some(ConditionStatus::True) => State::Ok,
        Some(ConditionStatus::False) if ConditionType::Stalled.is_true(&status.conditions) => State::Failed,
        Some(ConditionStatus::False) if is_suspended(status) => State::Paused,
        Some(ConditionStatus::False) if matches!(status.phase.as_deref(), Some("Creating" | "Resuming")) => {
            State::Waiting
        }
        Some(ConditionStatus::False) => State::Degraded,
    }
}

/// Returns whether nothing flows because that is what the spec asks for.
fn is_suspended(status: &StreamingPipelineStatus) -> bool {
    let reasons = [Reason::Suspending, Reason::Suspended].map(|reason| reason.to_string());
    ConditionType::Ready.of(&status.conditions).is_some_and(|ready| reasons.contains(&ready.reason))
}

/// Returns how a component is.
pub fn component_state(component: Component, status: Option<&StreamingPipelineStatus>) -> State {
    let Some(status) = status else {
        return State::Waiting;
    };
    let members = members(component, status);
    let condition = component.link().condition().of(&status.conditions);
    match (condition.map(ConditionStatus::of), members.ready, members.desired) {
        (_, _, Some(0)) => State::Empty,
        (Some(ConditionStatus::True), _, _) => State::Ok,
        (None, _, _) if status.phase.as_deref() == Some("Creating") => State::Waiting,
        (None | Some(ConditionStatus::Unknown), _, _) => State::Unknown,
        (Some(ConditionStatus::False), _, _) if status.phase.as_deref() == Some("Creating") => State::Waiting,
        (Some(ConditionStatus::False), Some(0), _) => State::Failed,
        (Some(ConditionStatus::False), _, _) => State::Degraded,
    }
}

/// Returns the members of a component.
pub fn members(component: Component, status: &StreamingPipelineStatus) -> ComponentSummary {
    let StreamingPipelineStatus { zookeeper, kafka, cassandra, producer, processor, .. } = status;
    let text = match component {
        Component::ZooKeeper => zookeeper.as_ref().map(|status| &status.ready),
        Component::Kafka => kafka.as_ref().map(|status| &status.ready),
        Component::Cassandra => cassandra.as_ref().map(|status| &status.ready),
        Component::Producer => producer.as_ref().map(|status| &status.ready),
        Component::Processor => processor.as_ref().map(|status| &status.ready),
    };
    let counts = text.and_then(|text| text.split_once('/'));
    let count = |text: Option<&str>| text.and_then(|text| text.parse().ok());
    ComponentSummary {
        component,
        ready: count(counts.map(|(ready, _)| ready)),
        desired: count(counts.map(|(_, desired)| desired)),
    }
}

/// Returns the plan of a resource.
pub fn plan(PlanStatus { hash, approved, since, actions }: &PlanStatus) -> Plan {
    Plan { hash: hash.clone(), approved: *approved, since: moment(since), actions: actions.clone() }
}

/// Returns the conditions of a resource.
pub fn conditions(written: &[v1::Condition]) -> Vec<Condition> {
    written
        .iter()
        .map(|condition| Condition {
            kind: condition.type_.clone(),
            status: condition.status.clone(),
            reason: condition.reason.clone(),
            message: condition.message.clone(),
            since: moment(&condition.last_transition_time),
        })
        .collect()
}

#[cfg(test)]
pub mod fixtures {
    //! Resources for tests, from the operator's own fixture.

    use serde_json::{Value, json};

    use super::*;

    /// Returns the operator's fixture of one member each, with this status.
    pub fn pipeline(status: Value) -> StreamingPipeline {
        let text = include_str!("../../../operator/tests/fixtures/one.yaml");
        let mut resource: StreamingPipeline = serde_yaml::from_str(text).expect("the fixture is a pipeline");
        resource.metadata.namespace = Some("shop".to_owned());
        resource.status = serde_json::from_value(status).expect("a status");
        resource
    }

    /// Returns the status of a pipeline with this `Ready` and this phase.
    pub fn status(ready: &str, phase: &str) -> Value {
        let condition = |kind: &str, status: &str| {
            json!({"type": kind, "status": status, "reason": "Reason", "message": format!("{kind} is {status}"),
                "lastTransitionTime": "2026-01-01T00:00:00Z"})
        };
        json!({
            "phase": phase,
            "conditions": [condition("Ready", ready), condition("KafkaReady", ready), condition("CassandraReady", "True")],
            "kafka": {"ready": if ready == "True" { "1/1" } else { "0/1" }},
            "processor": {"ready": "1/1", "replicas": 1, "selector": ""},
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::fixtures::{pipeline, status};
    use super::*;

    #[test]
    fn a_pipeline_is_what_its_conditions_say() {
        let of = |ready, phase| state(&pipeline(status(ready, phase)), Some(0.0));
        assert_eq!(of("True", "Running"), State::Ok);
        assert_eq!(of("False", "Creating"), State::Waiting);
        assert_eq!(of("False", "Degraded"), State::Degraded);
        assert_eq!(of("Unknown", "Degraded"), State::Unknown);
        assert_eq!(state(&pipeline(Value::Null), None), State::Waiting);
        assert_eq!(state(&pipeline(status("True", "Running")), Some(0.5)), State::Degraded);
        assert_eq!(state(&pipeline(status("True", "Running")), None), State::Ok);
    }

    #[test]
    fn a_suspended_pipeline_is_paused_and_one_that_resumes_waits() {
        let mut suspended = pipeline(status("False", "Suspended"));
        suspended.status.as_mut().expect("a status").conditions[0].reason = "Suspended".to_owned();
        assert_eq!(state(&suspended, Some(0.0)), State::Paused);
        // The control: a store that fails meanwhile is the reason then.
        assert_eq!(state(&pipeline(status("False", "Suspended")), Some(0.0)), State::Degraded);
        assert_eq!(state(&pipeline(status("False", "Resuming")), Some(0.0)), State::Waiting);
    }

    #[test]
    fn components_stand_in_the_order_of_the_chain() {
        assert!(Component::ALL.map(Component::link).is_sorted());
    }

    #[test]
    fn a_pipeline_without_processors_is_empty_and_not_ok() {
        let mut empty = pipeline(status("True", "Running"));
        empty.spec.processor.replicas = 0;
        assert_eq!(state(&empty, Some(0.0)), State::Empty);
    }

    #[test]
    fn components_that_are_not_there_yet_are_unknown_and_not_zero() {
        let resource = pipeline(status("False", "Degraded"));
        let status = resource.status.as_ref();
        assert_eq!(component_state(Component::Kafka, status), State::Failed);
        assert_eq!(component_state(Component::Cassandra, status), State::Ok);
        assert_eq!(component_state(Component::ZooKeeper, status), State::Unknown);
        let members = members(Component::ZooKeeper, status.expect("a status"));
        assert_eq!((members.ready, members.desired), (None, None));
        assert_eq!(component_state(Component::Kafka, None), State::Waiting);
        let creating: StreamingPipelineStatus = serde_json::from_value(json!({"phase": "Creating"})).expect("a status");
        assert_eq!(component_state(Component::Kafka, Some(&creating)), State::Waiting);
    }

    #[test]
    fn what_was_not_measured_is_unknown_in_the_list() {
        let summary = summary(&pipeline(status("True", "Running")), &History::default());
        assert_eq!((summary.lag_records, summary.in_rate, summary.error_rate), (None, None, None));
        assert_eq!(
            summary.components[1],
            ComponentSummary { component: Component::Kafka, ready: Some(1), desired: Some(1) }
        );
    }
}
