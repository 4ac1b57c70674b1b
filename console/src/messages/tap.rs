//! The newest records of a topic, about once a second: read once, however many viewers look.
//!
//! Bounded: of a topic that is faster than that, records are skipped and counted. A tap ends with its last viewer.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millrace_api::names::Names;
use millrace_stores::kafka::{AskKafka, Bounds, Kafka, Record};
use millrace_stores::reach::Reach;
use tokio::sync::broadcast;
use tokio::time::{MissedTickBehavior, timeout};

use crate::cluster::Cluster;
use crate::refusal::chain;

/// From one look to the next.
const EVERY: Duration = Duration::from_secs(1);
/// Most records of one look, over all partitions.
const MOST_RECORDS: i64 = 400;
/// Most bytes of one look.
const MOST_BYTES: usize = 1 << 20;
/// How long a broker waits before it says that there is nothing; what is asked for is there.
const WAIT: Duration = Duration::from_millis(100);
/// Longest that one look may take.
const LONGEST: Duration = Duration::from_secs(10);
/// Looks that a slow viewer may be behind.
const BEHIND: usize = 4;

/// What came since the last look.
#[derive(Debug, Default)]
pub struct Look {
    /// The newest records, newest first.
    pub records: Vec<Record>,
    /// Records that came and were not read.
    pub skipped: u64,
}

/// A look, or why there is none: the causes, outermost first.
pub type Seen = Result<Arc<Look>, Arc<Vec<String>>>;

type Key = (Names, String);

/// All taps.
#[derive(Clone, Default)]
pub struct Taps {
    open: Arc<Mutex<HashMap<Key, broadcast::Sender<Seen>>>>,
}

impl Taps {
    /// Follows a topic from now on.
    pub fn follow(&self, cluster: &Cluster, names: &Names, topic: &str) -> broadcast::Receiver<Seen> {
        let key = (names.clone(), topic.to_owned());
        let mut open = self.lock();
        if let Some(sender) = open.get(&key) {
            return sender.subscribe();
        }
        let (sender, receiver) = broadcast::channel(BEHIND);
        open.insert(key.clone(), sender.clone());
        drop(open);
        tokio::spawn(self.clone().run(cluster.clone(), key, sender));
        receiver
    }

    async fn run(self, cluster: Cluster, key: Key, sender: broadcast::Sender<Seen>) {
        let (names, topic) = &key;
        let mut rhythm = tokio::time::interval(EVERY);
        rhythm.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut brokers = Reach::default();
        let mut kafka = Kafka::new(&brokers);
        let mut positions: Option<BTreeMap<i32, i64>> = None;
        loop {
            rhythm.tick().await;
            {
                // A viewer who begins to follow holds this lock, so that nobody subscribes to a tap that ends.
                let mut open = self.lock();
                if sender.receiver_count() == 0 {
                    open.remove(&key);
                    return;
                }
            }
            let now = cluster.brokers(names);
            if now != brokers {
                brokers = now;
                kafka = Kafka::new(&brokers);
            }
            let seen = timeout(LONGEST, look(&mut kafka, topic, &mut positions)).await;
            let seen = match seen {
                Ok(Ok(look)) => Ok(Arc::new(look)),
                Ok(Err(error)) => Err(Arc::new(chain(&error))),
                Err(_) => Err(Arc::new(vec!["Kafka does not answer in time".to_owned()])),
            };
            if seen.is_err() {
                kafka = Kafka::new(&brokers);
            }
            // It fails when the last viewer has just gone, which the next turn sees.
            let _ = sender.send(seen);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, broadcast::Sender<Seen>>> {
        self.open.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Reads what came since the last look; the first one only learns where the topic ends.
async fn look(kafka: &mut Kafka, topic: &str, positions: &mut Option<BTreeMap<i32, i64>>) -> Result<Look, AskKafka> {
    let bounds = kafka.log_bounds(topic).await?;
    let ends: BTreeMap<i32, i64> = bounds.into_iter().map(|(index, (_, end))| (index, end)).collect();
    let Some(before) = positions else {
        *positions = Some(ends);
        return Ok(Look::default());
    };
    let (wanted, skipped) = wanted(before, &ends);
    let fetched = kafka.fetch(topic, &wanted, &Bounds { bytes: MOST_BYTES, wait: WAIT }).await?;
    let mut look = Look { records: Vec::new(), skipped };
    for (index, fetched) in fetched {
        before.insert(index, fetched.next);
        look.records.extend(fetched.records);
    }
    look.records.sort_by_key(|record| std::cmp::Reverse((record.time, record.partition, record.offset)));
    Ok(look)
}

/// Returns from where each partition that has more is read, and how many records are skipped for it.
fn wanted(before: &BTreeMap<i32, i64>, ends: &BTreeMap<i32, i64>) -> (BTreeMap<i32, i64>, u64) {
    let share = (MOST_RECORDS / i64::try_from(ends.len().max(1)).unwrap_or(i64::MAX)).max(1);
    let mut wanted = BTreeMap::new();
    let mut skipped = 0;
    for (index, end) in ends {
        // A partition that was added since is new from its beginning.
        let position = before.get(index).copied().unwrap_or(0);
        if position < *end {
            let from = position.max(end - share);
            skipped += u64::try_from(from - position).unwrap_or_default();
            wanted.insert(*index, from);
        }
    }
    (wanted, skipped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_new_and_skips_what_is_too_much() {
        let before = BTreeMap::from([(0, 10), (1, 10), (2, 10), (3, 10)]);
        let ends = BTreeMap::from([(0, 15), (1, 1_010), (2, 10), (3, 5)]);
        let (wanted, skipped) = wanted(&before, &ends);
        assert_eq!(wanted, BTreeMap::from([(0, 10), (1, 910)]));
        assert_eq!(skipped, 900);
    }

    #[test]
    fn a_partition_that_was_added_is_read_from_its_beginning() {
        let (wanted, skipped) = wanted(&BTreeMap::new(), &BTreeMap::from([(7, 3)]));
        assert_eq!((wanted, skipped), (BTreeMap::from([(7, 0)]), 0));
    }
}
