//! Volumes left by an earlier pipeline of the same name that do not fit what this one asks for. Pure.
//!
//! A StatefulSet takes any claim of the right name for its own, whatever its size and class, and starts empty beside one of
//! another name. So claims that have had a volume are judged before their StatefulSet is made, and nothing starts on those
//! that do not fit.

use millrace_api::Pipeline;
use millrace_api::names::Component;
use millrace_api::pipeline::Storage;
use millrace_api::quantity::Quantity;

use crate::observed::{Claim, Observed};

/// Returns what is wrong with the kept volumes of a store, and what to do; `None`: nothing is, or the store has begun.
pub fn misfit(pipeline: &Pipeline, observed: &Observed, component: Component) -> Option<String> {
    let sets = sets(pipeline, component)?;
    let has_set = |set: &Set<'_>| observed.children.stateful_sets.contains_key(&set.name);
    let has_begun = sets.iter().any(has_set);
    let is_kept = |claim: &Claim| claim.component.as_deref() == Some(component.as_str()) && !claim.is_unbound;
    let kept = observed.children.volumes.iter().flatten().filter(|(_, claim)| is_kept(claim));
    let namespace = pipeline.names.namespace();
    kept.into_iter().find_map(|(name, claim)| {
        let kept = Kept { name, claim, namespace };
        match sets.iter().find(|set| set.rack == claim.rack.as_deref()) {
            Some(set) if has_set(set) => None,
            Some(set) => kept.surplus(set).or_else(|| kept.too_small(set)).or_else(|| kept.of_class(set)),
            None => (!has_begun).then(|| kept.of_unknown_rack(&sets)),
        }
    })
}

/// A StatefulSet of a store, as far as claims are concerned.
struct Set<'a> {
    name: String,
    rack: Option<&'a str>,
    replicas: u32,
    storage: &'a Storage,
    /// Path of the store's part of the spec.
    field: &'static str,
}

fn sets(pipeline: &Pipeline, component: Component) -> Option<Vec<Set<'_>>> {
    let one = |replicas, storage, field| {
        vec![Set { name: pipeline.names.component(component), rack: None, replicas, storage, field }]
    };
    match component {
        Component::ZooKeeper => {
            let zookeeper = &pipeline.zookeeper;
            Some(one(zookeeper.replicas, &zookeeper.member.storage, "spec.zookeeper"))
        }
        Component::Kafka => Some(one(pipeline.kafka.replicas, &pipeline.kafka.member.storage, "spec.kafka")),
        Component::Cassandra => {
            let racks = pipeline.cassandra.racks.iter().map(|rack| Set {
                name: pipeline.names.rack(&rack.name),
                rack: Some(&rack.name),
                replicas: rack.replicas,
                storage: &pipeline.cassandra.member.storage,
                field: "spec.cassandra",
            });
            Some(racks.collect())
        }
        Component::Processor | Component::Producer | Component::Run => None,
    }
}

/// A claim that an earlier pipeline left.
struct Kept<'a> {
    name: &'a str,
    claim: &'a Claim,
    namespace: &'a str,
}

impl Kept<'_> {
    fn of_unknown_rack(&self, sets: &[Set<'_>]) -> String {
        let racks: Vec<&str> = sets.iter().filter_map(|set| set.rack).collect();
        self.say(&format!(
            "belongs to rack '{}', and spec.cassandra.racks has {}: name the racks as they were",
            self.claim.rack.as_deref().unwrap_or_default(),
            racks.join(", ")
        ))
    }

    fn surplus(&self, set: &Set<'_>) -> Option<String> {
        let ordinal: u32 = self.name.rsplit_once('-')?.1.parse().ok()?;
        let Set { field, replicas, .. } = set;
        let problem = format!(
            "belongs to member {ordinal}, and {field} asks for {replicas} replicas: ask for {} or more",
            ordinal + 1
        );
        (ordinal >= *replicas).then(|| self.say(&problem))
    }

    fn too_small(&self, set: &Set<'_>) -> Option<String> {
        let (size, wanted) = (self.claim.size.as_deref()?, &set.storage.size);
        let is_small = size.parse::<Quantity>().ok()? < wanted.parse::<Quantity>().ok()?;
        let field = set.field;
        let problem = format!("has {size}, and {field}.storage.size asks for {wanted}: ask for {size}");
        is_small.then(|| self.say(&problem))
    }

    fn of_class(&self, set: &Set<'_>) -> Option<String> {
        let (class, wanted) = (self.claim.class.as_deref()?, set.storage.class_name.as_deref()?);
        let field = set.field;
        let problem =
            format!("has class '{class}', and {field}.storage.className asks for '{wanted}': ask for '{class}'");
        (class != wanted).then(|| self.say(&problem))
    }

    fn say(&self, problem: &str) -> String {
        let Kept { name, namespace, .. } = self;
        format!(
            "volume claim '{name}', which is there already, {problem}; or, only if the data on it is not needed, remove it: \
             `kubectl delete pvc -n {namespace} {name}`"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(size: &str, class: Option<&str>) -> Claim {
        Claim {
            uid: "uid".to_owned(),
            resource_version: "1".to_owned(),
            class: class.map(str::to_owned),
            size: Some(size.to_owned()),
            component: Some("kafka".to_owned()),
            rack: None,
            is_unbound: false,
            is_leaving: false,
        }
    }

    /// Judges a claim of member 1 of a store that asks for 1Gi.
    fn judge(claim: &Claim, replicas: u32, class: Option<&str>) -> Option<String> {
        let storage = Storage { size: "1Gi".to_owned(), class_name: class.map(str::to_owned) };
        let set = Set { name: "users-kafka".to_owned(), rack: None, replicas, storage: &storage, field: "spec.kafka" };
        let kept = Kept { name: "data-users-kafka-1", claim, namespace: "streams" };
        kept.surplus(&set).or_else(|| kept.too_small(&set)).or_else(|| kept.of_class(&set))
    }

    #[test]
    fn sizes_are_compared_by_value() {
        let small = judge(&claim("512Mi", None), 2, None).expect("it is too small");
        assert!(small.contains("has 512Mi, and spec.kafka.storage.size asks for 1Gi: ask for 512Mi"), "{small}");
        assert!(small.ends_with("`kubectl delete pvc -n streams data-users-kafka-1`"), "{small}");
        for fits in ["1024Mi", "1Gi", "2Gi"] {
            assert_eq!(judge(&claim(fits, None), 2, None), None);
        }
    }

    #[test]
    fn the_default_class_fits_any() {
        assert!(judge(&claim("1Gi", Some("slow")), 2, Some("fast")).is_some());
        assert_eq!(judge(&claim("1Gi", Some("fast")), 2, Some("fast")), None);
        assert_eq!(judge(&claim("1Gi", Some("slow")), 2, None), None);
    }

    #[test]
    fn members_that_nobody_asks_for_are_named() {
        assert!(judge(&claim("1Gi", None), 1, None).is_some_and(|message| message.contains("ask for 2 or more")));
        assert_eq!(judge(&claim("1Gi", None), 2, None), None);
    }
}
