"""Meta's Graph API: what ``facebook`` and ``instagram`` share.

Requests go straight through the guarded client, with the token in a header; each is proved with the
app's secret where that is known. Meta's own error codes, not the HTTP status, say what is wrong; its
usage headers say when to pause. Its pushes are signed with the app's secret.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
from pydantic import Field, SecretStr, field_validator, model_validator

from connectors.base import Arrival, ConnectorError, Context, SourceFault
from connectors.http import (
    Fetched,
    bounded_wish,
    fetch_limited,
    redact_url,
    server_time,
    status_error,
)
from connectors.intake import Greeting, NotAdmittedError, Push, fingerprint
from connectors.options import Options as BaseOptions
from connectors.options import is_one_word
from connectors.plaintext import one_line
from connectors.sweeping import Event, Pace

VERSION = "v25.0"
"""The version of the API that this program was written for. Meta keeps each for two years or more."""

_MAX_BYTES = 16 * 2**20
_OK = 200
_ID = re.compile(r"[0-9]{1,30}(_[0-9]{1,30}){0,2}")
_SIGNATURE = re.compile(r"sha256=([0-9a-f]{64})")
_BUSY, _FULL = 80, 95
"""Per cent of what may be used within an hour, from which there is a short and a long pause."""
_SHORT, _LONG = timedelta(minutes=15), timedelta(minutes=60)
_ONWARD = frozenset({"after", "until", "__paging_token", "offset"})
"""What of the address of a next page says where it begins. The rest of it is ours to say."""

_RENEW = (
    "make a new token, best one of a system user that does not expire (docs/sources/facebook.md), "
    "and put it into access_token"
)
_SUBCODES: Mapping[int, str] = {
    458: "its owner has removed the app",
    459: "its owner has to log in on facebook.com and answer a question there",
    460: "its owner has changed the password",
    463: "it has expired",
    464: "its owner is not confirmed",
    467: "it was revoked",
    492: "its owner has no role on the page any more",
}
_FAULTS: Mapping[int, tuple[SourceFault, bool]] = {
    1: (SourceFault.SERVER_ERROR, False),
    2: (SourceFault.SERVER_ERROR, False),
    3: (SourceFault.FORBIDDEN, True),
    4: (SourceFault.RATE_LIMITED, False),
    10: (SourceFault.FORBIDDEN, True),
    17: (SourceFault.RATE_LIMITED, False),
    32: (SourceFault.RATE_LIMITED, False),
    100: (SourceFault.BAD_REQUEST, True),
    102: (SourceFault.UNAUTHORIZED, True),
    104: (SourceFault.UNAUTHORIZED, True),
    190: (SourceFault.UNAUTHORIZED, True),
    341: (SourceFault.RATE_LIMITED, False),
    368: (SourceFault.FORBIDDEN, False),
    613: (SourceFault.RATE_LIMITED, False),
    803: (SourceFault.NOT_FOUND, False),
    2635: (SourceFault.BAD_REQUEST, True),
    80001: (SourceFault.RATE_LIMITED, False),
    80002: (SourceFault.RATE_LIMITED, False),
}
_PERMISSIONS = range(200, 300)
_REMEDIES: Mapping[int, str] = {
    3: "the app lacks a capability: docs/sources/KIND.md lists what it needs",
    10: "the token lacks a permission, or the app the review that it needs: docs/sources/KIND.md "
    "lists them",
    100: "compare the id in the configuration, and that the token was made for it",
    104: "app_secret and access_token belong to two different apps: compare them",
    368: "Meta has blocked the app or account for a while: look into the app's dashboard",
    2635: "version VERSION is too old for Meta: set a newer one",
}
_NO_SUCH_OBJECT = 33
_OBJECT_CODES = frozenset({3, 10, 100, 803, *_PERMISSIONS})
"""Codes that one object may have by itself: it was deleted, or its author lets nobody read it."""
_LIMITS: Mapping[int, str] = {
    4: "the app has used up its calls of this hour",
    17: "the token's owner has used up the calls of this hour",
    32: "the page has used up its calls of this hour",
    341: "the app has used up what it may do for now",
    613: "this call may not be made so often",
    80001: "the page has used up its calls of this day",
    80002: "the account has used up its calls of this day",
}


class GraphOptions(BaseOptions):
    """What sources of both kinds have in common."""

    access_token: SecretStr
    """Token of the Graph API that may read the page or account. Required. Also as
    `access_token_file`, or from the environment or a systemd credential."""
    app_secret: SecretStr | None = None
    """Secret of the app that the token belongs to: proves calls, and checks what Meta pushes.
    Default none: calls are not proved, nothing is taken."""
    verify_token: SecretStr | None = None
    """A word of your own choice that you also give to Meta where you register the webhook, at least
    16 characters. Default none: no webhook can be registered."""
    version: str = Field(default=VERSION, pattern=r"^v[0-9]{2,3}\.[0-9]$")
    """Version of the Graph API. Default "v25.0"."""
    sweep_minutes: float = Field(default=15.0, ge=1, le=1_440)
    """Minutes between two readings of the lists; what Meta pushes is read at each poll.
    Default 15."""
    watch_days: float = Field(default=14.0, ge=1, le=90)
    """Days for which comments under a post are looked for. Default 14."""
    backfill_hours: float = Field(default=24.0, ge=0, le=720)
    """Hours to look back when the source is read for the first time. Default 24."""
    overlap_minutes: float = Field(default=60.0, ge=0, le=1_440)
    """Minutes before the last reading that are read again, for what became visible late.
    Default 60."""
    max_calls: int = Field(default=40, ge=4, le=500)
    """Calls that one poll may make; the rest waits for the next poll. Default 40."""
    base_url: str = Field(
        default="https://graph.facebook.com", pattern=r"^https?://[^\s/?#]+[^\s?#]*$"
    )
    """Where the API is, for gateways and tests. Default "https://graph.facebook.com"."""
    timeout_seconds: float = Field(default=30.0, gt=0, le=600)
    """Seconds that one call may take. Default 30."""

    @field_validator("access_token", "app_secret")
    @classmethod
    def _is_one_word(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and not is_one_word(secret.get_secret_value()):
            raise ValueError("tokens and secrets are one word of plain characters; copy it again")
        return secret

    @field_validator("verify_token")
    @classmethod
    def _is_long_enough(cls, token: SecretStr | None) -> SecretStr | None:
        if token is not None:
            word = token.get_secret_value()
            if not is_one_word(word) or len(word) < 16:  # noqa: PLR2004 - characters
                raise ValueError(
                    "must be one word of at least 16 plain characters; make one with: "
                    "openssl rand -hex 16"
                )
        return token

    @model_validator(mode="after")
    def _webhook_is_checked(self) -> GraphOptions:
        if self.verify_token is not None and self.app_secret is None:
            raise ValueError("with a verify_token the app_secret is needed, to check what comes in")
        return self

    @property
    def pace(self) -> Pace:
        """How much is read, and how often."""
        return Pace(
            calls=self.max_calls,
            every=timedelta(minutes=self.sweep_minutes),
            backfill=timedelta(hours=self.backfill_hours),
            overlap=timedelta(minutes=self.overlap_minutes),
        )


# --- calls ----------------------------------------------------------------------------------------


class GraphError(ConnectorError):
    """A call that Meta refused with a code of its own.

    Args:
        message: see :class:`connectors.base.ConnectorError`.
        fault: likewise.
        permanent: likewise.
        retry_after: likewise.
        of_object: whether it may be the one object that cannot be read, not the caller.
    """

    def __init__(
        self,
        message: str,
        *,
        fault: SourceFault,
        permanent: bool,
        retry_after: timedelta | None,
        of_object: bool,
    ) -> None:
        super().__init__(message, fault=fault, permanent=permanent, retry_after=retry_after)
        self.of_object = of_object


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call brought."""

    body: Mapping[str, Any]
    pause: timedelta | None
    """Meta's wish before the next call."""
    at: datetime
    """When it was given, by Meta's clock."""

    @property
    def data(self) -> Sequence[Any]:
        """The list of an edge."""
        found = self.body.get("data")
        return found if isinstance(found, list) else []


class Graph:
    """Calls one version of the API with one token."""

    def __init__(self, options: GraphOptions, context: Context) -> None:
        self._options = options
        self._context = context

    def get(self, path: str, params: Mapping[str, str]) -> Answer:
        """Ask for ``path`` (an id, or an id and an edge). Raises ConnectorError."""
        options = self._options
        token = options.access_token.get_secret_value()
        asked = dict(params)
        if options.app_secret is not None:
            key = options.app_secret.get_secret_value().encode()
            asked["appsecret_proof"] = hmac.new(key, token.encode(), hashlib.sha256).hexdigest()
        fetched = fetch_limited(
            self._context.http,
            f"{options.base_url.rstrip('/')}/{options.version}/{path}",
            params=asked,
            headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
            max_bytes=_MAX_BYTES,
            total_seconds=options.timeout_seconds,
            max_redirects=0,
        )
        body = _json(fetched)
        problem = body.get("error") if isinstance(body, dict) else None
        if isinstance(problem, dict):
            raise self._refusal(fetched, problem)
        if fetched.status != _OK:
            plain = status_error(fetched, now=self._context.now())
            remedy = _PLAIN_REMEDIES.get(plain.fault, "")
            raise status_error(fetched, now=self._context.now(), detail=remedy)
        if not isinstance(body, dict):
            raise bad_response(fetched.url, "is not JSON of the Graph API")
        at = server_time(fetched.headers, self._context.now())
        return Answer(body, pause_of(fetched.headers), at)

    def edge(self, path: str, params: Mapping[str, str]) -> Answer:
        """Ask for a list. Raises ConnectorError, also when the answer holds none."""
        answer = self.get(path, params)
        if not isinstance(answer.body.get("data"), list):
            where = f"{self._options.base_url.rstrip('/')}/{self._options.version}/{path}"
            raise bad_response(where, "holds no list")
        return answer

    def _refusal(self, fetched: Fetched, problem: Mapping[str, Any]) -> ConnectorError:
        code, subcode = _number(problem.get("code")), _number(problem.get("error_subcode"))
        said = problem.get("message")
        words = one_line(said, 200) if isinstance(said, str) else ""
        # Meta quotes what was asked; a token is in no call's address, but better safe.
        words = words.replace(self._options.access_token.get_secret_value(), "…")
        of_object = code in _OBJECT_CODES
        if code not in _FAULTS and code not in _PERMISSIONS:
            plain = status_error(fetched, now=self._context.now(), detail=words)
            fault, permanent = plain.fault, plain.permanent
            if fault is SourceFault.BAD_RESPONSE and fetched.status == _OK:
                return plain
        else:
            fault, permanent = _FAULTS.get(code, (SourceFault.FORBIDDEN, True))
        if code == 100 and subcode == _NO_SUCH_OBJECT:  # noqa: PLR2004 - Meta's code
            fault = SourceFault.NOT_FOUND
        remedy = _remedy(code, subcode, words, self._options)
        told = f"Meta says {words} (code {code}{f'/{subcode}' if subcode else ''})"
        pause = pause_of(fetched.headers)
        if fault is SourceFault.RATE_LIMITED:
            retry = status_error(fetched, now=self._context.now()).retry_after
            pause = retry or pause or _SHORT
        return GraphError(
            f"{redact_url(fetched.url)}: {told}{f'; {remedy}' if remedy else ''}",
            fault=fault,
            permanent=permanent,
            retry_after=pause if fault is SourceFault.RATE_LIMITED else None,
            of_object=of_object,
        )


_PLAIN_REMEDIES = {
    SourceFault.UNAUTHORIZED: "access_token is wrong or expired: make a new one",
    SourceFault.FORBIDDEN: "the app lacks a permission or was restricted: look at its dashboard",
}
"""For the rare refusal without a code of Meta's."""


def _remedy(code: int, subcode: int, words: str, options: GraphOptions) -> str:
    """What the operator can do about a refusal, or nothing."""
    if code in {102, 190}:
        why = _SUBCODES.get(subcode)
        return f"the access_token is no longer good{f': {why}' if why else ''}; {_RENEW}"
    if code in _LIMITS:
        return f"{_LIMITS[code]}: raise sweep_minutes, or lower max_calls"
    if "appsecret_proof" in words:
        code = 104
    if code in _PERMISSIONS:
        code = 10
    kind = str(getattr(options, "kind", "facebook"))
    return _REMEDIES.get(code, "").replace("KIND", kind).replace("VERSION", options.version)


def pause_of(headers: httpx.Headers) -> timedelta | None:
    """The pause that Meta's usage headers ask for, if any."""
    used = [0.0]
    minutes = [0.0]
    for name in ("x-app-usage", "x-page-usage"):
        used += _usage(_parsed(headers.get(name)))
    cases = _parsed(headers.get("x-business-use-case-usage"))
    for found in cases.values() if isinstance(cases, dict) else ():
        for case in found if isinstance(found, list) else ():
            used += _usage(case)
            if isinstance(case, dict):
                minutes.append(_amount(case.get("estimated_time_to_regain_access")))
    if max(minutes) > 0:
        return bounded_wish(timedelta(minutes=min(max(minutes), 1_440)))
    if max(used) >= _FULL:
        return _LONG
    return _SHORT if max(used) >= _BUSY else None


def _usage(found: Any) -> list[float]:
    names = ("call_count", "total_time", "total_cputime")
    return [_amount(found.get(name)) for name in names] if isinstance(found, dict) else []


def _amount(value: Any) -> float:
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e6  # noqa: PLR2004
    return float(value) if good else 0.0


def _parsed(text: str | None) -> Any:
    try:
        return json.loads(text or "null")
    except (ValueError, RecursionError):
        return None


def _json(fetched: Fetched) -> Any:
    """The body; None for what is no JSON where the status says enough."""
    try:
        return json.loads(fetched.body)
    except (ValueError, RecursionError) as error:
        if fetched.status != _OK:
            return None
        raise bad_response(fetched.url, f"is not JSON ({type(error).__name__})") from error


def bad_response(url: str, what: str) -> ConnectorError:
    """An answer that the Graph API should not give."""
    return ConnectorError(
        f"{redact_url(url)}: the answer {what}; is this Meta's Graph API?",
        fault=SourceFault.BAD_RESPONSE,
    )


def _number(value: Any) -> int:
    return value if isinstance(value, int) and 0 <= value < 2**31 else 0


# --- pages of lists -------------------------------------------------------------------------------


def onward(body: Mapping[str, Any]) -> str | None:
    """Where the list of an answer goes on, as parameters; None: it ends.

    Of the next page's address only the place is taken: it holds the token, and where to send that
    is not for the answer to say.
    """
    paging = body.get("paging")
    if not isinstance(paging, dict):
        return None
    following = paging.get("next")
    if isinstance(following, str):
        place = {
            name: value
            for name, value in parse_qsl(urlsplit(following[:20_000]).query)
            if name in _ONWARD
        }
        if place:
            return urlencode(sorted(place.items()))
    return None


def cursor_onward(body: Mapping[str, Any]) -> str | None:
    """The same for lists that name a place but no next page."""
    paging = body.get("paging")
    cursors = paging.get("cursors") if isinstance(paging, dict) else None
    after = cursors.get("after") if isinstance(cursors, dict) else None
    return urlencode({"after": after[:2_000]}) if isinstance(after, str) and after else None


def place(token: str | None) -> dict[str, str]:
    """The parameters that :func:`onward` gave."""
    return dict(parse_qsl(token or ""))


# --- values ---------------------------------------------------------------------------------------


def ident(value: Any) -> str:
    """An id, checked: it becomes part of an address. Raises ValueError."""
    text = str(value) if isinstance(value, int | str) else ""
    if not _ID.fullmatch(text):
        raise ValueError("no id")
    return text


def moment(value: Any) -> datetime:
    """A time as the API (ISO 8601) or a push (seconds) gives it. Raises ValueError, OverflowError."""
    if isinstance(value, int) and 0 < value < 2**40:
        return datetime.fromtimestamp(value, UTC)
    found = datetime.fromisoformat(value)
    if found.tzinfo is None:
        raise ValueError("a time without zone")
    return found.astimezone(UTC)


def seconds(when: datetime) -> str:
    """A moment as the API takes it."""
    return str(max(int(when.timestamp()), 0))


# --- what Meta pushes -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MetaDoor:
    """Lets in what is signed with the app's secret, and tells Meta that the address is ours."""

    app_secret: SecretStr
    verify_token: SecretStr | None
    prompt: bool = False

    def greet(self, query: Mapping[str, str]) -> Greeting:
        """Give the challenge back to who knows the verify_token. Raises NotAdmittedError."""
        known = b"" if self.verify_token is None else self.verify_token.get_secret_value().encode()
        given = query.get("hub.verify_token", "").encode("utf-8", "replace")
        challenge = query.get("hub.challenge", "")
        if (
            query.get("hub.mode") != "subscribe"
            or not hmac.compare_digest(given, known)
            or not known
        ):
            raise NotAdmittedError("the verify token is another one", status=403)
        if not re.fullmatch(r"[A-Za-z0-9_.-]{1,200}", challenge):
            raise NotAdmittedError("no challenge", status=400)
        return Greeting(challenge.encode())

    def admit(self, push: Push) -> str:
        """Check ``X-Hub-Signature-256``. Raises NotAdmittedError."""
        given = _SIGNATURE.fullmatch(push.headers.get("x-hub-signature-256", ""))
        key = self.app_secret.get_secret_value().encode()
        right = hmac.new(key, push.body, hashlib.sha256).hexdigest()
        if given is None or not hmac.compare_digest(given[1], right):
            raise NotAdmittedError("X-Hub-Signature-256 does not fit: compare app_secret")
        return fingerprint(push.body)


def door_of(options: GraphOptions) -> MetaDoor | None:
    """The door of a source; None where nothing could be checked."""
    if options.app_secret is None:
        return None
    return MetaDoor(options.app_secret, options.verify_token)


def changes(arrival: Arrival, kind: str, owner: str) -> list[Event]:
    """What a push says has changed: ``field`` and ``value`` of each entry of ``owner``.

    Args:
        arrival: the push.
        kind: ``object`` of the push: "page" or "instagram".
        owner: id of the page or account; entries of others are not ours.
    """
    try:
        body = json.loads(arrival.body)
    except (ValueError, RecursionError):
        return []
    entries = body.get("entry") if isinstance(body, dict) and body.get("object") == kind else None
    found: list[Event] = []
    for entry in entries if isinstance(entries, list) else ():
        if not isinstance(entry, dict) or str(entry.get("id")) != owner:
            continue
        listed = entry.get("changes")
        # Instagram's own login puts one change right into the entry.
        found += [
            {"field": change["field"], "value": change["value"]}
            for change in (listed if isinstance(listed, list) else [entry])
            if isinstance(change, dict)
            and isinstance(change.get("field"), str)
            and isinstance(change.get("value"), dict)
        ]
    return found
