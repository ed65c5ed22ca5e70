"""When a source is polled next. Pure: the answer is kept as a due time, never slept for."""

from __future__ import annotations

from datetime import datetime, timedelta

from connectors.base import ConnectorError

FIRST_PAUSE = timedelta(minutes=1)
LONGEST_PAUSE = timedelta(minutes=15)
PERMANENT_PAUSE = timedelta(hours=1)
"""What only a person can mend is still tried now and then: the person may have mended it."""
JITTER = 0.1


def after_success(
    now: datetime, interval: timedelta, wish: timedelta | None, *, jitter: float
) -> datetime:
    """The next poll: after the interval, or later when the source wishes so.

    Args:
        now: the present.
        interval: the configured pause.
        wish: the source's own wish, from its last page.
        jitter: random number in 0..1: up to a tenth earlier, so that sources do not march in step.
    """
    return now + max(interval * (1 - JITTER * jitter), wish or timedelta(0))


def after_failure(
    now: datetime,
    interval: timedelta,
    failures: int,
    error: ConnectorError | None,
    *,
    jitter: float,
) -> datetime:
    """The next poll after the ``failures``-th failure in a row (1 or more).

    The pause doubles from a minute up to a quarter of an hour (or the interval, if that is longer);
    a failure that a person must mend waits an hour. Retry-After is honoured when it is longer.
    """
    if error is not None and error.permanent:
        pause = max(PERMANENT_PAUSE, interval)
    else:
        pause = min(FIRST_PAUSE * (1 << min(failures - 1, 10)), max(LONGEST_PAUSE, interval))
    pause *= 1 - JITTER * jitter
    if error is not None and error.retry_after is not None:
        pause = max(pause, error.retry_after)
    return now + pause
