//! How many members each workload shall have right now: pure.
//!
//! The user's numbers, but for six. ZooKeeper's servers are there before they vote, and until they know that they
//! vote no more. Cassandra's nodes join and leave one at a time: the next one is added only when every node there is
//! has joined, every node sees every other as normal, and all agree on the schema; one is taken away only when it has
//! left the ring. Kafka's brokers go one at a time, when no broker that goes has a replica; none is added while
//! partitions move. Processors and producers that follow the load are as many as was last decided and recorded. Of a
//! pipeline that is suspended no producer runs, and no processor once all is drained; nor does one while a topic is set
//! back to be read again.

use millrace_api::Pipeline;

use crate::cassandra::leaving;
use crate::cassandra::ring::racks;
use crate::intact::has_stale_base;
use crate::kafka::reassignment::brokers;
use crate::objects::scope::Replicas;
use crate::observed::Observed;
use crate::workers::{replay, suspend};
use crate::zookeeper::membership::{self, Membership};

/// How many members each workload shall have, and the judgement of the ensemble, which later steps share.
#[derive(Clone, Debug, PartialEq)]
pub struct Scale {
    /// The members of each workload.
    pub replicas: Replicas,
    /// What is judged of the ZooKeeper ensemble.
    pub membership: Membership,
}

/// Decides the members of each workload.
pub fn scale(pipeline: &Pipeline, observed: &Observed) -> Scale {
    let membership = membership::judge(pipeline, observed);
    let replicas = Replicas {
        zookeeper: membership.size,
        kafka: brokers(pipeline, observed),
        cassandra: leaving::racks(pipeline, observed).unwrap_or_else(|| racks(pipeline, observed)),
        producer: suspend::producers(pipeline, observed),
        processor: processors(pipeline, observed),
    };
    Scale { replicas, membership }
}

/// Without a query that can run there is nothing to consume; Kafka keeps the records meanwhile. And none runs with the
/// write-timestamp base of records that are gone: the next pass knows the new one.
fn processors(pipeline: &Pipeline, observed: &Observed) -> u32 {
    match pipeline.processor.queries.is_empty() || has_stale_base(pipeline, observed) {
        true => 0,
        false => replay::processors(pipeline, observed),
    }
}
