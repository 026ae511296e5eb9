"""Train, valid and test rows: stratified, grouped, duplicates on one side, the same on every machine.

Rows that share a group or their bytes form a *unit*, and a unit is never cut.  Units are dealt out
class by class, rarest class first, each to the side that is furthest from its share of that class
(iterative stratification: Sechidis, Tsoumakas and Vlahavas, "On the Stratification of Multi-label
Data", 2011).  Their order is that of a hash of the seed and the unit's bytes: it depends neither
on the order of the rows nor on a random generator.

Rows that carry times are cut in their order instead, see :mod:`graft.data.chronological`.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from graft.contracts import Array, TargetData
from graft.data.cells import Kind, label_kind, settled
from graft.data.chronological import in_order
from graft.data.units import Unit, strata_of, units_of
from graft.errors import DataError, RequestError
from graft.wording import listed

__all__ = ["Split", "hold_out", "kfold", "split"]

Indices = npt.NDArray[np.int64]

_SIDES = ("train", "valid", "test")
_DEALS = 24
"""How often grouped units are dealt anew where a class came to stand on one side only."""


@dataclass(frozen=True)
class Split:
    """Rows of each side, ascending, and how they were found."""

    train: Indices
    valid: Indices
    test: Indices
    unlabelled: Indices
    description: str

    @property
    def pool(self) -> Indices:
        """Places of all labelled rows that are no test rows, ascending."""
        return np.sort(np.concatenate([self.train, self.valid]))


def split(
    data: TargetData,
    *,
    fractions: tuple[float, float, float] = (0.7, 0.15, 0.15),
    seed: int = 0,
    kind: Kind | None = None,
) -> Split:
    """Split labelled rows into train, valid and test; rows without a label are kept apart.

    Every class gets a training row, then a test row, then a validation row, before shares count.
    Sides that the data state are kept; what they do not state is cut from the training rows.
    Rows with times are cut in their order: train, valid, test.

    Parameters
    ----------
    data
        ``n`` rows.
    fractions
        Shares of train, valid and test; they add up to 1.
    seed
        Another seed gives another split.
    kind
        What the labels are; by default that is judged by the labels.

    Raises
    ------
    DataError
        Where no row has a label, a class cannot stand in both train and test, or a row has no time.
    RequestError
        For fractions that are none, or that leave nothing to test by; for times and groups at once.

    Examples
    --------
    >>> from graft.data.examples import TextExamples
    >>> texts = TextExamples([f"text {i}" for i in range(20)])
    >>> split(TargetData(texts, np.array(["a", "b"] * 10, dtype=object))).description
    '14 train, 3 valid, 3 test'
    """
    _check_fractions(fractions)
    n = len(data.examples)
    labels = np.full(n, None, dtype=object) if data.labels is None else data.labels
    known = np.array([label is not None for label in labels], dtype=np.bool_)
    if not known.any():
        raise DataError(f"none of the {n} rows of {data.origin} has a label; name the column of labels with --target.")
    kind = kind or label_kind(labels)
    given = np.full(n, "", dtype=object) if data.given is None else data.given
    stated = {side for side in ("valid", "test") if any(known & (given == side))}
    sides = {side: known & (given == side) for side in _SIDES}
    rows = np.flatnonzero(known)
    pool = known & ~sides["valid"] & ~sides["test"]
    if not pool.any():
        raise DataError(f"{data.origin} states a split without training rows that have a label; add some.")
    shares = _shares(fractions, stated, data.origin)
    if data.times is not None:
        kept = {side: np.flatnonzero(sides[side]) for side in sorted(stated)}
        found, how = in_order(data, rows, kept, shares, kind)
        counts = ", ".join(f"{len(found[side])} {side}" for side in _SIDES)
        return Split(found["train"], found["valid"], found["test"], np.flatnonzero(~known), "; ".join([counts, *how]))
    groups = None if data.groups is None else data.groups[rows]
    strata = dict(zip(np.flatnonzero(pool).tolist(), strata_of(labels[pool], kind), strict=True))
    units = units_of(rows, data.examples.take(rows).keys(), groups, strata, sides["valid"])
    if kind == "classes":
        _check_classes(units, shares, labels, np.flatnonzero(sides["test"]))
    places = _deal_fairly(units, shares, seed, kind)
    found = {side: np.flatnonzero(sides[side] & (side in stated)) for side in _SIDES}
    found |= {side: _rows(units, places, side) for side in shares}
    description = ", ".join(f"{len(found[side])} {side}" for side in _SIDES) + _how(data, units, stated)
    return Split(found["train"], found["valid"], found["test"], np.flatnonzero(~known), description)


def hold_out(
    keys: npt.NDArray[np.uint8],
    labels: Array,
    groups: Array | None,
    fraction: float,
    seed: int,
    kind: Kind | None = None,
) -> tuple[Indices, Indices]:
    """Cut validation rows from training rows: ``(train, valid)`` places, ascending.

    Parameters
    ----------
    keys
        ``(n, 16)`` digests of the rows.
    labels
        ``(n,)`` labels, none of them missing.
    groups
        ``(n,)`` groups, or ``None``.
    fraction
        Share of the validation rows.
    seed
        Another seed gives other rows.
    kind
        What the labels are; by default that is judged by the labels.
    """
    _check_fractions((1 - fraction, fraction, 0.0))
    if not fraction:
        return np.arange(len(keys)), np.arange(0)
    units = _all_units(keys, labels, groups, kind)
    places = _deal(units, {"train": 1 - fraction, "valid": fraction}, str(seed), every_class=("train",))
    return _rows(units, places, "train"), _rows(units, places, "valid")


def kfold(
    keys: npt.NDArray[np.uint8], labels: Array, groups: Array | None, folds: int, seed: int, kind: Kind | None = None
) -> Indices:
    """The fold ``(n,)`` of each row, 0 to ``folds − 1``; parameters as for :func:`hold_out`.

    Raises
    ------
    RequestError
        For more folds than there are units of rows that stay together.
    """
    units = _all_units(keys, labels, groups, kind)
    if not 2 <= folds <= len(units):
        raise RequestError(
            f"{folds} folds were asked for; {len(units)} units of rows (duplicates and groups stay together) "
            f"can be cut into 2 to {len(units)}."
        )
    places = _deal(units, {str(fold): 1 / folds for fold in range(folds)}, str(seed), every_class=())
    found = np.zeros(len(keys), np.int64)
    for unit, place in zip(units, places, strict=True):
        found[list(unit.rows)] = int(place)
    return found


def _check_fractions(fractions: Sequence[float]) -> None:
    if len(fractions) != 3 or not all(0 <= share <= 1 for share in fractions) or abs(sum(fractions) - 1) > 1e-6:
        raise RequestError(
            f"fractions {tuple(fractions)} were given; three shares from 0 to 1 that add up to 1 were expected."
        )
    if not fractions[0]:
        raise RequestError("the share of the training rows is 0; give them the largest share, such as 0.7.")


def _shares(fractions: Sequence[float], stated: set[str], origin: str) -> dict[str, float]:
    """The shares of the sides that are yet to be cut."""
    shares = {side: share for side, share in zip(_SIDES, fractions, strict=True) if share > 0 and side not in stated}
    if "test" not in stated and "test" not in shares:
        raise RequestError(
            f"fractions {tuple(fractions)} leave nothing to judge the model on, and {origin} states no test rows; "
            "give the test rows a share, such as 0.15."
        )
    return {side: share / sum(shares.values()) for side, share in shares.items()}


def _all_units(keys: npt.NDArray[np.uint8], labels: Array, groups: Array | None, kind: Kind | None) -> list[Unit]:
    strata = strata_of(labels, kind or label_kind(labels))
    return units_of(np.arange(len(keys)), keys, groups, dict(enumerate(strata)))


def _check_classes(units: Sequence[Unit], shares: dict[str, float], labels: Array, test: Indices) -> None:
    """Refuse classes that no split can put into both train and test."""
    holders = Counter(stratum for unit in units for stratum, _ in unit.strata)
    unlearnt = sorted({str(settled(label)) for label in labels[test].tolist() if settled(label) not in holders})
    if unlearnt:
        raise DataError(
            f"{_classes(unlearnt)} in test rows but in no training row; "
            "add training rows, or take these test rows away."
        )
    if "test" not in shares:
        return
    testable = {stratum for unit in units if not unit.bound for stratum, _ in unit.strata}
    bound = sorted(str(stratum) for stratum in holders if stratum not in testable)
    if bound:
        raise DataError(
            f"{_classes(bound)} only in rows that equal a stated validation row or are of its group, so no row of it "
            "can be tested by; add rows, or state test rows too."
        )
    lonely = sorted(str(stratum) for stratum, count in holders.items() if count == 1)
    if lonely:
        raise DataError(
            f"{_classes(lonely)} in a single row, or in rows that all belong to one group or are equal, so it cannot "
            "stand in both train and test; add rows, merge the class with another, or remove it."
        )


def _deal_fairly(units: Sequence[Unit], shares: dict[str, float], seed: int, kind: Kind) -> list[str]:
    """Deal until every class stands in train and in test.

    Groups that hold several classes can end up such that a class is missing from a side although
    it has enough groups; another order of the units then usually does better.
    """
    needed = [side for side in ("train", "test") if side in shares]
    if len(units) < len(needed) or ("test" in needed and all(unit.bound for unit in units)):
        raise DataError("all labelled rows are equal or of one group, so none is left to test by; add rows.")
    strata = {stratum for unit in units for stratum, _ in unit.strata}
    missing: list[str] = []
    for deal in range(_DEALS):
        places = _deal(units, shares, str(seed) if not deal else f"{seed} deal {deal}")
        held = {(place, stratum) for unit, place in zip(units, places, strict=True) for stratum, _ in unit.strata}
        missing = sorted(str(each) for each in strata if any((side, each) not in held for side in needed))
        if not missing or kind != "classes":
            return places
    raise DataError(
        f"{_classes(missing)} in groups so entangled with other classes that it cannot stand in both train and test; "
        "group by something finer, or merge or remove the class."
    )


def _deal(
    units: Sequence[Unit], shares: dict[str, float], salt: str, every_class: Sequence[str] = ("train", "test", "valid")
) -> list[str]:
    """The side of each unit; ``every_class`` names the sides that should hold every class, the first one first."""
    hashes = [_hash(salt, unit.name) for unit in units]
    order = sorted(range(len(units)), key=lambda place: (-len(units[place].rows), hashes[place]))
    total, holders = Counter[Any](), dict[Any, list[int]]()
    for place in order:
        for stratum, count in units[place].strata:
            total[stratum] += count
            holders.setdefault(stratum, []).append(place)
    placed: dict[int, str] = {}
    rows, held = Counter[str](), Counter[tuple[str, Any]]()
    dealt = 0
    for place in (place for place in order if units[place].bound):
        placed[place] = "train"
        dealt += len(units[place].rows)
        rows["train"] += len(units[place].rows)
        held.update({("train", stratum): count for stratum, count in units[place].strata})
    for stratum in sorted(holders, key=lambda each: (len(holders[each]), _hash(salt, repr(each).encode()))):
        waiting = [place for place in holders[stratum] if place not in placed]
        for turn, place in enumerate(waiting):
            unit = units[place]
            dealt += len(unit.rows)
            empty = [side for side in every_class if side in shares and not held[side, stratum]]
            if len(waiting) - turn <= len(empty):
                side = empty[0]
            else:
                needs = {each: shares[each] * total[stratum] - held[each, stratum] for each in shares}
                side = _neediest(needs, {each: shares[each] * dealt - rows[each] for each in shares})
            placed[place] = side
            rows[side] += len(unit.rows)
            for other, count in unit.strata:
                held[side, other] += count
    for side in shares:
        if not rows[side] and len(units) >= len(shares):
            _fill(side, placed, held, units, hashes)
    return [placed[place] for place in range(len(units))]


def _neediest(needs: dict[str, float], overall: dict[str, float]) -> str:
    """The side furthest from its share of the class.

    Once less than a whole row is missing anywhere, sides that still miss a part of one are chosen by
    what they miss over all classes: rounding each class alone would starve a small side.
    """
    largest = max(needs.values())
    if largest >= 1 or largest <= 0:
        return max(needs, key=lambda side: (needs[side], overall[side]))
    return max(
        (side for side in needs if needs[side] > 1e-9), key=lambda side: overall[side], default=next(iter(needs))
    )


def _fill(
    side: str, placed: dict[int, str], held: Counter[tuple[str, Any]], units: Sequence[Unit], hashes: Sequence[bytes]
) -> None:
    """Give an empty side the smallest unit that another side can spare without losing a class.

    Test rows there must be, whatever that takes; an empty validation side is less of a loss.
    """
    spare = [
        place
        for place, where in placed.items()
        if not units[place].bound and all(held[where, stratum] > count for stratum, count in units[place].strata)
    ]
    movable = spare or ([place for place in placed if not units[place].bound] if side == "test" else [])
    if movable:
        place = min(movable, key=lambda each: (len(units[each].rows), hashes[each]))
        for stratum, count in units[place].strata:
            held[placed[place], stratum] -= count
            held[side, stratum] += count
        placed[place] = side


def _hash(salt: str, name: bytes) -> bytes:
    return hashlib.blake2b(name, digest_size=16, key=hashlib.blake2b(salt.encode(), digest_size=32).digest()).digest()


def _rows(units: Sequence[Unit], places: Sequence[str], side: str) -> Indices:
    chosen = [row for unit, place in zip(units, places, strict=True) if place == side for row in unit.rows]
    return np.sort(np.array(chosen, dtype=np.int64))


def _classes(names: Iterable[str]) -> str:
    names = list(names)
    shown = listed(map(repr, names), 5)
    return f"class {shown} is" if len(names) == 1 else f"{len(names)} classes ({shown}) are each"


def _how(data: TargetData, units: Sequence[Unit], stated: set[str]) -> str:
    parts = []
    if stated:
        parts.append(f"{' and '.join(sorted(stated, key=_SIDES.index))} as the data state")
    if data.groups is not None:
        parts.append("groups kept together")
    elif any(len(unit.rows) > 1 for unit in units):
        parts.append("duplicates kept together")
    return "".join(f"; {part}" for part in parts)
