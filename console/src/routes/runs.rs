//! Runs of a pipeline.

use axum::Json;
use axum::extract::Path;
use kube::Api;
use kube::api::ListParams;
use millrace_api::IngestionRun;
use millrace_api::names::Names;

use crate::api::runs::{Run, Runs};
use crate::refusal::Refusal;
use crate::view;
use crate::viewer::Viewer;

/// Runs that are asked for at once.
const CHUNK: u32 = 500;
/// Most runs of a namespace that are looked through.
const MOST: usize = 5_000;

/// Lists runs.
pub async fn runs(viewer: Viewer, Path((namespace, name)): Path<(String, String)>) -> Result<Json<Runs>, Refusal> {
    let (names, _) = viewer.pipeline(&namespace, &name).await?;
    let mut runs: Vec<Run> = list(&viewer, &names).await?.iter().map(view::runs::run).collect();
    runs.sort_by(|one, other| (other.created, &other.name).cmp(&(one.created, &one.name)));
    Ok(Json(Runs { runs, kubectl: format!("kubectl get irun -n {namespace}") }))
}

/// Lists the runs of a pipeline as resources.
pub async fn list(viewer: &Viewer, names: &Names) -> Result<Vec<IngestionRun>, Refusal> {
    let api = api(viewer, names);
    let mut found: Vec<IngestionRun> = Vec::new();
    let mut params = ListParams::default().limit(CHUNK);
    let mut seen = 0;
    loop {
        let listed = api.list(&params).await.map_err(|error| viewer.kube(&error, "runs"))?;
        seen += listed.items.len();
        found.extend(listed.items.into_iter().filter(|run| run.spec.pipeline == names.pipeline()));
        match listed.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) if seen < MOST => params = params.continue_token(&token),
            Some(_) | None => return Ok(found),
        }
    }
}

/// Shows a run.
pub async fn run(
    viewer: Viewer,
    Path((namespace, name, run)): Path<(String, String, String)>,
) -> Result<Json<Run>, Refusal> {
    let (names, _) = viewer.pipeline(&namespace, &name).await?;
    Ok(Json(view::runs::run(&read(&viewer, &names, &run).await?)))
}

/// Reads a run of a pipeline.
pub async fn read(viewer: &Viewer, names: &Names, run: &str) -> Result<IngestionRun, Refusal> {
    let what = format!("run '{run}' of pipeline '{}'", names.pipeline());
    let found = api(viewer, names).get(run).await.map_err(|error| viewer.kube(&error, &what))?;
    if found.spec.pipeline != names.pipeline() {
        return Err(Refusal::NotFound { what });
    }
    Ok(found)
}

/// Returns the runs' API with the viewer's rights.
pub fn api(viewer: &Viewer, names: &Names) -> Api<IngestionRun> {
    Api::namespaced(viewer.client().clone(), names.namespace())
}
