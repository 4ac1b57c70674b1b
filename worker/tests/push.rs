//! What is pushed, over real connections to the loopback address and a broker in memory: when the answer comes, and
//! what is refused how.

#![expect(clippy::disallowed_methods, reason = "tests read fixtures and the clock")]

mod wait;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace_serve::Limits;
use millrace_terms::{Bytes, Duration as Span, Origin, PushSettings, SourceSettings};
use millrace_worker::budget::Budget;
use millrace_worker::health::produce::ProduceHealth;
use millrace_worker::kafka::memory::MemoryBroker;
use millrace_worker::mapping::Mapping;
use millrace_worker::produce::Shared;
use millrace_worker::push::{PushServer, PushSource};
use millrace_worker::sabotage::Sabotages;
use millrace_worker::telemetry::Telemetry;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use wait::eventually;

const TOPIC: &str = "users_created";
const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";

struct Server {
    address: SocketAddr,
    broker: MemoryBroker,
    budget: Budget,
    health: Arc<ProduceHealth>,
    telemetry: Telemetry,
    stop: CancellationToken,
    running: JoinHandle<usize>,
}

struct Setup {
    memory: u64,
    settings: PushSettings,
    limits: Limits,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            memory: 1 << 20,
            settings: PushSettings { max_body: Bytes(64 << 10), timeout: Span::from_millis(500), token: None },
            limits: Limits { connections: 8, head: Duration::from_millis(300), linger: Duration::ZERO, ..Limits::PUSH },
        }
    }
}

struct Answer {
    status: u16,
    head: String,
    body: Value,
}

impl Setup {
    async fn start(self) -> Server {
        let budget = Budget::new(self.memory);
        let telemetry = Telemetry::new(budget.clone());
        let health = Arc::new(ProduceHealth::new([("shop".to_owned(), TOPIC.to_owned())]));
        health.kafka(None);
        let broker = MemoryBroker::default();
        let shared = Shared {
            publisher: broker.clone(),
            dead_letter_topic: None,
            budget: budget.clone(),
            telemetry: telemetry.clone(),
            health: Arc::clone(&health),
            sabotages: Sabotages::default(),
        };
        let settings = SourceSettings {
            name: "shop".to_owned(),
            topic: TOPIC.to_owned(),
            key: "id".to_owned(),
            fields: [("id", "record.id"), ("age", "record.age + 1")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            params: Default::default(),
            origin: Origin::Push(self.settings.clone()),
        };
        let source = PushSource {
            index: 0,
            name: "shop".to_owned(),
            topic: TOPIC.to_owned(),
            mapping: Mapping::compile(&settings).expect("the expressions compile"),
            settings: self.settings,
        };
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let stop = CancellationToken::new();
        let server = PushServer::new(vec![source], shared);
        let running = tokio::spawn(server.run(listener, self.limits, stop.clone(), Duration::from_secs(5)));
        Server { address, broker, budget, health, telemetry, stop, running }
    }
}

impl Server {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("the server listens")
    }

    /// Sends a request with these further headers and returns the answer.
    async fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut head = format!("POST {path} HTTP/1.1\r\nHost: push\r\nConnection: close\r\n");
        head.extend(headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")));
        if !headers.iter().any(|(name, _)| *name == "Transfer-Encoding") {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        let mut stream = self.connect().await;
        stream.write_all(format!("{head}\r\n{body}").as_bytes()).await.expect("it can be sent");
        answer(stream).await.expect("an answer")
    }

    async fn push(&self, format: &str, body: &str) -> Answer {
        self.post("/sources/shop", &[("Content-Type", format)], body).await
    }

    fn payloads(&self) -> Vec<Value> {
        let records = self.broker.records(TOPIC);
        let payload = |payload: Option<Vec<u8>>| serde_json::from_slice(&payload.unwrap_or_default()).expect("JSON");
        records.into_iter().map(|record| payload(record.payload)).collect()
    }

    fn counted(&self, outcome: &str) -> bool {
        self.telemetry
            .encode()
            .contains(&format!(r#"millrace_source_requests_total{{source="shop",outcome="{outcome}"}}"#))
    }
}

impl Answer {
    fn has(&self, header: &str) -> bool {
        self.head.to_ascii_lowercase().contains(&format!("\r\n{}\r\n", header.to_ascii_lowercase()))
    }
}

/// Reads to the end of the connection; none if that came without an answer.
async fn answer(mut stream: TcpStream) -> Option<Answer> {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    // A connection that is cut off still has given what it gave.
    while let Ok(read @ 1..) = stream.read(&mut piece).await {
        bytes.extend_from_slice(&piece[..read]);
    }
    let text = String::from_utf8(bytes).expect("text");
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let body = serde_json::from_str(body).unwrap_or(Value::Null);
    Some(Answer { status, head: format!("{head}\r\n"), body })
}

fn people(count: usize) -> String {
    (0..count).map(|n| format!("{{\"id\":\"p{n}\",\"age\":{n}}}\n")).collect()
}

#[tokio::test]
async fn an_object_an_array_and_lines_become_records_in_order() {
    let server = Setup::default().start().await;
    let one = server.push(JSON, r#"{"id":"a","age":1}"#).await;
    assert_eq!((one.status, one.body), (200, json!({"acknowledged": 1})));
    let two = server.push(JSON, r#"[{"id":"b","age":2},{"id":"c","age":3}]"#).await;
    assert_eq!((two.status, two.body), (200, json!({"acknowledged": 2})));
    let lines = server.push(LINES, "{\"id\":\"d\",\"age\":4}\n\n{\"id\":\"e\",\"age\":5}").await;
    assert_eq!((lines.status, lines.body), (200, json!({"acknowledged": 2})));
    let none = server.push(JSON, "[]").await;
    assert_eq!((none.status, none.body), (200, json!({"acknowledged": 0})));
    let expected = [("a", 2), ("b", 3), ("c", 4), ("d", 5), ("e", 6)].map(|(id, age)| json!({"id": id, "age": age}));
    assert_eq!(server.payloads(), expected);
    let work = server.telemetry.pushed();
    assert_eq!((work.settled, work.refused, work.waiting), (4, 0, 0));
    let record = server.broker.records(TOPIC).remove(0);
    assert_eq!(record.key.as_deref(), Some(b"a".as_slice()));
    let names: Vec<&str> = record.headers.iter().map(|header| header.name.as_str()).collect();
    assert_eq!(names, ["millrace-source", "millrace-produced-at"]);
    assert!(server.counted("Ok"));
    assert!(server.telemetry.encode().contains(r#"millrace_records_produced_total{source="shop"} 5"#));
    assert_eq!(server.budget.used(), 0);
}

#[tokio::test]
async fn the_answer_comes_when_the_broker_has_every_record() {
    let server = Setup::default().start().await;
    server.broker.refuse_sends(25);
    let answer = server.push(LINES, &people(20)).await;
    assert_eq!((answer.status, answer.body), (200, json!({"acknowledged": 20})));
    assert_eq!(server.broker.records(TOPIC).len(), 20);
}

#[tokio::test]
async fn what_is_not_acknowledged_in_time_is_told_so_and_sent_all_the_same() {
    let server = Setup::default().start().await;
    server.broker.refuse_sends(u32::MAX);
    let answer = server.push(LINES, &people(20)).await;
    assert_eq!((answer.status, &answer.body["error"]), (503, &json!("Unavailable")));
    assert!(answer.has("retry-after: 5"), "{}", answer.head);
    assert!(answer.body.get("acknowledged").is_none(), "nobody knows: {}", answer.body);
    assert!(server.budget.used() > 0, "what is under way holds its memory");
    // The time of the whole buffer: some bytes of a mebibyte take long to fill a millisecond.
    eventually("a wait for Kafka", || server.telemetry.pushed().waiting > 0).await;
    server.broker.refuse_sends(0);
    eventually("all records", || server.broker.records(TOPIC).len() == 20).await;
    eventually("the memory", || server.budget.used() == 0).await;
}

#[tokio::test]
async fn one_bad_record_refuses_the_whole_request_and_says_which() {
    let server = Setup::default().start().await;
    let cases = [
        (LINES, "{\"id\":\"a\",\"age\":1}\n{\"id\":", 2, "line 2, from byte 19 on, is not valid JSON"),
        (JSON, r#"[{"id":"a","age":1},{"id":"b"},{"id":"c","age":1}]"#, 2, "the record has no 'age' there"),
        (JSON, r#"[{"id":"a","age":1},{"id":null,"age":1}]"#, 2, "the key field 'id' is null"),
        (JSON, r#"[{"id":"a","age":1},{"id":"b","age":NaN}]"#, 2, "NaN and Infinity are not JSON numbers"),
        (JSON, "7", 1, "field 'age'"),
    ];
    for (format, body, record, says) in cases {
        let answer = server.push(format, body).await;
        assert_eq!((answer.status, &answer.body["record"]), (400, &json!(record)), "{body}");
        assert_eq!(answer.body["acknowledged"], 0);
        let message = answer.body["message"].as_str().unwrap_or_default();
        assert!(message.contains(says) && message.ends_with("nothing of this request was sent"), "{message}");
    }
    let broken = server.push(JSON, r#"[{"id":"a","age":1},"#).await;
    assert_eq!((broken.status, &broken.body["error"]), (400, &json!("BadRecord")));
    assert_eq!(server.payloads(), Vec::<Value>::new());
    assert_eq!(server.budget.used(), 0);
    assert!(server.counted("BadRecord"));
}

#[tokio::test]
async fn only_who_has_the_token_may_push() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    writeln!(file, "s3cret").expect("it can be written");
    let path = file.path().to_owned();
    let server = with_token(path.clone()).await;
    let one = r#"{"id":"a","age":1}"#;
    let with = async |value: &str| {
        server.post("/sources/shop", &[("Content-Type", JSON), ("Authorization", value)], one).await
    };
    let without = server.push(JSON, one).await;
    assert_eq!((without.status, &without.body["error"]), (401, &json!("Unauthorized")));
    assert!(without.has("www-authenticate: bearer"), "{}", without.head);
    for wrong in ["Bearer s3cre", "Bearer s3crett", "Basic s3cret", "s3cret", "Bearer "] {
        assert_eq!(with(wrong).await.status, 401, "{wrong}");
    }
    assert_eq!(with("Bearer s3cret").await.status, 200);
    std::fs::write(&path, "other").expect("it can be written");
    assert_eq!(with("Bearer s3cret").await.status, 401);
    assert_eq!(with("bearer other").await.status, 200);
    // Never open by mistake.
    std::fs::write(&path, "\n").expect("it can be written");
    assert_eq!(with("Bearer ").await.status, 503);
    drop(file);
    assert_eq!(with("Bearer other").await.status, 503);
    assert_eq!(server.payloads().len(), 2);
}

async fn with_token(token: PathBuf) -> Server {
    let mut setup = Setup::default();
    setup.settings.token = Some(token);
    setup.start().await
}

#[tokio::test]
async fn what_cannot_be_taken_is_refused_with_what_to_do() {
    let server = Setup::default().start().await;
    let large = format!(r#"{{"id":"a","age":1,"text":"{}"}}"#, "x".repeat(64 << 10));
    let declared = server.push(JSON, &large).await;
    assert_eq!((declared.status, &declared.body["error"]), (413, &json!("TooLarge")));
    let chunked = format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
    let headers = [("Content-Type", JSON), ("Transfer-Encoding", "chunked")];
    assert_eq!(server.post("/sources/shop", &headers, &chunked).await.status, 413);
    let small = "{\"id\":\"a\",\"age\":1}";
    let chunked = format!("{:x}\r\n{small}\r\n0\r\n\r\n", small.len());
    assert_eq!(server.post("/sources/shop", &headers, &chunked).await.status, 200);

    // Far more than fits into the buffers between the two: the client sends all of it before it reads.
    let huge = "x".repeat(8 << 20);
    let refused = server.push(JSON, &huge).await;
    assert_eq!((refused.status, &refused.body["error"]), (413, &json!("TooLarge")));

    let elsewhere = server.post("/elsewhere", &[("Content-Type", JSON)], small).await;
    assert_eq!((elsewhere.status, &elsewhere.body["error"]), (404, &json!("UnknownSource")));
    let mut stream = server.connect().await;
    let get = b"GET /sources/shop HTTP/1.1\r\nHost: push\r\nConnection: close\r\n\r\n";
    stream.write_all(get).await.expect("it can be sent");
    let got = answer(stream).await.expect("an answer");
    assert_eq!((got.status, &got.body["error"]), (405, &json!("UnknownSource")));
    assert_eq!(server.post("/sources/other", &[("Content-Type", JSON)], small).await.status, 404);
    assert_eq!(server.push("text/plain", small).await.status, 415);
    assert_eq!(server.post("/sources/shop", &[], small).await.status, 415);
    let mut stream = server.connect().await;
    stream.write_all(b"GET /sources/shop HTTP/1.1\r\nHost: push\r\nConnection: close\r\n\r\n").await.expect("sent");
    assert_eq!(answer(stream).await.expect("an answer").status, 405);

    server.broker.refuse_longer(100);
    let refused = server.push(LINES, &format!("{small}\n{{\"id\":\"{}\",\"age\":1}}\n", "y".repeat(200))).await;
    assert_eq!((refused.status, &refused.body["acknowledged"], &refused.body["record"]), (422, &json!(1), &json!(2)));
}

#[tokio::test]
async fn while_kafka_is_known_to_be_away_nothing_is_taken() {
    let server = Setup::default().start().await;
    server.health.kafka(Some("no broker answers".to_owned()));
    let answer = server.push(JSON, r#"{"id":"a","age":1}"#).await;
    assert_eq!((answer.status, &answer.body["acknowledged"]), (503, &json!(0)));
    assert!(answer.has("retry-after: 5"), "{}", answer.head);
    server.health.kafka(None);
    assert_eq!(server.push(JSON, r#"{"id":"a","age":1}"#).await.status, 200);
}

#[tokio::test]
async fn while_memory_is_short_requests_are_refused_before_it_grows() {
    let memory = 64 << 10;
    let mut setup = Setup { memory, ..Setup::default() };
    setup.settings.timeout = Span::from_millis(100);
    let server = setup.start().await;
    server.broker.refuse_sends(u32::MAX);
    let (mut taken, mut busy) = (0, None);
    while busy.is_none() {
        let answer = server.push(LINES, &people(10)).await;
        assert!(server.budget.used() <= memory, "{} bytes", server.budget.used());
        match answer.status {
            503 => taken += 10,
            429 => busy = Some(answer),
            other => panic!("{other}: {}", answer.body),
        }
        assert!(taken < 1_000, "memory grows without end");
    }
    let busy = busy.expect("an answer");
    assert!(taken > 0 && busy.has("retry-after: 1"), "{taken}: {}", busy.head);
    assert_eq!(busy.body["acknowledged"], 0);
    server.broker.refuse_sends(0);
    let work = server.telemetry.pushed();
    assert_eq!((work.settled, work.refused), (0, 1), "nothing was answered for");
    eventually("what was taken", || server.broker.records(TOPIC).len() == taken).await;
    eventually("the memory", || server.budget.used() == 0).await;
    assert_eq!(server.push(LINES, &people(10)).await.status, 200);
}

#[tokio::test]
async fn a_request_that_memory_could_never_hold_is_not_told_to_come_back() {
    let setup = Setup { memory: 64 << 10, ..Setup::default() };
    let server = setup.start().await;
    let answer = server.push(LINES, &people(500)).await;
    assert_eq!((answer.status, &answer.body["error"]), (413, &json!("TooLarge")));
    assert_eq!((server.payloads().len(), server.budget.used()), (0, 0));
    assert_eq!(server.push(LINES, &people(20)).await.status, 200);
}

#[tokio::test]
async fn clients_that_drip_are_cut_off_and_give_their_memory_back() {
    let server = Setup::default().start().await;
    let mut slow_body = server.connect().await;
    let head =
        "POST /sources/shop HTTP/1.1\r\nHost: push\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n[";
    slow_body.write_all(head.as_bytes()).await.expect("it can be sent");
    eventually("the memory of the body", || server.budget.used() == 1_000).await;
    let cut_off = answer(slow_body).await.expect("an answer");
    assert_eq!((cut_off.status, &cut_off.body["error"]), (408, &json!("BodyTimeout")));
    assert_eq!(server.budget.used(), 0);

    let start = Instant::now();
    let mut slow_head = server.connect().await;
    slow_head.write_all(b"POST /sources/shop HTTP/1.1\r\nHost:").await.expect("it can be sent");
    assert!(answer(slow_head).await.is_none_or(|answer| answer.status == 408));
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());

    let many: String = (0..100).map(|n| format!("X-{n}: y\r\n")).collect();
    let mut stream = server.connect().await;
    stream
        .write_all(format!("POST /sources/shop HTTP/1.1\r\nHost: push\r\n{many}\r\n").as_bytes())
        .await
        .expect("sent");
    assert_eq!(answer(stream).await.map(|answer| answer.status), Some(431));
}

#[tokio::test]
async fn further_connections_wait_until_one_ends() {
    let limits = Limits { connections: 2, ..Setup::default().limits };
    let server = Setup { limits, ..Setup::default() }.start().await;
    // Idle ones are ended by the time for a head.
    let idle = [server.connect().await, server.connect().await];
    let start = Instant::now();
    assert_eq!(server.push(JSON, r#"{"id":"a","age":1}"#).await.status, 200);
    assert!(start.elapsed() >= Duration::from_millis(200), "{:?}", start.elapsed());
    drop(idle);
}

#[tokio::test]
async fn told_to_stop_it_answers_what_is_under_way() {
    let mut setup = Setup::default();
    setup.settings.timeout = Span::from_secs(5);
    let server = setup.start().await;
    server.broker.refuse_sends(u32::MAX);
    let mut stream = server.connect().await;
    let body = people(10);
    let head = format!(
        "POST /sources/shop HTTP/1.1\r\nHost: push\r\nContent-Type: {LINES}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await.expect("it can be sent");
    eventually("a failed send", || server.telemetry.encode().contains("publish_failures_total 10")).await;
    server.stop.cancel();
    server.broker.refuse_sends(0);
    let answer = answer(stream).await.expect("an answer");
    assert_eq!((answer.status, answer.body), (200, json!({"acknowledged": 10})));
    assert_eq!(server.running.await.expect("it does not panic"), 0);
    assert!(TcpStream::connect(server.address).await.is_err(), "it still listens");
}

#[tokio::test]
async fn told_to_stop_it_gives_up_at_the_deadline_and_says_how_many_are_left() {
    let mut setup = Setup::default();
    setup.settings.timeout = Span::from_millis(50);
    let server = setup.start().await;
    server.broker.fall_silent();
    assert_eq!(server.push(LINES, &people(10)).await.status, 503);
    server.stop.cancel();
    assert_eq!(server.running.await.expect("it does not panic"), 10);
}
