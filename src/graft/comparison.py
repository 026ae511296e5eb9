"""Strategies and sources side by side: the same folds, rows and seeds for all, measured where they did not learn."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from graft import processes, registry
from graft.contracts import Array, Examples, Source, Strategy, Task, TransferData
from graft.data.cells import KIND_OF_LINK
from graft.data.folds import deal, folds_in_words
from graft.errors import DataError, MachineError, RequestError
from graft.evaluate.intervals import bootstrap
from graft.manifest import plain_json
from graft.order import Order
from graft.preparation import Gathered, gather, request_of, rows_beside, silence, source_of, strategies_of
from graft.progress import Progress, Say, Silent
from graft.select.candidates import Candidate, check_build
from graft.select.ledger import ledger_path
from graft.select.plan import CONTROLS, Plan, forecast_training, make_plan
from graft.select.procedure import procedure
from graft.select.recording import Recorder
from graft.select.rounds import Round, Rounds, out_of_fold
from graft.select.terms import check_licence
from graft.select.view import rows_at, some_count, view
from graft.select.workspace import Workspace
from graft.standings import Standing, Standings, side_by_side
from graft.storage import cache_root, new_folder

__all__ = ["FILE", "compare", "run"]

FILE = "comparison.json"
"""What the output folder holds."""


def compare(
    data: Any,
    *,
    source: Source | str | Sequence[Source | str] | None = None,
    strategy: Strategy | str | Sequence[Strategy | str] = "linear_probe",
    folds: int = 5,
    repeats: int = 1,
    task: Task | str | None = None,
    target: str | Sequence[str] | None = None,
    input: str | None = None,
    group_by: str | None = None,
    delimiter: str | None = None,
    metric: str | None = None,
    controls: Sequence[str] = CONTROLS,
    on_bad_row: str = "fail",
    budget: float = 120.0,
    seed: int = 0,
    device: str = "auto",
    precision: str = "auto",
    cache: bool = True,
    licence: str | None = None,
    unlabelled: Any | None = None,
    confidence: str | None = None,
    time_by: str | None = None,
    ledger: bool = True,
    output: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    say: Say | None = None,
) -> Standings:
    """Cross-validate every strategy on every source, beside the controls, on the same folds, rows and seeds.

    Rows that the data state as test rows take no part: they stay for :func:`graft.fit`.

    Parameters
    ----------
    source, strategy
        One or several of each.
    folds, repeats
        Every row is measured once in each repeat, by a model that learnt from the other folds.
    budget
        Seconds that all fits of the control ``scratch`` together may take by their forecast.
    output
        Folder of ``comparison.json``; a killed run with the same ``output`` goes on where it was.
    overwrite
        Whether a comparison that exists there may be replaced.
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
    >>> labels = [("even", "odd")[i % 2] for i in range(60)]
    >>> graft.compare((rows, labels), source="columns", folds=3).best.score.value
    1.0
    """
    order = Order(
        data, None, strategy, task, target, input, group_by, delimiter, None, metric,
        controls, on_bad_row, budget, (0.7, 0.15, 0.15), seed, device, precision, cache,
        licence, unlabelled, confidence, ledger=ledger, time_by=time_by,
    )  # fmt: skip
    sources = [source] if source is None or isinstance(source, str | Source) else list(source)
    return run(order, sources, folds=folds, repeats=repeats, output=output, overwrite=overwrite,
               progress=progress, say=say)  # fmt: skip


@dataclass(frozen=True)
class _Contest:
    """What is compared, all of it decided before anything is trained.

    Parameters
    ----------
    rounds
        Which rows take part, and how they are dealt into folds.
    refused
        Why a candidate does not run, by name.
    """

    found: Gathered
    rounds: Rounds
    plan: Plan
    beside: Examples | None
    request: str
    refused: dict[str, str]


def run(
    order: Order,
    sources: Sequence[Source | str | None],
    *,
    folds: int,
    repeats: int,
    output: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    say: Say | None = None,
) -> Standings:
    """Read, deal into folds, fit and measure each candidate, and compare; see :func:`compare`."""
    say, progress = say or silence, progress or Silent()
    if processes.place():  # the first process speaks for all
        say, progress = silence, Silent()
    target = None if output is None else _checked_place(Path(output))
    contest, common = _planned(order, sources, folds, repeats, progress, say)
    if target is not None and target.exists() and not overwrite:
        return _taken_up(target, contest.request, say)
    with Workspace(target, contest.request) as workspace:
        if workspace.found:
            say("", workspace.found)
        standings = _measured(contest, order, common, workspace, say)
        if target is not None and not processes.place():
            with new_folder(target, replace=overwrite) as folder:
                (folder / FILE).write_bytes(plain_json(standings.document()))
            workspace.clear()
        processes.wait()  # nobody goes on before it is written
    return standings


def _checked_place(path: Path) -> Path:
    """A path where a comparison may be written: never over a folder of something else."""
    if path.name in ("", "..", "."):
        raise RequestError(f"{str(path)!r} is no name for a new folder; give one, such as {path / 'comparison'}.")
    if path.exists() and not (path / FILE).is_file():
        raise MachineError(f"{path} exists already and holds something else than a comparison; choose another name.")
    return path


def _taken_up(target: Path, request: str, say: Say) -> Standings:
    try:
        document = json.loads((target / FILE).read_bytes())
        same = document["request"] == request
    except (ValueError, LookupError, TypeError) as exc:
        raise MachineError(f"{target / FILE} is damaged; say --overwrite to compare anew.") from exc
    if not same:
        raise MachineError(
            f"{target} holds a comparison of other data, options or weights; "
            "choose another --output or say --overwrite."
        )
    say("done", f"{target} is complete already, from the same data and options; --overwrite compares anew")
    return Standings.from_document(document)


def _planned(
    order: Order, sources: Sequence[Source | str | None], folds: int, repeats: int, progress: Progress, say: Say
) -> tuple[_Contest, TransferData]:
    """Read and deal, build every model once to see whether it can be built, and say what will run."""
    strategies = strategies_of(() if order.strategy is None else order.strategy)
    found = gather(order, strategies, progress=progress, say=say)
    held, modality = found.held, found.held.examples.modality
    places, kept_back = _taking_part(found)
    kind = KIND_OF_LINK[found.fitted.link]
    rounds = Rounds(
        held, places, deal(held, places, folds, repeats, order.seed, kind), found.started(places), found.started
    )
    stay = f"; {kept_back} test rows of the data take no part" if kept_back else ""
    say("split", f"{folds_in_words(held, places, rounds.dealt, kind)}{stay}; seed {order.seed}")
    named = [source_of(each, modality) for each in sources]
    for each in named:
        check_licence(each, order.licence)
    plan = _merged([make_plan(each, strategies, modality, order.controls) for each in named])
    beside = rows_beside(order, found, progress=progress, say=say)
    contest = _Contest(found, rounds, plan, beside, "", {})
    common = TransferData(
        train=rows_at(held, rounds.reference, places),
        seed=order.seed,
        machine=found.machine,
        cache=cache_root() / "features" if order.cache else None,
        progress=progress,
    )
    _check_weights(contest, common, order)
    marks, refused = _built(contest, common)
    more = {"folds": folds, "repeats": repeats, "weights": marks}
    request = request_of(order, held, beside, found.task, named, strategies, more)
    return replace(contest, request=request, refused=refused), common


def _check_weights(contest: _Contest, common: TransferData, order: Order) -> None:
    """Refuse folds beside which no row counts, before anything is trained."""
    strategies = [each.strategy for each in (*contest.plan.candidates, *contest.plan.controls)]
    for each in contest.rounds:
        seeded = replace(common, seed=common.seed + each.repeat)
        if not some_count(contest.found.held, each.sides, each.fitted, strategies, seeded):
            raise DataError(
                f"every row to learn from beside fold {each.fold + 1} has a confidence of 0 in column "
                f"{order.confidence!r}; give more rows some, or take more folds."
            )


def _taking_part(found: Gathered) -> tuple[Array, int]:
    """Rows with a label that the data do not state as test rows, and how many they do."""
    assert found.held.labels is not None
    known = np.array([label is not None for label in found.held.labels], dtype=bool)
    given = found.held.given
    stated = np.zeros(len(known), dtype=bool) if given is None else np.asarray(given == "test", dtype=bool)
    if not (known & ~stated).any():
        raise RequestError(f"{found.held.origin} states all labelled rows as test rows; a comparison needs others.")
    return np.flatnonzero(known & ~stated), int((known & stated).sum())


def _merged(plans: Sequence[Plan]) -> Plan:
    """The plans of several sources as one: what stands on no source of the user's runs once."""
    if len(plans) == 1:
        return plans[0]
    candidates: dict[str, Candidate] = {}
    controls: dict[str, Candidate] = {}
    left_out: dict[str, str] = {}
    for plan in plans:
        for mine, kept in ((plan.candidates, candidates), (plan.controls, controls)):
            for each in mine:
                own = each.strategy.starts_from not in ("plain", "nothing")
                name = f"{each.name} on {registry.title(each.source)}" if own else each.name
                kept.setdefault(name, replace(each, name=name))
        left_out |= plan.left_out
    own_controls = {name: each for name, each in controls.items() if name not in candidates}
    ran = {name.partition(" on ")[0] for name in own_controls}
    reasons = {name: reason for name, reason in left_out.items() if name not in ran}
    return Plan(tuple(candidates.values()), tuple(own_controls.values()), {}, reasons)


def _built(contest: _Contest, common: TransferData) -> tuple[list[str | None], dict[str, str]]:
    """Names of the weights by content, and why candidates cannot run; nothing is trained."""
    marks: list[str | None] = []
    refused: dict[str, str] = {}
    found, reference, sides = contest.found, contest.rounds.reference, contest.rounds.sides()
    for each in (*contest.plan.candidates, *contest.plan.controls):
        see = partial(view, found.held, sides, reference, each.strategy, common, contest.beside)
        try:
            backbone = check_build(each, reference, see)
            marks.append(backbone.fingerprint or backbone.card.revision)
        except RequestError as exc:
            refused[each.name] = str(exc)
    if all(each.name in refused for each in contest.plan.candidates):
        raise RequestError("\n".join(["nothing is left to compare:", *(f"  {why}" for why in refused.values())]))
    return marks, refused


def _measured(contest: _Contest, order: Order, common: TransferData, workspace: Workspace, say: Say) -> Standings:
    kept = workspace.remember("plan", lambda: _forecasts(contest, common, order.seconds))
    plan = contest.plan.afford(kept["forecasts"], order.seconds)
    refused = dict(contest.refused)
    tried, controls = (
        ", ".join(each.name for each in group if each.name not in refused) or "none"
        for group in (plan.candidates, plan.controls)
    )
    say("plan", f"{tried}; controls {controls}")
    for name, reason in {**plan.left_out, **refused}.items():
        say("", f"{name} does not run: {reason}")
    rounds, reference = contest.rounds, contest.rounds.reference
    keep = _recording(contest, order, common)
    entries: list[Standing] = []
    outputs: dict[str, Array] = {}
    for each in (*plan.candidates, *plan.controls):
        if each.name in refused:
            continue
        try:
            entry, outputs[each.name] = _tried(contest, each, common, workspace)
        except RequestError as exc:
            refused[each.name] = str(exc)
            say("", f"{each.name} did not run: {exc}")
            continue
        say("fit", f"{each.name:<12} {reference.metric} {entry.score}, {entry.seconds:.1f} s")
        for note in keep(each, entry):
            say("", note)
        entries.append(entry)
    if not any(each.role == "transfer" for each in entries):
        raise RequestError("\n".join(["nothing is left to compare:", *(f"  {why}" for why in refused.values())]))
    held = contest.found.held
    return Standings(
        metric=reference.metric,
        standings=side_by_side(
            reference, entries, outputs, rounds.truth(), rounds.units(), seed=order.seed, widen=rounds.widen
        ),
        rows=int(rounds.measured.sum()),
        folds=rounds.dealt[0].count,
        repeats=len(rounds.dealt),
        refused=refused,
        left_out=plan.left_out,
        origin=held.origin,
        notes=held.notes,
        findings=contest.found.findings.document(),
        seed=order.seed,
        request=contest.request,
    )


def _recording(
    contest: _Contest, order: Order, common: TransferData
) -> Callable[[Candidate, Standing], tuple[str, ...]]:
    """Tells the ledger of a candidate, where there is one."""
    path = ledger_path() if order.ledger and not processes.place() else None
    recorder = Recorder(contest.found.held, contest.rounds.reference, path)
    rows = len(contest.rounds.sides().train)
    return lambda one, found: recorder.keep_folds(one, found.score.value, rows, found.seconds or 0.0, common.machine)


def _forecasts(contest: _Contest, common: TransferData, budget: float) -> dict[str, Any]:
    """Seconds that all fits of each control that trains a whole network will take."""
    fits, reference = len(contest.rounds), contest.rounds.reference
    found, forecasts = contest.found, {}
    for each in contest.plan.controls:
        if each.strategy.starts_from == "untrained" and each.name not in contest.refused:
            data = view(found.held, contest.rounds.sides(), reference, each.strategy, common)
            forecasts[each.name] = round(fits * forecast_training(each, reference, data, budget / fits), 1)
    return {"forecasts": forecasts}


def _tried(contest: _Contest, chosen: Candidate, common: TransferData, workspace: Workspace) -> tuple[Standing, Array]:
    """One candidate on all folds: its standing, and its outputs ``(repeats * n, c)``."""
    found, rounds = contest.found, contest.rounds

    def folder(each: Round) -> Path | None:
        return workspace.folder(f"{chosen.name}, {each}")

    learn = procedure([chosen], found.task, found.held, common, contest.beside)
    done = out_of_fold(rounds, learn, folder=folder, cache=common.cache, progress=common.progress)
    reference, truth = rounds.reference, rounds.truth()
    metrics = {name: float(value) for name, value in reference.metrics(done.outputs, truth)}
    own = bootstrap(
        reference, done.outputs, truth, groups=rounds.units(), seed=common.seed, own_only=True, widen=rounds.widen
    )[reference.metric]
    standing = Standing(
        chosen.name, done.source, chosen.role, own, done.folds, metrics, done.trained, seconds=done.seconds
    )
    return standing, done.outputs
