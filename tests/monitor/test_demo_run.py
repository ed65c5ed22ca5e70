"""The demo from end to end: real daemon, real model, the first hours of the week."""

from __future__ import annotations

import io
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from email import policy
from email.parser import BytesParser
from pathlib import Path

import httpx
import pytest
from rich.console import Console

from alerts.base import SignalKind
from connectors.query import Query
from monitor.config import load
from monitor.demo.outcome import read_escalations, read_moments
from monitor.demo.run import QUIET_STEP, STEP, next_step, run
from monitor.demo.settings import write_settings
from monitor.demo.stream import Stream, load_answers, load_stream
from monitor.store import Store

MIDNIGHT = datetime(2026, 11, 8, 23, tzinfo=UTC)


@pytest.fixture(scope="module")
def stream() -> Stream:
    return load_stream()


def demo_query(folder: Path) -> Query:
    path = folder / "config.toml"
    write_settings(path, url="http://127.0.0.1:1", token="t", smtp_port=25, platforms=("news",))
    return Query.parse(load(path).brands[0].query)


def test_the_query_tells_the_shop_from_its_namesakes(stream: Stream, tmp_path: Path) -> None:
    query = demo_query(tmp_path)
    matched = {post.id for post in stream.posts if query.match(post.text, author=post.author)}
    assert matched == {post.id for post in stream.posts} - load_answers().homonyms


def test_the_clock_takes_long_steps_only_through_silence(stream: Stream) -> None:
    end = MIDNIGHT + timedelta(days=7)
    now, steps = MIDNIGHT, []
    seen = 0
    while now < end:
        step = next_step(stream, now, end)
        steps.append(step)
        before = sum(post.published_at <= now + step - STEP for post in stream.posts)
        assert step == STEP or before == seen
        now += step
        seen = sum(post.published_at <= now for post in stream.posts)
    assert now == end
    assert seen == 600
    assert set(steps) <= {STEP, 2 * STEP, QUIET_STEP}


def test_every_mention_of_the_first_hours_is_stored_once(stream: Stream, tmp_path: Path) -> None:
    said = io.StringIO()
    status = run(
        tmp_path / "demo",
        exit_at_end=True,
        skip=timedelta(hours=6),
        span=timedelta(hours=2),
        out=Console(quiet=True),
        err=Console(file=said, width=110),
    )
    assert status == 0, said.getvalue()
    query = demo_query(tmp_path)
    store = Store(tmp_path / "demo" / "merkwacht.db")
    try:
        assert read_moments(store) == [
            post.published_at
            for post in stream.posts
            if post.published_at <= MIDNIGHT + timedelta(hours=8)
            and query.match(post.text, author=post.author)
        ]
    finally:
        store.close()


def test_a_leaked_bank_account_reaches_the_crisis_team_masked(
    stream: Stream, tmp_path: Path
) -> None:
    (leak,) = (post for post in stream.posts if "NL70ZWLB0262836521" in post.text)
    folder = tmp_path / "demo"
    out, err = io.StringIO(), io.StringIO()
    status = run(
        folder,
        exit_at_end=True,
        skip=timedelta(days=2, hours=14, minutes=30),
        span=timedelta(minutes=15),
        out=Console(file=out, width=110),
        err=Console(file=err, width=110),
    )
    assert status == 0, err.getvalue()

    store = Store(folder / "merkwacht.db")
    try:
        found = read_escalations(store, [], stream)
    finally:
        store.close()
    (escalation,) = (each for each in found if each.posts == {leak.id})
    assert escalation.kind is SignalKind.LEAK
    assert escalation.receivers == ("crisis-team", "comms")
    assert escalation.opened_at - leak.published_at <= timedelta(minutes=5)
    assert not load_answers().homonyms & {post for each in found for post in each.posts}

    # One readable mail for each time somebody was told, and the account number in none of them.
    mails = [
        BytesParser(policy=policy.default).parsebytes(path.read_bytes())
        for path in sorted((folder / "mails").glob("*.eml"))
    ]
    assert len(mails) == sum(len(each.told_at) for each in found)
    for mail in mails:
        text = mail.get_body(("plain",))
        markup = mail.get_body(("html",))
        assert text is not None
        assert markup is not None
        assert "Zonnehoek" in mail["Subject"]
        for part in (text, markup):
            assert "NL70" not in part.get_content().replace(" ", "")

    tables = out.getvalue()
    assert "What was escalated, and why" in tables
    assert "crisis-team, comms (mail" in tables
    assert "namesakes alerted" in tables
    assert "NL70" not in tables
    assert str(folder / "mails" / "index.html") in err.getvalue()


def test_it_stays_up_for_a_look_around_until_interrupted(tmp_path: Path) -> None:
    program = (
        # A suite that runs in the background of a shell hands down an interrupt that is ignored.
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import sys, pathlib, datetime, monitor.demo.run as demo\n"
        f"sys.exit(demo.run(pathlib.Path({str(tmp_path / 'demo')!r}),"
        " span=datetime.timedelta(minutes=15)))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    ) as process:
        assert process.stderr is not None
        said = ""
        for line in process.stderr:
            said += line
            if "Look around" in line:
                break
        found = re.search(r"http://127\.0\.0\.1:\d+/", said)
        assert found, said
        assert "sent in the demo week" in httpx.get(found.group()).text
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0
        assert "Traceback" not in process.stderr.read()


def test_without_a_model_it_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MERKWACHT_MODEL", str(tmp_path / "none"))
    err = Console(file=io.StringIO(), width=200)
    assert run(tmp_path / "demo", exit_at_end=True, out=Console(quiet=True), err=err) == 1
    said = err.file.getvalue()  # type: ignore[attr-defined]
    assert "The demo cannot go on: model folder" in said


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("x", encoding="utf-8")
    err = Console(file=io.StringIO(), width=200)
    assert run(tmp_path, exit_at_end=True, out=Console(quiet=True), err=err) == 1
    assert "choose another folder with --output" in err.file.getvalue()  # type: ignore[attr-defined]
