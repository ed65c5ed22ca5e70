"""``fingerprint add|list|remove|test|rescan``: the register of secrets.

Documents and lists become keyed fingerprints; nothing else of them is kept, logged or printed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TextIO
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.table import Table

from classifiers.base import LeakCategory
from classifiers.detectors.base import looked_at
from classifiers.register.detector import RegisterDetector
from classifiers.register.documents import RegistrationError, document
from classifiers.register.fingerprints import SCHEME, Fingerprints
from classifiers.register.index import Index, Relatives
from classifiers.register.items import Hit, Item, ItemKind
from classifiers.register.lists import Remark, listing
from classifiers.register.readers import ReadError, read_rows, read_text
from monitor.store import Store


@dataclass(frozen=True, slots=True)
class Wanted:
    """How files are to be registered."""

    kind: ItemKind
    category: LeakCategory
    label: str = ""
    columns: Sequence[str] = ()


def add(
    files: Sequence[Path],
    wanted: Wanted,
    *,
    store: Store,
    fingerprints: Fingerprints,
    now: datetime,
    sink: TextIO,
    errors: TextIO,
    progress: Callable[[int], object],
) -> int:
    """Register files, each in a transaction of its own. Returns how many could not be.

    Args:
        files: what to register.
        wanted: as what.
        store: where to.
        fingerprints: of this installation.
        now: the present.
        sink: one line for each file that was registered.
        errors: one line for each file that was not, and for what was left out of a list.
        progress: takes how many files are done.
    """
    known = _Known(store, fingerprints)
    failed = 0
    for done, path in enumerate(files):
        label = wanted.label
        if label and len(files) > 1:
            label = f"{label}-{done + 1}"
        try:
            item, remarks = _item(path, replace(wanted, label=label), fingerprints)
            errors.writelines(f"{path}: {each}\n" for each in remarks)
            sink.write(f"{path}: {_keep(item, known, store, now)}\n")
        except (ReadError, RegistrationError) as error:
            errors.write(f"{path}: {error}\n")
            failed += 1
        progress(done + 1)
    return failed


_RECENT = 100


class _Known:
    """What is registered, and what this call has added: to see what is registered twice."""

    def __init__(self, store: Store, fingerprints: Fingerprints) -> None:
        self._fingerprints = fingerprints
        with store.read() as unit:
            self._old = unit.register.all()
        self._indexes = [Index(self._old, fingerprints)]
        self._recent: list[Item] = []
        self._twins = {_contents(item): item.label for item in self._old}

    def twin(self, item: Item) -> str | None:
        """The label of what holds exactly the same, registered as the same."""
        return self._twins.get(_contents(item))

    def add(self, item: Item) -> None:
        """Know one more. The large index is made anew for every hundredth only."""
        self._twins[_contents(item)] = item.label
        if item.kind is not ItemKind.DOCUMENT:
            return
        self._recent.append(item)
        if len(self._recent) < _RECENT:
            self._indexes[1:] = [Index(self._recent, self._fingerprints)]
        else:
            self._old += self._recent
            self._recent = []
            self._indexes = [Index(self._old, self._fingerprints)]

    def relatives(self, item: Item) -> Relatives:
        """The documents that an item is like, the same one before a version."""
        found = [index.relatives(item) for index in self._indexes]
        found.sort(key=lambda each: (not each.public, each.same is None, each.version_of is None))
        return found[0]


def _contents(item: Item) -> tuple[ItemKind, LeakCategory, bytes]:
    return item.kind, item.category, item.prints


def _item(path: Path, wanted: Wanted, fingerprints: Fingerprints) -> tuple[Item, list[Remark]]:
    if wanted.kind in {ItemKind.TERMS, ItemKind.RECORDS}:
        rows = read_rows(path, wanted.columns)
        return listing(rows, wanted.label, wanted.kind, wanted.category, fingerprints)
    text = read_text(path)
    public = wanted.kind is ItemKind.PUBLIC
    return document(text, wanted.label, wanted.category, fingerprints, public=public), []


def _keep(item: Item, known: _Known, store: Store, now: datetime) -> str:
    """Store an item; says what became of it.

    Raises:
        RegistrationError: the label is taken, or nothing in it is secret.
    """
    relatives = Relatives()
    if item.kind is ItemKind.DOCUMENT:
        relatives = known.relatives(item)
        if relatives.public:
            raise RegistrationError("all of it is registered as public, or ordinary phrases")
    same = relatives.same or known.twin(item)
    if same:
        return f"registered already as {same}; nothing added"
    with store.write() as unit:
        if relatives.version_of:
            item = replace(item, family=unit.register.family(relatives.version_of))
        try:
            kept = unit.register.add(item, now)
        except ValueError as error:
            raise RegistrationError(f"{error}; remove it first, or choose another") from None
    known.add(kept)
    rows = item.kind in {ItemKind.TERMS, ItemKind.RECORDS}
    note = f", a version of {relatives.version_of}" if relatives.version_of else ""
    return (
        f"{kept.label}: {item.kind.value}, {item.category.value}, "
        f"{item.size:,} {'rows' if rows else 'words'}, {item.entries:,} fingerprints{note}"
    )


def show_list(store: Store, sink: TextIO, timezone: str, *, as_json: bool) -> None:
    """Write what is registered, as a table or JSON Lines."""
    with store.read() as unit:
        found = unit.register.listed()
    if as_json:
        for each in found:
            line = {
                "label": each.label,
                "kind": each.kind.value,
                "category": each.category.value,
                "size": each.size,
                "entries": each.entries,
                "bytes": each.bytes,
                "added_at": each.added_at.isoformat(),
                "usable": each.scheme == SCHEME,
            }
            sink.write(json.dumps(line, ensure_ascii=False) + "\n")
        return
    zone = ZoneInfo(timezone)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("label", "kind", "category", "words or rows", "entries", "added"):
        right = name in {"words or rows", "entries"}
        table.add_column(name, justify="right" if right else "left", no_wrap=True)
    for each in found:
        added = each.added_at.astimezone(zone).strftime("%Y-%m-%d %H:%M")
        table.add_row(
            each.label,
            each.kind.value,
            each.category.value,
            f"{each.size:,}",
            f"{each.entries:,}",
            added if each.scheme == SCHEME else f"{added}, by another version: register it anew",
        )
    words = "Nothing is registered yet: merkwacht fingerprint add FILE"
    Console(file=sink, highlight=False, markup=False).print(table if found else words)


def remove(store: Store, labels: Sequence[str], errors: TextIO) -> int:
    """Forget items. Returns how many there were not."""
    missing = 0
    with store.write() as unit:
        for label in labels:
            if not unit.register.remove(label):
                errors.write(f"nothing is registered as {label}\n")
                missing += 1
    return missing


def show_hits(hits: Sequence[Hit], sink: TextIO, *, as_json: bool) -> None:
    """Write what the register knows of a post, as a table or JSON Lines."""
    if as_json:
        sink.writelines(json.dumps(_as_json(hit), ensure_ascii=False) + "\n" for hit in hits)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("label", "kind", "category", "confidence", "score", "words", "place"):
        right = name in {"score", "words"}
        table.add_column(name, justify="right" if right else "left", no_wrap=True)
    for hit in hits:
        table.add_row(
            hit.label,
            hit.kind.value,
            hit.category.value,
            hit.confidence.value,
            f"{hit.bits:.0f}",
            str(hit.words),
            f"{hit.start}-{hit.end}",
        )
    words = "Nothing in this post is registered."
    Console(file=sink, highlight=False, markup=False).print(table if hits else words)


def hits_in(detector: RegisterDetector, text: str) -> list[Hit]:
    """What of the register stands in a post, looked at as the daemon does: both its ends."""
    return [
        replace(hit, start=hit.start + start, end=hit.end + start)
        for start, part in looked_at(text).items()
        for hit in detector.hits(part)
    ]


def rescan(
    store: Store,
    detector: RegisterDetector,
    sink: TextIO,
    since: datetime,
    progress: Callable[[int], object],
) -> int:
    """Write the stored mentions in which, or in whose pictures, something registered stands.

    As JSON Lines. Places in pictures count from the beginning of their text.
    Nothing is assessed anew and nobody is alerted. Returns how many there are.
    """
    found = 0
    with store.read() as unit:
        for done, (mention, pictured) in enumerate(unit.mentions.said(since), start=1):
            hits = [
                (hit, in_picture)
                for in_picture, text in ((False, mention.post.text), (True, pictured))
                for hit in hits_in(detector, text)
            ]
            if hits:
                found += 1
                line = {
                    "mention": mention.id,
                    "published_at": mention.post.published_at.isoformat(),
                    "url": mention.post.url,
                    "hits": list(_best(hits)),
                }
                sink.write(json.dumps(line, ensure_ascii=False) + "\n")
            progress(done)
    return found


def _best(hits: Sequence[tuple[Hit, bool]]) -> Iterator[dict[str, object]]:
    for hit, in_picture in sorted(hits, key=lambda found: -found[0].bits):
        yield {**_as_json(hit), "in_picture": in_picture}


def _as_json(hit: Hit) -> dict[str, object]:
    return {
        "label": hit.label,
        "kind": hit.kind.value,
        "category": hit.category.value,
        "confidence": hit.confidence.value,
        "score": round(hit.bits, 1),
        "words": hit.words,
        "start": hit.start,
        "end": hit.end,
    }
