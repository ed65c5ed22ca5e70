"""The scheme *Standard Webhooks* 1.0: how a push is signed, and how a signature is checked.

Shared by the source that takes pushes (``connectors.webhook``) and by the channel that sends them
(``alerts.webhook``).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

KEY_ADVICE = (
    'must be "whsec_" and 24 to 64 bytes in base64; '
    'make one with: echo "whsec_$(openssl rand -base64 32)"'
)
"""What is wrong with a text that is no key, for people."""

MOST_SIGNATURES = 10
"""A push is signed by the keys that its receiver may have: two while they change. More is an attack."""

_KEY = re.compile(r"whsec_[A-Za-z0-9+/]+={0,2}")
_KEY_BYTES = range(24, 65)
_IDENTITY = re.compile(r"[\x21-\x2d\x2f-\x7e]{1,256}")
"""Without a dot, which separates what is signed."""
_TIMESTAMP = re.compile(r"[0-9]{1,12}")


class SignatureError(ValueError):
    """A push that must not be believed; the message is one clause that names what is wrong."""


def key_of(secret: str) -> bytes:
    """Give the bytes of a secret (``whsec_…``), or none at all if it is not one."""
    if not _KEY.fullmatch(secret):
        return b""
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        return b""
    return key if len(key) in _KEY_BYTES else b""


def sign(key: bytes, identity: str, timestamp: str, body: bytes) -> str:
    """The signature of one attempt: ``v1,`` and HMAC-SHA256 in base64.

    Args:
        key: what follows ``whsec_``, decoded.
        identity: ``webhook-id``.
        timestamp: ``webhook-timestamp``, seconds since 1970.
        body: exactly as sent.
    """
    signed = b".".join((identity.encode(), timestamp.encode(), body))
    return f"v1,{base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()}"


def verify(
    keys: Sequence[bytes],
    *,
    identity: str,
    timestamp: str,
    signature: str,
    body: bytes,
    now: datetime,
    tolerance: timedelta,
) -> None:
    """Check that whoever has one of ``keys`` sent ``body`` just now.

    Args:
        keys: those that are good at present.
        identity: ``webhook-id``.
        timestamp: ``webhook-timestamp``.
        signature: ``webhook-signature``: one or more, with spaces between.
        body: exactly as received.
        now: the present moment.
        tolerance: how far the sender's clock, or the push's age, may be off in either direction.

    Raises:
        SignatureError: it was not, or too long ago.
    """
    if not _IDENTITY.fullmatch(identity):
        raise SignatureError("webhook-id is missing, too long, or holds a dot or a blank")
    if not _TIMESTAMP.fullmatch(timestamp):
        raise SignatureError("webhook-timestamp is missing or not in seconds since 1970")
    given = [each for each in signature.split(" ")[:MOST_SIGNATURES] if each.startswith("v1,")]
    if not given:
        raise SignatureError("webhook-signature is missing or of an unknown version")
    right = [sign(key, identity, timestamp, body) for key in keys]
    # All pairs are compared, so that the time it takes tells nothing about which one fits.
    fits = [
        hmac.compare_digest(one.encode("utf-8", "replace"), other.encode())
        for one in given
        for other in right
    ]
    if not any(fits):
        raise SignatureError("the signature does not fit: compare the keys on both sides")
    age = abs(now.astimezone(UTC).timestamp() - int(timestamp))
    if age > tolerance.total_seconds():
        raise SignatureError("it was signed too long ago, or the clocks differ")
