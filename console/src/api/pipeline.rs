//! Pipelines: the list, and one as a graph with its rates and the sentence that says why.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Moment;
use super::sources::SourceView;

/// Which pipelines are wanted.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
pub struct Wanted {
    /// Only those of this namespace. Absent: all that the viewer may list.
    pub namespace: Option<String>,
}

/// All pipelines that the viewer may list.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pipelines {
    /// The pipelines, by namespace and name.
    pub pipelines: Vec<PipelineSummary>,
    /// Namespaces of the release's scope. Empty: all namespaces.
    pub scope: Vec<String>,
    /// Namespaces whose pipelines the viewer may not list; `*`: not across all namespaces, so that only those of
    /// namespaces that were asked for by name, or that are in `scope`, are shown.
    pub forbidden: Vec<String>,
    /// What could not be read, with its cause. `null`: nothing.
    pub problem: Option<String>,
}

/// One line of the list of pipelines.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PipelineSummary {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// When it was created.
    #[schemars(with = "Moment")]
    pub created: DateTime<Utc>,
    /// How it is.
    pub state: State,
    /// The condition `Ready`. `null`: the operator has not said yet.
    pub ready: Option<Condition>,
    /// The operator's phase: Creating, Running, Degraded or Invalid. `null`: it has not said yet.
    pub phase: Option<String>,
    /// Members of each component.
    pub components: Vec<ComponentSummary>,
    /// Records that no processor has committed. `null`: unknown.
    pub lag_records: Option<f64>,
    /// How old the oldest of them is, in seconds. `null`: unknown.
    pub lag_seconds: Option<f64>,
    /// Records acknowledged by Kafka a second. `null`: unknown.
    pub in_rate: Option<f64>,
    /// Rows acknowledged by Cassandra a second. `null`: unknown.
    pub out_rate: Option<f64>,
    /// Errors a second, all stages together. `null`: unknown.
    pub error_rate: Option<f64>,
    /// Sources whose schedule is paused.
    pub paused_sources: Vec<String>,
    /// Lag in records over the last ten minutes, 30 s apart, oldest first; `null` where unknown.
    pub lag_sparkline: Vec<Option<f32>>,
}

/// Members of a component.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ComponentSummary {
    /// Which component.
    pub component: Component,
    /// Members that are ready by their data-plane facts. `null`: unknown.
    pub ready: Option<u32>,
    /// Members that are wanted. `null`: unknown.
    pub desired: Option<u32>,
}

/// The components of a pipeline.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize, JsonSchema)]
pub enum Component {
    /// The ZooKeeper ensemble.
    ZooKeeper,
    /// The brokers.
    Kafka,
    /// The Cassandra nodes.
    Cassandra,
    /// The pods that fetch sources.
    Producer,
    /// The pods that write tables.
    Processor,
}

/// How something is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, JsonSchema)]
pub enum State {
    /// As it should be.
    Ok,
    /// It is being made, or waits for another part.
    Waiting,
    /// It works, but not fully or not without errors.
    Degraded,
    /// It does not work.
    Failed,
    /// Somebody has paused it.
    Paused,
    /// Wanted with no replica.
    Empty,
    /// Unknown: the operator could not look.
    Unknown,
}

/// A condition as Kubernetes has it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Type, such as `KafkaReady`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Stable reason.
    pub reason: String,
    /// What a person can act on.
    pub message: String,
    /// Since when it is so.
    #[schemars(with = "Moment")]
    pub since: DateTime<Utc>,
}

/// One pipeline.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PipelineView {
    /// What the list says of it.
    pub summary: PipelineSummary,
    /// Its conditions.
    pub conditions: Vec<Condition>,
    /// The graph.
    pub graph: Graph,
    /// Why it is as it is.
    pub why: Why,
    /// The golden signals of each stage, over the last minute.
    pub signals: Vec<StageSignals>,
    /// Its sources.
    pub sources: Vec<SourceView>,
    /// How the number of processors follows the load. `null`: it does not, or the operator has not said yet.
    pub scaling: Option<ScalingView>,
    /// Its dead-letter topic.
    pub dead_letter_topic: String,
    /// What the operator is about to do, or waits to do.
    pub planned_actions: Vec<String>,
    /// Changes that would disturb a store, and whether they are approved. `null`: there are none.
    pub plan: Option<Plan>,
    /// What the viewer may do.
    pub rights: Rights,
    /// Names of fields whose values the viewer sees masked.
    pub masked_fields: Vec<String>,
    /// Generation of the resource that was read.
    pub generation: i64,
    /// Generation that the operator speaks of. `null`: it has not said yet.
    pub observed_generation: Option<i64>,
    /// The command that shows the same.
    pub kubectl: String,
}

/// Changes that would disturb a store.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, JsonSchema)]
pub struct Plan {
    /// Identifies what the plan leads to.
    pub hash: String,
    /// Whether it is approved.
    pub approved: bool,
    /// When it began to wait, or to be carried out.
    #[schemars(with = "Moment")]
    pub since: DateTime<Utc>,
    /// What it changes.
    pub actions: Vec<String>,
}

/// How the number of processors follows the load.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScalingView {
    /// Whether the operator sets the number; otherwise it recommends one.
    pub automatic: bool,
    /// Fewest processors.
    pub min: i32,
    /// Most processors.
    pub max: i32,
    /// How many there shall be right now.
    pub current: i32,
    /// How many the load needs.
    pub recommended: i32,
    /// Why, in one word.
    pub reason: String,
    /// Why, in a sentence.
    pub message: String,
    /// Since when it is so.
    #[schemars(with = "Moment")]
    pub since: DateTime<Utc>,
    /// The last change of the number. `null`: there was none.
    pub last: Option<ScaledView>,
}

/// A change of the number of processors.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScaledView {
    /// When.
    #[schemars(with = "Moment")]
    pub time: DateTime<Utc>,
    /// Number before.
    pub from: i32,
    /// Number after.
    pub to: i32,
    /// Why, in a sentence.
    pub message: String,
}

/// What the viewer may do with a pipeline. `null`: could not be asked.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rights {
    /// Read messages: `get streamingpipelines/messages`.
    pub messages: Option<bool>,
    /// Read rows: `get streamingpipelines/rows`.
    pub rows: Option<bool>,
    /// See masked fields: `get streamingpipelines/unmasked`.
    pub unmasked: Option<bool>,
    /// Read logs: `get pods/log`.
    pub logs: Option<bool>,
    /// Read runs: `list ingestionruns`.
    pub runs: Option<bool>,
    /// Trigger, rerun and backfill: `create ingestionruns`.
    pub trigger: Option<bool>,
    /// Cancel: `patch ingestionruns`.
    pub cancel: Option<bool>,
    /// Pause and resume: `patch streamingpipelines`.
    pub pause: Option<bool>,
    /// Redrive dead letters, with the right to messages: `create pods/exec`.
    pub redrive: Option<bool>,
}

/// A pipeline as a graph; it has no cycles.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Graph {
    /// The nodes.
    pub nodes: Vec<Node>,
    /// The edges.
    pub edges: Vec<Edge>,
}

/// A node of the graph.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// Identity within the graph, such as `topic/users_created`.
    pub id: String,
    /// What it is.
    pub kind: NodeKind,
    /// Name of the source, topic, query, table or store.
    pub name: String,
    /// The component whose pods do its work.
    pub component: Component,
    /// How it is.
    pub state: State,
    /// Reason of the condition that says so. `null`: none does.
    pub reason: Option<String>,
    /// What a person can act on. `null`: nothing.
    pub message: Option<String>,
    /// Members that are ready. `null`: unknown.
    pub ready: Option<u32>,
    /// Members that are wanted. `null`: unknown.
    pub desired: Option<u32>,
    /// Records or rows in a second, over the last minute. `null`: unknown.
    pub in_rate: Option<f64>,
    /// Records or rows out a second, over the last minute. `null`: unknown.
    pub out_rate: Option<f64>,
    /// Errors a second, over the last minute. `null`: unknown.
    pub error_rate: Option<f64>,
    /// Records that wait in front of it: of a query, its lag. `null`: unknown, or not a query.
    pub lag_records: Option<f64>,
    /// One line of detail, such as `6 partitions` or `every 10s`.
    pub detail: String,
}

/// Kinds of nodes.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, JsonSchema)]
pub enum NodeKind {
    /// Where records come from.
    Source,
    /// A topic.
    Topic,
    /// A query of the processor.
    Query,
    /// A table.
    Table,
    /// The topic of records that no query could use.
    DeadLetters,
    /// ZooKeeper, Kafka or Cassandra.
    Store,
}

/// An edge of the graph.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Edge {
    /// Identity of the node it leaves.
    pub from: String,
    /// Identity of the node it enters.
    pub to: String,
    /// What it stands for.
    pub kind: EdgeKind,
    /// Records a second that go along it. `null`: unknown, or not a flow.
    pub rate: Option<f64>,
}

/// Kinds of edges.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, JsonSchema)]
pub enum EdgeKind {
    /// Records go along it.
    Flow,
    /// The upper node is kept by the store below.
    RestsOn,
}

/// Why a pipeline is as it is.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Why {
    /// How the pipeline is.
    pub state: State,
    /// One sentence.
    pub sentence: String,
    /// What holds it up, worst first. Empty: nothing does.
    pub bottlenecks: Vec<Bottleneck>,
    /// What cannot be known right now, with its cause. Empty: nothing.
    pub unknown: Vec<String>,
}

/// Something that holds a pipeline up.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Bottleneck {
    /// Identity of the node in the graph. `null`: the pipeline as a whole.
    pub node: Option<String>,
    /// How bad it is, from 0 to 1.
    pub severity: f64,
    /// Which way it goes, of a lag. `null`: unknown, or not a lag.
    pub trend: Option<Trend>,
    /// What is the matter, in one sentence.
    pub message: String,
}

/// Which way a lag goes, from one minute to the next.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, JsonSchema)]
pub enum Trend {
    /// More records wait than a minute ago.
    Growing,
    /// About as many as a minute ago.
    Steady,
    /// Fewer than a minute ago.
    Shrinking,
}

/// A stage of a pipeline.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, JsonSchema)]
pub enum Stage {
    /// Fetching a source and sending it to Kafka.
    Source,
    /// From Kafka to rows.
    Processor,
    /// Writing to Cassandra.
    Sink,
}

/// The golden signals of a stage, over the last minute. Each is `null` where unknown or without meaning for the stage.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StageSignals {
    /// The stage.
    pub stage: Stage,
    /// Name of the source; of the other stages the pipeline's.
    pub name: String,
    /// Records in a second.
    pub in_rate: Option<f64>,
    /// Records or rows out a second.
    pub out_rate: Option<f64>,
    /// Errors a second: refused records and failed requests.
    pub error_rate: Option<f64>,
    /// Half of the requests take no longer, in seconds.
    pub p50_seconds: Option<f64>,
    /// All but one in a hundred take no longer, in seconds.
    pub p99_seconds: Option<f64>,
    /// Share of time spent working, from 0 to 1.
    pub busy: Option<f64>,
    /// Share of time without a record.
    pub idle: Option<f64>,
    /// Share of time spent waiting for the next stage.
    pub back_pressured: Option<f64>,
    /// From handing a record to Kafka until its row is readable, median, in seconds.
    pub age_p50_seconds: Option<f64>,
    /// The same for all but one in a hundred.
    pub age_p99_seconds: Option<f64>,
    /// Why values are unknown. `null`: none is, or they have no meaning for the stage.
    pub unknown: Option<String>,
}
