"""The step ``deliver``: the outbox, until it is empty or the other side is down."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

from alerts.base import Channel, Delivery, DeliveryError, DeliveryFault, Receipt
from alerts.message import from_json
from alerts.retry import next_attempt
from monitor.database import StoreError
from monitor.inbox import Inbox
from monitor.log import logger
from monitor.metrics import OK, Metrics
from monitor.store import Store
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


@dataclass(frozen=True, slots=True)
class DeliveryFailure:
    """An attempt that failed, for those who want to list it."""

    receiver: str
    channel: str
    fault: DeliveryFault
    message: str


class DeliverStep:
    """Empties the outbox. Its public methods belong to the main thread."""

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
    ) -> None:
        self._delivered = delivered
        self._store = store
        self._channels = channels
        self._inbox = inbox
        self._pool = pool
        self._metrics = metrics
        self._now = now
        self._rng = rng
        self._in_flight: set[int] = set()
        self._unrecorded: dict[int, Callable[[], None]] = {}
        self._began = False
        self._log = logger("deliver")
        self.sent = 0
        """Messages taken by the other side so far."""
        self.failures: list[DeliveryFailure] = []
        """What failed since the caller last emptied it; kept short."""

    @property
    def in_flight(self) -> int:
        """How many attempts are under way."""
        return len(self._in_flight)

    def run(self) -> int:
        """Start the attempts that are due. Returns how many.

        First it records the ends of those that could not be recorded when they came.

        Raises:
            StoreError: the store is out of order; nothing was started.
        """
        while self._unrecorded:
            number, record = next(iter(self._unrecorded.items()))
            record()
            del self._unrecorded[number]
        with self._store.write() as unit:
            if not self._began and (again := unit.outbox.take_back(self._now())):
                self._log.info("taken_back", notifications=again)
            claimed = [
                item
                for item in unit.outbox.claim(self._now(), LEASE)
                if item.id not in self._in_flight
            ]
        self._began = True
        for item in claimed:
            self._in_flight.add(item.id)
            self._pool.submit(self._attempt, item)
        return len(claimed)

    def waiting(self) -> int:
        """How many notifications are in the outbox."""
        with self._store.read() as unit:
            return unit.outbox.waiting()[0]

    # -- in a worker ---------------------------------------------------------------------------

    def _attempt(self, item: Pending) -> None:
        began = time.monotonic()
        receipt: Receipt | None = None
        error: DeliveryError | None = None
        try:
            receipt = self._send(item)
        except DeliveryError as failure:
            error = failure
        except Exception:  # noqa: BLE001 - the border of a plug-in: its defects must not lose a message
            self._log.exception("channel_defect", channel=item.channel, key=item.key)
            error = DeliveryError(
                f"defect in channel {item.channel}; its traceback is in the log",
                fault=DeliveryFault.INTERNAL,
            )
        seconds = time.monotonic() - began
        self._inbox.post(lambda: self._end(item, receipt, error, seconds))

    def _send(self, item: Pending) -> Receipt:
        channel = self._channels.get(item.channel)
        if channel is None:
            raise DeliveryError(
                f"channel {item.channel} is not in the configuration any more; put it back or "
                "acknowledge the incident",
                fault=DeliveryFault.REFUSED,
            )
        return channel.send(
            Delivery(
                message=from_json(item.message),
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
        self._in_flight.discard(item.id)
        now = self._now()
        outcome = OK if error is None else error.fault.value
        self._metrics.deliveries.labels(item.channel, outcome).inc()
        self._metrics.delivery_seconds.labels(item.channel).observe(seconds)

        def record() -> None:
            if error is None:
                self._record_success(item, receipt, now)
            else:
                self._record_failure(item, error, now)

        try:
            record()
        except StoreError as trouble:
            # The mail is out, or is not: either way it must be known before it is tried again.
            self._unrecorded[item.id] = record
            self._log.error("not_recorded", key=item.key, outcome=outcome, error=str(trouble))

    def _record_success(self, item: Pending, receipt: Receipt | None, now: datetime) -> None:
        with self._store.write() as unit:
            unit.outbox.delivered(item, now, receipt or Receipt())
        self._log.info(
            "delivered",
            incident=item.incident_id,
            happened=item.event,
            receiver=item.receiver,
            channel=item.channel,
            key=item.key,
            attempts=item.attempts,
            note=receipt.note if receipt else None,
        )
        self.sent += 1
        self._delivered()

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
        self.failures.append(DeliveryFailure(item.receiver, item.channel, error.fault, str(error)))
        del self.failures[:-100]
        log = self._log.error if due is None else self._log.warning
        log(
            "dead_letter" if due is None else "delivery_failed",
            incident=item.incident_id,
            receiver=item.receiver,
            channel=item.channel,
            key=item.key,
            fault=error.fault.value,
            attempts=item.attempts,
            next_attempt_at=None if due is None else due.isoformat(timespec="seconds"),
            error=str(error),
        )


def _mendable(error: DeliveryError) -> DeliveryError:
    """The error as the retry plan should see it."""
    if error.permanent and error.fault in _MENDABLE:
        return DeliveryError(
            str(error), fault=error.fault, permanent=False, retry_after=error.retry_after
        )
    return error
