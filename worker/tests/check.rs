//! `worker check` as a person runs it: what it prints, and its exit code.

#![expect(clippy::disallowed_methods, reason = "tests read fixtures and the clock")]

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

struct Answer {
    code: Option<i32>,
    lines: Vec<String>,
}

fn check(text: &str) -> Answer {
    let mut worker = Command::new(env!("CARGO_BIN_EXE_worker"))
        .args(["check", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the worker starts");
    worker.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("the worker reads");
    let output = worker.wait_with_output().expect("the worker ends");
    let lines = String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect();
    Answer { code: output.status.code(), lines }
}

fn samples() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../e2e/samples/accepted")
}

fn computed() -> String {
    std::fs::read_to_string(samples().join("sql-computed.yaml")).expect("a sample")
}

#[test]
fn a_good_file_is_ok() {
    let answer = check(&computed());
    assert_eq!(answer.code, Some(0), "{:?}", answer.lines);
    assert_eq!(answer.lines, ["users: ok"]);
}

/// Negative control of the test above: the same file with four faults.
#[test]
fn each_fault_is_named_with_its_field_and_its_place() {
    let text = computed();
    let faulty = text
        .replace("lower(email)", "lowr(email)")
        .replace("nat IN ('DE', 'FR')", "nat = 1")
        .replace("key: email", "key: email\n      fields: {email: recrod.email, id: record.id, name: record.n, adult: 'true', registered: 'record.r'}")
        .replace("replicas: 1\n    storage: {size: 1Gi}\n  kafka:", "replicsa: 3\n    replicas: 1\n    storage: {size: 1Gi}\n  kafka:");
    assert_ne!(faulty, text);
    let answer = check(&faulty);
    assert_eq!(answer.code, Some(2));
    insta::assert_yaml_snapshot!(answer.lines);
}

#[test]
fn what_is_no_pipeline_is_said_to_be_none() {
    for (text, says) in [
        ("kind: ConfigMap\n", "there is no StreamingPipeline and no IngestionRun in it"),
        ("a: [\n", "it is no YAML"),
        (
            "kind: StreamingPipeline\nmetadata: {name: x}\nspec: {}\n",
            "x: it is not of the resource's form: missing field",
        ),
    ] {
        let answer = check(text);
        assert_eq!(answer.code, Some(2), "{text}");
        assert!(answer.lines[0].starts_with(says), "{:?}", answer.lines);
    }
}

#[test]
fn every_document_of_a_file_is_checked() {
    let bad = computed().replace("lower(email)", "lowr(email)").replace("name: users\nspec", "name: other\nspec");
    let answer = check(&format!("{}---\nkind: Secret\n---\n{bad}", computed()));
    assert_eq!(answer.code, Some(2));
    assert_eq!(answer.lines[0], "users: ok");
    assert!(
        answer.lines[1].starts_with("other: spec.processor.queries[0].sql: query 'users': line 2, column 8: "),
        "{:?}",
        answer.lines
    );
}

#[test]
fn every_accepted_sample_is_ok() {
    let mut checked = 0;
    for entry in std::fs::read_dir(samples()).expect("samples") {
        let path = entry.expect("an entry").path();
        let (good, findings) = millrace_worker::check::check(&std::fs::read_to_string(&path).expect("a sample"));
        assert_eq!(findings, [], "{}", path.display());
        checked += good.len();
    }
    assert!(checked >= 40, "only {checked} resources");
}
