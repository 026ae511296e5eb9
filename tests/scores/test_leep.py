"""LEEP, written out row by row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax

from graft.contracts import Array, Seen
from graft.errors import RequestError
from graft.scores.leep import LEEP

Make = Callable[..., tuple[Seen, Array]]


def written_out(chances: Array, targets: Array) -> float:
    n, theirs = chances.shape
    total = 0.0
    for row, mine in zip(chances, targets, strict=True):
        expected = 0.0
        for z in range(theirs):
            joint = sum(chances[i, z] for i in range(n) if targets[i] == mine) / n
            expected += joint / (chances[:, z].sum() / n) * row[z]
        total += np.log(expected)
    return float(total / n)


def test_it_is_the_mean_log_of_the_expected_prediction(make: Make) -> None:
    seen, targets = make(24)
    assert seen.outputs is not None
    expected = written_out(softmax(seen.outputs.astype(np.float64), axis=1), targets)
    assert LEEP().score(seen, targets) == pytest.approx(expected, rel=1e-5)


def test_a_single_output_tells_two_classes(make: Make) -> None:
    seen, targets = make(24, c=2)
    outputs = np.where(targets == 0, 4.0, -4.0).astype(np.float32)[:, None]
    assert LEEP().score(replace(seen, outputs=outputs), targets) > -0.1


def test_outputs_that_say_nothing_leave_the_entropy_of_the_classes(make: Make) -> None:
    seen, targets = make(30)
    assert LEEP().score(replace(seen, outputs=np.zeros((30, 7), np.float32)), targets) == pytest.approx(-np.log(3))


def test_a_class_of_the_source_that_never_occurs_does_no_harm(make: Make) -> None:
    seen, targets = make(24)
    assert seen.outputs is not None
    outputs = np.pad(seen.outputs, ((0, 0), (0, 1)), constant_values=-1e4)
    assert LEEP().score(replace(seen, outputs=outputs), targets) == pytest.approx(LEEP().score(seen, targets))


def test_outputs_that_are_not_finite_are_refused(make: Make) -> None:
    seen, targets = make()
    assert seen.outputs is not None
    seen.outputs[0, 0] = np.inf
    with pytest.raises(RequestError, match="those of made up are not finite"):
        LEEP().score(seen, targets)


def test_a_source_without_outputs_is_refused(make: Make) -> None:
    seen, targets = make()
    with pytest.raises(RequestError, match="needs a source with outputs of its own, and made up has none"):
        LEEP().score(replace(seen, outputs=None), targets)
