//! Facts → what is the matter, since when, what shows it, and what helps. Pure.
//!
//! The first finding is the cause; the others are named after it. What waits for the cause is not one.

#[cfg(test)]
mod tests;

use millrace_api::crd::StreamingPipelineStatus;
use millrace_api::crd::condition::ConditionType;
use millrace_api::crd::time::moment_of;
use millrace_api::params::rfc3339;

use super::explanation::{Evidence, Explanation, Verdict};
use super::facts::Facts;
use super::fixes::Fix;
use super::look::{Finding, Look, MOST};

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
            cause: "no operator has processed it yet".to_owned(),
            since: None,
            evidence: Vec::new(),
            fix: Some(Fix {
                text: "check whether an operator runs and watches this namespace".to_owned(),
                command: Some(format!("millrace check -n {}", facts.namespace)),
            }),
        }];
    };
    let look = Look { facts, status };
    let of_ready = look.ready();
    // What the chain reports already is not reported twice.
    let is_ready = of_ready.is_none();
    // Records that are about to be deleted are worse than what else does not work.
    let at_risk = look.retention();
    let when_ready = [look.outdated(), look.stopped(), look.canary(), look.slow(), look.sources(), look.held()];
    let always = [look.repair(), look.contested()];
    of_ready
        .into_iter()
        .chain(at_risk)
        .chain(when_ready.into_iter().flatten().filter(|_| is_ready))
        .chain(always.into_iter().flatten())
        .collect()
}

fn well(status: Option<&StreamingPipelineStatus>) -> Finding {
    let ready = status.and_then(|status| ConditionType::Ready.of(&status.conditions));
    Finding {
        verdict: Verdict::Well,
        cause: String::new(),
        since: ready.map(|ready| moment_of(&ready.last_transition_time)),
        evidence: ready.map(Evidence::of_condition).into_iter().collect(),
        fix: None,
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
    if let Some(scaling) = status.scaling() {
        notes.push(format!("scaling of the processors: {}: {}", scaling.reason, scaling.message));
    }
    notes.extend(status.planned_actions.iter().take(MOST).map(|action| format!("the operator plans: {action}")));
    notes
}
