//! A store whose pod template changes: whether it gets the new one now, or keeps the one that it has. Pure.
//!
//! A pod that ends for whatever reason comes back with the template of its StatefulSet and with the files of its
//! ConfigMap. So what is to wait is not applied at all, and all else of the objects is, such as the number of replicas. Two
//! notes on the StatefulSet show who caused a change: the digest of its template, and that of what people control. A
//! template that differs from the first, while the second is as it was, was changed by the operator's new version
//! (docs/decisions/0023-held-disruptions.md).

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use millrace_api::Pipeline;
use millrace_api::crd::UpdatePolicy;
use millrace_api::names::Component;
use serde_json::json;

use super::drift::{DESIRED_CHECKSUM, as_json, checksum};
use super::storage::is_of;
use crate::cassandra::nodes;
use crate::difference::{differences, listed};
use crate::labels::APPROVE_PLAN;
use crate::link::Reason;
use crate::objects::Objects;
use crate::objects::scope::{
    CONFIG_CHECKSUM, Files, INPUTS_CHECKSUM, TEMPLATE_CHECKSUM, checksum as checksum_of, short_digest,
};
use crate::observed::Observed;

/// The plan for the stores' templates as a whole, and whether people approve it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Approval {
    /// Digest of the templates that all pods of the stores shall have: it stays while they get them one by one.
    pub hash: String,
    /// Whether it is approved.
    pub is_given: bool,
    /// The command that approves it.
    pub command: String,
}

impl Approval {
    /// Returns the plan that leads to these objects of the stores.
    pub fn of<'a>(pipeline: &Pipeline, stores: impl IntoIterator<Item = &'a Objects>, observed: &Observed) -> Self {
        let sets = stores.into_iter().flat_map(|objects| &objects.stateful_sets);
        let targets: BTreeMap<String, String> = sets.map(|set| (set.name_any(), template_of(set))).collect();
        let hash = short_digest(json!(targets));
        let names = &pipeline.names;
        let command = format!(
            "kubectl annotate spl -n {} {} --overwrite {APPROVE_PLAN}={hash}",
            names.namespace(),
            names.pipeline()
        );
        let is_given = observed.remembered.approved_plan.as_ref() == Some(&hash);
        Self { hash, is_given, command }
    }
}

/// A StatefulSet that keeps the template that it has.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Kept {
    /// Its name.
    pub stateful_set: String,
    /// Whose it is.
    pub component: Component,
    /// How many pods it has.
    pub pods: i32,
    /// Digest of the template that it has.
    pub from: String,
    /// Digest of the template that waits.
    pub to: String,
    /// Fields of the template that differ, as far as they are set.
    pub fields: Vec<String>,
    /// Whether people changed it; else the operator's new version did.
    pub by_people: bool,
    /// Why it keeps it, in one word.
    pub reason: Reason,
}

impl Kept {
    /// Returns what waits, in words.
    pub fn describe(&self) -> String {
        let Self { stateful_set, pods, from, to, fields, .. } = self;
        let changed = if fields.is_empty() { String::new() } else { format!(": {}", listed(fields, ", ")) };
        let pods = if *pods == 1 { "1 pod".to_owned() } else { format!("{pods} pods one by one") };
        format!("change the template of StatefulSet '{stateful_set}' from {from} to {to} and restart {pods}{changed}")
    }
}

/// Takes the new template out of a store's objects where it is to wait. Returns what waits.
pub fn keep_back(
    pipeline: &Pipeline,
    component: Component,
    objects: &mut Objects,
    observed: &Observed,
    approval: &Approval,
) -> Vec<Kept> {
    let live = &observed.children.stateful_sets;
    let changed = |wanted: &StatefulSet| {
        // One that is not the pipeline's own is refused when ours is applied.
        let found = live.get(&wanted.name_any()).filter(|found| is_of(pipeline, found))?;
        (!is_current(found, wanted)).then_some(found)
    };
    // The racks of a store share their files, so that they wait or go together.
    let mut sets = objects.stateful_sets.iter();
    let by_people = sets.any(|wanted| changed(wanted).is_some_and(|found| is_edited(found, wanted)));
    let reason = match pipeline.update_policy {
        UpdatePolicy::Automatic => return Vec::new(),
        UpdatePolicy::OnChange | UpdatePolicy::Manual if approval.is_given => return Vec::new(),
        UpdatePolicy::OnChange if by_people => return Vec::new(),
        UpdatePolicy::OnChange => Reason::OperatorUpgraded,
        UpdatePolicy::Manual => Reason::ApprovalRequired,
    };
    let mut kept = Vec::new();
    for wanted in &mut objects.stateful_sets {
        let Some(found) = changed(wanted) else { continue };
        kept.push(Kept {
            stateful_set: wanted.name_any(),
            component,
            pods: found.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or_default(),
            from: template_of(found),
            to: template_of(wanted),
            fields: fields_changed(found, wanted),
            by_people,
            reason,
        });
        keep_template(found, wanted);
    }
    if !kept.is_empty() {
        let files = &observed.children.config_maps;
        for wanted in objects.stateful_sets.iter_mut().filter(|wanted| !live.contains_key(&wanted.name_any())) {
            follow_files(files.get(&pipeline.names.component(component)), wanted);
        }
        let own = pipeline.names.component(component);
        // What is told to pods that start is no setting, and waits for nobody.
        objects.config_maps.retain_mut(|wanted| match files.get(&wanted.name_any()) {
            Some(found) if found.name_any() == own => {
                keep_files(found, wanted);
                order_in(found) != order_in(wanted)
            }
            Some(_) | None => true,
        });
    }
    kept
}

/// Returns whether the template that a StatefulSet was given last is the wanted one.
fn is_current(found: &StatefulSet, wanted: &StatefulSet) -> bool {
    let noted = |key: &str| found.annotations().get(key);
    if noted(TEMPLATE_CHECKSUM).is_some_and(|noted| *noted == template_of(wanted)) {
        return true;
    }
    // The whole was last written as it is wanted, by this version or by one that made no such notes.
    let mut before_notes = wanted.clone();
    if let (Some(live), Some(spec)) = (&found.spec, &mut before_notes.spec) {
        spec.replicas = live.replicas;
    }
    let annotations = before_notes.annotations_mut();
    annotations.remove(TEMPLATE_CHECKSUM);
    annotations.remove(INPUTS_CHECKSUM);
    if annotations.is_empty() {
        before_notes.metadata.annotations = None;
    }
    noted(DESIRED_CHECKSUM)
        .is_some_and(|noted| [wanted, &before_notes].into_iter().any(|set| *noted == checksum(&as_json(set))))
}

/// Returns whether people have changed what the template follows since it was rendered. What is not noted, or is in the
/// form of another version, is taken for what there is now.
fn is_edited(found: &StatefulSet, wanted: &StatefulSet) -> bool {
    let form = |inputs: &str| inputs.split('-').next().unwrap_or_default().to_owned();
    match (found.annotations().get(INPUTS_CHECKSUM), wanted.annotations().get(INPUTS_CHECKSUM)) {
        (Some(noted), Some(inputs)) => form(noted) == form(inputs) && noted != inputs,
        _ => false,
    }
}

/// Returns the digest of the template as it was rendered; where that is not noted, of the one that is there.
fn template_of(set: &StatefulSet) -> String {
    let rendered = || short_digest(json!(set.spec.as_ref().map(|spec| &spec.template)));
    set.annotations().get(TEMPLATE_CHECKSUM).cloned().unwrap_or_else(rendered)
}

/// Returns the fields of the template that differ, as far as they are set.
fn fields_changed(found: &StatefulSet, wanted: &StatefulSet) -> Vec<String> {
    let template = |set: &StatefulSet| json!(set.spec.as_ref().map(|spec| &spec.template));
    differences(&template(found), &template(wanted)).into_iter().map(|difference| difference.path).collect()
}

/// Has a StatefulSet that is made beside others that keep their files start its pods as outdated ones: they get the same files.
fn follow_files(files: Option<&ConfigMap>, wanted: &mut StatefulSet) {
    if let Some(files) = files {
        note_files(&stood_for(files), wanted);
    }
}

/// Returns the checksum that the files of a store stand for: their own, unless brokers have taken what changed as they ran.
pub(super) fn stood_for(files: &ConfigMap) -> String {
    if let Some(noted) = files.annotations().get(CONFIG_CHECKSUM) {
        return noted.clone();
    }
    let started_with: Files =
        files.data.clone().into_iter().flatten().filter(|(name, _)| name != nodes::FILE).collect();
    checksum_of(&started_with)
}

/// Has a StatefulSet's pods start as with files of a checksum.
pub(super) fn note_files(stands_for: &str, wanted: &mut StatefulSet) {
    let Some(spec) = wanted.spec.as_mut() else { return };
    let annotations = spec.template.metadata.get_or_insert_default().annotations.get_or_insert_default();
    annotations.insert(CONFIG_CHECKSUM.to_owned(), stands_for.to_owned());
    let rendered = short_digest(json!(spec.template));
    wanted.annotations_mut().insert(TEMPLATE_CHECKSUM.to_owned(), rendered);
}

/// Has a StatefulSet go on noting the inputs of before, as long as nothing else of its template changes. A change that is
/// noted before it reaches the template would later be taken for one that the operator makes by itself.
pub(super) fn keep_inputs(found: &StatefulSet, wanted: &mut StatefulSet) {
    let noted = found.annotations().get(INPUTS_CHECKSUM).filter(|_| is_current(found, wanted));
    if let Some(noted) = noted.cloned() {
        wanted.annotations_mut().insert(INPUTS_CHECKSUM.to_owned(), noted);
    }
}

/// Returns what running pods are told. `None`: nothing.
fn order_in(files: &ConfigMap) -> Option<&String> {
    files.data.as_ref()?.get(nodes::FILE).filter(|order| !order.is_empty())
}

/// Has the files stay as they are, but for what running pods are told.
fn keep_files(found: &ConfigMap, wanted: &mut ConfigMap) {
    let is_order = |(name, _): &(String, String)| name == nodes::FILE;
    let orders = wanted.data.take().into_iter().flatten().filter(is_order);
    let kept = found.data.clone().into_iter().flatten().filter(|file| !is_order(file));
    wanted.data = Some(kept.chain(orders).collect());
}

/// Has the StatefulSet keep its template, and the notes that say so.
fn keep_template(found: &StatefulSet, wanted: &mut StatefulSet) {
    let is_edited = is_edited(found, wanted);
    if let (Some(live), Some(spec)) = (&found.spec, &mut wanted.spec) {
        spec.template = live.template.clone();
    }
    let annotations = wanted.annotations_mut();
    annotations.insert(TEMPLATE_CHECKSUM.to_owned(), template_of(found));
    if is_edited && let Some(noted) = found.annotations().get(INPUTS_CHECKSUM) {
        annotations.insert(INPUTS_CHECKSUM.to_owned(), noted.clone());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// Returns a StatefulSet as it is rendered with a grace period.
    fn rendered(grace: i64, notes: Value) -> StatefulSet {
        let set = json!({
            "metadata": {"name": "users-kafka", "annotations": notes},
            "spec": {
                "selector": {},
                "template": {"spec": {"containers": [], "terminationGracePeriodSeconds": grace}},
            },
        });
        serde_json::from_value(set).expect("it is a StatefulSet")
    }

    fn with_notes(grace: i64) -> StatefulSet {
        rendered(grace, json!({TEMPLATE_CHECKSUM: grace.to_string(), INPUTS_CHECKSUM: "1-a"}))
    }

    /// Returns it as a version that makes no notes has left it.
    fn left_without_notes(grace: i64) -> StatefulSet {
        let mut left = rendered(grace, Value::Null);
        let desired = checksum(&as_json(&left));
        left.annotations_mut().insert(DESIRED_CHECKSUM.to_owned(), desired);
        left
    }

    #[test]
    fn what_an_earlier_version_wrote_alike_is_current() {
        assert!(is_current(&left_without_notes(60), &with_notes(60)));
        assert!(!is_current(&left_without_notes(30), &with_notes(60)));
        assert!(is_current(&with_notes(60), &with_notes(60)));
        assert!(!is_current(&with_notes(30), &with_notes(60)));
    }

    #[test]
    fn only_another_digest_of_the_same_form_is_a_change_by_people() {
        let of = |inputs: &str| rendered(60, json!({INPUTS_CHECKSUM: inputs}));
        assert!(is_edited(&of("1-a"), &of("1-b")));
        assert!(!is_edited(&of("1-a"), &of("1-a")));
        assert!(!is_edited(&of("1-a"), &of("2-b")), "the operator computes it in another way now");
        assert!(!is_edited(&rendered(60, json!({})), &of("1-b")), "it was not noted");
    }

    #[test]
    fn a_digest_does_not_depend_on_the_order_of_fields() {
        assert_eq!(
            short_digest(json!({"a": {"b": 1, "c": 2}, "d": 3})),
            short_digest(json!({"d": 3, "a": {"c": 2, "b": 1}}))
        );
        assert_ne!(short_digest(json!({"a": [1, 2]})), short_digest(json!({"a": [2, 1]})));
    }
}
