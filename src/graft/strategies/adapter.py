"""Small layers between the source's blocks train."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, cast

from torch import nn

from graft.contracts import Backbone, FittedTask, History, Passes, Range, Start, Strategy, TransferData
from graft.errors import RequestError
from graft.limits import flag, whole
from graft.nn.adapters import Bottleneck, blocks, insert_adapters, norms, only
from graft.nn.freeze import trainable
from graft.nn.grafted import Grafted
from graft.nn.initialise import seeded
from graft.tuning import TRAINING, Tuning, tunable, tune

__all__ = ["Adapter"]


class Adapter(Strategy):
    """Put a small bottleneck behind every block of the source, and train these, the norms and the new head.

    At first the bottlenecks change nothing; those that a source has already go on learning.  They stay in
    the saved model, and cost a few per cent of its time; texts lose the faster form without padding.  The
    paper puts two into a block of a transformer, behind attention and behind the dense layers; one behind
    the whole block serves networks of every kind.

    Parameters
    ----------
    width
        Of the bottlenecks.
    norms
        Whether the source's norms train as well.
    epochs
        Passes over the training rows, at most.
    lr
        Highest learning rate of the bottlenecks and of the norms.
    tuning
        The finer points of training.

    References
    ----------
    Houlsby et al., Parameter-efficient transfer learning for NLP, ICML 2019.
    """

    family: ClassVar[str] = "parameter"
    starts_from: ClassVar[Start] = "pretrained"
    uses_validation: ClassVar[bool] = True
    needs: ClassVar[str] = "a source with blocks of layers"

    space: ClassVar[Mapping[str, Range]] = {"lr": Range(1e-4, 1e-2, log=True)}

    def __init__(
        self,
        width: int = 32,
        norms: bool = True,
        epochs: int = 10,
        lr: float = 1e-3,
        tuning: Tuning | Mapping[str, Any] | None = None,
    ) -> None:
        self.width = width
        self.norms = norms
        self.epochs = epochs
        self.lr = lr
        self.tuning = tuning

    def build(self, backbone: Backbone, task: FittedTask) -> nn.Module:
        tuning = Tuning.checked(self, {"width": whole(), "norms": flag(), **TRAINING})
        names = blocks(backbone.module, backbone.stages)
        if not names:
            raise RequestError(f"adapter needs {self.needs}, and {backbone.card.name} has none; choose fine_tune.")
        adapters = insert_adapters(backbone.module, names, self.width)
        if others := {adapter.down.out_features for adapter in adapters} - {self.width}:
            raise RequestError(
                f"{backbone.card.name} has adapters already, which go on learning, and their width is "
                f"{', '.join(map(str, sorted(others)))}; give width={min(others)}, or start from its own source."
            )
        grafted = tunable(backbone, task, tuning)
        new = [value for adapter in adapters for value in adapter.parameters()]
        only(grafted.trunk, [*new, *(norms(grafted.trunk) if self.norms else [])])
        return grafted

    def passes_over(self, rows: int) -> Passes:
        return replace(super().passes_over(rows), back=1.0, learns=0.05)

    def fit(self, module: nn.Module, task: FittedTask, data: TransferData) -> History:
        grafted = cast("Grafted", module)
        with seeded(data.seed):
            for part in grafted.trunk.modules():
                if isinstance(part, Bottleneck) and not part.up.weight.any():  # it has not learnt yet
                    part.reset_parameters()
        count = trainable(grafted)
        history = tune(grafted, task, data, epochs=self.epochs, lr=self.lr, tuning=Tuning.of(self.tuning))
        return replace(history, chosen={"trained_weights": count, **history.chosen})
