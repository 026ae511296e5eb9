"""Runs hostile files one after another in a process of its own, and writes down what each made it do.

``python hostile_child.py FOLDER < cases.json > outcomes.json``; a case is ``{"name", "action", "path"}``.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from graft.errors import GraftError

FORBIDDEN = {
    "os.system",
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.spawn",
    "os.startfile",
    "os.symlink",
    "os.link",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.chmod",
    "os.putenv",
    "subprocess.Popen",
    "pty.spawn",
    "pickle.find_class",
    "shutil.rmtree",
    "shutil.copyfile",
    "shutil.move",
    "shutil.unpack_archive",
    "webbrowser.open",
}
"""Events of Python's audit that no file may cause (docs.python.org/3/library/audit_events.html)."""

TIDYING = {"os.remove", "os.rmdir", "shutil.rmtree"}

SPARE = 8 << 30
"""Bytes of address space above what the libraries take: a bomb ends here instead of taking the machine down."""

SEEN: list[str] = []


def _listen(folder: Path) -> None:
    own = f"{tempfile.gettempdir()}{os.sep}"

    def hear(event: str, args: tuple[Any, ...]) -> None:
        if event in TIDYING and (str(args[0]).startswith(own) or args[-1] not in (None, -1)):
            return  # a folder of the reader's own; what is removed in it is named relative to its descriptor
        if event in FORBIDDEN or event.startswith("socket."):
            SEEN.append(f"{event} {args!r:.200}")
        elif event == "import" and "canary" in str(args[0]):
            SEEN.append(f"import {args[0]}")
        elif event == "exec" and str(folder) in getattr(args[0], "co_filename", ""):
            SEEN.append(f"exec {args[0].co_filename}")
        elif event == "compile" and str(folder) in str(args[1]):
            SEEN.append(f"compile {args[1]}")
        elif event == "open" and _writes(args) and not str(args[0]).startswith(own):
            SEEN.append(f"open for writing {args[0]!r}")

    sys.addaudithook(hear)


def _writes(args: tuple[Any, ...]) -> bool:
    path, mode, flags = args
    if str(path) == os.devnull or isinstance(path, int):
        return False
    given = isinstance(mode, str) and any(letter in mode for letter in "wax+")
    return given or bool(isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def _memory(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) << 10
    raise LookupError(field)


def _forget_the_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _state(path: str) -> object:
    from graft.nn.state_files import read_state

    return read_state(path)


def _file(path: str) -> object:
    from graft.sources.file import File

    return File(path, "timm/test_efficientnet").load()


def _bundle(path: str) -> object:
    import graft

    return graft.load(path, device="cpu")


def _source(spec: str) -> object:
    from graft import registry

    return registry.build("sources", spec).load()


ACTIONS: dict[str, Callable[[str], object]] = {"state": _state, "file": _file, "bundle": _bundle, "source": _source}


def _outcome(case: dict[str, str]) -> dict[str, Any]:
    _forget_the_peak()
    SEEN.clear()
    memory, seconds = _memory("VmRSS"), time.process_time()
    error, message, known = None, "", True
    try:
        ACTIONS[case["action"]](case["path"])
    except GraftError as exc:
        error, message = type(exc).__name__, str(exc)
    except BaseException as exc:
        error, message, known = type(exc).__name__, str(exc), False
    return {
        "error": error,
        "message": message[:2000],
        "known": known,
        "seconds": time.process_time() - seconds,
        "bytes": max(0, _memory("VmHWM") - memory),
        "seen": [*SEEN],
    }


def main() -> None:
    folder, out = Path(sys.argv[1]), sys.stdout
    sys.stdout = io.StringIO()  # what a library prints is no outcome
    cases = json.load(sys.stdin)
    warnings.simplefilter("ignore")
    for case in cases["warm"]:  # imports are no fault of a file
        with contextlib.suppress(GraftError):
            ACTIONS[case["action"]](case["path"])
    resource.setrlimit(resource.RLIMIT_AS, (_memory("VmSize") + SPARE,) * 2)
    _listen(folder)
    json.dump({case["name"]: _outcome(case) for case in cases["cases"]}, out)


if __name__ == "__main__":
    main()
