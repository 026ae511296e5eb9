"""Pictures made stranger, a batch at a time: other colours, other places, and drawings of what they show."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["drawn", "varied"]


def drawn(images: Tensor, random: torch.Generator) -> Tensor:
    """Drawings ``(n, 3, h, w)`` in [0, 1] of images in [0, 1]: lines or areas, dark on light or light on dark.

    Lines are extended differences of Gaussians (Winnemöller, 2011), areas what is darker than the
    image's own middle.
    """
    n, _, _, w = images.shape
    grey = images.mean(1, keepdim=True)
    fine = w / 64 * float(torch.empty(()).uniform_(0.6, 1.6, generator=random))
    soft = _blurred(grey, fine)
    lines = soft - 0.97 * _blurred(soft, 1.3 * fine)
    lines = lines - lines.flatten(1).mean(1).view(n, 1, 1, 1)
    width = lines.flatten(1).std(1).view(n, 1, 1, 1).clamp_min(1e-3)
    edge = _uniform(n, 0.2, 1.2, random)
    sharp = _uniform(n, 2.0, 8.0, random)
    lines = torch.sigmoid(sharp * (lines / width + edge))
    middle = _uniform(n, 0.3, 0.7, random)
    level = soft.flatten(1).amin(1).view(n, 1, 1, 1).lerp(soft.flatten(1).amax(1).view(n, 1, 1, 1), middle)
    areas = torch.sigmoid((soft - level) * _uniform(n, 10.0, 60.0, random))
    page = torch.where(_chance(n, 0.65, random), lines, areas)
    page = torch.where(_chance(n, 0.4, random), 1 - page, page)
    ink, paper = _uniform(n, 0.0, 0.15, random), _uniform(n, 0.85, 1.0, random)
    tint = torch.where(
        _chance(n, 0.25, random), torch.rand(n, 3, 1, 1, generator=random) * 0.5, torch.zeros(n, 3, 1, 1)
    )
    return (ink + (paper - ink) * page + tint * page.sub(0.5)).clamp_(0, 1).expand(n, 3, -1, -1).contiguous()


def varied(images: Tensor, random: torch.Generator) -> Tensor:
    """Images in [0, 1] moved and recoloured, some of them drawn, blurred, noisy or with a hole."""
    images = _moved(images, random)
    images = _coloured(images, random)
    rows = torch.randperm(len(images), generator=random)
    some = rows[: len(rows) // 6]
    images[some] = drawn(images[some], random)
    some = rows[len(rows) // 6 : len(rows) // 4]
    images[some] = images[some].mul(4).round_().div_(4)
    some = rows[len(rows) // 4 : len(rows) // 3]
    soft = images.shape[-1] / 64 * float(torch.empty(()).uniform_(0.5, 1.5, generator=random))
    images[some] = _blurred(images[some], soft)
    some = rows[len(rows) // 3 : len(rows) // 2]
    images[some] += 0.06 * torch.randn(images[some].shape, generator=random)
    return _holed(images, random)


def _moved(images: Tensor, random: torch.Generator) -> Tensor:
    """Turned, scaled, sheared, shifted and mirrored a little; what lies outside is white, black or a reflection."""
    n = len(images)
    turn = _uniform(n, -0.3, 0.3, random).flatten()
    size = _uniform(n, 0.85, 1.35, random).flatten()
    lean = _uniform(n, -0.2, 0.2, random).flatten()
    mirror = torch.where(_chance(n, 0.5, random).flatten(), -1.0, 1.0)
    shift = torch.empty(n, 2).uniform_(-0.12, 0.12, generator=random)
    cos, sin = torch.cos(turn) * size, torch.sin(turn) * size
    rows = (torch.stack([mirror * cos, lean - sin, shift[:, 0]], 1), torch.stack([mirror * sin, cos, shift[:, 1]], 1))
    grid = functional.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    outside = torch.where(_chance(n, 0.5, random), 1.0, 0.0)
    same = max(1, n // 2)
    moved = [
        functional.grid_sample(images[:same], grid[:same], padding_mode="reflection", align_corners=False),
        functional.grid_sample(images[same:] - outside[same:], grid[same:], align_corners=False) + outside[same:],
    ]
    return torch.cat(moved)


def _coloured(images: Tensor, random: torch.Generator) -> Tensor:
    """Other contrast, brightness, saturation; some grey, some with channels swapped, some inverted."""
    n = len(images)
    grey = images.mean(1, keepdim=True)
    colour = torch.where(_chance(n, 0.2, random), torch.zeros(n, 1, 1, 1), _uniform(n, 0.5, 1.5, random))
    contrast = _uniform(n, 0.6, 1.4, random)
    contrast = torch.where(_chance(n, 0.12, random), -contrast, contrast)
    tint = torch.empty(n, 3, 1, 1).uniform_(-0.1, 0.1, generator=random)
    middle = grey.mean((2, 3), keepdim=True)
    goal = torch.where(contrast < 0, 1 - middle, middle) + _uniform(n, -0.2, 0.2, random) + tint
    images = grey.lerp(images, colour).sub_(middle).mul_(contrast).add_(goal).clamp_(0, 1)
    swapped = torch.randperm(n, generator=random)[: n // 8]
    images[swapped] = images[swapped][:, torch.randperm(3, generator=random)]
    return images


def _holed(images: Tensor, random: torch.Generator) -> Tensor:
    """A square of one colour over a quarter of the images."""
    n, _, h, w = images.shape
    edge = int(w * float(torch.empty(()).uniform_(0.15, 0.4, generator=random)))
    for row in torch.randperm(n, generator=random)[: n // 4].tolist():
        top, left = (int(torch.randint(0, full - edge, (), generator=random)) for full in (h, w))
        images[row, :, top : top + edge, left : left + edge] = torch.rand(3, 1, 1, generator=random)
    return images


def _blurred(images: Tensor, width: float) -> Tensor:
    """Gaussian blur, a pass along each edge."""
    reach = max(1, math.ceil(2.5 * width))
    taps = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / width) ** 2)
    taps = (taps / taps.sum()).to(images.dtype)
    padded = functional.pad(images, (reach,) * 4, mode="reflect")
    n, c, h, w = padded.shape
    flat = padded.reshape(n * c, 1, h, w)
    flat = functional.conv2d(functional.conv2d(flat, taps.view(1, 1, 1, -1)), taps.view(1, 1, -1, 1))
    return flat.view(n, c, *flat.shape[2:])


def _uniform(n: int, low: float, high: float, random: torch.Generator) -> Tensor:
    return torch.empty(n, 1, 1, 1).uniform_(low, high, generator=random)


def _chance(n: int, share: float, random: torch.Generator) -> Tensor:
    return torch.rand(n, 1, 1, 1, generator=random) < share
