"""One channel in place of another: what waits too long, or was refused, goes over a second way.

Each is taken over once. What the first channel still gets when it is back: everything, but for
incidents that are over and of which it had told nothing; their story was told elsewhere, whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta

from alerts.base import Event, Reason, SignalKind
from alerts.message import by_another_way, from_json, to_json
from alerts.routes import Via
from monitor.store import Unit
from monitor.store.outbox import DELIVERED, Pending


class StandIns:
    """Who stands in for a channel, and since when.

    Args:
        ways: by receiver and channel, the one that stands in for it.
    """

    def __init__(self, ways: Mapping[tuple[str, str], Via]) -> None:
        self._ways = ways

    def run(self, unit: Unit, now: datetime) -> int:
        """Take over what waits for channels that have been down for too long. Returns how many."""
        if not self._ways:
            return 0
        down = {outage.channel: outage.since for outage in unit.outages.all() if outage.down}
        count = 0
        for (receiver, channel), via in self._ways.items():
            since = down.get(channel)
            if since is None or now - since < timedelta(minutes=via.after_minutes):
                continue
            for item in unit.outbox.without_stand_in(receiver, channel):
                count += self._take_over(unit, item, via, now, since)
        return count

    def given_up(self, unit: Unit, item: Pending, now: datetime) -> None:
        """A channel refused a message for good: it goes the other way at once."""
        via = self._ways.get(item.lane)
        if via is not None and not unit.outbox.stand_in_of(item.key):
            self._take_over(unit, item, via, now, None)

    def needless(self, unit: Unit, item: Pending) -> Reason | None:
        """Why a notification need not leave any more, since the other way told it."""
        if item.failover_of is not None:
            back = unit.outbox.state_of(item.failover_of) == DELIVERED
            return Reason.FIRST_IS_BACK if back else None
        if item.lane not in self._ways or unit.outbox.stand_in_of(item.key) != DELIVERED:
            return None
        return Reason.STOOD_IN if unit.outbox.is_over_and_untold(item) else None

    def _take_over(
        self, unit: Unit, item: Pending, via: Via, now: datetime, since: datetime | None
    ) -> bool:
        incident = unit.incidents.get(item.incident_id)
        about = None if incident is None else (incident.kind, incident.subject)
        if item.failover_of is not None or about == (SignalKind.BROKEN_CHANNEL, via.use):
            return False
        if unit.outbox.told_beside(item, via.use):
            return False
        added = unit.outbox.add(
            key=_key(item.key, via.use),
            incident_id=item.incident_id,
            event=Event(item.event),
            receiver=item.receiver,
            channel=via.use,
            addresses=via.to,
            message=to_json(by_another_way(from_json(item.message), item.channel, since)),
            now=now,
            reason=item.reason,
            page=item.page,
            further_of=item.id,
            drill=item.drill,
            failover_of=item.key,
        )
        if added:
            unit.outbox.decided(
                item.incident_id,
                now,
                Event(item.event),
                receiver=item.receiver,
                channel=via.use,
                send=True,
                reason=Reason.STANDING_IN.value,
            )
        return added


def _key(key: str, channel: str) -> str:
    """The key of what stands in: always the same for one message and channel."""
    beginning = key.rpartition("-")[0]
    digest = hashlib.sha256(f"{key}\0{channel}".encode()).hexdigest()[:24]
    return f"{beginning}-{digest}" if beginning else digest
