from __future__ import annotations

import numpy as np
import pytest

from graft.errors import RequestError
from graft.evaluate.compare import Comparison
from graft.evaluate.intervals import Interval
from graft.evaluate.verdict import verdict


def against(low: float, value: float, high: float, p: float = 0.0001, metric: str = "accuracy") -> Comparison:
    return Comparison(metric, Interval(value, low, high), p, "McNemar")


def test_it_helps_where_every_control_is_beaten() -> None:
    found = verdict({"majority": against(0.8, 0.9, 0.95), "scratch": against(0.475, 0.549, 0.623)})
    assert (found.word, found.against) == ("helps", "scratch")
    assert str(found) == "helps: +0.549 [0.475, 0.623] accuracy over scratch, McNemar p < 0.001"
    assert found.sentence == (
        "Transfer helps: its accuracy is 0.549 [0.475, 0.623] higher than that of scratch, "
        "the hardest of 2 controls to beat (McNemar p < 0.001)."
    )


@pytest.mark.parametrize(
    "weak",
    [
        against(-0.01, 0.05, 0.1),
        against(0.0, 0.05, 0.1),
        against(0.01, 0.05, 0.1, p=0.05),
        against(np.nan, 0.05, np.nan),
        against(np.nan, np.nan, np.nan, p=1.0),
    ],
)
def test_one_control_that_is_not_beaten_leaves_no_evidence(weak: Comparison) -> None:
    found = verdict({"scratch": against(0.001, 0.002, 0.003), "shallow": weak})
    assert (found.word, found.against, found.comparison) == ("no evidence", "shallow", weak)
    assert found.sentence.startswith("There is no evidence that transfer helps")


def test_it_harms_where_a_control_is_surely_better() -> None:
    found = verdict({"majority": against(0.1, 0.2, 0.3), "shallow": against(-0.3, -0.2, -0.1)})
    assert (found.word, found.against) == ("harms", "shallow")
    assert str(found) == "harms: -0.200 [-0.300, -0.100] accuracy over shallow, McNemar p < 0.001"
    assert "accuracy is 0.200 [0.100, 0.300] lower than that of shallow" in found.sentence


def test_the_sentence_follows_the_direction_of_the_metric() -> None:
    found = verdict({"scratch": against(0.1, 0.2, 0.3, metric="log_loss")})
    assert "log_loss is 0.200 [0.100, 0.300] lower than that of scratch (" in found.sentence


def test_without_a_control_there_is_nothing_to_say() -> None:
    with pytest.raises(RequestError, match="no control"):
        verdict({})
