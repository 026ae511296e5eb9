"""What sources are called where people read: by their file, without its folder and the settings, while that tells."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import PurePath

from graft.progress import Say

__all__ = ["nicknames", "renamed", "renaming"]


def nicknames(titles: Iterable[str]) -> Mapping[str, str]:
    """Title of a source → what it is called; titles that would be called the same keep their own.

    Examples
    --------
    >>> nicknames(["minilm", "file//home/me/bird.pth?architecture=timm/resnet18"])
    {'minilm': 'minilm', 'file//home/me/bird.pth?architecture=timm/resnet18': 'file/bird.pth'}
    """
    short = {title: _nickname(title) for title in titles}
    taken = Counter(short.values())
    return {title: name if taken[name] == 1 else title for title, name in short.items()}


def renamed(text: str, names: Mapping[str, str]) -> str:
    """A text with other names in it."""
    titles = sorted(filter(None, names), key=len, reverse=True)  # no name is found within a longer one
    return re.sub("|".join(map(re.escape, titles)), lambda found: names[found[0]], text) if titles else text


def renaming(say: Say, titles: Iterable[str]) -> Say:
    """Tells each step under the names that sources are called by."""
    names = nicknames(titles)

    def renamed_first(step: str, text: str) -> None:
        say(step, renamed(text, names))

    return renamed_first


def _nickname(title: str) -> str:
    base, over, bridge = title.partition(" over ")
    family, slash, rest = base.partition("?")[0].partition("/")
    return f"{family}{slash}{PurePath(rest).name if rest.startswith('/') else rest}{over}{bridge}"
