//! Figures of an operator with many idle pipelines: its memory and its load, how soon it answers an edit, a restart and a
//! failover. `make bench-operator` runs it and prints them; it takes minutes, so that `.ci/test` leaves it out.
//!
//! The operator is the program itself, in a process of its own, and asks stores over the network (`wire`). What it writes
//! is read from the API server's audit log. Only counts decide: no write while nothing happens, none by a restart or a
//! failover. Times and memory are figures (docs/figures.md).

use std::fmt;
use std::io::{Read, Seek, SeekFrom};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::jiff::Timestamp;
use kube::api::DeleteParams;
use kube::{Api, Client};
use millrace_api::{Pipeline, StreamingPipeline, validate};
use millrace_operator::lease::Fence;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::server::{SYSTEM, Server, Who, free_ports, server};
use crate::stage::Stage;
use crate::world::World;
use crate::{Patience, eventually, wire};

/// The program that is measured.
const OPERATOR: &str = env!("CARGO_BIN_EXE_operator");
/// What every pipeline is.
const FIXTURE: &str = "one";
/// Namespaces that are made or moved on at once.
const CONCURRENCY: usize = 16;
/// How long nothing is written before a pipeline counts as idle: twice as long as the operator lets a ready one be.
const QUIET: Duration = Duration::from_secs(30);
/// Between two edits.
const BETWEEN_EDITS: Duration = Duration::from_millis(500);
/// Clock ticks in a second, as `/proc` counts CPU time.
const TICKS: f64 = 100.0;
/// The first two numbers of the pods' addresses; each pipeline has 256 behind them.
const NETWORK: Ipv4Addr = Ipv4Addr::new(127, 16, 0, 0);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes; make bench-operator runs it"]
async fn figures_of_many_idle_pipelines() -> Result<()> {
    let (count, edits, failovers) = (setting("PIPELINES", 1000)?, setting("EDITS", 200)?, setting("FAILOVERS", 5)?);
    let idle = Duration::from_secs(setting("IDLE_SECONDS", 600)? as u64);
    let server = server().await?;
    let mut audit = Audit::of(server);
    let mut figures = Figures::default();
    let _stores = wire::play(&model()?).await?;

    let mut stages = create(count).await?;
    let begun = Instant::now();
    let mut operator = Process::start(server, "operator-0").await?;
    settle_all(&mut stages).await?;
    figures.add(format!("{count} pipelines from nothing to Ready"), seconds(begun.elapsed()), "");
    quiet(&mut audit).await?;
    figures.add_memory("once all are Ready", &operator)?;

    idles(idle, &operator, &stages[0].admin, &mut audit, &mut figures).await?;
    what_is_gone_is_noticed(&mut stages[0], &mut audit).await?;

    let mut latencies = Vec::new();
    for number in 0..edits {
        latencies.push(edit(&mut stages[number % count], number, &mut audit).await?);
        tokio::time::sleep(BETWEEN_EDITS).await;
    }
    figures.add_latencies(latencies);
    figures.add_memory("after the edits", &operator)?;
    quiet(&mut audit).await?;

    let before = audit.written()?;
    let begun = Instant::now();
    operator.terminate().await?;
    operator = Process::start(server, "operator-1").await?;
    operator.catches_up(count).await?;
    figures.add("restart to caught up, the end of the former included", seconds(begun.elapsed()), "≤ 30 s");
    figures.add_memory("after the restart", &operator)?;

    let (mut leads, mut caught_up) = (Duration::ZERO, Duration::ZERO);
    for number in 0..failovers {
        let mut successor = Process::start(server, &format!("operator-{}", number + 2)).await?;
        eventually("a second operator stands by", async || Ok(successor.metrics().await.ok())).await?;
        let begun = Instant::now();
        operator.child.kill().await?;
        let is_leader = async || Ok(successor.leads().await.then_some(()));
        eventually("the second operator leads", is_leader).await?;
        leads = leads.max(begun.elapsed());
        successor.catches_up(count).await?;
        caught_up = caught_up.max(begun.elapsed());
        std::mem::swap(&mut operator, &mut successor);
    }
    figures.add(format!("leader killed to the next one's lead, longest of {failovers}"), seconds(leads), "≤ 15 s");
    figures.add(format!("leader killed to caught up, longest of {failovers}"), seconds(caught_up), "");
    quiet(&mut audit).await?;
    let written = audit.since(before);
    figures.add("writes of a restart and of the failovers", written.len().to_string(), "0");
    figures.print();
    let first = written.first().map(Written::to_string);
    ensure!(first.is_none(), "restarts and failovers wrote {} times, first {first:?}", written.len());
    Ok(())
}

fn setting(name: &str, usual: usize) -> Result<usize> {
    match std::env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name}={text} is not a number")),
        Err(_) => Ok(usual),
    }
}

fn model() -> Result<Pipeline> {
    let path = format!("{}/tests/fixtures/{FIXTURE}.yaml", env!("CARGO_MANIFEST_DIR"));
    let resource: StreamingPipeline = serde_yaml::from_str(&std::fs::read_to_string(path)?)?;
    validate(&resource, millrace_sql::judge).pipeline.context("the fixture is valid")
}

/// Makes namespaces with a pipeline each, whose pods will have addresses of this machine's loopback.
async fn create(count: usize) -> Result<Vec<Stage>> {
    let made = stream::iter(0..count).map(|number| async move {
        // What it asks before it writes is the process's own matter.
        let mut stage = Stage::new(&format!("figures-{number}"), &Fence::default()).await?;
        let network = Ipv4Addr::from_bits(NETWORK.to_bits() + u32::try_from(number * 256)?);
        stage.world = World::new(stage.admin.clone(), &stage.namespace).at(network);
        stage.create(FIXTURE, json!({})).await?;
        anyhow::Ok(stage)
    });
    made.buffered(CONCURRENCY).try_collect().await
}

/// Moves the worlds on until every pipeline is Ready and nothing moves.
async fn settle_all(stages: &mut [Stage]) -> Result<()> {
    let mut pending: Vec<&mut Stage> = stages.iter_mut().collect();
    let mut patience = Patience::default();
    while !pending.is_empty() {
        let ticked = stream::iter(pending).map(|stage| async move {
            let moved = stage.world.tick().await?;
            let is_settled = !moved && stage.is_ready().await?;
            anyhow::Ok((stage, moved, is_settled))
        });
        let ticked: Vec<(&mut Stage, bool, bool)> = ticked.buffer_unordered(CONCURRENCY).try_collect().await?;
        // As long as anything moves there is no reason to give up.
        if ticked.iter().any(|(_, moved, is_settled)| *moved || *is_settled) {
            patience = Patience::default();
        }
        pending = ticked.into_iter().filter(|(_, _, is_settled)| !is_settled).map(|(stage, ..)| stage).collect();
        patience.ensure(&format!("{} pipelines are Ready", pending.len()))?;
        tokio::time::sleep(Patience::LOOK).await;
    }
    Ok(())
}

async fn settle(stage: &mut Stage) -> Result<()> {
    let namespace = stage.namespace.clone();
    let settled = async || {
        let moved = stage.world.tick().await?;
        Ok((!moved && stage.is_ready().await?).then_some(()))
    };
    eventually(&format!("the pipeline of {namespace} is Ready"), settled).await
}

/// Waits until the operator has written nothing for a while.
async fn quiet(audit: &mut Audit) -> Result<()> {
    let still = async || {
        let before = audit.written()?;
        tokio::time::sleep(QUIET).await;
        Ok((audit.written()? == before).then_some(()))
    };
    eventually("the operator has nothing to write", still).await
}

/// Lets time pass in which nothing happens, and fails if anything was written.
async fn idles(
    idle: Duration,
    operator: &Process,
    admin: &Client,
    audit: &mut Audit,
    figures: &mut Figures,
) -> Result<()> {
    let (written, cpu, passes) = (audit.written()?, operator.cpu_seconds()?, operator.passes().await?);
    let (requests, begun) = (requests(admin).await?, Instant::now());
    tokio::time::sleep(idle).await;
    let (asked, took) = (self::requests(admin).await? - requests, begun.elapsed().as_secs_f64());
    let (cpu, passes) = (operator.cpu_seconds()? - cpu, operator.passes().await? - passes);
    audit.written()?;
    let written = audit.since(written);
    let while_idle = format!("while idle for {} s", idle.as_secs());
    figures.add(format!("writes {while_idle}"), written.len().to_string(), "0");
    figures.add(format!("passes a second {while_idle}"), format!("{:.1}", passes / took), "");
    figures.add("requests a second that the API server had then", format!("{:.0}", asked / took), "");
    figures.add("CPU of the operator then", format!("{:.1} s a minute", cpu * 60.0 / took), "");
    figures.add_memory("then", operator)?;
    let first = written.first().map(Written::to_string);
    if first.is_some() {
        figures.print();
    }
    ensure!(first.is_none(), "idle, it wrote {} times, first {first:?}", written.len());
    Ok(())
}

/// Negative control: one write is seen.
async fn what_is_gone_is_noticed(stage: &mut Stage, audit: &mut Audit) -> Result<()> {
    let begun = Timestamp::now();
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(stage.admin.clone(), &stage.namespace);
    budgets.delete("users-kafka", &DeleteParams::default()).await?;
    eventually("what is gone is made again", async || audit.first(&stage.namespace, begun)).await?;
    settle(stage).await
}

/// Changes a spec. Returns how many milliseconds later the API server had the operator's first write for it.
async fn edit(stage: &mut Stage, number: usize, audit: &mut Audit) -> Result<i64> {
    let begun = Timestamp::now();
    // Never the default, and never twice the same of one pipeline.
    stage.change(json!({"processor": {"maxInFlight": 1 + number % 1000}})).await?;
    let first = eventually("an edit is answered", async || audit.first(&stage.namespace, begun)).await?;
    settle(stage).await?;
    Ok(first.as_millisecond() - begun.as_millisecond())
}

/// Returns the requests that the API server has answered so far, to all clients.
async fn requests(admin: &Client) -> Result<f64> {
    let text = admin.request_text(axum::http::Request::get("/metrics").body(Vec::new())?).await?;
    Ok(sum(&text, "apiserver_request_total{"))
}

/// Returns the sum of the samples whose lines begin so.
fn sum(metrics: &str, begin: &str) -> f64 {
    let samples = metrics.lines().filter(|line| line.starts_with(begin));
    samples.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}

/// An operator as a process.
struct Process {
    child: Child,
    port: u16,
}

impl Process {
    /// Starts one. What it says is in `target/tmp/NAME.log`.
    async fn start(server: &Server, name: &str) -> Result<Self> {
        let [port] = free_ports()?;
        let log = std::fs::File::create(Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.log")))?;
        let mut command = Command::new(OPERATOR);
        command.args(["run", "--worker-image", "worker:1", "--operator-namespace", SYSTEM, "--identity", name]);
        command.args(["--http-port", &port.to_string()]);
        command.env("KUBECONFIG", server.kubeconfig(Who::Operator)?).env_remove("WATCH_NAMESPACE");
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        let child = command.spawn().with_context(|| format!("cannot run {OPERATOR}"))?;
        Ok(Self { child, port })
    }

    /// Ends it as Kubernetes does.
    async fn terminate(&mut self) -> Result<()> {
        let asked = Command::new("kill").args(["-TERM", &self.id()?.to_string()]).status().await?;
        ensure!(asked.success(), "the operator cannot be told to end");
        let ended = self.child.wait().await?;
        ensure!(ended.success(), "the operator ended with {ended}");
        Ok(())
    }

    /// Waits until it has judged every pipeline and found all Ready.
    async fn catches_up(&self, pipelines: usize) -> Result<()> {
        let (mut judged, mut patience) = (0, Patience::default());
        loop {
            let now = sum(&self.metrics().await.unwrap_or_default(), "millrace_pipeline_ready{") as usize;
            if now == pipelines {
                return Ok(());
            }
            if now > judged {
                (judged, patience) = (now, Patience::default());
            }
            patience.ensure(&format!("{pipelines} pipelines are judged, {judged} so far"))?;
            tokio::time::sleep(Patience::LOOK).await;
        }
    }

    async fn leads(&self) -> bool {
        sum(&self.metrics().await.unwrap_or_default(), "millrace_leader ") > 0.0
    }

    async fn passes(&self) -> Result<f64> {
        Ok(sum(&self.metrics().await?, "millrace_reconciles_total{road=\"pipelines\""))
    }

    async fn metrics(&self) -> Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: operator\r\nConnection: close\r\n\r\n").await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        Ok(text)
    }

    fn id(&self) -> Result<u32> {
        self.child.id().context("the operator has ended")
    }

    fn proc(&self, file: &str) -> Result<String> {
        Ok(std::fs::read_to_string(format!("/proc/{}/{file}", self.id()?))?)
    }

    /// Returns mebibytes: resident now, and at most so far.
    fn memory(&self) -> Result<(f64, f64)> {
        let status = self.proc("status")?;
        let mebibytes = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
            let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
            kibibytes.map(|kibibytes| kibibytes / 1024.0).with_context(|| format!("/proc has no {field}"))
        };
        Ok((mebibytes("VmRSS")?, mebibytes("VmHWM")?))
    }

    fn cpu_seconds(&self) -> Result<f64> {
        let stat = self.proc("stat")?;
        // The program's name may have spaces in it, and ends with the last parenthesis.
        let (_, fields) = stat.rsplit_once(')').context("/proc has a name in parentheses")?;
        let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
        Ok(ticks.sum::<Result<f64, _>>()? / TICKS)
    }
}

/// A write of the operator, whether it was refused or not.
struct Written {
    /// When the API server had it.
    at: Timestamp,
    verb: String,
    path: String,
    namespace: String,
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.path)
    }
}

/// What the API server noted of the operator's writes, but for its Lease and what is only tried.
struct Audit {
    log: PathBuf,
    /// Bytes of it that were read.
    read: u64,
    writes: Vec<Written>,
}

impl Audit {
    fn of(server: &Server) -> Self {
        Self { log: server.audit_log(), read: 0, writes: Vec::new() }
    }

    /// Reads what has been noted since the last look. Returns how many writes there were so far.
    fn written(&mut self) -> Result<usize> {
        let mut new = Vec::new();
        // There is none before the first write.
        if let Ok(mut log) = std::fs::File::open(&self.log) {
            log.seek(SeekFrom::Start(self.read))?;
            log.read_to_end(&mut new)?;
        }
        // A line that is being written is left for the next look.
        let whole = new.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        for line in new[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let event: Value = serde_json::from_slice(line).context("the audit log has a line that is not JSON")?;
            let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
            let path = text("/requestURI");
            if text("/objectRef/resource") == "leases" || path.contains("dryRun=All") {
                continue;
            }
            let at = text("/requestReceivedTimestamp").parse().context("the audit log has times")?;
            self.writes.push(Written { at, verb: text("/verb"), path, namespace: text("/objectRef/namespace") });
        }
        self.read += whole as u64;
        Ok(self.writes.len())
    }

    /// Returns the writes from a number on.
    fn since(&self, number: usize) -> &[Written] {
        &self.writes[number..]
    }

    /// Returns when the first write in a namespace came at or after a moment. `None`: none has.
    fn first(&mut self, namespace: &str, moment: Timestamp) -> Result<Option<Timestamp>> {
        self.written()?;
        let there = self.writes.iter().filter(|written| written.namespace == namespace && written.at >= moment);
        Ok(there.map(|written| written.at).min())
    }
}

/// What was measured, with what is wanted of it.
#[derive(Default)]
struct Figures(Vec<[String; 3]>);

impl Figures {
    fn add(&mut self, what: impl Into<String>, measured: impl Into<String>, wanted: &str) {
        self.0.push([what.into(), measured.into(), wanted.to_owned()]);
    }

    fn add_memory(&mut self, when: &str, operator: &Process) -> Result<()> {
        let (resident, most) = operator.memory()?;
        let measured = format!("{resident:.0} MiB, {most:.0} MiB");
        self.add(format!("operator resident {when}, most until then"), measured, "≤ 64 MiB");
        Ok(())
    }

    fn add_latencies(&mut self, mut milliseconds: Vec<i64>) {
        milliseconds.sort_unstable();
        let Some(last) = milliseconds.last().copied() else { return };
        let at = |share: usize| milliseconds[(milliseconds.len() * share / 100).min(milliseconds.len() - 1)];
        let measured = format!("{} ms, {} ms, {last} ms", at(50), at(99));
        self.add(format!("{} edits to the first write: p50, p99, longest", milliseconds.len()), measured, "p99 ≤ 1 s");
    }

    fn print(&self) {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        println!("\n{cores} cores, the API server and the played stores on the same machine\n");
        println!("| what | measured | wanted |\n|---|---|---|");
        self.0.iter().for_each(|[what, measured, wanted]| println!("| {what} | {measured} | {wanted} |"));
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
