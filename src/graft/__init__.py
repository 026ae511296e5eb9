"""Graft: choose a pretrained model, transfer it to your task, and prove whether it helped.

Names are imported when they are used, so that ``import graft`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from graft.version import __version__

if TYPE_CHECKING:
    from graft.bundle import load
    from graft.comparison import compare
    from graft.distilling import distill
    from graft.errors import (
        BadRowsError,
        BundleError,
        DataError,
        DivergedError,
        GraftError,
        MachineError,
        MemoryLimitError,
        RequestError,
        UnavailableError,
        UnknownNameError,
        WeightsError,
    )
    from graft.estimator import Transfer
    from graft.flow import fit
    from graft.planning import plan
    from graft.ranking import rank
    from graft.reading import audit, read
    from graft.result import Result
    from graft.select.ranks import Ranking
    from graft.standings import Standings

_HOMES = {
    "Ranking": "graft.select.ranks",
    "Result": "graft.result",
    "Standings": "graft.standings",
    "Transfer": "graft.estimator",
    "audit": "graft.reading",
    "compare": "graft.comparison",
    "distill": "graft.distilling",
    "fit": "graft.flow",
    "load": "graft.bundle",
    "plan": "graft.planning",
    "rank": "graft.ranking",
    "read": "graft.reading",
}

__all__ = [
    "BadRowsError",
    "BundleError",
    "DataError",
    "DivergedError",
    "GraftError",
    "MachineError",
    "MemoryLimitError",
    "Ranking",
    "RequestError",
    "Result",
    "Standings",
    "Transfer",
    "UnavailableError",
    "UnknownNameError",
    "WeightsError",
    "__version__",
    "audit",
    "compare",
    "distill",
    "fit",
    "load",
    "plan",
    "rank",
    "read",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'graft' has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "graft.errors")), name)


def __dir__() -> list[str]:
    return list(__all__)
