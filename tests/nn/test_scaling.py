"""Features on the scale that was learnt from."""

from __future__ import annotations

import torch

from graft.nn.scaling import Scaling


def test_rows_are_moved_scaled_and_brought_to_length_one() -> None:
    rows, centre, factor = torch.randn(4, 3), torch.randn(3), torch.rand(3)
    for normalise in (False, True):
        scaling = Scaling(3, normalise)
        assert torch.equal(Scaling(3)(rows), rows)
        scaling.set(centre.double(), factor.double())
        expected = (rows - centre) * factor
        expected = expected / expected.norm(dim=1, keepdim=True) if normalise else expected
        assert torch.allclose(scaling(rows), expected)
