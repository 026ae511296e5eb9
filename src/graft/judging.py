"""How a fit is judged: on test rows that nothing was chosen by, or on folds of all rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from graft import narration
from graft.contracts import TransferData
from graft.data.folds import Folds
from graft.evaluate.intervals import Interval, bootstrap
from graft.evaluate.learning_curve import LearningCurve
from graft.model import Predictor
from graft.order import Order
from graft.preparation import Prepared
from graft.progress import Progress, Say
from graft.result import Crossed
from graft.select.clock import Limited, OutOfTimeError
from graft.select.growth import grow
from graft.select.judge import Judgement, judge, of_folds, of_test_rows
from graft.select.plan import Plan
from graft.select.procedure import best_trial, procedure
from graft.select.rounds import Learn, OutOfFold, Round, Rounds, out_of_fold
from graft.select.trial import Trial
from graft.select.workspace import Workspace
from graft.teacher import answers

__all__ = ["Judged", "by_folds", "grown", "judged", "scores"]


@dataclass(frozen=True)
class Judged:
    """The judgement, on how many rows it rests, and how these were dealt where it was by folds."""

    found: Judgement
    rows: int
    crossed: Crossed | None = None


def by_folds(
    prepared: Prepared,
    plan: Plan,
    common: TransferData,
    workspace: Workspace,
    say: Say,
    *,
    choose: Learn | None = None,
    left: Callable[[], float] | None = None,
) -> dict[str, OutOfFold]:
    """Every procedure on all rounds: the one that chooses among the candidates first, then each control.

    Parameters
    ----------
    choose
        Settles on a transfer inside the rows of a round; by default the best of the plan's
        candidates inside of them.
    left
        Seconds that a control still has; one that takes longer is left out, but for one that looks at no row.
    """
    rounds = prepared.rounds
    assert rounds is not None
    found: dict[str, OutOfFold] = {}
    for control in (None, *plan.controls):
        name = "" if control is None else control.name
        limited = common
        if control is not None and left is not None and control.strategy.starts_from != "nothing":
            limited = replace(common, progress=Limited(common.progress, left()))
        if control is None and choose is not None:
            learn = choose
        else:
            several = plan.candidates if control is None else [control]
            learn = procedure(several, prepared.task, prepared.held, limited, prepared.beside)

        def folder(each: Round, name: str = name) -> Path | None:
            return workspace.folder(f"{name or 'the choice'}, {each}")

        try:
            done = out_of_fold(rounds, learn, folder=folder, cache=common.cache, progress=limited.progress)
        except OutOfTimeError:
            continue
        found[name] = done
        score = bootstrap(
            rounds.reference,
            done.outputs,
            rounds.truth(),
            groups=rounds.units(),
            seed=common.seed,
            own_only=True,
            widen=rounds.widen,
        )[rounds.reference.metric]
        say("folds", f"{_settled(done):<12} {rounds.reference.metric} {score} out of fold, {done.seconds:.1f} s")
    return found


def _settled(done: OutOfFold) -> str:
    """What the rounds settled on: one name, or each with how often."""
    if len(done.chosen) == 1:
        return next(iter(done.chosen))
    return ", ".join(f"{name} ({often}×)" for name, often in sorted(done.chosen.items(), key=lambda each: -each[1]))


def judged(
    prepared: Prepared,
    winner: Trial,
    controls: Sequence[Trial],
    common: TransferData,
    crossed: dict[str, OutOfFold] | None,
) -> Judged:
    """Judge the winner beside the controls.

    Parameters
    ----------
    crossed
        What :func:`by_folds` gave; ``None`` where there are test rows.
    """
    best = best_trial(controls).candidate.name if controls else None
    if crossed is None or prepared.rounds is None:
        places = prepared.sides.test
        evidence = of_test_rows(
            winner,
            controls,
            prepared.rows(places),
            prepared.groups(places),
            cache=common.cache,
            progress=common.progress,
        )
        return Judged(judge(evidence, best, common.seed), len(places))
    named = {name or winner.candidate.name: each for name, each in crossed.items()}
    evidence = of_folds(prepared.rounds, named)
    return Judged(
        judge(evidence, best, common.seed), int(prepared.rounds.measured.sum()), _crossed(prepared.rounds, named)
    )


def _crossed(rounds: Rounds, found: dict[str, OutOfFold]) -> Crossed:
    dealt: Folds = rounds.dealt[0]
    chosen = next(iter(found.values())).chosen
    return Crossed(
        folds=dealt.count,
        repeats=len(rounds.dealt),
        ordered=dealt.ordered,
        chosen=dict(chosen),
        values={name: each.folds for name, each in found.items()},
    )


def grown(prepared: Prepared, chosen: Trial, common: TransferData, workspace: Workspace, say: Say) -> LearningCurve:
    """The learning curve of what is handed over: on the test rows, or where there are none on the last fold."""
    rounds, fitted, sides = prepared.rounds, prepared.fitted, prepared.sides
    if rounds is not None:
        sides, fitted = rounds.sides(0, rounds.dealt[0].count - 1), rounds.reference

    curve = grow(
        chosen.candidate,
        prepared.task,
        prepared.held,
        sides,
        fitted,
        common,
        beside=prepared.beside,
        folder=workspace.folder,
    )
    say("curve", narration.growing(curve))
    return curve


def scores(
    models: Mapping[str, Predictor], prepared: Prepared, order: Order, progress: Progress
) -> dict[str, dict[str, Interval]]:
    """How models that were fitted before do on the test rows."""
    places, fitted = prepared.sides.test, prepared.fitted
    rows, groups = prepared.rows(places), prepared.groups(places)
    data = TransferData(rows, machine=prepared.machine, progress=progress)
    found = {}
    for name, model in models.items():
        said = answers(model, fitted, data, rows.examples).outputs.numpy()
        found[name] = bootstrap(fitted, said, rows.targets.numpy(), groups=groups, seed=order.seed, own_only=True)
    return found
