"""How one dataset flows through the house: read, audit, split, plan, try, judge, hand over."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from graft import bundle, manifest, narration, planning, processes, registry
from graft.choosing import choose, laid_out
from graft.chosen import Choosing, Chosen
from graft.contracts import Backbone, Source, Strategy, Task, TransferData
from graft.data.loaders import notes_on
from graft.deadline import Deadline
from graft.errors import MachineError, RequestError
from graft.evaluate.learning_curve import LearningCurve
from graft.interim import Interim
from graft.judging import Judged, by_folds, grown, judged, scores
from graft.model import Predictor
from graft.nn import factories
from graft.order import Order
from graft.preparation import Prepared, prepare, silence
from graft.progress import Progress, Say, Silent
from graft.result import Result, Tried
from graft.select.candidates import graft_backbone
from graft.select.clock import Clock, OutOfTimeError
from graft.select.ledger import ledger_path
from graft.select.nicknames import renaming
from graft.select.plan import CONTROLS, Plan
from graft.select.procedure import best_trial
from graft.select.recording import Recorder
from graft.select.trial import Trial, run_trial
from graft.select.workspace import Workspace
from graft.storage import cache_root
from graft.watching import Callback, Tracker, of_trial

__all__ = ["fit", "run"]


def fit(
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
    controls: Sequence[str] = CONTROLS,
    on_bad_row: str = "fail",
    budget: float | None = None,
    fractions: tuple[float, float, float] = (0.7, 0.15, 0.15),
    seed: int = 0,
    device: str = "auto",
    precision: str = "auto",
    cache: bool = True,
    licence: str | None = None,
    unlabelled: Any | None = None,
    confidence: str | None = None,
    prefer: str = "accurate",
    download: bool = False,
    ledger: bool = True,
    time_by: str | None = None,
    folds: int | None = None,
    repeats: int = 1,
    learning_curve: bool = False,
    ensemble: int = 1,
    output: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    say: Say | None = None,
    callbacks: Sequence[Callback] = (),
) -> Result:
    """Transfer a pretrained source to the task in ``data``, and measure whether it helped.

    With a budget, what is not named, source or strategy, is chosen within it: see :mod:`graft.choosing`.

    Parameters
    ----------
    output
        Folder of the model; a killed run with the same ``output`` goes on where it was.
    overwrite
        Whether a folder that exists there may be replaced.
    progress, say
        Show what takes time; told of each step.
    callbacks
        Functions of a trial's name, an epoch's place from 0 and the :class:`Epoch`, called after
        every epoch.  What one raises ends the fit; :class:`~graft.progress.Enough` only ends training,
        with the best epoch so far.  A :class:`~graft.watching.Tracker`, such as
        those of ``graft.tracking``, is told of the result too.

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
        licence, unlabelled, confidence, prefer, download, ledger, time_by, folds, repeats, learning_curve, ensemble,
    )  # fmt: skip
    return run(order, output=output, overwrite=overwrite, progress=progress, say=say, callbacks=callbacks)


def run(
    order: Order,
    *,
    output: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    say: Say | None = None,
    prepared: Prepared | None = None,
    measured: Mapping[str, Predictor] | None = None,
    callbacks: Sequence[Callback] = (),
    began: float | None = None,
) -> Result:
    """Prepare, try, judge, and hand over; see :func:`fit`.

    Parameters
    ----------
    prepared
        What :func:`~graft.preparation.prepare` made of the order already.
    measured
        Fitted models to measure on the same test rows, by name.
    began
        When the budget's time began, by the monotonic clock; ``None``: now.
    """
    began = time.monotonic() if began is None else began
    say, progress = say or silence, progress or Silent()
    if processes.place():  # the first process speaks for all
        say, progress = silence, Silent()
    target = None if output is None else bundle.checked_place(output, overwrite)
    prepared = prepared or prepare(order, progress=progress, say=say)
    if target is not None and target.exists() and not overwrite:
        return _taken_up(target, prepared, say)
    with _workspace(target, prepared) as workspace:
        if workspace.found:
            say("", workspace.found)
        clock = Clock(order.seconds if order.open else None, spent=workspace.spent() + time.monotonic() - began)
        common = _common(prepared, order, progress)
        ledger = ledger_path() if order.ledger and not processes.place() else None
        recorder = Recorder(prepared.held, prepared.fitted, ledger)
        this = _Run(order, common, clock, workspace, recorder, say, callbacks)
        chosen = None
        with _interim(target, prepared, this) as interim:
            if order.open:
                asked = _choosing(prepared, this, interim)
                chosen, this = choose(asked), replace(this, say=asked.say)
                for note in recorder.keep_race(chosen.raced, prepared.fitted.metric):
                    say("", note)
                prepared = prepared.settled(order, chosen.winner, chosen.partners)
            result = _tried_and_judged(prepared, this, chosen)
            others = scores(measured or {}, prepared, order, progress)
            result = replace(result, split=prepared.split(order), scores={**result.scores, **others})
            if target is not None and not processes.place():
                result.save(target, overwrite=overwrite)
        if target is not None:
            workspace.clear()
        for each in () if processes.place() else callbacks:
            if isinstance(each, Tracker):
                each.finish(result)
        processes.wait()  # nobody goes on before the model is written
    return result


@contextlib.contextmanager
def _workspace(target: Path | None, prepared: Prepared) -> Iterator[Workspace]:
    """Beside the output; a race without one keeps its fits in a folder that goes with it."""
    with contextlib.ExitStack() as held:
        if target is None and not prepared.plan.candidates:
            target = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="graft-"))) / "model"
        yield held.enter_context(Workspace(target, prepared.request))


def _common(prepared: Prepared, order: Order, progress: Progress) -> TransferData:
    return TransferData(
        train=prepared.rows(prepared.sides.train),
        seed=order.seed,
        machine=prepared.machine,
        cache=cache_root() / "features" if order.cache else None,
        progress=progress,
    )


@dataclass(frozen=True)
class _Run:
    """What all steps of one run share."""

    order: Order
    common: TransferData
    clock: Clock
    workspace: Workspace
    recorder: Recorder
    say: Say
    callbacks: Sequence[Callback]


@contextlib.contextmanager
def _interim(target: Path | None, prepared: Prepared, run: _Run) -> Iterator[Interim]:
    """Holds what leads a race; what stopped the run is told where that lies, and the time that was used counts."""
    folder = None if target is None else run.workspace.best
    sample, rows = run.common.train.examples, len(prepared.pool)
    with Interim(folder, run.clock, sample, rows, prepared.request, prepared.machine, run.say) as interim:
        try:
            yield interim
        except BaseException as exc:
            if run.order.open and not isinstance(exc, Exception):
                run.workspace.used(run.clock.spent())
            raise


def _choosing(prepared: Prepared, run: _Run, interim: Interim) -> Choosing:
    """What is to be chosen from."""
    if processes.count() > 1:
        raise RequestError(
            "several processes fit one candidate together and do not choose; name one with --source and --strategy, "
            "or run in one process."
        )
    field = laid_out(run.order, prepared, run.workspace, run.recorder.prior)
    run.say("plan", narration.laying_out(field))
    if field.excluded:
        run.say("", f"{len(field.excluded)} sources, strategies and pairs of them are left out; graft plan says why")
    say = renaming(run.say, field.sources())
    return Choosing(run.order, prepared, field, run.common, run.clock, run.workspace, interim, say)


def _tried_and_judged(prepared: Prepared, run: _Run, chosen: Chosen | None) -> Result:
    order, common, workspace, say, recorder = run.order, run.common, run.workspace, run.say, run.recorder
    deadline = None if chosen is None else chosen.deadline(run.clock, workspace)
    allowed = order.seconds if deadline is None else deadline.for_training()
    built = chosen is not None
    kept = workspace.remember(
        "plan", lambda: planning.forecasts(prepared, common, allowed, known=built) | {"allowed": allowed}
    )
    plan = prepared.plan.afford(kept["forecasts"], kept["allowed"])
    say("plan" if chosen is None else "choose", narration.planning(plan, plan.candidates[0].source))
    for name, reason in plan.left_out.items():
        say("", f"{name} does not run: {reason}")
    for caveat in dict.fromkeys(filter(None, map(narration.carrying, plan.candidates))):
        say("", caveat)
    crossed = None
    if prepared.rounds is not None:
        again = None if chosen is None else chosen.again
        left = None if deadline is None else deadline.for_training
        crossed = by_folds(prepared, plan, common, workspace, say, choose=again, left=left)
        for name in [each.name for each in plan.controls if each.name not in crossed]:
            plan = _left_out(plan, name, say)
    trials: dict[str, Trial] = {}
    told: set[str] = set()
    shortfall = ""
    turns = (*plan.candidates, *plan.controls)
    for each in turns if chosen is None else sorted(turns, key=chosen.turn):
        data = replace(prepared.view(each.strategy, common), callbacks=of_trial(run.callbacks, each.name))
        if deadline is None:
            trial = run_trial(each, prepared.task, prepared.fitted, data, workspace.folder(each.name))
        elif (in_time := deadline.fitted(each, prepared, data, wins=each is plan.candidates[0])) is not None:
            trial = in_time
        else:
            plan = _left_out(plan, each.name, say)
            continue
        say("fit", narration.fitting(trial))
        if chosen is None or chosen.leader is None or trial.model is not chosen.leader.model:
            for note in recorder.keep(trial, len(data.train)):
                say("", note)
        else:
            shortfall = narration.standing(chosen.raced.rows, len(prepared.pool))
            say("", shortfall)
        if each.role == "transfer" and trial.model.card.name not in told:
            told.add(trial.model.card.name)
            for note in _notes(trial, common):
                say("", note)
        trials[each.name] = trial
    tried, controls = [trials[each.name] for each in plan.candidates], [trials[each.name] for each in plan.controls]
    first = tried[0]
    winner, choice = (best_trial(tried), None) if chosen is None else chosen.settled(tried, say)
    tried = tried if winner in tried else [winner, *tried]
    found = judged(prepared, winner, controls, common, crossed)
    handed = next(each for each in (winner, *controls) if each.candidate.name == found.found.handed_over)
    curve = _curve(prepared, handed, run, deadline) if order.learning_curve else None
    result = _result(prepared, plan, [*tried, *controls], common, found, winner, handed)
    if shortfall and handed is not first:
        shortfall = f"its member {first.candidate.name}: {shortfall}" if handed is winner else ""
    return replace(result, learning_curve=curve, choice=choice, shortfall=shortfall)


def _curve(prepared: Prepared, handed: Trial, run: _Run, deadline: Deadline | None) -> LearningCurve | None:
    """What more labels would bring, where the time holds that."""
    common = run.common
    limited = common if deadline is None else replace(common, progress=deadline.limited(common.progress))
    try:
        return grown(prepared, handed, limited, run.workspace, run.say)
    except OutOfTimeError:
        run.say("curve", "what more labels would bring is not known: the budget was used up; give it more")
        return None


def _left_out(plan: Plan, name: str, say: Say) -> Plan:
    """The plan without a control for which there was no time."""
    plan = plan.without(name, "the budget was used up before it was fitted")
    say("", f"{name} does not run: {plan.left_out[name]}")
    return plan


def _notes(trial: Trial, common: TransferData) -> tuple[str, ...]:
    """What was resolved when the source was loaded, and what its preprocessing loses of rows like these."""
    backbone = trial.model.networks[0][0].backbone
    return *backbone.card.notes, *notes_on(backbone.preprocess, common.train.examples)


def _taken_up(target: Path, prepared: Prepared, say: Say) -> Result:
    """A model that the same request wrote is the answer; anything else in its place is left alone."""
    if manifest.is_bundle(target):
        document = manifest.read_manifest(target)["result"]
        same = document.get("request") == prepared.request
        if same and (not prepared.plan.candidates or document["fingerprint"] == _fingerprint(prepared)):
            say("done", f"{target} is complete already, from the same data and options; --overwrite fits anew")
            named = () if prepared.source is None else factories.names_in(registry.spec(prepared.source))
            return Result.from_document(bundle.load(target, code=named), document)
        raise MachineError(
            f"{target} holds a model of other data, options or weights; choose another --output or say --overwrite."
        )
    raise MachineError(f"{target} exists already and holds something else than a saved model; choose another --output.")


def _fingerprint(prepared: Prepared) -> str | None:
    """Names the weights that the first candidate stands on, with what its source learns from the rows' columns."""
    train = prepared.rows(prepared.pool)
    return _named(graft_backbone(prepared.plan.candidates[0], train.examples))


def _named(backbone: Backbone) -> str | None:
    """The weights by their content, also where features must not be cached."""
    return backbone.fingerprint or backbone.card.revision


def _result(
    prepared: Prepared,
    plan: Plan,
    trials: Sequence[Trial],
    common: TransferData,
    judgement: Judged,
    winner: Trial,
    handed: Trial,
) -> Result:
    sides = prepared.sides
    counts = {name: len(getattr(sides, name)) for name in ("train", "valid", "test", "unlabelled")}
    counts["test"] = judgement.rows
    return Result(
        model=handed.model,
        winner=winner.candidate.name,
        handed_over=handed.candidate.name,
        metric=prepared.fitted.metric,
        tried=tuple(_tried(trial) for trial in trials),
        scores=judgement.found.scores,
        comparisons=judgement.found.comparisons,
        rows=counts,
        origin=prepared.held.origin,
        notes=prepared.held.notes,
        left_out=plan.left_out,
        findings=prepared.findings.document(),
        seed=common.seed,
        request=prepared.request,
        fingerprint=_named(trials[0].model.networks[0][0].backbone),
        caveat=narration.carrying(winner.candidate),
        sample=common.train.examples,
        breakdown=judgement.found.breakdown,
        crossed=judgement.crossed,
    )


def _tried(trial: Trial) -> Tried:
    return Tried(
        name=trial.candidate.name,
        source=trial.model.card.name,
        role=trial.candidate.role,
        inner=trial.history.score,
        chosen=trial.history.chosen,
        precision=trial.model.machine.precision or "float32",
        epochs=trial.history.epochs,
        seconds=trial.seconds,
    )
