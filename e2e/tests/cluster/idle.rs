//! A pipeline that has nothing to do is left alone: no writes to the API server, little memory, and a console that nobody
//! looks at does next to nothing.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use chrono::Utc;
use millrace_api::names::Component;
use millrace_e2e::metrics::MEBIBYTE;
use millrace_e2e::process::usage;
use millrace_e2e::spec::{Generator, Spec};
use millrace_e2e::{Live, TestNamespace, Turn, console, eventually, in_namespace, operator};
use serde_json::json;

const READY_WITHIN: Duration = Duration::from_secs(300);
/// What a worker may have resident at rest, in MiB.
const WORKER_RESIDENT: f64 = 64.0;
/// Share of a core that the console may use while nobody looks, although it measures every pipeline.
const CONSOLE_CORES: f64 = 0.01;

pub async fn an_idle_pipeline_is_left_alone(turn: Turn) -> Result<()> {
    in_namespace(&turn, "idle", async |namespace| {
        let spec = Spec::one().sources([Generator { seed: 8, count: Some(1_000), rate: None }.source()]);
        let live = Live::start(namespace, &spec, READY_WITHIN).await?;
        live.await_produced(1_000, READY_WITHIN).await?;
        live.await_caught_up(READY_WITHIN).await?;
        let told = async || Ok(live.resource().await?.status.is_some_and(|status| status.lag == Some(0)).then_some(()));
        eventually("the status tells that nothing is left to do", READY_WITHIN, told).await?;

        let length = turn.run.settings.idle;
        let since = Utc::now();
        let console = console::pod(&namespace.cluster).await?;
        let (before, begin) = (usage(&namespace.cluster, &console).await?, Instant::now());
        namespace.say(format!("idle for {} s", length.as_secs()));
        // The one sleep that waits for nothing: it is the time in which nothing shall happen.
        tokio::time::sleep(length).await;
        let after = usage(&namespace.cluster, &console).await?;
        let cores = (after.cpu - before.cpu) / begin.elapsed().as_secs_f64();
        namespace.figure("console_share_of_a_core_while_idle", cores * 100.0, "percent")?;
        ensure!(cores <= CONSOLE_CORES, "the console uses {:.1} % of a core", cores * 100.0);
        let writes = operator::writes(&namespace.cluster, &namespace.name, since).await?;
        namespace.figure("operator_writes_while_idle", writes.len() as f64, "writes")?;
        ensure!(writes.is_empty(), "{} writes in {} s: {writes:?}", writes.len(), length.as_secs());
        memory_is_small(namespace, &live).await?;
        a_change_would_have_been_noticed(namespace, &live).await
    })
    .await
}

async fn memory_is_small(namespace: &TestNamespace, live: &Live) -> Result<()> {
    operator::ensure_small(namespace, "operator_resident").await?;
    for (component, figure) in
        [(Component::Producer, "producer_resident"), (Component::Processor, "processor_resident")]
    {
        let all = live.metrics(component).await?;
        let resident =
            all.values().map(|metrics| metrics.sum("process_resident_memory_bytes")).fold(0.0, f64::max) / MEBIBYTE;
        namespace.figure(figure, resident, "MiB")?;
        ensure!(resident > 1.0 && resident <= WORKER_RESIDENT, "a {component} has {resident:.1} MiB resident");
    }
    Ok(())
}

/// Negative control: one deliberate change, and the count is above zero.
async fn a_change_would_have_been_noticed(namespace: &TestNamespace, live: &Live) -> Result<()> {
    let since = Utc::now();
    live.patch(json!({"spec": {"processor": {"replicas": 2}}})).await?;
    let noticed =
        async || Ok((!operator::writes(&namespace.cluster, &namespace.name, since).await?.is_empty()).then_some(()));
    eventually("the audit log tells of a change", Duration::from_secs(60), noticed).await?;
    Ok(())
}
