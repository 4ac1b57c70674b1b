//! One of each store: rows arrive from an HTTP source, and the pipeline can be changed while they do.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use millrace_api::crd::status::ReplayPhase;
use millrace_api::names::Component;
use millrace_e2e::cluster::same;
use millrace_e2e::command::Millrace;
use millrace_e2e::cut::{cut, mend};
use millrace_e2e::ledger::Ledger;
use millrace_e2e::spec::{TABLE, TOPIC, http_source};
use millrace_e2e::{Live, Spec, Turn, eventually, in_shared};
use millrace_operator::readiness::has_ended;
use millrace_profile::{profile, seed_of};
use millrace_stores::cassandra::open;
use serde_json::json;
use uuid::Uuid;

use crate::scenario::replay::without_processors;

/// Longest that one of each store may take to be Ready on a busy machine; the figure itself is written down.
const READY_WITHIN: Duration = Duration::from_secs(300);
/// Longest that a change may take to be carried out.
const CHANGED_WITHIN: Duration = Duration::from_secs(180);
/// People that the sample source has told of by the end of a long day.
const PEOPLE: u64 = 400_000;
/// People whose records come before their column.
const EARLY: u64 = 3;

pub async fn one_of_each_takes_rows_and_changes(turn: Turn) -> Result<()> {
    in_shared(&turn, "one-of-each", async |namespace| {
        let spec = Spec::one()
            .readable_topics()
            .sources([http_source("people", "results=20")])
            .with("/spec/processor/canary", json!({"interval": "2s"}));
        let live = Live::start(namespace, &spec, READY_WITHIN).await?;
        let first = more_rows(&live, 0).await?;
        namespace.say(format!("{first} rows have arrived"));
        namespace
            .cluster
            .kubectl(&["wait", "-n", &namespace.name, "spl/users", "--for=condition=Ready", "--timeout=10s"])
            .await?;
        columns_are_as_promised(&live, "1/1").await?;
        data_flows_until_cassandra_is_cut_off(&live).await?;
        a_broken_source_stops_no_other(&live, &spec).await?;
        scale_works(&live).await?;
        a_suspended_pipeline_is_drained_and_goes_on(&live).await?;
        let early = records_of_a_column_to_come(&live).await?;
        let spec = topic_and_table_are_extended(&live, &spec).await?;
        dead_letters_are_redriven(&live, &early).await?;
        fewer_partitions_are_refused(&live, &spec).await?;
        every_row_is_right(&live).await
    })
    .await
}

/// Waits until the table has more rows than `before`; returns how many.
async fn more_rows(live: &Live, before: i64) -> Result<i64> {
    let counted = eventually("more rows arrive", CHANGED_WITHIN, async || {
        let count = live.table().await?.count().await?;
        Ok((count > before).then_some(count))
    });
    Ok(counted.await?.0)
}

/// `kubectl get spl` shows the promised columns, and in them what is so.
pub async fn columns_are_as_promised(live: &Live, stores: &str) -> Result<()> {
    let namespace = &live.namespace;
    let printed = namespace.cluster.kubectl(&["get", "spl", "-n", &namespace.name]).await?;
    let (header, row) = printed.split_once('\n').context("kubectl prints a header and a row")?;
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let header = words(header).join(" ");
    same("the header", &header, "NAME READY REASON ZK KAFKA CASSANDRA PRODUCERS PROCESSORS LAG AGE")?;
    let row = words(row);
    same("the row", &row[..6].join(" "), &format!("users True AllComponentsReady {stores} {stores} {stores}"))?;
    ensure!(row[8].parse::<i64>().is_ok(), "the lag is '{}'", row[8]);

    let wide = namespace.cluster.kubectl(&["get", "spl", "-n", &namespace.name, "-o", "wide"]).await?;
    let wide = words(wide.lines().next().unwrap_or_default()).join(" ");
    let further = "SOURCES PHASE ZK VERSION KAFKA VERSION CASSANDRA VERSION MESSAGE";
    same("the wide header", &wide, &format!("{header} {further}"))?;
    namespace.say(format!("kubectl get spl: {}", row.join(" ")));
    Ok(())
}

/// Canary records become readable rows, and nothing that lists topics or tables shows them; all counts below are without
/// them. Control: with the processor cut off from Cassandra, the condition names the station where they stop.
async fn data_flows_until_cassandra_is_cut_off(live: &Live) -> Result<()> {
    live.await_condition("DataFlowing", "True", "RecordsReadable", CHANGED_WITHIN).await?;
    let status = live.resource().await?.status.context("there is no status")?;
    let latency = status.processor.and_then(|processor| processor.canary_latency).context("no latency is reported")?;
    live.namespace.say(format!("canary records are read back after {latency}"));
    let topics = status.kafka.map(|kafka| kafka.topics).unwrap_or_default();
    let tables = status.cassandra.map(|cassandra| cassandra.tables).unwrap_or_default();
    let names = topics.iter().map(|topic| &topic.name).chain(tables.iter().map(|table| &table.name));
    let shown: Vec<&String> = names.filter(|name| name.contains("canary")).collect();
    ensure!(shown.is_empty(), "the status lists {shown:?}");

    let processor = live.pods(Component::Processor).await?.into_iter().next().context("no processor runs")?;
    let nodes: Vec<IpAddr> = live.addresses(Component::Cassandra).await?.into_values().collect();
    cut(&live.namespace.cluster, &processor, &nodes).await?;
    let stopped = live.await_condition("DataFlowing", "False", "NotWritten", CHANGED_WITHIN).await;
    mend(&live.namespace.cluster, &processor, &nodes).await?;
    let stopped = stopped?;
    let flows = live.await_condition("DataFlowing", "True", "RecordsReadable", CHANGED_WITHIN).await?;
    live.namespace
        .say(format!("cut off from Cassandra, data stopped by report in {stopped:?}; it flows again in {flows:?}"));
    live.await_ready(CHANGED_WITHIN).await.map(|_| ())
}

/// A source with an error is named by its path, and the rows of the other go on arriving.
async fn a_broken_source_stops_no_other(live: &Live, spec: &Spec) -> Result<()> {
    let mut broken = http_source("broken", "results=1");
    broken["fields"]["first_name"] = json!("record.name.");
    live.change(&spec.clone().with("/spec/producer/sources/-", broken)).await?;
    live.await_condition("SpecValid", "False", "", CHANGED_WITHIN).await?;
    names_the_path(live, "spec.producer.sources[1].fields.first_name").await?;
    live.await_condition("Ready", "False", "SpecInvalid", CHANGED_WITHIN).await?;

    let mut homeless = http_source("homeless", "results=1");
    homeless["fields"]["shoe_size"] = json!("1");
    live.change(&spec.clone().with("/spec/producer/sources/-", homeless)).await?;
    let named = async || Ok(live.message("SpecValid").await?.contains("shoe_size").then_some(()));
    eventually("the field without a column is named", CHANGED_WITHIN, named).await?;
    names_the_path(live, "spec.producer.sources[1].fields.shoe_size").await?;

    let before = live.table().await?.count().await?;
    // More than what was under way: people of several further polls.
    let after = more_rows(live, before + 50).await?;
    live.namespace.say(format!("with a broken source beside it, rows went from {before} to {after}"));
    live.change(spec).await?;
    live.await_condition("SpecValid", "True", "", CHANGED_WITHIN).await?;
    live.await_ready(CHANGED_WITHIN).await.map(|_| ())
}

async fn names_the_path(live: &Live, path: &str) -> Result<()> {
    let message = live.message("SpecValid").await?;
    ensure!(message.contains(path), "SpecValid does not name '{path}': {message}");
    Ok(())
}

async fn scale_works(live: &Live) -> Result<()> {
    let namespace = &live.namespace;
    namespace.cluster.kubectl(&["scale", "-n", &namespace.name, "spl/users", "--replicas=2"]).await?;
    live.await_ready(CHANGED_WITHIN).await?;
    let joined = eventually("two processors are ready members of the group", CHANGED_WITHIN, async || {
        let members = live.kafka().await?.facts().await?.group.map(|group| group.members);
        let processor = live.resource().await?.status.and_then(|status| status.processor);
        let ready = processor.is_some_and(|processor| processor.ready == "2/2" && processor.replicas == 2);
        Ok((members == Some(2) && ready).then_some(()))
    });
    joined.await?;
    namespace.say("kubectl scale: two processors share the topic");
    Ok(())
}

/// Suspended, what the sources had sent is rows, by the word of another client, and no worker runs; a record that comes from
/// elsewhere meanwhile waits. Resumed, it is a row, and more rows arrive.
async fn a_suspended_pipeline_is_drained_and_goes_on(live: &Live) -> Result<()> {
    live.patch(json!({"spec": {"suspend": true}})).await?;
    let took = live.await_condition("Suspended", "True", "Drained", CHANGED_WITHIN).await?;
    live.await_condition("Ready", "False", "Suspended", CHANGED_WITHIN).await?;
    no_worker_runs(live).await?;
    let drained = live.resource().await?.status.and_then(|status| status.drained).context("no drain is recorded")?;
    let mut kafka = live.kafka().await?;
    let end: i64 = kafka.ends(TOPIC).await?.values().sum();
    let facts = kafka.facts().await?;
    let committed = facts.position(TOPIC).context("the group's offsets are unknown")?.committed;
    let recorded = drained.offsets.get(TOPIC).copied();
    ensure!(
        recorded == Some(end) && committed == end,
        "{recorded:?} is recorded, {committed} is committed, and the topic ends at {end}"
    );
    rows_are_those_of_the_topic(live).await?;
    live.namespace.say(format!("drained in {took:?}: {end} records, each of them a row"));

    let person = profile(seed_of("millrace"), PEOPLE - EARLY - 1);
    let id: Uuid = person.id.parse()?;
    let value = Bytes::from(serde_json::to_string(&person)?);
    kafka.produce(0, &[(Bytes::from(person.id), value)]).await?;
    live.await_condition("Suspended", "True", "RecordsWaiting", CHANGED_WITHIN).await?;
    no_worker_runs(live).await?;
    ensure!(!live.table().await?.ids().await?.contains(&id), "a record is a row although no processor runs");

    let before = live.table().await?.count().await?;
    live.patch(json!({"spec": {"suspend": false}})).await?;
    live.await_ready(CHANGED_WITHIN).await?;
    let is_row = async || Ok(live.table().await?.ids().await?.contains(&id).then_some(()));
    eventually("the record that waited is a row", CHANGED_WITHIN, is_row).await?;
    ensure!(live.resource().await?.status.is_some_and(|status| status.drained.is_none()), "the old drain still stands");
    let after = more_rows(live, before + 50).await?;
    live.namespace.say(format!("resumed, rows went from {before} to {after}"));
    Ok(())
}

async fn no_worker_runs(live: &Live) -> Result<()> {
    for component in [Component::Producer, Component::Processor] {
        let mut pods = live.pods(component).await?;
        // One whose process has ended is listed until the kubelet has cleared it away.
        pods.retain(|pod| !has_ended(pod));
        ensure!(pods.is_empty(), "{} pods of {component} run", pods.len());
    }
    Ok(())
}

/// Sends people with a field that no column takes yet; returns their ids once all are dead letters.
async fn records_of_a_column_to_come(live: &Live) -> Result<Vec<Uuid>> {
    let mut ids = Vec::new();
    let mut records = Vec::new();
    for index in 1..=EARLY {
        let person = profile(seed_of("millrace"), PEOPLE - index);
        let mut value = serde_json::to_value(&person)?;
        value["country"] = json!("Ruritania");
        ids.push(person.id.parse()?);
        records.push((Bytes::from(person.id), Bytes::from(value.to_string())));
    }
    live.kafka().await?.produce(0, &records).await?;
    let counted = eventually("they are dead letters", CHANGED_WITHIN, async || {
        let counts = letters(live, &["count"]).await?;
        Ok(counts.contains(&format!("{EARLY} UnknownField")).then_some(counts))
    });
    same("the dead letters", &counted.await?.0, &format!("{EARLY} UnknownField\n{EARLY} in all\n"))?;
    let shown = letters(live, &["show", "--reason", "UnknownField", "--limit", "1"]).await?;
    let shown: serde_json::Value = serde_json::from_str(&shown)?;
    ensure!(shown["value"].as_str().is_some_and(|value| value.contains("Ruritania")), "shown is {shown}");
    Ok(ids)
}

/// Once the column is there, a redrive makes rows of them; a second one has nothing to do. The producer sent the field
/// only when the processors knew the column, so there are no others.
async fn dead_letters_are_redriven(live: &Live, early: &[Uuid]) -> Result<()> {
    let rows = live.table().await?.ids().await?;
    ensure!(!early.iter().any(|id| rows.contains(id)), "a dead letter is a row already");
    let redrive = ["redrive", "--reason", "UnknownField"];
    let to_be_sent = number(&letters(live, &[&redrive[..], &["--dry-run"]].concat()).await?, "to be sent")?;
    let sent = number(&letters(live, &redrive).await?, "sent")?;
    ensure!(sent == EARLY && sent == to_be_sent, "{sent} are sent, a dry run said {to_be_sent}");
    eventually("they are rows", CHANGED_WITHIN, async || {
        let rows = live.table().await?.ids().await?;
        Ok(early.iter().all(|id| rows.contains(id)).then_some(()))
    })
    .await?;
    same("the next redrive", &letters(live, &redrive).await?, "")?;
    same("the letters", &letters(live, &["count"]).await?, &format!("{sent} UnknownField\n{sent} in all\n"))?;
    live.namespace.say(format!("{sent} dead letters of a missing column are rows once it is there"));
    Ok(())
}

/// Reads the number of a redrive's only line.
fn number(printed: &str, verb: &str) -> Result<u64> {
    let number = printed.strip_suffix(&format!(" {verb}: UnknownField\n"));
    number.and_then(|number| number.parse().ok()).with_context(|| format!("the redrive says '{printed}'"))
}

/// Runs `worker letters` where the runbook says, and returns what it prints.
async fn letters(live: &Live, arguments: &[&str]) -> Result<String> {
    let namespace = &live.namespace;
    let command = ["exec", "-n", &namespace.name, "deploy/users-processor", "--", "worker", "letters"];
    namespace.cluster.kubectl(&[&command[..], arguments].concat()).await
}

/// More partitions and a further column, filled by a further field.
async fn topic_and_table_are_extended(live: &Live, spec: &Spec) -> Result<Spec> {
    let mut source = http_source("people", "results=20");
    source["fields"]["country"] = json!("record.location.country");
    let extended = spec
        .clone()
        .with("/spec/processor/replicas", json!(2))
        .with("/spec/kafka/topics/0/partitions", json!(5))
        .with("/spec/cassandra/tables/0/columns/-", json!({"name": "country", "type": "text"}))
        .with("/spec/producer/sources/0", source);
    live.change(&extended).await?;
    live.await_ready(CHANGED_WITHIN).await?;
    same("the number of partitions", &partitions(live).await?.to_string(), "5")?;
    let filled = async || Ok(Some(live.table().await?.filled("country").await?).filter(|filled| *filled > 0));
    let (filled, _) = eventually("the new column is filled", CHANGED_WITHIN, filled).await?;
    live.namespace.say(format!("five partitions, and {filled} rows with the new column"));
    Ok(extended)
}

/// A topic that is larger in Kafka than in the resource is left alone, and said so.
async fn fewer_partitions_are_refused(live: &Live, spec: &Spec) -> Result<()> {
    live.kafka().await?.add_partitions(TOPIC, 8).await?;
    live.await_condition("TopicsReady", "False", "PartitionDecreaseRejected", CHANGED_WITHIN).await?;
    live.await_condition("Ready", "False", "PartitionDecreaseRejected", CHANGED_WITHIN).await?;
    let before = live.table().await?.count().await?;
    more_rows(live, before + 50).await?;
    same("the number of partitions", &partitions(live).await?.to_string(), "8")?;
    live.change(&spec.clone().with("/spec/kafka/topics/0/partitions", json!(8))).await?;
    live.await_ready(CHANGED_WITHIN).await.map(|_| ())
}

async fn partitions(live: &Live) -> Result<usize> {
    let facts = live.kafka().await?.facts().await?;
    Ok(facts.topics.get(TOPIC).map_or(0, |topic| topic.partitions.len()))
}

/// What the topic holds is a row each, of one of the sample source's people and with that person's values.
async fn every_row_is_right(live: &Live) -> Result<()> {
    live.patch(json!({"spec": {"producer": {"replicas": 0}}})).await?;
    let stopped = async || Ok(live.pods(Component::Producer).await?.is_empty().then_some(()));
    eventually("the producer has stopped", CHANGED_WITHIN, stopped).await?;
    live.await_caught_up(CHANGED_WITHIN).await?;
    let people = rows_are_those_of_the_topic(live).await?;
    a_lost_row_is_noticed(live, &people).await?;
    a_replay_brings_it_back(live, &people).await
}

/// Compares the table with what the topic holds; returns whose records these are.
async fn rows_are_those_of_the_topic(live: &Live) -> Result<Ledger> {
    let mut sent = HashSet::new();
    for record in live.kafka().await?.read(TOPIC).await? {
        sent.insert(std::str::from_utf8(&record.key)?.parse::<Uuid>().context("a key is no UUID")?);
    }
    let people = Ledger::default().and(seed_of("millrace"), PEOPLE).only(&sent);
    ensure!(people.ids() == sent, "{} records are of nobody", sent.len() - people.ids().len());
    let found = live.table().await?.compare(people.clone()).await?;
    live.namespace.say(format!("{} records in the topic: {found}", sent.len()));
    found.ensure_exact()?;
    Ok(people)
}

/// Negative control: one row fewer, and the comparison says so.
async fn a_lost_row_is_noticed(live: &Live, people: &Ledger) -> Result<()> {
    let row = people.ids().into_iter().next().context("there are no rows")?;
    let addresses = live.addresses(Component::Cassandra).await?;
    let session = open(*addresses.values().next().context("no Cassandra node has an address")?).await?;
    session.query_unpaged(format!("DELETE FROM {TABLE} WHERE id = ?"), (row,)).await.context("cannot delete a row")?;
    let found = live.table().await?.compare(people.clone()).await?;
    ensure!(found.lost == 1 && found.ensure_exact().is_err(), "a lost row is not noticed: {found}");
    Ok(())
}

/// The row that was deleted by hand is there again after a replay, and all others are as they were. Control: its record read
/// again from the same offset, but with the base that it had, leaves it deleted.
async fn a_replay_brings_it_back(live: &Live, people: &Ledger) -> Result<()> {
    let mut kafka = live.kafka().await?;
    let ends = kafka.ends(TOPIC).await?;
    let end: i64 = ends.values().sum();
    let read_again = without_processors(live, async || {
        for partition in ends.keys() {
            kafka.rewind(*partition, 0).await?;
        }
        kafka.lag().await
    });
    let read_again = read_again.await?;
    ensure!(read_again == end, "{read_again} of {end} records were read again");
    let found = live.table().await?.compare(people.clone()).await?;
    ensure!(found.lost == 1, "a record that is read again with its base undoes a later delete: {found}");

    let millrace = Millrace::new(&live.namespace)?;
    let replay = ["replay", "users", "--topic", TOPIC, "--from", "earliest"];
    let shown = millrace.json(&[&replay[..], &["--dry-run"]].concat()).await?;
    ensure!(shown["records"].as_i64() == Some(end), "a dry run shows {shown}, and there are {end} records");
    let before = base(live).await?;
    millrace.says(&replay, 0, "is requested").await?;
    let rewound = async || {
        let replay = live.resource().await?.status.and_then(|status| status.replay);
        Ok(replay.filter(|replay| replay.phase == ReplayPhase::Rewound))
    };
    let (replay, took) = eventually("the offsets are set back", CHANGED_WITHIN, rewound).await?;
    ensure!((replay.from, replay.to) == (Some(0), Some(end)), "of {end} records, the status has {replay:?}");
    live.await_ready(CHANGED_WITHIN).await?;
    live.await_caught_up(CHANGED_WITHIN).await?;
    let after = base(live).await?;
    ensure!(after > before + end, "the base was {before} and is {after}");
    let found = live.table().await?.compare(people.clone()).await?;
    live.namespace.say(format!("a replay began to read after {took:?}, {}: {found}", replay.message));
    found.ensure_exact()
}

/// Returns the base of the write timestamps of the topic's records.
async fn base(live: &Live) -> Result<i64> {
    let topics =
        live.resource().await?.status.and_then(|status| status.kafka).context("the topics are unknown")?.topics;
    let topic = topics.into_iter().find(|topic| topic.name == TOPIC).context("the status has no such topic")?;
    Ok(topic.write_timestamp_base)
}
