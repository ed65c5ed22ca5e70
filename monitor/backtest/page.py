"""The timeline as one page: nothing from outside, no scripts, for screen, slide and paper."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any
from zoneinfo import ZoneInfo

from jinja2 import Environment, PackageLoader, StrictUndefined

from alerts.message import severity_word
from alerts.words import words as alert_words
from monitor.backtest import drawing
from monitor.backtest.difference import Difference, Pair
from monitor.backtest.outcome import Outcome, Raised
from monitor.backtest.run import Result
from monitor.backtest.timeline import Panel

MOST_LISTED = 150
"""Incidents described below the drawing."""


def page(panels: Sequence[Panel], result: Result, difference: Difference | None) -> str:
    """The whole page as HTML.

    What posts say is masked already, as in alerts; here it is escaped.
    """
    language = panels[0].language if panels else "en"
    timezone = panels[0].timezone if panels else "UTC"
    say = _Say(language, timezone)
    return (
        _templates()
        .get_template("timeline.html")
        .render(
            say=say,
            language=language,
            figures=drawn(panels, say.words),
            panels_of=len({panel.name for panel in panels}) or 1,
            result=result,
            outcome=result.outcomes[0],
            outcomes=result.outcomes,
            names=list(dict.fromkeys(panel.name for panel in panels)),
            changes=None if difference is None else list(_changes(difference, say)),
            difference=difference,
            most=MOST_LISTED,
            size=drawing,
        )
    )


def drawn(panels: Sequence[Panel], words: dict[str, Any]) -> list[drawing.Drawing]:
    """Each panel in its place; the panels of a brand share one scale of numbers."""
    tops: dict[str, float] = {}
    for panel in panels:
        tops[panel.brand] = max(tops.get(panel.brand, 0.0), panel.top)
    return [drawing.draw(panel, words, tops[panel.brand]) for panel in panels]


@cache
def wording(language: str) -> dict[str, Any]:
    """What a timeline says in a language."""
    text = (resources.files("monitor.backtest") / "words.toml").read_text(encoding="utf-8")
    found: dict[str, Any] = tomllib.loads(text)[language]
    return found


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("monitor.backtest", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


class _Say:
    """The words of one language, for the template."""

    def __init__(self, language: str, timezone: str) -> None:
        self.words = wording(language)
        self._language = language
        self._alerts = alert_words(language)
        self._zone = ZoneInfo(timezone)

    def __call__(self, key: str, **values: object) -> str:
        """A sentence."""
        return str(self.words[key]).format(**values)

    def number(self, value: float, decimals: int = 0) -> str:
        """A number as people of this language write it."""
        return self._alerts.number(value, decimals)

    def moment(self, moment: Any) -> str:
        """Day and time, short."""
        return self._alerts.short_moment(moment, self._zone)

    def day(self, moment: Any) -> str:
        """Day, year and time."""
        local = moment.astimezone(self._zone)
        return f"{local.day} {self.words['months'][local.month - 1]} {local.year} {local:%H:%M}"

    def severity(self, incident: Raised) -> str:
        """The word for a severity."""
        return severity_word(incident.severity, self._language)

    def posts(self, incident: Raised) -> str:
        """How many posts it is about."""
        count = len(incident.mention_ids)
        return self("posts_one") if count == 1 else self("posts_other", count=self.number(count))

    def width(self, panel: Panel) -> str:
        """What one bar stands for."""
        return self("per", width=self.words[f"width_{int(panel.width.total_seconds())}"])

    def ending(self, incident: Raised) -> str:
        """When it was over."""
        if incident.resolved_at is None:
            return self("open")
        return self("over", when=self.moment(incident.resolved_at))

    def told(self, incident: Raised) -> str:
        """Who was told."""
        if not incident.notifications:
            return self("told_nobody")
        return self("told", who=", ".join(incident.receivers))

    def receivers(self, outcome: Outcome) -> list[tuple[str, str]]:
        """Each receiver with its messages."""
        return [
            (
                name,
                self(
                    "each",
                    count=self.number(count),
                    per_day=self.number(outcome.per_day(count), 2),
                ),
            )
            for name, count in outcome.per_receiver.items()
        ]

    def per_day(self, outcome: Outcome) -> str:
        """How many alerts a day there were."""
        return self.number(outcome.per_day(len(outcome.told)), 2)


def _changes(difference: Difference, say: _Say) -> list[dict[str, Any]]:
    """The rows of what another configuration changes."""
    rows = [_row("gained", each, say.told(each), say) for each in difference.gained]
    rows += [_row("lost", each, say.told(each), say) for each in difference.lost]
    for word, pairs in (("earlier", difference.earlier), ("later", difference.later)):
        rows += [_row(word, pair.before, _moments(pair, say), say) for pair in pairs]
    rows += [
        _row(
            "severity",
            pair.before,
            say("becomes", before=say.severity(pair.before), after=say.severity(pair.after)),
            say,
        )
        for pair in difference.severity
    ]
    rows += [
        _row(
            "told_other",
            pair.before,
            say(
                "becomes",
                before=", ".join(pair.before.receivers),
                after=", ".join(pair.after.receivers),
            ),
            say,
        )
        for pair in difference.receivers
    ]
    return rows


def _moments(pair: Pair, say: _Say) -> str:
    before, after = (each.told_at or each.opened_at for each in (pair.before, pair.after))
    return say("becomes", before=say.moment(before), after=say.moment(after))


def _row(word: str, incident: Raised, detail: str, say: _Say) -> dict[str, Any]:
    return {
        "word": say(word),
        "kind": word,
        "incident": incident,
        "at": say.moment(incident.told_at or incident.opened_at),
        "detail": detail,
    }
