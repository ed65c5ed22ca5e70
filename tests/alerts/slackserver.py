"""A real HTTP server on loopback, shaped like Slack, that can be told to misbehave."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

TOKEN = "xoxb-1234-geheim"
UPLOAD_PATH = "/upload/v1/geheim"
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

    @property
    def posted(self) -> list[dict[str, Any]]:
        return [body for path, body in self.requests if not path.endswith("auth.test")]

    def answer(self, path: str, body: dict[str, Any]) -> Answer:
        if self.answers:
            return self.answers.pop(0)
        if path == WEBHOOK_PATH:
            return Answer() if body.get("text") else Answer(400, "no_text")
        if path.startswith("/services/"):
            return Answer(404, "no_service")
        if self.tokens[-1] != f"Bearer {TOKEN}":
            return Answer(body={"ok": False, "error": "invalid_auth"})
        if "/files." in path:
            return Answer(body=self.take(path))
        return Answer(body=self.post(body) if path.endswith("chat.postMessage") else {"ok": True})

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
        return {"ok": True, "channel": f"C{channel.strip('#')}", "ts": f"17.{len(self.requests)}"}


def read(raw: bytes, kind: str) -> dict[str, Any]:
    """A body as JSON or as a form, as Slack's methods take both."""
    if not raw:
        return {}
    if "json" in kind:
        body: dict[str, Any] = json.loads(raw)
        return body
    return dict(parse_qsl(raw.decode()))


@contextmanager
def slack_server() -> Iterator[Workspace]:
    workspace = Workspace()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", "0"))
            raw = self.rfile.read(length)
            if self.path == UPLOAD_PATH:
                workspace.files.append(raw)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            body = read(raw, self.headers.get("Content-Type", ""))
            workspace.tokens.append(self.headers.get("Authorization"))
            workspace.requests.append((self.path, body))
            answer = workspace.answer(self.path, body)
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

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    workspace.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield workspace
    finally:
        workspace.down.set()
        server.shutdown()
        thread.join()
        server.server_close()
