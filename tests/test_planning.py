"""``graft.plan``: from data to the field, with nothing trained, loaded or fetched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import graft
from graft import compute, registry
from graft.compute import Speed
from graft.contracts import Backbone, Source
from graft.errors import DataError, RequestError, UnknownNameError
from graft.planning import BUDGET
from graft.sources.bridged import Bridged

TEXTS = [f"{('good', 'bad')[place % 2]} parcel number {place}" for place in range(60)]
LABELS = [("good", "bad")[place % 2] for place in range(60)]


@pytest.fixture(autouse=True)
def _steady(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compute, "speed", lambda machine: Speed(1e11, 1e11))


def test_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(self: Source, weights: bool = True) -> Backbone:
        raise AssertionError("loaded")

    monkeypatch.setattr(type(registry.build("sources", "minilm")), "load", never)
    told: list[str] = []
    found = graft.plan((TEXTS, LABELS), source="minilm", say=lambda step, text: told.append(step))
    assert found.sources() == ("minilm",)
    assert found.entrants[0].candidate.name == "linear_probe"
    assert found.known.rows == 51  # 15 % are kept to judge by
    assert found.limits.budget == BUDGET
    assert told[0] == "read"
    assert "split" in told


def test_images_and_what_is_here(tmp_path: Path) -> None:
    for name in ("red", "blue"):
        (tmp_path / name).mkdir()
        for place in range(30):
            colour = (200 + place, 0, 0) if name == "red" else (0, 0, 200 + place)
            Image.new("RGB", (16, 16), colour).save(tmp_path / name / f"{place}.png")
    found = graft.plan(tmp_path)
    assert "graft/tiny" in found.sources()
    told = {each.name: each.reason for each in found.excluded}
    assert "nothing to transfer" in told["pixels"]
    assert "--download" in told["timm/resnet18.a1_in1k"]


def test_tables_go_over_the_bridge_or_are_taught_first() -> None:
    rows = np.random.default_rng(0).normal(size=(60, 4))
    found = graft.plan((rows, LABELS))
    assert {"table/mlp", "table/ft"} <= set(found.sources())
    stands_on = {each.source: each.candidate.source for each in found.entrants}
    assert "minilm" not in stands_on or isinstance(stands_on["minilm"], Bridged)


def test_rows_without_labels_count() -> None:
    labels = [*LABELS[:40], *[None] * 20]
    more = [f"another parcel {place}" for place in range(7)]
    found = graft.plan((TEXTS, np.array(labels, dtype=object)), source="minilm", unlabelled=more)
    assert found.known.unlabelled == 27


def test_names_are_checked_all_at_once() -> None:
    with pytest.raises(RequestError, match=r"(?s)no strategy 'lin_probe'.*no strategy 'svn'"):
        graft.plan((TEXTS, LABELS), strategy=["lin_probe", "svn", "knn"])
    with pytest.raises(UnknownNameError, match="no source 'minilmm'"):
        graft.plan((TEXTS, LABELS), source=["minilmm", "minilm"])


def test_the_same_option_twice_is_one() -> None:
    found = graft.plan(
        (TEXTS, LABELS), source=["tfidf", "tfidf"], strategy=["svm", registry.build("strategies", "svm")]
    )
    assert len(found.entrants) == 1


@pytest.mark.parametrize("budget", [0.0, -1.0, float("inf"), float("nan")])
def test_a_budget_that_is_none(budget: float) -> None:
    with pytest.raises(RequestError, match="expected a number of seconds above 0"):
        graft.plan((TEXTS, LABELS), budget=budget)


def test_wrong_requests() -> None:
    with pytest.raises(RequestError, match="too small for anything"):
        graft.plan((TEXTS, LABELS), source="minilm", budget=1e-3)
    with pytest.raises(UnknownNameError, match="MIT"):
        graft.plan((TEXTS, LABELS), licence="MITT")
    with pytest.raises(RequestError, match=r"pixels: it does not read text"):
        graft.plan((TEXTS, LABELS), source="pixels")
    with pytest.raises(DataError):
        graft.plan((TEXTS, ["one"] * 60))


def test_experience_comes_first() -> None:
    found = graft.plan((TEXTS, LABELS), source="minilm", prior={"svm": 1.0})
    assert found.entrants[0].candidate.name == "svm"
