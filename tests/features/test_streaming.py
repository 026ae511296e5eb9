from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from graft.contracts import Machine
from graft.data.examples import TextExamples
from graft.features import Extractor, extract, stream

MACHINE = Machine(precision="float32", threads=2)


def shards(cache: Path) -> list[Path]:
    return sorted(cache.glob("*/[!.]*.safetensors"))


@pytest.mark.usefixtures("small_windows")
def test_cached_or_not_features_are_the_same(toy, texts, tmp_path: Path) -> None:
    examples, backbone = TextExamples(texts), toy()
    plain = extract(backbone, examples, machine=MACHINE)
    assert np.array_equal(extract(backbone, examples, machine=MACHINE, cache=tmp_path), plain)
    assert np.array_equal(extract(backbone, examples, machine=MACHINE, cache=tmp_path), plain)
    assert np.array_equal(Extractor(backbone.module, backbone.preprocess, MACHINE).run(examples), plain)


@pytest.mark.usefixtures("small_windows")
def test_the_same_rows_again_compute_nothing(toy, texts, tmp_path: Path) -> None:
    first = extract(toy(), TextExamples(texts), machine=MACHINE, cache=tmp_path)
    backbone = toy()
    order = np.random.default_rng(1).permutation(len(texts))
    again = extract(backbone, TextExamples(texts).take(order), machine=MACHINE, cache=tmp_path)
    assert backbone.preprocess.shaped == []
    assert np.array_equal(again, first[order])


@pytest.mark.usefixtures("small_windows")
def test_ten_percent_new_rows_compute_ten_percent(toy, texts, tmp_path: Path) -> None:
    extract(toy(), TextExamples(texts), machine=MACHINE, cache=tmp_path)
    mixed = list(texts)
    new = [f"new{letter}" for letter in "abcdef"]
    for place, text in zip(range(3, 60, 10), new, strict=True):
        mixed[place] = text
    backbone = toy()
    found = extract(backbone, TextExamples(mixed), machine=MACHINE, cache=tmp_path)
    assert backbone.preprocess.shaped == new
    np.testing.assert_allclose(found, extract(toy(), TextExamples(mixed), machine=MACHINE), rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("small_windows")
def test_equal_rows_are_computed_once(toy, tmp_path: Path) -> None:
    backbone = toy()
    found = extract(backbone, TextExamples(["abc", "ab"] * 30), machine=MACHINE, cache=tmp_path)
    assert sorted(backbone.preprocess.shaped) == ["ab", "abc"]
    assert np.array_equal(found[0::2], np.repeat(found[:1], 30, axis=0))


def test_without_a_fingerprint_nothing_is_kept(toy, texts, tmp_path: Path) -> None:
    extract(toy(None), TextExamples(texts), machine=MACHINE, cache=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_no_rows_give_an_empty_array_of_the_right_width(toy, tmp_path: Path) -> None:
    for cache in (None, tmp_path):
        assert extract(toy(), TextExamples([]), machine=MACHINE, cache=cache).shape == (0, 6)


@pytest.mark.usefixtures("small_windows")
@pytest.mark.parametrize("cached", [False, True])
def test_a_stream_gives_the_rows_in_order_and_in_parts(toy, texts, tmp_path: Path, cached: bool) -> None:
    cache = tmp_path if cached else None
    repeated = texts + texts[:10]
    parts = list(stream(toy(), TextExamples(repeated), machine=MACHINE, cache=cache))
    assert max(map(len, parts)) <= 8
    expected = extract(toy(), TextExamples(repeated), machine=MACHINE)
    np.testing.assert_allclose(np.concatenate(parts), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("small_windows")
def test_a_stream_computes_little_ahead_of_who_takes_it(toy, texts, tmp_path: Path) -> None:
    backbone = toy()
    running = stream(backbone, TextExamples(texts), machine=MACHINE, cache=tmp_path)
    next(running)
    running.close()
    assert len(backbone.preprocess.shaped) < 60
    assert len(shards(tmp_path)) < 8


@pytest.mark.usefixtures("small_windows")
def test_what_another_process_pruned_is_computed_again(
    toy, texts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from graft.features.cache import Space

    expected = extract(toy(), TextExamples(texts), machine=MACHINE, cache=tmp_path)
    missing = Space.missing

    def and_prune(self, keys):
        found = missing(self, keys)
        shards(tmp_path)[0].unlink()
        return found

    monkeypatch.setattr(Space, "missing", and_prune)
    found = extract(toy(), TextExamples(texts), machine=MACHINE, cache=tmp_path)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("small_windows")
def test_a_damaged_shard_costs_its_rows_and_nothing_else(toy, texts, tmp_path: Path) -> None:
    expected = extract(toy(), TextExamples(texts), machine=MACHINE, cache=tmp_path)
    victim = shards(tmp_path)[2]
    victim.write_bytes(victim.read_bytes()[:-7])
    backbone = toy()
    found = extract(backbone, TextExamples(texts), machine=MACHINE, cache=tmp_path)
    assert len(backbone.preprocess.shaped) == 8
    assert np.array_equal(found, expected)


CHILD = """
import importlib.util, os, sys
from pathlib import Path
import numpy as np
from graft import storage
from graft.contracts import Backbone, Card, Machine
from graft.data.examples import TextExamples
from graft.features import engine, extract, streaming

spec = importlib.util.spec_from_file_location("toys", sys.argv[1])
toys = importlib.util.module_from_spec(spec); spec.loader.exec_module(toys)
left = int(sys.argv[3])

def die(name):
    global left
    left -= 1
    if left == 0:
        os.environ["GRAFT_FAIL_POINT"] = name
        real(name)

real, storage.fail_point = storage.fail_point, die
streaming.WINDOW = engine.WINDOW = 8
engine._CHUNK = 4
texts = Path(sys.argv[2], "texts").read_text().split()
backbone = Backbone(toys.Mean(), 6, toys.Letters(), (), Card("toy", "text"), fingerprint="toy-1")
machine = Machine(precision="float32", threads=2)
features = extract(backbone, TextExamples(texts), machine=machine, cache=Path(sys.argv[2], "cache"))
np.save(Path(sys.argv[2], "features.npy"), features)
print(len(backbone.preprocess.shaped))
"""


@pytest.mark.slow
@pytest.mark.parametrize("kills", [(1,), (3, 4), (6, 7, 3)])
def test_a_killed_extraction_goes_on_to_the_same_bits(texts, tmp_path: Path, toy, kills: tuple[int, ...]) -> None:
    (tmp_path / "texts").write_text(" ".join(texts))
    toys = Path(__file__).with_name("conftest.py")

    def run(left: int) -> subprocess.CompletedProcess[str]:
        arguments = [sys.executable, "-c", CHILD, str(toys), str(tmp_path), str(left)]
        return subprocess.run(arguments, env=dict(os.environ), capture_output=True, text=True, timeout=120)

    for left in kills:
        assert run(left).returncode == -9
    kept = 8 * len(shards(tmp_path / "cache"))
    last = run(0)
    assert last.returncode == 0, last.stderr
    assert int(last.stdout) == 60 - min(60, kept)
    with pytest.MonkeyPatch.context() as patch:
        from graft.features import engine

        patch.setattr(engine, "WINDOW", 8)
        patch.setattr(engine, "_CHUNK", 4)
        whole = extract(toy(), TextExamples(texts), machine=MACHINE)
    assert np.array_equal(np.load(tmp_path / "features.npy"), whole)
    assert not list((tmp_path / "cache").glob("*/.graft-tmp-*"))
