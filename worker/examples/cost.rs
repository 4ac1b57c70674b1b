//! What one record costs the processor's own road: from the bytes that librdkafka hands over to the cells that the
//! driver takes, ledger and commit included. Clients and servers are left out, so that the numbers are the same on
//! every machine: `bench/cost.sh` compares instructions and allocations with the recorded ones.
//!
//! `cost RECORDS [ROWS]` prints the allocations with so many rows a request, 32 if it is not said; instructions are
//! counted from outside, as the difference of two runs.

#![expect(clippy::disallowed_methods, reason = "a program that measures")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millrace_terms::{ColumnSettings, ColumnType, QuerySettings, TableSettings};
use millrace_worker::budget::Budget;
use millrace_worker::health::process::ProcessHealth;
use millrace_worker::kafka::memory::MemoryBroker;
use millrace_worker::kafka::{CloseConsumer, Consumer, Event};
use millrace_worker::message::{Collector, Epoch, Offsets, PRODUCED_AT_HEADER, PartitionId, Position};
use millrace_worker::process::{Desk, Limits, Process, Queries, Query};
use millrace_worker::progress::Progress;
use millrace_worker::sabotage::Sabotages;
use millrace_worker::sink::{Row, Sink, WriteRows};
use millrace_worker::telemetry::Telemetry;
use tokio_util::sync::CancellationToken;

/// Records of one hand-over, as the consumer thread makes them.
const CHUNK: usize = 512;
/// Rows of one request, as the Cassandra sink makes them.
const ROWS: &str = "32";
const PARTITION: PartitionId = PartitionId { topic: 0, partition: 0 };

fn main() {
    let argument = |number| std::env::args().nth(number);
    let records = argument(1).and_then(|text| text.parse().ok()).expect("usage: cost RECORDS [ROWS]");
    let rows = argument(2).unwrap_or_else(|| ROWS.to_owned()).parse().expect("ROWS is a number");
    let payloads: Vec<Vec<u8>> = (0..CHUNK as u64)
        .map(|index| serde_json::to_vec(&millrace_profile::profile(1, index)).expect("a profile is JSON"))
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let counted = allocation_counter::measure(|| runtime.block_on(drive(records, rows, payloads)));
    println!("{} allocations, {} bytes, {records} records", counted.count_total, counted.bytes_total);
}

async fn drive(records: i64, rows: usize, payloads: Vec<Vec<u8>>) {
    let budget = Budget::new(16 << 20);
    let telemetry = Telemetry::new(budget.clone());
    let queries = Queries::new(vec![query()]);
    let desk = Desk {
        sink: Swallow { rows },
        publisher: MemoryBroker::default(),
        dead_letter_topic: "dead-letters".to_owned(),
        telemetry,
        health: Arc::new(ProcessHealth::new(vec![queries[0].topic.clone()])),
        progress: Progress::default(),
        sabotages: Sabotages::default(),
        queries,
    };
    let limits = Limits {
        max_in_flight: 1024,
        commit_interval: Duration::from_millis(100),
        drain_timeout: Duration::from_secs(1),
    };
    let stop = CancellationToken::new();
    let consumer = Made { budget, payloads, records, next: 0, assigned: false, committed: None, stop: stop.clone() };
    Process::new(consumer, desk, limits).run(stop).await.expect("the road ends in order");
}

fn query() -> Query {
    let column = |name: &str, column_type: ColumnType| ColumnSettings { name: name.to_owned(), column_type };
    let texts = ["first_name", "last_name", "gender", "address", "post_code", "email", "username", "phone", "picture"];
    let mut columns = vec![column("id", ColumnType::Uuid)];
    columns.extend(texts.map(|name| column(name, ColumnType::Text)));
    columns.extend(["dob", "registered_date"].map(|name| column(name, ColumnType::Timestamp)));
    Query::new(&QuerySettings {
        name: "users".to_owned(),
        from: "users_created".to_owned(),
        into: TableSettings {
            name: "created_users".to_owned(),
            columns,
            primary_key: vec!["id".to_owned()],
            types: Vec::new(),
        },
        sql: None,
        write_timestamp_base: 0,
    })
    .expect("a good query")
}

/// Hands over the same payloads again and again, and ends the road once all are committed.
struct Made {
    budget: Budget,
    payloads: Vec<Vec<u8>>,
    records: i64,
    next: i64,
    assigned: bool,
    committed: Option<Offsets>,
    stop: CancellationToken,
}

impl Consumer for Made {
    async fn next(&mut self) -> Event {
        if !self.assigned {
            self.assigned = true;
            return Event::Assigned(vec![PARTITION], Epoch(1));
        }
        if let Some(offsets) = self.committed.take() {
            if offsets.get(&PARTITION) == Some(&self.records) {
                self.stop.cancel();
            }
            return Event::Committed(Ok(offsets));
        }
        // Lets the road write what it has, as a broker would that is no faster than it.
        tokio::task::yield_now().await;
        if self.next == self.records || self.budget.is_full() {
            tokio::time::sleep(Duration::from_millis(1)).await;
            return Event::Records(Vec::new());
        }
        let mut collector = Collector::new(&self.budget, CHUNK * 512);
        for payload in &self.payloads {
            if self.next == self.records {
                break;
            }
            let position = Position { partition: PARTITION, epoch: Epoch(1), offset: self.next };
            let headers = [("millrace-source", Some(b"made".as_slice())), (PRODUCED_AT_HEADER, Some(b"1700000000000"))];
            collector.push(position, Some(&payload[..36]), Some(payload), headers.into_iter());
            self.next += 1;
        }
        Event::Records(collector.finish())
    }

    fn commit(&mut self, offsets: Offsets) {
        self.committed = Some(offsets);
    }

    fn stop(&mut self) {}

    async fn close(self, _: BTreeMap<PartitionId, i64>) -> Result<(), CloseConsumer> {
        Ok(())
    }
}

/// Takes everything at once.
struct Swallow {
    rows: usize,
}

impl Sink for Swallow {
    fn appetite(&self) -> usize {
        self.rows
    }

    async fn write(&self, _: usize, rows: &[Row<'_>]) -> Result<(), WriteRows> {
        std::hint::black_box(rows);
        tokio::task::yield_now().await;
        Ok(())
    }
}
