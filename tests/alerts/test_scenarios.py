"""Timelines as data: what happens, and who is told of it when and why (tests/scenarios)."""

from datetime import timedelta

import pytest

from tests.alerts.timeline import FOLDER, Line, Scenario, Setup, Timeline, load

CASES = [
    pytest.param(scenario, setup, id=f"{file.stem}: {scenario.name}")
    for file in sorted(FOLDER.glob("*.toml"))
    for scenario, setup in load(file)
]


def in_words(lines: list[Line], timeline: Timeline) -> str:
    zone = timeline.calendar.zone
    return "\n".join(
        f"  {line.at.astimezone(zone):%a %Y-%m-%d %H:%M:%S} "
        f"{line.receiver}/{line.channel} {line.reason} x{line.count} {list(line.incidents[:5])}"
        for line in lines
    )


def played(scenario: Scenario, setup: Setup, also_every: timedelta | None = None) -> Timeline:
    timeline = Timeline(setup, scenario, also_every=also_every)
    timeline.play()
    return timeline


@pytest.mark.parametrize(("scenario", "setup"), CASES)
def test_the_timeline_tells_what_it_says(scenario: Scenario, setup: Setup):
    timeline = played(scenario, setup)

    told, expected = sorted(timeline.told), sorted(timeline.expected(scenario.told))
    assert told == expected, f"{scenario.name}\ntold:\n{in_words(timeline.told, timeline)}"
    for line, wanted in zip(told, expected, strict=True):
        assert not wanted.incidents or wanted.incidents == line.incidents, scenario.told
    for wanted in timeline.expected(scenario.not_told):
        assert wanted in timeline.withheld, (
            f"{scenario.name}\nnot told:\n{in_words(timeline.withheld, timeline)}"
        )
    times = timeline.times()
    for line in scenario.happens:
        times.read(line)
    if scenario.clocks:
        assert timeline.clock_lines(times.read(scenario.until)[0]) == list(scenario.clocks)


@pytest.mark.parametrize(("scenario", "setup"), CASES)
def test_asking_more_often_than_needed_changes_nothing(scenario: Scenario, setup: Setup):
    seldom = played(scenario, setup)
    often = played(scenario, setup, timedelta(minutes=47, seconds=11))

    assert sorted(often.told) == sorted(seldom.told)


def test_there_are_enough_timelines_and_none_by_the_same_name():
    names = [param.id for param in CASES]

    assert len(names) >= 60
    assert len(set(names)) == len(names)
