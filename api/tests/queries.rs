//! Queries that admission lets pass and the operator refuses: where, in which words, and that the rest goes on. What is
//! wrong with SQL is for `millrace-sql` to say; a stand-in judges it here.

use millrace_api::crd::{Column, EpochUnit, Query, Tombstones, Topic};
use millrace_api::{StreamingPipeline, Validated};
use millrace_terms::{Position, Problem, SqlQuestion};

/// The accepted sample with SQL, its SQL replaced.
fn pipeline(sql: &str) -> StreamingPipeline {
    let text = include_str!("../../e2e/samples/accepted/sql-projection.yaml");
    let mut resource: StreamingPipeline = serde_yaml::from_str(text).expect("a sample");
    resource.spec.processor.queries[0].sql = Some(sql.to_owned());
    resource
}

/// Validates with a judge that knows no column `nothing`.
fn validate(resource: &StreamingPipeline) -> Validated {
    millrace_api::validate(resource, |SqlQuestion { sql, .. }| {
        let place = sql.text.find("nothing").map(|index| Position { line: 1, column: index as u64 + 1 });
        place.map(|place| Problem::new(place, "there is no such column")).into_iter().collect()
    })
}

#[test]
fn a_fault_in_sql_has_the_path_of_the_field_and_an_excerpt() {
    let rejected = validate(&pipeline("SELECT nothing")).rejected;
    assert_eq!(rejected.len(), 1);
    let said = "spec.processor.queries[0].sql: query 'users': line 1, column 8: there is no such column";
    assert_eq!(rejected[0].to_string(), said);
    assert_eq!(rejected[0].excerpt.as_deref(), Some("1 | SELECT nothing\n  |        ^"));
}

#[test]
fn a_faulty_query_is_taken_out_with_those_of_its_topic_and_the_others_stay() {
    for (sql, stay) in [
        ("SELECT nothing FROM users_created", vec!["elsewhere"]),
        // The control: a sound one takes nobody out.
        ("SELECT login->'uuid' AS id FROM users_created", vec!["users", "elsewhere", "beside"]),
    ] {
        let mut resource = pipeline(sql);
        let topic = Topic { name: "other".to_owned(), ..resource.spec.kafka.topics[0].clone() };
        resource.spec.kafka.topics.push(topic);
        for (name, from) in [("elsewhere", "other"), ("beside", "users_created")] {
            let first = resource.spec.processor.queries[0].clone();
            let query = Query { name: name.to_owned(), from: from.to_owned(), sql: None, columns: Vec::new(), ..first };
            resource.spec.processor.queries.push(query);
        }
        let validated = validate(&resource);
        let pipeline = validated.pipeline.expect("the rest can run");
        let names: Vec<&str> = pipeline.processor.queries.iter().map(|query| query.name.as_str()).collect();
        assert_eq!(names, stay);
        assert_eq!(validated.rejected.is_empty(), stay.len() == 3);
    }
}

#[test]
fn names_that_nobody_declares_are_refused_without_a_cluster_too() {
    let mut resource = pipeline("SELECT id FROM users_created");
    resource.spec.processor.queries[0].from = "users_craeted".to_owned();
    resource.spec.processor.queries[0].into = "craeted_users".to_owned();
    let said: Vec<String> = validate(&resource).rejected.iter().map(ToString::to_string).collect();
    let expected = [
        "spec.processor.queries[0].from: 'users_craeted' is not declared; add it to spec.kafka.topics or correct the name",
        "spec.processor.queries[0].into: 'craeted_users' is not declared; add it to spec.cassandra.tables or correct the name",
    ];
    assert_eq!(said, expected);
}

#[test]
fn rows_whose_keys_sql_computes_are_not_deleted() {
    let mut resource = pipeline("SELECT login->'uuid' AS id FROM users_created");
    resource.spec.processor.queries[0].tombstones = Tombstones::Delete;
    let said: Vec<String> = validate(&resource).rejected.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "spec.processor.queries[0].tombstones: with sql, the key of the row to delete is unknown; remove sql, or use \
          Skip or Reject"
        ]
    );
    // The controls: without SQL, and with SQL but nothing deleted.
    resource.spec.processor.queries[0].tombstones = Tombstones::Skip;
    assert!(validate(&resource).rejected.is_empty());
    resource.spec.processor.queries[0].tombstones = Tombstones::Delete;
    resource.spec.processor.queries[0].sql = None;
    resource.spec.processor.queries[0].columns.clear();
    let validated = validate(&resource);
    assert!(validated.rejected.is_empty());
    let pipeline = validated.pipeline.expect("it can run");
    assert_eq!(pipeline.processor.queries[0].records.tombstones, millrace_terms::Tombstones::Delete);
}

#[test]
fn only_timestamp_columns_have_units() {
    let mut resource = pipeline("SELECT id FROM users_created");
    let query = &mut resource.spec.processor.queries[0];
    query.sql = None;
    query.columns.clear();
    query.epoch_units = ["at", "email", "none"].map(|name| (name.to_owned(), EpochUnit::Seconds)).into();
    let at = Column { name: "at".to_owned(), column_type: "timestamp".to_owned() };
    resource.spec.cassandra.tables[0].columns.push(at);
    let said: Vec<String> = validate(&resource).rejected.iter().map(ToString::to_string).collect();
    let expected = [
        "spec.processor.queries[0].epochUnits.email: column 'email' is text, and only a timestamp has a unit; remove it",
        "spec.processor.queries[0].epochUnits.none: table 'created_users' has no column 'none'; correct the name or remove it",
    ];
    assert_eq!(said, expected);
    // The control: that of the timestamp alone is accepted, and reaches the worker.
    resource.spec.processor.queries[0].epoch_units.retain(|name, _| name == "at");
    let pipeline = validate(&resource).pipeline.expect("it can run");
    let units = &pipeline.processor.queries[0].records.epoch_units;
    assert_eq!(units.get("at"), Some(&millrace_terms::EpochUnit::Seconds));
}
