//! SQL and records that mean no good: whatever is written is compiled or refused, and whatever comes becomes rows or a
//! failure.

#[path = "fixture/people.rs"]
mod fixture;

use fixture::{compile, orders, people, run};
use millrace_fuzz::{Corpus, feed};

const SQL: Corpus<'static> = Corpus {
    inputs: &[
        b"SELECT id, upper(name) AS name, age + 1 AS age FROM people WHERE age IS NOT NULL AND name LIKE 'A%'",
        b"SELECT id, CASE WHEN age >= 18 THEN 1.0 ELSE 0.5 END AS score FROM people",
        b"SELECT id, CAST(address->>'visits' AS bigint) * 2 AS visits, date_trunc('day', seen) AS seen FROM people",
        b"SELECT id, regexp_replace(name, '^(a+)+$', 'x') AS name, lpad(name, 10, 'x') AS name FROM people",
        b"SELECT o.id, i.n AS line, i.item->>'sku' AS sku FROM orders o, UNNEST(o.items) WITH ORDINALITY AS i(item, n)",
    ],
    words: &[
        "SELECT",
        "FROM people",
        "WHERE",
        "(",
        ")",
        "'",
        "\"",
        "--",
        "/*",
        "*/",
        "CASE WHEN",
        "CAST(",
        " AS ",
        "::",
        "->",
        "->>",
        "AND",
        "NOT ",
        "- ",
        "+1",
        "NULL",
        "9223372036854775807",
        "1e308",
        "interval '1 day'",
        "repeat('x', 1000000000)",
        "lpad(name, 2147483647)",
        "UNNEST(",
        ";",
        "\u{0}",
        "\u{e9}",
        "''",
        "$1",
        "to_timestamp(",
        "date '9999-12-31'",
    ],
    longest: 9_000,
};

const RECORDS: Corpus<'static> = Corpus {
    inputs: &[
        br#"{"id":"a","name":"Ann","age":17,"seen":"1970-01-02T03:04:05Z","address":{"visits":"21"}}"#,
        br#"{"id":"b","name":"\u00e9\n","age":-2147483648,"score":1e308,"active":true,"born":"9999-12-31","visits":9223372036854775807}"#,
        br#"{"id":"c","items":[{"sku":"x","quantity":1},{"sku":null}],"address":[1,[2,[3]]]}"#,
    ],
    words: &[
        "null", "[", "]", "{", "}", ",", ":", "\"", "\\u", "\\ud800", "1e400", "-0", "NaN", "0.1", "\u{0}", "\u{feff}",
        "99999999999999999999", "\"age\":", "\"-262143-01-01\"", "\"0000-00-00\"",
    ],
    longest: 64 << 10,
};

#[test]
fn no_sql_breaks_the_compiler() {
    let (people, orders) = (people(), orders());
    let record = [r#"{"id":"a","name":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!","age":17,"seen":1,"items":[{"sku":"x"}]}"#];
    feed("SQL", SQL, |input| {
        let text = String::from_utf8_lossy(input);
        for fixture in [&people, &orders] {
            if let Ok(plan) = compile(&text, fixture) {
                let _ = run(&plan, fixture, &record);
            }
        }
    });
}

#[test]
fn no_record_breaks_a_query() {
    let (people, orders) = (people(), orders());
    let texts = [
        "SELECT id, upper(name) AS name, age * 2 AS age, score / 0.0 AS score, NOT active AS active, \
         CAST(born AS timestamp) AS seen, visits + 1 AS visits FROM people WHERE age IS NOT NULL OR name <> ''",
        "SELECT id, substr(address->>'visits', 1, age) AS name, CAST(address->>'visits' AS bigint) AS visits FROM people",
    ];
    let plans: Vec<_> = texts.iter().map(|text| compile(text, &people).expect("it compiles")).collect();
    let unnest = "SELECT o.id, i.n AS line, i.item->>'sku' AS sku, CAST(i.item->>'quantity' AS bigint) AS quantity \
                  FROM orders o, UNNEST(o.items) WITH ORDINALITY AS i(item, n)";
    let unnest = compile(unnest, &orders).ok();
    feed("records of queries", RECORDS, |input| {
        let Ok(text) = std::str::from_utf8(input) else { return };
        for plan in &plans {
            let _ = run(plan, &people, &[text]);
        }
        if let Some(plan) = &unnest {
            let _ = run(plan, &orders, &[text, text]);
        }
    });
}
