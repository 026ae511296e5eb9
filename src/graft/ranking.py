"""Sources ranked for a dataset before anything is trained: what ``graft rank`` does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from graft import licences, registry
from graft.contracts import Array, Card, FittedTask, Score, Source, TargetData, Task, TransferData
from graft.data.cells import KIND_OF_LINK, Kind
from graft.data.split import split
from graft.errors import GraftError, RequestError
from graft.order import Order
from graft.preparation import gather, silence
from graft.progress import Progress, Say, Silent
from graft.select.clock import Clock
from graft.select.forecast import Known
from graft.select.offers import on_this_machine
from graft.select.ranks import Ranking, Screened
from graft.select.screen import screen
from graft.select.terms import check_licence
from graft.select.view import groups_at, rows_at
from graft.storage import cache_root

__all__ = ["rank", "run"]

_SHARES = ((0.7, 0.15, 0.15), (0.85, 0.0, 0.15))
"""As ``graft fit`` cuts the rows with strategies that validate, and without."""

_NEVER_LEARNT = "it never learnt anything, so that its features are chance's; name it with --source to rank it."


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

    Rows that :func:`graft.fit` with the same seed judges by stay unseen, so that what is chosen by the
    ranking can still be judged.

    Parameters
    ----------
    source
        One or several; where ``None``, all that load now without a network for this kind of data, but for
        networks that never learnt anything.
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
    licences.checked(order.licence or "any")
    clock, asked = Clock(budget), [registry.build("scores", each) if isinstance(each, str) else each for each in scores]
    named = None if sources is None else [_built(each) for each in sources]
    if named is not None and not named:
        raise RequestError("no source was given to rank; name some, or none to rank those that are here.")
    found = gather(order, [], progress=progress, say=say)
    held = found.held
    places = _to_rank_by(held, order.seed, KIND_OF_LINK[found.fitted.link])
    say("split", f"{len(places)} rows to rank by; those that graft fit may judge by stay unseen; seed {order.seed}")
    fitted = found.started(places)
    data = TransferData(
        train=rows_at(held, fitted, places),
        groups=groups_at(held, places),
        seed=order.seed,
        machine=found.machine,
        cache=cache_root() / "features" if order.cache else None,
        progress=progress,
    )
    here, untaught = (named, []) if named is not None else _here(held, fitted, len(places))
    allowed, refused = _allowed(here, order.licence)
    refused = [*refused, *untaught]
    if not allowed:
        raise RequestError("\n".join(["no source is left to rank:", *(f"  {each.failed}" for each in refused)]))
    say("screen", f"{len(allowed)} {'source' if len(allowed) == 1 else 'sources'}, a frozen pass each")
    ranking = screen(allowed, data, fitted, scores=asked, clock=clock, most=rows)
    return replace(ranking, entries=(*ranking.entries, *refused))


def _built(source: Source | str) -> Source:
    built: Source = registry.build("sources", source) if isinstance(source, str) else source
    return built


def _to_rank_by(held: TargetData, seed: int, kind: Kind) -> Array:
    """Places of the rows that ``graft fit`` judges by in neither of the ways in which it splits them with this seed."""
    assert held.labels is not None
    judged = [split(held, fractions=shares, seed=seed, kind=kind) for shares in _SHARES]
    taken = np.concatenate([each.test for each in judged])
    first = judged[0]
    return np.setdiff1d(np.concatenate([first.train, first.valid, first.test]), taken)


def _here(held: TargetData, fitted: FittedTask, rows: int) -> tuple[list[Source], list[Screened]]:
    """What loads now without a network and reads such rows, plain features among them; and what never learnt."""
    known = Known(held.examples.modality, fitted, rows, origin=held.origin)
    offers = on_this_machine(known, None)[0]
    untaught = [each for each in offers if not each.source.pretrained and each.card.parameters != 0]
    told = [Screened(each.name, each.card, {}, 0, 0.0, _NEVER_LEARNT) for each in untaught]
    return [each.source for each in offers if each not in untaught], told


def _allowed(sources: Sequence[Source], licence: str | None) -> tuple[list[Source], list[Screened]]:
    """Those whose licence passes, and why the others are left out."""
    allowed, refused = [], []
    for each in sources:
        try:
            check_licence(each, licence)
            allowed.append(each)
        except GraftError as exc:
            name = registry.title(each)
            refused.append(Screened(name, Card(name, ""), {}, 0, 0.0, str(exc)))
    return allowed, refused
