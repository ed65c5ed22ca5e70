"""How often the spike detector rings for nothing, and how soon it rings for something.

    python tests/bench/bench_spikes.py quiet --seeds 200 --days 90 [--bucket 60] [--jobs 2]
    python tests/bench/bench_spikes.py delay --seeds 20 [--bucket 60]
    python tests/bench/bench_spikes.py cost

Prints Markdown tables; progress goes to stderr. The series are simulated: nights, weekends, and a
rate that is steady (Poisson), fluctuates from bucket to bucket (negative binomial) or drifts over
hours (drifting).
"""

from __future__ import annotations

import argparse
import itertools
import math
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alerts.spikes import Sensitivity, SpikeDetector

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


def cost(options: argparse.Namespace) -> None:
    """Price of a bucket after a week and after a year."""
    print("| history | per bucket | snapshot |")
    print("| --- | --- | --- |")
    for days in (7, 365):
        counts = simulate("poisson", 8.0, 1, days=days + 2, minutes=60)
        step, cut = timedelta(hours=1), days * 24
        detector = SpikeDetector(bucket=step)
        for index, count in enumerate(counts[:cut]):
            detector.advance(START + step * index, float(count))
        best = math.inf
        for _ in range(options.seeds):
            copy = SpikeDetector.restore(detector.snapshot())
            began = time.process_time()
            for index, count in enumerate(counts[cut:], cut):
                copy.advance(START + step * index, float(count))
            best = min(best, (time.process_time() - began) / 48)
        print(f"| {days} days | {best * 1e6:.0f} µs | {len(str(detector.snapshot()))} characters |")


def main() -> None:
    """Run the table that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", choices=["quiet", "delay", "cost"])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--bucket", type=int, default=60, help="minutes")
    parser.add_argument("--rates", type=float, nargs="+", default=RATES, help="per bucket")
    parser.add_argument("--sensitivity", type=Sensitivity, default=Sensitivity.BALANCED)
    options = parser.parse_args()
    {"quiet": quiet, "delay": delay, "cost": cost}[options.table](options)


if __name__ == "__main__":
    main()
