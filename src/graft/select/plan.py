"""What is to be tried, what it will cost, and what is left out and why; nothing is trained here."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from graft import compute, registry
from graft.contracts import FittedTask, Source, Strategy, TransferData
from graft.nn.grafted import Grafted
from graft.select.candidates import Candidate, candidate, graft_backbone

__all__ = ["CONTROLS", "Plan", "forecast_training", "make_plan"]

_HOPELESS = 10.0
"""How many budgets a forecast must be over to need no second look."""

_FEW, _SOME = 2, 16
"""Rows of the first step, and of the others."""

CONTROLS = ("majority", "shallow", "scratch")
"""What transfer must beat, cheapest first."""


@dataclass(frozen=True)
class Plan:
    """The candidates and controls to run, in order.

    Parameters
    ----------
    forecasts
        Seconds expected, by name, for what trains a whole network.
    left_out
        Why something does not run, by name.
    """

    candidates: tuple[Candidate, ...]
    controls: tuple[Candidate, ...]
    forecasts: dict[str, float]
    left_out: dict[str, str]

    def afford(self, forecasts: dict[str, float], budget: float) -> Plan:
        """The plan without the controls whose forecast is over the budget, in seconds; nothing trains in none."""
        dear = {name: seconds for name, seconds in forecasts.items() if seconds > budget}
        reasons = {name: _too_dear(seconds, budget) for name, seconds in dear.items()}
        if budget <= 0:
            trained = [each.name for each in self.controls if each.trains]
            reasons |= dict.fromkeys(trained, "no time is left in which it could train")
        kept = tuple(each for each in self.controls if each.name not in reasons)
        return Plan(self.candidates, kept, forecasts, {**self.left_out, **reasons})

    def without(self, name: str, reason: str) -> Plan:
        """The plan without what could not run after all."""
        tried = tuple(each for each in self.candidates if each.name != name)
        kept = tuple(each for each in self.controls if each.name != name)
        return Plan(tried, kept, self.forecasts, {**self.left_out, name: reason})

    def names(self) -> list[str]:
        """Names of everything that runs, in order."""
        return [each.name for each in (*self.candidates, *self.controls)]


def _too_dear(seconds: float, budget: float) -> str:
    if seconds == float("inf"):
        return "training it does not fit into memory"
    return f"its forecast of {seconds:.0f} s is over the {budget:.0f} s that --budget gives it"


def make_plan(
    source: Source,
    strategies: Sequence[Strategy],
    modality: str,
    controls: Sequence[str] = CONTROLS,
) -> Plan:
    """Check every pair of source and strategy against the data, and add the controls.

    A strategy that names what it is :meth:`~graft.contracts.Strategy.without` brings that as one
    more control.  Nothing runs twice.  Looks at no row; ``scratch`` is forecast later, by
    :func:`forecast_training`, against the budget.

    Raises
    ------
    RequestError
        Where a source reads another modality.
    UnknownNameError
        For a control that does not exist.
    """
    tried = tuple(candidate(source, strategy, modality) for strategy in strategies)
    beside: list[Candidate] = []
    left_out: dict[str, str] = {}
    for name in controls:
        control = candidate(source, registry.build("strategies", name), modality)
        if any(_same(control, each) for each in tried):
            continue
        learnt = source.pretrained or any(getattr(each, "pretrains", False) for each in strategies)
        if control.strategy.starts_from == "untrained" and not learnt:
            left_out[name] = "the source never learnt anything, so there is no untrained twin"
            continue
        beside.append(control)
    for strategy in strategies:
        twin = _twin(source, strategy, modality)
        if twin is not None and not any(_same(twin, each) for each in (*tried, *beside)):
            taken = {each.name for each in (*tried, *beside)}
            named = twin.name if twin.name not in taken else f"{twin.name} of {registry.title(strategy)}"
            beside.append(replace(twin, name=named))
    return Plan(tried, tuple(beside), {}, left_out)


def _twin(source: Source, strategy: Strategy, modality: str) -> Candidate | None:
    """The same model without what the strategy adds, under the name that the strategy gives it."""
    found = strategy.without()
    return None if found is None else replace(candidate(source, found[1], modality), name=found[0], role="control")


def _same(one: Candidate, other: Candidate) -> bool:
    """Whether two candidates would be the same model, whatever they are called."""
    pairs = ((one.strategy, other.strategy), (one.source, other.source))
    return all(
        type(mine) is type(theirs) and repr(mine.get_params(deep=False)) == repr(theirs.get_params(deep=False))
        for mine, theirs in pairs
    )


def forecast_training(chosen: Candidate, fitted: FittedTask, data: TransferData, budget: float) -> float:
    """Seconds that training a whole network will take, from a few steps on a few rows.

    The longest it can take: all epochs, without an early stop.  The first step is on very few rows, and
    builds kernels; where even so the forecast is far over the ``budget``, no second one is needed.
    """
    train, machine = data.train, data.machine
    backbone = graft_backbone(chosen, train.examples)
    module = Grafted(backbone, torch.nn.Linear(backbone.dim, fitted.n_outputs)).to(machine.device).train()
    epochs = float(chosen.strategy.get_params().get("epochs", 1))
    forecast = float("inf")
    for size in (_FEW, _SOME, _SOME):
        rows = np.linspace(0, len(train) - 1, num=min(size, len(train))).astype(np.int64)
        items = backbone.preprocess.items([train.examples[int(row)] for row in rows])
        batch = compute.to_device(backbone.preprocess.collate(items), machine, torch.float32)
        wanted = train.targets[torch.from_numpy(rows)].to(machine.device)
        started = time.monotonic()
        try:
            fitted.loss(module(batch), wanted).backward()  # type: ignore[no-untyped-call]
        except (MemoryError, RuntimeError) as exc:
            if compute.out_of_memory(exc):
                return float("inf")
            raise
        forecast = min(forecast, (time.monotonic() - started) * len(train) / len(rows) * epochs)
        if forecast > _HOPELESS * budget:
            break
    return forecast
