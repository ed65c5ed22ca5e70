"""One message about several incidents: what the gravest says, and a list of all of them.

Pure, and as safe as the message it is made from: it adds numbers, names of brands and words of ours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from alerts.base import Event, Incident, Message
from alerts.message import severity_word
from alerts.plain import one_line
from alerts.words import words

LISTED = 12
"""How many incidents are listed by number; of the others it says how many they are."""

_BRAND_LIMIT = 60


def compose_several(
    message: Message, incidents: Sequence[Incident], events: Mapping[int, Event]
) -> Message:
    """A message about several incidents, from the one about the gravest.

    Args:
        message: about the first of the incidents alone.
        incidents: all of them, the gravest first.
        events: what is told of each, by number.

    Raises:
        ValueError: they are fewer than two.
    """
    if len(incidents) < 2:  # noqa: PLR2004 - several are two
        raise ValueError("a message about several incidents is about two at least")
    language = words(message.language)
    over = [each for each in incidents if events[each.id] is Event.RESOLVED]
    event = Event.RESOLVED if len(over) == len(incidents) else _first_burning(incidents, events)
    brands = {each.brand for each in incidents}
    count = language.number(len(incidents))
    key = "several.title_over" if event is Event.RESOLVED else "several.title"
    if len(brands) == 1 and (brand := one_line(incidents[0].brand, _BRAND_LIMIT)):
        title = language.text(f"{key}_of_brand", brand=brand, count=count)
    else:
        title = language.text(key, count=count)
    sentences = [
        language.text(
            "several.over" if event is Event.RESOLVED else "several.burning",
            count=count,
            kinds=_kinds(incidents, message.language),
        )
    ]
    if over and event is not Event.RESOLVED:
        sentences.append(language.count("several.some_over", len(over)))
    if event is not Event.RESOLVED:
        sentences.append(language.text("several.gravest", summary=message.summary))
    return replace(
        message,
        event=event,
        title=title,
        summary=" ".join(sentences),
        since=min(message.since, *(each.opened_at for each in incidents)),
        why=((language.text("why.incidents"), _listed(incidents, events, message)), *message.why),
        incidents=tuple(each.id for each in incidents),
    )


def _first_burning(incidents: Sequence[Incident], events: Mapping[int, Event]) -> Event:
    return next(events[each.id] for each in incidents if events[each.id] is not Event.RESOLVED)


def _kinds(incidents: Sequence[Incident], language: str) -> str:
    """``30 × possible leak, 3 × threat``: the most frequent first."""
    known = words(language)
    counted = Counter(each.kind for each in incidents).most_common()
    return ", ".join(
        f"{known.number(count)} × {known.text(f'kind.{kind.value}')}" for kind, count in counted
    )


def _listed(incidents: Sequence[Incident], events: Mapping[int, Event], message: Message) -> str:
    language = words(message.language)
    shown = [
        language.text(
            "several.item_over" if events[each.id] is Event.RESOLVED else "several.item",
            id=each.id,
            kind=language.text(f"kind.{each.kind.value}"),
            severity=severity_word(each.severity, message.language),
        )
        for each in incidents[:LISTED]
    ]
    if more := len(incidents) - len(shown):
        shown.append(language.count("several.more", more))
    return "; ".join(shown)
