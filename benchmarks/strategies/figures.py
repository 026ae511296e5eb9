"""Writes the tables of measured figures in docs/strategies.md from benchmarks/results/*.json.

``--check`` writes nothing and exits 1 where the page differs from the results.  A result that is not there has no rows.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence, Sized
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parents[1])

from bench import ROOT, paired  # noqa: E402

PAGE = ROOT / "docs/strategies.md"
RESULTS = ROOT / "benchmarks/results"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
MARGIN = 0.02
"""How much less accuracy still counts as no worse."""

DOMAINS = {"pacs_photo": "photos", "pacs_sketch": "sketches"}

Figures = dict[str, Any]


def judged(interval: Sequence[float], published: str) -> str:
    """Whether what was published is seen here: the whole interval has to lie on its side."""
    if published == "better":
        worse = ": worse" if interval[1] < 0 else ""
        return "reproduced" if interval[0] > 0 else "not reproduced here" + worse
    if published == "no worse":
        return "reproduced" if interval[0] > -MARGIN else "not reproduced here"
    return "—"


def row(first: str, second: str, where: str, ours: float, theirs: float, gain: Figures, published: str) -> str:
    low, high = gain["interval"]
    cells = [
        first,
        second,
        where,
        f"{ours:.3f}",
        f"{theirs:.3f}",
        f"{gain['mean']:+.3f} [{low:+.3f}, {high:+.3f}]",
        published or "—",
        judged(gain["interval"], published),
    ]
    return f"| {' | '.join(cells)} |"


def _rounds(sets: Sized, seeds: int) -> str:
    return f"{len(sets)} × {seeds} rounds" if len(sets) > 1 else f"{seeds} rounds"


def pooled(
    name: str, second: str, where: str, sets: Sequence[Figures], published: str, over: str, shown: str = ""
) -> str:
    """One row over the rounds of several sets; ``name`` and ``over`` are the rivals in the figures."""
    ours, theirs = ([value for each in sets for value in each[key]["all"]] for key in (name, over))
    means = statistics.mean(ours), statistics.mean(theirs)
    return row(shown or _way(name), second, where, *means, paired(ours, theirs), published)


def regularised(found: Figures) -> Iterator[str]:
    for part, rate in (("few_rows", "5e-4"), ("default_rate", "1e-4")):
        sets = list(found[part].values()) if part in found else [{}]
        count = f"{found['rows']['few_rows']} rows, {_rounds(sets, found['seeds'])}"
        domains = ", ".join(DOMAINS[name] for name in found.get(part, ()))
        where = f"{domains} of PACS; {count}; lr={rate}"
        for name in sets[0]:
            if name not in ("fine_tune", "linear_probe"):
                yield pooled(name, "`fine_tune`", where, sets, "better", "fine_tune")
        if "linear_probe" in sets[0]:
            yield pooled("fine_tune", "`linear_probe`", where, sets, "", "linear_probe")
    rows, rounds = found["rows"]["shift"], found["seeds"]
    apart = {
        name: [found["shift"][domain][name]["all"] for domain in found["shift"]] for name in found["shift"]["photo"]
    }
    for name in ("lp_ft", "wise_ft", "wise_ft_half", "linear_probe"):
        shown = "`wise_ft` with `alphas=[0.5]`" if name == "wise_ft_half" else f"`{name}`"
        ours, theirs = (
            [statistics.mean(each) for each in zip(*apart[way][1:], strict=True)] for way in (name, "fine_tune")
        )
        where = f"learnt from {rows} photos, judged on paintings, cartoons, sketches; {rounds} rounds; lr=5e-4"
        means = statistics.mean(ours), statistics.mean(theirs)
        yield row(shown, "`fine_tune`", where, *means, paired(ours, theirs), "better")


def lora(found: Figures) -> Iterator[str]:
    sets = {name: each for name, each in found.items() if isinstance(each, dict) and "fine_tune" in each}
    rounds = len(next(iter(sets.values()))["fine_tune"]["accuracy"])
    ways = [name for name in next(iter(sets.values())) if name not in ("rows_a_class", "fine_tune")]
    where = f"{'; '.join(sets)}; {_rounds(sets, rounds)}"
    taken = [{name: {"all": each[name]["accuracy"]} for name in (*ways, "fine_tune")} for each in sets.values()]
    for name in ways:
        published = "" if name == "linear_probe" else "no worse"
        yield pooled(name, "`fine_tune`", where, taken, published, "fine_tune")


def distillation(found: Figures) -> Iterator[str]:
    sets = {name: each for name, each in found.items() if name != "machine"}
    told = [f"{name} ({each['known']} labels)" for name, each in sets.items()]
    taken = [{_unlabelled(way): values for way, values in each["students"].items()} for each in sets.values()]
    rounds = len(taken[0]["without"]["all"])
    where = f"{'; '.join(told)}; {_rounds(sets, rounds)}"
    for way in taken[0]:
        if way not in ("teacher", "without"):
            yield pooled(way, "no teacher", where, taken, "better", "without", shown=f"`distill`, how={way}")


def teachers(found: Figures) -> str:
    """Who taught whom, under the table."""
    told = []
    for name, each in found.items():
        if name != "machine":
            teacher, alone = (each["students"][way]["accuracy"] for way in ("teacher", "without"))
            told.append(f"{name}: teacher {teacher:.3f}, student alone {alone:.3f}")
    more = "Rows without labels make a pass longer: those students took more steps, too."
    return f"Of `distill`: {'; '.join(told)}. {more}"


def _unlabelled(way: str) -> str:
    """The name of a way of teaching, without how many rows."""
    how, _, more = way.partition(" + ")
    return f"{how}, unlabelled rows too" if more else how


def noise(found: Figures) -> Iterator[str]:
    for name, each in found["sets"].items():
        where = f"{name}; {found['rows']} rows, {found['wrong']:.0%} of labels wrong, {found['seeds']} rounds"
        for way, values in each.items():
            if "over" in values:
                over = values["over"]
                means = values["accuracy"], each[over]["accuracy"]
                yield row(_way(way), _way(over), where, *means, values["gain"], "better")


def _way(name: str) -> str:
    strategy, *more = name.split(", ")
    return ", ".join([f"`{strategy}`", *more])


def setfit(found: Figures) -> Iterator[str]:
    for name, each in found["cells"].items():
        means = each["accuracy"]["graft"], each["accuracy"]["setfit"]
        where = f"{name}; {found['seeds']} rounds"
        yield row("`contrastive`", "SetFit 1.2", where, *means, each["gain"], "")


def setfit_speed(found: Figures) -> Iterator[str]:
    for name, each in found["cells"].items():
        ratio = 1 / each["seconds_ratio"]["median"]
        yield f"| `contrastive`, beside SetFit | {name} | {ratio:.1f} × |"


def fine_tuning_speed(found: Figures) -> Iterator[str]:
    texts = found["texts"]
    for rival, shown in (("trainer", "Trainer"), ("trainer_bf16", "Trainer, bfloat16")):
        if rival in texts["ratio"]:
            ratio = texts["ratio"][rival]["median"]
            yield f"| `fine_tune`, beside {shown} | MiniLM, {texts['rows']} rows of Banking77 | {ratio:.1f} × |"
    for name, each in found["images"].items():
        if isinstance(each, dict):
            ratio = each["ratio"]["float32_loop"]["median"]
            where = f"{name}, {found['images']['images']} photos"
            yield f"| `fine_tune`, beside a plain float32 loop | {where} | {ratio:.1f} × |"


def partial_speed(found: Figures) -> Iterator[str]:
    for name, each in found.items():
        if name != "machine":
            stages = f"{name}, {each['rows']} rows, `tuning.last={each['stages_that_train']}`"
            shown = f"{each['epoch_ratio']:.1f} × an epoch, {each['whole_ratio']:.1f} × in all"
            yield f"| frozen stages computed once, beside every epoch | {stages} | {shown} |"


ACCURACY: dict[str, Callable[[Figures], Iterator[str]]] = {
    "regularised": regularised,
    "lora": lora,
    "distillation": distillation,
    "noise": noise,
    "setfit": setfit,
}
SPEED: dict[str, Callable[[Figures], Iterator[str]]] = {
    "setfit": setfit_speed,
    "fine_tuning": fine_tuning_speed,
    "partial": partial_speed,
}


def rows(tables: dict[str, Callable[[Figures], Iterator[str]]], results: Path) -> list[str]:
    lines: list[str] = []
    for name, table in tables.items():
        path = results / f"{name}.json"
        if path.exists():
            lines += table(json.loads(path.read_text("utf-8")))
    return lines


def rendered(results: Path = RESULTS) -> str:
    """What belongs between the two marks of the page."""
    accuracy, speed = rows(ACCURACY, results), rows(SPEED, results)
    lines: list[str] = []
    if accuracy:
        lines += ["| this | beside | on | this | that | gain, 95 % interval | published | here |", "|---" * 8 + "|"]
        lines += [*accuracy, ""]
        taught = results / "distillation.json"
        lines += [teachers(json.loads(taught.read_text("utf-8"))), ""] if taught.exists() else []
    if speed:
        lines += ["| this | on | faster |", "|---|---|---|", *speed, ""]
    return "\n".join(["", "", *lines])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where the page differs")
    given = parser.parse_args()
    page = PAGE.read_text("utf-8")
    before, rest = page.split(BEGIN)
    now = before + BEGIN + rendered() + END + rest.split(END)[1]
    if given.check and now != page:
        raise SystemExit("docs/strategies.md is not what the results say; run benchmarks/strategies/figures.py")
    if not given.check:
        PAGE.write_text(now, "utf-8")


if __name__ == "__main__":
    main()
