//! Records through compiled queries: what becomes a row, what is dropped, what fails, and that nobody else is harmed.

#[path = "fixture/people.rs"]
mod fixture;

use fixture::{Fixture, compile, orders, people, run};
use proptest::prelude::*;
use rstest::rstest;

type Outcome = Result<Vec<String>, String>;

fn apply(sql: &str, fixture: &Fixture, records: &[&str]) -> Vec<Outcome> {
    let plan = compile(sql, fixture).unwrap_or_else(|problems| panic!("{sql}: {}", problems[0]));
    run(&plan, fixture, records)
}

fn rows(rows: &[&str]) -> Outcome {
    Ok(rows.iter().map(|row| (*row).to_owned()).collect())
}

#[test]
fn a_named_column_goes_through_as_it_stands_and_absent_is_not_null() {
    let sql = "SELECT id, name, address->'city' AS score, address->>'zip' AS seen FROM people";
    let records = [
        r#"{"id":"a","name":"é\n","address":{"city":1.50,"zip":"x"},"other":[1]}"#,
        r#"{"id":7,"name":null}"#,
        r#"{"id":"c","address":"none"}"#,
    ];
    let expected = [
        rows(&[r#"id=json:"a" name=json:"é\n" score=json:1.50 seen=json:"x""#]),
        rows(&["id=json:7 name=null"]),
        rows(&[r#"id=json:"c""#]),
    ];
    assert_eq!(apply(sql, &people(), &records), expected);
}

/// Names that are no text inside of an element were passed over as JSON, and ended the processor when it was read.
#[test]
fn an_element_with_half_a_surrogate_pair_is_no_json_and_harms_no_other() {
    let sql = "SELECT o.id, i.n AS line, i.item->>'sku' AS sku FROM orders o, \
               UNNEST(o.items) WITH ORDINALITY AS i(item, n)";
    let broken = r#"{"id":"a","items":[{"sku":"x"},{"\ud800sku":null}]}"#;
    let outcomes = apply(sql, &orders(), &[broken, r#"{"id":"b","items":[{"sku":"y"}]}"#]);
    assert!(outcomes[0].as_ref().is_err_and(|problem| problem.contains("not JSON")), "{:?}", outcomes[0]);
    assert!(outcomes[1].is_ok(), "{:?}", outcomes[1]);
}

#[test]
fn computes_and_filters() {
    let sql = "SELECT id, upper(name) AS name, age + 1 AS age, \
               CASE WHEN age >= 18 THEN 1.0 ELSE 0.5 END AS score, \
               CAST(address->>'visits' AS bigint) * 2 AS visits, \
               date_trunc('day', seen) AS seen, CAST(seen AS date) AS born, \
               coalesce(active, FALSE) AS active \
               FROM people WHERE age IS NOT NULL AND name LIKE 'A%'";
    let records = [
        r#"{"id":"a","name":"Ann","age":17,"seen":"1970-01-02T03:04:05Z","address":{"visits":"21"}}"#,
        r#"{"id":"b","name":"Bob","age":30}"#,
        r#"{"id":"c","name":"Al","age":18,"active":true}"#,
        r#"{"id":"d","name":"Ada"}"#,
    ];
    let expected = [
        rows(&[r#"id=json:"a" name="ANN" age=18 score=0.5 active=false born=day:1 seen=ms:86400000 visits=42"#]),
        rows(&[]),
        rows(&[r#"id=json:"c" name="AL" age=19 score=1.0 active=true born=null seen=null visits=null"#]),
        rows(&[]),
    ];
    assert_eq!(apply(sql, &people(), &records), expected);
}

#[test]
fn one_bad_record_harms_no_other() {
    let sql = "SELECT id, CAST(name AS int) AS age, 10 / visits AS visits FROM people WHERE CAST(score AS int) < 9";
    let records = [
        r#"{"id":"a","name":"1","visits":1,"score":1}"#,
        r#"{"id":"b","name":"one","visits":1,"score":1}"#,
        r#"{"id":"c","#,
        r#"{"id":"d","name":"4","visits":0,"score":1}"#,
        r#"{"id":"e","name":"5","visits":"5","score":1}"#,
        r#"{"id":"f","name":"6","visits":1,"score":1e300}"#,
        r#"{"id":"g","name":"7","visits":7,"score":10}"#,
        r#"{"id":"h","name":"8","visits":2,"score":1}"#,
        "[1]",
        "\"x\"",
    ];
    insta::assert_yaml_snapshot!(apply(sql, &people(), &records));
}

#[rstest]
#[case("age + 2147483647", r#"{"id":"a","age":1}"#, "2147483648")]
#[case("visits + 9223372036854775807", r#"{"id":"a","visits":1}"#, "error")]
#[case("-visits", r#"{"id":"a","visits":-9223372036854775808}"#, "error")]
#[case("visits * visits", r#"{"id":"a","visits":4294967296}"#, "error")]
#[case("visits % 0", r#"{"id":"a","visits":1}"#, "error")]
#[case("CAST(score AS bigint)", r#"{"id":"a","score":1e30}"#, "error")]
#[case("CAST(address->'n' AS bigint)", r#"{"id":"a","address":{"n":12}}"#, "json:12")]
#[case("CAST(address->'n' AS bigint) + 0", r#"{"id":"a","address":{"n":"12"}}"#, "error")]
#[case("CAST(address->>'n' AS bigint)", r#"{"id":"a","address":{"n":"12"}}"#, "12")]
#[case("CAST(address->'n' AS int)", r#"{"id":"a","address":{"n":12}}"#, "12")]
#[case("CAST(address->'n' AS int)", r#"{"id":"a","address":{"n":2147483648}}"#, "error")]
#[case("TRY_CAST(address->>'n' AS bigint)", r#"{"id":"a","address":{"n":"x"}}"#, "null")]
#[case("character_length(name)", r#"{"id":"a","name":"héé"}"#, "3")]
#[case("EXTRACT(YEAR FROM seen)", r#"{"id":"a","seen":"2024-02-29T00:00:00Z"}"#, "2024")]
#[case("CASE WHEN name ~ '^[0-9]+$' THEN CAST(name AS bigint) END", r#"{"id":"a","name":"x"}"#, "null")]
#[case("nullif(visits, 3)", r#"{"id":"a","visits":3}"#, "null")]
#[case("coalesce(visits, age, 7)", r#"{"id":"a"}"#, "7")]
#[case("greatest(visits, 5)", r#"{"id":"a","visits":3}"#, "5")]
#[case("strpos(name, 'b')", r#"{"id":"a","name":"abc"}"#, "2")]
#[case("POSITION('c' IN name)", r#"{"id":"a","name":"abc"}"#, "3")]
#[case("CAST(substring(name FROM 2 FOR 2) AS bigint)", r#"{"id":"a","name":"x12y"}"#, "12")]
#[case("CAST(trim(name) AS bigint)", r#"{"id":"a","name":" 12 "}"#, "12")]
#[case("CAST(round(score) AS bigint)", r#"{"id":"a","score":2.6}"#, "3")]
#[case("CASE WHEN active THEN 1 ELSE 2 END", r#"{"id":"a"}"#, "2")]
#[case("CASE age WHEN 1 THEN 10 WHEN 2 THEN 20 END", r#"{"id":"a","age":2}"#, "20")]
#[case("CASE WHEN seen > '2024-01-01T00:00:00Z' THEN 1 ELSE 0 END", r#"{"id":"a","seen":1704067200001}"#, "1")]
#[case(
    "CASE WHEN born BETWEEN '1990-01-01' AND '1999-12-31' THEN 1 ELSE 0 END",
    r#"{"id":"a","born":"1999-12-31"}"#,
    "1"
)]
#[case(
    "CASE WHEN seen + INTERVAL '1 day' > TIMESTAMP '2024-01-02 00:00:00' THEN 1 ELSE 0 END",
    r#"{"id":"a","seen":1704067200001}"#,
    "1"
)]
#[case("CASE WHEN age IN (1, 2, 3) THEN 1 ELSE 0 END", r#"{"id":"a","age":3}"#, "1")]
#[case("CASE WHEN age IS DISTINCT FROM NULL THEN 1 ELSE 0 END", r#"{"id":"a"}"#, "0")]
#[case("CASE WHEN address->'x' IS NULL THEN 1 ELSE 0 END", r#"{"id":"a","address":{"x":null}}"#, "1")]
#[case("CASE WHEN NOT active IS TRUE THEN 1 ELSE 0 END", r#"{"id":"a"}"#, "1")]
fn computes_a_bigint(#[case] expression: &str, #[case] record: &str, #[case] expected: &str) {
    let outcome = apply(&format!("SELECT id, {expression} AS visits FROM people"), &people(), &[record]);
    match (&outcome[0], expected) {
        (Err(failure), "error") => println!("{failure}"),
        (Ok(rows), expected) => assert_eq!(rows, &[format!(r#"id=json:"a" visits={expected}"#)]),
        (Err(failure), _) => panic!("{failure}"),
    }
}

#[rstest]
#[case("name || '-' || age", r#"{"id":"a","name":"x","age":3}"#, r#""x-3""#)]
#[case("concat_ws(', ', name, email)", r#"{"id":"a","name":"x","email":"y"}"#, r#""x, y""#)]
#[case("lpad(CAST(age AS text), 5, '0')", r#"{"id":"a","age":42}"#, r#""00042""#)]
#[case("regexp_replace(name, '[0-9]+', '#')", r#"{"id":"a","name":"a1b22"}"#, r##""a#b22""##)]
#[case("split_part(email, '@', 2)", r#"{"id":"a","email":"x@y.z"}"#, r#""y.z""#)]
#[case("to_char(seen, '%Y/%m')", r#"{"id":"a","seen":"2024-02-29T00:00:00Z"}"#, r#""2024/02""#)]
#[case("address->>'list'", r#"{"id":"a","address":{"list":[1, 2]}}"#, r#""[1, 2]""#)]
#[case("CAST(address AS text)", r#"{"id":"a","address":{"list":[1, 2]}}"#, r#""{\"list\":[1, 2]}""#)]
#[case("upper(address->>'n')", r#"{"id":"a","address":{"n":"\u00e9"}}"#, r#""É""#)]
#[case("lower(address->'l'->1->>'m')", r#"{"id":"a","address":{"l":[0,{"m":"X"}]}}"#, r#""x""#)]
#[case("'constant'", r#"{"id":"a"}"#, r#""constant""#)]
#[case("upper('constant')", r#"{"id":"a"}"#, r#""CONSTANT""#)]
fn computes_a_text(#[case] expression: &str, #[case] record: &str, #[case] expected: &str) {
    let outcome = apply(&format!("SELECT id, {expression} AS name FROM people"), &people(), &[record]);
    assert_eq!(outcome, [rows(&[&format!(r#"id=json:"a" name={expected}"#)])]);
}

/// The exact digits, where a double would have others.
#[test]
fn decimals_are_exact() {
    let sql = "SELECT id, CAST(address->'price' AS decimal(20,4)) * 3 AS price FROM people";
    let outcome = apply(sql, &people(), &[r#"{"id":"a","address":{"price":1234567890123.1234}}"#]);
    assert_eq!(outcome, [rows(&[r#"id=json:"a" price=exact:3703703670369.3702"#])]);
}

#[test]
fn unnest_makes_a_row_of_each_element() {
    let sql = "SELECT o.id, t.n AS line, t.item->>'sku' AS sku, CAST(item->'q' AS bigint) * 2 AS quantity \
               FROM orders AS o CROSS JOIN UNNEST(o.items) WITH ORDINALITY AS t(item, n) WHERE item->>'sku' <> 'skip'";
    let records = [
        r#"{"id":"a","items":[{"sku":"x","q":1},{"sku":"skip","q":"bad"},{"sku":"y","q":3}]}"#,
        r#"{"id":"b","items":[]}"#,
        r#"{"id":"c"}"#,
        r#"{"id":"d","items":null}"#,
        r#"{"id":"e","items":{"sku":"x"}}"#,
        r#"{"id":"f","items":[{"sku":"x","q":1},{"sku":"y","q":"two"}]}"#,
        r#"{"id":"g","items":[7, null]}"#,
        r#"{"id":"h","items":[{"sku":"z","q":9223372036854775807},{"sku":"z","q":1}]}"#,
        r#"{"id":"i","items":[{"sku":"w"}]}"#,
    ];
    insta::assert_yaml_snapshot!(apply(sql, &orders(), &records));
}

#[test]
fn a_projection_of_elements_touches_no_arrow_and_keeps_their_order() {
    let sql = "SELECT id, n AS line, item AS sku FROM orders, UNNEST(items) WITH ORDINALITY AS t(item, n)";
    let expected = rows(&[r#"id=json:"a" line=1 sku=json:"x""#, r#"id=json:"a" line=2 sku=json:{"y":[1]}"#]);
    assert_eq!(apply(sql, &orders(), &[r#"{"id":"a","items":["x", {"y":[1]}]}"#]), [expected]);
}

#[test]
fn too_many_rows_of_one_record_are_refused() {
    let sql = "SELECT id, n AS line FROM orders, UNNEST(items) WITH ORDINALITY AS t(item, n)";
    let record = |count: usize| format!(r#"{{"id":"a","items":[{}]}}"#, vec!["1"; count].join(","));
    let (most, more) = (record(10_000), record(10_001));
    let outcomes = apply(sql, &orders(), &[&most, &more]);
    assert_eq!(outcomes[0].as_ref().map(Vec::len), Ok(10_000));
    assert_eq!(outcomes[1], Err("more than 10000 rows".to_owned()));
}

#[test]
fn an_empty_batch_is_nothing() {
    assert_eq!(apply("SELECT id, age + 1 AS age FROM people WHERE age > 1", &people(), &[]), []);
}

/// Some good, some bad in each of the ways that a record can be.
fn record() -> impl Strategy<Value = String> {
    let id = "[a-c]";
    prop_oneof![
        (id, any::<i32>(), "[0-9]{1,3}")
            .prop_map(|(id, age, name)| format!(r#"{{"id":"{id}","age":{age},"name":"{name}"}}"#)),
        (id, "[a-z]{0,3}").prop_map(|(id, name)| format!(r#"{{"id":"{id}","age":1,"name":"{name}"}}"#)),
        id.prop_map(|id| format!(r#"{{"id":"{id}","age":"old"}}"#)),
        id.prop_map(|id| format!(r#"{{"id":"{id}","age":null,"address":{{"list":[1,"x",0]}}}}"#)),
        id.prop_map(|id| format!(r#"{{"id":"{id}","address":{{"list":[2,4]}},"age":5,"name":"1"}}"#)),
        Just("{".to_owned()),
        "\\PC{0,20}",
    ]
}

proptest! {
    /// A batch is nothing but its records: what becomes of one does not depend on its neighbours.
    #[test]
    fn a_batch_gives_what_each_record_gives_alone(records in prop::collection::vec(record(), 0..40), which in 0..3_usize) {
        let sql = [
            "SELECT id, CAST(name AS int) + age AS age, 100 / age AS visits FROM people WHERE age <> 3",
            "SELECT id, age + 1 AS age FROM people WHERE CAST(name AS int) > 1",
            "SELECT id, 8 / CAST(e AS int) AS visits FROM people, UNNEST(address->'list') AS e",
        ][which];
        let fixture = people();
        let plan = compile(sql, &fixture).expect("good SQL");
        let texts: Vec<&str> = records.iter().map(String::as_str).collect();
        let together = run(&plan, &fixture, &texts);
        let alone: Vec<Outcome> = texts.iter().flat_map(|text| run(&plan, &fixture, &[text])).collect();
        prop_assert_eq!(together, alone);
    }

    /// Whatever is typed, compiling ends with a plan or with problems that have a place in the text.
    #[test]
    fn compiling_never_panics(text in "\\PC{0,60}", tail in "[a-z0-9 ()'>+*,.~-]{0,60}") {
        for sql in [text.clone(), format!("SELECT id, {tail} AS name FROM people"), format!("SELECT id FROM people WHERE {tail}")] {
            if let Err(problems) = compile(&sql, &people()) {
                for problem in problems {
                    prop_assert!(problem.position.line >= 1 && problem.position.column >= 1, "{}", problem);
                    prop_assert!(!problem.message.contains("bug"), "{sql}: {problem}");
                }
            }
        }
    }
}
