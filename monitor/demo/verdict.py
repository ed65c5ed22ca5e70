"""What came of the week, held against what was hidden in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from alerts.base import Severity, SignalKind
from monitor.demo.stream import Answers

SPIKES = frozenset({SignalKind.VOLUME_SPIKE, SignalKind.NEGATIVITY_SPIKE, SignalKind.TOPIC_BURST})
HOSTILE = frozenset({SignalKind.THREAT, SignalKind.ABUSE})


@dataclass(frozen=True, slots=True)
class Escalation:
    """One incident of the week and who heard of it."""

    opened_at: datetime
    kind: SignalKind
    severity: Severity
    title: str
    """The subject under which people were told."""
    why: str
    """The rule and what it went by, in one line."""
    receivers: tuple[str, ...]
    """Empty when no route told anybody."""
    told_at: tuple[datetime, ...]
    """When its messages were written, oldest first."""
    mails: tuple[int, ...]
    """Numbers of the kept mails."""
    posts: frozenset[str]
    """The file's ids of the posts it is about."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How the week went."""

    leaks_found: frozenset[str]
    leaks_missed: frozenset[str]
    threats_found: frozenset[str]
    threats_missed: frozenset[str]
    hijack_found: bool
    crisis_after: timedelta | None
    """From the first post of the crisis to the first message about it; None: nobody was told."""
    false_alarms: tuple[Escalation, ...]
    """What people were told of although nothing of the kind was hidden there."""
    homonyms: frozenset[str]
    """Posts about another thing of the same name that an alert was about."""


def judge(escalations: Sequence[Escalation], answers: Answers) -> Verdict:
    """Hold what people were told against the answers; what nobody was told of does not count."""
    told = [escalation for escalation in escalations if escalation.told_at]
    leaks = _posts(told, frozenset({SignalKind.LEAK}))
    hostile = _posts(told, HOSTILE)
    noticed = [
        moment
        for escalation in told
        if escalation.kind in SPIKES
        for moment in escalation.told_at
        if answers.crisis_start <= moment <= answers.crisis_end
    ]
    return Verdict(
        leaks_found=answers.leaks & leaks,
        leaks_missed=answers.leaks - leaks,
        threats_found=answers.threats & hostile,
        threats_missed=answers.threats - hostile,
        hijack_found=answers.hijack in _posts(told, frozenset({SignalKind.OFFICIAL_ACCOUNT})),
        crisis_after=min(noticed) - answers.crisis_start if noticed else None,
        false_alarms=tuple(each for each in told if not _is_about_something(each, answers)),
        homonyms=answers.homonyms & _posts(told, frozenset(SignalKind)),
    )


def _posts(escalations: Iterable[Escalation], kinds: frozenset[SignalKind]) -> frozenset[str]:
    return frozenset(post for each in escalations if each.kind in kinds for post in each.posts)


def _is_about_something(escalation: Escalation, answers: Answers) -> bool:
    """Whether something of its kind was hidden where it points."""
    if escalation.kind in SPIKES:
        return any(answers.crisis_start <= at <= answers.crisis_end for at in escalation.told_at)
    hidden = {
        SignalKind.LEAK: answers.leaks,
        SignalKind.THREAT: answers.threats,
        SignalKind.ABUSE: answers.threats,
        SignalKind.OFFICIAL_ACCOUNT: frozenset({answers.hijack}),
    }
    return bool(hidden.get(escalation.kind, frozenset()) & escalation.posts)
