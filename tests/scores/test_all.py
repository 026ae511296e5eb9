"""What every score that looks at rows has in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import ortho_group

from graft import registry
from graft.contracts import Array, Score, Seen
from graft.errors import RequestError
from graft.seen import OUTPUTS

Make = Callable[..., tuple[Seen, Array]]

LOOKING = [name for name in registry.names("scores") if not registry.load("scores", name).prior]
OF_FEATURES = [name for name in LOOKING if registry.load("scores", name).needs != OUTPUTS]


def built(name: str) -> Score:
    score: Score = registry.build("scores", name)
    return score


@pytest.mark.parametrize("name", LOOKING)
def test_a_source_that_tells_the_classes_is_above_one_that_does_not(make: Make, name: str) -> None:
    seen, targets = make(90, apart=1.5)
    shuffled = np.random.default_rng(1).permutation(targets)
    assert built(name).score(seen, targets) > built(name).score(seen, shuffled)


@pytest.mark.parametrize("name", LOOKING)
@pytest.mark.parametrize(("n", "d"), [(20, 5), (20, 300)])
def test_few_rows_give_a_finite_score(make: Make, name: str, n: int, d: int) -> None:
    seen, targets = make(n, d, c=4)
    assert np.isfinite(built(name).score(seen, targets))


@pytest.mark.parametrize("name", LOOKING)
def test_a_class_of_one_row_and_a_class_that_is_missing_do_no_harm(make: Make, name: str) -> None:
    seen, targets = make(40, c=3)
    targets = np.where(targets == 1, 4, targets)  # no row of class 1, nor of class 3
    targets[0] = 5
    assert np.isfinite(built(name).score(seen, targets))


@pytest.mark.parametrize("name", LOOKING)
def test_features_that_do_not_vary_give_a_finite_score(make: Make, name: str) -> None:
    seen, targets = make(30)
    for value in (0.0, 1.0):
        flat = replace(seen, features=np.full((30, 6), value, np.float32))
        assert np.isfinite(built(name).score(flat, targets))


@pytest.mark.parametrize("name", set(OF_FEATURES) - {"probe"})
def test_turning_the_features_changes_nothing(make: Make, name: str) -> None:
    seen, targets = make(60)
    turned = seen.features.astype(np.float64) @ ortho_group.rvs(8, random_state=0)
    assert built(name).score(replace(seen, features=turned), targets) == pytest.approx(
        built(name).score(seen, targets), rel=1e-5
    )


@pytest.mark.parametrize("name", set(OF_FEATURES) - {"logme", "sfda"})
def test_the_unit_of_the_features_changes_nothing(make: Make, name: str) -> None:
    seen, targets = make(60)
    for factor in (1e-3, 1e3):
        other = replace(seen, features=seen.features * np.float32(factor))
        assert built(name).score(other, targets) == pytest.approx(built(name).score(seen, targets), rel=1e-4)


@pytest.mark.parametrize("name", set(OF_FEATURES) - {"h_score", "sfda"})
def test_columns_of_zeros_change_nothing(make: Make, name: str) -> None:
    seen, targets = make(60)
    wider = replace(seen, features=np.pad(seen.features, ((0, 0), (0, 9))))
    assert built(name).score(wider, targets) == pytest.approx(built(name).score(seen, targets), rel=1e-5)


@pytest.mark.parametrize("name", ["h_score?shrinkage=0", "leep", "nce", "sfda", "transrate"])
def test_rows_that_occur_twice_count_as_once(make: Make, name: str) -> None:
    seen, targets = make(60)
    assert seen.outputs is not None
    twice = Seen(np.tile(seen.features, (2, 1)), np.tile(seen.outputs, (2, 1)), seen.card)
    assert built(name).score(twice, np.tile(targets, 2)) == pytest.approx(built(name).score(seen, targets), rel=1e-5)


@pytest.mark.parametrize("name", set(LOOKING) - {"n_leep"})
def test_the_order_of_rows_changes_nothing(make: Make, name: str) -> None:
    seen, targets = make(60)
    assert seen.outputs is not None
    order = np.random.default_rng(0).permutation(60)
    other = Seen(seen.features[order], seen.outputs[order], seen.card)
    assert built(name).score(other, targets[order]) == pytest.approx(built(name).score(seen, targets), rel=1e-6)


@pytest.mark.parametrize("name", LOOKING)
def test_rows_and_targets_that_differ_in_number_are_refused(make: Make, name: str) -> None:
    seen, targets = make(60)
    with pytest.raises(RequestError, match="60 rows of features and 59 targets"):
        built(name).score(seen, targets[:-1])


@pytest.mark.parametrize("name", LOOKING)
def test_a_single_row_is_refused(make: Make, name: str) -> None:
    seen, targets = make(1)
    with pytest.raises(RequestError, match="needs two rows or more, and there are 1"):
        built(name).score(seen, targets)


@pytest.mark.parametrize("name", [name for name in LOOKING if registry.load("scores", name).kinds == ("softmax",)])
def test_numbers_are_refused_where_classes_are_meant(make: Make, name: str) -> None:
    seen, targets = make(30)
    with pytest.raises(RequestError, match="is defined for one class a row, and the targets are numbers"):
        built(name).score(seen, targets[:, None].astype(np.float32))
