//! A network cut: packets between a pod and some addresses are dropped in both directions, in the pod's own network on
//! its node. Connections stay open and nobody answers, as with a broken switch; nothing in the pod helps or notices.

use std::net::IpAddr;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use crate::Cluster;
use crate::process::main_process;

/// Runs iptables in the network of process `$1`: `$2` is `-I` or `-D`, the rest are addresses. A rule that is gone, or
/// a process that has ended and taken its network with it, needs no mending.
const DROP: &str = r#"pid=$1 verb=$2; shift 2
for address; do
  nsenter --target "$pid" --net iptables -w "$verb" OUTPUT -d "$address" -j DROP || [ "$verb" = -D ] || exit 1
  nsenter --target "$pid" --net iptables -w "$verb" INPUT -s "$address" -j DROP || [ "$verb" = -D ] || exit 1
done"#;

/// Cuts a pod off from addresses until [`mend`] is called or the pod is gone.
pub async fn cut(cluster: &Cluster, pod: &Pod, from: &[IpAddr]) -> Result<()> {
    drop_packets(cluster, pod, "-I", from).await.with_context(|| format!("cannot cut '{}' off", pod.name_any()))
}

/// Lets packets through again. `pod` is read anew by then: its container may be another.
pub async fn mend(cluster: &Cluster, pod: &Pod, from: &[IpAddr]) -> Result<()> {
    drop_packets(cluster, pod, "-D", from).await.with_context(|| format!("cannot mend '{}'", pod.name_any()))
}

async fn drop_packets(cluster: &Cluster, pod: &Pod, verb: &str, addresses: &[IpAddr]) -> Result<()> {
    let (node, process) = main_process(cluster, pod).await?;
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let mut arguments = vec![process.as_str(), verb];
    arguments.extend(addresses.iter().map(String::as_str));
    cluster.on_node(&node, DROP, &arguments).await.map(|_| ())
}
