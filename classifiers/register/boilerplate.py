"""What stands in documents of every organisation and is no secret: greetings, disclaimers, footers."""

from __future__ import annotations

from functools import cache
from pathlib import Path


@cache
def boilerplate() -> tuple[str, ...]:
    """Return ordinary phrases, one a line of ``boilerplate.txt``: their passages never count."""
    text = Path(__file__).with_name("boilerplate.txt").read_text(encoding="utf-8")
    return tuple(line for line in text.splitlines() if line and not line.startswith("#"))
