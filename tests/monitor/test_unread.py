"""What a source counts without showing it: kept beside mentions, and able to ring."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

from prometheus_client import CollectorRegistry

from alerts.base import SignalKind
from connectors.base import Count, Cursor, Page
from connectors.query import Query
from monitor.inbox import Inbox
from monitor.matching import Brand
from monitor.metrics import Metrics
from monitor.polling import PollStep, Source
from monitor.privacy import Pseudonyms
from monitor.store import Store
from monitor.store.crowd import BUCKET, Spread
from tests.fakes import FakeClock
from tests.monitor.crowds import BRAND, MONDAY, Crowd

QUERY = Query.parse("acme")


class Counting:
    """A connector that counts what the test says."""

    kind = "x"

    def __init__(self) -> None:
        self.counts: list[Count] = []

    def fetch(self, cursor: Cursor | None) -> Iterator[Page]:
        yield Page((), {"n": len(self.counts)}, counts=self.counts)

    def close(self) -> None:
        pass


def poll(store: Store, connector: Counting, clock: FakeClock) -> None:
    """One poll by the real step."""
    inbox = Inbox()
    with ThreadPoolExecutor(1) as pool:
        step = PollStep(
            sources=[
                Source(
                    name="x",
                    kind="x",
                    connector=connector,  # type: ignore[arg-type] # as much as polling needs
                    brands=[Brand(BRAND, QUERY, frozenset())],
                    interval=BUCKET,
                    silent_after=timedelta(hours=1),
                    fingerprint="",
                )
            ],
            store=store,
            inbox=inbox,
            pool=pool,
            pseudonyms=Pseudonyms(b"k" * 32),
            metrics=Metrics(CollectorRegistry()),
            now=clock,
            rng=random.Random(1),
            stored=lambda: None,
        )
        step.begin()
        with store.write() as unit:
            unit.sources.make_due(["x"], clock())
        assert step.run() == 1
        while step.in_flight:
            inbox.pump(5)


def count(at: datetime, number: int, query: str = "acme") -> Count:
    return Count(query, at, BUCKET, number)


def test_counts_are_kept_beside_mentions_and_replaced_when_told_anew(tmp_path: Path) -> None:
    store, clock, x = Store(tmp_path / "a.db"), FakeClock(MONDAY), Counting()
    noon = MONDAY + timedelta(hours=12)
    clock.moment = noon + timedelta(minutes=9)
    x.counts = [count(noon, 7), count(noon + BUCKET, 2), count(noon, 99, query="another")]
    poll(store, x, clock)
    x.counts = [count(noon, 5), count(noon + BUCKET, 0)]
    poll(store, x, clock)
    with store.read() as unit:
        buckets = unit.crowd.buckets(BRAND, noon, noon + 2 * BUCKET)
        assert (buckets[noon].mentions, buckets[noon].negative) == (5, 0)
        assert buckets[noon].sources == {"x": 5}
        assert buckets[noon + BUCKET].mentions == 0
        assert unit.crowd.sources(BRAND, noon, noon + BUCKET) == {"x": 5}
        assert unit.crowd.spread(BRAND, noon, noon + BUCKET) == Spread(5, 5, 5)
        assert unit.crowd.spread(BRAND, noon, noon + BUCKET, negative=True) == Spread(0, 0, 0)
        assert unit.mentions.counts(BRAND, noon, noon + BUCKET) == {}
    store.close()


def test_a_source_that_only_counts_rings_when_its_counts_leap(tmp_path: Path) -> None:
    crowd, x = Crowd(tmp_path), Counting()
    crowd.past(9, {"x": 4})
    crowd.catch_up()
    for _ in range(4):
        crowd.clock.advance(minutes=5)
        x.counts = [count(crowd.clock() - BUCKET, 60)]
        poll(crowd.store, x, crowd.clock)
        crowd.step.run()
    [signal, *_] = crowd.signals()
    assert signal.kind is SignalKind.VOLUME_SPIKE
    assert signal.facts["observed"] >= 60
    assert signal.facts["shape"] == "crowd"
    crowd.close()
