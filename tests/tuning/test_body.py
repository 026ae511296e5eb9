"""The body of fine-tuning."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from graft import train
from graft.contracts import Backbone, FittedTask, TransferData
from graft.errors import RequestError
from graft.nn.grafted import Grafted
from graft.train import loop
from graft.tuning import Tuning, loudness, tunable, tune

Learnt = tuple[FittedTask, TransferData]


def _tuned(backbone: Backbone, learnt: Learnt, epochs: int = 2, **given: Any) -> tuple[Grafted, Any]:
    task, data = learnt
    more = {name: given.pop(name) for name in ("extra", "beside") if name in given}
    tuning = Tuning(**{"batch_size": 16, "patience": None, **given})
    grafted = tunable(backbone, task, tuning)
    return grafted, tune(grafted, task, data, epochs=epochs, lr=1e-2, tuning=tuning, **more)


def _moved(grafted: Grafted, before: dict[str, Tensor]) -> set[str]:
    now = dict(grafted.trunk.named_parameters())
    return {name.split(".")[0] for name, value in now.items() if not torch.equal(value, before[name])}


@pytest.mark.parametrize(("last", "stages"), [(None, {"0", "1", "3"}), (2, {"1", "3"}), (1, {"3"}), (0, set())])
def test_the_last_stages_train(backbone: Backbone, learnt: Learnt, last: int | None, stages: set[str]) -> None:
    before = copy.deepcopy(backbone.module.state_dict())
    grafted, _ = _tuned(backbone, learnt, last=last)
    assert _moved(grafted, before) == stages
    assert not torch.equal(grafted.head.weight, torch.zeros(3, 8))
    with pytest.raises(RequestError, match="the last 9 stages were to train, and this source has 3"):
        tunable(backbone, learnt[0], Tuning(last=9))


def test_stages_join_one_after_the_other(backbone: Backbone, learnt: Learnt) -> None:
    task, data = learnt
    before = copy.deepcopy(backbone.module.state_dict())
    grafted = tunable(backbone, task, Tuning(unfreeze=1))
    seen: list[set[str]] = []
    data = replace(data, callbacks=(lambda place, epoch: seen.append(_moved(grafted, before)),))
    tune(grafted, task, data, epochs=5, lr=1e-2, tuning=Tuning(unfreeze=1, patience=None, batch_size=16))
    assert seen == [set(), {"3"}, {"1", "3"}, {"0", "1", "3"}, {"0", "1", "3"}]
    assert all(value.requires_grad for value in grafted.parameters()), "what trained is marked so"


def test_stages_near_the_input_learn_more_slowly(backbone: Backbone, learnt: Learnt, monkeypatch: Any) -> None:
    seen: dict[str, float] = {}

    def fit(module: nn.Module, *given: Any, groups: Any, **named: Any) -> train.Outcome:
        seen.update({group["name"]: group["lr"] for group in groups})
        return train.Outcome((), None)

    monkeypatch.setattr(train, "fit", fit)
    _tuned(backbone, learnt, layer_decay=0.5, head_lr=0.3)
    assert seen["3"] == 1e-2
    assert seen["0"] == pytest.approx(0.25e-2)
    assert seen["head"] == pytest.approx(0.3 / loudness(tunable(backbone, learnt[0], Tuning()), learnt[1]))


@pytest.mark.parametrize(("given", "rate"), [({"beside_lr": 0.007}, 0.007), ({}, None)])
def test_what_trains_beside_has_a_rate_of_its_own_or_the_head_s(
    backbone: Backbone, learnt: Learnt, monkeypatch: pytest.MonkeyPatch, given: dict[str, float], rate: float | None
) -> None:
    task, data = learnt
    layer = nn.Linear(8, 4)
    rates: dict[bool, set[float]] = {True: set(), False: set()}

    def fit(module: nn.Module, *given: Any, groups: Any, **named: Any) -> train.Outcome:
        for group in groups:
            for value in group["params"]:
                rates[any(value is each for each in layer.parameters())].add(group["lr"])
        return train.Outcome((), None)

    monkeypatch.setattr(train, "fit", fit)
    grafted, tuning = tunable(backbone, task, Tuning()), Tuning(head_lr=0.3)
    tune(grafted, task, data, epochs=1, lr=1e-2, tuning=tuning, beside=[layer], **given)  # type: ignore[arg-type]
    assert rates[True] == {0.3 / loudness(grafted, data) if rate is None else rate}
    assert len(rates[False]) == 2


@pytest.mark.parametrize(("batch_norm", "moves"), [("keep", False), ("adapt", True)])
def test_batchnorm_keeps_its_averages_or_adapts_them(
    backbone: Backbone, learnt: Learnt, batch_norm: Any, moves: bool
) -> None:
    before = backbone.module[1].running_mean.clone()  # type: ignore[index,union-attr,operator]
    grafted, _ = _tuned(backbone, learnt, batch_norm=batch_norm)
    assert torch.equal(grafted.trunk[1].running_mean, before) != moves  # type: ignore[index]


@pytest.mark.parametrize("given", [{"l1": 0.05}, {"l2": 0.5}])
def test_penalties_keep_weights_small(backbone: Backbone, learnt: Learnt, given: dict[str, float]) -> None:
    sizes = []
    for settings in ({}, given):
        twin = replace(backbone, module=copy.deepcopy(backbone.module))
        grafted, _ = _tuned(twin, learnt, epochs=10, weight_decay=0.0, **settings)
        sizes.append(float(grafted.head.weight.detach().square().sum()))
    assert sizes[1] < 0.8 * sizes[0]


def test_what_is_added_to_the_loss_decides(backbone: Backbone, learnt: Learnt) -> None:
    """A strong pull of the features towards 0 leaves features near 0."""
    plain, _ = _tuned(replace(backbone, module=copy.deepcopy(backbone.module)), learnt, epochs=10)

    def small(step: train.Step, features: Tensor, outputs: Tensor) -> Tensor:
        assert features.shape == (len(step.targets), 8)
        assert outputs.shape == (len(step.targets), 3)
        return 100 * features.square().mean()

    pulled, _ = _tuned(backbone, learnt, epochs=10, extra=small)
    rows = torch.stack([torch.from_numpy(learnt[1].train.examples[row]) for row in range(90)])
    assert pulled.trunk(rows).square().mean() < 0.2 * plain.trunk(rows).square().mean()


def test_what_trains_beside_the_model_survives_a_kill(
    backbone: Backbone, learnt: Learnt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, data = learnt

    def fitted(checkpoint: Path | None) -> tuple[Grafted, nn.Linear]:
        twin = replace(backbone, module=copy.deepcopy(backbone.module))
        tuning = Tuning(batch_size=16, patience=None, unfreeze=1)
        grafted, beside = tunable(twin, task, tuning), nn.Linear(8, 2, bias=False)
        nn.init.ones_(beside.weight)

        def extra(step: train.Step, features: Tensor, outputs: Tensor) -> Tensor:
            return (beside(features) - 1).square().mean()

        given = replace(data, checkpoint=checkpoint)
        tune(grafted, task, given, epochs=4, lr=1e-3, tuning=tuning, extra=extra, beside=[beside])
        return grafted, beside

    whole = fitted(None)
    assert not torch.equal(whole[1].weight, torch.ones(2, 8))

    def die(name: str) -> None:
        if name == "train-2-3":
            raise KeyboardInterrupt

    monkeypatch.setattr(loop, "fail_point", die)
    with pytest.raises(KeyboardInterrupt):
        fitted(tmp_path)
    monkeypatch.setattr(loop, "fail_point", lambda name: None)
    for ours, theirs in zip(fitted(tmp_path), whole, strict=True):
        pairs = zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(
    "given",
    [
        {"schedule": "one_cycle"}, {"schedule": "plateau", "patience": 12}, {"schedule": "constant"},
        {"ema": 0.9}, {"accumulate": 2},
        {"find_lr": True}, {"loss": "gce"}, {"loss": "sce"}, {"loss": "focal"}, {"label_smoothing": 0.1},
        {"class_weights": True}, {"balanced": True}, {"mixup": 0.2}, {"augment": False}, {"clip": None},
        {"head": "probe"}, {"dropout": 0.2}, {"warmup": 0.5},
    ],
    ids=lambda given: "-".join(given),
)  # fmt: skip
def test_every_setting_learns(backbone: Backbone, learnt: Learnt, given: dict[str, Any]) -> None:
    grafted, history = _tuned(backbone, learnt, epochs=12, **given)
    assert history.epochs[-1].loss < 0.9 * history.epochs[0].loss
    assert not grafted.training
