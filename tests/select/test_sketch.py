"""A task in a few numbers: the same for the same data, near for like data, and silent about what rows hold."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from graft.contracts import Examples, FittedTask, TargetData
from graft.data.cells import objects
from graft.data.examples import ImageExamples, TableExamples, TextExamples
from graft.select.sketch import Sketch, data_digest, distance, sketch
from graft.tasks.classification import Classification
from graft.tasks.multilabel import Multilabel
from graft.tasks.regression import Regression

WORDS = ["parcel", "came", "late", "and", "the", "box", "was", "broken", "but", "seller", "friendly"]


def texts(count: int, length: int = 12, seed: int = 0) -> list[str]:
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(WORDS, length)) for _ in range(count)]


def held(rows: Sequence[str], labels: Sequence[Any]) -> TargetData:
    return TargetData(TextExamples(rows), objects(labels))


def started(data: TargetData) -> FittedTask:
    assert data.labels is not None
    return Classification().start(data.labels)


def of_texts(count: int, length: int = 12, classes: int = 2, seed: int = 0) -> Sketch:
    data = held(texts(count, length, seed), [f"class {place % classes}" for place in range(count)])
    return sketch(data, started(data))


def test_it_counts_and_measures() -> None:
    found = of_texts(100, classes=4)
    assert (found.modality, found.kind, found.link, found.rows, found.outputs) == (
        "text",
        "classification",
        "softmax",
        100,
        4,
    )
    assert found.entropy == 1.0
    assert found.facts["words"] == 12
    assert found == of_texts(100, classes=4)


def test_rows_without_a_label_are_not_counted() -> None:
    data = held(texts(10), ["a", "b"] * 4 + [None, None])
    known = objects(["a", "b"])
    assert sketch(data, Classification().start(known)).rows == 8
    bare = TargetData(data.examples, None)
    found = sketch(bare, Classification().start(known))
    assert (found.rows, found.outputs, found.entropy) == (0, 2, 0.0)


def test_evenness_of_classes_is_their_entropy() -> None:
    data = held(texts(100), ["a"] * 90 + ["b"] * 10)
    expected = -(0.9 * math.log2(0.9) + 0.1 * math.log2(0.1))
    assert sketch(data, started(data)).entropy == round(expected, 2)


def test_evenness_of_several_labels_and_of_numbers() -> None:
    rows = TextExamples(texts(100))
    several = objects([("a", "b") if place % 2 else ("a",) for place in range(100)])
    # a applies to all rows (0 bits), b to half of them (1 bit)
    assert sketch(TargetData(rows, several), Multilabel().start(several)).entropy == 0.5
    even = np.arange(100.0)
    assert sketch(TargetData(rows, even), Regression().start(even)).entropy == 1.0
    spiked = np.array([0.0] * 99 + [1000.0])
    assert sketch(TargetData(rows, spiked), Regression().start(spiked)).entropy < 0.05


def test_soft_labels() -> None:
    from graft.contracts import Soft

    labels = objects([Soft((("a", 0.5), ("b", 0.5)))] * 10)
    data = TargetData(TextExamples(texts(10)), labels)
    assert sketch(data, Classification().start(labels)).entropy == 1.0


def test_a_table_says_how_many_columns_hold_words() -> None:
    values = np.array([[0.0, 1.0], [1.0, 2.5]] * 10)
    rows = TableExamples(values, columns=["colour", "size"], words=[["blue", "red"], None])
    labels = objects(["a", "b"] * 10)
    found = sketch(TargetData(rows, labels), Classification().start(labels))
    assert found.facts["columns"] == 2
    assert found.facts["words columns"] == 0.5


def test_rows_that_cannot_be_read_are_passed_over() -> None:
    pixels = np.zeros((20, 30, 3), np.uint8)
    rows = ImageExamples([Image.fromarray(pixels), b"no image"] * 5)
    labels = objects(["a", "b"] * 5)
    found = sketch(TargetData(rows, labels), Classification().start(labels))
    assert found.facts["pixels"] == 600
    none = ImageExamples([b"no image"] * 10)
    assert sketch(TargetData(none, labels), Classification().start(labels)).facts == {}


def test_a_few_hundred_rows_at_most_are_looked_at() -> None:
    class Counted(TextExamples):
        seen = 0

        def __getitem__(self, row: int) -> str:
            Counted.seen += 1
            return super().__getitem__(row)

    data = TargetData(Counted(texts(3000)), objects(["a", "b"] * 1500))
    sketch(data, started(data))
    assert Counted.seen <= 300


def test_it_says_nothing_of_what_rows_hold() -> None:
    """Other letters in the same places, other names of classes, other names of columns: the same sketch."""
    turned = str.maketrans("abcdefghijklmnopqrstuvwxyz", "nopqrstuvwxyzabcdefghijklm")
    rows = texts(80)
    one = held(rows, ["spam", "ham"] * 40)
    other = held([row.translate(turned) for row in rows], ["kept", "gone"] * 40)
    assert sketch(one, started(one)) == sketch(other, started(other))
    said = json.dumps(asdict(sketch(one, started(one))))
    assert not [word for word in (*WORDS, "spam", "ham") if f'"{word}' in said]
    for name, value in sketch(one, started(one)).facts.items():
        assert float(f"{value:.2g}") == value, name


def test_distance_is_0_for_the_same_and_grows_with_unlikeness() -> None:
    here = of_texts(200)
    assert distance(here, here) == 0.0
    assert distance(here, of_texts(200, seed=1)) < 0.1
    like, unlike = of_texts(300), of_texts(3000, length=200, classes=20)
    assert 0 < distance(here, like) < 0.3 < distance(here, unlike)
    assert distance(here, unlike) == distance(unlike, here)


def test_distance_by_hand() -> None:
    one = Sketch("text", "classification", "softmax", 99, 9, 1.0, {"words": 9.0, "digits": 0.1, "own": 1.0})
    other = Sketch("text", "tokens", "softmax", 999, 9, 0.5, {"words": 99.0, "digits": 0.4})
    # rows one tenfold step, outputs none, entropy 0.5, kind 1, words one step, digits 0.3, the fact that one lacks 1
    assert distance(one, other) == pytest.approx(math.sqrt(1 + 0 + 0.25 + 1 + 1 + 0.09 + 1))
    huge = replace(one, rows=10**9)
    assert distance(one, huge) == pytest.approx(2.0)


def test_another_modality_or_link_is_infinitely_far() -> None:
    here = of_texts(50)
    assert distance(here, replace(here, modality="image")) == math.inf
    assert distance(here, replace(here, link="identity")) == math.inf


def test_the_digest_of_data_ignores_their_order_and_sees_every_change() -> None:
    rows, labels = texts(30), ["a", "b", None] * 10
    turned = np.random.default_rng(0).permutation(30)
    same = held([rows[place] for place in turned], [labels[place] for place in turned])
    first = data_digest(held(rows, labels))
    assert data_digest(same) == first
    assert data_digest(held([*rows[:-1], "another"], labels)) != first
    assert data_digest(held(rows, [*labels[:-1], "a"])) != first
    bare: Examples = TextExamples(rows)
    assert data_digest(TargetData(bare, None)) != first
