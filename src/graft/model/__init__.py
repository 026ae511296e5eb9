"""The fitted target model: one network, or several that speak as one."""

from graft.model.ensemble import Ensemble
from graft.model.predictor import Predictor
from graft.model.single import Model

__all__ = ["Ensemble", "Model", "Predictor"]
