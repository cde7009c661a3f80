"""What goes through which network, told before it does."""

from dataclasses import replace

import pytest

from harness.criteria.magnitude import Magnitude
from harness.criteria.prospr import ProsPr
from harness.criteria.taylor import Taylor
from harness.data.augment import Augment
from harness.data.digits import Digits
from harness.distillation.kd import KD
from harness.models.resnet import ResNet
from harness.models.vgg import VGG
from harness.recipe import Recipe
from harness.self_distillation.cs_kd import CSKD
from harness.self_distillation.dlb import DLB
from harness.self_distillation.ps_kd import PSKD
from harness.spec import Stage
from harness.stages._fit import image_passes
from harness.stages.distill import Distill
from harness.stages.evaluate import Evaluate
from harness.stages.prepare import Prepare
from harness.stages.prune import Prune
from harness.stages.prune_channels import PruneChannels
from harness.stages.prune_early import PruneEarly
from harness.stages.self_distill import SelfDistill
from harness.stages.smoothing import Smoothing
from harness.stages.student import Student
from harness.stages.teacher_outputs import outputs_for
from harness.stages.train import Train
from harness.workload import SEEN, TRAINED, Load, Shape, shape, workload

IMAGES = {"train": 1000, "minival": 50, "val": 200}
DATA = Prepare(source=Digits(), minival=0.1)
AUGMENT = Augment(crop="none", size=32)
RECIPE = Recipe(epochs=3, augment=AUGMENT, global_batch=128, batch_per_gpu=32)
SMALL, LARGE = VGG(blocks=((4,),), classes=10), ResNet(depth=18, classes=10)
DENSE = Train(network=LARGE, data=DATA, recipe=RECIPE)
PRUNED = Prune(network=DENSE, criterion=Magnitude(), sparsity=0.36, data=DATA, recipe=RECIPE)
EPOCHS = 3 * 896
"""Seven whole batches an epoch."""


def whole(model: object) -> Shape:
    return Shape(model, ())


def test_training_images_go_through_three_times_and_those_of_an_incomplete_batch_not_at_all() -> None:
    assert workload(DENSE, IMAGES) == [Load(whole(LARGE), EPOCHS, TRAINED)]


@pytest.mark.parametrize("changes", [{"keep": "best"}, {"stop_epoch": 2}, {"first_epoch": 1}, {}])
def test_a_training_is_foretold_as_the_stage_will_count_it(changes: dict[str, object]) -> None:
    recipe = replace(RECIPE, **changes)  # type: ignore[arg-type]
    loads = workload(Train(network=SMALL, data=DATA, recipe=recipe), IMAGES)
    assert sum(load.images for load in loads) == image_passes(recipe, IMAGES)


def test_a_live_teacher_sees_what_its_student_sees_and_a_stored_one_saw_it_before() -> None:
    live = Distill(student=SMALL, teacher=DENSE, method=KD(), data=DATA, recipe=RECIPE)
    own, seen = Load(whole(SMALL), EPOCHS, TRAINED), Load(whole(LARGE), EPOCHS, SEEN)
    assert workload(live, IMAGES) == [own, seen]
    stored = outputs_for(RECIPE, teacher=DENSE, classes=10, data=DATA)
    assert workload(stored, IMAGES) == [seen]
    assert workload(replace(live, teacher=stored), IMAGES) == [own]


@pytest.mark.parametrize(("method", "passes"), [(PSKD(), []), (CSKD(), [SEEN]), (DLB(), [TRAINED])])
def test_second_images_cost_what_is_done_with_them(method: CSKD | DLB | PSKD, passes: list[int]) -> None:
    loads = workload(SelfDistill(network=SMALL, method=method, data=DATA, recipe=RECIPE), IMAGES)
    assert [load.passes for load in loads] == [TRAINED, *passes]


def test_scoring_is_counted_with_the_training_that_follows() -> None:
    assert len(workload(PRUNED, IMAGES)) == 1, "magnitudes need no images"
    by_gradients = workload(replace(PRUNED, criterion=Taylor(batches=10)), IMAGES)
    assert by_gradients[1:] == [Load(whole(LARGE), 320, SEEN)]
    early = PruneEarly(network=SMALL, criterion=ProsPr(inner_steps=3), sparsity=0.9, data=DATA, augment=AUGMENT)
    assert workload(early, IMAGES) == [Load(whole(SMALL), 4 * 128, TRAINED)]


def test_looking_at_a_split_is_one_pass_for_each_network_that_looks() -> None:
    evaluate = Evaluate(network=DENSE, data=DATA, size=32, teacher=PRUNED, flip=True)
    assert workload(evaluate, IMAGES) == [Load(whole(LARGE), 400, SEEN)] * 2
    smoothing = Smoothing(network=PRUNED, dense=DENSE, data=DATA, augment=AUGMENT, seed=0, batch=300)
    assert workload(smoothing, IMAGES) == [Load(whole(LARGE), 900, SEEN)] * 2


@pytest.mark.parametrize("stage", [DATA, Student(like=PRUNED)])
def test_a_stage_without_a_network_sends_nothing(stage: Stage) -> None:
    assert workload(stage, IMAGES) == []


def test_zeros_leave_the_shape_and_lost_channels_do_not() -> None:
    assert shape(PRUNED) == shape(DENSE) == whole(LARGE)
    thin = PruneChannels(network=DENSE, reduction=0.5, data=DATA, recipe=RECIPE)
    assert shape(thin) == Shape(LARGE, (("prune_channels", 0.5),))
    formed = Train(network=Student(like=PRUNED), data=DATA, recipe=RECIPE)
    assert shape(formed) == Shape(LARGE, (("student", 0.36),))
