"""A node in a container of the image that the operator runs, with both kinds of memtables, off the heap."""

import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from millrace_bench.plan import REPOSITORY, cache

NAME = "millrace-memtables"
STARTS_WITHIN = 180

# The image's own file would do, but the official one has further kinds in it already.
BASE = REPOSITORY / "cluster/built/stores/cassandra/conf/cassandra.yaml"
SETTINGS = {
    "auto_snapshot": "false",
    "broadcast_rpc_address": "127.0.0.1",
    "memtable": "{configurations: {skiplist: {class_name: SkipListMemtable}, trie: {class_name: TrieMemtable}, "
                "default: {inherits: skiplist}}}",
    "memtable_allocation_type": "offheap_objects",
    "rpc_address": "0.0.0.0",
}
# So that nothing is given up on a busy machine, and so that memtables are always at their limit.
PATIENT = {"counter_write_request_timeout": "30000ms", "write_request_timeout": "30000ms"}
TIGHT = {"memtable_heap_space": "4MiB", "memtable_offheap_space": "4MiB"}

SCRIPT = """
cp -r /etc/cassandra/. /config/
printf '%s' "$CASSANDRA_YAML" >/config/cassandra.yaml
exec cassandra -f"""


@dataclass(frozen=True)
class Node:
    """A node that runs."""

    address: str

    @property
    def nodetool(self) -> list[str]:
        return ["docker", "exec", NAME, "nodetool"]

    def log(self) -> str:
        # Java's stack traces come on the one, the log on the other.
        done = subprocess.run(["docker", "logs", NAME], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              check=True)
        return done.stdout

    def errors(self) -> list[str]:
        return [line for line in self.log().splitlines() if line.startswith("ERROR") or "AssertionError" in line]

    def dump_threads(self, name: str) -> Path:
        """Keeps the log with what every thread is at."""
        docker("kill", "--signal", "QUIT", NAME)
        time.sleep(5)
        path = cache() / "bench" / "logs" / f"{name}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.log())
        return path

    @contextmanager
    def paused(self):
        docker("pause", NAME)
        try:
            yield
        finally:
            docker("unpause", NAME)


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"docker {arguments[0]}: {done.stderr.strip()}")
    return done.stdout.strip()


def yaml(settings: dict[str, str]) -> str:
    kept = [line for line in BASE.read_text().splitlines() if line.partition(":")[0] not in settings]
    return "\n".join([*kept, *(f"{key}: {value}" for key, value in settings.items()), ""])


@contextmanager
def node(image: str, settings: dict[str, str]):
    """Starts a node, and removes it with its volume at the end."""
    remove()
    scratch = [word for path in ("/config", "/var/log/cassandra", "/tmp")
               for word in ("--tmpfs", f"{path}:exec,uid=999,gid=999")]
    environment = {
        "CASSANDRA_CONF": "/config", "CASSANDRA_LOG_DIR": "/var/log/cassandra", "CASSANDRA_HEAPDUMP_DIR": "/tmp",
        "CASSANDRA_YAML": yaml(SETTINGS | settings), "HEAP_NEWSIZE": "128M", "HOME": "/tmp", "MAX_HEAP_SIZE": "512M",
        "JVM_EXTRA_OPTS": "-Dcassandra.ring_delay_ms=1 -Dcassandra.skip_wait_for_gossip_to_settle=0",
    }
    told = [word for key, value in environment.items() for word in ("--env", f"{key}={value}")]
    try:
        docker("run", "--detach", "--name", NAME, "--user", "999:999", "--cap-drop", "ALL", *scratch, *told,
               "--volume", "/var/lib/cassandra", "--entrypoint", "/bin/bash", image, "-ec", SCRIPT)
        yield Node(address())
    finally:
        remove()


def address() -> str:
    """Returns the container's address once it answers CQL."""
    deadline = time.time() + STARTS_WITHIN
    answers = ["docker", "exec", NAME, "/bin/bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/9042"]
    while subprocess.run(answers, capture_output=True).returncode != 0:
        if time.time() > deadline or docker("inspect", "-f", "{{.State.Running}}", NAME) != "true":
            raise SystemExit(f"the node does not answer:\n{docker('logs', '--tail', '15', NAME)}")
        time.sleep(1)
    return docker("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", NAME)


def remove() -> None:
    subprocess.run(["docker", "rm", "--force", "--volumes", NAME], capture_output=True)
