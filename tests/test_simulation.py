"""A queue played through, and a training that is interrupted."""

import math
import random
import time

import pytest

from harness.errors import UserError
from harness.placement import CHECKPOINT_S, CHECKPOINT_SHARE
from harness.simulation import Task, checkpoint_interval, goodput, simulate

HOUR = 3600.0
NODE_MTBF = 4 * 38 * 24 * HOUR
"""Seconds between two failures of one node, when four have one in 38 days."""


def task(key: str, seconds: float, gpus: int = 1, inputs: str = "") -> Task:
    return Task(key=key, title=key, seconds=seconds, gpus=gpus, inputs=tuple(inputs.split()))


def test_a_chain_gains_nothing_from_more_gpus() -> None:
    went = simulate([task("a", 10), task("b", 20, inputs="a"), task("c", 30, inputs="b")], gpus=4)
    assert (went.makespan, went.lower_bound, went.busy) == (60, 60, 0.25)
    assert [each.key for each in went.critical_path] == ["a", "b", "c"]


def test_what_depends_on_nothing_fills_the_gpus() -> None:
    went = simulate([task(str(number), 10) for number in range(8)], gpus=4)
    assert (went.makespan, went.lower_bound, went.busy) == (20, 20, 1)


def test_an_input_that_no_task_makes_is_there_already() -> None:
    assert simulate([task("a", 10, inputs="done")], gpus=1).makespan == 10


def test_a_join_waits_for_the_slower_side() -> None:
    tasks = [task("a", 10), task("slow", 50, inputs="a"), task("fast", 5, inputs="a"), task("b", 1, inputs="fast slow")]
    went = simulate(tasks, gpus=2)
    assert went.starts == {"a": 0, "slow": 10, "fast": 10, "b": 60}
    assert [each.key for each in went.critical_path] == ["a", "slow", "b"]


def test_a_short_job_overtakes_a_wide_one_and_a_long_job_must_not_delay_it() -> None:
    tasks = [task("first", 10, gpus=2), task("wide", 5, gpus=4), task("short", 10), task("long", 12)]
    assert simulate(tasks, gpus=4).starts == {"first": 0, "short": 0, "wide": 10, "long": 15}


def test_a_long_job_overtakes_on_a_gpu_that_the_wide_one_leaves_free() -> None:
    tasks = [task("first", 10, gpus=2), task("wide", 5, gpus=3), task("long", 100)]
    assert simulate(tasks, gpus=4).starts == {"first": 0, "long": 0, "wide": 10}


@pytest.mark.parametrize("seed", range(5))
def test_no_schedule_beats_its_bound_or_breaks_a_rule(seed: int) -> None:
    draws = random.Random(seed)
    tasks = [
        task(
            str(i), draws.uniform(1, 100), draws.choice([1, 1, 3]), " ".join(str(draws.randrange(i)) for _ in range(2))
        )
        if i
        else task("0", 1)
        for i in range(60)
    ]
    went = simulate(tasks, gpus=5)
    ends = {each.key: went.starts[each.key] + each.seconds for each in tasks}
    assert all(went.starts[each.key] >= ends[key] for each in tasks for key in each.inputs)
    for moment in went.starts.values():
        assert sum(each.gpus for each in tasks if went.starts[each.key] <= moment < ends[each.key]) <= 5
    assert went.lower_bound <= went.makespan == max(ends.values())


def test_a_job_wider_than_the_cluster_is_refused() -> None:
    with pytest.raises(UserError, match="train needs 8 GPUs or cores, there are 4: lower --nodes-per-job"):
        simulate([task("train", 10, gpus=8)], gpus=4)


def test_a_job_that_holds_no_gpu_waits_for_none() -> None:
    tasks = [task("first", 10, gpus=4), task("wide", 5, gpus=4), task("prepare", 30, gpus=0)]
    went = simulate(tasks, gpus=4)
    assert went.starts == {"first": 0, "wide": 10, "prepare": 0}
    assert (went.makespan, went.busy) == (30, 0.5)


def test_an_empty_plan_takes_no_time() -> None:
    went = simulate([], gpus=4)
    assert (went.makespan, went.busy, went.critical_path) == (0, 0, ())


def test_a_hundred_thousand_stages_are_a_matter_of_seconds() -> None:
    draws = random.Random(0)
    tasks = [
        task(str(i), draws.uniform(60, 4000), 4 if i % 3 else 1, str(draws.randrange(max(0, i - 500), i)) if i else "")
        for i in range(100_000)
    ]
    started = time.process_time()
    assert simulate(tasks, gpus=64).makespan > 0
    assert time.process_time() - started < 15


def long_run(*, checkpoint: float, mtbf: float, save: float = 0.0, restart: float = 60.0, grace: bool = False) -> float:
    return goodput(
        checkpoint_s=checkpoint, save_s=save, restart_s=restart, mtbf_s=mtbf, grace=grace,
        horizon_s=4000 * mtbf, seed=1,
    )  # fmt: skip


def test_half_an_interval_and_a_restart_are_lost_with_each_interruption() -> None:
    """Young (1974), to first order: (600 / 2 + 60) / 14,400 = 2.5 %."""
    assert long_run(checkpoint=600, mtbf=4 * HOUR) == pytest.approx(0.975, abs=0.002)


def test_where_interruptions_are_frequent_it_agrees_with_daly() -> None:
    """Daly (2006), whole: tau / M exp(-R / M) / (exp((tau + delta) / M) - 1)."""
    whole = 600 / 1800 * math.exp(-120 / 1800) / math.expm1(606 / 1800)
    assert long_run(checkpoint=600, save=6, restart=120, mtbf=1800) == pytest.approx(whole, abs=0.01)


def test_with_a_signal_in_time_only_restarts_are_lost() -> None:
    assert long_run(checkpoint=600, mtbf=1800, grace=True) == pytest.approx(math.exp(-60 / 1800), abs=0.003)


def test_a_run_without_interruptions_loses_what_checkpoints_hold_it_up() -> None:
    undisturbed = goodput(
        checkpoint_s=99, save_s=1, restart_s=0, mtbf_s=1e12, grace=False, horizon_s=1e6, seed=0
    )  # fmt: skip
    assert undisturbed == pytest.approx(0.99)


@pytest.mark.parametrize("save", [0.01, 0.5, 5.0, 60.0])
def test_checkpoints_take_at_most_the_share_that_trainings_grant_them(save: float) -> None:
    every = checkpoint_interval(save)
    assert every >= CHECKPOINT_S
    assert save / (every + save) <= CHECKPOINT_SHARE == 0.01


def test_nine_tenths_are_kept_under_a_preemption_every_half_hour() -> None:
    every = checkpoint_interval(0.5)
    assert long_run(checkpoint=every, save=0.5, restart=60, mtbf=HOUR / 2) >= 0.90


def test_all_but_a_hundredth_is_kept_on_four_nodes_that_fail_once_in_38_days() -> None:
    every = checkpoint_interval(0.5)
    assert long_run(checkpoint=every, save=0.5, restart=60, mtbf=NODE_MTBF / 4) >= 0.99


def test_the_same_seed_gives_the_same_share() -> None:
    assert long_run(checkpoint=60, mtbf=HOUR) == long_run(checkpoint=60, mtbf=HOUR)
