//! Runs of a source: one that fails twice and then works, one that never works, one that is cancelled, one that is asked
//! for wrongly, and those that a schedule makes. What their statuses say is held against the topic and the table.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kube::Api;
use kube::ResourceExt;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use millrace_api::IngestionRun;
use millrace_api::crd::run::IngestionRunStatus;
use millrace_api::crd::{RunPhase, ScheduleStatus};
use millrace_e2e::spec::{SAMPLE_SOURCE, TOPIC, http_source};
use millrace_e2e::{Live, Spec, TestNamespace, Turn, eventually, in_shared};
use serde_json::{Value, json};

const READY_WITHIN: Duration = Duration::from_secs(300);
/// Longest that a run may take on a busy machine.
const WITHIN: Duration = Duration::from_secs(180);
/// Records of a run of the generator.
const GENERATED: i64 = 500;

pub async fn runs_are_accounted_for(turn: Turn) -> Result<()> {
    in_shared(&turn, "runs", async |namespace| {
        let live = Live::start(namespace, &pipeline(), READY_WITHIN).await?;
        let runs = Runs::of(&live);
        runs.fails_twice_then_works().await?;
        runs.never_works().await?;
        runs.asked_for_wrongly().await?;
        runs.cancelled().await?;
        runs.of_a_schedule().await?;
        who_asked(namespace, &runs).await
    })
    .await
}

/// Sources that only run when somebody asks, and one of each minute.
fn pipeline() -> Spec {
    let mut flaky = http_source("flaky", "");
    flaky["http"] = json!({
        "url": format!("{SAMPLE_SOURCE}/fail-first"),
        "query": {"n": "params.failures", "key": "params.key"},
        "records": "/results",
    });
    flaky["params"] = json!([
        {"name": "failures", "type": "integer", "default": "0", "minimum": 0, "maximum": 9},
        {"name": "key", "pattern": "[a-z0-9-]+"},
    ]);
    flaky["schedule"] = json!({});
    let mut broken = http_source("broken", "");
    broken["http"]["url"] = json!(format!("{SAMPLE_SOURCE}/status/${{params.code}}"));
    broken["params"] = json!([{"name": "code", "default": "500"}]);
    broken["schedule"] = json!({});
    let slow = json!({
        "name": "slow", "topic": TOPIC, "key": "id", "generator": {"seed": 5, "recordsPerSecond": 50}, "schedule": {},
    });
    let minutely = json!({
        "name": "minutely", "topic": TOPIC, "key": "id", "generator": {"seed": 6, "count": GENERATED},
        "schedule": {"cron": "* * * * *", "paused": true},
    });
    Spec::one().readable_topics().sources([flaky, broken, slow, minutely])
}

/// The runs of a pipeline.
pub(crate) struct Runs<'a> {
    pub(crate) live: &'a Live,
    pub(crate) api: Api<IngestionRun>,
}

/// Records of a topic that carry a run's name, and the bounds of their offsets by partition.
#[derive(Debug, Default)]
pub(crate) struct InTopic {
    pub(crate) count: i64,
    bounds: BTreeMap<i32, (i64, i64)>,
}

impl InTopic {
    /// Fails unless the run's status says the same.
    pub(crate) fn agrees_with(&self, name: &str, status: &IngestionRunStatus) -> Result<()> {
        let Self { count, bounds } = self;
        ensure!(
            status.records_produced == Some(*count),
            "'{name}': {:?} produced, {count} in the topic",
            status.records_produced
        );
        let ranges = status.topic_ranges.iter();
        let said: BTreeMap<i32, (i64, i64)> =
            ranges.map(|range| (range.partition, (range.first_offset, range.last_offset))).collect();
        ensure!(said == *bounds, "'{name}': the status says {said:?}, the topic {bounds:?}");
        Ok(())
    }
}

impl<'a> Runs<'a> {
    pub(crate) fn of(live: &'a Live) -> Self {
        Self { live, api: Api::namespaced(live.namespace.cluster.client.clone(), &live.namespace.name) }
    }

    async fn ask(&self, name: &str, source: &str, spec: Value) -> Result<()> {
        let mut wanted = json!({"pipeline": self.live.names.pipeline(), "source": source});
        wanted.as_object_mut().context("an object")?.extend(spec.as_object().cloned().unwrap_or_default());
        let run: IngestionRun = serde_json::from_value(json!({
            "apiVersion": "millrace.dev/v1alpha1", "kind": "IngestionRun", "metadata": {"name": name}, "spec": wanted,
        }))?;
        self.api.create(&PostParams::default(), &run).await.with_context(|| format!("cannot ask for run '{name}'"))?;
        Ok(())
    }

    async fn status(&self, name: &str) -> Result<IngestionRunStatus> {
        Ok(self.api.get(name).await?.status.unwrap_or_default())
    }

    async fn await_phase(&self, name: &str, phase: RunPhase) -> Result<IngestionRunStatus> {
        let what = format!("run '{name}' is {}", phase.as_str());
        let (status, took) = eventually(&what, WITHIN, async || {
            let status = self.status(name).await?;
            let other_end = status.phase.is_some_and(|found| found.is_final() && found != phase);
            ensure!(!other_end, "it is {:?}: {:?}", status.phase, status.message);
            Ok((status.phase == Some(phase)).then_some(status))
        })
        .await?;
        self.live.namespace.say(format!("{what} after {} s", took.as_secs()));
        Ok(status)
    }

    /// Returns what the topic holds of each run.
    pub(crate) async fn in_topic(&self) -> Result<BTreeMap<String, InTopic>> {
        let mut runs: BTreeMap<String, InTopic> = BTreeMap::new();
        for record in self.live.kafka().await?.read(TOPIC).await? {
            let Some(name) = record.headers.get("millrace-run") else { continue };
            ensure!(record.headers.contains_key("traceparent"), "a record of '{name}' has no trace context");
            let run = runs.entry(name.clone()).or_default();
            run.count += 1;
            let bound = run.bounds.entry(record.partition).or_insert((record.offset, record.offset));
            *bound = (bound.0.min(record.offset), bound.1.max(record.offset));
        }
        Ok(runs)
    }

    async fn agrees_with_topic(&self, name: &str, status: &IngestionRunStatus) -> Result<i64> {
        let found = self.in_topic().await?.remove(name).unwrap_or_default();
        found.agrees_with(name, status)?;
        Ok(found.count)
    }

    async fn fails_twice_then_works(&self) -> Result<()> {
        let retries = json!({"limit": 3, "delay": "1s", "maxDelay": "1s"});
        let params = json!({"failures": "2", "key": format!("k-{}", self.live.namespace.name)});
        self.ask("flaky", "flaky", json!({"params": params, "retries": retries})).await?;
        let status = self.await_phase("flaky", RunPhase::Succeeded).await?;
        ensure!(status.attempts.len() == 3, "{} attempts", status.attempts.len());
        for failed in &status.attempts[..2] {
            let error = failed.error.clone().unwrap_or_default();
            ensure!(error.contains("429"), "attempt {} failed for another reason: {error}", failed.number);
        }
        ensure!(self.agrees_with_topic("flaky", &status).await? == 1);
        let one_row = async || Ok((self.live.table().await?.count().await? == 1).then_some(()));
        eventually("the record is one row", WITHIN, one_row).await?;
        Ok(())
    }

    async fn never_works(&self) -> Result<()> {
        self.ask("broken", "broken", json!({"retries": {"limit": 1, "delay": "1s", "maxDelay": "1s"}})).await?;
        let status = self.await_phase("broken", RunPhase::Failed).await?;
        let message = status.message.unwrap_or_default();
        ensure!(message.contains("answers 500"), "the cause is not told: {message}");
        ensure!((status.attempts.len(), status.records_produced) == (2, Some(0)), "{:?}", status.attempts);
        Ok(())
    }

    async fn asked_for_wrongly(&self) -> Result<()> {
        self.ask("wrong", "flaky", json!({"params": {"key": "a", "failures": "10"}})).await?;
        let status = self.await_phase("wrong", RunPhase::Failed).await?;
        let message = status.message.unwrap_or_default();
        ensure!(message == "spec.params.failures: '10' is above the maximum 9", "{message}");
        ensure!(status.attempts.is_empty(), "it was tried all the same");
        let changed = json!({"spec": {"params": {"key": "b"}}});
        let refused = self.api.patch("wrong", &PatchParams::default(), &Patch::Merge(changed)).await;
        ensure!(refused.is_err(), "a run's params can be changed");
        Ok(())
    }

    async fn cancelled(&self) -> Result<()> {
        self.ask("slow", "slow", json!({"duration": "10m"})).await?;
        self.await_phase("slow", RunPhase::Running).await?;
        let some = async || Ok((self.in_topic().await?.get("slow").is_some_and(|run| run.count > 100)).then_some(()));
        eventually("records of the run are in the topic", WITHIN, some).await?;
        let cancel = json!({"spec": {"cancel": true}});
        self.api.patch("slow", &PatchParams::default(), &Patch::Merge(cancel)).await.context("cannot cancel")?;
        let status = self.await_phase("slow", RunPhase::Cancelled).await?;
        let count = self.agrees_with_topic("slow", &status).await?;
        self.live.namespace.say(format!("{count} records of the cancelled run, all accounted for"));
        Ok(())
    }

    async fn of_a_schedule(&self) -> Result<()> {
        let status = self.schedule().await?;
        ensure!(status.paused && status.next_schedule_time.is_none(), "a paused schedule says when it runs next");
        let spec = pipeline().with("/spec/producer/sources/3/schedule/paused", json!(false));
        self.live.change(&spec).await?;
        let scheduled = ListParams::default().labels("millrace.dev/schedule=minutely");
        let two = async || {
            let runs = self.api.list(&scheduled).await?.items;
            let ended = runs
                .iter()
                .filter(|run| run.status.as_ref().and_then(|status| status.phase) == Some(RunPhase::Succeeded));
            let names: Vec<String> = ended.map(ResourceExt::name_any).collect();
            Ok((names.len() >= 2).then_some(names))
        };
        let (names, _) = eventually("two scheduled runs have succeeded", WITHIN, two).await?;
        for name in &names {
            let status = self.status(name).await?;
            ensure!(status.records_produced == Some(GENERATED), "{name}: {:?}", status.records_produced);
            self.agrees_with_topic(name, &status).await?;
        }
        self.live.change(&pipeline()).await?;
        Ok(())
    }

    /// Returns what is noted of the schedule of source `minutely`.
    pub(crate) async fn schedule(&self) -> Result<ScheduleStatus> {
        let known = async || {
            let schedules = self.live.resource().await?.status.and_then(|status| status.schedules).unwrap_or_default();
            Ok(schedules.into_iter().find(|schedule| schedule.source == "minutely"))
        };
        Ok(eventually("the schedule is in the status", WITHIN, known).await?.0)
    }
}

/// No user may request a run in another's name; in their own, or without a name, every user may.
async fn who_asked(namespace: &TestNamespace, runs: &Runs<'_>) -> Result<()> {
    let create = async |by: &str| {
        let file = std::env::temp_dir().join(format!("millrace-run-{}-{by}.yaml", namespace.name));
        let run = json!({
            "apiVersion": "millrace.dev/v1alpha1", "kind": "IngestionRun",
            "metadata": {"generateName": "asked-", "annotations": {"millrace.dev/requested-by": by}},
            "spec": {"pipeline": runs.live.names.pipeline(), "source": "broken", "cancel": true},
        });
        std::fs::write(&file, run.to_string()).context("cannot write a file")?;
        let arguments = ["create", "-n", &namespace.name, "--as", "jane", "--as-group", "system:masters", "-f", "-"];
        let created = namespace.cluster.kubectl_reading(&file, &arguments).await;
        std::fs::remove_file(&file).context("cannot remove a file")?;
        created
    };
    let refused = create("john").await.err().map(|error| format!("{error:#}")).unwrap_or_default();
    ensure!(refused.contains("must be 'jane'"), "jane asks in john's name: {refused}");
    create("jane").await.context("jane cannot ask in her own name")?;
    Ok(())
}
