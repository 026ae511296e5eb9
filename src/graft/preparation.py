"""All that is decided before anything is trained: the data read, audited and split, the request checked, the plan."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from graft import compute, narration, reading, registry
from graft.contracts import (
    Array,
    Examples,
    FittedTask,
    Machine,
    Request,
    Rows,
    Source,
    Strategy,
    TargetData,
    Task,
    TransferData,
)
from graft.data.audit import Audit, audit, drop
from graft.data.cells import KIND_OF_LINK
from graft.data.folds import deal, folds_in_words
from graft.data.split import Split, split
from graft.errors import BadRowsError, DataError, RequestError
from graft.order import Order
from graft.progress import Progress, Say, Silent
from graft.select.candidates import Candidate, default_source
from graft.select.ensembling import check_ensemble
from graft.select.plan import Plan, make_plan
from graft.select.rounds import Rounds
from graft.select.terms import check_licence
from graft.select.view import groups_at, rows_at, started, view
from graft.storage import digest
from graft.version import __version__

__all__ = [
    "Gathered",
    "Prepared",
    "gather",
    "prepare",
    "request_of",
    "rows_beside",
    "silence",
    "source_of",
    "sources_of",
    "strategies_of",
]


def silence(step: str, sentence: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class Prepared:
    """All that is decided before anything is trained."""

    held: TargetData
    findings: Audit
    sides: Split
    task: Task
    fitted: FittedTask
    source: Source | None
    """``None``: yet to be chosen."""
    plan: Plan
    """Without a candidate where source or strategy are yet to be chosen."""
    machine: Machine
    request: str
    beside: Examples | None = None
    """Rows without labels that were given apart."""
    rounds: Rounds | None = None
    """The folds to judge by; ``None``: the test rows."""

    @property
    def pool(self) -> Array:
        """Places of all rows that are no test rows."""
        return self.sides.pool

    def started(self, places: Array) -> FittedTask:
        """The task for models that learn from these places: numbers are scaled by what is learnt from alone."""
        assert self.held.labels is not None
        return self.fitted if self.fitted.classes else self.task.start(self.held.labels[places])

    def settled(self, order: Order, chosen: Candidate, partners: Sequence[Candidate] = ()) -> Prepared:
        """The same with what was chosen, its controls, and what may be handed over together with it."""
        modality = self.held.examples.modality
        plan = make_plan(chosen.source, [chosen.strategy], modality, order.controls)
        plan = replace(plan, candidates=(*plan.candidates, *partners))
        return replace(self, source=chosen.source, plan=plan)

    def rows(self, places: Array) -> Rows:
        """The rows at these places, encoded."""
        return rows_at(self.held, self.fitted, places)

    def groups(self, places: Array) -> Array | None:
        """Their groups."""
        return groups_at(self.held, places)

    def split(self, order: Order) -> dict[str, Any] | None:
        """How the rows were cut, and which of them are measured by, whatever their order; of folds nothing."""
        if self.rounds is not None:
            return None
        shares = _fractions(order.fractions, bool(len(self.sides.valid)))
        keys = self.held.examples.take(self.sides.test).keys()
        return {"fractions": list(shares), "test": digest(*sorted(key.tobytes() for key in keys))}

    def view(self, strategy: Strategy, common: TransferData) -> TransferData:
        """What a strategy sees of the rows."""
        return view(self.held, self.sides, self.fitted, strategy, common, self.beside)


@dataclass(frozen=True)
class Gathered:
    """Data that are read and audited, with the task that their labels set."""

    held: TargetData
    findings: Audit
    task: Task
    fitted: FittedTask
    machine: Machine

    def started(self, places: Array) -> FittedTask:
        """The task for models that learn from these places: numbers are scaled by what is learnt from alone."""
        return started(self.held, self.task, self.fitted, places)


def gather(order: Order, strategies: Sequence[Strategy], *, progress: Progress, say: Say) -> Gathered:
    """Read and audit the data, and say what is to be learnt.

    Raises
    ------
    GraftError
        Where the data cannot be read, or the request cannot work with them.
    """
    if order.on_bad_row not in ("fail", "skip"):
        raise RequestError(f"on_bad_row is 'fail' or 'skip'; {order.on_bad_row!r} was given.")
    machine = compute.machine(order.device, order.precision)
    if order.unlabelled is not None and strategies and not any(each.uses_unlabelled for each in strategies):
        raise RequestError(
            "no strategy here learns from rows without labels; add --strategy pretrain, or leave --unlabelled away."
        )
    kind = order.task if isinstance(order.task, str) else None
    asked = Request(
        _names(order.target), order.input, order.group_by, kind, order.delimiter,
        confidence=order.confidence, time_by=order.time_by,
    )  # fmt: skip
    held = reading.read_with_test(order.data, order.test, asked)
    held, findings = _sound(held, order.on_bad_row, machine, progress)
    labels = _labelled(held)
    task, reason = reading.resolve_task(order.task, labels, order.metric)
    fitted = task.start(labels)
    say("read", narration.reading(held, fitted, findings))
    for note in (*held.notes, reason):
        say("", note)
    return Gathered(held, findings, task, fitted, machine)


def prepare(order: Order, *, progress: Progress | None = None, say: Say | None = None) -> Prepared:
    """Read, audit, split and plan; nothing is trained, nothing is written.

    Raises
    ------
    GraftError
        Where data and request cannot go together.
    """
    say, progress = say or silence, progress or Silent()
    if order.budget is None and len(order.sources) > 1:
        raise RequestError(
            f"{len(order.sources)} sources were named, and a fit without a budget takes one. Say --budget 10m to "
            "choose among them, or measure them side by side with graft compare."
        )
    check_ensemble(
        order.ensemble,
        open=order.open,
        folds=order.folds,
        learning_curve=order.learning_curve,
        prefer=order.prefer,
    )
    asked = "linear_probe" if order.strategy is None else order.strategy
    strategies = [] if order.open and order.strategy is None else strategies_of(asked)
    found = gather(order, strategies, progress=progress, say=say)
    held, task = found.held, found.task
    if order.folds is None:
        rounds, sides = None, _split(order, found, strategies)
    else:
        rounds, sides = _dealt(order, found, order.folds)
    say("split", f"{sides.description}; seed {order.seed}")
    if held.weights is not None and not held.weights[sides.train].any():
        raise DataError(
            f"every training row has a confidence of 0 in column {order.confidence!r}; none can be learnt from."
        )
    fitted = found.started(sides.pool)
    source, plan = None, Plan((), (), {}, {})
    if not order.open:
        source = source_of(next(iter(order.sources), None), held.examples.modality)
        check_licence(source, order.licence)
        plan = make_plan(source, strategies, held.examples.modality, order.controls)
    beside = rows_beside(order, found, progress=progress, say=say)
    named = sources_of(order) if source is None else [source]
    request = request_of(order, held, beside, task, named, strategies)
    return Prepared(held, found.findings, sides, task, fitted, source, plan, found.machine, request, beside, rounds)


def _split(order: Order, found: Gathered, strategies: Sequence[Strategy]) -> Split:
    if order.repeats != 1:
        raise RequestError(f"repeats is {order.repeats}, and there are no folds to deal anew; say folds too.")
    needs_valid = order.open or len(strategies) > 1 or any(each.uses_validation for each in strategies)
    shares = _fractions(order.fractions, needs_valid)
    return split(found.held, fractions=shares, seed=order.seed, kind=KIND_OF_LINK[found.fitted.link])


def _dealt(order: Order, found: Gathered, folds: int) -> tuple[Rounds, Split]:
    """All labelled rows in folds; and as one side, from which what is handed over learns."""
    held, kind = found.held, KIND_OF_LINK[found.fitted.link]
    assert held.labels is not None
    known = np.array([label is not None for label in held.labels], dtype=bool)
    stated = 0 if held.given is None else int((known & (held.given == "test")).sum())
    if stated:
        raise RequestError(
            f"folds judge by every row, and {held.origin} states {stated} test rows; leave folds away to judge by "
            "these, or give the other rows alone."
        )
    places = np.flatnonzero(known)
    dealt = deal(held, places, folds, order.repeats, order.seed, kind)
    rounds = Rounds(held, places, dealt, found.started(places), found.started)
    none = places[:0]
    return rounds, Split(places, none, none, np.flatnonzero(~known), folds_in_words(held, places, dealt, kind))


def _names(target: str | Sequence[str] | None) -> str | tuple[str, ...] | None:
    if target is None or isinstance(target, str):
        return target
    return target[0] if len(target) == 1 else tuple(target) or None


def strategies_of(asked: Strategy | str | Sequence[Strategy | str]) -> list[Strategy]:
    """The strategies that are asked for, as objects.

    Raises
    ------
    RequestError
        Where there is none.
    """
    several = [asked] if isinstance(asked, str | Strategy) else list(asked)
    if not several:
        raise RequestError("no strategy was given; name one (graft ls strategies).")
    return [registry.build("strategies", each) if isinstance(each, str) else each for each in several]


def source_of(asked: Source | str | None, modality: str) -> Source:
    """The source that is asked for, as an object; the one that comes with Graft for ``None``."""
    if asked is None:
        return default_source(modality)
    built: Source = registry.build("sources", asked) if isinstance(asked, str) else asked
    return built


def sources_of(order: Order) -> list[Source]:
    """The sources that are named, as objects, each once."""
    return list({registry.title(each): each for each in (source_of(one, "") for one in order.sources)}.values())


def rows_beside(order: Order, found: Gathered, *, progress: Progress, say: Say) -> Examples | None:
    """The rows without labels that were given apart."""
    if order.unlabelled is None:
        return None
    beside, told = reading.read_beside(order.unlabelled, found.held, order.input)
    apart = TargetData(beside, None, origin="the rows without labels")
    beside = _sound(apart, order.on_bad_row, found.machine, progress)[0].examples
    for note in told:
        say("", note)
    return beside


def _sound(held: TargetData, on_bad_row: str, machine: Machine, progress: Progress) -> tuple[TargetData, Audit]:
    findings = audit(held, progress=progress, threads=machine.threads)
    if findings.unreadable and on_bad_row == "fail":
        raise BadRowsError([(name, reason) for _, name, reason in findings.unreadable], skippable=True)
    if findings.unreadable:
        held = drop(held, np.array([row for row, _, _ in findings.unreadable], dtype=np.int64))
    return held, findings


def _labelled(held: TargetData) -> Array:
    assert held.labels is not None, "readers give labels where they are asked for"
    known: Array = held.labels[np.array([label is not None for label in held.labels], dtype=bool)]
    if not len(known):
        raise DataError(
            f"no row of {held.origin} has a label: the cells of its column are empty. "
            "Name another column with --target, or give some rows their label."
        )
    return known


def _fractions(asked: tuple[float, float, float], needs_valid: bool) -> tuple[float, float, float]:
    """Rows that nobody validates by are better learnt from."""
    train, valid, test = asked
    return asked if needs_valid else (train + valid, 0.0, test)


def request_of(
    order: Order,
    held: TargetData,
    beside: Examples | None,
    task: Task,
    sources: Sequence[Source],
    strategies: Sequence[Strategy],
    more: Mapping[str, Any] | None = None,
) -> str:
    """A digest of data and options: the same request gives the same result; ``more`` are options beside the order's."""
    schema = getattr(held.examples, "schema", None)
    options = {
        "version": __version__,
        "columns": None if schema is None else schema.document(),
        "task": registry.spec(task),
        "sources": [registry.spec(each) for each in sources],
        "strategies": [registry.spec(each) for each in strategies],
        "controls": list(order.controls),
        "fractions": list(order.fractions),
        "budget": order.budget,
        "prefer": order.prefer,
        "download": order.download,
        "seed": order.seed,
        "precision": order.precision,
        "beside": [each.revision() for each in strategies if hasattr(each, "revision")],
        "folds": [order.folds, order.repeats],
        "learning_curve": order.learning_curve,
        "ensemble": order.ensemble,
        **(more or {}),
    }
    sides = "" if held.given is None else "".join(f"{side}," for side in held.given)
    groups = "" if held.groups is None else json.dumps([str(group) for group in held.groups])
    labels = json.dumps([repr(label) for label in held.labels]) if held.labels is not None else ""
    apart = [] if beside is None else [beside.keys().tobytes()]
    apart += [] if held.weights is None else [held.weights.tobytes()]
    apart += [] if held.times is None else [b"times", held.times.tobytes()]
    return digest(json.dumps(options, sort_keys=True), held.examples.keys().tobytes(), labels, groups, sides, *apart)
