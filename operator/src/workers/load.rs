//! One look at the load of the processors: lag and input of each partition, and what each processor did; and one at what is
//! pushed: the requests that came in, and what each producer did. Pure.
//!
//! In goes what Kafka, processors and producers say now and what they said before, out comes the history that a decision reads.
//! What does not answer is unknown, never zero.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use k8s_openapi::api::core::v1::{Container, Pod};
use kube::ResourceExt;
use millrace_api::Pipeline;
use millrace_api::names::Component;
use millrace_api::pods::is_ready;
use millrace_api::quantity::Quantity;
use millrace_scaling::{Busy, History, Moment, Observation, Partition, RestartCost, Worker};
use millrace_stores::kafka::{GroupClient, GroupFacts, KafkaFacts, Position};
use millrace_terms::{PipelineName, Work};

use crate::looks::{Ends, Looks, Pushes, remember};
use crate::observed::{Children, Stores};

/// Shortest time between two looks. Passes come closer when something changes; rates over less would be noise.
const APART: Duration = Duration::from_secs(4);

/// How much longer than since the last look a processor may have run, and still count as one that has started since: the
/// two are measured by different clocks.
const SLACK: Duration = Duration::from_secs(2);

/// From a change to a new processor's first record, where no pod tells.
const USUAL_START: Duration = Duration::from_secs(10);

/// Longest start that a pod can tell of: one that was unready in between seems to have started for longer.
const LONGEST_START: i64 = 120;

/// How long the group stands still when a member comes or goes. Rebalances are cooperative, and members hear of one with
/// their next heartbeat, every 3 s.
const STOP: Duration = Duration::from_secs(4);

/// Part of what fills a producer's buffer from which it is Kafka that fills it, as the decision has it.
const HELD_UP: f64 = 0.3;

/// Most letters that are shown of what a client calls itself.
const LONGEST_CLIENT: usize = 100;

/// Returns the looks with another one, if the last was long enough ago. The load is looked at only where the number of
/// processors follows it, and what is pushed only where that of producers does.
pub fn look(pipeline: &Pipeline, children: &Children, stores: &Stores, mut before: Looks, now: DateTime<Utc>) -> Looks {
    let mut reached = std::mem::take(&mut before.reached);
    if let Some(positions) = stores.kafka.as_ref().ok().and_then(|kafka| kafka.positions.as_ref()) {
        remember(&mut reached, positions);
    }
    let at = moment(now);
    let pushes = std::mem::take(&mut before.pushes);
    let pushes = match pipeline.producer.scaling {
        Some(_) => look_at_producers(children, stores, pushes, at),
        None => Pushes::default(),
    };
    let of_processors = match pipeline.processor.scaling {
        Some(_) => look_at_processors(pipeline, children, stores, before, at),
        None => Looks::default(),
    };
    Looks { pushes, reached, ..of_processors }
}

fn look_at_processors(pipeline: &Pipeline, children: &Children, stores: &Stores, before: Looks, at: Moment) -> Looks {
    let before = if is_ahead(&before.history, at) { Looks::default() } else { before };
    let since = before.history.newest().map(|newest| at.since(newest.at));
    if since.is_some_and(|since| since < APART) {
        return before;
    }
    let Looks { mut history, ends, work, .. } = before;
    let (partitions, ends) = partitions(pipeline, stores, ends);
    let (workers, work) = workers(children, stores, &work, since);
    history.push(Observation { at, partitions, workers });
    Looks { history, ends, work, ..Looks::default() }
}

fn look_at_producers(children: &Children, stores: &Stores, before: Pushes, at: Moment) -> Pushes {
    let before = if is_ahead(&before.history, at) { Pushes::default() } else { before };
    let since = before.history.newest().map(|newest| at.since(newest.at));
    if since.is_some_and(|since| since < APART) {
        return before;
    }
    let Pushes { mut history, work } = before;
    let (input, workers, work) = producers(children, stores, &work, since);
    // What was not accepted waits with the clients, and nobody knows how much that is.
    history.push(Observation { at, partitions: vec![Partition { lag: Some(0), input }], workers });
    Pushes { history, work }
}

/// Returns whether the last look is ahead of the clock, which was set back: nothing that is known has a time then.
fn is_ahead(history: &History, at: Moment) -> bool {
    history.newest().is_some_and(|newest| newest.at > at)
}

/// Returns a time as the decision has it.
pub fn moment(time: DateTime<Utc>) -> Moment {
    Moment(u64::try_from(time.timestamp()).unwrap_or(0))
}

/// Returns the partitions that queries read, by topic and number, in the order of every look.
pub fn names(pipeline: &Pipeline, kafka: &KafkaFacts) -> Vec<(String, i32)> {
    let topics: BTreeSet<&String> = pipeline.processor.queries.iter().map(|query| &query.from).collect();
    let mut names = Vec::new();
    for topic in topics {
        let found = kafka.topics.get(topic).map_or(&[][..], |found| &found.partitions);
        let numbers: BTreeSet<i32> = found.iter().map(|partition| partition.index).collect();
        let wanted = pipeline.kafka.topics.iter().find(|wanted| wanted.name == *topic);
        let least = wanted.map_or(1, |wanted| wanted.partitions.max(1) as usize);
        // Of a topic that is not there its partitions are unknown, and with them how many there are in all. A broker that
        // has just started may not know of all: taken for all there are, they would stop processors at once.
        if numbers.len() < least {
            return Vec::new();
        }
        names.extend(numbers.into_iter().map(|number| (topic.clone(), number)));
    }
    names
}

/// Returns which member of the processors' group is none of them, and what to do about it: its partitions are not written,
/// and what the processors do is not what the input needs. `None`: all members are processors.
pub fn stranger(pipeline: &Pipeline, group: &GroupFacts) -> Option<String> {
    let names = &pipeline.names;
    let ours = PipelineName { namespace: names.namespace().to_owned(), name: names.pipeline().to_owned() };
    let ours = ours.client_id(PipelineName::CONSUMER);
    let mut strangers = group.clients.iter().filter(|client| client.id != ours);
    let GroupClient { id, host } = strangers.next()?;
    let others = match strangers.count() {
        0 => String::new(),
        others => format!(" (and {others} more)"),
    };
    let (id, host) = (printable(id), printable(host.trim_start_matches('/')));
    let group = pipeline.kafka.prefix.consumer_group();
    Some(format!(
        "client '{id}' at {host}{others} is a member of the consumer group '{group}' and takes partitions from the \
         processors; stop it, or give it another group.id"
    ))
}

/// Returns what someone else wrote as it may stand in a sentence.
fn printable(written: &str) -> String {
    let letters = written.chars().take(LONGEST_CLIENT);
    letters.map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}

/// Returns what changing the number of processors or producers costs, as their pods tell: the median of their starts. Producers
/// share nothing that stands still meanwhile.
pub fn cost(children: &Children, component: Component) -> RestartCost {
    let start = |pod: &Pod| {
        let created = pod.metadata.creation_timestamp.as_ref()?.0.as_second();
        let conditions = pod.status.as_ref()?.conditions.iter().flatten();
        let ready =
            conditions.into_iter().find(|condition| condition.type_ == "Ready" && condition.status == "True")?;
        let took = ready.last_transition_time.as_ref()?.0.as_second() - created;
        u64::try_from(took).ok().filter(|_| took <= LONGEST_START)
    };
    let mut starts: Vec<u64> = children.pods_of(component).filter_map(start).collect();
    starts.sort_unstable();
    let start = starts.get(starts.len() / 2).map_or(USUAL_START, |seconds| Duration::from_secs((*seconds).max(1)));
    let stop = if component == Component::Processor { STOP } else { Duration::ZERO };
    RestartCost { start, stop }
}

fn partitions(
    pipeline: &Pipeline,
    stores: &Stores,
    before: BTreeMap<String, Ends>,
) -> (Vec<Partition>, BTreeMap<String, Ends>) {
    let Ok(kafka) = &stores.kafka else { return (Vec::new(), before) };
    let names = names(pipeline, kafka);
    let partition = |(topic, number): &(String, i32)| {
        let position = kafka.position(topic);
        Partition {
            lag: position.and_then(|position| lag(position, *number)),
            input: position.zip(before.get(topic)).and_then(|(now, before)| input(now, before, *number)),
        }
    };
    let partitions = names.iter().map(partition).collect();
    let mut ends = before;
    for (topic, position) in kafka.positions.iter().flatten() {
        if let Some(at) = position.at {
            ends.insert(topic.clone(), Ends { at, offsets: position.ends.clone() });
        }
    }
    // Where not all topics are known, one that is not may come back with the next answer.
    if !names.is_empty() {
        ends.retain(|topic, _| names.iter().any(|(known, _)| known == topic));
    }
    (partitions, ends)
}

/// Returns the records of a partition that are not committed. `None`: unknown.
fn lag(position: &Position, partition: i32) -> Option<u64> {
    let is_known = position.ends.contains_key(&partition);
    is_known.then(|| u64::try_from(position.behind.get(&partition).copied().unwrap_or(0)).unwrap_or(0))
}

/// Returns the records a second that were added to a partition. `None`: unknown, as after the topic was made anew.
fn input(now: &Position, before: &Ends, partition: i32) -> Option<f64> {
    let seconds = now.at?.duration_since(before.at).ok()?.as_secs_f64();
    let added = now.ends.get(&partition)? - before.offsets.get(&partition)?;
    (seconds > 0.0 && added >= 0).then(|| added as f64 / seconds)
}

/// Returns the members of the group, and what each processor has done by now. `since`: how long ago the last look was.
fn workers(
    children: &Children,
    stores: &Stores,
    before: &BTreeMap<String, Work>,
    since: Option<Duration>,
) -> (Vec<Worker>, BTreeMap<String, Work>) {
    let (mut workers, mut work) = (Vec::new(), BTreeMap::new());
    for pod in children.pods_of(Component::Processor) {
        let name = pod.name_any();
        let earlier = before.get(&name);
        match stores.processors.get(&name) {
            Some(now) => {
                if now.joined {
                    let age = Duration::from_millis(now.assigned.unwrap_or(0));
                    let busy = starting_point(earlier, now, since)
                        .map(|earlier| busy(now, &earlier, cpus(pod, Component::Processor)));
                    workers.push(Worker { age, busy });
                }
                work.insert(name, now.clone());
            }
            // One that is ready has joined, and its figures are missing. Another one has yet to start.
            None => {
                workers.extend(is_ready(pod).then(Worker::default));
                work.extend(earlier.map(|earlier| (name, earlier.clone())));
            }
        }
    }
    let group = stores.kafka.as_ref().ok().and_then(|kafka| kafka.group.as_ref());
    let leaving = children.all_pods_of(Component::Processor).count() - children.pods_of(Component::Processor).count();
    let mute = group.map_or(0, |group| group.members).saturating_sub(workers.len() + leaving);
    workers.extend(vec![Worker::default(); mute]);
    (workers, work)
}

/// Returns the requests a second that came in for all producers, what each did, and what each has done by now. The input is
/// `None` while that of one is unknown.
fn producers(
    children: &Children,
    stores: &Stores,
    before: &BTreeMap<String, Work>,
    since: Option<Duration>,
) -> (Option<f64>, Vec<Worker>, BTreeMap<String, Work>) {
    let (mut input, mut workers, mut work) = (Some(0.0), Vec::new(), BTreeMap::new());
    for pod in children.pods_of(Component::Producer) {
        let name = pod.name_any();
        let earlier = before.get(&name);
        let now = stores.producers.get(&name);
        // One that is not ready is not behind the Service.
        if is_ready(pod) {
            let share = now.and_then(|now| Some((now, starting_point(earlier, now, since)?)));
            let busy = share.as_ref().map(|(now, earlier)| pushed(now, earlier, cpus(pod, Component::Producer)));
            if now.is_some() {
                let asked = share.as_ref().map(|(now, earlier)| asked(now, earlier));
                input = input.zip(asked).map(|(all, asked)| all + asked);
            }
            let age = now.map_or(Duration::ZERO, |now| Duration::from_millis(now.uptime));
            workers.push(Worker { age, busy });
        }
        work.extend(now.or(earlier).map(|known| (name, known.clone())));
    }
    (input, workers, work)
}

/// Returns the requests a second that came to a producer. Who is refused asks again, so that refused requests count for
/// at most as many as were answered.
fn asked(now: &Work, before: &Work) -> f64 {
    let added = |now: u64, before: u64| now.saturating_sub(before) as f64;
    let (answered, refused) = (added(now.settled, before.settled), added(now.refused, before.refused));
    (answered + refused.min(answered.max(1.0))) * 1e3 / added(now.uptime, before.uptime).max(1.0)
}

/// Returns how a producer spent its time between two answers. It is as busy as its buffer is full, or its CPU used. One that
/// refuses requests can do no more, unless it is Kafka that fills its buffer.
fn pushed(now: &Work, before: &Work, cpus: Option<f64>) -> Busy {
    let found = busy(now, before, cpus);
    let is_held_up = found.waiting > HELD_UP * (found.working + found.waiting);
    match now.refused > before.refused && !is_held_up {
        true => Busy { working: 1.0, waiting: 0.0, ..found },
        false => found,
    }
}

/// Returns what a processor had done at the last look: nothing, if it has started since. `None`: unknown.
fn starting_point(before: Option<&Work>, now: &Work, since: Option<Duration>) -> Option<Work> {
    match before.filter(|before| before.uptime < now.uptime) {
        Some(before) => Some(before.clone()),
        None => (Duration::from_millis(now.uptime) <= since? + SLACK).then(Work::default),
    }
}

/// Returns how a processor spent its time between two answers, with so many CPUs at most.
///
/// A processor is as busy as its road, or as the CPU that it may have: with a limit, the kernel stops a whole process that
/// has used it up, and what the road then seems to wait for is its own turn.
fn busy(now: &Work, before: &Work, cpus: Option<f64>) -> Busy {
    let spent = |now: u64, before: u64| now.saturating_sub(before) as f64;
    let time = spent(now.uptime, before.uptime).max(1.0);
    let of_limit = |cpus: f64| Some(spent(now.cpu?, before.cpu.unwrap_or(0)) / time / cpus);
    let of_road = spent(now.working, before.working) / time;
    let working = cpus.and_then(of_limit).unwrap_or(0.0).max(of_road).min(1.0);
    Busy {
        rate: spent(now.settled, before.settled) * 1e3 / time,
        working,
        waiting: (spent(now.waiting, before.waiting) / time).min(1.0 - working),
        write: now.slowest_writes(before),
    }
}

/// Returns how many CPUs a worker's container may use. `None`: as many as there are.
fn cpus(pod: &Pod, component: Component) -> Option<f64> {
    let is_ours = |container: &&Container| container.name == component.as_str();
    let container = pod.spec.as_ref()?.containers.iter().find(is_ours)?;
    let limit = container.resources.as_ref()?.limits.as_ref()?.get("cpu")?;
    let thousandths = limit.0.parse::<Quantity>().ok()?.thousandths();
    (thousandths > 0).then(|| thousandths as f64 / 1e3)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use serde_json::json;

    use super::*;

    fn work(uptime: u64, working: u64, waiting: u64, settled: u64) -> Work {
        Work { uptime, joined: true, assigned: Some(uptime), settled, working, waiting, ..Work::default() }
    }

    #[test]
    fn time_and_records_are_those_between_two_answers() {
        let found = busy(&work(15_000, 4_000, 1_000, 9_000), &work(5_000, 2_000, 0, 4_000), None);
        assert_eq!(found, Busy { rate: 500.0, working: 0.2, waiting: 0.1, write: None });
    }

    /// The control is the same process with as much CPU as it likes.
    #[test]
    fn a_processor_that_uses_up_its_cpu_is_busy_and_waits_for_nobody() {
        let with_cpu = |uptime, cpu| Work { cpu: Some(cpu), ..work(uptime, uptime * 3 / 10, uptime * 7 / 10, uptime) };
        let (before, now) = (with_cpu(0, 0), with_cpu(10_000, 980));
        let shares = |cpus| {
            let found = busy(&now, &before, cpus);
            [found.working, found.waiting].map(|share| (share * 100.0).round())
        };
        assert_eq!(shares(Some(0.1)), [98.0, 2.0]);
        assert_eq!(shares(None), [30.0, 70.0]);
    }

    #[test]
    fn what_a_processor_did_before_it_was_looked_at_says_nothing() {
        let five = Some(Duration::from_secs(5));
        let old = work(3_600_000, 0, 0, 7);
        assert_eq!(starting_point(None, &old, five), None, "an operator that has just started");
        assert_eq!(starting_point(None, &work(4_000, 0, 0, 7), five), Some(Work::default()), "a processor that has");
        assert_eq!(starting_point(Some(&old), &work(4_000, 0, 0, 7), five), Some(Work::default()), "anew");
        let later = work(3_605_000, 0, 0, 9);
        assert_eq!(starting_point(Some(&old), &later, five), Some(old));
        assert_eq!(starting_point(None, &work(4_000, 0, 0, 7), None), None, "the first look");
    }

    #[test]
    fn input_is_unknown_for_a_partition_that_is_new_or_anew() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let before = Ends { at: at(100), offsets: [(0, 50), (1, 900)].into() };
        let now = Position { at: Some(at(105)), ends: [(0, 550), (1, 3), (2, 7)].into(), ..Position::default() };
        assert_eq!([0, 1, 2, 3].map(|partition| input(&now, &before, partition)), [Some(100.0), None, None, None]);
        assert_eq!(input(&Position { at: None, ..now }, &before, 0), None);
    }

    #[test]
    fn lag_is_known_where_the_end_is() {
        let position = Position { behind: [(1, 40)].into(), ends: [(0, 5), (1, 50)].into(), ..Position::default() };
        assert_eq!([0, 1, 2].map(|partition| lag(&position, partition)), [Some(0), Some(40), None]);
    }

    fn pod(name: &str, fields: serde_json::Value) -> Pod {
        let mut pod = json!({
            "metadata": {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {
                (crate::labels::COMPONENT_LABEL): "processor",
            }},
            "spec": {"containers": [{"name": "proxy", "resources": {"limits": {"cpu": "2"}}}, {"name": "processor"}]},
            "status": {"conditions": [
                {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:07Z"},
            ]},
        });
        for (field, value) in fields.as_object().into_iter().flatten() {
            *pod.pointer_mut(field).expect("the field is there") = value.clone();
        }
        serde_json::from_value(pod).expect("a pod")
    }

    fn children(pods: impl IntoIterator<Item = Pod>) -> Children {
        Children { pods: pods.into_iter().map(|pod| (pod.name_any(), pod)).collect(), ..Children::default() }
    }

    #[test]
    fn the_limit_is_that_of_the_processor_and_of_nothing_beside_it() {
        let cpus = |pod: Pod| cpus(&pod, Component::Processor);
        assert_eq!(cpus(pod("a", json!({}))), None);
        let limited = json!({"name": "processor", "resources": {"limits": {"cpu": "250m"}}});
        assert_eq!(cpus(pod("a", json!({"/spec/containers/1": limited}))), Some(0.25));
    }

    #[test]
    fn a_change_costs_what_pods_took_to_start() {
        let ready = |time: &str| json!({"/status/conditions/0/lastTransitionTime": time});
        let none = children([]);
        assert_eq!(cost(&none, Component::Processor), RestartCost { start: USUAL_START, stop: STOP });
        assert_eq!(cost(&none, Component::Producer), RestartCost { start: USUAL_START, stop: Duration::ZERO });
        // The last one has been unready in between.
        let three = children([
            pod("a", json!({})),
            pod("b", ready("2026-01-01T00:00:09Z")),
            pod("c", ready("2026-01-01T02:00:00Z")),
        ]);
        assert_eq!(cost(&three, Component::Processor).start, Duration::from_secs(9));
    }

    fn producer(name: &str, is_ready: bool) -> Pod {
        let ready = json!(if is_ready { "True" } else { "False" });
        let mut producer = pod(name, json!({"/status/conditions/0/status": ready}));
        producer
            .metadata
            .labels
            .get_or_insert_default()
            .insert(crate::labels::COMPONENT_LABEL.to_owned(), "producer".to_owned());
        producer
    }

    #[test]
    fn a_producer_that_refuses_is_full_unless_kafka_fills_it() {
        let pushed = |refused, waiting| {
            let now = Work { refused, ..work(10_000, 4_000, waiting, 1_000) };
            let found = pushed(&now, &Work::default(), None);
            (found.rate, found.working, found.waiting)
        };
        assert_eq!(pushed(0, 1_000), (100.0, 0.4, 0.1));
        assert_eq!(pushed(7, 1_000), (100.0, 1.0, 0.0));
        assert_eq!(pushed(7, 5_000), (100.0, 0.4, 0.5), "the control");
    }

    #[test]
    fn refused_requests_count_for_as_many_as_were_answered_at_most() {
        let asked = |settled, refused| asked(&Work { refused, ..work(10_000, 0, 0, settled) }, &Work::default());
        assert_eq!([asked(100, 0), asked(100, 50), asked(100, 5_000)], [10.0, 15.0, 20.0]);
        assert_eq!([asked(0, 5_000), asked(0, 0)], [0.1, 0.0]);
    }

    /// One that is ready and does not answer is unknown, one that is not ready is no producer yet.
    #[test]
    fn requests_are_those_of_all_producers_that_are_ready() {
        let children = children([producer("a", true), producer("b", true), producer("c", false)]);
        let looked = |answers: &[&str], earlier: &[&str]| {
            let works = |names: &[&str], uptime, settled| {
                names.iter().map(|name| ((*name).to_owned(), work(uptime, 0, 0, settled))).collect::<BTreeMap<_, _>>()
            };
            let stores = Stores { producers: works(answers, 65_000, 150), ..Stores::default() };
            let before = works(earlier, 60_000, 100);
            let (input, workers, work) = producers(&children, &stores, &before, Some(Duration::from_secs(5)));
            let known: Vec<bool> = workers.iter().map(|worker| worker.busy.is_some()).collect();
            (input, known, work.len())
        };
        assert_eq!(looked(&["a", "b", "c"], &["a", "b", "c"]), (Some(20.0), vec![true, true], 3));
        assert_eq!(looked(&["a"], &["a", "b"]), (Some(10.0), vec![true, false], 2), "'b' is mute");
        assert_eq!(looked(&["a", "b"], &["a"]), (None, vec![true, false], 2), "'b' answers for the first time");
        assert_eq!(looked(&[], &[]), (Some(0.0), vec![false, false], 0));
    }

    /// What is a member and does not answer is a processor without figures; what has yet to start is none.
    #[test]
    fn members_that_do_not_answer_are_unknown_and_not_absent() {
        let unready = json!({"/status/conditions/0/status": "False"});
        let children = children([pod("a", json!({})), pod("b", json!({})), pod("c", unready)]);
        let looked = |members: usize| {
            let group = Some(GroupFacts { stable: true, members, clients: BTreeSet::new() });
            let stores = Stores {
                kafka: Ok(KafkaFacts { group, ..KafkaFacts::default() }),
                processors: [("a".to_owned(), work(9_000, 0, 0, 0))].into(),
                ..Stores::default()
            };
            let before = [("a".to_owned(), work(4_000, 0, 0, 0))].into();
            let (workers, work) = workers(&children, &stores, &before, Some(Duration::from_secs(5)));
            assert_eq!(work["a"].uptime, 9_000);
            workers.iter().map(|worker| worker.busy.is_some()).collect::<Vec<bool>>()
        };
        assert_eq!(looked(2), [true, false], "'b' is ready and does not answer, 'c' starts");
        assert_eq!(looked(3), [true, false, false], "'c' is a member already");
    }
}
