//! A sink in memory for tests: last write by timestamp wins, cell by cell, as in Cassandra.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::{AwaitSinkSnafu, MendSchemaSnafu, RefuseRowsSnafu, Row, Sink, WriteRows};
use crate::decode::{Cell, Table};

/// Rows of a full request.
const ROWS: usize = 4;

/// Tables in memory; clones share them.
#[derive(Clone, Debug)]
pub struct MemorySink {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    tables: Vec<Table>,
    state: Mutex<State>,
    resumed: Notify,
}

/// Cells of a row with the timestamp of each.
type StoredRow = BTreeMap<String, (i64, String)>;

#[derive(Debug, Default)]
struct State {
    rows: Vec<BTreeMap<String, StoredRow>>,
    /// Timestamp of the last delete of each row, by query and key.
    deleted: Vec<BTreeMap<String, i64>>,
    /// Stands in for the server's clock.
    clock: i64,
    writes: u64,
    attempts: u64,
    in_flight: usize,
    most_in_flight: usize,
    fault: Fault,
}

/// What goes wrong with writes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// Every write is answered with a timeout.
    Outage,
    /// Every write is answered with a schema mismatch.
    Schema,
    /// Requests with a row whose key is this text are refused.
    RefuseKey(String),
    /// Requests of more than one row are refused.
    RefuseBatches,
    /// Writes are not answered until the fault changes.
    Hang,
    /// Writes after this many are not answered until the fault changes.
    HangAfter(u64),
    /// Rows are acknowledged, and not there when they are read.
    Unreadable,
}

impl MemorySink {
    /// Makes empty tables, one for each query.
    pub fn new(tables: Vec<Table>) -> Self {
        let rows = vec![BTreeMap::new(); tables.len()];
        let deleted = vec![BTreeMap::new(); tables.len()];
        let state = Mutex::new(State { rows, deleted, ..State::default() });
        Self { shared: Arc::new(Shared { tables, state, resumed: Notify::new() }) }
    }

    /// Changes what goes wrong.
    pub fn set_fault(&self, fault: Fault) {
        self.lock().fault = fault;
        self.shared.resumed.notify_waiters();
    }

    /// Returns the rows of a query's table by key, each cell as text.
    pub fn rows(&self, query: usize) -> BTreeMap<String, BTreeMap<String, String>> {
        let plain = |row: &StoredRow| row.iter().map(|(name, (_, cell))| (name.clone(), cell.clone())).collect();
        self.lock().rows[query].iter().map(|(key, row)| (key.clone(), plain(row))).collect()
    }

    /// Returns how many rows were acknowledged.
    pub fn writes(&self) -> u64 {
        self.lock().writes
    }

    /// Returns how many rows were tried.
    pub fn attempts(&self) -> u64 {
        self.lock().attempts
    }

    /// Returns how many rows were under way at once, at most.
    pub fn most_in_flight(&self) -> usize {
        self.lock().most_in_flight
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, query: usize, rows: &[Row<'_>]) -> Result<(), WriteRows> {
        loop {
            let resumed = self.shared.resumed.notified();
            tokio::task::yield_now().await;
            let hangs = {
                let state = self.lock();
                matches!(state.fault, Fault::HangAfter(writes) if state.writes >= writes) || state.fault == Fault::Hang
            };
            if !hangs {
                break;
            }
            resumed.await;
        }
        let mut state = self.lock();
        match &state.fault {
            Fault::None | Fault::Hang | Fault::HangAfter(_) | Fault::Unreadable => {}
            Fault::Outage => return AwaitSinkSnafu { problem: "timed out" }.fail(),
            Fault::Schema => return MendSchemaSnafu { query, problem: "no such table" }.fail(),
            Fault::RefuseKey(refused) if !rows.iter().any(|row| self.key(query, row) == *refused) => {}
            Fault::RefuseBatches if rows.len() == 1 => {}
            Fault::RefuseKey(_) | Fault::RefuseBatches => return RefuseRowsSnafu { problem: "invalid" }.fail(),
        }
        for row in rows {
            self.store(&mut state, query, row);
        }
        Ok(())
    }

    fn key(&self, query: usize, row: &Row<'_>) -> String {
        let key: Vec<String> = match row.deletes {
            true => row.cells.iter().map(text).collect(),
            false => self.shared.tables[query].key_columns().map(|index| text(&row.cells[index])).collect(),
        };
        key.join("/")
    }

    fn store(&self, state: &mut State, query: usize, row: &Row<'_>) {
        state.clock += 1;
        state.writes += 1;
        let timestamp = row.timestamp.unwrap_or(state.clock);
        let key = self.key(query, row);
        if row.deletes {
            let last = state.deleted[query].entry(key.clone()).or_insert(timestamp);
            *last = timestamp.max(*last);
            if let Some(stored) = state.rows[query].get_mut(&key) {
                stored.retain(|_, (written, _)| *written > timestamp);
                if stored.is_empty() {
                    state.rows[query].remove(&key);
                }
            }
            return;
        }
        // Of a write and a delete with one timestamp, the delete counts.
        if state.deleted[query].get(&key).is_some_and(|deleted| timestamp <= *deleted) {
            return;
        }
        let stored = state.rows[query].entry(key).or_default();
        for ((name, _), cell) in self.shared.tables[query].columns().zip(row.cells) {
            let newer = stored.get(name).is_none_or(|(stored, _)| timestamp >= *stored);
            if newer && *cell != Cell::Unset {
                stored.insert(name.to_owned(), (timestamp, text(cell)));
            }
        }
    }
}

impl Sink for MemorySink {
    fn appetite(&self) -> usize {
        ROWS
    }

    async fn write(&self, query: usize, rows: &[Row<'_>]) -> Result<(), WriteRows> {
        {
            let mut state = self.lock();
            state.attempts += rows.len() as u64;
            state.in_flight += rows.len();
            state.most_in_flight = state.most_in_flight.max(state.in_flight);
        }
        let answer = self.answer(query, rows).await;
        self.lock().in_flight -= rows.len();
        answer
    }

    async fn read_back(&self, query: usize, key: &str) -> Result<bool, String> {
        let state = self.lock();
        Ok(state.fault != Fault::Unreadable && state.rows[query].contains_key(key))
    }
}

fn text(cell: &Cell<'_>) -> String {
    match cell {
        Cell::Text(text) => text.clone().into_owned(),
        other => format!("{other:?}"),
    }
}
