"""The spike detector as the daemon and the table command use it."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from alerts.spikes import Sensitivity, SpikeDetector, SpikeVerdict
from alerts.spikestats import surprise, upper_quantile
from alerts.usual import Bursts

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
HOUR = timedelta(hours=1)
QUARTER = timedelta(minutes=15)


def feed(
    counts: Iterable[float],
    *,
    bucket: timedelta = HOUR,
    start: datetime = MONDAY,
    **options: object,
) -> list[SpikeVerdict]:
    detector = SpikeDetector(bucket=bucket, **options)  # type: ignore[arg-type]
    return [detector.advance(start + bucket * i, count) for i, count in enumerate(counts)]


def poisson(random_: random.Random, mean: float) -> int:
    if mean > 50:
        return max(0, round(random_.gauss(mean, math.sqrt(mean))))
    limit, product, count = math.exp(-mean), random_.random(), 0
    while product > limit:
        product *= random_.random()
        count += 1
    return count


def days(
    rate: float, length: int, seed: int, *, per_day: int = 24, dispersion: float = 0.0
) -> list[int]:
    """Counts with nights, weekends and, when asked, an over-dispersed rate."""
    random_ = random.Random(seed)
    counts = []
    for index in range(length * per_day):
        hour = index % per_day * 24 / per_day
        shape = 1 + 0.8 * math.sin(2 * math.pi * (hour - 9) / 24)
        weekend = 0.6 if index // per_day % 7 >= 5 else 1.0
        mood = random_.gammavariate(1 / dispersion, dispersion) if dispersion else 1.0
        counts.append(poisson(random_, rate * shape * weekend * mood))
    return counts


def rings(verdicts: Sequence[SpikeVerdict]) -> list[int]:
    return [index for index, verdict in enumerate(verdicts) if verdict.alert]


series = st.lists(
    st.one_of(st.integers(0, 6), st.integers(0, 2000), st.none(), st.just(-1)),
    min_size=2,
    max_size=150,
)
"""Counts; None is a gap, -1 a bucket in which the sources were dark."""
buckets = st.sampled_from([timedelta(minutes=5), timedelta(minutes=10), HOUR, timedelta(days=1)])
zones = st.sampled_from(["UTC", "Europe/Amsterdam", "America/St_Johns"])
starts = st.sampled_from(
    [MONDAY, datetime(2026, 3, 28, tzinfo=UTC), datetime(2026, 10, 24, tzinfo=UTC)]
)
"""An ordinary Monday, and the days before the clock changes."""


def step(
    detector: SpikeDetector, start: datetime, index: int, bucket: timedelta, count: int | None
) -> SpikeVerdict | None:
    if count is None:
        return None
    moment = start + bucket * index
    return detector.advance(moment, max(count, 0), covered=count >= 0)


detectors = st.builds(
    lambda bucket, timezone, sensitivity: {
        "bucket": bucket,
        "timezone": timezone,
        "sensitivity": sensitivity,
    },
    buckets,
    zones,
    st.sampled_from(Sensitivity),
)


@settings(max_examples=60, deadline=None)
@given(series, detectors, starts, st.data())
def test_a_restart_at_any_bucket_changes_nothing(
    counts: list[int | None], options: dict[str, Any], start: datetime, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(counts)))
    whole, parted = SpikeDetector(**options), SpikeDetector(**options)
    bucket = options["bucket"]
    for index, count in enumerate(counts):
        if index == at:
            kept = json.loads(json.dumps(parted.snapshot()))
            parted = SpikeDetector.restore(kept, sensitivity=options["sensitivity"])
        assert step(parted, start, index, bucket, count) == step(whole, start, index, bucket, count)
    assert parted.snapshot() == whole.snapshot()


@settings(max_examples=40, deadline=None)
@given(series, buckets, starts, st.data())
def test_later_buckets_change_no_earlier_verdict(
    counts: list[int | None], bucket: timedelta, start: datetime, data: st.DataObject
) -> None:
    cut = data.draw(st.integers(1, len(counts) - 1))
    other = data.draw(st.lists(st.integers(0, 500), max_size=20))

    def verdicts(counts: Sequence[int | None]) -> list[SpikeVerdict | None]:
        detector = SpikeDetector(bucket=bucket, timezone="Europe/Amsterdam")
        return [step(detector, start, i, bucket, count) for i, count in enumerate(counts)]

    assert verdicts(counts)[:cut] == verdicts([*counts[:cut], *other])[:cut]


@settings(max_examples=40, deadline=None)
@given(series, buckets)
def test_dark_buckets_are_as_good_as_left_out(counts: list[int | None], bucket: timedelta) -> None:
    dark, gaps = SpikeDetector(bucket=bucket), SpikeDetector(bucket=bucket)
    for index, count in enumerate(counts):
        told = step(dark, MONDAY, index, bucket, count)
        if count is None or count >= 0:
            assert told == step(gaps, MONDAY, index, bucket, count)
        else:
            assert told is not None
            assert (told.alert, told.score) == (False, 0.0)


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 24 * 25 - 1), st.integers(1, 40))
def test_weeks_with_bursts_go_on_alike_after_a_restart_anywhere(
    seed: int, at: int, times: int
) -> None:
    counts = days(4, 25, seed, dispersion=0.3)
    for day in random.Random(seed).sample(range(3, 25), 6):
        counts[24 * day + 12] += 4 * times
    expected = feed(counts)
    detector = SpikeDetector(bucket=HOUR)
    for index, count in enumerate(counts):
        if index == at:
            detector = SpikeDetector.restore(json.loads(json.dumps(detector.snapshot())))
        assert detector.advance(MONDAY + HOUR * index, count) == expected[index]


@pytest.mark.parametrize("at", [100, 300, 505, 700])
def test_a_restart_in_a_spike_or_weeks_on_changes_nothing(at: int) -> None:
    counts = days(3, 35, 1)
    counts[500:510] = [40] * 10
    detector = SpikeDetector(bucket=HOUR)
    expected = feed(counts)
    got = []
    for index, count in enumerate(counts):
        if index == at:
            detector = SpikeDetector.restore(json.loads(json.dumps(detector.snapshot())))
        got.append(detector.advance(MONDAY + HOUR * index, count))
    assert got == expected


@settings(max_examples=30, deadline=None)
@given(st.lists(st.one_of(st.floats(0, 1e6), st.floats(0, 1e15)), min_size=1, max_size=100))
@example([5e-324])
@example([5e-324, 1e-300, 2.5, 1e15])
def test_scores_and_bounds_are_always_in_their_range(counts: list[float]) -> None:
    for verdict in feed(counts, bucket=timedelta(minutes=5)):
        assert 0 <= verdict.score <= 1
        assert 0 < verdict.expected < math.inf
        assert verdict.upper >= 1
        assert 0 <= verdict.factor <= 1000


def test_one_to_three_wakes_nobody() -> None:
    counts = [0.0, 0, 1, 0] * 24 * 7
    counts[400:404] = [3, 0, 1, 0]
    assert rings(feed(counts, bucket=QUARTER)) == []


def test_a_brand_nobody_ever_mentioned_rings_when_many_suddenly_do() -> None:
    counts = [0] * 24 * 10 + [12]
    (at,) = rings(feed(counts))
    assert at == 240


@pytest.mark.parametrize("count", [1, 7, 1_000, 10**6])
@pytest.mark.parametrize("bucket", [timedelta(minutes=5), HOUR])
def test_what_never_changes_never_rings(count: int, bucket: timedelta) -> None:
    verdicts = feed([count] * (timedelta(days=12) // bucket), bucket=bucket)
    assert rings(verdicts) == []
    assert verdicts[-1].expected == pytest.approx(count, rel=0.1)


def test_a_million_mentions_a_bucket_are_counted_like_ten() -> None:
    few = days(10, 21, 18)
    start = 24 * 20 + 13
    for index in range(start, start + 4):
        few[index] *= 4
    assert rings(feed(few)) == rings(feed([count * 100_000 for count in few])) == [start]


def test_counts_that_grow_late_are_judged_as_if_they_had_come_in_time() -> None:
    settled = SpikeDetector(bucket=QUARTER)
    for index in range(96 * 9):
        settled.advance(MONDAY + QUARTER * index, 0)
    kept = settled.snapshot()
    first, second = (SpikeDetector.restore(json.loads(json.dumps(kept))) for _ in range(2))
    at = MONDAY + QUARTER * 96 * 9
    early = [first.advance(at + QUARTER * i, count) for i, count in enumerate([0, 1, 2])]
    grown = [second.advance(at + QUARTER * i, count) for i, count in enumerate([4, 6, 9])]
    assert rings(early) == []
    assert rings(grown) == [1]
    assert settled.snapshot() == kept


@pytest.mark.parametrize("size", [50, 500_000])
def test_a_dump_by_one_bot_rings_nobody_and_teaches_next_to_nothing(size: int) -> None:
    plain = days(3, 9, 19, per_day=288)
    dumped = list(plain)
    dumped[288 * 7 + 150] += size
    five = timedelta(minutes=5)
    quiet, after = feed(plain, bucket=five), feed(dumped, bucket=five)
    assert rings(after) == rings(quiet) == []
    tomorrow = slice(288 * 8, 288 * 9)
    assert sum(v.expected for v in after[tomorrow]) < 1.05 * sum(
        v.expected for v in quiet[tomorrow]
    )


def test_silence_never_rings() -> None:
    verdicts = feed([0] * 24 * 30)
    assert rings(verdicts) == []
    assert {verdict.score for verdict in verdicts} == {0.0}


@pytest.mark.parametrize("rate", [0.05, 1.5, 40])
@pytest.mark.parametrize("dispersion", [0.0, 0.3])
def test_a_quiet_month_rings_at_most_once(rate: float, dispersion: float) -> None:
    for seed in range(3):
        assert len(rings(feed(days(rate, 30, seed, dispersion=dispersion)))) <= 1


@pytest.mark.parametrize("rate", [1, 10, 200])
@pytest.mark.parametrize(("times", "within"), [(10, 1), (4, 3)])
def test_a_burst_rings_once_and_soon(rate: float, times: int, within: int) -> None:
    counts = days(rate, 15, 5)
    start = 24 * 14 + 12
    for index in range(start, start + 8):
        counts[index] = counts[index - 24 * 7] * times + times
    late = [index for index in rings(feed(counts)) if index >= start]
    assert len(late) == 1
    assert late[0] < start + within


def test_a_slow_climb_rings_before_it_is_tenfold() -> None:
    counts = days(30, 16, 2)
    start = 24 * 14
    for index in range(start, start + 48):
        counts[index] = round(counts[index] * (1 + 9 * (index - start) / 48))
    (at,) = [index for index in rings(feed(counts)) if index >= start]
    assert at - start < 30


def test_a_single_bucket_of_five_minutes_never_rings_by_itself() -> None:
    counts = days(3, 8, 3, per_day=288)
    counts[288 * 7 + 150] = 900
    assert rings(feed(counts, bucket=timedelta(minutes=5))) == []
    counts[288 * 7 + 151] = 900
    assert rings(feed(counts, bucket=timedelta(minutes=5))) == [288 * 7 + 151]


def test_a_running_spike_rings_once_and_says_since_when() -> None:
    counts = days(5, 18, 4)
    start = 24 * 14 + 10
    counts[start : start + 6] = [60, 80, 90, 70, 50, 40]
    verdicts = feed(counts)
    (at,) = [index for index in rings(verdicts) if index >= start]
    since = verdicts[at].since
    assert since == MONDAY + HOUR * start
    assert all(verdict.since == since for verdict in verdicts[at : start + 6])
    assert verdicts[start + 40].since is None


def test_a_past_crisis_raises_no_bar() -> None:
    calm, shaken = days(5, 22, 6), days(5, 22, 6)
    shaken[24 * 14 + 9 : 24 * 14 + 27] = [200] * 18
    quiet, after = feed(calm), feed(shaken)
    week = slice(24 * 16, 24 * 21)
    assert sum(v.expected for v in after[week]) < 1.1 * sum(v.expected for v in quiet[week])
    assert sum(v.upper for v in after[week]) < 1.2 * sum(v.upper for v in quiet[week])
    for counts in (calm, shaken):
        counts[24 * 21 + 10 : 24 * 21 + 14] = [30] * 4
    found = rings(feed(calm)), rings(feed(shaken))
    assert [index for index in found[0] if index >= 24 * 21] == [
        index for index in found[1] if index >= 24 * 21
    ]
    assert found[1][-1] >= 24 * 21


def test_a_lasting_change_of_level_is_adopted_within_days() -> None:
    counts = days(10, 14, 7) + days(30, 14, 8)
    verdicts = feed(counts)
    later = [index for index in rings(verdicts) if index >= 24 * 14]
    assert len(later) == 1
    noon = 24 * 23 + 12
    assert verdicts[noon].expected > 0.7 * 30 * (1 + 0.8 * math.sin(math.pi / 4))
    assert verdicts[noon].since is None


def test_nights_and_weekends_are_learnt() -> None:
    verdicts = feed(days(20, 35, 9))
    wednesday, saturday = 24 * 30, 24 * 33
    assert verdicts[wednesday + 15].expected > 4 * verdicts[wednesday + 3].expected
    assert verdicts[wednesday + 15].expected > 1.3 * verdicts[saturday + 15].expected


def test_what_is_usual_can_be_asked_of_any_hour_and_changes_nothing() -> None:
    counts = days(20, 30, 9)
    detector = SpikeDetector(bucket=HOUR, timezone="Europe/Amsterdam")
    for index, count in enumerate(counts):
        moment = MONDAY + HOUR * index
        before = detector.snapshot()
        asked = detector.usual_at(moment)
        detector.usual_at(MONDAY - HOUR * 1000)
        detector.usual_at(MONDAY + HOUR * 7000)
        assert detector.snapshot() == before
        verdict = detector.advance(moment, count)
        assert asked == (verdict.expected, verdict.upper)
    night, noon = (detector.usual_at(MONDAY + timedelta(days=60, hours=h)) for h in (3, 15))
    assert noon[0] > 4 * night[0]
    assert noon[1] > noon[0]
    with pytest.raises(ValueError, match="no time zone"):
        detector.usual_at(datetime(2026, 2, 1))  # noqa: DTZ001 - naive is the point


def test_dark_hours_are_no_zeros() -> None:
    counts = days(10, 21, 10)
    dark = SpikeDetector(bucket=HOUR)
    gap = SpikeDetector(bucket=HOUR)
    plain = SpikeDetector(bucket=HOUR)
    for index, count in enumerate(counts):
        moment = MONDAY + HOUR * index
        plain.advance(moment, count)
        if 24 * 14 <= index < 24 * 17:
            verdict = dark.advance(moment, 0, covered=False)
            assert (verdict.score, verdict.alert) == (0.0, False)
            continue
        assert dark.advance(moment, count).expected == gap.advance(moment, count).expected
    noon = MONDAY + timedelta(days=21, hours=12)
    assert dark.advance(noon, 10).expected == pytest.approx(
        plain.advance(noon, 10).expected, rel=0.15
    )


def test_counts_after_a_gap_are_not_taken_for_a_spike() -> None:
    counts = days(10, 21, 11)
    detector = SpikeDetector(bucket=HOUR)
    for index, count in enumerate(counts):
        if not 24 * 10 <= index < 24 * 20:
            assert not detector.advance(MONDAY + HOUR * index, count).alert


@pytest.mark.parametrize("change", [date(2026, 3, 29), date(2026, 10, 25)])
def test_the_day_the_clock_changes_keeps_local_hours(change: date) -> None:
    zone = ZoneInfo("Europe/Amsterdam")
    start = datetime.combine(change - timedelta(days=21), time(), zone).astimezone(UTC)
    detector = SpikeDetector(bucket=HOUR, timezone="Europe/Amsterdam")
    at, random_ = start, random.Random(12)
    while at < start + timedelta(days=23):
        awake = 8 <= at.astimezone(zone).hour < 23
        verdict = detector.advance(at, poisson(random_, 40 if awake else 2))
        assert not verdict.alert
        local = at.astimezone(zone)
        if local.date() == change and local.hour in {5, 14}:
            assert verdict.expected == pytest.approx(40 if awake else 2, rel=0.5)
        at += HOUR


def test_it_is_silent_on_the_first_day_and_warming_up_for_a_week() -> None:
    counts = [1] * 12 + [50] * 12 + days(5, 9, 13)
    verdicts = feed(counts)
    assert not any(verdict.alert for verdict in verdicts[:24])
    assert verdicts[24 * 7 - 2].warming_up
    assert not verdicts[24 * 7 + 1].warming_up


def test_after_four_days_a_crisis_is_seen_though_the_week_is_unknown() -> None:
    counts = days(3, 4, 14) + [2] * 10 + [30, 45]
    assert rings(feed(counts)) == [24 * 4 + 10]


def test_the_ordinary_bursts_of_a_lively_brand_fall_quiet_and_a_greater_one_rings() -> None:
    counts = days(5, 56, 15)
    for day in range(2, 56, 2):
        counts[24 * day + 12] = 60
    counts[24 * 55 + 12] = 400
    found = rings(feed(counts))
    assert len([index for index in found if 24 * 28 <= index < 24 * 55]) <= 4
    assert 24 * 55 + 12 in found


def test_what_is_as_large_as_the_day_before_yesterday_is_no_news_but_weeks_later_it_is() -> None:
    bursts = {20: 60, 22: 60, 24: 50, 26: 90, 50: 60}
    counts = days(5, 52, 21)
    for day, size in bursts.items():
        counts[24 * day + 12] += size
    found = rings(feed(counts))
    assert found == [24 * day + 12 for day in (20, 22, 26, 50)]


def test_a_burst_that_is_over_rings_no_more() -> None:
    counts = days(40, 16, 22, per_day=96)
    start = 96 * 15 + 40
    for index in range(start, start + 3):
        counts[index] += 8
    counts[start + 3 : start + 40] = [round(c * 0.95) for c in counts[start + 3 : start + 40]]
    assert rings(feed(counts, bucket=QUARTER)) == []


def test_calm_rings_least_and_alert_most() -> None:
    counts, random_ = days(2, 90, 16, dispersion=0.4), random.Random(16)
    for day in range(10, 90, 3):
        counts[24 * day + 13] += round(6 * random_.paretovariate(1.5))
    amount = {name: len(rings(feed(counts, sensitivity=name))) for name in Sensitivity}
    assert amount[Sensitivity.CALM] < amount[Sensitivity.BALANCED] < amount[Sensitivity.ALERT]


def test_memory_does_not_grow_with_history() -> None:
    detector = SpikeDetector(bucket=timedelta(minutes=5))
    sizes = []
    for index, count in enumerate(days(8, 9, 17, per_day=288)):
        detector.advance(MONDAY + timedelta(minutes=5) * index, count)
        if index % (288 * 3) == 288 * 3 - 1:
            sizes.append(len(json.dumps(detector.snapshot())))
    assert max(sizes) < 10_000
    assert sizes[2] < sizes[1] * 1.1


@pytest.mark.parametrize(
    ("at", "value", "says"),
    [
        (datetime(2026, 2, 1), 1.0, "no time zone"),  # noqa: DTZ001 - naive is the point
        (MONDAY, 1.0, "not later"),
        (MONDAY + HOUR, -1.0, "at least 0"),
        (MONDAY + HOUR, math.nan, "at least 0"),
        (MONDAY + HOUR, 1e300, "at most 1e\\+15"),
    ],
)
def test_what_cannot_be_a_bucket_is_refused(at: datetime, value: float, says: str) -> None:
    detector = SpikeDetector(bucket=HOUR)
    detector.advance(MONDAY, 1)
    before = detector.snapshot()
    with pytest.raises(ValueError, match=says):
        detector.advance(at, value)
    assert detector.snapshot() == before


def test_a_snapshot_of_another_version_is_refused() -> None:
    snapshot = SpikeDetector(bucket=HOUR).snapshot() | {"version": 0}
    with pytest.raises(ValueError, match="learn anew"):
        SpikeDetector.restore(snapshot)


@pytest.mark.parametrize("bucket", [timedelta(0), timedelta(days=2), timedelta(seconds=0.5)])
def test_a_bucket_that_is_none_is_refused(bucket: timedelta) -> None:
    with pytest.raises(ValueError, match="a bucket is"):
        SpikeDetector(bucket=bucket)


def bar_of_all(bursts: Sequence[tuple[int, float]], at: int, half_life: float) -> float:
    """What the bar would be if every burst that ever was were kept."""
    faded = [size * 0.5 ** (max(0, at - peak - 3 * 86400) / half_life) for peak, size in bursts]
    first, second = sorted([0.0, 0.0, *faded])[:-3:-1]
    return min(first, 3 * second)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(86401, 9 * 86400), st.floats(1, 1e6)), max_size=40),
    st.sampled_from([3.5, 7.0, 14.0]),
)
def test_six_remembered_bursts_are_as_good_as_all(
    gaps: list[tuple[int, float]], weeks: float
) -> None:
    half_life = weeks * 86400
    bursts, at = Bursts(half_life), 0
    seen: list[tuple[int, float]] = []
    for gap, size in gaps:
        at += gap
        assert bursts.bar(at) == pytest.approx(bar_of_all(seen, at, half_life))
        bursts.add(at, size)
        seen.append((at, size))
    for later in range(0, 60, 3):
        moment = at + later * 86400
        assert bursts.bar(moment) == pytest.approx(bar_of_all(seen, moment, half_life))
    assert len(bursts.snapshot()["past"]) <= 6


def test_one_burst_alone_is_no_bar_and_moments_within_a_day_are_one() -> None:
    bursts = Bursts(7 * 86400)
    for at in range(0, 40 * 3600, 3600):
        bursts.add(at, 100 + at / 3600)
    assert bursts.bar(41 * 3600) == 0
    bursts.add(5 * 86400, 10)
    assert bursts.bar(5 * 86400) == 30


def exact_surprise(value: int, mean: float, dispersion: float) -> float:
    """By adding up the probabilities of fewer and of more counts, whichever is the smaller part."""
    size = 1 / dispersion
    total, count = 0.0, value
    while count < value + 2000:
        total += math.exp(
            math.lgamma(count + size)
            - math.lgamma(size)
            - math.lgamma(count + 1)
            - size * math.log1p(dispersion * mean)
            + count * (math.log(dispersion * mean) - math.log1p(dispersion * mean))
        )
        count += 1
    return -math.log10(total)


@pytest.mark.parametrize("mean", [0.004, 0.05, 0.5, 3.0, 20.0])
@pytest.mark.parametrize("dispersion", [1e-6, 0.05, 0.3, 1.0])
@pytest.mark.parametrize("times", [2, 4, 10])
def test_surprise_is_the_negative_binomial_tail(mean: float, dispersion: float, times: int) -> None:
    value = math.ceil(mean * times) + 1
    exact = exact_surprise(value, mean, dispersion)
    assert surprise(value, mean, dispersion) == pytest.approx(exact, rel=0.05, abs=0.05)


@pytest.mark.parametrize("mean", [1e6, 1e9, 1e12, 1e15])
@pytest.mark.parametrize("deviations", [0.002, 0.1, 1.0, 5.0])
def test_counts_of_any_size_surprise_by_how_far_they_lie_from_the_mean(
    mean: float, deviations: float
) -> None:
    def at(mean: float) -> float:
        return surprise(mean + deviations * math.sqrt(mean + 0.05 * mean * mean), mean, 0.05)

    assert 0.3 < at(mean) == pytest.approx(at(1e5), abs=0.01)


@given(st.floats(0.01, 1e5), st.floats(0, 3), st.floats(1, 1e6), st.floats(1, 1e5))
def test_surprise_grows_with_the_count(
    mean: float, dispersion: float, value: float, more: float
) -> None:
    assert surprise(value + more, mean, dispersion) >= surprise(value, mean, dispersion) - 1e-6


@given(st.floats(0.001, 1e5), st.floats(0.01, 3))
def test_the_upper_bound_of_the_ordinary_is_above_the_mean(mean: float, dispersion: float) -> None:
    assert upper_quantile(mean, dispersion, 3.09) >= mean
