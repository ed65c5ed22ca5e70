"""What a flood costs: thousands of critical leaks within a minute, and the hours after it.

    python tests/bench/bench_flood.py [--leaks 10000] [--minutes 70]

Every leak is a story, so an incident, of its own, with a clock and a chain. They come in batches of 64, as
``assess`` brings them; then the clock stands still at each moment at which the step `follow` has something to
do. Prints how many messages came of it, what a leak costs to announce and a look costs, in processor time,
and how long the longest transaction held the writer: in processor time, which a busy machine does not
stretch, and on the clock.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import structlog

sys.path.insert(0, str(Path(__file__).parents[2]))

from alerts.base import Severity
from tests.monitor.make import NOON, fresh_store, sql
from tests.monitor.test_following import GATHERED, Desk, rulebook

BATCH = 64
MOST_ROUNDS = 20_000


class Longest:
    """The longest transaction of each kind."""

    def __init__(self) -> None:
        self.found: dict[str, tuple[float, float]] = {}
        """Seconds of processor time, and on the clock."""

    @contextmanager
    def measured(self, what: str) -> Iterator[None]:
        processor, clock = time.process_time(), time.perf_counter()
        yield
        now = time.process_time() - processor, time.perf_counter() - clock
        before = self.found.get(what, (0.0, 0.0))
        self.found[what] = max(before[0], now[0]), max(before[1], now[1])


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--leaks", type=int, default=10_000)
    parser.add_argument("--minutes", type=float, default=70)
    asked = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    with tempfile.TemporaryDirectory() as folder:
        store = fresh_store(Path(folder))
        desk = Desk(store, rulebook(GATHERED))
        longest = Longest()
        began = time.process_time()
        for first in range(0, asked.leaks, BATCH):
            desk.moment = NOON + timedelta(seconds=60 * first / asked.leaks)
            with longest.measured("announcing"):
                desk.leaks(min(BATCH, asked.leaks - first), first, Severity.CRITICAL)
        announcing = time.process_time() - began
        began, looks = time.process_time(), 0
        end = NOON + timedelta(minutes=asked.minutes)
        for _ in range(MOST_ROUNDS):
            due = desk.step.next_at()
            if due is None or due > end:
                break
            desk.moment = max(desk.moment, due)
            with longest.measured("following"):
                looks += desk.step.run()[0]
        following = time.process_time() - began
        messages = sql(
            store.path, "SELECT receiver, reason, count(*) FROM notification GROUP BY 1, 2"
        )
        size = store.path.stat().st_size
        store.close()
    print(f"{asked.leaks} leaks: {1000 * announcing / asked.leaks:.1f} ms each to announce")
    print(f"{looks} looks: {1000 * following / max(looks, 1):.1f} ms each")
    for what, (processor, clock) in longest.found.items():
        print(
            f"longest transaction {what}: {processor:.2f} s of processor time, {clock:.2f} s on the clock"
        )
    print(f"database {size / 1e6:.0f} MB")
    for receiver, reason, count in messages:
        print(f"{receiver}: {count} × {reason}")
    worst = max(processor for processor, _ in longest.found.values())
    figures = {"announce": announcing, "follow": following, "longest": worst}
    print(json.dumps({key: round(value, 2) for key, value in figures.items()}))


if __name__ == "__main__":
    main()
