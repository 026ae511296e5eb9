"""Means of classes against scikit-learn's nearest centroid, and the formulas written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestCentroid

from graft.nn.prototypes import NearestMean, class_means, membership, prototype_head, shrunken

RANDOM = np.random.default_rng(0)
ROWS = RANDOM.normal(size=(60, 6)) + np.arange(60)[:, None] % 3 * RANDOM.normal(size=6)
LABELS = np.arange(60) % 3
X, Y = torch.from_numpy(ROWS), torch.from_numpy(LABELS)


def test_means_are_those_of_scikit_learn() -> None:
    expected = NearestCentroid().fit(ROWS, LABELS).centroids_
    assert np.allclose(class_means(X, Y, 3), expected)
    assert class_means(X.float(), Y, 3).dtype is torch.float32


def test_soft_labels_and_weights_count_as_much_as_they_say() -> None:
    shares, weights = torch.from_numpy(RANDOM.dirichlet([1.0] * 3, 60)), torch.from_numpy(RANDOM.random(60))
    found = class_means(X, shares, 3, weights)
    for c in range(3):
        amount = [float(shares[i, c] * weights[i]) for i in range(60)]
        expected = sum(a * ROWS[i] for i, a in enumerate(amount)) / sum(amount)
        assert np.allclose(found[c], expected)
    hard = torch.nn.functional.one_hot(Y, 3)
    assert torch.allclose(class_means(X, hard, 3), class_means(X, Y, 3))
    assert torch.allclose(class_means(X, Y, 3, torch.ones(60)), class_means(X, Y, 3))
    assert torch.equal(membership(Y, 3), hard.double())


def test_a_class_without_rows_stands_in_the_middle() -> None:
    assert torch.allclose(class_means(X, Y, 4)[3], X.mean(0))


def test_the_linear_layer_is_the_nearest_mean() -> None:
    means = class_means(X, Y, 3).requires_grad_()
    weight, bias = prototype_head(means, 0.7)
    outputs = X @ weight.T + bias
    distances = -0.7 * torch.stack([(X - mean).square().sum(1) for mean in means], 1)
    assert torch.allclose(outputs.log_softmax(1), distances.log_softmax(1))
    (found,) = torch.autograd.grad(outputs.log_softmax(1)[:, 0].sum(), means, retain_graph=True)
    (expected,) = torch.autograd.grad(distances.log_softmax(1)[:, 0].sum(), means)
    assert torch.allclose(found, expected)
    assert np.array_equal(outputs.argmax(1), NearestCentroid().fit(ROWS, LABELS).predict(ROWS))


@pytest.mark.parametrize("shrink", [0.0, 0.3, 2.0, 100.0])
def test_shrunken_means_are_those_of_scikit_learn(shrink: float) -> None:
    labels = np.where(np.arange(60) < 10, 0, LABELS)  # classes of several sizes
    means = class_means(X, torch.from_numpy(labels), 3)
    counts = torch.bincount(torch.from_numpy(labels)).double()
    inside = ROWS - means.numpy()[labels]
    spread = np.sqrt((inside**2).sum(0) / (60 - 3))
    found = shrunken(means, counts, X.mean(0), torch.from_numpy(spread + np.median(spread)), shrink)
    expected = NearestCentroid(shrink_threshold=shrink or None).fit(ROWS, labels).centroids_
    assert np.allclose(found, expected)


def test_the_module_compares_angles_or_distances() -> None:
    means, rows = class_means(X, Y, 3).float(), X.float()
    near = NearestMean(6, 3)
    near.towards.copy_(torch.nn.functional.normalize(means, dim=1))
    assert torch.allclose(near(rows), torch.cosine_similarity(rows[:, None], means[None], dim=2), atol=1e-6)
    far = NearestMean(6, 3, "euclidean")
    weight, bias = prototype_head(means)
    far.towards.copy_(weight)
    far.offset.copy_(bias)
    assert torch.equal(far(rows).argmax(1), torch.cdist(rows, means).argmin(1))
