"""Hundreds of feeds polled every five minutes: on time, in flat memory, at what cost.

    python tests/bench/bench_feeds.py real [--feeds 500] [--minutes 15]
    python tests/bench/bench_feeds.py days [--feeds 500] [--days 2]
    python tests/bench/bench_feeds.py parse [--rounds 5]

``real`` starts the daemon as operations do, against a server on loopback, and waits: lateness of polls from
its own metric, memory and processor share from /proc. ``days`` drives the same steps under a moved clock,
so that days pass in minutes, and prints memory hour by hour. ``parse`` compares what reading a feed costs
with `feedparser.parse` on the same bytes.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import random
import re
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

ENTRIES = 30
"""Entries of a feed, of about 600 characters each: a usual size."""
CHANGING = 0.1
"""Of the polls find something new; the others hear 304."""
_TEXT = "De gemeenteraad sprak gisteren over het plan voor de nieuwe brug bij het station. " * 6


def feed(name: str, newest: int, at: datetime, *, hits: bool) -> bytes:
    items = []
    for number in range(newest, newest - ENTRIES, -1):
        brand = "Zonnehoek opent een winkel. " if hits and number % 20 == 0 else ""
        when = format_datetime(at - timedelta(minutes=5 * (newest - number)))
        items.append(
            f"<item><guid>https://{name}.example/{number}</guid><title>Bericht {number}</title>"
            f"<link>https://{name}.example/{number}</link><pubDate>{when}</pubDate>"
            f"<description>{brand}{_TEXT}{number}</description></item>"
        )
    return (
        f'<?xml version="1.0"?><rss version="2.0"><channel><title>{name}</title>'
        f"<link>https://{name}.example/</link>{''.join(items)}</channel></rss>"
    ).encode()


def serve(port: Any, seed: int) -> None:
    """A server of feeds, in a process of its own; each changes now and then."""
    rng = random.Random(seed)
    newest: dict[str, int] = {}

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        name = head.split(b" ", 2)[1].decode().strip("/")
        known = re.search(rb'if-none-match: "(\d+)"', head, re.IGNORECASE)
        number = newest.setdefault(name, 1000)
        if known is not None and rng.random() < CHANGING:
            newest[name] = number = number + 1
        if known is not None and int(known[1]) == number:
            writer.write(b"HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n")
        else:
            body = feed(name, number, datetime.now(UTC), hits=name.endswith("7"))
            writer.write(
                b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/rss+xml\r\n"
                b'ETag: "%d"\r\nContent-Length: %d\r\n\r\n' % (number, len(body)) + body
            )
        await writer.drain()
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=1000)
        port.value = server.sockets[0].getsockname()[1]
        await server.serve_forever()

    asyncio.run(run())


@contextmanager
def serving(seed: int = 1) -> Iterator[int]:
    port = multiprocessing.Value("i", 0)
    process = multiprocessing.Process(target=serve, args=(port, seed), daemon=True)
    process.start()
    while not port.value:
        time.sleep(0.01)
    try:
        yield int(port.value)
    finally:
        process.terminate()
        process.join()


def configuration(folder: Path, feeds: int, port: int, metrics: int) -> Path:
    path = folder / "config.toml"
    head = f"""
[network]
allow_private_addresses = ["127.0.0.1"]
[http]
port = {metrics}
[log]
level = "warning"
[[brands]]
name = "Zonnehoek"
query = "zonnehoek"
[[channels]]
kind = "email"
name = "mail"
host = "127.0.0.1"
security = "none"
from = "merkwacht@zonnehoek.example"
[[receivers]]
name = "comms"
channels = [{{ use = "mail", to = ["comms@zonnehoek.example"] }}]
[[routes]]
receivers = ["comms"]
"""
    sources = "".join(
        f'[[sources]]\nkind = "rss"\nname = "feed {number}"\nurl = "http://127.0.0.1:{port}/f{number}"\n'
        for number in range(feeds)
    )
    path.write_text(head + sources)
    return path


def children(pid: int) -> list[int]:
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += children(int(child))
    return found


def memory(pid: int) -> float:
    """Resident megabytes of a process and its children."""
    total = 0
    for each in children(pid):
        found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{each}/status").read_text())
        total += int(found[1]) if found else 0
    return total / 1024


def processor(pid: int) -> float:
    """Seconds of processor time of a process and its children."""
    ticks = 0
    for each in children(pid):
        ticks += sum(
            map(int, Path(f"/proc/{each}/stat").read_text().rsplit(")", 1)[1].split()[11:15])
        )
    return ticks / os.sysconf("SC_CLK_TCK")


def real(feeds: int, minutes: float) -> None:
    with tempfile.TemporaryDirectory() as scratch, serving() as port:
        metrics = 19464
        config = configuration(Path(scratch), feeds, port, metrics)
        daemon = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "from monitor.cli import main; main()",
                "run",
                "--config",
                config,
            ],
            cwd=ROOT,
        )
        try:
            time.sleep(60)  # the first minute reads every feed for the first time
            began, spent, at_first = time.monotonic(), processor(daemon.pid), memory(daemon.pid)
            before = lateness(metrics)
            while time.monotonic() - began < minutes * 60:
                time.sleep(30)
            share = (processor(daemon.pid) - spent) / (time.monotonic() - began)
            after = lateness(metrics)
            late = {edge: count - before.get(edge, 0) for edge, count in after.items()}
            total = late["+Inf"]
            print(
                f"{feeds} feeds every 300 s, {minutes:g} minutes after the first: {total:.0f} polls"
            )
            for edge, count in late.items():
                print(f"  begun within {edge:>5} s of their due time: {count / total:8.2%}")
            print(f"  memory {at_first:.0f} MB, then {memory(daemon.pid):.0f} MB")
            print(f"  processor: {share:.1%} of one core")
        finally:
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(30)


def lateness(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        text = answer.read().decode()
    found = re.findall(
        r'^merkwacht_poll_lateness_seconds_bucket\{le="(.+)"\} (\S+)$', text, re.MULTILINE
    )
    return {edge: float(count) for edge, count in found}


def days(feeds: int, count: float) -> None:
    import logging

    import structlog

    from monitor.app import App

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    now = datetime.now(UTC)
    moment = [now]
    with tempfile.TemporaryDirectory() as scratch, serving() as port:
        config = configuration(Path(scratch), feeds, port, 0)
        with App(config, now=lambda: moment[0], rng=random.Random(1)) as app:
            began, polls = time.monotonic(), 0
            print("hour   polls  memory MB")
            for hour in range(round(count * 24) + 1):
                if hour % 4 == 0:
                    print(f"{hour:>4} {polls:>7} {memory(os.getpid()):10.0f}", flush=True)
                for _ in range(12):
                    moment[0] += timedelta(minutes=5)
                    polls += app.daemon.tick().polled
            seconds = time.monotonic() - began
            used = resource.getrusage(resource.RUSAGE_SELF)
            print(
                f"{polls} polls in {seconds:.0f} s, {seconds / polls * 1000:.1f} ms each;", end=" "
            )
            print(
                f"at one poll a feed in 300 s that is {seconds / polls * feeds / 300:.1%} of one core"
            )
            print(f"largest memory of the main process: {used.ru_maxrss / 1024:.0f} MB")


def parse(rounds: int) -> None:
    import feedparser

    from connectors.feedreader import read_feed

    bodies = [feed(f"f{n}", 1000, datetime(2026, 11, 22, tzinfo=UTC), hits=True) for n in range(20)]
    ratios = []
    for _ in range(rounds):
        start = time.process_time()
        for body in bodies:
            feedparser.parse(body)
        bare = time.process_time() - start
        start = time.process_time()
        for body in bodies:
            read_feed(body, {}, url="http://a.example/", host="a.example", most=10_000)
        ratios.append((time.process_time() - start) / bare)
    print(
        f"reading a feed of {ENTRIES} entries, against feedparser.parse of the same bytes:", end=" "
    )
    print(
        f"{statistics.median(ratios):.2f} x (of {rounds} rounds {min(ratios):.2f} to {max(ratios):.2f})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    commands = parser.add_subparsers(dest="what", required=True)
    for name in ("real", "days"):
        command = commands.add_parser(name)
        command.add_argument("--feeds", type=int, default=500)
    commands.choices["real"].add_argument("--minutes", type=float, default=15)
    commands.choices["days"].add_argument("--days", type=float, default=2)
    commands.add_parser("parse").add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    if given.what == "real":
        real(given.feeds, given.minutes)
    elif given.what == "days":
        days(given.feeds, given.days)
    else:
        parse(given.rounds)


if __name__ == "__main__":
    main()
