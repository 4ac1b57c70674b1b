//! Asks each Cassandra node how it sees the ring and the schema; changes the schema; reads rows.
//!
//! A node is asked by a session that knows that node only, so that its answer is its own view. `change.rs` changes the
//! schema, `preview.rs` reads rows.

mod change;
mod peers;
mod preview;
mod relay;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use millrace_api::ports::CASSANDRA_CQL;
use scylla::client::PoolSize;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::policies::host_filter::AllowListHostFilter;
use scylla::statement::{Consistency, Statement};
use scylla::value::CqlTimestamp;
use snafu::{OptionExt, ResultExt, Snafu};
use tokio::time::timeout;
use uuid::Uuid;

use super::ANSWER_TIMEOUT;
use super::budget::Kind;
use super::reach::Reach;
pub use change::{Change, change};
pub(crate) use peers::{Peer, peers};
pub use preview::{MAX_ROWS, Preview, PreviewTable, describe, preview};
use relay::Relay;

/// Last repairs by Cassandra's own scheduler; the partition has one row for each node.
const SELECT_REPAIRS: &str = "SELECT host_id, repair_turn, repair_start_ts, repair_finish_ts \
                              FROM system_distributed.auto_repair_history WHERE repair_type = 'FULL'";
/// How long the answer to that may take: it comes from several nodes, and must not make one of them seem away.
const REPAIRS_TIMEOUT: Duration = Duration::from_secs(1);

/// Most nodes of a Cassandra that someone else runs which are asked for their view.
const VIEWS: usize = 3;
/// How long their answers may take.
const FOREIGN_TIMEOUT: Duration = Duration::from_secs(8);

/// Port of the native protocol.
pub const NATIVE_PORT: u16 = CASSANDRA_CQL.number;

/// Why Cassandra could not be asked or changed.
#[derive(Debug, Snafu)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum AskCassandra {
    #[snafu(display("cannot open a session with node {address}"))]
    OpenSession { address: IpAddr, source: Box<scylla::errors::NewSessionError> },
    #[snafu(display("cannot listen on the loopback, where answers are bounded"))]
    OpenRelay { source: std::io::Error },
    #[snafu(display("node {address} did not answer in time"))]
    AwaitAnswer { address: IpAddr },
    #[snafu(display("Cassandra refused '{statement}'"))]
    Execute { statement: String, source: Box<scylla::errors::ExecutionError> },
    #[snafu(display("cannot read the answer to '{statement}': {reason}"))]
    ReadAnswer { statement: String, reason: String },
    #[snafu(display("no node has an address yet"))]
    FindAddress,
    #[snafu(display("lost the connection to node {address}"))]
    Exchange { address: IpAddr, source: std::io::Error },
    #[snafu(display("node {address} requires authentication, which this version does not have"))]
    Authenticate { address: IpAddr },
    #[snafu(display("node {address} does not speak version 4 of Cassandra's protocol"))]
    Speak { address: IpAddr },
}

/// Identity of a node: its rack's name and its ordinal there. Where someone else runs it, its host id, and 0.
pub type NodeKey = (String, u32);

/// What the nodes say of themselves.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CassandraFacts {
    /// The nodes that answer.
    pub nodes: BTreeMap<NodeKey, NodeFacts>,
    /// The keyspace and its tables; `None`: no node could be asked.
    pub schema: Option<SchemaFacts>,
    /// Last full repair by the node's identity; `None`: unknown, or Cassandra does not repair by itself.
    pub repairs: Option<BTreeMap<Uuid, RepairFacts>>,
}

/// A node's last full repair by Cassandra's own scheduler, in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RepairFacts {
    /// When it began.
    pub started: i64,
    /// When the last one ended. Before the first one has, when the scheduler first listed the node.
    pub finished: i64,
    /// Whether one has begun since the node was listed.
    pub has_begun: bool,
}

impl RepairFacts {
    /// Returns whether a repair is under way.
    pub fn is_under_way(&self) -> bool {
        self.started > self.finished
    }
}

/// One node's own view.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeFacts {
    /// Its address.
    pub address: IpAddr,
    /// Its identity, which stays when its address changes.
    pub host_id: Uuid,
    /// Whether it has finished joining.
    pub joined: bool,
    /// Version that it runs, such as `5.0.9`.
    pub release: String,
    /// Version of its schema.
    pub schema_version: Uuid,
    /// Mebibytes that its tables have on disk; `None`: unknown.
    pub used_mebibytes: Option<u64>,
    /// Whether it has the tables of Cassandra's own scheduler of repairs.
    pub has_auto_repair: bool,
    /// Addresses of the nodes, itself included, that it sees in state NORMAL.
    pub sees_normal: BTreeSet<IpAddr>,
    /// Identities of the other nodes that own a part of its ring, up or not.
    pub ring: BTreeSet<Uuid>,
}

/// Keyspace and tables as Cassandra has them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SchemaFacts {
    /// Options of the keyspace's replication; `None`: there is no such keyspace.
    pub replication: Option<BTreeMap<String, String>>,
    /// User-defined types by name: the name and CQL type of each field, in order.
    pub types: BTreeMap<String, Vec<(String, String)>>,
    /// Tables by name.
    pub tables: BTreeMap<String, TableFacts>,
    /// Other keyspaces that people made.
    pub other_keyspaces: BTreeSet<String>,
}

impl SchemaFacts {
    /// Returns how many copies of each row the keyspace has in a datacenter; `None`: no keyspace, or none there.
    pub fn replicas(&self, datacenter: &str) -> Option<u32> {
        self.replication.as_ref()?.get(datacenter)?.parse().ok()
    }
}

/// A table as Cassandra has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TableFacts {
    /// Cassandra's own id of this incarnation.
    pub id: Uuid,
    /// CQL type of each column.
    pub columns: BTreeMap<String, String>,
    /// Partition key in order.
    pub partition_key: Vec<String>,
    /// Clustering key in order.
    pub clustering_key: Vec<String>,
    /// Seconds until a row disappears; 0 is never.
    pub ttl_seconds: u32,
    /// Seconds for which a deletion is remembered, to be repaired to every copy; 0: not at all.
    pub gc_grace_seconds: u32,
}

/// Asks nodes that someone else runs, a few at once, for the schema. How they see each other is for others to judge.
pub async fn observe_declared(nodes: &Reach<NodeKey>, keyspace: &str) -> CassandraFacts {
    let views = nodes.members().take(VIEWS).map(|(key, socket)| async move {
        let view = timeout(FOREIGN_TIMEOUT, ask_schema(socket, keyspace)).await.ok()?.ok()?;
        Some((key.clone(), view))
    });
    let mut facts = CassandraFacts::default();
    for (key, (node, schema)) in join_all(views).await.into_iter().flatten() {
        facts.nodes.insert(key, node);
        facts.schema.get_or_insert(schema);
    }
    facts
}

async fn ask_schema(socket: SocketAddr, keyspace: &str) -> Result<(NodeFacts, SchemaFacts), AskCassandra> {
    let address = socket.ip();
    let session = open_for(Kind::Facts, socket, address).await?;
    let local: Vec<(Uuid, String, Uuid, String)> =
        rows(&session, "SELECT host_id, bootstrapped, schema_version, release_version FROM system.local", ()).await?;
    let (host_id, bootstrapped, schema_version, release) =
        local.into_iter().next().context(AwaitAnswerSnafu { address })?;
    let node = NodeFacts {
        address,
        host_id,
        joined: bootstrapped == "COMPLETED",
        release,
        schema_version,
        used_mebibytes: None,
        has_auto_repair: false,
        sees_normal: BTreeSet::new(),
        ring: BTreeSet::new(),
    };
    Ok((node, schema(&session, keyspace).await?))
}

/// Asks all nodes at once; one that does not answer is left out.
pub async fn observe(nodes: &Reach<NodeKey>, keyspace: &str) -> CassandraFacts {
    let views = nodes.members().map(|(key, socket)| async move {
        let view = timeout(ANSWER_TIMEOUT, ask(socket, keyspace)).await.ok()?.ok()?;
        Some((key.clone(), view))
    });
    let mut facts = CassandraFacts::default();
    for (key, (node, schema, repairs)) in join_all(views).await.into_iter().flatten() {
        facts.nodes.insert(key, node);
        facts.schema.get_or_insert(schema);
        facts.repairs = facts.repairs.or(repairs);
    }
    facts
}

/// A session with one node, whose answers are bounded.
#[derive(Debug)]
pub struct NodeSession {
    session: Session,
    _relay: Relay,
}

impl Deref for NodeSession {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

/// Opens a session that talks to one managed node only, at its pod's address.
pub async fn open(address: IpAddr) -> Result<NodeSession, AskCassandra> {
    open_at(SocketAddr::new(address, NATIVE_PORT), address).await
}

/// Opens a session that talks to one node only, which is reached at `socket`; `address` is what it calls itself.
pub async fn open_at(socket: SocketAddr, address: IpAddr) -> Result<NodeSession, AskCassandra> {
    open_for(Kind::Records, socket, address).await
}

async fn open_for(kind: Kind, socket: SocketAddr, address: IpAddr) -> Result<NodeSession, AskCassandra> {
    let relay = Relay::open(socket, kind).await.context(OpenRelaySnafu)?;
    // The driver takes the node for one of its own address, with the port that it was reached at.
    let own = SocketAddr::new(address, relay.address().port());
    let only_this = AllowListHostFilter::new([own]).ok().context(FindAddressSnafu)?;
    let session = SessionBuilder::new()
        .known_node_addr(relay.address())
        .host_filter(Arc::new(only_this))
        .address_translator(Arc::new(HashMap::from([(own, relay.address())])))
        .pool_size(PoolSize::PerHost(NonZeroUsize::MIN))
        .fetch_schema_metadata(false)
        .fetch_full_schema_metadata(false)
        .connection_timeout(ANSWER_TIMEOUT)
        .build()
        .await
        .map_err(Box::new)
        .context(OpenSessionSnafu { address })?;
    Ok(NodeSession { session, _relay: relay })
}

/// One node's view: itself, the schema, and the last repairs.
type View = (NodeFacts, SchemaFacts, Option<BTreeMap<Uuid, RepairFacts>>);

async fn ask(socket: SocketAddr, keyspace: &str) -> Result<View, AskCassandra> {
    let address = socket.ip();
    let session = open_for(Kind::Facts, socket, address).await?;
    let local: Vec<(Uuid, String, Uuid, String)> =
        rows(&session, "SELECT host_id, bootstrapped, schema_version, release_version FROM system.local", ()).await?;
    let peers: Vec<(Option<Uuid>, Option<BTreeSet<String>>)> =
        rows(&session, "SELECT host_id, tokens FROM system.peers_v2", ()).await?;
    let gossip: Vec<(IpAddr, Option<String>)> =
        rows(&session, "SELECT address, status_with_port FROM system_views.gossip_info", ()).await?;
    let (host_id, bootstrapped, schema_version, release) =
        local.into_iter().next().context(AwaitAnswerSnafu { address })?;
    let auto_repair: Vec<(String,)> = rows(
        &session,
        "SELECT table_name FROM system_schema.tables \
         WHERE keyspace_name = 'system_distributed' AND table_name = 'auto_repair_history'",
        (),
    )
    .await?;
    // Only a check before a node leaves asks for it, so that nothing else fails without it.
    let used: Vec<(i64,)> =
        rows(&session, "SELECT mebibytes FROM system_views.disk_usage", ()).await.unwrap_or_default();
    let node = NodeFacts {
        address,
        host_id,
        joined: bootstrapped == "COMPLETED",
        release,
        schema_version,
        used_mebibytes: (!used.is_empty()).then(|| used.iter().map(|(amount,)| amount.unsigned_abs()).sum()),
        has_auto_repair: !auto_repair.is_empty(),
        sees_normal: gossip
            .into_iter()
            .filter(|(_, status)| status.as_deref().is_some_and(|status| status.starts_with("NORMAL")))
            .map(|(address, _)| address)
            .collect(),
        // Not from gossip: a node that was never up since this one started is not normal there, and has tokens here.
        ring: peers.into_iter().filter(|(_, tokens)| tokens.is_some()).filter_map(|(host_id, _)| host_id).collect(),
    };
    let repairs = match node.has_auto_repair {
        true => timeout(REPAIRS_TIMEOUT, repairs(&session)).await.ok().and_then(Result::ok),
        false => None,
    };
    Ok((node, schema(&session, keyspace).await?, repairs))
}

/// A node, the turn that it has, and when its last repair began and ended.
type RepairRow = (Uuid, Option<String>, Option<CqlTimestamp>, Option<CqlTimestamp>);

async fn repairs(session: &Session) -> Result<BTreeMap<Uuid, RepairFacts>, AskCassandra> {
    let mut statement = Statement::new(SELECT_REPAIRS);
    statement.set_consistency(Consistency::LocalOne);
    let found: Vec<RepairRow> = rows_of(session, statement, ()).await?;
    let moment = |time: Option<CqlTimestamp>| time.map_or(0, |CqlTimestamp(milliseconds)| milliseconds);
    let facts = |(host_id, turn, started, finished): (Uuid, Option<String>, _, _)| {
        (host_id, RepairFacts { started: moment(started), finished: moment(finished), has_begun: turn.is_some() })
    };
    Ok(found.into_iter().map(facts).collect())
}

async fn schema(session: &Session, keyspace: &str) -> Result<SchemaFacts, AskCassandra> {
    let mut keyspaces: BTreeMap<String, BTreeMap<String, String>> =
        rows(session, "SELECT keyspace_name, replication FROM system_schema.keyspaces", ())
            .await?
            .into_iter()
            .collect();
    let tables: Vec<(String, Uuid, i32, i32)> = rows(
        session,
        "SELECT table_name, id, default_time_to_live, gc_grace_seconds FROM system_schema.tables WHERE keyspace_name = ?",
        (keyspace,),
    )
    .await?;
    let columns: Vec<(String, String, String, String, i32)> = rows(
        session,
        "SELECT table_name, column_name, type, kind, position FROM system_schema.columns WHERE keyspace_name = ?",
        (keyspace,),
    )
    .await?;
    let types: Vec<(String, Vec<String>, Vec<String>)> = rows(
        session,
        "SELECT type_name, field_names, field_types FROM system_schema.types WHERE keyspace_name = ?",
        (keyspace,),
    )
    .await?;
    let mut facts = SchemaFacts { replication: keyspaces.remove(keyspace), ..SchemaFacts::default() };
    facts.other_keyspaces = keyspaces.into_keys().filter(|name| !is_of_cassandra(name)).collect();
    for (name, fields, field_types) in types {
        facts.types.insert(name, fields.into_iter().zip(field_types).collect());
    }
    for (table, id, ttl, grace) in tables {
        let (ttl_seconds, gc_grace_seconds) = (ttl.unsigned_abs(), grace.unsigned_abs());
        facts.tables.insert(table, TableFacts { id, ttl_seconds, gc_grace_seconds, ..TableFacts::default() });
    }
    let mut keys: BTreeMap<(String, String, i32), String> = BTreeMap::new();
    for (table, column, column_type, kind, position) in columns {
        if let Some(facts) = facts.tables.get_mut(&table) {
            facts.columns.insert(column.clone(), column_type);
            keys.insert((table, kind, position), column);
        }
    }
    for ((table, kind, _), column) in keys {
        let Some(facts) = facts.tables.get_mut(&table) else {
            continue;
        };
        match kind.as_str() {
            "partition_key" => facts.partition_key.push(column),
            "clustering" => facts.clustering_key.push(column),
            _ => {}
        }
    }
    Ok(facts)
}

/// Returns whether a keyspace is Cassandra's own.
fn is_of_cassandra(keyspace: &str) -> bool {
    keyspace == "system" || keyspace.starts_with("system_")
}

/// Reads all rows of a small answer.
pub async fn rows<R>(
    session: &Session,
    statement: &str,
    values: impl scylla::serialize::row::SerializeRow,
) -> Result<Vec<R>, AskCassandra>
where
    R: for<'frame, 'metadata> scylla::deserialize::row::DeserializeRow<'frame, 'metadata>,
{
    rows_of(session, Statement::new(statement), values).await
}

async fn rows_of<R>(
    session: &Session,
    statement: Statement,
    values: impl scylla::serialize::row::SerializeRow,
) -> Result<Vec<R>, AskCassandra>
where
    R: for<'frame, 'metadata> scylla::deserialize::row::DeserializeRow<'frame, 'metadata>,
{
    let text = statement.contents.clone();
    let unreadable = |reason: String| AskCassandra::ReadAnswer { statement: text.clone(), reason };
    let answer = session
        .query_unpaged(statement, values)
        .await
        .map_err(Box::new)
        .with_context(|_| ExecuteSnafu { statement: text.clone() })?;
    let answer = answer.into_rows_result().map_err(|error| unreadable(error.to_string()))?;
    let rows = answer.rows::<R>().map_err(|error| unreadable(error.to_string()))?;
    rows.collect::<Result<_, _>>().map_err(|error| unreadable(error.to_string()))
}

/// Quotes an identifier, so that reserved words can be names.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
