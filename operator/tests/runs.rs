//! Runs in a simulated world: what the planner asks for is done, pods end as the test says, and the operator may forget
//! everything but what it wrote.

#![expect(clippy::disallowed_methods, reason = "tests read fixtures and the clock")]

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use millrace_api::crd::RunPhase;
use millrace_api::crd::run::{BACKFILL_LABEL, IngestionRunStatus, MAX_ACTIVE};
use millrace_api::{IngestionRun, StreamingPipeline};
use millrace_operator::key::OperatorKey;
use millrace_operator::objects::scope::Administration;
use millrace_operator::runs::endings::{PodSeen, Termination};
use millrace_operator::runs::observe::RunWorld;
use millrace_operator::runs::plan::{RunPlan, plan};
use millrace_operator::runs::progress::RunAct;
use millrace_stores::permitted::Permitted;
use millrace_terms::{ProduceSettings, RunCounts, RunOutcome, RunResult};
use serde_json::{Value, json};

fn administration() -> Administration {
    Administration {
        worker_image: "worker:1".to_owned(),
        allowed_source_hosts: Vec::new(),
        operator_namespace: "millrace-system".to_owned(),
        allowed_stores: Permitted::default(),
        image_pull_secrets: Vec::new(),
        worker_env: BTreeMap::new(),
        key: OperatorKey::of([7; 32]),
    }
}

fn condition(name: &str, status: &str) -> Condition {
    Condition {
        type_: name.to_owned(),
        status: status.to_owned(),
        reason: "Because".to_owned(),
        message: "of the test".to_owned(),
        observed_generation: Some(1),
        last_transition_time: Time(Timestamp::UNIX_EPOCH),
    }
}

fn pipeline(source: Value) -> StreamingPipeline {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/one.yaml");
    let text = std::fs::read_to_string(path).expect("the fixture is there");
    let mut resource: Value = serde_yaml::from_str(&text).expect("the fixture is YAML");
    let topic = resource["spec"]["producer"]["sources"][0]["topic"].clone();
    let mut wanted = json!({"name": "orders", "topic": topic, "key": "id", "fields": {"id": "record.id"}});
    wanted.as_object_mut().expect("an object").extend(source.as_object().cloned().unwrap_or_default());
    resource["spec"]["producer"]["sources"] = json!([wanted]);
    resource["metadata"]["uid"] = json!("11111111-2222-3333-4444-555555555555");
    let mut pipeline: StreamingPipeline = serde_json::from_value(resource).expect("a pipeline");
    pipeline.status.get_or_insert_default().conditions = vec![condition("TopicsReady", "True")];
    pipeline
}

fn http() -> Value {
    json!({
        "http": {"url": "https://example.com/${params.day}"},
        "params": [{"name": "day"}],
        "schedule": {},
    })
}

fn run(name: &str, spec: Value) -> IngestionRun {
    let mut wanted = json!({"pipeline": "one", "source": "orders", "params": {"day": "monday"}});
    wanted.as_object_mut().expect("an object").extend(spec.as_object().cloned().unwrap_or_default());
    let uid = format!("aaaaaaaa-bbbb-cccc-dddd-{:0>12}", name.len());
    serde_json::from_value(json!({
        "apiVersion": "millrace.dev/v1alpha1", "kind": "IngestionRun", "spec": wanted,
        "metadata": {
            "name": name, "namespace": "demo", "uid": uid, "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
    }))
    .expect("a run")
}

struct World {
    world: RunWorld,
    acts: Vec<String>,
}

impl World {
    fn new(source: Value, spec: Value) -> Self {
        let pipeline = pipeline(source);
        let mut resource = run("again", spec);
        resource.spec.pipeline = pipeline.name_any();
        resource.metadata.namespace = pipeline.namespace();
        let world = RunWorld {
            now: "2026-01-01T00:00:00Z".parse().expect("a moment"),
            siblings: vec![resource.clone()],
            resource,
            pipeline: Some(pipeline),
            jobs: BTreeMap::new(),
            pods: BTreeMap::new(),
        };
        Self { world, acts: Vec::new() }
    }

    /// Plans a pass, carries it out and writes the status; returns the plan.
    fn pass(&mut self) -> RunPlan {
        let plan = plan(&self.world, &administration());
        for act in &plan.acts {
            self.carry_out(act);
        }
        self.world.resource.status = Some(plan.status.clone());
        let own = self.world.resource.clone();
        self.world.siblings.retain(|run| run.uid() != own.uid());
        self.world.siblings.push(own);
        plan
    }

    fn carry_out(&mut self, act: &RunAct) {
        match act {
            RunAct::Adopt(owner) => {
                self.acts.push("adopt".to_owned());
                self.world.resource.metadata.owner_references = Some(vec![owner.clone()]);
            }
            RunAct::Begin(objects) => {
                let mut job = objects.job.clone();
                let number = u32::try_from(self.world.jobs.len() + 1).expect("few");
                assert_eq!(job.name_any(), format!("again-{number}"));
                job.metadata.creation_timestamp = Some(time(self.world.now));
                job.metadata.uid = Some(format!("job-{number}"));
                self.acts.push(format!("begin {number}"));
                self.world.jobs.insert(number, job);
                self.world.pods.insert(number, PodSeen { name: format!("again-{number}-x"), ..PodSeen::default() });
            }
            RunAct::Stop { job, uid } => {
                self.acts.push(format!("stop {job} {uid}"));
                let number = self.last();
                self.job(number).metadata.deletion_timestamp = Some(time(self.world.now));
            }
        }
    }

    fn suspend(&mut self, suspend: bool) {
        self.world.pipeline.as_mut().expect("it is there").spec.suspend = suspend;
    }

    fn last(&self) -> u32 {
        self.world.jobs.keys().next_back().copied().expect("a Job")
    }

    fn job(&mut self, number: u32) -> &mut Job {
        self.world.jobs.get_mut(&number).expect("the Job")
    }

    /// Lets the last attempt's pod end with these last words.
    fn end(&mut self, exit_code: i32, message: impl Into<String>) {
        self.wait(10);
        let ended = Termination {
            exit_code,
            reason: if exit_code == 0 { "Completed" } else { "Error" }.to_owned(),
            message: message.into(),
            finished_at: Some(self.world.now),
        };
        let number = self.last();
        self.world.pods.get_mut(&number).expect("the pod").ended = Some(ended);
    }

    fn wait(&mut self, seconds: i64) {
        self.world.now += TimeDelta::seconds(seconds);
    }

    fn status(&self) -> &IngestionRunStatus {
        self.world.resource.status.as_ref().expect("a status")
    }

    fn reason(&self) -> String {
        let complete = self.status().conditions.iter().find(|condition| condition.type_ == "Complete");
        complete.map(|complete| complete.reason.clone()).unwrap_or_default()
    }
}

fn time(moment: DateTime<Utc>) -> Time {
    Time(Timestamp::from_second(moment.timestamp()).expect("a moment"))
}

fn result(outcome: RunOutcome, produced: u64, ranges: &[(i32, i64, i64)]) -> String {
    let error = (outcome != RunOutcome::Succeeded).then(|| "'example.com' answers 503".to_owned());
    let counts = RunCounts { read: produced + 1, produced, rejected: 1, bytes: produced * 10 };
    let result = RunResult { outcome, error, counts, ranges: ranges.to_vec(), ranges_incomplete: false };
    serde_json::to_string(&result).expect("JSON")
}

#[test]
fn a_source_that_fails_twice_and_then_works_is_one_run_of_three_attempts() {
    let mut world = World::new(http(), json!({"retries": {"limit": 3, "delay": "30s", "maxDelay": "40s"}}));
    world.pass();
    assert_eq!(world.pass().status.phase, Some(RunPhase::Running));
    assert_eq!(world.status().records_produced, None, "unknown is not zero");
    world.end(1, result(RunOutcome::Failed, 0, &[]));
    let plan = world.pass();
    assert_eq!((plan.status.phase, world.reason().as_str()), (Some(RunPhase::Pending), "WaitingToRetry"));
    assert_eq!(plan.wait.map(|wait| wait.as_secs()), Some(30));
    world.wait(29);
    assert_eq!(world.pass().acts, []);
    world.wait(1);
    world.pass();
    world.pass();
    world.end(1, result(RunOutcome::Failed, 4, &[(0, 10, 12), (1, 7, 7)]));
    world.pass();
    world.wait(40);
    world.pass();
    world.pass();
    world.end(0, result(RunOutcome::Succeeded, 5, &[(0, 13, 16), (2, 0, 0)]));
    let plan = world.pass();
    assert_eq!(plan.wait, None);

    let status = world.status();
    assert_eq!(status.phase, Some(RunPhase::Succeeded));
    assert_eq!(world.acts, ["adopt", "begin 1", "begin 2", "begin 3"]);
    assert_eq!(status.attempt_count, Some(3));
    let of_attempts: Vec<_> =
        status.attempts.iter().map(|attempt| (attempt.error.as_deref(), attempt.records_produced)).collect();
    let failed = Some("'example.com' answers 503");
    assert_eq!(of_attempts, [(failed, Some(0)), (failed, Some(4)), (None, Some(5))]);
    assert_eq!((status.records_read, status.records_produced, status.records_rejected), (Some(12), Some(9), Some(3)));
    assert_eq!(status.bytes, Some(90));
    let ranges: Vec<_> =
        status.topic_ranges.iter().map(|range| (range.partition, range.first_offset, range.last_offset)).collect();
    assert_eq!(ranges, [(0, 10, 16), (1, 7, 7), (2, 0, 0)]);
    assert_eq!(status.duration.as_deref(), Some("1m40s"));
    assert!(status.conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True"));
}

#[test]
fn an_attempt_is_counted_while_it_goes_on() {
    let mut world = World::new(http(), json!({"retries": {"limit": 1, "delay": "0s", "maxDelay": "0s"}}));
    world.pass();
    world.pass();
    let counted = |world: &World| (world.status().records_read, world.status().records_produced, world.status().bytes);
    assert_eq!(counted(&world), (None, None, None), "nobody has counted yet");
    let counts = |produced| Some(RunCounts { read: produced + 2, produced, rejected: 1, bytes: produced * 10 });
    let count = |world: &mut World, counts| {
        let number = world.last();
        world.world.pods.get_mut(&number).expect("the pod").counts = counts;
        world.pass();
    };
    count(&mut world, counts(7));
    assert_eq!(counted(&world), (Some(9), Some(7), Some(70)));
    count(&mut world, None);
    assert_eq!(counted(&world), (Some(9), Some(7), Some(70)), "as it was last known");
    // What it says at its end counts, and the next attempt adds to it.
    world.end(1, result(RunOutcome::Failed, 8, &[]));
    world.pass();
    world.pass();
    assert_eq!(counted(&world), (Some(9), Some(8), Some(80)));
    count(&mut world, counts(3));
    assert_eq!(counted(&world), (Some(14), Some(11), Some(110)));
    // One that is killed has said nothing at its end: what was counted is not the truth.
    world.end(137, "");
    world.pass();
    assert_eq!(counted(&world), (None, None, None));
}

#[test]
fn a_source_that_never_works_fails_the_run_with_the_true_cause() {
    let mut world = World::new(http(), json!({"retries": {"limit": 1, "delay": "0s", "maxDelay": "0s"}}));
    for _ in 0..2 {
        world.pass();
        world.pass();
        world.end(1, result(RunOutcome::Failed, 0, &[]));
    }
    world.pass();
    assert_eq!((world.status().phase, world.reason().as_str()), (Some(RunPhase::Failed), "AttemptsFailed"));
    let message = world.status().message.clone().unwrap_or_default();
    assert_eq!(message, "2 attempts have failed; the last one: 'example.com' answers 503");
    assert_eq!(world.acts, ["adopt", "begin 1", "begin 2"]);
}

#[test]
fn what_no_attempt_can_mend_is_not_repeated() {
    let mut world = World::new(http(), json!({}));
    world.pass();
    world.end(2, result(RunOutcome::Rejected, 0, &[]));
    world.pass();
    assert_eq!((world.status().phase, world.reason().as_str()), (Some(RunPhase::Failed), "Rejected"));
    assert_eq!(world.acts, ["adopt", "begin 1"]);
}

#[test]
fn a_param_that_is_wrong_fails_the_run_before_anything_is_fetched() {
    let mut world = World::new(http(), json!({"params": {"dya": "monday"}}));
    world.pass();
    let message = world.status().message.clone().unwrap_or_default();
    assert_eq!(
        message,
        "spec.params.dya: the source declares no such param; it has day; spec.params.day: the param has no default; \
         give it a value"
    );
    assert_eq!((world.status().phase, world.acts.len()), (Some(RunPhase::Failed), 0));
    assert_eq!(world.status().attempt_count, Some(0));
    // Control: with the right name it runs.
    let mut right = World::new(http(), json!({}));
    right.pass();
    assert_eq!(right.acts, ["adopt", "begin 1"]);
}

#[test]
fn a_killed_container_and_a_vanished_job_leave_counts_unknown() {
    let mut world = World::new(http(), json!({"retries": {"limit": 5, "delay": "0s", "maxDelay": "0s"}}));
    world.pass();
    world.pass();
    world.end(137, "last line of the log");
    world.pass();
    world.pass();
    assert_eq!(world.status().records_produced, None);
    let error = world.status().attempts[0].error.clone().unwrap_or_default();
    assert_eq!(error, "the worker exited with code 137 (Error): last line of the log");
    let number = world.last();
    world.world.jobs.remove(&number);
    world.world.pods.remove(&number);
    // Forgotten, but for the status.
    world.world.jobs.clear();
    world.world.pods.clear();
    world.wait(1);
    let plan = plan(&world.world, &administration());
    let error = plan.status.attempts[1].error.clone().unwrap_or_default();
    assert_eq!(error, "its Job was deleted, and its result is unknown");
    assert!(matches!(plan.acts.as_slice(), [RunAct::Begin(objects)] if objects.job.name_any() == "again-3"));
}

#[test]
fn a_job_that_never_got_a_pod_says_what_it_waited_for() {
    let mut world = World::new(http(), json!({"retries": {"limit": 0}}));
    world.pass();
    world.world.pods.get_mut(&1).expect("the pod").waits_for = Some("ImagePullBackOff: no such image".to_owned());
    world.pass();
    assert_eq!(world.status().message.as_deref(), Some("attempt 1 waits: ImagePullBackOff: no such image"));
    let failed = JobCondition {
        type_: "Failed".to_owned(),
        status: "True".to_owned(),
        reason: Some("DeadlineExceeded".to_owned()),
        message: Some("Job was active longer than specified deadline".to_owned()),
        ..JobCondition::default()
    };
    world.job(1).status = Some(JobStatus { conditions: Some(vec![failed]), ..JobStatus::default() });
    world.pass();
    let message = world.status().message.clone().unwrap_or_default();
    assert_eq!(
        message,
        "DeadlineExceeded: Job was active longer than specified deadline; its pod waited for ImagePullBackOff: no such image"
    );
}

#[test]
fn a_cancelled_run_drains_and_keeps_what_its_pod_said_last() {
    let mut world = World::new(http(), json!({}));
    world.pass();
    world.pass();
    world.world.resource.spec.cancel = true;
    world.pass();
    world.pass();
    assert_eq!(world.acts, ["adopt", "begin 1", "stop again-1 job-1"], "stopped once");
    assert_eq!(world.status().phase, Some(RunPhase::Running), "it drains");
    world.end(1, result(RunOutcome::Stopped, 7, &[(0, 1, 7)]));
    world.world.jobs.clear();
    world.pass();
    assert_eq!((world.status().phase, world.status().records_produced), (Some(RunPhase::Cancelled), Some(7)));
    let mut early = World::new(http(), json!({"cancel": true}));
    early.pass();
    assert_eq!((early.status().phase, early.acts.len()), (Some(RunPhase::Cancelled), 0));
}

#[test]
fn a_run_waits_for_its_pipeline_and_says_so() {
    let mut world = World::new(http(), json!({}));
    let pipeline = world.world.pipeline.take();
    world.pass();
    assert_eq!((world.status().phase, world.reason().as_str()), (Some(RunPhase::Pending), "PipelineNotFound"));
    world.world.pipeline = pipeline.map(|mut pipeline| {
        pipeline.status.get_or_insert_default().conditions = vec![condition("TopicsReady", "False")];
        pipeline
    });
    world.pass();
    assert_eq!(world.reason(), "PipelineNotReady");
    assert_eq!(world.acts.len(), 0);
}

#[test]
fn a_run_of_a_suspended_pipeline_begins_no_attempt_until_it_is_resumed() {
    let mut world = World::new(http(), json!({"retries": {"limit": 3, "delay": "30s"}}));
    world.suspend(true);
    world.pass();
    assert_eq!((world.status().phase, world.reason().as_str()), (Some(RunPhase::Pending), "Suspended"));
    assert_eq!(world.acts.len(), 0);
    world.suspend(false);
    world.pass();
    assert_eq!(world.acts.last().map(String::as_str), Some("begin 1"));

    // One that is under way goes on, and no other follows it.
    world.suspend(true);
    world.pass();
    assert_eq!(world.status().phase, Some(RunPhase::Running));
    world.end(1, result(RunOutcome::Failed, 0, &[]));
    world.wait(60);
    assert_eq!((world.pass().acts, world.reason().as_str()), (vec![], "Suspended"));
    world.suspend(false);
    world.pass();
    assert_eq!(world.acts.last().map(String::as_str), Some("begin 2"));
}

#[test]
fn a_backfill_never_runs_more_at_once_than_it_may_and_none_is_left_behind() {
    let mut base = World::new(http(), json!({}));
    base.pass();
    let template = World::new(http(), json!({})).world;
    let group: Vec<IngestionRun> = (0..7)
        .map(|index| {
            let mut run = template.resource.clone();
            run.metadata.name = Some(format!("fill-{index}"));
            run.metadata.uid = Some(format!("uid-{index}"));
            run.metadata.labels = Some([(BACKFILL_LABEL.to_owned(), "fill".to_owned())].into());
            run.metadata.annotations = Some([(MAX_ACTIVE.to_owned(), "2".to_owned())].into());
            run
        })
        .collect();
    let mut runs: BTreeMap<String, IngestionRun> = group.into_iter().map(|run| (run.name_any(), run)).collect();
    let mut finished = 0;
    for _ in 0..100 {
        // Everyone looks at the same moment, before anyone has written.
        let seen: Vec<IngestionRun> = runs.values().cloned().collect();
        let plans: Vec<(String, RunPlan)> = seen
            .iter()
            .filter(|run| run.status.as_ref().and_then(|status| status.phase) != Some(RunPhase::Succeeded))
            .map(|run| {
                let world = RunWorld { resource: run.clone(), siblings: seen.clone(), ..template.clone() };
                (run.name_any(), plan(&world, &administration()))
            })
            .collect();
        let begun: Vec<&String> = plans
            .iter()
            .filter(|(_, plan)| plan.acts.iter().any(|act| matches!(act, RunAct::Begin(_))))
            .map(|(name, _)| name)
            .collect();
        assert!(begun.len() <= 2, "{begun:?}");
        if let Some(first) = begun.first() {
            let run = runs.get_mut(*first).expect("it is there");
            run.status.get_or_insert_default().phase = Some(RunPhase::Succeeded);
            finished += 1;
        }
    }
    assert_eq!(finished, 7);
}

#[test]
fn runs_of_a_source_with_one_position_come_one_after_the_other() {
    let files = json!({"files": {"claimName": "in", "path": "*.csv", "format": "CSV"}, "schedule": {}});
    let mut world = World::new(files.clone(), json!({"params": {}}));
    let mut other = world.world.resource.clone();
    other.metadata.name = Some("a-first".to_owned());
    other.metadata.uid = Some("other".to_owned());
    other.status = Some(IngestionRunStatus { phase: Some(RunPhase::Running), ..IngestionRunStatus::default() });
    world.world.siblings.push(other);
    world.pass();
    assert_eq!(world.reason(), "SourceInUse");
    for run in &mut world.world.siblings {
        run.status.get_or_insert_default().phase = Some(RunPhase::Succeeded);
    }
    world.world.resource.status = None;
    world.pass();
    assert_eq!(world.acts, ["adopt", "begin 1"]);
}

#[test]
fn the_attempt_is_a_restricted_job_with_the_settings_of_its_run() {
    let mut world = World::new(
        json!({
            "http": {"url": "https://example.com", "headers": [
                {"name": "Authorization", "valueFrom": {"secretKeyRef": {"name": "token", "key": "a"}}}
            ]},
            "schedule": {},
        }),
        json!({"params": {}, "maxRecords": 5, "timeout": "10m", "scheduledTime": "2026-01-02T03:04:00Z"}),
    );
    let plan = world.pass();
    let Some(RunAct::Begin(objects)) = plan.acts.last() else { panic!("no attempt") };
    let spec = objects.job.spec.as_ref().expect("a spec");
    assert_eq!((spec.backoff_limit, spec.active_deadline_seconds), (Some(0), Some(780)));
    let pod = spec.template.spec.as_ref().expect("a pod");
    assert_eq!(pod.restart_policy.as_deref(), Some("Never"));
    assert_eq!(pod.automount_service_account_token, Some(false));
    assert_eq!(pod.security_context.as_ref().and_then(|context| context.run_as_non_root), Some(true));
    let container = &pod.containers[0];
    assert_eq!(container.termination_message_path.as_deref(), Some("/dev/termination-log"));
    let volumes: Vec<&str> = pod.volumes.iter().flatten().map(|volume| volume.name.as_str()).collect();
    assert_eq!(volumes, ["settings", "secrets"]);
    let owners = objects.job.owner_references();
    assert_eq!((owners[0].kind.as_str(), owners[0].name.as_str()), ("IngestionRun", "again"));

    let text = &objects.config_map.data.as_ref().expect("files")["produce.yaml"];
    let settings: ProduceSettings = serde_yaml::from_str(text).expect("the worker's settings");
    let run = settings.run.expect("a run");
    assert_eq!((run.name.as_str(), run.attempt, run.max_records), ("again", 1, Some(5)));
    assert_eq!(run.time, "2026-01-02T03:04:00Z");
    let uid = world.world.resource.uid().unwrap_or_default().replace('-', "");
    assert_eq!(run.trace_parent, format!("00-{uid}-0000000000000001-01"));
    assert_eq!((settings.sources.len(), settings.replicas, settings.push_port), (1, 1, None));
}

/// A scheduled source is no part of what the producers fetch.
#[test]
fn a_scheduled_source_is_not_fetched_continuously() {
    let scheduled = pipeline(http());
    let model = millrace_api::validate(&scheduled, millrace_sql::judge).pipeline.expect("a model");
    assert_eq!((model.producer.sources.len(), model.producer.runnable.len(), model.producer.replicas), (0, 1, 0));
    let continuous = pipeline(json!({"http": {"url": "https://example.com"}}));
    let model = millrace_api::validate(&continuous, millrace_sql::judge).pipeline.expect("a model");
    assert_eq!((model.producer.sources.len(), model.producer.runnable.len()), (1, 1));
}
