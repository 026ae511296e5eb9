"""How one dataset flows through the house: read, audit, split, plan, try, judge, hand over."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from graft import bundle, compute, narration, reading, registry
from graft.contracts import (
    Array,
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
from graft.data.split import Split, hold_out, split
from graft.errors import BadRowsError, MachineError, RequestError
from graft.order import Order
from graft.progress import Progress, Silent
from graft.result import Result, Tried
from graft.select.candidates import Candidate, default_source
from graft.select.judge import best_trial, judge
from graft.select.plan import CONTROLS, Plan, forecast_training, make_plan
from graft.select.trial import Trial, run_trial
from graft.select.workspace import Workspace
from graft.storage import cache_root, digest
from graft.version import __version__

__all__ = ["Prepared", "Say", "fit", "prepare", "run"]

HELD_OUT = 0.15
"""Share of the training rows that a strategy validates by, where no side of the split is kept for that."""

Say = Callable[[str, str], None]
"""Told of each step: its name, and a sentence."""


def fit(
    data: Any,
    *,
    source: Source | str | None = None,
    strategy: Strategy | str | Sequence[Strategy | str] = "linear_probe",
    task: Task | str | None = None,
    target: str | None = None,
    input: str | None = None,
    group_by: str | None = None,
    delimiter: str | None = None,
    test: Any | None = None,
    metric: str | None = None,
    controls: Sequence[str] = CONTROLS,
    on_bad_row: str = "fail",
    budget: float = 120.0,
    fractions: tuple[float, float, float] = (0.7, 0.15, 0.15),
    seed: int = 0,
    device: str = "auto",
    precision: str = "auto",
    cache: bool = True,
    output: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    say: Say | None = None,
) -> Result:
    """Transfer a pretrained source to the task in ``data``, and measure whether it helped.

    Parameters
    ----------
    output
        Folder of the model; a killed run with the same ``output`` goes on where it was.
    overwrite
        Whether a folder that exists there may be replaced.
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
    >>> rows = [[float(i % 2), float(i % 7)] for i in range(60)]
    >>> result = graft.fit((rows, [("even", "odd")[i % 2] for i in range(60)]), source="columns")
    >>> result.model.predict([[1.0, 3.0]]).tolist()
    ['odd']
    """
    order = Order(
        data, source, strategy, task, target, input, group_by, delimiter, test, metric,
        controls, on_bad_row, budget, fractions, seed, device, precision, cache,
    )  # fmt: skip
    return run(order, output=output, overwrite=overwrite, progress=progress, say=say)


@dataclass(frozen=True)
class Prepared:
    """All that is decided before anything is trained."""

    held: TargetData
    findings: Audit
    sides: Split
    task: Task
    fitted: FittedTask
    source: Source
    plan: Plan
    machine: Machine
    request: str

    def rows(self, places: Array) -> Rows:
        """The rows at these places, encoded."""
        assert self.held.labels is not None
        return Rows(self.held.examples.take(places), self.fitted.encode(self.held.labels[places]))

    def groups(self, places: Array) -> Array | None:
        """Their groups."""
        return None if self.held.groups is None else self.held.groups[places]


def prepare(order: Order, *, progress: Progress | None = None, say: Say | None = None) -> Prepared:
    """Read, audit, split and plan; nothing is trained, nothing is written.

    Raises
    ------
    GraftError
        Where data and request cannot go together.
    """
    say, progress = say or _silence, progress or Silent()
    if order.on_bad_row not in ("fail", "skip"):
        raise RequestError(f"on_bad_row is 'fail' or 'skip'; {order.on_bad_row!r} was given.")
    machine = compute.machine(order.device, order.precision)
    strategies = _strategies(order.strategy)
    kind = order.task if isinstance(order.task, str) else None
    asked = Request(order.target, order.input, order.group_by, kind, order.delimiter)
    held = reading.read_with_test(order.data, order.test, asked)
    held, findings = _sound(held, order.on_bad_row, machine, progress)
    labels = _labelled(held)
    task, reason = reading.resolve_task(order.task, labels, order.metric)
    fitted = task.start(labels)
    say("read", narration.reading(held, fitted, findings))
    for note in (*held.notes, reason):
        say("", note)
    needs_valid = len(strategies) > 1 or any(each.uses_validation for each in strategies)
    shares = _fractions(order.fractions, needs_valid)
    sides = split(held, fractions=shares, seed=order.seed, kind=KIND_OF_LINK[fitted.link])
    say("split", f"{sides.description}; seed {order.seed}")
    if not fitted.classes:  # numbers are scaled by the rows that are learnt from alone
        assert held.labels is not None
        fitted = task.start(held.labels[np.sort(np.concatenate([sides.train, sides.valid]))])
    source = _source(order.source, held.examples.modality)
    plan = make_plan(source, strategies, held.examples.modality, order.controls)
    request = _request(order, held, task, source, strategies)
    return Prepared(held, findings, sides, task, fitted, source, plan, machine, request)


def run(
    order: Order,
    *,
    output: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    say: Say | None = None,
) -> Result:
    """Prepare, try, judge, and hand over; see :func:`fit`."""
    say, progress = say or _silence, progress or Silent()
    target = None if output is None else bundle.checked_place(output, overwrite)
    prepared = prepare(order, progress=progress, say=say)
    if target is not None and target.exists() and not overwrite:
        return _taken_up(target, prepared, say)
    with Workspace(target, prepared.request) as workspace:
        if workspace.found:
            say("", workspace.found)
        result = _tried_and_judged(prepared, order, workspace, progress, say)
        if target is not None:
            result.save(target, overwrite=overwrite)
            workspace.clear()
    return result


def _tried_and_judged(prepared: Prepared, order: Order, workspace: Workspace, progress: Progress, say: Say) -> Result:
    common = TransferData(
        train=prepared.rows(prepared.sides.train),
        seed=order.seed,
        machine=prepared.machine,
        cache=cache_root() / "features" if order.cache else None,
        progress=progress,
    )
    kept = workspace.remember("plan", lambda: _forecasts(prepared, common, order.budget))
    plan = prepared.plan.afford(kept["forecasts"], order.budget)
    say("plan", narration.planning(plan, prepared.source))
    for name, reason in plan.left_out.items():
        say("", f"{name} does not run: {reason}")
    trials = []
    for each in (*plan.candidates, *plan.controls):
        data = _view(prepared, common, each)
        trial = run_trial(each, prepared.task, prepared.fitted, data, workspace.folder(each.name))
        say("fit", narration.fitting(trial))
        trials.append(trial)
    return _judged(prepared, plan, trials, common)


def _silence(step: str, sentence: str) -> None:
    return None


def _strategies(asked: Strategy | str | Sequence[Strategy | str]) -> list[Strategy]:
    several = [asked] if isinstance(asked, str | Strategy) else list(asked)
    if not several:
        raise RequestError("no strategy was given; name one (graft ls strategies).")
    return [registry.build("strategies", each) if isinstance(each, str) else each for each in several]


def _source(asked: Source | str | None, modality: str) -> Source:
    if asked is None:
        return default_source(modality)
    built: Source = registry.build("sources", asked) if isinstance(asked, str) else asked
    return built


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
    return known


def _fractions(asked: tuple[float, float, float], needs_valid: bool) -> tuple[float, float, float]:
    """Rows that nobody validates by are better learnt from."""
    train, valid, test = asked
    return asked if needs_valid else (train + valid, 0.0, test)


def _request(order: Order, held: TargetData, task: Task, source: Source, strategies: Sequence[Strategy]) -> str:
    options = {
        "version": __version__,
        "task": registry.spec(task),
        "source": registry.spec(source),
        "strategies": [registry.spec(each) for each in strategies],
        "controls": list(order.controls),
        "fractions": list(order.fractions),
        "budget": order.budget,
        "seed": order.seed,
        "precision": order.precision,
    }
    sides = "" if held.given is None else "".join(f"{side}," for side in held.given)
    groups = "" if held.groups is None else json.dumps([str(group) for group in held.groups])
    labels = json.dumps([repr(label) for label in held.labels]) if held.labels is not None else ""
    return digest(json.dumps(options, sort_keys=True), held.examples.keys().tobytes(), labels, groups, sides)


def _taken_up(target: Path, prepared: Prepared, say: Say) -> Result:
    """A model that the same request wrote is the answer; anything else in its place is left alone."""
    if bundle.is_bundle(target):
        document = bundle.read_manifest(target)["result"]
        same = document.get("request") == prepared.request
        if same and document["fingerprint"] == prepared.plan.candidates[0].load().fingerprint:
            say("done", f"{target} is complete already, from the same data and options; --overwrite fits anew")
            return Result.from_document(bundle.load(target), document)
        raise MachineError(
            f"{target} holds a model of other data, options or weights; choose another --output or say --overwrite."
        )
    raise MachineError(f"{target} exists already and holds something else than a saved model; choose another --output.")


def _forecasts(prepared: Prepared, common: TransferData, budget: float) -> dict[str, Any]:
    return {
        "forecasts": {
            each.name: round(forecast_training(each, prepared.fitted, common, budget), 1)
            for each in prepared.plan.controls
            if each.strategy.starts_from == "untrained"
        }
    }


def _view(prepared: Prepared, common: TransferData, chosen: Candidate) -> TransferData:
    """What a strategy sees: the same rows for all, of which one that validates sets some apart."""
    held, sides = prepared.held, prepared.sides
    unlabelled = held.examples.take(sides.unlabelled) if len(sides.unlabelled) else None
    train, valid = sides.train, sides.valid
    if not chosen.strategy.uses_validation:
        train, valid = np.sort(np.concatenate([train, valid])), valid[:0]
    elif not len(valid):
        assert held.labels is not None
        keys, groups = held.examples.take(train).keys(), prepared.groups(train)
        kind = KIND_OF_LINK[prepared.fitted.link]
        kept, apart = hold_out(keys, held.labels[train], groups, HELD_OUT, common.seed, kind)
        train, valid = train[kept], train[apart]
    return replace(
        common,
        train=prepared.rows(train),
        valid=prepared.rows(valid) if len(valid) else None,
        groups=prepared.groups(train),
        unlabelled=unlabelled,
    )


def _judged(prepared: Prepared, plan: Plan, trials: Sequence[Trial], common: TransferData) -> Result:
    tried, controls = trials[: len(plan.candidates)], trials[len(plan.candidates) :]
    winner = best_trial(tried)
    places = prepared.sides.test
    test = prepared.rows(places)
    judgement = judge(
        winner,
        controls,
        test.examples,
        test.targets,
        groups=prepared.groups(places),
        cache=common.cache,
        seed=common.seed,
        progress=common.progress,
    )
    handed = judgement.handed_over
    sides = prepared.sides
    counts = {name: len(getattr(sides, name)) for name in ("train", "valid", "test", "unlabelled")}
    return Result(
        model=handed.model,
        winner=winner.candidate.name,
        handed_over=handed.candidate.name,
        metric=prepared.fitted.metric,
        tried=tuple(_tried(trial) for trial in trials),
        scores=judgement.scores,
        comparisons=judgement.comparisons,
        rows=counts,
        origin=prepared.held.origin,
        notes=prepared.held.notes,
        left_out=plan.left_out,
        findings=prepared.findings.document(),
        seed=common.seed,
        request=prepared.request,
        fingerprint=trials[0].model.module.backbone.fingerprint,
        sample=common.train.examples,
    )


def _tried(trial: Trial) -> Tried:
    return Tried(
        name=trial.candidate.name,
        source=trial.model.card.name,
        role=trial.candidate.role,
        inner=trial.history.score,
        chosen=trial.history.chosen,
        precision=trial.model.machine.precision or "float32",
        seconds=trial.seconds,
    )
