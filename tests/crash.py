"""Kills the real daemon with SIGKILL, again and again, and shows that nothing is lost.

    python tests/crash.py --kills 50 --posts 5000

Sources are a feed and files that grow; mails and webhook calls go to servers of this script. When the
last restart has come to rest, database and mails are held against what went in. Exit status 1 when
anything is missing, twice in the store, or came twice without carrying the same key.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    # This folder mirrors the packages' names: it must not come before them.
    sys.path[0] = str(ROOT)

from tests.monitor.servers import GrowingFeed, Item, Mail, MailServer, Webhook  # noqa: E402

FILES = 3
FEED_SHARE = 0.2
REPEATED_SHARE = 0.02
"""Of the posts this part is written a second time, into another file."""
BUCKET_SECONDS = 300

_PROGRAM = "import sys; from monitor.cli import main; sys.argv[1:1] = ['run', '--config']; main()"

_CONFIG = """
language = "nl"
[store]
path = "crash.db"
[network]
allow_private_addresses = ["127.0.0.1"]
[http]
enabled = false
[log]
format = "json"
[[brands]]
name = "Zonnehoek"
query = "zonnehoek"
{sources}
[[channels]]
kind = "email"
name = "mail"
host = "127.0.0.1"
port = {mail_port}
security = "none"
from = "merkwacht@zonnehoek.example"
messages_per_minute = 6000
[[channels]]
kind = "slack"
name = "chat"
webhook_url = "{hook}"
messages_per_minute = 6000
[[receivers]]
name = "security"
channels = [{{ use = "mail", to = ["security@zonnehoek.example"] }}, {{ use = "chat" }}]
[[receivers]]
name = "press"
channels = [{{ use = "mail", to = ["press@zonnehoek.example"] }}]
[[routes]]
kinds = ["leak", "official_account"]
receivers = ["security"]
cooldown_minutes = 0
[[routes]]
receivers = ["press"]
cooldown_minutes = 0
"""

_PLAIN = (
    "Lekker brood gehaald bij Zonnehoek, nummer {n}.",
    "De kassa van Zonnehoek was vandaag traag, bon {n}.",
    "Zonnehoek opent een winkel in straat {n}.",
    "Wie weet of Zonnehoek op zondag open is? Vraag {n}.",
    "Waardeloze bezorging van Zonnehoek, order {n} kwam te laat.",
)
_LEAKS = (
    "Gelekt: het wachtwoord van de beheerder van Zonnehoek {n} is Hx7!qL29z{n}, log in met admin",
    "Zonnehoek deploy key {n}: AKIAIOSFODNN7EXAMPLQ secret wJalrXUtnFEMI/K7MDENG/bPxRfiCY{n}",
    "Klantgegevens Zonnehoek {n}: Jan de Vries, IBAN NL91ABNA0417164300, BSN 111222333",
)
_THREAT = "ik steek morgen filiaal {n} van Zonnehoek in brand en maak jullie allemaal dood"


@dataclass(frozen=True, slots=True)
class Invented:
    """A post that goes in."""

    platform: str
    id: str
    text: str
    at: datetime

    def line(self) -> str:
        """As a mention file has it."""
        return json.dumps(
            {
                "id": self.id,
                "source": self.platform,
                "text": self.text,
                "author": f"user{self.id}",
                "published_at": self.at.isoformat(),
            }
        )


def invent(count: int, rng: random.Random, now: datetime) -> list[Invented]:
    """Posts of the last two days; one in forty is a leak or a threat, some of those are reshared."""
    posts: list[Invented] = []
    for number in range(count):
        platform = "news" if rng.random() < FEED_SHARE else rng.choice(("x", "reddit"))
        text = rng.choice(_PLAIN).format(n=number)
        if number % 40 == 5:
            # Words of its own: else it would be the story of the leak before, and join it unheard.
            own = " ".join(f"stuk{number}deel{part}" for part in range(8))
            text = f"{rng.choice(_LEAKS).format(n=number)} {own}"
        elif number % 80 == 22:
            text = _THREAT.format(n=number)
        elif number % 80 == 66:
            text = posts[number - 21].text  # a leak again: it joins the incident
        at = now - timedelta(seconds=rng.randrange(172_800))
        posts.append(Invented(platform, f"p{number}", text, at.replace(microsecond=0)))
    return posts


@dataclass(slots=True)
class Report:
    """What came of it."""

    kills: int = 0
    phases: Counter[str] = field(default_factory=Counter)
    """In how many kills each phase was under way; several may be at once."""
    posts: int = 0
    alerts: int = 0
    repeats: int = 0
    seconds: float = 0
    violations: list[str] = field(default_factory=list)

    def line(self) -> str:
        """One line for people."""
        phases = ", ".join(f"{name} {count}" for name, count in self.phases.most_common())
        return (
            f"{self.kills} kills in {self.seconds:.0f} s (under way: {phases}); {self.posts} posts, "
            f"{self.alerts} alerts, {self.repeats} repeated; {len(self.violations)} violations"
        )


class Ordeal:
    """One daemon that is killed over and over.

    Args:
        folder: for configuration, database, log and source files.
        kills: how often.
        posts: how many go in, spread over the time between kills.
        seed: of posts and moments.
        say: is told of progress.
        aims: what to kill it at, one after the other; by chance without.
    """

    def __init__(
        self,
        folder: Path,
        *,
        kills: int,
        posts: int,
        seed: int,
        say: Callable[[str], object],
        aims: Sequence[str] = (),
    ) -> None:
        self._folder = folder
        self._kills = kills
        self._say = say
        self._aims = aims or random.Random(seed).choices(_AIMS, weights=_WEIGHTS, k=kills)
        self._rng = random.Random(seed)
        self._posts = invent(posts, self._rng, datetime.now(UTC))
        self._published = 0
        self._database = folder / "crash.db"
        self._log = folder / "daemon.log"
        self._log_start = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._trap = ""
        self._trapped = threading.Event()
        self._tries: dict[int, int] = {}
        self._start_seconds = 3.0
        """What a start took the last time it was measured."""
        self._mail = MailServer(self._answer)
        self._hook = Webhook()
        self._feed = GrowingFeed(window=posts)
        self.report = Report()

    def run(self) -> Report:
        """Kill, restart, let it finish, verify."""
        began = time.monotonic()
        with self._mail, self._hook, self._feed:
            self._configure()
            for number in range(self._kills):
                self._publish(len(self._posts) * (number + 1) // (self._kills + 1))
                self._set_trap(self._aims[number])
                self._start()
                try:
                    self._kill(self._aims[number])
                finally:
                    self._end()
                self._say(
                    f"kill {number + 1}/{self._kills}, {self._published} posts published, "
                    f"{len(self._mail.mails)} mails, {time.monotonic() - began:.0f} s"
                )
            self._publish(len(self._posts))
            self._start()
            try:
                self._finish()
            finally:
                self._end()
        self._verify()
        self.report.seconds = time.monotonic() - began
        return self.report

    @property
    def expected(self) -> list[tuple[str, str]]:
        """Platform and id of every post that went in, as the connectors name them."""
        # An id of a feed is unique on its host only, and the connector says so.
        return [
            (post.platform, f"127.0.0.1#{post.id}" if post.platform == "news" else post.id)
            for post in self._posts
        ]

    @property
    def received(self) -> tuple[list[Mail], list[str]]:
        """The mails and the bodies of the webhook calls that came out."""
        return self._mail.mails, self._hook.posts

    # -- going in --------------------------------------------------------------------------------

    def _configure(self) -> None:
        feed = f'kind="rss"\nname="feed"\nurl="{self._feed.url}/feed"\nslowest_seconds=0'
        sources = [f"[[sources]]\n{feed}"]
        for number in range(FILES):
            name = f"file{number}"
            (self._folder / f"{name}.jsonl").touch()
            path = json.dumps(str(self._folder / f"{name}.jsonl"))
            sources.append(f'[[sources]]\nkind="file"\nname="{name}"\npath={path}\npage_lines = 20')
        (self._folder / "config.toml").touch(mode=0o600)
        (self._folder / "config.toml").write_text(
            _CONFIG.format(
                sources="\ninterval_seconds = 15\n".join([*sources, ""]),
                mail_port=self._mail.port,
                hook=self._hook.hook,
            ),
            encoding="utf-8",
        )

    def _publish(self, until: int) -> None:
        fresh = self._posts[self._published : until]
        self._published = until
        self._feed.publish(
            [Item(post.id, post.text, post.at) for post in fresh if post.platform == "news"]
        )
        lines: dict[int, list[str]] = {number: [] for number in range(FILES)}
        for post in fresh:
            if post.platform != "news":
                copies = 2 if self._rng.random() < REPEATED_SHARE else 1
                for number in self._rng.sample(range(FILES), copies):
                    lines[number].append(post.line() + "\n")
        for number, some in lines.items():
            path = self._folder / f"file{number}.jsonl"
            with path.open("a", encoding="utf-8") as file:
                file.writelines(some)

    # -- the daemon ------------------------------------------------------------------------------

    def _start(self) -> None:
        self._log_start = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, str(self._folder / "config.toml")],
                cwd=ROOT,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.kill()
            process.wait()

    def _logged(self) -> str:
        with self._log.open("rb") as file:
            file.seek(self._log_start)
            return file.read().decode(errors="replace")

    def _await(self, seconds: float, *events: str) -> bool:
        """Wait until this run has logged one of the events."""
        marks = [f'"event": "{event}"' for event in events]
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self._alive():
            text = self._logged()
            if any(mark in text for mark in marks):
                return True
            time.sleep(0.02)
        return False

    def _alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _answer(self, _mail: Mail) -> str:
        """The mail server's answer; with a trap set, the daemon dies while it waits for it."""
        process = self._process
        if not self._trap or process is None:  # the last words of a daemon that is dead already
            time.sleep(0.03)  # a mail server takes its time
            return "250 taken"
        trap, self._trap = self._trap, ""
        process.kill()
        process.wait()
        self._trapped.set()
        return "250 taken" if trap == "taken" else "451 not taken"

    def _set_trap(self, aim: str) -> None:
        """Before the start: a fast daemon has its mails out by the time it is seen to be ready."""
        self._trapped.clear()
        self._trap = aim if aim in _TRAPS else ""

    def _kill(self, aim: str) -> None:
        began = time.monotonic()
        if aim == "start-up":
            time.sleep(self._rng.uniform(0.1, self._start_seconds))
        elif aim in _TRAPS:
            self._trapped.wait(60)
            self._trap = ""
        elif not self._await(90, "ready"):
            self._violate("a restarted daemon did not become ready", self._logged()[-2000:])
        else:
            self._start_seconds = time.monotonic() - began
        if aim == "polling":
            self._await(8, "page_stored")
            time.sleep(self._rng.uniform(0, 0.1))
        elif aim == "anywhere":
            self._await(8, "page_stored", "announced", "delivered")
            time.sleep(self._rng.uniform(0, 4))
        process = self._process
        if process is None:
            return
        process.kill()
        status = process.wait()
        if status != -9:
            self._violate(f"the daemon ended by itself: {status}", self._logged()[-2000:])
        self.report.kills += 1
        self._note_phases(ready='"event": "ready"' in self._logged())

    def _note_phases(self, *, ready: bool) -> None:
        """What was under way, as the dead daemon left it."""
        phases = {"start-up"}
        if ready:
            moment = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
            with self._copy() as database:
                tries = dict(
                    database.execute(
                        "SELECT id, tries FROM mention WHERE assessed_by IS NULL AND tries > 0"
                    ).fetchall()
                )
                due = "SELECT 1 FROM source WHERE next_due_at <= ?"
                leased = (
                    "SELECT 1 FROM notification WHERE state = 'pending' AND attempts > 0"
                    " AND fault IS NULL"
                )
                phases = set()
                if database.execute(due, (moment,)).fetchone():
                    phases.add("polling")
                if database.execute(leased).fetchone():
                    phases.add("delivering")
            if any(count > self._tries.get(number, 0) for number, count in tries.items()):
                phases.add("assessing")
            self._tries = tries
        self.report.phases.update(phases or {"resting"})

    @contextmanager
    def _copy(self) -> Iterator[sqlite3.Connection]:
        """The database as it lies there: recovering it is the daemon's work, so look at a copy."""
        with tempfile.TemporaryDirectory(dir=self._folder) as scratch:
            for suffix in ("", "-wal"):
                path = self._database.with_name(self._database.name + suffix)
                if path.exists():
                    shutil.copy(path, scratch)
            with closing(sqlite3.connect(Path(scratch) / self._database.name)) as database:
                yield database

    def _finish(self) -> None:
        """Wait until everything is in, assessed and delivered; then ask the daemon to end."""
        deadline = time.monotonic() + 600
        while self._alive() and time.monotonic() < deadline:
            with closing(sqlite3.connect(self._database, timeout=10)) as database:
                stored, queued, waiting = database.execute(
                    "SELECT (SELECT count(*) FROM mention),"
                    " (SELECT count(*) FROM mention WHERE assessed_by IS NULL AND failed = 0),"
                    " (SELECT count(*) FROM notification WHERE state = 'pending')"
                ).fetchone()
            self._say(f"finishing: {stored} stored, {queued} to assess, {waiting} to deliver")
            if stored >= len(self._posts) and not queued and not waiting:
                break
            time.sleep(0.5)
        process = self._process
        if process is None:
            return
        process.terminate()
        try:
            status = process.wait(20)
        except subprocess.TimeoutExpired:
            self._violate("SIGTERM did not end the daemon within 20 s", self._logged()[-2000:])
            return
        if status != 0:
            self._violate(f"the last run ended with {status}", self._logged()[-2000:])

    # -- coming out ------------------------------------------------------------------------------

    def _violate(self, what: str, detail: object = "") -> None:
        self.report.violations.append(f"{what}: {detail}" if detail else what)

    def _verify(self) -> None:
        with closing(sqlite3.connect(self._database)) as database:
            self.report.violations += verify_store(database, self.expected)
            self.report.violations += verify_deliveries(
                database, self._mail.mails, self._hook.posts
            )
            self.report.posts = database.execute("SELECT count(*) FROM mention").fetchone()[0]
            self.report.alerts = database.execute("SELECT count(*) FROM notification").fetchone()[0]
        keys = Counter(mail.key for mail in self._mail.mails)
        self.report.repeats = len(self._mail.mails) - len(keys)


_TRAPS = frozenset({"taken", "not taken"})
_AIMS = ("start-up", "anywhere", "polling", "taken", "not taken")
_WEIGHTS = (10, 50, 15, 15, 10)

_MUST_BE_EMPTY = {
    "the file is damaged": "SELECT * FROM pragma_integrity_check WHERE integrity_check <> 'ok'",
    "a reference leads nowhere": "SELECT * FROM pragma_foreign_key_check",
    "a mention was set aside as failed": "SELECT id, post_id FROM mention WHERE failed <> 0",
    "a mention is not assessed exactly once": """
        SELECT mention.id, count(assessment.id) FROM mention
        LEFT JOIN assessment ON mention_id = mention.id AND version = assessed_by
        GROUP BY mention.id HAVING count(assessment.id) <> 1""",
    "an assessment too many": """
        SELECT mention_id, count(*) FROM assessment GROUP BY mention_id HAVING count(*) <> 1""",
    "a signal without an incident": """
        SELECT signal.key FROM signal LEFT JOIN incident ON incident.id = incident_id
        WHERE incident.id IS NULL""",
    "an incident without a signal": """
        SELECT id FROM incident WHERE id NOT IN (SELECT incident_id FROM signal)""",
    "a leak without its signal": """
        SELECT mention.post_id FROM mention JOIN assessment ON mention_id = mention.id
        WHERE leak_band = 'escalate' AND 'leak:' || brand || ':' || platform || ':' || post_id
        NOT IN (SELECT key FROM signal)
        -- A threat without evidence of a leak is a threat only.
        AND (abuse <> 'threat' OR EXISTS (
            SELECT 1 FROM json_each(assessment.findings)
            WHERE json_extract(json_each.value, '$.confidence') <> 'low'))""",
    "a threat without its signal": """
        SELECT mention.post_id FROM mention JOIN assessment ON mention_id = mention.id
        WHERE abuse = 'threat' AND 'threat:' || brand || ':' || platform || ':' || post_id
        NOT IN (SELECT key FROM signal)""",
    "an incident nobody was told of": """
        SELECT id FROM incident WHERE id NOT IN
        (SELECT incident_id FROM notification WHERE event = 'opened')""",
    "a decision to send without its notification, or the other way": """
        SELECT incident_id, event, receiver, channel, sum(step) FROM (
            SELECT incident_id, event, receiver, channel, 1 AS step FROM decision WHERE send
            UNION ALL SELECT incident_id, event, receiver, channel, -1 FROM notification)
        GROUP BY 1, 2, 3, 4 HAVING sum(step) <> 0""",
    "a notification that was not delivered": """
        SELECT key, state, fault, error FROM notification WHERE state <> 'delivered'""",
}


def verify_store(database: sqlite3.Connection, expected: Sequence[tuple[str, str]]) -> list[str]:
    """What is wrong in a database into which the posts of ``expected`` went."""
    found = []
    for what, query in _MUST_BE_EMPTY.items():
        rows = database.execute(query).fetchall()
        if rows:
            found.append(f"{what}: {len(rows)}, such as {rows[:3]}")
    stored = Counter(database.execute("SELECT platform, post_id FROM mention").fetchall())
    wanted = set(expected)
    if missing := wanted - set(stored):
        found.append(f"posts that are not stored: {len(missing)}, such as {sorted(missing)[:3]}")
    if strange := set(stored) - wanted:
        found.append(f"posts nobody sent: {len(strange)}, such as {sorted(strange)[:3]}")
    if twice := [key for key, count in stored.items() if count > 1]:
        found.append(f"posts stored twice: {len(twice)}, such as {twice[:3]}")
    counted = dict(
        _counts(database, "SELECT brand, bucket, source, sentiment, count FROM bucket_count")
    )
    real: Counter[Any] = Counter()
    for brand, moment, source, sentiment in database.execute(
        "SELECT brand, published_at, source, sentiment FROM mention"
        " JOIN assessment ON mention_id = mention.id AND version = assessed_by"
    ):
        real[brand, _bucket(moment), source, sentiment] += 1
    if counted != dict(real):
        wrong = {key for key in counted | real if counted.get(key) != real.get(key)}
        found.append(f"counts that differ from the mentions: {len(wrong)}, such as {min(wrong)}")
    return found


def _counts(database: sqlite3.Connection, query: str) -> Iterator[tuple[Any, int]]:
    for brand, bucket, source, sentiment, count in database.execute(query):
        if count:
            yield (brand, _bucket(bucket), source, sentiment), count


def _bucket(moment: str) -> int:
    seconds = int(datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp())
    return seconds // BUCKET_SECONDS * BUCKET_SECONDS


def verify_deliveries(
    database: sqlite3.Connection, mails: Sequence[Mail], posts: Sequence[str]
) -> list[str]:
    """What is wrong between the outbox and what arrived."""
    found = []
    rows = database.execute(
        "SELECT key, receiver, channel, aside FROM notification ORDER BY id"
    ).fetchall()
    by_mail = [row for row in rows if row[2] == "mail"]
    arrived: dict[str, set[str]] = {}
    for mail in mails:
        arrived.setdefault(mail.key, set()).add(mail.message_id)
    keys = [key for key, *_ in by_mail]
    if missing := [key for key in keys if key not in arrived]:
        found.append(f"notifications whose mail never came: {missing[:3]}")
    if strange := set(arrived) - set(keys):
        found.append(f"mails without a notification: {sorted(strange)[:3]}")
    if changed := [key for key, ids in arrived.items() if len(ids) > 1]:
        found.append(f"repeats with another Message-ID: {changed[:3]}")
    if len({next(iter(ids)) for ids in arrived.values()}) != len(arrived):
        found.append("two notifications share a Message-ID")
    if unposted := [
        key for key, _, channel, _ in rows if channel == "chat" and not any(key in x for x in posts)
    ]:
        found.append(f"notifications whose webhook call never came: {unposted[:3]}")
    for receiver in {receiver for _, receiver, *_ in by_mail}:
        # What was begun and not ended over and over steps aside, and may be overtaken.
        planned = [key for key, whose, _, aside in by_mail if whose == receiver and not aside]
        real = [key for key in dict.fromkeys(mail.key for mail in mails) if key in set(planned)]
        if real != [key for key in planned if key in arrived]:
            found.append(f"mails to {receiver} came in another order than they were meant to")
    return found


def main() -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--posts", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=None, help="default: another one each time")
    parser.add_argument("--keep", type=Path, help="folder to leave everything in")
    given = parser.parse_args()
    seed = time.time_ns() % 10**6 if given.seed is None else given.seed
    sys.stdout.write(f"seed {seed}\n")

    def say(text: str) -> None:
        sys.stderr.write(f"\r\x1b[K{text}" if sys.stderr.isatty() else f"{text}\n")
        sys.stderr.flush()

    with tempfile.TemporaryDirectory() as scratch:
        folder = given.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        ordeal = Ordeal(folder, kills=given.kills, posts=given.posts, seed=seed, say=say)
        report = ordeal.run()
    say("")
    for violation in report.violations:
        sys.stdout.write(f"VIOLATION {violation}\n")
    sys.stdout.write(f"{report.line()}\n")
    return 1 if report.violations else 0


if __name__ == "__main__":
    raise SystemExit(main())
