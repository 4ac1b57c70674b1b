//! The ZooKeeper part of the resource.

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::rules::Unsupported;
use super::{Resources, Storage, rules};

/// `zoo.cfg` keys that the operator sets itself.
pub const OWNED_KEYS: [&str; 11] = [
    "dataDir",
    "dataLogDir",
    "clientPort",
    "secureClientPort",
    "4lw.commands.whitelist",
    "admin.enableServer",
    "admin.serverPort",
    "reconfigEnabled",
    "standaloneEnabled",
    "dynamicConfigFile",
    "quorumListenOnAllIPs",
];

/// `zoo.cfg` keys that cannot work in this version: a server would not start, or its clients could not reach it.
pub const UNSUPPORTED_KEYS: [Unsupported; 2] = [
    Unsupported {
        keys: &[
            "client.portUnification",
            "portUnification",
            "requireClientAuthScheme",
            "secureClientPortAddress",
            "serverCnxnFactory",
            "sessionRequireClientSASLAuth",
            // A key that ZooKeeper does not know becomes a system property, and these switch access control off.
            "skipACL",
            "sslQuorum",
            "superUser",
        ],
        prefixes: &[
            "DigestAuthenticationProvider.",
            "X509AuthenticationProvider.",
            "authProvider",
            "enforce.auth.",
            "kerberos.",
            "quorum.auth.",
            "ssl.",
        ],
        reason: "this version runs ZooKeeper without authentication and encryption, and would lose access; remove it",
    },
    Unsupported {
        keys: &["clientPortAddress", "electionAlg", "peerType"],
        prefixes: &["group.", "weight."],
        reason: "the operator decides where servers listen and how they vote; remove it",
    },
];

/// The ZooKeeper ensemble.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = rules::memory_at_least("192Mi"),
    // ZOOKEEPER-4394 and ZOOKEEPER-4785: before it, a server that syncs may end or lose transactions.
    validation = Rule::new("self.replicas == oldSelf.replicas || self.version.matches('^3[.]9[.]([3-9]|[1-9][0-9]+)$')").message("the number of ZooKeeper servers can change from version 3.9.3 on: raise spec.zookeeper.version first")
)]
pub struct ZooKeeper {
    /// ZooKeeper version, a 3.9 release. A change restarts the servers one at a time.
    #[serde(default = "default_version")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new("self.matches('^3[.]9[.][0-9]{1,3}$')").message("must be a ZooKeeper 3.9 release, such as 3.9.5"))]
    pub version: String,

    /// Image to run instead of the official one. It must keep the image contract (docs/images.md). Default:
    /// `zookeeper:<version>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    #[x_kube(validation = rules::image())]
    pub image: Option<String>,

    /// Number of servers: 1, 3, 5 or 7. It may change while records arrive, from version 3.9.3 on
    /// (docs/runbooks.md).
    #[schemars(range(min = 1, max = 7))]
    #[x_kube(
        validation = Rule::new("self % 2 == 1").message("must be odd (1, 3, 5 or 7): an even ensemble survives no more failures than the odd one below it")
    )]
    pub replicas: i32,

    /// The volume of each server.
    pub storage: Storage,

    /// CPU and memory of each server. Default: 50m and 512Mi.
    #[serde(default)]
    pub resources: Resources,

    /// Additions to the pods, such as labels, tolerations, env and volumes (docs/pods.md). A change restarts the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::pod_template::schema")]
    pub pod_template: Option<serde_json::Value>,

    /// Additional JVM options (docs/pods.md). A change restarts the servers one at a time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("items" = {"type": "string", "maxLength": 256, "pattern": "^-[A-Za-z0-9_.,:;=+@%/*^~#-]+$"}))]
    pub jvm_options: Vec<String>,

    /// Additional `zoo.cfg` settings. Keys that the operator sets are refused. A change restarts the servers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64), extend("additionalProperties" = {"type": "string", "maxLength": 1024}))]
    #[x_kube(
        validation = rules::operator_owned_keys(&OWNED_KEYS),
        validation = rules::unsupported_keys(&UNSUPPORTED_KEYS[0]),
        validation = rules::unsupported_keys(&UNSUPPORTED_KEYS[1]),
        validation = rules::one_line_settings(),
        validation = Rule::new("self.all(k, !k.startsWith('server.'))").message("the operator lists the servers itself; remove the server.N keys")
    )]
    pub config: BTreeMap<String, String>,
}

/// Returns whether admission refuses a key of the configuration.
pub fn is_refused(key: &str) -> bool {
    OWNED_KEYS.contains(&key)
        || UNSUPPORTED_KEYS.iter().any(|unsupported| unsupported.has(key))
        || key.starts_with("server.")
}

/// The newest 3.9 release that both image suppliers have.
pub fn default_version() -> String {
    "3.9.5".to_owned()
}
