from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from torch import nn

from graft.contracts import Machine
from graft.data.examples import TableExamples, TextExamples
from graft.errors import BadRowsError, MemoryLimitError
from graft.features import Extractor, engine
from graft.features.batches import Budget


def reference(backbone, texts: list[str]) -> np.ndarray:
    with torch.no_grad():
        each = [backbone.module(backbone.preprocess.collate(backbone.preprocess.items([text]))) for text in texts]
    return torch.cat(each).numpy()


@pytest.mark.usefixtures("small_windows")
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_rows_come_back_in_order(toy, texts, threads: int) -> None:
    backbone = toy()
    outputs = Extractor(backbone.module, backbone.preprocess, Machine(threads=threads)).run(TextExamples(texts))
    assert outputs.dtype == np.float32
    np.testing.assert_allclose(outputs, reference(toy(), texts), rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("small_windows")
def test_the_same_rows_give_the_same_bits(toy, texts) -> None:
    backbone = toy()
    extractor = Extractor(backbone.module, backbone.preprocess, Machine(threads=2))
    first, second = extractor.run(TextExamples(texts)), extractor.run(TextExamples(texts))
    assert np.array_equal(first, second)


def test_threads_are_as_before(toy, texts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "WINDOW", 8)
    before = torch.get_num_threads()
    backbone = toy()
    Extractor(backbone.module, backbone.preprocess, Machine(threads=4)).run(TextExamples(texts))
    assert torch.get_num_threads() == before
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("graft-")]


def test_one_row_runs_where_it_is_asked_for(toy, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = toy()
    extractor = Extractor(backbone.module, backbone.preprocess, Machine(threads=4))
    monkeypatch.setattr(engine.ThreadPoolExecutor, "submit", None)
    assert extractor.run(TextExamples(["abc"])).shape == (1, 6)


def test_no_rows_give_no_outputs(toy) -> None:
    backbone = toy()
    assert len(Extractor(backbone.module, backbone.preprocess, Machine()).run(TextExamples([]))) == 0


@pytest.mark.usefixtures("small_windows")
def test_progress_counts_every_row_once(toy, texts) -> None:
    seen = []

    class Counting:
        def step(self, label, total):
            seen.append((label, total))
            return self

        def __enter__(self):
            return seen.append

        def __exit__(self, *_):
            return None

    backbone = toy()
    Extractor(backbone.module, backbone.preprocess, Machine()).run(TextExamples(texts), Counting(), "look")
    assert seen[0] == ("look", 60)
    assert sum(seen[1:]) == 60


def test_large_items_make_small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_WINDOW_ELEMENTS", 300)
    monkeypatch.setattr(engine, "_CHUNK", 2)
    values = np.random.default_rng(0).normal(size=(11, 100)).astype(np.float32)

    class Plain:
        def items(self, rows, seeds=None):
            return [torch.from_numpy(row) for row in rows]

        def cost(self, item):
            return 1

        def collate(self, items):
            return torch.stack(items)

    extractor = Extractor(nn.Identity(), Plain(), Machine(precision="bfloat16"))
    parts = list(extractor.windows(TableExamples(values), np.arange(11), lambda done=1: None))
    assert [len(rows) for rows, _ in parts] == [4, 4, 3]
    # Where nothing was learnt there is no precision to lower: the values come back as they went in.
    assert np.array_equal(np.concatenate([features for _, features in parts]), values)


class Hungry(nn.Module):
    """Runs out of memory above a number of rows."""

    def __init__(self, most: int, error: Exception) -> None:
        super().__init__()
        self.most, self.error = most, error

    def forward(self, batch):
        if len(batch["ids"]) > self.most:
            raise self.error
        return batch["ids"].sum(1, keepdim=True)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
        torch.OutOfMemoryError("CUDA out of memory."),
    ],
)
def test_batches_are_halved_until_they_fit(toy, texts, error: Exception) -> None:
    extractor = Extractor(Hungry(5, error), toy().preprocess, Machine())
    outputs = extractor.run(TextExamples(texts))
    expected = [[sum(ord(letter) % 97 for letter in text)] for text in texts]
    assert outputs.tolist() == expected


def test_later_windows_start_with_what_fits(toy, texts) -> None:
    extractor = Extractor(Hungry(5, MemoryError()), toy().preprocess, Machine())
    extractor._budget = Budget(10_000, 10_000, 60)
    extractor.run(TextExamples(texts))
    assert extractor._budget.rows < 60


def test_a_row_that_never_fits_is_a_memory_limit(toy, texts) -> None:
    with pytest.raises(MemoryLimitError, match=r"a single row .* does not fit into memory"):
        Extractor(Hungry(0, MemoryError()), toy().preprocess, Machine()).run(TextExamples(texts))


@pytest.mark.usefixtures("small_windows")
def test_other_errors_of_the_network_pass(toy, texts) -> None:
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        Extractor(Hungry(0, RuntimeError("mat1 and mat2")), toy().preprocess, Machine()).run(TextExamples(texts))


@pytest.mark.usefixtures("small_windows")
def test_unreadable_rows_are_named(toy, texts) -> None:
    class Broken(TextExamples):
        def __getitem__(self, row):
            if row == 42:
                raise ValueError("cut off")
            return super().__getitem__(row)

    backbone = toy()
    with pytest.raises(BadRowsError, match="t row 43: cut off"):
        Extractor(backbone.module, backbone.preprocess, Machine()).run(Broken(texts, origin="t"))
