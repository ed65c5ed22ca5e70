"""What a look at an installation finds: a part, how it fares, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Grade(StrEnum):
    """How a part fares."""

    GOOD = "good"
    NOTE = "note"
    """Worth knowing, nothing to do."""
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """How one part of an installation fares."""

    part: str
    grade: Grade
    what: str
    remedy: str = ""
    """What to do; of everything that is wrong."""


Findings = Iterator[Finding]
