"""The step ``follow``: what is due of incidents that are not over, and of news that waits.

Every incident says when it wants to be looked at next, every group of news when it wants to be asked.
A look derives all that is due from the history (``docs/decisions/0016-clocks-and-escalation.md``) and
puts the next moment down in the same transaction: a crash in between repeats nothing, and a restart
goes on where it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from alerts.base import Event, Incident, IncidentState, SignalKind
from alerts.clocks import Call, Clock, ClockOptions, begin, read, restart
from alerts.due import ask_chain, call_clocks, ways
from alerts.escalation import ChainOptions, Page
from alerts.history import Entry, standing
from alerts.incidents import quiet, quiet_at
from monitor.announcing import Announcement, Announcer
from monitor.log import logger
from monitor.store import Store, Unit
from monitor.store.following import ClockRun
from monitor.telling import SLICE, Round, Teller

BATCH = 1000
"""Incidents looked at in one transaction, at most."""
AT_A_TIME = 50
"""Incidents whose rows are fetched together. Between two such handfuls the clock is looked at."""
GROUPS = 50
"""Groups of news asked in one transaction, at most: each may be a message to write."""
LONG_ENOUGH = 0.25
"""Seconds of looking after which a transaction ends: the writer is never held up for long."""

AGAIN = timedelta(minutes=5)
"""An incident or a group that could not be followed is tried again after this."""

_OVER = (IncidentState.RESOLVED, IncidentState.REVIEWED)
_ONE_SECOND = timedelta(seconds=1)
PROGRAM = "merkwacht"


class FollowStep:
    """Looks after incidents until they are over."""

    def __init__(
        self,
        *,
        store: Store,
        announcer: Announcer,
        now: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
        room: int = SLICE,
    ) -> None:
        self._store = store
        self._room = room
        self._monotonic = monotonic
        self._announcer = announcer
        self._teller = announcer.teller
        self._now = now
        self._log = logger("follow")

    def run(self) -> tuple[int, list[Announcement]]:
        """One batch of what is due. Returns how many messages and looks it was, what was announced.

        Nothing left to do gives 0.
        """
        now = self._now()
        with self._store.read() as unit:
            if not self._due(unit, now):
                return 0, []
        try:
            return self._batch(now, BATCH)
        except (LookupError, ValueError):
            # One incident's trouble must not keep the others from being followed.
            self._log.exception("batch_failed", why="each is followed by itself")
        return self._one_by_one(now)

    def _batch(self, now: datetime, limit: int) -> tuple[int, list[Announcement]]:
        announcements = []
        began, looked = self._monotonic(), 0
        with self._store.write() as unit:
            round_ = self._teller.round(unit, now, room=self._room)
            while looked < limit:
                numbers = unit.following.due(now, min(limit - looked, AT_A_TIME))
                round_.prepare(numbers)
                for number in numbers:
                    incident = unit.incidents.get(number)
                    if incident is not None:
                        announcements += self._look(round_, incident)
                looked += len(numbers)
                enough = self._monotonic() - began > LONG_ENOUGH or round_.fresh > GROUPS
                if len(numbers) < AT_A_TIME or enough:
                    break
            # What is looked at in one go is gathered in one go.
            groups = unit.news.due(now, min(limit, GROUPS))
            round_.flush(groups)
        return looked + len(groups), announcements

    def _one_by_one(self, now: datetime) -> tuple[int, list[Announcement]]:
        """Each in a transaction of its own; what fails is tried again later."""
        done, announcements = 0, []
        for _ in range(GROUPS):
            try:
                count, announced = self._batch(now, 1)
            except (LookupError, ValueError):
                self._log.exception("look_failed", again_in_seconds=AGAIN.total_seconds())
                count, announced = self._put_off(now), []
            if not count:
                break
            done += count
            announcements += announced
        return done, announcements

    def _put_off(self, now: datetime) -> int:
        """What is first in line has failed: it waits, and the next is first."""
        with self._store.write() as unit:
            numbers, groups = unit.following.due(now, 1), unit.news.due(now, 1)
            for number in numbers:
                unit.following.rest(number, now + AGAIN)
            for key in groups:
                group = unit.news.group(key)
                if group is not None:
                    unit.news.put(key, replace(group, next_look_at=now + AGAIN))
        return len(numbers) + len(groups)

    def next_at(self) -> datetime | None:
        """When something is due next."""
        with self._store.read() as unit:
            moments = (unit.following.next_at(), unit.news.next_at())
        return min((moment for moment in moments if moment is not None), default=None)

    @staticmethod
    def _due(unit: Unit, now: datetime) -> bool:
        moments = (unit.following.next_at(), unit.news.next_at())
        return any(moment is not None and moment <= now for moment in moments)

    # -- one incident --------------------------------------------------------------------------

    def _look(self, round_: Round, incident: Incident) -> list[Announcement]:
        """Everything that is due of one incident, and when to look again."""
        unit, now = round_.unit, round_.now
        announcements = []
        if self._goes_quiet(incident, now):
            unit.incidents.resolve(incident.id, PROGRAM, now, "went quiet")
            incident = unit.incidents.get(incident.id) or incident
            announcements.append(self._announcer.tell(unit, incident, Event.RESOLVED, now))
            round_.changed(incident.id)
        round_.ask_pages(incident)
        look = _Look(self._teller, round_, incident)
        if incident.state in _OVER:
            look.read_clocks()
            unit.following.rest(incident.id, None)
            return announcements
        moments = [round_.tell_again(incident), look.watch_clocks(), look.escalate()]
        look.repeat()
        if incident.kind is not SignalKind.SILENT_SOURCE:
            moments.append(quiet_at(incident))
        ahead = min((moment for moment in moments if moment is not None), default=None)
        # Whatever was planned is planned: a moment that has come already asks for another look, later.
        if ahead is not None and ahead <= now:
            ahead = now + _ONE_SECOND
        unit.following.rest(incident.id, ahead)
        return announcements

    @staticmethod
    def _goes_quiet(incident: Incident, now: datetime) -> bool:
        return incident.state not in _OVER and quiet(incident, now)


class _Look:
    """One look at one incident."""

    def __init__(self, teller: Teller, round_: Round, incident: Incident) -> None:
        self._teller = teller
        self._metrics = teller.metrics
        self._round = round_
        self._unit = round_.unit
        self._now = round_.now
        self._incident = incident
        self._muted_until = round_.muted_until(incident)

    # -- clocks --------------------------------------------------------------------------------

    def read_clocks(self) -> list[tuple[ClockRun, ClockOptions]]:
        """Keep how each clock of the incident stands, and count what is new about it."""
        over = self._incident.state in _OVER
        history = self._round.history(self._incident.id)
        found, runs = [], []
        for run in self._round.clocks(self._incident.id):
            options = self._teller.clocks.get(run.name)
            clock = self._teller.clock(run)
            if options is None or clock is None:
                runs.append(run)
                continue
            current, again = run, restart(clock, options, self._teller.calendar, history, self._now)
            if again.started_at != run.started_at:
                self._end(run, clock, options, again.started_at)
                current = self._unit.following.start(self._incident.id, again, run.rule)
            reading = read(again, options, history, self._now)
            kept = self._unit.following.read(current, reading, ended_at=self._now if over else None)
            self._count(current, kept)
            runs.append(kept)
            found.append((kept, options))
        self._round.keep_clocks(self._incident.id, runs)
        return found

    def _end(
        self, run: ClockRun, clock: Clock, options: ClockOptions, reopened_at: datetime
    ) -> None:
        """The run before the incident was reopened, where nobody looked in between."""
        if run.ended_at is None:
            history = self._round.history(self._incident.id)
            before = [entry for entry in history if entry.at < reopened_at]
            reading = read(clock, options, before, reopened_at)
            self._count(run, self._unit.following.read(run, reading, ended_at=reopened_at))

    def _count(self, before: ClockRun, after: ClockRun) -> None:
        """What a drill does is counted nowhere."""
        if self._incident.drill:
            return
        for milestone in after.done.keys() - before.done.keys():
            seconds = (after.done[milestone] - after.started_at).total_seconds()
            self._metrics.milestone_seconds.labels(after.name, milestone.value).observe(seconds)
        if after.stopped_at is not None and before.stopped_at is None:
            self._metrics.clock_outcomes.labels(after.name, after.outcome.value).inc()

    def watch_clocks(self) -> datetime | None:
        """Reminders and breaches that are due. Returns when the next will be."""
        calendar = self._teller.calendar
        return call_clocks(
            self,
            [
                (begin(options, calendar, run.started_at), options)
                for run, options in self.read_clocks()
            ],
            self._chain(),
            self._now,
            self._teller.around,
            muted_until=self._muted_until,
        )

    # -- the chain -----------------------------------------------------------------------------

    def _chain(self) -> ChainOptions | None:
        return self._teller.chain(self._round.leaf(self._incident))

    def escalate(self) -> datetime | None:
        """Whoever is next since nobody answered. Returns when the chain is to be asked again."""
        chain = self._chain()
        if chain is None or self._inhibited():
            return None
        around = self._teller.around
        return ask_chain(self, chain, self._now, around, muted_until=self._muted_until).next_at

    def _inhibited(self) -> bool:
        inhibition = self._teller.rules.inhibition
        return (
            inhibition.enabled
            and self._incident.kind in inhibition.kinds
            and self._unit.following.only_part_of_crisis(self._incident.id)
        )

    # -- what a turn acts on (see alerts.due) --------------------------------------------------

    def history(self) -> Sequence[Entry]:
        """What happened so far, this round included."""
        return self._round.history(self._incident.id)

    def note(self, entry: Entry) -> None:
        """Into the history."""
        self._round.append(self._incident.id, entry)

    def page(self, page: Page, call: Call | None) -> None:
        """Through the channels of each receiver, unless something stands in between."""
        del call
        incident = self._incident
        if not page.send:
            self._round.decide(
                incident, Event.CONTINUES, ("", ""), send=False, reason=page.reason.value
            )
        for name, via in ways(page, self._teller.receivers):
            self._round.news(incident, Event.CONTINUES, page.reason, (name, via.use), page=page.key)

    def remind(self, call: Call) -> None:
        """The same to those who were told."""
        told = self._round.told(self._incident.id)
        for to in dict.fromkeys((each.receiver, each.channel) for each in told):
            self._round.news(self._incident, Event.CONTINUES, call.reason, to, page=call.key)

    # -- repeats -------------------------------------------------------------------------------

    def repeat(self) -> None:
        """An incident that burns anew may have groups that are to repeat it: have them asked."""
        stands = standing(self._round.history(self._incident.id), self._now)
        if stands is not None and stands.beginning > 1 and stands.state is IncidentState.OPEN:
            self._round.ask_groups(self._incident)
