"""How often the spike detector rings for nothing, and how soon it rings for something.

    python tests/bench/bench_spikes.py quiet --seeds 200 --days 90 [--bucket 60] [--sensitivity calm]
    python tests/bench/bench_spikes.py delay --seeds 20 [--bucket 60]
    python tests/bench/bench_spikes.py crises --seeds 30 [--sensitivity alert]
    python tests/bench/bench_spikes.py nab [FOLDER] [--leave-one-out]
    python tests/bench/bench_spikes.py topics [FOLDER] --days 45
    python tests/bench/bench_spikes.py cost

Prints Markdown tables. The series of ``quiet`` and ``delay`` are simulated: nights, weekends, and a
rate that is steady (Poisson), fluctuates from bucket to bucket (negative binomial) or drifts over
hours (drifting). Those of ``crises`` are brands with a life of their own: heavy-tailed ordinary
bursts, as reshares make them, and crises planted among them. ``nab`` reads the Twitter series of the
Numenta Anomaly Benchmark with their ``windows.json``, by default beside MERKWACHT_CORPORA. ``topics``
reads public texts from there and the demo's week without its crisis, shuffles them, and lets them come
at random: whatever rings then is chance.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import itertools
import json
import math
import os
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alerts import spikes
from alerts.spikes import Sensitivity, SpikeDetector
from alerts.topics import TopicDetector
from connectors.story import story_key

Counts = NDArray[np.float64]
Alarms = NDArray[Any]
START = datetime(2026, 1, 5, tzinfo=UTC)
RATES = (0.05, 0.3, 1.5, 8.0, 50.0, 500.0)
KINDS = ("poisson", "negative binomial", "drifting")
DISPERSION = 0.3
DRIFT_HOURS = 2.0
DRIFT = 0.3


def simulate(kind: str, rate: float, seed: int, *, days: int, minutes: int) -> Counts:
    """Counts per bucket with a daily swing of 80 % and weekends at 80 %."""
    random = np.random.default_rng([seed, int(rate * 1000), KINDS.index(kind)])
    per_day = 1440 // minutes
    index = np.arange(days * per_day)
    swing = 1 + 0.8 * np.sin(2 * np.pi * (index * minutes / 60 - 9) / 24)
    mean = rate * swing * np.where(index // per_day % 7 >= 5, 0.8, 1.0)
    if kind == "negative binomial":
        mean = mean * random.gamma(1 / DISPERSION, DISPERSION, size=len(mean))
    elif kind == "drifting":
        keep = math.exp(-minutes / 60 / DRIFT_HOURS)
        noise = random.normal(size=len(mean)) * math.sqrt(1 - keep * keep)
        drift = np.fromiter(itertools.accumulate(noise, lambda z, e: keep * z + e), float)
        mean = mean * np.exp(DRIFT * drift - DRIFT**2 / 2)
    return random.poisson(mean).astype(float)


def rings(counts: Iterable[float], minutes: int, sensitivity: Sensitivity) -> list[int]:
    """Indices of the buckets on which the alarm newly rings."""
    step = timedelta(minutes=minutes)
    detector = SpikeDetector(bucket=step, sensitivity=sensitivity)
    return [
        index
        for index, count in enumerate(counts)
        if detector.advance(START + step * index, float(count)).alert
    ]


def quiet(options: argparse.Namespace) -> None:
    """False alarms a month on series in which nothing happens: mean of a cell, and its worst series."""
    print("| rate per bucket | " + " | ".join(KINDS) + " |")
    print("| --- |" + " --- |" * len(KINDS))
    months = options.days / 30
    worst: tuple[float, float, str] = (-1.0, 0.0, "")
    total = series = 0
    for rate in options.rates:
        cells = []
        for kind in KINDS:
            found = [
                len(
                    rings(
                        simulate(kind, rate, seed, days=options.days, minutes=options.bucket),
                        options.bucket,
                        options.sensitivity,
                    )
                )
                for seed in range(options.seeds)
            ]
            mean, most = sum(found) / len(found) / months, max(found) / months
            cells.append(f"{mean:.2f} ({most:.1f})")
            worst = max(worst, (mean, most, f"{kind}, {rate:g} per bucket"))
            total, series = total + sum(found), series + len(found)
        print(f"| {rate:g} | " + " | ".join(cells) + " |", flush=True)
    print(
        f"\n{options.sensitivity}: all series {total / series / months:.2f} a month; "
        f"worst cell {worst[0]:.2f} ({worst[2]})"
    )


def trailing(counts: Counts, size: int, gap: int = 0) -> Counts:
    """Sum of the ``size`` buckets that end ``gap`` before each bucket, itself not included."""
    sums = np.concatenate([[0.0], np.cumsum(counts)])
    end = np.maximum(np.arange(len(counts)) - gap, 0)
    result: Counts = sums[end] - sums[np.maximum(end - size, 0)]
    return result


def market(minutes: int) -> dict[str, Callable[[Counts], Alarms]]:
    """Five formulas in use elsewhere: whether each bucket alarms."""
    hour, day, week = 60 // minutes, 1440 // minutes, 7 * 1440 // minutes

    def three_sigma(counts: Counts) -> Alarms:
        mean = trailing(counts, day) / day
        deviation = np.sqrt(np.maximum(trailing(counts**2, day) / day - mean**2, 0))
        return np.asarray(counts > mean + 3 * deviation)

    def twice_six_hours(counts: Counts) -> Alarms:
        return np.asarray(counts >= 2 * np.maximum(trailing(counts, 6 * hour) / (6 * hour), 1e-9))

    def hour_against_week(counts: Counts) -> Alarms:
        return np.asarray(
            trailing(counts, hour - 1) + counts > 2 * trailing(counts, week) / (week / hour)
        )

    def seven_weeks(counts: Counts) -> Alarms:
        now = trailing(counts, week) + counts
        past = np.stack([trailing(counts, week, gap=week * k) for k in range(1, 8)])
        return np.asarray((now >= 5) & (now - past.mean(0) >= 2 * np.maximum(past.std(0), 1e-9)))

    def twice_the_week(counts: Counts) -> Alarms:
        past = trailing(counts, week, gap=week)
        return np.asarray(trailing(counts, week) + counts >= 2 * np.maximum(past, 1.0))

    return {
        "mean + 3 sd of 24 h": three_sigma,
        "twice the last 6 h": twice_six_hours,
        "last hour twice the week": hour_against_week,
        "z of 2 over 7 weeks": seven_weeks,
        "twice the week before": twice_the_week,
    }


PLANTS = {"x3": 3.0, "x10": 10.0, "ramp to x5 in 24 h": 5.0}


def plant(counts: Counts, name: str, start: int, minutes: int, seed: int) -> Counts:
    """Multiply the traffic from ``start`` on: six hours at once, or a climb of a day."""
    random = np.random.default_rng([seed, 99])
    times = PLANTS[name]
    length = (24 if name.startswith("ramp") else 6) * 60 // minutes
    part = counts[start : start + length]
    growth = np.linspace(0, 1, length) if name.startswith("ramp") else np.ones(length)
    planted = counts.copy()
    week = 7 * 1440 // minutes
    usual = (part + counts[start - week : start - week + length]) / 2
    planted[start : start + length] += random.poisson(
        np.maximum(usual, 0.05) * (times - 1) * growth
    )
    return planted


def delay(options: argparse.Namespace) -> None:
    """Part of planted bursts that is noticed, after how long, and the false alarms of the rest."""
    minutes, days = options.bucket, 70
    start = 63 * 1440 // minutes + 12 * 60 // minutes
    formulas: dict[str, Callable[[Counts], list[int]]] = {
        "Merkwacht": lambda counts: rings(counts, minutes, options.sensitivity)
    }
    for name, formula in market(minutes).items():
        formulas[name] = lambda counts, formula=formula: [  # type: ignore[misc]
            int(index) for index in np.flatnonzero(formula(counts))
        ]
    print("| rate | formula | " + " | ".join(PLANTS) + " | false alarms a month |")
    print("| --- | --- |" + " --- |" * (len(PLANTS) + 1))
    for rate in (0.3, 1.5, 8.0, 50.0):
        series = [
            simulate("negative binomial", rate, seed, days=days, minutes=minutes)
            for seed in range(options.seeds)
        ]
        for name, find in formulas.items():
            cells = [noticed(find, series, kind, start, minutes) for kind in PLANTS]
            false = sum(
                len([i for i in find(counts) if i > 28 * 1440 // minutes]) for counts in series
            )
            months = options.seeds * (days - 28) / 30
            print(
                f"| {rate:g} | {name} | " + " | ".join(cells) + f" | {false / months:.1f} |",
                flush=True,
            )


def onsets(alarms: list[int], minutes: int) -> list[int]:
    """Alarms that come six hours or more after the one before: what would be sent."""
    apart = 360 / minutes
    found: list[int] = []
    last = -math.inf
    for index in alarms:
        if index - last > apart:
            found.append(index)
        last = index
    return found


def noticed(
    find: Callable[[Counts], list[int]],
    series: list[Counts],
    kind: str,
    start: int,
    minutes: int,
) -> str:
    """Share of the planted bursts that alarm while they last, and the median time to it."""
    length = (24 if kind.startswith("ramp") else 6) * 60 // minutes
    waits = []
    for seed, counts in enumerate(series):
        found = find(plant(counts, kind, start, minutes, seed))
        soon = [index for index in found if start <= index < start + length]
        if soon:
            waits.append((soon[0] - start + 1) * minutes)
    if not waits:
        return "none"
    return f"{len(waits) / len(series):.0%}, {float(np.median(waits)):.0f} min"


CRISIS_DAYS = 55
CRISIS_MINUTES = 5


def brand(seed: int) -> tuple[Counts, list[int]]:
    """Eight weeks of a brand with bursts of its own, and the buckets at which a crisis begins.

    Shot noise: ordinary bursts come at random (2 to 50 a month), with a size of a heavy tail (Pareto,
    exponent 1.1 to 2.2) and a decay of minutes to hours; on top the day's swing, the mood of days and
    a drift over hours. A crisis brings about two thirds of a day's mentions in its first hours.
    """
    random = np.random.default_rng([7, seed])
    per_day, per_hour = 1440 // CRISIS_MINUTES, 60 // CRISIS_MINUTES
    index = np.arange(CRISIS_DAYS * per_day)
    rate = 10 ** random.uniform(-0.3, 2.2)
    mean = rate * (1 + random.uniform(0.3, 0.9) * np.sin(2 * np.pi * (index / per_hour - 9) / 24))
    mean *= np.where((index // per_day + random.integers(7)) % 7 >= 5, random.uniform(0.5, 1.1), 1)
    mean *= np.repeat(np.exp(random.normal(0, random.uniform(0.05, 0.2), CRISIS_DAYS)), per_day)
    keep = math.exp(-CRISIS_MINUTES / 60 / DRIFT_HOURS)
    noise = random.normal(size=len(index)) * math.sqrt(1 - keep * keep)
    drift = np.fromiter(itertools.accumulate(noise, lambda z, e: keep * z + e), float)
    mean *= np.exp(random.uniform(0.05, 0.25) * drift)
    daily = rate * per_day

    def shot(start: int, volume: float, decay: float, growth: float) -> None:
        length = min(len(index) - start, int(12 * decay + 5 * growth) + 2)
        after = np.arange(length)
        form = np.exp(-after / max(decay, 0.2)) * -np.expm1(-(after + 1) / max(growth, 0.3))
        mean[start : start + length] += volume * form / form.sum()

    tail, monthly = random.uniform(1.1, 2.2), 10 ** random.uniform(0.3, 1.7)
    usual = daily * 10 ** random.uniform(-2.3, -1.3)
    for bucket in np.flatnonzero(random.random(len(index)) < monthly / 30 / per_day):
        size = usual * min(30.0, random.pareto(tail) + 1)
        decay, growth = 10 ** random.uniform(-1.0, 0.7), 10 ** random.uniform(-1.5, 0)
        shot(int(bucket), size, per_hour * decay, per_hour * growth)
    crises = []
    for early, late in itertools.pairwise((0.12, 0.33, 0.54, 0.75, 0.97)):
        if random.random() < 0.75:
            start = int(random.uniform(early + 0.03, late - 0.03) * len(index))
            size = daily * math.exp(random.normal(math.log(0.7), 0.7))
            decay, growth = 10 ** random.uniform(0.3, 1.1), 10 ** random.uniform(-1, 0.5)
            shot(start, size, per_hour * decay, per_hour * growth)
            crises.append(start)
    return random.poisson(mean).astype(float), crises


def crises(options: argparse.Namespace) -> None:
    """Planted crises noticed within twelve hours, and the alarms about anything else."""
    soon = 12 * 60 // CRISIS_MINUTES
    formulas: dict[str, Callable[[Counts], list[int]]] = {
        f"Merkwacht, {level}": lambda counts, level=level: rings(  # type: ignore[misc]
            counts, CRISIS_MINUTES, level
        )
        for level in Sensitivity
    }
    for name, formula in market(CRISIS_MINUTES).items():
        formulas[name] = lambda counts, formula=formula: onsets(  # type: ignore[misc]
            [int(index) for index in np.flatnonzero(formula(counts))], CRISIS_MINUTES
        )
    brands = [brand(seed) for seed in range(options.seeds)]
    months = len(brands) * (CRISIS_DAYS - 1) / 30
    print("| formula | noticed | median delay | other alarms a month |")
    print("| --- | --- | --- | --- |")
    for name, find in formulas.items():
        waits, other, planted = [], 0, 0
        for counts, begins in brands:
            found = find(counts)
            hits = [next((i for i in found if b <= i < b + soon), None) for b in begins]
            waits += [hit - b for hit, b in zip(hits, begins, strict=True) if hit is not None]
            other += sum(not any(b <= i < b + soon for b in begins) for i in found)
            planted += len(begins)
        delay = float(np.median(waits)) * CRISIS_MINUTES if waits else math.nan
        print(
            f"| {name} | {len(waits) / planted:.0%} | {delay:.0f} min | {other / months:.1f} |",
            flush=True,
        )


@dataclass(frozen=True)
class Labelled:
    """A series of the benchmark, and what an alarm on each row is worth."""

    name: str
    rows: list[tuple[datetime, float]]
    worth: list[tuple[int | None, float] | None]
    """The window a row lies in, if any, and its reward; None while the score has not begun."""
    windows: int


@dataclass(frozen=True)
class Points:
    """What the alarms on one series earned."""

    raw: float
    windows: int
    found: int
    outside: int

    def score(self) -> float:
        return 100 * (self.raw + self.windows) / (2 * self.windows)


FALSE_ALARM = 0.11
"""Cost of an alarm outside of the windows, in the benchmark's standard profile."""


def sigmoid(position: float) -> float:
    return -1.0 if position > 3 else 2 / (1 + math.exp(5 * position)) - 1


def labelled(path: Path, spans: Sequence[Sequence[str]]) -> Labelled:
    """Read one series and price its rows as the benchmark does."""
    with path.open(newline="") as lines:
        rows = [
            (datetime.fromisoformat(line["timestamp"]).replace(tzinfo=UTC), float(line["value"]))
            for line in csv.DictReader(lines)
        ]
    begin = math.floor(0.15 * min(len(rows), 5000))
    limits = [[datetime.fromisoformat(edge).replace(tzinfo=UTC) for edge in span] for span in spans]
    inside = [
        [index for index, (at, _) in enumerate(rows) if first <= at <= last]
        for first, last in limits
    ]
    edges = [(places[0], places[-1]) for places in inside]
    worth: list[tuple[int | None, float] | None] = []
    for index in range(len(rows)):
        if index < begin:
            worth.append(None)
            continue
        window = next((k for k, (a, b) in enumerate(edges) if a <= index <= b), None)
        if window is not None:
            a, b = edges[window]
            worth.append((window, sigmoid(-(b - index + 1) / (b - a + 1)) / sigmoid(-1.0)))
            continue
        past = [edge for edge in edges if edge[1] < index]
        late = sigmoid((index - past[-1][1]) / (past[-1][1] - past[-1][0])) if past else -1.0
        worth.append((None, FALSE_ALARM * late))
    name = path.stem.removeprefix("Twitter_volume_")
    return Labelled(name, rows, worth, sum(b >= begin for _, b in edges))


def earned(series: Labelled) -> Points:
    """What the detector at its default earns on a series."""
    steps = [b[0] - a[0] for a, b in itertools.pairwise(series.rows[:12])]
    detector = SpikeDetector(bucket=min(steps))
    best: dict[int, float] = {}
    cost, outside = 0.0, 0
    for (at, value), worth in zip(series.rows, series.worth, strict=True):
        if not detector.advance(at, value).alert or worth is None:
            continue
        window, reward = worth
        if window is None:
            cost, outside = cost + reward, outside + 1
        else:
            best.setdefault(window, reward)
    raw = sum(best.values()) + cost - (series.windows - len(best))
    return Points(raw, series.windows, len(best), outside)


def together(points: Iterable[Points]) -> Points:
    """The points of several series as one."""
    columns = zip(*(dataclasses.astuple(each) for each in points), strict=True)
    return Points(*(sum(column) for column in columns))


def nab(options: argparse.Namespace) -> None:
    """Score of the default alarm in the benchmark's standard profile, for each series."""
    folder = options.folder or Path(os.environ.get("MERKWACHT_CORPORA", ".")).parent / "nab"
    if not (folder / "windows.json").exists():
        raise SystemExit(f"{folder} holds no windows.json: name the folder of the series")
    spans = json.loads((folder / "windows.json").read_text())
    series = [
        labelled(path, spans[f"realTweets/{path.name}"])
        for path in sorted(folder.glob("Twitter_volume_*.csv"))
    ]
    print("| series | score | windows found | alarms outside |")
    print("| --- | --- | --- | --- |")
    points = [earned(each) for each in series]
    names = [each.name for each in series]
    for name, each in zip([*names, "all"], [*points, together(points)], strict=True):
        print(f"| {name} | {each.score():.1f} | {each.found} of {each.windows} | {each.outside} |")
    if options.leave_one_out:
        leave_one_out(series)


GRID = list(itertools.product((3.5, 7.0, 14.0, 28.0), (0.5, 1.0, 1.5)))
"""Half-lives of bursts in days, and chance alarms a month, that are tried."""


def leave_one_out(series: Sequence[Labelled]) -> None:
    """Choose the best constants on all series but one, measure them on that one."""
    default = spikes._PROFILES[Sensitivity.BALANCED]
    table = []
    for days, alarms in GRID:
        spikes._PROFILES[Sensitivity.BALANCED] = dataclasses.replace(
            default, memory=days * 86400, false_alarms=alarms
        )
        table.append([earned(each) for each in series])
    spikes._PROFILES[Sensitivity.BALANCED] = default
    print(
        "\n| left out | chosen on the others: half-life, chance alarms | score | at the default |"
    )
    print("| --- | --- | --- | --- |")
    chosen = []
    usual = table[GRID.index((default.memory / 86400, default.false_alarms))]
    for out, each in enumerate(series):
        best = max(
            range(len(GRID)),
            key=lambda row, out=out: together(  # type: ignore[misc]
                points for place, points in enumerate(table[row]) if place != out
            ).score(),
        )
        chosen.append(table[best][out])
        print(
            f"| {each.name} | {GRID[best][0]:g} days, {GRID[best][1]:g} "
            f"| {table[best][out].score():.1f} | {usual[out].score():.1f} |"
        )
    print(f"| all | | {together(chosen).score():.1f} | {together(usual).score():.1f} |")
    print("\n| half-life, chance alarms | score on all |")
    print("| --- | --- |")
    for (days, alarms), row in zip(GRID, table, strict=True):
        print(f"| {days:g} days, {alarms:g} | {together(row).score():.1f} |")


POOLS = {
    "Dutch posts": ("abuse/posts_nl.jsonl", "sentiment_nl/political_tweets.jsonl"),
    "English posts": ("sentiment_en/semeval_pool.jsonl",),
    "Dutch reviews": ("sentiment_nl/restaurants.jsonl",),
}
DEMO = Path(__file__).parents[2] / "monitor/demo/data"
PER_DAY = (30, 65, 200, 1000)
MOST_POSTS = 12_000


def topics(options: argparse.Namespace) -> None:
    """Topics a month where unrelated texts come at random, by day and night and in waves."""
    folder = options.folder or Path(os.environ.get("MERKWACHT_CORPORA", "."))
    pools = {
        name: [json.loads(line)["text"] for file in files for line in (folder / file).open()]
        for name, files in POOLS.items()
    }
    crisis = set(json.loads((DEMO / "answers.json").read_text())["crisis"]["ids"])
    week = [json.loads(line) for line in (DEMO / "mentions.jsonl").open()]
    pools["the demo's other days"] = [each["text"] for each in week if each["id"] not in crisis]
    print("| texts | " + " | ".join(f"{rate} a day" for rate in PER_DAY) + " |")
    print("| --- |" + " --- |" * len(PER_DAY))
    rang, months = 0, 0.0
    for name, texts in pools.items():
        cells = []
        for rate in PER_DAY:
            days = min(options.days, MOST_POSTS // rate)
            found = chance_topics(texts, rate, days, options.sensitivity)
            cells.append(f"{found} in {days} days")
            rang, months = rang + found, months + days / 30
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    print(f"\n{options.sensitivity}: {rang / months:.2f} a month ({months:.0f} months)")


def chance_topics(texts: Sequence[str], rate: int, days: int, sensitivity: Sensitivity) -> int:
    """How many topics ring among shuffled texts."""
    chance, detector, found = random.Random(rate), TopicDetector(sensitivity=sensitivity), 0
    left: list[str] = []
    for hour in range(24 * days):
        swing = 1 + 0.8 * math.sin(2 * math.pi * (hour - 9) / 24)
        hourly = rate / 24 * swing * chance.gammavariate(1 / DISPERSION, DISPERSION)
        after = chance.expovariate(hourly)
        while after < 1:
            if not left:
                left = chance.sample(list(texts), len(texts))
            text = left.pop()
            author = str(chance.randrange(20 * rate))
            at = START + timedelta(hours=hour + after)
            found += detector.advance(at, text, author=author, story=story_key(text)).alert
            after += chance.expovariate(hourly)
    return found


def cost(options: argparse.Namespace) -> None:
    """Price of a bucket and of a restart after a week and after a year."""
    print("| history | per bucket | restore | snapshot |")
    print("| --- | --- | --- | --- |")
    per_day, pause = 1440 // options.bucket, timedelta(minutes=options.bucket)
    kept = {}
    for days in (7, 365):
        counts = simulate("negative binomial", 8.0, 1, days=days + 7, minutes=options.bucket)
        detector = SpikeDetector(bucket=pause)
        for index, count in enumerate(counts[: days * per_day]):
            detector.advance(START + pause * index, float(count))
        kept[days] = json.dumps(detector.snapshot()), counts
    spent = dict.fromkeys(kept, (math.inf, math.inf))
    for _ in range(options.seeds):  # In turns, so that a busy machine is as busy for both.
        for days, (text, counts) in kept.items():
            began = time.process_time()
            detector = SpikeDetector.restore(json.loads(text))
            restored = time.process_time()
            for index in range(days * per_day, (days + 7) * per_day):
                detector.advance(START + pause * index, float(counts[index]))
            bucket = (time.process_time() - restored) / per_day / 7
            best = spent[days]
            spent[days] = min(best[0], bucket), min(best[1], restored - began)
    for days, (text, _) in kept.items():
        bucket, restore = (1e6 * seconds for seconds in spent[days])
        print(f"| {days} days | {bucket:.0f} µs | {restore:.0f} µs | {len(text)} characters |")


def main() -> None:
    """Run the table that is asked for."""
    tables = {
        "quiet": quiet,
        "delay": delay,
        "crises": crises,
        "nab": nab,
        "topics": topics,
        "cost": cost,
    }
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", choices=list(tables))
    parser.add_argument("folder", type=Path, nargs="?", help="of the benchmark's series")
    parser.add_argument("--leave-one-out", action="store_true")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--bucket", type=int, default=60, help="minutes")
    parser.add_argument("--rates", type=float, nargs="+", default=RATES, help="per bucket")
    parser.add_argument("--sensitivity", type=Sensitivity, default=Sensitivity.BALANCED)
    options = parser.parse_args()
    tables[options.table](options)


if __name__ == "__main__":
    main()
