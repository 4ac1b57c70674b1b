//! Brokers that come and go: how many there shall be right now, which partitions move next, what waits and what is refused.
//! Pure (docs/decisions/0022-moving-partitions.md).
//!
//! Moves begin for two reasons only: a broker that stays has no replica at all, or one that goes still has some. From the
//! first move on the topics have a mark in Kafka, and as long as one has, the moves go on. So nothing is remembered here, and
//! what people place by hand is left alone.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Pod;
use millrace_api::names::Component;
use millrace_api::pods::{is_ready, ordinal};
use millrace_api::{Pipeline, Rejected};
use millrace_stores::kafka::{Change, KafkaFacts, LogDirs, PartitionFacts, Reassigned, TopicFacts, is_marked, stays};

use super::assignment::{Brokers, Placement, balanced, led};
use crate::intact::lists_topics;
use crate::observed::Observed;

/// Partitions that are copied at once.
const AT_ONCE: usize = 10;
/// Partitions whose preferred leader changes at once: nothing is copied, and a request has its size.
const ORDERED_AT_ONCE: usize = 500;
/// Of ten parts of what is free on a disk, how many may be filled by moves.
const FILLED: u64 = 9;

/// Where the moves stand.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reassignment {
    /// What is to be done next. `None`: nothing, or something is on its way.
    pub next: Option<Change>,
    /// Whether our own moves have begun and not ended.
    pub has_begun: bool,
    /// Whether partitions are to move, or our own moves have not ended. Not while that is refused.
    pub is_wanted: bool,
    /// How far they are. `None`: nothing moves, and nothing is to.
    pub progress: Option<Progress>,
    /// Why brokers cannot leave; they stay, and nothing moves.
    pub refused: Option<Rejected>,
}

/// How far moves are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Progress {
    /// Partitions that are being copied, by anyone's order.
    pub moving: usize,
    /// Partitions that are not where they shall be, those that are being copied included.
    pub left: usize,
    /// Bytes that are left to copy. `None`: unknown.
    pub bytes_left: Option<u64>,
}

/// Returns how many brokers there shall be right now. None is added while partitions move, but where moves wait for it; none
/// goes before no broker that goes has a replica, and then one at a time.
pub fn brokers(pipeline: &Pipeline, observed: &Observed) -> u32 {
    let (wanted, given) = (pipeline.kafka.replicas, given(pipeline, observed));
    let Ok(facts) = &observed.stores.kafka else { return wanted.max(given) };
    match wanted.cmp(&given) {
        Ordering::Equal => wanted,
        Ordering::Greater if given > 0 && adds_later(pipeline, observed, facts, given) => given,
        Ordering::Greater => wanted,
        Ordering::Less if may_go(pipeline, observed, facts, given) => given - 1,
        Ordering::Less => given,
    }
}

/// Returns whether brokers are added only when the moves have ended. Some would never end without them: those that are refused
/// for want of room, and those of a replica on a broker that the StatefulSet no longer has.
fn adds_later(pipeline: &Pipeline, observed: &Observed, facts: &KafkaFacts, given: u32) -> bool {
    is_busy(facts) && facts.hosts().all(|host| stays(host, given)) && judge(pipeline, observed).refused.is_none()
}

/// Returns whether the last broker may go.
fn may_go(pipeline: &Pipeline, observed: &Observed, facts: &KafkaFacts, given: u32) -> bool {
    let is_whole = facts.knows_reassignments && facts.under_replicated == 0 && all_answer(observed, facts);
    is_whole && has_moved_off(pipeline, facts) && !is_busy(facts) && observed.children.has_pods(Component::Kafka, given)
}

/// Returns whether every broker whose pod is ready answers. One that cannot run, such as one for which no node has room, is
/// not waited for: that is when people take it back.
fn all_answer(observed: &Observed, facts: &KafkaFacts) -> bool {
    let answers = |pod: &Pod| ordinal(pod).is_some_and(|broker| facts.brokers.contains(&broker.cast_signed()));
    observed.children.all_pods_of(Component::Kafka).all(|pod| answers(pod) || !is_ready(pod))
}

/// Returns whether brokers are about to stop, or are stopping, that have no replica: a new one must not come to them.
pub fn are_going(pipeline: &Pipeline, observed: &Observed, facts: &KafkaFacts) -> bool {
    let goes = |ordinal: u32| ordinal >= pipeline.kafka.replicas;
    has_moved_off(pipeline, facts)
        && observed.children.all_pods_of(Component::Kafka).any(|pod| ordinal(pod).is_some_and(goes))
}

/// Returns whether the topics are known, and all of their replicas are on brokers that stay. A controller that has just begun
/// lists none, and so no replica.
fn has_moved_off(pipeline: &Pipeline, facts: &KafkaFacts) -> bool {
    lists_topics(pipeline, facts) && facts.hosts().all(|host| stays(host, pipeline.kafka.replicas))
}

/// Returns whether replicas are on their way, or our moves have begun and not ended.
pub fn is_busy(facts: &KafkaFacts) -> bool {
    facts.is_moving() || facts.all_topics().any(|(_, topic)| is_marked(topic))
}

/// Returns what goes on, to end a sentence with, such as `; 4 partitions are being moved`.
pub fn in_words(facts: &KafkaFacts) -> String {
    match facts.partitions().filter(|partition| partition.is_moving()).count() {
        0 if is_busy(facts) => "; partitions are being moved".to_owned(),
        0 => String::new(),
        1 => "; 1 partition is being moved".to_owned(),
        moving => format!("; {moving} partitions are being moved"),
    }
}

/// Judges where the moves stand.
pub fn judge(pipeline: &Pipeline, observed: &Observed) -> Reassignment {
    let Ok(facts) = &observed.stores.kafka else { return Reassignment::default() };
    let wanted = pipeline.kafka.replicas;
    let marked: BTreeSet<String> = marked(facts).map(|(name, _)| name.to_owned()).collect();
    let mut judged = Reassignment { has_begun: !marked.is_empty(), ..Reassignment::default() };
    judged.refused = too_many_copies(facts, wanted, given(pipeline, observed));
    // Brokers that wait to be added, until what moves now has moved, have no part in it.
    let stay = wanted.min(given(pipeline, observed));
    let is_uneven = facts.hosts().any(|host| !stays(host, stay)) || is_empty(facts, stay);
    judged.is_wanted = (is_uneven || judged.has_begun) && judged.refused.is_none();
    if !judged.is_wanted || !facts.knows_reassignments {
        return judged;
    }
    let back = to_take_back(facts, stay);
    let placements = placements(facts, &back);
    if !back.is_empty() {
        judged.next = Some(Change::CancelMoves { partitions: back.into_iter().collect() });
    }
    let stay = (0..stay.cast_signed()).map(|broker| (broker, facts.racks.get(&broker).cloned()));
    let stay: Brokers = stay.collect();
    let Some(targets) = balanced(&placements, &stay) else { return judged };
    let moves = differing(&placements, targets);
    let sizes = placements.iter().map(|placement| ((placement.topic.as_str(), placement.index), placement.bytes));
    let sizes: Sizes<'_> = sizes.collect();
    judged.refused = too_full(facts, &sizes, &moves);
    judged.is_wanted = judged.refused.is_none();
    judged.progress = progress(facts, &sizes, &moves);
    if judged.next.is_some() {
        // What moves are left is seen once these are taken back.
        return judged;
    }
    let rate = pipeline.kafka.bytes_per_second.0;
    if judged.has_begun && facts.is_moving() && runs_at_another(facts, rate) {
        // Copies at a pace below that of new records would never end, and so never come to the next batch.
        judged.next = Some(Change::Throttle { rate });
        return judged;
    }
    let is_settled = facts.under_replicated == 0 && stay.keys().all(|broker| facts.brokers.contains(broker));
    if judged.refused.is_some() || facts.is_moving() || !is_settled || facts.log_dirs.is_none() {
        return judged;
    }
    judged.next = match moves.is_empty() {
        false => Some(Change::Reassign { moves: moves.into_iter().take(AT_ONCE).collect(), rate }),
        true if judged.has_begun => Some(last_steps(facts, &placements, marked, rate)),
        true => None,
    };
    judged
}

/// Returns the topics with the mark of our moves.
fn marked(facts: &KafkaFacts) -> impl Iterator<Item = (&str, &TopicFacts)> {
    facts.all_topics().filter(|(_, topic)| is_marked(topic))
}

/// Returns the partitions that we move onto a broker that does not stay. If it is away, their moves would never end.
fn to_take_back(facts: &KafkaFacts, stay: u32) -> BTreeSet<(String, i32)> {
    let leaves = |found: &&PartitionFacts| found.adding.iter().any(|broker| !stays(*broker, stay));
    let of_topic = |(name, topic): (&str, &TopicFacts)| {
        let found = topic.partitions.iter().filter(leaves);
        found.map(|found| (name.to_owned(), found.index)).collect::<Vec<(String, i32)>>()
    };
    marked(facts).flat_map(of_topic).collect()
}

fn runs_at_another(facts: &KafkaFacts, rate: u64) -> bool {
    facts.log_dirs.iter().flat_map(|dirs| dirs.values()).any(|dirs| dirs.rate.is_some_and(|found| found != rate))
}

/// Returns what is left to do once every replica is where it shall be.
fn last_steps(facts: &KafkaFacts, placements: &[Placement], marked: BTreeSet<String>, rate: u64) -> Change {
    let mut moves = differing(placements, led(placements));
    if !moves.is_empty() {
        moves.truncate(ORDERED_AT_ONCE);
        return Change::Reassign { moves, rate };
    }
    let of_topic = facts.all_topics().flat_map(|(name, topic)| topic.partitions.iter().map(move |found| (name, found)));
    let led_by_another = of_topic.filter(|(_, found)| found.leader != found.replicas.first().copied());
    let partitions: Vec<(String, i32)> = led_by_another.map(|(name, found)| (name.to_owned(), found.index)).collect();
    match partitions.is_empty() {
        false => Change::ElectLeaders { partitions },
        true => Change::EndReassignment { topics: marked },
    }
}

/// Returns how many brokers the StatefulSet is told to have. 0: there is none.
fn given(pipeline: &Pipeline, observed: &Observed) -> u32 {
    observed.children.given(&pipeline.names.component(Component::Kafka))
}

/// Returns whether a broker that stays has no replica, although there is one for each.
fn is_empty(facts: &KafkaFacts, stay: u32) -> bool {
    let used: BTreeSet<i32> = facts.hosts().collect();
    let mut brokers = facts.brokers.iter().filter(|broker| stays(**broker, stay));
    facts.hosts().count() >= stay as usize && brokers.any(|broker| !used.contains(broker))
}

/// Returns each partition as it is once nothing moves, and the moves of some are taken back.
fn placements(facts: &KafkaFacts, back: &BTreeSet<(String, i32)>) -> Vec<Placement> {
    let of_topic = facts.all_topics().flat_map(|(name, topic)| topic.partitions.iter().map(move |found| (name, found)));
    let placement = |(name, found): (&str, &PartitionFacts)| {
        let key = (name.to_owned(), found.index);
        let sizes = facts.log_dirs.iter().flat_map(|dirs| dirs.values()).filter_map(|dirs| dirs.sizes.get(&key));
        let bytes = sizes.max().copied().unwrap_or(0);
        let replicas = if back.contains(&key) { found.origin() } else { found.target() };
        Placement { topic: key.0, index: found.index, replicas, bytes }
    };
    of_topic.map(placement).collect()
}

fn differing(placements: &[Placement], targets: Vec<Vec<i32>>) -> Vec<Reassigned> {
    let moved = placements.iter().zip(targets).filter(|(placement, to)| placement.replicas != *to);
    let moved = moved.map(|(placement, to)| Reassigned {
        topic: placement.topic.clone(),
        partition: placement.index,
        from: placement.replicas.clone(),
        to,
    });
    moved.collect()
}

/// Bytes of a replica, by topic and partition.
type Sizes<'a> = BTreeMap<(&'a str, i32), u64>;

/// Returns how far the moves are. `None`: nothing is left to copy.
fn progress(facts: &KafkaFacts, sizes: &Sizes<'_>, moves: &[Reassigned]) -> Option<Progress> {
    let moving = facts.partitions().filter(|partition| partition.is_moving()).count();
    let copied: Vec<&Reassigned> = moves.iter().filter(|moved| !moved.added().is_empty()).collect();
    let left = copied.len() + moving;
    let size = |moved: &Reassigned| sizes.get(&(moved.topic.as_str(), moved.partition)).copied().unwrap_or(0);
    let to_come: u64 = copied.iter().map(|moved| moved.added().len() as u64 * size(moved)).sum();
    let bytes_left = facts.log_dirs.as_ref().map(|dirs| to_come + on_their_way(facts, sizes, dirs));
    (left > 0).then_some(Progress { moving, left, bytes_left })
}

/// Returns the bytes that replicas lack which are being copied.
fn on_their_way(facts: &KafkaFacts, sizes: &Sizes<'_>, dirs: &BTreeMap<i32, LogDirs>) -> u64 {
    let mut missing = 0;
    for (name, topic) in facts.all_topics() {
        for found in &topic.partitions {
            let whole = sizes.get(&(name, found.index)).copied().unwrap_or(0);
            let key = (name.to_owned(), found.index);
            for broker in &found.adding {
                let there = dirs.get(broker).and_then(|dirs| dirs.sizes.get(&key)).copied().unwrap_or(0);
                missing += whole.saturating_sub(there);
            }
        }
    }
    missing
}

/// Refuses fewer brokers than a topic has copies.
fn too_many_copies(facts: &KafkaFacts, wanted: u32, given: u32) -> Option<Rejected> {
    if given <= wanted {
        return None;
    }
    let copies = |(name, topic): (&str, &TopicFacts)| {
        Some((topic.partitions.iter().map(PartitionFacts::copies).max()?, name.to_owned()))
    };
    let (copies, topic) = facts.all_topics().filter_map(copies).max()?;
    // Nobody deletes a topic of Kafka's own.
    let or_delete = if topic.starts_with("__") { "" } else { ", or delete the topic" };
    (copies > wanted as usize).then(|| {
        refused(format!(
            "{wanted} brokers cannot hold the {copies} copies that topic '{topic}' has of each partition, and this \
             version cannot change that; use {copies} brokers or more{or_delete}"
        ))
    })
}

/// Refuses moves that would fill a disk.
fn too_full(facts: &KafkaFacts, sizes: &Sizes<'_>, moves: &[Reassigned]) -> Option<Rejected> {
    let dirs = facts.log_dirs.as_ref()?;
    let brokers: BTreeSet<i32> = moves.iter().flat_map(Reassigned::added).collect();
    brokers.into_iter().find_map(|broker| {
        let usable = dirs.get(&broker)?.usable?;
        let arriving = moves.iter().filter(|moved| moved.added().contains(&broker));
        let size = |moved: &Reassigned| sizes.get(&(moved.topic.as_str(), moved.partition)).copied();
        let needed: u64 = arriving.filter_map(size).sum();
        (needed > usable / 10 * FILLED).then(|| {
            refused(format!(
                "broker {broker} would receive {} MiB of partitions, and has {} MiB free, of which {FILLED}0 % may be \
                 used; restore the previous number of brokers, or shorten the retention of topics and wait",
                needed >> 20,
                usable >> 20
            ))
        })
    })
}

fn refused(message: String) -> Rejected {
    Rejected { path: "spec.kafka.replicas".to_owned(), message, excerpt: None }
}
