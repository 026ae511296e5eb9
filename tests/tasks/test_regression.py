from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error
from torch.nn.functional import mse_loss

from graft.data.cells import objects
from graft.errors import DataError, UnknownNameError
from graft.tasks.regression import Regression

PRICES = np.array([1e6, 3e6, 2e6, 6e6])


def test_numbers_are_of_order_one_inside_and_the_users_outside() -> None:
    task = Regression().start(PRICES)
    targets = task.encode(PRICES)
    assert (targets.shape, targets.dtype) == ((4, 1), torch.float32)
    torch.testing.assert_close(targets.mean(), torch.tensor(0.0), atol=1e-6, rtol=0)
    torch.testing.assert_close(targets.std(correction=0), torch.tensor(1.0))
    np.testing.assert_allclose(task.decode(targets.numpy()), PRICES, rtol=1e-6)
    assert Regression().restore(json.loads(json.dumps(task.state()))) == task
    assert (task.kind, task.link, task.n_outputs, task.classes) == ("regression", "identity", 1, ())
    assert Regression.estimator_type == "regressor"
    assert task.probabilities(targets.numpy()) is None


def test_several_numbers_a_row() -> None:
    labels = np.array([[1.0, 100.0], [2.0, 300.0], [4.0, 200.0]])
    task = Regression().start(labels)
    assert task.n_outputs == 2
    np.testing.assert_allclose(task.decode(task.encode(labels).numpy()), labels, rtol=1e-6)
    with pytest.raises(DataError, match="1 numbers a row; the task was started with 2"):
        task.encode(PRICES)


def test_the_constructor_stores_and_clones() -> None:
    assert clone(Regression("mae")).get_params() == {"metric": "mae"}
    with pytest.raises(UnknownNameError, match="Did you mean rmse"):
        Regression(metric="rmsee").start(PRICES)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (objects([1.0, "two"]), "the label of row 1 is 'two'"),
        (objects([1.0, None]), "row 1 is None"),
        (np.array([1.0, np.inf]), "row 1 is inf"),
        (np.array([2.0, 2.0]), "every label is 2"),
        (np.array([[1.0, 5.0], [2.0, 5.0]]), "every label in column 1 is 5"),
        (np.array([]), "there is no label"),
        (np.zeros((2, 2, 2)), r"shape \(2, 2, 2\)"),
    ],
)
def test_labels_that_are_no_quantity_are_refused(labels: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        Regression().start(labels)


def test_the_loss_is_squared_error_and_the_prior_its_best_constant() -> None:
    task = Regression().start(PRICES)
    targets = task.encode(PRICES)[:3]
    outputs = torch.randn(3, 1, generator=torch.Generator().manual_seed(0))
    assert torch.equal(task.loss(outputs, targets), mse_loss(outputs, targets))
    torch.testing.assert_close(task.prior(targets), targets.mean(dim=0))


def test_metrics_are_in_the_users_unit_and_equal_scikit_learn() -> None:
    task = Regression(metric="rmse").start(PRICES)
    outputs = np.array([[0.1], [0.2], [0.3], [1.0]])
    found = dict(task.metrics(outputs, task.encode(PRICES).numpy()))
    guess = task.decode(outputs)
    assert list(found) == ["rmse", "r2", "mae"]
    assert found["rmse"] == pytest.approx(root_mean_squared_error(PRICES, guess), rel=1e-6)
    assert found["r2"] == pytest.approx(r2_score(PRICES, guess), rel=1e-6)
    assert found["mae"] == pytest.approx(mean_absolute_error(PRICES, guess), rel=1e-6)
