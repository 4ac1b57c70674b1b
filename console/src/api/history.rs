//! What was measured: the last hour as columns, the latest sample, and the lag of each partition.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Moment;
use super::pipeline::Stage;

/// Which part of the history is wanted.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
pub struct Span {
    /// The last so many seconds. Absent: 3600, all there is.
    pub seconds: Option<u32>,
}

/// Columns of equal length, as charts take them.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct History {
    /// Seconds from one sample to the next.
    pub step_seconds: u32,
    /// When each sample was taken, in seconds since the Unix epoch, oldest first.
    pub times: Vec<i64>,
    /// The series.
    pub series: Vec<Series>,
    /// Why the latest values are unknown. Empty: none is.
    pub unknown: Vec<String>,
}

/// One measure over time.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Series {
    /// What is measured.
    pub key: SeriesKey,
    /// A value for each time; `null` where unknown.
    pub values: Vec<Option<f32>>,
}

/// What is measured.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SeriesKey {
    /// The measure.
    pub measure: Measure,
    /// The stage. `null`: the pipeline or a topic.
    pub stage: Option<Stage>,
    /// The source, or the topic. `null`: all together.
    pub name: Option<String>,
    /// The partition of the topic. `null`: all together.
    pub partition: Option<i32>,
}

/// Measures.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, JsonSchema)]
pub enum Measure {
    /// Records in a second.
    InRate,
    /// Records or rows out a second.
    OutRate,
    /// Errors a second.
    ErrorRate,
    /// Records that are not committed.
    LagRecords,
    /// Age of the oldest of them, in seconds.
    LagSeconds,
    /// Share of time spent working.
    Busy,
    /// Share of time without a record.
    Idle,
    /// Share of time spent waiting for the next stage.
    BackPressured,
    /// Median duration of a request, in seconds.
    LatencyP50,
    /// 99th percentile of it.
    LatencyP99,
    /// Median age of a record when its row is readable, in seconds.
    AgeP50,
    /// 99th percentile of it.
    AgeP99,
}

/// The latest value of every series.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sample {
    /// When it was taken, in seconds since the Unix epoch.
    pub time: i64,
    /// The values.
    pub values: Vec<SampleValue>,
    /// Why values are unknown. Empty: none is.
    pub unknown: Vec<String>,
}

/// The latest value of a series.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SampleValue {
    /// What is measured.
    pub key: SeriesKey,
    /// The value. `null`: unknown.
    pub value: Option<f32>,
}

/// How far the processors are behind.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Lag {
    /// Consumer group of the processors.
    pub group: String,
    /// When this was measured. `null`: never yet.
    #[schemars(with = "Option<Moment>")]
    pub measured: Option<DateTime<Utc>>,
    /// Records that are not committed, in all partitions. `null`: unknown.
    pub total_records: Option<i64>,
    /// Age of the oldest of them, in seconds. `null`: unknown.
    pub total_seconds: Option<f64>,
    /// Each partition of the topics that the queries read.
    pub partitions: Vec<PartitionLag>,
    /// Why it is unknown. `null`: it is not.
    pub unknown: Option<String>,
    /// The command that shows the same.
    pub kubectl: String,
}

/// How far the processors are behind in a partition.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PartitionLag {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// First offset that is kept. `null`: unknown.
    pub start_offset: Option<i64>,
    /// Offset of the next record. `null`: unknown.
    pub end_offset: Option<i64>,
    /// Offset from which the processors would go on. `null`: unknown, or none is committed yet.
    pub committed_offset: Option<i64>,
    /// Records that are not committed. `null`: unknown.
    pub lag_records: Option<i64>,
    /// Age of the oldest of them, in seconds; 0 without one. `null`: unknown.
    pub lag_seconds: Option<f64>,
    /// Records that come in a second. `null`: unknown.
    pub in_rate: Option<f64>,
    /// Records that are committed a second. `null`: unknown.
    pub out_rate: Option<f64>,
}
