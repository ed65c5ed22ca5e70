"""When a failed delivery is tried again, and when it is given up.

Pure: the outbox keeps the answer as a due time, so that a restart resumes by itself and a test
moves the clock instead of waiting.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from alerts.base import DeliveryError

FIRST_PAUSE = timedelta(seconds=30)
LONGEST_PAUSE = timedelta(minutes=15)
GIVE_UP_AFTER = timedelta(hours=48)
JITTER = 0.25
"""Up to this share of a pause is taken off at random, so that a crowd does not return at once."""


def next_attempt(
    attempts: int,
    error: DeliveryError | None,
    created_at: datetime,
    now: datetime,
    *,
    jitter: float,
) -> datetime | None:
    """Say when to try again, or None: give up, it is a dead letter.

    The pause doubles from 30 seconds to 15 minutes. The server's own wish (Retry-After) is honoured
    when it is longer. 48 hours after the notification was made there is one last attempt; a
    permanent error ends it at once.

    Args:
        attempts: how many were made, including the one that just failed; at least 1.
        error: why it failed; None when it never came to an answer (the program was killed).
        created_at: when the notification was made.
        now: the present.
        jitter: random number in 0..1, from the caller.
    """
    deadline = created_at + GIVE_UP_AFTER
    if (error is not None and error.permanent) or now >= deadline:
        return None
    # Beyond 2**10 the longest pause has long been reached; the bound keeps the power small.
    pause = min(FIRST_PAUSE * (1 << min(max(attempts, 1) - 1, 10)), LONGEST_PAUSE)
    pause *= 1 - JITTER * jitter
    if error is not None and error.retry_after is not None:
        pause = max(pause, error.retry_after)
    return min(now + pause, deadline)
