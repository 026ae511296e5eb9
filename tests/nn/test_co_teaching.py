from __future__ import annotations

import numpy as np
import pytest
import torch

from graft.nn.co_teaching import small_loss


@pytest.mark.parametrize(("keep", "count"), [(1.0, 10), (0.75, 7), (0.7, 7), (0.05, 1)])
def test_each_learns_from_the_rows_that_the_other_finds_easy(keep: float, count: int) -> None:
    draw = np.random.default_rng(0)
    first, second = draw.normal(size=(2, 10))
    for_first, for_second = small_loss(torch.from_numpy(first), torch.from_numpy(second), keep)
    assert for_first.tolist() == np.argsort(second)[:count].tolist()
    assert for_second.tolist() == np.argsort(first)[:count].tolist()


def test_equals_are_taken_in_their_order_and_no_gradient_flows() -> None:
    even = torch.zeros(4, requires_grad=True)
    for_first, for_second = small_loss(even, even, 0.5)
    assert for_first.tolist() == for_second.tolist() == [0, 1]
    assert not for_first.requires_grad
