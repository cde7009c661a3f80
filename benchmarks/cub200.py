"""CUB-200-2011: EPSD (Chen et al., AAAI 2024) on fine-grained classes, as CS-KD (CVPR 2020) trains on them.

Command   python launch/cub200.py --data DIR                                               (DIR holds CUB_200_2011/)
Suites    full: both of the following; epsd: ResNet-18 at six sparsities, by CS-KD, PS-KD and DLB; self-distillation:
          the dense network by more methods; each also as <suite>-budget: the same in a tenth of the epochs. The
          place to begin is epsd-budget
Hardware  one GPU a stage is enough; full is 78 trainings a seed, 77 of them of 200 epochs, hours not measured yet.
          Three seeds are the default
Promise   none: the paper's accuracies are not established here, so the column stays blank

Networks start from random weights. The recipe is that of CS-KD's code for every method; that EPSD is run so, and on
which network at which sparsities, is our choice. Prune-then-distill at the same sparsities is not in it: 98 % is 17
rounds of pruning, each a training, and no recipe for such a round is known to us.
"""

from collections.abc import Callable, Sequence

from benchmarks.epsd.protocol import METHODS, Protocol
from benchmarks.epsd.self_distillation import self_distillation
from benchmarks.epsd.tables import main
from benchmarks.suites.assemble import suites
from harness.benchmark import Entry
from harness.contracts import SelfDistillation
from harness.data.augment import Augment
from harness.data.cub200 import Cub200
from harness.models.resnet import ResNet
from harness.recipe import Recipe
from harness.self_distillation.cs_kd import CSKD
from harness.stages.prepare import Prepare

TRAIN = Recipe(
    epochs=200,
    augment=Augment(crop="resized", size=224),
    global_batch=32,
    batch_per_gpu=32,
    lr=0.1,
    nesterov=False,
    weight_decay=1e-4,
    decay_all=True,
    milestones=(100, 150),
)
RESNET18 = ResNet(depth=18, classes=200)
CUB_METHODS: dict[str, SelfDistillation] = METHODS | {"CS-KD": CSKD(weight=3.0)}


def make_tables(seed: int, shorten: Callable[[Recipe], Recipe]) -> dict[str, Sequence[Entry]]:
    """Every table of the benchmark, by the name of its suite."""
    protocol = Protocol(
        data=Prepare(source=Cub200()), size=224, resize_ratio=0.875, recipe=shorten(TRAIN), batch=32, seed=seed
    )
    return {
        "epsd": main(protocol, "ResNet18", RESNET18, CUB_METHODS),
        "self-distillation": self_distillation(protocol, "ResNet18", RESNET18, CUB_METHODS, {}),
    }


SUITES = suites(make_tables, recipes="CS-KD's recipe for all")
