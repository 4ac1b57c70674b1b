//! A pipeline's resource and history → its graph: sources → topics → queries → tables, and the stores under them.

use millrace_api::StreamingPipeline;
use millrace_api::crd::Source;
use millrace_api::crd::condition::{ConditionStatus, Link};
use millrace_api::names::Names;

use super::pipeline::{component_state, members, series};
use crate::api::history::{Measure, SeriesKey};
use crate::api::pipeline::{Component, Edge, EdgeKind, Graph, Node, NodeKind, Stage, State};
use crate::measure::history::History;

/// What the nodes are made from.
struct Facts<'a> {
    resource: &'a StreamingPipeline,
    names: &'a Names,
    history: &'a History,
}

impl Facts<'_> {
    fn recent(&self, stage: Option<Stage>, name: Option<&str>, measure: Measure) -> Option<f64> {
        self.history.recent(self.names, &SeriesKey { name: name.map(str::to_owned), ..series(stage, measure) })
    }

    fn node(&self, kind: NodeKind, component: Component, name: &str) -> Node {
        let status = self.resource.status.as_ref();
        let members = status.map(|status| members(component, status));
        let condition = status.and_then(|status| component.link().condition().of(&status.conditions));
        Node {
            id: id(kind, name),
            kind,
            name: name.to_owned(),
            component,
            state: component_state(component, status),
            reason: condition.map(|condition| condition.reason.clone()),
            message: condition
                .filter(|condition| ConditionStatus::of(condition) != ConditionStatus::True)
                .map(|condition| condition.message.clone()),
            ready: members.as_ref().and_then(|members| members.ready),
            desired: members.as_ref().and_then(|members| members.desired),
            in_rate: None,
            out_rate: None,
            error_rate: None,
            lag_records: None,
            detail: String::new(),
        }
    }

    fn source(&self, source: &Source) -> Node {
        let rate = |measure| self.recent(Some(Stage::Source), Some(&source.name), measure);
        let mut node = self.node(NodeKind::Source, Component::Producer, &source.name);
        node.in_rate = rate(Measure::InRate);
        node.out_rate = rate(Measure::OutRate);
        node.error_rate = rate(Measure::ErrorRate);
        node.detail = detail(source);
        match &source.schedule {
            Some(schedule) if schedule.paused => {
                node.state = State::Paused;
                node.message = Some("its schedule is paused".to_owned());
            }
            // Runs make pods of their own.
            Some(_) if node.state == State::Empty => node.state = State::Ok,
            Some(_) | None => (),
        }
        if node.state == State::Ok && node.error_rate.is_some_and(|rate| rate > 0.0) {
            node.state = State::Degraded;
        }
        node
    }

    fn topic(&self, name: &str, partitions: i32) -> Node {
        let mut node = self.node(NodeKind::Topic, Component::Kafka, name);
        // The condition of the topics says more of a topic than that of the brokers.
        let status = self.resource.status.as_ref();
        let topics = status.and_then(|status| Link::Topics.condition().of(&status.conditions));
        if let Some(topics) = topics.filter(|_| node.state == State::Ok) {
            node.reason = Some(topics.reason.clone());
            let state = match ConditionStatus::of(topics) {
                ConditionStatus::True => State::Ok,
                ConditionStatus::False => State::Degraded,
                ConditionStatus::Unknown => State::Unknown,
            };
            if state != State::Ok {
                node.state = state;
                node.message = Some(topics.message.clone());
            }
        }
        node.in_rate = self.recent(None, Some(name), Measure::InRate);
        node.out_rate = self.recent(None, Some(name), Measure::OutRate);
        let existing = status.and_then(|status| status.kafka.as_ref()).into_iter().flat_map(|kafka| &kafka.topics);
        let existing = existing.filter(|topic| topic.name == name).map(|topic| topic.partitions).next();
        node.detail = match existing {
            Some(1) => "1 partition".to_owned(),
            Some(existing) if existing == partitions => format!("{existing} partitions"),
            Some(existing) => format!("{existing} of {partitions} partitions"),
            None => format!("{partitions} partitions wanted"),
        };
        node
    }
}

/// Returns the identity of a node.
pub fn id(kind: NodeKind, name: &str) -> String {
    let kind = match kind {
        NodeKind::Source => "source",
        NodeKind::Topic => "topic",
        NodeKind::Query => "query",
        NodeKind::Table => "table",
        NodeKind::DeadLetters => "dead-letters",
        NodeKind::Store => "store",
    };
    format!("{kind}/{name}")
}

/// Returns the dead-letter topic of a pipeline.
pub fn dead_letter_topic(resource: &StreamingPipeline, names: &Names) -> String {
    let named = resource.spec.processor.dead_letter.as_ref();
    let prefix = names.kafka_prefix(&resource.spec.kafka);
    named.map_or_else(|| prefix.dead_letter_topic(), |dead_letter| dead_letter.topic.clone())
}

/// Returns the graph.
pub fn graph(resource: &StreamingPipeline, names: &Names, history: &History) -> Graph {
    let facts = Facts { resource, names, history };
    let spec = &resource.spec;
    let dead_letters = dead_letter_topic(resource, names);
    let mut graph = Graph::default();
    let flow = |from: String, to: String, rate| Edge { from, to, kind: EdgeKind::Flow, rate };
    let rests =
        |from: String, to: &str| Edge { from, to: id(NodeKind::Store, to), kind: EdgeKind::RestsOn, rate: None };
    for source in &spec.producer.sources {
        let node = facts.source(source);
        graph.edges.push(flow(node.id.clone(), id(NodeKind::Topic, &source.topic), node.out_rate));
        graph.nodes.push(node);
    }
    for topic in spec.kafka.topics.iter().filter(|topic| topic.name != dead_letters) {
        let node = facts.topic(&topic.name, topic.partitions);
        graph.edges.push(rests(node.id.clone(), KAFKA));
        graph.nodes.push(node);
    }
    let sole = spec.processor.queries.len() == 1;
    let whole = |stage, measure| facts.recent(Some(stage), None, measure).filter(|_| sole);
    for query in &spec.processor.queries {
        let mut node = facts.node(NodeKind::Query, Component::Processor, &query.name);
        // Workers count all queries together; of one topic, Kafka knows what was committed.
        node.in_rate = facts.recent(None, Some(&query.from), Measure::OutRate);
        node.out_rate = whole(Stage::Processor, Measure::OutRate);
        node.error_rate = whole(Stage::Processor, Measure::ErrorRate);
        let lag = SeriesKey { name: Some(query.from.clone()), ..series(None, Measure::LagRecords) };
        node.lag_records = history.latest(names, &lag);
        node.detail = if query.sql.is_some() { "SQL" } else { "same-name columns" }.to_owned();
        if node.state == State::Ok && node.error_rate.is_some_and(|rate| rate > 0.0) {
            node.state = State::Degraded;
        }
        graph.edges.push(flow(id(NodeKind::Topic, &query.from), node.id.clone(), node.in_rate));
        graph.edges.push(flow(node.id.clone(), id(NodeKind::Table, &query.into), node.out_rate));
        graph.edges.push(flow(node.id.clone(), id(NodeKind::DeadLetters, &dead_letters), node.error_rate));
        graph.nodes.push(node);
    }
    let filled = |table: &str| spec.processor.queries.iter().filter(|query| query.into == table).count();
    for table in &spec.cassandra.tables {
        let mut node = facts.node(NodeKind::Table, Component::Cassandra, &table.name);
        node.in_rate = whole(Stage::Sink, Measure::OutRate).filter(|_| filled(&table.name) == 1);
        node.detail = format!("{} columns", table.columns.len());
        graph.edges.push(rests(node.id.clone(), CASSANDRA));
        graph.nodes.push(node);
    }
    let mut letters = facts.node(NodeKind::DeadLetters, Component::Kafka, &dead_letters);
    letters.in_rate = facts.recent(Some(Stage::Processor), None, Measure::ErrorRate);
    graph.edges.push(rests(letters.id.clone(), KAFKA));
    graph.nodes.push(letters);
    let external = |is_external: bool, version: &str| if is_external { "external" } else { version }.to_owned();
    let zookeeper = spec.zookeeper.as_ref().map(|zookeeper| zookeeper.version.clone());
    for (component, name, detail) in [
        (Component::Kafka, KAFKA, Some(external(spec.kafka.external.is_some(), &spec.kafka.version))),
        (Component::ZooKeeper, ZOOKEEPER, zookeeper),
        (Component::Cassandra, CASSANDRA, Some(external(spec.cassandra.external.is_some(), &spec.cassandra.version))),
    ] {
        let Some(detail) = detail else { continue };
        let mut node = facts.node(NodeKind::Store, component, name);
        node.detail = detail;
        if component == Component::Cassandra {
            node.in_rate = facts.recent(Some(Stage::Sink), None, Measure::OutRate);
            node.error_rate = facts.recent(Some(Stage::Sink), None, Measure::ErrorRate);
        }
        graph.nodes.push(node);
    }
    if spec.zookeeper.is_some() {
        graph.edges.push(rests(id(NodeKind::Store, KAFKA), ZOOKEEPER));
    }
    graph
}

/// Name of the brokers' node.
pub const KAFKA: &str = "Kafka";
/// Name of the ensemble's node.
pub const ZOOKEEPER: &str = "ZooKeeper";
/// Name of the Cassandra nodes' node.
pub const CASSANDRA: &str = "Cassandra";

fn detail(source: &Source) -> String {
    if let Some(schedule) = &source.schedule {
        return match (&schedule.cron, schedule.paused) {
            (_, true) => "paused".to_owned(),
            (Some(cron), false) => format!("{cron} {}", schedule.time_zone),
            (None, false) => "on demand".to_owned(),
        };
    }
    match (&source.http, super::sources::kind(source)) {
        (Some(http), kind) => format!("{kind} every {}", http.interval),
        (None, kind) => kind.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::pipeline::fixtures::{pipeline, status};
    use super::*;

    #[test]
    fn every_edge_joins_two_nodes_and_every_node_has_one() {
        let resource = pipeline(status("True", "Running"));
        let names = crate::cluster::names_of(&resource);
        let graph = graph(&resource, &names, &History::default());
        let nodes: BTreeSet<&str> = graph.nodes.iter().map(|node| node.id.as_str()).collect();
        assert_eq!(nodes.len(), graph.nodes.len(), "an identity stands for two nodes");
        let joined: BTreeSet<&str> =
            graph.edges.iter().flat_map(|edge| [edge.from.as_str(), edge.to.as_str()]).collect();
        assert_eq!(joined, nodes);
    }

    #[test]
    fn what_was_not_measured_is_unknown_in_every_node() {
        let resource = pipeline(status("True", "Running"));
        let names = crate::cluster::names_of(&resource);
        let graph = graph(&resource, &names, &History::default());
        for node in &graph.nodes {
            assert_eq!(
                (node.in_rate, node.out_rate, node.error_rate, node.lag_records),
                (None, None, None, None),
                "{}",
                node.id
            );
        }
        assert!(graph.edges.iter().all(|edge| edge.rate.is_none()));
    }

    #[test]
    fn a_broken_store_shows_in_what_rests_on_it() {
        let resource = pipeline(status("False", "Degraded"));
        let names = crate::cluster::names_of(&resource);
        let graph = graph(&resource, &names, &History::default());
        let of = |kind| graph.nodes.iter().filter(move |node| node.kind == kind);
        assert!(of(NodeKind::Topic).all(|node| node.state == State::Failed && node.message.is_some()));
        assert!(of(NodeKind::Table).all(|node| node.state == State::Ok && node.message.is_none()));
    }
}
