//! Records without a value on road two: a dead letter, nothing, or the end of a row, in whatever order they are written.

use millrace_terms::Tombstones;
use millrace_worker::message::Outgoing;

use super::*;

fn reading(tombstones: Tombstones) -> Query {
    query_reading(RecordSettings { tombstones, ..RecordSettings::default() })
}

fn world(tombstones: Tombstones, sabotages: Sabotages) -> World {
    // One at a time, so that the order of writes is known.
    World { max_in_flight: 1, ..World::of(vec![reading(tombstones)], sabotages) }
}

/// Appends a record without a value.
fn bury(world: &World, key: &str) {
    world.broker.append(Outgoing { payload: None, ..record(TOPIC, key, "") });
}

#[tokio::test]
async fn a_record_without_a_value_deletes_the_row_of_its_key() {
    let world = world(Tombstones::Delete, Sabotages::default());
    world.append(0, 4);
    bury(&world, "k1");
    bury(&world, r#"{"id":"k2"}"#);
    bury(&world, r#"{"id":"k3","n":3}"#);
    world.append_one("k0", 7);
    let worker = world.start();
    eventually("no lag", || world.committed() == 8).await;
    let rows = world.sink.rows(0);
    assert_eq!(rows.keys().collect::<Vec<_>>(), ["k0", "k3"]);
    assert_eq!(rows["k0"]["n"], "Int(7)");
    let letters = world.broker.records(LETTERS);
    assert_eq!(letters.len(), 1, "the key that names more than a row");
    assert_eq!((letters[0].payload.as_deref(), letters[0].key.as_deref()), (None, Some(&br#"{"id":"k3","n":3}"#[..])));
    worker.terminate().await.expect("a clean end");
}

/// A record, its tombstone, and the record once more, as after a redrive: its own timestamp is the earlier one.
async fn replay_a_deleted_record(world: &World) {
    let mut again = record(TOPIC, "k", r#"{"id":"k","n":1}"#);
    world.broker.append(again.clone());
    bury(world, "k");
    again.headers.push(Header::text("millrace-first-timestamp", "1000000"));
    world.broker.append(again);
    let worker = world.start();
    eventually("no lag", || world.committed() == 3).await;
    worker.terminate().await.expect("a clean end");
}

#[tokio::test]
async fn a_replayed_record_does_not_bring_a_deleted_row_back() {
    let world = world(Tombstones::Delete, Sabotages::default());
    replay_a_deleted_record(&world).await;
    assert!(world.sink.rows(0).is_empty(), "{:?}", world.sink.rows(0));
}

#[tokio::test]
async fn control_without_write_timestamp_a_replayed_record_brings_a_deleted_row_back() {
    let world = world(Tombstones::Delete, Sabotages::only(Sabotage::NoWriteTimestamp));
    replay_a_deleted_record(&world).await;
    assert_eq!(world.sink.rows(0).len(), 1, "the replay test must fail under this sabotage");
}

#[tokio::test]
async fn a_record_without_a_value_is_skipped_or_rejected_as_the_query_says() {
    for (tombstones, letters) in [(Tombstones::Skip, 0), (Tombstones::Reject, 1)] {
        let world = world(tombstones, Sabotages::default());
        world.append(0, 2);
        bury(&world, "k1");
        let worker = world.start();
        eventually("no lag", || world.committed() == 3).await;
        assert!(world.has_exactly(2), "{tombstones:?}");
        assert_eq!(world.broker.records(LETTERS).len(), letters, "{tombstones:?}");
        worker.terminate().await.expect("a clean end");
    }
}
