"""What the tests of connectors share: a moved clock, a real client, a server, the corpora."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from connectors.base import Context
from connectors.http import guarded_client
from connectors.query import Query
from tests.connectors.faultserver import FaultServer


class MovedClock:
    """A clock that stands still until it is moved."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def __call__(self) -> datetime:
        return self.moment

    def move(self, step: timedelta) -> None:
        self.moment += step


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock(datetime(2026, 11, 10, 12, 0, tzinfo=UTC))


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with guarded_client(allow_private_addresses=["127.0.0.1"]) as made:
        yield made


@pytest.fixture
def context(clock: MovedClock, client: httpx.Client) -> Context:
    return Context(
        name="under test", now=clock, http=client, queries=[Query.parse("zonnehoek OR harskamp")]
    )


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as running:
        yield running
