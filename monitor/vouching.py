"""The step ``vouch``: is the daemon itself as it should be, and do people know?

Broken channels become incidents, the heartbeat goes out, and once a day a line says that all is well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from alerts.base import Channel, Delivery, DeliveryError, DeliveryFault, Message, Receipt
from alerts.daily import DAY, Figures, daily_line
from alerts.pacing import Pacer
from alerts.retry import next_attempt
from alerts.routes import ReceiverOptions, Via
from monitor.announcing import Announcement
from monitor.heartbeat import Heartbeat
from monitor.inbox import Inbox
from monitor.log import logger
from monitor.metrics import OK, Metrics
from monitor.outages import OutageWatch
from monitor.store import Store, Unit

KEEPS_INCIDENTS = "alertmanager"
"""The kind of channel that has no place for what is about no incident."""


@dataclass(frozen=True, slots=True)
class Daily:
    """When the line a day is told, to whom, in which words."""

    at: time
    """Local."""
    receivers: Sequence[ReceiverOptions]
    language: str
    timezone: str
    installation: str
    """A word that tells lines of two stores apart."""


class VouchStep:
    """Looks after the daemon itself. Its public methods belong to the main thread.

    Args:
        store: with outages and figures.
        outages: makes incidents of broken channels.
        heartbeat: where there is one.
        daily: the line a day, where there is one.
        now: the clock.
    """

    def __init__(
        self,
        *,
        store: Store,
        outages: OutageWatch,
        heartbeat: Heartbeat | None,
        daily: DailyLine | None,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._outages = outages
        self._heartbeat = heartbeat
        self._daily = daily
        self._now = now

    def run(self) -> list[Announcement]:
        """Look once. Returns what was announced."""
        with self._store.write() as unit:
            announced = self._outages.run(unit, self._now())
        if self._heartbeat is not None:
            self._heartbeat.run()
        if self._daily is not None:
            self._daily.run()
        return announced

    @property
    def in_flight(self) -> int:
        """How many signs of life are under way."""
        beating = self._heartbeat is not None and self._heartbeat.under_way
        return beating + (0 if self._daily is None else self._daily.in_flight)

    def close(self) -> None:
        """Let go of connections."""
        if self._heartbeat is not None:
            self._heartbeat.close()


class DailyLine:
    """Tells each of its receivers once a day that all is well, over each of their channels.

    That it was told is kept in the store, by day: a restart tells nobody twice and nobody too little.
    What could not be told by the end of the day is not told any more: the next line comes.
    """

    def __init__(
        self,
        daily: Daily,
        *,
        store: Store,
        brands: Sequence[str],
        channels: Mapping[str, Channel],
        pacers: Mapping[str, Pacer],
        inbox: Inbox,
        pool: ThreadPoolExecutor,
        metrics: Metrics,
        now: Callable[[], datetime],
    ) -> None:
        self._options = daily
        self._store = store
        self._brands = brands
        self._channels = channels
        self._pacers = pacers
        self._inbox = inbox
        self._pool = pool
        self._metrics = metrics
        self._now = now
        self._under_way: set[str] = set()
        self._failed: dict[str, tuple[int, datetime]] = {}
        """How often in a row each way failed, and when it is tried again."""
        self._log = logger("daily")

    @property
    def in_flight(self) -> int:
        """How many lines are under way."""
        return len(self._under_way)

    def run(self) -> int:
        """Tell whom it is time to tell. Returns how many lines go out."""
        now = self._now()
        local = now.astimezone(ZoneInfo(self._options.timezone))
        if local.time() < self._options.at:
            return 0
        today = local.date().isoformat()
        with self._store.read() as unit:
            due = [
                (receiver, via)
                for receiver in self._options.receivers
                for via in receiver.usual
                if self._is_due(unit, _fact(receiver.name, via.use), today, via, now)
            ]
            figures = figures_of(unit, self._brands, now) if due else None
        if figures is None:
            return 0
        for receiver, via in due:
            language = receiver.language or self._options.language
            message = daily_line(
                figures, now=now, language=language, timezone=self._options.timezone
            )
            self._tell(receiver.name, via, message, today, now)
        return len(due)

    def _is_due(self, unit: Unit, fact: str, today: str, via: Via, now: datetime) -> bool:
        channel = self._channels.get(via.use)
        if channel is None or channel.kind == KEEPS_INCIDENTS or fact in self._under_way:
            return False
        _, again_at = self._failed.get(fact, (0, now))
        # A pause that reaches far beyond the present was made before the clock was set back.
        if now < again_at <= now + DAY or unit.fact(fact) == today:
            return False
        pacer = self._pacers.get(via.use)
        if pacer is not None and pacer.free_at(via.to, now) > now:
            return False
        if pacer is not None:
            pacer.left(via.to, now)
        return True

    def _tell(self, receiver: str, via: Via, message: Message, today: str, now: datetime) -> None:
        fact = _fact(receiver, via.use)
        self._under_way.add(fact)
        delivery = Delivery(
            message=message,
            to=via.to,
            key=f"mw-daily-{today}-{self._options.installation}",
            created_at=now,
        )
        self._pool.submit(self._attempt, fact, via.use, delivery, today)

    def _attempt(self, fact: str, channel: str, delivery: Delivery, today: str) -> None:
        """In a worker."""
        error: DeliveryError | None = None
        try:
            receipt: Receipt = self._channels[channel].send(delivery)
            self._log.info("told", way=fact, note=receipt.note)
        except DeliveryError as failure:
            error = failure
        except Exception:  # noqa: BLE001 - the border of a plug-in; see monitor.delivering
            self._log.exception("channel_defect", channel=channel)
            error = DeliveryError("defect in the channel", fault=DeliveryFault.INTERNAL)
        self._inbox.post(lambda: self._end(fact, channel, error, today))

    def _end(self, fact: str, channel: str, error: DeliveryError | None, today: str) -> None:
        self._under_way.discard(fact)
        now = self._now()
        outcome = OK if error is None else error.fault.value
        self._metrics.daily_lines.labels(channel, outcome).inc()
        if error is None or error.permanent:
            self._failed.pop(fact, None)
            with self._store.write() as unit:
                unit.remember(fact, today)
        else:
            attempts = self._failed.get(fact, (0, now))[0] + 1
            again_at = next_attempt(attempts, error, now, now, jitter=0)
            self._failed[fact] = attempts, again_at or now + timedelta(hours=1)
        if error is not None:
            self._log.warning("not_told", way=fact, fault=outcome, error=str(error))


def figures_of(unit: Unit, brands: Sequence[str], now: datetime) -> Figures:
    """What happened in the last 24 hours, and how things stand."""
    since = now - DAY
    read = 0
    for brand in brands:
        for cell in unit.mentions.counts(brand, since, now).values():
            read += sum(cell.values())
    return Figures(
        mentions=read,
        delivered=unit.outbox.count_delivered(since),
        dark=sorted(unit.dusk.lasting()),
        incidents=sum(not incident.drill for incident in unit.incidents.burning()),
        waiting=unit.outbox.waiting()[0],
        given_up=unit.outbox.count_dead(),
    )


def _fact(receiver: str, channel: str) -> str:
    return f"daily:{receiver}:{channel}"
