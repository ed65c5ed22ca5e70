"""What is to be done in an incident, step by step: ticked off by people, with who and when.

The words are data, ``alerts/words/playbooks.toml``. A kind of incident has one playbook; others can be
attached. What has been ticked follows from the history and nothing else.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any

from alerts.base import SignalKind
from alerts.history import Entry, Happened

_MARK = "playbook:"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do."""

    id: str
    """As ``crisis.convene``: stands in histories."""
    phase: str
    """For people, in the language of the playbook."""
    text: str


@dataclass(frozen=True, slots=True)
class Playbook:
    """Steps in order, in one language."""

    name: str
    title: str
    steps: tuple[Step, ...]
    confidential: bool
    """What is written about its steps is shown to few, and every tick has a reason."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A step that was done."""

    step: str
    who: str
    at: datetime


def names() -> tuple[str, ...]:
    """All playbooks there are."""
    return tuple(name for name in _catalogue() if name != "phases")


def playbook_of(kind: SignalKind) -> str:
    """The name of a kind's playbook."""
    return next(name for name in names() if kind.value in _catalogue()[name].get("kinds", ()))


def playbook(name: str, language: str) -> Playbook:
    """A playbook in ``nl`` or ``en``.

    Raises:
        KeyError: there is none of that name, or no such language.
    """
    if name not in names():
        raise KeyError(name)
    found, phases = _catalogue()[name], _catalogue()["phases"]
    return Playbook(
        name,
        found["title"][language],
        tuple(
            Step(f"{name}.{step}", phases[words["phase"]][language], words[language])
            for step, words in found["steps"].items()
        ),
        found.get("confidential", False),
    )


def key(about: str) -> str:
    """What the history keeps of a playbook or a step: ``playbook:crisis.convene``."""
    return f"{_MARK}{about}"


def about(page: str) -> str:
    """The playbook or step that a line of the history is about; empty for other lines."""
    return page.removeprefix(_MARK) if page.startswith(_MARK) else ""


def is_confidential(page: str) -> bool:
    """Whether what such a line says is shown to few."""
    name = about(page).partition(".")[0]
    return bool(_catalogue().get(name, {}).get("confidential", False))


def attached(kind: SignalKind, history: Iterable[Entry]) -> list[str]:
    """The names of an incident's playbooks: that of its kind, then those attached, in order."""
    found = {playbook_of(kind): None}
    for entry in history:
        name = about(entry.page)
        if entry.what is Happened.PLAYBOOK and name in names():
            found[name] = None
    return list(found)


def ticks(history: Sequence[Entry]) -> dict[str, Tick]:
    """What has been ticked and not taken back, by step."""
    found: dict[str, Tick] = {}
    for entry in history:
        step = about(entry.page)
        if entry.what is Happened.TICKED and step not in found:
            found[step] = Tick(step, entry.who, entry.at)
        elif entry.what is Happened.UNTICKED:
            found.pop(step, None)
    return found


def find_step(wanted: str, among: Sequence[str]) -> str:
    """The id of a step from what a person types: the id, or its last part where that is clear.

    Args:
        wanted: ``crisis.convene`` or ``convene``.
        among: names of the incident's playbooks.

    Raises:
        KeyError: there is no such step, or more than one; the message says which there are.
    """
    steps = [step.id for name in among for step in playbook(name, "en").steps]
    if wanted in steps:
        return wanted
    alike = [step for step in steps if step.partition(".")[2] == wanted]
    if len(alike) == 1:
        return alike[0]
    if alike:
        raise KeyError(f'"{wanted}" is in more than one playbook; write {" or ".join(alike)}')
    raise KeyError(f'there is no step "{wanted}"; there are {", ".join(steps)}')


@cache
def _catalogue() -> Mapping[str, Any]:
    text = files("alerts.words").joinpath("playbooks.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)
