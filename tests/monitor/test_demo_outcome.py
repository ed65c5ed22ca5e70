"""What the demo leaves behind: the folder, the page, the tables and the comparison."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from rich.console import Console

from alerts.base import Severity, SignalKind
from monitor.demo.board import Board, Counters, escalation_table, verdict_table, week_strip
from monitor.demo.folder import MARKER, DemoError, Site, make_fresh
from monitor.demo.stream import Answers
from monitor.demo.verdict import Escalation, Verdict, judge

START = datetime(2026, 11, 13, 9, 12, tzinfo=UTC)
ZONE = ZoneInfo("Europe/Amsterdam")
ANSWERS = Answers(
    leaks=frozenset({"leak-1", "leak-2"}),
    threats=frozenset({"threat-1"}),
    hijack="hijack-1",
    homonyms=frozenset({"sunny-1"}),
    crisis=frozenset({"crisis-1"}),
    crisis_start=START,
    crisis_end=START + timedelta(days=1),
)


def made(kind: SignalKind, *posts: str, minutes: int = 20, told: bool = True) -> Escalation:
    at = START + timedelta(minutes=minutes)
    return Escalation(
        opened_at=at,
        kind=kind,
        severity=Severity.HIGH,
        title="Lek: één [bold]wachtwoord[/bold] op X 🚨",
        why="leak 0,97",
        receivers=("crisis-team",) if told else (),
        told_at=(at,) if told else (),
        mails=(1, 2) if told else (),
        posts=frozenset(posts),
    )


def console(encoding: str = "utf-8", **options: Any) -> tuple[Console, io.BytesIO]:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, write_through=True)
    return Console(file=stream, width=100, **options), raw


def test_a_perfect_week_finds_all_and_wakes_nobody_for_nothing() -> None:
    verdict = judge(
        [
            made(SignalKind.LEAK, "leak-1"),
            made(SignalKind.LEAK, "leak-2", "copy-of-leak-2"),
            made(SignalKind.ABUSE, "threat-1"),
            made(SignalKind.OFFICIAL_ACCOUNT, "hijack-1"),
            made(SignalKind.NEGATIVITY_SPIKE, "crisis-1", minutes=25),
            made(SignalKind.VOLUME_SPIKE, "crisis-1", minutes=20),
        ],
        ANSWERS,
    )
    assert verdict == Verdict(
        leaks_found=ANSWERS.leaks,
        leaks_missed=frozenset(),
        threats_found=ANSWERS.threats,
        threats_missed=frozenset(),
        hijack_found=True,
        crisis_after=timedelta(minutes=20),
        false_alarms=(),
        homonyms=frozenset(),
    )


def test_what_nobody_was_told_of_was_not_escalated() -> None:
    verdict = judge(
        [
            made(SignalKind.LEAK, "leak-1", told=False),
            made(SignalKind.LEAK, "other", "sunny-1", told=False),
            made(SignalKind.VOLUME_SPIKE, "crisis-1", told=False),
        ],
        ANSWERS,
    )
    assert verdict.leaks_missed == ANSWERS.leaks
    assert verdict.crisis_after is None
    assert verdict.false_alarms == ()
    assert verdict.homonyms == frozenset()


def test_alarms_about_nothing_and_about_namesakes_are_counted() -> None:
    wrong = [
        made(SignalKind.LEAK, "threat-1"),
        made(SignalKind.THREAT, "sunny-1"),
        made(SignalKind.VOLUME_SPIKE, "other", minutes=-60),
        made(SignalKind.SILENT_SOURCE),
        made(SignalKind.OFFICIAL_ACCOUNT, "official-2"),
    ]
    verdict = judge([*wrong, made(SignalKind.VOLUME_SPIKE, "sunny-1")], ANSWERS)
    assert verdict.false_alarms == tuple(wrong)
    assert verdict.homonyms == {"sunny-1"}
    assert verdict.leaks_found == frozenset()
    assert not verdict.hijack_found


def test_a_folder_of_an_earlier_demo_is_emptied(tmp_path: Path) -> None:
    folder = make_fresh(tmp_path / "a" / "demo-output")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept.txt").write_text("x", encoding="utf-8")
    (folder / "mails").mkdir()
    (folder / "mails" / "01.eml").write_text("x", encoding="utf-8")
    (folder / "link").symlink_to(elsewhere)
    assert make_fresh(folder) == folder
    assert [path.name for path in folder.iterdir()] == [MARKER]
    assert (elsewhere / "kept.txt").exists()


def test_a_folder_that_no_demo_made_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("x", encoding="utf-8")
    with pytest.raises(DemoError, match="was not made by an earlier demo"):
        make_fresh(tmp_path)
    with pytest.raises(DemoError, match="is not a folder"):
        make_fresh(tmp_path / "thesis.txt")
    with pytest.raises(DemoError, match="Not a directory"):
        make_fresh(tmp_path / "thesis.txt" / "demo")
    assert (tmp_path / "thesis.txt").read_text(encoding="utf-8") == "x"


def test_the_page_shows_mails_and_nothing_else(tmp_path: Path) -> None:
    mails = tmp_path / "mails"
    (mails / "inner").mkdir(parents=True)
    (mails / "index.html").write_text("<p>één</p>", encoding="utf-8")
    (mails / "01-x.eml").write_text("Subject: x", encoding="utf-8")
    (tmp_path / "merkwacht.db").write_text("secret", encoding="utf-8")
    with Site(mails) as site, httpx.Client(base_url=site.url) as client:
        index = client.get("/")
        assert index.text == "<p>één</p>"
        assert "default-src 'none'" in index.headers["Content-Security-Policy"]
        assert client.get("/01-x.eml").headers["Content-Type"].startswith("text/plain")
        for path in ("/inner/", "/..%2fmerkwacht.db", "/../merkwacht.db", "/none"):
            assert client.get(path).status_code == 404
        assert client.get("/", headers={"Host": "evil.example:80"}).status_code == 421
        assert client.post("/").status_code == 501


def test_off_a_terminal_the_week_is_told_in_plain_lines() -> None:
    err, raw = console("ascii")
    board = Board(err, START, START + timedelta(days=7), ZONE)
    with board:
        board.advance(START + timedelta(minutes=5), Counters(3, 1, 1, 0))
        board.alert(START, Severity.CRITICAL, "Lek: één [bold]", ["crisis-team@a.example"])
        board.advance(START + timedelta(days=1), Counters(65, 2, 2, 4))
    assert raw.getvalue().decode("ascii").splitlines() == [
        "Fri 13 Nov 10:12  * Lek: ??n [bold]  > crisis-team@a.example",
        "-- Fri 13 Nov is over: 65 mentions  2 signals  2 incidents  4 mails",
    ]


def test_on_a_terminal_a_bar_runs_and_alerts_stay_on_one_line() -> None:
    err, raw = console(force_terminal=True, color_system="standard")
    board = Board(err, START, START + timedelta(days=7), ZONE)
    with board:
        board.alert(START, Severity.CRITICAL, "x" * 300, ["crisis-team"])
        board.advance(START + timedelta(days=2), Counters(65, 2, 2, 4))
    shown = raw.getvalue().decode()
    assert "65 mentions" in shown
    assert "Sun 15 Nov 10:12" in shown
    (line,) = [line for line in shown.splitlines() if "xxxx" in line]
    assert "…" in line


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_the_tables_fit_what_the_console_can_show(encoding: str) -> None:
    out, raw = console(encoding)
    escalations = [made(SignalKind.LEAK, "leak-1"), made(SignalKind.ABUSE, told=False)]
    out.print(escalation_table(escalations, out, ZONE))
    out.print(verdict_table(judge(escalations, ANSWERS), out, 61.4))
    shown = raw.getvalue().decode(encoding)
    for words in ("[bold]wachtwoord[/bold]", "crisis-team (mail 01, 02)", "nobody", "leak 0,97"):
        assert words in shown
    assert "1/2 (missed leak-2)" in shown
    assert "0 (must be 0)" in shown
    assert "61 s" in shown


def test_the_week_at_a_glance_has_a_bar_for_posts_and_a_mark_for_alarms() -> None:
    out, _ = console()
    begin = datetime(2026, 11, 8, 23, 0, tzinfo=UTC)
    mentions = [begin + timedelta(hours=1)] * 4 + [begin + timedelta(days=6, hours=23)]
    strip = week_strip(mentions, [made(SignalKind.LEAK)], begin, out, ZONE)
    assert strip is not None
    _, _, bars, marks, days = strip.plain.split("\n")
    assert bars[0] == "█"
    assert bars[1] == " "
    assert bars[-1] == "▄"
    # Friday 13 November, 10:32 local: the sixth bar of the fifth day.
    assert marks.index("▲") == 4 * 12 + 5
    assert days.startswith("Mon 09      Tue 10")
    ascii_out, _ = console("ascii")
    assert week_strip(mentions, [], begin, ascii_out, ZONE) is None
