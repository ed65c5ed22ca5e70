"""Every query of the dashboards and rules, asked of a real Prometheus that scraped the daemon's own endpoint.

The metrics are all the daemon has, on the server that it has, and move at every scrape; that they mean what
they say in a daemon at work is seen by ``live.py``, which takes minutes and is run by hand.
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.registry import Collector

from monitor.daemon import PERIODS
from monitor.metrics import Metrics
from monitor.web import WebServer
from tests.deploy.live import Trial
from tests.deploy.promql import _collectors, of_boards, rules

SCRAPES = 6
NAMES = {
    "source": ("news",),
    "brand": ("Acme",),
    "channel": ("mail",),
    "clock": ("crisis",),
    "step": ("poll",),
    "counted": ("mentions", "negative", "authors"),
    "period": ("day", "month"),
    "unit": ("post", "request"),
}
"""Labels of what nothing announces before it happens."""
_CONFIG = """
global: {{scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 1m}}
scrape_configs: [{{job_name: merkwacht, static_configs: [{{targets: ["127.0.0.1:{port}"]}}]}}]
"""

pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="prometheus is not installed (Debian: prometheus)"
)


class Life(Collector):
    """Lets something happen to every series whenever it is looked at."""

    def __init__(self, metrics: Metrics) -> None:
        self.seen_often = threading.Event()
        self._metrics = list(_collectors(metrics))
        self._looked = 0
        for each in self._metrics:
            if each._labelnames and not each._metrics:
                # Nothing announced it: it comes with the first thing that happens.
                choices = [NAMES.get(label, ("other",)) for label in each._labelnames]
                for values in product(*choices):
                    each.labels(*values)

    def collect(self) -> Iterable[object]:  # type: ignore[override] # brings no series of its own
        self._looked += 1
        for metric in self._metrics:
            for one in metric._metrics.values() if metric._labelnames else [metric]:
                if isinstance(one, Counter):
                    one.inc()
                elif isinstance(one, Histogram):
                    one.observe(1)
                elif isinstance(one, Gauge):
                    one.set(self._looked)
        if self._looked >= SCRAPES:
            self.seen_often.set()
        return []


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Prometheus that has scraped several times."""
    folder: Path = tmp_path_factory.mktemp("prometheus")
    metrics = Metrics(CollectorRegistry())
    metrics.expect(
        sources=["news"], brands=["Acme"], channels=["mail"], steps=list(PERIODS), clocks=["crisis"]
    )
    metrics.build.info({"version": "1", "model": "m"})
    life = Life(metrics)
    # Before all others: what it lets happen is in the same scrape.
    metrics.registry.register(life)
    server = WebServer(("127.0.0.1", 0), registry=metrics.registry, health=dict)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "prometheus.yml").write_text(_CONFIG.format(port=server.port))
    command = [
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'series'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    try:
        assert life.seen_often.wait(60), (folder / "log").read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)
        server.close()


@pytest.fixture
def trial(prometheus: str) -> Iterator[Trial]:
    asking = Trial(prometheus)
    yield asking
    asking.close()


def test_a_query_about_nothing_would_be_noticed(trial: Trial) -> None:
    trial.ask("a name that is none", "merkwacht_redy")
    trial.ask("no query", "sum(")
    assert len(trial.missing) == 2


def test_every_panel_of_the_dashboards_has_data(trial: Trial) -> None:
    queries = list(of_boards())
    for where, expr, _ in queries:
        # Marks look a minute back: as long as that nothing is waited for here, and this process,
        # whose metrics they are, may have begun long before.
        trial.ask(where, re.sub(" < 60$", " < 1e6", expr.replace("offset 1m", "offset 1s")))
    assert len(queries) > 40
    assert trial.missing == []


def test_every_rule_can_be_evaluated(trial: Trial) -> None:
    for rule in rules():
        trial.ask(rule["alert"], rule["expr"], may_be_empty=True)
    assert trial.missing == []
