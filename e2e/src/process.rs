//! Signals to the real processes inside containers, sent on their node: nothing in the pod helps or notices.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::api::ListParams;
use kube::{Api, ResourceExt};

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

impl Signal {
    /// Returns the flag of `kill`.
    fn flag(self) -> &'static str {
        match self {
            Self::Kill => "-KILL",
            Self::Stop => "-STOP",
            Self::Continue => "-CONT",
        }
    }
}

/// Sends a signal to every API server of this machine, whatever its number by now.
const TO_API_SERVER: &str = r#"for process in /proc/[0-9]*; do
  [ "$(cat "$process/comm" 2>/dev/null)" != kube-apiserver ] || kill "$1" "${process#/proc/}"
done"#;

/// Clock ticks of a second, as Linux counts a process's time for everybody.
const TICKS: f64 = 100.0;

/// Prints the line of times of process `$1`, and its sizes.
const USAGE: &str = r#"cat "/proc/$1/stat"; grep -E "^(VmRSS|RssAnon|VmHWM):" "/proc/$1/status""#;

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
    // A probe's process may have ended meanwhile.
    let tolerated = if signal == Signal::Kill { "kill $1 $2" } else { "kill $1 $2 2>/dev/null; true" };
    cluster.on_node(&node, &tolerated.replace("$2", &chosen.join(" ")), &[signal.flag()]).await.map(|_| ())
}

/// Returns the node of a pod and the number, there, of its only container's main process.
pub async fn main_process(cluster: &Cluster, pod: &Pod) -> Result<(String, String)> {
    let (node, container) = place(pod)?;
    let listed = cluster.on_node(&node, PROCESSES, &[&container]).await?;
    let main = parse(&listed).into_iter().find(|process| process.main).map(|process| process.number.to_owned());
    let main = main.with_context(|| format!("no main process of container {container} runs on {node}: {listed}"))?;
    Ok((node, main))
}

/// The node that the API server runs on; found while it answers.
pub struct ControlPlane {
    cluster: Cluster,
    node: String,
}

impl ControlPlane {
    /// Finds it.
    pub async fn find(cluster: &Cluster) -> Result<Self> {
        let api: Api<Node> = Api::all(cluster.client.clone());
        let chosen = ListParams::default().labels("node-role.kubernetes.io/control-plane");
        let nodes = api.list(&chosen).await.context("cannot list the nodes")?.items;
        let node = nodes.first().context("no node has the role of the control plane")?.name_any();
        Ok(Self { cluster: cluster.clone(), node })
    }

    /// Sends the API server a signal.
    pub async fn signal(&self, signal: Signal) -> Result<()> {
        self.cluster.on_node(&self.node, TO_API_SERVER, &[signal.flag()]).await.map(|_| ())
    }
}

/// What a process has used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usage {
    /// Processor time since its begin, in seconds.
    pub cpu: f64,
    /// Resident memory, in MiB.
    pub resident: f64,
    /// What of it is no page of a file, in MiB: those of the program come and go with the node's cache.
    pub anonymous: f64,
    /// The most that was resident, in MiB.
    pub peak: f64,
}

/// Returns what the main process of a pod's only container has used.
pub async fn usage(cluster: &Cluster, pod: &Pod) -> Result<Usage> {
    let (node, process) = main_process(cluster, pod).await?;
    let told = cluster.on_node(&node, USAGE, &[&process]).await?;
    parse_usage(&told).with_context(|| format!("process {process} of {node} tells nothing of itself: {told}"))
}

fn parse_usage(told: &str) -> Option<Usage> {
    // The name, in brackets, may have spaces; user and system time are the 12th and 13th word after it.
    let times: Vec<&str> = told.lines().next()?.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |place: usize| times.get(place)?.parse::<f64>().ok();
    let size = |name: &str| {
        let line = told.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.split_whitespace().next()?.parse::<f64>().ok()? / 1024.0)
    };
    Some(Usage {
        cpu: (ticks(11)? + ticks(12)?) / TICKS,
        resident: size("VmRSS:")?,
        anonymous: size("RssAnon:")?,
        peak: size("VmHWM:")?,
    })
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

/// UID and restarts of pods by name: equal to those of before where no pod was replaced and no container started again.
pub type Lives = BTreeMap<String, (Option<String>, i32)>;

/// Returns the lives of pods.
pub fn lives(pods: &[Pod]) -> Lives {
    pods.iter().map(|pod| (pod.name_any(), (pod.uid(), restarts(pod)))).collect()
}

/// Returns when a process of a pod last ended. The kubelet may start it again much later: after several ends in a row,
/// minutes.
pub fn last_end(pod: &Pod) -> Option<Timestamp> {
    let statuses = pod.status.iter().filter_map(|status| status.container_statuses.as_ref()).flatten();
    let states = statuses.flat_map(|status| [&status.state, &status.last_state]).flatten();
    states.filter_map(|state| Some(state.terminated.as_ref()?.finished_at.as_ref()?.0)).max()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_what_a_process_has_used() {
        let told = "7 (a b) S 1 7 7 0 -1 4194560 1 0 0 0 150 50 0 0 20 0\nVmHWM:\t  4096 kB\nVmRSS:\t  2048 kB\nRssAnon:\t  1024 kB\n";
        assert_eq!(parse_usage(told), Some(Usage { cpu: 2.0, resident: 2.0, anonymous: 1.0, peak: 4.0 }));
        assert_eq!(parse_usage("7 (a) S 1"), None);
    }

    #[test]
    fn finds_the_main_process() {
        let listed = parse("4242\t4242\t1\n4300\t4300\t57\n");
        let found: Vec<(&str, bool)> = listed.iter().map(|process| (process.number, process.main)).collect();
        assert_eq!(found, [("4242", true), ("4300", false)]);
    }

    #[test]
    fn the_last_end_is_seen_before_the_next_start() {
        let pod = |status: serde_json::Value| {
            serde_json::from_value::<Pod>(json!({"status": {"containerStatuses": [status]}}))
        };
        let at = |moment: &str| json!({"terminated": {"exitCode": 1, "finishedAt": moment}});
        let running = pod(json!({"name": "operator", "image": "", "imageID": "", "ready": true, "restartCount": 3,
            "state": {"running": {}}, "lastState": at("2026-11-30T07:00:00Z")}));
        let waits = pod(json!({"name": "operator", "image": "", "imageID": "", "ready": false, "restartCount": 3,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": at("2026-11-30T07:20:00Z")}));
        let ended = pod(json!({"name": "operator", "image": "", "imageID": "", "ready": false, "restartCount": 3,
            "state": at("2026-11-30T07:20:00Z"), "lastState": at("2026-11-30T07:00:00Z")}));
        let [running, waits, ended] = [running, waits, ended].map(Result::unwrap);
        assert!(last_end(&Pod::default()) < last_end(&running) && last_end(&running) < last_end(&waits));
        assert_eq!(last_end(&waits), last_end(&ended));
    }
}
