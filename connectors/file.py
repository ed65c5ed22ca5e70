"""Mention files on disk: a JSON Lines file, or a directory of them, followed as they grow.

For exports of other tools, for tests, and for sources that somebody else's program collects. It
reads what is complete and remembers where it stopped; it does not watch the disk between polls.
"""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Literal

from pydantic import Field

from connectors.base import (
    ConnectorError,
    Context,
    Cursor,
    Page,
    Reject,
    SourceFault,
)
from connectors.mentionfile import Lot, MentionLineError, read_line
from connectors.options import Options as BaseOptions
from connectors.plaintext import one_line

_PROBE_BYTES = 256
_EXCERPT_CHARACTERS = 500


class FileOptions(BaseOptions):
    """Options of a source of kind ``file``."""

    kind: Literal["file"] = "file"
    path: Path
    """A JSON Lines file, or a directory whose `*.jsonl` files are read in order of their names.
    Required."""
    page_lines: int = Field(default=500, ge=1, le=10_000)
    """Lines that are stored together, in one transaction. Default 500."""
    max_line_bytes: int = Field(default=2**20, ge=1024, le=64 * 2**20)
    """A longer line, in bytes, is set aside as unreadable. Default 1048576."""


@dataclass(frozen=True, slots=True)
class _Place:
    """How far one file was read, and how to tell that it still is the same file.

    ``head`` and ``tail`` are fingerprints of the first bytes and of those right before ``offset``.
    They tell a file that grew from one that was truncated, rotated or written anew, even where the
    new one is longer; unlike inode numbers they survive copying and are not given out twice.
    """

    offset: int = 0
    head: str = ""
    tail: str = ""
    skipping: bool = False
    """Inside a line that is too long and not finished yet."""

    @classmethod
    def at(cls, file: BinaryIO, offset: int, *, skipping: bool = False) -> _Place:
        width = min(offset, _PROBE_BYTES)
        head, tail = _fingerprint(file, 0, width), _fingerprint(file, offset - width, width)
        return cls(offset, head, tail, skipping)

    def still_fits(self, file: BinaryIO, size: int) -> bool:
        """Whether the bytes read so far are still there."""
        return self.offset <= size and self == _Place.at(file, self.offset, skipping=self.skipping)


def _fingerprint(file: BinaryIO, start: int, width: int) -> str:
    file.seek(start)
    return hashlib.blake2b(file.read(width), digest_size=8).hexdigest()


class FileConnector:
    """Reads mention files. Nothing is written to them or moved."""

    kind: ClassVar[str] = "file"
    Options: ClassVar[type[BaseOptions]] = FileOptions

    def __init__(self, options: FileOptions, context: Context) -> None:
        self._options = options
        self._context = context

    def fetch(self, cursor: Cursor | None) -> Iterator[Page]:
        """Yield the lines that are new, file by file. See :class:`connectors.base.Connector`.

        A file that cannot be read does not hold up the others; it is reported at the end.
        """
        files = self._files()
        known: Mapping[str, Any] = (cursor or {}).get("files", {})
        places = {path.name: _place(known.get(path.name)) for path in files}
        trouble: ConnectorError | None = None
        for path in files:
            try:
                for lot, place in self._read(path, places[path.name]):
                    places[path.name] = place
                    yield lot.page(_cursor(places))
            except OSError as error:
                trouble = trouble or _os_trouble(path, error)
        yield Page((), _cursor(places))
        if trouble is not None:
            raise trouble

    def close(self) -> None:
        """Nothing is kept open between polls."""

    def _files(self) -> list[Path]:
        path = self._options.path.expanduser()
        try:
            mode = path.stat().st_mode
            if stat.S_ISDIR(mode):
                found = sorted(one for one in path.iterdir() if one.suffix == ".jsonl")
                return [one for one in found if one.is_file()]
        except OSError as error:
            raise _os_trouble(path, error) from error
        if not stat.S_ISREG(mode):
            raise ConnectorError(
                f"{path} is neither a file nor a directory: correct `path`",
                fault=SourceFault.BAD_RESPONSE,
                permanent=True,
            )
        return [path]

    def _read(self, path: Path, place: _Place) -> Iterator[tuple[Lot, _Place]]:
        """Yield what one file adds, a page at a time, with the place after it."""
        with path.open("rb") as file:
            if not place.still_fits(file, path.stat().st_size):
                place = _Place()
            file.seek(place.offset)
            lines = _Lines(file, self._options.max_line_bytes, skipping=place.skipping)
            while True:
                lot = self._lot(lines)
                after = _Place.at(file, lines.offset, skipping=lines.skipping)
                if after != place:
                    yield lot, after
                if lines.exhausted:
                    return
                place = after
                file.seek(place.offset)

    def _lot(self, lines: _Lines) -> Lot:
        lot = Lot()
        while len(lot) < self._options.page_lines:
            line = lines.next()
            if line is None:
                break
            if isinstance(line, Reject):
                lot.rejects.append(line)
                continue
            try:
                lot.add(read_line(line))
            except MentionLineError as error:
                lot.rejects.append(Reject(str(error), _excerpt(line)))
        return lot


class _Lines:
    """Complete lines of a file from where it stands, with memory for one line only."""

    def __init__(self, file: BinaryIO, max_bytes: int, *, skipping: bool) -> None:
        self._file = file
        self._max_bytes = max_bytes
        self.offset = file.tell()
        """Behind the last line that was given out."""
        self.skipping = skipping
        self.exhausted = False

    def next(self) -> bytes | Reject | None:
        """Give the next line that is not blank, a reject for one too long, None at the end."""
        while True:
            line = self._file.readline(self._max_bytes + 1)
            ended = line.endswith(b"\n")
            if self.skipping:
                self.offset += len(line)
                self.skipping = not ended
                if line:
                    continue
            elif len(line) > self._max_bytes and not ended:
                self.offset += len(line)
                self.skipping = True
                return Reject(f"a line of more than {self._max_bytes} bytes", _excerpt(line))
            elif ended or _is_whole(line):
                self.offset += len(line)
                if line.strip():
                    return line
                continue
            self.exhausted = True
            return None


def _is_whole(line: bytes) -> bool:
    """Whether a last line without a line break is finished all the same.

    No beginning of a JSON object is itself one, so what parses was not cut off. Anything else
    waits for the rest.
    """
    if not line.rstrip().endswith(b"}"):
        return False
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _excerpt(line: bytes) -> str:
    return one_line(line[: 4 * _EXCERPT_CHARACTERS].decode(errors="replace"), _EXCERPT_CHARACTERS)


def _place(known: Mapping[str, Any] | None) -> _Place:
    return _Place(**known) if known else _Place()


def _cursor(places: Mapping[str, _Place]) -> Cursor:
    return {
        "files": {
            name: {
                "offset": place.offset,
                "head": place.head,
                "tail": place.tail,
                "skipping": place.skipping,
            }
            for name, place in places.items()
            if place != _Place()
        }
    }


def _os_trouble(path: Path, error: OSError) -> ConnectorError:
    why = error.strerror or type(error).__name__
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return ConnectorError(
            f"{path}: {why}: put the file there or correct `path`", fault=SourceFault.NOT_FOUND
        )
    if isinstance(error, PermissionError):
        return ConnectorError(
            f"{path}: {why}: let the user of the daemon read it",
            fault=SourceFault.FORBIDDEN,
            permanent=True,
        )
    return ConnectorError(f"{path}: {why}", fault=SourceFault.UNREACHABLE)
