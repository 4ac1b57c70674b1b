//! Flags → context → one of the subcommands. Decides nothing.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use futures::future::{join, join_all, select_all};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Client, CustomResourceExt};
use millrace_api::{IngestionRun, StreamingPipeline};
use millrace_operator::context::Context;
use millrace_operator::lease::Leadership;
use millrace_operator::looks::LastLooks;
use millrace_operator::objects::scope::Administration;
use millrace_operator::server::{Readiness, serve};
use millrace_operator::smoke;
use millrace_operator::telemetry::Telemetry;
use millrace_operator::workers::load::moment;
use millrace_operator::{compiler, controller, key, runs, schedules};
use millrace_stores::permitted::Entry;
use millrace_terms::causes::chain_of;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Millrace: runs StreamingPipelines (HTTP source, Kafka, processing, Cassandra) on Kubernetes.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Reconcile StreamingPipelines until told to stop.
    Run(Box<RunFlags>),
    /// Print the CustomResourceDefinitions as YAML.
    Crd,
    /// Print the reference of the custom resources as Markdown.
    Reference,
    /// Compile one query: a question as JSON on standard input, what is wrong with it on standard output.
    #[command(hide = true)]
    Compile,
    /// Create a small pipeline, wait for its record in Cassandra, and delete it again.
    SmokeTest(smoke::Flags),
}

#[derive(Args)]
struct RunFlags {
    /// Namespace whose pipelines are reconciled; may be given more than once. Absent or empty: all namespaces.
    #[arg(long, env = "WATCH_NAMESPACE", value_delimiter = ',')]
    watch_namespace: Vec<String>,
    /// Namespace that the operator itself runs in; its Lease lives there.
    #[arg(long, env = "POD_NAMESPACE", default_value = "default")]
    operator_namespace: String,
    /// Name of this operator among its replicas; the pod's name.
    #[arg(long, env = "HOSTNAME", default_value = "millrace-operator")]
    identity: String,
    /// Name of the Lease by which replicas choose their leader.
    #[arg(long, default_value = "millrace-operator")]
    lease_name: String,
    /// Name of the Secret in the operator's namespace with its own key; made if there is none.
    #[arg(long, default_value = "millrace-operator-key")]
    key_secret: String,
    /// Image of producers and processors.
    #[arg(long, env = "WORKER_IMAGE")]
    worker_image: String,
    /// Host that sources may reach although its address is private, loopback, link-local or metadata; repeatable.
    #[arg(long)]
    allowed_source_host: Vec<String>,
    /// Host of external stores that may be asked: a name, *.DOMAIN or a block of addresses; repeatable. Absent: none.
    #[arg(long)]
    allowed_store: Vec<Entry>,
    /// Image pull secret for all pods of pipelines, in their own namespace; repeatable.
    #[arg(long)]
    image_pull_secret: Vec<String>,
    /// Environment variable of all workers, as KEY=VALUE; repeatable.
    #[arg(long, value_parser = key_value)]
    worker_env: Vec<(String, String)>,
    /// Port of /healthz, /readyz and /metrics.
    #[arg(long, default_value_t = 8080)]
    http_port: u16,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("'{text}' is not of the form KEY=VALUE"))?;
    Ok((key.to_owned(), value.to_owned()))
}

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    // Chosen here: a dependency that brings a second provider would otherwise leave none chosen.
    rustls::crypto::ring::default_provider().install_default().expect("nobody else installs a provider");
    if let Command::Run(_) | Command::SmokeTest(_) = cli.command {
        // The Cassandra driver tells at level info of every connection that an observation opens.
        let quiet = "scylla=warn".parse().expect("a constant directive parses");
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info")).add_directive(quiet);
        tracing_subscriber::fmt().json().flatten_event(true).with_span_list(false).with_env_filter(filter).init();
    }
    let ended = match cli.command {
        Command::Run(flags) => run(*flags).await,
        Command::Reference => print(Ok(definitions().each_ref().map(millrace_api::reference::markdown).join("\n"))),
        Command::Compile => print(compiler::answer_one()),
        Command::Crd => print(print_definitions().map_err(Into::into)),
        Command::SmokeTest(flags) => smoke::run(flags).await.map_err(Into::into),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", chain_of(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn definitions() -> [CustomResourceDefinition; 2] {
    [StreamingPipeline::crd(), IngestionRun::crd()]
}

fn print_definitions() -> Result<String, serde_yaml::Error> {
    let documents: Result<Vec<String>, _> = definitions().iter().map(serde_yaml::to_string).collect();
    Ok(documents?.join("---\n"))
}

fn print(text: Result<String, Box<dyn std::error::Error>>) -> Result<(), Box<dyn std::error::Error>> {
    print!("{}", text?);
    Ok(())
}

async fn run(flags: RunFlags) -> Result<(), Box<dyn std::error::Error>> {
    let telemetry = Telemetry::default();
    let readiness = Readiness::default();
    let listener = millrace_serve::listen(flags.http_port).await?;
    let server = tokio::spawn(serve(listener, telemetry.clone(), readiness.clone()));

    let client = Client::try_default().await?;
    let leadership = Leadership::new(client.clone(), &flags.operator_namespace, &flags.lease_name, &flags.identity);

    // A candidate is ready: it stands by.
    readiness.set();
    let mut terminate = signal(SignalKind::terminate())?;
    let predecessor = tokio::select! {
        predecessor = leadership.acquire() => predecessor,
        _ = terminate.recv() => return Ok(()),
    };
    telemetry.leads(&flags.identity);
    let administration = Administration {
        key: key::find(&client, &flags.operator_namespace, &flags.key_secret).await?,
        worker_image: flags.worker_image,
        allowed_source_hosts: flags.allowed_source_host,
        operator_namespace: flags.operator_namespace,
        image_pull_secrets: flags.image_pull_secret,
        worker_env: flags.worker_env.into_iter().collect(),
        allowed_stores: flags.allowed_store.into_iter().collect(),
    };
    let mut ctx = Context::new(client, flags.identity.clone(), administration, telemetry.clone(), leadership.fence());
    // Where nothing is known of another, nobody has looked for long.
    ctx.looks = LastLooks::after(moment(predecessor.unwrap_or_default()));

    let namespaces: Vec<Option<String>> = match flags.watch_namespace.iter().filter(|name| !name.is_empty()).count() {
        0 => vec![None],
        _ => flags.watch_namespace.into_iter().filter(|name| !name.is_empty()).map(Some).collect(),
    };
    let controllers = namespaces.into_iter().map(|namespace| {
        join(
            controller::run(ctx.clone(), namespace.clone(), readiness.clone()),
            join(runs::run(ctx.clone(), namespace.clone()), schedules::run(ctx.clone(), namespace)),
        )
    });
    tokio::select! {
        _ = join_all(controllers) => Err("the controller ended".into()),
        () = leadership.hold() => Err("leadership was lost".into()),
        ended = select_all([server]) => Err(format!("the HTTP server ended: {:?}", ended.0).into()),
        _ = terminate.recv() => {
            tracing::info!("stopping");
            // An operator that stands by takes over at once.
            let _ = tokio::time::timeout(Duration::from_secs(5), leadership.release()).await;
            Ok(())
        }
    }
}
