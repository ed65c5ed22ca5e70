"""Lets a real Prometheus scrape a real daemon, and asks every query of the dashboards and rules.

    python tests/deploy/live.py --seconds 150

To be run by hand: it needs prometheus and promtool (Debian: prometheus). A daemon reads a feed, a file that
grows and a gateway that looks like X; it reads posts with the model, finds leaks, tells them by mail and
by webhook. When the time is over, every query must parse and return samples, every rule must evaluate, the
exposition must be lint-clean. Exit status 1 when something is missing.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    # This folder's neighbours mirror the packages' names: they must not come before them.
    sys.path[0] = str(ROOT)

from tests.crash import invent  # noqa: E402
from tests.deploy.promql import RULES, of_boards, rules  # noqa: E402
from tests.monitor.servers import (  # noqa: E402
    Answer,
    GrowingFeed,
    Item,
    MailServer,
    Webhook,
    WebServer,
    _free_port,
)

POSTS = 400
INTERVALS = {"$__rate_interval": "30s", "$__range": "5m", "$instance": ".+", "$brand": ".+"}

_PROGRAM = "import sys; from monitor.cli import main; sys.argv[1:1] = ['run', '--config']; main()"
_CONFIG = """
language = "nl"
[store]
path = "live.db"
[network]
allow_private_addresses = ["127.0.0.1"]
[http]
port = {port}
[heartbeat]
url = "{hook}"
method = "POST"
every_seconds = 60
allow_private_address = true
daily_at = "00:01"
daily_to = ["press"]
[[brands]]
name = "Zonnehoek"
query = "zonnehoek"
[[sources]]
kind = "rss"
name = "feed"
url = "{feed}/feed"
interval_seconds = 15
[[sources]]
kind = "file"
name = "file"
path = {file}
interval_seconds = 15
[[sources]]
kind = "x"
name = "x"
bearer_token = "live"
base_url = "{x}"
interval_seconds = 60
budget = {{ per_day = 5, per_month = 50 }}
[[channels]]
kind = "email"
name = "mail"
host = "127.0.0.1"
port = {mail}
security = "none"
from = "merkwacht@zonnehoek.example"
[[channels]]
kind = "slack"
name = "chat"
webhook_url = "{hook}"
[[receivers]]
name = "security"
channels = [{{ use = "mail", to = ["security@zonnehoek.example"] }}, {{ use = "chat" }}]
[[receivers]]
name = "press"
channels = [{{ use = "mail", to = ["press@zonnehoek.example"] }}]
[[clocks]]
name = "crisis"
limit_hours = 1
needs = ["acknowledged"]
rules = ["leak", "threat"]
[[routes]]
kinds = ["leak", "threat"]
receivers = ["security"]
[[routes]]
receivers = ["press"]
"""
_PROMETHEUS = """
global: {{scrape_interval: 2s, evaluation_interval: 5s}}
rule_files: [{rules}]
scrape_configs: [{{job_name: merkwacht, static_configs: [{{targets: ["127.0.0.1:{port}"]}}]}}]
"""


class Gateway(WebServer):
    """Looks like X's search: one new post each time it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self._number = 1_990_000_000_000_000_000

    def respond(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Give a page."""
        self._number += 1
        said = datetime.now(UTC) - timedelta(seconds=20)
        post = {
            "id": str(self._number),
            "text": f"Bij Zonnehoek was het weer druk vandaag, nummer {self._number}",
            "author_id": "7",
            "lang": "nl",
            "created_at": said.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            "public_metrics": {"like_count": 1, "retweet_count": 0, "reply_count": 0},
        }
        user = {"id": "7", "username": "piet", "public_metrics": {"followers_count": 10}}
        meta = {"result_count": 1, "newest_id": post["id"], "oldest_id": post["id"]}
        page = {"data": [post], "includes": {"users": [user]}, "meta": meta}
        return Answer(
            body=json.dumps(page).encode(), headers=(("Content-Type", "application/json"),)
        )


@contextmanager
def _running(command: list[str], log: Path, folder: Path) -> Iterator[None]:
    with log.open("wb") as sink:
        process = subprocess.Popen(command, cwd=folder, stdout=sink, stderr=sink)
        try:
            yield
        finally:
            process.terminate()
            process.wait(30)


def _await(what: Callable[[], bool], seconds: float, name: str) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if what():
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise TimeoutError(f"{name} did not come up in {seconds:.0f} s")


def _filled(expr: str) -> str:
    for name, value in INTERVALS.items():
        expr = expr.replace(name, value)
    return expr


class Trial:
    """Asks and counts.

    Args:
        prometheus: its address.
    """

    def __init__(self, prometheus: str) -> None:
        self._client = httpx.Client(base_url=prometheus, timeout=30)
        self.missing: list[str] = []
        self.without_number: list[str] = []
        """Queries that returned series and not one number: quantiles of what did not happen."""

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()

    def ask(self, where: str, expr: str, *, may_be_empty: bool = False) -> None:
        """One query: over the last minutes, as a panel does."""
        now = time.time()
        answer = self._client.get(
            "/api/v1/query_range",
            params={"query": _filled(expr), "start": now - 300, "end": now, "step": 1},
        ).json()
        if answer["status"] != "success":
            self.missing.append(f"{where}: {answer['error']}")
        elif not answer["data"]["result"] and not may_be_empty:
            self.missing.append(f"{where}: no data: {_filled(expr)}")
        elif answer["data"]["result"] and all(
            value == "NaN" for each in answer["data"]["result"] for _, value in each["values"]
        ):
            self.without_number.append(where)

    def rules(self) -> int:
        """How many rules were evaluated well."""
        groups: list[dict[str, Any]] = self._client.get("/api/v1/rules").json()["data"]["groups"]
        found = [rule for group in groups for rule in group["rules"]]
        self.missing += [
            f"rule {rule['name']}: {rule.get('lastError') or rule['health']}"
            for rule in found
            if rule["health"] != "ok"
        ]
        firing = sorted(rule["name"] for rule in found if rule["state"] == "firing")
        sys.stdout.write(f"rules that ring: {', '.join(firing) or 'none'}\n")
        return len(found)


def _feed_it(file: Path, feed: GrowingFeed, seconds: float) -> None:
    """Let posts come in, spread over the time."""
    posts = invent(POSTS, random.Random(7), datetime.now(UTC))
    began = time.monotonic()
    for number, post in enumerate(posts):
        time.sleep(max(0.0, began + seconds * number / POSTS - time.monotonic()))
        now = datetime.now(UTC)
        if post.platform == "news":
            feed.publish([Item(post.id, post.text, now)])
        else:
            line = json.loads(post.line()) | {"published_at": now.isoformat()}
            with file.open("a", encoding="utf-8") as sink:
                sink.write(json.dumps(line) + "\n")


def _lint(url: str) -> str:
    text = httpx.get(url, timeout=30).text
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    series = sum(1 for line in text.splitlines() if not line.startswith("#"))
    sys.stdout.write(f"exposition: {series} series, {len(text)} bytes\n")
    return "" if done.returncode == 0 else done.stdout + done.stderr


def run(folder: Path, seconds: float) -> list[str]:
    """The whole trial. Returns what is missing."""
    port, watcher = _free_port(), _free_port()
    file = folder / "posts.jsonl"
    file.touch()
    with (
        MailServer(lambda _: "250 taken") as mail,
        Webhook() as hook,
        Gateway() as x,
        GrowingFeed(window=POSTS) as feed,
    ):
        (folder / "config.toml").touch(mode=0o600)
        (folder / "config.toml").write_text(
            _CONFIG.format(
                port=port,
                hook=hook.hook,
                feed=feed.url,
                file=json.dumps(str(file)),
                x=x.url,
                mail=mail.port,
            )
        )
        (folder / "prometheus.yml").write_text(
            _PROMETHEUS.format(rules=json.dumps(str(RULES)), port=port)
        )
        daemon = [sys.executable, "-c", _PROGRAM, str(folder / "config.toml")]
        prometheus = [
            "prometheus",
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'series'}",
            f"--web.listen-address=127.0.0.1:{watcher}",
        ]
        # Prometheus comes first, as it does where a daemon is started anew.
        with (
            _running(prometheus, folder / "prometheus.log", folder),
            _running(daemon, folder / "daemon.log", ROOT),
        ):
            ready = f"http://127.0.0.1:{watcher}/-/ready"
            _await(lambda: httpx.get(ready).status_code == 200, 30, "prometheus")
            metrics = f"http://127.0.0.1:{port}/metrics"
            _await(lambda: httpx.get(metrics).status_code == 200, 90, "the daemon")
            _feed_it(file, feed, seconds)
            return _judge(f"http://127.0.0.1:{watcher}", metrics, len(mail.mails))


def _judge(prometheus: str, metrics: str, mails: int) -> list[str]:
    trial = Trial(prometheus)
    trial.ask("a name that is none", "merkwacht_redy")
    if len(trial.missing) != 1:
        return ["a query about nothing is not noticed"]
    trial.missing.clear()
    queries = list(of_boards())
    for where, expr, _ in queries:
        trial.ask(where, expr)
    for rule in rules():
        trial.ask(rule["alert"], rule["expr"], may_be_empty=True)
    evaluated = trial.rules()
    if fault := _lint(metrics):
        trial.missing.append(f"promtool check metrics: {fault}")
    trial.close()
    sys.stdout.write(f"without a number: {', '.join(trial.without_number) or 'none'}\n")
    sys.stdout.write(f"{len(queries)} queries asked, {evaluated} rules evaluated, {mails} mails\n")
    return trial.missing


def main() -> int:
    """Run it in a folder that is removed afterwards, unless something is missing."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=150, help="for which posts come in")
    seconds = parser.parse_args().seconds
    folder = Path(tempfile.mkdtemp(prefix="merkwacht-live-"))
    missing = run(folder, seconds)
    for each in missing:
        sys.stdout.write(f"MISSING {each}\n")
    if missing:
        sys.stdout.write(f"logs are kept in {folder}\n")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
