"""The order in which silences, crises and quiet hours are asked, and their one answer."""

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.base import Event, Reason, Severity, SignalKind
from alerts.grouping import News, news_of
from alerts.holding import Circumstances, Ruled, Ruling, rule_on
from alerts.quiet import QuietOptions
from alerts.silences import Crisis, Silence, Target
from alerts.worktime import Calendar, OfficeOptions
from tests.alerts.make import incident

NIGHT = datetime(2026, 11, 13, 22, 30, tzinfo=UTC)
MORNING = datetime(2026, 11, 14, 6, 0, tzinfo=UTC)
OFFICE = Calendar(OfficeOptions())
SILENCE = Silence(4, "Bram", "drill", NIGHT, NIGHT + timedelta(hours=2), kind=SignalKind.ABUSE)
CRISIS = Crisis(7, "Zonnehoek", Severity.HIGH, frozenset({1, 2}), frozenset({"webcare"}))
TARGET = Target(
    "Zonnehoek",
    SignalKind.ABUSE,
    Severity.LOW,
    frozenset({"x"}),
    frozenset({"day"}),
    frozenset({2}),
)


def some(event: Event = Event.OPENED, reason: Reason | None = None) -> News:
    return news_of(
        incident(SignalKind.ABUSE, severity=Severity.LOW),
        event,
        receiver="webcare",
        channel="mail",
        reason=reason or Reason(event.value),
        now=NIGHT,
    )


def rule(
    news: News,
    *,
    silenced: bool = False,
    crisis: bool = False,
    quiet: bool = False,
    told_at: datetime | None = None,
) -> Ruled:
    around = Circumstances(OFFICE, [SILENCE] if silenced else [], [CRISIS] if crisis else [])
    return rule_on(
        news,
        TARGET,
        around,
        quiet=QuietOptions() if quiet else None,
        told_at=told_at,
        now=NIGHT,
    )


def test_what_nothing_holds_back_is_told_with_its_own_reason():
    found = rule(some(Event.WORSENED))

    assert (found.ruling, found.reason, found.until) == (Ruling.TELL, Reason.WORSENED, None)


def test_a_silence_goes_before_a_crisis_and_both_before_quiet_hours():
    everything = rule(some(), silenced=True, crisis=True, quiet=True)
    crisis = rule(some(), crisis=True, quiet=True)
    quiet = rule(some(), quiet=True)

    assert (everything.reason, everything.until) == (Reason.SILENCED, SILENCE.ends_at)
    assert everything.because == "silence 4 of Bram: drill"
    assert (crisis.reason, crisis.because) == (Reason.PART_OF_CRISIS, "incident 7")
    assert (quiet.ruling, quiet.reason, quiet.until) == (Ruling.KEEP, Reason.QUIET_HOURS, MORNING)
    assert quiet.news.not_before == MORNING


def test_an_all_clear_and_that_somebody_took_it_are_never_muted():
    for news in (some(Event.RESOLVED), some(Event.CONTINUES, Reason.TAKEN)):
        assert rule(news, silenced=True, crisis=True).ruling is Ruling.TELL
        assert rule(news, silenced=True, quiet=True).ruling is Ruling.KEEP
        woken = rule(news, quiet=True, told_at=NIGHT - timedelta(minutes=5))
        assert woken.ruling is Ruling.TELL


@given(
    st.sampled_from(Event),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.none() | st.integers(-600, 0),
)
@settings(deadline=None)
def test_every_piece_of_news_has_one_ruling_with_a_reason_that_fits(
    event, silenced, crisis, quiet, told
):
    told_at = None if told is None else NIGHT + timedelta(minutes=told)
    found = rule(some(event), silenced=silenced, crisis=crisis, quiet=quiet, told_at=told_at)

    muting = {Reason.SILENCED, Reason.PART_OF_CRISIS}
    assert (found.reason in muting) == (found.ruling is Ruling.MUTE)
    assert (found.reason is Reason.QUIET_HOURS) == (found.ruling is Ruling.KEEP)
    assert (found.news.not_before is not None) == (found.ruling is Ruling.KEEP)
    if event is Event.RESOLVED:
        assert found.ruling is not Ruling.MUTE
