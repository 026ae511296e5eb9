"""A small residual network for small pictures: features that say what is seen, and roughly where."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Tiny"]


class Tiny(nn.Module):
    """Normalised images ``(n, 3, h, w)`` → features ``(n, dim)``, for any ``h`` and ``w`` from 32 to 128.

    A stem and residual blocks of plain 3 × 3 convolutions (He et al., 2015), which matrix units like better
    than depthwise ones.  The features are means over the last stage, and means over each of
    ``grid`` × ``grid`` fields of the two stages before it: meaning from the one, shape from the others.

    Parameters
    ----------
    widths
        Channels of each stage, three or more of them; the stem halves the edges, and so does every stage but the
        first.
    blocks
        Residual blocks of each stage.
    grid
        Fields along an edge that the two stages before the last are averaged over.

    Examples
    --------
    >>> network = Tiny()
    >>> network(torch.zeros(1, 3, 64, 64)).shape == (1, network.dim)
    True
    """

    def __init__(
        self, widths: Sequence[int] = (32, 64, 128, 144), blocks: Sequence[int] = (1, 1, 2, 1), grid: int = 2
    ) -> None:
        super().__init__()
        self.widths = tuple(widths)
        self.grid = grid
        self.stem = nn.Sequential(_conv(3, widths[0], 2), nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True))
        self.stages = nn.ModuleList()
        before = widths[0]
        for place, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            steps = [_Block(before, width, 2 if place else 1), *(_Block(width, width, 1) for _ in range(count - 1))]
            self.stages.append(nn.Sequential(*steps))
            before = width
        self.init_weights()

    def init_weights(self) -> None:
        """Start again, with variances that last through the depth (He et al., 2015)."""
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(part, nn.BatchNorm2d):
                part.reset_parameters()

    @property
    def dim(self) -> int:
        """How many features there are."""
        return self.widths[-1] + self.grid**2 * (self.widths[-2] + self.widths[-3])

    def maps(self, images: Tensor) -> list[Tensor]:
        """What each stage sees: ``(n, widths[i], h / 2**(i + 1), w / 2**(i + 1))``, finest first."""
        seen, found = self.stem(images), []
        for stage in self.stages:
            seen = stage(seen)
            found.append(seen)
        return found

    def forward(self, images: Tensor) -> Tensor:
        *_, fine, middle, last = self.maps(images)
        fields = [functional.adaptive_avg_pool2d(each, self.grid).flatten(1) for each in (middle, fine)]
        return torch.cat([last.mean((2, 3)), *fields], 1)


class _Block(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = _conv(before, width, stride), nn.BatchNorm2d(width)
        self.conv2, self.norm2 = _conv(width, width, 1), nn.BatchNorm2d(width)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or before != width:
            self.shortcut = nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, seen: Tensor) -> Tensor:
        found = functional.relu(self.norm1(self.conv1(seen)), inplace=True)
        return functional.relu(self.norm2(self.conv2(found)) + self.shortcut(seen), inplace=True)


def _conv(before: int, width: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(before, width, 3, stride, 1, bias=False)
