//! The language of expressions: CEL's standard library, its extension for texts, and numbers as they are written.

use std::sync::{Arc, LazyLock};

use cel::{Context, Env, ExecutionError, extensions};

use crate::{number, record};

/// The variable that a record is.
pub const RECORD_VARIABLE: &str = "record";

/// Returns what all expressions are compiled and evaluated with.
pub fn environment() -> Arc<Env> {
    static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
        let mut environment = Env::stdlib();
        environment.add_extension(extensions::strings).expect("the names of an extension are its own");
        environment.add_extension(number::declare).expect("no other type has this name");
        Arc::new(environment)
    });
    Arc::clone(&ENVIRONMENT)
}

/// Returns what an expression over a record is evaluated in, from the text of the record, a JSON value.
pub fn scope(record: &str) -> Result<Context<'_, '_>, ExecutionError> {
    let mut scope = Context::with_env(environment());
    bind(&mut scope, RECORD_VARIABLE, record)?;
    Ok(scope)
}

/// Gives a variable the value of a JSON text.
pub fn bind<'text>(scope: &mut Context<'_, 'text>, name: &str, json: &'text str) -> Result<(), ExecutionError> {
    scope.add_variable_as_val(name, record::value(json)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use cel::Value;

    use super::*;
    use crate::append;

    const RECORD: &str = r#"{"d": 0.1234567890123456789012345, "p": 1.50, "n": 36893488147419103233, "z": -0, "i": 7,
        "big": 18446744073709551615, "e": 1e3, "nil": null, "t": "A\u00e9 b", "tags": ["a", 1.50, {"x": [ -0 ]}],
        "o": {"b": 4.99, "a": [1, 2]}, "same": {"a": [1, 2], "b": 4.990}}"#;

    fn evaluate(expression: &str) -> Result<String, String> {
        let program = environment().compile(expression).map_err(|errors| errors.to_string())?;
        let scope = scope(RECORD).map_err(|error| error.to_string())?;
        let value = Value::resolve_val(program.expression(), &scope).map_err(|error| error.to_string())?;
        let mut json = Vec::new();
        append(value.as_ref(), &mut json).map_err(str::to_owned)?;
        Ok(String::from_utf8(json).expect("JSON is text"))
    }

    #[test]
    fn what_is_passed_on_keeps_every_digit() {
        for (expression, expected) in [
            ("record.d", "0.1234567890123456789012345"),
            ("record.p", "1.50"),
            ("record.n", "36893488147419103233"),
            ("record.z", "-0"),
            ("record.big", "18446744073709551615"),
            ("record.e", "1e3"),
            ("record.p > 1.0 ? record.p : 0.0", "1.50"),
            ("has(record.none) ? record.none : record.d", "0.1234567890123456789012345"),
            ("string(record.n)", "\"36893488147419103233\""),
            ("string(record.p) + 'x'", "\"1.50x\""),
            ("record.tags", r#"["a",1.50,{"x":[-0]}]"#),
            ("record.tags[1]", "1.50"),
            ("record.tags.map(one, one)", r#"["a",1.50,{"x":[-0]}]"#),
            ("record.o", r#"{"b":4.99,"a":[1,2]}"#),
            ("{'k': record.p, 'a': [record.n]}", r#"{"a":[36893488147419103233],"k":1.50}"#),
            ("record.?o.?b", "4.99"),
            ("{'a': record.?none, 'b': record.?o.?b}", r#"{"b":4.99}"#),
            ("string(timestamp(1700000000))", "\"2023-11-14T22:13:20Z\""),
            ("record.?none.orValue(record.p)", "1.50"),
        ] {
            assert_eq!(evaluate(expression).as_deref(), Ok(expected), "{expression}");
        }
    }

    #[test]
    fn what_is_computed_is_what_cel_says() {
        for (expression, expected) in [
            ("record.p * 2.0", "3.0"),
            ("2.0 * record.p", "3.0"),
            ("record.p + record.p", "3.0"),
            ("-record.p", "-1.5"),
            ("double(record.p)", "1.5"),
            ("int(record.p)", "1"),
            ("uint(record.e)", "1000"),
            ("record.i + 1", "8"),
            ("record.p == 1.5", "true"),
            ("1.5 == record.p", "true"),
            ("record.n > 5 && record.n > record.big && 5 < record.i", "true"),
            ("record.n == record.n", "true"),
            ("record.p in [1.5]", "true"),
            ("record.i * 100", "700"),
            ("record.o == record.same", "true"),
            ("size(record.o) + size(record.tags)", "5"),
            ("'b' in record.o && !('c' in record.o)", "true"),
            ("record.o.map(name, name)", r#"["a","b"]"#),
            ("record.tags + ['b']", r#"["a",1.50,{"x":[-0]},"b"]"#),
            ("record.t.lowerAscii().split(' ')", r#"["aé","b"]"#),
            ("record.t.replace('A', 'x').trim().substring(1)", "\"é b\""),
            ("record['nil'].?first.orValue('none')", "\"none\""),
            ("record.?nil.?first.orValue('none')", "\"none\""),
            ("bytes('ab')", "\"0x6162\""),
            ("timestamp('2024-02-29T12:00:00Z')", "\"2024-02-29T12:00:00Z\""),
        ] {
            assert_eq!(evaluate(expression).as_deref(), Ok(expected), "{expression}");
        }
    }

    #[test]
    fn what_cannot_be_computed_exactly_fails() {
        for expression in [
            "record.n + 1",
            "int(record.n)",
            "record.p * 100",
            "record.none",
            "record.nil.first",
            "1.0 / 0.0",
            "duration('1h')",
            "type(1)",
            "{1: 'a', '1': 'b'}",
        ] {
            assert!(evaluate(expression).is_err(), "{expression}: {:?}", evaluate(expression));
        }
    }

    #[test]
    fn a_name_twice_is_an_error_only_where_it_is_looked_at() {
        let twice = r#"{"a": 1, "o": {"b": 1, "b": 2}}"#;
        let program = |text: &str| environment().compile(text).expect("it compiles");
        let scope = scope(twice).expect("a record");
        assert!(Value::resolve_val(program("record.a").expression(), &scope).is_ok());
        let error = Value::resolve_val(program("record.o.b").expression(), &scope).expect_err("a name twice");
        assert!(error.to_string().ends_with("it has 'b' twice"), "{error}");
    }

    #[test]
    fn arrays_that_stand_deep_or_are_long_are_refused_where_they_are_looked_at() {
        let deep = format!(r#"{{"a": 1, "deep": {}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        let long = format!(r#"{{"long": [{}0]}}"#, "0,".repeat(record::MOST_ELEMENTS));
        let object = format!("{}1{}", "{\"\":".repeat(100_000), "}".repeat(100_000));
        let nested = format!(r#"{{"a": 1, "x": {object}, "y": {object}}}"#);
        let wide = format!(r#"{{"a": 1, "wide": [{}[]]}}"#, format!("[{}0],", "0,".repeat(999)).repeat(200));
        for (text, expression, fits) in [
            (&deep, "record.a", true),
            (&deep, "record.deep", false),
            (&long, "record.long", false),
            (&nested, "record.x == record.y", true),
            (&wide, "record.a", true),
            (&wide, "record.wide", false),
        ] {
            let program = environment().compile(expression).expect("it compiles");
            let scope = scope(text).expect("a record");
            assert_eq!(Value::resolve_val(program.expression(), &scope).is_ok(), fits, "{expression}");
        }
    }
}
