"""Shelf of the incidents: signals, what they joined, and what happened to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.dialects.sqlite import insert
from sqlmodel import Session, col, func, select

from alerts.base import Incident, IncidentState, Severity, Signal, SignalKind
from classifiers.base import Assessment
from connectors.base import Mention
from monitor.store.mentions import pair
from monitor.tables import (
    AssessmentRow,
    IncidentEventRow,
    IncidentMentionRow,
    IncidentRow,
    MentionRow,
    SignalRow,
)


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One line of an incident's history."""

    at: datetime
    actor: str
    event: str
    note: str


class Incidents:
    """Rows of signals and incidents within one transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def has_signal(self, key: str) -> bool:
        """Whether a signal with this key was found before."""
        return (
            self._session.exec(select(SignalRow.id).where(SignalRow.key == key)).first() is not None
        )

    def burning(self, brand: str | None = None) -> list[Incident]:
        """The incidents that are open or acknowledged, of one brand or all, oldest first."""
        states = (IncidentState.OPEN.value, IncidentState.ACKNOWLEDGED.value)
        query = select(IncidentRow).where(col(IncidentRow.state).in_(states))
        if brand is not None:
            query = query.where(IncidentRow.brand == brand)
        return [to_incident(row) for row in self._session.exec(query.order_by(col(IncidentRow.id)))]

    def latest(self, limit: int, *, state: IncidentState | None = None) -> list[Incident]:
        """The newest incidents first."""
        query = select(IncidentRow).order_by(col(IncidentRow.id).desc()).limit(limit)
        if state is not None:
            query = query.where(IncidentRow.state == state.value)
        return [to_incident(row) for row in self._session.exec(query)]

    def get(self, incident_id: int) -> Incident | None:
        """One incident, or None."""
        row = self._session.get(IncidentRow, incident_id)
        return None if row is None else to_incident(row)

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
        )
        self._session.add(row)
        self._session.flush()
        incident = to_incident(row)
        self.note(incident.id, now, "merkwacht", "opened", signal.key)
        return incident

    def worsen(
        self, incident_id: int, kind: SignalKind, severity: Severity, now: datetime
    ) -> Incident:
        """Raise an incident to the kind and severity of its gravest signal."""
        row = self._session.get_one(IncidentRow, incident_id)
        row.kind, row.severity = kind.value, int(severity)
        self.note(incident_id, now, "merkwacht", "worsened", f"{kind.value} {severity.word}")
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
        self.link(incident_id, signal.mention_ids)
        self._session.flush()
        return to_incident(row)

    def link(self, incident_id: int, mention_ids: Sequence[int]) -> None:
        """Let mentions belong to an incident; once each."""
        for mention_id in mention_ids:
            statement = insert(IncidentMentionRow).values(
                incident_id=incident_id, mention_id=mention_id
            )
            self._session.connection().execute(statement.on_conflict_do_nothing())

    def touch(self, incident_id: int, now: datetime) -> None:
        """The incident still burns: its quiet time starts anew."""
        row = self._session.get_one(IncidentRow, incident_id)
        row.last_signal_at = max(row.last_signal_at, now)

    def acknowledge(self, incident_id: int, who: str, now: datetime, note: str = "") -> bool:
        """Somebody takes the incident. False when it is not open."""
        row = self._session.get(IncidentRow, incident_id)
        if row is None or row.state != IncidentState.OPEN.value:
            return False
        row.state = IncidentState.ACKNOWLEDGED.value
        row.acknowledged_at, row.acknowledged_by = now, who
        self.note(incident_id, now, who, "acknowledged", note)
        return True

    def resolve(self, incident_id: int, who: str, now: datetime, note: str = "") -> bool:
        """The incident is over. False when it was already."""
        row = self._session.get(IncidentRow, incident_id)
        if row is None or row.state in (IncidentState.RESOLVED.value, IncidentState.REVIEWED.value):
            return False
        row.state, row.resolved_at = IncidentState.RESOLVED.value, now
        self.note(incident_id, now, who, "resolved", note)
        return True

    def note(self, incident_id: int, at: datetime, actor: str, event: str, note: str = "") -> None:
        """Append a line to an incident's history."""
        self._session.add(
            IncidentEventRow(incident_id=incident_id, at=at, actor=actor, event=event, note=note)
        )

    def history(self, incident_id: int) -> list[HistoryEntry]:
        """An incident's history, oldest first."""
        query = (
            select(IncidentEventRow)
            .where(IncidentEventRow.incident_id == incident_id)
            .order_by(col(IncidentEventRow.id))
        )
        return [
            HistoryEntry(row.at, row.actor, row.event, row.note)
            for row in self._session.exec(query)
        ]

    def signals(self, incident_id: int) -> list[Signal]:
        """An incident's signals, oldest first."""
        query = (
            select(SignalRow)
            .where(SignalRow.incident_id == incident_id)
            .order_by(col(SignalRow.id))
        )
        return [_to_signal(row) for row in self._session.exec(query)]

    def exhibits(
        self, incident_id: int, limit: int
    ) -> tuple[list[tuple[Mention, Assessment | None]], int]:
        """The latest mentions of an incident with their assessments, and how many it has in all."""
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
            .where(IncidentMentionRow.incident_id == incident_id)
            .order_by(col(MentionRow.published_at).desc())
            .limit(limit)
        )
        pairs = [pair(mention, assessment) for mention, assessment in self._session.exec(query)]
        return pairs, total

    def open_by_kind(self) -> dict[SignalKind, int]:
        """How many incidents burn, by kind."""
        found = dict.fromkeys(SignalKind, 0)
        for incident in self.burning():
            found[incident.kind] += 1
        return found


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
