//! Judges what a source says of its runs: params, schedule, and the expressions that use them.
//!
//! A fault belongs to one source and takes that source out; everything else goes on.

use millrace_terms::template::expressions_in;
use millrace_terms::{HeaderValue, HttpSettings, Origin};

use super::Fault;
use super::fields::{RECORD_VARIABLE, fault_of};
use crate::crd::{Source, StreamingPipelineSpec};
use crate::pipeline::Pipeline;
use crate::rejected::Rejected;
use crate::{params, schedule};

/// Variable with the values of the source's params.
pub const PARAMS_VARIABLE: &str = "params";

/// Variable with where an endpoint stands that has a position.
pub const SINCE_VARIABLE: &str = "since";

/// Variable with the name and the time of a run.
pub const RUN_VARIABLE: &str = "run";

/// Returns every fault, in the order of the resource, and gives the pipeline's sources what is parsed here.
pub(super) fn check(spec: &StreamingPipelineSpec, pipeline: &mut Pipeline) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (index, source) in spec.producer.sources.iter().enumerate() {
        let path = format!("spec.producer.sources[{index}]");
        let mut rejected = params::check(&path, &source.params);
        if rejected.is_empty() {
            rejected.extend(values(&path, source, pipeline));
        }
        rejected.extend(expressions(&path, source, pipeline));
        faults.extend(rejected.into_iter().map(|rejected| Fault { name: source.name.clone(), rejected }));
    }
    faults
}

/// Parses the schedule, or gives a continuous source the defaults of its params.
fn values(path: &str, source: &Source, pipeline: &mut Pipeline) -> Vec<Rejected> {
    let Some(written) = &source.schedule else {
        return match params::values(&source.params, &Default::default(), &format!("{path}.params")) {
            Ok(values) => {
                let continuous = pipeline.producer.sources.iter_mut().find(|settings| settings.name == source.name);
                continuous.into_iter().for_each(|settings| settings.params = values.clone());
                Vec::new()
            }
            Err(wrong) => wrong.into_iter().map(without_default).collect(),
        };
    };
    match schedule::parse(&format!("{path}.schedule"), written, &source.params) {
        Ok(parsed) => {
            let runnable = pipeline.producer.runnable.iter_mut().find(|found| found.settings.name == source.name);
            runnable.into_iter().for_each(|found| found.schedule = Some(parsed.clone()));
            Vec::new()
        }
        Err(wrong) => wrong,
    }
}

fn without_default(rejected: Rejected) -> Rejected {
    let message = "a source without a schedule is fetched continuously, without values for its params; add a default, \
                   or a schedule (without cron, it runs on request only)";
    Rejected { message: message.to_owned(), ..rejected }
}

/// Judges each expression of a polled endpoint. Only runs have a name and a time.
fn expressions(path: &str, source: &Source, pipeline: &Pipeline) -> Vec<Rejected> {
    let mut known = vec![PARAMS_VARIABLE];
    known.extend(source.schedule.as_ref().map(|_| RUN_VARIABLE));
    let found = pipeline.producer.runnable.iter().find(|found| found.settings.name == source.name);
    let Some(Origin::Http(http)) = found.map(|found| &found.settings.origin) else { return Vec::new() };
    let HttpSettings { url, query, body, headers, since, .. } = http;
    let mut rejected = Vec::new();
    if let Some(since) = since {
        known.push(SINCE_VARIABLE);
        let fault = fault_of(since, &[RECORD_VARIABLE]);
        rejected.extend(fault.map(|fault| Rejected::new(format!("{path}.http.since"), fault)));
    }
    let mut judge = |field: String, expression: &str| {
        let fault = fault_of(expression, &known);
        rejected.extend(fault.map(|fault| Rejected::new(format!("{path}.http.{field}"), fault)));
    };
    for (name, expression) in query {
        judge(format!("query.{name}"), expression);
    }
    for (index, header) in headers.iter().enumerate() {
        if let HeaderValue::Expression(expression) = &header.value {
            judge(format!("headers[{index}].expression"), expression);
        }
    }
    body.iter().for_each(|expression| judge("body".to_owned(), expression));
    match expressions_in(url) {
        Ok(found) => found.into_iter().for_each(|expression| judge("url".to_owned(), expression)),
        Err(problem) => rejected.push(Rejected::new(format!("{path}.http.url"), problem)),
    }
    rejected
}
