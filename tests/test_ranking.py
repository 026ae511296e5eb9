"""Sources ranked for data of any kind, on rows that nothing is judged by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import graft
from graft.errors import BadRowsError, DataError, RequestError, UnavailableError, UnknownNameError
from graft.order import Order
from graft.preparation import prepare
from graft.sources.columns import Columns
from graft.sources.tfidf import Tfidf


def table(n: int = 120) -> tuple[np.ndarray, list[str]]:
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, n)
    rows = random.normal(size=(n, 3)).astype(np.float32)
    rows[:, 0] += 3 * labels
    return rows, [("left", "middle", "right")[label] for label in labels]


TEXTS = [f"{('sunny', 'rainy', 'windy')[place % 3]} day number {place}" for place in range(150)]
WEATHER = [("sun", "rain", "wind")[place % 3] for place in range(150)]


def test_sources_that_are_here_are_ranked() -> None:
    found = graft.rank(table())
    assert isinstance(found, graft.Ranking)
    sources = {each.source for each in found.entries}
    assert "columns" in sources
    assert "nothing" not in sources
    assert found.best.scores["probe"].value > 0.6


def test_networks_that_never_learnt_are_left_out_unless_they_are_named() -> None:
    found = graft.rank(table())
    ranked = {each.source for each in found.entries if not each.failed}
    left_out = {each.source: each.failed for each in found.entries if each.failed}
    assert {"columns"} <= ranked
    assert {"table/mlp", "table/ft"} <= set(left_out)
    assert all("never learnt anything" in reason for reason in left_out.values())
    assert not {found.best.source, *found.tied} & set(left_out)
    named = graft.rank(table(), source=["table/mlp", "columns"])
    assert {each.source for each in named.entries if not each.failed} == {"table/mlp", "columns"}


def test_what_is_named_is_ranked_beside_what_fails() -> None:
    found = graft.rank((TEXTS, WEATHER), source=["tfidf", Tfidf(longest=1), "pixels"], score=["knn", "probe"])
    assert [each.source for each in found.entries[:2]] == sorted(
        ["tfidf", "tfidf?longest=1"],
        key=lambda name: -next(e for e in found.entries if e.source == name).scores["knn"].value,
    )
    assert found.entries[-1].source == "pixels"
    assert "reads rows of image" in found.entries[-1].failed
    assert set(found.best.scores) == {"knn", "probe"}


def test_rows_that_a_fit_judges_by_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    import graft.ranking

    seen: set[bytes] = set()
    screen = graft.ranking.screen

    def watched(sources: Any, data: Any, *given: Any, **named: Any) -> Any:
        seen.update(key.tobytes() for key in data.train.examples.keys())  # noqa: SIM118 (no mapping)
        return screen(sources, data, *given, **named)

    monkeypatch.setattr(graft.ranking, "screen", watched)
    rows = table()
    graft.rank(rows, source="columns", seed=3)
    assert len(seen) > 70
    for strategy in ("linear_probe", "mlp_head"):
        prepared = prepare(Order(rows, source="columns", strategy=strategy, seed=3))
        judged = prepared.held.examples.take(prepared.sides.test).keys()
        assert not seen & {key.tobytes() for key in judged}


def test_numbers_labels_and_groups_are_ranked_for() -> None:
    rows, _ = table()
    numbers = graft.rank((rows, list(rows[:, 0] * 2.5)), source="columns")
    assert numbers.measure == "r2"
    assert numbers.best.scores["probe"].value > 0.95
    marks = [("warm", "dry") if place % 2 else ("dry",) for place in range(120)]
    assert graft.rank((rows, marks), source="columns", metric="micro_f1").measure == "micro_f1"
    frame = pd.DataFrame({"text": TEXTS, "label": WEATHER, "person": [place // 3 for place in range(150)]})
    assert graft.rank(frame, source="tfidf", group_by="person").rows < 130


def test_fewer_rows_can_be_asked_for() -> None:
    assert graft.rank((TEXTS, WEATHER), source="tfidf", rows=30).rows == 30
    assert graft.rank((TEXTS, WEATHER), source="tfidf", budget=1e-9).rows > 0  # the first source is always told


def test_a_licence_leaves_out_and_says_so() -> None:
    found = graft.rank((TEXTS, WEATHER), source=["tfidf", "hf/some/model"], licence="permissive")
    assert found.best.source == "tfidf"
    assert found.entries[-1].failed
    with pytest.raises(RequestError, match="no source is left to rank"):
        graft.rank((TEXTS, WEATHER), source=["hf/some/model"], licence="MIT")


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"budget": 0.0}, RequestError, "the budget is 0 s; expected more than 0"),
        ({"rows": 1}, RequestError, "rows is 1; two at least"),
        ({"source": []}, RequestError, "no source was given to rank"),
        ({"source": "colums"}, UnknownNameError, "no source 'colums'. Did you mean columns"),
        ({"score": "prob"}, UnknownNameError, "no score 'prob'. Did you mean probe"),
        ({"score": []}, RequestError, "no score was given"),
        ({"licence": "permisive"}, UnknownNameError, "permisive"),
        ({"source": "hf/not/here"}, UnavailableError, "not/here"),
        ({"metric": "acuracy"}, UnknownNameError, "acuracy"),
    ],
)
def test_what_cannot_work_is_said(given: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        graft.rank(table(), **{"source": "columns", **given})


def test_data_that_cannot_serve_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no file"):
        graft.rank(tmp_path / "absent.csv")
    with pytest.raises(DataError):
        graft.rank((TEXTS, ["same"] * 150))
    for place in range(30):
        folder = tmp_path / "pictures" / ("a", "b")[place % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{place}.png").write_bytes(b"no picture")
    with pytest.raises(BadRowsError):
        graft.rank(tmp_path / "pictures", source="pixels")


def test_an_object_is_left_as_it_is() -> None:
    source = Columns()
    graft.rank(table(), source=source)
    assert source.get_params() == Columns().get_params()


@pytest.mark.slow
def test_on_photos_a_network_that_learnt_leads_over_pixels(real_data: Path) -> None:
    found = graft.rank(real_data / "images/pacs_subset/photo", source=["graft/tiny", "pixels"], rows=200)
    assert found.best.source == "graft/tiny"
    assert found.behind["pixels"].low > 0.1
