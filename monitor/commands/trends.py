"""``trends``: what a brand's public talked about more than usual on one day."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any, TextIO
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.table import Table

from alerts.terms import HISTORY, Trend, trends
from connectors.query import Query
from monitor.store import Unit

BEFORE = timedelta(days=28)
"""The past that a day is compared with."""
MOST_NOW = 5_000
MOST_USUAL = 10_000
"""Posts that are read at most; of more, an even sample."""


@dataclass(frozen=True, slots=True)
class Day:
    """The terms of one brand and day."""

    brand: str
    day: date
    posts: int
    """Read of that day."""
    past: int
    """Read of the four weeks before."""
    terms: Sequence[Trend]

    @property
    def known(self) -> bool:
        """Whether enough was said before to tell what is unusual."""
        return self.past >= HISTORY


def day_of(unit: Unit, brand: str, query: str, day: date, timezone: str, *, most: int = 10) -> Day:
    """The terms that stand out on a day, from midnight to midnight in ``timezone``.

    Args:
        unit: of the store.
        brand: its name.
        query: its query, whose words are no news.
        day: which.
        timezone: IANA name.
        most: how many terms at most.
    """
    zone = ZoneInfo(timezone)
    begin = datetime.combine(day, time(), zone)
    end = datetime.combine(day + timedelta(days=1), time(), zone)
    now = unit.crowd.said(brand, begin, end, most=MOST_NOW)
    usual = unit.crowd.said(brand, begin - BEFORE, begin, most=MOST_USUAL)
    found = trends(now, usual, ignore=(*Query.parse(query).terms, brand), most=most)
    return Day(brand, day, len(now), len(usual), found)


def to_json(days: Sequence[Day]) -> list[dict[str, Any]]:
    """The days as JSON values."""
    return [
        {
            "brand": each.brand,
            "day": each.day.isoformat(),
            "posts": each.posts,
            "past_posts": each.past,
            "warming_up": not each.known,
            "terms": [
                {
                    "term": trend.term,
                    "now": trend.now,
                    "usual": round(trend.usual, 1),
                    "score": round(trend.score, 2),
                }
                for trend in each.terms
            ],
        }
        for each in days
    ]


def write(days: Sequence[Day], sink: TextIO, *, as_json: bool) -> None:
    """Write the days as JSON, or as tables for people."""
    if as_json:
        sink.write(json.dumps(to_json(days), ensure_ascii=False, indent=2) + "\n")
        return
    console = Console(file=sink, highlight=False, soft_wrap=False)
    for place, each in enumerate(days):
        if place:
            console.print()
        console.print(
            f"{each.brand}, {each.day:%A} {each.day}: {each.posts} posts read", markup=False
        )
        if not each.terms:
            console.print(f"  {_nothing(each)}", markup=False)
            continue
        table = Table(box=None, pad_edge=False, show_edge=False, padding=(0, 2))
        table.add_column("  term", style="bold")
        table.add_column("people", justify="right")
        table.add_column("usually", justify="right")
        for trend in each.terms:
            table.add_row(f"  {trend.term}", str(trend.now), _usual(trend.usual))
        console.print(table)


def _nothing(day: Day) -> str:
    if not day.posts:
        return "nothing was said"
    if not day.known:
        return f"too little is known yet to say what is unusual ({day.past} posts before)"
    return "nothing stands out"


def _usual(count: float) -> str:
    return "hardly ever" if count < 0.5 else f"{count:.0f}"  # noqa: PLR2004 - rounds to none
