"""Support vector machines on frozen features."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.svm import SVC, SVR, LinearSVC, LinearSVR

from graft.contracts import Backbone, FittedTask, TransferData
from graft.errors import RequestError
from graft.evaluate.goal import goal_of
from graft.features import Extractor, extract
from graft.linear.scaling import scaled
from graft.progress import Advance, Silent
from graft.strategies import svm
from graft.strategies.svm import SVM

Learnt = tuple[FittedTask, TransferData]

NEAR = 3e-3
"""libsvm stops within 1e-3 of its optimum, and comes there another way with a kernel that is given."""


def fitted(
    strategy: SVM, backbone: Backbone, learnt: Learnt, weights: torch.Tensor | None = None
) -> tuple[torch.nn.Module, np.ndarray, torch.Tensor]:
    """The model, its rows as they are learnt from, and its own outputs on them."""
    task, data = learnt
    data = replace(data, train=replace(data.train, weights=weights))
    module = strategy.build(backbone, task)
    strategy.fit(module, task, data)
    features = extract(module.backbone, data.train.examples, machine=data.machine)
    rows = scaled(features)[0]
    assert torch.allclose(module.head.scaling(torch.from_numpy(features)), rows, atol=1e-6)
    return module, rows.double().numpy(), module.head.decision(torch.from_numpy(features))


def test_classes_are_decided_as_scikit_learn_does(backbone: Backbone, classes: Learnt) -> None:
    targets = classes[1].train.targets.numpy()
    _, rows, found = fitted(SVM("rbf", C=10.0, gamma=0.5), backbone, classes)
    for place in range(3):
        other = SVC(C=10.0, gamma=0.5).fit(rows, targets == place)
        assert np.allclose(found[:, place], other.decision_function(rows), atol=NEAR)
    _, rows, found = fitted(SVM("linear", C=10.0), backbone, classes)
    for place in range(3):
        other = SVC(C=10.0, kernel="linear").fit(rows, targets == place)
        assert np.allclose(found[:, place], other.decision_function(rows), atol=NEAR)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_many_rows_are_decided_as_scikit_learn_does(
    backbone: Backbone, learnt: Learnt, kernel: svm.Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(svm, "_AT_ONCE", 0)
    task, data = learnt
    _, rows, found = fitted(SVM(kernel, C=10.0, gamma=0.5), backbone, learnt)
    wanted = data.train.targets.numpy()
    wanted = wanted == 1 if task.link == "softmax" else wanted[:, 0]
    place = 1 if task.link == "softmax" else 0
    given = {"C": 10.0, "random_state": 0, "max_iter": 5000, "dual": "auto"}
    if task.link == "identity":
        other = (
            SVR(C=10.0, gamma=0.5)
            if kernel == "rbf"
            else LinearSVR(**given, epsilon=0.1, loss="squared_epsilon_insensitive")
        )
        expected = other.fit(rows, wanted).predict(rows)
    else:
        other = SVC(C=10.0, gamma=0.5) if kernel == "rbf" else LinearSVC(**given)
        expected = other.fit(rows, wanted).decision_function(rows)
    assert np.allclose(found[:, place], expected, atol=1e-4)


def test_numbers_are_those_of_scikit_learn(backbone: Backbone, learnt: Learnt) -> None:
    task, data = learnt
    if task.link != "identity":
        pytest.skip("about numbers")
    module, rows, found = fitted(SVM("rbf", C=10.0, gamma=0.5, epsilon=0.05), backbone, learnt)
    other = SVR(C=10.0, gamma=0.5, epsilon=0.05).fit(rows, data.train.targets[:, 0].numpy())
    assert np.allclose(found[:, 0], other.predict(rows), atol=NEAR)
    assert torch.equal(module.head.scale, torch.ones(1))


def test_weights_count_as_they_do_in_scikit_learn(backbone: Backbone, classes: Learnt) -> None:
    weights = torch.linspace(0.1, 2, 90)
    _, rows, found = fitted(SVM("rbf", C=10.0, gamma=0.5), backbone, classes, weights)
    weights = weights / weights.mean()  # only their ratios matter
    other = SVC(C=10.0, gamma=0.5).fit(rows, classes[1].train.targets.numpy() == 1, weights.numpy())
    assert np.allclose(found[:, 1], other.decision_function(rows), atol=NEAR)


@pytest.mark.parametrize("kernel", ["auto", "linear", "rbf"])
def test_every_kind_of_task_beats_silence(backbone: Backbone, learnt: Learnt, kernel: svm.Kernel) -> None:
    task, data = learnt
    strategy = SVM(kernel)
    module = strategy.build(backbone, task)
    history = strategy.fit(module, task, data)
    assert history.score is not None
    assert kernel in ("auto", history.chosen["kernel"])
    assert ("gamma" in history.chosen) == (history.chosen["kernel"] == "rbf")
    assert data.valid is not None
    outputs = Extractor(module, backbone.preprocess, data.machine).run(data.valid.examples)
    silent = np.broadcast_to(task.prior(data.train.targets).numpy(), outputs.shape)
    goal, truth = goal_of(task), data.valid.targets.numpy()
    assert goal.better(goal.measure(outputs, truth), goal.measure(silent, truth))
    if task.link != "identity":
        measured, flat = (dict(task.metrics(each, truth))["log_loss"] for each in (outputs, silent))
        assert measured < flat + 0.05


def test_two_classes_are_told_by_one_machine(backbone: Backbone, classes: Learnt) -> None:
    from graft.tasks.classification import Classification

    data = classes[1]
    two = Classification().start(np.array(["a", "b"], dtype=object))
    train = replace(data.train, targets=(data.train.targets == 1).long())
    _, _, found = fitted(SVM("rbf", C=1.0, gamma=1.0), backbone, (two, replace(data, train=train)))
    assert torch.allclose(found[:, 0], -found[:, 1], atol=1e-6)


def test_few_rows_take_what_is_usual(backbone: Backbone, classes: Learnt) -> None:
    task, data = classes
    few = replace(data.train, examples=data.train.examples.take(np.arange(6)), targets=data.train.targets[:6])
    for strategy, expected in (
        (SVM(), {"kernel": "linear", "C": 1.0}),
        (SVM("rbf", gamma=3.0), {"kernel": "rbf", "C": 1.0, "gamma": 3.0}),
    ):
        module = strategy.build(backbone, task)
        history = strategy.fit(module, task, replace(data, train=few))
        assert (history.score, history.chosen) == (None, expected)


def test_a_class_that_no_row_has_is_never_told(backbone: Backbone, classes: Learnt) -> None:
    task, data = classes
    kept = np.flatnonzero(data.train.targets.numpy() != 0)
    train = replace(data.train, examples=data.train.examples.take(kept), targets=data.train.targets[kept])
    module = SVM("linear").build(backbone, task)
    SVM("linear").fit(module, task, replace(data, train=train))
    outputs = Extractor(module, backbone.preprocess, data.machine).run(train.examples)
    assert 0 not in outputs.argmax(1)


def test_many_rows_are_for_the_linear_kernel(
    backbone: Backbone, classes: Learnt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(svm, "_MANY", 90)
    task, data = classes
    module = SVM().build(backbone, task)
    assert SVM().fit(module, task, data).chosen["kernel"] == "linear"


@pytest.mark.parametrize(
    ("strategy", "sentence"),
    [
        (SVM(kernel="poly"), "kernel is 'poly', expected one of auto, linear, rbf"),  # type: ignore[arg-type]
        (SVM(C=0), "C is 0, expected a number above 0"),
        (SVM(gamma=-1), "gamma is -1, expected a number above 0"),
        (SVM(epsilon=-0.1), "epsilon is -0.1, expected 0 or more"),
    ],
)
def test_options_that_are_none(backbone: Backbone, classes: Learnt, strategy: SVM, sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence):
        strategy.build(backbone, classes[0])


def test_stages_beside_the_features(backbone: Backbone, classes: Learnt) -> None:
    task, data = classes
    strategy = SVM("linear", layers=1)
    module = strategy.build(backbone, task)
    assert module.backbone.dim > backbone.dim
    assert strategy.fit(module, task, data).score > 0.6


@pytest.mark.parametrize("at_once", [0, 3000])
def test_a_fit_may_end_between_two_machines(
    backbone: Backbone, classes: Learnt, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class EndedError(Exception):
        pass

    counts: list[int] = []

    class Short(Silent):
        @contextlib.contextmanager
        def step(self, label: str, total: int) -> Iterator[Advance]:
            def advance(done: int = 1, /) -> None:
                if label == "fit":
                    counts.append(done)
                    if len(counts) == 3:
                        raise EndedError

            yield advance

    monkeypatch.setattr(svm, "_AT_ONCE", at_once)
    task, data = classes
    strategy = SVM("linear")
    with pytest.raises(EndedError):
        strategy.fit(strategy.build(backbone, task), task, replace(data, progress=Short()))
    assert counts == [0, 0, 0], "before the first setting was through"
