//! What the user adds to the pods of each component is there, beside what the operator gives them.

#![expect(clippy::disallowed_methods, reason = "tests read fixtures and the clock")]

#[path = "plan/world.rs"]
#[expect(dead_code, reason = "the world is that of the tests of plans, which do more to it")]
mod world;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PodSpec, PodTemplateSpec};
use kube::ResourceExt;
use millrace_api::names::Component;
use millrace_api::pod_template::{OWNED_VARIABLES, grace, owned_mounts, owned_volumes};
use millrace_operator::labels::COMPONENT_LABEL;
use serde_json::{Value, json};
use world::World;

/// More passes than any pipeline here needs.
const ENOUGH: usize = 20;
const COMPONENTS: [&str; 5] = ["zookeeper", "kafka", "cassandra", "producer", "processor"];

/// Returns the pod templates of a pipeline by component, all components having the same additions.
fn templates(additions: Option<&Value>) -> BTreeMap<String, PodTemplateSpec> {
    let mut world = World::of("three");
    let spec = &mut world.resource.spec;
    for written in [
        &mut spec.zookeeper.as_mut().expect("the fixture has it").pod_template,
        &mut spec.kafka.pod_template,
        &mut spec.cassandra.pod_template,
        &mut spec.producer.pod_template,
        &mut spec.processor.pod_template,
    ] {
        *written = additions.cloned();
    }
    for _ in 0..ENOUGH {
        let plan = world.plan();
        world.carry_out(&plan);
    }
    let children = &world.observed.children;
    let component = |labels: &BTreeMap<String, String>| labels[COMPONENT_LABEL].clone();
    let sets = children.stateful_sets.values();
    let sets = sets.map(|set| (component(set.labels()), set.spec.clone().expect("it has a spec").template));
    let deployments = children.deployments.values();
    let deployments =
        deployments.map(|set| (component(set.labels()), set.spec.clone().expect("it has a spec").template));
    sets.chain(deployments).collect()
}

fn of(component: &str) -> Component {
    Component::ALL.into_iter().find(|known| known.as_str() == component).expect("it is one of them")
}

fn spec(template: &PodTemplateSpec) -> PodSpec {
    template.spec.clone().expect("a pod has a spec")
}

#[test]
fn every_component_has_what_the_user_adds_and_keeps_what_it_had() {
    let additions = json!({
        "labels": {"team": "data"},
        "annotations": {"sidecar.istio.io/inject": "false"},
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "dedicated", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}
        ]}}},
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}],
        "priorityClassName": "high",
        "serviceAccountName": "own",
        "imagePullSecrets": [{"name": "registry"}],
        "env": [{"name": "JAVA_TOOL_OPTIONS", "value": "-Xlog:gc"}],
        "volumes": [{"name": "roots", "configMap": {"name": "roots"}}],
        "volumeMounts": [{"name": "roots", "mountPath": "/etc/ssl/roots", "readOnly": true}],
        "terminationGracePeriodSeconds": 90,
    });
    let (before, after) = (templates(None), templates(Some(&additions)));
    assert_eq!(after.keys().map(String::as_str).collect::<Vec<_>>(), {
        let mut all = COMPONENTS;
        all.sort_unstable();
        all
    });
    for (component, template) in &after {
        let metadata = template.metadata.clone().unwrap_or_default();
        let (labels, annotations) = (metadata.labels.unwrap_or_default(), metadata.annotations.unwrap_or_default());
        assert_eq!((labels["team"].as_str(), &labels[COMPONENT_LABEL]), ("data", component));
        assert!(annotations.contains_key("millrace.dev/config-checksum"), "{component}");
        assert_eq!(annotations["sidecar.istio.io/inject"], "false", "{component}");
        let (old, new) = (spec(&before[component]), spec(template));
        assert_eq!(new.node_selector.unwrap_or_default()["disk"], "ssd");
        assert_eq!(new.tolerations.map(|tolerations| tolerations.len()), Some(1));
        assert_eq!(new.priority_class_name.as_deref(), Some("high"));
        assert_eq!(new.service_account_name.as_deref(), Some("own"));
        assert_eq!(new.automount_service_account_token, Some(false));
        assert_eq!(new.image_pull_secrets.map(|secrets| secrets[0].name.clone()), Some("registry".to_owned()));
        let affinity = new.affinity.unwrap_or_default();
        assert!(affinity.node_affinity.is_some(), "{component}");
        assert_eq!(affinity.pod_anti_affinity, old.affinity.unwrap_or_default().pod_anti_affinity, "{component}");
        let spread = new.topology_spread_constraints.unwrap_or_default();
        let selected = spread[0].label_selector.clone().unwrap_or_default().match_labels.unwrap_or_default();
        assert_eq!(&selected[COMPONENT_LABEL], component);
        let variables = |spec: &[k8s_openapi::api::core::v1::Container]| spec[0].env.clone().unwrap_or_default();
        let (old_env, new_env) = (variables(&old.containers), variables(&new.containers));
        assert_eq!(new_env[..old_env.len()], old_env[..], "{component}");
        assert_eq!(new_env.last().map(|variable| variable.name.as_str()), Some("JAVA_TOOL_OPTIONS"));
        assert_eq!(new.security_context, old.security_context, "{component}");
        assert_eq!(new.termination_grace_period_seconds, Some(90), "{component}");
        assert_eq!(old.termination_grace_period_seconds, Some(grace(of(component))), "{component}");
        let (old_volumes, new_volumes) = (old.volumes.unwrap_or_default(), new.volumes.unwrap_or_default());
        assert_eq!(new_volumes[..old_volumes.len()], old_volumes[..], "{component}");
        assert_eq!(new_volumes.last().map(|volume| volume.name.as_str()), Some("roots"), "{component}");
        let mounts = new.containers[0].volume_mounts.clone().unwrap_or_default();
        assert_eq!(mounts.last().map(|mount| mount.mount_path.as_str()), Some("/etc/ssl/roots"), "{component}");
    }
    // The negative control: without additions there is nothing of it.
    for template in before.values() {
        let spec = spec(template);
        assert!(spec.node_selector.is_none() && spec.tolerations.is_none() && spec.priority_class_name.is_none());
    }
}

/// As OpenShift's restricted-v2 wants it: the namespace gives user and group.
#[test]
fn an_empty_security_context_leaves_the_user_to_the_namespace() {
    for (component, template) in templates(Some(&json!({"securityContext": {}}))) {
        let context = spec(&template).security_context.expect("it has one");
        assert_eq!((context.run_as_user, context.run_as_group, context.fs_group), (None, None, None), "{component}");
        assert_eq!(context.run_as_non_root, Some(true), "{component}");
        assert_eq!(context.seccomp_profile.map(|profile| profile.type_), Some("RuntimeDefault".to_owned()));
    }
    for (component, template) in templates(Some(&json!({"securityContext": {"runAsUser": 7, "fsGroup": 8}}))) {
        let context = spec(&template).security_context.expect("it has one");
        assert_eq!(
            (context.run_as_user, context.run_as_group, context.fs_group),
            (Some(7), None, Some(8)),
            "{component}"
        );
    }
}

#[test]
fn every_volume_and_mount_of_the_operator_is_refused_to_users() {
    for (component, template) in templates(None) {
        let spec = spec(&template);
        for volume in spec.volumes.iter().flatten() {
            assert!(owned_volumes(of(&component)).contains(&volume.name.as_str()), "{component}: {}", volume.name);
        }
        for mount in spec.containers.iter().flat_map(|container| container.volume_mounts.iter().flatten()) {
            let is_owned = owned_mounts(of(&component)).contains(&mount.mount_path.as_str());
            assert!(is_owned, "{component}: {}", mount.mount_path);
        }
    }
}

#[test]
fn every_variable_that_the_operator_sets_is_refused_to_users() {
    for template in templates(None).values() {
        for variable in spec(template).containers.iter().flat_map(|container| container.env.iter().flatten()) {
            assert!(OWNED_VARIABLES.contains(&variable.name.as_str()), "{}", variable.name);
        }
    }
}
