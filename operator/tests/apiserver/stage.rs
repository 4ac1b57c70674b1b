//! One namespace with its world and its pipeline, and the operators that walk in it, pass by pass.
//!
//! Passes and ticks take turns, so that the n-th write is the same write in every run, and a run that is killed there is
//! like the undisturbed one up to it. What calls passes in a cluster, watches and timers, is walked by `idle`, `fencing`
//! and the last test of `kills`.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use millrace_api::StreamingPipeline;
use millrace_api::names::Names;
use millrace_operator::compiler::Compiler;
use millrace_operator::context::Context;
use millrace_operator::hands::Hands;
use millrace_operator::key::OperatorKey;
use millrace_operator::lease::{Fence, Leadership};
use millrace_operator::objects::scope::Administration;
use millrace_operator::server::Readiness;
use millrace_operator::telemetry::{Ended, Telemetry};
use millrace_operator::{controller, runs, schedules};
use millrace_stores::permitted::Permitted;
use serde_json::{Value, json};

use crate::Patience;
use crate::gate::{Gate, Kills, Write};
use crate::server::{Server, Who, make_namespace, server};
use crate::snapshot::{self, Snapshot};
use crate::world::{PIPELINE, World};

/// The program that compiles queries.
const OPERATOR: &str = env!("CARGO_BIN_EXE_operator");
/// More passes than any phase here needs.
const ENOUGH: usize = 200;

/// A namespace.
pub struct Stage {
    pub server: &'static Server,
    pub admin: Client,
    pub namespace: String,
    pub world: World,
    /// What its operators ask before they write.
    pub fence: Fence,
}

/// An operator process.
pub struct Operator {
    pub gate: Gate,
    pub ctx: Context,
}

impl Operator {
    /// Returns how many passes have ended well so far, those of the whole operator.
    pub fn passes(&self) -> u64 {
        let text = self.ctx.telemetry.render();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("millrace_reconciles_total{road=\"pipelines\",outcome=\"done\"} "));
        line.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
    }
}

/// What a phase took.
#[derive(Debug, Default)]
pub struct Phase {
    /// Writes of all operators, in order.
    pub writes: Vec<Write>,
    /// Passes until all was done.
    pub passes: usize,
}

impl Stage {
    /// Makes a namespace and its world. `fence` must stay open: see [`leader`].
    pub async fn new(namespace: &str, fence: &Fence) -> Result<Self> {
        let server = server().await?;
        let admin = server.client(Who::Everybody).await?;
        make_namespace(&admin, namespace).await?;
        let world = World::new(admin.clone(), namespace);
        Ok(Self { server, admin, namespace: namespace.to_owned(), world, fence: fence.clone() })
    }

    /// Starts an operator with the chart's rights.
    pub async fn operator(&self, gate: Gate) -> Result<Operator> {
        let hands = Arc::new(self.world.hands(gate.clone()));
        self.operator_with(Who::Operator, gate, hands).await
    }

    /// Starts an operator with other rights or hands.
    pub async fn operator_with(&self, who: Who, gate: Gate, hands: Arc<dyn Hands>) -> Result<Operator> {
        let client = self.server.gated(who, &gate).await?;
        let telemetry = Telemetry::default();
        let mut ctx = Context::new(client, "operator".to_owned(), administration(), telemetry, self.fence.clone());
        ctx.compiler = Compiler::of(OPERATOR);
        ctx.hands = hands;
        Ok(Operator { gate, ctx })
    }

    /// Creates the pipeline of a fixture, with a change to it.
    pub async fn create(&self, fixture: &str, change: Value) -> Result<()> {
        let path = format!("{}/tests/fixtures/{fixture}.yaml", env!("CARGO_MANIFEST_DIR"));
        let mut resource: Value = serde_yaml::from_str(&std::fs::read_to_string(path)?)?;
        resource["metadata"] = json!({"name": PIPELINE, "namespace": self.namespace});
        merge(&mut resource, change);
        let resource: StreamingPipeline = serde_json::from_value(resource)?;
        self.pipelines().create(&PostParams::default(), &resource).await.context("cannot create the pipeline")?;
        Ok(())
    }

    /// Changes the pipeline's spec.
    pub async fn change(&self, spec: Value) -> Result<()> {
        let patch = Patch::Merge(json!({"spec": spec}));
        self.pipelines()
            .patch(PIPELINE, &PatchParams::default(), &patch)
            .await
            .context("cannot change the pipeline")?;
        Ok(())
    }

    /// Deletes the pipeline.
    pub async fn delete(&self) -> Result<()> {
        self.pipelines().delete(PIPELINE, &DeleteParams::default()).await.context("cannot delete the pipeline")?;
        Ok(())
    }

    /// Lets an operator pass and the world tick until nothing is left to do.
    pub async fn settle(&mut self) -> Result<Phase> {
        let operator = self.operator(Gate::default()).await?;
        self.settle_with(operator, None).await
    }

    /// The same with an operator that is killed, and another in its place, and so on.
    pub async fn settle_killed(&mut self, kills: &Kills) -> Result<Phase> {
        let operator = self.operator(Gate::killing(kills)).await?;
        self.settle_with(operator, Some(kills)).await
    }

    /// The same with an operator that was started already.
    pub async fn settle_with(&mut self, mut operator: Operator, kills: Option<&Kills>) -> Result<Phase> {
        let mut phase = Phase::default();
        for _ in 0..ENOUGH {
            let before = operator.gate.committed().len();
            let ended = self.pass(&operator).await?;
            let new = operator.gate.committed().split_off(before);
            self.world.judge(&new);
            let is_quiet = new.is_empty();
            phase.writes.extend(new);
            phase.passes += 1;
            if ended.is_none() {
                operator = self.operator(kills.map_or_else(Gate::default, Gate::killing)).await?;
            }
            let moved = self.world.tick().await?;
            let is_over = match ended {
                Some(Ended::Done) => self.is_ready().await?,
                Some(Ended::Gone) => true,
                Some(Ended::Failed | Ended::Rejected) | None => false,
            };
            if is_over && is_quiet && !moved {
                return Ok(phase);
            }
        }
        let status = self.pipelines().get_opt(PIPELINE).await?.and_then(|pipeline| pipeline.status);
        bail!("not settled after {ENOUGH} passes; the status is {}", serde_json::to_string(&status)?);
    }

    /// Walks the road once. `None`: the operator was killed on it.
    pub async fn pass(&self, operator: &Operator) -> Result<Option<Ended>> {
        let names = Names::new(&self.namespace, PIPELINE);
        tokio::select! {
            biased;
            () = operator.gate.killed() => Ok(None),
            passed = controller::pass(&operator.ctx, &names) => Ok(Some(passed?.ended)),
        }
    }

    /// Returns whether the current spec is Ready, or suspended as it asks for.
    pub async fn is_ready(&self) -> Result<bool> {
        let Some(pipeline) = self.pipelines().get_opt(PIPELINE).await? else { return Ok(false) };
        let conditions = pipeline.status.map(|status| status.conditions).unwrap_or_default();
        let generation = pipeline.metadata.generation;
        let mut current =
            conditions.iter().filter(|found| found.status == "True" && found.observed_generation == generation);
        Ok(current.any(|found| ["Ready", "Suspended"].contains(&found.type_.as_str())))
    }

    /// Returns the objects as they are, after a look at what a snapshot leaves out.
    pub async fn snapshot(&self) -> Result<Snapshot> {
        self.ensure_bases_agree().await?;
        snapshot::take(&self.admin, &self.namespace).await
    }

    /// Fails unless the processors write with the bases that the status has: with others, a replay would not write the
    /// same cells.
    async fn ensure_bases_agree(&self) -> Result<()> {
        let Some(pipeline) = self.pipelines().get_opt(PIPELINE).await? else { return Ok(()) };
        let topics = pipeline.status.and_then(|status| status.kafka).map(|kafka| kafka.topics).unwrap_or_default();
        let bases: BTreeMap<String, i64> =
            topics.into_iter().map(|topic| (topic.name, topic.write_timestamp_base)).collect();
        let maps: Api<k8s_openapi::api::core::v1::ConfigMap> = Api::namespaced(self.admin.clone(), &self.namespace);
        let settings = maps.get_opt(&format!("{PIPELINE}-processor")).await?.and_then(|map| map.data);
        let Some(settings) = settings.and_then(|mut files| files.remove("process.yaml")) else { return Ok(()) };
        let settings: Value = serde_yaml::from_str(&settings)?;
        for query in settings["queries"].as_array().into_iter().flatten() {
            let topic = query["from"].as_str().unwrap_or_default();
            let base = query["writeTimestampBase"].as_i64();
            ensure!(base == bases.get(topic).copied(), "'{topic}' is written with {base:?}, the status has {bases:?}");
        }
        Ok(())
    }

    /// Runs a whole operator, with its watches and timers, until it is killed. `while_it_runs` looks on meanwhile, once after
    /// each tick of the world, and ends it by returning something.
    pub async fn run<T>(
        &mut self,
        operator: &Operator,
        mut while_it_runs: impl AsyncFnMut(&Self, bool) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let namespace = Some(self.namespace.clone());
        let ctx = operator.ctx.clone();
        let whole = async move {
            tokio::join!(
                controller::run(ctx.clone(), namespace.clone(), Readiness::default()),
                runs::run(ctx.clone(), namespace.clone()),
                schedules::run(ctx, namespace),
            )
        };
        let looking_on = async {
            let patience = Patience::default();
            loop {
                let moved = self.world.tick().await?;
                if let Some(found) = while_it_runs(&*self, moved).await? {
                    return Ok(found);
                }
                patience.ensure("the operator gets there")?;
                tokio::time::sleep(Patience::LOOK).await;
            }
        };
        tokio::select! {
            biased;
            () = operator.gate.killed() => Ok(None),
            _ = whole => bail!("the operator ended by itself"),
            found = looking_on => found.map(Some),
        }
    }

    pub fn pipelines(&self) -> Api<StreamingPipeline> {
        Api::namespaced(self.admin.clone(), &self.namespace)
    }
}

/// Returns an open fence, which is kept open for as long as the test's runtime lives: the leader's of a Lease of its own.
pub async fn leader(lease: &str) -> Result<Fence> {
    let client = server().await?.client(Who::Everybody).await?;
    let leadership = Leadership::new(client, "default", lease, "the-tests");
    leadership.acquire().await;
    let fence = leadership.fence();
    // A machine that stands still for long loses the Lease, and has it again at once.
    tokio::spawn(async move {
        loop {
            leadership.hold().await;
            leadership.acquire().await;
        }
    });
    Ok(fence)
}

pub fn administration() -> Administration {
    Administration {
        worker_image: "worker:1".to_owned(),
        allowed_source_hosts: Vec::new(),
        operator_namespace: "millrace-system".to_owned(),
        allowed_stores: Permitted::default(),
        image_pull_secrets: Vec::new(),
        worker_env: BTreeMap::new(),
        key: OperatorKey::of([7; 32]),
    }
}

/// Lays a change over a value, as a merge patch does.
fn merge(value: &mut Value, change: Value) {
    match (value, change) {
        (Value::Object(fields), Value::Object(changes)) => {
            for (key, change) in changes {
                merge(fields.entry(key).or_insert(Value::Null), change);
            }
        }
        (value, change) => *value = change,
    }
}
