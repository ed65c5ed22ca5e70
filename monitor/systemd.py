"""systemd's notify protocol: ready, watchdog, status, reloading, stopping. Silent outside systemd."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable


class Notifier:
    """Sends state to the socket that systemd names in ``$NOTIFY_SOCKET``.

    See sd_notify(3). A socket that cannot be reached is not our failure: systemd will notice.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._address = address if address is not None else os.environ.get("NOTIFY_SOCKET", "")
        self._monotonic = monotonic

    def ready(self, status: str) -> None:
        """Start-up (or a reload) is done."""
        self._send(f"READY=1\nSTATUS={status}")

    def reloading(self) -> None:
        """A reload has begun."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={int(self._monotonic() * 1_000_000)}")

    def stopping(self) -> None:
        """The daemon drains."""
        self._send("STOPPING=1\nSTATUS=draining")

    def beat(self, status: str) -> None:
        """A full healthy pass of the loop."""
        self._send(f"WATCHDOG=1\nSTATUS={status}")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as link:
                link.connect(address)
                link.sendall(text.encode())
        except OSError:
            return
