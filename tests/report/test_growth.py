"""The picture of a learning curve: its points, its law, its end."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest

from graft.evaluate.learning_curve import LearningCurve, Point, learning_curve
from graft.report.axes import stacked
from graft.report.curves import Curve, curves
from graft.report.growth import growth

SPACE = "{http://www.w3.org/2000/svg}"


def measured(slope: float = 1.5, wobble: float = 0.002) -> LearningCurve:
    draws = {125: 5, 250: 3, 500: 2, 1000: 1}
    points = [
        Point(rows, 0.9 - slope * rows**-0.5 + wobble * (draw % 3 - 1) * (1000 / rows) ** 0.5)
        for rows, often in draws.items()
        for draw in range(often)
    ]
    return learning_curve("accuracy", points, name="<svm>")


def test_points_the_law_and_twice_the_rows_are_drawn() -> None:
    found = measured()
    assert found.word == "more"
    svg = growth(found, "accuracy")
    root = ElementTree.fromstring(svg)
    rings = list(root.iter(f"{SPACE}circle"))
    assert len(rings) == 11
    across = [float(each.get("cx", 0)) for each in rings]
    steps = sorted(set(across))
    assert steps[1] - steps[0] == pytest.approx(steps[3] - steps[2], abs=0.3), "halves are equally far apart"
    lines = [each for each in root.iter(f"{SPACE}path") if "line" in each.get("class", "")]
    assert len(lines) == 3, "what is known, what is expected, how surely"
    known, expected = ([float(y) for y in re.findall(r" ([\d.]+)", each.get("d", ""))] for each in lines[:2])
    assert known == sorted(known, reverse=True), "what is better lies higher up"
    assert expected[-1] < known[-1]
    words = [each.text or "" for each in root.iter(f"{SPACE}text")]
    assert "accuracy of <svm>" in words
    assert {"125", "1000", "2000"} <= set(words)
    assert str(found) in words


def test_without_a_law_the_points_stand_alone() -> None:
    bare = LearningCurve("accuracy", (Point(50, 0.5), Point(100, 0.5)))
    root = ElementTree.fromstring(growth(bare, "accuracy"))
    assert len(list(root.iter(f"{SPACE}circle"))) == 2
    assert not [each for each in root.iter(f"{SPACE}path") if "line" in each.get("class", "")]


def test_pictures_stand_below_each_other() -> None:
    one, other = curves([Curve("a", [1.0], [0.5])], "accuracy"), growth(measured(), "accuracy")
    assert stacked([one]) == one
    root = ElementTree.fromstring(stacked([one, other]))
    inner = root.findall(f"{SPACE}svg")
    assert [int(each.get("y", -1)) for each in inner] == [0, int(inner[0].get("height", 0))]
    assert int(root.get("height", 0)) == sum(int(each.get("height", 0)) for each in inner)
