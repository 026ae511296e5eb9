"""Learn from rows without labels first."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from torch import nn

import graft
from graft import registry
from graft.checks import check_strategy
from graft.contracts import Backbone, FittedTask, TransferData
from graft.data.cells import objects
from graft.data.examples import ImageExamples, TableExamples
from graft.errors import RequestError
from graft.nn.grafted import Grafted
from graft.select.plan import make_plan
from graft.sources.columns import Columns
from graft.sources.table import Table
from graft.strategies.fine_tune import FineTune
from graft.strategies.linear_probe import LinearProbe
from graft.strategies.pretrain import Pretrain
from graft.tasks.classification import Classification
from graft.train import loop

Learnt = tuple[FittedTask, TransferData]


@pytest.mark.parametrize("objective", [None, "autoencoder", "denoise", "masked"])
@pytest.mark.parametrize("then", ["fine_tune", "linear_probe", "mlp_head"])
def test_it_keeps_the_contract_on_tables(objective: Any, then: str) -> None:
    random = np.random.default_rng(0)
    values = np.column_stack([random.normal(size=48), random.integers(0, 3, 48)]).astype(np.float32)
    rows = TableExamples(values, columns=["a", "b"], words=[None, ["x", "y", "z"]])
    labels = objects([("low", "high")[int(value > 0)] for value in values[:, 0]])
    options = None if then == "linear_probe" else {"epochs": 1}
    strategy = Pretrain(objective, then, options, epochs=1)
    for source in (Table("mlp", hidden=(6,)), Table("ft", dim=8, depth=1, heads=2)):
        check_strategy(strategy, source, Classification(), rows, labels)


def test_no_label_is_used_in_the_first_stage(
    backbone: Backbone, learnt: Learnt, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, data = learnt
    trunks = []

    def watched(self: LinearProbe, module: nn.Module, task: FittedTask, data: TransferData) -> Any:
        trunks.append(copy.deepcopy(module.trunk.state_dict()))
        return original(self, module, task, data)

    original = LinearProbe.fit
    monkeypatch.setattr(LinearProbe, "fit", watched)
    for turned in (data, replace(data, train=replace(data.train, targets=data.train.targets.flip(0)))):
        strategy = Pretrain(then="linear_probe", epochs=2)
        strategy.fit(strategy.build(copy.deepcopy(backbone), task), task, turned)
    assert all(torch.equal(trunks[0][name], trunks[1][name]) for name in trunks[0])
    before = backbone.module.state_dict()
    assert not torch.equal(trunks[0]["0.weight"], before["0.weight"])


def test_rows_without_labels_are_seen(backbone: Backbone, classes: Learnt) -> None:
    task, data = classes
    more = TableExamples(np.random.default_rng(1).normal(3, 1, size=(50, 5)).astype(np.float32))
    states = []
    for given in (data, replace(data, unlabelled=more), replace(data, unlabelled=more)):
        strategy = Pretrain(then="linear_probe", epochs=1)
        module = strategy.build(copy.deepcopy(backbone), task)
        history = strategy.fit(module, task, given)
        states.append(module.trunk.state_dict())
        assert set(history.chosen) == {"pretraining_loss", "penalty"}
    assert not torch.equal(states[0]["0.weight"], states[1]["0.weight"])
    assert torch.equal(states[1]["0.weight"], states[2]["0.weight"])


def test_the_loss_falls(backbone: Backbone, classes: Learnt) -> None:
    task, data = classes
    losses = []
    for epochs in (1, 40):
        strategy = Pretrain("autoencoder", "linear_probe", epochs=epochs, lr=1e-2)
        history = strategy.fit(strategy.build(copy.deepcopy(backbone), task), task, data)
        losses.append(float(history.chosen["pretraining_loss"]))
    assert losses[1] < 0.6 * losses[0]


def test_cached_features_of_the_bare_source_are_not_taken(backbone: Backbone, classes: Learnt, tmp_path: Path) -> None:
    task, data = classes
    named = replace(backbone, fingerprint="of the source")
    data = replace(data, cache=tmp_path)
    LinearProbe().fit(LinearProbe().build(copy.deepcopy(named), task), task, data)
    heads = []
    for cache in (tmp_path, None):
        strategy = Pretrain(then="linear_probe", epochs=2)
        module = strategy.build(copy.deepcopy(named), task)
        strategy.fit(module, task, replace(data, cache=cache))
        assert isinstance(module, Grafted)
        assert module.backbone.fingerprint == "of the source"
        assert all(value.requires_grad for value in module.parameters()), "nothing of it is the source's any more"
        heads.append(module.head.weight)
    assert torch.equal(*heads)


@pytest.mark.parametrize("point", ["first", "second"])
def test_it_goes_on_after_a_kill_to_the_same_bits(
    backbone: Backbone, classes: Learnt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    task, data = classes
    strategy = Pretrain(then="fine_tune", options={"epochs": 3, "batch_size": 16, "patience": None}, epochs=3)
    modules = [strategy.build(copy.deepcopy(backbone), task) for _ in range(3)]
    expected = strategy.fit(modules[0], task, data)
    passed = []

    def die(name: str) -> None:
        passed.append(name)
        if passed.count("train-1-1") == ("first", "second").index(point) + 1:
            raise KeyboardInterrupt

    kept = replace(data, checkpoint=tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "fail_point", die)
        with pytest.raises(KeyboardInterrupt):
            strategy.fit(modules[1], task, kept)
    found = strategy.fit(modules[2], task, kept)
    assert (found.score, found.chosen) == (expected.score, expected.chosen)
    for ours, theirs in zip(modules[2].state_dict().values(), modules[0].state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)


def test_images_learn_without_labels_too(tmp_path: Path) -> None:
    import safetensors.torch
    import timm

    torch.manual_seed(0)
    path = tmp_path / "small.safetensors"
    safetensors.torch.save_file(timm.create_model("resnet10t", num_classes=2).state_dict(), path)
    source = registry.build("sources", f"file/{path}?architecture=timm/resnet10t&size=32")
    random = np.random.default_rng(0)
    pictures = ImageExamples([random.integers(0, 255, (32, 32, 3)).astype(np.uint8) for _ in range(8)])
    strategy = Pretrain("masked", "linear_probe", epochs=1)
    check_strategy(strategy, source, Classification(), pictures, objects(["a", "b"] * 4))


def test_requests_that_cannot_work_are_refused(backbone: Backbone, classes: Learnt) -> None:
    task, data = classes
    learn = Columns().load().learn
    assert learn is not None
    with pytest.raises(RequestError, match="columns has no weights"):
        Pretrain().build(learn(data.train.examples), task)
    with pytest.raises(graft.RequestError, match="Did you mean fine_tune"):
        Pretrain(then="fine_tun").build(backbone, task)
    with pytest.raises(RequestError, match="cannot follow pretrain"):
        Pretrain(then="scratch").build(backbone, task)
    with pytest.raises(RequestError, match="options are those of a strategy that then names"):
        Pretrain(then=FineTune(), options={"epochs": 3}).build(backbone, task)

    class Other(FineTune):
        def build(self, backbone: Backbone, task: FittedTask) -> nn.Module:
            return super().build(replace(backbone, module=copy.deepcopy(backbone.module)), task)

    strategy = Pretrain(then=Other(), epochs=1)
    with pytest.raises(RequestError, match="changes the network itself"):
        strategy.fit(strategy.build(backbone, task), task, data)


def test_a_spec_says_it_all() -> None:
    spec = "pretrain/masked?then=mlp_head&options.hidden=8&options.epochs=3&epochs=5&lr=0.01&corrupt=0.2"
    strategy = registry.build("strategies", spec)
    assert (
        strategy.get_params()
        == Pretrain("masked", "mlp_head", {"hidden": 8, "epochs": 3}, 5, 0.01, 0.2).get_params()
        == clone(strategy).get_params()
    )
    assert registry.restore("strategies", registry.spec(strategy)).get_params() == strategy.get_params()
    nested = registry.restore("strategies", registry.spec(Pretrain(then=FineTune(epochs=2))))
    assert nested.then.get_params() == FineTune(epochs=2).get_params()


def test_its_untrained_twin_is_a_control_although_the_network_knew_nothing() -> None:
    plans = [make_plan(Table("mlp"), [each], "table") for each in (FineTune(), Pretrain())]
    assert ["scratch" in plan.names() for plan in plans] == [False, True]


def test_more_rows_are_read_beside_the_data(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"a": random.normal(size=120), "b": random.normal(size=120), "kind": ["x", "y"] * 60})
    frame["label"] = np.where(frame["a"] > 0, "p", "n")
    more = pd.DataFrame({"kind": ["x", "z"] * 40, "a": random.normal(size=80), "other": range(80)})
    steps: list[str] = []
    result = graft.fit(
        frame,
        target="label",
        unlabelled=more,
        source=Table("mlp", hidden=(8,)),
        strategy=Pretrain(epochs=2, options={"epochs": 2}),
        controls=("majority",),
        say=lambda step, sentence: steps.append(sentence),
    )
    assert result.model.predict(frame[:3]).shape == (3,)
    assert "80 rows without labels are learnt from too: the data frame." in steps
    assert "of the data frame: the table has no column b; these count as missing." in steps
    assert "of the data frame: 40 cells of column 'kind' are unknown ('z') and count as missing." in steps
    with pytest.raises(graft.DataError, match="unlabelled data are rows of text"):
        graft.fit(frame, target="label", unlabelled=["a text"], source="table/mlp", strategy="pretrain")
    with pytest.raises(graft.DataError, match="no column"):
        graft.fit(frame, target="label", unlabelled=more[["other"]], source="table/mlp", strategy="pretrain")


@pytest.mark.parametrize("then", ["knn", "svm"])
def test_a_head_that_keeps_rows_may_follow(backbone: Backbone, classes: Learnt, then: str) -> None:
    task, data = classes
    strategy = Pretrain(then=then, epochs=1)
    module = strategy.build(backbone, task)
    assert strategy.fit(module, task, data).score is not None
    assert torch.isfinite(module(torch.zeros(2, 5))).all()
