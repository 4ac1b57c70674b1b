//! What an explanation consists of: the verdict, the cause, and what shows it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use millrace_api::crd::time::moment_of;
use millrace_api::params::rfc3339;
use serde::Serialize;

use super::facts::Warning;
use super::fixes::Fix;

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

impl Evidence {
    pub(super) fn of_condition(condition: &Condition) -> Self {
        Self {
            kind: Kind::Condition,
            object: condition.type_.clone(),
            reason: format!("{} {}", condition.status, condition.reason),
            time: Some(rfc3339(moment_of(&condition.last_transition_time))),
            message: condition.message.clone(),
        }
    }

    pub(super) fn of_warning(warning: &Warning) -> Self {
        Self {
            kind: Kind::Event,
            object: format!("{} {}", warning.kind, warning.name),
            reason: warning.reason.clone(),
            time: Some(rfc3339(warning.last)),
            message: warning.message.clone(),
        }
    }
}
