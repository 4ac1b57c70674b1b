//! Poison among good records, sent by the test itself, which therefore knows where each one stands; and what the
//! dead-letter topic has of it.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use bytes::Bytes;
use millrace_e2e::kafka::KafkaClient;
use millrace_e2e::spec::{Spec, TOPIC};
use millrace_profile::profile;
use serde_json::json;

/// Records of one request.
const BATCH: u64 = 500;
/// Partitions that the records are spread over.
const PARTITIONS: u64 = 3;

/// Where a record stands: partition and offset.
pub type Position = (i32, i64);

/// Why a record cannot be written, by the reason's name in its header.
pub type Reasons = BTreeMap<Position, &'static str>;

/// Sends `good` people of a seed with every `each`th followed by poison; returns where the poison stands.
pub async fn send(kafka: &mut KafkaClient, seed: u64, good: u64, each: u64) -> Result<Reasons> {
    let mut reasons = Reasons::new();
    for (number, first) in (0..good).step_by(BATCH as usize).enumerate() {
        let mut records = Vec::new();
        let mut poison = Vec::new();
        for index in first..(first + BATCH).min(good) {
            let person = profile(seed, index);
            records.push((Bytes::from(person.id.clone()), Bytes::from(serde_json::to_vec(&person)?)));
            if index % each == 0 {
                let (reason, value) = poisoned(index / each, &person.id);
                poison.push((records.len() as i64, reason));
                records.push((Bytes::from(person.id), Bytes::from(value)));
            }
        }
        let partition = (number as u64 % PARTITIONS) as i32;
        let base = kafka.produce(partition, &records).await?;
        reasons.extend(poison.into_iter().map(|(place, reason)| ((partition, base + place), reason)));
    }
    Ok(reasons)
}

/// Returns a record that can never become a row, of one kind after the other.
fn poisoned(number: u64, id: &str) -> (&'static str, String) {
    match number % 6 {
        0 => ("NotJson", "{\"id\": \"half a rec".to_owned()),
        1 => ("NotJson", "\u{1}\u{2}\u{3}".to_owned()),
        2 => ("BadValue", json!({"id": id, "first_name": 12}).to_string()),
        3 => ("BadValue", json!({"id": id, "dob": "the day before yesterday"}).to_string()),
        4 => ("MissingKey", json!({"first_name": "Nobody"}).to_string()),
        _ => ("UnknownField", json!({"id": id, "shoe_size": 43}).to_string()),
    }
}

/// How the dead-letter topic differs from the poison that was sent.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Letters {
    /// Letters in the topic.
    pub count: usize,
    /// Poison without a letter.
    pub missing: usize,
    /// Letters for what was no poison, or with another reason.
    pub wrong: usize,
    /// Letters beyond the first for one record.
    pub again: usize,
}

impl Letters {
    /// Returns whether there is exactly one right letter for each poison record.
    pub fn is_exact(&self, poison: usize) -> bool {
        *self == Self { count: poison, ..Self::default() }
    }
}

/// Compares the dead-letter topic with the poison that was sent, by the headers of the letters.
pub async fn letters(kafka: &mut KafkaClient, poison: &Reasons) -> Result<Letters> {
    let mut missing = poison.clone();
    let mut letters = Letters::default();
    for letter in kafka.read(&Spec::dead_letters()).await? {
        let header =
            |name: &str| letter.headers.get(&format!("millrace-dead-letter-{name}")).cloned().unwrap_or_default();
        let number =
            |name: &str| header(name).parse::<i64>().with_context(|| format!("a letter's {name} is no number"));
        let position = (number("partition")? as i32, number("offset")?);
        letters.count += 1;
        let right = header("topic") == TOPIC && poison.get(&position).is_some_and(|reason| header("reason") == *reason);
        match (right, missing.remove(&position)) {
            (true, Some(_)) => {}
            (true, None) => letters.again += 1,
            (false, _) => letters.wrong += 1,
        }
    }
    letters.missing = missing.len();
    Ok(letters)
}
