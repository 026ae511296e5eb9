"""The shared body of the strategies that fine-tune a network."""

from __future__ import annotations

from graft.tuning.body import Extra, start_head, tunable, tune
from graft.tuning.settings import Tuning

__all__ = ["Extra", "Tuning", "start_head", "tunable", "tune"]
