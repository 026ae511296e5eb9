"""k-NN with each row left out, against scikit-learn's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from graft.contracts import Array, Seen
from graft.errors import RequestError
from graft.scores.knn import KNN

Make = Callable[..., tuple[Seen, Array]]


@pytest.mark.parametrize("k", [1, 5])
def test_it_is_the_accuracy_of_rows_left_out(make: Make, k: int) -> None:
    seen, targets = make(60, apart=0.6)
    model = KNeighborsClassifier(k, weights="distance", metric="cosine")
    expected = cross_val_predict(model, seen.features.astype(np.float64), targets, cv=LeaveOneOut())
    assert KNN(k).score(seen, targets) == pytest.approx((expected == targets).mean())


def test_numbers_are_the_mean_of_the_neighbours(make: Make) -> None:
    seen, _ = make(40)
    numbers = seen.features[:, :2] - seen.features[:, :2].mean(axis=0)
    model = KNeighborsRegressor(5, weights="distance", metric="cosine")
    expected = cross_val_predict(model, seen.features.astype(np.float64), numbers, cv=LeaveOneOut())
    assert np.allclose(KNN().outputs(seen, numbers), expected, atol=1e-5)
    assert 0 < KNN().score(seen, numbers) < 1


def test_labels_are_told_one_by_one(make: Make) -> None:
    seen, targets = make(60, apart=4.0)
    labels = np.stack([targets == 0, targets != 1], axis=1).astype(np.float32)
    assert KNN().score(seen, labels) == 1.0


def test_copies_do_not_vote_for_each_other(make: Make) -> None:
    seen, targets = make(40, apart=0.0)
    twice = replace(seen, features=np.repeat(seen.features, 2, axis=0), groups=np.repeat(np.arange(40), 2))
    doubled = np.repeat(targets, 2)
    assert KNN(1).score(replace(twice, groups=None), doubled) == 1.0
    assert KNN(1).score(twice, doubled) < 0.7


def test_a_single_group_is_refused(make: Make) -> None:
    seen, targets = make(10)
    with pytest.raises(RequestError, match="all rows belong to one group"):
        KNN().score(replace(seen, groups=np.zeros(10, np.int64)), targets)


def test_no_neighbour_is_refused(make: Make) -> None:
    with pytest.raises(RequestError, match="k is 0; expected a whole number from 1"):
        KNN(0).score(*make())
