"""What sources may cost: how much is left of a day and a month, and who hears when it runs out.

A connector asks a :class:`Purse` before each request and sizes the request so that the dearest answer
still fits; what a page did cost is stored together with it. Days and months are those of UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field, model_validator

from alerts.base import Severity, Signal, SignalKind
from connectors.base import Priced
from connectors.options import Options

if TYPE_CHECKING:
    from monitor.inbox import Inbox
    from monitor.store import Store, Unit

NOTHING = Decimal(0)

Money = Annotated[Decimal, Field(gt=0, le=1_000_000)]
Price = Annotated[Decimal, Field(ge=0, le=1_000_000)]


class BudgetOptions(Options):
    """What a source may cost. When it is spent, posts are only counted."""

    per_day: Money | None = None
    """Money for a day (UTC). Default: no limit but per_month."""
    per_month: Money | None = None
    """Money for a calendar month (UTC). Default: no limit but per_day."""
    currency: str = Field(default="USD", pattern=r"^[A-Z]{3}$")
    """Of these amounts and of prices, as three capitals. With another than the price list's, give
    prices. Default "USD"."""
    prices: dict[str, Price] = Field(default_factory=dict)
    """What one unit costs, as { post = 0.005, user = 0.010 }. Default: the source's public list."""
    warn_at: float = Field(default=0.8, gt=0, lt=1)
    """Part of the money after which operations are warned. Default 0.8."""

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if self.per_day is None and self.per_month is None:
            raise ValueError("give per_day or per_month, or both")
        return self


class Period(StrEnum):
    """What a limit is for."""

    DAY = "day"
    MONTH = "month"


class Level(StrEnum):
    """How far a budget is spent."""

    FINE = "fine"
    LOW = "low"
    """As much is spent as people want to be warned at."""
    OUT = "out"
    """Less is left than the smallest page may cost."""


@dataclass(frozen=True, slots=True)
class Tariff:
    """What a source costs, and what it may cost."""

    currency: str
    prices: Mapping[str, Decimal]
    """Of a unit; what has no price costs nothing."""
    least: Decimal
    """What the smallest page with posts may cost."""
    limits: Mapping[Period, Decimal]
    """Empty: as much as it likes."""
    warn_at: float = 0.8

    def cost(self, units: Mapping[str, int]) -> Decimal:
        """What some units cost."""
        return _cost(units, self.prices)


def tariff_of(connector: Any, options: Any, budget: BudgetOptions | None) -> Tariff | None:
    """The tariff of a source; None where its kind costs no money.

    Args:
        connector: the class.
        options: of the source.
        budget: of the source, if it has one.
    """
    if not isinstance(connector, Priced):
        return None
    least = connector.least(options)
    if budget is None:
        return Tariff(connector.currency, connector.prices, _cost(least, connector.prices), {})
    prices = {**connector.prices, **budget.prices}
    given = {Period.DAY: budget.per_day, Period.MONTH: budget.per_month}
    limits = {period: limit for period, limit in given.items() if limit is not None}
    return Tariff(budget.currency, prices, _cost(least, prices), limits, budget.warn_at)


def _cost(units: Mapping[str, int], prices: Mapping[str, Decimal]) -> Decimal:
    return sum((prices.get(unit, NOTHING) * many for unit, many in units.items()), NOTHING)


def budget_problems(connector: Any, options: Any, budget: BudgetOptions) -> list[tuple[str, str]]:
    """What is wrong with the budget of a source: key and words."""
    tariff = tariff_of(connector, options, budget)
    if tariff is None:
        return []  # its kind has no such table
    problems = [
        (f"prices.{unit}", f"is nothing that it bills; it bills: {', '.join(connector.prices)}")
        for unit in budget.prices
        if unit not in connector.prices
    ]
    if budget.currency != connector.currency:
        problems += [
            (
                f"prices.{unit}",
                f"is missing: the price list is in {connector.currency}, not in {budget.currency}",
            )
            for unit, price in connector.prices.items()
            if price and unit not in budget.prices
        ]
    for period, limit in tariff.limits.items():
        if limit < tariff.least:
            what = (
                f"{limit} buys nothing: the smallest page may cost {tariff.least}; choose at least "
                "that"
            )
            problems.append((f"per_{period.value}", what))
    return problems


@dataclass(frozen=True, slots=True)
class Standing:
    """How one limit of a source stands."""

    period: Period
    begins: date
    ends: datetime
    """When the next period begins, aware, UTC."""
    limit: Decimal
    spent: Decimal
    level: Level

    @property
    def left(self) -> Decimal:
        """Money that is left; never below 0."""
        return max(self.limit - self.spent, NOTHING)


def standings(unit: Unit, source: str, tariff: Tariff, now: datetime) -> list[Standing]:
    """How each limit of a source stands."""
    found = []
    for period, limit in tariff.limits.items():
        begins, ends = bounds(period, now)
        spent = unit.spending.of(source, begins, now.astimezone(UTC).date()).cost
        level = Level.FINE
        if limit - spent < tariff.least:
            level = Level.OUT
        elif spent >= limit * Decimal(str(tariff.warn_at)):
            level = Level.LOW
        found.append(Standing(period, begins, ends, limit, spent, level))
    return found


def bounds(period: Period, now: datetime) -> tuple[date, datetime]:
    """First day of the present period, and the moment at which the next one begins."""
    today = now.astimezone(UTC).date()
    if period is Period.DAY:
        begins, following = today, today + timedelta(days=1)
    else:
        begins = today.replace(day=1)
        following = (begins + timedelta(days=32)).replace(day=1)
    return begins, datetime.combine(following, time(), UTC)


class Purse:
    """What a source may still spend: see :class:`connectors.base.Budget`. For workers' threads.

    Args:
        source: its name.
        tariff: with limits.
        store: where spending is kept.
        inbox: the way to the main thread, which alone reads the store.
        now: the clock.
    """

    def __init__(
        self,
        source: str,
        tariff: Tariff,
        *,
        store: Store,
        inbox: Inbox,
        now: Callable[[], datetime],
    ) -> None:
        self._source = source
        self._tariff = tariff
        self._store = store
        self._inbox = inbox
        self._now = now

    def left(self) -> Decimal:
        """Money that is left for now."""
        return self._inbox.ask(self._left)

    def cost(self, units: Mapping[str, int]) -> Decimal:
        """What some units cost."""
        return self._tariff.cost(units)

    def _left(self) -> Decimal:
        with self._store.read() as unit:
            return min(
                each.left for each in standings(unit, self._source, self._tariff, self._now())
            )


class NoMoney:
    """A budget of which nothing is left: for checks, which must cost nothing."""

    def __init__(self, tariff: Tariff) -> None:
        self._tariff = tariff

    def left(self) -> Decimal:
        """Nothing."""
        return NOTHING

    def cost(self, units: Mapping[str, int]) -> Decimal:
        """What some units cost."""
        return self._tariff.cost(units)


def signals(source: str, tariff: Tariff, known: Sequence[Standing], now: datetime) -> list[Signal]:
    """A signal for each limit of a source that is nearly or wholly spent.

    The same in each look at the same period: a store of signals takes it once.
    """
    return [
        Signal(
            kind=SignalKind.BUDGET,
            brand="",
            severity=Severity.MEDIUM if each.level is Level.OUT else Severity.LOW,
            key=":".join(
                (
                    SignalKind.BUDGET.value,
                    source,
                    each.period.value,
                    each.begins.isoformat(),
                    # Raised in the middle of a period it is another budget.
                    f"{each.limit.normalize():f}",
                    each.level.value,
                )
            ),
            subject=source,
            occurred_at=now,
            facts={
                "source": source,
                "level": each.level.value,
                "period": each.period.value,
                "spent": float(each.spent),
                "limit": float(each.limit),
                "currency": tariff.currency,
                "until": each.ends.isoformat(),
            },
        )
        for each in known
        if each.level is not Level.FINE
    ]
