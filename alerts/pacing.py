"""How fast messages may leave: what services allow is kept before they say that it was too much.

A pace is so many messages within any stretch of time. Slack allows one message a second in each of its
channels; mail services count mails per minute (Exchange Online takes 30). Everything is asked with the
present moment: nothing here waits, or knows a clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType

_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Pace:
    """At most ``messages`` within any ``every``."""

    messages: int
    every: timedelta
    per_address: bool = False
    """Whether each address has a pace of its own; else the channel has one."""


PACES: Mapping[str, Pace] = MappingProxyType(
    {
        "slack": Pace(1, timedelta(seconds=1), per_address=True),
        "email": Pace(30, _MINUTE),
    }
)
"""What services of a kind usually allow. Other kinds have no pace, unless the configuration says so."""


def pace_of(kind: str, messages_per_minute: int | None = None) -> Pace | None:
    """The pace of a kind of channel, or as configured; None: as fast as they come.

    A kind whose pace is one message at a time keeps to that: 60 a minute are one each second.
    """
    usual = PACES.get(kind)
    if messages_per_minute is None:
        return usual
    if usual is not None and usual.per_address:
        return Pace(1, _MINUTE / messages_per_minute, per_address=True)
    return Pace(messages_per_minute, _MINUTE)


class Pacer:
    """Remembers what left through one channel, and says when the next message may."""

    def __init__(self, pace: Pace | None) -> None:
        self._pace = pace
        self._left: dict[str, deque[datetime]] = {}

    def free_at(self, addresses: Sequence[str], now: datetime) -> datetime:
        """When a message to these addresses may leave: ``now``, or a later moment."""
        if self._pace is None:
            return now
        return max(self._free_at(self._pace, target, now) for target in self._targets(addresses))

    def left(self, addresses: Sequence[str], now: datetime) -> None:
        """A message to these addresses leaves now, whatever comes of it."""
        if self._pace is None:
            return
        for target in self._targets(addresses):
            moments = self._left.setdefault(target, deque(maxlen=self._pace.messages))
            moments.append(now)

    def _targets(self, addresses: Sequence[str]) -> Sequence[str]:
        if self._pace is None or not self._pace.per_address or not addresses:
            return ("",)
        # "#crisis" and "crisis" are the same place.
        return [address.lstrip("#@").casefold() for address in addresses]

    def _free_at(self, pace: Pace, target: str, now: datetime) -> datetime:
        moments = self._left.get(target)
        # What left in the future left before the clock was set back: it says nothing.
        known = [moment for moment in moments or () if moment <= now]
        if len(known) < pace.messages:
            return now
        return max(now, known[-pace.messages] + pace.every)
