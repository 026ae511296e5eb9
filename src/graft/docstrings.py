"""A real text task that every machine has: docstrings of Python's own standard library, by area.

The task is to say which area of the library a docstring documents.  Its rows are read from the
source files of the running interpreter; nothing is imported and nothing is downloaded.
"""

from __future__ import annotations

import ast
import csv
import io
import re
import sysconfig
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path

from graft.errors import UnavailableError
from graft.storage import write_atomic

__all__ = ["build"]

_AREAS = {
    "concurrency": """
        _threading_local asyncio concurrent contextvars multiprocessing queue sched selectors signal
        subprocess threading
    """,
    "data types": """
        _collections_abc _weakrefset abc bisect collections copy copyreg dataclasses enum functools graphlib
        heapq numbers operator reprlib types typing uuid weakref
    """,
    "debugging": """
        bdb cProfile cmd code codeop doctest faulthandler logging pdb profile pstats timeit trace traceback
        tracemalloc unittest warnings
    """,
    "files": """
        _pyio bz2 dbm filecmp fileinput fnmatch genericpath glob gzip linecache lzma ntpath pathlib
        posixpath shelve shutil stat tarfile tempfile zipapp zipfile
    """,
    "networking": """
        ftplib http imaplib ipaddress nntplib poplib smtplib socket socketserver ssl telnetlib urllib
        webbrowser wsgiref xmlrpc
    """,
    "numbers": """
        _pydatetime _pydecimal _strptime calendar colorsys datetime fractions random secrets statistics
        zoneinfo
    """,
    "program code": """
        ast compileall dis importlib inspect modulefinder opcode pickletools pkgutil py_compile pyclbr runpy
        symtable tabnanny token tokenize zipimport
    """,
    "text": """
        base64 codecs configparser csv difflib email encodings gettext html json locale mailbox plistlib
        pprint quopri re shlex string stringprep textwrap tomllib xml
    """,
}
"""Area → modules.  A module that this version of Python does not have is passed over."""

_CAP = 40
"""Rows of one module at most, so that the area does not turn into its largest module."""

_SHORTEST, _LONGEST = 25, 400
"""Characters of a row."""

_FEWEST = 800
"""Rows below which the library is not really there: some systems install it without source files."""


def build(folder: Path) -> Path:
    """Write ``docstrings.csv`` with the columns text, area and module; the same bytes for the same Python.

    Raises
    ------
    UnavailableError
        Where the interpreter came without the source of its library.
    MachineError
        Where the disk refuses.
    """
    library = Path(sysconfig.get_path("stdlib"))
    rows = list(_rows(library))
    if len(rows) < _FEWEST:
        raise UnavailableError(
            f"{library} holds the source of too little of the standard library: {len(rows)} docstrings, and the "
            f"demo needs {_FEWEST}. Run Graft with a Python that is installed with its .py files."
        )
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(("text", "area", "module"))
    writer.writerows(rows)
    return write_atomic(Path(folder) / "docstrings.csv", table.getvalue().encode())


def _rows(library: Path) -> Iterator[tuple[str, str, str]]:
    seen: set[str] = set()
    for area, modules in sorted(_AREAS.items()):
        for module in sorted(modules.split()):
            texts = []
            for text in (_plain(each, module) for path in _files(library, module) for each in _docstrings(path)):
                if len(text) >= _SHORTEST and text not in seen:
                    seen.add(text)
                    texts.append(text)
            yield from ((text, area, module) for text in _spread(texts))


def _files(library: Path, module: str) -> list[Path]:
    """The module's file, or those of its package without the tests."""
    alone = library / f"{module}.py"
    if alone.is_file():
        return [alone]
    inside = sorted((library / module).rglob("*.py"))
    return [path for path in inside if not {"test", "tests", "idle_test"} & set(path.relative_to(library).parts)]


def _spread(texts: list[str]) -> list[str]:
    """At most ``_CAP``, evenly from the first to the last: a package is more than its first file."""
    if len(texts) <= _CAP:
        return texts
    return [texts[place * len(texts) // _CAP] for place in range(_CAP)]


def _docstrings(path: Path) -> Iterator[str]:
    """Docstrings of the public classes, methods and functions of a file, in its order."""
    waiting: list[ast.AST] = [ast.parse(path.read_bytes())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if node.name.startswith("_"):
                continue
            if text := ast.get_docstring(node, clean=False):
                yield cleandoc(text)
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            waiting.extend(reversed(list(ast.iter_child_nodes(node))))


def _plain(docstring: str, module: str) -> str:
    """The first paragraphs as one line, without examples, markup and the module's own name before a dot."""
    prose: list[str] = []
    for paragraph in docstring.split("\n\n"):
        if ">>>" in paragraph or (prose and len(" ".join(prose)) > _LONGEST // 2):
            break
        prose.append(" ".join(paragraph.split()))
    text = re.sub(rf"\b{re.escape(module.removeprefix('_py'))}\.(?=\w)", "", " ".join(prose))
    text = re.sub(r":\w+:`~?([^`]*)`|`{1,2}([^`]*)`{1,2}", r"\1\2", text)
    return text if len(text) <= _LONGEST else text[:_LONGEST].rsplit(" ", 1)[0] + " …"
