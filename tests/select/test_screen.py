"""A screen finds the better source, says what it cannot tell, and goes on where a source fails."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from graft.contracts import Array, Backbone, Card, FittedTask, Machine, Rows, Source, TransferData
from graft.data.cells import objects
from graft.data.examples import TableExamples
from graft.errors import RequestError, UnavailableError, UnknownNameError
from graft.order import Order
from graft.preparation import prepare
from graft.scores.knn import KNN
from graft.select.ranks import Ranking
from graft.select.screen import screen
from graft.sources.graft import Graft
from graft.sources.pixels import Pixels
from graft.storage import digest
from graft.tasks.classification import Classification
from graft.tasks.multilabel import Multilabel
from graft.tasks.regression import Regression

CLASSES = np.arange(1200) % 3
ROWS = (np.eye(3, 6)[CLASSES] * 2.5 + np.random.default_rng(0).normal(size=(1200, 6))).astype(np.float32)
LABELS = np.array([("a", "b", "c")[each] for each in CLASSES], dtype=object)

LOADED: list[str] = []
SHAPED: dict[str, set[bytes]] = {}


class _Plain:
    """Rows as they are; remembers which it was given."""

    def __init__(self, name: str) -> None:
        self.name = name

    def items(self, rows: Sequence[Any], seeds: Sequence[int] | None = None) -> list[Any]:
        SHAPED.setdefault(self.name, set()).update(np.asarray(row).tobytes() for row in rows)
        return list(rows)

    def cost(self, item: Any) -> int:
        return 1

    def collate(self, items: Sequence[Any]) -> Tensor:
        return torch.from_numpy(np.stack(items))

    def files(self) -> dict[str, bytes]:
        return {}


class _Noisy(nn.Module):
    """The rows with noise of its own beside them, the same for the same row."""

    def __init__(self, noise: float, seed: int, fault: str) -> None:
        super().__init__()
        self.noise, self.fault = noise, fault
        self.turn = nn.Parameter(torch.randn(6, 6, generator=torch.Generator().manual_seed(seed)) * 50)

    def forward(self, batch: Tensor) -> Tensor:
        if self.fault == "crash":
            raise IndexError("index 7 is out of range")
        found = batch + self.noise * torch.sin(batch @ self.turn)
        return found * torch.nan if self.fault == "nan" else found


class Told(Source):
    """A source whose features hold as much noise as it is told."""

    modality: ClassVar[str] = "table"

    def __init__(self, name: str, noise: float = 0.0, fault: str = "", head: bool = False, top1: Any = None) -> None:
        self.name, self.noise, self.fault, self.head, self.top1 = name, noise, fault, head, top1

    def load(self, weights: bool = True) -> Backbone:
        if weights:
            LOADED.append(self.name)
        if self.fault == "absent":
            raise UnavailableError(f"{self.name} is not on this machine.")
        seed = int.from_bytes(self.name.encode(), "big") % 1000
        return Backbone(
            module=_Noisy(self.noise, seed, self.fault),
            dim=6,
            preprocess=_Plain(self.name),
            stages=("turn",),
            card=Card(self.name, "table", parameters=int(100 / (1 + self.noise)), top1=self.top1),
            head=nn.Linear(6, 4) if self.head else None,
            fingerprint=digest(self.name, str(self.noise)),
        )

    def rebuild(self, files: Mapping[str, bytes]) -> Backbone:
        raise NotImplementedError


class Texts(Told):
    """One that reads what the data are not."""

    modality: ClassVar[str] = "audio"


class Clock:
    """Seconds that run out with each look at them."""

    def __init__(self, *left: float) -> None:
        self.times = list(left)

    def left(self) -> float:
        return self.times.pop(0) if len(self.times) > 1 else self.times[0]


@pytest.fixture(autouse=True)
def _forget() -> None:
    LOADED.clear()
    SHAPED.clear()


def data(labels: Array = LABELS, task: Any = None, n: int = 1200) -> tuple[TransferData, FittedTask]:
    fitted = (task or Classification()).start(labels[:n])
    rows = Rows(TableExamples(ROWS[:n]), fitted.encode(labels[:n]))
    return TransferData(rows, machine=Machine(precision="float32")), fitted


def names(found: Ranking) -> list[str]:
    return [each.card.name for each in found.entries]


GOOD, FAIR, POOR = Told("good"), Told("fair", 2.0), Told("poor", 30.0)


def test_the_better_source_is_first_and_the_poor_one_is_left_early() -> None:
    found = screen([POOR, FAIR, GOOD], *data())
    assert names(found) == ["good", "fair", "poor"]
    best, _, worst = found.entries
    assert found.best is best
    assert best.scores["probe"].low > 0.8 > worst.scores["probe"].high
    assert worst.rows == 128 < best.rows
    assert worst.source in found.dropped
    assert found.behind[worst.source].low > 0.3
    assert found.measure == "accuracy"
    assert not found.abstains
    assert found.tied == (best.source,)


def test_sources_that_are_alike_are_not_told_apart() -> None:
    found = screen([Told("one", 1.0), Told("two", 1.0), POOR], *data())
    assert found.abstains
    assert set(found.tied) == {each.source for each in found.entries[:2]}
    assert found.rows == 1200
    assert found.stopped == "all rows were looked at"


def test_all_sources_see_the_same_rows() -> None:
    screen([Told("one", 1.0), Told("two", 1.0)], *data(), most=300)
    assert SHAPED["one"] == SHAPED["two"]
    assert len(SHAPED["one"]) == 300


def test_one_source_needs_no_more_rows_than_say_something() -> None:
    found = screen([GOOD], *data())
    assert found.rows == 512
    assert found.stopped == "one source is left"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (Told("lost", fault="absent"), "lost is not on this machine"),
        (Told("shaky", fault="crash"), r"it fails on the rows \(IndexError: index 7 is out of range\)"),
        (Told("empty", fault="nan"), "some features are not finite"),
        (Texts("deaf"), "reads rows of audio, and the data are rows of table"),
    ],
)
def test_a_source_that_fails_is_told_and_the_others_go_on(source: Source, reason: str) -> None:
    import re

    found = screen([source, GOOD], *data(n=200))
    assert found.best.card.name == "good"
    assert re.search(reason, found.entries[-1].failed)
    assert not found.entries[-1].scores
    with pytest.raises((RequestError, UnavailableError), match=reason):
        screen([source], *data(n=200))


def test_where_all_fail_each_reason_is_told() -> None:
    with pytest.raises(RequestError, match=r"(?s)no source is left to rank:.*lost is not on.*reads rows of audio"):
        screen([Told("lost", fault="absent"), Texts("deaf")], *data(n=200))


def test_time_that_is_short_leaves_the_rows_that_were_seen() -> None:
    found = screen([Told("one", 1.0), Told("two", 1.0)], *data(), clock=Clock(100.0, 0.0))
    assert found.rows == 128
    assert found.stopped.startswith("the time is short: 512 rows would take about")
    assert found.abstains


def test_time_that_runs_out_within_a_sample_leaves_the_one_before() -> None:
    found = screen([Told("one", 1.0), Told("two", 1.0)], *data(), clock=Clock(100.0, 100.0, 100.0, -1.0))
    assert {each.rows for each in found.entries} == {128}
    assert found.stopped == "the time ran out"


def test_without_any_time_the_first_source_is_still_told() -> None:
    found = screen([FAIR, GOOD], *data(), clock=Clock(-1.0))
    assert found.best.card.name == "fair"
    assert "no time was left" in found.entries[1].failed
    assert LOADED == ["fair"]


def test_the_first_look_has_a_clock_of_its_own() -> None:
    found = screen([FAIR, GOOD], *data(), clock=Clock(-1.0), first=Clock(100.0))
    assert {each.rows for each in found.entries} == {128}
    assert found.stopped.startswith("the time is short")
    assert all(each.pace is None or each.pace > 0 for each in found.entries)


def test_it_is_told_which_networks_take_smaller_images() -> None:
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (48, 48, 3), dtype=np.uint8) for _ in range(40)]
    prepared = prepare(Order((images, ["a", "b"] * 20), source="graft/tiny", strategy="linear_probe"))
    common = TransferData(train=prepared.rows(prepared.sides.train), machine=prepared.machine)
    found = screen([Graft("tiny", size=128), Graft("tiny", size=64), Pixels()], common, prepared.fitted)
    assert [each.source for each in found.entries if each.shrinks] == ["graft/tiny?size=128"]


def test_several_scores_are_told_and_the_first_orders() -> None:
    found = screen([FAIR, GOOD], *data(n=300), scores=["knn?k=3", "logme", "size", KNN(7)])
    assert list(found.best.scores) == ["knn?k=3", "logme", "size", "knn?k=7"]
    assert found.score == "knn?k=3"
    logme, size = found.best.scores["logme"], found.best.scores["size"]
    assert logme.low < logme.value < logme.high
    assert math.isnan(size.low)


def test_a_score_that_a_source_lacks_is_missing_with_its_reason() -> None:
    found = screen([GOOD, Told("headed", 2.0, head=True)], *data(n=300), scores=["leep", "probe"])
    assert found.best.card.name == "headed"
    assert "needs a source with outputs of its own" in found.entries[1].missing["leep"]
    assert "probe" in found.entries[1].scores
    assert found.measure == "leep"
    assert len(found.tied) == 1
    with pytest.raises(RequestError, match="leep can be told of no source"):
        screen([GOOD, FAIR], *data(n=300), scores=["leep"])


def test_priors_load_no_weights() -> None:
    found = screen([POOR, GOOD, Told("top", 5.0, top1=0.8)], *data(), scores=["size", "imagenet_top1"])
    assert names(found) == ["good", "top", "poor"]
    assert found.abstains  # a card says nothing of these rows
    assert found.entries[1].scores["imagenet_top1"].value == 0.8
    assert not LOADED


def test_a_source_named_twice_is_ranked_once() -> None:
    assert len(screen([GOOD, Told("good"), FAIR], *data(n=200)).entries) == 2


def test_numbers_go_by_the_tasks_metric() -> None:
    values = ROWS[:, 0] + ROWS[:, 1] * 2
    found = screen([POOR, GOOD], *data(values.astype(object), Regression(metric="mae")))
    assert names(found) == ["good", "poor"]
    assert found.measure == "-mae"
    assert -0.2 < found.best.scores["probe"].value < 0


def test_labels_go_by_the_tasks_metric() -> None:
    labels = objects([("x",) if each == 0 else ("x", "y") if each == 1 else () for each in CLASSES])
    found = screen([POOR, GOOD], *data(labels, Multilabel()))
    assert names(found) == ["good", "poor"]
    assert found.measure == "macro_f1"


def test_groups_are_left_out_together() -> None:
    """Rows of a group that are nearly copies make noise look like knowledge, unless they are left out together."""
    draw = np.random.default_rng(0)
    rows = (np.repeat(draw.normal(size=(60, 6)), 5, axis=0) + 1e-3 * draw.normal(size=(300, 6))).astype(np.float32)
    labels = np.repeat(np.array(["a", "b"], dtype=object)[draw.integers(0, 2, 60)], 5)
    fitted = Classification().start(labels)
    held = TransferData(Rows(TableExamples(rows), fitted.encode(labels)))
    alone = screen([GOOD], held, fitted, scores=["knn"]).best.scores["knn"].value
    together = screen([GOOD], replace(held, groups=np.repeat(np.arange(60), 5)), fitted, scores=["knn"])
    assert alone > 0.95
    assert together.best.scores["knn"].value < 0.7


def test_the_document_holds_all_of_it() -> None:
    document = screen([POOR, GOOD], *data(n=300)).document()
    assert document["entries"][0]["card"]["name"] == "good"
    assert document["abstains"] is False
    assert set(document) >= {"score", "measure", "behind", "tied", "dropped", "rows", "stopped"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sources": []}, "no source was given"),
        ({"scores": []}, "no score was given"),
        ({"scores": ["logm"]}, "no score 'logm'. Did you mean logme"),
    ],
)
def test_a_request_for_nothing_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises((RequestError, UnknownNameError), match=message):
        screen(**{"sources": [GOOD], "data": data()[0], "fitted": data()[1], **given})


def test_a_score_that_the_task_has_none_of_is_refused() -> None:
    values = ROWS[:, 0].astype(object)
    with pytest.raises(RequestError, match="h_score and nce cannot be told for regression"):
        screen([GOOD], *data(values, Regression()), scores=["probe", "h_score", "nce"])
