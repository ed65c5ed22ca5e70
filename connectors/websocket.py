"""A WebSocket to a stream that only speaks: read message by message through the guarded client.

The library ``websockets`` knows the protocol and touches no network here; the connection is one of
:mod:`connectors.http`, so that the same addresses are refused and the same limits hold.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import httpx
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidURI, PayloadTooBig
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from connectors.base import ConnectorError, SourceFault
from connectors.http import Upgraded, redact_url, upgraded

_OWN = frozenset({"host", "user-agent"})
"""Headers that the guarded client sets itself."""

_READ_BYTES = 16_384
"""At once. Compressed it may hold a thousand times as much, in many messages that are each small enough."""

_ANSWER_SECONDS = 5.0
"""How long our own few bytes, an answer to a ping, may take on their way."""


class Listening:
    """An open WebSocket whose messages are read one after another."""

    def __init__(self, protocol: ClientProtocol, connection: Upgraded, where: str) -> None:
        self._protocol = protocol
        self._connection = connection
        self._where = where
        self._parts: list[bytes] = []
        self._waiting: list[bytes] = []
        self.headers = connection.headers
        """Of the answer with which it was opened."""

    def receive(self, seconds: float) -> bytes | None:
        """Give the next message, or None when none came for so many seconds.

        Raises:
            ConnectorError: the server closed or broke the connection, or a message is too large.
        """
        deadline = time.monotonic() + seconds
        while not self._waiting:
            self._check()
            data = self._connection.read(deadline - time.monotonic(), most=_READ_BYTES)
            if data is None:
                return None
            if data:
                self._protocol.receive_data(data)
            else:
                self._protocol.receive_eof()
            self._take()
        return self._waiting.pop(0)

    def _take(self) -> None:
        """Answer what the protocol wants answered, and put parts of messages together."""
        for data in self._protocol.data_to_send():
            if data and self._protocol.state is State.OPEN:
                self._connection.write(data, _ANSWER_SECONDS)
        for event in self._protocol.events_received():
            if isinstance(event, Frame) and event.opcode in {
                Opcode.TEXT,
                Opcode.BINARY,
                Opcode.CONT,
            }:
                self._parts.append(bytes(event.data))
                if event.fin:
                    self._waiting.append(b"".join(self._parts))
                    self._parts.clear()

    def _check(self) -> None:
        if self._protocol.state is State.OPEN:
            return
        trouble = self._protocol.parser_exc
        if isinstance(trouble, PayloadTooBig):
            raise ConnectorError(
                f"{self._where}: a message is larger than {self._protocol.max_message_size} bytes",
                fault=SourceFault.TOO_LARGE,
            )
        if trouble is not None and not isinstance(trouble, EOFError):
            raise ConnectorError(
                f"{self._where}: what came is no WebSocket ({type(trouble).__name__})",
                fault=SourceFault.BAD_RESPONSE,
            )
        raise ConnectorError(
            f"{self._where}: the server closed the connection (code {self._protocol.close_code})",
            fault=SourceFault.UNREACHABLE,
        )


@contextmanager
def listening(
    client: httpx.Client,
    url: str,
    *,
    now: datetime,
    answer_seconds: float,
    total_seconds: float,
    max_message_bytes: int,
    remedy: str = "",
) -> Iterator[Listening]:
    """Open a WebSocket at ``url`` (``ws`` or ``wss``) for as long as the block lasts.

    Args:
        client: from :func:`connectors.http.guarded_client`.
        url: where to.
        now: for the time that an answer of "too many requests" names.
        answer_seconds: until the server answers.
        total_seconds: for everything.
        max_message_bytes: of one message, after decompression.
        remedy: what the operator can do where it is refused.

    Raises:
        ConnectorError: there is no WebSocket, or not for us.
    """
    where = redact_url(url)
    try:
        uri = parse_uri(url)
    except (InvalidURI, ValueError) as error:
        raise ConnectorError(
            f"{where} is no ws or wss address: correct it in the configuration",
            fault=SourceFault.BAD_REQUEST,
            permanent=True,
        ) from error
    protocol = ClientProtocol(
        uri,
        max_size=max_message_bytes,
        extensions=[ClientPerMessageDeflateFactory(client_max_window_bits=True)],
    )
    asked = protocol.connect()
    headers = {name: value for name, value in asked.headers.raw_items() if name.lower() not in _OWN}
    protocol.send_request(asked)
    protocol.data_to_send()  # the guarded client sends it
    http = f"http{url[2:]}"
    with upgraded(
        client,
        http,
        headers,
        now=now,
        answer_seconds=answer_seconds,
        total_seconds=total_seconds,
        remedy=remedy,
    ) as connection:
        protocol.receive_data(_head(connection.headers))
        protocol.events_received()
        if protocol.state is not State.OPEN:
            raise ConnectorError(
                f"{where}: the answer is no consent to a WebSocket ({protocol.handshake_exc})",
                fault=SourceFault.BAD_RESPONSE,
            )
        yield Listening(protocol, connection, where)


def _head(headers: httpx.Headers) -> bytes:
    """The answer as it came, for the protocol to check."""
    lines = [b"HTTP/1.1 101 Switching Protocols"]
    lines += [name + b": " + value for name, value in headers.raw]
    return b"\r\n".join([*lines, b"", b""])
