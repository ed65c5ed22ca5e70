"""Reads feeds in a process that can be ended: bounded in time and memory whatever a feed holds.

One worker serves all feeds, one after the other, and stays for the next poll. It is started when
first needed, ended when a feed takes too long, and replaced after a large one, so that the memory
of that goes back.
"""

from __future__ import annotations

import atexit
import json
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from connectors.base import ConnectorError, SourceFault
from connectors.feedreader import ERROR, LENGTH, Entry, Feed

READ_SECONDS = 60.0
"""Longest time for reading one feed. One of 10,000 entries takes about ten seconds."""

_MEMORY_BYTES = 2**30
_LARGEST_ANSWER = 64 * 2**20
_LARGE_BODY = 2**20

# The package's own __init__ imports every connector; the worker needs two of its modules.
_PROGRAM = """
import sys, types
package = types.ModuleType("connectors")
package.__path__ = [sys.argv[1]]
sys.modules["connectors"] = package
from connectors.feedreader import serve
serve(int(sys.argv[2]))
"""


class FeedWorker:
    """A process that reads feeds. Safe to use from several threads; one feed at a time."""

    def __init__(self, *, seconds: float = READ_SECONDS, memory_bytes: int = _MEMORY_BYTES) -> None:
        self._seconds = seconds
        self._memory_bytes = memory_bytes
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def read(
        self, body: bytes, headers: Mapping[str, str], *, url: str, host: str, most: int, where: str
    ) -> Feed:
        """Read a feed: see :func:`connectors.feedreader.read_feed`.

        Args:
            body: of the answer.
            headers: of the answer.
            url: where it came from.
            host: of the configured address.
            most: entries to read.
            where: how messages call the feed.

        Raises:
            ConnectorError: it is no feed, or cannot be read within the bounds.
        """
        request = {"headers": dict(headers), "url": url, "host": host, "most": most}
        with self._lock:
            answer = self._ask(json.dumps(request).encode(), body)
        if answer is None:
            raise ConnectorError(
                f"{where}: the answer cannot be read within {self._seconds:g} seconds and "
                f"{self._memory_bytes >> 20} MiB of memory: it is hostile, or far too large",
                fault=SourceFault.BAD_RESPONSE,
            )
        trouble = answer["problem"] if ERROR not in answer else f"cannot be read ({answer[ERROR]})"
        if trouble:
            raise ConnectorError(f"{where}: the answer {trouble}", fault=SourceFault.BAD_RESPONSE)
        entries = tuple(Entry(**entry) for entry in answer.pop("entries"))
        return Feed(**answer, entries=entries)

    def close(self) -> None:
        """End the process; the next read starts another one."""
        with self._lock:
            self._end()

    def _ask(self, request: bytes, body: bytes) -> dict[str, Any] | None:
        """Exchange messages with the worker; None if it did not live to answer."""
        process = self._running()
        timer = threading.Timer(self._seconds, process.kill)
        timer.start()
        try:
            message = _exchange(process, request, body)
        except OSError:  # it ended while we wrote
            message = None
        finally:
            timer.cancel()
        if message is None or len(body) > _LARGE_BODY:
            self._end()
        return None if message is None else json.loads(message)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._end()
            # -I: neither the working directory nor this folder (it has an http.py) hide modules.
            command = [sys.executable, "-I", "-c", _PROGRAM, str(Path(__file__).parent)]
            self._process = subprocess.Popen(  # noqa: S603 - our own program, no shell
                [*command, str(self._memory_bytes)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()


def _exchange(process: subprocess.Popen[bytes], request: bytes, body: bytes) -> bytes | None:
    if process.stdin is None or process.stdout is None:
        return None
    for message in (request, body):
        process.stdin.write(LENGTH.pack(len(message)))
        process.stdin.write(message)
    process.stdin.flush()
    head = process.stdout.read(LENGTH.size)
    if len(head) < LENGTH.size or (length := LENGTH.unpack(head)[0]) > _LARGEST_ANSWER:
        return None
    answer = process.stdout.read(length)
    return answer if len(answer) == length else None


SHARED = FeedWorker()
"""The one worker of this process."""
atexit.register(SHARED.close)
