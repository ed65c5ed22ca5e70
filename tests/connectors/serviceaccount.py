"""A service account of Google with a key of its own, made once for all tests."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from functools import lru_cache
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

ADDRESS = "keeper@zonnehoek.iam.gserviceaccount.com"


@lru_cache(maxsize=1)
def _key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65_537, key_size=2_048)


def key_file(**fields: Any) -> str:
    """The JSON that Google gives for download."""
    pem = _key().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    held = {
        "type": "service_account",
        "private_key_id": "s3cret",
        "private_key": pem.decode(),
        "client_email": ADDRESS,
        "token_uri": "https://oauth2.googleapis.com/token",
    }
    return json.dumps(held | fields)


def claims_of(assertion: str) -> dict[str, Any]:
    """What an assertion says. Raises InvalidSignature unless this account's key signed it."""
    signed, _, signature = assertion.rpartition(".")
    _key().public_key().verify(
        _bytes(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256()
    )
    head, claims = (json.loads(_bytes(part)) for part in signed.split("."))
    assert head == {"alg": "RS256", "typ": "JWT"}
    return dict(claims)


def _bytes(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
