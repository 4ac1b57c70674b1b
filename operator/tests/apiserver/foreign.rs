//! An object that somebody else made, of whichever kind, stands where the pipeline wants its own: it is left alone, the
//! status names it, and the pipeline goes on once it is out of the way.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use axum::http::Request;
use futures::{StreamExt, TryStreamExt, stream};
use millrace_operator::lease::Fence;
use millrace_operator::telemetry::Ended;
use serde_json::{Value, json};

use crate::gate::{Gate, Write};
use crate::snapshot::{self, KINDS, Kind};
use crate::stage::{Stage, leader};
use crate::world::PIPELINE;

const CONCURRENCY: usize = 8;
/// More passes than it takes to come to any object.
const ENOUGH: usize = 100;

/// Returns the objects that a creation applies, by kind and name.
async fn objects(fence: &Fence) -> Result<Vec<(Kind, Write)>> {
    let mut stage = Stage::new("foreign-none", fence).await?;
    stage.create("one", json!({})).await?;
    let mut objects = BTreeMap::new();
    for write in stage.settle().await?.writes {
        // Claims are their StatefulSets', which take those that are there; the operator only changes a label.
        let is_made = |plural: &str| plural == write.resource && plural != "persistentvolumeclaims";
        let kind = KINDS.into_iter().find(|(_, plural)| is_made(plural));
        objects.extend(kind.filter(|_| write.verb == "PATCH").map(|kind| ((kind, write.name.clone()), write.clone())));
    }
    Ok(objects.into_iter().map(|((kind, _), write)| (kind, write)).collect())
}

/// Makes an object of this kind and name that is nobody's.
async fn make_foreign(stage: &Stage, (api, plural): Kind, write: &Write) -> Result<()> {
    let mut foreign = write.body.clone();
    foreign["metadata"] = json!({"name": write.name, "labels": {"whose": "mine"}});
    if foreign.pointer("/spec/replicas").is_some() {
        foreign["spec"]["replicas"] = json!(0);
    }
    let path = format!("/{api}/namespaces/{}/{plural}", stage.namespace);
    let request = Request::post(path).header("content-type", "application/json").body(serde_json::to_vec(&foreign)?)?;
    stage.admin.request::<Value>(request).await.context("cannot make the foreign object")?;
    Ok(())
}

async fn found(stage: &Stage, kind: Kind, name: &str) -> Result<Option<Value>> {
    let objects = snapshot::list(&stage.admin, &stage.namespace, kind).await?;
    Ok(objects.into_iter().find(|object| object["metadata"]["name"] == json!(name)))
}

async fn stands_in_the_way(kind: Kind, write: &Write, fence: &Fence) -> Result<()> {
    let namespace = format!("foreign-{}-{}", kind.1, write.name);
    let mut stage = Stage::new(&namespace, fence).await?;
    make_foreign(&stage, kind, write).await?;
    // Its resourceVersion shows any write, and only its status is written by others here.
    let mark = |object: &Option<Value>| {
        let metadata = object.as_ref().map(|object| object["metadata"].clone()).unwrap_or_default();
        ["uid", "labels", "ownerReferences", "generation"].map(|field| metadata[field].clone())
    };
    let before = mark(&found(&stage, kind, &write.name).await?);
    stage.create("one", json!({})).await?;
    let operator = stage.operator(Gate::default()).await?;
    let mut is_refused = false;
    for _ in 0..ENOUGH {
        is_refused = stage.pass(&operator).await? == Some(Ended::Rejected);
        if is_refused {
            break;
        }
        stage.world.tick().await?;
    }
    ensure!(is_refused, "the operator does not see that it is another's");
    let status = stage.pipelines().get(PIPELINE).await?.status.context("there is a status")?;
    let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready").context("Ready is told")?;
    ensure!(ready.reason == "ApplyRejected" && ready.message.contains(&write.name), "Ready says {ready:?}");
    let after = found(&stage, kind, &write.name).await?;
    ensure!(mark(&after) == before, "the foreign object was changed: {after:?}");

    // Negative control: without it, an object of this name is made, and is the pipeline's.
    snapshot::delete(&stage.admin, &stage.namespace, kind, &write.name).await?;
    ensure!(stage.pass(&operator).await? == Some(Ended::Done), "the pipeline does not go on");
    let Some(ours) = found(&stage, kind, &write.name).await? else { bail!("no object was made") };
    ensure!(ours.pointer("/metadata/ownerReferences").is_some(), "the object is nobody's: {ours}");
    stage.world.ensure_safe()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kube-apiserver and etcd"]
async fn a_foreign_object_of_any_kind_is_left_alone() -> Result<()> {
    let fence = leader("foreign").await?;
    let objects = objects(&fence).await?;
    ensure!(objects.len() > 20, "only {} objects", objects.len());
    let runs = stream::iter(&objects).map(|(kind, write)| {
        let fence = &fence;
        async move { stands_in_the_way(*kind, write, fence).await.with_context(|| write.to_string()) }
    });
    runs.buffer_unordered(CONCURRENCY).try_collect::<()>().await?;
    println!("each of {} objects was another's", objects.len());
    Ok(())
}
