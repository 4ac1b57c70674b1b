//! `millrace validate` as a person runs it: what it prints, and its exit code; and what it says of SQL.

#![expect(clippy::disallowed_methods, reason = "tests read fixtures and the clock")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use millrace_api::{StreamingPipeline, validate};

struct Answer {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Runs the command with a file on its standard input.
fn answer(text: &str) -> Answer {
    let mut millrace = Command::new(env!("CARGO_BIN_EXE_millrace"))
        .args(["validate", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    millrace.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("the command reads");
    let output = millrace.wait_with_output().expect("the command ends");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Answer { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

fn sample(name: &str) -> String {
    let samples: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../e2e/samples/accepted");
    std::fs::read_to_string(samples.join(name)).expect("a sample")
}

fn computed() -> String {
    sample("sql-computed.yaml")
}

#[test]
fn a_good_file_is_valid() {
    let answer = answer(&computed());
    assert_eq!(answer.code, Some(0), "{}", answer.out);
    assert_eq!(answer.out, "-: 1 resource, valid\n");
}

/// Negative control of the test above: the same file with three faults, and with one of its form.
#[test]
fn each_fault_is_named_with_its_field_and_its_place() {
    let text = computed();
    let mapped = "key: email\n      fields: {email: recrod.email, id: record.id, name: record.n, adult: 'true', \
                  registered: 'record.r'}";
    let faulty = text
        .replace("lower(email)", "lowr(email)")
        .replace("nat IN ('DE', 'FR')", "nat = 1")
        .replace("key: email", mapped);
    assert_ne!(faulty, text);
    let misspelt = text
        .replace("replicas: 1\n    storage: {size: 1Gi}\n  kafka:", "replicsa: 3\n    storage: {size: 1Gi}\n  kafka:");
    assert_ne!(misspelt, text);
    let answers = [answer(&faulty), answer(&misspelt)];
    assert_eq!(answers.each_ref().map(|answer| answer.code), [Some(1); 2]);
    insta::assert_snapshot!(answers.map(|answer| answer.out).join("\n"));
}

#[test]
fn what_is_no_pipeline_is_said_to_be_none() {
    let nothing = answer("kind: ConfigMap\n");
    assert_eq!(nothing.code, Some(2));
    assert!(nothing.err.contains("the input has no StreamingPipeline and no IngestionRun"), "{}", nothing.err);
    for (text, says) in [
        ("a: [\n", "error: "),
        (
            "apiVersion: millrace.dev/v1alpha1\nkind: StreamingPipeline\nmetadata: {name: x}\nspec: {}\n",
            "error: Required value: ",
        ),
    ] {
        let answer = answer(text);
        assert_eq!(answer.code, Some(1), "{text}");
        assert!(answer.out.starts_with(says), "{}", answer.out);
    }
}

#[test]
fn every_document_of_a_file_is_judged() {
    let bad = computed().replace("lower(email)", "lowr(email)");
    let secret = "apiVersion: v1\nkind: Secret\n";
    let answer = answer(&format!("{}---\n{secret}---\n{bad}", computed()));
    assert_eq!(answer.code, Some(1));
    let (before, _) = answer.out.split_once("query 'users': line 2, column 8: ").expect("the fault of the third");
    assert!(before.starts_with("error: "), "{}", answer.out);
    assert!(answer.out.ends_with("-: 1 error\n"), "{}", answer.out);
}

/// The accepted sample with SQL, its SQL replaced.
fn pipeline(sql: &str) -> StreamingPipeline {
    let mut resource: StreamingPipeline = serde_yaml::from_str(&sample("sql-projection.yaml")).expect("a sample");
    resource.spec.processor.queries[0].sql = Some(sql.to_owned());
    resource
}

#[test]
fn faults_in_sql_have_the_path_of_the_field_and_the_place_in_it() {
    let faulty = [
        "SELECT login->'uuid' AS id, emial AS email FROM users_created",
        "SELECT login->'uuid' AS id,\n       upper(login) AS email\nFROM users_created\nWHERE email > 3",
        "SELECT email FROM users_created",
        "SELECT login->'uuid' AS id FROM users",
        "SELECT login->'uuid' AS id, count(*) AS email FROM users_created GROUP BY 1",
    ];
    let said: Vec<(&str, Vec<String>)> = faulty
        .into_iter()
        .map(|sql| {
            (sql, validate(&pipeline(sql), millrace_sql::judge).rejected.iter().map(ToString::to_string).collect())
        })
        .collect();
    insta::assert_yaml_snapshot!(said);
}
