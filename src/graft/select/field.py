"""Which candidates there are for some data: their order, what each will cost, what is left out and why.

A :class:`Field` is what may be tried; a :class:`~graft.select.plan.Plan` is what a fit runs, with the
controls.  Nothing is loaded, fetched or trained here, and no row is looked at.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from sklearn.base import clone

from graft import registry
from graft.compute import Speed
from graft.contracts import Card, Strategy
from graft.errors import RequestError
from graft.select.candidates import Candidate, candidate
from graft.select.forecast import Forecast, Known, duration, forecast, volume
from graft.select.needs import missing_of_source, missing_of_task
from graft.select.offers import Excluded, Offer
from graft.select.setting import Setting, setting_of

__all__ = ["FEW", "MANY", "Entrant", "Field", "Limits", "grouped", "lay_out"]

FEW = ("linear_probe", "svm", "prototypes", "knn", "contrastive", "output_head")
"""Strategies that are tried on few rows a class: what trains a whole network has little to go by."""

MANY = ("linear_probe", "svm", "prototypes", "knn", "fine_tune", "lp_ft", "l2_sp", "lora")
"""Strategies that are tried on more."""

_FEW_ROWS = 20
"""Rows a class below which they are few; of numbers, rows for a tenth of them."""

_SHARE = 0.35
"""Part of the budget that one fit on all rows may take: a race fits on fewer rows before, and again after it."""

_NOTHING_LEARNT = "it never learnt anything, so that there is nothing to transfer"
_UNTAUGHT = "pretrain"
"""What makes something of a network that never learnt."""


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
class Entrant:
    """A candidate that may be tried.

    Parameters
    ----------
    source
        The spec of the source as it was offered; ``candidate.source`` may stand over a bridge.
    """

    candidate: Candidate
    source: str
    card: Card
    setting: Setting
    forecast: Forecast

    @property
    def name(self) -> str:
        """``linear_probe on minilm``."""
        return _named(self.candidate.strategy, self.source)


@dataclass(frozen=True)
class Field:
    """What may be tried on some data, the first first.

    Parameters
    ----------
    excluded
        Sources, strategies and pairs of them that are not tried, each with its reason.
    """

    entrants: tuple[Entrant, ...]
    excluded: tuple[Excluded, ...]
    known: Known
    limits: Limits

    @property
    def seconds(self) -> float:
        """Of all entrants, in turn; the pass over the rows that those of a source share counts once."""
        return self._spent()[-1]

    @property
    def within(self) -> int:
        """How many entrants the budget holds, from the first on."""
        return sum(spent <= self.limits.budget for spent in self._spent())

    def _spent(self) -> list[float]:
        """Seconds that have gone by when each entrant is done."""
        total, seen, spent = 0.0, set[str](), []
        for each in self.entrants:
            total += each.forecast.seconds - each.forecast.shared * (each.source in seen)
            seen.add(each.source)
            spent.append(total)
        return spent

    @property
    def memory(self) -> int:
        """Bytes at the peak of the largest."""
        return max(each.forecast.memory for each in self.entrants)

    @property
    def download(self) -> int:
        """Bytes of all sources that have to be fetched."""
        return sum({each.source: each.forecast.download for each in self.entrants}.values())

    def sources(self) -> tuple[str, ...]:
        """Specs of the sources that take part, in order."""
        return tuple(dict.fromkeys(each.source for each in self.entrants))

    def strategies(self) -> tuple[str, ...]:
        """Specs of the strategies that take part, in order."""
        return tuple(dict.fromkeys(each.candidate.name for each in self.entrants))

    def document(self) -> dict[str, object]:
        """As JSON."""
        return {
            "candidates": [_document(each) for each in self.entrants],
            "excluded": [asdict(each) for each in self.excluded],
            "data": {
                "origin": self.known.origin,
                "modality": self.known.modality,
                "task": self.known.fitted.kind,
                "rows": self.known.rows,
                "unlabelled": self.known.unlabelled,
                "outputs": self.known.fitted.n_outputs,
            },
            "total": {"seconds": self.seconds, "memory": self.memory, "download": self.download},
            "budget": self.limits.budget,
            "within": self.within,
        }


def _document(entrant: Entrant) -> dict[str, object]:
    setting = entrant.setting
    return {
        "source": entrant.source,
        "strategy": entrant.candidate.name,
        "setting": setting.name,
        "domain": setting.domain,
        "task": setting.task,
        "why": setting.why,
        **asdict(entrant.forecast),
        "licence": entrant.card.licence,
    }


def lay_out(
    known: Known,
    offers: Sequence[Offer],
    limits: Limits,
    speed: Speed,
    *,
    strategies: Sequence[Strategy] = (),
    prior: Mapping[str, float] | None = None,
    excluded: Sequence[Excluded] = (),
) -> Field:
    """Pair sources with strategies, leave out what cannot work or does not fit, and order the rest.

    First what promises most by ``prior``, then the nearest setting, then what costs least.

    Parameters
    ----------
    strategies
        Those to try; none: :data:`FEW` or :data:`MANY`, by the rows a class.
    prior
        How much is expected of a candidate (``"svm on minilm"``), a source or a strategy, by name:
        that of the candidate counts, else those of its source and its strategy together; 0 for others.
    excluded
        What was left out before.

    Raises
    ------
    RequestError
        Where nothing is left, with all reasons; where the budget alone is in the way, with what would fit.
    """
    left_out = list(excluded)
    given = list(strategies) or _usual(known)
    fitting = []
    for strategy in given:
        lack = missing_of_task(strategy, known)
        if lack is None:
            fitting.append(strategy)
        else:
            left_out.append(Excluded(registry.title(strategy), lack))
    found: list[Entrant] = []
    for offer in offers:
        chosen = _for_source(offer, fitting, bool(strategies))
        if not chosen and fitting:
            left_out.append(Excluded(offer.name, _NOTHING_LEARNT))
        for strategy in chosen:
            entrant = _entrant(offer, strategy, known, speed)
            if isinstance(entrant, Entrant) and not strategies:
                entrant = _shortened(entrant, offer, known, limits, speed)
            found.append(entrant) if isinstance(entrant, Entrant) else left_out.append(entrant)
    kept, dear = _affordable(found, limits, left_out)
    if not kept:
        raise RequestError(_nothing(dear, left_out, limits))
    left_out += [Excluded(each.name, _too_long(each, limits)) for each in dear]
    expected = dict(prior or {})
    kept.sort(key=lambda each: (-_expected(each, expected), each.setting.rank, each.forecast.seconds))
    return Field(tuple(kept), tuple(left_out), known, limits)


def _usual(known: Known) -> list[Strategy]:
    parts = len(known.fitted.classes) or 10
    names = FEW if known.rows / parts < _FEW_ROWS else MANY
    return [registry.build("strategies", name) for name in names]


def _for_source(offer: Offer, fitting: Sequence[Strategy], asked: bool) -> list[Strategy]:
    """The strategies that are tried on a source: what the user names, else what suits it."""
    if asked:
        wanted = offer.named or offer.source.pretrained
        return [each for each in fitting if wanted or getattr(each, "pretrains", False)]
    if offer.source.pretrained:
        return list(fitting)
    taught = [] if offer.card.parameters == 0 else [registry.build("strategies", _UNTAUGHT)]
    return [*(fitting if offer.named else ()), *taught]


def _entrant(offer: Offer, strategy: Strategy, known: Known, speed: Speed) -> Entrant | Excluded:
    name = _named(strategy, offer.name)
    lack = missing_of_source(strategy, offer.card, known.rows)
    if lack is not None:
        return Excluded(name, lack)
    try:
        chosen = candidate(offer.source, strategy, known.modality, offer.card.modality)
    except RequestError as exc:
        return Excluded(name, str(exc))
    setting = setting_of(offer.card, known.fitted, known.modality, known.origin, offer.classes)
    cost = forecast(offer.card, strategy.passes_over(known.rows), known, speed, offer.held)
    return Entrant(chosen, offer.name, offer.card, setting, cost)


def _shortened(entrant: Entrant, offer: Offer, known: Known, limits: Limits, speed: Speed) -> Entrant:
    """With fewer epochs, where the usual ones would take more of the budget than a race can give to one candidate."""
    strategy, share = entrant.candidate.strategy, _SHARE * limits.budget / entrant.forecast.seconds
    epochs = strategy.get_params(deep=False).get("epochs")
    if share >= 1 or not isinstance(epochs, int) or not entrant.forecast.seconds:
        return entrant
    shorter = clone(strategy).set_params(epochs=max(1, math.floor(share * epochs)))
    found = _entrant(offer, shorter, known, speed)
    return found if isinstance(found, Entrant) else entrant


def _affordable(
    found: Sequence[Entrant], limits: Limits, left_out: list[Excluded]
) -> tuple[list[Entrant], list[Entrant]]:
    """What fits into memory, disk and budget, and what is over the budget alone."""
    kept: list[Entrant] = []
    dear: list[Entrant] = []
    for each in found:
        if lack := _no_room(each.forecast, limits):
            left_out.append(Excluded(each.name, lack))
        else:
            (dear if each.forecast.seconds > limits.budget else kept).append(each)
    return kept, dear


def _no_room(cost: Forecast, limits: Limits) -> str | None:
    if limits.memory is not None and cost.memory > limits.memory:
        return f"it needs about {volume(cost.memory)} of memory, and {volume(limits.memory)} is free"
    if limits.disk is not None and cost.disk > limits.disk:
        return f"it writes about {volume(cost.disk)}, and {volume(limits.disk)} of the disk is free"
    return None


def _too_long(entrant: Entrant, limits: Limits) -> str:
    return f"its forecast of {duration(entrant.forecast.seconds)} is over the budget of {duration(limits.budget)}"


def _nothing(dear: Sequence[Entrant], left_out: Sequence[Excluded], limits: Limits) -> str:
    if dear:
        least = min(dear, key=lambda each: each.forecast.seconds)
        seconds = least.forecast.seconds
        return (
            f"a budget of {duration(limits.budget)} is too small for anything. What would take least is {least.name}, "
            f"{duration(seconds)} by forecast: say --budget {math.ceil(seconds)}s or more, or give fewer rows."
        )
    lines = [f"  {names}: {reason}" for reason, names in grouped(left_out)]
    return "\n".join(["no candidate is left:", *lines])


def grouped(excluded: Sequence[Excluded]) -> Iterator[tuple[str, str]]:
    """Reasons, each with the names that it holds for."""
    names: dict[str, list[str]] = {}
    for each in excluded:
        names.setdefault(each.reason, []).append(each.name)
    for reason, held in names.items():
        more = f" and {len(held) - 3} more" if len(held) > 4 else ""
        yield reason, ", ".join(held if not more else held[:3]) + more


def _expected(entrant: Entrant, prior: Mapping[str, float]) -> float:
    parts = (entrant.source, entrant.candidate.name)
    return prior.get(entrant.name, sum(prior.get(each, 0.0) for each in parts))


def _named(strategy: Strategy, source: str) -> str:
    return f"{registry.title(strategy)} on {source}"
