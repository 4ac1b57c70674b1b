//! Volumes of an earlier pipeline of the same name that do not fit what this one asks for. Pure.
//!
//! A StatefulSet takes any claim of the right name for its own, whatever its size and class, and starts empty beside one of
//! another name. So claims are judged before their StatefulSet is made, and nothing starts on those that do not fit.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::ResourceExt;
use millrace_api::Pipeline;
use millrace_api::names::Component;
use millrace_api::pipeline::Storage;
use millrace_api::quantity::Quantity;

use crate::labels::{COMPONENT_LABEL, RACK_LABEL};
use crate::observed::Observed;

/// Returns what is wrong with the kept volumes of a store, and what to do; `None`: nothing is, or the store has begun.
pub fn misfit(pipeline: &Pipeline, observed: &Observed, component: Component) -> Option<String> {
    let claims = &observed.children.claims;
    let own: Vec<&PersistentVolumeClaim> = observed.children.of_component(claims, component).collect();
    let has_set = |name: &str| observed.children.stateful_sets.contains_key(name);
    let sets: Vec<(String, Option<&str>, u32)> = match component {
        Component::ZooKeeper => vec![(pipeline.names.component(component), None, pipeline.zookeeper.replicas)],
        Component::Kafka => vec![(pipeline.names.component(component), None, pipeline.kafka.replicas)],
        Component::Cassandra => {
            let racks = pipeline.cassandra.racks.iter();
            racks.map(|rack| (pipeline.names.rack(&rack.name), Some(rack.name.as_str()), rack.replicas)).collect()
        }
        Component::Processor | Component::Producer | Component::Run => return None,
    };
    let has_begun = sets.iter().any(|(name, ..)| has_set(name));
    own.into_iter().find_map(|claim| {
        let rack = claim.labels().get(RACK_LABEL).map(String::as_str);
        let Some((set, _, replicas)) = sets.iter().find(|(_, of, _)| *of == rack) else {
            return (!has_begun).then(|| of_unknown_rack(claim, rack.unwrap_or_default(), &sets));
        };
        if has_set(set) {
            return None;
        }
        let (storage, field) = match component {
            Component::ZooKeeper => (&pipeline.zookeeper.member.storage, "spec.zookeeper"),
            Component::Kafka => (&pipeline.kafka.member.storage, "spec.kafka"),
            _ => (&pipeline.cassandra.member.storage, "spec.cassandra"),
        };
        surplus(claim, *replicas, field)
            .or_else(|| too_small(claim, storage, field))
            .or_else(|| of_class(claim, storage, field))
    })
}

fn of_unknown_rack(claim: &PersistentVolumeClaim, rack: &str, sets: &[(String, Option<&str>, u32)]) -> String {
    let racks: Vec<&str> = sets.iter().filter_map(|(_, rack, _)| *rack).collect();
    format!(
        "{} belongs to rack '{rack}', and spec.cassandra.racks has {}: name the racks as they were, or {}",
        kept(claim),
        racks.join(", "),
        remove(claim)
    )
}

fn surplus(claim: &PersistentVolumeClaim, replicas: u32, field: &str) -> Option<String> {
    let name = claim.name_any();
    let ordinal: u32 = name.rsplit_once('-')?.1.parse().ok()?;
    (ordinal >= replicas).then(|| {
        format!(
            "{} belongs to member {ordinal}, and {field} asks for {replicas} replicas: ask for {} or more, or {}",
            kept(claim),
            ordinal + 1,
            remove(claim)
        )
    })
}

fn too_small(claim: &PersistentVolumeClaim, storage: &Storage, field: &str) -> Option<String> {
    let requests = claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?;
    let size = &requests.get("storage")?.0;
    let (has, wanted): (Quantity, Quantity) = (size.parse().ok()?, storage.size.parse().ok()?);
    (has < wanted).then(|| {
        format!(
            "{} has {size}, and {field}.storage.size asks for {}: ask for {size}, or {}",
            kept(claim),
            storage.size,
            remove(claim)
        )
    })
}

fn of_class(claim: &PersistentVolumeClaim, storage: &Storage, field: &str) -> Option<String> {
    let (has, wanted) = (claim.spec.as_ref()?.storage_class_name.as_ref()?, storage.class_name.as_ref()?);
    (has != wanted).then(|| {
        format!(
            "{} has class '{has}', and {field}.storage.className asks for '{wanted}': ask for '{has}', or {}",
            kept(claim),
            remove(claim)
        )
    })
}

fn kept(claim: &PersistentVolumeClaim) -> String {
    format!("volume claim '{}', kept of an earlier pipeline,", claim.name_any())
}

fn remove(claim: &PersistentVolumeClaim) -> String {
    let namespace = claim.namespace().unwrap_or_default();
    format!("remove the claim and the data on it with `kubectl delete pvc -n {namespace} {}`", claim.name_any())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claim(size: &str, class: Option<&str>) -> PersistentVolumeClaim {
        serde_json::from_value(json!({
            "metadata": {"name": "data-users-kafka-1", "namespace": "streams"},
            "spec": {"storageClassName": class, "resources": {"requests": {"storage": size}}},
        }))
        .expect("it is a claim")
    }

    fn storage(class: Option<&str>) -> Storage {
        Storage { size: "1Gi".to_owned(), class_name: class.map(str::to_owned) }
    }

    #[test]
    fn sizes_are_compared_by_value() {
        let small = too_small(&claim("512Mi", None), &storage(None), "spec.kafka").expect("it is too small");
        assert!(small.contains("has 512Mi, and spec.kafka.storage.size asks for 1Gi: ask for 512Mi"), "{small}");
        assert!(small.ends_with("`kubectl delete pvc -n streams data-users-kafka-1`"), "{small}");
        for fits in ["1024Mi", "1Gi", "2Gi"] {
            assert_eq!(too_small(&claim(fits, None), &storage(None), "spec.kafka"), None);
        }
    }

    #[test]
    fn the_default_class_fits_any() {
        assert!(of_class(&claim("1Gi", Some("slow")), &storage(Some("fast")), "spec.kafka").is_some());
        assert_eq!(of_class(&claim("1Gi", Some("fast")), &storage(Some("fast")), "spec.kafka"), None);
        assert_eq!(of_class(&claim("1Gi", Some("slow")), &storage(None), "spec.kafka"), None);
    }

    #[test]
    fn members_that_nobody_asks_for_are_named() {
        assert!(surplus(&claim("1Gi", None), 1, "spec.kafka").is_some_and(|message| message.contains("2 or more")));
        assert_eq!(surplus(&claim("1Gi", None), 2, "spec.kafka"), None);
    }
}
