"""The process group all ranks of a launch share.

Lives here: joining and leaving it, and what ranks agree on at the borders of a stage. Must not: DeepSpeed, training.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed import HashStore, Store, TCPStore  # type: ignore[attr-defined]  # exported, but not said to be

from harness.course import Ranks
from harness.errors import GaveUpError, StageError, UserError
from harness.spec import Json
from harness.topology import Topology

START_TIMEOUT = timedelta(minutes=10)
"""Longest wait for all ranks to start: many import the whole stack from one cold file system."""
BORDER_TIMEOUT = timedelta(days=2)
"""Longest wait at the border of a stage, while rank 0 does work for all. A broken connection is noticed at once."""


class Group:
    """The ranks of this launch. Use `join`."""

    def __init__(self) -> None:
        self._borders = dist.new_group(backend="gloo", timeout=BORDER_TIMEOUT)

    def agree(self, fact: str) -> str:
        """What rank 0 says, on every rank."""
        facts = [fact]
        dist.broadcast_object_list(facts, src=0, group=self._borders)
        return facts[0]

    @contextmanager
    def failing_together(self) -> Iterator[None]:
        """Around work that only rank 0 does: the others wait, and raise what it raises."""
        error: BaseException | None = None
        try:
            yield
        except (UserError, StageError) as raised:
            error = raised
        except OSError as raised:
            error = StageError(f"{type(raised).__name__}: {raised}")
        kind, _, reason = self.agree(f"{type(error).__name__} {error}" if error else "").partition(" ")
        if kind:
            raise error or {type_.__name__: type_ for type_ in (UserError, StageError, GaveUpError)}[kind](reason)


@contextmanager
def join(topology: Topology, device: str, *, patience_s: float) -> Iterator[Group]:
    """Join the group, and always leave it: a rank that does not may turn a finished Slurm job into a failed one.

    Within a stage nobody waits longer than `patience_s` for another rank.
    """
    if device.startswith("cuda"):
        torch.cuda.set_device(device)
    _export(topology)
    backend = "nccl" if device.startswith("cuda") else "gloo"
    dist.init_process_group(
        backend,
        store=_meet(topology),
        rank=topology.rank,
        world_size=topology.world,
        timeout=timedelta(seconds=patience_s),
    )
    try:
        yield Group()
    finally:
        dist.destroy_process_group()


def _meet(topology: Topology) -> Store:
    """Wait until all ranks have started. Raises StageError if they do not find each other."""
    if topology.world == 1:
        return HashStore()
    address, port = topology.master_address, topology.master_port
    try:
        return TCPStore(address, port, topology.world, topology.leads, START_TIMEOUT)
    except dist.DistError as error:
        raise StageError(
            f"rank {topology.rank} of {topology.world} did not meet the others at {address}:{port}:"
            f" {str(error).splitlines()[0]}"
        ) from error


def is_lost_rank(error: BaseException) -> bool:
    """Whether an error tells of a rank that died or keeps this one waiting; they have no type in common."""
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "/gloo/" in str(error))


def choose_device(topology: Topology, *, need_gpu: bool = False) -> str:
    """This rank's own GPU where the machine has any, else the CPU. Raises UserError if there are too few."""
    count = torch.cuda.device_count()
    if count == 0 and not need_gpu:
        return "cpu"
    if topology.local_rank >= count:
        raise UserError(f"rank {topology.rank} is number {topology.local_rank} on a machine with {count} usable GPUs")
    return f"cuda:{topology.local_rank}"


def device_name(device: str) -> str:
    """`cpu`, or what the GPU calls itself."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device


def mean_over_ranks(values: torch.Tensor) -> torch.Tensor:
    """The element-wise mean of a tensor that every rank holds."""
    total = values.clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()


def gather_from_ranks(values: torch.Tensor) -> torch.Tensor:
    """[world, ...]: the tensors of all ranks, which have one shape."""
    gathered = values.new_empty(dist.get_world_size(), *values.shape)
    dist.all_gather(list(gathered), values.contiguous())
    return gathered


def add_over_ranks(values: torch.Tensor) -> None:
    """Make a tensor the sum of all ranks', in place."""
    dist.all_reduce(values)


def ranks() -> Ranks:
    """This rank among all, for what a loss remembers."""
    return Ranks(dist.get_rank(), dist.get_world_size(), gather_from_ranks, add_over_ranks)


def from_rank_0(value: Json) -> Json:
    """What rank 0 has, on every rank."""
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]


@torch.no_grad()
def same_on_all_ranks(tensors: Iterable[torch.Tensor]) -> None:
    """Give every rank what rank 0 has, in place: two GPUs need not add in the same order."""
    for tensor in tensors:
        dist.broadcast(tensor.view(torch.uint8) if tensor.dtype == torch.bool else tensor, src=0)


def sum_over_ranks(counts: torch.Tensor) -> list[int]:
    """Exact integer sums over all ranks."""
    total = counts.clone()
    dist.all_reduce(total)
    return [int(count) for count in total]


def _export(topology: Topology) -> None:
    """DeepSpeed reads rank facts from the environment and from nowhere else."""
    os.environ.update(
        RANK=str(topology.rank),
        LOCAL_RANK=str(topology.local_rank),
        WORLD_SIZE=str(topology.world),
        MASTER_ADDR=topology.master_address,
        MASTER_PORT=str(topology.master_port),
    )
