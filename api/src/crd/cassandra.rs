//! The Cassandra part of the resource: nodes, keyspace and tables.

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::rules::Unsupported;
use super::{Access, ExternalCassandra, Resources, Storage, rules};

/// `cassandra.yaml` keys that the operator sets itself.
pub const OWNED_KEYS: [&str; 24] = [
    "auto_bootstrap",
    "broadcast_address",
    "broadcast_rpc_address",
    "cdc_raw_directory",
    "cluster_name",
    "commitlog_directory",
    "data_file_directories",
    "endpoint_snitch",
    "hints_directory",
    "initial_token",
    "listen_address",
    "listen_interface",
    "local_system_data_file_directory",
    "native_transport_port",
    "num_tokens",
    "partitioner",
    "rpc_address",
    "rpc_interface",
    "saved_caches_directory",
    "seed_provider",
    "ssl_storage_port",
    "start_native_transport",
    "storage_port",
    "allocate_tokens_for_local_replication_factor",
];

/// `cassandra.yaml` keys that cannot work in this version: a node would not start, or its clients could not reach it.
pub const UNSUPPORTED_KEYS: [Unsupported; 2] = [
    Unsupported {
        keys: &[
            "authenticator",
            "authorizer",
            "cidr_authorizer",
            "client_encryption_options",
            "internode_authenticator",
            "network_authorizer",
            "role_manager",
            "server_encryption_options",
        ],
        prefixes: &[],
        reason: "this version runs Cassandra without authentication and encryption, and would lose access; remove it",
    },
    Unsupported {
        keys: &["crypto_provider", "native_transport_port_ssl", "transparent_data_encryption_options"],
        prefixes: &[],
        reason: "it requires code or keys that the pods do not have, and the node would not start; remove it",
    },
];

/// The Cassandra nodes, the keyspace and its tables.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.racks) || !has(self.keyspace.replicationFactor) || self.keyspace.replicationFactor <= self.racks.map(r, r.replicas).sum()")
    .message("the keyspace requires more replicas than the racks have nodes; lower replicationFactor or add nodes to \
              spec.cassandra.racks")
    .field_path(".keyspace.replicationFactor"),
    validation = rules::own_or_external("racks"),
    validation = rules::memory_at_least("1Gi"))]
pub struct Cassandra {
    /// A Cassandra that someone else runs (docs/external.md).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalCassandra>,

    /// Cassandra version, a 5.0 release. It cannot be older than a release that a node has run. A change restarts the
    /// nodes one at a time. From 5.0.8 on, nodes repair automatically if there is more than one copy of each row.
    #[serde(default = "default_version")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new("self.matches('^5[.]0[.][0-9]{1,3}$')").message("must be a Cassandra 5.0 release, such as 5.0.9"))]
    pub version: String,

    /// Image to run instead of the official one. It must keep the image contract (docs/images.md). Default:
    /// `cassandra:<version>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    #[x_kube(validation = rules::image())]
    pub image: Option<String>,

    /// Name of the datacenter. Fixed at creation.
    #[serde(default = "default_datacenter")]
    #[schemars(length(min = 1, max = 48))]
    #[x_kube(
        validation = Rule::new("self.matches('^[a-zA-Z0-9][a-zA-Z0-9_-]*$')").message("must be letters, digits, '_' and '-', beginning with a letter or digit"),
        validation = rules::immutable("the datacenter's name", "create a new pipeline")
    )]
    pub datacenter: String,

    /// The racks, over which the copies of a row are spread. Each is a StatefulSet. This version cannot add or remove
    /// racks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 9), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    #[x_kube(
        validation = Rule::new("size(self) == size(oldSelf) && self.all(r, oldSelf.exists(o, o.name == r.name))")
            .message("this version cannot add, remove or rename racks; change their replicas instead")
            .reason(Reason::FieldValueForbidden)
    )]
    pub racks: Vec<Rack>,

    /// The volume of each node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,

    /// CPU and memory of each node. Default: 250m and 2Gi.
    #[serde(default)]
    pub resources: Resources,

    /// Additions to the pods, such as labels, tolerations, env and volumes (docs/pods.md). A change restarts the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::pod_template::schema")]
    pub pod_template: Option<serde_json::Value>,

    /// Further clients that may reach the nodes. Default: none. A change restarts nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,

    /// Additional JVM options (docs/pods.md). A change restarts the nodes one at a time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("items" = {"type": "string", "maxLength": 256, "pattern": "^-[A-Za-z0-9_.,:;=+@%/*^~#-]+$"}))]
    pub jvm_options: Vec<String>,

    /// Additional `cassandra.yaml` settings, one value per top-level key. Keys that the operator sets are refused. A
    /// change restarts the nodes one at a time.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64), extend("additionalProperties" = {"type": "string", "maxLength": 1024}))]
    #[x_kube(
        validation = rules::operator_owned_keys(&OWNED_KEYS),
        validation = rules::unsupported_keys(&UNSUPPORTED_KEYS[0]),
        validation = rules::unsupported_keys(&UNSUPPORTED_KEYS[1]),
        validation = rules::one_line_settings()
    )]
    pub config: BTreeMap<String, String>,

    /// The keyspace that holds the tables.
    pub keyspace: Keyspace,

    /// User-defined types for columns and for later types of the list. The operator creates and extends them before the
    /// tables. Removing a type from the list does not drop it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub types: Vec<UserType>,

    /// The tables, which the operator creates and extends. Removing a table or column from the list does not drop it.
    #[schemars(length(min = 1, max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub tables: Vec<Table>,
}

/// A rack and its nodes.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rack {
    /// Rack name.
    #[schemars(length(min = 1, max = 12))]
    #[x_kube(validation = rules::dns_label())]
    pub name: String,

    /// Number of nodes in this rack. Nodes join one at a time. If lowered, the nodes with the highest numbers leave the
    /// ring one at a time, and their volume claims stay.
    #[schemars(range(min = 1, max = 99))]
    pub replicas: i32,
}

/// A keyspace with NetworkTopologyStrategy in the pipeline's datacenter.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::presence_fixed("replicationFactor", "the keyspace's replication factor", "create a new pipeline"))]
pub struct Keyspace {
    /// Keyspace name. Fixed at creation.
    #[schemars(length(min = 1, max = 48))]
    #[x_kube(
        validation = rules::cql_name(),
        validation = Rule::new("!self.startsWith('system')").message("names that begin with 'system' belong to Cassandra; choose another"),
        validation = rules::immutable("the keyspace's name", "create a new pipeline")
    )]
    pub name: String,

    /// Copies of each row, at most one per node. Writes wait for a majority of them. Default: 3, or the number of nodes
    /// if that is less. Fixed at creation in this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 9))]
    #[x_kube(validation = rules::immutable("the keyspace's replication factor", "create a new pipeline"))]
    pub replication_factor: Option<i32>,
}

/// A table.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = rules::key_columns_declared("partition", "primary-key"),
    validation = rules::key_columns_declared("clustering", "clustering"),
    validation = Rule::new("self.primaryKey.clustering.all(k, !(k in self.primaryKey.partition))")
        .message("a column can be in the partition key or in the clustering key, not in both; take it out of one of them")
        .field_path(".primaryKey.clustering"),
    validation = rules::key_columns_ordered()
)]
pub struct Table {
    /// Table name.
    #[schemars(length(min = 1, max = 48))]
    #[x_kube(validation = rules::cql_name())]
    pub name: String,

    /// The columns. New ones are added to the table. The type of an existing column cannot change.
    #[schemars(length(min = 1, max = 128), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub columns: Vec<Column>,

    /// The primary key. Fixed at creation.
    #[x_kube(validation = rules::immutable("a table's primary key", "create a table of another name"))]
    pub primary_key: PrimaryKey,

    /// Seconds after which a row expires. Default: 0, never. A change applies to rows written afterwards.
    #[serde(default)]
    #[schemars(range(min = 0, max = 630720000))]
    pub ttl_seconds: i32,
}

/// A column.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Column {
    /// Column name, and the name of the record's field that fills it.
    #[schemars(length(min = 1, max = 48))]
    #[x_kube(validation = rules::cql_name())]
    pub name: String,

    /// CQL type: one of `ascii`, `bigint`, `blob`, `boolean`, `date`, `decimal`, `double`, `duration`, `float`, `inet`,
    /// `int`, `smallint`, `text`, `time`, `timestamp`, `timeuuid`, `tinyint`, `uuid`, `varint`; `set<type>`, `map<type,
    /// type>`, `tuple<type, …>`, `vector<type, number>`; the name of one of spec.cassandra.types; or `frozen<…>` of
    /// these, which is required for `list<type>`. docs/types.md says how a record carries a value of each. A field that
    /// is absent leaves the column unchanged, null clears it, and a collection replaces the old one. A value that does
    /// not fit exactly makes the record a dead letter that names column, place and reason.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(
        validation = rules::cql_type(),
        validation = rules::no_counter(),
        validation = rules::list_is_frozen(),
        validation = rules::immutable("a column's type", "add a column of another name")
    )]
    pub column_type: String,
}

/// A user-defined type.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UserType {
    /// Type name.
    #[schemars(length(min = 1, max = 48))]
    #[x_kube(validation = rules::cql_name(), validation = rules::no_name_of_a_cql_type())]
    pub name: String,

    /// The fields. New ones are added at the end. Existing fields keep their type and position.
    #[schemars(length(min = 1, max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    #[x_kube(validation = rules::fields_stay())]
    pub fields: Vec<TypeField>,
}

/// A field of a user-defined type.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TypeField {
    /// Field name, also in records.
    #[schemars(length(min = 1, max = 48))]
    #[x_kube(validation = rules::cql_name())]
    pub name: String,

    /// CQL type, as for a column. Another user-defined type must come earlier in the list, and be frozen here.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(
        validation = rules::cql_type(),
        validation = rules::no_counter(),
        validation = rules::immutable("a field's type", "add a field of another name")
    )]
    pub field_type: String,
}

/// The primary key: which columns place a row, and which order it.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PrimaryKey {
    /// Columns that determine which nodes hold the row.
    #[schemars(length(min = 1, max = 8), inner(length(min = 1, max = 48)), extend("x-kubernetes-list-type" = "set"))]
    pub partition: Vec<String>,

    /// Columns that order rows within a partition, ascending. If empty, there is one row per partition key.
    #[serde(default)]
    #[schemars(length(max = 8), inner(length(min = 1, max = 48)), extend("x-kubernetes-list-type" = "set"))]
    pub clustering: Vec<String>,
}

/// Returns whether admission refuses a key of the configuration.
pub fn is_refused(key: &str) -> bool {
    OWNED_KEYS.contains(&key) || UNSUPPORTED_KEYS.iter().any(|unsupported| unsupported.has(key))
}

/// The newest 5.0 release that both image suppliers have.
pub fn default_version() -> String {
    "5.0.9".to_owned()
}

/// The name that Cassandra's own default configuration uses.
pub fn default_datacenter() -> String {
    "dc1".to_owned()
}
