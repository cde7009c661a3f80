"""Rows on disk: `results/rows/<benchmark>/<suite>/<key>.json`, one for every network that a suite evaluates.

Suites may share a network: each has a row of its own, with its place and what is promised there.

Lives here: making rows of finished entries, what their networks cost, writing and reading them. Must not: tables.
"""

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness.benchmark import Entry, Suite
from harness.errors import UserError
from harness.metrics import wilson
from harness.plan import inputs_first
from harness.row import Row, from_json, to_json
from harness.spec import Json, Stage
from harness.store import THREADS, Store, replace_file


def collect(benchmark: str, suite_name: str, suite: Suite, store: Store, results: Path) -> int:
    """Write a row for every entry whose stages are all in the store. Returns how many are not.

    What a network was made from has to be there too, for its cost; without it an older row stays as it is.
    """
    needed = {entry.evaluate.key: [*entry.stages, *inputs_first(entry.evaluate.network)] for entry in suite.entries}
    done = store.done_of(list({stage.key: stage for stages in needed.values() for stage in stages}.values()))
    finished = [entry for entry in suite.entries if all(stage.key in done for stage in needed[entry.evaluate.key])]
    folder = folder_of(benchmark, suite_name, results)
    if finished:
        folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(THREADS) as pool:
        rows = pool.map(lambda entry: make_row(benchmark, suite_name, suite, entry, store), finished)
        list(pool.map(lambda row: _write(row, folder), rows))
    return len(suite.entries) - len(finished)


def _write(row: Row, folder: Path) -> None:
    """A row that is there already stays as it is."""
    path = folder / f"{row.key}.json"
    there = read_row(path) if path.exists() else None
    if there is not None and there.fingerprint != row.fingerprint:
        raise UserError(f"{path} is a row of other images: use another --results, or remove it")
    if there != row:
        replace_file(path, to_json(row))


def make_row(benchmark: str, suite_name: str, suite: Suite, entry: Entry, store: Store) -> Row:
    """The row of one finished entry: what its stages found, under the name its benchmark gives it."""
    manifest = store.manifest(entry.evaluate)
    found, made = manifest["payload"], manifest["provenance"]
    top1, (low, high) = percent(found["hits1"], found["n"]), wilson(found["hits1"], found["n"])
    stages = cost(entry.evaluate.network, store)
    return Row(
        benchmark=benchmark,
        suite=suite_name,
        entry=entry.name,
        position=suite.names.index(entry.name),
        top1=top1,
        top1_low=round(low, 4),
        top1_high=round(high, 4),
        top5=percent(found["hits5"], found["n"]),
        protocol=suite.protocol,
        promised=entry.promised,
        source=entry.source,
        against=list(entry.against),
        agreement=None if found["agreed"] is None else percent(found["agreed"], found["n"]),
        image_passes=sum(passes for _, passes, _ in stages.values()),
        device_seconds=round(sum(seconds for _, _, seconds in stages.values()), 1),
        stages=stages,
        losses=store.manifest(entry.evaluate.network)["payload"].get("losses"),
        gradient_flow=_gradient_flow(entry.evaluate.network, store),
        teacher_nonzeros=_teacher_nonzeros(entry.evaluate.network, store),
        key=entry.evaluate.key,
        **_generalisation(entry, top1, store),
        **_smoothing(entry, store),
        **_inside(entry, store),
        **{name: found[name] for name in _FOUND},
        **{name: made[name] for name in ("ranks", "device", "git_hash", "git_dirty", "versions")},
    )


def cost(network: Stage, store: Store) -> dict[str, list[Json]]:
    """What a network and all it was made from took, by key: stage name, image passes, device seconds.

    Stages that ran no network, such as preparing data, are left out. Published weights are listed with nothing spent:
    what their training took is not known. Raises UserError if one that trained did not count: a table must not call it
    free.
    """
    spent = {}
    for stage in inputs_first(network):
        manifest = store.manifest(stage)
        passes, seconds = manifest["payload"].get("image_passes"), manifest["provenance"].get("device_seconds")
        if passes is not None and seconds is not None:
            spent[stage.key] = [stage.name, passes, seconds]
        elif stage.name == "pretrained":
            spent[stage.key] = [stage.name, 0, 0.0]
        elif passes is not None or getattr(stage, "recipe", None) is not None:
            raise UserError(
                f"{store.artefact(stage)} does not tell its cost, older code made it: delete it and launch again"
            )
    return spent


def read_rows(benchmark: str, suite: str, keys: Collection[str], results: Path) -> list[Row]:
    """The suite's rows with these keys, in the order of their entries; those of earlier recipes are not even opened.

    Raises UserError naming a file that is not a row.
    """
    paths = [folder_of(benchmark, suite, results) / f"{key}.json" for key in keys]
    rows = [read_row(path) for path in paths if path.exists()]
    return sorted(rows, key=lambda row: (row.position, row.seed or 0, row.key))


def read_row(path: Path) -> Row:
    """Raises UserError naming the file if it is not a row."""
    try:
        return from_json(path.read_text())
    except UserError as error:
        raise UserError(f"{path}: {error}; remove it: `harness leaderboard` makes rows of what is finished") from error


def folder_of(benchmark: str, suite: str, results: Path) -> Path:
    """Where the rows of a suite lie."""
    return results / "rows" / benchmark / suite


def percent(hits: int, n: int) -> float:
    """Hits in percent of n, to four decimals."""
    return round(100 * hits / n, 4)


def _teacher_nonzeros(network: Stage, store: Store) -> int | None:
    """Of the pruned teacher that the network's architecture was read off, if it was."""
    formed = (stage for stage in network.inputs() if stage.name == "student")
    return next((store.manifest(stage)["payload"]["teacher_nonzeros"] for stage in formed), None)


def _gradient_flow(network: object, store: Store) -> float | None:
    """Of the pruning at initialisation that the network itself went through; its teacher's, or that of the network its
    layers are like, is another's.
    """
    while isinstance(network, Stage):
        if network.name == "prune_early":
            flow: float | None = store.manifest(network)["payload"]["gradient_flow"]
            return flow
        network = getattr(network, "network", None)
    return None


def _generalisation(entry: Entry, top1: float, store: Store) -> dict[str, Json]:
    if entry.train is None:
        return dict.fromkeys(("train_top1", "gap", *(f"train_{name}" for name in _SAID)))
    found = store.manifest(entry.train)["payload"]
    train_top1 = percent(found["hits1"], found["n"])
    said = {f"train_{name}": found[name] for name in _SAID}
    return {"train_top1": train_top1, "gap": round(train_top1 - top1, 4), **said}


def _smoothing(entry: Entry, store: Store) -> dict[str, Json]:
    if entry.smoothing is None:
        return dict.fromkeys(("smoothing", "smoothing_share", "smoothing_t10", "smoothing_share_t10"))
    found = store.manifest(entry.smoothing)["payload"]
    return {
        "smoothing": found["smoothing"]["1"],
        "smoothing_share": found["share"]["1"],
        "smoothing_t10": found["smoothing"]["10"],
        "smoothing_share_t10": found["share"]["10"],
    }


def _inside(entry: Entry, store: Store) -> dict[str, Json]:
    if entry.inspect is None:
        return dict.fromkeys(("layers", "compactness"))
    found = store.manifest(entry.inspect)["payload"]
    return {name: found[name] for name in ("layers", "compactness")}


_SAID = ("confidence", "entropy", "nll", "ece", "margin", "logit_std")
_FOUND = ("n", "parameters", "nonzeros", "sparsity", "macs", "seed", "dataset", "fingerprint", "epoch_rule", *_SAID)
