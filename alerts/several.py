"""One message about several incidents: what the gravest says, and a list of all of them.

Pure, and as safe as the message it is made from: it adds numbers, names of brands and words of ours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from alerts.base import Event, Incident, Message, Severity, SignalKind
from alerts.message import severity_word
from alerts.plain import one_line
from alerts.words import words

LISTED = 12
"""How many incidents are listed by number; of the others it says how many they are."""

NUMBERED = 200
"""How many are named by number to programs that take a message."""

_BRAND_LIMIT = 60


@dataclass(frozen=True, slots=True)
class Listed:
    """One of the incidents that are listed."""

    id: int
    kind: SignalKind
    severity: Severity
    event: Event
    """What is told of it."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """The incidents of one message: counted all of them, listed the gravest."""

    kinds: Mapping[SignalKind, int]
    """How many there are, by kind."""
    over: int
    """How many of them have ended."""
    brand: str
    """Whose they are; empty when they are of several."""
    opened_at: datetime
    """When the first of them was opened."""
    listed: Sequence[Listed]
    """The gravest first; :data:`LISTED` at least, where there are so many."""
    burning: Event
    """What is told of the gravest of those that burn; ``RESOLVED`` when none does."""
    numbers: Sequence[int]
    """Of the gravest; :data:`NUMBERED` at most."""

    @property
    def total(self) -> int:
        """How many they are."""
        return sum(self.kinds.values())


def crowd_of(incidents: Sequence[Incident], events: Mapping[int, Event]) -> Crowd:
    """The crowd that some incidents are.

    Args:
        incidents: all of them, the gravest first.
        events: what is told of each, by number.
    """
    over = sum(events[each.id] is Event.RESOLVED for each in incidents)
    brands = {each.brand for each in incidents}
    burning = (events[each.id] for each in incidents if events[each.id] is not Event.RESOLVED)
    return Crowd(
        kinds=Counter(each.kind for each in incidents),
        over=over,
        brand=incidents[0].brand if len(brands) == 1 else "",
        opened_at=min(each.opened_at for each in incidents),
        listed=[
            Listed(each.id, each.kind, each.severity, events[each.id])
            for each in incidents[:LISTED]
        ],
        burning=next(burning, Event.RESOLVED),
        numbers=[each.id for each in incidents[:NUMBERED]],
    )


def compose_several(message: Message, crowd: Crowd) -> Message:
    """A message about several incidents, from the one about the gravest.

    Args:
        message: about the gravest of the incidents alone.
        crowd: all of them.

    Raises:
        ValueError: they are fewer than two.
    """
    total, event = crowd.total, crowd.burning
    if total < 2:  # noqa: PLR2004 - several are two
        raise ValueError("a message about several incidents is about two at least")
    language = words(message.language)
    count = language.number(total)
    key = "several.title_over" if event is Event.RESOLVED else "several.title"
    if brand := one_line(crowd.brand, _BRAND_LIMIT):
        title = language.text(f"{key}_of_brand", brand=brand, count=count)
    else:
        title = language.text(key, count=count)
    sentences = [
        language.text(
            "several.over" if event is Event.RESOLVED else "several.burning",
            count=count,
            kinds=_kinds(crowd, message.language),
        )
    ]
    if crowd.over and event is not Event.RESOLVED:
        sentences.append(language.count("several.some_over", crowd.over))
    if event is not Event.RESOLVED:
        sentences.append(language.text("several.gravest", summary=message.summary))
    return replace(
        message,
        event=event,
        title=title,
        summary=" ".join(sentences),
        since=min(message.since, crowd.opened_at),
        why=((language.text("why.incidents"), _listed(crowd, message)), *message.why),
        incidents=tuple(crowd.numbers),
        more_incidents=total - len(crowd.numbers),
    )


def _kinds(crowd: Crowd, language: str) -> str:
    """``30 × possible leak, 3 × threat``: the most frequent first."""
    known = words(language)
    return ", ".join(
        f"{known.number(count)} × {known.text(f'kind.{kind.value}')}"
        for kind, count in Counter(crowd.kinds).most_common()
    )


def _listed(crowd: Crowd, message: Message) -> str:
    language = words(message.language)
    shown = [
        language.text(
            "several.item_over" if each.event is Event.RESOLVED else "several.item",
            id=each.id,
            kind=language.text(f"kind.{each.kind.value}"),
            severity=severity_word(each.severity, message.language),
        )
        for each in crowd.listed[:LISTED]
    ]
    if more := crowd.total - len(shown):
        shown.append(language.count("several.more", more))
    return "; ".join(shown)
