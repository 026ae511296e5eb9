from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from graft.contracts import Machine, Preprocess
from graft.data.examples import ImageExamples, TableExamples, TextExamples
from graft.data.preprocess.columns import ColumnPreprocess
from graft.data.preprocess.images import ImagePreprocess
from graft.data.preprocess.tokens import TokenPreprocess, wordpiece
from graft.features import Extractor, Resumption, activations, cut_rows
from graft.nn import architectures
from graft.nn.encoder import TextEncoder
from graft.progress import Silent

RANDOM = np.random.default_rng(0)
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "warm", "cold", "day", "night"]


def texts() -> tuple[nn.Module, tuple[str, ...], Preprocess, TextExamples]:
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32
    )
    module = TextEncoder(BertModel(config, add_pooling_layer=False))
    stages = ("transformer.embeddings", *(f"transformer.encoder.layer.{place}" for place in range(3)))
    rows = [" ".join(RANDOM.choice(WORDS[5:], RANDOM.integers(1, 12))) for _ in range(70)]
    return module, stages, TokenPreprocess(wordpiece("\n".join(WORDS).encode()), 32), TextExamples(rows)


def images(name: str = "resnet10t") -> tuple[nn.Module, tuple[str, ...], Preprocess, ImageExamples]:
    torch.manual_seed(0)
    size = (224, 224) if name.startswith("vit") else (64, 64)
    parts = architectures.build(f"timm/{name}")
    pictures = [RANDOM.integers(0, 255, (70, 80, 3)).astype(np.uint8) for _ in range(9)]
    return parts.module, parts.stages, ImagePreprocess(size, (0.5,) * 3, (0.5,) * 3), ImageExamples(pictures)


def table() -> tuple[nn.Module, tuple[str, ...], Preprocess, TableExamples]:
    torch.manual_seed(0)
    values = RANDOM.normal(size=(70, 5)).astype(np.float32)
    module = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4), nn.Linear(4, 3))
    return module, ("0", "1", "3", "4"), ColumnPreprocess.learn(values), TableExamples(values)


MADE = {"texts": texts, "images": images, "vit": lambda: images("vit_tiny_patch16_224"), "table": table}


def frozen(made: tuple[nn.Module, tuple[str, ...], Any, Any]) -> nn.Module:
    module, stages, *_ = made
    module.requires_grad_(False)
    module.get_submodule(stages[-2] if "norm" in stages[-1] else stages[-1]).requires_grad_(True)
    return module


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kind", sorted(MADE))
def test_rows_go_on_to_the_same_features(kind: str, threads: int) -> None:
    module, stages, preprocess, examples = made = MADE[kind]()
    frozen(made)
    machine = Machine(threads=threads, precision="float32")
    train, valid = examples.take(np.arange(1, len(examples))), examples.take(np.array([0, 2]))
    found = cut_rows(module, stages, preprocess, train, valid, machine=machine)
    assert isinstance(found, Resumption), found
    assert found.valid is not None
    expected = Extractor(module, preprocess, machine)
    again = Extractor(found.trunk, found.preprocess, machine)
    for rows, recorded in ((train, found.train), (valid, found.valid)):
        np.testing.assert_allclose(again.run(recorded), expected.run(rows), rtol=1e-4, atol=1e-5)
        assert np.array_equal(recorded.keys(), rows.keys())
        assert recorded.name(1) == rows.name(1)
        assert recorded.modality == rows.modality
    part = found.train.take(np.array([3, 1]))
    np.testing.assert_allclose(again.run(part), expected.run(train.take(np.array([3, 1]))), rtol=1e-4, atol=1e-5)
    assert found.preprocess.files() == preprocess.files()
    assert "computed once a row" in found.note
    assert "in memory" in found.note


@pytest.mark.parametrize("kind", ["texts", "table"])
def test_a_frozen_stage_runs_once_a_row(kind: str) -> None:
    module, stages, preprocess, examples = made = MADE[kind]()
    frozen(made)
    seen = []
    found = cut_rows(module, stages, preprocess, examples, machine=Machine())
    assert isinstance(found, Resumption)
    module.get_submodule(stages[0]).register_forward_hook(lambda part, given, out: seen.append(len(out)))
    again = cut_rows(module, stages, preprocess, examples, machine=Machine())
    assert isinstance(again, Resumption)
    tried = 8 * 3  # two batches of three and two rows, traced, tried and recorded, with some to spare
    assert len(examples) <= sum(seen) <= len(examples) + tried
    seen.clear()
    for _ in range(3):
        Extractor(again.trunk, again.preprocess, Machine()).run(again.train)
    assert not seen


def test_an_image_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    module, stages, preprocess, examples = made = images()
    frozen(made)
    found = cut_rows(module, stages, preprocess, examples, machine=Machine())
    assert isinstance(found, Resumption)
    monkeypatch.setattr(ImageExamples, "__getitem__", lambda self, row: pytest.fail("it was read again"))
    assert Extractor(found.trunk, found.preprocess, Machine()).run(found.train).shape == (9, 512)


@pytest.mark.parametrize("kind", ["texts", "images"])
def test_what_memory_does_not_hold_goes_to_a_file(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module, stages, preprocess, examples = made = MADE[kind]()
    frozen(made)
    machine = Machine(precision="float32")
    held = cut_rows(module, stages, preprocess, examples, machine=machine)
    monkeypatch.setattr(activations, "available_memory", lambda: 4096)
    filed = cut_rows(module, stages, preprocess, examples, machine=machine, folder=tmp_path / "cache")
    assert isinstance(held, Resumption)
    assert isinstance(filed, Resumption)
    assert "in a temporary file" in filed.note
    assert not list((tmp_path / "cache").iterdir()), "it has no name, so that nothing is left of a killed fit"
    outputs = [Extractor(each.trunk, each.preprocess, machine).run(each.train) for each in (held, filed)]
    assert np.array_equal(*outputs)


def test_where_it_cannot_be_kept_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    module, stages, preprocess, examples = made = table()
    frozen(made)

    def refuse(error: Exception) -> Any:
        def add(self: object, arrays: object) -> None:
            raise error

        monkeypatch.setattr(activations._Store, "add", add)
        return cut_rows(module, stages, preprocess, examples, machine=Machine())

    assert "the disk does not take" in refuse(OSError(28, "No space left on device"))
    assert "memory does not hold" in refuse(MemoryError())
    with pytest.raises(RuntimeError, match="something else"):
        refuse(RuntimeError("something else"))


def test_a_network_without_a_cut_is_told_apart() -> None:
    class Around(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.three = nn.Linear(5, 4), nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            first = self.one(x)
            return self.three(self.two(first)) + first  # type: ignore[no-any-return]

    _, _, preprocess, examples = table()
    module = Around().requires_grad_(False)
    module.three.requires_grad_(True)
    told = cut_rows(module, ("one", "two", "three"), preprocess, examples, machine=Machine())
    assert told == "every epoch computes the frozen stages again: what trains sees more of the network than two."


def test_modes_stay_and_progress_is_shown() -> None:
    module, stages, preprocess, examples = made = table()
    frozen(made).train()

    class Counted(Silent):
        def __init__(self) -> None:
            self.told: list[tuple[str, int]] = []

        def step(self, label: str, total: int | None = None) -> Any:
            self.told.append((label, total or 0))
            return super().step(label, total)

    progress = Counted()
    assert isinstance(cut_rows(module, stages, preprocess, examples, machine=Machine(), progress=progress), Resumption)
    assert all(part.training for part in module.modules())
    assert progress.told == [("record", 70)]


def test_few_rows_are_enough_to_try_it_on() -> None:
    module, stages, preprocess, examples = made = table()
    frozen(made)
    for count in (1, 2):
        found = cut_rows(module, stages, preprocess, examples.take(np.arange(count)), machine=Machine())
        assert isinstance(found, Resumption)
        assert len(found.train) == count
