"""The authors' way, with scikit-learn's logistic regression, written out."""

from __future__ import annotations

import numpy as np
import scipy.special
import torch
from sklearn.linear_model import LogisticRegression

from graft.nn.relationship import source_classes


def test_it_is_what_the_authors_compute() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 200)
    seen = scipy.special.softmax(random.normal(size=(200, 5)) + 3 * np.eye(3, 5)[labels], axis=1)
    fitted = LogisticRegression(C=10.0, fit_intercept=False).fit(seen, labels)
    found = source_classes(torch.from_numpy(fitted.coef_), torch.zeros(3).double(), torch.from_numpy(seen)).numpy()
    given = scipy.special.softmax(fitted.coef_.T, axis=1)  # (c_s, c): p(target | source)
    for target in range(3):
        joint = np.array([given[source, target] * seen[:, source].mean() for source in range(5)])
        np.testing.assert_allclose(found[target], joint / joint.sum())
    assert (found.argmax(1) == [0, 1, 2]).all()


def test_a_bias_is_one_more_on_every_weight() -> None:
    # the source's probabilities add up to 1, so that a bias says nothing that the weights cannot
    torch.manual_seed(0)
    weight, bias, seen = torch.randn(3, 5), torch.randn(3), torch.softmax(torch.randn(9, 5), 1)
    torch.testing.assert_close(
        source_classes(weight, bias, seen), source_classes(weight + bias[:, None], torch.zeros(3), seen)
    )


def test_a_class_that_is_unlikely_everywhere_still_has_shares() -> None:
    seen = torch.softmax(torch.randn(9, 5, generator=torch.Generator().manual_seed(0)), 1)
    found = source_classes(torch.zeros(3, 5), torch.tensor([0.0, 0.0, -200.0]), seen)
    torch.testing.assert_close(found, seen.mean(0).expand(3, 5))
