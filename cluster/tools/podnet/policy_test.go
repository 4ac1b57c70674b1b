package main

import (
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func pod(namespace, role, node, address string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: role, Labels: map[string]string{"role": role}},
		Spec: corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{
			Ports: []corev1.ContainerPort{{Name: "client", ContainerPort: 9092}},
		}}},
		Status: corev1.PodStatus{PodIP: address, Phase: corev1.PodRunning},
	}
}

func selector(role string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{"role": role}}
}

func port(value intstr.IntOrString) networkingv1.NetworkPolicyPort {
	return networkingv1.NetworkPolicyPort{Port: &value}
}

// Two local pods and one elsewhere; brokers take workers on their named port, and may only ask for names.
func example() cluster {
	udp := corev1.ProtocolUDP
	dns := port(intstr.FromInt32(53))
	dns.Protocol = &udp
	return cluster{
		node:       "here",
		namespaces: []*corev1.Namespace{{ObjectMeta: metav1.ObjectMeta{Name: "demo"}}},
		pods: []*corev1.Pod{
			pod("demo", "broker", "here", "10.244.1.2"), pod("demo", "worker", "there", "10.244.2.2"),
			pod("demo", "free", "here", "10.244.1.3"), pod("other", "worker", "here", "10.244.1.4"),
		},
		policies: []*networkingv1.NetworkPolicy{{
			ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "broker"},
			Spec: networkingv1.NetworkPolicySpec{
				PodSelector: *selector("broker"),
				PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress},
				Ingress: []networkingv1.NetworkPolicyIngressRule{{
					From:  []networkingv1.NetworkPolicyPeer{{PodSelector: selector("worker")}},
					Ports: []networkingv1.NetworkPolicyPort{port(intstr.FromString("client"))},
				}},
				Egress: []networkingv1.NetworkPolicyEgressRule{{Ports: []networkingv1.NetworkPolicyPort{dns}}},
			},
		}},
	}
}

func TestHoldsSelectedPodsToTheirPolicyAndLeavesOthersFree(t *testing.T) {
	expected := strings.Join([]string{
		"*mangle",
		":MILLRACE-POLICY -",
		":MILLRACE-IN-0 -",
		":MILLRACE-OUT-0 -",
		"-A MILLRACE-POLICY -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN",
		"-A MILLRACE-POLICY -d 10.244.1.2 -j MILLRACE-IN-0",
		"-A MILLRACE-POLICY -s 10.244.1.2 -j MILLRACE-OUT-0",
		"-A MILLRACE-IN-0 -s 10.244.2.2 -p tcp --dport 9092 -j RETURN",
		"-A MILLRACE-IN-0 -j DROP",
		"-A MILLRACE-OUT-0 -p udp --dport 53 -j RETURN",
		"-A MILLRACE-OUT-0 -j DROP",
		"COMMIT",
		"",
	}, "\n")
	if rules := policyRules(example()); rules != expected {
		t.Errorf("expected:\n%s\ngot:\n%s", expected, rules)
	}
}

func TestCutsExceptionsOutOfABlock(t *testing.T) {
	got := blockPrefixes(&networkingv1.IPBlock{CIDR: "10.0.0.0/8", Except: []string{"10.64.0.0/10", "10.128.0.0/9"}})
	if len(got) != 1 || got[0] != netip.MustParsePrefix("10.0.0.0/10") {
		t.Errorf("got %v", got)
	}
}
