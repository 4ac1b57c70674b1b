//! `restart`: has the pods of a component restarted, by the annotation that `kubectl rollout restart` sets, in the
//! component's `podTemplate`. The operator carries it out as it does any change of a template.

use chrono::{DateTime, Utc};
use kube::ResourceExt;
use millrace_api::StreamingPipeline;
use millrace_api::labels::is_paused;
use millrace_api::names::Component;
use millrace_api::params::rfc3339;
use serde_json::{Value, json};

use super::Context;
use super::change::{Change, patch, restarts};
use crate::arguments::Restart;
use crate::screen::write;
use crate::{Failure, Outcome};

/// Annotation of pods: when a person last asked for their restart.
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// Asks for a restart.
#[expect(clippy::disallowed_methods, reason = "where the command reads the clock; what it writes is given the time")]
pub async fn run(context: &Context<'_>, flags: &Restart) -> Result<Outcome, Failure> {
    let pipeline = context.cluster.pipeline(flags.pipeline.as_deref()).await?;
    let name = pipeline.name_any();
    if pods(&pipeline, flags.component) == Some(0) {
        let message = format!("pipeline '{name}' has no pod to restart: spec.{}.replicas is 0", flags.component);
        return Err(Failure::mistake(message));
    }
    let asked = patch(context, &name, &annotate(flags.component, &json!(moment(Utc::now())))).await;
    asked.map_err(Failure::asking(format!("change pipeline '{name}'")))?;
    write(&change(&pipeline, flags.component).text(context.format))?;
    Ok(Outcome::Fine)
}

fn moment(now: DateTime<Utc>) -> String {
    rfc3339(DateTime::from_timestamp(now.timestamp(), 0).unwrap_or(now))
}

/// Returns the merge patch that gives the annotation a value; null removes it.
fn annotate(component: Component, value: &Value) -> Value {
    json!({"spec": {(component.as_str()): {"podTemplate": {"annotations": {RESTARTED_AT: value}}}}})
}

/// Returns how many pods of the workers are wanted. `None`: a store has some always.
fn pods(pipeline: &StreamingPipeline, component: Component) -> Option<i32> {
    match component {
        Component::Processor => Some(pipeline.spec.processor.replicas),
        Component::Producer => Some(pipeline.spec.producer.replicas),
        Component::ZooKeeper | Component::Kafka | Component::Cassandra | Component::Run => None,
    }
}

/// Returns the annotation as it was before; null where there was none.
fn before(pipeline: &StreamingPipeline, component: Component) -> Value {
    let spec = &pipeline.spec;
    let template = match component {
        Component::ZooKeeper => spec.zookeeper.as_ref().and_then(|zookeeper| zookeeper.pod_template.as_ref()),
        Component::Kafka => spec.kafka.pod_template.as_ref(),
        Component::Cassandra => spec.cassandra.pod_template.as_ref(),
        Component::Processor => spec.processor.pod_template.as_ref(),
        Component::Producer | Component::Run => spec.producer.pod_template.as_ref(),
    };
    let annotation = template.and_then(|template| template.get("annotations")?.get(RESTARTED_AT));
    annotation.cloned().unwrap_or(Value::Null)
}

/// Says what follows from the request for a pipeline as it was before.
fn change(pipeline: &StreamingPipeline, component: Component) -> Change {
    let (namespace, name) = (pipeline.namespace().unwrap_or_default(), pipeline.name_any());
    let done = format!("a restart of the pods of {component} of '{name}' is requested");
    let next = match pods(pipeline, component) {
        Some(_) if is_paused(pipeline) => "its pods are replaced once the operator is no longer paused".to_owned(),
        Some(_) => {
            "its pods are replaced by a rolling update immediately, even if restarts of the stores are held".to_owned()
        }
        None => restarts(pipeline),
    };
    let next = format!("{next}; if it is undone later, pods that have restarted by then restart again");
    let back = annotate(component, &before(pipeline, component));
    let undo = format!("kubectl patch spl -n {namespace} {name} --type=merge -p '{back}'");
    Change::of(pipeline, true, done, next, Some(undo))
}

#[cfg(test)]
mod tests {
    use super::super::change::tests::pipeline;
    use super::*;

    #[test]
    fn one_annotation_of_one_component_is_written() {
        let written = annotate(Component::Kafka, &json!("2026-01-01T00:00:00Z"));
        let expected = json!({"spec": {"kafka": {"podTemplate": {"annotations": {
            "kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z",
        }}}}});
        assert_eq!(written, expected);
        assert_eq!(moment("2026-01-01T00:00:00.123Z".parse().expect("a moment")), "2026-01-01T00:00:00Z");
    }

    #[test]
    fn the_way_back_has_what_was_there_before() {
        let first = pipeline(json!({}), json!({}), Value::Null);
        let undo = change(&first, Component::Kafka).undo.expect("a way back");
        assert!(undo.contains(
            r#"{"spec":{"kafka":{"podTemplate":{"annotations":{"kubectl.kubernetes.io/restartedAt":null}}}}}"#
        ));
        let mut again = first;
        again.spec.kafka.pod_template = Some(json!({"annotations": {RESTARTED_AT: "2025-01-01T00:00:00Z"}}));
        let undo = change(&again, Component::Kafka).undo.expect("a way back");
        assert!(undo.contains(r#""kubectl.kubernetes.io/restartedAt":"2025-01-01T00:00:00Z""#), "{undo}");
    }

    #[test]
    fn workers_roll_out_at_once_and_stores_in_order() {
        let of = pipeline(json!({}), json!({}), Value::Null);
        assert!(change(&of, Component::Processor).next.contains("immediately"));
        assert!(change(&of, Component::Cassandra).next.contains("one at a time"));
        assert_eq!((pods(&of, Component::Processor), pods(&of, Component::ZooKeeper)), (Some(1), None));
    }
}
