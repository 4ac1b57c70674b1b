//! `StreamingPipeline` → `Pipeline`: pure, and the only place where the resource is parsed.
//!
//! Admission has refused what schema and CEL can see. Two things are left: what only a program can judge (does a
//! field's expression compile, is there a column for it, does a query's SQL), which takes the faulty source or query
//! out and leaves the rest running; and parsing, which rejects the whole: CQL types, and what admission was bypassed
//! with. What the user adds to one component (`podTemplate`, `jvmOptions`, `access`) holds that component alone.

mod external;
mod fields;
#[cfg(test)]
mod hostile;
mod members;
mod params;
mod queries;
mod sources;
mod stores;
mod syntax;
mod topics;
mod types;
mod workers;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use kube::ResourceExt;
use millrace_terms::{Bytes, Problem, SqlQuestion};

use crate::crd::{self, Amount, StreamingPipeline};
use crate::names::{Component, Names};
use crate::pipeline::{Pipeline, Validated};
use crate::quantity::Quantity;
use crate::rejected::Rejected;
use crate::window::{self, MaintenanceWindow};
use topics::own_topics;

/// A user error, and the source or query that it takes out.
struct Fault {
    name: String,
    rejected: Rejected,
}

/// Validates all but the SQL of its queries: what runs and schedules need to know of a pipeline.
pub fn validate_sources(resource: &StreamingPipeline) -> Validated {
    validate(resource, |_| Vec::new())
}

/// Validates a resource; `judge` returns what is wrong with the SQL of a query, nothing: it can run.
pub fn validate(resource: &StreamingPipeline, judge: impl FnMut(SqlQuestion) -> Vec<Problem>) -> Validated {
    let mut parse = Parse::default();
    let pipeline = parse.pipeline(resource);
    let Parse { rejected: of_whole, held } = parse;
    let of_components: Vec<Rejected> = held.values().flatten().cloned().collect();
    if !of_whole.is_empty() {
        return Validated { pipeline: None, rejected: [of_whole, of_components].concat() };
    }
    let first = |(component, rejected): (Component, Vec<Rejected>)| Some((component, rejected.into_iter().next()?));
    let mut pipeline = Pipeline { held: held.into_iter().filter_map(first).collect(), ..pipeline };
    let mut of_sources = fields::check(&resource.spec, &pipeline);
    of_sources.extend(params::check(&resource.spec, &mut pipeline));
    let of_queries = queries::check(&pipeline, judge);
    let faulty = |faults: &[Fault]| faults.iter().map(|fault| fault.name.clone()).collect::<BTreeSet<String>>();
    let sources = faulty(&of_sources);
    pipeline.producer.sources.retain(|source| !sources.contains(&source.name));
    pipeline.producer.runnable.retain(|source| !sources.contains(&source.settings.name));
    let held = queries::held(&pipeline, &faulty(&of_queries));
    pipeline.processor.queries.retain(|query| !held.contains(&query.name));
    pipeline.processor.left_out = held;
    let of_parts = of_sources.into_iter().chain(of_queries).map(|fault| fault.rejected);
    Validated { pipeline: Some(pipeline), rejected: of_components.into_iter().chain(of_parts).collect() }
}

/// Collects errors while it parses; values after an error are stand-ins that are never used.
#[derive(Default)]
struct Parse {
    rejected: Vec<Rejected>,
    /// Errors that hold one component.
    held: BTreeMap<Component, Vec<Rejected>>,
}

impl Parse {
    fn pipeline(&mut self, resource: &StreamingPipeline) -> Pipeline {
        let crd::StreamingPipelineSpec {
            suspend,
            deletion_policy,
            update_policy,
            maintenance_windows,
            zookeeper,
            kafka,
            cassandra,
            producer,
            processor,
        } = &resource.spec;
        let names = Names::new(resource.namespace().unwrap_or_default(), resource.name_any());
        let prefix = names.kafka_prefix(kafka);
        self.external(&resource.spec, &prefix);
        let processor = self.processor(processor, &prefix);
        self.leave_to_canary(&resource.spec, &names);
        let own = own_topics(producer, &processor, &prefix);
        let kafka = self.kafka(kafka, prefix, own);
        Pipeline {
            uid: resource.uid().unwrap_or_default(),
            generation: resource.metadata.generation.unwrap_or_default(),
            suspend: *suspend,
            deletion_policy: *deletion_policy,
            update_policy: *update_policy,
            maintenance_windows: self.maintenance_windows(maintenance_windows),
            zookeeper: self.zookeeper(zookeeper.as_ref()),
            kafka,
            cassandra: self.cassandra(cassandra, processor.canary.is_some()),
            producer: self.producer(producer, &names),
            processor,
            names,
            held: BTreeMap::new(),
        }
    }

    fn maintenance_windows(&mut self, written: &[crd::MaintenanceWindow]) -> Vec<MaintenanceWindow> {
        let mut windows = Vec::new();
        for (index, written) in written.iter().enumerate() {
            match window::parse(&format!("spec.maintenanceWindows[{index}]"), written) {
                Ok(window) => windows.push(window),
                Err(rejected) => self.rejected.push(rejected),
            }
        }
        windows
    }

    /// Parses a quantity of bytes; a fraction of a byte is one more.
    fn bytes(&mut self, path: &str, Amount(text): &Amount) -> Bytes {
        let quantity = text.parse::<Quantity>().map_err(|error| error.to_string());
        let whole = quantity.and_then(|quantity| quantity.whole().ok_or_else(|| format!("'{text}' is too large")));
        whole.map(Bytes).unwrap_or_else(|error| {
            self.reject(path, error);
            Bytes(0)
        })
    }

    fn count(&mut self, path: &str, written: i32) -> u32 {
        match u32::try_from(written) {
            Ok(count) => count,
            Err(_) => {
                self.reject(path, format!("{written} is negative; write 0 or more"));
                0
            }
        }
    }

    fn parse<T: FromStr<Err: fmt::Display>>(&mut self, path: &str, text: &str, stand_in: T) -> T {
        match text.parse() {
            Ok(value) => value,
            Err(error) => {
                self.reject(path, error);
                stand_in
            }
        }
    }

    /// Leaves a component as it is, and everything else alone.
    fn hold(&mut self, component: Component, rejected: Vec<Rejected>) {
        self.held.entry(component).or_default().extend(rejected);
    }

    fn reject(&mut self, path: impl Into<String>, message: impl fmt::Display) {
        self.rejected.push(Rejected::new(path, message));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn validated(pointer: &str, value: Value) -> Validated {
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../e2e/samples/accepted/one-of-each.yaml");
        let text = std::fs::read_to_string(sample).expect("the sample is there");
        let mut resource: Value = serde_yaml::from_str(&text).expect("the sample is YAML");
        let (parent, field) = pointer.rsplit_once('/').expect("a pointer");
        resource.pointer_mut(parent).expect("the component is there")[field] = value;
        validate_sources(&serde_json::from_value(resource).expect("a pipeline"))
    }

    #[rstest]
    #[case("/spec/zookeeper/podTemplate", json!({"env": 1}), Component::ZooKeeper)]
    #[case("/spec/kafka/podTemplate", json!({"nodeSelektor": {}}), Component::Kafka)]
    #[case("/spec/kafka/jvmOptions", json!(["-Xmx4g"]), Component::Kafka)]
    #[case("/spec/kafka/access", json!({"from": [{"namespaceSelector": {}}]}), Component::Kafka)]
    #[case("/spec/cassandra/access", json!({"from": [{"namespaceSelector": {}}]}), Component::Cassandra)]
    #[case("/spec/producer/podTemplate", json!({"labels": {"millrace.dev/x": "y"}}), Component::Producer)]
    #[case("/spec/processor/podTemplate", json!({"securityContext": {"runAsUser": 0}}), Component::Processor)]
    fn what_is_wrong_with_what_the_user_adds_holds_its_component_alone(
        #[case] pointer: &str,
        #[case] value: Value,
        #[case] component: Component,
    ) {
        let Validated { pipeline, rejected } = validated(pointer, value);
        let held = pipeline.expect("the rest can run").held;
        assert_eq!(held.keys().collect::<Vec<_>>(), [&component]);
        assert_eq!(held[&component], rejected[0]);
        let path = pointer[1..].replace('/', ".");
        assert!(rejected.len() == 1 && rejected[0].path.starts_with(&path), "{rejected:?}");
    }

    fn with_canary(changes: &[(&str, Value)]) -> Validated {
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../e2e/samples/accepted/canary.yaml");
        let text = std::fs::read_to_string(sample).expect("the sample is there");
        let mut resource: Value = serde_yaml::from_str(&text).expect("the sample is YAML");
        for (pointer, value) in changes {
            let (parent, field) = pointer.rsplit_once('/').expect("a pointer");
            resource.pointer_mut(parent).expect("the component is there")[field] = value.clone();
        }
        validate_sources(&serde_json::from_value(resource).expect("a pipeline"))
    }

    #[test]
    fn a_canary_has_a_topic_and_a_table_of_its_own() {
        let pipeline = with_canary(&[]).pipeline.expect("it is valid");
        let topic = pipeline.kafka.topics.iter().find(|topic| topic.name == "users-canary").expect("its topic");
        assert_eq!((topic.partitions, topic.config["retention.ms"].as_str()), (3, "3600000"));
        let table = pipeline.cassandra.table("millrace_canary").expect("its table");
        assert_eq!((table.partition_key.as_slice(), table.ttl_seconds), (&["id".to_owned()][..], 3600));
        // Control: without a canary there is neither.
        let plain = validated("/spec/processor/replicas", json!(1)).pipeline.expect("it is valid");
        assert!(plain.kafka.topics.iter().all(|topic| topic.name != "users-canary"));
        assert_eq!(plain.cassandra.table("millrace_canary"), None);
    }

    #[rstest]
    #[case("/spec/kafka/topics/0/name", json!("users-canary"), "spec.kafka.topics[0].name")]
    #[case("/spec/cassandra/tables/0/name", json!("millrace_canary"), "spec.cassandra.tables[0].name")]
    #[case("/spec/processor/deadLetter", json!({"topic": "users-canary"}), "spec.processor.deadLetter.topic")]
    #[case("/spec/processor/canary/interval", json!("often"), "spec.processor.canary.interval")]
    fn what_a_canary_needs_is_refused_to_others(#[case] pointer: &str, #[case] value: Value, #[case] path: &str) {
        let Validated { pipeline, rejected } = with_canary(&[(pointer, value.clone())]);
        assert!(pipeline.is_none() && rejected.iter().any(|rejected| rejected.path == path), "{rejected:?}");
        // Control: without a canary the names are free.
        let Validated { rejected, .. } = with_canary(&[(pointer, value), ("/spec/processor/canary", Value::Null)]);
        assert!(rejected.iter().all(|rejected| rejected.path != path), "{rejected:?}");
    }

    /// The negative controls: what is valid holds nothing, and what cannot be parsed has no pipeline.
    #[test]
    fn what_is_valid_holds_nothing_and_what_cannot_be_parsed_stops_all() {
        let Validated { pipeline, rejected } = validated("/spec/kafka/jvmOptions", json!(["-Xss1m"]));
        assert!(pipeline.is_some_and(|pipeline| pipeline.held.is_empty()) && rejected.is_empty());
        let Validated { pipeline, rejected } = validated("/spec/producer/bufferMemory", json!("much"));
        assert!(pipeline.is_none() && rejected.len() == 1, "{rejected:?}");
    }
}
