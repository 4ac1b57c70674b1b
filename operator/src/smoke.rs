//! `operator smoke-test`: one record through a pipeline of its own, end to end. What `helm test` runs.
//!
//! It creates a small pipeline with a generator source of one record, waits until it is Ready, reads the row back over
//! CQL, and deletes the pipeline with its volumes.

use std::net::IpAddr;
use std::time::Duration;

use clap::Args;
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::core::DynamicObject;
use kube::runtime::wait::{await_condition, conditions};
use kube::{Api, Client, CustomResourceExt, ResourceExt};
use millrace_api::StreamingPipeline;
use millrace_api::crd::condition::ConditionType;
use millrace_api::names::{Component, Names};
use snafu::{OptionExt, ResultExt, Snafu};
use tokio::time::{Instant, sleep, timeout};

use crate::answer::AskApi;
use millrace_stores::cassandra::{self, AskCassandra};

/// Where and how long to test.
#[derive(Args, Debug)]
pub struct Flags {
    /// Namespace for the test's pipeline.
    #[arg(long, env = "POD_NAMESPACE", default_value = "default")]
    namespace: String,
    /// What the name of the test's pipeline begins with; the rest is new each time.
    #[arg(long, default_value = "millrace-smoke-")]
    name_prefix: String,
    /// Longest that the whole test may take, such as 8m.
    #[arg(long, default_value = "8m")]
    timeout: millrace_terms::Duration,
}

/// Why the test failed.
#[derive(Debug, Snafu)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum SmokeTest {
    #[snafu(display("cannot reach the Kubernetes API"))]
    Connect { source: AskApi },
    #[snafu(display("cannot {what} the test's pipeline"))]
    Change { what: &'static str, source: AskApi },
    #[snafu(display("cannot parse the built-in pipeline"))]
    ParsePipeline { source: serde_yaml::Error },
    #[snafu(display("the pipeline was not ready in time; its condition Ready says: {said}"))]
    AwaitReady { said: String },
    #[snafu(display("no row arrived in Cassandra in time"))]
    AwaitRow,
    #[snafu(display("cannot find Cassandra at '{host}'"))]
    FindCassandra { host: String },
    #[snafu(display("cannot read the row back"))]
    ReadRow { source: AskCassandra },
}

const PIPELINE: &str = include_str!("smoke/pipeline.yaml");

/// Runs the test, and deletes its pipeline whatever came of it.
#[expect(clippy::disallowed_methods, reason = "a program of its own beside the operator: it waits for one record")]
pub async fn run(flags: Flags) -> Result<(), SmokeTest> {
    let client = Client::try_default().await.map_err(AskApi::from).context(ConnectSnafu)?;
    let api: Api<StreamingPipeline> = Api::namespaced(client.clone(), &flags.namespace);
    // As it stands in the file, and deleted by its metadata: no further form of the whole resource is compiled for this.
    let untyped: Api<DynamicObject> =
        Api::namespaced_with(client, &flags.namespace, &StreamingPipeline::api_resource());
    let mut pipeline: DynamicObject = serde_yaml::from_str(PIPELINE).context(ParsePipelineSnafu)?;
    pipeline.metadata.name = None;
    pipeline.metadata.generate_name = Some(flags.name_prefix.clone());
    let deadline = Instant::now() + flags.timeout.get();
    let created = untyped
        .create(&PostParams::default(), &pipeline)
        .await
        .map_err(AskApi::from)
        .context(ChangeSnafu { what: "create" })?;
    let (name, uid) = (created.name_any(), created.uid().unwrap_or_default());
    println!("created StreamingPipeline {}/{name}", flags.namespace);

    let tested = test(&api, &Names::new(&flags.namespace, &name), deadline).await;
    let only_this = Preconditions { uid: Some(uid.clone()), resource_version: None };
    let deletion = DeleteParams { preconditions: Some(only_this), ..DeleteParams::background() };
    let deleted = untyped.delete(&name, &deletion).await.map_err(AskApi::from);
    let gone = await_condition(untyped, &name, conditions::is_deleted(&uid));
    let _ = timeout(Duration::from_secs(60), gone).await;
    println!("deleted StreamingPipeline {}/{name}", flags.namespace);
    tested?;
    deleted.context(ChangeSnafu { what: "delete" })?;
    println!("PASS: one record went from its source through Kafka into Cassandra");
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a program of its own beside the operator: it waits for one record")]
async fn test(api: &Api<StreamingPipeline>, names: &Names, deadline: Instant) -> Result<(), SmokeTest> {
    let mut said = String::new();
    loop {
        let pipeline = api.get(names.pipeline()).await.map_err(AskApi::from).context(ChangeSnafu { what: "read" })?;
        let status = pipeline.status.unwrap_or_default();
        let ready = ConditionType::Ready.of(&status.conditions);
        if let Some(ready) = ready {
            let now = format!("{} {}: {}", ready.status, ready.reason, ready.message);
            if now != said {
                println!("Ready={now}");
                said = now;
            }
            if ready.status == "True" {
                break;
            }
        }
        if Instant::now() > deadline {
            return AwaitReadySnafu { said }.fail();
        }
        sleep(Duration::from_secs(1)).await;
    }
    await_row(names, deadline).await
}

#[expect(clippy::disallowed_methods, reason = "a program of its own beside the operator: it waits for one record")]
async fn await_row(names: &Names, deadline: Instant) -> Result<(), SmokeTest> {
    let host = names.service_host(Component::Cassandra);
    let address = resolve(&host).await.context(FindCassandraSnafu { host })?;
    let session = cassandra::open(address).await.context(ReadRowSnafu)?;
    while Instant::now() < deadline {
        let statement = "SELECT username FROM smoke.users LIMIT 1";
        let rows: Vec<(String,)> = cassandra::rows(&session, statement, ()).await.context(ReadRowSnafu)?;
        if let [(username,)] = rows.as_slice() {
            println!("read back the row of '{username}'");
            return Ok(());
        }
        sleep(Duration::from_millis(500)).await;
    }
    AwaitRowSnafu.fail()
}

async fn resolve(host: &str) -> Option<IpAddr> {
    let mut addresses = tokio::net::lookup_host((host, cassandra::NATIVE_PORT)).await.ok()?;
    addresses.next().map(|address| address.ip())
}
