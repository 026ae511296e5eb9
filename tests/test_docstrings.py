"""The demo's data: real, the same every time, and honest about what it gives away."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from graft import docstrings
from graft.errors import UnavailableError


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    path = docstrings.build(tmp_path_factory.mktemp("demo"))
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_there_is_enough_to_learn_from_and_to_judge_by(rows: list[dict[str, str]]) -> None:
    assert len(rows) >= 800
    areas = defaultdict(set)
    for row in rows:
        areas[row["area"]].add(row["module"])
    assert 6 <= len(areas) <= 8
    assert min(map(len, areas.values())) >= 6


def test_every_row_is_a_text_of_its_own(rows: list[dict[str, str]]) -> None:
    texts = [row["text"] for row in rows]
    assert len(set(texts)) == len(texts)
    assert all(25 <= len(text) <= 402 for text in texts)
    assert not any("\n" in text or ">>>" in text for text in texts)


def test_no_module_dominates_and_none_is_in_two_areas(rows: list[dict[str, str]]) -> None:
    assert max(Counter(row["module"] for row in rows).values()) <= 40
    area_of: dict[str, str] = {}
    assert all(area_of.setdefault(row["module"], row["area"]) == row["area"] for row in rows)


def test_texts_do_not_carry_their_module_before_a_dot(rows: list[dict[str, str]]) -> None:
    assert not [row for row in rows if f" {row['module']}.{row['module'][0]}" in row["text"]]
    own = [row for row in rows if row["module"] in row["text"].split()]
    assert len(own) < 0.1 * len(rows)


def test_the_same_python_gives_the_same_bytes(tmp_path: Path) -> None:
    one, two = (docstrings.build(tmp_path / name) for name in "ab")
    assert one.name == "docstrings.csv"
    assert one.read_bytes() == two.read_bytes()


def test_a_python_without_source_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "queue.py").write_text('def get():\n    """Remove and return an item from the queue."""\n')
    monkeypatch.setattr(docstrings.sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.raises(
        UnavailableError, match=r"too little of the standard library: 1 docstrings.*with its \.py files"
    ):
        docstrings.build(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_private_names_and_examples_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "queue.py").write_text(
        '"""The docstring of the module itself is not a row."""\n'
        "class Queue:\n"
        '    """Create a queue object with `queue.Full` and :class:`~queue.Empty`.'
        '\n\n    >>> Queue()\n\n    After."""\n'
        '    def _put(self):\n        """Private, and therefore not a row of the table."""\n'
        '    async def put(self):\n        """Too short."""\n'
        "class _Hidden:\n"
        '    def get(self):\n        """Public inside of something that is private."""\n'
    )
    monkeypatch.setattr(docstrings, "_FEWEST", 1)
    monkeypatch.setattr(docstrings.sysconfig, "get_path", lambda name: str(tmp_path))
    with open(docstrings.build(tmp_path / "out"), encoding="utf-8", newline="") as file:
        found = list(csv.reader(file))
    assert found == [["text", "area", "module"], ["Create a queue object with Full and Empty.", "concurrency", "queue"]]
