"""What a fit found out: one value that the terminal, a report and a server all read."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graft import bundle
from graft.contracts import Epoch, Examples
from graft.errors import RequestError
from graft.evaluate.breakdown import Breakdown
from graft.evaluate.compare import Comparison
from graft.evaluate.intervals import Interval
from graft.evaluate.learning_curve import LearningCurve
from graft.evaluate.verdict import Verdict, verdict
from graft.model import Predictor
from graft.select.choice import Choice

__all__ = ["Crossed", "Result", "Tried"]


@dataclass(frozen=True)
class Crossed:
    """How a fit was judged by folds.

    The scores are then of the procedure, out of fold: what fitting and choosing as this run did
    gives on rows that had no part in it.  The model that is handed over learnt from all rows by the
    same procedure, and was not measured itself.

    Parameters
    ----------
    folds, repeats
        How many folds, and how often the rows were dealt anew.
    ordered
        Whether each fold was measured by what learnt from earlier rows alone.
    chosen
        How many of the rounds settled on which candidate.
    values
        Trial name → the metric on each fold alone, repeat by repeat.
    """

    folds: int
    repeats: int
    ordered: bool
    chosen: Mapping[str, int]
    values: Mapping[str, tuple[float, ...]]

    def document(self) -> dict[str, Any]:
        """All of it as JSON."""
        values = {name: list(each) for name, each in self.values.items()}
        return dataclasses.asdict(self) | {"chosen": dict(self.chosen), "values": values}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Crossed:
        """What :meth:`document` gave."""
        return cls(**{**document, "values": {name: tuple(each) for name, each in document["values"].items()}})


@dataclass(frozen=True)
class Tried:
    """One trial, as it is reported.

    Parameters
    ----------
    inner
        The metric inside the training rows, by which candidates are compared.
    epochs
        One entry an epoch, where it trained in epochs; their seconds are ``nan`` where the result
        was read from disk.
    seconds
        Wall time of the fit; ``None`` where the result was read from disk.
    """

    name: str
    source: str
    role: str
    inner: float | None
    chosen: Mapping[str, float | int | str]
    precision: str
    epochs: tuple[Epoch, ...] = ()
    seconds: float | None = None

    @property
    def kept(self) -> int | None:
        """Place of the epoch whose weights were kept, from 0; ``None`` where validation chose none."""
        chosen = self.chosen.get("epochs")
        return chosen - 1 if isinstance(chosen, int) and 0 < chosen <= len(self.epochs) else None

    def document(self, seconds: bool = False) -> dict[str, Any]:
        """All of it as JSON; with ``seconds`` also what differs from run to run."""
        document = dataclasses.asdict(self) | {"chosen": dict(self.chosen)}
        document["epochs"] = [dataclasses.asdict(each) for each in self.epochs]
        for each in (document, *document["epochs"]):
            if not seconds:
                del each["seconds"]
        return document

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Tried:
        """What :meth:`document` gave; older models know nothing of epochs."""
        epochs = tuple(Epoch(**{"seconds": math.nan, **each}) for each in document.get("epochs", ()))
        return cls(**{**document, "epochs": epochs})


@dataclass(frozen=True)
class Result:
    """What was fitted, how well it does on rows that nothing was chosen by, and whether transfer helped.

    Parameters
    ----------
    model
        What is handed over: the winner, or the best control where transfer does not help.
    handed_over, winner
        Names of the trial handed over, and of the best transfer.
    metric
        The metric that everything was chosen by.
    scores
        Trial name → metric name → value on the test rows, with its interval.
    comparisons
        Control name → the winner's paired gain over it.
    rows
        Rows by side: train, valid, test, unlabelled.  Where folds judged, train are all rows, and
        test those that were measured.
    request
        Digest of data and options: the same request gives the same result.
    fingerprint
        What the source's weights were, by content; ``None`` where they have no name.
    split
        ``fractions`` of train, valid and test rows, and a digest of which rows the ``test`` ones are:
        by these a later fit can measure by the same rows.
    caveat
        Why there is no transfer for the verdict to be about; empty where there is.
    shortfall
        How the model that is handed over falls short of a fit on all rows; empty where it is one.
        Its card says so, too.
    reused
        Whether it was complete on disk already.
    choice
        How source and strategy were chosen; ``None`` where the user named both.
    breakdown
        What is handed over, class by class and group by group; ``None`` for models of older versions.
    crossed
        How the folds were dealt, and what they settled on; ``None`` where test rows judged.
    learning_curve
        What more labels would bring, where that was asked for.
    """

    model: Predictor = field(repr=False, compare=False)
    winner: str
    handed_over: str
    metric: str
    tried: tuple[Tried, ...]
    scores: Mapping[str, Mapping[str, Interval]]
    comparisons: Mapping[str, Comparison]
    rows: Mapping[str, int]
    origin: str
    notes: tuple[str, ...]
    left_out: Mapping[str, str]
    findings: Mapping[str, Any]
    seed: int
    request: str
    fingerprint: str | None = None
    reused: bool = False
    split: Mapping[str, Any] | None = None
    choice: Choice | None = None
    caveat: str = ""
    shortfall: str = ""
    sample: Examples | None = field(default=None, repr=False, compare=False)
    breakdown: Breakdown | None = None
    crossed: Crossed | None = None
    learning_curve: LearningCurve | None = None

    @property
    def verdict(self) -> Verdict | None:
        """Whether transfer helped; ``None`` where no control ran."""
        return verdict(self.comparisons) if self.comparisons else None

    @property
    def why(self) -> str:
        """What led to the choice, a sentence a line; empty where the user named source and strategy."""
        return "" if self.choice is None else str(self.choice)

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the model with what was measured.

        Raises
        ------
        MachineError
            Where the disk refuses, or ``path`` exists and is not to be overwritten.
        RequestError
            For a result that was read from disk.
        """
        if self.sample is None:
            raise RequestError("this result was read from disk, where it is saved already; copy that folder.")
        notes = [self.shortfall] if self.shortfall else []
        return bundle.save(self.model, path, rows=self.sample, result=self.document(), replace=overwrite, notes=notes)

    def document(self, seconds: bool = False) -> dict[str, Any]:
        """All of it as JSON; with ``seconds`` also what differs from run to run."""
        found = self.verdict
        return {
            "winner": self.winner,
            "handed_over": self.handed_over,
            "metric": self.metric,
            "verdict": None if found is None else {"word": found.word, "sentence": str(found)},
            "tried": [each.document(seconds) for each in self.tried],
            "scores": {
                name: {metric: dataclasses.asdict(value) for metric, value in values.items()}
                for name, values in self.scores.items()
            },
            "comparisons": {name: dataclasses.asdict(value) for name, value in self.comparisons.items()},
            "rows": dict(self.rows),
            "origin": self.origin,
            "notes": list(self.notes),
            "left_out": dict(self.left_out),
            "findings": dict(self.findings),
            "seed": self.seed,
            "request": self.request,
            "fingerprint": self.fingerprint,
            "split": None if self.split is None else dict(self.split),
            "choice": None if self.choice is None else self.choice.document(),
            "caveat": self.caveat,
            "shortfall": self.shortfall,
            "breakdown": None if self.breakdown is None else self.breakdown.document(),
            "crossed": None if self.crossed is None else self.crossed.document(),
            "learning_curve": None if self.learning_curve is None else self.learning_curve.document(),
        }

    @classmethod
    def from_document(cls, model: Predictor, document: Mapping[str, Any]) -> Result:
        """What :meth:`document` gave, with the model that lies beside it."""
        kept = {key: document[key] for key in ("winner", "handed_over", "metric", "rows", "origin", "left_out")}
        return cls(
            model=model,
            **kept,
            tried=tuple(Tried.from_document(each) for each in document["tried"]),
            scores={
                name: {metric: Interval(**value) for metric, value in values.items()}
                for name, values in document["scores"].items()
            },
            comparisons={
                name: Comparison(**{**value, "gain": Interval(**value["gain"])})
                for name, value in document["comparisons"].items()
            },
            notes=tuple(document["notes"]),
            findings=document["findings"],
            seed=document["seed"],
            request=document["request"],
            fingerprint=document["fingerprint"],
            split=document.get("split"),
            choice=Choice.from_document(document["choice"]) if document.get("choice") else None,
            caveat=document.get("caveat", ""),
            shortfall=document.get("shortfall", ""),
            reused=True,
            **{name: _read(kind, document.get(name)) for name, kind in _PARTS.items()},
        )


_PARTS: Mapping[str, Any] = {"breakdown": Breakdown, "crossed": Crossed, "learning_curve": LearningCurve}


def _read(kind: Any, document: Mapping[str, Any] | None) -> Any:
    return None if document is None else kind.from_document(document)
