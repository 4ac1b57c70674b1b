//! Every refusal with its place, as a golden list; and what compiles to which level.

#[path = "fixture/people.rs"]
mod fixture;

use fixture::{Fixture, compile, orders, people, run};
use rstest::rstest;

/// Each is refused; the snapshot has what is said.
const REFUSED: &[&str] = &[
    "",
    "SELEC id FROM people",
    "SELECT id FROM people WHERE",
    "SELECT 'open FROM people",
    "SELECT id FROM people; SELECT id FROM people",
    "DELETE FROM people",
    "WITH p AS (SELECT 1) SELECT id FROM people",
    "SELECT id FROM people UNION SELECT id FROM people",
    "SELECT id FROM people ORDER BY id",
    "SELECT id FROM people LIMIT 3",
    "SELECT DISTINCT id FROM people",
    "SELECT id, count(*) AS age FROM people GROUP BY id",
    "SELECT id, sum(age) AS age FROM people",
    "SELECT id, row_number() OVER (ORDER BY age) AS age FROM people",
    "SELECT id FROM people HAVING age > 3",
    "SELECT p.id FROM people p JOIN orders o ON p.id = o.id",
    "SELECT p.id FROM people p, orders o",
    "SELECT id FROM (SELECT id FROM people) p",
    "SELECT id FROM people WHERE age = (SELECT 3)",
    "SELECT id FROM persons",
    "SELECT id FROM a.b",
    "SELECT id",
    "SELECT id,\n       nmae AS name\nFROM people",
    "SELECT x.id FROM people",
    "SELECT id, address.city AS city FROM people",
    "SELECT id, address['city'] AS city FROM people",
    "SELECT id, name AS nmae FROM people",
    "SELECT id, upper(name) FROM people",
    "SELECT id, name, email AS name FROM people",
    "SELECT name FROM people",
    "SELECT NULL AS id FROM people",
    "SELECT * FROM people",
    "SELECT id, name AS age FROM people",
    "SELECT id, score AS age FROM people",
    "SELECT id, age AS name FROM people",
    "SELECT id, age AS born FROM people",
    "SELECT id, 'x' AS age FROM people",
    "SELECT id, age > 3 AS name FROM people",
    "SELECT id, name->>'x' AS name FROM people",
    "SELECT id, address->>'a'->'b' AS name FROM people",
    "SELECT id, address->'n'::int AS age FROM people",
    "SELECT id, address->'n' + 1 AS age FROM people",
    "SELECT id, upper(address) AS name FROM people",
    "SELECT id, CAST(name AS uuid) AS name FROM people",
    "SELECT id, CAST(active AS date) AS born FROM people",
    "SELECT id, strlen(name) AS age FROM people",
    "SELECT id, now() AS seen FROM people",
    "SELECT id, upper(name, name) AS name FROM people",
    "SELECT id, name AS tags FROM people",
    "SELECT id, address->>'tags' AS tags FROM people",
    "SELECT id, active AS price FROM people",
    "SELECT id, abs(name) AS age FROM people",
    "SELECT id, lpad(name, age) AS name FROM people",
    "SELECT id, date_trunc('day', seen) - seen AS name FROM people",
    "SELECT id, name || age + name AS name FROM people",
    "SELECT id FROM people WHERE name = 3",
    "SELECT id FROM people WHERE name",
    "SELECT id FROM people WHERE seen > 'yesterday'",
    "SELECT id FROM people WHERE name ~ '(' ",
    "SELECT id FROM people WHERE age IN (1, 'x')",
    "SELECT id FROM people WHERE age BETWEEN 1 AND 'x'",
    "SELECT id FROM people WHERE age LIKE '1%'",
    "SELECT id, CASE WHEN age > 1 THEN 1 ELSE name END AS age FROM people",
    "SELECT id, CASE WHEN age THEN 1 END AS age FROM people",
    "SELECT id, nmae AS name, CASE WHEN agee > 1 THEN 1 END AS age FROM people WHERE scroe > 1",
    "SELECT id, name AS name FROM people WHERE $1",
    "SELECT id, ARRAY[1] AS age FROM people",
];

const REFUSED_OVER_ORDERS: &[&str] = &[
    "SELECT id, item->>'sku' AS sku FROM orders CROSS JOIN UNNEST(items)",
    "SELECT id, item->>'sku' AS sku FROM orders CROSS JOIN UNNEST(id) AS item",
    "SELECT id, item->>'sku' AS sku FROM orders LEFT JOIN UNNEST(items) AS item ON TRUE",
    "SELECT id, item->>'sku' AS sku FROM orders CROSS JOIN UNNEST(items) WITH ORDINALITY AS item",
    "SELECT id, item->>'sku' AS sku FROM orders CROSS JOIN UNNEST(items) AS t(item, n)",
    "SELECT id, a->>'sku' AS sku FROM orders, UNNEST(items) AS a, UNNEST(items) AS b",
    "SELECT id, itme->>'sku' AS sku FROM orders, UNNEST(items) AS item",
    "SELECT id, item AS sku, item + 1 AS quantity FROM orders, UNNEST(items) AS item",
    "SELECT id FROM orders, UNNEST(items) AS item",
];

#[test]
fn every_refusal_says_where_and_what() {
    let over = |table: fn() -> Fixture, list: &'static [&'static str]| {
        list.iter().map(move |sql| {
            let problems = compile(sql, &table()).err().unwrap_or_else(|| panic!("accepted: {sql}"));
            (*sql, problems.iter().map(ToString::to_string).collect::<Vec<_>>())
        })
    };
    let said: Vec<(&str, Vec<String>)> = over(people, REFUSED).chain(over(orders, REFUSED_OVER_ORDERS)).collect();
    insta::assert_yaml_snapshot!(said);
}

#[rstest]
#[case("SELECT id, name FROM people")]
#[case("select p.id, p.address->'city'->>'name' as name from people as p;")]
#[case("SELECT id, 'eu' AS name, -3 AS age, TRUE AS active FROM people")]
#[case("SELECT CAST(address->>'id' AS text) AS id FROM people")]
#[case("SELECT id, CAST(address->'floor' AS int) AS age FROM people")]
#[case("SELECT id, address->'tags'->0 AS name FROM people")]
#[case("SELECT id, address->'tags' AS tags, address->>'price' AS price FROM people")]
fn a_projection_needs_no_batch(#[case] sql: &str) {
    assert!(compile(sql, &people()).expect("good SQL").is_projection());
}

#[rstest]
#[case("SELECT id FROM people WHERE age > 3")]
#[case("SELECT id, upper(name) AS name FROM people")]
#[case("SELECT id, age + 1 AS age FROM people")]
#[case("SELECT id, CAST(address->'n' AS int) AS visits FROM people")]
#[case("SELECT id, CAST(address->'n' AS double) AS price FROM people")]
fn what_computes_needs_a_batch(#[case] sql: &str) {
    assert!(!compile(sql, &people()).expect("good SQL").is_projection());
}

#[test]
fn deep_and_long_sql_neither_overflows_nor_passes() {
    let sum = format!("SELECT id, {} AS age FROM people", vec!["1"; 4000].join("+"));
    let message = compile(&sql_of(&sum), &people()).expect_err("too deep")[0].to_string();
    assert!(message.contains("nested deeper than 128 levels"), "{message}");
    let nested = format!("SELECT id, {}1{} AS age FROM people", "(".repeat(4000), ")".repeat(4000));
    let message = compile(&nested, &people()).expect_err("too deep")[0].to_string();
    assert!(message.contains("nested too deeply"), "{message}");
    let long = format!("SELECT id FROM people -- {}", "x".repeat(9000));
    let message = compile(&long, &people()).expect_err("too long")[0].to_string();
    assert!(message.contains("more than 8192"), "{message}");
}

/// Each level took the parser twice as long: 17 of them were seconds.
#[test]
fn calls_inside_of_each_other_are_bounded() {
    let calls =
        |depth: usize| format!("SELECT id, {}name{} AS name FROM people", "upper(".repeat(depth), ")".repeat(depth));
    assert!(compile(&calls(12), &people()).is_ok());
    let problem = &compile(&calls(13), &people()).expect_err("too deep")[0];
    assert_eq!((problem.position.line, problem.position.column), (1, 12 + 13 * 6 - 1));
    assert!(problem.message.contains("more than 12 nested brackets"), "{problem}");
    assert!(compile(&"upper(".repeat(1000), &people()).is_err(), "without their ends, too");
}

fn sql_of(text: &str) -> String {
    assert!(text.len() <= 8192, "{}", text.len());
    text.to_owned()
}

/// As deep as may be, and evaluated on an ordinary thread.
#[test]
fn the_deepest_sum_that_compiles_also_runs() {
    let fixture = people();
    let sum = format!("SELECT id, age + {} AS age FROM people", vec!["1"; 120].join("+"));
    let plan = compile(&sum, &fixture).expect("not too deep");
    assert_eq!(run(&plan, &fixture, &[r#"{"id":"a","age":1}"#]), [Ok(vec!["id=json:\"a\" age=121".to_owned()])]);
}
