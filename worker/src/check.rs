//! `worker check`: the rules that need no cluster, applied to a file. Pure.
//!
//! YAML documents in, findings out: what is no field of the resource, and what the operator would reject. Admission's
//! own rules run inside the API server: `kubectl apply --dry-run=server`.

use std::fmt;

use millrace_api::{IngestionRun, StreamingPipeline, validate};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What is wrong with one resource.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// Name of the resource; empty when it has none.
    pub resource: String,
    /// Where and what.
    pub problem: String,
    /// The faulty line with a mark below the place, where there is one.
    pub excerpt: Option<String>,
}

impl Finding {
    fn of_file(problem: String) -> Self {
        Self { resource: String::new(), problem, excerpt: None }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resource, problem, excerpt } = self;
        if !resource.is_empty() {
            write!(f, "{resource}: ")?;
        }
        f.write_str(problem)?;
        for line in excerpt.iter().flat_map(|excerpt| excerpt.lines()) {
            write!(f, "\n    {line}")?;
        }
        Ok(())
    }
}

/// Checks every StreamingPipeline and IngestionRun of a file; returns the names of the good ones, and what is wrong with the others.
pub fn check(text: &str) -> (Vec<String>, Vec<Finding>) {
    let mut good = Vec::new();
    let mut findings = Vec::new();
    let mut known = 0;
    for document in serde_yaml::Deserializer::from_str(text) {
        let value = match Value::deserialize(document) {
            Ok(value) => value,
            Err(error) => {
                findings.push(Finding::of_file(format!("it is no YAML: {error}")));
                break;
            }
        };
        let resource = value["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let faults = match value["kind"].as_str() {
            Some("StreamingPipeline") => of_pipeline(&resource, &value),
            Some("IngestionRun") => {
                understand::<IngestionRun>(&resource, &value).map_or_else(|wrong| wrong, |(_, unknown)| unknown)
            }
            _ => continue,
        };
        known += 1;
        if faults.is_empty() {
            good.push(resource);
        }
        findings.extend(faults);
    }
    if known == 0 && findings.is_empty() {
        findings.push(Finding::of_file("there is no StreamingPipeline and no IngestionRun in it".to_owned()));
    }
    (good, findings)
}

fn of_pipeline(name: &str, value: &Value) -> Vec<Finding> {
    let (resource, mut findings) = match understand::<StreamingPipeline>(name, value) {
        Ok(understood) => understood,
        Err(wrong) => return wrong,
    };
    findings.extend(validate(&resource).rejected.into_iter().map(|rejected| Finding {
        resource: name.to_owned(),
        problem: rejected.to_string(),
        excerpt: rejected.excerpt,
    }));
    findings
}

/// Reads a resource and finds the fields that it does not have; or says why it cannot be read.
fn understand<R: DeserializeOwned + Serialize>(name: &str, value: &Value) -> Result<(R, Vec<Finding>), Vec<Finding>> {
    let plain = |problem| Finding { resource: name.to_owned(), problem, excerpt: None };
    let written = without_nulls(value);
    let resource: R = serde_json::from_value(written.clone())
        .map_err(|error| vec![plain(format!("it is not of the resource's form: {error}"))])?;
    let understood = serde_json::to_value(&resource).expect("a resource is plain data");
    let mut unknown = Vec::new();
    unknown_fields(&written["spec"], &understood["spec"], "spec", &mut unknown);
    Ok((resource, unknown.into_iter().map(plain).collect()))
}

/// Finds what was written and is not in what was understood.
fn unknown_fields(written: &Value, understood: &Value, path: &str, problems: &mut Vec<String>) {
    match (written, understood) {
        (Value::Object(written), Value::Object(understood)) => {
            for (name, value) in written {
                let path = format!("{path}.{name}");
                match understood.get(name) {
                    Some(understood) => unknown_fields(value, understood, &path, problems),
                    // What is empty may be left out again.
                    None if value.as_array().is_some_and(Vec::is_empty) => {}
                    None if value.as_object().is_some_and(|fields| fields.is_empty()) => {}
                    None => problems.push(format!("{path}: there is no such field")),
                }
            }
        }
        (Value::Array(written), Value::Array(understood)) => {
            for (index, (written, understood)) in written.iter().zip(understood).enumerate() {
                unknown_fields(written, understood, &format!("{path}[{index}]"), problems);
            }
        }
        _ => {}
    }
}

/// The API server drops null where the schema does not allow it.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.clone(), without_nulls(value)))
            .collect(),
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        value => value.clone(),
    }
}
