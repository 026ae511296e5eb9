"""The picture of a training: every value at its place, readable as XML, nothing from elsewhere."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest

from graft.report.curves import Curve, curves

SPACE = "{http://www.w3.org/2000/svg}"


def paths(svg: str) -> list[list[tuple[float, float]]]:
    """Points of each line that is drawn in a panel, without the strokes of the legend."""
    root = ElementTree.fromstring(svg)
    drawn = [each.get("d", "") for each in root.iter(f"{SPACE}path") if "line" in (each.get("class") or "")]
    points = [[(float(x), float(y)) for x, y in re.findall(r"[ML]([\d.]+) ([\d.]+)", path)] for path in drawn]
    return [each for each, path in zip(points, drawn, strict=True) if "h" not in path]


def test_a_value_an_epoch_stands_at_its_place() -> None:
    svg = curves([Curve("fine_tune", [1.0, 0.5, 0.25], [0.5, 0.75, 0.7], kept=1)], "accuracy")
    loss, metric = paths(svg)
    assert len(loss) == len(metric) == 3
    assert [x for x, _ in loss] == sorted(x for x, _ in loss)
    heights = [y for _, y in loss]
    assert (heights[0] - heights[1]) / (heights[1] - heights[2]) == pytest.approx(2.0, rel=0.01), "half and quarter"
    assert metric[1][1] < metric[2][1] < metric[0][1], "what is better lies higher up, as y falls"
    rings = [each for each in ElementTree.fromstring(svg).iter(f"{SPACE}circle") if "ring" in each.get("class", "")]
    assert (float(rings[1].get("cx", 0)), float(rings[1].get("cy", 0))) == metric[1]


def test_names_are_escaped_and_nothing_is_fetched() -> None:
    svg = curves([Curve('<b>&"x"' + "y" * 120 + "end", [1.0, 2.0], [None, None])], "R²")
    words = [each.text or "" for each in ElementTree.fromstring(svg).iter(f"{SPACE}text")]
    assert any(each.startswith('<b>&"x"') and each.endswith("yend") and "…" in each for each in words)
    assert "not measured" in words
    assert "R² on validation rows" in words
    assert "http" not in svg.replace("http://www.w3.org/2000/svg", "")
    assert "script" not in svg
    assert "prefers-color-scheme: dark" in svg


def test_gaps_and_lonely_values_show() -> None:
    svg = curves([Curve("a", [1.0, float("nan"), 0.5, 0.4, float("inf"), 0.1], [0.5] + [None] * 5)], "accuracy")
    [path] = [each for each in re.findall(r'class="line c0" d="([^"]+)"', svg) if "L" in each]
    assert path.count("M") == 3
    dots = [each for each in ElementTree.fromstring(svg).iter(f"{SPACE}path") if each.get("class") == "dot c0"]
    assert len(dots) == 3, "two in the loss, one in the metric"


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([0.91, 0.97], ["0.90", "0.92", "0.94", "0.96", "0.98"]),
        ([-2.0, 2.0], ["-2", "-1", "0", "1", "2"]),
        ([0.5, 0.5], ["0.450", "0.475", "0.500", "0.525", "0.550"]),
        ([0.0, 0.0], ["-1.0", "-0.5", "0.0", "0.5", "1.0"]),
        ([3e-6, 9e-6], ["2.0e-06", "4.0e-06", "6.0e-06", "8.0e-06", "1.0e-05"]),
    ],
)
def test_axes_have_round_numbers(values: list[float], labels: list[str]) -> None:
    svg = curves([Curve("a", values, [])], "accuracy")
    found = re.findall(r'text-anchor="end">([^<]+)<', svg)
    assert found == labels
    assert float(found[0]) <= min(values)
    assert float(found[-1]) >= max(values)


def test_many_epochs_and_many_trials_stay_readable() -> None:
    svg = curves([Curve(f"trial {place}", [1.0] * 130, [0.1] * 130) for place in range(9)], "accuracy")
    numbers = re.findall(r'text-anchor="middle">(\d+)<', svg)
    assert len(numbers) <= 24
    assert "stroke-dasharray" in svg
    assert all(f"trial {place}" in svg for place in range(9))


def test_the_names_of_long_trials_have_a_line_each() -> None:
    names = [f"fine_tune?epochs=12&tuning.last=2&tuning.schedule=one_cycle&lr={rate}" for rate in (1, 2)]
    svg = curves([Curve(name, [1.0, 0.5], [0.1, 0.2]) for name in names], "accuracy")
    found = [each for each in ElementTree.fromstring(svg).iter(f"{SPACE}text") if each.text in names]
    assert len({each.get("x") for each in found}) == 1
    assert len({each.get("y") for each in found}) == 2
