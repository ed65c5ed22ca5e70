"""Shelf of what an incident needs until it is over: the next look, its clocks, what was held back."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from sqlmodel import Session, col, func, select, text

from alerts.base import Reason
from alerts.clocks import Clock, ClockState, Milestone, Reading
from alerts.silences import Muted
from monitor.tables import (
    HELD_BACK,
    LOOKED_AFTER,
    UNFINISHED,
    ClockRow,
    DecisionRow,
    IncidentMentionRow,
    IncidentRow,
)

_MILESTONES = {each: f"{each.value}_at" for each in Milestone}

_ANNOUNCED = (Reason.OPENED.value, Reason.WORSENED.value, Reason.CONTINUES.value)
_RULED = (*_ANNOUNCED, Reason.SILENCED.value, Reason.PART_OF_CRISIS.value)

LOOK_BACK = 50
"""How many of an incident's latest decisions are looked at to find those on its latest news."""


@dataclass(frozen=True, slots=True)
class ClockRun:
    """One run of a clock, as it was last read."""

    incident_id: int
    name: str
    started_at: datetime
    due_at: datetime
    outcome: ClockState
    rule: str = ""
    """What started it."""
    stopped_at: datetime | None = None
    done: Mapping[Milestone, datetime] = field(default_factory=lambda: MappingProxyType({}))
    ended_at: datetime | None = None
    """When its incident ended."""


class Following:
    """Rows of clocks and of next looks within one transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._started: dict[tuple[int, str, datetime], ClockRow] = {}
        """Those of this transaction, which the database need not know yet."""

    # -- when to look --------------------------------------------------------------------------

    def due(self, now: datetime, limit: int) -> list[int]:
        """The incidents to look at now, those that have waited longest first."""
        query = (
            select(IncidentRow.id)
            .where(text(LOOKED_AFTER), col(IncidentRow.next_look_at) <= now)
            .order_by(col(IncidentRow.next_look_at))
            .limit(limit)
        )
        return [number for number in self._session.exec(query) if number is not None]

    def next_at(self) -> datetime | None:
        """When an incident is to be looked at next."""
        query = select(func.min(IncidentRow.next_look_at)).where(text(LOOKED_AFTER))
        return self._session.exec(query).one()

    def rest(self, incident_id: int, until: datetime | None) -> None:
        """Leave an incident alone until then; ``None``: until something happens to it."""
        self._session.get_one(IncidentRow, incident_id).next_look_at = until

    # -- clocks --------------------------------------------------------------------------------

    def start(self, incident_id: int, clock: Clock, rule: str) -> ClockRun:
        """Keep a clock that was started; gives back how it is kept."""
        row = ClockRow(
            incident_id=incident_id,
            name=clock.name,
            started_at=clock.started_at,
            due_at=clock.due_at,
            rule=rule,
            outcome=ClockState.RUNNING.value,
        )
        self._session.add(row)
        self._started[incident_id, clock.name, clock.started_at] = row
        return _to_run(row)

    def clocks(self, incident_id: int) -> list[ClockRun]:
        """The latest run of each clock of an incident."""
        query = (
            select(ClockRow)
            .where(ClockRow.incident_id == incident_id)
            .order_by(col(ClockRow.started_at))
        )
        return list({row.name: _to_run(row) for row in self._session.exec(query)}.values())

    def held(
        self, incident_ids: Collection[int]
    ) -> tuple[list[ClockRow], dict[int, list[ClockRun]]]:
        """The same of several incidents, by number, with their rows: who holds on to these reads once."""
        query = (
            select(ClockRow)
            .where(col(ClockRow.incident_id).in_(incident_ids))
            .order_by(col(ClockRow.incident_id), col(ClockRow.started_at))
        )
        rows = list(self._session.exec(query))
        latest = {(row.incident_id, row.name): row for row in rows}
        found: dict[int, list[ClockRun]] = {}
        for (incident_id, _), row in latest.items():
            found.setdefault(incident_id, []).append(_to_run(row))
        return rows, found

    def read(
        self, run: ClockRun, reading: Reading, *, ended_at: datetime | None = None
    ) -> ClockRun:
        """Keep how a clock stands now; gives back how it is kept."""
        key = (run.incident_id, run.name, run.started_at)
        row = self._started.get(key) or self._session.get_one(ClockRow, key)
        row.outcome, row.due_at = reading.state.value, reading.due_at
        row.stopped_at, row.ended_at = reading.stopped_at, ended_at
        for milestone, at in reading.done:
            if getattr(row, _MILESTONES[milestone]) is None:
                setattr(row, _MILESTONES[milestone], at)
        return _to_run(row)

    def unfinished(self) -> dict[tuple[str, ClockState], int]:
        """How many clocks of incidents that are not over there are, by name and how they stand.

        Those of drills are not among them.
        """
        query = (
            select(ClockRow.name, ClockRow.outcome, func.count())
            .join(IncidentRow, col(IncidentRow.id) == ClockRow.incident_id)
            .where(text(UNFINISHED), ~col(IncidentRow.drill))
            .group_by(ClockRow.name, ClockRow.outcome)
        )
        return {
            (name, ClockState(outcome)): count for name, outcome, count in self._session.exec(query)
        }

    # -- what was held back --------------------------------------------------------------------

    def missed(self, incident_id: int) -> list[Muted]:
        """Who missed news of an incident because of a silence, each with the latest moment."""
        query = (
            select(DecisionRow.receiver, DecisionRow.channel, func.max(DecisionRow.at))
            .where(text(HELD_BACK), DecisionRow.incident_id == incident_id)
            .group_by(DecisionRow.receiver, DecisionRow.channel)
        )
        return [Muted(receiver, channel, at) for receiver, channel, at in self._session.exec(query)]

    def missed_of(self, incident_ids: Collection[int]) -> dict[int, list[Muted]]:
        """The same of several incidents, by number."""
        query = (
            select(
                DecisionRow.incident_id,
                DecisionRow.receiver,
                DecisionRow.channel,
                func.max(DecisionRow.at),
            )
            .where(text(HELD_BACK), col(DecisionRow.incident_id).in_(incident_ids))
            .group_by(
                col(DecisionRow.incident_id), col(DecisionRow.receiver), col(DecisionRow.channel)
            )
        )
        found: dict[int, list[Muted]] = {}
        for incident_id, receiver, channel, at in self._session.exec(query):
            found.setdefault(incident_id, []).append(Muted(receiver, channel, at))
        return found

    def among(self, incident_id: int, mentions: Collection[int]) -> frozenset[int]:
        """Which of these mentions belong to an incident."""
        query = select(IncidentMentionRow.mention_id).where(
            IncidentMentionRow.incident_id == incident_id,
            col(IncidentMentionRow.mention_id).in_(mentions),
        )
        return frozenset(self._session.exec(query))

    def only_part_of_crisis(self, incident_id: int) -> bool:
        """Whether the latest news of an incident went to nobody, since a crisis consists of it."""
        query = (
            select(DecisionRow.at, DecisionRow.reason)
            .where(DecisionRow.incident_id == incident_id)
            .order_by(col(DecisionRow.id).desc())
            .limit(LOOK_BACK)
        )
        ruled = [(at, why) for at, why in self._session.exec(query) if why in _RULED]
        latest = {why for at, why in ruled if at == ruled[0][0]}
        return latest == {Reason.PART_OF_CRISIS.value}


def _to_run(row: ClockRow) -> ClockRun:
    reached = {each: getattr(row, column) for each, column in _MILESTONES.items()}
    return ClockRun(
        incident_id=row.incident_id,
        name=row.name,
        started_at=row.started_at,
        due_at=row.due_at,
        outcome=ClockState(row.outcome),
        rule=row.rule,
        stopped_at=row.stopped_at,
        done={each: at for each, at in reached.items() if at is not None},
        ended_at=row.ended_at,
    )
