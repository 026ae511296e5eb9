"""A linear model on frozen features."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.utils.class_weight import compute_sample_weight

from graft.contracts import Backbone, FittedTask, TransferData
from graft.errors import RequestError
from graft.evaluate.goal import goal_of
from graft.features import Extractor, extract
from graft.linear import fit_linear
from graft.strategies.linear_probe import LinearProbe
from graft.tasks.regression import Regression

Learnt = tuple[FittedTask, TransferData]


def test_the_head_is_the_linear_model_and_the_trunk_stays(backbone: Backbone, learnt: Learnt) -> None:
    task, data = learnt
    strategy = LinearProbe()
    module = strategy.build(backbone, task)
    before = copy.deepcopy(module.trunk.state_dict())
    history = strategy.fit(module, task, data)
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.trunk.state_dict().items())
    assert {name for name, value in module.named_parameters() if value.requires_grad} == {"head.weight", "head.bias"}
    features = extract(backbone, data.train.examples, machine=data.machine)
    keys = data.train.examples.keys()
    expected = fit_linear(
        features, data.train.targets, task.link, n_outputs=task.n_outputs, goal=goal_of(task), keys=keys
    )
    assert torch.equal(module.head.weight, expected.weight)
    assert history.score == expected.score
    assert history.chosen == {"penalty": expected.penalty}
    assert history.epochs == ()
    assert data.valid is not None
    outputs = Extractor(module, backbone.preprocess, data.machine).run(data.valid.examples)
    silent = np.broadcast_to(task.prior(data.train.targets).numpy(), outputs.shape)
    goal, truth = goal_of(task), data.valid.targets.numpy()
    assert goal.better(goal.measure(outputs, truth), goal.measure(silent, truth))


def test_penalties_can_be_given_and_stay_as_they_are(backbone: Backbone, classes: Learnt) -> None:
    task, data = classes
    penalties = [3.0]
    strategy = LinearProbe(penalties)
    history = strategy.fit(strategy.build(backbone, task), task, data)
    assert history.chosen == {"penalty": 3.0}
    assert strategy.get_params()["penalties"] is penalties
    assert clone(strategy).penalties == penalties


def test_building_draws_no_random_number(backbone: Backbone, classes: Learnt) -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    module = LinearProbe().build(backbone, classes[0])
    assert torch.equal(torch.rand(1), expected)
    assert not module.head.weight.any()


def test_stages_beside_the_features(backbone: Backbone, classes: Learnt) -> None:
    task, data = classes
    strategy = LinearProbe(layers=("0",))
    module = strategy.build(backbone, task)
    history = strategy.fit(module, task, data)
    assert module.head.weight.shape == (3, 12 + 8)
    assert module.head.weight[:, :12].any()
    assert history.score is not None


def test_classes_can_weigh_alike(backbone: Backbone, classes: Learnt) -> None:
    task, data = classes
    strategy = LinearProbe(class_weights=True)
    heads = []
    weights = torch.from_numpy(compute_sample_weight("balanced", data.train.targets.numpy())).float()
    given, targets = torch.arange(90) % 3.0, data.train.targets
    held = torch.bincount(targets, given, minlength=task.n_outputs)  # a row counts as much as it weighs
    even = given.sum() / (task.n_outputs * held)
    for probe, counted in (
        (strategy, None),
        (LinearProbe(), weights),
        (strategy, given),
        (LinearProbe(), even[targets].float() * given),
        (LinearProbe(), None),
    ):
        module = probe.build(backbone, task)
        probe.fit(module, task, replace(data, train=replace(data.train, weights=counted)))
        heads.append(module.head.weight.detach().clone())
    torch.testing.assert_close(heads[0], heads[1])
    torch.testing.assert_close(heads[2], heads[3])
    assert not torch.allclose(heads[0], heads[4])
    with pytest.raises(RequestError, match="class_weights are for one class a row, and this task is regression"):
        strategy.build(backbone, Regression().start(np.arange(9.0)))
