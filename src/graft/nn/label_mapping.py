"""From what a source says of a row to the classes of another task, by what occurs together; nothing is trained."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from graft.contracts import Array, Link
from graft.nn.outputs import chances

__all__ = ["How", "LabelMapping", "expected_table", "left_out", "linked", "one_to_one", "picked"]

How = Literal["expected", "frequency"]

_LITTLE = 1e-9
"""Rows' worth of the average row that every source class is said to have seen: one that saw none says as much."""


def expected_table(said: Tensor, wanted: Tensor) -> Tensor:
    """``(s, c)``: what is to be expected of a row for each class of the source.

    For classes it is P(y | s) of LEEP's empirical predictor, the mean of ``wanted`` over rows,
    each weighted by how likely the source holds the class for it.

    Parameters
    ----------
    said
        ``(n, s)``: the source's probabilities of the rows, times the rows' weights.
    wanted
        ``(n, c)``: the targets as numbers.

    References
    ----------
    Nguyen, Hassner, Seeger and Archambeau, LEEP: a new measure to evaluate transferability of learned
    representations, ICML 2020.
    """
    said, wanted = said.double(), wanted.double()
    average = _average(said, wanted)
    return (said.T @ wanted + _LITTLE * average) / (said.sum(0)[:, None] + _LITTLE)


def left_out(said: Tensor, wanted: Tensor, chances: Tensor, unit: Array) -> Tensor:
    """What the expected table of all rows but those of its own unit says of each row, ``(n, c)``.

    Parameters
    ----------
    said, wanted
        As for :func:`expected_table`.
    chances
        ``(n, s)``: the probabilities of the rows alone.
    unit
        ``(n,)`` numbers: rows that belong together.
    """
    said, wanted, chances = said.double(), wanted.double(), chances.double()
    together, total, average = said.T @ wanted, said.sum(0), _average(said, wanted)
    # Alone in its unit: the row is taken out of both sums, for all such rows at once.
    parts = chances / ((total - said).clamp(min=0) + _LITTLE)
    found = parts @ (together + _LITTLE * average) - (parts * said).sum(1, keepdim=True) * wanted
    sort = np.argsort(unit, kind="stable")
    for rows in np.split(sort, np.flatnonzero(np.diff(unit[sort])) + 1):
        if len(rows) > 1:
            held = torch.from_numpy(rows)
            rest = together - said[held].T @ wanted[held] + _LITTLE * average
            found[held] = chances[held] @ (rest / ((total - said[held].sum(0)).clamp(min=0) + _LITTLE)[:, None])
    return found


def _average(said: Tensor, wanted: Tensor) -> Tensor:
    weights = said.sum(1, keepdim=True)
    return (weights * wanted).sum(0) / weights.sum().clamp(min=1e-30)


def one_to_one(said: Tensor, wanted: Tensor) -> Tensor:
    """``(c,)``: a class of the source for every class, no two the same, so that most rows agree.

    Rows count for the source class that is likeliest; ties go to what is likelier on the whole.  A class
    that no row has gets none, -1: whichever is left over would be a guess.  (The authors' code counts the
    classes that occur, and cannot be asked about others.)

    References
    ----------
    Chen, Yao, Chen, Zhang and Liu, Understanding and improving visual prompting: a label-mapping
    perspective, CVPR 2023 (frequency-based label mapping); Kuhn, The Hungarian method, 1955.
    """
    weights, likeliest = said.sum(1, keepdim=True), said.argmax(1)
    top = nn.functional.one_hot(likeliest, said.shape[1]).double() * weights
    there = (weights * wanted).sum(0) > 0
    known = wanted[:, there].double()
    counts, softly = top.T @ known, said.double().T @ known
    tie = softly / softly.max().clamp(min=1e-30) * 1e-3
    source, target = linear_sum_assignment((counts + tie).numpy(), maximize=True)
    chosen = torch.full((wanted.shape[1],), -1, dtype=torch.int64)
    chosen[there] = torch.from_numpy(source[np.argsort(target)].astype(np.int64))
    return chosen


def picked(said: Tensor, chosen: Tensor) -> Tensor:
    """``(n, c)``: of the source's probabilities ``(n, s)`` those of the chosen classes; 0 where there is none."""
    return said[:, chosen.clamp(min=0)] * (chosen >= 0)


def linked(means: Tensor, link: Link) -> Tensor:
    """Means as outputs: logarithms (softmax), logits (sigmoid) or themselves (identity)."""
    if link == "identity":
        return means
    inside = means.clamp(1e-7, 1 - 1e-7)
    return inside.logit() if link == "sigmoid" else inside.log()


class LabelMapping(nn.Module):
    """The source's own outputs ``(n, s)`` → those of the task ``(n, c)``.

    Parameters
    ----------
    width, n_outputs, link
        ``s``, ``c``, and how outputs are read.
    how
        ``expected`` or ``frequency``.
    """

    table: Tensor
    chosen: Tensor
    sure: Tensor

    def __init__(self, width: int, n_outputs: int, link: Link, how: How) -> None:
        super().__init__()
        self.link, self.how = link, how
        if how == "expected":
            self.register_buffer("table", torch.zeros(max(width, 2), n_outputs))
        else:
            self.register_buffer("chosen", torch.zeros(n_outputs, dtype=torch.int64))
        self.register_buffer("sure", torch.ones(()))

    def forward(self, outputs: Tensor) -> Tensor:
        said = chances(outputs)
        if self.how == "frequency":
            return self.sure * linked(picked(said, self.chosen), self.link)
        return self.sure * linked(said @ self.table, self.link)
