// podnet is the pod network of the built node image, where kind's own plugin is not to be had: an address range and
// routes for pods, and NetworkPolicy. One runs on every node. It watches nodes, pods, namespaces and policies, and
// after each change writes what the node needs: the CNI configuration, a route to every other node's pods, and
// iptables rules.
package main

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// Several events come at once, as when a StatefulSet's pods get their addresses: they are waited for, and written once.
const settle = 50 * time.Millisecond

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, os.Getenv("NODE")); err != nil && ctx.Err() == nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, node string) error {
	config, err := rest.InClusterConfig()
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	changed := make(chan struct{}, 1)
	factory := informers.NewSharedInformerFactory(client, 0)
	nodes := factory.Core().V1().Nodes()
	pods := factory.Core().V1().Pods()
	namespaces := factory.Core().V1().Namespaces()
	policies := factory.Networking().V1().NetworkPolicies()
	for _, informer := range []cache.SharedIndexInformer{nodes.Informer(), pods.Informer(), namespaces.Informer(), policies.Informer()} {
		if _, err := informer.AddEventHandler(notify(changed)); err != nil {
			return err
		}
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())

	written := map[string]string{}
	for ctx.Err() == nil {
		everyNode, err := nodes.Lister().List(labels.Everything())
		if err != nil {
			return err
		}
		if err := writeRoutes(node, everyNode, written); err != nil {
			return err
		}
		seen := cluster{node: node}
		if seen.pods, err = pods.Lister().List(labels.Everything()); err != nil {
			return err
		}
		if seen.namespaces, err = namespaces.Lister().List(labels.Everything()); err != nil {
			return err
		}
		if seen.policies, err = policies.Lister().List(labels.Everything()); err != nil {
			return err
		}
		if err := once(written, "policy", policyRules(seen), restoreRules); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-changed:
			time.Sleep(settle)
		}
	}
	return nil
}

func notify(changed chan<- struct{}) cache.ResourceEventHandler {
	raise := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { raise() },
		UpdateFunc: func(any, any) { raise() },
		DeleteFunc: func(any) { raise() },
	}
}

// once writes a text if it differs from what was last written under this name.
func once(written map[string]string, name, text string, write func(string) error) error {
	if written[name] == text {
		return nil
	}
	if err := write(text); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	written[name] = text
	return nil
}

func writeRoutes(self string, nodes []*corev1.Node, written map[string]string) error {
	for _, node := range nodes {
		address := internalAddress(node)
		switch {
		case node.Spec.PodCIDR == "" || address == "":
			continue
		case node.Name == self:
			if err := once(written, "CNI configuration", cniConfiguration(node.Spec.PodCIDR), writeConfiguration); err != nil {
				return err
			}
		default:
			if err := once(written, "route to "+node.Spec.PodCIDR, address, func(address string) error {
				return command("", "ip", "route", "replace", node.Spec.PodCIDR, "via", address)
			}); err != nil {
				return err
			}
		}
	}
	return nil
}

func internalAddress(node *corev1.Node) string {
	for _, address := range node.Status.Addresses {
		if address.Type == corev1.NodeInternalIP {
			return address.Address
		}
	}
	return ""
}

func cniConfiguration(podCIDR string) string {
	return fmt.Sprintf(`{"cniVersion": "0.4.0", "name": "pods", "plugins": [
  {"type": "ptp", "ipMasq": false, "mtu": 1500,
   "ipam": {"type": "host-local", "dataDir": "/run/cni-ipam-state", "routes": [{"dst": "0.0.0.0/0"}], "ranges": [[{"subnet": %q}]]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}
]}
`, podCIDR)
}

// containerd reads the directory at any time: the file appears whole.
func writeConfiguration(text string) error {
	const path = "/etc/cni/net.d/10-pods.conflist"
	if err := os.WriteFile(path+".new", []byte(text), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// restoreRules replaces our own chains in one step and leaves all others alone.
func restoreRules(text string) error {
	if err := command(text, "iptables-restore", "--wait", "--noflush"); err != nil {
		return err
	}
	for _, hook := range hooks {
		if command("", "iptables", append([]string{"--wait", "-t", hook.table, "-C", hook.chain}, hook.rule...)...) == nil {
			continue
		}
		if err := command("", "iptables", append([]string{"--wait", "-t", hook.table, "-A", hook.chain}, hook.rule...)...); err != nil {
			return err
		}
	}
	return nil
}

func command(input, name string, arguments ...string) error {
	var complaint bytes.Buffer
	process := exec.Command(name, arguments...)
	process.Stdin = strings.NewReader(input)
	process.Stderr = &complaint
	if err := process.Run(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(arguments, " "), err, complaint.String())
	}
	return nil
}
