"""What a set of stages needs, in the order it can run.

Lives here: the walk over nested stages, have or run, how many trainings there are, the plan as text. Must not: submit
or run anything.
"""

from collections.abc import Container, Iterable
from dataclasses import dataclass

from harness.spec import Stage
from harness.store import Store


@dataclass(frozen=True)
class Step:
    """One stage of a plan; `done` if its artefact is in the store; `label` names the first entry that needs it.

    `disk` tells what the stage will take of the disk, if that grows with its data.
    """

    stage: Stage
    done: bool
    label: str
    disk: str = ""

    @property
    def title(self) -> str:
        """What a person reads while the stage runs."""
        return f"{self.stage.name} ({self.label})"


def make_plan(wanted: Iterable[tuple[str, Stage]], store: Store) -> list[Step]:
    """Every stage that the wanted (entry, stage) pairs nest, inputs before users, each once."""
    order: dict[str, Stage] = {}
    labels: dict[str, str] = {}
    for entry, stage in wanted:
        for needed in inputs_first(stage, order):
            order[needed.key] = needed
            labels[needed.key] = entry
    done = store.done_of(list(order.values()))
    return [Step(stage, key in done, labels[key], disk(stage, store)) for key, stage in order.items()]


def disk(stage: Stage, store: Store) -> str:
    """`stores 6.9 GB`, or by the image while it is not known how many there are; nothing for most stages."""
    each = stage.bytes_an_image
    if each is None:
        return ""
    (data,) = (child for child in stage.inputs() if child.name == "prepare")
    if not store.done(data):
        return f"{stage.keeps} {amount(each)} for each training image"
    return f"{stage.keeps} {amount(each * store.manifest(data)['payload']['images']['train'])}"


def amount(count: float) -> str:
    """`512 B`, `3.6 kB`, `461 GB`: three digits, powers of 1,000."""
    units = ["B", "kB", "MB", "GB", "TB"]
    while count >= 999.5 and len(units) > 1:
        count /= 1000
        units.pop(0)
    return f"{count:.3g} {units[0]}"


def render(steps: list[Step], *, nodes: int, gpus: int) -> str:
    """The plan as a table: stage, key, inputs, have or run, nodes x GPUs, first entry that needs it."""
    lines = [f"{'stage':<17}{'key':<14}{'have/run':<10}{'nodes x GPUs':<14}{'inputs':<44}first needed by"]
    for step in steps:
        inputs = " ".join(f"{child.name}:{child.key[:6]}" for child in step.stage.inputs()) or "-"
        shape = f"{nodes} x {gpus}" if step.stage.ranks == "all" else "1 x 1"
        state = "have" if step.done else "run"
        end = f"{step.label}; {step.disk}" if step.disk else step.label
        lines.append(f"{step.stage.name:<17}{step.stage.key[:12]:<14}{state:<10}{shape:<14}{inputs:<43} {end}")
    missing = sum(not step.done for step in steps)
    return "\n".join([*lines, f"{len(steps)} stages: {len(steps) - missing} have, {missing} to run"])


def inputs_first(stage: Stage, seen: Container[str] = ()) -> list[Stage]:
    """The stage after everything it nests, without those whose keys were seen before."""
    order: dict[str, Stage] = {}
    stack: list[tuple[Stage, bool]] = [(stage, False)]
    while stack:
        current, ready = stack.pop()
        if current.key in seen or current.key in order:
            continue
        if ready:
            order[current.key] = current
        else:
            stack.append((current, True))
            stack.extend((child, False) for child in reversed(current.inputs()))
    return list(order.values())


def count_trainings(entries: Iterable[Iterable[Stage]]) -> tuple[int, int]:
    """How many stages the entries train: shared ones once, and if every entry were run by itself.

    A stage trains if it has a recipe; to store a teacher's outputs is counted too. An entry is the stages it asks for.
    """
    nested = ([step for stage in entry for step in inputs_first(stage)] for entry in entries)
    alone = [{step.key for step in steps if getattr(step, "recipe", None) is not None} for steps in nested]
    return len(set().union(*alone)), sum(map(len, alone))
