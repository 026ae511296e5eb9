"""What the sources of image networks share: sizes as they are given, the file that names a network, the backbone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from graft.contracts import Backbone, Card, Preprocess
from graft.errors import BundleError, RequestError
from graft.nn.architectures import Architecture
from graft.storage import digest

__all__ = ["assembled", "described", "edges", "stated"]

_FILE = "architecture.json"


def edges(size: int | Sequence[int]) -> tuple[int, int]:
    """A size as a person gives it → ``(height, width)``.

    Raises
    ------
    RequestError
        Where it is no size.
    """
    given = (size, size) if isinstance(size, int) else tuple(size)
    if len(given) != 2 or not all(isinstance(edge, int) and edge > 0 for edge in given):
        raise RequestError(f"the image size is {size!r}; expected a number of pixels, or [height, width].")
    return given[0], given[1]


def described(name: str, options: Mapping[str, Any] | None = None) -> dict[str, bytes]:
    """The file from which ``stated`` reads a network's name and options again."""
    return {_FILE: json.dumps({"name": name} | ({"options": dict(options)} if options else {})).encode()}


def stated(files: Mapping[str, bytes]) -> tuple[str, dict[str, Any]]:
    """Name and options of the network that a saved model carries.

    Raises
    ------
    BundleError
        Where the file is missing or damaged.
    """
    try:
        held = json.loads(files[_FILE])
        return str(held["name"]), dict(held.get("options", {}))
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise BundleError(f"{_FILE} is missing or damaged ({exc!r}); save or fetch the model again.") from exc


def assembled(parts: Architecture, preprocess: Preprocess, card: Card, files: Mapping[str, bytes]) -> Backbone:
    """The backbone of a network in parts; ``card.revision`` names its weights by content."""
    held = {**files, **preprocess.files()}
    return Backbone(
        module=parts.module,
        dim=parts.dim,
        preprocess=preprocess,
        stages=parts.stages,
        card=card,
        head=parts.head,
        outputs=parts.outputs,
        files=held,
        fingerprint=digest(card.revision, *held.values()) if card.revision else None,
    )
