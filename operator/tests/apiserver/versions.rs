//! Versions of stores at admission: what a node has run is not gone back from, and what never ran is.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::stage::{Stage, leader};

fn cassandra(version: &str) -> Value {
    json!({"cassandra": {"version": version}})
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kube-apiserver and etcd"]
async fn a_release_that_a_node_has_run_is_not_gone_back_from() -> Result<()> {
    let fence = leader("versions").await?;
    let mut stage = Stage::new("versions", &fence).await?;
    stage.create("one", cassandra_from("5.0.10")).await?;
    stage.change(cassandra("5.0.9")).await.context("nothing has run yet")?;
    stage.settle().await?;

    // The played nodes say that they run 5.0.9.
    let refused = stage.change(cassandra("5.0.8")).await.err().context("it goes back")?;
    let said = format!("{refused:#}");
    ensure!(said.contains("a node has run Cassandra 5.0.9") && said.contains("spec.cassandra.version"), "{said}");
    for unrelated in [json!({"processor": {"replicas": 2}}), cassandra("5.0.99"), cassandra("5.0.9")] {
        stage.change(unrelated.clone()).await.with_context(|| format!("{unrelated} is refused"))?;
    }
    // All releases of a line of these two read what each other writes.
    stage.change(json!({"kafka": {"version": "3.9.0"}, "zookeeper": {"version": "3.9.3"}})).await
}

fn cassandra_from(version: &str) -> Value {
    json!({"spec": cassandra(version)})
}
