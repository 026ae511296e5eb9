"""What choosing costs: how far below the best pair of the table a policy stays, and below which rivals.

A policy names a source and a strategy for a task and a seed.  Those that read what the table holds inside the
training rows need no new training; ``--run`` lets one choose for real (``graft_fit``, ``graft_fit_of_table``, or
``FILE.py:function`` of another) within a share of the seconds that brute force takes for that task, three seeds
of every pair at the pace of the fastest (others may have run beside each other), and adds what it chose to
``--runs``.  Libraries are imported before its clock starts, as they were before the table's.

The best pair is the one with the highest mean over seeds (``best``).  Measured on the same rows as the chosen one,
it flatters itself a little: ``left_out`` takes the pair that is best on the other seeds, and ``of_seed`` the highest
score of that very seed, which nobody can reach but by luck.

    python regret.py --table ../results/choosing_table.csv --out ../results/choosing_regret.json
    python regret.py --table … --runs ../results/choosing_runs.jsonl --run graft_fit --share 0.05
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from unittest import mock

os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import table
import zoo
from bench import arguments, write
from holding import holding

import graft
import tasks
from graft import registry
from graft.errors import GraftError

__all__ = ["POLICIES", "Choice", "Oracle", "Run", "graft_fit", "regrets", "summary"]

Pair = tuple[str, str]
"""Source and strategy."""
RESAMPLES = 2000
SEEDS = 3
"""Of every pair, before brute force knows which is the best."""
DEFAULT = {"text": "minilm", "table": "minilm", "image": "graft/tiny"}
"""The network that comes with Graft: where nothing else tells."""


@dataclass(frozen=True)
class Oracle:
    """The table, by task and seed."""

    rows: Mapping[tuple[str, int], Mapping[Pair, table.Row]]
    scored: Mapping[tuple[str, int], Mapping[str, Mapping[str, float]]]

    @classmethod
    def read(cls, path: Path, scores: Path | None = None) -> Oracle:
        """Of the tasks and seeds whose cells are all there."""
        held: dict[tuple[str, int], dict[Pair, table.Row]] = {}
        for row in table.read_rows(path):
            held.setdefault((row.task, row.seed), {})[row.source, row.strategy] = row
        whole = {
            key: rows
            for key, rows in held.items()
            if all((cell.source, cell.strategy) in rows for cell in table.cells([key[1]], [key[0]]))
        }
        scored: dict[tuple[str, int], dict[str, dict[str, float]]] = {}
        if scores is not None and scores.exists():
            for line in scores.read_text().splitlines():
                each = json.loads(line)
                scored.setdefault((each["task"], each["seed"]), {})[each["source"]] = each["scores"]
        return cls(whole, scored)

    def score(self, task: str, seed: int, pair: Pair) -> float:
        """On the rows apart; what failed is worth nothing."""
        found = self.rows[task, seed][self.stands_for(task, seed, pair)].score
        return 0.0 if found is None else found

    def stands_for(self, task: str, seed: int, pair: Pair) -> Pair:
        """The cell of a pair: from scratch, sources of one network are one."""
        rows = self.rows[task, seed]
        if pair in rows or pair[1] != "scratch":
            return pair
        entries = zoo.zoo(next(iter(rows.values())).modality)
        network = next(entry.network for entry in entries if entry.name == pair[0])
        return next((e.name, "scratch") for e in entries if e.network == network and (e.name, "scratch") in rows)

    def seeds(self, task: str) -> list[int]:
        """Those that are whole."""
        return sorted(seed for name, seed in self.rows if name == task)

    def means(self, task: str, without: int | None = None) -> dict[Pair, float]:
        """Of every pair over the seeds, or over all but one."""
        seeds = [seed for seed in self.seeds(task) if seed != without]
        return {pair: float(np.mean([self.score(task, seed, pair) for seed in seeds]))
                for pair in (self.rows[task, seeds[0]] if seeds else {})}  # fmt: skip

    def best(self, task: str, seed: int) -> dict[str, float]:
        """What the best pair reaches with this seed, by the three ways to say which that is."""
        means, rows = self.means(task), self.rows[task, seed]
        found = {"best": self.score(task, seed, max(means, key=lambda pair: means[pair]))}
        others = self.means(task, without=seed)
        if others:
            found["left_out"] = self.score(task, seed, max(others, key=lambda pair: others[pair]))
        found["of_seed"] = max(self.score(task, seed, pair) for pair in rows)
        return found

    def spread(self, task: str) -> float:
        """From the worst pair to the best, by their means."""
        means = self.means(task).values()
        return max(max(means) - min(means), 1e-9)

    def seconds(self, task: str, seed: int) -> float:
        """What filling this part of the table took, each frozen pass once."""
        passes: dict[str, float] = {}
        spent = 0.0
        for row in self.rows[task, seed].values():
            spent += row.seconds - row.pass_seconds
            passes[row.source] = max(passes.get(row.source, 0.0), row.pass_seconds)
        return spent + sum(passes.values())


@dataclass(frozen=True)
class Choice:
    """What a policy takes, and the CPU seconds that it needs to know it and to have the model."""

    pair: Pair
    seconds: float


Policy = Callable[[Oracle, str, int], Choice | None]
"""``None``: it cannot tell for this task."""


def _by(oracle: Oracle, task: str, seed: int, worth: Callable[[zoo.Entry], float | None]) -> zoo.Entry | None:
    modality = next(iter(oracle.rows[task, seed].values())).modality
    told = {entry: value for entry in zoo.zoo(modality) if (value := worth(entry)) is not None}
    return max(told, key=lambda entry: told[entry]) if told else None


def _choice(oracle: Oracle, task: str, seed: int, pair: Pair, others: float = 0.0) -> Choice:
    row = oracle.rows[task, seed][oracle.stands_for(task, seed, pair)]
    return Choice(pair, row.seconds + others)


def largest(strategy: str) -> Policy:
    """The network with the most weights."""

    def choose(oracle: Oracle, task: str, seed: int) -> Choice | None:
        rows = oracle.rows[task, seed]
        sizes = {entry: rows[entry.name, strategy].parameters for entry in _networks(rows)}
        known = {entry: float(size) for entry, size in sizes.items() if size is not None}
        entry = max(known, key=lambda each: (known[each], each.kind == "pretrained"))
        return _choice(oracle, task, seed, (entry.name, strategy))

    return choose


def _networks(rows: Mapping[Pair, table.Row]) -> list[zoo.Entry]:
    entries = zoo.zoo(next(iter(rows.values())).modality)
    return [entry for entry in entries if entry.kind != "plain"]


def best_imagenet(strategy: str) -> Policy:
    """The network that does best on ImageNet; for other rows than images, the one that comes with Graft."""

    def choose(oracle: Oracle, task: str, seed: int) -> Choice | None:
        entry = _by(oracle, task, seed, lambda each: each.top1)
        name = DEFAULT[next(iter(oracle.rows[task, seed].values())).modality] if entry is None else entry.name
        return _choice(oracle, task, seed, (name, strategy))

    return choose


def scored(score: str, strategy: str) -> Policy:
    """The network with the highest score of frozen features."""

    def choose(oracle: Oracle, task: str, seed: int) -> Choice | None:
        held = oracle.scored.get((task, seed), {})
        names = {entry.name for entry in _networks(oracle.rows[task, seed])}
        found = {name: values[score] for name, values in held.items() if name in names and score in values}
        if set(found) != names:
            return None
        passes = sum(oracle.rows[task, seed][name, "linear_probe"].pass_seconds for name in names)
        return _choice(oracle, task, seed, (max(found, key=lambda name: found[name]), strategy), passes)

    return choose


def always(strategy: str) -> Policy:
    """The network that comes with Graft."""

    def choose(oracle: Oracle, task: str, seed: int) -> Choice | None:
        return _choice(oracle, task, seed, (DEFAULT[next(iter(oracle.rows[task, seed].values())).modality], strategy))

    return choose


def inside(*strategies: str) -> Policy:
    """Try all sources with these strategies, and take the pair that is best inside the training rows."""

    def choose(oracle: Oracle, task: str, seed: int) -> Choice | None:
        rows = {pair: row for pair, row in oracle.rows[task, seed].items() if pair[1] in strategies}
        told = {pair: row.inner for pair, row in rows.items() if row.inner is not None}
        if not told:
            return None
        return Choice(max(told, key=lambda pair: told[pair]), sum(row.seconds for row in rows.values()))

    return choose


def told_by_others(oracle: Oracle, task: str, seed: int) -> Choice | None:
    """The pair that is best on the rows apart of all other seeds: what one knows who tried everything elsewhere.

    Its regret is what chance alone makes of ``best``, which is the best on these very rows too.
    """
    means = oracle.means(task, without=seed)
    return _choice(oracle, task, seed, max(means, key=lambda pair: means[pair])) if means else None


POLICIES: dict[str, Policy] = {
    **{f"largest, {way}": largest(way) for way in ("linear_probe", "fine_tune")},
    **{f"best ImageNet, {way}": best_imagenet(way) for way in ("linear_probe", "fine_tune")},
    **{f"LogME, {way}": scored("logme", way) for way in ("linear_probe", "fine_tune")},
    **{f"Graft's own network, {way}": always(way) for way in ("linear_probe", "fine_tune")},
    **{f"always {way}": inside(way) for way in ("linear_probe", "svm", "fine_tune", "lp_ft", "lora")},
    "everything": inside(*table.STRATEGIES),
    "best of the other seeds": told_by_others,
}
"""Those that read the table.  ``always …``: all sources so, and the best of them inside the training rows.

The last looks at the rows apart of other seeds, as nobody can who chooses: it says how little can be asked."""


# --- choosing for real ---


@dataclass(frozen=True)
class Run:
    """What a policy chose when it had to train.

    Parameters
    ----------
    score, winner_score
        On the rows apart: of the model that was handed over, and of the best transfer.
    seconds, wall
        CPU seconds and seconds of the clock.
    failed
        Why nothing was chosen; the score is then that of always the commonest class.
    """

    policy: str
    task: str
    seed: int
    share: float
    budget: float
    seconds: float
    wall: float
    source: str
    strategy: str
    score: float
    winner_score: float
    failed: str = ""


def graft_fit(
    data: tasks.Drawn, sources: Sequence[zoo.Entry], budget: float, seed: int, strategies: Sequence[str] | None = None
) -> dict[str, Any]:
    """``graft fit DATA --budget`` on a machine that holds the networks of the zoo, judged by the rows apart.

    Its cache is empty and it has no experience.  Plain features take part as its controls.  Its clock
    counts the processor's seconds, as the table does: what else runs on the machine decides nothing.
    """
    networks = {entry.name: entry.source() for entry in sources if entry.kind != "plain"}
    titles = {registry.title(source): name for name, source in networks.items()}

    with (
        tempfile.TemporaryDirectory() as empty,
        mock.patch.dict(os.environ, {"GRAFT_CACHE": empty}),
        holding(networks.values()),
        mock.patch("time.monotonic", time.process_time),
        mock.patch("time.perf_counter", time.process_time),
    ):
        result = graft.fit(
            (data.train, data.train_labels),
            test=(data.test, data.test_labels),
            strategy=strategies,
            budget=budget,
            seed=seed,
            precision="float32",
            ledger=False,
        )
    assert result.choice is not None
    strategy, _, title = result.choice.winner.partition(" on ")
    controls = result.handed_over != result.winner
    return {
        "source": "" if controls else titles.get(title, title),
        "strategy": result.handed_over if controls else strategy,
        "score": result.scores[result.handed_over][result.metric].value,
        "winner_score": result.scores[result.winner][result.metric].value,
    }


def graft_fit_of_table(data: tasks.Drawn, sources: Sequence[zoo.Entry], budget: float, seed: int) -> dict[str, Any]:
    """The same among the table's strategies alone, with their settings there to start from."""
    ways = [spec for name, spec in table.STRATEGIES.items() if name != "scratch"]
    return graft_fit(data, sources, budget, seed, ways)


def _policy(name: str) -> Callable[..., dict[str, Any]]:
    if name in ("graft_fit", "graft_fit_of_table"):
        return {"graft_fit": graft_fit, "graft_fit_of_table": graft_fit_of_table}[name]
    path, _, function = name.partition(":")
    spec = importlib.util.spec_from_file_location("policy", path)
    if spec is None or spec.loader is None or not function:
        raise SystemExit(f"{name} is not graft_fit, graft_fit_of_table, nor FILE.py:function")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, function)  # type: ignore[no-any-return]


def run(oracle: Oracle, name: str, share: float, path: Path, names: Sequence[str]) -> None:
    """Let a policy choose within a share of what the table took; what was run already is not run again."""
    choose = _policy(name)
    done = {(each.policy, each.task, each.seed, each.share) for each in read_runs(path)}
    for task, seed in sorted(oracle.rows, key=lambda key: (key[1], key[0])):
        if (name, task, seed, share) in done or (names and task not in names):
            continue
        budget = share * SEEDS * min(oracle.seconds(task, each) for each in oracle.seeds(task))
        held = tasks.load(task)
        data = held.drawn(seed)
        _warm(held.modality)
        clocks = time.process_time(), time.monotonic()
        try:
            found = choose(data, zoo.zoo(held.modality), budget, seed)
        except GraftError as exc:  # nobody is left without an answer: always the commonest class
            common = max(sorted(set(data.train_labels)), key=list(data.train_labels).count)
            score = float((data.test_labels == common).mean())
            found = {"source": "", "strategy": "", "score": score, "winner_score": score, "failed": str(exc)[:300]}
        spent = time.process_time() - clocks[0], time.monotonic() - clocks[1]
        made = Run(name, task, seed, share, round(budget, 1), round(spent[0], 1), round(spent[1], 1), **found)
        with open(path, "a") as file:
            file.write(json.dumps(asdict(made)) + "\n")
        print(
            f"{task} {seed}: {made.source} {made.strategy} {made.score:.3f}, {spent[0]:.0f} of {budget:.0f} s",
            flush=True,
        )


@lru_cache(maxsize=3)
def _warm(modality: str) -> None:
    """Import what loading a source of each family and choosing need, as filling the table did."""
    for entry in zoo.zoo(modality):
        entry.source().load()
    for name in ("optuna", "scipy.stats", "sklearn.svm"):
        importlib.import_module(name)


def read_runs(path: Path | None) -> list[Run]:
    """What policies chose so far."""
    if path is None or not path.exists():
        return []
    return [Run(**json.loads(line)) for line in path.read_text().splitlines() if line.endswith("}")]


# --- regret ---


def regrets(oracle: Oracle, scores: Mapping[tuple[str, int], float]) -> dict[tuple[str, int], dict[str, float]]:
    """In points, by the three ways to say which pair is best, and as a share of the task's spread."""
    found = {}
    for (task, seed), score in scores.items():
        each = {way: 100 * (best - score) for way, best in oracle.best(task, seed).items()}
        found[task, seed] = each | {"normalised": each["best"] / (100 * oracle.spread(task))}
    return found


def summary(values: Mapping[tuple[str, int], float], seed: int = 0) -> dict[str, Any]:
    """Mean over tasks, and its 95 % interval: tasks are drawn anew, then seeds within each."""
    named: dict[str, list[float]] = {}
    for (task, _), value in sorted(values.items()):
        named.setdefault(task, []).append(value)
    draw, groups = np.random.default_rng(seed), [np.array(each) for each in named.values()]
    means = []
    for _ in range(RESAMPLES):
        again = [groups[place] for place in draw.integers(0, len(groups), len(groups))]
        means.append(np.mean([draw.choice(each, len(each)).mean() for each in again]))
    low, high = np.percentile(means, [2.5, 97.5])
    mean = float(np.mean([each.mean() for each in groups]))
    return {
        "mean": round(mean, 4),
        "interval": [round(float(low), 4), round(float(high), 4)],
        "tasks": len(groups),
        "n": len(values),
    }


def document(oracle: Oracle, runs: Sequence[Run]) -> dict[str, Any]:
    """Every policy's regret, and every real one's paired gain over each that reads the table."""
    keys = sorted(oracle.rows)
    scores: dict[str, dict[tuple[str, int], float]] = {}
    told: dict[str, Any] = {}
    for name, policy in POLICIES.items():
        made = {key: choice for key in keys if (choice := policy(oracle, *key)) is not None}
        scores[name] = {key: oracle.score(*key, choice.pair) for key, choice in made.items()}
        shares = [choice.seconds / oracle.seconds(*key) for key, choice in made.items()]
        told[name] = {"share_of_seconds": round(float(np.mean(shares)), 4) if shares else None}
    for each in runs:
        name = f"{each.policy}, {each.share:.0%}"
        if (each.task, each.seed) in oracle.rows:
            scores.setdefault(name, {})[each.task, each.seed] = each.score
            told.setdefault(name, {"share_of_seconds": each.share})
    real = [name for name in scores if name not in POLICIES]
    for name, held in scores.items():
        found = regrets(oracle, held)
        ways = {way for each in found.values() for way in each}
        told[name] |= {
            way: summary({key: each[way] for key, each in found.items() if way in each}) for way in sorted(ways)
        }
    for name in real:
        told[name]["gain_over"] = {}
        for rival in POLICIES:
            shared = scores[name].keys() & scores[rival].keys()
            gains = {key: 100 * (scores[name][key] - scores[rival][key]) for key in shared}
            told[name]["gain_over"][rival] = summary(gains) if gains else None
    seconds = {f"{task} {seed}": round(oracle.seconds(task, seed), 1) for task, seed in keys}
    best = {task: [*max(means, key=lambda pair: means[pair]), round(max(means.values()), 4)]
            for task in sorted({key[0] for key in keys}) for means in [oracle.means(task)]}  # fmt: skip
    return {"policies": told, "best_pairs": best, "brute_force_seconds": seconds, "resamples": RESAMPLES}


def main() -> None:
    options = arguments(__doc__, table="", scores="", runs="", run="", share=0.05, tasks="")
    results = Path(__file__).resolve().parents[1] / "results"
    path = Path(options.table or results / "choosing_table.csv")
    oracle = Oracle.read(path, Path(options.scores or results / "choosing_scores.jsonl"))
    runs = Path(options.runs or results / "choosing_runs.jsonl")
    if not oracle.rows:
        raise SystemExit(f"{path} holds no task whose cells are all there yet; table.py fills it")
    if options.run:
        run(oracle, options.run, options.share, runs, [name for name in options.tasks.split(",") if name])
        return
    write(document(oracle, read_runs(runs)), options.out)


if __name__ == "__main__":
    main()
