//! Volumes left by an earlier pipeline of the same name that do not fit what this one asks for. Pure.
//!
//! A StatefulSet takes any claim of the right name for its own, whatever its size and class, and starts empty beside one of
//! another name. So claims that have had a volume are judged before their StatefulSet is made, and nothing starts on those
//! that do not fit.

use millrace_api::Pipeline;
use millrace_api::names::Component;
use millrace_api::pipeline::Storage;
use millrace_api::quantity::Quantity;

use crate::labels::PIPELINE_LABEL;
use crate::observed::{Claim, Observed};

/// Returns what is wrong with the kept volumes of a store, and what to do; `None`: nothing is, or the store has begun.
pub fn misfit(pipeline: &Pipeline, observed: &Observed, component: Component) -> Option<String> {
    let sets = sets(pipeline, component)?;
    let has_set = |set: &Set<'_>| observed.children.has_begun(&set.name);
    let has_begun = sets.iter().any(has_set);
    // One whose server has left belongs to no member.
    let is_of_member = |claim: &Claim| !claim.is_unbound && !claim.has_left;
    let is_kept = |claim: &Claim| claim.component.as_deref() == Some(component.as_str()) && is_of_member(claim);
    let kept = observed.children.volumes.iter().flatten().filter(|(_, claim)| is_kept(claim));
    kept.into_iter().find_map(|(name, claim)| {
        let kept = Kept { name, claim, pipeline };
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
    pipeline: &'a Pipeline,
}

impl Kept<'_> {
    fn of_unknown_rack(&self, sets: &[Set<'_>]) -> String {
        let racks: Vec<&str> = sets.iter().filter_map(|set| set.rack).collect();
        self.say(&format!(
            "belongs to rack '{}', and spec.cassandra.racks has {}: create the pipeline with the same racks as before",
            self.claim.rack.as_deref().unwrap_or_default(),
            racks.join(", ")
        ))
    }

    fn surplus(&self, set: &Set<'_>) -> Option<String> {
        let ordinal: u32 = self.name.rsplit_once('-')?.1.parse().ok()?;
        let Set { field, replicas, .. } = set;
        let problem = format!(
            "belongs to member {ordinal}, and {field} asks for {replicas} replicas: set that to {} or more",
            ordinal + 1
        );
        (ordinal >= *replicas).then(|| self.say(&problem))
    }

    fn too_small(&self, set: &Set<'_>) -> Option<String> {
        let (size, wanted) = (self.claim.size.as_deref()?, &set.storage.size);
        let is_small = size.parse::<Quantity>().ok()? < wanted.parse::<Quantity>().ok()?;
        let field = set.field;
        let problem = format!(
            "has {size}, and {field}.storage.size asks for {wanted}: set that to {size}, and let it grow once the store runs"
        );
        is_small.then(|| self.say(&problem))
    }

    fn of_class(&self, set: &Set<'_>) -> Option<String> {
        let (class, wanted) = (self.claim.class.as_deref()?, set.storage.class_name.as_deref()?);
        let field = set.field;
        let problem =
            format!("has class '{class}', and {field}.storage.className asks for '{wanted}': set that to '{class}'");
        (class != wanted).then(|| self.say(&problem))
    }

    fn say(&self, problem: &str) -> String {
        let Kept { name, pipeline, .. } = self;
        let (namespace, of) = (pipeline.names.namespace(), pipeline.names.pipeline());
        format!(
            "volume claim '{name}', which already exists, {problem} (`kubectl delete -n {namespace} spl/{of}` leaves \
             the volumes where they are); or, to start without any of the data, delete the claims of all its stores: \
             `kubectl delete pvc -n {namespace} -l {PIPELINE_LABEL}={of}`"
        )
    }
}
