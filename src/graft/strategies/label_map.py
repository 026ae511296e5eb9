"""The source's own classes, read as those of the task."""

from __future__ import annotations

from typing import ClassVar, cast, get_args

import torch
from torch import Tensor, nn

from graft.contracts import Array, Backbone, FittedTask, History, Start, Strategy, TransferData
from graft.errors import RequestError
from graft.features import extract
from graft.limits import among, check
from graft.linear.folds import folds_of, units
from graft.linear.scaling import check_finite
from graft.linear.speech import speech_of
from graft.nn.freeze import freeze
from graft.nn.grafted import Grafted
from graft.nn.label_mapping import How, LabelMapping, expected_table, left_out, linked, one_to_one, picked
from graft.nn.outputs import chances, own_outputs
from graft.nn.prototypes import membership
from graft.nn.weighing import even_weights

__all__ = ["LabelMap"]


class LabelMap(Strategy):
    """The source's own classes mapped to those of the task by what occurs together; no weight is trained.

    ``expected`` says for each source class how often the rows that it is likely for have each label,
    and averages that over the source's probabilities of a row: LEEP's expected empirical predictor,
    and for numbers the expected value.  ``frequency`` gives each class one class of the source, but none
    to a class without a training row, which is then never predicted.  How surely it speaks is set on
    training rows left out.

    Parameters
    ----------
    how
        ``expected`` or ``frequency``.

    References
    ----------
    Nguyen, Hassner, Seeger and Archambeau, LEEP: a new measure to evaluate transferability of learned
    representations, ICML 2020.
    Chen, Yao, Chen, Zhang and Liu, Understanding and improving visual prompting: a label-mapping
    perspective, CVPR 2023.
    """

    family: ClassVar[str] = "model"
    starts_from: ClassVar[Start] = "pretrained"
    uses_validation: ClassVar[bool] = False
    needs: ClassVar[str] = "a source with outputs of its own"

    def __init__(self, how: How = "expected") -> None:
        self.how = how

    def build(self, backbone: Backbone, task: FittedTask) -> nn.Module:
        check(self, {"how": among(get_args(How))})
        own = own_outputs(backbone)
        if own is None:
            raise RequestError(
                f"label_map needs {self.needs}, and {backbone.card.name} gives features alone; "
                "choose a source with a classifier, or another strategy, such as prototypes."
            )
        if self.how == "frequency" and (task.link != "softmax" or max(own.dim, 2) < task.n_outputs):
            raise RequestError(
                f"how=frequency gives each class one of the source's {own.dim} classes for its own, and the task "
                f"has {task.n_outputs if task.link == 'softmax' else 'no one class a row'}; use how=expected."
            )
        module = Grafted(own, LabelMapping(own.dim, task.n_outputs, task.link, self.how))
        freeze(module.trunk)
        return module.eval()

    def fit(self, module: nn.Module, task: FittedTask, data: TransferData) -> History:
        grafted = cast("Grafted", module)
        head, rows = cast("LabelMapping", grafted.head), data.train
        outputs = extract(
            grafted.backbone, rows.examples, machine=data.machine, cache=data.cache, progress=data.progress
        )
        shares = chances(torch.from_numpy(check_finite(outputs)))
        counts = even_weights(rows.weights)
        said = shares if counts is None else shares * counts[:, None]
        wanted = membership(rows.targets, task.n_outputs)
        if self.how == "expected":
            unit = units(data.groups, rows.examples.keys())
            held = torch.ones(len(rows), dtype=torch.bool) if unit.max(initial=0) else torch.zeros(len(rows)).bool()
            apart = linked(left_out(said, wanted, shares, unit), task.link)
            head.table.copy_(expected_table(said, wanted))
        else:
            folds = folds_of(rows.targets, task.link, data.groups, rows.examples.keys(), data.seed, False)
            held = torch.zeros(len(rows)).bool() if folds is None else torch.from_numpy(folds >= 0)
            apart = _by_folds(said, wanted, shares, folds)
            head.chosen.copy_(one_to_one(said, wanted))
        score, sure = None, 1.0
        if held.any():
            speech = speech_of(apart[held], rows.targets[held], task, None if counts is None else counts[held])
            score, sure = speech.score, speech.sure
        head.sure.fill_(sure)
        lacking = 0 if self.how == "expected" else int((head.chosen < 0).sum())
        told = {"classes_without_rows": lacking} if lacking else {}
        return History(score=score, chosen={"temperature": sure, **told})


def _by_folds(said: Tensor, wanted: Tensor, shares: Tensor, folds: Array | None) -> Tensor:
    """Outputs of each row by the mapping of the rows in other folds."""
    outputs = torch.zeros_like(wanted)
    for fold in range(0 if folds is None else int(folds.max()) + 1):
        here = torch.from_numpy(folds == fold)
        chosen = one_to_one(said[~here], wanted[~here])
        outputs[here] = linked(picked(shares[here], chosen), "softmax").double()
    return outputs
