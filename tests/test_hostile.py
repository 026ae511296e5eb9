"""Files that were made to do harm: nothing in them runs, none fills the memory, and each is refused in one sentence."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import timm
import torch

import graft
from graft import registry
from graft.manifest import sealed
from graft.sources.file import File
from graft.sources.graft import Graft
from graft.sources.tfidf import Tfidf
from graft.storage import file_sha256
from graft.strategies.knn import KNN
from graft.strategies.linear_probe import LinearProbe

SECONDS = 10.0
"""Of CPU, several times what any takes: 60 000 tensors of nothing cost 2, nearly all of it inside safetensors."""
BYTES = 512 << 20

Case = tuple[str, Any]
"""What to do with a path, and the path (a source: the spec)."""


class _Call:
    """Unpickling this calls a function."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self.made = (function, args)

    def __reduce__(self) -> Any:
        return self.made


def _payloads(canary: Path) -> dict[str, _Call]:
    import builtins
    import importlib
    import shutil
    import socket
    import webbrowser

    touch = f"touch {canary}"
    return {
        "system": _Call(os.system, touch),
        "popen": _Call(subprocess.Popen, ["touch", str(canary)]),
        "eval": _Call(builtins.eval, f"open({str(canary)!r}, 'w')"),
        "exec": _Call(builtins.exec, f"open({str(canary)!r}, 'w')"),
        "open": _Call(builtins.open, str(canary), "w"),
        "socket": _Call(socket.create_connection, ("127.0.0.1", 9)),
        "import": _Call(importlib.import_module, "graft_canary"),
        "browser": _Call(webbrowser.open, "http://127.0.0.1:9/"),
        "rmtree": _Call(shutil.rmtree, str(canary.parent / "nothing")),
        "touch": _Call(Path.touch, canary),
        "hub": _Call(torch.hub.load_state_dict_from_url, "http://127.0.0.1:9/w.pt"),
        "getattr": _Call(builtins.getattr, "text", "upper"),
        "nested": _Call(pickle.loads, pickle.dumps(_Call(os.system, touch))),
        "torch": _Call(torch.load, str(canary)),
    }


def _pickles(folder: Path, canary: Path) -> Iterator[tuple[str, Case]]:
    for name, payload in _payloads(canary).items():
        holds = {"a": torch.ones(2), "b": payload}
        torch.save(holds, folder / f"{name}.pt")
        torch.save({"state_dict": {"w": payload}}, folder / f"{name}.ckpt", _use_new_zipfile_serialization=False)
        (folder / f"{name}.bin").write_bytes(pickle.dumps(payload, protocol=2))
        for ending in ("pt", "ckpt", "bin"):
            yield f"pickle of {name} in .{ending}", ("state", folder / f"{name}.{ending}")
    payload = _payloads(canary)["system"]
    (folder / "new.pth").write_bytes(pickle.dumps(payload, protocol=5))
    yield "pickle of a later protocol", ("state", folder / "new.pth")
    yield "pickle for a network", ("file", folder / "system.pt")
    torch.save(
        {payload: torch.ones(1)} if False else {"a": torch.ones(1), "k": OrderedDict(x=payload)}, folder / "o.th"
    )
    yield "pickle inside an ordered mapping", ("state", folder / "o.th")


def _bytes_of_torch(value: object) -> dict[str, bytes]:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    with zipfile.ZipFile(buffer) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _archive(path: Path, parts: dict[str, bytes], how: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", how) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return path


def _pickled(body: bytes) -> bytes:
    return b"\x80\x02" + body + b"."


def _text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def _whole_number(value: int) -> bytes:
    raw = pickle.encode_long(value)
    return b"\x8a" + bytes([len(raw)]) + raw


def _torch_archives(folder: Path, canary: Path) -> Iterator[tuple[str, Case]]:
    sound = _bytes_of_torch({"a": torch.zeros(2_000_000)})
    root = next(iter(sound)).split("/")[0]
    small = _bytes_of_torch({"a": torch.ones(4)})

    def made(name: str, parts: dict[str, bytes], how: int = zipfile.ZIP_STORED) -> tuple[str, Case]:
        return name, ("state", _archive(folder / f"{name.replace(' ', '-')}.pt", parts, how))

    def with_pickle(name: str, body: bytes) -> tuple[str, Case]:
        return made(name, {**small, f"{root}/data.pkl": _pickled(body)})

    yield made("archive that is compressed", sound, zipfile.ZIP_DEFLATED)
    yield made("archive bomb", {**small, f"{root}/data/0": bytes(300 << 20)}, zipfile.ZIP_DEFLATED)
    yield made("archive bomb in the pickle", {**small, f"{root}/data.pkl": bytes(200 << 20)}, zipfile.ZIP_DEFLATED)
    yield made("archive with names that lead out", {**small, "../../escaped": b"x", f"{root}/data.pkl": b""})
    yield made("archive without a pickle", {f"{root}/data/0": bytes(16)})
    yield made("archive with half a storage", {**small, f"{root}/data/0": bytes(3)})
    yield made("archive of a script", {**small, f"{root}/constants.pkl": b"\x80\x02).", f"{root}/code/a.py": b"1/0"})
    raw = (_archive(folder / "w.pt", small)).read_bytes()
    for name, content in {
        "archive without a directory": raw[: raw.index(b"PK\x01\x02")],
        "archive with another directory": raw.replace(b"PK\x01\x02", b"PK\x01\x03"),
        "archive of huge parts": raw.replace(struct.pack("<II", 16, 16), struct.pack("<II", 16, 2**31)),
        "archive behind a pickle": _pickled(b"}" + _text("a") + b"cos\nsystem\nX\x01\x00\x00\x00ls\x85Rs") + raw,
        "nothing but a mark": b"PK\x03\x04",
        "empty": b"",
    }.items():
        (folder / f"{name.replace(' ', '-')}.pt").write_bytes(content)
        yield name, ("state", folder / f"{name.replace(' ', '-')}.pt")

    yield with_pickle("bytes without end", b"cbuiltins\nbytearray\n" + _whole_number(2**38) + b"\x85R")
    hexed = b"c_codecs\nencode\nq\x01c_codecs\nencode\n" + _text("A" * 64) + _text("latin1") + b"\x86R"
    twice = b"".join(b"h\x01".join([b"", b""]) + _text("hex_codec") + b"\x86R" for _ in range(1))
    yield with_pickle("bytes encoded again and again", hexed + twice)
    yield with_pickle("a tensor without end", b"ctorch\nTensor\n" + _whole_number(10**13) + b"\x85R")
    yield with_pickle("a storage without end", b"ctorch.storage\nUntypedStorage\n" + _whole_number(10**14) + b"\x85R")
    yield with_pickle("a pickle that pops nothing", b"R" * 50)
    yield with_pickle("a pickle nested deeply", b"]" * 200_000 + b"a" * 199_999)
    yield with_pickle("tuples nested deeply", b")" + b"\x85" * 300_000)
    yield with_pickle("a mapping with a list for a key", b"}]K\x01s")

    claims = _bytes_of_torch({"a": torch.ones(4)})[f"{root}/data.pkl"]
    for name, old, new in (
        ("a storage that claims more", b"K\x04t", b"J\xff\xff\xff\x7ft"),
        ("an offset beyond the end", b"K\x00K\x04\x85", b"J\xff\xff\xff\x7fK\x04\x85"),
        ("a shape that claims more", b"K\x00K\x04\x85", b"K\x00J\xff\xff\xff\x7f\x85"),
        ("a shape below zero", b"K\x00K\x04\x85", b"K\x00J\xff\xff\xff\xff\x85"),
        ("a step below zero", b"K\x01\x85", b"J\xff\xff\xff\xff\x85"),
    ):
        assert old in claims
        yield made(name, {**small, f"{root}/data.pkl": claims.replace(old, new)})
    for name, value in {
        "a tensor repeated without end": {"a": torch.ones(1).expand(10**12)},
        "a classifier repeated without end": {"classifier.weight": torch.ones(1, 1).expand(10**9, 10)},
        "a tensor without data": {"a": torch.empty(10**12, device="meta")},
        "a sparse tensor": {"a": torch.sparse_coo_tensor([[10**9]], [1.0], (10**10,), check_invariants=True)},
        "arrays of objects": {"a": np.array([{"x": 1}], dtype=object)},
        "a list": [torch.ones(1)],
        "numbers alone": {"a": 1},
    }.items():
        torch.save(value, folder / f"{name.replace(' ', '-')}.pth")
        yield name, ("file" if "classifier" in name else "state", folder / f"{name.replace(' ', '-')}.pth")
    shared: dict[str, Any] = {}
    for _ in range(60):
        shared = {"a": shared, "b": shared}
    circle: dict[str, Any] = {}
    circle["model"] = circle
    for name, held in (("mappings shared without end", {"model": shared}), ("a mapping in itself", circle)):
        torch.save(held, folder / f"{name.replace(' ', '-')}.pth")
        yield name, ("state", folder / f"{name.replace(' ', '-')}.pth")
    names = {("x" * 200_000) + str(place): torch.ones(1) for place in range(20)}
    torch.save(names, folder / "long-names.pth")
    yield "names without end", ("file", folder / "long-names.pth")
    torch.save({f"a.{place}.weight": torch.ones(1) for place in range(3000)}, folder / "many.pth")
    yield "thousands of names", ("file", folder / "many.pth")
    dots = {"." * 100_000 + str(place): torch.ones(1) for place in range(10)}
    torch.save(dots, folder / "dots.pth")
    yield "names of dots", ("file", folder / "dots.pth")


def _tars(folder: Path, canary: Path) -> Iterator[tuple[str, Case]]:
    evil = pickle.dumps(_Call(os.system, f"touch {canary}"), protocol=2)
    count = pickle.dumps(0, protocol=2)
    for name, members in {
        "an old archive with a payload": {"storages": count, "tensors": count, "pickle": evil},
        "an old archive that leads out": {"../escaped": b"x", "storages": evil, "tensors": count, "pickle": count},
    }.items():
        path = folder / f"{name.replace(' ', '-')}.pt"
        with tarfile.open(path, "w") as archive:
            for member, content in members.items():
                info = tarfile.TarInfo(member)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        yield name, ("state", path)


def _header(document: Any) -> bytes:
    raw = document if isinstance(document, bytes) else json.dumps(document).encode()
    return struct.pack("<Q", len(raw)) + raw


def _entry(shape: Any, begin: Any, end: Any, dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def _safetensors(folder: Path, canary: Path) -> Iterator[tuple[str, Case]]:
    body = bytes(16)
    files: dict[str, bytes] = {
        "no bytes": b"",
        "seven bytes": bytes(7),
        "a header without end": struct.pack("<Q", 2**63) + b"{}",
        "a header longer than the file": struct.pack("<Q", 1000) + b"{}",
        "a header that is no JSON": _header(b"{a: 1}") + body,
        "a header that is no text": _header(b"\xff\xfe\xfd") + body,
        "a header that is a list": _header([1, 2]) + body,
        "a header nested deeply": _header(b'{"a":' * 100_000 + b"1" + b"}" * 100_000) + body,
        "lists nested deeply": _header(b'{"a":' + b"[" * 500_000 + b"]" * 500_000 + b"}") + body,
        "tensors that overlap": _header({"a": _entry([4], 0, 16), "b": _entry([2], 8, 16)}) + body,
        "a gap between tensors": _header({"a": _entry([1], 0, 4), "b": _entry([1], 12, 16)}) + body,
        "offsets beyond the end": _header({"a": _entry([1 << 30], 0, 1 << 32)}) + body,
        "offsets below zero": _header({"a": _entry([4], -16, 0)}) + body,
        "offsets the wrong way": _header({"a": _entry([4], 16, 0)}) + body,
        "a kind that nobody knows": _header({"a": _entry([4], 0, 16, "F33")}) + body,
        "a kind that is code": _header({"a": _entry([4], 0, 16, "os.system")}) + body,
        "a shape that overflows": _header({"a": _entry([2**62, 2**62, 4], 0, 16)}) + body,
        "a shape of another size": _header({"a": _entry([5], 0, 16)}) + body,
        "a shape below zero": _header({"a": _entry([-4], 0, 16)}) + body,
        "a shape of words": _header({"a": _entry(["4"], 0, 16)}) + body,
        "a shape of fractions": _header({"a": _entry([4.5], 0, 16)}) + body,
        "remarks that are no text": _header({"__metadata__": {"a": [1]}, "a": _entry([4], 0, 16)}) + body,
        "the same name twice": _header(
            b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},'
            b'"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}'
        )
        + bytes(8),
        "bytes after the end": _header({"a": _entry([4], 0, 16)}) + bytes(64),
        "a pickle under that name": pickle.dumps(_Call(os.system, f"touch {canary}")),
        "a page of the web": b"<!DOCTYPE html><html>not found</html>",
        "a pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4\n",
    }
    for name, content in files.items():
        path = folder / f"{name.replace(' ', '-')}.safetensors"
        path.write_bytes(content)
        yield f"safetensors: {name}", ("state", path)
    with open(folder / "sparse.safetensors", "wb") as file:
        file.write(struct.pack("<Q", 99_000_000) + b'{"a":' + b" " * 100)
        file.truncate(100_000_000)
    yield "safetensors: a header of 100 MB", ("state", folder / "sparse.safetensors")
    many = {f"{place:x}": _entry([0], 0, 0) for place in range(60_000)}
    (folder / "many.safetensors").write_bytes(_header(many))
    yield "safetensors: thousands of tensors of nothing", ("file", folder / "many.safetensors")
    state = timm.create_model("test_efficientnet").state_dict()
    state["conv_stem.weight"][0] = torch.nan
    safetensors.torch.save_file(state, folder / "nan.safetensors")
    yield "safetensors: weights that are no numbers", ("file", folder / "nan.safetensors")


def _odd_paths(folder: Path, canary: Path) -> Iterator[tuple[str, Case]]:
    (folder / "folder.pt").mkdir()
    os.mkfifo(folder / "pipe.pt")
    (folder / "zero.pt").symlink_to("/dev/zero")
    (folder / "loop.pt").symlink_to("loop.pt")
    (folder / "passwd.safetensors").symlink_to("/etc/passwd")
    np.savez(folder / "objects.npz", a=np.array([{"x": 1}], dtype=object))
    for name in ("folder.pt", "pipe.pt", "zero.pt", "loop.pt", "passwd.safetensors", "objects.npz"):
        yield f"path: {name}", ("state", folder / name)
    for name, spec in {
        "code that nobody named well": "file/w.pt?architecture=os:system&options.command=true",
        "an architecture out of a module": "file/w.pt?architecture=os.system",
        "an architecture that leads out": "file/w.pt?architecture=timm/../../os",
        "an architecture of the hub": "file/w.pt?architecture=timm/hf-hub:stranger/model",
    }.items():
        yield f"spec: {name}", ("source", spec)


def _reseal(path: Path, **changes: Any) -> None:
    manifest = json.loads((path / "manifest.json").read_bytes())
    manifest.pop("seal")
    (path / "manifest.json").write_bytes(sealed({**manifest, **changes}))


def _listed(path: Path) -> None:
    """A forger who knows the seal lists the files as they are now."""
    files = {
        str(file.relative_to(path).as_posix()): {"bytes": file.stat().st_size, "sha256": file_sha256(file)}
        for file in sorted(path.rglob("*"))
        if file.is_file() and file.name != "manifest.json"
    }
    _reseal(path, files=files)


def _copied(saved: Path, folder: Path, name: str) -> Path:
    path = folder / name.replace(" ", "-")
    for file in saved.rglob("*"):
        if file.is_file():
            target = path / file.relative_to(saved)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    return path


def _manifests(folder: Path, canary: Path, saved: Path) -> Iterator[tuple[str, Case]]:
    raw = json.loads((saved / "manifest.json").read_bytes())
    one = {"bytes": 1, "sha256": "0"}
    code = {"name": "module", "params": {"module": "graft_canary:run", "transform": None, "factory": None}}
    changes: dict[str, dict[str, Any]] = {
        "a name that leads out": {"files": {**raw["files"], "../../etc/passwd": one}},
        "a name from the root": {"files": {**raw["files"], "/etc/passwd": one}},
        "a name with a zero": {"files": {**raw["files"], "a\0b": one}},
        "a name with a backslash": {"files": {**raw["files"], "..\\secret": one}},
        "a name without end": {"files": {**raw["files"], "a" * 100_000: one}},
        "a name of nothing": {"files": {**raw["files"], "": one}},
        "files that are a list": {"files": ["weights.safetensors"]},
        "files without sizes": {"files": {**raw["files"], "weights.safetensors": None}},
        "files of nothing": {"files": {}},
        "a format of another kind": {"format": [1]},
        "a source out of Python": {"source": {"name": "os", "params": {}}},
        "a source that leads out": {"source": {"name": "../../evil", "params": {}}},
        "a source that starts a package": {"source": {"name": "__init__", "params": {}}},
        "a source without parameters": {"source": {"name": "tfidf"}},
        "a source that is text": {"source": "tfidf"},
        "a source with a foreign parameter": {"source": {"name": "tfidf", "params": {"__class__": "os.system"}}},
        "a source of code": {"source": code},
        "a source inside a strategy": {
            "strategy": {"name": "linear_probe", "params": {"folds": {"kind": "sources", **code}}}
        },
        "plug-ins nested deeply": {"source": {"name": "several", "params": {"sources": _nest(200)}}},
        "a kind of plug-in that is none": {
            "source": {"name": "tfidf", "params": {"longest": {"kind": "os", "name": "system", "params": {}}}}
        },
        "a card of another shape": {"card": {"notes": 3}},
        "a card of code": {"card": {**raw["card"], "__reduce__": "os.system"}},
        "a precision that is none": {"precision": "os.system"},
        "a task of another": {"task": {"name": "regression", "params": {}}},
        "a task with endless classes": {"fitted": {**raw["fitted"], "classes": list(range(200_000))}},
        "a task without a state": {"fitted": []},
    }
    for name, change in changes.items():
        path = _copied(saved, folder, name)
        _reseal(path, **change)
        yield f"bundle: {name}", ("bundle", path)
    for name, content in {
        "a manifest that is no JSON": b"{",
        "a manifest that is a number": b"1",
        "a manifest nested deeply": b"[" * 1_000_000,
        "a manifest of endless digits": b'{"format":' + b"1" * 100_000 + b"}",
        "a manifest that is a pickle": pickle.dumps(_Call(os.system, f"touch {canary}")),
        "a manifest of nothing": b"",
    }.items():
        path = _copied(saved, folder, name)
        (path / "manifest.json").write_bytes(content)
        yield f"bundle: {name}", ("bundle", path)
    path = _copied(saved, folder, "a manifest of a gigabyte")
    with open(path / "manifest.json", "wb") as file:
        file.truncate(1 << 30)
    yield "bundle: a manifest of a gigabyte", ("bundle", path)


def _nest(depth: int) -> Any:
    held: Any = {"kind": "sources", "name": "tfidf", "params": {}}
    for _ in range(depth):
        held = {"kind": "sources", "name": "several", "params": {"sources": [held]}}
    return [held]


def _bundled_files(folder: Path, canary: Path, saved: Path) -> Iterator[tuple[str, Case]]:
    evil = pickle.dumps(_Call(os.system, f"touch {canary}"))
    weights = safetensors.torch.load_file(saved / "weights.safetensors")
    for name, state in {
        "weights that are no numbers": {key: torch.full_like(value, torch.nan) for key, value in weights.items()},
        "weights of another shape": {key: torch.zeros(3, 3, 3) for key in weights},
        "weights of another name": {f"{key}_": value for key, value in weights.items()},
        "weights of nothing": {},
    }.items():
        path = _copied(saved, folder, name)
        safetensors.torch.save_file(state, path / "weights.safetensors")
        _listed(path)
        yield f"bundle: {name}", ("bundle", path)
    for name, (file, content) in {
        "weights that are a pickle": ("weights.safetensors", evil),
        "weights with a header without end": ("weights.safetensors", struct.pack("<Q", 2**62) + b"{}"),
        "outputs that are a pickle": ("selftest/outputs.json", evil),
        "outputs nested deeply": ("selftest/outputs.json", b"[" * 1_000_000),
        "outputs of text": ("selftest/outputs.json", b'{"outputs": "all of them"}'),
        "outputs of another shape": ("selftest/outputs.json", b'{"outputs": [[1, 2, 3, 4, 5, 6, 7]]}'),
        "a row of another kind": ("selftest/0.exe", evil),
        "a row with an odd name": ("selftest/a.txt", b"text"),
    }.items():
        path = _copied(saved, folder, name)
        (path / file).write_bytes(content)
        _listed(path)
        yield f"bundle: {name}", ("bundle", path)
    for file in sorted((saved / "source").iterdir()):
        for name, content in (("a pickle", evil), ("nothing", b""), ("nesting", b'{"a":' * 500_000), ("a list", b"[]")):
            path = _copied(saved, folder, f"{file.name} of {name}")
            (path / "source" / file.name).write_bytes(content)
            _listed(path)
            yield f"bundle: {file.name} of {name}", ("bundle", path)
    for name, target in {
        "a link to a device": "/dev/zero",
        "a link out": "/etc/passwd",
        "a link to itself": "w",
    }.items():
        path = _copied(saved, folder, name)
        (path / "weights.safetensors").unlink()
        (path / "weights.safetensors").symlink_to(target)
        yield f"bundle: {name}", ("bundle", path)
    path = _copied(saved, folder, "a folder that is a link")
    (path / "selftest").rename(folder / "moved")
    (path / "selftest").symlink_to(folder / "moved")
    yield "bundle: a folder that is a link", ("bundle", path)
    path = _copied(saved, folder, "a pipe")
    (path / "weights.safetensors").unlink()
    os.mkfifo(path / "weights.safetensors")
    yield "bundle: a pipe", ("bundle", path)


def _kept_bundles(folder: Path, canary: Path, saved: Path) -> Iterator[tuple[str, Case]]:
    """Models that keep rows: how many, their weights alone say."""
    weights = safetensors.torch.load_file(saved / "weights.safetensors")
    rows = weights["head.rows"]
    for name, change in {
        "rows of another width": {"head.rows": torch.zeros(len(rows), rows.shape[1] + 1)},
        "rows without labels": {"head.said": torch.zeros(0, weights["head.said"].shape[1])},
        "rows of another kind": {"head.rows": torch.zeros(rows.shape, dtype=torch.int8)},
        "rows of no shape": {"head.rows": torch.zeros(())},
        "rows that are no numbers": {"head.rows": torch.full_like(rows, torch.nan)},
        "votes without end": {"head.k": torch.tensor(2**62)},
        "votes below zero": {"head.k": torch.tensor(-(2**62))},
    }.items():
        path = _copied(saved, folder, name)
        safetensors.torch.save_file({**weights, **change}, path / "weights.safetensors")
        _listed(path)
        yield f"kept bundle: {name}", ("bundle", path)
    path = _copied(saved, folder, "rows that claim more")
    raw = (path / "weights.safetensors").read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    header["head.rows"]["shape"] = [2**40, rows.shape[1]]
    (path / "weights.safetensors").write_bytes(_header(header) + raw[8 + size :])
    _listed(path)
    yield "kept bundle: rows that claim more", ("bundle", path)
    for layers in (10**9, ["network.stages.9"], ["__class__"], {"a": 1}, "os.system", [[1]]):
        path = _copied(saved, folder, f"layers {layers}")
        _reseal(path, strategy={"name": "knn", "params": {"layers": layers}})
        yield f"kept bundle: layers {layers}", ("bundle", path)


def _png(width: int, height: int) -> bytes:
    """A picture that is small on disk and large in memory."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    line = zlib.compress(bytes(3 * width + 1) * 16, 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", line) + chunk(b"IEND", b"")


def _image_bundles(folder: Path, canary: Path, saved: Path) -> Iterator[tuple[str, Case]]:
    told = json.loads((saved / "source" / "architecture.json").read_bytes())
    form = json.loads((saved / "source" / "preprocess.json").read_bytes())
    code = str(folder / "graft_canary.py")
    for name, file, change in (
        (
            "code in a file",
            "architecture.json",
            {"name": f"{code}:run", "options": {}, "sha256": file_sha256(Path(code))},
        ),
        ("code in a module", "architecture.json", {"name": "graft_canary:run", "options": {}}),
        ("code of Python's", "architecture.json", {"name": "os:system", "options": {"command": f"touch {canary}"}}),
        ("options that are code", "architecture.json", {**told, "options": {"act_layer": "os.system"}}),
        ("options nobody knows", "architecture.json", {**told, "options": {"checkpoint_path": "/etc/passwd"}}),
        ("endless classes", "architecture.json", {**told, "options": {"num_classes": 10**12}}),
        ("classes below zero", "architecture.json", {**told, "options": {"num_classes": -1}}),
        ("a network that fills the machine", "architecture.json", {**told, "name": "timm/vit_gigantic_patch14_224"}),
        ("many classes", "architecture.json", {**told, "options": {"num_classes": 10**8}}),
        ("a network of the hub", "architecture.json", {**told, "name": "timm/hf-hub:stranger/model"}),
        ("a network of its own file", "architecture.json", {**told, "name": "timm/../evil"}),
        ("images without end", "preprocess.json", {**form, "size": [10**6, 10**6]}),
        ("images of nothing", "preprocess.json", {**form, "size": [0, 0]}),
        ("images of words", "preprocess.json", {**form, "size": ["a", "b"]}),
        ("a mean of nothing", "preprocess.json", {**form, "mean": []}),
        ("a crop of nothing", "preprocess.json", {**form, "crop": 1e-9}),
    ):
        path = _copied(saved, folder, name)
        (path / "source" / file).write_text(json.dumps(change))
        _listed(path)
        yield f"image bundle: {name}", ("bundle", path)
    for name, content in {"a row that grows": _png(40_000, 40_000), "a row that is none": b"<html>"}.items():
        path = _copied(saved, folder, name)
        (path / "selftest" / "0.png").write_bytes(content)
        _listed(path)
        yield f"image bundle: {name}", ("bundle", path)


def _hub_folder(path: Path, config: dict[str, Any] | bytes, weights: str = "model.safetensors") -> Path:
    path.mkdir(parents=True)
    (path / "config.json").write_bytes(config if isinstance(config, bytes) else json.dumps(config).encode())
    (path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "warm", "cold"]))
    if weights == "model.safetensors":
        safetensors.torch.save_file({"a": torch.ones(1)}, path / weights)
    return path


BERT = {
    "model_type": "bert",
    "architectures": ["BertModel"],
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "vocab_size": 7,
}


def _hub_folders(folder: Path, canary: Path) -> Iterator[tuple[str, Case]]:
    evil = pickle.dumps(_Call(os.system, f"touch {canary}"), protocol=2)
    remote = {"auto_map": {"AutoModel": "graft_canary.Model", "AutoConfig": "graft_canary.Config"}}
    configs: dict[str, dict[str, Any] | bytes] = {
        "code of its own": {**BERT, **remote, "trust_remote_code": True},
        "code of its own and a kind nobody knows": {**remote, "model_type": "canary", "trust_remote_code": True},
        "a kernel": {**BERT, "_attn_implementation_internal": "stranger/kernel", "use_kernels": True},
        "a kernel inside": {**BERT, "text_config": {"_attn_implementation": "stranger/kernel"}},
        "a width without end": {**BERT, "hidden_size": 10**12},
        "layers without end": {**BERT, "num_hidden_layers": 10**12},
        "words without end": {**BERT, "vocab_size": 10**12},
        "places without end": {**BERT, "max_position_embeddings": 10**12},
        "a width that fills the machine": {**BERT, "hidden_size": 65536, "intermediate_size": 10**6},
        "layers below zero": {**BERT, "num_hidden_layers": -3},
        "a width of words": {**BERT, "hidden_size": "os.system"},
        "heads that do not divide": {**BERT, "num_attention_heads": 5},
        "no heads": {**BERT, "num_attention_heads": 0},
        "an activation that is code": {**BERT, "hidden_act": "os.system"},
        "a configuration nested deeply": b'{"a":' * 500_000,
        "a configuration that is a list": b"[]",
        "a configuration that is a pickle": evil,
        "no kind": {},
    }
    for place, (name, config) in enumerate(configs.items()):
        yield f"hub folder: {name}", ("source", f"hf/{_hub_folder(folder / f'hub{place}', config)}")
    path = _hub_folder(folder / "hub-pickle", BERT, "pytorch_model.bin")
    (path / "pytorch_model.bin").write_bytes(evil)
    yield "hub folder: weights that are a pickle", ("source", f"hf/{path}")
    path = _hub_folder(folder / "hub-index", BERT, "")
    index = {"weight_map": {"a": "../../../../etc/passwd", "b": "/etc/passwd"}}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))
    yield "hub folder: weights that lead out", ("source", f"hf/{path}")
    for name, tokens in {"a pickle": evil, "nesting": b'{"a":' * 500_000, "nothing": b"{}"}.items():
        path = _hub_folder(folder / f"hub-tokens-{name}", BERT)
        (path / "tokenizer.json").write_bytes(tokens)
        yield f"hub folder: words of {name}", ("source", f"hf/{path}")
    path = _hub_folder(folder / "hub-modules", BERT)
    (path / "modules.json").write_text(json.dumps([{"idx": 0, "name": "0", "path": "", "type": "graft_canary.Model"}]))
    yield "hub folder: modules of code", ("source", f"hf/{path}")


def _keras_files(folder: Path, canary: Path) -> Iterator[tuple[str, Case]]:
    if "keras" not in registry.names("sources"):
        return
    h5py = pytest.importorskip("h5py")

    layer = {
        "class_name": "Lambda",
        "config": {"name": "l", "function": ["4wAAAA==", None, None], "output_shape": None},
    }
    code = {"module": "os", "class_name": "system", "config": {"command": f"touch {canary}"}, "registered_name": None}
    configs = {
        "a lambda": {"class_name": "Sequential", "config": {"name": "s", "layers": [layer]}},
        "a function of Python's": code,
        "a class of its own": {"class_name": "Model", "module": "graft_canary", "config": {}},
        "a layer of its own": {"class_name": "Sequential", "config": {"layers": [{**code, "class_name": "Evil"}]}},
        "nothing": {},
    }
    for place, (name, config) in enumerate(configs.items()):
        parts = {"config.json": json.dumps(config).encode(), "metadata.json": b"{}", "model.weights.h5": b""}
        yield f"keras: {name}", ("source", f"keras/{_archive(folder / f'{place}.keras', parts)}")
        with h5py.File(folder / f"{place}.h5", "w") as file:
            file.attrs["model_config"] = json.dumps(config)
            file.attrs["keras_version"] = "2.4.0"
            file.create_group("model_weights")
        yield f"keras, older: {name}", ("source", f"keras/{folder / f'{place}.h5'}")
    with h5py.File(folder / "links.h5", "w") as file:
        file["model_weights"] = h5py.ExternalLink(str(folder / "0.h5"), "/model_weights")
        file.attrs["layer_names"] = [b"a"]
    yield "keras: a link out", ("source", f"keras/{folder / 'links.h5'}")
    (folder / "evil.h5").write_bytes(pickle.dumps(_Call(os.system, f"touch {canary}")))
    yield "keras: a pickle", ("source", f"keras/{folder / 'evil.h5'}")
    parts = {"../../escaped": b"x", "config.json": b"{}", "metadata.json": b"{}"}
    yield "keras: names that lead out", ("source", f"keras/{_archive(folder / 'out.keras', parts)}")


HARMLESS = {
    "kept bundle: votes without end",
    "kept bundle: votes below zero",
    "image bundle: classes below zero",
    "image bundle: a crop of nothing",
    "hub folder: modules of code",
}
"""Files that may also load, since what was meant to do harm in them is left alone."""


def _run(folder: Path, warm: list[Case], cases: dict[str, Case]) -> dict[str, dict[str, Any]]:
    def listed(held: dict[str, Case]) -> list[dict[str, str]]:
        return [{"name": name, "action": action, "path": str(path)} for name, (action, path) in held.items()]

    (folder / "graft_canary.py").write_text(f"open({str(folder / 'canary')!r}, 'w').close()\n")
    (folder / "own").mkdir()
    given = {"warm": listed({str(place): case for place, case in enumerate(warm)}), "cases": listed(cases)}
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("hostile_child.py")), str(folder)],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=540,
        env={**os.environ, "PYTHONPATH": str(folder), "TMPDIR": str(folder / "own"), "OMP_NUM_THREADS": "1"},
        cwd=folder,
    )
    assert done.returncode == 0, f"the reader did not survive (exit {done.returncode}):\n{done.stderr[-3000:]}"
    return json.loads(done.stdout)


def _judge(outcomes: dict[str, dict[str, Any]], folder: Path) -> None:
    faults = []
    for name, found in outcomes.items():
        shown = f"{name}: {found['error']}: {found['message'][:300]!r}"
        if found["seen"]:
            faults.append(f"{name} did {found['seen']}")
        if not found["known"] or (found["error"] is None and name not in HARMLESS):
            faults.append(f"not one sentence of ours: {shown}")
        elif found["error"] and not found["message"].strip():
            faults.append(f"says nothing: {shown}")
        if found["seconds"] > SECONDS:
            faults.append(f"{found['seconds']:.1f} seconds: {shown}")
        if found["bytes"] > BYTES:
            faults.append(f"{found['bytes'] >> 20} MB: {shown}")
    assert not faults, "\n".join(faults)
    assert not (folder / "canary").exists()
    assert not list(folder.parent.glob("escaped"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "graft_canary.py").write_text("")
    return tmp_path / "in"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is as it should be: a checkpoint, a model of texts, a model of images."""
    path = tmp_path_factory.mktemp("sound")
    torch.manual_seed(0)
    state = timm.create_model("test_efficientnet", num_classes=3).state_dict()
    safetensors.torch.save_file(state, path / "w.safetensors")
    torch.save(state, path / "w.pt")
    texts = [f"{'good' if place % 2 else 'bad'} thing {place}" for place in range(20)]
    graft.Transfer(Tfidf(), strategy=LinearProbe()).fit(texts, ["a", "b"] * 10).save(path / "texts")
    pictures = [np.full((32, 32, 3), 9 * place, dtype=np.uint8) for place in range(12)]
    source = File(str(path / "w.safetensors"), "timm/test_efficientnet", size=32)
    graft.Transfer(source, strategy=LinearProbe()).fit(pictures, ["a", "b"] * 6).save(path / "pictures")
    graft.Transfer(Graft("tiny", size=32), strategy=KNN()).fit(pictures, ["a", "b"] * 6).save(path / "kept")
    return path


CHECKPOINTS = {"pickles": _pickles, "archives": _torch_archives, "tars": _tars, "safetensors": _safetensors}


def test_hostile_checkpoints(folder: Path, sound: Path) -> None:
    cases: dict[str, Case] = {}
    for name, make in {**CHECKPOINTS, "paths": _odd_paths}.items():
        (folder / name).mkdir()
        cases |= dict(make(folder / name, folder / "canary"))
    assert len(cases) > 100
    warm: list[Case] = [("state", sound / "w.pt"), ("file", sound / "w.safetensors"), ("file", sound / "w.pt")]
    _judge(_run(folder, warm, cases), folder)


def test_hostile_bundles(folder: Path, sound: Path) -> None:
    cases = dict(_manifests(folder, folder / "canary", sound / "texts"))
    cases |= dict(_bundled_files(folder, folder / "canary", sound / "texts"))
    cases |= dict(_image_bundles(folder, folder / "canary", sound / "pictures"))
    assert len(cases) > 60
    cases |= dict(_kept_bundles(folder, folder / "canary", sound / "kept"))
    warm: list[Case] = [("bundle", sound / "texts"), ("bundle", sound / "pictures"), ("bundle", sound / "kept")]
    _judge(_run(folder, warm, cases), folder)


def test_hostile_folders_of_a_hub(folder: Path, sound: Path) -> None:
    cases = dict(_hub_folders(folder, folder / "canary"))
    path = _hub_folder(folder / "sound", BERT)
    from transformers import BertConfig, BertModel

    model = BertModel(BertConfig(**{key: value for key, value in BERT.items() if key != "model_type"}))
    safetensors.torch.save_file(model.state_dict(), path / "model.safetensors")
    _judge(_run(folder, [("source", f"hf/{path}")], cases), folder)


def test_hostile_files_of_keras(folder: Path, sound: Path) -> None:
    cases = dict(_keras_files(folder, folder / "canary"))
    if not cases:
        pytest.skip("there is no source keras here")
    warm = [cases[name] for name in ("keras: a lambda", "keras, older: a lambda", "keras, older: nothing")]
    _judge(_run(folder, warm, cases), folder)
