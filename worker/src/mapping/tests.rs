//! The random-user mapping, and every way in which a record can be rejected.

use millrace_fuzz::{Corpus, feed};
use millrace_terms::{GeneratorSettings, Origin};
use serde_json::json;
use serde_json::value::to_raw_value;

use super::*;

fn source(key: &str, fields: &[(&str, &str)]) -> SourceSettings {
    SourceSettings {
        name: "randomuser".to_owned(),
        topic: "users_created".to_owned(),
        key: key.to_owned(),
        fields: fields.iter().map(|(name, expression)| ((*name).to_owned(), (*expression).to_owned())).collect(),
        params: Default::default(),
        origin: Origin::Generator(GeneratorSettings { seed: 1, count: None, records_per_second: None }),
    }
}

fn mapping(key: &str, fields: &[(&str, &str)]) -> Mapping {
    Mapping::compile(&source(key, fields)).expect("the expressions compile")
}

fn encode(mapping: &Mapping, record: &impl serde::Serialize) -> Result<Encoded, MapRecord> {
    mapping.encode(&to_raw_value(record).expect("JSON"))
}

fn encode_text(mapping: &Mapping, record: &str) -> Result<String, MapRecord> {
    let record = RawValue::from_string(record.to_owned()).expect("JSON");
    mapping.encode(&record).map(|encoded| String::from_utf8(encoded.payload).expect("text"))
}

const ADDRESS: &str = r#"string(record.location.street.number) + " " + record.location.street.name + ", "
    + record.location.city + ", " + record.location.state + ", " + record.location.country"#;

const RANDOM_USER: &[(&str, &str)] = &[
    ("id", "record.login.uuid"),
    ("first_name", "record.name.first"),
    ("last_name", "record.name.last"),
    ("gender", "record.gender"),
    ("address", ADDRESS),
    ("post_code", "string(record.location.postcode)"),
    ("email", "record.email"),
    ("username", "record.login.username"),
    ("dob", "record.dob.date"),
    ("registered_date", "record.registered.date"),
    ("phone", "record.phone"),
    ("picture", "record.picture.medium"),
];

#[test]
fn maps_the_public_api_to_the_same_record_as_the_generator() {
    let mapping = mapping("id", RANDOM_USER);
    for index in 0..300 {
        let encoded = encode(&mapping, &millrace_profile::user(5, index)).expect("every user maps");
        let profile = millrace_profile::profile(5, index);
        assert_eq!(encoded.key, profile.id);
        let decoded: millrace_profile::Profile = serde_json::from_slice(&encoded.payload).expect("a profile");
        assert_eq!(decoded, profile);
    }
}

#[test]
fn writes_fields_in_sorted_order_whatever_order_they_came_in() {
    let plain = mapping("b", &[]);
    let encoded = encode(&plain, &json!({"z": 1, "b": "key", "a": null})).expect("a good record");
    assert_eq!(String::from_utf8(encoded.payload).expect("text"), r#"{"a":null,"b":"key","z":1}"#);
    let mapped = mapping("z", &[("z", "record.n"), ("a", "record.n + 1"), ("f", "1.5"), ("b", "record.n > 1")]);
    let encoded = encode(&mapped, &json!({"n": 4411})).expect("a good record");
    assert_eq!(encoded.key, "4411");
    assert_eq!(String::from_utf8(encoded.payload).expect("text"), r#"{"a":4412,"b":true,"f":1.5,"z":4411}"#);
}

#[test]
fn keeps_numbers_exact() {
    let all = mapping("a", &[("a", "record.a"), ("b", "record.b"), ("c", "record.c"), ("d", "string(record.d)")]);
    let record = json!({"a": i64::MIN, "b": u64::MAX, "c": 0.1, "d": 67180});
    let encoded = encode(&all, &record).expect("a good record");
    let text = String::from_utf8(encoded.payload).expect("text");
    assert_eq!(text, r#"{"a":-9223372036854775808,"b":18446744073709551615,"c":0.1,"d":"67180"}"#);
}

#[test]
fn numbers_that_nobody_computes_with_stand_as_they_are_written() {
    let record = r#"{"d": 0.1234567890123456789012345, "id": 36893488147419103233, "n": [1.50, {"x": 1E2}], "z": -0}"#;
    let sorted = r#"{"d":0.1234567890123456789012345,"id":36893488147419103233,"n":[1.50,{"x":1E2}],"z":-0}"#;
    assert_eq!(encode_text(&mapping("id", &[]), record).as_deref(), Ok(sorted));
    let fields = ["d", "id", "n", "z"].map(|name| (name, format!("record.{name}")));
    let fields = fields.each_ref().map(|(name, expression)| (*name, expression.as_str()));
    assert_eq!(encode_text(&mapping("id", &fields), record).as_deref(), Ok(sorted));
    let encoded = mapping("id", &fields).encode(&RawValue::from_string(record.to_owned()).expect("JSON"));
    assert_eq!(encoded.expect("a good record").key, "36893488147419103233");
}

#[test]
fn a_field_that_is_none_is_left_out_and_one_that_is_null_is_not() {
    let optional = mapping("id", &[("id", "record.id"), ("city", "record.?address.?city"), ("name", "record.name")]);
    let encoded = encode_text(&optional, r#"{"id": 1, "name": null, "address": null}"#);
    assert_eq!(encoded.as_deref(), Ok(r#"{"id":1,"name":null}"#));
    let encoded = encode_text(&optional, r#"{"id": 1, "name": "a", "address": {"city": "b"}}"#);
    assert_eq!(encoded.as_deref(), Ok(r#"{"city":"b","id":1,"name":"a"}"#));
}

#[test]
fn a_name_twice_rejects_the_record() {
    let problem = encode_text(&mapping("id", &[]), r#"{"id":1,"s":"a","s":"b"}"#).expect_err("a name twice");
    assert_eq!(problem.to_string(), "the record cannot be read: it has 's' twice");
}

#[test]
fn rejections_name_field_and_expression() {
    let record = json!({"id": "x", "name": {"first": "Ada"}, "list": [1], "none": null, "empty": ""});
    let cases: &[(&str, &[(&str, &str)])] = &[
        ("id", &[("id", "record.login.uuid")]),
        ("id", &[("id", "user.id")]),
        ("id", &[("id", "record.id"), ("sum", "record.id + 1")]),
        ("id", &[("id", "record.id"), ("first", "record.none.first")]),
        ("id", &[("id", "record.id"), ("product", "record.list[0] * 1.5")]),
        ("id", &[("id", "record.id"), ("time", "duration('1h')")]),
        ("id", &[("id", "record.id"), ("half", "1.0 / 0.0")]),
        ("other", &[("id", "record.id")]),
        ("id", &[("id", "record.none")]),
        ("id", &[("id", "record.empty")]),
        ("name", &[]),
    ];
    let mut said: Vec<String> = Vec::new();
    for (key, fields) in cases {
        let rejection = encode(&mapping(key, fields), &record).expect_err("a bad record");
        said.push(format!("{}: {rejection}", rejection.reason()));
    }
    let scalar = encode(&mapping("id", &[]), &json!([1, 2])).expect_err("no object");
    said.push(format!("{}: {scalar}", scalar.reason()));
    let large = json!({"id": "x", "text": "x".repeat(LARGEST_ENCODED)});
    let large = encode(&mapping("id", &[]), &large).expect_err("too large");
    said.push(format!("{}: {large}", large.reason()));
    insta::assert_yaml_snapshot!(said);
}

#[test]
fn a_record_that_is_null_is_called_that_whatever_looks_into_it() {
    for fields in [&[][..], &[("id", "record.login.uuid")], &[("id", "record.id"), ("b", "1")]] {
        let rejection = encode_text(&mapping("id", fields), "null").expect_err("there is no record").to_string();
        let says = "the record is null, which has no fields; send an object in its place, or leave it out";
        assert_eq!(rejection, says, "{fields:?}");
    }
    // The negative controls: what makes something of it is taken, and a null within is called what it is.
    assert_eq!(encode_text(&mapping("id", &[("id", "'x'")]), "null").as_deref(), Ok(r#"{"id":"x"}"#));
    let within = encode_text(&mapping("id", &[("id", "record.a.b")]), r#"{"a":null}"#).expect_err("a null");
    assert!(within.to_string().contains("it looks into null"), "{within}");
}

#[test]
fn expressions_that_do_not_compile_are_refused_with_their_place() {
    let Err(error) = Mapping::compile(&source("id", &[("id", "record.")])) else {
        panic!("it compiled");
    };
    assert_eq!(error.to_string(), "source 'randomuser': field 'id': cannot compile 'record.'");
    let endless = format!("1{}", "+1".repeat(4_095));
    let Err(error) = Mapping::compile(&source("id", &[("id", &endless)])) else {
        panic!("it compiled");
    };
    assert!(error.to_string().starts_with("source 'randomuser': field 'id' has more than 256 operators"), "{error}");
}

#[test]
fn a_record_with_a_null_value_has_the_key_of_those_that_it_ends() {
    let plain = mapping("id", &[]);
    for key in ["ann", "\"ann\"", r#"{"id":"ann"}"#, r#"{"line":1,"id":"ann"}"#] {
        assert_eq!(plain.ended_key(key.as_bytes()), Ok("ann".to_owned()), "{key}");
    }
    assert_eq!(plain.ended_key(br#"{"id":1.50}"#), Ok("1.50".to_owned()));
    assert_eq!(plain.ended_key(b"1.50"), Ok("1.50".to_owned()));
    // The same record with a value has this key.
    assert_eq!(encode(&plain, &json!({"id": "ann"})).expect("it maps").key, "ann");
    let said = |key: &[u8]| plain.ended_key(key).expect_err("no key").to_string();
    assert_eq!(said(b""), "the key field 'id' is empty");
    assert_eq!(said(br#"{"name":"ann"}"#), "the key field 'id' is absent");
    assert_eq!(said(br#"{"id":{}}"#), "the key field 'id' is nested");
    assert!(said(br#"{"id":"ann""#).starts_with("the record cannot be read: "));
    assert!(said(b"\xff").starts_with("the record cannot be read: "));
    assert!(said(b"\0\0\0\0\x07ann").contains("schema id 7"), "a registry's");
    assert!(said(b"\0\0\0\x07").contains("a zero byte"), "an integer's");
    let computed = mapping("id", &[("id", "record.login.uuid")]).ended_key(b"ann").expect_err("no value");
    assert!(computed.to_string().contains("'fields' cannot compute its key"), "{computed}");
}

#[test]
fn no_key_breaks_the_mapping() {
    let plain = mapping("id", &[]);
    let inputs: &[&[u8]] = &[br#"{"id":"a","line":3}"#, b"ann", b"\"ann\"", b"1.50", b"\0\0\0\0\x07ann"];
    let words = &["{", "}", "\"id\":", "\"", ",", "null", "\\ud800", "\u{0}", "\u{feff}"];
    feed("keys of records that end others", Corpus { inputs, words, longest: 4096 }, |input| {
        assert!(plain.ended_key(input).map_or(true, |key| !key.contains('\0')));
    });
}
