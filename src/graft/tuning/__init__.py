"""The shared body of the strategies that fine-tune a network."""

from __future__ import annotations

from graft.tuning.body import Extra, tunable, tune
from graft.tuning.low_rank import LowRank
from graft.tuning.settings import Tuning
from graft.tuning.start import loudness, start_head

__all__ = ["Extra", "LowRank", "Tuning", "loudness", "start_head", "tunable", "tune"]
