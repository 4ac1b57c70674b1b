//! Every type, every rejection.

use std::borrow::Cow;

use millrace_terms::{ColumnSettings, ColumnType, EpochUnit, RecordSettings, TableSettings, UnknownFields};
use rstest::rstest;

use super::*;

fn table(columns: &[(&str, ColumnType)]) -> Table {
    let columns = columns
        .iter()
        .map(|(name, column_type)| ColumnSettings { name: (*name).to_owned(), column_type: column_type.clone() });
    Table::new(&TableSettings {
        name: "people".to_owned(),
        columns: columns.collect(),
        primary_key: vec!["id".to_owned()],
        types: Vec::new(),
    })
}

impl Table {
    /// Decodes one record into a row of its own.
    fn decode<'record>(&self, payload: Option<&'record [u8]>) -> Result<Vec<Cell<'record>>, Rejection> {
        let mut row = Vec::new();
        self.decode_onto(&mut row, payload).map(|()| row)
    }
}

fn people() -> Table {
    table(&[("id", ColumnType::Uuid), ("name", ColumnType::Text), ("age", ColumnType::Int)])
}

const ID: &str = "0f3e6a52-6f0b-4c58-9f0e-7b1f0c6f2a11";

#[test]
fn binds_fields_by_name_and_tells_absent_from_null() {
    let id = Cell::Uuid(ID.parse().expect("a UUID"));
    let payload = format!(r#"{{"name":"Tomás d'Ávila","id":"{ID}"}}"#);
    let row = people().decode(Some(payload.as_bytes())).expect("a good record");
    assert_eq!(row, [id.clone(), Cell::Text(Cow::Borrowed("Tomás d'Ávila")), Cell::Unset]);
    let payload = format!(r#" {{"id":"{ID}", "age": null, "name": "a\u0301\n"}} "#);
    let row = people().decode(Some(payload.as_bytes())).expect("a good record");
    assert_eq!(row, [id, Cell::Text(Cow::Borrowed("a\u{301}\n")), Cell::Null]);
}

#[rstest]
#[case(ColumnType::Ascii, r#""abc""#, Cell::Text("abc".into()))]
#[case(ColumnType::Bigint, "-9223372036854775808", Cell::Bigint(i64::MIN))]
#[case(ColumnType::Boolean, "true", Cell::Boolean(true))]
#[case(ColumnType::Date, r#""1970-01-02""#, Cell::Date(1))]
#[case(ColumnType::Date, r#""1969-12-31""#, Cell::Date(-1))]
#[case(ColumnType::Double, "1.5e3", Cell::Double(1500.0))]
#[case(ColumnType::Double, "7", Cell::Double(7.0))]
#[case(ColumnType::Float, "0.25", Cell::Float(0.25))]
#[case(ColumnType::Inet, r#""2001:db8::1""#, Cell::Inet("2001:db8::1".parse().expect("an address")))]
#[case(ColumnType::Int, "2147483647", Cell::Int(i32::MAX))]
#[case(ColumnType::Smallint, "-32768", Cell::Smallint(i16::MIN))]
#[case(ColumnType::Text, r#""""#, Cell::Text("".into()))]
#[case(ColumnType::Timestamp, r#""1970-01-01T01:00:00.5+01:00""#, Cell::Timestamp(500))]
#[case(ColumnType::Timestamp, "-1", Cell::Timestamp(-1))]
#[case(ColumnType::Timestamp, r#""1970-01-01 00:00:00.5""#, Cell::Timestamp(500))]
#[case(ColumnType::Blob, r#""0x00Ff""#, Cell::Encoded(vec![0, 255]))]
#[case(ColumnType::Blob, r#""0x""#, Cell::Encoded(vec![]))]
#[case(ColumnType::Decimal, "-1.50", Cell::Encoded(vec![0, 0, 0, 2, 255, 106]))]
#[case(ColumnType::Decimal, r#""-1.50""#, Cell::Encoded(vec![0, 0, 0, 2, 255, 106]))]
#[case(ColumnType::Duration, r#""1mo""#, Cell::Encoded(vec![2, 0, 0]))]
#[case(ColumnType::Time, r#""00:00:01""#, Cell::Time(1_000_000_000))]
#[case(ColumnType::Varint, "128", Cell::Encoded(vec![0, 128]))]
#[case(ColumnType::Varint, r#""-128""#, Cell::Encoded(vec![128]))]
#[case(ColumnType::Timeuuid, r#""f47ac10b-58cc-11ed-a372-0e02b2c3d479""#,
    Cell::Timeuuid("f47ac10b-58cc-11ed-a372-0e02b2c3d479".parse().expect("a UUID")))]
#[case(ColumnType::Tinyint, "127", Cell::Tinyint(127))]
fn reads_each_type(#[case] column_type: ColumnType, #[case] json: &str, #[case] cell: Cell<'_>) {
    let table = table(&[("id", ColumnType::Int), ("value", column_type)]);
    let payload = format!(r#"{{"id":1,"value":{json}}}"#);
    let row = table.decode(Some(payload.as_bytes())).expect("a good record");
    assert_eq!(row, [Cell::Int(1), cell]);
}

#[rstest]
#[case(ColumnType::Ascii, r#""é""#)]
#[case(ColumnType::Bigint, "9223372036854775808")]
#[case(ColumnType::Boolean, r#""true""#)]
#[case(ColumnType::Boolean, "1")]
#[case(ColumnType::Date, r#""2023-02-29""#)]
#[case(ColumnType::Double, "1e999")]
#[case(ColumnType::Double, r#""NaN""#)]
#[case(ColumnType::Float, "1e39")]
#[case(ColumnType::Inet, r#""localhost""#)]
#[case(ColumnType::Int, "2147483648")]
#[case(ColumnType::Int, "1.0")]
#[case(ColumnType::Int, r#""1""#)]
#[case(ColumnType::Smallint, "1e2")]
#[case(ColumnType::Text, "4411")]
#[case(ColumnType::Text, r#"{"nested":"\n"}"#)]
#[case(ColumnType::Text, "[]")]
#[case(ColumnType::Timestamp, r#""yesterday""#)]
#[case(ColumnType::Timestamp, r#""2024-01-01""#)]
#[case(ColumnType::Timestamp, "1.5")]
#[case(ColumnType::Blob, r#""00ff""#)]
#[case(ColumnType::Blob, r#""0x0""#)]
#[case(ColumnType::Blob, r#""0x0g""#)]
#[case(ColumnType::Decimal, "true")]
#[case(ColumnType::Decimal, r#""1,5""#)]
#[case(ColumnType::Duration, "60")]
#[case(ColumnType::Duration, r#""1m1h""#)]
#[case(ColumnType::Time, r#""24:00:00""#)]
#[case(ColumnType::Time, "0")]
#[case(ColumnType::Varint, "1.0")]
#[case(ColumnType::Varint, r#""""#)]
#[case(ColumnType::Timeuuid, r#""0f3e6a52-6f0b-4c58-9f0e-7b1f0c6f2a11""#)]
#[case(ColumnType::Tinyint, "128")]
#[case(ColumnType::Uuid, r#""not-a-uuid""#)]
fn refuses_what_is_not_of_the_type(#[case] column_type: ColumnType, #[case] json: &str) {
    let table = table(&[("id", ColumnType::Int), ("value", column_type)]);
    let payload = format!(r#"{{"id":1,"value":{json}}}"#);
    let rejection = table.decode(Some(payload.as_bytes())).expect_err("a bad value");
    assert_eq!(rejection.reason(), "BadValue", "{rejection}");
}

/// Rows are vectors of cells: a larger cell would slow every type down.
#[test]
fn cells_are_small() {
    assert_eq!(size_of::<Cell<'_>>(), 32);
    assert_eq!(size_of::<Result<Cell<'_>, Box<fault::Fault>>>(), 32);
}

#[test]
fn rejections_of_each_type_say_how_it_is_written() {
    let mut said = Vec::new();
    let parameterised = ["frozen<list<int>>", "set<text>", "map<text, int>", "tuple<int, text>", "vector<float, 3>"];
    let parameterised = parameterised.map(|text| text.parse().expect("a type"));
    for column_type in ColumnType::SIMPLE.into_iter().chain(parameterised) {
        let table = table(&[("id", ColumnType::Int), ("value", column_type)]);
        // No type takes both.
        let both = [&br#"{"id":1,"value":true}"#[..], br#"{"id":1,"value":"yes"}"#];
        let rejection = both.into_iter().find_map(|record| table.decode(Some(record)).err()).expect("a bad value");
        said.push(rejection.to_string());
    }
    insta::assert_yaml_snapshot!(said);
}

#[test]
fn rejections_say_what_is_wrong() {
    let long = format!(r#"{{"id":"{ID}","name":[{}1]}}"#, "1,".repeat(200));
    let records: &[&[u8]] = &[
        b"",
        b"\xff\xfe",
        b"{\"id\":",
        b"[1]",
        b"null",
        b"{} {}",
        b"{}",
        b"{\"id\":null}",
        b"{\"id\":7}",
        b"{\"id\":\"0f3e6a52-6f0b-4c58-9f0e-7b1f0c6f2a11\",\"shoe\\u0007size\":44}",
        b"{\"id\":\"0f3e6a52-6f0b-4c58-9f0e-7b1f0c6f2a11\",\"age\":\"forty\\n\"}",
        long.as_bytes(),
    ];
    let table = people();
    let mut said: Vec<(String, &'static str, String)> = Vec::new();
    for record in records {
        let rejection = table.decode(Some(record)).expect_err("a bad record");
        said.push((excerpt(&String::from_utf8_lossy(record)), rejection.reason(), rejection.to_string()));
    }
    let rejection = table.decode(None).expect_err("no value");
    said.push(("(no value)".to_owned(), rejection.reason(), rejection.to_string()));
    let rejection = table.decode(Some(&[b' '; LARGEST_RECORD + 1])).expect_err("too large");
    said.push(("(1 MiB and a byte)".to_owned(), rejection.reason(), rejection.to_string()));
    let rejection = Rejection::RefusedByCassandra { problem: "Key may not be empty".to_owned() };
    said.push(("(refused)".to_owned(), rejection.reason(), rejection.to_string()));
    insta::assert_yaml_snapshot!(said);
}

#[test]
fn a_field_twice_is_refused() {
    for again in ["2", "null"] {
        let payload = format!(r#"{{"id":"{ID}","age":{again},"age":2}}"#);
        let rejection = people().decode(Some(payload.as_bytes())).expect_err("a guess");
        assert_eq!(
            (rejection.reason(), rejection.to_string().as_str()),
            ("RepeatedField", "field 'age' is there twice")
        );
    }
}

#[test]
fn not_json_wins_over_an_earlier_finding() {
    let rejection = people().decode(Some(b"{\"shoe\":1, oops")).expect_err("not JSON");
    assert_eq!(rejection.reason(), "NotJson");
}

fn ignoring() -> Table {
    people().reading(&RecordSettings { unknown_fields: UnknownFields::Ignore, ..RecordSettings::default() })
}

#[test]
fn a_field_without_a_column_is_ignored_where_the_query_says_so() {
    let ignoring = ignoring();
    // Before, between and behind the columns, which must not disturb what is learned of their order; twice, to use it.
    let payload = format!(r#"{{"new":[1],"id":"{ID}","nick":"t","name":"Tom","age":3,"new2":{{}}}}"#);
    for _ in 0..2 {
        let row = ignoring.decode(Some(payload.as_bytes())).expect("a good record");
        let id = Cell::Uuid(ID.parse().expect("a UUID"));
        assert_eq!(row, [id, Cell::Text("Tom".into()), Cell::Int(3)]);
    }
    // The control: by default such a record is refused.
    let rejection = people().decode(Some(payload.as_bytes())).expect_err("unknown fields");
    assert_eq!(rejection.reason(), "UnknownField");
}

#[test]
fn what_is_ignored_hides_nothing_else_that_is_wrong() {
    let ignoring = ignoring();
    for (payload, reason) in [
        (format!(r#"{{"id":"{ID}","age":1,"new":1,"age":2}}"#), "RepeatedField"),
        (r#"{"ID":"1","new":1}"#.to_owned(), "MissingKey"),
        (format!(r#"{{"id":"{ID}","new":1,"age":"x"}}"#), "BadValue"),
        (format!(r#"{{"id":"{ID}","new":oops}}"#), "NotJson"),
    ] {
        let rejection = ignoring.decode(Some(payload.as_bytes())).expect_err("a bad record");
        assert_eq!(rejection.reason(), reason, "{payload}");
    }
}

#[test]
fn integers_of_a_timestamp_count_what_the_query_says() {
    let columns = [("id", ColumnType::Int), ("at", ColumnType::Timestamp), ("seen", ColumnType::Timestamp)];
    let units = [("at".to_owned(), EpochUnit::Microseconds)].into();
    let records = RecordSettings { epoch_units: units, ..RecordSettings::default() };
    let table = table(&columns).reading(&records);
    let row = table.decode(Some(br#"{"id":1,"at":1704164645678999,"seen":1704164645678}"#)).expect("a good record");
    assert_eq!(row[1..], [Cell::Timestamp(1_704_164_645_678), Cell::Timestamp(1_704_164_645_678)]);
    let row = table.decode(Some(br#"{"id":1,"at":"1970-01-01T00:00:01Z","seen":null}"#)).expect("a good record");
    assert_eq!(row[1..], [Cell::Timestamp(1_000), Cell::Null]);
    let rejection = table.decode(Some(br#"{"id":1,"at":1.5}"#)).expect_err("a fraction");
    assert_eq!(
        rejection.to_string(),
        "field 'at' wants timestamp, a JSON string such as \"2024-02-29T23:59:59.999Z\" or an integer of microseconds, not 1.5"
    );
}
