"""What every dataset offers, whatever its origin.

Lives here: the protocols `Source` (a spec) and `Images` (one split, readable). Must not: any dataset, torch, numpy.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Split = Literal["train", "val"]


class Images(Protocol):
    """The images of one split, in a fixed order. Reading one may be done from several threads at once."""

    @property
    def class_names(self) -> Sequence[str]:
        """The name of each label, in label order."""

    @property
    def labels(self) -> Sequence[int]:
        """One per image, in 0 .. classes - 1."""

    @property
    def listing(self) -> str:
        """The source's `listing` of this split."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> "tuple[NDArray[np.uint8], str]":
        """Pixels, uint8 [height, width, 3] RGB, and the SHA-256 of what they were read from, in hexadecimal digits.

        Raises UserError naming the file if it cannot be read.
        """


class Source(Protocol):
    """A dataset as a spec: a frozen dataclass without paths. The folder it lies in, if any, is given as `root`."""

    @property
    def name(self) -> str: ...

    @property
    def classes(self) -> int | None:
        """How many classes there are; None if the folder decides."""

    @property
    def mean(self) -> tuple[float, float, float]:
        """Of the training pixels, per channel, in 0 .. 255."""

    @property
    def std(self) -> tuple[float, float, float]:
        """Of the training pixels, per channel, in 0 .. 255."""

    @property
    def max_side(self) -> int | None:
        """Larger images are stored with their longer side shrunk to this; None stores every image as it is."""

    @property
    def jpeg_share(self) -> float:
        """The fraction of images stored as JPEG; the others are stored as plain pixels."""

    @property
    def quality(self) -> int:
        """JPEG quality, 1 .. 100."""

    def check(self, root: Path | None) -> None:
        """Raise UserError if `root` does not hold this dataset. Quick: decodes nothing, needs the stdlib alone."""

    def listing(self, root: Path | None) -> Mapping[Split, str]:
        """A text for each split that changes when images come or go; as quick as `check`, so a launch can compare."""

    def split(self, split: Split, root: Path | None) -> Images:
        """The images of one split. Raises UserError as `check` does."""
