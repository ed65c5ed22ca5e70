"""Why one of Google's APIs refuses, in its own words: all of them write their errors alike."""

from __future__ import annotations

import json
import re

from connectors.plaintext import one_line


def reason_of(body: bytes) -> tuple[str, str]:
    """Read the body of a refusal.

    Returns:
        Google's word for the reason (``quotaExceeded``, ``SERVICE_DISABLED``) and its sentence for
        people; each is empty where there is none.
    """
    try:
        error = json.loads(body[:100_000])["error"]
        said = one_line(re.sub(r"<[^>]*>", "", str(error.get("message", ""))), 200)
        details = [one for one in error.get("details") or () if isinstance(one, dict)]
        reasons = [str(one["reason"]) for one in details if "reason" in one]
        reasons += [str(one.get("reason", "")) for one in error.get("errors") or ()]
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return "", ""
    return (reasons[0] if reasons else ""), said
