"""One message for a burst: news for a receiver waits a moment for its like, and leaves together."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from pydantic import Field, model_validator

from alerts.base import Event, Incident, Reason, Severity, SeverityWord, SignalKind
from connectors.options import Options


class GroupBy(StrEnum):
    """What news has in common that is told together."""

    INCIDENT = "incident"
    STORY = "story"
    BRAND = "brand"
    KIND = "kind"
    """Brand and kind."""
    RECEIVER = "receiver"
    """Everything for one receiver through one channel."""


class GroupOptions(Options):
    """How news is gathered into messages."""

    by: GroupBy = GroupBy.KIND
    """What is told together: incident, story, brand, kind (of one brand) or receiver (everything)."""
    wait_seconds: float = Field(default=30, ge=0, le=3600)
    """How long the first news of a group waits for its like."""
    interval_minutes: float = Field(default=5, ge=0, le=24 * 60)
    """Least time between two messages of one group."""
    repeat_hours: float | None = Field(default=None, ge=0.25, le=30 * 24)
    """After this long without a message, what still burns and nobody took is told again; none: never."""
    at_once: SeverityWord = "critical"
    """Least severity that does not wait for its like; the interval holds for it, too."""

    @model_validator(mode="after")
    def _repeat_after_interval(self) -> GroupOptions:
        if self.repeat_hours is not None and self.repeat_hours * 60 < self.interval_minutes:
            raise ValueError("repeat_hours must not be shorter than interval_minutes")
        return self


APART = GroupOptions(by=GroupBy.INCIDENT, wait_seconds=0, interval_minutes=0)
"""Without grouping: every piece of news is a message of its own."""

_GRAVEST = (Event.RESOLVED, Event.OPENED, Event.WORSENED, Event.CONTINUES)


@dataclass(frozen=True, slots=True)
class News:
    """Something a receiver is to be told through a channel, until it leaves."""

    receiver: str
    channel: str
    incident_id: int
    brand: str
    kind: SignalKind
    severity: Severity
    event: Event
    reason: Reason
    """Why it is told."""
    since: datetime
    """When it was decided."""
    story: str = ""
    page: str = ""
    """Key of the page or the clock's call, where it is one."""
    not_before: datetime | None = None
    """End of the receiver's quiet hours, where it was kept for that."""


@dataclass(frozen=True, slots=True)
class GroupPlan:
    """What leaves now as one message, what waits, and until when."""

    leaves: tuple[News, ...]
    reason: Reason | None
    """Of the message that leaves; ``GROUPED`` or ``QUIET_HOURS`` while all waits; None: nothing there."""
    next_at: datetime | None
    stays: tuple[News, ...] = ()
    """What still waits afterwards. What was kept of an incident that leaves now is said with it."""


def news_of(
    incident: Incident,
    event: Event,
    *,
    receiver: str,
    channel: str,
    reason: Reason,
    now: datetime,
    page: str = "",
) -> News:
    """News of an incident for one receiver and channel."""
    return News(
        receiver,
        channel,
        incident.id,
        incident.brand,
        incident.kind,
        incident.severity,
        event,
        reason,
        now,
        incident.subject,
        page,
    )


def group_key(news: News, options: GroupOptions) -> tuple[str, ...]:
    """Which group news belongs to: of one receiver and channel in any case."""
    # Pages gather among themselves: they do not wait for what is no page.
    lane = (news.receiver, news.channel, "page" if news.page else "news")
    match options.by:
        case GroupBy.INCIDENT:
            return (*lane, str(news.incident_id))
        case GroupBy.STORY:
            return (*lane, news.brand, news.story)
        case GroupBy.BRAND:
            return (*lane, news.brand)
        case GroupBy.KIND:
            return (*lane, news.brand, news.kind.value)
        case GroupBy.RECEIVER:
            return lane


def joined(waiting: Sequence[News], news: News) -> tuple[News, ...]:
    """The news that waits for one receiver and channel, with one more piece.

    An all-clear takes the place of what was still to be said of its incident.
    """
    if news.event is not Event.RESOLVED:
        return (*waiting, news)
    return (*(each for each in waiting if each.incident_id != news.incident_id), news)


def plan_group(
    waiting: Sequence[News],
    options: GroupOptions,
    *,
    sent_at: datetime | None,
    burning: Sequence[News] = (),
    over: Collection[int] = (),
    now: datetime,
) -> GroupPlan:
    """Decide whether a group's news leaves now.

    Args:
        waiting: news of one group that has not left.
        options: of the route.
        sent_at: when the group's last message left.
        burning: what would be said of the group's incidents that burn, that nobody took and that the
            receiver was told of: for repeats.
        over: incidents that have ended meanwhile. Of these the message says that they are over.
        now: the present moment.
    """
    if not waiting:
        return _repeat(burning, options, sent_at=sent_at, now=now)
    ready = [news for news in waiting if news.not_before is None or news.not_before <= now]
    kept = [news for news in waiting if news.not_before is not None and news.not_before > now]
    later = [news.not_before for news in kept if news.not_before is not None]
    if not ready:
        return GroupPlan((), Reason.QUIET_HOURS, min(later), tuple(waiting))
    due = _due(ready, options, sent_at)
    if due > now:
        return GroupPlan((), Reason.GROUPED, min([due, *later]), tuple(waiting))
    leaves = merged(ready, over)
    from_quiet = any(news.not_before is not None for news in ready)
    reason = Reason.QUIET_HOURS_ENDED if from_quiet else leaves[0].reason
    said = {news.incident_id for news in leaves}
    stays = tuple(news for news in kept if news.incident_id not in said)
    following = now + timedelta(minutes=options.interval_minutes)
    ends = [news.not_before for news in stays if news.not_before is not None]
    return GroupPlan(leaves, reason, max(min(ends), following) if ends else None, stays)


def _due(ready: Sequence[News], options: GroupOptions, sent_at: datetime | None) -> datetime:
    urgent = any(is_urgent(news, options) for news in ready)
    return leaves_at(min(news.since for news in ready), options, urgent=urgent, sent_at=sent_at)


def is_urgent(news: News, options: GroupOptions) -> bool:
    """Whether news does not wait for its like.

    What was kept for quiet hours or is a page has waited long enough; the interval holds for all, so
    that a flood of pages is few messages, too.
    """
    at_once = Severity[options.at_once.upper()]
    return news.severity >= at_once or news.not_before is not None or bool(news.page)


def leaves_at(
    first: datetime, options: GroupOptions, *, urgent: bool, sent_at: datetime | None
) -> datetime:
    """When a group's message leaves.

    Args:
        first: since when the first of its news waits, of what is not kept for quiet hours.
        options: of the route.
        urgent: whether any of it is.
        sent_at: when the group's last message left.
    """
    due = first if urgent else first + timedelta(seconds=options.wait_seconds)
    if sent_at is None:
        return due
    return max(due, sent_at + timedelta(minutes=options.interval_minutes))


def merged(ready: Iterable[News], over: Collection[int]) -> tuple[News, ...]:
    """One piece per incident, the gravest first; what is over says so."""
    found: dict[int, News] = {}
    for news in sorted(ready, key=lambda each: each.since):
        was = found.get(news.incident_id)
        graver = was is None or _GRAVEST.index(news.event) <= _GRAVEST.index(was.event)
        said = news if was is None or graver else was
        ended = news.incident_id in over
        found[news.incident_id] = replace(
            news,
            event=Event.RESOLVED if ended else said.event,
            severity=max(news.severity, was.severity) if was else news.severity,
            reason=Reason.RESOLVED if ended else said.reason,
            since=min(news.since, was.since) if was else news.since,
            page=news.page or (was.page if was else ""),
        )
    return tuple(
        sorted(found.values(), key=lambda each: (-each.severity, each.since, each.incident_id))
    )


def _repeat(
    burning: Sequence[News], options: GroupOptions, *, sent_at: datetime | None, now: datetime
) -> GroupPlan:
    due = repeats_at(options, sent_at)
    if due is None or not burning:
        return GroupPlan((), None, None)
    if due > now:
        return GroupPlan((), None, due)
    leaves = tuple(
        replace(news, event=Event.CONTINUES, reason=Reason.REPEATED) for news in merged(burning, ())
    )
    return GroupPlan(leaves, Reason.REPEATED, repeats_at(options, now))


def repeats_at(options: GroupOptions, sent_at: datetime | None) -> datetime | None:
    """When a group tells again what burns if nothing else leaves; None: never.

    Args:
        options: of the route.
        sent_at: when the group's last message left.
    """
    if options.repeat_hours is None or sent_at is None:
        return None
    return sent_at + timedelta(hours=options.repeat_hours)
