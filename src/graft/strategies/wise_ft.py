"""Between the start and the end of fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, cast

from torch import nn

from graft.contracts import Backbone, FittedTask, History, Start, Strategy, TransferData
from graft.evaluate.goal import goal_of
from graft.limits import all_of, between
from graft.nn.anchors import blend, put_back, snapshot
from graft.nn.grafted import Grafted
from graft.tuning import TRAINING, Tuning, start_head, tunable, tune
from graft.tuning.measure import measured

__all__ = ["WiSEFT"]

_SHARES = all_of(between(0, 1, "a share"), "one or more shares from 0 to 1")


class WiSEFT(Strategy):
    """Fine-tune, then go back part of the way: weights between those of the start and those of the end.

    ``(1 - alpha) θ₀ + alpha θ₁`` for all weights: ``θ₀`` is the source with a linear probe on it, from
    which fine-tuning starts, and ``θ₁`` is where it ends.  The mixture is often better than both on
    rows unlike those of training, and costs nothing when it predicts.

    Parameters
    ----------
    alphas
        Shares of the fine-tuned weights to choose from by the validation metric; one alone is taken.
        Of equals the one nearest to 1/2 is, which the authors recommend where nothing can be measured.
    epochs
        Passes over the training rows, at most.
    lr
        Highest learning rate of all weights, the probe's among them.
    tuning
        Finer points of fine-tuning; its ``head`` and ``head_lr`` are not used.

    References
    ----------
    Wortsman et al., Robust fine-tuning of zero-shot models, CVPR 2022 (there with a zero-shot head,
    and in appendix with a linear probe's).

    Examples
    --------
    >>> WiSEFT(alphas=[0.5]).get_params()["epochs"]
    10
    """

    family: ClassVar[str] = "parameter"
    starts_from: ClassVar[Start] = "pretrained"
    uses_validation: ClassVar[bool] = True

    def __init__(
        self,
        alphas: Sequence[float] = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
        epochs: int = 10,
        lr: float = 1e-4,
        tuning: Tuning | Mapping[str, Any] | None = None,
    ) -> None:
        self.alphas = alphas
        self.epochs = epochs
        self.lr = lr
        self.tuning = tuning

    def build(self, backbone: Backbone, task: FittedTask) -> nn.Module:
        return tunable(backbone, task, replace(Tuning.checked(self, {"alphas": _SHARES, **TRAINING}), head="probe"))

    def fit(self, module: nn.Module, task: FittedTask, data: TransferData) -> History:
        grafted, tuning = cast("Grafted", module), replace(Tuning.of(self.tuning), head="probe")
        start_head(grafted, task, data, tuning)
        start = snapshot(grafted)
        history = tune(
            grafted, task, data, epochs=self.epochs, lr=self.lr, tuning=tuning, started=True, head_rate=self.lr
        )
        end, goal = snapshot(grafted), goal_of(task)
        chosen: float | None = None
        score: float | None = None
        for alpha in sorted(set(self.alphas), key=lambda alpha: (abs(alpha - 0.5), alpha)):
            put_back(grafted, blend(start, end, alpha))
            found = measured(grafted, task, data)
            if chosen is None or (found is not None and goal.better(found, score)):
                chosen, score = alpha, found
        assert chosen is not None
        put_back(grafted, blend(start, end, chosen))
        return replace(history, score=score, chosen={**history.chosen, "alpha": chosen})
