"""The step `detect`: voices against reshares, dark sources, restarts, and what is told of a spike."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from alerts.base import Chart, Severity, Signal, SignalKind
from alerts.drivers import Shape
from alerts.message import HIDDEN
from monitor.store import Store
from monitor.store.crowd import BUCKET
from monitor.store.mentions import Detector
from tests.monitor.crowds import BRAND, MONDAY, Crowd
from tests.monitor.make import sql

X = {"x": 4}
BOTH = {"big": 12, "small": 3}
WEDNESDAY = MONDAY + timedelta(days=9, hours=10)
"""Nine days of history lie behind it."""


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store after nine ordinary days; made once, as it takes a while."""
    crowd = Crowd(tmp_path_factory.mktemp("lived"))
    crowd.past(7, X)
    crowd.days(2, X)
    crowd.days(10 / 24, X)
    crowd.catch_up()
    assert crowd.clock() == WEDNESDAY
    crowd.close()
    return crowd.store.path


@pytest.fixture(scope="module")
def lived_by_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, with a big source and a small one."""
    crowd = Crowd(tmp_path_factory.mktemp("two"), BOTH)
    crowd.past(9, BOTH)
    crowd.past(10 / 24, BOTH)
    crowd.catch_up()
    crowd.close()
    return crowd.store.path


@pytest.fixture
def crowd(tmp_path: Path, lived: Path) -> Iterator[Crowd]:
    path = tmp_path / "merkwacht.db"
    path.write_bytes(lived.read_bytes())
    crowd = _over(path)
    yield crowd
    crowd.close()


def _over(path: Path, sources: Iterable[str] = X) -> Crowd:
    """A crowd over a store that is there already."""
    with TemporaryDirectory() as folder:
        crowd = Crowd(Path(folder), sources)
        crowd.close()
    crowd.use(Store(path))
    crowd.clock.moment = WEDNESDAY
    crowd.number = 100_000
    crowd.restart()
    return crowd


@pytest.fixture
def two(tmp_path: Path, lived_by_two: Path) -> Iterator[Crowd]:
    path = tmp_path / "merkwacht.db"
    path.write_bytes(lived_by_two.read_bytes())
    crowd = _over(path, BOTH)
    yield crowd
    crowd.close()


def spikes(crowd: Crowd, kind: SignalKind = SignalKind.VOLUME_SPIKE) -> list[Signal]:
    return [each for each in crowd.signals() if each.kind is kind]


def test_ordinary_days_ring_nothing(crowd: Crowd) -> None:
    crowd.past(2, X)
    crowd.look(WEDNESDAY)
    assert crowd.signals() == []


def test_a_thousand_voices_are_a_crowd_and_told_as_one(crowd: Crowd) -> None:
    for number in range(6):
        crowd.say_all(
            {
                "text": f"ziek van de hummus van acme nummer {'abcdefghij'[place]}",
                "negative": True,
                "source": "x",
                "language": "nl",
            }
            for place in range(6 + number % 2)
        )
        crowd.pass_time()
    (bad,) = spikes(crowd, SignalKind.NEGATIVITY_SPIKE)
    facts = bad.facts
    assert bad.severity is Severity.HIGH
    assert facts["shape"] == Shape.CROWD
    assert facts["authors"] == facts["stories"] == facts["observed"]
    assert facts["observed"] > 2 * facts["expected"]
    told = facts["drivers"]
    assert told["terms"][0]["term"] == "hummus"
    assert told["terms"][0]["now"] > 3 * told["terms"][0]["usual"]
    assert told["negative"]["share"] > 3 * told["negative"]["usual"]
    assert told["sources"][0]["name"] == "x"
    assert told["sources"][0]["now"] > told["sources"][0]["usual"]
    assert told["languages"] == [{"code": "nl", "now": 1.0, "usual": 1.0}]
    assert json.loads(json.dumps(dict(facts))) == facts


def test_a_person_on_many_lips_is_not_named(crowd: Crowd) -> None:
    for number in range(6):
        crowd.say(f"wat deed die Fatima bij acme {'abcdef'[number]}", negative=True)
        crowd.pass_time()
    topics = spikes(crowd, SignalKind.TOPIC_BURST)
    assert topics
    for signal in crowd.signals():
        assert "fatima" not in json.dumps([signal.key, signal.facts]).casefold()
    assert topics[0].facts["term"] == HIDDEN


def test_one_post_that_bots_reshare_is_one_voice_until_people_join_in(crowd: Crowd) -> None:
    for place in range(8):
        crowd.say_all(
            {"text": "acme viral", "negative": True, "story": "viral", "author": f"bot{n % 2}"}
            for n in range(40)
        )
        crowd.pass_time()
        assert len(spikes(crowd, SignalKind.NEGATIVITY_SPIKE)) <= 1, place
    (bad,) = spikes(crowd, SignalKind.NEGATIVITY_SPIKE)
    (loud,) = spikes(crowd)
    assert bad.facts["shape"] == loud.facts["shape"] == Shape.FEW_VOICES
    assert (bad.severity, loud.severity) == (Severity.MEDIUM, Severity.LOW)
    story = bad.facts["drivers"]["stories"][0]
    assert story["share"] > 0.9
    assert story["authors"] == 2
    with crowd.store.read() as unit:
        (incident,) = unit.incidents.burning(BRAND)
    assert incident.severity is Severity.MEDIUM

    for _ in range(4):
        crowd.say_all({"negative": True} for _ in range(6))
        crowd.pass_time()
    with crowd.store.read() as unit:
        (incident,) = unit.incidents.burning(BRAND)
    assert incident.severity is Severity.HIGH
    grown = spikes(crowd, SignalKind.NEGATIVITY_SPIKE)[-1]
    assert grown.facts["shape"] == Shape.CROWD
    assert len(spikes(crowd, SignalKind.NEGATIVITY_SPIKE)) == 2


def test_a_post_that_many_people_share_goes_round_at_medium(crowd: Crowd) -> None:
    for _ in range(6):
        crowd.say_all({"negative": True, "story": "viral"} for _ in range(12))
        crowd.pass_time()
    (bad,) = spikes(crowd, SignalKind.NEGATIVITY_SPIKE)
    assert (bad.facts["shape"], bad.severity) == (Shape.ONE_STORY, Severity.MEDIUM)
    assert bad.facts["authors"] > 20
    assert bad.facts["stories"] < bad.facts["authors"]


def test_one_to_three_wakes_nobody(tmp_path: Path) -> None:
    crowd = Crowd(tmp_path)
    crowd.past(8, {"x": 1})
    crowd.past(11 / 24, {"x": 1})
    crowd.catch_up()
    for _ in range(3):
        crowd.say(negative=True)
        crowd.pass_time(10)
    assert crowd.signals() == []
    crowd.close()


def test_many_stories_ring_though_a_promoter_drowns_them(tmp_path: Path) -> None:
    crowd = Crowd(tmp_path)
    crowd.past(9, {"x": 50})
    crowd.past(11 / 24, {"x": 50})
    # All of it told by one account that repeats itself, but for a voice now and then.
    sql(
        crowd.store.path,
        "UPDATE bucket_voices SET stories = rowid % 30 = 0, authors = rowid % 30 = 0",
    )
    crowd.catch_up()
    assert crowd.signals() == []
    for _ in range(6):
        crowd.say_all({"author": "promo", "story": "deal"} for _ in range(5))
        crowd.say_all([{}] * 3)
        crowd.pass_time(10)
    found = crowd.signals()
    assert [each.facts["series"] for each in found] == ["stories"]
    assert found[0].facts["drivers"]["voices"]["stories"] >= 6
    crowd.close()


def test_a_spike_is_shown_against_the_last_two_days(crowd: Crowd) -> None:
    for _ in range(6):
        crowd.say_all([{}] * 8)
        crowd.pass_time()
    (loud,) = spikes(crowd)
    chart = TypeAdapter(Chart).validate_python(loud.facts["chart"])
    assert len(chart.observed) == len(chart.expected) == len(chart.upper) == 96
    assert chart.step == timedelta(minutes=30)
    assert chart.rang_at == loud.occurred_at
    assert chart.start + 96 * chart.step == loud.occurred_at + BUCKET
    heights = [value or 0 for value in chart.observed]
    assert max(heights) == heights[-1] > chart.upper[-1] > chart.expected[-1]
    nights = [
        value
        for place, value in enumerate(chart.expected)
        if (chart.start + place * chart.step).hour < 5
    ]
    assert max(nights) < min(chart.expected[-6:])


def test_what_a_dark_source_did_not_bring_is_no_dip_in_the_chart(crowd: Crowd) -> None:
    for _ in range(48):
        crowd.pass_time(5, dark=("x",))
    for _ in range(8):
        crowd.say_all([{}] * 8)
        crowd.pass_time()
    loud = spikes(crowd)[-1]
    observed = loud.facts["chart"]["observed"]
    assert None in observed[-14:]
    assert None not in observed[:70]
    assert 0 < loud.facts["coverage"] < 1


@pytest.mark.parametrize("dark", ["big", "small"])
def test_neither_the_loss_of_a_source_nor_its_return_rings(two: Crowd, dark: str) -> None:
    with two.store.read() as unit:
        before = unit.mentions.detector(BRAND, "volume")
    two.past(1, BOTH, dark=(dark,))
    two.past(1, BOTH)
    two.look(WEDNESDAY)
    assert two.signals() == []
    with two.store.read() as unit:
        after = unit.mentions.detector(BRAND, "volume")
        kept = unit.mentions.detector(BRAND, "sources")
    assert before is not None
    assert after is not None
    assert kept is not None
    learnt = after.snapshot["covered"] - before.snapshot["covered"]
    # While the main source is dark there is no evidence; while the small one is, there is.
    assert learnt == pytest.approx((1 if dark == "big" else 2) * 86400, rel=0.1)
    sums = kept.snapshot["sums"]
    assert sums["big"][0] > 3 * sums["small"][0]


def test_a_burst_rings_while_a_small_source_is_dark(two: Crowd) -> None:
    said = 0
    for _ in range(12):
        two.pass_time(5, dark=("small",))
    for _ in range(8):
        two.say_all([{"source": "big"}] * 12)
        said += 12
        two.pass_time(5, dark=("small",))
    (loud,) = spikes(two)
    assert loud.facts["observed"] <= said + 14, "what was filled in is not said to be counted"
    assert loud.facts["coverage"] == pytest.approx(0.8, abs=0.1)


def test_late_posts_within_the_settling_time_ring_as_if_they_had_been_in_time(
    tmp_path: Path, lived: Path
) -> None:
    keys = []
    for late in (False, True):
        path = tmp_path / f"{late}.db"
        path.write_bytes(lived.read_bytes())
        crowd = _over(path)
        moments = []
        for _ in range(6):
            moments.append(crowd.clock())
            if not late:
                crowd.say_all([{"at": crowd.clock()}] * 8)
            crowd.pass_time()
        if late:
            crowd.say_all({"at": at} for at in moments for _ in range(8))
            crowd.pass_time(0)
        keys.append([each.key for each in spikes(crowd)])
        crowd.close()
    assert keys[0]
    assert keys[0] == keys[1]


HISTORY = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 0, 1, 2, 6, 14]),
        st.booleans(),
        st.sampled_from(["x", "x", "x", "dark"]),
        st.booleans(),
    ),
    min_size=5,
    max_size=9,
)


@settings(max_examples=6, deadline=None)
@given(HISTORY)
def test_a_restart_at_any_tick_gives_the_same_signals(
    lived: Path, history: list[tuple[int, bool, str, bool]]
) -> None:
    found = []
    for restarts in (False, True):
        with TemporaryDirectory() as folder:
            path = Path(folder) / "merkwacht.db"
            path.write_bytes(lived.read_bytes())
            crowd = _over(path)
            with closing(crowd):
                for count, negative, source, restart in history:
                    crowd.say_all({"negative": negative} for _ in range(count))
                    crowd.pass_time(10, dark=("x",) if source == "dark" else ())
                    if restarts and restart:
                        crowd.restart()
                found.append([(each.key, each.severity, each.facts) for each in crowd.signals()])
    assert found[0] == found[1]


@pytest.mark.parametrize("change", [datetime(2026, 10, 25), datetime(2026, 3, 29)])  # noqa: DTZ001
def test_the_night_the_clock_changes_rings_nothing(tmp_path: Path, change: datetime) -> None:
    crowd = Crowd(tmp_path, start=change.replace(tzinfo=UTC) - timedelta(days=8))
    crowd.past(7, X)
    crowd.catch_up()
    begin = crowd.clock()
    crowd.past(2, X)
    crowd.look(begin)
    assert crowd.signals() == []
    with crowd.store.read() as unit:
        kept = unit.mentions.detector(BRAND, "volume")
    assert kept is not None
    assert crowd.clock() - kept.settled_until <= timedelta(hours=3)
    crowd.close()


def test_a_long_absence_is_caught_up_with_a_week_at_a_time(tmp_path: Path) -> None:
    crowd = Crowd(tmp_path)
    crowd.past(2, X)
    crowd.catch_up()
    crowd.clock.advance(days=20)
    moments = []
    for _ in range(4):
        crowd.pass_time(0)
        with crowd.store.read() as unit:
            kept = unit.mentions.detectors(BRAND)
        moments.append({each.settled_until for each in kept.values()})
    assert [len(each) for each in moments] == [1, 1, 1, 1]
    begun = [min(each) for each in moments]
    assert begun[1] - begun[0] == timedelta(days=7)
    assert crowd.clock() - begun[-1] <= timedelta(hours=3)
    assert crowd.signals() == []
    crowd.close()


def test_an_unchanged_brand_is_not_looked_at_again(crowd: Crowd) -> None:
    crowd.pass_time(0)
    with crowd.store.write() as unit:
        unit.mentions.keep_detectors(BRAND, {"volume": Detector("other", MONDAY, {})})
    crowd.pass_time(5)
    with crowd.store.read() as unit:
        kept = unit.mentions.detector(BRAND, "volume")
    assert kept is not None
    assert kept.version == "other", "left alone"
    crowd.say()
    crowd.pass_time(5)
    with crowd.store.read() as unit:
        kept = unit.mentions.detector(BRAND, "volume")
    assert kept is not None
    assert kept.version != "other", "learnt anew, now that something was said"
