"""Where a demo leaves its things, and the page on which one looks at them afterwards."""

from __future__ import annotations

import shutil
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

from monitor.demo.loopback import LoopbackServer

MARKER = ".merkwacht-demo"
_NOTE = "Made by `merkwacht demo`, which empties this folder when it is run again.\n"


class DemoError(Exception):
    """The demo cannot go on; the message says why and what to do."""


def make_fresh(folder: Path) -> Path:
    """Make ``folder``, or empty it if an earlier demo made it. Gives it back as absolute.

    Raises:
        DemoError: it holds something that no demo made, or cannot be written.
    """
    folder = folder.absolute()
    try:
        if folder.exists():
            _empty(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MARKER).write_text(_NOTE, encoding="utf-8")
    except OSError as error:
        raise DemoError(
            f"{error.filename or folder}: {error.strerror}; choose another folder with --output"
        ) from error
    return folder


def _empty(folder: Path) -> None:
    if not folder.is_dir():
        raise DemoError(f"{folder}: is not a folder; choose another with --output")
    children = list(folder.iterdir())
    if children and not (folder / MARKER).is_file():
        raise DemoError(
            f"{folder}: was not made by an earlier demo, so nothing in it is touched; "
            "choose another folder with --output"
        )
    for child in children:
        if child.is_dir() and not child.is_symlink():
            shutil.rmtree(child)
        else:
            child.unlink()


class Site(LoopbackServer):
    """Shows a folder on 127.0.0.1, on a free port, read-only, while entered."""

    def __init__(self, folder: Path) -> None:
        super().__init__(partial(_Pages, directory=str(folder)))


class _Pages(SimpleHTTPRequestHandler):
    server_version = "demo"
    sys_version = ""
    timeout = 30
    extensions_map = {  # noqa: RUF012 - the base class reads it from here
        ".html": "text/html; charset=utf-8",
        ".eml": "text/plain; charset=utf-8",
        "": "application/octet-stream",
    }

    def send_head(self) -> Any:
        """Answer only who asked for this machine by name: no other site may read along."""
        host = self.headers.get("Host", "").rpartition(":")[0]
        if host not in {"127.0.0.1", "localhost"}:
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST)
            return None
        return super().send_head()

    def list_directory(self, path: Any) -> None:  # noqa: ARG002 - the base class's
        """There is an index page; other folders are nobody's business."""
        self.send_error(HTTPStatus.NOT_FOUND)

    def end_headers(self) -> None:
        """Add what keeps a browser from doing more than show."""
        self.send_header(
            "Content-Security-Policy",
            "default-src 'none'; style-src 'unsafe-inline'; img-src data:",
        )
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cache-Control", "no-store")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing: the screen belongs to the demo."""
