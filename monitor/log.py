"""Structured logs: one line an event, key=value for people, JSON for machines, levels for journald.

No text of a post, no author, no secret is ever logged; events carry ids and names from the
configuration.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("auto", "text", "json")

_LOGFMT = structlog.processors.LogfmtRenderer(
    key_order=["timestamp", "level", "event"], drop_missing=True, bool_as_flag=False
)
_SYSLOG = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}


def set_up(*, level: str = "info", style: str = "auto", stream: TextIO | None = None) -> None:
    """Configure logging of the whole process. Call once, at the composition root or the command line.

    ``auto`` is colourful on a terminal, ``<priority>key=value`` under systemd's journal (which adds
    the time itself), and ``key=value`` with a time stamp otherwise.
    """
    sink = stream or sys.stderr
    journal = style == "auto" and "JOURNAL_STREAM" in os.environ and not sink.isatty()
    processors: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.format_exc_info,
    ]
    if not journal:
        processors.append(structlog.processors.TimeStamper(fmt="iso", utc=True))
    if journal:
        processors.append(_journal_line)
    elif style == "json":
        processors.append(structlog.processors.JSONRenderer(ensure_ascii=False))
    elif style == "auto" and sink.isatty():
        processors[2:3] = []
        processors.append(
            structlog.dev.ConsoleRenderer(
                # Plain: the pretty one prints local variables, which may hold a post.
                pad_event_to=24,
                exception_formatter=structlog.dev.plain_traceback,
            )
        )
    else:
        processors.append(_LOGFMT)
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sink),
        cache_logger_on_first_use=False,
    )
    # Libraries log through the standard library: only what is worth a look, and never their
    # debug output, which may hold addresses with secrets in them.
    logging.basicConfig(
        stream=sink, level=logging.WARNING, format="%(name)s: %(message)s", force=True
    )


def logger(name: str) -> Any:
    """A logger whose lines carry ``part=name``."""
    return structlog.get_logger(part=name)


def _journal_line(logger: Any, method: str, event: EventDict) -> str:
    # journald reads the level from the <n> prefix and takes one entry a line: see sd-daemon(3).
    line = _LOGFMT(logger, method, event).replace("\n", "\\n")
    return f"<{_SYSLOG.get(method, 6)}>{line}"
