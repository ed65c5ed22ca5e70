"""``backtest``: what a configuration would have done with stored mentions, and what another changes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self, TextIO

from rich.console import Console

from monitor.backtest import difference, outcome
from monitor.backtest.difference import Difference
from monitor.backtest.reading import Reader
from monitor.backtest.run import Progress, Result, Setting, backtest

TIMELINES = (".html", ".png")
"""What a timeline may be written as, by the name of its file."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line asks for."""

    files: Sequence[Path]
    settings: Sequence[Setting]
    names: Sequence[str]
    """What the configurations are called: their files."""
    step: timedelta
    since: datetime | None = None
    until: datetime | None = None
    as_json: bool = False
    timeline: Path | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """What the command did, for its exit status and its last words."""

    result: Result
    difference: Difference | None
    notes: list[str] = field(default_factory=list)
    """What somebody should know, one line each."""


Bar = Callable[[str, str, int], AbstractContextManager[Progress]]
"""Opens a progress bar: what is done, in which unit, how many in all."""


def run(asked: Asked, out: Console, errors: TextIO, bar: Bar) -> Done:
    """Replay, compare, print and draw.

    Args:
        asked: what is wanted.
        out: where results go.
        errors: gets a line for each bad line of a file.
        bar: shows progress.

    Raises:
        OSError: a file cannot be read or written.
        ModelError: a model cannot be used.
        StoreError: the temporary folder cannot be used.
        TimelineError: what draws the timeline is not installed.
    """
    if asked.timeline is not None and asked.timeline.suffix == ".png":
        from monitor.backtest.picture import check_matplotlib  # noqa: PLC0415 - an extra

        check_matplotlib()
    result = _replayed(asked, errors, bar)
    compared = difference.compare(*result.outcomes) if len(result.outcomes) > 1 else None
    if asked.as_json:
        text = json.dumps(as_json(result, asked.names, compared), ensure_ascii=False, indent=2)
        out.file.write(text + "\n")
    else:
        from monitor.backtest.table import Page  # noqa: PLC0415 - only for people

        Page(out, asked.settings[0].config.timezone).show(result, asked.names, compared)
    if asked.timeline is not None:
        _draw(asked, result, compared, asked.timeline)
    return Done(result, compared, list(_notes(asked, result)))


def _replayed(asked: Asked, errors: TextIO, bar: Bar) -> Result:
    size = sum(file.stat().st_size for file in asked.files)
    with _Bars(bar) as bars:
        reader = Reader(
            asked.files,
            errors=errors,
            progress=bars.open("reading", "bytes", size),
            since=asked.since,
            until=asked.until,
        )
        return backtest(
            reader,
            asked.settings,
            step=asked.step,
            sorted_out=lambda mentions: bars.open("replaying", "mentions", mentions),
        )


class _Bars:
    """One bar after the other."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._open: AbstractContextManager[Progress] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def open(self, what: str, unit: str, total: int) -> Progress:
        """End the bar before, and begin another."""
        self._close()
        self._open = self._bar(what, unit, total)
        return self._open.__enter__()

    def _close(self) -> None:
        if self._open is not None:
            self._open.__exit__(None, None, None)
            self._open = None


def as_json(result: Result, names: Sequence[str], compared: Difference | None) -> dict[str, Any]:
    """Everything as one JSON object. The same mentions give the same object."""
    before = outcome.to_json(result.outcomes[0])
    value: dict[str, Any] = {
        "incidents": before.pop("incidents"),
        "configuration": names[0],
        **before,
        "posts": {
            "read": result.read,
            "rejected": result.rejected,
            "passed_over": result.passed_over,
        },
    }
    if compared is not None:
        after = outcome.to_json(result.outcomes[1])
        value["against"] = {
            "incidents": after.pop("incidents"),
            "configuration": names[1],
            **after,
        }
        value["difference"] = difference.to_json(compared)
    return value


def _notes(asked: Asked, result: Result) -> Iterator[str]:
    if not result.read:
        yield "no mentions to replay" + (
            f": all {result.passed_over} lie outside --since and --until"
            if result.passed_over
            else ""
        )
        return
    for name, setting, came in zip(asked.names, asked.settings, result.outcomes, strict=True):
        for brand in came.unmatched:
            yield (
                f"{name}: brand {brand}: none of the {result.read:,} posts matches its query; "
                "try it with: merkwacht match --query …"
            )
        second = setting.config.classifiers.second_opinion
        if second is not None and second.enabled:
            yield f"{name}: a backtest sends nothing outside: no second opinion was asked for"


def _draw(asked: Asked, result: Result, compared: Difference | None, path: Path) -> None:
    from monitor.backtest.timeline import panels  # noqa: PLC0415 - only where it is wanted

    drawn = panels([setting.config for setting in asked.settings], asked.names, result.outcomes)
    if path.suffix == ".png":
        from monitor.backtest.picture import draw  # noqa: PLC0415 - an extra

        content = draw(drawn)
    else:
        from monitor.backtest.page import page  # noqa: PLC0415 - only where it is wanted

        content = page(drawn, result, compared).encode()
    with _whole(path) as partial:
        partial.write_bytes(content)


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A file appears, or is replaced, only when all of it is there."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
