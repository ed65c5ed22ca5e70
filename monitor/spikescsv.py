"""The body of ``merkwacht spikes``: counts per bucket in, expectation and alarms out, row by row.

The very detector of the daemon, fed from a table. Nothing is stored; every line is written before
the next is read, so the command can sit in a pipe that never ends.
"""

from __future__ import annotations

import csv
import itertools
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TextIO

from alerts.spikes import SpikeDetector

_HEADER = ["timestamp", "value"]
_LOOK_AHEAD = 500
"""Rows read before the first is answered when the bucket is to be found out."""


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of the input, with its time understood."""

    line: int
    timestamp: str
    at: datetime
    text: str
    value: float


class _BadRow(Exception):
    """A row that cannot be used; the message says why."""


def run(source: TextIO, sink: TextIO, *, bucket: timedelta | None, timezone: str) -> int:
    """Read ``timestamp,value`` rows and write ``timestamp,value,expected,score,alert`` rows.

    Args:
        source: CSV with a header. Timestamps are ISO 8601; without an offset they are UTC.
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
    faults: list[str] = []
    rows = _rows(reader, faults)
    if bucket is None:
        first = list(itertools.islice(rows, _LOOK_AHEAD))
        rows = itertools.chain(first, rows)
        bucket = commonest_step([row.at for row in first])
    try:
        detector = SpikeDetector(bucket=bucket, timezone=timezone)
    except ValueError as error:
        _complain(f"{error}; give the bucket that the rows are counted in")
        return 2
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow([*_HEADER, "expected", "score", "alert"])
    for row in rows:
        try:
            verdict = detector.advance(row.at, row.value)
        except ValueError as error:
            faults.append(f"line {row.line}: {error}")
            _complain(faults[-1])
            continue
        writer.writerow(
            [
                row.timestamp,
                row.text,
                f"{verdict.expected:.4g}",
                f"{verdict.score:.6f}",
                int(verdict.alert),
            ]
        )
        sink.flush()
    return 1 if faults else 0


def commonest_step(times: Iterable[datetime]) -> timedelta:
    """Commonest positive step between neighbours; five minutes when there is none."""
    steps = Counter(
        later - earlier for earlier, later in itertools.pairwise(times) if later > earlier
    )
    if not steps:
        return timedelta(minutes=5)
    return max(steps, key=lambda step: (steps[step], -step))


def _rows(reader: Iterator[list[str]], faults: list[str]) -> Iterator[_Row]:
    line = 1
    while True:
        line += 1
        try:
            cells = next(reader)
            if cells:
                yield _parse(line, cells)
        except StopIteration:
            return
        except (_BadRow, csv.Error) as error:
            faults.append(f"line {line}: {error}")
            _complain(faults[-1])


def _parse(line: int, cells: list[str]) -> _Row:
    if len(cells) != len(_HEADER):
        raise _BadRow(f"expected timestamp and value, found {len(cells)} columns")
    timestamp, text = cells[0].strip(), cells[1].strip()
    try:
        at = datetime.fromisoformat(timestamp)
    except ValueError:
        raise _BadRow(f"{timestamp[:50]!r} is no ISO 8601 time") from None
    try:
        value = float(text)
    except ValueError:
        raise _BadRow(f"{text[:50]!r} is no number") from None
    return _Row(line, timestamp, at if at.tzinfo else at.replace(tzinfo=UTC), text, value)


def _complain(message: str) -> None:
    sys.stderr.write(f"{message}\n")
