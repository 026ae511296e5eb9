"""A small network on frozen features."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn

from graft import train
from graft.contracts import Backbone, FittedTask, TransferData
from graft.errors import DivergedError, RequestError
from graft.evaluate.goal import goal_of
from graft.features import Extractor, extract
from graft.nn.penalties import weight_penalty
from graft.strategies import mlp_head
from graft.strategies.mlp_head import MLPHead

Learnt = tuple[FittedTask, TransferData]


@pytest.mark.parametrize("hidden", [16, 0])
def test_the_head_learns_and_the_trunk_stays(backbone: Backbone, learnt: Learnt, hidden: int) -> None:
    task, data = learnt
    strategy = MLPHead(hidden=hidden, lr=1e-2, epochs=30, batch_size=16)
    module = strategy.build(backbone, task)
    before = copy.deepcopy(module.trunk.state_dict())
    history = strategy.fit(module, task, data)
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.trunk.state_dict().items())
    assert {name.split(".")[0] for name, value in module.named_parameters() if value.requires_grad} == {"head"}
    assert data.valid is not None
    outputs = Extractor(module, backbone.preprocess, data.machine).run(data.valid.examples)
    goal, truth = goal_of(task), data.valid.targets.numpy()
    silent = np.broadcast_to(task.prior(data.train.targets).numpy(), outputs.shape)
    assert goal.better(goal.measure(outputs, truth), goal.measure(silent, truth))
    assert history.score == pytest.approx(goal.measure(outputs, truth), rel=1e-4), "scales are part of the first layer"
    last = max(place for place, epoch in enumerate(history.epochs, 1) if epoch.metric == history.score)
    assert history.chosen == {"epochs": last}


def test_the_same_seed_gives_the_same_bits(backbone: Backbone, classes: Learnt) -> None:
    task, data = classes
    states = []
    for seed in (0, 0, 1):
        strategy = MLPHead(hidden=8, epochs=2)
        module = strategy.build(backbone, task)
        strategy.fit(module, task, replace(data, seed=seed))
        states.append(module.head.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not all(torch.equal(states[0][name], states[2][name]) for name in states[0])


def test_the_loss_has_the_penalties(backbone: Backbone, classes: Learnt, monkeypatch: pytest.MonkeyPatch) -> None:
    task, data = classes
    seen = {}

    def fit(module: nn.Module, objective: train.Objective, *given: object, **named: object) -> train.Outcome:
        batch, targets = torch.randn(5, 8), torch.tensor([0, 1, 2, 0, 1])
        step = train.Step(module.eval(), batch, targets, None, torch.arange(5), epoch=0, progress=0.0)
        seen["loss"] = objective(step) - task.loss(module(batch), targets)
        seen["penalty"] = weight_penalty(module, 0.2, 0.5)
        return train.Outcome((), None)

    monkeypatch.setattr(mlp_head.train, "fit", fit)
    strategy = MLPHead(hidden=4, l1=0.2, l2=0.5)
    strategy.fit(strategy.build(backbone, task), task, data)
    torch.testing.assert_close(seen["loss"], seen["penalty"])
    assert seen["penalty"] > 0


def test_strong_penalties_keep_the_weights_small(backbone: Backbone, classes: Learnt) -> None:
    task, data = classes
    data = replace(data, valid=None)
    strategy = MLPHead(hidden=8, l1=10.0, lr=1e-2, epochs=20, patience=None)
    module = strategy.build(backbone, task)
    strategy.fit(module, task, data)
    free = MLPHead(hidden=8, lr=1e-2, epochs=20, patience=None)
    other = free.build(backbone, task)
    free.fit(other, task, data)
    assert weight_penalty(module.head, 1.0, 0.0) < 0.2 * weight_penalty(other.head, 1.0, 0.0)


def test_features_are_read_once_and_a_still_one_is_never_looked_at(
    backbone: Backbone, classes: Learnt, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, data = classes
    calls = []

    def counted(*given: object, **named: object) -> np.ndarray:
        calls.append(1)
        found = extract(*given, **named)  # type: ignore[arg-type]
        found[:, 2] = 7.0
        return found

    monkeypatch.setattr(mlp_head, "extract", counted)
    strategy = MLPHead(hidden=8, epochs=2)
    module = strategy.build(backbone, task)
    strategy.fit(module, task, data)
    assert len(calls) == 2, "training and validation rows, once each"
    first = next(part for part in module.head if isinstance(part, nn.Linear))
    assert not first.weight[:, 2].any()
    monkeypatch.setattr(mlp_head, "extract", lambda *given, **named: np.full((90, 8), np.nan, np.float32))
    with pytest.raises(DivergedError, match="not finite"):
        strategy.fit(module, task, data)


def test_its_arguments_stay_and_wrong_ones_are_refused(backbone: Backbone, classes: Learnt) -> None:
    task, data = classes
    arguments = {
        "hidden": 4, "dropout": 0.2, "l1": 0.1, "l2": 0.2, "lr": 1e-2, "epochs": 2, "patience": 1, "batch_size": 8,
        "layers": None,
    }  # fmt: skip
    strategy = MLPHead(**arguments)  # type: ignore[arg-type]
    strategy.fit(strategy.build(backbone, task), task, data)
    assert strategy.get_params() == clone(strategy).get_params() == {**arguments, "layers": None}
    for wrong, message in (
        ({"hidden": -1}, "hidden is -1"),
        ({"l2": -1.0}, "l2 is -1"),
        ({"dropout": 1.0}, "dropout is 1"),
    ):
        with pytest.raises(RequestError, match=message):
            MLPHead(**wrong).build(backbone, task)  # type: ignore[arg-type]


def test_building_draws_no_random_number(backbone: Backbone, classes: Learnt) -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    MLPHead().build(backbone, classes[0])
    assert torch.equal(torch.rand(1), expected)


def test_stages_beside_the_features(backbone: Backbone, classes: Learnt) -> None:
    task, data = classes
    strategy = MLPHead(hidden=4, epochs=2, layers=("0",))
    module = strategy.build(backbone, task)
    assert next(part for part in module.head if isinstance(part, nn.Linear)).in_features == 12 + 8
    assert strategy.fit(module, task, data).score is not None
