"""Frozen features: one streaming pass at the machine's speed, cached by content, resumable after a kill."""

from __future__ import annotations

from graft.features.activations import Resumption, cut_rows
from graft.features.engine import Extractor
from graft.features.streaming import extract, stream

__all__ = ["Extractor", "Resumption", "cut_rows", "extract", "stream"]
