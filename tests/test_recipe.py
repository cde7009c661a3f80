"""A recipe that makes no sense gets no key."""

import pytest

from harness.data.augment import Augment
from harness.errors import UserError
from harness.recipe import Recipe

AUGMENT = Augment(crop="none", size=32)


@pytest.mark.parametrize(
    ("field", "value", "hint"),
    [
        ("engine", "dpp", "did you mean 'ddp'"),
        ("precision", "bf17", "did you mean 'bf16'"),
        ("zero_stage", 3, "0, 1, 2"),
    ],
)
def test_a_misspelt_word_in_a_recipe_gets_no_key(field: str, value: object, hint: str) -> None:
    with pytest.raises(UserError, match=f"unknown {field} .* in Recipe.*{hint}"):
        Recipe(epochs=1, augment=AUGMENT, **{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("fields", [{"epochs": 0}, {"batch_per_gpu": 0}, {"warmup_epochs": 2}])
def test_a_recipe_of_nothing_is_refused(fields: dict[str, int]) -> None:
    with pytest.raises(UserError, match="make no recipe"):
        Recipe(**{"epochs": 1, "augment": AUGMENT, **fields})  # type: ignore[arg-type]
