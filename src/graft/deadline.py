"""What has to be done in time after a choice: the last fits, and what stands in for them where time is short."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import Any

from graft.contracts import TransferData
from graft.preparation import Prepared
from graft.progress import Progress
from graft.select.candidates import Candidate
from graft.select.clock import Clock, Limited, OutOfTimeError
from graft.select.trial import Trial, run_trial
from graft.select.workspace import Workspace

__all__ = ["Deadline", "Reserve", "turn"]

_LONGER = 1.2
"""How many times as long as expected the winner's last fit may take before others get less."""

_SPARED = 0.3
"""Part of what is left that the cheap controls have, however long the winner's last fit is expected to take."""


@dataclass(frozen=True)
class Reserve:
    """Seconds of one fit of the leader → seconds for fitting it on all rows, the controls, judging and writing.

    Parameters
    ----------
    more
        How many times the rows of that fit all rows are.
    fits
        How many fits of it on all rows there will be.
    fixed
        Seconds for all else.
    partners
        Of the leader in an ensemble: each may be as dear, and all together take up to twice ``fixed``.
    """

    more: float
    fits: float
    fixed: float
    partners: int = 0

    def __call__(self, seconds: float) -> float:
        once = self.once(seconds)
        return self.fits * once + min(self.partners * once, 2 * self.fixed) + max(2.0, self.fixed)

    def once(self, seconds: float) -> float:
        """Of these, seconds for fitting it on all rows."""
        return _LONGER * self.more * seconds


def turn(each: Candidate) -> int:
    """Within a budget what is cheap and needed for the verdict comes first, and a whole training last."""
    return 1 if each.role == "transfer" else 2 if each.strategy.starts_from == "untrained" else 0


@dataclass(frozen=True)
class Deadline:
    """The fits that follow a choice, each within its time.

    Parameters
    ----------
    clock
        Of the whole run.
    last
        Seconds that the winner's fit on all rows is expected to take.
    stand_in
        The winner's model as the race fitted it, for where time runs out; ``None``: it is fitted
        however long it takes, as there would be nothing to hand over else.
    once
        Whether the stand-in is what is handed over: no time is left to fit the winner on all rows.
    """

    clock: Clock
    workspace: Workspace
    last: float
    stand_in: Trial | None
    once: bool = False

    def left(self) -> float:
        """Seconds before the judging and the writing have to begin."""
        return self.clock.left() - min(5.0, 0.05 * self.clock.budget)

    def for_training(self) -> float:
        """Seconds that remain for a control that trains, once the winner is fitted on all rows."""
        return max(0.0, self.left() - self.last)

    def limited(self, progress: Progress) -> Progress:
        """A display that ends what it shows when all time is up."""
        return Limited(progress, self.clock.left())

    def fitted(self, each: Candidate, prepared: Prepared, data: TransferData, *, wins: bool) -> Trial | None:
        """Fit it; where time runs out, the stand-in for the winner, and nothing for a control.  Decided once."""
        folder = self.workspace.folder(each.name)
        if (wins and self.stand_in is None) or each.strategy.starts_from == "nothing":
            return run_trial(each, prepared.task, prepared.fitted, data, folder)
        if wins and self.once and self.stand_in is not None:
            return replace(self.stand_in, candidate=each)
        left = self.left()
        seconds = left if turn(each) or wins else max(left - self.last, _SPARED * left)
        done: list[Trial] = []

        def attempt() -> dict[str, Any]:
            limited = replace(data, progress=Limited(data.progress, seconds))
            with contextlib.suppress(OutOfTimeError):
                if seconds > 0:
                    done.append(run_trial(each, prepared.task, prepared.fitted, limited, folder))
            return {"late": not done, "spent": self.clock.spent()}

        if self.workspace.remember(f"fitted {each.name}", attempt)["late"]:
            return replace(self.stand_in, candidate=each) if wins and self.stand_in is not None else None
        return done[0] if done else run_trial(each, prepared.task, prepared.fitted, data, folder)
