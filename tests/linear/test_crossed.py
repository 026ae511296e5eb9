"""Outputs for rows by models that did not learn from them."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
import torch

from graft.contracts import FittedTask, Rows, TransferData
from graft.data.examples import TableExamples
from graft.linear import crossed_outputs, fit_linear, judged
from graft.linear.folds import folds_of
from graft.sources.columns import Columns
from graft.tasks.classification import Classification


def rows(n: int = 90) -> tuple[np.ndarray, torch.Tensor]:
    draw = np.random.default_rng(0)
    y = np.arange(n) % 3
    return (np.eye(3, 8)[y] * 3 + draw.normal(size=(n, 8))).astype(np.float32), torch.from_numpy(y)


@pytest.mark.parametrize("sparse", [False, True])
def test_a_row_is_not_learnt_from_by_the_model_that_speaks_of_it(sparse: bool) -> None:
    x, y = rows()
    given = scipy.sparse.csr_array(x) if sparse else x
    outputs, held = crossed_outputs(given, y, "softmax", n_outputs=3)
    assert held.all()
    assert (outputs.argmax(1) == y.numpy()).mean() > 0.85
    folds = folds_of(y, "softmax", None, None, 0, wide=False)
    assert folds is not None
    rest = folds != folds[0]
    penalty = fit_linear(given, y, "softmax", n_outputs=3).penalty
    found = fit_linear(given[np.flatnonzero(rest)], y[rest], "softmax", n_outputs=3, penalties=[penalty])
    expected = x[~rest] @ found.weight.numpy().T + found.bias.numpy()
    np.testing.assert_allclose(outputs[~rest], expected, atol=1e-4)


def test_groups_and_equal_rows_stay_together() -> None:
    x, _ = rows(40)
    noise = torch.from_numpy(np.random.default_rng(1).integers(0, 3, 40))
    twice, labels = np.concatenate([x, x]), torch.cat([noise, noise])
    keys = np.zeros((80, 16), np.uint8)
    keys[:, 0] = np.arange(80) % 40
    outputs, _ = crossed_outputs(twice, labels, "softmax", n_outputs=3, keys=keys)
    assert (outputs.argmax(1) == labels.numpy()).mean() < 0.6
    outputs, _ = crossed_outputs(twice, labels, "softmax", n_outputs=3, groups=(np.arange(80) % 40).astype(str))
    assert (outputs.argmax(1) == labels.numpy()).mean() < 0.6


def test_rows_that_cannot_be_spared_are_not_judged() -> None:
    x, y = rows()
    outputs, held = crossed_outputs(x[:6], y[:6], "softmax", n_outputs=3)
    assert not held.any()
    assert not outputs.any()
    lonely = y.clone()
    lonely[7] = 3
    outputs, held = crossed_outputs(x, lonely, "softmax", n_outputs=4)
    assert np.flatnonzero(~held).tolist() == [7]
    assert not outputs[7].any()


def test_rows_beside_which_no_row_counts_are_not_judged() -> None:
    x, y = rows()
    folds = folds_of(y, "softmax", None, None, 0, wide=False)
    assert folds is not None
    weights = torch.from_numpy(folds == 2).float()
    outputs, held = crossed_outputs(x, y, "softmax", n_outputs=3, weights=weights)
    assert (held == (folds != 2)).all(), "beside the fold that counts there is nothing to learn from"
    assert (outputs[held].argmax(1) == y.numpy()[held]).mean() > 0.8


def test_rows_that_weigh_nothing_are_not_judged() -> None:
    x, y = rows()
    task: FittedTask = Classification().start(np.array([0, 1, 2], dtype=object))
    columns = Columns().load().learn(TableExamples(x))  # type: ignore[misc]
    weights = torch.ones(90)
    weights[:9] = 0.0
    data = TransferData(Rows(TableExamples(x), y, weights))
    outputs, told = judged(columns, task, data)
    assert np.flatnonzero(~told).tolist() == list(range(9))
    assert (outputs.argmax(1) == y.numpy()).mean() > 0.85
