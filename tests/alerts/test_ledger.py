"""The chained history: whatever happens to a line behind its back is found."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.ledger import EMPTY, Head, Line, canonical, digest, verify

NOON = datetime(2026, 11, 9, 11, 0, tzinfo=UTC)
WORDS = st.text(max_size=12)
CONTENTS = st.lists(
    st.tuples(
        st.integers(1, 4),
        st.timedeltas(timedelta(0), timedelta(days=400)),
        WORDS,
        st.sampled_from(["opened", "told", "noted", "acknowledged"]),
        WORDS,
        st.none() | st.integers(0, 3),
    ),
    min_size=1,
    max_size=9,
)


def chained(contents: list[tuple[int, timedelta, str, str, str, int | None]]) -> list:
    lines, before = [], EMPTY.digest
    for number, (incident, after, actor, event, note, level) in enumerate(contents, start=1):
        line = Line(number, incident, NOON + after, actor, event, note, level=level)
        before = digest(before, line)
        lines.append((line, before))
    return lines


def head_of(lines: list) -> Head:
    return Head(len(lines), lines[-1][1]) if lines else EMPTY


@given(CONTENTS)
def test_an_untouched_history_fits(contents: list) -> None:
    lines = chained(contents)
    found = verify(lines, head=head_of(lines))
    assert found.flaw is None
    assert found.head == head_of(lines)


def test_an_empty_history_fits() -> None:
    assert verify([], head=None).flaw is None
    assert verify([], head=EMPTY).flaw is None


CHANGES = st.one_of(
    st.tuples(st.just("actor"), WORDS),
    st.tuples(st.just("note"), WORDS),
    st.tuples(st.just("receiver"), WORDS),
    st.tuples(st.just("page"), WORDS),
    st.tuples(st.just("reason"), WORDS),
    st.tuples(st.just("event"), WORDS),
    st.tuples(st.just("level"), st.none() | st.integers(0, 9)),
    st.tuples(st.just("incident_id"), st.integers(1, 9)),
    st.tuples(st.just("id"), st.integers(1, 99)),
    st.tuples(st.just("at"), st.datetimes(timezones=st.just(UTC))),
)


@given(CONTENTS, st.data(), CHANGES)
def test_a_changed_line_is_named(contents: list, data: st.DataObject, change: tuple) -> None:
    lines = chained(contents)
    place = data.draw(st.integers(0, len(lines) - 1))
    line, carried = lines[place]
    name, value = change
    changed = replace(line, **{name: value})
    if changed == line:
        return
    lines[place] = (changed, carried)
    flaw = verify(lines, head=head_of(lines)).flaw
    assert flaw is not None
    assert flaw.line == changed.id


@given(CONTENTS, st.data())
def test_a_changed_digest_is_found(contents: list, data: st.DataObject) -> None:
    lines = chained(contents)
    place = data.draw(st.integers(0, len(lines) - 1))
    line, carried = lines[place]
    # Also when the digest fits its own line: the next one, or the head, does not fit it.
    lines[place] = (line, digest("f" * 64, line))
    assert lines[place][1] != carried
    assert verify(lines, head=head_of(chained(contents))).flaw is not None


@given(CONTENTS, st.data())
def test_a_removed_line_is_missed(contents: list, data: st.DataObject) -> None:
    lines = chained(contents)
    head = head_of(lines)
    del lines[data.draw(st.integers(0, len(lines) - 1))]
    assert verify(lines, head=head).flaw is not None


@given(CONTENTS, st.data())
def test_lines_that_changed_places_are_found(contents: list, data: st.DataObject) -> None:
    lines = chained(contents)
    one = data.draw(st.integers(0, len(lines) - 1))
    other = data.draw(st.integers(0, len(lines) - 1))
    if one == other:
        return
    head = head_of(lines)
    lines[one], lines[other] = lines[other], lines[one]
    assert verify(lines, head=head).flaw is not None


@given(CONTENTS, st.data())
def test_a_line_that_was_put_in_is_found(contents: list, data: st.DataObject) -> None:
    lines = chained(contents)
    head = head_of(lines)
    place = data.draw(st.integers(0, len(lines)))
    before = lines[place - 1][1] if place else EMPTY.digest
    forged = Line(place + 1, 1, NOON, "merkwacht", "acknowledged")
    lines.insert(place, (forged, digest(before, forged)))
    flaw = verify(lines, head=head).flaw
    assert flaw is not None


@given(CONTENTS, st.integers(1, 9))
def test_lines_that_are_gone_at_the_end_are_counted(contents: list, gone: int) -> None:
    lines = chained(contents)
    gone = min(gone, len(lines))
    flaw = verify(lines[:-gone], head=head_of(lines)).flaw
    assert flaw is not None
    assert flaw.line is None
    assert ("last line is gone" if gone == 1 else f"last {gone} lines are gone") in flaw.why


@given(CONTENTS, CONTENTS)
def test_a_history_written_anew_does_not_meet_the_head_noted_before(
    contents: list, others: list
) -> None:
    lines, anew = chained(contents), chained(others)
    noted = head_of(lines)
    grown = verify([*lines, *_more(lines)], head=None, noted=noted)
    assert grown.flaw is None
    if noted in [Head(place, carried) for place, (_, carried) in enumerate(anew, start=1)]:
        return
    found = verify(anew, head=head_of(anew), noted=noted)
    assert found.flaw is not None
    assert not found.passed


def _more(lines: list) -> list:
    line = Line(len(lines) + 1, 1, NOON, "eva", "noted", "later")
    return [(line, digest(lines[-1][1], line))]


def test_the_zone_of_a_moment_does_not_matter() -> None:
    line = Line(1, 1, NOON, "eva", "noted")
    there = replace(line, at=NOON.astimezone(timezone(timedelta(hours=5, minutes=45))))
    assert canonical(line) == canonical(there)


def test_a_naive_moment_is_refused() -> None:
    with pytest.raises(ValueError, match="naive"):
        digest(EMPTY.digest, Line(1, 1, NOON.replace(tzinfo=None), "eva", "noted"))


def test_the_canonical_text_stays_what_it_was() -> None:
    """Histories are older than programs: who changes this makes every history look forged."""
    line = Line(7, 3, NOON, "éva", "told", 'a "b"', "crisis", "chain:1.1.1", "escalated", 0)
    assert canonical(line) == (
        '{"actor":"\\u00e9va","at":"2026-11-09T11:00:00.000000+00:00","event":"told","form":1,'
        '"id":7,"incident":3,"level":0,"note":"a \\"b\\"","page":"chain:1.1.1",'
        '"reason":"escalated","receiver":"crisis"}'
    )
