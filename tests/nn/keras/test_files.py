from __future__ import annotations

import importlib.util
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graft.errors import UnavailableError, WeightsError
from graft.nn.keras.files import names_in, opened

h5py = pytest.importorskip("h5py", reason="keras sources need h5py")
if importlib.util.find_spec("keras") is None:
    pytest.skip("keras sources need keras", allow_module_level=True)

CONFIG = {
    "class_name": "Sequential",
    "config": {
        "name": "net",
        "layers": [
            {"class_name": "InputLayer", "config": {"name": "in", "batch_shape": [None, 8, 8, 3]}},
            {"class_name": "Flatten", "config": {"name": "flat"}},
            {"class_name": "Dense", "config": {"name": "dense", "units": 2}},
        ],
    },
}


def _hdf5(path: Path, config: Any = CONFIG) -> Path:
    with h5py.File(path, "w") as file:
        if config is not None:
            file.attrs["model_config"] = json.dumps(config).encode()
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = np.array([b"dense"])
        layer = group.create_group("dense")
        layer.attrs["weight_names"] = np.array([b"dense/kernel", b"dense/bias"])
        layer["dense/kernel"] = np.ones((192, 2), dtype=np.float32)
        layer["dense/bias"] = np.zeros(2, dtype=np.float32)
    return path


def _archive(path: Path, config: Any = CONFIG, weights: bytes | None = None, compression: int = 0) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        if config is not None:
            archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", weights or _hdf5(path.with_suffix(".h5")).read_bytes())
        archive.writestr("../../outside.txt", "never unpacked")
    return path


def test_both_kinds_of_file_are_looked_over(tmp_path: Path) -> None:
    with opened(_hdf5(tmp_path / "m.h5")) as file:
        assert file.config is not None
        assert file.config["class_name"] == "Sequential"
        assert (file.legacy, file.total, file.hdf5) == ("model_weights", 4 * 194 * 2 // 2 + 4 * 192, tmp_path / "m.h5")
    with opened(_archive(tmp_path / "m.keras")) as file:
        assert file.config is not None
        held = file.hdf5
        assert held.read_bytes() == (tmp_path / "m.h5").read_bytes()
    assert not held.exists()
    assert not (tmp_path.parent / "outside.txt").exists()
    with opened(_hdf5(tmp_path / "w.h5", None)) as file:
        assert file.config is None


def test_names_in_several_attributes_are_joined(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "n.h5", "w") as file:
        for place in range(11):
            file.attrs[f"layer_names{place}"] = np.array([f"l{place}".encode()])
        assert names_in(file, "layer_names") == [f"l{place}" for place in range(11)]
        assert names_in(file, "weight_names") is None


def _external_link(file: Any) -> None:
    file["model_weights/more"] = h5py.ExternalLink("/etc/passwd", "/")


def _soft_link(file: Any) -> None:
    file["model_weights/more"] = h5py.SoftLink("/model_weights")


def _external_data(file: Any) -> None:
    file.create_dataset("more", (16,), "f4", external=[("/etc/passwd", 0, 64)])


def _virtual(file: Any) -> None:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("elsewhere.h5", "data", (4,))
    file.create_virtual_dataset("more", layout)


def _huge(file: Any) -> None:
    file.create_dataset("more", (1 << 40,), "f4", chunks=(1024,))


def _objects(file: Any) -> None:
    file.create_dataset("more", (2,), h5py.string_dtype())


def _empty(file: Any) -> None:
    file["more"] = h5py.Empty("f4")


def _type(file: Any) -> None:
    file["more"] = np.dtype("f4")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_external_link, "another place or file"),
        (_soft_link, "another place or file"),
        (_external_data, "lies in another file"),
        (_virtual, "lies in another file"),
        (_huge, "declares arrays of"),
        (_objects, "expected numbers"),
        (_empty, "expected numbers"),
        (_type, "neither a group nor an array"),
    ],
)
def test_files_that_point_elsewhere_or_lie_are_refused(spoil: Callable[[Any], None], said: str, tmp_path: Path) -> None:
    path = _hdf5(tmp_path / "m.h5")
    with h5py.File(path, "a") as file:
        spoil(file)
    with pytest.raises(WeightsError, match=said), opened(path):
        pass


def test_a_group_inside_itself_ends(tmp_path: Path) -> None:
    path = _hdf5(tmp_path / "m.h5")
    with h5py.File(path, "a") as file:
        file["model_weights/dense/again"] = file["model_weights"]
    with opened(path) as held:
        assert held.legacy == "model_weights"


def test_an_attribute_of_absurd_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    with h5py.File(path, "w", libver="latest") as file:  # older forms hold 64 KiB at most
        file.create_group("model_weights").attrs["layer_names"] = np.zeros(200_000, dtype="S1")
    with pytest.raises(WeightsError, match="larger than any"), opened(path):
        pass


def test_a_filter_that_would_be_loaded_is_refused(tmp_path: Path) -> None:
    path = _hdf5(tmp_path / "m.h5")
    with h5py.File(path, "a") as file:
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_chunk((4,))
        plan.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, (1,))
        h5py.h5d.create(file.id, b"more", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple((4,)), plan)
    with pytest.raises(WeightsError, match="filter 32015"), opened(path):
        pass


def test_an_archive_that_unpacks_to_much_more_is_refused(tmp_path: Path) -> None:
    path = _archive(tmp_path / "m.keras", weights=bytes(64 << 20), compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(WeightsError, match="would unpack"), opened(path):
        pass


def test_an_archive_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"holds no config\.json"), opened(_archive(tmp_path / "m.keras", None)):
        pass


def test_an_architecture_that_holds_code_is_named_with_its_file(tmp_path: Path) -> None:
    evil = {"class_name": "Sequential", "config": [{"class_name": "Lambda", "config": {"name": "evil"}}]}
    for path in (_hdf5(tmp_path / "m.h5", evil), _archive(tmp_path / "n.keras", evil)):
        with pytest.raises(WeightsError, match=rf"{path.name}: the layer 'evil' is a Lambda"), opened(path):
            pass


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.97])
def test_what_is_cut_short_is_damaged(share: float, tmp_path: Path) -> None:
    for path in (_hdf5(tmp_path / "m.h5"), _archive(tmp_path / "n.keras")):
        whole = path.read_bytes()
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(WeightsError, match="damaged"), opened(path):
            pass


@pytest.mark.parametrize("text", [b"{", b"\xff\xfe", b"[" * 200_000, b"3", b"[]"])
def test_an_architecture_that_is_no_json_is_damaged(text: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", text)
        archive.writestr("model.weights.h5", b"")
    with pytest.raises(WeightsError, match="damaged"), opened(path):
        pass


def test_what_is_no_keras_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"there is no Keras file .*absent\.h5"), opened(tmp_path / "absent.h5"):
        pass
    (tmp_path / "a.h5").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:00")
    with pytest.raises(WeightsError, match="git lfs pull"), opened(tmp_path / "a.h5"):
        pass
    (tmp_path / "b.h5").write_bytes(b"\x80\x04}.")
    with pytest.raises(WeightsError, match="neither"), opened(tmp_path / "b.h5"):
        pass
