//! The samples that a real API server refuses and accepts are refused and accepted here, at the same fields and in the
//! same words.

use std::fs;
use std::path::PathBuf;

use millrace_fuzz::{Corpus, feed};

use super::super::excerpt::excerpt;
use super::super::schema::KNOWN;
use super::*;
use crate::screen::Screen;

/// Samples by name, with their text.
fn samples(directory: &str) -> Vec<(String, String)> {
    let directory = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(directory);
    let mut samples: Vec<(String, String)> = fs::read_dir(&directory)
        .expect("the directory of samples")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| {
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            (name, fs::read_to_string(&path).expect("a sample"))
        })
        .collect();
    samples.sort();
    samples
}

/// The URL parser here takes `http:///path` for a URL of the host `path`; Go's does not.
const ONLY_IN_THE_CLUSTER: [&str; 1] = ["url-without-host"];

fn faults(text: &str) -> Vec<Fault> {
    check(&[text]).remove(0).faults
}

/// Returns what a refused sample says of itself: path and part of the message.
fn refusal(text: &str) -> (String, String) {
    let comment = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).expect("a refused sample says why");
    (comment("# path:").trim().to_owned(), comment("# says:").trim().to_owned())
}

#[test]
fn what_the_api_server_refuses_is_refused_at_the_same_field_in_the_same_words() {
    let mut wrong = Vec::new();
    let mut judged = 0;
    for (name, text) in samples("e2e/samples/refused") {
        // What became of an older object only the cluster knows.
        if text.contains("\n---") || ONLY_IN_THE_CLUSTER.contains(&name.as_str()) {
            continue;
        }
        judged += 1;
        let (path, says) = refusal(&text);
        let found = faults(&text);
        let fits =
            |fault: &Fault| (fault.path == path || fault.message.contains(&path)) && fault.message.contains(&says);
        if !found.iter().any(fits) {
            wrong.push(format!("{name}: wants [{path}] {says}\n    has {found:?}"));
        }
    }
    assert!(judged >= 100, "only {judged} samples");
    assert!(wrong.is_empty(), "{} of {judged}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn what_the_api_server_accepts_is_valid() {
    let samples: Vec<(String, String)> =
        samples("e2e/samples/accepted").into_iter().chain(samples("examples")).collect();
    assert!(samples.len() >= 25, "only {} samples", samples.len());
    let wrong: Vec<String> = samples
        .iter()
        .map(|(name, text)| (name, faults(text)))
        .filter(|(_, faults)| !faults.is_empty())
        .map(|(name, faults)| format!("{name}: {faults:?}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A rule that cannot be evaluated here would silently pass everything.
#[test]
fn every_rule_can_be_evaluated_and_every_keyword_is_known() {
    for crd in [StreamingPipeline::crd(), IngestionRun::crd()] {
        let kind = kind(&crd);
        walk(&kind.schema["properties"]["spec"], &mut |schema| {
            for keyword in schema.as_object().expect("a schema").keys() {
                assert!(KNOWN.contains(&keyword.as_str()), "{} has the keyword '{keyword}'", kind.name);
            }
        });
        for (name, text) in samples("e2e/samples/accepted").into_iter().chain(samples("e2e/samples/refused")) {
            for (document, _) in read(&text).expect("samples are YAML") {
                if kind_of(&document, std::slice::from_ref(&kind)).is_none() {
                    continue;
                }
                let value = kube_cel::apply_defaults(&kind.schema, &without_nulls(document));
                if !mismatches(&kind.schema, &value).is_empty() {
                    continue;
                }
                let errors = Validator::new().validate(&kind.schema, &value, None).err();
                for error in errors.map(|errors| errors.into_vec()).unwrap_or_default() {
                    assert_eq!(error.kind, ErrorKind::ValidationFailure, "{name}: {}: {}", error.rule, error.message);
                }
            }
        }
    }
}

/// What became of an older object only the cluster knows, but its rules can be tried here.
#[test]
fn sizes_and_releases_go_back_as_far_as_the_status_says() {
    let kind = kind(&StreamingPipeline::crd());
    let (_, text) =
        samples("e2e/samples/accepted").into_iter().find(|(name, _)| name == "one-of-each").expect("a sample");
    let resource: Value = serde_yaml::from_str(&text).expect("YAML");
    let resource = kube_cel::apply_defaults(&kind.schema, &resource);
    let with = |size: &str, version: &str| {
        let mut resource = resource.clone();
        resource["spec"]["kafka"]["storage"]["size"] = json!(size);
        resource["spec"]["cassandra"]["version"] = json!(version);
        resource
    };
    let refused = |before: &Value, after: Value| -> Vec<String> {
        let errors = Validator::new().validate(&kind.schema, &after, Some(before)).err();
        let errors = errors.map(|errors| errors.into_vec()).unwrap_or_default();
        errors.into_iter().map(|error| error.field_path.trim_start_matches('.').to_owned()).collect()
    };
    let nothing: [&str; 0] = [];
    let (size, version) = (["spec.kafka.storage.size"], ["spec.cassandra.version"]);

    let new = with("2Gi", "5.0.9");
    assert_eq!(refused(&new, with("3Gi", "5.0.8")), nothing, "nothing has run yet");
    assert_eq!(refused(&new, with("1Gi", "5.0.9")), size);
    let mut running = with("2Gi", "5.0.99");
    running["status"] = json!({
        "kafka": {"ready": "1/1", "storage": "1Gi"}, "cassandra": {"ready": "1/1", "version": "5.0.9"},
    });
    assert_eq!(refused(&running, with("1024Mi", "5.0.9")), nothing, "what no volume got and no node ran is taken back");
    assert_eq!(refused(&running, with("2Gi", "5.0.12")), nothing, "by its numbers");
    assert_eq!(refused(&running, with("1023Mi", "5.0.9")), size);
    assert_eq!(refused(&running, with("2Gi", "5.0.8")), version);
}

fn walk(schema: &Value, visit: &mut impl FnMut(&Value)) {
    visit(schema);
    for property in schema["properties"].as_object().into_iter().flat_map(|properties| properties.values()) {
        walk(property, visit);
    }
    for below in ["items", "additionalProperties"].map(|key| &schema[key]) {
        if below.is_object() {
            walk(below, visit);
        }
    }
}

#[test]
fn a_fault_knows_its_line() {
    let (_, text) =
        samples("e2e/samples/refused").into_iter().find(|(name, _)| name == "zookeeper-even").expect("a sample");
    let fault = faults(&text).remove(0);
    let line = text.lines().nth(fault.line - 1).expect("a line");
    assert!(line.contains("replicas"), "{fault:?} is at '{line}'");
}

#[test]
fn what_only_the_operator_sees_is_seen_with_the_expression() {
    let (_, text) =
        samples("e2e/samples/accepted").into_iter().find(|(name, _)| name == "one-of-each").expect("a sample");
    let mut resource: Value = serde_yaml::from_str(&text).expect("YAML");
    let fields = resource.pointer_mut("/spec/producer/sources/0/fields").expect("the sample maps fields");
    let (name, _) = fields.as_object().and_then(|fields| fields.iter().next()).expect("a field");
    let name = name.clone();
    fields[&name] = json!("record.a +");
    let text = serde_yaml::to_string(&resource).expect("YAML");
    let found = faults(&text);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].path, format!("spec.producer.sources[0].fields.{name}"));
    assert!(text.lines().nth(found[0].line - 1).is_some_and(|line| line.contains("record.a +")));
}

#[test]
fn a_run_is_held_against_its_pipeline_where_that_is_given() {
    let (_, pipeline) =
        samples("e2e/samples/accepted").into_iter().find(|(name, _)| name == "one-of-each").expect("a sample");
    let resource: StreamingPipeline = serde_yaml::from_str(&pipeline).expect("a pipeline");
    let run = format!(
        "apiVersion: millrace.dev/v1alpha1\nkind: IngestionRun\nmetadata: {{name: again}}\n\
         spec:\n  pipeline: {}\n  source: nobody\n",
        resource.name_any()
    );
    assert_eq!(faults(&run), []);
    let checked = check(&[&run, &pipeline]);
    assert_eq!((checked[0].resources, checked[0].faults.len()), (1, 1));
    assert!(checked[0].faults[0].message.contains("has no source 'nobody'"), "{:?}", checked[0].faults);
    assert_eq!(checked[0].faults[0].line, 6);
}

#[test]
fn what_is_not_ours_is_passed_over_unless_it_is_nearly() {
    assert_eq!(check(&["apiVersion: v1\nkind: ConfigMap\n"]), [Checked::default()]);
    let old = faults("apiVersion: millrace.dev/v1\nkind: StreamingPipeline\n");
    assert!(old[0].message.starts_with("there is no StreamingPipeline of millrace.dev/v1;"), "{old:?}");
    assert_eq!(faults("a: [1,\n")[0].path, "");
}

#[test]
fn scalars_are_judged_as_kubectl_reads_them() {
    let (_, good) =
        samples("e2e/samples/accepted").into_iter().find(|(name, _)| name == "tombstones-delete").expect("a sample");
    let with = |from: &str, to: &str| {
        let text = good.replacen(from, to, 1);
        assert_ne!(text, good);
        faults(&text)
    };
    for name in ["y", "n", "yes", "No", "on", "OFF"] {
        let found = with("name: email", &format!("name: {name}"));
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        assert_eq!(found[0].path, "spec.cassandra.tables[0].columns[1].name");
        let says = format!("must be of type string, not boolean; kubectl reads the unquoted {name} as ");
        assert!(found[0].message.starts_with(&says), "{}", found[0].message);
    }
    let null = with("name: email", "name: ~");
    assert!(null[0].message.contains("is missing; kubectl reads the unquoted ~ as null"), "{null:?}");
    // Quoted it is a name, and where a number is wanted it may be written in any of YAML 1.1's ways.
    for (from, to) in [
        ("name: email", "name: 'y'"),
        ("replicas: 1", "replicas: 0x1"),
        ("partitions: 3", "partitions: 0_3"),
        ("partitions: 3", "partitions: 3.0"),
    ] {
        assert_eq!(with(from, to), [], "{to}");
    }
    let octal = with("replicas: 1", "replicas: 010");
    assert!(octal[0].message.contains("kubectl reads the unquoted 010 as 8"), "{octal:?}");
}

/// Pieces that mean something in YAML, and names of ours.
const WORDS: &[&str] = &[
    "- ",
    ": ",
    "? ",
    "\n",
    "\n  ",
    "---\n",
    "...\n",
    "&a ",
    "*a",
    "<<: ",
    "[",
    "]",
    "{",
    "}",
    ",",
    "'",
    "\"",
    "|\n",
    ">-\n",
    "!!int ",
    "!x ",
    "%YAML 1.2\n",
    "#",
    "\t",
    "\u{feff}",
    "\u{0}",
    "~",
    "0x1f",
    ".nan",
    "1e999",
    "kind: IngestionRun\n",
    "spec:\n",
];

#[test]
fn no_yaml_breaks_its_reader() {
    let inputs: &[&[u8]] = &[
        b"a: &x {b: [1, 'c', \"d\\u00e9\"]}\ne: *x\n---\n- |\n  text\n- ? k\n  : v\n",
        b"apiVersion: millrace.dev/v1alpha1\nkind: IngestionRun\nmetadata: {name: a}\nspec: {pipeline: users, source: s}\n",
    ];
    feed("YAML", Corpus { inputs, words: WORDS, longest: 16 << 10 }, |input| {
        let text = String::from_utf8_lossy(input);
        if let Err(fault) = read(&text) {
            let _ = excerpt("a.yaml", &text, &fault, &Screen::default());
        }
    });
}

/// Whole resources, judged as far as `validate` judges them, and what is wrong with them drawn.
#[test]
fn no_resource_breaks_its_judge() {
    let samples = samples("e2e/samples/accepted");
    let inputs: Vec<&[u8]> = samples.iter().map(|(_, text)| text.as_bytes()).collect();
    feed("resources", Corpus { inputs: &inputs, words: WORDS, longest: 32 << 10 }, |input| {
        let text = String::from_utf8_lossy(input);
        for fault in faults(&text) {
            let _ = excerpt("a.yaml", &text, &fault, &Screen::default());
        }
    });
}
