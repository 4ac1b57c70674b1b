//! The number of processors follows a square wave: one, several and one again, while nothing is lost, no other pod is touched
//! and an event explains each step. A HorizontalPodAutoscaler decides once that is switched off.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::Api;
use millrace_api::crd::StreamingPipelineStatus;
use millrace_api::crd::status::ScalingStatus;
use millrace_api::names::Component;
use millrace_e2e::ledger::Ledger;
use millrace_e2e::process::lives;
use millrace_e2e::spec::Generator;
use millrace_e2e::{Live, Spec, Turn, events, eventually, in_namespace};
use serde_json::json;

const READY_WITHIN: Duration = Duration::from_secs(300);
/// A decision takes a few looks, and a processor with little CPU starts slowly.
const UP_WITHIN: Duration = Duration::from_secs(180);
/// The input must have been low for `downWindow`, and what waits is processed first.
const DOWN_WITHIN: Duration = Duration::from_secs(300);
const SENT_WITHIN: Duration = Duration::from_secs(600);
/// Kubernetes looks at its autoscalers every 15 s, and at the kinds of objects that there are every 30 s.
const AUTOSCALED_WITHIN: Duration = Duration::from_secs(180);
/// Name of the HorizontalPodAutoscaler.
const AUTOSCALER: &str = "processors";
/// CPU of a processor: so little that this machine can give several of them more than one can take.
const CPU: &str = "200m";
/// Most processors.
const MOST: i32 = 3;

/// A part of the wave: a source of its own, at a rate for a while.
struct Part {
    seed: u64,
    rate: u32,
    seconds: u64,
}

/// A fraction of what one processor takes.
const BEFORE: Part = Part { seed: 41, rate: 100, seconds: 60 };
/// More than one takes, and not more than Cassandra does.
const MUCH: Part = Part { seed: 42, rate: 6_000, seconds: 100 };
/// As before, for longer than it takes to scale down.
const AFTER: Part = Part { seed: 43, rate: 100, seconds: 240 };

pub async fn processors_follow_a_square_wave(turn: Turn) -> Result<()> {
    in_namespace(&turn, "scaled", async |namespace| {
        let spec = pipeline();
        let live = Live::start(namespace, &spec, READY_WITHIN).await?;
        let before = lives(&live.store_pods().await?);

        BEFORE.begin(&live, &spec).await?;
        BEFORE.await_sent(&live).await?;
        live.await_caught_up(READY_WITHIN).await?;
        // The negative control: a load that one processor takes changes nothing.
        let scaling = scaling(&live).await?;
        ensure!((scaling.current, scaling.last_scaled.is_none()) == (1, true), "{scaling:?}");

        MUCH.begin(&live, &spec).await?;
        let took = live_number(&live, "several processors run", UP_WITHIN, |number| number > 1).await?;
        namespace.time("one_to_several_processors", took)?;
        MUCH.await_sent(&live).await?;
        live.await_caught_up(SENT_WITHIN).await?;

        AFTER.begin(&live, &spec).await?;
        let took = live_number(&live, "one processor runs", DOWN_WITHIN, |number| number == 1).await?;
        namespace.time("several_to_one_processor", took)?;
        AFTER.await_sent(&live).await?;
        live.await_caught_up(READY_WITHIN).await?;

        steps_are_explained(&live).await?;
        ensure!(lives(&live.store_pods().await?) == before, "a pod of a store was restarted or replaced");
        let parts = [BEFORE, MUCH, AFTER];
        let ledger = parts.iter().fold(Ledger::default(), |ledger, part| ledger.and(part.seed, part.count()));
        let found = live.table().await?.compare(ledger).await?;
        namespace.say(format!("past the wave: {found}"));
        found.ensure_exact()?;
        an_autoscaler_decides_once_scaling_is_off(&live).await
    })
    .await
}

/// One of each store, and processors that are scaled and have little CPU.
fn pipeline() -> Spec {
    Spec::one()
        .with("/spec/kafka/topics/0/partitions", json!(6))
        .with("/spec/processor/resources", json!({"requests": {"cpu": "10m"}, "limits": {"cpu": CPU}}))
        .with("/spec/processor/scaling", json!({"mode": "Auto", "max": MOST, "downWindow": "1m"}))
}

impl Part {
    const fn count(&self) -> u64 {
        self.rate as u64 * self.seconds
    }

    /// Replaces the source by this one.
    async fn begin(&self, live: &Live, spec: &Spec) -> Result<()> {
        let source = Generator { seed: self.seed, count: Some(self.count()), rate: Some(self.rate) }.source();
        live.change(&spec.clone().sources([source])).await
    }

    /// Waits until Kafka has acknowledged all of its records.
    async fn await_sent(&self, live: &Live) -> Result<()> {
        let source = format!("made-up-{}", self.seed);
        let sent = async || {
            let metrics = live.metrics(Component::Producer).await?;
            let sent = metrics.values().map(|metrics| metrics.of("millrace_records_produced_total", "source", &source));
            Ok((sent.sum::<f64>() >= self.count() as f64).then_some(()))
        };
        eventually(&format!("all {} records of {source} are acknowledged", self.count()), SENT_WITHIN, sent).await?;
        Ok(())
    }
}

async fn scaling(live: &Live) -> Result<ScalingStatus> {
    let status = live.resource().await?.status;
    status
        .as_ref()
        .and_then(StreamingPipelineStatus::scaling)
        .cloned()
        .context("the status does not say how it is scaled")
}

/// Waits until so many processors run and are ready, by the pods and not by what the status says; prints what it says.
async fn live_number(live: &Live, what: &str, limit: Duration, is_it: impl Fn(usize) -> bool) -> Result<Duration> {
    let mut said = String::new();
    let waited = eventually(what, limit, async || {
        let now = scaling(live).await?;
        let now = format!("{}: {}", now.reason, now.message);
        if now != said {
            live.namespace.say(&now);
            said = now;
        }
        let pods = live.pods(Component::Processor).await?;
        let ready = pods.iter().filter(|pod| millrace_api::pods::is_ready(pod)).count();
        Ok((ready == pods.len() && is_it(ready)).then_some(()))
    });
    Ok(waited.await?.1)
}

/// A real HorizontalPodAutoscaler brings the number to its own minimum, for which it needs no metrics: it sets that of the spec
/// by the scale subresource. The control is the mode Auto, in which nothing runs by it; once that is off, processors do.
async fn an_autoscaler_decides_once_scaling_is_off(live: &Live) -> Result<()> {
    let target =
        json!({"apiVersion": "millrace.dev/v1alpha1", "kind": "StreamingPipeline", "name": live.names.pipeline()});
    let autoscaler = json!({
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": AUTOSCALER},
        "spec": {"scaleTargetRef": target, "minReplicas": 2, "maxReplicas": MOST},
    });
    live.namespace.apply::<HorizontalPodAutoscaler>(AUTOSCALER, &autoscaler).await?;
    let is_seen = async || {
        let resource = live.resource().await?;
        let observed = resource.status.as_ref().and_then(|status| status.observed_generation);
        Ok((resource.spec.processor.replicas == 2 && observed == resource.metadata.generation).then_some(()))
    };
    let what = "the autoscaler has set the number of the spec, and the operator has seen it";
    eventually(what, AUTOSCALED_WITHIN, is_seen).await?;
    let autoscalers: Api<HorizontalPodAutoscaler> =
        Api::namespaced(live.namespace.cluster.client.clone(), &live.namespace.name);
    let is_able = async || {
        let status = autoscalers.get(AUTOSCALER).await?.status;
        let mut conditions = status.and_then(|status| status.conditions).into_iter().flatten();
        Ok(conditions.any(|condition| condition.type_ == "AbleToScale" && condition.status == "True").then_some(()))
    };
    eventually("the autoscaler is able to scale", AUTOSCALED_WITHIN, is_able).await?;
    let (scaling, pods) = (scaling(live).await?, live.pods(Component::Processor).await?);
    ensure!((scaling.current, pods.len()) == (1, 1), "{} processors run: {scaling:?}", pods.len());

    live.patch(json!({"spec": {"processor": {"scaling": {"mode": "Off"}}}})).await?;
    let follow = async || {
        let pods = live.pods(Component::Processor).await?;
        let ready = pods.iter().filter(|pod| millrace_api::pods::is_ready(pod)).count();
        Ok(((ready, pods.len()) == (2, 2)).then_some(()))
    };
    let (_, took) = eventually("two processors run", UP_WITHIN, follow).await?;
    live.namespace.say(format!("two processors run {took:?} after scaling was switched off: the autoscaler's number"));
    Ok(())
}

/// Fails unless the events lead from one processor to several and back to one, each step with its sentence.
async fn steps_are_explained(live: &Live) -> Result<()> {
    let mut told = events::of(live).await?;
    told.retain(|event| ["ScaledUp", "ScaledDown", "ScaledToLimit"].contains(&event.reason.as_str()));
    told.sort_by_key(|event| event.at);
    let mut number = 1;
    for event in &told {
        live.namespace.say(format!("{}: {}", event.reason, event.note));
        let (from, to) = step(&event.note).with_context(|| format!("'{}' names no step", event.note))?;
        ensure!(from == number, "'{}' begins at {from}, and there were {number}", event.note);
        ensure!((event.reason == "ScaledUp") == (to > from), "'{}' is called {}", event.note, event.reason);
        number = to;
    }
    let ups = told.iter().filter(|event| event.reason == "ScaledUp").count();
    ensure!(number == 1 && ups > 0, "the events end at {number} after {ups} steps up: {told:?}");
    Ok(())
}

/// Returns the numbers of a sentence such as `Scales 2 → 4: …`.
fn step(note: &str) -> Option<(i32, i32)> {
    let (numbers, _) = note.strip_prefix("Scales ")?.split_once(':')?;
    let (from, to) = numbers.split_once(" → ")?;
    Some((from.parse().ok()?, to.parse().ok()?))
}
