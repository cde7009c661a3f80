"""What the evaluation stage counts, with and without the mirror image."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from harness import network as networks
from harness.context import Context
from harness.data.augment import Augment
from harness.data.digits import Digits
from harness.data.prepared import Prepared
from harness.errors import StageError
from harness.models.vgg import VGG
from harness.recipe import Recipe
from harness.stages.evaluate import Evaluate
from harness.stages.prepare import Prepare
from harness.stages.train import Train

DATA = Prepare(source=Digits())
RECIPE = Recipe(epochs=1, augment=Augment(crop="none", size=32))
NETWORK = Train(network=VGG(blocks=((2,),), classes=10), data=DATA, recipe=RECIPE)
"""Never trained: the test brings a network of its own."""
PLAIN = Evaluate(network=NETWORK, data=DATA, size=32)


def test_the_mirror_image_has_half_a_say(
    prepared_digits: Prepared, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10))
    monkeypatch.setattr(networks, "read_network", lambda folder, size: model)
    inputs = {DATA.key: prepared_digits.folder, NETWORK.key: Path("unread")}
    found = {flip: replace(PLAIN, flip=flip).run(inputs, context)["hits1"] for flip in (False, True)}
    hits = {False: 0, True: 0}
    with torch.no_grad():
        for batch in prepared_digits.eval_stream("val", 32, 1.0, 7, context):
            mirrored = torch.flip(batch.images, dims=[-1])
            alone = model(batch.images)
            hits[False] += int((alone.argmax(1) == batch.labels).sum())
            hits[True] += int(((alone + model(mirrored)).argmax(1) == batch.labels).sum())
    assert found == hits
    assert hits[False] != hits[True]


@pytest.mark.parametrize("change", ["an image is missing", "an image comes twice"])
def test_another_number_of_images_than_were_prepared_is_refused(
    prepared_digits: Prepared, context: Context, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10))
    monkeypatch.setattr(networks, "read_network", lambda folder, size: model)
    whole = list(prepared_digits.eval_stream("val", 32, 1.0, 1, context))
    batches = whole[1:] if change == "an image is missing" else [whole[0], *whole]
    monkeypatch.setattr(Prepared, "eval_stream", lambda *_: batches)
    with pytest.raises(StageError, match=f"{len(batches)} images were evaluated, val of digits holds 360"):
        PLAIN.run({DATA.key: prepared_digits.folder, NETWORK.key: Path("unread")}, context)


def test_flipping_is_a_field_that_leaves_old_keys_alone() -> None:
    assert replace(PLAIN, flip=False).key == PLAIN.key != replace(PLAIN, flip=True).key
