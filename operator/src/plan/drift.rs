//! Finds the desired objects that are missing or differ from what is there. Pure.
//!
//! An object is as desired when every value that we set is there ([`crate::difference`]). Values that we once set and
//! set no more show through the checksum annotation that every desired object carries. What others changed is set back
//! once; what differs again is left alone for a while, and so is what the API server itself answers: no write would
//! change it.

use std::collections::BTreeMap;

use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::difference::{Difference, differences, listed};
use crate::ledger::{ObjectKey, Written};
use crate::objects::Objects;
use crate::observed::Observed;
use crate::write::FIELD_MANAGER;

/// Annotation with the checksum of the object as it was desired.
pub const DESIRED_CHECKSUM: &str = "millrace.dev/desired-checksum";

/// How what is there differs from what is desired.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Drift {
    /// Objects to apply, each with its checksum.
    pub apply: Objects,
    /// What others changed, and what is set back by it.
    pub set_back: Vec<Changed>,
    /// What differs and is left alone.
    pub contested: Vec<Changed>,
}

/// An object of which others changed what we set.
#[derive(Clone, Debug, PartialEq)]
pub struct Changed {
    /// Which one.
    pub object: ObjectKey,
    /// What of it.
    pub differences: Vec<Difference>,
    /// Field manager that changed it last, as far as the object shows.
    pub by: Option<String>,
}

impl Changed {
    /// Returns what was changed and by whom, in words.
    pub fn describe(&self) -> String {
        let Self { object: ObjectKey { kind, name }, differences, by } = self;
        let changes: Vec<String> = differences.iter().map(Difference::describe).collect();
        let by = by.as_ref().map(|manager| format!(", by field manager '{manager}'")).unwrap_or_default();
        format!("{kind} '{name}': {}{by}", listed(&changes, "; "))
    }
}

/// Returns how the children differ from the desired objects.
pub fn drift(objects: Objects, observed: &Observed) -> Drift {
    let Objects {
        service_accounts,
        config_maps,
        services,
        network_policies,
        disruption_budgets,
        stateful_sets,
        deployments,
    } = objects;
    let children = &observed.children;
    let mut drift = Drift::default();
    drift.apply = Objects {
        service_accounts: drift.take(service_accounts, &children.service_accounts, observed),
        config_maps: drift.take(config_maps, &children.config_maps, observed),
        services: drift.take(services, &children.services, observed),
        network_policies: drift.take(network_policies, &children.network_policies, observed),
        disruption_budgets: drift.take(disruption_budgets, &children.disruption_budgets, observed),
        stateful_sets: drift.take(stateful_sets, &children.stateful_sets, observed),
        deployments: drift.take(deployments, &children.deployments, observed),
    };
    drift
}

/// What is to be done about an object.
enum Verdict {
    AsDesired,
    Apply,
    SetBack(Vec<Difference>),
    LeaveAlone(Vec<Difference>),
}

impl Drift {
    /// Judges the objects of a kind. Returns those to apply.
    fn take<K>(&mut self, desired: Vec<K>, live: &BTreeMap<String, K>, observed: &Observed) -> Vec<K>
    where
        K: Resource<DynamicType = ()> + Serialize,
    {
        let mut apply = Vec::new();
        for mut object in desired {
            let wanted = as_json(&object);
            let checksum = checksum(&wanted);
            let key = ObjectKey { kind: K::kind(&()).into_owned(), name: object.name_any() };
            let found = live.get(&key.name);
            let verdict = judge(&wanted, &checksum, found, observed.writes.get(&key), observed);
            let changed = |differences: Vec<Difference>| {
                let by = found.and_then(|found| changed_by(found, &differences));
                Changed { object: key, differences, by }
            };
            match verdict {
                Verdict::AsDesired => continue,
                Verdict::LeaveAlone(differences) => {
                    self.contested.push(changed(differences));
                    continue;
                }
                Verdict::SetBack(differences) => self.set_back.push(changed(differences)),
                Verdict::Apply => {}
            }
            object.annotations_mut().insert(DESIRED_CHECKSUM.to_owned(), checksum);
            apply.push(object);
        }
        apply
    }
}

fn judge<K: Resource + Serialize>(
    wanted: &Value,
    checksum: &str,
    found: Option<&K>,
    written: Option<&Written>,
    observed: &Observed,
) -> Verdict {
    let Some(found) = found else { return Verdict::Apply };
    let written = written.filter(|written| written.checksum == checksum);
    // Somebody may have taken the annotation off, again and again; what we wrote ourselves we know.
    if found.annotations().get(DESIRED_CHECKSUM).is_none_or(|noted| noted != checksum) && written.is_none() {
        return Verdict::Apply;
    }
    let differences = differences(&as_json(found), wanted);
    if differences.is_empty() {
        return Verdict::AsDesired;
    }
    let left_alone = |difference: &&Difference| {
        written.is_some_and(|written| written.keeps(difference) || written.is_contested(difference, observed.now))
    };
    match differences.iter().all(|difference| left_alone(&difference)) {
        true => Verdict::LeaveAlone(differences),
        false => Verdict::SetBack(differences),
    }
}

/// Returns who last wrote a field of the names of those that differ, other than we. A status is nobody's change.
fn changed_by(found: &impl Resource, differences: &[Difference]) -> Option<String> {
    let fields: Vec<String> = differences.iter().map(|difference| format!("\"f:{}\"", difference.field())).collect();
    let others = found.meta().managed_fields.iter().flatten().filter(|entry| {
        let owned = entry.fields_v1.as_ref().map(|owned| owned.0.to_string()).unwrap_or_default();
        entry.manager.as_deref() != Some(FIELD_MANAGER)
            && entry.subresource.as_ref().is_none_or(|subresource| subresource != "status")
            && fields.iter().any(|field| owned.contains(field))
    });
    others.max_by(|one, other| one.time.cmp(&other.time))?.manager.clone()
}

/// Returns an object as JSON; by way of values and not of text, so that each kind is compiled for one form.
pub(super) fn as_json<K: Serialize>(object: &K) -> Value {
    serde_json::to_value(object).expect("Kubernetes objects serialise")
}

pub(super) fn checksum(object: &Value) -> String {
    let digest = Sha256::digest(object.to_string().as_bytes());
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
