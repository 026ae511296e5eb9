"""``graft doctor``: whether this machine and its packages can do the work."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata

import typer

from graft.cli.options import Json
from graft.cli.outcome import print_json, reported

__all__ = ["doctor"]

_WHY = {
    "pillow": "older ones have known faults that a hostile image can use",
    "torch": "older ones run code from a hostile checkpoint",
    "transformers": "older ones run code that a model's configuration names",
}
_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


@dataclass(frozen=True)
class _Check:
    """One finding; ``remedy`` is empty where all is well."""

    name: str
    found: str
    remedy: str = ""


def doctor(json: Json = False) -> None:
    """Check the machine and the packages; exit code 4 where something keeps Graft from working."""
    with reported():
        checks = [*_packages(), *_machine(), *_cache(), *_network()]
        faults = [each for each in checks if each.remedy]
        if json:
            print_json({"ok": not faults, "checks": [asdict(each) for each in checks]})
        else:
            _show(checks, len(faults))
        if faults:
            raise typer.Exit(4)


def _show(checks: list[_Check], faults: int) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    for each in checks:
        state = Text("needs you", style="bold red") if each.remedy else Text("ok", style="green")
        table.add_row(state, each.name, Text(f"{each.found}. {each.remedy}" if each.remedy else each.found))
    Console(markup=False, file=sys.stdout, highlight=False, soft_wrap=True).print(table)
    if faults:
        print(f"\n{faults} of {len(checks)} findings need you")
    else:
        print("\nnext     graft demo")


def _packages() -> Iterator[_Check]:
    """Every package that Graft declares, against the version that it declares."""
    from packaging.requirements import Requirement

    yield _Check("python", platform.python_version())
    for line in metadata.requires("graft-transfer") or ():
        wanted = Requirement(line)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        install = f'Install it with: pip install "{wanted.name}{wanted.specifier}"'
        try:
            found = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            yield _Check(wanted.name, "not installed", install)
            continue
        if wanted.specifier.contains(found, prereleases=True):
            yield _Check(wanted.name, found)
        else:
            why = _WHY.get(wanted.name, "Graft is not tested with it")
            yield _Check(wanted.name, f"{found}, and {wanted.specifier} is needed: {why}", install)


def _machine() -> Iterator[_Check]:
    try:
        import torch

        from graft import compute
    except ImportError as exc:
        yield _Check("torch loads", f"no: {exc}", "Install torch again: pip install --force-reinstall torch")
        return
    bfloat16 = "" if compute.knows_bfloat16(torch.device("cpu")) else "no "
    yield _Check("processor", f"{compute.processor()}, {bfloat16}bfloat16 arithmetic of its own")
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(place) for place in range(torch.cuda.device_count())]
        yield _Check("accelerator", ", ".join(names))
    else:
        yield _Check("accelerator", "none; the processor does the work")
    asked = os.environ.get("OMP_NUM_THREADS")
    yield _Check("threads", f"{compute.available_threads()}" + (f" (OMP_NUM_THREADS={asked})" if asked else ""))
    if (memory := compute.available_memory()) is not None:
        yield _Check("memory", f"{memory / 1e9:.1f} GB to be had")


def _cache() -> Iterator[_Check]:
    from graft.errors import MachineError
    from graft.storage import cache_root, write_atomic

    root = cache_root()
    probe = root / f".doctor-{os.getpid()}"
    try:
        write_atomic(probe, b"")
        probe.unlink()
    except MachineError as exc:
        yield _Check("cache", str(root), str(exc))
        return
    yield _Check("cache", f"{root}, {shutil.disk_usage(root).free / 1e9:.1f} GB free")


def _network() -> Iterator[_Check]:
    asked = [f"{name}={value}" for name in _OFFLINE if (value := os.environ.get(name))]
    yield _Check(
        "downloads", f"off: {', '.join(asked)}" if asked else "on, from the model hub, where a source needs it"
    )
