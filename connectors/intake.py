"""What a source that takes pushes is to the outside: a door that lets in what is signed.

Who keeps the door (``monitor.intake``) hands every request to the source's :class:`Door`, stores what
it admits before it says so to the sender, and lets the source read it at its next poll through
:class:`connectors.base.Intake`. A door looks at nothing but the request: it reads no file, asks
nobody, and is called from several threads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


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

    prompt: bool
    """Whether the source is polled at once when something came in. Only for sources that ask nobody
    else: the pauses that a platform wants are kept."""

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
