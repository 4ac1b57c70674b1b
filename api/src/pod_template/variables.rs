//! Variables that the user adds to the container of a component: what is refused, and why.
//!
//! Some the operator sets, and some the start script does: a value here would be without effect, or in the way.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::EnvVar;

use crate::names::Component;
use crate::rejected::Rejected;

/// Variables that the operator sets in one component or another.
pub const OWNED_VARIABLES: [&str; 19] = [
    "BROKER_HEAP",
    "BROKER_JVM_OPTIONS",
    "CASSANDRA_CONF",
    "CASSANDRA_HEAPDUMP_DIR",
    "CASSANDRA_LOG_DIR",
    "DATACENTER",
    "FIRST_NODE",
    "HOME",
    "JMXDISABLE",
    "LOG_DIR",
    "MALLOC_ARENA_MAX",
    "MALLOC_MMAP_THRESHOLD_",
    "MILLRACE_SABOTAGE",
    "NODES_HOST",
    "POD_IP",
    "RACK",
    "SERVER_JVMFLAGS",
    "ZK_SERVER_HEAP",
    "ZOOCFGDIR",
];

/// Variables that the start script of a store sets or decides upon, with what to do instead.
const OF_START: [(Component, &str, &str); 10] = [
    (Component::ZooKeeper, "HOSTNAME", FROM_KUBERNETES),
    (Component::Kafka, "EXTRA_ARGS", "the start script sets it; JVM options belong in spec.kafka.jvmOptions"),
    (Component::Kafka, "HOSTNAME", FROM_KUBERNETES),
    (
        Component::Kafka,
        "KAFKA_HEAP_OPTS",
        "the start script sets it, to half of the memory limit; set spec.kafka.resources.limits.memory",
    ),
    (Component::Kafka, "KAFKA_LOG4J_OPTS", "the operator sets how the server logs; remove it"),
    (Component::Kafka, "KAFKA_OPTS", "the start script sets it; JVM options belong in spec.kafka.jvmOptions"),
    (
        Component::Cassandra,
        "HEAP_NEWSIZE",
        "the heap is half of the memory limit; set spec.cassandra.resources.limits.memory",
    ),
    (Component::Cassandra, "HOSTNAME", FROM_KUBERNETES),
    (
        Component::Cassandra,
        "JVM_EXTRA_OPTS",
        "the start script sets it; JVM options belong in spec.cassandra.jvmOptions",
    ),
    (
        Component::Cassandra,
        "MAX_HEAP_SIZE",
        "the heap is half of the memory limit; set spec.cassandra.resources.limits.memory",
    ),
];

/// Why a server's own name is not for anybody to choose.
const FROM_KUBERNETES: &str = "Kubernetes sets it to the pod's name, and the start script needs that; remove it";

/// Returns what is wrong with the variables of a component's container.
pub(super) fn refused(path: &str, component: Component, variables: &[EnvVar]) -> Vec<Rejected> {
    let mut names = BTreeSet::new();
    let mut rejected = Vec::new();
    for (index, variable) in variables.iter().enumerate() {
        let path = format!("{path}.env[{index}]");
        let name = variable.name.as_str();
        if let Some(message) = of_name(component, name) {
            rejected.push(Rejected::new(format!("{path}.name"), message));
        } else if !names.insert(name) {
            let message = format!("there are two variables '{name}', and only the last would take effect; remove one");
            rejected.push(Rejected::new(format!("{path}.name"), message));
        }
        let has_value = variable.value.as_ref().is_some_and(|value| !value.is_empty());
        if has_value && variable.value_from.is_some() {
            rejected.push(Rejected::new(path, format!("variable '{name}' has value and valueFrom; keep one")));
        }
    }
    rejected
}

/// Returns why a variable may not have a name.
fn of_name(component: Component, name: &str) -> Option<String> {
    // Other than '=', Kubernetes takes all that can be printed.
    if name.is_empty() || !name.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'=') {
        return Some(format!("'{name}' is not a valid variable name; write one such as TZ"));
    }
    if OWNED_VARIABLES.contains(&name) {
        return Some(format!("the operator sets {name} itself; remove it here"));
    }
    let of_start = OF_START.iter().find(|(of, known, _)| (*of, *known) == (component, name));
    of_start.map(|(_, _, fix)| format!("{name} cannot be set here: {fix}"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn said(component: Component, variables: Value) -> Vec<String> {
        let variables: Vec<EnvVar> = serde_json::from_value(variables).expect("variables");
        refused("t", component, &variables).iter().map(ToString::to_string).collect()
    }

    #[rstest]
    #[case(Component::Kafka, json!([{"name": "KAFKA_HEAP_OPTS", "value": "-Xmx4g"}]), "t.env[0].name: KAFKA_HEAP_OPTS cannot be set here: the start script sets it, to half of the memory limit; set spec.kafka.resources.limits.memory")]
    #[case(Component::Kafka, json!([{"name": "A"}, {"name": "KAFKA_OPTS"}]), "t.env[1].name: KAFKA_OPTS cannot be set here: the start script sets it; JVM options belong in spec.kafka.jvmOptions")]
    #[case(Component::Cassandra, json!([{"name": "JVM_EXTRA_OPTS"}]), "t.env[0].name: JVM_EXTRA_OPTS cannot be set here: the start script sets it; JVM options belong in spec.cassandra.jvmOptions")]
    #[case(Component::Cassandra, json!([{"name": "MAX_HEAP_SIZE"}]), "t.env[0].name: MAX_HEAP_SIZE cannot be set here: the heap is half of the memory limit; set spec.cassandra.resources.limits.memory")]
    #[case(Component::ZooKeeper, json!([{"name": "HOSTNAME"}]), "t.env[0].name: HOSTNAME cannot be set here: Kubernetes sets it")]
    #[case(Component::Producer, json!([{"name": "A", "value": "1"}, {"name": "B"}, {"name": "A", "value": "2"}]), "t.env[2].name: there are two variables 'A'")]
    #[case(Component::Kafka, json!([{"name": "A=B"}]), "t.env[0].name: 'A=B' is not a valid variable name")]
    #[case(Component::Kafka, json!([{"value": "x"}]), "t.env[0].name: '' is not a valid variable name")]
    #[case(Component::Kafka, json!([{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}]), "t.env[0]: variable 'A' has value and valueFrom")]
    fn what_would_not_do_what_it_says_is_refused(
        #[case] component: Component,
        #[case] variables: Value,
        #[case] says: &str,
    ) {
        let said = said(component, variables);
        assert!(matches!(&said[..], [only] if only.starts_with(says)), "{said:?}");
    }

    /// The negative control: the neighbours are taken.
    #[test]
    fn other_variables_are_taken() {
        let variables = json!([
            {"name": "JAVA_TOOL_OPTIONS", "value": "-Xlog:gc"}, {"name": "java_tool_options"}, {"name": "my.setting-1"},
            {"name": "KAFKA_JVM_PERFORMANCE_OPTS", "value": "-server"}, {"name": "CLASSPATH"}, {"name": "1ST"},
            {"name": "NODE", "value": "", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        ]);
        for component in Component::ALL {
            assert_eq!(said(component, variables.clone()), [""; 0], "{component}");
        }
        // A store's own variable is nothing to the others.
        assert_eq!(said(Component::Cassandra, json!([{"name": "KAFKA_HEAP_OPTS"}])), [""; 0]);
        assert_eq!(said(Component::Producer, json!([{"name": "HOSTNAME"}])), [""; 0]);
    }
}
