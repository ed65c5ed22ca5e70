"""Pseudonyms: authors are never stored by name.

A handle becomes an HMAC-SHA-256 under a key that lies in a file beside the database, not in it.
Without the key a pseudonym cannot be traced back; with it, and only with it, a person's own data can
be found for export or erasure.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from dataclasses import replace
from pathlib import Path

from connectors.base import Post
from monitor.database import StoreError

_KEY_BYTES = 32


class Pseudonyms:
    """Turns handles into pseudonyms."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def of(self, platform: str, handle: str) -> str:
        """The pseudonym of an account: 16 hexadecimal digits, the same for ever under one key."""
        name = f"{platform}\0{handle.strip().lstrip('@').casefold()}"
        return hmac.new(self._key, name.encode(), hashlib.sha256).hexdigest()[:16]

    def cover(self, post: Post) -> Post:
        """The post with its author's pseudonym in place of the handle."""
        if not post.author:
            return post
        return replace(post, author=self.of(post.platform, post.author))

    def derive(self, purpose: str) -> bytes:
        """A key of 32 bytes for another purpose, from which this one cannot be found.

        Args:
            purpose: at most 16 bytes; the same for ever.
        """
        return hashlib.blake2b(key=self._key, person=purpose.encode(), digest_size=32).digest()

    @property
    def fingerprint(self) -> str:
        """Tells keys apart without giving anything away of them."""
        return hmac.new(self._key, b"fingerprint", hashlib.sha256).hexdigest()[:16]


def load_or_create(path: Path) -> Pseudonyms:
    """Read the key at ``path``, or make one on the first start (mode 0600).

    Raises:
        StoreError: the file cannot be read or written, or holds something else.
    """
    try:
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            text = path.read_text(encoding="ascii").strip()
            key = bytes.fromhex(text)
        else:
            key = secrets.token_bytes(_KEY_BYTES)
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(key.hex() + "\n")
                file.flush()
                os.fsync(file.fileno())
    except OSError as error:
        raise StoreError(
            f"{path}: the pseudonym key: {error.strerror}; check owner and mode"
        ) from None
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise StoreError(
            f"{path}: not a pseudonym key of Merkwacht; restore it from a backup "
            "(without it known authors look like new ones and what is registered is not found)"
        )
    return Pseudonyms(key)
