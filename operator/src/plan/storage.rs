//! A store whose storage class was changed: what is made anew, and what is refused. Pure.
//!
//! Neither a claim nor the template of a StatefulSet's claims ever changes its class. While no claim of the store has had
//! a volume, nothing was written to any: the StatefulSet is removed without its pods, then the claims that wait, and both
//! are made anew. Once a claim is bound, or where that is unknown, the class stays as it is
//! (docs/decisions/0021-deleting-claims.md).

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::StatefulSet;
use kube::{Resource, ResourceExt};
use millrace_api::names::Component;
use millrace_api::{Pipeline, Rejected};

use crate::act::{Act, ClaimRemoval, SetRemoval};
use crate::labels::COMPONENT_LABEL;
use crate::objects::Objects;
use crate::observed::{Claim, Observed};

/// What becomes of a store's storage.
#[derive(Debug, Default)]
pub struct Settled {
    /// What is to be removed, one step of it.
    pub acts: Vec<Act>,
    /// Why the class stays as it is.
    pub refused: Option<Rejected>,
}

/// Takes out of a store's objects what has to wait, and gives what cannot change the class that it has.
pub fn settle(pipeline: &Pipeline, component: Component, objects: &mut Objects, observed: &Observed) -> Settled {
    let mut settled = Settled::default();
    let is_unused = is_unused(component, objects, observed);
    let live = &observed.children.stateful_sets;
    let (mut kept, mut waits) = (None, Vec::new());
    for wanted in &mut objects.stateful_sets {
        let name = wanted.name_any();
        match live.get(&name) {
            // One that is not the pipeline's own is refused when ours is applied.
            Some(found) if class_of(found) == class_of(wanted) || !is_of(pipeline, found) => {}
            Some(found) if is_unused => {
                settled.acts.extend(set_removal(found).map(Act::RemoveSet));
                waits.push(name);
            }
            Some(found) => {
                kept = Some(class_of(found));
                keep_class(wanted, class_of(found));
            }
            None => {
                let class = class_of(wanted);
                let stale = claims_of(&name, observed).filter(|(_, claim)| claim.is_unbound && claim.class != class);
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
    settled.refused = kept.map(|class| refused(component, class, observed.children.volumes.is_none()));
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
fn is_of(pipeline: &Pipeline, found: &StatefulSet) -> bool {
    found.meta().owner_references.iter().flatten().any(|owner| owner.uid == pipeline.uid)
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

/// Returns the removal of a StatefulSet; `None`: it is being removed.
fn set_removal(found: &StatefulSet) -> Option<SetRemoval> {
    let uid = found.uid().filter(|_| found.meta().deletion_timestamp.is_none())?;
    Some(SetRemoval { name: found.name_any(), uid })
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
