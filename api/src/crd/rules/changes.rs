//! Changes: what stays as it was created, and what only grows.

use kube::core::Rule;
use kube::core::cel::{Message, Reason};

use super::rule;

/// A value that never changes after creation, and what to do instead.
pub fn immutable(what: &str, instead: &str) -> Rule {
    rule("self == oldSelf", format!("{what} cannot be changed; {instead} instead")).reason(Reason::FieldValueForbidden)
}

/// A number that may grow and never shrinks.
pub fn grows_only(what: &str, instead: &str) -> Rule {
    rule("self >= oldSelf", format!("{what} cannot be lowered: {instead}")).reason(Reason::FieldValueForbidden)
}

/// Refuses an optional field that appears or disappears after creation.
pub fn presence_fixed(field: &str, what: &str, instead: &str) -> Rule {
    rule(format!("has(self.{field}) == has(oldSelf.{field})"), format!("{what} cannot be changed; {instead} instead"))
        .field_path(format!(".{field}"))
        .reason(Reason::FieldValueForbidden)
}

/// Refuses to move a store from the operator to someone else, or back: its data would stay behind.
pub fn external_fixed() -> Rule {
    rule(
        "[has(self.kafka.external), has(self.cassandra.external)] == \
         [has(oldSelf.kafka.external), has(oldSelf.cassandra.external)]",
        "whether a store is external cannot be changed; create a new pipeline",
    )
}

/// Refuses another prefix: the group and its offsets, and the pipeline's own topics, would stay behind.
pub fn prefix_fixed() -> Rule {
    rule(
        "has(self.prefix) ? has(oldSelf.prefix) && self.prefix == oldSelf.prefix : !has(oldSelf.prefix)",
        "the prefix cannot be changed; create a new pipeline",
    )
}

/// Refuses to take fields off a user-defined type, or to move them: values are stored by position.
pub fn fields_stay() -> Rule {
    rule(
        "oldSelf.all(o, self.map(f, f.name == o.name).indexOf(true) == oldSelf.map(f, f.name == o.name).indexOf(true))",
        "fields cannot be removed or moved, since values are stored by position; keep them and add new ones at the end",
    )
    .reason(Reason::FieldValueForbidden)
}

/// Refuses a smaller volume: Kubernetes cannot shrink one without losing what it holds. A larger size that no volume got,
/// as where the StorageClass does not allow it, may be taken back: down to what the status says that all volumes have.
pub fn storage_does_not_shrink(store: &str) -> Rule {
    let size = |of: &str| format!("quantity(string({of}.spec.{store}.storage.size))");
    let given = format!("oldSelf.status.{store}.storage");
    // Of an external Kafka there is neither; of other external stores there is no volume.
    let volume = if store == "zookeeper" { "zookeeper".to_owned() } else { format!("{store}.storage") };
    rule(
        format!(
            "!has(self.spec.{volume}) || {}.compareTo({}) >= 0 || (has(oldSelf.status) && has(oldSelf.status.{store}) && has({given}) && \
             isQuantity({given}) && {}.compareTo(quantity({given})) >= 0)",
            size("self"),
            size("oldSelf"),
            size("self")
        ),
        "a volume cannot shrink without losing data; keep the size",
    )
    .field_path(format!(".spec.{store}.storage.size"))
    .reason(Reason::FieldValueForbidden)
}

/// Refuses a release of Cassandra that is older than one that a node has run. Cassandra promises no way back, not even
/// between patches: the auto-repair that came with 5.0.8 adds a column to `system_schema.tables`, which an older release
/// cannot read (apache/cassandra#4558). A release that no node has run, such as one that does not exist, can be taken back.
///
/// ZooKeeper and Kafka need no such rule while one line of each is allowed: what they write is that of the line.
pub fn cassandra_does_not_go_back() -> Rule {
    const RELEASE: &str = "matches('^[0-9]{1,3}[.][0-9]{1,3}[.][0-9]{1,3}$')";
    let (wanted, has_run) = ("self.spec.cassandra.version", "oldSelf.status.cassandra.version");
    let number = |of: &str| {
        format!("int({of}.split('.')[0]) * 1000000 + int({of}.split('.')[1]) * 1000 + int({of}.split('.')[2])")
    };
    Rule::new(format!(
        "{wanted} == oldSelf.spec.cassandra.version || !has(oldSelf.status) || !has(oldSelf.status.cassandra) || \
         !has({has_run}) || !{has_run}.{RELEASE} || !{wanted}.{RELEASE} || {} >= {}",
        number(wanted),
        number(has_run)
    ))
    .message(Message::Expression(format!(
        "'a node has run Cassandra ' + {has_run} + ', and Cassandra does not support downgrades; keep that release or \
         set a newer one'"
    )))
    .field_path(".spec.cassandra.version")
    .reason(Reason::FieldValueForbidden)
}

/// A switch that is never set back.
pub fn one_way() -> Rule {
    rule("self || !oldSelf", "a cancelled run stays cancelled; create another run").reason(Reason::FieldValueForbidden)
}
