"""The course of a race: the rows on which candidates are measured, the same for all of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from graft.contracts import Array, Epoch, Examples, FittedTask, TargetData, Task, TransferData
from graft.data.cells import KIND_OF_LINK
from graft.data.split import Split
from graft.evaluate.goal import goal_of
from graft.evaluate.metrics import sign_of
from graft.progress import Progress
from graft.select.candidates import Candidate
from graft.select.fold import run_fold
from graft.select.heats import Heat, Rung, heats_of, learners, rungs_of
from graft.select.rounds import in_scale_of
from graft.select.trial import Trial, run_trial
from graft.select.view import rows_at, view
from graft.select.workspace import Workspace

__all__ = ["Course", "Measured", "course_of"]


@dataclass(frozen=True)
class Measured:
    """What a candidate did on a rung.

    Parameters
    ----------
    outputs
        ``(n, c)`` raw outputs on the rows of the rung's heats, in their order.
    score
        The task's metric on them, turned so that higher is better.
    rows
        How many rows a heat learnt from.
    seconds
        Of all its fits.
    parameters
        Weights that learnt.
    """

    outputs: Array
    score: float
    rows: int
    seconds: float
    parameters: int


@dataclass(frozen=True)
class Course:
    """Heats and rungs, and how a candidate is measured on them.  There is no test row in them.

    Parameters
    ----------
    started
        Places learnt from → the task for models that learn from them.
    beside
        Rows without labels that were given apart.
    """

    held: TargetData
    sides: Split
    task: Task
    reference: FittedTask
    started: Callable[[Array], FittedTask]
    common: TransferData
    beside: Examples | None
    heats: tuple[Heat, ...]
    rungs: tuple[Rung, ...]

    @property
    def pool(self) -> Array:
        """Places of all rows that are no test rows."""
        return self.sides.pool

    @property
    def rows(self) -> int:
        """Rows that the last rung learns from."""
        return len(self.heats[0].learn)

    @property
    def whole(self) -> int:
        """The first rung that shows whole images, or whatever the rows are."""
        return next(level for level, rung in enumerate(self.rungs) if rung.scale == 1)

    def measured(self, level: int) -> int:
        """How many rows a rung measures by."""
        return sum(len(heat.measured) for heat in self.heats[: self.rungs[level].heats])

    def nested(self, level: int) -> bool:
        """Whether a rung takes what the one below did as it is, and adds heats."""
        return level > 0 and replace(self.rungs[level], heats=0) == replace(self.rungs[level - 1], heats=0)

    def truth(self, rung: Rung) -> Array:
        """Targets ``(n,)`` or ``(n, c)`` of the rows that a rung measures by."""
        return rows_at(self.held, self.reference, self._places(rung)).targets.numpy()

    def groups(self, rung: Rung) -> Array | None:
        """Their groups."""
        return None if self.held.groups is None else self.held.groups[self._places(rung)]

    def signed(self, value: float) -> float:
        """A value of the task's metric, turned so that higher is better."""
        return sign_of(self.reference.metric) * value

    def measure(
        self,
        chosen: Candidate,
        rung: Rung,
        workspace: Workspace,
        progress: Progress,
        *,
        seen: Callable[[Trial], None],
        told: Callable[[int, Epoch], None],
    ) -> Measured:
        """Fit a candidate on every heat of a rung, and measure it on the rows that it did not learn from.

        Parameters
        ----------
        seen
            Called with every trial that was fitted now.
        told
            Called after every epoch; what it raises ends the fit.
        """
        parts, seconds, trained = [], 0.0, 0
        seeing = replace(chosen, scale=rung.scale)
        edge = "" if rung.scale == 1 else f" at {rung.scale:g} of the edge"
        for place, heat in enumerate(self.heats[: rung.heats]):
            rows = self.learners(heat, rung)
            fitted = self.started(rows)
            sides = replace(
                self.sides, train=rows, valid=rows[:0], test=np.sort(np.concatenate([heat.measured, self.sides.test]))
            )
            common = replace(self.common, progress=progress, callbacks=(*self.common.callbacks, told))
            data = view(self.held, sides, fitted, chosen.strategy, common, self.beside)
            folder = workspace.folder(f"{chosen.name}, {len(rows)} rows{edge}, heat {place}")

            def learn(
                place: Path | None, fitted: FittedTask = fitted, data: TransferData = data
            ) -> tuple[Trial, float]:
                trial = run_trial(seeing, self.task, fitted, data, place)
                seen(trial)
                return trial, trial.seconds

            measured = self.held.examples.take(heat.measured)
            done = run_fold(learn, measured, folder, cache=common.cache, progress=progress)
            parts.append(in_scale_of(self.reference, fitted, done.outputs))
            seconds, trained = seconds + done.seconds, done.trained
        whole = np.concatenate(parts)
        score = self.signed(goal_of(self.reference).measure(whole, self.truth(rung)))
        return Measured(whole, -math.inf if math.isnan(score) else score, len(rows), seconds, trained)

    def learners(self, heat: Heat, rung: Rung) -> Array:
        """Places that a rung learns from on a heat."""
        kind = KIND_OF_LINK[self.reference.link]
        return learners(self.held, heat, rung.share, kind, self.common.seed)

    def _places(self, rung: Rung) -> Array:
        return np.concatenate([heat.measured for heat in self.heats[: rung.heats]])


def course_of(
    held: TargetData,
    sides: Split,
    task: Task,
    reference: FittedTask,
    started: Callable[[Array], FittedTask],
    common: TransferData,
    beside: Examples | None = None,
    *,
    glimpse: bool = False,
) -> Course:
    """Lay the course out on the rows that are no test rows; a ``glimpse`` shows many images smaller first."""
    heats = heats_of(held, sides, KIND_OF_LINK[reference.link], common.seed)
    rungs = rungs_of(heats, reference.n_outputs, glimpse=glimpse)
    return Course(held, sides, task, reference, started, common, beside, heats, rungs)
