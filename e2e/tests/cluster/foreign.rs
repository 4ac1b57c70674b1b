//! An object that somebody else made stands where the pipeline wants its own: it is left alone, the status says so, and
//! the pipeline goes on once it is out of the way.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, ResourceExt};
use millrace_e2e::{Live, Spec, Turn, eventually, in_namespace};
use serde_json::json;

const SAID_WITHIN: Duration = Duration::from_secs(60);
/// The operator looks again at a refused pipeline once a minute.
const GOES_ON_WITHIN: Duration = Duration::from_secs(120);
/// What the pipeline calls its brokers' configuration.
const NAME: &str = "users-kafka";

pub async fn a_foreign_object_is_left_alone(turn: Turn) -> Result<()> {
    in_namespace(&turn, "foreign", async |namespace| {
        let api: Api<ConfigMap> = Api::namespaced(namespace.cluster.client.clone(), &namespace.name);
        let foreign: ConfigMap =
            serde_json::from_value(json!({"metadata": {"name": NAME}, "data": {"whose": "mine"}}))?;
        let made = api.create(&PostParams::default(), &foreign).await.context("cannot make the foreign object")?;

        namespace.turn.work().await;
        let live = Live::apply(namespace, &Spec::one()).await?;
        live.await_condition("Ready", "False", "ApplyRejected", SAID_WITHIN).await?;
        let message = live.message("Ready").await?;
        ensure!(message.contains("ConfigMap 'users-kafka'"), "the object is not named: {message}");
        let found = api.get(NAME).await.context("the foreign object is gone")?;
        ensure!(found.data == made.data && found.uid() == made.uid(), "the foreign object was changed: {found:?}");
        ensure!(found.owner_references().is_empty(), "the foreign object was seized: {found:?}");

        // Negative control: without it, an object of this name is made, and is the pipeline's.
        api.delete(NAME, &DeleteParams::default()).await.context("cannot delete the foreign object")?;
        let ours = async || {
            let found = api.get_opt(NAME).await?;
            Ok(found.is_some_and(|found| !found.owner_references().is_empty()).then_some(()))
        };
        eventually("the pipeline makes its own", GOES_ON_WITHIN, ours).await?;
        Ok(())
    })
    .await
}
