"""Feature maps stay where they are held."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from graft.contracts import Backbone, FittedTask, TransferData
from graft.errors import RequestError
from graft.nn.taps import watching
from graft.strategies.delta import Delta

Learnt = tuple[FittedTask, TransferData]
QUICK = {"batch_size": 16, "patience": None}


def apart(strategy: Delta, backbone: Backbone, learnt: Learnt) -> dict[str, float]:
    """How far each stage gives other maps than the source's."""
    task, data = learnt
    module, source = strategy.build(copy.deepcopy(backbone), task), copy.deepcopy(backbone.module).eval()
    strategy.fit(module, task, replace(data, valid=None))  # the last epoch counts
    rows = backbone.preprocess.collate(backbone.preprocess.items([data.valid.examples[row] for row in range(30)]))  # type: ignore[union-attr]
    with torch.no_grad(), watching(module.trunk, backbone.stages) as now, watching(source, backbone.stages) as before:  # type: ignore[arg-type]
        module.trunk(rows), source(rows)  # type: ignore[operator]
        return {name: float((now[name] - before[name]).square().mean()) for name in now}


@pytest.mark.parametrize("attention", ["gradient", "removal", "none"])
def test_a_large_weight_keeps_the_maps(backbone: Backbone, learnt: Learnt, attention: str) -> None:
    free, held = (
        apart(Delta(alpha, attention=attention, epochs=4, lr=3e-3, tuning=QUICK), backbone, learnt)  # type: ignore[arg-type]
        for alpha in (0.0, 100.0)
    )
    assert held["4"] < 0.2 * free["4"]
    assert held["0"] < free["0"]


def test_only_the_last_layers_are_held(backbone: Backbone, classes: Learnt) -> None:
    last = apart(Delta(100.0, attention="none", layers=1, epochs=4, lr=3e-3, tuning=QUICK), backbone, classes)
    every = apart(Delta(100.0, attention="none", layers=3, epochs=4, lr=3e-3, tuning=QUICK), backbone, classes)
    assert every["0"] < last["0"]


def test_attention_differs_by_what_the_task_needs(backbone: Backbone, classes: Learnt) -> None:
    task, data = classes
    found = {}
    for way in ("gradient", "removal"):
        strategy = Delta(attention=way)  # type: ignore[arg-type]
        source = replace(backbone, module=copy.deepcopy(backbone.module).eval().requires_grad_(False))
        found[way] = strategy._weights(source, ("4",), task, data)["4"]
        assert not any(value.requires_grad for value in source.module.parameters())
    for weights in found.values():
        assert weights.sum().item() == pytest.approx(1.0)
        assert weights.std() > 0.01
    both = torch.stack(list(found.values()))
    assert torch.corrcoef(both)[0, 1] > 0.5, "the slope tells what removal tells"
    assert Delta(attention="none")._weights(backbone, ("4",), task, data) == {}


def test_it_refuses_what_cannot_be(backbone: Backbone, classes: Learnt) -> None:
    with pytest.raises(RequestError, match=r"alpha is -1.*; attention is 'some'.*; layers is 0"):
        Delta(alpha=-1, layers=0, attention="some").build(backbone, classes[0])  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="a source with stages, and small has none"):
        Delta().build(replace(backbone, module=nn.Linear(5, 8), stages=("weight", "bias")), classes[0])


class Turned(nn.Module):
    """Maps with their channels last, as Swin has them, and a channel that alone tells the classes."""

    def __init__(self) -> None:
        super().__init__()
        self.output_fmt = "NHWC"
        self.first = nn.Linear(5, 6)
        with torch.no_grad():
            self.first.weight.copy_(0.1 * torch.ones(6, 5))
            self.first.weight[2] = torch.tensor([3.0, 0, 0, 0, 0])

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.first(rows[:, None, None].expand(-1, 4, 4, -1)).mean((1, 2))  # type: ignore[no-any-return]


@pytest.mark.parametrize("attention", ["gradient", "removal"])
def test_channels_that_come_last_are_the_channels(backbone: Backbone, classes: Learnt, attention: str) -> None:
    task, data = classes
    turned = replace(backbone, module=Turned(), dim=6, stages=("first",))
    strategy = Delta(attention=attention, epochs=1, tuning=QUICK)  # type: ignore[arg-type]
    source = replace(turned, module=copy.deepcopy(turned.module).eval().requires_grad_(False))
    weights = strategy._weights(source, ("first",), task, data)["first"]
    assert (len(weights), int(weights.argmax())) == (6, 2)
    module = strategy.build(turned, task)
    strategy.fit(module, task, data)
