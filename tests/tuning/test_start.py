"""Where a new head starts, and how fast it may learn there."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from sklearn.metrics import accuracy_score
from sklearn.neighbors import NearestCentroid
from torch import Tensor, nn

from graft.contracts import Backbone, FittedTask, TransferData
from graft.features import extract
from graft.linear import fit_probe, frozen_trunk
from graft.tuning import Tuning, loudness, start_head, tunable, tune

Learnt = tuple[FittedTask, TransferData]


class Scaled(nn.Module):
    def __init__(self, network: nn.Module, factor: float) -> None:
        super().__init__()
        self.network, self.factor = network, factor

    def forward(self, batch: Tensor) -> Tensor:
        features: Tensor = nn.functional.normalize(self.network(batch)) * self.factor
        return features


def _scaled(backbone: Backbone, factor: float) -> Backbone:
    network = Scaled(copy.deepcopy(backbone.module), factor)
    return replace(backbone, module=network, stages=tuple(f"network.{stage}" for stage in backbone.stages))


@pytest.mark.parametrize(("factor", "expected"), [(1.0, 8**-0.5), (0.001, 0.02), (100.0, 1.0), (float("nan"), 1.0)])
def test_loudness_is_the_root_mean_square_within_bounds(
    backbone: Backbone, learnt: Learnt, factor: float, expected: float
) -> None:
    grafted = tunable(_scaled(backbone, factor), learnt[0], Tuning())
    assert loudness(grafted, learnt[1]) == pytest.approx(expected, rel=1e-4)


def test_a_head_learns_from_faint_features_as_from_loud_ones(backbone: Backbone, learnt: Learnt) -> None:
    losses = []
    for factor in (1.0, 0.1):
        twin = _scaled(backbone, factor)
        tuning = Tuning(last=0, batch_size=16, patience=None, weight_decay=0.0)
        history = tune(tunable(twin, learnt[0], tuning), *learnt, epochs=5, lr=1e-3, tuning=tuning)
        losses.append(history.epochs[-1].loss)
    assert losses[1] < 1.1 * losses[0]


def test_the_head_starts_at_the_prior_as_a_probe_or_at_the_means(backbone: Backbone, learnt: Learnt) -> None:
    task, data = learnt
    features = torch.from_numpy(extract(backbone, data.train.examples, machine=data.machine, cache=None))
    heads = {}
    for name in ("prior", "probe", "prototypes"):
        grafted = tunable(backbone, task, Tuning(head=name, dropout=0.1))  # type: ignore[arg-type]
        start_head(grafted, task, data, Tuning(head=name))  # type: ignore[arg-type]
        assert all(value.requires_grad for value in grafted.parameters())
        heads[name] = grafted.head.eval()(features).detach()
    assert torch.allclose(heads["prior"], task.prior(data.train.targets).expand(90, -1))
    probe = frozen_trunk(replace(backbone, module=copy.deepcopy(backbone.module)), task)
    fit_probe(probe, task, data, None)
    assert torch.allclose(heads["probe"], probe.head(features), atol=1e-5)
    centroids = NearestCentroid().fit(features.numpy(), data.train.targets.numpy()).predict(features.numpy())
    assert accuracy_score(centroids, heads["prototypes"].argmax(1).numpy()) == 1.0
    loss = task.loss(heads["prototypes"], data.train.targets)
    assert loss < task.loss(heads["prior"], data.train.targets), "it speaks as surely as the rows allow"


def test_a_row_of_weight_zero_does_not_move_the_start(backbone: Backbone, learnt: Learnt) -> None:
    task, data = learnt
    weights = (data.train.targets != 0).float()
    counted = replace(data, train=replace(data.train, weights=weights))
    grafted = tunable(backbone, task, Tuning())
    start_head(grafted, task, counted, Tuning())
    assert torch.allclose(grafted.head.bias, task.prior(data.train.targets, weights))
    assert grafted.head.bias[0] < task.prior(data.train.targets)[0]
