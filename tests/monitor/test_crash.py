"""The small version of ``tests/crash.py``: real processes, SIGKILL, nothing lost."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from tests.crash import Ordeal, verify_deliveries, verify_store


def test_a_daemon_that_is_killed_three_times_loses_nothing(tmp_path: Path) -> None:
    said: list[str] = []
    ordeal = Ordeal(
        tmp_path,
        kills=3,
        posts=150,
        seed=2,
        say=said.append,
        # Only the third part of these posts is sure to hold what nobody was told of before.
        aims=("anywhere", "polling", "taken"),
    )
    report = ordeal.run()
    assert report.violations == []
    assert (report.kills, report.posts) == (3, 150)
    assert report.alerts > 3
    assert report.repeats >= 1, "one was killed after the server took the mail"

    # The judge itself: what is taken away must be missed.
    mails, posts = ordeal.received
    expected = ordeal.expected
    with closing(sqlite3.connect(tmp_path / "crash.db")) as database:
        assert verify_store(database, expected) == []
        assert verify_store(database, [*expected, ("x", "lost")]) != []
        assert verify_deliveries(database, mails, posts) == []
        lost = mails[-1].key
        assert verify_deliveries(database, [m for m in mails if m.key != lost], posts) != []
        for harm in (
            "DELETE FROM assessment WHERE id = (SELECT max(id) FROM assessment)",
            "DELETE FROM signal WHERE id = (SELECT max(id) FROM signal)",
            "DELETE FROM notification WHERE id = (SELECT max(id) FROM notification)",
            "UPDATE bucket_count SET count = count + 1",
            "UPDATE notification SET state = 'pending' WHERE id = 1",
        ):
            database.execute(harm)
            assert verify_store(database, expected) != [], harm
            database.rollback()
