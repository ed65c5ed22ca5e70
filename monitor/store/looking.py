"""Shelf for those who look after an installation: a mention's life, and the newest moments."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel import Session, col, func, or_, select

from classifiers.base import Assessment
from connectors.base import Mention
from monitor.store.mentions import to_assessment, to_mention
from monitor.tables import (
    AssessmentRow,
    DecisionRow,
    EvidenceRow,
    IncidentEventRow,
    IncidentMentionRow,
    MentionRow,
    NotificationAboutRow,
    NotificationRow,
    SightingRow,
    SignalRow,
    SourceRow,
    VersionRow,
)

_NAMED = 20
"""Incidents, and mentions, that a line of the log names at most."""
_SIGNALS_LOOKED_AT = 2000
"""Of an incident, when those that name a mention are looked for."""


@dataclass(frozen=True, slots=True)
class Seen:
    """How a mention came in, and where it stands."""

    mention: Mention
    source: str
    seen_at: datetime
    imported: bool
    assessed_by: str | None
    tries: int
    failed: bool
    deleted_at: datetime | None


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one version of the classifiers thinks of it."""

    version: str
    at: datetime
    assessment: Assessment


@dataclass(frozen=True, slots=True)
class Former:
    """What it said before it was edited."""

    text: str
    said_from: datetime
    replaced_at: datetime
    thought: dict[str, Any] | None
    """What the classifiers thought of it, in short."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """The same article in another source."""

    source: str
    platform: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Raised:
    """A signal that names the mention."""

    kind: str
    severity: int
    incident_id: int
    occurred_at: datetime
    at: datetime


@dataclass(frozen=True, slots=True)
class Decided:
    """Why somebody was, or was not, told."""

    incident_id: int
    at: datetime
    event: str
    receiver: str
    channel: str
    send: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Note:
    """A notification of an incident, by itself or together with others."""

    id: int
    incident_id: int
    event: str
    reason: str
    receiver: str
    channel: str
    state: str
    created_at: datetime
    delivered_at: datetime | None
    next_attempt_at: datetime | None
    attempts: int
    fault: str | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Life:
    """What the store knows of a mention; ``seen`` is None when its row is gone."""

    seen: Seen | None
    opinions: tuple[Opinion, ...]
    former: tuple[Former, ...]
    sightings: tuple[Sighting, ...]
    incidents: tuple[int, ...]
    signals: tuple[Raised, ...]
    decisions: tuple[Decided, ...]
    notifications: tuple[Note, ...]


class Looking:
    """Rows looked at within one transaction; nothing is written here."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def newest(self) -> dict[str, datetime]:
        """The newest moments that were written, by what they are of."""
        found = {
            "mention": select(MentionRow.seen_at).order_by(col(MentionRow.id).desc()),
            "event of an incident": select(IncidentEventRow.at).order_by(
                col(IncidentEventRow.id).desc()
            ),
            "poll": select(SourceRow.last_attempt_at)
            .where(col(SourceRow.last_attempt_at).is_not(None))
            .order_by(col(SourceRow.last_attempt_at).desc()),
        }
        latest = {name: self._session.exec(query.limit(1)).first() for name, query in found.items()}
        return {name: at for name, at in latest.items() if at is not None}

    def holdings(self) -> tuple[int, datetime | None]:
        """How many mentions there are, and when the oldest was published."""
        found = self._session.exec(
            select(func.count(), func.min(col(MentionRow.published_at))).select_from(MentionRow)
        ).one()
        return found[0], found[1]

    def life_of(self, mention_id: int) -> Life | None:
        """All that happened to a mention; None where nothing is known of it, not even evidence."""
        row = self._session.get(MentionRow, mention_id)
        incidents = self._incidents(mention_id)
        if row is None and not incidents:
            return None
        return Life(
            seen=None if row is None else _seen(row),
            opinions=tuple(
                Opinion(each.version, each.at, to_assessment(each))
                for each in self._session.exec(
                    select(AssessmentRow)
                    .where(AssessmentRow.mention_id == mention_id)
                    .order_by(col(AssessmentRow.at))
                )
            ),
            former=tuple(
                Former(each.text, each.said_from, each.replaced_at, each.assessment)
                for each in self._session.exec(
                    select(VersionRow)
                    .where(VersionRow.mention_id == mention_id)
                    .order_by(col(VersionRow.id))
                )
            ),
            sightings=tuple(
                Sighting(each.source, each.platform, each.at)
                for each in self._session.exec(
                    select(SightingRow)
                    .where(SightingRow.mention_id == mention_id)
                    .order_by(col(SightingRow.at))
                )
            ),
            incidents=tuple(incidents),
            signals=tuple(self._signals(mention_id, incidents)),
            decisions=tuple(self._decisions(incidents)),
            notifications=tuple(self._notifications(incidents)),
        )

    def subjects(self, notification_id: int, incident_id: int) -> dict[str, list[int]]:
        """What a notification is about, for the line that tells of it: the first of each sort.

        Args:
            notification_id: of the notification.
            incident_id: the first of its incidents.
        """
        others = (
            select(NotificationAboutRow.incident_id)
            .where(NotificationAboutRow.notification_id == notification_id)
            .order_by(col(NotificationAboutRow.incident_id))
            .limit(_NAMED - 1)
        )
        incidents = [incident_id, *self._session.exec(others)]
        mentions = (
            select(IncidentMentionRow.mention_id)
            .where(col(IncidentMentionRow.incident_id).in_(incidents))
            .order_by(col(IncidentMentionRow.incident_id), col(IncidentMentionRow.mention_id))
            .limit(_NAMED)
        )
        return {"incident": incidents, "mention": list(self._session.exec(mentions))}

    def _incidents(self, mention_id: int) -> list[int]:
        """Those it belongs to; of what was deleted meanwhile, those that keep it as evidence."""
        belongs = select(IncidentMentionRow.incident_id).where(
            IncidentMentionRow.mention_id == mention_id
        )
        kept = select(EvidenceRow.incident_id).where(EvidenceRow.mention_id == mention_id)
        return sorted({*self._session.exec(belongs), *self._session.exec(kept)})

    def _signals(self, mention_id: int, incidents: Collection[int]) -> list[Raised]:
        query = (
            select(SignalRow)
            .where(col(SignalRow.incident_id).in_(incidents))
            .order_by(col(SignalRow.id).desc())
            .limit(_SIGNALS_LOOKED_AT)
        )
        found = [row for row in self._session.exec(query) if mention_id in row.mention_ids]
        return [
            Raised(row.kind, row.severity, row.incident_id, row.occurred_at, row.at)
            for row in reversed(found)
        ]

    def _decisions(self, incidents: Collection[int]) -> list[Decided]:
        query = (
            select(DecisionRow)
            .where(col(DecisionRow.incident_id).in_(incidents))
            .order_by(col(DecisionRow.id))
        )
        return [
            Decided(
                row.incident_id, row.at, row.event, row.receiver, row.channel, row.send, row.reason
            )
            for row in self._session.exec(query)
        ]

    def _notifications(self, incidents: Collection[int]) -> list[Note]:
        among = select(NotificationAboutRow.notification_id).where(
            col(NotificationAboutRow.incident_id).in_(incidents)
        )
        query = (
            select(NotificationRow)
            .where(
                or_(
                    col(NotificationRow.incident_id).in_(incidents),
                    col(NotificationRow.id).in_(among),
                )
            )
            .order_by(col(NotificationRow.id))
        )
        return [_note(row) for row in self._session.exec(query)]


def _seen(row: MentionRow) -> Seen:
    return Seen(
        mention=to_mention(row),
        source=row.source,
        seen_at=row.seen_at,
        imported=row.imported,
        assessed_by=row.assessed_by,
        tries=row.tries,
        failed=row.failed,
        deleted_at=row.deleted_at,
    )


def _note(row: NotificationRow) -> Note:
    return Note(
        id=row.id or 0,
        incident_id=row.incident_id,
        event=row.event,
        reason=row.reason,
        receiver=row.receiver,
        channel=row.channel,
        state=row.state,
        created_at=row.created_at,
        delivered_at=row.delivered_at,
        next_attempt_at=row.next_attempt_at if row.state == "pending" else None,
        attempts=row.attempts,
        fault=row.fault,
        error=row.error,
    )
