"""A socket where journald's would be."""

from __future__ import annotations

import array
import os
import socket
import struct
from pathlib import Path

Entry = dict[str, list[str]]


class Journald:
    """Hears what is sent in the native protocol."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.large = 0
        """Entries that came in shared memory."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        self._socket.settimeout(5)

    def next(self) -> Entry:
        """The fields of the next entry."""
        data, ancillary, _, _ = self._socket.recvmsg(1 << 20, socket.CMSG_SPACE(4))
        for _, _, handles in ancillary:
            (handle,) = array.array("i", handles[:4])
            with os.fdopen(handle, "rb") as file:
                file.seek(0)
                data = file.read()
            self.large += 1
        return fields_of(data)

    def waiting(self) -> list[Entry]:
        """All that has come."""
        self._socket.settimeout(0)
        found = []
        try:
            while True:
                found.append(self.next())
        except BlockingIOError:
            return found
        finally:
            self._socket.settimeout(5)

    def close(self) -> None:
        """Hear no more."""
        self._socket.close()


def fields_of(data: bytes) -> Entry:
    """An entry of the native protocol, read as its description says."""
    fields: Entry = {}
    while data:
        line, _, data = data.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            (size,) = struct.unpack("<Q", data[:8])
            value, data = data[8 : 8 + size], data[8 + size :]
            assert data[:1] == b"\n"
            data = data[1:]
        fields.setdefault(name.decode("ascii"), []).append(value.decode())
    return fields
