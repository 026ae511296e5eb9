"""The nearest class mean on frozen features."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestCentroid

from graft.contracts import Backbone, FittedTask, TransferData
from graft.errors import RequestError
from graft.features import Extractor, extract
from graft.linear.folds import units
from graft.nn.prototypes import Metric
from graft.strategies.prototypes import Prototypes, _Means
from graft.tasks.multilabel import Multilabel
from graft.tasks.regression import Regression

Learnt = tuple[FittedTask, TransferData]


def scaled_rows(module: torch.nn.Module, data: TransferData) -> torch.Tensor:
    features = extract(module.backbone, data.train.examples, machine=data.machine)
    return module.head.scaling(torch.from_numpy(features)).double()


@pytest.mark.parametrize("shrink", [0.0, 0.5])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_classes_are_those_of_the_nearest_centroid(
    backbone: Backbone, classes: Learnt, metric: Metric, shrink: float
) -> None:
    task, data = classes
    strategy = Prototypes(metric, shrink)
    module = strategy.build(backbone, task)
    history = strategy.fit(module, task, data)
    rows = scaled_rows(module, data).numpy()
    other = NearestCentroid(shrink_threshold=shrink or None).fit(rows, data.train.targets.numpy())
    means = torch.from_numpy(other.centroids_)
    compared = torch.from_numpy(rows)
    if metric == "cosine":
        means = torch.nn.functional.normalize(means, dim=1)
        expected = compared @ means.T * history.chosen["temperature"]
    else:
        expected = -torch.cdist(compared, means).square() * history.chosen["temperature"]
    outputs = Extractor(module, backbone.preprocess, data.machine).run(data.train.examples)
    assert np.allclose(torch.from_numpy(outputs).softmax(1), expected.softmax(1), atol=1e-4)
    assert history.score is not None
    assert not any(value.requires_grad for value in module.parameters())


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_rows_are_left_out_with_their_group(backbone: Backbone, learnt: Learnt, metric: Metric) -> None:
    task, data = learnt
    if task.link == "identity":
        pytest.skip("numbers have no classes")
    groups = np.array([str(place // 3) if place < 30 else "" for place in range(90)], dtype=object)
    strategy = Prototypes(metric)
    module = strategy.build(backbone, task)
    strategy.fit(module, task, replace(data, groups=groups))
    rows, unit = scaled_rows(module, data), units(groups, data.train.examples.keys())
    places, found = _Means(rows, data.train, task, metric, 0.0).left_out(unit, 0)
    assert sorted(places.tolist()) == list(range(90))
    for place, output in zip(places.tolist(), found, strict=True):
        if place % 7:
            continue
        rest = torch.from_numpy(unit != unit[place])
        train = replace(data.train, targets=data.train.targets[rest])
        left = _Means(rows[rest], train, task, metric, 0.0)
        weight, bias = left.layer(left.sums, left.counts)
        assert torch.allclose(output, rows[place] @ weight.T + bias)


def test_a_label_applies_where_the_mean_with_it_is_nearer(backbone: Backbone) -> None:
    from tests.strategies.conftest import VALUES, _prepared, _sets

    task, data = _prepared(Multilabel(), _sets)
    module = Prototypes("euclidean").build(backbone, task)
    Prototypes("euclidean").fit(module, task, data)
    rows, targets = scaled_rows(module, data), data.train.targets
    outputs = Extractor(module, backbone.preprocess, data.machine).run(data.train.examples)
    for place in range(3):
        has = targets[:, place] > 0
        away = [(rows - rows[each].mean(0)).square().sum(1) for each in (has, ~has)]
        assert np.array_equal(outputs[:, place] > 0, (away[0] < away[1]).numpy())
    assert len(VALUES) == 120


def test_soft_labels_and_weights_move_the_means(backbone: Backbone, classes: Learnt) -> None:
    task, data = classes
    outputs = []
    weights = torch.linspace(0.1, 2, 90)
    soft = torch.nn.functional.one_hot(data.train.targets, 3).float()
    for train in (data.train, replace(data.train, targets=soft), replace(data.train, weights=weights)):
        module = Prototypes().build(backbone, task)
        history = Prototypes().fit(module, task, replace(data, train=train))
        assert history.score is not None
        outputs.append(module.head.towards.clone())
    assert torch.allclose(outputs[0], outputs[1], atol=1e-5)
    assert not torch.allclose(outputs[0], outputs[2], atol=1e-3)


def test_one_row_a_class_is_enough_and_has_no_score(backbone: Backbone, classes: Learnt) -> None:
    task, data = classes
    first = np.array([int(torch.nonzero(data.train.targets == c)[0, 0]) for c in range(3)])
    few = replace(data.train, examples=data.train.examples.take(first), targets=data.train.targets[first])
    module = Prototypes().build(backbone, task)
    history = Prototypes().fit(module, task, replace(data, train=few))
    assert history.score is None
    outputs = Extractor(module, backbone.preprocess, data.machine).run(few.examples)
    assert outputs.argmax(1).tolist() == [0, 1, 2]


def test_numbers_have_no_prototypes(backbone: Backbone) -> None:
    task = Regression().start(np.array([1.0, 2.0, 3.0], dtype=object))
    with pytest.raises(RequestError, match="prototypes needs a task with classes"):
        Prototypes().build(backbone, task)


@pytest.mark.parametrize(
    ("strategy", "sentence"),
    [
        (Prototypes(metric="l1"), "metric is 'l1', expected cosine or euclidean"),
        (Prototypes(shrink=-1), "shrink is -1"),
    ],  # type: ignore[arg-type]
)
def test_options_that_are_none(backbone: Backbone, classes: Learnt, strategy: Prototypes, sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence):
        strategy.build(backbone, classes[0])


def test_stages_beside_the_features(backbone: Backbone, classes: Learnt) -> None:
    task, data = classes
    strategy = Prototypes(layers=("0",))
    module = strategy.build(backbone, task)
    assert module.backbone.dim == 12 + 8
    assert strategy.fit(module, task, data).score > 0.5
