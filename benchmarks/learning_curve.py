"""Is "what twice the labels would bring" to be trusted: simulated curves whose truth is known, at several noises.

Each curve has the points that ``graft fit --learning-curve`` measures.  Counted are intervals that hold the true
gain, and words that are wrong: "little" where it is a point or more, "more" where it is none.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from bench import arguments, write

from graft.evaluate.learning_curve import Point, learning_curve
from graft.select.growth import DRAWS

LAWS = {"steep": (0.95, 1.0, 0.4), "slow": (0.8, 0.6, 0.2), "slight": (0.7, 0.3, 0.3), "flat": (0.7, 0.0, 0.5),
        "fast": (0.9, 30.0, 1.0)}  # fmt: skip
"""Limit, scale and exponent; of 1 000 rows."""
ROWS = 1000


def simulated(law: tuple[float, float, float], noise: float, fall: float, seed: int) -> list[Point]:
    """Points whose noise on all rows is ``noise``, and grows as their share falls."""
    limit, scale, exponent = law
    draw = np.random.default_rng(seed)
    places = [int(ROWS * share) for share, often in DRAWS.items() for _ in range(often)]
    return [Point(n, limit - scale * n**-exponent + noise * (ROWS / n) ** fall * draw.normal()) for n in places]


def judged(name: str, noise: float, fall: float, curves: int) -> dict[str, Any]:
    """How often the interval holds, and the word is wrong."""
    _, scale, exponent = LAWS[name]
    true = scale * (ROWS**-exponent - (2 * ROWS) ** -exponent)
    held, wrong, words, widths = 0, 0, Counter[str](), []
    for seed in range(curves):
        found = learning_curve("accuracy", simulated(LAWS[name], noise, fall, seed), resamples=400)
        assert found.gain is not None
        held += found.gain.low <= true + 1e-12 and true <= found.gain.high
        wrong += (found.word == "little" and true >= 0.01) or (found.word == "more" and true <= 0)
        words[found.word] += 1
        widths.append(found.gain.high - found.gain.low)
    told = {"law": name, "true_points": round(100 * true, 2), "noise_points": 100 * noise, "noise_falls": fall}
    return told | {"covers": held / curves, "wrong": wrong / curves, "words": dict(words),
                   "median_width_points": round(100 * float(np.median(widths)), 2)}  # fmt: skip


def main() -> None:
    options = arguments(__doc__, curves=200, noises="0.005,0.02,0.05")
    noises = [float(each) for each in options.noises.split(",")]
    cells = [judged(name, noise, fall, options.curves) for name in LAWS for fall in (0.5, 0.0) for noise in noises]
    write({"curves": options.curves, "cells": cells, "covers": float(np.mean([each["covers"] for each in cells])),
           "wrong": float(np.mean([each["wrong"] for each in cells]))}, options.out)  # fmt: skip


if __name__ == "__main__":
    main()
