"""The log: what a line says, where it goes, what never gets into it, and how often it is told."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor import log
from monitor.config import parse, secrets_of
from tests.monitor.crowds import announcer
from tests.monitor.journald import Journald
from tests.monitor.make import NOON, fresh_store, new_signal

SECRETS = ("Zonnetje!2024", "xoxb-1234567890-planted", "s3cr3t/with space")
HOSTILE = (
    'x"\n2026-11-22T10:00:00Z level=info event=delivered incident=1\r'
    "\x1b[31mred\x1b[0m\x9b2J\u2028\u202e"
)


@pytest.fixture
def stderr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TextIO]:
    """A stream that systemd would have connected to its journal."""
    with (tmp_path / "stderr").open("w+", encoding="utf-8") as file:
        found = os.fstat(file.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        yield file


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journald]:
    heard = Journald(tmp_path / "journal")
    yield heard
    heard.close()


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    log.hide(())
    log.set_up(level="error", style="text")


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def logged(style: str = "text") -> io.StringIO:
    sink = io.StringIO()
    log.set_up(style=style, level="debug", stream=sink)
    return sink


# -- the journal -----------------------------------------------------------------------------------


def test_an_entry_of_the_journal_has_its_fields(stderr: TextIO, journal: Journald) -> None:
    log.set_up(stream=stderr, journal=journal.path)
    log.logger("assess").warning("assessed", mention=[12, 13], leaks=1, band=None)
    entry = journal.next()
    assert entry == {
        "MESSAGE": ["assessed part=assess mention=12 mention=13 leaks=1"],
        "PRIORITY": ["4"],
        "SYSLOG_IDENTIFIER": ["merkwacht"],
        "MERKWACHT_EVENT": ["assessed"],
        "MERKWACHT_PART": ["assess"],
        "MERKWACHT_MENTION": ["12", "13"],
        "MERKWACHT_LEAKS": ["1"],
    }
    stderr.seek(0)
    assert stderr.read() == "", "told once, not twice"


def test_a_traceback_goes_along_as_one_entry(stderr: TextIO, journal: Journald) -> None:
    log.set_up(stream=stderr, journal=journal.path)
    log.logger("daemon").error("step_failed", step="detect", exc_info=ValueError(HOSTILE))
    entry = journal.next()
    first, *lines = entry["MESSAGE"][0].split("\n")
    assert first == "step_failed part=daemon step=detect"
    assert entry["MERKWACHT_STEP"] == ["detect"]
    assert all(line.startswith("  | ") for line in lines)
    assert entry["MERKWACHT_EXCEPTION"][0] == "\n".join(lines)
    assert "\x1b" not in entry["MESSAGE"][0]


def test_an_entry_too_large_for_a_datagram_arrives_whole(stderr: TextIO, journal: Journald) -> None:
    log.set_up(stream=stderr, journal=journal.path)
    log.logger("poll").error("page_not_stored", error="x" * 600_000)
    log.logger("poll").error("page_not_stored", error="short")
    assert len(journal.next()["MERKWACHT_ERROR"][0]) == 600_000
    assert journal.large == 1
    assert journal.next()["MERKWACHT_ERROR"] == ["short"]


def test_without_the_socket_a_line_goes_to_stderr_with_its_level(
    stderr: TextIO, tmp_path: Path
) -> None:
    log.set_up(stream=stderr, journal=str(tmp_path / "nobody"))
    log.logger("poll").warning("poll_failed", source="news", error="two\nlines")
    stderr.seek(0)
    (line,) = stderr.read().splitlines()
    assert line == '<4>level=warning event=poll_failed part=poll source=news error="two\\nlines"'


def test_stderr_that_does_not_lead_to_the_journal_gets_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, journal: Journald
) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")
    with (tmp_path / "log").open("w+", encoding="utf-8") as file:
        log.set_up(stream=file, journal=journal.path)
        log.logger("poll").warning("poll_failed")
        file.seek(0)
        assert re.match(r"timestamp=\S+ level=warning event=poll_failed part=poll\n", file.read())


@pytest.mark.parametrize("style", ["text", "json"])
def test_a_format_that_is_asked_for_is_given_also_under_systemd(
    style: str, stderr: TextIO, journal: Journald
) -> None:
    log.set_up(stream=stderr, style=style, journal=journal.path)
    log.logger("poll").warning("poll_failed")
    stderr.seek(0)
    assert "poll_failed" in stderr.read()


def test_a_journal_that_does_not_keep_up_loses_nothing_silently(
    stderr: TextIO, tmp_path: Path
) -> None:
    slow = Journald(tmp_path / "slow")
    log.set_up(stream=stderr, journal=slow.path)
    told = log.logger("poll")
    number = 0
    # Fill its queue until one waits in vain.
    for number in range(1, 600):
        told.warning("poll_failed", number=number)
        if log._STATE.pipe is not None and log._STATE.pipe._sink._lost:
            break
    began = time.monotonic()
    for _ in range(20):
        told.warning("poll_failed", number=0)
    assert time.monotonic() - began < 20, "it is waited for once, not for every line"
    heard = [int(slow.next()["MERKWACHT_NUMBER"][0]) for _ in range(number - 1)]
    assert heard == list(range(1, number))
    told.warning("poll_failed", number=number + 1)
    assert slow.next()["MERKWACHT_NUMBER"] == [str(number + 1)]
    assert slow.next()["MESSAGE"] == ["lines_lost count=21"]
    slow.close()


# -- what a line says ------------------------------------------------------------------------------


@pytest.mark.parametrize("style", ["text", "json"])
@given(value=st.text(st.characters(codec=None)) | st.just(HOSTILE))
def test_no_value_begins_a_line_or_moves_a_terminal(style: str, value: str) -> None:
    sink = logged(style)
    log.logger("poll").warning("poll_failed", error=value, mention=[1, value])
    written = sink.getvalue()
    assert written.count("\n") == 1
    assert written.endswith("\n")
    assert not log._INVISIBLE.search(written[:-1])
    assert not re.search(r"\bevent=delivered\b", re.sub(r'"(?:[^"\\]|\\.)*"', "", written))
    if style == "json":
        assert json.loads(written)["error"] == value


@given(value=st.text(st.characters(codec=None)) | st.just(HOSTILE))
def test_no_value_moves_the_terminal_of_a_person(value: str) -> None:
    line = log._for_terminal({"timestamp": "t", "level": "info", "event": "seen", "error": value})
    colours = re.compile(r"\x1b\[\d+m")
    assert not log._INVISIBLE.search(colours.sub("", line))
    assert "\x1b[31mred" not in line


def test_a_list_is_found_by_each_of_its_values() -> None:
    sink = logged()
    log.logger("announce").info("announced", incident=7, mention=[12, 13])
    line = sink.getvalue()
    assert all(
        re.search(rf"\b{word}\b", line) for word in ("mention=12", "mention=13", "incident=7")
    )
    sink = logged("json")
    log.logger("announce").info("announced", incident=7, mention=[12, 13])
    assert json.loads(sink.getvalue())["mention"] == [12, 13]


def test_what_libraries_say_is_a_line_like_ours_without_the_tokens_of_addresses() -> None:
    sink = logged("json")
    logging.getLogger("some.library").warning(
        "retrying %s\nforged", "https://me:pw@api.example/v1/token/abc?key=12"
    )
    logging.getLogger("some.library").info("too much")
    value = json.loads(sink.getvalue())
    assert (value["event"], value["part"], value["level"]) == ("library", "some.library", "warning")
    assert value["said"] == "retrying https://api.example/…\nforged"


def test_a_fact_bound_around_some_work_stands_in_each_of_its_lines() -> None:
    sink = logged()
    with log.about(incident=7):
        log.logger("deliver").info("attempt")
        logging.getLogger("library").warning("hm")
    log.logger("deliver").info("after")
    found = ["incident=7" in line for line in sink.getvalue().splitlines()]
    assert found == [True, True, False]


@pytest.mark.parametrize("stream", ["full", "closed"])
def test_a_stream_that_takes_nothing_stops_nobody_and_is_told_of_later(stream: str) -> None:
    sink = _Moody()
    log.set_up(style="text", stream=sink)
    sink.trouble = OSError(28, "No space left on device") if stream == "full" else ValueError()
    log.logger("poll").warning("one")
    log.logger("poll").warning("two")
    sink.trouble = None
    log.logger("poll").warning("three")
    told, line = sink.getvalue().splitlines()
    assert told == "event=lines_lost count=2"
    assert "event=three" in line


class _Moody(io.StringIO):
    trouble: Exception | None = None

    def write(self, text: str) -> int:
        if self.trouble is not None:
            raise self.trouble
        return super().write(text)


# -- secrets ---------------------------------------------------------------------------------------

CONFIG = """
[[brands]]
name = "Zonnehoek"
query = "zonnehoek"
[[sources]]
name = "news"
kind = "rss"
url = "https://example.org/feed"
[[channels]]
name = "mail"
kind = "email"
host = "mail.example.org"
from = "m@example.org"
username = "m"
password = "Zonnetje!2024"
[[channels]]
name = "chat"
kind = "slack"
webhook_url = "https://hooks.slack.com/services/T0/B0/planted-token"
[[receivers]]
name = "crisis"
channels = [{ use = "mail", to = ["a@example.org"] }, { use = "chat" }]
[[routes]]
receivers = ["crisis"]
"""


def test_the_secrets_of_a_configuration_are_all_found() -> None:
    config = parse(CONFIG, Path("config.toml"))
    found = set(secrets_of(config))
    assert "Zonnetje!2024" in found
    assert "https://hooks.slack.com/services/T0/B0/planted-token" in found


@pytest.mark.parametrize("style", ["text", "json", "journal"])
def test_no_configured_secret_gets_into_a_line_wherever_it_comes_from(
    style: str, stderr: TextIO, journal: Journald
) -> None:
    log.set_up(stream=stderr, style="auto" if style == "journal" else style, journal=journal.path)
    address = "https://hooks.slack.com/services/T0/B0/planted-token"
    log.hide([*SECRETS, address])
    error = RuntimeError(f"login with {SECRETS[0]} refused; asked {address}")
    told = log.logger("deliver")
    told.error("channel_defect", exc_info=error, error=error, tried=list(SECRETS))
    told.error("failed", about={"path": "/services/T0/B0/planted-token"})
    library = logging.getLogger("urllib3")
    library.warning("gave up %s %s", address, SECRETS[1])
    library.warning("%s", "s3cr3t/with%20space", exc_info=error)
    if style == "journal":
        written = "".join(str(journal.next()) for _ in range(4))
    else:
        stderr.seek(0)
        written = stderr.read()
    assert written.count("[secret]") >= 5
    for planted in (*SECRETS, "planted-token", "s3cr3t"):
        assert planted not in written


def test_nothing_is_told_that_did_not_happen(tmp_path: Path) -> None:
    store, sink = fresh_store(tmp_path), io.StringIO()
    log.set_up(style="text", stream=sink)

    def breaks_off() -> None:
        with store.write() as unit:
            announcer().announce(unit, [new_signal()], NOON)
            raise RuntimeError("out of memory, just before the end")

    with pytest.raises(RuntimeError):
        breaks_off()
    assert sink.getvalue() == "", "it was rolled back"
    with store.write() as unit:
        announcer().announce(unit, [new_signal()], NOON)
        assert sink.getvalue() == "", "it may yet be rolled back"
    store.close()
    told = re.findall(r"event=(\w+) .*incident=1 ", sink.getvalue())
    assert told == ["told", "announced"]


# -- repeats ---------------------------------------------------------------------------------------


def test_a_line_that_comes_again_is_counted_and_told_when_its_time_is_over() -> None:
    clock, sink = Clock(), io.StringIO()
    log.set_up(style="text", stream=sink, repeat_seconds=300, monotonic=clock)
    told = log.logger("daemon")
    for _ in range(50):
        clock.seconds += 5
        told.error("stale_steps", failures=clock.seconds, poll="late")
    assert len(sink.getvalue().splitlines()) == 1
    clock.seconds = 306
    log.tell_repeats()
    _, summary = sink.getvalue().splitlines()
    assert "event=stale_steps" in summary
    assert 'repeated="49 times"' in summary
    assert "failures=250" in summary, "as the last of them had it"
    told.error("stale_steps", failures=1, poll="late")
    assert len(sink.getvalue().splitlines()) == 3, "a new window begins with a line"


def test_what_was_counted_is_told_at_the_end() -> None:
    sink = io.StringIO()
    log.set_up(style="text", stream=sink, repeat_seconds=300, monotonic=Clock())
    for _ in range(3):
        log.logger("poll").warning("poll_failed", source="news", error="refused")
    log.tell_repeats(all_of_them=True)
    assert 'repeated="2 times"' in sink.getvalue().splitlines()[-1]
    log.tell_repeats(all_of_them=True)
    assert len(sink.getvalue().splitlines()) == 2, "once"


@pytest.mark.parametrize("part", sorted(log.ONE_BY_ONE))
def test_what_happens_to_incidents_and_deliveries_is_never_counted_instead(part: str) -> None:
    sink = io.StringIO()
    log.set_up(style="text", stream=sink, repeat_seconds=300, monotonic=Clock())
    for _ in range(3):
        log.logger(part).warning("delivery_failed", incident=1)
    assert len(sink.getvalue().splitlines()) == 3


def test_errors_that_differ_in_anything_are_told_each() -> None:
    sink = io.StringIO()
    log.set_up(style="text", stream=sink, repeat_seconds=300, monotonic=Clock())
    for error in ("refused", "timed out"):
        for source in ("news", "blog"):
            log.logger("poll").warning("poll_failed", source=source, error=error)
            log.logger("poll").error("poll_failed", source=source, error=error)
    assert len(sink.getvalue().splitlines()) == 8


def test_ever_new_lines_fill_no_memory_and_none_is_lost() -> None:
    clock, sink = Clock(), io.StringIO()
    log.set_up(style="text", stream=sink, repeat_seconds=300, monotonic=clock)
    for number in range(1000):
        for _ in range(2):
            log.logger("site").info("request", route=str(number))
    log.tell_repeats(all_of_them=True)
    lines = sink.getvalue().splitlines()
    assert len(lines) == 2000
    assert sum('repeated="1 time"' in line for line in lines) == 1000


def test_a_process_that_ends_tells_what_it_counted() -> None:
    program = (
        "from monitor import log\n"
        "log.set_up(style='text', repeat_seconds=300)\n"
        "for _ in range(4): log.logger('poll').warning('poll_failed')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert 'repeated="3 times"' in done.stderr.splitlines()[-1]
    assert done.stdout == ""


def test_until_somebody_says_otherwise_only_warnings_are_logged_and_never_on_stdout() -> None:
    program = (
        "from monitor.log import logger\n"
        "logger('announce').info('announced')\n"
        "logger('poll').warning('poll_failed')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == ""
    assert "announced" not in done.stderr
    assert "poll_failed" in done.stderr
