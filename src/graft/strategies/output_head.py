"""A linear model on what the source itself says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, get_args

from torch import nn

from graft.contracts import Backbone, FittedTask, History, Start, Strategy, TransferData
from graft.errors import RequestError
from graft.limits import among, check
from graft.linear import PENALTY, fit_probe, frozen_trunk
from graft.nn.outputs import Form, own_outputs, spoken

__all__ = ["OutputHead"]


class OutputHead(Strategy):
    """A linear layer on the source's own outputs: f_t(x) = g(f_s(x)), the source itself is a black box.

    For a source that already tells what is close to the target: its outputs are few, and what they
    mean is learnt from few rows.  The penalty is chosen as that of a linear probe.

    Parameters
    ----------
    on
        What g sees: ``logits``, ``probabilities`` or ``log`` (of the probabilities).
    penalties
        Penalties on the squared weights to choose from; ``None``: a grid that suits all outputs.

    References
    ----------
    Pan and Yang, A survey on transfer learning, 2010.
    Platt, Probabilistic outputs for support vector machines, 1999 (the case of one output).
    """

    family: ClassVar[str] = "model"
    starts_from: ClassVar[Start] = "pretrained"
    uses_validation: ClassVar[bool] = False
    needs: ClassVar[str] = "a source with outputs of its own"

    def __init__(self, on: Form = "logits", penalties: Sequence[float] | None = None) -> None:
        self.on = on
        self.penalties = penalties

    def build(self, backbone: Backbone, task: FittedTask) -> nn.Module:
        check(self, {"on": among(get_args(Form)), "penalties": PENALTY.or_none()})
        own = own_outputs(backbone)
        if own is None:
            raise RequestError(
                f"output_head needs {self.needs}, and {backbone.card.name} gives features alone; "
                "choose a source with a classifier, or another strategy, such as linear_probe."
            )
        return frozen_trunk(spoken(own, self.on), task)

    def fit(self, module: nn.Module, task: FittedTask, data: TransferData) -> History:
        return fit_probe(module, task, data, self.penalties)
