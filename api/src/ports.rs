//! Every port of a pipeline's pods: written into their templates and Services, allowed, probed and asked.

/// A port.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Port {
    /// Name, in Services and containers.
    pub name: &'static str,
    /// Number.
    pub number: u16,
}

/// ZooKeeper's clients: the brokers, and everything that asks for a server's state.
pub const ZOOKEEPER_CLIENT: Port = Port { name: "client", number: 2181 };
/// ZooKeeper's leader and its followers.
pub const ZOOKEEPER_QUORUM: Port = Port { name: "quorum", number: 2888 };
/// The election of ZooKeeper's leader.
pub const ZOOKEEPER_ELECTION: Port = Port { name: "election", number: 3888 };

/// Kafka's clients, and brokers among themselves.
pub const KAFKA: Port = Port { name: "kafka", number: 9092 };

/// Cassandra's clients: CQL's native protocol.
pub const CASSANDRA_CQL: Port = Port { name: "cql", number: 9042 };
/// Cassandra's nodes among themselves.
pub const CASSANDRA_INTERNODE: Port = Port { name: "internode", number: 7000 };
/// The same, encrypted.
pub const CASSANDRA_INTERNODE_TLS: Port = Port { name: "internode-tls", number: 7001 };

/// A worker's metrics, probes and counts.
pub const WORKER_HTTP: Port = Port { name: "http", number: 8080 };
/// Records that are pushed to a producer.
pub const WORKER_PUSH: Port = Port { name: "push", number: 8090 };
