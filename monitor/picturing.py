"""The step ``picture``: reads the text in pictures of mentions, in a worker of its own.

A mention is assessed by its words as soon as it is stored; it does not wait for its pictures. When
text is found in one, it is assessed anew with that. Whatever fails here leaves the mention as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import Protocol

import httpx

from classifiers.vision import PictureError
from connectors.base import ConnectorError
from connectors.http import fetch_limited, status_error
from monitor.database import StoreError
from monitor.inbox import Inbox, StoppedError
from monitor.log import logger
from monitor.metrics import Metrics
from monitor.store import Store
from monitor.store.pictures import Picture

MOST_BYTES = 8 * 2**20
FETCH_SECONDS = 20.0
BATCH = 4


class Reader(Protocol):
    """Reads text out of a picture."""

    def read(self, data: bytes) -> str:
        """Give the text, "" for none. Raises PictureError."""
        ...


class PictureStep:
    """Fetches and reads the pictures that are due. Its public methods belong to the main thread."""

    def __init__(
        self,
        *,
        store: Store,
        inbox: Inbox,
        pool: ThreadPoolExecutor,
        http: httpx.Client,
        reader: Reader,
        metrics: Metrics,
        now: Callable[[], datetime],
        found: Callable[[], object],
    ) -> None:
        self._store = store
        self._inbox = inbox
        self._pool = pool
        self._http = http
        self._reader = reader
        self._metrics = metrics
        self._now = now
        self._found = found
        self._log = logger("picture")
        self.in_flight = 0
        """Batches that are being read: one at a time, which bounds memory and processor."""

    def run(self) -> int:
        """Begin with the next few. Returns how many.

        Raises:
            StoreError: the store is out of order; nothing was begun.
        """
        if self.in_flight:
            return 0
        with self._store.write() as unit:
            due = unit.pictures.begin(self._now(), BATCH)
        if due:
            self.in_flight = 1
            self._pool.submit(self._look, due)
        return len(due)

    # -- in the worker -------------------------------------------------------------------------

    def _look(self, pictures: Sequence[Picture]) -> None:
        try:
            for picture in pictures:
                self._one(picture)
        except StoppedError:
            return
        except StoreError as error:
            self._log.error("picture_not_stored", error=str(error))
        finally:
            self._inbox.post(self._rest)

    def _one(self, picture: Picture) -> None:
        try:
            text = self._reader.read(self._fetch(picture.url))
        except PictureError as error:
            self._inbox.ask(partial(self._give_up, picture, str(error)))
        except ConnectorError as error:
            self._inbox.ask(partial(self._failed, picture, error))
        except StoppedError:
            raise
        except Exception:  # noqa: BLE001 - the border of an extra: one odd picture must not stop the rest
            self._log.exception("picture_failed", mention=picture.mention_id)
            self._inbox.ask(partial(self._give_up, picture, "the reader failed"))
        else:
            self._inbox.ask(partial(self._keep, picture, text))

    def _fetch(self, url: str) -> bytes:
        fetched = fetch_limited(
            self._http,
            url,
            headers={"Accept": "image/png, image/jpeg, image/webp, image/gif"},
            max_bytes=MOST_BYTES,
            total_seconds=FETCH_SECONDS,
        )
        if fetched.status != 200:  # noqa: PLR2004 - HTTP OK
            raise status_error(fetched, now=self._now())
        return fetched.body

    # -- in the main thread --------------------------------------------------------------------

    def _rest(self) -> None:
        self.in_flight = 0

    def _keep(self, picture: Picture, text: str) -> None:
        with self._store.write() as unit:
            kept = unit.pictures.found(picture, text)
        self._count("text" if text else "nothing")
        self._log.info("picture_read", mention=picture.mention_id, characters=len(text))
        if kept:
            self._found()

    def _failed(self, picture: Picture, error: ConnectorError) -> None:
        """Try again later, unless that is pointless or was often enough."""
        if error.permanent or picture.is_last_try:
            self._give_up(picture, str(error))
            return
        self._count("put_off")
        if error.retry_after is not None:
            with self._store.write() as unit:
                unit.pictures.later(picture, self._now() + error.retry_after)

    def _give_up(self, picture: Picture, why: str) -> None:
        with self._store.write() as unit:
            unit.pictures.drop(picture)
        self._count("given_up")
        self._log.warning(
            "picture_given_up", mention=picture.mention_id, tries=picture.tries, error=why
        )

    def _count(self, outcome: str) -> None:
        self._metrics.pictures.labels(outcome).inc()
