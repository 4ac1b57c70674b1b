//! One attempt of a run: a Job that is never restarted, and its settings. Both are the run's and go with it.

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{Resource, ResourceExt};
use millrace_api::names::{self, Component};
use millrace_api::params::rfc3339;
use millrace_api::pipeline::{Claim, claim_of};
use millrace_api::ports::WORKER_HTTP;
use millrace_api::{IngestionRun, Pipeline, Run};
use millrace_terms::{ProduceSettings, RunSettings};

use crate::labels::{ATTEMPT_LABEL, RUN_LABEL, RUN_UID};
use crate::objects::scope::{Administration, Scope, files};
use crate::workers::objects::{Worker, produce_settings, worker_template, yaml};

/// Where Kubernetes looks for what a container says last.
const TERMINATION_MESSAGE: &str = "/dev/termination-log";

/// How long an attempt's pod may wait for a node and an image, and drain, beside its timeout.
const SLACK_SECONDS: i64 = 180;

/// What one attempt needs.
#[derive(Clone, Debug, PartialEq)]
pub struct AttemptObjects {
    /// Its settings.
    pub config_map: ConfigMap,
    /// Its pod's owner.
    pub job: Job,
}

/// Returns the objects of an attempt.
pub fn attempt(
    pipeline: &Pipeline,
    administration: &Administration,
    resource: &IngestionRun,
    run: &Run,
    number: u32,
) -> AttemptObjects {
    let scope = Scope { pipeline, component: Component::Run, administration };
    let name = names::attempt(&resource.name_any(), number);
    let files = files([("produce.yaml", yaml(&settings(&scope, resource, run, number)))]);
    let claims: Vec<Claim> = claim_of(&run.source).into_iter().collect();
    let worker = Worker {
        settings: name.clone(),
        command: ["worker", "produce", "--settings", "/settings/produce.yaml"],
        resources: &pipeline.producer.resources,
        secrets: &run.secrets,
        claims: &claims,
        ports: &[WORKER_HTTP],
        files: &files,
    };
    let metadata = metadata(&scope, resource, &name, number);
    let mut template = worker_template(&scope, &worker);
    let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
    labels.extend(metadata.labels.clone().unwrap_or_default());
    let annotations = template.metadata.get_or_insert_default().annotations.get_or_insert_default();
    annotations.extend(metadata.annotations.clone().unwrap_or_default());
    if let Some(spec) = &mut template.spec {
        spec.restart_policy = Some("Never".to_owned());
        for container in &mut spec.containers {
            container.termination_message_path = Some(TERMINATION_MESSAGE.to_owned());
        }
    }
    let deadline = i64::try_from(run.timeout.get().as_secs()).unwrap_or(i64::MAX).saturating_add(SLACK_SECONDS);
    AttemptObjects {
        config_map: ConfigMap {
            metadata: metadata.clone(),
            data: Some(files),
            immutable: Some(true),
            ..ConfigMap::default()
        },
        job: Job {
            metadata,
            spec: Some(JobSpec {
                // A failed attempt is accounted for, and followed by another Job.
                backoff_limit: Some(0),
                active_deadline_seconds: Some(deadline),
                completions: Some(1),
                parallelism: Some(1),
                template,
                ..JobSpec::default()
            }),
            status: None,
        },
    }
}

fn settings(scope: &Scope<'_>, resource: &IngestionRun, run: &Run, number: u32) -> ProduceSettings {
    let has_cursor = run.source.origin.has_cursor();
    ProduceSettings {
        sources: vec![run.source.clone()],
        replicas: 1,
        cursors_topic: has_cursor.then(|| scope.pipeline.kafka.prefix.cursors_topic()),
        push_port: None,
        run: Some(RunSettings {
            name: resource.name_any(),
            attempt: number,
            time: rfc3339(run.time),
            max_records: run.max_records,
            duration: run.duration,
            timeout: run.timeout,
            trace_parent: trace_parent(resource, number),
            result: TERMINATION_MESSAGE.into(),
        }),
        ..produce_settings(scope)
    }
}

/// Returns the W3C trace id of a run: its UID, which is as long and as unique.
pub fn trace_id(resource: &IngestionRun) -> String {
    resource.uid().unwrap_or_default().replace('-', "")
}

/// Returns the W3C trace context of an attempt, which is a span of its own.
fn trace_parent(resource: &IngestionRun, number: u32) -> String {
    format!("00-{}-{number:016x}-01", trace_id(resource))
}

fn metadata(scope: &Scope<'_>, resource: &IngestionRun, name: &str, number: u32) -> ObjectMeta {
    let mut labels = scope.labels();
    labels.insert(RUN_LABEL.to_owned(), resource.name_any());
    labels.insert(ATTEMPT_LABEL.to_owned(), number.to_string());
    let owner = OwnerReference {
        api_version: IngestionRun::api_version(&()).into_owned(),
        kind: IngestionRun::kind(&()).into_owned(),
        name: resource.name_any(),
        uid: resource.uid().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(false),
    };
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(scope.pipeline.names.namespace().to_owned()),
        labels: Some(labels),
        annotations: Some([(RUN_UID.to_owned(), resource.uid().unwrap_or_default())].into()),
        owner_references: Some(vec![owner]),
        ..ObjectMeta::default()
    }
}
