//! Statuses and what is said of them.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::facts::{Behind, Warning};
use super::*;
use crate::commands::fixtures::condition;

/// Returns the status of a pipeline that is well, with other conditions in place of its own and other fields.
fn status(conditions: &[Value], fields: Value) -> StreamingPipelineStatus {
    let well = [
        condition("Ready", "True", "AllComponentsReady", "every link of the readiness chain is met"),
        condition("SpecValid", "True", "Valid", "the spec is valid"),
        condition("ZooKeeperReady", "True", "QuorumEstablished", "3 of 3 ZooKeeper servers answer as one quorum"),
        condition("KafkaReady", "True", "BrokersRegistered", "3 of 3 brokers are registered"),
        condition("TopicsReady", "True", "TopicsInSync", "1 of 1 topics have all replicas in sync"),
        condition("CassandraReady", "True", "NodesUpNormal", "3 of 3 nodes are up and normal"),
        condition("ProcessorReady", "True", "ProcessorsAssigned", "2 of 2 processors have joined"),
        condition("ProducerReady", "True", "ProducersRunning", "1 of 1 producers run"),
        condition("SourcesHealthy", "True", "SourcesRunning", "2 of 2 sources answer"),
        condition("DataIntact", "True", "NothingMissing", "no known loss"),
        condition("RepairOnSchedule", "True", "RepairInTime", "in time"),
    ];
    let is_kept = |known: &&Value| !conditions.iter().any(|other| other["type"] == known["type"]);
    let all: Vec<&Value> = conditions.iter().chain(well.iter().filter(is_kept)).collect();
    let mut status = json!({
        "observedGeneration": 4, "phase": "Running", "conditions": all, "lag": 0,
        "zookeeper": {"ready": "3/3"}, "cassandra": {"ready": "3/3"},
        "kafka": {"ready": "3/3", "topics": [
            {"name": "users", "id": "x", "partitions": 6, "writeTimestampBase": 1},
        ]},
        "processor": {"ready": "2/2", "replicas": 2, "selector": ""}, "producer": {"ready": "1/1", "sources": "2/2"},
    });
    for (field, value) in fields.as_object().into_iter().flatten() {
        status[field] = value.clone();
    }
    serde_json::from_value(status).expect("a status")
}

fn facts(conditions: &[Value], fields: Value) -> Facts {
    Facts {
        namespace: "shop".to_owned(),
        pipeline: "users".to_owned(),
        generation: Some(4),
        processors: 2,
        status: Some(status(conditions, fields)),
        now: "2026-01-01T00:12:00Z".parse().expect("a moment"),
        ..Facts::default()
    }
}

/// Returns the facts of a pipeline in which one link is not met.
fn unmet(link: &str, reason: &str, message: &str) -> Facts {
    let ready = condition("Ready", "False", reason, &format!("{link}: {message}"));
    facts(&[ready, condition(link, "False", reason, message)], json!({}))
}

fn command(explanation: &Explanation) -> &str {
    explanation.fix.as_ref().and_then(|fix| fix.command.as_deref()).unwrap_or_default()
}

#[test]
fn a_healthy_status_names_no_trouble() {
    let explanation = judge(&facts(&[], json!({})));
    assert_eq!((explanation.verdict, explanation.cause, explanation.fix), (Verdict::Well, None, None));
    assert_eq!(explanation.since.as_deref(), Some("2026-01-01T00:00:00Z"));
    assert!(explanation.also.is_empty() && explanation.unread.is_empty());
    let figures = ["zookeeper 3/3", "brokers 3/3", "cassandra 3/3", "processors 2/2", "producers 1/1", "sources 2/2"];
    assert_eq!(explanation.figures[..6], figures);
    assert_eq!(explanation.figures[6], "lag 0 records");
}

#[test]
fn each_trouble_that_kubernetes_has_is_the_cause() {
    let troubles = include_str!("../../../../../operator/tests/troubles.yaml");
    let troubles: Vec<Value> = serde_yaml::from_str(troubles).expect("the list reads");
    for trouble in &troubles {
        let (says, of) = (trouble["says"].as_str().expect("words"), trouble["of"].as_str().expect("a component"));
        let (link, reason) = match of {
            "zookeeper" => ("ZooKeeperReady", "WaitingForQuorum"),
            "kafka" => ("KafkaReady", "WaitingForBrokers"),
            "cassandra" => ("CassandraReady", "WaitingForNodes"),
            "processor" => ("ProcessorReady", "WaitingForProcessors"),
            "producer" => ("ProducerReady", "WaitingForProducers"),
            other => panic!("component '{other}'"),
        };
        let explanation = judge(&unmet(link, reason, &format!("not all are there; {says}")));
        assert_eq!(explanation.verdict, Verdict::NotReady, "{says}");
        assert!(explanation.cause.as_deref().is_some_and(|cause| cause.ends_with(says)), "{explanation:?}");
        assert_eq!(explanation.evidence[0].object, link);
        assert!(explanation.fix.is_some(), "{says}");
    }
}

#[test]
fn the_link_that_ready_repeats_is_the_cause_and_what_waits_for_it_is_not() {
    let mut facts = unmet("KafkaReady", "WaitingForBrokers", "2 of 3 brokers are registered and answer");
    let warning = |name: &str, reason: &str, minute: u32| Warning {
        kind: "Pod".to_owned(),
        name: name.to_owned(),
        reason: reason.to_owned(),
        message: "words".to_owned(),
        last: format!("2026-01-01T00:{minute:02}:00Z").parse().expect("a moment"),
    };
    facts.now = "2026-01-01T00:30:00Z".parse().expect("a moment");
    facts.warnings = vec![
        warning("users-kafka-1", "BackOff", 28),
        warning("users-kafka-1", "BackOff", 29),
        // Of another component; too old.
        warning("users-zookeeper-0", "Unhealthy", 29),
        warning("users-kafka-2", "Unhealthy", 1),
    ];
    let explanation = judge(&facts);
    assert_eq!(explanation.cause.as_deref(), Some("2 of 3 brokers are registered and answer"));
    let shown: Vec<(&str, Option<&str>)> =
        explanation.evidence.iter().map(|shown| (shown.object.as_str(), shown.time.as_deref())).collect();
    let expected = [("KafkaReady", Some("2026-01-01T00:00:00Z")), ("Pod users-kafka-1", Some("2026-01-01T00:29:00Z"))];
    assert_eq!(shown, expected);
    assert_eq!(command(&explanation), "millrace logs users -n shop --component kafka");
}

#[test]
fn an_invalid_spec_is_told_with_all_its_errors() {
    let facts = facts(
        &[
            condition("Ready", "False", "SpecInvalid", "spec.a: x (and 1 more; see the condition SpecValid)"),
            condition("SpecValid", "False", "Rejected", "spec.a: x; spec.b: y"),
        ],
        json!({}),
    );
    let explanation = judge(&facts);
    assert_eq!(explanation.cause.as_deref(), Some("spec.a: x; spec.b: y"));
    assert_eq!(command(&explanation), "kubectl edit spl -n shop users");
}

#[test]
fn a_loss_is_the_cause_where_all_links_are_met() {
    let facts = unmet("DataIntact", "TableRecreated", "table 'a' is another one. To read them again: …");
    let explanation = judge(&facts);
    assert_eq!(explanation.verdict, Verdict::NotReady);
    assert_eq!(command(&explanation), "kubectl scale -n shop spl/users --replicas=0");
}

#[test]
fn what_is_paused_or_unknown_is_not_told_as_a_failure() {
    let paused = judge(&facts(&[condition("Ready", "Unknown", "Paused", "paused by the annotation")], json!({})));
    assert_eq!(paused.verdict, Verdict::Paused);
    assert_eq!(command(&paused), "kubectl annotate spl -n shop users millrace.dev/paused-");
    let suspended = judge(&facts(&[condition("Ready", "False", "Suspended", "drained")], json!({})));
    assert_eq!(suspended.verdict, Verdict::Suspended);
    let resume = r#"kubectl patch spl -n shop users --type merge -p '{"spec":{"suspend":false}}'"#;
    assert_eq!(command(&suspended), resume);
    let unread = judge(&facts(&[condition("Ready", "Unknown", "ObservationFailed", "timeout")], json!({})));
    assert_eq!((unread.verdict, unread.cause.as_deref()), (Verdict::Unknown, Some("timeout")));
    let unseen = judge(&Facts { status: None, ..facts(&[], json!({})) });
    assert_eq!((unseen.verdict, command(&unseen)), (Verdict::Unknown, "millrace check -n shop"));
    let outdated = judge(&Facts { generation: Some(5), ..facts(&[], json!({})) });
    assert_eq!(outdated.verdict, Verdict::Unknown);
}

#[test]
fn records_that_wait_for_long_are_a_lag_and_those_of_a_moment_are_not() {
    let behind = |partition, seconds| Behind {
        topic: "users".to_owned(),
        partition,
        records: 500,
        waited: Duration::from_secs(seconds),
    };
    let with = |behind, processors| Facts { behind, processors, ..facts(&[], json!({"lag": 1000})) };
    let slow = judge(&with(vec![behind(3, 300), behind(0, 90)], 2));
    assert_eq!(slow.verdict, Verdict::Slow);
    assert_eq!(slow.cause.as_deref(), Some("the processors are behind: 1000 records wait, the oldest for 5m"));
    assert_eq!(slow.since.as_deref(), Some("2026-01-01T00:07:00Z"));
    assert_eq!(command(&slow), "kubectl scale -n shop spl/users --replicas=4");
    // Its number follows the load, or would.
    let scaling = json!({"processor": {"ready": "2/2", "replicas": 2, "selector": "", "scaling": {
        "current": 2, "recommended": 3, "reason": "SinkBackpressure", "message": "Keeps 2: Cassandra is the limit",
        "since": "2026-01-01T00:00:00Z",
    }}});
    let scaled = |is_scaled| {
        let facts = facts(&[], scaling.clone());
        judge(&Facts { behind: vec![behind(3, 300), behind(0, 90)], is_scaled, ..facts })
    };
    let fix = scaled(true).fix.expect("it is slow");
    assert!(fix.text.ends_with("by the load: Keeps 2: Cassandra is the limit"), "{}", fix.text);
    assert_eq!(command(&scaled(false)), "kubectl scale -n shop spl/users --replicas=3");
    // As many as there are partitions.
    assert_eq!(command(&judge(&with(vec![behind(3, 300), behind(0, 90)], 6))), "millrace console");
    // One key.
    let skewed = judge(&with(vec![behind(3, 300)], 2));
    assert_eq!(command(&skewed), "millrace peek users -n shop --pipeline users --partition 3");
    // Control: records that are on their way.
    assert_eq!(judge(&with(vec![behind(3, 2), behind(0, 1)], 2)).verdict, Verdict::Well);
}

#[test]
fn records_that_are_about_to_be_deleted_come_before_the_lag_and_after_what_causes_it() {
    let says = "topic 'users' deletes records after 168h (retention.ms), and 12000 that processors have not read are due \
                within 42h: at their pace, some are deleted first";
    let at_risk = condition("RetentionAtRisk", "True", "RetentionAtRisk", says);
    let waits = |seconds| Behind {
        topic: "users".to_owned(),
        partition: 0,
        records: 500,
        waited: Duration::from_secs(seconds),
    };
    let behind = Facts { behind: vec![waits(300_000)], ..facts(std::slice::from_ref(&at_risk), json!({"lag": 1000})) };
    let explanation = judge(&behind);
    assert_eq!((explanation.verdict, explanation.cause.as_deref()), (Verdict::Degraded, Some(says)));
    assert_eq!(command(&explanation), "kubectl edit spl -n shop users");
    assert_eq!(explanation.also.len(), 1, "{:?}", explanation.also);
    // A store that is down is why nothing is read.
    let down = [
        condition("Ready", "False", "WaitingForNodes", "CassandraReady: 2 of 3 nodes are up"),
        condition("CassandraReady", "False", "WaitingForNodes", "2 of 3 nodes are up"),
        at_risk,
    ];
    let explanation = judge(&facts(&down, json!({})));
    assert_eq!(explanation.cause.as_deref(), Some("2 of 3 nodes are up"));
    assert_eq!(explanation.also, [says]);
}

#[test]
fn what_fails_while_data_flows_is_degraded() {
    let source = json!({"sources": [
        {"name": "orders", "state": "Running", "records": 100, "rejected": 0},
        {"name": "visits", "state": "BadAnswer", "message": "'example.com' answers 404", "records": 0, "rejected": 3},
    ]});
    let says = "source 'visits': BadAnswer: 'example.com' answers 404";
    let failing = judge(&facts(&[condition("SourcesHealthy", "False", "SourceFailing", says)], source));
    assert_eq!((failing.verdict, failing.cause.as_deref()), (Verdict::Degraded, Some(says)));
    assert_eq!(failing.evidence[1].object, "visits");
    assert_eq!(failing.also, ["source 'visits' had 3 records that could not be mapped: dead letters"]);
    let canary = |status| condition("DataFlowing", status, "NotWritten", "Cassandra does not acknowledge a row");
    let silent = judge(&facts(&[canary("False")], json!({})));
    assert_eq!(
        (silent.verdict, silent.cause.as_deref()),
        (Verdict::Degraded, Some("Cassandra does not acknowledge a row"))
    );
    assert_eq!(command(&silent), "millrace logs users -n shop --component cassandra");
    assert_eq!(judge(&facts(&[canary("Unknown")], json!({}))).verdict, Verdict::Well);
    let overdue = judge(&facts(&[condition("RepairOnSchedule", "False", "RepairOverdue", "x")], json!({})));
    assert_eq!(overdue.verdict, Verdict::Degraded);
    let contested = judge(&facts(&[condition("Contested", "True", "ChangedByOthers", "x")], json!({})));
    assert_eq!(contested.verdict, Verdict::Degraded);
    let stopped = judge(&facts(&[condition("ProcessorReady", "True", "ScaledToZero", "none is wanted")], json!({})));
    assert_eq!(command(&stopped), "kubectl scale -n shop spl/users --replicas=1");
}

#[test]
fn what_waits_for_people_is_held_and_has_its_command() {
    let held = |reason: &str| {
        let ready = condition("Ready", "True", reason, "every link is met; 2 pods wait");
        let waiting = json!({"waiting": [
            {"action": "restart pod 'users-kafka-1'", "cause": "the window", "since": "2026-01-01T00:00:00Z"},
        ]});
        judge(&facts(&[ready, condition("UpdatesHeld", "True", reason, "2 pods wait")], waiting))
    };
    let by_annotation = held("DisruptionsHeld");
    assert_eq!((by_annotation.verdict, command(&by_annotation)), (Verdict::Held, "millrace release users -n shop"));
    assert_eq!(by_annotation.evidence[1].message, "waits for the window");
    assert_eq!(command(&held("ApprovalRequired")), "millrace approve users -n shop");
    assert_eq!(command(&held("WaitingForWindow")), "");
    let upgraded = condition("RequiresUpdate", "True", "OperatorUpgraded", "a different template");
    assert_eq!(command(&judge(&facts(&[upgraded], json!({})))), "millrace approve users -n shop");
}
