"""All there is about one incident, gathered from the store: for people who have to account for it.

Gathering is here, and what may be shown: posts masked, authors under a pseudonym, what concerns a
colleague left out, unless somebody asks for it and says why. How it looks is in
``monitor.dossier_pages``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from alerts.base import Event, Incident, Reason
from alerts.history import Entry, Happened
from alerts.ledger import Finding as Verified
from alerts.message import compose
from alerts.playbooks import Playbook, Tick, about, attached, is_confidential, playbook, ticks
from alerts.words import words as alert_words
from classifiers.base import Confidence, Finding, Leak, LeakBand, LeakCategory
from classifiers.explain import explain
from classifiers.masking import mask, together
from monitor.store import Unit
from monitor.store.evidence import Kept
from monitor.store.following import ClockRun
from monitor.store.history import HistoryEntry
from monitor.store.incidents import Life
from monitor.store.outbox import Sent

WORKED, DID_NOT, LESSONS = "Worked: ", "Did not: ", "Lessons: "
"""How the parts of an evaluation begin in the history, each on lines of its own."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What people say when they look back."""

    worked: str
    did_not: str
    lessons: str = ""

    def text(self) -> str:
        """As the history keeps it."""
        parts = ((WORKED, self.worked), (DID_NOT, self.did_not), (LESSONS, self.lessons))
        return "\n".join(
            f"{label}{' '.join(said.split())}" for label, said in parts if said.strip()
        )

    @classmethod
    def read(cls, text: str) -> Evaluation:
        """From the history."""
        found = {
            label: line.removeprefix(label)
            for line in text.splitlines()
            for label in (WORKED, DID_NOT, LESSONS)
            if line.startswith(label)
        }
        return cls(found.get(WORKED, ""), found.get(DID_NOT, ""), found.get(LESSONS, ""))


@dataclass(frozen=True, slots=True)
class Exhibit:
    """A piece of evidence as it is shown."""

    kept: Kept
    text: str
    """Masked, unless the dossier is unmasked."""
    there: bool
    """Whether the mention is still in the store."""
    why: str = ""
    """Why it counts as a possible leak, in a sentence; empty where it does not."""


@dataclass(frozen=True, slots=True)
class Chapter:
    """A playbook and what of it was done."""

    playbook: Playbook
    done: Mapping[str, Tick]


@dataclass(frozen=True, slots=True)
class Dossier:
    """All there is about one incident."""

    incident: Incident
    life: Life
    family: tuple[int, ...]
    """Itself and what became part of it."""
    title: str
    summary: str
    reasons: tuple[tuple[str, str], ...]
    """Label and value of why it was raised."""
    history: tuple[HistoryEntry, ...]
    """Of the whole family, oldest first. Confidential notes are replaced by ``None`` in ``notes``."""
    notes: tuple[str | None, ...]
    clocks: tuple[ClockRun, ...]
    told: tuple[Sent, ...]
    chapters: tuple[Chapter, ...]
    evidence: tuple[Exhibit, ...]
    posts: int
    evaluation: Evaluation | None
    verified: Verified
    verified_evidence: Verified
    unmasked: bool
    language: str
    timezone: str
    drawn_up_at: datetime

    def reached(self, what: Happened) -> datetime | None:
        """When something first happened since the incident last began."""
        found: datetime | None = None
        for entry in self.history:
            if entry.incident_id != self.incident.id:
                continue
            if entry.event == Happened.REOPENED.value:
                found = None
            elif entry.event == what.value and found is None:
                found = entry.at
        return found


def gather(
    unit: Unit, number: int, *, language: str, timezone: str, now: datetime, unmasked: bool = False
) -> Dossier | None:
    """Gather the dossier of an incident; None when there is none of that number.

    Args:
        unit: a transaction, for reading.
        number: of the incident.
        language: ``nl`` or ``en``.
        timezone: IANA name, for the times in its words.
        now: the present.
        unmasked: show posts as they were, and what concerns a colleague. The caller writes into the
            history that, by whom and why it was asked for.
    """
    incident, life = unit.incidents.get(number), unit.incidents.life(number)
    if incident is None or life is None:
        return None
    family = unit.incidents.family(number)
    history = unit.incidents.chain.of(family)
    entries = [entry for line in history if (entry := line.entry()) is not None]
    signals = unit.incidents.signals(number)
    _, posts = unit.incidents.exhibits(number, 1)
    evidence = tuple(_exhibits(unit, family, language, unmasked=unmasked))
    words = compose(
        incident,
        Event.OPENED,
        Reason.OPENED,
        signals=signals,
        exhibits=(),
        total_mentions=posts,
        language=language,
        timezone=timezone,
    )
    return Dossier(
        incident=incident,
        life=life,
        family=tuple(family),
        title=words.title,
        summary=words.summary,
        reasons=tuple(
            each for each in words.why if each[0] != alert_words(language).text("why.now")
        ),
        history=tuple(history),
        notes=tuple(_note(line, unmasked=unmasked) for line in history),
        clocks=tuple(clock for each in family for clock in unit.following.clocks(each)),
        told=tuple(sorted(unit.outbox.of_incidents(family), key=lambda sent: sent.created_at)),
        chapters=tuple(_chapters(incident, entries, language)),
        evidence=evidence,
        # Posts whose time was over are gone; those that were kept are still known of.
        posts=max(posts, len({exhibit.kept.mention_id for exhibit in evidence})),
        evaluation=_evaluation(history, number),
        verified=unit.incidents.chain.verify(),
        verified_evidence=unit.incidents.evidence.verify(),
        unmasked=unmasked,
        language=language,
        timezone=timezone,
        drawn_up_at=now,
    )


def _note(line: HistoryEntry, *, unmasked: bool) -> str | None:
    """What a line says; None for what is shown to few."""
    if line.note and is_confidential(line.page) and not unmasked:
        return None
    return line.note


def _chapters(incident: Incident, entries: Sequence[Entry], language: str) -> Iterable[Chapter]:
    done = ticks(entries)
    for name in attached(incident.kind, entries):
        yield Chapter(playbook(name, language), done)


def _exhibits(
    unit: Unit, family: Sequence[int], language: str, *, unmasked: bool
) -> Iterable[Exhibit]:
    kept = unit.incidents.evidence.of(family)
    there = unit.incidents.evidence.there({piece.mention_id for piece in kept})
    known = together(
        (piece.text, _findings(piece.content), _likely(piece.content))
        for piece in kept
        if not unmasked
    )
    for piece in kept:
        text = piece.text
        if not unmasked:
            found, likely = _findings(piece.content), _likely(piece.content)
            text = mask(text, found, language=language, known=known, likely=likely)
        why = _why(piece.content, language)
        yield Exhibit(piece, text, piece.mention_id in there, why)


def _why(content: Mapping[str, Any], language: str) -> str:
    said = content.get("assessment")
    if not said or said["leak_band"] == LeakBand.LOW.value:
        return ""
    likely = LeakCategory(said["leak_likely"])
    band = LeakBand(said["leak_band"])
    return explain(Leak(band, said["leak_score"], likely, tuple(_findings(content))), language)


def _likely(content: Mapping[str, Any]) -> LeakCategory:
    return LeakCategory(content.get("assessment", {}).get("leak_likely", LeakCategory.NONE))


def _findings(content: Mapping[str, Any]) -> list[Finding]:
    found = content.get("assessment", {}).get("findings", ())
    return [
        Finding(
            **{
                **item,
                "category": LeakCategory(item["category"]),
                "confidence": Confidence(item["confidence"]),
            }
        )
        for item in found
    ]


def _evaluation(history: Sequence[HistoryEntry], number: int) -> Evaluation | None:
    """The last one; none since it was reopened."""
    found: Evaluation | None = None
    for line in history:
        if line.incident_id == number and line.event == Happened.REVIEWED.value:
            found = Evaluation.read(line.note)
        elif line.incident_id == number and line.event == Happened.REOPENED.value:
            found = None
    return found


def step_words(dossier: Dossier, page: str) -> str:
    """What of a playbook a line is about, in words; its id where the playbook knows it no more."""
    what = about(page)
    for chapter in dossier.chapters:
        if what == chapter.playbook.name:
            return chapter.playbook.title
        for step in chapter.playbook.steps:
            if step.id == what:
                return step.text
    return what
