"""The verdict: the winner beside the controls, on rows that nothing was chosen by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from graft.contracts import Array, FittedTask, Rows
from graft.evaluate.breakdown import Breakdown, breakdown
from graft.evaluate.compare import Comparison, compare
from graft.evaluate.holm import holm
from graft.evaluate.intervals import Interval, bootstrap
from graft.evaluate.verdict import Verdict, verdict
from graft.progress import Progress
from graft.select.rounds import OutOfFold, Rounds
from graft.select.trial import Trial

__all__ = ["Evidence", "Judgement", "judge", "of_folds", "of_test_rows"]


@dataclass(frozen=True)
class Evidence:
    """Outputs of the winner and of every control on the same rows, none of which they learnt from.

    Parameters
    ----------
    outputs
        Name → ``(n, c)`` raw outputs, the winner's first.
    truth
        The encoded truth.
    groups
        ``(n,)`` names of groups whose rows are not independent.
    copies
        ``(n,)``: equal places are the same row, measured several times.
    units
        ``(n,)``: what is drawn and swapped together.
    widen
        Factor on intervals, where several models measured that learnt from much the same rows.
    """

    fitted: FittedTask
    outputs: Mapping[str, Array]
    truth: Array
    groups: Array | None = None
    copies: Array | None = None
    units: Array | None = None
    widen: float = 1.0

    @property
    def winner(self) -> str:
        """Name of the transfer that is judged."""
        return next(iter(self.outputs))

    @property
    def controls(self) -> list[str]:
        """Names of what it has to beat."""
        return list(self.outputs)[1:]


@dataclass(frozen=True)
class Judgement:
    """What the evidence says.

    Parameters
    ----------
    scores
        Trial name → metric name → value with its interval; every metric for the winner and for what
        is handed over, the one that everything is chosen by for the rest.
    handed_over
        The winner where it helps, or where no control ran; else the best control.
    comparisons
        Control name → the winner's paired gain over it; p-values by Holm beside the plain ones.
    verdict
        Whether transfer helped; ``None`` where no control ran.
    breakdown
        What is handed over, class by class and group by group.
    """

    scores: dict[str, dict[str, Interval]]
    comparisons: dict[str, Comparison]
    verdict: Verdict | None
    handed_over: str
    breakdown: Breakdown


def of_test_rows(
    winner: Trial,
    controls: Sequence[Trial],
    rows: Rows,
    groups: Array | None,
    *,
    cache: Path | None,
    progress: Progress,
) -> Evidence:
    """The test rows are read here, once, when everything has been chosen."""
    outputs = {
        trial.candidate.name: trial.model.outputs_cached(rows.examples, cache, progress)
        for trial in (winner, *controls)
    }
    return Evidence(winner.model.fitted, outputs, rows.targets.numpy(), groups, None, groups)


def of_folds(rounds: Rounds, found: Mapping[str, OutOfFold]) -> Evidence:
    """All rows that folds measured, by models that did not learn from them; the winner's stand first."""
    outputs = {name: each.outputs for name, each in found.items()}
    return Evidence(
        rounds.reference, outputs, rounds.truth(), rounds.names(), rounds.copies(), rounds.units(), rounds.widen
    )


def judge(evidence: Evidence, best_control: str | None, seed: int) -> Judgement:
    """Compare the winner with every control.

    Parameters
    ----------
    best_control
        The control that does best inside the training rows: handed over where transfer does not help.
    seed
        Decides the draws of bootstrap and permutations.
    """
    fitted, truth, units, ours = evidence.fitted, evidence.truth, evidence.units, evidence.outputs[evidence.winner]
    widen = evidence.widen
    comparisons = {
        name: compare(fitted, ours, evidence.outputs[name], truth, groups=units, seed=seed, widen=widen)
        for name in evidence.controls
    }
    adjusted = holm([each.p_value for each in comparisons.values()])
    comparisons = {
        name: replace(each, adjusted=p) for (name, each), p in zip(comparisons.items(), adjusted, strict=True)
    }
    found = verdict(comparisons) if comparisons else None
    helps = found is None or found.word == "helps" or best_control is None
    handed_over = evidence.winner if helps else best_control or evidence.winner
    wholly = {evidence.winner, handed_over}
    scores = {
        name: bootstrap(fitted, outputs, truth, groups=units, seed=seed, own_only=name not in wholly, widen=widen)
        for name, outputs in evidence.outputs.items()
    }
    parts = breakdown(
        fitted,
        evidence.outputs[handed_over],
        truth,
        groups=evidence.groups,
        copies=evidence.copies,
        seed=seed,
        widen=widen,
    )
    return Judgement(scores, comparisons, found, handed_over, parts)
