//! Facts → a line for each check: what was found, and what to do. Pure.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Node};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::version::Info;
use kube::{CustomResourceExt, ResourceExt};
use millrace_api::quantity::Quantity;
use millrace_api::{IngestionRun, StreamingPipeline, validate_sources};
use serde::Serialize;
use serde_json::{Value, json};

use super::facts::{DEFINITIONS, Facts, Known, Objects};
use super::webhooks::awaited;

/// Oldest release of Kubernetes that the chart takes.
const OLDEST: (u32, u32) = (1, 30);
/// Version of this command, and of the chart and the operator that it belongs to.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Label with the version of what the chart has installed.
const VERSION_LABEL: &str = "app.kubernetes.io/version";
/// Annotation of the StorageClass that is the default.
const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";
/// Label of a namespace: the Pod Security Standard that pods must meet.
const ENFORCED: &str = "pod-security.kubernetes.io/enforce";
/// Annotation of a namespace in which OpenShift assigns the users of pods.
const ASSIGNED_USERS: &str = "openshift.io/sa.scc.uid-range";
/// Most fields or webhooks that a line lists.
const MOST: usize = 5;
const MEBIBYTE: u64 = 1 << 20;

/// Endings of the names of the chart's admission policies, with the value that makes each.
const POLICIES: [(&str, &str); 5] = [
    ("requested-by", "admissionPolicy.create"),
    ("references", "admissionPolicy.references"),
    ("own-account", "admissionPolicy.ownAccount"),
    ("own-deletions", "admissionPolicy.ownAccount"),
    ("own-claims", "admissionPolicy.ownAccount"),
];

/// How a check ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum State {
    Ok,
    Warning,
    Failed,
    NotChecked,
}

/// A check.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Line {
    /// What is checked.
    pub(super) check: String,
    pub(super) state: State,
    pub(super) found: String,
    /// What to do. Absent: nothing.
    pub(super) fix: Option<String>,
}

impl Line {
    fn new(check: &str, state: State, found: impl Into<String>, fix: Option<String>) -> Self {
        Self { check: check.to_owned(), state, found: found.into(), fix }
    }

    pub(super) fn ok(check: &str, found: impl Into<String>) -> Self {
        Self::new(check, State::Ok, found, None)
    }

    fn warning(check: &str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(check, State::Warning, found, Some(fix.into()))
    }

    pub(super) fn failed(check: &str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(check, State::Failed, found, Some(fix.into()))
    }
}

/// Returns what was read, or the line of a check that cannot be made.
fn read<'a, T>(check: &str, known: &'a Known<T>) -> Result<&'a T, Line> {
    match known {
        Known::Read(value) => Ok(value),
        Known::Forbidden(right) => {
            Err(Line::new(check, State::NotChecked, format!("not checked: no right to {right}"), None))
        }
        Known::Failed(reason) => Err(Line::new(check, State::NotChecked, format!("not checked: {reason}"), None)),
    }
}

/// Returns the line of a check that was made or could not be made.
fn line(checked: Result<Line, Line>) -> Line {
    match checked {
        Ok(line) | Err(line) => line,
    }
}

/// Judges the cluster. What does not answer is one line, since nothing else is known then.
pub(super) fn judge(facts: &Facts) -> Vec<Line> {
    let Some(objects) = &facts.objects else {
        let reason = match &facts.version {
            Known::Failed(reason) => reason.clone(),
            Known::Read(_) | Known::Forbidden(_) => "it does not answer".to_owned(),
        };
        let fix = "check the address and the credentials of the kubeconfig: kubectl version";
        return vec![Line::failed("API server", format!("{}: {reason}", facts.server), fix)];
    };
    let is_installed = match &objects.operators {
        Known::Read(operators) => Some(!operators.is_empty()),
        Known::Forbidden(_) | Known::Failed(_) => None,
    };
    let mut lines = vec![
        Line::ok("API server", format!("{} answers", facts.server)),
        line(read("server version", &facts.version).map(server_version)),
        install_rights(objects, is_installed),
        line(read("storage class", &objects.classes).map(|classes| storage(classes, facts.storage_class.as_deref()))),
        line(read("nodes", &objects.nodes).map(|nodes| room(nodes))),
        line(read("namespace", &objects.place).map(|place| pod_security(place.as_ref(), &facts.namespace))),
    ];
    let ours = [StreamingPipeline::crd(), IngestionRun::crd()];
    for ((name, known), ours) in DEFINITIONS.into_iter().zip(&objects.definitions).zip(&ours) {
        let check = format!("definition {name}");
        lines.push(line(read(&check, known).map(|found| definition(&check, found.as_ref(), ours, is_installed))));
    }
    match read("operator", &objects.operators) {
        Ok(operators) => lines.extend(running(operators, objects, &facts.release_namespace)),
        Err(not_checked) => lines.push(not_checked),
    }
    if is_installed != Some(false) {
        lines.push(line(policies(objects)));
    }
    lines.push(line(webhooks(objects, &facts.namespace)));
    lines
}

fn server_version(info: &Info) -> Line {
    // Some providers add a sign, such as `34+`.
    let number = |text: &str| text.trim_end_matches(|sign: char| !sign.is_ascii_digit()).parse::<u32>().ok();
    let (check, found) = ("server version", &info.git_version);
    let (major, minor) = OLDEST;
    match (number(&info.major), number(&info.minor)) {
        (Some(found_major), Some(found_minor)) if (found_major, found_minor) >= OLDEST => {
            Line::ok(check, format!("{found}; {major}.{minor} or newer is needed"))
        }
        (Some(_), Some(_)) => {
            let fix = format!("upgrade the cluster to {major}.{minor} or newer");
            Line::failed(check, format!("{found}; {major}.{minor} or newer is needed"), fix)
        }
        (_, _) => Line::warning(check, format!("'{found}' is not a version"), "see what answers: kubectl version"),
    }
}

/// Judges the rights that installing takes. Once Millrace is there, others may do without them.
fn install_rights(objects: &Objects, is_installed: Option<bool>) -> Line {
    let check = "rights to install";
    let mut missing = Vec::new();
    for (right, known) in &objects.rights {
        match read(check, known) {
            Ok(true) => {}
            Ok(false) => missing.push(right.as_str()),
            Err(not_checked) => return not_checked,
        }
    }
    let fix = "install and upgrade as someone who has these rights, such as cluster-admin";
    if !missing.is_empty() {
        let found = format!("you may not {}", missing.join(", "));
        return match is_installed {
            Some(true) => Line::warning(check, found, fix),
            Some(false) | None => Line::failed(check, found, fix),
        };
    }
    match &objects.escalate {
        Known::Read(true) => Line::ok(check, "you may make all that the chart has"),
        Known::Read(false) | Known::Forbidden(_) | Known::Failed(_) => {
            let found =
                "you may make all that the chart has, but give no rights in its roles that you do not have yourself";
            Line::warning(check, found, fix)
        }
    }
}

fn storage(classes: &[StorageClass], wanted: Option<&str>) -> Line {
    let check = "storage class";
    let is_default =
        |class: &&StorageClass| class.annotations().get(DEFAULT_CLASS).is_some_and(|value| value == "true");
    let listed = || classes.iter().map(ResourceExt::name_any).collect::<Vec<_>>().join(", ");
    let found = match wanted {
        Some(wanted) => classes.iter().find(|class| class.name_any() == wanted),
        None => classes.iter().find(is_default),
    };
    match (found, wanted) {
        (Some(class), _) => {
            let (name, provisioner) = (class.name_any(), &class.provisioner);
            let kind = if wanted.is_some() { "named" } else { "the default" };
            if class.allow_volume_expansion == Some(true) {
                return Line::ok(check, format!("'{name}' ({provisioner}) is {kind}, and its volumes can grow"));
            }
            let found = format!("'{name}' ({provisioner}) is {kind}, and its volumes cannot grow later");
            let fix = "set allowVolumeExpansion: true if the driver can grow volumes, or begin with large enough ones";
            Line::warning(check, found, fix)
        }
        (None, _) if classes.is_empty() => {
            let fix = "install a storage provider: each store has a volume for each pod";
            Line::failed(check, "the cluster has no StorageClass", fix)
        }
        (None, Some(wanted)) => {
            Line::failed(check, format!("there is no '{wanted}'"), format!("name one of these: {}", listed()))
        }
        (None, None) => {
            let fix = format!("name one in storage.className of each store, or make one the default: {}", listed());
            Line::warning(check, "none is the default", fix)
        }
    }
}

/// What a pod asks for, or a node has.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Room {
    /// Thousandths of a CPU.
    cpu: u128,
    /// Bytes.
    memory: u64,
}

impl Room {
    fn holds(self, other: Self) -> bool {
        self.cpu >= other.cpu && self.memory >= other.memory
    }

    fn sum(all: impl IntoIterator<Item = Self>) -> Self {
        let add = |sum: Self, one: Self| Self { cpu: sum.cpu + one.cpu, memory: sum.memory.saturating_add(one.memory) };
        all.into_iter().fold(Self::default(), add)
    }

    fn text(self) -> String {
        format!("{}m CPU and {} MiB", self.cpu, self.memory / MEBIBYTE)
    }
}

/// Judges whether the nodes have room for the smallest pipeline. What runs on them already is not known.
fn room(nodes: &[Node]) -> Line {
    let check = "nodes";
    let free: Vec<Room> = nodes.iter().filter(|node| takes_pods(node)).map(allocatable).collect();
    let (smallest, all) = (smallest(), Room::sum(free.iter().copied()));
    let wanted = Room::sum(smallest.iter().map(|(_, room)| *room));
    let found = format!("{} of {} nodes take pods, with {} to allocate", free.len(), nodes.len(), all.text());
    let too_large = smallest.iter().find(|(_, room)| !free.iter().any(|node| node.holds(*room)));
    if let Some((component, room)) = too_large {
        let found = format!("{found}; none holds a pod of {component}, which asks for {}", room.text());
        return Line::failed(check, found, "add a node that does, or lower resources.requests of the component");
    }
    if !all.holds(wanted) {
        let found = format!("{found}; the smallest pipeline asks for {}", wanted.text());
        return Line::failed(check, found, "add nodes");
    }
    let found = format!("{found}, what runs there included; the smallest pipeline asks for {}", wanted.text());
    Line::ok(check, found)
}

fn takes_pods(node: &Node) -> bool {
    let spec = node.spec.clone().unwrap_or_default();
    let keeps_out = |effect: &str| matches!(effect, "NoSchedule" | "NoExecute");
    let is_tainted = spec.taints.iter().flatten().any(|taint| keeps_out(&taint.effect));
    let mut conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let is_ready = conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True");
    is_ready && !is_tainted && spec.unschedulable != Some(true)
}

fn allocatable(node: &Node) -> Room {
    let allocatable = node.status.as_ref().and_then(|status| status.allocatable.as_ref());
    let amount = |name: &str| allocatable.and_then(|all| all.get(name)?.0.parse::<Quantity>().ok()).unwrap_or_default();
    Room { cpu: amount("cpu").thousandths(), memory: amount("memory").whole().unwrap_or(u64::MAX) }
}

/// Returns what each pod of a pipeline of one of each asks for, by component.
fn smallest() -> [(&'static str, Room); 5] {
    let written = json!({
        "apiVersion": "millrace.dev/v1alpha1", "kind": "StreamingPipeline", "metadata": {"name": "smallest"},
        "spec": {
            "zookeeper": {"replicas": 1, "storage": {"size": "1Gi"}},
            "kafka": {"replicas": 1, "storage": {"size": "1Gi"}, "topics": [{"name": "t", "partitions": 1}]},
            "cassandra": {
                "racks": [{"name": "r1", "replicas": 1}], "storage": {"size": "1Gi"}, "keyspace": {"name": "k"},
                "tables": [{
                    "name": "t", "columns": [{"name": "id", "type": "uuid"}], "primaryKey": {"partition": ["id"]},
                }],
            },
            "producer": {"sources": [{"name": "s", "topic": "t", "key": "id", "generator": {"count": 1}}]},
            "processor": {"queries": [{"name": "q", "from": "t", "into": "t"}]},
        },
    });
    let resource: StreamingPipeline = serde_json::from_value(written).expect("the smallest pipeline is one");
    let pipeline = validate_sources(&resource).pipeline.expect("the smallest pipeline is valid");
    let parts = [
        ("zookeeper", &pipeline.zookeeper.member.resources),
        ("kafka", &pipeline.kafka.member.resources),
        ("cassandra", &pipeline.cassandra.member.resources),
        ("producer", &pipeline.producer.resources),
        ("processor", &pipeline.processor.resources),
    ];
    parts.map(|(name, resources)| {
        let cpu = resources.cpu_request.parse::<Quantity>().unwrap_or_default().thousandths();
        (name, Room { cpu, memory: resources.memory_request.0 })
    })
}

fn pod_security(place: Option<&Namespace>, name: &str) -> Line {
    let check = "namespace";
    let Some(place) = place else {
        let fix = format!("make it with `kubectl create namespace {name}`, or name another with -n");
        return Line::failed(check, format!("there is no namespace '{name}'"), fix);
    };
    if place.annotations().contains_key(ASSIGNED_USERS) {
        let found = format!("'{name}' assigns the users of its pods");
        let fix =
            "write podTemplate: {securityContext: {}} for each component, so that the pods name no user themselves";
        return Line::warning(check, found, fix);
    }
    match place.labels().get(ENFORCED) {
        Some(level) => {
            Line::ok(check, format!("'{name}' enforces the Pod Security Standard '{level}', which the pods meet"))
        }
        None => Line::ok(check, format!("'{name}' is there and enforces no Pod Security Standard")),
    }
}

fn definition(
    check: &str,
    found: Option<&CustomResourceDefinition>,
    ours: &CustomResourceDefinition,
    is_installed: Option<bool>,
) -> Line {
    let install = "helm install millrace charts/millrace --namespace millrace-system --create-namespace --wait";
    let upgrade = "upgrade the definitions: kubectl apply --server-side -f crds/, or helm upgrade";
    let Some(found) = found else {
        return match is_installed {
            Some(true) => Line::failed(check, "is missing, and the operator waits for it", upgrade),
            Some(false) | None => Line::warning(check, "is not installed yet", install),
        };
    };
    let mut conditions = found.status.iter().flat_map(|status| status.conditions.iter().flatten());
    if !conditions.any(|condition| condition.type_ == "Established" && condition.status == "True") {
        let fix = format!("see why: kubectl describe crd {}", found.name_any());
        return Line::failed(check, "is there and not established, so that the API server does not serve it", fix);
    }
    let (theirs, known) = (fields(found), fields(ours));
    let lacking: Vec<&String> = known.difference(&theirs).collect();
    if !lacking.is_empty() {
        let found = format!("is not of version {VERSION}: it does not have {}", some_of(&lacking));
        return Line::failed(check, found, upgrade);
    }
    let beyond: Vec<&String> = theirs.difference(&known).collect();
    if !beyond.is_empty() {
        let found = format!("is newer than this command, {VERSION}: it has {}", some_of(&beyond));
        return Line::warning(check, found, "install the command of the operator's version");
    }
    Line::ok(check, format!("has all fields of version {VERSION}"))
}

fn some_of(all: &[&String]) -> String {
    let named: Vec<&str> = all.iter().take(MOST).map(|name| name.as_str()).collect();
    match all.len().saturating_sub(MOST) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

/// Returns the paths of all fields of a definition's versions.
fn fields(definition: &CustomResourceDefinition) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for version in &definition.spec.versions {
        let schema = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
        walk(&json!(schema), &version.name, &mut found);
    }
    found
}

fn walk(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        walk(field, &path, found);
        found.insert(path);
    }
    walk_items(&schema["items"], path, found);
    walk_items(&schema["additionalProperties"], path, found);
}

fn walk_items(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    if schema.is_object() {
        walk(schema, &format!("{path}[]"), found);
    }
}

/// Judges each operator that there is.
fn running(operators: &[Deployment], objects: &Objects, release: &str) -> Vec<Line> {
    let check = "operator";
    if operators.is_empty() {
        let are_defined = objects.definitions.iter().any(|known| matches!(known, Known::Read(Some(_))));
        let fix = format!("helm install millrace charts/millrace --namespace {release} --create-namespace --wait");
        let found = "is not installed";
        return vec![if are_defined { Line::failed(check, found, fix) } else { Line::warning(check, found, fix) }];
    }
    operators.iter().map(|operator| one_operator(check, operator)).collect()
}

fn one_operator(check: &str, operator: &Deployment) -> Line {
    let (namespace, name) = (operator.namespace().unwrap_or_default(), operator.name_any());
    let wanted = operator.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let available = operator.status.as_ref().and_then(|status| status.available_replicas).unwrap_or_default();
    let pods = operator.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let container = pods.and_then(|pods| pods.containers.iter().find(|container| container.name == "operator"));
    let image = container.and_then(|container| container.image.clone()).unwrap_or_default();
    let found = format!("'{namespace}/{name}' has {available} of {wanted} pods available, of image '{image}'");
    let describe = format!("see why: kubectl describe deployment -n {namespace} {name}");
    if available == 0 {
        return Line::failed(check, found, describe);
    }
    let release = operator.labels().get(VERSION_LABEL);
    let version = tag(&image).filter(|tag| is_version(tag)).or(release.map(String::as_str));
    if let Some(version) = version.filter(|version| version.trim_start_matches('v') != VERSION) {
        let found = format!("{found}: version {version}, and this command is of version {VERSION}");
        return Line::warning(check, found, "install the command of the operator's version, or upgrade the chart");
    }
    if available < wanted { Line::warning(check, found, describe) } else { Line::ok(check, found) }
}

/// Returns the tag of an image. `None`: it has none.
fn tag(image: &str) -> Option<&str> {
    let named = image.split('@').next()?;
    let (_, tag) = named.rsplit('/').next()?.split_once(':')?;
    Some(tag)
}

fn is_version(tag: &str) -> bool {
    let parts: Vec<&str> = tag.trim_start_matches('v').split('.').collect();
    parts.len() == 3 && parts.iter().all(|part| part.starts_with(|sign: char| sign.is_ascii_digit()))
}

/// Judges whether the chart's admission policies are there and in force.
fn policies(objects: &Objects) -> Result<Line, Line> {
    let check = "admission policies";
    let found = read(check, &objects.policies)?;
    let bindings = read(check, &objects.bindings)?;
    let bound: BTreeSet<&str> =
        bindings.iter().filter_map(|binding| binding.spec.as_ref()?.policy_name.as_deref()).collect();
    let in_force: Vec<String> =
        found.iter().map(ResourceExt::name_any).filter(|name| bound.contains(name.as_str())).collect();
    let is_missing = |(ending, _): &(&str, &str)| !in_force.iter().any(|name| name.rsplit('.').next() == Some(*ending));
    let missing: Vec<(&str, &str)> = POLICIES.into_iter().filter(is_missing).collect();
    if missing.is_empty() {
        return Ok(Line::ok(check, format!("all {} are in force", POLICIES.len())));
    }
    let names: Vec<&str> = missing.iter().map(|(name, _)| *name).collect();
    let values: BTreeSet<&str> = missing.iter().map(|(_, value)| *value).collect();
    let values = values.into_iter().map(|value| format!("{value}=true")).collect::<Vec<_>>().join(",");
    let fix = format!("helm upgrade with --set {values}, unless they are left out on purpose (docs/security.md)");
    Ok(Line::warning(check, format!("not in force: {}", names.join(", ")), fix))
}

/// Judges whether pods of pipelines wait for webhooks of others.
fn webhooks(objects: &Objects, namespace: &str) -> Result<Line, Line> {
    let check = "webhooks";
    let (mutating, validating) = (read(check, &objects.mutating)?, read(check, &objects.validating)?);
    let mut labels = BTreeMap::from([("kubernetes.io/metadata.name".to_owned(), namespace.to_owned())]);
    if let Known::Read(Some(place)) = &objects.place {
        labels.extend(place.labels().clone());
    }
    let awaited = awaited(mutating, validating, &labels);
    if awaited.is_empty() {
        return Ok(Line::ok(check, "no pod of a pipeline waits for a webhook"));
    }
    let found = format!("pods of pipelines wait for {}", some_of(&awaited.iter().collect::<Vec<_>>()));
    let fix = "while one does not answer, no pod is made: keep its service up, exempt the namespace, or have it ignore failures";
    Ok(Line::warning(check, found, fix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of<T: serde::de::DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).expect("the value has the form")
    }

    fn version(major: &str, minor: &str) -> Info {
        Info {
            major: major.to_owned(),
            minor: minor.to_owned(),
            git_version: format!("v{major}.{minor}.0"),
            ..Info::default()
        }
    }

    fn node(cpu: &str, memory: &str, spec: Value) -> Node {
        of(json!({
            "metadata": {"name": "n"}, "spec": spec,
            "status": {
                "allocatable": {"cpu": cpu, "memory": memory},
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        }))
    }

    fn class(name: &str, is_default: bool, grows: Option<bool>) -> StorageClass {
        of(json!({
            "metadata": {"name": name, "annotations": {DEFAULT_CLASS: is_default.to_string()}},
            "provisioner": "example.com/disk", "allowVolumeExpansion": grows,
        }))
    }

    fn operator(image: &str, available: i32) -> Deployment {
        of(json!({
            "metadata": {"name": "millrace", "namespace": "millrace-system"},
            "spec": {
                "replicas": 2, "selector": {},
                "template": {"spec": {"containers": [{"name": "operator", "image": image}]}},
            },
            "status": {"availableReplicas": available},
        }))
    }

    fn established(mut definition: CustomResourceDefinition) -> CustomResourceDefinition {
        definition.status = Some(of(json!({"conditions": [{"type": "Established", "status": "True"}]})));
        definition
    }

    /// Returns a cluster in which Millrace is installed and well.
    fn good() -> Facts {
        let policies = POLICIES.map(|(ending, _)| format!("millrace-system.millrace.{ending}"));
        let image = format!("millrace/operator:{VERSION}");
        let objects = Objects {
            rights: vec![("create deployments".to_owned(), Known::Read(true))],
            escalate: Known::Read(true),
            classes: Known::Read(vec![class("fast", false, None), class("standard", true, Some(true))]),
            nodes: Known::Read(vec![node("4", "8Gi", json!({}))]),
            place: Known::Read(Some(of(json!({"metadata": {"name": "shop"}})))),
            definitions: [
                Known::Read(Some(established(StreamingPipeline::crd()))),
                Known::Read(Some(established(IngestionRun::crd()))),
            ],
            operators: Known::Read(vec![operator(&image, 2)]),
            policies: Known::Read(policies.iter().map(|name| of(json!({"metadata": {"name": name}}))).collect()),
            bindings: Known::Read(
                policies
                    .iter()
                    .map(|name| of(json!({"metadata": {"name": name}, "spec": {"policyName": name}})))
                    .collect(),
            ),
            mutating: Known::Read(Vec::new()),
            validating: Known::Read(Vec::new()),
        };
        Facts {
            namespace: "shop".to_owned(),
            release_namespace: "millrace-system".to_owned(),
            storage_class: None,
            server: "https://10.0.0.1:6443/".to_owned(),
            version: Known::Read(version("1", "34")),
            objects: Some(objects),
        }
    }

    /// Returns the line of a check after a change of the good cluster.
    fn after(change: impl FnOnce(&mut Objects), check: &str) -> Line {
        let mut facts = good();
        change(facts.objects.as_mut().expect("there are objects"));
        judge(&facts).into_iter().find(|line| line.check.starts_with(check)).expect("the check is made")
    }

    #[test]
    fn a_good_cluster_passes_every_check() {
        let lines = judge(&good());
        let bad: Vec<&Line> = lines.iter().filter(|line| line.state != State::Ok).collect();
        assert_eq!(bad, Vec::<&Line>::new());
        assert_eq!(lines.len(), 11);
    }

    #[test]
    fn what_is_wrong_is_found_by_its_check() {
        let cases: [(Line, State, &str); 14] = [
            (after(|o| o.rights[0].1 = Known::Read(false), "rights"), State::Warning, "you may not create deployments"),
            (after(|o| o.escalate = Known::Read(false), "rights"), State::Warning, "do not have yourself"),
            (after(|o| o.classes = Known::Read(vec![]), "storage"), State::Failed, "no StorageClass"),
            (
                after(|o| o.classes = Known::Read(vec![class("fast", false, None)]), "storage"),
                State::Warning,
                "default",
            ),
            (
                after(|o| o.classes = Known::Read(vec![class("a", true, None)]), "storage"),
                State::Warning,
                "cannot grow",
            ),
            (after(|o| o.nodes = Known::Read(vec![node("4", "1Gi", json!({}))]), "nodes"), State::Failed, "cassandra"),
            (after(|o| o.place = Known::Read(None), "namespace"), State::Failed, "no namespace 'shop'"),
            (after(|o| o.definitions[0] = Known::Read(None), "definition streaming"), State::Failed, "missing"),
            (
                after(|o| o.definitions[0] = Known::Read(Some(StreamingPipeline::crd())), "definition streaming"),
                State::Failed,
                "not established",
            ),
            (after(|o| o.operators = Known::Read(vec![]), "operator"), State::Failed, "not installed"),
            (after(|o| o.operators = Known::Read(vec![operator("o:1", 0)]), "operator"), State::Failed, "0 of 2"),
            (after(|o| o.operators = Known::Read(vec![operator("o:9.9.9", 2)]), "operator"), State::Warning, "9.9.9"),
            (after(|o| o.operators = Known::Read(vec![operator("o:main", 1)]), "operator"), State::Warning, "1 of 2"),
            (after(|o| o.bindings = Known::Read(vec![]), "admission"), State::Warning, "requested-by, references"),
        ];
        for (line, state, found) in cases {
            assert_eq!(line.state, state, "{line:?}");
            assert!(line.found.contains(found), "{line:?}");
            assert!(line.fix.is_some(), "{line:?}");
        }
    }

    #[test]
    fn what_may_not_be_read_is_not_checked_and_says_so() {
        let forbidden = after(|o| o.nodes = Known::Forbidden("list nodes".to_owned()), "nodes");
        assert_eq!(
            (forbidden.state, forbidden.found.as_str()),
            (State::NotChecked, "not checked: no right to list nodes")
        );
        let failed = after(|o| o.classes = Known::Failed("cannot list storageclasses: timeout".to_owned()), "storage");
        assert_eq!(failed.found, "not checked: cannot list storageclasses: timeout");
    }

    #[test]
    fn before_installation_nothing_fails_for_not_being_there() {
        let mut facts = good();
        if let Some(objects) = &mut facts.objects {
            objects.definitions = [Known::Read(None), Known::Read(None)];
            objects.operators = Known::Read(Vec::new());
            objects.policies = Known::Read(Vec::new());
        }
        let lines = judge(&facts);
        assert!(lines.iter().all(|line| line.state != State::Failed), "{lines:?}");
        assert_eq!(lines.iter().filter(|line| line.state == State::Warning).count(), 3);
        // Control: a right that is missing does then fail.
        if let Some(objects) = &mut facts.objects {
            objects.rights[0].1 = Known::Read(false);
        }
        assert!(judge(&facts).iter().any(|line| line.check == "rights to install" && line.state == State::Failed));
    }

    #[test]
    fn a_server_that_does_not_answer_is_all_there_is_to_say() {
        let facts = Facts { version: Known::Failed("connection refused".to_owned()), objects: None, ..good() };
        let lines = judge(&facts);
        assert_eq!(lines.len(), 1);
        assert_eq!(
            (lines[0].state, lines[0].found.as_str()),
            (State::Failed, "https://10.0.0.1:6443/: connection refused")
        );
    }

    #[test]
    fn the_oldest_release_is_that_of_the_chart() {
        let chart = include_str!("../../../../charts/millrace/Chart.yaml");
        let (major, minor) = OLDEST;
        assert!(chart.contains(&format!("kubeVersion: \">={major}.{minor}.0-0\"")), "{chart}");
        assert_eq!(server_version(&version("1", "30+")).state, State::Ok);
        assert_eq!(server_version(&version("1", "29")).state, State::Failed);
        assert_eq!(server_version(&version("", "")).state, State::Warning);
    }

    #[test]
    fn nodes_that_take_no_pods_do_not_count() {
        let full = |spec: Value| room(&[node("4", "8Gi", spec)]).state;
        assert_eq!(full(json!({})), State::Ok);
        assert_eq!(full(json!({"unschedulable": true})), State::Failed);
        assert_eq!(full(json!({"taints": [{"key": "a", "effect": "NoSchedule"}]})), State::Failed);
        // Control: a taint that only prefers others.
        assert_eq!(full(json!({"taints": [{"key": "a", "effect": "PreferNoSchedule"}]})), State::Ok);
        let cassandra = smallest()[2];
        assert_eq!(cassandra, ("cassandra", Room { cpu: 250, memory: 2048 * MEBIBYTE }));
    }

    #[test]
    fn a_field_more_or_less_is_another_version() {
        let ours = established(StreamingPipeline::crd());
        let mut other = json!(ours);
        let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
        let fields = other.pointer_mut(spec).and_then(Value::as_object_mut).expect("fields of the spec");
        let kafka = fields.remove("kafka").expect("it is there");
        let older = definition("definition", Some(&of(other.clone())), &ours, Some(true));
        assert_eq!(older.state, State::Failed);
        assert!(older.found.contains("v1alpha1.spec.kafka"), "{older:?}");
        let fields = other.pointer_mut(spec).and_then(Value::as_object_mut).expect("fields of the spec");
        fields.insert("kafka".to_owned(), kafka);
        fields.insert("later".to_owned(), json!({"type": "string"}));
        let newer = definition("definition", Some(&of(other)), &ours, Some(true));
        assert_eq!(newer.state, State::Warning);
        assert!(newer.found.ends_with("it has v1alpha1.spec.later"), "{newer:?}");
    }

    #[test]
    fn a_namespace_with_assigned_users_wants_an_empty_security_context() {
        let place = json!({"metadata": {"name": "shop", "annotations": {ASSIGNED_USERS: "1000/10"}}});
        assert_eq!(pod_security(Some(&of(place)), "shop").state, State::Warning);
        let restricted = json!({"metadata": {"name": "shop", "labels": {ENFORCED: "restricted"}}});
        let line = pod_security(Some(&of(restricted)), "shop");
        assert_eq!(line.state, State::Ok);
        assert!(line.found.contains("'restricted'"), "{line:?}");
    }

    #[test]
    fn the_version_is_in_the_tag() {
        assert_eq!(tag("registry.example.com:5000/millrace/operator:0.1.0@sha256:00"), Some("0.1.0"));
        assert_eq!(tag("registry.example.com:5000/millrace/operator"), None);
        assert!(is_version("v1.2.3") && is_version("0.1.0-rc1") && !is_version("main") && !is_version("e2e-12"));
    }
}
