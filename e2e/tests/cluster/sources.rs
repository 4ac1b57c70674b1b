//! Records that are pushed through the Service, filed on a volume, and copied from a topic end as rows, each once: also
//! past brokers that stand still with a small memory bound, a producer that is killed in the middle of a file, and
//! producers that come and go by their scaling.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures::future::join_all;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret};
use kube::ResourceExt;
use millrace_api::names::Component;
use millrace_e2e::ledger::Ledger;
use millrace_e2e::process::{Signal, signal};
use millrace_e2e::spec::TOPIC;
use millrace_e2e::{Live, Spec, TestNamespace, Turn, eventually, in_shared};
use millrace_profile::profile;
use serde_json::{Value, json};

const READY_WITHIN: Duration = Duration::from_secs(300);
/// Longest that a step may take on a busy machine.
const WITHIN: Duration = Duration::from_secs(180);

/// The topic that stands for another cluster's.
const INCOMING: &str = "incoming";
const CURSORS: &str = "users-cursors";
const TOKEN: &str = "e2e-token";
/// The pod that pushes and files.
const CLIENT: &str = "client";

/// Seeds of what is pushed, filed and copied.
const PUSHED: u64 = 11;
const FILED: u64 = 12;
const COPIED: u64 = 13;

/// Records of one request, or of one `kubectl exec`.
const REQUEST: u64 = 100;
/// Requests while all is well, and while the brokers stand still.
const REQUESTS: u64 = 10;
const REQUESTS_IN_TROUBLE: u64 = 12;
/// Requests while two producers run, and as many while one of them goes.
const REQUESTS_SCALED: u64 = 6;
/// Records of the first file, and of the second, in the middle of which the producer is killed.
const FIRST_FILE: u64 = 1_000;
const SECOND_FILE: u64 = 4_000;
/// Records of all three files.
const FILES: u64 = FIRST_FILE + SECOND_FILE + 200;
const COPIES: u64 = 2_000;

/// Bytes in hand that are many records, well within the bound of 1Mi.
const MANY: f64 = 512.0 * 1024.0;

/// `$1` is the token, `$2` the body; prints the answer. Lengths are counted in bytes.
const PUSH: &str = r#"LC_ALL=C
exec 3<>/dev/tcp/users-push/8090
printf 'POST /sources/shop HTTP/1.1\r\nHost: push\r\nConnection: close\r\nAuthorization: Bearer %s\r\n' "$1" >&3
printf 'Content-Type: application/x-ndjson\r\nContent-Length: %d\r\n\r\n%s' "${#2}" "$2" >&3
cat <&3"#;

pub async fn pushed_filed_and_copied_records_are_rows_once(turn: Turn) -> Result<()> {
    in_shared(&turn, "sources", async |namespace| {
        secret_and_claim(namespace).await?;
        let live = Live::start(namespace, &spec(), READY_WITHIN).await?;
        client(&live).await?;
        push_is_answered(&live).await?;
        push_is_put_off_while_brokers_stand_still(&live).await?;
        files_are_read_past_a_killed_producer(&live).await?;
        a_topic_is_copied(&live).await?;
        producers_come_and_go(&live).await?;
        every_record_is_a_row(&live).await
    })
    .await
}

/// One of each store, one producer with a small memory bound and one source of each kind.
fn spec() -> Spec {
    let sources = [
        shop(),
        json!({
            "name": "drops", "topic": TOPIC, "key": "id",
            "files": {"claimName": "drops", "path": "in/*.jsonl", "format": "JSONLines", "interval": "1s"},
        }),
        json!({
            "name": "old", "topic": TOPIC, "key": "id",
            "kafka": {"bootstrapServers": ["users-kafka:9092"], "topic": INCOMING},
        }),
    ];
    Spec::one()
        .readable_topics()
        .with("/spec/kafka/topics/-", json!({"name": INCOMING, "partitions": 2}))
        .sources(sources)
        .with("/spec/producer/bufferMemory", json!("1Mi"))
}

fn shop() -> Value {
    json!({
        "name": "shop", "topic": TOPIC, "key": "id",
        "push": {
            "maxBody": "512Ki", "timeout": "5s",
            "tokenFrom": {"secretKeyRef": {"name": "shop", "key": "token"}},
        },
    })
}

/// The same with pushes alone, and so many producers.
fn scaled(number: u64) -> Spec {
    let scaling = json!({"mode": "Auto", "min": number, "max": number});
    spec().sources([shop()]).with("/spec/producer/scaling", scaling)
}

async fn secret_and_claim(namespace: &TestNamespace) -> Result<()> {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "shop"}, "stringData": {"token": TOKEN},
    });
    namespace.apply::<Secret>("shop", &secret).await?;
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "drops"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "64Mi"}}},
    });
    namespace.apply::<PersistentVolumeClaim>("drops", &claim).await
}

/// Starts a pod that has a shell and the volume: the worker's image, on the node where the volume is.
async fn client(live: &Live) -> Result<()> {
    let producers = live.pods(Component::Producer).await?;
    let spec = producers.first().and_then(|pod| pod.spec.as_ref()).context("a producer runs")?;
    let container = json!({
        "name": CLIENT, "image": spec.containers[0].image, "imagePullPolicy": "IfNotPresent",
        "command": ["/bin/bash", "-c", "trap 'exit 0' TERM; while true; do sleep 1; done"],
        "volumeMounts": [{"name": "drops", "mountPath": "/drops"}],
        "securityContext": {
            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
        },
    });
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": CLIENT},
        "spec": {
            "containers": [container],
            "volumes": [{"name": "drops", "persistentVolumeClaim": {"claimName": "drops"}}],
            "nodeName": spec.node_name, "imagePullSecrets": spec.image_pull_secrets,
            "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 2,
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
        },
    });
    live.namespace.apply::<Pod>(CLIENT, &pod).await?;
    let runs = async || {
        let phase = live.pod(CLIENT).await?.status.and_then(|status| status.phase);
        Ok((phase.as_deref() == Some("Running")).then_some(()))
    };
    eventually("the client runs", WITHIN, runs).await?;
    shell(live, "mkdir -p /drops/in", &[]).await.map(|_| ())
}

/// Runs a script in the client's pod, with `$1` and so on.
async fn shell(live: &Live, script: &str, arguments: &[&str]) -> Result<String> {
    let namespace = &live.namespace;
    let command = ["exec", "-n", &namespace.name, CLIENT, "--", "/bin/bash", "-c", script, "bash"];
    namespace.cluster.kubectl(&[&command[..], arguments].concat()).await
}

/// Returns records as lines of JSON.
fn lines(seed: u64, range: std::ops::Range<u64>) -> Result<String> {
    let line = |index| Ok(format!("{}\n", serde_json::to_string(&profile(seed, index))?));
    range.map(line).collect()
}

/// Pushes one request; returns status and answer, or nothing where nobody answers.
async fn push(live: &Live, token: &str, request: u64) -> Result<Option<(u16, String)>> {
    let body = lines(PUSHED, request * REQUEST..(request + 1) * REQUEST)?;
    let Ok(answer) = shell(live, PUSH, &[token, &body]).await else { return Ok(None) };
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok(status.map(|status| (status, answer)))
}

async fn push_is_answered(live: &Live) -> Result<()> {
    // The network lets a new pod through with some delay.
    let answered = async || push(live, "wrong", 0).await;
    let ((status, answer), _) = eventually("the Service leads to the producer", WITHIN, answered).await?;
    ensure!(status == 401, "without the right token the answer is {answer}");
    for request in 0..REQUESTS {
        let (status, answer) = push(live, TOKEN, request).await?.context("the Service leads to nobody")?;
        let acknowledged = answer.contains(&format!("\"acknowledged\":{REQUEST}"));
        ensure!(status == 200 && acknowledged, "the answer is {answer}");
        // The answer came after the acknowledgement, so they are there by now.
        let sent = (request + 1) * REQUEST;
        let there = u64::try_from(live.kafka().await?.length(TOPIC).await?)?;
        ensure!(there >= sent, "{sent} records are answered for, and {there} are in the topic");
    }
    live.namespace.say(format!("{REQUESTS} requests of {REQUEST} records are answered when Kafka has them"));
    Ok(())
}

/// While brokers stand still, some requests wait in vain and the rest are refused at once; sent again, all arrive.
async fn push_is_put_off_while_brokers_stand_still(live: &Live) -> Result<()> {
    let requests = REQUESTS..REQUESTS + REQUESTS_IN_TROUBLE;
    let brokers = live.pods(Component::Kafka).await?;
    for broker in &brokers {
        signal(&live.namespace.cluster, broker, Signal::Stop).await?;
    }
    let answers = join_all(requests.clone().map(|request| push(live, TOKEN, request))).await;
    let buffered = live.sum(Component::Producer, "millrace_buffered_bytes").await;
    for broker in &brokers {
        signal(&live.namespace.cluster, broker, Signal::Continue).await?;
    }
    let answers = answers.into_iter().collect::<Result<Vec<_>>>()?;
    let statuses: Vec<u16> = answers.iter().flatten().map(|(status, _)| *status).collect();
    live.namespace.say(format!("brokers stand still: answers {statuses:?}, {:.0} bytes in hand", buffered?));
    let put_off = answers.iter().flatten().all(|(status, answer)| match status {
        429 | 503 => answer.to_ascii_lowercase().contains("retry-after:"),
        _ => false,
    });
    ensure!(put_off, "an answer is neither 429 nor 503 with Retry-After: {answers:?}");
    ensure!(statuses.contains(&503) && statuses.contains(&429), "memory was never short: {statuses:?}");
    await_taken(live, requests).await
}

/// Pushes requests, each again and again until it is answered as it shall be.
async fn await_taken(live: &Live, requests: std::ops::Range<u64>) -> Result<()> {
    for request in requests {
        let taken = async || Ok(push(live, TOKEN, request).await?.filter(|(status, _)| *status == 200));
        eventually("the request is taken", WITHIN, taken).await?;
    }
    Ok(())
}

/// Files records under a name that is read only once it is whole.
async fn file(live: &Live, name: &str, range: std::ops::Range<u64>) -> Result<()> {
    for start in range.clone().step_by(REQUEST as usize) {
        let text = lines(FILED, start..(start + REQUEST).min(range.end))?;
        shell(live, r#"printf '%s\n' "$2" >>"/drops/$1""#, &[name, text.trim_end()]).await?;
    }
    shell(live, r#"mv "/drops/$1" "/drops/in/$1""#, &[name]).await.map(|_| ())
}

async fn produced(live: &Live, source: &str) -> Result<f64> {
    let all = live.metrics(Component::Producer).await?;
    Ok(all.values().map(|metrics| metrics.of("millrace_records_produced_total", "source", source)).sum())
}

async fn await_produced(live: &Live, source: &str, count: u64) -> Result<()> {
    let all = async || Ok((produced(live, source).await? >= count as f64).then_some(()));
    eventually(&format!("{count} records of '{source}' are acknowledged"), WITHIN, all).await.map(|_| ())
}

async fn files_are_read_past_a_killed_producer(live: &Live) -> Result<()> {
    file(live, "a.jsonl", 0..FIRST_FILE).await?;
    await_produced(live, "drops", FIRST_FILE).await?;
    let kept = async || Ok((live.kafka().await?.length(CURSORS).await? > 0).then_some(()));
    eventually("the position is kept", WITHIN, kept).await?;

    // The file appears while nothing can be acknowledged, so the producer is in the middle of it when it is killed.
    let brokers = live.pods(Component::Kafka).await?;
    let producers = live.pods(Component::Producer).await?;
    let producer = producers.first().context("a producer runs")?;
    let killed = async {
        file_while_brokers_stand_still(live, &brokers).await?;
        live.namespace.say(format!("killing '{}' in the middle of a file", producer.name_any()));
        signal(&live.namespace.cluster, producer, Signal::Kill).await
    };
    let killed = killed.await;
    for broker in &brokers {
        signal(&live.namespace.cluster, broker, Signal::Continue).await?;
    }
    killed?;
    live.await_recovery(producer, WITHIN).await?;
    // Nothing of the second file was acknowledged, and all of the first: the new producer sends exactly the second.
    await_produced(live, "drops", SECOND_FILE).await?;
    file(live, "c.jsonl", FIRST_FILE + SECOND_FILE..FILES).await?;
    await_produced(live, "drops", FILES - FIRST_FILE).await?;
    let again = produced(live, "drops").await?;
    let wanted = (FILES - FIRST_FILE) as f64;
    ensure!(again <= wanted, "the new producer sent {again} records, not {wanted}: those of the first file, too");
    live.namespace.say(format!("the new producer sent {again} records, and none of the first file again"));
    Ok(())
}

async fn file_while_brokers_stand_still(live: &Live, brokers: &[Pod]) -> Result<()> {
    // Filled before, so that the brokers stand still for as short as possible.
    for start in (FIRST_FILE..FIRST_FILE + SECOND_FILE).step_by(REQUEST as usize) {
        let text = lines(FILED, start..start + REQUEST)?;
        shell(live, r#"printf '%s\n' "$1" >>/drops/b.jsonl"#, &[text.trim_end()]).await?;
    }
    for broker in brokers {
        signal(&live.namespace.cluster, broker, Signal::Stop).await?;
    }
    shell(live, "mv /drops/b.jsonl /drops/in/b.jsonl", &[]).await?;
    let many = async || {
        let buffered = live.sum(Component::Producer, "millrace_buffered_bytes").await?;
        Ok((buffered > MANY).then_some(()))
    };
    eventually("the producer has many records in hand", WITHIN, many).await.map(|_| ())
}

async fn a_topic_is_copied(live: &Live) -> Result<()> {
    let before = produced(live, "old").await?;
    for partition in [0, 1] {
        let mut records = Vec::new();
        for index in (0..COPIES).filter(|index| index % 2 == partition) {
            let person = profile(COPIED, index);
            let value = serde_json::to_string(&person)?;
            records.push((Bytes::from(person.id), Bytes::from(value)));
        }
        live.kafka().await?.produce_to(INCOMING, i32::try_from(partition)?, &records).await?;
    }
    await_produced(live, "old", before as u64 + COPIES).await?;
    let copied = live.kafka().await?.read(TOPIC).await?;
    let from = |header: &str| copied.iter().filter(|record| record.headers.contains_key(header)).count() as u64;
    let [topic, partition, offset] =
        ["topic", "partition", "offset"].map(|part| from(&format!("millrace-origin-{part}")));
    ensure!([topic, partition, offset] == [COPIES; 3], "{topic}, {partition}, {offset} records say where they stood");
    live.namespace.say(format!("{COPIES} records are copied, and say where they stood"));
    Ok(())
}

/// With pushes alone, the number of producers is the operator's: two, and one again while clients push on.
async fn producers_come_and_go(live: &Live) -> Result<()> {
    let first = REQUESTS + REQUESTS_IN_TROUBLE;
    for (number, requests) in
        [(2, first..first + REQUESTS_SCALED), (1, first + REQUESTS_SCALED..first + 2 * REQUESTS_SCALED)]
    {
        live.change(&scaled(number)).await?;
        let run = async || {
            let pods = live.pods(Component::Producer).await?;
            let ready = pods.iter().filter(|pod| millrace_api::pods::is_ready(pod)).count() as u64;
            Ok(((ready, pods.len() as u64) == (number, number)).then_some(()))
        };
        let what = format!("producers run: {number}");
        let (run, taken) = tokio::join!(eventually(&what, WITHIN, run), await_taken(live, requests));
        run?;
        taken?;
        let status = live.resource().await?.status.context("it has a status")?;
        let last = status.producer_scaling().and_then(|scaling| scaling.last_scaled.clone());
        let last = last.context("the status does not say that the number was changed")?;
        live.namespace.say(&last.message);
        ensure!(u64::try_from(last.to)? == number, "the last change is {last:?}");
    }
    Ok(())
}

/// Kafka may have records twice, of requests that were sent again and of the killed producer; the table has each once.
async fn every_record_is_a_row(live: &Live) -> Result<()> {
    live.await_caught_up(WITHIN).await?;
    let pushed = (REQUESTS + REQUESTS_IN_TROUBLE + 2 * REQUESTS_SCALED) * REQUEST;
    let ledger = Ledger::default().and(PUSHED, pushed).and(FILED, FILES).and(COPIED, COPIES);
    let found = live.table().await?.compare(ledger).await?;
    live.namespace.say(format!("pushed, filed and copied: {found}"));
    found.ensure_exact()
}

/// Checks without a cluster that the pipeline is valid, and a request shorter than an argument may be.
pub fn check() -> Result<()> {
    let rejected = [spec().rejected()?, scaled(2).rejected()?].concat();
    ensure!(rejected.is_empty(), "{rejected:?}");
    let longest = lines(PUSHED, 0..REQUEST)?.len();
    ensure!(longest < 100 << 10, "a request has {longest} bytes");
    Ok(())
}
