"""NCE is what the source's class and ours have in common, less what there is to know of ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import entropy
from sklearn.metrics import mutual_info_score

from graft.contracts import Array, Seen
from graft.errors import RequestError
from graft.scores.nce import NCE

Make = Callable[..., tuple[Seen, Array]]


def test_it_is_mutual_information_less_entropy(make: Make) -> None:
    seen, targets = make(50, apart=0.5)
    assert seen.outputs is not None
    named = seen.outputs.argmax(axis=1)
    expected = mutual_info_score(named, targets) - entropy(np.bincount(targets))
    assert NCE().score(seen, targets) == pytest.approx(expected)


def test_classes_that_name_ours_leave_nothing_to_know(make: Make) -> None:
    seen, targets = make(30)
    outputs = np.eye(5, dtype=np.float32)[(targets * 2) % 5]
    assert NCE().score(replace(seen, outputs=outputs), targets) == 0.0


def test_a_source_without_outputs_is_refused(make: Make) -> None:
    seen, targets = make()
    with pytest.raises(RequestError, match="needs a source with outputs of its own"):
        NCE().score(replace(seen, outputs=None), targets)
