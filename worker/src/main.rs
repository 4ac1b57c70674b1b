//! The `worker` binary: flags and environment in, exit code out; no decisions about data.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use millrace_worker::causes::chain;
use millrace_worker::check::check;
use millrace_worker::run::{processor, producer};
use millrace_worker::sabotage::{self, Sabotages};
use millrace_worker::settings::load;
use millrace_worker::shutdown::on_signal;
use tracing::{error, warn};
use tracing_subscriber::EnvFilter;
use worker_settings::{ProcessSettings, ProduceSettings};

/// Moves records: sources into Kafka, Kafka into Cassandra.
///
/// Exit codes: 0 drained after SIGTERM, 1 failure, 2 settings that cannot work.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    road: Road,
}

#[derive(Subcommand)]
enum Road {
    /// Fetches this pod's share of the sources into Kafka.
    Produce {
        /// YAML file with the producer's settings.
        #[arg(long, value_name = "FILE")]
        settings: PathBuf,
        /// Which share of the sources: those whose index modulo `replicas` is this number.
        /// By default the number at the end of HOSTNAME, as a StatefulSet gives it, or 0.
        #[arg(long, value_name = "N")]
        ordinal: Option<u32>,
    },
    /// Checks the StreamingPipelines of a file without a cluster: SQL, expressions, names. Exit code 2 on errors.
    Check {
        /// YAML file, or - for standard input.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Writes the records of Kafka topics into Cassandra tables.
    Process {
        /// YAML file with the processor's settings.
        #[arg(long, value_name = "FILE")]
        settings: PathBuf,
    },
}

/// Settings that cannot work: the same ones will not work the next time.
const BAD_SETTINGS: u8 = 2;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.road {
        Road::Check { file } => check_file(&file),
        Road::Produce { settings, ordinal } => match begin() {
            Ok(sabotages) => produce(&settings, ordinal, sabotages).await,
            Err(code) => code,
        },
        Road::Process { settings } => match begin() {
            Ok(sabotages) => process(&settings, sabotages).await,
            Err(code) => code,
        },
    }
}

/// What both roads begin with: the log, and what a negative control switches on.
fn begin() -> Result<Sabotages, ExitCode> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,scylla=off"));
    tracing_subscriber::fmt().json().flatten_event(true).with_env_filter(filter).init();
    let sabotages = match Sabotages::parse(&std::env::var(sabotage::VARIABLE).unwrap_or_default()) {
        Ok(sabotages) => sabotages,
        Err(unknown) => return Err(bad_settings(&format!("{}: cannot switch on '{unknown}'", sabotage::VARIABLE))),
    };
    if sabotages != Sabotages::default() {
        warn!(?sabotages, "SABOTAGED ON PURPOSE: this worker loses data, use it for negative controls only");
    }
    Ok(sabotages)
}

/// Prints for people, unlike the roads, which log for machines.
fn check_file(path: &Path) -> ExitCode {
    let text =
        if path == Path::new("-") { std::io::read_to_string(std::io::stdin()) } else { std::fs::read_to_string(path) };
    let text = match text {
        Ok(text) => text,
        Err(error) => {
            eprintln!("cannot read '{}': {error}", path.display());
            return ExitCode::from(BAD_SETTINGS);
        }
    };
    let (good, findings) = check(&text);
    good.iter().for_each(|name| println!("{name}: ok"));
    findings.iter().for_each(|finding| println!("{finding}"));
    if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(BAD_SETTINGS) }
}

async fn produce(path: &Path, ordinal: Option<u32>, sabotages: Sabotages) -> ExitCode {
    let settings: ProduceSettings = match load(path) {
        Ok(settings) => settings,
        Err(error) => return bad_settings(&chain(&error)),
    };
    let stop = match on_signal() {
        Ok(stop) => stop,
        Err(error) => return failure(&chain(&error)),
    };
    let ordinal = ordinal.unwrap_or_else(ordinal_from_hostname);
    match producer(&settings, ordinal, sabotages, stop).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is_settings() => bad_settings(&chain(&error)),
        Err(error) => failure(&chain(&error)),
    }
}

async fn process(path: &Path, sabotages: Sabotages) -> ExitCode {
    let settings: ProcessSettings = match load(path) {
        Ok(settings) => settings,
        Err(error) => return bad_settings(&chain(&error)),
    };
    let stop = match on_signal() {
        Ok(stop) => stop,
        Err(error) => return failure(&chain(&error)),
    };
    match processor(&settings, sabotages, stop).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure(&chain(&error)),
    }
}

fn ordinal_from_hostname() -> u32 {
    let hostname = std::env::var("HOSTNAME").unwrap_or_default();
    hostname.rsplit('-').next().and_then(|number| number.parse().ok()).unwrap_or_default()
}

fn bad_settings(problem: &str) -> ExitCode {
    error!("bad settings: {problem}");
    ExitCode::from(BAD_SETTINGS)
}

fn failure(problem: &str) -> ExitCode {
    error!("failed: {problem}");
    ExitCode::FAILURE
}
