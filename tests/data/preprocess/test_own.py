from __future__ import annotations

import numpy as np
import pytest
import torch

from graft.data.preprocess.own import OwnPreprocess
from graft.errors import DataError, RequestError


def test_rows_become_what_the_transform_makes_of_them() -> None:
    own = OwnPreprocess(lambda text: {"length": torch.tensor(len(text)), "first": [float(ord(text[0]))]})
    items = own.items(["a", "bcd"], seeds=[1, 2])
    batch = own.collate(items)
    assert batch["length"].tolist() == [1, 3]
    assert batch["first"].shape == (2, 1)
    assert (own.cost(items[0]), own.files()) == (1, {})


def test_arrays_need_no_transform() -> None:
    own = OwnPreprocess(None)
    assert own.collate(own.items([np.zeros(3, dtype=np.float32)] * 2)).shape == (2, 3)
    with pytest.raises(RequestError, match="of type str makes no tensor without a transform"):
        own.items(["text"])


def test_a_transform_that_fails_is_told() -> None:
    with pytest.raises(RequestError, match="by the transform \\(ZeroDivisionError"):
        OwnPreprocess(lambda row: 1 / 0).items([1])

    def refuse(row: object) -> None:
        raise DataError("no such row")

    with pytest.raises(DataError, match="no such row"):
        OwnPreprocess(refuse).items([1])


def test_rows_of_several_shapes_make_no_batch() -> None:
    own = OwnPreprocess(lambda width: torch.zeros(width))
    with pytest.raises(RequestError, match=r"\(1,\), \(2,\)"):
        own.collate(own.items([1, 2]))
