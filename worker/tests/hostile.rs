//! Records that mean no good, on both roads: what is mapped by expressions, and what is decoded for Cassandra.

use std::panic::{AssertUnwindSafe, catch_unwind};

use millrace_fuzz::{Corpus, feed};
use millrace_terms::{ColumnSettings, Origin, PushSettings, SourceSettings, TableSettings};
use millrace_worker::decode::Table;
use millrace_worker::mapping::Mapping;

const RECORDS: Corpus<'static> = Corpus {
    inputs: &[
        br#"{"id": "a", "at": "2026-03-29T02:30:00Z", "for": "1h30m", "number": 7, "text": "\u00e9", "list": [1, 2, 3]}"#,
        br#"{"id": 7, "at": "1970-01-01T00:00:00+14:00", "for": "-1h", "number": -9223372036854775808, "list": [{"a": null}]}"#,
        br#"{"id": "0f3e6a52-6f0b-4c58-9f0e-7b1f0c6f2a11", "number": 1e308, "map": {"a b": [true, null]}, "list": []}"#,
    ],
    words: &[
        "null", "[", "]", "{", "}", ",", ":", "\"", "\\u", "\\ud83d", "1e400", "-0", "9223372036854775807",
        "18446744073709551616", "\"for\": \"-292277026596y\"", "\"for\": \"--9223372036854775807ns\"", "\"99999999h\"",
        "\"at\": \"-262143-01-01T00:00:00Z\"", "\"9999-12-31T23:59:59.999999999Z\"", "\"\"", "0.1", "\u{0}", "(a*)*",
    ],
    longest: 32 << 10,
};

/// Every function of CEL's standard library that takes something of a record.
const FIELDS: [&str; 24] = [
    "string(record.number)",
    "int(record.number) + 1",
    "int(record.text)",
    "uint(record.number) - 1u",
    "double(record.number) * 2.0",
    "-record.number",
    "record.number / 0",
    "record.number % -1",
    "record.number - 9223372036854775807",
    "timestamp(record.at) + duration(record['for'])",
    "timestamp(record.at) - duration(record['for'])",
    "timestamp(record.at) - timestamp('9999-12-31T23:59:59Z')",
    "string(duration(record['for']) + duration(record['for']))",
    "timestamp(record.at).getFullYear('Europe/Berlin')",
    "timestamp(record.at).getDayOfYear()",
    "duration(record['for']).getMilliseconds()",
    "timestamp(record.number)",
    "record.list[record.number]",
    "record.list.map(one, one + one).size()",
    "record.list.filter(one, one > 1).exists(two, two == record.number)",
    "record.text.contains(record.id) || record.text.startsWith('x')",
    "record.text.matches('^(a+)+$')",
    "bytes(record.text) == b'x'",
    "record.map['a b'][0] ? record.id : record.text",
];

fn source(expression: &str) -> SourceSettings {
    SourceSettings {
        name: "shop".to_owned(),
        topic: "shop".to_owned(),
        key: "id".to_owned(),
        fields: [("id", "string(record.id)"), ("value", expression)]
            .map(|(name, text)| (name.to_owned(), text.to_owned()))
            .into(),
        params: Default::default(),
        origin: Origin::Push(PushSettings {
            max_body: millrace_terms::Bytes(1 << 20),
            timeout: millrace_terms::Duration::from_secs(1),
            token: None,
        }),
    }
}

#[test]
fn no_record_breaks_an_expression() {
    let mappings = FIELDS.map(|expression| (expression, Mapping::compile(&source(expression)).expect("it compiles")));
    feed("records of expressions", RECORDS, |input| {
        let Ok(record) = serde_json::from_slice::<Box<serde_json::value::RawValue>>(input) else { return };
        for (expression, mapping) in &mappings {
            let encoded = catch_unwind(AssertUnwindSafe(|| drop(mapping.encode(&record))));
            assert!(encoded.is_ok(), "'{expression}' over {record}");
        }
    });
}

/// What ended a producer when each record became a tree: a megabyte of it was ninety times as large.
#[test]
fn a_record_of_very_many_parts_takes_what_its_text_has() {
    let record = format!(r#"{{"id": 1, "list": [{}0]}}"#, r#"{"":0},"#.repeat(140_000));
    let record = serde_json::value::RawValue::from_string(record).expect("JSON");
    let mappings =
        ["record.id", "record.list[0]"].map(|expression| Mapping::compile(&source(expression)).expect("it compiles"));
    let mapped = allocation_counter::measure(|| drop(mappings[0].encode(&record).expect("it maps")));
    assert!(mapped.bytes_max < 64 << 10, "{} bytes for what nobody looks at", mapped.bytes_max);
    let refused = mappings[1].encode(&record).expect_err("too many elements");
    assert!(refused.to_string().contains("more than 100000 elements"), "{refused}");
}

/// One column of each type, and nested ones.
const TYPES: [&str; 26] = [
    "ascii",
    "bigint",
    "blob",
    "boolean",
    "date",
    "decimal",
    "double",
    "duration",
    "float",
    "inet",
    "int",
    "smallint",
    "text",
    "time",
    "timestamp",
    "timeuuid",
    "tinyint",
    "uuid",
    "varint",
    "list<frozen<list<int>>>",
    "set<decimal>",
    "map<text, varint>",
    "tuple<int, text>",
    "vector<float, 3>",
    "frozen<map<uuid, frozen<set<time>>>>",
    "list<timestamp>",
];

#[test]
fn no_record_breaks_the_decoder() {
    let column = |(index, kind): (usize, &&str)| ColumnSettings {
        name: format!("c{index}"),
        column_type: kind.parse().unwrap_or_else(|error| panic!("{kind}: {error}")),
    };
    let mut columns: Vec<ColumnSettings> = TYPES.iter().enumerate().map(column).collect();
    columns.push(ColumnSettings { name: "id".to_owned(), column_type: "int".parse().expect("a type") });
    let tables: Vec<Table> = (0..TYPES.len())
        .map(|index| {
            let of_one =
                [columns[TYPES.len()].clone(), ColumnSettings { name: "v".to_owned(), ..columns[index].clone() }];
            let primary_key = vec!["id".to_owned()];
            Table::new(&TableSettings { name: "t".to_owned(), columns: of_one.into(), primary_key, types: Vec::new() })
        })
        .collect();
    let inputs: &[&[u8]] = &[
        br#"{"id":1,"v":"0x00ff"}"#,
        br#"{"id":1,"v":-1.50e10}"#,
        br#"{"id":1,"v":"2026-03-29T02:30:00.5+01:00"}"#,
        br#"{"id":1,"v":"1y2mo3d4h5m6s7ms8us9ns"}"#,
        br#"{"id":1,"v":[[1,2],[3,null]]}"#,
        br#"{"id":1,"v":{"a":1,"b":"-128","0f3e6a52-6f0b-4c58-9f0e-7b1f0c6f2a11":["00:00:01"]}}"#,
        br#"{"id":1,"v":"2001:db8::1"}"#,
    ];
    let corpus = Corpus { inputs, ..RECORDS };
    feed("records of tables", corpus, |input| {
        for table in &tables {
            let _ = table.decode_onto(&mut Vec::new(), Some(input));
        }
    });
}
