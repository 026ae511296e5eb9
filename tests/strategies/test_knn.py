"""The nearest training rows vote."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier

import graft
from graft import compute
from graft.contracts import Backbone, FittedTask, Rows, TransferData
from graft.data.examples import TableExamples
from graft.errors import RequestError
from graft.evaluate.goal import goal_of
from graft.features import Extractor, extract
from graft.nn.neighbours import Metric
from graft.select.candidates import candidate
from graft.select.trial import run_trial
from graft.sources.columns import Columns
from graft.strategies.knn import KNN
from graft.strategies.svm import SVM
from graft.tasks.classification import Classification

Learnt = tuple[FittedTask, TransferData]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_k_is_the_best_of_those_that_leave_one_out(backbone: Backbone, classes: Learnt, metric: Metric) -> None:
    task, data = classes
    strategy = KNN(metric=metric)
    module = strategy.build(backbone, task)
    history = strategy.fit(module, task, data)
    features = extract(backbone, data.train.examples, machine=data.machine)
    rows = module.head.scaling(torch.from_numpy(features)).numpy()
    truth = data.train.targets.numpy()
    scores = {}
    for k in (1, 2, 3, 5, 8, 13, 21, 34, 55, 89):
        model = KNeighborsClassifier(k, weights="distance", metric=metric)
        scores[k] = (cross_val_predict(model, rows, truth, cv=LeaveOneOut()) == truth).mean()
    assert history.score == pytest.approx(max(scores.values()))
    assert scores[history.chosen["k"]] == pytest.approx(history.score)
    outputs = Extractor(module, backbone.preprocess, data.machine).run(data.train.examples)
    assert (outputs.argmax(1) == truth).all()  # each row is its own nearest


def test_every_kind_of_task_beats_silence(backbone: Backbone, learnt: Learnt) -> None:
    task, data = learnt
    module = KNN().build(backbone, task)
    history = KNN().fit(module, task, data)
    assert history.score is not None
    assert data.valid is not None
    outputs = Extractor(module, backbone.preprocess, data.machine).run(data.valid.examples)
    silent = np.broadcast_to(task.prior(data.train.targets).numpy(), outputs.shape)
    goal, truth = goal_of(task), data.valid.targets.numpy()
    assert goal.better(goal.measure(outputs, truth), goal.measure(silent, truth) - 0.05)


def test_k_can_be_given_and_is_never_more_than_there_are_rows(backbone: Backbone, classes: Learnt) -> None:
    task, data = classes
    module = KNN(k=7).build(backbone, task)
    assert KNN(k=7).fit(module, task, data).chosen == {"k": 7}
    few = replace(data.train, examples=data.train.examples.take(np.arange(4)), targets=data.train.targets[:4])
    module = KNN(k=7).build(backbone, task)
    assert KNN(k=7).fit(module, task, replace(data, train=few)).chosen == {"k": 4}
    assert Extractor(module, backbone.preprocess, data.machine).run(few.examples).shape == (4, 3)


def test_rows_of_one_group_alone_have_no_score(backbone: Backbone, classes: Learnt) -> None:
    task, data = classes
    module = KNN().build(backbone, task)
    history = KNN().fit(module, task, replace(data, groups=np.array(["g"] * 90, dtype=object)))
    assert (history.score, history.chosen) == (None, {"k": 1})


def test_groups_do_not_vote_for_themselves(backbone: Backbone, classes: Learnt) -> None:
    task, data = classes
    rows = np.repeat(np.arange(45), 2)
    twice = replace(data.train, examples=data.train.examples.take(rows), targets=data.train.targets[rows])
    module = KNN(k=1).build(backbone, task)
    assert KNN(k=1).fit(module, task, replace(data, train=twice)).score < 0.9


def test_weights_and_soft_labels_are_heard(backbone: Backbone, classes: Learnt) -> None:
    task, data = classes
    soft = torch.nn.functional.one_hot(data.train.targets, 3).float()
    outputs = []
    weights = torch.linspace(0.1, 3, 90)
    for train in (data.train, replace(data.train, targets=soft), replace(data.train, weights=weights)):
        module = KNN(k=5).build(backbone, task)
        KNN(k=5).fit(module, task, replace(data, train=train))
        assert data.valid is not None
        outputs.append(Extractor(module, backbone.preprocess, data.machine).run(data.valid.examples))
    assert np.array_equal(outputs[0], outputs[1])
    assert not np.allclose(outputs[0], outputs[2], atol=1e-3)


@pytest.mark.parametrize(
    ("strategy", "sentence"),
    [
        (KNN(metric="l1"), "metric is 'l1', expected cosine or euclidean"),  # type: ignore[arg-type]
        (KNN(k=0), "k is 0, expected at least 1"),
        (KNN(k=1.5), "k is 1.5"),  # type: ignore[arg-type]
    ],
)
def test_options_that_are_none(backbone: Backbone, classes: Learnt, strategy: KNN, sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence):
        strategy.build(backbone, classes[0])


def test_stages_beside_the_features(backbone: Backbone, classes: Learnt) -> None:
    task, data = classes
    strategy = KNN(layers=("0",))
    module = strategy.build(backbone, task)
    assert module.backbone.dim == 12 + 8
    assert strategy.fit(module, task, data).score > 0.5


ROWS = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
LABELS = np.array(["up" if value > 0 else "down" for value in ROWS[:, 0]], dtype=object)


@pytest.mark.parametrize("strategy", [KNN(), SVM(kernel="rbf")])
def test_a_kept_trial_is_taken_up_with_its_rows(
    strategy: KNN | SVM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = Classification()
    fitted = task.start(LABELS)
    data = TransferData(train=Rows(TableExamples(ROWS), fitted.encode(LABELS)), machine=compute.machine("cpu"))
    chosen = candidate(Columns(), strategy, "table")
    first = run_trial(chosen, task, fitted, data, tmp_path)
    monkeypatch.setattr(type(strategy), "fit", lambda *given: pytest.fail("fitted again"))
    second = run_trial(chosen, task, fitted, data, tmp_path)
    assert np.array_equal(second.model.outputs(TableExamples(ROWS)), first.model.outputs(TableExamples(ROWS)))


def test_a_model_of_kept_rows_is_saved_and_read(tmp_path: Path) -> None:
    fitted = graft.Transfer(Columns(), strategy=KNN()).fit(ROWS, LABELS)
    fitted.save(tmp_path / "model")
    assert np.array_equal(graft.load(tmp_path / "model").predict_proba(ROWS), fitted.predict_proba(ROWS))
