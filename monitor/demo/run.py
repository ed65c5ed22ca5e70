"""The demo from beginning to end: servers up, daemon built, clock moved, week shown, verdict."""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.text import Text

from classifiers.embedded import ModelError
from monitor.app import App
from monitor.config import ConfigError
from monitor.database import StoreError
from monitor.demo.board import Board, escalation_table, fit, verdict_table, week_strip
from monitor.demo.clock import MovedClock
from monitor.demo.folder import DemoError, Site, make_fresh
from monitor.demo.mailbox import KeptMail, Mailbox
from monitor.demo.outcome import read_counters, read_escalations, read_moments, read_severities
from monitor.demo.settings import TIMEZONE, write_settings
from monitor.demo.sources import SourceServer
from monitor.demo.stream import Stream, load_answers, load_stream
from monitor.demo.verdict import judge

DEFAULT_OUTPUT = Path("demo-output")
STEP = timedelta(minutes=5)
QUIET_STEP = timedelta(minutes=15)
"""The step while nobody says anything: the longest pause between polls that still counts as
listening without a gap."""
WEEK = timedelta(days=7)
_WIDTH_OF_FILES = 110
_INTERRUPTED = 130
"""What a shell expects of a program that was ended with Ctrl-C."""


@dataclass(frozen=True, slots=True)
class _Stage:
    """All that stands while the week goes by."""

    folder: Path
    stream: Stream
    clock: MovedClock
    mailbox: Mailbox
    app: App


def run(
    output: Path | None = None,
    *,
    exit_at_end: bool = False,
    skip: timedelta = timedelta(0),
    span: timedelta = WEEK,
    out: Console | None = None,
    err: Console | None = None,
) -> int:
    """Replay the week, say what was escalated and why, and stay for a look around.

    Args:
        output: folder for database, configuration and mails; ``./demo-output`` if not given. It is
            emptied if an earlier demo made it, and refused if it holds anything else.
        exit_at_end: end after the tables instead of waiting for Ctrl-C.
        skip: how much of the week is over when the daemon starts, in whole steps.
        span: how much of it to replay, in whole steps.
        out: for the tables; standard output if not given.
        err: for progress and messages; standard error if not given.

    Returns:
        Exit status: 0; 1 when something failed, which ``err`` says; 130 when interrupted.
    """
    out = out or Console()
    if not out.is_terminal and "COLUMNS" not in os.environ:
        out.width = _WIDTH_OF_FILES
    err = err or Console(stderr=True)
    try:
        with contextlib.ExitStack() as open_things:
            folder = make_fresh(output or DEFAULT_OUTPUT)
            stage = open_things.enter_context(_set_up(folder, skip))
            failures = _perform(stage, span, out, err)
            open_things.close()
            _tell_where(stage, err)
            if not exit_at_end:
                _stay(stage, err)
    except KeyboardInterrupt:
        _say(err, "Stopped.")
        return _INTERRUPTED
    except (DemoError, ConfigError, StoreError, ModelError, OSError, TimeoutError) as error:
        _say(err, f"The demo cannot go on: {error}")
        return 1
    return 1 if failures else 0


@contextlib.contextmanager
def _set_up(folder: Path, skip: timedelta) -> Iterator[_Stage]:
    """The outside world, and the daemon as ``merkwacht run`` builds it from the file we write."""
    stream = load_stream()
    first = stream.posts[0].published_at.astimezone(ZoneInfo(TIMEZONE))
    clock = MovedClock(first.replace(hour=0, minute=0, second=0, microsecond=0) + skip)
    with SourceServer(stream, clock.now) as world, Mailbox(folder / "mails", TIMEZONE) as mailbox:
        settings = folder / "config.toml"
        write_settings(
            settings,
            url=world.url,
            token=world.token,
            smtp_port=mailbox.port,
            platforms=world.feed_platforms,
        )
        # A fixed seed for the jitter of the polls: the same week goes the same way each time.
        with App(settings, now=clock.now, rng=random.Random(0)) as app:  # noqa: S311 - jitter
            yield _Stage(folder, stream, clock, mailbox, app)


def _perform(stage: _Stage, span: timedelta, out: Console, err: Console) -> list[str]:
    """Replay and show. Returns what failed on the way, one line each."""
    start, zone = stage.clock.now(), ZoneInfo(TIMEZONE)
    began = time.monotonic()
    with Board(err, start, start + span, zone) as board:
        board.say("A week of Zonnehoek, an invented supermarket, through the real daemon:")
        failures = _replay(stage, start + span, board)
    seconds = time.monotonic() - began
    escalations = read_escalations(stage.app.store, stage.mailbox.mails, stage.stream)
    strip = week_strip(read_moments(stage.app.store), escalations, start, out, zone)
    out.print()
    if strip is not None:
        out.print(strip)
        out.print()
    out.print(escalation_table(escalations, out, zone))
    verdict = judge(escalations, load_answers())
    out.print(verdict_table(verdict, out, seconds))
    for failure in failures:
        _say(err, f"failed: {failure}")
    return failures


def _replay(stage: _Stage, end: datetime, board: Board) -> list[str]:
    shown = 0
    while stage.clock.now() < end:
        now = stage.clock.advance(next_step(stage.stream, stage.clock.now(), end))
        stage.app.daemon.tick()
        mails = stage.mailbox.mails[shown:]
        shown += len(mails)
        if mails:
            _show_mails(stage, mails, now, board)
        board.advance(now, read_counters(stage.app.metrics, shown))
    steps = stage.app.daemon.steps
    return [
        *(f"poll of {each.source}: {each.message}" for each in steps.poll.failures),
        *(f"mail to {each.receiver}: {each.message}" for each in steps.deliver.failures),
    ]


def next_step(stream: Stream, now: datetime, end: datetime) -> timedelta:
    """How far to move the clock: whole steps, up to the first after which there is a new post."""
    coming = stream.next_after(now)
    step = STEP
    while step < QUIET_STEP and now + step < end and (coming is None or now + step < coming):
        step += STEP
    return step


def _show_mails(stage: _Stage, mails: Sequence[KeptMail], now: datetime, board: Board) -> None:
    """One line for each message, however many receivers it had."""
    severities = read_severities(stage.app.store)
    grouped: dict[tuple[str | None, str], list[str]] = {}
    for mail in mails:
        grouped.setdefault((mail.incident, mail.subject), []).extend(
            address.partition("@")[0] for address in mail.to
        )
    stage.mailbox.grade({number: severity.word for number, severity in severities.items()})
    for (incident, subject), receivers in grouped.items():
        board.alert(now, severities.get(incident or ""), subject, sorted(receivers))


def _tell_where(stage: _Stage, err: Console) -> None:
    _say(err, f"Mails:         {stage.mailbox.index}")
    _say(err, f"Configuration: {stage.folder / 'config.toml'}")
    _say(err, f"Database:      {stage.app.config.store.path}")


def _stay(stage: _Stage, err: Console) -> None:
    """Show the mails in the browser until Ctrl-C."""
    with Site(stage.mailbox.folder) as site:
        _say(err, f"Look around:   {site.url}/   (Ctrl-C ends)")
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


def _say(err: Console, text: str) -> None:
    err.print(fit(Text(text), err, shorten=False), soft_wrap=True)
