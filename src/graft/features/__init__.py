"""Frozen features: one streaming pass at the machine's speed, cached by content, resumable after a kill."""

from __future__ import annotations

from graft.features.engine import Extractor
from graft.features.streaming import extract, stream

__all__ = ["Extractor", "extract", "stream"]
