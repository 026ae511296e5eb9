"""The command line as a person uses it: one message, one exit code, one document."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from graft.cli import app
from graft.cli.outcome import reported
from graft.errors import RequestError

RUN = CliRunner()


@pytest.fixture
def table(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    rows = [
        (f"{'sunny' if place % 2 else 'rainy'} day {random.integers(99)} of {place}", "sun" if place % 2 else "rain")
        for place in range(80)
    ]
    pd.DataFrame(rows, columns=["text", "weather"]).to_csv(tmp_path / "days.csv", index=False)
    return tmp_path / "days.csv"


def fit(table: Path, *more: str) -> tuple[int, str, str]:
    source = () if "--source" in more else ("--source", "tfidf")
    found = RUN.invoke(app, ["fit", str(table), *source, "--output", str(table.parent / "model"), *more])
    return found.exit_code, found.stdout, found.stderr


def test_fit_predict_evaluate(table: Path) -> None:
    model = str(table.parent / "model")
    code, out, _ = fit(table)
    assert code == 0
    for step in ("read", "split", "plan", "fit", "judge", "verdict", "wrote", "next"):
        assert f"\n{step:<8} " in f"\n{out}", step
    done = RUN.invoke(app, ["predict", model, str(table), "--probabilities"])
    lines = done.stdout.splitlines()
    assert lines[0] == "row,prediction,p(rain),p(sun)"
    assert len(lines) == 81
    written = RUN.invoke(app, ["predict", model, str(table), "-o", str(table.parent / "out.csv")])
    assert "out.csv" in written.stdout
    assert "next" in written.stdout
    assert len(pd.read_csv(table.parent / "out.csv")) == 80
    measured = RUN.invoke(app, ["evaluate", model, str(table), "--json"])
    assert json.loads(measured.stdout)["scores"]["accuracy"]["value"] > 0.9


def test_a_verdict_on_what_carries_nothing_does_not_speak_of_transfer(table: Path) -> None:
    code, out, _ = fit(table, "--strategy", "knn", "--control", "majority")
    assert code == 0
    assert "\nverdict  knn on tfidf HELPS" in out
    assert out.count("tfidf never learnt anything: nothing is transferred") == 2, "before time is spent, and at the end"


def test_json_is_one_document_and_nothing_else(table: Path) -> None:
    code, out, err = fit(table, "--json")
    assert code == 0
    assert json.loads(out)["winner"] == "linear_probe"
    assert err == ""
    done = RUN.invoke(app, ["predict", str(table.parent / "model"), "-", "--json"], input="sunny day\nrainy day\n")
    assert [row["prediction"] for row in json.loads(done.stdout)["rows"]] == ["sun", "rain"]


def test_a_dry_run_writes_nothing(table: Path) -> None:
    code, out, _ = fit(table, "--dry-run", "--json")
    assert code == 0
    assert json.loads(out)["controls"] == ["majority", "shallow"]
    assert [path.name for path in table.parent.iterdir()] == ["days.csv"]


def test_a_dry_run_within_a_budget_says_who_chooses(table: Path) -> None:
    code, out, _ = fit(table, "--dry-run", "--budget", "1m")
    assert code == 0
    assert "plan     what is not named is chosen within the budget; graft plan says from what" in out


def test_several_sources_need_a_budget_to_be_chosen_from(table: Path) -> None:
    code, _, err = fit(table, "--source", "tfidf", "--source", "minilm")
    assert code == 2
    assert "2 sources were named, and a fit without a budget takes one. Say --budget 10m" in err
    assert "graft compare" in err
    assert fit(table, "--source", "tfidf", "--source", "minilm", "--budget", "1m", "--dry-run")[0] == 0


@pytest.mark.parametrize("command", ["fit", "compare"])
def test_the_ledger_can_be_left_away(
    command: str, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "ledger.sqlite"
    monkeypatch.setenv("GRAFT_LEDGER", str(place))
    asked = [command, str(table), "--source", "tfidf", "--control", "majority", "-q"]
    more = ["--output", str(tmp_path / "out")]
    assert RUN.invoke(app, [*asked, *more, "--no-ledger"]).exit_code == 0
    assert not place.exists()
    assert RUN.invoke(app, [*asked, *more, "--overwrite"]).exit_code == 0
    assert place.exists()


def test_folds_say_what_their_figures_are_of(table: Path) -> None:
    code, out, _ = fit(table, "--folds", "3", "--repeats", "2", "--learning-curve")
    assert code == 0
    assert "3 folds, 2 times, each measured by models of the other folds: figures of the procedure, out of fold" in out
    assert "the model itself learnt from all 80 rows" in out
    assert "accuracy out of fold" in out
    assert "p (Holm)" in out
    assert "classes  worst by F1: " in out
    assert "labels   " in out
    assert out.count("\n") < 40, "one screen"
    code, out, _ = fit(table, "--folds", "3", "--json", "--overwrite")
    document = json.loads(out)
    assert document["crossed"]["folds"] == 3
    assert document["breakdown"]["classes"][0]["f1"]["value"] > 0.5
    assert 0 <= document["comparisons"]["majority"]["adjusted"] <= 1


def test_the_worst_group_is_told_by_fit_and_evaluate(table: Path) -> None:
    frame = pd.read_csv(table).assign(town=[f"town {place // 2 % 8}" for place in range(80)])
    frame.to_csv(table, index=False)
    code, out, _ = fit(table, "--group-by", "town", "--target", "weather", "--input", "text")
    assert code == 0
    assert "groups   worst" in out
    asked = ["evaluate", str(table.parent / "model"), str(table), "--group-by", "town", "--target", "weather"]
    asked += ["--input", "text"]
    shown = RUN.invoke(app, asked)
    assert "groups   worst of 8: town" in shown.stdout
    parts = json.loads(RUN.invoke(app, [*asked, "--json"]).stdout)["breakdown"]
    assert len(parts["groups"]) == 8
    assert sum(rows for *_, rows in parts["confused"]) == 80


def test_time_by_is_known_to_fit_and_compare(table: Path) -> None:
    pd.read_csv(table).assign(day=range(80)).to_csv(table, index=False)
    named = ("--time-by", "day", "--target", "weather", "--input", "text")
    code, out, _ = fit(table, *named)
    assert code == 0
    assert "in the order of time" in out
    done = RUN.invoke(app, ["compare", str(table), *named, "--source", "tfidf", "--folds", "2"])
    assert done.exit_code == 0, done.stderr
    assert "each measured by what learnt from earlier rows" in done.stdout
    assert "--time-by day" in done.stdout, "the next command knows it too"


def test_several_strategies_and_controls(table: Path) -> None:
    code, out, _ = fit(table, "--strategy", "majority", "--strategy", "linear_probe", "--control", "shallow", "--json")
    assert code == 0
    assert [each["name"] for each in json.loads(out)["tried"]] == ["majority", "linear_probe", "shallow"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--target", "wether"], 2, "weather"),
        (["--source", "minilmm"], 2, "minilm"),
        (["--strategy", "linear_prob"], 2, "linear_probe"),
        (["--task", "clasification"], 2, "classification"),
        (["--metric", "acuracy"], 2, "accuracy"),
        (["--budget", "soon"], 2, "2m"),
        (["--folds", "1"], 2, "1 folds were asked for"),
        (["--folds", "81"], 2, "can be cut into 2 to 80"),
        (["--repeats", "3"], 2, "no folds to deal anew"),
        (["--time-by", "wether"], 2, "weather"),
        (["--on-bad-row", "ignore"], 2, "skip"),
        (["--device", "abacus"], 2, "abacus"),
        (["--precision", "float1"], 2, "float1"),
        (["--source", "hf/nobody/nothing"], 6, "nobody/nothing"),
        (["--source", "file/absent.safetensors?architecture=timm/resnet18"], 2, "reads rows of image"),
    ],
)
def test_a_wrong_request_names_the_thing_and_the_remedy(
    table: Path, arguments: list[str], code: int, message: str
) -> None:
    found, _, err = fit(table, *arguments)
    assert found == code, err
    assert message in err
    assert "Traceback" not in err
    assert not (table.parent / "model").exists()


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        ("", 3, "empty"),
        ("text,label\n", 3, "row"),
        ("text,label\none day,x\ntwo days,x\nsome days,x\n", 3, "every label is 'x'"),
        ("text,label\none day,x\ntwo days,x\nold days,x\nsome days,y\n", 3, "single row"),
        ("text,label\none day,\ntwo days,\nsome days,\n", 3, "label"),
        ("text,label\n1,x\n2,y\n3,x\n4,y\n", 3, "number"),
    ],
)
def test_wrong_data_end_in_one_message(tmp_path: Path, content: str, code: int, message: str) -> None:
    (tmp_path / "rows.csv").write_text(content)
    found, _, err = fit(tmp_path / "rows.csv", "--input", "text", "--target", "label")
    assert found == code, err
    assert message in err
    assert "Traceback" not in err


def test_a_missing_path_and_a_folder_of_nothing(tmp_path: Path) -> None:
    code, _, err = fit(tmp_path / "absent.csv")
    assert code == 3
    assert "there is no file" in err
    (tmp_path / "empty").mkdir()
    code, _, err = fit(tmp_path / "empty")
    assert code == 3


def test_a_damaged_model_is_refused(table: Path) -> None:
    fit(table, "--quiet")
    weights = table.parent / "model" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    done = RUN.invoke(app, ["predict", str(table.parent / "model"), str(table)])
    assert done.exit_code == 5
    assert "weights.safetensors" in done.stderr


def test_quiet_prints_only_the_result(table: Path) -> None:
    code, out, err = fit(table, "--quiet")
    assert code == 0
    assert "read " not in out
    assert "wrote" in out
    assert err == ""


@pytest.mark.skipif(os.geteuid() == 0 and not Path("/proc/self").exists(), reason="needs a read-only place")
def test_a_place_that_cannot_be_written_ends_with_4(table: Path) -> None:
    done = RUN.invoke(app, ["fit", str(table), "--source", "tfidf", "--output", "/proc/model", "--quiet"])
    assert done.exit_code == 4
    assert "/proc" in done.stderr


def test_a_file_limit_like_a_full_disk_leaves_nothing_half_written(table: Path) -> None:
    """The kernel refuses files over 20 kB: the weights do not fit, as on a full disk."""
    script = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        "from graft.cli import main\n"
        "sys.argv = ['graft', 'fit', sys.argv[1], '--source', 'tfidf', '--output', sys.argv[2], '--quiet']\n"
        "main()"
    )
    model = table.parent / "model"
    done = subprocess.run(
        [sys.executable, "-c", script, str(table), str(model)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 4, done.stderr
    assert "larger than the limit" in done.stderr
    assert not model.exists()
    assert not list(table.parent.rglob(".graft-tmp-*"))
    assert fit(table, "--quiet")[0] == 0


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_it_says_how_to_go_on(table: Path, number: int, code: int) -> None:
    graft = Path(sys.executable).with_name("graft")
    command = [str(graft), "fit", str(table), "--source", "tfidf", "--output", str(table.parent / "model")]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a shell's background jobs ignore the interrupt, and their children would inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.05)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert "the same command goes on" in err
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_choice_says_where_the_best_so_far_lies(table: Path, number: int, code: int) -> None:
    graft, model = Path(sys.executable).with_name("graft"), table.parent / "model"
    command = [str(graft), "fit", str(table), "--source", "tfidf", "--budget", "5m", "--output", str(model)]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    best = model.with_name("model.partial") / "best"
    while f"until the run has ended, {best} holds the best so far" not in (line := process.stdout.readline()):
        assert line, process.communicate()
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert "stopped; the best so far, " in err
    assert f" lies in {best}; the same command goes on where it was" in err
    done = RUN.invoke(app, ["predict", str(best), str(table)])
    assert done.exit_code == 0
    assert len(done.stdout.splitlines()) == 81


def test_what_an_error_leaves_is_said_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    error = RequestError("no such thing.")
    error.add_note("the best so far, knn, lies in model.partial/best")
    with pytest.raises(typer.Exit), reported():
        raise error
    assert capsys.readouterr().err == "error: no such thing.\nthe best so far, knn, lies in model.partial/best\n"


def test_help_names_every_command_and_the_exit_codes() -> None:
    out = RUN.invoke(app, ["--help"]).stdout
    for word in ("fit", "predict", "evaluate", "ls", "show", "cache", "doctor", "demo", "Exit codes"):
        assert word in out
    assert RUN.invoke(app, ["--version"]).stdout.strip() == __import__("graft").__version__


def test_help_and_import_load_nothing_heavy() -> None:
    for code in ("import graft", "from graft.cli import app"):
        heavy = ("torch", "sklearn", "pandas", "numpy", "transformers")
        script = f"{code}\nimport sys\nprint([name for name in {heavy} if name in sys.modules])"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]"


def test_probabilities_and_confidences_are_named_on_the_command_line(table: Path) -> None:
    frame = pd.read_csv(table)
    sun = np.where(frame.pop("weather") == "sun", 0.9, 0.1)
    frame.assign(sun=sun, rain=1 - sun, sure=1.5).to_csv(table, index=False)
    code, out, err = fit(table, "-t", "sun", "-t", "rain", "--confidence", "sure", "--json")
    assert code == 0, err
    assert json.loads(out)["winner"] == "linear_probe"
    measured = RUN.invoke(
        app, ["evaluate", str(table.parent / "model"), str(table), "-t", "sun", "-t", "rain", "--json"]
    )
    scores = json.loads(measured.stdout)["scores"]
    assert scores["accuracy"]["value"] > 0.9
    assert scores["log_loss"]["value"] > 0.3, "measured by the probabilities"
    side = [
        "compare",
        str(table),
        "-t",
        "sun",
        "-t",
        "rain",
        "--confidence",
        "sure",
        "--source",
        "tfidf",
        "--folds",
        "2",
    ]
    compared = RUN.invoke(app, [*side, "--control", "majority", "--json"])
    assert compared.exit_code == 0, compared.stderr
    assert json.loads(compared.stdout)["standings"][0]["metrics"]["log_loss"] > 0.3, "measured by the probabilities"
    told = RUN.invoke(app, [*side, "--control", "majority"]).stdout
    assert " --target sun --target rain --confidence sure -o MODEL" in told.splitlines()[-1]
    one = RUN.invoke(app, ["evaluate", str(table.parent / "model"), str(table), "-t", "sun"])
    assert one.exit_code == 3


def test_compare_prints_a_table_and_keeps_a_document(table: Path) -> None:
    output = table.parent / "side"
    arguments = ["compare", str(table), "--strategies", "linear_probe,linear_probe?penalties=[10,100]", "--folds", "2"]
    arguments += ["--source", "tfidf", "--strategy", "mlp_head?epochs=1", "--output", str(output)]
    done = RUN.invoke(app, arguments)
    assert done.exit_code == 0, done.stderr
    for step in ("read", "split", "plan", "fit", "compare", "best", "wrote", "next"):
        assert f"\n{step:<8} " in f"\n{done.stdout}", step
    rows = [line for line in done.stdout.splitlines() if line.startswith("          ")]
    assert any("linear_probe?penalties=[10,100]" in row for row in rows)
    assert any("scratch" in row and "did not run" in row for row in rows)
    document = json.loads((output / "comparison.json").read_text())
    assert {each["name"] for each in document["standings"]} >= {"linear_probe", "mlp_head?epochs=1", "shallow"}
    assert f"\nkept     {output}/comparison.json" in RUN.invoke(app, arguments).stdout, "nothing was written now"
    again = RUN.invoke(app, [*arguments, "--json"])
    assert json.loads(again.stdout)["output"] == str(output)
    assert json.loads(again.stdout)["standings"][0]["name"] == document["standings"][0]["name"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--folds", "1"], "1 folds were asked for"),
        (["--strategies", "linear_prob"], "Did you mean linear_probe"),
        (["--repeats", "0"], "repeats is 0"),
    ],
)
def test_a_wrong_comparison_is_refused(table: Path, arguments: list[str], message: str) -> None:
    done = RUN.invoke(app, ["compare", str(table), "--source", "tfidf", *arguments])
    assert done.exit_code == 2
    assert message in done.stderr


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--output", "side"], "stopped; the same command goes on where it was\n"),
        ([], "stopped; with --output DIR it would go on where it was\n"),
    ],
)
def test_an_interrupted_comparison_goes_on_where_it_has_a_place(
    table: Path, monkeypatch: pytest.MonkeyPatch, more: list[str], message: str
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("graft.comparison.run", interrupted)
    done = RUN.invoke(app, ["compare", str(table), *more])
    assert (done.exit_code, done.stderr) == (130, message)


def test_what_begins_anew_promises_nothing(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("graft.bundle.load", interrupted)
    done = RUN.invoke(app, ["predict", "model", str(table)])
    assert (done.exit_code, done.stderr) == (130, "stopped\n")
