"""Mentions that another program pushes: our mention format, signed as Standard Webhooks describes.

For tools that find posts where no source of ours does. What they push is stored before they hear that
it was taken (``connectors.intake``); a poll reads it here. The source asks nobody anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, ClassVar, Literal

from pydantic import Field, SecretStr, field_validator

from connectors.base import Arrival, Clock, Context, Cursor, Page, Post, Reject
from connectors.intake import Greeting, NotAdmittedError, Place, Push, items
from connectors.mentionfile import Deleted, Lot, MentionLineError, read_line, read_object
from connectors.options import SECRET_PLACES
from connectors.options import Options as BaseOptions
from connectors.plaintext import one_line
from connectors.standardwebhooks import KEY_ADVICE, SignatureError, key_of, verify

_PAGE = 500
"""Mentions that are stored together, in one transaction."""

_METHOD_NOT_ALLOWED = 405


class WebhookOptions(BaseOptions):
    """Options of a source of kind ``webhook``."""

    kind: Literal["webhook"] = "webhook"
    secret: SecretStr
    """Key that pushes are signed with: ``whsec_`` and 24 to 64 random bytes in base64. Required."""
    previous_secret: SecretStr | None = None
    """The key before it, while the sender changes over: both are good. Default none."""
    platform: str | None = Field(default=None, pattern=r"^[a-z0-9][a-z0-9._-]{0,49}$")
    """What all mentions count as, as "forum", whatever their `source` says. Default: what that
    says."""
    tolerance_seconds: float = Field(default=300.0, ge=10, le=3_600)
    """How old a signature may be, and how far the sender's clock may be off. Default 300."""

    @field_validator("secret", "previous_secret")
    @classmethod
    def _is_key(cls, value: SecretStr | None) -> SecretStr | None:
        # A command that takes nothing may do without the service's credentials.
        if (
            value is not None
            and SECRET_PLACES.get().needed
            and not key_of(value.get_secret_value())
        ):
            raise ValueError(KEY_ADVICE)
        return value


class WebhookConnector:
    """Reads what was pushed to it."""

    kind: ClassVar[str] = "webhook"
    Options: ClassVar[type[BaseOptions]] = WebhookOptions

    def __init__(self, options: WebhookOptions, context: Context) -> None:
        self._options = options
        self._context = context
        self.door = SignedDoor(
            (options.secret, options.previous_secret),
            timedelta(seconds=options.tolerance_seconds),
            context.now,
        )
        """Lets in what is signed with one of its keys."""

    def fetch(self, cursor: Cursor | None) -> Iterator[Page]:
        """Yield what was pushed since. See :class:`connectors.base.Connector`."""
        place = Place.read((cursor or {}).get("intake"))
        lot = Lot()
        for line, arrival, after in items(self._context.intake, place, _lines):
            place = after
            if line is None:
                continue
            try:
                lot.add(self._found(line, arrival))
            except MentionLineError as error:
                lot.rejects.append(Reject(str(error), _excerpt(line)))
            if len(lot) >= _PAGE:
                yield lot.page({"intake": place.kept()})
                lot = Lot()
        yield lot.page({"intake": place.kept()})

    def close(self) -> None:
        """Nothing is held."""

    def _found(self, line: Any, arrival: Arrival) -> Post | Deleted:
        platform = self._options.platform
        if platform is not None and isinstance(line, dict):
            line = {**line, "source": platform}
        post = read_line(line) if isinstance(line, bytes) else read_object(line)
        if isinstance(post, Deleted):
            return replace(post, platform=platform or post.platform)
        # Nobody can have read it before it was written: one of the clocks is ahead.
        published_at = min(post.published_at, arrival.received_at)
        return replace(post, platform=platform or post.platform, published_at=published_at)


@dataclass(frozen=True, slots=True)
class SignedDoor:
    """Lets in what is signed as Standard Webhooks describes."""

    secrets: Sequence[SecretStr | None]
    tolerance: timedelta
    now: Clock
    prompt: bool = True

    def greet(self, query: Mapping[str, str]) -> Greeting:  # noqa: ARG002 - as Door has it
        """Nobody has to ask: the scheme knows no question."""
        raise NotAdmittedError("push with POST", status=_METHOD_NOT_ALLOWED)

    def admit(self, push: Push) -> str:
        """Check the signature; give ``webhook-id``. Raises NotAdmittedError."""
        keys = [key_of(each.get_secret_value()) for each in self.secrets if each is not None]
        identity = push.headers.get("webhook-id", "")
        try:
            verify(
                [key for key in keys if key],
                identity=identity,
                timestamp=push.headers.get("webhook-timestamp", ""),
                signature=push.headers.get("webhook-signature", ""),
                body=push.body,
                now=self.now(),
                tolerance=self.tolerance,
            )
        except SignatureError as error:
            raise NotAdmittedError(str(error)) from None
        return identity


def _lines(arrival: Arrival) -> Sequence[Any]:
    """Give the mentions of a push: objects of one JSON document, or lines of JSON Lines as bytes."""
    body = arrival.body.strip()
    try:
        whole = json.loads(body)
    except (ValueError, RecursionError):
        return [_parsed(line) for line in body.split(b"\n") if line.strip()]
    if isinstance(whole, dict) and isinstance(whole.get("mentions"), list):
        whole = whole["mentions"]
    found = whole if isinstance(whole, list) else [whole]
    return ["" if each is None else each for each in found]


def _parsed(line: bytes) -> Any:
    """A line as what it says; as it is where it says nothing."""
    try:
        value = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return line
    return "" if value is None else value


def _excerpt(line: Any) -> str:
    text = line if isinstance(line, bytes) else json.dumps(line, ensure_ascii=False).encode()
    return one_line(text[:2_000].decode(errors="replace"), 500)
