"""A small network learns a source task; its weights go into a twin, which is fine-tuned on the target task.

``python examples/twin_of_a_small_network.py``

The source task are scikit-learn's digits 0 to 4, the target task are 5 to 9, of which ten each are labelled.
"""

import torch
from sklearn.datasets import load_digits
from torch import nn

import graft
from graft.sources.file import File
from graft.sources.module import Module
from graft.strategies.fine_tune import FineTune


def small_network() -> nn.Module:
    """Two convolutions; features of 4 × 4 places."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
    )  # fmt: skip


if __name__ == "__main__":
    digits = load_digits()
    images, labels = (digits.images * 15).astype("uint8"), digits.target
    low, high = labels < 5, labels >= 5
    strategy = FineTune(epochs=20, lr=3e-3, patience=None)
    first = graft.Transfer(Module(small_network(), size=16), strategy=strategy).fit(images[low], labels[low])
    torch.save(first.model_.module.trunk.state_dict(), "small.pth")

    twin = File("small.pth", architecture=f"{__file__}:small_network", size=16)
    few = [row for digit in range(5, 10) for row in (labels == digit).nonzero()[0][:10]]
    second = graft.Transfer(twin, strategy=strategy).fit(images[few], labels[few])
    high[few] = False  # nothing is measured by what was learnt from
    print(second.score(images[high], labels[high]))
