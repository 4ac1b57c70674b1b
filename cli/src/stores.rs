//! Kafka and Cassandra of a pipeline, reached through port-forwards to their pods.

use std::collections::BTreeMap;
use std::net::IpAddr;

use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use millrace_api::labels::pod_selector;
use millrace_api::names::{Component, Names};
use millrace_api::pods::{address, is_running, ordinal};
use millrace_api::ports;
use millrace_stores::cassandra::{NodeSession, open_at};
use millrace_stores::kafka::Kafka;
use millrace_stores::reach::Reach;

use crate::Failure;
use crate::cluster::Cluster;
use crate::forward::{Forward, forward};

/// A client, and the port-forwards that it needs for as long as it lives.
pub struct Reached<T> {
    /// The client.
    pub client: T,
    _forwards: Vec<Forward>,
}

/// Reaches the brokers that run.
pub async fn kafka(cluster: &Cluster, names: &Names) -> Result<Reached<Kafka>, Failure> {
    let api: Api<Pod> = cluster.api();
    let pods = running(&api, names, Component::Kafka).await?;
    let opened =
        join_all(pods.iter().map(|(pod, _)| async {
            Some((ordinal(pod)?, forward(&api, &pod.name_any(), ports::KAFKA.number, 0).await))
        }));
    let mut addresses = BTreeMap::new();
    let mut forwards = Vec::new();
    let mut last = None;
    for (broker, opened) in opened.await.into_iter().flatten() {
        match opened {
            Ok(forward) => {
                addresses.insert(broker, forward.address);
                forwards.push(forward);
            }
            Err(failure) => last = Some(failure),
        }
    }
    match (addresses.is_empty(), last) {
        (false, _) => Ok(Reached { client: Kafka::new(&Reach::at(addresses)), _forwards: forwards }),
        (true, Some(failure)) => Err(failure),
        (true, None) => Err(nothing_runs(names, Component::Kafka)),
    }
}

/// Opens a session with the first Cassandra node that answers.
pub async fn cassandra(cluster: &Cluster, names: &Names) -> Result<Reached<NodeSession>, Failure> {
    let api: Api<Pod> = cluster.api();
    let mut last = nothing_runs(names, Component::Cassandra);
    for (pod, address) in running(&api, names, Component::Cassandra).await? {
        let forward = match forward(&api, &pod.name_any(), ports::CASSANDRA_CQL.number, 0).await {
            Ok(forward) => forward,
            Err(failure) => {
                last = failure;
                continue;
            }
        };
        match open_at(forward.address, address).await {
            Ok(client) => return Ok(Reached { client, _forwards: vec![forward] }),
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}

fn nothing_runs(names: &Names, component: Component) -> Failure {
    Failure::away(format!(
        "no pod of {component} of pipeline '{}' runs: it has not started, or the store is external and is read with its own \
         tools",
        names.pipeline()
    ))
}

/// Returns a component's running pods with their addresses, by name.
async fn running(api: &Api<Pod>, names: &Names, component: Component) -> Result<Vec<(Pod, IpAddr)>, Failure> {
    let selected = ListParams::default().labels(&pod_selector(names, component));
    let listed = api.list(&selected).await.map_err(Failure::asking("list pods"))?;
    let with_address = |pod: Pod| address(&pod).map(|address| (pod, address));
    let mut pods: Vec<(Pod, IpAddr)> = listed.into_iter().filter(is_running).filter_map(with_address).collect();
    pods.sort_by_key(|(pod, _)| pod.name_any());
    Ok(pods)
}
