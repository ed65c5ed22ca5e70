"""The tables of the store. SQLModel classes live here and never leave ``monitor.store``.

The migrations under ``monitor/migrations`` create them; a test proves that both agree.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import (
    DDL,
    JSON,
    Boolean,
    Column,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    String,
    UniqueConstraint,
    event,
)
from sqlalchemy import text as sql
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field, SQLModel

WAITING = "state = 'pending'"
"""Which notifications wait for delivery, in the words of their index."""

ASIDE = "state = 'pending' AND aside = 1"
"""Which of them were set aside, in the words of their index."""

GIVEN_UP = "state = 'dead'"
"""Which notifications are dead letters, in the words of their index."""

TAKES_OVER = "failover_of IS NOT NULL"
"""Which notifications go another way than was meant, in the words of their index."""

WORDED = "message <> '{}'"
"""Which notifications still have their words, in those of their index."""

MERGED = "merged_into IS NOT NULL"
"""Which incidents became part of others, in the words of their index."""

BURNING = "state IN ('open', 'acknowledged')"
"""Which incidents are not over, in the words of their index."""

LOOKED_AFTER = "next_look_at IS NOT NULL"
"""Which incidents and groups of news ask to be looked at, in the words of their index."""

UNFINISHED = "ended_at IS NULL"
"""Which clocks belong to incidents that are not over, in the words of their index."""

HELD_BACK = "reason = 'silenced'"
"""Which decisions a silence made, in the words of their index."""

NOTABLE = "leak_band <> 'low'"
"""Which assessments are put up for review or escalated, in the words of their index."""

WAITS = "body IS NOT NULL"
"""Which pushes wait for their source to read them, in the words of their index."""

QUEUED = "assessed_by IS NULL AND failed = 0"
"""Which mentions wait for an assessment: queries must say it in these words to use the index."""


class UtcDateTime(TypeDecorator[datetime]):
    """An aware moment, kept as UTC text that a person can read in any SQLite browser."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """Refuse naive moments: they are always a mistake."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime reached the store")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """Give the moment back as aware UTC."""
        return None if value is None else value.replace(tzinfo=UTC)


def _moment(*, nullable: bool = False, index: bool = False) -> Any:
    return Field(
        default=None if nullable else ...,
        sa_column=Column(UtcDateTime, nullable=nullable, index=index),
    )


def _json() -> Any:
    return Field(sa_column=Column(JSON, nullable=False))


def _word() -> Any:
    return Field(default="", sa_column=Column(String, nullable=False, server_default=sql("''")))


def _flag() -> Any:
    return Field(default=False, sa_column=Column(Boolean, nullable=False, server_default=sql("0")))


def _count() -> Any:
    return Field(default=0, sa_column=Column(Integer, nullable=False, server_default=sql("0")))


class MetaRow(SQLModel, table=True):
    """Facts about the installation: its id, the fingerprint of its pseudonym key."""

    __tablename__ = "meta"
    key: str = Field(primary_key=True)
    value: str


class SourceRow(SQLModel, table=True):
    """Where each configured source was left, and how it fares."""

    __tablename__ = "source"
    name: str = Field(primary_key=True)
    kind: str
    fingerprint: str
    """Of what the cursor is a cursor of: another address or query starts from the beginning."""
    cursor: Any = Field(default=None, sa_column=Column(JSON(none_as_null=True), nullable=True))
    next_due_at: datetime = _moment()
    first_seen_at: datetime = _moment()
    last_attempt_at: datetime | None = _moment(nullable=True)
    last_success_at: datetime | None = _moment(nullable=True)
    failures: int = 0
    """Failed polls since the last good one."""
    fault: str | None = None
    error: str | None = None
    canary_at: datetime | None = _moment(nullable=True)
    """When something was last read that its canary finds."""


class CoverageRow(SQLModel, table=True):
    """A stretch of time in which a source was listened to without a gap."""

    __tablename__ = "coverage"
    id: int | None = Field(default=None, primary_key=True)
    source: str
    started_at: datetime = _moment()
    ended_at: datetime = _moment()
    __table_args__ = (Index("ix_coverage_source_ended_at", "source", "ended_at"),)


class DarkRow(SQLModel, table=True):
    """A stretch of time in which a source was not heard, and why."""

    __tablename__ = "dark"
    id: int | None = Field(default=None, primary_key=True)
    source: str
    started_at: datetime = _moment()
    ended_at: datetime | None = _moment(nullable=True)
    """Null: it lasts."""
    reason: str
    fault: str | None = None
    error: str | None = None
    polls: int = 0
    __table_args__ = (
        Index("ix_dark_ended_at", "ended_at"),
        Index("ix_dark_lasting", "source", unique=True, sqlite_where=sql("ended_at IS NULL")),
    )


class RejectRow(SQLModel, table=True):
    """An item of a source that could not become a post."""

    __tablename__ = "reject"
    id: int | None = Field(default=None, primary_key=True)
    source: str
    at: datetime = _moment()
    reason: str
    excerpt: str
    fingerprint: str
    __table_args__ = (UniqueConstraint("source", "fingerprint"),)


class MentionRow(SQLModel, table=True):
    """A post that matched a brand. ``author`` is a pseudonym."""

    __tablename__ = "mention"
    id: int | None = Field(default=None, primary_key=True)
    brand: str
    platform: str
    post_id: str
    source: str
    url: str | None = None
    author: str | None = None
    author_followers: int | None = None
    official: bool = False
    published_at: datetime = _moment()
    seen_at: datetime = _moment()
    language: str | None = None
    text: str
    likes: int = 0
    shares: int = 0
    replies: int = 0
    matched: Any = _json()
    story: str
    imported: bool = False
    """Brought in by hand: assessed, but neither counted for spikes nor alerted."""
    assessed_by: str | None = None
    """Version of the latest assessment; null: in the queue."""
    counted_as: str | None = None
    """The sentiment it stands under in ``bucket_count``; null: not counted."""
    tries: int = 0
    """Assessments begun. One that killed the process leaves its mark here."""
    failed: bool = False
    """The classifiers could not assess it, even alone."""
    page: str | None = None
    """Key of the page it links to, by which other sources' copies of an article are known."""
    edited_at: datetime | None = _moment(nullable=True)
    """When its author last changed it, as far as we know."""
    versions: int = Field(
        default=0, sa_column=Column(Integer, nullable=False, server_default=sql("0"))
    )
    """Texts it had before."""
    deleted_at: datetime | None = _moment(nullable=True)
    """When we heard that its platform deleted it: the row stays, empty, so that it does not come again."""
    thread: str | None = None
    """Address of the conversation it belongs to."""
    pictured: str | None = None
    """Text that was read in its pictures."""
    __table_args__ = (
        UniqueConstraint("brand", "platform", "post_id"),
        Index("ix_mention_brand_published_at", "brand", "published_at"),
        Index("ix_mention_published_at", "published_at"),
        Index("ix_mention_source_seen_at", "source", "seen_at"),
        Index("ix_mention_queue", "id", sqlite_where=sql(QUEUED)),
        Index("ix_mention_author", "author", "brand", "published_at"),
        Index("ix_mention_story", "brand", "story", "published_at"),
        Index("ix_mention_page", "page", "brand", sqlite_where=sql("page IS NOT NULL")),
        # An id is never given to another post, also after deletion: incidents refer to it.
        {"sqlite_autoincrement": True},
    )


class VersionRow(SQLModel, table=True):
    """What a mention said before it was edited."""

    __tablename__ = "mention_version"
    id: int | None = Field(default=None, primary_key=True)
    mention_id: int = Field(foreign_key="mention.id", ondelete="CASCADE", index=True)
    text: str
    said_from: datetime = _moment()
    """When it was published, or edited to say this."""
    replaced_at: datetime = _moment()
    """When we saw that it says something else."""
    assessment: Any = Field(default=None, sa_column=Column(JSON(none_as_null=True), nullable=True))
    """What the classifiers thought of this text, in short."""


class PictureRow(SQLModel, table=True):
    """A picture of a mention that waits to be read."""

    __tablename__ = "picture"
    id: int | None = Field(default=None, primary_key=True)
    mention_id: int = Field(foreign_key="mention.id", ondelete="CASCADE")
    url: str
    due_at: datetime = _moment()
    tries: int
    __table_args__ = (
        UniqueConstraint("mention_id", "url"),
        Index("ix_picture_due_at", "due_at"),
    )


class SightingRow(SQLModel, table=True):
    """The same article in another source: one mention, seen more than once."""

    __tablename__ = "sighting"
    mention_id: int = Field(foreign_key="mention.id", primary_key=True, ondelete="CASCADE")
    source: str = Field(primary_key=True)
    platform: str
    post_id: str = Field(primary_key=True)
    at: datetime = _moment()


class AnchorRow(SQLModel, table=True):
    """A key under which a story is found: it belongs to the mention that began the story."""

    __tablename__ = "story_anchor"
    brand: str = Field(primary_key=True)
    anchor: str = Field(primary_key=True)
    mention_id: int = Field(foreign_key="mention.id", ondelete="CASCADE", index=True)


class AssessmentRow(SQLModel, table=True):
    """What one version of the classifiers thinks of one mention."""

    __tablename__ = "assessment"
    id: int | None = Field(default=None, primary_key=True)
    mention_id: int = Field(foreign_key="mention.id", ondelete="CASCADE")
    version: str
    at: datetime = _moment()
    language: str
    sentiment: str
    sentiment_scores: Any = _json()
    leak_band: str
    leak_score: float
    leak_likely: str
    """What it would be: none exactly in the band ``low``."""
    findings: Any = _json()
    abuse: str
    abuse_score: float
    __table_args__ = (
        UniqueConstraint("mention_id", "version"),
        Index("ix_assessment_notable", "leak_band", "mention_id", sqlite_where=sql(NOTABLE)),
    )


class FeedbackRow(SQLModel, table=True):
    """What a person says of a mention. Only ever appended to; the newest counts.

    It lives as long as its mention: without the text it is of no use, and the text is not ours.
    """

    __tablename__ = "feedback"
    id: int | None = Field(default=None, primary_key=True)
    mention_id: int = Field(foreign_key="mention.id", ondelete="CASCADE", index=True)
    at: datetime = _moment()
    judged_by: str
    verdict: str
    """leak, no-leak, withdrawn."""
    category: str | None = None
    sentiment: str | None = None
    abuse: str | None = None
    note: str = ""
    version: str | None = None
    """Of the assessment that is judged, with what it said: another model may say another thing."""
    band: str | None = None
    score: float | None = None
    __table_args__ = ({"sqlite_autoincrement": True},)


class CountRow(SQLModel, table=True):
    """How many mentions of a brand a source gave that were published in a bucket, by sentiment."""

    __tablename__ = "bucket_count"
    brand: str = Field(primary_key=True)
    bucket: datetime = Field(sa_column=Column(UtcDateTime, primary_key=True, nullable=False))
    source: str = Field(primary_key=True)
    sentiment: str = Field(primary_key=True)
    count: int


class VoicesRow(SQLModel, table=True):
    """How many different voices spoke of a brand in a bucket: numbers only, which outlive the posts.

    Each is counted where it begins, so that buckets may be added up: an author who had not spoken
    for some hours, a story that had not been told for a day.
    """

    __tablename__ = "bucket_voices"
    brand: str = Field(primary_key=True)
    bucket: datetime = Field(sa_column=Column(UtcDateTime, primary_key=True, nullable=False))
    authors: int
    stories: int
    reach: int
    """Points for the audiences of those authors: one for each power of ten from 1,000 followers on."""


class DetectorRow(SQLModel, table=True):
    """A spike detector that has consumed every bucket before ``settled_until``."""

    __tablename__ = "detector"
    brand: str = Field(primary_key=True)
    series: str = Field(primary_key=True)
    version: str
    """Of the algorithm: another one starts anew from the counts."""
    settled_until: datetime = _moment()
    snapshot: Any = _json()


class IncidentRow(SQLModel, table=True):
    """Signals about the same thing."""

    __tablename__ = "incident"
    id: int | None = Field(default=None, primary_key=True)
    brand: str
    kind: str
    severity: int
    state: str = Field(sa_column=Column(String, nullable=False, index=True))
    subject: str
    opened_at: datetime = _moment()
    last_signal_at: datetime = _moment()
    acknowledged_at: datetime | None = _moment(nullable=True)
    acknowledged_by: str | None = None
    resolved_at: datetime | None = _moment(nullable=True)
    next_look_at: datetime | None = _moment(nullable=True)
    """When clocks, chain and silences are to be asked again; null: not unless something happens."""
    assigned_to: str | None = None
    reviewed_at: datetime | None = _moment(nullable=True)
    merged_into: int | None = None
    """The incident that took in what this one was about."""
    drill: bool = _flag()
    """An exercise: told like any other, counted nowhere."""
    __table_args__ = (
        Index("ix_incident_merged_into", "merged_into", sqlite_where=sql(MERGED)),
        Index("ix_incident_mates", "brand", "subject", sqlite_where=sql(BURNING)),
        Index("ix_incident_next_look_at", "next_look_at", sqlite_where=sql(LOOKED_AFTER)),
        {"sqlite_autoincrement": True},
    )


class IncidentEventRow(SQLModel, table=True):
    """What happened to an incident. Only ever appended to."""

    __tablename__ = "incident_event"
    id: int | None = Field(default=None, primary_key=True)
    incident_id: int = Field(foreign_key="incident.id", index=True)
    at: datetime = _moment()
    actor: str
    event: str
    """A word of ``alerts.history.Happened``."""
    note: str = ""
    receiver: str = _word()
    """Who was told, where somebody was."""
    page: str = _word()
    """Key of the page or of the clock's call."""
    reason: str = _word()
    level: int | None = None
    """Step of the chain, counted from 0."""
    digest: str
    """Over this line and the digest of the line before it: ``alerts.ledger``."""


_STAYS = "SELECT RAISE(ABORT, 'the history of incidents is only ever appended to'); END"

APPEND_ONLY = (
    f"CREATE TRIGGER incident_event_unchanged BEFORE UPDATE ON incident_event BEGIN {_STAYS}",
    f"CREATE TRIGGER incident_event_kept BEFORE DELETE ON incident_event BEGIN {_STAYS}",
    """CREATE TRIGGER incident_event_not_replaced BEFORE INSERT ON incident_event
    WHEN EXISTS (SELECT 1 FROM incident_event WHERE id = NEW.id) BEGIN
    SELECT RAISE(ABORT, 'the history of incidents is only ever appended to'); END""",
    """CREATE TRIGGER evidence_kept BEFORE DELETE ON evidence BEGIN
    SELECT RAISE(ABORT, 'evidence is overwritten when its time has come, never deleted'); END""",
    """CREATE TRIGGER evidence_unchanged BEFORE UPDATE ON evidence
    WHEN NEW.id <> OLD.id OR NEW.incident_id <> OLD.incident_id
    OR NEW.mention_id <> OLD.mention_id OR NEW.at <> OLD.at OR NEW.digest <> OLD.digest BEGIN
    SELECT RAISE(ABORT, 'of evidence only the content may go'); END""",
)
"""Nobody changes a line by mistake. A migration that rebuilds one of the tables makes them anew."""


class IncidentMentionRow(SQLModel, table=True):
    """Which mentions an incident is about."""

    __tablename__ = "incident_mention"
    incident_id: int = Field(foreign_key="incident.id", primary_key=True)
    mention_id: int = Field(foreign_key="mention.id", primary_key=True, ondelete="CASCADE")
    __table_args__ = (Index("ix_incident_mention_mention_id", "mention_id"),)


class SignalRow(SQLModel, table=True):
    """Something worth attention; ``key`` keeps it from being found twice."""

    __tablename__ = "signal"
    id: int | None = Field(default=None, primary_key=True)
    key: str = Field(unique=True)
    kind: str
    brand: str
    severity: int
    subject: str
    occurred_at: datetime = _moment()
    at: datetime = _moment()
    mention_ids: Any = _json()
    facts: Any = _json()
    incident_id: int = Field(foreign_key="incident.id", index=True)


class NotificationRow(SQLModel, table=True):
    """The outbox: one message to one receiver through one channel."""

    __tablename__ = "notification"
    id: int | None = Field(default=None, primary_key=True)
    key: str = Field(unique=True)
    incident_id: int = Field(foreign_key="incident.id", index=True)
    event: str
    receiver: str
    channel: str
    addresses: Any = _json()
    message: Any = _json()
    """Empty, as are the addresses, once its incidents have been over for as long as anything is kept."""
    state: str
    """pending, delivered, dead, withdrawn; gathering: it is being put together, of very many incidents."""
    created_at: datetime = _moment()
    next_attempt_at: datetime = _moment()
    not_before: datetime | None = _moment(nullable=True)
    """The server itself asked us to wait until then."""
    attempts: int = 0
    aside: bool = False
    """Trouble of its own (not of its channel): those behind it may overtake."""
    delivered_at: datetime | None = _moment(nullable=True)
    fault: str | None = None
    error: str | None = None
    reason: str = _word()
    """Why it is sent: a word of ``alerts.base.Reason``."""
    page: str = _word()
    """Key of the page or of the clock's call, where it is one."""
    drill: bool = _flag()
    failover_of: str | None = None
    """Key of the notification that this one takes over from a channel that is down."""
    __table_args__ = (
        Index(
            "ix_notification_lane",
            "aside",
            "channel",
            "receiver",
            "id",
            sqlite_where=sql(WAITING),
        ),
        Index("ix_notification_aside", "next_attempt_at", sqlite_where=sql(ASIDE)),
        Index("ix_notification_dead", "id", sqlite_where=sql(GIVEN_UP)),
        Index("ix_notification_failover_of", "failover_of", sqlite_where=sql(TAKES_OVER)),
        Index("ix_notification_worded", "created_at", sqlite_where=sql(WORDED)),
        {"sqlite_autoincrement": True},
    )


class NotificationAboutRow(SQLModel, table=True):
    """The further incidents that a message tells of, where it tells of several at once."""

    __tablename__ = "notification_about"
    notification_id: int = Field(foreign_key="notification.id", primary_key=True)
    incident_id: int = Field(foreign_key="incident.id", primary_key=True, index=True)
    event: str
    reason: str
    page: str
    since: datetime = _moment()
    """When it was decided that this is to be told."""


class DecisionRow(SQLModel, table=True):
    """Why somebody was, or was not, told of something that happened to an incident."""

    __tablename__ = "decision"
    id: int | None = Field(default=None, primary_key=True)
    incident_id: int = Field(foreign_key="incident.id", index=True)
    at: datetime = _moment()
    event: str
    receiver: str
    channel: str
    send: bool
    reason: str
    __table_args__ = (Index("ix_decision_held_back", "incident_id", sqlite_where=sql(HELD_BACK)),)


class ThreadRow(SQLModel, table=True):
    """Where an incident's messages to one receiver through one channel continue."""

    __tablename__ = "thread"
    incident_id: int = Field(foreign_key="incident.id", primary_key=True)
    receiver: str = Field(primary_key=True)
    channel: str = Field(primary_key=True)
    reference: Any = _json()


class RegisterRow(SQLModel, table=True):
    """A confidential document or list, as keyed fingerprints: no text, no name but the label."""

    __tablename__ = "register"
    id: int | None = Field(default=None, primary_key=True)
    label: str = Field(unique=True)
    kind: str
    category: str
    scheme: int
    """How words became hashes: what another scheme made must be registered anew."""
    family: int
    """The id of the first version of this document."""
    size: int
    entries: int
    added_at: datetime = _moment()
    prints: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    __table_args__ = ({"sqlite_autoincrement": True},)


class ClockRow(SQLModel, table=True):
    """One run of a promise with a due moment: a reopened incident has another run."""

    __tablename__ = "clock"
    incident_id: int = Field(foreign_key="incident.id", primary_key=True)
    name: str = Field(primary_key=True)
    started_at: datetime = Field(sa_column=Column(UtcDateTime, primary_key=True, nullable=False))
    due_at: datetime = _moment()
    rule: str
    """What started it: a kind of signal or a rule of the policy."""
    outcome: str
    """running, met, breached, late, called_off."""
    stopped_at: datetime | None = _moment(nullable=True)
    """When the last it needs had happened, or the incident ended."""
    acknowledged_at: datetime | None = _moment(nullable=True)
    first_statement_at: datetime | None = _moment(nullable=True)
    answered_at: datetime | None = _moment(nullable=True)
    resolved_at: datetime | None = _moment(nullable=True)
    ended_at: datetime | None = _moment(nullable=True)
    """When its incident ended: nothing more happens to it."""
    __table_args__ = (Index("ix_clock_unfinished", "incident_id", sqlite_where=sql(UNFINISHED)),)


class SilenceRow(SQLModel, table=True):
    """What somebody muted, why and until when. What is empty matches everything."""

    __tablename__ = "silence"
    id: int | None = Field(default=None, primary_key=True)
    author: str
    reason: str
    created_at: datetime = _moment()
    starts_at: datetime = _moment()
    ends_at: datetime = _moment(index=True)
    """Brought forward when somebody ends it."""
    brand: str = ""
    kind: str = ""
    source: str = ""
    story: str = ""
    up_to: int
    """Graver incidents are heard all the same."""
    ended_by: str | None = None
    __table_args__ = ({"sqlite_autoincrement": True},)


class NewsGroupRow(SQLModel, table=True):
    """News of one receiver and channel that is told together."""

    __tablename__ = "news_group"
    key: str = Field(primary_key=True)
    receiver: str
    channel: str
    options: Any = _json()
    """How it gathers: those of the route of its latest news."""
    sent_at: datetime | None = _moment(nullable=True)
    """When its last message left."""
    next_look_at: datetime | None = _moment(nullable=True)
    """When it is to be asked again whether a message leaves; null: not unless there is news."""
    gathering: int | None = None
    """The notification that is being put together slice by slice, if one is."""
    upto: int = _count()
    """Of that one: the highest number of the waiting news that it takes; 0 of a repeat."""
    asked: int = _count()
    """Of a repeat: the highest incident that was asked whether it burns."""
    __table_args__ = (
        Index("ix_news_group_next_look_at", "next_look_at", sqlite_where=sql(LOOKED_AFTER)),
    )


class WaitingRow(SQLModel, table=True):
    """News for a receiver that has not left: it waits for its like, or for the end of quiet hours."""

    __tablename__ = "waiting"
    id: int | None = Field(default=None, primary_key=True)
    group_key: str = Field(foreign_key="news_group.key")
    incident_id: int = Field(foreign_key="incident.id", index=True)
    receiver: str
    channel: str
    event: str
    reason: str
    """Why it is told."""
    severity: int
    since: datetime = _moment()
    page: str = ""
    not_before: datetime | None = _moment(nullable=True)
    """End of the receiver's quiet hours, where it is kept for that."""
    __table_args__ = (
        Index("ix_waiting_group_key_incident_id", "group_key", "incident_id"),
        {"sqlite_autoincrement": True},
    )


class EvidenceRow(SQLModel, table=True):
    """What an escalated post said when it was first seen, and each time it had changed."""

    __tablename__ = "evidence"
    id: int | None = Field(default=None, primary_key=True)
    incident_id: int = Field(foreign_key="incident.id", index=True)
    mention_id: int = Field(index=True)
    """The mention itself may be edited or deleted: this stays."""
    at: datetime = _moment()
    content: Any = _json()
    digest: str
    """Over this and the digest of the evidence before it."""
    __table_args__ = ({"sqlite_autoincrement": True},)


class NotificationSampleRow(SQLModel, table=True):
    """Which posts a message shows, so that what it shows goes when they go."""

    __tablename__ = "notification_sample"
    notification_id: int = Field(
        foreign_key="notification.id", primary_key=True, ondelete="CASCADE"
    )
    mention_id: int = Field(primary_key=True)
    """The mention itself may be gone while its evidence is held."""
    __table_args__ = (Index("ix_notification_sample_mention_id", "mention_id"),)


class OutageRow(SQLModel, table=True):
    """A channel that does not work, until it works again."""

    __tablename__ = "outage"
    channel: str = Field(primary_key=True)
    since: datetime = _moment()
    """Of the first failure since it last delivered."""
    down: bool
    """It has delivered nothing since; else it only gave messages up."""
    failed_at: datetime = _moment()
    """Of the latest failure."""
    delivered_at: datetime | None = _moment(nullable=True)
    given_up: int
    """Dead letters since."""
    fault: str
    error: str | None = None
    told: datetime | None = _moment(nullable=True)
    """When it was told over another channel."""


class IntakeRow(SQLModel, table=True):
    """What somebody pushed to a source: stored before it was acknowledged, erased once it was read."""

    __tablename__ = "intake"
    id: int | None = Field(default=None, primary_key=True)
    source: str
    identity: str
    """Given by the sender, or made of the body. Outlives the body, so that a repeat is known."""
    received_at: datetime = _moment(index=True)
    body: bytes | None = Field(default=None, sa_column=Column(LargeBinary, nullable=True))
    """As it came in; null: read."""
    __table_args__ = (
        UniqueConstraint("source", "identity"),
        Index("ix_intake_waiting", "source", "id", sqlite_where=sql(WAITS)),
        # A number is never given twice: cursors keep it.
        {"sqlite_autoincrement": True},
    )


class SpendingRow(SQLModel, table=True):
    """What a source cost on a day, by what it was billed for."""

    __tablename__ = "spending"
    source: str = Field(primary_key=True)
    day: date = Field(primary_key=True)
    """In UTC."""
    unit: str = Field(primary_key=True)
    amount: int
    cost: int
    """In millionths of the source's currency, at the prices of that day."""


for _statement in APPEND_ONLY:
    event.listen(SQLModel.metadata, "after_create", DDL(_statement))  # type: ignore[no-untyped-call] # theirs
