"""Like rows are brought together before a linear model learns from them."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from sklearn.base import clone

from graft.contracts import Backbone, FittedTask, Rows, TransferData
from graft.data.cells import objects
from graft.data.examples import TableExamples
from graft.errors import RequestError
from graft.features import extract
from graft.nn.contrast import likeness
from graft.nn.grafted import Grafted
from graft.strategies.contrastive import Contrastive
from graft.tasks.classification import Classification
from graft.tasks.multilabel import Multilabel
from graft.tasks.regression import Regression
from graft.train import Step, loop

from .conftest import VALUES, _sets

Learnt = tuple[FittedTask, TransferData]


def nearness(backbone: Backbone, data: TransferData) -> float:
    """Mean cosine of rows of one class, less that of the others."""
    features = torch.from_numpy(extract(replace(backbone, fingerprint=None), data.train.examples, machine=data.machine))
    unit = torch.nn.functional.normalize(features - features.mean(0), dim=1)
    alike = likeness(data.train.targets)
    found = (unit @ unit.T * alike).sum() / alike.sum() - (unit @ unit.T * (1 - alike)).sum() / (1 - alike).sum()
    return float(found)


@pytest.mark.parametrize("loss", ["cosine", "supcon"])
def test_rows_of_one_class_come_together(loss, backbone: Backbone, classes: Learnt) -> None:
    task, data = classes
    strategy = Contrastive(loss, passes=20, lr=3e-3, batch_size=16)
    module = strategy.build(backbone, task)
    before = nearness(backbone, data)
    history = strategy.fit(module, task, data)
    assert nearness(backbone, data) > before + 0.2
    assert history.score is not None
    assert history.score > 0.6
    assert history.chosen == {"steps": 48}, "20 · 90 / 16, but for max_steps"
    assert len(history.epochs) == 1
    assert module.training is False


def test_sets_of_labels_come_together_by_what_they_share(backbone: Backbone) -> None:
    task = Multilabel().start(_sets(VALUES))
    data = TransferData(train=Rows(TableExamples(VALUES), task.encode(_sets(VALUES))))
    strategy = Contrastive(lr=3e-3, batch_size=16)
    module = strategy.build(backbone, task)
    before = nearness(backbone, data)
    assert strategy.fit(module, task, data).score is not None
    assert nearness(backbone, data) > before


def test_numbers_have_no_classes(backbone: Backbone) -> None:
    task = Regression().start(np.array([1.0, 2.0, 3.5, 7.0], dtype=object))
    with pytest.raises(RequestError, match=r"needs a task with classes.* numbers"):
        Contrastive().build(backbone, task)


def test_there_must_be_a_network(backbone: Backbone, classes: Learnt) -> None:
    bare = replace(backbone, module=torch.nn.Identity())
    with pytest.raises(RequestError, match="small has no weights"):
        Contrastive().build(bare, classes[0])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"loss": "triplet"}, "loss is 'triplet', expected cosine or supcon"),
        ({"passes": 0}, "passes is 0, expected a number above 0"),
        ({"lr": -1.0}, "lr is -1.0"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"penalty": 0.0}, "penalty is 0.0"),
        ({"max_steps": 0}, "max_steps is 0"),
        ({"batch_size": 3}, "batch_size is 3, expected at least 4"),
        ({"folds": 1}, "folds is 1, expected at least 2, or 0"),
        ({"folds": -1}, "folds is -1"),
    ],
)
def test_values_that_cannot_be_are_refused(changes: dict, says: str, backbone: Backbone, classes: Learnt) -> None:
    with pytest.raises(RequestError, match=says):
        Contrastive(**changes).build(backbone, classes[0])


def test_its_arguments_stay_and_decide(backbone: Backbone, classes: Learnt) -> None:
    task, data = classes
    arguments = {
        "loss": "supcon", "passes": 3.0, "max_steps": 4, "lr": 1e-3, "batch_size": 12, "temperature": 0.5, "folds": 0,
        "penalty": 3.0,
    }  # fmt: skip
    strategy = Contrastive(**arguments)
    history = strategy.fit(strategy.build(backbone, task), task, data)
    assert strategy.get_params() == clone(strategy).get_params() == arguments
    assert history.chosen == {"steps": 4}
    assert history.score is None, "nothing was held out"


def test_the_score_is_that_of_rows_that_the_recipe_did_not_see(backbone: Backbone) -> None:
    """Labels without any relation to the rows are learnt by heart, and the score does not believe it."""
    values = np.random.default_rng(3).normal(size=(60, 5)).astype(np.float32)
    labels = objects(["left", "right"] * 30)
    task = Classification().start(labels)
    data = TransferData(train=Rows(TableExamples(values), task.encode(labels)))
    strategy = Contrastive(lr=1e-2, passes=100, max_steps=500, batch_size=30, penalty=1e-3)
    module = strategy.build(backbone, task)
    history = strategy.fit(module, task, data)
    with torch.no_grad():
        batch = backbone.preprocess.collate(backbone.preprocess.items(list(values)))
        seen = (module(batch).argmax(1) == data.train.targets).float().mean()
        surest = module(batch).softmax(1).max()
    assert history.score is not None
    assert history.score < 0.65 < seen
    assert surest < 0.9, "and neither do the probabilities"


def test_groups_stay_together_and_few_rows_are_not_measured(backbone: Backbone, classes: Learnt) -> None:
    task, data = classes
    strategy = Contrastive(passes=1, batch_size=8)
    grouped = replace(data, groups=np.arange(90) // 45)
    assert strategy.fit(strategy.build(backbone, task), task, grouped).score is None, "two groups make no three folds"
    two = Contrastive(passes=1, batch_size=8, folds=2)
    assert two.fit(two.build(backbone, task), task, grouped).score is not None


def test_a_row_without_weight_is_not_learnt_from(backbone: Backbone, classes: Learnt) -> None:
    task, data = classes
    weights = torch.ones(90)
    weights[::2] = 0
    other = data.train.targets.clone()
    other[::2] = (other[::2] + 1) % 3
    found = []
    for targets in (data.train.targets, other):
        strategy = Contrastive(folds=0, batch_size=90, max_steps=1)
        module = cast("Grafted", strategy.build(copy.deepcopy(backbone), task).eval())
        rows = Rows(data.train.examples, targets, weights)
        objective = strategy._objective(replace(data, train=rows))
        step = Step(module.trunk, torch.from_numpy(VALUES[:90]), torch.arange(90), None, torch.arange(90), 0, 0.0)
        found.append(objective(step).item())
    assert found[0] == pytest.approx(found[1], rel=1e-6)


def test_it_goes_on_after_a_kill_to_the_same_bits(
    backbone: Backbone, classes: Learnt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, data = classes
    strategy = Contrastive(passes=4, lr=1e-3, batch_size=16, folds=2)
    modules = [strategy.build(copy.deepcopy(backbone), task) for _ in range(3)]
    expected = strategy.fit(modules[0], task, data)
    calls = 0

    def die(name: str) -> None:
        nonlocal calls
        calls += 1
        if calls == 20:  # of 47, in the second of the three fits, before it is written down
            raise KeyboardInterrupt

    kept = replace(data, checkpoint=tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "fail_point", die)
        patch.setattr(loop, "_SAVE_EVERY", 0.0)
        with pytest.raises(KeyboardInterrupt):
            strategy.fit(modules[1], task, kept)
    again = 0

    def count(name: str) -> None:
        nonlocal again
        again += 1

    monkeypatch.setattr(loop, "fail_point", count)
    found = strategy.fit(modules[2], task, kept)
    assert again == 47 - 19, "what was done is not done again"
    assert found.score == expected.score
    for ours, theirs in zip(modules[2].state_dict().values(), modules[0].state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)
