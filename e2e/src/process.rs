//! Signals to the real processes inside containers, sent on their node: nothing in the pod helps or notices.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use crate::Cluster;

/// What happens to the container's processes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Signal {
    /// The main process is killed on the spot, and the container with it.
    Kill,
    /// Every process stands still: connections stay open, and nobody answers.
    Stop,
    /// Every process goes on.
    Continue,
}

/// Prints the processes of the container `$1`: the number on the node, then its number in the container.
const PROCESSES: &str = r#"for file in $(grep -ls "$1" /proc/[0-9]*/cgroup); do
  sed -n 's/^NSpid:[[:space:]]*//p' "${file%/cgroup}/status" 2>/dev/null
done; true"#;

/// Sends a signal to the processes of a pod's only container.
pub async fn signal(cluster: &Cluster, pod: &Pod, signal: Signal) -> Result<()> {
    let (node, container) = place(pod)?;
    let listed = cluster.on_node(&node, PROCESSES, &[&container]).await?;
    let processes = parse(&listed);
    let chosen: Vec<&str> = match signal {
        Signal::Kill => processes.iter().filter(|process| process.main).map(|process| process.number).collect(),
        Signal::Stop | Signal::Continue => processes.iter().map(|process| process.number).collect(),
    };
    ensure!(!chosen.is_empty(), "no process of container {container} runs on {node}: {listed}");
    let name = match signal {
        Signal::Kill => "-KILL",
        Signal::Stop => "-STOP",
        Signal::Continue => "-CONT",
    };
    // A probe's process may have ended meanwhile.
    let tolerated = if signal == Signal::Kill { "kill $1 $2" } else { "kill $1 $2 2>/dev/null; true" };
    cluster.on_node(&node, &tolerated.replace("$2", &chosen.join(" ")), &[name]).await.map(|_| ())
}

/// Returns the node of a pod and the number, there, of its only container's main process.
pub async fn main_process(cluster: &Cluster, pod: &Pod) -> Result<(String, String)> {
    let (node, container) = place(pod)?;
    let listed = cluster.on_node(&node, PROCESSES, &[&container]).await?;
    let main = parse(&listed).into_iter().find(|process| process.main).map(|process| process.number.to_owned());
    let main = main.with_context(|| format!("no main process of container {container} runs on {node}: {listed}"))?;
    Ok((node, main))
}

struct Process<'a> {
    number: &'a str,
    main: bool,
}

fn parse(listed: &str) -> Vec<Process<'_>> {
    listed
        .lines()
        .filter_map(|line| {
            let mut numbers = line.split_whitespace();
            let number = numbers.next()?;
            Some(Process { number, main: numbers.next_back() == Some("1") })
        })
        .collect()
}

fn place(pod: &Pod) -> Result<(String, String)> {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
    let status = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref()?.first());
    let id = status.and_then(|status| status.container_id.as_ref()?.rsplit_once('/').map(|(_, id)| id.to_owned()));
    node.zip(id).with_context(|| format!("pod '{}' has no running container", pod.name_any()))
}

/// Returns how often a pod's container was started again.
pub fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.iter().filter_map(|status| status.container_statuses.as_ref()).flatten();
    statuses.map(|status| status.restart_count).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_main_process() {
        let listed = parse("4242\t4242\t1\n4300\t4300\t57\n");
        let found: Vec<(&str, bool)> = listed.iter().map(|process| (process.number, process.main)).collect();
        assert_eq!(found, [("4242", true), ("4300", false)]);
    }
}
