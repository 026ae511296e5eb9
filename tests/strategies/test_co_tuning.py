"""The source's own output layer learns which of its classes the task's are."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from graft.contracts import Backbone, FittedTask, TransferData
from graft.errors import RequestError
from graft.features import extract
from graft.nn.outputs import own_outputs
from graft.strategies import co_tuning
from graft.strategies.co_tuning import CoTuning
from graft.tasks.regression import Regression

Learnt = tuple[FittedTask, TransferData]
QUICK = {"batch_size": 16, "patience": None}


@pytest.fixture
def source(backbone: Backbone) -> Backbone:
    """With four classes of its own."""
    torch.manual_seed(1)
    return replace(backbone, head=nn.Linear(8, 4), card=replace(backbone.card, outputs=4))


def test_the_task_s_classes_are_found_among_the_source_s(source: Backbone, classes: Learnt) -> None:
    task, data = classes
    # three of four outputs say the class itself, mixed up: 0, 1, 2 are seen as 2, 0, 3
    values = torch.stack([torch.as_tensor(data.train.examples[row]) for row in range(90)])
    seen = {tuple(value.tolist()): int(target) for value, target in zip(values, data.train.targets, strict=True)}

    class Knows(nn.Module):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return torch.stack([torch.eye(4)[[2, 0, 3][seen[tuple(row.tolist())]]] * 4 for row in batch])

    class Plain:
        def __getattr__(self, name: str) -> object:
            return getattr(source.preprocess, name)

        def collate(self, items: list[object]) -> torch.Tensor:
            return torch.stack([torch.as_tensor(item) for item in items])

        def items(self, rows: list[object], seeds: object = None) -> list[object]:
            return list(rows)

    knowing = replace(source, module=Knows(), head=nn.Identity(), dim=4, preprocess=Plain())  # type: ignore[arg-type]
    found, _ = co_tuning._relationship(knowing, task, data)
    assert found.shape == (3, 4)
    torch.testing.assert_close(found.sum(1), torch.ones(3))
    assert found.argmax(1).tolist() == [2, 0, 3]


def test_a_source_that_is_too_sure_is_heard_at_its_own_temperature(source: Backbone, classes: Learnt) -> None:
    task, data = classes
    assert isinstance(source.head, nn.Linear)
    with torch.no_grad():
        source.head.weight.mul_(30)
    own = own_outputs(source)
    assert own is not None
    said = torch.from_numpy(extract(own, data.train.examples, machine=data.machine))
    classes_of, sure = co_tuning._relationship(source, task, data)
    wanted = classes_of[data.train.targets]

    def loss(factor: float) -> float:
        return float(-(wanted * torch.log_softmax(factor * said, 1)).sum(1).mean())

    assert sure < 0.5
    assert loss(sure) < min(loss(0.9 * sure), loss(1.1 * sure))
    losses = []
    for temperature, told in ((None, 1 / sure), (1.0, 1.0)):
        strategy = CoTuning(epochs=1, temperature=temperature, tuning=QUICK)
        history = strategy.fit(strategy.build(copy.deepcopy(source), task), task, data)
        assert history.chosen["temperature"] == pytest.approx(told, abs=1e-3)
        losses.append(history.epochs[0].loss)
    assert losses[0] < losses[1]


def test_the_source_s_layer_is_heard_and_not_changed(source: Backbone, classes: Learnt) -> None:
    task, data = classes
    found = []
    for weight in (0.0, 2.3):
        own = copy.deepcopy(source)
        strategy = CoTuning(weight, epochs=3, lr=1e-3, tuning=QUICK)
        module = strategy.build(own, task)
        history = strategy.fit(module, task, data)
        assert history.score is not None
        assert torch.equal(own.head.weight, source.head.weight)  # type: ignore[union-attr]
        assert not any("beside" in name for name in module.state_dict())
        found.append(module.get_parameter("trunk.0.weight").detach())
    assert not torch.allclose(*found)


def test_it_refuses_what_cannot_be(backbone: Backbone, source: Backbone, classes: Learnt) -> None:
    task, data = classes
    with pytest.raises(RequestError, match="an output layer of the source, and one class a row; small has no outputs"):
        CoTuning().build(backbone, task)
    with pytest.raises(RequestError, match=r"a row; the outputs of .* are no layer on its features"):
        CoTuning().build(replace(source, outputs=nn.Identity()), task)
    numbers = Regression().start(data.train.targets.numpy().astype(object))
    with pytest.raises(RequestError, match="this task is regression"):
        CoTuning().build(source, numbers)
    with pytest.raises(RequestError, match="weight is -1, expected 0 or more"):
        CoTuning(-1).build(source, task)
    with pytest.raises(RequestError, match=r"temperature is 0.0, expected a number above 0 or none"):
        CoTuning(temperature=0.0).build(source, task)
