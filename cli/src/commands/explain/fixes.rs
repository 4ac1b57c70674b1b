//! What to do about a reason and a message, as docs/troubles.md and docs/runbooks.md say it. Pure.
//!
//! What a message says comes from the cluster, and a command may be pasted into a shell: only names go from one to the
//! other.

use millrace_api::crd::condition::Reason;
use serde::Serialize;

/// What to do.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(super) struct Fix {
    /// In words.
    pub(super) text: String,
    /// The command that does it, or that shows what has to be decided. Absent: there is none.
    pub(super) command: Option<String>,
}

/// What is explained, as commands name it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names<'a> {
    pub(super) namespace: &'a str,
    pub(super) pipeline: &'a str,
}

/// What keeps pods from running: what a message then contains, and what to do. A command has `NAMESPACE`, `PIPELINE`,
/// `POD` (the first that the message names) and `NAMED` (what follows `named`, up to a quote) filled in.
struct Trouble {
    marks: &'static [&'static str],
    text: &'static str,
    command: &'static str,
    named: &'static str,
}

const fn trouble(marks: &'static [&'static str], text: &'static str, command: &'static str) -> Trouble {
    Trouble { marks, text, command, named: "" }
}

const fn named(
    marks: &'static [&'static str],
    named: &'static str,
    text: &'static str,
    command: &'static str,
) -> Trouble {
    Trouble { marks, text, command, named }
}

const EDIT: &str = "kubectl edit spl -n NAMESPACE PIPELINE";
const RESUME: &str = "kubectl patch spl -n NAMESPACE PIPELINE --type merge -p '{\"spec\":{\"suspend\":false}}'";
const SUSPENSION: &str = "kubectl wait -n NAMESPACE spl/PIPELINE --for=condition=Suspended --timeout=30m";
const PREVIOUS_LOG: &str = "kubectl logs -n NAMESPACE POD --previous";
const PRODUCER_LOG: &str = "millrace logs PIPELINE -n NAMESPACE --component producer";
const SECRETS: &str = "kubectl get secrets -n NAMESPACE";
const DNS_PODS: &str = "kubectl get pods -n kube-system -l k8s-app=kube-dns";
const DESCRIBE_POD: &str = "kubectl describe pod -n NAMESPACE POD";

/// The first whose marks are all in the message counts, so that what is special comes before what is general.
static TROUBLES: [Trouble; 46] = [
    named(
        &["has container '"],
        "has container '",
        "the container is not one of Millrace: correct or remove what injects it",
        "kubectl logs -n NAMESPACE POD -c NAMED --previous",
    ),
    trouble(
        &["exceeded quota"],
        "the ResourceQuota of the namespace has no room: raise it, or lower replicas, resources or storage in the spec",
        "kubectl describe resourcequota -n NAMESPACE",
    ),
    trouble(
        &["usage per "],
        "a LimitRange of the namespace does not allow the size: change it, or resources or storage in the spec",
        "kubectl describe limitrange -n NAMESPACE",
    ),
    trouble(
        &["violates PodSecurity"],
        "the pods of Millrace meet the restricted standard, so a container that is injected, or podTemplate, violates it: \
         correct that, or lower the level of the namespace",
        "kubectl get mutatingwebhookconfigurations",
    ),
    trouble(
        &["failed calling webhook"],
        "start the webhook's own service again, or exempt the namespace from the webhook: no pod is created until it answers",
        "millrace check -n NAMESPACE",
    ),
    trouble(
        &["admission webhook", "denied the request"],
        "meet the policy that the message names, such as by labels in podTemplate, or exempt the namespace from it",
        EDIT,
    ),
    named(
        &["error looking up service account"],
        "serviceaccount \"",
        "create the ServiceAccount, or correct podTemplate.serviceAccountName",
        "kubectl create serviceaccount -n NAMESPACE NAMED",
    ),
    trouble(
        &["no PriorityClass with name"],
        "create the PriorityClass, or correct podTemplate.priorityClassName",
        "kubectl get priorityclasses",
    ),
    trouble(
        &["storageclass.storage.k8s.io \"", "not found"],
        "correct storage.className to an existing class: the operator recreates the store while no claim has had a volume",
        "kubectl get storageclasses",
    ),
    trouble(
        &["no storage class is set"],
        "name a class in storage.className, or make one the default",
        "kubectl get storageclasses",
    ),
    named(
        &["waits for its volume: claim '"],
        "claim '",
        "the storage provider cannot create the volume, for the reason in the message: make room there",
        "kubectl describe pvc -n NAMESPACE NAMED",
    ),
    trouble(
        &["persistentvolumeclaim \"", "not found"],
        "create the claim with the files to read, or correct its name in the source",
        "kubectl get pvc -n NAMESPACE",
    ),
    trouble(
        &["(FailedAttachVolume)"],
        "the volume is still attached to another node: wait until it is detached, or, if that node is gone permanently, \
         delete its Node object",
        "kubectl get volumeattachments",
    ),
    trouble(
        &["references non-existent secret key"],
        "add the key to the Secret, or correct the key in the spec",
        "kubectl describe secrets -n NAMESPACE",
    ),
    named(
        &["secret \"", "not found"],
        "secret \"",
        "create the Secret, or correct its name in the spec; the pod then starts automatically",
        "kubectl create secret generic -n NAMESPACE NAMED --from-file=KEY=FILE",
    ),
    trouble(
        &["configmap \"", "not found"],
        "create the ConfigMap, or correct its name in podTemplate; the operator recreates the pipeline's own ConfigMaps",
        "kubectl get configmaps -n NAMESPACE",
    ),
    trouble(
        &["No space left on device"],
        "raise storage.size of the store: volumes grow if the StorageClass allows it",
        EDIT,
    ),
    trouble(
        &["the volume has only "],
        "raise storage.size of the store: the node starts automatically once there is room",
        EDIT,
    ),
    trouble(&["Unrecognized VM option"], "correct jvmOptions of the store: its Java does not know the option", EDIT),
    trouble(
        &["Error opening zip file or JAR"],
        "correct the path of -javaagent in jvmOptions, or mount the agent by podTemplate.volumes",
        EDIT,
    ),
    trouble(
        &["Invalid yaml. Those properties"],
        "correct spec.cassandra.config: Cassandra does not know the setting",
        EDIT,
    ),
    trouble(
        &["invalid value '", "' for '--"],
        "correct the setting in the values of the chart, or the variable in podTemplate.env",
        PREVIOUS_LOG,
    ),
    trouble(
        &["this volume is empty, and no other server"],
        "ZooKeeper has lost its volume: see docs/runbooks.md, ZooKeeper lost its volume",
        "kubectl get pvc -n NAMESPACE",
    ),
    trouble(
        &["this volume was written by Kafka cluster"],
        "ZooKeeper has lost its volume: see docs/runbooks.md, ZooKeeper lost its volume",
        "kubectl get pvc -n NAMESPACE",
    ),
    trouble(
        &["ZooKeeper is empty, but Kafka has had topics"],
        "ZooKeeper has lost its volume: see docs/runbooks.md, ZooKeeper lost its volume",
        "kubectl get pvc -n NAMESPACE",
    ),
    trouble(
        &["does not resolve to this pod"],
        "the cluster's DNS does not know the pod's address: check that the DNS pods run, and that no NetworkPolicy keeps pods from them",
        DNS_PODS,
    ),
    trouble(&["(StartError)"], "the image does not have the program: use one that meets docs/images.md", EDIT),
    trouble(&["cannot pull image", "(InvalidImageName)"], "correct the name of the image: it is not valid", EDIT),
    trouble(
        &["cannot pull image", "failed to authorize"],
        "the registry requires credentials: name a Secret with them in podTemplate.imagePullSecrets",
        EDIT,
    ),
    trouble(&["cannot pull image"], "push the image to the registry, or correct image or version", EDIT),
    trouble(
        &["cannot be scheduled", "Insufficient "],
        "no node has that much free: add a node, or lower resources.requests",
        "kubectl describe nodes",
    ),
    trouble(
        &["cannot be scheduled", "volume node affinity conflict"],
        "the volume is on a node that is gone or full: bring that node back; a Cassandra node is replaced when its claim is \
         deleted (docs/runbooks.md, A Cassandra node lost its volume)",
        "kubectl get pv",
    ),
    trouble(
        &["(SchedulingGated)"],
        "wait for the controller that set the scheduling gate, or remove what sets it",
        "kubectl get pod -n NAMESPACE POD -o jsonpath='{.spec.schedulingGates}'",
    ),
    trouble(
        &["cannot be scheduled", "node(s)"],
        "no node fits: correct nodeSelector, affinity or tolerations in podTemplate, or the labels and taints of a node",
        "kubectl get nodes --show-labels",
    ),
    trouble(&["cannot be scheduled"], "no node can run the pod, for the reason in the message", DESCRIBE_POD),
    trouble(
        &["was terminated by Kubernetes (Evicted)"],
        "the node ran short of resources: free some, add a node, or raise resources.requests to reserve them",
        "kubectl describe nodes",
    ),
    trouble(
        &["(FailedCreatePodSandBox)"],
        "the node cannot set up the pod's network: repair its network plugin",
        DESCRIBE_POD,
    ),
    trouble(
        &["which does not answer (NodeNotReady)"],
        "bring the node back; if it is gone permanently, delete its Node object, so that its pods move",
        "kubectl get nodes",
    ),
    trouble(
        &["is not ready: ", "probe failed"],
        "the pod runs but does not work: its log shows why",
        "kubectl logs -n NAMESPACE POD --tail=50",
    ),
    trouble(&["was terminated by signal "], "the last log shows what it did before", PREVIOUS_LOG),
    trouble(&["exited with code "], "the last log has the whole message", PREVIOUS_LOG),
    trouble(&["keeps crashing"], "the last log shows why", PREVIOUS_LOG),
    trouble(
        &["cannot create its pods"],
        "change what refuses the pod, or change the spec",
        "kubectl get events -n NAMESPACE --field-selector type=Warning",
    ),
    trouble(&["cannot be configured"], "correct what the message names", DESCRIBE_POD),
    trouble(&["cannot be started"], "correct what the message names", DESCRIBE_POD),
    trouble(&["cannot start container"], "correct what the message names", DESCRIBE_POD),
];

/// What a source's message contains when its last fetch failed, and what to do. The first whose marks are all in the message
/// counts.
static SOURCES: [Trouble; 6] = [
    trouble(
        &["the token server '", "answers 4"],
        "the token server refuses client ID or secret: correct the Secret that oauth2 names, or the address of the token server",
        SECRETS,
    ),
    trouble(
        &["answers 401"],
        "the endpoint does not accept the credentials: correct the Secret that http.headers names",
        SECRETS,
    ),
    trouble(
        &["answers 403"],
        "the credentials lack a right at the endpoint: grant it there, or correct the Secret that http.headers names",
        SECRETS,
    ),
    trouble(&["answers 404"], "correct http.url: the endpoint has nothing there", EDIT),
    trouble(
        &["answers 5"],
        "the endpoint itself fails: look at its own logs; the source tries again automatically",
        PRODUCER_LOG,
    ),
    trouble(
        &["failed to lookup address information"],
        "the host name does not resolve: correct it in the source, or check that the cluster's DNS pods run",
        DNS_PODS,
    ),
];

/// Reasons of conditions with what to do; no command: the message has it, or there is nothing to do.
static REASONS: [(Reason, &str, &str); 59] = [
    (
        Reason::WaitingForQuorum,
        "wait; if it persists, the logs of the ZooKeeper servers show why they do not answer",
        "millrace logs PIPELINE -n NAMESPACE --component zookeeper",
    ),
    (Reason::WaitingForZooKeeper, "the brokers start once ZooKeeper has a quorum", ""),
    (
        Reason::WaitingForBrokers,
        "wait: a broker that was killed waits for its old session to end; if it persists, its log shows why",
        "millrace logs PIPELINE -n NAMESPACE --component kafka",
    ),
    (Reason::WaitingForKafka, "the operator creates the topics once the brokers are up", ""),
    (Reason::CreatingTopics, "wait: the operator creates the topics", ""),
    (
        Reason::UnderReplicated,
        "wait; if it persists, look at disk and CPU of the broker that is behind, and if all brokers are idle, make \
         them elect another controller (docs/runbooks.md)",
        "kubectl exec -n NAMESPACE PIPELINE-kafka-0 -- /opt/kafka/bin/kafka-topics.sh --bootstrap-server 127.0.0.1:9092 \
         --describe --under-replicated-partitions",
    ),
    (
        Reason::PartitionDecreaseRejected,
        "set the field to the value in the message; the topic was left unchanged",
        EDIT,
    ),
    (Reason::ReplicationFactorDiffers, "set the field to the value in the message; the topic was left unchanged", EDIT),
    (Reason::WaitingForNodes, "wait; if it persists, the log of the node that is down shows why", CASSANDRA_LOG),
    (Reason::NodeJoining, "wait: a join streams data and takes a while", CASSANDRA_LOG),
    (Reason::NodeLeaving, "wait: the node streams its rows to the others", CASSANDRA_LOG),
    (Reason::ReplacingNode, "wait: the node streams its rows from the other copies", CASSANDRA_LOG),
    (
        Reason::VolumeLost,
        "the message shows what the node waits for, or that no other node has its rows (docs/runbooks.md, A Cassandra node lost \
         its volume)",
        "kubectl get pvc -n NAMESPACE",
    ),
    (
        Reason::UnknownNodes,
        "raise replicas of the racks to the numbers that the volumes were written with; or give up the rows that only \
         those nodes have, with the command in the message",
        EDIT,
    ),
    (
        Reason::SchemaDisagreement,
        "wait a minute; if it persists, restart the nodes one after the other",
        "millrace restart PIPELINE -n NAMESPACE --component cassandra",
    ),
    (Reason::CreatingSchema, "wait: the operator creates keyspace and tables", ""),
    (Reason::SchemaChangeRejected, "use a new name for the table or column; the table was left unchanged", EDIT),
    (
        Reason::VolumesDiffer,
        "set the field that the message names: the volumes were created by an earlier pipeline",
        EDIT,
    ),
    (Reason::WaitingForTopics, "the processors start once the topics exist", ""),
    (Reason::WaitingForSchema, "the processors start once the tables exist", ""),
    (
        Reason::WaitingForProcessors,
        "wait; if it persists, the logs of the processors show why",
        "millrace logs PIPELINE -n NAMESPACE --component processor",
    ),
    (Reason::WaitingForProducers, "wait; if it persists, the logs of the producers show why", PRODUCER_LOG),
    (Reason::NoSource, "correct the sources that SpecValid names", EDIT),
    (Reason::NoQuery, "correct the queries that SpecValid names", EDIT),
    (
        Reason::Replaying,
        "wait: the processors start again once their offsets are set back; the message says what that waits for",
        "kubectl get spl -n NAMESPACE PIPELINE -o jsonpath='{.status.replay}'",
    ),
    (Reason::ScaledToZero, "scale it up", "kubectl scale -n NAMESPACE spl/PIPELINE --replicas=1"),
    (Reason::SourceFailing, "correct the source or what it fetches from: docs/sources.md has its states", PRODUCER_LOG),
    (Reason::TableRecreated, REREAD, "kubectl scale -n NAMESPACE spl/PIPELINE --replicas=0"),
    (
        Reason::TablesMissing,
        "name the right keyspace in a new pipeline, or read the topics again, or accept the loss: the message has the commands",
        EDIT,
    ),
    (Reason::TopicRecreated, RESEND, ""),
    (Reason::RecordsMissing, RESEND, ""),
    (Reason::RecordsExpired, RESEND, ""),
    (
        Reason::ClusterIdDiffers,
        "restore ZooKeeper's volume from a snapshot, or give up the data that only Kafka has (docs/runbooks.md, ZooKeeper lost its volume)",
        "kubectl get pvc -n NAMESPACE",
    ),
    (
        Reason::RepairOverdue,
        "the nodes' logs show why the repair makes no progress (docs/runbooks.md, Repair is overdue)",
        CASSANDRA_LOG,
    ),
    (
        Reason::RetentionAtRisk,
        "have processors read faster, or have the topic keep records for longer, such as by config retention.ms \
         (docs/runbooks.md, Records are about to be deleted unread)",
        EDIT,
    ),
    (
        Reason::NotProduced,
        "the logs of the brokers show why they take no record",
        "millrace logs PIPELINE -n NAMESPACE --component kafka",
    ),
    (
        Reason::NotConsumed,
        "the logs of the processors show why no record comes from Kafka",
        "millrace logs PIPELINE -n NAMESPACE --component processor",
    ),
    (Reason::NotWritten, "the logs of the nodes show why they take no row", CASSANDRA_LOG),
    (Reason::NotRead, "the logs of the nodes show why a row cannot be read", CASSANDRA_LOG),
    (Reason::ApplyingChanges, "wait: the change is being carried out", "millrace status PIPELINE -n NAMESPACE"),
    (
        Reason::ApplyFailed,
        "wait: the operator tries again; if it persists, check the cluster",
        "millrace check -n NAMESPACE",
    ),
    (
        Reason::ApplyRejected,
        "change what the API server refuses, as the message shows: a quota, a policy, a right, or an object of that name that \
         belongs to another owner",
        "millrace check -n NAMESPACE",
    ),
    (
        Reason::ObservationFailed,
        "the operator cannot read the API: check its rights and the API server",
        "millrace check -n NAMESPACE",
    ),
    (
        Reason::SpecInvalid,
        "correct the fields that are named; `millrace validate FILE` shows the place in a file",
        EDIT,
    ),
    (
        Reason::ChangedByOthers,
        "find who changes the fields, such as a webhook or an autoscaler, and stop one of the two",
        "kubectl get spl -n NAMESPACE PIPELINE -o jsonpath='{.status.conditions}'",
    ),
    (Reason::Paused, "let the operator continue", "kubectl annotate spl -n NAMESPACE PIPELINE millrace.dev/paused-"),
    (Reason::Suspending, "wait until the topics are drained; the message says what is left", SUSPENSION),
    (
        Reason::ClosingSources,
        "wait until the producers have sent what they have and active runs have ended",
        SUSPENSION,
    ),
    (Reason::Draining, "wait until the processors have written what is left", SUSPENSION),
    (Reason::StoppingProcessors, "wait until the processors have stopped", SUSPENSION),
    (Reason::Suspended, "resume the pipeline when it should run again", RESUME),
    (Reason::Drained, "resume the pipeline when it should run again", RESUME),
    (Reason::RecordsWaiting, "resume the pipeline to have the records written", RESUME),
    (
        Reason::StoreUnreachable,
        "wait; if it persists, check the address, and whether the operator's pod can reach the store (docs/external.md)",
        "",
    ),
    (
        Reason::AddressNotAllowed,
        "have the administrator add the address to externalStores.allowed of the chart, or use another store",
        "",
    ),
    (Reason::TopicsMissing, "create the topic with the command in the message, or set changes to Additions", EDIT),
    (Reason::SchemaMissing, "create what the message names, or set changes to Additions", EDIT),
    (Reason::DisruptionsHeld, "let the pods be restarted", "millrace release PIPELINE -n NAMESPACE"),
    (Reason::WaitingForWindow, "nothing: the restarts begin when the window opens", ""),
];

/// Reasons for which the plan is to be approved.
const APPROVALS: [Reason; 2] = [Reason::ApprovalRequired, Reason::OperatorUpgraded];

const CASSANDRA_LOG: &str = "millrace logs PIPELINE -n NAMESPACE --component cassandra";
const REREAD: &str =
    "read the topics again: the message has the three commands, and this is the first; or accept the loss";
const RESEND: &str =
    "send the records again from their source, and accept the loss with the command at the end of the message";

/// Returns what to do about pods that do not run, or else about the reason. `None`: neither is known here.
pub(super) fn of_pods(reason: &str, message: &str, names: Names<'_>) -> Option<Fix> {
    let of_trouble = || of_marks(&TROUBLES, message, names);
    out_of_memory(message, names).or_else(of_trouble).or_else(|| of_reason(reason, names))
}

/// Returns what to do about a source whose last fetch failed, or else about the reason. `None`: neither is known here.
pub(super) fn of_source(reason: &str, message: &str, names: Names<'_>) -> Option<Fix> {
    of_marks(&SOURCES, message, names).or_else(|| of_reason(reason, names))
}

fn of_marks(troubles: &[Trouble], message: &str, names: Names<'_>) -> Option<Fix> {
    let is_one = |trouble: &&Trouble| trouble.marks.iter().all(|mark| message.contains(mark));
    let found = troubles.iter().find(is_one)?;
    Some(made(found.text, found.command, found.named, message, names))
}

/// Returns what to do about a condition's reason. `None`: it is not known here, or is no trouble.
pub(super) fn of_reason(reason: &str, names: Names<'_>) -> Option<Fix> {
    if APPROVALS.iter().any(|approval| approval.to_string() == reason) {
        let text = "approve the plan when restarts are acceptable";
        return Some(made(text, "millrace approve PIPELINE -n NAMESPACE", "", "", names));
    }
    let (_, text, command) = REASONS.iter().find(|(known, ..)| known.to_string() == reason)?;
    Some(made(text, command, "", "", names))
}

fn made(text: &str, command: &str, named: &str, message: &str, names: Names<'_>) -> Fix {
    let mut filled = command.replace("NAMESPACE", names.namespace).replace("PIPELINE", names.pipeline);
    if let Some(pod) = quoted(message, "pod '") {
        filled = filled.replace("POD", pod);
    }
    if let Some(name) = quoted(message, named).filter(|_| !named.is_empty()) {
        filled = filled.replace("NAMED", name);
    }
    Fix { text: text.to_owned(), command: Some(filled).filter(|command| !command.is_empty()) }
}

/// Returns the name behind an opening quote. `None`: what stands there is not the name of an object.
fn quoted<'a>(message: &'a str, opening: &str) -> Option<&'a str> {
    let (_, rest) = message.split_once(opening)?;
    let name = rest.split(['\'', '"']).next()?;
    let is_plain = |sign: char| sign.is_ascii_lowercase() || sign.is_ascii_digit() || "-.".contains(sign);
    let begins = name.starts_with(|sign: char| sign.is_ascii_lowercase() || sign.is_ascii_digit());
    (begins && name.len() <= 253 && name.chars().all(is_plain)).then_some(name)
}

/// Returns the change that doubles a memory limit that was too low.
fn out_of_memory(message: &str, names: Names<'_>) -> Option<Fix> {
    let (_, rest) = message.split_once(" used more memory than its limit")?;
    let limit = rest.strip_prefix(" of ").and_then(|rest| rest.split(' ').next());
    let (_, field) = rest.split_once("raise spec.")?;
    let component = field.split('.').next()?;
    let known = ["zookeeper", "kafka", "cassandra", "processor", "producer"];
    let component = known.into_iter().find(|known| *known == component)?;
    let text = format!("raise spec.{component}.resources.limits.memory, such as to twice as much");
    let Names { namespace, pipeline } = names;
    let command = limit.and_then(double).map(|twice| {
        format!(
            "kubectl patch spl -n {namespace} {pipeline} --type=merge -p '{{\"spec\":{{\"{component}\":{{\"resources\":\
             {{\"limits\":{{\"memory\":\"{twice}\"}}}}}}}}}}'"
        )
    });
    Some(Fix { text, command })
}

/// Returns twice a quantity of whole units.
fn double(quantity: &str) -> Option<String> {
    let end = quantity.find(|sign: char| !sign.is_ascii_digit()).unwrap_or(quantity.len());
    let (number, suffix) = quantity.split_at(end);
    let is_suffix = suffix.len() <= 2 && suffix.chars().all(|sign| sign.is_ascii_alphabetic());
    let twice = number.parse::<u64>().ok()?.checked_mul(2)?;
    is_suffix.then(|| format!("{twice}{suffix}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    const NAMES: Names<'_> = Names { namespace: "data", pipeline: "users" };

    /// Each trouble of docs/troubles.md and a part of the words or the command that help.
    const HELP: [(&str, &str); 43] = [
        ("a quota has no room for a pod", "kubectl describe resourcequota -n data"),
        ("a quota has no room for a volume", "ResourceQuota"),
        ("a quota has no room for a processor", "ResourceQuota"),
        ("a LimitRange allows less memory", "kubectl describe limitrange -n data"),
        ("a LimitRange allows smaller volumes only", "LimitRange"),
        ("the namespace's Pod Security Standard refuses the pod", "restricted standard"),
        ("an admission webhook refuses the pod", "meet the policy"),
        ("an admission webhook does not answer", "start the webhook's own service"),
        ("the ServiceAccount is missing", "kubectl create serviceaccount -n data own"),
        ("the priority class is missing", "PriorityClass"),
        ("the storage class is missing", "correct storage.className"),
        ("no storage class is the default", "make one the default"),
        ("the storage provider has no room", "kubectl describe pvc -n data data-users-cassandra-r1-0"),
        ("the claim with files to read is missing", "claim with the files"),
        ("the volume is still attached to another node", "attached to another node"),
        ("the Secret of a header is missing", "kubectl create secret generic -n data api-token"),
        ("the Secret does not have the key", "add the key"),
        ("a ConfigMap is missing", "ConfigMap"),
        ("a Secret of an environment variable is missing", "kubectl create secret generic -n data heap"),
        ("a store needs more memory than its limit", "\"limits\":{\"memory\":\"512Mi\"}"),
        ("a worker needs more memory than its limit, and starts again", "spec.processor.resources.limits.memory"),
        ("a server ends with an error", "spec.cassandra.config"),
        ("a worker refuses a variable's value", "values of the chart"),
        ("the disk is full", "raise storage.size"),
        ("the server's Java does not know an option", "jvmOptions"),
        ("the JVM finds no agent", "-javaagent"),
        ("a Cassandra volume has no room for a start", "once there is room"),
        ("the cluster's DNS does not know a ZooKeeper server", "-n kube-system -l k8s-app=kube-dns"),
        ("the cluster's DNS does not know a Cassandra node", "-n kube-system -l k8s-app=kube-dns"),
        ("a server is ended by a signal", "kubectl logs -n data users-zookeeper-0 --previous"),
        ("the image does not have the program", "docs/images.md"),
        ("the image is not in the registry", "push the image"),
        ("the registry wants credentials", "imagePullSecrets"),
        ("the image's name is not one", "correct the name of the image"),
        ("no node has the memory", "add a node"),
        ("no node fits selector and tolerations", "nodeSelector"),
        ("the volume lives on a node that is gone", "bring that node back"),
        ("scheduling is held back by a gate", "users-producer-0 -o jsonpath"),
        ("the node is short of memory and evicts the pod", "ran short"),
        ("the node's network cannot be set up", "network plugin"),
        ("the node does not answer", "bring the node back"),
        ("a probe fails for long", "kubectl logs -n data users-producer-0"),
        ("an injected init container fails", "-c mesh-init"),
    ];

    fn troubles() -> Vec<(String, String)> {
        let listed: Vec<Value> =
            serde_yaml::from_str(include_str!("../../../../operator/tests/troubles.yaml")).expect("the list reads");
        let text = |trouble: &Value, field: &str| trouble[field].as_str().expect("a text").to_owned();
        listed.iter().map(|trouble| (text(trouble, "trouble"), text(trouble, "says"))).collect()
    }

    #[test]
    fn each_trouble_ends_in_its_own_help() {
        let troubles = troubles();
        let listed: BTreeSet<&str> = troubles.iter().map(|(trouble, _)| trouble.as_str()).collect();
        let helped: BTreeSet<&str> = HELP.iter().map(|(trouble, _)| *trouble).collect();
        assert_eq!(listed, helped, "docs/troubles.md and this table have the same rows");
        for (trouble, says) in &troubles {
            let message = format!("2 of 3 brokers are registered and answer; {says}");
            let fix = of_pods("WaitingForBrokers", &message, NAMES).expect("something helps");
            let told = format!("{} {}", fix.text, fix.command.unwrap_or_default());
            let (_, help) = HELP.iter().find(|(name, _)| name == trouble).expect("it is in the table");
            assert!(told.contains(help), "{trouble}: {told}");
            assert!(!told.contains("NAMESPACE") && !told.contains("PIPELINE") && !told.contains("NAMED"), "{told}");
        }
    }

    #[test]
    fn each_reason_of_a_runbook_has_its_help() {
        let runbooks = include_str!("../../../../docs/runbooks.md");
        let rows = runbooks.lines().skip_while(|line| !line.starts_with("| reason |")).skip(2);
        let cells = rows.take_while(|line| line.starts_with('|')).filter_map(|line| line.split('|').nth(1));
        let mut count = 0;
        for reason in cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)) {
            // Conditions stand in parentheses behind their reasons.
            let conditions =
                ["RepairOnSchedule", "DataIntact", "UpdatesHeld", "RequiresUpdate", "Contested", "DataFlowing"];
            if conditions.contains(&reason) {
                continue;
            }
            if reason.starts_with("millrace.dev/") {
                continue;
            }
            count += 1;
            assert!(of_reason(reason, NAMES).is_some(), "{reason}");
        }
        assert!(count > 20, "{count} reasons");
        // Control: one that is not known has no help.
        assert_eq!(of_pods("AllComponentsReady", "every link of the readiness chain is met", NAMES), None);
    }

    #[test]
    fn a_source_that_fails_has_the_help_for_its_answer() {
        let help = |message: &str| {
            let fix = of_source("SourceFailing", message, NAMES).expect("something helps");
            format!("{}: {}", fix.text, fix.command.unwrap_or_default())
        };
        for (message, expected) in [
            ("source 'a': Unavailable: 'shop.example' answers 503 Service Unavailable", "the endpoint itself fails"),
            ("source 'a': BadAnswer: 'shop.example' answers 401 Unauthorized", "does not accept the credentials"),
            (
                "source 'a': BadAnswer: the token server 'id.example' answers 401 Unauthorized",
                "refuses client ID or secret",
            ),
            (
                "source 'a': Unavailable: 'shop.example' cannot be read: failed to lookup address information: Name or \
                 service not known",
                "does not resolve",
            ),
            // The control: what is not known here has the general help.
            ("source 'a': BadFile: 'x.csv' has no header", "docs/sources.md has its states"),
        ] {
            assert!(help(message).contains(expected), "{message}: {}", help(message));
        }
    }

    #[test]
    fn nothing_but_names_goes_from_a_message_into_a_command() {
        let message = "pod 'users-kafka-0' cannot be started (FailedMount): secret \"x; rm -rf ~\" not found";
        let fix = of_pods("WaitingForBrokers", message, NAMES).expect("a fix");
        let command = fix.command.expect("a command");
        assert_eq!(command, "kubectl create secret generic -n data NAMED --from-file=KEY=FILE");
        assert_eq!(quoted("pod 'a$(b)' x", "pod '"), None);
        assert_eq!(quoted("pod '--all' x", "pod '"), None);
        assert_eq!(quoted("pod 'a-0' x", "pod '"), Some("a-0"));
    }

    #[test]
    fn a_limit_is_doubled_in_its_own_unit() {
        assert_eq!(double("256Mi").as_deref(), Some("512Mi"));
        assert_eq!(double("1000000").as_deref(), Some("2000000"));
        assert_eq!(double("1.5Gi"), None);
        assert_eq!(double("x"), None);
    }
}
