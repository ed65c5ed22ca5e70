"""``sources``: which sources are heard, which are not, why, what to do, and what they cost."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TextIO
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.table import Table

from connectors.base import Darkness
from monitor.budget import Period, Tariff, bounds
from monitor.store import Store, Unit
from monitor.store.darkness import Dark
from monitor.store.sources import SourceState
from monitor.store.spending import Spent

LISTENING = "listening"
COUNTING = "only counting"
"""Its budget is spent."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a source cost in a period so far."""

    period: Period
    spent: Spent
    limit: Decimal | None
    """Of its budget; None: there is none."""
    currency: str | None
    """None: its units cost no money."""
    out: bool = False
    """Whether less is left than the smallest page may cost: posts are only counted."""


@dataclass(frozen=True, slots=True)
class Line:
    """One source over a stretch of time."""

    state: SourceState
    dark: tuple[Dark, ...]
    """Stretches that touch the time looked at, oldest first."""
    since: datetime
    until: datetime
    costs: tuple[Cost, ...] = ()
    """Of today and of this month, where it bills or has a quota."""

    @property
    def lasting(self) -> Dark | None:
        """The stretch that lasts."""
        return next((each for each in self.dark if each.ended_at is None), None)

    @property
    def word(self) -> str:
        """How it stands, in a word."""
        if self.lasting is not None:
            return self.lasting.reason.value
        if any(each.out for each in self.costs):
            return COUNTING
        return LISTENING if self.state.last_success_at else "not polled yet"

    @property
    def lost(self) -> Counter[Darkness]:
        """Seconds in the dark within the time looked at, by reason."""
        seconds: Counter[Darkness] = Counter()
        for each in self.dark:
            begin, end = (
                max(each.started_at, self.since),
                min(each.ended_at or self.until, self.until),
            )
            seconds[each.reason] += round(max((end - begin).total_seconds(), 0))
        return seconds

    @property
    def coverage(self) -> float | None:
        """The part of the time looked at in which it was heard; None: it was not known then."""
        known = (self.until - max(self.since, self.state.first_seen_at)).total_seconds()
        return None if known <= 0 else max(1 - self.lost.total() / known, 0.0)


def show(
    store: Store,
    sink: TextIO,
    *,
    now: datetime,
    since: timedelta,
    timezone: str,
    tariffs: Mapping[str, Tariff | None] | None = None,
    as_json: bool = False,
) -> bool:
    """Write how every source fares and what it cost, as a table or JSON Lines.

    Args:
        store: what is known.
        sink: written to.
        now: the present moment.
        since: how far back to look.
        timezone: for the table.
        tariffs: of the sources of the configuration, by name.
        as_json: JSON Lines instead of a table.

    Returns:
        Whether all are heard, but for those that are paused.
    """
    with store.read() as unit:
        states = unit.sources.all()
        stretches = unit.dusk.stretches(now - since, now)
        costs = {state.name: _costs(unit, state.name, tariffs or {}, now) for state in states}
    lines = [
        Line(
            state,
            tuple(each for each in stretches if each.source == state.name),
            now - since,
            now,
            costs[state.name],
        )
        for state in states
    ]
    if as_json:
        sink.writelines(json.dumps(_as_json(line), ensure_ascii=False) + "\n" for line in lines)
    else:
        _draw(lines, sink, ZoneInfo(timezone), since)
    return all(line.word in (LISTENING, COUNTING, Darkness.PAUSED.value) for line in lines)


def _draw(lines: Sequence[Line], sink: TextIO, zone: ZoneInfo, since: timedelta) -> None:
    console = Console(file=sink, highlight=False, markup=False)
    if not lines:
        console.print("No source has been polled yet: merkwacht run")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("source", "kind", "state", "since", "last heard", f"dark in {_span(since)}"):
        table.add_column(name, no_wrap=True)
    for line in lines:
        lasting = line.lasting
        table.add_row(
            line.state.name,
            line.state.kind,
            line.word,
            _when(lasting.started_at if lasting else None, zone),
            _when(line.state.last_success_at, zone),
            ", ".join(
                f"{reason.value} {_span(timedelta(seconds=lost))}"
                for reason, lost in line.lost.most_common()
                if lost
            )
            or "-",
        )
    console.print(table)
    _draw_costs(lines, console)
    for line in lines:
        if line.lasting is not None and line.lasting.error:
            console.print(f"\n{line.state.name}: {line.lasting.error}", soft_wrap=True)


def _costs(
    unit: Unit, source: str, tariffs: Mapping[str, Tariff | None], now: datetime
) -> tuple[Cost, ...]:
    tariff = tariffs.get(source)
    today = now.astimezone(UTC).date()
    costs = []
    for period in Period:
        spent = unit.spending.of(source, bounds(period, now)[0], today)
        limit = tariff.limits.get(period) if tariff else None
        out = tariff is not None and limit is not None and limit - spent.cost < tariff.least
        costs.append(Cost(period, spent, limit, tariff.currency if tariff else None, out=out))
    if any(each.spent.units or each.limit is not None for each in costs):
        return tuple(costs)
    return ()


def _draw_costs(lines: Sequence[Line], console: Console) -> None:
    """A table of those that cost something."""
    costly = [line for line in lines if line.costs]
    if not costly:
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("cost (UTC)", "today", "this month"):
        table.add_column(name, no_wrap=True)
    table.add_column("units today")
    for line in costly:
        units = line.costs[0].spent.units
        told = ", ".join(f"{number} {unit}" for unit, number in sorted(units.items()))
        table.add_row(line.state.name, *(_money(each) for each in line.costs), told or "-")
    console.print()
    console.print(table)


def _money(cost: Cost) -> str:
    if cost.currency is None:
        return "-"
    limit = "" if cost.limit is None else f" of {cost.limit:.2f}"
    return f"{cost.spent.cost:.2f}{limit} {cost.currency}"


def _as_json(line: Line) -> dict[str, Any]:
    state, lasting = line.state, line.lasting
    return {
        "name": state.name,
        "kind": state.kind,
        "state": line.word,
        "since": None if lasting is None else lasting.started_at.isoformat(),
        "last_success_at": _moment(state.last_success_at),
        "next_due_at": _moment(state.next_due_at),
        "failures": state.failures,
        "fault": None if lasting is None else lasting.fault,
        "error": None if lasting is None else lasting.error,
        "spent": {
            cost.period.value: {
                "units": dict(sorted(cost.spent.units.items())),
                "cost": None if cost.currency is None else float(cost.spent.cost),
                "budget": None if cost.limit is None else float(cost.limit),
                "currency": cost.currency,
                "out": cost.out,
            }
            for cost in line.costs
        },
        "coverage": None if line.coverage is None else round(line.coverage, 4),
        "dark": [
            {
                "started_at": each.started_at.isoformat(),
                "ended_at": _moment(each.ended_at),
                "reason": each.reason.value,
                "fault": each.fault,
                "polls": each.polls,
            }
            for each in line.dark
        ],
    }


def _moment(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _when(at: datetime | None, zone: ZoneInfo) -> str:
    return "-" if at is None else at.astimezone(zone).strftime("%Y-%m-%d %H:%M")


def _span(length: timedelta) -> str:
    """``3d 4h``, ``2h 5m``, ``40s``: the two largest units."""
    seconds = round(length.total_seconds())
    parts = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2]) or "0s"
