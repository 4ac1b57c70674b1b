//! The readiness chain: every link in its order, judged by data-plane facts. Pure.
//!
//! ZooKeeper quorum answers → all brokers registered → topics exist with full ISR → every Cassandra node Up/Normal as
//! seen by every other, schema agreed, tables there → processors joined and assigned → producers run. `plan` holds
//! later links back until earlier ones are met, and `report` turns links into conditions.

use millrace_api::Pipeline;
use millrace_api::names::Component;

use crate::link::{LinkState, Reason};
use crate::observed::Observed;
use crate::{cassandra, kafka, kept, workers, zookeeper};

/// Judges every link, in order.
pub fn judge(pipeline: &Pipeline, observed: &Observed) -> Vec<LinkState> {
    let fitting = |component, link: LinkState| match kept::misfit(pipeline, observed, component) {
        Some(message) => LinkState::unmet(link.link, Reason::VolumesDiffer, message),
        None => link,
    };
    let zookeeper = fitting(Component::ZooKeeper, zookeeper::link::zookeeper(pipeline, observed));
    let kafka = fitting(Component::Kafka, kafka::link::kafka(pipeline, observed, zookeeper.met));
    let topics = kafka::link::topics(pipeline, observed, kafka.met);
    let cassandra = fitting(Component::Cassandra, cassandra::link::cassandra(pipeline, observed));
    let processor = workers::link::processor(pipeline, observed, &topics, &cassandra);
    let producer = workers::link::producer(pipeline, observed, processor.met);
    vec![zookeeper, kafka, topics, cassandra, processor, producer]
}
