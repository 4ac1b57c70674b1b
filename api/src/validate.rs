//! `StreamingPipeline` → `Pipeline`: pure, and the only place where the resource is parsed.
//!
//! Admission has refused what schema and CEL can see. Two things are left: what only a program can judge (does a
//! field's expression compile, is there a column for it, does a query's SQL), which takes the faulty source or query
//! out and leaves the rest running; and parsing, which rejects the whole: CQL types, and what admission was bypassed
//! with. What the user adds to one component (`podTemplate`, `jvmOptions`, `access`) holds that component alone.

mod fields;
#[cfg(test)]
mod hostile;
mod params;
mod queries;
mod sources;
mod syntax;
mod types;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use k8s_openapi::api::networking::v1::NetworkPolicyPeer;
use kube::ResourceExt;
use millrace_terms::{
    Bytes, Duration, EpochUnit, GeneratorSettings, HeaderSettings, HeaderValue, HttpSettings, Method, OAuth2Settings,
    Origin, Problem, RecordSettings, RecordsAre, SourceSettings, SqlQuestion, SqlSettings, StreamColumn, Tombstones,
    UnknownFields,
};
use serde::Serialize;

use crate::access;
use crate::crd::producer::ONE_KIND;
use crate::crd::{self, Amount, StreamingPipeline};
use crate::jvm_options;
use crate::names::{Component, Names};
use crate::pipeline::{
    Cassandra, Factor, Kafka, Member, Pipeline, Processor, Producer, PushFrom, Query, Rack, Resources, RunnableSource,
    SecretKey, Storage, Topic, Validated, ZooKeeper, default_replication_factor,
};
use crate::pod_template::{self, PodTemplate};
use crate::quantity::Quantity;
use crate::rejected::Rejected;
use crate::window::{self, MaintenanceWindow};

/// A user error, and the source or query that it takes out.
struct Fault {
    name: String,
    rejected: Rejected,
}

/// Validates all but the SQL of its queries: what runs and schedules need to know of a pipeline.
pub fn validate_sources(resource: &StreamingPipeline) -> Validated {
    validate(resource, |_| Vec::new())
}

/// Validates a resource; `judge` returns what is wrong with the SQL of a query, nothing: it can run.
pub fn validate(resource: &StreamingPipeline, judge: impl FnMut(SqlQuestion) -> Vec<Problem>) -> Validated {
    let mut parse = Parse::default();
    let pipeline = parse.pipeline(resource);
    let Parse { rejected: of_whole, held } = parse;
    let of_components: Vec<Rejected> = held.values().flatten().cloned().collect();
    if !of_whole.is_empty() {
        return Validated { pipeline: None, rejected: [of_whole, of_components].concat() };
    }
    let first = |(component, rejected): (Component, Vec<Rejected>)| Some((component, rejected.into_iter().next()?));
    let mut pipeline = Pipeline { held: held.into_iter().filter_map(first).collect(), ..pipeline };
    let mut of_sources = fields::check(&resource.spec, &pipeline);
    of_sources.extend(params::check(&resource.spec, &mut pipeline));
    let of_queries = queries::check(&pipeline, judge);
    let faulty = |faults: &[Fault]| faults.iter().map(|fault| fault.name.clone()).collect::<BTreeSet<String>>();
    let sources = faulty(&of_sources);
    pipeline.producer.sources.retain(|source| !sources.contains(&source.name));
    pipeline.producer.runnable.retain(|source| !sources.contains(&source.settings.name));
    let held = queries::held(&pipeline, &faulty(&of_queries));
    pipeline.processor.queries.retain(|query| !held.contains(&query.name));
    pipeline.processor.left_out = held;
    let of_parts = of_sources.into_iter().chain(of_queries).map(|fault| fault.rejected);
    Validated { pipeline: Some(pipeline), rejected: of_components.into_iter().chain(of_parts).collect() }
}

/// Default CPU and memory of a component, each with the reason.
struct Defaults {
    cpu: &'static str,
    memory: u64,
}

const MEBIBYTE: u64 = 1 << 20;
/// A quiet ensemble; heap of half of it.
const ZOOKEEPER: Defaults = Defaults { cpu: "50m", memory: 512 * MEBIBYTE };
/// Heap of half of it; the rest is page cache and thread stacks.
const KAFKA: Defaults = Defaults { cpu: "100m", memory: 1024 * MEBIBYTE };
/// Heap of half of it; the rest is off-heap memtables, caches and page cache.
const CASSANDRA: Defaults = Defaults { cpu: "250m", memory: 2048 * MEBIBYTE };
/// Some 20 MiB at rest, the buffer and room for a large answer.
const PRODUCER: Defaults = Defaults { cpu: "50m", memory: 128 * MEBIBYTE };
/// Some 40 MiB at rest, the buffer and the client's queues.
const PROCESSOR: Defaults = Defaults { cpu: "50m", memory: 256 * MEBIBYTE };

/// Upper bound of the window of rows in flight: more than any node wants, since the window follows its answers.
const DEFAULT_MAX_IN_FLIGHT: u32 = 1024;

/// Of replicas that move: not half of what a link of 1 Gbit/s carries, so that clients keep the rest.
const DEFAULT_BYTES_PER_SECOND: Bytes = Bytes(50 * MEBIBYTE);

/// Collects errors while it parses; values after an error are stand-ins that are never used.
#[derive(Default)]
struct Parse {
    rejected: Vec<Rejected>,
    /// Errors that hold one component.
    held: BTreeMap<Component, Vec<Rejected>>,
}

impl Parse {
    fn pipeline(&mut self, resource: &StreamingPipeline) -> Pipeline {
        let crd::StreamingPipelineSpec {
            suspend,
            deletion_policy,
            update_policy,
            maintenance_windows,
            zookeeper,
            kafka,
            cassandra,
            producer,
            processor,
        } = &resource.spec;
        let names = Names::new(resource.namespace().unwrap_or_default(), resource.name_any());
        let processor = self.processor(processor, &names);
        let kafka = self.kafka(kafka, own_topics(producer, &processor, &names));
        Pipeline {
            uid: resource.uid().unwrap_or_default(),
            generation: resource.metadata.generation.unwrap_or_default(),
            suspend: *suspend,
            deletion_policy: *deletion_policy,
            update_policy: *update_policy,
            maintenance_windows: self.maintenance_windows(maintenance_windows),
            zookeeper: self.zookeeper(zookeeper),
            kafka,
            cassandra: self.cassandra(cassandra),
            producer: self.producer(producer, &names),
            processor,
            names,
            held: BTreeMap::new(),
        }
    }

    fn maintenance_windows(&mut self, written: &[crd::MaintenanceWindow]) -> Vec<MaintenanceWindow> {
        let mut windows = Vec::new();
        for (index, written) in written.iter().enumerate() {
            match window::parse(&format!("spec.maintenanceWindows[{index}]"), written) {
                Ok(window) => windows.push(window),
                Err(rejected) => self.rejected.push(rejected),
            }
        }
        windows
    }

    fn zookeeper(&mut self, written: &crd::ZooKeeper) -> ZooKeeper {
        let crd::ZooKeeper { version, image, replicas, storage, resources, pod_template, jvm_options, config } =
            written;
        let image = image.clone().unwrap_or_else(|| format!("zookeeper:{version}"));
        ZooKeeper {
            replicas: self.count("spec.zookeeper.replicas", *replicas),
            member: Member {
                image,
                storage: self.storage("spec.zookeeper.storage", storage),
                resources: self.resources("spec.zookeeper.resources", resources, &ZOOKEEPER),
                config: config.clone(),
                jvm_options: self.jvm_options(Component::ZooKeeper, jvm_options),
                pods: self.pods(Component::ZooKeeper, pod_template.as_ref()),
                inputs: inputs(written, &["storage"]),
            },
        }
    }

    fn kafka(&mut self, written: &crd::Kafka, own: Vec<OwnTopic>) -> Kafka {
        let crd::Kafka {
            version,
            image,
            metadata_manager: crd::MetadataManager::ZooKeeper,
            replicas,
            storage,
            resources,
            pod_template,
            access,
            service,
            reassignment,
            jvm_options,
            config,
            topics,
        } = written;
        let brokers = self.count("spec.kafka.replicas", *replicas);
        let mut topics: Vec<Topic> =
            topics.iter().enumerate().map(|(index, topic)| self.topic(index, topic, brokers)).collect();
        for OwnTopic { name, config } in own {
            if topics.iter().all(|topic| topic.name != name) {
                topics.push(own_topic(name, config, brokers));
            }
        }
        Kafka {
            replicas: brokers,
            member: Member {
                image: image.clone().unwrap_or_else(|| format!("apache/kafka:{version}")),
                storage: self.storage("spec.kafka.storage", storage),
                resources: self.resources("spec.kafka.resources", resources, &KAFKA),
                config: config.clone(),
                jvm_options: self.jvm_options(Component::Kafka, jvm_options),
                pods: self.pods(Component::Kafka, pod_template.as_ref()),
                inputs: inputs(written, &["storage", "topics", "access", "service", "reassignment", "replicas"]),
            },
            access_from: self.access(Component::Kafka, access.as_ref()),
            service_annotations: service.clone().unwrap_or_default().annotations,
            bytes_per_second: self.bytes_per_second(reassignment.as_ref()),
            topics,
        }
    }

    fn bytes_per_second(&mut self, written: Option<&crd::Reassignment>) -> Bytes {
        match written {
            Some(crd::Reassignment { bytes_per_second: Some(amount) }) => {
                self.bytes("spec.kafka.reassignment.bytesPerSecond", amount)
            }
            Some(crd::Reassignment { bytes_per_second: None }) | None => DEFAULT_BYTES_PER_SECOND,
        }
    }

    fn topic(&mut self, index: usize, written: &crd::Topic, brokers: u32) -> Topic {
        let crd::Topic { name, partitions, replication_factor, min_in_sync_replicas, config } = written;
        let path = format!("spec.kafka.topics[{index}]");
        let replication_factor = match replication_factor {
            Some(written) => Factor::Written(self.count(&format!("{path}.replicationFactor"), *written)),
            None => Factor::Default(default_replication_factor(brokers)),
        };
        let min_in_sync_replicas =
            min_in_sync_replicas.map(|written| self.count(&format!("{path}.minInSyncReplicas"), written));
        let copies = replication_factor.of_new();
        if let Some(in_sync) = min_in_sync_replicas.filter(|in_sync| *in_sync >= copies && copies > 1) {
            self.reject(
                format!("{path}.minInSyncReplicas"),
                format!(
                    "{in_sync} is not below the replication factor {copies}, so one failed broker would stop all \
                     writes; lower it"
                ),
            );
        }
        Topic {
            name: name.clone(),
            partitions: self.count(&format!("{path}.partitions"), *partitions),
            replication_factor,
            min_in_sync_replicas,
            config: config.clone(),
        }
    }

    fn cassandra(&mut self, written: &crd::Cassandra) -> Cassandra {
        let crd::Cassandra {
            version,
            image,
            datacenter,
            racks,
            storage,
            resources,
            pod_template,
            access,
            jvm_options,
            config,
            keyspace,
            types,
            tables,
        } = written;
        let racks: Vec<Rack> = racks
            .iter()
            .enumerate()
            .map(|(index, rack)| Rack {
                name: rack.name.clone(),
                replicas: self.count(&format!("spec.cassandra.racks[{index}].replicas"), rack.replicas),
            })
            .collect();
        let nodes = racks.iter().map(|rack| rack.replicas).sum();
        let replication_factor = match keyspace.replication_factor {
            Some(written) => Factor::Written(self.count("spec.cassandra.keyspace.replicationFactor", written)),
            None => Factor::Default(default_replication_factor(nodes)),
        };
        let types = self.types(types);
        let mut inputs = inputs(written, &["storage", "access", "keyspace", "types", "tables"]);
        // Of the racks, every node knows the first one's name.
        inputs["racks"] = serde_json::json!(racks.iter().map(|rack| &rack.name).min());
        let tables = tables.iter().enumerate().map(|(index, table)| self.table(index, table, &types)).collect();
        Cassandra {
            version: version.clone(),
            datacenter: datacenter.clone(),
            racks,
            member: Member {
                image: image.clone().unwrap_or_else(|| format!("cassandra:{version}")),
                storage: self.storage("spec.cassandra.storage", storage),
                resources: self.resources("spec.cassandra.resources", resources, &CASSANDRA),
                config: config.clone(),
                jvm_options: self.jvm_options(Component::Cassandra, jvm_options),
                pods: self.pods(Component::Cassandra, pod_template.as_ref()),
                inputs,
            },
            access_from: self.access(Component::Cassandra, access.as_ref()),
            keyspace: keyspace.name.clone(),
            replication_factor,
            types,
            tables,
        }
    }

    fn producer(&mut self, written: &crd::Producer, names: &Names) -> Producer {
        let crd::Producer { replicas, resources, pod_template, buffer_memory, push_from, push_service, sources } =
            written;
        let (mut continuous, mut runnable, mut secrets) = (Vec::new(), Vec::new(), BTreeSet::new());
        for (index, source) in sources.iter().enumerate() {
            let mut own = BTreeSet::new();
            let Some(settings) = self.source(&format!("spec.producer.sources[{index}]"), source, names, &mut own)
            else {
                continue;
            };
            if !matches!(settings.origin, Origin::Push(_)) {
                runnable.push(RunnableSource {
                    settings: settings.clone(),
                    params: source.params.clone(),
                    // Parsed later: what is wrong with it takes out this source alone.
                    schedule: None,
                    secrets: own.iter().cloned().collect(),
                });
            }
            if source.schedule.is_none() {
                continuous.push(settings);
                secrets.extend(own);
            }
        }
        let crd::PushFrom { namespaces, pod_labels, addresses } = push_from.clone().unwrap_or_default();
        for (index, block) in addresses.iter().enumerate() {
            if let Some(message) = access::not_a_block(block) {
                self.reject(format!("spec.producer.pushFrom.addresses[{index}]"), message);
            }
        }
        // With schedules alone there is nothing to fetch continuously.
        let wanted = if sources.iter().all(|source| source.schedule.is_some()) { 0 } else { *replicas };
        Producer {
            replicas: self.count("spec.producer.replicas", wanted),
            resources: self.resources("spec.producer.resources", resources, &PRODUCER),
            pods: self.pods(Component::Producer, pod_template.as_ref()),
            buffer_memory: self.parse("spec.producer.bufferMemory", buffer_memory, Bytes(0)),
            sources: continuous,
            runnable,
            secrets: secrets.into_iter().collect(),
            push_from: PushFrom { namespaces, pod_labels, addresses },
            push_service: push_service.clone().unwrap_or_default(),
        }
    }

    fn source(
        &mut self,
        path: &str,
        written: &crd::Source,
        names: &Names,
        secrets: &mut BTreeSet<SecretKey>,
    ) -> Option<SourceSettings> {
        let crd::Source { name, topic, http, generator, push, files, kafka, params: _, schedule: _, key, fields } =
            written;
        let origin = match (http, generator, push, files, kafka) {
            (Some(http), None, None, None, None) => Origin::Http(self.http(&format!("{path}.http"), http, secrets)),
            (None, Some(generator), None, None, None) => Origin::Generator(GeneratorSettings {
                seed: generator.seed.unsigned_abs(),
                count: generator.count.map(i64::unsigned_abs),
                records_per_second: generator.records_per_second.map(i32::unsigned_abs),
            }),
            (None, None, Some(push), None, None) => Origin::Push(self.push(&format!("{path}.push"), push, secrets)),
            (None, None, None, Some(files), None) => Origin::Files(self.files(&format!("{path}.files"), files)),
            (None, None, None, None, Some(kafka)) => {
                Origin::Kafka(self.other_kafka(&format!("{path}.kafka"), kafka, written, names))
            }
            _ => {
                self.reject(path, ONE_KIND);
                return None;
            }
        };
        Some(SourceSettings {
            name: name.clone(),
            topic: topic.clone(),
            key: key.clone(),
            fields: fields.clone(),
            params: BTreeMap::new(),
            origin,
        })
    }

    fn http(&mut self, path: &str, written: &crd::Http, secrets: &mut BTreeSet<SecretKey>) -> HttpSettings {
        let crd::Http {
            url,
            method,
            query,
            body,
            interval,
            timeout,
            records,
            records_are,
            pagination,
            since,
            oauth2,
            headers,
            max_response,
            max_requests_per_minute,
        } = written;
        let headers = headers
            .iter()
            .enumerate()
            .filter_map(|(index, header)| self.header(&format!("{path}.headers[{index}]"), header, secrets))
            .collect();
        HttpSettings {
            url: url.clone(),
            method: match method {
                crd::Method::Get => Method::Get,
                crd::Method::Post => Method::Post,
            },
            query: query.clone(),
            body: body.clone(),
            interval: self.parse(&format!("{path}.interval"), interval, Duration::from_secs(0)),
            timeout: self.parse(&format!("{path}.timeout"), timeout, Duration::from_secs(0)),
            headers,
            records: records.clone(),
            records_are: match records_are {
                crd::RecordsAre::Elements => RecordsAre::Elements,
                crd::RecordsAre::Entries => RecordsAre::Entries,
            },
            pagination: pagination
                .as_ref()
                .and_then(|pagination| self.pagination(&format!("{path}.pagination"), pagination)),
            since: since.clone(),
            oauth2: oauth2.as_ref().map(|written| oauth2_settings(written, secrets)),
            max_response: self.parse(&format!("{path}.maxResponse"), max_response, Bytes(0)),
            max_requests_per_second: max_requests_per_minute.map(|per_minute| f64::from(per_minute) / 60.0),
        }
    }

    fn header(
        &mut self,
        path: &str,
        written: &crd::Header,
        secrets: &mut BTreeSet<SecretKey>,
    ) -> Option<HeaderSettings> {
        let value = match (&written.value, &written.value_from, &written.expression) {
            (Some(literal), None, None) => HeaderValue::Literal(literal.clone()),
            (None, Some(from), None) => HeaderValue::File(mounted(&from.secret_key_ref, secrets)),
            (None, None, Some(expression)) => HeaderValue::Expression(expression.clone()),
            _ => {
                self.reject(path, "give exactly one of value, valueFrom and expression");
                return None;
            }
        };
        Some(HeaderSettings { name: written.name.clone(), value })
    }

    fn processor(&mut self, written: &crd::Processor, names: &Names) -> Processor {
        let crd::Processor { replicas, resources, pod_template, buffer_memory, max_in_flight, queries, dead_letter } =
            written;
        Processor {
            replicas: self.count("spec.processor.replicas", *replicas),
            resources: self.resources("spec.processor.resources", resources, &PROCESSOR),
            pods: self.pods(Component::Processor, pod_template.as_ref()),
            buffer_memory: self.parse("spec.processor.bufferMemory", buffer_memory, Bytes(0)),
            max_in_flight: max_in_flight.map_or(DEFAULT_MAX_IN_FLIGHT, i32::unsigned_abs),
            queries: queries.iter().map(query_of).collect(),
            left_out: BTreeSet::new(),
            dead_letter_topic: match dead_letter {
                Some(dead_letter) => dead_letter.topic.clone(),
                None => names.dead_letter_topic(),
            },
        }
    }

    fn resources(&mut self, path: &str, written: &crd::Resources, defaults: &Defaults) -> Resources {
        let requests = written.requests.clone().unwrap_or_default();
        let limits = written.limits.clone().unwrap_or_default();
        let limit = limits.memory.map(|amount| self.bytes(&format!("{path}.limits.memory"), &amount));
        let request = requests.memory.map(|amount| self.bytes(&format!("{path}.requests.memory"), &amount));
        for (list, cpu) in [("requests", &requests.cpu), ("limits", &limits.cpu)] {
            if let Some(Amount(text)) = cpu {
                self.parse(&format!("{path}.{list}.cpu"), text, Quantity::default());
            }
        }
        let memory_request = request.or(limit).unwrap_or(Bytes(defaults.memory));
        let memory_limit = limit.unwrap_or(memory_request);
        if memory_limit < memory_request {
            self.reject(format!("{path}.limits.memory"), "the limit is below the request; raise it");
        }
        Resources {
            cpu_request: requests.cpu.map_or_else(|| defaults.cpu.to_owned(), |Amount(cpu)| cpu),
            cpu_limit: limits.cpu.map(|Amount(cpu)| cpu),
            memory_request,
            memory_limit,
        }
    }

    fn pods(&mut self, component: Component, written: Option<&serde_json::Value>) -> PodTemplate {
        let Some(written) = written else { return PodTemplate::default() };
        let path = format!("spec.{component}.podTemplate");
        pod_template::parse(&path, component, written).unwrap_or_else(|rejected| {
            self.hold(component, rejected);
            PodTemplate::default()
        })
    }

    fn jvm_options(&mut self, component: Component, written: &[String]) -> Vec<String> {
        let path = format!("spec.{component}.jvmOptions");
        let rejected = jvm_options::refused(&path, component, written);
        if rejected.is_empty() {
            return written.to_vec();
        }
        self.hold(component, rejected);
        Vec::new()
    }

    fn access(&mut self, component: Component, written: Option<&crd::Access>) -> Vec<NetworkPolicyPeer> {
        let from = written.map(|access| access.from.as_slice()).unwrap_or_default();
        access::parse(&format!("spec.{component}.access.from"), from).unwrap_or_else(|rejected| {
            self.hold(component, rejected);
            Vec::new()
        })
    }

    fn storage(&mut self, path: &str, written: &crd::Storage) -> Storage {
        let crd::Storage { size: Amount(size), class_name } = written;
        self.parse(&format!("{path}.size"), size, Quantity::default());
        Storage { size: size.clone(), class_name: class_name.clone() }
    }

    /// Parses a quantity of bytes; a fraction of a byte is one more.
    fn bytes(&mut self, path: &str, Amount(text): &Amount) -> Bytes {
        let quantity = text.parse::<Quantity>().map_err(|error| error.to_string());
        let whole = quantity.and_then(|quantity| quantity.whole().ok_or_else(|| format!("'{text}' is too much")));
        whole.map(Bytes).unwrap_or_else(|error| {
            self.reject(path, error);
            Bytes(0)
        })
    }

    fn count(&mut self, path: &str, written: i32) -> u32 {
        match u32::try_from(written) {
            Ok(count) => count,
            Err(_) => {
                self.reject(path, format!("{written} is below zero; write a count"));
                0
            }
        }
    }

    fn parse<T: FromStr<Err: fmt::Display>>(&mut self, path: &str, text: &str, stand_in: T) -> T {
        match text.parse() {
            Ok(value) => value,
            Err(error) => {
                self.reject(path, error);
                stand_in
            }
        }
    }

    /// Leaves a component as it is, and everything else alone.
    fn hold(&mut self, component: Component, rejected: Vec<Rejected>) {
        self.held.entry(component).or_default().extend(rejected);
    }

    fn reject(&mut self, path: impl Into<String>, message: impl fmt::Display) {
        self.rejected.push(Rejected::new(path, message));
    }
}

/// Returns what the user wrote of a store, but for fields that no template of its pods follows.
fn inputs(written: &impl Serialize, beside: &[&str]) -> serde_json::Value {
    let mut inputs = serde_json::to_value(written).expect("resources serialise");
    if let Some(fields) = inputs.as_object_mut() {
        fields.retain(|field, _| !beside.contains(&field.as_str()));
    }
    inputs
}

fn query_of(written: &crd::Query) -> Query {
    let crd::Query { name, from, into, sql, columns, tombstones, unknown_fields, epoch_units } = written;
    let columns = columns
        .iter()
        .map(|column| StreamColumn { name: column.name.clone(), column_type: column.column_type })
        .collect();
    Query {
        name: name.clone(),
        from: from.clone(),
        into: into.clone(),
        sql: sql.as_ref().map(|text| SqlSettings { text: text.clone(), columns }),
        records: RecordSettings {
            tombstones: match tombstones {
                crd::Tombstones::Reject => Tombstones::Reject,
                crd::Tombstones::Skip => Tombstones::Skip,
                crd::Tombstones::Delete => Tombstones::Delete,
            },
            unknown_fields: match unknown_fields {
                None | Some(crd::UnknownFields::Refuse) => UnknownFields::Refuse,
                Some(crd::UnknownFields::Ignore) => UnknownFields::Ignore,
            },
            epoch_units: epoch_units.iter().map(|(column, unit)| (column.clone(), epoch_unit_of(*unit))).collect(),
        },
    }
}

fn epoch_unit_of(written: crd::EpochUnit) -> EpochUnit {
    match written {
        crd::EpochUnit::Seconds => EpochUnit::Seconds,
        crd::EpochUnit::Milliseconds => EpochUnit::Milliseconds,
        crd::EpochUnit::Microseconds => EpochUnit::Microseconds,
        crd::EpochUnit::Nanoseconds => EpochUnit::Nanoseconds,
    }
}

/// Notes that a key of a Secret is to be mounted; returns the path of its file.
fn mounted(reference: &crd::SecretKeyReference, secrets: &mut BTreeSet<SecretKey>) -> String {
    let key = SecretKey { secret: reference.name.clone(), key: reference.key.clone() };
    let file = key.path();
    secrets.insert(key);
    file
}

fn oauth2_settings(written: &crd::OAuth2, secrets: &mut BTreeSet<SecretKey>) -> OAuth2Settings {
    let crd::OAuth2 { token_url, client_id_from, client_secret_from, scope, audience } = written;
    OAuth2Settings {
        token_url: token_url.clone(),
        client_id: mounted(&client_id_from.secret_key_ref, secrets),
        client_secret: mounted(&client_secret_from.secret_key_ref, secrets),
        scope: scope.clone(),
        audience: audience.clone(),
    }
}

/// A topic that a pipeline has although it is not declared.
struct OwnTopic {
    name: String,
    config: &'static [(&'static str, &'static str)],
}

/// Returns the topics that the pipeline needs for itself.
fn own_topics(producer: &crd::Producer, processor: &Processor, names: &Names) -> Vec<OwnTopic> {
    let mut topics = vec![OwnTopic {
        name: processor.dead_letter_topic.clone(),
        // Kept for ever, since nothing may be lost.
        config: &[("retention.ms", "-1")],
    }];
    let has_since = |source: &crd::Source| source.http.as_ref().is_some_and(|http| http.since.is_some());
    if producer.sources.iter().any(|source| source.files.is_some() || has_since(source)) {
        topics.push(OwnTopic {
            name: names.cursors_topic(),
            // The latest of each key is kept, and the rest goes soon: a start reads the whole topic.
            config: &[("cleanup.policy", "compact"), ("segment.bytes", "16777216")],
        });
    }
    topics
}

/// Returns a topic of one partition, so that it is read in order.
fn own_topic(name: String, config: &[(&str, &str)], brokers: u32) -> Topic {
    Topic {
        name,
        partitions: 1,
        replication_factor: Factor::Default(default_replication_factor(brokers)),
        min_in_sync_replicas: None,
        config: config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn validated(pointer: &str, value: Value) -> Validated {
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../e2e/samples/accepted/one-of-each.yaml");
        let text = std::fs::read_to_string(sample).expect("the sample is there");
        let mut resource: Value = serde_yaml::from_str(&text).expect("the sample is YAML");
        let (parent, field) = pointer.rsplit_once('/').expect("a pointer");
        resource.pointer_mut(parent).expect("the component is there")[field] = value;
        validate_sources(&serde_json::from_value(resource).expect("a pipeline"))
    }

    #[rstest]
    #[case("/spec/zookeeper/podTemplate", json!({"env": 1}), Component::ZooKeeper)]
    #[case("/spec/kafka/podTemplate", json!({"nodeSelektor": {}}), Component::Kafka)]
    #[case("/spec/kafka/jvmOptions", json!(["-Xmx4g"]), Component::Kafka)]
    #[case("/spec/kafka/access", json!({"from": [{"namespaceSelector": {}}]}), Component::Kafka)]
    #[case("/spec/cassandra/access", json!({"from": [{"namespaceSelector": {}}]}), Component::Cassandra)]
    #[case("/spec/producer/podTemplate", json!({"labels": {"millrace.dev/x": "y"}}), Component::Producer)]
    #[case("/spec/processor/podTemplate", json!({"securityContext": {"runAsUser": 0}}), Component::Processor)]
    fn what_is_wrong_with_what_the_user_adds_holds_its_component_alone(
        #[case] pointer: &str,
        #[case] value: Value,
        #[case] component: Component,
    ) {
        let Validated { pipeline, rejected } = validated(pointer, value);
        let held = pipeline.expect("the rest can run").held;
        assert_eq!(held.keys().collect::<Vec<_>>(), [&component]);
        assert_eq!(held[&component], rejected[0]);
        let path = pointer[1..].replace('/', ".");
        assert!(rejected.len() == 1 && rejected[0].path.starts_with(&path), "{rejected:?}");
    }

    /// The negative controls: what is valid holds nothing, and what cannot be parsed has no pipeline.
    #[test]
    fn what_is_valid_holds_nothing_and_what_cannot_be_parsed_stops_all() {
        let Validated { pipeline, rejected } = validated("/spec/kafka/jvmOptions", json!(["-Xss1m"]));
        assert!(pipeline.is_some_and(|pipeline| pipeline.held.is_empty()) && rejected.is_empty());
        let Validated { pipeline, rejected } = validated("/spec/producer/bufferMemory", json!("much"));
        assert!(pipeline.is_none() && rejected.len() == 1, "{rejected:?}");
    }
}
