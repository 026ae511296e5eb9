"""What a strategy cannot be asked for is said when its model is built, all of it at once."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from graft import registry
from graft.contracts import Backbone, FittedTask, TransferData
from graft.errors import RequestError

Learnt = tuple[FittedTask, TransferData]

ABSURD: dict[str, Any] = {
    "epochs": 0,
    "lr": -1.0,
    "head_lr": 0.0,
    "weight_decay": -0.1,
    "batch_size": 0,
    "patience": 0,
    "warmup": 1.0,
    "dropout": 1.0,
    "l1": -1.0,
    "l2": float("nan"),
    "penalties": [0.0],
    "k": 0,
    "metric": "taxicab",
    "temperature": 0.0,
    "weight": -0.5,
}
"""Values that no strategy takes, by the names of options that several have."""

OTHERS: dict[str, dict[str, Any]] = {
    "adapter": {"width": 0, "norms": "yes"},
    "bi_tuning": {"keys": 0, "momentum": 1.5, "width": 0},
    "bitfit": {"norms": 1},
    "bss": {"eta": -1.0},
    "co_teaching": {"forget": 1.0, "ramp": 2},
    "confident": {"how": "guess"},
    "contrastive": {"loss": "hinge", "passes": 0.0, "max_steps": 0, "batch_size": 3, "folds": 1, "penalty": 0.0},
    "delta": {"alpha": -1.0, "beta": -1.0, "attention": "flash", "layers": 0},
    "dora": {"rank": 0, "alpha": 0.0},
    "kl_anchor": {"entropy": -1.0},
    "l2_sp": {"alpha": -1.0, "beta": -1.0},
    "label_map": {"how": "greedy"},
    "linear_probe": {"class_weights": "yes"},
    "lora": {"rank": 0.5, "alpha": 0.0},
    "mlp_head": {"hidden": -1},
    "output_head": {"on": "odds"},
    "pretrain": {"objective": "chess", "corrupt": 1.0},
    "prototypes": {"shrink": -1.0},
    "soup": {"lrs": [1e-3, -1.0], "seeds": [0.5]},
    "stoch_norm": {"p": 1.5},
    "svm": {"kernel": "cubic", "C": 0.0, "gamma": -1.0, "epsilon": -1.0},
    "wise_ft": {"alphas": [2.0]},
    "zero_shot": {"templates": "no place for a name"},
}

TAKEN = {"distill": {"teacher": "columns"}}
"""What is given beside, so that it is not the first thing that is missing."""


@pytest.fixture
def source(backbone: Backbone) -> Backbone:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return replace(backbone, head=nn.Linear(8, 6), words=lambda texts: torch.zeros(len(texts), 8))


@pytest.mark.parametrize("name", [each for each in registry.names("strategies") if each != "majority"])
def test_all_that_cannot_be_is_said_when_the_model_is_built(name: str, source: Backbone, classes: Learnt) -> None:
    plugin = registry.load("strategies", name)
    known = inspect.signature(plugin).parameters
    wrong = {key: value for key, value in ABSURD.items() if key in known} | OTHERS.get(name, {})
    assert wrong
    if "tuning" in known:
        wrong["tuning"] = {"clip": -1.0, "ema": 2.0}
    strategy = plugin(**TAKEN.get(name, {}), **wrong)
    with pytest.raises(RequestError) as caught:
        strategy.build(source, classes[0])
    told = str(caught.value)
    for key in (*wrong, *wrong.get("tuning", {})):
        if key != "tuning":
            assert f"{key} is " in told or f"{key} has " in told, (key, told)


@pytest.mark.parametrize("name", ["fine_tune", "l2_sp", "lora", "scratch"])
@pytest.mark.parametrize(("value", "expected"), [("ten", "a whole number"), (2.5, "a whole number"), (True, "a whole")])
def test_a_number_has_to_be_one(name: str, value: Any, expected: str, source: Backbone, classes: Learnt) -> None:
    with pytest.raises(RequestError, match=f"epochs is .*{value}.*, expected {expected}"):
        registry.load("strategies", name)(epochs=value).build(source, classes[0])


def test_numbers_of_numpy_are_numbers(source: Backbone, classes: Learnt) -> None:
    plugin = registry.load("strategies", "fine_tune")
    plugin(epochs=np.int64(3), lr=np.float32(1e-3)).build(source, classes[0])
    registry.load("strategies", "linear_probe")(penalties=np.logspace(-2, 2, 5)).build(source, classes[0])
