//! SQL compiled by the program itself, in a process beside it: the same answers as in the process, and what becomes of
//! a compiler that falls over, is killed, or cannot be started.

#![expect(clippy::disallowed_methods, reason = "tests read fixtures and the clock")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use millrace_api::{StreamingPipeline, validate};
use millrace_operator::compiler::Compiler;
use rstest::rstest;
use serde_json::json;

const OPERATOR: &str = env!("CARGO_BIN_EXE_operator");

fn pipeline(sql: &str) -> Result<StreamingPipeline> {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../e2e/samples/accepted/one-of-each.yaml");
    let mut resource: serde_json::Value = serde_yaml::from_str(&std::fs::read_to_string(sample)?)?;
    let query = &mut resource["spec"]["processor"]["queries"][0];
    query["sql"] = json!(sql);
    query["columns"] = json!([{"name": "id", "type": "text"}]);
    Ok(serde_json::from_value(resource)?)
}

/// Writes a program that does what the shell lines say.
fn program(directory: &tempfile::TempDir, lines: &str) -> Result<PathBuf> {
    let path = directory.path().join("compiler");
    std::fs::write(&path, format!("#!/bin/sh\n{lines}\n"))?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

fn stream(pipeline: &StreamingPipeline) -> String {
    pipeline.spec.processor.queries[0].from.clone()
}

#[rstest]
#[case::good("SELECT id FROM {stream}", 0)]
#[case::no_such_column("SELECT id,\n  uper(id) AS name FROM {stream}", 1)]
#[tokio::test]
async fn beside_the_process_it_is_judged_as_within(#[case] sql: &str, #[case] problems: usize) -> Result<()> {
    let topic = stream(&pipeline(sql)?);
    let resource = pipeline(&sql.replace("{stream}", &format!("\"{topic}\"")))?;
    let beside = Compiler::of(OPERATOR).validate(&resource).await?;
    ensure!(beside == validate(&resource, millrace_sql::judge), "beside: {:?}", beside.rejected);
    ensure!(beside.rejected.len() == problems, "{:?}", beside.rejected);
    Ok(())
}

#[tokio::test]
async fn what_is_known_is_not_compiled_again() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let count = directory.path().join("count");
    let counting = format!("echo once >> {}; exec {OPERATOR} compile", count.display());
    let compiler = Compiler::of(program(&directory, &counting)?);
    let times = || Ok::<_, std::io::Error>(std::fs::read_to_string(&count)?.lines().count());
    let (first, second) = (pipeline("SELECT id FROM a")?, pipeline("SELECT id FROM b")?);
    for _ in 0..3 {
        compiler.validate(&first).await?;
    }
    ensure!(times()? == 1, "{} times for one text", times()?);
    compiler.validate(&second).await?;
    ensure!(times()? == 2, "a changed text is compiled");
    compiler.validate(&first).await?;
    ensure!(times()? == 3, "only the last text of a pipeline is kept");
    Ok(())
}

/// A panic and an overflow are the query's fault, and its pipeline's other parts go on.
#[rstest]
#[case::panic("exit 101")]
#[case::overflow("kill -SEGV $$")]
#[case::abort("kill -ABRT $$")]
#[tokio::test]
async fn a_compiler_that_falls_over_rejects_the_query(#[case] lines: &str) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let resource = pipeline("SELECT id FROM a")?;
    let validated = Compiler::of(program(&directory, lines)?).validate(&resource).await?;
    let message = &validated.rejected.first().context("nothing is rejected")?.message;
    ensure!(message.contains("line 1, column 1: the SQL compiler crashed"), "{message}");
    ensure!(validated.pipeline.is_some_and(|pipeline| pipeline.processor.queries.is_empty()), "the query runs");
    Ok(())
}

/// What says nothing about the query rejects nothing: the pass fails and comes again.
#[rstest]
#[case::killed("kill -KILL $$", "was terminated: signal: 9")]
#[case::an_error("echo no >&2; exit 1", "exit status: 1: no")]
#[case::nonsense("cat >/dev/null; echo nonsense", "cannot read the SQL compiler's answer")]
#[tokio::test]
async fn a_compiler_that_is_ended_rejects_nothing(#[case] lines: &str, #[case] said: &str) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let error = Compiler::of(program(&directory, lines)?).validate(&pipeline("SELECT id FROM a")?).await;
    let message = error.err().context("it is judged")?.to_string();
    ensure!(message.contains(said), "{message}");
    let absent = Compiler::of(directory.path().join("absent")).validate(&pipeline("SELECT id FROM a")?).await;
    ensure!(absent.err().context("it is judged")?.to_string() == "cannot start the SQL compiler");
    Ok(())
}
