"""``import`` and ``export``: mentions with their assessments, in and out of the store."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from classifiers.assessor import to_contract
from classifiers.base import Assessment, Classifier, Text
from connectors.base import Mention, Post
from connectors.mentionfile import MentionLineError, parse_line, to_object
from monitor.matching import Brand, match
from monitor.privacy import Pseudonyms
from monitor.store import Store

BATCH = 64
FORMATS = ("jsonl", "csv", "parquet")

COLUMNS = (
    "brand",
    "id",
    "source",
    "url",
    "author",
    "author_followers",
    "published_at",
    "lang",
    "text",
    "likes",
    "shares",
    "replies",
    "official",
    "matched",
    "language",
    "sentiment",
    "leak_escalate",
    "leak_score",
    "leak_category",
    "abuse",
    "abuse_score",
    "leak_band",
    "leak_likely",
)


class ExportError(Exception):
    """The export cannot be made; the message says what to do."""


@dataclass(slots=True)
class ImportCount:
    """What an import did."""

    lines: int = 0
    matched: int = 0
    new: int = 0
    bad: int = 0


def import_file(
    path: Path,
    *,
    store: Store,
    brands: Sequence[Brand],
    classifier: Classifier,
    pseudonyms: Pseudonyms,
    now: Callable[[], datetime],
    errors: TextIO,
    progress: Callable[[int], object],
) -> ImportCount:
    """Store and assess the mentions of a file. Nothing imported ever alerts.

    Args:
        path: mention file (JSON Lines).
        store: where they go; posts that are there already are left as they are.
        brands: a post is kept for each brand that it matches.
        classifier: assesses them at once.
        pseudonyms: covers the authors.
        now: the clock.
        errors: gets ``{"line": …, "error": …}`` for each bad line.
        progress: called with the number of bytes read so far.
    """
    count = ImportCount()
    batch: list[Post] = []
    read = 0
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            read += len(raw)
            if not raw.strip():
                continue
            count.lines += 1
            try:
                batch.append(parse_line(raw))
            except MentionLineError as error:
                count.bad += 1
                errors.write(json.dumps({"line": number, "error": str(error)}) + "\n")
            if len(batch) == BATCH:
                _import(batch, count, store, brands, classifier, pseudonyms, now())
                batch.clear()
                progress(read)
    _import(batch, count, store, brands, classifier, pseudonyms, now())
    progress(read)
    return count


def _import(  # noqa: PLR0917 - one private step of the above
    posts: Sequence[Post],
    count: ImportCount,
    store: Store,
    brands: Sequence[Brand],
    classifier: Classifier,
    pseudonyms: Pseudonyms,
    now: datetime,
) -> None:
    mentions, _ = match(posts, brands, IMPORTED, pseudonyms)
    count.matched += len(mentions)
    if not mentions:
        return
    with store.write() as unit:
        added = unit.mentions.add_imported(mentions, now)
    if not added:
        return
    count.new += len(added)
    opinions = classifier.classify([Text(each.post.text, each.post.language) for each in added])
    with store.write() as unit:
        found = {mention.id: opinion for mention, opinion in zip(added, opinions, strict=True)}
        unit.mentions.assess(found, classifier.version, now)


IMPORTED = "import"
"""The source that imported mentions name."""


def export(
    store: Store,
    sink: BinaryIO,
    *,
    style: str,
    since: datetime | None,
    until: datetime | None,
    progress: Callable[[int], object],
) -> int:
    """Write the mentions published in ``since`` <= moment < ``until``. Returns how many.

    Authors are pseudonyms. ``jsonl`` is the mention format with the assessment beside it; ``csv``
    and ``parquet`` are flat.

    Raises:
        ExportError: parquet without pyarrow.
    """
    with store.read() as unit:
        pairs = _counted(unit.mentions.each(since, until), progress)
        if style == "jsonl":
            return _write_jsonl(pairs, sink)
        if style == "csv":
            return _write_csv(pairs, sink)
        return _write_parquet(pairs, sink)


Pairs = Iterator[tuple[Mention, Assessment | None]]


def _counted(pairs: Pairs, progress: Callable[[int], object]) -> Pairs:
    for number, pair in enumerate(pairs, start=1):
        yield pair
        progress(number)


def _write_jsonl(pairs: Pairs, sink: BinaryIO) -> int:
    count = 0
    for mention, assessment in pairs:
        value = {"brand": mention.brand, **to_object(mention.post)}
        value["official"] = mention.official
        value["matched"] = list(mention.matched)
        if assessment is not None:
            judged = to_contract(assessment, mention.post.id)
            judged.pop("id")
            value["assessment"] = judged
        sink.write(json.dumps(value, ensure_ascii=False).encode() + b"\n")
        count += 1
    return count


def _flat(mention: Mention, assessment: Assessment | None) -> dict[str, Any]:
    value: dict[str, Any] = dict.fromkeys(COLUMNS)
    value |= {"brand": mention.brand, **to_object(mention.post)}
    value |= {"official": mention.official, "matched": " | ".join(mention.matched)}
    if assessment is not None:
        value |= {
            "language": assessment.language,
            "sentiment": assessment.sentiment.label.value,
            "leak_escalate": assessment.leak.escalate,
            "leak_score": round(assessment.leak.score, 4),
            "leak_category": assessment.leak.category.value,
            "abuse": assessment.abuse.label.value,
            "abuse_score": round(assessment.abuse.score, 4),
            "leak_band": assessment.leak.band.value,
            "leak_likely": assessment.leak.likely.value,
        }
    return value


class _Text:
    """A text file's ``write`` over a binary one."""

    def __init__(self, sink: BinaryIO) -> None:
        self._sink = sink

    def write(self, text: str) -> int:
        return self._sink.write(text.encode())


def _write_csv(pairs: Pairs, sink: BinaryIO) -> int:
    writer = csv.DictWriter(_Text(sink), COLUMNS)
    writer.writeheader()
    count = 0
    for mention, assessment in pairs:
        row = _flat(mention, assessment)
        writer.writerow({key: _harmless(value) for key, value in row.items()})
        count += 1
    return count


def _harmless(value: Any) -> Any:
    """A text that a spreadsheet would take for a formula gets an apostrophe before it."""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"
    return value


def _write_parquet(pairs: Pairs, sink: BinaryIO) -> int:
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra of a hundred megabytes
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError:
        raise ExportError(
            "parquet needs pyarrow; install it with: pip install '.[parquet]' in Merkwacht's source folder"
        ) from None
    rows = [_flat(mention, assessment) for mention, assessment in pairs]
    parquet.write_table(pa.Table.from_pylist(rows), sink)
    return len(rows)
