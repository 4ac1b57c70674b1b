//! Dead letters: the newest, with their reasons and the records they were.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, Query};
use tokio::time::timeout;

use super::messages::{kafka_of, permitted, refusal};
use super::redrive;
use crate::api::letters::{DeadLetter, DeadLetters, Query as Written, ReasonCount, Redrive};
use crate::api::messages::Message;
use crate::messages::cursor::{Cursor, Direction};
use crate::messages::filter::Filter;
use crate::messages::search::{SearchTopic, Wanted, search};
use crate::refusal::Refusal;
use crate::view::graph::dead_letter_topic;
use crate::viewer::Viewer;

/// Letters of one answer where nobody says how many.
const DEFAULT_LIMIT: u32 = 100;
/// Most letters of one answer.
const MOST: u32 = 500;
/// Longest that Kafka may take.
const LONGEST: std::time::Duration = std::time::Duration::from_secs(20);

/// Header with the stable name of the reason; this and those below are the worker's own, a test holds them together.
const REASON: &str = "millrace-dead-letter-reason";
const MESSAGE: &str = "millrace-dead-letter-message";
const TOPIC: &str = "millrace-dead-letter-topic";
const PARTITION: &str = "millrace-dead-letter-partition";
const OFFSET: &str = "millrace-dead-letter-offset";
const QUERY: &str = "millrace-dead-letter-query";

/// Shows the newest dead letters.
pub async fn letters(
    viewer: Viewer,
    Path((namespace, name)): Path<(String, String)>,
    Query(written): Query<Written>,
) -> Result<Json<DeadLetters>, Refusal> {
    let limit = written.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MOST).contains(&limit) {
        return Err(Refusal::field("limit", format!("it must be from 1 to {MOST}")));
    }
    let (names, resource) = viewer.pipeline(&namespace, &name).await?;
    let topic = dead_letter_topic(&resource, &names);
    let (_, masking) = permitted(&viewer, &namespace, &name, &topic, "letters").await?;
    viewer.count_search()?;
    let filter = Filter::default();
    let wanted = Wanted { topic: &topic, filter: &filter, masking: &masking, limit: limit as usize };
    let read = timeout(LONGEST, async {
        let _turn = viewer.app.searches.acquire().await;
        let mut kafka = kafka_of(&viewer, &names);
        let logs = kafka.log_bounds(&topic).await.map_err(|error| refusal(&SearchTopic::Ask { source: error }))?;
        let total = (!logs.is_empty()).then(|| logs.values().map(|(start, end)| end - start).sum::<i64>());
        let page = search(&mut kafka, wanted, Cursor::new(Direction::Back, logs)).await;
        Ok::<_, Refusal>((page.map_err(|error| refusal(&error))?, total))
    })
    .await;
    let (page, total) = read.map_err(|_| {
        let causes = vec![format!("no answer within {} s", LONGEST.as_secs())];
        Refusal::Unavailable { message: "Kafka does not answer".to_owned(), causes }
    })??;
    let more = page.cursor.is_some();
    let letters: Vec<DeadLetter> = page.messages.into_iter().map(letter).collect();
    let reasons = counted(&letters);
    let counting = |reason: &ReasonCount| Redrive { reason: Some(reason.reason.clone()), again: false, dry_run: true };
    let redrive =
        reasons.iter().map(|reason| redrive::kubectl(&names, &redrive::arguments(&counting(reason)))).collect();
    let kubectl = redrive::kubectl(&names, &["count".to_owned()]);
    Ok(Json(DeadLetters { topic, total, reasons, letters, more, redrive, kubectl }))
}

fn letter(record: Message) -> DeadLetter {
    let header = |name: &str| {
        let header = record.headers.iter().rfind(|header| header.name == name)?;
        header.value.as_ref().map(|value| value.text.clone())
    };
    DeadLetter {
        reason: header(REASON).unwrap_or_else(|| "Unknown".to_owned()),
        message: header(MESSAGE),
        query: header(QUERY),
        topic: header(TOPIC),
        partition: header(PARTITION).and_then(|text| text.parse().ok()),
        offset: header(OFFSET).and_then(|text| text.parse().ok()),
        timestamp: record.timestamp,
        record,
    }
}

fn counted(letters: &[DeadLetter]) -> Vec<ReasonCount> {
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for letter in letters {
        *counts.entry(&letter.reason).or_default() += 1;
    }
    let mut reasons: Vec<ReasonCount> =
        counts.into_iter().map(|(reason, count)| ReasonCount { reason: reason.to_owned(), count }).collect();
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.count));
    reasons
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use millrace_stores::kafka::Record;
    use millrace_worker::process::dead_letter;

    use super::*;
    use crate::messages::render::{Masking, render};

    fn message(headers: &[(&str, &'static str)]) -> Message {
        let headers =
            headers.iter().map(|(name, value)| ((*name).to_owned(), Some(Bytes::from_static(value.as_bytes()))));
        let record =
            Record { partition: 0, offset: 3, time: Some(0), key: None, value: None, headers: headers.collect() };
        render(&record, &Masking::default())
    }

    #[test]
    fn names_of_headers_are_those_that_the_worker_writes() {
        assert_eq!(REASON, dead_letter::REASON);
        assert_eq!(MESSAGE, dead_letter::MESSAGE);
        assert_eq!(TOPIC, dead_letter::TOPIC);
        assert_eq!(PARTITION, dead_letter::PARTITION);
        assert_eq!(OFFSET, dead_letter::OFFSET);
        assert_eq!(QUERY, dead_letter::QUERY);
    }

    #[test]
    fn a_letter_says_where_it_came_from_as_far_as_it_knows() {
        let whole = letter(message(&[(REASON, "NotJson"), (TOPIC, "users"), (PARTITION, "2"), (OFFSET, "17")]));
        assert_eq!((whole.reason.as_str(), whole.partition, whole.offset), ("NotJson", Some(2), Some(17)));
        let bare = letter(message(&[(OFFSET, "many")]));
        assert_eq!((bare.reason.as_str(), bare.topic, bare.offset), ("Unknown", None, None));
    }

    #[test]
    fn reasons_are_counted_most_first() {
        let letters = ["A", "B", "B"].map(|reason| letter(message(&[(REASON, reason)])));
        let reasons: Vec<(String, u32)> =
            counted(&letters).into_iter().map(|reason| (reason.reason, reason.count)).collect();
        assert_eq!(reasons, [("B".to_owned(), 2), ("A".to_owned(), 1)]);
    }
}
