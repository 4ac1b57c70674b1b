//! Helm on the chart: the objects that it renders with some values, or why it refuses them.

use std::collections::BTreeMap;
use std::process::Command;

use k8s_openapi::Resource;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Namespace of the release.
pub const NAMESPACE: &str = "home";

const CHARTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts");

/// Objects of a release, in Helm's order.
#[derive(Clone, Debug, Default)]
pub struct Rendering(Vec<Value>);

impl Rendering {
    /// Returns every object.
    pub fn objects(&self) -> &[Value] {
        &self.0
    }

    /// Returns the objects of a kind, typed.
    pub fn all<T: Resource + DeserializeOwned>(&self) -> Vec<T> {
        let of_kind = self.0.iter().filter(|object| object["kind"] == T::KIND);
        of_kind.map(|object| serde_json::from_value(object.clone()).expect("an object is one of its kind")).collect()
    }

    /// Returns how many objects there are of each kind.
    pub fn kinds(&self) -> BTreeMap<&str, usize> {
        let mut kinds = BTreeMap::new();
        for object in &self.0 {
            *kinds.entry(object["kind"].as_str().expect("an object has a kind")).or_default() += 1;
        }
        kinds
    }

    /// Returns how many objects there are of one kind.
    pub fn count(&self, kind: &str) -> usize {
        self.kinds().get(kind).copied().unwrap_or_default()
    }

    /// Returns a copy with one change, to the last object of a kind: the first must not stand in for it.
    pub fn with_last(&self, kind: &str, change: impl FnOnce(&mut Value)) -> Self {
        let mut changed = self.clone();
        let last = changed.0.iter_mut().rfind(|object| object["kind"] == kind);
        change(last.unwrap_or_else(|| panic!("there is no {kind}")));
        assert_ne!(changed.0, self.0, "the change of the last {kind} changes nothing");
        changed
    }
}

/// Renders the release `m` of the chart.
///
/// # Errors
///
/// Returns Helm's own words when it refuses the values.
pub fn render(flags: &[&str]) -> Result<Rendering, String> {
    render_as("m", flags)
}

/// Renders a release of another name.
///
/// # Errors
///
/// Returns Helm's own words when it refuses the values.
pub fn render_as(release: &str, flags: &[&str]) -> Result<Rendering, String> {
    let command = ["template", release, "millrace", "--namespace", NAMESPACE, "--kube-version", "1.34.0"];
    let text = helm(&[&command, flags].concat())?;
    let documents = serde_yaml::Deserializer::from_str(&text);
    let values = documents.map(|document| Value::deserialize(document).expect("what Helm renders is YAML"));
    // A template that renders comments alone is an empty document.
    Ok(Rendering(values.filter(|value| !value.is_null()).collect()))
}

/// Runs Helm in the directory of the chart, and returns what it prints.
///
/// # Errors
///
/// Returns what it prints to its error output when it fails.
pub fn helm(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("helm").args(arguments).current_dir(CHARTS).output();
    let output = output.expect("helm is on PATH: 'make cluster' puts it into the cache's bin directory, for 'make'");
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).expect("Helm prints UTF-8"))
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}
