"""`merkwacht trends`: the terms of a day, from the store."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from monitor.cli import app
from monitor.commands import trends
from tests.monitor.crowds import BRAND, MONDAY, Crowd

VALID = Path(__file__).parent / "config" / "valid.toml"
FRIDAY = MONDAY + timedelta(days=4)


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crowd]:
    crowd = Crowd(tmp_path_factory.mktemp("trends"))
    crowd.days(4, {"x": 3})
    # Half an hour before midnight in Amsterdam, and half an hour after it.
    crowd.say_all({"text": "acme kassa", "at": FRIDAY - timedelta(minutes=90)} for _ in "abc")
    crowd.say_all(
        {"text": f"acme hummus {word}", "at": FRIDAY - timedelta(minutes=30)}
        for word in ("kassa", "brood", "kaas", "fruit", "tas")
    )
    yield crowd
    crowd.close()


def of_friday(crowd: Crowd) -> trends.Day:
    with crowd.store.read() as unit:
        return trends.day_of(unit, BRAND, "acme", FRIDAY.date(), "Europe/Amsterdam")


def test_a_day_is_local_and_compared_with_what_was_said_before(crowd: Crowd) -> None:
    found = of_friday(crowd)
    assert found.posts == 5
    assert found.past > 100
    assert [each.term for each in found.terms] == ["hummus"]
    assert found.terms[0].now == 5


def test_a_day_is_written_for_people_and_for_programs(crowd: Crowd) -> None:
    found = of_friday(crowd)
    table, data = io.StringIO(), io.StringIO()
    trends.write([found], table, as_json=False)
    trends.write([found], data, as_json=True)
    assert "Acme, Friday 2026-11-13: 5 posts read" in table.getvalue()
    assert "hummus" in table.getvalue()
    (read,) = json.loads(data.getvalue())
    assert read["terms"][0] == {
        "term": "hummus",
        "now": 5,
        "usual": pytest.approx(0, abs=0.2),
        "score": read["terms"][0]["score"],
    }
    assert not read["warming_up"]


def test_a_day_without_terms_says_why(crowd: Crowd) -> None:
    words = []
    for days in (0, -3, 30):
        sink = io.StringIO()
        with crowd.store.read() as unit:
            day = (FRIDAY + timedelta(days=days - 1)).date()
            found = trends.day_of(unit, BRAND, "acme", day, "Europe/Amsterdam")
        trends.write([found], sink, as_json=False)
        words.append(sink.getvalue().splitlines()[1].strip())
    assert words[0] == "nothing stands out"
    assert words[1].startswith("too little is known yet")
    assert words[2] == "nothing was said"


def test_the_command_shows_the_brands_of_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(VALID.read_text())
    Crowd(tmp_path).close()
    config = ("--config", str(tmp_path / "config.toml"))
    run = CliRunner()
    done = run.invoke(app, ["trends", *config, "--day", "2026-11-13", "--format", "json"])
    assert done.exit_code == 0, done.output
    assert [(each["day"], each["terms"]) for each in json.loads(done.stdout)] == [
        ("2026-11-13", [])
    ]
    for wrong in (("--brand", "Nobody"), ("--day", "yesterday")):
        done = run.invoke(app, ["trends", *config, *wrong])
        assert done.exit_code == 2
        assert wrong[0] in done.stderr
