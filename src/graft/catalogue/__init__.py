"""What is known of well-known sources before any of them is loaded: a table that comes with Graft.

``sources.jsonl`` is written by ``catalogue/build.py`` at the root of the repository, from the tables
of the libraries.  Its first line says what it was made with; every other line is one :class:`Entry`.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

from graft import licences
from graft.errors import RequestError

__all__ = ["FILE", "Entry", "Selection", "Wanted", "count", "entries", "find", "near", "select"]

FILE = Path(__file__).with_name("sources.jsonl")

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "B": 10**9}


@dataclass(frozen=True)
class Entry:
    """One source; an unknown fact is ``None``.

    Parameters
    ----------
    name, modality
        The spec that loads it, and what it reads.
    source
        How its facts are known.
    parameters, flops
        Weights of its features, and multiply-adds for one row, without the head.
    bytes
        Of the file of weights, where its size is stated.
    licence
        As SPDX writes it.
    pretraining
        The data that it learnt from.
    outputs
        How many outputs its own head has; 0 where there is none.
    top1
        Share of ImageNet-1k's validation images that its own head gets right.
    weights
        Where the weights come from: ``owner/name`` of the hub, or an address.
    default
        Whether its name without what follows the last dot means this one.
    """

    name: str
    modality: str
    source: str = ""
    parameters: int | None = None
    flops: int | None = None
    bytes: int | None = None
    licence: str | None = None
    pretraining: str | None = None
    outputs: int | None = None
    top1: float | None = None
    weights: str | None = None
    default: bool = False

    @property
    def family(self) -> str:
        """The plug-in that loads it: what its name begins with."""
        return self.name.partition("/")[0]

    @property
    def memory(self) -> int | None:
        """Bytes of the features' weights in float32."""
        return None if self.parameters is None else 4 * self.parameters


@dataclass(frozen=True)
class Wanted:
    """A filter over sources; ``None`` lets everything pass.

    Parameters
    ----------
    licence
        ``any``, ``permissive`` or an SPDX identifier.
    parameters
        The most weights.
    search
        A word that the name, the licence or the pretraining has to hold, in any case of letters.
    """

    modality: str | None = None
    licence: str | None = None
    parameters: int | None = None
    family: str | None = None
    search: str | None = None


@dataclass(frozen=True)
class Selection:
    """What passed a filter, and how many it left out.

    Parameters
    ----------
    without_licence, without_parameters
        Left out because that is not known.
    other_licence
        Left out because the licence is known, and another.
    """

    found: tuple[Entry, ...]
    without_licence: int = 0
    without_parameters: int = 0
    other_licence: int = 0


@cache
def entries() -> tuple[Entry, ...]:
    """All entries, by name."""
    known = {field.name for field in fields(Entry)}
    lines = FILE.read_text(encoding="utf-8").splitlines()[1:]
    return tuple(Entry(**{key: value for key, value in json.loads(line).items() if key in known}) for line in lines)


def find(spec: str) -> Entry | None:
    """The entry of a spec; its options are passed over, and a name without its tag means the default one."""
    bare = spec.strip().partition("?")[0]
    held = {each.name: each for each in entries()}
    short = {each.name.rpartition(".")[0]: each for each in entries() if each.default}
    return held.get(bare) or short.get(bare)


def near(name: str, most: int = 5) -> list[str]:
    """Names that are like ``name``, the likest first."""
    word = name.strip().partition("?")[0].lower()
    known = [each.name for each in entries()]
    ends = {each: re.split(r"[/.]", each.lower()) for each in known}
    whole = [each for each in known if word in ends[each]]
    part = [each for each in known if word and word in each.lower()]
    close = difflib.get_close_matches(word, known, n=most, cutoff=0.5)
    stems = {each.partition("/")[2].partition(".")[0].lower(): each for each in reversed(known)}
    alike = [stems[stem] for stem in difflib.get_close_matches(word, stems, n=most, cutoff=0.6)]
    return list(dict.fromkeys([*whole, *part, *close, *alike]))[:most]


def select(wanted: Wanted, among: Iterable[Entry] | None = None) -> Selection:
    """The entries that pass; what is not known passes no filter that asks for it.

    Raises
    ------
    UnknownNameError
        For a filter that is no licence.
    """
    licence = licences.checked(wanted.licence or "any")
    tests: list[Callable[[Entry], bool]] = [
        lambda each: wanted.modality in (None, each.modality),
        lambda each: wanted.family in (None, each.family),
        lambda each: _holds(each, wanted.search),
    ]
    rest = [each for each in (entries() if among is None else among) if all(test(each) for test in tests)]
    sized = [each for each in rest if wanted.parameters is None or _within(each, wanted.parameters)]
    unsized = [each for each in rest if wanted.parameters is not None and each.parameters is None]
    passed = [each for each in sized if licences.allows(licence, each.licence)]
    unlicensed = [] if licence == "any" else [each for each in sized if each.licence is None]
    return Selection(tuple(passed), len(unlicensed), len(unsized), len(sized) - len(passed) - len(unlicensed))


def _within(entry: Entry, most: int) -> bool:
    return entry.parameters is not None and entry.parameters <= most


def _holds(entry: Entry, search: str | None) -> bool:
    text = f"{entry.name} {entry.licence or ''} {entry.pretraining or ''}".lower()
    return all(word in text for word in (search or "").lower().split())


def count(text: str) -> int:
    """``30M``, ``1.2B`` or ``500k`` as a number.

    Raises
    ------
    RequestError
        For anything else.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGB]?)\s*", text, re.IGNORECASE)
    if found is None:
        raise RequestError(f"{text!r} is no count of parameters; write a number such as 500k, 30M or 1.2B.")
    return round(float(found[1]) * _UNITS[found[2].upper()])
