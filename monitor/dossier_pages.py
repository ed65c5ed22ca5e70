"""A dossier as Markdown, as plain text and as JSON. Pure.

Posts are untrusted: in Markdown nothing in them formats, links or mentions, on a terminal nothing in
them steers it.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from importlib import resources
from typing import Any
from zoneinfo import ZoneInfo

from alerts.harmless import harmless
from alerts.history import Happened
from alerts.message import severity_word
from alerts.notice import Style
from alerts.plain import one_line, plain
from alerts.words import words
from monitor.dossier import Dossier, Exhibit, step_words
from monitor.store.following import ClockRun
from monitor.store.history import PROGRAM, HistoryEntry
from monitor.store.incidents import PART_OF, TOOK_IN

SHOWN = 20
"""Pieces of evidence that a page shows; JSON has all."""
_TEXT_LIMIT = 2000
_LINK = re.compile(r"https?://[^\s<>()`\\\"']+")
_MARKS = re.compile(r"[\\`*_\[\]<>|~&$]")
_AT_START = re.compile(r"^(\s*(?:\d{1,9}(?=[.)]))?)([#+=.)-])", re.MULTILINE)


def as_markdown(dossier: Dossier) -> str:
    """For a document or a ticket."""
    return _Page(dossier, Style.MARKDOWN).write()


def as_text(dossier: Dossier) -> str:
    """For a terminal."""
    return _Page(dossier, Style.TEXT).write()


def as_json(dossier: Dossier) -> str:
    """For programs: everything, times in UTC."""
    incident, life = dossier.incident, dossier.life
    value = {
        "id": incident.id,
        "brand": incident.brand,
        "kind": incident.kind.value,
        "severity": incident.severity.word,
        "state": incident.state.value,
        "title": dossier.title,
        "summary": dossier.summary,
        "why": dict(dossier.reasons),
        "drill": life.drill,
        "merged_into": life.merged_into,
        "merged_with": list(dossier.family[1:]),
        "opened_at": incident.opened_at.isoformat(),
        "last_signal_at": incident.last_signal_at.isoformat(),
        "acknowledged_at": _iso(dossier.reached(Happened.ACKNOWLEDGED)),
        "acknowledged_by": incident.acknowledged_by,
        "assigned_to": life.assigned_to,
        "first_statement_at": _iso(dossier.reached(Happened.FIRST_STATEMENT)),
        "answered_at": _iso(dossier.reached(Happened.ANSWERED)),
        "resolved_at": _iso(life.resolved_at),
        "reviewed_at": _iso(life.reviewed_at),
        "posts": dossier.posts,
        "clocks": [
            {
                "incident": clock.incident_id,
                "name": clock.name,
                "rule": clock.rule,
                "started_at": clock.started_at.isoformat(),
                "due_at": clock.due_at.isoformat(),
                "outcome": clock.outcome.value,
                "stopped_at": _iso(clock.stopped_at),
            }
            for clock in dossier.clocks
        ],
        "playbooks": [
            {
                "name": chapter.playbook.name,
                "title": chapter.playbook.title,
                "steps": [
                    {
                        "id": step.id,
                        "phase": step.phase,
                        "text": step.text,
                        "done_by": tick.who if (tick := chapter.done.get(step.id)) else None,
                        "done_at": tick.at.isoformat() if tick else None,
                    }
                    for step in chapter.playbook.steps
                ],
            }
            for chapter in dossier.chapters
        ],
        "told": [
            {
                "incident": sent.incident_id,
                "receiver": sent.receiver,
                "channel": sent.channel,
                "event": sent.event,
                "reason": sent.reason or None,
                "planned_at": sent.created_at.isoformat(),
                "state": sent.state,
                "delivered_at": _iso(sent.delivered_at),
                "attempts": sent.attempts,
                "error": sent.error,
            }
            for sent in dossier.told
        ],
        "evidence": [_exhibit_json(exhibit, dossier) for exhibit in dossier.evidence],
        "unmasked": dossier.unmasked,
        "evaluation": None
        if dossier.evaluation is None
        else {
            "worked": dossier.evaluation.worked,
            "did_not": dossier.evaluation.did_not,
            "lessons": dossier.evaluation.lessons,
        },
        "history": [
            {
                "line": line.id,
                "incident": line.incident_id,
                "at": line.at.isoformat(),
                "actor": line.actor,
                "event": line.event,
                "note": note,
                "receiver": line.receiver,
                "page": line.page,
                "reason": line.reason,
                "level": line.level,
                "digest": line.digest,
            }
            for line, note in zip(dossier.history, dossier.notes, strict=True)
        ],
        "integrity": {
            "history": _verified_json(str(dossier.verified.head), dossier.verified.flaw),
            "evidence": _verified_json(
                str(dossier.verified_evidence.head), dossier.verified_evidence.flaw
            ),
        },
        "drawn_up_at": dossier.drawn_up_at.isoformat(),
    }
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"


def _verified_json(head: str, flaw: Any) -> dict[str, Any]:
    return {
        "head": head,
        "flaw": None if flaw is None else {"line": flaw.line, "why": flaw.why},
    }


def _exhibit_json(exhibit: Exhibit, dossier: Dossier) -> dict[str, Any]:
    kept = exhibit.kept
    content = {
        key: value for key, value in kept.content.items() if key not in ("text", "assessment")
    }
    if content.get("author") and not dossier.unmasked:
        # Enough to tell two apart within a dossier, too little to follow one through the store.
        content["author"] = str(content["author"])[-4:]
    return {
        **content,
        "piece": kept.id,
        "incident": kept.incident_id,
        "mention": kept.mention_id,
        "kept_at": kept.at.isoformat(),
        "text": exhibit.text,
        "why": exhibit.why or None,
        "still_there": exhibit.there,
        "forgotten_at": kept.forgotten_at,
        "sha256": kept.sha256,
    }


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


class _Page:
    """One dossier in one style."""

    def __init__(self, dossier: Dossier, style: Style) -> None:
        self._dossier = dossier
        self._style = style
        self._say = _wording(dossier.language)
        self._words = words(dossier.language)
        self._zone = ZoneInfo(dossier.timezone)

    def write(self) -> str:
        blocks = [
            *self._top(),
            *self._facts(),
            *self._clocks(),
            *self._chapters(),
            *self._timeline(),
            *self._told(),
            *self._evidence(),
            *self._evaluation(),
            *self._integrity(),
        ]
        return "\n\n".join(block for block in blocks if block) + "\n"

    # -- parts ---------------------------------------------------------------------------------

    def _top(self) -> Iterator[str]:
        dossier = self._dossier
        heading = self._say["heading"].format(number=dossier.incident.id)
        yield self._heading(1, f"{heading}: {self._text(dossier.title)}")
        if dossier.life.drill:
            yield self._strong(self._say["drill"])
        if dossier.life.merged_into is not None:
            yield self._strong(self._say["merged"].format(number=dossier.life.merged_into))
        yield self._text(dossier.summary)
        yield self._text(
            self._say["all_times"].format(
                timezone=dossier.timezone, moment=self._when(dossier.drawn_up_at, year=True)
            )
        )

    def _facts(self) -> Iterator[str]:
        dossier, say = self._dossier, self._say
        incident, life = dossier.incident, dossier.life
        rows = [
            (say["brand"], incident.brand or say["none"]),
            (say["kind"], self._words.name("kind", incident.kind.value)),
            (say["severity"], severity_word(incident.severity, dossier.language)),
            (say["state"], say["states"][incident.state.value]),
            (say["opened"], self._when(incident.opened_at, year=True)),
            (say["taken"], self._taken()),
        ]
        if life.assigned_to:
            rows.append((say["assigned"], life.assigned_to))
        for key, what in (
            ("statement", Happened.FIRST_STATEMENT),
            ("answered", Happened.ANSWERED),
        ):
            if (at := dossier.reached(what)) is not None:
                rows.append((say[key], self._after(at)))
        if life.resolved_at:
            rows.append((say["resolved"], self._after(life.resolved_at)))
        if life.reviewed_at:
            rows.append((say["reviewed"], self._when(life.reviewed_at, year=True)))
        if dossier.family[1:]:
            numbers = ", ".join(str(number) for number in dossier.family[1:])
            rows.append((say["parts"], say["parts_value"].format(numbers=numbers)))
        rows.append((say["posts"], self._words.number(dossier.posts)))
        rows += list(dossier.reasons)
        yield self._heading(2, say["facts"])
        yield self._pairs(rows)

    def _taken(self) -> str:
        incident, at = self._dossier.incident, self._dossier.reached(Happened.ACKNOWLEDGED)
        if at is None:
            return str(self._say["nobody"])
        who = incident.acknowledged_by or self._say["nobody"]
        after = self._span(at - incident.opened_at)
        return str(self._say["taken_by"].format(when=self._when(at), who=who, after=after))

    def _clocks(self) -> Iterator[str]:
        dossier, say = self._dossier, self._say
        if not dossier.clocks:
            return
        yield self._heading(2, say["clocks"])
        yield self._table(
            [say[key] for key in ("clock", "started", "due", "outcome", "stopped")],
            [
                [
                    self._clock(clock),
                    self._when(clock.started_at),
                    self._when(clock.due_at),
                    say["outcomes"][clock.outcome.value],
                    self._when(clock.stopped_at) if clock.stopped_at else "-",
                ]
                for clock in dossier.clocks
            ],
        )

    def _clock(self, clock: ClockRun) -> str:
        name = str(self._say["clock_names"].get(clock.name, clock.name))
        if clock.incident_id == self._dossier.incident.id:
            return name
        return f"{name} {self._say['of_incident'].format(number=clock.incident_id)}"

    def _chapters(self) -> Iterator[str]:
        for chapter in self._dossier.chapters:
            yield self._heading(2, self._say["playbook"].format(title=chapter.playbook.title))
            lines: list[str] = []
            phase = ""
            for step in chapter.playbook.steps:
                if step.phase != phase:
                    phase = step.phase
                    lines.append(self._phase(phase, first=not lines))
                tick = chapter.done.get(step.id)
                said = ""
                if tick is not None:
                    done = self._say["done_by"].format(who=tick.who, when=self._when(tick.at))
                    said = f" ({self._text(done)})"
                name = step.id.partition(".")[2]
                lines.append(self._tick(name, step.text, said, done=tick is not None))
            yield "\n".join(lines)

    def _timeline(self) -> Iterator[str]:
        dossier, say = self._dossier, self._say
        yield self._heading(2, say["timeline"])
        yield self._table(
            [say[key] for key in ("when", "who", "what")],
            [
                [
                    self._when(line.at),
                    "Merkwacht" if line.actor == PROGRAM else line.actor,
                    self._happened(line, note),
                ]
                for line, note in zip(dossier.history, dossier.notes, strict=True)
            ],
        )

    def _happened(self, line: HistoryEntry, note: str | None) -> str:
        say = self._say
        parts = [self._act(line)]
        if line.reason:
            parts.append(say["reasons"].get(line.reason, line.reason.replace("_", " ")))
        if line.level is not None:
            parts.append(say["step"].format(level=line.level + 1))
        text = ", ".join(parts)
        shown = say["hidden"] if note is None else self._noted(line, note)
        text = f"{text}: {shown}" if shown else text
        if line.incident_id != self._dossier.incident.id:
            text = f"{text} {say['of_incident'].format(number=line.incident_id)}"
        return text

    def _act(self, line: HistoryEntry) -> str:
        """What was done, in a few words."""
        say = self._say
        for mark, key in ((PART_OF, "part_of"), (TOOK_IN, "took_in")):
            if line.page.startswith(mark):
                return str(say[key].format(number=line.page.removeprefix(mark)))
        if line.event == Happened.TOLD.value and not line.receiver:
            return str(say["told_all"])
        form = say["happened"].get(line.event, line.event)
        step = step_words(self._dossier, line.page)
        return str(form.format(receiver=line.receiver, step=step))

    def _noted(self, line: HistoryEntry, note: str) -> str:
        """The note of a line, where it is for people. What the program notes has words of its own."""
        if line.event in (Happened.OPENED.value, Happened.REVIEWED.value):
            return ""  # the key of the signal; the evaluation, which has a part of its own
        if line.actor != PROGRAM:
            return one_line(note, 1000)
        if line.event == Happened.WORSENED.value and len(note.split()) == 2:  # noqa: PLR2004
            kind, severity = note.split()
            kind = self._words.name("kind", kind)
            return f"{kind}, {self._words.name('severity', severity)}"
        return str(self._say["notes"].get(note, one_line(note, 1000)))

    def _told(self) -> Iterator[str]:
        dossier, say = self._dossier, self._say
        yield self._heading(2, say["told"])
        if not dossier.told:
            yield self._text(say["nobody_told"])
            return
        yield self._table(
            [say[key] for key in ("when", "who", "where", "what", "arrived")],
            [
                [
                    self._when(sent.created_at),
                    sent.receiver,
                    sent.channel,
                    say["reasons"].get(sent.reason) or say["events"].get(sent.event, sent.event),
                    self._arrived(sent.state, sent.delivered_at, sent.attempts, sent.error),
                ]
                for sent in dossier.told
            ],
        )

    def _arrived(self, state: str, at: datetime | None, attempts: int, error: str | None) -> str:
        text = str(self._say["deliveries"].get(state, state))
        if at is not None:
            text = f"{text} {self._when(at)}"
        if attempts > 1:
            text = f"{text}, {attempts} {self._say['tries']}"
        return f"{text} ({one_line(error, 300)})" if error else text

    def _evidence(self) -> Iterator[str]:
        dossier, say = self._dossier, self._say
        if not dossier.evidence:
            return
        yield self._heading(2, say["evidence"])
        note = say["evidence_unmasked" if dossier.unmasked else "evidence_masked"]
        yield self._strong(note) if dossier.unmasked else self._text(note)
        for exhibit in dossier.evidence[:SHOWN]:
            yield self._exhibit(exhibit)
        more = len(dossier.evidence) - SHOWN
        if more > 0:
            yield self._text(say["more_evidence"].format(count=self._words.number(more)))

    def _exhibit(self, exhibit: Exhibit) -> str:
        kept, say = exhibit.kept, self._say
        seal = say["seal"].format(digest=kept.sha256)
        if kept.forgotten_at is not None:
            when = self._when(datetime.fromisoformat(kept.forgotten_at), year=True)
            return f"{self._text(say['forgotten'].format(when=when))}\n{self._text(seal)}"
        content = kept.content
        published = self._when(datetime.fromisoformat(str(content["published_at"])))
        parts = [
            self._words.name("platform", one_line(str(content["platform"]), 40)),
            self._author(content),
            say["published"].format(when=published),
            say["kept"].format(when=self._when(kept.at)),
        ]
        if content.get("changed"):
            parts.append(say["changed"])
        if not exhibit.there:
            parts.append(say["gone"])
        parts.append(say["mention"].format(number=kept.mention_id))
        lines = [self._quote(exhibit.text), self._text(" · ".join(parts))]
        if content.get("pictured"):
            lines.append(self._text(say["pictured"]))
        if exhibit.why:
            lines.append(self._text(exhibit.why))
        if url := content.get("url"):
            lines.append(self._link(str(url)))
        if (thread := content.get("thread")) and thread != url:
            lines.append(f"{self._text(say['thread'])} {self._link(str(thread))}")
        lines.append(self._text(seal))
        return self._lines(lines)

    def _author(self, content: Mapping[str, Any]) -> str:
        if content.get("official"):
            return str(self._say["by_account"])
        pseudonym = str(content.get("author") or "")
        if not pseudonym:
            return str(self._say["no_author"])
        return str(self._say["author"].format(short=one_line(pseudonym[-4:], 4)))

    def _evaluation(self) -> Iterator[str]:
        found, say = self._dossier.evaluation, self._say
        if found is None:
            return
        yield self._heading(2, say["evaluation"])
        rows = [(say["worked"], found.worked), (say["did_not"], found.did_not)]
        if found.lessons:
            rows.append((say["lessons"], found.lessons))
        yield self._pairs(rows)

    def _integrity(self) -> Iterator[str]:
        yield self._heading(2, self._say["integrity"])
        for verified, suffix in (
            (self._dossier.verified, ""),
            (self._dossier.verified_evidence, "_evidence"),
        ):
            if verified.flaw is None:
                text = self._say[f"intact{suffix}"]
                text = text.format(lines=verified.head.lines, digest=verified.head.digest[:16])
                yield self._text(text)
            else:
                yield self._strong(self._say[f"broken{suffix}"].format(why=verified.flaw.why))

    # -- dress ---------------------------------------------------------------------------------

    def _text(self, text: str) -> str:
        if self._style is Style.TEXT:
            return plain(text)
        return _still(harmless(text, _TEXT_LIMIT))

    def _strong(self, text: str) -> str:
        return self._text(text) if self._style is Style.TEXT else f"**{self._text(text)}**"

    def _heading(self, level: int, text: str) -> str:
        if self._style is Style.MARKDOWN:
            # The title was dressed already where it came from a post.
            return f"{'#' * level} {text}"
        return text if level == 1 else text[:1].upper() + text[1:]

    def _pairs(self, rows: Sequence[tuple[str, str]]) -> str:
        if self._style is Style.MARKDOWN:
            return "\n".join(
                f"- **{self._text(_capital(label))}**: {self._text(one_line(value, _TEXT_LIMIT))}"
                for label, value in rows
            )
        width = max(len(label) for label, _ in rows)
        return "\n".join(
            f"  {label.ljust(width)}  {one_line(value, _TEXT_LIMIT)}" for label, value in rows
        )

    def _table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
        if self._style is Style.MARKDOWN:
            lines = [_row(header), _row(["---"] * len(header))]
            cells = ([self._text(one_line(cell, _TEXT_LIMIT)) for cell in row] for row in rows)
            return "\n".join([*lines, *(_row(row) for row in cells)])
        said = [[one_line(cell, _TEXT_LIMIT) for cell in row] for row in rows]
        widths = [max(len(row[place]) for row in said) for place in range(len(header) - 1)]
        return "\n".join(
            "  "
            + "  ".join(
                [*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]
            ).rstrip()
            for row in said
        )

    def _phase(self, phase: str, *, first: bool) -> str:
        if self._style is Style.TEXT:
            return f"  {phase}"
        return f"{'' if first else chr(10)}**{self._text(phase)}**\n"

    def _tick(self, name: str, text: str, said: str, *, done: bool) -> str:
        box = "[x]" if done else "[ ]"
        if self._style is Style.TEXT:
            return f"    {box} {name}: {text}{said}"
        return f"- {box} {self._text(text)}{said}"

    def _quote(self, text: str) -> str:
        if not self._dossier.unmasked:
            shown = one_line(text, _TEXT_LIMIT)
            return f"  “{shown}”" if self._style is Style.TEXT else f"> {self._text(shown)}\n"
        # To the letter, save what would steer a screen; nothing is read as markup in such a block.
        return "\n".join(f"    {line}" for line in plain(text).splitlines()) + "\n"

    def _link(self, url: str) -> str:
        if self._style is Style.MARKDOWN and _LINK.fullmatch(url):
            return f"<{url}>"
        return self._text(one_line(url, 500))

    def _lines(self, lines: Sequence[str]) -> str:
        if self._style is Style.TEXT:
            return "\n".join([lines[0].rstrip("\n"), *(f"    {line}" for line in lines[1:])])
        return lines[0] + "\n" + "  \n".join(lines[1:])

    def _when(self, moment: datetime, *, year: bool = False) -> str:
        if year:
            return self._words.moment(moment, self._zone)
        local = moment.astimezone(self._zone)
        text = self._words.short_moment(moment, self._zone)
        opened = self._dossier.incident.opened_at.astimezone(self._zone)
        return text if local.year == opened.year else f"{text} {local.year}"

    def _after(self, at: datetime) -> str:
        span = self._span(at - self._dossier.incident.opened_at)
        return str(self._say["after"].format(when=self._when(at), after=span))

    def _span(self, span: timedelta) -> str:
        """In two units at most: a manager reads ``1 uur 5 minuten``, not 65 minutes."""
        minutes = max(round(span / timedelta(minutes=1)), 0)
        days, minutes = divmod(minutes, 24 * 60)
        hours, minutes = divmod(minutes, 60)
        units = [("day", days), ("hour", hours), ("minute", minutes)]
        said = [self._words.count(f"duration.{unit}", count) for unit, count in units if count]
        return " ".join(said[:2]) or self._words.count("duration.minute", 0)


def _still(text: str) -> str:
    """Text that formats nothing in Markdown, and stays readable in its raw form."""
    return _AT_START.sub(r"\1\\\2", _MARKS.sub(r"\\\g<0>", text))


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


@cache
def _wording(language: str) -> dict[str, Any]:
    text = (resources.files("monitor") / "dossier.toml").read_text(encoding="utf-8")
    found: dict[str, Any] = tomllib.loads(text)[language]
    return found
