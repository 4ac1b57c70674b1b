//! Every write to the API server but those of the Lease: none is made once another operator may lead, and each is counted.
//!
//! Objects are written as JSON, whatever their kind, so that there is one function for each way of writing.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy};
use kube::core::{ApiResource, DynamicObject, PartialObjectMeta};
use kube::runtime::events::Event;
use kube::{Api, Resource};
use serde::Serialize;
use serde_json::{Value, json};
use snafu::{ResultExt, Snafu, ensure};

use crate::answer::AskApi;
use crate::context::Context;

/// Our field manager: owner of every field that we set.
pub const FIELD_MANAGER: &str = "millrace-operator";

/// Longest note that an event may have by the API's own rule.
const MAX_NOTE: usize = 1024;

/// Why something was not written.
#[derive(Debug, Snafu)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Write {
    #[snafu(display("leadership may have moved to another operator, which does the rest"))]
    KeepLeadership,
    #[snafu(transparent)]
    Ask { source: AskApi },
    #[snafu(display("cannot write it as JSON"))]
    Encode { source: serde_json::Error },
}

impl Write {
    /// Returns the API server's status code, if it has answered.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Ask { source } => source.status().map(|status| status.code),
            Self::KeepLeadership | Self::Encode { .. } => None,
        }
    }

    /// Returns whether an apply was refused since the object has another UID than the patch: the API server takes that for
    /// a change of the field (kubernetes/kubernetes#127625). Where there is no object, its answer is a conflict.
    pub fn is_for_another_uid(&self) -> bool {
        let Self::Ask { source } = self else { return false };
        let causes = source.status().and_then(|status| status.details.as_ref()).map(|details| &details.causes);
        causes.into_iter().flatten().any(|cause| cause.field == "metadata.uid")
    }
}

/// Writes objects of one kind in one namespace.
pub struct Writer<'a> {
    ctx: &'a Context,
    resource: ApiResource,
    api: Api<DynamicObject>,
}

impl<'a> Writer<'a> {
    /// Makes a writer of the objects of a kind.
    pub fn of<K: Resource<DynamicType = ()>>(ctx: &'a Context, namespace: &str) -> Self {
        Self::new(ctx, ApiResource::erase::<K>(&()), namespace)
    }

    /// Makes a writer of the objects of a kind that is known by its name only.
    pub fn new(ctx: &'a Context, resource: ApiResource, namespace: &str) -> Self {
        let api = Api::namespaced_with(ctx.client.clone(), namespace, &resource);
        Self { ctx, resource, api }
    }

    /// Reads whose an object is. `None`: there is none.
    pub async fn find(&self, name: &str) -> Result<Option<PartialObjectMeta<DynamicObject>>, Write> {
        Ok(self.api.get_metadata_opt(name).await.map_err(AskApi::from)?)
    }

    /// Changes an object, or applies it. Returns what it is then.
    pub async fn patch(
        &self,
        name: &str,
        parameters: &PatchParams,
        patch: &Patch<Value>,
    ) -> Result<DynamicObject, Write> {
        self.begin("", name)?;
        Ok(self.api.patch(name, parameters, patch).await.map_err(AskApi::from)?)
    }

    /// Creates an object.
    pub async fn create(&self, name: &str, object: &impl Serialize) -> Result<(), Write> {
        let object = serde_json::to_value(object).and_then(serde_json::from_value).context(EncodeSnafu)?;
        let ours = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        self.begin("", name)?;
        self.api.create(&ours, &object).await.map_err(AskApi::from)?;
        Ok(())
    }

    /// Applies a status under a field manager, to the object of this UID only. Returns whether the object is there.
    pub async fn apply_status(
        &self,
        name: &str,
        uid: Option<&str>,
        manager: &str,
        status: &impl Serialize,
    ) -> Result<bool, Write> {
        let patch = json!({
            "apiVersion": self.resource.api_version,
            "kind": self.resource.kind,
            "metadata": {"name": name, "uid": uid},
            "status": status,
        });
        self.begin("/status", name)?;
        match self.api.patch_status(name, &PatchParams::apply(manager).force(), &Patch::Apply(patch)).await {
            Ok(_) => Ok(true),
            // It went away while we looked at it; there is nobody to tell.
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
            Err(error) => Err(AskApi::from(error).into()),
        }
    }

    /// Deletes the object of this UID only; one that is gone, or another by now, is as it was asked for.
    pub async fn delete(&self, name: &str, uid: &str, propagation: Option<PropagationPolicy>) -> Result<(), Write> {
        self.delete_if(name, Preconditions { uid: Some(uid.to_owned()), resource_version: None }, propagation).await
    }

    /// Deletes the object of this UID only, and only as it was read: one that has changed since stays.
    pub async fn delete_unchanged(&self, name: &str, uid: &str, version: &str) -> Result<(), Write> {
        let as_read = Preconditions { uid: Some(uid.to_owned()), resource_version: Some(version.to_owned()) };
        self.delete_if(name, as_read, None).await
    }

    async fn delete_if(
        &self,
        name: &str,
        preconditions: Preconditions,
        propagation: Option<PropagationPolicy>,
    ) -> Result<(), Write> {
        let only_this = DeleteParams {
            preconditions: Some(preconditions),
            propagation_policy: propagation,
            ..DeleteParams::default()
        };
        self.begin("", name)?;
        match self.api.delete(name, &only_this).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            Err(error) => Err(AskApi::from(error).into()),
        }
    }

    fn begin(&self, part: &str, name: &str) -> Result<(), Write> {
        ensure!(self.ctx.fence.is_open(), KeepLeadershipSnafu);
        self.ctx.telemetry.object_written(&format!("{}{part}", self.resource.kind), name);
        Ok(())
    }
}

/// Publishes an event on an object. An event decides nothing: one that cannot be published is logged and otherwise
/// forgone.
pub async fn announce(ctx: &Context, object: &ObjectReference, event: Event) {
    if !ctx.fence.is_open() {
        return;
    }
    let note = event.note.map(|note| note.chars().take(MAX_NOTE).collect());
    let event = Event { note, ..event };
    ctx.telemetry.object_written("Event", &event.reason);
    if let Err(error) = ctx.events.publish(&event, object).await {
        tracing::warn!(reason = event.reason, error = %AskApi::from(error), "cannot publish an event");
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn refused(field: &str) -> Write {
        let cause = json!({"reason": "FieldValueInvalid", "message": "field is immutable", "field": field});
        let status = json!({"code": 422, "reason": "Invalid", "details": {"causes": [cause]}});
        let status: Status = serde_json::from_value(status).expect("it is an answer");
        AskApi::from(kube::Error::Api(Box::new(status))).into()
    }

    #[test]
    fn another_uid_is_told_from_what_a_changed_spec_can_help() {
        assert!(refused("metadata.uid").is_for_another_uid());
        assert!(!refused("spec.selector").is_for_another_uid());
    }
}
