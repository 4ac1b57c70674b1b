//! Facts → whether the nodes have room for the smallest pipeline. Pure.

use k8s_openapi::api::core::v1::Node;
use millrace_api::quantity::Quantity;
use millrace_api::{StreamingPipeline, validate_sources};
use serde_json::json;

use super::line::Line;

const MEBIBYTE: u64 = 1 << 20;

/// What a pod asks for, or a node has.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Room {
    /// Thousandths of a CPU.
    cpu: u128,
    /// Bytes.
    memory: u64,
}

impl Room {
    fn holds(self, other: Self) -> bool {
        self.cpu >= other.cpu && self.memory >= other.memory
    }

    fn sum(all: impl IntoIterator<Item = Self>) -> Self {
        let add = |sum: Self, one: Self| Self { cpu: sum.cpu + one.cpu, memory: sum.memory.saturating_add(one.memory) };
        all.into_iter().fold(Self::default(), add)
    }

    fn text(self) -> String {
        format!("{}m CPU and {} MiB", self.cpu, self.memory / MEBIBYTE)
    }
}

/// Judges whether the nodes have room for the smallest pipeline. What runs on them already is not known.
pub(super) fn room(nodes: &[Node]) -> Line {
    let check = "nodes";
    let free: Vec<Room> = nodes.iter().filter(|node| takes_pods(node)).map(allocatable).collect();
    let (smallest, all) = (smallest(), Room::sum(free.iter().copied()));
    let wanted = Room::sum(smallest.iter().map(|(_, room)| *room));
    let found = format!("{} of {} nodes accept pods, with {} allocatable", free.len(), nodes.len(), all.text());
    let too_large = smallest.iter().find(|(_, room)| !free.iter().any(|node| node.holds(*room)));
    if let Some((component, room)) = too_large {
        let found = format!("{found}; none has room for a pod of {component}, which requests {}", room.text());
        return Line::failed(check, found, "add a larger node, or lower resources.requests of the component");
    }
    if !all.holds(wanted) {
        let found = format!("{found}; the smallest pipeline requests {}", wanted.text());
        return Line::failed(check, found, "add nodes");
    }
    let found = format!("{found}, including what runs there; the smallest pipeline requests {}", wanted.text());
    Line::ok(check, found)
}

fn takes_pods(node: &Node) -> bool {
    let spec = node.spec.clone().unwrap_or_default();
    let keeps_out = |effect: &str| matches!(effect, "NoSchedule" | "NoExecute");
    let is_tainted = spec.taints.iter().flatten().any(|taint| keeps_out(&taint.effect));
    let mut conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let is_ready = conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True");
    is_ready && !is_tainted && spec.unschedulable != Some(true)
}

fn allocatable(node: &Node) -> Room {
    let allocatable = node.status.as_ref().and_then(|status| status.allocatable.as_ref());
    let amount = |name: &str| allocatable.and_then(|all| all.get(name)?.0.parse::<Quantity>().ok()).unwrap_or_default();
    Room { cpu: amount("cpu").thousandths(), memory: amount("memory").whole().unwrap_or(u64::MAX) }
}

/// Returns what each pod of a pipeline of one of each asks for, by component.
fn smallest() -> [(&'static str, Room); 5] {
    let written = json!({
        "apiVersion": "millrace.dev/v1alpha1", "kind": "StreamingPipeline", "metadata": {"name": "smallest"},
        "spec": {
            "zookeeper": {"replicas": 1, "storage": {"size": "1Gi"}},
            "kafka": {"replicas": 1, "storage": {"size": "1Gi"}, "topics": [{"name": "t", "partitions": 1}]},
            "cassandra": {
                "racks": [{"name": "r1", "replicas": 1}], "storage": {"size": "1Gi"}, "keyspace": {"name": "k"},
                "tables": [{
                    "name": "t", "columns": [{"name": "id", "type": "uuid"}], "primaryKey": {"partition": ["id"]},
                }],
            },
            "producer": {"sources": [{"name": "s", "topic": "t", "key": "id", "generator": {"count": 1}}]},
            "processor": {"queries": [{"name": "q", "from": "t", "into": "t"}]},
        },
    });
    let resource: StreamingPipeline = serde_json::from_value(written).expect("the smallest pipeline is one");
    let pipeline = validate_sources(&resource).pipeline.expect("the smallest pipeline is valid");
    let parts = [
        ("zookeeper", &pipeline.zookeeper.member.resources),
        ("kafka", &pipeline.kafka.member.resources),
        ("cassandra", &pipeline.cassandra.member.resources),
        ("producer", &pipeline.producer.resources),
        ("processor", &pipeline.processor.resources),
    ];
    parts.map(|(name, resources)| {
        let cpu = resources.cpu_request.parse::<Quantity>().unwrap_or_default().thousandths();
        (name, Room { cpu, memory: resources.memory_request.0 })
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::fixtures::node;
    use super::super::line::State;
    use super::*;

    #[test]
    fn nodes_that_take_no_pods_do_not_count() {
        let full = |spec: Value| room(&[node("4", "8Gi", spec)]).state;
        assert_eq!(full(json!({})), State::Ok);
        assert_eq!(full(json!({"unschedulable": true})), State::Failed);
        assert_eq!(full(json!({"taints": [{"key": "a", "effect": "NoSchedule"}]})), State::Failed);
        // Control: a taint that only prefers others.
        assert_eq!(full(json!({"taints": [{"key": "a", "effect": "PreferNoSchedule"}]})), State::Ok);
        let cassandra = smallest()[2];
        assert_eq!(cassandra, ("cassandra", Room { cpu: 250, memory: 2048 * MEBIBYTE }));
    }
}
