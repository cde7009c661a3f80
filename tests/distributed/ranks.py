"""Real ranks on this machine: what a job runs, with the environment that torchrun would give it.

Lives here: `start_ranks`, `run_ranks`. Must not: specs.

A process needs ten seconds to import the whole stack. Here one process imports it once and every rank is forked from
that one; what a rank executes from there on, and how it ends, is what it is anywhere.
"""

import multiprocessing
import os
import socket
import sys
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from harness.run import main
from harness.spec import Stage
from harness.store import Store

ROOT = Path(__file__).parents[2]
SECONDS = 300
_LOADED = ["harness.run", "harness.loop", "harness.engine._deepspeed", "harness.data._ffcv", "harness.stages._fit"]


@dataclass
class Rank:
    """One rank, running or ended."""

    process: BaseProcess
    log: Path

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    def running(self) -> bool:
        return self.process.is_alive()

    def wait(self, seconds: float = SECONDS) -> tuple[int, str]:
        """Exit code (negative: the signal that ended it) and output, when it has ended."""
        self.process.join(seconds)
        assert self.process.exitcode is not None, f"still running after {seconds} s:\n{self.output}"
        return self.process.exitcode, self.output

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")


def start_ranks(stages: list[Stage], store: Store, world: int, *options: str) -> list[Rank]:
    """`python -m harness.run KEY ... options` on `world` gloo ranks."""
    store.require_writable()
    store.write_specs(stages)
    arguments = [*(stage.key for stage in stages), "--store", str(store.root), *options]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    logs = Path(tempfile.mkdtemp(prefix="ranks-"))
    ranks = []
    for number in range(world):
        environment = {"RANK": str(number), "LOCAL_RANK": str(number), "WORLD_SIZE": str(world)}
        environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        log = logs / f"{number}.log"
        process = _nursery().Process(target=_be_rank, args=(environment, arguments, str(log)))
        process.start()
        ranks.append(Rank(process, log))
    return ranks


def run_ranks(stages: list[Stage], store: Store, world: int, *options: str) -> list[tuple[int, str]]:
    """Exit code and output of every rank, when all have ended."""
    ranks = start_ranks(stages, store, world, *options)
    end = time.monotonic() + SECONDS
    try:
        return [rank.wait(end - time.monotonic()) for rank in ranks]
    finally:
        for rank in ranks:
            rank.process.kill()


def _nursery() -> ForkServerContext:
    """Where ranks are forked: a process of its own, for this one has threads that a fork would leave behind."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_LOADED)
    return context


def _be_rank(environment: dict[str, str], arguments: list[str], log: str) -> None:
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.environ.update(environment)
    torch.set_num_threads(1)  # ranks that share two cores
    sys.exit(main(arguments))
