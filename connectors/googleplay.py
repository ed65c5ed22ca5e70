"""Google Play: reviews of one's own apps, through the Android Publisher API.

The API shows the reviews of the last seven days that have words, the latest change first. What it
dropped while nobody asked is told as a gap. A service account signs each login with its key, for which
the library ``cryptography`` is needed (the extra ``googleplay``).
"""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from typing import Any, ClassVar, Literal
from urllib.parse import urlencode

from pydantic import Field, SecretStr, field_validator

from connectors.base import (
    ConnectorError,
    Context,
    Cursor,
    Engagement,
    Page,
    Post,
    Reject,
    SourceFault,
)
from connectors.counts import count_of
from connectors.googleerror import reason_of
from connectors.http import Fetched, fetch_limited, post_limited, redact_url, status_error
from connectors.newestfirst import Answer, Pace, Span, read_through
from connectors.options import SECRET_PLACES
from connectors.options import Options as BaseOptions
from connectors.plaintext import one_line
from connectors.review import starred

_OK = 200
_UNAUTHORIZED = 401
_BAD_REQUEST = 400
_PAGE = 100
_MAX_BYTES = 8 * 2**20
_WINDOW = timedelta(days=7)
"""The API knows no review that was last changed before."""
_OVERLAP = timedelta(hours=1)
_GOOD_FOR = timedelta(hours=1)
_EARLIER = timedelta(minutes=1)
"""A token is renewed this long before it expires."""
_SCOPE = "https://www.googleapis.com/auth/androidpublisher"
_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_PACKAGE = re.compile(r"[A-Za-z]\w*(\.[A-Za-z]\w*)+", re.ASCII)
_IDENT = re.compile(r"[\x21-\x7e]{1,250}")
_LONGEST_TOKEN = 4_000
_NEW_KEY = (
    "make a new key of the service account on console.cloud.google.com (IAM & Admin, Service "
    "Accounts, Keys, JSON) and name its file in key_file"
)
_API_OFF = (
    "enable the Google Play Android Developer API on console.cloud.google.com for the project of the "
    "service account"
)
_RAISE = "an app may be asked about 200 times an hour: raise interval_seconds, or lower max_pages"
_REMEDIES: Mapping[str | SourceFault, str] = {
    "accessNotConfigured": _API_OFF,
    "SERVICE_DISABLED": _API_OFF,
    SourceFault.UNAUTHORIZED: _NEW_KEY,
    SourceFault.FORBIDDEN: "in the Play Console, Users and permissions, invite the service account by "
    "its address and give it 'Reply to reviews' for the app; it may take a day until that holds",
    SourceFault.NOT_FOUND: "look whether apps holds the name of the package, as in the address of the "
    "app's page (id=nl.example.app)",
    SourceFault.RATE_LIMITED: _RAISE,
}
"""By Google's reason, or else by our word."""
_DRAINED = frozenset(
    {"quotaExceeded", "dailyLimitExceeded", "rateLimitExceeded", "userRateLimitExceeded"}
)


class GooglePlayOptions(BaseOptions):
    """Options of a source of kind ``googleplay``."""

    kind: Literal["googleplay"] = "googleplay"
    key: SecretStr
    """Key of a service account, the JSON that Google gives for download. Required. Name its file in
    `key_file`, or take it from the environment or a systemd credential."""
    apps: tuple[str, ...] = Field(min_length=1, max_length=50)
    """Names of the packages of your own apps, as in the addresses of their pages:
    "nl.example.app". Required."""
    max_pages: int = Field(default=5, ge=1, le=50)
    """Calls, of 100 reviews, that one poll may make for each app. Default 5."""
    backfill_hours: float = Field(default=24.0, ge=0, le=24 * 7)
    """Hours to look back when an app is read for the first time; Google shows a week. Default 24."""
    base_url: str = Field(
        default="https://androidpublisher.googleapis.com/androidpublisher/v3",
        pattern=r"^https?://[^\s/?#]+[^\s?#]*$",
    )
    """Where the API is, for gateways and tests. Default
    "https://androidpublisher.googleapis.com/androidpublisher/v3"."""
    login_url: str = Field(
        default="https://oauth2.googleapis.com/token", pattern=r"^https?://[^\s/?#]+[^\s?#]*$"
    )
    """Where tokens are given. Default "https://oauth2.googleapis.com/token"."""
    timeout_seconds: float = Field(default=30.0, gt=0, le=600)
    """Seconds that one call may take. Default 30."""

    @field_validator("key")
    @classmethod
    def _is_a_key(cls, key: SecretStr) -> SecretStr:
        if SECRET_PLACES.get().needed:  # else it may stand in for one that cannot be read here
            _Account.read(key.get_secret_value())
        return key

    @field_validator("apps")
    @classmethod
    def _are_packages(cls, apps: tuple[str, ...]) -> tuple[str, ...]:
        for app in apps:
            if not _PACKAGE.fullmatch(app):
                raise ValueError(f"{app!r} is no name of a package such as nl.example.app")
        return apps


class GooglePlayConnector:
    """Reads the reviews of some of one's own apps."""

    kind: ClassVar[str] = "googleplay"
    Options: ClassVar[type[BaseOptions]] = GooglePlayOptions

    def __init__(self, options: GooglePlayOptions, context: Context) -> None:
        self._options = options
        self._context = context
        self._login = _Login(options, context)

    def fetch(self, cursor: Cursor | None) -> Iterator[Page]:
        """Yield what is new, newest first. See :class:`connectors.base.Connector`."""
        pace = Pace(
            calls=self._options.max_pages,
            backfill=timedelta(hours=self._options.backfill_hours),
            overlap=_OVERLAP,
        )
        return read_through(self._options.apps, self._ask, cursor, self._context.now(), pace)

    def close(self) -> None:
        """The client belongs to whoever made it; the token is forgotten with this object."""

    def _ask(self, app: str, span: Span) -> Answer:
        fetched = self._get(app, span.token)
        if fetched.status == _BAD_REQUEST and span.token is not None:
            fetched = self._get(app, None)  # its place was forgotten: from the newest again
        if fetched.status != _OK:
            raise _refusal(fetched, self._context.now())
        reviews, token = _page(fetched)
        posts: list[Post] = []
        rejects: list[Reject] = []
        moments: list[int] = []
        now = self._context.now()
        for review in reviews:
            try:
                moments.append(int(_moment(_written(review)).timestamp()))
                posts.append(_post(review, app, now))
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
                reason = f"a review that Google describes oddly: {type(error).__name__}"
                rejects.append(Reject(reason, one_line(json.dumps(review)[:2_000], 500)))
        return Answer(
            posts,
            newest=max(moments, default=None),
            oldest=min(moments, default=None),
            token=token,
            rejects=rejects,
            cut_short=token is None
            and span.asked is not None
            and span.asked < (now - _WINDOW).timestamp(),
        )

    def _get(self, app: str, token: str | None) -> Fetched:
        fetched = self._get_once(app, token)
        if fetched.status == _UNAUTHORIZED:  # revoked, or expired by Google's clock: once anew
            self._login.forget()
            fetched = self._get_once(app, token)
        return fetched

    def _get_once(self, app: str, token: str | None) -> Fetched:
        params = {"maxResults": str(_PAGE)}
        if token is not None:
            params["token"] = token
        return fetch_limited(
            self._context.http,
            f"{self._options.base_url.rstrip('/')}/applications/{app}/reviews",
            params=params,
            headers={
                "Authorization": f"Bearer {self._login.token()}",
                "Accept": "application/json",
            },
            max_bytes=_MAX_BYTES,
            total_seconds=self._options.timeout_seconds,
            max_redirects=0,
        )


# --- the login ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Account:
    """What counts in the file of a key."""

    address: str
    private_key: str

    @classmethod
    def read(cls, text: str) -> _Account:
        """From the JSON that Google gives. Raises ValueError, without a word of the key."""
        try:
            held = json.loads(text)
        except (ValueError, RecursionError):
            held = None
        values = [
            held.get(name) if isinstance(held, dict) else None
            for name in ("client_email", "private_key")
        ]
        address, private_key = values
        if not isinstance(address, str) or not isinstance(private_key, str):
            raise ValueError(
                "a key is the JSON file of a service account, with client_email and private_key: "
                "download it again"
            )
        return cls(address, private_key)


@dataclass(slots=True)
class _Login:
    """The access token: asked for when first needed, and again shortly before it expires."""

    options: GooglePlayOptions
    context: Context
    _token: str | None = None
    _until: datetime | None = None

    def token(self) -> str:
        """Give a token that is good for now. Raises ConnectorError."""
        now = self.context.now()
        if self._token is None or self._until is None or now >= self._until:
            self._token, seconds = self._ask(now)
            self._until = now + timedelta(seconds=seconds) - _EARLIER
        return self._token

    def forget(self) -> None:
        """Have the next call ask for another token."""
        self._token = None

    def _ask(self, now: datetime) -> tuple[str, int]:
        fetched = post_limited(
            self.context.http,
            self.options.login_url,
            urlencode({"grant_type": _GRANT, "assertion": self._assertion(now)}).encode(),
            headers={
                "Content-Type": "application/x-www-form-urlencoded",
                "Accept": "application/json",
            },
            max_bytes=_MAX_BYTES,
            total_seconds=self.options.timeout_seconds,
        )
        if 300 <= fetched.status < 400:  # noqa: PLR2004 - HTTP redirects
            raise ConnectorError(
                f"{redact_url(fetched.url)}: the login redirects, and a signed login follows no "
                "redirect: correct login_url",
                fault=SourceFault.TOO_MANY_REDIRECTS,
            )
        if fetched.status != _OK:
            raise _login_refused(fetched, now)
        body = _json(fetched)
        token = body.get("access_token") if isinstance(body, dict) else None
        if not isinstance(token, str) or not re.fullmatch(r"[\x21-\x7e]{1,4000}", token):
            raise _bad_response(fetched, "holds no token")
        seconds = body.get("expires_in")
        return token, seconds if isinstance(seconds, int) and 0 < seconds < 2**31 else 3_600

    def _assertion(self, now: datetime) -> str:
        """What says who we are: a JSON Web Token, signed as RS256."""
        account = _Account.read(self.options.key.get_secret_value())
        began = int(now.timestamp())
        claims = {
            "iss": account.address,
            "scope": _SCOPE,
            "aud": self.options.login_url,
            "iat": began,
            "exp": began + int(_GOOD_FOR.total_seconds()),
        }
        head = {"alg": "RS256", "typ": "JWT"}
        signed = b".".join(_base64(json.dumps(part).encode()) for part in (head, claims))
        return b".".join((signed, _base64(self._sign(account.private_key, signed)))).decode()

    def _sign(self, private_key: str, content: bytes) -> bytes:
        if find_spec("cryptography") is None:
            raise self._unusable(
                "it needs the library cryptography: pip install 'merkwacht[googleplay]'"
            )
        # Imported here: four megabytes that only this kind of source needs.
        from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415 - lazy
        from cryptography.hazmat.primitives.asymmetric import padding, rsa  # noqa: PLC0415 - lazy

        try:
            key = serialization.load_pem_private_key(private_key.encode(), None)
        except (ValueError, TypeError, UnicodeError):
            key = None
        if not isinstance(key, rsa.RSAPrivateKey):
            raise self._unusable(f"the private_key in key is no RSA key; {_NEW_KEY}")
        return key.sign(content, padding.PKCS1v15(), hashes.SHA256())

    def _unusable(self, what: str) -> ConnectorError:
        return ConnectorError(
            f"source {self.context.name}: {what}", fault=SourceFault.UNAUTHORIZED, permanent=True
        )


def _login_refused(fetched: Fetched, now: datetime) -> ConnectorError:
    """Read the words of OAuth, and say what to do about them."""
    try:
        told = json.loads(fetched.body[:100_000])
    except (ValueError, RecursionError):
        told = None
    told = told if isinstance(told, dict) else {}
    words = [told.get(name) for name in ("error", "error_description")]
    said = ": ".join(one_line(word, 150) for word in words if isinstance(word, str))
    if fetched.status not in {_BAD_REQUEST, _UNAUTHORIZED} or (
        fetched.status == _BAD_REQUEST and not said
    ):
        return status_error(
            fetched, now=now, detail=_detail(said, status_error(fetched, now=now).fault)
        )
    late = "iat" in said or "timeframe" in said
    remedy = "set this machine's clock right: it is minutes off" if late else _NEW_KEY
    return ConnectorError(
        f"{redact_url(fetched.url)}: Google refuses the login (HTTP {fetched.status}): "
        + "; ".join(part for part in (said, remedy) if part),
        fault=SourceFault.UNAUTHORIZED,
        permanent=True,
    )


def _base64(content: bytes) -> bytes:
    return urlsafe_b64encode(content).rstrip(b"=")


# --- answers --------------------------------------------------------------------------------------


def _json(fetched: Fetched) -> Any:
    try:
        return json.loads(fetched.body)
    except (ValueError, RecursionError) as error:
        raise _bad_response(fetched, f"is not JSON ({type(error).__name__})") from error


def _page(fetched: Fetched) -> tuple[list[Any], str | None]:
    """The reviews of an answer, and what continues it."""
    body = _json(fetched)
    # Where there are none, Google leaves the list away altogether.
    reviews = body.get("reviews", []) if isinstance(body, dict) else None
    if not isinstance(reviews, list):
        raise _bad_response(fetched, "holds no list of reviews")
    paging = body.get("tokenPagination")
    token = paging.get("nextPageToken") if isinstance(paging, dict) else None
    return reviews, token if isinstance(token, str) and 0 < len(token) < _LONGEST_TOKEN else None


def _bad_response(fetched: Fetched, what: str) -> ConnectorError:
    return ConnectorError(
        f"{redact_url(fetched.url)}: the answer {what}", fault=SourceFault.BAD_RESPONSE
    )


def _refusal(fetched: Fetched, now: datetime) -> ConnectorError:
    """Read Google's own reason, and say what to do about it."""
    reason, said = reason_of(fetched.body)
    error = status_error(fetched, now=now)
    if reason in _DRAINED:
        return ConnectorError(
            f"{error}: {said}; {_RAISE}",
            fault=SourceFault.RATE_LIMITED,
            retry_after=error.retry_after or timedelta(hours=1),
        )
    detail = _detail(said, error.fault, reason)
    error = status_error(fetched, now=now, detail=detail)
    error.permanent = error.permanent or error.fault is SourceFault.NOT_FOUND
    return error


def _detail(said: str, fault: SourceFault, reason: str = "") -> str:
    remedy = _REMEDIES.get(reason) or _REMEDIES.get(fault, "")
    return "; ".join(part for part in (said, remedy) if part)


# --- posts ----------------------------------------------------------------------------------------


def _post(review: Mapping[str, Any], app: str, now: datetime) -> Post:
    """Turn a review into a post. Raises what odd values raise."""
    ident = review["reviewId"]
    if not isinstance(ident, str) or not _IDENT.fullmatch(ident):
        raise ValueError("no id")
    written = _written(review)
    changed = min(_moment(written), now)
    # Title and text, where somebody could still give both, have a tab between them.
    title, _, text = str(written.get("originalText") or written["text"]).rpartition("\t")
    author = review.get("authorName")
    return Post(
        platform="googleplay",
        id=ident,
        text=starred(written["starRating"], title, text),
        published_at=changed,
        url=f"https://play.google.com/store/apps/details?{urlencode({'id': app, 'reviewId': ident})}",
        author=one_line(author, 200) or None if isinstance(author, str) else None,
        engagement=Engagement(
            likes=count_of(written.get("thumbsUpCount")),
            replies=sum("developerComment" in one for one in review["comments"]),
        ),
        # Google tells only the last change, so a change of an old review is an edit of it.
        edited_at=changed,
        about_brand=True,
    )


def _written(review: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the user wrote last."""
    said = [one["userComment"] for one in review["comments"] if "userComment" in one]
    found: Mapping[str, Any] = max(said, key=_moment)
    return found


def _moment(comment: Mapping[str, Any]) -> datetime:
    stamp = comment["lastModified"]
    seconds, nanos = int(stamp["seconds"]), int(stamp.get("nanos", 0))
    if not 0 < seconds < 2**33:
        raise ValueError("no time")
    return datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=nanos // 1_000)
