"""What a choice is made from, and what comes out of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from graft.contracts import TransferData
from graft.deadline import Deadline, turn
from graft.interim import Interim
from graft.order import Order
from graft.preparation import Prepared
from graft.progress import Say
from graft.select.candidates import Candidate
from graft.select.choice import Choice
from graft.select.clock import Clock
from graft.select.ensembling import Library, joined
from graft.select.field import Field
from graft.select.raced import Raced
from graft.select.rounds import Learn
from graft.select.trial import Trial
from graft.select.workspace import Workspace

__all__ = ["Choosing", "Chosen"]


@dataclass(frozen=True)
class Choosing:
    """All that a choice is made from.

    Parameters
    ----------
    order
        Its preference decides among those that the rows cannot tell apart.
    prepared
        The rows; no test row is looked at.
    field
        Sources and strategies to choose from.
    common
        Seed, machine, cache and progress.
    clock
        Of the whole run; what comes after the choice is kept back.
    workspace
        Keeps what was decided and fitted, for a run that goes on.
    interim
        Holds what leads.
    say
        Told of each step.
    """

    order: Order
    prepared: Prepared
    field: Field
    common: TransferData
    clock: Clock
    workspace: Workspace
    interim: Interim
    say: Say


@dataclass(frozen=True)
class Chosen:
    """What was chosen, and why.

    Parameters
    ----------
    winner
        To be fitted on all rows that are no test rows.
    leader
        The winner's model as the race fitted it, where it is at hand; on fewer rows.
    seconds
        What fitting the winner on all rows is expected to take.
    raced
        How the race went.
    again
        The same choice inside the rows of a round, where folds judge.
    library, partners
        What an ensemble may be made of, where one is asked for, and who makes it beside the winner.
    """

    winner: Candidate
    choice: Choice
    leader: Trial | None
    seconds: float
    raced: Raced
    again: Learn | None = None
    library: Library | None = None
    partners: tuple[Candidate, ...] = ()

    def deadline(self, clock: Clock, workspace: Workspace) -> Deadline:
        """The fits that follow."""
        stays = self.raced.once and self.leader is not None
        return Deadline(clock, workspace, 0.0 if stays else self.seconds, self.leader, stays)

    def turn(self, each: Candidate) -> int:
        """In which turn it is fitted: partners of the winner when all is there that the verdict needs."""
        return turn(each) + 2 * (each in self.partners)

    def settled(self, tried: Sequence[Trial], say: Say) -> tuple[Trial, Choice]:
        """What is handed over of what could be fitted, the winner first: the winner, or an ensemble that is better."""
        if self.library is None or self.choice.ensemble is None:
            return tried[0], self.choice
        fitted = {self.choice.winner: tried[0], **{each.candidate.name: each for each in tried[1:]}}
        found = self.library.fitted_in_time(self.choice.ensemble, fitted)
        say("ensemble", str(found))
        return (joined(found, fitted) if found.wins else tried[0]), replace(self.choice, ensemble=found)
