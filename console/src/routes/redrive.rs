//! Redrives dead letters: has a processor's pod run the worker's own command, with the viewer's token.
//!
//! In comes which letters, out go counts and never a record. What goes on in the pod does not end with the connection.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::extract::Path;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::{AttachParams, AttachedProcess, ListParams};
use kube::{Api, ResourceExt};
use millrace_api::labels::pod_selector;
use millrace_api::names::{Component, Names};
use millrace_api::pods::is_ready;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

use super::actions::forbidden;
use crate::access::Right;
use crate::api::letters::{Redrive, RedriveAnswer, Redriven};
use crate::audit;
use crate::refusal::Refusal;
use crate::view::quoted;
use crate::viewer::Viewer;

/// Longest that the end of a redrive is awaited.
const LONGEST: Duration = Duration::from_secs(60);
/// Most bytes that are kept of each thing that the worker prints: the last ones.
const MOST_BYTES: usize = 64 << 10;
/// Most lines of the worker's log that a refusal gives as its causes: the last ones.
const MOST_LINES: usize = 5;
/// Longest name of a reason.
const LONGEST_REASON: usize = 100;

/// Sends the records of dead letters back, or says what would be sent.
pub async fn redrive(
    viewer: Viewer,
    Path((namespace, name)): Path<(String, String)>,
    Json(wanted): Json<Redrive>,
) -> Result<Json<RedriveAnswer>, Refusal> {
    // A viewer who goes away does not end what goes on in the pod, so it is awaited and put on record all the same.
    let acting = tokio::spawn(async move {
        let names = Names::new(namespace, name);
        let answer = redriven(&viewer, &names, &wanted).await;
        if !wanted.dry_run {
            audit::action(viewer.user(), "redrive", &names, wanted.reason.as_deref().unwrap_or("all reasons"), &answer);
        }
        answer
    });
    let acted = acting.await.map_err(|error| Refusal::Broken {
        message: "the redrive was broken off".to_owned(),
        causes: vec![error.to_string()],
    });
    acted?.map(Json)
}

async fn redriven(viewer: &Viewer, names: &Names, wanted: &Redrive) -> Result<RedriveAnswer, Refusal> {
    viewer.pipeline(names.namespace(), names.pipeline()).await?;
    viewer.require(names, Right::Messages).await?;
    viewer.require(names, Right::Redrive).await?;
    check(wanted)?;
    viewer.count_search()?;
    let arguments = arguments(wanted);
    let kubectl = kubectl(names, &arguments);
    let pod = processor(viewer, names).await?;
    let command = ["worker", "letters"].map(str::to_owned).into_iter().chain(arguments).chain(["--json".to_owned()]);
    let api: Api<Pod> = Api::namespaced(viewer.client().clone(), names.namespace());
    let params = AttachParams::default().container(Component::Processor.as_str());
    let process = api.exec(&pod, command.collect::<Vec<_>>(), &params).await;
    let process = process.map_err(|error| viewer.kube(&error, &format!("pod '{pod}'")))?;
    // With containerd, a process whose connection is closed goes on to its end, and what it prints is lost.
    let Ok(ended) = timeout(LONGEST, end_of(process)).await else {
        let seconds = LONGEST.as_secs();
        let message = format!("not ended within {seconds} s; it goes on in pod '{pod}', and how it ends is not told");
        return Ok(RedriveAnswer { message, redriven: None, kubectl });
    };
    let redriven = told(&ended?, &pod)?;
    Ok(RedriveAnswer { message: sentence(&redriven, wanted.dry_run), redriven: Some(redriven), kubectl })
}

/// Refuses what cannot be the name of a reason. An empty one could be meant as all of them, or not.
fn check(Redrive { reason, again: _, dry_run: _ }: &Redrive) -> Result<(), Refusal> {
    let Some(reason) = reason else { return Ok(()) };
    if reason.is_empty() || reason.len() > LONGEST_REASON || reason.chars().any(char::is_control) {
        let message = format!("it must be a name of up to {LONGEST_REASON} bytes; absent: all reasons");
        return Err(Refusal::field("reason", message));
    }
    Ok(())
}

/// Returns what follows `worker letters`.
pub fn arguments(Redrive { reason, again, dry_run }: &Redrive) -> Vec<String> {
    let mut arguments = vec!["redrive".to_owned()];
    // As one word, so that no name of a reason can be taken for a flag.
    arguments.extend(reason.as_ref().map(|reason| format!("--reason={reason}")));
    arguments.extend(again.then(|| "--again".to_owned()));
    arguments.extend(dry_run.then(|| "--dry-run".to_owned()));
    arguments
}

/// Returns the command that runs `worker letters` in a processor's pod.
pub fn kubectl(names: &Names, arguments: &[String]) -> String {
    let (namespace, deployment) = (names.namespace(), names.component(Component::Processor));
    let words: Vec<String> = arguments.iter().map(|argument| quoted(argument)).collect();
    format!("kubectl exec -n {namespace} deploy/{deployment} -- worker letters {}", words.join(" "))
}

/// Returns the pod to run it in.
async fn processor(viewer: &Viewer, names: &Names) -> Result<String, Refusal> {
    let api: Api<Pod> = Api::namespaced(viewer.client().clone(), names.namespace());
    let selector = pod_selector(names, Component::Processor);
    let listed = api.list(&ListParams::default().labels(&selector)).await;
    let listed = listed.map_err(|error| forbidden(viewer.kube(&error, "pods"), "list pods"))?;
    first_ready(&listed.items).ok_or_else(|| Refusal::Unavailable {
        message: format!("no processor of pipeline '{}' is ready to redrive letters", names.pipeline()),
        causes: Vec::new(),
    })
}

fn first_ready(pods: &[Pod]) -> Option<String> {
    let ready = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none() && is_ready(pod));
    ready.map(ResourceExt::name_any).min()
}

/// What a process has left.
struct Ended {
    /// How it ended, as Kubernetes has it.
    status: Status,
    /// The end of what it wrote to standard output.
    printed: Vec<u8>,
    /// The end of what it wrote to standard error.
    logged: Vec<u8>,
}

async fn end_of(mut process: AttachedProcess) -> Result<Ended, Refusal> {
    let printed = process.stdout().expect("it was asked for, and is taken once");
    let logged = process.stderr().expect("it was asked for, and is taken once");
    let status = process.take_status().expect("it is taken once");
    // A connection that breaks off does not end the streams, but it drops the status.
    let status = async {
        status.await.ok_or_else(|| Refusal::Unavailable {
            message: "the connection to the pod broke off: whether the redrive has ended is unknown".to_owned(),
            causes: Vec::new(),
        })
    };
    let streams = async { Ok::<_, Refusal>(tokio::join!(last_of(printed), last_of(logged))) };
    let (status, (printed, logged)) = tokio::try_join!(status, streams)?;
    Ok(Ended { status, printed, logged })
}

/// Reads to the end, so that nobody waits for a reader, and returns the last bytes.
async fn last_of(mut stream: impl AsyncRead + Unpin) -> Vec<u8> {
    let mut kept = Vec::new();
    while let Ok(1..) = stream.read_buf(&mut kept).await {
        if kept.len() > 2 * MOST_BYTES {
            kept.drain(..kept.len() - MOST_BYTES);
        }
    }
    kept.drain(..kept.len().saturating_sub(MOST_BYTES));
    kept
}

/// Returns what the worker says that it did, or why it could not.
fn told(Ended { status, printed, logged }: &Ended, pod: &str) -> Result<Redriven, Refusal> {
    if status.status.as_deref() != Some("Success") {
        let message = format!("the worker in pod '{pod}' ended early; what it had sent stays sent");
        let mut causes = last_lines(logged);
        if causes.is_empty() {
            causes.extend(status.message.clone());
        }
        return Err(Refusal::Unavailable { message, causes });
    }
    serde_json::from_slice(printed).map_err(|error| Refusal::Broken {
        message: format!("what the worker in pod '{pod}' says it did cannot be read"),
        causes: vec![error.to_string()],
    })
}

/// A line of the worker's log.
#[derive(Deserialize)]
struct LogLine {
    message: String,
}

/// Returns the last lines of a log, without what stands around their messages.
fn last_lines(logged: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(logged);
    let written: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = &written[written.len().saturating_sub(MOST_LINES)..];
    let message = |line: &&str| {
        let parsed: Result<LogLine, _> = serde_json::from_str(line);
        parsed.map_or_else(|_| (*line).to_owned(), |line| line.message)
    };
    last.iter().map(message).collect()
}

fn sentence(Redriven { sent, kept }: &Redriven, dry_run: bool) -> String {
    let sum = |counts: &BTreeMap<String, u64>| counts.values().sum::<u64>();
    let (sent, kept) = (sum(sent), sum(kept));
    match (sent, kept, dry_run) {
        (0, 0, _) => "no letter is left to redrive".to_owned(),
        (_, _, true) => format!("{} would be sent, {} would be left", plural(sent, "record"), plural(kept, "letter")),
        (_, _, false) => format!("{} sent, {} left", plural(sent, "record"), plural(kept, "letter")),
    }
}

fn plural(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use millrace_worker::letters;
    use serde_json::{Value, json};

    use super::*;

    fn wanted(written: Value) -> Redrive {
        serde_json::from_value(written).expect("a redrive")
    }

    fn ended(status: &str, printed: &str, logged: &str) -> Ended {
        let status = Status {
            status: Some(status.to_owned()),
            message: Some("command terminated with non-zero exit code".to_owned()),
            ..Status::default()
        };
        Ended { status, printed: printed.as_bytes().to_vec(), logged: logged.as_bytes().to_vec() }
    }

    #[test]
    fn what_is_wanted_becomes_the_worker_s_arguments() {
        assert_eq!(arguments(&wanted(json!({}))), ["redrive"]);
        let all = wanted(json!({"reason": "--again", "again": true, "dryRun": true}));
        assert_eq!(arguments(&all), ["redrive", "--reason=--again", "--again", "--dry-run"]);
    }

    #[test]
    fn the_command_does_the_same() {
        let names = Names::new("shop", "users");
        let command = kubectl(&names, &arguments(&wanted(json!({"reason": "it's"}))));
        let expected = r"kubectl exec -n shop deploy/users-processor -- worker letters redrive '--reason=it'\''s'";
        assert_eq!(command, expected);
    }

    #[test]
    fn only_a_name_can_be_a_reason() {
        assert_eq!(check(&wanted(json!({}))), Ok(()));
        assert_eq!(check(&wanted(json!({"reason": "BadValue"}))), Ok(()));
        for reason in ["", "a\0b", "a\nb", &"a".repeat(LONGEST_REASON + 1)] {
            assert!(matches!(check(&wanted(json!({"reason": reason}))), Err(Refusal::Rejected { .. })), "{reason:?}");
        }
        assert!(serde_json::from_value::<Redrive>(json!({"raeson": "BadValue"})).is_err());
    }

    #[test]
    fn a_pod_that_is_ready_and_stays_is_chosen() {
        let pod = |name: &str, ready: &str, deleted: Option<&str>| -> Pod {
            let pod = json!({
                "metadata": {"name": name, "deletionTimestamp": deleted},
                "status": {"conditions": [{"type": "Ready", "status": ready}]},
            });
            serde_json::from_value(pod).expect("a pod")
        };
        let going = pod("a", "True", Some("2026-01-01T00:00:00Z"));
        let starting = pod("b", "False", None);
        assert_eq!(first_ready(&[going.clone(), starting.clone()]), None);
        let ready = [pod("d", "True", None), going, starting, pod("c", "True", None)];
        assert_eq!(first_ready(&ready).as_deref(), Some("c"));
    }

    #[test]
    fn the_worker_s_counts_are_read() {
        let counts = |counts: &[(&str, u64)]| -> letters::Counts {
            counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
        };
        let did = letters::Redriven { sent: counts(&[("BadValue", 2)]), kept: counts(&[("it was cut", 1)]) };
        let printed = serde_json::to_string(&did).expect("JSON") + "\n";
        let redriven = told(&ended("Success", &printed, ""), "users-processor-1").expect("counts");
        assert_eq!((&redriven.sent, &redriven.kept), (&did.sent, &did.kept));
        assert_eq!(sentence(&redriven, true), "2 records would be sent, 1 letter would be left");
        assert_eq!(sentence(&redriven, false), "2 records sent, 1 letter left");
    }

    #[test]
    fn a_worker_that_fails_says_why() {
        let logged = "1\n2\n3\n4\n\n{\"level\":\"WARN\",\"message\":\"waits\"}\n\
                      {\"level\":\"ERROR\",\"message\":\"failed: cannot ask Kafka\"}\n";
        let Err(Refusal::Unavailable { causes, .. }) = told(&ended("Failure", "", logged), "p") else {
            panic!("it must be refused");
        };
        assert_eq!(causes, ["2", "3", "4", "waits", "failed: cannot ask Kafka"]);
        let Err(Refusal::Unavailable { causes, .. }) = told(&ended("Failure", "", ""), "p") else {
            panic!("it must be refused");
        };
        assert_eq!(causes, ["command terminated with non-zero exit code"]);
        assert!(matches!(told(&ended("Success", "2 sent: BadValue\n", ""), "p"), Err(Refusal::Broken { .. })));
    }

    #[tokio::test]
    async fn only_the_end_of_what_is_printed_is_kept() {
        assert_eq!(last_of(b"short".as_slice()).await, b"short");
        let long: Vec<u8> = (0..5 * MOST_BYTES + 1).map(|index| (index % 251) as u8).collect();
        assert_eq!(last_of(long.as_slice()).await, long[long.len() - MOST_BYTES..]);
    }
}
