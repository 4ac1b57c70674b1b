//! The canary: a record of the pipeline's own that a processor takes along the whole road, and how far it has come.

use serde::{Deserialize, Serialize};

use crate::{ColumnSettings, ColumnType, Duration, QuerySettings, RecordSettings, TableSettings};

/// Where a processor answers with its [`CanaryReport`], on the port of its metrics.
pub const CANARY_PATH: &str = "/canary";

/// Largest answer that is read, in bytes: three numbers and a word.
pub const LARGEST_CANARY: usize = 1 << 10;

/// Table of the canary's rows, in the keyspace of the pipeline.
pub const CANARY_TABLE: &str = "millrace_canary";

/// Primary key of that table: the name of a canary record, which no other has.
pub const CANARY_KEY: &str = "id";

/// How a processor sends canary records.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct CanarySettings {
    /// Topic of the canary's records; no query reads it.
    pub topic: String,
    /// Time from one record to the next.
    pub interval: Duration,
}

impl CanarySettings {
    /// Returns what is made of the canary's records, in the form of a query.
    pub fn query(&self) -> QuerySettings {
        QuerySettings {
            name: "millrace-canary".to_owned(),
            from: self.topic.clone(),
            into: TableSettings {
                name: CANARY_TABLE.to_owned(),
                columns: canary_columns(),
                primary_key: vec![CANARY_KEY.to_owned()],
                types: Vec::new(),
            },
            sql: None,
            records: RecordSettings::default(),
            // No record has the key of another, so that no two cells compete.
            write_timestamp_base: 0,
        }
    }
}

/// Returns the columns of the canary's table.
pub fn canary_columns() -> Vec<ColumnSettings> {
    vec![ColumnSettings { name: CANARY_KEY.to_owned(), column_type: ColumnType::Text }]
}

/// How the canary of one processor is doing. Times are in milliseconds.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CanaryReport {
    /// What the record in flight waits for. Absent: none is in flight.
    pub waits: Option<CanaryWait>,
    /// The last record that was read back. Absent: none was yet.
    pub read: Option<CanaryRead>,
}

/// A canary record in flight.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CanaryWait {
    /// The station that it has not passed.
    pub station: Station,
    /// How long no record has been read back since one was due.
    pub since: u64,
}

/// A canary record that was read back.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CanaryRead {
    /// How long ago.
    pub ago: u64,
    /// How long it took from its sending.
    pub latency: u64,
}

/// A station of the canary's way, in its order.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Station {
    /// Kafka acknowledges the record.
    Produced,
    /// The processor receives it.
    Consumed,
    /// Cassandra acknowledges its row.
    Written,
    /// The row is read back.
    Read,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_fits_the_answer_that_is_read() {
        let report = CanaryReport {
            waits: Some(CanaryWait { station: Station::Consumed, since: u64::MAX }),
            read: Some(CanaryRead { ago: u64::MAX, latency: u64::MAX }),
        };
        let text = serde_json::to_string(&report).expect("plain data");
        assert!(text.len() < LARGEST_CANARY, "{text}");
        assert_eq!(serde_json::from_str::<CanaryReport>(&text).expect("its own text"), report);
    }
}
