"""Settings are proposed inside their space, and learnt from what was tried."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest

from graft import registry
from graft.contracts import Choice, Range, Strategy
from graft.select.space import proposed, settings, with_settings

SEARCHED = [name for name in registry.names("strategies") if registry.load("strategies", name).space]


class Toy(Strategy):
    space: ClassVar = {"lr": Range(1e-5, 1e-1, log=True), "rank": Choice((4, 8))}

    def __init__(self, lr: float = 1e-3, rank: int = 4, epochs: int = 3) -> None:
        self.lr = lr
        self.rank = rank
        self.epochs = epochs


def test_the_same_trials_give_the_same_proposal() -> None:
    tried = [(settings(Toy()), 0.5)]
    assert proposed(Toy(), tried, 0) == proposed(Toy(), tried, 0)
    assert proposed(Toy(), tried, 0) != proposed(Toy(), tried, 1)


def test_proposals_move_to_where_scores_are_high() -> None:
    toy, tried = Toy(), []
    for _ in range(30):
        found = proposed(toy, tried, 0)
        assert 1e-5 <= found["lr"] <= 1e-1
        assert found["rank"] in (4, 8)
        tried.append((found, -abs(np.log10(found["lr"]) + 2.0)))
    late = [np.log10(values["lr"]) for values, _ in tried[-10:]]
    assert np.abs(np.add(late, 2.0)).mean() < 0.5


def test_settings_outside_the_space_teach_nothing() -> None:
    strange = [({"lr": 5.0, "rank": 4}, 9.0), ({"lr": 1e-3, "rank": 5}, 9.0)]
    assert proposed(Toy(), strange, 0) == proposed(Toy(), strange, 0)


def test_a_copy_has_the_settings_and_the_rest_stays() -> None:
    toy = Toy(epochs=7)
    copy = with_settings(toy, {"lr": 0.01, "rank": 8})
    assert (copy.lr, copy.rank, copy.epochs) == (0.01, 8, 7)
    assert (toy.lr, toy.rank) == (1e-3, 4)


@pytest.mark.parametrize("name", SEARCHED)
def test_every_strategy_can_be_built_with_any_settings_of_its_space(name: str) -> None:
    strategy = registry.load("strategies", name)()
    assert settings(strategy).keys() == strategy.space.keys()
    for end in (0, -1):
        values = {
            key: (each.values[end] if isinstance(each, Choice) else (each.low, each.high)[end])
            for key, each in strategy.space.items()
        }
        assert settings(with_settings(strategy, values)) == values
    for key, each in strategy.space.items():
        default = getattr(strategy, key)
        inside = default in each.values if isinstance(each, Choice) else each.low <= default <= each.high
        assert inside, f"the default of {key} teaches the search nothing"
