//! The readiness chain: every link in its order, judged by data-plane facts. Pure.
//!
//! ZooKeeper quorum answers → all brokers registered → topics exist with full ISR → every Cassandra node Up/Normal as
//! seen by every other, schema agreed, tables there → processors joined and assigned → producers run. `plan` holds
//! later links back until earlier ones are met, and `report` turns links into conditions.

use millrace_api::Pipeline;

use crate::link::LinkState;
use crate::observed::Observed;
use crate::{cassandra, kafka, workers, zookeeper};

/// Judges every link, in order.
pub fn judge(pipeline: &Pipeline, observed: &Observed) -> Vec<LinkState> {
    let zookeeper = zookeeper::link::zookeeper(pipeline, observed);
    let kafka = kafka::link::kafka(pipeline, observed, zookeeper.met);
    let topics = kafka::link::topics(pipeline, observed, kafka.met);
    let cassandra = cassandra::link::cassandra(pipeline, observed);
    let processor = workers::link::processor(pipeline, observed, &topics, &cassandra);
    let producer = workers::link::producer(pipeline, observed, processor.met);
    vec![zookeeper, kafka, topics, cassandra, processor, producer]
}
