//! What Helm makes of the chart without a cluster: lint, what must hold over a matrix of values, what single values do,
//! and which values are refused. Each rule has its negative control: it must find the fault in a broken rendering.
//!
//! `cargo test --workspace --test chart -- --ignored` uses the `helm` on PATH.

#![expect(clippy::disallowed_methods, reason = "it runs Helm, and waits for it")]

#[path = "chart/helm.rs"]
mod helm;
#[path = "chart/rules.rs"]
mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use helm::{Rendering, helm, render, render_as};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::api::rbac::v1::Role;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use rstest::rstest;
use rules::Rule;
use serde_json::{Value, json};

/// Cases by name, each with the flags of its values.
const MATRIX: [(&str, &[&str]); 14] = [
    ("defaults", &[]),
    ("namespace-scope", &["--set", "scope=namespace"]),
    ("namespaces", &["--set", "scope=namespace,watchNamespaces={a,b}"]),
    ("no-crds", &["--set", "crds.install=false"]),
    (NO_RBAC, &["--set", "rbac.create=false"]),
    (
        "no-policy",
        &["--set", "admissionPolicy.create=false,admissionPolicy.references=false,admissionPolicy.ownAccount=false"],
    ),
    ("no-account", &["--set", "serviceAccount.create=false"]),
    ("replicas", &["--set", "replicaCount=3,podDisruptionBudget.enabled=true"]),
    ("closed", &["--set", "metrics.service.enabled=false"]),
    ("open", &["--set", "networkPolicy.enabled=false,console.enabled=true"]),
    ("console", &["--set", "console.enabled=true"]),
    ("console-namespaces", &["--set", "console.enabled=true,scope=namespace,watchNamespaces={a,b}"]),
    ("everything", &["--values", "test-values.yaml"]),
    (
        "demo",
        &["--values", "../examples/demo-values.yaml", "--set", "image.tag=t,worker.image.tag=t,console.image.tag=t"],
    ),
];

const NO_RBAC: &str = "no-rbac";

/// What each case of the matrix renders.
static RENDERED: LazyLock<BTreeMap<&str, Rendering>> = LazyLock::new(|| {
    let render = |flags| render(flags).unwrap_or_else(|error| panic!("helm template {flags:?}: {error}"));
    MATRIX.iter().map(|(name, flags)| (*name, render(flags))).collect()
});

#[test]
#[ignore = "needs helm"]
fn the_chart_passes_lint_and_packages() {
    for arguments in [
        &["lint", "--quiet", "millrace"][..],
        &["lint", "--quiet", "millrace", "--values", "test-values.yaml"],
        &["package", "millrace", "--destination", env!("CARGO_TARGET_TMPDIR")],
    ] {
        let ended = helm(arguments);
        assert!(ended.is_ok(), "helm {arguments:?}: {ended:?}");
    }
    let without_chart = ["lint", "--quiet", "templates"];
    assert!(helm(&without_chart).is_err(), "helm passes what is no chart");
}

// --- what holds of every rendering

#[rstest]
#[case::no_wildcards(rules::wildcards)]
#[case::no_forbidden_rights(rules::forbidden_rights)]
#[case::the_console_only_looks(rules::console_changes)]
#[case::pods_are_restricted(rules::unrestricted_pods)]
#[case::labels_are_short(rules::long_labels)]
#[ignore = "needs helm"]
fn holds_over_the_matrix(#[case] rule: Rule) {
    assert_eq!(faults(RENDERED.iter(), rule), [""; 0]);
}

#[test]
#[ignore = "needs helm"]
fn leases_are_granted_in_the_operators_namespace_alone() {
    let with_roles = RENDERED.iter().filter(|(name, _)| **name != NO_RBAC);
    assert_eq!(faults(with_roles, rules::leases_elsewhere), [""; 0]);
}

#[test]
#[ignore = "needs helm"]
fn the_longest_names_make_labels_that_fit() {
    let (release, name) = ("r".repeat(53), format!("nameOverride={}", "n".repeat(63)));
    let rendered = render_as(&release, &["--set", &name]).expect("the longest names are rendered");
    assert_eq!(rules::long_labels(&rendered), [""; 0]);
}

/// Returns what breaks a rule, each with its case.
fn faults<'a>(cases: impl Iterator<Item = (&'a &'a str, &'a Rendering)>, rule: Rule) -> Vec<String> {
    cases
        .flat_map(|(name, rendering)| rule(rendering).into_iter().map(move |fault| format!("{name}: {fault}")))
        .collect()
}

// --- the rules themselves: each finds what it forbids

#[rstest]
#[case("apiGroups")]
#[case("resources")]
#[case("verbs")]
#[ignore = "needs helm"]
fn finds_a_wildcard(#[case] field: &str) {
    for kind in ["ClusterRole", "Role"] {
        let broken = RENDERED["defaults"].with_last(kind, |role| role["rules"][0][field] = json!(["*"]));
        assert_eq!(rules::wildcards(&broken).len(), 1, "{kind}");
    }
}

#[test]
#[ignore = "needs helm"]
fn finds_rules_by_aggregation() {
    let everything = json!({"clusterRoleSelectors": [{"matchLabels": {"anything": "true"}}]});
    let broken = RENDERED["defaults"].with_last("ClusterRole", |role| role["aggregationRule"] = everything);
    assert_eq!(rules::wildcards(&broken).len(), 1);
}

#[rstest]
#[case("resources", json!(["pods", "secrets"]))]
#[case("resources", json!(["nodes"]))]
#[case("resources", json!(["pods/exec"]))]
#[case("resources", json!(["clusterrolebindings"]))]
#[case("resources", json!(["tokenreviews"]))]
#[case("verbs", json!(["impersonate"]))]
#[case("verbs", json!(["escalate"]))]
#[case("verbs", json!(["bind"]))]
#[ignore = "needs helm"]
fn finds_a_forbidden_right(#[case] field: &str, #[case] words: Value) {
    for kind in ["ClusterRole", "Role"] {
        let broken = RENDERED["defaults"].with_last(kind, |role| role["rules"][0][field] = words.clone());
        assert_eq!(rules::forbidden_rights(&broken).len(), 1, "{kind}");
    }
}

#[rstest]
#[case::all_of_them(json!({"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}))]
#[case::another(json!({"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["some"], "verbs": ["get"]}))]
#[case::lists(json!({"apiGroups": [""], "resources": ["secrets"], "verbs": ["list"]}))]
#[ignore = "needs helm"]
fn finds_a_right_to_more_secrets_than_the_key(#[case] rule: Value) {
    for kind in ["ClusterRole", "Role"] {
        let broken = RENDERED["defaults"].with_last(kind, |role| role["rules"][0] = rule.clone());
        assert_eq!(rules::forbidden_rights(&broken).len(), 1, "{kind}");
    }
}

#[rstest]
#[case::deletes(json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch", "delete"]}))]
#[case::creates_pods(json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["create"]}))]
#[case::creates_pods_too(json!({"apiGroups": [""], "resources": ["tokenreviews", "pods"], "verbs": ["create"]}))]
#[ignore = "needs helm"]
fn finds_a_console_that_does_more_than_look(#[case] rule: Value) {
    let broken = RENDERED["console-namespaces"].with_last("ClusterRole", |role| {
        role["metadata"]["labels"]["app.kubernetes.io/component"] = json!("console");
        role["rules"][0] = rule;
    });
    assert_eq!(rules::console_changes(&broken).len(), 1);
}

#[test]
#[ignore = "needs helm"]
fn finds_leases_elsewhere_twice_and_nowhere() {
    let defaults = &RENDERED["defaults"];
    let lease = json!({"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get"]});
    let everywhere = defaults.with_last("ClusterRole", |role| role["rules"][0] = lease.clone());
    let twice = defaults.with_last("Role", |role| role["rules"][0] = lease);
    assert_eq!(rules::leases_elsewhere(&everywhere).len(), 2);
    assert_eq!(rules::leases_elsewhere(&twice).len(), 2);
    assert_eq!(rules::leases_elsewhere(&RENDERED[NO_RBAC]).len(), 1);
    let elsewhere = render(&["--namespace", "elsewhere"]).expect("it renders");
    assert_eq!(rules::leases_elsewhere(&elsewhere).len(), 1);
}

#[rstest]
#[case("/securityContext", "runAsNonRoot")]
#[case("/securityContext", "seccompProfile")]
#[case("/containers/0", "securityContext")]
#[case("/containers/0/securityContext", "allowPrivilegeEscalation")]
#[case("/containers/0/securityContext", "readOnlyRootFilesystem")]
#[case("/containers/0/securityContext", "capabilities")]
#[case("/containers/0/resources/limits", "memory")]
#[ignore = "needs helm"]
fn finds_a_pod_without_a_restriction(#[case] place: &str, #[case] field: &str) {
    let with_console = &RENDERED["console"];
    for (kind, spec) in [("Deployment", "/spec/template/spec"), ("Pod", "/spec")] {
        let broken = with_console.with_last(kind, |object| {
            let holder = object.pointer_mut(&format!("{spec}{place}")).and_then(Value::as_object_mut);
            holder.expect("an object").remove(field);
        });
        assert_ne!(rules::unrestricted_pods(&broken), [""; 0], "{kind}");
    }
}

#[rstest]
#[case("/spec", "hostNetwork", json!(true))]
#[case("/spec", "hostPID", json!(true))]
#[case("/spec", "hostIPC", json!(true))]
#[case("/spec", "volumes", json!([{"name": "host", "hostPath": {"path": "/"}}]))]
#[case("/spec/containers/0/securityContext/capabilities", "add", json!(["NET_ADMIN"]))]
#[case("/spec/containers/0/securityContext", "privileged", json!(true))]
#[case("/spec/containers/0/securityContext", "runAsNonRoot", json!(false))]
#[case("/spec/containers/0/securityContext", "seccompProfile", json!({"type": "Unconfined"}))]
#[case("/spec", "initContainers", json!([{"name": "first", "resources": {"limits": {"memory": "1Mi"}}}]))]
#[ignore = "needs helm"]
fn finds_a_pod_with_too_much(#[case] place: &str, #[case] field: &str, #[case] value: Value) {
    let broken = RENDERED["defaults"].with_last("Pod", |object| {
        object.pointer_mut(place).expect("the place is there")[field] = value;
    });
    assert_ne!(rules::unrestricted_pods(&broken), [""; 0]);
}

#[test]
#[ignore = "needs helm"]
fn finds_a_privileged_operator_and_the_absence_of_pods() {
    let privileged = render(&["--set", "securityContext.privileged=true"]).expect("it renders");
    assert_ne!(rules::unrestricted_pods(&privileged), [""; 0]);
    assert_ne!(rules::unrestricted_pods(&Rendering::default()), [""; 0]);
}

#[test]
#[ignore = "needs helm"]
fn finds_a_long_label() {
    let long = json!("l".repeat(64));
    for place in ["/metadata/labels", "/spec/template/metadata/labels"] {
        let broken = RENDERED["defaults"].with_last("Deployment", |object| {
            object.pointer_mut(place).expect("it has labels")["team"] = long.clone();
        });
        assert_eq!(rules::long_labels(&broken).len(), 1, "{place}");
    }
}

// --- what single values do

const VERSION: &str = env!("CARGO_PKG_VERSION");
const KEEP: &str = "helm.sh/resource-policy";

#[test]
#[ignore = "needs helm"]
fn the_defaults_are_one_operator_for_the_whole_cluster() {
    let defaults = &RENDERED["defaults"];
    let expected = BTreeMap::from([
        ("ClusterRole", 3),
        ("ClusterRoleBinding", 1),
        ("CustomResourceDefinition", 2),
        ("Deployment", 1),
        ("NetworkPolicy", 1),
        ("Pod", 1),
        ("Role", 3),
        ("RoleBinding", 3),
        ("Service", 1),
        ("ServiceAccount", 2),
        ("ValidatingAdmissionPolicy", 5),
        ("ValidatingAdmissionPolicyBinding", 5),
    ]);
    assert_eq!(defaults.kinds(), expected);
    for crd in defaults.all::<CustomResourceDefinition>() {
        assert_eq!(annotation(&crd.metadata, KEEP), Some("keep"));
    }
    let operator = container(defaults, "operator");
    assert_eq!(operator.image, Some(format!("millrace/operator:{VERSION}")));
    assert!(has_argument(&operator, &format!("--worker-image=millrace/worker:{VERSION}")));
    for absent in ["--watch-namespace", "--allowed-source-host"] {
        assert!(lacks_argument(&operator, absent), "{absent}");
    }
}

#[rstest]
#[case("no-crds", "CustomResourceDefinition", 0)]
#[case("no-policy", "ValidatingAdmissionPolicy", 0)]
#[case("no-policy", "ValidatingAdmissionPolicyBinding", 0)]
#[case("no-rbac", "ClusterRole", 0)]
#[case::that_of_the_test_alone("no-account", "ServiceAccount", 1)]
#[case("namespace-scope", "ClusterRoleBinding", 0)]
#[case("replicas", "PodDisruptionBudget", 1)]
#[case("closed", "NetworkPolicy", 1)]
#[case("open", "NetworkPolicy", 0)]
#[case("closed", "Service", 0)]
#[case("console", "Deployment", 2)]
#[case("console", "ClusterRole", 6)]
#[case("console", "ClusterRoleBinding", 2)]
#[case("console-namespaces", "ClusterRoleBinding", 1)]
#[case("console-namespaces", "NetworkPolicy", 2)]
#[ignore = "needs helm"]
fn renders_as_many_of_a_kind_as_the_values_ask_for(#[case] case: &str, #[case] kind: &str, #[case] expected: usize) {
    assert_eq!(RENDERED[case].count(kind), expected);
}

#[test]
#[ignore = "needs helm"]
fn watched_namespaces_have_a_role_each() {
    let own = container(&RENDERED["namespace-scope"], "operator");
    assert!(has_argument(&own, "--watch-namespace=home"));

    let namespaces = &RENDERED["namespaces"];
    let operator = container(namespaces, "operator");
    assert!(has_argument(&operator, "--watch-namespace=a") && has_argument(&operator, "--watch-namespace=b"));
    let test = &namespaces.all::<Pod>()[0].spec.clone().expect("a pod has a spec").containers[0];
    assert!(has_argument(test, "--namespace=a"));
    // The operator's in each, the key's and the lease's, the test's.
    assert_eq!(role_namespaces(namespaces), ["a", "a", "b", "home", "home"]);
    // The console's in each besides.
    assert_eq!(role_namespaces(&RENDERED["console-namespaces"]), ["a", "a", "a", "b", "b", "home", "home"]);
}

#[test]
#[ignore = "needs helm"]
fn replicas_are_those_of_the_value() {
    let deployment = &RENDERED["replicas"].all::<Deployment>()[0];
    assert_eq!(deployment.spec.as_ref().and_then(|spec| spec.replicas), Some(3));
}

#[test]
#[ignore = "needs helm"]
fn the_console_neither_masks_nor_wants_tls_by_itself() {
    let console = container(&RENDERED["console"], "console");
    assert_eq!(console.image, Some(format!("millrace/console:{VERSION}")));
    for absent in ["--masked-field", "--secure-cookies"] {
        assert!(lacks_argument(&console, absent), "{absent}");
    }
}

#[test]
#[ignore = "needs helm"]
fn every_value_reaches_its_place() {
    let everything = &RENDERED["everything"];
    let (operator, console) = (container(everything, "operator"), container(everything, "console"));
    let digest = format!("registry.example.com/millrace/operator@sha256:{}", "a".repeat(64));
    assert_eq!(operator.image, Some(digest));
    for argument in [
        "--worker-image=registry.example.com/millrace/worker:1.2.3",
        "--allowed-source-host=sample-source.demo.svc",
        "--image-pull-secret=pipelines",
        "--worker-env=RUST_LOG=debug",
        "--worker-env=FORBIDDEN_SOURCE_NETWORKS=203.0.113.0/24,2001:db8::/32",
        "--extra",
    ] {
        assert!(has_argument(&operator, argument), "{argument}");
    }
    for argument in ["--masked-field=email", "--secure-cookies"] {
        assert!(has_argument(&console, argument), "{argument}");
    }
    let log_level = operator.env.iter().flatten().find(|variable| variable.name == "RUST_LOG");
    assert_eq!(log_level.and_then(|variable| variable.value.as_deref()), Some("info,kube=warn"));
    for crd in everything.all::<CustomResourceDefinition>() {
        assert_eq!(annotation(&crd.metadata, KEEP), None);
    }
}

#[test]
#[ignore = "needs helm"]
fn the_hooks_of_the_test_are_not_part_of_the_release() {
    let objects = RENDERED["defaults"].objects().iter();
    let hooks: Vec<&str> = objects
        .filter(|object| object["metadata"]["annotations"]["helm.sh/hook"] == "test")
        .map(|object| object["kind"].as_str().expect("an object has a kind"))
        .collect();
    assert_eq!(hooks, ["ServiceAccount", "Role", "RoleBinding", "Pod"]);
}

/// Returns the only container of a component's Deployment.
fn container(rendering: &Rendering, component: &str) -> Container {
    let deployments = rendering.all::<Deployment>();
    let labelled = |deployment: &&Deployment| {
        let labels = deployment.metadata.labels.as_ref();
        labels.is_some_and(|labels| labels["app.kubernetes.io/component"] == component)
    };
    let deployment = deployments.iter().find(labelled).expect("the component has a Deployment");
    let pod = deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref()).expect("a Deployment has a pod");
    let [container] = pod.containers.as_slice() else { panic!("{component} has one container") };
    container.clone()
}

fn has_argument(container: &Container, argument: &str) -> bool {
    container.args.iter().flatten().any(|given| given == argument)
}

fn lacks_argument(container: &Container, flag: &str) -> bool {
    !container.args.iter().flatten().any(|given| given.starts_with(flag))
}

fn annotation<'a>(metadata: &'a ObjectMeta, name: &str) -> Option<&'a str> {
    metadata.annotations.as_ref()?.get(name).map(String::as_str)
}

fn role_namespaces(rendering: &Rendering) -> Vec<String> {
    let roles = rendering.all::<Role>().into_iter();
    let mut namespaces: Vec<String> = roles.filter_map(|role| role.metadata.namespace).collect();
    namespaces.sort();
    namespaces
}

// --- which values are refused

#[rstest]
#[case("repliccaCount=2", "repliccaCount")]
#[case("image.tga=1", "tga")]
#[case("image.pullPolicy=Sometimes", "pullPolicy")]
#[case("scope=galaxy", "scope")]
#[case("sources.allowedHost=x", "allowedHost")]
#[case("sources.allowedHosts={http://x}", "allowedHosts")]
#[case("sources.forbiddenNetworks={203.0.113.1}", "forbiddenNetworks")]
#[case("externalStores.allowed={http://x}", "allowed")]
#[case("admissionPolicy.image={x}", "image")]
#[case("admissionPolicy.ownAccount=sometimes", "ownAccount")]
#[case("crds.instal=true", "instal")]
#[case("worker.env.A-B=1", "A-B")]
#[case("tests.timeout=soon", "timeout")]
#[case("watchNamespaces={a}", "watchNamespaces")]
#[case("resources.limit.memory=1Gi", "limit")]
#[case("metrics.service.port=http", "port")]
#[case("image.digest=sha256:abc", "digest")]
#[case("serviceAccount.nam=x", "nam")]
#[case("podDisruptionBudget.enabled=maybe", "enabled")]
#[case("console.enabled=yes-please", "enabled")]
#[case("console.maskedField=x", "maskedField")]
#[case(r"console.maskedFields={a\,b}", "maskedFields")]
#[case("console.service.port=0", "port")]
#[ignore = "needs helm"]
fn a_value_that_cannot_be_is_refused_by_its_name(#[case] value: &str, #[case] name: &str) {
    let refusal = render(&["--set", value]).expect_err("it is refused");
    assert!(refusal.contains("values don't meet the specifications of the schema"), "{refusal}");
    assert!(refusal.contains(name), "{refusal}");
}

// --- the matrix itself

#[test]
fn test_values_set_every_value() {
    let (values, test_values) =
        (include_str!("../../charts/millrace/values.yaml"), include_str!("../../charts/test-values.yaml"));
    assert_eq!(unset(values, test_values), BTreeSet::new());
    let without_worker = test_values.replace("\nworker:", "\nworkers:");
    assert_eq!(unset(values, &without_worker), BTreeSet::from(["worker".to_owned()]));
}

/// Returns the values that another file of values does not set.
fn unset(values: &str, setting: &str) -> BTreeSet<String> {
    let names = |text: &str| -> BTreeSet<String> {
        serde_yaml::from_str::<BTreeMap<String, Value>>(text).expect("values are an object").into_keys().collect()
    };
    names(values).difference(&names(setting)).cloned().collect()
}
