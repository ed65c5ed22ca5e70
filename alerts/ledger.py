"""The history of all incidents as a chain: whatever is changed, removed, swapped or put in is found.

Each line carries a digest over its own content and the digest of the line before it, across all
incidents: a line that is missing is missed by whatever was written next, whichever incident that was
about. Pure; the store appends and reads. What such a chain proves, and what not, is in
``docs/incidents.md``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

BEGINNING = "0" * 64
"""Stands for the digest before the first line."""

_FORM = 1
"""Of the canonical text: part of it, so that a later form cannot be mistaken for this one."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the history, as it was written."""

    id: int
    incident_id: int
    at: datetime
    """Aware; the zone does not matter."""
    actor: str
    event: str
    note: str = ""
    receiver: str = ""
    page: str = ""
    reason: str = ""
    level: int | None = None


@dataclass(frozen=True, slots=True)
class Head:
    """Where the history ends: enough to notice that its last lines are gone."""

    lines: int
    digest: str

    def __str__(self) -> str:
        return f"{self.lines}:{self.digest}"

    @classmethod
    def read(cls, text: str) -> Head:
        """The head from its text, ``12:9f86d0…`` with all 64 digits. Raises ValueError."""
        lines, _, carried = text.strip().partition(":")
        if not lines.isdecimal() or not re.fullmatch("[0-9a-f]{64}", carried):
            raise ValueError(f'"{text}" is not the head of a history; it looks like 12:9f86d0…')
        return cls(int(lines), carried)


EMPTY = Head(0, BEGINNING)


@dataclass(frozen=True, slots=True)
class Flaw:
    """The first place at which the history does not fit together."""

    line: int | None
    """Number of the line; None where lines are missing at the end."""
    incident_id: int | None
    why: str
    """A sentence for people, free of what the line says."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of going through the whole history."""

    head: Head
    """As far as it fits."""
    flaw: Flaw | None
    passed: bool = True
    """Whether the head that was noted earlier was met on the way; True where none was asked for."""


def digest(before: str, line: Line) -> str:
    """The digest of a line that follows the one with digest ``before``: 64 hexadecimal digits.

    Raises:
        ValueError: the moment is naive.
    """
    return hashlib.sha256(f"{before}\n{canonical(line)}".encode("ascii")).hexdigest()


def canonical(line: Line) -> str:
    """The one text that stands for a line: JSON in ASCII, keys sorted, no spaces, times in UTC.

    Raises:
        ValueError: the moment is naive.
    """
    if line.at.tzinfo is None:
        raise ValueError("a naive datetime has no place in the history")
    values = {
        "actor": line.actor,
        "at": line.at.astimezone(UTC).isoformat(timespec="microseconds"),
        "event": line.event,
        "form": _FORM,
        "id": line.id,
        "incident": line.incident_id,
        "level": line.level,
        "note": line.note,
        "page": line.page,
        "reason": line.reason,
        "receiver": line.receiver,
    }
    return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def content_digest(content: Mapping[str, Any]) -> str:
    """The digest of a piece of evidence by itself: it stays when the content has to go."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def exhibit_digest(
    before: str, *, number: int, incident_id: int, mention_id: int, at: datetime, content: str
) -> str:
    """The digest of a piece of evidence that follows the one with digest ``before``.

    Args:
        before: of the piece before it, whichever incident that was of.
        number: of the piece.
        incident_id: of its incident.
        mention_id: of the post.
        at: when it was kept.
        content: its :func:`content_digest`.
    """
    line = Line(number, incident_id, at, "", "evidence", content, page=str(mention_id))
    return digest(before, line)


def verify(
    lines: Iterable[tuple[Line, str]], *, head: Head | None, noted: Head | None = None
) -> Finding:
    """Go through the whole history and find the first line that does not fit.

    Args:
        lines: each with the digest that it carries, in the order of their numbers.
        head: where the history ends as far as its keeper remembers; None where nothing was kept.
        noted: a head that somebody wrote down earlier, somewhere else.
    """
    reached, last = EMPTY, 0
    met = noted is None or noted == EMPTY
    for line, carried in lines:
        if digest(reached.digest, line) != carried:
            return Finding(reached, Flaw(line.id, line.incident_id, _why(line, last)), met)
        reached, last = Head(reached.lines + 1, carried), line.id
        met = met or reached == noted
    if head is not None and head != reached:
        return Finding(reached, Flaw(None, None, _at_the_end(reached, head)), met)
    if not met:
        why = "the head that was noted earlier is not part of this history: it was written anew"
        return Finding(reached, Flaw(None, None, why), passed=False)
    return Finding(reached, None)


def _why(line: Line, last: int) -> str:
    if line.id > last + 1:
        return (
            f"line {line.id} does not follow from line {last}: what stood between them is gone, "
            "or it was changed itself"
        )
    before = f"line {last}" if last else "the beginning"
    return (
        f"line {line.id} does not follow from {before}: it was changed, or what stood before it "
        "was removed, moved or put in"
    )


def _at_the_end(reached: Head, head: Head) -> str:
    if reached.lines < head.lines:
        gone = head.lines - reached.lines
        return (
            f"the last {'line is' if gone == 1 else f'{gone} lines are'} gone: "
            f"{head.lines} were written, {reached.lines} are there"
        )
    return (
        f"{head.lines} lines were written and {reached.lines} are there, "
        "and the last is not the one that was written last"
    )
