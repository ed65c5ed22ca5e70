"""Shelf of the register of secrets: fingerprints, and the number that tells when they changed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy.orm import defer
from sqlmodel import Session, col, func, select

from classifiers.base import LeakCategory
from classifiers.register.items import Item, ItemKind
from monitor.tables import MetaRow, RegisterRow

_GENERATION = "register_generation"
_PREFIXES = {
    ItemKind.DOCUMENT: "doc",
    ItemKind.PUBLIC: "public",
    ItemKind.TERMS: "list",
    ItemKind.RECORDS: "list",
}


@dataclass(frozen=True, slots=True)
class Listed:
    """What people may see of an item."""

    label: str
    kind: ItemKind
    category: LeakCategory
    size: int
    entries: int
    bytes: int
    added_at: datetime
    scheme: int


class Register:
    """Rows of the register within one transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def generation(self) -> int:
        """A number that grows with every change."""
        row = self._session.get(MetaRow, _GENERATION)
        return 0 if row is None else int(row.value)

    def add(self, item: Item, now: datetime) -> Item:
        """Keep an item, and return it as it is kept.

        An empty label becomes a neutral one, such as ``doc-7``; without a family it founds one.

        Raises:
            ValueError: the label is taken.
        """
        if item.label and self._row(item.label) is not None:
            raise ValueError(f"{item.label}: the label is taken")
        row = RegisterRow(
            label=item.label or "\0",
            kind=item.kind.value,
            category=item.category.value,
            scheme=item.scheme,
            family=item.family,
            size=item.size,
            entries=item.entries,
            added_at=now,
            prints=item.prints,
        )
        self._session.add(row)
        self._session.flush()
        number = row.id or 0
        if not item.label:
            row.label = self._free_label(_PREFIXES[item.kind], number)
        row.family = item.family or number
        self._changed()
        return replace(item, label=row.label, family=row.family)

    def remove(self, label: str) -> bool:
        """Forget an item; False when there is none of that label."""
        row = self._row(label)
        if row is None:
            return False
        self._session.delete(row)
        self._changed()
        return True

    def all(self) -> list[Item]:
        """Everything registered, with its fingerprints."""
        rows = self._session.exec(select(RegisterRow).order_by(col(RegisterRow.id)))
        return [
            Item(
                label=row.label,
                kind=ItemKind(row.kind),
                category=LeakCategory(row.category),
                prints=row.prints,
                entries=row.entries,
                size=row.size,
                family=row.family,
                scheme=row.scheme,
            )
            for row in rows
        ]

    def listed(self) -> list[Listed]:
        """Everything registered, oldest first, without its fingerprints."""
        query = (
            select(RegisterRow, func.length(RegisterRow.prints))
            .options(defer(RegisterRow.prints))  # type: ignore[arg-type] # an attribute at class level
            .order_by(col(RegisterRow.id))
        )
        return [
            Listed(
                label=row.label,
                kind=ItemKind(row.kind),
                category=LeakCategory(row.category),
                size=row.size,
                entries=row.entries,
                bytes=size,
                added_at=row.added_at,
                scheme=row.scheme,
            )
            for row, size in self._session.exec(query)
        ]

    def family(self, label: str) -> int:
        """The family of an item; 0 when there is none of that label."""
        row = self._row(label)
        return 0 if row is None else row.family

    def _row(self, label: str) -> RegisterRow | None:
        return self._session.exec(select(RegisterRow).where(RegisterRow.label == label)).first()

    def _free_label(self, prefix: str, number: int) -> str:
        label = f"{prefix}-{number}"
        while self._row(label) is not None:  # somebody chose it for another item
            label += "a"
        return label

    def _changed(self) -> None:
        self._session.merge(MetaRow(key=_GENERATION, value=str(self.generation() + 1)))
        self._session.flush()
