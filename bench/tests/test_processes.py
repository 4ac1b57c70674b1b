import os
import tempfile
import time
import unittest
from pathlib import Path

from millrace_bench.processes import Client, cpu_of, fields_of, machine_cpu


def alive(pid: int) -> bool:
    """Returns whether a process runs; one that nobody has waited for yet does not."""
    time.sleep(0.05)
    return Path(f"/proc/{pid}").exists() and fields_of(pid)[0] not in "XZ"


class Processes(unittest.TestCase):
    def test_a_client_costs_what_all_its_processes_cost_and_leaves_none_behind(self):
        with tempfile.TemporaryDirectory() as home:
            # The work is done by a child, as that of Spark or of a Python service is.
            client = Client(["bash", "-c", "(while :; do :; done) & wait"], {}, Path(home) / "log")
            deadline = time.time() + 20
            while client.cpu() < 0.05 and time.time() < deadline:
                client.looked = 0.0
                client.look()
                time.sleep(0.02)
            resident, peak = client.memory()
            members = client.members
            client.stop()
        self.assertEqual(len(members), 2)
        self.assertGreaterEqual(client.last_cpu, 0.05)
        self.assertTrue(0 < resident <= peak)
        self.assertFalse([pid for pid in members if alive(pid)])

    def test_own_cpu_is_part_of_the_machines(self):
        self.assertLess(0.0, cpu_of(os.getpid()))
        self.assertLess(cpu_of(os.getpid()), machine_cpu()[0])
