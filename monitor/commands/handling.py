"""The commands of those who handle incidents: ``incidents``, ``silence`` and ``routes``.

Parses, says what was done and gives exit statuses; the work is in the modules beside it.
"""

# Typer reads commands from signatures; a flag is a boolean with a default there.
# ruff: noqa: FBT002

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from monitor.commands import completing
from monitor.commands.frame import (
    EXIT_FAILURES,
    EXIT_USAGE,
    ConfigOption,
    actor,
    explained,
    fail,
    load,
    moment,
    opened,
    say,
    time_of,
)

if TYPE_CHECKING:
    from monitor.commands.incidents import By
    from monitor.config import Config
    from monitor.store import Store

incidents_app = typer.Typer(
    help="See what is going on, take it, and see it through.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
silence_app = typer.Typer(
    help="Mute what is known already, for a while and with a reason.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
routes_app = typer.Typer(
    help="Who would be told, and why not the others.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

IncidentArgument = Annotated[
    int, typer.Argument(help="Number of the incident.", autocompletion=completing.incidents)
]
WhoOption = Annotated[
    str, typer.Option("--as", "--by", help="Who does it.", show_default="the login name")
]
NoteOption = Annotated[str, typer.Option("--note", help="A word for the history.")]


class DossierFormat(StrEnum):
    """Formats of a dossier."""

    TEXT = "text"
    MD = "md"
    JSON = "json"


class PlanFormat(StrEnum):
    """Formats of a plan."""

    TEXT = "text"
    JSON = "json"


class Words(StrEnum):
    """Languages of dossiers."""

    NL = "nl"
    EN = "en"


# The words of ``alerts.base``, which costs a second to import: a test holds that they are the same.


class SeverityName(StrEnum):
    """How bad an incident is."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class KindName(StrEnum):
    """What an incident is about."""

    LEAK = "leak"
    THREAT = "threat"
    ABUSE = "abuse"
    VOLUME_SPIKE = "volume_spike"
    NEGATIVITY_SPIKE = "negativity_spike"
    TOPIC_BURST = "topic_burst"
    OFFICIAL_ACCOUNT = "official_account"
    SILENT_SOURCE = "silent_source"
    BROKEN_CHANNEL = "broken_channel"
    BUDGET = "budget"


class StateName(StrEnum):
    """How an incident stands."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"
    REVIEWED = "reviewed"


_OURS = (KindName.SILENT_SOURCE, KindName.BROKEN_CHANNEL, KindName.BUDGET)


@contextmanager
def _acting(config: Path | None, who: str) -> Iterator[tuple[Config, Store, By]]:
    """Configuration, store and who acts; a refusal becomes a message and an exit status."""
    from monitor.commands.incidents import By  # noqa: PLC0415
    from monitor.store.incidents import RefusedError  # noqa: PLC0415

    with opened(config) as (settings, store):
        try:
            yield settings, store, By(actor(who), datetime.now(UTC))
        except RefusedError as error:
            fail(str(error), EXIT_FAILURES)


# -- incidents: seeing -----------------------------------------------------------------------------


@incidents_app.command("list")
def list_(
    config: ConfigOption = None,
    limit: Annotated[int, typer.Option(min=1, help="At most this many, newest first.")] = 20,
    state: Annotated[
        StateName | None, typer.Option(help="Only those that stand so.", show_default="all")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON Lines.")] = False,
) -> None:
    """List incidents, newest first."""
    from alerts.base import IncidentState  # noqa: PLC0415
    from monitor.commands import incidents  # noqa: PLC0415

    with opened(config) as (settings, store):
        incidents.show_list(
            store,
            sys.stdout,
            settings.timezone,
            limit=limit,
            as_json=as_json,
            state=IncidentState(state.value) if state else None,
        )


@incidents_app.command("show")
def show(  # noqa: PLR0917 - the options of the command
    incident: IncidentArgument,
    config: ConfigOption = None,
    form: Annotated[
        DossierFormat,
        typer.Option("--format", help="text, md (for a document) or json (all of it)."),
    ] = DossierFormat.TEXT,
    language: Annotated[
        Words | None, typer.Option(help="nl or en.", show_default="the configuration's")
    ] = None,
    unmasked: Annotated[
        bool, typer.Option("--unmasked", help="Posts as they were, and what concerns a colleague.")
    ] = False,
    reason: Annotated[
        str, typer.Option(help="Why you need to see it unmasked; goes into the history.")
    ] = "",
    who: WhoOption = "",
) -> None:
    """Show the dossier of an incident: what happened, who was told, what was done, the evidence.

    Post texts are masked and authors stand under a pseudonym.
    """
    from monitor.commands import incidents  # noqa: PLC0415
    from monitor.commands.incidents import By  # noqa: PLC0415

    if unmasked and not reason.strip():
        fail("--unmasked: say why with --reason; it goes into the history", EXIT_USAGE)
    if reason and not unmasked:
        fail("--reason belongs to --unmasked", EXIT_USAGE)
    now = datetime.now(UTC)
    with opened(config) as (settings, store):
        found = incidents.show_one(
            store,
            sys.stdout,
            settings.timezone,
            incident,
            language=language or settings.language,
            form=form.value,
            now=now,
            unmasked_by=By(actor(who), now) if unmasked else None,
            reason=reason,
        )
    if not found:
        fail(f"there is no incident {incident}", EXIT_FAILURES)


@incidents_app.command("verify")
def verify(
    config: ConfigOption = None,
    expect: Annotated[
        list[str] | None,
        typer.Option(
            "--expect", metavar="HEAD", help="A head that was noted earlier; may be given again."
        ),
    ] = None,
) -> None:
    """Check that nobody changed the history of incidents or the evidence.

    Prints the head of each chain: note it down elsewhere, and --expect shows later that all of it is
    still part of the history.
    """
    from monitor.commands import incidents  # noqa: PLC0415

    with opened(config) as (_, store):
        try:
            problems = incidents.verify(store, sys.stdout, expect or ())
        except ValueError as error:
            fail(f"--expect: {error}", EXIT_USAGE)
    if problems:
        fail("\n".join(problems), EXIT_FAILURES)


# -- incidents: acting -----------------------------------------------------------------------------


@incidents_app.command("ack")
def ack(
    incident: IncidentArgument,
    who: WhoOption = "",
    note: NoteOption = "",
    config: ConfigOption = None,
) -> None:
    """Take an incident: nobody is paged for it any more unless it worsens."""
    from monitor.commands import incidents  # noqa: PLC0415

    with _acting(config, who) as (settings, store, by):
        say(incidents.acknowledge(store, settings, incident, by, note))


@incidents_app.command("release")
def release(
    incident: IncidentArgument,
    who: WhoOption = "",
    note: NoteOption = "",
    config: ConfigOption = None,
) -> None:
    """Give an incident back: it is open again and the next in line is told."""
    from monitor.commands import incidents  # noqa: PLC0415

    with _acting(config, who) as (settings, store, by):
        say(incidents.release(store, settings, incident, by, note))


@incidents_app.command("assign")
def assign(
    incident: IncidentArgument,
    whom: Annotated[
        str, typer.Argument(help="Who is to see to it.", autocompletion=completing.receivers)
    ],
    who: WhoOption = "",
    note: NoteOption = "",
    config: ConfigOption = None,
) -> None:
    """Give an incident to somebody."""
    from alerts.plain import one_line  # noqa: PLC0415
    from monitor.commands import incidents  # noqa: PLC0415

    if not (name := one_line(whom, 60)):
        fail("say to whom", EXIT_USAGE)
    with _acting(config, who) as (_, store, by):
        say(incidents.assign(store, incident, name, by, note))


@incidents_app.command("note")
def note_(
    incident: IncidentArgument,
    text: Annotated[str, typer.Argument(help="What is to be remembered.")],
    who: WhoOption = "",
    step: Annotated[str, typer.Option(help="The step of a playbook that it is about.")] = "",
    config: ConfigOption = None,
) -> None:
    """Write a note into the history of an incident."""
    from alerts.plain import plain  # noqa: PLC0415
    from monitor.commands import incidents  # noqa: PLC0415

    if not (said := plain(text)):
        fail("a note says something", EXIT_USAGE)
    with _acting(config, who) as (_, store, by):
        say(incidents.add_note(store, incident, said, by, step))


@incidents_app.command("tick")
def tick(  # noqa: PLR0917 - the options of the command
    incident: IncidentArgument,
    step: Annotated[str, typer.Argument(help="The step, as `incidents show` names it.")],
    who: WhoOption = "",
    note: NoteOption = "",
    undo: Annotated[bool, typer.Option("--undo", help="Take the tick back.")] = False,
    config: ConfigOption = None,
) -> None:
    """Tick a step of the playbook off."""
    from monitor.commands import incidents  # noqa: PLC0415

    with _acting(config, who) as (_, store, by):
        say(incidents.tick(store, incident, step, by, note, undo=undo))


@incidents_app.command("playbook")
def playbook(
    incident: IncidentArgument,
    name: Annotated[str, typer.Argument(help="employee: a possible breach by a colleague.")],
    who: WhoOption = "",
    note: NoteOption = "",
    config: ConfigOption = None,
) -> None:
    """Attach a further playbook to an incident."""
    from monitor.commands import incidents  # noqa: PLC0415

    with _acting(config, who) as (_, store, by):
        say(incidents.attach(store, incident, name, by, note))


@incidents_app.command("statement")
def statement(
    incident: IncidentArgument,
    who: WhoOption = "",
    note: NoteOption = "",
    config: ConfigOption = None,
) -> None:
    """Record that the first statement went out: stops the crisis clock."""
    from alerts.history import Happened  # noqa: PLC0415
    from monitor.commands import incidents  # noqa: PLC0415

    with _acting(config, who) as (_, store, by):
        say(incidents.milestone(store, incident, Happened.FIRST_STATEMENT, by, note))


@incidents_app.command("answered")
def answered(
    incident: IncidentArgument,
    who: WhoOption = "",
    note: NoteOption = "",
    config: ConfigOption = None,
) -> None:
    """Record that a question or complaint was answered: stops the feedback clock."""
    from alerts.history import Happened  # noqa: PLC0415
    from monitor.commands import incidents  # noqa: PLC0415

    with _acting(config, who) as (_, store, by):
        say(incidents.milestone(store, incident, Happened.ANSWERED, by, note))


@incidents_app.command("resolve")
def resolve(
    incident: IncidentArgument,
    who: WhoOption = "",
    note: NoteOption = "",
    config: ConfigOption = None,
) -> None:
    """End an incident; those who were told of it hear that it is over."""
    from monitor.commands import incidents  # noqa: PLC0415

    with _acting(config, who) as (settings, store, by):
        say(incidents.resolve(store, settings, incident, by, note))


@incidents_app.command("reopen")
def reopen(
    incident: IncidentArgument,
    who: WhoOption = "",
    note: NoteOption = "",
    config: ConfigOption = None,
) -> None:
    """It was not over after all: open an incident again."""
    from monitor.commands import incidents  # noqa: PLC0415

    with _acting(config, who) as (settings, store, by):
        say(incidents.reopen(store, settings, incident, by, note))


@incidents_app.command("review")
def review(  # noqa: PLR0917 - the options of the command
    incident: IncidentArgument,
    worked: Annotated[str, typer.Option(help="What worked.")],
    did_not: Annotated[str, typer.Option("--did-not", help="What did not work.")],
    lessons: Annotated[str, typer.Option(help="What goes into the policy.")] = "",
    who: WhoOption = "",
    config: ConfigOption = None,
) -> None:
    """Close a resolved incident for good, with what was learnt."""
    from monitor.commands import incidents  # noqa: PLC0415
    from monitor.dossier import Evaluation  # noqa: PLC0415

    with _acting(config, who) as (_, store, by):
        say(incidents.review(store, incident, Evaluation(worked, did_not, lessons), by))


@incidents_app.command("merge")
def merge(
    incident: Annotated[
        int,
        typer.Argument(
            help="Number of the incident that goes on.", autocompletion=completing.incidents
        ),
    ],
    others: Annotated[
        list[int],
        typer.Argument(
            help="Numbers of those that become part of it.", autocompletion=completing.incidents
        ),
    ],
    who: WhoOption = "",
    note: NoteOption = "",
    config: ConfigOption = None,
) -> None:
    """Let other incidents become part of one: they are closed, and read there."""
    from monitor.commands import incidents  # noqa: PLC0415

    with _acting(config, who) as (settings, store, by):
        say(incidents.merge(store, settings, incident, others, by, note=note))


# -- silences --------------------------------------------------------------------------------------


@silence_app.command("add")
def silence_add(  # noqa: PLR0917 - the options of the command
    reason: Annotated[str, typer.Option(help="Why; those who look it up read it.")],
    length: Annotated[
        str | None, typer.Option("--for", help="How long: 30m, 2h, 1d.", show_default=False)
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="Or until when: 2026-11-09T18:00.", show_default=False)
    ] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="From when.", show_default="now")
    ] = None,
    brand: Annotated[
        str,
        typer.Option(help="Only this brand.", show_default="all", autocompletion=completing.brands),
    ] = "",
    kind: Annotated[
        KindName | None, typer.Option(help="Only this kind.", show_default="all")
    ] = None,
    source: Annotated[
        str,
        typer.Option(
            help="Only what was found there and nowhere else.",
            show_default="all",
            autocompletion=completing.sources,
        ),
    ] = "",
    story: Annotated[
        str, typer.Option(help="Only this story: that of an incident, as `--like 12`.", hidden=True)
    ] = "",
    like: Annotated[
        int | None,
        typer.Option(
            help="Only the story of this incident.",
            metavar="INCIDENT",
            show_default=False,
            autocompletion=completing.incidents,
        ),
    ] = None,
    up_to: Annotated[
        SeverityName,
        typer.Option("--up-to", help="Graver incidents are heard all the same."),
    ] = SeverityName.HIGH,
    who: WhoOption = "",
    config: ConfigOption = None,
) -> None:
    """Mute new messages about something for a while. All-clears are never muted."""
    from alerts.base import Severity, SignalKind  # noqa: PLC0415
    from alerts.silences import Silence  # noqa: PLC0415
    from monitor.commands import silences  # noqa: PLC0415

    if (length is None) == (until is None):
        fail("say how long with --for, or until when with --until", EXIT_USAGE)
    with _acting(config, who) as (settings, store, by):
        if brand and brand not in [each.name for each in settings.brands]:
            known = ", ".join(each.name for each in settings.brands)
            fail(f"--brand: {brand} is not watched; there are {known}", EXIT_USAGE)
        if source and source not in [each.name for each in settings.sources]:
            known = ", ".join(each.name for each in settings.sources)
            fail(f"--source: there is no source {source}; there are {known}", EXIT_USAGE)
        begins = moment(start, "--from", settings) or by.now
        ends = moment(until, "--until", settings)
        wanted = Silence(
            id=0,
            author=by.who,
            reason=reason,
            starts_at=begins,
            ends_at=ends or begins + time_of(length or "", "--for"),
            brand=brand,
            kind=SignalKind(kind.value) if kind else None,
            source=source,
            story=silences.story_of(store, like) if like is not None else story,
            up_to=Severity[up_to.name],
        )
        for line in silences.add(store, settings, wanted, by.now):
            say(line)


@silence_app.command("list")
def silence_list(
    config: ConfigOption = None,
    ended: Annotated[bool, typer.Option("--ended", help="Also those that are over.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON Lines.")] = False,
) -> None:
    """List silences, and which incidents that burn each mutes."""
    from monitor.commands import silences  # noqa: PLC0415

    with opened(config) as (settings, store):
        silences.show_list(
            store,
            sys.stdout,
            settings.timezone,
            now=datetime.now(UTC),
            ended=ended,
            as_json=as_json,
        )


@silence_app.command("expire")
def silence_expire(
    number: Annotated[
        int, typer.Argument(help="Number of the silence.", autocompletion=completing.silences)
    ],
    who: WhoOption = "",
    config: ConfigOption = None,
) -> None:
    """End a silence now; those who missed what still burns are told."""
    from monitor.commands import silences  # noqa: PLC0415

    with _acting(config, who) as (_, store, by):
        for line in silences.expire(store, number, by):
            say(line)


# -- routes ----------------------------------------------------------------------------------------


@routes_app.command("test")
def routes_test(  # noqa: PLR0917 - the options of the command
    kind: Annotated[KindName, typer.Option(help="Kind of the incident.")],
    severity: Annotated[SeverityName, typer.Option(help="Its severity.")],
    brand: Annotated[
        str | None,
        typer.Option(
            help="Its brand.",
            show_default="the first of the configuration",
            autocompletion=completing.brands,
        ),
    ] = None,
    language: Annotated[str | None, typer.Option(help="Language of its posts, as nl.")] = None,
    source: Annotated[
        str | None,
        typer.Option(help="Where its posts were found.", autocompletion=completing.sources),
    ] = None,
    rule: Annotated[
        list[str] | None, typer.Option(help="A further rule of the policy that fired.")
    ] = None,
    at: Annotated[
        str | None, typer.Option(help="When: 2026-12-25T09:00.", show_default="now")
    ] = None,
    form: Annotated[PlanFormat, typer.Option("--format", help="text or json.")] = PlanFormat.TEXT,
    config: ConfigOption = None,
) -> None:
    """Say who would be told of an incident, when and why, and why the others would not.

    Plays the incident through to the end of its chain as if nobody answered. Needs no database and
    sends nothing.
    """
    from alerts.base import Severity, SignalKind  # noqa: PLC0415
    from monitor.commands import routing  # noqa: PLC0415

    with explained():
        settings = load(config)[1]
        wanted = routing.Wanted(
            kind=SignalKind(kind.value),
            severity=Severity[severity.name],
            # What is about ourselves is about no brand.
            brand=("" if kind in _OURS else settings.brands[0].name) if brand is None else brand,
            at=moment(at, "--at", settings) or datetime.now(UTC),
            language=language,
            source=source,
            rules=tuple(rule or ()),
        )
        try:
            found = routing.rehearse(settings, wanted)
        except ValueError as error:
            fail(str(error), EXIT_USAGE)
        write = routing.as_json if form is PlanFormat.JSON else routing.as_text
        sys.stdout.write(write(found, settings))
