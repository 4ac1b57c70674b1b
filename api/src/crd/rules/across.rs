//! Fields that have to fit each other.

use kube::core::Rule;
use kube::core::cel::Message;

use super::{first, rule};

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

/// Refuses a store that has neither members nor someone else who runs it, and one that has both.
pub fn own_or_external(members: &str) -> Rule {
    rule(
        format!("[has(self.{members}), has(self.storage)].all(h, h != has(self.external))"),
        format!("write {members} and storage, or external"),
    )
}

/// Refuses a Kafka of the pipeline's own without ZooKeeper, and ZooKeeper without one.
pub fn zookeeper_for_own_kafka() -> Rule {
    rule(
        "has(self.zookeeper) != has(self.kafka.external)",
        "spec.zookeeper is for a Kafka that is not external; add or remove it",
    )
}

/// Refuses a topic with more copies than there are brokers to hold them.
pub fn replication_within_brokers() -> Rule {
    let faulty = first("self.topics", "has(i.replicationFactor) && i.replicationFactor > self.replicas");
    Rule::new(
        "!has(self.replicas) || self.topics.all(i, !has(i.replicationFactor) || i.replicationFactor <= self.replicas)",
    )
    .message(Message::Expression(format!(
        "'topic \"' + {faulty}.name + '\" requires more replicas than there are brokers; lower its \
             replicationFactor or raise spec.kafka.replicas'"
    )))
    .field_path(".topics")
}

/// Refuses a `minInSyncReplicas` that the default replication factor, 3 or the number of brokers, does not exceed.
pub fn min_in_sync_below_default_replication() -> Rule {
    let fits = "has(i.replicationFactor) || !has(i.minInSyncReplicas) || i.minInSyncReplicas == 1 || \
                (i.minInSyncReplicas < 3 && i.minInSyncReplicas < self.replicas)";
    let faulty = first("self.topics", &format!("!({fits})"));
    Rule::new(format!("!has(self.replicas) || self.topics.all(i, {fits})"))
        .message(Message::Expression(format!(
            "'minInSyncReplicas of topic \"' + {faulty}.name + '\" must be below its replication factor, which is 3 or \
             the number of brokers if that is less; lower it'"
        )))
        .field_path(".topics")
}

/// Refuses a dead-letter topic that a query reads or a source fills: records would go round in circles.
pub fn dead_letter_is_no_source() -> Rule {
    rule(
        "!has(self.processor.deadLetter) || \
         (self.processor.queries.all(q, q.from != self.processor.deadLetter.topic) && \
          self.producer.sources.all(s, s.topic != self.processor.deadLetter.topic))",
        "the dead-letter topic must not be a topic that a query reads or a source fills; use another name",
    )
    .field_path(".processor.deadLetter.topic")
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

/// Refuses a minimum above the maximum.
pub fn min_is_not_above_max() -> Rule {
    rule("self.min <= self.max", "min is above max; lower min or raise max").field_path(".min")
}

/// What is wrong with scaled producers that fetch sources, too, and what to do.
pub const ONLY_PUSHES: &str = "only pushes are scaled: each other source is fetched by one producer; give it a schedule, move it to another pipeline, or remove scaling";

/// Refuses to scale producers that fetch sources continuously: which of them fetches which follows from their number, and would
/// change with it.
pub fn only_pushes_are_scaled() -> Rule {
    rule(
        "!has(self.scaling) || !has(self.scaling.mode) || self.scaling.mode == 'Off' || self.sources.all(s, has(s.push) || has(s.schedule))",
        ONLY_PUSHES,
    )
    .field_path(".scaling")
}

/// Refuses to declare the topic that the operator makes for the positions of sources: it must be compacted.
pub fn cursors_topic_is_the_operators() -> Rule {
    rule(
        "!self.spec.producer.sources.exists(s, has(s.files) || (has(s.http) && has(s.http.since))) || [self.metadata.name + '-cursors'].all(topic, \
         self.spec.kafka.topics.all(t, t.name != topic) && \
         (!has(self.spec.processor.deadLetter) || self.spec.processor.deadLetter.topic != topic))",
        "the pipeline's name with '-cursors' is the topic in which the operator stores the positions of sources; use \
         another name",
    )
    .field_path(".spec.kafka.topics")
}

/// Refuses two queries from one topic into one table: the cells of a record would have the same timestamp, and be mixed.
pub fn one_query_per_topic_and_table() -> Rule {
    let shared = "self.exists(o, o.name != i.name && o.from == i.from && o.into == i.into)";
    let faulty = first("self", shared);
    Rule::new(format!("!self.exists(i, {shared})")).message(Message::Expression(format!(
        "'more than one query writes topic \"' + {faulty}.from + '\" into the same table; merge them, or use a \
         separate table for each'"
    )))
}

/// Refuses SQL over a stream without columns.
pub fn sql_has_columns() -> Rule {
    rule(
        "!has(self.sql) || (has(self.columns) && size(self.columns) > 0)",
        "sql requires the stream's columns; list them",
    )
    .field_path(".columns")
}

/// Refuses columns of a stream that no SQL reads.
pub fn columns_have_sql() -> Rule {
    rule(
        "has(self.sql) || !has(self.columns) || size(self.columns) == 0",
        "columns require sql; add sql or remove columns",
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

/// Refuses a schedule for a push source: the operator cannot make clients push.
pub fn pushed_is_not_scheduled() -> Rule {
    rule(
        "!has(self.push) || (!has(self.schedule) && (!has(self.params) || size(self.params) == 0))",
        "a source with push has no schedule and no params; remove them",
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
        format!("the memory is less than this component needs to start; set at least {least}"),
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
