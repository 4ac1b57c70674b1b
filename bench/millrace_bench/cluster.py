"""The stores on the cluster: applied, awaited, found by address and by process, and described for the result."""

import json
import os
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from .plan import BENCH, MEMTABLES, NAMESPACE, PIPELINE, REPOSITORY

OPERATOR = ("millrace-system", "millrace")
READY_WITHIN = 600


def kubectl(*arguments: str, text: str | None = None) -> str:
    done = subprocess.run(["kubectl", *arguments], input=text, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def get(*arguments: str) -> dict:
    return json.loads(kubectl("get", *arguments, "-o", "json"))


def operator_up() -> None:
    """Brings up the cluster and installs the chart, where no operator runs yet."""
    subprocess.run([REPOSITORY / "cluster/cluster.sh", "up"], check=True)
    namespace, name = OPERATOR
    if subprocess.run(["kubectl", "-n", namespace, "get", "deployment", name], capture_output=True).returncode == 0:
        return
    subprocess.run([REPOSITORY / "cluster/build-images.sh"], check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR") or REPOSITORY / "target")
    images = dict(line.split("=", 1) for line in (target / "images.env").read_text().splitlines())
    tags = [f"{key}={images[image].rpartition(':')[2]}"
            for key, image in (("image.tag", "OPERATOR_IMAGE"), ("worker.image.tag", "WORKER_IMAGE"),
                               ("console.image.tag", "CONSOLE_IMAGE"))]
    subprocess.run(["helm", "upgrade", "--install", name, REPOSITORY / "charts/millrace", "--namespace", namespace,
                    "--create-namespace", "--take-ownership", "--values", REPOSITORY / "examples/demo-values.yaml",
                    "--set", ",".join(tags), "--wait", "--timeout", "3m"], check=True)


def stores_up(memtable: str | None) -> None:
    """Applies pipeline.yaml with a kind of memtables, and waits until the stores, topics and tables are there."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    kubectl("apply", "-f", "-", text=json.dumps(namespace))
    kubectl("apply", "-n", NAMESPACE, "-f", str(BENCH / "host.yaml"), "-f", str(BENCH / "pipeline.yaml"))
    # What pipeline.yaml does not name stays when it is applied again. Another kind than before restarts the node.
    chosen = {"spec": {"cassandra": {"config": MEMTABLES[memtable]}}}
    kubectl("patch", f"spl/{PIPELINE}", "-n", NAMESPACE, "--type", "merge", "--patch", json.dumps(chosen))
    kubectl("wait", "--for=condition=Ready", f"spl/{PIPELINE}", "-n", NAMESPACE, f"--timeout={READY_WITHIN}s")


def stores_down() -> None:
    kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found")


def resolver_file() -> Path:
    """Returns a resolv.conf that asks the cluster's DNS: Kafka's advertised names are known only there."""
    address = get("service", "-n", "kube-system", "kube-dns")["spec"]["clusterIP"]
    path = Path(tempfile.gettempdir()) / "millrace-bench-resolv.conf"
    path.write_text(f"nameserver {address}\nsearch cluster.local\noptions ndots:5\n")
    return path


@dataclass(frozen=True)
class Store:
    """One store's only pod."""

    address: str
    image: str
    # When its container was started; another moment is another, cold process.
    started: str
    # Its JVM, as the host sees it.
    pid: int


def find(component: str) -> Store:
    """Finds the pod of `kafka`, `cassandra` or `zookeeper`."""
    labels = f"app.kubernetes.io/component={component},app.kubernetes.io/instance={PIPELINE}"
    pod, = get("pods", "-n", NAMESPACE, "-l", labels)["items"]
    container = pod["status"]["containerStatuses"][0]
    return Store(address=pod["status"]["podIP"], image=container["image"],
                 started=container["state"]["running"]["startedAt"], pid=jvm_of(pod["metadata"]["uid"]))


def jvm_of(pod_uid: str) -> int:
    """Finds a pod's JVM among the processes of this machine: the kind nodes are containers on it."""
    marks = (pod_uid, pod_uid.replace("-", "_"))
    for process in Path("/proc").iterdir():
        try:
            if (process / "comm").read_text() != "java\n":
                continue
            if any(mark in (process / "cgroup").read_text() for mark in marks):
                return int(process.name)
        except (FileNotFoundError, NotADirectoryError, ProcessLookupError):
            continue
    raise SystemExit(f"no JVM of pod {pod_uid} on this machine: is the cluster's Docker engine elsewhere?")


def configuration() -> dict:
    """Returns the stores' configuration files as the operator rendered them."""
    kept = ("cassandra.yaml", "jvm-server.options", "server.properties", "zoo.cfg")
    maps = get("configmaps", "-n", NAMESPACE)["items"]
    return {name: text for item in maps for name, text in item.get("data", {}).items() if name in kept}


def machine() -> dict:
    cpu = next(line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name"))
    memory = next(int(line.split()[1]) for line in open("/proc/meminfo") if line.startswith("MemTotal"))
    describe = ["git", "-C", REPOSITORY, "describe", "--always", "--dirty"]
    commit = subprocess.run(describe, capture_output=True, text=True)
    return {"cores": os.cpu_count(), "cpu": cpu, "memory_gib": round(memory / 2**20, 1), "kernel": os.uname().release,
            "commit": commit.stdout.strip(), "date": time.strftime("%Y-%m-%d %H:%M %Z")}
