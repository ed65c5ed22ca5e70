"""Slack's Socket Mode: hears when somebody presses a button, over a connection that we open.

Nothing has to reach us from outside. The connection is slack-sdk's; this module opens it again when it
is lost, with patience, answers envelopes at once, and passes presses on to the desk. Whatever goes
wrong here, alerts go out as before: only buttons fall silent, which a metric and the log tell.
"""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from alerts.base import DeliveryError
from alerts.blocks import pressed
from alerts.links import Action, TicketError
from alerts.slack import SlackChannel, error_code, retry_seconds, silent_logger
from alerts.words import words
from monitor.database import StoreError
from monitor.desk import Case, Desk, Outcome, Way, name_of
from monitor.inbox import LateError, StoppedError
from monitor.log import logger
from monitor.metrics import Metrics

if TYPE_CHECKING:
    from slack_sdk.socket_mode.builtin.connection import Connection
    from slack_sdk.socket_mode.client import BaseSocketModeClient
    from slack_sdk.socket_mode.request import SocketModeRequest

LONGEST_WAIT_SECONDS = 300.0
"""Between two attempts to connect."""
_LOOK_SECONDS = 1.0
_WORKERS = 4
_REMEMBERED = 1000
_RECEIVE_BYTES = 65536
_TLS_PORT = 443


@dataclass(frozen=True, slots=True)
class Press:
    """Somebody pressed one of our buttons."""

    action: Action
    ticket: str
    key: str
    user: str
    name: str
    """As the envelope has it: not the display name."""
    posted: Mapping[str, str]
    """Channel and ts of the message."""
    moment: str


class SocketMode:
    """Listens for one Slack workspace.

    Args:
        name: of the channel in the configuration.
        channel: the workspace; has an app token.
        desk: does what is asked.
        metrics: tell whether it is connected.
        first_wait_seconds: before the second attempt to connect; doubled for each further one.
    """

    def __init__(
        self,
        name: str,
        channel: SlackChannel,
        desk: Desk,
        metrics: Metrics,
        *,
        first_wait_seconds: float = 2.0,
    ) -> None:
        self._name = name
        self._channel = channel
        self._desk = desk
        self._metrics = metrics
        self._first_wait = first_wait_seconds
        self._log = logger("slack")
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._known: OrderedDict[tuple[str, ...], None] = OrderedDict()
        self._lock = threading.Lock()
        self._names: dict[str, str] = {}
        self._connected = False
        metrics.slack_connected.labels(name).set(0)

    def start(self) -> None:
        """Begin to listen. Returns at once."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="slack", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Hear no more. Returns at once: a press that waits for the main thread comes to its end."""
        self._stop.set()

    # -- keeping connected, in a thread of its own ---------------------------------------------

    def _run(self) -> None:
        client = _new_client(self._channel, self._heard)
        failures, due, told = 0, 0.0, ""
        try:
            while not self._stop.wait(min(_LOOK_SECONDS, self._first_wait)):
                if self._stands(client):
                    failures, due, told = 0, 0.0, ""
                elif time.monotonic() >= due:
                    why, wish = _connect(client)
                    wait = min(self._first_wait * 2 ** min(failures, 20), LONGEST_WAIT_SECONDS)
                    failures, due = failures + 1, time.monotonic() + max(wait, wish)
                    if why and why != told:
                        self._log.error("slack_not_connected", channel=self._name, error=why)
                        told = why
        finally:
            self._metrics.slack_connected.labels(self._name).set(0)
            client.close()

    def _stands(self, client: _Client) -> bool:
        """Whether Slack greeted us and the connection stands; what changed is told."""
        stands = client.is_connected() and client.greeted
        if stands is not self._connected:
            self._connected = stands
            self._metrics.slack_connected.labels(self._name).set(stands)
            log = self._log.info if stands else self._log.warning
            log("slack_connected" if stands else "slack_disconnected", channel=self._name)
        return stands

    # -- what is heard, in workers of slack-sdk ------------------------------------------------

    def _heard(self, client: BaseSocketModeClient, request: SocketModeRequest) -> None:
        from slack_sdk.errors import SlackClientError  # noqa: PLC0415 - lazy

        # Slack waits three seconds for this, and shows the user a failure afterwards.
        with suppress(SlackClientError, OSError):
            client.send_socket_mode_response({"envelope_id": request.envelope_id})
        if request.type != "interactive":
            return
        for press in presses(request.payload):
            if self._is_new(press):
                self._do(press)

    def _is_new(self, press: Press) -> bool:
        """Whether it was not heard before: Slack sends an envelope again when in doubt."""
        mark = (press.user, press.posted["channel"], press.posted["ts"], press.moment)
        with self._lock:
            if mark in self._known:
                return False
            self._known[mark] = None
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return True

    def _do(self, press: Press) -> None:
        who = self._who(press)
        say = words(self._desk.language)
        try:
            # Who brings it is known to Slack: its age does not matter here.
            ticket = self._desk.links.read(press.ticket, None)
            outcome, case = self._desk.act(ticket, press.action, who, Way.SLACK)
        except TicketError:
            self._whisper(press, say.text("slack.unknown"))
        except (StoppedError, LateError, StoreError) as error:
            self._log.warning("slack_press_failed", error=type(error).__name__)
            self._whisper(press, say.text("slack.trouble"))
        else:
            self._answer(press, outcome, case, who)

    def _who(self, press: Press) -> str:
        """In whose name: asked once, since nobody should wait for Slack while others are paged."""
        if press.user not in self._names:
            found = name_of(self._channel.name_of(press.user))
            if found is None:
                return name_of(press.name) or f"Slack {press.user}"
            self._names[press.user] = found
        return self._names[press.user]

    def _answer(self, press: Press, outcome: Outcome, case: Case | None, who: str) -> None:
        """Let the message say how things are now, and the user why nothing came of it.

        The thread is told by the outbox, as everybody else is.
        """
        if case is None:
            self._whisper(press, words(self._desk.language).text("slack.unknown"))
            return
        try:
            self._channel.show(press.posted, case.message, press.key)
        except DeliveryError as error:
            self._log.warning("slack_not_edited", channel=self._name, error=str(error))
        if outcome is not Outcome.DONE:
            self._whisper(press, _late(case, who))

    def _whisper(self, press: Press, text: str) -> None:
        try:
            self._channel.whisper(press.posted["channel"], press.user, text)
        except DeliveryError as error:
            self._log.warning("slack_not_answered", channel=self._name, error=str(error))


def presses(payload: object) -> Iterator[Press]:
    """The presses of our buttons in the payload of an envelope; nothing of what is not as documented."""
    if not isinstance(payload, Mapping) or payload.get("type") != "block_actions":
        return
    place, user = payload.get("container"), payload.get("user")
    actions = payload.get("actions")
    if not (isinstance(place, Mapping) and isinstance(user, Mapping) and isinstance(actions, list)):
        return
    channel, ts, who = place.get("channel_id"), place.get("message_ts"), user.get("id")
    if not (isinstance(channel, str) and isinstance(ts, str) and isinstance(who, str)):
        return
    name = user.get("username") or user.get("name")
    for each in actions:
        if not isinstance(each, Mapping):
            continue
        found = pressed(each.get("action_id"), each.get("value"))
        if found is not None:
            yield Press(
                *found,
                user=who,
                name=name if isinstance(name, str) else "",
                posted={"channel": channel, "ts": ts},
                moment=str(each.get("action_ts", "")),
            )


def _late(case: Case, who: str) -> str:
    """Why nothing came of it."""
    say = words(case.message.language)
    if case.over or case.taken is None:
        return say.text("slack.already_over")
    if case.taken.who == who:
        return say.text("slack.already_yours")
    return say.text("slack.already_taken", who=case.taken.who)


class _Client(Protocol):
    """The connection, as far as this module looks at it."""

    @property
    def greeted(self) -> bool: ...
    def is_connected(self) -> bool: ...
    def connect_to_new_endpoint(self) -> None: ...
    def close(self) -> None: ...


def _connect(client: _Client) -> tuple[str, float]:
    """Why it failed, and how many seconds Slack wants us to wait; ("", 0) when it did not."""
    from slack_sdk.errors import SlackApiError, SlackClientError  # noqa: PLC0415 - lazy

    try:
        client.connect_to_new_endpoint()
    except SlackApiError as error:
        answer = error.response
        why = error_code(answer.data) or f"status {answer.status_code}"
        return why, retry_seconds(answer.headers)
    except (SlackClientError, OSError, HTTPException, ValueError) as error:
        # Not its text, which may hold the address with its key.
        return type(error).__name__, 0.0
    return ("" if client.is_connected() else "the connection was refused"), 0.0


def _hang_up(session: Connection | None) -> None:
    """Close a connection; whoever reads from it comes to an end at once, and closes it as well.

    slack-sdk does not expect two who do that: the later one finds nothing to close.
    """
    if session is None:
        return
    with suppress(OSError, AttributeError):
        session.sock.shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]  # see above
    with suppress(AttributeError):
        session.disconnect()


def _new_client(
    channel: SlackChannel, heard: Callable[[BaseSocketModeClient, SocketModeRequest], None]
) -> _Client:
    """A client that hands envelopes to ``heard``; connects when told to."""
    # Imported here: its library is large, and few commands listen.
    from slack_sdk.socket_mode.builtin import SocketModeClient  # noqa: PLC0415 - lazy

    class Client(SocketModeClient):
        """slack-sdk's client, which waits for us to connect again, and notices that a line is dead."""

        def __init__(self) -> None:
            token = channel.app_token
            super().__init__(
                app_token="" if token is None else token.get_secret_value(),
                logger=silent_logger(),
                web_client=channel.new_client(),
                auto_reconnect_enabled=False,
                receive_buffer_size=_RECEIVE_BYTES,
                concurrency=_WORKERS,
            )
            self._greeted_in: str | None = None
            self.message_listeners.append(self._listen)

        @property
        def greeted(self) -> bool:
            """Whether Slack said hello on the present connection."""
            return self._greeted_in is not None and self._greeted_in == self.session_id()

        def _listen(
            self, _client: BaseSocketModeClient, message: Mapping[str, Any], _raw: str | None = None
        ) -> None:
            if message.get("type") == "hello":
                self._greeted_in = self.session_id()

        def issue_new_wss_url(self) -> str:
            """An address to connect to. Raises SlackApiError; ValueError when it is not a safe one."""
            answer = self.web_client.apps_connections_open(app_token=self.app_token)
            url = str(answer.get("url", ""))
            if not is_safe_socket(url):
                raise ValueError("Slack gave an address that is not encrypted")
            return url

        def disconnect(self) -> None:
            """Close the connection."""
            _hang_up(self.current_session)

        def connect(self) -> None:
            """Connect to the address at hand; of an earlier connection nothing is read any more.

            slack-sdk waits for a last message on that one before it reads the new one: for longer than
            Slack waits for our answer. What it held is sent again.
            """
            self.disconnect()
            super().connect()
            session = self.current_session
            if session is not None and session.sock is not None:
                session.sock = _Line(session.sock)  # type: ignore[assignment]

    client = Client()
    client.socket_mode_request_listeners.append(heard)
    return client


class _Line:
    """A socket whose end is an error.

    slack-sdk reads on at the end of a stream, in a loop without a pause, until its pings fail.
    """

    def __init__(self, link: Any) -> None:
        self._link = link

    def recv(self, size: int) -> bytes:
        """As a socket's; raises ConnectionResetError at the end."""
        data: bytes = self._link.recv(size)
        if not data:
            raise ConnectionResetError(errno.ECONNRESET, "closed by the other side")
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._link, name)


def is_safe_socket(url: str) -> bool:
    """Encrypted, at the port at which slack-sdk encrypts; or within this machine."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return False
    if parts.scheme == "wss":
        return bool(host) and port in (None, _TLS_PORT)
    try:
        local = ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    return parts.scheme == "ws" and local
