"""What a teacher says of rows, in the words of the task."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from graft import bundle, registry
from graft.contracts import Backbone, Card, Examples, FittedTask, Machine, Rows, Source, Task, TransferData
from graft.data.cells import objects
from graft.data.examples import TableExamples, TextExamples
from graft.errors import BundleError, RequestError
from graft.model import Model
from graft.nn.distillation import expected_outputs
from graft.select.candidates import candidate
from graft.select.trial import run_trial
from graft.sources.columns import Columns
from graft.strategies.fine_tune import FineTune
from graft.tasks.classification import Classification
from graft.tasks.multilabel import Multilabel
from graft.tasks.regression import Regression
from graft.teacher import answers, described, revision

VALUES = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
CLASSES = np.array(["low", "middle", "high"], dtype=object)[np.digitize(VALUES[:, 0], [-0.5, 0.5])]
NUMBERS = objects([float(7 * row[0] - 30) for row in VALUES])
SETS = objects([tuple(name for name, value in zip("ab", row, strict=False) if value > 0) for row in VALUES])


def taught(task: Task, labels: np.ndarray, rows: Examples | None = None) -> Model:
    """A teacher with a network of its own."""
    fitted = task.start(labels)
    data = dataclasses.replace(asked(fitted, labels, rows), machine=Machine(precision="float32"))
    chosen = candidate(registry.build("sources", "table/mlp?hidden=[6]"), FineTune(epochs=3), "table")
    return run_trial(chosen, task, fitted, dataclasses.replace(data, valid=data.train)).model


def asked(task: FittedTask, labels: np.ndarray, examples: Examples | None = None) -> TransferData:
    return TransferData(Rows(examples or TableExamples(VALUES), task.encode(labels)))


@pytest.fixture(scope="module")
def model() -> Model:
    return taught(Classification(), CLASSES)


def test_a_model_in_memory_and_its_folder_say_the_same(model: Model, tmp_path: Path) -> None:
    task, rows = Classification().start(CLASSES), TableExamples(VALUES)
    data = asked(task, CLASSES)
    bundle.save(model, tmp_path / "teacher", rows=rows)
    expected = model.outputs(rows)
    folder = tmp_path / "teacher"
    for given in (model, folder, str(folder), f"fitted/{folder}"):
        found = answers(given, task, data, rows)
        assert np.allclose(found.outputs, expected, atol=1e-6)
        assert found.features.shape == (60, 6)
    assert np.array_equal(task.decode(found.outputs.numpy()), model.fitted.decode(expected))


def test_answers_are_kept_under_the_teachers_own_name(model: Model, tmp_path: Path) -> None:
    task, rows = Classification().start(CLASSES), TableExamples(VALUES)
    data = dataclasses.replace(asked(task, CLASSES), cache=tmp_path / "cache")
    first = answers(model, task, data, rows)
    assert len(list((tmp_path / "cache").iterdir())) == 1
    assert torch.equal(answers(model, task, data, rows).outputs, first.outputs)
    other = taught(Classification(), CLASSES[::-1].copy())
    assert not torch.equal(answers(other, task, data, rows).outputs, first.outputs)
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_classes_are_matched_by_name(model: Model) -> None:
    few = CLASSES != "middle"
    order = Classification().start(objects(["low", "high"]))
    assert order.classes != model.classes
    task = Classification().start(CLASSES[few])
    rows = TableExamples(VALUES[few])
    found = answers(model, task, asked(task, CLASSES[few], rows), rows)
    columns = [model.classes.index(name) for name in task.classes]
    assert np.allclose(found.outputs, model.outputs(rows)[:, columns], atol=1e-6)


def test_classes_that_the_teacher_does_not_know_are_named(model: Model) -> None:
    labels = CLASSES.copy()
    labels[:5], labels[labels == "high"] = "huge", "low"
    task = Classification().start(labels)
    with pytest.raises(RequestError, match=r"does not know the classes huge; it knows 3, of which the data.*high"):
        answers(model, task, asked(task, labels), TableExamples(VALUES))


def test_several_labels_and_numbers() -> None:
    rows = TableExamples(VALUES)
    sets = Multilabel().start(SETS)
    labels = taught(Multilabel(), SETS)
    assert np.allclose(answers(labels, sets, asked(sets, SETS), rows).outputs, labels.outputs(rows), atol=1e-6)
    numbers = taught(Regression(), NUMBERS)
    task = Regression().start(NUMBERS[:30])  # of another mean and deviation
    found = answers(numbers, task, asked(task, NUMBERS), rows).outputs.numpy()
    assert np.allclose(task.decode(found), numbers.fitted.decode(numbers.outputs(rows)), atol=1e-3)
    two = Regression().start(VALUES[:, :2])
    for theirs, ours, targets in ((labels, task, NUMBERS), (numbers, sets, SETS), (numbers, two, VALUES[:, :2])):
        with pytest.raises(RequestError, match="give a teacher of the same kind"):
            answers(theirs, ours, asked(ours, targets), rows)


def test_a_teacher_of_another_modality_is_refused(model: Model) -> None:
    texts = TextExamples([f"row {place}" for place in range(60)])
    task = Classification().start(CLASSES)
    with pytest.raises(RequestError, match="a teacher that reads rows of table cannot teach from rows of text"):
        answers(model, task, asked(task, CLASSES, texts), texts)


def test_a_table_is_read_in_the_teachers_columns() -> None:
    named = TableExamples(VALUES, columns=list("abcd"))
    task = Classification().start(CLASSES)
    teacher = taught(Classification(), CLASSES, named)
    turned = TableExamples(VALUES[:, ::-1].copy(), columns=list("dcba"))
    found = [answers(teacher, task, asked(task, CLASSES, rows), rows).outputs for rows in (named, turned)]
    assert torch.equal(*found)


class Outside(Source):
    """A source with classes of its own."""

    modality = "table"

    def __init__(self, way: str = "head") -> None:
        self.way = way

    def load(self, weights: bool = True) -> Backbone:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            trunk, head = nn.Sequential(nn.Linear(4, 6), nn.Tanh()), nn.Linear(6, 5)
        with torch.no_grad():
            trunk[0].weight[:, 0] *= 4  # type: ignore[operator]
        found = Columns().load().learn(TableExamples(VALUES))  # type: ignore[misc]
        card = Card("outside", "table", outputs=5)
        found = dataclasses.replace(found, module=trunk, dim=6, stages=("0",), card=card, sparse=None, learn=None)
        if self.way == "head":
            return dataclasses.replace(found, head=head)
        return dataclasses.replace(found, outputs=nn.Sequential(trunk, head)) if self.way == "outputs" else found


@pytest.mark.parametrize("way", ["head", "outputs"])
@pytest.mark.parametrize(
    ("kind", "labels"), [(Classification(), CLASSES), (Multilabel(), SETS), (Regression(), NUMBERS)]
)
def test_a_sources_own_classes_speak_by_what_occurs_together(kind: Task, labels: np.ndarray, way: str) -> None:
    task, source, rows = kind.start(labels), Outside(way), TableExamples(VALUES)
    backbone = source.load()
    with torch.no_grad():
        module = nn.Sequential(backbone.module, backbone.head) if way == "head" else backbone.outputs
        items = backbone.preprocess.collate(backbone.preprocess.items(list(VALUES)))
        chances = module(items).double().softmax(1)  # type: ignore[misc]
    data = asked(task, labels)
    targets = data.train.targets
    values = (nn.functional.one_hot(targets) if targets.ndim == 1 else targets).double()
    means = expected_outputs(chances, chances, values, values.mean(0), 1.0)
    found = answers(source, task, data, rows)
    link: dict[str, Any] = {"softmax": lambda x: x.softmax(1), "sigmoid": torch.sigmoid, "identity": lambda x: x}
    assert torch.allclose(link[task.link](found.outputs.double()), means, atol=1e-5)
    assert found.features.shape == (60, 6)
    assert task.loss(found.outputs, targets) < task.loss(task.prior(targets).expand(60, -1), targets)


@pytest.mark.parametrize(
    ("kind", "labels"), [(Classification(), CLASSES), (Multilabel(), SETS), (Regression(), NUMBERS)]
)
def test_rows_count_in_what_a_sources_classes_mean_by_their_weights(kind: Task, labels: np.ndarray) -> None:
    task, rows = kind.start(labels), TableExamples(VALUES)
    often = np.random.default_rng(1).integers(0, 3, 60)
    again = np.repeat(np.arange(60), often)
    weights = torch.from_numpy(often / often[often > 0].mean()).float()
    weighing = TransferData(Rows(rows, task.encode(labels), weights))
    repeated = TransferData(Rows(rows.take(again), task.encode(labels)[again]))
    found, expected = (answers(Outside(), task, data, rows).outputs for data in (weighing, repeated))
    # The prior counts as one row, and rows are told by their mean weight: 60 of them here, and as many there.
    scale = len(again) / (often > 0).sum()
    assert torch.allclose(found, expected, atol=0.2 * abs(scale - 1) + 1e-3)
    plain = answers(Outside(), task, TransferData(Rows(rows, task.encode(labels))), rows).outputs
    assert (found - expected).abs().mean() < 0.5 * (found - plain).abs().mean()


def test_what_is_no_teacher_is_refused(model: Model, tmp_path: Path) -> None:
    task, rows = Classification().start(CLASSES), TableExamples(VALUES)
    data = asked(task, CLASSES)
    with pytest.raises(RequestError, match="'nowhere' is neither a saved model nor a source"):
        answers("nowhere", task, data, rows)
    with pytest.raises(RequestError, match="columns has no outputs of its own"):
        answers("columns", task, data, rows)
    broken = copy.deepcopy(model)
    with torch.no_grad():
        next(broken.module.parameters()).fill_(torch.nan)
    with pytest.raises(RequestError, match="says what is no number"):
        answers(broken, task, data, rows)
    folder = bundle.save(model, tmp_path / "teacher", rows=rows)
    (folder / "weights.safetensors").write_bytes(b"0")
    with pytest.raises(BundleError, match="content was altered"):
        answers(folder, task, data, rows)


def test_it_is_remembered_by_its_name(model: Model, tmp_path: Path) -> None:
    assert described(None) is None
    assert described("timm/resnet18") == "timm/resnet18"
    assert described(tmp_path) == str(tmp_path)
    source = Columns()
    assert described(source) is source
    assert described(model).endswith(" on table/mlp")
    assert described(model) != described(taught(Classification(), CLASSES[::-1].copy()))


def test_its_content_has_a_name(model: Model, tmp_path: Path) -> None:
    assert revision(None) == revision(Columns()) == revision("timm/resnet18") == ""
    other = taught(Classification(), CLASSES[::-1].copy())
    folders = [
        bundle.save(each, tmp_path / name, rows=TableExamples(VALUES)) for each, name in ((model, "a"), (other, "b"))
    ]
    names = [revision(each) for each in (model, other, *folders)]
    assert len(set(names)) == 4
    assert revision(f"fitted/{folders[0]}") == names[2]
    with pytest.raises(RequestError, match="neither a saved model nor a source"):
        revision(tmp_path / "nowhere")


def test_it_is_read_in_float32_whatever_the_student_does(model: Model) -> None:
    task, rows = Classification().start(CLASSES), TableExamples(VALUES)
    halves = dataclasses.replace(asked(task, CLASSES), machine=Machine(precision="bfloat16"))
    assert torch.equal(
        answers(model, task, halves, rows).outputs, answers(model, task, asked(task, CLASSES), rows).outputs
    )
