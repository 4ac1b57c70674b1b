//! An `IngestionRun` → what the API says of it.

use kube::ResourceExt;
use millrace_api::IngestionRun;
use millrace_api::crd::run::{BACKFILL_LABEL, REQUESTED_BY};

use super::moment;
use crate::api::runs::{Attempt, Run, TopicRange};

/// Returns a run.
pub fn run(resource: &IngestionRun) -> Run {
    let status = resource.status.clone().unwrap_or_default();
    let spec = &resource.spec;
    let name = resource.name_any();
    let namespace = resource.namespace().unwrap_or_default();
    Run {
        source: spec.source.clone(),
        phase: status.phase.map(|phase| phase.as_str().to_owned()),
        message: status.message,
        requested_by: resource.annotations().get(REQUESTED_BY).cloned(),
        backfill: resource.labels().get(BACKFILL_LABEL).cloned(),
        scheduled: spec.scheduled_time.as_ref().map(moment),
        created: resource.creation_timestamp().as_ref().map(moment).unwrap_or_default(),
        started: status.start_time.as_ref().map(moment),
        ended: status.completion_time.as_ref().map(moment),
        next_attempt: status.next_attempt_time.as_ref().map(moment),
        cancelling: spec.cancel && status.phase.is_none_or(|phase| !phase.is_final()),
        params: spec.params.clone(),
        max_records: spec.max_records,
        duration: spec.duration.clone(),
        records_read: status.records_read,
        records_produced: status.records_produced,
        records_rejected: status.records_rejected,
        bytes: status.bytes,
        topic: status.topic,
        topic_ranges: status
            .topic_ranges
            .iter()
            .map(|range| TopicRange {
                partition: range.partition,
                first_offset: range.first_offset,
                last_offset: range.last_offset,
            })
            .collect(),
        topic_ranges_incomplete: status.topic_ranges_incomplete,
        trace_id: status.trace_id,
        attempts: status
            .attempts
            .iter()
            .map(|attempt| Attempt {
                number: attempt.number,
                started: moment(&attempt.start_time),
                ended: attempt.end_time.as_ref().map(moment),
                pod: attempt.pod.clone(),
                error: attempt.error.clone(),
                records_read: attempt.records_read,
                records_produced: attempt.records_produced,
                records_rejected: attempt.records_rejected,
            })
            .collect(),
        kubectl: format!("kubectl get irun {name} -n {namespace} -o yaml"),
        name,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_run_that_nobody_has_counted_has_unknown_counts() {
        let resource = json!({"apiVersion": "millrace.dev/v1alpha1", "kind": "IngestionRun",
            "metadata": {"name": "a", "namespace": "shop", "annotations": {"millrace.dev/requested-by": "ann"}},
            "spec": {"pipeline": "users", "source": "orders", "cancel": true},
            "status": {"phase": "Running", "attempts": [{"number": 1, "startTime": "2026-01-01T00:00:00Z"}]}});
        let run = run(&serde_json::from_value(resource).expect("a run"));
        assert_eq!((run.records_produced, run.attempts[0].records_read), (None, None));
        assert_eq!((run.requested_by.as_deref(), run.phase.as_deref()), (Some("ann"), Some("Running")));
        assert!(run.cancelling);
    }
}
