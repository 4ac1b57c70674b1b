//! Records through queries with SQL, to cells.

use rstest::rstest;
use worker_settings::{ColumnSettings, ColumnType, StreamColumn, StreamType};

use super::*;
use crate::decode::LARGEST_RECORD;

const ID: &str = "0f3e6a52-6f0b-4c58-9f0e-7b1f0c6f2a11";

fn decoder(sql: &str) -> Decoder {
    let columns = [
        ("id", ColumnType::Uuid),
        ("line", ColumnType::Int),
        ("name", ColumnType::Text),
        ("code", ColumnType::Ascii),
        ("small", ColumnType::Smallint),
        ("ratio", ColumnType::Float),
        ("address", ColumnType::Inet),
        ("day", ColumnType::Date),
        ("at", ColumnType::Timestamp),
        ("good", ColumnType::Boolean),
        ("score", ColumnType::Double),
    ];
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
            columns: columns.map(|(name, column_type)| ColumnSettings { name: name.to_owned(), column_type }).to_vec(),
            primary_key: vec!["id".to_owned(), "line".to_owned()],
        },
        sql: Some(SqlSettings {
            text: sql.to_owned(),
            columns: streams.map(|(name, column_type)| StreamColumn { name: name.to_owned(), column_type }).to_vec(),
        }),
        write_timestamp_base: 1,
    };
    Decoder::new(&settings).unwrap_or_else(|error| panic!("{error}"))
}

fn id() -> Cell<'static> {
    Cell::Uuid(ID.parse().expect("a UUID"))
}

/// Returns what the first column after the key gets.
fn third(sql: &str, column: usize, payload: &str) -> Result<Cell<'static>, String> {
    let decoder = decoder(sql);
    let payload = payload.replace("ID", ID);
    let outcome = decoder.decode_batch(&[Some(payload.as_bytes())]).remove(0);
    let rows = outcome.map_err(|rejection| rejection.to_string())?;
    assert_eq!(rows.len(), 1);
    Ok(match &rows[0][column] {
        Cell::Text(text) => Cell::Text(text.clone().into_owned().into()),
        other => match other.clone() {
            Cell::Unset => Cell::Unset,
            Cell::Null => Cell::Null,
            Cell::Smallint(number) => Cell::Smallint(number),
            Cell::Float(number) => Cell::Float(number),
            Cell::Double(number) => Cell::Double(number),
            Cell::Inet(address) => Cell::Inet(address),
            Cell::Date(days) => Cell::Date(days),
            Cell::Timestamp(millis) => Cell::Timestamp(millis),
            Cell::Boolean(truth) => Cell::Boolean(truth),
            other => panic!("{other:?}"),
        },
    })
}

#[test]
fn a_projection_decodes_record_by_record() {
    let decoder = decoder("SELECT id, doc->'line' AS line, doc->>'any' AS name, 'x' AS code FROM people");
    assert!(!decoder.wants_batches());
    let payload = format!(r#"{{"id":"{ID}","doc":{{"line":3,"any":[1]}},"unknown":1}}"#);
    let row = decoder.decode(Some(payload.as_bytes())).expect("a good record");
    let expected = [id(), Cell::Int(3), Cell::Text("[1]".into()), Cell::Text("x".into())];
    assert_eq!(row[..4], expected);
    assert!(row[4..].iter().all(|cell| *cell == Cell::Unset), "{row:?}");
    let batch = decoder.decode_batch(&[Some(payload.as_bytes()), None]);
    assert_eq!(batch[0].as_ref().map(|rows| rows.as_slice()), Ok([row].as_slice()));
    assert!(batch[1].is_err());
}

#[rstest]
#[case("upper(name) AS name", 2, r#"{"id":"ID","name":"a"}"#, Ok(Cell::Text("A".into())))]
#[case("upper(name) AS code", 3, r#"{"id":"ID","name":"a"}"#, Ok(Cell::Text("A".into())))]
#[case(
    "upper(name) AS code",
    3,
    r#"{"id":"ID","name":"é"}"#,
    Err("query 'adults': column 'code': wants ascii, a JSON string of ASCII characters, not \"É\"")
)]
#[case("n + 1 AS small", 4, r#"{"id":"ID","n":1}"#, Ok(Cell::Smallint(2)))]
#[case(
    "n + 1 AS small",
    4,
    r#"{"id":"ID","n":32767}"#,
    Err("query 'adults': column 'small': wants smallint, a JSON integer of 16 bits, not 32768")
)]
#[case(
    "n + 1 AS small",
    4,
    r#"{"id":"ID","n":"1"}"#,
    Err("query 'adults': field n wants bigint, a JSON integer of 64 bits, not \"1\"")
)]
#[case("n / 4.0 AS ratio", 5, r#"{"id":"ID","n":1}"#, Ok(Cell::Float(0.25)))]
#[case(
    "n / 0.0 AS score",
    10,
    r#"{"id":"ID","n":1}"#,
    Err("query 'adults': column 'score': wants double, a finite JSON number, not inf")
)]
#[case("n + 1 AS score", 10, r#"{"id":"ID","n":1}"#, Ok(Cell::Double(2.0)))]
#[case("split_part(name, ' ', 1) AS address", 6, r#"{"id":"ID","name":"::1 x"}"#,
    Ok(Cell::Inet("::1".parse().expect("an address"))))]
#[case("CAST(at AS date) AS day", 7, r#"{"id":"ID","at":86400000}"#, Ok(Cell::Date(1)))]
#[case("date_trunc('second', at) AS at", 8, r#"{"id":"ID","at":1999}"#, Ok(Cell::Timestamp(1000)))]
#[case("n > 1 AS good", 9, r#"{"id":"ID","n":1}"#, Ok(Cell::Boolean(false)))]
#[case("n > 1 AS good", 9, r#"{"id":"ID"}"#, Ok(Cell::Null))]
#[case("upper(name) AS name", 10, r#"{"id":"ID","name":"a"}"#, Ok(Cell::Unset))]
fn computes_cells_of_the_columns_types(
    #[case] item: &str,
    #[case] column: usize,
    #[case] payload: &str,
    #[case] expected: Result<Cell<'static>, &str>,
) {
    let sql = format!("SELECT id, 1 AS line, {item} FROM people WHERE id IS NOT NULL");
    assert_eq!(third(&sql, column, payload), expected.map_err(str::to_owned));
}

#[test]
fn a_batch_yields_none_one_or_several_rows_or_a_rejection_for_each_record() {
    let decoder = decoder(
        "SELECT id, n AS line, upper(e->>'x') AS name FROM people, UNNEST(doc) WITH ORDINALITY AS t(e, n) \
         WHERE name IS NULL",
    );
    assert!(decoder.wants_batches());
    let records = [
        format!(r#"{{"id":"{ID}","doc":[{{"x":"a"}},{{"x":"b"}}]}}"#),
        format!(r#"{{"id":"{ID}","doc":[{{"x":"a"}}],"name":"dropped"}}"#),
        r#"{"doc":[{"x":"a"}]}"#.to_owned(),
        "no".to_owned(),
        " ".repeat(LARGEST_RECORD + 1),
        format!(r#"{{"id":"{ID}","doc":[]}}"#),
        format!(r#"{{"id":"{ID}","doc":[0]}}"#),
    ];
    let mut payloads: Vec<Option<&[u8]>> = records.iter().map(|record| Some(record.as_bytes())).collect();
    payloads.insert(3, None);
    let outcomes = decoder.decode_batch(&payloads);
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
    let rows = decoder.decode_batch(&[Some(payload.as_bytes())]).remove(0).expect("rows");
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
    let payloads: Vec<Option<&[u8]>> = records.iter().map(|record| Some(record.as_bytes())).collect();
    let said: Vec<(&str, String)> = decoder
        .decode_batch(&payloads)
        .iter()
        .map(|outcome| outcome.as_ref().expect_err("rejected"))
        .map(|rejection| (rejection.reason(), rejection.to_string()))
        .collect();
    insta::assert_yaml_snapshot!(said);
}
