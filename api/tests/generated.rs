//! What is generated from the Rust types is what is checked in, and keeps its promises: every field described, the
//! schema small.
//!
//! `UPDATE_GENERATED=1 cargo test --workspace --test generated` writes the files; `make generate` runs that.

#![expect(clippy::disallowed_methods, reason = "tests read fixtures and the clock")]

use std::fs;
use std::path::PathBuf;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionVersion, JSONSchemaProps, JSONSchemaPropsOrArray,
    JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;
use millrace_api::{IngestionRun, StreamingPipeline, reference};
use rstest::rstest;

/// Bytes that all annotations of an object may have together; `kubectl apply` keeps a copy of the object in one of them.
/// It is the nearest limit: a request to etcd may have 1.5 MiB.
const ANNOTATIONS: usize = 256 << 10;
/// Most bytes of a CRD: two versions of the API, each with its schema, must stand side by side while resources move from
/// one to the other (docs/decisions/0015-size-of-the-crd.md).
const LARGEST: usize = ANNOTATIONS / 2;

#[rstest]
#[case::pipeline(StreamingPipeline::crd())]
#[case::run(IngestionRun::crd())]
fn crd_is_the_checked_in_one(#[case] crd: CustomResourceDefinition) {
    let text = serde_yaml::to_string(&crd).expect("a CRD is YAML");
    let plural = &crd.spec.names.plural;
    compare(&format!("crds/{plural}.millrace.dev.yaml"), &text);
    compare(&format!("charts/millrace/files/{plural}.millrace.dev.yaml"), &text);
}

#[rstest]
#[case::pipeline(StreamingPipeline::crd())]
#[case::run(IngestionRun::crd())]
fn reference_is_the_checked_in_one(#[case] crd: CustomResourceDefinition) {
    let kind = crd.spec.names.kind.to_ascii_lowercase();
    compare(&format!("docs/reference/{kind}.md"), &reference::markdown(&crd));
}

#[rstest]
#[case::pipeline(StreamingPipeline::crd())]
#[case::run(IngestionRun::crd())]
fn two_versions_fit_into_what_kubectl_apply_keeps(#[case] crd: CustomResourceDefinition) {
    let size = bytes_in_annotation(&crd);
    assert!(size <= LARGEST, "the CRD has {size} bytes, more than {LARGEST}");
}

/// Negative control of the measure: text counts, and what Go escapes in JSON counts six bytes.
#[test]
fn a_longer_description_makes_a_larger_crd() {
    let described = |description: &str| {
        let mut crd = IngestionRun::crd();
        let schema = crd.spec.versions[0].schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut());
        schema.expect("a schema").description = Some(description.to_owned());
        bytes_in_annotation(&crd)
    };
    assert_eq!(described("a < b && c"), described("") + r"a \u003c b \u0026\u0026 c".len());
    assert!(described(&"a".repeat(LARGEST)) > LARGEST);
}

#[rstest]
#[case::pipeline(StreamingPipeline::crd())]
#[case::run(IngestionRun::crd())]
fn every_field_is_described(#[case] crd: CustomResourceDefinition) {
    assert_eq!(undescribed(schema(&crd)), [""; 0]);
}

/// Negative control of the walk: a description taken out anywhere is missed.
#[test]
fn a_field_without_description_is_found() {
    let mut crd = StreamingPipeline::crd();
    let schema = crd.spec.versions[0].schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut());
    let topics = property(property(property(schema.expect("a schema"), "spec"), "kafka"), "topics");
    let Some(JSONSchemaPropsOrArray::Schema(topic)) = topics.items.as_mut() else { panic!("topics are a list") };
    property(topic, "partitions").description = None;
    assert_eq!(undescribed(self::schema(&crd)), ["spec.kafka.topics[].partitions"]);
}

#[rstest]
#[case::pipeline(StreamingPipeline::crd())]
#[case::run(IngestionRun::crd())]
fn every_rule_says_what_to_do(#[case] crd: CustomResourceDefinition) {
    walk("", schema(&crd), &mut |path, schema| {
        for rule in schema.x_kubernetes_validations.iter().flatten() {
            assert!(rule.message.is_some() || rule.message_expression.is_some(), "{path}: a rule without message");
        }
    });
}

/// Every list says what makes its items one, so that server-side apply and transition rules can tell them apart.
#[rstest]
#[case::pipeline(StreamingPipeline::crd())]
#[case::run(IngestionRun::crd())]
fn every_list_of_objects_has_keys(#[case] crd: CustomResourceDefinition) {
    walk("", schema(&crd), &mut |path, schema| {
        let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items else {
            return;
        };
        if items.properties.is_some() {
            assert!(schema.x_kubernetes_list_map_keys.is_some(), "{path} is a list without keys");
        }
    });
}

#[test]
fn columns_and_names_are_as_promised() {
    let crd = StreamingPipeline::crd();
    let columns = version(&crd).additional_printer_columns.as_deref().unwrap_or_default();
    let usual = columns.iter().filter(|column| column.priority.is_none()).map(|column| column.name.as_str());
    let promised = ["Ready", "Reason", "ZK", "Kafka", "Cassandra", "Producers", "Processors", "Lag", "Age"];
    assert_eq!(usual.collect::<Vec<_>>(), promised);
    assert_eq!(crd.spec.names.short_names, Some(vec!["spl".to_owned()]));
    let subresources = version(&crd).subresources.as_ref().expect("subresources");
    let scale = subresources.scale.as_ref().expect("a scale subresource");
    assert_eq!(scale.spec_replicas_path, ".spec.processor.replicas");
    assert!(subresources.status.is_some());
}

#[test]
fn columns_and_names_of_a_run_are_as_promised() {
    let crd = IngestionRun::crd();
    let columns = version(&crd).additional_printer_columns.as_deref().unwrap_or_default();
    let usual = columns.iter().filter(|column| column.priority.is_none()).map(|column| column.name.as_str());
    let promised = ["Pipeline", "Source", "Phase", "Attempts", "Produced", "Rejected", "Duration", "Age"];
    assert_eq!(usual.collect::<Vec<_>>(), promised);
    assert_eq!(crd.spec.names.short_names, Some(vec!["irun".to_owned()]));
    assert!(version(&crd).subresources.as_ref().is_some_and(|subresources| subresources.status.is_some()));
}

/// Returns how long the copy is that `kubectl apply` keeps: JSON without spaces, as Go writes it.
fn bytes_in_annotation(crd: &CustomResourceDefinition) -> usize {
    let text = serde_json::to_string(crd).expect("a CRD is JSON");
    let escaped = text.matches(['<', '>', '&']).count();
    text.len() + escaped * (r"\u003c".len() - 1)
}

fn version(crd: &CustomResourceDefinition) -> &CustomResourceDefinitionVersion {
    crd.spec.versions.first().expect("a version")
}

fn schema(crd: &CustomResourceDefinition) -> &JSONSchemaProps {
    version(crd).schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref()).expect("a schema")
}

fn property<'a>(schema: &'a mut JSONSchemaProps, name: &str) -> &'a mut JSONSchemaProps {
    schema.properties.as_mut().and_then(|properties| properties.get_mut(name)).expect("a property")
}

fn undescribed(schema: &JSONSchemaProps) -> Vec<String> {
    let mut paths = Vec::new();
    walk("", schema, &mut |path, schema| {
        let described = schema.description.as_ref().is_some_and(|text| text.len() > 3 && text.ends_with(['.', '`']));
        if !described && !path.ends_with("[]") && !path.ends_with("{}") {
            paths.push(path.to_owned());
        }
    });
    paths
}

/// Visits a schema and all that is in it, with the path of each.
fn walk(path: &str, schema: &JSONSchemaProps, visit: &mut impl FnMut(&str, &JSONSchemaProps)) {
    visit(path, schema);
    for (name, property) in schema.properties.iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        walk(&path, property, visit);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
        walk(&format!("{path}[]"), items, visit);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &schema.additional_properties {
        walk(&format!("{path}{{}}"), values, visit);
    }
}

fn compare(path: &str, generated: &str) {
    let file = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(path);
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        fs::create_dir_all(file.parent().expect("a file is in a directory")).expect("create the directory");
        fs::write(&file, generated).expect("write the generated file");
        return;
    }
    let checked_in = fs::read_to_string(&file).unwrap_or_default();
    assert!(checked_in == generated, "{path} is not what the types say; run `make generate`");
}
