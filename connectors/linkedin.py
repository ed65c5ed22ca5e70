"""LinkedIn: comments on the organisation's own posts, and posts that mention or share it.

LinkedIn tells administrators of a page what others do there, as notifications: it keeps them for sixty
days, so that they can be asked for, and pushes them to who has a webhook (``connectors.sweeping``
joins the two). Only what touches the one organisation is read; there is no search, and nothing of
anybody's profile is asked for.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Literal
from urllib.parse import quote, urlencode

from pydantic import Field, SecretStr, field_validator, model_validator

from connectors.base import (
    Arrival,
    ConnectorError,
    Context,
    Cursor,
    Page,
    Post,
    Reject,
    SourceFault,
)
from connectors.http import (
    Fetched,
    bounded_wish,
    fetch_limited,
    post_limited,
    redact_url,
    server_time,
    status_error,
)
from connectors.intake import Greeting, NotAdmittedError, Push, fingerprint
from connectors.options import Options as BaseOptions
from connectors.options import is_one_word
from connectors.plaintext import clean, one_line
from connectors.sweeping import Event, Found, Pace, Step, Window, follow

_OK, _UNAUTHORIZED, _NO_SUCH_VERSION = 200, 401, 426
_PAGE = 100
_AGAIN = 10
"""Notifications of a page that the next one brings again: the list may move up while it is read."""
_MAX_BYTES = 8 * 2**20
_EARLIER = timedelta(minutes=5)
"""A token is renewed this long before it expires."""
_NOTIFICATIONS, _ASK = "notifications", "ask "
_OF_COMMENTS = frozenset({"COMMENT", "COMMENT_EDIT", "COMMENT_DELETE", "ADMIN_COMMENT"})
_OF_SHARES = frozenset({"SHARE", "SHARE_MENTION"})
_COMMENT = re.compile(r"urn:li:comment:\((?:urn:li:)?([A-Za-z]{1,20}):(\d{1,25}),(\d{1,25})\)")
_POST = re.compile(r"urn:li:(share|ugcPost|activity):(\d{1,25})")
_UPDATES = "https://www.linkedin.com/feed/update/"
_ACTOR = re.compile(r"urn:li:([A-Za-z]{1,30}):([A-Za-z0-9_-]{1,60})")
_ODD = (KeyError, TypeError, ValueError, AttributeError, OverflowError)
"""What values of an unexpected kind raise."""

_REMEDIES: Mapping[SourceFault, str] = {
    SourceFault.UNAUTHORIZED: "the access token is wrong, expired (after 60 days) or revoked: an "
    "administrator of the page has to authorise the app again (docs/sources/linkedin.md)",
    SourceFault.FORBIDDEN: "the app needs the Community Management API and the scope "
    "rw_organization_admin, and who authorised it has to be an administrator of the page still",
    SourceFault.NOT_FOUND: "compare organization_id with the address of the page's admin view",
    SourceFault.RATE_LIMITED: "the app's calls of this day (UTC) are used up: raise sweep_minutes, or "
    "ask LinkedIn for the standard tier",
}


class LinkedInOptions(BaseOptions):
    """Options of a source of kind ``linkedin``."""

    kind: Literal["linkedin"] = "linkedin"
    organization_id: str = Field(pattern=r"^[0-9]{1,20}$")
    """Id of the organisation: the number in the address of its page's admin view. Required."""
    access_token: SecretStr | None = None
    """Token of an administrator of the page, good for 60 days. Default none: one is made with
    `refresh_token`."""
    client_id: str | None = Field(default=None, pattern=r"^[\x21-\x7e]{5,100}$")
    """Id of the app. Default none; needed with `refresh_token`."""
    client_secret: SecretStr | None = None
    """Secret of the app: renews tokens, and checks what LinkedIn pushes. Default none."""
    refresh_token: SecretStr | None = None
    """Token to make access tokens with, good for a year. Default none."""
    version: str = Field(default="202607", pattern=r"^20[0-9]{2}(0[1-9]|1[0-2])$")
    """Version of the API, a month; LinkedIn retires each after about a year. Default "202607"."""
    reshares: bool = True
    """Whether posts that pass on one of the page's posts with words of their own are read.
    Default true."""
    own_comments: bool = True
    """Whether comments that the page itself makes are read too. Default true."""
    sweep_minutes: float = Field(default=30.0, ge=5, le=1_440)
    """Minutes between two readings of the notifications; what LinkedIn pushes is read at each poll.
    Default 30."""
    backfill_hours: float = Field(default=24.0, ge=0, le=1_440)
    """Hours to look back when the source is read for the first time. Default 24."""
    overlap_minutes: float = Field(default=60.0, ge=0, le=1_440)
    """Minutes before the last reading that are read again, for what became visible late.
    Default 60."""
    max_calls: int = Field(default=20, ge=4, le=200)
    """Calls that one poll may make; the rest waits for the next poll. Default 20."""
    base_url: str = Field(
        default="https://api.linkedin.com", pattern=r"^https?://[^\s/?#]+[^\s?#]*$"
    )
    """Where the API is, for gateways and tests. Default "https://api.linkedin.com"."""
    login_url: str = Field(
        default="https://www.linkedin.com/oauth/v2/accessToken",
        pattern=r"^https?://[^\s/?#]+[^\s?#]*$",
    )
    """Where tokens are renewed. Default "https://www.linkedin.com/oauth/v2/accessToken"."""
    timeout_seconds: float = Field(default=30.0, gt=0, le=600)
    """Seconds that one call may take. Default 30."""

    @field_validator("access_token", "client_secret", "refresh_token")
    @classmethod
    def _is_one_word(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and not is_one_word(secret.get_secret_value()):
            raise ValueError("tokens and secrets are one word of plain characters; copy it again")
        return secret

    @model_validator(mode="after")
    def _can_log_in(self) -> LinkedInOptions:
        if self.refresh_token is not None and (
            self.client_id is None or self.client_secret is None
        ):
            raise ValueError("with a refresh_token, client_id and client_secret are needed")
        if self.refresh_token is None and self.access_token is None:
            raise ValueError("give an access_token, or a refresh_token to make them with")
        return self


class LinkedInConnector:
    """Reads what LinkedIn notifies one organisation of."""

    kind: ClassVar[str] = "linkedin"
    Options: ClassVar[type[BaseOptions]] = LinkedInOptions

    def __init__(self, options: LinkedInOptions, context: Context) -> None:
        self._options = options
        self._context = context
        self._login = _Login(options, context)
        self._owner = f"urn:li:organization:{options.organization_id}"
        self.door = None if options.client_secret is None else LinkedInDoor(options.client_secret)
        """Lets in what LinkedIn signed; None without ``client_secret``."""

    def fetch(self, cursor: Cursor | None) -> Iterator[Page]:
        """Yield what is new. See :class:`connectors.base.Connector`."""
        pace = Pace(
            calls=self._options.max_calls,
            every=timedelta(minutes=self._options.sweep_minutes),
            backfill=timedelta(hours=self._options.backfill_hours),
            overlap=timedelta(minutes=self._options.overlap_minutes),
        )
        return follow(self, self._context, cursor, pace)

    def close(self) -> None:
        """The client belongs to whoever made it; the token is forgotten with this object."""

    # --- notifications ---

    @property
    def _actions(self) -> Sequence[str]:
        return [
            "COMMENT",
            "COMMENT_EDIT",
            "COMMENT_DELETE",
            "SHARE_MENTION",
            *(["SHARE"] if self._options.reshares else []),
            *(["ADMIN_COMMENT"] if self._options.own_comments else []),
        ]

    def steps(self) -> Sequence[Step]:
        """The one list."""
        return [Step(_NOTIFICATIONS)]

    def read(self, step: Step, window: Window) -> Found:
        """Ask for a page of notifications, or for one post. Raises ConnectorError."""
        if step.path.startswith(_ASK):
            return self._ask_for(json.loads(step.path.removeprefix(_ASK)))
        start = int(step.token or 0)
        # Brackets and commas mean something to LinkedIn as they are, and only so.
        query = "&".join(
            [
                "q=criteria",
                f"actions=List({','.join(self._actions)})",
                f"organizationalEntity={quote(self._owner, safe='')}",
                f"timeRange=(start:{_milliseconds(window.since)},end:{_milliseconds(window.start)})",
                f"start={start}",
                f"count={_PAGE}",
            ]
        )
        fetched = self._get(f"organizationalEntityNotifications?{query}")
        body = _json(fetched)
        elements = body.get("elements") if isinstance(body, dict) else None
        if not isinstance(body, dict) or not isinstance(elements, list):
            raise _bad_response(fetched, "holds no notifications")
        found = [self._seen(each) for each in elements]
        more = [step for one in found for step in one.more]
        if _goes_on(body, len(elements)):
            more.append(Step(_NOTIFICATIONS, str(start + max(len(elements) - _AGAIN, 1))))
        now = self._context.now()
        return Found(
            [post for one in found for post in one.posts],
            [reject for one in found for reject in one.rejects],
            more,
            # Never ahead of our own clock, by which the end of the time that is asked for is told.
            at=min(server_time(fetched.headers, now), now),
            deleted=[gone for one in found for gone in one.deleted],
        )

    def _seen(self, element: Any) -> Found:
        """A notification of a list: a post, or what to ask for."""
        try:
            event = self._event(element)
            if event is None:
                return Found()
            if event["named_only"]:
                return Found(more=[Step(_ASK + json.dumps(event))])
            return self._found(event)
        except _ODD as error:
            return Found(rejects=[_set_aside(element, error)])

    def _event(self, element: Mapping[str, Any]) -> dict[str, Any] | None:
        """What matters of a notification; None if that is not ours. Raises what odd values raise."""
        action = element["action"]
        if action not in self._actions or element["organizationalEntity"] != self._owner:
            return None
        decorated = element.get("decoratedGeneratedActivity") or {}
        about = decorated.get("comment" if action in _OF_COMMENTS else "share") or {}
        said = about.get("text") or (about.get("message") or {}).get("text") or ""
        urn = about.get("entity") or element["generatedActivity"]
        if not isinstance(urn, str) or not isinstance(said, str):
            raise ValueError("no urn")
        return {
            "action": action,
            "urn": _known(urn, action),
            "owner": about.get("owner") or about.get("actor"),
            "text": said,
            # A repost without words of its own comes with an empty text: nothing to ask for.
            "named_only": not said and "text" not in about and action != "COMMENT_DELETE",
            "at": _number(element["lastModifiedAt"]),
        }

    # --- pushes ---

    def events(self, arrival: Arrival) -> Sequence[Event]:
        """The notifications of a push that are about the organisation."""
        try:
            body = json.loads(arrival.body)
        except (ValueError, RecursionError):
            return []
        listed = body.get("notifications") if isinstance(body, dict) else None
        found: list[Event] = []
        for element in listed if isinstance(listed, list) else ():
            try:
                event = self._event(element)
            except _ODD as error:
                odd = _set_aside(element, error)
                event = {"odd_id": odd.excerpt, "reason": odd.reason}
            found += [event] if event is not None else []
        return found

    def tell(self, event: Event, received_at: datetime) -> Found:  # noqa: ARG002 - it brings its own time
        """The post of a notification, asked for if it came without words."""
        if "reason" in event:
            return Found(rejects=[Reject(event["reason"], event["odd_id"])], calls=0)
        if event["named_only"]:
            return self._ask_for(event)
        return self._found(event, calls=0)

    # --- posts ---

    def _found(self, event: Mapping[str, Any], calls: int = 1) -> Found:
        """What a notification says by itself. Raises what odd values raise."""
        post = self._post(event)
        if event["action"] == "COMMENT_DELETE":
            return Found(deleted=[(post.platform, post.id)], calls=calls)
        return Found([post] if event["text"] else [], calls=calls)

    def _ask_for(self, event: Mapping[str, Any]) -> Found:
        """The words of a comment or post that a notification only names. Raises ConnectorError."""
        comment = _COMMENT.fullmatch(event["urn"])
        if comment is not None:
            above = quote(f"urn:li:{comment[1]}:{comment[2]}", safe="")
            path = f"socialActions/{above}/comments/{comment[3]}"
        else:
            path = f"posts/{quote(event['urn'], safe='')}"
        try:
            fetched = self._get(path)
        except ConnectorError as error:
            if error.fault is SourceFault.NOT_FOUND:
                return Found()  # deleted since
            if error.fault not in {SourceFault.BAD_REQUEST, SourceFault.FORBIDDEN}:
                raise
            reason = "a post that LinkedIn announced without words and does not let us read"
            return Found(rejects=[Reject(reason, event["urn"])])
        body = _json(fetched)
        try:
            if comment is not None:
                text, owner = body["message"]["text"], body.get("actor")
            else:
                text, owner = _from_commentary(body.get("commentary") or ""), body.get("author")
            post = self._post({**event, "text": text, "owner": event["owner"] or owner})
        except _ODD as error:
            return Found(rejects=[_set_aside(body, error)])
        return Found([post] if post.text else [])

    def _post(self, event: Mapping[str, Any]) -> Post:
        """Turn a notification into a post. Raises what odd values raise."""
        at = min(datetime.fromtimestamp(event["at"] / 1_000, UTC), self._context.now())
        owner = _ACTOR.fullmatch(event["owner"] or "")
        own = event["owner"] == self._owner
        comment = _COMMENT.fullmatch(event["urn"])
        if comment is not None:
            kind, above, number = comment.groups()
            name = f"{above}/{number}"
            marked = quote(f"urn:li:comment:({kind}:{above},{number})", safe="")
            thread = f"urn:li:{kind}:{above}/"
            link = f"{thread}?commentUrn={marked}"
        else:
            name, link = event["urn"].rpartition(":")[2], f"{event['urn']}/"
            thread = None
        return Post(
            platform="linkedin",
            id=name,
            text=clean(event["text"]),
            published_at=at,
            url=f"{_UPDATES}{link}",
            author=None if owner is None else owner[2],
            edited_at=at if event["action"] == "COMMENT_EDIT" else None,
            about_brand=not own,
            thread=None if thread is None else f"{_UPDATES}{thread}",
        )

    # --- calls ---

    def _get(self, path: str) -> Fetched:
        fetched = self._get_once(path)
        if fetched.status == _UNAUTHORIZED and self._login.forget():
            fetched = self._get_once(path)
        if fetched.status != _OK:
            raise _refusal(fetched, self._options, self._context.now())
        return fetched

    def _get_once(self, path: str) -> Fetched:
        return fetch_limited(
            self._context.http,
            f"{self._options.base_url.rstrip('/')}/rest/{path}",
            headers={
                "Authorization": f"Bearer {self._login.token()}",
                "LinkedIn-Version": self._options.version,
                "X-Restli-Protocol-Version": "2.0.0",
                "Accept": "application/json",
            },
            max_bytes=_MAX_BYTES,
            total_seconds=self._options.timeout_seconds,
            max_redirects=0,
        )


# --- the way in -----------------------------------------------------------------------------------


@dataclass(slots=True)
class _Login:
    """The access token: the one that is configured, or one made with the refresh token."""

    options: LinkedInOptions
    context: Context
    _made: str | None = None
    _until: datetime | None = None

    def token(self) -> str:
        """Give a token that is good for now. Raises ConnectorError."""
        if self.options.refresh_token is None:
            token = self.options.access_token
            return "" if token is None else token.get_secret_value()
        now = self.context.now()
        if self._made is None or self._until is None or now >= self._until:
            self._made, seconds = self._renew()
            self._until = now + timedelta(seconds=seconds) - _EARLIER
        return self._made

    def forget(self) -> bool:
        """Have the next call make another token. False where none can be made."""
        again = self._made is not None
        self._made = None
        return again

    def _renew(self) -> tuple[str, int]:
        options = self.options
        secrets = {"client_secret": options.client_secret, "refresh_token": options.refresh_token}
        form = {"grant_type": "refresh_token", "client_id": options.client_id or ""}
        form |= {
            name: each.get_secret_value() for name, each in secrets.items() if each is not None
        }
        fetched = post_limited(
            self.context.http,
            options.login_url,
            urlencode(form).encode(),
            headers={
                "Content-Type": "application/x-www-form-urlencoded",
                "Accept": "application/json",
            },
            max_bytes=_MAX_BYTES,
            total_seconds=options.timeout_seconds,
        )
        if fetched.status == 400:  # noqa: PLR2004 - how OAuth refuses a refresh token
            raise ConnectorError(
                f"{redact_url(fetched.url)}: LinkedIn does not renew the token: the refresh_token "
                "is a year old, was revoked, or belongs to another app; an administrator of the "
                "page has to authorise the app again (docs/sources/linkedin.md)",
                fault=SourceFault.UNAUTHORIZED,
                permanent=True,
            )
        if fetched.status != _OK:
            raise _refusal(fetched, options, self.context.now())
        body = _json(fetched)
        token = body.get("access_token") if isinstance(body, dict) else None
        if not isinstance(token, str) or not is_one_word(token):
            raise _bad_response(fetched, "holds no token")
        seconds = body.get("expires_in")
        return token, seconds if isinstance(seconds, int) and 0 < seconds < 2**31 else 3_600


@dataclass(frozen=True, slots=True)
class LinkedInDoor:
    """Lets in what is signed with the app's secret, and proves to LinkedIn that we know it."""

    client_secret: SecretStr
    prompt: bool = False

    def greet(self, query: Mapping[str, str]) -> Greeting:
        """Answer the challenge that comes every few hours. Raises NotAdmittedError."""
        challenge = query.get("challengeCode", "")
        if not re.fullmatch(r"[A-Za-z0-9-]{8,100}", challenge):
            raise NotAdmittedError("no challengeCode", status=400)
        answer = {"challengeCode": challenge, "challengeResponse": self._sign(challenge.encode())}
        return Greeting(json.dumps(answer).encode(), "application/json")

    def admit(self, push: Push) -> str:
        """Check ``X-LI-Signature``. Raises NotAdmittedError."""
        given = push.headers.get("x-li-signature", "").removeprefix("hmacsha256=")
        right = self._sign(b"hmacsha256=" + push.body)
        if not hmac.compare_digest(given.encode("utf-8", "replace"), right.encode()):
            raise NotAdmittedError("X-LI-Signature does not fit: compare client_secret")
        return fingerprint(push.body)

    def _sign(self, text: bytes) -> str:
        key = self.client_secret.get_secret_value().encode()
        return hmac.new(key, text, hashlib.sha256).hexdigest()


# --- answers --------------------------------------------------------------------------------------


def _json(fetched: Fetched) -> Any:
    try:
        return json.loads(fetched.body)
    except (ValueError, RecursionError) as error:
        raise _bad_response(fetched, f"is not JSON ({type(error).__name__})") from error


def _bad_response(fetched: Fetched, what: str) -> ConnectorError:
    return ConnectorError(
        f"{redact_url(fetched.url)}: the answer {what}", fault=SourceFault.BAD_RESPONSE
    )


def _refusal(fetched: Fetched, options: LinkedInOptions, now: datetime) -> ConnectorError:
    """Read LinkedIn's own words, and say what to do."""
    try:
        problem = json.loads(fetched.body[:100_000])
    except (ValueError, RecursionError):
        problem = None
    told = problem if isinstance(problem, dict) else {}
    words = [one_line(each, 200) for each in (told.get("code"), told.get("message"))
             if isinstance(each, str)]  # fmt: skip
    if fetched.status == _NO_SUCH_VERSION:
        return ConnectorError(
            f"{redact_url(fetched.url)}: LinkedIn has retired version {options.version} of its API: "
            "set version to a month of this year, and read LinkedIn's list of changes",
            fault=SourceFault.BAD_REQUEST,
            permanent=True,
        )
    fault = status_error(fetched, now=now).fault
    detail = "; ".join(part for part in (": ".join(words), _REMEDIES.get(fault, "")) if part)
    error = status_error(fetched, now=now, detail=detail)
    if fault is SourceFault.RATE_LIMITED and told:
        error.retry_after = error.retry_after or _until_midnight(server_time(fetched.headers, now))
    return error


def _until_midnight(now: datetime) -> timedelta:
    """Calls are counted by the day, in UTC."""
    today = now.astimezone(UTC)
    midnight = today.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    return bounded_wish(midnight - today + timedelta(minutes=1))


def _goes_on(body: Mapping[str, Any], count: int) -> bool:
    """Whether there are more notifications after a page of ``count``."""
    paging = body.get("paging")
    links = paging.get("links") if isinstance(paging, dict) else None
    following = [
        link
        for link in (links if isinstance(links, list) else ())
        if isinstance(link, dict) and link.get("rel") == "next"
    ]
    return count > 0 and (bool(following) or count >= _PAGE)


def _known(urn: str, action: str) -> str:
    """The urn, checked: it becomes part of an address. Raises ValueError."""
    pattern = _COMMENT if action in _OF_COMMENTS else _POST
    if pattern.fullmatch(urn) is None:
        raise ValueError("no urn that is known")
    return urn


def _number(value: Any) -> int:
    if not isinstance(value, int) or not 0 < value < 2**43:
        raise ValueError("no moment")
    return value


def _milliseconds(moment: datetime) -> int:
    return max(int(moment.timestamp() * 1_000), 0)


_ANNOTATION = re.compile(r"@\[((?:[^\]\\]|\\.){0,200})\]\([^)]{0,200}\)")
_HASHTAG = re.compile(r"\{hashtag\|\\?#\|((?:[^}\\]|\\.){0,200})\}")
_ESCAPED = re.compile(r"\\([\\|{}@\[\]()<>#*_~])")


def _from_commentary(text: str) -> str:
    """LinkedIn's "little" markup as people read it: mentions, hashtags, escaped signs."""
    if not isinstance(text, str):
        raise ValueError("no text")
    plain = _HASHTAG.sub(r"#\1", _ANNOTATION.sub(r"@\1", text[:100_000]))
    return _ESCAPED.sub(r"\1", plain)


def _set_aside(item: Any, error: Exception) -> Reject:
    reason = f"a notification that LinkedIn describes in an unknown way: {type(error).__name__}"
    hidden = {"actor", "owner", "author", "subscriber", "created", "lastModified"}
    hidden |= {"decoratedGeneratedActivity", "decoratedSourcePost"}
    shown = (
        {key: value for key, value in item.items() if key not in hidden}
        if isinstance(item, dict)
        else item
    )
    return Reject(reason, one_line(json.dumps(shown, default=str)[:2_000], 500))
