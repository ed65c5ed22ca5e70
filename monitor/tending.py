"""The step ``tend``: what must be looked after now and then, whether or not posts come in."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

from alerts.base import Event, Incident, IncidentState, Severity, Signal, SignalKind
from alerts.clocks import ClockState
from connectors.base import SourceFault
from monitor.announcing import Announcement, Announcer
from monitor.budget import Level, Standing, signals, standings
from monitor.log import logger
from monitor.metrics import Metrics
from monitor.polling import Source
from monitor.silence import Silence, SilenceWatch, signal_of
from monitor.store import Store, Unit
from monitor.store.sources import SourceState

LOOK_EVERY = timedelta(minutes=10)
"""How often sources that answer are asked whether they bring anything."""

SHUT = frozenset(
    fault.value
    for fault in (SourceFault.UNAUTHORIZED, SourceFault.FORBIDDEN, SourceFault.PAYMENT_REQUIRED)
)
"""Faults that only a person can mend."""

SHUT_POLLS = 2
"""Such polls in a row, an hour apart, that are told however long the source may be silent."""

PURGE_CHUNK = 500
"""Mentions deleted, and messages emptied, in one transaction: the writer is never held up for long."""

HELD = tuple(state.value for state in (IncidentState.OPEN, IncidentState.ACKNOWLEDGED))


class TendStep:
    """Notices sources that fell silent, speak again or cost too much, deletes what is too old."""

    def __init__(
        self,
        *,
        store: Store,
        sources: Sequence[Source],
        announcer: Announcer,
        retention: timedelta,
        metrics: Metrics,
        now: Callable[[], datetime],
        shorter: Mapping[str, timedelta] | None = None,
    ) -> None:
        self._store = store
        self._sources = {source.name: source for source in sources}
        self._announcer = announcer
        self._retention = retention
        self._shorter = dict(shorter or {})
        """How long posts of a source are kept, where that is less; also of sources that are switched off."""
        self._metrics = metrics
        self._now = now
        self._watch = SilenceWatch()
        self._standings: dict[str, list[Standing]] = {}
        """How the budgets of sources stand, as last looked at."""
        self._fallen: dict[str, Silence] = {}
        """Sources that answer and bring nothing, as last looked at."""
        self._looked_at: datetime | None = None
        self._waited: set[str] = set()
        """Brands that had something to review: their figure goes back to 0."""
        self._burnt: set[tuple[str, SignalKind]] = set()
        """Brands that had an incident of a kind: their figure goes back to 0."""
        self._clocks: set[tuple[str, ClockState]] = set()
        """Clocks that were seen, with how they stood: their figures go back to 0."""
        self._log = logger("tend")

    def run(self) -> tuple[int, list[Announcement]]:
        """Look after everything once.

        Returns how much was cleared away (mentions deleted and messages emptied, or pages given back
        to the disk; 0: there is no more of it), and what was announced.
        """
        now = self._now()
        with self._store.write() as unit:
            self._look_for_silence(unit, now)
            found = [*self._silent(unit, now), *self._spent(unit, now)]
            announcements = self._announcer.announce(unit, found, now)
            # Sources belong to no brand. What else ends by itself, the step `follow` ends.
            for incident in unit.incidents.burning(""):
                if why := self._over(unit, incident):
                    unit.incidents.resolve(incident.id, "merkwacht", now, why)
                    announcements.append(self._announcer.tell(unit, incident, Event.RESOLVED, now))
        cleared = self._purge(now)
        # A turn deletes or shrinks: the main thread is held up by one of them only.
        cleared = cleared or self._store.give_back()
        self._measure(now)
        return cleared, announcements

    def _purge(self, now: datetime) -> int:
        """Delete what is too old, a chunk of it; returns how many mentions and words of messages."""
        with self._store.write() as unit:
            deleted = unit.mentions.purge(
                now - self._retention, keep_states=HELD, limit=PURGE_CHUNK
            )
            for name, kept in self._shorter.items():
                deleted += unit.mentions.purge(
                    now - kept, keep_states=HELD, limit=PURGE_CHUNK, source=name
                )
                unit.incidents.forget_evidence(now - kept, now, limit=PURGE_CHUNK, source=name)
            unit.sources.purge_rejects(now - self._retention)
            # Of what is over for as long; what burns keeps its evidence, however old.
            unit.incidents.forget_evidence(now - self._retention, now, limit=PURGE_CHUNK)
            emptied = unit.outbox.forget_words(now - self._retention, limit=PURGE_CHUNK)
        if deleted or emptied:
            self._log.info(
                "purged",
                mentions=deleted,
                messages=emptied,
                older_than_days=self._retention.days,
            )
        return deleted + emptied

    def _silent(self, unit: Unit, now: datetime) -> list[Signal]:
        """A signal for each source that brings nothing, or has been dark for longer than it may."""
        signals = [signal_of(name, silence) for name, silence in sorted(self._fallen.items())]
        lasting = unit.dusk.lasting()
        for source in self._sources.values():
            state = unit.sources.state(source.name)
            since = _dark_since(state)
            if state.fault == SourceFault.BEHIND.value and source.name in lasting:
                # Catching up after a standstill is no silence: it has been heard from since.
                since = lasting[source.name].started_at
            if since is None or (now - since <= source.silent_after and not _is_shut(state)):
                continue
            signals.append(
                Signal(
                    kind=SignalKind.SILENT_SOURCE,
                    brand="",
                    severity=Severity.MEDIUM,
                    key=f"{SignalKind.SILENT_SOURCE.value}:{source.name}:{since.isoformat()}",
                    subject=source.name,
                    occurred_at=since,
                    facts={
                        "source": source.name,
                        "fault": state.fault or "",
                        "since": since.isoformat(),
                        "error": state.error or "",
                    },
                )
            )
        return signals

    def _look_for_silence(self, unit: Unit, now: datetime) -> None:
        """Now and then: what is missing adds up over hours."""
        if self._looked_at is not None and now - self._looked_at < LOOK_EVERY:
            return
        self._looked_at = now
        self._fallen = {
            source.name: silence
            for source in self._sources.values()
            if (silence := self._watch.look(unit, source, now)) is not None
        }

    def _spent(self, unit: Unit, now: datetime) -> list[Signal]:
        """A signal for each budget that is nearly or wholly spent."""
        found = []
        for source in self._sources.values():
            if source.tariff is not None and source.tariff.limits:
                known = standings(unit, source.name, source.tariff, now)
                self._standings[source.name] = known
                found += signals(source.name, source.tariff, known, now)
        return found

    def _over(self, unit: Unit, incident: Incident) -> str:
        """Why the incident of a silent source or a spent budget is over; empty while it is not."""
        if incident.kind is SignalKind.BUDGET:
            known = self._standings.get(incident.subject, [])
            burning = any(each.level is not Level.FINE for each in known)
            return "" if burning else "a new day or month has begun, or the budget is another one"
        if incident.kind is not SignalKind.SILENT_SOURCE:
            return ""
        if incident.subject not in self._sources:
            return "the source is not in the configuration any more"
        if incident.subject in self._fallen:
            return ""
        if _dark_since(unit.sources.state(incident.subject)) is None:
            return "the source answers again"
        return ""

    def _measure(self, now: datetime) -> None:
        with self._store.read() as unit:
            waiting, oldest = unit.outbox.waiting()
            dead = unit.outbox.count_dead()
            burning = unit.incidents.count_burning()
            queue = unit.mentions.queue_length()
            unjudged = unit.feedback.count_waiting()
            clocks = unit.following.unfinished()
            news = unit.news.count()
        self._metrics.outbox.set(waiting)
        self._metrics.outbox_oldest.set(
            0 if oldest is None else max((now - oldest).total_seconds(), 0)
        )
        self._metrics.dead_letters.set(dead)
        self._metrics.queue.set(queue)
        for source, known in self._standings.items():
            for each in known:
                left = float(each.left / each.limit)
                self._metrics.costs.left.labels(source, each.period.value).set(left)
        self._waited |= unjudged.keys()
        for brand in self._waited:
            self._metrics.review_waiting.labels(brand).set(unjudged.get(brand, 0))
        self._burnt |= burning.keys()
        for brand, kind in self._burnt:
            self._metrics.incidents_burning.labels(brand, kind.value).set(burning[brand, kind])
        self._metrics.news_waiting.set(news)
        self._clocks |= clocks.keys()
        for name, state in self._clocks:
            self._metrics.clocks.labels(name, state.value).set(clocks.get((name, state), 0))
        size = self._store.path.stat().st_size if self._store.path.exists() else 0
        self._metrics.database_bytes.set(size)
        self._metrics.disk_free.set(shutil.disk_usage(self._store.path.parent).free)


def _is_shut(state: SourceState) -> bool:
    """Whether a source refuses us in a way that does not pass by itself: then waiting longer is no use."""
    return state.fault in SHUT and state.failures >= SHUT_POLLS


def _dark_since(state: SourceState) -> datetime | None:
    """Since when a source has not answered; None when its last poll was good or none was made.

    Judged by failed polls only: after the daemon itself was down a source is not called silent
    before it was asked.
    """
    if state.failures == 0:
        return None
    return state.last_success_at or state.first_seen_at
