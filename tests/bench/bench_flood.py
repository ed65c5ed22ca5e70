"""What a flood costs: thousands of critical leaks within a minute, and the hours after it.

    python tests/bench/bench_flood.py [--leaks 10000] [--minutes 70]

Every leak is a story, so an incident, of its own, with a clock and a chain. They come in batches of 64, as
``assess`` brings them; then the clock stands still at each moment at which the step `follow` has something to
do. Prints how many messages came of it, what a leak costs to announce and a look costs, in processor time,
and how long the longest transaction held the writer.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import structlog

sys.path.insert(0, str(Path(__file__).parents[2]))

from alerts.base import Severity
from tests.monitor.make import NOON, fresh_store, sql
from tests.monitor.test_following import GATHERED, Desk, rulebook

BATCH = 64
MOST_ROUNDS = 20_000


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
        longest = 0.0
        began = time.process_time()
        for first in range(0, asked.leaks, BATCH):
            desk.moment = NOON + timedelta(seconds=60 * first / asked.leaks)
            turn = time.perf_counter()
            desk.leaks(min(BATCH, asked.leaks - first), first, Severity.CRITICAL)
            longest = max(longest, time.perf_counter() - turn)
        announcing = time.process_time() - began
        began, looks = time.process_time(), 0
        end = NOON + timedelta(minutes=asked.minutes)
        for _ in range(MOST_ROUNDS):
            due = desk.step.next_at()
            if due is None or due > end:
                break
            desk.moment = max(desk.moment, due)
            turn = time.perf_counter()
            looks += desk.step.run()[0]
            longest = max(longest, time.perf_counter() - turn)
        following = time.process_time() - began
        messages = sql(
            store.path, "SELECT receiver, reason, count(*) FROM notification GROUP BY 1, 2"
        )
        size = store.path.stat().st_size
        store.close()
    print(f"{asked.leaks} leaks: {1000 * announcing / asked.leaks:.1f} ms each to announce")
    print(f"{looks} looks: {1000 * following / max(looks, 1):.1f} ms each")
    print(f"longest transaction: {longest:.2f} s on the clock; database {size / 1e6:.0f} MB")
    for receiver, reason, count in messages:
        print(f"{receiver}: {count} × {reason}")
    figures = {"announce": announcing, "follow": following, "longest": longest}
    print(json.dumps({key: round(value, 2) for key, value in figures.items()}))


if __name__ == "__main__":
    main()
