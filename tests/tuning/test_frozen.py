"""Frozen stages compute once a row: the same model, for less."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from graft.contracts import Backbone, Card, FittedTask, History, Machine, Preprocess, Rows, TransferData
from graft.data.cells import objects
from graft.data.examples import ImageExamples, TableExamples, TextExamples
from graft.data.preprocess.columns import ColumnPreprocess
from graft.data.preprocess.images import ImagePreprocess
from graft.data.preprocess.tokens import TokenPreprocess, wordpiece
from graft.nn import architectures
from graft.nn.encoder import TextEncoder
from graft.nn.grafted import Grafted
from graft.tasks.classification import Classification
from graft.train import loop
from graft.tuning import Tuning, body, tunable, tune
from graft.tuning.frozen import varies

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "warm", "cold", "day", "night"]
SETTINGS: dict[str, Any] = {"batch_size": 8, "patience": None, "augment": False, "head_lr": 1e-2}


def bert() -> tuple[nn.Module, tuple[str, ...], Preprocess, Any, int]:
    from transformers import BertConfig, BertModel

    random = np.random.default_rng(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}  # the two ways draw apart
    module = TextEncoder(BertModel(BertConfig(vocab_size=len(WORDS), **sizes, **still), add_pooling_layer=False))
    stages = ("transformer.embeddings", *(f"transformer.encoder.layer.{place}" for place in range(3)))
    rows = [" ".join(random.choice(WORDS[5:], random.integers(1, 12))) for _ in range(26)]
    return module, stages, TokenPreprocess(wordpiece("\n".join(WORDS).encode()), 32), TextExamples(rows), 16


def pictures(name: str) -> Callable[[], tuple[nn.Module, tuple[str, ...], Preprocess, Any, int]]:
    def make() -> tuple[nn.Module, tuple[str, ...], Preprocess, Any, int]:
        random = np.random.default_rng(0)
        size = 64 if name == "resnet10t" else 224
        parts = architectures.build(f"timm/{name}")
        rows = [random.integers(0, 255, (size, size, 3)).astype(np.uint8) for _ in range(14)]
        shaped = ImagePreprocess((size, size), (0.5,) * 3, (0.5,) * 3)
        return parts.module, parts.stages, shaped, ImageExamples(rows), parts.dim

    return make


def table() -> tuple[nn.Module, tuple[str, ...], Preprocess, Any, int]:
    values = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    layers = [nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 8), nn.Dropout(0.2), nn.Linear(8, 8)]
    return nn.Sequential(*layers), ("0", "1", "3", "5"), ColumnPreprocess.learn(values), TableExamples(values), 8


MADE = {"bert": bert, "resnet": pictures("resnet10t"), "vit": pictures("vit_tiny_patch16_224"), "table": table}


def prepared(kind: str, **settings: Any) -> tuple[Grafted, FittedTask, TransferData]:
    torch.manual_seed(0)
    module, stages, preprocess, examples, dim = MADE[kind]()
    labels = objects([("odd", "even")[place % 2] for place in range(len(examples))])
    task = Classification().start(labels)
    targets, half = task.encode(labels), 2 * len(examples) // 3
    rows = [Rows(examples.take(part), targets[part]) for part in np.split(np.arange(len(examples)), [half])]
    data = TransferData(rows[0], rows[1], machine=Machine(precision="float32"))
    backbone = Backbone(module, dim, preprocess, stages, Card("made", examples.modality))
    return tunable(backbone, task, Tuning.of({**SETTINGS, **settings})), task, data


def fitted(kind: str, epochs: int = 3, data: TransferData | None = None, **settings: Any) -> tuple[Grafted, History]:
    grafted, task, own = prepared(kind, **settings)
    tuning = Tuning.of({**SETTINGS, **settings})
    return grafted, tune(grafted, task, data or own, epochs=epochs, lr=1e-3, tuning=tuning)


def without(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(body, "frozen_once", lambda grafted, data, preprocess, tuning: None)


@pytest.mark.parametrize("last", [0, 1, 2])
@pytest.mark.parametrize("kind", sorted(MADE))
def test_the_model_is_the_same_as_without(kind: str, last: int, monkeypatch: pytest.MonkeyPatch) -> None:
    quick, told = fitted(kind, last=last)
    with monkeypatch.context() as patch:
        without(patch)
        slow, plain = fitted(kind, last=last)
    assert told.chosen["frozen_stages_computed"] == "once"
    assert "frozen_stages_computed" not in plain.chosen
    assert type(quick.trunk) is type(slow.trunk)
    for one, other in zip(told.epochs, plain.epochs, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-3)
        assert one.metric == pytest.approx(other.metric)
    before = prepared(kind, last=last)[0].state_dict()
    moved = 0
    for name, value in quick.state_dict().items():
        other = slow.state_dict()[name]
        if torch.equal(other, before[name]):
            assert torch.equal(value, other), f"{name} is frozen"
        else:
            moved += 1
            assert float((value - other).abs().max()) < 2e-4, name
    assert moved >= 2


def test_batchnorm_that_adapts_ends_in_the_model() -> None:
    grafted, told = fitted("resnet", last=1, batch_norm="adapt")
    before = prepared("resnet")[0].state_dict()
    assert told.chosen["frozen_stages_computed"] == "once"
    moved = {name for name, value in grafted.state_dict().items() if not torch.equal(value, before[name])}
    assert any(name.startswith("trunk.network.layer4") and "running" in name for name in moved)
    assert not any("running" in name and "layer4" not in name for name in moved)


@pytest.mark.parametrize("settings", [{"token_dropout": 0.2}, {"mixup": 0.2}, {"cutmix": 0.2}])
def test_rows_that_vary_are_computed_every_epoch(settings: dict[str, Any]) -> None:
    kind = "resnet" if "cutmix" in settings else "bert"
    assert fitted(kind, last=1, epochs=2, **settings)[1].chosen["frozen_stages_computed"] == "every epoch"


def test_augmented_images_are_computed_every_epoch() -> None:
    assert fitted("resnet", last=1, epochs=2, augment=True)[1].chosen["frozen_stages_computed"] == "every epoch"
    assert fitted("bert", last=1, epochs=2, augment=True)[1].chosen["frozen_stages_computed"] == "once"
    grafted, _, data = prepared("resnet")
    assert varies(grafted.backbone.preprocess, data)
    _, _, texts = prepared("bert")
    assert not varies(prepared("bert")[0].backbone.preprocess, texts)


def test_nothing_is_told_where_nothing_is_frozen() -> None:
    assert "frozen_stages_computed" not in fitted("table", epochs=2)[1].chosen
    assert "frozen_stages_computed" not in fitted("table", last=1, epochs=1)[1].chosen


def test_a_network_without_a_cut_is_trained_as_it_is() -> None:
    class Around(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(5, 8), nn.Linear(8, 8)
            self.three = nn.Linear(8, 8)

        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            first = self.one(rows)
            return self.three(self.two(first)) + first  # type: ignore[no-any-return]

    grafted, task, data = prepared("table")
    backbone = replace(grafted.backbone, module=Around(), stages=("one", "two", "three"))
    tuning = Tuning.of({**SETTINGS, "last": 1})
    history = tune(tunable(backbone, task, tuning), task, data, epochs=2, lr=1e-3, tuning=tuning)
    assert history.chosen["frozen_stages_computed"] == "every epoch"


def test_what_is_added_to_the_loss_sees_the_rows_themselves() -> None:
    grafted, task, data = prepared("table", last=1)
    seen = []

    def extra(step: Any, features: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
        seen.append(step.batch)
        return outputs.sum() * 0

    tuning = Tuning.of({**SETTINGS, "last": 1})
    history = tune(grafted, task, data, epochs=2, lr=1e-3, tuning=tuning, extra=extra)
    assert isinstance(seen[0], torch.Tensor)
    assert "frozen_stages_computed" not in history.chosen


def test_it_goes_on_after_a_kill_to_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, told = fitted("bert", last=1, epochs=4)
    kept = replace(prepared("bert")[2], checkpoint=tmp_path)

    def die(name: str) -> None:
        if name == "train-2-1":
            raise KeyboardInterrupt

    trunk = None
    with monkeypatch.context() as patch:
        patch.setattr(loop, "fail_point", die)
        grafted, task, _ = prepared("bert", last=1)
        trunk = grafted.trunk
        with pytest.raises(KeyboardInterrupt):
            tune(grafted, task, kept, epochs=4, lr=1e-3, tuning=Tuning.of({**SETTINGS, "last": 1}))
        assert grafted.trunk is trunk, "the network is whole again"
    found, again = fitted("bert", last=1, epochs=4, data=kept)
    assert again.score == told.score
    for ours, theirs in zip(found.state_dict().values(), expected.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)
    assert copy.deepcopy(found.trunk).state_dict().keys() == trunk.state_dict().keys()


def test_stages_may_join_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    quick, told = fitted("table", last=2, unfreeze=1, epochs=4)
    with monkeypatch.context() as patch:
        without(patch)
        slow, _ = fitted("table", last=2, unfreeze=1, epochs=4)
    assert told.chosen["frozen_stages_computed"] == "once"
    for name, value in quick.state_dict().items():
        torch.testing.assert_close(value, slow.state_dict()[name], rtol=1e-4, atol=1e-5)


def test_what_was_not_marked_to_train_does_not_when_its_stage_joins(monkeypatch: pytest.MonkeyPatch) -> None:
    grafted, task, data = prepared("table", unfreeze=1)
    grafted.trunk[0].weight.requires_grad_(False)
    seen = []

    def watching(module: nn.Module, objective: Any, data: TransferData, **named: Any) -> Any:
        for epoch in range(6):
            named["before_epoch"](epoch)
            seen.append([name for name, value in grafted.trunk.named_parameters() if value.requires_grad])
        raise KeyboardInterrupt

    monkeypatch.setattr(body.train, "fit", watching)
    with pytest.raises(KeyboardInterrupt):
        tune(grafted, task, data, epochs=6, lr=1e-3, tuning=Tuning.of({**SETTINGS, "unfreeze": 1}))
    assert [len(names) for names in seen] == [0, 2, 4, 6, 7, 7]
    assert "0.weight" not in seen[-1]
