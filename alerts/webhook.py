"""The webhook channel: one message as signed JSON, for ticket systems and programs of one's own.

Signed as *Standard Webhooks* 1.0 describes, so that receivers can verify it with a library they
find. What the body holds is documented in ``docs/alerts.md`` and numbered: within a version fields
are added, never renamed or removed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal

from pydantic import SecretStr, field_validator, model_validator

from alerts.base import Chart, Delivery, DeliveryError, DeliveryFault, Receipt
from alerts.plain import one_line, plain
from alerts.posting import PostingOptions, Web, is_loopback, refusal, web_address
from connectors.options import SECRET_PLACES
from connectors.options import Options as BaseOptions
from connectors.standardwebhooks import KEY_ADVICE, key_of, sign

VERSION = 1
"""Of the body: raised when a field is renamed, removed or changes its meaning."""

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_RESERVED = frozenset(
    {
        "accept-encoding", "connection", "content-encoding", "content-length", "content-type",
        "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip
_SAFE_ID = re.compile(r"[A-Za-z0-9_-]{1,200}")
_TEXT_LIMIT = 2000
_UNAUTHORIZED = 401
_NOT_FOUND = 404
_GONE = 410
_SERVER_DOWN = frozenset({502, 503, 504})
_REDIRECTS = range(300, 400)
_GONE_ADVICE = ": nobody listens there any more; take the channel out or configure its new url"


class HeaderOptions(BaseOptions):
    """A header that the receiver asks for."""

    name: str
    """Such as ``X-Api-Key``."""
    value: SecretStr
    """What it says; may be a secret."""

    @field_validator("name")
    @classmethod
    def _is_free(cls, value: str) -> str:
        lower = value.lower()
        if not _HEADER_NAME.fullmatch(value):
            raise ValueError("is not a name for a header; write it like X-Api-Key")
        if lower in _RESERVED or lower.startswith("webhook-"):
            raise ValueError(f"the header {value} is set by Merkwacht itself")
        return value

    @field_validator("value")
    @classmethod
    def _is_one_line(cls, value: SecretStr) -> SecretStr:
        text = value.get_secret_value()
        if not text.isascii() or not text.isprintable():
            raise ValueError("a header's value is one line of ASCII characters")
        return value


class WebhookOptions(PostingOptions):
    """An address that messages are posted to as signed JSON."""

    kind: Literal["webhook"] = "webhook"
    url: SecretStr
    """Where to post: https, or http within your own network."""
    secret: SecretStr
    """Key to sign with: ``whsec_`` and 24 to 64 random bytes in base64."""
    previous_secret: SecretStr | None = None
    """The key before it: while both are set, each message is signed with both."""
    headers: tuple[HeaderOptions, ...] = ()
    """Further headers that the receiver wants, such as an API key."""
    allow_private_address: bool = False
    """Whether ``url`` may lead to a private address: a system within your own network."""

    @field_validator("url")
    @classmethod
    def _is_address(cls, value: SecretStr) -> SecretStr:
        if web_address(value.get_secret_value()) is None:
            raise ValueError(
                "must be an https address without a user name; username and password are options"
            )
        return value

    @field_validator("secret", "previous_secret")
    @classmethod
    def _is_key(cls, value: SecretStr | None) -> SecretStr | None:
        # A command that sends nothing may do without the service's credentials.
        if value is not None and SECRET_PLACES.get().needed and not _key(value):
            raise ValueError(KEY_ADVICE)
        return value

    @model_validator(mode="after")
    def _way_is_safe(self) -> WebhookOptions:
        url = self.url.get_secret_value()
        if url.startswith("https://"):
            return self
        if not self.allow_private_address:
            raise ValueError(
                "url must begin with https://; with http:// it has to be in your own network, and "
                "allow_private_address = true has to say so"
            )
        if (self.has_credentials or self.headers) and not is_loopback(web_address(url) or ""):
            raise ValueError(
                "with http:// the credentials would be readable on the network; use https://"
            )
        return self

    @model_validator(mode="after")
    def _one_authorization(self) -> WebhookOptions:
        names = [header.name.lower() for header in self.headers]
        if self.has_credentials:
            names.append("authorization")
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"the header {name} is given twice")
        return self


class WebhookChannel:
    """Posts to one address.

    Args:
        options: address, keys, headers.
        now: the wall clock: receivers refuse what was signed too long ago.
    """

    kind: ClassVar[str] = "webhook"
    Options: ClassVar[type[BaseOptions]] = WebhookOptions

    def __init__(
        self,
        options: WebhookOptions,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._options = options
        self._now = now
        host = web_address(options.url.get_secret_value()) or ""
        self._where = f"the webhook at {host}"
        self._web = Web(
            options,
            private_hosts=(host,) if options.allow_private_address else (),
            advice="; if that is meant, set allow_private_address = true",
        )

    @staticmethod
    def problem_with(to: Sequence[str]) -> str | None:
        """What is wrong with the addresses of a receiver, or None."""
        return "a webhook posts to its own url; leave `to` away" if to else None

    def send(self, delivery: Delivery) -> Receipt:
        """Post one message; any status of 200 to 299 is its receipt. Raises DeliveryError."""
        if problem := self.problem_with(delivery.to):
            raise DeliveryError(problem, fault=DeliveryFault.REFUSED, permanent=True)
        body = body_of(delivery)
        answer = self._web.ask(
            "POST",
            self._options.url.get_secret_value(),
            where=self._where,
            content=body,
            headers={
                **self._own_headers(),
                "Content-Type": "application/json",
                **self._signature(delivery.key, body),
            },
        )
        if not answer.ok:
            raise refusal(self._where, answer, gone=_GONE_ADVICE)
        return Receipt()

    def check(self) -> str:
        """Ask what the address allows (``OPTIONS``), which posts nothing. Raises DeliveryError.

        That it answers is all this shows: a server may say "no such method" to this and take a
        message, or the other way round.
        """
        answer = self._web.ask(
            "OPTIONS",
            self._options.url.get_secret_value(),
            where=self._where,
            headers=self._own_headers(),
        )
        telling = {_UNAUTHORIZED, _NOT_FOUND, _GONE, *_SERVER_DOWN}
        if answer.status in telling or answer.status in _REDIRECTS:
            raise refusal(self._where, answer, gone=_GONE_ADVICE)
        return (
            f"answers (HTTP {answer.status}); whether it takes a message shows with the first one"
        )

    def close(self) -> None:
        """Let go of the client; no connection is kept open between messages."""
        self._web.close()

    def _own_headers(self) -> dict[str, str]:
        return {each.name: each.value.get_secret_value() for each in self._options.headers}

    def _signature(self, key: str, body: bytes) -> dict[str, str]:
        """The three headers of Standard Webhooks, for an attempt at this moment."""
        identity, moment = webhook_id(key), str(int(self._now().timestamp()))
        secrets = (self._options.secret, self._options.previous_secret)
        signed = [
            sign(_key(secret), identity, moment, body) for secret in secrets if secret is not None
        ]
        return {
            "webhook-id": identity,
            "webhook-timestamp": moment,
            "webhook-signature": " ".join(signed),
        }


def webhook_id(key: str) -> str:
    """The idempotency key as ``webhook-id``.

    As it is, if nothing in it could be mistaken for the dots between what is signed.
    """
    if _SAFE_ID.fullmatch(key):
        return key
    return f"mw-{hashlib.sha256(key.encode('utf-8', 'replace')).hexdigest()[:32]}"


def body_of(delivery: Delivery) -> bytes:
    """The body of a delivery: the same bytes at every attempt.

    ASCII, and without the characters that mean something in HTML: written into a page or a log as
    it is, it does nothing.
    """
    text = json.dumps(payload_of(delivery), ensure_ascii=True, separators=(",", ":"))
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text.encode("ascii")


def payload_of(delivery: Delivery) -> dict[str, Any]:
    """The message as version 1 of the documented JSON object."""
    message = delivery.message
    if message.bulletin:
        return _bulletin(delivery)
    return {
        "type": f"incident.{message.event.value}",
        "version": VERSION,
        "timestamp": _moment(delivery.created_at or message.since),
        "key": one_line(delivery.key, 300),
        "data": {
            "incident": message.incident_id,
            "event": message.event.value,
            "severity": message.severity.word,
            "severity_level": int(message.severity),
            "kind": message.kind.value,
            "brand": one_line(message.brand),
            "language": message.language,
            "timezone": message.timezone,
            "title": one_line(message.title),
            "summary": _text(message.summary),
            "since": _moment(message.since),
            "why": [
                {"label": one_line(label), "value": _text(value)} for label, value in message.why
            ],
            "actions": [_text(action) for action in message.actions],
            "samples": [
                {
                    "text": _text(sample.text),
                    "platform": one_line(sample.platform),
                    "author": one_line(sample.author),
                    "published_at": _moment(sample.published_at),
                    "url": sample.url,
                    "followers": sample.followers,
                    "sentiment": None if sample.sentiment is None else one_line(sample.sentiment),
                }
                for sample in message.samples
            ],
            "more_samples": message.more_samples,
            "link": message.link,
            "chart": None if message.chart is None else _chart(message.chart),
            "drill": message.drill,
        },
    }


def _bulletin(delivery: Delivery) -> dict[str, Any]:
    """What is about no incident: the line a day that says that all is well."""
    message = delivery.message
    return {
        "type": "daily",
        "version": VERSION,
        "timestamp": _moment(delivery.created_at or message.since),
        "key": one_line(delivery.key, 300),
        "data": {
            "language": message.language,
            "timezone": message.timezone,
            "title": one_line(message.title),
            "summary": _text(message.summary),
            "since": _moment(message.since),
        },
    }


def _chart(chart: Chart) -> dict[str, Any]:
    numbers = asdict(chart)
    return {
        "start": _moment(chart.start),
        "step_seconds": int(chart.step.total_seconds()),
        **{name: list(numbers[name]) for name in ("observed", "expected", "upper")},
        "rang_at": None if chart.rang_at is None else _moment(chart.rang_at),
    }


def _text(text: str) -> str:
    return plain(text)[:_TEXT_LIMIT]


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _key(secret: SecretStr) -> bytes:
    """The bytes of a secret, or none if it is not one."""
    return key_of(secret.get_secret_value())
