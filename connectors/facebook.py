"""Facebook: what is said on the organisation's own page, and where it is tagged or mentioned.

Comments and posts on the page, and posts that tag it, are read from the page's lists. A mention
elsewhere exists only as a push: Meta tells it once and keeps no list (``connectors.sweeping`` joins the
two). Only one page is read, with its own token; there is no search of Facebook.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import Field

from connectors.base import Arrival, Context, Cursor, Engagement, Page, Post, Reject, SourceFault
from connectors.counts import count_of
from connectors.graph import (
    Graph,
    GraphError,
    GraphOptions,
    changes,
    door_of,
    ident,
    moment,
    onward,
    place,
    seconds,
)
from connectors.options import Options as BaseOptions
from connectors.plaintext import clean, one_line, web_url
from connectors.sweeping import Event, Found, Step, Window, follow

_FEED, _TAGGED, _COMMENTS = "feed", "tagged", "/comments"
_POSTS = 25
_NESTED = 50
_WORDS = "id,message,created_time,from,permalink_url"
_POST_FIELDS = f"{_WORDS},full_picture,shares,reactions.limit(0).summary(1)"
_COMMENT_FIELDS = f"{_WORDS},attachment{{media}},like_count,comment_count"
_SAID = frozenset({"add", "edit", "edited"})
_GONE = frozenset({"delete", "remove"})
_MUTE = frozenset({"reaction", "like", "connection", "event", "album", "rating"})
"""What happens on a page and says nothing."""


class FacebookOptions(GraphOptions):
    """Options of a source of kind ``facebook``."""

    kind: Literal["facebook"] = "facebook"
    page_id: str = Field(pattern=r"^[0-9]{1,30}$")
    """Id of the organisation's page: a number. Required."""
    own_posts: bool = True
    """Whether the page's own posts are read too, so that one that nobody meant to publish is noticed.
    Default true."""


class FacebookConnector:
    """Reads one page, and takes what Meta pushes about it."""

    kind: ClassVar[str] = "facebook"
    Options: ClassVar[type[BaseOptions]] = FacebookOptions

    def __init__(self, options: FacebookOptions, context: Context) -> None:
        self._options = options
        self._context = context
        self._graph = Graph(options, context)
        self.door = door_of(options)
        """Lets in what Meta signed; None without ``app_secret``."""

    def fetch(self, cursor: Cursor | None) -> Iterator[Page]:
        """Yield what is new. See :class:`connectors.base.Connector`."""
        return follow(self, self._context, cursor, self._options.pace)

    def close(self) -> None:
        """The client belongs to whoever made it; nothing else is held."""

    # --- lists ---

    def steps(self) -> Sequence[Step]:
        """The page's own list with its comments, and the posts that tag it."""
        return [Step(_FEED), Step(_TAGGED)]

    def read(self, step: Step, window: Window) -> Found:
        """Ask for one page of a list. Raises ConnectorError."""
        if step.path.endswith(_COMMENTS):
            return self._comments(step, window)
        horizon = window.start - timedelta(days=self._options.watch_days)
        params = {"limit": str(_POSTS), "fields": _POST_FIELDS, **place(step.token)}
        if step.path == _FEED:
            params |= {"since": seconds(horizon)}
            params["fields"] += f",{_nested(window)}"
        answer = self._graph.edge(f"{self._options.page_id}/{step.path}", params)
        posts: list[Post] = []
        rejects: list[Reject] = []
        more: list[Step] = []
        times: list[datetime] = []
        # What tags the page may do so long after it was written.
        floor = window.since if step.path == _FEED else max(horizon, window.began)
        for item in answer.data:
            try:
                times.append(moment(item["created_time"]))
                posts += self._at_least(item, floor, comment=False)
            except _ODD as error:
                rejects.append(_set_aside(item, error))
            under, odd, rest = self._under(item, window)
            posts, rejects, more = [*posts, *under], [*rejects, *odd], [*more, *rest]
        token = onward(answer.body)
        if token is not None and times and min(times) >= horizon:
            more.append(Step(step.path, token))
        return Found(posts, rejects, more, answer.pause, at=answer.at)

    def _under(self, item: Any, window: Window) -> tuple[list[Post], list[Reject], list[Step]]:
        """The comments that came along with a post, and where those go on."""
        comments = item.get("comments") if isinstance(item, dict) else None
        if not isinstance(comments, dict) or not isinstance(comments.get("data"), list):
            return [], [], []
        posts, rejects = self._each(comments["data"], window)
        token = onward(comments)
        more: list[Step] = []
        if token is not None:
            try:
                more = [Step(ident(item.get("id")) + _COMMENTS, token)]
            except ValueError as error:
                rejects.append(_set_aside(item, error))
        return posts, rejects, more

    def _comments(self, step: Step, window: Window) -> Found:
        params = {
            "filter": "stream",
            "order": "reverse_chronological",
            "since": seconds(window.since),
            "limit": str(_NESTED),
            "fields": _COMMENT_FIELDS,
            **place(step.token),
        }
        try:
            answer = self._graph.edge(step.path, params)
        except GraphError as error:
            if error.fault is SourceFault.NOT_FOUND:
                return Found()  # the post was deleted since
            raise
        posts, rejects = self._each(answer.data, window)
        token = onward(answer.body)
        return Found(posts, rejects, [Step(step.path, token)] if token else [], answer.pause)

    def _each(self, found: Sequence[Any], window: Window) -> tuple[list[Post], list[Reject]]:
        posts: list[Post] = []
        rejects: list[Reject] = []
        for item in found:
            try:
                posts += self._at_least(item, window.since, comment=True)
            except _ODD as error:
                rejects.append(_set_aside(item, error))
        return posts, rejects

    def _at_least(self, item: Mapping[str, Any], floor: datetime, *, comment: bool) -> list[Post]:
        # By Meta's clock, whatever ours makes of it.
        post = None if moment(item["created_time"]) < floor else self._post(item, comment=comment)
        return [] if post is None else [post]

    # --- pushes ---

    def events(self, arrival: Arrival) -> Sequence[Event]:
        """What was said or taken back, of all that Meta tells about the page."""
        return [
            change
            for change in changes(arrival, "page", self._options.page_id)
            if change["field"] in {"feed", "mention"}
            and change["value"].get("verb") in _SAID | _GONE
            and change["value"].get("item") not in _MUTE
        ]

    def tell(self, event: Event, received_at: datetime) -> Found:
        """The post of an event: what it holds of one on our page, else asked for."""
        value = event["value"]
        try:
            name = ident(value.get("comment_id") or value.get("post_id"))
        except ValueError as error:
            return Found(rejects=[_set_aside(value, error)], calls=0)
        comment = "comment_id" in value
        if value["verb"] in _GONE:
            return Found(deleted=[("facebook", _stable(name, comment=comment))], calls=0)
        told = _as_told(value, name, received_at)
        here = event["field"] == "feed"
        if here and told.get("message") and "edit" not in value["verb"]:
            return self._found(told, comment=comment, here=here, calls=0)
        fields = _COMMENT_FIELDS if comment else _POST_FIELDS
        try:
            answer = self._graph.get(name, {"fields": fields})
        except GraphError as error:
            if not error.of_object:
                raise
            # Nobody but its author's friends may read it, or it is gone: what was told is all.
            return self._found(told, comment=comment, here=here, calls=1)
        found = self._found({**told, **answer.body}, comment=comment, here=here, calls=1)
        return replace(found, pause=answer.pause)

    def _found(self, item: Mapping[str, Any], *, comment: bool, here: bool, calls: int) -> Found:
        try:
            post = self._post(item, comment=comment, here=here)
        except _ODD as error:
            return Found(rejects=[_set_aside(item, error)], calls=calls)
        return Found([post] if post is not None else [], calls=calls)

    # --- posts ---

    def _post(self, item: Mapping[str, Any], *, comment: bool, here: bool = True) -> Post | None:
        """Turn a post, or a comment on our page (``here``) or elsewhere, into ours.

        None for one without words. Raises what odd values raise.
        """
        name = ident(item["id"])
        text = clean(item.get("message") or "")
        author = item.get("from") or {}
        writer = ident(author["id"]) if author.get("id") else None
        own = writer == self._options.page_id
        if not text or (own and not comment and not self._options.own_posts):
            return None
        edited = item.get("edited_time")
        return Post(
            platform="facebook",
            id=_stable(name, comment=comment),
            text=text,
            published_at=min(moment(item["created_time"]), self._context.now()),
            url=_link(item, name, comment=comment, ours=(comment and here) or own),
            author=writer,
            engagement=Engagement(
                likes=count_of(item.get("like_count")) or _total(item.get("reactions")),
                shares=count_of((item.get("shares") or {}).get("count")),
                replies=count_of(item.get("comment_count")) or _total(item.get("comments")),
            ),
            edited_at=None if edited is None else min(moment(edited), self._context.now()),
            about_brand=not own,
            thread=_thread(name) if comment else None,
            images=_images(item),
        )


_ODD = (KeyError, TypeError, ValueError, AttributeError, OverflowError)
"""What values of an unexpected kind raise."""


def _stable(name: str, *, comment: bool) -> str:
    """An id without the author's: a post's begins with it, a comment's with that of the post."""
    return name if comment else name.rpartition("_")[2]


def _nested(window: Window) -> str:
    """The comments to bring along with each post: newest first, answers to comments as well."""
    return (
        f"comments.filter(stream).order(reverse_chronological).since({seconds(window.since)})"
        f".limit({_NESTED}).summary(1){{{_COMMENT_FIELDS}}}"
    )


def _as_told(value: Mapping[str, Any], name: str, received_at: datetime) -> dict[str, Any]:
    """A push in the words of the API."""
    sender = value.get("from") or {"id": value.get("sender_id")}
    above = value.get("post")
    return {
        "id": name,
        "message": value.get("message"),
        "created_time": value.get("created_time") or received_at.isoformat(),
        "edited_time": value.get("edited_time"),
        "from": sender if isinstance(sender, dict) else {},
        "permalink_url": above.get("permalink_url") if isinstance(above, dict) else None,
        "full_picture": value.get("photo"),
    }


def _link(item: Mapping[str, Any], name: str, *, comment: bool, ours: bool) -> str:
    """An address that does not carry the author's name, as those of strangers' posts do."""
    url = web_url(item.get("permalink_url"))
    if ours and url is not None and (urlsplit(url).hostname or "").endswith("facebook.com"):
        return url
    # A post is OWNER_POST, a comment POST_COMMENT; the post is what people can open.
    parts = name.split("_")
    return f"https://www.facebook.com/{parts[-2] if comment and len(parts) > 1 else parts[-1]}"


def _images(item: Mapping[str, Any]) -> tuple[str, ...]:
    """Addresses of the picture of a post or a comment, where Meta keeps it."""
    found = item.get("attachment")
    for step in ("media", "image", "src"):
        found = found.get(step) if isinstance(found, Mapping) else None
    shown = (item.get("full_picture"), found)
    urls = (web_url(each) if isinstance(each, str) else None for each in shown)
    return tuple(url for url in urls if url is not None)


def _thread(name: str) -> str | None:
    """Address of the post that a comment stands under."""
    above = name.rpartition("_")[0].rpartition("_")[2]
    return f"https://www.facebook.com/{above}" if above else None


def _total(found: Any) -> int:
    summary = found.get("summary") if isinstance(found, dict) else None
    return count_of(summary.get("total_count")) if isinstance(summary, dict) else 0


def _set_aside(item: Any, error: Exception) -> Reject:
    reason = f"an item that Facebook describes in an unknown way: {type(error).__name__}"
    shown = (
        {key: value for key, value in item.items() if key != "from"}
        if isinstance(item, dict)
        else item
    )
    return Reject(reason, one_line(json.dumps(shown, default=str)[:2_000], 500))
