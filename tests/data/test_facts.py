"""Facts of a row: its size and shares of its parts, whatever it holds."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from graft.contracts import Sound
from graft.data.facts import facts_of


def test_of_a_text() -> None:
    found = facts_of("Ab 12, ж")
    assert found == {
        "characters": 8,
        "words": 3,
        "digits": 2 / 8,
        "marks": 1 / 8,
        "capitals": 1 / 3,
        "beyond ASCII": 1 / 3,
    }
    assert set(facts_of("").values()) == {0.0}


def test_of_an_image() -> None:
    flat = facts_of(Image.new("RGB", (60, 40), (255, 0, 0)))
    assert flat["pixels"] == 2400
    assert flat["squareness"] == pytest.approx(2 / 3)
    assert flat["colour"] == 1.0
    assert flat["brightness"] == pytest.approx(1 / 3)
    assert (flat["detail"], flat["contrast"]) == pytest.approx((0.0, 0.0), abs=1e-9)
    noisy = facts_of(Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32, 3)).astype(np.uint8)))
    assert noisy["detail"] > 0.05
    assert facts_of(Image.new("L", (8, 8), 7))["colour"] == 0.0


def test_of_a_row_of_a_table() -> None:
    found = facts_of(np.array([0.0, 1.5, np.nan, 2.0], dtype=np.float32))
    assert found == {"columns": 4, "missing": 0.25, "zeros": 1 / 3, "whole numbers": 2 / 3}
    assert facts_of(np.full(3, np.nan, dtype=np.float32)) == {
        "columns": 3,
        "missing": 1.0,
        "zeros": 0.0,
        "whole numbers": 0.0,
    }


def test_of_a_sound() -> None:
    time = np.arange(8000) / 8000
    low, high = (
        facts_of(Sound(np.sin(2 * np.pi * pitch * time + 0.1).astype(np.float32), 8000)) for pitch in (50, 500)
    )
    assert low["seconds"] == 1.0
    assert low["rate"] == 8000
    assert low["level"] == pytest.approx(np.sqrt(0.5), rel=1e-3)
    assert low["crossings"] == pytest.approx(100 / 7999)
    assert high["crossings"] == pytest.approx(1000 / 7999, abs=2e-4)
    assert facts_of(Sound(np.zeros(1, np.float32), 8000))["crossings"] == 0.0


def test_a_row_of_an_unknown_kind_has_none() -> None:
    assert facts_of(object()) == {}
