"""Whether a source's licence is one that the user asked for; known before any of its weights are fetched."""

from __future__ import annotations

from collections.abc import Iterator

from graft import catalogue, licences, registry
from graft.contracts import Source
from graft.errors import RequestError

__all__ = ["check_licence"]


def check_licence(source: Source, wanted: str | None) -> None:
    """Refuse a source whose licence does not pass ``wanted``: ``any``, ``permissive`` or an SPDX identifier.

    What stands in the catalogue needs no download; else the source's card is asked, without its
    weights.  Plain features carry no weights, and pass.

    Raises
    ------
    RequestError
        Where the licence does not pass, or is not known.
    UnknownNameError
        For a filter that is no licence.
    UnavailableError
        Where the card is not on this machine and cannot be fetched now.
    """
    asked = licences.checked(wanted or "any")
    if asked == "any":
        return
    for each in _parts(source):
        licence = _licence(each)
        if not licences.allows(asked, licence):
            raise RequestError(_refusal(each, licence, asked))


def _parts(source: Source) -> Iterator[Source]:
    """The sources with weights that a source is made of; mostly itself."""
    inside = [each for value in source.get_params(deep=False).values() for each in _sources(value)]
    if inside:
        for each in inside:
            yield from _parts(each)
    elif source.pretrained:
        yield source


def _sources(value: object) -> list[Source]:
    several = value if isinstance(value, list | tuple) else [value]
    return [each for each in several if isinstance(each, Source)]


def _licence(source: Source) -> str | None:
    entry = catalogue.find(registry.title(source))
    stated = entry.licence if entry else None
    return stated or source.load(weights=False).card.licence


def _refusal(source: Source, licence: str | None, asked: str) -> str:
    name, known = registry.title(source), licences.spdx(licence)
    kind = licences.terms(licence)
    held = "is not known" if known is None else f"is {known}" + (f" ({kind})" if kind != "unknown" else "")
    return (
        f"the licence of {name} {held}, and only what is {asked} may be used. Choose another source "
        f"(graft ls sources --modality {source.reads()} --licence {asked}), or read its terms and leave --licence away."
    )
