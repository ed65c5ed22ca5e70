"""Structured logs: one line an event, key=value for people, JSON for machines, fields for the journal.

No text of a post, no author, no secret is ever logged; events carry ids and names from the
configuration. What comes from outside all the same (the words of an error) can neither begin a line
of its own nor colour a terminal. What says the same over and over is told once and counted.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TextIO
from urllib.parse import quote

import structlog
from structlog.typing import EventDict

from monitor.journal import JOURNAL_SOCKET, Journal, JournalError, entry_of, leads_to_journal

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("auto", "text", "json")
NAMED = 20
"""So many mentions or incidents are named in a line, at most."""

PRIORITIES: Final = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
"""What syslog and the journal call a level."""

ONE_BY_ONE: Final = frozenset({"announce", "tell", "deliver", "follow", "desk", "vouch"})
"""Parts whose every line is told: what happened to incidents, who was told, what arrived."""

_CHANGING: Final = frozenset({"failures", "attempts", "tries", "next_due_at", "next_attempt_at"})
"""Fields that change from one repeat to the next and make no other event of it."""
_REMEMBERED = 500
"""Different lines that are counted at once; beyond that the oldest is told early."""

_FIRST = ("timestamp", "level", "event", "part")
_INVISIBLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff"
    "\ufff9-\ufffb\U000e0000-\U000e007f]"
)
"""What moves the cursor, colours, ends a line, or changes the order in which a line is read."""
_BARE = re.compile(r"[^\s\"'=\\]+")
_ADDRESS = re.compile(
    r"(\b[a-z][a-z0-9+.-]{0,30}://)([^\s/?#@'\"<>]*@)?([^\s/?#'\"<>]*)([^\s'\"<>]*)"
)
_BEHIND_HOST = re.compile(r"^[a-z][a-z0-9+.-]{0,30}://[^/?#]*")
_SHORTEST_SECRET = 6
"""A secret of fewer characters would be found within ordinary words."""


def set_up(
    *,
    level: str = "info",
    style: str = "auto",
    stream: TextIO | None = None,
    journal: str = JOURNAL_SOCKET,
    repeat_seconds: float = 0.0,
    monotonic: Callable[[], float] = time.monotonic,
) -> None:
    """Configure logging of the whole process. Call once, at the composition root or the command line.

    Args:
        level: the lowest that is logged.
        style: ``auto`` is colourful on a terminal, an entry with fields where ``stream`` leads to
            systemd's journal (which adds the time itself), and ``text`` otherwise.
        stream: where to; None: standard error, whatever that is at the time.
        journal: path of the journal's socket.
        repeat_seconds: how long repeats of a line are counted instead of told; 0: never.
        monotonic: the clock of that.
    """
    pipe = _Pipe(
        style=style,
        sink=_Sink(stream, journal),
        repeats=_Repeats(repeat_seconds, monotonic) if repeat_seconds > 0 else None,
    )
    if _STATE.pipe is not None:
        _STATE.pipe.close()
    _STATE.pipe = pipe
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            pipe,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=lambda *_: _Nowhere(),
        cache_logger_on_first_use=False,
    )
    # Libraries log through the standard library: only what is worth a look, and never their
    # debug output, which may hold addresses with secrets in them.
    root = logging.getLogger()
    for handler in [each for each in root.handlers if isinstance(each, _FromLibraries)]:
        root.removeHandler(handler)
    root.addHandler(_FromLibraries(pipe))
    root.setLevel(logging.WARNING)


def logger(name: str) -> Any:
    """A logger whose lines carry ``part=name``."""
    return structlog.get_logger(part=name)


def about(**facts: object) -> Any:
    """While this context lasts, every line of this thread carries these facts."""
    return structlog.contextvars.bound_contextvars(**facts)


def some(ids: Iterable[int], most: int = NAMED) -> list[int]:
    """The first of many ids, for a line that is about all of them."""
    return sorted(set(ids))[:most]


def hide(values: Iterable[str]) -> None:
    """From now on these never appear in a line, wherever they come from: the configured secrets.

    The net below the rule that nobody logs one. Of an address that is one, what stands behind its host
    counts as well. Those of fewer than six characters are left out: they would be found within ordinary
    words.
    """
    every = {
        form
        for value in values
        for part in (value, _BEHIND_HOST.sub("", value))
        for form in (part, quote(part), quote(part, safe=""))
        if len(part) >= _SHORTEST_SECRET
    }
    longest_first = sorted(every, key=len, reverse=True)
    _STATE.secret = re.compile("|".join(map(re.escape, longest_first))) if every else None


def tell_repeats(*, all_of_them: bool = False) -> None:
    """Tell how often lines were repeated whose time is over; or, at the end, of all of them."""
    if _STATE.pipe is not None:
        _STATE.pipe.tell_repeats(all_of_them=all_of_them)


# -- from an event to a line -----------------------------------------------------------------------


class _Pipe:
    """The last processor: counts repeats, hides, renders, writes. Lets nothing of a failure out."""

    def __init__(self, *, style: str, sink: _Sink, repeats: _Repeats | None) -> None:
        self._sink = sink
        self._repeats = repeats
        self._style = style
        self._clock = structlog.processors.TimeStamper(fmt="iso", utc=True)

    def __call__(self, _logger: object, _method: str, event: EventDict) -> str:
        self.take(event)
        return ""

    def take(self, event: EventDict) -> None:
        """An event with everything that is known of it."""
        if self._repeats is not None:
            self.tell_repeats()
            if self._repeats.swallows(event):
                return
        self._write(event)

    def tell_repeats(self, *, all_of_them: bool = False) -> None:
        """See the function of that name."""
        for event in self._repeats.over(all_of_them=all_of_them) if self._repeats else ():
            self._write(event)

    def close(self) -> None:
        """Tell what was counted, and let go of what it writes to."""
        self.tell_repeats(all_of_them=True)
        self._sink.close()

    def _write(self, event: EventDict) -> None:
        event = {key: _hidden(value) for key, value in event.items() if value is not None}
        kind = self._sink.kind(self._style)
        if kind == "journal":
            self._sink.enter(event)
            return
        event = dict(self._clock(None, "", event))
        if kind == "json":
            line = _as_json(event)
        elif kind == "terminal":
            line = _for_terminal(event)
        else:
            line = _as_text(event)
        self._sink.write(line)


def _hidden(value: object) -> object:
    """The same without secrets; what is no number becomes text."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(_hidden(str(key))): _hidden(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_hidden(each) for each in value]
    text = str(value)
    return text if _STATE.secret is None else _STATE.secret.sub("[secret]", text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code > 0xFFFF:  # noqa: PLR2004 - as JSON writes it
        code -= 0x10000
        return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
    return f"\\u{code:04x}"


def visible(text: str) -> str:
    """The same with everything escaped that a terminal would obey instead of show."""
    text = text.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    return _INVISIBLE.sub(_escape, text)


def _ordered(event: Mapping[str, object]) -> list[tuple[str, object]]:
    first = [(key, event[key]) for key in _FIRST if key in event]
    return first + [(key, value) for key, value in event.items() if key not in _FIRST]


def _as_json(event: Mapping[str, object]) -> str:
    return _INVISIBLE.sub(_escape, json.dumps(dict(_ordered(event)), ensure_ascii=False))


def _as_text(event: Mapping[str, object]) -> str:
    """``key=value …``; a list gives its key once for each of its values."""
    parts = []
    for key, value in _ordered(event):
        parts += [f"{visible(key)}={_word(each)}" for each in _values(value)]
    return " ".join(parts)


def _values(value: object) -> list[object]:
    return list(value) if isinstance(value, list) else [value]


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if _BARE.fullmatch(text) and not _INVISIBLE.search(text):
        return text
    return _INVISIBLE.sub(_escape, json.dumps(text, ensure_ascii=False))


def _traceback(text: str) -> str:
    """Its lines behind a bar, so that none of them can be taken for a line of the log."""
    return "\n".join(f"  | {visible(line)}" for line in text.splitlines())


def _for_terminal(event: dict[str, object]) -> str:
    exception = event.pop("exception", None)
    shown: dict[str, object] = {
        visible(key): ",".join(visible(str(each)) for each in _values(value))
        for key, value in event.items()
    }
    line = _CONSOLE(None, "", shown)
    return line if exception is None else f"{line}\n{_traceback(str(exception))}"


def _for_journal(event: Mapping[str, object]) -> tuple[str, list[tuple[str, str]]]:
    """What a reader of the journal sees, and the fields that one can ask it for."""
    rest = {key: value for key, value in event.items() if key not in ("level", "exception")}
    said = str(rest.pop("event", ""))
    message = " ".join(part for part in (visible(said), _as_text(rest)) if part)
    fields = []
    for key, value in event.items():
        if key in ("level", "exception"):
            continue
        for each in _values(value):
            text = each if isinstance(each, str) else _word(each)
            fields.append((key, visible(text)))
    if (exception := event.get("exception")) is not None:
        traceback = _traceback(str(exception))
        message = f"{message}\n{traceback}"
        fields.append(("exception", traceback))
    return message, fields


_CONSOLE = structlog.dev.ConsoleRenderer(
    # Plain: the pretty one prints local variables, which may hold a post.
    pad_event_to=24,
    sort_keys=False,
    colors=not os.environ.get("NO_COLOR"),
    exception_formatter=structlog.dev.plain_traceback,
)


# -- where to --------------------------------------------------------------------------------------


class _Sink:
    """Standard error, or the journal behind it. Never raises: a full disk must not stop the watch."""

    def __init__(self, stream: TextIO | None, journal: str) -> None:
        self._given = stream
        self._journal = Journal(journal)
        self._lock = threading.Lock()
        self._lost = 0

    @property
    def _stream(self) -> TextIO | None:
        return self._given if self._given is not None else sys.stderr

    def kind(self, style: str) -> str:
        """``terminal``, ``journal``, ``text`` or ``json``."""
        stream = self._stream
        if style != "auto" or stream is None:
            return "text" if style == "auto" else style
        if not stream.closed and stream.isatty():
            return "terminal"
        return "journal" if leads_to_journal(stream) else "text"

    def enter(self, event: Mapping[str, object]) -> None:
        """An entry of the journal; where its socket is not to be had, a line with its level."""
        message, fields = _for_journal(event)
        priority = PRIORITIES.get(str(event.get("level")), 6)
        with self._lock:
            try:
                self._journal.send(entry_of(message, priority, fields))
            except JournalError:
                self._put(f"<{priority}>{_as_text(event)}")
            except OSError:
                self._lost += 1
            else:
                self._confess_to_journal()

    def write(self, line: str) -> None:
        """A line."""
        with self._lock:
            self._put(line)

    def close(self) -> None:
        """Let go of the journal; a further entry opens it anew."""
        with self._lock:
            self._journal.close()

    def _put(self, line: str) -> None:
        if (stream := self._stream) is None:
            return
        lost = f"event=lines_lost count={self._lost}\n" if self._lost else ""
        try:
            stream.write(f"{lost}{line}\n")
            stream.flush()
        except (OSError, ValueError):  # full, closed or gone
            self._lost += 1
        else:
            self._lost = 0

    def _confess_to_journal(self) -> None:
        if not self._lost:
            return
        fields = [("event", "lines_lost"), ("count", str(self._lost))]
        try:
            self._journal.send(entry_of(f"lines_lost count={self._lost}", 4, fields))
        except (JournalError, OSError):
            return
        self._lost = 0


class _Nowhere:
    """What structlog hands rendered lines to: the pipe has written them."""

    def _ignore(self, _line: str) -> None:
        pass

    debug = info = warning = error = critical = exception = msg = _ignore


class _FromLibraries(logging.Handler):
    """What libraries say through the standard library, as events like ours."""

    def __init__(self, pipe: _Pipe) -> None:
        super().__init__()
        self._pipe = pipe

    def emit(self, record: logging.LogRecord) -> None:
        try:
            said = record.getMessage()
        except (TypeError, ValueError):
            said = str(record.msg)
        event: EventDict = {
            "event": "library",
            "part": record.name,
            "level": record.levelname.lower(),
            # Of an address its host is enough: the rest may hold a token.
            "said": _ADDRESS.sub(
                lambda found: f"{found[1]}{found[3]}{'/…' * bool(found[4])}", said
            ),
        }
        if record.exc_info and record.exc_info[0] is not None:
            event["exception"] = logging.Formatter().formatException(record.exc_info)
        self._pipe.take({**structlog.contextvars.get_contextvars(), **event})


# -- repeats ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Counted:
    event: EventDict
    """The last of them."""
    since: float
    times: int = 0
    """Not told yet."""


class _Repeats:
    """Counts lines that say the same, of the same part, at the same level, while their time runs.

    The first is told at once. Those that follow within the window are told as one, with their number
    and what the last of them said, when it is over; then a new window begins with the next.
    """

    def __init__(self, window: float, monotonic: Callable[[], float]) -> None:
        self._window = window
        self._monotonic = monotonic
        self._known: dict[str, _Counted] = {}
        self._early: list[EventDict] = []
        self._lock = threading.Lock()

    def swallows(self, event: EventDict) -> bool:
        """Whether it is counted instead of told."""
        if event.get("part") in ONE_BY_ONE:
            return False
        key = repr(sorted((k, str(v)) for k, v in event.items() if k not in _CHANGING))
        with self._lock:
            known = self._known.get(key)
            if known is None:
                if len(self._known) >= _REMEMBERED:
                    oldest = self._known.pop(next(iter(self._known)))
                    self._early += [_summary(oldest)] if oldest.times else []
                self._known[key] = _Counted(event, self._monotonic())
                return False
            known.event, known.times = event, known.times + 1
            return True

    def over(self, *, all_of_them: bool) -> list[EventDict]:
        """The summaries of those whose window has ended; they are forgotten."""
        with self._lock:
            found, self._early = self._early, []
            before = self._monotonic() - self._window
            # In the order of their beginnings: the first that still runs ends the search.
            while self._known:
                key = next(iter(self._known))
                if self._known[key].since > before and not all_of_them:
                    break
                counted = self._known.pop(key)
                found += [_summary(counted)] if counted.times else []
        return found


def _summary(counted: _Counted) -> EventDict:
    times = f"{counted.times} time{'' if counted.times == 1 else 's'}"
    return {**counted.event, "repeated": times}


# -- the one configuration -------------------------------------------------------------------------


@dataclass(slots=True)
class _State:
    pipe: _Pipe | None = None
    secret: re.Pattern[str] | None = None


_STATE = _State()
atexit.register(lambda: tell_repeats(all_of_them=True))

# Until somebody says otherwise, as the daemon does: a command's answer is for people, and only what
# they should worry about stands beside it.
set_up(level="warning")
