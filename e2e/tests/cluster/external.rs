//! A pipeline on the stores of another: it reads and writes there by Service names, adds its own topics and tables once it may,
//! and leaves all that the other has as it is, also when it is deleted.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use millrace_api::names::Component;
use millrace_api::ports::CASSANDRA_CQL;
use millrace_e2e::spec::{Generator, KEYSPACE, Spec, TOPIC};
use millrace_e2e::{Live, TestNamespace, Turn, eventually, in_namespace};
use millrace_stores::cassandra::{NodeKey, TableFacts, observe, open, rows};
use millrace_stores::reach::Reach;
use serde_json::json;
use uuid::Uuid;

const READY_WITHIN: Duration = Duration::from_secs(300);
const WRITTEN_WITHIN: Duration = Duration::from_secs(180);
const NAME: &str = "guest";
/// Records of the owner, which the guest copies.
const COPIED: u64 = 2_000;
/// Records that the guest makes.
const MADE: u64 = 500;

pub async fn a_pipeline_lives_on_the_stores_of_another(turn: Turn) -> Result<()> {
    in_namespace(&turn, "external", async |namespace| {
        let owner = Live::start(namespace, &spec_of_owner(), READY_WITHIN).await?;
        owner.await_produced(COPIED, WRITTEN_WITHIN).await?;
        owner.await_caught_up(WRITTEN_WITHIN).await?;
        let before = Stores::of(&owner).await?;

        let guest = Live::found(namespace, &spec_of_guest(namespace, "None"));
        it_waits_while_it_may_add_nothing(&guest, &owner, &before).await?;
        guest.change(&spec_of_guest(namespace, "Additions")).await?;
        guest.await_ready(READY_WITHIN).await?;
        has_rows(&owner, "guest_copied", COPIED).await?;
        has_rows(&owner, "guest_made", MADE).await?;
        let now = Stores::of(&owner).await?;
        let own = format!("{}.{NAME}.dead-letters", namespace.name);
        before.ensure_kept(&now, &["guest_created", &own], &["guest_copied", "guest_made"])?;
        ensure!(owner.table().await?.count().await? == COPIED as i64, "the owner's rows have changed");

        guest.delete().await?;
        now.ensure_kept(&Stores::of(&owner).await?, &[], &[])?;
        owner.await_ready(READY_WITHIN).await.map(|_| ())
    })
    .await
}

/// Returns the pipeline that has the stores, and lets the other one's pods in.
fn spec_of_owner() -> Spec {
    let source = Generator { seed: 21, count: Some(COPIED), rate: None }.source();
    let access = json!({"from": [{"podSelector": {"matchLabels": {"app.kubernetes.io/instance": NAME}}}]});
    Spec::one().with("/spec/kafka/access", access.clone()).with("/spec/cassandra/access", access).sources([source])
}

/// Returns the pipeline that has none: it copies the owner's topic, and makes records of its own.
fn spec_of_guest(namespace: &TestNamespace, changes: &str) -> Spec {
    let host = |store: &str, port: u16| format!("users-{store}.{}.svc:{port}", namespace.name);
    let columns = Spec::one().value()["spec"]["cassandra"]["tables"][0]["columns"].clone();
    let table = |name: &str| json!({"name": name, "columns": columns.clone(), "primaryKey": {"partition": ["id"]}});
    let mut source = Generator { seed: 22, count: Some(MADE), rate: None }.source();
    source["topic"] = json!("guest_created");
    let kafka = json!({
        "external": {"bootstrapServers": [host("kafka", 9092)], "changes": changes},
        "topics": [{"name": TOPIC, "partitions": 3}, {"name": "guest_created", "partitions": 1}],
    });
    let cassandra = json!({
        "external": {"contactPoints": [host("cassandra", 9042)], "changes": changes},
        "keyspace": {"name": KEYSPACE, "replicationFactor": 1},
        "tables": [table("guest_copied"), table("guest_made")],
    });
    let queries = json!([
        {"name": "copied", "from": TOPIC, "into": "guest_copied"},
        {"name": "made", "from": "guest_created", "into": "guest_made"},
    ]);
    Spec::one()
        .without("/spec/zookeeper")
        .with("/metadata/name", json!(NAME))
        .with("/spec/kafka", kafka)
        .with("/spec/cassandra", cassandra)
        .with("/spec/processor/queries", queries)
        .sources([source])
}

async fn it_waits_while_it_may_add_nothing(guest: &Live, owner: &Live, before: &Stores) -> Result<()> {
    guest.change(&spec_of_guest(&guest.namespace, "None")).await?;
    guest.await_condition("KafkaReady", "True", "StoreReachable", READY_WITHIN).await?;
    guest.await_condition("TopicsReady", "False", "TopicsMissing", READY_WITHIN).await?;
    guest.await_condition("CassandraReady", "False", "SchemaMissing", READY_WITHIN).await?;
    before.ensure_kept(&Stores::of(owner).await?, &[], &[])
}

async fn has_rows(owner: &Live, table: &str, wanted: u64) -> Result<()> {
    let node = owner.addresses(Component::Cassandra).await?.into_values().next().context("no node has an address")?;
    let statement = format!("SELECT count(*) FROM {KEYSPACE}.{table}");
    let counted = async || {
        let session = open(node).await?;
        let counted: Vec<(i64,)> = rows(&session, &statement, ()).await?;
        Ok(counted.first().is_some_and(|(count,)| *count == wanted as i64).then_some(()))
    };
    eventually(&format!("table '{table}' has {wanted} rows"), WRITTEN_WITHIN, counted).await.map(|_| ())
}

/// What a topic is, whoever leads it.
type Topic = (Uuid, usize, BTreeMap<String, String>);

/// The topics and tables of stores.
struct Stores {
    topics: BTreeMap<String, Topic>,
    tables: BTreeMap<String, TableFacts>,
}

impl Stores {
    async fn of(owner: &Live) -> Result<Self> {
        let facts = owner.kafka().await?.facts().await?;
        let topics = facts.topics.into_iter();
        let nodes: BTreeMap<NodeKey, _> = owner
            .addresses(Component::Cassandra)
            .await?
            .into_iter()
            .map(|(ordinal, address)| (("r1".to_owned(), ordinal), address))
            .collect();
        let schema = observe(&Reach::of_pods(&nodes, CASSANDRA_CQL), KEYSPACE).await.schema;
        Ok(Self {
            topics: topics.map(|(name, topic)| (name, (topic.id, topic.partitions.len(), topic.config))).collect(),
            tables: schema.context("no node tells the schema")?.tables,
        })
    }

    /// Fails unless all is there unchanged, and nothing else but what may be new.
    fn ensure_kept(&self, now: &Self, topics: &[&str], tables: &[&str]) -> Result<()> {
        fn added<'a, V: PartialEq + std::fmt::Debug>(
            before: &BTreeMap<String, V>,
            now: &'a BTreeMap<String, V>,
        ) -> Result<Vec<&'a str>> {
            for (name, value) in before {
                ensure!(now.get(name) == Some(value), "'{name}' was {value:?} and is {:?}", now.get(name));
            }
            Ok(now.keys().filter(|name| !before.contains_key(*name)).map(String::as_str).collect())
        }
        let sorted = |names: &[&str]| {
            let mut names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            names.sort();
            names
        };
        let (new_topics, new_tables) = (added(&self.topics, &now.topics)?, added(&self.tables, &now.tables)?);
        ensure!(sorted(&new_topics) == sorted(topics), "new topics are {new_topics:?}");
        ensure!(sorted(&new_tables) == sorted(tables), "new tables are {new_tables:?}");
        Ok(())
    }
}
