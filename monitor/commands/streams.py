"""Commands that read posts on standard input: ``match`` and ``classify``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from classifiers.assessor import to_contract
from classifiers.base import Classifier, Text

if TYPE_CHECKING:  # `classify` must not pay for what only `match` needs
    from connectors.query import Query

BATCH = 64


@dataclass(frozen=True, slots=True)
class Line:
    """One good line of the input."""

    number: int
    id: str | int
    text: str
    language: str | None
    fields: dict[str, Any]


def read_lines(source: TextIO, errors: TextIO, *, plain: bool) -> Iterator[Line | None]:
    """The posts on a stream; None for each bad line, after a word about it on ``errors``."""
    for number, raw in enumerate(source, start=1):
        line = raw.rstrip("\r\n")
        if number == 1:
            line = line.removeprefix("\ufeff")
        if not line.strip():
            continue
        if plain:
            yield Line(number, str(number), line, None, {"id": str(number), "text": line})
            continue
        try:
            yield _parse(number, line)
        except ValueError as error:
            word = {"line": number, "error": str(error)}
            errors.write(json.dumps(word, ensure_ascii=False) + "\n")
            yield None


def _parse(number: int, line: str) -> Line:
    try:
        value = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        what = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply"
        raise ValueError(f"not JSON: {what}; for plain text lines use --plain") from None
    if not isinstance(value, dict):
        raise ValueError('not a JSON object; expected {"id": …, "text": …}')
    text = value.get("text")
    if not isinstance(text, str):
        raise ValueError('"text" is missing or not a string')
    # Half of a surrogate pair, as broken exports have them, cannot be written out again.
    text = text.encode("utf-8", "replace").decode("utf-8")
    language = value.get("lang")
    if language is not None and not isinstance(language, str):
        raise ValueError('"lang" is not a string')
    name = value.get("id", f"line-{number}")
    if isinstance(name, bool) or not isinstance(name, str | int):
        raise ValueError('"id" is neither a string nor a whole number')
    return Line(number, name, text, language, value)


def classify(
    source: TextIO,
    sink: TextIO,
    errors: TextIO,
    classifier: Classifier,
    *,
    plain: bool,
    language: str = "en",
) -> int:
    """Write one assessment a line, in input order. Returns 1 when there were bad lines, else 0.

    ``language`` (``nl`` or ``en``) is that of the sentence that says why.
    """
    status = 0
    batch: list[Line] = []
    for line in read_lines(source, errors, plain=plain):
        if line is None:
            status = 1
            continue
        batch.append(line)
        if len(batch) == BATCH:
            _classify(batch, sink, classifier, language)
            batch.clear()
    _classify(batch, sink, classifier, language)
    return status


def _classify(batch: Sequence[Line], sink: TextIO, classifier: Classifier, language: str) -> None:
    opinions = classifier.classify([Text(line.text, line.language) for line in batch])
    sink.writelines(
        json.dumps(to_contract(opinion, line.id, language=language), ensure_ascii=False) + "\n"
        for line, opinion in zip(batch, opinions, strict=True)
    )
    sink.flush()


def match(source: TextIO, sink: TextIO, errors: TextIO, query: Query, *, plain: bool) -> int:
    """Write the posts that match, with what was found; a count on ``errors`` at the end."""
    status = total = found = 0
    for line in read_lines(source, errors, plain=plain):
        if line is None:
            status = 1
            continue
        total += 1
        author = line.fields.get("author")
        hit = query.match(line.text, author=author if isinstance(author, str) else None)
        if hit is None:
            continue
        found += 1
        answer = {
            "id": line.id,
            "matched": list(hit.terms),
            "spans": [list(span) for span in hit.spans],
            "text": line.text,
        }
        sink.write(json.dumps(answer, ensure_ascii=False) + "\n")
    errors.write(f"{found} of {total} posts match\n")
    return status
