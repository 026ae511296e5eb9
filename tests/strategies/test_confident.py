"""Rows whose label is likely wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from graft import registry
from graft.contracts import Backbone, Card, FittedTask, Rows, TransferData
from graft.data.examples import TableExamples
from graft.data.preprocess.columns import ColumnPreprocess
from graft.errors import RequestError, UnknownNameError
from graft.nn.grafted import Grafted
from graft.strategies.confident import Confident, _spared
from graft.strategies.linear_probe import LinearProbe
from graft.tasks.classification import Classification
from graft.tasks.regression import Regression

Learnt = tuple[FittedTask, TransferData]


TRUTH = np.arange(120) % 3
CLOUDS = (np.random.default_rng(0).normal(size=(120, 5)) + 2.5 * np.eye(3, 5)[TRUTH]).astype(np.float32)


@pytest.fixture
def backbone() -> Backbone:
    """Features that tell three classes."""
    return Backbone(nn.Identity(), 5, ColumnPreprocess.learn(CLOUDS), (), Card("clouds", "table"))


@pytest.fixture
def classes() -> Learnt:
    task = Classification().start(TRUTH)
    targets, examples = task.encode(TRUTH), TableExamples(CLOUDS)
    train, valid = np.arange(90), np.arange(90, 120)
    return task, TransferData(Rows(examples.take(train), targets[:90]), Rows(examples.take(valid), targets[90:]))


@pytest.fixture
def told_wrong(classes: Learnt) -> tuple[FittedTask, TransferData, torch.Tensor]:
    """A quarter of the training labels moved on by one class; and which."""
    task, data = classes
    wrong = torch.arange(len(data.train)) % 4 == 0
    targets = torch.where(wrong, (data.train.targets + 1) % 3, data.train.targets)
    return task, replace(data, train=replace(data.train, targets=targets)), wrong


class _Watched(LinearProbe):
    seen: list[torch.Tensor | None] = []  # noqa: RUF012

    def fit(self, module: Any, task: FittedTask, data: TransferData) -> Any:
        self.seen.append(data.train.weights)
        return super().fit(module, task, data)


def weights_of(strategy: Confident, backbone: Backbone, task: FittedTask, data: TransferData) -> torch.Tensor:
    _Watched.seen.clear()
    strategy.fit(strategy.build(backbone, task), task, data)
    found = _Watched.seen[0]
    assert found is not None
    return found


def test_rows_with_a_wrong_label_count_nothing(
    backbone: Backbone, told_wrong: tuple[FittedTask, TransferData, torch.Tensor]
) -> None:
    task, data, wrong = told_wrong
    weights = weights_of(Confident(_Watched()), backbone, task, data)
    assert set(weights.tolist()) == {0.0, 1.0}
    aside = weights == 0
    assert (aside & wrong).sum() / wrong.sum() > 0.5
    assert (aside & wrong).sum() / aside.sum() > 0.6
    graded = weights_of(Confident(_Watched(), how="weight"), backbone, task, data)
    assert graded[wrong].mean() < 0.6 * graded[~wrong].mean()
    assert ((graded > 0) & (graded < 1)).all()


def test_it_tells_what_it_set_aside_and_learns_better(
    backbone: Backbone, told_wrong: tuple[FittedTask, TransferData, torch.Tensor]
) -> None:
    task, data, _ = told_wrong
    assert data.valid is not None
    batch = backbone.preprocess.collate(
        backbone.preprocess.items([data.valid.examples[row] for row in range(len(data.valid))])
    )
    losses = []
    for strategy in (LinearProbe(), Confident()):
        module = strategy.build(backbone, task)
        history = strategy.fit(module, task, data)
        losses.append(float(task.loss(module.eval()(batch).detach(), data.valid.targets)))
    assert history.chosen["set_aside"] > 5
    assert 0.1 < float(history.chosen["noise"]) < 0.5
    assert "penalty" in history.chosen
    assert losses[1] < losses[0]


def test_weights_that_are_given_are_kept(
    backbone: Backbone, told_wrong: tuple[FittedTask, TransferData, torch.Tensor]
) -> None:
    task, data, _ = told_wrong
    plain = weights_of(Confident(_Watched()), backbone, task, data)
    doubled = replace(data, train=replace(data.train, weights=torch.full((90,), 2.0)))
    assert torch.equal(weights_of(Confident(_Watched()), backbone, task, doubled), 2 * plain)


def test_divided_labels_go_by_their_likeliest_class(
    backbone: Backbone, told_wrong: tuple[FittedTask, TransferData, torch.Tensor]
) -> None:
    task, data, wrong = told_wrong
    soft = 0.8 * torch.nn.functional.one_hot(data.train.targets, 3) + 0.2 / 3
    weights = weights_of(Confident(_Watched()), backbone, task, replace(data, train=replace(data.train, targets=soft)))
    assert ((weights == 0) & wrong).sum() / wrong.sum() > 0.5


def test_too_few_rows_are_all_trusted(backbone: Backbone, classes: Learnt) -> None:
    task, data = classes
    few = replace(data.train, examples=data.train.examples.take(np.arange(6)), targets=data.train.targets[:6])
    strategy = Confident()
    history = strategy.fit(strategy.build(backbone, task), task, replace(data, train=few))
    assert history.chosen["set_aside"] == 0


def test_a_class_is_never_emptied() -> None:
    wrong, labels = np.array([True, True, True, False]), np.array([0, 0, 1, 1])
    assert _spared(wrong, labels, np.array([0.1, 0.3, 0.2, 0.9])).tolist() == [True, False, True, False]
    assert wrong.all() == wrong[3]


def test_what_follows_decides_what_is_needed(backbone: Backbone, classes: Learnt) -> None:
    assert not Confident().uses_validation
    assert Confident("fine_tune").uses_validation
    built = registry.build("strategies", "confident?then=mlp_head&options.epochs=2&how=weight")
    assert built.uses_validation
    task, data = classes
    module = built.build(backbone, task)
    assert isinstance(module, Grafted)
    history = built.fit(module, task, data)
    assert len(history.epochs) <= 2
    assert "set_aside" in history.chosen


def test_what_it_cannot_do_is_refused(backbone: Backbone, classes: Learnt) -> None:
    task, _ = classes
    with pytest.raises(RequestError, match="how is 'half'"):
        Confident(how="half").build(backbone, task)  # type: ignore[arg-type]
    numbers = Regression().start(np.arange(9.0))
    with pytest.raises(RequestError, match="needs one class a row, and this task is regression"):
        Confident().build(backbone, numbers)
    with pytest.raises(RequestError, match="give them to the object itself"):
        Confident(LinearProbe(), {"penalties": [1.0]}).build(backbone, task)
    with pytest.raises(RequestError, match="scratch starts from nothing"):
        Confident("scratch").build(backbone, task)
    with pytest.raises(UnknownNameError):
        Confident("linear_prob").build(backbone, task)
