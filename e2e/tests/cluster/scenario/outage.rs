//! Cassandra stands still under load, by SIGSTOP: its sockets stay open and nobody answers, which is worse for a client
//! than a closed port. Its liveness probe only opens a connection, which the kernel still accepts.

use std::time::{Duration, Instant};

use anyhow::Result;
use kube::ResourceExt;
use millrace_api::names::Component;
use millrace_e2e::process::{Signal, restarts, signal};
use millrace_e2e::{Live, Spec, eventually};

/// How often memory is looked at.
const SAMPLE: Duration = Duration::from_secs(1);

/// What the processors did while Cassandra stood still; the largest of all samples and pods.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Resident bytes.
    pub resident: f64,
    /// Bytes of records in hand.
    pub buffered: f64,
    /// Dead letters, over all pods.
    pub dead_letters: f64,
    /// Times that a processor was started again.
    pub restarts: i32,
}

impl Memory {
    /// Returns whether the bound of `buffer` bytes was kept by every processor, which was never started again.
    pub fn is_bounded(&self, buffer: f64, resident: f64) -> bool {
        self.buffered <= buffer && self.resident <= resident && self.restarts == 0
    }
}

/// Stops Cassandra for a time, watching the processors, and lets it go on.
pub async fn cassandra_stands_still(live: &Live, length: Duration) -> Result<Memory> {
    let nodes = live.pods(Component::Cassandra).await?;
    let cluster = &live.namespace.cluster;
    let before = processor_restarts(live).await?;
    for node in &nodes {
        signal(cluster, node, Signal::Stop).await?;
    }
    live.namespace.say(format!("Cassandra stands still for {} s", length.as_secs()));
    let watched = watch(live, length, before).await;
    for node in &nodes {
        signal(cluster, node, Signal::Continue).await?;
    }
    live.namespace.say("Cassandra goes on");
    watched
}

async fn watch(live: &Live, length: Duration, restarts_before: i32) -> Result<Memory> {
    let mut memory = Memory::default();
    let began = Instant::now();
    let mut samples = tokio::time::interval(SAMPLE);
    while began.elapsed() < length {
        samples.tick().await;
        memory.restarts = processor_restarts(live).await? - restarts_before;
        // A processor that was killed for its memory does not tell; its restart does.
        let Ok(all) = live.metrics(Component::Processor).await else {
            continue;
        };
        memory.dead_letters = all.values().map(|metrics| metrics.sum("millrace_dead_letters_total")).sum();
        for metrics in all.values() {
            memory.resident = memory.resident.max(metrics.sum("process_resident_memory_bytes"));
            memory.buffered = memory.buffered.max(metrics.sum("millrace_buffered_bytes"));
        }
    }
    Ok(memory)
}

async fn processor_restarts(live: &Live) -> Result<i32> {
    Ok(live.pods(Component::Processor).await?.iter().map(restarts).sum())
}

/// Stops Cassandra, changes the pipeline to `load`, waits until every processor has records in hand and had time to
/// commit them, kills the processors, and lets Cassandra go on: what was committed and not written is lost now.
/// The load comes last: while Cassandra writes, it may be over before Cassandra is stopped.
pub async fn processors_die_with_rows_in_hand(live: &Live, load: &Spec) -> Result<()> {
    let cluster = &live.namespace.cluster;
    let nodes = live.pods(Component::Cassandra).await?;
    for node in &nodes {
        signal(cluster, node, Signal::Stop).await?;
    }
    let killed = async {
        live.change(load).await?;
        kill_with_rows_in_hand(live).await
    };
    let killed = killed.await;
    for node in &nodes {
        signal(cluster, node, Signal::Continue).await?;
    }
    killed
}

/// Bytes in hand that are many rows.
const MANY: f64 = 256.0 * 1024.0;

async fn kill_with_rows_in_hand(live: &Live) -> Result<()> {
    let many = eventually("every processor has many records in hand", Duration::from_secs(60), async || {
        let all = live.metrics(Component::Processor).await?;
        Ok(all.values().all(|metrics| metrics.sum("millrace_buffered_bytes") > MANY).then_some(()))
    });
    many.await?;
    // A correct processor commits nothing more now; one that commits before it writes does so every half second.
    let commits = async || live.sum(Component::Processor, "millrace_commits_total").await;
    let before = commits().await?;
    let more = async || Ok((commits().await? >= before + 4.0).then_some(()));
    let committed = eventually("further commits", Duration::from_secs(4), more).await.is_ok();
    live.namespace.say(format!("further commits while nothing is written: {}", if committed { "yes" } else { "no" }));
    for pod in live.pods(Component::Processor).await? {
        live.namespace.say(format!("killing '{}' with rows in hand", pod.name_any()));
        signal(&live.namespace.cluster, &pod, Signal::Kill).await?;
    }
    Ok(())
}
