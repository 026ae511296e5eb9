"""Strategies that compute a head, and train none, hear what rows weigh."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from graft.contracts import Backbone, FittedTask, Rows, Strategy, TransferData
from graft.errors import RequestError
from graft.features import Extractor
from graft.linear import crossed_outputs
from graft.strategies.contrastive import Contrastive
from graft.strategies.knn import KNN
from graft.strategies.label_map import LabelMap
from graft.strategies.linear_probe import LinearProbe
from graft.strategies.mlp_head import MLPHead
from graft.strategies.output_head import OutputHead
from graft.strategies.prototypes import Prototypes
from graft.strategies.scratch import Scratch
from graft.strategies.svm import SVM

Learnt = tuple[FittedTask, TransferData]

EACH: list[Callable[[], Strategy]] = [
    KNN,
    LabelMap,
    LinearProbe,
    OutputHead,
    Prototypes,
    SVM,
    lambda: SVM(kernel="rbf", C=1.0, gamma=0.5),
    lambda: Prototypes(metric="euclidean"),
    lambda: Contrastive(max_steps=3, folds=0),
]

SETTLED: list[Callable[[], Strategy]] = [
    *(make for make in EACH if make not in (LinearProbe, OutputHead, SVM)),
    lambda: LinearProbe(penalties=[0.1]),
    lambda: OutputHead(penalties=[0.1]),
    lambda: SVM(kernel="linear", C=1.0),
]
"""Nothing is chosen on folds, whose make-up depends on all labels."""


@pytest.fixture
def source(backbone: Backbone) -> Backbone:
    """With classes of its own."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return replace(backbone, head=nn.Linear(8, 6))


def outputs_of(strategy: Strategy, source: Backbone, learnt: Learnt) -> np.ndarray:
    task, data = learnt
    module = strategy.build(source, task)
    strategy.fit(module, task, data)
    assert data.valid is not None
    return Extractor(module, source.preprocess, data.machine).run(data.valid.examples)


def weighing(learnt: Learnt, weights: Tensor) -> Learnt:
    task, data = learnt
    return task, replace(data, train=replace(data.train, weights=weights))


def suits(make: Callable[[], Strategy], task: FittedTask) -> bool:
    return task.link != "identity" or not isinstance(make(), Contrastive | Prototypes)


@pytest.mark.parametrize("make", SETTLED)
def test_a_wrong_label_that_weighs_nothing_says_nothing(
    source: Backbone, classes: Learnt, make: Callable[[], Strategy]
) -> None:
    task, data = classes
    aside = torch.arange(90) % 3 == 0
    wrong = torch.where(aside, (data.train.targets + 1) % 3, data.train.targets)
    found = [
        outputs_of(make(), source, (task, replace(data, train=Rows(data.train.examples, targets, (~aside).float()))))
        for targets in (data.train.targets, wrong)
    ]
    assert (found[0].argmax(1) == found[1].argmax(1)).mean() > 0.9


@pytest.mark.parametrize("make", EACH)
def test_rows_that_all_weigh_nothing_are_refused(
    source: Backbone, learnt: Learnt, make: Callable[[], Strategy]
) -> None:
    if not suits(make, learnt[0]):
        pytest.skip("it is for classes")
    with pytest.raises(RequestError, match="every row weighs 0"):
        outputs_of(make(), source, weighing(learnt, torch.zeros(90)))


@pytest.mark.parametrize("make", EACH)
def test_a_class_without_a_row_that_counts_is_never_predicted(
    source: Backbone, classes: Learnt, make: Callable[[], Strategy]
) -> None:
    _, data = classes
    outputs = outputs_of(make(), source, weighing(classes, (data.train.targets != 1).float()))
    assert np.isfinite(outputs).all()
    assert not (outputs.argmax(1) == 1).any()


def test_a_label_that_no_row_has_or_every_row_is_told_so(source: Backbone, learnt: Learnt) -> None:
    task, data = learnt
    if task.link != "sigmoid":
        pytest.skip("it is for several labels a row")
    targets = data.train.targets.clone()
    targets[:, 0], targets[:, 1] = 0.0, 1.0
    outputs = outputs_of(Prototypes(), source, (task, replace(data, train=replace(data.train, targets=targets))))
    assert (outputs[:, 0] < 0).all()
    assert (outputs[:, 1] > 0).all()


@pytest.mark.parametrize("make", [lambda: Scratch(epochs=1, lr=1e-12), lambda: MLPHead(hidden=0, epochs=1, lr=1e-12)])
def test_outputs_begin_at_the_prior_of_the_rows_that_count(
    source: Backbone, learnt: Learnt, make: Callable[[], Strategy]
) -> None:
    task, data = learnt
    weights = torch.linspace(0, 1, 90) ** 4
    expected = task.prior(data.train.targets, weights).numpy()
    found = outputs_of(make(), source, weighing(learnt, weights))
    assert np.allclose(found, np.broadcast_to(expected, found.shape), atol=1e-4)


def test_the_noise_of_labels_is_judged_by_rows_that_count(classes: Learnt) -> None:
    task, data = classes
    aside = torch.arange(90) % 2 == 0
    wrong = torch.where(aside, (data.train.targets + 1) % 3, data.train.targets)
    rows = np.stack([data.train.examples[row] for row in range(90)])
    right = []
    for weights in (None, (~aside).float()):
        outputs, judged = crossed_outputs(rows, wrong, task.link, n_outputs=3, weights=weights)
        own = ~aside.numpy() & judged
        right.append((outputs.argmax(1) == wrong.numpy())[own].mean())
    assert right[1] > right[0] + 0.1
