"""Forecasts follow the arithmetic of passes, sizes and speeds; benchmarks/forecast.py compares them with real fits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from graft import registry
from graft.compute import Speed
from graft.contracts import Card, Passes, Sound
from graft.data.examples import AudioExamples, TableExamples, TextExamples
from graft.select.forecast import Forecast, Known, duration, forecast, typical_length, volume
from graft.tasks.classification import Classification

TASK = Classification().start(np.array(["a", "b"], dtype=object))
SPEED = Speed(1e11, 1e11)
SMALL = Card("some", "text", parameters=10**7, flops=10**9, bytes=10**7)


def cost(card: Card = SMALL, passes: Passes | None = None, rows: int = 10**5, **more: Any) -> Forecast:
    known = Known("table", TASK, rows, more.pop("unlabelled", 0), length=more.pop("length", 32.0))
    return forecast(card, passes or Passes(learns=0.0), known, more.pop("speed", SPEED), **more)


def test_a_frozen_pass_is_the_rows_times_their_multiply_adds() -> None:
    found = cost()
    assert found.shared == pytest.approx(10**5 * 1e9 / (0.5 * 1e11))
    assert found.seconds == pytest.approx(found.shared, rel=0.05)
    assert cost(rows=2 * 10**5).shared == pytest.approx(2 * found.shared)
    assert cost(speed=Speed(1e11, 2e11)).shared == pytest.approx(found.shared / 2)
    assert "100000 rows, 1 times forward" in found.basis


def test_training_counts_the_way_back() -> None:
    frozen = cost().shared
    assert cost(passes=Passes(0.0, 10.0)).seconds == pytest.approx(30 * frozen, rel=0.01)
    assert cost(passes=Passes(0.0, 10.0, back=1.0)).seconds == pytest.approx(20 * frozen, rel=0.01)
    faster = cost(passes=Passes(0.0, 10.0), speed=Speed(1e11, 4e11))
    assert faster.seconds == pytest.approx(15 * frozen, rel=0.01)


def test_a_pace_that_was_measured_counts_more_than_the_card() -> None:
    card = Card("some", "text", parameters=10**6, flops=10**9, bytes=10**7)
    frozen, trained = cost(card, pace=0.01), cost(card, Passes(0.0, 10.0), pace=0.01)
    assert frozen.shared == pytest.approx(10**5 * 0.01)
    assert trained.seconds == pytest.approx(30 * frozen.shared, rel=0.01)
    assert frozen.basis.endswith("10 ms a row forward, as measured")


def test_comparing_all_pairs_of_rows_grows_with_their_square() -> None:
    plain = Card("plain", "table", parameters=0)
    few, many = (cost(plain, registry.build("strategies", "svm").passes_over(n), rows=n).seconds for n in (1000, 3000))
    assert many - 0.5 == pytest.approx(9 * (few - 0.5), rel=0.1)
    large = cost(plain, registry.build("strategies", "svm").passes_over(5000), rows=5000)
    assert large.seconds < many, "from 4000 rows on it is linear"


def test_rows_without_labels_count_where_something_trains() -> None:
    assert cost(unlabelled=10**5).seconds == cost().seconds
    once = Passes(0.0, 1.0)
    assert cost(passes=once, unlabelled=10**5).seconds == pytest.approx(2 * cost(passes=once).seconds, rel=0.01)


def test_weights_that_learn_take_memory_and_disk() -> None:
    few, all_of_them = (cost(passes=Passes(1.0, 1.0, learns=share)) for share in (0.0, 1.0))
    assert all_of_them.memory - few.memory == pytest.approx(4 * 4 * 10**7)
    assert all_of_them.disk - few.disk == pytest.approx(4 * 4 * 10**7)
    assert cost().memory < few.memory


def test_a_download_is_what_the_card_states_else_the_weights() -> None:
    assert cost().download == 0
    assert cost(held=False).download == 10**7
    assert cost(held=False).disk == cost().disk + 10**7
    assert cost(Card("some", "text", parameters=10**6), held=False).download == 4 * 10**6


def test_multiply_adds_that_are_not_stated_come_from_the_weights() -> None:
    texts = Card("some", "text", parameters=10**7)
    assert cost(texts, length=100.0).shared == pytest.approx(100 / 10 * cost(texts, length=10.0).shared)
    assert cost(texts, length=10_000.0).shared == cost(texts, length=512.0).shared  # texts are cut
    assert cost(Card("some", "image", parameters=10**7), length=9.0) == cost(Card("some", "image", parameters=10**7))
    assert "not known" in cost(Card("some", "table")).basis


def test_moving_numbers_gains_nothing_from_a_shorter_precision() -> None:
    picture = Card("some", "image", parameters=10**6, flops=10**8)
    slow, fast = (cost(picture, speed=Speed(1e11, each)).shared for each in (1e11, 1e14))
    assert slow > fast > slow / 2


def test_a_source_without_weights_is_almost_free() -> None:
    assert cost(Card("plain", "table", parameters=0, bytes=0)).seconds < 1.5


@pytest.mark.parametrize(
    ("spec", "rows", "expected"),
    [
        ("linear_probe", 100, Passes(1.0, 0.0, learns=0.0)),
        ("mlp_head", 100, Passes(1.0, 0.0, learns=0.0)),
        ("majority", 100, Passes(1.0, 0.0, learns=0.0)),
        ("fine_tune?epochs=4", 100, Passes(1.0, 4.0)),
        ("scratch?epochs=7", 100, Passes(1.0, 7.0)),
        ("lora?epochs=4", 100, Passes(1.0, 4.0, back=4.0, learns=0.05)),
        ("dora?epochs=4", 100, Passes(1.0, 4.0, back=4.0, learns=0.05)),
        ("bitfit?epochs=4", 100, Passes(1.0, 4.0, back=1.0, learns=0.01)),
        ("adapter?epochs=4", 100, Passes(1.0, 4.0, back=1.0, learns=0.05)),
        ("soup?epochs=2&lrs=[1e-4,1e-3]&seeds=[0,1,2]", 100, Passes(1.0, 12.0)),
        ("delta?epochs=4", 100, Passes(5.0, 4.0)),
        ("bi_tuning?epochs=4", 100, Passes(5.0, 4.0)),
        ("co_teaching?epochs=4", 100, Passes(1.0, 8.0, learns=2.0)),
        ("pretrain?epochs=5&options.epochs=3", 100, Passes(1.0, 8.0)),
        ("confident?then=fine_tune&options.epochs=3", 100, Passes(1.0, 3.0)),
    ],
)
def test_strategies_say_what_they_ask_of_the_network(spec: str, rows: int, expected: Passes) -> None:
    assert registry.build("strategies", spec).passes_over(rows) == expected


def test_contrastive_takes_no_more_steps_than_it_may() -> None:
    few, many = (registry.build("strategies", "contrastive").passes_over(rows).training for rows in (16, 16_000))
    assert few == pytest.approx(4 * 8)  # eight passes, for the whole and three folds
    assert many == pytest.approx(4 * 48 * 16 / 16_000)


def test_no_strategy_asks_for_less_than_nothing() -> None:
    for name in registry.names("strategies"):
        asked = registry.build("strategies", name).passes_over(50)
        assert min(asked.forward, asked.training, asked.back, asked.learns) >= 0
        assert math.isfinite(asked.forward + asked.training)


def test_the_length_of_rows() -> None:
    assert typical_length(TextExamples(["a" * 40] * 3)) == 12.0
    assert typical_length(AudioExamples([Sound(np.zeros(16_000, np.float32), 8000)])) == 100.0
    assert typical_length(TableExamples(np.zeros((4, 5), np.float32))) == 30.0
    assert typical_length(TextExamples([])) == 1.0


def test_amounts_for_a_person() -> None:
    assert [duration(each) for each in (0.31, 3.24, 45, 100, 700, 9000)] == [
        "0.3 s",
        "3.2 s",
        "45 s",
        "1.7 min",
        "12 min",
        "2.5 h",
    ]
    assert [volume(each) for each in (0, 4.6e7, 1.24e9)] == ["0 MB", "46 MB", "1.2 GB"]
