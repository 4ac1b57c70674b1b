//! How the sources of a pipeline are doing: what the producers say of them, judged. Pure.

use millrace_api::Pipeline;
use millrace_api::crd::condition::{ConditionStatus, Reason};
use millrace_api::crd::status::SourceStatus;
use millrace_api::crd::time::time_of;
use millrace_terms::SourceState;

/// Most characters of a source's message that the status repeats.
const LONGEST_MESSAGE: usize = 300;

/// What the condition `SourcesHealthy` says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Health {
    /// Whether every source answers.
    pub status: ConditionStatus,
    /// Why, in one word.
    pub reason: Reason,
    /// Why, in a sentence.
    pub message: String,
    /// Sources that are well and all that are fetched continuously or pushed to, such as `12/15`.
    pub column: String,
}

/// Judges the sources that the producers run.
pub fn judge(pipeline: &Pipeline, states: &[SourceState]) -> Health {
    let wanted = pipeline.producer.sources.len();
    let failing: Vec<&SourceState> = states.iter().filter(|state| state.is_failing()).collect();
    let column = format!("{}/{wanted}", states.len() - failing.len());
    let health = |status, reason, message: String| Health { status, reason, message, column: column.clone() };
    if wanted == 0 || pipeline.producer.replicas == 0 {
        return health(ConditionStatus::True, Reason::NoSource, "no source is fetched continuously".to_owned());
    }
    if let Some(first) = failing.first() {
        let others = match failing.len() - 1 {
            0 => String::new(),
            more => format!(" ({more} more of {wanted} fail, too; see status.sources)"),
        };
        let message = format!("source '{}': {}: {}{others}", first.name, first.state, short(&first.message));
        return health(ConditionStatus::False, Reason::SourceFailing, message);
    }
    if states.len() < wanted {
        let message = format!("the producers of {} of {wanted} sources do not answer", wanted - states.len());
        return health(ConditionStatus::Unknown, Reason::WaitingForProducers, message);
    }
    health(ConditionStatus::True, Reason::SourcesRunning, format!("{wanted} of {wanted} sources answer"))
}

/// Returns what the status says of each source, by name. Counts are rounded down to two digits, so that records on
/// their way do not change the status at every pass.
pub fn statuses(states: &[SourceState], two_digits: impl Fn(i64) -> i64) -> Vec<SourceStatus> {
    let mut statuses: Vec<SourceStatus> = states.iter().map(|state| status(state, &two_digits)).collect();
    statuses.sort_by(|one, other| one.name.cmp(&other.name));
    // A source that is pushed to runs in every producer.
    statuses.dedup_by(|later, first| {
        let same = later.name == first.name;
        if same {
            first.records += later.records;
            first.rejected += later.rejected;
        }
        same
    });
    statuses
}

fn status(state: &SourceState, two_digits: &impl Fn(i64) -> i64) -> SourceStatus {
    let SourceState { name, state: word, message, acknowledged, rejected, last_success } = state;
    let count = |count: u64| two_digits(i64::try_from(count).unwrap_or(i64::MAX));
    SourceStatus {
        name: name.clone(),
        state: word.clone(),
        message: short(message),
        records: count(*acknowledged),
        rejected: count(*rejected),
        // Of one that answers it is now, and would change the status at every pass.
        last_success: last_success
            .filter(|_| state.is_failing())
            .and_then(chrono::DateTime::from_timestamp_millis)
            .map(time_of),
    }
}

fn short(message: &str) -> String {
    match message.char_indices().nth(LONGEST_MESSAGE) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message.to_owned(),
    }
}
