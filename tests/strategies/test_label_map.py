"""The source's own classes, read as those of the task."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from graft.contracts import Backbone, FittedTask, TransferData
from graft.errors import RequestError
from graft.evaluate.goal import goal_of
from graft.features import Extractor, extract
from graft.nn.outputs import own_outputs
from graft.strategies.label_map import LabelMap
from graft.tasks.regression import Regression

Learnt = tuple[FittedTask, TransferData]


@pytest.fixture
def speaking(backbone: Backbone) -> Backbone:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return replace(backbone, head=nn.Linear(8, 6))


def said(speaking: Backbone, data: TransferData) -> np.ndarray:
    own = own_outputs(speaking)
    assert own is not None
    given = extract(own, data.train.examples, machine=data.machine)
    return torch.from_numpy(given).double().softmax(1).numpy()


def test_expected_is_leeps_predictor_for_every_kind_of_task(speaking: Backbone, learnt: Learnt) -> None:
    task, data = learnt
    module = LabelMap().build(speaking, task)
    history = LabelMap().fit(module, task, data)
    shares, targets = said(speaking, data), data.train.targets
    wanted = np.eye(3)[targets] if task.link == "softmax" else targets.double().numpy()
    means = np.zeros((90, task.n_outputs))
    for row in range(90):
        for z in range(6):
            seen = sum(shares[i, z] * wanted[i] for i in range(90)) / shares[:, z].sum()
            means[row] += shares[row, z] * seen
    outputs = Extractor(module, speaking.preprocess, data.machine).run(data.train.examples)
    sure = float(history.chosen["temperature"])
    back = {"softmax": np.log, "sigmoid": lambda p: np.log(p / (1 - p)), "identity": lambda p: p}[task.link]
    assert np.allclose(outputs, sure * back(means), atol=1e-3)
    assert history.score is not None
    silent = np.broadcast_to(task.prior(targets).numpy(), outputs.shape)
    goal = goal_of(task)
    assert goal.better(history.score, goal.measure(silent, targets.numpy()) - 0.05)


def test_frequency_gives_each_class_one_of_the_sources(speaking: Backbone, classes: Learnt) -> None:
    task, data = classes
    module = LabelMap("frequency").build(speaking, task)
    history = LabelMap("frequency").fit(module, task, data)
    shares = said(speaking, data)
    chosen = module.head.chosen
    assert len(set(chosen.tolist())) == 3
    outputs = Extractor(module, speaking.preprocess, data.machine).run(data.train.examples)
    assert np.array_equal(outputs.argmax(1), shares[:, chosen.numpy()].argmax(1))
    assert history.score is not None
    few = replace(data.train, examples=data.train.examples.take(np.arange(6)), targets=data.train.targets[:6])
    assert LabelMap("frequency").fit(module, task, replace(data, train=few)).score is None


@pytest.mark.parametrize("how", ["expected", "frequency"])
def test_weights_count(speaking: Backbone, classes: Learnt, how: str) -> None:
    task, data = classes
    nothing = (data.train.targets != 0).float()
    module = LabelMap(how).build(speaking, task)  # type: ignore[arg-type]
    LabelMap(how).fit(module, task, replace(data, train=replace(data.train, weights=nothing)))  # type: ignore[arg-type]
    outputs = Extractor(module, speaking.preprocess, data.machine).run(data.train.examples)
    if how == "expected":
        assert 0 not in outputs.argmax(1)
    else:
        assert np.isfinite(outputs).all()


def test_frequency_does_not_guess_a_class_for_one_without_rows(speaking: Backbone, classes: Learnt) -> None:
    task, data = classes
    module = LabelMap("frequency").build(speaking, task)
    counting = replace(data.train, weights=(data.train.targets != 1).float())
    history = LabelMap("frequency").fit(module, task, replace(data, train=counting))
    assert history.chosen["classes_without_rows"] == 1
    outputs = Extractor(module, speaking.preprocess, data.machine).run(data.train.examples)
    assert np.isfinite(outputs).all()
    assert 1 not in outputs.argmax(1)
    assert task.probabilities(outputs)[:, 1].max() < 0.02  # type: ignore[index]


def test_rows_of_one_group_alone_have_no_score(speaking: Backbone, classes: Learnt) -> None:
    task, data = classes
    module = LabelMap().build(speaking, task)
    alone = replace(data, groups=np.array(["g"] * 90, dtype=object))
    assert LabelMap().fit(module, task, alone).score is None


def test_a_source_without_outputs(backbone: Backbone, classes: Learnt) -> None:
    with pytest.raises(RequestError, match="label_map needs a source with outputs of its own, and small gives"):
        LabelMap().build(backbone, classes[0])


def test_frequency_needs_as_many_classes_as_the_task_has(backbone: Backbone, classes: Learnt) -> None:
    task = classes[0]
    with pytest.raises(RequestError, match=r"how=frequency gives .* source's 2 classes .* has 3; use how=expected"):
        LabelMap("frequency").build(replace(backbone, head=nn.Linear(8, 2)), task)
    numbers = Regression().start(np.array([1.0, 2.0, 3.0], dtype=object))
    with pytest.raises(RequestError, match="has no one class a row; use how=expected"):
        LabelMap("frequency").build(replace(backbone, head=nn.Linear(8, 2)), numbers)


def test_options_that_are_none(speaking: Backbone, classes: Learnt) -> None:
    with pytest.raises(RequestError, match="how is 'greedy', expected expected or frequency"):
        LabelMap("greedy").build(speaking, classes[0])  # type: ignore[arg-type]
