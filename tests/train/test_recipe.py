"""How long and how carefully to train."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from graft.errors import RequestError
from graft.evaluate.goal import Goal
from graft.train import SCHEDULES, Recipe
from graft.train.recipe import falls, share

UP = Goal(lambda outputs, targets: 0.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"accumulate": 0}, "accumulate is 0"),
        ({"warmup": 1.0}, "warmup is 1.0"),
        ({"patience": 0}, "patience is 0"),
        ({"clip": 0.0}, "clip is 0.0"),
        ({"ema": 1.0}, "ema is 1.0"),
        ({"schedule": "steps"}, "schedule is 'steps', expected one of cosine, one_cycle, plateau, constant"),
    ],
)
def test_a_recipe_that_cannot_be(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        Recipe(**{"epochs": 1, **changes})


def test_all_faults_are_listed_at_once() -> None:
    with pytest.raises(RequestError, match=r"epochs is 0.*warmup is 2.*clip is -1"):
        Recipe(epochs=0, warmup=2, clip=-1)


def _torch_rates(schedule: str, every: int) -> list[float]:
    weight = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([weight], lr=1.0)
    plan: torch.optim.lr_scheduler.LRScheduler
    if schedule == "one_cycle":
        plan = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, max_lr=1.0, total_steps=every, pct_start=0.3, cycle_momentum=False
        )
    else:
        plan = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=every)
    rates = []
    for _ in range(every):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        plan.step()
    return rates


@pytest.mark.parametrize(("schedule", "warmup"), [("one_cycle", 0.3), ("cosine", 0.0)])
def test_rates_are_those_of_torch_s_schedulers(schedule: Any, warmup: float) -> None:
    recipe = Recipe(epochs=1, schedule=schedule, warmup=warmup)
    ours = [share(recipe, step, 40) for step in range(40)]
    assert ours == pytest.approx(_torch_rates(schedule, 40), abs=1e-6)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("every", [1, 2, 7])
def test_rates_are_shares_however_few_steps_there_are(schedule: Any, every: int) -> None:
    for warmup in (0.0, 0.1, 0.9):
        shares = [share(Recipe(epochs=1, schedule=schedule, warmup=warmup), step, every) for step in range(every)]
        assert all(0 < each <= 1 for each in shares)


def test_a_constant_schedule_rises_and_stays() -> None:
    recipe = Recipe(epochs=1, schedule="constant", warmup=0.5)
    assert [share(recipe, step, 4) for step in range(4)] == pytest.approx([1 / 3, 2 / 3, 1, 1])


def test_rates_fall_to_a_tenth_after_a_plateau_as_torch_s_do() -> None:
    recipe = Recipe(epochs=9, schedule="plateau", patience=4)
    metrics = [0.1, 0.3, 0.3, 0.2, 0.4, 0.4, 0.4, 0.4, 0.5]
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    # torch waits for more than its patience, and has a threshold
    plan = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, mode="max", factor=0.1, patience=1, threshold=0.0)
    for place, metric in enumerate(metrics):
        plan.step(metric)
        assert falls(recipe, metrics[: place + 1], UP) == pytest.approx(optimiser.param_groups[0]["lr"])
    assert falls(Recipe(epochs=9), metrics, UP) == 1.0, "other schedules know no plateau"
    assert falls(recipe, [None, None, None, None], UP) == 1.0, "without validation rows there is none"
