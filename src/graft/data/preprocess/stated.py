"""What a checkpoint's folder states of its preprocessing, read as plain values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from graft.errors import WeightsError

__all__ = ["FILES", "number", "stated", "stated_name"]

FILES = ("preprocessor_config.json", "processor_config.json")
"""Where transformers writes it: alone, or as one part of a processor."""
_LARGEST = 64 * 1024 * 1024


def stated(folder: Path, part: str) -> dict[str, Any]:
    """The preprocessing that a folder states.

    Parameters
    ----------
    part
        Its name inside a processor: ``image_processor`` or ``feature_extractor``.

    Raises
    ------
    WeightsError
        Where there is none, or it is damaged.
    """
    alone, together = (folder / name for name in FILES)
    if alone.is_file():
        return _read(alone)
    inner = _read(together).get(part) if together.is_file() else None
    if isinstance(inner, dict):
        return inner
    raise WeightsError(
        f"{alone} is missing, so nobody knows what the network expects. "
        "Fetch it, or write it with transformers: AutoProcessor.from_pretrained(name).save_pretrained(folder)."
    )


def stated_name(values: dict[str, Any]) -> str:
    """The class that wrote the values, by today's name: older files say ``…FeatureExtractor`` of images too."""
    name = values.get("image_processor_type") or values.get("feature_extractor_type") or ""
    return str(name).removesuffix("Fast").removesuffix("Pil")


def number(values: dict[str, Any], name: str, usual: float, most: float = 1e6) -> float:
    """A number above 0 out of the values; ``usual`` where they say nothing.

    Raises
    ------
    WeightsError
        Where it is no such number.
    """
    value = usual if values.get(name) is None else values[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= most:
        raise WeightsError(f"{FILES[0]} states {name} as {value!r}; expected a number above 0. Fetch it again.")
    return value


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _LARGEST:
            raise WeightsError(f"{path} is larger than {_LARGEST >> 20} MB; that is no configuration.")
        held = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as exc:
        if isinstance(exc, WeightsError):
            raise
        raise WeightsError(f"{path} is damaged: {exc}. Fetch it again.") from exc
    if not isinstance(held, dict):
        raise WeightsError(f"{path} holds {type(held).__name__}; expected a JSON object.")
    return held
