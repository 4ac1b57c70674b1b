//! What one record costs our own roads. Clients and servers are left out, so that the numbers are the same on every
//! machine: `bench/cost.sh` compares instructions and allocations with the recorded ones.
//!
//! - `cost process RECORDS [ROWS]`: from the bytes that librdkafka hands over to the cells that the driver takes, ledger
//!   and commit included, with so many rows a request, 32 if it is not said;
//! - `cost map RECORDS`, `cost copy RECORDS`: from the text of an answer to the bytes that librdkafka takes, with twelve
//!   expressions and without.
//!
//! Each prints its allocations; instructions are counted from outside, as the difference of two runs.

#![expect(clippy::disallowed_methods, reason = "a program that measures")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use allocation_counter::AllocationInfo;
use millrace_terms::{
    ColumnSettings, ColumnType, GeneratorSettings, Origin, QuerySettings, RecordSettings, SourceSettings, TableSettings,
};
use millrace_worker::budget::Budget;
use millrace_worker::health::process::ProcessHealth;
use millrace_worker::kafka::memory::MemoryBroker;
use millrace_worker::kafka::{CloseConsumer, Consumer, Event};
use millrace_worker::mapping::Mapping;
use millrace_worker::message::{Collector, Epoch, Offsets, PRODUCED_AT_HEADER, PartitionId, Position};
use millrace_worker::process::{Desk, Limits, Process, Queries, Query};
use millrace_worker::progress::Progress;
use millrace_worker::sabotage::Sabotages;
use millrace_worker::sink::{Row, Sink, WriteRows};
use millrace_worker::source::{Document, Records};
use millrace_worker::telemetry::Telemetry;
use tokio_util::sync::CancellationToken;

/// Records of one hand-over, as the consumer thread makes them.
const CHUNK: usize = 512;
/// Rows of one request, as the Cassandra sink makes them.
const ROWS: &str = "32";
const PARTITION: PartitionId = PartitionId { topic: 0, partition: 0 };

fn main() {
    let argument = |number| std::env::args().nth(number);
    let records = argument(2).and_then(|text| text.parse().ok()).expect("usage: cost process|map|copy RECORDS [ROWS]");
    let rows = argument(3).unwrap_or_else(|| ROWS.to_owned()).parse().expect("ROWS is a number");
    let counted = match argument(1).as_deref() {
        Some("map") => produce(records, &FIELDS),
        Some("copy") => produce(records, &[]),
        _ => {
            let payloads: Vec<Vec<u8>> = (0..CHUNK as u64)
                .map(|index| serde_json::to_vec(&millrace_profile::profile(1, index)).expect("a profile is JSON"))
                .collect();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            allocation_counter::measure(|| runtime.block_on(drive(records, rows, payloads)))
        }
    };
    println!("{} allocations, {} bytes, {records} records", counted.count_total, counted.bytes_total);
}

/// The mapping of the public API that the demo polls.
const FIELDS: [(&str, &str); 12] = [
    ("id", "record.login.uuid"),
    ("first_name", "record.name.first"),
    ("last_name", "record.name.last"),
    ("gender", "record.gender"),
    (
        "address",
        r#"string(record.location.street.number) + " " + record.location.street.name + ", " + record.location.city"#,
    ),
    ("post_code", "string(record.location.postcode)"),
    ("email", "record.email"),
    ("username", "record.login.username"),
    ("dob", "record.dob.date"),
    ("registered_date", "record.registered.date"),
    ("phone", "record.phone"),
    ("picture", "record.picture.medium"),
];

/// Maps the records of answers of [`CHUNK`] records: nested ones with fields, flat ones without.
fn produce(records: i64, fields: &[(&str, &str)]) -> AllocationInfo {
    let mapping = Mapping::compile(&SourceSettings {
        name: "users".to_owned(),
        topic: "users_created".to_owned(),
        key: "id".to_owned(),
        fields: fields.iter().map(|(name, expression)| ((*name).to_owned(), (*expression).to_owned())).collect(),
        params: BTreeMap::new(),
        origin: Origin::Generator(GeneratorSettings { seed: 1, count: None, records_per_second: None }),
    })
    .expect("the expressions compile");
    let record = |index: u64| match fields.is_empty() {
        true => serde_json::to_string(&millrace_profile::profile(1, index)),
        false => serde_json::to_string(&millrace_profile::user(1, index)),
    };
    let texts: Vec<String> = (0..CHUNK as u64).map(|index| record(index).expect("a user is JSON")).collect();
    let answer = format!("[{}]", texts.join(","));
    allocation_counter::measure(|| {
        let mut left = records;
        while left > 0 {
            let answered = Records::written(Document::read(answer.clone()).expect("JSON"));
            for record in answered.take(usize::try_from(left).expect("not negative")) {
                let encoded = mapping.encode(&record.expect("a record").record).expect("it maps");
                std::hint::black_box(encoded);
                left -= 1;
            }
        }
    })
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
        records: RecordSettings::default(),
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

    async fn read_back(&self, _: usize, _: &str) -> Result<bool, String> {
        Ok(true)
    }
}
