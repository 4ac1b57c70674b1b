//! Names: of pipelines and runs, and of what they declare.

use kube::core::Rule;
use kube::core::cel::Message;
use millrace_terms::ColumnType;

use super::{first, rule};

/// Longest pipeline name: the longest derived name, `<name>-cassandra-<rack>-<ordinal>` with its revision hash, must
/// fit a label value of 63 characters.
pub const MAX_PIPELINE_NAME: usize = 28;

/// Longest name of a run: its attempts' names, with up to four characters more, must fit a label value.
pub const MAX_RUN_NAME: usize = 57;

/// Bounds the length of the resource's own name.
pub fn pipeline_name() -> Rule {
    rule(
        format!("size(self.metadata.name) <= {MAX_PIPELINE_NAME} && !self.metadata.name.contains('.')"),
        format!(
            "metadata.name may have at most {MAX_PIPELINE_NAME} characters and no dot, since pods are named after it; choose a shorter name"
        ),
    )
}

/// Refuses a name that does not begin with a letter: the Services that are called after it could not be made.
pub fn pipeline_name_begins_with_a_letter() -> Rule {
    rule(
        "self.metadata.name.matches('^[a-z]')",
        "metadata.name must begin with a letter, since Services are named after it; choose another name",
    )
}

/// Bounds the length of a run's own name, which its attempts are named after.
pub fn run_name() -> Rule {
    rule(
        format!("size(self.metadata.name) <= {MAX_RUN_NAME} && !self.metadata.name.contains('.')"),
        format!(
            "metadata.name may have at most {MAX_RUN_NAME} characters and no dot, since the attempts' pods are named after it; choose a shorter name"
        ),
    )
}

/// A DNS label: the name of a source, a query or a rack.
pub fn dns_label() -> Rule {
    rule(
        "self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$')",
        "must be lower-case letters, digits and '-', beginning and ending with a letter or digit",
    )
}

/// A Kafka topic name that is not one of Kafka's own.
pub fn topic_name() -> Rule {
    rule(
        "self.matches('^[a-zA-Z0-9._-]+$') && self != '.' && self != '..' && !self.startsWith('__')",
        "must be a topic name: letters, digits, '.', '_' and '-', not beginning with '__', which marks Kafka's own topics",
    )
}

/// Refuses names that Kafka takes for the same in its metrics, and therefore refuses itself.
pub fn topic_names_do_not_collide() -> Rule {
    let collide = "self.exists(o, o.name != i.name && o.name.replace('.', '_') == i.name.replace('.', '_'))";
    let faulty = first("self", collide);
    Rule::new(format!("!self.exists(i, {collide})"))
        .message(Message::Expression(format!(
            "'the name of topic \"' + {faulty}.name + '\" differs from another only in \".\" and \"_\", which Kafka refuses; rename one of them'"
        )))
}

/// A CQL name that needs no quotes: keyspace, table or column.
pub fn cql_name() -> Rule {
    rule(
        "self.matches('^[a-z][a-z0-9_]*$')",
        "must be a CQL name: lower-case letters, digits and '_', beginning with a letter",
    )
}

/// Refuses user-defined types that are called like CQL's own, or as Cassandra keeps for later.
pub fn no_name_of_a_cql_type() -> Rule {
    let simple = ColumnType::SIMPLE;
    let others = [
        "bitstring",
        "byte",
        "complex",
        "counter",
        "enum",
        "frozen",
        "interval",
        "list",
        "macaddr",
        "map",
        "set",
        "tuple",
        "varchar",
        "vector",
    ];
    let names = simple
        .iter()
        .map(ColumnType::name)
        .chain(others)
        .map(|name| format!("'{name}'"))
        .collect::<Vec<_>>()
        .join(", ");
    rule(format!("!(self in [{names}])"), "must not be the name of one of CQL's own types; choose another")
}

/// Refuses fields that cannot be columns.
pub fn field_names() -> Rule {
    let fits = "k.matches('^[a-z][a-z0-9_]{0,47}$')";
    Rule::new(format!("self.all(k, {fits})")).message(Message::Expression(format!(
        "'field \"' + self.filter(k, !{fits})[0] + '\" cannot be a column; use lower-case letters, digits and \"_\", at most 48, beginning with a letter'"
    )))
}

/// A name that expressions can write behind `params.`, and none that CEL reserves.
pub fn param_name() -> Rule {
    rule(
        "self.matches('^[a-z][A-Za-z0-9_]*$') && !(self in ['as', 'break', 'const', 'continue', 'else', 'false', 'for', \
         'function', 'if', 'import', 'in', 'let', 'loop', 'namespace', 'null', 'package', 'return', 'true', 'var', \
         'void', 'while'])",
        "must be letters, digits and '_', beginning with a lower-case letter, and not a reserved word of CEL",
    )
}
