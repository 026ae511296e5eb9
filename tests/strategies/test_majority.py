"""What one can say without looking."""

from __future__ import annotations

import torch

from graft.contracts import FittedTask, TransferData
from graft.evaluate.goal import goal_of
from graft.features import Extractor
from graft.sources.nothing import Nothing
from graft.strategies.majority import Majority

Learnt = tuple[FittedTask, TransferData]


def test_it_says_the_prior_whatever_the_row(learnt: Learnt) -> None:
    task, data = learnt
    assert (Majority.family, Majority.starts_from) == ("control", "nothing")
    strategy, backbone = Majority(), Nothing().load()
    module = strategy.build(backbone, task)
    history = strategy.fit(module, task, data)
    outputs = Extractor(module, backbone.preprocess, data.machine).run(data.train.examples)
    prior = task.prior(data.train.targets)
    assert torch.allclose(torch.from_numpy(outputs), prior.expand(90, -1))
    assert history.chosen == {}
    assert history.score is not None
    measured = goal_of(task).measure(outputs, data.train.targets.numpy())
    assert abs(history.score - measured) < 0.2, "the score is that of rows that the prior did not see"
