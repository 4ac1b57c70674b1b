//! How many members each workload shall have right now: pure.
//!
//! The user's numbers, but for Cassandra, where nodes join one at a time: the next one is added only when every node
//! there is has joined, every node sees every other as normal, and all agree on the schema. Never fewer than there are.

use millrace_api::Pipeline;

use crate::cassandra::ring::racks;
use crate::intact::lacks_topic;
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

/// Without a query that can run there is nothing to consume; Kafka keeps the records meanwhile. And a topic is made anew only
/// when nobody reads it.
fn processors(pipeline: &Pipeline, observed: &Observed) -> u32 {
    match pipeline.processor.queries.is_empty() || lacks_topic(pipeline, observed) {
        true => 0,
        false => pipeline.processor.replicas,
    }
}
