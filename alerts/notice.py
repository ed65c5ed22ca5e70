"""A message as plain text or Markdown for any service, as much of it as fits.

Pure. Services differ in how much they take, from a text message to a mail; what matters least goes
first. The texts of posts are untrusted: nothing in them mentions, links or formats.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from alerts.base import Event, Message, Sample
from alerts.chart import chart_line
from alerts.harmless import harmless
from alerts.message import heading, reference, sample_line, since_line
from alerts.plain import one_line, shorten
from alerts.words import words

_SUMMARIES = (1000, 400, 200, 120, 80, 50, 30, 15)
"""Characters of the summary to try, where nothing else is left to leave out."""
_TITLES = (200, 100, 60, 40, 20)
_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+\-.!|~=&])")


class Style(StrEnum):
    """What the text is written in."""

    TEXT = "text"
    MARKDOWN = "markdown"


@dataclass(frozen=True, slots=True)
class Notice:
    """What is handed to a service."""

    title: str
    body: str


def notice(
    message: Message, key: str, style: Style, fits: Callable[[Notice], bool] = lambda _: True
) -> Notice:
    """The fullest form of a message that fits; at the least its title and its reference.

    Args:
        message: what to say, in its own language.
        key: idempotency key, shown at the end of every form.
        style: what the body is written in; the title is plain in either.
        fits: whether a service takes this much.
    """
    form = Notice("", "")
    for form in _Writer(message, key, style).forms():
        if fits(form):
            break
    return form


def dressed(text: str, style: Style) -> str:
    """Text that has been made harmless, so that it also formats nothing."""
    return text if style is Style.TEXT else _SPECIAL.sub(r"\\\1", text)


@dataclass(frozen=True, slots=True)
class _Writer:
    message: Message
    key: str
    style: Style

    def forms(self) -> Iterator[Notice]:
        """From all there is to say to hardly anything."""
        title = shorten(harmless(one_line(heading(self.message))), _TITLES[0])
        head, samples = self._head(), self._samples()
        actions, why, foot = self._actions(), self._why(), self._foot()
        for parts in (
            (head, samples, actions, why),
            (head, samples, actions),
            (head, samples[:2], actions),
            (head, actions),
            (head,),
        ):
            paragraphs = [paragraph for part in parts for paragraph in part if paragraph]
            yield Notice(title, "\n\n".join([*paragraphs, foot]))
        short = self._untrusted(one_line(self.key))
        for limit in _SUMMARIES:
            yield Notice(title, f"{self._untrusted(self.message.summary, limit)}\n{short}")
        for limit in _TITLES:
            yield Notice(shorten(title, limit), short)

    def _head(self) -> list[str]:
        message, catalogue = self.message, words(self.message.language)
        lines = [f"{catalogue.text('label.since')} {self._untrusted(since_line(message))}"]
        if message.chart is not None:
            lines.append(self._untrusted(chart_line(message.chart, language=message.language)))
        if message.link:
            lines.append(f"{catalogue.text('label.open')}: {self._link(message.link)}")
        return [self._untrusted(message.summary), self._lines(lines)]

    def _samples(self) -> list[str]:
        message, catalogue = self.message, words(self.message.language)
        if not message.samples:
            return []
        one = len(message.samples) == 1 and not message.more_samples
        label = catalogue.text("label.sample" if one else "label.samples")
        shown = [self._label(label), *(self._sample(each) for each in message.samples)]
        if message.more_samples:
            shown.append(f"… {catalogue.count('label.more', message.more_samples)}")
        return shown

    def _sample(self, sample: Sample) -> str:
        lines = [
            self._quote(self._untrusted(one_line(sample.text, 2000))),
            self._untrusted(one_line(sample_line(sample, self.message))),
        ]
        if sample.url:
            lines.append(self._link(sample.url))
        return self._lines(lines)

    def _actions(self) -> list[str]:
        message, catalogue = self.message, words(self.message.language)
        if not message.actions:
            return []
        over = message.event is Event.RESOLVED
        label = catalogue.text("label.aftercare" if over else "label.actions")
        numbered = [
            f"{place}. {self._untrusted(one_line(action, 1000))}"
            for place, action in enumerate(message.actions, start=1)
        ]
        return [self._label(label), "\n".join(numbered)]

    def _why(self) -> list[str]:
        if not self.message.why:
            return []
        label = words(self.message.language).text("label.why")
        reasons = [
            f"- {self._untrusted(one_line(name))}: {self._untrusted(one_line(value, 600))}"
            for name, value in self.message.why
        ]
        return [self._label(label), "\n".join(reasons)]

    def _foot(self) -> str:
        message, catalogue = self.message, words(self.message.language)
        parts = [f"Merkwacht · {reference(message)}"]
        if message.samples:
            parts.append(catalogue.text("label.masked").rstrip("."))
        parts.append(catalogue.text("label.times", timezone=message.timezone).rstrip("."))
        parts.append(catalogue.text("label.key", key=one_line(self.key, 300)))
        return self._untrusted(" · ".join(parts))

    def _untrusted(self, text: str, limit: int = 2000) -> str:
        return dressed(harmless(text, limit), self.style)

    def _link(self, url: str) -> str:
        """An address: ours, or that of a post, which was checked to be one when it was written."""
        if self.style is Style.TEXT:
            return url
        # Round brackets and angles would end it early.
        for char, code in (("(", "%28"), (")", "%29"), ("<", "%3C"), (">", "%3E"), ("\\", "%5C")):
            url = url.replace(char, code)
        return f"<{url}>"

    def _label(self, text: str) -> str:
        return f"**{self._untrusted(text)}**" if self.style is Style.MARKDOWN else text.upper()

    def _quote(self, text: str) -> str:
        return f"> {text}\n" if self.style is Style.MARKDOWN else f"“{text}”"

    def _lines(self, lines: list[str]) -> str:
        return "\n".join(line for line in lines if line)
