"""What could be tried on some data, in which order, and at what cost: the first step of choosing, and a command."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np

from graft import compute, licences, registry
from graft.compute import Speed
from graft.contracts import Examples, FittedTask, Machine, Source, Strategy, TargetData, Task, TransferData
from graft.data.cells import KIND_OF_LINK
from graft.data.split import Split, split
from graft.errors import RequestError
from graft.order import BUDGET, Order
from graft.preparation import Prepared, gather, rows_beside, silence
from graft.progress import Progress, Say, Silent
from graft.select import offers
from graft.select.candidates import check_build
from graft.select.entrant import Limits
from graft.select.field import Field, lay_out
from graft.select.forecast import Known, typical_length
from graft.select.plan import forecast_training
from graft.storage import cache_root

__all__ = ["field_of", "forecasts", "known_of", "limits_of", "plan", "run"]

Option = TypeVar("Option", Source, Strategy)


def plan(
    data: Any,
    *,
    source: Source | str | Sequence[Source | str] | None = None,
    strategy: Strategy | str | Sequence[Strategy | str] | None = None,
    task: Task | str | None = None,
    target: str | Sequence[str] | None = None,
    input: str | None = None,
    group_by: str | None = None,
    delimiter: str | None = None,
    test: Any | None = None,
    metric: str | None = None,
    on_bad_row: str = "fail",
    budget: float = BUDGET,
    fractions: tuple[float, float, float] = (0.7, 0.15, 0.15),
    seed: int = 0,
    device: str = "auto",
    precision: str = "auto",
    licence: str | None = None,
    unlabelled: Any | None = None,
    confidence: str | None = None,
    download: bool = False,
    prior: Mapping[str, float] | None = None,
    progress: Progress | None = None,
    say: Say | None = None,
) -> Field:
    """Say which sources and strategies could serve the task in ``data``, in the order to be tried, and their cost.

    Nothing is trained, loaded or fetched.

    Parameters
    ----------
    source
        One or several; ``None``: all that load now without a network, and with ``download`` the most
        promising of those that would have to be fetched.
    strategy
        One or several; ``None``: those that suit the number of rows
        (:data:`~graft.select.field.FEW`, :data:`~graft.select.field.MANY`, :data:`~graft.select.field.MANY_OF`).
    budget
        Seconds; what takes longer by its forecast is left out.
    prior
        How much is expected of a candidate, a source or a strategy, by name: the more, the earlier.
    progress, say
        Show what takes time; told of each step.

    The others are those of :class:`~graft.order.Order`.

    Raises
    ------
    GraftError
        One of its kinds, see ``graft.errors``.

    Examples
    --------
    >>> import graft
    >>> rows = [[float(i % 2), float(i % 7)] for i in range(60)]
    >>> labels = [("odd", "even")[i % 2] for i in range(60)]
    >>> graft.plan((rows, labels), source="columns", strategy=["svm", "linear_probe"]).strategies()
    ('linear_probe', 'svm')
    """
    order = Order(
        data, None, () if strategy is None else strategy, task, target, input, group_by, delimiter, test, metric,
        (), on_bad_row, budget, fractions, seed, device, precision, True,
        licence, unlabelled, confidence,
    )  # fmt: skip
    sources = [] if source is None else [source] if isinstance(source, str | Source) else list(source)
    return run(order, sources, download=download, prior=prior, progress=progress, say=say)


def run(
    order: Order,
    sources: Sequence[Source | str] = (),
    *,
    download: bool = False,
    prior: Mapping[str, float] | None = None,
    progress: Progress | None = None,
    say: Say | None = None,
) -> Field:
    """Read, audit, and lay out the field; see :func:`plan`.  Of the order no source is looked at."""
    say, progress = say or silence, progress or Silent()
    licences.checked(order.licence or "any")
    given = order.strategy or ()
    asked = [given] if isinstance(given, str | Strategy) else list(given)
    strategies, wanted = _built("strategies", asked, Strategy), _built("sources", sources, Source)
    found = gather(order, strategies or [registry.build("strategies", "pretrain")], progress=progress, say=say)
    held = found.held
    sides = split(held, fractions=order.fractions, seed=order.seed, kind=KIND_OF_LINK[found.fitted.link])
    known = known_of(held, found.fitted, sides, rows_beside(order, found, progress=progress, say=say))
    say("split", f"{known.rows} rows to learn from; seed {order.seed}")
    limits = limits_of(order.seconds, found.machine)
    return field_of(order, known, found.machine, limits, wanted, strategies, download=download, prior=prior)


def field_of(
    order: Order,
    known: Known,
    machine: Machine,
    limits: Limits,
    wanted: Sequence[Source] = (),
    strategies: Sequence[Strategy] = (),
    *,
    download: bool = False,
    prior: Mapping[str, float] | None = None,
    speed: Speed | None = None,
) -> Field:
    """What may be tried on data that were read already.

    Parameters
    ----------
    speed
        Of the machine, where it was measured before.

    Raises
    ------
    RequestError
        Where nothing is left, with all reasons.
    """
    speed = speed or compute.speed(machine)
    if wanted:
        could, not_these = offers.named(wanted, known, order.licence)
    else:
        could, not_these = offers.on_this_machine(known, order.licence)
        names = [
            *(each.card.name for each in could),
            *(each.name for each in could),
            *(each.name for each in not_these),
        ]
        more, nor_these = offers.fetchable(known, order.licence, speed, limits.budget, here=names, download=download)
        could, not_these = [*could, *more], [*not_these, *nor_these]
    return lay_out(known, could, limits, speed, strategies=strategies, prior=prior, excluded=not_these)


def _built(kind: str, asked: Iterable[Option | str], role: type[Option]) -> list[Option]:
    """The plug-ins that are asked for, each once; all that is wrong with their names is said at once."""
    made: dict[str, Option] = {}
    faults = []
    for each in asked:
        try:
            option: Option = registry.build(kind, each) if isinstance(each, str) else each
        except RequestError as exc:
            faults.append(exc)
            continue
        made.setdefault(registry.title(option), option)
    if len(faults) == 1:
        raise faults[0]
    if faults:
        raise RequestError("\n".join(map(str, faults)))
    return list(made.values())


def limits_of(budget: float, machine: Machine) -> Limits:
    """The budget, and what is free on this machine.

    Raises
    ------
    RequestError
        For a budget that is no time.
    """
    if not 0 < budget < math.inf:
        raise RequestError(f"budget is {budget:g}, expected a number of seconds above 0.")
    root = cache_root()
    here = next(each for each in (root, *root.parents) if each.exists())
    return Limits(budget, compute.free_memory(machine), shutil.disk_usage(here).free)


def known_of(held: TargetData, fitted: FittedTask, sides: Split, beside: Examples | None) -> Known:
    """What planning looks at: counts, and how long a few rows are."""
    learnt = np.concatenate([sides.train, sides.valid])
    return Known(
        held.examples.modality,
        fitted,
        len(learnt),
        len(sides.unlabelled) + (0 if beside is None else len(beside)),
        typical_length(held.examples.take(learnt)),
        held.origin,
    )


def forecasts(prepared: Prepared, common: TransferData, budget: float, *, known: bool = False) -> dict[str, Any]:
    """Seconds, by name, that each control takes which trains a whole network; nothing of what has no time at all.

    Before time is spent on anything, all models are built and thrown away.

    Parameters
    ----------
    known
        Whether what is tried was built before.

    Raises
    ------
    GraftError
        Where weights are absent or do not fit, or a strategy lacks something.
    """
    for each in () if known else (*prepared.plan.candidates, *prepared.plan.controls):
        check_build(each, prepared.fitted, partial(prepared.view, each.strategy, common))
    if budget <= 0:
        return {"forecasts": {}}
    dear = [each for each in prepared.plan.controls if each.strategy.starts_from == "untrained"]
    fits = 1 if prepared.rounds is None else 1 + len(prepared.rounds)
    seconds = (forecast_training(each, prepared.fitted, common, budget / fits) for each in dear)
    return {"forecasts": {each.name: round(fits * taken, 1) for each, taken in zip(dear, seconds, strict=True)}}
