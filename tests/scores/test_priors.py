"""What the card alone says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from graft.contracts import Array, Card, Score, Seen
from graft.errors import RequestError
from graft.scores.imagenet_top1 import ImageNetTop1
from graft.scores.size import Size

Make = Callable[..., tuple[Seen, Array]]


def test_they_are_facts_of_the_card(make: Make) -> None:
    seen, targets = make()
    assert Size().score(seen, targets) == pytest.approx(3.0)
    assert ImageNetTop1().score(seen, targets) == 0.5
    assert Size().score(replace(seen, card=Card("none", "table", parameters=0)), targets) == 0.0


@pytest.mark.parametrize(
    ("score", "message"), [(Size(), "a known number of weights"), (ImageNetTop1(), "a known top-1 on ImageNet")]
)
def test_a_fact_that_is_not_known_is_no_score(make: Make, score: Score, message: str) -> None:
    seen, targets = make()
    with pytest.raises(RequestError, match=f"needs {message}, and that of bare is not known"):
        score.score(replace(seen, card=Card("bare", "image")), targets)
