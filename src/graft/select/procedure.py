"""A procedure: what is done with rows to end with one model.  The simplest fits each candidate and takes the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from graft.contracts import Examples, TargetData, Task, TransferData
from graft.evaluate.metrics import sign_of
from graft.select.candidates import Candidate
from graft.select.rounds import Learn, Round
from graft.select.trial import Trial, run_trial
from graft.select.view import view
from graft.storage import digest

__all__ = ["best_trial", "procedure"]


def best_trial(trials: Sequence[Trial]) -> Trial:
    """The trial with the best score inside the training rows; the first of equals, and of scoreless ones."""
    metric = trials[0].model.fitted.metric
    sign = sign_of(metric)

    def rank(trial: Trial) -> float:
        return -np.inf if trial.history.score is None else sign * trial.history.score

    return max(trials, key=rank)


def procedure(
    candidates: Sequence[Candidate], task: Task, held: TargetData, common: TransferData, beside: Examples | None = None
) -> Learn:
    """Fit every candidate inside the rows of a round, and settle on the one that does best inside of them.

    Parameters
    ----------
    common
        Seed (another repeat adds to it), machine, cache and progress.
    beside
        Rows without labels that were given apart.
    """

    def learn(each: Round, folder: Path | None) -> tuple[Trial, float]:
        seeded = replace(common, seed=common.seed + each.repeat)
        trials = [
            run_trial(
                one,
                task,
                each.fitted,
                view(held, each.sides, each.fitted, one.strategy, seeded, beside),
                None if folder is None else folder / digest(one.name),
            )
            for one in candidates
        ]
        return best_trial(trials), sum(trial.seconds for trial in trials)

    return learn
