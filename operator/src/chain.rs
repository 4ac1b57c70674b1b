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

/// Judges every link of this pipeline, in order: one on a Kafka that someone else runs has none of an ensemble.
pub fn judge(pipeline: &Pipeline, observed: &Observed) -> Vec<LinkState> {
    let fitting = |component, link: LinkState| match kept::misfit(pipeline, observed, component) {
        Some(message) => LinkState::unmet(link.link, Reason::VolumesDiffer, message),
        None => waits_for_spec(pipeline, observed, component, link),
    };
    let mut links = Vec::new();
    let kafka = if pipeline.manages(Component::Kafka) {
        let zookeeper = fitting(Component::ZooKeeper, zookeeper::link::zookeeper(pipeline, observed));
        let kafka = fitting(Component::Kafka, kafka::link::kafka(pipeline, observed, zookeeper.met));
        links.push(zookeeper);
        kafka
    } else {
        kafka::link::external(pipeline, observed)
    };
    let topics = kafka::link::topics(pipeline, observed, kafka.met);
    let cassandra = if pipeline.manages(Component::Cassandra) {
        fitting(Component::Cassandra, cassandra::link::cassandra(pipeline, observed))
    } else {
        cassandra::link::external(pipeline, observed)
    };
    let processor = workers::link::processor(pipeline, observed, &topics, &cassandra);
    let processor = waits_for_spec(pipeline, observed, Component::Processor, processor);
    let producer = workers::link::producer(pipeline, observed, processor.met);
    let producer = waits_for_spec(pipeline, observed, Component::Producer, producer);
    links.extend([kafka, topics, cassandra, processor, producer]);
    links
}

/// Says of a component that is held and was never created what it waits for; one that runs is judged like any other.
fn waits_for_spec(pipeline: &Pipeline, observed: &Observed, component: Component, link: LinkState) -> LinkState {
    let children = &observed.children;
    let is_there = children.of_component(&children.stateful_sets, component).next().is_some()
        || children.of_component(&children.deployments, component).next().is_some();
    match pipeline.held.get(&component).filter(|_| !is_there && !link.met) {
        Some(rejected) => {
            let message = format!("{component} is not created until the spec is corrected: {rejected}");
            LinkState::unmet(link.link, Reason::SpecInvalid, message)
        }
        None => link,
    }
}
