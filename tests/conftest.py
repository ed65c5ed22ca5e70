"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from monitor.log import set_up
from tests.fakes import FakeClock

# Files that take longest. They come first, so that no process is left with one of them at the end.
LONGEST = (
    "test_backtest", "test_timelines", "test_crash", "test_plugins", "test_faults", "test_outage",
    "test_detecting", "test_detecting_crowds", "test_journey", "test_following", "test_queries",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first; all others stay in their order."""
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(LONGEST)))


@pytest.fixture(autouse=True)
def _quiet_log() -> None:
    set_up(level="error", style="text")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The folder of the public corpora, which are not part of the project."""
    folder = os.environ.get("MERKWACHT_CORPORA")
    if not folder:
        pytest.skip("MERKWACHT_CORPORA is not set")
    return Path(folder)
