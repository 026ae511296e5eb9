"""The parts of an image network from input to output: unfreezing and layer-wise rates need an order."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

__all__ = ["stages"]

_DOMINANT = 0.5  # a part with more of the parameters than this is opened


def stages(network: nn.Module) -> tuple[str, ...]:
    """Prefixes of parameter names, from input to output; every parameter has exactly one.

    timm's own order where it states one, else the order of construction.
    """
    return tuple(_grouped(network) or _parts(network))


def _grouped(network: nn.Module) -> list[str]:
    if not hasattr(network, "group_matcher"):
        return []
    from timm.models import group_parameters

    names = [name for name, _ in network.named_parameters()]
    try:
        layer = group_parameters(network, network.group_matcher(coarse=True), reverse=True)  # type: ignore[operator]
    except (AssertionError, NotImplementedError):  # a few families have no coarse order
        return []
    under: dict[str, set[int]] = {}
    for name in names:
        for stem in _stems(name):
            under.setdefault(stem, set()).add(layer[name])
    found: dict[str, int] = {}
    for name in names:
        stem = next(stem for stem in _stems(name) if len(under[stem]) == 1)
        found[stem] = layer[name]
    return sorted(found, key=lambda stem: found[stem])


def _stems(name: str) -> Iterator[str]:
    """``a.b.c`` → ``a``, ``a.b``, ``a.b.c``."""
    parts = name.split(".")
    return (".".join(parts[: end + 1]) for end in range(len(parts)))


def _parts(module: nn.Module, prefix: str = "", total: int | None = None) -> Iterator[str]:
    """Direct parts in order; one that holds most parameters is opened."""
    total = total or sum(value.numel() for value in module.parameters())
    yield from (prefix + name for name, _ in module.named_parameters(recurse=False))
    for name, child in module.named_children():
        count = sum(value.numel() for value in child.parameters())
        if count > _DOMINANT * total and any(True for _ in child.children()):
            yield from _parts(child, f"{prefix}{name}.", total)
        elif count:
            yield prefix + name
