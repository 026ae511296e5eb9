from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit
from sklearn.base import clone
from sklearn.metrics import f1_score, log_loss
from torch.nn.functional import binary_cross_entropy_with_logits

from graft.data.cells import objects
from graft.errors import DataError, RequestError, UnknownNameError
from graft.tasks.multilabel import Multilabel

LABELS = objects([("sun", "sea"), ("sea",), (), ("sun", "sun")])


def test_labels_survive_encoding_decoding_and_json() -> None:
    task = Multilabel().start(LABELS)
    assert task.classes == ("sea", "sun")
    targets = task.encode(LABELS)
    assert targets.tolist() == [[1, 1], [1, 0], [0, 0], [0, 1]]
    assert targets.dtype == torch.float32
    assert task.decode(targets.numpy() - 0.5).tolist() == [("sea", "sun"), ("sea",), (), ("sun",)]
    assert Multilabel().restore(json.loads(json.dumps(task.state()))) == task
    assert (task.kind, task.link, task.n_outputs) == ("multilabel", "sigmoid", 2)


def test_the_constructor_stores_and_clones() -> None:
    assert clone(Multilabel("auroc", ("b", "a"))).get_params() == {"metric": "auroc", "classes": ("b", "a")}
    assert Multilabel(classes=("sun", "fog", "sea")).start(LABELS).classes == ("sun", "fog", "sea")


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (objects([("a",), ("a",)]), r"every row carries the same labels \(a\)"),
        (objects([(), ()]), "no row carries a label"),
        (objects(["a", "b"]), "the label of row 0 is 'a'"),
        (objects([("a",), (1,)]), "row 1 holds 1"),
    ],
)
def test_labels_that_cannot_be_learnt_are_refused(labels: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        Multilabel().start(labels)


def test_options_that_cannot_be_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean"):
        Multilabel(metric="macro-f1").start(LABELS)
    with pytest.raises(RequestError, match="names one twice"):
        Multilabel(classes=("a", "a")).start(LABELS)


def test_an_unknown_label_is_named_with_the_nearest() -> None:
    with pytest.raises(DataError, match=r"'sunn' \(2 rows; did you mean 'sun'\?\)"):
        Multilabel().start(LABELS).encode(objects([("sunn",), ("sea", "sunn")]))


def test_the_loss_is_binary_cross_entropy_and_the_prior_its_best_constant() -> None:
    task = Multilabel().start(LABELS)
    targets = task.encode(LABELS)[:3]
    outputs = torch.randn(3, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(task.loss(outputs, targets), binary_cross_entropy_with_logits(outputs, targets))
    constant = task.prior(targets).requires_grad_()
    task.loss(constant.expand(3, -1), targets).backward()
    assert constant.grad is not None
    torch.testing.assert_close(constant.grad, torch.zeros(2), atol=1e-6, rtol=0)
    assert torch.isfinite(task.prior(torch.zeros(3, 2))).all()


def test_metrics_equal_scikit_learn_and_name_each_label() -> None:
    task = Multilabel().start(LABELS)
    random = np.random.default_rng(0)
    outputs, truth = random.normal(size=(50, 2)), random.integers(2, size=(50, 2)).astype(np.float32)
    found = dict(task.metrics(outputs, truth))
    assert list(found) == [
        *("macro_f1", "micro_f1", "exact_match", "log_loss", "auroc", "ece"),
        *("f1/sea", "f1/sun", "auroc/sea", "auroc/sun"),
    ]
    assert found["macro_f1"] == pytest.approx(f1_score(truth, outputs > 0, average="macro"), abs=1e-12)
    assert found["f1/sun"] == pytest.approx(f1_score(truth[:, 1], outputs[:, 1] > 0), abs=1e-12)
    chances = task.probabilities(outputs)
    assert chances is not None
    np.testing.assert_allclose(chances, expit(outputs))
    theirs = np.mean([log_loss(truth[:, k], chances[:, k]) for k in range(2)])
    assert found["log_loss"] == pytest.approx(theirs, abs=1e-12)
    twice = dict(task.metrics(outputs, truth, np.full((3, 50), 2.0)))
    for name, value in found.items():
        np.testing.assert_allclose(twice[name], np.full(3, value), atol=1e-12)
