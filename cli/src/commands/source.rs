//! What the commands about a source share: finding it, its params, who asks, and asking for a run.

use std::collections::BTreeMap;

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::PostParams;
use kube::core::ObjectMeta;
use kube::{Api, ResourceExt};
use millrace_api::crd::run::REQUESTED_BY;
use millrace_api::crd::{Param, Source};
use millrace_api::{IngestionRun, Rejected, StreamingPipeline, validate_run, validate_sources};

use super::Context;
use crate::Failure;
use crate::arguments::OneSource;
use crate::screen::{Screen, known};

/// Finds the pipeline and the source in it.
pub async fn find(context: &Context<'_>, wanted: &OneSource) -> Result<(StreamingPipeline, Source), Failure> {
    let OneSource { source: name, pipeline } = wanted;
    let has = |pipeline: &StreamingPipeline| pipeline.spec.producer.sources.iter().any(|source| source.name == *name);
    let pipeline = context.cluster.pipeline_with(pipeline.as_deref(), &format!("source '{name}'"), has).await?;
    let sources = &pipeline.spec.producer.sources;
    match sources.iter().find(|source| source.name == *name).cloned() {
        Some(source) => Ok((pipeline, source)),
        None => {
            let known: Vec<&str> = sources.iter().map(|source| source.name.as_str()).collect();
            let message = format!(
                "pipeline '{}' has no source '{name}'; it has {}",
                pipeline.name_any(),
                if known.is_empty() { "none".to_owned() } else { known.join(", ") }
            );
            Err(Failure::mistake(message))
        }
    }
}

/// Returns who the user is to the cluster. `None`: it does not say.
pub async fn user(context: &Context<'_>) -> Option<String> {
    let api: Api<SelfSubjectReview> = Api::all(context.cluster.client.clone());
    let review = api.create(&PostParams::default(), &SelfSubjectReview::default()).await.ok()?;
    review.status?.user_info?.username
}

/// Returns the metadata of a run that `user` asks for.
pub fn metadata(name: Option<&str>, source: &str, user: Option<&str>) -> ObjectMeta {
    ObjectMeta {
        name: name.map(str::to_owned),
        generate_name: name.is_none().then(|| format!("{source}-")),
        annotations: user.map(|user| BTreeMap::from([(REQUESTED_BY.to_owned(), user.to_owned())])),
        ..ObjectMeta::default()
    }
}

/// Returns params by name; one that is given twice is a mistake.
pub fn by_name(given: &[(String, String)]) -> Result<BTreeMap<String, String>, Failure> {
    let mut params = BTreeMap::new();
    for (name, value) in given {
        if params.insert(name.clone(), value.clone()).is_some() {
            return Err(Failure::mistake(format!("param '{name}' is given twice")));
        }
    }
    Ok(params)
}

/// Checks runs as the operator will, before they are asked for.
pub fn check(runs: &[IngestionRun], pipeline: &StreamingPipeline, source: &Source) -> Result<(), Failure> {
    let validated = validate_sources(pipeline);
    for run in runs {
        validate_run(run, pipeline, &validated)
            .map_err(|rejected| Failure::mistake(explained(&rejected, &source.params)))?;
    }
    Ok(())
}

/// Says what is wrong with a run in terms of flags, and which params there are.
fn explained(rejected: &[Rejected], declared: &[Param]) -> String {
    let lines = rejected.iter().map(|rejected| match rejected.path.strip_prefix("spec.params.") {
        Some(param) => format!("--{param}: {}", rejected.message),
        None => rejected.to_string(),
    });
    let mut text = lines.collect::<Vec<_>>().join("\n       ");
    if rejected.iter().any(|rejected| rejected.path.starts_with("spec.params")) && !declared.is_empty() {
        text.push_str("\nparams of the source:\n");
        text.push_str(params(declared, &Screen::default()).trim_end());
    }
    text
}

/// Draws the params that a source declares.
pub fn params(declared: &[Param], screen: &Screen) -> String {
    let rows: Vec<Vec<String>> = declared
        .iter()
        .map(|param| {
            vec![
                format!("--{}", param.name),
                param.param_type.as_str().to_owned(),
                param.default.clone().unwrap_or_else(|| "required".to_owned()),
                allowed(param),
                param.description.clone().unwrap_or_default(),
            ]
        })
        .collect();
    screen.table(&["PARAM", "TYPE", "DEFAULT", "ALLOWED", "DESCRIPTION"], &rows)
}

fn allowed(param: &Param) -> String {
    if !param.choices.is_empty() {
        return param.choices.join(", ");
    }
    if let Some(pattern) = &param.pattern {
        return pattern.clone();
    }
    match (param.minimum, param.maximum) {
        (None, None) => "any".to_owned(),
        (minimum, maximum) => format!("{} to {}", known(minimum), known(maximum)),
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use serde_json::json;

    use super::*;

    fn declared() -> Vec<Param> {
        let params = json!([
            {"name": "day", "pattern": "[0-9]{4}-[0-9]{2}-[0-9]{2}", "description": "The day to fetch."},
            {"name": "version", "enum": ["v1", "v2"], "default": "v2"},
            {"name": "pages", "type": "integer", "default": "1", "minimum": 1},
            {"name": "full", "type": "boolean", "default": "false"},
        ]);
        serde_json::from_value(params).expect("params")
    }

    fn refused(params: serde_json::Value) -> String {
        let sample = include_str!("../../../e2e/samples/accepted/one-of-each.yaml");
        let mut pipeline: StreamingPipeline = serde_yaml::from_str(sample).expect("the sample is a pipeline");
        let mut source = pipeline.spec.producer.sources[0].clone();
        source.params = declared();
        source.schedule = serde_json::from_value(json!({})).expect("a schedule");
        pipeline.spec.producer.sources = vec![source.clone()];
        let spec = json!({"pipeline": pipeline.name_any(), "source": source.name, "params": params});
        let run = IngestionRun::new("x", serde_json::from_value(spec).expect("a spec"));
        check(&[run], &pipeline, &source).err().map(|failure| failure.to_string()).unwrap_or_default()
    }

    #[test]
    fn what_is_wrong_with_params_is_told_by_flag() {
        assert_snapshot!(refused(json!({"pages": "0", "colour": "red"})));
    }

    #[test]
    fn control_good_params_pass() {
        assert_eq!(refused(json!({"day": "2026-01-31"})), "");
    }

    #[test]
    fn a_run_says_who_asks_where_that_is_known() {
        let named = metadata(None, "orders", Some("jane"));
        assert_eq!((named.name, named.generate_name), (None, Some("orders-".to_owned())));
        assert_eq!(named.annotations.expect("annotations")["millrace.dev/requested-by"], "jane");
        assert_eq!(metadata(Some("x"), "orders", None).annotations, None);
        assert!(by_name(&[("a".to_owned(), "1".to_owned()), ("a".to_owned(), "2".to_owned())]).is_err());
    }
}
