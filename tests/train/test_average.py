"""Running averages of the weights."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from graft import train
from graft.train import loop
from graft.train.average import Average

Fit = Callable[..., train.Outcome]


def test_it_follows_as_torch_s_own_average_does() -> None:
    torch.manual_seed(0)
    module = nn.Linear(3, 2)
    theirs = torch.optim.swa_utils.AveragedModel(module, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9))
    theirs.update_parameters(module)
    ours = Average(list(module.parameters()), keep=0.9)
    for _ in range(5):
        with torch.no_grad():
            for value in module.parameters():
                value.add_(torch.randn_like(value))
        ours.follow(list(module.parameters()), steps=10_000)
        theirs.update_parameters(module)
    for mine, other in zip(ours.held, theirs.module.parameters(), strict=True):
        torch.testing.assert_close(mine, other.detach())


def test_the_start_does_not_linger() -> None:
    value = torch.zeros(1)
    average = Average([value], keep=0.999)
    for step in range(50):
        average.follow([torch.ones(1)], step)
    assert average.held[0].item() > 0.95


def test_it_stands_in_for_a_while() -> None:
    value = nn.Parameter(torch.ones(1))
    average = Average([value], keep=0.5)
    with torch.no_grad():
        value.fill_(3.0)
    with average.in_place_of([value]):
        assert value.item() == 1.0
    assert value.item() == 3.0


def test_averages_are_what_is_measured_and_kept(network: nn.Module, fit: Fit) -> None:
    plain, averaged, unmeasured = (copy.deepcopy(network) for _ in range(3))
    recipe = train.Recipe(epochs=3, batch_size=16, patience=None, ema=0.9)
    outcome = fit(averaged, recipe)
    fit(plain, train.Recipe(epochs=3, batch_size=16, patience=None))
    assert outcome.best is not None
    assert not torch.equal(plain[0].weight, averaged[0].weight)  # type: ignore[index]
    fit(unmeasured, recipe, valid=None)
    last = [copy.deepcopy(network)]
    fit(last[0], train.Recipe(epochs=3, batch_size=16, patience=None), valid=None)
    assert not torch.equal(unmeasured[0].weight, last[0][0].weight)  # type: ignore[index]
    assert (unmeasured[0].weight - last[0][0].weight).abs().max() < 0.1  # type: ignore[index]


def test_a_killed_fit_goes_on_with_its_averages(
    network: nn.Module, fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = train.Recipe(epochs=4, batch_size=16, patience=None, ema=0.9)
    whole, killed, resumed = (copy.deepcopy(network) for _ in range(3))
    fit(whole, recipe)

    def die(name: str) -> None:
        if name == "train-2-3":
            raise KeyboardInterrupt

    monkeypatch.setattr(loop, "fail_point", die)
    with pytest.raises(KeyboardInterrupt):
        fit(killed, recipe, checkpoint=tmp_path)
    monkeypatch.setattr(loop, "fail_point", lambda name: None)
    fit(resumed, recipe, checkpoint=tmp_path)
    for ours, theirs in zip(resumed.parameters(), whole.parameters(), strict=True):
        assert torch.equal(ours, theirs)
