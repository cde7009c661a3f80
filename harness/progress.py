"""What a person sees while stages run: one living line on a terminal, plain lines in a log.

Lives here: drawing journal events. Must not: writing or finding them.
"""

import sys
from typing import TYPE_CHECKING, TextIO

from harness.journal import Event

if TYPE_CHECKING:
    from tqdm import tqdm


class Screen:
    """Draws the events of one stage after the other."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stdout
        self.living = self.stream.isatty()
        self._bar: tqdm[None] | None = None

    def show(self, label: str, event: Event) -> None:
        """Draw one event of the stage called `label`."""
        kind = event["event"]
        if kind == "start":
            self._line(f"{label}: started on {event['ranks']} rank{'s' if event['ranks'] > 1 else ''}")
        elif kind in ("steps", "epoch", "images"):
            self._advance(label, event)
        elif kind == "resumed":
            self._line(f"{label}: goes on after {event['updates']:,} updates")
        elif kind == "damaged":
            self._line(f"{label}: passes over a damaged checkpoint, {event['checkpoint']}")
        elif kind == "unsaved":
            self._line(f"{label}: {event['reason']}")
        elif kind == "done":
            self._line(f"{label}: done in {clock(event['seconds'])}")
        elif kind == "stopped":
            self._line(f"{label}: stopped: {event['reason']}; it goes on later")
        elif kind == "failed":
            self._line(f"{label}: failed on rank {event['rank']}: {event['reason']}")

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _advance(self, label: str, event: Event) -> None:
        if self.living:
            text = f"{label}: {describe(event)}"
            if self._bar is None:
                from tqdm import tqdm  # a tenth of a second that `harness --help` does not pay

                form = "{desc} {percentage:3.0f}% |{bar}|"
                self._bar = tqdm(total=event["of"], desc=text, file=self.stream, leave=False, bar_format=form)
            self._bar.total, self._bar.n = event["of"], event["done"]
            self._bar.set_description_str(text)
        elif event["event"] != "steps":
            self._line(f"{label}: {describe(event)}")

    def _line(self, text: str) -> None:
        self.close()
        print(text, file=self.stream, flush=True)


def describe(event: Event) -> str:
    """`epoch 3/15, loss 0.4123, 812.0 images/s, 0:41 left`, as far as the event tells."""
    parts = []
    if "epoch" in event:
        parts.append(f"epoch {event['epoch']}/{event['epochs']}")
    if "split" in event:
        parts.append(f"{event['split']} {event['done']}/{event['of']} images")
    if "loss" in event:
        parts.append(f"loss {event['loss']:.4f}")
    parts.append(f"{event['images_per_s']:,.0f} images/s")
    parts.append(f"{clock(event['seconds_left'])} left")
    return ", ".join(parts)


def clock(seconds: float) -> str:
    """`0:07`, `12:34`, `3:04:05`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
