"""Learn from a teacher."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import Tensor, nn

import graft
from graft import bundle, registry, train
from graft.checks import check_strategy
from graft.contracts import Backbone, Card, FittedTask, TransferData
from graft.data.cells import objects
from graft.data.examples import TableExamples, TextExamples
from graft.errors import RequestError, UnknownNameError
from graft.nn.grafted import Grafted
from graft.nn.initialise import seeded
from graft.sources.table import Table
from graft.strategies import distill
from graft.strategies.distill import Distill
from graft.tasks.classification import Classification
from graft.teacher import Answers

Learnt = tuple[FittedTask, TransferData]

SHORT = {"batch_size": 16, "patience": None, "head_lr": 1e-2}


def teacher_of(learnt: Learnt, backbone: Backbone) -> Any:
    """A larger network of another architecture, with views of its own."""
    with seeded(3):
        trunk = nn.Sequential(nn.Linear(5, 32), nn.Tanh(), nn.Linear(32, 16), nn.Tanh(), nn.Linear(16, 16))
        head = nn.Linear(16, learnt[0].n_outputs)
    with torch.no_grad():
        head.weight *= 8
    large = replace(backbone, module=trunk.eval(), dim=16, stages=("0", "2", "4"), card=Card("large", "table"))
    module = Grafted(large, head)
    return SimpleNamespace(module=module, networks=((module, 1.0),), fitted=learnt[0], card=large.card)


@pytest.mark.parametrize("how", ["kd", "hints", "relational", {"kd": 0.5, "distances": 1.0}])
def test_a_student_of_another_architecture_comes_to_agree(backbone: Backbone, learnt: Learnt, how: Any) -> None:
    task, data = learnt[0], replace(learnt[1], valid=None)
    teacher = teacher_of(learnt, backbone)
    before = copy.deepcopy(teacher.module.state_dict())
    told = distill.answers(teacher, task, data, data.train.examples).outputs
    apart = []
    for strategy in (
        Distill(teacher, how=how, epochs=8, lr=3e-3, weight=0.9, tuning=SHORT),
        Distill(weight=0.0, epochs=8, lr=3e-3, tuning=SHORT),
    ):
        module = strategy.build(copy.deepcopy(backbone), task)
        history = strategy.fit(module, task, data)
        assert len(history.epochs) == 8
        assert set(module.state_dict()) == set(strategy.build(copy.deepcopy(backbone), task).state_dict())
        apart.append(far(task, module, data, told))
    assert apart[0] < 0.8 * apart[1], "nearer to the teacher than on the labels alone"
    assert all(torch.equal(value, before[name]) for name, value in teacher.module.state_dict().items())


def test_features_come_to_agree_in_direction(backbone: Backbone, classes: Learnt) -> None:
    task, data = classes
    losses = []
    for epochs in (1, 20):
        strategy = Distill(
            teacher_of(classes, backbone), how={"cosine": 1.0}, weight=0.99, epochs=epochs, lr=3e-3, tuning=SHORT
        )
        losses.append(strategy.fit(strategy.build(copy.deepcopy(backbone), task), task, data).epochs[-1].loss)
    assert losses[1] < 0.7 * losses[0]


def far(task: FittedTask, module: nn.Module, data: TransferData, told: Tensor) -> float:
    """How far a student's answers are from the teacher's."""
    backbone = module.backbone
    rows = [data.train.examples[row] for row in range(len(data.train))]
    with torch.no_grad():
        outputs = module.eval()(backbone.preprocess.collate(backbone.preprocess.items(rows)))
    return float(distill.soft_targets(outputs, told, 1.0, task.link).mean())


def test_what_is_added_to_the_loss_is_the_formula(backbone: Backbone, classes: Learnt) -> None:
    task, data = classes
    random = torch.Generator().manual_seed(0)
    told = Answers(torch.randn(90, 3, generator=random), 5 + 3 * torch.randn(90, 4, generator=random))
    rows, outputs = torch.tensor([7, 3, 80, 1]), torch.randn(4, 3, generator=random)
    features = torch.randn(4, 6, generator=random)
    step = train.Step(nn.Identity(), features, data.train.targets[rows], None, rows, 0, 0.0)
    scaled = (told.features - told.features.mean(0)) / told.features.std(0, correction=0)
    seen = scaled[rows]
    said = told.outputs[rows]
    lesson = distill._Lesson(told, task, {"kd": 2.0, "hints": 3.0, "distances": 4.0, "angles": 5.0}, 3.0, 0.75)
    (regressor,) = lesson.beside(6)
    expected = (
        2 * distill.soft_targets(outputs, said, 3.0).mean()
        + 3 * (regressor(features) - seen).square().mean()
        + 4 * distill.distances(features, seen)
        + 5 * distill.angles(features, seen)
    )
    assert torch.allclose(lesson(step, features, outputs), 0.75 / 0.25 * expected)
    counted = replace(step, weights=torch.tensor([1.0, 0.0, 3.0, 0.0]))
    lesson = distill._Lesson(told, task, {"tckd": 1.0, "nckd": 8.0, "cosine": 1.0}, 3.0, 0.5)
    (regressor,) = lesson.beside(6)
    losses = distill.dkd(outputs, said, step.targets, 1.0, 8.0, 3.0)
    losses = losses + 1 - nn.functional.cosine_similarity(regressor(features), seen)
    assert torch.allclose(lesson(counted, features, outputs), (losses[0] + 3 * losses[2]) / 4)
    soft = replace(step, targets=nn.functional.one_hot(step.targets, 3).float())
    assert torch.allclose(lesson(soft, features, outputs), losses.mean()), "a divided label counts as its likeliest"


def test_rows_without_labels_teach(backbone: Backbone, learnt: Learnt) -> None:
    task, data = learnt
    more = TableExamples(np.random.default_rng(1).normal(size=(70, 5)).astype(np.float32))
    other = TableExamples(np.random.default_rng(2).normal(size=(70, 5)).astype(np.float32))
    teacher, weights = teacher_of(learnt, backbone), []
    for given in (None, more, more, other):
        strategy = Distill(teacher, epochs=2, tuning=SHORT)
        module = strategy.build(copy.deepcopy(backbone), task)
        strategy.fit(module, task, replace(data, unlabelled=given))
        weights.append(module.trunk.state_dict()["0.weight"])
    assert torch.equal(weights[1], weights[2])
    assert not torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[1], weights[3])


def test_they_take_the_teachers_answer_for_their_label(backbone: Backbone, learnt: Learnt) -> None:
    task, data = learnt
    more = TableExamples(np.random.default_rng(1).normal(size=(7, 5)).astype(np.float32))
    told = Answers(torch.randn(97, task.n_outputs), torch.zeros(97, 1))
    weighed = replace(data.train, weights=torch.full((90,), 0.5))
    for train_rows in (data.train, weighed):
        found = distill._with_answers(replace(data, train=train_rows, unlabelled=more), told, task, "x").train
        links: dict[str, Any] = {"softmax": lambda x: x.softmax(1), "sigmoid": torch.sigmoid, "identity": lambda x: x}
        assert torch.equal(found.targets[90:], links[task.link](told.outputs[90:]))
        known = found.targets[:90]
        assert torch.equal(known.argmax(1) if data.train.targets.ndim == 1 else known, data.train.targets)
        assert len(found.examples) == 97
        assert (found.weights is None) == (train_rows.weights is None)
    assert found.weights is not None
    assert found.weights.tolist() == [0.5] * 90 + [1.0] * 7


def test_an_untrained_student_owes_its_source_nothing(backbone: Backbone, classes: Learnt) -> None:
    task, data = classes
    teacher, states = teacher_of(classes, backbone), []
    for shift in (0.0, 1.0):
        own = copy.deepcopy(backbone)
        with torch.no_grad():
            for value in own.module.parameters():
                value += shift
        strategy = Distill(teacher, start="untrained", epochs=2, tuning=SHORT)
        module = strategy.build(own, task)
        strategy.fit(module, task, data)
        states.append(module.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert states[0]["trunk.1.running_mean"].abs().sum() > 0, "BatchNorm averages what it sees"


def test_without_it_is_the_same_student_on_labels_alone(backbone: Backbone, classes: Learnt) -> None:
    task, data = classes
    strategy = Distill("somewhere", start="untrained", epochs=2, lr=1e-3, how="hints", temperature=3.0, tuning=SHORT)
    name, plain = strategy.without() or ("", strategy)
    assert name == "without teacher"
    assert isinstance(plain, Distill)
    assert (plain.teacher, plain.weight) == (None, 0.0)
    assert (plain.start, plain.epochs, plain.lr, plain.tuning) == ("untrained", 2, 1e-3, SHORT)
    assert plain.without() is None
    more = TableExamples(np.random.default_rng(1).normal(size=(70, 5)).astype(np.float32))
    states = []
    for given in (data, replace(data, unlabelled=more)):
        module = plain.build(copy.deepcopy(backbone), task)
        plain.fit(module, task, given)
        states.append(module.state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0]), "nobody answers for the unlabelled"


def test_a_saved_student_needs_no_teacher(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = TableExamples(random.normal(size=(48, 4)).astype(np.float32))
    labels = objects([("low", "high")[int(rows[row][0] > 0)] for row in range(48)])
    saved = (
        graft.Transfer(Table("mlp", hidden=(12,)), precision="float32")
        .fit(np.stack([rows[row] for row in range(48)]), labels)
        .save(tmp_path / "teacher")
    )
    for teacher in (str(saved), saved, bundle.load(saved)):
        strategy = Distill(teacher, epochs=1)
        described = registry.spec(strategy)["params"]["teacher"]
        assert described == str(saved) or described.endswith(" on table/mlp")
    assert len({Distill(each).revision() for each in (str(saved), saved)}) == 1
    check_strategy(Distill(str(saved), epochs=1), Table("mlp", hidden=(6,)), Classification(), rows, labels)
    student = (
        graft.Transfer(Table("mlp", hidden=(6,)), strategy=Distill(saved, epochs=1), precision="float32")
        .fit(np.stack([rows[row] for row in range(48)]), labels)
        .save(tmp_path / "student")
    )
    expected = bundle.load(student).outputs(rows)
    for file in sorted(saved.rglob("*"), reverse=True):
        file.unlink() if file.is_file() else file.rmdir()
    assert np.array_equal(bundle.load(student).outputs(rows), expected)
    assert student.joinpath("weights.safetensors").stat().st_size < 3000, "nothing of the teacher is in it"


@pytest.mark.parametrize("moment", ["train-0-1", "train-2-3"])
def test_it_goes_on_after_a_kill_to_the_same_bits(
    backbone: Backbone, classes: Learnt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    task, data = classes
    data = replace(data, unlabelled=TableExamples(np.random.default_rng(1).normal(size=(20, 5)).astype(np.float32)))
    strategy = Distill(teacher_of(classes, backbone), how="hints", epochs=4, lr=1e-3, tuning=SHORT)
    modules = [strategy.build(copy.deepcopy(backbone), task) for _ in range(3)]
    expected = strategy.fit(modules[0], task, data)

    def die(name: str) -> None:
        if name == moment:
            raise KeyboardInterrupt

    kept = replace(data, checkpoint=tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("graft.train.loop.fail_point", die)
        with pytest.raises(KeyboardInterrupt):
            strategy.fit(modules[1], task, kept)
    found = strategy.fit(modules[2], task, kept)
    assert found.score == expected.score
    for ours, theirs in zip(modules[2].state_dict().values(), modules[0].state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)


def test_its_arguments_stay(backbone: Backbone, classes: Learnt) -> None:
    task, data = classes
    arguments = {
        "teacher": "graft/tiny", "temperature": 3.0, "weight": 0.0, "how": {"kd": 1.0}, "start": "pretrained",
        "epochs": 1, "lr": 1e-3, "tuning": {"batch_size": 8},
    }  # fmt: skip
    strategy = Distill(**arguments)  # type: ignore[arg-type]
    strategy.fit(strategy.build(backbone, task), task, data)
    assert strategy.get_params() == clone(strategy).get_params() == arguments
    built = registry.build("strategies", "distill/some/where?how.kd=1&how.hints=0.5&tuning.batch_size=8")
    assert (built.teacher, built.how, built.tuning) == ("some/where", {"kd": 1, "hints": 0.5}, {"batch_size": 8})


def test_requests_that_cannot_work_are_refused(backbone: Backbone, classes: Learnt, tmp_path: Path) -> None:
    task, data = classes
    with pytest.raises(RequestError, match="distill needs a teacher"):
        Distill().build(backbone, task)
    faults = r"temperature is 0, expected.*; weight is 1.0, expected a share.*; lr is -1, expected"
    with pytest.raises(RequestError, match=faults):
        Distill("x", weight=1.0, temperature=0, lr=-1).build(backbone, task)
    with pytest.raises(UnknownNameError, match="Did you mean untrained"):
        Distill("x", start="untraind").build(backbone, task)  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="Did you mean hints"):
        Distill("x", how="hint").build(backbone, task)
    with pytest.raises(UnknownNameError, match="Did you mean angles"):
        Distill("x", how={"angle": 1.0}).build(backbone, task)
    for mixing in ("mixup", "cutmix"):
        with pytest.raises(RequestError, match="mixup and cutmix make new rows, of which the teacher has not spoken"):
            Distill("x", tuning={mixing: 0.2}).build(backbone, task)
    with pytest.raises(RequestError, match="neither a saved model nor a source"):
        Distill(str(tmp_path / "nowhere")).fit(Distill("x").build(backbone, task), task, data)
    texts = replace(data, train=replace(data.train, examples=TextExamples(["a"] * 90)))
    strategy = Distill(teacher_of(classes, backbone))
    with pytest.raises(RequestError, match="a teacher that reads rows of table cannot teach from rows of text"):
        strategy.fit(strategy.build(backbone, task), task, texts)


def test_only_one_class_a_row_can_be_taken_apart(backbone: Backbone, learnt: Learnt) -> None:
    task, data = learnt
    strategy = Distill(teacher_of(learnt, backbone), how="dkd", epochs=1, tuning=SHORT)
    if task.link != "softmax":
        with pytest.raises(RequestError, match=r"a row of .* has no such class; use kd"):
            strategy.build(backbone, task)
        return
    assert strategy.fit(strategy.build(backbone, task), task, data).score is not None
