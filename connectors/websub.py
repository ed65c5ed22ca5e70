"""WebSub: feeds that push their news through a hub, instead of waiting to be asked.

A feed names its hub; we ask the hub once a day to push to the source's intake, and it asks back
whether we meant it. What it pushes is signed with the key that it got from us. Pushes are part of the
feed: they are read like it, and the feed itself is still asked now and then, for what a hub forgets.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import urlencode, urlsplit

import httpx
from pydantic import SecretStr

from connectors.base import ConnectorError
from connectors.http import post_limited
from connectors.intake import Greeting, NotAdmittedError, Push, fingerprint

RENEW_AFTER = timedelta(days=1)
_LEASE = timedelta(days=10)
_METHODS = frozenset({"sha1", "sha256", "sha384", "sha512"})
"""Those of the standard. As a MAC even sha1 is sound, and the largest hub uses it."""
_LONGEST_CHALLENGE = 1_000
_MAX_BYTES = 2**16
_NOT_FOUND = 404
_ACCEPTED = range(200, 300)


@dataclass(slots=True)
class HubDoor:
    """Lets in what the hub of one feed signs, and tells the hub that it was really us who asked."""

    secret: SecretStr
    prompt: bool = True
    topics: set[str] = field(default_factory=set)
    """What was asked for since the program began."""

    def greet(self, query: Mapping[str, str]) -> Greeting:
        """Confirm a subscription that was asked for. Raises NotAdmittedError."""
        challenge = query.get("hub.challenge", "")
        wanted = query.get("hub.mode") == "subscribe" and query.get("hub.topic") in self.topics
        if not wanted or not 0 < len(challenge) <= _LONGEST_CHALLENGE:
            raise NotAdmittedError("nobody here asked for that", status=_NOT_FOUND)
        return Greeting(challenge.encode())

    def admit(self, push: Push) -> str:
        """Check the hub's signature. Raises NotAdmittedError."""
        method, _, given = push.headers.get("x-hub-signature", "").partition("=")
        if method.lower() not in _METHODS:
            raise NotAdmittedError("not signed as WebSub describes")
        expected = hmac.new(
            self.secret.get_secret_value().encode(), push.body, method.lower()
        ).hexdigest()
        # As bytes: of texts it compares plain ones only.
        if not hmac.compare_digest(expected.encode(), given.strip().lower().encode()):
            raise NotAdmittedError("the signature does not fit the body")
        return fingerprint(push.body)


def subscribe(
    client: httpx.Client, hub: str, topic: str, callback: str, door: HubDoor, *, seconds: float
) -> str:
    """Ask ``hub`` to push ``topic`` to ``callback``; it will ask the door back.

    Returns:
        What is wrong; empty if the hub takes it.
    """
    if urlsplit(hub).scheme != "https" and urlsplit(callback).scheme == "https":
        return "its hub is not reached by https, and gets no key"
    door.topics.add(topic)
    fields = {
        "hub.callback": callback,
        "hub.mode": "subscribe",
        "hub.topic": topic,
        "hub.lease_seconds": str(int(_LEASE.total_seconds())),
        "hub.secret": door.secret.get_secret_value(),
    }
    try:
        fetched = post_limited(
            client,
            hub,
            urlencode(fields).encode(),
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            max_bytes=_MAX_BYTES,
            total_seconds=seconds,
        )
    except ConnectorError as error:
        return f"its hub: {error}"
    return "" if fetched.status in _ACCEPTED else f"its hub refuses us (HTTP {fetched.status})"


def is_due(asked_at: int | None, now: datetime) -> bool:
    """Whether it is time to ask the hub (again)."""
    return asked_at is None or now.timestamp() - asked_at >= RENEW_AFTER.total_seconds()
