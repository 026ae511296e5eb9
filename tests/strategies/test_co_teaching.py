"""Two networks that teach each other."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.base import clone

from graft.contracts import Backbone, FittedTask, Rows, TransferData
from graft.data.examples import TableExamples
from graft.errors import RequestError
from graft.strategies import co_teaching
from graft.strategies.co_teaching import CoTeaching
from graft.tasks.regression import Regression

Learnt = tuple[FittedTask, TransferData]
QUICK = {"epochs": 3, "lr": 1e-3, "head_lr": 1e-2, "batch_size": 16}


def test_it_learns_every_kind_of_task(backbone: Backbone, learnt: Learnt) -> None:
    task, data = learnt
    strategy = CoTeaching(forget=0.1, **QUICK)  # type: ignore[arg-type]
    module = strategy.build(backbone, task)
    before = copy.deepcopy(module.state_dict())
    history = strategy.fit(module, task, data)
    assert history.score is not None
    assert history.chosen["forget"] == 0.1
    assert [name for name, value in module.state_dict().items() if not torch.equal(value, before[name])]
    assert set(module.state_dict()) == set(before), "one network is what is kept"


def test_rows_that_are_left_out_are_mostly_those_with_a_wrong_label(
    backbone: Backbone, classes: Learnt, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, data = classes
    truth = np.arange(90) % 3
    clouds = np.random.default_rng(0).normal(size=(90, 5)) + 3 * np.eye(3, 5)[truth]
    wrong = torch.arange(90) % 4 == 0
    targets = torch.where(wrong, (torch.from_numpy(truth) + 1) % 3, torch.from_numpy(truth))
    rows = Rows(TableExamples(clouds.astype(np.float32)), targets)
    kept: list[tuple[int, torch.Tensor, torch.Tensor]] = []
    original = co_teaching.small_loss

    def watched(first: torch.Tensor, second: torch.Tensor, keep: float) -> tuple[torch.Tensor, torch.Tensor]:
        found = original(first, second, keep)
        kept.append((len(first), *found))
        return found

    monkeypatch.setattr(co_teaching, "small_loss", watched)
    strategy = CoTeaching(forget=0.25, ramp=0.5, epochs=20, lr=5e-3, head_lr=2e-2, batch_size=30, patience=None)
    learnt_from: list[torch.Tensor] = []
    mean = co_teaching._mean
    monkeypatch.setattr(
        co_teaching, "_mean", lambda *given: learnt_from.append(given[1].rows[given[3]]) or mean(*given)
    )
    strategy.fit(strategy.build(backbone, task), task, replace(data, train=rows))
    shares = [len(first) / n for n, first, _ in kept]
    assert shares[0] == 1
    assert shares[-1] == pytest.approx(0.75, abs=0.02)
    assert shares == sorted(shares, reverse=True)
    late = torch.cat(learnt_from[-6:])
    assert wrong[late].float().mean() < 0.25 / 3
    assert any(not torch.equal(first, second) for _, first, second in kept[1:])


def test_how_much_to_forget_is_estimated(backbone: Backbone, classes: Learnt) -> None:
    task, data = classes
    strategy = CoTeaching(**QUICK)  # type: ignore[arg-type]
    history = strategy.fit(strategy.build(backbone, task), task, data)
    assert 0 <= float(history.chosen["forget"]) <= 0.8
    few = replace(data.train, examples=data.train.examples.take(np.arange(6)), targets=data.train.targets[:6])
    history = strategy.fit(strategy.build(backbone, task), task, replace(data, train=few))
    assert history.chosen["forget"] == 0


def test_weights_count(backbone: Backbone, classes: Learnt) -> None:
    task, data = classes
    strategy = CoTeaching(forget=0.0, ramp=0.0, **QUICK)  # type: ignore[arg-type]
    outputs = []
    for weights in (None, torch.ones(90), torch.arange(90) % 2.0):
        module = strategy.build(copy.deepcopy(backbone), task)
        strategy.fit(module, task, replace(data, train=replace(data.train, weights=weights)))
        outputs.append(module.state_dict()["head.weight"].clone())
    torch.testing.assert_close(outputs[0], outputs[1])
    assert not torch.allclose(outputs[0], outputs[2])


def test_its_arguments_stay_and_are_checked(backbone: Backbone, classes: Learnt) -> None:
    task, _ = classes
    strategy = CoTeaching(0.3, 0.5, 2, 1e-3, 1e-2, 0.1, 8, None)
    assert clone(strategy).get_params() == strategy.get_params()
    with pytest.raises(RequestError, match=r"forget is 1.0, expected a share"):
        CoTeaching(forget=1.0).build(backbone, task)
    with pytest.raises(RequestError, match="ramp is 2, expected a share"):
        CoTeaching(ramp=2).build(backbone, task)
    with pytest.raises(RequestError, match=r"needs one class a row .* this task is regression"):
        CoTeaching().build(backbone, Regression().start(np.arange(9.0)))
