"""``routes test``: who would be told of an example, when and why, and why not the others."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from alerts.base import Reason
from monitor.config import Config
from monitor.rehearsing import Notice, Refusal, Rehearsal, Wanted, rehearse

__all__ = ["Wanted", "as_json", "as_text", "rehearse"]

_WHY = {
    Reason.OPENED: "the incident opens",
    Reason.ESCALATED: "nobody has taken it",
    Reason.REMINDER: "the clock runs",
    Reason.BREACHED: "the clock has run out",
    Reason.NOBODY_ANSWERED: "the whole chain was gone through in vain",
    Reason.WRONG_HOURS: "the step is for other hours: the chain goes on",
    Reason.NOBODY_ON_DUTY: "nobody is on duty: the chain goes on",
}
_KEPT = {
    Reason.QUIET_HOURS: "kept until the quiet hours end",
    Reason.GROUPED: "waits for its like",
}
_ENDS = {
    Reason.NO_ROUTE: "No route matches: nobody is told. Add a route, the last one without conditions.",
    Reason.NOBODY_ANSWERED: "After that nothing more is said until something happens to the incident.",
}


def as_text(found: Rehearsal, settings: Config) -> str:
    """For people: the example, then what happens in order of time, then why not the others."""
    return "\n".join(_Lines(found, settings).write()) + "\n"


def as_json(found: Rehearsal, _settings: Config) -> str:
    """For programs: times in UTC."""
    wanted = found.wanted
    value = {
        "example": {
            "kind": wanted.kind.value,
            "severity": wanted.severity.word,
            "brand": wanted.brand,
            "at": _iso(wanted.at),
            "language": wanted.language,
            "source": wanted.source,
            "rules": sorted(found.rules),
        },
        "routes": list(found.routes),
        "chain": found.chain,
        "notifications": [
            {
                "decided_at": _iso(each.at),
                "at": _iso(each.told_at) if each.told_at else None,
                "receiver": each.receiver or None,
                "channel": each.channel or None,
                "to": list(each.to),
                "reason": each.reason.value,
                "kept": each.kept.value if each.kept else None,
                "step": None if each.level is None else each.level + 1,
                "clock": each.clock or None,
                "percent": each.percent,
                "route": each.route or None,
            }
            for each in found.notices
        ],
        "clocks": [
            {
                "name": clock.name,
                "started_at": _iso(clock.started_at),
                "due_at": _iso(clock.due_at),
                "reminders": [
                    {"percent": percent, "at": _iso(at)} for percent, at in clock.reminders
                ],
            }
            for clock in found.clocks
        ],
        "not_told": [_refusal(each) for each in found.others],
        "routes_passed": [_refusal(each) for each in found.passed_routes],
        "clocks_not_started": [_refusal(each) for each in found.passed_clocks],
        "ends": found.ends.value if found.ends else None,
    }
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()


def _refusal(each: Refusal) -> dict[str, str]:
    return {"name": each.name, "reason": each.reason.value, "because": each.because}


class _Lines:
    """The text of one rehearsal."""

    def __init__(self, found: Rehearsal, settings: Config) -> None:
        self._found = found
        self._zone = ZoneInfo(settings.timezone)
        self._timezone = settings.timezone

    def write(self) -> Iterator[str]:
        found, wanted = self._found, self._found.wanted
        about = [wanted.kind.value, wanted.severity.word]
        about += [f"about {wanted.brand}"] if wanted.brand else []
        about += [f"in {wanted.language}"] if wanted.language else []
        about += [f"found at {wanted.source}"] if wanted.source else []
        yield f"An incident ({', '.join(about)}) that opens {self._when(wanted.at)}"
        yield f"  rules that fire: {', '.join(sorted(found.rules))}"
        yield f"  routes that speak for it: {', '.join(found.routes) or 'none'}"
        yield f"  chain: {found.chain or 'none'}"
        yield f"  times in {self._timezone}; silences and crises that burn are not looked at"
        yield ""
        yield "Who is told if nobody answers"
        yield from self._notices() if found.notices else ["  nobody"]
        if found.ends in _ENDS:
            yield f"  {_ENDS[found.ends]}"
        yield ""
        yield "Clocks"
        for clock in found.clocks:
            reminders = ", ".join(f"{share:g} % {self._when(at)}" for share, at in clock.reminders)
            yield f"  {clock.name}: due {self._when(clock.due_at)}; reminders {reminders or 'none'}"
        yield from self._refused(found.passed_clocks, "does not start")
        if not found.clocks and not found.passed_clocks:
            yield "  none is configured"
        if found.others:
            yield ""
            yield "Who is not told, and why"
            yield from self._refused(found.others)
        if found.passed_routes:
            yield ""
            yield "Routes that do not speak"
            yield from self._refused(found.passed_routes)

    def _notices(self) -> Iterator[str]:
        rows: list[tuple[str, str, str, str]] = []
        for each in sorted(self._found.notices, key=_moment):
            row = self._row(each)
            if each.kept is not None and rows and rows[-1][:3] == row[:3]:
                # What was kept for the same moment is one message.
                rows[-1] = (*row[:3], f"{rows[-1][3]}; with it {each.reason.value}")
            else:
                rows.append(row)
        widths = [max(len(row[place]) for row in rows) for place in range(3)]
        for row in rows:
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
            yield "  " + "  ".join([*cells, row[3]]).rstrip()

    def _row(self, each: Notice) -> tuple[str, str, str, str]:
        to = f" ({', '.join(each.to)})" if each.to else ""
        why = _WHY.get(each.reason, each.reason.value)
        parts = [f"{each.reason.value}: {why}"]
        if each.clock:
            parts.append(f"clock {each.clock} at {each.percent:g} %")
        if each.level is not None:
            parts.append(f"step {each.level + 1} of {self._found.chain}")
        if each.route:
            parts.append(each.route)
        if each.kept is not None:
            parts.append(f"{each.kept.value}: {_KEPT[each.kept]}")
        through = f"through {each.channel}{to}" if each.channel else "-"
        return (self._when(_moment(each)), each.receiver or "nobody", through, ", ".join(parts))

    @staticmethod
    def _refused(refusals: Sequence[Refusal], word: str = "") -> Iterator[str]:
        for each in refusals:
            yield f"  {each.name}: {word or each.reason.value}, {each.because}"

    def _when(self, moment: datetime) -> str:
        return moment.astimezone(self._zone).strftime("%a %Y-%m-%d %H:%M")


def _moment(each: Notice) -> datetime:
    return each.told_at or each.at
