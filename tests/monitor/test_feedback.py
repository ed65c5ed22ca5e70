"""People's judgements: kept, only ever added, gone with their post; and what is measured by them."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from alerts.rules import signals_of
from classifiers.base import (
    AbuseLabel,
    Assessment,
    Confidence,
    Finding,
    Leak,
    LeakBand,
    LeakCategory,
    LeakThresholds,
    SentimentLabel,
)
from monitor.commands import reviewing
from monitor.commands.evaluating import Answer, Case, as_json, measure, read_cases
from monitor.commands.figures import page
from monitor.store import Store
from monitor.store.feedback import Judgement, Verdict
from tests.alerts.make import assessment, mention
from tests.monitor.commandline import merkwacht
from tests.monitor.make import NOON, fresh_store, new_mention, sql
from tests.monitor.test_cli import VALID

DAY = timedelta(days=1)
IBAN = "NL91ABNA0417164300"
SECRET_TEXT = f"Acme, rekening van @jansen is {IBAN} hoor ik net"


def leak(band: LeakBand, score: float, likely: LeakCategory, *findings: Finding) -> Leak:
    return Leak(band, score, likely, findings)


REVIEW = assessment(leak=leak(LeakBand.REVIEW, 0.52, LeakCategory.INTERNAL))
ESCALATED = assessment(leak=leak(LeakBand.ESCALATE, 0.9, LeakCategory.PRODUCT))
LOW = assessment()


def fill(store: Store, *opinions: Assessment, text: str = "Brood bij Acme.", day: int = 0) -> None:
    """A mention for each opinion, each a minute after the one before."""
    with store.write() as unit:
        start = unit.mentions.total()
        items = [
            new_mention(
                start + n,
                at=NOON - day * DAY + timedelta(minutes=start + n),
                text=text,
                brand="Acme",
            )
            for n in range(len(opinions))
        ]
        unit.mentions.add(items, NOON + DAY)
        waiting = [queued.mention.id for queued in unit.mentions.queue(100)]
        unit.mentions.assess(dict(zip(waiting, opinions, strict=True)), "v1", NOON)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = fresh_store(tmp_path)
    yield made
    made.close()


def say(store: Store, mention_id: int, verdict: str, **words: Any) -> str:
    word = reviewing.judgement(mention_id, verdict, by="anna", now=NOON, **words)
    return reviewing.judge_one(store, word)


def waiting(store: Store, *, escalated: bool = False) -> list[int]:
    with store.read() as unit:
        found = unit.feedback.waiting(50, escalated=escalated)
        count = sum(unit.feedback.count_waiting(escalated=escalated).values())
    assert count == len(found)
    return [each.id for each, _ in found]


# -- bands in the store ----------------------------------------------------------------------------


@pytest.mark.parametrize("opinion", [REVIEW, ESCALATED, LOW], ids=["review", "escalated", "low"])
def test_band_and_likely_category_come_back_as_they_were(store: Store, opinion: Assessment) -> None:
    fill(store, opinion)
    with store.read() as unit:
        ((_, kept),) = unit.mentions.each(None, None)
    assert kept is not None
    assert kept.leak == opinion.leak


def test_the_band_of_review_wakes_nobody() -> None:
    assert signals_of(mention(), REVIEW) == []
    assert signals_of(mention(), ESCALATED) != []


# -- what waits ------------------------------------------------------------------------------------


def test_what_waits_is_in_review_and_not_judged_newest_first(store: Store) -> None:
    fill(store, REVIEW, LOW, ESCALATED, REVIEW, REVIEW)
    assert waiting(store) == [5, 4, 1]
    assert waiting(store, escalated=True) == [5, 4, 3, 1]
    say(store, 4, "no-leak")
    assert waiting(store) == [5, 1]
    say(store, 4, "undo")
    assert waiting(store) == [5, 4, 1]


def test_only_the_latest_assessment_puts_a_mention_up_for_review(store: Store) -> None:
    fill(store, REVIEW)
    with store.write() as unit:
        ((one, _),) = unit.mentions.each(None, None)
        unit.mentions.assess({one.id: LOW}, "v2", NOON)
    assert waiting(store) == []


def test_an_own_account_is_not_put_up_for_review(store: Store) -> None:
    fill(store, REVIEW)
    sql(store.path, "UPDATE mention SET official = 1")
    assert waiting(store, escalated=True) == []


def test_a_listing_is_masked_and_says_nothing_of_authors(store: Store) -> None:
    start = SECRET_TEXT.index(IBAN)
    found = Finding("iban", LeakCategory.PERSONAL_DATA, start, start + len(IBAN), Confidence.MEDIUM)
    opinion = assessment(leak=leak(LeakBand.REVIEW, 0.6, LeakCategory.PERSONAL_DATA, found))
    fill(store, opinion, text=SECRET_TEXT)
    sql(store.path, "UPDATE mention SET author = 'pseudonym77', url = 'https://x.example/jansen/1'")
    for as_json_lines in (False, True):
        sink = io.StringIO()
        shown = reviewing.show_waiting(
            store,
            sink,
            language="nl",
            timezone="Europe/Amsterdam",
            limit=5,
            escalated=False,
            as_json=as_json_lines,
        )
        assert shown == (1, 1)
        for planted in (IBAN, "0417164300", "jansen", "pseudonym77"):
            assert planted not in sink.getvalue()
        assert "[IBAN …00]" in sink.getvalue()
        assert "te onzeker" in " ".join(sink.getvalue().split())
        if not as_json_lines:
            assert all(len(line) <= 80 for line in sink.getvalue().splitlines())


# -- judging ---------------------------------------------------------------------------------------


def test_a_judgement_remembers_what_it_judged(store: Store) -> None:
    fill(store, REVIEW)
    say(store, 1, "leak", category="internal", sentiment="negative", abuse="none", note="it\nis")
    with store.read() as unit:
        kept = unit.feedback.of(1)
    assert kept == Judgement(
        1,
        Verdict.LEAK,
        "anna",
        NOON,
        LeakCategory.INTERNAL,
        SentimentLabel.NEGATIVE,
        AbuseLabel.NONE,
        "it is",
        "v1",
        LeakBand.REVIEW,
        0.52,
    )


def test_the_newest_judgement_counts_and_none_is_lost(store: Store) -> None:
    fill(store, REVIEW)
    assert "replaces" not in say(store, 1, "leak")
    assert "replaces leak by anna" in say(store, 1, "no-leak")
    assert "not judged again" in say(store, 1, "undo")
    with store.read() as unit:
        assert unit.feedback.of(1) is None
        assert [each.verdict for each in unit.feedback.history(1)] == [
            Verdict.LEAK,
            Verdict.NO_LEAK,
            Verdict.WITHDRAWN,
        ]
        assert list(unit.feedback.judged(None, None)) == []
    with pytest.raises(LookupError, match="has not been judged"):
        say(store, 1, "undo")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"verdict": "maybe"}, "say leak or no-leak"),
        ({"verdict": "no-leak", "category": "internal"}, "no category"),
        ({"verdict": "leak", "category": "none"}, "never of category"),
        ({"verdict": "leak", "category": "gossip"}, "allowed: none, credentials"),
        ({"verdict": "leak", "sentiment": "angry"}, "allowed: negative"),
        ({"verdict": "undo", "abuse": "none"}, "leave out the labels"),
        ({"verdict": "leak", "note": "x" * 2000}, "at most 1000"),
    ],
)
def test_words_that_make_no_sense_are_refused(words: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        reviewing.judgement(1, by="anna", now=NOON, **words)


def test_a_mention_that_is_not_there_cannot_be_judged(store: Store) -> None:
    with pytest.raises(LookupError, match="no mention 9"):
        say(store, 9, "leak")
    for number in (0, -1, 2**70):
        with pytest.raises(ValueError, match="no mention"):
            say(store, number, "leak")


def test_of_many_lines_the_good_ones_are_kept_and_the_bad_ones_named(store: Store) -> None:
    fill(store, REVIEW, REVIEW, REVIEW)
    sink = io.StringIO()
    reviewing.show_waiting(
        store,
        sink,
        language="en",
        timezone="UTC",
        limit=1,
        escalated=False,
        as_json=True,
    )
    listed = json.loads(sink.getvalue()) | {"verdict": "no-leak"}
    lines = [
        json.dumps(listed),
        '{"id": 1, "verdict": "leak", "by": "\\ud800bert"}',
        "",
        "nonsense",
        '{"id": 77, "verdict": "leak"}',
        '{"id": 2, "verdict": "leak", "categorie": "internal"}',
        '{"id": true, "verdict": "leak"}',
        '{"id": 2}',
    ]
    errors = io.StringIO()
    done = reviewing.judge_many(store, io.StringIO("\n".join(lines)), errors, by="anna", now=NOON)
    assert done == (2, 5)
    told = [json.loads(line) for line in errors.getvalue().splitlines()]
    assert [each["line"] for each in told] == [4, 5, 6, 7, 8]
    assert 'unknown key "categorie"' in told[2]["error"]
    with store.read() as unit:
        judged = [(each.mention.id, each.judgement.by) for each in unit.feedback.judged(None, None)]
    assert judged == [(1, "?bert"), (3, "anna")]


def test_a_judgement_goes_with_its_post_and_never_keeps_it(store: Store) -> None:
    fill(store, REVIEW, REVIEW)
    say(store, 1, "leak")
    with store.write() as unit:
        assert unit.mentions.purge(NOON + timedelta(seconds=30), keep_states=["open"], limit=9) == 1
    assert sql(store.path, "SELECT count(*) FROM feedback") == [(0,)]
    assert waiting(store) == [2]


def test_judged_posts_are_chosen_by_publication(store: Store) -> None:
    fill(store, REVIEW, REVIEW)
    say(store, 1, "leak")
    say(store, 2, "leak")
    with store.write() as unit:
        ((first, _), _) = unit.mentions.each(None, None)
        unit.mentions.assess({first.id: LOW}, "v2", NOON)
    with store.read() as unit:
        late = list(unit.feedback.judged(NOON + timedelta(minutes=1), None))
        early = list(unit.feedback.judged(None, NOON + timedelta(minutes=1)))
    assert [each.mention.id for each in late] == [2]
    assert [each.mention.id for each in early] == [1]
    assert early[0].assessment is not None
    assert early[0].assessment.leak.band is LeakBand.REVIEW, "the one that was judged"


# -- measuring -------------------------------------------------------------------------------------

BALANCED = LeakThresholds(review=0.4, escalate=0.8)
POINTS = {
    "strict": LeakThresholds(review=0.6, escalate=0.95),
    "balanced": BALANCED,
    "wide": LeakThresholds(review=0.2, escalate=0.5),
}
KEY = Finding("password", LeakCategory.CREDENTIALS, 0, 3, Confidence.HIGH)


def answer(
    escalate: bool,
    score: float,
    *findings: Finding,
    category: LeakCategory | None = LeakCategory.PRODUCT,
    language: str = "nl",
) -> Answer:
    band = BALANCED.band(score)
    likely = LeakCategory.NONE if band is LeakBand.LOW else LeakCategory.PRODUCT
    return Answer(
        Case("x", language, escalate, category if escalate else None),
        assessment(leak=leak(band, score, likely, *findings), language=language),
    )


def measured(answers: list[Answer], *, selected: bool = False) -> Any:
    return measure(answers, version="v", thresholds=BALANCED, points=POINTS, selected=selected)


def test_figures_are_what_counting_gives() -> None:
    report = measured(
        [
            answer(True, 0.9),
            answer(True, 0.5, language="en"),
            answer(True, 0.1, category=LeakCategory.INTERNAL),
            answer(False, 0.85),
            answer(False, 0.45, language="en"),
            answer(False, 0.01, language="de"),
        ]
    )
    overall = report.leak["all"]
    assert set(report.leak) == {"all", "nl", "en", "other"}
    assert (overall.posts, overall.leaks) == (6, 3)
    assert (overall.precision.hits, overall.precision.of) == (1, 2)
    assert (overall.recall.hits, overall.recall.of) == (1, 3)
    assert (overall.recall_with_review.hits, overall.recall_with_review.of) == (2, 3)
    assert (overall.false_alarms.hits, overall.false_alarms.of) == (1, 3)
    assert overall.false_reviews.hits == 1
    assert overall.average_precision == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)
    product = report.categories[LeakCategory.PRODUCT]
    assert (product.found.hits, product.found.of) == (1, 2)
    assert (product.named.hits, product.named.of) == (2, 2)
    assert report.confusion[LeakCategory.INTERNAL, LeakCategory.NONE] == 1
    wide = next(each for each in report.settings if each.name == "wide")
    assert (wide.woken, wide.found, wide.false_alarms, wide.reviewed) == (3, 2, 1, 1)


def test_evidence_that_is_enough_alone_wakes_at_any_sensitivity() -> None:
    report = measured([answer(True, 0.91, KEY)])
    assert {each.name: each.found for each in report.settings} == {
        "strict": 1,
        "balanced": 1,
        "wide": 1,
    }


def test_a_threshold_is_suggested_only_where_there_is_enough_to_say_so() -> None:
    few = [answer(True, 0.7) for _ in range(19)] + [answer(False, 0.1) for _ in range(40)]
    assert measured(few).suggestion is None
    enough = [*few, answer(True, 0.7)]
    suggestion = measured(enough).suggestion
    assert suggestion is not None
    assert 0.1 < suggestion.threshold <= 0.7
    assert (suggestion.mistakes, suggestion.mistakes_now) == (0, 20)
    good = [answer(True, 0.9) for _ in range(20)] + [answer(False, 0.1) for _ in range(40)]
    assert measured(good).suggestion is None


def test_a_page_fits_a_terminal_and_is_honest_about_few_posts() -> None:
    answers = [
        answer(
            n >= 240 or n % 90 == 0,
            n / 400,
            category=list(LeakCategory)[1 + n % 7],
            language=["nl", "en"][n % 3 > 0],
        )
        for n in range(400)
    ]
    text = page(measured(answers))
    assert max(map(len, text.splitlines())) <= 80
    assert "too few" not in text
    assert "Suggestion" in text
    few = page(measured(answers[:3], selected=True))
    assert "too few" in few
    assert "upper bound" in few
    assert max(map(len, few.splitlines())) <= 80
    assert page(measured([]))


def test_figures_are_json() -> None:
    value = json.loads(json.dumps(as_json(measured([answer(True, 0.9), answer(False, 0.1)]))))
    assert value["few"] is True
    assert value["leak"]["all"]["precision"]["value"] == 1.0
    assert value["confusion"] == {"product": {"product": 1}, "none": {"none": 1}}
    assert {each["name"] for each in value["settings"]} == set(POINTS)


def test_a_file_of_labels_is_read_line_by_line(tmp_path: Path) -> None:
    file = tmp_path / "labels.jsonl"
    lines = [
        '\ufeff{"text": "a", "category": "internal"}',
        '{"text": "b", "escalate": false, "category": "none", "sentiment": "neutral"}',
        '{"text": "c", "escalate": true, "category": "none"}',
        '{"escalate": true}',
        '{"text": "d", "abuse": "rude"}',
        '{"text": "d"}',
        "",
        '{"text": "e", "abuse": "threat"}',
    ]
    file.write_text("\n".join(lines), encoding="utf-8")
    errors = io.StringIO()
    seen: list[int] = []
    cases, bad = read_cases(file, errors, seen.append)
    assert [(each.text, each.escalate) for each in cases] == [
        ("a", True),
        ("b", False),
        ("e", None),
    ]
    assert cases[0].category is LeakCategory.INTERNAL
    assert bad == 4
    assert [json.loads(line)["line"] for line in errors.getvalue().splitlines()] == [3, 4, 5, 6]
    assert seen[-1] == file.stat().st_size


# -- the commands ----------------------------------------------------------------------------------


def test_review_feedback_and_evaluate_work_together(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(VALID.read_text())
    made = Store(tmp_path / "merkwacht.db")
    fill(made, REVIEW, ESCALATED, LOW, text="acme verhoogt de prijs van brood")
    made.close()

    done = merkwacht("review", "--json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (item,) = map(json.loads, done.stdout.splitlines())
    assert (item["id"], item["likely"]) == (1, "internal")
    assert "1 of 1 shown" in done.stderr

    done = merkwacht(
        "feedback", "1", "leak", "--category", "internal", "--by", "anna", folder=tmp_path
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert "mention 1 is judged: leak" in done.stderr
    assert "Nothing waits" in merkwacht("review", folder=tmp_path).stderr
    lines = (
        '{"id": 2, "verdict": "no-leak", "sentiment": "negative"}\n{"id": 8, "verdict": "leak"}\n'
    )
    done = merkwacht("feedback", folder=tmp_path, given=lines)
    assert done.returncode == 1
    assert "1 judgements kept, 1 lines refused" in done.stderr

    done = merkwacht("evaluate", "--stored", "--format", "json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    assert value["leak"]["all"]["recall_with_review"]["hits"] == 1
    assert value["leak"]["all"]["false_alarms"]["hits"] == 1
    assert value["sentiment"]["all"]["posts"] == 1

    done = merkwacht("evaluate", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "2 posts judged, against merkwacht-" in done.stdout
    assert "too few" in done.stdout

    done = merkwacht("feedback", "1", "--undo", folder=tmp_path)
    assert "not judged again" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("feedback", "1"), "say either leak, no-leak or --undo"),
        (("feedback", "1", "leak", "--undo"), "say either leak, no-leak or --undo"),
        (("feedback", "1", "no-leak", "--category", "internal"), "no category"),
        (("feedback", "1", "leak", "--by", " "), "say --by NAME"),
        (("feedback", "--undo"), "each line says all of this itself"),
        (("evaluate", "nowhere.jsonl"), "no such file"),
        (("evaluate", "config.toml", "--stored"), "not for a file"),
    ],
)
def test_wrong_usage_is_told(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(VALID.read_text())
    done = merkwacht(*arguments, folder=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr


def test_evaluate_measures_a_file_without_any_configuration(tmp_path: Path) -> None:
    (tmp_path / "labels.jsonl").write_text(
        json.dumps({"text": "de kassacode is 4471, wachtwoord Fietsbel!22", "escalate": True})
        + "\n"
        + json.dumps({"text": "lekker brood", "escalate": False, "sentiment": "positive"})
        + "\n[]\n"
    )
    done = merkwacht("evaluate", "labels.jsonl", folder=tmp_path)
    assert done.returncode == 1
    assert json.loads(done.stderr.splitlines()[0])["line"] == 3
    assert "2 posts judged" in done.stdout
    assert "balanced *" in done.stdout
    assert "Sentiment" in done.stdout
    assert "upper bound" not in done.stdout
    assert not (tmp_path / "merkwacht.db").exists()


@pytest.mark.parametrize("content", ["", '{"text": "lekker brood"}\n'])
def test_a_file_without_labels_is_no_measurement(tmp_path: Path, content: str) -> None:
    (tmp_path / "labels.jsonl").write_text(content)
    done = merkwacht("evaluate", "labels.jsonl", folder=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "no labelled posts" in done.stderr


def test_check_says_what_the_sensitivity_costs(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        VALID.read_text() + "\n[classifiers]\nleak_sensitivity='wide'\n"
    )
    done = merkwacht("check", folder=tmp_path)
    assert done.returncode == 0
    _, line, spikes = done.stderr.splitlines()[:3]
    assert spikes.startswith("spikes: balanced (")
    assert "times a month" in spikes
    assert line.startswith("leaks: wide, people are woken from 0.")
    (tmp_path / "config.toml").write_text(
        VALID.read_text() + "\n[classifiers]\nleak_threshold=0.33\n"
    )
    done = merkwacht("check", folder=tmp_path)
    assert "thresholds of your own, people are woken from 0.33" in done.stderr
    (tmp_path / "config.toml").write_text(
        VALID.read_text() + "\n[classifiers]\nreview_threshold=0.9999\n"
    )
    done = merkwacht("check", folder=tmp_path)
    assert done.returncode == 2
    assert "the leak_threshold that balanced stands for" in done.stderr


def test_classify_says_why_in_the_language_asked_for() -> None:
    given = "let op het wachtwoord van de kassa is Fietsbel!2291"
    done = merkwacht("classify", "--plain", "--language", "nl", given=given)
    why = json.loads(done.stdout)["leak"]["why"]
    assert "een wachtwoord" in why.lower()
    assert "Fietsbel" not in done.stdout
