//! The queries as the road needs them: what is made of a record, and whose records each of them takes.
//!
//! Several queries may read one topic: its records are done with when all of them are.

use std::ops::Index;

use millrace_terms::QuerySettings;

use crate::decode::{CompileSql, Decoder, Table};

/// A query.
#[derive(Clone, Debug)]
pub struct Query {
    /// Its name.
    pub name: String,
    /// Topic that it consumes.
    pub topic: String,
    /// What it makes of records.
    pub decoder: Decoder,
    /// Write timestamp of offset 0, in microseconds since the Unix epoch.
    pub write_timestamp_base: i64,
}

impl Query {
    /// Takes over a query from the settings.
    pub fn new(settings: &QuerySettings) -> Result<Self, CompileSql> {
        Ok(Self {
            name: settings.name.clone(),
            topic: settings.from.clone(),
            decoder: Decoder::new(settings)?,
            write_timestamp_base: settings.write_timestamp_base,
        })
    }

    /// Returns the table that it fills.
    pub fn table(&self) -> &Table {
        self.decoder.table()
    }
}

/// All queries, by index and by topic. Topics are in the order of [`millrace_terms::ProcessSettings::topics`].
#[derive(Clone, Debug)]
pub struct Queries {
    all: Vec<Query>,
    /// Name of each topic, the indexes of its queries, and whether its records may become many rows.
    topics: Vec<(String, Vec<usize>, bool)>,
}

impl Queries {
    /// Sorts queries by their topics.
    pub fn new(all: Vec<Query>) -> Self {
        let mut topics: Vec<(String, Vec<usize>, bool)> = Vec::new();
        for (index, query) in all.iter().enumerate() {
            let multiplies = query.decoder.multiplies();
            match topics.iter_mut().find(|(topic, ..)| *topic == query.topic) {
                Some((_, readers, many)) => {
                    readers.push(index);
                    *many |= multiplies;
                }
                None => topics.push((query.topic.clone(), vec![index], multiplies)),
            }
        }
        Self { all, topics }
    }

    /// Returns the queries in order.
    pub fn all(&self) -> &[Query] {
        &self.all
    }

    /// Returns the names of the topics.
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        self.topics.iter().map(|(topic, ..)| topic.as_str())
    }

    /// Returns the indexes of the queries that read a topic.
    pub(super) fn of_topic(&self, topic: usize) -> impl Iterator<Item = usize> {
        self.topics[topic].1.iter().copied()
    }

    /// Returns whether a topic's records may become many rows.
    pub(super) fn multiplies(&self, topic: usize) -> bool {
        self.topics[topic].2
    }
}

impl Index<usize> for Queries {
    type Output = Query;

    fn index(&self, query: usize) -> &Query {
        &self.all[query]
    }
}
