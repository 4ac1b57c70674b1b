//! `Pipeline`: the validated model. Plain types; code that holds one need not check anything again.
//!
//! Comes from [`crate::validate()`] alone, with what it rejects. Field names are those of the resource; optional values are filled in,
//! durations, sizes and images are parsed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use k8s_openapi::api::networking::v1::NetworkPolicyPeer;
use millrace_terms::{
    Bytes, CANARY_TABLE, ColumnSettings, Duration, Origin, RecordSettings, SourceSettings, SqlSettings, TableSettings,
    TypeSettings,
};

use crate::address::HostPort;
use crate::crd::{Changes, DeletionPolicy, Param, PushService, UpdatePolicy};
use crate::names::{Component, KafkaPrefix, Names};
use crate::pod_template::PodTemplate;
use crate::rejected::Rejected;
use crate::schedule::Schedule;
use crate::window::MaintenanceWindow;

/// What validation hands over.
#[derive(Clone, Debug, PartialEq)]
pub struct Validated {
    /// The part of the pipeline that can run; `None` when the resource cannot be parsed. A component whose
    /// `podTemplate`, `jvmOptions` or `access` is invalid is part of it, and held.
    pub pipeline: Option<Pipeline>,
    /// Every user error. Empty: the spec is valid.
    pub rejected: Vec<Rejected>,
}

/// A pipeline that can be built.
#[derive(Clone, Debug, PartialEq)]
pub struct Pipeline {
    /// Namespace, name and what follows from them.
    pub names: Names,
    /// UID of the resource: the owner of every child.
    pub uid: String,
    /// Generation of the spec that this model was made from.
    pub generation: i64,
    /// Whether it is to be drained and to stand still.
    pub suspend: bool,
    /// What deletion does to the volumes.
    pub deletion_policy: DeletionPolicy,
    /// Which changes restart pods of the stores.
    pub update_policy: UpdatePolicy,
    /// When pods of the stores may be restarted. Empty: at any time.
    pub maintenance_windows: Vec<MaintenanceWindow>,
    /// The ensemble; of no server where someone else runs Kafka.
    pub zookeeper: ZooKeeper,
    /// The brokers and topics.
    pub kafka: Kafka,
    /// The nodes, keyspace and tables.
    pub cassandra: Cassandra,
    /// The producers and the sources that can run.
    pub producer: Producer,
    /// The processors and queries.
    pub processor: Processor,
    /// Components whose `podTemplate`, `jvmOptions` or `access` is invalid, each with its first error: their objects
    /// stay as they are, and are not created. Here, such a component has none of the three.
    pub held: BTreeMap<Component, Rejected>,
}

impl Pipeline {
    /// Returns whether the operator runs the pods of a component.
    pub fn manages(&self, component: Component) -> bool {
        match component {
            // The ensemble keeps the metadata of this pipeline's own Kafka.
            Component::ZooKeeper | Component::Kafka => self.kafka.placement.external().is_none(),
            Component::Cassandra => self.cassandra.placement.external().is_none(),
            Component::Processor | Component::Producer | Component::Run => true,
        }
    }

    /// Returns whether a topic is the canary's.
    pub fn is_canary_topic(&self, name: &str) -> bool {
        self.processor.canary.is_some() && name == self.names.canary_topic()
    }

    /// Returns whether a table is the canary's.
    pub fn is_canary_table(&self, name: &str) -> bool {
        self.processor.canary.is_some() && name == CANARY_TABLE
    }
}

/// Who runs a store.
#[derive(Clone, Debug, PartialEq)]
pub enum Placement {
    /// The operator. The store has members, each with a volume.
    Managed,
    /// Someone else. The store has no members here.
    External(External),
}

impl Placement {
    /// Returns where the store is that someone else runs. `None`: the operator runs it.
    pub fn external(&self) -> Option<&External> {
        match self {
            Self::Managed => None,
            Self::External(external) => Some(external),
        }
    }
}

/// A store that someone else runs.
#[derive(Clone, Debug, PartialEq)]
pub struct External {
    /// Where it is asked first; it names its other members itself.
    pub addresses: Vec<HostPort>,
    /// What may be created there.
    pub changes: Changes,
}

/// What every member of a store has.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Image reference.
    pub image: String,
    /// Its volume.
    pub storage: Storage,
    /// Its CPU and memory.
    pub resources: Resources,
    /// The user's settings, to be merged under the operator's own.
    pub config: BTreeMap<String, String>,
    /// JVM options beside the operator's.
    pub jvm_options: Vec<String>,
    /// What the user adds to its pod.
    pub pods: PodTemplate,
    /// All that the user wrote and that its pod's template follows, as written: an operator's defaults are not in it.
    pub inputs: serde_json::Value,
}

impl Member {
    /// Returns what stands for the members of a store that has none here.
    pub(crate) fn none() -> Self {
        Self {
            image: String::new(),
            storage: Storage { size: String::new(), class_name: None },
            resources: Resources {
                cpu_request: String::new(),
                cpu_limit: None,
                memory_request: Bytes(0),
                memory_limit: Bytes(0),
            },
            config: BTreeMap::new(),
            jvm_options: Vec::new(),
            pods: PodTemplate::default(),
            inputs: serde_json::Value::Null,
        }
    }
}

/// A volume.
#[derive(Clone, Debug, PartialEq)]
pub struct Storage {
    /// Size, as written.
    pub size: String,
    /// StorageClass; `None` is the cluster's default.
    pub class_name: Option<String>,
}

/// CPU and memory, as Kubernetes quantities.
#[derive(Clone, Debug, PartialEq)]
pub struct Resources {
    /// Requested CPU.
    pub cpu_request: String,
    /// CPU limit; `None` is no limit.
    pub cpu_limit: Option<String>,
    /// Requested memory.
    pub memory_request: Bytes,
    /// Memory limit; always set, so that a leak ends in one container.
    pub memory_limit: Bytes,
}

/// The ensemble.
#[derive(Clone, Debug, PartialEq)]
pub struct ZooKeeper {
    /// Number of servers.
    pub replicas: u32,
    /// What each server has.
    pub member: Member,
}

/// The brokers.
#[derive(Clone, Debug, PartialEq)]
pub struct Kafka {
    /// Who runs it.
    pub placement: Placement,
    /// What the names of the group and of the pipeline's own topics begin with.
    pub prefix: KafkaPrefix,
    /// Number of brokers; none where someone else runs them.
    pub replicas: u32,
    /// What each broker has.
    pub member: Member,
    /// Who may reach them beside those that the pipeline needs.
    pub access_from: Vec<NetworkPolicyPeer>,
    /// Annotations of the client Service beside the operator's.
    pub service_annotations: BTreeMap<String, String>,
    /// Bytes that each broker sends, and receives, in a second for replicas that move.
    pub bytes_per_second: Bytes,
    /// All topics that shall exist, the operator's own included.
    pub topics: Vec<Topic>,
}

/// Returns 3, or the number of members where that is less.
pub fn default_replication_factor(members: u32) -> u32 {
    members.min(3)
}

/// Returns how many copies must acknowledge so that one may fail: one less than there are, at least one.
pub fn default_min_in_sync(replication_factor: u32) -> u32 {
    replication_factor.saturating_sub(1).max(1)
}

/// A replication factor, and whether the user chose it.
///
/// A default applies to what is created now. What exists keeps its factor: the default follows the number of members, and
/// must not ask for another factor of old data when members are added.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Factor {
    /// The resource says so.
    Written(u32),
    /// Nothing is said.
    Default(u32),
}

impl Factor {
    /// Returns the factor of what is created now.
    pub fn of_new(self) -> u32 {
        match self {
            Self::Written(factor) | Self::Default(factor) => factor,
        }
    }

    /// Returns whether something that exists with this factor may stay as it is.
    pub fn accepts(self, existing: u32) -> bool {
        match self {
            Self::Written(factor) => factor == existing,
            Self::Default(_) => true,
        }
    }
}

/// A topic that shall exist.
#[derive(Clone, Debug, PartialEq)]
pub struct Topic {
    /// Name.
    pub name: String,
    /// Number of partitions.
    pub partitions: u32,
    /// Copies of each.
    pub replication_factor: Factor,
    /// Copies that must have a record; `None`: as follows from the replication factor.
    pub min_in_sync_replicas: Option<u32>,
    /// Further settings.
    pub config: BTreeMap<String, String>,
}

/// The nodes, the keyspace and its tables.
#[derive(Clone, Debug, PartialEq)]
pub struct Cassandra {
    /// Who runs it.
    pub placement: Placement,
    /// Version, such as `5.0.9`; of no meaning where someone else runs it.
    pub version: String,
    /// Name of the datacenter.
    pub datacenter: String,
    /// Racks in the order of the resource; none where someone else runs the nodes.
    pub racks: Vec<Rack>,
    /// What each node has.
    pub member: Member,
    /// Who may reach them beside those that the pipeline needs.
    pub access_from: Vec<NetworkPolicyPeer>,
    /// Keyspace name.
    pub keyspace: String,
    /// Copies of each row.
    pub replication_factor: Factor,
    /// User-defined types that shall exist, each after those that it uses.
    pub types: Vec<TypeSettings>,
    /// All tables that shall exist, the canary's included.
    pub tables: Vec<Table>,
}

impl Cassandra {
    /// Returns the number of nodes over all racks.
    pub fn nodes(&self) -> u32 {
        self.racks.iter().map(|rack| rack.replicas).sum()
    }

    /// Returns the user-defined types that columns use, and those that these use, in the order of the resource.
    pub fn types_of<'a>(&'a self, columns: impl IntoIterator<Item = &'a ColumnSettings>) -> Vec<&'a TypeSettings> {
        let mut names: BTreeSet<&str> =
            columns.into_iter().flat_map(|column| column.column_type.user_types()).collect();
        let mut used = Vec::new();
        // Backwards, since what a type uses stands before it.
        for declared in self.types.iter().rev() {
            if names.remove(declared.name.as_str()) {
                names.extend(declared.fields.iter().flat_map(|field| field.column_type.user_types()));
                used.push(declared);
            }
        }
        used.reverse();
        used
    }

    /// Returns a table by its name.
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.name == name)
    }

    /// Returns a table as the worker reads it.
    pub fn table_settings(&self, table: &Table) -> TableSettings {
        TableSettings {
            name: table.name.clone(),
            columns: table.columns.clone(),
            primary_key: table.partition_key.iter().chain(&table.clustering_key).cloned().collect(),
            // Only what it uses, so that a type of another table restarts nothing here.
            types: self.types_of(&table.columns).into_iter().cloned().collect(),
        }
    }
}

impl Topic {
    /// Returns how many copies must have a record, for a topic of this replication factor.
    pub fn min_in_sync(&self, replication_factor: u32) -> u32 {
        self.min_in_sync_replicas.unwrap_or_else(|| default_min_in_sync(replication_factor))
    }
}

/// A rack.
#[derive(Clone, Debug, PartialEq)]
pub struct Rack {
    /// Name.
    pub name: String,
    /// Number of nodes.
    pub replicas: u32,
}

/// A table that shall exist.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// Name.
    pub name: String,
    /// Columns in the order of the resource.
    pub columns: Vec<ColumnSettings>,
    /// Partition key.
    pub partition_key: Vec<String>,
    /// Clustering key.
    pub clustering_key: Vec<String>,
    /// Seconds until a row disappears; 0 is never.
    pub ttl_seconds: u32,
}

/// The producers.
#[derive(Clone, Debug, PartialEq)]
pub struct Producer {
    /// Number of pods; 0 stops fetching. Where the number follows what is pushed, that to begin with.
    pub replicas: u32,
    /// How the number follows what is pushed: all continuous sources are pushed to. `None`: it does not.
    pub scaling: Option<Scaling>,
    /// CPU and memory of each.
    pub resources: Resources,
    /// What the user adds to each.
    pub pods: PodTemplate,
    /// Bytes that a pod may hold.
    pub buffer_memory: Bytes,
    /// The sources that are fetched continuously, already as the worker reads them.
    pub sources: Vec<SourceSettings>,
    /// The sources that IngestionRuns can be made of, with schedule or without.
    pub runnable: Vec<RunnableSource>,
    /// The Secret keys that headers and tokens of continuous sources come from.
    pub secrets: Vec<SecretKey>,
    /// Who may push records.
    pub push_from: PushFrom,
    /// The Service that records are pushed to.
    pub push_service: PushService,
}

impl Producer {
    /// Returns whether records are pushed to any source.
    pub fn is_pushed_to(&self) -> bool {
        self.sources.iter().any(|source| matches!(source.origin, Origin::Push(_)))
    }

    /// Returns whether the position of any continuous source is kept in the cursors topic.
    pub fn has_cursors(&self) -> bool {
        self.sources.iter().any(|source| source.origin.has_cursor())
    }

    /// Returns the claims that continuous sources read files of, each once, in order.
    pub fn claims(&self) -> BTreeSet<Claim> {
        self.sources.iter().filter_map(claim_of).collect()
    }
}

/// Returns the claim that a source reads files of, if it does.
pub fn claim_of(source: &SourceSettings) -> Option<Claim> {
    match &source.origin {
        Origin::Files(files) => Claim::mounted_at(&files.directory),
        Origin::Http(_) | Origin::Generator(_) | Origin::Push(_) | Origin::Kafka(_) => None,
    }
}

/// A source that IngestionRuns can be made of.
#[derive(Clone, Debug, PartialEq)]
pub struct RunnableSource {
    /// The source, as the worker reads it, without values of params.
    pub settings: SourceSettings,
    /// What its runs may be given.
    pub params: Vec<Param>,
    /// When runs of it are made. Absent: it is fetched continuously, and runs come on top.
    pub schedule: Option<Schedule>,
    /// The Secret keys that its headers come from.
    pub secrets: Vec<SecretKey>,
}

/// Which pods may push records.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PushFrom {
    /// Their namespaces. Empty: the pipeline's own.
    pub namespaces: Vec<String>,
    /// Labels that they must have. Empty: none.
    pub pod_labels: BTreeMap<String, String>,
    /// Blocks of addresses that may push beside the pods.
    pub addresses: Vec<String>,
}

/// A PersistentVolumeClaim of the user, with files that a source reads.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Claim(pub String);

impl Claim {
    /// Directory under which the producers find the volumes.
    pub const MOUNT: &'static str = "/files";

    /// Returns where its volume is mounted.
    pub fn directory(&self) -> PathBuf {
        Path::new(Self::MOUNT).join(&self.0)
    }

    fn mounted_at(directory: &Path) -> Option<Self> {
        directory.file_name()?.to_str().map(|name| Self(name.to_owned()))
    }
}

/// A key of a Secret that is mounted into the producers.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct SecretKey {
    /// Name of the Secret.
    pub secret: String,
    /// Key in it.
    pub key: String,
}

impl SecretKey {
    /// Directory under which the producers find header values and tokens.
    pub const MOUNT: &'static str = "/secrets";

    /// Returns the path of the mounted file.
    pub fn path(&self) -> String {
        format!("{}/{}/{}", Self::MOUNT, self.secret, self.key)
    }
}

/// The processors.
#[derive(Clone, Debug, PartialEq)]
pub struct Processor {
    /// Number of pods; 0 stops writing. Where the number follows the load, that to begin with.
    pub replicas: u32,
    /// How the number follows the load. `None`: it does not.
    pub scaling: Option<Scaling>,
    /// Time from one canary record of a processor to the next. `None`: there are none.
    pub canary: Option<Duration>,
    /// CPU and memory of each.
    pub resources: Resources,
    /// What the user adds to each.
    pub pods: PodTemplate,
    /// Bytes that a pod may hold.
    pub buffer_memory: Bytes,
    /// Rows that a pod writes at once.
    pub max_in_flight: u32,
    /// From which topic into which table: the queries that can run.
    pub queries: Vec<Query>,
    /// Names of the queries that cannot; their topics keep the records.
    pub left_out: BTreeSet<String>,
    /// Topic of records that can never be written.
    pub dead_letter_topic: String,
}

/// How the number of processors follows the load, or that of producers what is pushed.
#[derive(Clone, Debug, PartialEq)]
pub struct Scaling {
    /// Whether the number is set; otherwise it is recommended.
    pub is_automatic: bool,
    /// Minimum number, at least 1.
    pub min: u32,
    /// Maximum number.
    pub max: u32,
    /// Percentage of what they can do that they do after a change.
    pub target_utilisation: u32,
    /// How long it may take to process what waits.
    pub catch_up: Duration,
    /// How long fewer of them must have been enough.
    pub down_window: Duration,
}

/// From which topic into which table.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// Name.
    pub name: String,
    /// Topic.
    pub from: String,
    /// Table.
    pub into: String,
    /// What is written of a record; `None`: its fields fill the columns of the same name.
    pub sql: Option<SqlSettings>,
    /// How records are read.
    pub records: RecordSettings,
}
