//! `peek` and `tail`: records of a topic, through port-forwards to the brokers.

use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use kube::ResourceExt;
use millrace_api::StreamingPipeline;
use millrace_api::names::Names;
use millrace_stores::kafka::{Begin, Bounds, Browse, Filter, Kafka, Page, Tail};
use serde_json::json;
use tokio::time::{Instant, sleep_until};

use super::{Context, record};
use crate::arguments::{self, Peek, Which};
use crate::cluster::names_of;
use crate::screen::{Format, document, write};
use crate::stores::{Reached, kafka};
use crate::{Failure, Outcome};

/// Bytes that are looked at at most.
const MAX_BYTES: usize = 256 << 20;
/// What one question of `tail` brings at most, and how long a broker waits when there is nothing.
const TAIL: Bounds = Bounds { bytes: 8 << 20, wait: Duration::from_millis(500) };

/// Shows records of a topic.
#[expect(clippy::disallowed_methods, reason = "where the command reads the clock; what it draws is given the time")]
pub async fn run(context: &Context<'_>, flags: &Peek) -> Result<Outcome, Failure> {
    let begin = begin(flags, Utc::now())?;
    let mut reached = reach(context, &flags.which).await?;
    let browse = Browse {
        topic: flags.which.topic.clone(),
        partition: flags.which.partition,
        begin,
        filter: filter(&flags.which),
        limit: flags.limit as usize,
        scan: flags.scan as usize,
        bytes: MAX_BYTES,
    };
    let page = reached.client.browse(&browse).await?;
    let text = match context.format {
        Format::Table => {
            page.records.iter().map(|found| record::lines(found, flags.which.headers, context.screen)).collect()
        }
        Format::Json => document(Format::Json, &page.records.iter().map(record::json_document).collect::<Vec<_>>()),
        Format::Yaml => document(Format::Yaml, &page.records.iter().map(record::yaml_document).collect::<Vec<_>>()),
    };
    write(&text)?;
    for note in notes(&page, &browse) {
        eprintln!("note: {note}");
    }
    Ok(Outcome::wrong_if(!page.unavailable.is_empty()))
}

/// Shows what comes in, until a limit or a signal.
#[expect(clippy::disallowed_methods, reason = "where the command reads the clock; what it draws is given the time")]
pub async fn tail(context: &Context<'_>, flags: &arguments::Tail) -> Result<Outcome, Failure> {
    let mut reached = reach(context, &flags.which).await?;
    let mut tail = reached.client.tail(&flags.which.topic, flags.which.partition).await?;
    eprintln!("note: new records only; stop with Ctrl-C");
    let until = flags.limit_time.map(|limit| Instant::now() + limit.get());
    let mut left = flags.limit.unwrap_or(u64::MAX);
    let filter = filter(&flags.which);
    let mut stop = std::pin::pin!(tokio::signal::ctrl_c());
    while left > 0 {
        let records = tokio::select! {
            polled = poll(&mut reached.client, &mut tail) => polled?,
            _ = &mut stop => break,
            () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => break,
        };
        let mut text = String::new();
        for found in
            records.iter().filter(|record| filter.wants(record)).take(usize::try_from(left).unwrap_or(usize::MAX))
        {
            left -= 1;
            match context.format {
                Format::Table => text.push_str(&record::lines(found, flags.which.headers, context.screen)),
                // One document a line, or one YAML document after another, as they come.
                Format::Json => {
                    text += &serde_json::to_string(&record::json_document(found)).expect("what we report is JSON");
                    text.push('\n');
                }
                Format::Yaml => {
                    text += "---\n";
                    text += &document(Format::Yaml, &record::yaml_document(found));
                }
            }
        }
        write(&text)?;
    }
    Ok(Outcome::Fine)
}

async fn poll(kafka: &mut Kafka, tail: &mut Tail) -> Result<Vec<millrace_stores::kafka::Record>, Failure> {
    Ok(kafka.poll(tail, &TAIL).await?)
}

async fn reach(context: &Context<'_>, which: &Which) -> Result<Reached<Kafka>, Failure> {
    let what = format!("topic '{}'", which.topic);
    let has = |pipeline: &StreamingPipeline| topics_of(pipeline).contains(&which.topic);
    let pipeline = context.cluster.pipeline_with(which.pipeline.as_deref(), &what, has).await?;
    kafka(&context.cluster, &names_of(&pipeline)).await
}

/// Returns the topics of a pipeline: those that it declares, and its own.
fn topics_of(pipeline: &StreamingPipeline) -> Vec<String> {
    let names = Names::new("", pipeline.name_any());
    let dead_letters = pipeline.spec.processor.dead_letter.as_ref().map(|letters| letters.topic.clone());
    let declared = pipeline.spec.kafka.topics.iter().map(|topic| topic.name.clone());
    declared.chain([dead_letters.unwrap_or_else(|| names.dead_letter_topic()), names.cursors_topic()]).collect()
}

fn filter(which: &Which) -> Filter {
    let bytes = |text: &String| text.clone().into_bytes();
    Filter { key: which.key.as_ref().map(bytes), contains: which.contains.as_ref().map(bytes) }
}

fn begin(flags: &Peek, now: DateTime<Utc>) -> Result<Begin, Failure> {
    match (flags.from_offset, flags.from_start, &flags.since) {
        (Some(offset), _, _) => Ok(Begin::Offset(offset)),
        (None, true, _) => Ok(Begin::Start),
        (None, false, Some(text)) => Ok(Begin::Time(since(text, now)?.timestamp_millis())),
        (None, false, None) => Ok(Begin::Newest),
    }
}

fn since(text: &str, now: DateTime<Utc>) -> Result<DateTime<Utc>, Failure> {
    match text.parse::<millrace_terms::Duration>() {
        Ok(age) => Ok(now - age.get()),
        Err(_) => moment(text),
    }
}

/// Reads a day, whose begin in UTC is meant, or a moment.
pub fn moment(text: &str) -> Result<DateTime<Utc>, Failure> {
    if let Ok(day) = text.parse::<NaiveDate>() {
        return Ok(day.and_time(chrono::NaiveTime::MIN).and_utc());
    }
    DateTime::parse_from_rfc3339(text).map(|moment| moment.with_timezone(&Utc)).map_err(|_| {
        Failure::mistake(format!("'{text}' is not a time, such as 2026-01-31T12:00:00Z, or a date, such as 2026-01-31"))
    })
}

/// Says what the records do not show.
fn notes(page: &Page, browse: &Browse) -> Vec<String> {
    let mut notes = Vec::new();
    if page.records.is_empty() && page.complete && page.unavailable.is_empty() {
        notes.push(match page.scanned {
            0 => "there are no records".to_owned(),
            scanned => format!("none of {scanned} records matches"),
        });
    }
    if !page.complete && page.records.len() < browse.limit {
        notes.push(format!("searched only {} records; raise --scan to search more", page.scanned));
    }
    if !page.unavailable.is_empty() {
        let partitions = json!(page.unavailable);
        notes.push(format!("partitions {partitions} could not be read: they have no leader"));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_ages_days_and_moments() {
        let now = moment("2026-01-31T12:00:00Z").expect("a moment");
        let said = |text| since(text, now).map(|moment| moment.to_rfc3339()).map_err(|failure| failure.to_string());
        assert_eq!(said("90m"), Ok("2026-01-31T10:30:00+00:00".to_owned()));
        assert_eq!(said("2026-01-30"), Ok("2026-01-30T00:00:00+00:00".to_owned()));
        assert_eq!(said("2026-01-30T01:00:00+01:00"), Ok("2026-01-30T00:00:00+00:00".to_owned()));
        assert!(said("yesterday").expect_err("not a time").starts_with("'yesterday' is not a time"));
    }

    #[test]
    fn says_when_not_all_was_looked_at() {
        let browse = Browse {
            topic: "t".to_owned(),
            partition: None,
            begin: Begin::Newest,
            filter: Filter::default(),
            limit: 10,
            scan: 100,
            bytes: 1,
        };
        let page = |scanned, complete, unavailable: &[i32]| Page {
            records: Vec::new(),
            scanned,
            complete,
            unavailable: unavailable.to_vec(),
        };
        assert_eq!(notes(&page(0, true, &[]), &browse), ["there are no records"]);
        assert_eq!(notes(&page(7, true, &[]), &browse), ["none of 7 records matches"]);
        assert_eq!(notes(&page(100, false, &[]), &browse), ["searched only 100 records; raise --scan to search more"]);
        assert_eq!(notes(&page(0, true, &[2]), &browse), ["partitions [2] could not be read: they have no leader"]);
    }
}
