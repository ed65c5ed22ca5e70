"""``merkwacht manual``: the manual page, written from the commands' own help.

What ``--help`` says is said here once more, as a page for man(1): commands and options are asked of the
command line itself, so that the page cannot fall behind. What no help text tells (files, signals, exit
statuses) stands in manual.toml. The page is plain ASCII in the man macros that groff and mandoc share.
"""

from __future__ import annotations

import os
import re
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import typer

NAME = "merkwacht"
WORDS = Path(__file__).with_name("manual.toml")
LINE = 78
"""Characters of a line of running text in the source of the page."""

MAY_BREAK = "\\:"


def manual(context: typer.Context) -> None:
    """Write this program's manual page to standard output.

    Example: merkwacht manual | man -l -
    """
    from monitor.release import program_version  # noqa: PLC0415

    given = os.environ.get("SOURCE_DATE_EPOCH", "")
    today = datetime.fromtimestamp(int(given), UTC) if given.isdigit() else datetime.now(UTC)
    root = context.find_root()
    sys.stdout.write(page(root.command, version=program_version(), dated=today.date()))


def page(root: Any, *, version: str, dated: date) -> str:
    """The manual page of a command line as roff.

    Args:
        root: The command group, as ``typer.main.get_command`` gives it.
        version: Of the program, for the foot of the page.
        dated: For the foot of the page.
    """
    words = tomllib.loads(WORDS.read_text(encoding="utf-8"))
    context = _context(root, NAME, None)
    lines = [
        f'.TH MERKWACHT 1 "{dated.isoformat()}" "Merkwacht {roff(version)}" "User Commands"',
        ".ad l",
        ".nh",
        ".SH NAME",
        f"{NAME} \\-",
        _summary(root.help),
        ".SH SYNOPSIS",
        f".B {NAME}",
        *_usage_words(root.collect_usage_pieces(context)),
        ".SH DESCRIPTION",
        *_paragraphs(words["description"]),
        ".PP",
        "The options of the program itself:",
        *_parameters(root, context),
        ".SH COMMANDS",
    ]
    for command, its_context in _commands(root, context):
        lines += _section_of(command, its_context)
    for title in ("FILES", "ENVIRONMENT", "EXIT STATUS", "SIGNALS"):
        lines.append(f".SH {title}")
        for term, text in words[title].items():
            lines += [".TP", f"\\fB{roff(term)}\\fR", _running(text)]
    lines.append(".SH EXAMPLES")
    for told, typed in words["EXAMPLES"].items():
        lines += [_running(told), *_typed(typed), ".PP"]
    lines[-1:] = [".SH SEE ALSO", ",\n".join(_reference(each) for each in words["see_also"])]
    return "\n".join(lines) + "\n"


def roff(text: str) -> str:
    """Text that means itself: hyphens that can be copied, no escapes, nothing beyond ASCII."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    text = (
        text.replace("'", "\\(aq").replace("`", "\\(ga").replace("^", "\\(ha").replace("~", "\\(ti")
    )
    return "".join(each if ord(each) < 128 else f"\\[u{ord(each):04X}]" for each in text)  # noqa: PLR2004 - ASCII


def _running(text: str) -> str:
    """Running text: what stands between backquotes is bold. No line becomes a request."""
    parts = re.split(r"`([^`]+)`", " ".join(text.split()))
    whole = "".join(
        f"\\fB{roff(part)}\\fR" if at % 2 else roff(part) for at, part in enumerate(parts)
    )
    lines = textwrap.wrap(whole, LINE, break_long_words=False, break_on_hyphens=False)
    return "\n".join("\\&" + line if line.startswith(".") else line for line in lines)


def _typed(text: str) -> list[str]:
    """What somebody types, on lines of its own."""
    return [".RS 4", ".nf", f"\\fB{roff(' '.join(text.split()))}\\fR", ".fi", ".RE"]


def _paragraphs(texts: list[str]) -> Iterator[str]:
    """Paragraphs; one that begins with ``Example:`` is what somebody types."""
    for at, text in enumerate(texts):
        head, colon, rest = text.partition(":")
        if at:
            yield ".PP"
        if colon and head == "Example":
            yield "Example:"
            yield from _typed(rest)
        else:
            yield _running(text)


def _summary(text: str | None) -> str:
    """One line for whatis(1): no capital, no full stop."""
    line = " ".join((text or "").split("\n\n", maxsplit=1)[0].split()).rstrip(".")
    return _running(line[:1].lower() + line[1:])


def _reference(text: str) -> str:
    name, _, section = text.partition("(")
    return f"\\fB{roff(name)}\\fR({section}"


def _context(command: Any, name: str, parent: Any) -> Any:
    return command.context_class(command, info_name=name, parent=parent, **command.context_settings)


def _commands(group: Any, context: Any) -> Iterator[tuple[Any, Any]]:
    """Every command below a group, by name, each with the context that its help is asked in."""
    for name in sorted(group.commands):
        command = group.commands[name]
        if command.hidden:
            continue
        below = _context(command, name, context)
        if hasattr(command, "commands"):
            yield from _commands(command, below)
        else:
            yield command, below


def _section_of(command: Any, context: Any) -> list[str]:
    pieces = command.collect_usage_pieces(context)
    return [
        f".SS {roff(context.command_path.removeprefix(f'{NAME} '))}",
        f".B {roff(context.command_path)}",
        *_usage_words(pieces),
        ".PP",
        *_paragraphs(re.split(r"\n\s*\n", (command.help or "").replace("\b\n", "").strip())),
        *_parameters(command, context),
    ]


def _usage_words(pieces: list[str]) -> list[str]:
    return [f".I {roff(' '.join(pieces))}"] if pieces else []


def _parameters(command: Any, context: Any) -> Iterator[str]:
    """Arguments and options with their help, as ``--help`` lists them."""
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is None:
            continue
        names, text = record
        yield from (".TP", _term(names), _running(text) or "\\&")


def _term(names: str) -> str:
    """Names as they are typed are bold, what stands for a value is italic."""
    words = re.split(r"(\s+|,\s*)", names)
    return "".join(
        word
        if not word.strip(" ,")
        else f"\\fB{roff(word)}\\fR"
        if word.startswith("-")
        else f"\\fI{roff(word).replace('|', '|' + MAY_BREAK)}\\fR"
        for word in words
    )
