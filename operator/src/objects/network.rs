//! Who may talk to whom: nobody, but for what is listed here.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
    NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use millrace_api::Pipeline;
use millrace_api::names::Component;
use millrace_api::pipeline::PushFrom;
use millrace_api::ports::Port;
use millrace_terms::metadata::METADATA;

use super::scope::{Scope, component_selector, label_selector, owned_metadata, pipeline_labels};
use crate::labels::{APPLICATION, COMPONENT_LABEL};

/// Label that Kubernetes gives every namespace: its name.
const NAMESPACE_NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// The name service of every cluster.
const DNS: u16 = 53;

/// Label that the chart gives every pod of its own, whatever the release is called: [`APPLICATION`].
const PART_OF_LABEL: &str = "app.kubernetes.io/part-of";
/// Components of the chart's pods that ask stores.
const CHART_COMPONENTS: [&str; 3] = ["operator", "smoke-test", "console"];

/// Addresses of the node's own networks, where no source lives; a metadata address among them is blocked with them.
const LINK_LOCAL_V6: &str = "fe80::/10";

/// Returns the policy of all pods of the pipeline: nothing in, and nothing out but questions to the name service.
///
/// That one may be asked at any address, since a cache on the node has a link-local one.
pub fn deny_all(pipeline: &Pipeline) -> NetworkPolicy {
    let dns = NetworkPolicyEgressRule {
        ports: Some(["UDP", "TCP"].map(|protocol| policy_port(protocol, DNS)).to_vec()),
        to: None,
    };
    NetworkPolicy {
        metadata: owned_metadata(pipeline, pipeline.names.shared()),
        spec: Some(NetworkPolicySpec {
            // With `managed-by`, so that an operator which was installed under the pipeline's name stays free.
            pod_selector: Some(label_selector(pipeline_labels(pipeline))),
            policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
            // Said, so that a rule which others add is taken out.
            ingress: Some(Vec::new()),
            egress: Some(vec![dns]),
        }),
    }
}

/// Returns the policy of a component's pods.
pub fn allow(
    scope: &Scope<'_>,
    ingress: Vec<NetworkPolicyIngressRule>,
    egress: Vec<NetworkPolicyEgressRule>,
) -> NetworkPolicy {
    let mut policy_types = vec!["Ingress".to_owned()];
    if !egress.is_empty() {
        policy_types.push("Egress".to_owned());
    }
    NetworkPolicy {
        metadata: scope.metadata(scope.name()),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(label_selector(scope.selector())),
            policy_types: Some(policy_types),
            ingress: Some(ingress),
            egress: Some(egress).filter(|rules| !rules.is_empty()),
        }),
    }
}

/// Lets peers reach ports.
pub fn from(peers: Vec<NetworkPolicyPeer>, ports: &[Port]) -> NetworkPolicyIngressRule {
    NetworkPolicyIngressRule { from: Some(peers), ports: Some(policy_ports(ports)) }
}

/// Lets those whom the user names reach ports. `None`: nobody is named, and a rule without peers would let everybody in.
pub fn from_named(peers: &[NetworkPolicyPeer], ports: &[Port]) -> Option<NetworkPolicyIngressRule> {
    (!peers.is_empty()).then(|| from(peers.to_vec(), ports))
}

/// Lets every client reach ports: what scrapes metrics may run in any namespace, or on a node's own network.
pub fn from_anywhere(ports: &[Port]) -> NetworkPolicyIngressRule {
    NetworkPolicyIngressRule { from: None, ports: Some(policy_ports(ports)) }
}

/// Lets the pods reach ports of peers.
pub fn to(peers: Vec<NetworkPolicyPeer>, ports: &[Port]) -> NetworkPolicyEgressRule {
    NetworkPolicyEgressRule { to: Some(peers), ports: Some(policy_ports(ports)) }
}

/// Lets the pods reach every port of any address, but for those where clouds hand out credentials to any client that
/// asks. One that the administrator allows to sources as an address stays open.
pub fn to_the_world(scope: &Scope<'_>) -> NetworkPolicyEgressRule {
    let block = |cidr: &str, except: Vec<String>| NetworkPolicyPeer {
        ip_block: Some(IPBlock { cidr: cidr.to_owned(), except: Some(except) }),
        ..NetworkPolicyPeer::default()
    };
    let allowed = &scope.administration.allowed_source_hosts;
    let is_allowed = |network: &str| allowed.iter().any(|host| network.split('/').next() == Some(bare(host)));
    let blocked = METADATA.iter().map(|(network, _)| (*network).to_owned()).filter(|network| !is_allowed(network));
    // Blocks of addresses may not overlap in every network, so what the link-local ones have is left out.
    let (v6, v4): (Vec<String>, Vec<String>) =
        blocked.filter(|network| !network.starts_with("fe80:")).partition(|network| network.contains(':'));
    let v6 = [LINK_LOCAL_V6.to_owned()].into_iter().chain(v6).collect();
    NetworkPolicyEgressRule {
        to: Some(vec![
            block("0.0.0.0/0", v4),
            block("::/0", v6),
            // Some networks do not count pods among addresses.
            any_pod(),
        ]),
        ports: None,
    }
}

/// Returns an IPv6 address without the brackets that URLs put around it.
fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

/// Returns the pods of a component of the same pipeline.
pub fn component(pipeline: &Pipeline, component: Component) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        pod_selector: Some(label_selector(component_selector(pipeline, component))),
        ..NetworkPolicyPeer::default()
    }
}

/// Returns who may push records: the pods with all the labels, in each of the namespaces, and the blocks of addresses.
pub fn pushers(pipeline: &Pipeline) -> Vec<NetworkPolicyPeer> {
    let block = |cidr: &String| NetworkPolicyPeer {
        ip_block: Some(IPBlock { cidr: cidr.clone(), except: None }),
        ..NetworkPolicyPeer::default()
    };
    let blocks = pipeline.producer.push_from.addresses.iter().map(block);
    pushing_pods(&pipeline.producer.push_from).into_iter().chain(blocks).collect()
}

fn pushing_pods(push_from: &PushFrom) -> Vec<NetworkPolicyPeer> {
    let PushFrom { namespaces, pod_labels, addresses: _ } = push_from;
    let pods = label_selector(pod_labels.clone());
    let peer = |namespace_selector| NetworkPolicyPeer {
        namespace_selector,
        pod_selector: Some(pods.clone()),
        ..NetworkPolicyPeer::default()
    };
    if namespaces.is_empty() {
        return vec![peer(None)];
    }
    let named = |namespace: &String| label_selector([(NAMESPACE_NAME_LABEL.to_owned(), namespace.clone())].into());
    namespaces.iter().map(|namespace| peer(Some(named(namespace)))).collect()
}

/// Returns the operator's pods and beside them the console's, and the pod of `helm test`, which reads a row back.
pub fn operator(scope: &Scope<'_>) -> NetworkPolicyPeer {
    let namespace = scope.administration.operator_namespace.clone();
    let labels = BTreeMap::from([(NAMESPACE_NAME_LABEL.to_owned(), namespace)]);
    let pods = LabelSelector {
        match_labels: Some(BTreeMap::from([(PART_OF_LABEL.to_owned(), APPLICATION.to_owned())])),
        match_expressions: Some(vec![LabelSelectorRequirement {
            key: COMPONENT_LABEL.to_owned(),
            operator: "In".to_owned(),
            values: Some(CHART_COMPONENTS.map(str::to_owned).to_vec()),
        }]),
    };
    NetworkPolicyPeer {
        namespace_selector: Some(label_selector(labels)),
        pod_selector: Some(pods),
        ..NetworkPolicyPeer::default()
    }
}

/// Returns all pods of the cluster.
pub fn any_pod() -> NetworkPolicyPeer {
    NetworkPolicyPeer { namespace_selector: Some(Default::default()), ..NetworkPolicyPeer::default() }
}

fn policy_ports(ports: &[Port]) -> Vec<NetworkPolicyPort> {
    ports.iter().map(|port| policy_port("TCP", port.number)).collect()
}

fn policy_port(protocol: &str, number: u16) -> NetworkPolicyPort {
    NetworkPolicyPort {
        protocol: Some(protocol.to_owned()),
        port: Some(IntOrString::Int(number.into())),
        end_port: None,
    }
}
