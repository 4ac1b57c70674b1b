//! Every type of several parts, against the bytes that the driver makes of the same value, and what is refused where.

use std::sync::Arc;

use rstest::rstest;
use scylla::cluster::metadata::{CollectionType, ColumnType as CqlType, NativeType, UserDefinedType};
use scylla::deserialize::FrameSlice;
use scylla::deserialize::value::DeserializeValue;
use scylla::serialize::value::SerializeValue;
use scylla::serialize::writers::CellWriter;
use scylla::value::{CqlDate, CqlTime, CqlValue};

use millrace_terms::ColumnSettings;

use super::*;

fn types() -> Vec<TypeSettings> {
    let field = |(name, text): &(&str, &str)| ColumnSettings {
        name: (*name).to_owned(),
        column_type: text.parse().expect("a type"),
    };
    let declared = |name: &str, fields: &[(&str, &str)]| TypeSettings {
        name: name.to_owned(),
        fields: fields.iter().map(field).collect(),
    };
    vec![
        declared("phone", &[("number", "text"), ("tags", "list<text>")]),
        declared("address", &[("city", "text"), ("zip", "int"), ("phones", "frozen<list<phone>>")]),
    ]
}

/// The driver's type of the same name.
fn driven(column_type: &ColumnType) -> CqlType<'static> {
    let collection = |typ| CqlType::Collection { frozen: false, typ };
    let inner = |part: &ColumnType| Box::new(driven(part));
    CqlType::Native(match column_type {
        ColumnType::Frozen(inner) => return driven(inner),
        ColumnType::List(element) => return collection(CollectionType::List(inner(element))),
        ColumnType::Set(element) => return collection(CollectionType::Set(inner(element))),
        ColumnType::Map(key, value) => return collection(CollectionType::Map(inner(key), inner(value))),
        ColumnType::Tuple(members) => return CqlType::Tuple(members.iter().map(driven).collect()),
        ColumnType::Vector(element, dimensions) => {
            return CqlType::Vector { typ: inner(element), dimensions: *dimensions };
        }
        ColumnType::UserDefined(name) => {
            let types = types();
            let fields = fields_of(&types, name).iter();
            let field_types = fields.map(|field| (field.name.clone().into(), driven(&field.column_type))).collect();
            let definition = UserDefinedType { name: name.clone().into(), keyspace: "streams".into(), field_types };
            return CqlType::UserDefinedType { frozen: false, definition: Arc::new(definition) };
        }
        ColumnType::Ascii => NativeType::Ascii,
        ColumnType::Bigint => NativeType::BigInt,
        ColumnType::Blob => NativeType::Blob,
        ColumnType::Boolean => NativeType::Boolean,
        ColumnType::Date => NativeType::Date,
        ColumnType::Decimal => NativeType::Decimal,
        ColumnType::Double => NativeType::Double,
        ColumnType::Duration => NativeType::Duration,
        ColumnType::Float => NativeType::Float,
        ColumnType::Inet => NativeType::Inet,
        ColumnType::Int => NativeType::Int,
        ColumnType::Smallint => NativeType::SmallInt,
        ColumnType::Text => NativeType::Text,
        ColumnType::Time => NativeType::Time,
        ColumnType::Timestamp => NativeType::Timestamp,
        ColumnType::Timeuuid => NativeType::Timeuuid,
        ColumnType::Tinyint => NativeType::TinyInt,
        ColumnType::Uuid => NativeType::Uuid,
        ColumnType::Varint => NativeType::Varint,
    })
}

/// Encodes a value, and lets the driver read it and write it again.
fn encoded(text: &str, json: &str) -> (Vec<u8>, CqlValue) {
    let column_type: ColumnType = text.parse().expect(text);
    let bytes = match encode(&column_type, &types(), json) {
        Ok(bytes) => bytes,
        Err(fault) => panic!("{text}: {}", fault.reject("value")),
    };
    let driven = driven(&column_type);
    let value = CqlValue::deserialize(&driven, Some(FrameSlice::new_borrowed(&bytes))).expect("the driver reads it");
    let mut written = Vec::new();
    value.serialize(&driven, CellWriter::new(&mut written)).expect("the driver writes it");
    assert_eq!(written.split_off(4), bytes, "{text} {json}");
    (bytes, value)
}

fn refused(text: &str, json: &str) -> String {
    let column_type: ColumnType = text.parse().expect(text);
    encode(&column_type, &types(), json).expect_err("it does not fit").reject("value").to_string()
}

fn words(words: &[&str]) -> Vec<CqlValue> {
    words.iter().map(|word| CqlValue::Text((*word).to_owned())).collect()
}

#[test]
fn values_of_each_type_are_what_the_driver_makes_of_them() {
    assert_eq!(encoded("frozen<list<text>>", r#"["a", "é\n"]"#).1, CqlValue::List(words(&["a", "é\n"])));
    assert_eq!(encoded("frozen<list<text>>", "[]").1, CqlValue::List(vec![]));
    assert_eq!(encoded("set<text>", r#"["b","a"]"#).1, CqlValue::Set(words(&["b", "a"])));
    let map = |pairs: Vec<(CqlValue, CqlValue)>| CqlValue::Map(pairs);
    let text = |text: &str| CqlValue::Text(text.to_owned());
    assert_eq!(
        encoded("map<text, int>", r#"{"a": 1, "\u0062": -2}"#).1,
        map(vec![(text("a"), CqlValue::Int(1)), (text("b"), CqlValue::Int(-2))])
    );
    assert_eq!(
        encoded("map<int, boolean>", r#"{"7": true}"#).1,
        map(vec![(CqlValue::Int(7), CqlValue::Boolean(true))])
    );
    assert_eq!(
        encoded("map<date, time>", r#"{"1970-01-02": "00:00:00.000000001"}"#).1,
        map(vec![(CqlValue::Date(CqlDate((1 << 31) + 1)), CqlValue::Time(CqlTime(1)))])
    );
    assert_eq!(
        encoded("map<frozen<list<int>>, text>", r#"{"[1,2]": "x"}"#).1,
        map(vec![(CqlValue::List(vec![CqlValue::Int(1), CqlValue::Int(2)]), text("x"))])
    );
    assert_eq!(
        encoded("tuple<int, text, boolean>", r#"[1, null, false]"#).1,
        CqlValue::Tuple(vec![Some(CqlValue::Int(1)), None, Some(CqlValue::Boolean(false))])
    );
    assert_eq!(
        encoded("vector<float, 3>", "[1, 0.5, -2e-1]").1,
        CqlValue::Vector(vec![CqlValue::Float(1.0), CqlValue::Float(0.5), CqlValue::Float(-0.2)])
    );
    assert_eq!(encoded("vector<text, 2>", r#"["", "b"]"#).1, CqlValue::Vector(words(&["", "b"])));
    let long = "x".repeat(20_000);
    let (bytes, _) = encoded("vector<text, 1>", &format!(r#"["{long}"]"#));
    assert_eq!(bytes.len(), 3 + long.len(), "a length of two bits more than 14");
    assert_eq!(
        encoded("vector<smallint, 2>", "[1, 2]").1,
        CqlValue::Vector(vec![CqlValue::SmallInt(1), CqlValue::SmallInt(2)])
    );
}

#[test]
fn user_defined_types_have_their_fields_in_order_and_nulls_for_what_is_absent() {
    let json = r#"{"phones": [{"number": "1", "tags": ["home"]}, {}], "city": "Liège"}"#;
    let (bytes, value) = encoded("frozen<address>", json);
    let CqlValue::UserDefinedType { fields, .. } = value else { panic!("it is of a user-defined type") };
    let text = |text: &str| Some(CqlValue::Text(text.to_owned()));
    assert_eq!(fields[0], ("city".to_owned(), text("Liège")));
    assert_eq!(fields[1], ("zip".to_owned(), None));
    let Some(CqlValue::List(phones)) = &fields[2].1 else { panic!("phones are a list") };
    let CqlValue::UserDefinedType { fields: phone, .. } = &phones[0] else { panic!("a phone has fields") };
    assert_eq!(phone[1], ("tags".to_owned(), Some(CqlValue::List(words(&["home"])))));
    assert_eq!(bytes[..4], 6_i32.to_be_bytes(), "the length of the city");
    encoded("map<text, frozen<address>>", &format!(r#"{{"home": {json}, "work": {{"zip": null}}}}"#));
}

#[rstest]
#[case("ascii", r#""abc""#)]
#[case("bigint", "-9223372036854775808")]
#[case("blob", r#""0xCAFE""#)]
#[case("boolean", "true")]
#[case("date", r#""1969-12-31""#)]
#[case("decimal", "123456789012345678901234567890.5")]
#[case("double", "1.5e3")]
#[case("float", "0.25")]
#[case("inet", r#""192.0.2.1""#)]
#[case("inet", r#""2001:db8::1""#)]
#[case("int", "-1")]
#[case("smallint", "-32768")]
#[case("text", r#""é""#)]
#[case("time", r#""23:59:59.999999999""#)]
#[case("timestamp", r#""2024-02-29 12:00:00+01:00""#)]
#[case("timeuuid", r#""f47ac10b-58cc-11ed-a372-0e02b2c3d479""#)]
#[case("tinyint", "-128")]
#[case("uuid", r#""0f3e6a52-6f0b-4c58-9f0e-7b1f0c6f2a11""#)]
#[case("varint", "-170141183460469231731687303715884105729")]
fn every_simple_type_may_stand_inside(#[case] element: &str, #[case] json: &str) {
    encoded(&format!("frozen<list<{element}>>"), &format!("[{json}, {json}]"));
    encoded(&format!("set<{element}>"), &format!("[{json}]"));
    encoded(&format!("tuple<{element}, int>"), &format!("[{json}, null]"));
    encoded(&format!("vector<{element}, 2>"), &format!("[{json}, {json}]"));
    let key = if json.starts_with('"') { json.to_owned() } else { format!("\"{json}\"") };
    encoded(&format!("map<{element}, {element}>"), &format!("{{{key}: {json}}}"));
}

#[test]
fn durations_may_stand_inside_what_needs_no_order() {
    encoded("frozen<list<duration>>", r#"["1mo", "-3h"]"#);
    encoded("map<int, duration>", r#"{"1": "P1D"}"#);
    encoded("vector<duration, 1>", r#"["1ns"]"#);
}

#[test]
fn what_does_not_fit_is_refused_with_its_place() {
    for (text, json, message) in [
        ("frozen<list<text>>", "{}", "field 'value' wants list<text>, a JSON array, not {}"),
        ("set<int>", r#"[1, 2, 3, "4"]"#, "field 'value[3]' wants int, a JSON integer of 32 bits, not \"4\""),
        ("set<int>", "[1, null]", "field 'value[1]' wants int, a JSON integer of 32 bits, not null"),
        ("map<text, int>", "[]", "field 'value' wants map<text, int>, a JSON object with each key once, not []"),
        (
            "map<text, int>",
            r#"{"a": 1, "b\u0007": 2.5}"#,
            "field 'value[\"b\\u0007\"]' wants int, a JSON integer of 32 bits, not 2.5",
        ),
        ("map<text, int>", r#"{"a": 1, "\u0061": 2}"#, "field 'value[\"\\u0061\"]' wants this key only once, not 2"),
        ("map<int, int>", r#"{"x": 1}"#, "field 'value' wants as key int, a JSON integer of 32 bits, not \"x\""),
        ("map<int, int>", r#"{"null": 1}"#, "field 'value' wants as key int, a JSON integer of 32 bits, not \"null\""),
        ("tuple<int, text>", "[1]", "field 'value' wants tuple<int, text>, a JSON array of 2 values, not [1]"),
        (
            "tuple<int, text>",
            r#"[1, "a", null]"#,
            "field 'value' wants tuple<int, text>, a JSON array of 2 values, not [1, \"a\", null]",
        ),
        ("tuple<int, text>", "[1, 2]", "field 'value[1]' wants text, a JSON string, not 2"),
        ("vector<float, 3>", "[1, 2]", "field 'value' wants vector<float, 3>, a JSON array of 3 values, not [1, 2]"),
        ("vector<float, 1>", "[1e39]", "field 'value[0]' wants float, a JSON number in the range of 32 bits, not 1e39"),
        (
            "address",
            "[]",
            "field 'value' wants address, a JSON object with each of city, zip, phones at most once, not []",
        ),
        (
            "address",
            r#"{"zip": 1, "zip": 2}"#,
            "field 'value' wants address, a JSON object with each of city, zip, phones at most once, not {\"zip\": 1, \"zip\": 2}",
        ),
        ("address", r#"{"city": 1}"#, "field 'value.city' wants text, a JSON string, not 1"),
        ("address", r#"{"town": 1}"#, "field 'value.town' is unknown: type 'address' has no such field"),
        (
            "frozen<map<text, list<address>>>",
            r#"{"home": [{}, {"phones": [{"tags": ["a", false]}]}]}"#,
            "field 'value[\"home\"][1].phones[0].tags[1]' wants text, a JSON string, not false",
        ),
    ] {
        assert_eq!(refused(text, json), message);
    }
}

#[test]
fn a_value_that_grows_too_large_is_refused() {
    let json = format!("[{}{{}}]", "{},".repeat(LARGEST_VALUE / 16));
    assert_eq!(
        refused("frozen<list<address>>", &json),
        format!(
            "field 'value[{}]' wants less: the whole value takes more than 8 MiB in Cassandra, not {{}}",
            LARGEST_VALUE / 16 - 1
        )
    );
}
