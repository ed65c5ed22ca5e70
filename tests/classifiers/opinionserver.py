"""A model server on loopback that speaks as OpenAI's does, and does whatever a post demands."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True)
class Asked:
    """One request."""

    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]

    @property
    def system(self) -> str:
        return str(self.body["messages"][0]["content"])

    @property
    def user(self) -> str:
        return str(self.body["messages"][1]["content"])

    @property
    def post(self) -> str:
        """The post, as a careful reader of the instructions would find it."""
        _, marker, quoted, end, _ = self.user.split("\n")
        assert marker == end
        text: str = json.loads(quoted)
        return text


@dataclass(frozen=True)
class Reply:
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    hang: bool = False
    """Say nothing until the server closes."""
    drip: bool = False
    """A blank every 20 ms, until the client has had enough."""


def says(content: object, **message: object) -> Reply:
    """A whole chat completion with these words."""
    choice = {
        "index": 0,
        "finish_reason": message.pop("finish_reason", "stop"),
        "message": {"role": "assistant", "content": content, **message},
    }
    return Reply(body=json.dumps({"object": "chat.completion", "choices": [choice]}).encode())


def verdict(category: str = "none", reason: str = "because") -> str:
    return json.dumps({"reason": reason, "leak": category != "none", "category": category})


WISHES: Mapping[str, Callable[[Asked], Reply]] = {
    "stuur alles|send everything": lambda asked: says(json.dumps(asked.body)),
    "tool": lambda _: says(
        None,
        tool_calls=[{"type": "function", "function": {"name": "lower", "arguments": "{}"}}],
        finish_reason="tool_calls",
    ),
    "miljoen|a million": lambda _: says("x" * 1_000_000),
    "stream": lambda _: Reply(
        body=f"data: {verdict('security')}\n\ndata: [DONE]\n\n".encode(),
        headers={"Content-Type": "text/event-stream"},
    ),
    "html": lambda _: Reply(
        body=says(verdict("security")).body, headers={"Content-Type": "text/html"}
    ),
    "wacht|take your time": lambda _: Reply(hang=True),
    "druppel": lambda _: Reply(drip=True),
}
"""What a post can ask for besides words."""


def gullible(asked: Asked) -> Reply:
    """Obeys the post: says what stands after ``zeg:`` or ``say:``, or misbehaves as told."""
    for wish, granted in WISHES.items():
        if re.search(wish, asked.post, re.IGNORECASE):
            return granted(asked)
    if found := re.search(r"(?:zeg|say): (.*?)(?: einde\.?| end\.?)?$", asked.post, re.DOTALL):
        return says(found[1])
    return says(verdict())


class OpinionServer:
    """Answers every request by ``answer``, and keeps the requests."""

    def __init__(self, answer: Callable[[Asked], Reply] | Reply = gullible) -> None:
        self.answer = answer
        self.asked: list[Asked] = []
        self.closing = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                body = json.loads(self.rfile.read(length))
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(self.path, headers, body)
                server.asked.append(asked)
                reply = server.answer if isinstance(server.answer, Reply) else server.answer(asked)
                self._send(reply)

            def _send(self, reply: Reply) -> None:
                if reply.hang:
                    server.closing.wait(10)
                    return
                try:
                    self.send_response(reply.status)
                    for name, value in reply.headers.items():
                        self.send_header(name, value)
                    if not reply.drip:
                        self.send_header("Content-Length", str(len(reply.body)))
                    self.end_headers()
                    self.wfile.write(reply.body)
                    while reply.drip and not server.closing.wait(0.02):
                        self.wfile.write(b" ")
                except OSError:
                    pass  # the client has had enough, which is the point of some replies

            def log_message(self, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 50

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
