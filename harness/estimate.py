"""What the stages of a plan will cost, before anything is spent.

Lives here: an estimate of every missing stage with its source, and whether on GPUs. Must not: which stages share a job
(`harness.job_cost`), what a stage did cost (`harness.leaderboard.rows`).

In this order: *measured*, a row tells what this very stage took; *scaled*, stages that do the same work on the same
network were measured, and time goes with the images; *modelled*, multiply-accumulates over a stated rate.
"""

import functools
import importlib
import importlib.util
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.benchmark import find_suite
from harness.leaderboard.rows import read_row
from harness.placement import visible_gpus
from harness.plan import Step, inputs_first
from harness.profile import Profile
from harness.spec import Stage
from harness.stages.prepare import Prepare
from harness.store import THREADS, Store
from harness.workload import Load, Shape, workload

Source = Literal["measured", "scaled", "modelled"]
Counts = Mapping[str, Mapping[str, int] | None]
"""Images by split, by the key of their `Prepare`; None where nobody knows."""

MACS_PER_S = {"bf16": 15e12, "fp32": 6e12, "cpu": 2e10}
"""Of a GPU in bf16 and fp32, and of a CPU core: assumed."""
PREPARED_PER_S = 100
"""Images that are decoded and stored in a second: assumed."""
KNOWN_SETS = {
    "imagenet": (1_281_167, 50_000),
    "cifar10": (50_000, 10_000),
    "cifar100": (50_000, 10_000),
    "tiny_imagenet": (100_000, 10_000),
    "cub200": (5_994, 5_794),
    "fashion_mnist": (60_000, 10_000),
    "digits": (1_437, 360),
}
"""Training and validation images of sets that may not be prepared yet."""


@dataclass(frozen=True)
class Estimate:
    """Seconds times ranks of one stage, without the start of its job, and where the figure comes from."""

    device_seconds: float
    source: Source


@dataclass(frozen=True)
class _Kind:
    """Stages of one kind cost the same for each image."""

    stage: str
    networks: tuple[tuple[Shape, int], ...]
    """Each with its forward passes."""
    size: int
    precision: str


def estimates(steps: Iterable[Step], benchmark: str, store: Store, results: Path, *, gpu: bool) -> dict[str, Estimate]:
    """An estimate by key for every stage that is to be run, on GPUs or else on CPU cores.

    What was measured on the other sort of device tells nothing. Left out are stages of a set whose size nobody knows
    before it is prepared and, where torch is not installed, those that would be modelled.
    """
    missing = [step.stage for step in steps if not step.done]
    spent = _rows(results, gpu=gpu)
    planned = _planned(benchmark, missing)
    counts = _counted(planned.values(), store)
    paces = _paces(planned, {**_manifests(planned, store, gpu=gpu), **spent}, counts)
    found = {}
    for stage in missing:
        if stage.key in spent:
            found[stage.key] = Estimate(spent[stage.key], "measured")
        elif (loads := _loads(stage, counts)) is None:
            continue
        elif (pace := paces.get(_kind(stage, loads))) is not None:
            found[stage.key] = Estimate(pace * _images(loads), "scaled")
        elif not loads or importlib.util.find_spec("torch") is not None:
            found[stage.key] = Estimate(_modelled(stage, loads, counts, gpu=gpu), "modelled")
    return found


def assumes_gpu(gpus: int, profile: Profile) -> bool:
    """Whether ranks are taken to have a GPU each, `gpus` of them on a node: a login node has none to look at."""
    named = profile.gpus is not None or "gpu" in (profile.gres or "")
    return gpus > 1 or named or bool(visible_gpus())


def images_of(data: Prepare, store: Store) -> Mapping[str, int] | None:
    """Images by split, as prepared or as they are known to be; None if nobody knows."""
    if store.done(data):
        counted: Mapping[str, int] = store.manifest(data)["payload"]["images"]
        return counted
    name = data.source.name.partition(" (")[0]  # what follows tells a part of a set from the whole
    if name not in KNOWN_SETS:
        return None
    train, val = KNOWN_SETS[name]
    if (per_class := getattr(data.source, "per_class", None)) is not None:
        train = per_class * (data.source.classes or 0)
    minival = round(train * data.minival)
    return {"train": train - minival, "minival": minival, "val": val}


def _rows(results: Path, *, gpu: bool) -> dict[str, float]:
    """Device seconds by key, from the rows of all benchmarks."""
    with ThreadPoolExecutor(THREADS) as pool:
        rows = list(pool.map(read_row, sorted((results / "rows").glob("*/*/*.json"))))
    fitting = (row for row in rows if (row.device != "cpu") == gpu)
    return {key: seconds for row in fitting for key, (_, _, seconds) in row.stages.items()}


def _manifests(planned: Mapping[str, Stage], store: Store, *, gpu: bool) -> dict[str, float]:
    """Device seconds by key, from what the store holds of these stages."""
    held = [planned[key] for key in sorted(store.done_of(list(planned.values())))]
    with ThreadPoolExecutor(THREADS) as pool:
        made = [manifest["provenance"] for manifest in pool.map(store.manifest, held)]
    return {
        stage.key: facts["device_seconds"]
        for stage, facts in zip(held, made, strict=True)
        if "device_seconds" in facts and (facts["device"] != "cpu") == gpu
    }


def _planned(benchmark: str, missing: Iterable[Stage]) -> dict[str, Stage]:
    """The stages of all suites of a benchmark, for one seed, and those that are missing: rows hold keys alone."""
    found = {stage.key: stage for stage in missing}
    for suite in importlib.import_module(f"benchmarks.{benchmark}").SUITES:
        for _, wanted in find_suite(benchmark, suite, 1)[1].wanted:
            found.update((stage.key, stage) for stage in inputs_first(wanted, found))
    return found


def _paces(planned: Mapping[str, Stage], spent: Mapping[str, float], counts: Counts) -> dict[_Kind, float]:
    """Device seconds for an image, of every kind that was measured."""
    images: Counter[_Kind] = Counter()
    seconds: defaultdict[_Kind, float] = defaultdict(float)
    for stage in (planned[key] for key in spent if key in planned):
        if loads := _loads(stage, counts):
            kind = _kind(stage, loads)
            images[kind] += _images(loads)
            seconds[kind] += spent[stage.key]
    return {kind: seconds[kind] / images[kind] for kind in images if images[kind]}


def _kind(stage: Stage, loads: Iterable[Load]) -> _Kind:
    networks = tuple((load.shape, load.passes) for load in loads)
    return _Kind(stage.name, networks, _size(stage), _precision(stage))


def _counted(stages: Iterable[Stage], store: Store) -> Counts:
    """Images of every set that the stages read or prepare, each looked up once."""
    sets = {data.key: data for stage in stages if (data := _data(stage)) is not None}
    return {key: images_of(data, store) for key, data in sets.items()}


def _data(stage: Stage) -> Prepare | None:
    return stage if isinstance(stage, Prepare) else getattr(stage, "data", None)


def _loads(stage: Stage, counts: Counts) -> list[Load] | None:
    """What goes through networks; None if nobody knows how many images there are."""
    data = _data(stage)
    images = {} if data is None else counts[data.key]
    return None if images is None else workload(stage, images)


def _images(loads: Iterable[Load]) -> int:
    return sum(load.images for load in loads)


def _size(stage: Stage) -> int:
    """Side of the images in pixels; 0 for a stage that sees none."""
    spec: Any = getattr(stage, "recipe", stage)
    return int(getattr(stage, "size", 0) or getattr(getattr(spec, "augment", None), "size", 0))


def _precision(stage: Stage) -> str:
    return str(getattr(getattr(stage, "recipe", None), "precision", "fp32"))


def _modelled(stage: Stage, loads: Iterable[Load], counts: Counts, *, gpu: bool) -> float:
    """Device seconds by the arithmetic alone. A network made smaller counts as the whole one: an upper bound."""
    if isinstance(stage, Prepare):
        return sum((counts[stage.key] or {}).values()) / PREPARED_PER_S
    work = sum(load.images * load.passes * _macs(load.shape.model, _size(stage)) for load in loads)
    return work / MACS_PER_S[_precision(stage) if gpu else "cpu"]


@functools.cache
def _macs(model: Any, size: int) -> int:
    import torch

    from harness.cost import macs

    with torch.device("meta"):
        return macs(model.build(), size)
