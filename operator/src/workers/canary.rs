//! Whether data flows: what the canaries of the processors say, judged for the condition `DataFlowing`. Pure.
//!
//! A canary is stuck when a record waits for one station for longer than is normal. What was False becomes True only by a
//! record that is read back, so that a new processor does not hide what the one before it has found.

use std::time::Duration;

use chrono::TimeDelta;
use millrace_api::Pipeline;
use millrace_api::crd::condition::{ConditionStatus, ConditionType, Reason};
use millrace_api::crd::time::moment_of;
use millrace_terms::{CanaryReport, Duration as Span, Station};

use crate::link::{Link, LinkState};
use crate::observed::Observed;
use crate::rounding::two_digits;
use crate::workers::scaling;

/// Shortest wait that counts as stuck: a broker that fails is replaced as leader within it.
const LEAST_PATIENCE: Duration = Duration::from_secs(30);

/// What a canary has to wait for: what stands before it in the chain.
const BEFORE: [Link; 4] = [Link::ZooKeeper, Link::Kafka, Link::Topics, Link::Cassandra];

/// What the condition `DataFlowing` says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Flow {
    /// Whether canary records become readable rows.
    pub status: ConditionStatus,
    /// Why, in one word; it may be one that an earlier pass wrote.
    pub reason: String,
    /// Why, in a sentence.
    pub message: String,
    /// Time from sending to reading back. Absent: unknown.
    pub latency: Option<String>,
}

impl Flow {
    fn unknown(reason: Reason, message: String) -> Self {
        Self { status: ConditionStatus::Unknown, reason: reason.to_string(), message, latency: None }
    }
}

/// Judges the canaries of a pipeline that may be paused. `None`: it has none.
pub fn judge(pipeline: &Pipeline, observed: &Observed, is_paused: bool, links: &[LinkState]) -> Option<Flow> {
    let interval = pipeline.processor.canary?.get();
    let patience = (interval * 3).max(LEAST_PATIENCE);
    if let Some((reason, why)) = idle(pipeline, observed, is_paused) {
        return Some(Flow::unknown(reason, format!("{why}: no canary record is expected")));
    }
    let reports: Vec<&CanaryReport> = observed.stores.canaries.values().collect();
    let waits = reports.iter().filter_map(|report| report.waits.as_ref());
    let stuck = waits.filter(|waits| Duration::from_millis(waits.since) >= patience).max_by_key(|waits| waits.since);
    if let Some(stuck) = stuck {
        return Some(stopped(observed, &reports, stuck.station));
    }
    let reads = reports.iter().filter_map(|report| report.read.as_ref());
    let recent = reads.filter(|read| Duration::from_millis(read.ago) <= interval + patience);
    if let Some(slowest) = recent.map(|read| read.latency).max() {
        let before = observed.remembered.status.processor.as_ref();
        return Some(Flow {
            status: ConditionStatus::True,
            reason: Reason::RecordsReadable.to_string(),
            message: "canary records become readable rows".to_owned(),
            latency: Some(steady(before.and_then(|before| before.canary_latency.as_deref()), slowest)),
        });
    }
    let conditions = &observed.remembered.status.conditions;
    let before = ConditionType::DataFlowing.of(conditions);
    if let Some(before) = before.filter(|before| ConditionStatus::of(before) == ConditionStatus::False) {
        let (reason, message) = (before.reason.clone(), before.message.clone());
        return Some(Flow { status: ConditionStatus::False, reason, message, latency: None });
    }
    if let Some(link) = links.iter().find(|link| !link.met && BEFORE.contains(&link.link)) {
        return Some(Flow::unknown(link.reason, format!("canary records wait: {}", link.message)));
    }
    // Since when processors could have sent one.
    let chain = BEFORE.into_iter().chain([Link::Processor]).map(Link::condition);
    let since = chain.chain([ConditionType::DataFlowing]).filter_map(|kind| kind.of(conditions));
    let since = since.map(|condition| moment_of(&condition.last_transition_time)).max();
    let waited = since.map_or(TimeDelta::zero(), |since| observed.now - since);
    let waits_already = before.is_some_and(|before| before.reason == Reason::WaitingForProcessors.to_string());
    // A record in flight has its own time, and names its own station.
    let none_in_flight = reports.iter().all(|report| report.waits.is_none());
    if waits_already && none_in_flight && waited.to_std().is_ok_and(|waited| waited >= patience) {
        return Some(stopped(observed, &reports, Station::Consumed));
    }
    let message = "no canary record has been read back yet";
    Some(Flow::unknown(Reason::WaitingForProcessors, message.to_owned()))
}

/// Returns why no canary record is sent, if that is as it should be.
fn idle(pipeline: &Pipeline, observed: &Observed, is_paused: bool) -> Option<(Reason, &'static str)> {
    if is_paused {
        return Some((Reason::Paused, "the pipeline is paused"));
    }
    if pipeline.suspend {
        return Some((Reason::Suspended, "the pipeline is suspended"));
    }
    if scaling::wanted(pipeline, observed) == 0 {
        return Some((Reason::ScaledToZero, "no processors are wanted"));
    }
    pipeline.processor.queries.is_empty().then_some((Reason::NoQuery, "no query can run"))
}

/// Returns that records stop before a station. Where that is known already, the message stays that of its beginning.
fn stopped(observed: &Observed, reports: &[&CanaryReport], station: Station) -> Flow {
    let (reason, what) = match station {
        Station::Produced => (Reason::NotProduced, "Kafka does not acknowledge a canary record"),
        Station::Consumed => (Reason::NotConsumed, "no processor receives a canary record"),
        Station::Written => (Reason::NotWritten, "Cassandra does not acknowledge the row of a canary record"),
        Station::Read => (Reason::NotRead, "the row of a canary record is acknowledged and cannot be read back"),
    };
    let reason = reason.to_string();
    let before = ConditionType::DataFlowing.of(&observed.remembered.status.conditions);
    let before = before.filter(|before| ConditionStatus::of(before) == ConditionStatus::False);
    let last = reports.iter().filter_map(|report| report.read.as_ref()).map(|read| read.ago).min();
    // What a processor tells may be any number.
    let last = last.and_then(|ago| TimeDelta::from_std(Duration::from_millis(ago)).ok());
    let last = last.and_then(|ago| observed.now.checked_sub_signed(ago));
    let message = match (before.filter(|before| before.reason == reason), last) {
        (Some(before), _) => before.message.clone(),
        (None, Some(at)) => {
            format!("{what}; the last one was read back at {}", at.format("%Y-%m-%dT%H:%M:%SZ"))
        }
        (None, None) => what.to_owned(),
    };
    Flow { status: ConditionStatus::False, reason, message, latency: None }
}

/// Returns the latency that the status has: the one that it has already, unless it has halved or doubled, so that no pass
/// writes for a few milliseconds.
fn steady(before: Option<&str>, now: u64) -> String {
    let now = now.max(1);
    let before = before.and_then(|before| before.parse::<Span>().ok());
    let close = before.filter(|before| {
        let (before, now) = (before.get().as_millis(), u128::from(now));
        now < before * 2 && before < now * 2
    });
    let rounded = two_digits(i64::try_from(now).unwrap_or(i64::MAX));
    close.unwrap_or(Span::from_millis(rounded.unsigned_abs())).to_string()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use chrono::{DateTime, Utc};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
    use millrace_api::crd::status::ProcessorStatus;
    use millrace_api::crd::time::time_of;
    use millrace_terms::{CanaryRead, CanaryWait};

    use super::*;

    fn pipeline() -> Pipeline {
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../e2e/samples/accepted/canary.yaml");
        let text = std::fs::read_to_string(sample).expect("the sample is there");
        let resource = serde_yaml::from_str(&text).expect("the sample is a pipeline");
        millrace_api::validate_sources(&resource).pipeline.expect("it is valid")
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_767_225_600 + seconds, 0).expect("a moment")
    }

    /// A look at these canaries, a second or more after nothing was known.
    fn observed(seconds: i64, reports: impl IntoIterator<Item = CanaryReport>) -> Observed {
        let mut observed = Observed { now: at(seconds), ..Observed::default() };
        let named = reports.into_iter().enumerate().map(|(index, report)| (format!("users-processor-{index}"), report));
        observed.stores.canaries = named.collect();
        observed
    }

    /// Remembers what was judged, as the status does.
    fn after(observed: &mut Observed, flow: &Flow, seconds: i64) {
        observed.remembered.status.conditions = vec![Condition {
            type_: ConditionType::DataFlowing.to_string(),
            status: flow.status.as_str().to_owned(),
            reason: flow.reason.clone(),
            message: flow.message.clone(),
            observed_generation: None,
            last_transition_time: time_of(at(seconds)),
        }];
        let processor = ProcessorStatus { canary_latency: flow.latency.clone(), ..ProcessorStatus::default() };
        observed.remembered.status.processor = Some(processor);
    }

    fn read(ago: u64, latency: u64) -> CanaryReport {
        CanaryReport { waits: None, read: Some(CanaryRead { ago: ago * 1_000, latency }) }
    }

    fn waits(station: Station, since: u64, report: CanaryReport) -> CanaryReport {
        CanaryReport { waits: Some(CanaryWait { station, since: since * 1_000 }), ..report }
    }

    fn judged(observed: &Observed) -> Flow {
        judge(&pipeline(), observed, false, &[]).expect("it has a canary")
    }

    fn said(flow: &Flow) -> (&'static str, &str) {
        (flow.status.as_str(), &flow.reason)
    }

    #[test]
    fn what_is_read_back_flows_and_the_slowest_counts() {
        let flow = judged(&observed(0, [read(3, 12), read(9, 1_234)]));
        assert_eq!((said(&flow), flow.latency.as_deref()), (("True", "RecordsReadable"), Some("1s200ms")));
        // Controls: one that was read too long ago, and a pipeline without a canary.
        assert_eq!(said(&judged(&observed(0, [read(41, 12)]))), ("Unknown", "WaitingForProcessors"));
        let mut without = pipeline();
        without.processor.canary = None;
        assert_eq!(judge(&without, &observed(0, [read(3, 12)]), false, &[]), None);
    }

    #[test]
    fn a_record_that_waits_for_too_long_names_its_station() {
        let cases = [
            (Station::Produced, "NotProduced"),
            (Station::Consumed, "NotConsumed"),
            (Station::Written, "NotWritten"),
            (Station::Read, "NotRead"),
        ];
        for (station, reason) in cases {
            // The other processor's canary is well: its partitions flow, and those of this one do not.
            let found = observed(60, [read(3, 12), waits(station, 30, read(32, 15))]);
            let flow = judged(&found);
            assert_eq!((said(&flow), flow.latency.as_deref()), (("False", reason), None));
            assert!(flow.message.contains("2026-01-01T00:00:57Z"), "{}", flow.message);
            // Control: a wait that is no longer than usual.
            assert_eq!(said(&judged(&observed(60, [waits(station, 29, read(32, 15))]))), ("True", "RecordsReadable"));
        }
    }

    #[test]
    fn a_stop_keeps_its_words_until_a_record_is_read_back() {
        let mut found = observed(60, [waits(Station::Written, 30, read(32, 15))]);
        let first = judged(&found);
        after(&mut found, &first, 60);
        found.now = at(75);
        found.stores.canaries = observed(75, [waits(Station::Written, 45, read(48, 15))]).stores.canaries;
        assert_eq!(judged(&found), first, "another second of the last record would be a write");
        found.stores.canaries = observed(80, [waits(Station::Produced, 1, CanaryReport::default())]).stores.canaries;
        assert_eq!(judged(&found), first, "a new processor has found nothing yet");
        found.stores.canaries.clear();
        assert_eq!(judged(&found), first, "nor has one that does not answer");
        // Controls: another station, and a record that is read.
        found.stores.canaries = observed(90, [waits(Station::Produced, 30, CanaryReport::default())]).stores.canaries;
        assert_eq!(said(&judged(&found)), ("False", "NotProduced"));
        found.stores.canaries = observed(90, [read(1, 15)]).stores.canaries;
        assert_eq!(said(&judged(&found)), ("True", "RecordsReadable"));
    }

    #[test]
    fn processors_that_do_not_report_are_unknown_first_and_a_stop_later() {
        let mut found = observed(0, []);
        let flow = judged(&found);
        assert_eq!(said(&flow), ("Unknown", "WaitingForProcessors"));
        after(&mut found, &flow, 0);
        found.now = at(29);
        assert_eq!(said(&judged(&found)), ("Unknown", "WaitingForProcessors"));
        found.now = at(30);
        assert_eq!(said(&judged(&found)), ("False", "NotConsumed"));
        // Controls: a record that has just been sent, and a store that starts.
        found.stores.canaries = observed(30, [waits(Station::Written, 1, CanaryReport::default())]).stores.canaries;
        assert_eq!(said(&judged(&found)), ("Unknown", "WaitingForProcessors"));
        found.stores.canaries.clear();
        let link = LinkState::unmet(Link::Cassandra, Reason::NodeJoining, "0 of 3 nodes are up");
        let flow = judge(&pipeline(), &found, false, &[link]).expect("it has a canary");
        assert_eq!(said(&flow), ("Unknown", "NodeJoining"));
    }

    #[test]
    fn nothing_is_expected_of_a_pipeline_that_stands_still() {
        let found = observed(60, [waits(Station::Written, 300, CanaryReport::default())]);
        assert_eq!(said(&judged(&found)), ("False", "NotWritten"), "the control");
        let flow = judge(&pipeline(), &found, true, &[]).expect("it has a canary");
        assert_eq!(said(&flow), ("Unknown", "Paused"));
        type Change = fn(&mut Pipeline);
        let changes: [(&str, Change); 3] = [
            ("Suspended", |pipeline| pipeline.suspend = true),
            ("ScaledToZero", |pipeline| pipeline.processor.replicas = 0),
            ("NoQuery", |pipeline| pipeline.processor.queries.clear()),
        ];
        for (reason, change) in changes {
            let mut pipeline = pipeline();
            change(&mut pipeline);
            let flow = judge(&pipeline, &found, false, &[]).expect("it has a canary");
            assert_eq!(said(&flow), ("Unknown", reason));
        }
    }

    #[test]
    fn a_latency_is_written_again_when_it_has_halved_or_doubled() {
        assert_eq!(steady(None, 0), "1ms");
        assert_eq!(steady(None, 1_267), "1s200ms");
        for (now, written) in [(20, "20ms"), (39, "20ms"), (11, "20ms"), (40, "40ms"), (10, "10ms")] {
            assert_eq!(steady(Some("20ms"), now), written, "{now}");
        }
    }
}
