"""The demo's screen: the week as it goes by, and what is left of it at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self
from zoneinfo import ZoneInfo

from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from alerts.base import Severity, SignalKind
from monitor.demo.verdict import Escalation, Verdict

_COLOURS = {
    Severity.LOW: "blue",
    Severity.MEDIUM: "yellow",
    Severity.HIGH: "dark_orange",
    Severity.CRITICAL: "bold red",
}
_BLOCKS = " ▁▂▃▄▅▆▇█"
_DAYS = 7
_IN_TIME = timedelta(minutes=30)
_NAMES = {kind: kind.value.replace("_", " ") for kind in SignalKind}


@dataclass(frozen=True, slots=True)
class Counters:
    """How much there is so far."""

    mentions: int = 0
    signals: int = 0
    incidents: int = 0
    mails: int = 0

    def __str__(self) -> str:
        return "  ".join(
            f"{count} {noun}" + ("" if count == 1 else "s")
            for noun, count in (
                ("mention", self.mentions),
                ("signal", self.signals),
                ("incident", self.incidents),
                ("mail", self.mails),
            )
        )


class Board:
    """Shows the replay on ``console``: a live bar on a terminal, plain lines elsewhere.

    Args:
        console: for messages; machine output has another.
        start: the first moment of the replay.
        end: the last.
        zone: in which times are shown.
    """

    def __init__(self, console: Console, start: datetime, end: datetime, zone: ZoneInfo) -> None:
        self._console = console
        self._start = start
        self._zone = zone
        self._day = start.astimezone(zone).date()
        self._last = Counters()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None, complete_style="yellow", finished_style="green"),
            TextColumn("{task.fields[counters]}", style="dim"),
            TimeElapsedColumn(),
            console=console,
            expand=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task(
            self.moment(start), total=(end - start).total_seconds(), counters=str(Counters())
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def moment(self, at: datetime) -> str:
        """A moment of the replay as people read it, always equally wide."""
        return f"{at.astimezone(self._zone):%a %d %b %H:%M}"

    def advance(self, now: datetime, counters: Counters) -> None:
        """Move the bar to ``now``; off a terminal, one line for each day that is over."""
        self._progress.update(
            self._task,
            completed=(now - self._start).total_seconds(),
            description=self.moment(now),
            counters=str(counters),
        )
        today = now.astimezone(self._zone).date()
        if not self._console.is_terminal and today > self._day:
            self.say(f"-- {self._day:%a %d %b} is over: {counters}")
        self._day = today
        self._last = counters

    def alert(
        self, at: datetime, severity: Severity | None, subject: str, to: Sequence[str]
    ) -> None:
        """One line for a message that went out."""
        line = Text.assemble(
            (self.moment(at), "dim"),
            ("  ● " if speaks_unicode(self._console) else "  * ", _colour(severity)),
            subject,
            ("  > " + ", ".join(to), "dim"),
        )
        self._print(line, shorten=True)

    def say(self, text: str) -> None:
        """A plain line above the bar."""
        self._print(Text(text), shorten=False)

    def _print(self, line: Text, *, shorten: bool) -> None:
        shown = fit(line, self._console, shorten=shorten)
        self._console.print(shown, soft_wrap=True)


def fit(text: Text, console: Console, *, shorten: bool) -> Text:
    """``text`` in what the console can show, shortened to one line where lines have a width."""
    if not speaks_unicode(console):
        encoding = console.encoding or "ascii"
        return Text(text.plain.encode(encoding, "replace").decode(encoding))
    if shorten and console.is_terminal:
        text.truncate(console.width, overflow="ellipsis")
    return text


def speaks_unicode(console: Console) -> bool:
    """Whether more than ASCII can be expected to show."""
    return (console.encoding or "").lower().startswith("utf")


def escalation_table(escalations: Sequence[Escalation], console: Console, zone: ZoneInfo) -> Table:
    """What was escalated and why: one incident a row, its reasons and receivers below its title."""
    table = _table("What was escalated, and why", console)
    table.add_column("when", no_wrap=True)
    table.add_column("kind", no_wrap=True)
    table.add_column("what, why, and who was told", ratio=1, overflow="fold")
    for escalation in escalations:
        table.add_row(
            f"{escalation.opened_at.astimezone(zone):%a %d %b %H:%M}",
            Text.assemble(
                _NAMES[escalation.kind],
                "\n",
                (escalation.severity.word, _COLOURS[escalation.severity]),
            ),
            fit(
                Text.assemble(
                    escalation.title,
                    (f"\nwhy:  {escalation.why}", "dim"),
                    (f"\ntold: {_told(escalation)}\n", "dim"),
                ),
                console,
                shorten=False,
            ),
        )
    return table


def verdict_table(verdict: Verdict, console: Console, seconds: float) -> Table:
    """How that compares with what was hidden in the week."""
    table = _table("Against what was hidden in the week", console)
    table.show_header = False
    table.add_column(no_wrap=True, style="dim")
    table.add_column()
    table.add_row("leaks escalated", _score(verdict.leaks_found, verdict.leaks_missed))
    table.add_row("threats and abuse", _score(verdict.threats_found, verdict.threats_missed))
    table.add_row("hijacked account", Text("noticed") if verdict.hijack_found else Text("missed"))
    table.add_row("crisis noticed", _after(verdict.crisis_after))
    table.add_row("false alarms", Text(f"{len(verdict.false_alarms)} incidents"))
    table.add_row(
        "namesakes alerted",
        Text(f"{len(verdict.homonyms)} (must be 0)", "red" if verdict.homonyms else "green"),
    )
    table.add_row("time it took", Text(f"{seconds:.0f} s for the week"))
    return table


def week_strip(
    mentions: Sequence[datetime],
    escalations: Sequence[Escalation],
    start: datetime,
    console: Console,
    zone: ZoneInfo,
) -> Text | None:
    """The week at a glance: mentions every two or three hours, and a mark where an incident opened.

    None where the console cannot show it.
    """
    if not speaks_unicode(console):
        return None
    a_day = 12 if console.width >= 12 * _DAYS else 8
    bucket = timedelta(days=1) / a_day
    counts = [0] * (a_day * _DAYS)
    for at in mentions:
        place = (at - start) // bucket
        if 0 <= place < len(counts):
            counts[place] += 1
    top = max([*counts, 1])
    # A square root keeps an ordinary hour visible beside a crisis.
    bars = "".join(_BLOCKS[round((count / top) ** 0.5 * 8)] for count in counts)
    marks = [(" ", "default")] * len(counts)
    for escalation in sorted(escalations, key=lambda each: each.severity):
        place = (escalation.opened_at - start) // bucket
        if 0 <= place < len(marks):
            marks[place] = ("▲", _COLOURS[escalation.severity])
    days = "".join(
        f"{start.astimezone(zone) + timedelta(days=day):%a %d}".ljust(a_day) for day in range(_DAYS)
    )
    return Text.assemble(
        ("Mentions through the week, and where an incident opened", "bold"),
        "\n\n",
        (bars, "yellow"),
        "\n",
        *marks,
        "\n",
        (days.rstrip(), "dim"),
        no_wrap=True,
    )


def _table(title: str, console: Console) -> Table:
    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        header_style="dim",
        box=box.SIMPLE_HEAD if speaks_unicode(console) else box.ASCII2,
        pad_edge=False,
    )


def _told(escalation: Escalation) -> str:
    if not escalation.receivers:
        return "nobody, no route asks for it"
    receivers = ", ".join(escalation.receivers)
    mails = ", ".join(f"{number:02d}" for number in escalation.mails)
    return f"{receivers} (mail {mails})" if mails else receivers


def _colour(severity: Severity | None) -> str:
    return _COLOURS[severity] if severity else "default"


def _score(found: frozenset[str], missed: frozenset[str]) -> Text:
    text = f"{len(found)}/{len(found | missed)}"
    if missed:
        return Text(f"{text} (missed {', '.join(sorted(missed))})", "yellow" if found else "red")
    return Text(text, "green")


def _after(pause: timedelta | None) -> Text:
    if pause is None:
        return Text("no", "red")
    minutes = round(pause.total_seconds() / 60)
    return Text(f"after {minutes} minutes", "green" if pause <= _IN_TIME else "yellow")
