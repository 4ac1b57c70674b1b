//! An object of the cluster → the same object without secrets. Pure: the one place that decides which fields are masked.
//!
//! Values of variables and headers, queries and bodies of requests, what `kubectl apply` keeps, and everything below a
//! key that names a secret are masked whole; where a Secret is only named, the name stays. Text elsewhere goes through
//! [`text`](super::text). JSON and YAML inside of texts, such as settings in a ConfigMap, are masked as objects are.

use serde_json::{Map, Value};
use serde_yaml::Value as Yaml;
use serde_yaml::value::TaggedValue;

use super::text::{self, MASKED, is_secret};

/// Annotation with the whole object, secrets included, as `kubectl apply` was given it.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Who owns which field: long, and no help.
const OWNERS: &str = "managedFields";

/// Fields of which only names are kept.
const HIDDEN: [&str; 6] = ["binaryData", "body", "env", "headers", "httpHeaders", "query"];
/// Fields that hold the value of what is called after a secret beside them.
const VALUES: [&str; 4] = ["default", "example", "expression", "value"];
/// Fields that say where a value is, and have none.
const REFERENCES: [&str; 9] = [
    "configMapKeyRef",
    "configMapRef",
    "fieldRef",
    "imagePullSecrets",
    "resourceFieldRef",
    "secret",
    "secretKeyRef",
    "secretRef",
    "serviceAccountToken",
];
/// What such fields consist of.
const PARTS_OF_REFERENCES: [&str; 15] = [
    "apiVersion",
    "audience",
    "containerName",
    "defaultMode",
    "divisor",
    "expirationSeconds",
    "fieldPath",
    "items",
    "key",
    "mode",
    "name",
    "optional",
    "path",
    "resource",
    "secretName",
];

/// What happens to a value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Rule {
    /// Its texts are masked where they have the form of a secret.
    Plain,
    /// It is masked, except names.
    Hidden,
    /// It says where a value is.
    Reference,
}

/// Returns an object without secrets.
pub(super) fn masked(object: Value) -> Value {
    walked(object, Rule::Plain)
}

fn walked(value: Value, rule: Rule) -> Value {
    match value {
        Value::Null | Value::Bool(_) => value,
        Value::Number(_) | Value::String(_) if rule == Rule::Hidden => Value::String(MASKED.to_owned()),
        Value::Number(_) => value,
        Value::String(text) => Value::String(string(&text)),
        Value::Array(items) => Value::Array(elements(items, rule)),
        Value::Object(fields) => Value::Object(members(fields, rule)),
    }
}

fn elements(items: Vec<Value>, rule: Rule) -> Vec<Value> {
    let mut masked = Vec::with_capacity(items.len());
    let mut is_after_flag = false;
    for item in items {
        let is_structure = item.is_object() || item.is_array();
        let rule = match rule {
            _ if is_after_flag => Rule::Hidden,
            Rule::Reference if !is_structure => Rule::Hidden,
            rule => rule,
        };
        is_after_flag = item.as_str().is_some_and(is_flag_of_secret);
        masked.push(walked(item, rule));
    }
    masked
}

/// Returns whether the next argument of a command is a secret, as with `--password`.
fn is_flag_of_secret(argument: &str) -> bool {
    argument.starts_with('-') && !argument.contains(['=', ' ']) && is_secret(argument)
}

fn members(fields: Map<String, Value>, rule: Rule) -> Map<String, Value> {
    let is_of_secret = fields.get("name").and_then(Value::as_str).is_some_and(is_secret);
    let mut masked = Map::new();
    for (key, value) in fields {
        if key == OWNERS {
            continue;
        }
        let rule = match rule {
            Rule::Plain if is_of_secret && VALUES.contains(&key.as_str()) => Rule::Hidden,
            rule => rule_of(&key, &value, rule),
        };
        masked.insert(text::masked(&key), walked(value, rule));
    }
    masked
}

/// Returns what happens to the value of a field, given what happens to the object that has it.
fn rule_of(key: &str, value: &Value, rule: Rule) -> Rule {
    let is_structure = value.is_object() || value.is_array();
    if is_structure && REFERENCES.contains(&key) && !is_nameless(value) {
        return Rule::Reference;
    }
    match rule {
        Rule::Plain if key == LAST_APPLIED || HIDDEN.contains(&key) || is_secret(key) => Rule::Hidden,
        Rule::Plain => Rule::Plain,
        Rule::Hidden if key == "name" => Rule::Plain,
        Rule::Reference if PARTS_OF_REFERENCES.contains(&key) && is_structure => Rule::Reference,
        Rule::Reference if PARTS_OF_REFERENCES.contains(&key) => Rule::Plain,
        Rule::Hidden | Rule::Reference => Rule::Hidden,
    }
}

/// Returns whether an object refers to nothing: it may be a secret itself.
fn is_nameless(value: &Value) -> bool {
    let names = ["fieldPath", "name", "path", "resource", "secretName"];
    value.as_object().is_some_and(|fields| !names.iter().any(|name| fields.contains_key(*name)))
}

fn string(text: &str) -> String {
    if let Some(document) = embedded(text) {
        return document;
    }
    // Of an address nothing behind its question mark is left, whatever signs an expression in it has.
    match text.split_once('?') {
        Some((place, _)) if is_address(place) => format!("{}?{MASKED}", text::masked(place)),
        _ => text::masked(text),
    }
}

fn is_address(text: &str) -> bool {
    let scheme = text.split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| !scheme.is_empty() && scheme.chars().all(|sign| sign.is_ascii_alphanumeric()))
}

/// Returns a text that is a document, without secrets. `None`: it is no document, or one value alone.
fn embedded(text: &str) -> Option<String> {
    if text.trim_start().starts_with(['{', '[']) {
        let document: Value = serde_json::from_str(text).ok()?;
        return Some(masked(document).to_string());
    }
    if !text.contains('\n') {
        return None;
    }
    let document: Yaml = serde_yaml::from_str(text).ok()?;
    if !document.is_mapping() {
        return None;
    }
    serde_yaml::to_string(&masked(json_of(document))).ok()
}

/// Returns YAML as JSON has it; a tag becomes the key of what it tags.
fn json_of(value: Yaml) -> Value {
    match value {
        Yaml::Null => Value::Null,
        Yaml::Bool(value) => Value::Bool(value),
        Yaml::Number(number) => serde_json::to_value(number).unwrap_or_default(),
        Yaml::String(text) => Value::String(text),
        Yaml::Sequence(items) => Value::Array(items.into_iter().map(json_of).collect()),
        Yaml::Mapping(fields) => {
            Value::Object(fields.into_iter().map(|(key, value)| (name_of(key), json_of(value))).collect())
        }
        Yaml::Tagged(tagged) => {
            let TaggedValue { tag, value } = *tagged;
            Value::Object(Map::from_iter([(tag.to_string(), json_of(value))]))
        }
    }
}

fn name_of(key: Yaml) -> String {
    match key {
        Yaml::String(name) => name,
        other => json_of(other).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PLANTED: &str = "hunter2hunter2";

    fn written(object: &Value) -> String {
        serde_yaml::to_string(object).expect("YAML")
    }

    #[test]
    fn no_planted_secret_is_left_in_an_object() {
        for object in [
            json!({"metadata": {"annotations": {LAST_APPLIED: "{\"a\":\"hunter2hunter2\"}"}}}),
            json!({"metadata": {"annotations": {"example.com/settings": "{\"a\": [{\"token\": \"hunter2hunter2\"}]}"}}}),
            json!({"metadata": {"managedFields": [{"manager": "hunter2hunter2"}]}}),
            json!({"spec": {"containers": [{"env": [{"name": "GREETING", "value": "hunter2hunter2"}]}]}}),
            json!({"spec": {"podTemplate": {"env": {"GREETING": "hunter2hunter2"}}}}),
            json!({"livenessProbe": {"httpGet": {"httpHeaders": [{"name": "X-A", "value": "hunter2hunter2"}]}}}),
            json!({"http": {"headers": [{"name": "X-A", "value": "hunter2hunter2"}]}}),
            json!({"http": {"headers": [{"name": "X-A", "expression": "'hunter2hunter2' + run.name"}]}}),
            json!({"http": {"headers": ["X-A: hunter2hunter2"]}}),
            json!({"http": {"query": {"k": "'hunter2hunter2'"}, "body": "'hunter2hunter2'"}}),
            json!({"http": {"url": "https://example.com/a?k=hunter2hunter2"}}),
            json!({"http": {"url": "https://example.com/a?k=${params.a + ' hunter2hunter2'}"}}),
            json!({"http": {"url": "https://user:hunter2hunter2@example.com/a"}}),
            json!({"params": {"apiToken": "hunter2hunter2"}}),
            json!({"params": [{"name": "password", "default": "hunter2hunter2"}]}),
            json!({"credentials": {"key": "hunter2hunter2"}}),
            json!({"secret": "hunter2hunter2"}),
            json!({"secret": {"value": "hunter2hunter2"}}),
            json!({"secret": {"key": "hunter2hunter2"}}),
            json!({"secretKeyRef": {"name": "shop", "value": "hunter2hunter2"}}),
            json!({"passwords": ["hunter2hunter2"]}),
            json!({"imagePullSecrets": ["hunter2hunter2"]}),
            json!({"args": ["--worker-env=GREETING=hunter2hunter2"]}),
            json!({"args": ["--password", "hunter2hunter2"]}),
            json!({"command": ["sh", "-c", "curl -H 'Authorization: Bearer hunter2hunter2' http://a"]}),
            json!({"data": {"password.txt": "hunter2hunter2"}}),
            json!({"binaryData": {"a": "hunter2hunter2"}}),
            json!({"data": {"server.properties": "a=1\nssl.keystore.password=hunter2hunter2\n"}}),
            json!({"data": {"settings.json": "{\"headers\": [{\"name\": \"X-A\", \"value\": \"hunter2hunter2\"}]}"}}),
            json!({"data": {"produce.yaml": "origin: !http\n  headers:\n  - name: X-A\n    value: !literal hunter2hunter2\n"}}),
            json!({"status": {"message": "GET https://a:hunter2hunter2@b/ answers 401"}}),
            json!({"https://a:hunter2hunter2@b/": 1}),
        ] {
            // Control: it was there.
            assert!(written(&object).contains(PLANTED), "{object}");
            let masked = masked(object.clone());
            assert!(!written(&masked).contains(PLANTED), "{object}\n{masked}");
        }
        // Numbers are secrets, too.
        assert_eq!(masked(json!({"password": 123_456})), json!({"password": MASKED}));
    }

    #[test]
    fn what_helps_is_left_in_an_object() {
        for object in [
            json!({"valueFrom": {"secretKeyRef": {"name": "shop", "key": "token", "optional": true}}}),
            json!({"tokenFrom": {"secretKeyRef": {"name": "shop", "key": "token"}}}),
            json!({"volumes": [{"name": "secrets", "secret": {"secretName": "shop", "items": [{"key": "token", "path": "a"}]}}]}),
            json!({"volumes": [{"projected": {"sources": [{"secret": {"name": "shop", "items": [{"key": "a", "path": "b"}]}}]}}]}),
            json!({"imagePullSecrets": [{"name": "registry"}], "automountServiceAccountToken": false}),
            json!({"env": [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]}),
            json!({"oauth2": {"tokenURL": "https://example.com/token"}}),
            json!({"spec": {"queries": [{"name": "users", "from": "created", "sql": "SELECT id FROM created WHERE a > 1"}]}}),
            json!({"status": {"capacity": {"cpu": "2", "memory": "8Gi"}, "replicas": 3}}),
            json!({"params": {"day": "2026-01-31"}}),
        ] {
            assert_eq!(masked(object.clone()), object);
        }
        let of_settings =
            masked(json!({"data": {"produce.yaml": "kafka:\n  topic: users\norigin: !push\n  maxBody: 2Mi\n"}}));
        let settings = of_settings["data"]["produce.yaml"].as_str().expect("a text");
        assert!(settings.contains("topic: users") && settings.contains("maxBody: 2Mi"), "{settings}");
        assert!(settings.contains("!push"), "{settings}");
    }
}
