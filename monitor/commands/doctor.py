"""``doctor``: one page on the health of an installation, with a remedy for each finding."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, TextIO
from zoneinfo import ZoneInfo

import typer

from monitor.commands.frame import EXIT_FAILURES, EXIT_USAGE, ConfigOption

if TYPE_CHECKING:
    from monitor.findings import Finding
    from monitor.health import Report

_NARROWEST, _WIDEST = 60, 110
_MARKS = {"good": "ok", "note": "note", "wrong": "WRONG"}
_PART = 14


class DoctorFormat(StrEnum):
    """Formats of the page."""

    TEXT = "text"
    JSON = "json"


def doctor(
    style: Annotated[DoctorFormat, typer.Option("--format", help="Format.")] = DoctorFormat.TEXT,
    config: ConfigOption = None,
) -> None:
    """Tell on one page how this installation fares, and what to do about each finding.

    Looks at configuration, sources, budgets, channels, clocks, database, model, disk, time,
    permissions and the daemon; changes and sends nothing. Exit status, for monitoring: 0 all is
    well, 1 something is to be mended, 2 the configuration is wrong.

    Example: sudo -u merkwacht merkwacht doctor
    """
    from monitor.health import examine  # noqa: PLC0415

    report = examine(config, now=datetime.now(UTC))
    if style is DoctorFormat.JSON:
        sys.stdout.write(json.dumps(as_json(report), ensure_ascii=False) + "\n")
    else:
        write(report, sys.stdout, width=shutil.get_terminal_size((80, 24)).columns)
    if not report.valid:
        raise typer.Exit(EXIT_USAGE)
    if report.wrong:
        raise typer.Exit(EXIT_FAILURES)


def write(report: Report, sink: TextIO, *, width: int) -> None:
    """Write the page: what is wrong first, then the rest."""
    from rich.console import Console  # noqa: PLC0415

    width = min(max(width, _NARROWEST), _WIDEST)
    console = Console(file=sink, highlight=False, markup=False, soft_wrap=True)
    wrong = report.wrong
    at = report.examined_at.astimezone(ZoneInfo(report.timezone)).strftime("%Y-%m-%d %H:%M")
    count = f"{len(wrong)} finding{'' if len(wrong) == 1 else 's'}" if wrong else "all is well"
    console.print(f"Merkwacht, {at} {report.timezone}: {count}", style="bold")
    for each in wrong:
        console.print()
        console.print(_lines(each, width), style="bold red")
        remedy = textwrap.fill(
            each.remedy,
            width,
            initial_indent=f"{'':{_PART + 7}}-> ",
            subsequent_indent=" " * (_PART + 10),
            break_long_words=False,
            break_on_hyphens=False,
        )
        console.print(remedy)
    console.print()
    for each in report.findings:
        if each not in wrong:
            console.print(_lines(each, width))


def _lines(finding: Finding, width: int) -> str:
    return textwrap.fill(
        finding.what,
        width,
        initial_indent=f"{_MARKS[finding.grade.value]:<7}{finding.part:<{_PART}}",
        subsequent_indent=" " * (_PART + 7),
        break_long_words=False,
        break_on_hyphens=False,
    )


def as_json(report: Report) -> dict[str, Any]:
    """The page for programs."""
    return {
        "healthy": report.valid and not report.wrong,
        "configuration_valid": report.valid,
        "configuration": None if report.file is None else str(report.file),
        "database": None if report.database is None else str(report.database),
        "examined_at": report.examined_at.isoformat(timespec="seconds"),
        "findings": [
            {
                "part": each.part,
                "grade": each.grade.value,
                "what": each.what,
                "remedy": each.remedy or None,
            }
            for each in report.findings
        ],
    }
