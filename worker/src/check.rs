//! `worker check`: the rules that need no cluster, applied to a file. Pure.
//!
//! YAML documents in, findings out: what is no field of the resource, and what the operator would reject. Admission's
//! own rules run inside the API server: `kubectl apply --dry-run=server`.

use std::fmt;

use millrace_api::{StreamingPipeline, validate};
use serde::Deserialize;
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

/// Checks every StreamingPipeline of a file; returns the names of the good ones, and what is wrong with the others.
pub fn check(text: &str) -> (Vec<String>, Vec<Finding>) {
    let mut good = Vec::new();
    let mut findings = Vec::new();
    let mut pipelines = 0;
    for document in serde_yaml::Deserializer::from_str(text) {
        let value = match Value::deserialize(document) {
            Ok(value) => value,
            Err(error) => {
                findings.push(Finding::of_file(format!("it is no YAML: {error}")));
                break;
            }
        };
        if value["kind"] != "StreamingPipeline" {
            continue;
        }
        pipelines += 1;
        let resource = value["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let faults = problems(&resource, &value);
        if faults.is_empty() {
            good.push(resource);
        }
        findings.extend(faults);
    }
    if pipelines == 0 && findings.is_empty() {
        findings.push(Finding::of_file("there is no StreamingPipeline in it".to_owned()));
    }
    (good, findings)
}

fn problems(name: &str, value: &Value) -> Vec<Finding> {
    let plain = |problem| Finding { resource: name.to_owned(), problem, excerpt: None };
    let written = without_nulls(value);
    let resource: StreamingPipeline = match serde_json::from_value(written.clone()) {
        Ok(resource) => resource,
        Err(error) => return vec![plain(format!("it is not of the resource's form: {error}"))],
    };
    let understood = serde_json::to_value(&resource).expect("a resource is plain data");
    let mut unknown = Vec::new();
    unknown_fields(&written["spec"], &understood["spec"], "spec", &mut unknown);
    let mut findings: Vec<Finding> = unknown.into_iter().map(plain).collect();
    findings.extend(validate(&resource).rejected.into_iter().map(|rejected| Finding {
        resource: name.to_owned(),
        problem: rejected.to_string(),
        excerpt: rejected.excerpt,
    }));
    findings
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
