"""What must be there before anything is measured: the harness' own Python packages, and every peer's build.

All of it is kept outside the checkout and made again only when its recipe changes.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from .plan import BENCH, Peer, cache, peer_cache


def venv_up() -> Path:
    """Returns the Python that has the harness' packages, installed if need be."""
    recipe = hashlib.sha256((BENCH / "requirements.txt").read_bytes() + sys.version.encode()).hexdigest()[:12]
    home = cache() / "bench" / f"venv-{recipe}"
    python = home / "bin" / "python"
    if not (home / "complete").exists():
        shutil.rmtree(home, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", BENCH / "requirements.txt"], check=True)
        (home / "complete").touch()
    return python


def build(peer: Peer) -> None:
    """Runs the peer's own build, which leaves alone what is there already."""
    home = peer_cache(peer.name)
    home.mkdir(parents=True, exist_ok=True)
    log = home / "build.log"
    with log.open("w") as output:
        built = subprocess.run([peer.directory / "build"], env={**os.environ, "BENCH_CACHE": str(home)},
                               stdout=output, stderr=subprocess.STDOUT)
    if built.returncode != 0:
        end = "\n".join(log.read_text().splitlines()[-25:])
        raise SystemExit(f"{peer.name}: build failed (status {built.returncode}); the end of {log}:\n{end}")
