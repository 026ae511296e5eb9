from __future__ import annotations

import threading

import pytest
from torch import nn

from graft.errors import WeightsError
from graft.nn.ceiling import ceiling


def test_networks_below_it_are_built() -> None:
    with ceiling(4 * (10 * 10 + 10)):
        assert nn.Linear(10, 10).weight.shape == (10, 10)


def test_one_that_would_fill_the_machine_is_refused_before_it_does() -> None:
    with ceiling(1 << 20), pytest.raises(WeightsError, match=r"takes more than 1_048_576 bytes.*Linear\.weight"):
        nn.Linear(10**4, 10**4)
    with ceiling(1000), pytest.raises(WeightsError, match="forged"):
        nn.Sequential(*(nn.Linear(10, 10) for _ in range(5)))
    assert nn.Linear(1000, 10).weight.shape == (10, 1000)


def test_other_threads_are_not_counted() -> None:
    made: list[nn.Module] = []
    with ceiling(10):
        thread = threading.Thread(target=lambda: made.append(nn.Linear(10, 10)))
        thread.start()
        thread.join()
    assert made
