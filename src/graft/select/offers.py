"""The sources that could serve: what the user names, what is on this machine, what would have to be fetched."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from graft import catalogue, fetch, licences, registry
from graft.catalogue import Entry
from graft.compute import Speed
from graft.contracts import Card, Passes, Source
from graft.errors import GraftError
from graft.nn.undrawn import Undrawn
from graft.select.forecast import Known, forecast
from graft.select.terms import check_licence

__all__ = ["DOWNLOADS", "Excluded", "Offer", "card_of", "fetchable", "named", "on_this_machine"]

DOWNLOADS = 12
"""Sources of the catalogue that take part where downloads are allowed: more are known than any budget tries."""

_SHARE = 0.1
"""Share of the budget within which one pass of such a source over the rows should stay."""


@dataclass(frozen=True)
class Excluded:
    """What is not tried, and why, in a sentence."""

    name: str
    reason: str


@dataclass(frozen=True)
class Offer:
    """A source that could serve.

    Parameters
    ----------
    name
        Its spec.
    card
        What is known of it without its weights.
    held
        Whether it loads without a download.
    named
        Whether the user asked for it.
    classes
        What its own outputs stand for, where that is known.
    """

    name: str
    source: Source
    card: Card
    held: bool = True
    named: bool = False
    classes: tuple[str, ...] = ()


def named(sources: Iterable[Source], known: Known, licence: str | None) -> tuple[list[Offer], list[Excluded]]:
    """What the user names, whether it is here or not."""
    found = [_looked_at(registry.title(each), each, known, licence, asked=True) for each in sources]
    return _parted(found)


def on_this_machine(known: Known, licence: str | None) -> tuple[list[Offer], list[Excluded]]:
    """What loads now without a network, of every family."""
    found: list[Offer | Excluded] = []
    for family in registry.names("sources"):
        try:
            for spec in registry.load("sources", family).local():
                source = registry.build("sources", spec)
                if source.reads() != "any":  # of anything: it is no source but the lack of one
                    found.append(_looked_at(spec, source, known, licence, asked=False))
        except GraftError as exc:
            found.append(Excluded(family, str(exc)))
    return _parted(found)


def fetchable(
    known: Known, licence: str | None, speed: Speed, budget: float, *, here: Sequence[str], download: bool
) -> tuple[list[Offer], list[Excluded]]:
    """What the catalogue knows beside ``here``; with ``download`` the most promising :data:`DOWNLOADS` of them.

    Those come first whose one pass over the rows takes a small share of the budget, of these the most
    accurate on ImageNet-1k, then the smallest; of the others what takes least.
    """
    off = fetch.offline()
    asked = licences.checked(licence or "any")
    reached = _reached(known.modality)
    fits: list[Entry] = []
    excluded: list[Excluded] = []
    for entry in catalogue.entries():
        if entry.weights is None or entry.name in here or entry.modality not in reached:
            continue
        if not licences.allows(asked, entry.licence):
            excluded.append(Excluded(entry.name, _other_licence(entry.licence, asked)))
        elif not download:
            excluded.append(Excluded(entry.name, "it is not on this machine; --download lets it be fetched"))
        elif off is not None:
            excluded.append(Excluded(entry.name, f"it is not on this machine, and {off} forbids downloads"))
        else:
            fits.append(entry)

    def promise(entry: Entry) -> tuple[bool, float, float, str]:
        seconds = forecast(card_of(entry), Passes(), known, speed, held=False).seconds
        dear = seconds > _SHARE * budget
        return dear, seconds if dear else -(entry.top1 or 0.0), entry.parameters or 0.0, entry.name

    fits.sort(key=promise)
    found: list[Offer | Excluded] = []
    for entry in fits[:DOWNLOADS]:
        try:
            source: Source = registry.build("sources", entry.name)
            found.append(Offer(entry.name, source, card_of(entry), held=False))
        except GraftError as exc:
            found.append(Excluded(entry.name, str(exc)))
    offers, failed = _parted(found)
    beyond = f"it is not among the {DOWNLOADS} most promising that would have to be fetched; name it with --source"
    return offers, [*excluded, *failed, *(Excluded(each.name, beyond) for each in fits[DOWNLOADS:])]


def _looked_at(spec: str, source: Source, known: Known, licence: str | None, asked: bool) -> Offer | Excluded:
    try:
        entry = catalogue.find(spec)
        if (entry.modality if entry else source.reads()) not in _reached(known.modality):
            return Excluded(spec, f"it does not read {known.modality}, and no bridge leads there")
        check_licence(source, licence)
        if entry is not None:
            card = card_of(entry)
        else:
            with Undrawn():  # the network is looked at, and thrown away
                card = source.load(weights=False).card
        return Offer(spec, source, card, _is_held(spec), asked, source.classes())
    except GraftError as exc:
        return Excluded(spec, str(exc))


def _reached(modality: str) -> set[str]:
    """What rows can be read as: as what they are, or as what one bridge makes of them."""
    bridges = [registry.load("bridges", name) for name in registry.names("bridges")]
    return {modality, *(each.gives for each in bridges if each.takes == modality)}


def _is_held(spec: str) -> bool:
    """Whether a source loads without a download: only families that the catalogue knows addresses of fetch any."""
    bare = spec.partition("?")[0]
    family, _, rest = bare.partition("/")
    if family not in {each.family for each in catalogue.entries() if each.weights} or os.path.exists(rest):
        return True
    entry = catalogue.find(bare)
    return bool({bare, entry.name if entry else bare} & set(registry.load("sources", family).local()))


def card_of(entry: Entry) -> Card:
    """What the catalogue knows of a source, as its card."""
    return Card(
        entry.name,
        entry.modality,
        entry.parameters,
        entry.bytes,
        entry.flops,
        entry.licence,
        entry.pretraining,
        entry.outputs,
        entry.top1,
    )


def _other_licence(licence: str | None, asked: str) -> str:
    return f"its licence is {licence or 'not known'}, and only what is {asked} may be used"


def _parted(found: Iterable[Offer | Excluded]) -> tuple[list[Offer], list[Excluded]]:
    each = list(found)
    return [one for one in each if isinstance(one, Offer)], [one for one in each if isinstance(one, Excluded)]
