"""One candidate of a field: what it will cost, and how it is cut to the budget."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from sklearn.base import clone

from graft import registry
from graft.compute import Speed
from graft.contracts import Card, Strategy
from graft.errors import RequestError
from graft.select.candidates import Candidate, candidate
from graft.select.forecast import Forecast, Known, forecast
from graft.select.needs import missing_of_source
from graft.select.offers import Excluded, Offer
from graft.select.setting import Setting, setting_of

__all__ = ["Entrant", "Ground", "Limits", "planned", "suited"]

_SHARE = 0.12
"""Part of the budget to which training is shortened: a race is no race of fewer than some half a dozen fits."""

_SMALL = 1000
_SMALL_BATCH = 16
"""Rows below which training takes steps of fewer rows: there are few steps in a pass."""

_STEPS = 40
"""Steps of training below which a network has hardly moved: it is not shortened to fewer."""


@dataclass(frozen=True)
class Limits:
    """What candidates have to stay within; ``None``: no limit is known.

    Parameters
    ----------
    budget
        Seconds for one candidate, and for all of them.
    memory, disk
        Bytes that are free.
    """

    budget: float
    memory: int | None = None
    disk: int | None = None


@dataclass(frozen=True)
class Ground:
    """What the forecast of a candidate stands on.

    Parameters
    ----------
    known, speed
        Of the data and of the machine.
    shortens
        Whether training may be shortened for the budget: not where the user named the strategies.
    """

    known: Known
    limits: Limits
    speed: Speed
    shortens: bool


@dataclass(frozen=True)
class Entrant:
    """A candidate that may be tried.

    Parameters
    ----------
    offer
        Of its source; ``candidate.source`` may stand over a bridge.
    usual
        Its strategy before it was shortened for the budget.
    expected
        How much is expected of it, by experience.
    place
        Of its strategy among those that are tried: what gains most often comes first.
    """

    candidate: Candidate
    offer: Offer
    setting: Setting
    forecast: Forecast
    usual: Strategy
    expected: float = 0.0
    place: int = 0

    @property
    def trains(self) -> bool:
        """Whether the network itself learns."""
        return self.candidate.trains

    @property
    def source(self) -> str:
        """The spec of the source as it was offered."""
        return self.offer.name

    @property
    def card(self) -> Card:
        """What is known of the source."""
        return self.offer.card

    @property
    def name(self) -> str:
        """``linear_probe on minilm``."""
        return _named(self.candidate.strategy, self.source)


def planned(offer: Offer, strategy: Strategy, ground: Ground, pace: float | None) -> Entrant | Excluded:
    """The candidate of a source and a strategy, cut to the budget where it may be; or why there is none."""
    entrant = _entrant(offer, strategy, ground, pace)
    if not ground.shortens or isinstance(entrant, Excluded):
        return entrant
    return _shortened(entrant, ground, pace)


def _entrant(offer: Offer, strategy: Strategy, ground: Ground, pace: float | None) -> Entrant | Excluded:
    name, known = _named(strategy, offer.name), ground.known
    lack = missing_of_source(strategy, offer.card, known.rows)
    if lack is not None:
        return Excluded(name, lack)
    try:
        chosen = candidate(offer.source, strategy, known.modality, offer.card.modality)
    except RequestError as exc:
        return Excluded(name, str(exc))
    setting = setting_of(offer.card, known.fitted, known.modality, known.origin, offer.classes)
    cost = forecast(offer.card, strategy.passes_over(known.rows), known, ground.speed, offer.held, pace)
    return Entrant(chosen, offer, setting, cost, strategy)


def _shortened(entrant: Entrant, ground: Ground, pace: float | None) -> Entrant | Excluded:
    """With fewer epochs, where the usual ones would take more of the budget than a race can give to one candidate."""
    strategy, share = entrant.usual, ground.limits.budget / max(entrant.forecast.seconds, 1e-9)
    epochs = strategy.get_params(deep=False).get("epochs")
    if _SHARE * share >= 1 or not isinstance(epochs, int):
        return entrant
    fewest = min(epochs, math.ceil(_STEPS * _SMALL_BATCH / ground.known.rows))
    left = max(fewest, math.floor(_SHARE * share * epochs))
    shorter = _entrant(entrant.offer, clone(strategy).set_params(epochs=left), ground, pace)
    return shorter if isinstance(shorter, Excluded) else replace(shorter, usual=strategy)


def suited(strategy: Strategy, rows: int) -> Strategy:
    """With batches that suit the number of rows."""
    options = strategy.get_params(deep=False)
    if rows < _SMALL and isinstance(options.get("epochs"), int):
        if "batch_size" in options:
            strategy.set_params(batch_size=_SMALL_BATCH)
        elif "tuning" in options:
            strategy.set_params(tuning={"batch_size": _SMALL_BATCH})
    return strategy


def _named(strategy: Strategy, source: str) -> str:
    return f"{registry.title(strategy)} on {source}"
