//! Facts of a pipeline → one sentence, and what holds it up, worst first. Pure.

use millrace_api::StreamingPipeline;
use millrace_api::crd::condition::{ConditionStatus, ConditionType, Link};
use millrace_api::names::Names;

use super::graph::{CASSANDRA, KAFKA, ZOOKEEPER, id};
use super::pace::{Pace, pace};
use super::pipeline::{paused, series, state};
use crate::api::history::{Measure, SeriesKey};
use crate::api::pipeline::{Bottleneck, NodeKind, Stage, State, Trend, Why};
use crate::measure::history::History;

/// Share of its time from which a processor counts as held up.
const HELD_UP: f64 = 0.5;
/// Share of its time from which it counts as fully used.
const FULLY_USED: f64 = 0.8;

/// What the sentence is made from.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// How the pipeline is.
    pub state: Option<State>,
    /// Reason and message of `Ready` where it is not true.
    pub unready: Option<(String, String)>,
    /// The conditions that are not true, in the order of the chain: the node, and the message.
    pub broken: Vec<(String, String)>,
    /// Sources: name, errors a second, records a second.
    pub sources: Vec<(String, Option<f64>, Option<f64>)>,
    /// Nodes of the queries.
    pub queries: Vec<String>,
    /// Records a second into Kafka.
    pub in_rate: Option<f64>,
    /// Rows a second into Cassandra.
    pub out_rate: Option<f64>,
    /// Records that wait.
    pub lag: Option<f64>,
    /// For how long the oldest waits, in seconds.
    pub lag_seconds: Option<f64>,
    /// Whether processors keep up with it.
    pub pace: Pace,
    /// Share of time spent working.
    pub busy: Option<f64>,
    /// Share of time spent waiting for Cassandra.
    pub back_pressured: Option<f64>,
    /// Dead letters a second.
    pub dead_letters: Option<f64>,
    /// Failed writes a second.
    pub write_failures: Option<f64>,
    /// Sources whose schedule is paused.
    pub paused: Vec<String>,
    /// Whether no processor is wanted.
    pub no_processor: bool,
    /// Why something is unknown.
    pub unknown: Vec<String>,
}

/// Gathers the facts.
pub fn facts(resource: &StreamingPipeline, names: &Names, history: &History) -> Facts {
    let recent = |stage, measure| history.recent(names, &series(Some(stage), measure));
    let of_source = |name: &String, measure| {
        history.recent(names, &SeriesKey { name: Some(name.clone()), ..series(Some(Stage::Source), measure) })
    };
    let conditions = resource.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let untrue = |kind: ConditionType| {
        kind.of(conditions).filter(|condition| ConditionStatus::of(condition) != ConditionStatus::True)
    };
    let unready = untrue(ConditionType::Ready);
    let error_rates = [Stage::Source, Stage::Processor, Stage::Sink].map(|stage| recent(stage, Measure::ErrorRate));
    let query_nodes: Vec<String> =
        resource.spec.processor.queries.iter().map(|query| id(NodeKind::Query, &query.name)).collect();
    let source_node = resource.spec.producer.sources.first().map(|source| id(NodeKind::Source, &source.name));
    let node_of = |link: Link| match link {
        Link::ZooKeeper => Some(id(NodeKind::Store, ZOOKEEPER)),
        Link::Kafka | Link::Topics => Some(id(NodeKind::Store, KAFKA)),
        Link::Cassandra => Some(id(NodeKind::Store, CASSANDRA)),
        Link::Processor => query_nodes.first().cloned(),
        Link::Producer => source_node.clone(),
    };
    let broken = Link::ALL
        .into_iter()
        .filter_map(|link| Some((node_of(link)?, untrue(link.condition())?.message.clone())))
        .collect();
    Facts {
        state: Some(state(resource, error_rates.into_iter().sum())),
        unready: unready.map(|condition| (condition.reason.clone(), condition.message.clone())),
        broken,
        sources: resource
            .spec
            .producer
            .sources
            .iter()
            .map(|source| {
                let rate = |measure| of_source(&source.name, measure);
                (source.name.clone(), rate(Measure::ErrorRate), rate(Measure::InRate))
            })
            .collect(),
        queries: query_nodes,
        in_rate: recent(Stage::Source, Measure::OutRate),
        out_rate: recent(Stage::Sink, Measure::OutRate),
        lag: history.latest(names, &series(None, Measure::LagRecords)),
        lag_seconds: history.latest(names, &series(None, Measure::LagSeconds)),
        pace: pace(names, history),
        busy: recent(Stage::Processor, Measure::Busy),
        back_pressured: recent(Stage::Processor, Measure::BackPressured),
        dead_letters: recent(Stage::Processor, Measure::ErrorRate),
        write_failures: recent(Stage::Sink, Measure::ErrorRate),
        paused: paused(resource),
        no_processor: resource.spec.processor.replicas == 0,
        unknown: history.unknown(names),
    }
}

/// Says why.
pub fn why(facts: &Facts) -> Why {
    let mut bottlenecks = Vec::new();
    broken_links(facts, &mut bottlenecks);
    lag(facts, &mut bottlenecks);
    errors(facts, &mut bottlenecks);
    standing_still(facts, &mut bottlenecks);
    bottlenecks.sort_by(|one, other| other.severity.total_cmp(&one.severity));
    let state = facts.state.unwrap_or(State::Unknown);
    Why { state, sentence: sentence(facts, state, &bottlenecks), bottlenecks, unknown: facts.unknown.clone() }
}

fn bottleneck(node: Option<&String>, severity: f64, trend: Option<Trend>, message: String) -> Bottleneck {
    Bottleneck { node: node.cloned(), severity: severity.clamp(0.0, 1.0), trend, message }
}

fn broken_links(facts: &Facts, found: &mut Vec<Bottleneck>) {
    // The first broken link is the cause; what comes after it waits for it.
    let severity = |place: usize| 1.0 - 0.05 * place as f64;
    for (place, (node, message)) in facts.broken.iter().enumerate() {
        found.push(bottleneck(Some(node), severity(place), None, message.clone()));
    }
    if let (Some((_, message)), true) = (&facts.unready, facts.broken.is_empty()) {
        found.push(bottleneck(None, 1.0, None, message.clone()));
    }
}

fn lag(facts: &Facts, found: &mut Vec<Bottleneck>) {
    let (Some(lag), Pace::Behind(trend)) = (facts.lag.filter(|lag| *lag > 0.0), facts.pace) else {
        return;
    };
    let waiting = waiting(lag, facts.lag_seconds);
    let base = match trend {
        Some(Trend::Growing) => 0.7,
        Some(Trend::Steady) | None => 0.5,
        Some(Trend::Shrinking) => 0.2,
    };
    let query = facts.queries.first();
    let (node, share, message) = match (trend, facts.back_pressured, facts.busy) {
        (Some(Trend::Shrinking), _, _) => (query.cloned(), 0.0, format!("processors are catching up; {waiting}")),
        (_, Some(held), _) if held >= HELD_UP => (
            Some(id(NodeKind::Store, CASSANDRA)),
            held,
            format!(
                "Cassandra takes rows more slowly than they come: processors wait for it {} of their time; {waiting}",
                percent(held)
            ),
        ),
        (_, _, Some(busy)) if busy >= FULLY_USED => (
            query.cloned(),
            busy,
            format!(
                "processors work {} of their time: add replicas, up to the number of partitions; {waiting}",
                percent(busy)
            ),
        ),
        (_, _, _) => (query.cloned(), 0.0, format!("processors are behind; {waiting}")),
    };
    found.push(bottleneck(node.as_ref(), base + 0.2 * share, trend, message));
}

fn errors(facts: &Facts, found: &mut Vec<Bottleneck>) {
    for (name, errors, records) in &facts.sources {
        if let Some(errors) = errors.filter(|errors| *errors > 0.0) {
            let share = records.map_or(1.0, |records| errors / (errors + records));
            let message = format!("source '{name}' has {} errors/s", rate(errors));
            found.push(bottleneck(Some(&id(NodeKind::Source, name)), 0.3 + 0.5 * share, None, message));
        }
    }
    if let Some(failures) = facts.write_failures.filter(|failures| *failures > 0.0) {
        let message = format!("Cassandra does not acknowledge {} writes/s; each write is retried", rate(failures));
        found.push(bottleneck(Some(&id(NodeKind::Store, CASSANDRA)), 0.75, None, message));
    }
    if let Some(letters) = facts.dead_letters.filter(|letters| *letters > 0.0) {
        let share = facts.out_rate.map_or(1.0, |rows| letters / (letters + rows));
        let message = format!("{} records/s cannot be used and become dead letters", rate(letters));
        found.push(bottleneck(facts.queries.first(), 0.3 + 0.4 * share, None, message));
    }
}

fn standing_still(facts: &Facts, found: &mut Vec<Bottleneck>) {
    if facts.no_processor {
        let message = "processor.replicas is 0: records stay in Kafka".to_owned();
        found.push(bottleneck(facts.queries.first(), 0.9, None, message));
    }
    for name in &facts.paused {
        let message = format!("the schedule of source '{name}' is paused");
        found.push(bottleneck(Some(&id(NodeKind::Source, name)), 0.2, None, message));
    }
}

fn sentence(facts: &Facts, state: State, bottlenecks: &[Bottleneck]) -> String {
    let worst = bottlenecks.first().map(|bottleneck| bottleneck.message.as_str());
    match (state, worst) {
        (State::Unknown, _) => {
            let cause = facts.unready.as_ref().map(|(_, message)| message.as_str());
            format!("The state is unknown: {}.", cause.unwrap_or("the operator could not look"))
        }
        (State::Waiting, Some(worst)) => format!("The pipeline is being created: {worst}."),
        (State::Waiting, None) => "The pipeline is being created: the operator has not reported yet.".to_owned(),
        (State::Failed, Some(worst)) => format!("The pipeline cannot work: {worst}."),
        (State::Empty, _) => format!("No rows are written: {}.", worst.unwrap_or("processor.replicas is 0")),
        (State::Paused, _) => match &facts.unready {
            Some((_, message)) => format!("The pipeline is suspended: {message}."),
            None => "All sources are paused; records already in Kafka are still written.".to_owned(),
        },
        (State::Degraded, Some(worst)) if facts.unready.is_some() => format!("Some parts do not work: {worst}."),
        (_, Some(worst)) => format!("Records flow, but {worst}."),
        (_, None) => flowing(facts),
    }
}

fn flowing(facts: &Facts) -> String {
    let records = facts.in_rate.map(|rate| format!("{} records/s into Kafka", self::rate(rate)));
    let rows = facts.out_rate.map(|rate| format!("{} rows/s into tables", self::rate(rate)));
    let lag = facts.lag.map(|lag| waiting(lag, facts.lag_seconds));
    let said: Vec<String> = [records, rows, lag].into_iter().flatten().collect();
    let verdict = if facts.lag.is_some() { "Processors keep up" } else { "Records flow" };
    match (said.is_empty(), facts.unknown.first()) {
        (true, Some(cause)) => format!("All parts are ready; how much flows is unknown: {cause}."),
        (true, None) => "All parts are ready.".to_owned(),
        (false, _) => format!("{verdict}: {}.", said.join(", ")),
    }
}

/// Returns how many records wait, and for how long the oldest does.
fn waiting(lag: f64, oldest: Option<f64>) -> String {
    if lag <= 0.0 {
        return "no records wait".to_owned();
    }
    let oldest = oldest.map_or_else(String::new, |seconds| format!(", the oldest for {}", duration(seconds)));
    let noun = if lag < 1.5 { "record waits" } else { "records wait" };
    format!("{lag:.0} {noun}{oldest}")
}

/// Writes a length of time in the unit that the figures beside it have.
fn duration(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 0.001 => "less than 1 ms".to_owned(),
        seconds if seconds < 0.9995 => format!("{:.0} ms", seconds * 1e3),
        seconds if seconds < 9.95 => format!("{} s", (seconds * 10.0).round() / 10.0),
        seconds if seconds < 90.0 => format!("{seconds:.0} s"),
        seconds if seconds < 5_400.0 => format!("{:.0} min", seconds / 60.0),
        seconds => format!("{:.1} h", seconds / 3_600.0),
    }
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

fn rate(number: f64) -> String {
    if number >= 10.0 || number == 0.0 { format!("{number:.0}") } else { format!("{number:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Facts {
        Facts {
            state: Some(State::Ok),
            sources: vec![("users".to_owned(), Some(0.0), Some(10.0))],
            queries: vec!["query/users".to_owned()],
            in_rate: Some(10.0),
            out_rate: Some(10.0),
            lag: Some(0.0),
            lag_seconds: Some(0.0),
            busy: Some(0.2),
            back_pressured: Some(0.1),
            dead_letters: Some(0.0),
            write_failures: Some(0.0),
            ..Facts::default()
        }
    }

    #[test]
    fn a_stream_that_flows_has_no_bottleneck() {
        let why = why(&good());
        assert_eq!(
            why.sentence,
            "Processors keep up: 10 records/s into Kafka, 10 rows/s into tables, no records wait."
        );
        assert_eq!(why.bottlenecks, []);
    }

    #[test]
    fn records_that_wait_for_a_moment_are_no_bottleneck() {
        let facts = Facts { lag: Some(58.0), lag_seconds: Some(0.343), ..good() };
        let why = why(&facts);
        assert_eq!(why.bottlenecks, []);
        assert!(why.sentence.ends_with("58 records wait, the oldest for 343 ms."), "{}", why.sentence);
    }

    #[test]
    fn a_length_of_time_is_never_rounded_to_nothing() {
        let written = [0.0, 0.343, 0.9999, 1.0, 2.34, 59.6, 185.0, 7_200.0].map(duration);
        assert_eq!(written, ["less than 1 ms", "343 ms", "1 s", "1 s", "2.3 s", "60 s", "3 min", "2.0 h"]);
        assert_eq!(waiting(1.0, None), "1 record waits");
    }

    #[test]
    fn a_lag_that_shrinks_is_named_last() {
        let facts = Facts {
            lag: Some(9_000.0),
            pace: Pace::Behind(Some(Trend::Shrinking)),
            back_pressured: Some(0.9),
            write_failures: Some(1.0),
            ..good()
        };
        let why = why(&facts);
        let last = why.bottlenecks.last().expect("a bottleneck");
        assert_eq!(last.trend, Some(Trend::Shrinking));
        assert_eq!(last.message, "processors are catching up; 9000 records wait, the oldest for less than 1 ms");
    }

    #[test]
    fn the_part_that_holds_the_others_up_is_named() {
        let pace = Pace::Behind(Some(Trend::Growing));
        let behind = Facts { lag: Some(9_000.0), lag_seconds: Some(300.0), pace, ..good() };
        let slow_store = Facts { back_pressured: Some(0.8), busy: Some(0.2), ..behind.clone() };
        let worst = &why(&slow_store).bottlenecks[0];
        assert_eq!(worst.node.as_deref(), Some("store/Cassandra"));
        assert_eq!(worst.trend, Some(Trend::Growing));
        assert!(worst.message.contains("80 %") && worst.message.contains("the oldest for 5 min"), "{}", worst.message);
        let full = Facts { back_pressured: Some(0.05), busy: Some(0.95), ..behind };
        assert_eq!(why(&full).bottlenecks[0].node.as_deref(), Some("query/users"));
        assert!(why(&full).sentence.starts_with("Records flow, but processors work 95 % of their time"));
    }

    #[test]
    fn the_first_broken_link_is_worse_than_what_waits_for_it() {
        let facts = Facts {
            state: Some(State::Degraded),
            unready: Some(("WaitingForBrokers".to_owned(), "2 of 3 brokers are registered".to_owned())),
            broken: vec![
                ("store/Kafka".to_owned(), "2 of 3 brokers are registered".to_owned()),
                ("query/users".to_owned(), "waits for Kafka".to_owned()),
            ],
            write_failures: Some(2.0),
            ..good()
        };
        let why = why(&facts);
        let nodes: Vec<&str> = why.bottlenecks.iter().filter_map(|bottleneck| bottleneck.node.as_deref()).collect();
        assert_eq!(nodes, ["store/Kafka", "query/users", "store/Cassandra"]);
        assert_eq!(why.sentence, "Some parts do not work: 2 of 3 brokers are registered.");
    }

    #[test]
    fn errors_are_ranked_by_their_share() {
        let facts = Facts {
            state: Some(State::Degraded),
            sources: vec![("a".to_owned(), Some(1.0), Some(99.0)), ("b".to_owned(), Some(1.0), Some(0.0))],
            ..good()
        };
        let why = why(&facts);
        let nodes: Vec<&str> = why.bottlenecks.iter().filter_map(|bottleneck| bottleneck.node.as_deref()).collect();
        assert_eq!(nodes, ["source/b", "source/a"]);
        assert_eq!(why.sentence, "Records flow, but source 'b' has 1.00 errors/s.");
    }

    #[test]
    fn unknown_is_never_told_as_zero() {
        let facts = Facts { state: Some(State::Ok), unknown: vec!["no broker answers".to_owned()], ..Facts::default() };
        assert_eq!(why(&facts).sentence, "All parts are ready; how much flows is unknown: no broker answers.");
        assert_eq!(why(&facts).unknown, ["no broker answers"]);
        assert_eq!(why(&Facts::default()).sentence, "The state is unknown: the operator could not look.");
    }

    #[test]
    fn paused_and_empty_pipelines_say_so() {
        let paused = Facts { state: Some(State::Paused), paused: vec!["users".to_owned()], ..good() };
        assert_eq!(why(&paused).sentence, "All sources are paused; records already in Kafka are still written.");
        assert_eq!(why(&paused).bottlenecks[0].node.as_deref(), Some("source/users"));
        let unready = Some(("Suspended".to_owned(), "drained".to_owned()));
        let suspended = Facts { state: Some(State::Paused), unready, ..good() };
        assert_eq!(why(&suspended).sentence, "The pipeline is suspended: drained.");
        let empty = Facts { state: Some(State::Empty), no_processor: true, ..good() };
        assert_eq!(why(&empty).sentence, "No rows are written: processor.replicas is 0: records stay in Kafka.");
    }
}
