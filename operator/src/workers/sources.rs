//! How the sources of a pipeline are doing: what the producers say of them, judged. Pure.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

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
    let states: Vec<SourceState> = merged(states)
        .into_iter()
        .filter(|state| pipeline.producer.sources.iter().any(|source| source.name == state.name))
        .collect();
    let failing: Vec<&SourceState> = states.iter().filter(|state| state.is_failing() || rejects_all(state)).collect();
    let column = format!("{}/{wanted}", states.len() - failing.len());
    let health = |status, reason, message: String| Health { status, reason, message, column: column.clone() };
    if wanted == 0 || pipeline.producer.replicas == 0 || pipeline.suspend {
        return health(ConditionStatus::True, Reason::NoSource, "no source is fetched continuously".to_owned());
    }
    if let Some(first) = failing.first() {
        let others = match failing.len() - 1 {
            0 => String::new(),
            more => format!(" ({more} more of {wanted} sources also fail; see status.sources)"),
        };
        let message = match first.is_failing() {
            true => format!("source '{}': {}: {}{others}", first.name, first.state, short(&first.message)),
            false => format!(
                "source '{}': every record so far was rejected; the dead-letter topic has them with the reasons{others}",
                first.name
            ),
        };
        return health(ConditionStatus::False, Reason::SourceFailing, message);
    }
    if states.len() < wanted {
        let message = format!("the producers of {} of {wanted} sources do not answer", wanted - states.len());
        return health(ConditionStatus::Unknown, Reason::WaitingForProducers, message);
    }
    health(ConditionStatus::True, Reason::SourcesRunning, format!("{wanted} of {wanted} sources answer"))
}

/// Returns whether a source answers, and nothing of what it gives becomes a record.
fn rejects_all(state: &SourceState) -> bool {
    state.rejected > 0 && state.acknowledged == 0
}

/// Returns what the status says of each source, by name. Counts are rounded down to two digits, so that records on
/// their way do not change the status at every pass.
pub fn statuses(states: &[SourceState], two_digits: impl Fn(i64) -> i64) -> Vec<SourceStatus> {
    merged(states).iter().map(|state| status(state, &two_digits)).collect()
}

/// Returns one state for each source, by name: what is pushed to runs in every producer, and is as well as the worst of
/// them.
fn merged(states: &[SourceState]) -> Vec<SourceState> {
    let mut by_name: BTreeMap<&str, SourceState> = BTreeMap::new();
    for state in states {
        match by_name.entry(&state.name) {
            Entry::Vacant(entry) => drop(entry.insert(state.clone())),
            Entry::Occupied(mut entry) => {
                let first = entry.get_mut();
                let (acknowledged, rejected) =
                    (first.acknowledged + state.acknowledged, first.rejected + state.rejected);
                let last_success = first.last_success.max(state.last_success);
                if state.is_failing() && !first.is_failing() {
                    *first = state.clone();
                }
                (first.acknowledged, first.rejected, first.last_success) = (acknowledged, rejected, last_success);
            }
        }
    }
    by_name.into_values().collect()
}

fn status(state: &SourceState, two_digits: &impl Fn(i64) -> i64) -> SourceStatus {
    let SourceState { name, state: word, message, acknowledged, rejected, last_success } = state;
    let count = |count: u64| two_digits(i64::try_from(count).unwrap_or(i64::MAX));
    SourceStatus {
        name: name.clone(),
        state: word.to_string(),
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use millrace_terms::SourcePhase;

    use super::*;

    fn pipeline() -> Pipeline {
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../e2e/samples/accepted/sources-of-every-kind.yaml");
        let text = std::fs::read_to_string(sample).expect("the sample is there");
        let resource = serde_yaml::from_str(&text).expect("the sample is a pipeline");
        millrace_api::validate_sources(&resource).pipeline.expect("it is valid")
    }

    fn state(name: &str, state: SourcePhase, message: &str) -> SourceState {
        SourceState {
            name: name.to_owned(),
            state,
            message: message.to_owned(),
            acknowledged: 110,
            rejected: 1,
            last_success: Some(1_767_225_600_000),
        }
    }

    #[test]
    fn the_first_that_fails_is_named_and_each_counts_once() {
        let pipeline = pipeline();
        let names: Vec<String> = pipeline.producer.sources.iter().map(|source| source.name.clone()).collect();
        let mut states: Vec<SourceState> = names.iter().map(|name| state(name, SourcePhase::Running, "")).collect();
        // Of a second producer.
        states.push(state(&names[1], SourcePhase::Running, ""));
        states.push(state("gone", SourcePhase::BadAnswer, "of an older spec"));
        let all = names.len();
        let well = judge(&pipeline, &states);
        assert_eq!((well.status, well.column), (ConditionStatus::True, format!("{all}/{all}")));
        // One that gives nothing but what is rejected answers, and is of no use.
        let mut useless = states.clone();
        useless[0] = SourceState { acknowledged: 0, rejected: 150, ..state(&names[0], SourcePhase::Running, "") };
        let rejected = judge(&pipeline, &useless);
        assert_eq!((rejected.reason, rejected.column), (Reason::SourceFailing, format!("{}/{all}", all - 1)));
        assert!(rejected.message.contains("every record so far was rejected"), "{}", rejected.message);
        let silent = judge(&pipeline, &states[1..]);
        assert_eq!((silent.status, silent.reason), (ConditionStatus::Unknown, Reason::WaitingForProducers));
        let last = states.len() - 2;
        states[last] = state(&names[1], SourcePhase::BadAnswer, &"x".repeat(1_000));
        let failing = judge(&pipeline, &states);
        assert_eq!((failing.reason, failing.column), (Reason::SourceFailing, format!("{}/{all}", all - 1)));
        assert!(failing.message.starts_with(&format!("source '{}': BadAnswer: x", names[1])), "{}", failing.message);
        assert!(failing.message.len() < 400);
        let status = statuses(&states, |count| count / 100 * 100);
        let merged = status.iter().find(|status| status.name == names[1]).expect("it is there");
        assert_eq!((merged.state.as_str(), merged.records, status.len()), ("BadAnswer", 200, all + 1));
    }
}
