//! Sources as people have them: an API with tokens, pages and a number from which on it is asked, and a feed of lines that
//! answers 304. A failure of one shows and passes; a record that cannot be mapped is a dead letter, and a row once the
//! mapping is right. What the server says that it has is held against the table.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use millrace_api::names::Component;
use millrace_e2e::cluster::same;
use millrace_e2e::ledger::COLUMNS;
use millrace_e2e::live::address;
use millrace_e2e::spec::{SAMPLE_SOURCE, TOPIC};
use millrace_e2e::{Ledger, Live, Spec, Turn, eventually, in_shared};
use millrace_profile::seed_of;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

const READY_WITHIN: Duration = Duration::from_secs(300);
/// Longest that a step may take on a busy machine; a source that somebody has to fix is asked each half minute.
const WITHIN: Duration = Duration::from_secs(180);

/// Where the server runs, and its port.
const SERVER_NAMESPACE: &str = "e2e-source";
const SERVER_PORT: u16 = 8080;

/// Orders and visits at first. Of the visits one, the fourth, does not have the field that the mapping wants.
const ORDERS: u64 = 7;
const VISITS: u64 = 10;
const REJECTED: u64 = 3;
/// Orders once the door is open again; visits once the mapping is right.
const MORE_ORDERS: u64 = 11;
const MORE_VISITS: u64 = 13;

/// What the server has and was asked.
#[derive(Debug, Deserialize)]
struct Truth {
    orders: Vec<Uuid>,
    visits: Vec<Uuid>,
    asked: Asked,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    tokens: u64,
    further_pages: u64,
    from_the_beginning: u64,
    since: Option<u64>,
    unchanged: u64,
}

/// The shop of this run.
struct Shop {
    name: String,
    /// Its address from this machine.
    url: String,
    client: reqwest::Client,
}

pub async fn sources_that_people_have(turn: Turn) -> Result<()> {
    in_shared(&turn, "shop", async |namespace| {
        // Another name each time: a set is used by several runs of a scenario, and the server keeps its shops.
        let shop = Shop::open(namespace.cluster.client.clone()).await?;
        shop.stocks(json!({"orders": ORDERS, "visits": VISITS})).await?;
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "shop"},
            "stringData": {"id": "shop", "secret": "s3cret"},
        });
        namespace.apply::<Secret>("shop", &secret).await?;
        let live = Live::start(namespace, &spec(&shop.name, "record.gender"), READY_WITHIN).await?;
        pages_and_lines_are_rows(&live, &shop).await?;
        a_closed_door_shows_and_passes(&live, &shop).await?;
        a_rejected_record_is_a_row_once_the_mapping_is_right(&live, &shop).await
    })
    .await
}

/// Both sources, whose records are profiles already; `gender` is the expression of that field for visits.
fn spec(shop: &str, gender: &str) -> Spec {
    let fields = |gender: &str| -> Value {
        let mut fields = json!({"id": "record.id"});
        COLUMNS.iter().for_each(|column| fields[*column] = json!(format!("record.{column}")));
        fields["gender"] = json!(gender);
        fields
    };
    let url = format!("{SAMPLE_SOURCE}/shops/{shop}");
    let of_secret = |key: &str| json!({"secretKeyRef": {"name": "shop", "key": key}});
    let orders = json!({
        "name": "orders", "topic": TOPIC, "key": "id", "fields": fields("record.gender"),
        "http": {
            "url": format!("{url}/orders"), "interval": "1s", "records": "/orders", "pagination": {"by": "Link"},
            "since": "record.number", "query": {"since": "since"},
            "oauth2": {
                "tokenURL": format!("{url}/token"),
                "clientIdFrom": of_secret("id"), "clientSecretFrom": of_secret("secret"),
            },
        },
    });
    let visits = json!({
        "name": "visits", "topic": TOPIC, "key": "id", "fields": fields(gender),
        "http": {"url": format!("{url}/visits"), "interval": "1s"},
    });
    Spec::one().sources([orders, visits])
}

impl Shop {
    /// Finds the server and opens a shop there.
    async fn open(client: kube::Client) -> Result<Self> {
        let pods: Api<Pod> = Api::namespaced(client, SERVER_NAMESPACE);
        let ours = ListParams::default().labels("app.kubernetes.io/name=sample-source");
        let found = pods.list(&ours).await.context("cannot list the sample source's pods")?;
        let address = found.items.iter().find_map(address).context("the sample source does not run")?;
        let name = Uuid::new_v4().simple().to_string();
        let client = reqwest::Client::builder().no_proxy().build().context("there is no HTTP client")?;
        Ok(Self { url: format!("http://{}/shops/{name}", SocketAddr::new(address, SERVER_PORT)), name, client })
    }

    /// Says how much there is.
    async fn stocks(&self, stock: Value) -> Result<()> {
        let answer = self.client.put(&self.url).json(&stock).send().await;
        answer.and_then(reqwest::Response::error_for_status).context("the shop cannot be changed")?;
        Ok(())
    }

    async fn truth(&self) -> Result<Truth> {
        let answer = self.client.get(&self.url).send().await;
        let answer = answer.and_then(reqwest::Response::error_for_status);
        answer.context("the shop does not answer")?.json().await.context("the shop answers with something else")
    }

    /// Returns what the table must have: what the server has, but for those visits.
    async fn ledger(&self, without: &[u64]) -> Result<Ledger> {
        let Truth { orders, visits, .. } = self.truth().await?;
        let missing: HashSet<Uuid> = without.iter().map(|index| visits[*index as usize]).collect();
        let seed = |what: &str| seed_of(&format!("{}-{what}", self.name));
        let all = Ledger::default().and(seed("orders"), orders.len() as u64).and(seed("visits"), visits.len() as u64);
        let told: HashSet<Uuid> = orders.into_iter().chain(visits).collect();
        ensure!(all.ids() == told, "the server has other records than this test expects");
        Ok(all.only(&told.difference(&missing).copied().collect()))
    }
}

/// Waits until the table has exactly what the server has, but for those visits.
async fn await_rows(live: &Live, shop: &Shop, without: &[u64]) -> Result<()> {
    let exact = async || {
        let found = live.table().await?.compare(shop.ledger(without).await?).await?;
        found.ensure_exact().map(|()| Some(found))
    };
    let (found, _) = eventually("the table has what the server has", WITHIN, exact).await?;
    live.namespace.say(format!("the server's records and the table: {found}"));
    Ok(())
}

async fn pages_and_lines_are_rows(live: &Live, shop: &Shop) -> Result<()> {
    await_rows(live, shop, &[REJECTED]).await?;
    let caught_up = async || {
        let asked = shop.truth().await?.asked;
        Ok((asked.since == Some(ORDERS - 1) && asked.unchanged > 0).then_some(asked))
    };
    let (asked, _) =
        eventually("orders are asked for from the last one on, and visits answered 304", WITHIN, caught_up).await?;
    ensure!(asked.tokens >= 1 && asked.further_pages >= 2, "{asked:?}");
    live.await_condition("SourcesHealthy", "True", "SourcesRunning", WITHIN).await?;
    // Sent once: the feed that has the record is not sent again.
    let counted = async || {
        let status = live.resource().await?.status.context("there is a status")?;
        let of = |name: &str| status.sources.iter().find(|source| source.name == name);
        let rejected = of("visits").map(|source| source.rejected) == Some(1);
        let well = ["orders", "visits"].iter().all(|name| of(name).is_some_and(|source| source.state == "Running"));
        Ok((well && rejected).then_some(()))
    };
    eventually("the status says that one visit was rejected", WITHIN, counted).await?;
    same("the letters", &letters(live, &["count"]).await?, "1 EvaluateField\n1 in all\n")
}

/// An endpoint that somebody has to fix is named while the other goes on; and a token that counts no more is replaced.
async fn a_closed_door_shows_and_passes(live: &Live, shop: &Shop) -> Result<()> {
    shop.stocks(json!({"orders": MORE_ORDERS, "visits": VISITS, "closed": true})).await?;
    live.await_condition("SourcesHealthy", "False", "SourceFailing", WITHIN).await?;
    let message = live.message("SourcesHealthy").await?;
    ensure!(message.starts_with("source 'orders': BadAnswer: ") && message.contains("404"), "it says '{message}'");
    let status = live.resource().await?.status.context("there is a status")?;
    let states: Vec<(&str, &str)> =
        status.sources.iter().map(|source| (source.name.as_str(), source.state.as_str())).collect();
    ensure!(states == [("orders", "BadAnswer"), ("visits", "Running")], "the status says {states:?}");

    let before = shop.truth().await?.asked;
    shop.stocks(json!({"orders": MORE_ORDERS, "visits": VISITS, "revoked": true})).await?;
    live.await_condition("SourcesHealthy", "True", "SourcesRunning", WITHIN).await?;
    await_rows(live, shop, &[REJECTED]).await?;
    let after = shop.truth().await?.asked;
    ensure!(after.tokens > before.tokens, "no further token was asked for: {after:?}");
    ensure!(after.from_the_beginning == before.from_the_beginning, "the poll began anew: {before:?}, {after:?}");
    Ok(())
}

/// The feed does not have the record any more when the mapping is right, so only the letter can become its row.
async fn a_rejected_record_is_a_row_once_the_mapping_is_right(live: &Live, shop: &Shop) -> Result<()> {
    let redrive = ["redrive", "--reason", "EvaluateField"];
    let still = letters(live, &[&redrive[..], &["--dry-run"]].concat()).await?;
    ensure!(still.contains("1 left: "), "with the mapping as it was, the redrive says '{still}'");

    shop.stocks(json!({"orders": MORE_ORDERS, "visits": MORE_VISITS, "firstVisit": VISITS})).await?;
    let before = shop.truth().await?.asked;
    let right = spec(&shop.name, "has(record.gender) ? record.gender : record.sex");
    let producer = live.pod("users-producer-0").await?;
    live.change(&right).await?;
    let renewed = async || {
        let pods = live.pods(Component::Producer).await?;
        Ok(pods.iter().any(|pod| pod.uid() != producer.uid()).then_some(()))
    };
    eventually("the producer has the mapping", READY_WITHIN, renewed).await?;
    live.await_ready(READY_WITHIN).await?;
    await_rows(live, shop, &[REJECTED]).await?;
    same("the redrive", &letters(live, &redrive).await?, "1 sent: EvaluateField\n")?;
    await_rows(live, shop, &[]).await?;
    // The producer began anew, and not from the beginning: its position is kept.
    let after = shop.truth().await?.asked;
    ensure!(after.from_the_beginning == before.from_the_beginning, "the producer began anew: {before:?}, {after:?}");
    Ok(())
}

/// Runs `worker letters` in the producer's pod, and returns what it prints.
async fn letters(live: &Live, arguments: &[&str]) -> Result<String> {
    let namespace = &live.namespace;
    let command = ["exec", "-n", &namespace.name, "users-producer-0", "--", "worker", "letters"];
    namespace.cluster.kubectl(&[&command[..], arguments].concat()).await
}

/// Checks without a cluster that both mappings are valid.
pub fn check() -> Result<()> {
    for gender in ["record.gender", "has(record.gender) ? record.gender : record.sex"] {
        let rejected = spec("a", gender).rejected()?;
        ensure!(rejected.is_empty(), "{rejected:?}");
    }
    Ok(())
}
