//! The source against a real server on the loopback address, which is allowed for it.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::{Router, routing::get};
use millrace_terms::{Bytes, Duration as Span, HeaderSettings, HeaderValue};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// What the server was asked.
#[derive(Clone, Default)]
struct Asked {
    count: Arc<AtomicU32>,
}

async fn twice_busy(State(asked): State<Asked>) -> Response {
    match asked.count.fetch_add(1, Ordering::Relaxed) {
        0 => (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "1")]).into_response(),
        1 => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        _ => r#"{"results":[{"id":1}]}"#.into_response(),
    }
}

async fn echo(headers: HeaderMap) -> String {
    let value = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    json!({"results": [{"literal": value("x-literal"), "secret": value("x-secret"), "agent": value("user-agent")}]})
        .to_string()
}

/// A megabyte of spaces in a kilobyte of gzip.
async fn bomb() -> Response {
    let body: &[u8] = include_bytes!("tests/spaces.gz");
    ([(header::CONTENT_TYPE, "application/json"), (header::CONTENT_ENCODING, "gzip")], body).into_response()
}

async fn serve(asked: Asked) -> u16 {
    let router = Router::new()
        .route("/users", get(|| async { r#"{"results":[{"id":1},{"id":2}]}"# }))
        .route("/busy", get(twice_busy))
        .route("/missing", get(|| async { StatusCode::NOT_FOUND }))
        .route("/moved", get(|| async { Redirect::temporary("/users") }))
        .route("/slow", get(std::future::pending::<String>))
        .route("/echo", get(echo))
        .route("/bomb", get(bomb))
        .route("/html", get(|| async { "<html>" }))
        .with_state(asked);
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move { axum::serve(listener, router).await });
    port
}

fn settings(port: u16, path: &str) -> HttpSettings {
    HttpSettings {
        url: format!("http://127.0.0.1:{port}{path}"),
        method: Default::default(),
        query: Default::default(),
        body: None,
        interval: Span::from_millis(20),
        timeout: Span::from_millis(300),
        headers: Vec::new(),
        records: "/results".to_owned(),
        max_response: Bytes(64 << 10),
        max_requests_per_second: None,
    }
}

fn allowing() -> Guard {
    Guard::new(&["127.0.0.1".to_owned()])
}

async fn source(path: &str) -> HttpSource {
    let port = serve(Asked::default()).await;
    HttpSource::new(&settings(port, path), &allowing(), &Variables::default()).expect("good settings")
}

async fn fetched(source: &mut HttpSource) -> Vec<Value> {
    let Batch { records, exhausted, .. } = source.next().await.expect("an answer");
    assert!(!exhausted);
    records.map(|record| record.expect("a value").value).collect()
}

#[tokio::test]
async fn polls_from_start_to_start() {
    // The grid begins with the source, and a busy machine makes the first poll late.
    let start = Instant::now();
    let mut source = source("/users").await;
    for _ in 0..5 {
        assert_eq!(fetched(&mut source).await, [json!({"id": 1}), json!({"id": 2})]);
    }
    assert!(start.elapsed() >= Duration::from_millis(75), "{:?}", start.elapsed());
}

#[tokio::test]
async fn tries_again_after_busy_answers_and_honours_retry_after() {
    let mut source = source("/busy").await;
    let start = Instant::now();
    assert_eq!(source.next().await.expect_err("429").outcome(), "Unavailable");
    assert_eq!(source.next().await.expect_err("503").outcome(), "Unavailable");
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(fetched(&mut source).await.len(), 1);
}

#[tokio::test]
async fn answers_that_somebody_has_to_mend_say_what_to_do_and_are_retried_slowly() {
    let mut said = Vec::new();
    for (path, records) in
        [("/missing", ""), ("/moved", ""), ("/html", ""), ("/echo", "/people"), ("/users", "/results/0/id")]
    {
        let port = serve(Asked::default()).await;
        let settings = HttpSettings { records: records.to_owned(), ..settings(port, path) };
        let mut source = HttpSource::new(&settings, &allowing(), &Variables::default()).expect("good settings");
        let before = Instant::now();
        let error = source.next().await.expect_err("no records");
        said.push(format!("{}: {error}", error.outcome()));
        assert!(source.due >= before + Duration::from_secs(30), "{path}");
    }
    insta::assert_yaml_snapshot!(said);
}

#[tokio::test]
async fn gives_up_on_an_answer_that_does_not_end_in_time() {
    let error = source("/slow").await.next().await.expect_err("no answer");
    assert_eq!(error.to_string(), "'127.0.0.1' cannot be read: no complete answer within 300 ms");
}

/// Serves the answers in turn, one to a connection, byte for byte, and the last one for ever; waits so long between the
/// halves of each.
async fn serve_bytes(answers: &[&'static str], between: Duration) -> u16 {
    let answers = answers.to_vec();
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        for number in 0.. {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let answer = answers[answers.len().min(number + 1) - 1].as_bytes();
            tokio::spawn(async move {
                // The client may have given up by then.
                let _ = stream.read(&mut [0; 4096]).await;
                let halves = answer.split_at(answer.len() / 2);
                let _ = stream.write_all(halves.0).await;
                tokio::time::sleep(between).await;
                let _ = stream.write_all(halves.1).await;
            });
        }
    });
    port
}

const HONEST: &str = "HTTP/1.1 200 OK\r\ncontent-length: 22\r\n\r\n{\"results\":[{\"id\":1}]}";

#[tokio::test]
async fn an_answer_shorter_than_it_says_gives_no_record_and_is_asked_for_again() {
    let short = "HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{\"results\":[{\"id\":1}]}";
    let port = serve_bytes(&[short, HONEST], Duration::ZERO).await;
    let mut source = HttpSource::new(&settings(port, "/"), &allowing(), &Variables::default()).expect("good settings");
    let error = source.next().await.expect_err("900 bytes were promised");
    assert_eq!(error.outcome(), "Unavailable");
    assert_eq!(fetched(&mut source).await, [json!({"id": 1})]);
}

#[tokio::test]
async fn an_answer_longer_than_it_says_gives_no_record() {
    let long = "HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n{\"results\":[{\"id\":1}]}";
    let port = serve_bytes(&[long], Duration::ZERO).await;
    let mut source = HttpSource::new(&settings(port, "/"), &allowing(), &Variables::default()).expect("good settings");
    let error = source.next().await.expect_err("15 bytes are no document");
    assert_eq!(error.outcome(), "BadAnswer");
    assert!(error.to_string().contains("something that is not JSON"), "{error}");
}

#[tokio::test]
async fn an_answer_that_drips_is_given_up_in_time() {
    let port = serve_bytes(&[HONEST], Duration::from_secs(3600)).await;
    let mut source = HttpSource::new(&settings(port, "/"), &allowing(), &Variables::default()).expect("good settings");
    let error = source.next().await.expect_err("the half of it");
    assert_eq!(error.to_string(), "'127.0.0.1' cannot be read: no complete answer within 300 ms");
    // The negative control: halves that come soon enough are one answer.
    let port = serve_bytes(&[HONEST], Duration::from_millis(20)).await;
    let mut source = HttpSource::new(&settings(port, "/"), &allowing(), &Variables::default()).expect("good settings");
    assert_eq!(fetched(&mut source).await, [json!({"id": 1})]);
}

#[tokio::test]
async fn stops_reading_at_the_bound_of_decompressed_bytes() {
    let error = source("/bomb").await.next().await.expect_err("too large");
    assert_eq!(error.outcome(), "BadAnswer");
    assert!(error.to_string().contains("more than maxResponse, 65536 bytes"), "{error}");
}

#[tokio::test]
async fn reads_header_files_at_each_request() {
    let port = serve(Asked::default()).await;
    let mut file = std::env::temp_dir();
    file.push(format!("millrace-header-{}-{port}", std::process::id()));
    std::fs::File::create(&file).and_then(|mut file| file.write_all(b"first\n")).expect("a file");
    let mut settings = settings(port, "/echo");
    let header = |name: &str, value| HeaderSettings { name: name.to_owned(), value };
    settings.headers = vec![
        header("x-literal", HeaderValue::Literal("as written".to_owned())),
        header("x-secret", HeaderValue::File(file.display().to_string())),
    ];
    let mut source = HttpSource::new(&settings, &allowing(), &Variables::default()).expect("good settings");
    let seen = fetched(&mut source).await;
    assert_eq!(seen[0]["literal"], "as written");
    assert_eq!(seen[0]["secret"], "first");
    assert!(seen[0]["agent"].as_str().is_some_and(|agent| agent.starts_with("millrace/")));
    std::fs::write(&file, "rotated").expect("a file");
    assert_eq!(fetched(&mut source).await[0]["secret"], "rotated");
    std::fs::remove_file(&file).expect("the file is there");
    let error = source.next().await.expect_err("no file");
    assert!(error.to_string().starts_with("the value of header 'x-secret' cannot be read from"), "{error}");
}

#[tokio::test]
async fn refuses_loopback_by_address_and_by_name_unless_allowed() {
    let port = serve(Asked::default()).await;
    for host in ["127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]"] {
        let settings = HttpSettings { url: format!("http://{host}:{port}/users"), ..settings(port, "") };
        let error =
            HttpSource::new(&settings, &Guard::new(&[]), &Variables::default()).expect("good settings").next().await;
        let error = error.expect_err("loopback");
        assert_eq!(error.outcome(), "Forbidden", "{error}");
    }
    let settings = HttpSettings { url: format!("http://localhost:{port}/users"), ..settings(port, "") };
    let guard = Guard::new(&["localhost".to_owned()]);
    let mut allowed = HttpSource::new(&settings, &guard, &Variables::default()).expect("good settings");
    assert_eq!(fetched(&mut allowed).await.len(), 2);
}

#[tokio::test]
async fn connection_errors_name_the_host_and_hide_the_query() {
    let mut settings = settings(1, "/users?apikey=hunter2");
    settings.timeout = Span::from_secs(5);
    let error = HttpSource::new(&settings, &allowing(), &Variables::default())
        .expect("good settings")
        .next()
        .await
        .expect_err("refused");
    assert_eq!(error.outcome(), "Unavailable");
    assert!(error.to_string().starts_with("'127.0.0.1' cannot be read: ") && !error.to_string().contains("hunter2"));
}

#[tokio::test]
async fn keeps_to_the_rate_limit() {
    let port = serve(Asked::default()).await;
    let settings = HttpSettings { max_requests_per_second: Some(10.0), ..settings(port, "/users") };
    let mut source = HttpSource::new(&settings, &allowing(), &Variables::default()).expect("good settings");
    let start = Instant::now();
    for _ in 0..3 {
        source.next().await.expect("an answer");
    }
    assert!(start.elapsed() >= Duration::from_millis(200), "{:?}", start.elapsed());
}

#[test]
fn urls_and_headers_that_cannot_work_are_refused() {
    for url in ["no url", "ftp://example.com/", "http://user:secret@example.com/"] {
        let settings = HttpSettings { url: url.to_owned(), ..settings(1, "") };
        assert!(HttpSource::new(&settings, &allowing(), &Variables::default()).is_err(), "{url}");
    }
    let mut settings = settings(1, "/");
    settings.headers = vec![HeaderSettings { name: "a b".to_owned(), value: HeaderValue::Literal("c".to_owned()) }];
    assert!(HttpSource::new(&settings, &allowing(), &Variables::default()).is_err());
}

#[test]
fn missed_ticks_are_skipped() {
    let start = Instant::now();
    let second = Duration::from_secs(1);
    let cases = [(0, 1), (999, 1), (1000, 2), (2500, 3)];
    for (passed, ticks) in cases {
        let now = start + Duration::from_millis(passed);
        assert_eq!(next_tick(start, second, now), start + second * ticks, "{passed} ms");
    }
}
