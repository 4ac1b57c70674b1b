//! How many members each workload shall have right now: pure.
//!
//! The user's numbers, but for Cassandra, where nodes join one at a time: the next one is added only when every node
//! there is has joined, every node sees every other as normal, and all agree on the schema. Never fewer than there are.

use std::collections::BTreeMap;

use millrace_api::Pipeline;

use crate::chain::ring_is_whole;
use crate::observe::Observed;

/// Members that each workload shall have right now.
#[derive(Clone, Debug, PartialEq)]
pub struct Replicas {
    /// ZooKeeper servers.
    pub zookeeper: u32,
    /// Kafka brokers.
    pub kafka: u32,
    /// Cassandra nodes by rack name; every rack of the pipeline is there, at 0 while it waits its turn.
    pub cassandra: BTreeMap<String, u32>,
    /// Producer pods.
    pub producer: u32,
    /// Processor pods.
    pub processor: u32,
}

/// Decides the members of each workload.
pub fn scale(pipeline: &Pipeline, observed: &Observed) -> Replicas {
    Replicas {
        zookeeper: pipeline.zookeeper.replicas,
        kafka: pipeline.kafka.replicas,
        cassandra: racks(pipeline, observed),
        producer: pipeline.producer.replicas,
        // Without a query that can run there is nothing to consume; Kafka keeps the records meanwhile.
        processor: if pipeline.processor.queries.is_empty() { 0 } else { pipeline.processor.replicas },
    }
}

/// Returns how many nodes each rack has been given so far.
pub fn current_racks(pipeline: &Pipeline, observed: &Observed) -> BTreeMap<String, u32> {
    let given = |rack: &str| {
        let stateful_set = observed.children.stateful_sets.get(&pipeline.names.rack(rack))?;
        stateful_set.spec.as_ref()?.replicas.map(i32::unsigned_abs)
    };
    pipeline.cassandra.racks.iter().map(|rack| (rack.name.clone(), given(&rack.name).unwrap_or(0))).collect()
}

fn racks(pipeline: &Pipeline, observed: &Observed) -> BTreeMap<String, u32> {
    let mut racks = current_racks(pipeline, observed);
    if !ring_is_whole(&racks, &observed.stores.cassandra) {
        return racks;
    }
    let wanting = pipeline.cassandra.racks.iter().filter(|rack| racks[&rack.name] < rack.replicas);
    // The emptiest rack first, so that replicas spread over racks from the start. By name among equals: a reordered
    // list changes nothing, and the first node of all is the one that is told to found the ring.
    if let Some(next) = wanting.min_by_key(|rack| (racks[&rack.name], &rack.name)) {
        *racks.entry(next.name.clone()).or_default() += 1;
    }
    racks
}
