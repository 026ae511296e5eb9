"""Which candidates there are for some data: their order, what each will cost, what is left out and why.

A :class:`Field` is what may be tried; a :class:`~graft.select.plan.Plan` is what a fit runs, with the
controls.  Nothing is loaded, fetched or trained here, and no row is looked at.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from graft import registry
from graft.compute import Speed
from graft.contracts import Strategy
from graft.errors import RequestError
from graft.select.entrant import Entrant, Ground, Limits, planned, suited
from graft.select.forecast import Forecast, Known, duration, volume
from graft.select.needs import missing_of_task
from graft.select.offers import Excluded, Offer
from graft.wording import listed

__all__ = ["FEW", "MANY", "MANY_OF", "Field", "Rules", "grouped", "lay_out"]

FEW = ("linear_probe", "svm", "prototypes", "contrastive", "output_head", "lora", "lp_ft")
"""Strategies that are tried on few rows a class: what trains a whole network has little to go by, and comes last."""

MANY = ("linear_probe", "svm", "lp_ft", "fine_tune", "lora", "l2_sp")
"""Strategies that are tried on more; what gains most often comes first (benchmarks/choosing)."""

MANY_OF = {"text": ("linear_probe", "svm", "fine_tune", "lp_ft", "lora", "l2_sp")}
"""The same where that depends on what is read: encoders of text gain more by training at once than from a head."""

_FEW_ROWS = 20
"""Rows a class below which they are few; of numbers, rows for a tenth of them."""

_NOTHING_LEARNT = "it never learnt anything, so that there is nothing to transfer"
_UNTAUGHT = "pretrain"
"""What makes something of a network that never learnt."""


@dataclass(frozen=True)
class Rules:
    """How a field is laid out.

    Parameters
    ----------
    pairs
        What may stand in it, where it fits.
    refused
        What may not, with the reasons.
    speed
        Of the machine.
    prior
        How much is expected, by name.
    shortens
        Whether training may be shortened for the budget: not where the user named the strategies.
    """

    pairs: tuple[tuple[Offer, Strategy], ...]
    refused: tuple[Excluded, ...]
    speed: Speed
    prior: Mapping[str, float]
    shortens: bool


@dataclass(frozen=True)
class Field:
    """What may be tried on some data, the first first.

    Parameters
    ----------
    excluded
        Sources, strategies and pairs of them that are not tried, each with its reason.
    rules
        How it was laid out.
    """

    entrants: tuple[Entrant, ...]
    excluded: tuple[Excluded, ...]
    known: Known
    limits: Limits
    rules: Rules

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

    def paced(self, paces: Mapping[str, float]) -> Field:
        """The same, forecast anew for sources of which it was seen how long a row takes.

        Training is cut to the budget by what it really costs; what turns out to be too dear is left out.

        Parameters
        ----------
        paces
            Source → seconds in which its frozen network reads a row.
        """
        try:
            return _filled(self.rules, self.known, self.limits, paces)
        except RequestError:  # what was forecast by less is still all that there is
            return self

    def sources(self) -> tuple[str, ...]:
        """Specs of the sources that take part, in order."""
        return tuple(dict.fromkeys(each.source for each in self.entrants))

    def strategies(self) -> tuple[str, ...]:
        """Specs of the strategies that take part, in order, whatever the budget shortens of them."""
        return tuple(dict.fromkeys(registry.title(each.usual) for each in self.entrants))

    def sides(self) -> str:
        """How many there are of both: ``14 sources × 6 strategies``."""
        counts = ((len(self.sources()), "source", "sources"), (len(self.strategies()), "strategy", "strategies"))
        return " × ".join(f"{count} {one if count == 1 else more}" for count, one, more in counts)

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
        Those to try; none: :data:`FEW`, or :data:`MANY` and :data:`MANY_OF`, by the rows a class.
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
    pairs = list[tuple[Offer, Strategy]]()
    for offer in offers:
        chosen = _for_source(offer, fitting, bool(strategies))
        if not chosen and fitting:
            left_out.append(Excluded(offer.name, _NOTHING_LEARNT))
        pairs += [(offer, strategy) for strategy in chosen]
    rules = Rules(tuple(pairs), tuple(left_out), speed, dict(prior or {}), shortens=not strategies)
    return _filled(rules, known, limits, {})


def _filled(rules: Rules, known: Known, limits: Limits, paces: Mapping[str, float]) -> Field:
    """Every pair that fits, in order."""
    left_out = list(rules.refused)
    ground = Ground(known, limits, rules.speed, rules.shortens)
    found: list[Entrant] = []
    for offer, strategy in rules.pairs:
        entrant = planned(offer, strategy, ground, paces.get(offer.name))
        if isinstance(entrant, Entrant):
            found.append(replace(entrant, expected=_expected(entrant, rules.prior), place=len(found)))
        else:
            left_out.append(entrant)
    kept, dear = _affordable(found, limits, left_out)
    if not kept:
        raise RequestError(_nothing(dear, left_out, limits))
    left_out += [Excluded(each.name, _too_long(each, limits)) for each in dear]
    kept.sort(key=lambda each: (-each.expected, each.setting.rank, each.forecast.seconds))
    return Field(tuple(kept), tuple(left_out), known, limits, rules)


def _usual(known: Known) -> list[Strategy]:
    parts = len(known.fitted.classes) or 10
    names = FEW if known.rows / parts < _FEW_ROWS else MANY_OF.get(known.modality, MANY)
    return [suited(registry.build("strategies", name), known.rows) for name in names]


def _for_source(offer: Offer, fitting: Sequence[Strategy], asked: bool) -> list[Strategy]:
    """The strategies that are tried on a source: what the user names, else what suits it."""
    if asked:
        wanted = offer.named or offer.source.pretrained
        return [each for each in fitting if wanted or getattr(each, "pretrains", False)]
    if offer.source.pretrained:
        return list(fitting)
    taught = [] if offer.card.parameters == 0 else [registry.build("strategies", _UNTAUGHT)]
    return [*(fitting if offer.named else ()), *taught]


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
        yield reason, listed(held, 3 if len(held) > 4 else 4)


def _expected(entrant: Entrant, prior: Mapping[str, float]) -> float:
    parts = (entrant.source, entrant.candidate.name)
    return prior.get(entrant.name, sum(prior.get(each, 0.0) for each in parts))
