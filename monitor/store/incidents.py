"""Shelf of the incidents: signals, what they joined, and what happened to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import literal, text
from sqlalchemy.dialects.sqlite import insert
from sqlmodel import Session, col, func, select

from alerts.base import Incident, IncidentState, Severity, Signal, SignalKind
from alerts.history import Entry, Happened
from alerts.playbooks import key
from alerts.silences import Target
from classifiers.base import Assessment
from connectors.base import Mention
from monitor.store.evidence import Evidence
from monitor.store.history import PROGRAM, History, HistoryEntry
from monitor.store.mentions import pair
from monitor.tables import (
    BURNING,
    MERGED,
    AssessmentRow,
    ClockRow,
    IncidentMentionRow,
    IncidentRow,
    MentionRow,
    SignalRow,
)

__all__ = ["HistoryEntry", "Incidents", "Life", "RefusedError", "to_incident"]

PART_OF, TOOK_IN = "part of:", "took in:"
"""Before the number of the other incident, in the page of the lines that tell of a merge."""

_CHUNK = 500
"""Mentions asked about in one query."""

_BURNING = (IncidentState.OPEN.value, IncidentState.ACKNOWLEDGED.value)


class RefusedError(Exception):
    """What somebody wanted to do with an incident cannot be done now; the message says why."""


@dataclass(frozen=True, slots=True)
class Life:
    """What an incident has besides what alerts need of it."""

    acknowledged_at: datetime | None
    resolved_at: datetime | None
    reviewed_at: datetime | None
    assigned_to: str | None
    merged_into: int | None
    drill: bool
    next_look_at: datetime | None


class Incidents:
    """Rows of signals and incidents within one transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.chain = History(session)
        """The history of all incidents."""
        self._opened: list[IncidentRow] = []
        """Held: else what is opened would be read again for each further word about it."""
        self.evidence = Evidence(session)
        """What their posts said."""

    def has_signal(self, key: str) -> bool:
        """Whether a signal with this key was found before."""
        return (
            self._session.exec(select(SignalRow.id).where(SignalRow.key == key)).first() is not None
        )

    def known_signals(self, keys: Collection[str]) -> set[str]:
        """Which of these keys signals have that were found before."""
        wanted, found = list(keys), set[str]()
        for start in range(0, len(wanted), _CHUNK):
            query = select(SignalRow.key).where(
                col(SignalRow.key).in_(wanted[start : start + _CHUNK])
            )
            found |= set(self._session.exec(query))
        return found

    def shared(self, subjects: Collection[str]) -> set[str]:
        """Which of these subjects any incident has that may have :meth:`mates`, of whatever brand."""
        wanted, found = list(subjects), set[str]()
        for start in range(0, len(wanted), _CHUNK):
            some = col(IncidentRow.subject).in_(wanted[start : start + _CHUNK])
            for which in (BURNING, MERGED):
                found |= set(
                    self._session.exec(select(IncidentRow.subject).where(text(which), some))
                )
        return found

    def burning(self, brand: str | None = None) -> list[Incident]:
        """The incidents that are open or acknowledged, of one brand or all, oldest first."""
        query = select(IncidentRow).where(col(IncidentRow.state).in_(_BURNING))
        if brand is not None:
            query = query.where(IncidentRow.brand == brand)
        return [to_incident(row) for row in self._session.exec(query.order_by(col(IncidentRow.id)))]

    def open_ones(self, brand: str | None, *, after: int, limit: int) -> list[int]:
        """The numbers of open incidents, of one brand or all, from a number on; so many at most."""
        query = select(IncidentRow.id).where(
            IncidentRow.state == IncidentState.OPEN.value, col(IncidentRow.id) > after
        )
        if brand is not None:
            query = query.where(IncidentRow.brand == brand)
        found = self._session.exec(query.order_by(col(IncidentRow.id)).limit(limit))
        return [number for number in found if number is not None]

    def latest(self, limit: int, *, state: IncidentState | None = None) -> list[Incident]:
        """The newest incidents first."""
        query = select(IncidentRow).order_by(col(IncidentRow.id).desc()).limit(limit)
        if state is not None:
            query = query.where(IncidentRow.state == state.value)
        return [to_incident(row) for row in self._session.exec(query)]

    def mates(self, brand: str, subject: str) -> list[Incident]:
        """The incidents of a brand about one thing that are not over, oldest first.

        What took in an incident about that thing is one of them, under that one's kind and subject:
        whatever would have joined what was merged, joins what it was merged into.
        """
        query = select(IncidentRow).where(
            text(BURNING), IncidentRow.brand == brand, IncidentRow.subject == subject
        )
        found = {row.id: to_incident(row) for row in self._session.exec(query)}
        query = select(IncidentRow).where(
            text(MERGED), IncidentRow.brand == brand, IncidentRow.subject == subject
        )
        for part in self._session.exec(query):
            whole = self._whole(part)
            if whole.state in _BURNING and whole.id not in found:
                found[whole.id] = replace(
                    to_incident(whole), kind=SignalKind(part.kind), subject=part.subject
                )
        return [incident for _, incident in sorted(found.items(), key=lambda each: each[0] or 0)]

    def _whole(self, row: IncidentRow) -> IncidentRow:
        """What an incident has become part of, however many times over; itself if of nothing."""
        while row.merged_into is not None:
            row = self._session.get_one(IncidentRow, row.merged_into)
        return row

    def get(self, incident_id: int) -> Incident | None:
        """One incident, or None."""
        row = self._session.get(IncidentRow, incident_id)
        return None if row is None else to_incident(row)

    def held(self, incident_ids: Collection[int]) -> list[IncidentRow]:
        """The rows of incidents: as long as somebody holds them, none is read again."""
        query = select(IncidentRow).where(col(IncidentRow.id).in_(incident_ids))
        return list(self._session.exec(query))

    def open(self, signal: Signal, now: datetime) -> Incident:
        """A new incident from its first signal."""
        row = IncidentRow(
            brand=signal.brand,
            kind=signal.kind.value,
            severity=int(signal.severity),
            state=IncidentState.OPEN.value,
            subject=signal.subject,
            opened_at=now,
            last_signal_at=now,
            drill=signal.drill,
        )
        self._session.add(row)
        self._session.flush()
        self._opened.append(row)
        incident = to_incident(row)
        self.note(incident.id, now, PROGRAM, Happened.OPENED, signal.key)
        return incident

    def worsen(
        self, incident_id: int, kind: SignalKind, severity: Severity, now: datetime
    ) -> Incident:
        """Raise an incident to the kind and severity of its gravest signal."""
        row = self._session.get_one(IncidentRow, incident_id)
        row.kind, row.severity = kind.value, int(severity)
        self.note(incident_id, now, PROGRAM, Happened.WORSENED, f"{kind.value} {severity.word}")
        return to_incident(row)

    def join(self, incident_id: int, signal: Signal, now: datetime) -> Incident:
        """Keep a signal with its mentions under an incident."""
        row = self._session.get_one(IncidentRow, incident_id)
        row.last_signal_at = max(row.last_signal_at, now)
        self._session.add(
            SignalRow(
                key=signal.key,
                kind=signal.kind.value,
                brand=signal.brand,
                severity=int(signal.severity),
                subject=signal.subject,
                occurred_at=signal.occurred_at,
                at=now,
                mention_ids=list(signal.mention_ids),
                facts=dict(signal.facts),
                incident_id=incident_id,
            )
        )
        self.link(incident_id, signal.mention_ids, now)
        return to_incident(row)

    def link(
        self, incident_id: int, mention_ids: Sequence[int], now: datetime | None = None
    ) -> None:
        """Let mentions belong to an incident, once each, and keep what they say as evidence.

        Args:
            incident_id: of the incident.
            mention_ids: of the mentions, known ones included.
            now: the present; without it the moment of the incident's last signal.
        """
        wanted = list(dict.fromkeys(mention_ids))
        if not wanted:
            return
        self._session.flush()
        new = []
        for start in range(0, len(wanted), _CHUNK):
            chunk = wanted[start : start + _CHUNK]
            query = select(IncidentMentionRow.mention_id).where(
                IncidentMentionRow.incident_id == incident_id,
                col(IncidentMentionRow.mention_id).in_(chunk),
            )
            known = set(self._session.exec(query))
            new += [mention_id for mention_id in chunk if mention_id not in known]
        if new:
            self._session.connection().execute(
                insert(IncidentMentionRow),
                [{"incident_id": incident_id, "mention_id": mention_id} for mention_id in new],
            )
        if new:
            at = now or self._session.get_one(IncidentRow, incident_id).last_signal_at
            self.keep_evidence(incident_id, new, at)

    def keep_evidence(self, incident_id: int, mention_ids: Collection[int], now: datetime) -> int:
        """Keep what mentions say, so that it survives whatever becomes of them; once each."""
        return self.evidence.keep(incident_id, mention_ids, now)

    def forget_evidence(
        self, before: datetime, now: datetime, *, limit: int, source: str | None = None
    ) -> dict[int, int]:
        """Overwrite the evidence of incidents that ended before a moment; how many pieces of each.

        To be called now and then with the moment before which nothing is kept any more. Of one
        ``source``: what was kept before it, as soon as the incident is over.
        """
        found = self.evidence.forget(before, now, limit=limit, source=source)
        for incident_id, pieces in found.items():
            note = f"{pieces} {'piece' if pieces == 1 else 'pieces'} of evidence"
            self.chain.write(incident_id, now, PROGRAM, Happened.FORGOTTEN, note)
        return found

    def touch(self, incident_id: int, now: datetime) -> None:
        """The incident still burns: its quiet time starts anew."""
        row = self._session.get_one(IncidentRow, incident_id)
        row.last_signal_at = max(row.last_signal_at, now)

    # -- what people do ------------------------------------------------------------------------

    def acknowledge(self, incident_id: int, who: str, now: datetime, note: str = "") -> bool:
        """Somebody takes the incident. False when it is not open."""
        row = self._session.get(IncidentRow, incident_id)
        if row is None or row.state != IncidentState.OPEN.value:
            return False
        row.state = IncidentState.ACKNOWLEDGED.value
        row.acknowledged_at, row.acknowledged_by = now, who
        self._done(row, now, who, Happened.ACKNOWLEDGED, note)
        return True

    def resolve(self, incident_id: int, who: str, now: datetime, note: str = "") -> bool:
        """The incident is over. False when it was already."""
        row = self._session.get(IncidentRow, incident_id)
        if row is None or row.state not in _BURNING:
            return False
        row.state, row.resolved_at = IncidentState.RESOLVED.value, now
        self._done(row, now, who, Happened.RESOLVED, note)
        return True

    def release(self, incident_id: int, who: str, now: datetime, note: str = "") -> None:
        """Who has it gives it back: it is open again, and the chain begins anew.

        Raises:
            RefusedError: nobody has it, or it does not exist.
        """
        row = self._row(incident_id)
        if row.state != IncidentState.ACKNOWLEDGED.value:
            raise RefusedError(f"incident {incident_id} is {row.state}: nobody has taken it")
        row.state = IncidentState.OPEN.value
        row.acknowledged_at = row.acknowledged_by = row.assigned_to = None
        self._done(row, now, who, Happened.RELEASED, note)

    def assign(self, incident_id: int, whom: str, who: str, now: datetime, note: str = "") -> None:
        """Somebody is to see to it. What is open stays open until somebody takes it.

        Raises:
            RefusedError: it is over, or does not exist.
        """
        row = self._burning_row(incident_id)
        row.assigned_to = whom
        if row.state == IncidentState.ACKNOWLEDGED.value:
            row.acknowledged_by = whom
        self._done(row, now, whom, Happened.ASSIGNED, note, actor=who)

    def record(
        self,
        incident_id: int,
        what: Happened,
        who: str,
        now: datetime,
        note: str = "",
        *,
        about: str = "",
    ) -> None:
        """Something that changes no state: a note, a tick, a statement, an answer.

        Args:
            incident_id: of the incident, in whatever state.
            what: happened.
            who: did it.
            now: the present.
            note: in their words.
            about: of which playbook or step of one.

        Raises:
            RefusedError: it does not exist, or a milestone has been reached already.
        """
        row = self._row(incident_id)
        if what in (Happened.FIRST_STATEMENT, Happened.ANSWERED):
            self._refuse_twice(incident_id, what)
        self._done(row, now, who, what, note, page=key(about) if about else "")

    def reopen(self, incident_id: int, who: str, now: datetime, note: str = "") -> Incident:
        """It was not over after all: open again, its clocks and its chain begin anew.

        Raises:
            RefusedError: it is not over, it became part of another one, or does not exist.
        """
        row = self._row(incident_id)
        if row.state in _BURNING:
            raise RefusedError(f"incident {incident_id} is {row.state}: it is not over")
        self._refuse_merged(row)
        row.state = IncidentState.OPEN.value
        row.acknowledged_at = row.acknowledged_by = row.assigned_to = None
        row.resolved_at = row.reviewed_at = None
        # It burns now: what ends by itself when it was quiet for long enough is not quiet yet.
        row.last_signal_at = max(row.last_signal_at, now)
        self._done(row, now, who, Happened.REOPENED, note)
        return to_incident(row)

    def review(self, incident_id: int, who: str, now: datetime, evaluation: str) -> None:
        """People have looked back: the incident is closed for good.

        Raises:
            RefusedError: it is not resolved, it became part of another one, the evaluation is
                empty, or it does not exist.
        """
        row = self._row(incident_id)
        self._refuse_merged(row)
        if row.state == IncidentState.REVIEWED.value:
            raise RefusedError(f"incident {incident_id} is reviewed already")
        if row.state != IncidentState.RESOLVED.value:
            raise RefusedError(f"incident {incident_id} is {row.state}: resolve it first")
        if not evaluation.strip():
            raise RefusedError("an incident is closed with what worked and what did not")
        row.state, row.reviewed_at = IncidentState.REVIEWED.value, now
        self._done(row, now, who, Happened.REVIEWED, evaluation)

    def merge(
        self, incident_id: int, other_id: int, who: str, now: datetime, note: str = ""
    ) -> tuple[Incident, bool]:
        """Another incident turns out to be part of this one: it is closed, and said here.

        Its mentions belong to this one from now on; its signals, history and evidence stay its own
        and are read with this one. Nobody gets an all-clear for it.

        Returns:
            The incident as it is now, and whether it became graver by that.

        Raises:
            RefusedError: they are one and the same, this one is over, the other is part of
                something already or reviewed, or is older and its clocks run, or one of them does
                not exist.
        """
        row, other = self._burning_row(incident_id), self._row(other_id)
        if incident_id == other_id:
            raise RefusedError("an incident cannot become part of itself")
        self._refuse_merged(other)
        if other.state == IncidentState.REVIEWED.value:
            raise RefusedError(
                f"incident {other_id} is reviewed: reopen it first if it is not over"
            )
        burnt = other.state in _BURNING
        if burnt:
            self._take_over_clocks(row, other)
        other.merged_into = incident_id
        if burnt:
            other.state, other.resolved_at = IncidentState.RESOLVED.value, now
        ended = Happened.RESOLVED if burnt else Happened.NOTED
        self._done(other, now, who, ended, note, page=f"{PART_OF}{incident_id}")
        self._take_in(incident_id, other_id)
        row.last_signal_at = max(row.last_signal_at, other.last_signal_at)
        self._done(row, now, who, Happened.MERGED, note, page=f"{TOOK_IN}{other_id}")
        graver = burnt and other.severity > row.severity
        if graver:
            kind, severity = SignalKind(other.kind), Severity(other.severity)
            return self.worsen(incident_id, kind, severity, now), True
        return to_incident(row), False

    def _take_over_clocks(self, row: IncidentRow, other: IncidentRow) -> None:
        """What was promised is promised still: the clocks of the other run on in the whole."""
        running = select(ClockRow).where(col(ClockRow.ended_at).is_(None))
        own = {
            clock.name: clock.started_at
            for clock in self._session.exec(running.where(ClockRow.incident_id == row.id))
        }
        for clock in self._session.exec(running.where(ClockRow.incident_id == other.id)).all():
            started = own.get(clock.name)
            if started is not None and clock.started_at < started:
                raise RefusedError(
                    f"incident {other.id} is older and its clock {clock.name} runs: "
                    f"merge {row.id} into {other.id} instead"
                )
            if started is None:
                values = clock.model_dump(exclude={"incident_id"})
                self._session.add(ClockRow(incident_id=row.id or 0, **values))

    def _take_in(self, incident_id: int, other_id: int) -> None:
        mentions = select(literal(incident_id), col(IncidentMentionRow.mention_id)).where(
            IncidentMentionRow.incident_id == other_id
        )
        # SQLite takes ON for a join unless the selection says WHERE: it does.
        statement = insert(IncidentMentionRow).from_select(["incident_id", "mention_id"], mentions)
        self._session.flush()
        self._session.connection().execute(statement.on_conflict_do_nothing())

    def _row(self, incident_id: int) -> IncidentRow:
        row = self._session.get(IncidentRow, incident_id)
        if row is None:
            raise RefusedError(f"there is no incident {incident_id}")
        return row

    def _burning_row(self, incident_id: int) -> IncidentRow:
        row = self._row(incident_id)
        if row.state not in _BURNING:
            raise RefusedError(f"incident {incident_id} is {row.state}: reopen it first")
        return row

    @staticmethod
    def _refuse_merged(row: IncidentRow) -> None:
        if row.merged_into is not None:
            raise RefusedError(
                f"incident {row.id} became part of incident {row.merged_into}: look there"
            )

    def _refuse_twice(self, incident_id: int, what: Happened) -> None:
        """A milestone is reached once; what is reopened, or starts a clock later, needs it anew."""
        reached: HistoryEntry | None = None
        query = select(func.max(ClockRow.started_at)).where(
            ClockRow.incident_id == incident_id, col(ClockRow.ended_at).is_(None)
        )
        started = self._session.scalar(query)
        for entry in self.history(incident_id):
            if entry.event == what.value:
                reached = entry
            elif entry.event == Happened.REOPENED.value:
                reached = None
        if reached is not None and (started is None or reached.at >= started):
            word = "the first statement" if what is Happened.FIRST_STATEMENT else "the answer"
            raise RefusedError(
                f"{word} of incident {incident_id} was recorded already, by {reached.actor} "
                f"at {reached.at:%Y-%m-%d %H:%M} UTC; add what came after it as a note"
            )

    def _done(
        self,
        row: IncidentRow,
        now: datetime,
        who: str,
        what: Happened,
        note: str,
        *,
        actor: str = "",
        page: str = "",
    ) -> None:
        """One act is one line of the history."""
        if row.id is None:
            raise LookupError("the incident has not been stored yet")
        self.append(row.id, Entry(now, what, who, page), actor=actor, note=note)

    # -- what happened -------------------------------------------------------------------------

    def note(self, incident_id: int, at: datetime, actor: str, event: str, note: str = "") -> None:
        """Append a line to an incident's history."""
        self.chain.write(incident_id, at, actor, str(event), note)
        self._look(incident_id, at)

    def append(self, incident_id: int, entry: Entry, *, actor: str = "", note: str = "") -> None:
        """The same from an entry: all that clocks and escalation remember goes this way."""
        self.chain.append(incident_id, entry, actor=actor, note=note)
        self._look(incident_id, entry.at)

    def _look(self, incident_id: int, at: datetime) -> None:
        """Whatever happened: the daemon looks at the incident at once."""
        self._session.get_one(IncidentRow, incident_id).next_look_at = at

    def history(self, incident_id: int) -> list[HistoryEntry]:
        """An incident's history, oldest first."""
        return self.chain.of([incident_id])

    def entries(self, incident_id: int) -> list[Entry]:
        """The same for clocks and escalation."""
        found = (line.entry() for line in self.history(incident_id))
        return [entry for entry in found if entry is not None]

    def family(self, incident_id: int) -> list[int]:
        """An incident and all that became part of it, also by way of others; itself first."""
        found, ahead = [incident_id], [incident_id]
        while ahead:
            query = select(IncidentRow.id).where(
                text(MERGED), col(IncidentRow.merged_into).in_(ahead)
            )
            ahead = [
                number
                for number in self._session.exec(query.order_by(col(IncidentRow.id)))
                if number is not None and number not in found
            ]
            found += ahead
        return found

    def target(self, incident: Incident) -> Target:
        """An incident as silences and crises see it."""
        query = (
            select(MentionRow.source, MentionRow.story, MentionRow.id)
            .join(IncidentMentionRow, col(IncidentMentionRow.mention_id) == MentionRow.id)
            .where(IncidentMentionRow.incident_id == incident.id)
        )
        rows = self._session.exec(query).all()
        return Target(
            incident.brand,
            incident.kind,
            incident.severity,
            frozenset(source for source, _, _ in rows),
            frozenset(story for _, story, _ in rows),
            frozenset(number for _, _, number in rows if number is not None),
        )

    def look(self, incident_ids: Collection[int], now: datetime) -> None:
        """Have the daemon look at incidents at once: something around them changed."""
        for incident_id in incident_ids:
            self._look(incident_id, now)

    def life(self, incident_id: int) -> Life | None:
        """What an incident has besides what alerts need of it; None when there is none."""
        row = self._session.get(IncidentRow, incident_id)
        if row is None:
            return None
        return Life(
            acknowledged_at=row.acknowledged_at,
            resolved_at=row.resolved_at,
            reviewed_at=row.reviewed_at,
            assigned_to=row.assigned_to,
            merged_into=row.merged_into,
            drill=row.drill,
            next_look_at=row.next_look_at,
        )

    def signals(self, incident_id: int) -> list[Signal]:
        """An incident's signals, oldest first, with those of what became part of it."""
        query = (
            select(SignalRow)
            .where(col(SignalRow.incident_id).in_(self.family(incident_id)))
            .order_by(col(SignalRow.id))
        )
        return [_to_signal(row) for row in self._session.exec(query)]

    def exhibits(
        self, incident_id: int, limit: int
    ) -> tuple[list[tuple[Mention, Assessment | None]], int]:
        """The latest mentions of an incident with their assessments, and how many it has in all.

        What its platform deleted meanwhile is counted and not shown.
        """
        total = self._session.exec(
            select(func.count())
            .select_from(IncidentMentionRow)
            .where(IncidentMentionRow.incident_id == incident_id)
        ).one()
        query = (
            select(MentionRow, AssessmentRow)
            .join(IncidentMentionRow, col(IncidentMentionRow.mention_id) == MentionRow.id)
            .outerjoin(
                AssessmentRow,
                (col(AssessmentRow.mention_id) == col(MentionRow.id))
                & (col(AssessmentRow.version) == col(MentionRow.assessed_by)),
            )
            .where(
                IncidentMentionRow.incident_id == incident_id,
                col(MentionRow.deleted_at).is_(None),
            )
            .order_by(col(MentionRow.published_at).desc())
            .limit(limit)
        )
        pairs = [pair(mention, assessment) for mention, assessment in self._session.exec(query)]
        return pairs, total

    def count_burning(self) -> Counter[tuple[str, SignalKind]]:
        """How many incidents burn, by brand and kind; drills do not."""
        query = (
            select(IncidentRow.brand, IncidentRow.kind, func.count())
            .where(text(BURNING), ~col(IncidentRow.drill))
            .group_by(IncidentRow.brand, IncidentRow.kind)
        )
        return Counter(
            {(brand, SignalKind(kind)): count for brand, kind, count in self._session.exec(query)}
        )


def to_incident(row: IncidentRow) -> Incident:
    """The value of an incident's row."""
    if row.id is None:
        raise LookupError("the incident has not been stored yet")
    return Incident(
        id=row.id,
        brand=row.brand,
        kind=SignalKind(row.kind),
        severity=Severity(row.severity),
        state=IncidentState(row.state),
        subject=row.subject,
        opened_at=row.opened_at,
        last_signal_at=row.last_signal_at,
        acknowledged_by=row.acknowledged_by,
        drill=row.drill,
    )


def _to_signal(row: SignalRow) -> Signal:
    return Signal(
        kind=SignalKind(row.kind),
        brand=row.brand,
        severity=Severity(row.severity),
        key=row.key,
        subject=row.subject,
        occurred_at=row.occurred_at,
        mention_ids=tuple(row.mention_ids),
        facts=row.facts,
    )
