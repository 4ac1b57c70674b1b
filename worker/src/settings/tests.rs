//! Settings survive the way through YAML, and wrong ones are refused with their path.

use millrace_terms::{
    CassandraSettings, ColumnSettings, ColumnType, Consistency, Duration, EpochUnit, FileFormat, GeneratorSettings,
    KafkaSettings, PipelineName, RecordSettings, SqlSettings, StartAt, TableSettings, Tombstones, TypeSettings,
};
use proptest::prelude::*;

use super::*;

fn kafka() -> KafkaSettings {
    KafkaSettings { bootstrap_servers: vec!["kafka:9092".to_owned()] }
}

fn pipeline() -> PipelineName {
    PipelineName { namespace: "demo".to_owned(), name: "users".to_owned() }
}

fn http() -> HttpSettings {
    HttpSettings {
        url: "https://example.com/api".to_owned(),
        method: Default::default(),
        query: Default::default(),
        body: None,
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(10),
        headers: Vec::new(),
        records: "/results".to_owned(),
        records_are: Default::default(),
        pagination: None,
        since: None,
        oauth2: None,
        max_response: Bytes(1 << 20),
        max_requests_per_second: None,
    }
}

fn source(name: &str, origin: Origin) -> SourceSettings {
    SourceSettings {
        name: name.to_owned(),
        topic: "users_created".to_owned(),
        key: "id".to_owned(),
        fields: std::collections::BTreeMap::new(),
        params: Default::default(),
        origin,
    }
}

fn push() -> PushSettings {
    PushSettings { max_body: Bytes(1 << 20), timeout: Duration::from_secs(30), token: Some("/secrets/a/b".into()) }
}

fn files() -> FilesSettings {
    FilesSettings {
        directory: "/files/uploads".into(),
        path: "in/*.csv".to_owned(),
        format: FileFormat::Csv,
        delimiter: ';',
        interval: Duration::from_secs(10),
    }
}

fn other_kafka() -> KafkaSourceSettings {
    KafkaSourceSettings {
        bootstrap_servers: vec!["other:9092".to_owned()],
        topic: "orders".to_owned(),
        group: "millrace".to_owned(),
        start: StartAt::Earliest,
    }
}

fn produce() -> ProduceSettings {
    let generator = GeneratorSettings { seed: 1, count: Some(10), records_per_second: Some(5) };
    ProduceSettings {
        pipeline: pipeline(),
        kafka: kafka(),
        sources: vec![
            source("a", Origin::Http(http())),
            source("b", Origin::Generator(generator)),
            source("c", Origin::Push(push())),
            source("d", Origin::Files(files())),
            source("e", Origin::Kafka(other_kafka())),
        ],
        run: None,
        replicas: 1,
        cursors_topic: Some("users-cursors".to_owned()),
        dead_letter_topic: Some("users-dead-letters".to_owned()),
        push_port: Some(8090),
        allowed_source_hosts: Vec::new(),
        buffer_memory: Bytes(16 << 20),
        drain_timeout: Duration::from_secs(20),
        http_port: 8080,
    }
}

fn query(from: &str) -> QuerySettings {
    QuerySettings {
        name: "users".to_owned(),
        from: from.to_owned(),
        into: TableSettings {
            name: "created_users".to_owned(),
            columns: vec![ColumnSettings { name: "id".to_owned(), column_type: ColumnType::Uuid }],
            primary_key: vec!["id".to_owned()],
            types: Vec::new(),
        },
        sql: None,
        records: RecordSettings::default(),
        write_timestamp_base: 1,
    }
}

fn process() -> ProcessSettings {
    ProcessSettings {
        pipeline: pipeline(),
        kafka: kafka(),
        consumer_group: "users".to_owned(),
        dead_letter_topic: "users-dlq".to_owned(),
        cassandra: CassandraSettings {
            contact_points: vec!["cassandra:9042".to_owned()],
            datacenter: "dc1".to_owned(),
            keyspace: "streams".to_owned(),
            consistency: Consistency::One,
        },
        queries: vec![query("users_created")],
        canary: None,
        buffer_memory: Bytes(16 << 20),
        max_in_flight: 256,
        commit_interval: Duration::from_secs(1),
        drain_timeout: Duration::from_secs(20),
        http_port: 8080,
    }
}

#[test]
fn wrong_settings_are_refused_with_their_path() {
    let produce_cases: [fn(&mut ProduceSettings); 22] = [
        |settings| settings.kafka.bootstrap_servers.clear(),
        |settings| settings.replicas = 0,
        |settings| settings.buffer_memory = Bytes(1),
        |settings| settings.drain_timeout = Duration::from_secs(0),
        |settings| settings.sources[1].name = "a".to_owned(),
        |settings| settings.sources[0].topic.clear(),
        |settings| drop(settings.sources[0].fields.insert("name".to_owned(), "record.name".to_owned())),
        |settings| settings.sources[0].origin = Origin::Http(HttpSettings { records: "results".to_owned(), ..http() }),
        |settings| {
            settings.sources[0].origin = Origin::Http(HttpSettings { interval: Duration::from_secs(0), ..http() });
        },
        |settings| {
            settings.sources[0].origin = Origin::Http(HttpSettings { max_requests_per_second: Some(0.0), ..http() });
        },
        |settings| {
            let generator = GeneratorSettings { seed: 1, count: None, records_per_second: Some(0) };
            settings.sources[0].origin = Origin::Generator(generator);
        },
        |settings| settings.cursors_topic = None,
        |settings| settings.push_port = None,
        |settings| settings.sources[2].origin = Origin::Push(PushSettings { max_body: Bytes(17 << 20), ..push() }),
        |settings| settings.sources[2].origin = Origin::Push(PushSettings { max_body: Bytes(0), ..push() }),
        |settings| {
            settings.sources[2].origin = Origin::Push(PushSettings { timeout: Duration::from_secs(0), ..push() });
        },
        |settings| settings.sources[3].origin = Origin::Files(FilesSettings { path: "../*".to_owned(), ..files() }),
        |settings| settings.sources[3].origin = Origin::Files(FilesSettings { path: "/etc/*".to_owned(), ..files() }),
        |settings| settings.sources[3].origin = Origin::Files(FilesSettings { path: "a***b".to_owned(), ..files() }),
        |settings| settings.sources[3].origin = Origin::Files(FilesSettings { delimiter: '"', ..files() }),
        |settings| {
            let kafka = KafkaSourceSettings { bootstrap_servers: Vec::new(), ..other_kafka() };
            settings.sources[4].origin = Origin::Kafka(kafka);
        },
        |settings| {
            settings.sources[4].origin = Origin::Kafka(KafkaSourceSettings { group: String::new(), ..other_kafka() });
        },
    ];
    let process_cases: [fn(&mut ProcessSettings); 11] = [
        |settings| settings.consumer_group.clear(),
        |settings| settings.max_in_flight = 0,
        |settings| settings.commit_interval = Duration::from_secs(0),
        |settings| settings.queries.clear(),
        |settings| settings.queries.push(query("users_created")),
        |settings| settings.dead_letter_topic = "users_created".to_owned(),
        |settings| settings.queries[0].into.columns.clear(),
        |settings| settings.queries[0].into.primary_key.push("name".to_owned()),
        |settings| settings.queries[0].into.columns.push(column("address", "frozen<address>")),
        |settings| {
            settings.queries[0].sql = Some(SqlSettings { text: "SELECT id\nFORM x".to_owned(), columns: Vec::new() });
        },
        |settings| {
            let types = &mut settings.queries[0].into.types;
            types.push(TypeSettings { name: "address".to_owned(), fields: vec![column("city", "frozen<city>")] });
        },
    ];
    assert!(produce().check().is_ok() && process().check().is_ok());
    let mut said = Vec::new();
    for change in produce_cases {
        let mut settings = produce();
        change(&mut settings);
        said.push(settings.check().expect_err("wrong settings").to_string());
    }
    for change in process_cases {
        let mut settings = process();
        change(&mut settings);
        said.push(settings.check().expect_err("wrong settings").to_string());
    }
    insta::assert_yaml_snapshot!(said);
}

fn column(name: &str, column_type: &str) -> ColumnSettings {
    ColumnSettings { name: name.to_owned(), column_type: column_type.parse().expect("a type") }
}

#[test]
fn polled_sources_are_shared_and_pushed_ones_run_everywhere() {
    let settings = ProduceSettings { replicas: 3, ..produce() };
    let names = |ordinal| settings.share(ordinal).iter().map(|source| source.name.clone()).collect::<Vec<_>>();
    assert_eq!([names(0), names(1), names(2)], [vec!["a", "c", "e"], vec!["b", "c"], vec!["c", "d"]]);
    assert_eq!(names(3), ["c"]);
}

#[test]
fn a_canary_has_a_topic_of_its_own() {
    let mut settings = process();
    let canary =
        |topic: &str, seconds| Some(CanarySettings { topic: topic.to_owned(), interval: Duration::from_secs(seconds) });
    settings.canary = canary("users-canary", 10);
    assert!(settings.check().is_ok());
    for (wrong, field) in [
        (canary("users_created", 10), "canary.topic"),
        (canary("users-dlq", 10), "canary.topic"),
        (canary("", 10), "canary.topic"),
        (canary("users-canary", 0), "canary.interval"),
    ] {
        settings.canary = wrong;
        let said = settings.check().expect_err("wrong settings").to_string();
        assert!(said.contains(field), "{said}");
    }
}

#[test]
fn rows_are_not_deleted_beside_sql() {
    let mut settings = process();
    settings.queries[0].records.tombstones = Tombstones::Delete;
    assert!(settings.check().is_ok());
    settings.queries[0].sql = Some(SqlSettings { text: "SELECT id".to_owned(), columns: Vec::new() });
    let said = settings.check().expect_err("wrong settings").to_string();
    assert!(said.contains("queries[0].records.tombstones") && said.contains("must not be Delete beside sql"), "{said}");
}

#[test]
fn only_timestamp_columns_have_units() {
    let mut settings = process();
    settings.queries[0].into.columns.push(column("at", "timestamp"));
    settings.queries[0].records.epoch_units = [("at".to_owned(), EpochUnit::Seconds)].into();
    assert!(settings.check().is_ok());
    settings.queries[0].records.epoch_units = [("id".to_owned(), EpochUnit::Seconds)].into();
    let said = settings.check().expect_err("wrong settings").to_string();
    assert!(said.contains("queries[0].records.epochUnits.id"), "{said}");
}

#[test]
fn unknown_fields_are_refused_by_name() {
    let mut text = serde_yaml::to_string(&process()).expect("settings are YAML");
    text.push_str("maxInFlights: 3\n");
    let error = serde_yaml::from_str::<ProcessSettings>(&text).expect_err("an unknown field");
    assert!(error.to_string().contains("maxInFlights"), "{error}");
}

proptest! {
    #[test]
    fn settings_survive_yaml(
        seed in any::<u64>(),
        count in any::<Option<u64>>(),
        records_per_second in any::<Option<u32>>(),
        url in "[ -~]{0,40}",
        base in any::<i64>(),
        millis in 0u64..1_000_000_000,
    ) {
        let mut settings = produce();
        settings.drain_timeout = Duration::from_millis(millis);
        settings.sources[0].origin = Origin::Http(HttpSettings { url, ..http() });
        settings.sources[1].origin = Origin::Generator(GeneratorSettings { seed, count, records_per_second });
        let text = serde_yaml::to_string(&settings).expect("settings are YAML");
        prop_assert_eq!(serde_yaml::from_str::<ProduceSettings>(&text).expect("the same settings"), settings);
        let mut settings = process();
        settings.queries[0].write_timestamp_base = base;
        let text = serde_yaml::to_string(&settings).expect("settings are YAML");
        prop_assert_eq!(serde_yaml::from_str::<ProcessSettings>(&text).expect("the same settings"), settings);
    }
}
