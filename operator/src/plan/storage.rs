//! A store whose storage was changed: what is made anew, what grows, and what is refused. Pure.
//!
//! Neither a claim nor the template of a StatefulSet's claims ever changes its class, and a claim that waits for a volume
//! does not change at all. While no claim of the store has had a volume, nothing was written to any: the StatefulSet is
//! removed without its pods, then the claims that wait, and both are made anew. Once a claim is bound, or where that is
//! unknown, the class stays as it is (docs/decisions/0021-deleting-claims.md), and volumes grow (`growth`).

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::StatefulSet;
use kube::{Resource, ResourceExt};
use millrace_api::names::Component;
use millrace_api::quantity::Quantity;
use millrace_api::{Pipeline, Rejected};

use super::growth::{Growing, Size};
use crate::act::{Act, ClaimRemoval, SetRemoval};
use crate::labels::COMPONENT_LABEL;
use crate::objects::Objects;
use crate::observed::{Claim, Observed};

/// What becomes of a store's storage.
#[derive(Debug, Default)]
pub struct Settled {
    /// What is to be removed or to grow, one step of it.
    pub acts: Vec<Act>,
    /// What volumes that grow wait for, in sentences.
    pub waits: Vec<String>,
    /// Why class or size stay as they are.
    pub refused: Vec<Rejected>,
}

/// Takes out of a store's objects what has to wait, and gives what cannot change the class and size that it has.
///
/// `is_held`: no StatefulSet is made anew for larger volumes now.
pub fn settle(
    pipeline: &Pipeline,
    component: Component,
    objects: &mut Objects,
    observed: &Observed,
    is_held: bool,
) -> Settled {
    let mut settled = Settled::default();
    let is_unused = is_unused(component, objects, observed);
    let live = &observed.children.stateful_sets;
    let mut growing = Growing::of(component, is_held);
    let (mut kept, mut waits) = (None, Vec::new());
    for wanted in &mut objects.stateful_sets {
        let name = wanted.name_any();
        match live.get(&name) {
            // One that is not the pipeline's own is refused when ours is applied.
            Some(found) if !is_of(pipeline, found) => {}
            Some(found) if found.meta().deletion_timestamp.is_some() => {
                growing.leaves(found);
                waits.push(name);
            }
            Some(found) if is_unused && (class_of(found) != class_of(wanted) || has_other_size(found, wanted)) => {
                settled.acts.extend(set_removal(found).map(Act::RemoveSet));
                waits.push(name);
            }
            Some(found) => {
                if class_of(found) != class_of(wanted) {
                    kept = Some(class_of(found));
                    keep_class(wanted, class_of(found));
                }
                growing.step(found, wanted, observed);
            }
            None => {
                let stale = claims_of(&name, observed).filter(|(_, claim)| claim.is_unbound && differs(claim, wanted));
                let stale: Vec<_> = stale.collect();
                if !stale.is_empty() {
                    let removals = stale.into_iter().filter(|(_, claim)| !claim.is_leaving);
                    settled.acts.extend(removals.map(|(claim, facts)| Act::RemoveClaim(claim_removal(claim, facts))));
                    waits.push(name);
                }
            }
        }
    }
    objects.stateful_sets.retain(|wanted| !waits.contains(&wanted.name_any()));
    let is_unknown = observed.children.volumes.is_none();
    settled.refused.extend(kept.map(|class| refused(component, class, is_unknown)));
    settled.refused.extend(growing.refused);
    settled.acts.extend(growing.acts);
    settled.waits = growing.waits;
    settled
}

/// Returns whether no claim of the store has ever had a volume: all claims could be read, and no pod has come to a node.
fn is_unused(component: Component, objects: &Objects, observed: &Observed) -> bool {
    let of_store = |labels: &BTreeMap<String, String>| {
        labels.get(COMPONENT_LABEL).is_some_and(|label| label == component.as_str())
    };
    let mut pods = observed.children.pods.values().filter(|pod| of_store(pod.labels()));
    let has_run = pods.any(|pod| pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some()));
    let mut names = objects.stateful_sets.iter().map(ResourceExt::name_any);
    let all_unbound = names.all(|name| claims_of(&name, observed).all(|(_, claim)| claim.is_unbound));
    observed.children.volumes.is_some() && !has_run && all_unbound
}

/// Returns the claims of a StatefulSet: `data-<set>-<ordinal>`.
fn claims_of<'a>(set: &str, observed: &'a Observed) -> impl Iterator<Item = (&'a String, &'a Claim)> + use<'a> {
    let prefix = format!("data-{set}-");
    let is_of_set = move |name: &str| {
        name.strip_prefix(prefix.as_str()).is_some_and(|ordinal| ordinal.bytes().all(|byte| byte.is_ascii_digit()))
    };
    observed.children.volumes.iter().flatten().filter(move |(name, _)| is_of_set(name))
}

/// Returns whether a StatefulSet is the pipeline's own.
pub(super) fn is_of(pipeline: &Pipeline, found: &StatefulSet) -> bool {
    found.meta().owner_references.iter().flatten().any(|owner| owner.uid == pipeline.uid)
}

fn has_other_size(found: &StatefulSet, wanted: &StatefulSet) -> bool {
    Size::of(found).map(|size| size.amount) != Size::of(wanted).map(|size| size.amount)
}

/// Returns whether a claim has another class or size than the template of its StatefulSet's claims.
fn differs(claim: &Claim, wanted: &StatefulSet) -> bool {
    let size: Option<Quantity> = claim.size.as_ref().and_then(|size| size.parse().ok());
    let other_size = Size::of(wanted).is_some_and(|wanted| size.is_some_and(|size| size != wanted.amount));
    claim.class != class_of(wanted) || other_size
}

fn class_of(stateful_set: &StatefulSet) -> Option<String> {
    let templates = stateful_set.spec.as_ref()?.volume_claim_templates.as_ref()?;
    templates.first()?.spec.as_ref()?.storage_class_name.clone()
}

fn keep_class(wanted: &mut StatefulSet, class: Option<String>) {
    let templates = wanted.spec.as_mut().and_then(|spec| spec.volume_claim_templates.as_mut());
    for claim in templates.into_iter().flatten() {
        claim.spec.get_or_insert_default().storage_class_name.clone_from(&class);
    }
}

fn set_removal(found: &StatefulSet) -> Option<SetRemoval> {
    Some(SetRemoval { name: found.name_any(), uid: found.uid()? })
}

fn claim_removal(name: &str, claim: &Claim) -> ClaimRemoval {
    let Claim { uid, resource_version, .. } = claim.clone();
    ClaimRemoval { name: name.to_owned(), uid, resource_version }
}

fn refused(component: Component, class: Option<String>, is_unknown: bool) -> Rejected {
    let set_back = match class {
        Some(class) => format!("set it back to '{class}'"),
        None => "remove it again".to_owned(),
    };
    let why = match is_unknown {
        true => "it is unknown whether volumes are bound, since the operator may not list claims",
        false => "the storage class of a bound volume cannot change",
    };
    Rejected {
        path: format!("spec.{component}.storage.className"),
        message: format!("{why}; {set_back}, or create a new pipeline"),
        excerpt: None,
    }
}
