"""``review`` and ``feedback``: what waits for a person's eye, and what the person says of it."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, TextIO, TypeVar
from zoneinfo import ZoneInfo

from classifiers.base import AbuseLabel, Assessment, LeakCategory, SentimentLabel
from classifiers.explain import explain
from classifiers.masking import excerpt
from connectors.base import Mention
from monitor.store import Store, Unit
from monitor.store.feedback import Judgement, Verdict

EXCERPT: Final = 240
"""Characters of a post that are shown at most."""
WIDTH: Final = 78
MOST_NOTE: Final = 1000
MOST_NAME: Final = 100
_IDS: Final = 2**63
UNDO: Final = "undo"
"""What a line of many says to take a judgement back."""

_SHOWN: Final = (
    "id",
    "brand",
    "platform",
    "published_at",
    "band",
    "score",
    "likely",
    "why",
    "text",
)
_Label = TypeVar("_Label", LeakCategory, SentimentLabel, AbuseLabel)
_SAID: Final = ("id", "verdict", "category", "sentiment", "abuse", "note", "by")


def show_waiting(
    store: Store,
    sink: TextIO,
    *,
    language: str,
    timezone: str,
    limit: int,
    escalated: bool,
    as_json: bool,
) -> tuple[int, int]:
    """Write what nobody has judged, newest first. Returns how many are shown, how many wait.

    Excerpts are masked; nothing about authors is shown.
    """
    with store.read() as unit:
        found = unit.feedback.waiting(limit, escalated=escalated)
        total = sum(unit.feedback.count_waiting(escalated=escalated).values())
    items = [_item(mention, assessment, language) for mention, assessment in found]
    if as_json:
        sink.writelines(json.dumps(item, ensure_ascii=False) + "\n" for item in items)
        return len(items), total
    zone = ZoneInfo(timezone)
    sink.write("\n".join(_card(item, zone) for item in items))
    return len(items), total


def _item(mention: Mention, assessment: Assessment, language: str) -> dict[str, Any]:
    leak, post = assessment.leak, mention.post
    values = (
        mention.id,
        mention.brand,
        post.platform,
        post.published_at.isoformat(),
        leak.band.value,
        round(leak.score, 4),
        leak.likely.value,
        explain(leak, language),
        excerpt(post.text, leak.findings, EXCERPT, language=language, likely=leak.likely),
    )
    return dict(zip(_SHOWN, values, strict=True))


def _card(item: Mapping[str, Any], zone: ZoneInfo) -> str:
    moment = datetime.fromisoformat(item["published_at"]).astimezone(zone)
    head = (
        f"{item['id']}  {moment:%Y-%m-%d %H:%M}  {item['brand']}  {item['platform']}  "
        f"{item['band']} {item['score']:.2f}  {item['likely']}"
    )
    body = [f"“{item['text']}”", item["why"]]
    wrapped = [
        textwrap.fill(part, WIDTH, initial_indent="    ", subsequent_indent="    ") for part in body
    ]
    return "\n".join([head, *wrapped, ""])


def judge_one(store: Store, judgement: Judgement) -> str:
    """Keep one judgement; says what was done.

    Raises:
        LookupError: there is no such mention, or nothing to take back.
    """
    with store.write() as unit:
        return _judge(unit, judgement)


def judge_many(
    store: Store, source: TextIO, errors: TextIO, *, by: str, now: datetime
) -> tuple[int, int]:
    """Keep the judgements of JSON Lines. Returns how many were kept and how many lines were bad.

    Each line is ``{"id": …, "verdict": "leak" | "no-leak" | "undo", "category"?, "sentiment"?,
    "abuse"?, "note"?, "by"?}``; what ``review --json`` writes may stand there too. The good ones are
    kept together, each bad one is named on ``errors``.
    """
    kept = bad = 0
    # Read whole first: the database is not to be held while a person types.
    lines = source.read().removeprefix("\ufeff").split("\n")
    with store.write() as unit:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                _judge(unit, _parse(line, by, now))
            except (ValueError, LookupError) as error:
                bad += 1
                errors.write(json.dumps({"line": number, "error": str(error)}) + "\n")
            else:
                kept += 1
    return kept, bad


def judgement(
    mention_id: int,
    verdict: str,
    *,
    by: str,
    now: datetime,
    category: str | None = None,
    sentiment: str | None = None,
    abuse: str | None = None,
    note: str = "",
) -> Judgement:
    """Make a judgement of a person's words.

    Raises:
        ValueError: a word that is none of ours, or words that contradict each other.
    """
    if not 0 < mention_id < _IDS:
        raise ValueError(f"there is no mention {mention_id}")
    by, note = _storable(by, MOST_NAME, "name"), _storable(note, MOST_NOTE, "note")
    if not by:
        raise ValueError("nobody is named; say --by NAME")
    if verdict == UNDO:
        if category or sentiment or abuse:
            raise ValueError("undo takes back all that was said; leave out the labels")
        return Judgement(mention_id, Verdict.WITHDRAWN, by, now, note=note)
    if verdict not in (Verdict.LEAK, Verdict.NO_LEAK):
        raise ValueError(f'"{verdict}" is no verdict; say leak or no-leak')
    said = _one_of(LeakCategory, category, "category")
    if verdict == Verdict.NO_LEAK:
        if said not in (None, LeakCategory.NONE):
            raise ValueError("what is no leak has no category; leave it out")
        said = None
    elif said is LeakCategory.NONE:
        raise ValueError('a leak is never of category "none"; leave it out when unsure')
    return Judgement(
        mention_id,
        Verdict(verdict),
        by,
        now,
        category=said,
        sentiment=_one_of(SentimentLabel, sentiment, "sentiment"),
        abuse=_one_of(AbuseLabel, abuse, "abuse"),
        note=note,
    )


def _judge(unit: Unit, word: Judgement) -> str:
    before = unit.feedback.judge(word)
    if word.verdict is Verdict.WITHDRAWN:
        return f"mention {word.mention_id} counts as not judged again"
    told = f"mention {word.mention_id} is judged: {word.verdict.value}"
    if before is None:
        return told
    return f"{told} (replaces {before.verdict.value} by {before.by})"


def _parse(line: str, by: str, now: datetime) -> Judgement:
    try:
        value = json.loads(line)
    except (json.JSONDecodeError, RecursionError):
        raise ValueError("not JSON") from None
    if not isinstance(value, dict):
        raise ValueError('not a JSON object; expected {"id": …, "verdict": …}')
    strange = sorted(set(value) - {*_SHOWN, *_SAID})
    if strange:
        raise ValueError(f'unknown key "{strange[0]}"; allowed: {", ".join(_SAID)}')
    number = value.get("id")
    if isinstance(number, bool) or not isinstance(number, int):
        raise ValueError('"id" is missing or not the number of a mention')
    words = {key: value.get(key) for key in _SAID[1:]}
    for key, word in words.items():
        if word is not None and not isinstance(word, str):
            raise ValueError(f'"{key}" is not a text')
    if words["verdict"] is None:
        raise ValueError('"verdict" is missing; say leak or no-leak')
    return judgement(
        number,
        words["verdict"],
        by=words["by"] or by,
        now=now,
        category=words["category"],
        sentiment=words["sentiment"],
        abuse=words["abuse"],
        note=words["note"] or "",
    )


def _one_of(labels: type[_Label], word: str | None, what: str) -> _Label | None:
    if word is None:
        return None
    try:
        return labels(word)
    except ValueError:
        allowed = ", ".join(label.value for label in labels)
        raise ValueError(f'"{word}" is no {what}; allowed: {allowed}') from None


def _storable(text: str, most: int, what: str) -> str:
    """A person's words as one line that can be kept; half a surrogate pair cannot."""
    if len(text) > most:
        raise ValueError(f"the {what} is too long; at most {most} characters, please")
    return " ".join(text.encode("utf-8", "replace").decode("utf-8").split())
