//! The ensemble's link: whether a quorum answers. Pure.

use millrace_api::Pipeline;
use millrace_api::names::Component;

use crate::causes::cause_of;
use crate::link::{Link, LinkState, Reason};
use crate::observed::Observed;

/// Judges whether a quorum of the ensemble answers.
pub fn zookeeper(pipeline: &Pipeline, observed: &Observed) -> LinkState {
    let facts = &observed.stores.zookeeper;
    let (answering, size) = match facts.committed() {
        Some(committed) => (facts.answering(committed).count(), committed.voters.len()),
        None => (facts.servers.len(), pipeline.zookeeper.replicas as usize),
    };
    if facts.has_quorum(pipeline.zookeeper.replicas) {
        return LinkState::met(
            Link::ZooKeeper,
            Reason::QuorumEstablished,
            format!("{answering} of {size} ZooKeeper servers answer as one quorum"),
        );
    }
    LinkState::unmet(
        Link::ZooKeeper,
        Reason::WaitingForQuorum,
        format!(
            "{answering} of {size} ZooKeeper servers answer; a quorum needs {}{}",
            size / 2 + 1,
            cause_of(observed, Component::ZooKeeper)
        ),
    )
}
