//! The producer part of the resource: where records come from.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Files, KafkaTopic, Param, ProducerScaling, Push, PushFrom, PushService, Resources, Schedule, TokenFrom, rules,
};

/// The pods that fetch sources into topics.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.replicas <= size(self.sources) || self.sources.exists(s, has(s.push))")
        .message("more producers than sources: a source is fetched by exactly one producer; lower replicas or add sources")
        .field_path(".replicas"),
    validation = Rule::new("!has(self.pushFrom) || self.sources.exists(s, has(s.push))")
        .message("pushFrom limits who may push, but no source has push; remove it or add a source with push")
        .field_path(".pushFrom"),
    validation = Rule::new("!has(self.pushService) || self.sources.exists(s, has(s.push))")
        .message("pushService is for pushes, but no source has push; remove it or add a source with push")
        .field_path(".pushService"),
    validation = rules::only_pushes_are_scaled(),
    validation = rules::max_body_within_buffer(),
    validation = rules::memory_at_least("48Mi")
)]
pub struct Producer {
    /// Number of producer pods. Every pod accepts pushed records; each other source is fetched by exactly one pod. 0
    /// stops fetching. If `scaling.mode` is Auto, it is the number to begin with, and 0 still stops.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 32))]
    pub replicas: i32,

    /// How the number of producers follows what is pushed (docs/scaling.md). Only if every source is pushed to or has a
    /// `schedule`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling: Option<ProducerScaling>,

    /// CPU and memory of each producer pod. Default: 50m and 128Mi.
    #[serde(default)]
    pub resources: Resources,

    /// Additions to the pods, such as labels, tolerations, env and volumes (docs/pods.md). A change restarts the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::pod_template::schema")]
    pub pod_template: Option<serde_json::Value>,

    /// Limit for the bytes of records that a producer holds in memory. A change restarts the producers.
    #[serde(default = "default_buffer")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = rules::bytes(), validation = rules::bytes_between("1Mi", "4Gi"))]
    pub buffer_memory: String,

    /// Clients that may push records, to all sources with push. Default: any pod of the pipeline's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub push_from: Option<PushFrom>,

    /// The Service that records are pushed to. Default: a ClusterIP Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub push_service: Option<PushService>,

    /// The sources.
    #[schemars(length(min = 1, max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub sources: Vec<Source>,
}

/// What is wrong with a source of no kind, or of several.
pub const ONE_KIND: &str = "set exactly one of http, generator, push, files and kafka";

/// One source of records and the topic that it fills.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.http), has(self.generator), has(self.push), has(self.files), has(self.kafka)].filter(x, x).size() == 1")
        .message(ONE_KIND),
    validation = Rule::new("!has(self.fields) || size(self.fields) == 0 || self.key in self.fields")
        .message("the key must be one of the fields; add it to fields or name another")
        .field_path(".key"),
    validation = rules::pushed_is_not_scheduled()
)]
pub struct Source {
    /// Source name.
    #[schemars(length(min = 1, max = 40))]
    #[x_kube(validation = rules::dns_label())]
    pub name: String,

    /// Topic that receives the records; one of spec.kafka.topics.
    #[schemars(length(min = 1, max = 200))]
    pub topic: String,

    /// Polls an HTTP endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<Http>,

    /// Generates user profiles from a seed, for trials and tests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generator: Option<Generator>,

    /// Accepts records that clients send to the producers over HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub push: Option<Push>,

    /// Reads lines of JSON or rows of CSV from the files of a volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Files>,

    /// Reads a topic of another Kafka cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka: Option<KafkaTopic>,

    /// Parameters of the source's runs. The expressions of `http` read them as `params.<name>`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub params: Vec<Param>,

    /// When the operator creates IngestionRuns of the source. If absent, the source is fetched continuously, and runs
    /// come on top.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,

    /// Field of the record whose text is the Kafka key. Records with the same key stay in order.
    #[schemars(length(min = 1, max = 48))]
    pub key: String,

    /// One CEL expression per field of the record, over `record`, the source's JSON object. If absent, the object is
    /// passed on unchanged. A change restarts the producers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(
        extend("maxProperties" = 128),
        extend("additionalProperties" = {"type": "string", "minLength": 1, "maxLength": 2048})
    )]
    #[x_kube(validation = rules::field_names())]
    pub fields: BTreeMap<String, String>,
}

/// An HTTP endpoint that answers with JSON.
///
/// Its CEL expressions can use `params`, the source's params, and in runs `run.name` and `run.time`, the due time or
/// the run's creation time.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.body) || (has(self.method) && self.method == 'POST')")
    .message("only a POST has a body; set method to POST or remove the body")
    .field_path(".body"))]
pub struct Http {
    /// URL of the endpoint. An expression in its path, such as `/days/${params.day}`, becomes one segment or a part of
    /// one. Redirects are not followed. Private, loopback, link-local and metadata addresses are refused unless the
    /// operator's administrator allows the host.
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = rules::http_url())]
    pub url: String,

    /// Method of the request. Default: GET.
    #[serde(default)]
    pub method: Method,

    /// Query parameters to add to the URL: a CEL expression for each name. null omits the parameter; a list repeats it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(
        extend("maxProperties" = 32),
        extend("additionalProperties" = {"type": "string", "minLength": 1, "maxLength": 1024})
    )]
    pub query: BTreeMap<String, String>,

    /// Body of a POST: a CEL expression. A string is sent as is, any other value as JSON. Default: no body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8192))]
    pub body: Option<String>,

    /// Time between the starts of two polls. Default: 10s.
    #[serde(default = "default_interval")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = rules::duration(), validation = rules::duration_between("10ms", "24h"))]
    pub interval: String,

    /// Time limit for a request, from connecting to the last byte. Default: 10s.
    #[serde(default = "default_timeout")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = rules::duration(), validation = rules::duration_between("10ms", "10m"))]
    pub timeout: String,

    /// JSON pointer (RFC 6901) to the array of records or to a single record in the answer, such as `/results`.
    /// Default: the whole answer.
    #[serde(default)]
    #[schemars(length(max = 256))]
    #[x_kube(validation = Rule::new("self == '' || self.startsWith('/')").message("must be a JSON pointer that begins with '/', such as /results"))]
    pub records: String,

    /// Which part of the value there is a record. Elements: each element of an array, or an object as a whole. Entries:
    /// each member of an object, as an object with `key` and `value`.
    #[serde(default)]
    pub records_are: RecordsAre,

    /// How to find the next page of an answer. If absent, an answer has one page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pagination: Option<Pagination>,

    /// A CEL expression over each `record` that returns a string or a number, such as `record.updated_at`. The greatest
    /// value is stored durably and available as `since` in the expressions of the request; null before the first
    /// record. If absent, the endpoint has no position.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub since: Option<String>,

    /// Gets a bearer token for each request by OAuth 2.0's client credentials grant. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oauth2: Option<OAuth2>,

    /// Request headers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub headers: Vec<Header>,

    /// Size limit of an answer in bytes, decompressed. A larger answer is refused as a whole. Default: 16Mi.
    #[serde(default = "default_max_response")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = rules::bytes(), validation = rules::bytes_between("1Ki", "1Gi"))]
    pub max_response: String,

    /// Limit of requests per minute, including retries. If absent, only the interval limits them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 600000))]
    pub max_requests_per_minute: Option<i32>,
}

/// Which part of the value at the pointer is a record.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum RecordsAre {
    /// Each element of an array, or an object as a whole.
    #[default]
    Elements,
    /// Each member of an object.
    Entries,
}

/// How to find the next page of an answer. Pages of another host are not followed.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.by == 'Cursor' || has(self.parameter) == (self.by != 'Link')")
        .message("Page and Offset require the parameter that selects the page; Link has none"),
    validation = Rule::new("has(self.pointer) == (self.by == 'Cursor')")
        .message("Cursor requires the pointer to the next cursor in the answer; others have none"),
    validation = Rule::new("!has(self.first) || self.by == 'Page' || self.by == 'Offset'")
        .message("only Page and Offset have a first number; remove it")
        .field_path(".first")
)]
pub struct Pagination {
    /// Link: the answer's header `Link` with the relation `next`. Cursor: a value in the answer, which becomes the
    /// value of `parameter`, or without `parameter` is the URL of the next page. Page: `parameter` is the page number.
    /// Offset: `parameter` is the number of records before the page. With Page and Offset, an empty page is the last
    /// one.
    pub by: PagesBy,

    /// Query parameter that selects the page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub parameter: Option<String>,

    /// JSON pointer to the next cursor, such as `/meta/next`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = Rule::new("self.startsWith('/')").message("must be a JSON pointer that begins with '/', such as /meta/next"))]
    pub pointer: Option<String>,

    /// Number of the first page (default: 1), or offset of the first record (default: 0).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub first: Option<i64>,

    /// Limit of pages per poll. Default: 1000.
    #[serde(default = "default_max_pages")]
    #[schemars(range(min = 1, max = 100000))]
    pub max_pages: i32,
}

/// What says where the next page is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the field says it")]
pub enum PagesBy {
    Link,
    Cursor,
    Page,
    Offset,
}

/// OAuth 2.0's client credentials grant.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OAuth2 {
    /// URL of the token endpoint. The same addresses are refused as for `url`.
    #[serde(rename = "tokenURL")]
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = Rule::new("isURL(self) && url(self).getScheme() in ['http', 'https'] && url(self).getHost() != ''").message("must be a URL that begins with https:// or http://"))]
    pub token_url: String,

    /// The client ID.
    pub client_id_from: TokenFrom,

    /// The client secret.
    pub client_secret_from: TokenFrom,

    /// Scopes to request, separated by spaces. If absent, the server decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub scope: Option<String>,

    /// Audience of the token, if the server requires one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub audience: Option<String>,
}

/// A request header.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.value), has(self.valueFrom), has(self.expression)].filter(x, x).size() == 1").message("set exactly one of value, valueFrom and expression"))]
pub struct Header {
    /// Header name.
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9!#$%&*+.^_|~-]+$')").message("must be an HTTP header name, such as Authorization"))]
    pub name: String,

    /// The value, in plain text. Use valueFrom for secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    #[x_kube(validation = Rule::new("!self.matches('[[:cntrl:]]')").message("must be one line without control characters"))]
    pub value: Option<String>,

    /// The value, from a Secret. A change of the Secret takes effect without a restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<HeaderValueFrom>,

    /// The value, as a CEL expression that returns a string.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub expression: Option<String>,
}

/// Method of a request.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// Asks for records.
    #[default]
    Get,
    /// Asks for records with a body, such as a query.
    Post,
}

/// Where a header's value comes from.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HeaderValueFrom {
    /// A key of a Secret in the pipeline's namespace.
    pub secret_key_ref: SecretKeyReference,
}

/// A key of a Secret in the pipeline's namespace.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyReference {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')").message("must be the name of a Secret in the pipeline's namespace"))]
    pub name: String,
    /// Key in the Secret.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9._-]+$')").message("must be a key of the Secret: letters, digits, '.', '_' and '-'"))]
    pub key: String,
}

/// Generated user profiles: the same seed gives the same records.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Generator {
    /// Seed of the sequence. Default: 0.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub seed: i64,

    /// Number of records to generate. A restarted producer generates the same ones again. Default: unlimited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub count: Option<i64>,

    /// Records per second. Default: as fast as Kafka acknowledges.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000000))]
    pub records_per_second: Option<i32>,
}

/// One pod suffices until a source is too fast for it.
pub fn one() -> i32 {
    1
}

/// Enough for some seconds of a fast source, little enough for a pod of 128Mi.
pub fn default_buffer() -> String {
    "16Mi".to_owned()
}

/// More than an API has that is polled, and an end for one that goes on for ever.
pub fn default_max_pages() -> i32 {
    1_000
}

/// Polite to a public endpoint.
pub fn default_interval() -> String {
    "10s".to_owned()
}

/// Longer than a healthy endpoint takes.
pub fn default_timeout() -> String {
    "10s".to_owned()
}

/// Some ten thousand records of ordinary size.
pub fn default_max_response() -> String {
    "16Mi".to_owned()
}
