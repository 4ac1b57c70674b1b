//! The nodes' link: the ring is whole, the schema agreed, keyspace and tables are there. Pure.

use std::collections::BTreeSet;

use millrace_api::Pipeline;
use millrace_api::crd::Changes;
use millrace_api::crd::status::NodeStatus;
use millrace_api::names::Component;
use uuid::Uuid;

use super::changes::schema_rejected;
use super::leaving::{leaver, refusal};
use super::memory::{awaits_template, pod_name};
use super::nodes::{Loss, loss};
use super::ring::{agree, current_racks, normal_nodes, releases, ring_is_whole};
use crate::causes::cause_of;
use crate::intact::holds_tables;
use crate::link::{Link, LinkState, Reason};
use crate::observed::Observed;
use millrace_stores::cassandra::CassandraFacts;

/// Judges whether the ring is whole and the schema there.
pub fn cassandra(pipeline: &Pipeline, observed: &Observed) -> LinkState {
    let facts = &observed.stores.cassandra;
    let given = current_racks(pipeline, observed);
    let (wanted, running): (u32, u32) = (pipeline.cassandra.nodes(), given.values().sum());
    let unmet = |reason, message: String| {
        LinkState::unmet(Link::Cassandra, reason, format!("{message}{}", cause_of(observed, Component::Cassandra)))
    };
    let is_whole = ring_is_whole(&given, facts);
    if let Some(loss) = loss(pipeline, observed).filter(|_| !is_whole) {
        let (reason, message) = lost(pipeline, observed, &loss);
        return unmet(reason, message);
    }
    if let Some(key) = leaver(pipeline, observed).filter(|_| refusal(pipeline, observed).is_none()) {
        let pod = pod_name(pipeline, &key);
        return unmet(
            Reason::NodeLeaving,
            format!("node '{pod}' is leaving the ring; its rows are being streamed to the other nodes"),
        );
    }
    if !is_whole {
        let versions: BTreeSet<_> = facts.nodes.values().map(|node| node.schema_version).collect();
        if facts.nodes.len() as u32 == running && !agree(&facts.nodes.values().collect::<Vec<_>>()) {
            return unmet(Reason::SchemaDisagreement, format!("the nodes have {} schema versions", versions.len()));
        }
        return unmet(
            if running > 1 { Reason::NodeJoining } else { Reason::WaitingForNodes },
            format!(
                "{} of {wanted} Cassandra nodes are up and normal according to every other node",
                normal_nodes(facts)
            ),
        );
    }
    if running < wanted {
        return unmet(
            Reason::NodeJoining,
            format!("{running} of {wanted} Cassandra nodes have joined; nodes join one at a time"),
        );
    }
    if let Some(message) = strangers(facts) {
        return unmet(Reason::UnknownNodes, message);
    }
    if let Some((reason, message)) = holds_tables(pipeline, observed) {
        return LinkState::unmet(Link::Cassandra, reason, message);
    }
    schema(pipeline, facts).map(|missing| held(missing, facts)).unwrap_or_else(|| {
        LinkState::met(
            Link::Cassandra,
            Reason::NodesUpNormal,
            format!("{wanted} of {wanted} Cassandra nodes are up and normal, and agree on the schema"),
        )
    })
}

/// Judges whether a Cassandra that someone else runs can be used: a node of the datacenter answers, those that are asked
/// agree on the schema, and it has keyspace, types and tables.
pub fn external(pipeline: &Pipeline, observed: &Observed) -> LinkState {
    let facts = &observed.stores.cassandra;
    if facts.nodes.is_empty() {
        let left_out = observed.stores.outside.left_out.get(&Component::Cassandra);
        let reason = match left_out {
            Some(left_out) if left_out.is_forbidden() => Reason::AddressNotAllowed,
            Some(_) | None => Reason::StoreUnreachable,
        };
        let why = left_out.map_or_else(|| "no node answers".to_owned(), ToString::to_string);
        return LinkState::unmet(Link::Cassandra, reason, format!("the external Cassandra cannot be asked: {why}"));
    }
    if !agree(&facts.nodes.values().collect::<Vec<_>>()) {
        let message = "the nodes of the external Cassandra hold several schema versions";
        return LinkState::unmet(Link::Cassandra, Reason::SchemaDisagreement, message);
    }
    if let Some((reason, message)) = holds_tables(pipeline, observed) {
        return LinkState::unmet(Link::Cassandra, reason, message);
    }
    let Some(missing) = schema(pipeline, facts) else {
        let message = "the external Cassandra answers, and has the keyspace and its tables";
        return LinkState::met(Link::Cassandra, Reason::StoreReachable, message);
    };
    let changes = pipeline.cassandra.placement.external().map(|external| external.changes);
    match changes == Some(Changes::None) && missing.reason == Reason::CreatingSchema {
        true => LinkState {
            reason: Reason::SchemaMissing,
            message: format!(
                "{}, and spec.cassandra.external.changes is None; create it, or set that to Additions",
                missing.message
            ),
            ..missing
        },
        false => held(missing, facts),
    }
}

/// Says why a schema is not created while nodes run several releases.
fn held(missing: LinkState, facts: &CassandraFacts) -> LinkState {
    let releases = releases(facts);
    if releases.len() <= 1 || missing.reason != Reason::CreatingSchema {
        return missing;
    }
    let listed: Vec<&str> = releases.into_iter().collect();
    let message = format!(
        "{}; nodes run {}; the schema is changed once all nodes run the same release",
        missing.message,
        listed.join(" and ")
    );
    LinkState { message, ..missing }
}

/// Says what becomes of nodes whose volumes are gone.
fn lost(pipeline: &Pipeline, observed: &Observed, loss: &Loss) -> (Reason, String) {
    let give_up = |node: &NodeStatus| {
        let namespace = pipeline.names.namespace();
        format!("kubectl exec -n {namespace} POD -- nodetool removenode {}", node.host_id)
    };
    match loss {
        Loss::Replaced { pod, copies } => {
            let from = if *copies == 1 { "the other copy".to_owned() } else { format!("{copies} other copies") };
            let message =
                format!("node '{pod}' lost its volume and is being replaced; its rows are being streamed from {from}");
            (Reason::ReplacingNode, message)
        }
        Loss::OnlyCopy(node) => {
            let message = format!(
                "node '{}' lost its volume, and with it the only copy of its rows; to continue without them, run in \
                 the pod of another node: {}; it then joins as a new node",
                node.name,
                give_up(node)
            );
            (Reason::VolumeLost, message)
        }
        Loss::Held(nodes) => {
            let names: Vec<String> = nodes.iter().map(|node| format!("'{}'", node.name)).collect();
            let message = match &nodes[..] {
                [_] if awaits_template(pipeline, observed) => format!(
                    "node {} lost its volume; it is replaced once the new template of the nodes' pods is approved",
                    names[0]
                ),
                [_] => {
                    format!("node {} lost its volume; it is replaced once all other nodes are up and normal", names[0])
                }
                _ => format!(
                    "nodes {} lost their volumes, so rows with most of their copies on these nodes may be lost; see \
                     the runbook \"A Cassandra node lost its volume\"",
                    names.join(", ")
                ),
            };
            (Reason::VolumeLost, message)
        }
    }
}

/// Returns what to do about nodes that own a part of the ring and run in no pod; `None`: there are none.
///
/// Volumes of a larger ring that were adopted by fewer nodes: the ring still counts on the others, for quorums, too.
/// Asked only when all pods have joined, since until then the missing ones may be those that are still to come.
fn strangers(facts: &CassandraFacts) -> Option<String> {
    let known: BTreeSet<Uuid> = facts.nodes.values().map(|node| node.host_id).collect();
    let ring: BTreeSet<Uuid> = facts.nodes.values().flat_map(|node| &node.ring).copied().collect();
    let strangers: Vec<String> = ring.difference(&known).map(Uuid::to_string).collect();
    (!strangers.is_empty()).then(|| {
        format!(
            "{} nodes of the ring have no pod ({}); raise the racks' replicas to the numbers that the volumes were \
             written with, or give up the rows that only these nodes have: run 'nodetool removenode' for each",
            strangers.len(),
            strangers.join(", ")
        )
    })
}

/// Returns what is missing of keyspace, types and tables; `None`: nothing.
fn schema(pipeline: &Pipeline, facts: &CassandraFacts) -> Option<LinkState> {
    let unmet = |reason, message| Some(LinkState::unmet(Link::Cassandra, reason, message));
    let keyspace = &pipeline.cassandra.keyspace;
    let Some(schema) = facts.schema.as_ref().filter(|schema| schema.replication.is_some()) else {
        return unmet(Reason::CreatingSchema, format!("keyspace '{keyspace}' does not exist yet"));
    };
    if let Some(rejected) = schema_rejected(pipeline, schema) {
        return unmet(Reason::SchemaChangeRejected, rejected);
    }
    for declared in &pipeline.cassandra.types {
        let Some(found) = schema.types.get(&declared.name) else {
            return unmet(Reason::CreatingSchema, format!("type '{keyspace}.{}' does not exist yet", declared.name));
        };
        if let Some(field) = declared.fields.get(found.len()) {
            return unmet(
                Reason::CreatingSchema,
                format!("type '{keyspace}.{}' has no field '{}' yet", declared.name, field.name),
            );
        }
    }
    for table in &pipeline.cassandra.tables {
        let Some(found) = schema.tables.get(&table.name) else {
            return unmet(Reason::CreatingSchema, format!("table '{keyspace}.{}' does not exist yet", table.name));
        };
        if let Some(column) = table.columns.iter().find(|column| !found.columns.contains_key(&column.name)) {
            return unmet(
                Reason::CreatingSchema,
                format!("table '{keyspace}.{}' has no column '{}' yet", table.name, column.name),
            );
        }
    }
    None
}
