from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.base import clone
from torch.nn.functional import cross_entropy

from graft.contracts import Soft
from graft.data.cells import objects
from graft.errors import DataError, RequestError, UnknownNameError
from graft.tasks.classification import Classification

WORDS = np.array(["dog", "cat", "dog", "emu"])


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (WORDS, ("cat", "dog", "emu")),
        (objects(["b", "a"]), ("a", "b")),
        (np.array([10, 9, 10]), (9, 10)),
        (objects([np.int64(3), 1]), (1, 3)),
        (np.array([True, False]), (False, True)),
        (np.array([1.5, 0.5]), (0.5, 1.5)),
    ],
)
def test_classes_keep_the_users_words_and_types(labels: Any, classes: tuple[Any, ...]) -> None:
    task = Classification().start(labels)
    assert task.classes == classes
    assert [type(each) for each in task.classes] == [type(each) for each in classes]
    again = Classification().restore(json.loads(json.dumps(task.state())))
    assert again == task
    assert [type(each) for each in again.classes] == [type(each) for each in classes]
    targets = task.encode(labels)
    assert targets.dtype == torch.int64
    decoded = task.decode(np.eye(len(classes))[targets])
    assert decoded.tolist() == labels.tolist()
    assert type(decoded.tolist()[0]) is type(classes[0])


def test_the_constructor_stores_and_clones() -> None:
    task = Classification("ece", ("b", "a"), 0.1)
    assert clone(task).get_params() == {"metric": "ece", "classes": ("b", "a"), "label_smoothing": 0.1}


def test_given_classes_keep_their_order_and_may_be_absent() -> None:
    task = Classification(classes=("dog", "cat", "emu", "fox")).start(WORDS)
    assert task.classes == ("dog", "cat", "emu", "fox")
    assert task.encode(WORDS).tolist() == [0, 1, 0, 2]
    assert torch.isfinite(task.prior(task.encode(WORDS))).all()


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (np.array(["a", "a"]), "every label is 'a'"),
        (objects([]), "there is no label"),
        (objects(["a", 1]), r"several types: 'a' \(str\), 1 \(int\)"),
        (objects([("a",), ("b",)]), "of type tuple"),
        (np.array([0.0, np.nan]), "NaN"),
        (np.arange(30) / 7, "use the task regression"),
        (np.zeros((3, 2)), r"shape \(3, 2\)"),
    ],
)
def test_labels_that_cannot_be_classes_are_refused(labels: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        Classification().start(labels)


def test_options_that_cannot_be_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean accuracy"):
        Classification(metric="acuracy").start(WORDS)
    with pytest.raises(RequestError, match="label_smoothing is 1"):
        Classification(label_smoothing=1.0).start(WORDS)
    with pytest.raises(RequestError, match="names one twice"):
        Classification(classes=("a", "a")).start(WORDS)


def test_an_unknown_label_is_named_with_the_nearest() -> None:
    task = Classification().start(WORDS)
    with pytest.raises(DataError, match=r"'dogg' \(1 row; did you mean 'dog'\?\)"):
        task.encode(np.array(["cat", "dogg"]))
    with pytest.raises(DataError, match="not known"):
        task.encode(objects([["cat"]]))


def test_labels_that_a_file_writes_in_another_type_are_known_by_their_spelling() -> None:
    task = Classification().start(objects(["0", "1", "unknown", "1"]))
    assert task.encode(objects([1, 0, "unknown"])).tolist() == [1, 0, 2]
    assert Classification().start(np.array([1, 2])).encode(np.array(["2", "1"])).tolist() == [1, 0]
    with pytest.raises(DataError, match=r"not known: 7 \(1 row\)"):
        task.encode(objects([1, 7]))
    ambiguous = Classification(classes=("1", 1, "2")).start(objects(["1"]))
    with pytest.raises(DataError, match="not known: 2"):
        ambiguous.encode(objects([2]))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_is_cross_entropy_and_the_prior_its_best_constant(smoothing: float) -> None:
    task = Classification(label_smoothing=smoothing).start(WORDS)
    targets = task.encode(WORDS)
    outputs = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.equal(task.loss(outputs, targets), cross_entropy(outputs, targets, label_smoothing=smoothing))
    constant = task.prior(targets).requires_grad_()
    task.loss(constant.expand(4, -1), targets).backward()
    assert constant.grad is not None
    torch.testing.assert_close(constant.grad, torch.zeros(3), atol=1e-6, rtol=0)


def test_probabilities_and_metrics() -> None:
    task = Classification(metric="log_loss").start(WORDS)
    outputs = np.array([[0, 3, 0], [2, 0, 0], [0, 0, 1], [0, 0, 4]], dtype=np.float32)
    probabilities = task.probabilities(outputs)
    assert probabilities is not None
    np.testing.assert_allclose(probabilities, softmax(outputs.astype(float), axis=1))
    found = dict(task.metrics(outputs, task.encode(WORDS).numpy()))
    assert next(iter(found)) == "log_loss"
    assert set(found) == {"accuracy", "balanced_accuracy", "macro_f1", "log_loss", "auroc", "ece"}
    assert found["accuracy"] == 0.75
    many = dict(task.metrics(outputs, task.encode(WORDS).numpy(), np.array([[1, 1, 1, 1], [0, 0, 1, 0]])))
    assert many["accuracy"].tolist() == [0.75, 0.0]
    assert all(values.shape == (2,) for values in many.values())
    assert (task.kind, task.link, task.n_outputs) == ("classification", "softmax", 3)
    assert Classification.estimator_type == "classifier"


SOFT = objects([Soft((("cat", 0.7), ("dog", 0.3))), Soft((("emu", 1.0),)), "dog", Soft((("cat", 0.5), ("dog", 0.5)))])
SHARES = [[0.7, 0.3, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.5, 0.5, 0.0]]


def test_divided_labels_are_probabilities() -> None:
    assert "divided among 3 classes" in str(Classification.claims(SOFT))
    task = Classification().start(SOFT)
    assert task.classes == ("cat", "dog", "emu")
    targets = task.encode(SOFT)
    assert targets.dtype == torch.float32
    assert torch.equal(targets, torch.tensor(SHARES))
    assert task.encode(SOFT[2:3]).tolist() == [1], "whole labels stay places"
    with pytest.raises(DataError, match="'cow'"):
        task.encode(objects([Soft((("cow", 1.0),))]))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_of_divided_labels_the_loss_is_cross_entropy_and_the_prior_its_best_constant(smoothing: float) -> None:
    task = Classification(label_smoothing=smoothing).start(SOFT)
    targets = task.encode(SOFT)
    outputs = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(task.loss(outputs, targets), cross_entropy(outputs, targets, label_smoothing=smoothing))
    weights = torch.tensor([1.0, 2.0, 0.0, 0.5])
    for counted in (None, weights):
        prior = task.prior(targets, counted).expand(4, -1).clone().requires_grad_(True)
        slope = torch.autograd.grad(task.loss(prior, targets, counted), prior)[0].sum(0)
        assert slope.abs().max() < 2e-2 if smoothing == 0 and counted is not None else slope.abs().max() < 1e-6


def test_weights_count_a_row_that_often() -> None:
    task = Classification(label_smoothing=0.1).start(WORDS)
    outputs = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    weights = torch.tensor([2, 0, 1, 3])
    rows = torch.arange(4).repeat_interleave(weights)
    targets = task.encode(WORDS)
    torch.testing.assert_close(task.loss(outputs, targets, weights.float()), task.loss(outputs[rows], targets[rows]))
    torch.testing.assert_close(
        task.prior(targets, weights.float() + 1), task.prior(targets[torch.arange(4).repeat_interleave(weights + 1)])
    )


def test_only_the_ratios_of_weights_matter_for_the_prior() -> None:
    task = Classification().start(WORDS)
    targets, weights = task.encode(WORDS), torch.tensor([2.0, 1.0, 1.0, 3.0])
    torch.testing.assert_close(task.prior(targets, weights), task.prior(targets, weights / 100))


def test_divided_truth_is_measured_by_its_likeliest_class_and_by_cross_entropy() -> None:
    task = Classification().start(SOFT)
    targets, outputs = task.encode(SOFT).numpy(), np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    divided, whole = dict(task.metrics(outputs, targets)), dict(task.metrics(outputs, targets.argmax(1)))
    expected = cross_entropy(torch.from_numpy(outputs).double(), torch.tensor(SHARES).double())
    assert divided.pop("log_loss") == pytest.approx(float(expected))
    whole.pop("log_loss")
    assert divided == whole
    weights = np.array([[1.0, 0, 2, 1], [1, 1, 1, 1]])
    several = dict(task.metrics(outputs, targets, weights))
    assert several["log_loss"].shape == (2,)
    assert several["log_loss"][1] == pytest.approx(float(expected))
