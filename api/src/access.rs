//! Who may reach a store's client port beside those that the pipeline needs: peers as in a NetworkPolicy, parsed and
//! judged.
//!
//! The stores have neither authentication nor encryption in this version: a peer may read, write and delete. So what
//! opens a port to everybody by an omission is refused.

use std::net::IpAddr;

use k8s_openapi::api::networking::v1::{IPBlock, NetworkPolicyPeer};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use crate::labels;
use crate::open_object;
use crate::rejected::Rejected;

/// Returns the schema of the list as written. The fields of a peer are Kubernetes' own, and judged by [`parse`].
pub fn schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "items": {"type": "object", "minProperties": 1, "x-kubernetes-preserve-unknown-fields": true},
    })
}

/// Parses the peers that were written at a path.
pub fn parse(path: &str, written: &[Value]) -> Result<Vec<NetworkPolicyPeer>, Vec<Rejected>> {
    let (mut peers, mut rejected) = (Vec::new(), Vec::new());
    for (index, written) in written.iter().enumerate() {
        let path = format!("{path}[{index}]");
        match open_object::read::<NetworkPolicyPeer>(&path, written, "a peer of a NetworkPolicy") {
            Ok((peer, unknown)) => {
                // A peer whose only field is misspelt is no empty one.
                if unknown.is_empty() {
                    rejected.extend(judged(&path, &peer));
                }
                rejected.extend(unknown);
                peers.push(peer);
            }
            Err(error) => rejected.push(error),
        }
    }
    if rejected.is_empty() { Ok(peers) } else { Err(rejected) }
}

fn judged(path: &str, peer: &NetworkPolicyPeer) -> Vec<Rejected> {
    let NetworkPolicyPeer { ip_block, namespace_selector, pod_selector } = peer;
    let mut rejected = Vec::new();
    match (ip_block, namespace_selector, pod_selector) {
        (None, None, None) => rejected.push(Rejected::new(
            path,
            "a peer names pods, namespaces or a block of addresses; add podSelector, namespaceSelector or ipBlock",
        )),
        (Some(_), Some(_), _) | (Some(_), None, Some(_)) => {
            rejected.push(Rejected::new(path, "an ipBlock cannot have selectors; make it a separate peer"));
        }
        (None, Some(namespaces), pods) if selects_all(namespaces) && pods.as_ref().is_none_or(selects_all) => {
            rejected.push(Rejected::new(
                format!("{path}.namespaceSelector"),
                "it opens the port to every pod of the cluster, and the stores have no authentication; name namespaces \
                 or pods by their labels",
            ));
        }
        (Some(block), None, None) => rejected.extend(of_block(&format!("{path}.ipBlock"), block)),
        (None, _, _) => {}
    }
    for (name, selector) in [("namespaceSelector", namespace_selector), ("podSelector", pod_selector)] {
        if let Some(selector) = selector {
            rejected.extend(of_selector(&format!("{path}.{name}"), selector));
        }
    }
    rejected
}

/// Returns whether a selector selects whatever there is.
fn selects_all(selector: &LabelSelector) -> bool {
    let LabelSelector { match_labels, match_expressions } = selector;
    match_labels.iter().flatten().next().is_none() && match_expressions.iter().flatten().next().is_none()
}

fn of_selector(path: &str, selector: &LabelSelector) -> Vec<Rejected> {
    const LABEL: &str = "must be a label, such as app: shop";
    let mut rejected = Vec::new();
    for (key, value) in selector.match_labels.iter().flatten() {
        if !labels::is_key(key) || !labels::is_value(value) {
            rejected.push(Rejected::new(format!("{path}.matchLabels[{key}]"), LABEL));
        }
    }
    for (index, requirement) in selector.match_expressions.iter().flatten().enumerate() {
        let path = format!("{path}.matchExpressions[{index}]");
        let LabelSelectorRequirement { key, operator, values } = requirement;
        let values = values.as_deref().unwrap_or_default();
        if !labels::is_key(key) {
            rejected.push(Rejected::new(format!("{path}.key"), "must be the key of a label, such as app"));
        }
        if !values.iter().all(|value| labels::is_value(value)) {
            rejected.push(Rejected::new(format!("{path}.values"), "must be values of labels"));
        }
        match (operator.as_str(), values.is_empty()) {
            ("In" | "NotIn", false) | ("Exists" | "DoesNotExist", true) => {}
            ("In" | "NotIn", true) => {
                rejected.push(Rejected::new(format!("{path}.values"), format!("{operator} needs values; add some")));
            }
            ("Exists" | "DoesNotExist", false) => {
                let message = format!("{operator} takes no values; remove them");
                rejected.push(Rejected::new(format!("{path}.values"), message));
            }
            (_, _) => rejected.push(Rejected::new(
                format!("{path}.operator"),
                format!("'{operator}' is not an operator; use In, NotIn, Exists or DoesNotExist"),
            )),
        }
    }
    rejected
}

/// Returns why a text is not a block of addresses.
pub(crate) fn not_a_block(text: &str) -> Option<String> {
    let message = || format!("'{text}' is not a block of addresses; write one, such as 10.1.0.0/16");
    Network::parse(text).is_none().then(message)
}

fn of_block(path: &str, block: &IPBlock) -> Vec<Rejected> {
    let IPBlock { cidr, except } = block;
    let Some(outer) = Network::parse(cidr) else {
        return not_a_block(cidr).map(|message| Rejected::new(format!("{path}.cidr"), message)).into_iter().collect();
    };
    if outer.length == 0 {
        return vec![Rejected::new(
            format!("{path}.cidr"),
            "it opens the port to every address, and the stores have no authentication; write a smaller block",
        )];
    }
    let outside = except.iter().flatten().enumerate().filter(|(_, text)| {
        let inner = Network::parse(text);
        inner.is_none_or(|inner| !outer.has(inner))
    });
    let refuse = |(index, text): (usize, &String)| {
        Rejected::new(format!("{path}.except[{index}]"), format!("'{text}' is not a block within {cidr}; correct it"))
    };
    outside.map(refuse).collect()
}

/// A block of addresses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Network {
    address: IpAddr,
    length: u32,
}

impl Network {
    /// Parses a block such as `10.1.0.0/16`. `None`: the text is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let length: u32 = length.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        (length <= most).then_some(Self { address, length })
    }

    /// Returns whether an address is in the block.
    pub fn contains(self, address: IpAddr) -> bool {
        let bits = |address: IpAddr| match address {
            IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
            IpAddr::V6(address) => address.to_bits(),
        };
        let same = (bits(self.address) ^ bits(address)).leading_zeros();
        self.address.is_ipv4() == address.is_ipv4() && same >= self.length
    }

    /// Returns whether a smaller block is within this one.
    fn has(self, inner: Self) -> bool {
        self.contains(inner.address) && inner.length > self.length
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn refused(peer: Value) -> Vec<String> {
        let parsed = parse("spec.kafka.access.from", &[peer]);
        parsed.err().into_iter().flatten().map(|rejected| rejected.to_string()).collect()
    }

    #[rstest]
    #[case(json!({"podSelector": {}}))] // every pod of the pipeline's namespace
    #[case(json!({"podSelector": {"matchLabels": {"app": "report"}}}))]
    #[case(json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "reports"}}}))]
    #[case(json!({"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "report"}}}))]
    #[case(json!({"namespaceSelector": {"matchExpressions": [{"key": "team", "operator": "Exists"}]}}))]
    #[case(json!({"podSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["a", ""]}]}}))]
    #[case(json!({"ipBlock": {"cidr": "10.1.0.0/16", "except": ["10.1.2.0/24"]}}))]
    #[case(json!({"ipBlock": {"cidr": "fd00:1::/32", "except": ["fd00:1:2::/48"]}}))]
    fn a_peer_that_is_named_is_taken_as_written(#[case] peer: Value) {
        assert_eq!(refused(peer.clone()), [""; 0]);
        let parsed = parse("spec.kafka.access.from", std::slice::from_ref(&peer)).expect("it is accepted");
        assert_eq!(serde_json::to_value(parsed).expect("it serialises"), json!([peer]));
    }

    #[rstest]
    #[case(json!({}), ": a peer names pods, namespaces or a block of addresses")]
    #[case(json!({"namespaceSelector": {}}), ".namespaceSelector: it opens the port to every pod of the cluster")]
    #[case(json!({"namespaceSelector": {}, "podSelector": {}}), ".namespaceSelector: it opens the port to every pod")]
    #[case(json!({"namespaceSelector": {"matchLabels": {}}}), ".namespaceSelector: it opens the port to every pod")]
    #[case(json!({"ipBlock": {"cidr": "0.0.0.0/0"}}), ".ipBlock.cidr: it opens the port to every address")]
    #[case(json!({"ipBlock": {"cidr": "::/0", "except": ["fe80::/10"]}}), ".ipBlock.cidr: it opens the port to every")]
    #[case(json!({"ipBlock": {"cidr": "10.0.0.1"}}), ".ipBlock.cidr: '10.0.0.1' is not a block of addresses")]
    #[case(json!({"ipBlock": {"cidr": "10.0.0.0/33"}}), ".ipBlock.cidr: '10.0.0.0/33' is not a block of addresses")]
    #[case(json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}}), ".ipBlock.except[0]: '11.0.0.0/16' is not")]
    #[case(json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]}}), ".ipBlock.except[0]: '10.0.0.0/8' is not")]
    #[case(json!({"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}), ": an ipBlock cannot have selectors")]
    #[case(json!({"podSelektor": {}, "podSelector": {"a": 1}}), ".podSelector.a: there is no such field in a peer")]
    #[case(json!({"podSelector": {"matchLabels": {"a b": "c"}}}), ".podSelector.matchLabels[a b]: must be a label")]
    #[case(json!({"podSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}), ".podSelector.matchExpressions[0].values: In needs values")]
    #[case(json!({"podSelector": {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}}), ".podSelector.matchExpressions[0].values: Exists takes no values")]
    #[case(json!({"podSelector": {"matchExpressions": [{"key": "a", "operator": "Is"}]}}), ".podSelector.matchExpressions[0].operator: 'Is' is not an operator")]
    #[case(json!({"podSelector": "all"}), ".podSelector: invalid type: string \"all\"")]
    #[case(json!({"podSelector": {"matchLabels": {"app": 1}}}), ".podSelector.matchLabels.app: invalid type: integer `1`, expected a string")]
    fn what_opens_to_all_or_is_no_peer_is_refused_where_it_stands(#[case] peer: Value, #[case] says: &str) {
        let refused = refused(peer);
        let says = format!("spec.kafka.access.from[0]{says}");
        assert!(matches!(&refused[..], [only] if only.starts_with(&says)), "{refused:?}");
    }

    #[test]
    fn a_peer_is_named_by_its_place() {
        let peers = [json!({"podSelector": {}}), json!({})];
        let refused = parse("spec.cassandra.access.from", &peers).expect_err("the second is empty");
        assert_eq!(refused.len(), 1);
        assert_eq!(refused[0].path, "spec.cassandra.access.from[1]");
    }
}
