//! What is there from before: the node of each pod with the claim that it joined with, and the files that the pods got last.
//! Pure.

use std::collections::BTreeMap;

use millrace_api::Pipeline;
use millrace_api::crd::status::NodeStatus;
use millrace_api::names::Component;
use millrace_stores::cassandra::NodeKey;

use crate::observed::Observed;

/// Name of the file that tells the pods of the nodes.
pub const FILE: &str = "nodes";

/// Name of the script that pods start with.
pub const SCRIPT: &str = "start.sh";

/// A line that every script has from the first one on that can leave the ring and take another node's place.
const HEEDING: &str = "leaving=/var/lib/cassandra/leaving";

/// Returns the name of a node's pod.
pub fn pod_name(pipeline: &Pipeline, (rack, ordinal): &NodeKey) -> String {
    format!("{}-{ordinal}", pipeline.names.rack(rack))
}

/// Returns what is remembered of a pod's node. `None`: it had none.
pub fn remembered<'a>(pipeline: &Pipeline, observed: &'a Observed, key: &NodeKey) -> Option<&'a NodeStatus> {
    let name = pod_name(pipeline, key);
    observed.remembered.status.cassandra.as_ref()?.nodes.iter().find(|node| node.name == name)
}

/// Returns the UID of a pod's claim; `None`: there is none, or claims cannot be listed.
pub fn claim_of(observed: &Observed, pod: &str) -> Option<String> {
    observed.children.volumes.as_ref()?.get(&format!("data-{pod}")).map(|claim| claim.uid.clone())
}

/// Returns whether the claim that a node joined with is gone: there is another of its name, or none. Unknown is no.
pub fn is_lost(observed: &Observed, node: &NodeStatus) -> bool {
    let answers = observed.stores.cassandra.nodes.values().any(|facts| facts.host_id.to_string() == node.host_id);
    let is_known = node.claim.is_some() && observed.children.volumes.is_some();
    is_known && !answers && claim_of(observed, &node.name) != node.claim
}

/// Returns those of some pods' nodes whose volumes are gone, where no other node has come in their place.
pub fn lost<'a>(
    pipeline: &Pipeline,
    observed: &'a Observed,
    keys: impl Iterator<Item = NodeKey>,
) -> BTreeMap<NodeKey, &'a NodeStatus> {
    let silent = keys.filter(|key| !observed.stores.cassandra.nodes.contains_key(key));
    let found = silent.filter_map(|key| remembered(pipeline, observed, &key).map(|node| (key, node)));
    found.filter(|(_, node)| is_lost(observed, node)).collect()
}

/// Returns a file that the pods have. `None`: they do not have it.
pub fn file_of<'a>(pipeline: &Pipeline, observed: &'a Observed, name: &str) -> Option<&'a str> {
    let map = observed.children.config_maps.get(&pipeline.names.component(Component::Cassandra))?;
    map.data.as_ref()?.get(name).map(String::as_str)
}

/// Returns whether a pod has been told to leave: then it is told so until it is gone, lest it join anew.
pub fn was_to_leave(pipeline: &Pipeline, observed: &Observed, pod: &str) -> bool {
    let is_of_pod = |line: &str| line.strip_prefix(pod).is_some_and(|rest| rest.starts_with(' '));
    let is_to_leave = |line: &str| line.ends_with(" leave") || line.ends_with(" later");
    let file = file_of(pipeline, observed, FILE);
    file.is_some_and(|file| file.lines().any(|line| is_of_pod(line) && is_to_leave(line)))
}

/// Returns whether pods do what they are told: it reaches them, and their script knows how.
pub fn is_heeded(pipeline: &Pipeline, observed: &Observed) -> bool {
    !is_held(pipeline) && knows_how(pipeline, observed)
}

/// Returns whether pods will do what they are told once they have their new template, which waits for approval.
pub fn awaits_template(pipeline: &Pipeline, observed: &Observed) -> bool {
    !is_held(pipeline) && !knows_how(pipeline, observed)
}

/// Returns whether nothing is applied to the nodes' objects, because their part of the spec is invalid.
fn is_held(pipeline: &Pipeline) -> bool {
    pipeline.held.contains_key(&Component::Cassandra)
}

fn knows_how(pipeline: &Pipeline, observed: &Observed) -> bool {
    file_of(pipeline, observed, SCRIPT).is_some_and(heeds)
}

fn heeds(script: &str) -> bool {
    script.lines().any(|line| line == HEEDING)
}

#[cfg(test)]
mod tests {
    use super::heeds;

    #[test]
    fn the_script_of_this_version_does_what_it_is_told_and_one_before_it_does_not() {
        let script = include_str!("files/start.sh");
        assert!(heeds(script));
        assert!(!heeds(&script.replace("leaving", "left")));
    }
}
