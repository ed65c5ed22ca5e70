"""Mention files for a backtest: line by line, in whatever order, with a word on each bad line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, TextIO

from connectors.base import Post
from connectors.mentionfile import MentionLineError, parse_line

MAX_LINE_BYTES = 2**20
"""A longer line is refused unread."""
_YEARS = range(1990, 2101)
_TELL_EVERY = 500


@dataclass(frozen=True, slots=True)
class Read:
    """One good line."""

    post: Post
    official_of: str | None = None
    """The brand whose own account wrote it, as `merkwacht export` says it: the handle is covered there."""


class Reader:
    """Reads files one after the other and counts.

    Args:
        files: mention files (JSON Lines).
        errors: gets ``{"line": …, "error": …}`` for each bad line; with several files also ``file``.
        progress: called with the number of bytes read so far.
        since: earlier posts are passed over.
        until: posts of this moment and later are passed over.
    """

    def __init__(
        self,
        files: Sequence[Path],
        *,
        errors: TextIO,
        progress: Callable[[int], object] = lambda _done: None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> None:
        self._files = files
        self._errors = errors
        self._progress = progress
        self._since = since
        self._until = until
        self.read = 0
        """Good lines within ``since`` and ``until``."""
        self.rejected = 0
        """Bad lines."""
        self.passed_over = 0
        """Good lines outside ``since`` and ``until``."""
        self.first: datetime | None = None
        self.last: datetime | None = None

    def __iter__(self) -> Iterator[Read]:
        """Raises OSError when a file cannot be read."""
        done = 0
        for path in self._files:
            with path.open("rb") as file:
                for number, raw in enumerate(_lines(file), start=1):
                    done += len(raw)
                    if number % _TELL_EVERY == 0:
                        self._progress(done)
                    if not raw.strip():
                        continue
                    try:
                        read = _read(raw)
                    except MentionLineError as error:
                        self._refuse(path, number, error)
                        continue
                    if self._wanted(read.post.published_at):
                        yield read
        self._progress(done)

    def _wanted(self, moment: datetime) -> bool:
        if (self._since is not None and moment < self._since) or (
            self._until is not None and moment >= self._until
        ):
            self.passed_over += 1
            return False
        self.read += 1
        if self.first is None or self.last is None:
            self.first = self.last = moment
        elif moment < self.first:
            self.first = moment
        elif moment > self.last:
            self.last = moment
        return True

    def _refuse(self, path: Path, number: int, error: MentionLineError) -> None:
        self.rejected += 1
        where = {"file": str(path)} if len(self._files) > 1 else {}
        word = {**where, "line": number, "error": str(error)}
        self._errors.write(json.dumps(word, ensure_ascii=False) + "\n")


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file; of one that is too long only the beginning."""
    while line := file.readline(MAX_LINE_BYTES + 1):
        rest = line
        while len(rest) > MAX_LINE_BYTES and not rest.endswith(b"\n"):
            rest = file.readline(MAX_LINE_BYTES + 1)
        yield line


def _read(raw: bytes) -> Read:
    if len(raw) > MAX_LINE_BYTES:
        raise MentionLineError(f"longer than {MAX_LINE_BYTES} bytes")
    post = parse_line(raw)
    if post.published_at.year not in _YEARS:
        raise MentionLineError(f"published_at: {post.published_at.year} is no year of a post")
    return Read(post, _official_of(raw) if b'"official"' in raw else None)


def _official_of(raw: bytes) -> str | None:
    value = json.loads(raw.decode("utf-8-sig"))
    brand = value.get("brand")
    return brand if value.get("official") is True and isinstance(brand, str) else None
