"""A linear model on what the source itself says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import graft
from graft import registry
from graft.contracts import Backbone, FittedTask, TransferData
from graft.errors import RequestError
from graft.evaluate.goal import goal_of
from graft.features import extract
from graft.linear import fit_linear
from graft.nn.outputs import Form, chances, own_outputs
from graft.strategies.output_head import OutputHead

Learnt = tuple[FittedTask, TransferData]


@pytest.fixture
def speaking(backbone: Backbone) -> Backbone:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return replace(backbone, head=nn.Linear(8, 4))


@pytest.mark.parametrize("on", ["logits", "probabilities", "log"])
def test_the_head_is_the_linear_model_on_its_outputs(speaking: Backbone, learnt: Learnt, on: Form) -> None:
    task, data = learnt
    strategy = OutputHead(on)
    module = strategy.build(speaking, task)
    history = strategy.fit(module, task, data)
    own = own_outputs(speaking)
    assert own is not None
    given = torch.from_numpy(extract(own, data.train.examples, machine=data.machine))
    seen = {"logits": given, "probabilities": given.softmax(1), "log": given.log_softmax(1)}[on]
    keys = data.train.examples.keys()
    expected = fit_linear(
        seen.numpy(), data.train.targets, task.link, n_outputs=task.n_outputs, goal=goal_of(task), keys=keys
    )
    assert torch.allclose(module.head.weight, expected.weight, rtol=1e-2, atol=1e-3)
    assert history.score == pytest.approx(expected.score, abs=0.02)
    assert {name for name, value in module.named_parameters() if value.requires_grad} == {"head.weight", "head.bias"}


def test_a_single_output_tells_two_classes_apart(backbone: Backbone, classes: Learnt) -> None:
    one = replace(backbone, head=nn.Linear(8, 1))
    assert OutputHead("probabilities").build(one, classes[0]).backbone.dim == 2
    assert OutputHead().build(one, classes[0]).backbone.dim == 1
    assert torch.allclose(chances(torch.tensor([[0.3]]))[0, 1], torch.tensor(0.3).sigmoid())


def test_what_it_sees_has_a_print_of_its_own(speaking: Backbone, classes: Learnt) -> None:
    named = replace(speaking, fingerprint="a")
    prints = {OutputHead(on).build(named, classes[0]).backbone.fingerprint for on in ("logits", "probabilities", "log")}
    assert len(prints | {"a", None}) == 5
    assert OutputHead("log").build(speaking, classes[0]).backbone.fingerprint is None


def test_a_source_without_outputs(backbone: Backbone, classes: Learnt) -> None:
    with pytest.raises(RequestError, match="output_head needs a source with outputs of its own, and small gives"):
        OutputHead().build(backbone, classes[0])


def test_options_that_are_none(speaking: Backbone, classes: Learnt) -> None:
    with pytest.raises(RequestError, match="on is 'odds', expected one of logits, probabilities, log"):
        OutputHead("odds").build(speaking, classes[0])  # type: ignore[arg-type]


@pytest.mark.parametrize("spec", ["output_head", "label_map"])
def test_a_model_that_was_fitted_speaks_to_the_next(spec: str, tmp_path: Path) -> None:
    """The first model's own classes are what the second one, saved and read again, stands on."""
    rows = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    first = np.array(["abc"[place] for place in np.digitize(rows[:, 0], [-0.5, 0.5])], dtype=object)
    network = registry.build("sources", "table/mlp?hidden=[6]")
    graft.Transfer(network, strategy=registry.build("strategies", "fine_tune?epochs=60&lr=0.01")).fit(rows, first).save(
        tmp_path / "first"
    )
    source = registry.build("sources", f"fitted/{tmp_path / 'first'}")
    second = np.where(rows[:, 0] > 0, "up", "down").astype(object)
    model = graft.Transfer(source, strategy=registry.build("strategies", spec)).fit(rows, second)
    assert model.score(rows, second) > 0.5
    model.save(tmp_path / "second")
    assert np.array_equal(graft.load(tmp_path / "second").predict_proba(rows), model.predict_proba(rows))
