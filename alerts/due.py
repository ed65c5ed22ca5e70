"""What clocks and a chain ask for at a moment: the one turn that a watch takes and a rehearsal plays.

Whoever takes it keeps the history and tells people, each in its own way; what is due, in which order,
and what a breach comes to is decided here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from alerts.base import Reason
from alerts.clocks import Call, Clock, ClockOptions, plan_clock
from alerts.escalation import (
    ChainOptions,
    EscalationPlan,
    Page,
    Surroundings,
    page_breach,
    plan_escalation,
)
from alerts.history import Entry, Happened
from alerts.routes import ReceiverOptions, Via


class Stage(Protocol):
    """An incident on which a turn is taken."""

    def history(self) -> Sequence[Entry]:
        """Everything that happened to it so far, what this turn wrote down included."""
        ...

    def note(self, entry: Entry) -> None:
        """Write down that something happened."""
        ...

    def page(self, page: Page, call: Call | None) -> None:
        """Tell those of a step, or say why nobody is told. Its entries are written down already.

        Args:
            page: whom, why.
            call: the breach that asked for it; None: the chain did.
        """
        ...

    def remind(self, call: Call) -> None:
        """Tell those who were told of the incident what a clock says."""
        ...


def call_clocks(
    stage: Stage,
    clocks: Iterable[tuple[Clock, ClockOptions]],
    chain: ChainOptions | None,
    now: datetime,
    around: Surroundings,
    *,
    muted_until: datetime | None = None,
) -> datetime | None:
    """Reminders and breaches that are due. Returns when the next will be.

    A breach goes one level up the chain; where there is none, or no further, to those who were told.
    """
    moments = []
    for clock, options in clocks:
        planned = plan_clock(clock, options, stage.history(), now, muted_until=muted_until)
        moments.append(planned.next_at)
        for call in planned.calls:
            page = None
            if call.reason is Reason.BREACHED and chain is not None:
                page = page_breach(stage.history(), chain, now, around, key=call.key)
            if page is None:
                stage.note(Entry(now, Happened.TOLD, "", call.key, call.reason))
                stage.remind(call)
            else:
                _put_down(stage, page, call)
    return min((moment for moment in moments if moment is not None), default=None)


def ask_chain(
    stage: Stage,
    chain: ChainOptions,
    now: datetime,
    around: Surroundings,
    *,
    muted_until: datetime | None = None,
) -> EscalationPlan:
    """Whoever is next since nobody answered. Returns what was due, and when to ask again."""
    planned = plan_escalation(stage.history(), chain, now, around, muted_until=muted_until)
    for page in planned.pages:
        _put_down(stage, page, None)
    return planned


def _put_down(stage: Stage, page: Page, call: Call | None) -> None:
    for entry in page.entries():
        stage.note(entry)
    stage.page(page, call)


def ways(page: Page, receivers: Mapping[str, ReceiverOptions]) -> Iterator[tuple[str, Via]]:
    """Each receiver of a page with each of the channels that are used as a rule."""
    for name in page.receivers:
        for via in receivers[name].usual:
            yield name, via
