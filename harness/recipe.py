"""How a network is trained: the numbers of one training run.

Lives here: `Recipe` and the arithmetic of its batches. Must not: the loop, the loss, the optimizer.
"""

from dataclasses import dataclass
from typing import Literal

from harness.choices import require_choices
from harness.data.augment import Augment
from harness.errors import UserError
from harness.spec import added_field


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """SGD on a schedule. `global_batch` images make one update, taken `batch_per_gpu` at a time."""

    epochs: int
    augment: Augment
    global_batch: int = 128
    batch_per_gpu: int = 128
    lr: float = 0.1
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    """Spares BatchNorm and biases, unless `decay_all`."""
    schedule: Literal["step", "cosine", "linear"] = "step"
    milestones: tuple[int, ...] = ()
    """Epochs at which the step schedule multiplies the rate by `factor`."""
    factor: float = 0.1
    warmup_epochs: int = 0
    label_smoothing: float = 0.0
    precision: Literal["fp32", "bf16"] = "fp32"
    channels_last: bool = True
    engine: Literal["deepspeed", "ddp"] = "deepspeed"
    zero_stage: Literal[0, 1, 2] = 0
    ema_decay: float = added_field(default=0.0, neutral=0.0)
    """Above 0: what is kept are weights averaged after every update, an update ago counting this much less."""
    compiled: bool = added_field(default=False, neutral=False)
    """Run networks through torch.compile; on a CPU this changes nothing."""
    decay_all: bool = added_field(default=False, neutral=False)
    """Weight decay on BatchNorm and biases too, as the code of many papers has it."""
    first_epoch: int = added_field(default=0, neutral=0)
    """Where on its schedule training begins: that of the epoch to which weights were rewound."""
    stop_epoch: int | None = added_field(default=None, neutral=None)
    """Training ends after so many of the `epochs`, early; None: after all."""
    keep: Literal["last", "best"] = added_field(default="last", neutral="last")
    """Which epoch is published: the last, or the first of those with most hits on the minival."""

    def __post_init__(self) -> None:
        require_choices(self)
        if min(self.epochs, self.global_batch, self.batch_per_gpu) < 1 or not 0 <= self.warmup_epochs <= self.epochs:
            raise UserError(
                f"epochs {self.epochs}, warmup_epochs {self.warmup_epochs}, global_batch {self.global_batch} and"
                f" batch_per_gpu {self.batch_per_gpu} make no recipe"
            )
        if self.schedule != "step" and self.milestones:
            raise UserError(f"milestones {self.milestones} belong to the step schedule, this one is {self.schedule}")
        if not 0 <= self.ema_decay < 1:
            raise UserError(f"ema_decay {self.ema_decay} must be at least 0 and below 1")
        if not 0 <= self.first_epoch < self.end <= self.epochs:
            raise UserError(f"training from epoch {self.first_epoch} to {self.end} does not lie in 0 .. {self.epochs}")
        if self.keep == "best" and self.ema_decay:
            raise UserError("the best epoch is chosen among the weights of single epochs: ema_decay must be 0")

    @property
    def end(self) -> int:
        """The epoch before which training ends."""
        return self.epochs if self.stop_epoch is None else self.stop_epoch

    @property
    def epoch_rule(self) -> str:
        """Which epoch's network is published, for a reader."""
        return "best on minival" if self.keep == "best" else "last"

    def accumulation(self, world: int) -> int:
        """Micro-batches each of `world` ranks adds up for one update. Raises UserError if they do not divide."""
        parts, rest = divmod(self.global_batch, self.batch_per_gpu * world)
        if rest or parts == 0:
            raise UserError(
                f"a global batch of {self.global_batch} cannot be split over {world} ranks x {self.batch_per_gpu}"
                f" images: choose nodes x GPUs that divide {self.global_batch // self.batch_per_gpu}"
            )
        return parts
