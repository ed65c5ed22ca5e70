"""A real HTTP server on loopback, shaped like Slack, that can be told to misbehave.

Its answers are those of Slack's documentation: of the Web API (`ok`, `error`, `Retry-After`), of incoming
webhooks, and of Socket Mode with its WebSocket.
"""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

TOKEN = "xoxb-1234-geheim"
APP_TOKEN = "xapp-1-geheim"
SOCKET_PATH = "/link"
UPLOAD_PATH = "/upload/v1/geheim"
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""Of RFC 6455."""
WEBHOOK_PATH = "/services/T000/B000/geheimgeheim"


@dataclass
class Answer:
    status: int = 200
    body: str | dict[str, Any] = "ok"
    headers: dict[str, str] = field(default_factory=dict)
    hang: bool = False
    """Say nothing until the server goes down."""
    drop: bool = False
    """Close the connection without an answer."""


@dataclass
class Workspace:
    """What was posted, and the answers to give next instead of the ordinary one."""

    url: str = ""
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    tokens: list[str | None] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    refuse: dict[str, str] = field(default_factory=dict)
    """Channels that answer with an error."""
    files: list[bytes] = field(default_factory=list)
    """What was uploaded."""
    refuse_files: str = ""
    """The error that asking for an upload answers with."""
    down: threading.Event = field(default_factory=threading.Event)
    messages: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    """What stands in channels now, by channel and ts; replies too."""
    whispers: list[dict[str, Any]] = field(default_factory=list)
    """What only one user sees."""
    names: dict[str, str] = field(default_factory=dict)
    """Display names of users; without any the bot may not ask (`users:read`)."""
    socket_mode: bool = True
    """Whether the app has it switched on."""
    sessions: list[Session] = field(default_factory=list)

    @property
    def posted(self) -> list[dict[str, Any]]:
        return [body for path, body in self.requests if not path.endswith("auth.test")]

    def asked(self, method: str) -> list[dict[str, Any]]:
        """The bodies of the calls of one method."""
        return [body for path, body in self.requests if path.endswith(f"/{method}")]

    def in_thread(self, ts: str) -> list[str]:
        """What was said under a message."""
        found = self.messages.values()
        return [each["text"] for each in found if each.get("thread_ts") == ts]

    # -- Socket Mode -----------------------------------------------------------------------------

    @property
    def session(self) -> Session:
        """The connection that is open."""
        return next(each for each in reversed(self.sessions) if each.open)

    def press(
        self, posted: tuple[str, str], action_id: str, *, user: str = "U1", moment: str = ""
    ) -> str:
        """Somebody presses a button under a message; gives the envelope's id back."""
        message = self.messages[posted]
        buttons = [
            element
            for block in message["blocks"]
            if block["type"] == "actions"
            for element in block["elements"]
        ]
        (button,) = [each for each in buttons if each["action_id"] == action_id]
        action = {
            "type": "button",
            "action_id": action_id,
            "block_id": "merkwacht.actions",
            "action_ts": moment or f"{time.time():.6f}",
            "text": button["text"],
        }
        if "value" in button:
            action["value"] = button["value"]
        return self.session.deliver(
            "interactive",
            {
                "type": "block_actions",
                "user": {"id": user, "username": f"{user.lower()}.name", "name": user.lower()},
                "container": {
                    "type": "message",
                    "channel_id": posted[0],
                    "message_ts": posted[1],
                    "is_ephemeral": False,
                },
                "channel": {"id": posted[0], "name": "merk"},
                "message": {"ts": posted[1], "text": message["text"], "blocks": message["blocks"]},
                "actions": [action],
            },
        )

    def answer(self, path: str, body: dict[str, Any]) -> Answer:
        if self.answers:
            return self.answers.pop(0)
        if path == WEBHOOK_PATH:
            return Answer() if body.get("text") else Answer(400, "no_text")
        if path.startswith("/services/"):
            return Answer(404, "no_service")
        method = path.rpartition("/")[2]
        good = APP_TOKEN if method == "apps.connections.open" else TOKEN
        if self.tokens[-1] != f"Bearer {good}":
            return Answer(body={"ok": False, "error": "invalid_auth"})
        if "/files." in path:
            return Answer(body=self.take(path))
        methods: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "chat.postMessage": self.post,
            "chat.update": self.update,
            "chat.postEphemeral": self.whisper,
            "users.info": self.user,
            "apps.connections.open": self.connect,
        }
        return Answer(body=methods[method](body) if method in methods else {"ok": True})

    def take(self, path: str) -> dict[str, Any]:
        """The two steps of an upload; the file itself comes in between."""
        if path.endswith("completeUploadExternal"):
            return {"ok": True, "files": [{"id": "F1"}]}
        if self.refuse_files:
            return {"ok": False, "error": self.refuse_files}
        return {"ok": True, "file_id": "F1", "upload_url": f"{self.url}{UPLOAD_PATH}"}

    def post(self, body: dict[str, Any]) -> dict[str, Any]:
        channel = str(body["channel"])
        if channel in self.refuse:
            return {"ok": False, "error": self.refuse[channel]}
        known = f"C{channel.strip('#')}" if channel.startswith("#") else channel
        thread = body.get("thread_ts")
        if thread is not None and (known, thread) not in self.messages:
            return {"ok": False, "error": "thread_not_found"}
        ts = f"17.{len(self.requests)}"
        self.messages[known, ts] = dict(body)
        return {"ok": True, "channel": known, "ts": ts}

    def update(self, body: dict[str, Any]) -> dict[str, Any]:
        place = (str(body["channel"]), str(body["ts"]))
        if place not in self.messages:
            return {"ok": False, "error": "message_not_found"}
        self.messages[place] |= body
        return {"ok": True, "channel": place[0], "ts": place[1], "text": body["text"]}

    def whisper(self, body: dict[str, Any]) -> dict[str, Any]:
        self.whispers.append(body)
        return {"ok": True, "message_ts": f"17.{len(self.requests)}"}

    def user(self, body: dict[str, Any]) -> dict[str, Any]:
        if not self.names:
            return {"ok": False, "error": "missing_scope", "needed": "users:read"}
        name = self.names.get(str(body["user"]))
        if name is None:
            return {"ok": False, "error": "user_not_found"}
        return {"ok": True, "user": {"id": body["user"], "profile": {"display_name": name}}}

    def connect(self, body: dict[str, Any]) -> dict[str, Any]:
        if not self.socket_mode:
            return {"ok": False, "error": "forbidden_socket_mode"}
        address = self.url.replace("http://", "ws://")
        return {"ok": True, "url": f"{address}{SOCKET_PATH}?ticket=geheim&app_id=A1"}


class Session:
    """One WebSocket (RFC 6455), as the server of Socket Mode sees it."""

    def __init__(self, link: socket.socket, workspace: Workspace) -> None:
        self._link = link
        self._workspace = workspace
        self._numbers = iter(range(1, 10_000))
        self.open = True
        self.sent: dict[str, float] = {}
        self.acknowledged: dict[str, float] = {}
        """Seconds until the envelope was acknowledged."""
        self.answered = threading.Condition()

    def run(self) -> None:
        """Greet, then read what comes until either side hangs up."""
        self._workspace.sessions.append(self)
        self.send({"type": "hello", "num_connections": 1, "connection_info": {"app_id": "A1"}})
        try:
            while self.open and (frame := self._receive()) is not None:
                code, data = frame
                if code == 8:
                    self.write(8, data)
                    return
                if code == 9:
                    self.write(10, data)
                elif code == 1:
                    self._take(json.loads(data))
        except OSError:
            return
        finally:
            self.open = False

    def deliver(self, kind: str, payload: dict[str, Any], *, envelope: str = "") -> str:
        """Send an envelope; gives its id back."""
        name = envelope or f"e{next(self._numbers)}"
        self.sent[name] = time.monotonic()
        self.send(
            {
                "envelope_id": name,
                "type": kind,
                "payload": payload,
                "accepts_response_payload": kind == "interactive",
            }
        )
        return name

    def wait_for(self, envelope: str, seconds: float = 10) -> float:
        """How long it took until an envelope was acknowledged."""
        with self.answered:
            assert self.answered.wait_for(lambda: envelope in self.acknowledged, seconds)
        return self.acknowledged[envelope]

    def send(self, message: dict[str, Any]) -> None:
        self.write(1, json.dumps(message).encode())

    def hang_up(self) -> None:
        """Break off, as a network does."""
        self.open = False
        self._link.shutdown(socket.SHUT_RDWR)

    def write(self, code: int, data: bytes) -> None:
        size = len(data)
        if size < 126:
            head = struct.pack("!BB", 0x80 | code, size)
        elif size < 65536:
            head = struct.pack("!BBH", 0x80 | code, 126, size)
        else:
            head = struct.pack("!BBQ", 0x80 | code, 127, size)
        self._link.sendall(head + data)

    def _take(self, message: dict[str, Any]) -> None:
        name = message["envelope_id"]
        with self.answered:
            self.acknowledged[name] = time.monotonic() - self.sent[name]
            self.answered.notify_all()

    def _receive(self) -> tuple[int, bytes] | None:
        head = self._exactly(2)
        if head is None:
            return None
        size = head[1] & 0x7F
        if size >= 126:
            more = self._exactly(2 if size == 126 else 8) or b""
            size = int.from_bytes(more, "big")
        assert head[1] & 0x80, "what a client sends is masked"
        mask = self._exactly(4) or b""
        data = self._exactly(size) or b""
        return head[0] & 0x0F, bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))

    def _exactly(self, size: int) -> bytes | None:
        parts = b""
        while len(parts) < size:
            part = self._link.recv(size - len(parts))
            if not part:
                return None
            parts += part
        return parts


def read(raw: bytes, kind: str) -> dict[str, Any]:
    """A body as JSON or as a form, as Slack's methods take both."""
    if not raw:
        return {}
    if "json" in kind:
        body: dict[str, Any] = json.loads(raw)
        return body
    return dict(parse_qsl(raw.decode()))


def handler_of(workspace: Workspace) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            if path == SOCKET_PATH:
                self.upgrade()
                return
            if not path.endswith("/users.info"):
                self.send_error(501)
                return
            self.take(path, dict(parse_qsl(query)))

        def upgrade(self) -> None:
            key = self.headers["Sec-WebSocket-Key"]
            digest = hashlib.sha1(f"{key}{_GUID}".encode(), usedforsecurity=False).digest()
            self.send_response(101)
            self.send_header("Upgrade", "websocket")
            self.send_header("Connection", "Upgrade")
            self.send_header("Sec-WebSocket-Accept", base64.b64encode(digest).decode())
            self.end_headers()
            self.wfile.flush()
            self.close_connection = True
            Session(self.connection, workspace).run()

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", "0"))
            raw = self.rfile.read(length)
            if self.path == UPLOAD_PATH:
                workspace.files.append(raw)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.take(self.path, read(raw, self.headers.get("Content-Type", "")))

        def take(self, path: str, body: dict[str, Any]) -> None:
            workspace.tokens.append(self.headers.get("Authorization"))
            workspace.requests.append((path, body))
            answer = workspace.answer(path, body)
            if answer.hang:
                workspace.down.wait(20)
            if answer.hang or answer.drop:
                self.close_connection = True
                return
            said = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(said.encode())))
            self.end_headers()
            self.wfile.write(said.encode())

        def log_message(self, *args: Any) -> None:
            """Keep the test's output clean."""

    return Handler


@contextmanager
def slack_server() -> Iterator[Workspace]:
    workspace = Workspace()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(workspace))
    server.daemon_threads = True
    workspace.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield workspace
    finally:
        workspace.down.set()
        for session in workspace.sessions:
            if session.open:
                session.hang_up()
        server.shutdown()
        thread.join()
        server.server_close()
