"""What scores read off a frozen pass: exact features, classes, chances, and how good held-out outputs are."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.linalg
import scipy.sparse
import torch

from graft.contracts import Array, Link, Score, Seen
from graft.errors import RequestError
from graft.evaluate.metrics import accuracy, f1_per_label, mean_defined, r2
from graft.linear.condensed import condensed
from graft.linear.scaling import check_finite
from graft.nn import outputs

__all__ = [
    "OUTPUTS",
    "chances",
    "check",
    "classes",
    "exact",
    "expected_chances",
    "goodness",
    "link_of",
    "principal",
    "sums",
]

OUTPUTS = "a source with outputs of its own"
"""What a score states as its need where it reads ``seen.outputs``."""

_ROUNDING = 1e-12
"""Share of the largest energy below which a direction is rounding."""

_WORDS: dict[Link, str] = {
    "softmax": "one class a row",
    "sigmoid": "any number of labels a row",
    "identity": "numbers",
}


def link_of(targets: Array) -> Link:
    """Classes ``(n,)`` are of softmax, zeros and ones ``(n, k)`` of sigmoid, other numbers of identity.

    Examples
    --------
    >>> link_of(np.array([0, 2, 1]))
    'softmax'
    """
    if targets.ndim == 1:
        return "softmax"
    return "sigmoid" if bool(np.isin(targets, (0, 1)).all()) else "identity"


def check(score: Score, seen: Seen, targets: Array) -> None:
    """Refuse rows that a score is not defined for.

    Raises
    ------
    RequestError
        For another kind of targets, for fewer than two rows, or where rows and targets differ in number.
    """
    name = type(score).__name__
    if link_of(targets) not in score.kinds:
        wanted = " or ".join(_WORDS[each] for each in score.kinds)
        raise RequestError(f"the score {name} is defined for {wanted}, and the targets are {_WORDS[link_of(targets)]}.")
    if len(targets) != seen.features.shape[0]:
        raise RequestError(f"{seen.features.shape[0]} rows of features and {len(targets)} targets; give one each.")
    if len(targets) < 2:
        raise RequestError(f"the score {name} needs two rows or more, and there are {len(targets)}.")


def classes(score: Score, targets: Array) -> tuple[npt.NDArray[np.int64], int]:
    """Classes ``(n,)`` from 0 without a gap, and how many occur.

    Raises
    ------
    RequestError
        Where all rows are of one class.
    """
    found, places = np.unique(targets, return_inverse=True)
    if len(found) < 2:
        raise RequestError(f"the score {type(score).__name__} needs rows of two classes or more, and all are of one.")
    return places, len(found)


def exact(seen: Seen) -> Array:
    """Features ``(n, d)`` as float64; sparse ones turned so that they become few: see :func:`condensed`.

    Raises
    ------
    DivergedError
        Where one is not finite.
    """
    sparse: Any = seen.features if scipy.sparse.issparse(seen.features) else None
    if sparse is not None:
        check_finite(sparse.data)
        return condensed(sparse)
    return check_finite(np.asarray(seen.features, dtype=np.float64))


def principal(x: Array) -> tuple[Array, Array]:
    """The thin form of ``x`` ``(n, d)``: orthonormal ``u`` ``(n, k)``, and the energies ``(k,)``, largest first.

    ``u * sqrt(energy)`` are the rows in their principal axes; what only rounding moves is left out.
    The smaller of ``x.T @ x`` and ``x @ x.T`` is decomposed, so wide features cost as little as few rows.
    """
    n, d = x.shape
    energy, axes = scipy.linalg.eigh(x @ x.T if n <= d else x.T @ x, driver="evd")
    kept = (energy > _ROUNDING * max(energy[-1], 0.0)) if energy.size else np.zeros(0, bool)
    energy, axes = energy[kept][::-1], axes[:, kept][:, ::-1]
    return (axes if n <= d else (x @ axes) / np.sqrt(energy)), energy


def sums(rows: Array, places: npt.NDArray[np.int64], count: int) -> Array:
    """``(count, d)``: the sum of the rows ``(n, d)`` of each class ``(n,)``."""
    marks = scipy.sparse.csr_array((np.ones(len(rows)), (places, np.arange(len(rows)))), shape=(count, len(rows)))
    return np.asarray(marks @ rows)


def chances(score: Score, seen: Seen) -> Array:
    """Probabilities ``(n, z)``, float64, of the source's own classes.

    Raises
    ------
    RequestError
        Where it has none, or they are not finite.
    """
    name = type(score).__name__
    if seen.outputs is None or not seen.outputs.shape[1]:
        raise RequestError(f"the score {name} needs {score.needs}, and {seen.card.name} has none.")
    if not np.isfinite(seen.outputs).all():
        raise RequestError(f"the score {name} needs {score.needs}, and those of {seen.card.name} are not finite.")
    return np.asarray(outputs.chances(torch.from_numpy(np.asarray(seen.outputs, np.float32))).numpy(), np.float64)


def expected_chances(own: Array, targets: Array, count: int) -> Array:
    """``(n,)``: the chance of each row's class by which of our classes occur with which of the source's.

    ``Σ_z P(y | z) P(z | row)``, where ``P(y | z)`` is told from these rows themselves.

    Parameters
    ----------
    own
        ``(n, z)`` probabilities of the source's own classes.
    targets, count
        ``(n,)`` classes, and how many there are.

    References
    ----------
    Nguyen, Hassner, Seeger and Archambeau, LEEP: a new measure to evaluate transferability of learned
    representations, ICML 2020, §3.
    """
    together = sums(own, targets, count)
    often = together.sum(axis=0)
    given = np.divide(together, often, out=np.zeros_like(together), where=often > 0)
    return np.asarray(np.einsum("nz,nz->n", own, given[targets]))


def goodness(said: Array, targets: Array) -> float:
    """How good held-out outputs ``(n, c)`` are: accuracy, macro-F1 or R² by the kind of targets."""
    link = link_of(targets)
    if link == "softmax":
        return float(accuracy(said.argmax(axis=1), targets))
    if link == "sigmoid":
        return float(mean_defined(f1_per_label(said > 0, targets > 0.5)))
    return float(r2(np.asarray(said, np.float64), np.asarray(targets, np.float64)))
