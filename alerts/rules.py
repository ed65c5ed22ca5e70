"""From an assessed mention to signals: which posts are worth waking somebody for.

Pure: values in, values out. Whether anybody *is* woken is decided later, by ``alerts.incidents``
and ``alerts.routes``. Signals about counts (spikes) and about sources come from elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, tzinfo
from typing import Any

from alerts.base import Severity, Signal, SignalKind
from classifiers.base import AbuseLabel, Assessment, Confidence, Leak, LeakCategory
from connectors.base import Mention

CLEAR_ABUSE = 0.8
"""From this score on an insult is clear enough to be counted as abuse."""

SURE_LEAK = 0.9
"""Below this score a leak is a doubtful one."""

GRAVE_CATEGORIES = frozenset(
    {LeakCategory.CREDENTIALS, LeakCategory.PERSONAL_DATA, LeakCategory.SECURITY}
)
"""Leaks that do harm by the minute: a key that works, people's data, an open door."""

PUBLISHED_BY_DEFINITION = frozenset({LeakCategory.PRODUCT, LeakCategory.FINANCIAL})
"""What an official account announces is thereby announced: no leak, and no sign of a hijack."""


def signals_of(
    mention: Mention,
    assessment: Assessment,
    *,
    model_version: str | None = None,
    timezone: tzinfo = UTC,
) -> list[Signal]:
    """Give the signals that one mention raises; none for most.

    Asking twice gives the same keys. A post by an official account raises at most the one signal
    that the account may be hijacked, never a leak or a threat beside it.

    Args:
        mention: the post, its author already a pseudonym.
        assessment: what the classifiers think of it.
        model_version: named in the facts, so that a message can say who judged.
        timezone: in which a day of abuse begins and ends.
    """
    facts = _common_facts(mention, assessment, model_version)
    if mention.official:
        return _official(mention, assessment, facts)
    signals = []
    if assessment.leak.escalate and not _is_only_a_threat(assessment):
        signals.append(
            _signal(
                SignalKind.LEAK,
                mention,
                _leak_severity(assessment.leak),
                subject=mention.story,
                facts=facts | _leak_facts(assessment),
            )
        )
    if assessment.abuse.label is AbuseLabel.THREAT:
        signals.append(
            _signal(
                SignalKind.THREAT,
                mention,
                Severity.HIGH,
                subject=mention.story,
                facts=facts | _abuse_facts(assessment),
            )
        )
    elif _is_clear_abuse(assessment):
        day = mention.post.published_at.astimezone(timezone).date().isoformat()
        signals.append(
            _signal(
                SignalKind.ABUSE,
                mention,
                Severity.LOW,
                subject=day,
                facts=facts | _abuse_facts(assessment),
            )
        )
    return signals


def _official(mention: Mention, assessment: Assessment, facts: Mapping[str, Any]) -> list[Signal]:
    """One critical signal when an official account says what it never should."""
    leaks = assessment.leak.escalate and assessment.leak.category not in PUBLISHED_BY_DEFINITION
    threatens = assessment.abuse.label is AbuseLabel.THREAT
    abuses = threatens or _is_clear_abuse(assessment)
    if not leaks and not abuses:
        return []
    why = dict(facts)
    if leaks:
        why |= _leak_facts(assessment)
    if abuses:
        why |= _abuse_facts(assessment)
    account = f"{mention.post.platform}:{mention.post.author or 'official'}"
    return [
        _signal(SignalKind.OFFICIAL_ACCOUNT, mention, Severity.CRITICAL, subject=account, facts=why)
    ]


def _signal(
    kind: SignalKind,
    mention: Mention,
    severity: Severity,
    *,
    subject: str,
    facts: Mapping[str, Any],
) -> Signal:
    post = mention.post
    return Signal(
        kind=kind,
        brand=mention.brand,
        severity=severity,
        key=f"{kind.value}:{mention.brand}:{post.platform}:{post.id}",
        subject=subject,
        occurred_at=post.published_at,
        mention_ids=(mention.id,),
        facts=dict(facts),
    )


def _is_only_a_threat(assessment: Assessment) -> bool:
    """A threat that shows no evidence of a leak: what the threatener knows is part of the threat."""
    return assessment.abuse.label is AbuseLabel.THREAT and not _has_evidence(assessment.leak)


def _is_clear_abuse(assessment: Assessment) -> bool:
    abuse = assessment.abuse
    return abuse.label is AbuseLabel.ABUSIVE and abuse.score >= CLEAR_ABUSE


def _leak_severity(leak: Leak) -> Severity:
    """How bad, given how sure: a doubtful leak need not wake anybody.

    Critical is for grave leaks of which there is evidence in the text, not the model's word alone.
    What is sure by itself, whatever the score: a key that works, a passage that is registered.
    """
    # Imported here: detectors take long to load.
    from classifiers.leaks import enough_alone  # noqa: PLC0415 - lazy

    grave = leak.category in GRAVE_CATEGORIES
    if leak.score < SURE_LEAK and not enough_alone(leak.findings):
        return Severity.HIGH if grave and _has_evidence(leak) else Severity.MEDIUM
    return Severity.CRITICAL if grave and _has_evidence(leak) else Severity.HIGH


def _has_evidence(leak: Leak) -> bool:
    return any(finding.confidence is not Confidence.LOW for finding in leak.findings)


def _common_facts(
    mention: Mention, assessment: Assessment, model_version: str | None
) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "platform": mention.post.platform,
        "language": assessment.language,
        "matched": list(mention.matched),
    }
    if model_version is not None:
        facts["model"] = model_version
    return facts


def _leak_facts(assessment: Assessment) -> dict[str, Any]:
    """The verdict and what fired. No offsets: with the text they would point at the secret."""
    leak = assessment.leak
    return {
        "category": leak.category.value,
        "leak_score": round(leak.score, 4),
        "findings": [
            {
                "detector": finding.detector,
                "category": finding.category.value,
                "confidence": finding.confidence.value,
                **({} if finding.label is None else {"label": finding.label}),
            }
            for finding in leak.findings
        ],
    }


def _abuse_facts(assessment: Assessment) -> dict[str, Any]:
    return {
        "abuse": assessment.abuse.label.value,
        "abuse_score": round(assessment.abuse.score, 4),
    }
