"""The best so far while a race runs: a saved model like any other, which says that its run has not ended."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from graft import bundle, manifest, registry
from graft.contracts import Examples, Machine
from graft.errors import GraftError
from graft.evaluate.metrics import sign_of
from graft.model import Model
from graft.nn import factories
from graft.progress import Say
from graft.select.candidates import Candidate
from graft.select.clock import Clock
from graft.select.course import Measured
from graft.select.trial import Trial, history_of

__all__ = ["Interim", "unfinished"]

_SHARE = 0.02
"""Part of the budget that keeping it may take …"""

_AT_ONCE = 0.25
"""… and of that the part that is there from the start; the rest comes with the time that goes by."""

_LAST = 0.1
"""Part of the budget, its last, in which it is written only where the run is interrupted: the end needs it."""

_SLOWEST = 1e8
"""Bytes that a disk is taken to write in a second, with their checksums, before one was seen to …"""
_AT_LEAST = 0.05
"""… and seconds that it takes whatever the size, before that was seen …"""

_LARGE = 1e7
"""… on a model of fewer bytes: of a larger one they tell how fast the disk is."""


@dataclass
class Interim:
    """Keeps the model of whatever leads a race as a complete saved model, for as long as the run has not ended.

    It is written when the lead changes, in a fiftieth of the budget at most: where that is not enough
    yet, after one of the next fits, and in any case when the run is interrupted.

    Parameters
    ----------
    folder
        Where; ``None`` writes nothing, and the leader is held in memory alone.
    clock
        Of the run.
    sample
        Examples from which the self-test's rows are taken.
    rows
        How many rows the finished model learns from.
    request
        Digest of data and options, by which a run that goes on knows its own.
    machine
        Where models predict.
    say
        Told once where it lies.
    """

    folder: Path | None
    clock: Clock
    sample: Examples
    rows: int
    request: str
    machine: Machine
    say: Say
    leader: tuple[Trial, Measured] | None = field(default=None, init=False)
    """What leads, and how it did."""
    _written: Trial | None = field(default=None, init=False, repr=False)
    _spent: float = field(default=0.0, init=False, repr=False)
    _rate: float = field(default=_SLOWEST, init=False, repr=False)
    _fixed: float | None = field(default=None, init=False, repr=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, raised: BaseException | None, *trace: object) -> None:
        """An interrupted run keeps the very last leader, and is told where the best so far lies."""
        if raised is None:
            return
        if not isinstance(raised, Exception):
            self._keep()
        if said := self.sentence():
            raised.add_note(said)

    def __call__(self, trial: Trial, measured: Measured) -> None:
        """After every fit of a race: this leads now."""
        self.leader = trial, measured
        budget, left = self.clock.budget, self.clock.left()
        due = _AT_ONCE + (1 - _AT_ONCE) * min(1.0, self.clock.spent() / budget)
        if left > _LAST * budget and self._spent + self._seconds(trial) <= _SHARE * budget * due:
            self._keep()

    def trial(self, chosen: Candidate) -> Trial | None:
        """The model of a candidate, where it leads: of this run, or kept by the one that this goes on from."""
        if self.leader is not None and self.leader[0].candidate.name == chosen.name:
            return self.leader[0]
        return None if self.leader is not None else self._taken_up(chosen)

    def sentence(self) -> str:
        """Where the best so far lies; empty where nothing is kept."""
        known = None if self.folder is None else unfinished(self.folder)
        return "" if known is None else f"the best so far, {known['name']}, lies in {self.folder}"

    def _seconds(self, trial: Trial) -> float:
        return (_AT_LEAST if self._fixed is None else self._fixed) + _size(trial) / self._rate

    def _keep(self) -> None:
        """Write what leads, unless it lies there; a disk that refuses does not end the race."""
        if self.folder is None or self.leader is None or self._written is self.leader[0]:
            return
        (trial, measured), started, first = self.leader, time.monotonic(), self._written is None
        said = self._said(trial, measured)
        result = {"metric": said["metric"], "unfinished": said}
        self._written = trial
        with contextlib.suppress(GraftError):  # what the run cannot write in the end, it says then
            bundle.save(
                trial.model, self.folder, rows=self.sample, result=result, replace=True, notes=(said["sentence"],)
            )
            if first:
                self.say("", f"until the run has ended, {self.folder} holds the best so far")
        taken, size = time.monotonic() - started, _size(trial)
        self._spent += taken
        if size < _LARGE:
            self._fixed = taken
        else:
            self._rate = size / max(taken, 1e-3)

    def _said(self, trial: Trial, measured: Measured) -> dict[str, Any]:
        """What its manifest says of it."""
        history, metric = trial.history, trial.model.fitted.metric
        return {
            "sentence": (
                f"this is the best so far of a run that has not ended: chosen by {len(measured.outputs)} validation "
                f"rows, not judged by test rows, so that there is no verdict; it learnt from {measured.rows} of "
                f"{self.rows} rows"
            ),
            "name": trial.candidate.name,
            "metric": metric,
            "score": sign_of(metric) * measured.score,
            "learnt_from": measured.rows,
            "measured_by": len(measured.outputs),
            "rows": self.rows,
            "request": self.request,
            "fingerprint": trial.model.networks[0][0].backbone.fingerprint,
            "seconds": trial.seconds,
            "history": asdict(history) | {"chosen": dict(history.chosen)},
        }

    def _taken_up(self, chosen: Candidate) -> Trial | None:
        """What an earlier run of the same request kept, where it is of this candidate."""
        known = None if self.folder is None else unfinished(self.folder)
        if known is None or self.folder is None or (known["name"], known["request"]) != (chosen.name, self.request):
            return None
        try:
            named = factories.names_in(registry.spec(chosen.source))
            model = bundle.load(self.folder, device=str(self.machine.device), test=False, code=named)
        except GraftError:  # damaged: it is fitted again
            return None
        if not isinstance(model, Model):  # of a race it is one model alone
            return None
        backbone = model.module.backbone
        card = replace(backbone.card, notes=tuple(each for each in backbone.card.notes if each != known["sentence"]))
        model.module.backbone = replace(backbone, card=card, fingerprint=known["fingerprint"])
        model.source, model.strategy = chosen.source, chosen.strategy
        return Trial(chosen, model, history_of(known["history"]), float(known["seconds"]))


def _size(trial: Trial) -> int:
    """Bytes of its weights."""
    state = [each for network, _ in trial.model.networks for each in network.state_dict().values()]
    return sum(each.numel() * each.element_size() for each in state)


def unfinished(folder: Path) -> Mapping[str, Any] | None:
    """What the manifest of a saved model says of a run that has not ended; ``None`` where there is no such model."""
    try:
        result = manifest.read_manifest(folder)["result"]
    except GraftError:
        return None
    found: Mapping[str, Any] | None = result.get("unfinished")
    return found
