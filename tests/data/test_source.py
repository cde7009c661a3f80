"""Every dataset keeps the one promise and can be part of a spec."""

import pytest

from harness import spec
from harness.data.cifar100 import Cifar100
from harness.data.digits import Digits
from harness.data.image_folder import ImageFolder
from harness.data.source import Source

SOURCES: list[Source] = [Digits(), Cifar100(), ImageFolder(name="imagenet", classes=1000)]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_a_source_is_a_spec_with_sane_figures(source: Source) -> None:
    assert spec.model_from_json(spec.encode(source)) == source
    assert all(0 < mean < 255 for mean in source.mean) and all(0 < std < 128 for std in source.std)
    assert 0 <= source.jpeg_share <= 1 and 1 <= source.quality <= 100
