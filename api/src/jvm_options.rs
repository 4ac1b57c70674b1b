//! JVM options that the user adds to a store: what is refused, and why. Pure.
//!
//! A list of beginnings is allowed, and of these what would take the heap, the logs, the collector or the server's own
//! settings out of the operator's hands is not.

use crate::names::Component;
use crate::rejected::Rejected;

/// What an option may begin with.
const BEGINNINGS: [&str; 8] =
    ["-XX:", "-Xlog:", "-Xss", "-D", "-javaagent:", "--add-opens=", "--add-exports=", "--add-modules="];

/// Beginnings of options that set the size of the heap.
const HEAP: [&str; 10] = [
    "-Xms",
    "-Xmx",
    "-Xmn",
    "-XX:InitialHeapSize",
    "-XX:InitialRAM",
    "-XX:MaxHeapSize",
    "-XX:MaxRAM",
    "-XX:MinHeapSize",
    "-XX:MinRAM",
    "-XX:SoftMaxHeapSize",
];

/// Beginnings of further options that are refused, with the reason.
const REFUSED: [(&str, &str); 13] = [
    ("-XX:Flags", "it reads more options from a file, which the operator cannot check; list them here"),
    ("-XX:VMOptionsFile", "it reads more options from a file, which the operator cannot check; list them here"),
    ("-XX:OnError", "it runs a command if the server fails; remove it"),
    ("-XX:OnOutOfMemoryError", "it runs a command if the server fails; remove it"),
    ("-XX:-ExitOnOutOfMemoryError", "a server that is out of memory must exit, so that it is restarted; remove it"),
    ("-Dcom.sun.management.", "it would open or close the port of JMX, which the server's own tools use; remove it"),
    (
        "-Djava.security.properties",
        "the operator sets it, so that names of restarted pods are looked up again; remove it",
    ),
    ("-Dkafka.", "the operator sets the directories of Kafka; settings belong in spec.kafka.config"),
    ("-Dlog4j", "the operator sets how the server logs; remove it"),
    ("-Dlogback.", "the operator sets how the server logs; remove it"),
    ("-Dzookeeper.", "ZooKeeper's settings belong in spec.zookeeper.config"),
    ("-Dcassandra-", "the operator sets the files of Cassandra; settings belong in spec.cassandra.config"),
    ("-Dcassandra.", "it could make a node forget or ignore data; settings belong in spec.cassandra.config"),
];

/// Returns what is wrong with the options of a store that were written at a path.
pub(crate) fn refused(path: &str, component: Component, options: &[String]) -> Vec<Rejected> {
    let judged = options.iter().enumerate().filter_map(|(index, option)| {
        let reason = reason(component, option)?;
        Some(Rejected::new(format!("{path}[{index}]"), format!("'{option}': {reason}")))
    });
    judged.collect()
}

fn reason(component: Component, option: &str) -> Option<String> {
    if HEAP.iter().any(|beginning| option.starts_with(beginning)) {
        return Some(format!("the heap is half of the memory limit; set spec.{component}.resources.limits.memory"));
    }
    if let Some((_, reason)) = REFUSED.iter().find(|(beginning, _)| option.starts_with(beginning)) {
        return Some((*reason).to_owned());
    }
    let switch = option.strip_prefix("-XX:+").or_else(|| option.strip_prefix("-XX:-")).unwrap_or_default();
    if switch.starts_with("Use") && switch.ends_with("GC") {
        let reason = "the image chooses the garbage collector, and a server does not start with two; remove it";
        return Some(reason.to_owned());
    }
    let is_known = BEGINNINGS.iter().any(|beginning| option.len() > beginning.len() && option.starts_with(beginning));
    (!is_known).then(|| format!("an option must begin with one of {}; remove it", BEGINNINGS.join(", ")))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn said(option: &str) -> Option<String> {
        let refused = refused("spec.kafka.jvmOptions", Component::Kafka, &["-Xss1m".to_owned(), option.to_owned()]);
        assert!(refused.iter().all(|rejected| rejected.path == "spec.kafka.jvmOptions[1]"), "{refused:?}");
        refused.into_iter().next().map(|rejected| rejected.message)
    }

    #[rstest]
    #[case("-XX:MaxGCPauseMillis=20")]
    #[case("-XX:+HeapDumpOnOutOfMemoryError")]
    #[case("-XX:+UseStringDeduplication")]
    #[case("-XX:MaxDirectMemorySize=128m")]
    #[case("-Xlog:gc*:stdout")]
    #[case("-Djava.net.preferIPv6Addresses=true")]
    #[case("-Djute.maxbuffer=4194304")]
    #[case("-javaagent:/agents/exporter.jar=9404:/agents/exporter.yaml")]
    #[case("--add-opens=java.base/java.nio=ALL-UNNAMED")]
    fn options_that_leave_the_operators_alone_are_taken(#[case] option: &str) {
        assert_eq!(said(option), None);
    }

    #[rstest]
    #[case("-Xmx4g", "'-Xmx4g': the heap is half of the memory limit; set spec.kafka.resources.limits.memory")]
    #[case("-XX:MaxRAMPercentage=80", "'-XX:MaxRAMPercentage=80': the heap is half of the memory limit")]
    #[case("-XX:+UseZGC", "'-XX:+UseZGC': the image chooses the garbage collector")]
    #[case("-XX:-UseG1GC", "'-XX:-UseG1GC': the image chooses the garbage collector")]
    #[case("-XX:OnOutOfMemoryError=reboot", "'-XX:OnOutOfMemoryError=reboot': it runs a command")]
    #[case(
        "-Dzookeeper.forceSync=no",
        "'-Dzookeeper.forceSync=no': ZooKeeper's settings belong in spec.zookeeper.config"
    )]
    #[case("-Dcassandra.replace_address=a", "'-Dcassandra.replace_address=a': it could make a node forget")]
    #[case("-Dlog4j.configuration=file:/x", "'-Dlog4j.configuration=file:/x': the operator sets how the server logs")]
    #[case("-agentlib:jdwp=server=y", "'-agentlib:jdwp=server=y': an option must begin with one of -XX:, -Xlog:")]
    #[case("-da", "'-da': an option must begin with one of")]
    #[case("-cp", "'-cp': an option must begin with one of")]
    #[case("-D", "'-D': an option must begin with one of")]
    fn what_the_operator_decides_is_refused_with_the_reason(#[case] option: &str, #[case] says: &str) {
        let said = said(option).unwrap_or_default();
        assert!(said.starts_with(says), "{said}");
    }
}
