"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from monitor.log import set_up
from tests.fakes import FakeClock


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
