"""The test rows are read here, once, when everything has been chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from graft.contracts import Array, Examples
from graft.evaluate.compare import Comparison, compare
from graft.evaluate.intervals import Interval, bootstrap
from graft.evaluate.metrics import HIGHER_IS_BETTER
from graft.evaluate.verdict import Verdict, verdict
from graft.progress import Progress
from graft.select.trial import Trial

__all__ = ["Judgement", "best_trial", "judge"]


@dataclass(frozen=True)
class Judgement:
    """What the test rows say.

    Parameters
    ----------
    scores
        Trial name → metric name → value with its interval; every metric for the winner and for what
        is handed over, the one that everything is chosen by for the rest.
    handed_over
        The winner where it helps, or where no control ran; else the best control.
    comparisons
        Control name → the winner's paired gain over it.
    verdict
        Whether transfer helped; ``None`` where no control ran.
    """

    rows: int
    scores: dict[str, dict[str, Interval]]
    comparisons: dict[str, Comparison]
    verdict: Verdict | None
    handed_over: Trial


def best_trial(trials: Sequence[Trial]) -> Trial:
    """The trial with the best score inside the training rows; the first of equals, and of scoreless ones."""
    metric = trials[0].model.fitted.metric
    sign = 1.0 if HIGHER_IS_BETTER[metric] else -1.0

    def rank(trial: Trial) -> float:
        return -np.inf if trial.history.score is None else sign * trial.history.score

    return max(trials, key=rank)


def judge(
    winner: Trial,
    controls: Sequence[Trial],
    examples: Examples,
    targets: Tensor,
    *,
    groups: Array | None,
    cache: Path | None,
    seed: int,
    progress: Progress,
) -> Judgement:
    """Measure the winner and the controls on rows that nothing was chosen by.

    Parameters
    ----------
    groups
        ``(n,)`` groups of the rows; whole groups are resampled, since their rows are not independent.
    """
    fitted = winner.model.fitted
    truth = targets.numpy()
    outputs = {
        trial.candidate.name: trial.model.outputs_cached(examples, cache, progress) for trial in (winner, *controls)
    }
    ours = outputs[winner.candidate.name]
    comparisons = {
        trial.candidate.name: compare(fitted, ours, outputs[trial.candidate.name], truth, groups=groups, seed=seed)
        for trial in controls
    }
    found = verdict(comparisons) if comparisons else None
    handed_over = winner if found is None or found.word == "helps" else best_trial(controls)
    wholly = {winner.candidate.name, handed_over.candidate.name}
    scores = {
        name: bootstrap(fitted, out, truth, groups=groups, seed=seed, own_only=name not in wholly)
        for name, out in outputs.items()
    }
    return Judgement(len(examples), scores, comparisons, found, handed_over)
