"""A channel that does not deliver is an incident of its own, told over another channel.

One incident a channel, however many messages wait or were given up: it opens when the channel has
delivered nothing for a while or a message became a dead letter, and ends when it delivers again.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from alerts.base import Event, Severity, Signal, SignalKind
from monitor.announcing import Announcement, Announcer
from monitor.store import Unit
from monitor.store.outages import Outage


class OutageWatch:
    """Opens and ends incidents about channels.

    Args:
        announcer: tells of them.
        broken_after: how long a channel may deliver nothing, by its name: every channel there is.
    """

    def __init__(self, *, announcer: Announcer, broken_after: Mapping[str, timedelta]) -> None:
        self._announcer = announcer
        self._broken_after = broken_after

    def run(self, unit: Unit, now: datetime) -> list[Announcement]:
        """Look at every channel once. Returns what was announced."""
        signals = []
        for outage in unit.outages.all():
            if outage.channel not in self._broken_after:
                unit.outages.end(outage.channel)
            elif outage.told is None and self._is_broken(outage, now):
                signals.append(_signal(unit, outage))
                unit.outages.tell(outage.channel, now)
            elif self._is_mended(outage, now):
                unit.outages.end(outage.channel)
        return self._announcer.announce(unit, signals, now) + self._ended(unit, now)

    def _is_broken(self, outage: Outage, now: datetime) -> bool:
        # However short a blip was over when this was looked at: a message given up must be told of.
        return bool(outage.given_up) or (
            outage.down and now - outage.since >= self._broken_after[outage.channel]
        )

    def _is_mended(self, outage: Outage, now: datetime) -> bool:
        if outage.down or outage.delivered_at is None or outage.delivered_at < outage.failed_at:
            return False
        # Where one message in ten is refused it is one trouble, not one after each message.
        quiet = now - outage.failed_at >= self._broken_after[outage.channel]
        return quiet or not outage.given_up

    def _ended(self, unit: Unit, now: datetime) -> list[Announcement]:
        """The incidents whose channel has no trouble any more."""
        told = []
        troubled = {outage.channel for outage in unit.outages.all()}
        for incident in unit.incidents.burning(brand=""):
            if incident.kind is not SignalKind.BROKEN_CHANNEL or incident.subject in troubled:
                continue
            known = incident.subject in self._broken_after
            why = "delivers again" if known else "is not in the configuration any more"
            unit.incidents.resolve(incident.id, "merkwacht", now, f"the channel {why}")
            told.append(self._announcer.tell(unit, incident, Event.RESOLVED, now))
        return told


def _signal(unit: Unit, outage: Outage) -> Signal:
    kind = SignalKind.BROKEN_CHANNEL
    return Signal(
        kind=kind,
        brand="",
        severity=Severity.HIGH,
        key=f"{kind.value}:{outage.channel}:{outage.since.isoformat()}",
        subject=outage.channel,
        occurred_at=outage.since,
        facts={
            "channel": outage.channel,
            "since": outage.since.isoformat(),
            "trouble": outage.fault.value,
            "error": outage.error,
            "waiting": unit.outbox.waiting_for(outage.channel),
            "given_up": outage.given_up,
        },
    )
