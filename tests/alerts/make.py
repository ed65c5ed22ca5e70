"""Builders of values: everything has a default, a test names what matters to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from alerts.base import (
    Chart,
    Delivery,
    Event,
    Incident,
    IncidentState,
    Message,
    Reason,
    Severity,
    Signal,
    SignalKind,
)
from alerts.message import Exhibit, compose
from classifiers.base import (
    Abuse,
    AbuseLabel,
    Assessment,
    Confidence,
    Finding,
    Leak,
    LeakBand,
    LeakCategory,
    Sentiment,
    SentimentLabel,
)
from connectors.base import Engagement, Mention, Post

NOON = datetime(2026, 11, 13, 11, 0, tzinfo=UTC)
"""Friday noon in Amsterdam."""
AMSTERDAM = "Europe/Amsterdam"
NO_LEAK = Leak(band=LeakBand.LOW, score=0.02, likely=LeakCategory.NONE)
NO_ABUSE = Abuse(AbuseLabel.NONE, 0.01)


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


def mention(
    text: str = "Gisteren bij Zonnehoek geweest.",
    *,
    number: int = 1,
    brand: str = "Zonnehoek",
    platform: str = "x",
    author: str | None = "9f3ca7d1e2",
    followers: int | None = 500,
    story: str | None = None,
    official: bool = False,
    matched: tuple[str, ...] = ("Zonnehoek",),
    at: datetime = NOON,
    url: str | None = "https://x.com/i/status/1",
) -> Mention:
    post = Post(
        platform=platform,
        id=f"p{number}",
        text=text,
        published_at=at,
        url=url,
        author=author,
        author_followers=followers,
        language="nl",
        engagement=Engagement(3, 2, 1),
    )
    return Mention(number, brand, post, matched, story or f"story-{number}", official)


def assessment(
    *,
    negative: float = 0.7,
    leak: Leak = NO_LEAK,
    abuse: Abuse = NO_ABUSE,
    language: str = "nl",
) -> Assessment:
    label = SentimentLabel.NEGATIVE if negative >= 0.5 else SentimentLabel.NEUTRAL
    scores = {
        SentimentLabel.NEGATIVE: negative,
        SentimentLabel.NEUTRAL: 1 - negative,
        SentimentLabel.POSITIVE: 0.0,
    }
    return Assessment(language, Sentiment(label, scores), leak, abuse)


def leak(
    category: LeakCategory = LeakCategory.PERSONAL_DATA,
    score: float = 0.97,
    findings: tuple[Finding, ...] = (),
) -> Leak:
    return Leak(band=LeakBand.ESCALATE, score=score, likely=category, findings=findings)


def finding(text: str, value: str, detector: str = "iban") -> Finding:
    start = text.index(value)
    return Finding(detector, LeakCategory.PERSONAL_DATA, start, start + len(value), Confidence.HIGH)


def signal(
    kind: SignalKind = SignalKind.LEAK,
    *,
    brand: str = "Zonnehoek",
    severity: Severity = Severity.HIGH,
    subject: str = "story-1",
    at: datetime = NOON,
    key: str | None = None,
    mention_ids: tuple[int, ...] = (1,),
    facts: Mapping[str, Any] | None = None,
) -> Signal:
    return Signal(
        kind,
        brand,
        severity,
        key or f"{kind.value}:{brand}:{subject}:{at.isoformat()}",
        subject,
        at,
        mention_ids,
        facts or {},
    )


def incident(
    kind: SignalKind = SignalKind.LEAK,
    *,
    number: int = 12,
    brand: str = "Zonnehoek",
    severity: Severity = Severity.CRITICAL,
    state: IncidentState = IncidentState.OPEN,
    subject: str = "story-1",
    opened_at: datetime = NOON,
    last_signal_at: datetime | None = None,
) -> Incident:
    return Incident(
        number, brand, kind, severity, state, subject, opened_at, last_signal_at or opened_at
    )


LEAK_FACTS = {
    "platform": "x",
    "language": "nl",
    "matched": ["Zonnehoek"],
    "model": "model-7",
    "category": "personal_data",
    "leak_score": 0.97,
    "findings": [{"detector": "iban", "category": "personal_data", "confidence": "high"}],
}

DRIVERS = {
    "terms": [
        {"term": "hummus", "now": 31, "usual": 0.1},
        {"term": "winkel", "now": 12, "usual": 4},
    ],
    "stories": [{"mention": 1, "count": 26, "authors": 22, "share": 0.41}],
    "sources": [{"name": "x", "now": 50, "usual": 2.4}, {"name": "nieuws", "now": 14, "usual": 1}],
    "languages": [{"code": "nl", "now": 60, "usual": 0.9}],
    "negative": {"share": 0.62, "usual": 0.2},
    "voices": {"authors": 58, "mentions": 64, "stories": 41},
}


def chart(
    observed: Sequence[float | None] | None = None, *, rang_at: datetime | None = NOON
) -> Chart:
    """Two days in half hours until an hour after noon, quiet until the last hours."""
    counts = observed or [*([3.0, 4.0] * 45), 9.0, 14.0, 22.0, 31.0, 40.0, 38.0]
    step = minutes(30)
    start = NOON + minutes(60) - len(counts) * step
    usual = [3.5] * len(counts)
    return Chart(start, step, tuple(counts), tuple(usual), tuple(9.0 for _ in usual), rang_at)


SPIKE_FACTS = {
    "observed": 64,
    "expected": 3.2,
    "window_minutes": 30,
    "since": (NOON - minutes(30)).isoformat(),
    "authors": 58,
    "stories": 41,
    "coverage": 1.0,
}


def message(
    kind: SignalKind = SignalKind.LEAK,
    event: Event = Event.OPENED,
    *,
    brand: str = "Zonnehoek",
    language: str = "nl",
    exhibits: Sequence[Exhibit] | None = None,
    signals: Sequence[Signal] | None = None,
    total: int | None = None,
    severity: Severity = Severity.CRITICAL,
    link: str | None = None,
    timezone: str = AMSTERDAM,
    keep_handles: tuple[str, ...] = (),
) -> Message:
    if exhibits is None:
        exhibits = [Exhibit(mention(brand=brand), assessment(leak=leak()))]
    if signals is None:
        facts: Mapping[str, Any] = LEAK_FACTS
        if kind in {SignalKind.VOLUME_SPIKE, SignalKind.NEGATIVITY_SPIKE}:
            facts = SPIKE_FACTS
        elif kind is SignalKind.SILENT_SOURCE:
            facts = {"source": "nieuws", "fault": "timeout"}
        elif kind is SignalKind.BROKEN_CHANNEL:
            facts = {"channel": "mail", "trouble": "unreachable", "waiting": 3, "given_up": 1}
        elif kind is SignalKind.BUDGET:
            facts = {
                "source": "x",
                "level": "out",
                "period": "day",
                "spent": 4.95,
                "limit": 5.0,
                "currency": "USD",
                "until": "2026-11-10T00:00:00+00:00",
            }
        elif kind in {SignalKind.THREAT, SignalKind.ABUSE}:
            facts = {"platform": "x", "matched": ["Zonnehoek"], "abuse_score": 0.91}
        signals = [signal(kind, brand=brand, severity=severity, facts=facts)]
    return compose(
        incident(kind, brand=brand, severity=severity),
        event,
        Reason(event.value),
        signals=signals,
        exhibits=exhibits,
        total_mentions=len(exhibits) if total is None else total,
        language=language,
        timezone=timezone,
        keep_handles=keep_handles,
        link=link,
    )


def delivery(
    sent: Message | None = None,
    *,
    to: Sequence[str] = ("crisis@example.com",),
    key: str = "12-opened-comms-mail",
    thread: Mapping[str, Any] | None = None,
) -> Delivery:
    return Delivery(sent or message(), to, key, thread, NOON)


__all__ = [
    "AMSTERDAM",
    "LEAK_FACTS",
    "NOON",
    "NO_ABUSE",
    "NO_LEAK",
    "SPIKE_FACTS",
    "assessment",
    "delivery",
    "finding",
    "incident",
    "leak",
    "mention",
    "message",
    "minutes",
    "signal",
]
