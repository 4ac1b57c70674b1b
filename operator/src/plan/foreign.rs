//! What a plan may do to stores that someone else runs: nothing, or add what is missing, where the resource allows it. Pure,
//! and the last to see a plan.
//!
//! Others use these stores, too. What is let through can do them no harm: no partition is added, since keys would move, no
//! setting, factor or lifetime of rows changes, and nothing is deleted.

use millrace_api::Pipeline;
use millrace_api::crd::Changes;
use millrace_api::names::Component;
use millrace_api::pipeline::Placement;
use millrace_stores::{cassandra, kafka};

use crate::act::{Act, Restart};

/// Returns whether an act may be done to a pipeline's stores.
pub fn permits(pipeline: &Pipeline, act: &Act) -> bool {
    match act {
        // The group is the pipeline's own.
        Act::Kafka(kafka::Change::Rewind { .. }) => true,
        Act::Kafka(change) => may_change(&pipeline.kafka.placement, adds_topic(change)),
        Act::Cassandra(change) => may_change(&pipeline.cassandra.placement, adds_schema(change)),
        Act::ZooKeeper(_) => pipeline.manages(Component::ZooKeeper),
        Act::RestartPod(Restart { component, .. }) => pipeline.manages(*component),
        // These are the pipeline's own objects.
        Act::RemoveSet(_) | Act::RemoveClaim(_) | Act::GrowClaim(_) | Act::RemakeSet(_) => true,
    }
}

fn may_change(placement: &Placement, is_addition: bool) -> bool {
    match placement {
        Placement::Managed => true,
        Placement::External(external) => external.changes == Changes::Additions && is_addition,
    }
}

/// Names every change, so that nobody adds one without a decision about the stores of others.
fn adds_topic(change: &kafka::Change) -> bool {
    match change {
        kafka::Change::AddTopic(_) => true,
        // It would set what the brokers of others have for themselves.
        kafka::Change::CreateTopic(_)
        | kafka::Change::AddPartitions { .. }
        | kafka::Change::AlterTopic { .. }
        | kafka::Change::Reassign { .. }
        | kafka::Change::Throttle { .. }
        | kafka::Change::CancelMoves { .. }
        | kafka::Change::ElectLeaders { .. }
        | kafka::Change::EndReassignment { .. }
        | kafka::Change::AlterBrokers { .. }
        | kafka::Change::Rewind { .. } => false,
    }
}

fn adds_schema(change: &cassandra::Change) -> bool {
    match change {
        cassandra::Change::CreateKeyspace
        | cassandra::Change::CreateType(_)
        | cassandra::Change::AddField { .. }
        | cassandra::Change::CreateTable(_)
        | cassandra::Change::AddColumn { .. } => true,
        cassandra::Change::SetTtl { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use millrace_api::pipeline::{Factor, Table, Topic};
    use millrace_api::replay::ReplayFrom;
    use millrace_api::{StreamingPipeline, validate_sources};
    use millrace_stores::kafka::ConfigChange;
    use millrace_stores::zookeeper::Reconfiguration;
    use millrace_terms::{ColumnSettings, TypeSettings};

    use super::*;
    use crate::act::{ClaimGrowth, ClaimRemoval, SetRemoval};

    fn pipeline(sample: &str) -> Pipeline {
        let path = format!("{}/../e2e/samples/accepted/{sample}.yaml", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).expect("the sample is there");
        let resource: StreamingPipeline = serde_yaml::from_str(&text).expect("the sample is a pipeline");
        validate_sources(&resource).pipeline.expect("the sample is valid")
    }

    fn topic() -> Topic {
        Topic {
            name: "t".to_owned(),
            partitions: 1,
            replication_factor: Factor::Default(0),
            min_in_sync_replicas: None,
            config: [].into(),
        }
    }

    const AGAIN: &str = "read topic 't' again from earliest";

    /// Every act, of Kafka, of Cassandra and of what else there is.
    fn acts() -> [Vec<Act>; 3] {
        let column = ColumnSettings { name: "c".to_owned(), column_type: "text".parse().expect("a type") };
        let table = Table {
            name: "t".to_owned(),
            columns: vec![column.clone()],
            partition_key: vec!["c".to_owned()],
            clustering_key: Vec::new(),
            ttl_seconds: 0,
        };
        let (config, partitions) = (ConfigChange::default(), Vec::new());
        let of_kafka = vec![
            kafka::Change::AddTopic(topic()),
            kafka::Change::CreateTopic(topic()),
            kafka::Change::AddPartitions { topic: "t".to_owned(), partitions: 2 },
            kafka::Change::AlterTopic { topic: "t".to_owned(), config: config.clone() },
            kafka::Change::Reassign { moves: Vec::new(), rate: 1 },
            kafka::Change::Throttle { rate: 1 },
            kafka::Change::CancelMoves { partitions: partitions.clone() },
            kafka::Change::ElectLeaders { partitions },
            kafka::Change::EndReassignment { topics: BTreeSet::new() },
            kafka::Change::AlterBrokers { config: config.clone(), otherwise: config },
            kafka::Change::Rewind {
                group: "g".to_owned(),
                topic: "t".to_owned(),
                from: ReplayFrom::Earliest,
                offsets: [].into(),
            },
        ];
        let of_cassandra = vec![
            cassandra::Change::CreateKeyspace,
            cassandra::Change::CreateType(TypeSettings { name: "u".to_owned(), fields: vec![column.clone()] }),
            cassandra::Change::AddField { type_name: "u".to_owned(), field: column.clone() },
            cassandra::Change::CreateTable(table),
            cassandra::Change::AddColumn { table: "t".to_owned(), column },
            cassandra::Change::SetTtl { table: "t".to_owned(), ttl_seconds: 1 },
        ];
        let change = Reconfiguration { joining: [].into(), leaving: BTreeSet::new(), version: 0 };
        let text = || "x".to_owned();
        let restart = |component| {
            Act::RestartPod(Restart { pod: text(), uid: text(), component, reason: text(), is_repair: false })
        };
        let set = || SetRemoval { name: text(), uid: text() };
        let others = vec![
            Act::ZooKeeper(change),
            restart(Component::Kafka),
            restart(Component::Cassandra),
            restart(Component::Processor),
            Act::RemoveSet(set()),
            Act::RemakeSet(set()),
            Act::RemoveClaim(ClaimRemoval { name: text(), uid: text(), resource_version: text() }),
            Act::GrowClaim(ClaimGrowth { name: text(), resource_version: text(), from: text(), to: text() }),
        ];
        let of_kafka = of_kafka.into_iter().map(Act::Kafka).collect();
        [of_kafka, of_cassandra.into_iter().map(Act::Cassandra).collect(), others]
    }

    fn permitted(pipeline: &Pipeline) -> [Vec<String>; 3] {
        acts().map(|acts| acts.iter().filter(|act| permits(pipeline, act)).map(Act::describe).collect())
    }

    #[test]
    fn nothing_is_changed_in_the_stores_of_others() {
        let [of_kafka, of_cassandra, others] = permitted(&pipeline("external-stores"));
        assert_eq!(of_kafka, [AGAIN], "the group is the pipeline's own");
        assert_eq!(of_cassandra, [""; 0]);
        assert_eq!(others.len(), 5, "{others:?}");
    }

    #[test]
    fn what_is_missing_is_added_where_the_resource_allows_it_and_nothing_else() {
        let [of_kafka, of_cassandra, _] = permitted(&pipeline("external-stores-with-additions"));
        assert_eq!(of_kafka, ["create topic 't'", AGAIN]);
        let added = ["create the keyspace", "create type 'u'", "add field 'c' to type 'u'", "create table 't'"];
        assert_eq!(of_cassandra, [&added[..], &["add column 'c' to table 't'"]].concat());
    }

    /// The control: in stores of the pipeline's own, all may be done.
    #[test]
    fn stores_of_the_pipelines_own_are_changed_as_planned() {
        let all = acts().map(|acts| acts.len());
        assert_eq!(permitted(&pipeline("one-of-each")).map(|permitted| permitted.len()), all);
    }
}
