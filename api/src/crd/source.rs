//! The kinds of sources beside HTTP polling and the generator: pushed records, files, and other Kafka clusters.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::producer::SecretKeyReference;
use super::rules;

/// Records that clients send over HTTP: `POST /sources/<name>` at the Service `<pipeline>-push`, port 8090.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Push {
    /// Size limit of a request's body in bytes. A larger body is refused as a whole. Default: 1Mi.
    #[serde(default = "default_max_body")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = rules::bytes(), validation = rules::bytes_between("1Ki", "64Mi"))]
    pub max_body: String,

    /// Time limit for a body to arrive, and then for Kafka to acknowledge its records. Default: 30s.
    #[serde(default = "default_push_timeout")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = rules::duration(), validation = rules::duration_between("1s", "10m"))]
    pub timeout: String,

    /// Bearer token that requests must carry. A change of the Secret takes effect without a restart. If absent, any
    /// client that the NetworkPolicy allows may push.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_from: Option<TokenFrom>,
}

/// Where a bearer token comes from.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenFrom {
    /// A key of a Secret in the pipeline's namespace.
    pub secret_key_ref: SecretKeyReference,
}

/// Clients that may reach the port for pushed records.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PushFrom {
    /// Namespaces of the pods. Default: the pipeline's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 63)), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = Rule::new("self.all(n, n.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$'))").message("must be names of namespaces: lower-case letters, digits and '-'"))]
    pub namespaces: Vec<String>,

    /// Labels that the pods must all have. Default: any pod of these namespaces.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16), extend("additionalProperties" = {"type": "string", "maxLength": 63}))]
    #[x_kube(validation = Rule::new("self.all(k, k.matches('^([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$') && self[k].matches('^([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?$'))").message("must be labels, such as app: shop"))]
    pub pod_labels: BTreeMap<String, String>,

    /// Address blocks that may push in addition to these pods, such as those of a load balancer: `10.1.0.0/16`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 64)), extend("x-kubernetes-list-type" = "set"))]
    pub addresses: Vec<String>,
}

/// Files of a volume, read in the order of their names. New files and lines are picked up. A file may grow; one that is
/// replaced or truncated after it was read is reported and no longer read.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.delimiter == ',' || self.format == 'CSV'")
    .message("only CSV has a delimiter; remove it, or set format to CSV")
    .field_path(".delimiter"))]
pub struct Files {
    /// PersistentVolumeClaim with the files, in the pipeline's namespace. Every producer mounts it read-only.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')").message("must be the name of a PersistentVolumeClaim in the pipeline's namespace"))]
    pub claim_name: String,

    /// Glob pattern of the files, relative to the volume's root, such as `in/*.csv`. `*` and `?` stay within one
    /// directory, `**` spans several. Only a dot matches the leading dot of a name.
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(
        validation = Rule::new("!self.startsWith('/') && !self.endsWith('/') && !self.contains('//') && !self.matches('(^|/)[.][.](/|$)')")
            .message("must be a path relative to the volume's root, without '..', such as in/*.csv"),
        validation = Rule::new("!self.endsWith('.gz')")
            .message("this version cannot read compressed files; unpack them, and match the unpacked names")
    )]
    pub path: String,

    /// Format of the files.
    pub format: FileFormat,

    /// Character that separates the fields of a CSV row. Default: a comma.
    #[serde(default = "default_delimiter")]
    #[schemars(length(min = 1, max = 1))]
    #[x_kube(validation = Rule::new("self.matches('^[!#-/:-@^_`|~ \\t]$')").message("must be one ASCII character that is neither a letter, a digit nor a quote, such as ';'"))]
    pub delimiter: String,

    /// Time between the end of one scan for new files and lines and the start of the next. Default: 10s.
    #[serde(default = "default_look_interval")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = rules::duration(), validation = rules::duration_between("100ms", "24h"))]
    pub interval: String,
}

/// Format of a file: what a record is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum FileFormat {
    /// One JSON value per line.
    #[serde(rename = "JSONLines")]
    JsonLines,
    /// One record per row. The first row of a file names the fields; all values are strings.
    #[serde(rename = "CSV")]
    Csv,
}

/// A topic of another Kafka cluster, with JSON values.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KafkaTopic {
    /// Bootstrap brokers as `host:port`. Connections to all brokers are unencrypted.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 260)), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = Rule::new("self.all(b, b.matches('^([A-Za-z0-9.-]+|[[][0-9a-fA-F:.]+[]]):[0-9]{1,5}$'))").message("must be host:port of brokers, such as kafka.example.com:9092"))]
    pub bootstrap_servers: Vec<String>,

    /// The topic.
    #[schemars(length(min = 1, max = 249))]
    #[x_kube(validation = rules::topic_name())]
    pub topic: String,

    /// Where to begin while the consumer group has no position. Default: Earliest.
    #[serde(default)]
    pub start: StartAt,

    /// Consumer group in that cluster, which keeps the position. Default: namespace, pipeline and source, joined by
    /// dots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    #[x_kube(validation = Rule::new("self.matches('^[a-zA-Z0-9._-]+$')").message("must be letters, digits, '.', '_' and '-'"))]
    pub group: Option<String>,
}

/// Where to begin without a position.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum StartAt {
    /// At the oldest record.
    #[default]
    Earliest,
    /// After the newest record.
    Latest,
}

/// A Kafka record's default limit.
pub fn default_max_body() -> String {
    "1Mi".to_owned()
}

/// As long as clients usually wait.
pub fn default_push_timeout() -> String {
    "30s".to_owned()
}

/// What the C of CSV stands for.
pub fn default_delimiter() -> String {
    ",".to_owned()
}

/// Soon enough for files, and nothing for a volume that is shared over a network.
pub fn default_look_interval() -> String {
    "10s".to_owned()
}
