"""A campaign of ten thousand stages and more costs seconds to plan, to pack, to record and to draw.

Processor time is asserted, three times over what it takes, and how it grows; the figures are printed (`pytest -s`).
"""

import gc
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.benchmark import Entry, Suite, over_seeds
from harness.criteria.magnitude import Magnitude
from harness.data.augment import Augment
from harness.data.digits import Digits
from harness.launches import Job, Launch, Planned, new_id, read_launches, write_launch
from harness.models.vgg import VGG
from harness.placement import Placement, to_record
from harness.plan import Step, make_plan, render
from harness.recipe import Recipe
from harness.spec import Stage
from harness.stages.evaluate import Evaluate
from harness.stages.prepare import Prepare
from harness.stages.prune import Prune
from harness.stages.train import Train
from harness.store import MANIFEST, Store
from tests.leaderboard.test_rows import LEARNT, MADE, SEEN

ROOT = Path(__file__).parents[1]
DATA = Prepare(source=Digits())
NETWORK = VGG(blocks=((4,),), classes=10)
RECIPE = Recipe(epochs=1, augment=Augment(crop="none", size=32))


class Clock:
    """Processor seconds of this process while it was looked at."""

    seconds = 0.0


@contextmanager
def clock(what: str) -> Iterator[Clock]:
    """Time what is done within, and print it; how long garbage is looked for depends on the tests before."""
    gc.collect()
    gc.disable()
    read, started = Clock(), time.process_time()
    try:
        yield read
    finally:
        gc.enable()
    read.seconds = time.process_time() - started
    print(f"{what}: {read.seconds:.2f} s")


def growth(work: Callable[[int], float], few: int = 2_000, many: int = 20_000) -> float:
    """Slope of the logarithm of the cost over that of the number: 1 is linear."""
    return math.log(work(many) / work(few)) / math.log(many / few)


def pruned(seed: int) -> Prune:
    dense = Train(network=NETWORK, data=DATA, recipe=RECIPE, seed=seed)
    return Prune(network=dense, criterion=Magnitude(), sparsity=0.5, data=DATA, recipe=RECIPE, seed=seed)


def wanted(stages: int) -> list[tuple[str, Stage]]:
    """Trainings, each pruned and looked at twice: so many stages, and the data."""
    networks = [pruned(seed) for seed in range(stages // 4)]
    return [
        ("both", Evaluate(network=network, data=DATA, size=32, split=split))
        for network in networks
        for split in ("val", "train")
    ]


def suite(entries: int, seeds: int) -> Suite:
    """Each entry of each seed is four stages: trained, pruned, looked at twice; all are compared with the first."""

    def of_seed(seed: int) -> Suite:
        networks = [pruned(1000 * number + seed) for number in range(entries)]
        return Suite(entries=tuple(entry(number, network) for number, network in enumerate(networks)))

    def entry(number: int, network: Stage) -> Entry:
        val, train = (Evaluate(network=network, data=DATA, size=32, split=split) for split in ("val", "train"))
        return Entry(name=f"{number}", evaluate=val, train=train, against=("0",) if number else ())

    return over_seeds([of_seed(seed) for seed in range(seeds)])


def test_a_plan_of_thousands_of_stages_is_linear_and_takes_seconds(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")

    def planned(stages: int) -> float:
        asked = wanted(stages)
        with clock(f"plan of {stages:,} stages") as read:
            steps = make_plan(asked, store)
        assert len({step.stage.key for step in steps}) == len(steps) == stages + 1
        return read.seconds

    assert growth(planned) <= 1.2
    assert planned(10_000) <= 3 * 2


def test_a_plan_of_a_hundred_thousand_stages_fits_in_300_mb() -> None:
    """In a process of its own, for its highest memory is what is asked."""
    program = "from tests.test_scale import *; plan_and_tell(100_000)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    seconds, megabytes = map(float, done.stdout.split())
    print(f"plan of 100,000 stages: {seconds:.1f} s, {megabytes:.0f} MB")
    assert seconds <= 3 * 20
    assert 10 < megabytes <= 300


def plan_and_tell(stages: int) -> None:
    """Print processor seconds, and by how many MB planning raised this process's highest memory."""
    before, started = highest_memory(), time.process_time()
    steps = make_plan(wanted(stages), Store(Path("nowhere")))
    assert len(steps) == stages + 1
    print(time.process_time() - started, highest_memory() - before)


def highest_memory() -> float:
    """MB that this process has held at most. `getrusage` would count what its parent held when it forked."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1000


def test_a_chain_thousands_deep_is_planned_and_read_again(tmp_path: Path) -> None:
    """Deeper than Python recurses: rounds upon rounds, each of which nests all before it."""
    chain: Stage = Train(network=NETWORK, data=DATA, recipe=RECIPE)
    for _ in range(2_000):
        chain = Prune(network=chain, criterion=Magnitude(), sparsity=0.5, data=DATA, recipe=RECIPE)
    store = Store(tmp_path)
    steps = make_plan([("deepest", chain)], store)
    assert [step.stage.name for step in steps] == ["prepare", "train", *["prune"] * 2_000]
    assert "2002 to run" in render(steps, nodes=1, gpus=1)
    store.write_specs([step.stage for step in steps])
    assert store.read_spec(chain.key).key == chain.key


def test_ten_thousand_stages_are_packed_recorded_and_submitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.executors.jobs import batches, pack
    from harness.executors.slurm import Site, Submission

    def packed(stages: int) -> float:
        steps = make_plan(wanted(stages), Store(tmp_path))
        with clock(f"packing {stages:,} stages") as read:
            tasks = pack(steps, {})
            found = batches(tasks, largest=1000)
        assert sum(len(task.steps) for batch in found for task in batch.tasks) == len(steps)
        return read.seconds

    assert growth(packed) <= 1.4, "hundredths of a second are noisy; quadratic would be 2"
    assert packed(10_000) <= 3 * 1

    steps = make_plan(wanted(10_000), Store(tmp_path))
    made = Submission(
        launch="0a1b2c3d", origin="0a1b2c3d", site=Site(gpus=True, largest_array=1000), code=tmp_path,
        placement=Placement(store=tmp_path, results=tmp_path), queued=frozenset(),
        batches=batches(pack(steps, {}), 1000),
    )  # fmt: skip
    handed: list[int] = []

    def hand_over(_: Submission, number: int, ids: Mapping[int, str]) -> str:
        made.text(number)
        handed.append(number)
        return str(number)

    monkeypatch.setattr(Submission, "_hand_over", hand_over)
    with clock(f"handing over {len(made.jobs):,} jobs") as read:
        made.submit(lambda batch, job: None)
    assert sorted(handed) == list(range(len(made.jobs)))
    assert read.seconds <= 3 * 2

    record = launch_of(steps, made.jobs)
    with clock("a record of 10,000 stages written and read") as read:
        write_launch(record, Store(tmp_path))
        (again,) = read_launches(Store(tmp_path))
    assert (again.stages, again.jobs) == (record.stages, record.jobs)
    assert read.seconds <= 3 * 1


def launch_of(steps: list[Step], jobs: tuple[Job, ...]) -> Launch:
    """A record of the plan."""
    launch = new_id()
    stages = {
        step.stage.key: Planned(
            stage=step.stage.name, label=step.label, ranks=step.stage.ranks,
            inputs=tuple(child.key for child in step.stage.inputs()),
        )
        for step in steps
    }  # fmt: skip
    return Launch(
        id=launch, origin=launch, time=0.0, user="ana", benchmark="toy", suite="full", seeds=1, executor="slurm",
        placement=to_record(Placement(store=Path("store"), results=Path("results"))), stages=stages, jobs=jobs,
    )  # fmt: skip


def test_a_relaunch_with_everything_done_draws_the_table_in_seconds(tmp_path: Path) -> None:
    from harness.leaderboard.rows import collect, read_rows
    from harness.leaderboard.table import write_tables

    store, results = Store(tmp_path / "store"), tmp_path / "results"

    def relaunch(entries: int, seeds: int) -> float:
        whole = suite(entries, seeds)
        for step in make_plan(whole.wanted, store):
            finish(step.stage, store)
        assert collect("toy", "full", whole, store, results) == 0
        again = suite(entries, seeds)
        with clock(f"relaunch of {4 * entries * seeds:,} finished stages") as read:
            assert all(step.done for step in make_plan(again.wanted, store))
            assert collect("toy", "full", again, store, results) == 0
            rows = read_rows("toy", "full", {entry.evaluate.key for entry in again.entries}, results)
            write_tables("toy", "full", rows, results, default_suite="full")
        assert len(rows) == entries * seeds
        assert len((results / "toy-summary.csv").read_text().splitlines()) == 1 + entries
        return read.seconds

    few, many = relaunch(50, 5), relaunch(50, 50)
    assert many <= 3 * 5
    assert math.log(many / few) / math.log(10) <= 1.2


def finish(stage: Stage, store: Store) -> None:
    """Write a manifest as small as that of a finished stage; thousands are not flushed one by one."""
    found = {"val": SEEN, "train": LEARNT}.get(getattr(stage, "split", ""), {"image_passes": 1437, "losses": [2.5]})
    payload = {**found, "seed": getattr(getattr(stage, "network", None), "seed", 0) % 1000}
    manifest = {"stage": stage.name, "key": stage.key, "files": {}, "payload": payload, "provenance": MADE}
    if stage.name == "prepare":
        manifest["payload"] = {"images": {"train": 1437}}
    store.artefact(stage).mkdir(parents=True, exist_ok=True)
    (store.artefact(stage) / MANIFEST).write_text(json.dumps(manifest))


def test_help_is_there_at_once() -> None:
    """Nothing heavy is imported to say which commands there are."""
    heavy = ("torch", "numpy", "pandas", "matplotlib", "submitit", "tqdm", "scipy")
    program = (
        "import sys, time; from harness.cli import main\n"
        "try: main(['--help'])\n"
        f"except SystemExit: print(time.process_time(), *set(sys.modules) & {set(heavy)})"
    )

    def told() -> list[str]:
        done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()[-1].split()

    answers = [told() for _ in range(3)]
    assert all(len(answer) == 1 for answer in answers), f"imported: {answers[0][1:]}"
    seconds = min(float(answer[0]) for answer in answers)
    print(f"harness --help: {seconds:.2f} s")
    assert seconds <= 0.5
