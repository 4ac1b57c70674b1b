//! The ensemble's link: whether a quorum answers. Pure.

use millrace_api::Pipeline;
use millrace_api::names::Component;

use crate::causes::cause_of;
use crate::link::{Link, LinkState, Reason};
use crate::observed::Observed;

/// Judges whether a quorum of the ensemble answers.
pub fn zookeeper(pipeline: &Pipeline, observed: &Observed) -> LinkState {
    let size = pipeline.zookeeper.replicas;
    let facts = &observed.stores.zookeeper;
    let answering = facts.servers.len();
    if facts.has_quorum(size) {
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
            "{answering} of {size} ZooKeeper servers answer, a quorum needs {}{}",
            size / 2 + 1,
            cause_of(observed, Component::ZooKeeper)
        ),
    )
}
