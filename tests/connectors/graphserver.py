"""Answers as Meta's Graph API does, as far as its documentation says: pages, tags, media, errors."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import urlencode

from connectors.intake import Push
from tests.connectors.conftest import MovedClock
from tests.connectors.faultserver import Reply, Request

TOKEN, APP_SECRET = "EAAtoken", "app-s3cret"
PAGE, ACCOUNT = "1001", "17841405309211844"
VERSION = "/v25.0/"


def reply(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    return Reply(status, json.dumps(body).encode(), dict(headers or {}))


def refusal(code: int, message: str = "No", subcode: int | None = None, status: int = 400) -> Reply:
    error = {"message": message, "type": "OAuthException", "code": code, "fbtrace_id": "A1"}
    return reply(
        {"error": error if subcode is None else {**error, "error_subcode": subcode}}, status
    )


def iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S+0000")


class GraphLike:
    """One page and one account, with what people said there."""

    def __init__(self, clock: MovedClock) -> None:
        self.clock = clock
        self.objects: dict[str, dict[str, Any]] = {}
        """By id; ``_edge`` says in which list a post is, ``_under`` under which post a comment is."""
        self.headers: dict[str, str] = {}
        self.good_token = TOKEN
        self.secret: str | None = APP_SECRET
        self.refuse: Callable[[str], Reply | None] = lambda _path: None
        """A refusal for a path (without version), or None."""
        self.now: datetime | None = None
        """Its clock, where that is not ours."""
        self.numbers = iter(range(5_001, 1_000_000))

    # --- what people do ---

    def post(self, message: str | None, *, by: str = "77", edge: str = "feed", **more: Any) -> str:
        number = next(self.numbers)
        name = f"{PAGE if edge == 'feed' else by}_{number}"
        who = PAGE if by == PAGE else by
        self._add(
            name,
            {
                "message": message,
                "created_time": iso(self.clock()),
                "from": {"id": by, "name": f"Name {by}"},
                "permalink_url": f"https://www.facebook.com/{who}/posts/{number}",
                "_edge": edge,
                **more,
            },
        )
        return name

    def comment(self, under: str, message: str, *, by: str = "78", **more: Any) -> str:
        number = next(self.numbers)
        story = under.rsplit("_", maxsplit=1)[-1] if "_" in under else under
        name = f"{story}_{number}"
        self._add(
            name,
            {
                "message": message,
                "created_time": iso(self.clock()),
                "from": {"id": by, "name": f"Name {by}"},
                "permalink_url": f"https://www.facebook.com/{PAGE}/posts/{story}?comment_id={number}",
                "like_count": 2,
                "comment_count": 1,
                "_under": under,
                **more,
            },
        )
        return name

    def media(self, caption: str | None, *, by: str = "zonnehoek", edge: str = "media") -> str:
        number = f"179{next(self.numbers)}"
        self._add(
            number,
            {
                "caption": caption,
                "timestamp": iso(self.clock()),
                "permalink": f"https://www.instagram.com/p/C{number}/",
                "username": by,
                "like_count": 5,
                "comments_count": 3,
                "_edge": edge,
            },
        )
        return number

    def remark(
        self, under: str, text: str, *, by: str = "anna", reply_to: str | None = None
    ) -> str:
        number = f"178{next(self.numbers)}"
        self._add(
            number,
            {
                "text": text,
                "timestamp": iso(self.clock()),
                "username": by,
                "like_count": 1,
                "_under": under,
                "_reply_to": reply_to,
            },
        )
        return number

    def _add(self, name: str, item: dict[str, Any]) -> None:
        self.objects[name] = {"id": name, **item}
        self.clock.move(timedelta(seconds=1))

    # --- how it answers ---

    def __call__(self, request: Request) -> Reply:
        assert request.path.startswith(VERSION), request.path
        path = request.path.removeprefix(VERSION)
        refused = self.refuse(path) or self._unproved(request)
        if refused is not None:
            return refused
        name, _, edge = path.partition("/")
        if edge in {"feed", "tagged", "media", "tags"}:
            body = self._list(request, edge, lambda item: item.get("_edge") == edge)
        elif edge == "comments":
            if name not in self.objects:
                return refusal(100, "Unsupported get request.", 33)
            body = self._list(request, edge, lambda item: item.get("_under") == name)
        elif name == ACCOUNT:
            body = self._mentioned(request.query["fields"])
        elif name in self.objects:
            body = shown(self.objects[name])
        else:
            return refusal(100, f"Object with ID '{name}' does not exist", 33)
        if isinstance(body, Reply):
            return body
        date = format_datetime(self.now or self.clock(), usegmt=True)
        return reply(body, headers={"Date": date, **self.headers})

    def _unproved(self, request: Request) -> Reply | None:
        if request.headers.get("authorization") != f"Bearer {self.good_token}":
            return refusal(190, "Error validating access token: it has expired.", 463)
        if self.secret is None:
            return None
        proof = hmac.new(self.secret.encode(), self.good_token.encode(), hashlib.sha256)
        if request.query.get("appsecret_proof") != proof.hexdigest():
            return refusal(100, "Invalid appsecret_proof provided in the API argument")
        return None

    def _list(self, request: Request, edge: str, belongs: Callable[[Any], bool]) -> Any:
        query = request.query
        since = float(query.get("since", 0))
        found = [
            item
            for item in reversed(self.objects.values())
            if belongs(item) and self._written(item) >= since and not item.get("_reply_to")
        ]
        start = 0
        if "after" in query:
            names = [item["id"] for item in found]
            if query["after"] not in names:
                return refusal(100, "The after cursor specified is invalid")
            start = names.index(query["after"]) + 1
        limit = int(query["limit"])
        page = found[start : start + limit]
        nested = re.search(r"comments[^{]*?\.limit\((\d+)\)", query["fields"])
        listed = [self._with_comments(item, query["fields"], nested) for item in page]
        goes_on = start + limit < len(found)
        return {"data": listed, "paging": self._paging(page, edge, goes_on=goes_on)}

    def _paging(self, page: list[Any], edge: str, *, goes_on: bool) -> dict[str, Any]:
        if not page:
            return {}
        cursors = {"before": page[0]["id"], "after": page[-1]["id"]}
        if edge == "tags" or not goes_on:
            return {"cursors": cursors}
        place = urlencode({"access_token": self.good_token, "after": page[-1]["id"], "limit": 1})
        return {"cursors": cursors, "next": f"https://evil.example/v1.0/x?{place}"}

    def _with_comments(self, item: Any, fields: str, nested: re.Match[str] | None) -> Any:
        if nested is None:
            return self._with_replies(item)
        since = re.search(r"since\((\d+)\)", fields)
        floor = float(since[1]) if since else 0
        under = [
            one
            for one in reversed(self.objects.values())
            if one.get("_under") == item["id"]
            and self._written(one) >= floor
            and not one.get("_reply_to")
        ]
        first = under[: int(nested[1])]
        comments = {
            "data": [self._with_replies(one) for one in first],
            "paging": self._paging(first, "comments", goes_on=len(first) < len(under)),
            "summary": {"total_count": len(under)},
        }
        return {**shown(item), **({"comments": comments} if under else {})}

    def _with_replies(self, item: Any) -> Any:
        replies = [
            shown(one) for one in self.objects.values() if one.get("_reply_to") == item["id"]
        ]
        return {**shown(item), **({"replies": {"data": replies}} if replies else {})}

    def _mentioned(self, fields: str) -> Any:
        asked = re.fullmatch(r"mentioned_(media|comment)\.\1_id\((\d+)\)\{(.*)\}", fields)
        assert asked is not None, fields
        kind, name, wanted = asked[1], asked[2], asked[3]
        item = self.objects.get(name)
        if item is None or "permalink" in wanted.replace("media{id,permalink}", ""):
            return refusal(100, "Tried accessing nonexisting field (permalink)")
        return {f"mentioned_{kind}": shown(item), "id": ACCOUNT}

    @staticmethod
    def _written(item: Mapping[str, Any]) -> float:
        try:
            text = item.get("created_time") or item.get("timestamp")
            return datetime.fromisoformat(text or "").astimezone(UTC).timestamp()
        except ValueError:
            return 2**40


def shown(item: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in item.items() if not key.startswith("_")}


def pushed(kind: str, owner: str, *changes: tuple[str, Mapping[str, Any]]) -> bytes:
    """The body of a push of these changes: field and value."""
    listed = [{"field": field, "value": dict(value)} for field, value in changes]
    return json.dumps(
        {"object": kind, "entry": [{"id": owner, "time": 1794308400, "changes": listed}]}
    ).encode()


def signed(body: bytes, secret: str = APP_SECRET) -> Push:
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return Push({"x-hub-signature-256": f"sha256={digest}"}, body)
