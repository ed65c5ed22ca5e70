"""The words of messages: one catalogue per language, kept as data beside this module.

Wording is changed in ``nl.toml`` and ``en.toml`` without touching code; a test holds that both have
the same keys and the same placeholders.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import datetime, timedelta, tzinfo
from functools import cache
from importlib.resources import files
from typing import Any

LANGUAGES = ("nl", "en")

_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)


class Words:
    """The catalogue of one language, with its way of writing numbers and moments."""

    def __init__(self, language: str, catalogue: Mapping[str, Any]) -> None:
        self.language = language
        self._catalogue = catalogue

    def text(self, key: str, /, **values: object) -> str:
        """The text under a dotted key, its placeholders filled in. Raises KeyError."""
        found = self._find(key)
        if not isinstance(found, str):
            raise KeyError(key)
        return found.format_map(values)

    def texts(self, key: str, /, **values: object) -> tuple[str, ...]:
        """The list of texts under a dotted key, placeholders filled in. Raises KeyError."""
        found = self._find(key)
        if not isinstance(found, list):
            raise KeyError(key)
        return tuple(each.format_map(values) for each in found)

    def has(self, key: str) -> bool:
        """Whether there is something under a dotted key."""
        try:
            self._find(key)
        except KeyError:
            return False
        return True

    def name(self, table: str, word: str) -> str:
        """A word for people for one of the program's words; without one, the word itself."""
        found = self._find(table).get(word)
        return found if isinstance(found, str) else word.replace("_", " ").replace("-", " ")

    def count(self, key: str, number: int, /, **values: object) -> str:
        """``key.one`` or ``key.many``, as the number asks; the number is ``{count}``."""
        form = "one" if number == 1 else "many"
        return self.text(f"{key}.{form}", count=self.number(number), **values)

    def number(self, value: float, decimals: int = 0) -> str:
        """1234.5 as ``1.234,5`` or ``1,234.5``."""
        text = f"{value:,.{decimals}f}"
        swap = {",": self.text("number.thousands"), ".": self.text("number.decimal")}
        return "".join(swap.get(char, char) for char in text)

    def percent(self, share: float) -> str:
        """A probability as whole per cents; never 0 or 100, nothing is that certain."""
        return self.text("number.percent", value=min(max(round(share * 100), 1), 99))

    def part(self, share: float) -> str:
        """A part of what was counted as whole per cents: all of it is 100."""
        return self.text("number.percent", value=round(share * 100))

    def moment(self, moment: datetime, zone: tzinfo) -> str:
        """Day and time in full: for when something began."""
        return self._moment("moment.full", moment, zone)

    def short_moment(self, moment: datetime, zone: tzinfo) -> str:
        """Day and time in short: for a line about a post."""
        return self._moment("moment.short", moment, zone)

    def clock(self, moment: datetime, zone: tzinfo) -> str:
        """The time of day."""
        return f"{moment.astimezone(zone):%H:%M}"

    def duration(self, span: timedelta) -> str:
        """A span in its largest whole unit: ``15 minuten``, ``2 uur``, ``3 dagen``."""
        for unit, size in (("day", _DAY), ("hour", _HOUR)):
            if span >= size and not span % size:
                return self.count(f"duration.{unit}", span // size)
        return self.count("duration.minute", round(span / timedelta(minutes=1)))

    def join(self, items: list[str]) -> str:
        """``a, b en c``."""
        if len(items) < 2:  # noqa: PLR2004 - a list needs two
            return "".join(items)
        return f"{', '.join(items[:-1])} {self.text('number.and')} {items[-1]}"

    def _moment(self, key: str, moment: datetime, zone: tzinfo) -> str:
        local = moment.astimezone(zone)
        return self.text(
            key,
            weekday=self._find("moment.weekdays")[local.weekday()],
            day=local.day,
            month=self._find("moment.months")[local.month - 1],
            month_short=self._find("moment.months_short")[local.month - 1],
            year=local.year,
            time=f"{local:%H:%M}",
        )

    def _find(self, key: str) -> Any:
        found: Any = self._catalogue
        for part in key.split("."):
            if not isinstance(found, Mapping) or part not in found:
                raise KeyError(key)
            found = found[part]
        return found


@cache
def words(language: str) -> Words:
    """The catalogue of a language of :data:`LANGUAGES`. Raises ValueError for another."""
    if language not in LANGUAGES:
        raise ValueError(f"no words in language {language!r}; there are {', '.join(LANGUAGES)}")
    text = files("alerts.words").joinpath(f"{language}.toml").read_text(encoding="utf-8")
    return Words(language, tomllib.loads(text))
