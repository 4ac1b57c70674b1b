//! A column of every type on a real Cassandra: records arrive, and Cassandra's own words for what it stored are
//! compared; records that do not fit are dead letters that say where and why; a type is extended; a tombstone deletes its
//! row; a replay changes nothing. And the reason why lists must be frozen.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use millrace_api::names::Component;
use millrace_e2e::cluster::same;
use millrace_e2e::spec::TABLE;
use millrace_e2e::{Live, Spec, Turn, in_shared};
use millrace_stores::cassandra::NodeSession;
use millrace_stores::cassandra::{open, rows};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::scenario::replay::rewind;

const READY_WITHIN: Duration = Duration::from_secs(300);
const CHANGED_WITHIN: Duration = Duration::from_secs(180);

/// Column, type, a value as a record has it, and as Cassandra tells it.
const COLUMNS: [(&str, &str, &str, &str); 28] = [
    ("a_ascii", "ascii", r#""abc""#, r#""abc""#),
    ("a_bigint", "bigint", "-9223372036854775808", "-9223372036854775808"),
    ("a_blob", "blob", r#""0xCAFE""#, r#""0xcafe""#),
    ("a_boolean", "boolean", "true", "true"),
    ("a_date", "date", r#""1969-12-31""#, r#""1969-12-31""#),
    (
        "a_decimal",
        "decimal",
        "1234567890123456789012345678901234567890.50",
        "1234567890123456789012345678901234567890.50",
    ),
    ("a_double", "double", "0.1", "0.1"),
    ("a_duration", "duration", r#""P1M3DT12H""#, r#""1mo3d12h""#),
    ("a_float", "float", "0.25", "0.25"),
    ("a_inet", "inet", r#""192.0.2.1""#, r#""192.0.2.1""#),
    ("a_int", "int", "2147483647", "2147483647"),
    ("a_smallint", "smallint", "-32768", "-32768"),
    ("a_text", "varchar", r#""Li\u00e8ge\n""#, r#""Liège\n""#),
    ("a_time", "time", r#""23:59:59.123456789""#, r#""23:59:59.123456789""#),
    ("a_timestamp", "timestamp", r#""2024-02-29 12:00:00.5+01:00""#, r#""2024-02-29 11:00:00.500Z""#),
    (
        "a_timeuuid",
        "timeuuid",
        r#""f47ac10b-58cc-11ed-a372-0e02b2c3d479""#,
        r#""f47ac10b-58cc-11ed-a372-0e02b2c3d479""#,
    ),
    ("a_tinyint", "tinyint", "-128", "-128"),
    ("a_varint", "varint", r#""-170141183460469231731687303715884105729""#, "-170141183460469231731687303715884105729"),
    ("a_list", "frozen<list<text>>", r#"["b", "a", "b"]"#, r#"["b", "a", "b"]"#),
    ("a_set", "set<int>", "[3, 1, 2, 3]", "[1, 2, 3]"),
    ("a_map", "map<text, bigint>", r#"{"z": 1, "a": -2}"#, r#"{"a": -2, "z": 1}"#),
    ("numbers", "map<int, boolean>", r#"{"7": false}"#, r#"{"7": false}"#),
    (
        "a_nested",
        "map<date, frozen<list<set<tinyint>>>>",
        r#"{"2024-02-29": [[1], []]}"#,
        r#"{"2024-02-29": [[1], []]}"#,
    ),
    ("a_tuple", "tuple<int, text, list<decimal>>", "[1, null, [0.10]]", "[1, null, [0.10]]"),
    ("a_vector", "vector<float, 3>", "[0.5, -1, 2e1]", "[0.5, -1.0, 20.0]"),
    ("texts", "vector<text, 2>", r#"["", "b"]"#, r#"["", "b"]"#),
    (
        "home",
        "address",
        r#"{"city": "Liège", "street": "Rue Neuve"}"#,
        r#"{"street": "Rue Neuve", "city": "Liège", "phones": null}"#,
    ),
    (
        "places",
        "map<text, frozen<address>>",
        r#"{"work": {"phones": [{"number": "1", "tags": ["x", "y"]}]}}"#,
        r#"{"work": {"street": null, "city": null, "phones": [{"number": "1", "tags": ["x", "y"]}]}}"#,
    ),
];

/// A column, a value that does not fit it, and what is said of that.
const BAD: [(&str, &str, &str); 9] = [
    (
        "a_blob",
        r#""cafe""#,
        "field 'a_blob' wants blob, a JSON string of 0x and pairs of hexadecimal digits, not \"cafe\"",
    ),
    (
        "a_decimal",
        r#""1,5""#,
        "field 'a_decimal' wants decimal, a JSON number or a string of one, with at most 10000 digits, not \"1,5\"",
    ),
    ("a_list", r#"["a", 7]"#, "field 'a_list[1]' wants text, a JSON string, not 7"),
    ("a_map", r#"{"a": 0.5}"#, "field 'a_map[\"a\"]' wants bigint, a JSON integer of 64 bits, not 0.5"),
    ("a_set", "[1, null]", "field 'a_set[1]' wants int, a JSON integer of 32 bits, not null"),
    ("a_vector", "[1, 2]", "field 'a_vector' wants vector<float, 3>, a JSON array of 3 values, not [1, 2]"),
    ("home", r#"{"city": 4000}"#, "field 'home.city' wants text, a JSON string, not 4000"),
    ("home", r#"{"town": "Liège"}"#, "field 'home.town' is unknown: type 'address' has no such field"),
    (
        "places",
        r#"{"work": {"phones": [{"number": 1}]}}"#,
        "field 'places[\"work\"].phones[0].number' wants text, a JSON string, not 1",
    ),
];

pub async fn a_column_of_every_type_takes_what_fits_and_nothing_else(turn: Turn) -> Result<()> {
    in_shared(&turn, "types", async |namespace| {
        let spec = spec();
        let live = Live::start(namespace, &spec, READY_WITHIN).await?;
        let id = Uuid::new_v4();
        let base = send(&live, &record(id)).await?;
        live.await_caught_up(CHANGED_WITHIN).await?;
        let stored = stored(&live, id).await?;
        for (column, _, _, told) in COLUMNS {
            same_json(column, &stored[column], told)?;
        }
        namespace.say(format!("{} columns have what was sent", COLUMNS.len()));

        bad_values_are_dead_letters(&live).await?;
        a_replay_changes_nothing(&live, id, base).await?;
        a_type_is_extended(&live, spec, id).await?;
        a_tombstone_deletes_its_row(&live).await?;
        only_lists_are_doubled_by_a_repeated_write(&session(&live).await?).await
    })
    .await
}

/// Adds the columns to the base, whose own columns stay.
fn spec() -> Spec {
    let fields = |fields: &[(&str, &str)]| -> Vec<Value> {
        fields.iter().map(|(name, text)| json!({"name": name, "type": text})).collect()
    };
    let phone = fields(&[("number", "text"), ("tags", "list<text>")]);
    let address = fields(&[("street", "text"), ("city", "text"), ("phones", "frozen<list<phone>>")]);
    let types = json!([{"name": "phone", "fields": phone}, {"name": "address", "fields": address}]);
    let spec = Spec::one()
        .readable_topics()
        .with("/spec/cassandra/types", types)
        .with("/spec/processor/queries/0/tombstones", json!("Delete"));
    COLUMNS.into_iter().fold(spec, |spec, (column, text, _, _)| {
        spec.with("/spec/cassandra/tables/0/columns/-", json!({"name": column, "type": text}))
    })
}

fn record(id: Uuid) -> String {
    let fields = COLUMNS.iter().map(|(column, _, value, _)| format!(", \"{column}\": {value}"));
    format!("{{\"id\": \"{id}\"{}}}", fields.collect::<String>())
}

/// Sends a record to the first partition and returns its offset.
async fn send(live: &Live, record: &str) -> Result<i64> {
    live.kafka().await?.produce(0, &[(Bytes::from("key"), Bytes::from(record.to_owned()))]).await
}

async fn session(live: &Live) -> Result<NodeSession> {
    let addresses = live.addresses(Component::Cassandra).await?;
    let address = addresses.values().next().context("no Cassandra node has an address")?;
    open(*address).await.context("cannot reach Cassandra")
}

/// Returns a row as Cassandra's own JSON, by column.
async fn stored(live: &Live, id: Uuid) -> Result<BTreeMap<String, Box<RawValue>>> {
    let statement = format!("SELECT JSON * FROM {TABLE} WHERE id = ?");
    let session = session(live).await?;
    let found: Vec<(String,)> = rows(&session, &statement, (id,)).await?;
    let (row,) = found.into_iter().next().with_context(|| format!("there is no row {id}"))?;
    serde_json::from_str(&row).with_context(|| format!("Cassandra tells no JSON: {row}"))
}

/// Compares texts, since numbers of any size and scale are in them; spaces and the way of escaping do not matter.
fn same_json(what: &str, found: &RawValue, wanted: &str) -> Result<()> {
    let packed = |text: &str| text.replace(' ', "");
    let parsed = |text: &str| serde_json::from_str::<Value>(text).with_context(|| format!("no JSON: {text}"));
    let (found, wanted_value) = (found.get(), parsed(wanted)?);
    if found.contains('\\') && parsed(found)? == wanted_value {
        return Ok(());
    }
    same(what, &packed(found), &packed(wanted))
}

async fn bad_values_are_dead_letters(live: &Live) -> Result<()> {
    let mut wanted = BTreeMap::new();
    for (column, value, message) in BAD {
        let offset = send(live, &format!("{{\"id\": \"{}\", \"{column}\": {value}}}", Uuid::new_v4())).await?;
        wanted.insert(offset.to_string(), message.to_owned());
    }
    live.await_caught_up(CHANGED_WITHIN).await?;
    let mut found = BTreeMap::new();
    for letter in live.kafka().await?.read(&Spec::dead_letters()).await? {
        let header = |name: &str| letter.headers.get(&format!("millrace-dead-letter-{name}")).cloned();
        found.insert(header("offset").unwrap_or_default(), header("message").unwrap_or_default());
    }
    for (offset, message) in &wanted {
        same("a dead letter's message", found.get(offset).map_or("none", String::as_str), message)?;
    }
    ensure!(found.len() == wanted.len(), "{} dead letters instead of {}", found.len(), wanted.len());
    let count = live.table().await?.count().await?;
    ensure!(count == 1, "{count} rows instead of the one that fits");
    live.namespace.say(format!("{} records that do not fit are dead letters that say why", BAD.len()));
    Ok(())
}

/// The row is written again with the same timestamp: collections with a cell per element must not grow.
async fn a_replay_changes_nothing(live: &Live, id: Uuid, base: i64) -> Result<()> {
    let before = stored(live, id).await?;
    let lag = rewind(live, 0, base).await?;
    ensure!(lag == 1 + BAD.len() as i64, "after moving the group back {lag} records are to be read");
    let after = stored(live, id).await?;
    for (column, value) in &before {
        same(column, after[column].get(), value.get())?;
    }
    live.namespace.say("a replay changes no column");
    Ok(())
}

/// A field is added at the end of a type, and the next record has it.
async fn a_type_is_extended(live: &Live, spec: Spec, id: Uuid) -> Result<()> {
    let spec = spec.with("/spec/cassandra/types/1/fields/-", json!({"name": "country", "type": "text"}));
    live.change(&spec).await?;
    live.await_ready(READY_WITHIN).await?;
    let home = r#"{"street": "Rue Neuve", "country": "Belgium"}"#;
    send(live, &format!("{{\"id\": \"{id}\", \"home\": {home}}}")).await?;
    live.await_caught_up(CHANGED_WITHIN).await?;
    let stored = stored(live, id).await?;
    let told = r#"{"street": "Rue Neuve", "city": null, "phones": null, "country": "Belgium"}"#;
    same_json("home", &stored["home"], told)?;
    same_json("a_set", &stored["a_set"], "[1, 2, 3]")?;
    live.namespace.say("a type has a further field");
    Ok(())
}

/// A record without a value deletes its row and no other, and a replay of all that was written does not bring it back.
async fn a_tombstone_deletes_its_row(live: &Live) -> Result<()> {
    let (gone, stays) = (Uuid::new_v4(), Uuid::new_v4());
    let base = send(live, &record(gone)).await?;
    send(live, &record(stays)).await?;
    live.kafka().await?.bury(0, &Bytes::from(gone.to_string())).await?;
    live.await_caught_up(CHANGED_WITHIN).await?;
    let there = are_there(live, [gone, stays]).await?;
    ensure!(there == [false, true], "of the buried and the other row there are {there:?}");
    let lag = rewind(live, 0, base).await?;
    ensure!(lag == 3, "after moving the group back {lag} records are to be read");
    live.await_caught_up(CHANGED_WITHIN).await?;
    let there = are_there(live, [gone, stays]).await?;
    ensure!(there == [false, true], "after a replay there are of the buried and the other row {there:?}");
    live.namespace.say("a tombstone deletes its row, also when all is replayed");
    Ok(())
}

async fn are_there(live: &Live, ids: [Uuid; 2]) -> Result<[bool; 2]> {
    let statement = format!("SELECT JSON id FROM {TABLE} WHERE id = ?");
    let session = session(live).await?;
    let mut there = [false; 2];
    for (id, is_there) in ids.into_iter().zip(&mut there) {
        let found: Vec<(String,)> = rows(&session, &statement, (id,)).await?;
        *is_there = !found.is_empty();
    }
    Ok(there)
}

/// Why a list must be frozen (docs/decisions/0006-lists-are-frozen.md), and a set need not.
async fn only_lists_are_doubled_by_a_repeated_write(session: &NodeSession) -> Result<()> {
    for statement in [
        "CREATE TABLE streams.repeated (id int PRIMARY KEY, a_list list<int>, a_set set<int>, a_map map<int, int>)",
        "INSERT INTO streams.repeated (id, a_list, a_set, a_map) VALUES (1, [1], {1}, {1: 1}) USING TIMESTAMP 1000",
        "INSERT INTO streams.repeated (id, a_list, a_set, a_map) VALUES (1, [1], {1}, {1: 1}) USING TIMESTAMP 1000",
    ] {
        session.query_unpaged(statement, ()).await.with_context(|| statement.to_owned())?;
    }
    let found: Vec<(String,)> = rows(session, "SELECT JSON a_list, a_set, a_map FROM streams.repeated", ()).await?;
    let (row,) = found.into_iter().next().context("the row is there")?;
    let row: Value = serde_json::from_str(&row).context("Cassandra tells JSON")?;
    let wanted = json!({"a_list": [1, 1], "a_set": [1], "a_map": {"1": 1}});
    ensure!(row == wanted, "a repeated write gives {row} instead of {wanted}");
    Ok(())
}

/// Checks without a cluster that the pipeline is valid and the record is JSON.
pub fn check() -> Result<()> {
    let rejected = spec().rejected()?;
    ensure!(rejected.is_empty(), "{rejected:?}");
    serde_json::from_str::<Value>(&record(Uuid::nil())).context("the record is no JSON").map(drop)
}
