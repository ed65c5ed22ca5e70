"""Instagram: comments on the organisation's own account, and where it is tagged or mentioned.

Comments under own media, and media that tag the account, are read from the account's lists. A mention
(@account) in somebody's caption or comment exists only as a push: Meta tells its id once, keeps no list,
and then lets us ask for that one (``connectors.sweeping`` joins the two).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, ClassVar, Literal

from pydantic import Field

from connectors.base import Arrival, Context, Cursor, Engagement, Page, Post, Reject, SourceFault
from connectors.counts import count_of
from connectors.graph import (
    Answer,
    Graph,
    GraphError,
    GraphOptions,
    changes,
    cursor_onward,
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

_MEDIA, _TAGS, _COMMENTS = "media", "tags", "comments"
_LIST = 25
_NESTED = 50
"""As many comments as Instagram gives at once."""
_MEDIA_FIELDS = (
    "id,caption,timestamp,permalink,username,like_count,comments_count,media_type,media_url"
)
_WORDS = "id,text,timestamp,username,like_count"
_COMMENT_FIELDS = f"{_WORDS},replies.limit({_NESTED}){{{_WORDS}}}"
_ODD = (KeyError, TypeError, ValueError, AttributeError, OverflowError)
"""What values of an unexpected kind raise."""


class InstagramOptions(GraphOptions):
    """Options of a source of kind ``instagram``."""

    kind: Literal["instagram"] = "instagram"
    account_id: str = Field(pattern=r"^[0-9]{1,30}$")
    """Id of the professional account in the Graph API: a number. Required."""
    own_posts: bool = True
    """Whether the account's own captions are read too, so that one that nobody meant to publish is
    noticed. Default true."""


class InstagramConnector:
    """Reads one account, and takes what Meta pushes about it."""

    kind: ClassVar[str] = "instagram"
    Options: ClassVar[type[BaseOptions]] = InstagramOptions

    def __init__(self, options: InstagramOptions, context: Context) -> None:
        self._options = options
        self._context = context
        self._graph = Graph(options, context)
        self._links: dict[str, str] = {}
        """Addresses of own media that lists gave: pushed comments come without."""
        self.door = door_of(options)
        """Lets in what Meta signed; None without ``app_secret``."""

    def fetch(self, cursor: Cursor | None) -> Iterator[Page]:
        """Yield what is new. See :class:`connectors.base.Connector`."""
        return follow(self, self._context, cursor, self._options.pace)

    def close(self) -> None:
        """The client belongs to whoever made it; nothing else is held."""

    # --- lists ---

    def steps(self) -> Sequence[Step]:
        """Own media with their comments, and media that tag the account."""
        return [Step(_MEDIA), Step(_TAGS)]

    def read(self, step: Step, window: Window) -> Found:
        """Ask for one page of a list. Raises ConnectorError."""
        if step.path.startswith(f"{_COMMENTS} "):
            return self._comments(step, window)
        horizon = window.start - timedelta(days=self._options.watch_days)
        own = step.path == _MEDIA
        params = {"limit": str(_LIST), "fields": _MEDIA_FIELDS, **place(step.token)}
        if own:
            params |= {"since": seconds(horizon)}
            params["fields"] += ",children{media_type,media_url}"
            params["fields"] += f",comments.limit({_NESTED}){{{_COMMENT_FIELDS}}}"
        answer = self._graph.edge(f"{self._options.account_id}/{step.path}", params)
        posts: list[Post] = []
        rejects: list[Reject] = []
        more: list[Step] = []
        times: list[datetime] = []
        # What tags the account may do so long after it was published.
        floor = window.since if own else max(horizon, window.began)
        for item in answer.data:
            try:
                times.append(moment(item["timestamp"]))
                if not own or self._options.own_posts:
                    posts += self._media(item, own=own) if times[-1] >= floor else []
                if own:
                    under, odd, rest = self._under(item, window)
                    posts, rejects, more = [*posts, *under], [*rejects, *odd], [*more, *rest]
            except _ODD as error:
                rejects.append(_set_aside(item, error))
        # The list of tags names a place, never a next page.
        token = onward(answer.body) if own else cursor_onward(answer.body)
        if token is not None and times and min(times) >= horizon:
            more.append(Step(step.path, token))
        return Found(posts, rejects, more, answer.pause, at=answer.at)

    def _under(
        self, item: Mapping[str, Any], window: Window
    ) -> tuple[list[Post], list[Reject], list[Step]]:
        """The comments that came along with own media, and where those go on."""
        name, link = ident(item["id"]), _link(item.get("permalink"))
        writer = "".join(one_line(item.get("username") or "", 100).split())
        if link is not None:
            self._links[name] = link
        comments = item.get("comments")
        if not isinstance(comments, dict) or not isinstance(comments.get("data"), list):
            return [], [], []
        posts, rejects, oldest = self._each(comments["data"], window, link, writer)
        # A place that addresses are made of must hold no blank.
        path = f"{_COMMENTS} {name} {link or '-'} {writer or '-'}"
        token = onward(comments) or cursor_onward(comments)
        goes_on = token is not None and oldest is not None and oldest >= window.since
        return posts, rejects, [Step(path, token)] if goes_on else []

    def _comments(self, step: Step, window: Window) -> Found:
        _, name, link, writer = step.path.split(" ")
        params = {"limit": str(_NESTED), "fields": _COMMENT_FIELDS, **place(step.token)}
        try:
            answer = self._graph.edge(f"{name}/comments", params)
        except GraphError as error:
            if error.fault is SourceFault.NOT_FOUND:
                return Found()  # the media was deleted since
            raise
        posts, rejects, oldest = self._each(answer.data, window, _link(link), writer)
        token = onward(answer.body) or cursor_onward(answer.body)
        goes_on = token is not None and oldest is not None and oldest >= window.since
        return Found(posts, rejects, [Step(step.path, token)] if goes_on else [], answer.pause)

    def _each(
        self, found: Sequence[Any], window: Window, link: str | None, writer: str
    ) -> tuple[list[Post], list[Reject], datetime | None]:
        """Comments and their replies; and when the oldest of the comments was written."""
        posts: list[Post] = []
        rejects: list[Reject] = []
        times: list[datetime] = []
        for item in found:
            try:
                times.append(moment(item["timestamp"]))
                replies = (item.get("replies") or {}).get("data") or ()
            except _ODD as error:
                rejects.append(_set_aside(item, error))
                continue
            for said in (item, *replies):
                try:
                    # By Instagram's clock, whatever ours makes of it.
                    if moment(said["timestamp"]) >= window.since:
                        posts += self._comment(said, link, writer)
                except _ODD as error:
                    rejects.append(_set_aside(said, error))
        return posts, rejects, min(times, default=None)

    # --- pushes ---

    def events(self, arrival: Arrival) -> Sequence[Event]:
        """What was said, of all that Meta tells about the account."""
        return [
            change
            for change in changes(arrival, "instagram", self._options.account_id)
            if change["field"] in {"comments", "live_comments", "mentions"}
        ]

    def tell(self, event: Event, received_at: datetime) -> Found:
        """The comment of an event, which it holds; or the mention, which it only names."""
        value = event["value"]
        try:
            if event["field"] != "mentions":
                return Found(self._told(value, received_at), calls=0)
            comment = value.get("comment_id")
            name = ident(comment or value.get("media_id"))
        except _ODD as error:
            return Found(rejects=[_set_aside(value, error)], calls=0)
        kind = "comment" if comment else "media"
        calls = 0
        for fields in _mention_fields(kind):
            calls += 1
            try:
                answer = self._ask_for(kind, name, fields)
            except GraphError as error:
                if not error.of_object:
                    raise
                continue
            return replace(self._mention(kind, answer), calls=calls, pause=answer.pause)
        reason = "a mention that Meta announced and does not let us read (deleted, or not allowed)"
        return Found(rejects=[Reject(reason, f"{kind} {name}")], calls=calls)

    def _ask_for(self, kind: str, name: str, fields: str) -> Answer:
        asked = f"mentioned_{kind}.{kind}_id({name}){{{fields}}}"
        return self._graph.get(self._options.account_id, {"fields": asked})

    def _mention(self, kind: str, answer: Answer) -> Found:
        item = answer.body.get(f"mentioned_{kind}")
        try:
            if not isinstance(item, dict):
                raise ValueError("no mention")
            if kind == "media":
                found = self._media(item, own=False)
            else:
                above = item.get("media")
                link = above.get("permalink") if isinstance(above, dict) else None
                found = self._comment(item, _link(link), "")
        except _ODD as error:
            return Found(rejects=[_set_aside(item, error)])
        return Found(found)

    def _told(self, value: Mapping[str, Any], received_at: datetime) -> list[Post]:
        """A pushed comment on own media. Raises what odd values raise."""
        media = value.get("media") or {}
        item = {
            "id": value["id"],
            "text": value.get("text"),
            "timestamp": received_at.isoformat(),
            "username": (value.get("from") or {}).get("username"),
        }
        own = str((value.get("from") or {}).get("id")) == self._options.account_id
        said = self._comment(item, self._links.get(str(media.get("id"))), "")
        return [replace(post, about_brand=not own) for post in said]

    # --- posts ---

    def _media(self, item: Mapping[str, Any], *, own: bool) -> list[Post]:
        """Turn media into a post; none without a caption. Raises what odd values raise."""
        text = clean(item.get("caption") or "")
        if not text:
            return []
        post = Post(
            platform="instagram",
            id=ident(item["id"]),
            text=text,
            published_at=min(moment(item["timestamp"]), self._context.now()),
            url=_link(item.get("permalink")),
            author=one_line(item.get("username") or "", 100) or None,
            engagement=Engagement(
                likes=count_of(item.get("like_count")), replies=count_of(item.get("comments_count"))
            ),
            about_brand=not own,
            images=_images(item),
        )
        return [post]

    def _comment(self, item: Mapping[str, Any], link: str | None, writer: str) -> list[Post]:
        """Turn a comment into a post; none without words. Raises what odd values raise.

        Args:
            item: the comment.
            link: address of what it stands under.
            writer: who published that: its own comments are the brand's, not about it.
        """
        text = clean(item.get("text") or "")
        if not text:
            return []
        author = one_line(item.get("username") or "", 100) or None
        post = Post(
            platform="instagram",
            id=ident(item["id"]),
            text=text,
            published_at=min(moment(item["timestamp"]), self._context.now()),
            url=link,
            author=author,
            engagement=Engagement(likes=count_of(item.get("like_count"))),
            about_brand=author is None or author != writer,
            thread=link,
        )
        return [post]


def _mention_fields(kind: str) -> Sequence[str]:
    """What to ask for: with the address first, which Meta does not always allow; then without."""
    if kind == "media":
        plain = "id,caption,timestamp,username,like_count,comments_count"
        return (f"{plain},media_type,media_url,permalink", plain)
    plain = "id,text,timestamp,like_count"
    return (f"{plain},username,media{{id,permalink}}", plain)


def _images(item: Mapping[str, Any]) -> tuple[str, ...]:
    """Addresses of its photo, or of those of an album."""
    album = item.get("children")
    listed = album.get("data") if isinstance(album, dict) else None
    urls = (
        web_url(each.get("media_url"))
        for each in (item, *(listed if isinstance(listed, list) else ()))
        if isinstance(each, dict)
        and each.get("media_type") == "IMAGE"
        and isinstance(each.get("media_url"), str)
    )
    return tuple(url for url in urls if url is not None)


def _link(value: Any) -> str | None:
    """An address of Instagram's: it names the post, not who wrote it."""
    url = web_url(value) if isinstance(value, str) else None
    return url if url is not None and url.startswith("https://www.instagram.com/") else None


def _set_aside(item: Any, error: Exception) -> Reject:
    reason = f"an item that Instagram describes in an unknown way: {type(error).__name__}"
    hidden = {"username", "from", "user", "owner"}
    shown = (
        {key: value for key, value in item.items() if key not in hidden}
        if isinstance(item, dict)
        else item
    )
    return Reject(reason, one_line(json.dumps(shown, default=str)[:2_000], 500))
