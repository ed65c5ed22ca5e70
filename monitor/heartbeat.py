"""The dead man's switch: signs of life, so that somebody notices when there are none.

A daemon that has died cannot say so. A request to an address at regular intervals tells a watching
service that all steps go on; when it stays out, that service speaks up. A line a day tells people the
same. Neither is an incident, neither escalates, and neither can stop anything else.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, time, timedelta
from typing import Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from alerts.base import DeliveryError
from alerts.posting import PostingOptions, Web, is_loopback, refusal, web_address
from monitor.inbox import Inbox
from monitor.log import logger
from monitor.metrics import OK, Metrics

WITHHELD = "withheld"
"""No heartbeat, since a step has not come to an end lately: that is what it is there to show."""


class HeartbeatOptions(PostingOptions):
    """Signs of life: requests to an address, and a line a day to people."""

    url: SecretStr | None = None
    """Address to ask at regular intervals, such as a check of healthchecks.io; a secret."""
    method: Literal["GET", "POST", "HEAD"] = "GET"
    """How; a POST carries figures as JSON: how many messages wait, since when."""
    every_seconds: int = Field(default=300, ge=15, le=86400)
    """Seconds between two heartbeats; let the other side raise the alarm after two or three times
    that."""
    allow_private_address: bool = False
    """Whether url may lead to a private address: then it may be http, without a login."""
    daily_at: time | None = None
    """Local time at which a line a day says that all is well: "08:30"."""
    daily_to: tuple[str, ...] = ()
    """Names of the receivers who get it, over their channels."""

    @field_validator("url")
    @classmethod
    def _is_address(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and web_address(value.get_secret_value()) is None:
            raise ValueError(
                "is not an address; write it like https://hc-ping.com/… (user name and password have "
                "options of their own)"
            )
        return value

    @field_validator("daily_at")
    @classmethod
    def _is_local(cls, value: time | None) -> time | None:
        if value is not None and value.tzinfo is not None:
            raise ValueError('is a local time without a zone, such as "08:30"')
        return value

    @model_validator(mode="after")
    def _is_whole_and_safe(self) -> HeartbeatOptions:
        if (self.daily_at is None) != (not self.daily_to):
            raise ValueError("daily_at and daily_to belong together: give both or neither")
        address = "" if self.url is None else self.url.get_secret_value()
        inside = is_loopback(web_address(address) or "")
        if address.startswith("http://") and not self.allow_private_address:
            raise ValueError("url has to begin with https://; http needs allow_private_address")
        if address.startswith("http://") and self.has_credentials and not inside:
            raise ValueError("the credentials would be readable on the network; use https://")
        return self


class Heartbeat:
    """Asks one address at regular intervals while all is well.

    Args:
        options: where and how often.
        stale: the steps that have not come to an end lately; empty: all is well.
        figures: what a POST tells along, as JSON values.
        inbox: where the worker reports.
        pool: of the worker.
        metrics: counts.
        now: the clock.
    """

    def __init__(
        self,
        options: HeartbeatOptions,
        *,
        stale: Callable[[], Mapping[str, float]],
        figures: Callable[[], Mapping[str, object]],
        inbox: Inbox,
        pool: ThreadPoolExecutor,
        metrics: Metrics,
        now: Callable[[], datetime],
    ) -> None:
        self._options = options
        self._stale = stale
        self._figures = figures
        self._inbox = inbox
        self._pool = pool
        self._metrics = metrics
        self._now = now
        self._every = timedelta(seconds=options.every_seconds)
        self._began: datetime | None = None
        self._withheld_at: datetime | None = None
        self._log = logger("heartbeat")
        self.under_way = False
        host = web_address(self._url) or ""
        # Whoever may be asked within one's own network is named in the configuration.
        private = (host,) if options.allow_private_address else ()
        self._where = f"the heartbeat's address at {host}"
        self._web = Web(
            options,
            private_hosts=private,
            advice="; if that is meant, set heartbeat.allow_private_address = true",
        )

    @property
    def _url(self) -> str:
        return "" if self._options.url is None else self._options.url.get_secret_value()

    def run(self) -> bool:
        """Ask if it is time and all is well. Returns whether it asks."""
        now = self._now()
        if not self._url or self.under_way:
            return False
        if self._began is not None and self._began <= now < self._began + self._every:
            return False
        if stale := self._stale():
            self._withhold(stale, now)
            return False
        self._began, self.under_way, self._withheld_at = now, True, None
        content = None
        if self._options.method == "POST":
            content = json.dumps(dict(self._figures())).encode("ascii")
        self._pool.submit(self._ask, content)
        return True

    def close(self) -> None:
        """Let go of the client."""
        self._web.close()

    def _withhold(self, stale: Mapping[str, float], now: datetime) -> None:
        """Say so once in an interval; it is asked again at the next turn."""
        if self._withheld_at is not None and self._withheld_at <= now < (
            self._withheld_at + self._every
        ):
            return
        self._withheld_at = now
        self._metrics.heartbeats.labels(WITHHELD).inc()
        self._log.error("withheld", **stale)

    def _ask(self, content: bytes | None) -> None:
        """In a worker. Whatever goes wrong is a line in the log and a count, nothing more."""
        outcome, trouble = OK, ""
        try:
            answer = self._web.ask(
                self._options.method,
                self._url,
                where=self._where,
                content=content,
                headers={} if content is None else {"Content-Type": "application/json"},
            )
        except DeliveryError as error:
            outcome, trouble = error.fault.value, str(error)
        except Exception:  # noqa: BLE001 - a sign of life must not end what it is a sign of
            outcome, trouble = "internal", "defect; its traceback is in the log"
            self._log.exception("defect")
        else:
            if not answer.ok:
                refused = refusal(self._where, answer)
                outcome, trouble = refused.fault.value, str(refused)
        self._inbox.post(lambda: self._end(outcome, trouble))

    def _end(self, outcome: str, trouble: str) -> None:
        self.under_way = False
        self._metrics.heartbeats.labels(outcome).inc()
        if trouble:
            self._log.warning("failed", fault=outcome, error=trouble)
