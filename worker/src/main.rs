//! The `worker` binary: flags and environment in, exit code out; no decisions about data.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ipnet::IpNet;
use millrace_terms::causes::chain_of;
use millrace_terms::{ProcessSettings, ProduceSettings};
use millrace_worker::letters::{Counts, LetterDesk, ReadLetters, Redriven, Start, read, redrive};
use millrace_worker::run::{processor, producer};
use millrace_worker::sabotage::{self, Sabotages};
use millrace_worker::settings::load;
use millrace_worker::shutdown::on_signal;
use millrace_worker::source::guard::Guard;
use tracing::{error, warn};
use tracing_subscriber::EnvFilter;

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
        /// Network that no source may reach, beside those that are not public; repeatable, or parted by commas.
        #[arg(long, value_name = "CIDR", env = "FORBIDDEN_SOURCE_NETWORKS", value_delimiter = ',')]
        forbidden_source_network: Vec<IpNet>,
    },
    /// Writes the records of Kafka topics into Cassandra tables.
    Process {
        /// YAML file with the processor's settings.
        #[arg(long, value_name = "FILE")]
        settings: PathBuf,
    },
    /// Looks at dead letters, and sends their records back once the cause is fixed.
    ///
    /// In a cluster: `kubectl exec deploy/NAME-processor -- worker letters count`. What queries rejected is sent back by a
    /// processor, what sources rejected by a producer: `kubectl exec NAME-producer-0 -- worker letters redrive`.
    Letters {
        /// YAML file with the processor's or the producer's settings. By default those of the pod.
        #[arg(long, value_name = "FILE", global = true)]
        settings: Option<PathBuf>,
        #[command(subcommand)]
        action: LettersAction,
    },
}

#[derive(Subcommand)]
enum LettersAction {
    /// Prints how many letters there are, by reason.
    Count,
    /// Prints letters, oldest first, one JSON object a line.
    Show {
        /// Only those of this reason.
        #[arg(long)]
        reason: Option<String>,
        /// At most so many.
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// Sends the records of letters to the topics they came from, with the timestamps they had there.
    ///
    /// Goes on where the last redrive for the same reason ended. A record that a query rejected is written as if it had
    /// never failed, so it overwrites nothing that came after it; one that a source rejected is a record of now. Letters
    /// stay in their topic.
    Redrive {
        /// Only those of this reason.
        #[arg(long)]
        reason: Option<String>,
        /// All of them from the oldest on, those that were redriven already and failed again included.
        #[arg(long)]
        again: bool,
        /// Only says what would be sent.
        #[arg(long)]
        dry_run: bool,
        /// Prints one JSON object, as programs read it.
        #[arg(long)]
        json: bool,
    },
}

/// Where the pods of a pipeline have their settings.
const PROCESS_SETTINGS: &str = "/settings/process.yaml";
const PRODUCE_SETTINGS: &str = "/settings/produce.yaml";

/// Settings that cannot work: the same ones will not work the next time.
const BAD_SETTINGS: u8 = 2;

// One thread carries decoding and both clients' sockets: records then cross threads once, in chunks, from the consumer.
#[tokio::main(flavor = "current_thread")]
#[expect(clippy::disallowed_methods, reason = "main reads files and the environment")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,scylla=off"));
    let logs = tracing_subscriber::fmt().json().flatten_event(true).with_env_filter(filter);
    match arguments.road {
        // What a person asks for goes to standard output alone.
        Road::Letters { .. } => logs.with_writer(std::io::stderr).init(),
        Road::Produce { .. } | Road::Process { .. } => logs.init(),
    }
    let sabotages = match Sabotages::parse(&std::env::var(sabotage::VARIABLE).unwrap_or_default()) {
        Ok(sabotages) => sabotages,
        Err(unknown) => return bad_settings(&format!("{}: cannot switch on '{unknown}'", sabotage::VARIABLE)),
    };
    if sabotages != Sabotages::default() {
        warn!(?sabotages, "SABOTAGED ON PURPOSE: this worker loses data, use it for negative controls only");
    }
    match arguments.road {
        Road::Produce { settings, ordinal, forbidden_source_network } => {
            produce(&settings, ordinal, &forbidden_source_network, sabotages).await
        }
        Road::Process { settings } => process(&settings, sabotages).await,
        Road::Letters { settings, action } => letters(settings, action).await,
    }
}

async fn produce(path: &Path, ordinal: Option<u32>, forbidden: &[IpNet], sabotages: Sabotages) -> ExitCode {
    let settings: ProduceSettings = match load(path) {
        Ok(settings) => settings,
        Err(error) => return bad_settings(&chain_of(&error)),
    };
    let stop = match on_signal() {
        Ok(stop) => stop,
        Err(error) => return failure(&chain_of(&error)),
    };
    let ordinal = ordinal.unwrap_or_else(ordinal_from_hostname);
    let guard = Guard::forbidding(&settings.allowed_source_hosts, forbidden);
    match producer(&settings, ordinal, guard, sabotages, stop).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is_settings() => bad_settings(&chain_of(&error)),
        Err(error) => failure(&chain_of(&error)),
    }
}

async fn process(path: &Path, sabotages: Sabotages) -> ExitCode {
    let settings: ProcessSettings = match load(path) {
        Ok(settings) => settings,
        Err(error) => return bad_settings(&chain_of(&error)),
    };
    let stop = match on_signal() {
        Ok(stop) => stop,
        Err(error) => return failure(&chain_of(&error)),
    };
    match processor(&settings, sabotages, stop).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure(&chain_of(&error)),
    }
}

async fn letters(path: Option<PathBuf>, action: LettersAction) -> ExitCode {
    let settings = match desk(path) {
        Ok(desk) => desk,
        Err(problem) => return bad_settings(&problem),
    };
    let done = match action {
        LettersAction::Count => count(&settings).map_err(|error| chain_of(&error)),
        LettersAction::Show { reason, limit } => show(&settings, reason, limit).map_err(|error| chain_of(&error)),
        LettersAction::Redrive { reason, again, dry_run, json } => {
            let redriven = redrive(&settings, reason.as_deref(), again, dry_run).await;
            redriven.map(|redriven| tell(&redriven, dry_run, json)).map_err(|error| chain_of(&error))
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => failure(&problem),
    }
}

/// Returns whose letters these are, from the settings of a processor or of a producer.
#[expect(clippy::disallowed_methods, reason = "main reads files and the environment")]
fn desk(path: Option<PathBuf>) -> Result<LetterDesk, String> {
    let path = path.unwrap_or_else(|| {
        let found = [PROCESS_SETTINGS, PRODUCE_SETTINGS].into_iter().find(|path| Path::new(path).exists());
        found.unwrap_or(PROCESS_SETTINGS).into()
    });
    let error = match load::<ProcessSettings>(&path) {
        Ok(settings) => return Ok(LetterDesk::of_processor(&settings)),
        Err(error) => error,
    };
    match load::<ProduceSettings>(&path) {
        Ok(settings) => LetterDesk::of_producer(&settings).map_err(|error| chain_of(&error)),
        Err(_) => Err(chain_of(&error)),
    }
}

fn count(settings: &LetterDesk) -> Result<(), ReadLetters> {
    let mut letters = read(settings, &Start::Oldest)?;
    let mut counts = Counts::new();
    while let Some(letter) = letters.next()? {
        *counts.entry(letter.reason().to_owned()).or_default() += 1;
    }
    counts.iter().for_each(|(reason, count)| println!("{count} {reason}"));
    println!("{} in all", counts.values().sum::<u64>());
    Ok(())
}

fn show(settings: &LetterDesk, reason: Option<String>, limit: usize) -> Result<(), ReadLetters> {
    let mut letters = read(settings, &Start::Oldest)?;
    let mut shown = 0;
    while shown < limit
        && let Some(letter) = letters.next()?
    {
        if reason.as_ref().is_none_or(|reason| reason == letter.reason()) {
            println!("{}", serde_json::to_string(&letter.shown()).expect("text and numbers are JSON"));
            shown += 1;
        }
    }
    Ok(())
}

fn tell(redriven: &Redriven, dry_run: bool, json: bool) {
    if json {
        println!("{}", serde_json::to_string(redriven).expect("text and numbers are JSON"));
        return;
    }
    let verb = if dry_run { "to be sent" } else { "sent" };
    redriven.sent.iter().for_each(|(reason, count)| println!("{count} {verb}: {reason}"));
    redriven.kept.iter().for_each(|(why, count)| println!("{count} left: {why}"));
}

#[expect(clippy::disallowed_methods, reason = "main reads files and the environment")]
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
