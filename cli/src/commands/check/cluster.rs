//! Facts → what the cluster brings: its version, the user's rights, storage and the namespace. Pure.

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::version::Info;
use kube::ResourceExt;

use super::facts::{Known, Objects};
use super::line::{Line, read};

/// Oldest release of Kubernetes that the chart takes.
const OLDEST: (u32, u32) = (1, 30);
/// Annotation of the StorageClass that is the default.
pub(super) const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";
/// Label of a namespace: the Pod Security Standard that pods must meet.
const ENFORCED: &str = "pod-security.kubernetes.io/enforce";
/// Annotation of a namespace in which OpenShift assigns the users of pods.
const ASSIGNED_USERS: &str = "openshift.io/sa.scc.uid-range";

pub(super) fn server_version(info: &Info) -> Line {
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
pub(super) fn install_rights(objects: &Objects, is_installed: Option<bool>) -> Line {
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
        Known::Read(true) => Line::ok(check, "you may create everything in the chart"),
        Known::Read(false) | Known::Forbidden(_) | Known::Failed(_) => {
            let found = "you may create everything in the chart, but cannot grant rights that you do not have yourself";
            Line::warning(check, found, fix)
        }
    }
}

pub(super) fn storage(classes: &[StorageClass], wanted: Option<&str>) -> Line {
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
            let fix = "set allowVolumeExpansion: true if the driver can grow volumes, or start with large enough \
                       volumes";
            Line::warning(check, found, fix)
        }
        (None, _) if classes.is_empty() => {
            let fix = "install a storage provider: each pod of a store needs a volume";
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

pub(super) fn pod_security(place: Option<&Namespace>, name: &str) -> Line {
    let check = "namespace";
    let Some(place) = place else {
        let fix = format!("create it with `kubectl create namespace {name}`, or name another with -n");
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
        None => Line::ok(check, format!("'{name}' exists and enforces no Pod Security Standard")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixtures::{of, version};
    use super::super::line::State;
    use super::*;

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
    fn a_namespace_with_assigned_users_wants_an_empty_security_context() {
        let place = json!({"metadata": {"name": "shop", "annotations": {ASSIGNED_USERS: "1000/10"}}});
        assert_eq!(pod_security(Some(&of(place)), "shop").state, State::Warning);
        let restricted = json!({"metadata": {"name": "shop", "labels": {ENFORCED: "restricted"}}});
        let line = pod_security(Some(&of(restricted)), "shop");
        assert_eq!(line.state, State::Ok);
        assert!(line.found.contains("'restricted'"), "{line:?}");
    }
}
