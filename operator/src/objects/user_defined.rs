//! Lays what the user adds to a component's pods over what the operator gives them. Pure.

use k8s_openapi::api::core::v1::{
    Affinity, Container, EnvVar, LocalObjectReference, PodSecurityContext, PodSpec, TopologySpreadConstraint, Volume,
    VolumeMount,
};
use millrace_api::pod_template::PodTemplate;

use super::scope::{Scope, label_selector};

/// Returns a pod's spec with the user's additions.
pub fn user_defined(scope: &Scope<'_>, spec: PodSpec) -> PodSpec {
    let PodTemplate {
        // Of the pod's metadata, not of its spec.
        labels: _,
        annotations: _,
        node_selector,
        tolerations,
        affinity,
        topology_spread_constraints,
        priority_class_name,
        service_account_name,
        image_pull_secrets,
        env,
        volumes,
        volume_mounts,
        termination_grace_period_seconds,
        security_context,
    } = scope.pods().clone();
    let spread = |constraint: TopologySpreadConstraint| TopologySpreadConstraint {
        label_selector: constraint.label_selector.or_else(|| Some(label_selector(scope.selector()))),
        ..constraint
    };
    let spread: Vec<_> = topology_spread_constraints.into_iter().map(spread).collect();
    PodSpec {
        containers: with_additions(spec.containers, &env, &volume_mounts),
        volumes: with_volumes(spec.volumes, volumes),
        termination_grace_period_seconds: termination_grace_period_seconds.or(spec.termination_grace_period_seconds),
        node_selector: Some(node_selector).filter(|labels| !labels.is_empty()),
        tolerations: Some(tolerations).filter(|tolerations| !tolerations.is_empty()),
        affinity: merged_affinity(spec.affinity, affinity),
        topology_spread_constraints: Some(spread).filter(|constraints| !constraints.is_empty()),
        priority_class_name,
        service_account_name: service_account_name.or(spec.service_account_name),
        image_pull_secrets: merged_secrets(spec.image_pull_secrets, image_pull_secrets),
        security_context: merged_security(spec.security_context, security_context),
        ..spec
    }
}

fn with_additions(containers: Vec<Container>, variables: &[EnvVar], mounts: &[VolumeMount]) -> Vec<Container> {
    let add = |mut container: Container| {
        if !variables.is_empty() {
            let env = container.env.get_or_insert_default();
            // What the administrator sets for all workers stands.
            let new = variables.iter().filter(|variable| env.iter().all(|known| known.name != variable.name));
            let new: Vec<EnvVar> = new.cloned().collect();
            env.extend(new);
        }
        if !mounts.is_empty() {
            container.volume_mounts.get_or_insert_default().extend(mounts.iter().cloned());
        }
        container
    };
    containers.into_iter().map(add).collect()
}

fn with_volumes(ours: Option<Vec<Volume>>, user: Vec<Volume>) -> Option<Vec<Volume>> {
    if user.is_empty() {
        return ours;
    }
    Some(ours.into_iter().flatten().chain(user).collect())
}

fn merged_affinity(ours: Option<Affinity>, user: Option<Affinity>) -> Option<Affinity> {
    let Some(user) = user else { return ours };
    let apart = user.pod_anti_affinity.or_else(|| ours?.pod_anti_affinity);
    Some(Affinity { pod_anti_affinity: apart, ..user })
}

fn merged_secrets(
    ours: Option<Vec<LocalObjectReference>>,
    user: Vec<LocalObjectReference>,
) -> Option<Vec<LocalObjectReference>> {
    let mut secrets = ours.unwrap_or_default();
    for secret in user {
        if !secrets.contains(&secret) {
            secrets.push(secret);
        }
    }
    Some(secrets).filter(|secrets| !secrets.is_empty())
}

/// Lets the user's context decide who the pod runs as; that it is not root, and confined, stands.
fn merged_security(ours: Option<PodSecurityContext>, user: Option<PodSecurityContext>) -> Option<PodSecurityContext> {
    let Some(user) = user else { return ours };
    let ours = ours.unwrap_or_default();
    Some(PodSecurityContext {
        run_as_non_root: ours.run_as_non_root,
        seccomp_profile: user.seccomp_profile.or(ours.seccomp_profile),
        fs_group_change_policy: user.fs_group_change_policy.or(ours.fs_group_change_policy),
        ..user
    })
}
