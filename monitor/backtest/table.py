"""A backtest for people in a terminal: what would have happened, who would have been woken."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from zoneinfo import ZoneInfo

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from alerts.base import Severity
from alerts.plain import one_line
from monitor.backtest.difference import Difference, Pair
from monitor.backtest.outcome import Outcome, Raised
from monitor.backtest.run import Result

_COLOURS = {
    Severity.LOW: "dim",
    Severity.MEDIUM: "yellow",
    Severity.HIGH: "red",
    Severity.CRITICAL: "bold red",
}
_SHOWN = 200
"""Incidents listed; more is what --format json is for."""


class Page:
    """Writes results onto a console.

    Args:
        console: where to.
        timezone: IANA name, for all times.
    """

    def __init__(self, console: Console, timezone: str) -> None:
        self._console = console
        self._zone = ZoneInfo(timezone)
        self._unicode = (console.encoding or "").lower().startswith("utf")

    def show(self, result: Result, names: Sequence[str], difference: Difference | None) -> None:
        """Everything: each configuration's incidents, what differs, and the sums."""
        # Of another configuration people want to know what it changes, not all of it once more.
        self._head(result.outcomes[0], result, names[0] if len(names) > 1 else "")
        self._incidents(result.outcomes[0])
        if difference is not None:
            self._difference(difference, names)
        for name, outcome in zip(names, result.outcomes, strict=True):
            self._sums(outcome, name if len(names) > 1 else "")
        rate = result.read / result.seconds if result.seconds else 0
        self._say(
            f"{_many(result.read, 'post')} in {result.seconds:,.1f} s: {rate:,.0f} a second.", "dim"
        )

    def _say(self, text: str, style: str = "") -> None:
        if not self._unicode:
            encoding = self._console.encoding or "ascii"
            text = text.encode(encoding, "replace").decode(encoding)
        self._console.print(Text(text, style), soft_wrap=False)

    def _head(self, outcome: Outcome, result: Result, name: str) -> None:
        span = outcome.span
        when = "nothing to replay"
        if span is not None:
            first, last = (each.astimezone(self._zone) for each in (span.begin, span.end))
            when = f"{first:%a %d %b %Y %H:%M} to {last:%a %d %b %Y %H:%M}"
        if name:
            self._say(f"\n{name}", "bold")
        self._say(when)
        self._say(
            f"{_many(result.read, 'post')}, {_many(sum(outcome.matched.values()), 'mention')}"
            + "".join(f"; {brand} {count:,}" for brand, count in outcome.matched.items()),
            "dim",
        )

    # -- incidents -----------------------------------------------------------------------------

    def _incidents(self, outcome: Outcome) -> None:
        if not outcome.incidents:
            self._say("\nNo incidents.\n")
            return
        table = self._table("number", "opened", "what, why, and who is told")
        table.columns[0].justify = "right"
        several = len(outcome.matched) > 1
        for incident in outcome.incidents[:_SHOWN]:
            table.add_row(
                str(incident.number), self._when(incident), self._what(incident, several=several)
            )
        self._console.print(table)
        if len(outcome.incidents) > _SHOWN:
            left = len(outcome.incidents) - _SHOWN
            self._say(f"{left:,} more: --format json lists all.\n", "dim")

    def _table(self, number: str, when: str, what: str) -> Table:
        table = Table(
            box=box.SIMPLE_HEAD if self._unicode else box.ASCII2,
            header_style="dim",
            pad_edge=False,
            show_edge=False,
            expand=False,
        )
        table.add_column("" if number == "number" else number, no_wrap=True)
        table.add_column(when, no_wrap=True)
        table.add_column(what, ratio=1, overflow="fold")
        return table

    def _when(self, incident: Raised) -> Text:
        opened = incident.opened_at.astimezone(self._zone)
        return Text.assemble(
            f"{opened:%d %b %Y}\n{opened:%a %H:%M}\n",
            (incident.severity.word, _COLOURS[incident.severity]),
        )

    def _what(self, incident: Raised, *, several: bool) -> Text:
        posts = _many(len(incident.mention_ids), "post")
        kind = incident.kind.value.replace("_", " ")
        brand = f", {incident.brand}" if several else ""
        return self._fit(
            Text.assemble(
                incident.message.title,
                (f"\n{incident.message.summary}", "dim"),
                (f"\n{kind}{brand}, {posts}, {self._until(incident)}", "dim"),
                (f"\ntold: {_told(incident)}\n", "" if incident.notifications else "dim"),
            )
        )

    def _until(self, incident: Raised) -> str:
        if incident.resolved_at is None:
            return "open to the end"
        return f"over after {_span(incident.resolved_at - incident.opened_at)}"

    def _fit(self, text: Text) -> Text:
        if self._unicode:
            return text
        encoding = self._console.encoding or "ascii"
        return Text(text.plain.encode(encoding, "replace").decode(encoding))

    # -- differences ---------------------------------------------------------------------------

    def _difference(self, difference: Difference, names: Sequence[str]) -> None:
        before, after = names
        self._say(f"\nWhat {after} changes against {before}", "bold")
        if not difference:
            self._say(f"Nothing: {_many(difference.unchanged, 'alert')} are the same.\n")
            return
        table = self._table("", "when", "what")
        self._rows(table, "gained", difference.gained, "green")
        self._rows(table, "lost", difference.lost, "red")
        self._moved(table, "earlier", difference.earlier)
        self._moved(table, "later", difference.later)
        for pair in difference.severity:
            words = f"{pair.before.severity.word} becomes {pair.after.severity.word}"
            self._row(table, "severity", pair.before, words)
        for pair in difference.receivers:
            words = f"told: {_told(pair.before)}; becomes: {_told(pair.after)}"
            self._row(table, "told", pair.before, words)
        self._console.print(table)
        self._say(f"\n{_many(difference.unchanged, 'alert')} unchanged.\n", "dim")

    def _rows(self, table: Table, word: str, incidents: Iterable[Raised], style: str) -> None:
        for incident in incidents:
            words = f"{incident.message.summary}\ntold: {_told(incident)}"
            self._row(table, word, incident, words, style)

    def _moved(self, table: Table, word: str, pairs: Iterable[Pair]) -> None:
        for pair in pairs:
            self._row(table, word, pair.before, f"by {_span(abs(pair.later_by))}")

    def _row(
        self, table: Table, word: str, incident: Raised, words: str, style: str = "yellow"
    ) -> None:
        at = (incident.told_at or incident.opened_at).astimezone(self._zone)
        what = Text.assemble(incident.message.title, (f"\n{words}", "dim"))
        table.add_row(Text(word, style), f"{at:%d %b %Y %H:%M}", self._fit(what))

    # -- sums ----------------------------------------------------------------------------------

    def _sums(self, outcome: Outcome, name: str) -> None:
        notes = sum(len(each.notifications) for each in outcome.incidents)
        head = f"{name}: " if name else ""
        untold = len(outcome.incidents) - len(outcome.told)
        nobody = f" ({untold} told to nobody)" if untold else ""
        self._say(
            f"{head}{_many(len(outcome.incidents), 'incident')}{nobody}, "
            f"{_many(notes, 'notification')}, {outcome.per_day(notes):.2f} a day."
        )
        for receiver, count in outcome.per_receiver.items():
            self._say(f"  {receiver}: {count:,}, {outcome.per_day(count):.2f} a day", "dim")


def _told(incident: Raised) -> str:
    if not incident.notifications:
        return "nobody, no route asks for it"
    counts = dict.fromkeys(incident.receivers, 0)
    for note in incident.notifications:
        counts[note.receiver] += 1
    return ", ".join(
        one_line(name, 60) + (f" ({count} times)" if count > 1 else "")
        for name, count in counts.items()
    )


def _many(count: int, word: str) -> str:
    return f"{count:,} {word}" + ("" if count == 1 else "s")


def _span(time: timedelta) -> str:
    minutes = round(time.total_seconds() / 60)
    if minutes < 120:  # noqa: PLR2004 - reads well
        return _many(minutes, "minute")
    hours = round(minutes / 60)
    return _many(hours, "hour") if hours < 72 else _many(round(hours / 24), "day")  # noqa: PLR2004
