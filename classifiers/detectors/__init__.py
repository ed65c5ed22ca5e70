"""Evidence of leaks: small detectors, each with its own examples.

:func:`default_detectors` is the table of what runs; :data:`KINDS` says what sort of evidence each
name gives. Adding a detector: a class or a rule with examples, a line here, a row in docs/leaks.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from classifiers.base import Finding, LeakCategory
from classifiers.detectors import identifiers, infrastructure, markings
from classifiers.detectors.base import Detector, Kind, find_all
from classifiers.detectors.phrases import PhraseDetector
from classifiers.detectors.secrets import SecretDetector

__all__ = [
    "FINGERPRINT",
    "Detector",
    "Kind",
    "default_detectors",
    "find_all",
    "kind",
    "rules_version",
]

FINGERPRINT = "fingerprint"
"""The detector of the register of secrets: its findings are in whatever category was registered."""

_BY_CATEGORY = {
    LeakCategory.CREDENTIALS: Kind.SECRET,
    LeakCategory.SECURITY: Kind.INFRASTRUCTURE,
}
_CONTACTS = frozenset({"email", "phone"})
_REGISTERED = frozenset({"btw", "kvk"})
"""Numbers of organisations, printed on every invoice: no evidence, but masked."""


def default_detectors(watch_words: Sequence[str] = ()) -> list[Detector]:
    """Return every detector, with one for ``watch_words`` when there are any.

    Raises:
        connectors.query.QueryError: a watch word is no valid query.
    """
    table: list[Detector] = [
        SecretDetector(),
        PhraseDetector(),
        *identifiers.detectors(),
        *infrastructure.detectors(),
        *markings.detectors(),
    ]
    if watch_words:
        from classifiers.detectors.watchwords import WatchWordDetector  # noqa: PLC0415

        table.append(WatchWordDetector(watch_words))
    return table


def kind(finding: Finding) -> Kind:
    """Return what sort of evidence ``finding`` is."""
    if finding.detector == FINGERPRINT:
        return Kind.REGISTER
    if finding.category in _BY_CATEGORY:
        return _BY_CATEGORY[finding.category]
    if finding.detector == "watch-word":
        return Kind.WATCH_WORD
    if finding.category is LeakCategory.INTERNAL:
        return Kind.MARKING
    if finding.detector in _CONTACTS or finding.detector in _REGISTERED:
        return Kind.CONTACT
    return Kind.IDENTIFIER


@cache
def rules_version() -> str:
    """Return a short fingerprint of all rules and of the code that applies them."""
    digest = hashlib.sha256()
    here = Path(__file__).parent
    register = here.parent / "register"
    for path in sorted(
        [
            *here.glob("*.py"),
            *here.glob("*.toml"),
            *register.glob("*.py"),
            *register.glob("*.txt"),
            here.parent / "leaks.py",
            here.parent / "lookalikes.py",
        ]
    ):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:8]
