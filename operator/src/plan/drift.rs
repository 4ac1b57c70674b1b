//! Finds the desired objects that are missing or differ from what is there. Pure.
//!
//! An object is as desired when every value that we set is there with the same value; what the API server or others
//! added beside it does not matter. Values that we once set and set no more show through the checksum annotation that
//! every desired object carries.

use std::collections::BTreeMap;

use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::objects::Objects;
use crate::observed::Children;

/// Annotation with the checksum of the object as it was desired.
pub const DESIRED_CHECKSUM: &str = "millrace.dev/desired-checksum";

/// Returns the objects to apply, each with its checksum.
pub fn differing(objects: Objects, children: &Children) -> Objects {
    let Objects {
        service_accounts,
        config_maps,
        services,
        network_policies,
        disruption_budgets,
        stateful_sets,
        deployments,
    } = objects;
    Objects {
        service_accounts: differing_of(service_accounts, &children.service_accounts),
        config_maps: differing_of(config_maps, &children.config_maps),
        services: differing_of(services, &children.services),
        network_policies: differing_of(network_policies, &children.network_policies),
        disruption_budgets: differing_of(disruption_budgets, &children.disruption_budgets),
        stateful_sets: differing_of(stateful_sets, &children.stateful_sets),
        deployments: differing_of(deployments, &children.deployments),
    }
}

fn differing_of<K: Resource + Serialize>(desired: Vec<K>, live: &BTreeMap<String, K>) -> Vec<K> {
    let mut differing = Vec::new();
    for mut object in desired {
        let wanted = as_json(&object);
        let checksum = checksum(&wanted);
        let found = live.get(&object.name_any());
        let is_as_desired = found.is_some_and(|found| {
            found.annotations().get(DESIRED_CHECKSUM) == Some(&checksum) && contains(&as_json(found), &wanted)
        });
        if !is_as_desired {
            object.annotations_mut().insert(DESIRED_CHECKSUM.to_owned(), checksum);
            differing.push(object);
        }
    }
    differing
}

/// Returns an object as JSON; by way of values and not of text, so that each kind is compiled for one form.
fn as_json<K: Serialize>(object: &K) -> Value {
    serde_json::to_value(object).expect("Kubernetes objects serialise")
}

fn checksum(object: &Value) -> String {
    let digest = Sha256::digest(object.to_string().as_bytes());
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn contains(live: &Value, desired: &Value) -> bool {
    match (live, desired) {
        (Value::Object(live), Value::Object(desired)) => {
            desired.iter().all(|(key, wanted)| match live.get(key) {
                Some(found) if QUANTITIES.contains(&key.as_str()) => same_quantities(found, wanted),
                Some(found) => contains(found, wanted),
                // The API server drops empty values.
                None => is_empty(wanted),
            })
        }
        (Value::Array(live), Value::Array(desired)) => {
            live.len() == desired.len() && live.iter().zip(desired).all(|(live, desired)| contains(live, desired))
        }
        (live, desired) => live == desired,
    }
}

/// Fields that hold quantities, which the API server writes in a form of its own: 0.5 comes back as 500m.
const QUANTITIES: [&str; 3] = ["limits", "requests", "sizeLimit"];

fn same_quantities(live: &Value, desired: &Value) -> bool {
    match (live, desired) {
        (Value::Object(live), Value::Object(desired)) => {
            desired.iter().all(|(key, wanted)| live.get(key).is_some_and(|found| same_quantities(found, wanted)))
        }
        (Value::String(live), Value::String(desired)) => {
            live == desired || quantity(live).is_some_and(|live| Some(live) == quantity(desired))
        }
        (live, desired) => live == desired,
    }
}

/// Returns a quantity in thousandths; `None` for forms that admission lets nobody write.
fn quantity(text: &str) -> Option<u128> {
    const UNITS: [(&str, u128); 11] = [
        ("Ki", 1_000 << 10),
        ("Mi", 1_000 << 20),
        ("Gi", 1_000 << 30),
        ("Ti", 1_000 << 40),
        ("m", 1),
        ("k", 1_000_000),
        ("M", 1_000_000_000),
        ("G", 1_000_000_000_000),
        ("T", 1_000_000_000_000_000),
        ("P", 1_000_000_000_000_000_000),
        ("", 1_000),
    ];
    let (number, unit) = UNITS.iter().find_map(|(suffix, unit)| Some((text.strip_suffix(suffix)?, *unit)))?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let tenths = 10u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    let scaled = digits.checked_mul(unit)?;
    (scaled % tenths == 0).then_some(scaled / tenths)
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_empty),
        Value::String(text) => text.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tolerates_what_others_added_and_nothing_else() {
        let live = json!({"spec": {"replicas": 3, "strategy": {"type": "OnDelete"}, "items": [{"a": 1, "b": 2}]}});
        assert!(contains(&live, &json!({"spec": {"replicas": 3, "items": [{"a": 1}], "empty": {}, "text": ""}})));
        assert!(!contains(&live, &json!({"spec": {"replicas": 2}})));
        assert!(!contains(&live, &json!({"spec": {"items": [{"a": 1}, {"a": 1}]}})));
        assert!(!contains(&live, &json!({"spec": {"missing": 1}})));
    }

    #[test]
    fn takes_a_quantity_for_the_same_in_every_form() {
        let requests = |cpu: &str, memory: &str| json!({"requests": {"cpu": cpu, "memory": memory}});
        let live = requests("500m", "1Gi");
        for (cpu, memory) in [("0.5", "1024Mi"), ("500m", "1073741824"), (".5", "1Gi")] {
            assert!(contains(&live, &requests(cpu, memory)), "{cpu} {memory}");
        }
        for (cpu, memory) in [("0.6", "1Gi"), ("500m", "1G"), ("500", "1Gi"), ("many", "1Gi")] {
            assert!(!contains(&live, &requests(cpu, memory)), "{cpu} {memory}");
        }
        // Elsewhere a text is a text.
        assert!(!contains(&json!({"annotation": "500m"}), &json!({"annotation": "0.5"})));
    }
}
