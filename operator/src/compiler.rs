//! Compiles the SQL of queries, each in a process of its own.
//!
//! Code and heap of the compiler, some 15 MiB that would stay for ever, never come into the operator's memory; and a
//! text that makes the compiler panic or overflow its stack ends that process alone. The process is this program with
//! the argument `compile`: a [`SqlQuestion`] as JSON on its standard input, what is wrong with it on its output. What a
//! pipeline's queries were found to be is remembered until they change (docs/decisions/0010-sql-beside-the-operator.md).

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kube::ResourceExt;
use millrace_api::names::Names;
use millrace_api::{StreamingPipeline, Validated, validate};
use millrace_terms::{Position, Problem, SqlQuestion};
use snafu::{ResultExt, Snafu, ensure};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// Longest that one query may take to compile: on two busy cores it is a tenth of a second.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Where Linux has the program that runs.
const THIS_PROGRAM: &str = "/proc/self/exe";
/// How Rust ends a program that panics.
const PANICKED: i32 = 101;
/// Signals that a process gets for its own doing: SIGILL, SIGABRT (which a stack that overflows ends with), SIGBUS and
/// SIGSEGV, by their numbers on x86 and Arm.
const OWN_DOING: [i32; 4] = [4, 6, 7, 11];

/// Why a query was not compiled; none of them says anything about the query.
#[derive(Debug, Snafu)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Compile {
    #[snafu(display("cannot start the SQL compiler"))]
    Start { source: std::io::Error },
    #[snafu(display("cannot communicate with the SQL compiler"))]
    Talk { source: std::io::Error },
    #[snafu(display("the SQL compiler did not answer within {} s", TIMEOUT.as_secs()))]
    Timeout { source: tokio::time::error::Elapsed },
    #[snafu(display("the SQL compiler was terminated: {status}: {said}"))]
    Ended { status: ExitStatus, said: String },
    #[snafu(display("cannot read the SQL compiler's answer"))]
    ReadAnswer { source: serde_json::Error },
}

type Answers = Vec<(SqlQuestion, Vec<Problem>)>;

/// Compiles and remembers.
#[derive(Clone)]
pub struct Compiler {
    program: PathBuf,
    known: Arc<Mutex<BTreeMap<Names, Answers>>>,
}

impl Default for Compiler {
    fn default() -> Self {
        Self::of(THIS_PROGRAM)
    }
}

impl Compiler {
    /// Takes the program that compiles when it is called with the argument `compile`.
    pub fn of(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), known: Arc::default() }
    }

    /// Validates a pipeline, its SQL included.
    pub async fn validate(&self, resource: &StreamingPipeline) -> Result<Validated, Compile> {
        let names = Names::new(resource.namespace().unwrap_or_default(), resource.name_any());
        let known = self.known.lock().expect("no holder of this lock panics").get(&names).cloned().unwrap_or_default();
        let mut asked = Vec::new();
        let validated = validate(resource, |question| {
            let problems = answer(&known, &question);
            asked.push((question, problems.clone()));
            problems.unwrap_or_default()
        });
        if asked.iter().all(|(_, problems)| problems.is_some()) && asked.len() == known.len() {
            return Ok(validated);
        }
        let answers = self.answers(&names, asked).await?;
        Ok(validate(resource, |question| answer(&answers, &question).unwrap_or_default()))
    }

    /// Forgets a pipeline that is gone.
    pub fn forget(&self, names: &Names) {
        self.known.lock().expect("no holder of this lock panics").remove(names);
    }

    /// Compiles what is not known yet, and remembers it all and nothing else.
    async fn answers(
        &self,
        names: &Names,
        asked: Vec<(SqlQuestion, Option<Vec<Problem>>)>,
    ) -> Result<Answers, Compile> {
        let mut answers = Vec::with_capacity(asked.len());
        for (question, known) in asked {
            let problems = match known {
                Some(problems) => problems,
                None => self.compile(&question).await?,
            };
            answers.push((question, problems));
        }
        self.known.lock().expect("no holder of this lock panics").insert(names.clone(), answers.clone());
        Ok(answers)
    }

    async fn compile(&self, question: &SqlQuestion) -> Result<Vec<Problem>, Compile> {
        let input = serde_json::to_vec(question).expect("a question is JSON");
        let mut command = Command::new(&self.program);
        command.arg("compile").env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn().context(StartSnafu)?;
        let mut stdin = child.stdin.take().expect("it was asked for");
        let talk = async {
            // It reads all before it writes anything. A process that ends early tells why by how it ended.
            let _ = stdin.write_all(&input).await;
            drop(stdin);
            child.wait_with_output().await
        };
        let output = tokio::time::timeout(TIMEOUT, talk).await.context(TimeoutSnafu)?.context(TalkSnafu)?;
        let said = String::from_utf8_lossy(&output.stderr);
        if is_own_doing(output.status) {
            tracing::error!(status = %output.status, %said, "the SQL compiler crashed, which is a bug");
            return Ok(vec![broke_down()]);
        }
        ensure!(output.status.success(), EndedSnafu { status: output.status, said });
        serde_json::from_slice(&output.stdout).context(ReadAnswerSnafu)
    }
}

fn answer(known: &[(SqlQuestion, Vec<Problem>)], question: &SqlQuestion) -> Option<Vec<Problem>> {
    known.iter().find(|(asked, _)| asked == question).map(|(_, problems)| problems.clone())
}

/// Returns whether the process fell over what it was asked, rather than being ended by somebody.
fn is_own_doing(status: ExitStatus) -> bool {
    status.code() == Some(PANICKED) || status.signal().is_some_and(|signal| OWN_DOING.contains(&signal))
}

fn broke_down() -> Problem {
    let message = "the SQL compiler crashed on it, which is a bug in Millrace; report the query, and simplify it in \
                   the meantime";
    Problem { position: Position { line: 1, column: 1 }, column: None, message: message.into() }
}

/// `operator compile`: answers one question from standard input on standard output.
pub fn answer_one() -> Result<String, Box<dyn std::error::Error>> {
    let question: SqlQuestion = serde_json::from_reader(std::io::stdin().lock())?;
    Ok(serde_json::to_string(&millrace_sql::judge(question))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_doing_is_the_querys_fault() {
        let ended = |raw: i32| is_own_doing(ExitStatus::from_raw(raw));
        assert!(ended(PANICKED << 8), "a panic");
        assert!(ended(6) && ended(11), "an overflow of the stack");
        assert!(!ended(9), "killed, perhaps for want of memory");
        assert!(!ended(15), "told to stop");
        assert!(!ended(0) && !ended(1 << 8), "an answer, an error");
    }
}
