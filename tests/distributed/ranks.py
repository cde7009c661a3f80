"""Two real ranks on this machine: what a job runs, started as torchrun would.

Lives here: `run_ranks`. Must not: specs.
"""

import os
import socket
import subprocess
import sys
from pathlib import Path

from harness.spec import Stage
from harness.store import Store

ROOT = Path(__file__).parents[2]
SECONDS = 300


def start_ranks(stages: list[Stage], store: Store, world: int) -> list[subprocess.Popen[str]]:
    """`python -m harness.run KEY ...` on `world` gloo ranks."""
    store.require_writable()
    store.write_specs(stages)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "harness.run", *(s.key for s in stages), "--store", str(store.root)]
    rendezvous = {"WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    outer = {k: v for k, v in os.environ.items() if not k.startswith("SLURM_")}
    return [
        subprocess.Popen(
            command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**outer, **rendezvous, "RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1",
                 "OMP_WAIT_POLICY": "passive"},
        )
        for rank in range(world)
    ]  # fmt: skip


def run_ranks(stages: list[Stage], store: Store, world: int) -> list[tuple[int, str]]:
    """Exit code and output of every rank, when all have ended."""
    ranks = start_ranks(stages, store, world)
    try:
        outputs = [rank.communicate(timeout=SECONDS)[0] for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    return [(rank.returncode, output) for rank, output in zip(ranks, outputs, strict=True)]
