"""Two outcomes over the same mentions held against each other: what people would notice.

An *alert* is an incident that somebody is told of. Alerts of both sides are paired where they are
about the same thing: one brand, one group of kinds, and posts or time that they share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from alerts.incidents import CRISIS_WINDOW, SPIKES
from monitor.backtest.outcome import Outcome, Raised, iso


@dataclass(frozen=True, slots=True)
class Pair:
    """One alert under both configurations."""

    before: Raised
    after: Raised

    @property
    def later_by(self) -> timedelta:
        """How much later people are told; negative: earlier."""
        return _told_at(self.after) - _told_at(self.before)

    @property
    def severity_changed(self) -> bool:
        """Whether it is judged more or less grave."""
        return self.before.severity is not self.after.severity

    @property
    def receivers_changed(self) -> bool:
        """Whether others are told, or through other channels."""
        return _ways(self.before) != _ways(self.after)


@dataclass(frozen=True, slots=True)
class Difference:
    """What another configuration changes."""

    gained: tuple[Raised, ...]
    """Alerts only the other configuration gives."""
    lost: tuple[Raised, ...]
    """Alerts only the first configuration gives."""
    pairs: tuple[Pair, ...]
    """Alerts of both, in the order of the first."""

    @property
    def earlier(self) -> list[Pair]:
        """Alerts that the other configuration gives sooner."""
        return [pair for pair in self.pairs if pair.later_by < timedelta(0)]

    @property
    def later(self) -> list[Pair]:
        """Alerts that the other configuration gives later."""
        return [pair for pair in self.pairs if pair.later_by > timedelta(0)]

    @property
    def severity(self) -> list[Pair]:
        """Alerts of another severity."""
        return [pair for pair in self.pairs if pair.severity_changed]

    @property
    def receivers(self) -> list[Pair]:
        """Alerts to others, or through other channels."""
        return [pair for pair in self.pairs if pair.receivers_changed]

    @property
    def unchanged(self) -> int:
        """Alerts that are the same in all of this."""
        return sum(
            not (pair.later_by or pair.severity_changed or pair.receivers_changed)
            for pair in self.pairs
        )

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.gained or self.lost) or self.unchanged < len(self.pairs)


def compare(before: Outcome, after: Outcome) -> Difference:
    """Hold the alerts of two outcomes against each other."""
    left, right = list(before.told), list(after.told)
    candidates = sorted(
        (
            (_likeness(one, other), one, other)
            for one in left
            for other in _near(one, right)
            if _same_thing(one, other)
        ),
        key=lambda each: (each[0], -each[1].number, -each[2].number),
        reverse=True,
    )
    partner: dict[int, Raised] = {}
    taken: set[int] = set()
    for _, one, other in candidates:
        if one.number not in partner and other.number not in taken:
            partner[one.number] = other
            taken.add(other.number)
    return Difference(
        gained=tuple(each for each in right if each.number not in taken),
        lost=tuple(each for each in left if each.number not in partner),
        pairs=tuple(Pair(each, partner[each.number]) for each in left if each.number in partner),
    )


def _near(one: Raised, others: Sequence[Raised]) -> list[Raised]:
    return [each for each in others if each.brand == one.brand and _group(each) == _group(one)]


def _group(incident: Raised) -> str:
    return "crisis" if incident.kind in SPIKES else incident.kind.value


def _same_thing(one: Raised, other: Raised) -> bool:
    """Posts in common; of spikes also time, give or take what joins two spikes anyway."""
    if not set(one.mention_ids).isdisjoint(other.mention_ids):
        return True
    return one.kind in SPIKES and _apart(one, other) <= CRISIS_WINDOW


def _apart(one: Raised, other: Raised) -> timedelta:
    """The pause between two incidents; zero where they overlap."""
    first, second = sorted((one, other), key=lambda each: (each.opened_at, each.number))
    return max(second.opened_at - first.last_signal_at, timedelta(0))


def _likeness(one: Raised, other: Raised) -> tuple[float, timedelta]:
    """The part of their posts that two incidents share, and how close together they opened."""
    ours, theirs = set(one.mention_ids), set(other.mention_ids)
    shared = len(ours & theirs) / max(len(ours | theirs), 1)
    return shared, -abs(one.opened_at - other.opened_at)


def _told_at(incident: Raised) -> datetime:
    return incident.told_at or incident.opened_at


def _ways(incident: Raised) -> set[tuple[str, str]]:
    return {(note.receiver, note.channel) for note in incident.notifications}


def to_json(difference: Difference) -> dict[str, Any]:
    """The difference as the command prints it; numbers are those of the incidents."""
    return {
        "gained": [_brief(each) for each in difference.gained],
        "lost": [_brief(each) for each in difference.lost],
        "earlier": [_moved(each) for each in difference.earlier],
        "later": [_moved(each) for each in difference.later],
        "severity": [
            {
                **_numbers(each),
                "from": each.before.severity.word,
                "to": each.after.severity.word,
            }
            for each in difference.severity
        ],
        "receivers": [
            {
                **_numbers(each),
                "from": list(each.before.receivers),
                "to": list(each.after.receivers),
            }
            for each in difference.receivers
        ],
        "unchanged": difference.unchanged,
    }


def _numbers(pair: Pair) -> dict[str, Any]:
    return {
        "number": pair.before.number,
        "against": pair.after.number,
        "kind": pair.before.kind.value,
        "brand": pair.before.brand,
    }


def _moved(pair: Pair) -> dict[str, Any]:
    return {
        **_numbers(pair),
        "from": iso(_told_at(pair.before)),
        "to": iso(_told_at(pair.after)),
        "minutes": round(pair.later_by.total_seconds() / 60, 1),
    }


def _brief(incident: Raised) -> dict[str, Any]:
    return {
        "number": incident.number,
        "kind": incident.kind.value,
        "severity": incident.severity.word,
        "brand": incident.brand,
        "title": incident.message.title,
        "told_at": iso(_told_at(incident)),
        "receivers": list(incident.receivers),
    }
