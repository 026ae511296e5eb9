"""The control on plain features."""

from __future__ import annotations

import numpy as np
import torch

from graft.contracts import Backbone, FittedTask, Machine, Rows, TransferData
from graft.data.examples import TextExamples
from graft.features import Extractor
from graft.sources.tfidf import Tfidf
from graft.strategies.linear_probe import LinearProbe
from graft.strategies.shallow import Shallow
from graft.tasks.classification import Classification

Learnt = tuple[FittedTask, TransferData]


def test_it_is_a_control_that_is_fitted_as_a_probe_is(backbone: Backbone, learnt: Learnt) -> None:
    task, data = learnt
    assert (Shallow.family, Shallow.starts_from) == ("control", "plain")
    control, probe = Shallow(), LinearProbe()
    one, other = control.build(backbone, task), probe.build(backbone, task)
    assert control.fit(one, task, data) == probe.fit(other, task, data)
    assert torch.equal(one.head.weight, other.head.weight)
    assert control.get_params() == {"penalties": None}


def test_counted_words_never_become_dense() -> None:
    texts = TextExamples([f"{word} parcel {place % 7}" for place in range(30) for word in ("lovely", "broken")])
    labels = np.array(["good", "bad"] * 30, dtype=object)
    task = Classification().start(labels)
    backbone = Tfidf().load()
    assert backbone.learn is not None
    backbone = backbone.learn(texts)
    strategy = Shallow()
    module = strategy.build(backbone, task)
    history = strategy.fit(module, task, TransferData(train=Rows(texts, task.encode(labels))))
    assert history.score == 1.0
    outputs = Extractor(module, backbone.preprocess, Machine()).run(TextExamples(["a broken one", "a lovely one"]))
    assert task.decode(outputs).tolist() == ["bad", "good"]
