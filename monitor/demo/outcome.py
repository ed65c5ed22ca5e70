"""What the daemon's own records say about the week: read from its store, after the fact."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from prometheus_client import Counter

from alerts.base import Incident, Severity, Signal, SignalKind
from alerts.incidents import gravest
from monitor.demo.board import Counters
from monitor.demo.mailbox import KeptMail
from monitor.demo.stream import Stream
from monitor.demo.verdict import SPIKES, Escalation
from monitor.metrics import Metrics
from monitor.store import Store, Unit

_EVERYTHING = 1_000_000
_MARKER = re.compile(r"^\[[^\]]*\]\s*")
"""Subjects begin with the severity, which the table shows in a column."""


def read_counters(metrics: Metrics, mails: int) -> Counters:
    """How much there is so far, by the daemon's own counting."""
    return Counters(
        mentions=_sum(metrics.assessed),
        signals=_sum(metrics.signals),
        incidents=_sum(metrics.incidents_opened),
        mails=mails,
    )


def _sum(counter: Counter) -> int:
    """A counter over all its labels."""
    return round(
        sum(
            sample.value
            for family in counter.collect()
            for sample in family.samples
            if sample.name.endswith("_total")
        )
    )


def read_escalations(store: Store, mails: Sequence[KeptMail], stream: Stream) -> list[Escalation]:
    """Every incident, in the order in which they opened."""
    with store.read() as unit:
        incidents = unit.incidents.latest(_EVERYTHING)
        return [_escalation(unit, incident, mails, stream) for incident in reversed(incidents)]


def read_severities(store: Store) -> dict[str, Severity]:
    """How grave each incident is by now, by its number as mails write it."""
    with store.read() as unit:
        return {str(each.id): each.severity for each in unit.incidents.latest(_EVERYTHING)}


def read_moments(store: Store) -> list[datetime]:
    """When each mention was published."""
    with store.read() as unit:
        return [mention.post.published_at for mention, _ in unit.mentions.each(None, None)]


def _escalation(
    unit: Unit, incident: Incident, mails: Sequence[KeptMail], stream: Stream
) -> Escalation:
    kept = [mail for mail in mails if mail.incident == str(incident.id)]
    sent = unit.outbox.of_incident(incident.id)
    signals = unit.incidents.signals(incident.id)
    exhibits, _ = unit.incidents.exhibits(incident.id, _EVERYTHING)
    posts = [stream.file_id(mention.post.platform, mention.post.id) for mention, _ in exhibits]
    return Escalation(
        opened_at=incident.opened_at,
        kind=incident.kind,
        severity=incident.severity,
        title=_MARKER.sub("", kept[0].subject) if kept else incident.subject,
        why=_why(signals, len(posts)),
        receivers=tuple(dict.fromkeys(each.receiver for each in sent)),
        told_at=tuple(sorted(each.created_at for each in sent)),
        mails=tuple(mail.number for mail in kept),
        posts=frozenset(post for post in posts if post is not None),
    )


def _why(signals: Sequence[Signal], posts: int) -> str:
    """The gravest signal's reasons in one line, and how much came together with it."""
    if not signals:
        return "no signal"
    worst = gravest(signals)
    parts = _spike(worst.facts) if worst.kind in SPIKES else _rule(worst)
    if len(signals) > 1:
        parts.append(f"{len(signals)} signals")
    if posts > 1:
        parts.append(f"{posts} posts")
    return ", ".join(parts)


def _rule(signal: Signal) -> list[str]:
    facts = signal.facts
    parts = []
    if signal.kind is SignalKind.SILENT_SOURCE:
        return [f"source {facts.get('source')}", str(facts.get("fault") or "no answer")]
    if signal.kind is SignalKind.BUDGET:
        return [f"source {facts['source']}", f"{facts['spent']:.2f} of {facts['limit']:.2f} spent"]
    if "category" in facts:
        parts.append(f"leak of {str(facts['category']).replace('_', ' ')}")
        parts.append(f"score {facts['leak_score']:.2f}")
    if "abuse" in facts:
        parts.append(f"reads as {facts['abuse']}, score {facts['abuse_score']:.2f}")
    detectors = [finding["detector"] for finding in facts.get("findings", ())]
    if detectors:
        parts.append(f"found by {', '.join(dict.fromkeys(detectors))}")
    parts.append(f"on {facts.get('platform', '?')}")
    matched = facts.get("matched") or ()
    if matched:
        parts.append(f"matched {', '.join(matched)}")
    return parts


def _spike(facts: Mapping[str, Any]) -> list[str]:
    return [
        f"{facts['observed']:g} in {facts['window_minutes']:g} minutes",
        f"{facts['expected']:.1f} expected",
        f"{facts['authors']} authors",
    ]
