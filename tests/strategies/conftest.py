"""A small source with BatchNorm and dropout, and rows that it can learn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from graft.contracts import Backbone, Card, FittedTask, Rows, TransferData
from graft.data.examples import TableExamples
from graft.data.preprocess.columns import ColumnPreprocess
from graft.tasks.classification import Classification
from graft.tasks.multilabel import Multilabel
from graft.tasks.regression import Regression

VALUES = np.random.default_rng(0).normal(size=(120, 5)).astype(np.float32)


@pytest.fixture
def backbone() -> Backbone:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [nn.Linear(5, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.1), nn.Linear(12, 8)]
    return Backbone(
        module=nn.Sequential(*layers),
        dim=8,
        preprocess=ColumnPreprocess.learn(VALUES),
        stages=("0", "1", "4"),
        card=Card("small", "table"),
    )


def _classes(values: np.ndarray) -> np.ndarray:
    return np.array(["low", "middle", "high"], dtype=object)[np.digitize(values[:, 0], [-0.5, 0.5])]


def _sets(values: np.ndarray) -> np.ndarray:
    labels = np.empty(len(values), dtype=object)
    labels[:] = [tuple(name for name, value in zip("abc", row, strict=False) if value > 0) for row in values]
    return labels


def _numbers(values: np.ndarray) -> np.ndarray:
    return np.array([float(3 * row[0] + 40) for row in values], dtype=object)


@pytest.fixture(params=["classification", "multilabel", "regression"])
def learnt(request: pytest.FixtureRequest) -> tuple[FittedTask, TransferData]:
    """A task of each kind, with 90 training and 30 validation rows."""
    task, label = {
        "classification": (Classification(), _classes),
        "multilabel": (Multilabel(), _sets),
        "regression": (Regression(), _numbers),
    }[request.param]
    return _prepared(task, label)


@pytest.fixture
def classes() -> tuple[FittedTask, TransferData]:
    """Three classes."""
    return _prepared(Classification(), _classes)


def _prepared(
    task: Classification | Multilabel | Regression, label: Callable[[np.ndarray], np.ndarray]
) -> tuple[FittedTask, TransferData]:
    labels = label(VALUES)
    fitted = task.start(labels)
    targets, examples = fitted.encode(labels), TableExamples(VALUES)
    train, valid = np.arange(90), np.arange(90, 120)
    return fitted, TransferData(
        train=Rows(examples.take(train), targets[:90]), valid=Rows(examples.take(valid), targets[90:])
    )
