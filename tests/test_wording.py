"""How messages name many things."""

from __future__ import annotations

from graft.wording import listed


def test_what_is_over_the_limit_is_counted() -> None:
    assert listed([]) == ""
    assert listed(["a", "b", "c"], most=3) == "a, b, c"
    assert listed((each for each in "abcd"), most=3) == "a, b, c and 1 more"
