//! A report as a tree. Pure.

use std::fmt::Write;

use millrace_api::crd::ScheduleStatus;
use millrace_api::crd::condition::ConditionType;
use millrace_api::crd::status::SourceStatus;
use millrace_api::crd::time::moment_of;
use millrace_api::params::rfc3339;

use super::report::{Link, Report, State};
use crate::screen::{Colour, Screen, printable};

/// A line, and what hangs below it.
struct Node {
    text: String,
    below: Vec<Node>,
}

/// Draws a pipeline.
pub fn tree(report: &Report, screen: &Screen) -> String {
    let what = match report.ready {
        State::Met => "is ready",
        State::Unmet => "is not ready",
        State::Unknown => "may or may not be ready",
    };
    let name = screen.paint(Colour::Bold, &format!("{}/{}", report.namespace, report.pipeline));
    let mut text = format!("{} {name} {what}: {}", mark(report.ready, screen), report.reason);
    if let Some(phase) = &report.phase {
        let _ = write!(text, " ({phase})");
    }
    let mut below = Vec::new();
    let mut note = |colour: Colour, text: &str| below.push(leaf(screen.paint(colour, &printable(text))));
    if report.outdated {
        note(Colour::Yellow, "! this describes an older spec; the operator has not processed the current one yet");
    }
    if let Some(invalid) = &report.invalid {
        note(Colour::Red, &format!("✗ spec: {invalid}"));
    }
    // What the chain does not tell: a failed apply, or nobody who looks.
    let told = report.ready == State::Met || report.chain.iter().any(|link| link.is_cause) || report.invalid.is_some();
    if !told {
        note(Colour::Yellow, &format!("! {}", report.message));
    }
    below.extend(links(report, None, screen));
    if !report.chain.is_empty() {
        let lag = report.lag.map_or_else(|| "unknown".to_owned(), |lag| format!("{lag} records"));
        below.push(leaf(format!("lag: {lag}")));
    }
    if let Some(sources) = &report.sources {
        let faulty = report.faulty_sources.iter().map(|source| leaf(source_line(source, screen))).collect();
        below.push(Node { text: format!("sources: {sources} healthy"), below: faulty });
    }
    if !report.planned.is_empty() {
        let planned = report.planned.iter().map(|action| leaf(printable(action))).collect();
        below.push(Node { text: "the operator is about to:".to_owned(), below: planned });
    }
    if !report.schedules.is_empty() {
        let schedules = report.schedules.iter().map(|schedule| leaf(schedule_line(schedule, screen))).collect();
        below.push(Node { text: "schedules:".to_owned(), below: schedules });
    }
    let mut drawn = format!("{text}\n");
    draw(&below, "", &mut drawn);
    drawn
}

fn links(report: &Report, awaited_by: Option<ConditionType>, screen: &Screen) -> Vec<Node> {
    let of_this = report.chain.iter().filter(|link| link.awaited_by == awaited_by);
    of_this
        .map(|link| Node { text: link_line(link, screen), below: links(report, Some(link.condition), screen) })
        .collect()
}

fn link_line(link: &Link, screen: &Screen) -> String {
    let Link { condition: _, name, awaited_by: _, state, members, reason, message, is_cause } = link;
    let members = members.as_ref().map_or_else(String::new, |members| format!(" {members}"));
    let said = match (reason.is_empty(), state) {
        (true, _) => "not known yet".to_owned(),
        (false, State::Met) => reason.clone(),
        (false, _) => format!("{reason}: {}", printable(message)),
    };
    let said = match (state, is_cause) {
        (State::Met, _) => screen.paint(Colour::Dim, &said),
        (_, true) => screen.paint(Colour::Red, &said),
        (_, false) => said,
    };
    let cause = if *is_cause { screen.paint(Colour::Bold, " ← the cause") } else { String::new() };
    format!("{} {name}{members}  {said}{cause}", mark(*state, screen))
}

fn source_line(source: &SourceStatus, screen: &Screen) -> String {
    let SourceStatus { name, state, message, rejected, .. } = source;
    let mut text = format!("{name}: {state}");
    if !message.is_empty() {
        let _ = write!(text, ": {}", screen.paint(Colour::Red, &printable(message)));
    }
    if *rejected > 0 {
        let _ = write!(text, "; {rejected} records are in the dead-letter topic");
    }
    text
}

fn schedule_line(schedule: &ScheduleStatus, screen: &Screen) -> String {
    let ScheduleStatus { source, next_schedule_time, missed, last_missed_reason, active, paused, message, .. } =
        schedule;
    let mut text = match (paused, next_schedule_time) {
        (true, _) => format!("{source}: {}", screen.paint(Colour::Yellow, "PAUSED")),
        (false, Some(next)) => format!("{source}: next {}", rfc3339(moment_of(next))),
        (false, None) => format!("{source}: no due time"),
    };
    let _ = write!(text, ", {active} active, {missed} missed");
    if let Some(reason) = last_missed_reason {
        let _ = write!(text, " (last: {reason})");
    }
    if let Some(message) = message {
        let _ = write!(text, "; {}", printable(message));
    }
    text
}

fn mark(state: State, screen: &Screen) -> String {
    match state {
        State::Met => screen.paint(Colour::Green, "✓"),
        State::Unmet => screen.paint(Colour::Red, "✗"),
        State::Unknown => screen.paint(Colour::Yellow, "?"),
    }
}

fn leaf(text: String) -> Node {
    Node { text, below: Vec::new() }
}

fn draw(nodes: &[Node], indent: &str, drawn: &mut String) {
    for (place, node) in nodes.iter().enumerate() {
        let (branch, deeper) = if place + 1 == nodes.len() { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        let _ = writeln!(drawn, "{indent}{branch}{}", node.text);
        draw(&node.below, &format!("{indent}{deeper}"), drawn);
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use millrace_api::StreamingPipeline;
    use serde_json::{Value, json};

    use super::super::report;
    use super::*;
    use crate::commands::fixtures::condition;

    fn pipeline(status: Value) -> StreamingPipeline {
        let sample = include_str!("../../../../e2e/samples/accepted/one-of-each.yaml");
        let mut resource: Value = serde_yaml::from_str(sample).expect("the sample is YAML");
        resource["metadata"] = json!({"name": "users", "namespace": "shop", "generation": 4});
        if !status.is_null() {
            resource["status"] = status;
        }
        serde_json::from_value(resource).expect("a pipeline")
    }

    fn broken() -> Value {
        json!({
            "observedGeneration": 3, "phase": "Degraded",
            "conditions": [
                condition("Ready", "False", "WaitingForBrokers", "KafkaReady: 2 of 3 brokers are registered"),
                condition("ZooKeeperReady", "True", "QuorumEstablished", "3 of 3 ZooKeeper servers answer"),
                condition("KafkaReady", "False", "WaitingForBrokers", "2 of 3 brokers are registered"),
                condition("TopicsReady", "False", "WaitingForKafka", "the brokers are not all there"),
                condition("CassandraReady", "True", "NodesUpNormal", "3 of 3 nodes are up and normal"),
                condition("ProcessorReady", "False", "WaitingForTopics", "the topics are not in sync"),
            ],
            "zookeeper": {"ready": "3/3"}, "kafka": {"ready": "2/3"}, "cassandra": {"ready": "3/3"},
            "processor": {"ready": "0/2", "replicas": 2, "selector": ""}, "producer": {"ready": "0/1", "sources": "1/2"},
            "sources": [
                {"name": "orders", "state": "Running", "records": 100, "rejected": 0},
                {"name": "visits", "state": "BadAnswer", "message": "'example.com' answers 404\u{1b}[2J", "records": 0, "rejected": 3},
            ],
            "plannedActions": ["restart pod users-kafka-1\u{1b}[2J"],
            "schedules": [
                {"source": "orders", "decidedUntil": "2026-01-01T00:00:00Z", "missed": 0, "active": 1, "paused": false,
                 "nextScheduleTime": "2026-01-02T00:00:00Z"},
                {"source": "prices", "decidedUntil": "2026-01-01T00:00:00Z", "missed": 2, "active": 0, "paused": true,
                 "lastMissedReason": "Paused"},
            ],
        })
    }

    #[test]
    fn the_cause_is_the_deepest_link_that_is_not_met() {
        assert_snapshot!(tree(&report(&pipeline(broken())), &Screen::default()));
    }

    #[test]
    fn colours_mark_the_cause() {
        assert_snapshot!(
            tree(&report(&pipeline(broken())), &Screen { width: Some(80), colour: true }).replace('\u{1b}', "^")
        );
    }

    #[test]
    fn a_pipeline_that_nobody_looked_at_is_not_ready() {
        assert_snapshot!(tree(&report(&pipeline(Value::Null)), &Screen::default()));
    }

    #[test]
    fn control_where_all_is_met_nothing_is_a_cause() {
        let mut status = broken();
        for condition in status["conditions"].as_array_mut().expect("conditions") {
            condition["status"] = json!("True");
        }
        status["conditions"].as_array_mut().expect("conditions").push(condition(
            "ProducerReady",
            "True",
            "ProducersRunning",
            "",
        ));
        let report = report(&pipeline(status));
        assert_eq!(report.ready, State::Met);
        assert!(report.chain.iter().all(|link| link.state == State::Met && !link.is_cause));
    }
}
