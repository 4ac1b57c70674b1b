//! What may go wrong in a pipeline, chosen at random from a seed: no kind comes again before all have come.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{DeleteParams, Preconditions};
use millrace_api::names::Component;
use millrace_e2e::clock::WrongClock;
use millrace_e2e::cut::{cut, mend};
use millrace_e2e::disk::Disk;
use millrace_e2e::live::address;
use millrace_e2e::process::{Signal, restarts, signal};
use millrace_e2e::{Live, eventually};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use serde_json::json;

/// How long a processor with a wrong clock stays once it writes.
const WRONG_CLOCK: Duration = Duration::from_secs(10);
/// From one step of a storm to the next.
const STORM_STEP: Duration = Duration::from_secs(5);
/// Longest that the pods of a component may be away when it is their turn.
const THERE_WITHIN: Duration = Duration::from_secs(120);

/// One fault. Lengths are in seconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// SIGKILL to one pod's main process.
    Kill(Component),
    /// SIGSTOP to one pod's processes, and SIGCONT after a time.
    Stop(Component, u64),
    /// One pod of the first is cut off from all of the second for a time.
    Cut(Component, Component, u64),
    /// The disk of a store's first member has no room left for a time.
    Full(Component, u64),
    /// The disk of a store's first member holds its writes up for a time.
    Slow(Component, u64),
    /// Processors go from as many as there are to six and back, a rebalance each time.
    Storm,
    /// A processor whose clock is so many hours ahead, or behind, takes its share of the partitions for a while.
    Clock(i32),
}

/// What may happen to the disks of broker and node. A node whose disk is full ends, and is started again when there is
/// room (docs/decisions/0011-a-full-disk.md).
pub const OF_DISKS: [Fault; 4] = [
    Fault::Full(Component::Kafka, 15),
    Fault::Full(Component::Cassandra, 15),
    Fault::Slow(Component::Kafka, 20),
    Fault::Slow(Component::Cassandra, 20),
];

/// Every kind but those of the disks, with a length that passes the session timeouts: 30 s of the processors' group,
/// 18 s of ZooKeeper.
const KINDS: [Fault; 16] = [
    Fault::Kill(Component::Producer),
    Fault::Kill(Component::Processor),
    Fault::Kill(Component::Kafka),
    Fault::Kill(Component::Cassandra),
    Fault::Kill(Component::ZooKeeper),
    Fault::Stop(Component::Processor, 35),
    Fault::Stop(Component::Kafka, 20),
    Fault::Stop(Component::Cassandra, 20),
    Fault::Stop(Component::ZooKeeper, 20),
    Fault::Cut(Component::Producer, Component::Kafka, 20),
    Fault::Cut(Component::Processor, Component::Kafka, 35),
    Fault::Cut(Component::Processor, Component::Cassandra, 20),
    Fault::Cut(Component::Kafka, Component::ZooKeeper, 25),
    Fault::Storm,
    Fault::Clock(1),
    Fault::Clock(-1),
];

/// What is over after seconds, and may come beside every other kind. Kills of processors are not among them: the
/// partitions of one wait until its group has missed it for 30 s, and with one a minute little else would be seen.
const BRIEF: [Fault; 10] = [
    Fault::Cut(Component::Producer, Component::Kafka, 3),
    Fault::Cut(Component::Producer, Component::Kafka, 1),
    Fault::Cut(Component::Processor, Component::Kafka, 3),
    Fault::Cut(Component::Processor, Component::Kafka, 1),
    Fault::Cut(Component::Processor, Component::Cassandra, 3),
    Fault::Cut(Component::Processor, Component::Cassandra, 1),
    Fault::Cut(Component::Cassandra, Component::Processor, 3),
    Fault::Cut(Component::Cassandra, Component::Processor, 1),
    Fault::Cut(Component::Kafka, Component::ZooKeeper, 4),
    Fault::Cut(Component::Kafka, Component::ZooKeeper, 2),
];

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(component) => write!(formatter, "a {component} is killed"),
            Self::Stop(component, length) => write!(formatter, "a {component} stands still for {length} s"),
            Self::Cut(one, other, length) => {
                write!(formatter, "a {one} is cut off from every {other} for {length} s")
            }
            Self::Full(component, length) => write!(formatter, "the disk of {component} is full for {length} s"),
            Self::Slow(component, length) => write!(formatter, "the disk of {component} is slow for {length} s"),
            Self::Storm => write!(formatter, "processors go to six and back"),
            Self::Clock(hours) => write!(formatter, "a processor's clock is {hours:+} h off"),
        }
    }
}

/// A seeded sequence of faults without end.
pub struct Faults {
    random: StdRng,
    kinds: Vec<Fault>,
    deck: Vec<Fault>,
    disks: BTreeMap<Component, Disk>,
}

impl Faults {
    /// Makes the sequence of every kind of fault; the first members of broker and node are on these disks.
    pub fn of(seed: u64, disks: BTreeMap<Component, Disk>) -> Self {
        Self { disks, ..Self::among(seed, &[&KINDS[..], &OF_DISKS].concat()) }
    }

    /// Makes a sequence of what is over after seconds, and may come beside every other kind.
    pub fn brief(seed: u64) -> Self {
        Self::among(seed, &BRIEF)
    }

    /// Makes a sequence of what may happen to these disks.
    pub fn of_disks(seed: u64, disks: BTreeMap<Component, Disk>) -> Self {
        Self { disks, ..Self::among(seed, &OF_DISKS) }
    }

    /// Makes a sequence of some kinds only.
    pub fn among(seed: u64, kinds: &[Fault]) -> Self {
        let random = StdRng::seed_from_u64(seed);
        Self { random, kinds: kinds.to_vec(), deck: Vec::new(), disks: BTreeMap::new() }
    }

    /// Returns a pause at random, shorter than `most`.
    pub fn pause(&mut self, most: Duration) -> Duration {
        most.mul_f64(self.random.random())
    }

    /// Lets the next fault happen, and returns it once it is over; what it broke may still be recovering.
    pub async fn strike(&mut self, live: &Live) -> Result<Fault> {
        if self.deck.is_empty() {
            self.deck = self.kinds.clone();
            self.deck.shuffle(&mut self.random);
        }
        let fault = self.deck.pop().context("there is no kind of fault")?;
        live.namespace.say(format!("fault: {fault}"));
        match fault {
            Fault::Kill(component) => {
                self.hit(live, fault, component, async |pod| kill(live, pod).await).await?;
            }
            Fault::Stop(component, length) => {
                let cluster = &live.namespace.cluster;
                let stop = async |pod: &Pod| signal(cluster, pod, Signal::Stop).await;
                let (pod, ()) = self.hit(live, fault, component, stop).await?;
                tokio::time::sleep(Duration::from_secs(length)).await;
                // Its liveness probe may have replaced it by now, which is how it goes on then.
                if let Err(error) = signal(cluster, &pod, Signal::Continue).await {
                    live.namespace.say(format!("'{}' went on without us: {error:#}", pod.name_any()));
                }
            }
            Fault::Cut(one, other, length) => {
                let begin = async |pod: &Pod| begin_cut(live, pod, &[other]).await;
                let (pod, addresses) = self.hit(live, fault, one, begin).await?;
                tokio::time::sleep(Duration::from_secs(length)).await;
                end_cut(live, &pod, &addresses).await?;
            }
            Fault::Full(component, length) => {
                let disk = self.disk(component)?;
                disk.fill().await?;
                tokio::time::sleep(Duration::from_secs(length)).await;
                disk.clear().await?;
                replace_restarted(live, component).await?;
            }
            Fault::Slow(component, length) => self.disk(component)?.slow_down(length).await?,
            Fault::Storm => storm(live).await?,
            Fault::Clock(hours) => {
                let processor = WrongClock::start(live, hours).await?;
                processor.writes().await?;
                tokio::time::sleep(WRONG_CLOCK).await;
                processor.stop().await?;
            }
        }
        Ok(fault)
    }

    fn disk(&self, component: Component) -> Result<&Disk> {
        self.disks.get(&component).with_context(|| format!("{component} has no disk of its own"))
    }

    /// Lets a fault begin in a running pod of a component, and returns the pod with what `begin` returned. One that ends
    /// by itself at this moment is no victim: another is chosen then.
    async fn hit<T>(
        &mut self,
        live: &Live,
        fault: Fault,
        component: Component,
        begin: impl AsyncFn(&Pod) -> Result<T>,
    ) -> Result<(Pod, T)> {
        let what = fault.to_string();
        let hit = eventually(&what, THERE_WITHIN, async || {
            let pods: Vec<Pod> = live.pods(component).await?.into_iter().filter(runs).collect();
            let Some(pod) = pods.choose(&mut self.random) else { return Ok(None) };
            let begun = begin(pod).await?;
            Ok(Some((pod.clone(), begun)))
        });
        Ok(hit.await?.0)
    }
}

fn runs(pod: &Pod) -> bool {
    let statuses = pod.status.iter().filter_map(|status| status.container_statuses.as_ref()).flatten();
    let started = statuses.filter_map(|status| status.state.as_ref()?.running.as_ref()).count() > 0;
    started && address(pod).is_some()
}

/// Kills a pod's main process. One that was killed before goes with its pod: the kubelet would let it wait longer and
/// longer, and the faults to come with it.
async fn kill(live: &Live, pod: &Pod) -> Result<()> {
    let cluster = &live.namespace.cluster;
    signal(cluster, pod, Signal::Kill).await?;
    if restarts(pod) > 0 { delete(live, pod).await } else { Ok(()) }
}

/// Deletes the pods of a component whose container was started again, for the same reason.
async fn replace_restarted(live: &Live, component: Component) -> Result<()> {
    for pod in live.pods(component).await?.iter().filter(|pod| restarts(pod) > 0) {
        delete(live, pod).await?;
    }
    Ok(())
}

async fn delete(live: &Live, pod: &Pod) -> Result<()> {
    let now = DeleteParams { preconditions: Some(same(pod)), ..DeleteParams::default().grace_period(0) };
    live.pod_api()
        .delete(&pod.name_any(), &now)
        .await
        .map(|_| ())
        .with_context(|| format!("cannot delete '{}'", pod.name_any()))
}

fn same(pod: &Pod) -> Preconditions {
    Preconditions { uid: pod.uid(), resource_version: None }
}

/// Cuts a pod off from every pod of some components for a time.
pub async fn cut_off(live: &Live, pod: &Pod, others: &[Component], length: Duration) -> Result<()> {
    let addresses = begin_cut(live, pod, others).await?;
    tokio::time::sleep(length).await;
    end_cut(live, pod, &addresses).await
}

/// Cuts a pod off, and returns the addresses that it no longer reaches.
async fn begin_cut(live: &Live, pod: &Pod, others: &[Component]) -> Result<Vec<IpAddr>> {
    let mut addresses: Vec<IpAddr> = Vec::new();
    for component in others {
        addresses.extend(live.pods(*component).await?.iter().filter_map(address));
    }
    addresses.retain(|other| Some(*other) != address(pod));
    cut(&live.namespace.cluster, pod, &addresses).await?;
    Ok(addresses)
}

/// Mends a cut. A pod that was replaced has a network of its own; a container that was started again is in the same.
async fn end_cut(live: &Live, pod: &Pod, addresses: &[IpAddr]) -> Result<()> {
    let mended = async || {
        let now = live.pod_api().get_opt(&pod.name_any()).await?;
        match now.filter(|now| now.uid() == pod.uid()) {
            Some(now) => Ok(mend(&live.namespace.cluster, &now, addresses).await.ok()),
            None => Ok(Some(())),
        }
    };
    eventually("the cut is mended", THERE_WITHIN, mended).await.map(|_| ())
}

async fn storm(live: &Live) -> Result<()> {
    let wanted = live.resource().await?.spec.processor.replicas;
    for replicas in [1, 6, 1, 6, 1, wanted] {
        live.patch(json!({"spec": {"processor": {"replicas": replicas}}})).await?;
        tokio::time::sleep(STORM_STEP).await;
    }
    Ok(())
}
