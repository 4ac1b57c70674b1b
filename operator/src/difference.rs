//! Compares an object as we set it with one as it is, by what both mean. Pure.
//!
//! The server's own notation, its defaults and the order of what has keys are no difference; neither is what others
//! added. Lists with keys are compared item by item, as server-side apply merges them; of other lists ours must be
//! contained. Where an addition changes what ours means, as a rule of a NetworkPolicy or an argument of a command does,
//! the whole is compared.

use millrace_api::quantity::Quantity;
use serde_json::Value;

/// Most words that a message lists.
const MAX_LISTED: usize = 3;

/// Returns the first of some words, and how many more there are.
pub fn listed(words: &[String], separator: &str) -> String {
    let (first, more) = words.split_at(words.len().min(MAX_LISTED));
    let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
    format!("{}{more}", first.join(separator))
}

/// A value that we set and that is otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Where, such as `spec.template.spec.containers[kafka].image`.
    pub path: String,
    /// What is there. Null: nothing.
    pub found: Value,
    /// What we set. Null: nothing may be there.
    pub wanted: Value,
}

impl Difference {
    /// Returns the difference in words.
    pub fn describe(&self) -> String {
        let Self { path, found, wanted } = self;
        match (found, wanted) {
            (Value::Null, wanted) => format!("{path} is missing instead of {}", short(wanted)),
            (found, Value::Null) => format!("{path} is {} instead of absent", short(found)),
            (found, wanted) => format!("{path} is {} instead of {}", short(found), short(wanted)),
        }
    }

    /// Returns the name of the field itself, which is the last of its path.
    pub fn field(&self) -> &str {
        let last = self.path.rsplit('.').next().unwrap_or_default();
        last.split('[').next().unwrap_or_default()
    }
}

/// Longest value that a message quotes.
const MAX_QUOTED: usize = 60;

fn short(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    match text.char_indices().nth(MAX_QUOTED) {
        Some((end, _)) => format!("'{}…'", &text[..end]),
        None => format!("'{text}'"),
    }
}

/// Returns where an object differs from what we set of it.
pub fn differences(live: &Value, wanted: &Value) -> Vec<Difference> {
    let mut differences = Vec::new();
    compare(Place { path: "", field: "", exact: false }, live, wanted, &mut differences);
    differences
}

/// Fields that hold quantities, which the API server writes in a form of its own: 0.5 comes back as 500m.
const QUANTITIES: [&str; 4] = ["limits", "requests", "sizeLimit", "divisor"];

/// Fields whose meaning an addition changes.
const EXACT: [&str; 8] =
    ["args", "command", "egress", "ingress", "matchLabels", "podSelector", "policyTypes", "selector"];

/// What tells the items of a list apart, as server-side apply has it.
const KEYS: [(&str, &[&str]); 11] = [
    ("containers", &["/name"]),
    ("env", &["/name"]),
    ("hostAliases", &["/ip"]),
    ("imagePullSecrets", &["/name"]),
    ("initContainers", &["/name"]),
    ("ownerReferences", &["/uid"]),
    ("topologySpreadConstraints", &["/topologyKey", "/whenUnsatisfiable"]),
    ("volumeClaimTemplates", &["/metadata/name"]),
    ("volumeDevices", &["/devicePath"]),
    ("volumeMounts", &["/mountPath"]),
    ("volumes", &["/name"]),
];
/// Ports of containers have the first, those of Services the second.
const PORT_KEYS: [&[&str]; 2] = [&["/containerPort", "/protocol"], &["/port", "/protocol"]];

/// Where a comparison is.
#[derive(Clone, Copy)]
struct Place<'a> {
    path: &'a str,
    /// The field that it is in, whatever the depth of its lists.
    field: &'a str,
    exact: bool,
}

fn compare(place: Place<'_>, live: &Value, wanted: &Value, differences: &mut Vec<Difference>) {
    let Place { path, field, exact } = place;
    match (live, wanted) {
        // The API server drops empty values.
        (Value::Null, wanted) if is_empty(wanted) => {}
        (Value::Object(live), Value::Object(wanted)) => {
            // All of a NetworkPolicy: one more rule opens what the others close.
            let exact = exact || wanted.contains_key("policyTypes");
            for (key, wanted) in wanted {
                let path = joined(path, key);
                let of_quantities = QUANTITIES.contains(&field) || QUANTITIES.contains(&key.as_str());
                let place = Place {
                    path: &path,
                    field: if of_quantities { QUANTITIES[0] } else { key },
                    exact: exact || EXACT.contains(&key.as_str()),
                };
                compare(place, live.get(key).unwrap_or(&Value::Null), wanted, differences);
            }
            let added = live.iter().filter(|(key, value)| exact && !wanted.contains_key(*key) && !is_empty(value));
            differences.extend(added.map(|(key, value)| Difference {
                path: joined(path, key),
                found: value.clone(),
                wanted: Value::Null,
            }));
        }
        (Value::Array(live), Value::Array(wanted)) if !exact => lists(place, live, wanted, differences),
        (Value::Array(live), Value::Array(wanted)) if live.len() == wanted.len() => {
            for (index, (live, wanted)) in live.iter().zip(wanted).enumerate() {
                compare(Place { path: &format!("{path}[{index}]"), ..place }, live, wanted, differences);
            }
        }
        (live, wanted) if is_same(field, live, wanted) => {}
        (live, wanted) => {
            differences.push(Difference { path: path.to_owned(), found: live.clone(), wanted: wanted.clone() });
        }
    }
}

/// Compares a list of which others may have a part.
fn lists(place: Place<'_>, live: &[Value], wanted: &[Value], differences: &mut Vec<Difference>) {
    let Place { path, field, .. } = place;
    let mut rest = live.iter();
    for (index, item) in wanted.iter().enumerate() {
        let Some(key) = key_of(field, item) else {
            // In our order, with those of others anywhere between.
            if !rest.any(|live| is_contained(place, live, item)) {
                let path = format!("{path}[{index}]");
                differences.push(Difference { path, found: Value::Null, wanted: item.clone() });
            }
            continue;
        };
        let path = format!("{path}[{}]", key.join("/"));
        // Of variables of one name the last holds.
        match live.iter().rev().find(|live| key_of(field, live).as_ref() == Some(&key)) {
            Some(live) => compare(Place { path: &path, ..place }, live, item, differences),
            None => differences.push(Difference { path, found: Value::Null, wanted: item.clone() }),
        }
    }
}

fn is_contained(place: Place<'_>, live: &Value, wanted: &Value) -> bool {
    let mut differences = Vec::new();
    compare(place, live, wanted, &mut differences);
    differences.is_empty()
}

/// Returns what tells an item from the others of its list; `None`: nothing does.
fn key_of(field: &str, item: &Value) -> Option<Vec<String>> {
    let text = |pointer: &&str| match item.pointer(pointer) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        None if *pointer == "/protocol" => Some("TCP".to_owned()),
        _ => None,
    };
    let key = |pointers: &[&str]| pointers.iter().map(text).collect::<Option<Vec<String>>>();
    if field == "ports" {
        return PORT_KEYS.into_iter().find_map(key);
    }
    let (_, pointers) = KEYS.iter().find(|(known, _)| *known == field)?;
    key(pointers)
}

fn is_same(field: &str, live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::String(live), Value::String(wanted)) if field == QUANTITIES[0] => {
            let of = |text: &str| text.parse::<Quantity>().ok();
            live == wanted || of(live).is_some_and(|live| Some(live) == of(wanted))
        }
        (Value::Null, wanted) => is_empty(wanted),
        (live, wanted) => live == wanted,
    }
}

fn joined(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_empty),
        Value::String(text) => text.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn said(live: Value, wanted: Value) -> Vec<String> {
        differences(&live, &wanted).iter().map(Difference::describe).collect()
    }

    #[test]
    fn tolerates_what_others_added_and_nothing_else() {
        let live = json!({"spec": {"replicas": 3, "strategy": {"type": "OnDelete"}, "items": [{"a": 1, "b": 2}]}});
        assert_eq!(
            said(live.clone(), json!({"spec": {"replicas": 3, "items": [{"a": 1}], "empty": {}, "text": ""}})),
            [""; 0]
        );
        assert_eq!(said(live.clone(), json!({"spec": {"replicas": 2}})), ["spec.replicas is '3' instead of '2'"]);
        assert_eq!(
            said(live.clone(), json!({"spec": {"items": [{"a": 1}, {"a": 1}]}})),
            [r#"spec.items[1] is missing instead of '{"a":1}'"#]
        );
        assert_eq!(said(live, json!({"spec": {"missing": 1}})), ["spec.missing is missing instead of '1'"]);
    }

    #[rstest]
    #[case("containers", json!({"name": "kafka", "image": "a"}), json!({"name": "sidecar", "image": "b"}))]
    #[case("initContainers", json!({"name": "first"}), json!({"name": "injected"}))]
    #[case("env", json!({"name": "A", "value": "1"}), json!({"name": "FOO", "value": "bar"}))]
    #[case("volumes", json!({"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}}), json!({"name": "token"}))]
    #[case("volumeMounts", json!({"mountPath": "/tmp", "name": "tmp"}), json!({"mountPath": "/token", "name": "token"}))]
    #[case("imagePullSecrets", json!({"name": "ours"}), json!({"name": "theirs"}))]
    #[case("tolerations", json!({"key": "a", "effect": "NoSchedule"}), json!({"key": "b", "effect": "NoExecute"}))]
    #[case("hostAliases", json!({"ip": "10.0.0.1", "hostnames": ["a"]}), json!({"ip": "10.0.0.2", "hostnames": ["b"]}))]
    #[case("ports", json!({"containerPort": 9092, "name": "kafka"}), json!({"containerPort": 9404, "protocol": "TCP"}))]
    #[case("ports", json!({"port": 9092, "name": "kafka"}), json!({"port": 9092, "protocol": "UDP"}))]
    #[case("topologySpreadConstraints",
        json!({"topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "maxSkew": 1}),
        json!({"topologyKey": "host", "whenUnsatisfiable": "DoNotSchedule", "maxSkew": 1}))]
    #[case("ownerReferences", json!({"uid": "1", "name": "users"}), json!({"uid": "2", "name": "other"}))]
    fn an_item_of_others_is_left_alone_wherever_it_stands(
        #[case] list: &str,
        #[case] ours: Value,
        #[case] theirs: Value,
    ) {
        for live in [json!([ours, theirs]), json!([theirs, ours])] {
            assert_eq!(said(json!({list: live}), json!({list: [ours]})), [""; 0]);
        }
        // The negative controls: ours is gone, or is another.
        assert_eq!(said(json!({list: [theirs]}), json!({list: [ours]})).len(), 1);
        let mut changed = ours.clone();
        let field =
            changed.as_object_mut().and_then(|fields| fields.values_mut().next_back()).expect("an item has fields");
        *field = json!("another");
        assert!(!said(json!({list: [changed, theirs]}), json!({list: [ours]})).is_empty());
    }

    #[test]
    fn of_two_variables_of_our_name_the_last_counts() {
        let ours = json!({"env": [{"name": "HEAP", "value": "1g"}]});
        let variable = |value: &str| json!({"name": "HEAP", "value": value});
        assert_eq!(said(json!({"env": [variable("1g"), variable("2g")]}), ours.clone()).len(), 1);
        assert_eq!(said(json!({"env": [variable("2g"), variable("1g")]}), ours), [""; 0]);
    }

    #[test]
    fn an_addition_that_changes_the_meaning_is_a_difference() {
        let rule = |namespace: &str| json!({"from": [{"namespaceSelector": {"matchLabels": {"name": namespace}}}]});
        assert_eq!(
            said(json!({"spec": {"ingress": [rule("a"), rule("b")]}}), json!({"spec": {"ingress": [rule("a")]}})).len(),
            1
        );
        let anywhere = json!({"spec": {"ingress": [{"from": [{"namespaceSelector": {}}]}]}});
        assert_eq!(said(anywhere.clone(), anywhere.clone()), [""; 0]);
        assert_eq!(said(json!({"spec": {"ingress": [rule("a")]}}), anywhere).len(), 1);
        assert_eq!(said(json!({"command": ["run", "--fast"]}), json!({"command": ["run"]})).len(), 1);
        assert_eq!(
            said(json!({"selector": {"app": "a", "track": "b"}}), json!({"selector": {"app": "a"}})),
            ["selector.track is 'b' instead of absent"]
        );
    }

    #[test]
    fn takes_a_quantity_for_the_same_in_every_form() {
        let requests = |cpu: &str, memory: &str| json!({"resources": {"requests": {"cpu": cpu, "memory": memory}}});
        let live = requests("334m", "1536Mi");
        for (cpu, memory) in [("0.3333", "1.5Gi"), ("334m", "1610612736"), ("334e-3", "1610612736000m")] {
            assert_eq!(said(live.clone(), requests(cpu, memory)), [""; 0], "{cpu} {memory}");
        }
        for (cpu, memory) in [("0.6", "1.5Gi"), ("334m", "1.5G"), ("334", "1.5Gi"), ("many", "1.5Gi")] {
            assert_eq!(said(live.clone(), requests(cpu, memory)).len(), 1, "{cpu} {memory}");
        }
        let volume = |limit: &str| json!({"volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": limit}}]});
        assert_eq!(said(volume("256Mi"), volume("0.25Gi")), [""; 0]);
        // Elsewhere a text is a text.
        assert_eq!(said(json!({"annotation": "500m"}), json!({"annotation": "0.5"})).len(), 1);
    }

    #[test]
    fn a_path_names_the_item_and_long_values_are_cut() {
        let of = |image: &str| json!({"spec": {"containers": [{"name": "kafka", "image": image}]}});
        let found = differences(&of("a"), &of(&"b".repeat(100)));
        assert_eq!(found[0].path, "spec.containers[kafka].image");
        assert_eq!(found[0].field(), "image");
        assert!(found[0].describe().ends_with("…'"), "{}", found[0].describe());
    }

    #[test]
    fn a_network_policy_that_others_open_is_different() {
        let wanted =
            json!({"spec": {"podSelector": {"matchLabels": {"a": "b"}}, "policyTypes": ["Ingress"], "ingress": []}});
        let live = |pointer: &str, value: Value| {
            let mut live = wanted.clone();
            *live.pointer_mut(pointer).expect("it is there") = value;
            differences(&live, &wanted).len()
        };
        assert_eq!(
            differences(
                &json!({"spec": {"podSelector": {"matchLabels": {"a": "b"}}, "policyTypes": ["Ingress"]}}),
                &wanted
            ),
            []
        );
        assert_eq!(live("/spec/ingress", json!([{}])), 1);
        let narrowed = json!({"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "x", "operator": "Exists"}]});
        assert_eq!(live("/spec/podSelector", narrowed), 1);
        assert_eq!(live("/spec/policyTypes", json!(["Ingress", "Egress"])), 1);
    }
}
