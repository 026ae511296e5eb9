"""User code by name: ``nets.py:resnet20`` or ``package.module:make``.

It runs because the user named it, and for no other reason.  A saved model names the code that it
was made with, but whoever wrote the file is not the user: while one is read, only such code runs
that the user names again, and only where it is what the model was saved with.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.machinery import PathFinder
from inspect import signature
from pathlib import Path
from types import ModuleType
from typing import Any

from graft.errors import BundleError, GraftError, RequestError, UnavailableError, UnknownNameError

__all__ = ["Factory", "allowed", "is_code", "names_in", "resolve", "stated", "told"]

_FORM = re.compile(r"(?P<home>.+\.py|[A-Za-z_][\w.]*):(?P<function>[A-Za-z_]\w*)")

_ALLOWED: ContextVar[tuple[str, ...] | None] = ContextVar("allowed", default=None)
"""The code that may run while a saved model is read; ``None`` outside of that."""

_NAMED: dict[str, str | None] = {}
"""Code that the user named in this process, and the content that it had."""


@dataclass(frozen=True)
class Factory:
    """A function of the user's.

    Parameters
    ----------
    name
        As the user wrote it.
    path
        The file that it stands in; ``None`` where that is no Python file.
    content
        The bytes of that file, as they are run.
    """

    name: str
    path: Path | None
    content: bytes | None

    @property
    def sha256(self) -> str | None:
        """Names the code by its content."""
        return None if self.content is None else hashlib.sha256(self.content).hexdigest()

    def takes(self, option: str) -> bool:
        """Whether the function has a parameter of this name."""
        return option in told(partial(signature, self._function()), self.name).parameters

    def __call__(self, options: Mapping[str, Any] | None = None) -> Any:
        """What the function returns.

        Raises
        ------
        RequestError
            Where it fails; names the file and the line.
        """
        return told(partial(self._function(), **(options or {})), self.name)

    def _function(self) -> Callable[..., Any]:
        home, _, function = self.name.rpartition(":")
        module = told(partial(_module, home, self.path, self.content), self.name)
        found = getattr(module, function, None)
        if not callable(found):
            known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
            raise UnknownNameError(f"function in {home}", function, known)
        return found  # type: ignore[no-any-return]


def is_code(name: object) -> bool:
    """Whether a name is one of user code."""
    return isinstance(name, str) and _FORM.fullmatch(name) is not None


def names_in(described: object) -> tuple[str, ...]:
    """All names of code in the parameters of a plug-in, as JSON holds them: what a request names that goes on."""
    if isinstance(described, Mapping):
        return tuple(name for value in described.values() for name in names_in(value))
    if isinstance(described, list | tuple):
        return tuple(name for value in described for name in names_in(value))
    return (str(described),) if is_code(described) else ()


@contextlib.contextmanager
def allowed(code: str | Sequence[str] | None) -> Iterator[None]:
    """Inside the block, of all user code only ``code`` runs: the rest was named by what is being read."""
    names = (code,) if isinstance(code, str) else tuple(code or ())
    if odd := [name for name in names if not is_code(name)]:
        raise RequestError(
            f"{odd[0]!r} names no code; expected a function in a file or a module: nets.py:make or package.module:make."
        )
    token = _ALLOWED.set(names)
    try:
        yield
    finally:
        _ALLOWED.reset(token)


def resolve(name: str) -> Factory:
    """The function that the user named; its file is read and not run yet.

    Raises
    ------
    RequestError
        For a name of another form.
    UnavailableError
        Where there is no such file or module.
    BundleError
        Where it is a saved model that names it, and not the user.
    """
    if not is_code(name):
        raise RequestError(f"{name!r} names no code; expected nets.py:make or package.module:make.")
    names = _ALLOWED.get()
    if names is not None and name not in names:
        raise _refusal(name, None, None)
    found = _read(name)
    if names is None:
        _NAMED[name] = found.sha256
    return found


def stated(name: str, sha256: str | None, options: Mapping[str, Any] | None = None) -> Factory:
    """The function with which a saved model says that it was made, where the user names it too.

    That is by :func:`allowed`; outside of its block, code counts that the user named in this process
    and that is still the same.

    Parameters
    ----------
    sha256
        Of its file, as the model states it.
    options
        What it would be called with, for the message.

    Raises
    ------
    BundleError
        Where the user does not name it, or it is not what the model was saved with.
    """
    names = _ALLOWED.get()
    if names is None:
        names = (name,) if name in _NAMED and _NAMED[name] == sha256 else ()
    alike = [each for each in names if _same_function(each, name)]
    if not alike:
        raise _refusal(name, sha256, options)
    found = [_read(each) for each in alike]
    fitting = [each for each in found if each.sha256 == sha256]
    if not fitting:
        raise BundleError(
            f"{found[0].path or alike[0]} is not the code that the model was saved with: its sha256 is "
            f"{found[0].sha256}, and {sha256} is stated. Restore that version, or fit again."
        )
    return fitting[0]


def told(act: Callable[[], Any], name: str) -> Any:
    """Run user code; what it raises becomes one sentence with its file and line.

    Raises
    ------
    RequestError
        Where it fails.
    """
    try:
        return act()
    except GraftError:
        raise
    except (Exception, SystemExit) as exc:
        reason = (str(exc).splitlines() or [""])[0]
        raise RequestError(
            f"{name} fails at {_place(exc)}: {type(exc).__name__}: {reason}. That is code of yours: repair it there."
        ) from exc


def _place(exc: BaseException) -> str:
    """The deepest line that belongs to nobody's installed package."""
    if isinstance(exc, SyntaxError):
        return f"{exc.filename}:{exc.lineno}"
    frames = traceback.extract_tb(exc.__traceback__)
    own = [
        each
        for each in frames
        if "site-packages" not in each.filename
        and not each.filename.startswith(("<", sys.base_prefix))
        and Path(__file__).parents[1] not in Path(each.filename).parents
    ]
    frame = (own or frames)[-1]
    return f"{frame.filename}:{frame.lineno}"


def _refusal(name: str, sha256: str | None, options: Mapping[str, Any] | None) -> BundleError:
    content = f" (sha256 {sha256})" if sha256 else ""
    called = f" with {dict(options)!r}" if options else ""
    return BundleError(
        f"this model is made by code that is not part of it: {name[:200]}{content}{called[:500]}. Look at that "
        f"code, and where you trust it, name it: graft.load(path, code={name[:200]!r}), or --code {name[:200]}"
    )


def _same_function(code: str, name: str) -> bool:
    """A file may lie elsewhere, and its content tells whether it is the same; a module is known by its name."""
    same = code.rpartition(":")[2] == name.rpartition(":")[2]
    return same and (code == name or (".py:" in code and ".py:" in name))


def _read(name: str) -> Factory:
    home = name.rpartition(":")[0]
    path = Path(home).expanduser().resolve() if home.endswith(".py") else _file_of(home)
    if path is None:
        return Factory(name, None, None)
    try:
        return Factory(name, path, path.read_bytes())
    except OSError as exc:
        raise UnavailableError(f"there is no file {path} that could be read ({exc.strerror}), for {name}.") from exc


def _file_of(module: str) -> Path | None:
    """Where a module lies, found without importing its package."""
    where: Any = None
    found = None
    for end in range(1, module.count(".") + 2):
        if (found := PathFinder.find_spec(".".join(module.split(".")[:end]), where)) is None:
            raise UnavailableError(
                f"there is no module {module} that Python could import; name a file instead (nets.py:make), or put its "
                "folder into PYTHONPATH."
            )
        where = found.submodule_search_locations
    origin = found.origin if found is not None else None
    return Path(origin) if origin and origin.endswith(".py") else None


def _module(home: str, path: Path | None, content: bytes | None) -> ModuleType:
    """The module; a file runs from the very bytes that were looked at, once a content."""
    if path is None or content is None or not home.endswith(".py"):
        return import_module(home)
    name = f"graft_code_{hashlib.sha256(str(path).encode() + content).hexdigest()[:16]}"
    if name not in sys.modules:
        module = ModuleType(name)
        module.__file__ = str(path)
        sys.modules[name] = module  # dataclasses look their module up there
        try:
            exec(compile(content, str(path), "exec"), module.__dict__)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]
