"""X as it bills: search and counts over the same posts, with every post and author that it showed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from tests.connectors.conftest import MovedClock
from tests.connectors.faultserver import Reply, Request
from tests.connectors.test_x import XLike, reply, time_of

_MINUTE = timedelta(minutes=1)


class PaidX(XLike):
    """Each post has an author of its own, unless told otherwise, and four pictures: the dearest case."""

    def __init__(self, clock: MovedClock, *, authors: int = 10**9) -> None:
        super().__init__(clock)
        self.authors = authors
        self.billed: dict[date, Counter[str]] = {}

    def storm(self, count: int) -> None:
        """So many posts, a second apart."""
        for number in range(count):
            author = str((len(self.posts) + number) % self.authors)
            self.say("Zonnehoek in het nieuws", author_id=author)

    def cost(self, day: date, prices: dict[str, Decimal]) -> Decimal:
        """What X put on the bill of a day."""
        billed = self.billed.get(day, Counter())
        return sum((prices[unit] * count for unit, count in billed.items()), Decimal(0))

    def __call__(self, request: Request) -> Reply:
        if request.path.endswith("/counts/recent"):
            return self._counts(request.query)
        answer = super().__call__(request)
        if answer.status != 200:
            return answer
        body: dict[str, Any] = _body(answer)
        shown = body.get("data", [])
        expansions = request.query.get("expansions", "").split(",")
        users: set[str] = set()
        if "author_id" in expansions:
            users = {post["author_id"] for post in shown}
        media: list[str] = []
        if "attachments.media_keys" in expansions:
            media = [f"{post['id']}_{number}" for post in shown for number in range(4)]
        body["includes"] = {
            "users": [{"id": one, "username": f"u{one}"} for one in sorted(users)],
            "media": [{"media_key": one, "type": "photo"} for one in media],
        }
        day = self.clock().date()
        self.billed.setdefault(day, Counter()).update(
            post=len(shown), user=len(users), media=len(media)
        )
        return reply(body)

    def _counts(self, query: Mapping[str, str]) -> Reply:
        begin, end = (datetime.fromisoformat(query[name]) for name in ("start_time", "end_time"))
        assert self.clock() - timedelta(days=7) < begin < end <= self.clock()
        found: Counter[datetime] = Counter()
        for post in self.posts:
            moment = time_of(post["id"])
            if begin <= moment < end:
                found[moment.replace(second=0, microsecond=0)] += 1
        rows = [
            {
                "start": max(minute, begin).isoformat(),
                "end": min(minute + _MINUTE, end).isoformat(),
                "tweet_count": count,
            }
            for minute, count in sorted(found.items())
        ]
        return reply({"data": rows, "meta": {"total_tweet_count": found.total()}})


def _body(answer: Reply) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(answer.body)
    return body
