"""A small source in stages, and three classes that it can learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from graft.contracts import Backbone, Card, FittedTask, Rows, TransferData
from graft.data.examples import TableExamples
from graft.data.preprocess.columns import ColumnPreprocess
from graft.nn.initialise import seeded
from graft.tasks.classification import Classification

VALUES = np.random.default_rng(0).normal(size=(120, 5)).astype(np.float32)


@pytest.fixture
def backbone() -> Backbone:
    with seeded(0):
        layers = [nn.Linear(5, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 8)]
    return Backbone(
        module=nn.Sequential(*layers),
        dim=8,
        preprocess=ColumnPreprocess.learn(VALUES),
        stages=("0", "1", "3"),
        card=Card("small", "table"),
    )


@pytest.fixture
def learnt() -> tuple[FittedTask, TransferData]:
    labels = np.array(["low", "middle", "high"], dtype=object)[np.digitize(VALUES[:, 0], [-1.2, 0.5])]
    task = Classification().start(labels)
    targets, examples = task.encode(labels), TableExamples(VALUES)
    train, valid = np.arange(90), np.arange(90, 120)
    assert len(torch.bincount(targets[:90]).unique()) == 3, "classes of three sizes"
    return task, TransferData(
        train=Rows(examples.take(train), targets[:90]), valid=Rows(examples.take(valid), targets[90:])
    )
