//! Where partitions shall be: on the brokers that stay, as many replicas on each as on any other within one, with as few
//! copied as that takes. Pure and deterministic; of its own result it moves nothing.
//!
//! What counts, in this order: no replica stays on a broker that leaves; the replicas of a partition are in as many racks
//! as can be; brokers have as many replicas as each other within one; few replicas are copied; few bytes are copied. Among
//! equals, the replicas of each topic spread.
//!
//! It is a flow of least cost: while a circle of moves makes the whole cheaper, it is made (Klein's algorithm). An edge
//! between two brokers is the cheapest replica that can go from one to the other. A circle that begins at one broker and ends at
//! another is closed by the hub, whose edges cost what the number of replicas on a broker costs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A partition, and where it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Placement {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub index: i32,
    /// Brokers in order: the first is the preferred leader.
    pub replicas: Vec<i32>,
    /// Bytes of a replica.
    pub bytes: u64,
}

/// The brokers that stay, each with its rack. `None`: it has none, and counts as one of its own.
pub type Brokers = BTreeMap<i32, Option<String>>;

/// Cost of a replica on a broker that leaves.
const LEAVING: i128 = 1 << 90;
/// Cost of a partition's replicas being in one rack fewer.
const RACK: i128 = 1 << 80;
/// Cost of a replica too many or too few on a broker.
const UNEVEN: i128 = 1 << 70;
/// Cost of a copied replica, to which its mebibytes are added.
const COPY: i128 = 1 << 50;

/// Returns where each partition's replicas shall be, in the order of the partitions. A replica that is copied takes the place
/// of the one that it replaces. `None`: a partition has more replicas than brokers stay.
pub fn balanced(partitions: &[Placement], brokers: &Brokers) -> Option<Vec<Vec<i32>>> {
    if partitions.iter().any(|partition| partition.replicas.len() > brokers.len()) {
        return None;
    }
    let mut flow = Flow::new(partitions, brokers);
    // Racks make the costs of two moves of one partition depend on each other, so that the end is not certain.
    let most = 100 + 4 * partitions.iter().map(|partition| partition.replicas.len()).sum::<usize>();
    for _ in 0..most {
        let Some(circle) = flow.cheaper() else { break };
        flow.turn(&circle);
    }
    let is_drained = flow.on[flow.stay..].iter().all(BTreeSet::is_empty);
    is_drained.then(|| (0..partitions.len()).map(|partition| flow.replicas(partition)).collect())
}

/// Returns the same replicas in an order by which each broker is the preferred leader of as many partitions as any other, as
/// far as replicas allow. Nothing is copied by it.
pub fn led(partitions: &[Placement]) -> Vec<Vec<i32>> {
    let mut leaders: Vec<i32> =
        partitions.iter().map(|partition| partition.replicas.first().copied().unwrap_or(-1)).collect();
    while let Some(changes) = better_led(partitions, &leaders) {
        for (partition, leader) in changes {
            leaders[partition] = leader;
        }
    }
    let in_order = |(partition, leader): (&Placement, i32)| {
        let others = partition.replicas.iter().copied().filter(|broker| *broker != leader);
        partition.replicas.iter().copied().filter(|broker| *broker == leader).chain(others).collect()
    };
    partitions.iter().zip(leaders).map(in_order).collect()
}

/// Returns changes of leaders, as partitions with their new ones, by which a broker leads one fewer and another, that leads at
/// least two fewer, one more. `None`: there are none.
fn better_led(partitions: &[Placement], leaders: &[i32]) -> Option<Vec<(usize, i32)>> {
    let hosts: BTreeSet<i32> = partitions.iter().flat_map(|partition| partition.replicas.iter().copied()).collect();
    let led = |broker: i32| leaders.iter().filter(|leader| **leader == broker).count();
    let loads: BTreeMap<i32, usize> = hosts.into_iter().map(|broker| (broker, led(broker))).collect();
    let mut busiest: Vec<i32> = loads.keys().copied().collect();
    busiest.sort_by_key(|broker| (std::cmp::Reverse(loads[broker]), *broker));
    busiest.into_iter().find_map(|begin| {
        // How each broker is reached: from which, by giving up which partition.
        let mut reached: BTreeMap<i32, Option<(i32, usize)>> = BTreeMap::from([(begin, None)]);
        let mut next = VecDeque::from([begin]);
        while let Some(broker) = next.pop_front() {
            if loads[&broker] + 2 <= loads[&begin] {
                return Some(way_to(broker, &reached));
            }
            for (index, partition) in partitions.iter().enumerate().filter(|(index, _)| leaders[*index] == broker) {
                for other in &partition.replicas {
                    if !reached.contains_key(other) {
                        reached.insert(*other, Some((broker, index)));
                        next.push_back(*other);
                    }
                }
            }
        }
        None
    })
}

fn way_to(end: i32, reached: &BTreeMap<i32, Option<(i32, usize)>>) -> Vec<(usize, i32)> {
    let (mut broker, mut changes) = (end, Vec::new());
    while let Some((from, partition)) = reached[&broker] {
        changes.push((partition, broker));
        broker = from;
    }
    changes
}

/// A replica that goes from one broker to another; partition and brokers by their place.
#[derive(Clone, Copy, Debug)]
struct Step {
    partition: usize,
    from: usize,
    to: usize,
}

/// Steps of one topic from one broker to another, as their costs and partitions: the cheapest comes first.
type Steps = BTreeSet<(i128, usize)>;

/// The assignment while it is being improved.
struct Flow<'a> {
    partitions: &'a [Placement],
    /// All brokers, those that stay first.
    brokers: Vec<i32>,
    /// How many stay.
    stay: usize,
    /// The rack of each broker.
    racks: Vec<usize>,
    /// Replicas that each broker shall have at least, and at most.
    share: (usize, usize),
    /// The topic of each partition.
    topics: Vec<usize>,
    /// Brokers of each partition as they were, and as they are now.
    before: Vec<BTreeSet<usize>>,
    now: Vec<BTreeSet<usize>>,
    /// Partitions on each broker.
    on: Vec<BTreeSet<usize>>,
    /// Replicas of each topic on each broker.
    spread: Vec<Vec<i32>>,
    /// Every step that can be made, from each broker to each that stays, by topic. A step that is made changes those of its own
    /// partition and no other, since what a step costs depends on where the partition's replicas are.
    steps: Vec<Vec<BTreeMap<usize, Steps>>>,
}

impl<'a> Flow<'a> {
    fn new(partitions: &'a [Placement], stay: &Brokers) -> Self {
        let hosts: BTreeSet<i32> = partitions.iter().flat_map(|partition| partition.replicas.iter().copied()).collect();
        let leaving = hosts.into_iter().filter(|broker| !stay.contains_key(broker));
        let brokers: Vec<i32> = stay.keys().copied().chain(leaving).collect();
        let places: BTreeMap<i32, usize> = brokers.iter().copied().zip(0..).collect();
        let rack = |broker: &i32| match stay.get(broker) {
            Some(Some(rack)) => format!("rack {rack}"),
            Some(None) | None => format!("broker {broker}"),
        };
        let racks: BTreeSet<String> = brokers.iter().map(rack).collect();
        let racks: BTreeMap<String, usize> = racks.into_iter().zip(0..).collect();
        let total: usize = partitions.iter().map(|partition| partition.replicas.len()).sum();
        let share = (total / stay.len().max(1), total.div_ceil(stay.len().max(1)));
        let names: BTreeSet<&str> = partitions.iter().map(|partition| partition.topic.as_str()).collect();
        let names: BTreeMap<&str, usize> = names.into_iter().zip(0..).collect();
        let topics: Vec<usize> = partitions.iter().map(|partition| names[partition.topic.as_str()]).collect();
        let places_of =
            |partition: &Placement| partition.replicas.iter().map(|broker| places[broker]).collect::<BTreeSet<usize>>();
        let before: Vec<BTreeSet<usize>> = partitions.iter().map(places_of).collect();
        let mut on = vec![BTreeSet::new(); brokers.len()];
        let mut spread = vec![vec![0; brokers.len()]; names.len()];
        for (partition, places) in before.iter().enumerate() {
            for place in places {
                on[*place].insert(partition);
                spread[topics[partition]][*place] += 1;
            }
        }
        let mut flow = Self {
            partitions,
            stay: stay.len(),
            racks: brokers.iter().map(|broker| racks[&rack(broker)]).collect(),
            share,
            steps: vec![vec![BTreeMap::new(); stay.len()]; brokers.len()],
            brokers,
            topics,
            now: before.clone(),
            before,
            on,
            spread,
        };
        (0..partitions.len()).for_each(|partition| flow.note(partition));
        flow
    }

    /// Returns what so many replicas on a broker cost.
    fn load(&self, broker: usize, replicas: usize) -> i128 {
        if broker >= self.stay {
            return LEAVING * replicas as i128;
        }
        let (least, most) = self.share;
        UNEVEN * (least.saturating_sub(replicas) + replicas.saturating_sub(most)) as i128
    }

    fn cost(&self, step: Step) -> i128 {
        let Step { partition, from, to } = step;
        let (before, now) = (&self.before[partition], &self.now[partition]);
        let is_alone_in = |rack: usize| now.iter().all(|other| *other == from || self.racks[*other] != rack);
        let (here, there) = (self.racks[from], self.racks[to]);
        let racks = match here == there {
            true => 0,
            false => i128::from(is_alone_in(here)) - i128::from(is_alone_in(there)),
        };
        let copies = i128::from(!before.contains(&to)) - i128::from(!before.contains(&from));
        RACK * racks + copies * (COPY + i128::from(self.partitions[partition].bytes >> 20))
    }

    /// Returns the steps that a partition's replicas can make, each with its cost.
    fn steps_of(&self, partition: usize) -> Vec<(i128, Step)> {
        let now = &self.now[partition];
        let steps = now.iter().flat_map(|from| (0..self.stay).map(move |to| Step { partition, from: *from, to }));
        steps.filter(|step| !now.contains(&step.to)).map(|step| (self.cost(step), step)).collect()
    }

    /// Takes up a partition's steps.
    fn note(&mut self, partition: usize) {
        let topic = self.topics[partition];
        for (cost, Step { from, to, .. }) in self.steps_of(partition) {
            self.steps[from][to].entry(topic).or_default().insert((cost, partition));
        }
    }

    /// Takes out a partition's steps, before its replicas are elsewhere.
    fn forget(&mut self, partition: usize) {
        let topic = self.topics[partition];
        for (cost, Step { from, to, .. }) in self.steps_of(partition) {
            self.steps[from][to].entry(topic).or_default().remove(&(cost, partition));
        }
    }

    /// Returns the cheapest step from one broker to another with its cost, among equals one by which its topic spreads.
    fn cheapest(&self, from: usize, to: usize) -> Option<(i128, Step)> {
        let of_topic = |(topic, steps): (&usize, &Steps)| {
            let (cost, partition) = steps.first().copied()?;
            let spread = &self.spread[*topic];
            Some((cost, spread[to] - spread[from], partition))
        };
        let (cost, _, partition) = self.steps[from][to].iter().filter_map(of_topic).min()?;
        Some((cost, Step { partition, from, to }))
    }

    /// Returns a circle of steps that makes the whole cheaper. `None`: there is none, and so nothing is better.
    fn cheaper(&self) -> Option<Vec<Step>> {
        let hub = self.brokers.len();
        // From, to, cost and step; those at the hub move nothing.
        let mut edges: Vec<(usize, usize, i128, Option<Step>)> = Vec::new();
        for broker in 0..hub {
            let steps = (0..self.stay).filter_map(|to| self.cheapest(broker, to));
            edges.extend(steps.map(|(cost, step)| (step.from, step.to, cost, Some(step))));
            let replicas = self.on[broker].len();
            let load = self.load(broker, replicas);
            if broker < self.stay {
                edges.push((broker, hub, self.load(broker, replicas + 1) - load, None));
            }
            if replicas > 0 {
                edges.push((hub, broker, self.load(broker, replicas - 1) - load, None));
            }
        }
        negative_circle(hub + 1, &edges)
            .map(|circle| circle.into_iter().filter_map(|edge| edges[edge].3).collect::<Vec<Step>>())
    }

    fn turn(&mut self, circle: &[Step]) {
        for Step { partition, from, to } in circle.iter().copied() {
            self.forget(partition);
            self.now[partition].remove(&from);
            self.now[partition].insert(to);
            self.on[from].remove(&partition);
            self.on[to].insert(partition);
            let spread = &mut self.spread[self.topics[partition]];
            spread[from] -= 1;
            spread[to] += 1;
            self.note(partition);
        }
    }

    /// Returns a partition's brokers: those that it had where they were, the new ones in the places that are free.
    fn replicas(&self, partition: usize) -> Vec<i32> {
        let now: BTreeSet<i32> = self.now[partition].iter().map(|place| self.brokers[*place]).collect();
        let before = &self.partitions[partition].replicas;
        let mut new = now.iter().copied().filter(|broker| !before.contains(broker));
        let kept = |broker: &i32| if now.contains(broker) { Some(*broker) } else { new.next() };
        before.iter().filter_map(kept).collect()
    }
}

/// Returns the edges of a circle whose costs sum up to less than nothing, by Bellman and Ford. `None`: there is none.
fn negative_circle(nodes: usize, edges: &[(usize, usize, i128, Option<Step>)]) -> Option<Vec<usize>> {
    let mut distances = vec![0i128; nodes];
    let mut by: Vec<Option<usize>> = vec![None; nodes];
    let mut changed = None;
    for _ in 0..nodes {
        changed = None;
        for (index, (from, to, cost, _)) in edges.iter().enumerate() {
            if distances[*from] + cost < distances[*to] {
                distances[*to] = distances[*from] + cost;
                by[*to] = Some(index);
                changed = Some(*to);
            }
        }
        changed?;
    }
    // Back so many times leads into the circle, from wherever it was left.
    let back = |node: usize| by[node].map(|edge| edges[edge].0);
    let mut begin = changed?;
    for _ in 0..nodes {
        begin = back(begin)?;
    }
    let (mut node, mut circle) = (begin, Vec::new());
    loop {
        let edge = by[node]?;
        circle.push(edge);
        node = edges[edge].0;
        if node == begin {
            return Some(circle);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that look random and are the same in every run (Knuth's MMIX).
    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % bound
        }

        /// Returns so many different ones of the numbers from 0 on.
        fn some(&mut self, count: u64, bound: u64) -> Vec<i32> {
            let mut all: Vec<i32> = (0..bound as i32).collect();
            (0..count).map(|_| all.remove(self.below(all.len() as u64) as usize)).collect()
        }
    }

    /// Returns partitions on some brokers, and the brokers that stay: some leave, some are new.
    fn cluster(seed: u64, most_brokers: u64, most_partitions: u64) -> (Vec<Placement>, Brokers) {
        let mut random = Random(seed);
        let brokers = 1 + random.below(most_brokers);
        let stay = 1 + random.below(most_brokers + 2);
        let copies = 1 + random.below(brokers.min(stay).min(4));
        let mut partitions = Vec::new();
        for topic in 0..1 + random.below(4) {
            // A topic has at most as many copies as fit on the brokers that stay.
            let copies = 1 + random.below(copies);
            for index in 0..1 + random.below(most_partitions) {
                let replicas = random.some(copies, brokers);
                let bytes = random.below(64) << 24;
                partitions.push(Placement { topic: format!("topic-{topic}"), index: index as i32, replicas, bytes });
            }
        }
        (partitions, (0..stay as i32).map(|broker| (broker, None)).collect())
    }

    fn counts(replicas: &[Vec<i32>], brokers: &Brokers) -> Vec<usize> {
        brokers.keys().map(|broker| replicas.iter().flatten().filter(|found| *found == broker).count()).collect()
    }

    fn copied(partitions: &[Placement], replicas: &[Vec<i32>]) -> usize {
        let new = |(before, now): (&Placement, &Vec<i32>)| {
            now.iter().filter(|broker| !before.replicas.contains(broker)).count()
        };
        partitions.iter().zip(replicas).map(new).sum()
    }

    fn moved_to(partitions: &[Placement], replicas: &[Vec<i32>]) -> Vec<Placement> {
        let moved = |(before, now): (&Placement, &Vec<i32>)| Placement { replicas: now.clone(), ..before.clone() };
        partitions.iter().zip(replicas).map(moved).collect()
    }

    /// No assignment copies fewer: what is above the ceiling or leaves must go, what is below the floor must come.
    fn least(partitions: &[Placement], brokers: &Brokers) -> usize {
        let replicas: Vec<Vec<i32>> = partitions.iter().map(|partition| partition.replicas.clone()).collect();
        let total: usize = replicas.iter().map(Vec::len).sum();
        let counts = counts(&replicas, brokers);
        let leaving = total - counts.iter().sum::<usize>();
        let above: usize = counts.iter().map(|count| count.saturating_sub(total.div_ceil(brokers.len()))).sum();
        let below: usize = counts.iter().map(|count| (total / brokers.len()).saturating_sub(*count)).sum();
        (leaving + above).max(below)
    }

    fn check(partitions: &[Placement], brokers: &Brokers, replicas: &[Vec<i32>]) {
        for (before, now) in partitions.iter().zip(replicas) {
            let different: BTreeSet<&i32> = now.iter().collect();
            assert_eq!((now.len(), different.len()), (before.replicas.len(), now.len()), "{before:?} {now:?}");
            assert!(now.iter().all(|broker| brokers.contains_key(broker)), "{before:?} {now:?}");
        }
    }

    #[test]
    fn loses_no_replica_and_balances_within_one_with_few_copies() {
        let mut exact = 0;
        for seed in 0..400 {
            let (partitions, brokers) = cluster(seed, 7, 24);
            let replicas = balanced(&partitions, &brokers).expect("every partition fits");
            check(&partitions, &brokers, &replicas);
            let counts = counts(&replicas, &brokers);
            let (least_held, most_held) = (counts.iter().min(), counts.iter().max());
            assert!(most_held.zip(least_held).is_some_and(|(most, least)| most - least <= 1), "{seed}: {counts:?}");
            let (copied, least) = (copied(&partitions, &replicas), least(&partitions, &brokers));
            let nobody_leaves =
                partitions.iter().all(|found| found.replicas.iter().all(|broker| brokers.contains_key(broker)));
            // What leaves can have nowhere to go but where there is enough already; then another has to make room.
            assert!(copied >= least && (copied == least || !nobody_leaves), "{seed}: {copied} for {least}");
            exact += usize::from(copied == least);
        }
        assert!(exact > 390, "only {exact} of 400 copied no more than they must");
    }

    /// What is kept of the steps is what there is to find, after any of them.
    #[test]
    fn knows_every_step_after_each_that_it_makes() {
        for seed in 1_400..1_440 {
            let (partitions, mut brokers) = cluster(seed, 6, 12);
            for (broker, rack) in &mut brokers {
                *rack = (broker % 2 == 0).then(|| "a".to_owned());
            }
            let mut flow = Flow::new(&partitions, &brokers);
            for _ in 0..20 {
                let Some(circle) = flow.cheaper() else { break };
                flow.turn(&circle);
                let kept = flow.steps.iter().flatten().flat_map(BTreeMap::values).map(BTreeSet::len).sum::<usize>();
                let found: Vec<(i128, Step)> =
                    (0..partitions.len()).flat_map(|partition| flow.steps_of(partition)).collect();
                assert_eq!(kept, found.len(), "{seed}");
                for (cost, Step { partition, from, to }) in found {
                    let steps = &flow.steps[from][to][&flow.topics[partition]];
                    assert!(steps.contains(&(cost, partition)), "{seed}: {partition} from {from} to {to}");
                }
            }
        }
    }

    #[test]
    fn moves_nothing_of_its_own_result_and_says_the_same_twice() {
        for seed in 400..600 {
            let (partitions, brokers) = cluster(seed, 7, 24);
            let replicas = balanced(&partitions, &brokers).expect("every partition fits");
            assert_eq!(balanced(&partitions, &brokers), Some(replicas.clone()), "{seed}");
            let moved = moved_to(&partitions, &replicas);
            assert_eq!(balanced(&moved, &brokers), Some(replicas), "{seed}");
            let leading = led(&moved);
            assert_eq!(led(&moved_to(&moved, &leading)), leading, "{seed}");
        }
    }

    /// A part of the moves leaves as much to copy as is left, whichever part it is.
    #[test]
    fn goes_on_where_it_was_left() {
        for seed in 600..700 {
            let (partitions, brokers) = cluster(seed, 6, 16);
            let replicas = balanced(&partitions, &brokers).expect("every partition fits");
            let whole = copied(&partitions, &replicas);
            let half = replicas.iter().zip(&partitions).enumerate().map(|(index, (now, before))| Placement {
                replicas: if index % 2 == 0 { now.clone() } else { before.replicas.clone() },
                ..before.clone()
            });
            let half: Vec<Placement> = half.collect();
            let done: Vec<Vec<i32>> = half.iter().map(|partition| partition.replicas.clone()).collect();
            let rest = balanced(&half, &brokers).expect("every partition fits");
            assert!(copied(&partitions, &done) + copied(&half, &rest) <= whole, "{seed}");
        }
    }

    /// Every assignment of small clusters is tried.
    #[test]
    fn copies_as_little_as_the_best_of_all_assignments() {
        for seed in 700..780 {
            let (mut partitions, brokers) = cluster(seed, 3, 2);
            partitions.truncate(4);
            let replicas = balanced(&partitions, &brokers).expect("every partition fits");
            let found = copied(&partitions, &replicas);
            let best = best_of_all(&partitions, &brokers, &mut Vec::new());
            assert_eq!(Some(found), best, "{seed}: {partitions:?} on {brokers:?} becomes {replicas:?}");
        }
    }

    fn best_of_all(partitions: &[Placement], brokers: &Brokers, so_far: &mut Vec<Vec<i32>>) -> Option<usize> {
        let Some(next) = partitions.get(so_far.len()) else {
            let counts = counts(so_far, brokers);
            let is_even = counts.iter().max()? - counts.iter().min()? <= 1;
            return is_even.then(|| copied(partitions, so_far));
        };
        let ids: Vec<i32> = brokers.keys().copied().collect();
        let sets = (0u32..1 << ids.len()).filter(|set| set.count_ones() as usize == next.replicas.len());
        let mut best = None;
        for set in sets {
            so_far.push((0..ids.len()).filter(|place| (set >> place) & 1 == 1).map(|place| ids[place]).collect());
            let found = best_of_all(partitions, brokers, so_far);
            best = best.into_iter().chain(found).min();
            so_far.pop();
        }
        best
    }

    /// Negative control: dealing the replicas out anew balances as well, and copies more.
    #[test]
    fn round_robin_copies_more() {
        let (mut ours, mut theirs) = (0, 0);
        for seed in 900..1_000 {
            let (partitions, brokers) = cluster(seed, 7, 24);
            let replicas = balanced(&partitions, &brokers).expect("every partition fits");
            let ids: Vec<i32> = brokers.keys().copied().collect();
            let mut next = 0;
            let dealt = partitions.iter().map(|partition| {
                let dealt = (next..next + partition.replicas.len()).map(|place| ids[place % ids.len()]).collect();
                next += partition.replicas.len();
                dealt
            });
            let dealt: Vec<Vec<i32>> = dealt.collect();
            check(&partitions, &brokers, &dealt);
            assert!(copied(&partitions, &replicas) <= copied(&partitions, &dealt), "{seed}");
            ours += copied(&partitions, &replicas);
            theirs += copied(&partitions, &dealt);
        }
        assert!(ours * 3 < theirs * 2, "{ours} copies, and {theirs} by round robin");
    }

    /// What `kafka-reassign-partitions.sh --generate` proposes: it deals each topic out anew from a random broker on, the second
    /// replicas shifted by one more with each turn over all brokers. It does not look at where replicas are.
    fn official(partitions: &[Placement], brokers: &Brokers, random: &mut Random) -> Vec<Vec<i32>> {
        let ids: Vec<i32> = brokers.keys().copied().collect();
        let count = ids.len();
        let (mut topic, mut begin, mut shift) = ("", 0, 0);
        let mut proposed = Vec::new();
        for partition in partitions {
            if partition.topic != topic {
                topic = &partition.topic;
                (begin, shift) = (random.below(count as u64) as usize, random.below(count as u64) as usize);
            }
            let index = partition.index as usize;
            shift += usize::from(index > 0 && index.is_multiple_of(count));
            let first = (index + begin) % count;
            let others = (1..partition.replicas.len()).map(|other| first + 1 + (shift + other - 1) % (count - 1));
            proposed.push([first].into_iter().chain(others).map(|place| ids[place % count]).collect());
        }
        proposed
    }

    fn bytes(partitions: &[Placement], replicas: &[Vec<i32>]) -> u64 {
        let new = |(before, now): (&Placement, &Vec<i32>)| {
            before.bytes * now.iter().filter(|broker| !before.replicas.contains(broker)).count() as u64
        };
        partitions.iter().zip(replicas).map(new).sum()
    }

    #[test]
    fn copies_no_more_than_the_official_proposal_for_equal_balance() {
        let (mut compared, mut ours, mut theirs) = (0, 0, 0);
        for seed in 1_200..1_400 {
            let (partitions, brokers) = cluster(seed, 7, 24);
            let proposed = official(&partitions, &brokers, &mut Random(seed));
            check(&partitions, &brokers, &proposed);
            let replicas = balanced(&partitions, &brokers).expect("every partition fits");
            let held = counts(&proposed, &brokers);
            if held.iter().max().zip(held.iter().min()).is_some_and(|(most, least)| most - least <= 1) {
                assert!(copied(&partitions, &replicas) <= copied(&partitions, &proposed), "{seed}");
                assert!(bytes(&partitions, &replicas) <= bytes(&partitions, &proposed), "{seed}");
                compared += 1;
            }
            ours += bytes(&partitions, &replicas);
            theirs += bytes(&partitions, &proposed);
        }
        assert!(compared > 100, "only {compared} of 200 proposals are as even");
        assert!(ours * 3 < theirs * 2, "{ours} bytes, and {theirs} by the official tool");
    }

    #[test]
    fn copies_the_smallest_where_any_would_do() {
        let partition = |index: i32, bytes: u64| Placement {
            topic: "users".to_owned(),
            index,
            replicas: vec![0],
            bytes: bytes << 30,
        };
        let partitions = [partition(0, 9), partition(1, 1), partition(2, 5), partition(3, 7)];
        let brokers: Brokers = [(0, None), (1, None)].into();
        let replicas = balanced(&partitions, &brokers).expect("every partition fits");
        assert_eq!(replicas, [[0], [1], [1], [0]]);
    }

    #[test]
    fn spreads_over_racks_before_anything_else() {
        let rack = |name: &str| Some(name.to_owned());
        let brokers: Brokers = [(0, rack("a")), (1, rack("a")), (2, rack("b")), (3, rack("b"))].into();
        let mut random = Random(7);
        let partitions = (0..40).map(|index| Placement {
            topic: "users".to_owned(),
            index,
            replicas: random.some(2, 6),
            bytes: random.below(1 << 30),
        });
        let partitions: Vec<Placement> = partitions.collect();
        let replicas = balanced(&partitions, &brokers).expect("every partition fits");
        check(&partitions, &brokers, &replicas);
        assert!(replicas.iter().all(|replicas| (replicas[0] < 2) != (replicas[1] < 2)), "{replicas:?}");
        assert_eq!(counts(&replicas, &brokers), [20; 4]);
        // Negative control: without racks some partitions are in one.
        let without: Brokers = (0..4).map(|broker| (broker, None)).collect();
        let replicas = balanced(&partitions, &without).expect("every partition fits");
        assert!(replicas.iter().any(|replicas| (replicas[0] < 2) == (replicas[1] < 2)));
    }

    #[test]
    fn balances_leaders_and_copies_nothing_for_it() {
        for seed in 1_000..1_200 {
            let (partitions, brokers) = cluster(seed, 6, 24);
            let partitions = moved_to(&partitions, &balanced(&partitions, &brokers).expect("every partition fits"));
            let replicas = led(&partitions);
            assert_eq!(copied(&partitions, &replicas), 0, "{seed}");
            check(&partitions, &brokers, &replicas);
        }
        let every =
            (0..12).map(|index| Placement { topic: "users".to_owned(), index, replicas: vec![0, 1, 2], bytes: 0 });
        let every: Vec<Placement> = every.collect();
        let mut leading: Vec<i32> = led(&every).iter().map(|replicas| replicas[0]).collect();
        leading.sort_unstable();
        assert_eq!(leading, [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]);
    }

    #[test]
    fn refuses_more_replicas_than_brokers() {
        let partition = Placement { topic: "users".to_owned(), index: 0, replicas: vec![0, 1, 2], bytes: 0 };
        assert_eq!(balanced(&[partition], &[(0, None), (1, None)].into()), None);
    }
}
