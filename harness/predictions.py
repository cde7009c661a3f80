"""What a network says to every image of a split, each exactly once over all ranks.

Lives here: `predictions`. Must not: what is counted of it (`harness.tally`), training.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from harness.batch import Batch
from harness.context import Context
from harness.data.prepared import Prepared


@torch.inference_mode()
def predictions(
    network: nn.Module,
    prepared: Prepared,
    split: str,
    context: Context,
    *,
    size: int,
    resize_ratio: float,
    batch: int,
    flip: bool = False,
) -> Iterator[tuple[Tensor, Batch]]:
    """This rank's batches of a split and their logits (n, classes) in fp32, on clean centre crops.

    The network is on its device and in evaluation mode. `flip`: mean logits of an image and of its mirror image.
    """
    for images in prepared.eval_stream(split, size, resize_ratio, batch, context):
        logits = network(images.images)
        if flip:
            logits = (logits + network(images.images.flip(3))) / 2
        yield logits.float(), images
