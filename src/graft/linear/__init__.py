"""Linear models on fixed features, and the head that they become."""

from __future__ import annotations

from graft.linear.crossed import crossed_outputs, judged
from graft.linear.models import PENALTY, LinearFit, fit_linear
from graft.linear.probe import fit_head, fit_probe, frozen_features, frozen_trunk, zero_head

__all__ = [
    "PENALTY",
    "LinearFit",
    "crossed_outputs",
    "fit_head",
    "fit_linear",
    "fit_probe",
    "frozen_features",
    "frozen_trunk",
    "judged",
    "zero_head",
]
