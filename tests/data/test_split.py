from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graft.contracts import Soft, TargetData
from graft.data.cells import objects
from graft.data.examples import TextExamples
from graft.data.split import Split, hold_out, kfold, split
from graft.errors import DataError, RequestError

SIDES = ("train", "valid", "test")


def data(
    texts: list[str], labels: list[Any], groups: list[str] | None = None, given: list[str] | None = None
) -> TargetData:
    return TargetData(
        TextExamples(texts),
        objects(labels),
        None if groups is None else objects(groups),
        None if given is None else objects(given),
    )


def numbered(labels: list[Any], **more: Any) -> TargetData:
    return data([f"text {row}" for row in range(len(labels))], labels, **more)


def sides(found: Split, n: int) -> list[str]:
    placed = [""] * n
    for side in (*SIDES, "unlabelled"):
        for row in getattr(found, side):
            assert placed[row] == "", "a row stands on one side only"
            placed[row] = side
    assert all(placed), "no row is lost"
    return placed


FRACTIONS = st.sampled_from([(0.7, 0.15, 0.15), (0.8, 0.0, 0.2), (0.6, 0.2, 0.2), (0.5, 0.25, 0.25), (0.9, 0.05, 0.05)])


@st.composite
def datasets(draw: st.DrawFn, grouped: bool) -> TargetData:
    """Rows of 2 to 4 classes with duplicates, unlabelled rows and, where asked for, groups."""
    classes = draw(st.integers(2, 4))
    n = draw(st.integers(8, 60))
    labels: list[Any] = [draw(st.sampled_from([*range(classes), None])) for _ in range(n)]
    texts = [f"{label} {draw(st.integers(0, 12))}" for label in labels]
    groups = [draw(st.sampled_from(["", *"abcdefgh"])) for _ in range(n)] if grouped else None
    return data(texts, labels, groups)


def attempt(held: TargetData, fractions: tuple[float, float, float], seed: int) -> Split | None:
    try:
        return split(held, fractions=fractions, seed=seed)
    except DataError:
        return None


@settings(max_examples=150, deadline=None)
@given(st.booleans().flatmap(datasets), FRACTIONS, st.integers(0, 5))
def test_groups_and_duplicates_stay_on_one_side(
    held: TargetData, fractions: tuple[float, float, float], seed: int
) -> None:
    found = attempt(held, fractions, seed)
    if found is None:
        return
    placed = sides(found, len(held.examples))
    assert held.labels is not None
    keys = held.examples.keys()
    for marks in ([bytes(key) for key in keys], [] if held.groups is None else list(held.groups)):
        where: dict[Any, set[str]] = {}
        for mark, side, label in zip(marks, placed, held.labels, strict=False):
            if mark != "" and label is not None:
                where.setdefault(mark, set()).add(side)
        assert all(len(each) == 1 for each in where.values())
    for row, label in enumerate(held.labels):
        assert (label is None) == (placed[row] == "unlabelled")
    for label in set(held.labels) - {None}:
        there = {side for side, each in zip(placed, held.labels, strict=True) if each == label}
        assert {"train", "test"} <= there
    assert (len(found.valid) == 0) or fractions[1] > 0


@settings(max_examples=100, deadline=None)
@given(st.booleans().flatmap(datasets), st.integers(0, 3), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(held: TargetData, seed: int, random: Any) -> None:
    order = list(range(len(held.examples)))
    random.shuffle(order)
    shuffled = TargetData(
        held.examples.take(np.array(order)),
        None if held.labels is None else held.labels[order],
        None if held.groups is None else held.groups[order],
    )
    first, second = attempt(held, (0.6, 0.2, 0.2), seed), attempt(shuffled, (0.6, 0.2, 0.2), seed)
    assert (first is None) == (second is None)
    if first is not None and second is not None:
        placed = sides(first, len(order))
        assert [placed[row] for row in order] == sides(second, len(order))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(10, 60), min_size=1, max_size=8), FRACTIONS, st.integers(0, 5))
def test_each_class_has_its_share_to_within_one_row(
    counts: list[int], fractions: tuple[float, float, float], seed: int
) -> None:
    labels = [f"c{place}" for place, count in enumerate(counts) for _ in range(count)]
    found = split(numbered(labels), fractions=fractions, seed=seed)
    placed = Counter(zip(sides(found, len(labels)), labels, strict=True))
    for place, count in enumerate(counts):
        for side, share in zip(SIDES, fractions, strict=True):
            assert abs(placed[side, f"c{place}"] - share * count) <= 1 + 1e-9


def test_the_whole_keeps_its_shares_where_classes_are_small() -> None:
    found = split(numbered([f"c{row % 77}" for row in range(770)]), fractions=(0.8, 0.1, 0.1))
    assert (len(found.train), len(found.valid), len(found.test)) == (616, 77, 77)
    found = split(numbered([f"c{row % 100}" for row in range(1300)]), fractions=(0.7, 0.15, 0.15))
    assert all(
        abs(len(rows) - share) <= 2 for rows, share in ((found.train, 910), (found.valid, 195), (found.test, 195))
    )


def test_the_same_seed_is_the_same_split_on_any_machine() -> None:
    found = split(numbered([row % 5 for row in range(500)]), seed=3)
    placed = hashlib.sha256(" ".join(sides(found, 500)).encode()).hexdigest()
    assert placed == "e3d7d102e90dc0919d5d52cfa931caf2e0682fb737ff514e0318df4a9341a2d7"


def test_another_seed_is_another_split() -> None:
    held = numbered(["x", "y"] * 50)
    assert split(held, seed=0).test.tolist() != split(held, seed=1).test.tolist()
    assert split(held, seed=1).test.tolist() == split(held, seed=1).test.tolist()


@pytest.mark.parametrize(("n", "expected"), [(2, (1, 0, 1)), (3, (1, 1, 1)), (4, (2, 1, 1)), (5, (3, 1, 1))])
def test_tiny_classes_reach_train_then_test_then_valid(n: int, expected: tuple[int, int, int]) -> None:
    labels = ["tiny"] * n + ["big"] * 100
    placed = Counter(zip(sides(split(numbered(labels)), n + 100), labels, strict=True))
    assert tuple(placed[side, "tiny"] for side in SIDES) == expected


def test_a_class_with_a_single_row_is_named() -> None:
    with pytest.raises(DataError, match=r"class 'lonely' is in a single row.*merge the class"):
        split(numbered(["x"] * 10 + ["lonely"]))
    with pytest.raises(DataError, match=r"2 classes .'a', 'b'. are each in a single row"):
        split(numbered(["x"] * 10 + ["a", "b"]))


def test_equal_rows_count_as_one() -> None:
    with pytest.raises(DataError, match="class 'y' is in a single row"):
        split(data([f"{row}" for row in range(8)] + ["same"] * 3, ["x"] * 8 + ["y"] * 3))


def test_a_class_within_one_group_is_named() -> None:
    with pytest.raises(DataError, match=r"class 'y' is in .*one group"):
        split(numbered(["x"] * 6 + ["y"] * 3, groups=[*"abcdef", "g", "g", "g"]))


def test_entangled_groups_are_an_error_that_names_the_classes() -> None:
    # Each class is in two of three groups: whichever stands alone in test, one class misses a side.
    labels = ["a", "b", "b", "c", "a", "c"]
    with pytest.raises(DataError, match="entangled"):
        split(numbered(labels, groups=["1", "1", "2", "2", "3", "3"]))


def test_groups_of_several_classes_are_dealt_until_every_class_is_on_both_sides() -> None:
    labels = [f"c{row % 6}" for row in range(600)]
    groups = [f"g{row // 40}" for row in range(600)]
    for seed in range(10):
        placed = set(zip(sides(split(numbered(labels, groups=groups), seed=seed), 600), labels, strict=True))
        assert all((side, f"c{each}") in placed for side in ("train", "test") for each in range(6))


def test_groups_have_their_shares_as_far_as_they_can() -> None:
    labels = [f"c{row // 200}" for row in range(1000)]
    found = split(numbered(labels, groups=[f"g{row // 10}" for row in range(1000)]))
    assert abs(len(found.train) - 700) <= 50
    assert "groups kept together" in found.description


def test_an_empty_group_binds_nothing() -> None:
    assert len(split(numbered(["x", "y"] * 20, groups=[""] * 40)).test) == 6


def test_numbers_are_split_evenly_over_their_range() -> None:
    values = np.random.default_rng(0).lognormal(size=1000)
    found = split(numbered(values.tolist()))
    assert (len(found.train), len(found.valid), len(found.test)) == (700, 150, 150)
    deciles = np.quantile(values, np.linspace(0, 1, 11))
    assert np.histogram(values[found.test], deciles)[0].tolist() == [15] * 10


def test_whole_numbers_can_be_said_to_be_values() -> None:
    labels = [1, 2, 3, 3, 3, 4, 4, 9]
    with pytest.raises(DataError, match="single row"):
        split(numbered(labels))
    assert len(split(numbered(labels), kind="values").test) >= 1


def test_several_labels_are_stratified() -> None:
    draws = np.random.default_rng(0)
    labels = [
        tuple(name for name, p in (("a", 0.5), ("b", 0.1), ("c", 0.02)) if draws.random() < p) for _ in range(1000)
    ]
    found = split(numbered(labels))
    for name in "abc":
        total = sum(name in label for label in labels)
        there = sum(name in labels[row] for row in found.test)
        assert abs(there - 0.15 * total) <= max(2, 0.05 * total)
    assert abs(len(found.test) - 150) <= 10


def test_a_label_with_one_row_is_learnt_from() -> None:
    labels: list[Any] = [("a",)] * 10 + [("rare", "a")]
    assert 10 in split(numbered(labels)).train
    assert len(split(numbered([(f"{row}",) for row in range(10)])).test) >= 1


def test_rows_without_a_label_are_kept_apart() -> None:
    found = split(numbered(["x", "y", None, "x", "y", None]))
    assert found.unlabelled.tolist() == [2, 5]


def test_no_label_at_all_is_an_error() -> None:
    with pytest.raises(DataError, match=r"none of the 2 rows.*--target"):
        split(numbered([None, None]))
    with pytest.raises(DataError, match="none of the 1 rows"):
        split(TargetData(TextExamples(["a"]), None))


@pytest.mark.parametrize("labels", [[1.5, 2.5], [("a",), ("a",)]])
def test_rows_that_all_belong_together_leave_none_to_test_by(labels: list[Any]) -> None:
    with pytest.raises(DataError, match="none is left to test by"):
        split(numbered(labels, groups=["g", "g"]))


def test_a_single_class_is_split_too() -> None:
    assert len(split(numbered(["x"] * 20)).test) == 3


GIVEN = ["train"] * 60 + ["valid"] * 20 + ["test"] * 20


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        (("train", "valid", "test"), (60, 20, 20)),
        (("train", "test"), (66, 14, 20)),
        (("train", "valid"), (66, 20, 14)),
        (("train",), (70, 15, 15)),
    ],
)
def test_stated_sides_are_kept_and_the_rest_is_cut_from_train(
    stated: tuple[str, ...], expected: tuple[int, ...]
) -> None:
    mine = [side if side in stated else "" for side in GIVEN]
    found = split(numbered(["x", "y"] * 50, given=mine))
    placed = sides(found, 100)
    for side in ("valid", "test"):
        if side in stated:
            assert [row for row in range(100) if placed[row] == side] == [r for r in range(100) if GIVEN[r] == side]
    assert all(abs(placed.count(side) - count) <= 1 for side, count in zip(SIDES, expected, strict=True))
    assert ("as the data state" in found.description) == (stated != ("train",))


def test_no_validation_rows_where_none_are_asked_for() -> None:
    mine = ["train"] * 80 + ["test"] * 20
    found = split(numbered(["x", "y"] * 50, given=mine), fractions=(0.85, 0.0, 0.15))
    assert (len(found.train), len(found.valid), len(found.test)) == (80, 0, 20)


def test_a_class_may_have_one_training_row_where_test_rows_are_stated() -> None:
    found = split(numbered(["x", "x", "y", "y"], given=["train", "train", "train", "test"]))
    assert found.test.tolist() == [3]
    assert 2 in found.train


def test_a_class_of_test_rows_alone_is_named() -> None:
    with pytest.raises(DataError, match="class 'new' is in test rows but in no training row"):
        split(numbered(["x", "y", "new"], given=["train", "train", "test"]))


def test_a_stated_split_needs_training_rows() -> None:
    with pytest.raises(DataError, match="without training rows"):
        split(numbered(["x", "y"], given=["test", "test"]))


@pytest.mark.parametrize("fractions", [(0.5, 0.2, 0.2), (1.2, -0.1, -0.1), (0.0, 0.5, 0.5), (0.5, 0.5)])
def test_fractions_must_be_shares(fractions: Any) -> None:
    with pytest.raises(RequestError, match="share"):
        split(numbered(["x", "y"]), fractions=fractions)


def test_something_must_be_left_to_judge_on() -> None:
    with pytest.raises(RequestError, match=r"nothing to judge the model on.*such as 0\.15"):
        split(numbered(["x", "y", "y"]), fractions=(1.0, 0.0, 0.0))
    found = split(numbered(["x", "y", "y"], given=["train", "train", "test"]), fractions=(1.0, 0.0, 0.0))
    assert (found.train.tolist(), found.test.tolist()) == ([0, 1], [2])


@pytest.mark.parametrize("seed", range(6))
def test_rows_that_belong_with_stated_validation_rows_are_never_tested_on(seed: int) -> None:
    # Rows 0 to 9 share a group with validation rows 40 to 49, rows 10 to 19 their bytes.
    texts = [f"text {row}" for row in range(40)] + [f"valid {row}" for row in range(10)]
    texts += [f"text {row}" for row in range(10, 20)]
    groups = [f"g{row}" for row in range(10)] + [""] * 30 + [f"g{row}" for row in range(10)] + [""] * 10
    given = ["train"] * 40 + ["valid"] * 20
    found = split(data(texts, ["x", "y"] * 30, groups, given), seed=seed)
    assert found.valid.tolist() == list(range(40, 60))
    assert set(range(20)) <= set(found.train)
    assert len(found.test) >= 4


def test_rows_are_connected_through_stated_rows() -> None:
    # The first row shares its group with a validation row whose bytes are those of the second.
    texts = ["one", "same", *(f"text {row}" for row in range(18)), "same"]
    groups = ["g", *[""] * 19, "g"]
    for seed in range(6):
        held = data(texts, [*["x", "y"] * 10, "x"], groups, [""] * 20 + ["valid"])
        assert {0, 1} <= set(split(held, fractions=(0.5, 0.1, 0.4), seed=seed).train)


def test_a_class_that_only_belongs_with_validation_rows_is_named() -> None:
    labels = ["x"] * 8 + ["y"] * 2 + ["y"]
    groups = [f"{row}" for row in range(8)] + ["g"] * 3
    with pytest.raises(DataError, match="class 'y' is only in rows that equal a stated validation row"):
        split(numbered(labels, groups=groups, given=["train"] * 10 + ["valid"]))
    values: list[Any] = [0.5, 1.5, 2.5]
    with pytest.raises(DataError, match="none is left to test by"):
        split(numbered(values, groups=["g"] * 3, given=["train", "train", "valid"]))


def test_the_description_counts() -> None:
    assert split(numbered(["x", "y"] * 10)).description == "14 train, 3 valid, 3 test"
    held = data([f"{row // 2}" for row in range(40)], ["x"] * 20 + ["y"] * 20)
    assert split(held).description.endswith("; duplicates kept together")


KEYS = TextExamples([f"{row}" for row in range(100)]).keys()


def test_hold_out_cuts_a_stratified_share() -> None:
    labels = objects(["x"] * 80 + ["y"] * 20)
    train, valid = hold_out(KEYS, labels, None, 0.1, 0)
    assert sorted([*train, *valid]) == list(range(100))
    assert Counter(labels[valid]) == {"x": 8, "y": 2}
    again = hold_out(KEYS, labels, None, 0.1, 0)
    assert np.array_equal(valid, again[1])


def test_hold_out_keeps_groups_together_and_a_row_to_validate_by() -> None:
    groups = objects([f"{row // 10}" for row in range(100)])
    train, valid = hold_out(KEYS, np.arange(100) % 2, groups, 0.2, 0)
    assert not set(groups[train]) & set(groups[valid])
    assert len(valid) == 20
    assert [len(rows) for rows in hold_out(KEYS[:3], objects(["x"] * 3), None, 0.1, 0)] == [2, 1]


def test_hold_out_leaves_lonely_classes_in_train() -> None:
    labels = objects(["x"] * 99 + ["lonely"])
    assert 99 in hold_out(KEYS, labels, None, 0.5, 0)[0]


def test_hold_out_spreads_over_small_classes() -> None:
    labels = objects([f"c{row % 33}" for row in range(99)])
    assert len(hold_out(KEYS[:99], labels, None, 0.1, 0)[1]) in (9, 10, 11)


def test_hold_out_of_nothing_holds_nothing_out() -> None:
    train, valid = hold_out(KEYS, objects(["x", "y"] * 50), None, 0.0, 0)
    assert (train.tolist(), valid.tolist()) == (list(range(100)), [])


@pytest.mark.parametrize("fraction", [1.0, -0.1, 1.5])
def test_hold_out_takes_a_share(fraction: float) -> None:
    with pytest.raises(RequestError, match="share"):
        hold_out(KEYS, np.zeros(100), None, fraction, 0)


def test_folds_are_even_and_stratified() -> None:
    labels = objects([f"c{row % 7}" for row in range(100)])
    folds = kfold(KEYS, labels, None, 5, 0)
    assert all(19 <= count <= 21 for count in Counter(folds).values())
    table = Counter(zip(labels, folds, strict=True))
    assert all(2 <= table[f"c{each}", fold] <= 3 for each in range(7) for fold in range(5))


def test_folds_keep_groups_together() -> None:
    groups = objects([f"{row // 5}" for row in range(100)])
    folds = kfold(KEYS, np.arange(100) % 2, groups, 4, 0)
    assert len(set(zip(groups, folds, strict=True))) == 20
    assert sorted(Counter(folds).values()) == [25] * 4


@pytest.mark.parametrize("folds", [1, 101])
def test_folds_need_units(folds: int) -> None:
    with pytest.raises(RequestError, match="2 to 100"):
        kfold(KEYS, np.zeros(100), None, folds, 0)


def test_divided_labels_are_dealt_out_by_their_likeliest_class() -> None:
    draw = np.random.default_rng(0)
    shares = draw.dirichlet([1.0, 1.0], 40)
    soft = [Soft((("x", share), ("y", 1 - share))) for share, _ in shares]
    whole = [label.likeliest for label in soft]
    for ours, theirs in ((split(numbered(soft)), split(numbered(whole))),):
        assert sides(ours, 40) == sides(theirs, 40)
    keys = np.frombuffer(draw.bytes(40 * 16), np.uint8).reshape(40, 16)
    assert (kfold(keys, objects(soft), None, 4, 0) == kfold(keys, objects(whole), None, 4, 0)).all()
    held = [hold_out(keys, objects(labels), None, 0.25, 0)[1].tolist() for labels in (soft, whole)]
    assert held[0] == held[1]
    stated = numbered([*soft, Soft((("z", 1.0),))], given=["train"] * 40 + ["test"])
    with pytest.raises(DataError, match="class 'z' is in test rows but in no training row"):
        split(stated)
