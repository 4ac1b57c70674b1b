//! Queries with SQL on road two: records that become no row or many, and topics that several queries read.

use millrace_terms::{SqlSettings, StreamColumn, StreamType};

use super::*;

fn sql(name: &str, text: &str) -> Query {
    let column = |name: &str, column_type| ColumnSettings { name: name.to_owned(), column_type };
    let stream = |(name, column_type): (&str, StreamType)| StreamColumn { name: name.to_owned(), column_type };
    let columns = [("id", StreamType::Text), ("n", StreamType::Int), ("list", StreamType::Json)];
    Query::new(&QuerySettings {
        name: name.to_owned(),
        from: TOPIC.to_owned(),
        into: TableSettings {
            name: name.to_owned(),
            columns: vec![
                column("id", ColumnType::Text),
                column("line", ColumnType::Int),
                column("n", ColumnType::Int),
            ],
            primary_key: vec!["id".to_owned(), "line".to_owned()],
            types: Vec::new(),
        },
        sql: Some(SqlSettings { text: text.to_owned(), columns: columns.map(stream).to_vec() }),
        records: RecordSettings::default(),
        write_timestamp_base: 1_000_000,
    })
    .expect("good SQL")
}

const UNNEST: &str = "SELECT id, e->'line' AS line, e->'n' AS n FROM users_created, UNNEST(list) AS e";

/// Returns a record of `count` elements.
fn long(id: &str, count: usize) -> String {
    let elements: Vec<String> = (0..count).map(|line| format!(r#"{{"line":{line},"n":{line}}}"#)).collect();
    format!(r#"{{"id":"{id}","list":[{}]}}"#, elements.join(","))
}

fn append(world: &World, payload: &str) {
    world.broker.append(record(TOPIC, "key", payload));
}

#[tokio::test]
async fn what_the_condition_drops_is_committed_and_counted() {
    let query = sql("even", "SELECT id, 1 AS line, n + 1 AS n FROM users_created WHERE n % 2 = 0");
    let world = World::of(vec![query], Sabotages::default());
    world.append(0, 500);
    let worker = world.start();
    eventually("no lag", || world.committed() == 500).await;
    let rows = world.sink.rows(0);
    assert_eq!(rows.len(), 250);
    assert!((0..250).all(|half| rows[&format!("k{}/Int(1)", 2 * half)]["n"] == format!("Int({})", 2 * half + 1)));
    assert_eq!(worker.metric("millrace_records_filtered_total{query=\"even\"}"), 250);
    assert_eq!(worker.metric("millrace_rows_written_total"), 250);
    eventually("no bytes held", || worker.budget.used() == 0).await;
    assert!(world.broker.records(LETTERS).is_empty());
    worker.terminate().await.expect("a clean end");
}

/// Of elements with one key the last wins, now and when the record is written again.
#[tokio::test]
async fn a_replay_of_a_record_with_several_rows_changes_nothing() {
    let world = World::of(vec![sql("lines", UNNEST)], Sabotages::default());
    append(&world, r#"{"id":"a","list":[{"line":1,"n":9},{"line":2,"n":2},{"line":1}]}"#);
    append(&world, r#"{"id":"b","list":[{"line":1,"n":1},{"line":1,"n":7}]}"#);
    append(&world, r#"{"id":"c","list":[]}"#);
    world.broker.refuse_commits(u32::MAX);
    let worker = world.start();
    eventually("all rows", || world.rows() == 3).await;
    worker.kill().await;
    let before = world.sink.rows(0);
    // The last element of the first record has no n, so its row has none.
    assert_eq!(before["a/Int(1)"].get("n"), None);
    assert_eq!(before["b/Int(1)"]["n"], "Int(7)");
    world.broker.refuse_commits(0);
    let written = world.sink.writes();
    let worker = world.start();
    eventually("no lag", || world.committed() == 3).await;
    assert!(world.sink.writes() > written, "the rows were written again");
    assert_eq!(world.sink.rows(0), before);
    worker.terminate().await.expect("a clean end");
}

/// Kills a worker that has written some rows of a record and not the others, then starts another one.
async fn crash_between_rows(world: &World) {
    append(world, &long("a", 40));
    world.sink.set_fault(Fault::HangAfter(12));
    let worker = world.start();
    eventually("some rows", || world.sink.writes() >= 12).await;
    // Several commit intervals: a worker that commits too early has done so by then.
    tokio::time::sleep(Duration::from_millis(60)).await;
    worker.kill().await;
    world.sink.set_fault(Fault::None);
    let worker = world.start();
    eventually("no lag", || world.committed() == 1).await;
    worker.terminate().await.expect("a clean end");
}

#[tokio::test]
async fn a_crash_between_the_rows_of_a_record_loses_none() {
    let world = World::of(vec![sql("lines", UNNEST)], Sabotages::default());
    crash_between_rows(&world).await;
    assert_eq!(world.rows(), 40);
}

#[tokio::test]
async fn control_with_commit_before_write_a_crash_between_rows_loses_some() {
    let world = World::of(vec![sql("lines", UNNEST)], Sabotages::only(Sabotage::CommitBeforeWrite));
    crash_between_rows(&world).await;
    assert!(world.rows() < 40, "the crash test must fail under this sabotage");
}

#[tokio::test]
async fn rows_of_long_records_keep_within_the_window() {
    let world = World::of(vec![sql("lines", UNNEST)], Sabotages::default());
    for record in 0..50 {
        append(&world, &long(&format!("r{record}"), 100));
    }
    let worker = world.start();
    eventually("no lag", || world.committed() == 50).await;
    assert_eq!(world.rows(), 5000);
    let most = world.sink.most_in_flight();
    assert!((8..=32).contains(&most), "{most} rows were under way at once");
    assert_eq!(worker.metric("millrace_rows_written_total"), 5000);
    worker.terminate().await.expect("a clean end");
}

#[tokio::test]
async fn rows_that_were_not_begun_are_given_up_when_their_partition_is_revoked() {
    let world = World::of(vec![sql("lines", UNNEST)], Sabotages::default());
    append(&world, &long("a", 40));
    world.sink.set_fault(Fault::HangAfter(8));
    let mut worker = world.start();
    eventually("rows under way", || world.sink.writes() == 8 && world.sink.attempts() > 8).await;
    let revocation = worker.coordinator.revoke(&[0]);
    tokio::time::sleep(Duration::from_millis(20)).await;
    world.sink.set_fault(Fault::None);
    eventually("the release", || revocation.finish().is_some()).await;
    assert!(world.sink.attempts() < 40, "all rows were tried: {}", world.sink.attempts());
    assert_eq!(world.committed(), 0);
    worker.coordinator.assign(&[0]);
    eventually("no lag", || world.committed() == 1).await;
    assert_eq!(world.rows(), 40);
    worker.terminate().await.expect("a clean end");
}

/// Two queries over one topic, of which only the first has written its row of the only record.
async fn half_written(sabotages: Sabotages) -> (World, Worker) {
    let queries = vec![
        sql("first", "SELECT id, 1 AS line, n FROM users_created"),
        sql("second", "SELECT id, 2 AS line, n * 2 AS n FROM users_created"),
    ];
    let world = World::of(queries, sabotages);
    world.append(7, 8);
    world.sink.set_fault(Fault::HangAfter(1));
    let worker = world.start();
    eventually("the first row", || world.sink.writes() == 1 && world.sink.attempts() == 2).await;
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_eq!((world.sink.rows(0).len(), world.sink.rows(1).len()), (1, 0));
    (world, worker)
}

#[tokio::test]
async fn an_offset_waits_for_every_query_of_its_topic() {
    let (world, worker) = half_written(Sabotages::default()).await;
    assert_eq!(world.committed(), 0);
    worker.kill().await;
    world.sink.set_fault(Fault::None);
    let worker = world.start();
    eventually("no lag", || world.committed() == 1).await;
    assert_eq!(world.sink.rows(0)["k7/Int(1)"]["n"], "Int(7)");
    assert_eq!(world.sink.rows(1)["k7/Int(2)"]["n"], "Int(14)");
    worker.terminate().await.expect("a clean end");
}

#[tokio::test]
async fn control_with_commit_before_write_the_offset_does_not_wait() {
    let (world, worker) = half_written(Sabotages::only(Sabotage::CommitBeforeWrite)).await;
    assert_eq!(world.committed(), 1, "the test above must fail under this sabotage");
    worker.kill().await;
}

#[tokio::test]
async fn what_one_query_cannot_use_another_may_write() {
    let queries = vec![
        sql("plain", "SELECT id, 1 AS line, n FROM users_created"),
        sql("strict", "SELECT id, 10 / n AS line, n FROM users_created"),
    ];
    let world = World::of(queries, Sabotages::default());
    world.append(0, 3);
    let worker = world.start();
    eventually("no lag", || world.committed() == 3).await;
    assert_eq!((world.sink.rows(0).len(), world.sink.rows(1).len()), (3, 2));
    let letters = world.broker.records(LETTERS);
    let said: Vec<_> = ["query", "reason", "message"]
        .map(|name| header(&letters[0].headers, &format!("millrace-dead-letter-{name}")))
        .to_vec();
    assert_eq!(said[..2], ["strict", "BadColumn"]);
    assert!(said[2].starts_with("query 'strict': column 'line': "), "{}", said[2]);
    assert_eq!(letters.len(), 1);
    worker.terminate().await.expect("a clean end");
}
