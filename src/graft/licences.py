"""Licences of weights: how hubs write them, what SPDX calls them, and what they leave a user free to do."""

from __future__ import annotations

import re
from typing import Literal

from graft.errors import UnknownNameError

__all__ = ["Terms", "allows", "checked", "spdx", "terms"]

Terms = Literal["permissive", "copyleft", "restricted", "unknown"]
"""``restricted``: not for commerce, for research alone, or terms of its own that a person has to read."""

_KNOWN: dict[str, Terms] = {
    **dict.fromkeys(("0BSD", "AFL-3.0", "Apache-2.0", "Artistic-2.0", "BSD-2-Clause", "BSD-3-Clause"), "permissive"),
    **dict.fromkeys(("BSL-1.0", "CC-BY-2.0", "CC-BY-3.0", "CC-BY-4.0", "CC0-1.0", "ISC", "MIT", "MIT-0"), "permissive"),
    **dict.fromkeys(("CDLA-Permissive-2.0", "PDDL-1.0", "Unlicense", "Zlib"), "permissive"),
    **dict.fromkeys(("AGPL-3.0", "GPL-2.0", "GPL-3.0", "LGPL-2.1", "LGPL-3.0"), "copyleft"),
    **dict.fromkeys(("CC-BY-SA-3.0", "CC-BY-SA-4.0", "EPL-2.0", "EUPL-1.2", "MPL-2.0", "ODbL-1.0"), "copyleft"),
    **dict.fromkeys(("CC-BY-NC-2.0", "CC-BY-NC-3.0", "CC-BY-NC-4.0", "CC-BY-ND-4.0"), "restricted"),
    **dict.fromkeys(("CC-BY-NC-ND-4.0", "CC-BY-NC-SA-3.0", "CC-BY-NC-SA-4.0"), "restricted"),
}
"""SPDX identifier → what it lets a user do."""

_CANONICAL = {name.lower(): name for name in _KNOWN} | {
    "agpl-3.0-only": "AGPL-3.0",
    "agpl-3.0-or-later": "AGPL-3.0",
    "apache": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache2": "Apache-2.0",
    "bsd": "BSD-3-Clause",
    "bsd-2": "BSD-2-Clause",
    "bsd-3": "BSD-3-Clause",
    "cc0": "CC0-1.0",
    "gpl": "GPL-3.0",
    "gpl-2.0-only": "GPL-2.0",
    "gpl-2.0-or-later": "GPL-2.0",
    "gpl-3.0-only": "GPL-3.0",
    "gpl-3.0-or-later": "GPL-3.0",
    "lgpl": "LGPL-3.0",
    "lgpl-3.0-only": "LGPL-3.0",
    "lgpl-3.0-or-later": "LGPL-3.0",
    "mit license": "MIT",
    "mpl": "MPL-2.0",
    "pddl": "PDDL-1.0",
    "odbl": "ODbL-1.0",
    "wtfpl": "WTFPL",
}
_NOTHING = {"", "none", "null", "other", "unknown", "unlicensed", "see license", "noassertion"}

# Licences of their own, by what their names carry: read them before you use the weights.
_OWN = re.compile(
    r"-nc\b|non-?commercial|research|llama|gemma|dinov3|openrail|\brail\b|\bopt-|qwen-|nvidia|apple|sapiens|seer"
    r"|cvnets|fastvit|mobileone|deepseek|falcon|stability|community|sam-license|dfine"
)
_JOINED = re.compile(r"\s+(?:AND|and|\+|&)\s+|\s*[,;]\s*")


def spdx(written: str | None) -> str | None:
    """A licence as SPDX writes it; ``None`` where nothing is known, and other names as they are.

    Several that all apply are joined by ``AND``.

    Examples
    --------
    >>> spdx("apache-2.0"), spdx("other"), spdx("mit AND cc-by-nc-4.0")
    ('Apache-2.0', None, 'MIT AND CC-BY-NC-4.0')
    """
    parts = [_one(part) for part in _JOINED.split((written or "").strip())]
    if any(part is None for part in parts):
        return None
    return " AND ".join(dict.fromkeys(part for part in parts if part)) or None


def _one(written: str) -> str | None:
    bare = written.strip().strip("'\"()").strip()
    return None if bare.lower() in _NOTHING else _CANONICAL.get(bare.lower(), bare)


def terms(licence: str | None) -> Terms:
    """What a licence lets a user do; of several that all apply, the narrowest counts.

    Examples
    --------
    >>> terms("bsd-3-clause"), terms("cc-by-nc-4.0"), terms("gemma"), terms(None)
    ('permissive', 'restricted', 'restricted', 'unknown')
    """
    known = spdx(licence)
    if known is None:
        return "unknown"
    found = {_KNOWN.get(part) or _guessed(part) for part in known.split(" AND ")}
    order: tuple[Terms, ...] = ("restricted", "unknown", "copyleft", "permissive")
    return next(each for each in order if each in found)


def _guessed(name: str) -> Terms:
    return "restricted" if _OWN.search(name.lower()) else "unknown"


def checked(wanted: str) -> str:
    """A filter as it is compared: ``any``, ``permissive``, or an SPDX identifier.

    Raises
    ------
    UnknownNameError
        For another word.
    """
    bare = wanted.strip()
    if bare.lower() in ("any", "permissive"):
        return bare.lower()
    known = spdx(bare)
    if known is None or (known not in _KNOWN and not _OWN.search(known.lower())):
        raise UnknownNameError("licence", wanted, ("any", "permissive", *_KNOWN))
    return known


def allows(wanted: str, licence: str | None) -> bool:
    """Whether a licence passes a filter; one that is not known passes nothing but ``any``.

    Examples
    --------
    >>> allows("permissive", "mit"), allows("MIT", "apache-2.0"), allows("permissive", None)
    (True, False, False)

    Raises
    ------
    UnknownNameError
        For a filter that is no licence.
    """
    asked = checked(wanted)
    if asked == "any":
        return True
    if asked == "permissive":
        return terms(licence) == "permissive"
    known = spdx(licence)
    return known is not None and set(known.split(" AND ")) == {asked}
