"""The step ``deliver``: the outbox, until it is empty or the other side is down.

What waits too long for a channel that does not deliver goes over the one that stands in for it. Rates
that services allow are kept beforehand, and nobody is written to who asked to be left alone for a while.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from alerts.base import Channel, Delivery, DeliveryError, DeliveryFault, Reason, Receipt
from alerts.message import as_drill, from_json
from alerts.pacing import Pacer
from alerts.retry import next_attempt
from alerts.routes import Via
from monitor.database import StoreError
from monitor.inbox import Inbox
from monitor.log import about, logger
from monitor.metrics import OK, Metrics
from monitor.standing_in import StandIns
from monitor.store import Store, Unit
from monitor.store.lanes import Head
from monitor.store.outbox import Pending

LEASE = timedelta(minutes=5)
"""An attempt that nobody has recorded the end of may be made again after this: longer than any
channel's time-out."""

_OF_THE_CHANNEL = frozenset(
    {
        DeliveryFault.TIMEOUT,
        DeliveryFault.UNREACHABLE,
        DeliveryFault.TLS,
        DeliveryFault.UNAUTHORIZED,
        DeliveryFault.RATE_LIMITED,
    }
)
"""Faults of the channel, not of the message: those behind wait too, so that the order is kept."""

_MENDABLE = frozenset({DeliveryFault.UNAUTHORIZED, DeliveryFault.TLS, DeliveryFault.INTERNAL})
"""A person may mend these (a password, a certificate) before the letter is two days old: they are
retried even where the channel thinks that trying again cannot help."""

STEP_ASIDE_AFTER = 5
"""A message that failed this often for a reason of its own lets those behind it pass."""

AT_ONCE = 2
"""Attempts under way through one channel: the others have workers left, whatever hangs. One that is
down gets one at a time."""

Unwanted = Callable[[Unit, Pending, datetime], Reason | None]
"""Says why a notification is not to leave any more, or None: asked just before each attempt."""


@dataclass(frozen=True, slots=True)
class DeliveryFailure:
    """An attempt that failed, for those who want to list it."""

    receiver: str
    channel: str
    fault: DeliveryFault
    message: str


class DeliverStep:
    """Empties the outbox. Its public methods belong to the main thread.

    Args:
        store: with the outbox.
        channels: by name.
        inbox: where workers report.
        pool: of the workers.
        metrics: counts.
        now: the clock.
        rng: for the jitter of pauses.
        delivered: called whenever an attempt has ended, since another one may begin.
        pacers: how fast messages may leave, by channel; a channel without one: at any rate.
        stand_ins: who stands in for a channel, by receiver and channel.
        unwanted: says why a notification is not to leave any more.
        workers: attempts under way at once, through all channels.
    """

    def __init__(
        self,
        *,
        store: Store,
        channels: Mapping[str, Channel],
        inbox: Inbox,
        pool: ThreadPoolExecutor,
        metrics: Metrics,
        now: Callable[[], datetime],
        rng: random.Random,
        delivered: Callable[[], object],
        pacers: Mapping[str, Pacer] | None = None,
        stand_ins: Mapping[tuple[str, str], Via] | None = None,
        unwanted: Unwanted = lambda _unit, _pending, _now: None,
        workers: int = 4,
    ) -> None:
        self._delivered = delivered
        self._store = store
        self._channels = channels
        self._inbox = inbox
        self._pool = pool
        self._metrics = metrics
        self._now = now
        self._rng = rng
        self._pacers = pacers or {}
        self._stand_ins = StandIns(stand_ins or {})
        self._unwanted = unwanted
        self._workers = workers
        self._in_flight: dict[int, str] = {}
        self._unrecorded: dict[int, Callable[[], None]] = {}
        self._began = False
        self._log = logger("deliver")
        self.sent = 0
        """Messages taken by the other side so far."""
        self.held_until: datetime | None = None
        """When the first of those may leave that only their channel's pace holds back."""
        self.failures: list[DeliveryFailure] = []
        """What failed since the caller last emptied it; kept short."""

    @property
    def in_flight(self) -> int:
        """How many attempts are under way."""
        return len(self._in_flight)

    def run(self) -> int:
        """Start the attempts that are due, as far as there are workers. Returns how many.

        First it records the ends of those that could not be recorded when they came.

        Raises:
            StoreError: the store is out of order; nothing was started.
        """
        while self._unrecorded:
            number, record = next(iter(self._unrecorded.items()))
            record()
            del self._unrecorded[number]
        now = self._now()
        with self._store.write() as unit:
            if not self._began and (again := unit.outbox.take_back(now)):
                unit.afterwards(partial(self._log.info, "taken_back", notifications=again))
            if taken_over := self._stand_ins.run(unit, now):
                unit.afterwards(partial(self._log.warning, "stood_in", notifications=taken_over))
            claimed = self._claim(unit, now)
        self._began = True
        for item in claimed:
            self._in_flight[item.id] = item.channel
            self._pool.submit(self._attempt, item)
        return len(claimed)

    def waiting(self) -> int:
        """How many notifications are in the outbox."""
        with self._store.read() as unit:
            return unit.outbox.waiting()[0]

    # -- what leaves now -----------------------------------------------------------------------

    def _claim(self, unit: Unit, now: datetime) -> list[Pending]:
        """Take what may leave now; withdraw what is not wanted any more, and look again."""
        claimed: list[Pending] = []
        look_again = True
        while look_again:
            look_again = False
            heads = unit.outbox.heads(now)
            gate = self._gate(unit, heads, now, claimed)
            for head in heads:
                if head.due_at > now or head.id in self._in_flight or not gate.admits(head):
                    continue
                item = unit.outbox.look_up(head.id)
                if reason := self._why_not(unit, item, now):
                    unit.outbox.withdraw(item.id, reason, now)
                    tell = partial(
                        self._log.info,
                        "withdrawn",
                        receiver=item.receiver,
                        channel=item.channel,
                        key=item.key,
                        reason=reason.value,
                        **unit.looking.subjects(item.id, item.incident_id),
                    )
                    unit.afterwards(tell)
                    look_again = True
                else:
                    claimed.append(unit.outbox.take(item, now, LEASE))
                    gate.leaves(head)
            self.held_until = gate.held_until
        return claimed

    def _why_not(self, unit: Unit, item: Pending, now: datetime) -> Reason | None:
        return self._unwanted(unit, item, now) or self._stand_ins.needless(unit, item)

    def _gate(
        self, unit: Unit, heads: Sequence[Head], now: datetime, claimed: Sequence[Pending]
    ) -> _Gate:
        wishes = ((head.channel, head.held_until) for head in heads)
        return _Gate(
            now=now,
            busy=Counter([*self._in_flight.values(), *(item.channel for item in claimed)]),
            workers=self._workers,
            down=frozenset(outage.channel for outage in unit.outages.all() if outage.down),
            closed=frozenset(channel for channel, until in wishes if until and until > now),
            pacers=self._pacers,
        )

    # -- in a worker ---------------------------------------------------------------------------

    def _attempt(self, item: Pending) -> None:
        with about(incident=item.incident_id, channel=item.channel, key=item.key):
            self._try(item)

    def _try(self, item: Pending) -> None:
        began = time.monotonic()
        receipt: Receipt | None = None
        error: DeliveryError | None = None
        try:
            receipt = self._send(item)
        except DeliveryError as failure:
            error = failure
        except Exception:  # noqa: BLE001 - the border of a plug-in: its defects must not lose a message
            self._log.exception("channel_defect")
            error = DeliveryError(
                f"defect in channel {item.channel}; its traceback is in the log",
                fault=DeliveryFault.INTERNAL,
            )
        seconds = time.monotonic() - began
        self._log.debug("attempted", attempts=item.attempts, seconds=round(seconds, 3))
        self._inbox.post(lambda: self._end(item, receipt, error, seconds))

    def _send(self, item: Pending) -> Receipt:
        channel = self._channels.get(item.channel)
        if channel is None:
            raise DeliveryError(
                f"channel {item.channel} is not in the configuration any more; put it back or "
                "acknowledge the incident",
                fault=DeliveryFault.REFUSED,
            )
        message = from_json(item.message)
        return channel.send(
            Delivery(
                message=as_drill(message) if item.drill else message,
                to=item.addresses,
                key=item.key,
                thread=item.thread,
                created_at=item.created_at,
            )
        )

    # -- in the main thread --------------------------------------------------------------------

    def _end(
        self,
        item: Pending,
        receipt: Receipt | None,
        error: DeliveryError | None,
        seconds: float,
    ) -> None:
        del self._in_flight[item.id]
        now = self._now()
        outcome = OK if error is None else error.fault.value
        self._metrics.deliveries.labels(item.channel, outcome).inc()
        self._metrics.delivery_seconds.labels(item.channel).observe(seconds)

        def record() -> None:
            if error is None:
                self._record_success(item, receipt or Receipt(), now)
            else:
                self._record_failure(item, error, now)

        try:
            record()
        except StoreError as trouble:
            # The mail is out, or is not: either way it must be known before it is tried again.
            self._unrecorded[item.id] = record
            self._log.error(
                "not_recorded",
                incident=item.incident_id,
                key=item.key,
                outcome=outcome,
                error=str(trouble),
            )
        self._delivered()

    def _record_success(self, item: Pending, receipt: Receipt, now: datetime) -> None:
        with self._store.write() as unit:
            unit.outbox.delivered(item, now, receipt)
            unit.outages.delivered(item.channel, now)
            subjects = unit.looking.subjects(item.id, item.incident_id)
        # A note is something that a person should look at: an address that was refused.
        log = self._log.warning if receipt.note else self._log.info
        log(
            "delivered",
            happened=item.event,
            reason=item.reason or None,
            receiver=item.receiver,
            channel=item.channel,
            key=item.key,
            attempts=item.attempts,
            note=receipt.note or None,
            **subjects,
        )
        self.sent += 1

    def _record_failure(self, item: Pending, error: DeliveryError, now: datetime) -> None:
        due = next_attempt(
            item.attempts,
            _mendable(error),
            item.created_at,
            now,
            jitter=self._rng.random(),
        )
        aside = error.fault not in _OF_THE_CHANNEL and item.attempts >= STEP_ASIDE_AFTER
        with self._store.write() as unit:
            unit.outbox.failed(
                item,
                due,
                fault=error.fault.value,
                error=str(error),
                aside=aside,
                not_before=now + error.retry_after if error.retry_after else None,
            )
            if item.channel in self._channels:
                unit.outages.failed(
                    item.channel, now, fault=error.fault, error=str(error), for_good=due is None
                )
            if due is None:
                self._stand_ins.given_up(unit, item, now)
            subjects = unit.looking.subjects(item.id, item.incident_id)
        self.failures.append(DeliveryFailure(item.receiver, item.channel, error.fault, str(error)))
        del self.failures[:-100]
        log = self._log.error if due is None else self._log.warning
        log(
            "dead_letter" if due is None else "delivery_failed",
            happened=item.event,
            receiver=item.receiver,
            channel=item.channel,
            key=item.key,
            fault=error.fault.value,
            attempts=item.attempts,
            next_attempt_at=None if due is None else due.isoformat(timespec="seconds"),
            error=str(error),
            **subjects,
        )


class _Gate:
    """Who may leave in one turn: there is a worker, the channel is open, its pace is kept."""

    def __init__(
        self,
        *,
        now: datetime,
        busy: Counter[str],
        workers: int,
        down: Collection[str],
        closed: Collection[str],
        pacers: Mapping[str, Pacer],
    ) -> None:
        self._now = now
        self._busy = busy
        self._workers = workers
        self._down = down
        self._closed = closed
        self._pacers = pacers
        self.held_until: datetime | None = None

    def admits(self, head: Head) -> bool:
        """Whether it may leave now."""
        channel = head.channel
        if self._busy.total() >= self._workers or channel in self._closed:
            return False
        if self._busy[channel] >= (1 if channel in self._down else AT_ONCE):
            return False
        pacer = self._pacers.get(channel)
        free_at = self._now if pacer is None else pacer.free_at(head.addresses, self._now)
        if free_at > self._now:
            self.held_until = min(self.held_until or free_at, free_at)
            return False
        return True

    def leaves(self, head: Head) -> None:
        """It leaves."""
        self._busy[head.channel] += 1
        if pacer := self._pacers.get(head.channel):
            pacer.left(head.addresses, self._now)


def _mendable(error: DeliveryError) -> DeliveryError:
    """The error as the retry plan should see it."""
    if error.permanent and error.fault in _MENDABLE:
        return DeliveryError(
            str(error), fault=error.fault, permanent=False, retry_after=error.retry_after
        )
    return error
