"""Files from the web to this machine: https alone, resumed where they broke off, verified, whole or absent."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import shlex
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from graft.errors import RequestError, UnavailableError, WeightsError
from graft.progress import Progress, Silent
from graft.storage import disk_errors, file_sha256
from graft.version import __version__

__all__ = ["fetch", "offline", "stated_digest", "unavailable"]

_SWITCHES = ("GRAFT_OFFLINE", "HF_HUB_OFFLINE")
_ON = frozenset({"1", "on", "yes", "true"})
_HERE = frozenset({"localhost", "127.0.0.1", "::1"})
_CHUNK = 1 << 20
_BARREN = 3
"""Connections in a row that bring no byte before it gives up."""
_BROKEN = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError)


def offline() -> str | None:
    """The environment variable that forbids the network, ``GRAFT_OFFLINE`` or ``HF_HUB_OFFLINE``, where one does."""
    return next((name for name in _SWITCHES if os.environ.get(name, "").strip().lower() in _ON), None)


def stated_digest(name: str) -> str | None:
    """The start of the SHA-256 that a file's name ends in, as PyTorch writes it: ``resnet50-11ad3fa6.pth``."""
    found = re.search(r"-([0-9a-f]{8,64})\.[A-Za-z.]+$", name)
    return found[1] if found else None


def unavailable(url: str, place: Path, reason: str) -> UnavailableError:
    """The error for a file that is not here, with the command that brings it to its place."""
    return UnavailableError(
        f"{place.name} is not on this machine, and cannot be fetched now ({reason}). "
        f"Where there is a network: curl -L -o {shlex.quote(str(place))} --create-dirs {shlex.quote(url)}"
    )


def fetch(url: str, place: Path, *, timeout: float = 30.0, progress: Progress | None = None) -> Path:
    """The file at ``place``, fetched from ``url`` where it is not there yet.

    It grows beside its place, as ``<name>.part``, and takes its name when it is complete and its
    digest is the one that its name states.  An interrupted fetch goes on where it was; where the
    server cannot do that, or the file has changed since, it starts again.

    Parameters
    ----------
    url
        ``https://…``; plain ``http`` is accepted from this very machine alone.
    place
        Where the file goes; its folder is made.
    timeout
        Seconds that a server may stay silent.
    progress
        Shows how far it is, in MB.

    Raises
    ------
    UnavailableError
        Where there is no network, or the server does not give it; names the command that fetches it.
    WeightsError
        Where its digest is not the one that its name states; what came is removed.
    RequestError
        For a URL that is not https.
    MachineError
        Where the disk refuses.
    """
    place = Path(place)
    if place.is_file():
        return place
    _check(url)
    if switch := offline():
        raise unavailable(url, place, f"{switch} is set")
    part = place.with_name(place.name + ".part")
    with disk_errors(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        with _alone(part) as file:
            if place.is_file():  # another process was first
                part.unlink()
                return place
            _fill(file, part, url, place, timeout, progress or Silent())
            file.flush()
            os.fsync(file.fileno())
            _verify(part, place)
            os.replace(part, place)
            _validator(part).unlink(missing_ok=True)
    return place


def _check(url: str) -> None:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _HERE):
        raise RequestError(f"{url} is not fetched: expected a URL that begins with https://.")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirection only to where it would have gone by itself."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        _check(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


@contextlib.contextmanager
def _alone(part: Path) -> Iterator[IO[bytes]]:
    """Open the unfinished file for this process alone; another that fetches it waits here."""
    while True:
        with open(part, "ab") as file:
            _lock(file)
            # Whoever had it before may have renamed or removed it: then this handle is of no use.
            if _is_at(file, part):
                yield file
                return


def _is_at(file: IO[bytes], path: Path) -> bool:
    """Whether ``path`` is still the name of this open file; asked at once, as it may go between two questions."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def _lock(file: IO[bytes]) -> None:
    try:
        import fcntl
    except ImportError:  # not on Windows
        return
    fcntl.flock(file, fcntl.LOCK_EX)


def _validator(part: Path) -> Path:
    """Where the server's name for this content (its ETag) is kept beside an unfinished file."""
    return part.with_name(part.name + ".etag")


def _fill(file: IO[bytes], part: Path, url: str, place: Path, timeout: float, progress: Progress) -> None:
    barren = 0
    while True:
        before = file.tell()
        try:
            _receive(file, part, url, timeout, progress)
            return
        except _BROKEN as exc:
            barren = 0 if file.tell() > before else barren + 1
            if isinstance(exc, urllib.error.HTTPError) or barren == _BARREN:
                held = f"; {file.tell() >> 20} MB of it are kept, and the next try goes on there" if file.tell() else ""
                raise unavailable(url, place, f"{_reason(exc)}{held}") from exc


def _reason(exc: Exception) -> str:
    if isinstance(exc, urllib.error.HTTPError):
        return f"the server answers {exc.code} {exc.reason}"
    if isinstance(exc, http.client.IncompleteRead):
        return "the connection breaks off"
    return str(getattr(exc, "reason", "") or exc) or type(exc).__name__


def _receive(file: IO[bytes], part: Path, url: str, timeout: float, progress: Progress) -> None:
    """Append what is missing, over one connection; raises where it ends early."""
    held, note = file.tell(), _validator(part)
    tag = note.read_text(encoding="ascii") if note.is_file() else ""
    if held and not tag and not stated_digest(part.name.removesuffix(".part")):
        # Nothing would tell whether the rest belongs to this start.
        held = _emptied(file)
    headers = {"User-Agent": f"graft/{__version__}", "Accept-Encoding": "identity"}
    if held:
        headers["Range"] = f"bytes={held}-"
        headers |= {"If-Range": tag} if tag else {}
    try:
        answer = urllib.request.build_opener(_Redirects).open(
            urllib.request.Request(url, headers=headers), timeout=timeout
        )
    except urllib.error.HTTPError as exc:
        if exc.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or not held:
            raise
        if exc.headers.get("Content-Range", "").rpartition("/")[2] == str(held):
            return  # it was complete when its process died
        _emptied(file)
        raise ConnectionResetError("what is held is longer than the file") from exc
    with answer:
        if answer.status != http.HTTPStatus.PARTIAL_CONTENT or _first(answer) != held:
            held = _emptied(file)
        _keep(note, answer.headers.get("ETag", ""))
        _copy(answer, file, held, progress.step("fetch", _megabytes(answer, held)))


def _emptied(file: IO[bytes]) -> int:
    file.truncate(0)
    return file.seek(0)


def _first(answer: http.client.HTTPResponse) -> int:
    """The place in the file at which a partial answer begins."""
    found = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
    return int(found[1]) if found else -1


def _keep(note: Path, tag: str) -> None:
    if tag.startswith('"') and tag.isascii():  # a weak tag (W/…) does not promise equal bytes
        note.write_text(tag, encoding="ascii")
    else:
        note.unlink(missing_ok=True)


def _megabytes(answer: http.client.HTTPResponse, held: int) -> int:
    return (held + int(answer.headers.get("Content-Length") or 0)) >> 20


def _copy(answer: http.client.HTTPResponse, file: IO[bytes], held: int, step: Any) -> None:
    stated = answer.headers.get("Content-Length")
    came = 0
    with step as advance:
        advance(held >> 20)
        while data := answer.read1(_CHUNK):
            file.write(data)
            before, came = came, came + len(data)
            advance(((held + came) >> 20) - ((held + before) >> 20))
    file.flush()
    if stated is not None and came < int(stated):
        raise http.client.IncompleteRead(b"", int(stated) - came)


def _verify(part: Path, place: Path) -> None:
    stated = stated_digest(place.name)
    if stated is None:
        return
    found = file_sha256(part)
    if not found.startswith(stated):
        part.unlink()
        _validator(part).unlink(missing_ok=True)
        raise WeightsError(
            f"what came for {place.name} has the digest {found[: len(stated)]}, and not the {stated} that its name "
            "states; it is removed. Fetch it again; where that repeats, the server or the line changes files."
        )
