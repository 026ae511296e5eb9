"""All weights go on learning."""

from __future__ import annotations

import copy

import pytest
import torch
from sklearn.base import clone

from graft import train
from graft.contracts import Backbone, FittedTask, TransferData
from graft.errors import RequestError
from graft.strategies.fine_tune import FineTune

Learnt = tuple[FittedTask, TransferData]


def test_everything_learns_and_the_best_epoch_is_kept(backbone: Backbone, learnt: Learnt) -> None:
    task, data = learnt
    strategy = FineTune(epochs=8, lr=3e-3, head_lr=3e-2, batch_size=16, patience=None)
    module = strategy.build(backbone, task)
    before = copy.deepcopy(module.state_dict())
    history = strategy.fit(module, task, data)
    still = [name for name, tensor in module.state_dict().items() if torch.equal(tensor, before[name])]
    assert all(name.startswith("trunk.1.") and ("running" in name or "tracked" in name) for name in still)
    assert len(still) == 3, "BatchNorm keeps the averages of the source, and nothing else stays"
    assert len(history.epochs) == 8
    assert history.score is not None
    assert history.score in [epoch.metric for epoch in history.epochs]
    last = max(place for place, epoch in enumerate(history.epochs, 1) if epoch.metric == history.score)
    assert history.chosen == {"epochs": last}
    assert history.epochs[-1].loss < history.epochs[0].loss


def test_it_starts_from_the_prior(backbone: Backbone, learnt: Learnt, monkeypatch: pytest.MonkeyPatch) -> None:
    task, data = learnt
    strategy = FineTune()
    module = strategy.build(backbone, task)
    monkeypatch.setattr(train, "fit", lambda *given, **named: train.Outcome((), None))
    assert strategy.fit(module, task, data).score is None
    batch = torch.zeros(2, 5)
    assert torch.allclose(module.eval()(batch), task.prior(data.train.targets).expand(2, -1))


def test_head_and_backbone_have_their_own_rates(backbone: Backbone, classes: Learnt) -> None:
    task, data = classes
    strategy = FineTune(epochs=1, lr=1e-12, head_lr=1e-2, weight_decay=0.0, batch_size=16)
    module = strategy.build(backbone, task)
    before = copy.deepcopy(module)
    strategy.fit(module, task, data)
    moved = {
        name: float((tensor - before.state_dict()[name]).abs().max())
        for name, tensor in module.state_dict().items()
        if name in dict(module.named_parameters())
    }
    assert moved["head.weight"] > 1e-3
    assert max(value for name, value in moved.items() if name.startswith("trunk")) < 1e-6


def test_its_arguments_stay_and_decide(backbone: Backbone, classes: Learnt) -> None:
    task, data = classes
    arguments = {
        "epochs": 2, "lr": 1e-3, "head_lr": 1e-2, "weight_decay": 0.1, "batch_size": 8, "patience": 1,
        "dropout": 0.3, "tuning": {"warmup": 0.5},
    }  # fmt: skip
    strategy = FineTune(**arguments)
    module = strategy.build(backbone, task)
    history = strategy.fit(module, task, data)
    assert strategy.get_params() == clone(strategy).get_params() == arguments
    assert len(history.epochs) <= 2
    broken = FineTune(epochs=0)
    with pytest.raises(RequestError, match="epochs is 0"):
        broken.fit(module, task, data)


def test_dropout_hides_features_from_the_head_while_it_trains(backbone: Backbone, classes: Learnt) -> None:
    task, data = classes
    module = FineTune(dropout=0.5).build(backbone, task)
    torch.manual_seed(0)
    hidden = (module.train().head[0](torch.ones(1, 4000)) == 0).float().mean()  # type: ignore[index,union-attr]
    assert 0.45 < hidden < 0.55
    strategy = FineTune(epochs=1, dropout=0.5, batch_size=16)
    assert strategy.fit(module, task, data).score is not None
    with pytest.raises(RequestError, match=r"dropout is 1.0, expected a share from 0"):
        FineTune(dropout=1.0).build(backbone, task)
