"""What training and evaluation get to see at a time.

Lives here: `Batch`, and which second images it may hold. Must not: where it comes from (`harness.data.stream`).
"""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

Mates = Literal["none", "class", "previous"]
"""Second images of a batch: none; for each image another one of its class; or the images of the update before, in
another crop and flip."""


@dataclass(frozen=True)
class Batch:
    """`images` float32 [n, 3, size, size], normalised, and `labels` int64 [n] on the device; `indices` int64 [n], CPU.

    An index is the sample's place in the file, the same in every epoch. In training, the batch holds the images
    `position` .. `position` + n - 1 of epoch `epoch`, counted over all ranks; evaluation leaves both at 0.
    """

    images: Tensor
    labels: Tensor
    indices: Tensor
    epoch: int = 0
    position: int = 0
    mates: "Batch | None" = None
    """As many second images, if the stream was asked for them; there is no update before the first."""
