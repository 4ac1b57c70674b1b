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

/// All queries, by index and by topic. Topics are in the order of [`millrace_terms::ProcessSettings::topics`], that of the
/// canary behind them.
#[derive(Clone, Debug)]
pub struct Queries {
    all: Vec<Query>,
    /// Name of each topic, the indexes of its queries, and whether its records may become many rows.
    topics: Vec<(String, Vec<usize>, bool)>,
    /// Whether the last query and the last topic are the canary's.
    has_canary: bool,
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
        Self { all, topics, has_canary: false }
    }

    /// Adds what is made of the canary's records, behind all others.
    pub fn with_canary(mut self, query: Query) -> Self {
        self.topics.push((query.topic.clone(), vec![self.all.len()], false));
        self.all.push(query);
        self.has_canary = true;
        self
    }

    /// Returns the queries in order, the canary's included.
    pub fn all(&self) -> &[Query] {
        &self.all
    }

    /// Returns the queries of users in order.
    pub fn of_users(&self) -> &[Query] {
        &self.all[..self.all.len() - usize::from(self.has_canary)]
    }

    /// Returns the indexes of the canary's topic and query. `None`: there is no canary.
    pub fn canary(&self) -> Option<(usize, usize)> {
        self.has_canary.then(|| (self.topics.len() - 1, self.all.len() - 1))
    }

    /// Returns whether a topic is the canary's, whose records nobody counts.
    pub(super) fn is_canary(&self, topic: usize) -> bool {
        self.has_canary && topic + 1 == self.topics.len()
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
