"""A user's own criterion and own losses: one new file each and an entry that names it, in a copy of the project."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

CRITERION = '''
"""Largest first.

Lives here: `Contrary`. Must not: anything else.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Contrary:
    """-|w|: what everybody else keeps goes."""

    def score(self, model, batches, objective):
        from harness.pruning.mask import prunable

        return {name: -weight.detach().abs() for name, weight in prunable(model).items()}
'''

LOSS = '''
"""Logits as targets.

Lives here: `LogitMatch`. Must not: anything else.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class LogitMatch:
    """Mean squared difference of the logits."""

    weight: float = 0.1

    def terms(self, student_logits, teacher_logits, batch):
        return {"match": self.weight * (student_logits - teacher_logits).square().mean()}
'''

FEATURE_LOSS = '''
"""Embeddings as targets.

Lives here: `EmbeddingMatch`. Must not: anything else.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class EmbeddingMatch:
    """Cross-entropy, and the mean squared difference of the last features up to a linear layer."""

    student_layers: tuple[str, ...] = ("pool",)
    teacher_layers: tuple[str, ...] = ("pool",)

    def adapters(self, student, teacher, images):
        from torch import nn

        return nn.Linear(student["pool"][0], teacher["pool"][0])

    def terms(self, student, teacher, batch, adapters):
        from torch.nn import functional as F

        mine, theirs = (outputs.features["pool"].flatten(1) for outputs in (student, teacher))
        return {"ce": F.cross_entropy(student.logits, batch.labels), "match": F.mse_loss(adapters(mine), theirs)}
'''

BENCHMARK = '''
"""Mine."""

from dataclasses import replace

from harness.benchmark import Entry, Suite
from harness.criteria.contrary import Contrary
from harness.data.augment import Augment
from harness.data.digits import Digits
from harness.distillation.embedding_match import EmbeddingMatch
from harness.distillation.logit_match import LogitMatch
from harness.models.vgg import VGG
from harness.recipe import Recipe
from harness.stages.distill import Distill
from harness.stages.evaluate import Evaluate
from harness.stages.prepare import Prepare
from harness.stages.prune import Prune

DATA = Prepare(source=Digits())
RECIPE = Recipe(epochs=1, augment=Augment(crop="none", size=32), batch_per_gpu=64, engine="ddp")
SPEC = VGG(blocks=((4,), (8,)), classes=10)
NARROW = VGG(blocks=((4,), (6,)), classes=10)


def mine(seed: int) -> Suite:
    teacher = Prune(network=SPEC, criterion=Contrary(), sparsity=0.5, data=DATA, recipe=RECIPE, seed=seed)
    student = Distill(student=SPEC, teacher=teacher, method=LogitMatch(), data=DATA, recipe=RECIPE, seed=seed)
    students = {"logits": student, "features": replace(student, student=NARROW, method=EmbeddingMatch())}
    return Suite(
        entries=tuple(
            Entry(name=name, evaluate=Evaluate(network=student, data=DATA, size=32))
            for name, student in students.items()
        )
    )


SUITES = {"mine": mine}
'''


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of what a user edits, with four new files in it."""
    ignored = shutil.ignore_patterns("__pycache__")
    for folder in ("harness", "benchmarks"):
        shutil.copytree(ROOT / folder, tmp_path / "project" / folder, ignore=ignored)
    files = {
        "harness/criteria/contrary.py": CRITERION,
        "harness/distillation/logit_match.py": LOSS,
        "harness/distillation/embedding_match.py": FEATURE_LOSS,
        "benchmarks/mine.py": BENCHMARK,
    }
    for name, text in files.items():
        (tmp_path / "project" / name).write_text(text.lstrip())
    return tmp_path / "project"


def launch(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness.cli", "launch", *words, "--executor", "inline"]
    places = ["--store", str(project / "store"), "--results", str(project / "results")]
    environment = {**os.environ, "PYTHONPATH": str(project)}
    return subprocess.run(
        [*command, *places], cwd=project, env=environment, capture_output=True, text=True, timeout=300
    )


def test_one_new_file_and_one_entry_each_are_rows(project: Path) -> None:
    done = launch(project, "mine")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [json.loads(path.read_text()) for path in (project / "results" / "rows").rglob("*.json")]
    assert {(row["entry"], row["n"]) for row in rows} == {("logits", 360), ("features", 360)}
    specs = "".join(file.read_text() for file in (project / "store" / "specs").rglob("*.json"))
    for name in ("criteria.contrary", "distillation.logit_match", "distillation.embedding_match"):
        assert name in specs
