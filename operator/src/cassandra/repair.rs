//! The repairs that Cassandra makes by itself: whether it does, how, and whether the last ones are recent enough. Pure.
//!
//! Cassandra 5.0.8 has a scheduler of repairs (CEP-37). An option of the JVM gives the nodes its tables and a new column of
//! the schema's own tables; a node that has started with it once never starts without it. So the option is set once, for a
//! new ring from its beginning, and for one that is there when its nodes have come to a version that has it; and it stays.

use chrono::{DateTime, TimeDelta};
use millrace_api::Pipeline;
use millrace_api::crd::status::{NodeStatus, RepairStatus, StreamingPipelineStatus};
use millrace_api::crd::time::time_of;
use millrace_api::names::Component;
use millrace_stores::cassandra::RepairFacts;
use serde_json::{Value, json};

use super::memory::file_of;
use super::nodes::known;
use super::ring::{newest_release, replication_factor};
use crate::observed::Observed;

/// The JVM's option.
pub const SWITCH: &str = "-Dcassandra.autorepair.enable=true";
/// The file with the JVM's options.
pub const OPTIONS_FILE: &str = "jvm-server.options";
/// The setting of the scheduler in `cassandra.yaml`.
pub const SETTING: &str = "auto_repair";
/// The first version that has the scheduler.
const FIRST: (u32, u32, u32) = (5, 0, 8);

/// Whether the last full repairs are recent enough.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Schedule {
    /// Cassandra does not repair by itself.
    Absent,
    /// It cannot be asked now.
    Unknown,
    /// They are.
    InTime,
    /// They are not, in a sentence.
    Overdue(String),
}

/// Returns whether the nodes have, or shall have, the scheduler's tables.
pub fn is_switched_on(pipeline: &Pipeline, observed: &Observed, status: Option<&StreamingPipelineStatus>) -> bool {
    is_known_to(&pipeline.cassandra.version)
        && (was_switched_on(pipeline, observed, status)
            || is_new(pipeline, observed)
            || may_be_switched_on(pipeline, observed, status))
}

fn was_switched_on(pipeline: &Pipeline, observed: &Observed, status: Option<&StreamingPipelineStatus>) -> bool {
    let options = file_of(pipeline, observed, OPTIONS_FILE);
    options.is_some_and(|options| options.lines().any(|line| line == SWITCH))
        || observed.stores.cassandra.nodes.values().any(|node| node.has_auto_repair)
        || status.and_then(|status| status.cassandra.as_ref()?.repair.as_ref()).is_some()
}

/// Returns whether no node has ever been started, as far as Kubernetes knows.
fn is_new(pipeline: &Pipeline, observed: &Observed) -> bool {
    let children = &observed.children;
    let mut racks = pipeline.cassandra.racks.iter().map(|rack| pipeline.names.rack(&rack.name));
    !racks.any(|rack| children.stateful_sets.contains_key(&rack))
        && children.pods_of(Component::Cassandra).next().is_none()
}

/// Returns whether the nodes have come to a version that has the scheduler, and would be repaired by it.
///
/// A node has run such a version, and none that answers runs an older one. Whether all answer plays no part: every moment
/// in which one does not would change the template of all, and what people are to approve.
fn may_be_switched_on(pipeline: &Pipeline, observed: &Observed, status: Option<&StreamingPipelineStatus>) -> bool {
    let facts = &observed.stores.cassandra;
    let copies = replication_factor(pipeline, observed, status).unwrap_or(1);
    let is_wanted = copies > 1 || pipeline.cassandra.member.config.contains_key(SETTING);
    let before = status.and_then(|status| status.cassandra.as_ref()?.version.as_deref());
    let has_run = newest_release(facts, before).is_some_and(|newest| is_known_to(&newest));
    is_wanted && has_run && facts.nodes.values().all(|node| is_known_to(&node.release))
}

/// Returns whether a version has the scheduler.
fn is_known_to(version: &str) -> bool {
    let mut numbers = version.split(['.', '-', '~']).map_while(|part| part.parse::<u32>().ok());
    let mut next = || numbers.next();
    let (Some(major), Some(minor), Some(patch)) = (next(), next(), next()) else {
        return false;
    };
    (major, minor, patch) >= FIRST
}

/// Returns how the scheduler works: full repairs, of one node at a time, in pieces that a small node bears. Nothing where
/// there is one copy of each row.
///
/// A round in three days leaves time for two that fail before a deletion is forgotten (`gc_grace_seconds`, ten days).
/// Incremental repair writes every SSTable anew the first time, and is for the user to choose.
pub fn settings(has_scheduler: bool, copies: u32) -> Option<(&'static str, Value)> {
    let settings = json!({
        "enabled": true,
        "global_settings": {"parallel_repair_count": 1, "repair_by_keyspace": true},
        "repair_type_overrides": {"full": {
            "enabled": true,
            "min_repair_interval": "3d",
            "token_range_splitter": {"parameters": {"bytes_per_assignment": "5GiB"}},
        }},
    });
    (has_scheduler && copies > 1).then_some((SETTING, settings))
}

/// Returns the nodes with their last full repairs.
pub fn nodes(pipeline: &Pipeline, observed: &Observed) -> Vec<NodeStatus> {
    let mut nodes = known(pipeline, observed);
    for node in &mut nodes {
        // While one is under way, Cassandra does not tell whether it is the first; what was known before stays.
        if let Some(repair) = repair_of(observed, node).filter(|repair| repair.has_begun && !repair.is_under_way()) {
            node.last_repair = DateTime::from_timestamp_millis(repair.finished).map(time_of);
        }
    }
    nodes
}

/// Returns how far the repairs are. `None`: Cassandra makes none, or has never said anything of them.
pub fn status(pipeline: &Pipeline, observed: &Observed) -> Option<RepairStatus> {
    let facts = &observed.stores.cassandra;
    let before = observed.remembered.status.cassandra.as_ref().and_then(|cassandra| cassandra.repair.clone());
    if facts.repairs.is_none() {
        return before;
    }
    let nodes = nodes(pipeline, observed);
    let repaired: Vec<_> = nodes.iter().filter_map(|node| node.last_repair.clone()).collect();
    let is_under_way = |node: &&NodeStatus| repair_of(observed, node).is_some_and(|repair| repair.is_under_way());
    let all_are = repaired.len() == nodes.len();
    Some(RepairStatus {
        nodes: format!("{}/{}", repaired.len(), nodes.len()),
        under_way: nodes.iter().filter(is_under_way).map(|node| node.name.clone()).collect(),
        oldest: repaired.into_iter().min_by_key(|time| time.0).filter(|_| all_are),
    })
}

fn repair_of(observed: &Observed, node: &NodeStatus) -> Option<RepairFacts> {
    let repairs = observed.stores.cassandra.repairs.as_ref()?;
    repairs.iter().find(|(host_id, _)| host_id.to_string() == node.host_id).map(|(_, repair)| *repair)
}

/// Judges whether the last full repair of every node is recent enough for every table.
///
/// A deletion that a node missed must be repaired to it before the other nodes forget it. Three quarters of that time are
/// the limit, so that there is time to do something about it.
pub fn judge(pipeline: &Pipeline, observed: &Observed) -> Schedule {
    if !pipeline.manages(Component::Cassandra) {
        return Schedule::Absent;
    }
    let facts = &observed.stores.cassandra;
    let is_absent = !facts.nodes.is_empty() && facts.nodes.values().all(|node| !node.has_auto_repair);
    let copies = replication_factor(pipeline, observed, Some(&observed.remembered.status)).unwrap_or(1);
    if is_absent || copies < 2 {
        return Schedule::Absent;
    }
    let Some(schema) = facts.schema.as_ref().filter(|_| facts.repairs.is_some()) else {
        return Schedule::Unknown;
    };
    let known = known(pipeline, observed);
    let repairs = known.iter().filter_map(|node| Some((node, repair_of(observed, node)?)));
    let Some((node, last)) = repairs.min_by_key(|(_, repair)| repair.finished) else {
        // The scheduler lists the nodes some minutes after they have started.
        return Schedule::Unknown;
    };
    let tables = schema.tables.iter().filter(|(_, table)| table.gc_grace_seconds > 0);
    let Some((table, facts)) = tables.min_by_key(|(_, table)| table.gc_grace_seconds) else {
        return Schedule::InTime;
    };
    let age = TimeDelta::milliseconds(observed.now.timestamp_millis() - last.finished);
    let grace = TimeDelta::seconds(facts.gc_grace_seconds.into());
    if age <= grace * 3 / 4 {
        return Schedule::InTime;
    }
    Schedule::Overdue(format!(
        "the node of pod '{}' has had no full repair for {}, and table '{table}' keeps deletion markers for {} \
         (gc_grace_seconds): after that, a deleted row can reappear if this node missed the deletion; see the runbook \
         \"Repair is overdue\"",
        node.name,
        in_words(age),
        in_words(grace)
    ))
}

/// Says a time in whole days or hours, so that it is not written anew at every pass.
fn in_words(time: TimeDelta) -> String {
    match (time.num_days(), time.num_hours()) {
        (days @ 2.., _) => format!("{days} days"),
        (_, hours @ 2..) => format!("{hours} hours"),
        _ => format!("{} minutes", time.num_minutes()),
    }
}

#[cfg(test)]
mod tests {
    use super::{in_words, is_known_to, settings};
    use chrono::TimeDelta;

    #[test]
    fn versions_before_5_0_8_have_no_scheduler() {
        let having = ["5.0.7", "5.0.8", "5.0.10", "5.0.9-SNAPSHOT", "4.1.12", "5.0", ""].map(is_known_to);
        assert_eq!(having, [false, true, true, true, false, false, false]);
    }

    #[test]
    fn one_copy_is_not_repaired_and_no_node_gets_a_setting_that_it_does_not_know() {
        assert!(settings(true, 3).is_some());
        assert_eq!((settings(true, 1), settings(false, 3)), (None, None));
    }

    #[test]
    fn times_are_said_in_whole_units() {
        let said = [TimeDelta::days(10), TimeDelta::hours(47), TimeDelta::minutes(119)].map(in_words);
        assert_eq!(said, ["10 days", "47 hours", "119 minutes"]);
    }
}
