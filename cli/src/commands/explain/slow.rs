//! Facts → whether records wait for long, and what makes the processors faster. Pure.

use chrono::TimeDelta;

use super::explanation::{Evidence, Kind, Verdict};
use super::facts::Behind;
use super::fixes::{Fix, Names};
use super::look::{Finding, Look, MOST};
use crate::screen::span;

/// How long the oldest record waits where the processors are behind. In every pipeline that flows, records wait for a
/// moment; a minute is longer than a batch, a retry or a rebalance takes.
const BEHIND_AFTER: std::time::Duration = std::time::Duration::from_secs(60);

impl Look<'_> {
    /// Returns that records wait for long.
    pub(super) fn slow(&self) -> Option<Finding> {
        let behind: Vec<&Behind> = self.facts.behind.iter().filter(|behind| behind.waited >= BEHIND_AFTER).collect();
        let worst = *behind.first()?;
        let records: i64 = self.facts.behind.iter().map(|behind| behind.records).sum();
        let evidence = behind.iter().take(MOST).map(|behind| Evidence {
            kind: Kind::Topic,
            object: format!("{} partition {}", behind.topic, behind.partition),
            reason: String::new(),
            time: None,
            message: format!("{} records wait, the oldest for {}", behind.records, span(behind.waited)),
        });
        Some(Finding {
            verdict: Verdict::Slow,
            cause: format!("the processors are behind: {records} records wait, the oldest for {}", span(worst.waited)),
            since: TimeDelta::from_std(worst.waited).ok().map(|waited| self.facts.now - waited),
            evidence: evidence.collect(),
            fix: Some(self.faster(&behind)),
        })
    }

    /// Returns what makes the processors faster: more of them help only where there are partitions for them.
    fn faster(&self, behind: &[&Behind]) -> Fix {
        let topics = self.status.kafka.iter().flat_map(|kafka| &kafka.topics);
        let partitions_of = |name: &str| topics.clone().find(|topic| topic.name == name).map(|topic| topic.partitions);
        let partitions = behind.iter().filter_map(|behind| partitions_of(&behind.topic)).max().unwrap_or_default();
        let Names { namespace, pipeline } = self.names();
        if let ([only], 2..) = (behind, partitions) {
            return Fix {
                text: "one partition alone is behind: all records of one key go to one partition, which more processors do not \
                       change; find that key"
                    .to_owned(),
                command: Some(format!(
                    "millrace peek {} -n {namespace} --pipeline {pipeline} --partition {}",
                    only.topic, only.partition
                )),
            };
        }
        let scaling = self.status.scaling();
        if let Some(scaling) = scaling.filter(|_| self.facts.is_scaled) {
            return Fix {
                text: format!("the operator sets the number of processors by the load: {}", scaling.message),
                command: Some(format!("kubectl describe -n {namespace} spl/{pipeline}")),
            };
        }
        let recommended = scaling.map_or(self.facts.processors * 2, |scaling| scaling.recommended);
        let wanted = recommended.min(partitions);
        if wanted > self.facts.processors {
            return Fix {
                text: format!("run more processors; up to {partitions} have a partition to read"),
                command: Some(format!("kubectl scale -n {namespace} spl/{pipeline} --replicas={wanted}")),
            };
        }
        Fix {
            text: "there is a processor for each partition: check in the console whether they wait for Cassandra or are busy \
                   themselves, and give that one more CPU; more partitions serve new records only"
                .to_owned(),
            command: Some("millrace console".to_owned()),
        }
    }
}
