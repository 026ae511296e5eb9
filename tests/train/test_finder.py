"""The learning-rate range test."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from graft import train

Fit = Callable[..., train.Outcome]


def test_it_finds_a_rate_that_learns_from_one_that_does_not(network: nn.Module, fit: Fit) -> None:
    losses = {}
    for find in (False, True):
        module = copy.deepcopy(network)
        outcome = fit(module, train.Recipe(epochs=4, batch_size=16, patience=None), lr=1e-4, find_rate=find)
        losses[find] = outcome.epochs[-1].loss
        assert (outcome.factor > 5) == find
        assert ("rate_factor" in outcome.chosen) == find
    assert losses[True] < 0.9 * losses[False]


def test_a_rate_that_would_diverge_is_lowered(network: nn.Module, fit: Fit) -> None:
    assert fit(network, train.Recipe(epochs=1, batch_size=16), lr=10.0, find_rate=True).factor < 0.1


def test_it_leaves_no_trace_and_is_the_same_again(network: nn.Module, fit: Fit, tmp_path: Path) -> None:
    """A second fit with the factor as found, written into the rates, gives the same weights."""
    found, stated = copy.deepcopy(network), copy.deepcopy(network)
    factor = fit(found, lr=1e-3, find_rate=True).factor
    fit(stated, lr=1e-3 * factor)
    assert all(torch.equal(a, b) for a, b in zip(found.parameters(), stated.parameters(), strict=True))
