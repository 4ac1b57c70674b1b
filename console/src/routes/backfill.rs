//! Backfills: the list of runs first, and then the runs. One that was broken off goes on where it was: names of runs follow
//! from their steps.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::Path;
use futures::StreamExt;
use kube::api::PostParams;
use kube::{Api, ResourceExt};
use millrace_api::crd::RunTemplate;
use millrace_api::crd::run::{BACKFILL_LABEL, MAX_ACTIVE, REQUESTED_BY};
use millrace_api::names::Names;
use millrace_api::schedule::{self, BackfillRun, Step, Timetable};
use millrace_api::{IngestionRun, StreamingPipeline};

use super::actions::{MANAGER, check, forbidden, manifest};
use super::runs;
use crate::api::actions::Done;
use crate::api::runs::{Backfill, BackfillAnswer, BackfillRun as Shown};
use crate::audit;
use crate::refusal::Refusal;
use crate::viewer::Viewer;

/// Runs that are created at once.
const AT_ONCE: usize = 8;
/// Runs up to which the answer has them as YAML.
const MANIFESTS: usize = 50;

/// Lists the runs of a backfill, and creates them unless it is a dry run.
pub async fn backfill(
    viewer: Viewer,
    Path((namespace, name)): Path<(String, String)>,
    Json(wanted): Json<Backfill>,
) -> Result<Json<BackfillAnswer>, Refusal> {
    let names = Names::new(namespace, name);
    let answer = made(&viewer, &names, &wanted).await;
    if !wanted.dry_run {
        audit::action(viewer.user(), "backfill", &names, &wanted.source, &answer);
    }
    answer.map(Json)
}

async fn made(viewer: &Viewer, names: &Names, wanted: &Backfill) -> Result<BackfillAnswer, Refusal> {
    let (_, pipeline) = viewer.pipeline(names.namespace(), names.pipeline()).await?;
    let plan = plan(&pipeline, names, wanted)?;
    let template = template(&pipeline, &wanted.source);
    let resources: Vec<IngestionRun> =
        plan.runs.iter().map(|run| resource(names, wanted, &plan, &template, run, viewer.user())).collect();
    check(&resources, &pipeline)?;
    let existing: BTreeSet<String> = runs::list(viewer, names).await?.iter().map(ResourceExt::name_any).collect();
    let shown = plan.runs.iter().map(|run| Shown {
        name: run.name.clone(),
        from: run.from,
        to: run.to,
        params: run.params.clone(),
        exists: existing.contains(&run.name),
    });
    let mut answer = BackfillAnswer { name: plan.name.clone(), runs: shown.collect(), done: None };
    if wanted.dry_run {
        return Ok(answer);
    }
    let missing: Vec<&IngestionRun> = resources.iter().filter(|run| !existing.contains(&run.name_any())).collect();
    create(viewer, names, &missing).await?;
    let manifests: Result<Vec<String>, Refusal> = missing.iter().take(MANIFESTS).map(|run| manifest(run)).collect();
    answer.done = Some(Done {
        message: format!("{} runs of backfill '{}' are created, {} at once", missing.len(), plan.name, plan.max_active),
        name: Some(plan.name.clone()),
        kubectl: format!("kubectl create -n {} -f -", names.namespace()),
        manifest: Some(manifests?.join("---\n")).filter(|_| missing.len() <= MANIFESTS),
    });
    Ok(answer)
}

/// Creates runs, oldest first; one that exists already is taken for created.
async fn create(viewer: &Viewer, names: &Names, missing: &[&IngestionRun]) -> Result<(), Refusal> {
    let asked: Vec<_> = missing.iter().map(|run| one(runs::api(viewer, names), (*run).clone())).collect();
    let mut created = std::pin::pin!(futures::stream::iter(asked).buffered(AT_ONCE));
    while let Some(created) = created.next().await {
        match created.map_err(|error| forbidden(viewer.kube(&error, "run"), "create ingestionruns")) {
            Ok(()) | Err(Refusal::Conflict { .. }) => (),
            Err(refusal) => return Err(refusal),
        }
    }
    Ok(())
}

async fn one(api: Api<IngestionRun>, run: IngestionRun) -> Result<(), kube::Error> {
    let params = PostParams { dry_run: false, field_manager: Some(MANAGER.to_owned()) };
    api.create(&params, &run).await.map(drop)
}

/// The runs of a backfill.
#[derive(Debug)]
struct Plan {
    name: String,
    max_active: usize,
    runs: Vec<BackfillRun>,
}

fn plan(pipeline: &StreamingPipeline, names: &Names, wanted: &Backfill) -> Result<Plan, Refusal> {
    let sources = &pipeline.spec.producer.sources;
    let source = sources.iter().find(|source| source.name == wanted.source);
    let source = source.ok_or_else(|| Refusal::field("source", format!("there is no source '{}'", wanted.source)))?;
    let step = match (wanted.step.as_ref().filter(|step| !step.is_empty()), &source.schedule) {
        (Some(step), _) => Step::Every(step.parse().map_err(|error| Refusal::field("step", error))?),
        (None, Some(crd)) if crd.cron.is_some() => {
            let cron = crd.cron.as_deref().unwrap_or_default();
            let table = Timetable::parse(cron, &crd.time_zone)
                .map_err(|(field, problem)| Refusal::rejected(format!("the schedule's {field}: {problem}")))?;
            Step::Due(Box::new(table))
        }
        (None, _) => return Err(Refusal::field("step", "the source has no due times; say how long a step is")),
    };
    let made_up = || schedule::backfill_name(wanted.from, wanted.to);
    let name = wanted.name.clone().filter(|name| !name.is_empty()).unwrap_or_else(made_up);
    schedule::check_backfill_name(&name).map_err(|problem| Refusal::field("name", problem))?;
    let max_active = wanted.max_active.unwrap_or(1) as usize;
    let range = schedule::Backfill {
        name: name.clone(),
        from: wanted.from,
        to: wanted.to,
        step,
        from_param: wanted.from_param.clone().filter(|param| !param.is_empty()),
        to_param: wanted.to_param.clone().filter(|param| !param.is_empty()),
        params: wanted.params.clone(),
        max_active,
    };
    let runs = schedule::backfill(names.pipeline(), &wanted.source, &range).map_err(Refusal::rejected)?;
    Ok(Plan { name, max_active, runs })
}

/// Returns what runs of a source are like: as its schedule says.
fn template(pipeline: &StreamingPipeline, source: &str) -> RunTemplate {
    let found = pipeline.spec.producer.sources.iter().find(|found| found.name == source);
    let schedule = found.and_then(|found| found.schedule.as_ref());
    schedule.map_or_else(RunTemplate::default, |schedule| schedule.run.clone())
}

fn resource(
    names: &Names,
    wanted: &Backfill,
    plan: &Plan,
    template: &RunTemplate,
    run: &BackfillRun,
    user: &str,
) -> IngestionRun {
    let mut spec = template.spec(names.pipeline(), &wanted.source, run.from);
    spec.params.extend(run.params.clone());
    let mut resource = IngestionRun::new(&run.name, spec);
    resource.metadata.namespace = Some(names.namespace().to_owned());
    resource.labels_mut().insert(BACKFILL_LABEL.to_owned(), plan.name.clone());
    resource.annotations_mut().insert(MAX_ACTIVE.to_owned(), plan.max_active.to_string());
    resource.annotations_mut().insert(REQUESTED_BY.to_owned(), user.to_owned());
    resource
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::view::pipeline::fixtures;

    fn wanted(change: Value) -> Backfill {
        let mut written =
            json!({"source": "made-up", "from": "2026-03-01T00:00:00Z", "to": "2026-03-03T12:00:00Z", "step": "24h"});
        written.as_object_mut().expect("an object").extend(change.as_object().cloned().expect("an object"));
        serde_json::from_value(written).expect("a backfill")
    }

    fn planned(change: Value) -> Result<Plan, Refusal> {
        plan(&fixtures::pipeline(Value::Null), &Names::new("shop", "users"), &wanted(change))
    }

    #[test]
    fn the_same_range_has_the_same_runs() {
        let names = |plan: Plan| plan.runs.into_iter().map(|run| run.name).collect::<Vec<_>>();
        let first = names(planned(json!({})).expect("a plan"));
        assert_eq!(first.len(), 3);
        assert_eq!(names(planned(json!({})).expect("a plan")), first);
    }

    #[test]
    fn the_runs_say_whose_they_are() {
        let plan = planned(json!({"name": "again", "maxActive": 2, "fromParam": "day"})).expect("a plan");
        let names = Names::new("shop", "users");
        let run = resource(&names, &wanted(json!({})), &plan, &RunTemplate::default(), &plan.runs[0], "ann");
        assert_eq!(run.labels()[BACKFILL_LABEL], "again");
        assert_eq!((run.annotations()[MAX_ACTIVE].as_str(), run.annotations()[REQUESTED_BY].as_str()), ("2", "ann"));
        assert_eq!(run.spec.params["day"], "2026-03-01T00:00:00Z");
        assert_eq!(run.spec.scheduled_time.map(|time| time.0.to_string()).as_deref(), Some("2026-03-01T00:00:00Z"));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_field() {
        let field = |change: Value| match planned(change).expect_err("refused") {
            Refusal::Rejected { fields, message } => fields.first().map_or(message, |field| field.field.clone()),
            other => panic!("{other:?}"),
        };
        assert_eq!(field(json!({"source": "other"})), "source");
        assert_eq!(field(json!({"step": null})), "step");
        assert_eq!(field(json!({"step": "often"})), "step");
        assert_eq!(field(json!({"name": "Again!"})), "name");
        assert!(field(json!({"to": "2026-02-01T00:00:00Z"})).contains("before it begins"));
        assert!(field(json!({"step": "1m", "to": "2027-03-03T12:00:00Z"})).contains("more than 1000"));
    }
}
