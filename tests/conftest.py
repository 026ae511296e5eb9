"""What every test starts from: no network, a cache and a ledger of its own, no colours."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports the hub's client, which reads it once
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Features and trials go to folders of this run: tests neither see nor touch the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAFT_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("GRAFT_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        patch.setenv("NO_COLOR", "1")
        patch.delenv("GRAFT_LEDGER", raising=False)
        patch.delenv("GRAFT_DEBUG", raising=False)
        patch.delenv("GRAFT_FAIL_POINT", raising=False)
        yield


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data beside the repository; tests that need it skip where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the folder of real data, ../shared/data, is not here")
    return folder
