"""``feeds import``: from a feed reader's list (OPML) to tables of the configuration."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from monitor.commands.frame import EXIT_FAILURES, ConfigOption, explained, fail, say

if TYPE_CHECKING:
    from connectors.opml import FeedList, ListedFeed

_LARGEST_LIST = 20 * 2**20
_LONGEST_NAME = 60

feeds_app = typer.Typer(
    help="Feeds from the list of a feed reader.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@feeds_app.callback()
def _feeds() -> None:
    """Keep ``feeds import`` two words, though there is one such command so far."""


@feeds_app.command("import")
def import_feeds(
    file: Annotated[
        Path, typer.Argument(metavar="FILE.opml", help="As the feed reader exports it.")
    ],
    config: ConfigOption = None,
) -> None:
    """Write a [[sources]] table for each feed of an OPML file, to be added to the configuration.

    Example: merkwacht feeds import feeds.opml >> config.toml

    Feeds that the configuration has already, or that the list holds twice, are left out. Nothing is
    changed and nothing is fetched; look the tables through, then run: merkwacht check --online
    """
    from connectors.opml import OpmlError, read_opml  # noqa: PLC0415 - it imports every connector
    from connectors.webaddress import canonical  # noqa: PLC0415

    with explained():
        data = _read(file)
        try:
            listed = read_opml(data)
        except OpmlError as error:
            fail(f"{file}: {error}", EXIT_FAILURES)
        names, addresses = _configured(config)
        fresh = [feed for feed in listed.feeds if canonical(feed.url) not in addresses]
        for block in tables(fresh, names):
            sys.stdout.write(block)
        _report(file, listed, len(fresh))
    if listed.unusable:
        raise typer.Exit(EXIT_FAILURES)


def tables(feeds: Collection[ListedFeed], taken: Collection[str]) -> Iterator[str]:
    """Give a table of the configuration for each feed, under a name that is not in ``taken``."""
    used = {name.casefold() for name in taken}
    for feed in feeds:
        name = _free(_name(feed), used)
        used.add(name.casefold())
        where = f"# {' / '.join(feed.folders)}\n" if feed.folders else ""
        yield (
            f'\n{where}[[sources]]\nkind = "rss"\nname = {json.dumps(name)}\n'
            f"url = {json.dumps(feed.url, ensure_ascii=False)}\n"
        )


def _name(feed: ListedFeed) -> str:
    """Its title, as far as a source may be called so; else the host."""
    host = re.sub(r"^https?://(?:www\.)?([^/?#:]*).*$", r"\1", feed.url, flags=re.IGNORECASE)
    for text in (feed.title, host, "feed"):
        plain = re.sub(r"[^A-Za-z0-9._-]+", " ", text).strip(" ._-")[:_LONGEST_NAME].strip(" ._-")
        if plain:
            return plain
    return "feed"


def _free(name: str, used: Collection[str]) -> str:
    number, free = 1, name
    while free.casefold() in used:
        number += 1
        ending = f" {number}"
        free = name[: _LONGEST_NAME - len(ending)] + ending
    return free


def _read(file: Path) -> bytes:
    if file.stat().st_size > _LARGEST_LIST:
        fail(
            f"{file}: larger than {_LARGEST_LIST >> 20} MiB, which no list of feeds is",
            EXIT_FAILURES,
        )
    return file.read_bytes()


def _configured(config: Path | None) -> tuple[list[str], set[str]]:
    """Names and feeds of the sources there are; none where there is no configuration yet."""
    from connectors.webaddress import canonical  # noqa: PLC0415 - it imports every plug-in
    from monitor.config import find, load  # noqa: PLC0415

    found = find(config) if config is not None else _somewhere()
    if found is None:
        return [], set()
    sources = load(found, secrets=False).sources
    dumped = [source.model_dump() for source in sources if source.kind == "rss"]
    return [source.name for source in sources], {canonical(one["url"]) for one in dumped}


def _somewhere() -> Path | None:
    from monitor.config import ConfigError, find  # noqa: PLC0415

    try:
        found = find(None)
    except ConfigError:
        return None
    return found if found.exists() else None


def _report(file: Path, listed: FeedList, fresh: int) -> None:
    known = len(listed.feeds) - fresh
    say(
        f"{file}: {fresh} new feeds, {known} in the configuration already, "
        f"{listed.repeated} more than once in the list"
    )
    for title in listed.unusable:
        say(f"{file}: no address on the web: {title}")
