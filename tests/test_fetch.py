from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from graft.errors import MachineError, RequestError, UnavailableError, WeightsError
from graft.fetch import fetch, offline, stated_digest

CONTENT = bytes(range(256)) * 9000  # more than two megabytes
DIGEST = hashlib.sha256(CONTENT).hexdigest()
NAME = f"net-{DIGEST[:8]}.pth"


@dataclass
class Server:
    """What the server does, and what it was asked for."""

    url: str = ""
    content: bytes = CONTENT
    tag: str | None = '"one"'
    ranges: bool = True
    breaks: list[int] = field(default_factory=list)
    redirect: str | None = None
    asked: list[str | None] = field(default_factory=list)


def _handler(server: Server) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            server.asked.append(asked)
            if server.redirect and "moved" not in self.path:
                self.send_response(302)
                self.send_header("Location", server.redirect)
                self.end_headers()
                return
            if "absent" in self.path:
                self.send_error(404)
                return
            start = 0
            if asked and server.ranges and self.headers.get("If-Range") in (None, server.tag):
                start = int(asked.removeprefix("bytes=").removesuffix("-"))
                if start >= len(server.content):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(server.content)}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
            else:
                self.send_response(200)
            body = server.content[start:]
            self.send_header("Content-Length", str(len(body)))
            if server.tag:
                self.send_header("ETag", server.tag)
            self.end_headers()
            self.wfile.write(body[: server.breaks.pop(0)] if server.breaks else body)

        def log_message(self, *args: object) -> None:
            pass

    return Handler


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("GRAFT_OFFLINE", "HF_HUB_OFFLINE", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    state = Server()
    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(state))
    state.url = f"http://127.0.0.1:{listening.server_port}/{NAME}"
    thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
    thread.start()
    yield state
    listening.shutdown()
    thread.join()
    listening.server_close()


def _only(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_a_file_comes_whole_and_is_not_fetched_twice(server: Server, tmp_path: Path):
    place = tmp_path / "hub" / NAME
    assert fetch(server.url, place) == place
    assert place.read_bytes() == CONTENT
    assert fetch(server.url, place) == place
    assert server.asked == [None]
    assert _only(place.parent) == [NAME]


def test_what_breaks_off_goes_on_where_it_was(server: Server, tmp_path: Path):
    server.breaks = [1_000_000, 500_000]
    fetch(server.url, tmp_path / NAME)
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=1000000-", "bytes=1500000-"]


def test_a_later_process_goes_on_too(server: Server, tmp_path: Path):
    server.breaks = [1_200_000, 0, 0, 0]
    with pytest.raises(UnavailableError, match=r"breaks off; 1 MB of it are kept.*curl -L -o"):
        fetch(server.url, tmp_path / NAME)
    assert (tmp_path / f"{NAME}.part").read_bytes() == CONTENT[:1_200_000]
    fetch(server.url, tmp_path / NAME)
    assert server.asked[-1] == "bytes=1200000-"
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert _only(tmp_path) == [NAME]


def test_a_server_that_cannot_resume_starts_over(server: Server, tmp_path: Path):
    server.breaks, server.ranges = [1_000_000], False
    fetch(server.url, tmp_path / NAME)
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_a_file_that_changed_starts_over(server: Server, tmp_path: Path):
    (tmp_path / "net.pth.part").write_bytes(b"older" * 1000)
    (tmp_path / "net.pth.part.etag").write_text('"older"')
    fetch(server.url, tmp_path / "net.pth")
    assert (tmp_path / "net.pth").read_bytes() == CONTENT
    assert _only(tmp_path) == ["net.pth"]


def test_without_a_digest_and_a_tag_nothing_is_added_to_a_start(server: Server, tmp_path: Path):
    (tmp_path / "net.pth.part").write_bytes(b"older")
    server.tag = 'W/"weak"'
    fetch(server.url, tmp_path / "net.pth")
    assert server.asked == [None]
    assert (tmp_path / "net.pth").read_bytes() == CONTENT


def test_a_complete_part_only_takes_its_name(server: Server, tmp_path: Path):
    (tmp_path / f"{NAME}.part").write_bytes(CONTENT)
    fetch(server.url, tmp_path / NAME)
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_a_part_longer_than_the_file_starts_over(server: Server, tmp_path: Path):
    (tmp_path / f"{NAME}.part").write_bytes(CONTENT + b"more")
    fetch(server.url, tmp_path / NAME)
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_another_digest_than_the_names_is_removed(server: Server, tmp_path: Path):
    server.content = b"something else"
    with pytest.raises(WeightsError, match=rf"not the {DIGEST[:8]} that its name states; it is removed"):
        fetch(server.url, tmp_path / NAME)
    assert _only(tmp_path) == []


def test_no_network_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GRAFT_OFFLINE", "1")
    place = tmp_path / "a folder" / NAME
    with pytest.raises(UnavailableError) as caught:
        fetch(f"https://example.org/{NAME}", place)
    assert "GRAFT_OFFLINE is set" in str(caught.value)
    assert f"curl -L -o '{place}' --create-dirs https://example.org/{NAME}" in str(caught.value)
    assert _only(tmp_path) == []


@pytest.mark.parametrize("switch", ["GRAFT_OFFLINE", "HF_HUB_OFFLINE"])
def test_the_switches(switch: str, monkeypatch: pytest.MonkeyPatch):
    for name in ("GRAFT_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    assert offline() is None
    monkeypatch.setenv(switch, "0")
    assert offline() is None
    monkeypatch.setenv(switch, "True")
    assert offline() == switch


def test_what_the_server_refuses_is_not_asked_again(server: Server, tmp_path: Path):
    with pytest.raises(UnavailableError, match="the server answers 404"):
        fetch(server.url.replace(NAME, "absent"), tmp_path / NAME)
    assert len(server.asked) == 1


def test_a_server_that_is_not_there(server: Server, tmp_path: Path):
    with pytest.raises(UnavailableError, match="refused"):
        fetch("http://127.0.0.1:9/" + NAME, tmp_path / NAME)


@pytest.mark.parametrize("url", ["http://example.org/a", "file:///etc/passwd", "ftp://example.org/a", "a"])
def test_only_https_is_fetched(url: str, tmp_path: Path):
    with pytest.raises(RequestError, match="https://"):
        fetch(url, tmp_path / "a")


@pytest.mark.parametrize("to", ["http://example.org/a", "file:///etc/passwd"])
def test_a_redirection_leads_nowhere_else(to: str, server: Server, tmp_path: Path):
    server.redirect = to
    with pytest.raises((RequestError, UnavailableError)):
        fetch(server.url, tmp_path / NAME)
    assert not (tmp_path / NAME).exists()


def test_a_redirection_is_followed(server: Server, tmp_path: Path):
    server.redirect = f"/moved/{NAME}"
    fetch(server.url, tmp_path / NAME)
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_two_at_once_fetch_it_once(server: Server, tmp_path: Path):
    threads = [threading.Thread(target=fetch, args=(server.url, tmp_path / NAME)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert server.asked == [None]
    assert _only(tmp_path) == [NAME]


def test_a_folder_that_cannot_be_made(server: Server, tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match="cannot write"):
        fetch(server.url, tmp_path / "file" / NAME)


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("resnet50-11ad3fa6.pth", "11ad3fa6"),
        ("mnasnet0.5_top1_67.823-3ffadce67e.pth", "3ffadce67e"),
        ("alexnet-owt-7be5be79.pth", "7be5be79"),
        ("IN1K-vit.h.14-300e.pth.tar", None),
        ("weights.pth", None),
    ],
)
def test_the_digest_in_a_name(name: str, digest: str | None):
    assert stated_digest(name) == digest
