"""The intake: takes what is pushed to a source, and says so only once it is on disk.

A push goes POST → the source's door checks who sent it → the main thread commits a row → 200. The
source reads the row at its next poll, and its cursor goes past it in the transaction that stores what
became of it: from then on the row is done, and its body is erased. A sender that hears nothing sends
again; what has the same identity is stored once. Whatever is too much is refused, never kept in
memory.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus

from connectors.base import Arrival
from connectors.intake import Door, Greeting, NotAdmittedError, Push
from monitor.inbox import Inbox
from monitor.log import logger
from monitor.metrics import Metrics
from monitor.store import Store

_PURGE_EVERY = timedelta(minutes=10)
_PURGE_CHUNK = 1_000
_TELL_EVERY = 60.0
"""Seconds between two lines in the log about pushes to a source that were not taken."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is taken."""

    per_minute: int = 600
    """Pushes to one source."""
    waiting: int = 10_000
    """Pushes to one source that nobody has read yet."""
    waiting_bytes: int = 64 * 2**20
    """Their bodies together."""
    at_once: int = 8
    """Pushes that wait for the main thread; as many again may wait for their turn."""
    seconds: float = 10.0
    """How long a sender waits for the main thread."""
    remember: timedelta = timedelta(days=7)
    """How long a repeat of what was read is known as one. No platform tries for longer."""
    keep: timedelta = timedelta(days=30)
    """What nobody has read by then (a source that was taken out) is given up."""


class TooMuchError(Exception):
    """A push is refused for now: the sender should come again."""

    def __init__(self, message: str, status: HTTPStatus, seconds: float) -> None:
        super().__init__(message)
        self.status = status
        self.seconds = max(1, round(seconds))


class IntakeDesk:
    """Keeps the doors of the sources. ``greet`` and ``take`` are for the threads of the web server.

    Args:
        store: where pushes are kept.
        inbox: the way to the main thread.
        metrics: counts.
        now: the clock.
        limits: how much is taken.
        monotonic: seconds, for the rate.
    """

    def __init__(
        self,
        *,
        store: Store,
        inbox: Inbox,
        metrics: Metrics,
        now: Callable[[], datetime],
        limits: Limits = Limits(),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._inbox = inbox
        self._metrics = metrics
        self._now = now
        self.limits = limits
        self._monotonic = monotonic
        self._doors: Mapping[str, Door] = {}
        self._rates: dict[str, _Rate] = {}
        self._lock = threading.Lock()
        self._waiting: dict[str, tuple[int, int]] | None = None
        """Per source, as the main thread counts along; None: look into the store."""
        self._purged_at: datetime | None = None
        self._told: dict[str, float] = {}
        self._log = logger("intake")

    # -- of the composition root, in the main thread ------------------------------------------

    def open(self, doors: Mapping[str, Door]) -> None:
        """From now on, take pushes for these sources only."""
        with self._lock:
            self._rates = {
                name: self._rates.get(name) or _Rate(self.limits.per_minute, self._monotonic)
                for name in doors
            }
            self._doors = dict(doors)

    def of(self, source: str) -> SourceIntake:
        """What a source reads its pushes from."""
        return SourceIntake(self, source)

    # -- of the web server, in any thread -----------------------------------------------------

    def greet(self, source: str, query: Mapping[str, str]) -> Greeting:
        """Answer a platform that asks whether this is the right door. Raises NotAdmittedError."""
        return self._door(source).greet(query)

    def take(self, source: str, push: Push) -> bool:
        """Let a push in. True: it is stored now; False: it was known already.

        Raises:
            NotAdmittedError: not by this sender, or not to this source.
            TooMuchError: not now.
            LateError, StoppedError, StoreError: not stored, by no fault of the sender.
        """
        door = self._door(source)
        with self._counted(source):
            identity = door.admit(push)
            self._rates[source].spend()
            new = self._inbox.ask(
                lambda: self._keep(source, identity, push.body, prompt=door.prompt),
                seconds=self.limits.seconds,
            )
        self._metrics.pushes.labels(source, "stored" if new else "repeated").inc()
        self._log.info("pushed", source=source, new=new, bytes=len(push.body))
        return new

    @contextmanager
    def _counted(self, source: str) -> Iterator[None]:
        try:
            yield
        except (NotAdmittedError, TooMuchError) as error:
            outcome = "refused" if isinstance(error, NotAdmittedError) else "too_many"
            self._metrics.pushes.labels(source, outcome).inc()
            # Strangers may knock as often as they like: the log hears of it once in a while.
            now = self._monotonic()
            if now - self._told.get(source, -_TELL_EVERY) >= _TELL_EVERY:
                self._told[source] = now
                self._log.warning(f"push_{outcome}", source=source, error=str(error))
            raise

    def _door(self, source: str) -> Door:
        door = self._doors.get(source)
        if door is None:
            raise NotAdmittedError("nothing here takes pushes", status=HTTPStatus.NOT_FOUND)
        return door

    # -- of the main thread -------------------------------------------------------------------

    def _keep(self, source: str, identity: str, body: bytes, *, prompt: bool) -> bool:
        now = self._now()
        with self._store.write() as unit:
            if self._waiting is None:
                self._waiting = unit.intake.waiting()
            count, size = self._waiting.get(source, (0, 0))
            if count >= self.limits.waiting or size + len(body) > self.limits.waiting_bytes:
                raise TooMuchError(
                    "more than can be kept waits to be read", HTTPStatus.SERVICE_UNAVAILABLE, 60
                )
            new = unit.intake.add(source, identity, body, now)
            if new and prompt:
                unit.sources.make_due([source], now)
        if new:
            self._waiting[source] = (count + 1, size + len(body))
            self._metrics.pushes_waiting.labels(source).set(count + 1)
        return new

    def read(self, source: str, number: int, limit: int) -> Sequence[Arrival]:
        """What :meth:`connectors.base.Intake.after` gives to ``source``; asks the main thread."""
        return self._inbox.ask(lambda: self._read(source, number, limit))

    def _read(self, source: str, number: int, limit: int) -> Sequence[Arrival]:
        with self._store.read() as unit:
            return unit.intake.after(source, number, limit)

    def settle(self, source: str, number: int) -> None:
        """What :meth:`connectors.base.Intake.done` says; asks the main thread."""
        self._inbox.ask(lambda: self._settle(source, number))

    def _settle(self, source: str, number: int) -> None:
        with self._store.read() as unit:
            oldest = unit.intake.after(source, 0, 1)
        if oldest and oldest[0].number <= number:
            with self._store.write() as unit:
                unit.intake.settle(source, number)
                self._waiting = unit.intake.waiting()
            self._metrics.pushes_waiting.labels(source).set(self._waiting.get(source, (0, 0))[0])
        self._purge()

    def _purge(self) -> None:
        """Now and then, forget what was read long ago and what nobody reads."""
        now = self._now()
        if self._purged_at is not None and now - self._purged_at < _PURGE_EVERY:
            return
        self._purged_at = now
        with self._store.write() as unit:
            _, lost = unit.intake.purge(
                done_before=now - self.limits.remember,
                any_before=now - self.limits.keep,
                limit=_PURGE_CHUNK,
            )
        if lost:
            self._waiting = None
            self._log.warning("pushes_given_up", count=lost, older_than_days=self.limits.keep.days)


@dataclass(frozen=True, slots=True)
class SourceIntake:
    """The intake of one source: see :class:`connectors.base.Intake`."""

    desk: IntakeDesk
    source: str

    def after(self, number: int, limit: int) -> Sequence[Arrival]:
        """Give the oldest pushes behind ``number``."""
        return self.desk.read(self.source, number, limit)

    def done(self, number: int) -> None:
        """Have the pushes up to ``number`` erased."""
        self.desk.settle(self.source, number)


class _Rate:
    """So many in a minute, evenly after a burst. Safe from several threads."""

    def __init__(self, per_minute: int, monotonic: Callable[[], float]) -> None:
        self._most = float(per_minute)
        self._left = self._most
        self._monotonic = monotonic
        self._seen = monotonic()
        self._lock = threading.Lock()

    def spend(self) -> None:
        """Take one. Raises TooMuchError."""
        with self._lock:
            now = self._monotonic()
            self._left = min(self._most, self._left + (now - self._seen) * self._most / 60)
            self._seen = now
            if self._left < 1:
                wait = (1 - self._left) * 60 / self._most
                raise TooMuchError("too many pushes", HTTPStatus.TOO_MANY_REQUESTS, wait)
            self._left -= 1
