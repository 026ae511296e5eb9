"""What the source is sure of, it goes on saying."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from graft.contracts import Backbone, FittedTask, TransferData
from graft.errors import RequestError
from graft.nn.confidence import confidence, divergence_from
from graft.nn.outputs import own_outputs
from graft.strategies.kl_anchor import KLAnchor

Learnt = tuple[FittedTask, TransferData]
QUICK = {"batch_size": 16, "patience": None}


@pytest.fixture
def source(backbone: Backbone) -> Backbone:
    """With four classes of its own."""
    torch.manual_seed(1)
    head = nn.Linear(8, 4)
    with torch.no_grad():
        head.weight *= 6
    return replace(backbone, head=head, card=replace(backbone.card, outputs=4))


def said(backbone: Backbone, trunk: nn.Module, data: TransferData) -> Tensor:
    rows = backbone.preprocess.collate(backbone.preprocess.items([data.train.examples[row] for row in range(90)]))
    with torch.no_grad():
        return backbone.head(copy.deepcopy(trunk).eval()(rows))  # type: ignore[misc]


def fitted(strategy: KLAnchor, source: Backbone, learnt: Learnt) -> nn.Module:
    module = strategy.build(copy.deepcopy(source), learnt[0])
    strategy.fit(module, learnt[0], replace(learnt[1], valid=None))  # the last epoch counts
    return module


def forgotten(strategy: KLAnchor, source: Backbone, learnt: Learnt) -> Tensor:
    """Divergence of each row from what the source said."""
    trunk = fitted(strategy, source, learnt).trunk
    before, now = said(source, source.module, learnt[1]), said(source, trunk, learnt[1])  # type: ignore[arg-type]
    return divergence_from(before, now)


def test_predictions_of_the_source_are_kept(source: Backbone, learnt: Learnt) -> None:
    free, held = (
        forgotten(KLAnchor(weight, entropy=0.0, epochs=6, lr=3e-3, tuning=QUICK), source, learnt)
        for weight in (0.0, 10.0)
    )
    assert held.mean() < 0.3 * free.mean()


def test_rows_that_the_source_is_sure_of_are_kept_best(source: Backbone, classes: Learnt) -> None:
    sure = confidence(said(source, source.module, classes[1]))
    free, held = (
        forgotten(KLAnchor(weight, epochs=6, lr=3e-3, tuning=QUICK), source, classes) for weight in (0.0, 3.0)
    )
    order = sure.argsort()
    kept = held / free.clamp(min=1e-6)
    assert kept[order[-30:]].median() < kept[order[:30]].median()


def test_entropy_keeps_outputs_unsure_where_the_source_is(source: Backbone, classes: Learnt) -> None:
    _, data = classes
    assert source.head is not None
    unsure = replace(source, head=nn.Linear(8, 4))
    nn.init.zeros_(unsure.head.weight)  # type: ignore[union-attr,arg-type]
    rows = source.preprocess.collate(source.preprocess.items([data.train.examples[row] for row in range(90)]))
    level = []
    for entropy in (0.0, 3.0):
        module = fitted(KLAnchor(entropy=entropy, epochs=6, lr=3e-3, tuning=QUICK), unsure, classes)
        level.append(confidence(module.eval()(rows)).mean().item())
    assert level[1] < 0.8 * level[0]


def test_the_source_s_outputs_may_be_a_network_of_their_own(source: Backbone, classes: Learnt) -> None:
    class Said(nn.Module):
        def __init__(self, trunk: nn.Module, head: nn.Module) -> None:
            super().__init__()
            self.trunk, self.head = trunk, head

        def forward(self, batch: Tensor) -> Tensor:
            return self.head(self.trunk(batch))

    def twin() -> Backbone:
        made = copy.deepcopy(source)
        return replace(made, head=None, outputs=Said(made.module, made.head))  # type: ignore[arg-type]

    quiet = [replace(made, module=made.module) for made in (twin(), copy.deepcopy(source))]
    for made in quiet:
        made.module[3].p = 0.0  # type: ignore[index,union-attr]  # a second pass would draw another dropout
    strategy = KLAnchor(epochs=3, lr=1e-3, tuning=QUICK)
    found = []
    for made in quiet:
        module = strategy.build(made, classes[0])
        strategy.fit(module, *classes)
        found.append(module.state_dict())
    for name, tensor in found[0].items():
        torch.testing.assert_close(tensor, found[1][name])
    assert own_outputs(quiet[0]) is not None


def test_it_refuses_what_cannot_be(backbone: Backbone, source: Backbone, classes: Learnt) -> None:
    task = classes[0]
    for bare in (backbone, replace(backbone, head=nn.Linear(8, 1))):
        with pytest.raises(RequestError, match="a source with outputs of its own, and small has no classes"):
            KLAnchor().build(bare, task)
    for wrong in (KLAnchor(weight=-1), KLAnchor(entropy=-1), KLAnchor(temperature=0)):
        with pytest.raises(RequestError, match=r"expected (0 or more|a number above 0)"):
            wrong.build(source, task)
    for mixed in ({"mixup": 0.2}, {"cutmix": 0.2}):
        with pytest.raises(RequestError, match="leave out mixup and cutmix"):
            KLAnchor(tuning=mixed).build(source, task)
