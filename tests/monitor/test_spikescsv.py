"""The body of ``merkwacht spikes``: a table of counts in, alarms out."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta

import pytest

from monitor.spikescsv import commonest_step, run

MONDAY = datetime(2026, 1, 5)  # noqa: DTZ001 - naive timestamps are what people have


def table(counts: list[int], *, step: timedelta = timedelta(hours=1)) -> str:
    rows = [f"{MONDAY + step * i},{count}" for i, count in enumerate(counts)]
    return "\n".join(["timestamp,value", *rows]) + "\n"


def answer(text: str, *, bucket: timedelta | None = None) -> tuple[int, list[dict[str, str]]]:
    sink = io.StringIO()
    status = run(io.StringIO(text), sink, bucket=bucket, timezone="UTC")
    return status, list(csv.DictReader(io.StringIO(sink.getvalue())))


WAVE = [5, 4, 3, 2, 1, 1, 2, 4, 7, 9, 10, 11, 11, 10, 9, 9, 8, 9, 10, 11, 10, 9, 8, 6]


def test_every_row_is_answered_with_its_own_timestamp_and_value() -> None:
    text = "timestamp,value\n2026-01-05 00:00:53,3\n2026-01-05T00:05:53+01:00,4.5\n"
    status, rows = answer(text, bucket=timedelta(minutes=5))
    assert status == 1  # The second is an hour earlier than the first: refused, not guessed.
    assert [(row["timestamp"], row["value"]) for row in rows] == [("2026-01-05 00:00:53", "3")]
    assert list(rows[0]) == ["timestamp", "value", "expected", "score", "alert"]


def test_a_burst_is_flagged_once_and_scores_above_a_half() -> None:
    counts = WAVE * 14
    counts[24 * 12 + 10 : 24 * 12 + 14] = [90, 95, 80, 60]
    status, rows = answer(table(counts))
    assert status == 0
    assert len(rows) == len(counts)
    flagged = [index for index, row in enumerate(rows) if row["alert"] == "1"]
    assert flagged == [24 * 12 + 10]
    assert float(rows[flagged[0]]["score"]) >= 0.5
    assert all(0 <= float(row["score"]) <= 1 for row in rows)
    assert float(rows[24 * 13 + 11]["expected"]) == pytest.approx(11, rel=0.3)


@pytest.mark.parametrize("cut", [1, 5, 11, 12, 13, 40, 200])
def test_a_row_depends_on_earlier_rows_only(cut: int) -> None:
    text = table(WAVE * 10)
    shorter = "".join(text.splitlines(keepends=True)[: cut + 1])
    assert answer(shorter)[1] == answer(text)[1][:cut]


def test_rows_are_answered_before_the_next_is_read() -> None:
    sink = io.StringIO()
    answered: list[int] = []

    class Slow(io.StringIO):
        def __next__(self) -> str:  # type: ignore[override]  # typeshed: bytes
            answered.append(len(sink.getvalue().splitlines()))
            return super().__next__()

    run(Slow(table(WAVE)), sink, bucket=None, timezone="UTC")
    assert answered[5:10] == [5, 6, 7, 8, 9]


def test_bad_rows_are_named_and_the_rest_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    text = (
        "timestamp,value\n2026-01-05,1\nyesterday,2\n2026-01-06,many\n2026-01-07,3,4\n"
        "2026-01-08,-5\n2026-01-08,nan\n2026-01-04,1\n\n2026-01-09,6\n"
    )
    status, rows = answer(text, bucket=timedelta(days=1))
    assert status == 1
    assert [row["timestamp"] for row in rows] == ["2026-01-05", "2026-01-09"]
    errors = capsys.readouterr().err.splitlines()
    assert [error.split(":")[0] for error in errors] == [f"line {n}" for n in (3, 4, 5, 6, 7, 8)]
    assert "'yesterday'" in errors[0]


@pytest.mark.parametrize("text", ["", "time,count\n2026-01-05,1\n", "2026-01-05,1\n"])
def test_another_header_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, rows = answer(text)
    assert (status, rows) == (2, [])
    assert "timestamp,value" in capsys.readouterr().err


def test_a_header_with_a_byte_order_mark_is_understood() -> None:
    status, rows = answer("\ufeff" + table(WAVE))
    assert (status, len(rows)) == (0, 24)


def test_gaps_are_no_zeros() -> None:
    lines = table(WAVE * 14).splitlines()
    parted = "\n".join(lines[: 24 * 7 + 1] + lines[24 * 10 + 1 :])
    status, rows = answer(parted)
    assert status == 0
    assert not any(row["alert"] == "1" for row in rows)
    assert float(rows[24 * 7 + 12]["expected"]) == pytest.approx(11, rel=0.3)


@pytest.mark.parametrize("at", [0, 5, 11, 12, 24 * 7])
def test_an_empty_value_is_a_gap_and_answered(at: int) -> None:
    lines = table(WAVE * 14).splitlines()
    empty = {at + 1, at + 3}
    holes = [line.split(",")[0] + "," if i in empty else line for i, line in enumerate(lines)]
    status, rows = answer("\n".join(holes), bucket=timedelta(hours=1))
    assert (status, len(rows)) == (0, 24 * 14)
    assert [(row["value"], row["score"], row["alert"]) for row in rows if not row["value"]] == [
        ("", "0.000000", "0")
    ] * 2
    left_out = [line for i, line in enumerate(lines) if i not in empty]
    others = answer("\n".join(left_out), bucket=timedelta(hours=1))[1]
    assert [row for row in rows if row["value"]] == others


def test_empty_values_do_not_hide_the_width_of_a_bucket() -> None:
    lines = table(WAVE * 2).splitlines()
    holes = [line.split(",")[0] + "," if 0 < i < 8 else line for i, line in enumerate(lines)]
    status, rows = answer("\n".join(holes))
    assert (status, len(rows)) == (0, 48)
    assert [float(row["expected"]) for row in rows[:7]] == [0.0] * 7


def test_more_than_can_be_counted_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    lines = table(WAVE * 2).splitlines()
    lines[20:22] = ["2026-01-05 19:00:00,1e16", "2026-01-05 20:00:00,inf"]
    status, rows = answer("\n".join(lines))
    assert (status, len(rows)) == (1, 46)
    assert [line.split(":")[0] for line in capsys.readouterr().err.splitlines()] == [
        "line 21",
        "line 22",
    ]


def test_the_bucket_is_the_commonest_step_and_at_most_a_day() -> None:
    minutes = [0, 5, 10, 25, 30, 35]
    times = [datetime(2026, 1, 5, tzinfo=UTC) + timedelta(minutes=m) for m in minutes]
    assert commonest_step(times) == timedelta(minutes=5)
    weeks = [datetime(2026, 1, 5, tzinfo=UTC) + timedelta(weeks=w) for w in range(3)]
    assert commonest_step(weeks) == timedelta(days=1)
