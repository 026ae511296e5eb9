"""The shared body of the strategies that fine-tune a network."""

from __future__ import annotations

from graft.tuning.body import Extra, tunable, tune
from graft.tuning.low_rank import LOW_RANK, LowRank
from graft.tuning.settings import SETTINGS, TRAINING, Tuning
from graft.tuning.start import loudness, start_head

__all__ = [
    "LOW_RANK",
    "SETTINGS",
    "TRAINING",
    "Extra",
    "LowRank",
    "Tuning",
    "loudness",
    "start_head",
    "tunable",
    "tune",
]
