//! What a record costs on both levels; run by hand:
//! `cargo test --workspace --test figures -- --ignored --nocapture`.

#![expect(clippy::disallowed_methods, reason = "tests read fixtures and the clock")]

#[path = "fixture/people.rs"]
mod fixture;

use std::convert::Infallible;
use std::hint::black_box;
use std::time::Instant;

use fixture::{compile, people};
use millrace_sql::{Plan, Scratch, Value};

const RECORDS: usize = 512;
const ROUNDS: usize = 200;

fn cell(_: usize, value: Value<'_>) -> Result<Value<'_>, String> {
    Ok::<_, Infallible>(value).map_err(|never| match never {})
}

fn nanoseconds_per_record(work: impl Fn()) -> u128 {
    work();
    let began = Instant::now();
    (0..ROUNDS).for_each(|_| work());
    began.elapsed().as_nanos() / (RECORDS * ROUNDS) as u128
}

fn batch(plan: &Plan, records: &[&[u8]]) -> u128 {
    nanoseconds_per_record(|| {
        black_box(plan.rows(records, cell));
    })
}

#[test]
#[ignore = "measures, and asserts nothing"]
fn nanoseconds_per_record_of_each_level() {
    let texts: Vec<String> = (0..RECORDS)
        .map(|n| {
            format!(
                r#"{{"id":"{n:036}","name":"Person {n}","email":"person{n}@example.com","age":{},"score":{}.5,"active":true,"born":"1990-01-02","seen":"2024-02-29T12:34:56.789Z","visits":{n},"address":{{"street":"High Street {n}","city":"Town","zip":"{n:05}"}},"filler":"{}"}}"#,
                n % 90,
                n % 10,
                "x".repeat(120),
            )
        })
        .collect();
    let records: Vec<&[u8]> = texts.iter().map(String::as_bytes).collect();
    println!("records of {} bytes, batches of {RECORDS}", texts[0].len());
    let fixture = people();
    let projection = "SELECT id, name, age, score, active, born, seen, visits FROM people";
    let plan = compile(projection, &fixture).expect("good SQL");
    let single = nanoseconds_per_record(|| {
        let (mut scratch, mut cells) = (Scratch::default(), Vec::new());
        for record in &records {
            plan.row_onto(&mut scratch, &mut cells, record, cell).expect("a row");
        }
        black_box(cells);
    });
    println!("projection of 8 columns, one by one: {single} ns per record");
    for (what, sql) in [
        ("WHERE alone", "SELECT id, name, age, score, active, born, seen, visits FROM people WHERE age >= 0"),
        (
            "WHERE that drops half",
            "SELECT id, name, age, score, active, born, seen, visits FROM people WHERE age >= 45",
        ),
        (
            "four computed columns",
            "SELECT id, upper(name) AS name, age + 1 AS age, CASE WHEN age >= 18 THEN score ELSE 0.0 END AS score, \
             visits * 2 AS visits, active, born, seen FROM people",
        ),
    ] {
        let plan = compile(sql, &fixture).expect("good SQL");
        println!("{what}: {} ns per record", batch(&plan, &records));
        println!("{what}, batches of 1: {} ns per record", {
            nanoseconds_per_record(|| {
                for record in &records {
                    black_box(plan.rows(&[record], cell));
                }
            })
        });
    }
    let began = Instant::now();
    (0..100).for_each(|_| drop(black_box(compile(projection, &fixture))));
    println!("compiling: {} µs", began.elapsed().as_micros() / 100);
}
