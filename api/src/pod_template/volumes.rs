//! Volumes that the user adds to the pods of a component, and where they are mounted: what is refused, and why.
//!
//! A volume may bring files in or be scratch space. It may not be a part of the node, a Kubernetes identity, or lie over
//! what the operator mounts.

use std::collections::BTreeSet;
use std::path::{Component as Part, Path};

use k8s_openapi::api::core::v1::{ProjectedVolumeSource, Volume, VolumeMount};

use crate::labels;
use crate::names::Component;
use crate::pipeline::{Claim, SecretKey};
use crate::quantity::Quantity;
use crate::rejected::Rejected;

/// Sources of volumes that may be added.
const SOURCES: &str = "configMap, secret, projected, emptyDir or csi";

/// Longest name of a volume.
const MOST_NAME: usize = 63;

/// What the names of the volumes of sources' files begin with.
const FILES_PREFIX: &str = "files-";

/// Returns the names of the volumes that the operator gives a component's pods, but for those of sources' files.
pub fn owned_volumes(component: Component) -> &'static [&'static str] {
    match component {
        Component::ZooKeeper => &["data", "files", "members", "datalog", "logs", "tmp"],
        Component::Kafka => &["data", "files", "config", "logs", "secrets", "tmp"],
        Component::Cassandra => &["data", "files", "config", "logs", "tmp"],
        Component::Producer | Component::Processor | Component::Run => &["settings", "secrets"],
    }
}

/// Returns the directories at which the operator mounts them.
pub fn owned_mounts(component: Component) -> &'static [&'static str] {
    match component {
        Component::ZooKeeper => &["/data", "/millrace", "/members", "/datalog", "/logs", "/tmp"],
        Component::Kafka => {
            &["/var/lib/kafka/data", "/millrace", "/mnt/shared/config", "/var/log/kafka", "/etc/kafka/secrets", "/tmp"]
        }
        Component::Cassandra => &["/var/lib/cassandra", "/millrace", "/config", "/var/log/cassandra", "/tmp"],
        Component::Producer | Component::Processor | Component::Run => &["/settings", SecretKey::MOUNT, Claim::MOUNT],
    }
}

/// Directories of every image that hold programs or belong to the kernel.
const SYSTEM: [&str; 10] =
    ["/bin", "/dev", "/etc", "/lib", "/lib64", "/proc", "/sbin", "/sys", "/usr/bin", "/usr/local/bin"];
/// What nothing can be mounted into.
const OF_KERNEL: [&str; 2] = ["/proc", "/sys"];
/// What the install directory of ZooKeeper's official image begins with.
const ZOOKEEPER_PREFIX: &str = "/apache-zookeeper-";

/// Returns the directories of a component's image without which its program does not start (docs/images.md).
fn programs(component: Component) -> &'static [&'static str] {
    match component {
        Component::ZooKeeper => {
            &["/opt/java/openjdk/bin", "/opt/java/openjdk/lib", "/opt/zookeeper/bin", "/opt/zookeeper/lib"]
        }
        Component::Kafka => &["/opt/java/openjdk/bin", "/opt/java/openjdk/lib", "/opt/kafka/bin", "/opt/kafka/libs"],
        Component::Cassandra => &[
            "/etc/cassandra",
            "/opt/cassandra/bin",
            "/opt/cassandra/lib",
            "/opt/java/openjdk/bin",
            "/opt/java/openjdk/lib",
        ],
        Component::Producer | Component::Processor | Component::Run => &[],
    }
}

/// Returns what of a component's image would be hidden by a volume that is mounted at a place.
fn hidden(component: Component, place: &Path) -> Option<&str> {
    let mut known = SYSTEM.iter().chain(programs(component)).copied();
    if let Some(hidden) = known.find(|known| Path::new(known).starts_with(place)) {
        return Some(hidden);
    }
    if let Some(kernel) = OF_KERNEL.iter().copied().find(|kernel| place.starts_with(kernel)) {
        return Some(kernel);
    }
    // Its name has the version.
    let install = place.to_str().filter(|place| place.starts_with(ZOOKEEPER_PREFIX))?;
    let below = place.strip_prefix("/").ok()?.components().skip(1).collect::<std::path::PathBuf>();
    let is_hidden = component == Component::ZooKeeper && ["", "bin", "lib"].iter().any(|part| below == Path::new(part));
    is_hidden.then_some(install)
}

/// Returns what is wrong with volumes and mounts of a component's pods.
pub(super) fn refused(path: &str, component: Component, volumes: &[Volume], mounts: &[VolumeMount]) -> Vec<Rejected> {
    let mut rejected = Vec::new();
    let mut names = BTreeSet::new();
    for (index, volume) in volumes.iter().enumerate() {
        let path = format!("{path}.volumes[{index}]");
        let name = volume.name.as_str();
        if owned_volumes(component).contains(&name) || name.starts_with(FILES_PREFIX) {
            rejected.push(Rejected::new(
                format!("{path}.name"),
                format!("the operator has a volume '{name}' itself; choose another name"),
            ));
        } else if !names.insert(name) {
            rejected.push(Rejected::new(format!("{path}.name"), format!("there are two volumes '{name}'; rename one")));
        } else if name.len() > MOST_NAME || !labels::is_dns_part(name) {
            let message = format!(
                "'{name}' is not a valid volume name; write up to {MOST_NAME} lower-case letters, digits and '-', with \
                 a letter or digit at both ends"
            );
            rejected.push(Rejected::new(format!("{path}.name"), message));
        }
        rejected.extend(of_volume(&path, volume));
    }
    let mut places = BTreeSet::new();
    for (index, mount) in mounts.iter().enumerate() {
        let path = format!("{path}.volumeMounts[{index}]");
        if !names.contains(mount.name.as_str()) {
            rejected.push(Rejected::new(
                format!("{path}.name"),
                format!("there is no volume '{}' in volumes; add it, or correct the name", mount.name),
            ));
        }
        if !places.insert(Path::new(&mount.mount_path)) {
            let message = format!("two volumes are mounted at '{}'; move one", mount.mount_path);
            rejected.push(Rejected::new(format!("{path}.mountPath"), message));
        }
        rejected.extend(of_mount(&path, component, mount));
    }
    rejected
}

fn of_volume(path: &str, volume: &Volume) -> Option<Rejected> {
    let written = serde_json::to_value(volume).expect("a volume can be written as JSON");
    let fields = written.as_object().into_iter().flatten().map(|(field, _)| field.as_str());
    let sources: Vec<&str> = fields.filter(|field| *field != "name").collect();
    match sources[..] {
        [] => Some(Rejected::new(path, format!("the volume has no source; add {SOURCES}"))),
        ["emptyDir"] => of_scratch(path, volume),
        ["projected"] => volume.projected.as_ref().and_then(|projected| of_projection(path, projected)),
        ["configMap" | "secret" | "csi"] => None,
        ["hostPath"] => Some(Rejected::new(
            format!("{path}.hostPath"),
            format!("a path of the node would give the pod access to the node itself; use {SOURCES}"),
        )),
        [other] => Some(Rejected::new(
            format!("{path}.{other}"),
            format!("volumes of this kind cannot be added to a pipeline's pods; use {SOURCES}"),
        )),
        [_, ..] => {
            let message = format!("the volume has several sources ({}); keep one", sources.join(", "));
            Some(Rejected::new(path, message))
        }
    }
}

/// A directory without a limit can fill the node's disk.
fn of_scratch(path: &str, volume: &Volume) -> Option<Rejected> {
    let path = format!("{path}.emptyDir.sizeLimit");
    match volume.empty_dir.as_ref().and_then(|directory| directory.size_limit.as_ref()) {
        None => {
            let message = "the directory needs a limit, or it can fill the node's disk; add one, such as 256Mi";
            Some(Rejected::new(path, message))
        }
        Some(limit) => limit.0.parse::<Quantity>().err().map(|error| Rejected::new(path, error)),
    }
}

/// Pods of a pipeline may not use the Kubernetes API.
fn of_projection(path: &str, projected: &ProjectedVolumeSource) -> Option<Rejected> {
    let sources = projected.sources.iter().flatten().enumerate();
    let identity = sources.filter_map(|(index, source)| {
        let field = match (&source.service_account_token, &source.pod_certificate) {
            (Some(_), _) => "serviceAccountToken",
            (None, Some(_)) => "podCertificate",
            (None, None) => return None,
        };
        Some(format!("{path}.projected.sources[{index}].{field}"))
    });
    let message = "pods of a pipeline have no Kubernetes identity; remove it";
    identity.map(|path| Rejected::new(path, message)).next()
}

fn of_mount(path: &str, component: Component, mount: &VolumeMount) -> Option<Rejected> {
    let place = Path::new(&mount.mount_path);
    let is_plain = place.components().all(|part| matches!(part, Part::RootDir | Part::Normal(_)));
    if !place.is_absolute() || !is_plain || place.parent().is_none() || mount.mount_path.contains(':') {
        let message = format!("'{}' must be an absolute path below '/', without '..' and ':'", mount.mount_path);
        return Some(Rejected::new(format!("{path}.mountPath"), message));
    }
    let overlaps = |owned: &&&str| place.starts_with(**owned) || Path::new(**owned).starts_with(place);
    if let Some(owned) = owned_mounts(component).iter().find(overlaps) {
        let message = format!("the operator mounts '{owned}' itself; choose another path");
        return Some(Rejected::new(format!("{path}.mountPath"), message));
    }
    if let Some(hidden) = hidden(component, place) {
        let message = format!(
            "a volume here would hide '{hidden}' of the image, without which nothing runs; choose another path, or mount \
             single files below it with subPath"
        );
        return Some(Rejected::new(format!("{path}.mountPath"), message));
    }
    let propagation = mount.mount_propagation.as_deref().filter(|propagation| *propagation != "None")?;
    let message = format!("'{propagation}' shares mounts with the node; remove it");
    Some(Rejected::new(format!("{path}.mountPropagation"), message))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::super::parse;
    use super::*;

    fn refused(component: Component, written: &Value) -> Vec<String> {
        let parsed = parse("spec.x.podTemplate", component, written);
        parsed.err().into_iter().flatten().map(|rejected| rejected.to_string()).collect()
    }

    #[test]
    fn volumes_that_bring_files_or_are_scratch_space_are_taken_as_written() {
        let written = json!({
            "volumes": [
                {"name": "roots", "configMap": {"name": "roots"}},
                {"name": "keys", "secret": {"secretName": "keys", "defaultMode": 288}},
                {"name": "both", "projected": {"sources": [{"secret": {"name": "keys"}}, {"configMap": {"name": "a"}}]}},
                {"name": "cache", "emptyDir": {"sizeLimit": "1Gi", "medium": "Memory"}},
                {"name": "vault", "csi": {"driver": "secrets-store.csi.k8s.io", "readOnly": true}},
            ],
            "volumeMounts": [
                {"name": "roots", "mountPath": "/etc/ssl/roots", "readOnly": true},
                {"name": "cache", "mountPath": "/cache", "subPath": "a"},
                {"name": "keys", "mountPath": "/opt/kafka/libs/plugin.jar", "subPath": "plugin.jar"},
            ],
        });
        for component in Component::ALL {
            assert_eq!(refused(component, &written), [""; 0], "{component}");
        }
        let parsed = parse("spec.x.podTemplate", Component::Kafka, &written).expect("it is accepted");
        assert_eq!(serde_json::to_value(parsed).expect("it serialises"), written);
        let scratch = json!({
            "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}}],
            "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
        });
        assert_eq!(refused(Component::Producer, &scratch), [""; 0], "workers have no /tmp of their own");
    }

    #[rstest]
    #[case(json!({"name": "host", "hostPath": {"path": "/"}}), "[0].hostPath: a path of the node")]
    #[case(json!({"name": "own", "persistentVolumeClaim": {"claimName": "own"}}), "[0].persistentVolumeClaim: volumes of this kind")]
    #[case(json!({"name": "share", "nfs": {"server": "a", "path": "/"}}), "[0].nfs: volumes of this kind")]
    #[case(json!({"name": "none"}), "[0]: the volume has no source")]
    #[case(json!({"name": "two", "secret": {"secretName": "a"}, "configMap": {"name": "a"}}), "[0]: the volume has several sources")]
    #[case(json!({"name": "cache", "emptyDir": {}}), "[0].emptyDir.sizeLimit: the directory needs a limit")]
    #[case(json!({"name": "cache", "emptyDir": {"sizeLimit": "much"}}), "[0].emptyDir.sizeLimit: ")]
    #[case(json!({"name": "t", "projected": {"sources": [{"secret": {"name": "a"}}, {"serviceAccountToken": {"path": "t"}}]}}),
        "[0].projected.sources[1].serviceAccountToken: pods of a pipeline have no Kubernetes identity")]
    #[case(json!({"name": "data", "configMap": {"name": "a"}}), "[0].name: the operator has a volume 'data' itself")]
    #[case(json!({"name": "A_b", "configMap": {"name": "a"}}), "[0].name: 'A_b' is not a valid volume name")]
    #[case(json!({"configMap": {"name": "a"}}), "[0].name: '' is not a valid volume name")]
    #[case(json!({"name": "files-0", "configMap": {"name": "a"}}), "[0].name: the operator has a volume 'files-0' itself")]
    #[case(json!({"name": "a", "secret": {"secretname": "a"}}), "[0].secret.secretname: there is no such field")]
    fn what_may_not_be_added_is_refused_where_it_stands(#[case] volume: Value, #[case] says: &str) {
        let refused = refused(Component::Kafka, &json!({"volumes": [volume]}));
        let says = format!("spec.x.podTemplate.volumes{says}");
        assert!(matches!(&refused[..], [only] if only.starts_with(&says)), "{refused:?}");
    }

    #[rstest]
    #[case(Component::Cassandra, json!({"name": "a", "mountPath": "/var/lib/cassandra/data"}), "mountPath: the operator mounts '/var/lib/cassandra'")]
    #[case(Component::Cassandra, json!({"name": "a", "mountPath": "/var/lib"}), "mountPath: the operator mounts '/var/lib/cassandra'")]
    #[case(Component::Kafka, json!({"name": "a", "mountPath": "/millrace/"}), "mountPath: the operator mounts '/millrace'")]
    #[case(Component::Producer, json!({"name": "a", "mountPath": "/secrets"}), "mountPath: the operator mounts '/secrets'")]
    #[case(Component::Kafka, json!({"name": "a", "mountPath": "/"}), "mountPath: '/' must be an absolute path")]
    #[case(Component::Kafka, json!({"name": "a", "mountPath": "etc"}), "mountPath: 'etc' must be an absolute path")]
    #[case(Component::Kafka, json!({"name": "a", "mountPath": "/x/../millrace"}), "mountPath: '/x/../millrace' must be")]
    #[case(Component::Kafka, json!({"name": "a", "mountPath": "/x", "mountPropagation": "Bidirectional"}), "mountPropagation: 'Bidirectional' shares")]
    #[case(Component::Kafka, json!({"name": "data", "mountPath": "/x"}), "name: there is no volume 'data' in volumes")]
    #[case(Component::Kafka, json!({"name": "a", "mountPath": "/opt/kafka"}), "mountPath: a volume here would hide '/opt/kafka/bin' of the image")]
    #[case(Component::Kafka, json!({"name": "a", "mountPath": "/opt/kafka/libs/"}), "mountPath: a volume here would hide '/opt/kafka/libs'")]
    #[case(Component::Kafka, json!({"name": "a", "mountPath": "/opt"}), "mountPath: a volume here would hide '/opt/java/openjdk/bin'")]
    #[case(Component::ZooKeeper, json!({"name": "a", "mountPath": "/opt/java"}), "mountPath: a volume here would hide '/opt/java/openjdk/bin'")]
    #[case(Component::ZooKeeper, json!({"name": "a", "mountPath": "/apache-zookeeper-3.9.5-bin/lib"}), "mountPath: a volume here would hide '/apache-zookeeper-3.9.5-bin/lib'")]
    #[case(Component::Cassandra, json!({"name": "a", "mountPath": "/etc/cassandra"}), "mountPath: a volume here would hide '/etc/cassandra'")]
    #[case(Component::Producer, json!({"name": "a", "mountPath": "/usr"}), "mountPath: a volume here would hide '/usr/bin'")]
    #[case(Component::Producer, json!({"name": "a", "mountPath": "/usr/local/bin"}), "mountPath: a volume here would hide '/usr/local/bin'")]
    #[case(Component::Processor, json!({"name": "a", "mountPath": "/etc"}), "mountPath: a volume here would hide '/etc'")]
    #[case(Component::Processor, json!({"name": "a", "mountPath": "/proc/x"}), "mountPath: a volume here would hide '/proc'")]
    fn what_lies_over_the_operators_own_is_refused(
        #[case] component: Component,
        #[case] mount: Value,
        #[case] says: &str,
    ) {
        let volumes = json!([{"name": "a", "configMap": {"name": "a"}}]);
        let refused = refused(component, &json!({"volumes": volumes, "volumeMounts": [mount]}));
        let says = format!("spec.x.podTemplate.volumeMounts[0].{says}");
        assert!(matches!(&refused[..], [only] if only.starts_with(&says)), "{refused:?}");
    }

    /// The negative control: beside and below the programs there is room.
    #[rstest]
    #[case(Component::Kafka, "/opt/kafka/plugins")]
    #[case(Component::Kafka, "/opt/kafka/libs/plugin.jar")]
    #[case(Component::Kafka, "/opt/kafkas")]
    #[case(Component::Kafka, "/opt/cassandra")]
    #[case(Component::ZooKeeper, "/apache-zookeeper-3.9.5-bin/lib/plugin.jar")]
    #[case(Component::ZooKeeper, "/apache-zookeeper-3.9.5-bin/docs")]
    #[case(Component::Cassandra, "/etc/ssl/certs")]
    #[case(Component::Cassandra, "/dev/shm")]
    #[case(Component::Producer, "/opt")]
    #[case(Component::Producer, "/usr/local/share/roots")]
    fn what_hides_no_program_is_taken(#[case] component: Component, #[case] place: &str) {
        let volumes = json!([{"name": "a", "configMap": {"name": "a"}}]);
        let mounts = json!([{"name": "a", "mountPath": place}]);
        assert_eq!(refused(component, &json!({"volumes": volumes, "volumeMounts": mounts})), [""; 0]);
    }

    #[test]
    fn names_and_places_are_there_once() {
        let volume = json!({"name": "a", "configMap": {"name": "a"}});
        let mount = |path: &str| json!({"name": "a", "mountPath": path});
        let twice = json!({"volumes": [volume, volume], "volumeMounts": [mount("/x"), mount("/x/")]});
        let refused = refused(Component::Kafka, &twice);
        assert!(
            matches!(&refused[..], [name, place] if name.contains("volumes[1].name: there are two volumes 'a'")
                && place.contains("volumeMounts[1].mountPath: two volumes are mounted at '/x/'")),
            "{refused:?}"
        );
    }
}
