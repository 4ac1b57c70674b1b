//! `IngestionRun` + its pipeline → `Run`: what the operator can carry out, or every user error. Pure.

use chrono::{DateTime, Utc};
use kube::ResourceExt;
use millrace_terms::{Duration, Origin, SourceSettings};

use crate::crd::time::moment_of;
use crate::crd::{IngestionRun, IngestionRunSpec, Retries, StreamingPipeline};
use crate::names::Component;
use crate::params;
use crate::pipeline::{RunnableSource, SecretKey, Validated};
use crate::rejected::Rejected;

/// A run that can be carried out.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Its source, with the run's params.
    pub source: SourceSettings,
    /// The Secret keys that the source's headers come from.
    pub secrets: Vec<SecretKey>,
    /// The due time that the run stands for, or when it was created.
    pub time: DateTime<Utc>,
    /// Records after which it succeeds. Absent: no such limit.
    pub max_records: Option<u64>,
    /// Time after which it succeeds. Absent: at the source's end.
    pub duration: Option<Duration>,
    /// Longest that an attempt may take.
    pub timeout: Duration,
    /// What follows a failed attempt.
    pub retry: Retry,
    /// Whether two runs of the source would take each other's records, since it has one position.
    pub exclusive: bool,
}

/// What follows a failed attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Retry {
    /// Attempts after the first.
    pub limit: u32,
    /// Wait after the first.
    pub delay: Duration,
    /// Longest wait.
    pub max_delay: Duration,
}

impl Retry {
    /// Returns how long to wait after so many failed attempts, or that no attempt follows.
    pub fn wait_after(&self, failed: u32) -> Option<std::time::Duration> {
        if failed == 0 || failed > self.limit {
            return None;
        }
        let factor = 1_u32.checked_shl(failed - 1).unwrap_or(u32::MAX);
        Some(self.delay.get().saturating_mul(factor).min(self.max_delay.get()))
    }
}

/// Validates a run; `pipeline` is the resource that it names, and `validated` what came of that.
pub fn validate_run(
    resource: &IngestionRun,
    pipeline: &StreamingPipeline,
    validated: &Validated,
) -> Result<Run, Vec<Rejected>> {
    let IngestionRunSpec {
        pipeline: _,
        source,
        params: given,
        max_records,
        duration,
        retries,
        timeout,
        scheduled_time,
        cancel: _,
    } = &resource.spec;
    let runnable = runnable(source, pipeline, validated).map_err(|rejected| vec![rejected])?;
    let mut rejected = Vec::new();
    let values = params::values(&runnable.params, given, "spec.params").unwrap_or_else(|wrong| {
        rejected.extend(wrong);
        Default::default()
    });
    let mut parse = |path: &str, text: &str| {
        text.parse::<Duration>().unwrap_or_else(|error| {
            rejected.push(Rejected::new(path, error));
            Duration::from_secs(0)
        })
    };
    let duration = duration.as_ref().map(|text| parse("spec.duration", text));
    let timeout = parse("spec.timeout", timeout);
    let retry = retry(retries, &mut parse);
    if duration.is_none() && max_records.is_none() && is_endless(&runnable.settings.origin) {
        let message = format!("source '{source}' has no end of its own; set maxRecords or duration");
        rejected.push(Rejected::new("spec.maxRecords", message));
    }
    if !rejected.is_empty() {
        return Err(rejected);
    }
    let created = || resource.creation_timestamp();
    let time = scheduled_time.clone().or_else(created).map_or(DateTime::UNIX_EPOCH, |time| moment_of(&time));
    Ok(Run {
        source: SourceSettings { params: values, ..runnable.settings.clone() },
        secrets: runnable.secrets.clone(),
        time,
        max_records: max_records.map(i64::unsigned_abs),
        duration,
        timeout,
        retry,
        exclusive: has_position(&runnable.settings.origin),
    })
}

/// Finds the source, or says why there is none that can be run.
fn runnable<'a>(
    name: &str,
    pipeline: &StreamingPipeline,
    validated: &'a Validated,
) -> Result<&'a RunnableSource, Rejected> {
    let wrong = |message: String| Rejected::new("spec.source", message);
    let pipeline_name = pipeline.name_any();
    let sources = &pipeline.spec.producer.sources;
    let Some(written) = sources.iter().find(|source| source.name == name) else {
        let known: Vec<&str> = sources.iter().map(|source| source.name.as_str()).collect();
        return Err(wrong(format!("pipeline '{pipeline_name}' has no source '{name}'; it has {}", known.join(", "))));
    };
    if written.push.is_some() {
        return Err(wrong(format!(
            "records of '{name}' are pushed, so there is nothing to fetch; push records instead"
        )));
    }
    let is_continuous = written.schedule.is_none();
    if is_continuous && (written.files.is_some() || written.kafka.is_some()) {
        return Err(wrong(format!(
            "'{name}' is read continuously and has one position, which a run would move; give the source a schedule"
        )));
    }
    let refuse = |why: Option<&Rejected>| {
        let why = why.map(ToString::to_string).unwrap_or_default();
        wrong(format!("pipeline '{pipeline_name}' cannot run '{name}': {why}"))
    };
    let model = validated.pipeline.as_ref();
    // The pods of runs are made of the same podTemplate.
    if let Some(held) = model.and_then(|model| model.held.get(&Component::Producer)) {
        return Err(refuse(Some(held)));
    }
    let found = model.and_then(|model| model.producer.runnable.iter().find(|source| source.settings.name == name));
    found.ok_or_else(|| refuse(validated.rejected.first()))
}

fn retry(written: &Retries, parse: &mut impl FnMut(&str, &str) -> Duration) -> Retry {
    let Retries { limit, delay, max_delay } = written;
    Retry {
        limit: limit.unsigned_abs(),
        delay: parse("spec.retries.delay", delay),
        max_delay: parse("spec.retries.maxDelay", max_delay),
    }
}

fn is_endless(origin: &Origin) -> bool {
    match origin {
        Origin::Kafka(_) | Origin::Push(_) => true,
        Origin::Generator(generator) => generator.count.is_none(),
        Origin::Http(_) | Origin::Files(_) => false,
    }
}

fn has_position(origin: &Origin) -> bool {
    match origin {
        Origin::Files(_) | Origin::Kafka(_) => true,
        Origin::Http(http) => http.since.is_some(),
        Origin::Generator(_) | Origin::Push(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::{Value, json};

    use super::*;
    use crate::validate_sources;

    fn validated(source: Value, spec: Value) -> Result<Run, Vec<String>> {
        of_pods(json!({}), source, spec)
    }

    fn of_pods(template: Value, source: Value, spec: Value) -> Result<Run, Vec<String>> {
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../e2e/samples/accepted/one-of-each.yaml");
        let text = std::fs::read_to_string(sample).expect("the sample is there");
        let mut resource: Value = serde_yaml::from_str(&text).expect("the sample is YAML");
        let topic = resource["spec"]["producer"]["sources"][0]["topic"].clone();
        let mut wanted = json!({"name": "orders", "topic": topic, "key": "id", "fields": {"id": "record.id"}});
        wanted.as_object_mut().expect("an object").extend(source.as_object().cloned().unwrap_or_default());
        resource["spec"]["producer"]["sources"] = json!([wanted]);
        resource["spec"]["producer"]["podTemplate"] = template;
        let pipeline: StreamingPipeline = serde_json::from_value(resource).expect("a pipeline");
        let mut of_run = json!({"pipeline": "users", "source": "orders"});
        of_run.as_object_mut().expect("an object").extend(spec.as_object().cloned().unwrap_or_default());
        let run = json!({
            "apiVersion": "millrace.dev/v1alpha1", "kind": "IngestionRun",
            "metadata": {"name": "again", "creationTimestamp": "2026-02-03T04:05:06Z"}, "spec": of_run,
        });
        let run: IngestionRun = serde_json::from_value(run).expect("a run");
        let validated = validate_sources(&pipeline);
        validate_run(&run, &pipeline, &validated).map_err(|wrong| wrong.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_run_has_the_params_of_its_source_and_its_own_limits() {
        let source = json!({
            "http": {"url": "https://example.com/${params.day}", "query": {"page": "string(params.page)"}},
            "params": [{"name": "day"}, {"name": "page", "type": "integer", "default": "1"}],
            "schedule": {"cron": null},
        });
        let run = validated(source, json!({"params": {"day": "x"}, "maxRecords": 5})).expect("a run");
        assert_eq!(run.source.params.len(), 2);
        assert_eq!(run.max_records, Some(5));
        assert_eq!(params::rfc3339(run.time), "2026-02-03T04:05:06Z");
        assert!(!run.exclusive);
    }

    #[test]
    fn what_cannot_run_is_rejected_with_its_path() {
        let files = json!({"files": {"claimName": "in", "path": "*.csv", "format": "CSV"}});
        let mut scheduled = files.clone();
        scheduled["schedule"] = json!({"cron": "0 2 * * *"});
        let cases = [
            (json!({"push": {}}), json!({}), "spec.source: records of 'orders' are pushed"),
            (files, json!({}), "spec.source: 'orders' is read continuously and has one position"),
            (json!({"generator": {}}), json!({}), "spec.maxRecords: source 'orders' has no end of its own"),
            (
                json!({"generator": {"count": 1}}),
                json!({"source": "order"}),
                "spec.source: pipeline 'one' has no source 'order'; it has orders",
            ),
            (
                json!({"generator": {"count": 1}}),
                json!({"params": {"a": "b"}}),
                "spec.params.a: the source declares no params; remove it",
            ),
            (
                json!({"http": {"url": "https://example.com", "body": "prams.a", "method": "POST"}}),
                json!({}),
                "spec.source: pipeline 'one' cannot run 'orders': spec.producer.sources[0].http.body: ",
            ),
        ];
        for (source, spec, expected) in cases {
            let wrong = validated(source, spec).expect_err(expected);
            // The sample's own name is not what this is about.
            let said = wrong[0].replace("pipeline 'users'", "pipeline 'one'");
            assert!(said.starts_with(expected), "{said}");
        }
        assert!(validated(scheduled, json!({})).expect("files with a schedule can be run").exclusive);
    }

    #[test]
    fn no_run_is_made_of_a_pod_template_that_no_pod_can_have() {
        let source = json!({"generator": {"count": 1}});
        let wrong =
            of_pods(json!({"nodeSelektor": {}}), source.clone(), json!({})).expect_err("there is no such field");
        let says = "spec.source: pipeline 'users' cannot run 'orders': spec.producer.podTemplate";
        assert!(wrong.len() == 1 && wrong[0].starts_with(says), "{wrong:?}");
        // The negative control: one that is valid is in nobody's way.
        assert!(of_pods(json!({"nodeSelector": {"disk": "ssd"}}), source, json!({})).is_ok());
    }

    #[test]
    fn waits_double_up_to_their_bound_and_end_with_the_limit() {
        let retry = Retry { limit: 4, delay: Duration::from_secs(10), max_delay: Duration::from_secs(60) };
        let waits: Vec<Option<u64>> =
            (0..6).map(|failed| retry.wait_after(failed).map(|wait| wait.as_secs())).collect();
        assert_eq!(waits, [None, Some(10), Some(20), Some(40), Some(60), None]);
        let many = Retry { limit: 99, ..retry };
        assert_eq!(many.wait_after(90).map(|wait| wait.as_secs()), Some(60));
    }
}
