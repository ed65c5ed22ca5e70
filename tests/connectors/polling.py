"""Polls a connector as the daemon does, keeping the cursor of the last page as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from connectors.base import Connector, ConnectorError, Cursor, Page, Post


class Polling:
    """What the pollers of all sources share.

    Args:
        connector: gives the connector of the next poll; a fresh one where each is a new process.
    """

    def __init__(self, connector: Callable[[], Connector]) -> None:
        self._next = connector
        self.cursor: Cursor | None = None
        self.rejects: list[str] = []

    def restart(self) -> None:
        """Begin anew after a death, where the connector outlives its polls."""

    def pages(self, *, die_after: int | None = None) -> list[Page]:
        """Poll; perhaps die before page number ``die_after`` is stored."""
        pages: list[Page] = []
        for page in self._next().fetch(self.cursor):
            if len(pages) == die_after:
                self.restart()
                break
            self.cursor = json.loads(json.dumps(page.cursor))
            self.rejects += [reject.reason for reject in page.rejects]
            pages.append(page)
        return pages

    def posts(self) -> list[Post]:
        return [post for page in self.pages() for post in page.posts]

    def ids(self) -> list[str]:
        return [post.id for post in self.posts()]

    def fault(self) -> ConnectorError:
        with pytest.raises(ConnectorError) as caught:
            self.pages()
        return caught.value
