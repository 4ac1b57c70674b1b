//! A store whose volumes are to grow: which claim is next, when its StatefulSet is made anew, and what is refused. Pure.
//!
//! A claim may grow where its StorageClass allows it; the template of a StatefulSet's claims never changes. So the claims of
//! a store grow one after the other, each to its end. Then the StatefulSet is removed without its pods and made anew with
//! the new size, and takes back the pods, whose template is the same. Every step follows from the sizes that the claims and
//! the template have (docs/decisions/0024-growing-volumes.md).

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Written;
use kube::ResourceExt;
use millrace_api::Rejected;
use millrace_api::names::Component;
use millrace_api::pods::is_ready;
use millrace_api::quantity::Quantity;

use crate::act::{Act, ClaimGrowth, SetRemoval};
use crate::observed::{Claim, Observed};

/// Key of an amount of storage.
const STORAGE: &str = "storage";

/// How the volumes of one store grow.
#[derive(Debug)]
pub struct Growing {
    /// Whose volumes.
    component: Component,
    /// What is to be done, one step of it.
    pub acts: Vec<Act>,
    /// What is waited for, in sentences.
    pub waits: Vec<String>,
    /// Why the size stays as it is.
    pub refused: Option<Rejected>,
    /// Whether no StatefulSet may be made anew now.
    is_held: bool,
}

impl Growing {
    /// Begins with a store that has nothing to do. `is_held`: no StatefulSet may be made anew now.
    pub fn of(component: Component, is_held: bool) -> Self {
        Self { component, acts: Vec::new(), waits: Vec::new(), refused: None, is_held }
    }

    /// Takes the next step with a StatefulSet, unless one of the store's is at another step. Until all its claims have
    /// grown, `wanted` gets the size that is there, so that all else of it goes ahead.
    pub fn step(&mut self, found: &StatefulSet, wanted: &mut StatefulSet, observed: &Observed) {
        let (Some(before), Some(size)) = (Size::of(found), Size::of(wanted)) else { return };
        before.put_into(wanted);
        if size.amount < before.amount {
            let problem = format!("a volume cannot shrink without losing data; set it back to {}", before.text);
            return self.refuse(problem);
        }
        let grows = size.amount > before.amount;
        if observed.children.volumes.is_none() {
            if grows {
                let why = "it is unknown how large the volumes are, since the operator may not list claims";
                self.refuse(format!("{why}; set it back to {}", before.text));
            }
            return;
        }
        if !self.acts.is_empty() || !self.waits.is_empty() || self.refused.is_some() {
            return;
        }
        let claims = observed.children.claims_of(found);
        let shortfall = |(name, claim): &(&str, &Claim)| Some(format!("claim '{name}' {}", claim.shortfall()?));
        self.waits.extend(claims.iter().filter_map(shortfall));
        if !self.waits.is_empty() {
            return;
        }
        match observed.children.next_to_grow(found, size.amount) {
            Some((name, claim)) => self.grow(name, claim, &size, &before),
            None if grows && !has_all_pods(found, observed) => {
                self.waits.push(format!("StatefulSet '{}' is recreated once all its pods are ready", found.name_any()));
            }
            None if grows && self.is_held => {
                self.waits.push(format!("StatefulSet '{}' is recreated once it may change", found.name_any()));
            }
            None if grows => self.remake(found, wanted, &claims),
            None => {}
        }
    }

    /// Reports a StatefulSet that is on its way out.
    pub fn leaves(&mut self, found: &StatefulSet) {
        self.waits.push(format!("StatefulSet '{}' is being deleted, and is then recreated", found.name_any()));
    }

    fn grow(&mut self, name: &str, claim: &Claim, size: &Size, before: &Size) {
        let from = claim.size.clone().unwrap_or_default();
        match &claim.growth.answer {
            Some(Ok(())) => self.acts.push(Act::GrowClaim(ClaimGrowth {
                name: name.to_owned(),
                resource_version: claim.resource_version.clone(),
                from,
                to: size.text.clone(),
            })),
            Some(Err(said)) => {
                let (of_class, otherwise) = match claim.class.as_deref() {
                    None | Some("") => (" of no StorageClass".to_owned(), String::new()),
                    Some(class) => (
                        format!(" of StorageClass '{class}'"),
                        format!(
                            ", or set allowVolumeExpansion of StorageClass '{class}' if its driver can grow volumes"
                        ),
                    ),
                };
                self.refuse(format!(
                    "claim '{name}'{of_class} cannot grow from {from} to {}: {said}; set it back to {}{otherwise}",
                    size.text, before.text
                ));
            }
            None if claim.is_unbound => {
                self.waits.push(format!("claim '{name}' grows from {from} to {} once it has a volume", size.text));
            }
            None => {
                self.waits.push(format!(
                    "claim '{name}' must grow from {from} to {}, but the operator could not check whether it can",
                    size.text
                ));
            }
        }
    }

    /// Removes a StatefulSet whose claims have all grown. Claims that go with it are first taken off it: what was made a
    /// moment before a removal may be missed when its dependents are released, and would be deleted.
    fn remake(&mut self, found: &StatefulSet, wanted: &mut StatefulSet, claims: &[(&str, &Claim)]) {
        let name = found.name_any();
        let keeps = StatefulSetPersistentVolumeClaimRetentionPolicy {
            when_deleted: Some("Retain".to_owned()),
            when_scaled: Some("Retain".to_owned()),
        };
        if let Some(spec) = wanted.spec.as_mut() {
            spec.persistent_volume_claim_retention_policy = Some(keeps);
        }
        if !lets_claims_be(found) || claims.iter().any(|(_, claim)| claim.is_owned) {
            self.waits.push(format!("StatefulSet '{name}' releases its claims before it is recreated"));
            return;
        }
        self.acts.extend(found.uid().map(|uid| Act::RemakeSet(SetRemoval { name, uid })));
    }

    fn refuse(&mut self, message: String) {
        let path = format!("spec.{}.storage.size", self.component);
        self.refused.get_or_insert(Rejected { path, message, excerpt: None });
    }
}

/// Returns whether all members of a StatefulSet have a pod that is ready: while it is away none would be made anew, and how
/// many it has is told by its pods.
fn has_all_pods(found: &StatefulSet, observed: &Observed) -> bool {
    let name = found.name_any();
    let pods: Vec<&Pod> = observed.children.pods_of_set(&name).collect();
    let wanted = found.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or_default();
    pods.len() as i32 == wanted && pods.iter().all(|pod| is_ready(pod) && pod.metadata.deletion_timestamp.is_none())
}

/// Returns whether a StatefulSet leaves its claims where they are when it goes, by its own word and its controller's.
fn lets_claims_be(found: &StatefulSet) -> bool {
    let policy = found.spec.as_ref().and_then(|spec| spec.persistent_volume_claim_retention_policy.as_ref());
    let deletes = policy.and_then(|policy| policy.when_deleted.as_deref()) == Some("Delete");
    let seen = found.status.as_ref().and_then(|status| status.observed_generation);
    !deletes && seen >= found.metadata.generation
}

/// The size in the template of a StatefulSet's claims.
#[derive(Clone, Debug)]
pub struct Size {
    text: String,
    /// The amount that is written there.
    pub amount: Quantity,
}

impl Size {
    /// Reads it. `None`: there is none.
    pub fn of(stateful_set: &StatefulSet) -> Option<Self> {
        let templates = stateful_set.spec.as_ref()?.volume_claim_templates.as_ref()?;
        let requests = templates.first()?.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?;
        let text = requests.get(STORAGE)?.0.clone();
        Some(Self { amount: text.parse().ok()?, text })
    }

    /// Writes it into the template of a StatefulSet, unless it has as much in other words.
    fn put_into(&self, stateful_set: &mut StatefulSet) {
        if Self::of(stateful_set).is_some_and(|size| size.amount == self.amount) {
            return;
        }
        let templates = stateful_set.spec.as_mut().and_then(|spec| spec.volume_claim_templates.as_mut());
        for claim in templates.into_iter().flatten() {
            let resources = claim.spec.get_or_insert_default().resources.get_or_insert_default();
            resources.requests.get_or_insert_default().insert(STORAGE.to_owned(), Written(self.text.clone()));
        }
    }
}
