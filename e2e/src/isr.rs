//! What the brokers' own logs say of replicas that are in sync again, and whether the next pod was taken away before that.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use chrono::{DateTime, Utc};
use futures::{AsyncBufReadExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;
use tokio::task::JoinSet;

use crate::audit::Write;

/// How long after the end of a broker's log it is asked for again.
const AGAIN: Duration = Duration::from_millis(200);

/// A partition's replicas in sync, as its leader noted them.
#[derive(Clone, Debug, PartialEq)]
pub struct InSync {
    /// When.
    pub at: DateTime<Utc>,
    /// Topic and number, such as `users-0`.
    pub partition: String,
    /// How many.
    pub replicas: usize,
}

/// Logs of brokers, followed for as long as this lives, whichever pod has the name.
pub struct BrokerLogs {
    noted: Arc<Mutex<Vec<InSync>>>,
    _tasks: JoinSet<()>,
}

impl BrokerLogs {
    /// Follows the logs of the named pods.
    pub fn follow(api: &Api<Pod>, pods: impl IntoIterator<Item = String>) -> Self {
        let noted = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        for pod in pods {
            let (api, noted) = (api.clone(), Arc::clone(&noted));
            tasks.spawn(async move {
                loop {
                    // Ends with the container, and is not there while the next one starts.
                    let _ = read(&api, &pod, &noted).await;
                    tokio::time::sleep(AGAIN).await;
                }
            });
        }
        Self { noted, _tasks: tasks }
    }

    /// Returns what was noted so far.
    pub fn noted(&self) -> Vec<InSync> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn read(api: &Api<Pod>, pod: &str, noted: &Mutex<Vec<InSync>>) -> Result<()> {
    let params = LogParams { follow: true, timestamps: true, ..LogParams::default() };
    let mut lines = api.log_stream(pod, &params).await?.lines();
    while let Some(line) = lines.try_next().await? {
        if let Some(found) = parse(&line) {
            noted.lock().unwrap_or_else(PoisonError::into_inner).push(found);
        }
    }
    Ok(())
}

/// Reads a line with the kubelet's time before it. `None`: it is about something else.
fn parse(line: &str) -> Option<InSync> {
    let (at, said) = line.split_once(' ')?;
    let (_, said) = said.split_once("[Partition ")?;
    let (partition, said) = said.split_once(" broker=")?;
    let (_, said) = said.split_once("] ISR updated to ")?;
    // `1,2 (under-min-isr) and version updated to 7`
    let replicas = said.split(' ').next()?.split(',').filter(|replica| !replica.is_empty()).count();
    Some(InSync { at: at.parse().ok()?, partition: partition.to_owned(), replicas })
}

/// Fails if a store's pod was deleted before every partition had all its replicas in sync again after a broker was. Returns
/// how many brokers were deleted. Every partition has `copies`; `stores` is what the names of the stores' pods begin with.
pub fn ensure_awaited(
    noted: &[InSync],
    writes: &[Write],
    stores: &[String],
    brokers: &str,
    copies: usize,
) -> Result<usize> {
    let pod = |write: &Write| write.what.strip_prefix("pods/").map(str::to_owned);
    let deletions: Vec<(DateTime<Utc>, String)> = writes
        .iter()
        .filter(|write| write.verb == "delete")
        .filter_map(|write| Some((write.at, pod(write)?)))
        .filter(|(_, pod)| stores.iter().any(|store| pod.starts_with(store.as_str())))
        .collect();
    let partitions: BTreeSet<&String> = noted.iter().map(|found| &found.partition).collect();
    ensure!(!partitions.is_empty(), "no broker noted any replica");
    let mut brokers_deleted = 0;
    for (place, (at, deleted)) in deletions.iter().enumerate().filter(|(_, (_, pod))| pod.starts_with(brokers)) {
        brokers_deleted += 1;
        let next = deletions.get(place + 1);
        let by_then = |found: &&InSync| found.at > *at && next.is_none_or(|(next, _)| found.at < *next);
        for partition in &partitions {
            let mut after = noted.iter().filter(by_then).filter(|found| found.partition == **partition);
            let then =
                next.map_or_else(|| "the end".to_owned(), |(next, pod)| format!("'{pod}' was deleted at {next}"));
            ensure!(
                after.any(|found| found.replicas == copies),
                "'{deleted}' was deleted at {at}, and {partition} was not in sync again before {then}"
            );
        }
    }
    Ok(brokers_deleted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(second: u32) -> DateTime<Utc> {
        format!("2026-11-30T12:00:{second:02}Z").parse().expect("a time")
    }

    fn noted(second: u32, partition: &str, replicas: usize) -> InSync {
        InSync { at: moment(second), partition: partition.to_owned(), replicas }
    }

    fn deleted(second: u32, pod: &str) -> Write {
        let (verb, user) = ("delete".to_owned(), String::new());
        Write { at: moment(second), verb, user, pod: String::new(), what: format!("pods/{pod}") }
    }

    #[test]
    fn reads_what_leaders_note() {
        let line = "2026-11-30T12:00:07.5Z 2026-11-30 12:00:07,412 INFO  [Partition users-created-0 broker=1] ISR updated to \
                    1,2,0  and version updated to 47 (kafka.cluster.Partition)";
        let found = parse(line).expect("it is one");
        assert_eq!((found.partition.as_str(), found.replicas), ("users-created-0", 3));
        let few = line.replace("1,2,0 ", "1 (under-min-isr)");
        assert_eq!(parse(&few).expect("it is one").replicas, 1);
        assert_eq!(parse("2026-11-30T12:00:07Z INFO [Partition a-0 broker=1] Expanding ISR from 1,2 to 1,2,0"), None);
    }

    #[test]
    fn a_pod_that_goes_too_early_is_found() {
        let stores = ["users-kafka-".to_owned(), "users-zookeeper-".to_owned()];
        let judge = |noted: &[InSync], writes: &[Write]| ensure_awaited(noted, writes, &stores, "users-kafka-", 3);
        let two = [deleted(10, "users-kafka-0"), deleted(30, "users-zookeeper-1")];
        let good = [noted(15, "a-0", 2), noted(20, "a-0", 3), noted(21, "b-0", 3)];
        assert_eq!(judge(&good, &two).expect("all were awaited"), 1);
        // The controls: one partition comes too late, another never, and silence proves nothing.
        let late = [noted(20, "a-0", 3), noted(31, "b-0", 3)];
        assert!(judge(&late, &two).is_err_and(|error| error.to_string().contains("b-0 was not in sync again")));
        assert!(judge(&good[..1], &two[..1]).is_err());
        assert!(judge(&[], &two).is_err());
        // Pods of others do not count.
        assert_eq!(judge(&good, &[deleted(10, "users-kafka-0"), deleted(12, "users-processor-x")]).expect("fine"), 1);
    }
}
