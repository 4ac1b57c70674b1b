//! Records through queries with SQL, to cells.

use millrace_terms::{ColumnSettings, RecordSettings, StreamColumn, StreamType, Tombstones};
use rstest::rstest;

use super::*;
use crate::decode::LARGEST_RECORD;

const ID: &str = "0f3e6a52-6f0b-4c58-9f0e-7b1f0c6f2a11";

fn decoder(sql: &str) -> Decoder {
    decoder_with(sql, Tombstones::Reject)
}

fn decoder_with(sql: &str, tombstones: Tombstones) -> Decoder {
    let columns = [
        ("id", "uuid"),
        ("line", "int"),
        ("name", "text"),
        ("code", "ascii"),
        ("small", "smallint"),
        ("ratio", "float"),
        ("address", "inet"),
        ("day", "date"),
        ("at", "timestamp"),
        ("good", "boolean"),
        ("score", "double"),
        ("price", "decimal"),
        ("big", "varint"),
        ("bytes", "blob"),
        ("clock", "time"),
        ("tags", "set<text>"),
    ];
    let column = |(name, column_type): (&str, &str)| ColumnSettings {
        name: name.to_owned(),
        column_type: column_type.parse().expect("a type"),
    };
    let streams = [
        ("id", StreamType::Text),
        ("name", StreamType::Text),
        ("n", StreamType::Bigint),
        ("at", StreamType::Timestamp),
        ("doc", StreamType::Json),
    ];
    let settings = QuerySettings {
        name: "adults".to_owned(),
        from: "people".to_owned(),
        into: TableSettings {
            name: "users".to_owned(),
            columns: columns.map(column).to_vec(),
            primary_key: vec!["id".to_owned(), "line".to_owned()],
            types: Vec::new(),
        },
        sql: Some(SqlSettings {
            text: sql.to_owned(),
            columns: streams.map(|(name, column_type)| StreamColumn { name: name.to_owned(), column_type }).to_vec(),
        }),
        records: RecordSettings { tombstones, ..RecordSettings::default() },
        write_timestamp_base: 1,
    };
    Decoder::new(&settings).unwrap_or_else(|error| panic!("{error}"))
}

fn id() -> Cell<'static> {
    Cell::Uuid(ID.parse().expect("a UUID"))
}

type Outcome<'record> = Result<Vec<Vec<Cell<'record>>>, Rejection>;

/// Returns what becomes of each record, after a look at the form of what decoding hands over.
fn decode<'record>(decoder: &Decoder, records: &'record [&str]) -> Vec<Outcome<'record>> {
    let Decoded { cells, rows, rejected, deleting, filtered } =
        decoder.decode(records.iter().map(|record| (*record != "none").then_some(record.as_bytes())));
    let width = decoder.table().columns().len();
    assert_eq!(cells.len(), rows.len() * width);
    assert!(deleting.is_empty(), "with SQL nothing is deleted");
    let mut outcomes: Vec<Outcome<'_>> = records.iter().map(|_| Ok(Vec::new())).collect();
    for (record, cells) in rows.iter().zip(cells.chunks(width)) {
        outcomes[*record].as_mut().expect("no row yet").push(cells.to_vec());
    }
    for (record, rejection) in rejected {
        assert!(!rows.contains(&record), "a rejected record has no rows");
        outcomes[record] = Err(rejection);
    }
    assert_eq!(outcomes.iter().filter(|outcome| outcome.as_ref().is_ok_and(Vec::is_empty)).count(), filtered);
    outcomes
}

/// Returns a cell of the one row of a record.
fn cell(sql: &str, column: &str, record: &str) -> Result<String, String> {
    let decoder = decoder(sql);
    let record = record.replace("ID", ID);
    let index = decoder.table().columns().position(|(name, _)| name == column).expect("a column");
    let records = [record.as_str()];
    let outcome = decode(&decoder, &records).remove(0);
    outcome.map(|rows| format!("{:?}", rows[0][index])).map_err(|rejection| rejection.to_string())
}

#[test]
fn a_projection_decodes_record_by_record() {
    let decoder = decoder("SELECT id, doc->'line' AS line, doc->>'any' AS name, 'x' AS code FROM people");
    let good = format!(r#"{{"id":"{ID}","doc":{{"line":3,"any":[1]}},"unknown":1}}"#);
    let keyless = r#"{"doc":{"line":3}}"#;
    let misfit = format!(r#"{{"id":"{ID}","doc":{{"line":"3"}}}}"#);
    let records = [keyless, &good, "none", &misfit, &good];
    let outcomes = decode(&decoder, &records);
    for row in [&outcomes[1], &outcomes[4]].map(|outcome| &outcome.as_ref().expect("a row")[0]) {
        assert_eq!(row[..4], [id(), Cell::Int(3), Cell::Text("[1]".into()), Cell::Text("x".into())]);
        assert!(row[4..].iter().all(|cell| *cell == Cell::Unset), "{row:?}");
    }
    let said = |index: usize| outcomes[index].as_ref().expect_err("rejected").to_string();
    assert_eq!(said(0), "field 'id' is absent, but it is part of the primary key of table 'users'");
    assert_eq!(said(2), "the record is not a JSON object: it has no value");
    assert_eq!(said(3), "query 'adults': column 'line': wants int, a JSON integer of 32 bits, not \"3\"");
}

#[rstest]
#[case("upper(name) AS name", "name", r#"{"id":"ID","name":"a"}"#, Ok(r#"Text("A")"#))]
#[case("upper(name) AS code", "code", r#"{"id":"ID","name":"a"}"#, Ok(r#"Text("A")"#))]
#[case(
    "upper(name) AS code",
    "code",
    r#"{"id":"ID","name":"é"}"#,
    Err("query 'adults': column 'code': wants ascii, a JSON string of ASCII characters, not \"É\"")
)]
#[case("n + 1 AS small", "small", r#"{"id":"ID","n":1}"#, Ok("Smallint(2)"))]
#[case(
    "n + 1 AS small",
    "small",
    r#"{"id":"ID","n":32767}"#,
    Err("query 'adults': column 'small': wants smallint, a JSON integer of 16 bits, not 32768")
)]
#[case(
    "n + 1 AS small",
    "small",
    r#"{"id":"ID","n":"1"}"#,
    Err("query 'adults': field n wants bigint, a JSON integer of 64 bits, not \"1\"")
)]
#[case("n / 4.0 AS ratio", "ratio", r#"{"id":"ID","n":1}"#, Ok("Float(0.25)"))]
#[case(
    "n / 0.0 AS score",
    "score",
    r#"{"id":"ID","n":1}"#,
    Err("query 'adults': column 'score': wants double, a finite JSON number, not inf")
)]
#[case("n + 1 AS score", "score", r#"{"id":"ID","n":1}"#, Ok("Double(2.0)"))]
#[case("split_part(name, ' ', 1) AS address", "address", r#"{"id":"ID","name":"::1 x"}"#, Ok("Inet(::1)"))]
#[case("CAST(at AS date) AS day", "day", r#"{"id":"ID","at":86400000}"#, Ok("Date(1)"))]
#[case("date_trunc('second', at) AS at", "at", r#"{"id":"ID","at":1999}"#, Ok("Timestamp(1000)"))]
#[case("to_timestamp_seconds(n) AS at", "at", r#"{"id":"ID","n":2}"#, Ok("Timestamp(2000)"))]
#[case("to_timestamp_micros(n) AS at", "at", r#"{"id":"ID","n":1999}"#, Ok("Timestamp(1)"))]
#[case("n > 1 AS good", "good", r#"{"id":"ID","n":1}"#, Ok("Boolean(false)"))]
#[case("n > 1 AS good", "good", r#"{"id":"ID"}"#, Ok("Null"))]
#[case("upper(name) AS name", "score", r#"{"id":"ID","name":"a"}"#, Ok("Unset"))]
// Scale 2, then the unscaled number 1250.
#[case(
    "CAST(doc->'n' AS decimal(10,2)) * 10 AS price",
    "price",
    r#"{"id":"ID","doc":{"n":1.25}}"#,
    Ok("Encoded([0, 0, 0, 2, 4, 226])")
)]
#[case("doc->'n' AS price", "price", r#"{"id":"ID","doc":{"n":"12.50"}}"#, Ok("Encoded([0, 0, 0, 2, 4, 226])"))]
#[case("n + 1 AS big", "big", r#"{"id":"ID","n":255}"#, Ok("Encoded([1, 0])"))]
#[case("'0x' || name AS bytes", "bytes", r#"{"id":"ID","name":"cafe"}"#, Ok("Encoded([202, 254])"))]
#[case("name || ':00' AS clock", "clock", r#"{"id":"ID","name":"00:01"}"#, Ok("Time(60000000000)"))]
#[case("doc->'tags' AS tags", "tags", r#"{"id":"ID","doc":{"tags":[]}}"#, Ok("Encoded([0, 0, 0, 0])"))]
#[case(
    "doc->'tags' AS tags",
    "tags",
    r#"{"id":"ID","doc":{"tags":["a",7]}}"#,
    Err("query 'adults': column 'tags': [1]: wants text, a JSON string, not 7")
)]
fn makes_cells_of_the_columns_types(
    #[case] item: &str,
    #[case] column: &str,
    #[case] record: &str,
    #[case] expected: Result<&str, &str>,
) {
    let sql = format!("SELECT id, 1 AS line, {item} FROM people WHERE id IS NOT NULL");
    let expected = expected.map(str::to_owned).map_err(str::to_owned);
    assert_eq!(cell(&sql, column, record), expected);
}

#[test]
fn a_batch_yields_none_one_or_several_rows_or_a_rejection_for_each_record() {
    let decoder = decoder(
        "SELECT id, n AS line, upper(e->>'x') AS name FROM people, UNNEST(doc) WITH ORDINALITY AS t(e, n) \
         WHERE name IS NULL",
    );
    let long = " ".repeat(LARGEST_RECORD + 1);
    let records = [
        format!(r#"{{"id":"{ID}","doc":[{{"x":"a"}},{{"x":"b"}}]}}"#),
        format!(r#"{{"id":"{ID}","doc":[{{"x":"a"}}],"name":"dropped"}}"#),
        r#"{"doc":[{"x":"a"}]}"#.to_owned(),
        "none".to_owned(),
        "no".to_owned(),
        long,
        format!(r#"{{"id":"{ID}","doc":[]}}"#),
        format!(r#"{{"id":"{ID}","doc":[0]}}"#),
    ];
    let records: Vec<&str> = records.iter().map(String::as_str).collect();
    let outcomes = decode(&decoder, &records);
    let said: Vec<String> = outcomes
        .iter()
        .map(|outcome| match outcome {
            Ok(rows) => format!("{} rows", rows.len()),
            Err(rejection) => format!("{}: {rejection}", rejection.reason()),
        })
        .collect();
    insta::assert_yaml_snapshot!(said);
    let rows = outcomes[0].as_ref().expect("two rows");
    assert_eq!(rows[1][..3], [id(), Cell::Int(2), Cell::Text("B".into())]);
}

#[test]
fn of_rows_with_one_key_the_last_counts() {
    let decoder = decoder("SELECT id, e->'l' AS line, e->>'x' AS name FROM people, UNNEST(doc) AS e");
    let payload = format!(r#"{{"id":"{ID}","doc":[{{"l":1,"x":"a"}},{{"l":2,"x":"b"}},{{"l":1,"x":"c"}}]}}"#);
    let records = [payload.as_str()];
    let rows = decode(&decoder, &records).remove(0).expect("rows");
    let names: Vec<&Cell<'_>> = rows.iter().map(|row| &row[2]).collect();
    assert_eq!(names, [&Cell::Text("b".into()), &Cell::Text("c".into())]);
}

#[test]
fn every_rejection_names_the_query() {
    let decoder =
        decoder("SELECT id, 1 AS line, n / 0 AS small FROM people, UNNEST(doc) AS e WHERE CAST(name AS int) > 0");
    let long = format!(r#"{{"id":"{ID}","doc":[{}1]}}"#, "1,".repeat(10_000));
    let records = [
        r#"{"id":"x","name":"1","n":1,"doc":[1]}"#,
        r#"{"id":"x","name":"one","n":1,"doc":[1]}"#,
        r#"{"id":"x","name":"1","n":"1\u0007","doc":[1]}"#,
        &long,
    ];
    let said: Vec<(&str, String)> = decode(&decoder, &records)
        .iter()
        .map(|outcome| outcome.as_ref().expect_err("rejected"))
        .map(|rejection| (rejection.reason(), rejection.to_string()))
        .collect();
    insta::assert_yaml_snapshot!(said);
}

/// Memory: what one record may become is bounded, so what several may become together must be, too.
#[test]
fn records_that_multiply_are_decoded_in_portions() {
    let unnesting = decoder("SELECT id, n AS line FROM people, UNNEST(doc) WITH ORDINALITY AS t(e, n)");
    assert_eq!(unnesting.portion([6000, 6000, 6000, 10].into_iter()), 2);
    assert_eq!(unnesting.portion([1 << 20, 10].into_iter()), 1);
    let plain = decoder("SELECT id, n AS line FROM people WHERE n > 1");
    assert!(plain.portion([1 << 20; 100].into_iter()) >= 100);
}

#[test]
fn a_record_without_a_value_is_skipped_where_the_query_says_so() {
    // One record by record, one in a batch.
    for sql in ["SELECT id, doc->'line' AS line FROM people", "SELECT id, n + 1 AS line FROM people"] {
        let good = format!(r#"{{"id":"{ID}","n":2,"doc":{{"line":3}}}}"#);
        let records = ["none", &good];
        let skipping = decoder_with(sql, Tombstones::Skip);
        assert_eq!(decode(&skipping, &records)[0], Ok(Vec::new()), "{sql}");
        let rejecting = decoder_with(sql, Tombstones::Reject);
        assert!(decode(&rejecting, &records)[0].is_err(), "{sql}");
    }
}

#[test]
fn a_record_without_a_value_deletes_where_the_query_says_so() {
    let settings = |tombstones| QuerySettings {
        name: "people".to_owned(),
        from: "people".to_owned(),
        into: TableSettings {
            name: "people".to_owned(),
            columns: vec![ColumnSettings { name: "id".to_owned(), column_type: "text".parse().expect("a type") }],
            primary_key: vec!["id".to_owned()],
            types: Vec::new(),
        },
        sql: None,
        records: RecordSettings { tombstones, ..RecordSettings::default() },
        write_timestamp_base: 1,
    };
    let records = [None, Some(&br#"{"id":"a"}"#[..]), Some(&b""[..])];
    for (tombstones, deleting, rejected, filtered) in
        [(Tombstones::Delete, vec![0], 1, 0), (Tombstones::Skip, vec![], 1, 1), (Tombstones::Reject, vec![], 2, 0)]
    {
        let decoder = Decoder::new(&settings(tombstones)).expect("no SQL");
        let decoded = decoder.decode(records.into_iter());
        // An empty value is not a missing one.
        assert_eq!((decoded.rows, decoded.deleting), (vec![1], deleting));
        assert_eq!((decoded.rejected.len(), decoded.filtered), (rejected, filtered));
    }
}
