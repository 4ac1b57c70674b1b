//! What admission and the operator say of documents: the schema, then the CEL rules, then what only a program can judge.
//! Each step only where the one before has found nothing, as in the cluster. Pure.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{CustomResourceExt, ResourceExt};
use kube_cel::{ErrorKind, Validator};
use millrace_api::{GROUP, IngestionRun, Rejected, StreamingPipeline, validate, validate_run, validate_sources};
use serde_json::{Value, json};

use super::Fault;
use super::places::{Places, documents};
use super::schema::{mismatches, without_nulls};

/// What there is to say of one text.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Checked {
    /// Resources of ours.
    pub(super) resources: usize,
    pub(super) faults: Vec<Fault>,
}

/// A kind of resource.
struct Kind {
    name: String,
    version: String,
    schema: Value,
}

/// A run that fits its schema, and where it stands.
struct FoundRun {
    text: usize,
    run: IngestionRun,
    places: Places,
}

/// Checks texts together: a run is also held against its pipeline, where that is among them.
pub(super) fn check(texts: &[&str]) -> Vec<Checked> {
    let kinds = [kind(&StreamingPipeline::crd()), kind(&IngestionRun::crd())];
    let validator = Validator::new();
    let mut pipelines: Vec<StreamingPipeline> = Vec::new();
    let mut runs: Vec<FoundRun> = Vec::new();
    let mut all = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        let mut checked = Checked::default();
        let found = match read(text) {
            Ok(found) => found,
            Err(fault) => {
                checked.faults.push(fault);
                Vec::new()
            }
        };
        for (document, places) in found {
            let Some(kind) = kind_of(&document, &kinds) else {
                checked.faults.extend(misnamed(&document, &kinds, &places));
                continue;
            };
            checked.resources += 1;
            let (value, faults) = admitted(document, kind, &validator, &places);
            if !faults.is_empty() {
                checked.faults.extend(faults);
            } else if kind.name == "IngestionRun" {
                match serde_json::from_value(value) {
                    Ok(run) => runs.push(FoundRun { text: index, run, places }),
                    Err(error) => checked.faults.push(Fault::new("", error.to_string(), places.of_key(""))),
                }
            } else {
                match serde_json::from_value::<StreamingPipeline>(value) {
                    Ok(pipeline) => {
                        checked.faults.extend(faults_of(&validate(&pipeline, millrace_sql::judge).rejected, &places));
                        pipelines.push(pipeline);
                    }
                    Err(error) => checked.faults.push(Fault::new("", error.to_string(), places.of_key(""))),
                }
            }
        }
        all.push(checked);
    }
    for FoundRun { text, run, places } in runs {
        let of_run = pipelines
            .iter()
            .find(|pipeline| pipeline.name_any() == run.spec.pipeline && pipeline.namespace() == run.namespace());
        if let Some(Err(rejected)) = of_run.map(|pipeline| validate_run(&run, pipeline, &validate_sources(pipeline))) {
            all[text].faults.extend(faults_of(&rejected, &places));
        }
    }
    for checked in &mut all {
        checked.faults.sort_by_key(|fault| (fault.line, fault.column));
    }
    all
}

/// Reads the documents of a text, each with its places; empty ones are left out.
fn read(text: &str) -> Result<Vec<(Value, Places)>, Fault> {
    let found = documents(text).map_err(|(place, message)| Fault::new("", message, place))?;
    Ok(found.into_iter().filter(|(value, _)| !value.is_null()).collect())
}

fn kind(crd: &CustomResourceDefinition) -> Kind {
    let version = &crd.spec.versions[0];
    let schema = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
    let mut schema = json!(schema.expect("our resources have a schema"));
    // What every object has; the API server knows it by itself.
    schema["properties"]["apiVersion"] = json!({"type": "string"});
    schema["properties"]["kind"] = json!({"type": "string"});
    schema["properties"]["metadata"] = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    portable(&mut schema);
    Kind { name: crd.spec.names.kind.clone(), version: format!("{GROUP}/{}", version.name), schema }
}

/// Escapes brackets that stand alone in a character class: Go reads them as they are, Rust's regular expressions do not.
fn portable(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::String(rule)) = fields.get_mut("rule") {
                *rule = rule.replace("[[]", r"[\\[]").replace("[]]", r"[\\]]");
            }
            fields.values_mut().for_each(portable);
        }
        Value::Array(items) => items.iter_mut().for_each(portable),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn kind_of<'a>(document: &Value, kinds: &'a [Kind]) -> Option<&'a Kind> {
    kinds.iter().find(|kind| document["kind"] == kind.name.as_str() && document["apiVersion"] == kind.version.as_str())
}

/// Complains of a document that is nearly one of ours; others are nobody's business here.
fn misnamed(document: &Value, kinds: &[Kind], places: &Places) -> Option<Fault> {
    let (version, name) =
        (document["apiVersion"].as_str().unwrap_or_default(), document["kind"].as_str().unwrap_or_default());
    let ours: Vec<String> = kinds.iter().map(|kind| format!("{} of {}", kind.name, kind.version)).collect();
    let known_name = kinds.iter().any(|kind| kind.name == name);
    let known_group = version.split('/').next() == Some(GROUP);
    if !known_name && !known_group {
        return None;
    }
    let path = if known_name { "apiVersion" } else { "kind" };
    let message = format!("there is no {name} of {version}; there are {}", ours.join(" and "));
    Some(Fault::new(path, message, places.of_value(path)))
}

/// Judges a document as admission does; returns it as the cluster would store it.
fn admitted(document: Value, kind: &Kind, validator: &Validator, places: &Places) -> (Value, Vec<Fault>) {
    let value = kube_cel::apply_defaults(&kind.schema, &without_nulls(document));
    let found = mismatches(&kind.schema, &value);
    if !found.is_empty() {
        let faults = found.iter().map(|found| {
            let place = if found.of_name { places.of_key(&found.path) } else { places.of_value(&found.path) };
            Fault::new(&found.path, told(&found.message, &found.path, places), place)
        });
        return (value, faults.collect());
    }
    let faults = match validator.validate(&kind.schema, &value, None) {
        Ok(()) => Vec::new(),
        Err(errors) => errors
            .into_vec()
            .into_iter()
            // A rule that cannot be evaluated here is the cluster's to judge.
            .filter(|error| error.kind == ErrorKind::ValidationFailure)
            .map(|error| {
                let path = path_of(&error.field_path, &error.message, places);
                Fault::new(&path, told(&error.message, &path, places), places.of_value(&path))
            })
            .collect(),
    };
    (value, faults)
}

/// Adds what kubectl reads otherwise than it looks at the field, which may be the whole cause.
fn told(message: &str, path: &str, places: &Places) -> String {
    match places.reading(path) {
        Some(reading) => format!("{message}; {reading}"),
        None => message.to_owned(),
    }
}

/// Returns the field that a rule is about. Rules of the whole resource begin their message with it.
fn path_of(path: &str, message: &str, places: &Places) -> String {
    let first = message.split(' ').next().unwrap_or_default();
    match path.trim_start_matches('.') {
        "" if places.has(first) => first.to_owned(),
        path => path.to_owned(),
    }
}

fn faults_of(rejected: &[Rejected], places: &Places) -> Vec<Fault> {
    let fault = |rejected: &Rejected| Fault {
        expression: rejected.excerpt.clone(),
        ..Fault::new(&rejected.path, told(&rejected.message, &rejected.path, places), places.of_value(&rejected.path))
    };
    rejected.iter().map(fault).collect()
}

#[cfg(test)]
#[path = "rules/tests.rs"]
mod tests;
