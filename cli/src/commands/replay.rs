//! `replay`: has records of a topic read again, by the annotation `millrace.dev/replay`; with `--dry-run`, shows which.

use std::collections::BTreeMap;

use chrono::Utc;
use kube::ResourceExt;
use millrace_api::StreamingPipeline;
use millrace_api::labels::{REPLAY, requested_replay};
use millrace_api::replay::{Replay as Request, in_short, nonce_of};
use millrace_stores::kafka::{Span, records, refusal, set_back};
use serde_json::{Value, json};

use super::Context;
use super::change::{Change, ours, patch, remove_annotation};
use crate::arguments::Replay;
use crate::cluster::names_of;
use crate::screen::{Format, Screen, document, known, write};
use crate::stores::kafka;
use crate::{Failure, Outcome};

/// What it means for rows.
const MEANING: &str = "\
each record is written again by the queries as they are now, with a later write timestamp: it overwrites its row, and a row
that was deleted or has expired comes back. Until all are read, readers see rows as they were when the record was new. Rows
that the queries no longer write stay. Rows that another topic or client wrote after the record are overwritten, too.
";

/// Has records read again, or shows which.
#[expect(clippy::disallowed_methods, reason = "where the command reads the clock, which names a request")]
pub async fn run(context: &Context<'_>, flags: &Replay) -> Result<Outcome, Failure> {
    let pipeline = context.cluster.pipeline(flags.pipeline.as_deref()).await?;
    is_read(&pipeline, &flags.topic).map_err(Failure::mistake)?;
    let nonce = flags.nonce.clone().unwrap_or_else(|| Utc::now().format("%Y%m%d-%H%M%S").to_string());
    let request = Request { nonce, topic: flags.topic.clone(), from: flags.from };
    if !flags.dry_run {
        is_new(&pipeline, &request).map_err(Failure::mistake)?;
    }
    let names = names_of(&pipeline);
    let mut reached = kafka(&context.cluster, &names).await?;
    let asked = reached.client.spans(&names.consumer_group(), &flags.topic, flags.from.moment()).await;
    let spans = asked?;
    if let Some(refusal) = refusal(&spans, flags.from) {
        return Err(Failure::mistake(refusal));
    }
    if flags.dry_run {
        let text = match context.format {
            Format::Table => table(&spans, &request, context.screen),
            format => document(format, &report(&spans, &request)),
        };
        write(&text)?;
        return Ok(Outcome::Fine);
    }
    let name = pipeline.name_any();
    let annotation = json!({"metadata": {"annotations": {REPLAY: request.to_string()}}});
    let patched = patch(context, &name, &annotation).await;
    patched.map_err(Failure::asking(format!("change pipeline '{name}'")))?;
    write(&change(&pipeline, &request, &spans).text(context.format))?;
    Ok(Outcome::Fine)
}

/// Fails unless a query reads the topic.
fn is_read(pipeline: &StreamingPipeline, topic: &str) -> Result<(), String> {
    if pipeline.spec.processor.queries.iter().any(|query| query.from == topic) {
        return Ok(());
    }
    Err(format!("no query of pipeline '{}' reads topic '{topic}'", pipeline.name_any()))
}

/// Fails if the operator would not take the request for a new one, or does not have an end of the one before.
fn is_new(pipeline: &StreamingPipeline, request: &Request) -> Result<(), String> {
    request.to_string().parse::<Request>()?;
    let last = pipeline.status.as_ref().and_then(|status| status.replay.as_ref());
    let seen = last.map(|last| nonce_of(&last.request));
    if let Some(asked) = requested_replay(pipeline).filter(|asked| Some(nonce_of(asked)) != seen) {
        let asked = in_short(&asked);
        let remove = remove_annotation(pipeline, REPLAY);
        return Err(format!("replay '{asked}' is requested and has not begun; wait for it, or cancel it: {remove}"));
    }
    let Some(last) = last else { return Ok(()) };
    if last.phase.stops_processors() {
        return Err(format!("replay '{}' is in progress: {}", last.request, last.message));
    }
    match nonce_of(&last.request) == request.nonce {
        true => Err(format!("the nonce of '{}' counts once; choose another with --nonce", last.request)),
        false => Ok(()),
    }
}

fn table(spans: &BTreeMap<i32, Span>, request: &Request, screen: &Screen) -> String {
    let offsets = set_back(spans, request.from);
    let row = |(index, span): (&i32, &Span)| {
        let from = offsets.get(index).copied();
        vec![
            index.to_string(),
            span.start.to_string(),
            span.end.to_string(),
            known(span.committed),
            known(from),
            of_one(span, from).to_string(),
        ]
    };
    let rows: Vec<Vec<String>> = spans.iter().map(row).collect();
    let table = screen.table(&["PARTITION", "START", "END", "COMMITTED", "READ AGAIN FROM", "RECORDS"], &rows);
    let count = records(spans, &offsets);
    format!("{table}{count} records of topic '{}' would be read again\n\n{MEANING}", request.topic)
}

/// Returns how many records of a partition are read again.
fn of_one(span: &Span, from: Option<i64>) -> i64 {
    from.and_then(|from| Some(span.committed? - from)).unwrap_or(0)
}

fn report(spans: &BTreeMap<i32, Span>, request: &Request) -> Value {
    let offsets = set_back(spans, request.from);
    let partitions: Vec<Value> = spans
        .iter()
        .map(|(index, span)| {
            let from = offsets.get(index).copied();
            json!({
                "partition": index,
                "start": span.start,
                "end": span.end,
                "committed": span.committed,
                "from": from,
                "records": of_one(span, from),
            })
        })
        .collect();
    json!({"topic": request.topic, "records": records(spans, &offsets), "partitions": partitions})
}

/// Says what follows from a request.
fn change(pipeline: &StreamingPipeline, request: &Request, spans: &BTreeMap<i32, Span>) -> Change {
    let count = records(spans, &set_back(spans, request.from));
    let done = format!("replay '{request}' of '{}' is requested: {count} records", pipeline.name_any());
    let next = format!(
        "the processors stop, their offsets are set back, and they start again; `{}` shows what is left\n{}",
        ours("lag", pipeline),
        MEANING.trim_end()
    );
    let undo = format!("{}, until status.replay.phase is Rewinding", remove_annotation(pipeline, REPLAY));
    Change::of(pipeline, true, done, next, Some(undo))
}

#[cfg(test)]
mod tests {
    use super::super::change::tests::pipeline;
    use super::*;

    fn spans() -> BTreeMap<i32, Span> {
        let span = |start, committed| Span { start, end: 100, committed, at: None };
        [(0, span(0, Some(100))), (1, span(40, Some(50))), (2, span(0, None))].into()
    }

    fn request(text: &str) -> Request {
        text.parse().expect("a request")
    }

    #[test]
    fn a_dry_run_has_each_partition_and_what_it_means() {
        let earliest = request("a1 users earliest");
        let text = table(&spans(), &earliest, &Screen::default());
        assert!(text.contains("110 records of topic 'users' would be read again"), "{text}");
        assert!(text.contains("comes back"), "{text}");
        let report = report(&spans(), &earliest);
        assert_eq!(report["records"], 110);
        assert_eq!((&report["partitions"][1]["from"], &report["partitions"][1]["records"]), (&json!(40), &json!(10)));
        // The control: nothing was read there, and nothing is read again.
        assert_eq!((&report["partitions"][2]["from"], &report["partitions"][2]["records"]), (&Value::Null, &json!(0)));
    }

    #[test]
    fn a_request_is_refused_while_another_goes_on_and_when_its_nonce_has_counted() {
        let with = |phase: &str| {
            let replay = json!({
                "request": "a1 users earliest", "phase": phase, "message": "why", "since": "2026-01-01T00:00:00Z",
            });
            pipeline(json!({}), json!({}), json!({"conditions": [], "replay": replay}))
        };
        let refused = |phase: &str, text: &str| is_new(&with(phase), &request(text)).err().unwrap_or_default();
        assert_eq!(refused("Rewinding", "a2 users earliest"), "replay 'a1 users earliest' is in progress: why");
        assert!(refused("Refused", "a1 users 5").ends_with("choose another with --nonce"));
        let mut asked = with("Rewound");
        asked.metadata.annotations = Some([(REPLAY.to_owned(), "a3 users 7".to_owned())].into());
        let refused_by_asked = is_new(&asked, &request("a4 users earliest")).expect_err("a3 has not begun");
        assert!(
            refused_by_asked.starts_with("replay 'a3 users 7' is requested and has not begun"),
            "{refused_by_asked}"
        );
        // The control: the one before has ended, and this is another.
        assert_eq!(refused("Rewound", "a2 users earliest"), "");
        let wrong = Request { nonce: "a b".to_owned(), ..request("a2 users earliest") };
        assert!(is_new(&with("Rewound"), &wrong).is_err());
    }

    #[test]
    fn what_follows_names_the_way_back() {
        let change = change(&pipeline(json!({}), json!({}), Value::Null), &request("a1 users 50"), &spans());
        assert_eq!(change.done, "replay 'a1 users 50' of 'users' is requested: 50 records");
        let undo = "kubectl annotate spl -n shop users millrace.dev/replay-, until status.replay.phase is Rewinding";
        assert_eq!(change.undo.as_deref(), Some(undo));
    }

    #[test]
    fn only_topics_that_a_query_reads_are_read_again() {
        let pipeline = pipeline(json!({}), json!({}), Value::Null);
        let topic = pipeline.spec.processor.queries[0].from.clone();
        assert_eq!(is_read(&pipeline, &topic), Ok(()));
        assert!(is_read(&pipeline, "others").is_err());
    }
}
