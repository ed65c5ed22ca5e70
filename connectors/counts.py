"""Numbers that platforms count: taken where they are numbers that can be, and can be stored."""

from __future__ import annotations

from typing import Any

_TOO_MANY = 2**53
"""More than any platform counts, and than JSON carries exactly."""


def count_or_none(value: Any) -> int | None:
    """A count; None for what is none."""
    return value if isinstance(value, int) and 0 <= value < _TOO_MANY else None


def count_of(value: Any) -> int:
    """A count; 0 for what is none."""
    return count_or_none(value) or 0
