"""What is understood of odd feeds: ``python tests/bench/bench_understood.py FOLDER [--cases]``.

``FOLDER`` holds archives (``*.tar.gz``) of feeds, as the folder ``feeds`` of the corpora that the tests
read. Prints a row for each archive: how many documents it has, how many were read as feeds, what of their
entries could be used, why the others were refused, the slowest one, and how much memory the process that
reads them had taken at most. ``--cases`` lists the documents that could not be read within the bounds.
"""

from __future__ import annotations

import argparse
import re
import resource
import tarfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from connectors.base import ConnectorError
from connectors.feedworker import FeedWorker

DOCUMENTS = (".xml", ".rss", ".atom", ".rdf", ".feed", ".html", ".txt", "")


@dataclass
class Row:
    """What became of an archive."""

    documents: int = 0
    feeds: int = 0
    entries: int = 0
    dated: int = 0
    linked: int = 0
    wordless: int = 0
    slowest: float = 0.0
    refused: Counter[str] = field(default_factory=Counter)
    beaten: list[str] = field(default_factory=list)
    """Names of documents that ended the reading."""


def main() -> None:
    """Read every archive and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cases", action="store_true", help="name what could not be read")
    asked = parser.parse_args()
    print(
        "| archive | documents | feeds | entries | with a date | with a link | without words | slowest |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    worker = FeedWorker(seconds=30)
    rows = {path.name: understood(path, worker) for path in sorted(asked.folder.glob("*.tar.gz"))}
    worker.close()
    for name, row in rows.items():
        print(
            f"| {name.partition('.')[0]} | {row.documents:,} | {row.feeds:,} | {row.entries:,} "
            f"| {share(row.dated, row.entries)} | {share(row.linked, row.entries)} "
            f"| {share(row.wordless, row.entries)} | {row.slowest * 1e3:.0f} ms |"
        )
    print()
    for name, row in rows.items():
        for reason, number in row.refused.most_common():
            print(f"{name}: {number} x {reason}")
        if asked.cases:
            print(*(f"{name}: ended the reading: {each}" for each in row.beaten), sep="\n")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"memory of the reading process: {peak:.0f} MiB at most")


def understood(archive: Path, worker: FeedWorker) -> Row:
    """Read every document of an archive as the poll of a feed would."""
    row = Row()
    for name, body in documents(archive):
        row.documents += 1
        began = time.perf_counter()
        try:
            feed = worker.read(
                body,
                {"content-type": "application/xml"},
                url="https://feeds.example/one",
                host="feeds.example",
                most=10_000,
                where="it",
            )
        except ConnectorError as error:
            reason = str(error).removeprefix("it: the answer ")
            row.refused[re.sub(r"'[^']*'|\d+", "…", reason)[:110]] += 1
            if "cannot be read" in reason:
                row.beaten.append(name)
        else:
            row.feeds += 1
            row.entries += len(feed.entries)
            row.dated += sum(entry.published is not None for entry in feed.entries)
            row.linked += sum(entry.url is not None for entry in feed.entries)
            row.wordless += sum(not entry.text for entry in feed.entries)
        row.slowest = max(row.slowest, time.perf_counter() - began)
    return row


def documents(archive: Path) -> Iterator[tuple[str, bytes]]:
    """The documents of an archive, without what they are expected to become."""
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.isfile() and Path(member.name).suffix in DOCUMENTS:
                file = tar.extractfile(member)
                if file is not None:
                    yield member.name, file.read()


def share(part: int, whole: int) -> str:
    """A part in per cent."""
    return f"{part / whole:.1%}" if whole else "-"


if __name__ == "__main__":
    main()
