"""Clients under test: started each in a session of its own, and what that session has cost, read from /proc."""

import os
import signal
import subprocess
import time
from pathlib import Path

TICK = 1 / os.sysconf("SC_CLK_TCK")


def fields_of(pid: int) -> list[str]:
    """Returns the fields of /proc/PID/stat from the third on; the second, a name, may hold anything."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def cpu_of(pid: int) -> float:
    """Returns the CPU seconds of a process and of the children that it has waited for."""
    return sum(int(ticks) for ticks in fields_of(pid)[11:15]) * TICK


def machine_cpu() -> tuple[float, float]:
    """Returns the CPU seconds that this machine has worked, and those that the hypervisor took."""
    user, nice, system, idle, waiting, irq, soft, stolen = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + soft) * TICK, stolen * TICK


class Client:
    """A running client and all that it has started."""

    def __init__(self, command: list, environment: dict, log: Path):
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        self.started = time.time()
        with log.open("w") as output:
            self.process = subprocess.Popen(command, env={**os.environ, **environment}, stdin=subprocess.DEVNULL,
                                            stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        self.members = {self.process.pid}
        self.looked = 0.0
        self.last_cpu = 0.0

    def look(self) -> None:
        """Finds the processes of the session again, at most once a second: all of /proc is read for it."""
        if time.time() - self.looked < 1:
            return
        self.looked = time.time()
        self.members = set()
        for entry in os.listdir("/proc"):
            try:
                if entry.isdigit() and int(fields_of(int(entry))[3]) == self.process.pid:
                    self.members.add(int(entry))
            except (FileNotFoundError, ProcessLookupError):
                continue

    def cpu(self) -> float:
        """Returns the CPU seconds so far; what a process that has just gone had cost is not forgotten."""
        total = 0.0
        for pid in self.members:
            try:
                total += cpu_of(pid)
            except (FileNotFoundError, ProcessLookupError):
                continue
        self.last_cpu = max(self.last_cpu, total)
        return self.last_cpu

    def memory(self) -> tuple[int, int]:
        """Returns the resident bytes now and at their peak, summed over the processes."""
        resident = peak = 0
        for pid in self.members:
            try:
                lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            except (FileNotFoundError, ProcessLookupError):
                continue
            sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.endswith("kB")}
            resident += sizes.get("VmRSS", 0)
            peak += sizes.get("VmHWM", 0)
        return resident, peak

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def stop(self, within: float = 30) -> int:
        """Ends the session, politely at first, and returns the exit code of its first process."""
        if not self.ended:
            self.process.terminate()
        try:
            self.process.wait(within)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        return self.process.wait()

    def tail(self, lines: int = 15) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
