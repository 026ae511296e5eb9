"""Linear models whose penalty is chosen inside the rows that they learn from."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import r2_score

from graft.contracts import Array, Link
from graft.errors import DivergedError, RequestError
from graft.evaluate.goal import Goal
from graft.linear import LinearFit, fit_linear
from graft.linear.models import DEFAULT_PENALTY, PENALTIES
from graft.nn.glm import losses, one_hot

ACCURACY = Goal(lambda outputs, targets: float((outputs.argmax(1) == targets).mean()))
R2 = Goal(lambda outputs, targets: float(r2_score(targets, outputs)))


def blobs(n: int, c: int = 3, d: int = 10, noise: float = 1.0, seed: int = 0) -> tuple[Array, torch.Tensor]:
    random = np.random.default_rng(seed)
    y = np.arange(n) % c
    x = np.eye(c, d)[y] + noise * random.normal(size=(n, d))
    return x.astype(np.float32), torch.from_numpy(y)


def outputs_of(fitted: LinearFit, x: Any) -> Array:
    return np.asarray(x @ fitted.weight.numpy().T + fitted.bias.numpy())


def test_it_is_the_model_that_scikit_learn_fits_on_the_same_scale() -> None:
    x, y = blobs(120, noise=0.7)
    x *= np.geomspace(0.01, 100, 10, dtype=np.float32)
    fitted = fit_linear(x, y, "softmax", n_outputs=3, penalties=[0.1])
    scaled = (x - x.mean(0)) / x.std(0) / np.sqrt(10)
    reference = LogisticRegression(C=10.0, tol=1e-8, max_iter=5000).fit(scaled.astype(np.float64), y)
    theirs = torch.from_numpy(reference.decision_function(scaled.astype(np.float64)))
    wanted = one_hot(y, "softmax", 3).double()
    ours = torch.from_numpy(outputs_of(fitted, x)).double() / fitted.sharpness
    assert losses(ours, wanted, "softmax").sum() == pytest.approx(
        float(losses(theirs, wanted, "softmax").sum()), rel=1e-2
    )
    assert np.allclose(ours - ours.mean(1, keepdim=True), theirs - theirs.mean(1, keepdim=True), atol=0.03)


def test_noise_asks_for_a_strong_penalty_and_clear_rows_do_not() -> None:
    noisy = fit_linear(*blobs(200, noise=3.0, d=60), "softmax", n_outputs=3)
    clear = fit_linear(*blobs(200, noise=0.1, d=60), "softmax", n_outputs=3)
    assert noisy.penalty > clear.penalty
    assert noisy.score is not None
    assert clear.score is not None
    assert clear.score < noisy.score, "without a goal the score is the loss"


def test_the_score_is_honest() -> None:
    x, y = blobs(90, noise=1.0)
    shuffled = y[torch.randperm(90, generator=torch.Generator().manual_seed(0))]
    score = fit_linear(x, shuffled, "softmax", n_outputs=3, goal=ACCURACY).score
    assert score is not None
    assert score < 0.55
    x, y = blobs(600, noise=0.5)
    fitted = fit_linear(x[:300], y[:300], "softmax", n_outputs=3, goal=ACCURACY)
    assert fitted.score == pytest.approx(ACCURACY.measure(outputs_of(fitted, x[300:]), y[300:].numpy()), abs=0.08)


def test_of_equals_the_loss_decides_and_then_the_stronger_penalty() -> None:
    constant = Goal(lambda outputs, targets: 0.5)
    by_loss = fit_linear(*blobs(60), "softmax", n_outputs=3)
    assert fit_linear(*blobs(60), "softmax", n_outputs=3, goal=constant).penalty == by_loss.penalty
    x, y = blobs(60)
    assert fit_linear(np.zeros_like(x), y, "softmax", n_outputs=3, goal=constant).penalty == max(PENALTIES)
    undefined = Goal(lambda outputs, targets: float("nan"))
    fitted = fit_linear(x, y, "softmax", n_outputs=3, goal=undefined)
    assert fitted.penalty == by_loss.penalty
    assert fitted.score is None


def test_a_goal_that_is_better_the_lower_chooses_as_its_mirror_does() -> None:
    x, y = blobs(300)
    x = np.hstack([x, 2 * np.random.default_rng(0).normal(size=(300, 150)).astype(np.float32)])
    errors = Goal(lambda outputs, targets: 1 - ACCURACY.measure(outputs, targets), higher_is_better=False)

    def chosen(goal: Goal) -> LinearFit:
        return fit_linear(x, y, "softmax", n_outputs=3, goal=goal, penalties=(1e-4, 1e4))

    right, wrong = chosen(ACCURACY), chosen(errors)
    assert right.penalty == wrong.penalty == 1e-4
    assert right.score is not None
    assert wrong.score == pytest.approx(1 - right.score)
    assert chosen(replace(errors, higher_is_better=True)).penalty == 1e4


def test_rows_of_a_group_and_equal_rows_are_never_on_both_sides() -> None:
    random = np.random.default_rng(0)
    once, y = random.normal(size=(30, 40)).astype(np.float32), torch.from_numpy(random.integers(0, 2, 30))
    x, y = np.repeat(once, 4, axis=0), y.repeat_interleave(4)
    leaking = fit_linear(x, y, "softmax", n_outputs=2, goal=ACCURACY)
    groups = np.repeat([f"person {place}" for place in range(30)], 4)
    keys = np.zeros((120, 16), np.uint8)
    keys[:, 0] = np.repeat(np.arange(30), 4)
    assert leaking.score is not None
    assert leaking.score > 0.95
    for grouped in ({"groups": groups}, {"keys": keys}):
        honest = fit_linear(x, y, "softmax", n_outputs=2, goal=ACCURACY, **grouped)  # type: ignore[arg-type]
        assert honest.score is not None
        assert honest.score < 0.75


def test_ridge_leaves_out_every_row() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(80, 15)).astype(np.float32)
    y = x[:, :1] * 4 + 50 + random.normal(size=(80, 1))
    fitted = fit_linear(x, torch.from_numpy(y).float(), "identity", n_outputs=1)
    scaled = (x - x.mean(0)) / x.std(0) / np.sqrt(15)
    reference = RidgeCV(alphas=PENALTIES, store_cv_results=True).fit(scaled.astype(np.float64), y[:, 0])
    assert fitted.penalty == pytest.approx(reference.alpha_)
    assert fitted.score == pytest.approx(-reference.best_score_ / 2, rel=1e-3)
    assert np.allclose(outputs_of(fitted, x)[:, 0], reference.predict(scaled), atol=1e-3)


def test_ridge_keeps_groups_together() -> None:
    random = np.random.default_rng(0)
    x = np.repeat(random.normal(size=(20, 30)), 5, axis=0).astype(np.float32)
    y = torch.from_numpy(np.repeat(random.normal(size=(20, 1)), 5, axis=0)).float()
    alone = fit_linear(x, y, "identity", n_outputs=1, goal=R2)
    together = fit_linear(x, y, "identity", n_outputs=1, goal=R2, groups=np.repeat(np.arange(20).astype(str), 5))
    assert alone.score is not None
    assert alone.score > 0.9
    assert together.score is not None
    assert together.score < 0.5


@pytest.mark.parametrize("link", ["softmax", "sigmoid", "identity"])
def test_sparse_features_serve_every_link(link: Link) -> None:
    x, y = blobs(120, noise=0.3)
    x = np.where(np.abs(x) > 0.4, x, 0)
    targets = y if link == "softmax" else one_hot(y, "softmax", 3)
    fitted = fit_linear(scipy.sparse.csr_array(x), targets, link, n_outputs=3)
    assert ACCURACY.measure(outputs_of(fitted, x), y.numpy()) > 0.95
    assert fitted.score is not None


def test_of_many_sparse_rows_one_fold_decides() -> None:
    x, y = blobs(5000, noise=0.5)
    fitted = fit_linear(scipy.sparse.csr_array(np.maximum(x, 0)), y, "softmax", n_outputs=3, goal=ACCURACY)
    assert fitted.score is not None
    assert fitted.score > 0.6


def test_rows_of_one_length_keep_their_angles() -> None:
    """Embeddings of unit length are scaled as a whole: a rare small coordinate is not blown up."""
    x, y = blobs(60, noise=0.3)
    x[:, -1] *= 1e-3
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    fitted = fit_linear(x, y, "softmax", n_outputs=3, penalties=[0.1])
    assert fitted.weight[:, -1].abs().max() < 0.05 * fitted.weight.abs().max()


@pytest.mark.parametrize(
    ("n", "c"), [(2, 2), (4, 2), (9, 3), (10, 5), (12, 12), (14, 7)], ids=lambda number: str(number)
)
def test_a_handful_of_rows_will_do(n: int, c: int) -> None:
    x, y = blobs(n, c=c, d=20, noise=0.01)
    fitted = fit_linear(x, y, "softmax", n_outputs=c, goal=ACCURACY)
    assert ACCURACY.measure(outputs_of(fitted, x), y.numpy()) == 1.0
    if n < 10:
        assert (fitted.penalty, fitted.score) == (DEFAULT_PENALTY, None)


def test_a_class_with_a_single_row_is_learnt_from_and_not_asked_for() -> None:
    x, y = blobs(41, c=2, noise=0.05)
    y[-1] = 2
    x[-1] = 5.0
    fitted = fit_linear(x, y, "softmax", n_outputs=3, goal=ACCURACY)
    assert fitted.score == 1.0
    assert outputs_of(fitted, x[-1:]).argmax() == 2


def test_fewer_groups_than_folds_and_a_single_group() -> None:
    x, y = blobs(40, c=2)
    few = fit_linear(x, y, "softmax", n_outputs=2, goal=ACCURACY, groups=np.array(["a", "b"] * 20)[y.argsort()])
    assert few.score is not None
    one = fit_linear(x, y, "softmax", n_outputs=2, goal=ACCURACY, groups=np.array(["a"] * 40))
    assert (one.penalty, one.score) == (DEFAULT_PENALTY, None)


def test_constant_columns_no_columns_and_labels_without_rows() -> None:
    x, y = blobs(40, c=2)
    x[:, 3] = 7.7
    fitted = fit_linear(x, y, "softmax", n_outputs=4, goal=ACCURACY)
    assert np.isfinite(outputs_of(fitted, x)).all()
    assert (fitted.weight[:, 3] == 0).all()
    marks = torch.zeros(40, 3)
    marks[::2, 0] = 1
    assert np.isfinite(outputs_of(fit_linear(x, marks, "sigmoid", n_outputs=3), x)).all()
    nothing = fit_linear(np.zeros((40, 0), np.float32), y, "softmax", n_outputs=2, goal=ACCURACY)
    assert nothing.weight.shape == (2, 0)


def test_the_same_rows_give_the_same_bits() -> None:
    first, second = (fit_linear(*blobs(100), "softmax", n_outputs=3, goal=ACCURACY) for _ in range(2))
    assert torch.equal(first.weight, second.weight)
    assert torch.equal(first.bias, second.bias)
    assert first.score == second.score


def test_progress_counts_penalties() -> None:
    seen: list[int] = []

    class Counting:
        @contextlib.contextmanager
        def step(self, label: str, total: int) -> Iterator[Any]:
            yield lambda done=1: seen.append(done)

    fit_linear(*blobs(40), "softmax", n_outputs=3, penalties=[1.0, 0.1], progress=Counting())
    assert sum(seen) <= 3


@pytest.mark.parametrize("sparse", [False, True])
def test_a_fit_may_end_within_a_penalty(sparse: bool) -> None:
    class EndedError(Exception):
        pass

    seen: list[int] = []

    class Short:
        @contextlib.contextmanager
        def step(self, label: str, total: int) -> Iterator[Any]:
            def advance(done: int = 1) -> None:
                seen.append(done)
                if len(seen) == 3:
                    raise EndedError

            yield advance

    x, y = blobs(200)
    with pytest.raises(EndedError):
        fit_linear(scipy.sparse.csr_array(x) if sparse else x, y, "softmax", n_outputs=3, progress=Short())
    assert seen[:2] == [0, 0], "before the first penalty was through"


@pytest.mark.parametrize("penalties", [[], [0.0], [-1.0, 1.0], [float("inf")]])
def test_penalties_are_numbers_above_zero(penalties: list[float]) -> None:
    with pytest.raises(RequestError, match="numbers above 0"):
        fit_linear(*blobs(20), "softmax", n_outputs=3, penalties=penalties)


@pytest.mark.parametrize("wrap", [np.asarray, scipy.sparse.csr_array])
def test_features_that_are_not_finite_are_named(wrap: Any) -> None:
    x, y = blobs(20)
    x[3, 2] = np.nan
    with pytest.raises(DivergedError, match="not finite"):
        fit_linear(wrap(x), y, "softmax", n_outputs=3)


@pytest.mark.slow
def test_real_embeddings_of_reviews(real_data: Path) -> None:
    """Counted words of real reviews: as good as scikit-learn's own search over C."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    folder = real_data / "text" / "amazon_reviews" / "books"
    texts, labels = [], []
    for label, file in enumerate(sorted(folder.glob("*"))[:2]):
        lines = file.read_text(encoding="latin-1").split("\n")[:400]
        texts += lines
        labels += [label] * len(lines)
    x = TfidfVectorizer(min_df=2, sublinear_tf=True).fit_transform(texts).astype(np.float32)
    y = torch.tensor(labels)
    order = np.random.default_rng(0).permutation(len(y))
    train, test = order[:600], order[600:]
    ours = fit_linear(x[train], y[train], "softmax", n_outputs=2, goal=ACCURACY)
    reference = LogisticRegression(C=10.0, max_iter=1000).fit(x[train], y[train])
    assert ACCURACY.measure(outputs_of(ours, x[test]), y[test].numpy()) >= reference.score(x[test], y[test]) - 0.03


def test_weighted_rows_are_those_of_scikit_learn() -> None:
    x, y = blobs(120, noise=0.7)
    weights = torch.from_numpy(np.random.default_rng(1).integers(0, 3, 120)).float()
    fitted = fit_linear(x, y, "softmax", n_outputs=3, weights=weights * 7, penalties=[0.1])
    scaled = (x - x.mean(0)) / x.std(0) / np.sqrt(10)
    even = (weights / weights[weights > 0].mean()).numpy()
    reference = LogisticRegression(C=10.0, tol=1e-8, max_iter=5000).fit(scaled.astype(np.float64), y, even)
    theirs = torch.from_numpy(reference.decision_function(scaled.astype(np.float64)))
    ours = torch.from_numpy(outputs_of(fitted, x)).double() / fitted.sharpness
    assert np.allclose(ours - ours.mean(1, keepdim=True), theirs - theirs.mean(1, keepdim=True), atol=0.03)


@pytest.mark.parametrize("sparse", [False, True])
def test_rows_that_count_nothing_are_not_learnt_from(sparse: bool) -> None:
    x, y = blobs(200, noise=0.3)
    wrong = torch.arange(200) % 2 == 0
    told = torch.where(wrong, (y + 1) % 3, y)
    given = scipy.sparse.csr_array(x) if sparse else x
    right = fit_linear(given, told, "softmax", n_outputs=3, weights=(~wrong).float())
    assert ACCURACY.measure(outputs_of(right, x), y.numpy()) > 0.8
    line = torch.where(wrong[:, None], -5 * y[:, None], y[:, None]).float()
    fitted = fit_linear(x, line, "identity", n_outputs=1, weights=(~wrong).float(), groups=np.arange(200).astype(str))
    assert r2_score(y, outputs_of(fitted, x)[:, 0]) > 0.5


def test_soft_targets_are_learnt_as_many_whole_ones() -> None:
    # Seven votes of ten for the first class weigh as seven rows of it and three of the other.
    x, y = blobs(60, c=2, noise=0.7)
    soft = torch.where(y[:, None] == torch.arange(2), 0.7, 0.3)
    votes = torch.cat([y, 1 - y])
    weights = torch.cat([torch.full((60,), 0.7), torch.full((60,), 0.3)])
    divided = fit_linear(x, soft, "softmax", n_outputs=2, penalties=[10.0])
    doubled = fit_linear(np.concatenate([x, x]), votes, "softmax", n_outputs=2, penalties=[20.0], weights=weights)
    for ours, theirs in ((divided.weight, doubled.weight), (divided.bias, doubled.bias)):
        spread = [(each - each.mean(0)) for each in (ours / divided.sharpness, theirs / doubled.sharpness)]
        assert torch.allclose(spread[0], spread[1], atol=1e-3)
    assert divided.weight.abs().max() > 0.05
