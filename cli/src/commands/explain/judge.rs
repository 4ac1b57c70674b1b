//! Facts → what is the matter, since when, what shows it, and what helps. Pure.
//!
//! The first finding is the cause; the others are named after it. What waits for the cause is not one.

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use millrace_api::crd::StreamingPipelineStatus;
use millrace_api::crd::condition::{ConditionStatus, ConditionType, Link, Reason};
use millrace_api::crd::time::moment_of;
use millrace_api::names::Component;
use millrace_api::params::rfc3339;
use serde::Serialize;

use super::facts::{Behind, Facts, Warning, component_of};
use super::fixes::{Fix, Names, of_pods, of_reason};
use crate::screen::span;

/// How long the oldest record waits where the processors are behind. In every pipeline that flows, records wait for a
/// moment; a minute is longer than a batch, a retry or a rebalance takes.
const BEHIND_AFTER: std::time::Duration = std::time::Duration::from_secs(60);
/// How old the last occurrence of a warning may be: what a controller tries in vain it tries more and more rarely, up to
/// every 17 minutes.
const RECENT: TimeDelta = TimeDelta::minutes(20);
/// Most warnings, sources or partitions that are evidence.
const MOST: usize = 3;

/// How a pipeline is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Verdict {
    /// Nothing is the matter.
    Well,
    /// Data flows; restarts wait for people or a time.
    Held,
    /// Data flows, and records wait for long.
    Slow,
    /// Data flows, but something does not work.
    Degraded,
    /// A link of the readiness chain is not met.
    NotReady,
    /// People have the operator change nothing.
    Paused,
    /// People have the pipeline drained and stopped.
    Suspended,
    /// It is unknown.
    Unknown,
}

/// What there is to say of a pipeline.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Explanation {
    pub(super) namespace: String,
    pub(super) pipeline: String,
    pub(super) verdict: Verdict,
    /// What is the matter, in a sentence. Absent: nothing is.
    pub(super) cause: Option<String>,
    /// Since when, as RFC 3339. Absent: unknown.
    pub(super) since: Option<String>,
    /// What shows the cause; of a pipeline that is well, its conditions.
    pub(super) evidence: Vec<Evidence>,
    /// What helps. Absent: nothing has to be done, or it is unknown.
    pub(super) fix: Option<Fix>,
    /// What the components have, such as `brokers 3/3`.
    pub(super) figures: Vec<String>,
    /// What else there is to know.
    pub(super) also: Vec<String>,
    /// What could not be read, and why.
    pub(super) unread: Vec<String>,
}

/// Something that shows a cause.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Evidence {
    /// Where it is from: a condition, an event, a source, a topic or the plan.
    pub(super) kind: Kind,
    /// What it is about, such as `KafkaReady` or `Pod users-kafka-1`.
    pub(super) object: String,
    /// Its status or reason, in a word or two. Empty: there is none.
    pub(super) reason: String,
    /// Since when a condition holds; when an event was last seen. Absent: unknown.
    pub(super) time: Option<String>,
    /// Its own words.
    pub(super) message: String,
}

/// Where a piece of evidence is from.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Kind {
    Condition,
    Event,
    Source,
    Topic,
    Plan,
}

/// Something that is the matter.
struct Finding {
    verdict: Verdict,
    cause: String,
    since: Option<DateTime<Utc>>,
    evidence: Vec<Evidence>,
    fix: Option<Fix>,
}

/// Explains a pipeline.
pub(super) fn judge(facts: &Facts) -> Explanation {
    let mut findings = findings(facts).into_iter();
    let first = findings.next();
    let others = findings.map(|finding| finding.cause);
    let status = facts.status.as_ref();
    let also = others.chain(status.into_iter().flat_map(notes)).collect();
    let Finding { verdict, cause, since, evidence, fix } = first.unwrap_or_else(|| well(status));
    Explanation {
        namespace: facts.namespace.clone(),
        pipeline: facts.pipeline.clone(),
        verdict,
        cause: Some(cause).filter(|cause| !cause.is_empty()),
        since: since.map(rfc3339),
        evidence,
        fix,
        figures: status.map(figures).unwrap_or_default(),
        also,
        unread: facts.unread.clone(),
    }
}

/// Returns all that is the matter, what keeps data from flowing first.
fn findings(facts: &Facts) -> Vec<Finding> {
    let Some(status) = &facts.status else {
        return vec![Finding {
            verdict: Verdict::Unknown,
            cause: "no operator has looked at it yet".to_owned(),
            since: None,
            evidence: Vec::new(),
            fix: Some(Fix {
                text: "see whether an operator runs, and whether it watches this namespace".to_owned(),
                command: Some(format!("millrace check -n {}", facts.namespace)),
            }),
        }];
    };
    let look = Look { facts, status };
    let of_ready = look.ready();
    // What the chain reports already is not reported twice.
    let is_ready = of_ready.is_none();
    let when_ready = [look.outdated(), look.stopped(), look.slow(), look.sources(), look.held()];
    let always = [look.repair(), look.contested()];
    of_ready
        .into_iter()
        .chain(when_ready.into_iter().flatten().filter(|_| is_ready))
        .chain(always.into_iter().flatten())
        .collect()
}

fn is_suspended(reason: &str) -> bool {
    [Reason::Suspending, Reason::Suspended].iter().any(|known| known.to_string() == reason)
}

/// A look at a pipeline with a status.
struct Look<'a> {
    facts: &'a Facts,
    status: &'a StreamingPipelineStatus,
}

impl Look<'_> {
    fn names(&self) -> Names<'_> {
        Names { namespace: &self.facts.namespace, pipeline: &self.facts.pipeline }
    }

    fn condition(&self, condition: ConditionType, status: ConditionStatus) -> Option<&Condition> {
        condition.of(&self.status.conditions).filter(|found| ConditionStatus::of(found) == status)
    }

    /// Makes a finding of a condition, with what to do about its reason.
    fn of_condition(&self, verdict: Verdict, condition: &Condition) -> Finding {
        Finding {
            verdict,
            cause: condition.message.clone(),
            since: Some(moment_of(&condition.last_transition_time)),
            evidence: vec![of_condition(condition)],
            fix: of_reason(&condition.reason, self.names()),
        }
    }

    /// Returns why the pipeline is not ready.
    fn ready(&self) -> Option<Finding> {
        let Some(ready) = ConditionType::Ready.of(&self.status.conditions) else {
            let cause = "the operator has not judged it yet".to_owned();
            return Some(Finding { verdict: Verdict::Unknown, cause, since: None, evidence: Vec::new(), fix: None });
        };
        match ConditionStatus::of(ready) {
            ConditionStatus::True => None,
            ConditionStatus::Unknown if ready.reason == Reason::Paused.to_string() => {
                Some(self.of_condition(Verdict::Paused, ready))
            }
            ConditionStatus::Unknown => Some(self.of_condition(Verdict::Unknown, ready)),
            ConditionStatus::False if is_suspended(&ready.reason) => Some(self.of_condition(Verdict::Suspended, ready)),
            ConditionStatus::False => Some(self.unmet(ready)),
        }
    }

    /// Returns the link or the data that `Ready` repeats, with what Kubernetes says about its pods.
    fn unmet(&self, ready: &Condition) -> Finding {
        if ready.reason == Reason::SpecInvalid.to_string() {
            let errors = self.condition(ConditionType::SpecValid, ConditionStatus::False);
            return self.of_condition(Verdict::NotReady, errors.unwrap_or(ready)).with_fix_of(ready, self.names());
        }
        let links = Link::ALL.map(|link| (link.condition(), Some(link)));
        let repeated = links.into_iter().chain([(ConditionType::DataIntact, None)]).find_map(|(condition, link)| {
            let found = self.condition(condition, ConditionStatus::False)?;
            ready.message.starts_with(&format!("{condition}: ")).then_some((found, link))
        });
        let (condition, link) = repeated.unwrap_or((ready, None));
        let mut finding = self.of_condition(Verdict::NotReady, condition);
        if condition.reason != Reason::ApplyingChanges.to_string()
            && condition.type_ != ConditionType::DataIntact.as_str()
        {
            finding.fix = of_pods(&condition.reason, &condition.message, self.names());
        }
        finding.evidence.extend(self.warnings(&condition.message, link).into_iter().map(of_warning));
        finding
    }

    /// Returns the newest warnings about what a message names, or about the pods of a link, each once.
    fn warnings(&self, message: &str, link: Option<Link>) -> Vec<&Warning> {
        let component = link.map(component_of_link);
        let is_named = |warning: &Warning| {
            message.contains(&format!("'{}'", warning.name)) || message.contains(&format!("\"{}\"", warning.name))
        };
        let is_of =
            |warning: &Warning| component.is_some() && component_of(&self.facts.pipeline, &warning.name) == component;
        let mut found: Vec<&Warning> = self.facts.warnings.iter().collect();
        found.retain(|warning| self.facts.now - warning.last < RECENT && (is_named(warning) || is_of(warning)));
        found.sort_by_key(|warning| (!is_named(warning), std::cmp::Reverse(warning.last)));
        let mut once: Vec<&Warning> = Vec::new();
        for warning in found {
            if !once.iter().any(|known| (&known.name, &known.reason) == (&warning.name, &warning.reason)) {
                once.push(warning);
            }
        }
        once.truncate(MOST);
        once
    }

    /// Returns that the status is about another spec than the one that is there.
    fn outdated(&self) -> Option<Finding> {
        (self.status.observed_generation != self.facts.generation).then(|| Finding {
            verdict: Verdict::Unknown,
            cause: "the operator has not looked at the present spec yet; it was ready with the one before".to_owned(),
            since: None,
            evidence: Vec::new(),
            fix: Some(Fix {
                text: "wait a moment; if it persists, see whether the operator runs".to_owned(),
                command: Some(format!("millrace check -n {}", self.facts.namespace)),
            }),
        })
    }

    /// Returns that nothing is written since nobody wants it.
    fn stopped(&self) -> Option<Finding> {
        let condition = Link::Processor.condition().of(&self.status.conditions)?;
        let is_scaled = condition.reason == Reason::ScaledToZero.to_string();
        is_scaled.then(|| {
            let cause = "no rows are written, since spec.processor.replicas is 0: records stay in Kafka".to_owned();
            Finding { cause, ..self.of_condition(Verdict::Degraded, condition) }
        })
    }

    /// Returns that records wait for long.
    fn slow(&self) -> Option<Finding> {
        let behind: Vec<&Behind> = self.facts.behind.iter().filter(|behind| behind.waited >= BEHIND_AFTER).collect();
        let worst = *behind.first()?;
        let records: i64 = self.facts.behind.iter().map(|behind| behind.records).sum();
        let evidence = behind.iter().take(MOST).map(|behind| Evidence {
            kind: Kind::Topic,
            object: format!("{} partition {}", behind.topic, behind.partition),
            reason: String::new(),
            time: None,
            message: format!("{} records wait, the oldest for {}", behind.records, span(behind.waited)),
        });
        Some(Finding {
            verdict: Verdict::Slow,
            cause: format!("the processors are behind: {records} records wait, the oldest for {}", span(worst.waited)),
            since: TimeDelta::from_std(worst.waited).ok().map(|waited| self.facts.now - waited),
            evidence: evidence.collect(),
            fix: Some(self.faster(&behind)),
        })
    }

    /// Returns what makes the processors faster: more of them help only where there are partitions for them.
    fn faster(&self, behind: &[&Behind]) -> Fix {
        let topics = self.status.kafka.iter().flat_map(|kafka| &kafka.topics);
        let partitions_of = |name: &str| topics.clone().find(|topic| topic.name == name).map(|topic| topic.partitions);
        let partitions = behind.iter().filter_map(|behind| partitions_of(&behind.topic)).max().unwrap_or_default();
        let Names { namespace, pipeline } = self.names();
        if let ([only], 2..) = (behind, partitions) {
            return Fix {
                text: "one partition alone is behind: all records of one key go to one partition, which more processors do not \
                       change; look which key it is"
                    .to_owned(),
                command: Some(format!(
                    "millrace peek {} -n {namespace} --pipeline {pipeline} --partition {}",
                    only.topic, only.partition
                )),
            };
        }
        let wanted = (self.facts.processors * 2).min(partitions);
        if wanted > self.facts.processors {
            return Fix {
                text: format!("run more processors; up to {partitions} have a partition to read"),
                command: Some(format!("kubectl scale -n {namespace} spl/{pipeline} --replicas={wanted}")),
            };
        }
        Fix {
            text: "there is a processor for each partition: see in the console whether they wait for Cassandra or are busy \
                   themselves, and give that one more CPU; more partitions serve new records only"
                .to_owned(),
            command: Some("millrace console".to_owned()),
        }
    }

    /// Returns that sources fail, with what each says.
    fn sources(&self) -> Option<Finding> {
        let condition = self.condition(ConditionType::SourcesHealthy, ConditionStatus::False)?;
        let mut finding = self.of_condition(Verdict::Degraded, condition);
        let failing = self.status.sources.iter().filter(|source| !source.message.is_empty()).take(MOST);
        finding.evidence.extend(failing.map(|source| Evidence {
            kind: Kind::Source,
            object: source.name.clone(),
            reason: source.state.clone(),
            time: source.last_success.as_ref().map(|time| rfc3339(moment_of(time))),
            message: source.message.clone(),
        }));
        Some(finding)
    }

    fn repair(&self) -> Option<Finding> {
        let condition = self.condition(ConditionType::RepairOnSchedule, ConditionStatus::False)?;
        Some(self.of_condition(Verdict::Degraded, condition))
    }

    fn contested(&self) -> Option<Finding> {
        let condition = self.condition(ConditionType::Contested, ConditionStatus::True)?;
        Some(self.of_condition(Verdict::Degraded, condition))
    }

    /// Returns that restarts, or a new template, wait for people or a time.
    fn held(&self) -> Option<Finding> {
        let held = self.condition(ConditionType::UpdatesHeld, ConditionStatus::True);
        let condition = held.or_else(|| self.condition(ConditionType::RequiresUpdate, ConditionStatus::True))?;
        let mut finding = self.of_condition(Verdict::Held, condition);
        let waiting = self.status.waiting.iter().take(MOST).map(|waiting| Evidence {
            kind: Kind::Plan,
            object: waiting.action.clone(),
            reason: String::new(),
            time: Some(rfc3339(moment_of(&waiting.since))),
            message: format!("waits for {}", waiting.cause),
        });
        let plan = self.status.plan.iter().flat_map(|plan| {
            let approved = if plan.approved { "approved" } else { "not approved" };
            plan.actions.iter().take(MOST).map(move |action| Evidence {
                kind: Kind::Plan,
                object: format!("plan {}", plan.hash),
                reason: approved.to_owned(),
                time: Some(rfc3339(moment_of(&plan.since))),
                message: action.clone(),
            })
        });
        finding.evidence.extend(waiting.chain(plan));
        Some(finding)
    }
}

impl Finding {
    /// Returns the finding with what to do about the reason of another condition.
    fn with_fix_of(self, condition: &Condition, names: Names<'_>) -> Self {
        Self { fix: of_reason(&condition.reason, names), ..self }
    }
}

fn well(status: Option<&StreamingPipelineStatus>) -> Finding {
    let ready = status.and_then(|status| ConditionType::Ready.of(&status.conditions));
    Finding {
        verdict: Verdict::Well,
        cause: String::new(),
        since: ready.map(|ready| moment_of(&ready.last_transition_time)),
        evidence: ready.map(of_condition).into_iter().collect(),
        fix: None,
    }
}

fn component_of_link(link: Link) -> Component {
    match link {
        Link::ZooKeeper => Component::ZooKeeper,
        Link::Kafka | Link::Topics => Component::Kafka,
        Link::Cassandra => Component::Cassandra,
        Link::Processor => Component::Processor,
        Link::Producer => Component::Producer,
    }
}

fn of_condition(condition: &Condition) -> Evidence {
    Evidence {
        kind: Kind::Condition,
        object: condition.type_.clone(),
        reason: format!("{} {}", condition.status, condition.reason),
        time: Some(rfc3339(moment_of(&condition.last_transition_time))),
        message: condition.message.clone(),
    }
}

fn of_warning(warning: &Warning) -> Evidence {
    Evidence {
        kind: Kind::Event,
        object: format!("{} {}", warning.kind, warning.name),
        reason: warning.reason.clone(),
        time: Some(rfc3339(warning.last)),
        message: warning.message.clone(),
    }
}

/// Returns what the components have, as far as it is known.
fn figures(status: &StreamingPipelineStatus) -> Vec<String> {
    let members = [
        ("zookeeper", status.zookeeper.as_ref().map(|status| &status.ready)),
        ("brokers", status.kafka.as_ref().map(|status| &status.ready)),
        ("cassandra", status.cassandra.as_ref().map(|status| &status.ready)),
        ("processors", status.processor.as_ref().map(|status| &status.ready)),
        ("producers", status.producer.as_ref().map(|status| &status.ready)),
        ("sources", status.producer.as_ref().and_then(|status| status.sources.as_ref())),
    ];
    let members = members.into_iter().filter_map(|(name, members)| Some(format!("{name} {}", members?)));
    let lag = status.lag.map_or_else(|| "lag unknown".to_owned(), |lag| format!("lag {lag} records"));
    members.chain([lag]).collect()
}

/// Returns what is no trouble and still worth knowing.
fn notes(status: &StreamingPipelineStatus) -> Vec<String> {
    let mut notes = Vec::new();
    for source in status.sources.iter().filter(|source| source.rejected > 0) {
        notes.push(format!(
            "source '{}' had {} records that could not be mapped: dead letters",
            source.name, source.rejected
        ));
    }
    for schedule in status.schedules.iter().flatten().filter(|schedule| schedule.paused) {
        notes.push(format!("the schedule of source '{}' is paused", schedule.source));
    }
    if let Some(moves) = status.kafka.as_ref().and_then(|kafka| kafka.reassignment.as_ref()) {
        notes.push(format!("{} partitions have yet to move to other brokers", moves.partitions_left));
    }
    notes.extend(status.planned_actions.iter().take(MOST).map(|action| format!("the operator plans: {action}")));
    notes
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;

    fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
        json!({
            "type": kind, "status": status, "reason": reason, "message": message,
            "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 4,
        })
    }

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
            condition("DataIntact", "True", "NothingMissing", "no loss is known"),
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
        let figures =
            ["zookeeper 3/3", "brokers 3/3", "cassandra 3/3", "processors 2/2", "producers 1/1", "sources 2/2"];
        assert_eq!(explanation.figures[..6], figures);
        assert_eq!(explanation.figures[6], "lag 0 records");
    }

    #[test]
    fn each_trouble_that_kubernetes_has_is_the_cause() {
        let troubles = include_str!("../../../../operator/tests/troubles.yaml");
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
        let expected =
            [("KafkaReady", Some("2026-01-01T00:00:00Z")), ("Pod users-kafka-1", Some("2026-01-01T00:29:00Z"))];
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
        let facts = unmet("DataIntact", "TableRecreated", "table 'a' is another one. To have them read again: …");
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
        // As many as there are partitions.
        assert_eq!(command(&judge(&with(vec![behind(3, 300), behind(0, 90)], 6))), "millrace console");
        // One key.
        let skewed = judge(&with(vec![behind(3, 300)], 2));
        assert_eq!(command(&skewed), "millrace peek users -n shop --pipeline users --partition 3");
        // Control: records that are on their way.
        assert_eq!(judge(&with(vec![behind(3, 2), behind(0, 1)], 2)).verdict, Verdict::Well);
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
        let overdue = judge(&facts(&[condition("RepairOnSchedule", "False", "RepairOverdue", "x")], json!({})));
        assert_eq!(overdue.verdict, Verdict::Degraded);
        let contested = judge(&facts(&[condition("Contested", "True", "ChangedByOthers", "x")], json!({})));
        assert_eq!(contested.verdict, Verdict::Degraded);
        let stopped =
            judge(&facts(&[condition("ProcessorReady", "True", "ScaledToZero", "none is wanted")], json!({})));
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
        let upgraded = condition("RequiresUpdate", "True", "OperatorUpgraded", "another template");
        assert_eq!(command(&judge(&facts(&[upgraded], json!({})))), "millrace approve users -n shop");
    }
}
