"""How good a model is on the validation rows as it stands."""

from __future__ import annotations

from dataclasses import replace

from graft.contracts import FittedTask, TransferData
from graft.evaluate.goal import goal_of
from graft.features import Extractor
from graft.nn.grafted import Grafted

__all__ = ["measured"]


def measured(grafted: Grafted, task: FittedTask, data: TransferData) -> float | None:
    """The task's metric on the validation rows, just as training measures it; ``None`` where there are none."""
    if data.valid is None or not len(data.valid):
        return None
    machine = replace(data.machine, precision="float32")
    outputs = Extractor(grafted, grafted.backbone.preprocess, machine).run(data.valid.examples)
    return goal_of(task).measure(outputs, data.valid.targets.numpy())
