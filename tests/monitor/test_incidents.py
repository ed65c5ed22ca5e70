"""Incidents in the store: their life, their sealed history, what they take in and what they keep."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy

from alerts.base import IncidentState, Reason, Severity, Signal, SignalKind
from alerts.clocks import Clock, ClockState
from alerts.history import Entry, Happened, standing
from alerts.ledger import Head
from monitor import database
from monitor.store import Store
from monitor.store.evidence import LIMIT
from monitor.store.incidents import RefusedError
from tests.monitor.make import NOON, add_incident, fresh_store, new_mention, new_signal, sql

LATER = NOON + timedelta(hours=1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = fresh_store(tmp_path)
    with made.write() as unit:
        unit.mentions.add(
            [new_mention(1, text="Het wachtwoord is Hoek2026!"), new_mention(2)], NOON
        )
    yield made
    made.close()


def signal(key: str, *, subject: str, severity: Severity, mentions: tuple[int, ...]) -> Signal:
    return Signal(SignalKind.LEAK, "Zonnehoek", severity, key, subject, NOON, mentions)


def opened(store: Store, key: str, *mentions: int, severity: Severity = Severity.HIGH) -> int:
    wanted = signal(key, subject=key, severity=severity, mentions=mentions)
    with store.write() as unit:
        incident = unit.incidents.open(wanted, NOON)
        return unit.incidents.join(incident.id, wanted, NOON).id


def tampered(store: Store, *statements: str) -> None:
    """Behind the store's back, as somebody who knows SQLite would."""
    with closing(sqlite3.connect(store.path, isolation_level=None)) as there:
        triggers = there.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
        for name, _ in (kept := triggers.fetchall()):
            there.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            there.execute(statement)
        for _, text in kept:
            there.execute(text)


# -- a life ----------------------------------------------------------------------------------------


def test_an_incident_lives_from_open_to_reviewed(store: Store) -> None:
    number = opened(store, "a", 1)
    with store.write() as unit:
        assert unit.incidents.acknowledge(number, "eva", NOON)
        unit.incidents.record(number, Happened.FIRST_STATEMENT, "eva", LATER)
        assert unit.incidents.resolve(number, "eva", LATER)
        unit.incidents.review(number, "tom", LATER, "Worked: fast")
    with store.read() as unit:
        found, life = unit.incidents.get(number), unit.incidents.life(number)
        entries = unit.incidents.entries(number)
    assert found is not None
    assert life is not None
    assert found.state is IncidentState.REVIEWED
    assert (life.resolved_at, life.reviewed_at) == (LATER, LATER)
    stands = standing(entries, LATER)
    assert stands is not None
    assert stands.state is IncidentState.REVIEWED, "the history tells the same as the row"
    assert [entry.what for entry in entries] == [
        Happened.OPENED, Happened.ACKNOWLEDGED, Happened.FIRST_STATEMENT, Happened.RESOLVED,
        Happened.REVIEWED,
    ]  # fmt: skip


def test_what_is_given_back_is_open_and_begins_anew(store: Store) -> None:
    number = opened(store, "a", 1)
    with store.write() as unit:
        with pytest.raises(RefusedError, match="nobody has taken it"):
            unit.incidents.release(number, "eva", NOON)
        unit.incidents.acknowledge(number, "eva", NOON)
        unit.incidents.release(number, "eva", LATER)
        found, entries = unit.incidents.get(number), unit.incidents.entries(number)
    assert found is not None
    assert (found.state, found.acknowledged_by) == (IncidentState.OPEN, None)
    stands = standing(entries, LATER)
    assert stands is not None
    assert (stands.beginning, stands.since) == (2, LATER)


def test_what_is_assigned_goes_to_another_and_names_both(store: Store) -> None:
    number = opened(store, "a", 1)
    with store.write() as unit:
        unit.incidents.assign(number, "tom", "eva", NOON)
        assert unit.incidents.get(number).state is IncidentState.OPEN  # type: ignore[union-attr]
        unit.incidents.acknowledge(number, "tom", NOON)
        unit.incidents.assign(number, "ada", "tom", LATER)
        line = unit.incidents.history(number)[-1]
        stands = standing(unit.incidents.entries(number), LATER)
    assert (line.actor, line.receiver) == ("tom", "ada")
    assert stands is not None
    assert stands.taken_by == "ada"


def test_what_is_reopened_may_be_acknowledged_again_and_does_not_go_quiet_at_once(
    store: Store,
) -> None:
    number = opened(store, "a", 1)
    week = NOON + timedelta(days=7)
    with store.write() as unit:
        with pytest.raises(RefusedError, match="it is not over"):
            unit.incidents.reopen(number, "eva", NOON)
        unit.incidents.acknowledge(number, "eva", NOON)
        unit.incidents.record(number, Happened.ANSWERED, "eva", NOON)
        unit.incidents.resolve(number, "eva", NOON)
        found = unit.incidents.reopen(number, "eva", week)
        assert (found.state, found.last_signal_at) == (IncidentState.OPEN, week)
        assert unit.incidents.acknowledge(number, "tom", week)
        # The second life has an answer of its own.
        unit.incidents.record(number, Happened.ANSWERED, "tom", week)
        with pytest.raises(RefusedError, match="recorded already, by tom"):
            unit.incidents.record(number, Happened.ANSWERED, "tom", week)


def test_an_incident_is_not_reviewed_before_it_is_over_nor_without_words(store: Store) -> None:
    number = opened(store, "a", 1)
    with store.write() as unit:
        with pytest.raises(RefusedError, match="resolve it first"):
            unit.incidents.review(number, "eva", NOON, "Worked: all")
        unit.incidents.resolve(number, "eva", NOON)
        with pytest.raises(RefusedError, match="what worked"):
            unit.incidents.review(number, "eva", NOON, " \n")


def test_every_act_has_the_daemon_look_at_once(store: Store) -> None:
    number = opened(store, "a", 1)
    acts = [
        lambda it, now: it.acknowledge(number, "eva", now),
        lambda it, now: it.record(number, Happened.NOTED, "eva", now, "seen"),
        lambda it, now: it.release(number, "eva", now),
        lambda it, now: it.resolve(number, "eva", now),
        lambda it, now: it.reopen(number, "eva", now),
    ]
    for minutes, act in enumerate(acts, start=1):
        now = NOON + timedelta(minutes=minutes)
        with store.write() as unit:
            act(unit.incidents, now)
        with store.read() as unit:
            life = unit.incidents.life(number)
        assert life is not None
        assert life.next_look_at == now


def test_what_the_daemon_told_comes_back_as_it_went_in(store: Store) -> None:
    number = opened(store, "a", 1)
    told = Entry(LATER, Happened.TOLD, "crisis team", "chain:1.1.1", Reason.ESCALATED, 0)
    passed = Entry(LATER, Happened.PASSED, "", "chain:1.1.2", Reason.WRONG_HOURS, 1)
    with store.write() as unit:
        unit.incidents.append(number, told)
        unit.incidents.append(number, passed)
    with store.read() as unit:
        assert unit.incidents.entries(number)[-2:] == [told, passed]
        lines = unit.incidents.history(number)[-2:]
    assert [(line.actor, line.receiver) for line in lines] == [
        ("merkwacht", "crisis team"),
        ("merkwacht", ""),
    ]


# -- merging ---------------------------------------------------------------------------------------


def test_what_is_merged_is_closed_and_read_with_the_other(store: Store) -> None:
    one, other = opened(store, "a", 1), opened(store, "b", 2, severity=Severity.CRITICAL)
    with store.write() as unit:
        incident, graver = unit.incidents.merge(one, other, "eva", LATER, "same leak")
    assert graver
    assert incident.severity is Severity.CRITICAL
    with store.read() as unit:
        assert unit.incidents.family(one) == [one, other]
        assert {each.key for each in unit.incidents.signals(one)} == {"a", "b"}
        assert unit.incidents.exhibits(one, 9)[1] == 2
        part, life = unit.incidents.get(other), unit.incidents.life(other)
        assert [line.event for line in unit.incidents.history(other)][-1] == "resolved"
        stands = standing(unit.incidents.entries(other), LATER)
    assert part is not None
    assert life is not None
    assert (part.state, life.merged_into) == (IncidentState.RESOLVED, one)
    assert stands is not None
    assert stands.state is IncidentState.RESOLVED, "nobody is paged for it any more"


def test_what_would_have_joined_the_merged_one_joins_the_whole(store: Store) -> None:
    one, other, third = opened(store, "a", 1), opened(store, "b", 2), opened(store, "c")
    with store.write() as unit:
        unit.incidents.merge(other, third, "eva", NOON)
        unit.incidents.merge(one, other, "eva", NOON)
        for subject in ("a", "b", "c"):
            assert [each.id for each in unit.incidents.mates("Zonnehoek", subject)] == [one]
        unit.incidents.resolve(one, "eva", NOON)
        assert unit.incidents.mates("Zonnehoek", "c") == []


def test_merging_is_refused_where_something_would_get_lost(store: Store) -> None:
    one, other = opened(store, "a", 1), opened(store, "b", 2)
    with store.write() as unit:
        with pytest.raises(RefusedError, match="part of itself"):
            unit.incidents.merge(one, one, "eva", NOON)
        with pytest.raises(RefusedError, match="there is no incident 77"):
            unit.incidents.merge(one, 77, "eva", NOON)
        unit.incidents.merge(one, other, "eva", NOON)
        for again in (
            lambda: unit.incidents.merge(one, other, "eva", NOON),
            lambda: unit.incidents.reopen(other, "eva", NOON),
            lambda: unit.incidents.review(other, "eva", NOON, "Worked: x"),
        ):
            with pytest.raises(RefusedError, match=f"part of incident {one}"):
                again()
        unit.incidents.resolve(one, "eva", NOON)
        third = unit.incidents.open(new_signal("d"), NOON)
        with pytest.raises(RefusedError, match="reopen it first"):
            unit.incidents.merge(one, third.id, "eva", NOON)


def clock(store: Store, number: int, *, started: datetime, name: str = "crisis") -> None:
    with store.write() as unit:
        due = started + timedelta(hours=1)
        unit.following.start(number, Clock(name, started, due), "leak")


def test_the_clock_of_what_is_merged_runs_on_in_the_whole(store: Store) -> None:
    one, other = opened(store, "a", 1), opened(store, "b", 2)
    clock(store, other, started=NOON)
    with store.write() as unit:
        unit.incidents.merge(one, other, "eva", LATER)
    with store.read() as unit:
        (run,) = unit.following.clocks(one)
    assert (run.name, run.started_at, run.outcome) == ("crisis", NOON, ClockState.RUNNING)


def test_a_clock_that_starts_later_wants_a_statement_of_its_own(store: Store) -> None:
    number = opened(store, "a", 1)
    with store.write() as unit:
        unit.incidents.record(number, Happened.FIRST_STATEMENT, "eva", NOON)
        with pytest.raises(RefusedError, match="recorded already"):
            unit.incidents.record(number, Happened.FIRST_STATEMENT, "eva", LATER)
    clock(store, number, started=NOON + timedelta(minutes=1))
    with store.write() as unit:
        unit.incidents.record(number, Happened.FIRST_STATEMENT, "eva", LATER)
        with pytest.raises(RefusedError, match="recorded already"):
            unit.incidents.record(number, Happened.FIRST_STATEMENT, "eva", LATER)


def test_nobody_gains_time_by_merging(store: Store) -> None:
    one, other = opened(store, "a", 1), opened(store, "b", 2)
    clock(store, one, started=LATER)
    clock(store, other, started=NOON)
    with store.write() as unit, pytest.raises(RefusedError, match=f"merge {one} into {other}"):
        unit.incidents.merge(one, other, "eva", LATER)
    with store.write() as unit:
        unit.incidents.merge(other, one, "eva", LATER)
    with store.read() as unit:
        assert [run.started_at for run in unit.following.clocks(other)] == [NOON]


# -- the sealed history ----------------------------------------------------------------------------


def written(store: Store) -> Head:
    """Two incidents with some life in them, over several transactions."""
    for key in ("a", "b"):
        number = opened(store, key, 1)
        with store.write() as unit:
            unit.incidents.acknowledge(number, "eva", NOON)
            unit.incidents.record(number, Happened.NOTED, "eva", LATER, "naïef – “ja”")
    with store.write() as unit:
        unit.incidents.resolve(1, "tom", LATER)
    with store.read() as unit:
        return unit.incidents.chain.head()


def flaw(store: Store) -> tuple[int | None, int | None] | None:
    with store.read() as unit:
        found = unit.incidents.chain.verify().flaw
    return None if found is None else (found.line, found.incident_id)


def test_a_history_fits_over_transactions_incidents_and_restarts(store: Store) -> None:
    head = written(store)
    assert head.lines == 7
    assert flaw(store) is None
    again = Store(store.path)
    with again.write() as unit:
        unit.incidents.record(2, Happened.NOTED, "ada", LATER)
    with again.read() as unit:
        found = unit.incidents.chain.verify(noted=head)
    again.close()
    assert (found.flaw, found.head.lines) == (None, 8)


@pytest.mark.parametrize(
    ("statement", "line"),
    [
        ("UPDATE incident_event SET note = 'nothing' WHERE id = 3", (3, 1)),
        ("UPDATE incident_event SET at = '2026-11-09 10:00:00.000000' WHERE id = 2", (2, 1)),
        ("UPDATE incident_event SET actor = 'ada' WHERE id = 5", (5, 2)),
        ("UPDATE incident_event SET incident_id = 1 WHERE id = 6", (6, 1)),
        ("DELETE FROM incident_event WHERE id = 1", (2, 1)),
        # The last line of incident 2: what was written next of another one misses it.
        ("DELETE FROM incident_event WHERE id = 6", (7, 1)),
        ("DELETE FROM incident_event WHERE id = 7", (None, None)),
        ("DELETE FROM incident_event", (None, None)),
        ("UPDATE meta SET value = '6:' || substr(value, 3) WHERE key = 'history_head'", (None, None)),
        ("UPDATE meta SET value = 'x' WHERE key = 'history_head'", (None, None)),
        ("DELETE FROM meta WHERE key = 'history_head'", (None, None)),
    ],
)  # fmt: skip
def test_tampering_is_found_at_its_line(
    store: Store, statement: str, line: tuple[int | None, int | None]
) -> None:
    written(store)
    tampered(store, statement)
    assert flaw(store) == line


def test_a_gap_at_the_end_is_found_also_after_more_was_written(store: Store) -> None:
    written(store)
    tampered(
        store,
        "DELETE FROM incident_event WHERE id = 7",
        "DELETE FROM meta WHERE key = 'history_head'",
    )
    with store.write() as unit:
        unit.incidents.record(2, Happened.NOTED, "ada", LATER)
    assert flaw(store) == (7, 2)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE incident_event SET note = '' WHERE id = 1",
        "DELETE FROM incident_event WHERE id = 1",
        "INSERT OR REPLACE INTO incident_event SELECT * FROM incident_event WHERE id = 1",
        "DELETE FROM evidence",
        "UPDATE evidence SET digest = ''",
    ],
)
def test_the_database_itself_refuses_to_change_what_happened(store: Store, statement: str) -> None:
    written(store)
    with pytest.raises(sqlite3.IntegrityError, match=r"only ever appended|evidence"):
        sql(store.path, statement)
    assert flaw(store) is None


def test_a_transaction_that_fails_leaves_no_gap(store: Store) -> None:
    number = opened(store, "a", 1)

    def power_cut() -> None:
        with store.write() as unit:
            unit.incidents.acknowledge(number, "eva", NOON)
            unit.flush()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        power_cut()
    with store.write() as unit:
        assert unit.incidents.acknowledge(number, "tom", NOON)
    assert flaw(store) is None


def test_retention_leaves_the_history_and_the_evidence(store: Store) -> None:
    number = opened(store, "a", 1)
    with store.write() as unit:
        unit.incidents.resolve(number, "eva", LATER)
        assert unit.mentions.purge(NOON + timedelta(days=1), keep_states=(), limit=10) == 2
    with store.read() as unit:
        assert len(unit.incidents.history(number)) == 2
        (piece,) = unit.incidents.evidence.of([number])
        assert unit.incidents.evidence.there([piece.mention_id]) == set()
        assert unit.incidents.evidence.verify().flaw is None
    assert piece.text == "Het wachtwoord is Hoek2026!"
    assert flaw(store) is None


def test_what_was_written_before_there_was_a_chain_is_sealed_by_the_upgrade(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    path.touch()
    engine = sqlalchemy.create_engine(f"sqlite:///{path}", connect_args={"timeout": 5})
    database._install_pragmas(engine)
    database._upgrade(engine, revision="0004")
    engine.dispose()
    sql(
        path,
        "INSERT INTO incident (brand, kind, severity, state, subject, opened_at, last_signal_at)"
        " VALUES ('Acme', 'leak', 3, 'open', 's', '2026-11-09 08:00:00.000000',"
        " '2026-11-09 08:00:00.000000')",
    )
    for number, event in enumerate(("opened", "acknowledged"), start=1):
        sql(
            path,
            "INSERT INTO incident_event (id, incident_id, at, actor, event, note)"
            " VALUES (?, 1, '2026-11-09 08:00:00.123456', 'eva', ?, 'één')",
            number,
            event,
        )
    upgraded = Store(path)
    with upgraded.write() as unit:
        assert unit.incidents.chain.verify().flaw is None
        unit.incidents.record(1, Happened.NOTED, "eva", LATER)
    assert flaw(upgraded) is None
    tampered(upgraded, "UPDATE incident_event SET note = 'twee' WHERE id = 1")
    assert flaw(upgraded) == (1, 1)
    upgraded.close()


# -- evidence --------------------------------------------------------------------------------------


def test_joining_keeps_what_a_post_said_whoever_forgets_to(store: Store) -> None:
    number = opened(store, "a", 1)
    with store.write() as unit:
        unit.incidents.link(number, [1, 2])
        unit.incidents.link(number, [1, 2])
    with store.read() as unit:
        kept = unit.incidents.evidence.of([number])
    assert [(piece.mention_id, piece.text) for piece in kept] == [
        (1, "Het wachtwoord is Hoek2026!"),
        (2, "Brood bij Zonnehoek."),
    ]
    assert kept[0].content["platform"] == "news"
    assert kept[0].content["author"] is None


def test_a_post_that_changes_is_kept_in_both_forms(store: Store) -> None:
    number = opened(store, "a", 1)
    with store.write() as unit:
        assert unit.incidents.evidence.keep_change(1, "Niets aan de hand.", LATER) == 1
        assert unit.incidents.evidence.keep_change(1, "Niets aan de hand.", LATER) == 0
        assert unit.incidents.evidence.keep_change(2, "Is nergens bewijs van.", LATER) == 0
    with store.read() as unit:
        texts = [piece.text for piece in unit.incidents.evidence.of([number])]
        assert unit.incidents.evidence.verify().flaw is None
    assert texts == ["Het wachtwoord is Hoek2026!", "Niets aan de hand."]


def test_two_who_keep_evidence_in_one_transaction_keep_one_chain(store: Store) -> None:
    number = opened(store, "a", 1)
    with store.write() as unit:
        unit.incidents.link(number, [2])
        edited = new_mention(1, text="Niets aan de hand.")
        unit.mentions.add([replace(edited, post=replace(edited.post, edited_at=LATER))], LATER)
        unit.mentions.add([new_mention(3)], LATER)
        newest = max(mention.id for mention, _ in unit.mentions.each(None, None))
        unit.incidents.link(number, [newest])
    with store.read() as unit:
        assert unit.incidents.evidence.verify().flaw is None
        texts = [piece.text for piece in unit.incidents.evidence.of([number])]
    assert texts[2:] == ["Niets aan de hand.", "Brood bij Zonnehoek."]


def test_what_its_platform_deleted_is_said_to_be_gone_and_kept(store: Store) -> None:
    number = opened(store, "a", 1)
    with store.write() as unit:
        assert unit.mentions.withdraw([("news", "p1")], ["Zonnehoek"], LATER) == 1
        assert unit.incidents.evidence.there([1, 2]) == {2}
        (kept,) = unit.incidents.evidence.of([number])
    assert kept.text == "Het wachtwoord is Hoek2026!"


def test_of_a_flood_the_first_posts_are_kept(store: Store) -> None:
    with store.write() as unit:
        unit.mentions.add([new_mention(n) for n in range(10, LIMIT + 30)], NOON)
    number = opened(store, "a", *range(1, LIMIT + 20))
    with store.write() as unit:
        unit.incidents.link(number, range(1, LIMIT + 22))
    with store.read() as unit:
        assert unit.incidents.evidence.count(number) == LIMIT
        assert unit.incidents.exhibits(number, 1)[1] == LIMIT + 21
        assert unit.incidents.evidence.verify().flaw is None


def test_evidence_goes_when_its_time_has_come_and_its_seal_stays(store: Store) -> None:
    held, over = opened(store, "a", 1), opened(store, "b", 2)
    with store.write() as unit:
        unit.incidents.resolve(over, "eva", NOON)
        before = unit.incidents.evidence.of([over])[0].sha256
        year = NOON + timedelta(days=366)
        assert unit.incidents.forget_evidence(year, year, limit=9) == {over: 1}
        assert unit.incidents.forget_evidence(year, year, limit=9) == {}
    with store.read() as unit:
        (gone,) = unit.incidents.evidence.of([over])
        (kept,) = unit.incidents.evidence.of([held])
        assert unit.incidents.evidence.verify().flaw is None
        assert unit.incidents.history(over)[-1].event == "forgotten"
    assert (gone.text, gone.sha256, kept.text) == ("", before, "Het wachtwoord is Hoek2026!")
    assert gone.forgotten_at is not None


def test_what_is_forgotten_is_gone_from_the_file(store: Store) -> None:
    number = opened(store, "a", 1)
    store.close()
    assert b"Hoek2026!" in store.path.read_bytes()
    with store.write() as unit:
        unit.incidents.resolve(number, "eva", NOON)
        unit.mentions.purge(LATER, keep_states=(), limit=9)
        assert unit.incidents.forget_evidence(LATER, LATER, limit=9) == {number: 1}
    store.close()
    raw = [path.read_bytes() for path in store.path.parent.glob("merkwacht.db*")]
    assert not any(b"Hoek2026!" in each for each in raw)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE evidence SET content = json_set(content, '$.text', 'Niets') WHERE id = 1",
        "DELETE FROM evidence WHERE id = 1",
        "DELETE FROM evidence WHERE id = 2",
        "UPDATE evidence SET at = '2026-11-09 10:00:00.000000' WHERE id = 2",
        "DELETE FROM meta WHERE key = 'evidence_head'",
    ],
)
def test_tampering_with_evidence_is_found(store: Store, statement: str) -> None:
    opened(store, "a", 1, 2)
    with store.read() as unit:
        assert unit.incidents.evidence.verify().flaw is None
    tampered(store, statement)
    with store.read() as unit:
        assert unit.incidents.evidence.verify().flaw is not None


def test_an_author_who_is_to_be_forgotten_is_forgotten_in_evidence_too(store: Store) -> None:
    number = opened(store, "a", 1)
    with store.write() as unit:
        assert unit.incidents.evidence.forget_author("nobody", LATER) == {}
    tampered(store, "UPDATE mention SET author = 'c0ffee' WHERE id = 2")
    with store.write() as unit:
        unit.incidents.link(number, [2])
        assert unit.incidents.evidence.forget_author("c0ffee", LATER) == {number: 1}
    with store.read() as unit:
        assert [bool(piece.text) for piece in unit.incidents.evidence.of([number])] == [True, False]
        assert unit.incidents.evidence.verify().flaw is None


def test_another_incident_keeps_its_own(store: Store) -> None:
    one = add_incident(store, 1, key="x")
    other = opened(store, "b", 1)
    with store.read() as unit:
        assert len(unit.incidents.evidence.of([one.id])) == 1
        assert len(unit.incidents.evidence.of([other])) == 1
