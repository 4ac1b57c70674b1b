//! `lag`: how far the processors are behind in each partition of the topics that they read.

use std::collections::BTreeSet;

use chrono::Utc;
use millrace_api::StreamingPipeline;
use millrace_stores::kafka::PartitionLag;
use serde_json::{Value, json};

use super::Context;
use crate::arguments::OfPipeline;
use crate::cluster::names_of;
use crate::screen::{Format, Screen, document, known, span, write};
use crate::stores::kafka;
use crate::{Failure, Outcome};

/// Shows the lag.
#[expect(clippy::disallowed_methods, reason = "where the command reads the clock; what it draws is given the time")]
pub async fn run(context: &Context<'_>, flags: &OfPipeline) -> Result<Outcome, Failure> {
    let pipeline = context.cluster.pipeline(flags.pipeline.as_deref()).await?;
    let lags = read(context, &pipeline).await?;
    let now = Utc::now().timestamp_millis();
    let text = match context.format {
        Format::Table => table(&lags, now, context.screen),
        format => document(format, &report(&lags, now)),
    };
    write(&text)?;
    Ok(Outcome::wrong_if(total(&lags).is_none()))
}

/// Returns the table, for a report; `now` in milliseconds since the Unix epoch.
pub(super) async fn drawn(context: &Context<'_>, pipeline: &StreamingPipeline, now: i64) -> Result<String, Failure> {
    Ok(table(&read(context, pipeline).await?, now, &Screen::default()))
}

/// Asks the brokers.
async fn read(
    context: &Context<'_>,
    pipeline: &StreamingPipeline,
) -> Result<Vec<(String, Vec<PartitionLag>)>, Failure> {
    let names = names_of(pipeline);
    let topics: BTreeSet<&String> = pipeline.spec.processor.queries.iter().map(|query| &query.from).collect();
    if topics.is_empty() {
        return Err(Failure::mistake(format!(
            "pipeline '{}' has no query, so nothing reads its topics",
            names.pipeline()
        )));
    }
    let mut reached = kafka(&context.cluster, &names).await?;
    let mut lags = Vec::new();
    for topic in topics {
        lags.push((topic.clone(), reached.client.lag_by_partition(&names.consumer_group(), topic).await?));
    }
    Ok(lags)
}

type Lags = [(String, Vec<PartitionLag>)];

fn table(lags: &Lags, now: i64, screen: &Screen) -> String {
    let mut rows = Vec::new();
    for (topic, partitions) in lags {
        rows.extend(partitions.iter().map(|lag| {
            vec![
                topic.clone(),
                lag.partition.to_string(),
                known(lag.committed),
                known(lag.end),
                known(lag.records()),
                known(lag.waited(now).map(span)),
            ]
        }));
    }
    let table = screen.table(&["TOPIC", "PARTITION", "COMMITTED", "END", "LAG", "OLDEST WAITS"], &rows);
    let total = total(lags).map_or_else(
        || "unknown, since it is unknown for some partition".to_owned(),
        |total| format!("{total} records"),
    );
    format!("{table}total: {total}\n")
}

fn report(lags: &Lags, now: i64) -> Value {
    let topics: Vec<Value> = lags
        .iter()
        .map(|(topic, partitions)| {
            let partitions: Vec<Value> = partitions
                .iter()
                .map(|lag| {
                    json!({
                        "partition": lag.partition,
                        "start": lag.start,
                        "end": lag.end,
                        "committed": lag.committed,
                        "records": lag.records(),
                        "seconds": lag.waited(now).map(|waited| waited.as_secs_f64()),
                    })
                })
                .collect();
            json!({"topic": topic, "partitions": partitions})
        })
        .collect();
    json!({"records": total(lags), "topics": topics})
}

/// Returns the lag of all partitions; `None`: that of one is unknown. One that the group has never committed in, and that
/// holds nothing, lags by nothing.
fn total(lags: &Lags) -> Option<i64> {
    let of_one = |lag: &PartitionLag| lag.records().or_else(|| (lag.start? == lag.end?).then_some(0));
    lags.iter().flat_map(|(_, partitions)| partitions).map(of_one).sum()
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    fn lags() -> Vec<(String, Vec<PartitionLag>)> {
        let lag = |partition, committed, waiting_since| PartitionLag {
            partition,
            start: Some(0),
            end: Some(1_500),
            committed,
            nothing_left: false,
            waiting_since,
        };
        vec![(
            "users".to_owned(),
            vec![
                lag(0, Some(1_500), None),
                lag(1, Some(1_200), Some(10_000)),
                lag(2, Some(1_499), None),
                lag(3, None, None),
            ],
        )]
    }

    #[test]
    fn what_is_unknown_is_a_dash_and_no_total() {
        assert_snapshot!(table(&lags(), 72_500, &Screen::default()));
        assert_eq!(report(&lags(), 72_500)["records"], Value::Null);
        assert_eq!(report(&lags(), 72_500)["topics"][0]["partitions"][1]["seconds"], json!(62.5));
    }

    #[test]
    fn control_what_is_known_is_summed() {
        let mut known = lags();
        known[0].1.truncate(3);
        assert_eq!(total(&known), Some(301));
        known[0].1.push(PartitionLag {
            partition: 3,
            start: Some(7),
            end: Some(7),
            committed: None,
            nothing_left: false,
            waiting_since: None,
        });
        assert_eq!(total(&known), Some(301));
        // Only the end of a transaction stands there.
        known[0].1[2].nothing_left = true;
        assert_eq!(total(&known), Some(300));
    }
}
