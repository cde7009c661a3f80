"""Imports run one way, every heavy package has one owner, and files stay small."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

FLOORS = {
    # 0: facts, on the standard library alone
    "harness.errors": 0,
    "harness.choices": 0,
    "harness.plugins": 0,
    "harness.spec": 0,
    "harness.topology": 0,
    "harness.store": 0,
    "harness.ending": 0,
    "harness.launches": 0,
    "harness.plan": 0,
    "harness.journal": 0,
    "harness.lease": 0,
    "harness.history": 0,
    "harness.placement": 0,
    "harness.row": 0,
    "harness.recipe": 0,
    "harness.context": 0,
    "harness.provenance": 0,
    "harness.profile": 0,
    "harness.snapshot": 0,
    "harness.data.augment": 0,
    # 1: mathematics
    "harness.batch": 1,
    "harness.contracts": 1,
    "harness.course": 1,
    "harness.models": 1,
    "harness.criteria": 1,
    "harness.pruning": 1,
    "harness.distillation": 1,
    "harness.divergence": 1,
    "harness.gradients": 1,
    "harness.gradient_flow": 1,
    "harness.self_distillation": 1,
    "harness.objective": 1,
    "harness.metrics": 1,
    "harness.cost": 1,
    "harness.tally": 1,
    "harness.compactness": 1,
    "harness.softness": 1,
    "harness.taps": 1,
    "harness.schedule": 1,
    # 2: machinery
    "harness.data": 2,
    "harness.engine": 2,
    "harness.network": 2,
    "harness.loop": 2,
    "harness.checkpoint": 2,
    "harness.state": 2,
    "harness.outputs": 2,
    "harness.watch": 2,
    "harness.predictions": 2,
    "harness.selection": 2,
    "harness.gradual": 2,
    # 3: stages
    "harness.stages": 3,
    # 4: running
    "harness.run": 4,
    "harness.attempt": 4,
    "harness.progress": 4,
    "harness.benchmark": 4,
    "harness.executors": 4,
    "harness.workload": 4,
    "harness.estimate": 4,
    "harness.job_cost": 4,
    "harness.budget": 4,
    "harness.simulation": 4,
    "harness.leaderboard": 4,
    "harness.overview": 4,
    "harness.commands": 4,
    "harness.cli": 4,
    "benchmarks": 4,
}
"""A module or a package with all it holds; the longest name that fits counts."""

OWNERS = {
    "deepspeed": ("harness.engine._deepspeed",),
    "ffcv": ("harness.data._ffcv",),
    "submitit": ("harness.executors.slurm", "harness.executors.local"),
    "torch_pruning": ("harness.pruning.channel",),
    "pandas": ("harness.leaderboard",),
    "matplotlib": ("harness.leaderboard.figures",),
    "timm": ("harness.models.timm",),
    "torchvision": ("harness.models.torchvision", "harness.data"),
}

LONGEST_FILE = 400


def test_imports_run_downward_and_heavy_packages_have_one_owner() -> None:
    assert violations(ROOT) == []


def test_no_file_is_too_long() -> None:
    sources = [path for folder in ("harness", "benchmarks", "launch", "tests") for path in _sources(ROOT / folder)]
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in sources}
    assert len(lengths) > 20
    assert {name: length for name, length in lengths.items() if length > LONGEST_FILE} == {}


@pytest.mark.parametrize(
    ("file", "source", "complaint"),
    [
        ("store.py", "from harness.models import vgg", "harness.store (floor 0) imports harness.models.vgg (floor 1)"),
        ("loop.py", "import harness.stages.train", "harness.loop (floor 2) imports harness.stages.train (floor 3)"),
        ("cost.py", "def f():\n    from harness import loop", "harness.cost (floor 1) imports harness.loop (floor 2)"),
        (
            "row.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from harness.cli import main",
            "harness.row (floor 0) imports harness.cli.main (floor 4)",
        ),
        ("recipe.py", "import torch", "harness.recipe (floor 0) imports torch, which is not of the standard library"),
        ("data/augment.py", "from harness.data.stream import x", "harness.data.augment (floor 0) imports"),
        ("engine/ddp.py", "import deepspeed", "deepspeed belongs to harness.engine._deepspeed alone"),
        ("stages/train.py", "from submitit.helpers import x", "submitit belongs to harness.executors.slurm"),
        ("leaderboard/table.py", "import matplotlib", "matplotlib belongs to harness.leaderboard.figures alone"),
        ("models/any.py", "def f():\n    import timm", "timm belongs to harness.models.timm alone"),
        ("loop.py", "from . import run", "harness.loop imports relatively"),
        ("novelty.py", "", "harness.novelty is on no floor: add it to FLOORS in tests/test_architecture.py"),
        ("engine/__init__.py", "import os", "harness.engine: an __init__.py imports nothing"),
    ],
)
def test_each_kind_of_violation_is_found(tmp_path: Path, file: str, source: str, complaint: str) -> None:
    _write(tmp_path / "harness" / file, source)
    found = violations(tmp_path)
    assert len(found) == 1
    assert complaint in found[0]


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("__init__.py", '"""A docstring."""'),
        ("store.py", "import json, os.path\nfrom harness.errors import UserError\nfrom harness import plugins"),
        ("recipe.py", "from harness.data.augment import Augment"),
        ("models/vgg.py", "def build():\n    from harness.models._vgg import Net\n    import torch"),
        ("engine/_deepspeed.py", "import deepspeed\nfrom deepspeed.utils import x"),
        ("leaderboard/table.py", "import pandas as pd"),
        ("run.py", "from harness.stages import train\nfrom harness.executors.local import x"),
    ],
)
def test_what_is_allowed_passes(tmp_path: Path, file: str, source: str) -> None:
    _write(tmp_path / "harness" / file, source)
    assert violations(tmp_path) == []


def violations(root: Path) -> list[str]:
    """What the files of `root/harness` import against the rules, one line each."""
    return [line for path in _sources(root / "harness") for line in _violations_of(path, root)]


def _violations_of(path: Path, root: Path) -> Iterator[str]:
    module = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
    tree = ast.parse(path.read_text())
    floor = _floor(module)
    if floor is None:
        yield f"{module} is on no floor: add it to FLOORS in tests/test_architecture.py"
        return
    if path.name == "__init__.py" and list(_imported(tree)):
        yield f"{module}: an __init__.py imports nothing, or every import of the package would"
    for name in _imported(tree):
        if name.startswith("."):
            yield f"{module} imports relatively: name the module in full"
        elif (target := _floor(name)) is not None:
            if target > floor:
                yield f"{module} (floor {floor}) imports {name} (floor {target})"
        elif not name.startswith("harness."):  # such a module is reported where it lies, or does not exist
            yield from _foreign(module, floor, name.partition(".")[0])


def _foreign(module: str, floor: int, package: str) -> Iterator[str]:
    owners = OWNERS.get(package)
    if owners is not None and not any(module == owner or module.startswith(f"{owner}.") for owner in owners):
        yield f"{module} imports {package}: {package} belongs to {' and '.join(owners) or 'nobody'} alone"
    elif floor == 0 and package not in sys.stdlib_module_names:
        yield f"{module} (floor 0) imports {package}, which is not of the standard library"


def _imported(tree: ast.Module) -> Iterator[str]:
    """Every name imported anywhere in a file, in functions and for type checking too; relative ones keep their dots."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = "." * node.level + (node.module or "")
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def _floor(name: str) -> int | None:
    """The floor of a module, or of the module that a longer dotted name starts with."""
    if name == "harness":
        return 0
    while name and name not in FLOORS:
        name = name.rpartition(".")[0]
    return FLOORS.get(name)


def _sources(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def _write(path: Path, source: str) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(source)
