"""``trace``: a mention's life, from its publication to the last notification about it."""

from __future__ import annotations

import json
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, TextIO
from zoneinfo import ZoneInfo

import typer

from monitor.commands.frame import EXIT_FAILURES, ConfigOption, fail, opened

if TYPE_CHECKING:
    from alerts.base import Incident
    from monitor.store import Store
    from monitor.store.history import HistoryEntry
    from monitor.store.looking import Decided, Life, Note, Opinion, Seen

_EXCERPT = 160
_NARROWEST, _WIDEST = 60, 110
_HANDLED = frozenset(
    [
        "acknowledged",
        "released",
        "assigned",
        "first_statement",
        "answered",
        "resolved",
        "reopened",
        "reviewed",
        "merged",
        "passed",
    ]
)
"""Lines of a history that tell how an incident went on; who was told has steps of its own."""
_HANDLE = re.compile(r"@[\w.@-]+")
_LINK = re.compile(r"(https?://[^\s/]+)/\S+")


class TraceFormat(StrEnum):
    """Formats of a trace."""

    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Step:
    """Something that happened to a mention, or because of it."""

    at: datetime
    what: str
    """A word: published, stored, edited, seen_too, assessed, signal, incident, decision, notification,
    delivered, handled, deleted."""
    said: str
    facts: dict[str, Any] = field(default_factory=dict)
    """The same for programs."""


def trace(
    mention_id: Annotated[int, typer.Argument(metavar="MENTION_ID", help="Number of the mention.")],
    style: Annotated[TraceFormat, typer.Option("--format", help="Format.")] = TraceFormat.TEXT,
    config: ConfigOption = None,
) -> None:
    """Tell a mention's life: published, stored, assessed, what it raised, who was told and why not.

    The text is masked and cut short, authors are not shown, nor links that may name them.

    Example: merkwacht trace 4711
    """
    with opened(config) as (settings, store):
        found = steps_of(store, mention_id)
        if found is None:
            fail(
                f"merkwacht: nothing is known of mention {mention_id} (numbers: merkwacht export, "
                "review, incidents show); what was deleted and is no evidence leaves no trace",
                EXIT_FAILURES,
            )
        steps, standing = found
        if style is TraceFormat.JSON:
            sys.stdout.write(json.dumps(as_json(mention_id, steps, standing), ensure_ascii=False))
            sys.stdout.write("\n")
        else:
            width = shutil.get_terminal_size((80, 24)).columns
            write(mention_id, steps, standing, sys.stdout, settings.timezone, width=width)


def steps_of(store: Store, mention_id: int) -> tuple[list[Step], str] | None:
    """What happened, oldest first, and how it stands; None where nothing is known of it."""
    with store.read() as unit:
        life = unit.looking.life_of(mention_id)
        if life is None:
            return None
        incidents = [found for each in life.incidents if (found := unit.incidents.get(each))]
        lines = [line for each in life.incidents for line in unit.incidents.history(each)]
    steps = [*_coming_in(life), *_thinking(life), *_raising(life, incidents)]
    steps += [*_decisions(life.decisions), *_notifications(life.notifications)]
    steps += _handling(lines)
    # A stable order: what happened at one moment stays as it was told.
    return sorted(steps, key=lambda step: step.at), _standing(life)


def _standing(life: Life) -> str:
    seen = life.seen
    if seen is None:
        return "its row is gone (its time was over, or it was erased); incidents remember it"
    if seen.deleted_at is not None:
        return "deleted by its platform, or no more about the brand: only what was counted is left"
    if seen.failed:
        return "set aside: the classifiers could not read it"
    if seen.assessed_by is None:
        return f"waits for its assessment ({seen.tries} begun)"
    return "assessed" if life.incidents else "assessed; it belongs to no incident"


# -- what happened ---------------------------------------------------------------------------------


def _coming_in(life: Life) -> Iterator[Step]:
    seen = life.seen
    if seen is None:
        return
    post = seen.mention.post
    official = ", by an official account" if seen.mention.official else ""
    yield Step(
        post.published_at,
        "published",
        f"on {post.platform}{official}",
        {"platform": post.platform, "official": seen.mention.official},
    )
    late = seen.seen_at - post.published_at
    how = "imported by hand" if seen.imported else f"read by the source {seen.source}"
    yield Step(
        seen.seen_at,
        "stored",
        f"for {seen.mention.brand}, {how}, {_span(late)} after it was published; matched "
        f"{', '.join(seen.mention.matched) or 'nothing'}",
        {
            "brand": seen.mention.brand,
            "source": seen.source,
            "imported": seen.imported,
            "seconds_after_publication": round(late.total_seconds()),
            "matched": list(seen.mention.matched),
        },
    )
    for former in life.former:
        thought = former.thought or {}
        said = f"was {thought['leak_band']}, {thought['sentiment']}" if thought else "not assessed"
        yield Step(
            former.replaced_at,
            "edited",
            f"it says something else now; what it said since {former.said_from:%Y-%m-%d %H:%M} UTC "
            f"{said}",
            {"said_from": former.said_from.isoformat(), "assessment": former.thought},
        )
    for sighting in life.sightings:
        yield Step(
            sighting.at,
            "seen_too",
            f"the same article in {sighting.source} ({sighting.platform}); not stored twice",
            {"source": sighting.source, "platform": sighting.platform},
        )
    if seen.deleted_at is not None:
        yield Step(
            seen.deleted_at, "deleted", "on its platform, or an edit took the brand out of it"
        )


def _thinking(life: Life) -> Iterator[Step]:
    for opinion in life.opinions:
        said = opinion.assessment
        likely = f" {said.leak.likely.value}" if said.leak.likely.value != "none" else ""
        text = _excerpt(life.seen, opinion)
        yield Step(
            opinion.at,
            "assessed",
            f"by {opinion.version}: {said.language}, {said.sentiment.label.value}, leak "
            f"{said.leak.band.value}{likely} ({said.leak.score:.2f}), abuse "
            f"{said.abuse.label.value} ({said.abuse.score:.2f}){f': “{text}”' if text else ''}",
            {
                "version": opinion.version,
                "language": said.language,
                "sentiment": said.sentiment.label.value,
                "leak": {
                    "band": said.leak.band.value,
                    "likely": said.leak.likely.value,
                    "score": round(said.leak.score, 4),
                    "detectors": sorted({each.detector for each in said.leak.findings}),
                },
                "abuse": {
                    "label": said.abuse.label.value,
                    "score": round(said.abuse.score, 4),
                },
                "excerpt": text,
            },
        )


def _excerpt(seen: Seen | None, opinion: Opinion) -> str | None:
    """The beginning of the text, masked by the findings of the assessment that stands.

    None for any other: without its findings, what the register knows would not be hidden.
    """
    from alerts.plain import one_line  # noqa: PLC0415
    from classifiers.masking import mask  # noqa: PLC0415

    if seen is None or seen.assessed_by != opinion.version or not seen.mention.post.text:
        return None
    leak = opinion.assessment.leak
    masked = mask(seen.mention.post.text, leak.findings, language="en", likely=leak.likely)
    return one_line(_HANDLE.sub("@…", _LINK.sub(r"\1/…", masked)), _EXCERPT)


def _raising(life: Life, incidents: Sequence[Incident]) -> Iterator[Step]:
    from alerts.base import Severity  # noqa: PLC0415

    for signal in life.signals:
        severity = Severity(signal.severity).word
        yield Step(
            signal.at,
            "signal",
            f"{signal.kind}, {severity}, for incident {signal.incident_id}",
            {"kind": signal.kind, "severity": severity, "incident": signal.incident_id},
        )
    for incident in incidents:
        yield Step(
            incident.opened_at,
            "incident",
            f"{incident.id} opened; it is {incident.kind.value}, {incident.severity.word}, "
            f"{incident.state.value} now",
            {
                "incident": incident.id,
                "kind": incident.kind.value,
                "severity": incident.severity.word,
                "state": incident.state.value,
            },
        )


def _handling(lines: Sequence[HistoryEntry]) -> Iterator[Step]:
    """What people, or time, did with its incidents. Notes are left out: they may be for few."""
    for line in lines:
        if line.event not in _HANDLED:
            continue
        word = line.event.replace("_", " ")
        whom = f" to {line.receiver}" if line.event == "assigned" and line.receiver else ""
        who = f" by {line.actor}" if line.actor else ""
        step = "" if line.level is None else f", step {line.level + 1} of its chain"
        why = f": {line.reason}" if line.reason else ""
        yield Step(
            line.at,
            "handled",
            f"incident {line.incident_id} {word}{whom}{who}{step}{why}",
            {
                "incident": line.incident_id,
                "event": line.event,
                "actor": line.actor,
                "reason": line.reason,
            },
        )


def _decisions(decisions: Sequence[Decided]) -> Iterator[Step]:
    """Those that say the same are told once, at the first moment, with how many there were."""
    groups: dict[tuple[object, ...], list[Decided]] = {}
    for each in decisions:
        key = (each.incident_id, each.event, each.receiver, each.channel, each.send, each.reason)
        groups.setdefault(key, []).append(each)
    for group in groups.values():
        first, times = group[0], len(group)
        whom = f"{first.receiver} by {first.channel}" if first.receiver else "anybody"
        often = f" ({times} times)" if times > 1 else ""
        yield Step(
            first.at,
            "decision",
            f"{'tell' if first.send else 'do not tell'} {whom} of incident {first.incident_id} "
            f"{first.event}: {first.reason}{often}",
            {
                "incident": first.incident_id,
                "event": first.event,
                "receiver": first.receiver,
                "channel": first.channel,
                "send": first.send,
                "reason": first.reason,
                "times": times,
                "last_at": group[-1].at.isoformat(),
            },
        )


def _notifications(notes: Sequence[Note]) -> Iterator[Step]:
    from alerts.plain import one_line  # noqa: PLC0415
    from classifiers.masking import mask  # noqa: PLC0415

    for note in notes:
        error = one_line(mask(note.error, (), language="en")) if note.error else None
        attempts = f"{note.attempts} attempt{'' if note.attempts == 1 else 's'}"
        state = f"{note.state} ({attempts}{f', {note.fault}' if note.fault else ''})"
        facts = {
            "notification": note.id,
            "incident": note.incident_id,
            "event": note.event,
            "reason": note.reason,
            "receiver": note.receiver,
            "channel": note.channel,
            "state": note.state,
            "attempts": note.attempts,
            "fault": note.fault,
            "error": error,
            "next_attempt_at": _iso(note.next_attempt_at),
            "delivered_at": _iso(note.delivered_at),
        }
        whom = f"{note.receiver} by {note.channel}"
        yield Step(
            note.created_at,
            "notification",
            f"{note.id} to {whom}, incident {note.incident_id} {note.event}: {state}"
            f"{f'; {error}' if error else ''}",
            facts,
        )
        if note.delivered_at is not None:
            took = _span(note.delivered_at - note.created_at)
            yield Step(note.delivered_at, "delivered", f"{note.id} to {whom}, after {took}", facts)


# -- how it looks ----------------------------------------------------------------------------------


def write(
    mention_id: int,
    steps: Sequence[Step],
    standing: str,
    sink: TextIO,
    timezone: str,
    *,
    width: int,
) -> None:
    """Write the steps, one below the other, under their days."""
    from rich.console import Console  # noqa: PLC0415

    console = Console(file=sink, highlight=False, markup=False, soft_wrap=True)
    width, zone = min(max(width, _NARROWEST), _WIDEST), ZoneInfo(timezone)
    console.print(f"Mention {mention_id}: {standing}", style="bold")
    day = ""
    for step in steps:
        at = step.at.astimezone(zone)
        if f"{at:%Y-%m-%d}" != day:
            day = f"{at:%Y-%m-%d}"
            console.print(f"\n{day} ({timezone})", style="bold")
        line = textwrap.fill(
            step.said,
            width,
            initial_indent=f"{at:%H:%M:%S}  {step.what.replace('_', ' '):<13}",
            subsequent_indent=" " * 23,
            break_on_hyphens=False,
        )
        console.print(line)
    where = f"In the journal: journalctl {' + '.join(_fields(mention_id, steps))}"
    console.print("\n" + textwrap.fill(where, width, subsequent_indent=" " * 4))


def _fields(mention_id: int, steps: Sequence[Step]) -> list[str]:
    """What the lines of the log carry that are about it: see docs/operations.md."""
    incidents = sorted({each.facts["incident"] for each in steps if "incident" in each.facts})
    return [
        f"MERKWACHT_MENTION={mention_id}",
        *(f"MERKWACHT_INCIDENT={number}" for number in incidents),
    ]


def as_json(mention_id: int, steps: Sequence[Step], standing: str) -> dict[str, Any]:
    """The same for programs."""
    return {
        "mention": mention_id,
        "standing": standing,
        "journal": _fields(mention_id, steps),
        "steps": [
            {"at": step.at.isoformat(), "what": step.what, "said": step.said, **step.facts}
            for step in steps
        ],
    }


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _span(length: timedelta) -> str:
    """``3 d 4 h``, ``2 m 5 s``, ``0.4 s``: the two largest units."""
    seconds = max(length.total_seconds(), 0)
    if seconds < 10:  # noqa: PLR2004 - where tenths say something
        return f"{seconds:.1f} s"
    whole, parts = round(seconds), []
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        count, whole = divmod(whole, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])
