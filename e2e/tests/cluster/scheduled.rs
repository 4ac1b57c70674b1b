//! A schedule in accelerated time while operators are killed at moments that the run's seed chooses: each due time has its
//! run, none has two, and what the runs say they sent is what the topic holds.
//!
//! `E2E_SCHEDULED_RUNS` says how many.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use kube::ResourceExt;
use kube::api::ListParams;
use millrace_api::IngestionRun;
use millrace_api::crd::RunPhase;
use millrace_api::crd::time::moment_of;
use millrace_e2e::spec::TOPIC;
use millrace_e2e::{Live, Spec, TestNamespace, Turn, eventually, in_shared, operator};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

use crate::runs::Runs;

const READY_WITHIN: Duration = Duration::from_secs(300);
/// Operators that must have been killed by the end.
const KILLS: u32 = 3;
/// A due time each two seconds.
const FACTOR: u32 = 30;
/// Longest time that a run may take on a busy machine, and the least for all.
const EACH: Duration = Duration::from_secs(15);
const LEAST: Duration = Duration::from_secs(180);
/// Seconds between kills: some within the time that the next operator waits for the lease, some after it.
const BETWEEN_KILLS: std::ops::Range<u64> = 5..25;
/// Records of each run.
const GENERATED: i64 = 25;

pub async fn scheduled_runs_survive_kills_of_the_operator(turn: Turn) -> Result<()> {
    in_shared(&turn, "scheduled", async |namespace| {
        operator::ensure_replicated(&namespace.cluster).await?;
        let count = namespace.turn.run.settings.scheduled_runs;
        let live = Live::start(namespace, &pipeline(None), READY_WITHIN).await?;
        let runs = Runs::of(&live);
        let missed = runs.schedule().await?.missed;

        let since = Utc::now();
        live.change(&pipeline(Some(since))).await?;
        let within = LEAST.max(EACH * u32::try_from(count)?);
        let kills = Cell::new(0);
        let made = eventually("enough due times have passed, and operators were killed", within, async || {
            let found = scheduled(&runs).await?.len();
            Ok((found >= count && kills.get() >= KILLS).then_some(()))
        });
        tokio::select! {
            made = made => made.map(|_| ())?,
            failed = kill_operators(namespace, &kills) => failed?,
        }
        namespace.figure("operators_killed", f64::from(kills.get()), "")?;
        let noted = runs.schedule().await?;
        ensure!(noted.missed == missed, "due times were missed: {noted:?}");
        live.change(&pipeline(None)).await?;
        let ended = eventually("all runs have ended", within, async || {
            let found = scheduled(&runs).await?;
            let are_final = found.iter().all(|run| phase(run).is_some_and(RunPhase::is_final));
            Ok(are_final.then_some(found))
        });
        account_for(&runs, &ended.await?.0).await
    })
    .await
}

/// A run each minute by a fast clock since a moment, or a schedule that is paused.
fn pipeline(since: Option<DateTime<Utc>>) -> Spec {
    let minutely = json!({
        "name": "minutely", "topic": TOPIC, "key": "id", "generator": {"seed": 8, "count": GENERATED},
        "schedule": {
            "cron": "* * * * *", "paused": since.is_none(), "concurrencyPolicy": "Allow",
            "catchUp": "All", "maxCatchUp": 1000,
            "successfulRunsHistoryLimit": 1000, "failedRunsHistoryLimit": 1000,
        },
    });
    let spec = Spec::one().readable_topics().sources([minutely]);
    match since {
        Some(since) => {
            let clock = format!("{FACTOR}x since {}", since.to_rfc3339_opts(SecondsFormat::Millis, true));
            spec.with("/metadata/annotations", json!({"millrace.dev/schedule-clock": clock}))
        }
        None => spec,
    }
}

async fn scheduled(runs: &Runs<'_>) -> Result<Vec<IngestionRun>> {
    Ok(runs.api.list(&ListParams::default().labels("millrace.dev/schedule=minutely")).await?.items)
}

fn phase(run: &IngestionRun) -> Option<RunPhase> {
    run.status.as_ref()?.phase
}

/// Kills the operator that leads, at times that the seed chooses, as long as it is awaited.
async fn kill_operators(namespace: &TestNamespace, kills: &Cell<u32>) -> Result<()> {
    let mut random = StdRng::seed_from_u64(namespace.turn.run.settings.seed);
    loop {
        tokio::time::sleep(Duration::from_secs(random.random_range(BETWEEN_KILLS))).await;
        let leader = operator::kill_leader(&namespace.cluster).await?;
        kills.set(kills.get() + 1);
        namespace.say(format!("killed {leader}"));
    }
}

/// Each minute between the first and the last due time has one run that succeeded, and its records are in the topic once.
async fn account_for(runs: &Runs<'_>, ended: &[IngestionRun]) -> Result<()> {
    let mut due: BTreeMap<DateTime<Utc>, &IngestionRun> = BTreeMap::new();
    for run in ended {
        let time = moment_of(run.spec.scheduled_time.as_ref().context("a scheduled run has no due time")?);
        let other = due.insert(time, run);
        ensure!(other.is_none(), "two runs are due at {time}");
    }
    let times: Vec<&DateTime<Utc>> = due.keys().collect();
    let gap = times.windows(2).find(|pair| *pair[1] - *pair[0] != TimeDelta::minutes(1));
    ensure!(gap.is_none(), "no run between {gap:?}");
    let mut in_topic = runs.in_topic().await?;
    let mut records = 0;
    for run in ended {
        let name = run.name_any();
        let status = run.status.clone().unwrap_or_default();
        ensure!(phase(run) == Some(RunPhase::Succeeded), "'{name}': {:?}", status.message);
        let found = in_topic.remove(&name).unwrap_or_default();
        ensure!(found.count == GENERATED, "'{name}': {} records", found.count);
        found.agrees_with(&name, &status)?;
        records += found.count;
    }
    ensure!(in_topic.is_empty(), "records of runs that are not there: {in_topic:?}");
    runs.live.namespace.figure("scheduled_runs", ended.len() as f64, "runs")?;
    runs.live.namespace.say(format!("{} runs, {records} records, each accounted for", ended.len()));
    Ok(())
}
