"""The one queue into the main thread: whoever has something to write hands over a job."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from typing import Any, TypeVar

Job = Callable[[], object]
Result = TypeVar("Result")


class StoppedError(Exception):
    """The daemon drains: a worker's job will not be done any more."""


class LateError(Exception):
    """The main thread did not come round to a job in time; it will not be done."""


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

    def ask(self, job: Callable[[], Result], *, seconds: float | None = None) -> Result:
        """Hand over a job, wait for the main thread to do it, and return (or raise) what it did.

        Args:
            job: what to do.
            seconds: a job that has not been begun by then is taken back; None waits for ever.

        Raises:
            StoppedError: the inbox was closed.
            LateError: taken back.
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
            return _result(answer, seconds)
        except CancelledError:
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


def _result(answer: Future[Result], seconds: float | None) -> Result:
    try:
        return answer.result(seconds)
    except TimeoutError:
        # False when it has been begun, or when the job itself ran into a time-out.
        if answer.cancel():
            raise LateError from None
    return answer.result()
