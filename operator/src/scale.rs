//! How many members each workload shall have right now: pure.
//!
//! The user's numbers, but for Cassandra, where nodes join one at a time: the next one is added only when every node
//! there is has joined, every node sees every other as normal, and all agree on the schema. Never fewer than there are.

use millrace_api::Pipeline;

use crate::cassandra::ring::racks;
use crate::intact::has_stale_base;
use crate::objects::scope::Replicas;
use crate::observed::Observed;

/// Decides the members of each workload.
pub fn scale(pipeline: &Pipeline, observed: &Observed) -> Replicas {
    Replicas {
        zookeeper: pipeline.zookeeper.replicas,
        kafka: pipeline.kafka.replicas,
        cassandra: racks(pipeline, observed),
        producer: pipeline.producer.replicas,
        processor: processors(pipeline, observed),
    }
}

/// Without a query that can run there is nothing to consume; Kafka keeps the records meanwhile. And none runs with the
/// write-timestamp base of records that are gone: the next pass knows the new one.
fn processors(pipeline: &Pipeline, observed: &Observed) -> u32 {
    match pipeline.processor.queries.is_empty() || has_stale_base(pipeline, observed) {
        true => 0,
        false => pipeline.processor.replicas,
    }
}
