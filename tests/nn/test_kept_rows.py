"""Heads that keep as many rows as their weights have."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from graft.errors import WeightsError
from graft.nn.kept_rows import KeptRows, make_room
from graft.nn.weights import match


class Keeps(KeptRows):
    def __init__(self) -> None:
        super().__init__()
        self.rows_of("rows", 3)
        self.rows_of("counts")
        self.register_buffer("fixed", torch.zeros(2))


def test_room_is_made_for_the_rows_of_a_state() -> None:
    module = nn.ModuleDict({"head": Keeps(), "beside": nn.Linear(1, 1)})
    state = {**module.state_dict(), "head.rows": torch.ones(5, 3), "head.counts": torch.ones(5)}
    make_room(module, state)
    assert module["head"].rows.shape == (5, 3)
    match(module, state)
    assert torch.equal(module["head"].rows, torch.ones(5, 3))
    assert torch.equal(module["head"].counts, torch.ones(5))


def test_room_is_made_in_a_head_alone() -> None:
    head = Keeps()
    make_room(head, {"rows": torch.ones(2, 3)})
    assert head.rows.shape == (2, 3)
    assert head.counts.shape == (0,)


@pytest.mark.parametrize("given", [torch.ones(5, 4), torch.ones(5), torch.ones(5, 3, 1)])
def test_what_does_not_fit_is_left_to_the_matching(given: torch.Tensor) -> None:
    module = Keeps()
    make_room(module, {"rows": given, "fixed": torch.ones(9)})
    assert module.rows.shape == (0, 3)
    assert module.fixed.shape == (2,)
    with pytest.raises(WeightsError, match="rows: the network"):
        match(module, {**module.state_dict(), "rows": given})


def test_what_is_made_is_never_of_another_kind() -> None:
    module = Keeps()
    state = {**module.state_dict(), "rows": torch.ones(4, 3, dtype=torch.int8)}
    make_room(module, state)
    assert module.rows.dtype is torch.float32
    with pytest.raises(WeightsError, match="int8"):
        match(module, state)
