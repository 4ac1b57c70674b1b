//! Negative control of the harness: a test that fails or panics is told, dumped and cleaned up after.

use std::fs;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use millrace_e2e::cluster::target;
use millrace_e2e::{Cluster, Turn, in_namespace};

pub async fn a_failure_is_dumped_and_its_namespace_deleted(turn: Turn) -> Result<()> {
    turn.work().await;
    let mut names = Vec::new();
    let failed = in_namespace(&turn, "on-purpose", async |namespace| {
        names.push(namespace.name.clone());
        bail!("on purpose")
    });
    ensure!(failed.await.is_err_and(|error| error.to_string() == "on purpose"), "a failure is not told");
    let panicked = in_namespace(&turn, "on-purpose", async |namespace| {
        names.push(namespace.name.clone());
        assert!(namespace.name.is_empty(), "a panic on purpose");
        Ok(())
    });
    ensure!(panicked.await.is_err(), "a panic is not told");

    let api: Api<Namespace> = Api::all(Cluster::connect().await?.client);
    for name in names {
        ensure!(api.get_opt(&name).await?.is_none(), "namespace '{name}' was left");
        let logs = target().join("e2e-logs").join(&name);
        let dumped = fs::read_to_string(logs.join("operator.txt")).context("there is no dump")?;
        ensure!(dumped.contains("lease"), "the dump does not tell of the operator");
        fs::remove_dir_all(logs).context("cannot remove the dump")?;
    }
    Ok(())
}
