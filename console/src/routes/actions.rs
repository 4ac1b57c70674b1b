//! What a viewer may do: trigger, cancel and rerun runs, pause and resume schedules, approve plans. With the viewer's own
//! token, and each with its line in the audit log and the command that does the same.

use axum::Json;
use axum::extract::Path;
use axum::http::{Request, StatusCode, header};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use millrace_api::crd::run::{REQUESTED_BY, default_run_timeout};
use millrace_api::crd::{IngestionRunSpec, Retries};
use millrace_api::labels::APPROVE_PLAN;
use millrace_api::names::Names;
use millrace_api::validate::validate_sources;
use millrace_api::{GROUP, IngestionRun, Rejected, StreamingPipeline, validate_run};
use serde_json::json;

use super::runs;
use crate::api::FieldProblem;
use crate::api::actions::{Approval, Done};
use crate::api::runs::{Paused, Trigger};
use crate::audit;
use crate::refusal::Refusal;
use crate::viewer::Viewer;

/// Longest beginning of a run's name; Kubernetes adds five letters.
const LONGEST_STEM: usize = 50;

/// Who writes, as Kubernetes notes it.
pub const MANAGER: &str = "millrace-console";

/// Creates a run.
pub async fn trigger(
    viewer: Viewer,
    Path((namespace, name)): Path<(String, String)>,
    Json(wanted): Json<Trigger>,
) -> Result<(StatusCode, Json<Done>), Refusal> {
    let names = Names::new(namespace, name);
    let done = triggered(&viewer, &names, &wanted).await;
    if !wanted.dry_run {
        let object = done.as_ref().ok().and_then(|done| done.name.clone()).unwrap_or_else(|| wanted.source.clone());
        audit::action(viewer.user(), "trigger", &names, &object, &done);
    }
    Ok((StatusCode::CREATED, Json(done?)))
}

async fn triggered(viewer: &Viewer, names: &Names, wanted: &Trigger) -> Result<Done, Refusal> {
    let (_, pipeline) = viewer.pipeline(names.namespace(), names.pipeline()).await?;
    let Trigger { source, params, max_records, duration, retry_limit, timeout, dry_run } = wanted.clone();
    let defaults = Retries::default();
    let spec = IngestionRunSpec {
        pipeline: names.pipeline().to_owned(),
        source,
        params,
        max_records,
        duration: duration.filter(|text| !text.is_empty()),
        retries: Retries { limit: retry_limit.unwrap_or(defaults.limit), ..defaults },
        timeout: timeout.filter(|text| !text.is_empty()).unwrap_or_else(default_run_timeout),
        scheduled_time: None,
        cancel: false,
    };
    create(viewer, names, &pipeline, new_run(viewer, names, spec), dry_run).await
}

/// Creates a run like another.
pub async fn rerun(
    viewer: Viewer,
    Path((namespace, name, run)): Path<(String, String, String)>,
) -> Result<(StatusCode, Json<Done>), Refusal> {
    let names = Names::new(namespace, name);
    let done = reran(&viewer, &names, &run).await;
    audit::action(viewer.user(), "rerun", &names, &run, &done);
    Ok((StatusCode::CREATED, Json(done?)))
}

async fn reran(viewer: &Viewer, names: &Names, run: &str) -> Result<Done, Refusal> {
    let (_, pipeline) = viewer.pipeline(names.namespace(), names.pipeline()).await?;
    let before = runs::read(viewer, names, run).await?;
    let spec = IngestionRunSpec { cancel: false, ..before.spec };
    create(viewer, names, &pipeline, new_run(viewer, names, spec), false).await
}

/// Makes a run that this viewer asks for.
fn new_run(viewer: &Viewer, names: &Names, spec: IngestionRunSpec) -> IngestionRun {
    let stem: String = spec.source.chars().take(LONGEST_STEM).collect();
    let mut run = IngestionRun::new("", spec);
    run.metadata.name = None;
    run.metadata.generate_name = Some(format!("{stem}-"));
    run.metadata.namespace = Some(names.namespace().to_owned());
    run.annotations_mut().insert(REQUESTED_BY.to_owned(), viewer.user().to_owned());
    run
}

async fn create(
    viewer: &Viewer,
    names: &Names,
    pipeline: &StreamingPipeline,
    run: IngestionRun,
    dry_run: bool,
) -> Result<Done, Refusal> {
    check(std::slice::from_ref(&run), pipeline)?;
    let manifest = manifest(&run)?;
    let params = PostParams { dry_run, field_manager: Some(MANAGER.to_owned()) };
    let created = runs::api(viewer, names).create(&params, &run).await;
    let created = created.map_err(|error| forbidden(viewer.kube(&error, "run"), "create ingestionruns"))?;
    let name = (!dry_run).then(|| created.name_any());
    let message = match &name {
        Some(name) => format!("run '{name}' of source '{}' is created", run.spec.source),
        None => format!("a run of source '{}' could be created", run.spec.source),
    };
    let kubectl = format!("kubectl create -n {} -f -", names.namespace());
    Ok(Done { message, name, kubectl, manifest: Some(manifest) })
}

/// Applies the operator's own rules first, but for SQL, on which no source depends: what it would refuse later is refused
/// now, with its field.
pub fn check(runs: &[IngestionRun], pipeline: &StreamingPipeline) -> Result<(), Refusal> {
    let validated = validate_sources(pipeline);
    let Some(rejected) = runs.iter().find_map(|run| validate_run(run, pipeline, &validated).err()) else {
        return Ok(());
    };
    let message = rejected.first().map(ToString::to_string).unwrap_or_default();
    // The form's fields have the names of the spec's.
    let field = |rejected: &Rejected| FieldProblem {
        field: rejected.path.strip_prefix("spec.").unwrap_or(&rejected.path).to_owned(),
        message: rejected.message.clone(),
    };
    Err(Refusal::Rejected { message, fields: rejected.iter().map(field).collect() })
}

/// Returns the YAML that `kubectl create` takes.
pub fn manifest(run: &IngestionRun) -> Result<String, Refusal> {
    serde_yaml::to_string(run).map_err(|error| Refusal::Broken {
        message: "the run cannot be written as YAML".to_owned(),
        causes: vec![error.to_string()],
    })
}

/// Adds the right that is lacking.
pub fn forbidden(refusal: Refusal, right: &str) -> Refusal {
    match refusal {
        Refusal::Forbidden { message, right: _ } => Refusal::Forbidden { message, right: Some(right.to_owned()) },
        other => other,
    }
}

/// Ends a run.
pub async fn cancel(
    viewer: Viewer,
    Path((namespace, name, run)): Path<(String, String, String)>,
) -> Result<Json<Done>, Refusal> {
    let names = Names::new(namespace, name);
    let done = cancelled(&viewer, &names, &run).await;
    audit::action(viewer.user(), "cancel", &names, &run, &done);
    done.map(Json)
}

async fn cancelled(viewer: &Viewer, names: &Names, run: &str) -> Result<Done, Refusal> {
    viewer.pipeline(names.namespace(), names.pipeline()).await?;
    let found = runs::read(viewer, names, run).await?;
    if let Some(phase) = found.status.and_then(|status| status.phase).filter(|phase| phase.is_final()) {
        return Err(Refusal::Conflict { message: format!("run '{run}' has ended already: {}", phase.as_str()) });
    }
    let patch = json!({"spec": {"cancel": true}});
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let patched = runs::api(viewer, names).patch(run, &params, &Patch::Merge(&patch)).await;
    patched.map_err(|error| forbidden(viewer.kube(&error, &format!("run '{run}'")), "patch ingestionruns"))?;
    Ok(Done {
        message: format!("run '{run}' is being ended"),
        name: Some(run.to_owned()),
        kubectl: format!("kubectl patch irun {run} -n {} --type=merge -p '{patch}'", names.namespace()),
        manifest: None,
    })
}

/// Pauses or resumes a schedule.
pub async fn paused(
    viewer: Viewer,
    Path((namespace, name, source)): Path<(String, String, String)>,
    Json(wanted): Json<Paused>,
) -> Result<Json<Done>, Refusal> {
    let names = Names::new(namespace, name);
    let done = set_paused(&viewer, &names, &source, wanted.paused).await;
    audit::action(viewer.user(), if wanted.paused { "pause" } else { "resume" }, &names, &source, &done);
    done.map(Json)
}

async fn set_paused(viewer: &Viewer, names: &Names, source: &str, paused: bool) -> Result<Done, Refusal> {
    let (_, pipeline) = viewer.pipeline(names.namespace(), names.pipeline()).await?;
    let patch = pause_patch(&pipeline, source, paused)?;
    let broken = |causes| Refusal::Broken { message: "the patch cannot be sent".to_owned(), causes };
    // Lists are replaced whole by merge patches; this one touches one field, and only if the source still stands there.
    let request = Request::patch(format!(
        "/apis/{GROUP}/v1alpha1/namespaces/{}/streamingpipelines/{}?fieldManager={MANAGER}",
        names.namespace(),
        names.pipeline()
    ))
    .header(header::CONTENT_TYPE, "application/json-patch+json")
    .body(patch.to_string().into_bytes())
    .map_err(|error| broken(vec![error.to_string()]))?;
    let patched = viewer.client().request::<StreamingPipeline>(request).await;
    patched.map_err(|error| forbidden(viewer.kube(&error, "pipeline"), "patch streamingpipelines"))?;
    let done = if paused { "paused" } else { "resumed" };
    Ok(Done {
        message: format!("the schedule of source '{source}' is {done}"),
        name: Some(names.pipeline().to_owned()),
        kubectl: format!("kubectl patch spl {} -n {} --type=json -p '{patch}'", names.pipeline(), names.namespace()),
        manifest: None,
    })
}

/// Approves a plan.
pub async fn approved(
    viewer: Viewer,
    Path((namespace, name)): Path<(String, String)>,
    Json(wanted): Json<Approval>,
) -> Result<Json<Done>, Refusal> {
    let names = Names::new(namespace, name);
    let done = approve(&viewer, &names, &wanted.hash).await;
    audit::action(viewer.user(), "approve", &names, &wanted.hash, &done);
    done.map(Json)
}

async fn approve(viewer: &Viewer, names: &Names, hash: &str) -> Result<Done, Refusal> {
    let (_, pipeline) = viewer.pipeline(names.namespace(), names.pipeline()).await?;
    let patch = approval_patch(&pipeline, hash)?;
    let api: Api<StreamingPipeline> = Api::namespaced(viewer.client().clone(), names.namespace());
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let patched = api.patch(names.pipeline(), &params, &Patch::Merge(&patch)).await;
    patched.map_err(|error| forbidden(viewer.kube(&error, "pipeline"), "patch streamingpipelines"))?;
    Ok(Done {
        message: format!("plan {hash} is approved"),
        name: Some(names.pipeline().to_owned()),
        kubectl: format!(
            "kubectl annotate spl -n {} {} --overwrite {APPROVE_PLAN}={hash}",
            names.namespace(),
            names.pipeline()
        ),
        manifest: None,
    })
}

/// Returns the patch that approves a plan, if it is the one that waits. The API server refuses it where the pipeline has
/// changed since it was read.
fn approval_patch(pipeline: &StreamingPipeline, hash: &str) -> Result<serde_json::Value, Refusal> {
    let conflict = |message: String| Err(Refusal::Conflict { message });
    match pipeline.status.as_ref().and_then(|status| status.plan.as_ref()) {
        None => conflict("no plan waits for approval any more".to_owned()),
        Some(plan) if plan.hash != hash => {
            conflict(format!("the plan is {} by now, not {hash}: read it before you approve it", plan.hash))
        }
        Some(plan) if plan.approved => conflict(format!("plan {hash} is approved already")),
        Some(_) => Ok(json!({"metadata": {
            "resourceVersion": pipeline.metadata.resource_version,
            "annotations": {APPROVE_PLAN: hash},
        }})),
    }
}

/// Returns the JSON patch that pauses or resumes the schedule of a source.
fn pause_patch(pipeline: &StreamingPipeline, source: &str, paused: bool) -> Result<serde_json::Value, Refusal> {
    let sources = &pipeline.spec.producer.sources;
    let index = sources.iter().position(|found| found.name == source);
    let index = index.ok_or_else(|| Refusal::NotFound { what: format!("source '{source}'") })?;
    if sources[index].schedule.is_none() {
        return Err(Refusal::rejected(format!("source '{source}' has no schedule; it is fetched continuously")));
    }
    let path = format!("/spec/producer/sources/{index}");
    Ok(json!([
        {"op": "test", "path": format!("{path}/name"), "value": source},
        {"op": "add", "path": format!("{path}/schedule/paused"), "value": paused},
    ]))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::view::pipeline::fixtures;

    fn pipeline(schedule: Value) -> StreamingPipeline {
        let mut pipeline = fixtures::pipeline(Value::Null);
        let source =
            json!({"name": "orders", "topic": "t", "key": "id", "http": {"url": "http://a/"}, "schedule": schedule});
        pipeline.spec.producer.sources.push(serde_json::from_value(source).expect("a source"));
        pipeline
    }

    #[test]
    fn a_pause_touches_the_schedule_of_its_source_alone() {
        let patch = pause_patch(&pipeline(json!({})), "orders", true).expect("a patch");
        let expected = json!([
            {"op": "test", "path": "/spec/producer/sources/1/name", "value": "orders"},
            {"op": "add", "path": "/spec/producer/sources/1/schedule/paused", "value": true},
        ]);
        assert_eq!(patch, expected);
    }

    #[test]
    fn what_has_no_schedule_cannot_be_paused() {
        assert!(matches!(pause_patch(&pipeline(Value::Null), "orders", true), Err(Refusal::Rejected { .. })));
        assert!(matches!(pause_patch(&pipeline(json!({})), "other", true), Err(Refusal::NotFound { .. })));
    }

    #[test]
    fn only_the_plan_that_was_read_is_approved() {
        let mut pipeline = fixtures::pipeline(Value::Null);
        pipeline.metadata.resource_version = Some("7".to_owned());
        let refused = |pipeline: &StreamingPipeline, hash: &str| match approval_patch(pipeline, hash) {
            Err(Refusal::Conflict { message }) => message,
            other => panic!("it must be a conflict: {other:?}"),
        };
        let mut status = pipeline.status.take().unwrap_or_default();
        status.plan = None;
        pipeline.status = Some(status.clone());
        assert_eq!(refused(&pipeline, "a"), "no plan waits for approval any more");
        let plan = |approved: bool| {
            let plan = json!({"hash": "a", "approved": approved, "since": "2026-11-30T00:00:00Z", "actions": ["x"]});
            Some(serde_json::from_value(plan).expect("a plan"))
        };
        status.plan = plan(false);
        pipeline.status = Some(status.clone());
        let patch = approval_patch(&pipeline, "a").expect("it waits");
        assert_eq!(patch["metadata"]["annotations"][APPROVE_PLAN], "a");
        assert_eq!(patch["metadata"]["resourceVersion"], "7");
        assert!(refused(&pipeline, "b").contains("is a by now"));
        status.plan = plan(true);
        pipeline.status = Some(status);
        assert!(refused(&pipeline, "a").contains("already"));
    }

    #[test]
    fn a_run_that_the_operator_would_refuse_is_refused_with_its_field() {
        let spec = json!({"pipeline": "users", "source": "made-up", "params": {"day": "x"}});
        let run = IngestionRun::new("a", serde_json::from_value(spec).expect("a spec"));
        let Err(Refusal::Rejected { fields, .. }) = check(&[run], &fixtures::pipeline(Value::Null)) else {
            panic!("it must be refused");
        };
        assert_eq!(fields[0].field, "params.day");
        let spec = json!({"pipeline": "users", "source": "made-up"});
        let good = IngestionRun::new("a", serde_json::from_value(spec).expect("a spec"));
        assert_eq!(check(&[good], &fixtures::pipeline(Value::Null)), Ok(()));
    }
}
