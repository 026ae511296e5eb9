"""What arguments may be."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from graft.errors import RequestError
from graft.limits import Limit, above, all_of, among, at_least, between, check, faults, flag, whole

SHARE = between(0, 1, "a share from 0 to below 1", ends=(True, False))


@pytest.mark.parametrize(
    ("limit", "inside", "outside"),
    [
        (whole(), [1, 7], [0, -1, 1.5, True, "1", None]),
        (whole(0), [0], [-1]),
        (whole().or_none(), [None, 2], [0]),
        (above(), [1e-9, 3], [0, -1, float("nan"), float("inf")]),
        (at_least(), [0, 0.5], [-1e-9, float("nan"), float("inf")]),
        (SHARE, [0, 0.99], [1, -0.1, float("nan")]),
        (between(0, 1, "a share"), [0, 1], [1.01]),
        (between(0, 1, "a share", ends=(False, False)), [0.5], [0, 1]),
        (among(("one", "two")), ["one"], ["three", None, 1]),
        (flag(), [True, False], ["yes", 1, None]),
        (all_of(above(), "numbers above 0"), [[1], (0.5, 2)], [[], [0], "12", 3, None]),
    ],
)
def test_what_is_inside_and_what_is_not(limit: Limit, inside: list[Any], outside: list[Any]) -> None:
    assert [limit.misses(value) for value in inside] == [None] * len(inside)
    assert all(limit.misses(value) for value in outside)


def test_all_faults_are_said_at_once() -> None:
    given = SimpleNamespace(epochs=0, lr="fast", how="well", share=0.5)
    limits = {"epochs": whole(), "lr": above(), "how": among(("badly", "hardly", "never")), "share": SHARE}
    with pytest.raises(RequestError) as caught:
        check(given, limits)
    assert str(caught.value) == (
        "epochs is 0, expected at least 1; lr is 'fast', expected a number; "
        "how is 'well', expected one of badly, hardly, never."
    )
    assert faults(SimpleNamespace(lr=1.0), {"lr": above()}) == []
