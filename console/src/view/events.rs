//! Kubernetes events → those of a pipeline, newest first.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Event as Resource;

use super::moment;
use crate::api::pods::Event;

/// Most events that are shown.
const MOST: usize = 300;

/// What a pipeline's events are about.
#[derive(Debug, Default)]
pub struct Subjects {
    /// Name of the pipeline.
    pub pipeline: String,
    /// Names of its runs.
    pub runs: BTreeSet<String>,
}

impl Subjects {
    /// Returns whether an event is about the pipeline, one of its runs, or an object whose name follows from one of them.
    fn include(&self, event: &Resource) -> bool {
        let about = &event.involved_object;
        let (kind, name) = (about.kind.as_deref().unwrap_or_default(), about.name.as_deref().unwrap_or_default());
        let follows = |from: &str| name.strip_prefix(from).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
        match kind {
            "StreamingPipeline" => name == self.pipeline,
            "IngestionRun" => self.runs.contains(name),
            _ => {
                PARTS.iter().any(|part| follows(&format!("{}-{part}", self.pipeline)))
                    || self.runs.iter().any(|run| follows(run))
            }
        }
    }
}

/// What the names of a pipeline's objects go on with.
const PARTS: [&str; 6] = ["zookeeper", "kafka", "cassandra", "producer", "processor", "pipeline"];

/// Returns a pipeline's events.
pub fn events(resources: &[Resource], subjects: &Subjects) -> Vec<Event> {
    let mut events: Vec<Event> = resources.iter().filter(|event| subjects.include(event)).map(event).collect();
    events.sort_by_key(|event| std::cmp::Reverse(event.time));
    events.truncate(MOST);
    events
}

fn event(resource: &Resource) -> Event {
    let about = &resource.involved_object;
    let series = resource.series.as_ref();
    let last = series.and_then(|series| series.last_observed_time.as_ref()).or(resource.event_time.as_ref());
    let time = resource.last_timestamp.as_ref().map(moment).or_else(|| {
        last.map(|time| chrono::DateTime::from_timestamp_micros(time.0.as_microsecond()).unwrap_or_default())
    });
    Event {
        time: time.or_else(|| resource.metadata.creation_timestamp.as_ref().map(moment)),
        kind: resource.type_.clone().unwrap_or_default(),
        reason: resource.reason.clone().unwrap_or_default(),
        object: format!("{}/{}", about.kind.as_deref().unwrap_or("?"), about.name.as_deref().unwrap_or("?")),
        message: resource.message.clone().unwrap_or_default(),
        count: resource.count.or_else(|| series.and_then(|series| series.count)).unwrap_or(1),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn resource(kind: &str, name: &str, time: &str) -> Resource {
        let written = json!({"metadata": {}, "involvedObject": {"kind": kind, "name": name}, "reason": name, "lastTimestamp": time});
        serde_json::from_value(written).expect("an event")
    }

    #[test]
    fn shows_what_is_about_the_pipeline_and_nothing_of_its_neighbours() {
        let subjects = Subjects { pipeline: "users".to_owned(), runs: BTreeSet::from(["orders-1".to_owned()]) };
        let resources = [
            resource("StreamingPipeline", "users", "2026-01-01T00:00:01Z"),
            resource("Pod", "users-kafka-0", "2026-01-01T00:00:03Z"),
            resource("Job", "orders-1-2", "2026-01-01T00:00:02Z"),
            resource("IngestionRun", "orders-1", "2026-01-01T00:00:04Z"),
            resource("StreamingPipeline", "users-2", "2026-01-01T00:00:05Z"),
            resource("Pod", "users-2-kafka-0", "2026-01-01T00:00:05Z"),
            resource("IngestionRun", "orders-10", "2026-01-01T00:00:05Z"),
            resource("Pod", "other", "2026-01-01T00:00:05Z"),
        ];
        let objects: Vec<String> = events(&resources, &subjects).into_iter().map(|event| event.object).collect();
        assert_eq!(
            objects,
            ["IngestionRun/orders-1", "Pod/users-kafka-0", "Job/orders-1-2", "StreamingPipeline/users"]
        );
    }
}
