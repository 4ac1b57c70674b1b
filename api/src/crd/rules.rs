//! Admission rules (CEL) that more than one field uses; each message says what to do.
//!
//! CEL runs inside the API server. `fieldPath` cannot hold a list index, so rules across lists name the offending
//! item in a message expression instead.

use kube::core::Rule;
use kube::core::cel::{Message, Reason};
use millrace_terms::ColumnType;

/// Longest pipeline name: the longest derived name, `<name>-cassandra-<rack>-<ordinal>` with its revision hash, must
/// fit a label value of 63 characters.
pub const MAX_PIPELINE_NAME: usize = 28;

/// Longest name of a run: its attempts' names, with up to four characters more, must fit a label value.
pub const MAX_RUN_NAME: usize = 57;

fn rule(expression: impl Into<String>, message: impl Into<String>) -> Rule {
    let message: String = message.into();
    Rule::new(expression).message(Message::Message(message))
}

/// Refuses sources and queries of the dead-letter topic that a pipeline has when it names none.
pub fn default_dead_letter_is_no_source() -> Rule {
    rule(
        "has(self.spec.processor.deadLetter) || [self.metadata.name + '-dead-letters'].all(topic, \
         self.spec.processor.queries.all(q, q.from != topic) && self.spec.producer.sources.all(s, s.topic != topic))",
        "the pipeline's name with '-dead-letters' is its dead-letter topic, which no query may read and no source may fill; use another topic or set spec.processor.deadLetter.topic",
    )
    .field_path(".spec.processor.deadLetter")
}

/// Refuses to declare the topic that the operator makes for the positions of sources: it must be compacted.
pub fn cursors_topic_is_the_operators() -> Rule {
    rule(
        "!self.spec.producer.sources.exists(s, has(s.files) || (has(s.http) && has(s.http.since))) || [self.metadata.name + '-cursors'].all(topic, \
         self.spec.kafka.topics.all(t, t.name != topic) && \
         (!has(self.spec.processor.deadLetter) || self.spec.processor.deadLetter.topic != topic))",
        "the pipeline's name with '-cursors' is the topic in which the operator keeps how far sources are read; use another name for yours",
    )
    .field_path(".spec.kafka.topics")
}

/// Refuses bodies that the memory bound could never take.
pub fn max_body_within_buffer() -> Rule {
    let fits = "!has(i.push) || !isQuantity(i.push.maxBody) || \
                quantity(i.push.maxBody).compareTo(quantity(self.bufferMemory)) <= 0";
    let faulty = first("self.sources", &format!("!({fits})"));
    Rule::new(format!("!isQuantity(self.bufferMemory) || self.sources.all(i, {fits})"))
        .message(Message::Expression(format!(
            "'maxBody of source \"' + {faulty}.name + '\" is above bufferMemory, which holds the body while it arrives; lower it or raise bufferMemory'"
        )))
        .field_path(".sources")
}

/// Refuses two queries from one topic into one table: the cells of a record would have the same timestamp, and be mixed.
pub fn one_query_per_topic_and_table() -> Rule {
    let shared = "self.exists(o, o.name != i.name && o.from == i.from && o.into == i.into)";
    let faulty = first("self", shared);
    Rule::new(format!("!self.exists(i, {shared})")).message(Message::Expression(format!(
        "'more than one query writes topic \"' + {faulty}.from + '\" into the same table; make them one query, or give each a table of its own'"
    )))
}

/// Refuses SQL over a stream without columns.
pub fn sql_has_columns() -> Rule {
    rule("!has(self.sql) || (has(self.columns) && size(self.columns) > 0)", "sql needs the stream's columns; list them")
        .field_path(".columns")
}

/// Refuses columns of a stream that no SQL reads.
pub fn columns_have_sql() -> Rule {
    rule(
        "has(self.sql) || !has(self.columns) || size(self.columns) == 0",
        "columns are for sql, and there is none; add sql or remove columns",
    )
    .field_path(".columns")
}

/// Refuses to delete rows whose keys SQL computes: a record without a value has nothing to compute them from.
pub fn deletes_without_sql() -> Rule {
    rule(
        "!has(self.sql) || self.tombstones != 'Delete'",
        "with sql, the key of the row to delete is unknown; remove sql, or use Skip or Reject",
    )
    .field_path(".tombstones")
}

/// Refuses to say what becomes of fields that SQL does not read in any case.
pub fn unknown_fields_without_sql() -> Rule {
    rule(
        "!has(self.sql) || !has(self.unknownFields)",
        "with sql, fields that columns does not list are always ignored; remove unknownFields",
    )
    .field_path(".unknownFields")
}

/// Refuses units of integers that SQL reads by itself.
pub fn epoch_units_without_sql() -> Rule {
    rule(
        "!has(self.sql) || !has(self.epochUnits) || size(self.epochUnits) == 0",
        "with sql, declare the column as bigint and use to_timestamp_seconds(), to_timestamp_micros() or to_timestamp_nanos(); remove epochUnits",
    )
    .field_path(".epochUnits")
}

/// Refuses fields that cannot be columns.
pub fn field_names() -> Rule {
    let fits = "k.matches('^[a-z][a-z0-9_]{0,47}$')";
    Rule::new(format!("self.all(k, {fits})")).message(Message::Expression(format!(
        "'field \"' + self.filter(k, !{fits})[0] + '\" cannot be a column; use lower-case letters, digits and \"_\", at most 48, beginning with a letter'"
    )))
}

/// Refuses a name that does not begin with a letter: the Services that are called after it could not be made.
pub fn pipeline_name_begins_with_a_letter() -> Rule {
    rule(
        "self.metadata.name.matches('^[a-z]')",
        "metadata.name must begin with a letter, since Services are named after it; choose another name",
    )
}

/// Bounds the length of the resource's own name.
pub fn pipeline_name() -> Rule {
    rule(
        format!("size(self.metadata.name) <= {MAX_PIPELINE_NAME} && !self.metadata.name.contains('.')"),
        format!(
            "metadata.name may have at most {MAX_PIPELINE_NAME} characters and no dot, since pods are named after it; choose a shorter name"
        ),
    )
}

/// Returns the CEL for the first item `i` of `list` that fulfils `condition`.
///
/// An index keeps the item's schema, and so its size, in the API server's cost estimate; `list.filter(…)[0]` loses it
/// and is refused as too dear. For the same reason no message may contain `string(…)` of a number.
pub fn first(list: &str, condition: &str) -> String {
    format!("{list}[{list}.map(i, {condition}).indexOf(true)]")
}

/// Refuses items of `list` whose `field` names nothing in the list `declared`; `does` is what the item does with it,
/// such as `query reads topic`.
pub fn names_declared(list: &str, field: &str, declared: &str, (noun, does): (&str, &str)) -> Rule {
    let faulty = first(&format!("self.{list}"), &format!("!self.{declared}.exists(d, d.name == i.{field})"));
    Rule::new(format!("self.{list}.all(i, self.{declared}.exists(d, d.name == i.{field}))"))
        .message(Message::Expression(format!(
            "'{noun} \"' + {faulty}.name + '\" {does} \"' + {faulty}.{field} + '\", which is not declared; add it to spec.{declared} or correct the name'"
        )))
        .field_path(format!(".{list}"))
}

/// Refuses primary-key columns that the table does not declare.
pub fn key_columns_declared(part: &str, noun: &str) -> Rule {
    let faulty = first(&format!("self.primaryKey.{part}"), "!self.columns.exists(c, c.name == i)");
    Rule::new(format!("self.primaryKey.{part}.all(i, self.columns.exists(c, c.name == i))"))
        .message(Message::Expression(format!(
            "'{noun} column \"' + {faulty} + '\" is not declared; add it to columns or correct the name'"
        )))
        .field_path(format!(".primaryKey.{part}"))
}

/// Refuses a topic with more copies than there are brokers to hold them.
pub fn replication_within_brokers() -> Rule {
    let faulty = first("self.topics", "has(i.replicationFactor) && i.replicationFactor > self.replicas");
    Rule::new("self.topics.all(i, !has(i.replicationFactor) || i.replicationFactor <= self.replicas)")
        .message(Message::Expression(format!(
            "'topic \"' + {faulty}.name + '\" wants more replicas than there are brokers; lower its replicationFactor or raise spec.kafka.replicas'"
        )))
        .field_path(".topics")
}

/// Refuses a `minInSyncReplicas` that the default replication factor, 3 or the number of brokers, does not exceed.
pub fn min_in_sync_below_default_replication() -> Rule {
    let fits = "has(i.replicationFactor) || !has(i.minInSyncReplicas) || i.minInSyncReplicas == 1 || \
                (i.minInSyncReplicas < 3 && i.minInSyncReplicas < self.replicas)";
    let faulty = first("self.topics", &format!("!({fits})"));
    Rule::new(format!("self.topics.all(i, {fits})"))
        .message(Message::Expression(format!(
            "'minInSyncReplicas of topic \"' + {faulty}.name + '\" must be below its replication factor, which is 3 or the number of brokers where that is less; lower it'"
        )))
        .field_path(".topics")
}

/// Refuses a dead-letter topic that a query reads or a source fills: records would go round in circles.
pub fn dead_letter_is_no_source() -> Rule {
    rule(
        "!has(self.processor.deadLetter) || \
         (self.processor.queries.all(q, q.from != self.processor.deadLetter.topic) && \
          self.producer.sources.all(s, s.topic != self.processor.deadLetter.topic))",
        "the dead-letter topic may not be a topic that a query reads or a source fills; give it a name of its own",
    )
    .field_path(".processor.deadLetter.topic")
}

/// A duration such as `500ms`, `30s` or `1m30s`. The schema bounds its length.
pub fn duration() -> Rule {
    rule(
        "self.matches('^([0-9]{1,6}(ms|s|m|h))+$')",
        "must be a duration: whole numbers with ms, s, m or h, such as 500ms, 30s or 1m30s",
    )
}

/// A duration within bounds, both inclusive, as CEL duration texts.
pub fn duration_between(least: &str, most: &str) -> Rule {
    rule(
        format!(
            "!self.matches('^([0-9]{{1,6}}(ms|s|m|h))+$') || \
             (duration(self) >= duration('{least}') && duration(self) <= duration('{most}'))"
        ),
        format!("must be at least {least} and at most {most}"),
    )
}

/// A whole number of bytes such as `16Mi`.
pub fn bytes() -> Rule {
    rule("self.matches('^[0-9]{1,15}(Ki|Mi|Gi|Ti|k|M|G|T)?$')", "must be a whole number of bytes, such as 16Mi or 5Gi")
}

/// Bytes within bounds, both inclusive.
pub fn bytes_between(least: &str, most: &str) -> Rule {
    rule(
        format!(
            "!isQuantity(self) || (quantity(self).compareTo(quantity('{least}')) >= 0 && \
             quantity(self).compareTo(quantity('{most}')) <= 0)"
        ),
        format!("must be at least {least} and at most {most}"),
    )
}

/// A quantity within bounds, both inclusive.
pub fn amount_between(least: &str, most: &str) -> Rule {
    rule(
        format!(
            "quantity(string(self)).compareTo(quantity('{least}')) >= 0 && \
             quantity(string(self)).compareTo(quantity('{most}')) <= 0"
        ),
        format!("must be at least {least} and at most {most}"),
    )
}

/// Refuses less memory than a component starts with: its limit, or its request where there is no limit.
pub fn memory_at_least(least: &str) -> Rule {
    let fits =
        |list: &str| format!("quantity(string(self.resources.{list}.memory)).compareTo(quantity('{least}')) >= 0");
    let given = |list: &str| format!("has(self.resources.{list}) && has(self.resources.{list}.memory)");
    rule(
        format!(
            "!has(self.resources) || ({} ? ({}) : !({}) || {})",
            given("limits"),
            fits("limits"),
            given("requests"),
            fits("requests")
        ),
        format!("the memory is less than this component can start with; give it at least {least}"),
    )
    .field_path(".resources")
}

/// Refuses a limit below the request of the same resource.
pub fn limit_covers_request(resource: &str) -> Rule {
    rule(
        format!(
            "!has(self.requests) || !has(self.requests.{resource}) || !has(self.limits) || !has(self.limits.{resource}) || \
             quantity(string(self.limits.{resource})).compareTo(quantity(string(self.requests.{resource}))) >= 0"
        ),
        format!("the {resource} limit is below the {resource} request; raise the limit or lower the request"),
    )
    .field_path(".limits")
}

/// An `http` or `https` address with a host and without user information.
pub fn http_url() -> Rule {
    rule(
        "isURL(self) && url(self).getScheme() in ['http', 'https'] && url(self).getHostname() != '' && \
         !self.matches('^[a-z]+://[^/?#]*@')",
        "must be an http:// or https:// URL with a host and without user information; put credentials in headers from a Secret",
    )
}

/// An image reference: repository with an optional registry, and a tag or digest.
pub fn image() -> Rule {
    let (tag, digest) = (":[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", "@sha256:[a-f0-9]{64}");
    rule(
        format!(
            "self.matches('^([a-z0-9.-]+(:[0-9]{{1,5}})?/)?[a-z0-9]+([._/-]+[a-z0-9]+)*({tag}({digest})?|{digest})$')"
        ),
        "must be an image reference with a tag or digest, such as registry.example.com/team/image:1.2.3",
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

/// Settings that stay on one line each, so that no value can smuggle in a key that the operator owns.
pub fn one_line_settings() -> Rule {
    rule(
        "self.all(k, k.matches('^[A-Za-z0-9._-]{1,200}$') && !self[k].matches('[[:cntrl:]]'))",
        "keys must be letters, digits, '.', '_' and '-', and values one line without control characters",
    )
}

/// A CQL name that needs no quotes: keyspace, table or column.
pub fn cql_name() -> Rule {
    rule(
        "self.matches('^[a-z][a-z0-9_]*$')",
        "must be a CQL name: lower-case letters, digits and '_', beginning with a letter",
    )
}

/// A CQL type as far as an expression can tell; whether its parts fit together is judged by `validate`.
pub fn cql_type() -> Rule {
    rule(
        "self.matches('^[a-z][a-z0-9_<>, ]*$') && size(self.replace('<', '')) == size(self.replace('>', ''))",
        "must be a CQL type, such as text, set<int> or map<text, frozen<list<int>>>",
    )
}

/// Refuses counters: adding is not idempotent.
pub fn no_counter() -> Rule {
    rule(
        "!self.matches('(^|[^a-z0-9_])counter([^a-z0-9_]|$)')",
        "a counter cannot be written idempotently: a record that is delivered twice would be counted twice; use bigint and let the record carry the total",
    )
}

/// Refuses lists with a cell per element: their cells are named anew at each write, so that a repeated one adds to them.
pub fn list_is_frozen() -> Rule {
    rule(
        "!self.matches('^list *<')",
        "a list that is not frozen cannot be written idempotently: a record that is delivered twice would double its elements; use frozen<list<…>>",
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

/// Refuses to take fields off a user-defined type, or to move them: values are stored by position.
pub fn fields_stay() -> Rule {
    rule(
        "oldSelf.all(o, self.map(f, f.name == o.name).indexOf(true) == oldSelf.map(f, f.name == o.name).indexOf(true))",
        "fields can neither be removed nor moved, since values are stored by position; keep them and add new ones at the end",
    )
    .reason(Reason::FieldValueForbidden)
}

/// Refuses primary-key columns whose values Cassandra cannot order or has many cells for.
pub fn key_columns_ordered() -> Rule {
    let faulty = "(i.name in self.primaryKey.partition || i.name in self.primaryKey.clustering) && \
                  i.type.matches('^((set|map) *<|duration$)')";
    let first = first("self.columns", faulty);
    Rule::new(format!("!self.columns.exists(i, {faulty})"))
        .message(Message::Expression(format!(
            "'primary-key column \"' + {first}.name + '\" cannot be a duration or a collection that is not frozen; use another type or column'"
        )))
        .field_path(".primaryKey")
}

/// Refuses annotations that are the operator's.
pub fn annotations() -> Rule {
    rule(
        "self.all(k, !k.startsWith('millrace.dev/'))",
        "annotations that begin with millrace.dev/ are the operator's; use other names",
    )
}

/// A DNS label: the name of a source, a query or a rack.
pub fn dns_label() -> Rule {
    rule(
        "self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$')",
        "must be lower-case letters, digits and '-', beginning and ending with a letter or digit",
    )
}

/// A value that never changes after creation, and what to do instead.
pub fn immutable(what: &str, instead: &str) -> Rule {
    rule("self == oldSelf", format!("{what} cannot be changed; {instead} instead")).reason(Reason::FieldValueForbidden)
}

/// A number that may grow and never shrinks.
pub fn grows_only(what: &str, instead: &str) -> Rule {
    rule("self >= oldSelf", format!("{what} cannot be lowered: {instead}")).reason(Reason::FieldValueForbidden)
}

/// Refuses configuration keys that the operator sets itself.
pub fn operator_owned_keys(keys: &[&str]) -> Rule {
    let keys = keys.iter().map(|key| format!("'{key}'")).collect::<Vec<_>>().join(", ");
    let expression = format!("self.all(k, !(k in [{keys}]))");
    Rule::new(expression).message(Message::Expression(format!(
        "'the operator sets ' + self.filter(k, k in [{keys}])[0] + ' itself; remove it here'"
    )))
}

/// Refuses configuration keys, whole or by how they begin, that cannot work in this version, with the reason.
pub fn unsupported_keys(Unsupported { keys, prefixes, reason }: &Unsupported) -> Rule {
    let keys = keys.iter().map(|key| key.replace('.', "[.]"));
    let prefixes = prefixes.iter().map(|prefix| format!("{}.*", prefix.replace('.', "[.]")));
    let refused = format!("k.matches('^({})$')", keys.chain(prefixes).collect::<Vec<_>>().join("|"));
    Rule::new(format!("!self.exists(k, {refused})"))
        .message(Message::Expression(format!("self.filter(k, {refused})[0] + ' cannot be set: {reason}'")))
}

/// Configuration keys that cannot work in this version.
#[derive(Clone, Copy, Debug)]
pub struct Unsupported {
    /// Whole keys.
    pub keys: &'static [&'static str],
    /// What further keys begin with.
    pub prefixes: &'static [&'static str],
    /// Why, and what to do.
    pub reason: &'static str,
}

impl Unsupported {
    /// Returns whether a key is one of them.
    pub fn has(&self, key: &str) -> bool {
        self.keys.contains(&key) || self.prefixes.iter().any(|prefix| key.starts_with(prefix))
    }
}

/// Refuses an optional field that appears or disappears after creation.
pub fn presence_fixed(field: &str, what: &str, instead: &str) -> Rule {
    rule(format!("has(self.{field}) == has(oldSelf.{field})"), format!("{what} cannot be changed; {instead} instead"))
        .field_path(format!(".{field}"))
        .reason(Reason::FieldValueForbidden)
}

/// Refuses a smaller volume: Kubernetes cannot shrink one without losing what it holds. A larger size that no volume got,
/// as where the StorageClass does not allow it, may be taken back: down to what the status says that all volumes have.
pub fn storage_does_not_shrink(store: &str) -> Rule {
    let size = |of: &str| format!("quantity(string({of}.spec.{store}.storage.size))");
    let given = format!("oldSelf.status.{store}.storage");
    rule(
        format!(
            "{}.compareTo({}) >= 0 || (has(oldSelf.status) && has(oldSelf.status.{store}) && has({given}) && \
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
        "'a node has run Cassandra ' + {has_run} + ', and Cassandra promises no way back to an older release; keep that or set a newer one'"
    )))
    .field_path(".spec.cassandra.version")
    .reason(Reason::FieldValueForbidden)
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

/// A switch that is never set back.
pub fn one_way() -> Rule {
    rule("self || !oldSelf", "a cancelled run stays cancelled; create another run").reason(Reason::FieldValueForbidden)
}

/// Refuses an attempt that would time out before its duration is over.
pub fn timeout_covers_duration() -> Rule {
    let parses = "matches('^([0-9]{1,6}(ms|s|m|h))+$')";
    rule(
        format!(
            "!has(self.duration) || !self.duration.{parses} || !has(self.timeout) || !self.timeout.{parses} || \
             duration(self.timeout) > duration(self.duration)"
        ),
        "the timeout must be longer than the duration; raise it",
    )
    .field_path(".timeout")
}

/// A name that expressions can write behind `params.`, and none that CEL reserves.
pub fn param_name() -> Rule {
    rule(
        "self.matches('^[a-z][A-Za-z0-9_]*$') && !(self in ['as', 'break', 'const', 'continue', 'else', 'false', 'for', \
         'function', 'if', 'import', 'in', 'let', 'loop', 'namespace', 'null', 'package', 'return', 'true', 'var', \
         'void', 'while'])",
        "must be letters, digits and '_', beginning with a lower-case letter, and no reserved word of CEL",
    )
}

/// A cron expression as far as an expression can tell; the rest is judged by `validate`.
pub fn cron() -> Rule {
    rule(
        "self.matches('^[^ ]+ [^ ]+ [^ ]+ [^ ]+ [^ ]+$')",
        "must be a cron expression of five fields: minute, hour, day of month, month, day of week, such as '0 2 * * *'",
    )
}

/// The name of a time zone as far as an expression can tell; the rest is judged by `validate`.
pub fn time_zone() -> Rule {
    rule("self.matches('^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$')", "must be an IANA time zone, such as Europe/Berlin")
}

/// Refuses a schedule for a push source: the operator cannot make clients push.
pub fn pushed_is_not_scheduled() -> Rule {
    rule(
        "!has(self.push) || (!has(self.schedule) && (!has(self.params) || size(self.params) == 0))",
        "records are pushed when somebody pushes them; remove schedule and params",
    )
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::*;

    /// Returns what a rule refuses of a key.
    fn pattern(unsupported: &Unsupported) -> Regex {
        let rule = unsupported_keys(unsupported).rule;
        let pattern = rule.trim_start_matches("!self.exists(k, k.matches('").trim_end_matches("'))");
        Regex::new(pattern).expect("a regular expression")
    }

    #[test]
    fn each_key_that_cannot_work_is_refused_with_the_reason_and_no_other_is() {
        let stores = [
            (&crate::crd::kafka::UNSUPPORTED_KEYS[..], crate::crd::kafka::is_refused as fn(&str) -> bool),
            (&crate::crd::cassandra::UNSUPPORTED_KEYS[..], crate::crd::cassandra::is_refused),
            (&crate::crd::zookeeper::UNSUPPORTED_KEYS[..], crate::crd::zookeeper::is_refused),
        ];
        for (all, is_refused) in stores {
            for unsupported in all {
                let pattern = pattern(unsupported);
                for key in unsupported.keys {
                    assert!(pattern.is_match(key) && is_refused(key), "{key}");
                    assert!(!pattern.is_match(&format!("x{key}")) && !pattern.is_match(&format!("{key}x")), "{key}");
                }
                for prefix in unsupported.prefixes {
                    let key = format!("{prefix}something");
                    assert!(pattern.is_match(&key) && is_refused(&key), "{key}");
                    assert!(!pattern.is_match(&format!("x{key}")), "{key}");
                }
                assert!(!unsupported.reason.contains('\''), "it would end the rule's text");
            }
        }
        for works in ["num.io.threads", "log.retention.hours", "message.max.bytes", "replica.selector.class", "sslx"] {
            assert!(!crate::crd::kafka::is_refused(works), "{works}");
        }
        for works in ["concurrent_reads", "commitlog_sync", "authentication", "memtable_heap_space"] {
            assert!(!crate::crd::cassandra::is_refused(works), "{works}");
        }
        for works in ["tickTime", "maxClientCnxns", "autopurge.snapRetainCount", "globalOutstandingLimit"] {
            assert!(!crate::crd::zookeeper::is_refused(works), "{works}");
        }
    }

    #[test]
    fn an_image_has_a_tag_or_a_digest_or_both() {
        let rule = image().rule;
        let pattern = rule.trim_start_matches("self.matches('").trim_end_matches("')");
        let pattern = Regex::new(pattern).expect("a regular expression");
        let digest = format!("@sha256:{}", "0a".repeat(32));
        for image in ["a:1", "a/b:1.2-rc", "registry.example.com:5000/team/image:v1"] {
            assert!(pattern.is_match(image), "{image}");
            assert!(pattern.is_match(&format!("{image}{digest}")), "{image} with a digest");
        }
        assert!(pattern.is_match(&format!("registry.example.com:5000/image{digest}")));
        for wrong in
            ["a", "registry.example.com:5000/image", "a:", "a:1:2", "A:1", "a b:1", "a:1@sha256:0a", "a@sha256:"]
        {
            assert!(!pattern.is_match(wrong), "{wrong}");
        }
    }
}
