//! SQL on a real cluster: one topic feeds a projection, a computed query and an UNNEST; what a condition drops is
//! committed and counted, what one query cannot use is a dead letter of that query alone, and a replay changes nothing.
//! A query that does not compile is refused in status, with its place, while the others go on; `millrace validate` says
//! the same without the cluster.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use millrace_api::names::Component;
use millrace_e2e::cluster::{same, target};
use millrace_e2e::command::Millrace;
use millrace_e2e::spec::TOPIC;
use millrace_e2e::{Live, Spec, Turn, in_shared, operator};
use millrace_stores::cassandra::{open, rows};
use serde_json::{Value, json};

use crate::scenario::replay::rewind;

const READY_WITHIN: Duration = Duration::from_secs(300);
const CHANGED_WITHIN: Duration = Duration::from_secs(180);

const PROJECTED: &str = "SELECT id, home->'city' AS city, home->'tags' AS tags FROM users_created";
const COMPUTED: &str = "SELECT id, upper(name) || '!' AS name,
       CASE WHEN age >= 18 THEN TRUE ELSE FALSE END AS adult,
       CAST(price AS decimal(12,2)) * 3 AS price,
       CAST(seen AS date) AS day
FROM users_created
WHERE age IS NOT NULL";
const UNNESTED: &str = "SELECT id, line, item->>'sku' AS sku, CAST(item->'quantity' AS int) * 10 AS quantity
FROM users_created CROSS JOIN UNNEST(items) WITH ORDINALITY AS t(item, line)";
/// A function that there is not, in the second line.
const BROKEN: &str = "SELECT id,\n       uper(name) AS name\nFROM others";

const RECORDS: [&str; 3] = [
    r#"{"id": "a", "name": "ann", "age": 17, "price": "0.10", "seen": "2024-02-29T23:59:59Z", "unknown": [1],
        "home": {"city": "Liège", "tags": ["y", "x"]}, "items": [{"sku": "s1", "quantity": 1}, {"sku": "s2", "quantity": 2}]}"#,
    r#"{"id": "b", "name": "bob", "home": {"city": null}, "items": []}"#,
    r#"{"id": "c", "name": "cyd", "age": 18, "items": [{"sku": "s3", "quantity": "many"}]}"#,
];

/// Columns of a row and what they hold.
type Cells = &'static [(&'static str, &'static str)];

/// Table and its rows as Cassandra tells them, by key.
const TOLD: [(&str, &str, Cells); 3] = [
    (
        "projected",
        "id",
        &[
            ("a", r#"{"id": "a", "city": "Liège", "tags": ["x", "y"]}"#),
            ("b", r#"{"id": "b", "city": null, "tags": null}"#),
            ("c", r#"{"id": "c", "city": null, "tags": null}"#),
        ],
    ),
    (
        "computed",
        "id",
        &[
            ("a", r#"{"id": "a", "adult": false, "day": "2024-02-29", "name": "ANN!", "price": 0.30}"#),
            ("c", r#"{"id": "c", "adult": true, "day": null, "name": "CYD!", "price": null}"#),
        ],
    ),
    (
        "unnested",
        "line",
        &[
            ("1", r#"{"id": "a", "line": 1, "quantity": 10, "sku": "s1"}"#),
            ("2", r#"{"id": "a", "line": 2, "quantity": 20, "sku": "s2"}"#),
        ],
    ),
];

pub async fn queries_with_sql_write_what_they_say(turn: Turn) -> Result<()> {
    in_shared(&turn, "sql", async |namespace| {
        let spec = spec();
        let live = Live::start(namespace, &spec, READY_WITHIN).await?;
        let base = send(&live, &RECORDS).await?;
        live.await_caught_up(CHANGED_WITHIN).await?;
        tables_are_as_told(&live).await?;
        namespace.say("one topic has filled three tables");

        what_is_dropped_is_counted(&live).await?;
        what_fits_one_query_alone_is_its_dead_letter(&live).await?;
        let lag = rewind(&live, 0, base).await?;
        ensure!(lag == RECORDS.len() as i64, "after moving the group back {lag} records are to be read");
        live.await_caught_up(CHANGED_WITHIN).await?;
        tables_are_as_told(&live).await?;
        namespace.say("a replay changes nothing");

        a_broken_query_is_refused_and_the_others_go_on(&live, &spec).await?;
        a_file_is_judged_alike(&live).await
    })
    .await
}

fn spec() -> Spec {
    let columns = |columns: &[(&str, &str)]| -> Vec<Value> {
        columns.iter().map(|(name, text)| json!({"name": name, "type": text})).collect()
    };
    let table = |name: &str, fields: &[(&str, &str)], clustering: &[&str]| {
        let key = json!({"partition": ["id"], "clustering": clustering});
        json!({"name": name, "columns": columns(fields), "primaryKey": key})
    };
    let computed = [("id", "text"), ("name", "text"), ("adult", "boolean"), ("price", "decimal"), ("day", "date")];
    let tables = json!([
        table("projected", &[("id", "text"), ("city", "text"), ("tags", "set<text>")], &[]),
        table("computed", &computed, &[]),
        table("unnested", &[("id", "text"), ("line", "int"), ("sku", "text"), ("quantity", "int")], &["line"]),
    ]);
    let streams = columns(&[
        ("id", "text"),
        ("name", "text"),
        ("age", "int"),
        ("price", "text"),
        ("seen", "timestamp"),
        ("home", "json"),
        ("items", "json"),
    ]);
    let query = |table: &str, sql: &str| query(table, TOPIC, table, sql, &streams);
    let queries = json!([query("projected", PROJECTED), query("computed", COMPUTED), query("unnested", UNNESTED)]);
    Spec::one().readable_topics().with("/spec/cassandra/tables", tables).with("/spec/processor/queries", queries)
}

fn query(name: &str, from: &str, into: &str, sql: &str, columns: &[Value]) -> Value {
    json!({"name": name, "from": from, "into": into, "sql": sql, "columns": columns})
}

/// Adds a query of another topic.
fn with_query(spec: &Spec, sql: &str) -> Spec {
    let columns = [json!({"name": "id", "type": "text"}), json!({"name": "name", "type": "text"})];
    spec.clone()
        .with("/spec/kafka/topics/-", json!({"name": "others", "partitions": 1}))
        .with("/spec/processor/queries/-", query("broken", "others", "computed", sql, &columns))
}

/// Sends records to the first partition and returns the offset of the first of them.
async fn send(live: &Live, records: &[&str]) -> Result<i64> {
    let records: Vec<(Bytes, Bytes)> =
        records.iter().map(|record| (Bytes::from("key"), Bytes::from((*record).to_owned()))).collect();
    live.kafka().await?.produce(0, &records).await
}

async fn tables_are_as_told(live: &Live) -> Result<()> {
    for (table, key, told) in TOLD {
        let found = stored(live, table, key).await?;
        for (key, row) in told {
            let row: Value = serde_json::from_str(row).context("what is told is JSON")?;
            let stored = found.get(*key).unwrap_or(&Value::Null);
            ensure!(*stored == row, "in {table}, row {key} is {stored}, not {row}");
        }
        ensure!(found.len() == told.len(), "{table} has {} rows, not {}", found.len(), told.len());
    }
    Ok(())
}

/// Returns the rows of a table as Cassandra's own JSON.
async fn stored(live: &Live, table: &str, key: &str) -> Result<BTreeMap<String, Value>> {
    let addresses = live.addresses(Component::Cassandra).await?;
    let address = addresses.values().next().context("no Cassandra node has an address")?;
    let session = open(*address).await.context("cannot reach Cassandra")?;
    let found: Vec<(String,)> = rows(&session, &format!("SELECT JSON * FROM streams.{table}"), ()).await?;
    let mut stored = BTreeMap::new();
    for (row,) in found {
        let row: Value = serde_json::from_str(&row).with_context(|| format!("Cassandra tells no JSON: {row}"))?;
        let key = row[key].as_str().map_or_else(|| row[key].to_string(), str::to_owned);
        stored.insert(key, row);
    }
    Ok(stored)
}

/// The record without an age has no row in `computed`, the one without items none in `unnested`.
async fn what_is_dropped_is_counted(live: &Live) -> Result<()> {
    let metrics = live.metrics(Component::Processor).await?;
    for (query, dropped) in [("projected", 0.0), ("computed", 1.0), ("unnested", 1.0)] {
        let counted: f64 =
            metrics.values().map(|metrics| metrics.of("millrace_records_filtered_total", "query", query)).sum();
        ensure!(counted == dropped, "query {query} has dropped {counted} records, not {dropped}");
    }
    Ok(())
}

async fn what_fits_one_query_alone_is_its_dead_letter(live: &Live) -> Result<()> {
    let letters = live.kafka().await?.read(&Spec::dead_letters()).await?;
    ensure!(letters.len() == 1, "{} dead letters instead of one", letters.len());
    let header = |name: &str| {
        letters[0].headers.get(&format!("millrace-dead-letter-{name}")).map_or("", String::as_str).to_owned()
    };
    same("the letter's query", &header("query"), "unnested")?;
    same(
        "the letter's message",
        &header("message"),
        "query 'unnested': field item->'quantity' wants int, a JSON integer of 32 bits, not \"many\"",
    )
}

async fn a_broken_query_is_refused_and_the_others_go_on(live: &Live, spec: &Spec) -> Result<()> {
    live.change(&with_query(spec, BROKEN)).await?;
    live.await_condition("SpecValid", "False", "", CHANGED_WITHIN).await?;
    same(
        "the message of SpecValid",
        &live.message("SpecValid").await?,
        "spec.processor.queries[3].sql: query 'broken': line 2, column 8: column 'name': there is no function 'uper'",
    )?;
    send(live, &[r#"{"id": "d", "age": 40, "name": "dan"}"#]).await?;
    live.await_caught_up(CHANGED_WITHIN).await?;
    let computed = stored(live, "computed", "id").await?;
    ensure!(computed.get("d").is_some_and(|row| row["name"] == "DAN!"), "the other queries have stopped: {computed:?}");
    live.namespace.say("a broken query is refused with its place, and the others go on");
    live.change(&with_query(spec, &BROKEN.replace("uper", "upper"))).await?;
    live.await_ready(READY_WITHIN).await?;
    live.namespace.say("mended, it runs");
    operator::ensure_small(&live.namespace, "operator_resident_with_sql").await
}

/// The same file without a cluster.
async fn a_file_is_judged_alike(live: &Live) -> Result<()> {
    let file = target().join("e2e-sql-validate.yaml");
    let millrace = Millrace::new(&live.namespace)?.with_kubeconfig(PathBuf::from("/dev/null"));
    let judged = [
        (BROKEN.to_owned(), 1, "line 2, column 8: column 'name': there is no function 'uper'"),
        (BROKEN.replace("uper", "upper"), 0, "1 resource, valid"),
    ];
    for (sql, code, says) in judged {
        let text = serde_yaml::to_string(with_query(&spec(), &sql).value()).context("a resource is YAML")?;
        std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        millrace.says(&["validate", &file.display().to_string()], code, says).await?;
    }
    Ok(())
}

/// Checks without a cluster that the broken query alone makes the pipeline invalid.
pub fn check() -> Result<()> {
    for (spec, mistakes) in
        [(spec(), 0), (with_query(&spec(), BROKEN), 1), (with_query(&spec(), &BROKEN.replace("uper", "upper")), 0)]
    {
        let rejected = spec.rejected()?;
        ensure!(rejected.len() == mistakes, "{} mistakes instead of {mistakes}: {rejected:?}", rejected.len());
    }
    Ok(())
}
