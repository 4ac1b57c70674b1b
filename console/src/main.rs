//! Flags → app → server. Decides nothing.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use kube::Config;
use millrace_console::api::document;
use millrace_console::app::{App, SEARCHES, STREAMS, Settings, client, without_credentials};
use millrace_console::cluster::Cluster;
use millrace_console::limit::{Buckets, LOGINS};
use millrace_console::measure::sampler::{self, Measured};
use millrace_console::measure::scrape;
use millrace_console::messages::tap::Taps;
use millrace_console::refusal::chain;
use millrace_console::rows::Tables;
use millrace_console::server::{Readiness, router, serve};
use millrace_console::session::{Sessions, Terms};
use snafu::{ResultExt, Snafu};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, watch};
use tracing_subscriber::EnvFilter;

/// From one look for idle sessions with Cassandra to the next.
const SWEEP: Duration = Duration::from_secs(30);
/// How long open streams may hold up the end.
const GRACE: Duration = Duration::from_secs(5);

/// The console of Millrace: a page that shows pipelines, and acts with the viewer's own rights.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the page and its API until told to stop.
    Run(Flags),
    /// Print the OpenAPI document of the API.
    Openapi,
}

#[derive(Args)]
struct Flags {
    /// Namespace whose pipelines are shown; may be given more than once. Absent or empty: all namespaces.
    #[arg(long, env = "WATCH_NAMESPACE", value_delimiter = ',')]
    watch_namespace: Vec<String>,
    /// Name of a field whose values only viewers with the right `get streamingpipelines/unmasked` see; repeatable.
    #[arg(long)]
    masked_field: Vec<String>,
    /// Send the session's cookie over TLS only: for a console behind an ingress with TLS.
    #[arg(long)]
    secure_cookies: bool,
    /// Port of the page and its API.
    #[arg(long, default_value_t = 8080)]
    http_port: u16,
}

/// Why the console cannot run.
#[derive(Debug, Snafu)]
enum RunConsole {
    #[snafu(display("cannot find out how the API server is reached"))]
    Configure { source: kube::config::InferConfigError },
    #[snafu(display("cannot make a client of the API server"))]
    MakeClient { source: Box<kube::Error> },
    #[snafu(display("cannot make a client of the workers"))]
    MakeScraper { source: reqwest::Error },
    #[snafu(display("cannot listen on port {port}"))]
    Listen { port: u16, source: std::io::Error },
    #[snafu(display("cannot wait for the order to stop"))]
    AwaitSignal { source: std::io::Error },
}

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    // Chosen here: a dependency that brings a second provider would otherwise leave none chosen.
    rustls::crypto::ring::default_provider().install_default().expect("nobody else installs a provider");
    match Cli::parse().command {
        Command::Openapi => {
            print!("{}", document::json());
            ExitCode::SUCCESS
        }
        Command::Run(flags) => {
            // The Cassandra driver tells at level info of every connection that it opens.
            let quiet = "scylla=warn".parse().expect("a constant directive parses");
            let filter =
                EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info")).add_directive(quiet);
            tracing_subscriber::fmt().json().flatten_event(true).with_span_list(false).with_env_filter(filter).init();
            match run(flags).await {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    tracing::error!("the console ends: {}", chain(&error).join(": "));
                    ExitCode::FAILURE
                }
            }
        }
    }
}

async fn run(flags: Flags) -> Result<(), RunConsole> {
    let Flags { watch_namespace, masked_field, secure_cookies, http_port } = flags;
    let config = Config::infer().await.context(ConfigureSnafu)?;
    let api_server = without_credentials(&config);
    let own = client(config).map_err(Box::new).context(MakeClientSnafu)?;
    let scope: Vec<String> = watch_namespace.into_iter().filter(|namespace| !namespace.is_empty()).collect();
    let cluster = Cluster::watch(&own, scope);
    let measured = Measured::default();
    let workers = scrape::client().context(MakeScraperSnafu)?;
    let (ticked, ticks) = watch::channel(0);
    let tables = Tables::default();
    let readiness = Readiness::default();
    tokio::spawn(begin(cluster.clone(), measured.clone(), workers.clone(), ticked, readiness.clone()));
    tokio::spawn(sweep(tables.clone()));
    let app = App {
        settings: Settings { masked_fields: masked_field, secure_cookies },
        own,
        api_server,
        cluster,
        measured,
        workers,
        ticks,
        sessions: Sessions::new(Terms::default()),
        logins: Buckets::new(LOGINS),
        searches: Semaphore::new(SEARCHES),
        streams: Arc::new(Semaphore::new(STREAMS)),
        taps: Taps::default(),
        tables,
    };
    let listener = millrace_serve::listen(http_port).await.context(ListenSnafu { port: http_port })?;
    tracing::info!(port = http_port, "the console serves");
    let mut terminated = signal(SignalKind::terminate()).context(AwaitSignalSnafu)?;
    let mut interrupted = signal(SignalKind::interrupt()).context(AwaitSignalSnafu)?;
    let (stop, mut stopped) = watch::channel(false);
    let server = serve(listener, router(Arc::new(app), readiness), async move {
        // An error is that the sender is gone, which ends the server as well.
        let _ = stopped.changed().await;
    });
    let ordered = async {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
        stop.send_replace(true);
        // Live streams end with the process.
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        () = server => Ok(()),
        () = ordered => Ok(()),
    }
}

/// Measures from when everything was listed on. Until then the console is not ready, but serves: who looks may see why.
async fn begin(
    cluster: Cluster,
    measured: Measured,
    workers: reqwest::Client,
    ticked: watch::Sender<u64>,
    readiness: Readiness,
) {
    while !cluster.is_listed().await {
        tracing::warn!("pipelines and pods could not be listed yet");
    }
    readiness.set();
    sampler::run(cluster, measured, workers, ticked).await;
}

async fn sweep(tables: Tables) {
    let mut rhythm = tokio::time::interval(SWEEP);
    loop {
        rhythm.tick().await;
        tables.sweep();
    }
}
