"""The shell around the journey: schedule, pseudonyms, inbox, logs, systemd, health, deployment."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from connectors.base import ConnectorError, Post, SourceFault
from monitor.database import StoreError
from monitor.inbox import Inbox, StoppedError
from monitor.metrics import Metrics
from monitor.privacy import Pseudonyms, load_or_create
from monitor.schedule import (
    LONGEST_PAUSE,
    PERMANENT_PAUSE,
    after_failure,
    after_success,
)
from monitor.systemd import Notifier
from monitor.web import WebServer

NOW = datetime(2026, 11, 9, 8, 0, tzinfo=UTC)
FIVE_MINUTES = timedelta(minutes=5)


# -- schedule --------------------------------------------------------------------------------------


@given(failures=st.integers(1, 200), jitter=st.floats(0, 1))
def test_a_failing_source_is_tried_again_within_a_quarter_of_an_hour(
    failures: int, jitter: float
) -> None:
    due = after_failure(NOW, FIVE_MINUTES, failures, None, jitter=jitter)
    assert NOW < due <= NOW + LONGEST_PAUSE


def test_the_pause_grows_and_what_the_source_asks_is_honoured() -> None:
    pauses = [after_failure(NOW, FIVE_MINUTES, n, None, jitter=0) - NOW for n in range(1, 8)]
    assert pauses == sorted(pauses)
    limited = ConnectorError(
        "slow down", fault=SourceFault.RATE_LIMITED, retry_after=timedelta(hours=2)
    )
    assert after_failure(NOW, FIVE_MINUTES, 1, limited, jitter=1) == NOW + timedelta(hours=2)
    broken = ConnectorError("token", fault=SourceFault.UNAUTHORIZED, permanent=True)
    assert after_failure(NOW, FIVE_MINUTES, 1, broken, jitter=0) == NOW + PERMANENT_PAUSE
    assert after_success(NOW, FIVE_MINUTES, timedelta(hours=1), jitter=0.5) == NOW + timedelta(
        hours=1
    )
    assert after_success(NOW, FIVE_MINUTES, None, jitter=0) == NOW + FIVE_MINUTES


# -- pseudonyms ------------------------------------------------------------------------------------


def test_a_pseudonym_is_the_same_for_every_spelling_of_a_handle() -> None:
    names = Pseudonyms(b"k" * 32)
    assert names.of("x", "@Piet") == names.of("x", "piet") == names.of("x", " PIET ")
    assert names.of("x", "piet") != names.of("reddit", "piet")
    assert names.of("x", "piet") != Pseudonyms(b"l" * 32).of("x", "piet")
    post = Post("x", "1", "tekst", NOW, author="piet")
    assert names.cover(post).author == names.of("x", "piet")
    assert names.cover(Post("x", "1", "tekst", NOW)).author is None


def test_the_key_is_made_once_and_only_for_us_to_read(tmp_path: Path) -> None:
    path = tmp_path / "key"
    first = load_or_create(path)
    assert load_or_create(path).fingerprint == first.fingerprint
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text("no key at all")
    with pytest.raises(StoreError, match="not a pseudonym key"):
        load_or_create(path)


# -- inbox -----------------------------------------------------------------------------------------


def test_a_worker_gets_the_answer_of_the_main_thread() -> None:
    inbox = Inbox()
    answers: list[object] = []
    worker = threading.Thread(target=lambda: answers.append(inbox.ask(threading.get_ident)))
    worker.start()
    assert inbox.pump(10)
    worker.join()
    assert answers == [threading.get_ident()]


def test_a_worker_gets_the_error_of_the_main_thread() -> None:
    inbox = Inbox()
    caught: list[BaseException] = []

    def work() -> None:
        try:
            inbox.ask(lambda: 1 // 0)
        except ZeroDivisionError as error:
            caught.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    inbox.pump(10)
    worker.join()
    assert len(caught) == 1


def test_nobody_waits_for_an_inbox_that_is_closed() -> None:
    inbox = Inbox()
    stopped = threading.Event()

    def work() -> None:
        try:
            inbox.ask(lambda: None)
        except StoppedError:
            stopped.set()

    inbox.post(lambda: None)
    worker = threading.Thread(target=work)
    worker.start()
    inbox.pump(10)
    inbox.close()
    worker.join(10)
    assert stopped.is_set() or not worker.is_alive()
    with pytest.raises(StoppedError):
        inbox.ask(lambda: None)


def test_a_named_job_waits_once() -> None:
    inbox = Inbox()
    done: list[int] = []
    for _ in range(3):
        inbox.post_once("assess", lambda: done.append(1))
    while inbox.pump(0):
        pass
    assert done == [1]
    inbox.post_once("assess", lambda: done.append(2))
    inbox.pump(0)
    assert done == [1, 2]


# -- systemd ---------------------------------------------------------------------------------------


def test_systemd_hears_what_the_daemon_says(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "notify"))
        notifier = Notifier(str(tmp_path / "notify"), monotonic=lambda: 1.5)
        notifier.ready("watching")
        notifier.beat("watching")
        notifier.reloading()
        notifier.stopping()
        heard = [server.recv(1000).decode().splitlines() for _ in range(4)]
    assert heard[0] == ["READY=1", "STATUS=watching"]
    assert heard[1][0] == "WATCHDOG=1"
    assert heard[2] == ["RELOADING=1", "MONOTONIC_USEC=1500000"]
    assert heard[3][0] == "STOPPING=1"


def test_outside_systemd_nothing_is_said(tmp_path: Path) -> None:
    Notifier("").ready("watching")
    Notifier(str(tmp_path / "nobody-listens")).ready("watching")
    assert not list(tmp_path.iterdir())


UNIT = Path(__file__).parent.parent.parent / "deploy" / "systemd" / "merkwacht.service"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
def test_the_unit_is_hardened() -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=15", str(UNIT)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-400:] + done.stderr


def test_the_unit_starts_the_command_that_exists() -> None:
    lines = UNIT.read_text().splitlines()
    assert "Type=notify" in lines
    assert any(line.endswith("merkwacht run --config /etc/merkwacht/config.toml") for line in lines)


# -- health ----------------------------------------------------------------------------------------


@pytest.fixture
def web() -> Iterator[tuple[WebServer, dict[str, float]]]:
    stale: dict[str, float] = {}
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    metrics.expect(sources=["news"], brands=["Acme"], channels=["mail"], steps=["poll"])
    server = WebServer(("127.0.0.1", 0), registry=registry, health=lambda: stale)
    yield server, stale
    server.close()


def _get(server: WebServer, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_ready_means_that_every_step_is_fresh(web: tuple[WebServer, dict[str, float]]) -> None:
    server, stale = web
    assert _get(server, "/healthz") == (200, "alive\n")
    assert _get(server, "/readyz")[0] == 200
    stale["detect"] = 500.0
    status, body = _get(server, "/readyz")
    assert status == 503
    assert json.loads(body) == {"ready": False, "stale_steps": {"detect": 500.0}}
    assert _get(server, "/healthz")[0] == 200
    assert _get(server, "/etc/passwd")[0] == 404


def test_metrics_are_for_prometheus(web: tuple[WebServer, dict[str, float]]) -> None:
    status, body = _get(web[0], "/metrics")
    assert status == 200
    assert 'merkwacht_polls_total{outcome="ok",source="news"} 0.0' in body
    names = {line.split(" ")[2] for line in body.splitlines() if line.startswith("# TYPE")}
    assert all(name.startswith(("merkwacht_", "process_")) for name in names)


def test_the_operations_guide_names_real_metrics(web: tuple[WebServer, dict[str, float]]) -> None:
    body = _get(web[0], "/metrics")[1]
    guide = (UNIT.parent.parent.parent / "docs" / "operations.md").read_text()
    named = {word.split("{")[0] for word in guide.split("`") if word.startswith("merkwacht_")}
    assert named
    missing = [name for name in named if f"{name}" not in body]
    assert not missing
