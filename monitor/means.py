"""What an installation lives on: money for its sources, room on its disk, the right time."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

from monitor import copying
from monitor.app import build_tariff
from monitor.budget import Level, Period, Standing, Tariff, bounds, standings
from monitor.config import Config
from monitor.copying import in_words, size_of
from monitor.database import Room, explained, room_of
from monitor.findings import Finding, Findings, Grade
from monitor.store import Unit

SPARE = 256 * 1024 * 1024
"""Bytes that should be free besides what a copy of the database needs."""

_LOOKED_BACK = timedelta(days=7)
_SOON = timedelta(days=30)
"""A disk that is full within so long is somebody's work now."""
_EMPTY_SHARE = 0.25
_EMPTY_LEAST = 100 * 1000 * 1000
"""From this share and these bytes on, empty room in a file that cannot shrink is worth a night's work."""
_DAY = timedelta(days=1)


# -- money -----------------------------------------------------------------------------------------


def budgets(unit: Unit, config: Config, now: datetime) -> Findings:
    """What each source that costs money has spent, and what is left."""
    zone = ZoneInfo(config.timezone)
    for options in config.sources:
        tariff = build_tariff(options) if options.enabled else None
        if tariff is None:
            continue
        for each in standings(unit, options.name, tariff, now):
            yield _standing(options.name, tariff, each, now, zone)
        if not tariff.limits:
            since, _ = bounds(Period.MONTH, now)
            spent = unit.spending.of(options.name, since, now.astimezone(UTC).date()).cost
            yield Finding(
                "budget",
                Grade.NOTE,
                f"{options.name}: {_money(spent, tariff)} this month, and nothing limits it: "
                "give the source a budget",
            )


def _standing(
    source: str, tariff: Tariff, standing: Standing, now: datetime, zone: ZoneInfo
) -> Finding:
    said = (
        f"{source}: {_money(standing.spent, tariff)} of {_money(standing.limit, tariff)} a "
        f"{standing.period.value} spent"
    )
    until = f"until {standing.ends.astimezone(zone):%Y-%m-%d %H:%M}"
    if standing.level is Level.OUT:
        return Finding(
            "budget",
            Grade.WRONG,
            f"{said}: posts are counted and not read {until}",
            f"raise the budget of {source} and reload: what was missed is read as far back as the "
            "source allows; or narrow its query",
        )
    left = f"{_money(standing.left, tariff)} left {until}"
    if standing.level is Level.FINE:
        return Finding("budget", Grade.GOOD, f"{said}, {left}")
    began = datetime.combine(standing.begins, datetime.min.time(), UTC)
    pace = float(standing.spent) / max((now - began) / _DAY, 1 / 24)
    if pace * ((standing.ends - began) / _DAY) <= standing.limit:
        return Finding("budget", Grade.NOTE, f"{said}, {left}: enough at the present pace")
    return Finding(
        "budget",
        Grade.WRONG,
        f"{said}, {left}: not enough at the present pace",
        f"raise the budget of {source} before it is spent, narrow its query, or lengthen "
        "interval_seconds; then reload",
    )


def _money(amount: Decimal, tariff: Tariff) -> str:
    return f"{amount:.2f} {tariff.currency}"


# -- room ------------------------------------------------------------------------------------------


def free_now(database: Path) -> Findings:
    """Whether a copy of the database has room beside it."""
    if not database.parent.is_dir():
        return
    free, wanted = copying.free_beside(database), size_of(database) + SPARE
    if free < wanted:
        yield Finding(
            "disk",
            Grade.WRONG,
            f"{in_words(free)} free in {database.parent}, and {in_words(wanted)} should be: "
            "room for a copy before an upgrade, and for growing",
            "make room, give the disk more, or lower store.retention_days",
        )
    else:
        yield Finding("disk", Grade.GOOD, f"{in_words(free)} free in {database.parent}")


@dataclass(frozen=True, slots=True)
class Forecast:
    """How a database grows."""

    a_day: float
    """Bytes a day, while nothing is old enough to be deleted."""
    days: float
    """So long: until what was stored first is as old as retention allows."""
    free: float
    """Bytes."""

    @property
    def full_in(self) -> float | None:
        """Days until the disk has no room to spare; None: retention comes first."""
        room = max(self.free - SPARE, 0)
        return room / self.a_day if self.a_day * self.days > room else None


def forecast(
    *, stored: int, oldest: datetime, lately: int, used: int, free: int, keep: timedelta,
    now: datetime,
) -> Forecast:  # fmt: skip
    """How a database will grow at the pace of the last days.

    Args:
        stored: mentions there are.
        oldest: when the oldest of them was published.
        lately: mentions of the last seven days.
        used: bytes that are in use.
        free: bytes that are free on its disk.
        keep: the retention.
        now: the present.
    """
    age = max(now - oldest, _DAY)
    a_day = lately / (min(age, _LOOKED_BACK) / _DAY) * used / max(stored, 1)
    return Forecast(a_day, max((keep - age) / _DAY, 0), free)


def growth(unit: Unit, database: Path, config: Config, now: datetime) -> Findings:
    """Whether the disk lasts until retention begins to delete."""
    stored, oldest = unit.looking.holdings()
    if oldest is None or not database.parent.is_dir():
        return
    known = forecast(
        stored=stored,
        oldest=oldest,
        lately=_lately(unit, [brand.name for brand in config.brands], now),
        used=_used(database),
        free=copying.free_beside(database),
        keep=timedelta(days=config.store.retention_days),
        now=now,
    )
    pace = f"{in_words(known.a_day)} a day at the pace of the last week"
    if known.days <= 0 or known.a_day < 1:
        what = f"{pace}, and as much is deleted" if known.days <= 0 else "the database hardly grows"
        yield Finding("disk", Grade.GOOD, what)
    elif known.full_in is None:
        more = in_words(known.a_day * known.days)
        yield Finding(
            "disk", Grade.GOOD, f"{pace}: {more} more until retention deletes as much as comes in"
        )
    else:
        soon = known.full_in <= _SOON / _DAY
        yield Finding(
            "disk",
            Grade.WRONG if soon else Grade.NOTE,
            f"{pace}: full in about {known.full_in:.0f} days, long before retention deletes as much "
            f"as comes in ({known.days:.0f} days)",
            "lower store.retention_days, narrow the queries, or give the disk more" if soon else "",
        )


def _lately(unit: Unit, brands: Sequence[str], now: datetime) -> int:
    return sum(
        sum(cell.values())
        for brand in brands
        for cell in unit.mentions.counts(brand, now - _LOOKED_BACK, now).values()
    )


def _used(database: Path) -> int:
    room = _room(database)
    return (room.pages - room.free) * room.page_bytes


def _room(database: Path) -> Room:
    with explained(database), closing(copying.connect(database)) as connection:
        return room_of(connection)


def emptiness(database: Path) -> Findings:
    """Room in the file that holds nothing. Raises StoreError."""
    room = _room(database)
    if room.shrinks:
        return
    empty, size = room.free * room.page_bytes, room.pages * room.page_bytes
    much = empty >= _EMPTY_LEAST and empty >= size * _EMPTY_SHARE
    what = (
        f"made by an early version: the room of what is deleted ({in_words(empty)} of "
        f"{in_words(size)} now) is used again, but not given back to the disk"
    )
    remedy = "systemctl stop merkwacht, merkwacht vacuum as its user, and start it again"
    yield Finding(
        "database",
        Grade.WRONG if much else Grade.NOTE,
        what if much else f"{what}; to change that, {remedy}",
        remedy if much else "",
    )


# -- time ------------------------------------------------------------------------------------------

_TIMEX_BYTES = 512
"""More than any system's ``struct timex``; all zero it asks and sets nothing."""
_TIME_ERROR = 5


def kernel_keeps_time() -> bool | None:
    """Whether some program keeps the machine's clock right, as the kernel sees it; None: unknown."""
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(
            ctypes.create_string_buffer(_TIMEX_BYTES)
        )
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != _TIME_ERROR


def clock(running: Path, *, kept: bool | None) -> Findings:
    """Whether something keeps the clock: alerts, spikes and working hours hang on it.

    Args:
        running: where services leave word of themselves (``/run``).
        kept: what the kernel says, see :func:`kernel_keeps_time`.
    """
    folder = running / "systemd" / "timesync"
    if (folder / "synchronized").exists():
        yield Finding("time", Grade.GOOD, "systemd-timesyncd has set the clock")
    elif folder.is_dir():
        yield Finding(
            "time",
            Grade.WRONG,
            "systemd-timesyncd runs and has not set the clock since the machine started",
            "timedatectl timesync-status; let UDP port 123 out, or name a server of your own",
        )
    elif kept:
        yield Finding("time", Grade.GOOD, "something keeps the clock right, says the kernel")
    else:
        # A machine's host may set it without a word to the kernel.
        said = "nobody" if kept is False else "it is unknown who"
        yield Finding(
            "time",
            Grade.NOTE,
            f"{said} keeps the clock, as far as this machine knows; unless its host does, install "
            "chrony or systemd-timesyncd",
        )
