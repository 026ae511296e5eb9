"""A training step with its rows varied."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from graft.contracts import Backbone, Batch
from graft.data.preprocess.augmented import Augmented, Plain
from graft.nn.grafted import Grafted
from graft.train import Step
from graft.tuning import Tuning
from graft.tuning.mixing import forward, training_form


class Watched(nn.Module):
    """Remembers what it was given; its features are means."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[Batch] = []

    def forward(self, batch: Any) -> Tensor:
        self.given.append(batch)
        rows = batch["input_ids"] if isinstance(batch, dict) else batch
        return rows.float().flatten(1)[:, :8].contiguous()


@pytest.fixture
def grafted(backbone: Backbone) -> Iterator[Grafted]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield Grafted(replace(backbone, module=Watched()), nn.Linear(8, 3))


def _step(batch: Batch, module: nn.Module, weights: Tensor | None = None) -> Step:
    return Step(module, batch, torch.tensor([0, 1, 2, 1]), weights, torch.arange(4), epoch=0, progress=0.0)


def _given(grafted: Grafted) -> Any:
    return grafted.trunk.given[-1]  # type: ignore[union-attr,index]


IMAGES = torch.arange(4 * 3 * 8 * 8, dtype=torch.float32).reshape(4, 3, 8, 8)


def test_nothing_is_varied_unless_asked_for(grafted: Grafted) -> None:
    step = _step(IMAGES, grafted)
    same, features, outputs = forward(grafted, step, Tuning(), 3)
    assert same is step
    assert torch.equal(_given(grafted), IMAGES)
    assert torch.equal(outputs, grafted.head(features))


def test_images_are_mixed_with_their_targets(grafted: Grafted) -> None:
    step, *_ = forward(grafted, _step(IMAGES, grafted, torch.ones(4)), Tuning(mixup=1.0), 3)
    share = step.targets[1, 1].item()
    assert 0 < share < 1
    torch.testing.assert_close(_given(grafted), share * IMAGES + (1 - share) * IMAGES.roll(1, 0))
    assert torch.allclose(step.targets.sum(1), torch.ones(4))
    assert step.weights is not None


def test_boxes_are_pasted_and_targets_follow_their_area(grafted: Grafted) -> None:
    step, *_ = forward(grafted, _step(IMAGES, grafted), Tuning(cutmix=1.0), 3)
    own = (_given(grafted) == IMAGES).float().mean().item()
    assert own == pytest.approx(step.targets[1, 1].item())


def test_both_take_turns(grafted: Grafted) -> None:
    pasted = []
    for _ in range(30):
        forward(grafted, _step(IMAGES, grafted), Tuning(mixup=1.0, cutmix=1.0), 3)
        pasted.append(bool((_given(grafted) == IMAGES).any()))
    assert 5 < sum(pasted) < 25


def test_rows_that_are_no_images_are_mixed_as_features(grafted: Grafted) -> None:
    table = torch.randn(4, 8)
    step, features, _ = forward(grafted, _step(table, grafted), Tuning(mixup=1.0), 3)
    share = step.targets[1, 1].item()
    assert torch.equal(_given(grafted), table)
    torch.testing.assert_close(features, share * table + (1 - share) * table.roll(1, 0))


def test_words_are_left_out(grafted: Grafted) -> None:
    batch = {"input_ids": torch.arange(160).reshape(4, 40), "attention_mask": torch.ones(4, 40, dtype=torch.long)}
    forward(grafted, _step(batch, grafted), Tuning(token_dropout=0.5), 3)
    left = _given(grafted)["input_ids"].shape[1]
    assert 8 < left < 40


def test_the_training_form(backbone: Backbone) -> None:
    assert training_form(backbone.preprocess, Tuning()) is backbone.preprocess
    assert isinstance(training_form(backbone.preprocess, Tuning(augment=False)), Plain)
    varied = training_form(backbone.preprocess, Tuning(rand_augment=9.0))
    assert isinstance(varied, Augmented)
    assert varied.magnitude == 9.0
