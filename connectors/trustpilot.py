"""Trustpilot: the reviews of one's own company, through its public API.

Reviews come newest first; those of the last days are read again, for changes: a review may be edited
by who wrote it, and Trustpilot says when.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
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
from connectors.http import Fetched, fetch_limited, redact_url, status_error
from connectors.newestfirst import Answer, Pace, Span, read_through
from connectors.options import Options as BaseOptions
from connectors.options import is_one_word
from connectors.plaintext import language_tag, one_line
from connectors.review import starred

_OK = 200
_NOT_FOUND = 404
_PAGE = 100
_MAX_BYTES = 8 * 2**20
_ID = re.compile(r"[0-9a-f]{24}")
_HIDDEN = "hidden"
_REMEDIES: Mapping[SourceFault, str] = {
    SourceFault.UNAUTHORIZED: "compare api_key with the application on businessapp.b2b.trustpilot"
    ".com, Integrations, APIs",
    SourceFault.FORBIDDEN: "the plan of the account has no access to the API, or the application "
    "is switched off",
    SourceFault.RATE_LIMITED: "raise interval_seconds, or lower max_pages",
    SourceFault.NOT_FOUND: "look whether company is the domain that Trustpilot knows the company "
    "by, as in the address of its page",
}


class TrustpilotOptions(BaseOptions):
    """Options of a source of kind ``trustpilot``."""

    kind: Literal["trustpilot"] = "trustpilot"
    api_key: SecretStr
    """API key of an application of your Trustpilot business account. Required. Also as
    `api_key_file`, or from the environment or a systemd credential."""
    company: str = Field(pattern=r"^[A-Za-z0-9.-]{3,253}$")
    """The company as Trustpilot knows it: its domain, as "example.nl", or its business unit id.
    Required."""
    languages: tuple[str, ...] = ()
    """Only reviews in these languages, as ["nl", "en"]. Default: all."""
    max_pages: int = Field(default=5, ge=1, le=100)
    """Calls, of 100 reviews, that one poll may make. Default 5."""
    backfill_hours: float = Field(default=24.0, ge=0, le=24 * 366)
    """Hours to look back when the reviews are read for the first time. Default 24."""
    overlap_hours: float = Field(default=168.0, ge=0, le=24 * 60)
    """Hours before the newest review that are read again, for edits. Default 168."""
    base_url: str = Field(
        default="https://api.trustpilot.com/v1", pattern=r"^https?://[^\s/?#]+[^\s?#]*$"
    )
    """Where the API is, for gateways and tests. Default "https://api.trustpilot.com/v1"."""
    timeout_seconds: float = Field(default=30.0, gt=0, le=600)
    """Seconds that one call may take. Default 30."""

    @field_validator("api_key")
    @classmethod
    def _is_one_word(cls, key: SecretStr) -> SecretStr:
        if not is_one_word(key.get_secret_value()):
            raise ValueError("an API key is one word of plain characters; copy it again")
        return key

    @field_validator("languages")
    @classmethod
    def _are_languages(cls, tags: tuple[str, ...]) -> tuple[str, ...]:
        for tag in tags:
            if not re.fullmatch(r"[a-z]{2}", tag):
                raise ValueError(f"{tag!r} is no language code such as nl or en")
        return tags


class TrustpilotConnector:
    """Reads the reviews of one company."""

    kind: ClassVar[str] = "trustpilot"
    Options: ClassVar[type[BaseOptions]] = TrustpilotOptions

    def __init__(self, options: TrustpilotOptions, context: Context) -> None:
        self._options = options
        self._context = context
        self._unit = options.company if _ID.fullmatch(options.company) else ""

    def fetch(self, cursor: Cursor | None) -> Iterator[Page]:
        """Yield what is new, newest first. See :class:`connectors.base.Connector`."""
        pace = Pace(
            calls=self._options.max_pages,
            backfill=timedelta(hours=self._options.backfill_hours),
            overlap=timedelta(hours=self._options.overlap_hours),
        )
        self._unit = self._unit or self._find()
        return read_through([self._unit], self._ask, cursor, self._context.now(), pace)

    def close(self) -> None:
        """The client belongs to whoever made it; nothing else is held."""

    def _find(self) -> str:
        """The id of the company, which its domain stands for."""
        fetched = self._get(f"/business-units/find?{urlencode({'name': self._options.company})}")
        body = _json(fetched)
        unit = body.get("id") if isinstance(body, dict) else None
        if not isinstance(unit, str) or not _ID.fullmatch(unit):
            raise _bad_response(fetched, "is no business unit")
        return unit

    def _ask(self, unit: str, span: Span) -> Answer:
        page = int(span.token or 1)
        query: list[tuple[str, str]] = [
            ("orderBy", "createdat.desc"),
            ("perPage", str(_PAGE)),
            ("page", str(page)),
            *(("language", tag) for tag in self._options.languages),
        ]
        fetched = self._get(f"/business-units/{unit}/reviews?{urlencode(query)}")
        body = _json(fetched)
        items = body.get("reviews") if isinstance(body, dict) else None
        if not isinstance(items, list):
            raise _bad_response(fetched, "holds no list of reviews")
        posts: list[Post] = []
        rejects: list[Reject] = []
        moments: list[int] = []
        now = self._context.now()
        for item in items:
            try:
                moments.append(int(_moment(item["createdAt"]).timestamp()))
                post = _post(item, now)
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
                reason = f"a review that Trustpilot describes oddly: {type(error).__name__}"
                rejects.append(Reject(reason, one_line(json.dumps(item)[:2_000], 500)))
            else:
                posts += [post] if post is not None else []
        return Answer(
            posts,
            newest=max(moments, default=None),
            oldest=min(moments, default=None),
            token=str(page + 1) if len(items) >= _PAGE else None,
            rejects=rejects,
        )

    def _get(self, path: str) -> Fetched:
        fetched = fetch_limited(
            self._context.http,
            self._options.base_url.rstrip("/") + path,
            headers={
                "apikey": self._options.api_key.get_secret_value(),
                "Accept": "application/json",
            },
            max_bytes=_MAX_BYTES,
            total_seconds=self._options.timeout_seconds,
            max_redirects=0,
        )
        if fetched.status != _OK:
            raise _refusal(fetched, self._context.now())
        return fetched


def _json(fetched: Fetched) -> Any:
    try:
        return json.loads(fetched.body)
    except (ValueError, RecursionError) as error:
        raise _bad_response(fetched, f"is not JSON ({type(error).__name__})") from error


def _bad_response(fetched: Fetched, what: str) -> ConnectorError:
    return ConnectorError(
        f"{redact_url(fetched.url)}: the answer {what}", fault=SourceFault.BAD_RESPONSE
    )


def _refusal(fetched: Fetched, now: datetime) -> ConnectorError:
    """Read Trustpilot's own words, and say what to do about them."""
    try:
        problem = json.loads(fetched.body[:100_000])
    except (ValueError, RecursionError):
        problem = None
    problem = problem if isinstance(problem, dict) else {}
    fault = problem.get("fault")
    said = fault.get("faultstring") if isinstance(fault, dict) else problem.get("message")
    words = one_line(said, 200) if isinstance(said, str) else ""
    remedy = _REMEDIES.get(status_error(fetched, now=now).fault, "")
    error = status_error(
        fetched, now=now, detail="; ".join(part for part in (words, remedy) if part)
    )
    error.permanent = error.permanent or fetched.status == _NOT_FOUND
    return error


def _post(item: Mapping[str, Any], now: datetime) -> Post | None:
    """Turn a review into a post; None for one that is not shown. Raises what odd values raise."""
    report = item.get("reportData") or {}
    if item.get("status", "active") != "active" or report.get("reviewVisibility") == _HIDDEN:
        return None
    ident = item["id"]
    if not isinstance(ident, str) or not _ID.fullmatch(ident):
        raise ValueError("no id")
    created = _moment(item["createdAt"])
    updated = _moment(item["updatedAt"]) if item.get("updatedAt") else created
    return Post(
        platform="trustpilot",
        id=ident,
        text=starred(item["stars"], item.get("title") or "", item.get("text") or ""),
        published_at=min(created, now),
        url=f"https://www.trustpilot.com/reviews/{ident}",
        author=one_line((item.get("consumer") or {}).get("displayName") or "", 200) or None,
        language=language_tag(item.get("language")),
        engagement=Engagement(
            likes=count_of(item.get("numberOfLikes")), replies=int(bool(item.get("companyReply")))
        ),
        edited_at=min(updated, now) if updated > created else None,
        about_brand=True,
    )


def _moment(text: Any) -> datetime:
    moment = datetime.fromisoformat(text)  # some of its moments bear no zone: they are UTC
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
