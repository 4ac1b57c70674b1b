//! Every refusal at admission: tries `e2e/samples/` and `examples/` against the API server.
//!
//! A sample is one document, which is created by dry run, or two: the second, an update by dry run of the first. Only
//! that first is really created, for a moment. A refused sample opens with `# path:` and `# says:`; the answer must name
//! that field and contain that text.

mod answer;
mod sample;

use std::time::Duration;

use answer::{Answer, Scratch};
use millrace_api::{IngestionRun, StreamingPipeline, validate_sources};
use sample::{Refusal, example_files, sample_files};
use serde_json::Value;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kube-apiserver and etcd"]
async fn refused_samples_are_refused_where_and_as_they_say() {
    let samples = sample_files("refused");
    assert!(samples.len() >= 45, "only {} refused samples", samples.len());
    let server = Scratch::make("admission-refused").await;
    let mut faults = Vec::new();
    for sample in &samples {
        let refusal = sample.refusal.as_ref().expect("a refused sample opens with '# path:' and '# says:'");
        let answer = server.attempt(sample).await;
        println!("{:<40} {answer}", sample.name);
        faults.extend(judge_refused(refusal, &answer).err().map(|fault| format!("{}: {fault}", sample.name)));
    }
    assert!(faults.is_empty(), "{} of {} refused samples:\n{}", faults.len(), samples.len(), faults.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kube-apiserver and etcd"]
async fn accepted_samples_and_examples_are_accepted_and_valid() {
    let samples = sample_files("accepted");
    assert!(samples.len() >= 22, "only {} accepted samples", samples.len());
    let examples = example_files();
    assert!(examples.len() >= 5, "only {} examples", examples.len());
    let server = Scratch::make("admission-accepted").await;
    let mut faults = Vec::new();
    for sample in samples.iter().chain(&examples) {
        let answer = server.attempt(sample).await;
        faults.extend(judge_accepted(&answer).err().map(|fault| format!("{}: {fault}", sample.name)));
    }
    assert!(faults.is_empty(), "{} of {} accepted samples:\n{}", faults.len(), samples.len(), faults.join("\n"));
}

/// Negative control: the rules for refused samples fail on accepted ones, and the other way round.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kube-apiserver and etcd"]
async fn a_sample_under_the_wrong_rules_fails() {
    let server = Scratch::make("admission-controls").await;
    let accepted = sample_files("accepted");
    let valid =
        accepted.iter().find(|sample| sample.name == "one-of-each").expect("e2e/samples/accepted/one-of-each.yaml");
    let refused = sample_files("refused");
    let even =
        refused.iter().find(|sample| sample.name == "zookeeper-even").expect("e2e/samples/refused/zookeeper-even.yaml");
    let (accepted_answer, refused_answer) = (server.attempt(valid).await, server.attempt(even).await);

    let refusal = even.refusal.as_ref().expect("a refused sample opens with '# path:' and '# says:'");
    assert_eq!(judge_refused(refusal, &refused_answer), Ok(()));
    assert!(judge_refused(refusal, &accepted_answer).is_err(), "an accepted sample passes for a refused one");
    assert!(judge_accepted(&refused_answer).is_err(), "a refused sample passes for an accepted one");
    let elsewhere = Refusal { path: "spec.kafka.replicas".to_owned(), ..refusal.clone() };
    assert!(judge_refused(&elsewhere, &refused_answer).is_err(), "the path does not matter");
    let other_words = Refusal { says: "must be prime".to_owned(), ..refusal.clone() };
    assert!(judge_refused(&other_words, &refused_answer).is_err(), "the text does not matter");
}

#[test]
fn every_sample_reads() {
    for sample in sample_files("refused") {
        assert!(sample.refusal.is_some(), "{} does not open with '# path:' and '# says:'", sample.name);
    }
    for sample in sample_files("accepted").into_iter().chain(example_files()) {
        assert!(sample.refusal.is_none(), "{} is accepted and yet says what refuses it", sample.name);
        for document in sample.documents {
            if document["kind"] == "IngestionRun" {
                let _: IngestionRun = serde_json::from_value(document)
                    .unwrap_or_else(|error| panic!("{} is not an IngestionRun: {error}", sample.name));
                continue;
            }
            let resource: StreamingPipeline = serde_json::from_value(without_nulls(document))
                .unwrap_or_else(|error| panic!("{} is not a StreamingPipeline: {error}", sample.name));
            // Their SQL is judged by the tests of `millrace validate`, which has the compiler.
            assert_eq!(validate_sources(&resource).rejected, [], "{}", sample.name);
        }
    }
}

/// The API server drops null where the schema does not allow it, and we read what it stores.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name, without_nulls(value)))
            .collect(),
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        value => value,
    }
}

fn judge_refused(refusal: &Refusal, answer: &Answer) -> Result<(), String> {
    match answer {
        Answer::Accepted(_) => Err("is accepted".to_owned()),
        Answer::NotTried(error) => Err(error.clone()),
        Answer::Refused(faults) if faults.iter().any(|fault| fault.fits(refusal)) => Ok(()),
        Answer::Refused(_) => {
            Err(format!("is refused otherwise than at {} with '{}': {answer}", refusal.path, refusal.says))
        }
    }
}

fn judge_accepted(answer: &Answer) -> Result<(), String> {
    match answer {
        Answer::Refused(_) => Err(format!("is refused: {answer}")),
        Answer::NotTried(error) => Err(error.clone()),
        // A run is judged with its pipeline, which is not here.
        Answer::Accepted(stored) if stored["kind"] == "IngestionRun" => {
            serde_json::from_value::<IngestionRun>(stored.clone())
                .map(drop)
                .map_err(|error| format!("is stored as what we cannot read: {error}"))
        }
        Answer::Accepted(stored) => {
            let resource: StreamingPipeline = serde_json::from_value(stored.clone())
                .map_err(|error| format!("is stored as what we cannot read: {error}"))?;
            let rejected = validate_sources(&resource).rejected;
            if rejected.is_empty() { Ok(()) } else { Err(format!("passes admission, but validate says {rejected:?}")) }
        }
    }
}

/// How long the API server may take for anything here.
const PATIENCE: Duration = Duration::from_secs(60);
