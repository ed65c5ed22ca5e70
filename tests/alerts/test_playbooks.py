"""Playbooks: every kind has one, in both languages, and the history says what was done."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from alerts.base import SignalKind
from alerts.history import Entry, Happened
from alerts.playbooks import (
    about,
    attached,
    find_step,
    is_confidential,
    key,
    names,
    playbook,
    playbook_of,
    ticks,
)

NOON = datetime(2026, 11, 9, 11, 0, tzinfo=UTC)


def line(what: Happened, page: str, minutes: int = 0, who: str = "eva") -> Entry:
    return Entry(NOON + timedelta(minutes=minutes), what, who, key(page))


@pytest.mark.parametrize("kind", SignalKind)
def test_every_kind_has_a_playbook(kind: SignalKind) -> None:
    for language in ("nl", "en"):
        assert playbook(playbook_of(kind), language).steps


@pytest.mark.parametrize("name", names())
def test_a_playbook_says_the_same_in_both_languages(name: str) -> None:
    dutch, english = playbook(name, "nl"), playbook(name, "en")
    assert [step.id for step in dutch.steps] == [step.id for step in english.steps]
    for one, other in zip(dutch.steps, english.steps, strict=True):
        assert one.text != other.text
        assert len(one.text.split()) >= 3
        assert ("incidents " in one.text) == ("incidents " in other.text)
    phases = [step.phase for step in dutch.steps]
    in_order = list(dict.fromkeys(phases))
    assert sorted(phases, key=in_order.index) == phases, "a phase is not left and entered again"


def test_a_crisis_asks_for_what_the_procedure_asks() -> None:
    steps = [step.id for step in playbook("crisis", "en").steps]
    wanted = ["convene", "stop_posts", "inside_first", "statement", "facts", "one_channel"]
    assert [step for step in steps if step.partition(".")[2] in wanted] == [
        f"crisis.{step}" for step in wanted
    ]
    assert steps[-2:] == ["crisis.evaluate", "crisis.lessons"]


def test_a_breach_goes_from_informing_to_a_measure_and_is_shown_to_few() -> None:
    found = playbook("employee", "en")
    assert list(dict.fromkeys(step.phase for step in found.steps)) == [
        "Inform", "Investigate", "Talk", "Measure",
    ]  # fmt: skip
    assert found.confidential
    assert is_confidential(key("employee.talk"))
    assert not is_confidential(key("crisis.convene"))
    assert not is_confidential("chain:1.1.1")
    assert [name for name in names() if playbook(name, "en").confidential] == ["employee"]


def test_a_tick_keeps_the_first_who_did_it_until_it_is_taken_back() -> None:
    history = [
        line(Happened.TICKED, "crisis.convene", 1, "eva"),
        line(Happened.TICKED, "crisis.convene", 2, "tom"),
        line(Happened.TICKED, "crisis.facts", 3, "tom"),
        line(Happened.UNTICKED, "crisis.facts", 4, "eva"),
    ]
    done = ticks(history)
    assert list(done) == ["crisis.convene"]
    assert (done["crisis.convene"].who, done["crisis.convene"].at) == (
        "eva",
        NOON + timedelta(minutes=1),
    )
    again = ticks([*history, line(Happened.TICKED, "crisis.facts", 5, "ada")])
    assert again["crisis.facts"].who == "ada"


def test_what_is_attached_comes_after_the_kinds_own_once() -> None:
    history = [line(Happened.PLAYBOOK, "employee"), line(Happened.PLAYBOOK, "employee", 1)]
    assert attached(SignalKind.LEAK, history) == ["leak", "employee"]
    assert attached(SignalKind.LEAK, []) == ["leak"]
    assert attached(SignalKind.LEAK, [line(Happened.PLAYBOOK, "gone since")]) == ["leak"]


def test_a_step_is_found_by_what_people_type() -> None:
    assert find_step("convene", ["crisis"]) == "crisis.convene"
    assert find_step("crisis.convene", ["crisis", "leak"]) == "crisis.convene"
    with pytest.raises(KeyError, match=r"crisis\.convene or leak\.convene"):
        find_step("convene", ["crisis", "leak"])
    with pytest.raises(KeyError, match=r"there are crisis\.read"):
        find_step("dance", ["crisis"])


def test_other_pages_are_about_no_playbook() -> None:
    assert about("chain:1.1.1") == ""
    assert about(key("crisis.facts")) == "crisis.facts"
