"""systemd's journal, spoken to in its own tongue: entries with fields, by datagram.

The protocol is public and stable (https://systemd.io/JOURNAL_NATIVE_PROTOCOL/); it takes less code
than a binding to its library would take care.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import socket
import struct
from array import array
from collections.abc import Sequence
from typing import TextIO

JOURNAL_SOCKET = "/run/systemd/journal/socket"
IDENTIFIER = "merkwacht"
PREFIX = "MERKWACHT_"
"""Before the names of our own fields."""

_PATIENCE_SECONDS = 2.0
"""A journal that is overwhelmed is not waited for any longer, and not again before it takes something:
the watch goes on."""
_TOO_LARGE = frozenset({errno.EMSGSIZE, errno.ENOBUFS})
_ODD = re.compile(r"[^A-Z0-9_]")
_LONGEST_NAME = 64


class JournalError(Exception):
    """Nobody hears at the journal's socket."""


def leads_to_journal(stream: TextIO) -> bool:
    """Whether a stream is the one that systemd connected to its journal (see ``systemd.exec(5)``)."""
    named = os.environ.get("JOURNAL_STREAM", "")
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):  # closed, or no file at all
        return False
    return named == f"{found.st_dev}:{found.st_ino}"


def entry_of(message: str, priority: int, fields: Sequence[tuple[str, str]]) -> bytes:
    """An entry as it goes over the wire.

    Args:
        message: what a reader sees; may have several lines.
        priority: of syslog, 0 to 7.
        fields: of ours; a name may come several times, and is found under each of its values.
    """
    every = [
        ("MESSAGE", message),
        ("PRIORITY", str(priority)),
        ("SYSLOG_IDENTIFIER", IDENTIFIER),
        *((_name(key), value) for key, value in fields),
    ]
    return b"".join(_field(name, value) for name, value in every)


def _name(key: str) -> str:
    return (PREFIX + _ODD.sub("_", key.upper()))[:_LONGEST_NAME]


def _field(name: str, value: str) -> bytes:
    text = value.encode("utf-8", "backslashreplace")
    if b"\n" not in text:
        return b"%s=%s\n" % (name.encode(), text)
    return b"%s\n%s%s\n" % (name.encode(), struct.pack("<Q", len(text)), text)


class Journal:
    """The journal behind a socket. One caller at a time."""

    def __init__(self, path: str = JOURNAL_SOCKET) -> None:
        self._path = path
        self._socket: socket.socket | None = None

    def send(self, entry: bytes) -> None:
        """Hand an entry over; one too large for a datagram in a sealed piece of memory.

        Raises:
            JournalError: nobody hears there.
            TimeoutError: it does not keep up.
        """
        if self._socket is None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.settimeout(_PATIENCE_SECONDS)
        try:
            self._send(self._socket, entry)
        except (TimeoutError, BlockingIOError) as error:
            self._socket.settimeout(0)
            raise TimeoutError(f"{self._path}: does not keep up") from error
        self._socket.settimeout(_PATIENCE_SECONDS)

    def _send(self, to: socket.socket, entry: bytes) -> None:
        try:
            to.sendto(entry, self._path)
        except (TimeoutError, BlockingIOError):
            raise
        except OSError as error:
            if error.errno not in _TOO_LARGE:
                raise JournalError(f"{self._path}: {error.strerror}") from error
            self._send_large(to, entry)

    def close(self) -> None:
        """Hang up."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send_large(self, to: socket.socket, entry: bytes) -> None:
        try:
            memory = os.memfd_create("journal-entry", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        except OSError as error:
            raise JournalError(f"no memory to share with the journal: {error.strerror}") from error
        with os.fdopen(memory, "wb") as file:
            file.write(entry)
            file.flush()
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
            fcntl.fcntl(file, fcntl.F_ADD_SEALS, seals)
            handle = array("i", [file.fileno()])
            try:
                to.sendmsg([], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, handle)], 0, self._path)
            except (TimeoutError, BlockingIOError):
                raise
            except OSError as error:
                raise JournalError(f"{self._path}: {error.strerror}") from error
