//! What the commands that change a pipeline share: one patch in the command's own name, what still holds a restart back,
//! and how a change is reported.

use std::fmt::Write;

use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use millrace_api::StreamingPipeline;
use millrace_api::crd::UpdatePolicy;
use millrace_api::labels::{PAUSED, holds_disruptions, is_paused};
use serde::Serialize;
use serde_json::Value;

use super::Context;
use crate::screen::{Format, document, printable};

/// Field manager of what the command writes.
const FIELD_MANAGER: &str = "millrace";

/// A change, and what follows from it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub pipeline: String,
    /// Whether anything was written; otherwise it was so already.
    pub changed: bool,
    /// What holds now.
    pub done: String,
    /// What happens next.
    pub next: String,
    /// What the operator does or waits to do, as it last reported.
    pub planned: Vec<String>,
    /// Command that takes it back. Absent: there is nothing to take back.
    pub undo: Option<String>,
}

impl Change {
    /// Makes a change of a pipeline with what the operator last reported of its plans.
    pub fn of(pipeline: &StreamingPipeline, changed: bool, done: String, next: String, undo: Option<String>) -> Self {
        let planned = pipeline.status.as_ref().map(|status| status.planned_actions.clone()).unwrap_or_default();
        let namespace = pipeline.namespace().unwrap_or_default();
        Self { namespace, pipeline: pipeline.name_any(), changed, done, next, planned, undo }
    }

    /// Writes it for people or for scripts.
    pub fn text(&self, format: Format) -> String {
        if format != Format::Table {
            return document(format, self);
        }
        let Self { namespace: _, pipeline: _, changed: _, done, next, planned, undo } = self;
        let mut text = format!("{done}\n{next}\n");
        if !planned.is_empty() {
            text.push_str("what the operator does or waits to do, as it last reported:\n");
        }
        for action in planned {
            let _ = writeln!(text, "  - {}", printable(action));
        }
        if let Some(undo) = undo {
            let _ = writeln!(text, "to undo it: {undo}");
        }
        text
    }
}

/// Changes the fields of a pipeline that a merge patch names.
pub async fn patch(context: &Context<'_>, pipeline: &str, change: &Value) -> Result<(), kube::Error> {
    let api: Api<StreamingPipeline> = context.cluster.api();
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    api.patch(pipeline, &params, &Patch::Merge(change)).await.map(drop)
}

/// Returns a command of ours for a pipeline.
pub fn ours(verb: &str, pipeline: &StreamingPipeline) -> String {
    format!("millrace {verb} {} -n {}", pipeline.name_any(), pipeline.namespace().unwrap_or_default())
}

/// Returns the command that removes an annotation of a pipeline.
pub fn remove_annotation(pipeline: &StreamingPipeline, annotation: &str) -> String {
    let (namespace, name) = (pipeline.namespace().unwrap_or_default(), pipeline.name_any());
    format!("kubectl annotate spl -n {namespace} {name} {annotation}-")
}

/// Returns when pods of the stores are restarted, and what people have that wait for, as the resource says.
pub fn restarts(pipeline: &StreamingPipeline) -> String {
    let mut holds = Vec::new();
    if is_paused(pipeline) {
        holds.push(format!("once the operator is no longer paused (`{}`)", remove_annotation(pipeline, PAUSED)));
    }
    if holds_disruptions(pipeline) {
        holds.push(format!("once restarts are no longer held (`{}`)", ours("release", pipeline)));
    }
    if pipeline.spec.update_policy == UpdatePolicy::Manual {
        holds.push(format!("once the plan is approved (`{}`)", ours("approve", pipeline)));
    }
    if !pipeline.spec.maintenance_windows.is_empty() {
        holds.push("while a maintenance window is open".to_owned());
    }
    let pace = "pods of the stores are restarted one at a time, and only while every store is at full strength";
    [vec![pace.to_owned()], holds].concat().join("; ")
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    /// Returns the smallest pipeline with annotations, changes of its spec and a status.
    pub(in crate::commands) fn pipeline(annotations: Value, spec: Value, status: Value) -> StreamingPipeline {
        let sample = include_str!("../../../e2e/samples/accepted/one-of-each.yaml");
        let mut resource: Value = serde_yaml::from_str(sample).expect("the sample is YAML");
        resource["metadata"] =
            json!({"name": "users", "namespace": "shop", "generation": 4, "annotations": annotations});
        for (field, value) in spec.as_object().into_iter().flatten() {
            resource["spec"][field] = value.clone();
        }
        if !status.is_null() {
            resource["status"] = status;
        }
        serde_json::from_value(resource).expect("a pipeline")
    }

    #[test]
    fn says_what_still_holds_a_restart_back() {
        let window = json!([{"schedule": "0 2 * * *", "duration": "2h"}]);
        let held = pipeline(
            json!({"millrace.dev/hold-disruptions": "true"}),
            json!({"updatePolicy": "Manual", "maintenanceWindows": window}),
            Value::Null,
        );
        assert_eq!(
            restarts(&held),
            "pods of the stores are restarted one at a time, and only while every store is at full strength; once \
             restarts are no longer held (`millrace release users -n shop`); once the plan is approved (`millrace \
             approve users -n shop`); while a maintenance window is open"
        );
        // Control: nothing holds one back.
        assert!(restarts(&pipeline(json!({}), json!({}), Value::Null)).ends_with("at full strength"));
    }

    #[test]
    fn a_change_has_the_plan_and_the_way_back() {
        let planned = json!({"plannedActions": ["restart pod users-kafka-1\u{1b}[2J"]});
        let of = pipeline(json!({}), json!({}), planned);
        let undo = Some(ours("release", &of));
        let change = Change::of(&of, true, "held".to_owned(), "all else goes on".to_owned(), undo);
        assert_eq!(
            change.text(Format::Table),
            "held\nall else goes on\nwhat the operator does or waits to do, as it last reported:\n  - restart pod \
             users-kafka-1\\u{1b}[2J\nto undo it: millrace release users -n shop\n"
        );
        let document: Value = serde_json::from_str(&change.text(Format::Json)).expect("JSON");
        assert_eq!(document["undo"], "millrace release users -n shop");
        assert_eq!(document["changed"], true);
    }
}
