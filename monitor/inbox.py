"""The one queue into the main thread: whoever has something to write hands over a job."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

Job = Callable[[], object]
Result = TypeVar("Result")


class StoppedError(Exception):
    """The daemon drains: a worker's job will not be done any more."""


class Inbox:
    """Jobs from scheduler and workers, done one by one in the main thread."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._waiting: set[Future[Any]] = set()
        self._named: set[str] = set()
        self._lock = threading.Lock()
        self._closed = False

    def post(self, job: Job) -> None:
        """Hand over a job and go on."""
        self._jobs.put(job)

    def post_once(self, name: str, job: Job) -> None:
        """Hand over a job unless one of that name waits already."""
        with self._lock:
            if name in self._named:
                return
            self._named.add(name)

        def named() -> None:
            with self._lock:
                self._named.discard(name)
            job()

        self._jobs.put(named)

    def ask(self, job: Callable[[], Result]) -> Result:
        """Hand over a job, wait for the main thread to do it, and return (or raise) what it did.

        Raises:
            StoppedError: the inbox was closed.
        """
        answer: Future[Result] = Future()
        with self._lock:
            if self._closed:
                raise StoppedError
            self._waiting.add(answer)

        def answered() -> None:
            if answer.set_running_or_notify_cancel():
                try:
                    answer.set_result(job())
                except BaseException as error:  # noqa: BLE001 - it is the asker's to handle
                    answer.set_exception(error)

        self._jobs.put(answered)
        try:
            return answer.result()
        except BaseException:
            if answer.cancelled():
                raise StoppedError from None
            raise
        finally:
            with self._lock:
                self._waiting.discard(answer)

    def pump(self, timeout: float) -> bool:
        """Do the next job, waiting up to ``timeout`` seconds for one. False when none came."""
        try:
            job = self._jobs.get(timeout=timeout) if timeout > 0 else self._jobs.get_nowait()
        except queue.Empty:
            return False
        job()
        return True

    def close(self) -> None:
        """Let everybody who waits for an answer go, with StoppedError; refuse new questions."""
        with self._lock:
            self._closed = True
            waiting = list(self._waiting)
        for answer in waiting:
            answer.cancel()
