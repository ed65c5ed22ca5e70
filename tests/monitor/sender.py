"""A process that delivers what is due and waits to be killed. Used by ``test_faults.py``.

    python tests/monitor/sender.py STORE KIND OPTIONS

``OPTIONS`` are the channel's, as JSON. It says ``ready`` when it has a channel and the store, and ``done``
when nothing more is due.
"""

from __future__ import annotations

import json
import random
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    # This folder has modules of common names: it must not come before the packages.
    sys.path[0] = str(ROOT)

from prometheus_client import CollectorRegistry  # noqa: E402

from alerts import CHANNELS  # noqa: E402
from monitor.delivering import DeliverStep  # noqa: E402
from monitor.inbox import Inbox  # noqa: E402
from monitor.metrics import Metrics  # noqa: E402
from monitor.store import Store  # noqa: E402


def main(path: str, kind: str, options: str) -> None:
    """Deliver what is due through one channel that is called like its kind."""
    plugin: Any = CHANNELS[kind]
    inbox = Inbox()
    step = DeliverStep(
        store=Store(Path(path)),
        channels={kind: plugin(plugin.Options.model_validate(json.loads(options)))},
        inbox=inbox,
        pool=ThreadPoolExecutor(4),
        metrics=Metrics(CollectorRegistry()),
        now=lambda: datetime.now(UTC),
        rng=random.Random(1),
        delivered=lambda: None,
    )
    while step.run():
        while step.in_flight:
            inbox.pump(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
