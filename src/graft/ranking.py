"""Sources ranked for a dataset before anything is trained: what ``graft rank`` does."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from graft import registry
from graft.contracts import Card, Score, Source, Task, TransferData
from graft.data.cells import KIND_OF_LINK
from graft.data.split import split
from graft.errors import GraftError, RequestError, UnknownNameError
from graft.order import Order
from graft.preparation import Say, gather, silence
from graft.progress import Progress, Silent
from graft.select.candidates import DEFAULT_SOURCES
from graft.select.screen import Ranking, Screened, screen
from graft.select.terms import check_licence
from graft.select.view import groups_at, rows_at
from graft.storage import cache_root

__all__ = ["local_sources", "rank", "run"]

_SHARES = (0.85, 0.0, 0.15)
"""As ``graft fit`` cuts the rows for a strategy that does not validate."""


def rank(
    data: Any,
    *,
    source: Source | str | Sequence[Source | str] | None = None,
    score: Score | str | Sequence[Score | str] = "probe",
    task: Task | str | None = None,
    target: str | Sequence[str] | None = None,
    input: str | None = None,
    group_by: str | None = None,
    delimiter: str | None = None,
    metric: str | None = None,
    on_bad_row: str = "fail",
    budget: float | None = None,
    rows: int | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: str = "auto",
    cache: bool = True,
    licence: str | None = None,
    confidence: str | None = None,
    progress: Progress | None = None,
    say: Say | None = None,
) -> Ranking:
    """Rank sources for a task by their frozen features; nothing is trained but closed forms.

    The rows are those that :func:`graft.fit`, with its own strategy and the same seed, learns from: the
    test rows stay unseen.

    Parameters
    ----------
    source
        One or several; all that load now without a network for this kind of data, where ``None``.
    score
        One or several (``graft ls scores``); sources are ordered by the first.
    budget
        Seconds: where they become short, sources are told from fewer rows.
    rows
        How many rows to look at, at most.
    progress, say
        Show what takes time; told of each step.

    The others are those of :class:`Order`.

    Raises
    ------
    GraftError
        One of its kinds, see ``graft.errors``.

    Examples
    --------
    >>> import graft
    >>> table = [[float(i % 2), float(i % 7)] for i in range(60)]
    >>> found = graft.rank((table, [("even", "odd")[i % 2] for i in range(60)]), source="columns")
    >>> found.best.source, found.best.scores["probe"].value
    ('columns', 1.0)
    """
    order = Order(
        data, task=task, target=target, input=input, group_by=group_by, delimiter=delimiter, metric=metric,
        on_bad_row=on_bad_row, seed=seed, device=device, precision=precision, cache=cache, licence=licence,
        confidence=confidence,
    )  # fmt: skip
    named = None if source is None else [source] if isinstance(source, str | Source) else list(source)
    scores = [score] if isinstance(score, str | Score) else list(score)
    return run(order, named, scores, budget=budget, rows=rows, progress=progress, say=say)


class _Until:
    """Seconds that are left of a budget."""

    def __init__(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds

    def left(self) -> float:
        return self.end - time.monotonic()


def run(
    order: Order,
    sources: Sequence[Source | str] | None,
    scores: Sequence[Score | str],
    *,
    budget: float | None = None,
    rows: int | None = None,
    progress: Progress | None = None,
    say: Say | None = None,
) -> Ranking:
    """Read, split and screen; see :func:`rank`."""
    say, progress = say or silence, progress or Silent()
    if budget is not None and not budget > 0:
        raise RequestError(f"the budget is {budget:g} s; expected more than 0.")
    if rows is not None and rows < 2:
        raise RequestError(f"rows is {rows}; two at least are needed to tell sources apart.")
    clock = None if budget is None else _Until(budget)
    named = None if sources is None else [_built(each) for each in sources]
    if named is not None and not named:
        raise RequestError("no source was given to rank; name some, or none to rank those that are here.")
    found = gather(order, [], progress=progress, say=say)
    held = found.held
    sides = split(held, fractions=_SHARES, seed=order.seed, kind=KIND_OF_LINK[found.fitted.link])
    places = np.sort(np.concatenate([sides.train, sides.valid]))
    say("split", f"{len(places)} rows to rank by; {len(sides.test)} test rows stay unseen; seed {order.seed}")
    fitted = found.started(places)
    data = TransferData(
        train=rows_at(held, fitted, places),
        groups=groups_at(held, places),
        seed=order.seed,
        machine=found.machine,
        cache=cache_root() / "features" if order.cache else None,
        progress=progress,
    )
    allowed, refused = _allowed(named or local_sources(held.examples.modality), order.licence)
    if not allowed:
        raise RequestError("\n".join(["no source is left to rank:", *(f"  {each.failed}" for each in refused)]))
    say("screen", f"{len(allowed)} {'source' if len(allowed) == 1 else 'sources'}, a frozen pass each")
    ranking = screen(allowed, data, fitted, scores=scores, clock=clock, most=rows)
    return replace(ranking, entries=(*ranking.entries, *refused))


def _built(source: Source | str) -> Source:
    built: Source = registry.build("sources", source) if isinstance(source, str) else source
    return built


def local_sources(modality: str) -> list[Source]:
    """The sources of a modality that load now without a network, plain features among them.

    Where the modality's own default source reads another one, over a bridge, it is there too.  A
    family that cannot be asked hides no other.
    """
    found: dict[str, Source] = {}
    for name in registry.names("sources"):
        try:
            specs = registry.load("sources", name).local()
            built = [registry.build("sources", spec) for spec in specs]
            found |= {registry.title(each): each for each in built if each.reads() == modality}
        except GraftError:
            continue
    default = DEFAULT_SOURCES.get(modality)
    if default is not None:
        found.setdefault(default, registry.build("sources", default))
    return list(found.values())


def _allowed(sources: Sequence[Source], licence: str | None) -> tuple[list[Source], list[Screened]]:
    """Those whose licence passes, and why the others are left out."""
    allowed, refused = [], []
    for each in sources:
        try:
            check_licence(each, licence)
            allowed.append(each)
        except UnknownNameError:
            raise
        except GraftError as exc:
            name = registry.title(each)
            refused.append(Screened(name, Card(name, ""), {}, 0, 0.0, str(exc)))
    return allowed, refused
