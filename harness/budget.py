"""What a plan will cost, as text.

Lives here: device-hours and wall time by stage, totals, what sharing saves. Must not: where the figures come from
(`harness.estimate`), which stages share a job (`harness.job_cost`), when jobs get their GPUs (`harness.simulation`).
"""

from collections.abc import Iterable, Mapping, Sequence

from harness.estimate import MACS_PER_S, PREPARED_PER_S, Estimate
from harness.job_cost import START_S, JobCost, job_costs
from harness.plan import Step, inputs_first
from harness.simulation import simulate
from harness.spec import Stage

LONGEST_LIST = 60
"""With more missing stages than this there is a line for each kind of stage instead."""
SOURCES = ("measured", "scaled", "modelled")


def render_cost(
    steps: Sequence[Step],
    found: Mapping[str, Estimate],
    entries: Iterable[Iterable[Stage]],
    *,
    nodes: int,
    gpus: int,
    gpu: bool,
    executor: str,
) -> str:
    """What the missing stages take, in the jobs that `executor` would make of them. An entry is the stages it asks for.

    `found` is what `harness.estimate.estimates` says, on GPUs if `gpu`. Hours count every GPU that a job holds.
    """
    missing = [step for step in steps if not step.done]
    known = [step for step in missing if step.stage.key in found]
    if not missing:
        return "nothing to run: no cost"
    jobs = job_costs(missing, found, nodes=nodes, gpus=gpus, gpu=gpu, executor=executor)
    hours = {key: spent for job in jobs for key, spent in job.hours.items()}
    walls = {key: seconds for job in jobs for key, seconds in job.seconds.items()}
    lines = [
        assumed_device(gpu),
        *(_by_stage if len(missing) <= LONGEST_LIST else _by_kind)(known, found, hours, walls),
        f"{len(known)} stages to run in {_jobs(jobs)}: {_hours(sum(hours.values()), gpu)}; {_shares(found, hours)}",
        _duration(jobs, nodes, gpus, gpu),
        _assumed(gpu),
    ]
    if len(known) < len(missing):
        lines.append(
            f"{len(missing) - len(known)} more without an estimate count for nothing above: how many images their set"
            " holds is known once it is prepared, or torch, which counts a network's arithmetic, is not installed"
        )
    return "\n".join([*lines, _sharing(entries, hours, gpu)])


def assumed_device(gpu: bool) -> str:
    """What `harness.estimate.assumes_gpu` found, for a person."""
    if gpu:
        return "assumed device: GPU"
    return "assumed device: CPU core; no GPU is here, and neither --gpus nor the cluster's profile speaks of more"


def span(seconds: float) -> str:
    """`45 s`, `12 min`, `7 h 30 min`, `3 d 4 h`."""
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = round(minutes / 60)
    return f"{hours // 24} d {hours % 24} h"


def _by_stage(
    known: Iterable[Step], found: Mapping[str, Estimate], hours: Mapping[str, float], walls: Mapping[str, float]
) -> list[str]:
    """A line for every stage."""
    lines = [f"{'stage':<17}{'key':<14}{'hours':>10}{'wall':>14}  {'source':<10}first needed by"]
    for step in known:
        key = step.stage.key
        shown = f"{step.stage.name:<17}{key[:12]:<14}{hours[key]:>10,.2f}{span(walls[key]):>14}"
        lines.append(f"{shown}  {found[key].source:<10}{step.label}")
    return lines


def _by_kind(
    known: Iterable[Step], found: Mapping[str, Estimate], hours: Mapping[str, float], walls: Mapping[str, float]
) -> list[str]:
    """A line for every kind of stage: how many, hours in all, and the longest."""
    kinds: dict[str, list[str]] = {}
    for step in known:
        kinds.setdefault(step.stage.name, []).append(step.stage.key)
    lines = [f"{'stage':<22}{'stages':>8}{'hours':>12}{'longest':>14}  source"]
    for name, keys in kinds.items():
        spent, longest = sum(hours[key] for key in keys), max(walls[key] for key in keys)
        sources = ", ".join(source for source in SOURCES if any(found[key].source == source for key in keys))
        lines.append(f"{name:<22}{len(keys):>8}{spent:>12,.2f}{span(longest):>14}  {sources}")
    return lines


def _jobs(jobs: Sequence[JobCost]) -> str:
    return f"{len(jobs)} job{'s' if len(jobs) > 1 else ''}"


def _duration(jobs: Iterable[JobCost], nodes: int, gpus: int, gpu: bool) -> str:
    """How long the whole launch takes, at best and on what it names."""
    went = simulate([job.task for job in jobs], nodes * gpus)
    chain = sum(task.seconds for task in went.critical_path)
    device = "GPUs" if gpu else "CPU cores"
    return (
        f"done after {span(went.makespan)} on {nodes} x {gpus} {device} alone; the longest chain of jobs takes"
        f" {span(chain)} on any number"
    )


def _shares(found: Mapping[str, Estimate], keys: Iterable[str]) -> str:
    """How much of the total rests on what; starts of jobs aside."""
    spent = dict.fromkeys(SOURCES, 0.0)
    for key in keys:
        spent[found[key].source] += found[key].device_seconds
    total = sum(spent.values()) or 1.0
    return ", ".join(f"{100 * seconds / total:.0f} % {source}" for source, seconds in spent.items())


def _assumed(gpu: bool) -> str:
    """What figures rest on that were not measured."""
    rate = f"{MACS_PER_S['cpu']:.2g} MAC/s of a CPU core"
    if gpu:
        rate = f"{MACS_PER_S['bf16']:.2g} MAC/s of a GPU in bf16, {MACS_PER_S['fp32']:.2g} in fp32"
    return (
        f"assumed: {START_S:.0f} s for a job to start; in the model, the MACs of an image, three times where it is"
        f" trained on, at {rate}, and {PREPARED_PER_S} images prepared in a second"
    )


def _sharing(entries: Iterable[Iterable[Stage]], hours: Mapping[str, float], gpu: bool) -> str:
    """What the missing stages would cost if no entry used another's."""
    nested = ({step.key for stage in entry for step in inputs_first(stage)} for entry in entries)
    alone, shared = sum(hours.get(key, 0.0) for keys in nested for key in keys), sum(hours.values())
    return f"every entry by itself would take {_hours(alone, gpu)}: sharing saves {_hours(alone - shared, gpu)}"


def _hours(hours: float, gpu: bool) -> str:
    digits = 0 if hours >= 100 else 1 if hours >= 10 else 2
    return f"{hours:,.{digits}f} {'GPU' if gpu else 'core'}-hours"
