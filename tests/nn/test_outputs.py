"""What a source itself says of a row, as a backbone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from graft import registry
from graft.contracts import Backbone, Batch, Card
from graft.data.examples import TableExamples
from graft.data.preprocess.columns import ColumnPreprocess
from graft.nn.outputs import own_outputs

ROWS = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32)


def small(head: nn.Module | None, outputs: nn.Module | None = None, dim: int = 4) -> Backbone:
    trunk = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, dim))
    card = Card("small", "table", outputs=3)
    preprocess = ColumnPreprocess.learn(ROWS)
    return Backbone(trunk, dim, preprocess, ("0", "2"), card, head=head, outputs=outputs, fingerprint="a")


def staged(backbone: Backbone) -> bool:
    names = [name for name, _ in backbone.module.named_parameters()]
    return all(any(name == stage or name.startswith(f"{stage}.") for stage in backbone.stages) for name in names)


def test_a_head_on_the_features() -> None:
    backbone = small(nn.Linear(4, 7))
    own = own_outputs(backbone)
    assert own is not None
    rows = torch.from_numpy(ROWS)
    assert torch.equal(own.module(rows), backbone.head(backbone.module(rows)))
    assert (own.dim, own.head, own.outputs) == (7, None, None)
    assert own.stages == ("trunk.0", "trunk.2", "head")
    assert staged(own)
    assert own.fingerprint not in (None, "a")


def test_a_head_without_a_width_is_as_wide_as_the_card_says() -> None:
    own = own_outputs(small(nn.Identity(), dim=3))
    assert own is not None
    assert own.dim == 3
    assert own.stages == ("trunk.0", "trunk.2")
    assert own_outputs(replace(small(nn.Identity()), card=Card("small", "table"))) is None


def test_outputs_that_are_no_layer_on_the_features() -> None:
    backbone = small(None)
    whole = nn.ModuleDict({"body": nn.ModuleList([backbone.module[0], backbone.module[2]]), "last": nn.Linear(4, 3)})

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = whole

        def forward(self, batch: Batch) -> torch.Tensor:
            first, second = self.inner["body"]
            return self.inner["last"](second(first(batch).relu()).relu())

    own = own_outputs(replace(backbone, outputs=Whole()))
    assert own is not None
    assert own.dim == 3
    assert own.stages == ("inner.body.0", "inner.body.1", "inner.last.weight", "inner.last.bias")
    assert staged(own)
    ids = {id(value) for value in own.module.parameters()}
    assert {id(value) for value in backbone.module.parameters()} < ids


def test_a_source_without_outputs_has_none() -> None:
    assert own_outputs(small(None)) is None


def test_what_still_has_to_meet_the_rows_does_so_first() -> None:
    table = registry.build("sources", "table/mlp?hidden=[6]").load()
    asked = replace(table, head=nn.Linear(6, 2), learn=lambda rows: replace(small(nn.Linear(4, 7)), learn=None))
    own = own_outputs(asked)
    assert own is not None
    assert own.learn is not None
    assert own.learn(TableExamples(ROWS)).dim == 7


@pytest.mark.parametrize(
    "spec", ["timm/resnet10t", "timm/test_vit", "timm/swin_tiny_patch4_window7_224", "torchvision/squeezenet1_0"]
)
def test_networks_of_images_with_their_classes(spec: str) -> None:
    backbone = registry.build("sources", spec).load(weights=False)
    own = own_outputs(backbone)
    assert own is not None
    assert own.dim == backbone.card.outputs == 1000
    assert staged(own)
    images = torch.zeros(2, 3, *backbone.preprocess.size, dtype=torch.uint8)
    assert own.module.eval()(images).shape == (2, 1000)
