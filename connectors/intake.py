"""What a source that takes pushes is to the outside: a door that lets in what is signed.

Who keeps the door (``monitor.intake``) hands every request to the source's :class:`Door`, stores what
it admits before it says so to the sender, and lets the source read it at its next poll through
:class:`connectors.base.Intake`. A door looks at nothing but the request: it reads no file, asks
nobody, and is called from several threads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

from connectors.base import Arrival, Intake

_AT_ONCE = 20
"""Arrivals that are held in memory together."""

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Push:
    """A POST as it came in."""

    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


@dataclass(frozen=True, slots=True)
class Greeting:
    """What to answer to a platform that asks (GET) whether this is the right door."""

    body: bytes
    media_type: str = "text/plain"


class NotAdmittedError(Exception):
    """A request that must not come in.

    Args:
        message: one clause that helps an honest sender; free of secrets.
        status: HTTP status to answer with.
    """

    def __init__(self, message: str, *, status: int = 401) -> None:
        super().__init__(message)
        self.status = status


class Door(Protocol):
    """Decides what comes in. Safe to call from several threads."""

    @property
    def prompt(self) -> bool:
        """Whether the source is polled at once when something came in.

        Only for sources that ask nobody else: the pauses that a platform wants are kept.
        """
        ...

    def greet(self, query: Mapping[str, str]) -> Greeting:
        """Answer a GET. Raises NotAdmittedError."""
        ...

    def admit(self, push: Push) -> str:
        """Check who sent ``push``; give its identity: what has the same one is stored once.

        Raises:
            NotAdmittedError: it is not signed as it should be, or has no use.
        """
        ...


@runtime_checkable
class TakesPushes(Protocol):
    """A connector that others may push to."""

    @property
    def door(self) -> Door | None:
        """Its door; None where the configuration gives no secret to check signatures with."""
        ...


def fingerprint(body: bytes) -> str:
    """An identity for pushes whose sender gives them none: the same body counts as the same."""
    return hashlib.sha256(body).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Place:
    """How far a source has read its intake: part of its cursor."""

    done: int = 0
    """Arrivals up to this number are read to their end."""
    begun: int = 0
    """So many items of the next one are read."""

    @classmethod
    def read(cls, kept: Any) -> Place:
        """From what :meth:`kept` gave; anything else: the beginning."""
        return cls(*kept) if isinstance(kept, Sequence) and len(kept) == 2 else cls()  # noqa: PLR2004

    def kept(self) -> list[int]:
        """As JSON."""
        return [self.done, self.begun]


def items(
    intake: Intake | None, place: Place, split: Callable[[Arrival], Sequence[Item]]
) -> Iterator[tuple[Item | None, Arrival, Place]]:
    """Walk through what was pushed since ``place``.

    Args:
        intake: of the source; None has nothing.
        place: where it was left, by a cursor that was committed.
        split: gives the items of an arrival; must give the same each time.

    Yields:
        Each item (None for an arrival without any), its arrival, and the place behind it.
    """
    if intake is None:
        return
    # Only this place is known to be stored; those that follow are not before the next poll.
    intake.done(place.done)
    while arrivals := intake.after(place.done, _AT_ONCE):
        for arrival in arrivals:
            found = split(arrival)
            if place.begun >= len(found):
                yield None, arrival, Place(arrival.number)
            for number in range(place.begun, len(found)):
                whole = number + 1 == len(found)
                place = Place(arrival.number) if whole else Place(place.done, number + 1)
                yield found[number], arrival, place
            place = Place(arrival.number)
