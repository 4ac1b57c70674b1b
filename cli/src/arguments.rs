//! What is typed. Flags that only a source declares become `--param NAME=VALUE` before anything is parsed: `params.rs`.

mod params;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use millrace_api::names;
use millrace_api::replay::ReplayFrom;
use millrace_terms::Duration;

use crate::screen::Format;
use params::with_params;

const EXIT_CODES: &str = "Exit codes: 0 success; 1 a problem was found: a pipeline that is not ready, an invalid file, \
                          a run that failed, a check that failed; 2 invalid arguments, or an object that does not \
                          exist; 3 the cluster cannot be reached, or access is forbidden.";

const EXPLAIN_EXAMPLES: &str = "Examples:
  millrace explain users            why it is not ready or slow, and the command that helps
  millrace explain users -o json    the same as fields: verdict, cause, since, evidence, fix";
const CHECK_EXAMPLES: &str = "Examples:
  millrace check                          before helm install, and after it
  millrace check -n shop                  for pipelines in the namespace 'shop'
  millrace check --storage-class fast     for pipelines whose volumes are of the class 'fast'";
const PLAN_EXAMPLES: &str = "Examples:
  millrace plan users.yaml             what would change, and what it restarts
  kustomize build . | millrace plan -  the same of what another program renders";
const HOLD_EXAMPLES: &str = "Examples:
  millrace hold users       no pod of a store that serves is restarted
  millrace release users    ends the hold";
const APPROVE_EXAMPLES: &str = "Examples:
  millrace approve users                           shows the plan and asks
  millrace approve users --yes --plan 0a1b2c3d     approves this plan and no other, without asking";
const RESTART_EXAMPLES: &str = "Examples:
  millrace restart users --component kafka        one broker at a time, at full strength only
  millrace restart users --component processor    all by a rolling update";
const SUSPEND_EXAMPLES: &str = "Examples:
  millrace suspend users                  stops producers, waits until all records are written, shows the proof
  millrace suspend users --timeout 30m    waits at most this long; the pipeline continues to drain
  millrace suspend users --no-wait        asks for it and returns
  millrace unsuspend users                starts everything again, and waits until the pipeline is ready";
const REPORT_EXAMPLES: &str = "Examples:
  millrace report users                        writes millrace-NAMESPACE-users-TIME.zip
  millrace report users --file r.zip --lines 5000";

const REPLAY_EXAMPLES: &str = "Examples:
  millrace replay users --topic users_created --from earliest --dry-run
                                      which records of each partition would be read again, and what that means
  millrace replay users --topic users_created --from 2026-01-31T12:00:00Z
                                      those that are not older than this";

/// Looks at Millrace pipelines and runs their sources, with your own rights.
#[derive(Clone, Debug, Parser)]
#[command(name = "millrace", version, about, after_help = EXIT_CODES, propagate_version = true)]
pub struct Arguments {
    /// What holds for every command.
    #[command(flatten)]
    pub common: Common,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What holds for every command.
#[derive(Args, Clone, Debug, Default)]
pub struct Common {
    /// Namespace. Default: that of the kubeconfig context.
    #[arg(short, long, global = true, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Context of the kubeconfig. Default: the current context.
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// Output format.
    #[arg(short, long, global = true, value_enum, default_value_t)]
    pub output: Format,
}

/// A command.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Show what is ready, and if not, why: the readiness chain as a tree.
    Status(Status),
    /// Show why a pipeline is not ready or slow, the evidence, and the command that helps.
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain(OfPipeline),
    /// Check whether the cluster can run Millrace, before it is installed and afterwards.
    #[command(after_help = CHECK_EXAMPLES)]
    Check(Check),
    /// Show what a file would change and restart if it were applied; changes nothing.
    #[command(after_help = PLAN_EXAMPLES)]
    Plan(Plan),
    /// Show how far the processors are behind, by partition, in records and time.
    Lag(OfPipeline),
    /// Show records of a topic, the newest first.
    Peek(Peek),
    /// Show new records of a topic, until you stop it.
    Tail(Tail),
    /// Show rows of a table.
    Rows(Rows),
    /// Show what the pods of a pipeline have logged.
    Logs(Logs),
    /// Check files against the rules of admission and of the operator, without a cluster.
    Validate(Validate),
    /// Run a source once. Params of the source can be given as flags: --day 2026-01-31.
    Trigger(Trigger),
    /// List, show and cancel runs.
    Runs(Runs),
    /// Run a source for each step of a range of time.
    Backfill(Backfill),
    /// Pause a schedule: its due times pass without a run.
    Pause(OneSource),
    /// Resume a schedule.
    Resume(OneSource),
    /// Hold restarts of the stores' pods; everything else continues.
    #[command(after_help = HOLD_EXAMPLES)]
    Hold(OfPipeline),
    /// Let the stores' pods be restarted again.
    #[command(after_help = HOLD_EXAMPLES)]
    Release(OfPipeline),
    /// Approve the plan that waits in the status.
    #[command(after_help = APPROVE_EXAMPLES)]
    Approve(Approve),
    /// Restart the pods of a component in order.
    #[command(after_help = RESTART_EXAMPLES)]
    Restart(Restart),
    /// Read records of a topic again, so that their rows are written again.
    #[command(after_help = REPLAY_EXAMPLES)]
    Replay(Replay),
    /// Stop producers, write all records that are left, and stop processors; the stores stay up.
    #[command(after_help = SUSPEND_EXAMPLES)]
    Suspend(Suspend),
    /// Start the workers of a suspended pipeline again.
    #[command(after_help = SUSPEND_EXAMPLES)]
    Unsuspend(Suspend),
    /// Write a zip file with everything that a remote helper needs, without secrets.
    #[command(after_help = REPORT_EXAMPLES)]
    Report(Report),
    /// Open the console through a port-forward, and print its address.
    Console(Console),
    /// Print the completion script of a shell.
    Completion {
        /// The shell.
        shell: Shell,
    },
}

/// Flags of `status`.
#[derive(Args, Clone, Debug)]
pub struct Status {
    /// The pipeline. Default: all pipelines of the namespace.
    pub pipeline: Option<String>,
    /// All namespaces.
    #[arg(short = 'A', long, conflicts_with = "pipeline")]
    pub all_namespaces: bool,
}

/// A pipeline.
#[derive(Args, Clone, Debug)]
pub struct OfPipeline {
    /// The pipeline. Optional if there is only one.
    pub pipeline: Option<String>,
}

/// Flags of `check`.
#[derive(Args, Clone, Debug)]
pub struct Check {
    /// Namespace where Millrace is or will be installed.
    #[arg(long, default_value = "millrace-system", value_name = "NAME")]
    pub release_namespace: String,
    /// StorageClass that pipelines name. Default: the default class.
    #[arg(long, value_name = "NAME")]
    pub storage_class: Option<String>,
}

/// Flags of `plan`.
#[derive(Args, Clone, Debug)]
pub struct Plan {
    /// File with a StreamingPipeline; `-` is standard input.
    pub file: PathBuf,
}

/// Flags of `approve`.
#[derive(Args, Clone, Debug)]
pub struct Approve {
    /// The pipeline. Optional if there is only one.
    pub pipeline: Option<String>,
    /// Approve only the plan with this hash.
    #[arg(long, value_name = "HASH")]
    pub plan: Option<String>,
    /// Approve without asking.
    #[arg(short, long)]
    pub yes: bool,
}

/// Flags of `restart`.
#[derive(Args, Clone, Debug)]
pub struct Restart {
    /// The pipeline. Optional if there is only one.
    pub pipeline: Option<String>,
    /// Component whose pods are restarted: zookeeper, kafka, cassandra, processor or producer.
    #[arg(long, value_name = "COMPONENT", value_parser = component)]
    pub component: names::Component,
}

/// Flags of `replay`.
#[derive(Args, Clone, Debug)]
pub struct Replay {
    /// The pipeline; may be left out where there is only one.
    pub pipeline: Option<String>,
    /// Topic whose records are read again, by all its queries.
    #[arg(long, value_name = "TOPIC")]
    pub topic: String,
    /// Where to begin in each partition: earliest, an offset, or a time such as 2026-01-31T12:00:00Z.
    #[arg(long, value_name = "TIME|OFFSET|earliest", value_parser = replay_from)]
    pub from: ReplayFrom,
    /// Identifies the request, which is carried out once; the time of the request otherwise.
    #[arg(long, value_name = "NAME", conflicts_with = "dry_run")]
    pub nonce: Option<String>,
    /// Show what would be read again, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// Flags of `suspend` and `unsuspend`.
#[derive(Args, Clone, Debug)]
pub struct Suspend {
    /// The pipeline; may be left out where there is only one.
    pub pipeline: Option<String>,
    /// Do not wait for the end.
    #[arg(long, conflicts_with = "timeout")]
    pub no_wait: bool,
    /// Longest to wait, such as 30m; without it, there is no limit. The pipeline continues afterwards.
    #[arg(long, value_name = "DURATION")]
    pub timeout: Option<Duration>,
}

/// Flags of `report`.
#[derive(Args, Clone, Debug)]
pub struct Report {
    /// The pipeline; may be left out where there is only one.
    pub pipeline: Option<String>,
    /// The zip file to write; it must not exist. One called after pipeline and time otherwise.
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Most lines of each log.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub lines: u32,
    /// Namespace that Millrace is installed in.
    #[arg(long, default_value = "millrace-system", value_name = "NAME")]
    pub release_namespace: String,
}

/// Which records are wanted.
#[derive(Args, Clone, Debug)]
pub struct Which {
    /// The topic.
    pub topic: String,
    /// The pipeline. Optional if only one has the topic.
    #[arg(long, value_name = "NAME")]
    pub pipeline: Option<String>,
    /// Only this partition.
    #[arg(long, value_name = "NUMBER")]
    pub partition: Option<i32>,
    /// Only records with this key.
    #[arg(long)]
    pub key: Option<String>,
    /// Only records whose value contains this text.
    #[arg(long, value_name = "TEXT")]
    pub contains: Option<String>,
    /// Also show headers.
    #[arg(long)]
    pub headers: bool,
}

/// Flags of `peek`.
#[derive(Args, Clone, Debug)]
pub struct Peek {
    /// Which records.
    #[command(flatten)]
    pub which: Which,
    /// Maximum number of records to show.
    #[arg(short = 'l', long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,
    /// Begin at this offset, oldest first.
    #[arg(long, value_name = "OFFSET", conflicts_with_all = ["since", "from_start"])]
    pub from_offset: Option<i64>,
    /// Begin at the start of the topic, oldest first.
    #[arg(long, conflicts_with = "since")]
    pub from_start: bool,
    /// Begin this long ago, such as 10m, or at a time, such as 2026-01-31T12:00:00Z; oldest first.
    #[arg(long, value_name = "AGE|TIME")]
    pub since: Option<String>,
    /// Maximum number of records to search for matches.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub scan: u32,
}

/// Flags of `tail`.
#[derive(Args, Clone, Debug)]
pub struct Tail {
    /// Which records.
    #[command(flatten)]
    pub which: Which,
    /// Stop after this many records.
    #[arg(short = 'l', long)]
    pub limit: Option<u64>,
    /// Stop after this long, such as 30s.
    #[arg(long = "for", value_name = "DURATION")]
    pub limit_time: Option<Duration>,
}

/// Flags of `rows`.
#[derive(Args, Clone, Debug)]
pub struct Rows {
    /// The table.
    pub table: String,
    /// The pipeline. Optional if only one has the table.
    #[arg(long, value_name = "NAME")]
    pub pipeline: Option<String>,
    /// Key column and its value: the whole partition key, and optionally the first clustering columns. A value is text,
    /// or JSON if the column is not text.
    #[arg(long, value_name = "COLUMN=VALUE", value_parser = pair)]
    pub key: Vec<(String, String)>,
    /// Maximum number of rows to show.
    #[arg(short = 'l', long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,
}

/// A part of a pipeline.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
#[allow(missing_docs, reason = "each names itself")]
pub enum Component {
    Zookeeper,
    Kafka,
    Cassandra,
    Producer,
    Processor,
    /// Pods of runs.
    Run,
}

/// Flags of `logs`.
#[derive(Args, Clone, Debug)]
pub struct Logs {
    /// The pipeline. Optional if there is only one.
    pub pipeline: Option<String>,
    /// Only pods of this component.
    #[arg(long, value_enum)]
    pub component: Option<Component>,
    /// Only pods of this run.
    #[arg(long, value_name = "NAME", conflicts_with = "component")]
    pub run: Option<String>,
    /// Show the logs of containers before their last restart.
    #[arg(short, long, conflicts_with = "follow")]
    pub previous: bool,
    /// Follow the logs.
    #[arg(short, long)]
    pub follow: bool,
    /// Number of recent lines to show of each container.
    #[arg(long, default_value_t = 50)]
    pub tail: u32,
}

/// Flags of `validate`.
#[derive(Args, Clone, Debug)]
pub struct Validate {
    /// YAML or JSON files; - is standard input.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// A source of a pipeline.
#[derive(Args, Clone, Debug)]
pub struct OneSource {
    /// The source.
    pub source: String,
    /// The pipeline. Optional if only one has the source.
    #[arg(long, value_name = "NAME")]
    pub pipeline: Option<String>,
}

/// Flags of `trigger`.
#[derive(Args, Clone, Debug)]
pub struct Trigger {
    /// The source.
    #[command(flatten)]
    pub source: OneSource,
    /// Value of a param of the source; also --NAME VALUE.
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub param: Vec<(String, String)>,
    /// End successfully after this many records.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i64).range(1..))]
    pub max_records: Option<i64>,
    /// Run for this long, then end successfully.
    #[arg(long)]
    pub duration: Option<String>,
    /// Time limit for one attempt.
    #[arg(long)]
    pub timeout: Option<String>,
    /// Attempts after the first.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i32).range(0..=99))]
    pub retries: Option<i32>,
    /// Name of the run. Default: generated by the cluster.
    #[arg(long)]
    pub name: Option<String>,
    /// Show the params of the source, and run nothing.
    #[arg(long)]
    pub params: bool,
    /// Print the run instead of creating it.
    #[arg(long, conflicts_with = "follow")]
    pub dry_run: bool,
    /// Wait for the run to end; the exit code shows how it ended.
    #[arg(short, long)]
    pub follow: bool,
}

/// Flags of `runs`.
#[derive(Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Runs {
    /// What to do with runs.
    #[command(subcommand)]
    pub action: Option<RunsAction>,
    /// Which runs to list.
    #[command(flatten)]
    pub list: ListRuns,
}

/// What to do with runs.
#[derive(Clone, Debug, Subcommand)]
pub enum RunsAction {
    /// List runs, newest first.
    List(ListRuns),
    /// Show a run with its attempts.
    Show {
        /// The run.
        name: String,
    },
    /// Cancel runs; records in flight are drained.
    Cancel {
        /// The runs.
        #[arg(required = true)]
        names: Vec<String>,
    },
}

/// Flags of `runs list`.
#[derive(Args, Clone, Debug)]
pub struct ListRuns {
    /// Only runs of this pipeline.
    #[arg(long, value_name = "NAME")]
    pub pipeline: Option<String>,
    /// Only runs of this source.
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
    /// All namespaces.
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
}

/// Flags of `backfill`.
#[derive(Args, Clone, Debug)]
pub struct Backfill {
    /// The source.
    #[command(flatten)]
    pub source: OneSource,
    /// Start of the range: 2026-01-01 or 2026-01-01T00:00:00Z.
    #[arg(long, value_name = "TIME")]
    pub from: String,
    /// End of the range.
    #[arg(long, value_name = "TIME")]
    pub to: String,
    /// Length of a step, such as 24h. Default: the due times of the source's schedule.
    #[arg(long, value_name = "DURATION")]
    pub step: Option<Duration>,
    /// Param that receives the start of each step; expressions can always read it as run.time.
    #[arg(long, value_name = "PARAM")]
    pub from_param: Option<String>,
    /// Param that receives the end of each step.
    #[arg(long, value_name = "PARAM")]
    pub to_param: Option<String>,
    /// Value of a param for all runs; also --NAME VALUE.
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub param: Vec<(String, String)>,
    /// Maximum number of runs at once.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub max_active: u32,
    /// Name of the backfill. Default: made from the range. The same name and range give the same runs.
    #[arg(long)]
    pub name: Option<String>,
    /// List the runs, and create none.
    #[arg(long)]
    pub dry_run: bool,
}

/// Flags of `console`.
#[derive(Args, Clone, Debug)]
pub struct Console {
    /// Namespace where Millrace is installed.
    #[arg(long, default_value = "millrace-system", value_name = "NAME")]
    pub release_namespace: String,
    /// Service of the console in that namespace.
    #[arg(long, default_value = "millrace-console", value_name = "NAME")]
    pub service: String,
    /// Local port. Default: a free port.
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// Act as this ServiceAccount of the namespace (-n), if the kubeconfig has a certificate instead of a token.
    #[arg(long, value_name = "NAME")]
    pub service_account: Option<String>,
    /// Print only the address.
    #[arg(long)]
    pub print_url: bool,
}

/// Parses what was typed.
pub fn parse(typed: impl IntoIterator<Item = OsString>) -> Result<Arguments, clap::Error> {
    let typed: Vec<OsString> = typed.into_iter().collect();
    Arguments::try_parse_from(with_params(typed, &Arguments::command()))
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("'{text}' is not of the form NAME=VALUE"))?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Parses a component that every pipeline has.
fn component(text: &str) -> Result<names::Component, String> {
    let found = names::Component::ALL.into_iter().find(|component| component.as_str() == text);
    found.ok_or_else(|| {
        let all = names::Component::ALL.map(names::Component::as_str).join(", ");
        format!("'{text}' is not a component; use one of {all}")
    })
}

/// Parses where a replay begins.
fn replay_from(text: &str) -> Result<ReplayFrom, String> {
    text.parse()
}
