"""What the tests share: real collections where they are at hand, and a small finished leaderboard over `mini`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_client import point_at
from hub_double import HubDouble
from hypothesis import settings
from toys import TIME, finished_board

os.environ["NUMBA_DISABLE_JIT"] = "1"  # ranx would compile for a minute; read when numba is first imported

settings.register_profile("exabench", deadline=None, derandomize=True, database=None, max_examples=60)
settings.load_profile("exabench")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "real_data: needs real collections in the folder that EXABENCH_DATA names")
    config.addinivalue_line("markers", "slow: takes minutes; run by make test-slow alone")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    unwanted = {
        "real_data": not os.environ.get("EXABENCH_DATA"),
        "slow": "slow" not in config.getoption("markexpr"),
    }
    left = [item for item in items if any(off and item.get_closest_marker(name) for name, off in unwanted.items())]
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if item not in left]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real collections; only tests marked real_data may ask for it."""
    return Path(os.environ["EXABENCH_DATA"])


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Indexes, vectors and scores of the tests stay out of the user's cache folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EXABENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _same_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", TIME)


@pytest.fixture(scope="session")
def _board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("board") / "board"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", TIME)
        finished_board(folder)
    return folder


@pytest.fixture
def board(_board: Path, tmp_path: Path) -> Path:
    """A leaderboard over `mini` with five baselines and the run `acme/good`, all measured; the test's own copy."""
    return Path(shutil.copytree(_board, tmp_path / "board"))


@pytest.fixture
def dataset_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubDouble]:
    """A Hub that the package datasets reads, too; the working folder is `tmp_path`."""
    config = pytest.importorskip("datasets").config
    with HubDouble() as double:
        point_at(double.url, tmp_path / "home", monkeypatch)
        monkeypatch.setattr(config, "HF_ENDPOINT", double.url)
        monkeypatch.setattr(config, "HF_DATASETS_CACHE", str(tmp_path / "home" / "datasets"))
        monkeypatch.chdir(tmp_path)
        yield double
