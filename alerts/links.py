"""Signed tickets: what a link in a mail, or a button in Slack, gives back to us.

Pure. A ticket says which incident, as it began then, which receiver it was sent to, what its holder may
do, and until when. It is signed, so nobody can make one or turn one into another; it is not
secret from its holder, and names nobody: a receiver is a keyed fingerprint in it.

A ticket lets its holder *see* an incident or *act* on it. Links carry the one for seeing. The one for
acting stands only in the form of the page (or behind a button of Slack's), so a program that
follows every link in a mail does nothing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Protocol

from alerts.base import Incident

LIFETIME = timedelta(days=7)
"""How long a ticket is good, unless configured."""

_VERSION = 1
_SHAPE = struct.Struct(">BBQqQ8s")
"""Version, what for, incident, its beginning in microseconds, end in seconds, receiver."""
_MAC_BYTES = hashlib.sha256().digest_size
_LENGTH = _SHAPE.size + _MAC_BYTES
_TEXT_LENGTH = -(-_LENGTH * 4 // 3)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LEAST_KEY_BYTES = 32
_PATH = "/i/"


class Action(IntEnum):
    """What the holder of a ticket may do: a closed set, its numbers never used for anything else."""

    SEE = 1
    TAKE = 2
    RESOLVE = 3


class Refusal(StrEnum):
    """Why a ticket is not good."""

    FORGED = "forged"
    """Not one of ours, cut off in a mail, or signed with another key."""
    EXPIRED = "expired"


class TicketError(Exception):
    """A ticket that is not good."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.value)
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a good ticket says."""

    incident_id: int
    opened_at: datetime
    """Of the incident: after a backup was restored its number may stand for another one."""
    action: Action
    expires_at: datetime
    receiver: bytes
    """Keyed fingerprint of its name: see :meth:`Links.receiver_of`."""

    def is_for(self, incident: Incident) -> bool:
        """Whether this is the incident that it was made for."""
        return (self.incident_id, self.opened_at) == (incident.id, incident.opened_at)


class LinkMaker(Protocol):
    """What puts links and tickets into messages."""

    def ticket_for(self, incident: Incident, receiver: str, now: datetime) -> str:
        """A ticket to see the incident."""
        ...

    def link_for(self, incident: Incident, receiver: str, now: datetime) -> str | None:
        """Address of the incident's page for this receiver, or None where there is none."""
        ...


class Links:
    """Makes and reads tickets.

    Args:
        key: of at least 32 bytes, for nothing else, the same over restarts.
        public_url: how people reach the pages, without a slash at its end; None: no links.
        lifetime: how long a ticket is good.

    Raises:
        ValueError: the key is too short.
    """

    def __init__(
        self, key: bytes, *, public_url: str | None = None, lifetime: timedelta = LIFETIME
    ) -> None:
        if len(key) < _LEAST_KEY_BYTES:
            raise ValueError(f"a key to sign with has at least {_LEAST_KEY_BYTES} bytes")
        self._key = key
        self._public_url = public_url
        self._lifetime = lifetime

    def link_for(self, incident: Incident, receiver: str, now: datetime) -> str | None:
        """Address of the incident's page for this receiver, or None where there is none."""
        if self._public_url is None:
            return None
        return f"{self._public_url}{_PATH}{self.ticket_for(incident, receiver, now)}"

    def ticket_for(self, incident: Incident, receiver: str, now: datetime) -> str:
        """A ticket to see the incident."""
        return self._write(
            Ticket(
                incident.id,
                incident.opened_at,
                Action.SEE,
                now + self._lifetime,
                self._fingerprint(receiver),
            )
        )

    def turned(self, ticket: Ticket, action: Action) -> str:
        """A ticket for another action, with the same incident, receiver and end."""
        return self._write(
            Ticket(ticket.incident_id, ticket.opened_at, action, ticket.expires_at, ticket.receiver)
        )

    def read(self, text: str, now: datetime | None) -> Ticket:
        """What a ticket says.

        Args:
            text: as it came in: anything.
            now: the present; None where its age does not matter, since who brings it is known.

        Raises:
            TicketError: not good.
        """
        payload = self._opened(text)
        version, action, number, began, end, receiver = _SHAPE.unpack(payload)
        try:
            ticket = Ticket(
                number,
                _EPOCH + began * _MICROSECOND,
                Action(action),
                _EPOCH + timedelta(seconds=end),
                receiver,
            )
        except (ValueError, OverflowError):
            raise TicketError(Refusal.FORGED) from None
        if version != _VERSION:
            raise TicketError(Refusal.FORGED)
        if now is not None and now >= ticket.expires_at:
            raise TicketError(Refusal.EXPIRED)
        return ticket

    def receiver_of(self, ticket: Ticket, names: Iterable[str]) -> str | None:
        """Which of these receivers it was sent to, if any."""
        for name in names:
            if hmac.compare_digest(ticket.receiver, self._fingerprint(name)):
                return name
        return None

    def _write(self, ticket: Ticket) -> str:
        payload = _SHAPE.pack(
            _VERSION,
            ticket.action,
            ticket.incident_id,
            (ticket.opened_at - _EPOCH) // _MICROSECOND,
            (ticket.expires_at - _EPOCH) // timedelta(seconds=1),
            ticket.receiver,
        )
        return base64.urlsafe_b64encode(payload + self._mac(payload)).decode().rstrip("=")

    def _opened(self, text: str) -> bytes:
        """The payload of a ticket whose signature is right."""
        if len(text) != _TEXT_LENGTH or not text.isascii():
            raise TicketError(Refusal.FORGED)
        try:
            whole = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise TicketError(Refusal.FORGED) from None
        payload, mac = whole[: _SHAPE.size], whole[_SHAPE.size :]
        if not hmac.compare_digest(mac, self._mac(payload)):
            raise TicketError(Refusal.FORGED)
        return payload

    def _mac(self, payload: bytes) -> bytes:
        return hmac.digest(self._key, b"ticket\0" + payload, "sha256")

    def _fingerprint(self, receiver: str) -> bytes:
        return hmac.digest(self._key, b"receiver\0" + receiver.encode(), "sha256")[:8]
