"""The body of ``merkwacht spikes``: counts per bucket in, expectation and alarms out, row by row.

The very detector of the daemon, fed from a table. Nothing is stored; every line is written before
the next is read, so the command can sit in a pipe that never ends.
"""

from __future__ import annotations

import csv
import itertools
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TextIO

from alerts.spikes import SpikeDetector, SpikeVerdict, check_count

_HEADER = ["timestamp", "value"]
_FIRST_ROWS = 12
"""Rows that the length of a bucket is read from when it is not given. They score 0: a row never
depends on a later one."""


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of the input, with its time understood."""

    timestamp: str
    at: datetime
    text: str
    value: float | None
    """None where nothing was counted: a gap, not a zero."""


def run(source: TextIO, sink: TextIO, *, bucket: timedelta | None, timezone: str) -> int:
    """Read ``timestamp,value`` rows and write ``timestamp,value,expected,score,alert`` rows.

    Args:
        source: CSV with a header. Timestamps are ISO 8601; without an offset they are UTC. An empty
            value is a gap.
        sink: gets a header and one row for each good row, timestamp and value as they came.
        bucket: length of a bucket, or None for the commonest step between the first rows.
        timezone: IANA name that decides which hours and days are alike.

    Returns:
        Exit status: 0; 1 when rows were left out (each is named on stderr); 2 when the input is
        not such a table.
    """
    reader = csv.reader(source)
    header = next(reader, None)
    if header is None or [name.strip().lstrip("\ufeff") for name in header] != _HEADER:
        found = "nothing" if header is None else ",".join(header)
        _complain(f"line 1: expected the header {','.join(_HEADER)}, found {found[:100]}")
        return 2
    try:
        table = _Table(sink, bucket, timezone)
    except ValueError as error:
        _complain(str(error))
        return 2
    faults = 0
    line = 1
    while True:
        line += 1
        try:
            cells = next(reader)
            if cells:
                table.add(_parse(cells))
        except StopIteration:
            return 1 if faults else 0
        except (ValueError, csv.Error) as error:
            faults += 1
            _complain(f"line {line}: {error}")


class _Table:
    """The output, and the detector behind it once the length of a bucket is known."""

    def __init__(self, sink: TextIO, bucket: timedelta | None, timezone: str) -> None:
        self._sink = sink
        self._timezone = timezone
        self._first: list[_Row] = []
        self._detector = None if bucket is None else self._detect(bucket)
        self._writer = csv.writer(sink, lineterminator="\n")
        self._writer.writerow([*_HEADER, "expected", "score", "alert"])

    def _detect(self, bucket: timedelta) -> SpikeDetector:
        return SpikeDetector(bucket=bucket, timezone=self._timezone)

    def add(self, row: _Row) -> None:
        """Answer one row. Raises ValueError when it cannot be: nothing is written then."""
        if self._detector is None:
            self._gather(row)
            return
        verdict = _advance(self._detector, row)
        self._write(row, verdict.expected, verdict.score, alert=verdict.alert)

    def _gather(self, row: _Row) -> None:
        """Answer a row before the length of a bucket is known, with the mean so far."""
        if row.value is not None:
            check_count(row.value)
        if self._first and row.at <= self._first[-1].at:
            raise ValueError(f"{row.timestamp} is not later than the row before")
        values = [before.value for before in self._first if before.value is not None]
        expected = sum(values) / len(values) if values else row.value or 0.0
        self._write(row, expected, 0.0, alert=False)
        self._first.append(row)
        if len(self._first) == _FIRST_ROWS:
            self._detector = self._detect(commonest_step([first.at for first in self._first]))
            for first in self._first:
                _advance(self._detector, first)

    def _write(self, row: _Row, expected: float, score: float, *, alert: bool) -> None:
        numbers = f"{expected:.4g}", f"{score:.6f}", int(alert)
        self._writer.writerow([row.timestamp, row.text, *numbers])
        self._sink.flush()


def _advance(detector: SpikeDetector, row: _Row) -> SpikeVerdict:
    return detector.advance(row.at, row.value or 0.0, covered=row.value is not None)


def commonest_step(times: Iterable[datetime]) -> timedelta:
    """Commonest step between neighbours, the shortest of equals, at most a day."""
    steps = Counter(
        later - earlier for earlier, later in itertools.pairwise(times) if later > earlier
    )
    return min(max(steps, key=lambda step: (steps[step], -step)), timedelta(days=1))


def _parse(cells: list[str]) -> _Row:
    if len(cells) != len(_HEADER):
        raise ValueError(f"expected timestamp and value, found {len(cells)} columns")
    timestamp, text = cells[0].strip(), cells[1].strip()
    try:
        at = datetime.fromisoformat(timestamp)
    except ValueError:
        raise ValueError(f"{timestamp[:50]!r} is no ISO 8601 time") from None
    try:
        value = float(text) if text else None
    except ValueError:
        raise ValueError(f"{text[:50]!r} is no number") from None
    return _Row(timestamp, at if at.tzinfo else at.replace(tzinfo=UTC), text, value)


def _complain(message: str) -> None:
    sys.stderr.write(f"{message}\n")
