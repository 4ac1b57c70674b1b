//! The expressions of a request: evaluated once, over the source's params and the run. Pure.
//!
//! What they give is data and never changes where a request goes: in the path it is percent-encoded as one segment or a
//! part of one, in the query as a value.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use cel::objects::{Key, Map};
use cel::{Context, Value};
use chrono::DateTime;
use millrace_expressions::json::{elements, string};
use millrace_expressions::{append, bind, environment};
use millrace_terms::template::{Part, parts};
use millrace_terms::{ParamValue, RunSettings};
use reqwest::Url;

use super::request::{EvaluateExpressionSnafu, PrepareRequests};
use crate::rejection::hearsay;

/// What expressions may use.
#[derive(Clone, Debug, Default)]
pub struct Variables {
    params: HashMap<Key, Value>,
    /// Absent: the source is fetched continuously.
    run: Option<HashMap<Key, Value>>,
    /// Where the endpoint stands, as JSON. Absent: it has no position.
    since: Option<String>,
}

/// The body of a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Body {
    /// As it is.
    Text(String),
    /// A JSON document.
    Json(String),
}

impl Variables {
    /// Makes the variables of a source.
    pub fn new(params: &BTreeMap<String, ParamValue>, run: Option<&RunSettings>) -> Self {
        let params = params.iter().map(|(name, value)| (key(name), cel_of(value))).collect();
        let run = run.map(|run| {
            let name = Value::String(Arc::new(run.name.clone()));
            HashMap::from([(key("name"), name), (key("time"), moment(&run.time))])
        });
        Self { params, run, since: None }
    }

    /// Notes where the endpoint stands; `None`: it was never asked.
    pub(super) fn set_since(&mut self, json: Option<&str>) {
        self.since = Some(json.unwrap_or("null").to_owned());
    }

    /// Returns the URL with what its expressions give.
    pub(super) fn url(&self, template: &str) -> Result<String, PrepareRequests> {
        let wrong = |problem: &str| EvaluateExpressionSnafu { field: "url", expression: template, problem }.build();
        let mut url = String::new();
        let mut has_expression = false;
        for part in parts(template).map_err(|problem| wrong(&problem))? {
            match part {
                Part::Literal(text) => url.push_str(text),
                Part::Expression(expression) => {
                    has_expression = true;
                    encode_segment(&self.text("url", expression)?, &mut url);
                }
            }
        }
        if has_expression && url.split('/').any(|segment| matches!(segment, "." | "..")) {
            return Err(wrong("gives a segment '.' or '..', which would change the path"));
        }
        Ok(url)
    }

    /// Adds what the expressions of the query give.
    pub(super) fn append_query(&self, url: &mut Url, query: &BTreeMap<String, String>) -> Result<(), PrepareRequests> {
        let mut pairs = Vec::new();
        for (name, expression) in query {
            let field = format!("query.{name}");
            let given = self.evaluate(&field, expression)?;
            match elements(&given).ok().flatten() {
                Some(values) => {
                    for value in values {
                        pairs.push((name, text_of(&field, expression, value)?));
                    }
                }
                None if given == "null" => {}
                None => pairs.push((name, text_of(&field, expression, &given)?)),
            }
        }
        // Asked for at all, even an empty serializer leaves a question mark.
        if !pairs.is_empty() {
            url.query_pairs_mut().extend_pairs(pairs);
        }
        Ok(())
    }

    /// Returns the body that an expression gives.
    pub(super) fn body(&self, expression: &str) -> Result<Body, PrepareRequests> {
        let given = self.evaluate("body", expression)?;
        Ok(match string(&given) {
            Some(text) => Body::Text(text.into_owned()),
            None => Body::Json(given),
        })
    }

    /// Returns the text that an expression gives.
    pub(super) fn text(&self, field: &str, expression: &str) -> Result<String, PrepareRequests> {
        text_of(field, expression, &self.evaluate(field, expression)?)
    }

    /// Returns what an expression gives, as JSON.
    fn evaluate(&self, field: &str, expression: &str) -> Result<String, PrepareRequests> {
        let wrong = |problem: String| EvaluateExpressionSnafu { field, expression, problem }.build();
        millrace_terms::expression::check(expression).map_err(|exceeded| wrong(exceeded.to_string()))?;
        let program = environment()
            .compile(expression)
            .map_err(|errors| wrong(format!("is not a CEL expression: {}", hearsay(&errors.to_string()))))?;
        let mut scope = Context::with_env(environment());
        let map = |entries: &HashMap<Key, Value>| Value::Map(Map { map: Arc::new(entries.clone()) });
        scope.add_variable_from_value("params", map(&self.params));
        if let Some(run) = &self.run {
            scope.add_variable_from_value("run", map(run));
        }
        if let Some(since) = &self.since {
            bind(&mut scope, "since", since).expect("a text or a number is a value");
        }
        let value = Value::resolve_val(program.expression(), &scope)
            .map_err(|error| wrong(format!("fails: {}", hearsay(&error.to_string()))))?;
        let mut json = Vec::new();
        append(value.as_ref(), &mut json)
            .map_err(|given| wrong(format!("gives {given}, which JSON has no form for")))?;
        Ok(String::from_utf8(json).expect("it is made of texts"))
    }
}

fn text_of(field: &str, expression: &str, json: &str) -> Result<String, PrepareRequests> {
    let wrong = |given: &str| {
        let problem = format!("gives {given}; it must be a text, a number, a boolean or a timestamp");
        EvaluateExpressionSnafu { field, expression, problem }.build()
    };
    match json.as_bytes().first() {
        Some(b'"') => Ok(string(json).expect("what was written here is a text").into_owned()),
        Some(b'n') => Err(wrong("null")),
        Some(b'[') => Err(wrong("a list")),
        Some(b'{') => Err(wrong("a map")),
        _ => Ok(json.to_owned()),
    }
}

fn key(name: &str) -> Key {
    Key::String(Arc::new(name.to_owned()))
}

fn cel_of(value: &ParamValue) -> Value {
    match value {
        ParamValue::String(text) => Value::String(Arc::new(text.clone())),
        ParamValue::Integer(integer) => Value::Int(*integer),
        ParamValue::Number(number) => Value::Float(*number),
        ParamValue::Boolean(boolean) => Value::Bool(*boolean),
        ParamValue::Timestamp(text) => moment(text),
    }
}

/// Reads a moment; the settings are checked, and a text that is none stays what it is.
fn moment(text: &str) -> Value {
    match DateTime::parse_from_rfc3339(text) {
        Ok(moment) => Value::Timestamp(moment),
        Err(_) => Value::String(Arc::new(text.to_owned())),
    }
}

/// Writes a text as part of a path's segment: all but RFC 3986's unreserved characters percent-encoded.
fn encode_segment(text: &str, url: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => url.push(char::from(byte)),
            other => url.push_str(&format!("%{other:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables() -> Variables {
        let params = BTreeMap::from([
            ("day".to_owned(), ParamValue::String("a/b ü?".to_owned())),
            ("up".to_owned(), ParamValue::String("..".to_owned())),
            ("page".to_owned(), ParamValue::Integer(3)),
            ("since".to_owned(), ParamValue::Timestamp("2026-03-29T00:00:00Z".to_owned())),
            ("open".to_owned(), ParamValue::Boolean(true)),
        ]);
        let run = RunSettings {
            name: "again".to_owned(),
            attempt: 1,
            time: "2026-03-30T02:00:00Z".to_owned(),
            max_records: None,
            duration: None,
            timeout: millrace_terms::Duration::from_secs(1),
            trace_parent: "00".to_owned(),
            result: "/dev/null".into(),
        };
        Variables::new(&params, Some(&run))
    }

    #[test]
    fn what_params_give_stays_one_segment_of_the_path() {
        let url = variables().url("https://a.example/days/${params.day}/p${params.page}.json").expect("a URL");
        assert_eq!(url, "https://a.example/days/a%2Fb%20%C3%BC%3F/p3.json");
        let said = variables().url("https://a.example/a/${params.up}/b").expect_err("another path").to_string();
        assert!(said.contains("would change the path"), "{said}");
        // Written out in the source, it is its owner's choice.
        assert!(variables().url("https://a.example/a/../b").is_ok());
    }

    #[test]
    fn the_query_has_each_value_once_lists_several_times_and_nulls_not_at_all() {
        let query = [
            ("page", "params.page + 1"),
            ("ids", "['a b', 'c&d']"),
            ("none", "params.open ? null : 'x'"),
            ("since", "params.since"),
            ("at", "run.time - duration('2h')"),
        ];
        let query = query.map(|(name, expression)| (name.to_owned(), expression.to_owned())).into();
        let mut url = Url::parse("https://a.example/x?key=1").expect("a URL");
        variables().append_query(&mut url, &query).expect("it evaluates");
        let expected = "https://a.example/x?key=1&at=2026-03-30T00%3A00%3A00Z&ids=a+b&ids=c%26d&page=4&since=2026-03-29T00%3A00%3A00Z";
        assert_eq!(url.as_str(), expected);
        let mut plain = Url::parse("https://a.example/x").expect("a URL");
        variables().append_query(&mut plain, &BTreeMap::from([("a".to_owned(), "null".to_owned())])).expect("null");
        assert_eq!(plain.as_str(), "https://a.example/x");
    }

    #[test]
    fn a_body_is_text_or_json() {
        assert_eq!(variables().body("'page=' + string(params.page)").ok(), Some(Body::Text("page=3".to_owned())));
        let json = variables().body("{'since': params.since, 'pages': [params.page]}").expect("JSON");
        let expected = r#"{"pages":[3],"since":"2026-03-29T00:00:00Z"}"#;
        assert_eq!(json, Body::Json(expected.to_owned()));
    }

    #[test]
    fn what_does_not_fit_says_where_and_why() {
        let continuous = Variables::new(&BTreeMap::new(), None);
        let said = [
            variables().text("headers.x", "params.none").map_err(|error| error.to_string()),
            variables().text("headers.x", "[1]").map_err(|error| error.to_string()),
            continuous.text("query.a", "run.name").map_err(|error| error.to_string()),
        ];
        for (said, begin) in said.into_iter().zip([
            "http.headers.x: 'params.none' fails: ",
            "http.headers.x: '[1]' gives a list; it must be",
            "http.query.a: 'run.name' fails: ",
        ]) {
            let said = said.expect_err(begin);
            assert!(said.starts_with(begin), "{said}");
        }
    }
}
