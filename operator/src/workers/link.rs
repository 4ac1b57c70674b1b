//! The links of processors and producers. Pure.

use millrace_api::Pipeline;
use millrace_api::names::Component;

use crate::causes::cause_of;
use crate::link::{Link, LinkState, Reason};
use crate::observed::Observed;
use crate::readiness;
use crate::workers::{replay, scaling, suspend};

/// Judges whether the processors have joined their group. They wait for topics and tables.
pub fn processor(pipeline: &Pipeline, observed: &Observed, topics: &LinkState, cassandra: &LinkState) -> LinkState {
    let wanted = scaling::wanted(pipeline, observed);
    let name = pipeline.names.component(Component::Processor);
    let deployment = observed.children.deployments.get(&name);
    if suspend::is_drained(pipeline, observed) {
        return LinkState::met(
            Link::Processor,
            Reason::Suspended,
            "the pipeline is suspended; nothing is left to write",
        );
    }
    if let Some(replay) = replay::running(&observed.remembered) {
        return LinkState::unmet(Link::Processor, Reason::Replaying, format!("a replay goes on: {}", replay.message));
    }
    if wanted == 0 {
        return LinkState::met(Link::Processor, Reason::ScaledToZero, "no processors are desired; nothing is written");
    }
    if pipeline.processor.queries.is_empty() {
        return LinkState::unmet(Link::Processor, Reason::NoQuery, "no query can run; see the condition SpecValid");
    }
    if deployment.is_none() {
        if !topics.met {
            return LinkState::unmet(
                Link::Processor,
                Reason::WaitingForTopics,
                format!("processors wait: {}", topics.message),
            );
        }
        if !cassandra.met {
            return LinkState::unmet(
                Link::Processor,
                Reason::WaitingForSchema,
                format!("processors wait: {}", cassandra.message),
            );
        }
    }
    let ready = readiness::deployment(deployment);
    let group = observed.stores.kafka.as_ref().ok().and_then(|facts| facts.group.as_ref());
    let joined = group.is_some_and(|group| group.stable && group.members >= wanted as usize);
    if ready.all(wanted) && joined {
        return LinkState::met(
            Link::Processor,
            Reason::ProcessorsAssigned,
            format!("{wanted} of {wanted} processors have joined their group and write"),
        );
    }
    // Those before a change of their number go on while others come and go.
    let enough = scaling::settles_from(pipeline, observed).map(|before| before.min(wanted));
    if enough.is_some_and(|enough| enough > 0 && ready.ready >= enough) {
        return LinkState::met(
            Link::Processor,
            Reason::ProcessorsAssigned,
            format!("{} of {wanted} processors write; their number has just changed", ready.ready.min(wanted)),
        );
    }
    let group = match group {
        Some(group) if group.stable => format!("{} have joined the group", group.members),
        Some(_) => "the group is rebalancing".to_owned(),
        None => "the group is unknown".to_owned(),
    };
    LinkState::unmet(
        Link::Processor,
        Reason::WaitingForProcessors,
        format!(
            "{} of {wanted} processors are ready, {group}{}",
            ready.ready,
            cause_of(observed, Component::Processor)
        ),
    )
}

/// Judges whether the producers run. They wait for the processors.
pub fn producer(pipeline: &Pipeline, observed: &Observed, processor_met: bool) -> LinkState {
    let wanted = scaling::wanted_producers(pipeline, observed);
    if pipeline.suspend {
        return LinkState::met(Link::Producer, Reason::Suspended, "the pipeline is suspended; nothing is fetched");
    }
    if wanted == 0 {
        return LinkState::met(Link::Producer, Reason::ScaledToZero, "no producers are desired; nothing is fetched");
    }
    if pipeline.producer.sources.is_empty() {
        return LinkState::unmet(Link::Producer, Reason::NoSource, "no source can run; see the condition SpecValid");
    }
    let stateful_set = observed.children.stateful_sets.get(&pipeline.names.component(Component::Producer));
    let rests = stateful_set.is_none_or(|set| set.spec.as_ref().and_then(|spec| spec.replicas) == Some(0));
    if rests && !processor_met {
        return LinkState::unmet(
            Link::Producer,
            Reason::WaitingForProcessors,
            "producers wait until the processors have joined".to_owned(),
        );
    }
    let ready = readiness::stateful_set(stateful_set);
    if ready.all(wanted) {
        return LinkState::met(Link::Producer, Reason::ProducersRunning, format!("{wanted} of {wanted} producers run"));
    }
    // As for processors: those before a change of their number go on.
    let enough = scaling::producers_settle_from(pipeline, observed).map(|before| before.min(wanted));
    if enough.is_some_and(|enough| enough > 0 && ready.ready >= enough) {
        return LinkState::met(
            Link::Producer,
            Reason::ProducersRunning,
            format!("{} of {wanted} producers run; their number has just changed", ready.ready.min(wanted)),
        );
    }
    LinkState::unmet(
        Link::Producer,
        Reason::WaitingForProducers,
        format!("{} of {wanted} producers are ready{}", ready.ready, cause_of(observed, Component::Producer)),
    )
}
