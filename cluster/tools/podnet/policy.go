package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// The cluster as seen from one node.
type cluster struct {
	node       string
	pods       []*corev1.Pod
	namespaces []*corev1.Namespace
	policies   []*networkingv1.NetworkPolicy
}

type hook struct {
	table, chain string
	rule         []string
}

// Where our rules are entered. Policy stands in mangle, which packets pass after a Service's address has become a
// pod's and before kube-proxy's own filter rules could accept them. The kubelet's probes are not forwarded, and so
// not concerned.
var hooks = []hook{
	{"mangle", "FORWARD", []string{"-j", "MILLRACE-POLICY"}},
	{"nat", "POSTROUTING", []string{"-s", podRange, "!", "-d", podRange, "-j", "MASQUERADE"}},
}

// kubeadm's default, which kind keeps.
const podRange = "10.244.0.0/16"

// policyRules returns, for iptables-restore, the rules that hold this node's pods to their policies. Every pod has a
// chain for each direction; one that some policy selects ends in DROP, and before that returns for each peer and port
// that a policy allows. The order is fixed: equal clusters give equal text.
func policyRules(seen cluster) string {
	var chains, jumps, rules []string
	for index, pod := range seen.localPods() {
		for _, direction := range []direction{ingress, egress} {
			selecting := seen.selecting(pod, direction.kind)
			if len(selecting) == 0 {
				continue
			}
			chain := fmt.Sprintf("MILLRACE-%s-%d", direction.name, index)
			chains = append(chains, ":"+chain+" -")
			jumps = append(jumps, fmt.Sprintf("-A MILLRACE-POLICY %s %s -j %s", direction.podFlag, pod.Status.PodIP, chain))
			for _, policy := range selecting {
				for _, allowed := range seen.allowed(policy, pod, direction) {
					rules = append(rules, fmt.Sprintf("-A %s%s -j RETURN", chain, allowed))
				}
			}
			rules = append(rules, "-A "+chain+" -j DROP")
		}
	}
	lines := []string{"*mangle", ":MILLRACE-POLICY -"}
	lines = append(lines, chains...)
	lines = append(lines, "-A MILLRACE-POLICY -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN")
	lines = append(lines, jumps...)
	lines = append(lines, rules...)
	return strings.Join(append(lines, "COMMIT", ""), "\n")
}

type direction struct {
	name              string
	kind              networkingv1.PolicyType
	podFlag, peerFlag string
}

var (
	ingress = direction{"IN", networkingv1.PolicyTypeIngress, "-d", "-s"}
	egress  = direction{"OUT", networkingv1.PolicyTypeEgress, "-s", "-d"}
)

// networked tells whether a pod has an address of its own now.
func networked(pod *corev1.Pod) bool {
	return !pod.Spec.HostNetwork && pod.Status.PodIP != "" &&
		pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed
}

func (seen cluster) localPods() []*corev1.Pod {
	var local []*corev1.Pod
	for _, pod := range seen.pods {
		if pod.Spec.NodeName == seen.node && networked(pod) {
			local = append(local, pod)
		}
	}
	slices.SortFunc(local, func(a, b *corev1.Pod) int { return strings.Compare(a.Status.PodIP, b.Status.PodIP) })
	return local
}

// selecting returns the policies that rule a pod's traffic in this direction.
func (seen cluster) selecting(pod *corev1.Pod, kind networkingv1.PolicyType) []*networkingv1.NetworkPolicy {
	var selecting []*networkingv1.NetworkPolicy
	for _, policy := range seen.policies {
		if policy.Namespace == pod.Namespace && slices.Contains(policy.Spec.PolicyTypes, kind) && matches(&policy.Spec.PodSelector, pod.Labels) {
			selecting = append(selecting, policy)
		}
	}
	slices.SortFunc(selecting, func(a, b *networkingv1.NetworkPolicy) int { return strings.Compare(a.Name, b.Name) })
	return selecting
}

// allowed returns the matches of iptables, each with a leading space, for what a policy allows a pod.
func (seen cluster) allowed(policy *networkingv1.NetworkPolicy, pod *corev1.Pod, direction direction) []string {
	var matches []string
	if direction.kind == networkingv1.PolicyTypeIngress {
		for _, rule := range policy.Spec.Ingress {
			matches = append(matches, seen.rule(policy.Namespace, rule.From, rule.Ports, direction, pod)...)
		}
	} else {
		for _, rule := range policy.Spec.Egress {
			matches = append(matches, seen.rule(policy.Namespace, rule.To, rule.Ports, direction, nil)...)
		}
	}
	return matches
}

// rule combines each peer with each port. A named port is looked up in the pod that serves it: ours on the way in,
// the peer on the way out.
func (seen cluster) rule(namespace string, peers []networkingv1.NetworkPolicyPeer, ports []networkingv1.NetworkPolicyPort, direction direction, server *corev1.Pod) []string {
	var matches []string
	if len(peers) == 0 {
		return portMatches(ports, server)
	}
	for _, peer := range peers {
		if peer.IPBlock != nil {
			for _, prefix := range blockPrefixes(peer.IPBlock) {
				for _, port := range portMatches(ports, server) {
					matches = append(matches, fmt.Sprintf(" %s %s%s", direction.peerFlag, prefix, port))
				}
			}
			continue
		}
		for _, pod := range seen.peerPods(namespace, peer) {
			serving := server
			if serving == nil {
				serving = pod
			}
			for _, port := range portMatches(ports, serving) {
				matches = append(matches, fmt.Sprintf(" %s %s%s", direction.peerFlag, pod.Status.PodIP, port))
			}
		}
	}
	return matches
}

func (seen cluster) peerPods(namespace string, peer networkingv1.NetworkPolicyPeer) []*corev1.Pod {
	within := map[string]bool{namespace: true}
	if peer.NamespaceSelector != nil {
		within = map[string]bool{}
		for _, candidate := range seen.namespaces {
			within[candidate.Name] = matches(peer.NamespaceSelector, candidate.Labels)
		}
	}
	var pods []*corev1.Pod
	for _, pod := range seen.pods {
		if within[pod.Namespace] && networked(pod) && (peer.PodSelector == nil || matches(peer.PodSelector, pod.Labels)) {
			pods = append(pods, pod)
		}
	}
	slices.SortFunc(pods, func(a, b *corev1.Pod) int { return strings.Compare(a.Status.PodIP, b.Status.PodIP) })
	return pods
}

// matches holds the API server's word that the selector is valid.
func matches(selector *metav1.LabelSelector, set map[string]string) bool {
	parsed, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && parsed.Matches(labels.Set(set))
}

// portMatches returns one match for each port, or an empty one that matches all. A name that the server does not have
// matches nothing.
func portMatches(ports []networkingv1.NetworkPolicyPort, server *corev1.Pod) []string {
	if len(ports) == 0 {
		return []string{""}
	}
	var matches []string
	for _, port := range ports {
		protocol := corev1.ProtocolTCP
		if port.Protocol != nil {
			protocol = *port.Protocol
		}
		match := " -p " + strings.ToLower(string(protocol))
		switch {
		case port.Port == nil:
			matches = append(matches, match)
		case port.Port.Type == intstr.String:
			if number := namedPort(server, port.Port.StrVal, protocol); number != 0 {
				matches = append(matches, fmt.Sprintf("%s --dport %d", match, number))
			}
		case port.EndPort != nil:
			matches = append(matches, fmt.Sprintf("%s --dport %d:%d", match, port.Port.IntVal, *port.EndPort))
		default:
			matches = append(matches, fmt.Sprintf("%s --dport %d", match, port.Port.IntVal))
		}
	}
	return matches
}

func namedPort(pod *corev1.Pod, name string, protocol corev1.Protocol) int32 {
	if pod == nil {
		return 0
	}
	for _, container := range pod.Spec.Containers {
		for _, port := range container.Ports {
			if port.Name == name && (port.Protocol == protocol || port.Protocol == "" && protocol == corev1.ProtocolTCP) {
				return port.ContainerPort
			}
		}
	}
	return 0
}

// blockPrefixes returns the prefixes of a block without its exceptions; of IPv4 only, as the pods are.
func blockPrefixes(block *networkingv1.IPBlock) []netip.Prefix {
	whole, err := netip.ParsePrefix(block.CIDR)
	if err != nil || !whole.Addr().Is4() {
		return nil
	}
	prefixes := []netip.Prefix{whole.Masked()}
	for _, exception := range block.Except {
		hole, err := netip.ParsePrefix(exception)
		if err != nil {
			continue
		}
		var left []netip.Prefix
		for _, prefix := range prefixes {
			left = append(left, without(prefix, hole.Masked())...)
		}
		prefixes = left
	}
	return prefixes
}

// without halves a prefix until each part is wholly outside the hole, or inside.
func without(prefix, hole netip.Prefix) []netip.Prefix {
	switch {
	case !prefix.Overlaps(hole):
		return []netip.Prefix{prefix}
	case hole.Bits() <= prefix.Bits():
		return nil
	}
	bits := prefix.Bits() + 1
	upper := prefix.Addr().As4()
	upper[(bits-1)/8] |= 1 << (7 - (bits-1)%8)
	return append(without(netip.PrefixFrom(prefix.Addr(), bits), hole), without(netip.PrefixFrom(netip.AddrFrom4(upper), bits), hole)...)
}
