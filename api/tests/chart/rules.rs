//! What must hold of everything that the chart renders. Each rule returns what breaks it, with the object's name.

use k8s_openapi::api::core::v1::{Container, PodSecurityContext, PodSpec, SecurityContext};
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule, Role};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use crate::helm::{NAMESPACE, Rendering};

/// A rule: returns the faults of a rendering.
pub type Rule = fn(&Rendering) -> Vec<String>;

/// Longest value of a label.
const LONGEST_LABEL: usize = 63;

/// Rights that nobody gets: to Secrets and nodes, into pods, and to more rights. Parts of names, in lower case.
const FORBIDDEN: [&str; 9] = [
    "secrets",
    "nodes",
    "pods/exec",
    "pods/attach",
    "serviceaccounts/token",
    "tokenreview",
    "impersonate",
    "escalate",
    "bind",
];

/// Returns the grants that name everything of a sort.
pub fn wildcards(rendering: &Rendering) -> Vec<String> {
    let mut faults = Vec::new();
    for grants in grants(rendering) {
        if grants.is_aggregated {
            faults.push(format!("{}: rules by aggregation are not in the chart", grants.object));
        }
        for words in grants.rules.iter().map(words) {
            faults.extend(words.iter().filter(|word| word.contains('*')).map(|word| grants.fault(word)));
        }
    }
    faults
}

/// Returns the grants of what is forbidden. Whose token it is, the console may ask, and nobody else; of Secrets the
/// operator has one.
pub fn forbidden_rights(rendering: &Rendering) -> Vec<String> {
    let mut faults = Vec::new();
    for grants in grants(rendering) {
        for rule in &grants.rules {
            let mut words = words(rule);
            words.retain(|word| !(grants.is_console && *word == "tokenreviews"));
            words.retain(|word| !(*word == "secrets" && is_own_key(&grants, rule)));
            let is_forbidden = |word: &&&str| FORBIDDEN.iter().any(|part| word.to_lowercase().contains(part));
            faults.extend(words.iter().filter(is_forbidden).map(|word| grants.fault(word)));
        }
    }
    faults
}

/// Returns whether a rule is about the operator's own key: to make it in the operator's own namespace, and to read it
/// there.
fn is_own_key(grants: &Grants, rule: &PolicyRule) -> bool {
    let names = rule.resource_names.as_deref().unwrap_or_default();
    let verbs: Vec<&str> = rule.verbs.iter().map(String::as_str).collect();
    let is_bound = match verbs.as_slice() {
        ["create"] => names.is_empty(),
        ["get"] => matches!(names, [only] if only.ends_with("-operator-key")),
        _ => false,
    };
    is_bound && grants.namespace.as_deref() == Some(NAMESPACE)
}

/// Returns what the console may do with its own account, besides looking and asking whose a token is.
pub fn console_changes(rendering: &Rendering) -> Vec<String> {
    let mut faults = Vec::new();
    for grants in grants(rendering).iter().filter(|grants| grants.is_console) {
        for rule in &grants.rules {
            let verbs: Vec<&str> = rule.verbs.iter().map(String::as_str).collect();
            let is_allowed = match verbs.as_slice() {
                ["get"] | ["list", "watch"] => true,
                ["create"] => rule.resources.as_deref() == Some(&["tokenreviews".to_owned()][..]),
                _ => false,
            };
            if !is_allowed {
                faults.push(grants.fault(&format!("{verbs:?} of {:?}", rule.resources)));
            }
        }
    }
    faults
}

/// Returns what is wrong with the grants of leases: one Role has them, in the operator's own namespace.
pub fn leases_elsewhere(rendering: &Rendering) -> Vec<String> {
    let mut leases = grants(rendering);
    leases.retain(|grants| grants.rules.iter().any(|rule| words(rule).contains(&"leases")));
    match leases.as_slice() {
        [only] if only.namespace.as_deref() == Some(NAMESPACE) => Vec::new(),
        [] => vec!["no Role grants leases".to_owned()],
        several => several.iter().map(|grants| grants.fault("leases")).collect(),
    }
}

/// Returns what of the restricted Pod Security Standard, and of ours on top, the pods miss.
pub fn unrestricted_pods(rendering: &Rendering) -> Vec<String> {
    let pods = pods(rendering);
    if pods.is_empty() {
        return vec!["there is no pod".to_owned()];
    }
    let mut faults = Vec::new();
    for (object, pod) in &pods {
        let mut fault = |what: &str| faults.push(format!("{object}: {what}"));
        if pod.host_network.or(pod.host_pid).or(pod.host_ipc).is_some() {
            fault("it shares a namespace of the host");
        }
        if pod.volumes.iter().flatten().any(|volume| volume.host_path.is_some()) {
            fault("it mounts a path of the host");
        }
        let of_pod = pod.security_context.clone().unwrap_or_default();
        for container in pod.containers.iter().chain(pod.init_containers.iter().flatten()) {
            missing_restrictions(&of_pod, container).into_iter().for_each(&mut fault);
        }
    }
    faults
}

fn missing_restrictions(of_pod: &PodSecurityContext, container: &Container) -> Vec<&'static str> {
    let SecurityContext {
        run_as_non_root,
        seccomp_profile,
        allow_privilege_escalation,
        read_only_root_filesystem,
        capabilities,
        privileged,
        ..
    } = container.security_context.clone().unwrap_or_default();
    let seccomp = seccomp_profile.or_else(|| of_pod.seccomp_profile.clone());
    let capabilities = capabilities.unwrap_or_default();
    let limits = container.resources.as_ref().and_then(|resources| resources.limits.as_ref());
    let mut missing = vec![
        (run_as_non_root.or(of_pod.run_as_non_root) == Some(true), "it may run as root"),
        (seccomp.is_some_and(|profile| profile.type_ == "RuntimeDefault"), "it lacks the runtime's seccomp profile"),
        (allow_privilege_escalation == Some(false), "it may gain privileges"),
        (read_only_root_filesystem == Some(true), "it may write to its image"),
        (capabilities.drop.iter().flatten().any(|name| name == "ALL"), "it keeps capabilities"),
        (capabilities.add.is_none(), "it adds capabilities"),
        (privileged != Some(true), "it is privileged"),
        (limits.is_some_and(|limits| limits.contains_key("memory")), "its memory has no limit"),
    ];
    missing.retain(|(holds, _)| !holds);
    missing.into_iter().map(|(_, what)| what).collect()
}

/// Returns the labels that the API server would refuse for their length.
pub fn long_labels(rendering: &Rendering) -> Vec<String> {
    let mut faults = Vec::new();
    for object in rendering.objects() {
        for place in ["/metadata/labels", "/spec/template/metadata/labels"] {
            let labels = object.pointer(place).and_then(Value::as_object).into_iter().flatten();
            let long = labels.filter(|(_, value)| value.as_str().is_none_or(|value| value.len() > LONGEST_LABEL));
            faults.extend(long.map(|(name, value)| format!("{}: label '{name}' is {value}", object["kind"])));
        }
    }
    faults
}

/// What a Role or ClusterRole grants.
struct Grants {
    object: String,
    namespace: Option<String>,
    is_console: bool,
    is_aggregated: bool,
    rules: Vec<PolicyRule>,
}

impl Grants {
    fn new(kind: &str, metadata: ObjectMeta, is_aggregated: bool, rules: Option<Vec<PolicyRule>>) -> Self {
        let component = metadata.labels.and_then(|mut labels| labels.remove("app.kubernetes.io/component"));
        Self {
            object: format!("{kind} '{}'", metadata.name.expect("a role has a name")),
            namespace: metadata.namespace,
            is_console: component.as_deref() == Some("console"),
            is_aggregated,
            rules: rules.unwrap_or_default(),
        }
    }

    fn fault(&self, what: &str) -> String {
        format!("{} in {:?} grants '{what}'", self.object, self.namespace)
    }
}

fn grants(rendering: &Rendering) -> Vec<Grants> {
    let roles = rendering.all::<Role>().into_iter();
    let cluster_roles = rendering.all::<ClusterRole>().into_iter();
    let mut grants: Vec<Grants> = roles.map(|role| Grants::new("Role", role.metadata, false, role.rules)).collect();
    grants.extend(
        cluster_roles
            .map(|role| Grants::new("ClusterRole", role.metadata, role.aggregation_rule.is_some(), role.rules)),
    );
    grants
}

/// Returns all that a rule names: groups, resources, names, paths and verbs.
fn words(rule: &PolicyRule) -> Vec<&str> {
    let PolicyRule { api_groups, non_resource_urls, resource_names, resources, verbs } = rule;
    let lists = [api_groups, non_resource_urls, resource_names, resources];
    lists.into_iter().flatten().flatten().chain(verbs).map(String::as_str).collect()
}

/// Returns the pods of all kinds of objects that have some, each with the object's kind and name.
fn pods(rendering: &Rendering) -> Vec<(String, PodSpec)> {
    let mut pods = Vec::new();
    for object in rendering.objects() {
        for place in ["/spec", "/spec/template/spec", "/spec/jobTemplate/spec/template/spec"] {
            if let Some(spec) = object.pointer(place).filter(|spec| spec.get("containers").is_some()) {
                let name = format!("{} {}", object["kind"], object["metadata"]["name"]);
                pods.push((name, serde_json::from_value(spec.clone()).expect("a pod is one")));
            }
        }
    }
    pods
}
