//! What another spec would lead to, found by rendering both and comparing: for people who look before they apply, and for
//! the command that shows it to them. Pure; asks no store, so that it says what each store is asked for and not what it
//! answers.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::PodTemplateSpec;
use kube::ResourceExt;
use millrace_api::Pipeline;
use millrace_api::names::Component;
use millrace_api::pipeline::{Factor, Member, Table, Topic};
use millrace_terms::ColumnSettings;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::cassandra::repair::is_switched_on;
use crate::desire::{Desired, desire};
use crate::difference::differences;
use crate::key::OperatorKey;
use crate::objects::Objects;
use crate::objects::properties::{SERVER_PROPERTIES, parse};
use crate::objects::scope::{Administration, CONFIG_CHECKSUM, Ensemble, Inputs, Replicas};
use crate::observed::Observed;
use millrace_stores::permitted::Permitted;

/// Something that another spec would change.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// Whose.
    #[serde(serialize_with = "by_name")]
    pub component: Component,
    /// What it does to the pods that run.
    pub effect: Effect,
    /// What changes, as a sentence without its end.
    pub what: String,
}

fn by_name<S: Serializer>(component: &Component, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(component)
}

/// What a change does to the pods that run.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Effect {
    /// Nothing.
    None,
    /// Workers are replaced by a rolling update; records wait in Kafka meanwhile.
    Rollout,
    /// Members of a store are restarted one at a time, unless all of them accept the change while they run.
    PossibleRestart,
    /// Members of a store are restarted one at a time, each when all others are up.
    Restart,
}

/// Returns what a pipeline's new spec would change, in the order of the components.
pub fn changes(before: &Pipeline, after: &Pipeline) -> Vec<Change> {
    let mut changes = Vec::new();
    let (old, new) = (rendered(before, before), rendered(before, after));
    for component in Component::ALL {
        let mut told = Told { component, own: before.names.component(component), changes: &mut changes };
        match component {
            Component::ZooKeeper => {
                let what = "servers, which join and leave by reconfiguration";
                told.number(before.zookeeper.replicas, after.zookeeper.replicas, what);
                told.store(&before.zookeeper.member, &after.zookeeper.member, &old.zookeeper, &new.zookeeper);
            }
            Component::Kafka => {
                told.brokers(before.kafka.replicas, after.kafka.replicas);
                told.topics(&before.kafka.topics, &after.kafka.topics);
                told.store(&before.kafka.member, &after.kafka.member, &old.kafka, &new.kafka);
            }
            Component::Cassandra => {
                told.nodes(before, after);
                told.tables(before, after);
                told.store(&before.cassandra.member, &after.cassandra.member, &old.cassandra, &new.cassandra);
            }
            Component::Processor => {
                told.number(before.processor.replicas, after.processor.replicas, "processors");
                told.workers(old.processor.as_ref(), new.processor.as_ref());
            }
            Component::Producer => {
                told.number(before.producer.replicas, after.producer.replicas, "producers");
                told.workers(Some(&old.producer), Some(&new.producer));
            }
            Component::Run => {}
        }
    }
    changes
}

/// Renders the objects of a spec. What only the operator knows is the same for every spec, and so is no change; copies that
/// the spec leaves to us are those of before, since data that exists keeps its copies.
fn rendered(before: &Pipeline, pipeline: &Pipeline) -> Desired {
    let copies = match pipeline.cassandra.replication_factor {
        Factor::Written(copies) => copies,
        Factor::Default(_) => before.cassandra.replication_factor.of_new(),
    };
    let racks = pipeline.cassandra.racks.iter().map(|rack| (rack.name.clone(), rack.replicas));
    let inputs = Inputs {
        replicas: Replicas {
            zookeeper: pipeline.zookeeper.replicas,
            kafka: pipeline.kafka.replicas,
            cassandra: racks.collect(),
            producer: pipeline.producer.replicas,
            processor: pipeline.processor.replicas,
        },
        write_timestamp_bases: pipeline.kafka.topics.iter().map(|topic| (topic.name.clone(), 0)).collect(),
        replication_factor: copies,
        has_repair_scheduler: is_switched_on(pipeline, &Observed::default(), None),
        nodes: String::new(),
        ensemble: Ensemble::of(pipeline.zookeeper.replicas),
        administration: Administration {
            worker_image: String::new(),
            allowed_source_hosts: Vec::new(),
            operator_namespace: String::new(),
            image_pull_secrets: Vec::new(),
            worker_env: BTreeMap::new(),
            key: OperatorKey::of([0; 32]),
            allowed_stores: Permitted::default(),
        },
    };
    desire(pipeline, &inputs)
}

/// Collects the changes of one component.
struct Told<'a> {
    component: Component,
    /// Name of its objects.
    own: String,
    changes: &'a mut Vec<Change>,
}

impl Told<'_> {
    fn tell(&mut self, effect: Effect, what: impl Into<String>) {
        self.changes.push(Change { component: self.component, effect, what: what.into() });
    }

    fn number(&mut self, before: u32, after: u32, what: &str) {
        if before != after {
            self.tell(Effect::None, format!("{before} → {after} {what}"));
        }
    }

    fn brokers(&mut self, before: u32, after: u32) {
        let what = match before < after {
            true => "brokers; partitions move to the new ones",
            false => "brokers; partitions leave first, then one broker at a time is stopped",
        };
        self.number(before, after, what);
    }

    fn nodes(&mut self, before: &Pipeline, after: &Pipeline) {
        let count = |pipeline: &Pipeline| -> BTreeMap<String, u32> {
            pipeline.cassandra.racks.iter().map(|rack| (rack.name.clone(), rack.replicas)).collect()
        };
        let (before, after) = (count(before), count(after));
        for rack in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
            let of = |racks: &BTreeMap<String, u32>| racks.get(rack).copied().unwrap_or(0);
            let what = match of(&before) < of(&after) {
                true => format!("nodes in rack '{rack}'; they join one at a time"),
                false => format!("nodes in rack '{rack}'; they are decommissioned one at a time"),
            };
            self.number(of(&before), of(&after), &what);
        }
    }

    fn topics(&mut self, before: &[Topic], after: &[Topic]) {
        let named = |topics: &'_ [Topic]| -> BTreeMap<String, Topic> {
            topics.iter().map(|topic| (topic.name.clone(), topic.clone())).collect()
        };
        let (before, after) = (named(before), named(after));
        for (name, topic) in &after {
            let Some(old) = before.get(name) else {
                self.tell(Effect::None, format!("topic '{name}' is created with {}", partitions(topic.partitions)));
                continue;
            };
            if old.partitions != topic.partitions {
                let (from, to) = (old.partitions, topic.partitions);
                self.tell(
                    Effect::None,
                    format!("topic '{name}': {from} → {to} partitions; keys may move to another one"),
                );
            }
            let (from, to) = (old.replication_factor.of_new(), topic.replication_factor.of_new());
            // A default is for what is created; what exists keeps its copies.
            if matches!(topic.replication_factor, Factor::Written(_)) && from != to {
                self.tell(Effect::None, format!("topic '{name}': {from} → {to} copies of each record"));
            }
            let settings = changed_keys(&settings_of(old), &settings_of(topic));
            if !settings.is_empty() {
                self.tell(Effect::None, format!("topic '{name}' has other settings: {}", settings.join(", ")));
            }
        }
        for name in before.keys().filter(|name| !after.contains_key(*name)) {
            self.tell(Effect::None, format!("topic '{name}' is no longer declared; it and its records stay"));
        }
    }

    fn tables(&mut self, before: &Pipeline, after: &Pipeline) {
        for declared in &after.cassandra.types {
            let old = before.cassandra.types.iter().find(|old| old.name == declared.name);
            self.columns(
                &format!("type '{}'", declared.name),
                "fields",
                old.map(|old| &old.fields[..]),
                &declared.fields,
            );
        }
        for table in &after.cassandra.tables {
            let old = before.cassandra.table(&table.name);
            let what = format!("table '{}'", table.name);
            self.columns(&what, "columns", old.map(|old| &old.columns[..]), &table.columns);
            if let Some(old) = old.filter(|old| old.ttl_seconds != table.ttl_seconds) {
                self.tell(Effect::None, format!("{what}: {}", lifetime(old, table)));
            }
        }
        for table in before.cassandra.tables.iter().filter(|table| after.cassandra.table(&table.name).is_none()) {
            self.tell(Effect::None, format!("table '{}' is no longer declared; it and its rows stay", table.name));
        }
    }

    fn columns(&mut self, what: &str, kind: &str, before: Option<&[ColumnSettings]>, after: &[ColumnSettings]) {
        let Some(before) = before else { return self.tell(Effect::None, format!("{what} is created")) };
        let is_new = |column: &&ColumnSettings| !before.iter().any(|old| old.name == column.name);
        let added: Vec<&str> = after.iter().filter(is_new).map(|column| column.name.as_str()).collect();
        if !added.is_empty() {
            self.tell(Effect::None, format!("{what} gets the {kind} {}", added.join(", ")));
        }
    }

    fn store(&mut self, before: &Member, after: &Member, old: &Objects, new: &Objects) {
        let (size, class) = (&after.storage.size, &after.storage.class_name);
        if before.storage.size != *size {
            let from = &before.storage.size;
            self.tell(Effect::None, format!("volumes: {from} → {size}, if their StorageClass allows it"));
        }
        if before.storage.class_name != *class {
            let class = class.as_deref().unwrap_or("the default");
            self.tell(Effect::None, format!("StorageClass of volumes that do not exist yet: {class}"));
        }
        let template = changed_template(old, new);
        let files = changed_files(self, old, new);
        if !template.fields.is_empty() || template.has_other_files {
            // Brokers are only asked for what people set.
            let is_set = |key: &String| after.config.contains_key(key);
            let may_stay = self.component == Component::Kafka
                && template.fields.is_empty()
                && files.are_settings
                && files.names.iter().all(is_set);
            let effect = if may_stay { Effect::PossibleRestart } else { Effect::Restart };
            let what: Vec<String> = template.fields.into_iter().chain(files.names).collect();
            self.tell(effect, what.join(", "));
        }
        self.others(old, new);
    }

    fn workers(&mut self, old: Option<&Objects>, new: Option<&Objects>) {
        let (Some(old), Some(new)) = (old, new) else { return };
        let ChangedTemplate { mut fields, has_other_files } = changed_template(old, new);
        if has_other_files {
            fields.insert("settings".to_owned());
        }
        if !fields.is_empty() {
            self.tell(Effect::Rollout, fields.into_iter().collect::<Vec<_>>().join(", "));
        }
        self.others(old, new);
    }

    /// Tells of Services, policies and budgets.
    fn others(&mut self, old: &Objects, new: &Objects) {
        let named = |objects: &Objects| -> BTreeMap<String, Value> {
            let services =
                objects.services.iter().map(|object| (format!("Service '{}'", object.name_any()), json!(object)));
            let policies = objects
                .network_policies
                .iter()
                .map(|object| (format!("NetworkPolicy '{}'", object.name_any()), json!(object)));
            services.chain(policies).collect()
        };
        let (old, new) = (named(old), named(new));
        for name in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
            match (old.get(name), new.get(name)) {
                (None, _) => self.tell(Effect::None, format!("{name} is created")),
                (_, None) => self.tell(Effect::None, format!("{name} is no longer needed; it stays")),
                (Some(old), Some(new)) if old != new => self.tell(Effect::None, format!("{name} changes")),
                _ => {}
            }
        }
    }
}

/// Returns the pod templates of workloads by name, each without the checksum of its files, and that checksum.
fn templates(objects: &Objects) -> BTreeMap<String, (Value, Option<String>)> {
    let sets =
        objects.stateful_sets.iter().filter_map(|set| Some((set.name_any(), set.spec.as_ref()?.template.clone())));
    let deployments =
        objects.deployments.iter().filter_map(|found| Some((found.name_any(), found.spec.as_ref()?.template.clone())));
    let split = |mut template: PodTemplateSpec| {
        let annotations = template.metadata.as_mut().and_then(|metadata| metadata.annotations.as_mut());
        let checksum = annotations.and_then(|annotations| annotations.remove(CONFIG_CHECKSUM));
        (json!(template), checksum)
    };
    sets.chain(deployments).map(|(name, template)| (name, split(template))).collect()
}

/// What differs between the pod templates of a component's workloads.
struct ChangedTemplate {
    fields: BTreeSet<String>,
    /// Whether the files that pods start with differ.
    has_other_files: bool,
}

/// Compares the workloads that both have; a field counts whichever of the two has it.
fn changed_template(old: &Objects, new: &Objects) -> ChangedTemplate {
    let mut changed = ChangedTemplate { fields: BTreeSet::new(), has_other_files: false };
    let mut wanted = templates(new);
    for (name, (before, files_before)) in templates(old) {
        let Some((after, files_after)) = wanted.remove(&name) else { continue };
        let found = differences(&before, &after).into_iter().chain(differences(&after, &before));
        changed.fields.extend(found.map(|difference| difference.path));
        changed.has_other_files |= files_before != files_after;
    }
    changed
}

/// What differs between the files of a store.
struct ChangedFiles {
    /// Keys of the brokers' settings, and names of other files.
    names: Vec<String>,
    /// Whether only settings are added or changed: brokers may accept them while they run.
    are_settings: bool,
}

fn changed_files(of: &Told<'_>, old: &Objects, new: &Objects) -> ChangedFiles {
    let files = |objects: &Objects| -> BTreeMap<String, String> {
        let own = objects.config_maps.iter().filter(|map| map.name_any() == of.own);
        own.flat_map(|map| map.data.clone().unwrap_or_default()).collect()
    };
    let (old, new) = (files(old), files(new));
    let mut changed = ChangedFiles { names: Vec::new(), are_settings: true };
    for name in changed_keys(&old, &new) {
        let settings = |files: &BTreeMap<String, String>| files.get(&name).map(|text| parse(text)).unwrap_or_default();
        if of.component == Component::Kafka && name == SERVER_PROPERTIES {
            let (before, after) = (settings(&old), settings(&new));
            changed.are_settings &= before.keys().all(|key| after.contains_key(key));
            changed.names.extend(changed_keys(&before, &after));
        } else {
            changed.are_settings = false;
            changed.names.push(name);
        }
    }
    changed
}

/// Returns the keys whose values differ, or that only one of the two has.
fn changed_keys<V: PartialEq>(before: &BTreeMap<String, V>, after: &BTreeMap<String, V>) -> Vec<String> {
    let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    keys.into_iter().filter(|key| before.get(*key) != after.get(*key)).cloned().collect()
}

/// Returns the settings of a topic that are written.
fn settings_of(topic: &Topic) -> BTreeMap<String, String> {
    let copies = topic.min_in_sync_replicas.map(|copies| ("min.insync.replicas".to_owned(), copies.to_string()));
    topic.config.clone().into_iter().chain(copies).collect()
}

fn lifetime(before: &Table, after: &Table) -> String {
    let text = |seconds: u32| if seconds == 0 { "for ever".to_owned() } else { format!("for {seconds} s") };
    format!(
        "rows that are written from now on stay {} instead of {}",
        text(after.ttl_seconds),
        text(before.ttl_seconds)
    )
}

fn partitions(count: u32) -> String {
    if count == 1 { "1 partition".to_owned() } else { format!("{count} partitions") }
}
