"""Sources behind a bridge: the same network, for rows of another modality."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import graft
from graft import registry
from graft.bridges.sentence import Sentence
from graft.bridges.spectrogram import Spectrogram
from graft.checks import check_source, check_strategy
from graft.cli import app
from graft.contracts import Sound, Source
from graft.data.examples import AudioExamples, TableExamples
from graft.errors import RequestError, UnavailableError
from graft.sources.bridged import Bridged
from graft.sources.file import File
from graft.sources.graft import Graft
from graft.sources.pixels import Pixels
from graft.sources.several import Several
from graft.sources.tfidf import Tfidf
from graft.strategies.fine_tune import FineTune
from graft.strategies.linear_probe import LinearProbe
from graft.tasks.classification import Classification

LABELS = np.array(["low", "high"] * 12, dtype=object)


def clip(place: int, seconds: float = 0.2) -> Sound:
    """A tone under noise, every clip of another length, rate and loudness."""
    draw = np.random.default_rng(place)
    rate = (8000, 16000, 22050)[place % 3]
    time = np.arange(int(rate * (seconds + place / 40))) / rate
    wave = np.sin(2 * np.pi * (300, 1500)[place % 2] * time) + 0.1 * draw.normal(size=len(time))
    return Sound((0.3 * draw.uniform(0.3, 1) * wave).astype(np.float32), rate)


CLIPS = AudioExamples([clip(place) for place in range(24)])
ROWS = TableExamples(
    np.stack([np.arange(24) % 2, np.arange(24)], axis=1), columns=["warm", "count"], words=[["no", "yes"], None]
)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> File:
    """A small vision network in a file."""
    import safetensors.torch
    import timm

    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    torch.manual_seed(0)
    safetensors.torch.save_file(timm.create_model("resnet10t", num_classes=7).state_dict(), path)
    return File(str(path), architecture="timm/resnet10t", size=32)


def test_it_keeps_the_contract_of_a_source(network: File) -> None:
    check_source(Bridged(Pixels(size=8), Spectrogram()), CLIPS)
    check_source(Bridged(network, Spectrogram()), CLIPS.take(np.arange(3)))
    check_source(Bridged(Tfidf(), Sentence()), ROWS)


def test_features_are_those_of_the_source_on_converted_rows() -> None:
    bridge, inner = Spectrogram(n_mels=16), Pixels(size=8).load()
    over = Bridged(Pixels(size=8), bridge).load()
    ours = over.module(over.preprocess.collate(over.preprocess.items([CLIPS[0], CLIPS[1]])))
    theirs = inner.module(
        inner.preprocess.collate(inner.preprocess.items([bridge.convert(CLIPS[row]) for row in (0, 1)]))
    )
    assert torch.equal(ours, theirs)


def test_what_is_known_of_it(network: File) -> None:
    over = Bridged(network, Spectrogram())
    backbone = over.load()
    assert over.reads() == backbone.card.modality == "audio"
    assert over.pretrained
    assert not Bridged(Pixels(), Spectrogram()).pretrained
    assert backbone.card.name == "file/small.safetensors over spectrogram"
    assert backbone.card.notes[-1] == "rows of audio become rows of image over the bridge spectrogram."
    assert backbone.card.revision == network.load().card.revision
    assert backbone.head is not None
    assert Bridged.local() == ()


def test_the_fingerprint_names_bridge_and_source() -> None:
    prints = [
        Bridged(source, bridge).load().fingerprint
        for source, bridge in (
            (Pixels(), Spectrogram()),
            (Pixels(), Spectrogram(seconds=2.0)),
            (Pixels(size=8), Spectrogram()),
        )
    ]
    assert None not in prints
    assert len({*prints, Pixels().load().fingerprint}) == 4
    assert Bridged(Pixels(), Spectrogram()).load().fingerprint == prints[0]
    # what a bridge learns belongs to its features, and is not known yet
    assert Bridged(Tfidf(), Sentence()).load().fingerprint is None


def test_training_takes_the_rows_as_they_are() -> None:
    preprocess = Bridged(Pixels(), Spectrogram()).load().preprocess
    steady, varied = (preprocess.items([CLIPS[0]], seeds)[0] for seeds in (None, [5]))
    assert torch.equal(steady, varied)


def test_maps_lie_behind_the_bridge_too(network: File) -> None:
    with pytest.raises(RequestError, match="no feature maps"):
        Bridged(Pixels(), Spectrogram()).maps()


@pytest.mark.parametrize(
    ("source", "bridge", "told"),
    [
        ("pixels", Spectrogram(), "as objects"),
        (Pixels(), None, "as objects"),
        (Tfidf(), Spectrogram(), "the bridge gives rows of image, and the source behind it reads rows of text"),
    ],
)
def test_what_does_not_fit_is_refused(source: Source, bridge: Spectrogram, told: str) -> None:
    for act in (Bridged.load, Bridged.reads, Bridged.maps):
        with pytest.raises(RequestError, match=told):
            act(Bridged(source, bridge))


def test_it_is_stored_and_named() -> None:
    over = Bridged(Pixels(size=8), Spectrogram(seconds=3.0))
    again = registry.restore("sources", registry.spec(over))
    assert registry.spec(again) == registry.spec(over)
    assert registry.title(over) == "pixels?size=8 over spectrogram?seconds=3.0"


def test_a_linear_probe_works_over_a_bridge() -> None:
    check_strategy(LinearProbe(), Bridged(Pixels(size=8), Spectrogram()), Classification(), CLIPS, LABELS)
    check_strategy(LinearProbe(), Bridged(Tfidf(), Sentence()), Classification(), ROWS, LABELS)


@pytest.mark.slow
def test_the_network_behind_a_bridge_is_trained(network: File) -> None:
    check_strategy(FineTune(epochs=1), Bridged(network, Spectrogram()), Classification(), CLIPS, LABELS)


def synthesise(folder: Path) -> Path:
    """Tones, noise and chirps, of unequal length, rate and number of channels, in a folder a class."""
    soundfile = pytest.importorskip("soundfile", reason="soundfile, which decodes sounds, is not installed")
    draw = np.random.default_rng(0)
    for place in range(72):
        rate = (8000, 16000, 22050, 44100)[place % 4]
        time = np.arange(int(rate * draw.uniform(0.3, 0.9))) / rate
        start = draw.uniform(300, 700)
        name, wave = (
            ("tone", np.sin(2 * np.pi * start * time)),
            ("noise", 0.4 * draw.normal(size=len(time))),
            ("chirp", np.sin(2 * np.pi * (start * time + 1500 * time**2))),
        )[place % 3]
        wave = 0.5 * wave + 0.02 * draw.normal(size=len(time))
        samples = wave if place % 2 else np.stack([wave, wave], axis=1)
        ending = ("wav", "flac")[place % 5 == 0]
        (folder / name).mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / name / f"{place}.{ending}", samples.clip(-1, 1), rate)
    return folder


def test_sounds_from_a_folder_to_a_saved_model(tmp_path: Path) -> None:
    folder = synthesise(tmp_path / "sounds")
    said: list[tuple[str, str]] = []
    result = graft.fit(
        folder,
        source="pixels?size=8",
        controls=("majority", "shallow"),
        say=lambda *line: said.append(line),
        cache=False,
    )
    assert ("read", f"{folder}/: 72 sounds, 3 classes") in said
    assert next(line for step, line in said if step == "plan").startswith("pixels over the bridge spectrogram × ")
    assert result.scores[result.winner]["accuracy"].value > 0.85
    assert {each.name: each.source for each in result.tried}["shallow"] == "mels"
    assert result.tried[0].source == "pixels over spectrogram"

    result.save(tmp_path / "model")
    loaded = graft.load(tmp_path / "model")
    paths = [str(path) for path in sorted(folder.rglob("*.wav"))[:4]]
    assert loaded.predict(paths).tolist() == result.model.predict(paths).tolist()
    assert loaded.predict([(clip(0).samples, clip(0).rate)]).shape == (1,)
    found = CliRunner().invoke(app, ["predict", str(tmp_path / "model"), paths[0]])
    assert found.exit_code == 0, found.output
    assert found.stdout.splitlines()[1] == f"{paths[0]},{loaded.predict(paths)[0]}"


def test_rows_of_a_table_from_a_file_to_a_saved_model(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    colours = draw.choice(["blue", "red"], 80)
    lines = [f"{colour},{draw.integers(9)},{'warm' if colour == 'red' else 'cold'}" for colour in colours]
    (tmp_path / "rows.csv").write_text("\n".join(["colour,count,label", *lines]))
    result = graft.fit(tmp_path / "rows.csv", source="tfidf", target="label", controls=("majority",), cache=False)
    assert result.scores[result.winner]["accuracy"].value == 1
    result.save(tmp_path / "model")
    (tmp_path / "new.csv").write_text("count,colour\n3,red\n5,blue\n")
    assert graft.load(tmp_path / "model").predict(tmp_path / "new.csv").tolist() == ["warm", "cold"]


def test_a_saved_model_does_not_ask_for_the_source_again(monkeypatch: pytest.MonkeyPatch) -> None:
    over = Bridged(Pixels(size=8), Spectrogram())
    files = {**over.load().files, **over.load().preprocess.files()}

    def gone(self: Source) -> str:
        raise UnavailableError("the original is not here")

    monkeypatch.setattr(Pixels, "reads", gone)
    assert over.rebuild(files).dim == 192
    with pytest.raises(RequestError, match="as objects"):
        Bridged("pixels", Spectrogram()).rebuild(files)  # type: ignore[arg-type]


def test_nothing_is_cropped_off_a_spectrogram_by_several_sources_either() -> None:
    parts = Bridged(Several([Graft("tiny"), Pixels(size=8)]), Spectrogram()).load(weights=False).preprocess
    assert [part.crop for part in parts.inner.parts] == [1.0, 1.0]  # type: ignore[attr-defined]
