//! One look at the load of the processors: lag and input of each partition, and what each processor did. Pure.
//!
//! In goes what Kafka and the processors say now and what they said before, out comes the history that a decision reads.
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
use millrace_scaling::{Busy, Moment, Observation, Partition, RestartCost, Worker};
use millrace_stores::kafka::{GroupClient, GroupFacts, KafkaFacts, Position};
use millrace_terms::{PipelineName, Work};

use crate::looks::{Ends, Looks, remember};
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

/// Most letters that are shown of what a client calls itself.
const LONGEST_CLIENT: usize = 100;

/// Returns the looks with another one, if the last was long enough ago. The load is looked at only where the number of
/// processors follows it.
pub fn look(pipeline: &Pipeline, children: &Children, stores: &Stores, mut before: Looks, now: DateTime<Utc>) -> Looks {
    let mut reached = std::mem::take(&mut before.reached);
    if let Some(positions) = stores.kafka.as_ref().ok().and_then(|kafka| kafka.positions.as_ref()) {
        remember(&mut reached, positions);
    }
    Looks { reached, ..load(pipeline, children, stores, before, now) }
}

fn load(pipeline: &Pipeline, children: &Children, stores: &Stores, before: Looks, now: DateTime<Utc>) -> Looks {
    if pipeline.processor.scaling.is_none() {
        return Looks::default();
    }
    let at = moment(now);
    let newest = before.history.newest().map(|newest| newest.at);
    // Where the clock was set back, nothing that is known has a time.
    let before = if newest.is_some_and(|newest| newest > at) { Looks::default() } else { before };
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

/// Returns what changing the number of processors costs, as their pods tell: the median of their starts.
pub fn cost(children: &Children) -> RestartCost {
    let start = |pod: &Pod| {
        let created = pod.metadata.creation_timestamp.as_ref()?.0.as_second();
        let conditions = pod.status.as_ref()?.conditions.iter().flatten();
        let ready =
            conditions.into_iter().find(|condition| condition.type_ == "Ready" && condition.status == "True")?;
        let took = ready.last_transition_time.as_ref()?.0.as_second() - created;
        u64::try_from(took).ok().filter(|_| took <= LONGEST_START)
    };
    let mut starts: Vec<u64> = children.pods_of(Component::Processor).filter_map(start).collect();
    starts.sort_unstable();
    let start = starts.get(starts.len() / 2).map_or(USUAL_START, |seconds| Duration::from_secs((*seconds).max(1)));
    RestartCost { start, stop: STOP }
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
                    let busy = starting_point(earlier, now, since).map(|earlier| busy(now, &earlier, cpus(pod)));
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

/// Returns how many CPUs a processor's container may use. `None`: as many as there are.
fn cpus(pod: &Pod) -> Option<f64> {
    let is_ours = |container: &&Container| container.name == Component::Processor.as_str();
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
        assert_eq!(cpus(&pod("a", json!({}))), None);
        let limited = json!({"name": "processor", "resources": {"limits": {"cpu": "250m"}}});
        assert_eq!(cpus(&pod("a", json!({"/spec/containers/1": limited}))), Some(0.25));
    }

    #[test]
    fn a_change_costs_what_pods_took_to_start() {
        let ready = |time: &str| json!({"/status/conditions/0/lastTransitionTime": time});
        let none = children([]);
        assert_eq!(cost(&none), RestartCost { start: USUAL_START, stop: STOP });
        // The last one has been unready in between.
        let three = children([
            pod("a", json!({})),
            pod("b", ready("2026-01-01T00:00:09Z")),
            pod("c", ready("2026-01-01T02:00:00Z")),
        ]);
        assert_eq!(cost(&three).start, Duration::from_secs(9));
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
