"""The probe: what linear models say of rows that they did not learn from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from sklearn.linear_model import Ridge

from graft.contracts import Array, Seen
from graft.errors import RequestError
from graft.linear import crossed_outputs
from graft.linear.scaling import scaled
from graft.scores.probe import Probe

Make = Callable[..., tuple[Seen, Array]]


def left_out(seen: Seen, wanted: Array, groups: Array) -> Array:
    """Each group's outputs by scikit-learn's ridge regression on the others, at the best of the penalties."""
    rows = scaled(seen.features)[0].numpy().astype(np.float64)
    best: tuple[float, Array] = (np.inf, wanted)
    for penalty in 10.0 ** np.arange(2, -4.1, -0.5):
        outputs = np.zeros(wanted.shape)
        for each in np.unique(groups):
            mine = groups == each
            outputs[mine] = Ridge(alpha=penalty).fit(rows[~mine], wanted[~mine]).predict(rows[mine]).reshape(-1, 3)
        error = ((outputs - wanted) ** 2).mean()
        best = min(best, (error, outputs), key=lambda held: held[0])
    return best[1]


@pytest.mark.parametrize("shape", [(30, 5), (18, 30)])
@pytest.mark.parametrize("grouped", [False, True])
def test_ridge_leaves_every_row_or_group_out(make: Make, shape: tuple[int, int], grouped: bool) -> None:
    seen, targets = make(*shape, apart=0.7)
    groups = np.random.default_rng(0).permutation(np.repeat(np.arange(6), shape[0] // 6))
    groups[groups == 1] = 0  # groups of two sizes
    held = groups if grouped else np.arange(shape[0])
    expected = left_out(seen, np.eye(3)[targets], held)
    found = Probe().outputs(replace(seen, groups=groups if grouped else None), targets)
    sure = np.median(found / expected)  # classes are told as surely as rows left out let them be
    assert np.allclose(found, sure * expected, atol=2e-3 * sure)
    assert Probe().score(replace(seen, groups=groups if grouped else None), targets) == pytest.approx(
        (expected.argmax(axis=1) == targets).mean()
    )


def test_numbers_are_as_they_are_left_out(make: Make) -> None:
    seen, _ = make(30, 5)
    numbers = (seen.features @ np.ones((5, 3)) + np.random.default_rng(0).normal(size=(30, 3))).astype(np.float32)
    found = Probe().outputs(seen, numbers)
    assert np.allclose(found, left_out(seen, numbers, np.arange(30)), atol=1e-4)
    assert np.array_equal(found, Probe(model="logistic").outputs(seen, numbers))


def test_logistic_is_cross_validated(make: Make) -> None:
    seen, targets = make(60, apart=0.7)
    found = Probe(model="logistic").outputs(seen, targets)
    expected, _ = crossed_outputs(seen.features, torch.from_numpy(targets), "softmax", n_outputs=3)
    assert np.array_equal(found, expected)
    other = Probe(model="logistic", seed=1).outputs(seen, targets)
    assert not np.array_equal(found, other)


@pytest.mark.parametrize("model", ["ridge", "logistic"])
def test_labels_are_told_by_the_sign(make: Make, model: Any) -> None:
    seen, targets = make(60, apart=3.0)
    labels = np.stack([targets == 0, targets != 1], axis=1).astype(np.float32)
    assert Probe(model=model).score(seen, labels) == 1.0


@pytest.mark.parametrize("model", ["ridge", "logistic"])
def test_copies_are_left_out_together(make: Make, model: Any) -> None:
    seen, targets = make(60, 100, apart=0.0)
    twice = replace(seen, features=np.repeat(seen.features, 2, axis=0), groups=np.repeat(np.arange(60), 2))
    doubled = np.repeat(targets, 2)
    assert Probe(model=model).score(replace(twice, groups=None), doubled) > 0.85
    assert Probe(model=model).score(twice, doubled) < 0.6


@pytest.mark.parametrize("model", ["ridge", "logistic"])
def test_sparse_features_serve(make: Make, model: Any) -> None:
    seen, targets = make(60, apart=3.0)
    held: Any = scipy.sparse.csr_array(seen.features)
    assert Probe(model=model).score(replace(seen, features=held), targets) > 0.95


@pytest.mark.parametrize("model", ["ridge", "logistic"])
def test_a_single_group_is_refused(make: Make, model: Any) -> None:
    seen, targets = make(10)
    with pytest.raises(RequestError, match="all rows belong to one group"):
        Probe(model=model).score(replace(seen, groups=np.zeros(10, np.int64)), targets)


def test_an_unknown_model_is_refused(make: Make) -> None:
    with pytest.raises(RequestError, match="model is 'tree'; expected ridge or logistic"):
        Probe(model="tree").score(*make())  # type: ignore[arg-type]
