"""The figures of ``evaluate`` as a page that reads well on a terminal of 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from classifiers.base import LeakCategory
from classifiers.scoring import Share
from monitor.commands.evaluating import FEW, LabelFigures, LeakFigures, Report, Setting

WIDTH: Final = 78
_DASH: Final = "–"
_SHORT: Final[Mapping[LeakCategory, str]] = {
    LeakCategory.NONE: "none",
    LeakCategory.CREDENTIALS: "cred",
    LeakCategory.PERSONAL_DATA: "pers",
    LeakCategory.FINANCIAL: "fin",
    LeakCategory.PRODUCT: "prod",
    LeakCategory.TRADE_SECRET: "trade",
    LeakCategory.INTERNAL: "int",
    LeakCategory.SECURITY: "sec",
}


def page(report: Report) -> str:
    """All figures, section by section; what was not judged is left out."""
    parts = [_head(report)]
    if report.leak:
        parts += [_leaks(report), _categories(report), _confusion(report), _settings(report)]
    if report.sentiment:
        parts.append(_labels("Sentiment", report.sentiment))
    if report.abuse:
        found = f"Abusive or threatening posts that are found: {_with_interval(report.abuse_found)}"
        parts.append(f"{_labels('Abuse', report.abuse)}\n{found}")
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(report: Report) -> str:
    lines = [f"{_posts(report.posts)} judged, against {report.version}"]
    if report.posts < FEW:
        lines += _filled(
            f"That is too few to say much (fewer than {FEW}): look at the intervals, not at the "
            "figures, and judge more posts first (merkwacht review)."
        )
    if report.selected:
        lines += _filled(
            "These posts were chosen for judging, mostly because they were suspected. Precision "
            "holds for what people judged; recall is an upper bound, as a leak that nobody saw is "
            "not among them; false alarms are of the judged ordinary posts, not of all."
        )
    return "\n".join(lines)


def _leaks(report: Report) -> str:
    rows = [("", "posts", "leaks", "precision", "recall", "with review", "AP")]
    for name, figures in report.leak.items():
        rows.append(
            (
                name,
                str(figures.posts),
                str(figures.leaks),
                _with_interval(figures.precision),
                _with_interval(figures.recall),
                _plain(figures.recall_with_review.value),
                _plain(figures.average_precision),
            )
        )
    lines = ["Leaks (95 % intervals in brackets; AP: average precision)", *_table(rows)]
    lines += [*_ordinary(report.leak["all"], selected=report.selected)]
    return "\n".join(lines)


def _ordinary(figures: LeakFigures, *, selected: bool) -> Iterable[str]:
    woken, reviewed = figures.false_alarms, figures.false_reviews
    if not woken.of:
        return []
    text = (
        f"False alarms: {woken.hits} of {_posts(woken.of, 'ordinary ')} would wake people, "
        f"{reviewed.hits} would be put up for review"
    )
    if not selected:  # of suspected posts a rate says nothing about a day's posts
        text += f"; of 1,000 that is {_thousand(woken)} and {_thousand(reviewed)}"
    return _filled(f"{text}.")


def _categories(report: Report) -> str:
    rows = [("", "leaks", "found", "named right", "right when named")]
    for category, figures in report.categories.items():
        if figures.found.of or figures.right.of:
            rows.append(
                (
                    category.value,
                    str(figures.found.of),
                    _with_interval(figures.found),
                    _with_count(figures.named),
                    _with_count(figures.right),
                )
            )
    if len(rows) == 1:
        return ""
    return "\n".join(["Categories of leaks (found: would wake people)", *_table(rows)])


def _confusion(report: Report) -> str:
    pairs = [pair for pair, count in report.confusion.items() if count]
    are = [category for category in LeakCategory if any(category is true for true, _ in pairs)]
    given = [category for category in LeakCategory if any(category is said for _, said in pairs)]
    if len({*are, *given}) < 2:  # noqa: PLR2004 - nothing to confuse
        return ""
    rows: list[Sequence[str]] = [("", *(_SHORT[category] for category in given))]
    for true in are:
        cells = (report.confusion.get((true, said), 0) for said in given)
        rows.append((true.value, *(str(count) if count else "·" for count in cells)))
    title = "Rows: what people say it is. Columns: what it is taken for, review included"
    return "\n".join([title, *_table(rows)])


def _settings(report: Report) -> str:
    leaks = report.leak["all"].leaks
    rows = [("", "escalate", "review", "wakes for", "leaks found", "false alarms", "reviews")]
    rows += [
        (
            each.name + (" *" if each.in_use else ""),
            f"{each.thresholds.escalate:.3f}",
            f"{each.thresholds.review:.3f}",
            str(each.woken),
            f"{each.found} of {leaks}",
            str(each.false_alarms),
            str(each.reviewed),
        )
        for each in report.settings
    ]
    lines = ["What each sensitivity would have done on these posts (* in use)", *_table(rows)]
    lines += [line for each in report.settings for line in _filled(_sentence(each, leaks), "  ")]
    if report.suggestion is not None:
        one = report.suggestion
        lines += _filled(
            f"Suggestion: leak_threshold = {one.threshold} would have misjudged "
            f"{_posts(one.mistakes)} instead of {one.mistakes_now}. It is tuned on these very posts, "
            "and nothing changes unless you write it into the configuration."
        )
    return "\n".join(lines)


def _sentence(setting: Setting, leaks: int) -> str:
    missed = leaks - setting.found
    alarms = (
        "no false alarm" if not setting.false_alarms else f"{setting.false_alarms} false alarms"
    )
    if setting.false_alarms == 1:
        alarms = "1 false alarm"
    misses = "no leak missed" if not missed else f"{missed} of {leaks} leaks not woken for"
    looks = f"{_posts(setting.reviewed)} for a person to look at"
    return f"{setting.name}: {alarms}, {misses}, {looks}."


def _labels(title: str, groups: Mapping[str, LabelFigures]) -> str:
    rows = [("", "posts", "accuracy", "macro F1", "macro recall")]
    for name, figures in groups.items():
        rows.append(
            (
                name,
                str(figures.posts),
                _plain(figures.accuracy),
                _plain(figures.macro_f1),
                _plain(figures.macro_recall),
            )
        )
    return "\n".join([title, *_table(rows)])


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as needed, the first to the left, all others to the right."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return [
        "  "
        + "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _filled(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent + "  ")


def _plain(value: float | None) -> str:
    return _DASH if value is None else f"{value:.3f}".removeprefix("0")


def _with_interval(share: Share) -> str:
    interval = share.interval
    if interval is None:
        return _DASH
    low, high = (f"{end:.2f}".removeprefix("0") for end in interval)
    return f"{_plain(share.value)} [{low}, {high}]"


def _with_count(share: Share) -> str:
    return f"{share.hits} of {share.of}" if share.of else _DASH


def _thousand(share: Share) -> str:
    interval = share.interval
    if interval is None or share.value is None:
        return _DASH
    low, high = (f"{1000 * end:.1f}" for end in interval)
    return f"{1000 * share.value:.1f} [{low}, {high}]"


def _posts(count: int, sort: str = "") -> str:
    return f"{count:,} {sort}post{'' if count == 1 else 's'}"
