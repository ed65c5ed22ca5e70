"""Shelf of the spending: what sources cost, by day (UTC) and by what they bill."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_UP, Decimal

from sqlalchemy.dialects.sqlite import insert
from sqlmodel import Session, col, func, select

from monitor.tables import SpendingRow

_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Spent:
    """What a source cost in some days."""

    units: Counter[str] = field(default_factory=Counter)
    """How many of each unit."""
    cost: Decimal = Decimal(0)
    """In the source's currency, to the millionth."""


_ADD = insert(SpendingRow)
_ADD = _ADD.on_conflict_do_update(
    index_elements=["source", "day", "unit"],
    set_={
        "amount": col(SpendingRow.amount) + _ADD.excluded.amount,
        "cost": col(SpendingRow.cost) + _ADD.excluded.cost,
    },
)


class Spending:
    """Rows of the spending within one transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(
        self, source: str, day: date, units: Mapping[str, int], prices: Mapping[str, Decimal]
    ) -> None:
        """Record units and what they cost; a unit without a price cost nothing.

        To be called in the transaction that keeps what they were spent on.
        """
        rows = [
            {
                "source": source,
                "day": day,
                "unit": unit,
                "amount": amount,
                "cost": _millionths(prices.get(unit, Decimal(0)) * amount),
            }
            for unit, amount in units.items()
            if amount > 0
        ]
        if rows:
            self._session.connection().execute(_ADD, rows)

    def of(self, source: str, since: date, until: date) -> Spent:
        """What a source cost from day ``since`` to day ``until``, both included."""
        return self.all(since, until, source=source).get(source, Spent())

    def all(self, since: date, until: date, *, source: str | None = None) -> dict[str, Spent]:
        """What each source cost from day ``since`` to day ``until``, both included."""
        query = (
            select(
                SpendingRow.source,
                SpendingRow.unit,
                func.sum(SpendingRow.amount),
                func.sum(SpendingRow.cost),
            )
            .where(col(SpendingRow.day) >= since, col(SpendingRow.day) <= until)
            .group_by(col(SpendingRow.source), col(SpendingRow.unit))
        )
        if source is not None:
            query = query.where(SpendingRow.source == source)
        found: dict[str, Spent] = {}
        for name, unit, amount, cost in self._session.exec(query):
            known = found.get(name, Spent())
            units = known.units + Counter({unit: amount})
            found[name] = Spent(units, known.cost + Decimal(cost) / _MILLION)
        return found


def _millionths(cost: Decimal) -> int:
    """Rounded against us: what is recorded is never less than what was billed."""
    return int((cost * _MILLION).to_integral_value(ROUND_UP))
