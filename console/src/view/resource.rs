//! The resource as it is written → YAML, and where what runs is not what it says.

use kube::ResourceExt;
use millrace_api::StreamingPipeline;
use millrace_api::labels::COMPONENT_LABEL;
use millrace_api::names::{Component as Part, Names};
use millrace_api::validate::validate_sources;

use super::pipeline::{conditions, members};
use crate::api::pipeline::Component;
use crate::api::resource::{Difference, Resource};

/// Returns the resource; `pods` are those that exist, `None`: they could not be read, for this cause.
pub fn resource(
    written: &StreamingPipeline,
    names: &Names,
    pods: Result<&[k8s_openapi::api::core::v1::Pod], String>,
) -> Resource {
    let mut shown = written.clone();
    shown.metadata.managed_fields = None;
    let status = written.status.clone().unwrap_or_default();
    let mut unknown = Vec::new();
    let mut differences = of_members(written, &mut unknown);
    differences.extend(of_topics(written, &mut unknown));
    match pods {
        Ok(pods) => differences.extend(of_versions(written, pods)),
        Err(cause) => unknown.push(format!("which versions run: {cause}")),
    }
    if status.observed_generation.is_some() && status.observed_generation != written.metadata.generation {
        unknown.push("the operator has not looked at the latest change yet".to_owned());
    }
    Resource {
        yaml: serde_yaml::to_string(&shown).unwrap_or_default(),
        spec: serde_json::to_value(&written.spec).unwrap_or_default(),
        generation: written.metadata.generation.unwrap_or_default(),
        observed_generation: status.observed_generation,
        conditions: conditions(&status.conditions),
        differences,
        unknown,
        planned_actions: status.planned_actions,
        // What is wrong with SQL, the condition SpecValid says: its compiler is not part of this program.
        rejected: validate_sources(written).rejected.iter().map(ToString::to_string).collect(),
        kubectl: format!("kubectl get spl {} -n {} -o yaml", names.pipeline(), names.namespace()),
    }
}

fn of_members(written: &StreamingPipeline, unknown: &mut Vec<String>) -> Vec<Difference> {
    let spec = &written.spec;
    let nodes: i32 = spec.cassandra.racks.iter().map(|rack| rack.replicas).sum();
    let zookeeper = spec.zookeeper.as_ref().map(|zookeeper| zookeeper.replicas);
    // A store that someone else runs has none here.
    let wanted = [
        (Component::ZooKeeper, "spec.zookeeper.replicas", zookeeper),
        (Component::Kafka, "spec.kafka.replicas", spec.kafka.replicas),
        (Component::Cassandra, "spec.cassandra.racks", Some(nodes).filter(|nodes| *nodes > 0)),
        (Component::Producer, "spec.producer.replicas", Some(written.wanted_producers())),
        (Component::Processor, "spec.processor.replicas", Some(written.wanted_processors())),
    ];
    let wanted = wanted.into_iter().filter_map(|(component, field, wanted)| Some((component, field, wanted?)));
    let status = written.status.clone().unwrap_or_default();
    let mut differences = Vec::new();
    for (component, field, wanted) in wanted {
        match members(component, &status).ready {
            None => unknown.push(format!("how many members of {component:?} are ready")),
            Some(ready) if i64::from(ready) == i64::from(wanted) => (),
            Some(ready) => differences.push(Difference {
                component,
                field: field.to_owned(),
                wanted: wanted.to_string(),
                running: format!("{ready} ready"),
            }),
        }
    }
    differences
}

fn of_topics(written: &StreamingPipeline, unknown: &mut Vec<String>) -> Vec<Difference> {
    let Some(kafka) = written.status.as_ref().and_then(|status| status.kafka.as_ref()) else {
        unknown.push("which topics there are".to_owned());
        return Vec::new();
    };
    let topics = written.spec.kafka.topics.iter().enumerate();
    let differs = topics.filter_map(|(index, topic)| {
        let existing = kafka.topics.iter().find(|existing| existing.name == topic.name);
        let running = match existing {
            Some(existing) if existing.partitions == topic.partitions => return None,
            Some(existing) => existing.partitions.to_string(),
            None => "no such topic".to_owned(),
        };
        let field = format!("spec.kafka.topics[{index}].partitions");
        Some(Difference { component: Component::Kafka, field, wanted: topic.partitions.to_string(), running })
    });
    differs.collect()
}

fn of_versions(written: &StreamingPipeline, pods: &[k8s_openapi::api::core::v1::Pod]) -> Vec<Difference> {
    let spec = &written.spec;
    let zookeeper = spec.zookeeper.as_ref().map(|zookeeper| {
        (Component::ZooKeeper, Part::ZooKeeper, "spec.zookeeper", &zookeeper.version, &zookeeper.image)
    });
    let others = [
        (Component::Kafka, Part::Kafka, "spec.kafka", &spec.kafka.version, &spec.kafka.image),
        (Component::Cassandra, Part::Cassandra, "spec.cassandra", &spec.cassandra.version, &spec.cassandra.image),
    ];
    let mut differences = Vec::new();
    for (component, part, field, version, image) in zookeeper.into_iter().chain(others) {
        let is_of = |pod: &&k8s_openapi::api::core::v1::Pod| {
            pod.labels().get(COMPONENT_LABEL).is_some_and(|label| label == part.as_str())
        };
        for pod in pods.iter().filter(is_of) {
            let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
            let Some(running) = containers.filter_map(|container| container.image.clone()).next() else {
                continue;
            };
            let (path, wanted, same) = match image {
                Some(image) => (format!("{field}.image"), image.clone(), running == *image),
                None => (format!("{field}.version"), version.clone(), running.ends_with(&format!(":{version}"))),
            };
            if !same {
                let running = format!("{running} in {}", pod.name_any());
                differences.push(Difference { component, field: path, wanted, running });
            }
        }
    }
    differences
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::pipeline::fixtures::{pipeline, status};
    use super::*;

    fn of(status: Value, pods: Value) -> Resource {
        let written = pipeline(status);
        let pods: Vec<k8s_openapi::api::core::v1::Pod> = serde_json::from_value(pods).expect("pods");
        resource(&written, &crate::cluster::names_of(&written), Ok(&pods))
    }

    #[test]
    fn says_where_what_runs_is_not_what_is_written() {
        let pods = json!([{"metadata": {"name": "one-kafka-0", "labels": {"app.kubernetes.io/component": "kafka"}},
            "spec": {"containers": [{"name": "kafka", "image": "apache/kafka:3.9.0"}]}}]);
        let shown = of(status("False", "Degraded"), pods);
        let fields: Vec<&str> = shown.differences.iter().map(|difference| difference.field.as_str()).collect();
        assert!(fields.contains(&"spec.kafka.replicas"), "{fields:?}");
        assert!(fields.contains(&"spec.kafka.version"), "{fields:?}");
        assert!(!fields.contains(&"spec.processor.replicas"), "{fields:?}");
    }

    /// The control is a number that nobody decides on: then that of the spec is the wanted one.
    #[test]
    fn producers_that_follow_the_pushes_are_compared_with_the_number_that_was_decided() {
        let differs = |mode: &str| {
            let scaling = json!({"current": 3, "recommended": 3, "reason": "ScaledUp", "message": "Scales 1 → 3: more",
                "since": "2026-01-01T00:00:00Z"});
            let mut written =
                pipeline(json!({"conditions": [], "producer": {"ready": "3/3", "sources": "1/1", "scaling": scaling}}));
            let producer = &mut written.spec.producer;
            let source = json!({"name": "shop", "topic": "users_created", "key": "id", "push": {}});
            producer.sources = vec![serde_json::from_value(source).expect("it is valid")];
            producer.scaling = Some(serde_json::from_value(json!({"mode": mode})).expect("it is valid"));
            let shown = resource(&written, &crate::cluster::names_of(&written), Ok(&[]));
            shown.differences.iter().any(|difference| difference.field == "spec.producer.replicas")
        };
        assert!(!differs("Auto"));
        assert!(differs("Recommend"));
    }

    #[test]
    fn what_cannot_be_compared_is_unknown_and_no_difference() {
        let shown = of(Value::Null, json!([]));
        assert_eq!(shown.differences, []);
        assert!(shown.unknown.len() >= 6, "{:?}", shown.unknown);
        assert!(shown.yaml.contains("kind: StreamingPipeline") && !shown.yaml.contains("managedFields"));
    }
}
