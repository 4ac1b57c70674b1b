//! The canary on road two: it takes the way of all records, nobody counts it, and it names the station where it stops.

use millrace_terms::{CanarySettings, Duration as Span, Station};
use millrace_worker::canary::{Canary, Flight};
use tokio::sync::mpsc::unbounded_channel;

use super::*;

const CANARIES: &str = "users-canary";

fn settings() -> CanarySettings {
    CanarySettings { topic: CANARIES.to_owned(), interval: Span::from_millis(20) }
}

fn canary_query() -> Query {
    Query::new(&settings().query()).expect("a good query")
}

/// A world whose sink also has the canary's table.
fn world() -> World {
    let sink = MemorySink::new(vec![query().table().clone(), canary_query().table().clone()]);
    World { sink, ..World::new() }
}

/// A worker with a canary.
struct Aloft {
    worker: Worker,
    canary: Canary,
    flying: JoinHandle<()>,
}

impl Aloft {
    /// Returns whether the canary has waited for a station for longer than it ever takes.
    fn is_stuck_at(&self, station: Station) -> bool {
        self.canary.report().waits.is_some_and(|waits| waits.station == station && waits.since > 200)
    }

    fn was_read(&self) -> bool {
        self.canary.report().read.is_some()
    }

    async fn land(self) {
        self.flying.abort();
        self.worker.terminate().await.expect("a clean end");
    }
}

fn start(world: &World) -> Aloft {
    let queries = Queries::new(world.queries.clone()).with_canary(canary_query());
    let (topic, query) = queries.canary().expect("it was added");
    let budget = Budget::new(world.memory);
    let telemetry = Telemetry::new(budget.clone());
    let health = Arc::new(ProcessHealth::new(queries.topics().map(str::to_owned).collect()));
    let progress = Progress::default();
    let (consumer, mut coordinator) = world.broker.join(&[TOPIC], budget.clone());
    coordinator.assign(&[0]);
    let canary = Canary::default();
    let (entries, received) = unbounded_channel();
    let flight = Flight {
        settings: settings(),
        topic,
        query,
        publisher: world.broker.clone(),
        fetch: world.broker.clone(),
        entries,
        sink: world.sink.clone(),
        budget: budget.clone(),
        telemetry: telemetry.clone(),
        canary: canary.clone(),
    };
    let desk = Desk {
        queries,
        sink: world.sink.clone(),
        publisher: world.broker.clone(),
        dead_letter_topic: LETTERS.to_owned(),
        telemetry: telemetry.clone(),
        health: Arc::clone(&health),
        progress: progress.clone(),
        sabotages: world.sabotages.clone(),
    };
    let limits = Limits {
        max_in_flight: world.max_in_flight,
        commit_interval: Duration::from_millis(10),
        drain_timeout: world.drain_timeout,
    };
    let stop = CancellationToken::new();
    let running = tokio::spawn(Process::new(consumer, desk, limits).with_canary(received).run(stop.clone()));
    let flying = tokio::spawn(flight.fly());
    Aloft { worker: Worker { coordinator, health, telemetry, budget, progress, stop, running }, canary, flying }
}

/// Only records of users are consumed, settled, written and committed by the counts. The control is the number of canary rows.
#[tokio::test]
async fn a_canary_becomes_a_row_and_nobody_counts_it() {
    let world = world();
    world.append(0, 3);
    let aloft = start(&world);
    eventually("three canary rows", || aloft.was_read() && world.sink.rows(1).len() >= 3).await;
    eventually("no lag", || world.committed() == 3).await;
    assert!(world.has_exactly(3));
    assert_eq!(world.broker.committed().keys().collect::<Vec<_>>(), [&PARTITION]);
    assert_eq!(aloft.worker.telemetry.work().settled, 3);
    let metrics = aloft.worker.telemetry.encode();
    for count in ["millrace_records_consumed_total 3\n", "millrace_rows_written_total 3\n"] {
        assert!(metrics.contains(count), "{count} in {metrics}");
    }
    assert!(!metrics.contains("canary"), "{metrics}");
    assert!(world.broker.records(LETTERS).is_empty());
    aloft.land().await;
}

/// Each fault has its station, and the end of the fault is the control.
#[tokio::test]
async fn a_canary_names_the_station_where_it_stops() {
    type Switch = fn(&World, bool);
    let faults: [(Station, Switch); 4] = [
        (Station::Produced, |world, on| world.broker.refuse_sends(if on { u32::MAX } else { 0 })),
        (Station::Consumed, |world, on| world.broker.withhold(on)),
        (Station::Written, |world, on| world.sink.set_fault(if on { Fault::Hang } else { Fault::None })),
        (Station::Read, |world, on| world.sink.set_fault(if on { Fault::Unreadable } else { Fault::None })),
    ];
    for (station, fault) in faults {
        let world = world();
        fault(&world, true);
        let aloft = start(&world);
        eventually("it is stuck", || aloft.is_stuck_at(station)).await;
        assert!(!aloft.was_read(), "{station:?}");
        fault(&world, false);
        eventually("it is read back", || aloft.was_read()).await;
        aloft.land().await;
    }
}

/// A canary that its table does not take leaves the processor ready. The control is a record of a user.
#[tokio::test]
async fn what_is_wrong_with_the_canarys_table_does_not_make_the_processor_unready() {
    let world = world();
    let aloft = start(&world);
    eventually("it is read back", || aloft.was_read()).await;
    world.sink.set_fault(Fault::Schema);
    eventually("it is stuck", || aloft.is_stuck_at(Station::Written)).await;
    assert!(aloft.worker.health.readiness().ready);
    assert!(world.broker.records(LETTERS).is_empty());
    world.append(0, 1);
    eventually("it is not ready", || !aloft.worker.health.readiness().ready).await;
    world.sink.set_fault(Fault::None);
    eventually("the record is a row", || world.has_exactly(1)).await;
    aloft.land().await;
}
