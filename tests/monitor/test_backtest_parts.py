"""The parts of a backtest: reading, sorting, comparing, drawing, and the command around them."""

from __future__ import annotations

import io
import itertools
import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from alerts.base import Event, Message, Sample, Severity, SignalKind
from classifiers.base import SentimentLabel
from connectors.base import Post
from monitor.backtest import drawing
from monitor.backtest.difference import compare
from monitor.backtest.difference import to_json as difference_json
from monitor.backtest.outcome import Notified, Outcome, Raised, Span
from monitor.backtest.page import drawn, page, wording
from monitor.backtest.picture import draw
from monitor.backtest.reading import MAX_LINE_BYTES, Reader
from monitor.backtest.run import Result
from monitor.backtest.spool import Spool
from monitor.backtest.table import Page
from monitor.backtest.timeline import panels
from monitor.config import load
from monitor.store.mentions import NewMention
from tests.monitor.commandline import merkwacht
from tests.monitor.test_cli import VALID

START = datetime(2026, 11, 9, 8, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
HOSTILE = "<script>alert(1)</script> & \"'</title>[bold]"


# -- reading and sorting ---------------------------------------------------------------------------


def line(number: int, moment: str = "2026-11-09T09:00:00+01:00", text: str = "acme") -> str:
    return json.dumps({"id": f"p{number}", "source": "x", "text": text, "published_at": moment})


def test_each_bad_line_is_named_and_the_rest_read(tmp_path: Path) -> None:
    path = tmp_path / "posts.jsonl"
    lines = [
        line(1),
        "",
        line(2, "2026-11-09T09:00:00"),
        "{half",
        line(3, "0001-01-01T00:00:00+00:00"),
        line(4, text="x" * MAX_LINE_BYTES),
        line(5, "2026-11-09T08:00:00+01:00"),
    ]
    path.write_text("\ufeff" + "\n".join(lines), encoding="utf-8")
    errors = io.StringIO()
    reader = Reader([path], errors=errors)
    assert [read.post.id for read in reader] == ["p1", "p5"]
    words = [json.loads(word) for word in errors.getvalue().splitlines()]
    assert [word["line"] for word in words] == [3, 4, 5, 6]
    assert "timezone" in words[0]["error"]
    assert (reader.read, reader.rejected) == (2, 4)
    assert (reader.first, reader.last) == (START - HOUR, START)


def test_with_several_files_the_bad_line_names_its_file(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.jsonl", tmp_path / "bad.jsonl"
    good.write_text(line(1), encoding="utf-8")
    bad.write_text("no", encoding="utf-8")
    errors = io.StringIO()
    assert len(list(Reader([good, bad], errors=errors))) == 1
    assert json.loads(errors.getvalue())["file"] == str(bad)


@given(
    st.lists(
        st.tuples(
            st.datetimes(
                datetime(1990, 1, 1),  # noqa: DTZ001 - made aware below
                datetime(2100, 12, 31),  # noqa: DTZ001 - same
                timezones=st.just(UTC),
            ),
            st.integers(0, 30),
            st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
        ),
        max_size=40,
    )
)
@settings(max_examples=15, deadline=None)
def test_a_spool_gives_back_what_it_got_once_and_in_order(
    tmp_path_factory: pytest.TempPathFactory, posts: list[tuple[datetime, int, str]]
) -> None:
    mentions = [
        NewMention("Acme", "x", Post("x", str(number), text, at), (text,), text)
        for at, number, text in posts
    ]
    with Spool(tmp_path_factory.mktemp("spool") / "spool.db") as spool:
        for mention in mentions:
            spool.add(0, mention)
            spool.add(1, replace(mention, brand="Other"))
        spool.sort()
        first = {mention.post.id: mention for mention in reversed(mentions)}
        assert spool.counts(0) == ({"Acme": len(first)} if first else {})
        found = list(spool.mentions(0))
    assert sorted(found, key=lambda each: each.post.published_at) == found
    assert {each.post.id: each for each in found} == first
    assert len(found) == len(first)


# -- comparing -------------------------------------------------------------------------------------


def raised(
    number: int,
    *posts: str,
    at: datetime = START,
    kind: SignalKind = SignalKind.LEAK,
    severity: Severity = Severity.HIGH,
    told: tuple[str, ...] = ("team",),
    title: str = "Acme: iets",
) -> Raised:
    message = Message(
        incident_id=number,
        brand="Acme",
        kind=kind,
        severity=severity,
        event=Event.OPENED,
        language="nl",
        title=title,
        summary=f"Er is {title}.",
        since=at,
        timezone="Europe/Amsterdam",
        samples=(Sample(title, "x", "auteur", at),),
    )
    return Raised(
        number=number,
        kind=kind,
        severity=severity,
        brand="Acme",
        subject="",
        opened_at=at,
        last_signal_at=at + HOUR,
        resolved_at=None,
        mention_ids=posts,
        notifications=tuple(Notified(at, name, "mail", Event.OPENED) for name in told),
        message=message,
    )


def came(*incidents: Raised, days: float = 3) -> Outcome:
    counts = {START + number * HOUR: {SentimentLabel.NEGATIVE: number % 5} for number in range(50)}
    span = Span(START, START + timedelta(days=days))
    return Outcome(span, incidents, {"Acme": 100}, {"Acme": counts})


def test_alerts_are_paired_by_what_they_are_about() -> None:
    before = came(
        raised(1, "a"),
        raised(2, "b", told=()),
        raised(3, "c", "d", kind=SignalKind.VOLUME_SPIKE, at=START + 5 * HOUR),
        raised(4, "x", severity=Severity.MEDIUM),
    )
    after = came(
        raised(1, "a", told=("boss", "team")),
        raised(2, "b"),
        raised(3, "e", kind=SignalKind.NEGATIVITY_SPIKE, at=START + 4 * HOUR),
        raised(4, "x", severity=Severity.CRITICAL, at=START + HOUR),
        raised(5, "z", kind=SignalKind.THREAT),
    )
    found = compare(before, after)
    assert found
    assert [each.number for each in found.gained] == [2, 5]
    assert [each.number for each in found.lost] == []
    assert [(each.before.number, each.later_by) for each in found.earlier] == [(3, -HOUR)]
    assert [each.before.number for each in found.later] == [4]
    assert [each.before.number for each in found.severity] == [4]
    assert [each.before.number for each in found.receivers] == [1]
    assert found.unchanged == 0
    back = compare(after, before)
    assert [each.number for each in back.lost] == [2, 5]
    assert difference_json(found)["later"][0]["minutes"] == 60


_incidents = st.lists(
    st.tuples(
        st.sets(st.sampled_from("abcdef"), max_size=4),
        st.integers(0, 72),
        st.sampled_from([SignalKind.LEAK, SignalKind.VOLUME_SPIKE, SignalKind.TOPIC_BURST]),
        st.sampled_from(list(Severity)),
        st.sampled_from([(), ("team",), ("team", "boss")]),
    ),
    max_size=8,
).map(
    lambda rows: came(
        *(
            raised(
                number,
                *sorted(posts),
                at=START + hour * HOUR,
                kind=kind,
                severity=severity,
                told=told,
            )
            for number, (posts, hour, kind, severity, told) in enumerate(rows, start=1)
        )
    )
)


@given(_incidents, _incidents)
@settings(max_examples=40, deadline=None)
def test_every_alert_is_in_exactly_one_place(before: Outcome, after: Outcome) -> None:
    found = compare(before, after)
    left = [*found.lost, *(pair.before for pair in found.pairs)]
    right = [*found.gained, *(pair.after for pair in found.pairs)]
    assert sorted(each.number for each in left) == [each.number for each in before.told]
    assert sorted(each.number for each in right) == [each.number for each in after.told]
    mirrored = compare(after, before)
    assert len(mirrored.gained) == len(found.lost)
    assert bool(mirrored) == bool(found)


@given(_incidents)
@settings(max_examples=25, deadline=None)
def test_a_configuration_does_not_differ_from_itself(one: Outcome) -> None:
    # Two leaks about no post at all cannot be told to be the same.
    known = came(*(each for each in one.incidents if each.mention_ids or each.kind.value != "leak"))
    found = compare(known, known)
    assert not found.gained
    assert not found.lost


# -- drawing ---------------------------------------------------------------------------------------


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "onload")]


def result(*outcomes: Outcome) -> Result:
    return Result(list(outcomes), read=120, rejected=0, passed_over=0, seconds=2.0)


def test_the_page_is_whole_in_itself_and_takes_no_orders_from_posts() -> None:
    config = load(VALID, secrets=False)
    before = came(
        raised(1, "a", title=HOSTILE),
        raised(2, "b", kind=SignalKind.VOLUME_SPIKE, at=START + 30 * HOUR),
        *(raised(number, f"c{number}", at=START + 40 * HOUR) for number in range(3, 12)),
    )
    after = came(raised(1, "a", at=START + HOUR, title=HOSTILE))
    names = ["now.toml", "<b>other.toml"]
    text = page(
        panels([config, config], names, [before, after]),
        result(before, after),
        compare(before, after),
    )
    parsed = Tags()
    parsed.feed(text)
    assert "script" not in parsed.tags
    assert "b>other" not in "".join(parsed.tags)
    assert parsed.tags.count("svg") == 2
    assert parsed.links == []
    assert "http" not in re.sub(r"http-equiv", "", text)
    assert "&lt;script&gt;" in text
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


def test_the_picture_is_a_png_of_every_panel() -> None:
    pytest.importorskip("matplotlib")
    config = load(VALID, secrets=False)
    some = came(raised(1, "a", title=HOSTILE), *(raised(n, f"p{n}") for n in range(2, 9)))
    one = draw(panels([config], ["a"], [some]))
    two = draw(panels([config, config], ["a", "b $x^"], [some, some]))
    heights = [int.from_bytes(each[20:24]) for each in (one, two)]
    assert one.startswith(b"\x89PNG")
    assert heights[1] > 1.5 * heights[0]


@given(
    st.floats(0.01, 800),
    st.datetimes(
        datetime(2000, 1, 1),  # noqa: DTZ001 - made aware
        datetime(2090, 1, 1),  # noqa: DTZ001 - same
        timezones=st.just(UTC),
    ),
)
@settings(max_examples=8, deadline=None)
def test_axes_have_room_for_their_words_at_every_length(days: float, begin: datetime) -> None:
    config = load(VALID, secrets=False)
    span = Span(begin, begin + timedelta(days=days))
    (panel,) = panels([config], ["a"], [Outcome(span, (), {"Acme": 1}, {"Acme": {begin: {}}})])
    (figure,) = drawn([panel], wording("en"))
    places = [place for place, _ in figure.days]
    assert places == sorted(places)
    assert len(places) <= 14
    assert all(right - left > 60 for left, right in itertools.pairwise(places))
    assert panel.begin <= span.begin
    assert panel.begin + len(panel.bars) * panel.width >= span.end


@given(st.floats(0.5, 1e6))
@settings(deadline=None)
def test_the_numbers_of_an_axis_are_few_whole_and_from_nothing(top: float) -> None:
    values = drawing.numbers(top)
    assert values[0] == 0
    assert values[-1] <= top
    assert len(values) <= 6
    assert all(value == int(value) for value in values)


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_table_keeps_to_its_width_and_takes_no_markup(width: int) -> None:
    sink = io.StringIO()
    before, after = came(raised(1, "a", title=HOSTILE)), came(raised(1, "a", told=("boss",)))
    shown = Page(Console(file=sink, width=width), "Europe/Amsterdam")
    shown.show(result(before, after), ["a.toml", "b.toml"], compare(before, after))
    text = sink.getvalue()
    assert max(len(each) for each in text.splitlines()) <= width
    assert "[bold]" in text.replace("\n", "")
    assert "team" in text
    assert "boss" in text
    assert "60 a second" in text.replace("\n", " ")


# -- the command -----------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A file of mentions with one bad line, and a configuration."""
    posts = tmp_path / "posts.jsonl"
    leak = "collega's van Acme: inloggen met admin / Winter2026!geheim, wachtwoord op de deur"
    lines = [line(1, text=leak), line(2, "2026-11-09T09:07:00", "acme"), line(3, text="nothing")]
    posts.write_text("\n".join(lines), encoding="utf-8")
    config = tmp_path / "config.toml"
    second = '\n[[brands]]\nname = "Nobody"\nquery = "nobodysaysthis"\n'
    config.write_text(VALID.read_text(encoding="utf-8") + second, encoding="utf-8")
    return posts, config


def test_the_command_prints_json_and_names_what_was_wrong(files: tuple[Path, Path]) -> None:
    posts, config = files
    page_file = posts.with_name("timeline.html")
    done = merkwacht(
        "backtest", str(posts), "--config", str(config), "--format", "json",
        "--timeline", str(page_file),
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    value: dict[str, Any] = json.loads(done.stdout)
    keys = {"kind", "severity", "opened_at", "mention_ids", "notifications"}
    assert all(keys <= each.keys() for each in value["incidents"])
    assert value["posts"] == {"read": 2, "rejected": 1, "passed_over": 0}
    assert json.loads(done.stderr.splitlines()[0])["line"] == 2
    assert "brand Nobody: none of the 2 posts matches" in done.stderr
    assert "1 lines could not be read" in done.stderr
    assert "Traceback" not in done.stderr
    assert page_file.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert [each.name for each in posts.parent.iterdir() if "merkwacht" in each.name] == []


def test_a_difference_may_fail_a_build(files: tuple[Path, Path]) -> None:
    posts, config = files
    posts.write_text(posts.read_text(encoding="utf-8").splitlines()[0], encoding="utf-8")
    blind = posts.with_name("blind.toml")
    text = config.read_text(encoding="utf-8")
    blind.write_text(re.sub(r"(?m)^query = .*", 'query = "somethingelse"', text), encoding="utf-8")
    asked = ["backtest", str(posts), "--config", str(config), "--against", str(blind)]
    done = merkwacht(*asked, "--fail-on-difference")
    assert done.returncode == 1, done.stderr
    assert "lost" in done.stdout
    assert "1 post in" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nothing.jsonl"], "no such file"),
        (["{posts}", "--step", "soon"], "--step: soon is not a duration"),
        (["{posts}", "--timeline", "out.svg"], "ends in .html or .png"),
        (["{posts}", "--fail-on-difference"], "--against"),
        (["{posts}"], "merkwacht init"),
    ],
)
def test_wrong_usage_says_what_is_wrong(tmp_path: Path, arguments: list[str], says: str) -> None:
    (tmp_path / "posts.jsonl").write_text(line(1), encoding="utf-8")
    given = [each.format(posts="posts.jsonl") for each in arguments]
    done = merkwacht("backtest", *given, folder=tmp_path)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
