"""Weights change by products of low rank, and the model stays plain; dora shares all but the lengths."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from sklearn.base import clone
from torch import nn

from graft.contracts import Backbone, FittedTask, Strategy, TransferData
from graft.errors import RequestError, UnknownNameError
from graft.nn.grafted import Grafted
from graft.strategies.dora import DoRA
from graft.strategies.lora import LoRA

Learnt = tuple[FittedTask, TransferData]


@pytest.fixture(autouse=True)
def _peft() -> None:
    pytest.importorskip("peft", reason="peft is not installed")


@pytest.fixture(params=[LoRA, DoRA])
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


def built(strategy: Strategy, backbone: Backbone, task: FittedTask) -> Grafted:
    module = strategy.build(backbone, task)
    assert isinstance(module, Grafted)
    return module


def test_the_weights_of_its_layers_move_and_nothing_else(kind: Any, backbone: Backbone, learnt: Learnt) -> None:
    task, data = learnt
    strategy = kind(rank=2, epochs=4, lr=1e-2, tuning={"batch_size": 16, "head_lr": 3e-2})
    module = built(strategy, backbone, task)
    before, shown = copy.deepcopy(module.state_dict()), repr(module)
    assert [name for name, value in module.trunk.named_parameters() if value.requires_grad] == ["0.weight", "4.weight"]
    history = strategy.fit(module, task, data)
    moved = {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {"trunk.0.weight", "trunk.4.weight", "head.weight", "head.bias"}
    for name in ("trunk.0.weight", "trunk.4.weight"):
        change = module.state_dict()[name] - before[name]
        if kind is LoRA:
            assert torch.linalg.matrix_rank(change, rtol=1e-4) == 2
    assert repr(module) == shown, "what is saved is a plain network"
    assert [name for name, value in module.trunk.named_parameters() if value.requires_grad] == ["0.weight", "4.weight"]
    weights = 2 * (5 + 12) + 2 * (12 + 8) + (12 + 8) * (kind is DoRA) + 9 * task.n_outputs
    assert history.chosen["rank"] == 2
    assert history.chosen["trained_weights"] == weights
    assert history.epochs[-1].loss < history.epochs[0].loss


def test_the_score_is_the_merged_model_s(kind: Any, backbone: Backbone, classes: Learnt) -> None:
    from graft.evaluate.goal import goal_of
    from graft.features import Extractor

    task, data = classes
    strategy = kind(epochs=3, lr=1e-2, tuning={"batch_size": 16, "head_lr": 3e-2})
    module = built(strategy, backbone, task)
    history = strategy.fit(module, task, data)
    assert data.valid is not None
    outputs = Extractor(module, backbone.preprocess, data.machine).run(data.valid.examples)
    assert goal_of(task).measure(outputs, data.valid.targets.numpy()) == history.score


def test_targets_and_the_last_stages_decide(kind: Any, backbone: Backbone, classes: Learnt) -> None:
    task, _ = classes

    def trains(**options: Any) -> list[str]:
        module = built(kind(**options), copy.deepcopy(backbone), task)
        return [name for name, value in module.trunk.named_parameters() if value.requires_grad]

    assert trains(targets=["0"]) == ["0.weight"]
    assert trains(tuning={"last": 1}) == ["4.weight"]
    with pytest.raises(UnknownNameError, match="qkv"):
        trains(targets=["qkv"])
    with pytest.raises(RequestError, match="needs a source with linear layers or convolutions"):
        trains(targets=["0"], tuning={"last": 1})
    with pytest.raises(RequestError, match="rank is 0, expected at least 1; dropout is 1"):
        trains(rank=0, dropout=1.0)


def test_a_source_without_layers_is_refused(kind: Any, backbone: Backbone, classes: Learnt) -> None:
    task, _ = classes
    bare = replace(backbone, module=nn.Sequential(nn.LayerNorm(5)), stages=("0",), dim=5)
    with pytest.raises(RequestError, match=kind.needs):
        kind().build(bare, task)


def test_its_arguments_stay_and_decide(kind: Any, backbone: Backbone, classes: Learnt) -> None:
    task, data = classes
    arguments = {
        "rank": 3, "alpha": 1.0, "dropout": 0.5, "targets": ("4",), "epochs": 1, "lr": 1e-2,
        "tuning": {"batch_size": 30},
    }  # fmt: skip
    fitted = []
    for change in ({}, {"alpha": 9.0}, {"dropout": 0.0}, {"lr": 1e-3}):
        strategy = kind(**{**arguments, **change})
        module = built(strategy, copy.deepcopy(backbone), task)
        history = strategy.fit(module, task, data)
        assert len(history.epochs) == 1
        assert strategy.get_params(deep=False) == clone(strategy).get_params(deep=False) == {**arguments, **change}
        fitted.append(module.trunk[4].weight)  # type: ignore[index]
    assert not any(torch.equal(fitted[0], other) for other in fitted[1:])
