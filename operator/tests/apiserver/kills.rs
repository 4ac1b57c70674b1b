//! The operator killed at every single write of a pipeline's creation, change, scaling, growth and suspension, before and
//! after the commit of that write: the end is that of an undisturbed run, and nothing unsafe happens on the way.
//! (`deletion` has the rest.)

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::Api;
use kube::api::DeleteParams;
use millrace_operator::lease::Fence;
use serde_json::{Value, json};

use crate::gate::{Gate, Kills, Moment, Target, Write, targets};
use crate::server::{Who, make_class};
use crate::snapshot::{Snapshot, differences};
use crate::stage::{Phase, Stage, leader};
use crate::world::DYNAMIC;

/// Namespaces at once.
const CONCURRENCY: usize = 8;
/// Steps at whose every write an operator is killed in a usual run; with `E2E_FULL` in all. The others have operators that live
/// for one write each.
const USUAL_STEPS: usize = 3;
/// A run kills at about every so-manieth write.
const STRIDE: usize = 10;
/// A usual run kills at one write in so many: at others with the next commit, since `KILL_TURN` counts them. With
/// `E2E_FULL`, at all.
const PARTS: usize = 3;

/// What happens to the pipeline, in order.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    Create,
    Change,
    Scale,
    Shrink,
    Grow,
    Suspend,
    Resume,
}

pub const STEPS: [Step; 7] =
    [Step::Create, Step::Change, Step::Scale, Step::Shrink, Step::Grow, Step::Suspend, Step::Resume];

impl Step {
    pub async fn begin(self, stage: &Stage) -> Result<()> {
        match self {
            Self::Create => {
                make_class(&stage.admin, "fast", true).await?;
                stage.create("three", json!({"spec": {"deletionPolicy": "Retain"}})).await
            }
            // Brokers and nodes are restarted one at a time; topic, type and table grow; processors get new settings.
            Self::Change => {
                let mut tables = tables(stage).await?;
                let columns = tables.pointer_mut("/0/columns").and_then(Value::as_array_mut);
                columns.context("the fixture has columns")?.push(json!({"name": "nickname", "type": "text"}));
                tables[0]["ttlSeconds"] = json!(3600);
                let topic = json!({
                    "name": "users_created", "partitions": 8, "replicationFactor": 3, "minInSyncReplicas": 2,
                    "config": {"retention.ms": "43200000"},
                });
                let kafka = json!({"config": {"num.partitions": "4"}, "topics": [topic]});
                let cassandra = json!({"config": {"concurrent_reads": "8"}, "tables": tables});
                stage.change(json!({"kafka": kafka, "cassandra": cassandra})).await
            }
            // A broker gets its share of the partitions, and in the next step gives it back before it stops. All take a
            // setting while they run. Two ZooKeeper servers vote, and in the next step vote no more before they go.
            Self::Scale => {
                let racks = json!([
                    {"name": "a", "replicas": 2}, {"name": "b", "replicas": 1}, {"name": "c", "replicas": 1},
                ]);
                let processor = json!({"replicas": 4});
                stage
                    .change(json!({
                        "zookeeper": {"replicas": 5},
                        "kafka": {"replicas": 4, "config": {DYNAMIC: "2097152"}},
                        "cassandra": {"racks": racks},
                        "processor": processor,
                    }))
                    .await
            }
            Self::Shrink => stage.change(json!({"zookeeper": {"replicas": 3}, "kafka": {"replicas": 3}})).await,
            // Claims grow one after the other, and four StatefulSets are made anew around their pods.
            Self::Grow => {
                let storage = |size: &str| json!({"storage": {"size": size}});
                stage.change(json!({"kafka": storage("11Gi"), "cassandra": storage("21Gi")})).await
            }
            // Producers stop, the proof of the drain is written, processors stop; and all in the other direction.
            Self::Suspend => stage.change(json!({"suspend": true})).await,
            Self::Resume => stage.change(json!({"suspend": false})).await,
        }
    }
}

async fn tables(stage: &Stage) -> Result<Value> {
    let pipeline = stage.pipelines().get(crate::world::PIPELINE).await?;
    Ok(serde_json::to_value(&pipeline.spec.cassandra.tables)?)
}

/// An undisturbed run: the writes of each step, and what there was after it.
struct Undisturbed {
    writes: Vec<Vec<Write>>,
    ends: Vec<Snapshot>,
}

async fn undisturbed(namespace: &str, fence: &Fence) -> Result<Undisturbed> {
    let mut stage = Stage::new(namespace, fence).await?;
    let mut run = Undisturbed { writes: Vec::new(), ends: Vec::new() };
    for step in STEPS {
        step.begin(&stage).await?;
        let Phase { writes, passes, .. } = stage.settle().await.with_context(|| format!("{step:?}"))?;
        stage.world.ensure_safe()?;
        println!("{step:?}: {} writes in {passes} passes", writes.len());
        if matches!(step, Step::Scale) {
            // Once two more servers vote, the brokers are restarted to connect to them.
            let before: Vec<&Write> =
                writes.iter().take_while(|write| write.resource != "ZooKeeperReconfigured").collect();
            ensure!(before.len() < writes.len(), "no more servers vote");
            let restarted = before.iter().any(|write| write.verb == "DELETE" && write.resource == "pods");
            let is_set = before.iter().any(|write| write.resource == "BrokersConfigured");
            ensure!(is_set && !restarted, "a setting that all take was set: {is_set}, with restarts: {restarted}");
        }
        run.writes.push(writes);
        run.ends.push(stage.snapshot().await?);
    }
    stage.world.ensure_claims_are_kept().await?;
    Ok(run)
}

/// Writes at which operators are killed in one run of all steps.
struct Case {
    name: String,
    moment: Moment,
    aims: [Vec<Target>; STEPS.len()],
}

/// Runs all steps, up to the last one in which operators are killed, and compares each end with the undisturbed one.
/// Returns where operators were killed.
async fn run(case: &Case, undisturbed: &Undisturbed, fence: &Fence) -> Result<Vec<(usize, Target)>> {
    let mut stage = Stage::new(&case.name, fence).await?;
    let mut hit = Vec::new();
    for (index, step) in STEPS.into_iter().enumerate() {
        if case.aims[index..].iter().all(Vec::is_empty) {
            break;
        }
        let kills = Kills::at(case.moment, case.aims[index].clone());
        let at = || format!("{step:?}, killed {:?} {:?}", case.moment, kills.hit());
        step.begin(&stage).await?;
        stage.settle_killed(&kills).await.with_context(at)?;
        stage.world.ensure_safe().with_context(at)?;
        stage.world.ensure_claims_are_kept().await.with_context(at)?;
        let differences = differences(&stage.snapshot().await.with_context(at)?, &undisturbed.ends[index]);
        ensure!(differences.is_empty(), "{}: {}", at(), differences.join("\n"));
        hit.extend(kills.hit().into_iter().map(|target| (index, target)));
    }
    Ok(hit)
}

async fn run_all(
    cases: &[Case],
    undisturbed: &Undisturbed,
    fence: &Fence,
) -> Result<BTreeSet<(Moment, usize, Target)>> {
    let runs = stream::iter(cases).map(|case| async move {
        let hit = run(case, undisturbed, fence).await.with_context(|| case.name.clone())?;
        anyhow::Ok(hit.into_iter().map(|(step, target)| (case.moment, step, target)).collect::<Vec<_>>())
    });
    Ok(runs.buffer_unordered(CONCURRENCY).try_collect::<Vec<_>>().await?.into_iter().flatten().collect())
}

/// In each run, one operator after another is killed, about every [`STRIDE`]-th write; the runs begin at different ones. What
/// they do not come by, since an operator that was killed did not say all that it had to say, has a run of its own.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kube-apiserver and etcd"]
async fn a_kill_at_any_write_changes_nothing_in_the_end() -> Result<()> {
    let fence = leader("kills").await?;
    let reference = undisturbed("undisturbed", &fence).await?;
    let is_full = std::env::var_os("E2E_FULL").is_some();
    let (steps, parts) = if is_full { (STEPS.len(), 1) } else { (USUAL_STEPS, PARTS) };
    let turn: usize = std::env::var("KILL_TURN").ok().map_or(Ok(0), |turn| turn.parse()).context("KILL_TURN")?;
    let of_step = |writes: &Vec<Write>| targets(writes).into_iter().skip(turn % parts).step_by(parts).collect();
    let all: Vec<Vec<Target>> = reference.writes.iter().take(steps).map(of_step).collect();
    let runs = STRIDE.div_ceil(parts);
    let every_nth =
        |begin: usize, step: usize| all.get(step).into_iter().flatten().skip(begin).step_by(runs).cloned().collect();
    let moments = [Moment::Before, Moment::After];
    let cases = moments.into_iter().flat_map(|moment| {
        (0..runs).map(move |begin| (moment, begin, format!("kills-{moment:?}-{begin}").to_lowercase()))
    });
    let cases: Vec<Case> = cases
        .map(|(moment, begin, name)| Case { name, moment, aims: std::array::from_fn(|step| every_nth(begin, step)) })
        .collect();
    let mut hit = run_all(&cases, &reference, &fence).await?;

    let wanted = moments.into_iter().flat_map(|moment| {
        let of = move |(step, targets): (usize, &Vec<Target>)| {
            targets.iter().cloned().map(move |target| (moment, step, target)).collect::<Vec<_>>()
        };
        all.iter().enumerate().flat_map(of)
    });
    let wanted: BTreeSet<(Moment, usize, Target)> = wanted.collect();
    let missed = wanted.difference(&hit).enumerate().map(|(number, (moment, step, target))| {
        let mut aims: [Vec<Target>; STEPS.len()] = Default::default();
        aims[*step].push(target.clone());
        Case { name: format!("kill-alone-{number}"), moment: *moment, aims }
    });
    let missed: Vec<Case> = missed.collect();
    let alone = run_all(&missed, &reference, &fence).await?;
    hit.extend(alone);
    println!(
        "the operator was killed before and after each of {} writes, one in {parts}, in {} runs and {} runs of one kill",
        wanted.len() / 2,
        cases.len(),
        missed.len()
    );
    ensure!(wanted.is_subset(&hit), "never killed at {:?}", wanted.difference(&hit).collect::<Vec<_>>());
    Ok(())
}

/// Operators with their watches and timers, each of which is killed right after its first write.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kube-apiserver and etcd"]
async fn operators_that_live_for_one_write_each_come_to_the_same_end() -> Result<()> {
    let fence = leader("short-lives").await?;
    let reference = undisturbed("long-life", &fence).await?;
    let mut stage = Stage::new("short-lives", &fence).await?;
    let mut lives = 0;
    for (index, step) in STEPS.into_iter().enumerate() {
        step.begin(&stage).await?;
        loop {
            let operator = stage.operator(Gate::killing(&Kills::at_every_write(Moment::After))).await?;
            // One that has looked at the pipeline three times and found it Ready each time has nothing to do.
            let mut since = None;
            let settled = stage
                .run(&operator, async |stage, moved| {
                    if moved || !stage.is_ready().await? {
                        since = None;
                        return Ok(None);
                    }
                    let since = *since.get_or_insert(operator.passes());
                    Ok((operator.passes() >= since + 2).then_some(()))
                })
                .await
                .with_context(|| format!("{step:?}, life {lives}"))?;
            if settled.is_some() {
                break;
            }
            lives += 1;
        }
        stage.world.ensure_safe().with_context(|| format!("{step:?}"))?;
        stage.world.ensure_claims_are_kept().await?;
        let differences = differences(&stage.snapshot().await?, &reference.ends[index]);
        ensure!(differences.is_empty(), "{step:?}: {}", differences.join("\n"));
    }
    println!("{lives} operators lived for one write each");
    ensure!(lives > 60, "only {lives} operators were killed");
    Ok(())
}

/// Negative control: an operator that holds every copy for one in sync restarts a broker too early, and that is seen.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kube-apiserver and etcd"]
async fn an_operator_that_does_not_look_at_copies_is_caught() -> Result<()> {
    let fence = leader("blind").await?;
    let mut stage = Stage::new("blind", &fence).await?;
    Step::Create.begin(&stage).await?;
    stage.settle().await?;
    stage.world.ensure_safe()?;
    Step::Change.begin(&stage).await?;
    let gate = Gate::default();
    let hands = Arc::new(stage.world.blind_hands(gate.clone()));
    let operator = stage.operator_with(Who::Operator, gate, hands).await?;
    stage.settle_with(operator, None).await?;
    let caught = stage.world.ensure_safe();
    ensure!(caught.is_err_and(|error| error.to_string().contains("has not caught up")), "nobody noticed");
    Ok(())
}

/// Negative control: what an operator deletes although it must not is seen, and so is a claim that is gone.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kube-apiserver and etcd"]
async fn a_write_too_many_is_caught() -> Result<()> {
    let fence = leader("too-many").await?;
    let mut stage = Stage::new("too-many", &fence).await?;
    stage.create("three", json!({})).await?;
    stage.settle().await?;
    stage.world.ensure_safe()?;
    stage.world.ensure_claims_are_kept().await?;

    let gate = Gate::default();
    let client = stage.server.gated(Who::Everybody, &gate).await?;
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &stage.namespace);
    claims.delete("data-users-kafka-0", &DeleteParams::default()).await?;
    stage.world.judge(&gate.committed());
    ensure!(stage.world.ensure_safe().is_err(), "nobody noticed that the operator deleted a claim");
    ensure!(stage.world.ensure_claims_are_kept().await.is_err(), "nobody noticed that a claim is gone");

    let mut stage = Stage::new("two-at-once", &fence).await?;
    stage.create("three", json!({})).await?;
    stage.settle().await?;
    let pods: Api<Pod> = Api::namespaced(stage.admin.clone(), &stage.namespace);
    for pod in ["users-kafka-0", "users-zookeeper-0"] {
        pods.delete(pod, &DeleteParams::default()).await?;
    }
    stage.world.tick().await?;
    let caught = stage.world.ensure_safe();
    ensure!(caught.is_err_and(|error| error.to_string().contains("away at once")), "nobody noticed that two are away");
    Ok(())
}
