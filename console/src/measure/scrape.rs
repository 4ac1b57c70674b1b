//! Asks workers for their metrics and brokers for offsets. The only part of measuring that touches the network.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use millrace_api::ports::WORKER_HTTP;
use millrace_stores::kafka::Kafka;
use tokio::time::timeout;

use super::rates::Answer;
use super::reading::{Reading, read};
use super::values::Offsets;
use crate::cluster::Worker;
use crate::refusal::chain;

/// Longest that a worker may take: shorter than the time between samples.
const WORKER_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest that Kafka may take for one topic.
const KAFKA_TIMEOUT: Duration = Duration::from_secs(4);
/// Largest answer that is read. Metrics are the largest: a worker of 32 sources writes less than a tenth of it.
const LARGEST: usize = 1 << 20;

/// Makes the client for workers. It follows no redirects: it is told addresses of pods, and asks nothing else.
pub fn client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .timeout(WORKER_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .pool_idle_timeout(Duration::from_secs(30))
        .no_proxy()
        .build()
}

/// Asks all workers at once.
pub async fn workers(client: &reqwest::Client, workers: &[Worker]) -> Vec<Answer> {
    let asked: Vec<_> = workers.iter().cloned().map(|worker| ask(client.clone(), worker)).collect();
    join_all(asked).await
}

async fn ask(client: reqwest::Client, worker: Worker) -> Answer {
    let reading = one(&client, worker.address).await;
    let Worker { name, uid, component, address: _, started } = worker;
    Answer { pod: name, uid, component, started, reading }
}

async fn one(client: &reqwest::Client, address: IpAddr) -> Result<Reading, String> {
    let text = ask_for(client, address, "/metrics").await?;
    read(&text).ok_or_else(|| "what it tells are no worker's metrics".to_owned())
}

/// Asks a worker for what it tells under a path, or says why it does not.
pub async fn ask_for(client: &reqwest::Client, address: IpAddr, path: &str) -> Result<String, String> {
    let said = |error: reqwest::Error| chain(&error.without_url()).join(": ");
    let address = SocketAddr::new(address, WORKER_HTTP.number);
    let response = client.get(format!("http://{address}{path}")).send().await.map_err(said)?;
    let response = response.error_for_status().map_err(said)?;
    let mut chunks = response.bytes_stream();
    let mut text = Vec::new();
    while let Some(chunk) = chunks.next().await {
        text.extend_from_slice(&chunk.map_err(said)?);
        if text.len() > LARGEST {
            return Err(format!("its answer is longer than {LARGEST} bytes"));
        }
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Asks the brokers for the offsets of topics and of the group that reads them.
pub async fn offsets(kafka: &mut Kafka, group: &str, topics: &[String]) -> Result<Vec<Offsets>, String> {
    let mut found = Vec::new();
    for topic in topics {
        let asked = timeout(KAFKA_TIMEOUT, kafka.lag_by_partition(group, topic)).await;
        let asked = asked.map_err(|_| "Kafka does not answer in time".to_owned())?;
        let lags = asked.map_err(|error| chain(&error).join(": "))?;
        found.extend(lags.into_iter().map(|lag| Offsets { topic: topic.clone(), lag }));
    }
    Ok(found)
}
