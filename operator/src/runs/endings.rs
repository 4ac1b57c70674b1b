//! What pods of runs said last. A pod that is deleted, as by a cancelled run, is gone moments after it has ended; its
//! last words come by the watch and are kept here until the run is accounted for.
//!
//! Lost with the process: then the result of such an attempt is unknown, and the status says so.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use millrace_api::IngestionRun;
use millrace_api::crd::time::moment_of;
use millrace_terms::RunCounts;

use crate::labels::{ATTEMPT_LABEL, RUN_UID};

/// Attempts that are remembered at most: far more than end at once.
const MOST: usize = 10_000;

/// A pod of an attempt.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodSeen {
    /// Its name.
    pub name: String,
    /// How its container ended. Absent: it has not.
    pub ended: Option<Termination>,
    /// What it waits for, such as an image. Absent: nothing is known.
    pub waits_for: Option<String>,
    /// Where it answers. Absent: nowhere, since it does not run.
    pub address: Option<IpAddr>,
    /// What it has counted so far. Absent: it was not asked, or did not answer.
    pub counts: Option<RunCounts>,
}

/// How a container ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Termination {
    /// Its exit code.
    pub exit_code: i32,
    /// Kubernetes' word for it, such as OOMKilled.
    pub reason: String,
    /// What it said last.
    pub message: String,
    /// When. Absent: Kubernetes does not say.
    pub finished_at: Option<DateTime<Utc>>,
}

/// The pods of a run by the number of their attempt.
pub type Pods = BTreeMap<u32, PodSeen>;

/// Remembers pods that have ended; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Endings(Arc<Mutex<BTreeMap<String, Pods>>>);

impl Endings {
    /// Remembers a pod if it has ended.
    pub fn note(&self, pod: &Pod) {
        let Some((uid, number)) = attempt_of(pod) else { return };
        let seen = seen(pod);
        if seen.ended.is_none() {
            return;
        }
        let mut runs = self.lock();
        if runs.len() < MOST || runs.contains_key(&uid) {
            runs.entry(uid).or_default().insert(number, seen);
        }
    }

    /// Returns what is remembered of a run's pods.
    pub fn of(&self, run: &IngestionRun) -> Pods {
        self.lock().get(&run.uid().unwrap_or_default()).cloned().unwrap_or_default()
    }

    /// Forgets a run.
    pub fn forget(&self, run: &IngestionRun) {
        self.lock().remove(&run.uid().unwrap_or_default());
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Pods>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the UID of the run that a pod is of, and the number of the attempt.
pub fn attempt_of(pod: &Pod) -> Option<(String, u32)> {
    let uid = pod.annotations().get(RUN_UID)?;
    Some((uid.clone(), pod.labels().get(ATTEMPT_LABEL)?.parse().ok()?))
}

/// Returns what a pod says of itself.
pub fn seen(pod: &Pod) -> PodSeen {
    let container = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref()?.first());
    let state = container.and_then(|container| container.state.as_ref());
    let waiting = state.and_then(|state| state.waiting.as_ref()).and_then(|waiting| {
        let reason = waiting.reason.clone().filter(|reason| reason != "ContainerCreating")?;
        Some(waiting.message.as_ref().map_or(reason.clone(), |message| format!("{reason}: {message}")))
    });
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let unscheduled = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
    let unscheduled = unscheduled.and_then(|condition| condition.message.clone());
    let ended = state.and_then(|state| state.terminated.as_ref()).map(|ended| Termination {
        exit_code: ended.exit_code,
        reason: ended.reason.clone().unwrap_or_default(),
        message: ended.message.clone().unwrap_or_default(),
        finished_at: ended.finished_at.as_ref().map(moment_of),
    });
    let runs = state.is_some_and(|state| state.running.is_some());
    let address = pod.status.as_ref().and_then(|status| status.pod_ip.as_ref()?.parse().ok()).filter(|_| runs);
    PodSeen { name: pod.name_any(), ended, waits_for: waiting.or(unscheduled), address, counts: None }
}
