//! The source against a real server on the loopback address, which is allowed for it.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use millrace_terms::{
    Bytes, Duration as Span, FollowPages, HeaderSettings, HeaderValue, OAuth2Settings, PaginationSettings,
};
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

/// Three pages of two records, each with a link to the next.
async fn paged(Query(query): Query<HashMap<String, String>>) -> Response {
    let page: u64 = query.get("page").and_then(|text| text.parse().ok()).unwrap_or(1);
    let records: Vec<Value> =
        (0..2).map(|index| json!({"id": page * 10 + index, "at": format!("2024-0{page}")})).collect();
    let link = format!("</paged?page={}>; rel=\"next\", </paged?page=3>; rel=\"last\"", page + 1);
    let link = if page < 3 { link } else { String::new() };
    ([(header::LINK, link)], json!({"results": records}).to_string()).into_response()
}

/// Records of the month that is asked for and later.
async fn since(Query(query): Query<HashMap<String, String>>) -> String {
    let since = query.get("since").cloned().unwrap_or_default();
    let months = ["2024-03", "2024-01", "2024-02"].iter().filter(|month| **month >= since.as_str());
    json!({"results": months.map(|month| json!({"id": month, "at": month})).collect::<Vec<_>>()}).to_string()
}

async fn tagged(headers: HeaderMap) -> Response {
    match headers.get(header::IF_NONE_MATCH).is_some_and(|tag| tag == "\"v1\"") {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => ([(header::ETAG, "\"v1\"")], r#"{"results":[{"id":1}]}"#).into_response(),
    }
}

/// Gives a new token each time, and takes the secret in the body only.
async fn token(State(asked): State<Asked>, headers: HeaderMap, body: String) -> Response {
    if headers.contains_key(header::AUTHORIZATION) || !body.contains("client_secret=s%26cret") {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let number = asked.count.fetch_add(1, Ordering::Relaxed);
    json!({"access_token": format!("t{number}"), "expires_in": "3600", "token_type": "bearer"})
        .to_string()
        .into_response()
}

/// Takes the second token and those after it.
async fn guarded(headers: HeaderMap) -> Response {
    match headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()) {
        Some("Bearer t0") | None => StatusCode::UNAUTHORIZED.into_response(),
        Some(token) => json!({"results": [{"token": token}]}).to_string().into_response(),
    }
}

async fn serve(asked: Asked) -> u16 {
    let router = Router::new()
        .route("/users", get(|| async { r#"{"results":[{"id":1},{"id":2}]}"# }))
        .route("/busy", get(twice_busy))
        .route("/nothing", get(|| async { StatusCode::NO_CONTENT }))
        .route("/missing", get(|| async { StatusCode::NOT_FOUND }))
        .route("/moved", get(|| async { Redirect::temporary("/users") }))
        .route("/slow", get(std::future::pending::<String>))
        .route("/echo", get(echo))
        .route("/bomb", get(bomb))
        .route("/paged", get(paged))
        .route("/since", get(since))
        .route("/tagged", get(tagged))
        .route("/token", post(token))
        .route("/guarded", get(guarded))
        .route("/circle", get(|| async { ([(header::LINK, "</circle>; rel=next")], r#"{"results":[{"id":1}]}"#) }))
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
        records_are: Default::default(),
        pagination: None,
        since: None,
        oauth2: None,
        max_response: Bytes(64 << 10),
        max_requests_per_second: None,
    }
}

fn made(settings: &HttpSettings, guard: &Guard) -> Result<HttpSource, PrepareRequests> {
    HttpSource::new("users", settings, guard, &Variables::default(), None)
}

fn allowing() -> Guard {
    Guard::new(&["127.0.0.1".to_owned()])
}

async fn source(path: &str) -> HttpSource {
    let port = serve(Asked::default()).await;
    made(&settings(port, path), &allowing()).expect("good settings")
}

async fn fetched(source: &mut HttpSource) -> Vec<Value> {
    let Batch { records, exhausted, .. } = source.next().await.expect("an answer");
    assert!(!exhausted);
    records.map(|record| serde_json::from_str(record.expect("a value").record.get()).expect("JSON")).collect()
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
        let mut source = made(&settings, &allowing()).expect("good settings");
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
    let mut source = made(&settings(port, "/"), &allowing()).expect("good settings");
    let error = source.next().await.expect_err("900 bytes were promised");
    assert_eq!(error.outcome(), "Unavailable");
    assert_eq!(fetched(&mut source).await, [json!({"id": 1})]);
}

#[tokio::test]
async fn an_answer_longer_than_it_says_gives_no_record() {
    let long = "HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n{\"results\":[{\"id\":1}]}";
    let port = serve_bytes(&[long], Duration::ZERO).await;
    let mut source = made(&settings(port, "/"), &allowing()).expect("good settings");
    let error = source.next().await.expect_err("15 bytes are no document");
    assert_eq!(error.outcome(), "BadAnswer");
    assert!(error.to_string().contains("something that is not JSON"), "{error}");
}

#[tokio::test]
async fn an_answer_that_drips_is_given_up_in_time() {
    let port = serve_bytes(&[HONEST], Duration::from_secs(3600)).await;
    let mut source = made(&settings(port, "/"), &allowing()).expect("good settings");
    let error = source.next().await.expect_err("the half of it");
    assert_eq!(error.to_string(), "'127.0.0.1' cannot be read: no complete answer within 300 ms");
    // The negative control: halves that come soon enough are one answer.
    let port = serve_bytes(&[HONEST], Duration::from_millis(20)).await;
    let mut source = made(&settings(port, "/"), &allowing()).expect("good settings");
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
    let mut source = made(&settings, &allowing()).expect("good settings");
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
        let error = made(&settings, &Guard::new(&[])).expect("good settings").next().await;
        let error = error.expect_err("loopback");
        assert_eq!(error.outcome(), "Forbidden", "{error}");
    }
    let settings = HttpSettings { url: format!("http://localhost:{port}/users"), ..settings(port, "") };
    let guard = Guard::new(&["localhost".to_owned()]);
    let mut allowed = made(&settings, &guard).expect("good settings");
    assert_eq!(fetched(&mut allowed).await.len(), 2);
}

#[tokio::test]
async fn connection_errors_name_the_host_and_hide_the_query() {
    let mut settings = settings(1, "/users?apikey=hunter2");
    settings.timeout = Span::from_secs(5);
    let error = made(&settings, &allowing()).expect("good settings").next().await.expect_err("refused");
    assert_eq!(error.outcome(), "Unavailable");
    assert!(error.to_string().starts_with("'127.0.0.1' cannot be read: ") && !error.to_string().contains("hunter2"));
}

#[tokio::test]
async fn keeps_to_the_rate_limit() {
    let port = serve(Asked::default()).await;
    let settings = HttpSettings { max_requests_per_second: Some(10.0), ..settings(port, "/users") };
    let mut source = made(&settings, &allowing()).expect("good settings");
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
        assert!(made(&settings, &allowing()).is_err(), "{url}");
    }
    let mut settings = settings(1, "/");
    settings.headers = vec![HeaderSettings { name: "a b".to_owned(), value: HeaderValue::Literal("c".to_owned()) }];
    assert!(made(&settings, &allowing()).is_err());
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

#[tokio::test]
async fn the_pages_of_a_poll_follow_each_other_and_the_next_poll_begins_anew() {
    let port = serve(Asked::default()).await;
    let pagination = Some(PaginationSettings { follow: FollowPages::Link, max_pages: 100 });
    let settings = HttpSettings { pagination, ..settings(port, "/paged") };
    let mut source = made(&settings, &allowing()).expect("good settings");
    for _ in 0..2 {
        let (mut ids, mut more) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let batch = source.next().await.expect("a page");
            more.push(batch.more);
            ids.extend(batch.records.flatten().map(|record| record.record.get().to_owned()));
        }
        assert_eq!(more, [true, true, false]);
        assert_eq!((ids.len(), ids[4].as_str()), (6, r#"{"id":30,"at":"2024-03"}"#));
    }
    let bound = PaginationSettings { follow: FollowPages::Link, max_pages: 2 };
    let mut bounded =
        made(&HttpSettings { pagination: Some(bound), ..settings.clone() }, &allowing()).expect("good settings");
    bounded.next().await.expect("a page");
    let last = bounded.next().await.expect("a page");
    assert!(!last.more && last.note.contains("pagination.maxPages, 2"), "{}", last.note);
    let circle = HttpSettings { url: format!("http://127.0.0.1:{port}/circle"), ..settings };
    let error = made(&circle, &allowing()).expect("good settings").next().await.expect_err("a circle");
    assert_eq!(error.outcome(), "BadAnswer");
}

#[tokio::test]
async fn an_endpoint_is_asked_from_where_the_source_stands_also_after_a_restart() {
    let port = serve(Asked::default()).await;
    let query = [("since".to_owned(), "since".to_owned())].into();
    let settings = HttpSettings { since: Some("record.at".to_owned()), query, ..settings(port, "/since") };
    let broker = crate::kafka::memory::MemoryBroker::default();
    let cursors = || -> Arc<dyn ReadMarks> { Arc::new(crate::cursor::memory::MemoryCursors::new(&broker, "cursors")) };
    let source =
        || HttpSource::new("users", &settings, &allowing(), &Variables::default(), Some(cursors())).expect("good");
    let mut first = source();
    let batch = first.next().await.expect("an answer");
    let mark = Mark { part: "since".to_owned(), position: "\"2024-03\"".to_owned() };
    assert_eq!((batch.records.count(), batch.marks), (3, vec![mark.clone()]));
    let batch = first.next().await.expect("an answer");
    assert_eq!((batch.records.count(), batch.marks), (1, Vec::new()), "nothing has moved");
    // Not kept: the next producer begins where this one did.
    assert_eq!(source().next().await.expect("an answer").records.count(), 3);
    let mut keeper = crate::cursor::TopicKeeper::new(broker.clone(), "cursors", "users");
    crate::cursor::KeepMarks::keep(&mut keeper, vec![mark]).await.expect("memory keeps it");
    assert_eq!(source().next().await.expect("an answer").records.count(), 1);
}

#[tokio::test]
async fn an_answer_without_content_is_no_records() {
    assert_eq!(fetched(&mut source("/nothing").await).await.len(), 0);
}

#[tokio::test]
async fn an_answer_that_has_not_changed_is_not_sent_again() {
    let mut source = source("/tagged").await;
    assert_eq!(fetched(&mut source).await.len(), 1);
    assert_eq!(fetched(&mut source).await.len(), 0);
}

#[tokio::test]
async fn a_token_is_asked_for_and_asked_for_again_when_it_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("it can be written");
        path.to_str().expect("a path of text").to_owned()
    };
    let port = serve(Asked::default()).await;
    let oauth2 = OAuth2Settings {
        token_url: format!("http://127.0.0.1:{port}/token"),
        client_id: file("id", "me\n"),
        client_secret: file("secret", "s&cret\n"),
        scope: Some("read".to_owned()),
        audience: None,
    };
    let mut settings = HttpSettings { oauth2: Some(oauth2), ..settings(port, "/guarded") };
    settings.timeout = Span::from_secs(5);
    let mut source = made(&settings, &allowing()).expect("good settings");
    for _ in 0..2 {
        assert_eq!(
            fetched(&mut source).await,
            [json!({"token": "Bearer t1"})],
            "the first is refused, the second kept"
        );
    }
    std::fs::write(directory.path().join("secret"), "wrong").expect("it can be written");
    let mut source = made(&settings, &allowing()).expect("good settings");
    let error = source.next().await.expect_err("a wrong secret");
    assert_eq!(error.to_string(), "the token server '127.0.0.1' answers 401 Unauthorized");
}
