//! The only Cassandra volume is lost: the pipeline says so until the commands that it names have brought every row back.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::Api;
use kube::api::DeleteParams;
use millrace_api::names::Component;
use millrace_e2e::ledger::Ledger;
use millrace_e2e::spec::{Generator, Spec};
use millrace_e2e::{Live, Turn, eventually, in_namespace};

const READY_WITHIN: Duration = Duration::from_secs(300);
const WRITTEN_WITHIN: Duration = Duration::from_secs(180);
const SEED: u64 = 11;
const RECORDS: u64 = 2_000;
const NODE: &str = "users-cassandra-r1-0";

pub async fn a_lost_volume_is_reported_and_its_rows_are_read_again(turn: Turn) -> Result<()> {
    in_namespace(&turn, "lost", async |namespace| {
        let source = Generator { seed: SEED, count: Some(RECORDS), rate: None }.source();
        let live = Live::start(namespace, &Spec::one().sources([source]), READY_WITHIN).await?;
        live.await_produced(RECORDS, WRITTEN_WITHIN).await?;
        live.await_caught_up(WRITTEN_WITHIN).await?;
        let all = Ledger::default().and(SEED, RECORDS);
        live.table().await?.compare(all.clone()).await?.ensure_exact()?;
        live.await_condition("DataIntact", "True", "NothingMissing", WRITTEN_WITHIN).await?;

        lose_the_volume(&live).await?;
        live.await_condition("Ready", "False", "TableRecreated", READY_WITHIN).await?;
        let lost = live.table().await?.compare(all.clone()).await?;
        namespace.say(format!("after the loss: {lost}"));
        ensure!(!lost.is_exact(), "the volume was lost, and the rows are there");

        let message = live.message("DataIntact").await?;
        let (_, commands) = message.split_once("read them again: ").context("the message names no commands")?;
        let (commands, _) = commands.split_once(". To continue").context("the commands have no end")?;
        let commands = commands.replace(", then, once no processor is left, ", ", then ");
        for command in commands.split(", then ") {
            let arguments: Vec<&str> = command.split_whitespace().skip(1).collect();
            namespace.say(command);
            // The tool ends well, and changes nothing, while the group still has members.
            let resets = command.contains("--reset-offsets");
            let done = async || {
                let said = namespace.cluster.kubectl(&arguments).await.ok();
                Ok(said.filter(|said| !resets || said.contains("NEW-OFFSET")))
            };
            eventually(command, WRITTEN_WITHIN, done).await?;
            if command.contains("--replicas=0") {
                let stopped = async || Ok(live.pods(Component::Processor).await?.is_empty().then_some(()));
                eventually("the processors are gone", WRITTEN_WITHIN, stopped).await?;
            }
        }
        live.await_ready(READY_WITHIN).await?;
        live.await_condition("DataIntact", "True", "NothingMissing", WRITTEN_WITHIN).await?;
        live.await_caught_up(WRITTEN_WITHIN).await?;
        let found = live.table().await?.compare(all).await?;
        namespace.say(format!("read again: {found}"));
        found.ensure_exact()
    })
    .await
}

/// Deletes the claim and the pod, so that the node comes back on a new volume.
async fn lose_the_volume(live: &Live) -> Result<()> {
    let client = &live.namespace.cluster.client;
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &live.namespace.name);
    let claim = format!("data-{NODE}");
    let before = claims.get(&claim).await?.metadata.uid;
    claims.delete(&claim, &DeleteParams::default()).await.context("cannot delete the claim")?;
    let pods: Api<Pod> = live.pod_api();
    pods.delete(NODE, &DeleteParams::default()).await.context("cannot delete the pod")?;
    let replaced = async || {
        let now = claims.get_opt(&claim).await?.and_then(|claim| claim.metadata.uid);
        Ok((now.is_some() && now != before).then_some(()))
    };
    eventually("there is another volume", WRITTEN_WITHIN, replaced).await.map(|_| ())
}
