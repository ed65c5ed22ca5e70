"""Three simulated days through the whole daemon: does anything grow that should not?

    python tests/bench/bench_hours.py --hours 72 --rate 2000
    python tests/bench/bench_hours.py --hours 72 --rate 500 --kept-days 1

The daemon's own steps run under a moved clock, a pass every five simulated minutes: a growing file is
polled and matched, language and detectors look at every mention, the neural model reads one in ten and all
with a digit (the others get its last answer; ``--model-every 1`` reads all, and takes three times as long),
spikes are looked for, leaks and threats open incidents, mails and webhook calls leave for servers of
another process, posts older than ``--kept-days`` are deleted and their room is given back. A person resolves
what is two hours old. Every six simulated hours a line: memory, file and write-ahead log, descriptors,
threads, series, what waits, and how long passes and single turns of the step that deletes and gives back
took. At the end the last third against the middle third: the first one fills.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import multiprocessing
import random
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
# This folder's neighbours mirror the packages' names: they must not come before them.
sys.path[0] = str(ROOT)

import structlog  # noqa: E402
from aiosmtpd.controller import UnthreadedController  # noqa: E402
from prometheus_client import generate_latest  # noqa: E402
from sqlalchemy import func, inspect, select, table  # noqa: E402

from classifiers.base import Model, Prediction  # noqa: E402
from monitor.app import App  # noqa: E402

PASS_MINUTES = 5
LINE_HOURS = 6
RESOLVED_AFTER = timedelta(hours=2)
CRISES = (0.2, 0.5, 0.8)
"""Places in the span at which, for two hours, half of what is said is a complaint about the same thing."""
OPENINGS = (
    "Vandaag bij Zonnehoek geweest",
    "Net terug van Zonnehoek",
    "Bij de Zonnehoek om de hoek",
    "Zonnehoek in het centrum",
    "Boodschappen gedaan bij Zonnehoek",
    "Mijn moeder was bij Zonnehoek",
    "Die nieuwe Zonnehoek",
    "Bezorging van Zonnehoek",
    "De kassa van Zonnehoek",
    "Folder van Zonnehoek gelezen",
    "Zonnehoek op zaterdagmiddag",
    "Even langs Zonnehoek gefietst",
)
MIDDLES = (
    "en het brood was nog warm",
    "en de rij was weer eens lang",
    "maar de aardbeien waren op",
    "en iedereen was vriendelijk",
    "en nergens een parkeerplaats",
    "met een tas vol groente naar huis",
    "en alles netjes bijgevuld",
    "maar de koffie is duurder geworden",
    "en de kinderen kregen een sticker",
    "maar een pak melk was lek",
    "en de zelfscan deed het niet",
    "met korting op de kaas",
)
ENDINGS = (
    "tot volgende week",
    "dat doen we vaker",
    "wie herkent dit",
    "nou ja, kan gebeuren",
    "aanrader voor de buurt",
    "iemand een tip voor een andere winkel",
    "prima zo",
    "eerst maar eens koken",
    "hopelijk is het morgen rustiger",
    "en dat voor die prijs",
)
THINGS = (
    "soep",
    "pasta",
    "curry",
    "stamppot",
    "salade",
    "taart",
    "pannenkoeken",
    "lasagne",
    "rijst",
    "couscous",
    "quiche",
    "tomaten",
    "wortels",
    "prei",
    "paprika",
    "courgette",
    "spinazie",
    "komkommer",
    "boontjes",
    "bloemkool",
)
COMPLAINT = "De hummus van Zonnehoek is bedorven, mijn kinderen zijn ziek, schandalig"
LEAK = "Interne klantenlijst Zonnehoek: NL91ABNA0417164300, wachtwoord admin is Zonne{n}!x"
THREAT = "Morgen kom ik naar Zonnehoek en dan steek ik de filiaalleider van nummer {n} dood"

CONFIG = """
language = "nl"
[store]
path = "hours.db"
retention_days = {kept}
[http]
enabled = false
[log]
level = "error"
[classifiers]
threads = 1
[network]
allow_private_addresses = ["127.0.0.1"]
[[brands]]
name = "Zonnehoek"
query = "zonnehoek"
[[sources]]
kind = "file"
name = "file"
path = {file}
interval_seconds = 300
[[channels]]
kind = "email"
name = "mail"
host = "127.0.0.1"
port = {mail}
security = "none"
from = "merkwacht@zonnehoek.example"
messages_per_minute = 600
[[channels]]
kind = "slack"
name = "chat"
webhook_url = "http://127.0.0.1:{hook}/services/T0/B0/x"
messages_per_minute = 600
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


class _Box:
    """Takes every mail."""

    def __init__(self, taken: Any) -> None:
        self._taken = taken

    async def handle_DATA(self, _server: Any, _session: Any, _envelope: Any) -> str:  # noqa: N802 - aiosmtpd's
        self._taken[0] += 1
        return "250 taken"


def serve(ports: Any, taken: Any) -> None:
    """A mail server and a webhook, in a process of their own: their memory is not the daemon's."""

    async def hook(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
            await reader.readexactly(int(length[1]) if length else 0)
            taken[1] += 1
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            await writer.drain()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await hook(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def run() -> None:
        loop = asyncio.get_running_loop()
        mails = UnthreadedController(_Box(taken), hostname="127.0.0.1", port=0, loop=loop)
        mail = await loop.create_server(mails._factory_invoker, "127.0.0.1", 0)
        web = await asyncio.start_server(answer, "127.0.0.1", 0)
        ports[0] = mail.sockets[0].getsockname()[1]
        ports[1] = web.sockets[0].getsockname()[1]
        await asyncio.gather(mail.serve_forever(), web.serve_forever())

    asyncio.run(run())


@contextmanager
def serving() -> Iterator[tuple[int, int, Any]]:
    ports, taken = multiprocessing.Array("i", 2), multiprocessing.Array("i", 2)
    process = multiprocessing.Process(target=serve, args=(ports, taken), daemon=True)
    process.start()
    while not ports[1]:
        if not process.is_alive():
            raise RuntimeError("the process that takes mails and calls ended at its start")
        time.sleep(0.01)
    try:
        yield ports[0], ports[1], taken
    finally:
        process.terminate()
        process.join()


class Public:
    """Says things about the brand.

    Args:
        seed: of what is said.
        span: of all of it, for the places of crises.
        rate: posts an hour.
    """

    def __init__(self, seed: int, span: timedelta, rate: int) -> None:
        self._rng = random.Random(seed)
        self._span = span
        self._rate = rate
        self._number = 0
        self._owed = 0.0

    def says(self, since: timedelta, began: datetime) -> list[dict[str, Any]]:
        """What was said in the five minutes from a moment of the span on."""
        share = since / self._span
        crisis = any(0 <= share - place < timedelta(hours=2) / self._span for place in CRISES)
        self._owed += self._rate * PASS_MINUTES / 60 * (2 if crisis else 1)
        count, self._owed = int(self._owed), self._owed % 1
        return [self._post(began + since, crisis=crisis) for _ in range(count)]

    def _post(self, at: datetime, *, crisis: bool) -> dict[str, Any]:
        self._number += 1
        rng, number = self._rng, self._number
        bought = ", ".join(rng.sample(THINGS, 4))
        said = (rng.choice(OPENINGS), rng.choice(MIDDLES), rng.choice(ENDINGS))
        text = f"{said[0]} {said[1]}, {said[2]}. We eten {bought}."
        if number % 1000 == 5:
            text = f"{LEAK.format(n=number)} {' '.join(f'stuk{number}deel{n}' for n in range(8))}"
        elif number % 2000 == 1007:
            text = THREAT.format(n=number)
        elif crisis and rng.random() < 0.5:
            text = f"{COMPLAINT} {' '.join(rng.sample(THINGS, 3))}"
        moment = at + timedelta(seconds=rng.randrange(PASS_MINUTES * 60))
        return {
            "id": f"p{number}",
            "source": rng.choice(("x", "facebook", "news")),
            "author": f"a{rng.randrange(1_000_000)}",
            "author_followers": int(rng.paretovariate(0.7) * 50),
            "published_at": moment.isoformat(),
            "lang": "nl",
            "text": text,
        }


@dataclass(frozen=True, slots=True)
class Line:
    """What is measured at one moment."""

    hour: int
    rss_mb: float
    db_mb: float
    wal_mb: float
    fds: int
    threads: int
    series: int
    mentions: int
    queue: int
    """Mentions not assessed after a pass."""
    waiting: int
    """Notifications not delivered after a pass."""
    mails: int
    calls: int
    pass_s: float
    """The median pass since the last line."""
    worst_s: float
    tend_ms: float
    """The longest single turn of the step that deletes and gives back."""


class Sampled:
    """Asks the model about one text in so many and all with a digit; the others get its last answer.

    Language, detectors, verdicts and everything behind them are of each text.
    """

    def __init__(self, model: Model, every: int) -> None:
        self._model = model
        self._every = every
        self._seen = 0
        self._last: Prediction | None = None
        self.version = model.version

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        answers = []
        for text in texts:
            if any(sign.isdigit() for sign in text):
                answers += self._model.predict([text])
                continue
            if self._last is None or self._seen % self._every == 0:
                (self._last,) = self._model.predict([text])
            self._seen += 1
            answers.append(self._last)
        return answers


class Run:
    """One daemon and its public."""

    def __init__(self, app: App, folder: Path, public: Public, clock: list[datetime]) -> None:
        self._app = app
        self._folder = folder
        self._public = public
        self._clock = clock
        self._began = clock[0]
        self._passes: list[float] = []
        self._tends: list[float] = []

    def advance(self) -> None:
        """Five minutes."""
        said = self._public.says(self._clock[0] - self._began, self._began)
        with (self._folder / "posts.jsonl").open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(each, ensure_ascii=False) + "\n" for each in said)
        self._clock[0] += timedelta(minutes=PASS_MINUTES)
        self._resolve()
        began = time.monotonic()
        self._app.daemon.tick()
        # As the loop does: the step comes again at once while it has more to clear away.
        cleared = 1
        while cleared:
            turn = time.monotonic()
            cleared, _ = self._app.daemon.steps.tend.run()
            self._tends.append(time.monotonic() - turn)
        self._passes.append(time.monotonic() - began)

    def _resolve(self) -> None:
        now = self._clock[0]
        with self._app.store.write() as unit:
            for incident in unit.incidents.burning():
                if now - incident.opened_at >= RESOLVED_AFTER:
                    unit.incidents.resolve(incident.id, "eva", now)

    def line(self, hour: int, taken: Any) -> Line:
        """Measure."""
        status = Path("/proc/self/status").read_text()
        path = self._app.store.path
        with self._app.store.read() as unit:
            mentions, queue = unit.mentions.total(), unit.mentions.queue_length()
            waiting, _ = unit.outbox.waiting()
        passes, tends = self._passes or [0.0], self._tends or [0.0]
        self._passes, self._tends = [], []
        log = path.with_name(path.name + "-wal")
        return Line(
            hour=hour,
            rss_mb=int(_found(r"VmRSS:\s+(\d+)", status)) / 1024,
            db_mb=path.stat().st_size / 1e6,
            wal_mb=(log.stat().st_size if log.exists() else 0) / 1e6,
            fds=sum(1 for _ in Path("/proc/self/fd").iterdir()),
            threads=int(_found(r"Threads:\s+(\d+)", status)),
            series=generate_latest(self._app.metrics.registry).count(b"\n"),
            mentions=mentions,
            queue=queue,
            waiting=waiting,
            mails=taken[0],
            calls=taken[1],
            pass_s=statistics.median(passes),
            worst_s=max(passes),
            tend_ms=max(tends) * 1000,
        )


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise LookupError(pattern)
    return match[1]


def table_rows(app: App) -> dict[str, int]:
    """Rows by table, the largest first: what outlives the posts shows here."""
    with app.store.read() as unit:
        connection = unit._session.connection()
        names = inspect(connection).get_table_names()
        counts = {
            name: connection.scalar(select(func.count()).select_from(table(name))) for name in names
        }
    return dict(sorted(counts.items(), key=lambda each: -each[1]))


def thirds(lines: list[Line]) -> None:
    """The last third against the middle third."""
    third = len(lines) // 3
    if not third:
        return
    middle, last = lines[-2 * third : -third], lines[-third:]
    print("\nlast third against middle third (means):")
    for name in ("rss_mb", "db_mb", "wal_mb", "fds", "threads", "series", "mentions", "pass_s"):
        before = statistics.fmean(getattr(each, name) for each in middle)
        after = statistics.fmean(getattr(each, name) for each in last)
        print(
            f"  {name:9} {before:10.2f} -> {after:10.2f}  x {after / before if before else 1:.3f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--hours", type=int, default=72)
    parser.add_argument("--rate", type=int, default=2000, help="mentions an hour")
    parser.add_argument("--kept-days", type=int, default=1, help="retention")
    parser.add_argument(
        "--model-every", type=int, default=10, help="mentions per question to the neural model"
    )
    parser.add_argument("--seed", type=int, default=7)
    asked = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    clock = [datetime(2026, 11, 2, tzinfo=UTC)]
    with tempfile.TemporaryDirectory() as scratch, serving() as (mail, hook, taken):
        folder = Path(scratch)
        config = folder / "config.toml"
        config.write_text(
            CONFIG.format(
                mail=mail,
                hook=hook,
                kept=asked.kept_days,
                file=json.dumps(str(folder / "posts.jsonl")),
            )
        )
        (folder / "posts.jsonl").touch()
        public = Public(asked.seed, timedelta(hours=asked.hours), asked.rate)
        with App(
            config,
            now=lambda: clock[0],
            rng=random.Random(asked.seed),
            wrap=lambda model: Sampled(model, asked.model_every),
        ) as app:
            run = Run(app, folder, public, clock)
            names = [each.name for each in fields(Line)]
            print(" ".join(f"{name:>8}" for name in names), flush=True)
            lines: list[Line] = []
            started = time.monotonic()
            for hour in range(asked.hours + 1):
                if hour % LINE_HOURS == 0:
                    lines.append(run.line(hour, taken))
                    values = [getattr(lines[-1], name) for name in names]
                    shown = (f"{v:8.2f}" if isinstance(v, float) else f"{v:8}" for v in values)
                    print(" ".join(shown), flush=True)
                if hour < asked.hours:
                    for _ in range(60 // PASS_MINUTES):
                        run.advance()
            print(f"\n{time.monotonic() - started:.0f} s, {time.process_time():.0f} s of processor")
            thirds(lines[1:])
            with app.store.read() as unit:
                open_ones = unit.incidents.burning()
            print(f"\nincidents that burn: {len(open_ones)}; rows:")
            for name, count in table_rows(app).items():
                print(f"  {name:18} {count:8}")


if __name__ == "__main__":
    main()
