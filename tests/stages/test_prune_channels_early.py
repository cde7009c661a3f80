"""Networks that lose whole channels before they are trained: smaller ones begin."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness.batch import Batch
from harness.contracts import Criterion, Sensitive
from harness.cost import macs, parameters
from harness.criteria.grasp import GraSP
from harness.criteria.magnitude import Magnitude
from harness.criteria.prospr import ProsPr
from harness.criteria.random import Random
from harness.criteria.snip import Snip
from harness.criteria.synflow import SynFlow
from harness.data.augment import Augment
from harness.data.digits import Digits
from harness.errors import UserError
from harness.models.resnet import ResNet
from harness.models.torchvision import Torchvision
from harness.models.vgg import VGG
from harness.network import read_network
from harness.objective import CrossEntropy
from harness.pruning.channel import sum_by_channel
from harness.recipe import Recipe
from harness.run import run_stages
from harness.self_distillation.cs_kd import CSKD
from harness.spec import Stage
from harness.stages.prepare import Prepare
from harness.stages.prune_channels_early import PruneChannelsEarly
from harness.stages.self_distill import SelfDistill
from harness.store import Store
from harness.topology import Topology

DATA = Prepare(source=Digits())
AUGMENT = Augment(crop="pad", size=32, flip=False)
SPEC = VGG(blocks=((16, 16), (32,)), classes=10)
EPSD = PruneChannelsEarly(
    network=SPEC, criterion=ProsPr(), reduction=0.5, method=CSKD(), data=DATA, augment=AUGMENT, batch=64
)
CRITERIA: list[Criterion] = [GraSP(batches=2), Magnitude(), ProsPr(), Random(), Snip(), SynFlow()]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("store"))
    run(store, DATA)
    return store


def run(store: Store, *stages: Stage) -> list[dict[str, Any]]:
    run_stages(stages, store, Topology(), data=None, workers=1, listener=lambda stage, event: None)
    return [store.manifest(stage)["payload"] for stage in stages]


def published(store: Store, stage: Stage) -> nn.Module:
    return read_network(store.artefact(stage), 32)


@pytest.mark.parametrize("criterion", CRITERIA, ids=lambda criterion: type(criterion).__name__)
def test_half_of_the_macs_are_gone_whoever_chooses(store: Store, criterion: Criterion) -> None:
    stage = replace(EPSD, criterion=criterion, method=None)
    (payload,) = run(store, stage)
    dense, smaller = SPEC.build(), published(store, stage)
    assert macs(smaller, 32) / macs(dense, 32) == pytest.approx(0.5, abs=0.03)
    assert payload["reached"]["macs"] == pytest.approx(1 - macs(smaller, 32) / macs(dense, 32), abs=1e-6)
    assert parameters(smaller) < parameters(dense)


def test_channels_that_stay_keep_their_weights(store: Store) -> None:
    run(store, EPSD)
    torch.manual_seed(0)
    drawn, found = SPEC.build().state_dict(), published(store, EPSD).state_dict()
    (kept,) = (found[name] for name in ("features.0.weight",))
    rows = {tuple(row.flatten().tolist()) for row in drawn["features.0.weight"]}
    assert len(kept) < 16 and all(tuple(row.flatten().tolist()) in rows for row in kept)


def test_the_smaller_network_learns_from_itself(store: Store) -> None:
    recipe = Recipe(epochs=1, augment=AUGMENT, global_batch=256, batch_per_gpu=128, lr=0.02, engine="ddp")
    trained = SelfDistill(network=EPSD, method=CSKD(), data=DATA, recipe=recipe)
    _, payload = run(store, EPSD, trained)
    before, after = published(store, EPSD), published(store, trained)
    assert macs(before, 32) == macs(after, 32) and payload["zeros"] == 0
    assert not torch.equal(before.get_parameter("classifier.weight"), after.get_parameter("classifier.weight"))


def test_another_loss_keeps_other_channels(store: Store) -> None:
    run(store, EPSD, replace(EPSD, method=None))
    first, second = (published(store, stage).state_dict() for stage in (EPSD, replace(EPSD, method=None)))
    shapes = [{name: tensor.shape for name, tensor in state.items()} for state in (first, second)]
    assert shapes[0] != shapes[1] or any(not torch.equal(first[name], second[name]) for name in first)


def batches() -> Iterator[Batch]:
    generator = torch.Generator().manual_seed(3)
    while True:
        images = torch.randn(6, 3, 16, 16, generator=generator, dtype=torch.float64)
        yield Batch(images, torch.tensor([0, 1, 2, 0, 1, 2]), torch.arange(6))


def test_a_channels_score_is_the_derivative_by_what_multiplies_it_where_it_is_read() -> None:
    """Against finite differences of the loss, in a residual network whose blocks share their channels."""
    torch.manual_seed(0)
    network = ResNet(depth=18, classes=3, widths=(8, 8, 16, 16), stem="cifar", stem_width=8).build().double().train()
    criterion = Snip()
    assert isinstance(criterion, Sensitive)
    example = torch.zeros(1, 3, 16, 16, dtype=torch.float64)
    sums = sum_by_channel(network, example, criterion.sensitivities(network, batches(), CrossEntropy()))
    assert not {"layer1.0.conv2", "layer1.1.conv2"} & sums.keys(), "identity shortcuts tie them to the stem"
    readers = {
        "conv1": ["layer1.0.conv1", "layer1.1.conv1", "layer2.0.conv1", "layer2.0.downsample.0"],
        "layer4.1.conv1": ["layer4.1.conv2"],
        "layer4.0.downsample.0": ["layer4.1.conv1", "fc"],
    }
    for layer, layers in readers.items():
        tensors = [network.get_parameter(f"{name}.weight") for name in layers]
        for channel in (2, 5):
            assert float(sums[layer][channel]) == pytest.approx(_slope(network, tensors, channel), rel=1e-5)


def _slope(network: nn.Module, tensors: list[nn.Parameter], channel: int) -> float:
    """Central difference of the loss when the weights that read a channel are multiplied by 1 +- h."""
    batch, step, losses = next(batches()), 1e-6, []
    for sign in (1, -1):
        originals = [tensor.detach().clone() for tensor in tensors]
        with torch.no_grad():
            for tensor in tensors:
                tensor[:, channel] *= 1 + sign * step
            losses.append(_loss(network, batch))
            for tensor, original in zip(tensors, originals, strict=True):
                tensor.copy_(original)
    return float((losses[0] - losses[1]) / (2 * step))


def _loss(network: nn.Module, batch: Batch) -> Tensor:
    (term,) = CrossEntropy().terms(network, batch, None).values()
    return term


def test_depthwise_layers_read_channels_too() -> None:
    torch.manual_seed(0)
    network = Torchvision("mobilenet_v2", classes=3).build().double().eval()
    found = Magnitude().score(network, [], CrossEntropy())
    sums = sum_by_channel(network, torch.zeros(1, 3, 32, 32, dtype=torch.float64), found)
    by_depthwise = found["features.3.conv.1.0.weight"].sum((1, 2, 3))
    by_pointwise = found["features.3.conv.2.weight"].sum((0, 2, 3))
    (layer,) = {"features.3.conv.0.0", "features.3.conv.1.0"} & sums.keys()
    torch.testing.assert_close(sums[layer], by_depthwise + by_pointwise)


def test_a_criterion_that_is_no_derivative_adds_its_scores() -> None:
    torch.manual_seed(0)
    network = VGG(blocks=((8,), (8,)), classes=3).build().double()
    scores = Magnitude().score(network, [], CrossEntropy())
    sums = sum_by_channel(network, torch.zeros(1, 3, 16, 16, dtype=torch.float64), scores)
    torch.testing.assert_close(sums["features.0"], network.get_parameter("features.4.weight").abs().sum((0, 2, 3)))
    torch.testing.assert_close(sums["features.4"], network.get_parameter("classifier.weight").abs().sum(0))


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"reduction": 1.0}, "reduction 1.0 is not between 0 and 1"),
        ({"measure": "latency"}, "unknown measure 'latency' in PruneChannelsEarly"),
        ({"round_to": 0}, "round_to 0 is below 1"),
    ],
)
def test_a_spec_that_means_nothing_is_refused(changes: dict[str, Any], line: str) -> None:
    with pytest.raises(UserError) as refused:
        replace(EPSD, **changes)
    assert line in str(refused.value)
