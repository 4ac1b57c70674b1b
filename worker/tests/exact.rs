//! Values from the text of a source to the bytes of a row: equal to what was written, by text or by value, or refused.
//!
//! The truth stands before the producer: each value is made as text here, by its own rules, and what arrives is compared
//! with that text and never with what our own code makes of it. `EXACT_RECORDS` says how many records are tried: 20,000
//! where it is not set, and a million in the full run.

use std::collections::BTreeMap;

use millrace_terms::{
    ColumnSettings, ColumnType, GeneratorSettings, Origin, QuerySettings, RecordSettings, SourceSettings, TableSettings,
};
use millrace_worker::decode::{Cell, Decoder};
use millrace_worker::mapping::Mapping;
use millrace_worker::source::{Document, Records};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use scylla::value::{CqlDecimal, CqlVarint};

/// Records of one document.
const DOCUMENT: usize = 100;

/// A record as its source writes it: the texts of its values.
#[derive(Debug)]
struct Written {
    id: String,
    double: String,
    decimal: String,
    varint: String,
    bigint: String,
    text: String,
}

impl Written {
    fn random(random: &mut StdRng, id: usize) -> Self {
        let digits = |random: &mut StdRng, most: usize| -> String {
            (0..random.random_range(1..=most)).map(|_| char::from(b'0' + random.random_range(0..10))).collect()
        };
        let sign = |random: &mut StdRng| if random.random_bool(0.5) { "-" } else { "" };
        let whole = |random: &mut StdRng, most: usize| {
            let digits = digits(random, most);
            let trimmed = digits.trim_start_matches('0');
            if trimmed.is_empty() { "0".to_owned() } else { trimmed.to_owned() }
        };
        // Any bits that are a finite number, in the shortest form that comes back.
        let double = loop {
            let number = f64::from_bits(random.random());
            if number.is_finite() {
                break match random.random_range(0..3) {
                    0 => format!("{number:?}"),
                    1 => format!("{number:e}"),
                    _ => format!("{:?}", (number % 1e6 * 1e4).round() / 1e4),
                };
            }
        };
        let mut decimal = format!("{}{}", sign(random), whole(random, 30));
        if random.random_bool(0.8) {
            decimal += ".";
            decimal += &digits(random, 30);
        }
        if random.random_bool(0.2) {
            decimal += &format!("{}{}", ["e", "E+", "e-"][random.random_range(0..3)], random.random_range(0..300));
        }
        let varint = format!("{}{}", sign(random), whole(random, 60));
        let bigint = match random.random_range(0..10) {
            0 => "-0".to_owned(),
            1 => i64::MIN.to_string(),
            2 => i64::MAX.to_string(),
            _ => random.random::<i64>().to_string(),
        };
        let text: String = (0..random.random_range(0..12)).map(|_| random.random::<char>()).collect();
        Self { id: format!("{id}"), double, decimal, varint, bigint, text }
    }

    /// The record as JSON, in one of the ways in which a source may write it.
    fn json(&self, random: &mut StdRng) -> String {
        let space = |random: &mut StdRng| ["", " ", "\n\t"][random.random_range(0..3)];
        let mut members = vec![
            ("id", format!("\"{}\"", self.id)),
            ("double", self.double.clone()),
            ("decimal", self.decimal.clone()),
            ("varint", self.varint.clone()),
            ("bigint", self.bigint.clone()),
            ("text", escaped(&self.text, random)),
            ("list", format!("[{},{} {}]", self.decimal, space(random), self.decimal)),
        ];
        for place in (1..members.len()).rev() {
            members.swap(place, random.random_range(0..=place));
        }
        let members: Vec<String> = members
            .into_iter()
            .map(|(name, value)| format!("{}\"{name}\"{}:{value}", space(random), space(random)))
            .collect();
        format!("{{{}{}}}", members.join(","), space(random))
    }
}

/// A JSON string, with more or fewer escapes than it needs.
fn escaped(text: &str, random: &mut StdRng) -> String {
    let mut json = "\"".to_owned();
    for character in text.chars() {
        match character {
            '"' | '\\' => json.extend(['\\', character]),
            control if control < ' ' => json += &format!("\\u{:04x}", u32::from(control)),
            other if random.random_bool(0.2) => {
                other.encode_utf16(&mut [0; 2]).iter().for_each(|unit| json += &format!("\\u{unit:04x}"));
            }
            other => json.push(other),
        }
    }
    json.push('"');
    json
}

fn mapping(fields: &[(&str, &str)]) -> Mapping {
    Mapping::compile(&SourceSettings {
        name: "exact".to_owned(),
        topic: "exact".to_owned(),
        key: "id".to_owned(),
        fields: fields.iter().map(|(name, expression)| ((*name).to_owned(), (*expression).to_owned())).collect(),
        params: BTreeMap::new(),
        origin: Origin::Generator(GeneratorSettings { seed: 1, count: None, records_per_second: None }),
    })
    .expect("the expressions compile")
}

const COLUMNS: [(&str, &str); 7] = [
    ("id", "text"),
    ("double", "double"),
    ("decimal", "decimal"),
    ("varint", "varint"),
    ("bigint", "bigint"),
    ("text", "text"),
    ("list", "frozen<list<decimal>>"),
];

fn decoder() -> Decoder {
    let column = |(name, cql): (&str, &str)| ColumnSettings {
        name: name.to_owned(),
        column_type: cql.parse::<ColumnType>().expect("a type"),
    };
    let into = TableSettings {
        name: "exact".to_owned(),
        columns: COLUMNS.map(column).to_vec(),
        primary_key: vec!["id".to_owned()],
        types: Vec::new(),
    };
    let query = QuerySettings {
        name: "exact".to_owned(),
        from: "exact".to_owned(),
        into,
        sql: None,
        records: RecordSettings::default(),
        write_timestamp_base: 0,
    };
    Decoder::new(&query).expect("no SQL")
}

/// What a text says: its digits without leading zeros, and how many of them stand behind the point.
fn said(text: &str) -> (String, i64) {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let exponent: i64 = exponent.parse().expect("a small exponent");
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let (sign, whole) = whole.strip_prefix('-').map_or(("", whole), |whole| ("-", whole));
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    let number = if digits.is_empty() { "0".to_owned() } else { format!("{sign}{digits}") };
    (number, fraction.len() as i64 - exponent)
}

/// The digits of two's complement, by repeated division.
fn digits_of(bytes: &[u8]) -> String {
    let negative = bytes.first().is_some_and(|first| first >> 7 == 1);
    let mut magnitude: Vec<u8> = bytes.to_vec();
    if negative {
        let mut carry = true;
        for byte in magnitude.iter_mut().rev() {
            (*byte, carry) = (!*byte).overflowing_add(u8::from(carry));
        }
    }
    let mut digits = Vec::new();
    while magnitude.iter().any(|byte| *byte != 0) {
        let mut remainder = 0_u16;
        for byte in &mut magnitude {
            let dividend = remainder << 8 | u16::from(*byte);
            (*byte, remainder) = ((dividend / 10) as u8, dividend % 10);
        }
        digits.push(char::from(b'0' + remainder as u8));
    }
    let digits: String = digits.into_iter().rev().collect();
    match (digits.is_empty(), negative) {
        (true, _) => "0".to_owned(),
        (false, true) => format!("-{digits}"),
        (false, false) => digits,
    }
}

fn decimal_of(bytes: &[u8]) -> (String, i64) {
    let scale = i32::from_be_bytes(bytes[..4].try_into().expect("four bytes"));
    let read = CqlDecimal::from_signed_be_bytes_slice_and_exponent(&bytes[4..], scale);
    let (unscaled, scale) = read.as_signed_be_bytes_slice_and_exponent();
    (digits_of(unscaled), i64::from(scale))
}

/// Compares a row with what was written.
fn judge(written: &Written, row: &[Cell<'_>]) {
    let encoded = |cell: &Cell<'_>| cell.encoded(<[u8]>::to_vec).expect("a value");
    let [id, double, decimal, varint, bigint, text, list] = row else { panic!("a row of seven") };
    assert_eq!(encoded(id), written.id.as_bytes());
    let truth: f64 = written.double.parse().expect("a double");
    let Cell::Double(double) = double else { panic!("a double: {double:?}") };
    assert_eq!(double.to_bits(), truth.to_bits(), "{written:?}");
    assert_eq!(decimal_of(&encoded(decimal)), said(&written.decimal), "{written:?}");
    let varint = CqlVarint::from_signed_bytes_be(encoded(varint));
    assert_eq!(digits_of(varint.as_signed_bytes_be_slice()), said(&written.varint).0, "{written:?}");
    let truth = written.bigint.parse().expect("a bigint");
    assert_eq!(*bigint, Cell::Bigint(truth), "{written:?}");
    assert_eq!(encoded(text), written.text.as_bytes(), "{written:?}");
    let list = encoded(list);
    let element = &list[8..8 + u32::from_be_bytes(list[4..8].try_into().expect("four bytes")) as usize];
    assert_eq!((list[3], decimal_of(element)), (2, said(&written.decimal)), "{written:?}");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "how long it runs is said from outside")]
fn what_was_written_is_what_arrives() {
    let wanted = std::env::var("EXACT_RECORDS").ok().and_then(|text| text.parse().ok()).unwrap_or(20_000);
    let seed: u64 = std::env::var("EXACT_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(rand::random);
    println!("{wanted} records, EXACT_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let fields = COLUMNS.map(|(name, _)| (name, format!("record.{name}")));
    let fields = fields.each_ref().map(|(name, expression)| (*name, expression.as_str()));
    let mappings = [mapping(&[]), mapping(&fields)];
    let decoder = decoder();
    let mut done = 0;
    while done < wanted {
        let written: Vec<Written> = (0..DOCUMENT).map(|id| Written::random(&mut random, done + id)).collect();
        let texts: Vec<String> = written.iter().map(|record| record.json(&mut random)).collect();
        let records = match done / DOCUMENT % 2 {
            0 => Records::written(Document::read(format!("[{}]", texts.join(", "))).expect("JSON")),
            _ => Records::lines(texts.iter().map(|text| text.replace(['\n', '\t'], " ") + "\n").collect()),
        };
        let mapping = &mappings[done / DOCUMENT / 2 % 2];
        let payloads: Vec<Vec<u8>> =
            records.map(|record| mapping.encode(&record.expect("a record").record).expect("it maps").payload).collect();
        let decoded = decoder.decode(payloads.iter().map(|payload| Some(payload.as_slice())));
        assert_eq!((decoded.rejected.len(), decoded.rows.len()), (0, DOCUMENT), "{:?}", decoded.rejected);
        for (record, row) in written.iter().zip(decoded.cells.chunks(COLUMNS.len())) {
            judge(record, row);
        }
        done += DOCUMENT;
    }
}

/// The judge must notice the least change.
#[test]
fn control_a_changed_digit_is_noticed() {
    let written = Written {
        id: "1".to_owned(),
        double: "913749.2887673969".to_owned(),
        decimal: "1.50".to_owned(),
        varint: "36893488147419103233".to_owned(),
        bigint: "-0".to_owned(),
        text: String::new(),
    };
    let json = |double: &str, decimal: &str, varint: &str| {
        format!(
            r#"{{"id":"1","double":{double},"decimal":{decimal},"varint":{varint},"bigint":0,"text":"","list":[{decimal},1]}}"#
        )
    };
    let decoder = decoder();
    for (text, is_right) in [
        (json("913749.2887673969", "1.50", "36893488147419103233"), true),
        (json("913749.2887673968", "1.50", "36893488147419103233"), false),
        (json("913749.2887673969", "1.5", "36893488147419103233"), false),
        (json("913749.2887673969", "1.50", "36893488147419103000"), false),
    ] {
        let decoded = decoder.decode([Some(text.as_bytes())].into_iter());
        let judged = std::panic::catch_unwind(|| judge(&written, &decoded.cells));
        assert_eq!(judged.is_ok(), is_right, "{text}");
    }
}
