//! Where a source's records come from, and what each kind of origin needs.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{Bytes, Duration};

/// Where a source's records come from.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::large_enum_variant, reason = "a pipeline has some sources, and each has one origin")]
pub enum Origin {
    /// An HTTP endpoint that is polled.
    Http(HttpSettings),
    /// Made-up profiles from a seed.
    Generator(GeneratorSettings),
    /// Clients that send them over HTTP.
    Push(PushSettings),
    /// Files of a volume.
    Files(FilesSettings),
    /// A topic of another Kafka cluster.
    Kafka(KafkaSourceSettings),
}

impl Origin {
    /// Returns whether the source's position is kept in the cursors topic.
    pub const fn has_cursor(&self) -> bool {
        match self {
            Self::Files(_) => true,
            Self::Http(http) => http.since.is_some(),
            // The other cluster keeps it, in a consumer group.
            Self::Kafka(_) => false,
            Self::Generator(_) | Self::Push(_) => false,
        }
    }
}

/// An HTTP endpoint that answers with a JSON document of records.
///
/// Expressions are CEL over `params` and, in runs, `run`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HttpSettings {
    /// `http://` or `https://` address, without user information; `${…}` in its path are expressions.
    pub url: String,
    /// Method of the request. Absent: GET.
    #[serde(default, skip_serializing_if = "Method::is_get")]
    pub method: Method,
    /// One expression per parameter that is added to the URL's query. Absent: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub query: BTreeMap<String, String>,
    /// Expression of the body. Absent: no body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// From the start of one poll to the start of the next.
    pub interval: Duration,
    /// Longest that one request may take, from connecting to the last byte.
    pub timeout: Duration,
    /// Request headers.
    pub headers: Vec<HeaderSettings>,
    /// JSON pointer (RFC 6901) to the array of records, or to a single record. Empty: the whole document.
    pub records: String,
    /// What of the value there is a record.
    #[serde(default, skip_serializing_if = "RecordsAre::is_usual")]
    pub records_are: RecordsAre,
    /// How the pages of an answer follow each other. Absent: an answer has one page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pagination: Option<PaginationSettings>,
    /// CEL expression over each `record`, whose greatest value is kept and is `since` in the expressions of the request.
    /// Absent: the endpoint has no position.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Where the bearer token of each request comes from. Absent: there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oauth2: Option<OAuth2Settings>,
    /// Largest response body, after decompression, in bytes; a larger one is refused whole.
    pub max_response: Bytes,
    /// Upper bound of requests a second, retries included. Absent: `interval` alone sets the pace.
    pub max_requests_per_second: Option<f64>,
}

/// What of the value at the pointer is a record.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum RecordsAre {
    /// Each element of an array, or an object as a whole.
    #[default]
    Elements,
    /// Each member of an object, as `{"key": name, "value": value}`.
    Entries,
}

impl RecordsAre {
    /// Returns whether records are what they usually are.
    pub fn is_usual(&self) -> bool {
        *self == Self::Elements
    }
}

/// How the pages of an answer follow each other.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PaginationSettings {
    /// Where the next page is.
    pub follow: FollowPages,
    /// Most pages of one poll.
    pub max_pages: u32,
}

/// Where the next page is.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum FollowPages {
    /// At the link of the answer's `Link` header whose relation is `next` (RFC 8288).
    Link,
    /// At what stands at a pointer of the answer.
    Cursor {
        /// JSON pointer to it.
        pointer: String,
        /// Parameter of the query whose value it is. Absent: it is the address of the next page.
        parameter: Option<String>,
    },
    /// At the next number.
    Page {
        /// Parameter of the query.
        parameter: String,
        /// Number of the first page.
        first: u64,
    },
    /// Behind the records that came.
    Offset {
        /// Parameter of the query.
        parameter: String,
        /// Offset of the first record.
        first: u64,
    },
}

/// A token by OAuth 2.0's client credentials grant (RFC 6749, section 4.4).
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct OAuth2Settings {
    /// Where tokens are asked for.
    pub token_url: String,
    /// Path of a file with the client's id, mounted from a Secret and read at each request for a token.
    pub client_id: String,
    /// Path of a file with the client's secret, likewise.
    pub client_secret: String,
    /// What is asked for, separated by spaces. Absent: what the server gives without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Whom the token is for, where the server wants to be told. Absent: it is not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
}

/// Method of a request.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// Without a body.
    #[default]
    Get,
    /// With a body, if there is one.
    Post,
}

impl Method {
    /// Returns whether the method is the usual one.
    pub fn is_get(&self) -> bool {
        *self == Self::Get
    }
}

/// A request header whose value is given here or in a mounted file.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HeaderSettings {
    /// Header name.
    pub name: String,
    /// The value, or where it is mounted.
    pub value: HeaderValue,
}

/// The value of a header.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum HeaderValue {
    /// Written in the resource.
    Literal(String),
    /// Path of a file mounted from a Secret; read at each request, so that a rotated Secret is picked up.
    File(String),
    /// CEL expression that gives a text.
    Expression(String),
}

/// Made-up profiles: the same seed gives the same records.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct GeneratorSettings {
    /// Seed of the sequence.
    pub seed: u64,
    /// How many records to make. Absent: no end.
    pub count: Option<u64>,
    /// Records a second. Absent: as fast as Kafka acknowledges.
    pub records_per_second: Option<u32>,
}

/// Records that are sent to the worker over HTTP.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PushSettings {
    /// Largest body of a request in bytes; a larger one is refused whole. At most `bufferMemory`.
    pub max_body: Bytes,
    /// Longest that the body of a request may take to arrive, and then its records to be acknowledged.
    pub timeout: Duration,
    /// Path of a file with the bearer token that requests must carry, mounted from a Secret and read at each request.
    /// Absent: any client that reaches the port may push.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<PathBuf>,
}

/// Files of a mounted volume, read in the order of their names.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FilesSettings {
    /// Where the volume is mounted.
    pub directory: PathBuf,
    /// Which files, as a glob pattern relative to the directory.
    pub path: String,
    /// What a record is in them.
    pub format: FileFormat,
    /// What separates the fields of a CSV record: one ASCII character.
    pub delimiter: char,
    /// From the end of one look for new files and lines to the start of the next.
    pub interval: Duration,
}

/// What a record is in a file.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum FileFormat {
    /// One JSON value a line.
    #[serde(rename = "JSONLines")]
    JsonLines,
    /// A row; the first one names the fields, whose values are texts.
    #[serde(rename = "CSV")]
    Csv,
}

/// A topic of another Kafka cluster, all partitions of it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct KafkaSourceSettings {
    /// `host:port` of brokers to begin with.
    pub bootstrap_servers: Vec<String>,
    /// The topic.
    pub topic: String,
    /// Consumer group of that cluster, which keeps the position.
    pub group: String,
    /// Where a partition begins for which the group has no position.
    pub start: StartAt,
}

/// Where to begin without a position.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum StartAt {
    /// At the oldest record.
    Earliest,
    /// Behind the newest record there is.
    Latest,
}
