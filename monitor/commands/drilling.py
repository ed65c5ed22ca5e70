"""``drill``: practise a crisis with everybody who would be told, and see how long they take."""

# Typer reads commands from signatures; a flag is a boolean with a default there.
# ruff: noqa: FBT002

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from monitor.commands import completing
from monitor.commands.frame import (
    EXIT_FAILURES,
    EXIT_USAGE,
    ConfigOption,
    actor,
    fail,
    opened,
    say,
    time_of,
)
from monitor.commands.handling import KindName, SeverityName, WhoOption

if TYPE_CHECKING:
    from monitor.announcing import Announcer
    from monitor.config import Config
    from monitor.drilling import Course
    from monitor.store import Store

LOOK_EVERY = 1.0
"""Seconds between two looks at how a drill goes."""


def drill(  # noqa: PLR0917 - the options of the command
    brand: Annotated[
        str,
        typer.Option(
            help="Of which brand.", show_default="the first one", autocompletion=completing.brands
        ),
    ] = "",
    kind: Annotated[
        KindName, typer.Option(help="What seems to happen.")
    ] = KindName.NEGATIVITY_SPIKE,
    severity: Annotated[
        SeverityName, typer.Option(help="How bad it seems.")
    ] = SeverityName.CRITICAL,
    wait: Annotated[str, typer.Option(help="How long to wait for somebody to take it.")] = "60m",
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Begin it, print its number and leave.")
    ] = False,
    report: Annotated[
        int | None,
        typer.Option(
            help="Begin none: tell how this one went.",
            show_default=False,
            autocompletion=completing.incidents,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The outcome as JSON.")] = False,
    who: WhoOption = "",
    config: ConfigOption = None,
) -> None:
    """Practise: send a marked crisis to everybody who would be told, and see how long they take.

    Example: merkwacht drill --kind leak --severity critical --wait 30m

    It goes the whole way: routes, quiet hours, channels, buttons and links, clocks and the chain of those
    who are next. Every message says that it is a drill. It joins no incident, mutes nothing and is counted
    in no figure and no report. The daemon has to run, since it delivers. As soon as somebody takes it,
    or when the time is over, it ends and everybody who was told hears so.

    Exit status 1: nobody took it in time.
    """
    from monitor import drilling  # noqa: PLC0415
    from monitor.app import is_running  # noqa: PLC0415
    from monitor.commands.incidents import announcer_of  # noqa: PLC0415
    from monitor.store.incidents import RefusedError  # noqa: PLC0415

    length = time_of(wait, "--wait")
    with opened(config) as (settings, store):
        try:
            if report is not None:
                _finish(drilling.course(store, report), length, as_json=as_json)
                return
            announcer = announcer_of(settings, store)
            number = drilling.begin(
                store,
                announcer,
                brand=_brand(settings, brand),
                kind=_kind(kind),
                severity=_severity(severity),
                by=actor(who),
                now=datetime.now(UTC),
            )
            if not is_running(settings.store.path):
                say("no daemon runs on this database: the messages leave when one is started")
            if no_wait:
                sys.stdout.write(f"{number}\n")
                return
            say(f"drill {number} has begun; it ends when somebody takes it, or after {wait}")
            outcome = follow(store, announcer, number, by=actor(who), patience=length)
        except RefusedError as error:
            fail(str(error), EXIT_FAILURES)
    _finish(outcome, length, as_json=as_json)


def follow(
    store: Store,
    announcer: Announcer,
    number: int,
    *,
    by: str,
    patience: timedelta,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    pause: Callable[[float], object] = time.sleep,
    hear: Callable[[str], object] = say,
) -> Course:
    """Watch a drill until somebody takes it or patience is over, and end it.

    Args:
        store: of the installation.
        announcer: tells that it is over.
        number: of the drill.
        by: who ends it.
        patience: how long to wait from its beginning.
        now: the clock.
        pause: waits some seconds.
        hear: is told what happens, a line at a time.
    """
    from monitor import drilling  # noqa: PLC0415

    heard: set[str] = set()
    while True:
        course = drilling.course(store, number)
        for line in _lines(course):
            if line not in heard:
                heard.add(line)
                hear(line)
        if course.taken_by or course.ended or now() - course.began_at >= patience:
            drilling.end(store, announcer, number, by=by, now=now())
            return drilling.course(store, number)
        pause(LOOK_EVERY)


def _lines(course: Course) -> list[str]:
    """What has happened so far, for people."""
    lines = [
        f"  {each.receiver} by {each.channel}: delivered after {_span(each.after)}"
        if each.after is not None
        else f"  {each.receiver} by {each.channel}: {each.state}"
        for each in course.told
        if each.state != "pending"
    ]
    if course.taken_by and course.taken_after is not None:
        lines.append(f"  taken by {course.taken_by} after {_span(course.taken_after)}")
    return lines


def _finish(course: Course, patience: timedelta, *, as_json: bool) -> None:
    write(course, sys.stdout, as_json=as_json)
    if course.taken_after is None or course.taken_after > patience:
        if not as_json:
            say(f"nobody took it within {_span(patience)}")
        raise typer.Exit(EXIT_FAILURES)


def write(course: Course, sink: TextIO, *, as_json: bool) -> None:
    """Write how a drill went."""
    if as_json:
        sink.write(json.dumps(_as_json(course), ensure_ascii=False) + "\n")
        return
    about = ", ".join(
        part for part in (course.kind.value, course.severity.word, course.brand) if part
    )
    sink.write(f"Drill {course.incident}: {about}\n")
    sink.writelines(f"{line}\n" for line in _lines(course))
    waiting = sum(each.state == "pending" for each in course.told)
    if waiting:
        sink.write(f"  {waiting} not delivered yet\n")


def _as_json(course: Course) -> dict[str, Any]:
    taken = course.taken_after
    return {
        "incident": course.incident,
        "kind": course.kind.value,
        "severity": course.severity.word,
        "brand": course.brand,
        "began_at": course.began_at.isoformat(),
        "taken_by": course.taken_by,
        "seconds_to_take": None if taken is None else taken.total_seconds(),
        "ended": course.ended,
        "messages": [
            {
                "receiver": each.receiver,
                "channel": each.channel,
                "event": each.event,
                "state": each.state,
                "seconds": None if each.after is None else each.after.total_seconds(),
            }
            for each in course.messages
        ],
    }


def _span(length: timedelta | None) -> str:
    seconds = 0 if length is None else max(round(length.total_seconds()), 0)
    minutes, rest = divmod(seconds, 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _brand(settings: Config, name: str) -> str:
    names = [item.name for item in settings.brands]
    if not name:
        return names[0]
    if name not in names:
        fail(f"--brand: {name} is none of {', '.join(names)}", EXIT_USAGE)
    return name


def _kind(name: KindName) -> Any:
    from alerts.base import SignalKind  # noqa: PLC0415

    return SignalKind(name.value)


def _severity(name: SeverityName) -> Any:
    from alerts.base import Severity  # noqa: PLC0415

    return Severity[name.value.upper()]
