"""How candidates stand side by side: one value that the terminal and a file both read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from graft.contracts import Array, FittedTask
from graft.evaluate.compare import Comparison, compare
from graft.evaluate.holm import holm
from graft.evaluate.intervals import Interval
from graft.evaluate.metrics import sign_of

__all__ = ["Against", "Standing", "Standings", "side_by_side"]


@dataclass(frozen=True)
class Against:
    """One candidate against another on the same rows.

    Parameters
    ----------
    other
        Its name.
    found
        The paired gain over it, with its interval and its test.
    corrected
        The test's p-value by Holm, for all the pairs that the other could have been picked from.
    """

    other: str
    found: Comparison
    corrected: float


@dataclass(frozen=True)
class Standing:
    """How one candidate did on rows that it did not learn from.

    Parameters
    ----------
    score
        The metric on the outputs of all folds together, with its interval.
    folds
        The metric on each fold alone, repeat by repeat.
    metrics
        Every metric on the outputs of all folds together.
    over_control
        Against the best control; ``None`` for controls, and where none ran.
    to_best
        Against the best of all; ``None`` for the best itself.
    trained
        Parameters that learnt.
    seconds
        Wall time of all its fits; ``None`` where the result was read from disk.
    """

    name: str
    source: str
    role: str
    score: Interval
    folds: tuple[float, ...]
    metrics: Mapping[str, float]
    trained: int
    over_control: Against | None = None
    to_best: Against | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Standings:
    """Candidates side by side, on the same rows, folds and seeds; the best one first.

    All rows measure all candidates, so the best of many looks better than it is; whether two
    differ is what the corrected tests say.

    Parameters
    ----------
    metric
        What they are ordered by.
    standings
        One entry a candidate or control, the best first.
    rows, folds, repeats
        How many rows took part, in how many folds, how often.
    refused
        Why a candidate did not run, by name.
    left_out
        Why a control did not run, by name.
    request
        Digest of data and options: the same request gives the same result.
    """

    metric: str
    standings: tuple[Standing, ...]
    rows: int
    folds: int
    repeats: int
    refused: Mapping[str, str]
    left_out: Mapping[str, str]
    origin: str
    notes: tuple[str, ...]
    findings: Mapping[str, Any]
    seed: int
    request: str

    @property
    def reused(self) -> bool:
        """Whether it was complete on disk already."""
        return self.best.seconds is None

    @property
    def best(self) -> Standing:
        """The best of all; a control where nothing beats it."""
        return self.standings[0]

    def __getitem__(self, name: str) -> Standing:
        return {each.name: each for each in self.standings}[name]

    def document(self, seconds: bool = False) -> dict[str, Any]:
        """All of it as JSON; with ``seconds`` also what differs from run to run."""
        document = dataclasses.asdict(self)
        for each in document["standings"]:
            each["folds"] = list(each["folds"])
            if not seconds:
                del each["seconds"]
        return {**document, "standings": list(document["standings"]), "notes": list(self.notes)}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Standings:
        """What :meth:`document` gave."""
        standings = tuple(_standing(each) for each in document["standings"])
        return cls(**{**document, "standings": standings, "notes": tuple(document["notes"])})


def side_by_side(
    task: FittedTask,
    entries: Sequence[Standing],
    outputs: Mapping[str, Array],
    targets: Array,
    groups: Array | None,
    *,
    seed: int,
    widen: float = 1.0,
) -> tuple[Standing, ...]:
    """The best first, each against the best control and against the best of all.

    The best are found on the rows that the tests are made on, so each test is corrected as if
    every pair that it could have been had been tested.

    Parameters
    ----------
    entries
        Candidates and controls that ran.
    outputs, targets
        Name → raw outputs ``(n, c)``; the encoded truth of the same rows.
    groups
        ``(n,)``: rows of one group are drawn and swapped together.
    widen
        Factor on the intervals: models of different folds learnt from much the same rows.
    """
    sign = sign_of(task.metric)
    ranked = sorted(entries, key=lambda each: (each.score.value != each.score.value, -sign * each.score.value))
    controls = [each.name for each in ranked if each.role == "control"]
    tried = [each.name for each in ranked if each.role != "control"]

    def against(mine: Sequence[str], other: str, tests: int) -> dict[str, Against]:
        found = {
            name: compare(task, outputs[name], outputs[other], targets, groups=groups, seed=seed, widen=widen)
            for name in mine
        }
        corrected = holm([each.p_value for each in found.values()], tests)
        return {name: Against(other, found[name], p) for name, p in zip(found, corrected, strict=True)}

    over = against(tried, controls[0], len(tried) * len(controls)) if controls else {}
    best, *rest = [each.name for each in ranked]
    to_best = against(rest, best, len(ranked) * len(rest) // 2)
    return tuple(replace(each, over_control=over.get(each.name), to_best=to_best.get(each.name)) for each in ranked)


def _standing(document: Mapping[str, Any]) -> Standing:
    parts = {
        "score": Interval(**document["score"]),
        "folds": tuple(document["folds"]),
        "over_control": _against(document["over_control"]),
        "to_best": _against(document["to_best"]),
    }
    return Standing(**{**document, **parts})


def _against(document: Mapping[str, Any] | None) -> Against | None:
    if document is None:
        return None
    found = document["found"]
    return Against(document["other"], Comparison(**{**found, "gain": Interval(**found["gain"])}), document["corrected"])
