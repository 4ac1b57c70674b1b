//! Pipelines as test data: one small base, and what a test changes in it.

use anyhow::{Context, Result};
use millrace_api::{StreamingPipeline, validate};
use serde_json::{Value, json};

const ONE: &str = include_str!("pipeline/one.yaml");

/// The topic that sources fill and the processors read.
pub const TOPIC: &str = "users_created";
/// The keyspace of all tables.
pub const KEYSPACE: &str = "streams";
/// The keyspace and table that the processors fill.
pub const TABLE: &str = "streams.created_users";

/// Where the sample source answers; `run.sh` deploys it and lets the chart allow its host.
pub const SAMPLE_SOURCE: &str = "http://sample-source.e2e-source.svc:8080";

/// A StreamingPipeline as it will be applied.
#[derive(Clone, Debug)]
pub struct Spec(Value);

/// How much a generator makes, and how fast.
#[derive(Clone, Copy, Debug)]
pub struct Generator {
    /// Seed of the sequence.
    pub seed: u64,
    /// Number of records. `None`: no end.
    pub count: Option<u64>,
    /// Records a second. `None`: as fast as Kafka takes them.
    pub rate: Option<u32>,
}

impl Spec {
    /// Makes a pipeline with one of each store, one processor and no producer.
    pub fn one() -> Self {
        Self(serde_yaml::from_str(ONE).expect("the base is YAML"))
    }

    /// Makes a pipeline with three of each store, three copies of everything, and two processors.
    pub fn three() -> Self {
        Self::one()
            .with("/spec/zookeeper/replicas", json!(3))
            .with("/spec/kafka/replicas", json!(3))
            .with("/spec/kafka/topics/0", topic(TOPIC, 6, &[]))
            .with("/spec/cassandra/racks/0/replicas", json!(3))
            .with("/spec/cassandra/keyspace/replicationFactor", json!(3))
            .with("/spec/processor/replicas", json!(2))
    }

    /// Takes the workers away, and all topics and tables that a scenario could know.
    pub fn at_rest(self) -> Self {
        let rest =
            json!({"name": "rest", "columns": [{"name": "id", "type": "uuid"}], "primaryKey": {"partition": ["id"]}});
        // A pipeline has a source; without producers nobody asks it.
        let silent = json!({
            "name": "silent", "topic": "rest", "key": "id", "fields": {"id": "record.login.uuid"},
            "http": {"url": format!("{SAMPLE_SOURCE}/api/"), "interval": "1h", "records": "/results"},
        });
        self.with("/spec/kafka/topics", json!([{"name": "rest", "partitions": 1}]))
            .with("/spec/cassandra/tables", json!([rest]))
            .with("/spec/processor/queries", json!([{"name": "rest", "from": "rest", "into": "rest"}]))
            .with("/spec/processor/replicas", json!(0))
            .with("/spec/producer/sources", json!([silent]))
            .with("/spec/producer/replicas", json!(0))
    }

    /// Sets a value by its JSON pointer. The last part of the pointer may be new, or `-` for the end of a list.
    pub fn with(mut self, pointer: &str, value: Value) -> Self {
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer begins with '/'");
        match self.0.pointer_mut(parent) {
            Some(Value::Object(fields)) => {
                fields.insert(key.to_owned(), value);
            }
            Some(Value::Array(items)) if key == "-" => items.push(value),
            Some(Value::Array(items)) => items[key.parse::<usize>().expect("a list has numbers")] = value,
            _ => panic!("the pipeline has no '{parent}'"),
        }
        self
    }

    /// Takes a field out by its JSON pointer.
    pub fn without(mut self, pointer: &str) -> Self {
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer begins with '/'");
        let fields = self.0.pointer_mut(parent).and_then(Value::as_object_mut).expect("the parent is an object");
        fields.remove(key).expect("the field is there");
        self
    }

    /// Replaces the sources, which one producer runs from now on.
    pub fn sources(self, sources: impl IntoIterator<Item = Value>) -> Self {
        let sources: Vec<Value> = sources.into_iter().collect();
        self.with("/spec/producer/sources", json!(sources)).with("/spec/producer/replicas", json!(1))
    }

    /// Lets Kafka keep records as they are, so that a test can read them without zstd.
    pub fn readable_topics(self) -> Self {
        let partitions = self.0["spec"]["kafka"]["topics"][0]["partitions"].as_u64().expect("the base has a topic");
        let plain = [("compression.type", "uncompressed")];
        self.with("/spec/kafka/topics/0", topic(TOPIC, partitions, &plain))
            .with("/spec/kafka/topics/-", topic(&Self::dead_letters(), 1, &plain))
    }

    /// Returns the pipeline's name.
    pub fn name(&self) -> &str {
        self.0["metadata"]["name"].as_str().expect("every pipeline has a name")
    }

    /// Returns the name of the dead-letter topic.
    pub fn dead_letters() -> String {
        "users-dead-letters".to_owned()
    }

    /// Returns what the operator would refuse of it.
    pub fn rejected(&self) -> Result<Vec<String>> {
        let resource: StreamingPipeline =
            serde_json::from_value(self.0.clone()).context("test data does not fit the types")?;
        Ok(validate(&resource, millrace_sql::judge).rejected.iter().map(ToString::to_string).collect())
    }

    /// Returns the resource.
    pub fn value(&self) -> &Value {
        &self.0
    }
}

impl Generator {
    /// Returns the source that makes these records.
    pub fn source(self) -> Value {
        let Self { seed, count, rate } = self;
        let mut generator = json!({"seed": seed});
        if let Some(count) = count {
            generator["count"] = json!(count);
        }
        if let Some(rate) = rate {
            generator["recordsPerSecond"] = json!(rate);
        }
        json!({"name": format!("made-up-{seed}"), "topic": TOPIC, "generator": generator, "key": "id"})
    }
}

/// Returns a source that polls the sample source each second and makes the same flat profiles of its people;
/// `query` is the URL's.
pub fn http_source(name: &str, query: &str) -> Value {
    json!({
        "name": name, "topic": TOPIC, "key": "id",
        "http": {"url": format!("{SAMPLE_SOURCE}/api/?{query}"), "interval": "1s", "records": "/results"},
        "fields": {
            "id": "record.login.uuid",
            "first_name": "record.name.first",
            "last_name": "record.name.last",
            "gender": "record.gender",
            "address": "string(record.location.street.number) + ' ' + record.location.street.name + ', ' + \
                record.location.city + ', ' + record.location.state + ', ' + record.location.country",
            "post_code": "string(record.location.postcode)",
            "email": "record.email",
            "username": "record.login.username",
            "dob": "record.dob.date",
            "registered_date": "record.registered.date",
            "phone": "record.phone",
            "picture": "record.picture.medium",
        },
    })
}

fn topic(name: &str, partitions: u64, config: &[(&str, &str)]) -> Value {
    let config: serde_json::Map<String, Value> =
        config.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
    json!({"name": name, "partitions": partitions, "config": config})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_valid(spec: Spec) {
        assert_eq!(spec.rejected().expect("test data fits the types"), [""; 0]);
    }

    #[test]
    fn every_pipeline_of_the_tests_is_valid() {
        is_valid(Spec::one());
        is_valid(Spec::one().at_rest());
        is_valid(Spec::three().at_rest());
        is_valid(Spec::one().sources([http_source("people", "results=10")]));
        let generator = Generator { seed: 1, count: Some(5), rate: Some(5) };
        let both = [generator.source(), http_source("people", "results=100&seed=three")];
        is_valid(Spec::three().readable_topics().sources(both));
    }
}
