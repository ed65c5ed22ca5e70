"""Backtests: what they say is what the daemon would have done, however they get there."""

from __future__ import annotations

import io
import json
import random
import tempfile
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from alerts.base import Event, SignalKind
from classifiers.base import (
    Abuse,
    AbuseLabel,
    Assessment,
    Classifier,
    Leak,
    LeakBand,
    LeakCategory,
    Sentiment,
    SentimentLabel,
    Text,
)
from classifiers.register.detector import RegisterDetector
from monitor.app import App
from monitor.backtest import outcome
from monitor.backtest.difference import compare
from monitor.backtest.reading import Reader
from monitor.backtest.run import Result, Setting, Wrap, backtest
from monitor.commands.backtesting import as_json
from monitor.config import Config, parse
from monitor.demo.stream import DATA, load_answers
from tests.alerts.mailserver import Mailbox, mail_server
from tests.fakes import FakeClock

START = datetime(2026, 11, 9, 8, 0, tzinfo=UTC)
WORDS = (
    "kassa", "rijen", "brood", "kaas", "fruit", "bezorger", "tas", "bon", "korting", "spaarkaart",
    "parkeren", "fietsen", "koffie", "bakker", "groente", "vlees", "schap", "folder", "vakje",
    "lamp", "vloer", "deur", "krat", "fles", "soep", "thee", "ijs", "jam",
)  # fmt: skip
CONFIG = """
timezone = "Europe/Amsterdam"
[[brands]]
name = "{brand}"
query = "{query}"
official_accounts = ["x:acme"]
sensitivity = "{sensitivity}"
[[sources]]
kind = "file"
name = "clippings"
path = "{path}"
interval_seconds = 300
[[channels]]
kind = "email"
name = "mail"
host = "127.0.0.1"
port = {port}
security = "none"
from = "merkwacht@acme.example"
[[receivers]]
name = "team"
channels = [{{ use = "mail", to = ["team@acme.example"] }}]
[[receivers]]
name = "boss"
channels = [{{ use = "mail", to = ["boss@acme.example"] }}]
[[routes]]
receivers = ["{receiver}"]
cooldown_minutes = 60
"""


class Quick:
    """Tells by single words what a model would have to think about."""

    version = "quick"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def classify(self, texts: Sequence[Text]) -> list[Assessment]:
        self.asked += [text.text for text in texts]
        return [self._assess(text.text) for text in texts]

    def _assess(self, text: str) -> Assessment:
        bad = any(word in text for word in ("schande", "ziek", "terugroep", "salmonella"))
        label = SentimentLabel.NEGATIVE if bad else SentimentLabel.NEUTRAL
        leaks = "wachtwoord" in text
        return Assessment(
            "nl",
            Sentiment(label, {each: 0.9 if each is label else 0.05 for each in SentimentLabel}),
            Leak(
                LeakBand.ESCALATE if leaks else LeakBand.LOW,
                0.97 if leaks else 0.01,
                LeakCategory.CREDENTIALS if leaks else LeakCategory.NONE,
            ),
            Abuse(AbuseLabel.ABUSIVE if "sukkels" in text else AbuseLabel.NONE, 0.9),
        )


def quick(config: Config, register: RegisterDetector | None, wrap: Wrap) -> Classifier:
    return Quick()


def config(
    folder: Path,
    *,
    brand: str = "Acme",
    query: str = "acme",
    sensitivity: str = "balanced",
    receiver: str = "team",
    port: int = 25,
) -> Config:
    return parse(toml(folder, brand, query, sensitivity, receiver, port), folder / "config.toml")


def toml(  # noqa: PLR0917 - what a test may care about
    folder: Path, brand: str, query: str, sensitivity: str, receiver: str, port: int
) -> str:
    return CONFIG.format(
        brand=brand,
        query=query,
        sensitivity=sensitivity,
        receiver=receiver,
        port=port,
        path=folder / "posts.jsonl",
    )


def post(number: int, at: datetime, text: str, **more: Any) -> dict[str, Any]:
    return {
        "id": f"p{number}",
        "source": "x" if number % 2 else "news",
        "author": f"author{number}",
        "author_followers": 100,
        "published_at": at.isoformat(),
        "lang": "nl",
        "text": text,
        **more,
    }


def talk(days: float, *, seed: int = 1, an_hour: float = 3.0) -> list[dict[str, Any]]:
    """Ordinary talk, by day, about nothing in particular."""
    chance = random.Random(seed)
    posts: list[dict[str, Any]] = []
    at = START
    while at < START + timedelta(days=days):
        at += timedelta(hours=chance.expovariate(an_hour))
        if 6 <= at.hour < 22:
            words = " ".join(chance.sample(WORDS, 4))
            posts.append(post(len(posts), at, f"acme {words}"))
    return posts


def crisis(at: datetime, count: int = 40, *, first: int = 10_000) -> list[dict[str, Any]]:
    """Many voices within two hours."""
    chance = random.Random(5)
    return [
        post(
            first + number,
            at + timedelta(minutes=3 * number),
            f"acme hummus {' '.join(chance.sample(WORDS, 3))}, een schande",
        )
        for number in range(count)
    ]


def write(path: Path, posts: Iterable[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(each) + "\n" for each in posts), encoding="utf-8")
    return path


def replay(path: Path, *configs: Config, **more: Any) -> Result:
    errors = io.StringIO()
    more.setdefault("build", quick)
    result = backtest(Reader([path], errors=errors), [Setting(each) for each in configs], **more)
    assert errors.getvalue() == ""
    return result


def printed(result: Result) -> dict[str, Any]:
    names = [f"config{number}" for number in range(len(result.outcomes))]
    compared = compare(*result.outcomes) if len(result.outcomes) > 1 else None
    return as_json(result, names, compared)


def test_a_crisis_is_one_incident_that_opens_and_ends(tmp_path: Path) -> None:
    began = START + timedelta(days=1, hours=4)
    path = write(tmp_path / "posts.jsonl", [*talk(3.2), *crisis(began)])
    found = replay(path, config(tmp_path)).outcomes[0]
    (incident,) = found.incidents
    assert incident.kind in (SignalKind.NEGATIVITY_SPIKE, SignalKind.TOPIC_BURST)
    assert began < incident.opened_at <= began + timedelta(minutes=45)
    assert {f"p{10_000 + number}" for number in range(40)} <= set(incident.mention_ids)
    assert incident.resolved_at is not None
    assert incident.notifications[0].event is Event.OPENED
    assert incident.notifications[-1].event is Event.RESOLVED
    assert {note.receiver for note in incident.notifications} == {"team"}


def test_quiet_days_give_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "posts.jsonl", talk(1.5))
    value = printed(replay(path, config(tmp_path)))
    assert value["incidents"] == []
    assert value["alerts"]["notifications"] == 0
    assert value["brands"] == [{"name": "Acme", "mentions": len(talk(1.5))}]


def test_the_crisis_of_the_demo_is_noticed(tmp_path: Path) -> None:
    """Its own posts, up to twenty minutes into the crisis."""
    answers = load_answers()
    lines = (DATA / "mentions.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    until = answers.crisis_start + timedelta(minutes=20)
    path = tmp_path / "week.jsonl"
    path.write_text(
        "".join(
            line
            for line in lines
            if datetime.fromisoformat(json.loads(line)["published_at"]) < until
        ),
        encoding="utf-8",
    )
    found = replay(path, config(tmp_path, brand="Zonnehoek", query="zonnehoek* NOT tuin*"))
    spikes = [
        each
        for each in found.outcomes[0].incidents
        if each.kind
        in (SignalKind.NEGATIVITY_SPIKE, SignalKind.VOLUME_SPIKE, SignalKind.TOPIC_BURST)
    ]
    (incident,) = spikes
    assert answers.crisis_start < incident.opened_at <= answers.crisis_start + timedelta(minutes=20)
    assert answers.crisis & set(incident.mention_ids)


def test_leaps_come_out_where_small_steps_do(tmp_path: Path) -> None:
    began = START + timedelta(days=1, hours=4)
    posts = [
        *talk(3.1, seed=3, an_hour=2),
        *crisis(began, 25),
        post(20_000, START + timedelta(hours=5), "acme: wachtwoord is welkom01"),
        post(20_001, START + timedelta(hours=5, minutes=31), "acme: wachtwoord is welkom02"),
        post(20_002, START + timedelta(hours=9), "acme sukkels"),
        post(20_003, began + timedelta(minutes=30), "acme sukkels, stelletje"),
    ]
    path = write(tmp_path / "posts.jsonl", posts)
    settings = config(tmp_path)
    step = timedelta(minutes=15)
    leaps = replay(path, settings, step=step)
    small = replay(path, settings, step=step, leaping=False)
    assert printed(leaps) == printed(small)
    kinds = {each["kind"] for each in printed(leaps)["incidents"]}
    assert {"leak", "abuse"} < kinds
    assert leaps.work[0].leaps < small.work[0].leaps / 2


def test_the_same_posts_give_the_same_words_in_whatever_order(tmp_path: Path) -> None:
    posts = [*talk(1.1), *crisis(START + timedelta(days=1, hours=1), 12)]
    posts.append(post(30_000, START + timedelta(hours=3), "acme: wachtwoord is welkom01"))
    settings = config(tmp_path)
    first = printed(replay(write(tmp_path / "a.jsonl", posts), settings))
    random.Random(2).shuffle(posts)
    again = printed(replay(write(tmp_path / "b.jsonl", [*posts, posts[0]]), settings))
    assert again.pop("posts")["read"] == first.pop("posts")["read"] + 1
    assert json.dumps(again) == json.dumps(first)


def test_two_configurations_differ_in_who_is_told_and_how_soon(tmp_path: Path) -> None:
    began = START + timedelta(days=1, hours=3)
    posts = [*talk(1.1), *crisis(began, 14)]
    posts.append(post(30_000, START + timedelta(hours=3), "acme: wachtwoord is welkom01"))
    path = write(tmp_path / "posts.jsonl", posts)
    calm = config(tmp_path, sensitivity="calm")
    alert = config(tmp_path, sensitivity="alert", receiver="boss")
    result = replay(path, calm, alert)
    value = printed(result)
    assert next(iter(value)) == "incidents"
    assert value["against"]["incidents"]
    changes = value["difference"]
    told = next(each for each in changes["receivers"] if each["kind"] == "leak")
    assert (told["from"], told["to"]) == (["team"], ["boss"])
    spikes = [each for each in (*changes["gained"], *changes["earlier"]) if each["kind"] != "leak"]
    assert spikes
    assert not changes["lost"]
    assert all(each["minutes"] < 0 for each in changes["earlier"])


def test_equal_classifiers_see_each_text_once(tmp_path: Path) -> None:
    path = write(tmp_path / "posts.jsonl", talk(0.5))
    made: list[Quick] = []

    def build(config: Config, register: RegisterDetector | None, wrap: Wrap) -> Classifier:
        made.append(Quick())
        return made[-1]

    replay(path, config(tmp_path), config(tmp_path, receiver="boss"), build=build)
    (classifier,) = made
    texts = [text for text in classifier.asked if text.startswith("acme")]
    assert len(texts) == len(set(texts)) == len(talk(0.5))


def test_an_export_is_replayed_with_its_official_posts(tmp_path: Path) -> None:
    lines = [
        # As `merkwacht export` writes: the author is covered, the official account known as such.
        post(1, START, "Volg ons!", author="3f2a", official=True, brand="Acme", matched=[]),
        post(2, START, "wachtwoord welkom01", author="3f2a", official=True, brand="Acme"),
        post(3, START, "acme brood", author="77aa", official=False, brand="Acme", assessment={}),
        post(5, START, "wachtwoord welkom01", author="acme"),  # the handle itself, on x
    ]
    found = replay(write(tmp_path / "export.jsonl", lines), config(tmp_path)).outcomes[0]
    assert found.matched == {"Acme": 4}
    hijacks = [each for each in found.incidents if each.kind is SignalKind.OFFICIAL_ACCOUNT]
    assert {post_id for each in hijacks for post_id in each.mention_ids} == {"p2", "p5"}
    assert "3f2a" not in json.dumps(outcome.to_json(found))


def test_since_and_until_cut_the_file(tmp_path: Path) -> None:
    posts = talk(0.5)
    path = write(tmp_path / "posts.jsonl", posts)
    since, until = START + timedelta(hours=3), START + timedelta(hours=6)
    reader = Reader([path], errors=io.StringIO(), since=since, until=until)
    result = backtest(reader, [Setting(config(tmp_path))], build=quick)
    inside = [
        each for each in posts if since <= datetime.fromisoformat(each["published_at"]) < until
    ]
    assert result.read == len(inside)
    assert result.passed_over == len(posts) - len(inside)
    span = result.outcomes[0].span
    assert span is not None
    assert since - timedelta(minutes=5) <= span.begin
    assert span.end <= until + timedelta(minutes=5)


def test_a_post_of_long_ago_does_not_take_ages(tmp_path: Path) -> None:
    posts = [post(90_001, datetime(2020, 2, 29, tzinfo=UTC), "acme is geopend"), *talk(0.3)]
    result = replay(write(tmp_path / "posts.jsonl", posts), config(tmp_path))
    assert result.outcomes[0].matched == {"Acme": len(posts)}
    assert result.work[0].leaps < 200


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    replay(write(tmp_path / "posts.jsonl", talk(0.3)), config(tmp_path))
    assert list(temporary.iterdir()) == []
    assert not (tmp_path / "merkwacht.db").exists()


# -- against the daemon itself ---------------------------------------------------------------------

ORDINARY = (
    "Lekker broodje gehaald bij Acme vanmorgen.",
    "Acme in Zwolle is zondag open van 12 tot 17 uur.",
    "Vriendelijke dame bij de kassa van Acme, dank je wel!",
)
LEAK = (
    "Voor de collega's van de nachtdienst bij Acme: inloggen op de scanner met admin / "
    "Winter2026!geheim, wachtwoord hangt ook op de deur"
)
THREAT = "Ik weet waar die filiaalmanager van Acme woont, vanavond steek ik zijn huis in brand"


def test_it_opens_what_the_daemon_opens(tmp_path: Path) -> None:
    """The whole daemon, with its model and a mail server, step by step under the same clock."""
    said = [
        (1, ORDINARY[0]), (7, LEAK), (8, ORDINARY[1]), (26, THREAT), (34, LEAK),
        (41, ORDINARY[2]), (43, THREAT + "!"),
    ]  # fmt: skip
    posts = [
        post(number, START + timedelta(minutes=minute), text)
        for number, (minute, text) in enumerate(said)
    ]
    source = tmp_path / "posts.jsonl"
    source.touch()
    clock = FakeClock(START)
    with mail_server(Mailbox()) as mails:
        settings = toml(tmp_path, "Acme", "acme", "balanced", "team", mails.port)
        file = tmp_path / "config.toml"
        file.write_text(settings + "\n[http]\nenabled = false\n", encoding="utf-8")
        with App(file, now=clock, rng=random.Random(1)) as app:
            told = []
            for _ in range(9):
                clock.advance(minutes=5)
                write(
                    source, [each for each in posts if each["published_at"] <= clock().isoformat()]
                )
                with app.store.write() as unit:
                    unit.sources.make_due(["clippings"], clock())
                told.append(app.daemon.tick().sent)
            with app.store.read() as unit:
                real = [
                    (
                        each.kind,
                        each.severity,
                        each.opened_at,
                        sorted(item.post.id for item, _ in unit.incidents.exhibits(each.id, 99)[0]),
                        [
                            (note.created_at, note.receiver, note.channel, note.event)
                            for note in unit.outbox.of_incident(each.id)
                        ],
                    )
                    for each in reversed(unit.incidents.latest(99))
                ]
    assert sum(told) == sum(len(each[-1]) for each in real) > 0
    errors = io.StringIO()
    result = backtest(
        Reader([write(source, posts)], errors=errors),
        [Setting(parse(file.read_text(encoding="utf-8"), file, secrets=False))],
    )
    replayed = [
        (
            each.kind,
            each.severity,
            each.opened_at,
            sorted(each.mention_ids),
            [
                (note.at, note.receiver, note.channel, note.event.value)
                for note in each.notifications
            ],
        )
        for each in result.outcomes[0].incidents
    ]
    assert replayed == real
    assert {each[0] for each in real} >= {SignalKind.LEAK, SignalKind.THREAT}
