"""Saved models: whole, checked, rebuilt to the same bits, and never trusted blindly."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import graft
from graft import bundle
from graft.data.examples import TableExamples, TextExamples
from graft.sources.columns import Columns
from graft.sources.tfidf import Tfidf
from graft.strategies.linear_probe import LinearProbe
from graft.strategies.majority import Majority

ROWS = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
LABELS = ["high" if value > 0 else "low" for value in ROWS[:, 0]]
TEXTS = [f"{'good' if place % 2 else 'bad'} thing number {place}" for place in range(40)]
MOODS = ["glad" if place % 2 else "sad" for place in range(40)]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return graft.Transfer(Columns(), strategy=LinearProbe()).fit(ROWS, LABELS).save(tmp_path / "model")


def test_a_loaded_model_gives_the_same_bits_in_a_fresh_process(saved: Path) -> None:
    here = graft.load(saved).predict_proba(ROWS)
    script = (
        "import sys, numpy as np, graft\n"
        "sys.stdout.buffer.write(graft.load(sys.argv[1]).predict_proba(np.load(sys.argv[2])).tobytes())"
    )
    np.save(saved.parent / "rows.npy", ROWS)
    done = subprocess.run(
        [sys.executable, "-c", script, str(saved), str(saved.parent / "rows.npy")], capture_output=True, check=True
    )
    assert done.stdout == here.tobytes()


def test_plain_features_travel_with_what_they_learnt(tmp_path: Path) -> None:
    fitted = graft.Transfer(Tfidf(), strategy=LinearProbe()).fit(TEXTS, MOODS)
    loaded = graft.load(fitted.save(tmp_path / "model"))
    assert np.array_equal(loaded.predict_proba(TEXTS), fitted.predict_proba(TEXTS))


def test_a_majority_model_needs_no_source(tmp_path: Path) -> None:
    fitted = graft.Transfer(Columns(), strategy=Majority()).fit(ROWS, LABELS)
    loaded = graft.load(fitted.save(tmp_path / "model"))
    assert set(loaded.predict(ROWS)) == {max(set(LABELS), key=LABELS.count)}


@pytest.mark.parametrize("name", ["weights.safetensors", "manifest.json", "selftest/outputs.json"])
def test_one_flipped_bit_is_found_and_named(saved: Path, name: str) -> None:
    raw = bytearray((saved / name).read_bytes())
    raw[len(raw) // 2] ^= 1
    (saved / name).write_bytes(raw)
    with pytest.raises(graft.BundleError, match=name):
        graft.load(saved)


def test_every_missing_file_is_listed(saved: Path) -> None:
    (saved / "weights.safetensors").unlink()
    (saved / "selftest" / "outputs.json").unlink()
    with pytest.raises(graft.BundleError, match=r"(?s)selftest/outputs.json.*weights.safetensors"):
        graft.load(saved)


def test_a_link_in_place_of_a_file_is_refused(saved: Path) -> None:
    (saved / "weights.safetensors").rename(saved.parent / "elsewhere")
    (saved / "weights.safetensors").symlink_to(saved.parent / "elsewhere")
    with pytest.raises(graft.BundleError, match="not a plain file"):
        graft.load(saved)


def reseal(folder: Path, **changes: object) -> None:
    """A forger who knows the seal."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest.pop("seal")
    (folder / "manifest.json").write_bytes(bundle._sealed({**manifest, **changes}))


def test_a_path_out_of_the_folder_is_refused(saved: Path) -> None:
    reseal(saved, files={"../secret": {"bytes": 1, "sha256": "0"}})
    with pytest.raises(graft.BundleError, match="leads out of the folder"):
        graft.load(saved)


def test_a_later_format_is_refused_by_number(saved: Path) -> None:
    reseal(saved, format=99)
    with pytest.raises(graft.BundleError, match="format 99"):
        graft.load(saved)


def test_an_unknown_source_is_a_fault_of_the_bundle(saved: Path) -> None:
    reseal(saved, source={"name": "colums", "params": {}})
    with pytest.raises(graft.BundleError, match="columns"):
        graft.load(saved)


def test_the_self_test_notices_a_model_that_computes_something_else(saved: Path) -> None:
    outputs = saved / "selftest" / "outputs.json"
    document = json.loads(outputs.read_bytes())
    document["outputs"][0][0] += 1.0
    outputs.write_text(json.dumps(document))
    manifest = json.loads((saved / "manifest.json").read_bytes())
    files = manifest["files"]
    files["selftest/outputs.json"] = {"bytes": outputs.stat().st_size, "sha256": bundle.file_sha256(outputs)}
    reseal(saved, files=files)
    with pytest.raises(graft.BundleError, match="self-test"):
        graft.load(saved)
    assert bundle.load(saved, test=False).predict(ROWS).shape == (40,)


def test_a_folder_that_is_no_model_says_so(tmp_path: Path) -> None:
    with pytest.raises(graft.BundleError, match=r"no manifest\.json"):
        graft.load(tmp_path)


def test_nothing_is_replaced_unasked(saved: Path) -> None:
    fitted = graft.Transfer(Columns(), strategy=LinearProbe()).fit(ROWS, LABELS)
    with pytest.raises(graft.MachineError, match="exists already"):
        fitted.save(saved)
    assert fitted.save(saved, overwrite=True) == saved


def test_no_pickle_and_no_code_in_the_folder(saved: Path) -> None:
    assert {path.suffix for path in saved.rglob("*") if path.is_file()} <= {".json", ".safetensors", ".txt", ".png"}


def test_a_model_refuses_rows_of_another_modality(saved: Path) -> None:
    model = graft.load(saved)
    with pytest.raises(graft.RequestError, match="reads rows of table"):
        model.predict(["some text", "more text"])


def test_examples_of_each_kind_can_be_kept() -> None:
    from graft.data import keepsake
    from graft.data.examples import ImageExamples

    picture = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    for examples in (TextExamples(["ä", "b", "c"]), TableExamples(ROWS), ImageExamples([picture, picture.copy()])):
        kept = keepsake.unpack(keepsake.pack(examples, 2))
        assert len(kept) == 2
        assert np.array_equal(np.asarray(kept[0]), np.asarray(examples[0]))


def test_only_models_are_replaced(tmp_path: Path) -> None:
    fitted = graft.Transfer(Columns(), strategy=LinearProbe()).fit(ROWS, LABELS)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.jpg").write_bytes(b"sun")
    with pytest.raises(graft.MachineError, match="something else than a saved model"):
        fitted.save(tmp_path / "photos", overwrite=True)
    assert (tmp_path / "photos" / "holiday.jpg").read_bytes() == b"sun"
    with pytest.raises(graft.RequestError, match="no name for a new folder"):
        fitted.save(".", overwrite=True)


@pytest.mark.parametrize("part", ["fitted", "card", "precision"])
def test_a_sealed_manifest_that_lacks_a_part_is_refused(saved: Path, part: str) -> None:
    manifest = json.loads((saved / "manifest.json").read_bytes())
    del manifest["seal"], manifest[part]
    (saved / "manifest.json").write_bytes(bundle._sealed(manifest))
    with pytest.raises(graft.BundleError, match=part):
        graft.load(saved)


@pytest.mark.parametrize("change", [{"fitted": {}}, {"task": 3}, {"card": {"notes": None}}, {"source": {"name": "hf"}}])
def test_a_sealed_manifest_of_another_shape_is_refused(saved: Path, change: dict[str, object]) -> None:
    reseal(saved, **change)
    with pytest.raises(graft.BundleError, match="cannot be rebuilt"):
        graft.load(saved)


def test_files_that_the_manifest_does_not_list_are_not_read(saved: Path) -> None:
    (saved / "selftest" / ".DS_Store").write_bytes(b"x")
    assert graft.load(saved).predict(ROWS).shape == (40,)
    files = json.loads((saved / "manifest.json").read_bytes())["files"]
    del files["weights.safetensors"]
    reseal(saved, files=files)
    with pytest.raises(graft.BundleError, match=r"weights\.safetensors: not listed"):
        graft.load(saved)


def test_a_text_that_is_no_text_can_be_kept(tmp_path: Path) -> None:
    odd = [*TEXTS[:39], "half a pair: \ud83d"]
    fitted = graft.Transfer(Tfidf(), strategy=LinearProbe(), cache=False).fit(odd, MOODS)
    assert graft.load(fitted.save(tmp_path / "model")).predict(odd).tolist() == fitted.predict(odd).tolist()
