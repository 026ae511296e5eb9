"""A trial as JSON and back, and what is refused on the way."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graft.contracts import History, Machine
from graft.errors import DataError
from graft.select.entry import Entry, described, entry_of
from graft.select.sketch import Sketch
from graft.select.trial import Trial
from graft.sources.tfidf import Tfidf
from graft.strategies.linear_probe import LinearProbe
from graft.version import __version__

SKETCH = Sketch("text", "classification", "softmax", 200, 2, 0.97, {"words": 12.0, "digits": 0.1})
ENTRY = Entry(
    SKETCH, "minilm", "linear_probe", "accuracy", 0.91, 140, 3.5, ((70, 0.88), (140, 0.91)), "d" * 32,
    "2026-01-31T12:00:00Z",
)  # fmt: skip


def test_it_comes_back() -> None:
    document = json.loads(json.dumps(ENTRY.document()))
    assert Entry.from_document(document) == ENTRY
    assert Entry.from_document({**document, "later": "versions may say more"}) == ENTRY
    assert ENTRY.name == "linear_probe on minilm"
    assert ENTRY.version == __version__


@given(st.floats(-1e9, 1e9), st.integers(0, 10**9), st.floats(0, 1e9), st.text("abc/?=&.1-", min_size=1, max_size=40))
@settings(max_examples=50, deadline=None)
def test_any_numbers_and_names_come_back(score: float, rows: int, seconds: float, spec: str) -> None:
    entry = replace(ENTRY, score=score, rows=rows, seconds=seconds, source=spec, curve=((rows, score),))
    back = Entry.from_document(json.loads(json.dumps(entry.document())))
    assert back == entry
    assert back.key == entry.key


def test_the_key_is_of_what_was_tried_and_found_and_not_of_the_time() -> None:
    assert replace(ENTRY, when="2999-01-01T00:00:00Z").key == ENTRY.key
    for change in ({"score": 0.92}, {"seconds": 4.0}, {"data": "e" * 32}, {"source": "tfidf"}, {"curve": ()}):
        assert replace(ENTRY, **change).key != ENTRY.key, change  # type: ignore[arg-type]


def test_numbers_of_other_types_make_no_other_entry() -> None:
    loose = replace(
        ENTRY,
        score=np.float64(0.91),
        rows=cast("int", np.int64(140)),
        sketch=replace(SKETCH, rows=cast("int", np.int32(200)), facts={"digits": np.float64(0.1), "words": 12}),
    )
    assert loose.key == ENTRY.key
    assert Entry.from_document(loose.document()) == ENTRY


def test_a_trial_without_a_score() -> None:
    document = replace(ENTRY, score=math.nan, curve=((70, math.inf),)).document()
    assert document["score"] is None
    assert document["curve"] == [[70, None]]
    back = Entry.from_document(document)
    assert math.isnan(back.score)
    assert math.isnan(back.curve[0][1])


def test_times_become_utc() -> None:
    document = {**ENTRY.document(), "when": "2026-01-31T14:00:00+02:00"}
    assert Entry.from_document(document).when == "2026-01-31T12:00:00Z"


def change(**given: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document.update(given)


def change_sketch(**given: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["sketch"].update(given)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda document: document.pop("source"), "source is missing; expected a text"),
        (lambda document: document.pop("sketch"), "sketch is missing; expected an object"),
        (change(sketch=[]), "sketch is []"),
        (change(source=""), "expected 1 to 2000 letters"),
        (change(source="\x1b[31mred"), "letters that can be printed"),
        (change(strategy="s" * 2001), "expected 1 to 2000 letters"),
        (change(rows=-1), "rows is -1; expected a whole number"),
        (change(rows=True), "rows is True; expected a whole number"),
        (change(rows=10**30), "expected a whole number"),
        (change(seconds="long"), "seconds is 'long'; expected a number"),
        (change(seconds=10**400), "seconds is"),
        (change(score="good"), "score is 'good'; expected a number, or null"),
        (change(score=math.inf), "score is inf"),
        (change(curve={}), "curve is {}"),
        (change(curve=[[1, 2, 3]]), "curve holds [1, 2, 3]; expected pairs"),
        (change(curve=[[1, "a"]]), "a score of the curve is 'a'"),
        (change(curve=[[1, 0.5]] * 10_001), "curve has 10001 points"),
        (change(when="yesterday"), "when is 'yesterday'; expected a time with its zone"),
        (change(when="2026-01-31T12:00:00"), "expected a time with its zone"),
        (change(when="0001-01-01T00:00:00+23:00"), "expected a time with its zone"),
        (change_sketch(entropy=1.5), "entropy is 1.5; expected a number from 0 to 1"),
        (change_sketch(facts={"words": None}), "words is None"),
        (change_sketch(facts={"\n": 1.0}), "a fact's name"),
        (change_sketch(facts={str(place): 1.0 for place in range(65)}), "facts are 65; expected at most 64"),
    ],
)
def test_what_belongs_nowhere_is_refused(spoil: Callable[[dict[str, Any]], None], words: str) -> None:
    document = ENTRY.document()
    spoil(document)
    with pytest.raises(DataError) as refused:
        Entry.from_document(document)
    assert words in str(refused.value)
    assert len(str(refused.value)) < 300


def test_a_machine_is_told_without_its_name() -> None:
    assert described(Machine(torch.device("cpu"), threads=1)) == "cpu, 1 thread"
    assert described(Machine(torch.device("cuda:1"), threads=8)) == "cuda, 8 threads"


def test_of_a_trial() -> None:
    model = SimpleNamespace(fitted=SimpleNamespace(metric="accuracy"), machine=Machine())
    chosen = SimpleNamespace(source=Tfidf(longest=1), strategy=LinearProbe())
    trial = cast("Trial", SimpleNamespace(candidate=chosen, model=model, history=History(score=0.8), seconds=2.0))
    entry = entry_of(trial, SKETCH, "d" * 32, 140)
    assert (entry.source, entry.strategy, entry.metric) == ("tfidf?longest=1", "linear_probe", "accuracy")
    assert (entry.score, entry.rows, entry.seconds, entry.curve) == (0.8, 140, 2.0, ((140, 0.8),))
    assert entry.machine == "cpu, 1 thread"
    assert Entry.from_document(entry.document()) == entry
    bare = cast("Trial", SimpleNamespace(candidate=chosen, model=model, history=History(), seconds=2.0))
    assert math.isnan(entry_of(bare, SKETCH, "d" * 32, 140, ((70, 0.5),)).score)
