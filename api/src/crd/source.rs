//! The kinds of sources beside HTTP polling and the generator: pushed records, files, and other Kafka clusters.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::producer::SecretKeyReference;
use super::rules;

/// Records that are sent over HTTP: `POST /sources/<name>` at the Service `<pipeline>-push`, port 8090.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Push {
    /// Largest body of a request in bytes; a larger one is refused whole. Absent: 1Mi.
    #[serde(default = "default_max_body")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = rules::bytes(), validation = rules::bytes_between("1Ki", "64Mi"))]
    pub max_body: String,

    /// Longest that a body may take to arrive, and then its records to be acknowledged by Kafka. Absent: 30s.
    #[serde(default = "default_push_timeout")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = rules::duration(), validation = rules::duration_between("1s", "10m"))]
    pub timeout: String,

    /// The bearer token that requests must carry. A changed Secret is picked up without a restart. Absent: whoever the
    /// NetworkPolicy lets reach the port may push.
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

/// Who may reach the port that records are pushed to.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PushFrom {
    /// Namespaces of the pods. Absent: the pipeline's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 63)), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = Rule::new("self.all(n, n.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$'))").message("must be names of namespaces: lower-case letters, digits and '-'"))]
    pub namespaces: Vec<String>,

    /// Labels that the pods must have, all of them. Absent: any pod of these namespaces.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16), extend("additionalProperties" = {"type": "string", "maxLength": 63}))]
    #[x_kube(validation = Rule::new("self.all(k, k.matches('^([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$') && self[k].matches('^([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?$'))").message("must be labels, such as app: shop"))]
    pub pod_labels: BTreeMap<String, String>,

    /// Blocks of addresses that may push beside these pods, such as those of a load balancer: `10.1.0.0/16`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 64)), extend("x-kubernetes-list-type" = "set"))]
    pub addresses: Vec<String>,
}

/// Files of a volume, read in the order of their names; new files and lines are picked up. A file may grow; one that is
/// replaced or cut after it was read is told of and left alone.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.delimiter == ',' || self.format == 'CSV'")
    .message("only CSV has a delimiter; remove it, or set format to CSV")
    .field_path(".delimiter"))]
pub struct Files {
    /// PersistentVolumeClaim with the files, in the pipeline's namespace; mounted read-only into every producer.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')").message("must be the name of a PersistentVolumeClaim in the pipeline's namespace"))]
    pub claim_name: String,

    /// Which files: a glob pattern relative to the volume's root, such as `in/*.csv`, where `*` and `?` stay within one
    /// directory and `**` spans several. Names that begin with a dot are matched only by a dot.
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(
        validation = Rule::new("!self.startsWith('/') && !self.endsWith('/') && !self.contains('//') && !self.matches('(^|/)[.][.](/|$)')")
            .message("must be a path relative to the volume's root, without '..', such as in/*.csv"),
        validation = Rule::new("!self.endsWith('.gz')")
            .message("compressed files cannot be read in this version; unpack them, and match their plain names")
    )]
    pub path: String,

    /// What a record is.
    pub format: FileFormat,

    /// What separates the fields of a CSV row: one character. Absent: a comma.
    #[serde(default = "default_delimiter")]
    #[schemars(length(min = 1, max = 1))]
    #[x_kube(validation = Rule::new("self.matches('^[!#-/:-@^_`|~ \\t]$')").message("must be one ASCII character that is neither a letter, a digit nor a quote, such as ';'"))]
    pub delimiter: String,

    /// From the end of one look for new files and lines to the start of the next. Absent: 10s.
    #[serde(default = "default_look_interval")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = rules::duration(), validation = rules::duration_between("100ms", "24h"))]
    pub interval: String,
}

/// What a record is in a file.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum FileFormat {
    /// One JSON value a line.
    #[serde(rename = "JSONLines")]
    JsonLines,
    /// A row; the first row of a file names the fields, whose values are texts.
    #[serde(rename = "CSV")]
    Csv,
}

/// A topic of another Kafka cluster, whose values are JSON.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KafkaTopic {
    /// `host:port` of brokers to begin with. They and the brokers that they name are spoken to without encryption.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 260)), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = Rule::new("self.all(b, b.matches('^([A-Za-z0-9.-]+|[[][0-9a-fA-F:.]+[]]):[0-9]{1,5}$'))").message("must be host:port of brokers, such as kafka.example.com:9092"))]
    pub bootstrap_servers: Vec<String>,

    /// The topic.
    #[schemars(length(min = 1, max = 249))]
    #[x_kube(validation = rules::topic_name())]
    pub topic: String,

    /// Where to begin as long as the consumer group has no position. Absent: Earliest.
    #[serde(default)]
    pub start: StartAt,

    /// Consumer group of that cluster, which keeps the position. Absent: the namespace, the pipeline and the source,
    /// joined by dots.
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
    /// Behind the newest record there is.
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
