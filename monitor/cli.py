"""The command line: ``merkwacht …``. Parses, prints and gives exit statuses; the work is elsewhere.

Exit status: 0 done, 1 done with failures that are listed on stderr, 2 wrong usage or invalid
configuration. Machine output goes to stdout, messages and progress to stderr. What a command needs is
imported when it runs, so that ``--help`` answers at once.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO
from zoneinfo import ZoneInfo

import typer

from classifiers.base import AbuseLabel, SentimentLabel
from monitor.commands import completing
from monitor.commands.backing_up import backup, restore
from monitor.commands.doctor import doctor
from monitor.commands.drilling import drill
from monitor.commands.feeds import feeds_app
from monitor.commands.frame import EXIT_FAILURES, EXIT_USAGE, ConfigOption, be_verbose, is_verbose
from monitor.commands.frame import explained as _explained
from monitor.commands.frame import fail as _fail
from monitor.commands.frame import load as _load
from monitor.commands.frame import moment as _moment
from monitor.commands.frame import open_store as _open_store
from monitor.commands.frame import progress as _progress
from monitor.commands.frame import quiet_log as _quiet_log
from monitor.commands.frame import say as _say
from monitor.commands.frame import time_of as _time_of
from monitor.commands.handling import incidents_app, routes_app, silence_app
from monitor.commands.manual import manual
from monitor.commands.service import install_service
from monitor.commands.tracing import trace
from monitor.commands.vacuuming import vacuum

if TYPE_CHECKING:
    from classifiers.assessor import Assessor
    from classifiers.base import LeakThresholds
    from classifiers.register.detector import RegisterDetector
    from connectors.query import Query
    from monitor.app import App
    from monitor.commands.evaluating import Report
    from monitor.config import Config

app = typer.Typer(
    name="merkwacht",
    help="Watches what the public says about your brand and wakes the right people in time.",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(incidents_app, name="incidents")
app.add_typer(silence_app, name="silence")
app.add_typer(routes_app, name="routes")
app.command("drill")(drill)
app.command("doctor")(doctor)
app.command("trace")(trace)
app.command("backup")(backup)
app.command("restore")(restore)
app.command("vacuum")(vacuum)
app.command("install-service")(install_service)
app.command("manual")(manual)
fingerprint_app = typer.Typer(
    help="Register what must not become public, as keyed fingerprints only.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(fingerprint_app, name="fingerprint")
app.add_typer(feeds_app, name="feeds")

PlainOption = Annotated[
    bool, typer.Option("--plain", help="Read plain lines of text instead of JSON Lines.")
]


class Language(StrEnum):
    """Languages of alerts."""

    NL = "nl"
    EN = "en"


class LeakVerdict(StrEnum):
    """What a person says of a mention."""

    LEAK = "leak"
    NO_LEAK = "no-leak"


class PageFormat(StrEnum):
    """Formats of figures."""

    TABLE = "table"
    JSON = "json"


class ExportFormat(StrEnum):
    """Formats of an export."""

    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"


class LogFormat(StrEnum):
    """Formats of the daemon's log."""

    AUTO = "auto"
    TEXT = "text"
    JSON = "json"


class RegisteredCategory(StrEnum):
    """What a leak of something registered is: the categories of leaks."""

    CREDENTIALS = "credentials"
    PERSONAL_DATA = "personal_data"
    FINANCIAL = "financial"
    PRODUCT = "product"
    TRADE_SECRET = "trade_secret"  # noqa: S105 - a category
    INTERNAL = "internal"
    SECURITY = "security"


class ListKind(StrEnum):
    """Sorts of lists of exact entries."""

    TERMS = "terms"
    RECORDS = "records"


def main() -> None:
    """Entry point of the ``merkwacht`` command."""
    # Whatever we create (database, log, lock) is ours alone to read.
    os.umask(0o077)
    _open_missing_streams()
    try:
        app()
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output has gone, as `head` does: not an error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
    except OSError as error:
        _say(f"merkwacht: {error.strerror or error}")
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(EXIT_FAILURES) from None


def _open_missing_streams() -> None:
    """A standard stream that the caller closed is as good as /dev/null."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - for good


def _print_version(value: bool) -> None:  # noqa: FBT001 - typer calls it so
    if value:
        from monitor.release import program_version  # noqa: PLC0415

        sys.stdout.write(f"merkwacht {program_version()}\n")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and leave."
        ),
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose", "-v", help="Also log what happens, on stderr; before the command."
        ),
    ] = False,
) -> None:
    """Watches what the public says about your brand and wakes the right people in time."""
    del version
    be_verbose(verbose)


# -- setting up ------------------------------------------------------------------------------------


@app.command()
def init(
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE", help="Where to write it; - for stdout."),
    ] = Path("config.toml"),
    brand: Annotated[str, typer.Option(help="The brand to watch.")] = "Acme",
    language: Annotated[Language, typer.Option(help="Language of the alerts.")] = Language.NL,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Write a commented configuration to start from."""
    from monitor.commands.starting import starter  # noqa: PLC0415

    if str(output) == "-":
        try:
            sys.stdout.write(starter(brand, language.value))
        except ValueError as error:
            _fail(f"--brand: {error}", EXIT_USAGE)
        return
    if output.exists() and not force:
        _fail(f"{output}: exists already; choose another --output, or --force", EXIT_USAGE)
    try:
        text = starter(brand, language.value)
    except ValueError as error:
        _fail(f"--brand: {error}", EXIT_USAGE)
    try:
        # Passwords will be written into it: ours alone, unless a file that was there says otherwise.
        output.touch(mode=0o600)
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        _fail(f"{output}: {error.strerror}", EXIT_FAILURES)
    _say(f"Wrote {output}. Next: read it, fill in your sources and receivers, then")
    _say(f"  merkwacht check --config {output} --online")
    _say(f"  merkwacht run --config {output} --once")


@app.command()
def check(
    config: ConfigOption = None,
    online: Annotated[
        bool,
        typer.Option(
            "--online", help="Also try the model and each source and channel once; nothing is sent."
        ),
    ] = False,
) -> None:
    """Validate the configuration: every problem at once, each on its own line.

    Warns of what a start would warn of, too: secrets that others may read, what goes unencrypted.
    """
    from monitor.commands.sensitivity import describe, describe_spikes  # noqa: PLC0415
    from monitor.guarding import foreseen  # noqa: PLC0415

    with _explained():
        path, settings = _load(config, secrets=online)
        for line in foreseen(path, settings):
            _say(f"warning: {line}")
        if not online:
            tables = ("brands", "sources", "channels", "receivers", "routes")
            counts = (f"{name} {len(getattr(settings, name))}" for name in tables)
            _say(f"{path}: valid ({', '.join(counts)})")
            _say(describe(settings.classifiers))
            for line in describe_spikes(settings.brands):
                _say(line)
            return
        from monitor.app import utc_now  # noqa: PLC0415
        from monitor.commands.checking import check_online  # noqa: PLC0415

        _say(describe(settings.classifiers))
        failed = 0
        for finding in check_online(settings, utc_now):
            mark = "ok     " if finding.ok else "FAILED "
            _say(f"{mark}{finding.part}: {finding.detail}")
            failed += not finding.ok
    if failed:
        _say(f"{failed} of the parts do not work yet")
        raise typer.Exit(EXIT_FAILURES)


# -- watching --------------------------------------------------------------------------------------


@app.command()
def run(
    config: ConfigOption = None,
    once: Annotated[
        bool,
        typer.Option("--once", help="Poll every source once, assess, route, deliver, and end."),
    ] = False,
    log_format: Annotated[
        LogFormat | None,
        typer.Option(
            "--log-format",
            help="Of the log on stderr; auto: the journal's own under systemd.",
            show_default="the configuration's",
        ),
    ] = None,
) -> None:
    """Watch: the daemon. SIGTERM ends it in order, SIGHUP reads the configuration anew."""
    from monitor.app import App  # noqa: PLC0415
    from monitor.guarding import guard  # noqa: PLC0415
    from monitor.log import set_up  # noqa: PLC0415
    from monitor.systemd import Notifier  # noqa: PLC0415

    with _explained():
        path, settings = _load(config, secrets=True)
        set_up(
            level="debug" if is_verbose() else settings.log.level,
            style=log_format.value if log_format else settings.log.format,
            repeat_seconds=settings.log.repeat_seconds,
        )
        guard(path, settings)
        installation = App(path, notifier=Notifier())
        if once:
            _run_once(installation)
        else:
            _run_for_ever(installation)


def _run_once(installation: App) -> None:
    daemon = installation.daemon
    with installation:
        with installation.store.write() as unit:
            unit.sources.make_due(list(daemon.steps.poll.sources), installation.now())
            unit.outbox.make_due(installation.now())
        done = daemon.tick()
        sent = done.sent + _hand_over_at_their_pace(installation)
        waiting = daemon.steps.deliver.waiting()
    _say(
        f"{done.polled} sources polled, {done.assessed} mentions assessed, "
        f"{sent} notifications delivered, {waiting} waiting"
    )
    failures = [
        *(f"source {each.source}: {each.message}" for each in daemon.steps.poll.failures),
        *(
            f"channel {each.channel} to {each.receiver}: {each.message}"
            for each in daemon.steps.deliver.failures
        ),
    ]
    for line in failures:
        _say(f"failed: {line}")
    if failures:
        raise typer.Exit(EXIT_FAILURES)


def _hand_over_at_their_pace(installation: App) -> int:
    """Deliver what only the pace of its channel holds back. Returns how many were taken."""
    sent, daemon = 0, installation.daemon
    while (moment := daemon.steps.deliver.held_until) is not None:
        time.sleep(max((moment - installation.now()).total_seconds(), 0.05))
        sent += daemon.hand_over()
    return sent


def _open_site(installation: App) -> None:
    """Take the port of the public address, where there is one."""
    if installation.site is None:
        return
    try:
        installation.site.bind()
    except OSError as error:
        options = installation.config.web
        installation.close()
        _fail(
            f"merkwacht: web: cannot serve on {options.host}:{options.port}: "
            f"{error.strerror or error}; check web.port and web.certificate_file, "
            "or set web.enabled = false",
            EXIT_FAILURES,
        )


def _run_for_ever(installation: App) -> None:
    from monitor.log import logger  # noqa: PLC0415
    from monitor.web import WebServer  # noqa: PLC0415

    daemon, http = installation.daemon, installation.config.http
    web = None
    if http.enabled:
        try:
            web = WebServer(
                (http.host, http.port),
                registry=installation.metrics.registry,
                health=daemon.health,
            )
        except OSError as error:
            installation.close()
            _fail(
                f"merkwacht: http: cannot listen on {http.host}:{http.port}: {error.strerror}; "
                "change http.port or set http.enabled = false",
                EXIT_FAILURES,
            )
        logger("web").info("listening", host=http.host, port=web.port)
    _open_site(installation)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: daemon.stop())
    signal.signal(signal.SIGHUP, lambda *_: daemon.reload())
    try:
        daemon.run()
    finally:
        if web is not None:
            web.close()
        installation.store.close()
    if daemon.busy:
        # A worker that hangs in a socket would keep the interpreter waiting; what it was at is
        # repeated at the next start.
        sys.stderr.flush()
        os._exit(0)


# -- trying out ------------------------------------------------------------------------------------


@app.command()
def match(
    query: Annotated[str, typer.Option("--query", "-q", help="The query to try.")],
    plain: PlainOption = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say how the query is understood, and leave.")
    ] = False,
) -> None:
    """Try a brand query on posts from standard input: prints those that match and what matched.

    Example: merkwacht match --query 'acme AND NOT "acme street"' < posts.jsonl
    """
    from connectors.query import Query, QuerySyntaxError  # noqa: PLC0415
    from monitor.commands import streams  # noqa: PLC0415

    try:
        parsed = Query.parse(query)
    except QuerySyntaxError as error:
        _fail(f"--query: {error}", EXIT_USAGE)
    if explain:
        sys.stdout.write(parsed.explain().rstrip() + "\n")
        _explain_x(parsed)
        _explain_sources(parsed)
        return
    _set_utf8()
    raise typer.Exit(streams.match(sys.stdin, sys.stdout, sys.stderr, parsed, plain=plain))


def _explain_x(query: Query) -> None:
    """What a source of kind x would search for, and what is left to matching here."""
    from connectors.queryx import XQueryError  # noqa: PLC0415

    try:
        search = query.search_x(approximate=True)
    except XQueryError as error:
        sys.stdout.write(f"\nOn X: {error}\n")
        return
    sys.stdout.write(f"\nOn X, searched as: {search.expression}\n")
    for note in search.widened:
        sys.stdout.write(f"  wider, the rest is matched here: {note}\n")
    for note in search.missed:
        sys.stdout.write(f"  not found on X (only with approximate = true): {note}\n")


def _explain_sources(query: Query) -> None:
    """What every other kind of source that searches would be asked."""
    from connectors import CONNECTORS  # noqa: PLC0415
    from connectors.base import Searches  # noqa: PLC0415

    kinds: dict[str, Any] = dict(CONNECTORS)
    for kind, connector in kinds.items():
        if kind == "x" or not isinstance(connector, Searches):
            continue
        try:
            asked = connector.asked(query)
        except ValueError as error:
            sys.stdout.write(f"\nOn {kind}: {error}\n")
            continue
        shown = "; ".join(search or "(everything it has)" for search in asked.searches)
        sys.stdout.write(f"\nOn {kind}, searched as: {shown}\n")
        for term in asked.missed:
            sys.stdout.write(f"  not found on {kind}: {term}\n")
    sys.stdout.write(
        "\nA search may find more than the query: what comes back is matched here. Sources that are not "
        "named bring all they have.\n"
    )


@app.command()
def classify(
    plain: PlainOption = False,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            metavar="FILE",
            help="Use the models, thresholds, watch words and register of this configuration. "
            "Default: none.",
            show_default=False,
        ),
    ] = None,
    language: Annotated[
        Language, typer.Option(help="Language of the sentence that says why.")
    ] = Language.EN,
) -> None:
    """Assess posts from standard input: one JSON object a line, in input order.

    Reads {"id": …, "text": …, "lang"?: …} a line. Needs no configuration; with --config the models,
    thresholds and watch words of that file are used, and the register of its database.
    """
    from monitor.commands import streams  # noqa: PLC0415

    _set_utf8()
    with _explained():
        classifier = _classifier(_load(config)[1] if config is not None else None)
        status = streams.classify(
            sys.stdin, sys.stdout, sys.stderr, classifier, plain=plain, language=language.value
        )
    raise typer.Exit(status)


def _classifier(settings: Config | None) -> Assessor:
    """The classifiers of a configuration; without one, those that come along, as they are."""
    if settings is not None:
        from monitor.app import build_classifier  # noqa: PLC0415

        return build_classifier(settings, _register(settings))
    from classifiers.assessor import Assessor  # noqa: PLC0415
    from classifiers.detectors import default_detectors  # noqa: PLC0415
    from classifiers.embedded import EmbeddedModel  # noqa: PLC0415
    from classifiers.language import LanguageIdentifier  # noqa: PLC0415

    model = EmbeddedModel()
    return Assessor(
        model,
        language=LanguageIdentifier(),
        detectors=default_detectors(),
        leak_thresholds=model.leak_thresholds,
    )


def _register(settings: Config) -> RegisterDetector | None:
    """The register of secrets, where there is one already: nothing is made or changed for it."""
    from monitor.app import open_pseudonyms  # noqa: PLC0415
    from monitor.register import open_detector  # noqa: PLC0415

    path = settings.store.path
    if not path.exists():
        return None
    store = _open_store(settings, migrate=False)
    if not path.with_name(path.name + ".key").exists():
        with store.read() as unit:
            if unit.fact("pseudonym_key") is None:
                store.close()
                return None  # nothing can be registered yet; else the key is lost, and that is said
    return open_detector(store, open_pseudonyms(store))


@app.command()
def spikes(
    bucket: Annotated[
        str, typer.Option(help="Width of a bucket: auto, or as 5m, 1h, 1d.")
    ] = "auto",
    timezone: Annotated[
        str, typer.Option(help="Time zone of the daily and weekly rhythm.")
    ] = "UTC",
) -> None:
    """Look for spikes in counts from standard input.

    Reads CSV timestamp,value (counts per bucket, gaps allowed); writes CSV
    timestamp,value,expected,score,alert. A row depends on earlier rows only.
    """
    from monitor import spikescsv  # noqa: PLC0415

    _set_utf8()
    try:
        ZoneInfo(timezone)
    except (KeyError, ValueError, OSError):
        _fail(f"--timezone: {timezone} is not an IANA time zone", EXIT_USAGE)
    raise typer.Exit(
        spikescsv.run(sys.stdin, sys.stdout, bucket=_duration(bucket), timezone=timezone)
    )


def _duration(text: str) -> timedelta | None:
    return None if text == "auto" else _time_of(text, "--bucket", "auto, or ")


def _set_utf8() -> None:
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            errors = "replace" if stream is sys.stdin else "backslashreplace"
            reconfigure(encoding="utf-8", errors=errors)


# -- looking back ----------------------------------------------------------------------------------


@app.command()
def backtest(  # noqa: PLR0917 - the options of the command
    files: Annotated[
        list[Path], typer.Argument(help="Mention files (JSON Lines).", metavar="FILE.jsonl…")
    ],
    config: ConfigOption = None,
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Another configuration: what would it change?", show_default=False
        ),
    ] = None,
    style: Annotated[PageFormat, typer.Option("--format", help="Format.")] = PageFormat.TABLE,
    timeline: Annotated[
        Path | None,
        typer.Option(
            metavar="OUT.html|OUT.png", help="Also draw what happened when.", show_default=False
        ),
    ] = None,
    step: Annotated[str, typer.Option(help="How often to look, as 5m, 1h.")] = "5m",
    since: Annotated[
        str | None, typer.Option(help="First moment, as 2026-11-09 or 2026-11-09T08:00+01:00.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="First moment that is left out.")] = None,
    fail: Annotated[
        bool,
        typer.Option("--fail-on-difference", help="Exit status 1 when --against changes an alert."),
    ] = False,
) -> None:
    """Replay stored mentions and say which incidents would have been opened. Sends nothing.

    The very steps of the daemon under a moved clock: matching, classifiers, rules, spikes, routes.

    Example: merkwacht backtest last-year.jsonl --against calmer.toml --timeline year.html
    """
    from monitor.backtest.run import Setting  # noqa: PLC0415
    from monitor.backtest.timeline import TimelineError  # noqa: PLC0415
    from monitor.commands import backtesting  # noqa: PLC0415

    for file in files:
        if not file.is_file():
            _fail(
                f"{file}: {'not a regular file' if file.exists() else 'no such file'}", EXIT_USAGE
            )
    if timeline is not None and timeline.suffix not in backtesting.TIMELINES:
        _fail(f"--timeline: {timeline}: name a file that ends in .html or .png", EXIT_USAGE)
    if fail and against is None:
        _fail(
            "--fail-on-difference: against what? give another configuration: --against", EXIT_USAGE
        )
    width = _time_of(step, "--step")
    _set_utf8()
    _quiet_log("error")
    with _explained():
        path, settings = _load(config)
        loaded = [(path, settings)] if against is None else [(path, settings), _load(against)]
        asked = backtesting.Asked(
            files=files,
            settings=[Setting(each, _register(each)) for _, each in loaded],
            names=[str(each) for each, _ in loaded],
            step=width,
            since=_moment(since, "--since", settings),
            until=_moment(until, "--until", settings),
            as_json=style is PageFormat.JSON,
            timeline=timeline,
        )
        from rich.console import Console  # noqa: PLC0415

        try:
            done = backtesting.run(asked, Console(), sys.stderr, _rate)
        except TimelineError as error:
            _fail(f"merkwacht: {error}", EXIT_FAILURES)
    for note in done.notes:
        _say(note)
    if done.result.rejected:
        _say(f"{done.result.rejected} lines could not be read")
    if done.result.rejected or (fail and done.difference):
        raise typer.Exit(EXIT_FAILURES)


# -- in and out ------------------------------------------------------------------------------------


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="Mention file (JSON Lines).", metavar="FILE.jsonl")],
    config: ConfigOption = None,
) -> None:
    """Bring mentions into the store and assess them. Nothing imported ever alerts."""
    from monitor.app import (  # noqa: PLC0415
        build_brand,
        build_classifier,
        open_pseudonyms,
        utc_now,
    )
    from monitor.commands.transfer import import_file  # noqa: PLC0415
    from monitor.register import open_detector  # noqa: PLC0415

    if not file.is_file():
        what = "not a regular file" if file.exists() else "no such file"
        _fail(f"{file}: {what}", EXIT_USAGE)
    with _explained():
        settings = _load(config)[1]
        store = _open_store(settings, migrate=True)
        pseudonyms = open_pseudonyms(store)
        with _progress("importing", file.stat().st_size) as bar:
            count = import_file(
                file,
                store=store,
                brands=[build_brand(item) for item in settings.brands],
                classifier=build_classifier(settings, open_detector(store, pseudonyms)),
                pseudonyms=pseudonyms,
                now=utc_now,
                errors=sys.stderr,
                progress=bar,
            )
        store.close()
    _say(f"{count.lines} lines, {count.matched} mentions, {count.new} new, {count.bad} unreadable")
    if count.bad:
        raise typer.Exit(EXIT_FAILURES)


@app.command()
def export(
    since: Annotated[
        str | None, typer.Option(help="First moment, as 2026-11-09 or 2026-11-09T08:00+01:00.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="First moment that is left out.")] = None,
    style: Annotated[ExportFormat, typer.Option("--format", help="Format.")] = ExportFormat.JSONL,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to write. Default: stdout.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Write mentions with their assessments. Authors are pseudonyms."""
    from monitor.commands.transfer import ExportError  # noqa: PLC0415
    from monitor.commands.transfer import export as write  # noqa: PLC0415

    with _explained():
        settings = _load(config)[1]
        begin, end = _moment(since, "--since", settings), _moment(until, "--until", settings)
        store = _open_store(settings, migrate=False)
        with store.read() as unit:
            total = unit.mentions.total()
        try:
            with _progress("exporting", total) as bar, _sink(output) as sink:
                count = write(store, sink, style=style.value, since=begin, until=end, progress=bar)
        except ExportError as error:
            _fail(f"merkwacht: {error}", EXIT_FAILURES)
        finally:
            store.close()
    _say(f"{count} mentions")


@contextmanager
def _sink(output: Path | None) -> Iterator[BinaryIO]:
    """Where an export goes: a file appears, or is replaced, only when all of it is there."""
    if output is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    partial = output.with_name(f".{output.name}.partial")
    try:
        with partial.open("wb") as file:
            yield file
        partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _rate(what: str, unit: str, total: int) -> Iterator[Any]:
    """A bar on a terminal that also says how many a second, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _done: None
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text  # noqa: PLC0415

    class Speed(ProgressColumn):
        def render(self, task: Any) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:,.0f} {unit}/s")

    counts: Any = (DownloadColumn(),) if unit == "bytes" else (MofNCompleteColumn(), Speed())
    columns = (TextColumn(what), BarColumn(), *counts, TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.update(task, completed=done)


# -- judging ---------------------------------------------------------------------------------------


@app.command()
def trends(
    brand: Annotated[
        list[str] | None,
        typer.Option(
            help="Name of a brand; may be given again.",
            show_default="every brand",
            autocompletion=completing.brands,
        ),
    ] = None,
    day: Annotated[
        str | None, typer.Option(help="Which day, as 2026-11-13.", show_default="today")
    ] = None,
    most: Annotated[int, typer.Option(help="How many terms at most.", min=1, max=100)] = 10,
    style: Annotated[PageFormat, typer.Option("--format", help="Format.")] = PageFormat.TABLE,
    config: ConfigOption = None,
) -> None:
    """Show what is talked about more than usual: words and phrases of one day.

    Example: merkwacht trends --brand Zonnehoek --day 2026-11-13

    A day runs from midnight to midnight in the configured time zone and is compared with the four
    weeks before. Counted are people, not posts: an author counts once a day, and so does a post
    however often it is shared. A term needs three people. Left out are the words of the brand's own
    query, handles, numbers, names of people, whatever alerts would mask, and posts that may be leaks.
    Until sixty people have spoken nothing can be called unusual.
    """
    from monitor.app import utc_now  # noqa: PLC0415
    from monitor.commands import trends as command  # noqa: PLC0415

    _set_utf8()
    with _explained():
        settings = _load(config)[1]
        chosen = _day(day) or utc_now().astimezone(ZoneInfo(settings.timezone)).date()
        queries = {item.name: item.query for item in settings.brands}
        for name in brand or ():
            if name not in queries:
                _fail(f"--brand: {name} is none of {', '.join(queries)}", EXIT_USAGE)
        store = _open_store(settings, migrate=False)
        with store.read() as unit:
            days = [
                command.day_of(unit, name, queries[name], chosen, settings.timezone, most=most)
                for name in brand or queries
            ]
        store.close()
    command.write(days, sys.stdout, as_json=style is PageFormat.JSON)


@app.command()
def sources(
    since: Annotated[str, typer.Option(help="How far to look back, as 12h or 7d.")] = "7d",
    style: Annotated[PageFormat, typer.Option("--format", help="Format.")] = PageFormat.TABLE,
    config: ConfigOption = None,
) -> None:
    """Show which sources are heard, which are not, since when, why, what to do, and what they cost.

    Example: merkwacht sources --since 30d

    A source is dark for one of these reasons: refused (it does not let us in), blocked (it answers as
    if there were nothing), quota (used up for now), behind (not read up to the present yet), error (out
    of order), paused (not in the configuration), down (this program was not running). Exit status 1: one
    is dark and not paused.
    """
    from monitor.app import build_tariff, utc_now  # noqa: PLC0415
    from monitor.commands import sources as command  # noqa: PLC0415

    _set_utf8()
    length = _time_of(since, "--since")
    with _explained():
        settings = _load(config)[1]
        store = _open_store(settings, migrate=False)
        good = command.show(
            store,
            sys.stdout,
            now=utc_now(),
            since=length,
            timezone=settings.timezone,
            tariffs={each.name: build_tariff(each) for each in settings.sources},
            as_json=style is PageFormat.JSON,
        )
        store.close()
    if not good:
        raise typer.Exit(EXIT_FAILURES)


def _day(text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        _fail(f"--day: {text} is not a day; write it as 2026-11-13", EXIT_USAGE)


@app.command()
def review(
    config: ConfigOption = None,
    limit: Annotated[int, typer.Option(min=1, help="At most this many, newest first.")] = 20,
    everything: Annotated[
        bool, typer.Option("--all", help="Also those that were escalated.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON Lines.")] = False,
) -> None:
    """List posts that may be leaks, woke nobody, and wait for a person's judgement.

    Excerpts are masked, and nothing about authors is shown. Judge one with: merkwacht feedback.
    """
    from monitor.commands import reviewing  # noqa: PLC0415

    _set_utf8()
    with _explained():
        settings = _load(config)[1]
        store = _open_store(settings, migrate=False)
        shown, total = reviewing.show_waiting(
            store,
            sys.stdout,
            language=settings.language,
            timezone=settings.timezone,
            limit=limit,
            escalated=everything,
            as_json=as_json,
        )
        store.close()
    if not total:
        _say("Nothing waits for a judgement.")
        return
    _say(f"{shown} of {total} shown. Judge one: merkwacht feedback ID leak|no-leak")


@app.command()
def feedback(  # noqa: PLR0917 - the options of the command
    mention: Annotated[
        int | None,
        typer.Argument(metavar="[ID]", help="Number of the mention.", show_default=False),
    ] = None,
    verdict: Annotated[
        LeakVerdict | None, typer.Argument(help="What it is.", show_default=False)
    ] = None,
    category: Annotated[
        RegisteredCategory | None, typer.Option(help="Of which category the leak is.")
    ] = None,
    sentiment: Annotated[
        SentimentLabel | None, typer.Option(help="How it speaks of the brand.")
    ] = None,
    abuse: Annotated[
        AbuseLabel | None, typer.Option(help="Whether it insults or threatens.")
    ] = None,
    note: Annotated[str, typer.Option(help="A word on why.")] = "",
    who: Annotated[
        str, typer.Option("--by", help="Who says so.", show_default="the user", envvar="USER")
    ] = "somebody",
    undo: Annotated[
        bool, typer.Option("--undo", help="Take the judgement back: it counts as not judged.")
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Say whether a mention is a leak. It is remembered, and moves no threshold by itself.

    Example: merkwacht feedback 4711 no-leak --sentiment negative --note "old press release"

    Without ID it reads JSON Lines from standard input: {"id": 4711, "verdict": "leak"}, with
    "category", "sentiment", "abuse", "note" and "by" where known; "undo" takes one back.
    """
    from monitor.app import utc_now  # noqa: PLC0415
    from monitor.commands import reviewing  # noqa: PLC0415

    if mention is None:
        if sys.stdin.isatty():
            _fail(
                "say which: merkwacht feedback ID leak|no-leak (ids: merkwacht review)", EXIT_USAGE
            )
        if undo or category or sentiment or abuse or note:
            _fail(
                "without ID each line says all of this itself; leave out all but --by", EXIT_USAGE
            )
        _feedback_from_stdin(config, who)
        return
    if undo == (verdict is not None):
        _fail("say either leak, no-leak or --undo", EXIT_USAGE)
    try:
        word = reviewing.judgement(
            mention,
            verdict.value if verdict else reviewing.UNDO,
            by=who,
            now=utc_now(),
            category=category.value if category else None,
            sentiment=sentiment.value if sentiment else None,
            abuse=abuse.value if abuse else None,
            note=note,
        )
    except ValueError as error:
        _fail(str(error), EXIT_USAGE)
    with _explained():
        store = _open_store(_load(config)[1], migrate=False)
        try:
            told = reviewing.judge_one(store, word)
        except LookupError as error:
            _fail(str(error), EXIT_FAILURES)
        finally:
            store.close()
    _say(told)


def _feedback_from_stdin(config: Path | None, who: str) -> None:
    from monitor.app import utc_now  # noqa: PLC0415
    from monitor.commands import reviewing  # noqa: PLC0415

    _set_utf8()
    with _explained():
        store = _open_store(_load(config)[1], migrate=False)
        kept, bad = reviewing.judge_many(store, sys.stdin, sys.stderr, by=who, now=utc_now())
        store.close()
    _say(f"{kept} judgements kept, {bad} lines refused")
    if bad:
        raise typer.Exit(EXIT_FAILURES)


@app.command()
def evaluate(  # noqa: PLR0917 - the options of the command
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE.jsonl]",
            help="Labelled posts. Default: the mentions that you judged.",
            show_default=False,
        ),
    ] = None,
    style: Annotated[PageFormat, typer.Option("--format", help="Format.")] = PageFormat.TABLE,
    stored: Annotated[
        bool,
        typer.Option(
            "--stored", help="Measure the assessments as they were judged, not today's classifiers."
        ),
    ] = False,
    since: Annotated[
        str | None, typer.Option(help="First moment of publication, as 2026-11-09.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="First moment that is left out.")] = None,
    config: ConfigOption = None,
) -> None:
    """Measure the classifiers on posts that people have judged. Nothing is changed by it.

    Without FILE on the mentions that were judged with merkwacht feedback; with FILE on lines of
    {"text": …, "lang"?, "escalate"?, "category"?, "sentiment"?, "abuse"?}, for which no
    configuration is needed.
    """
    from monitor.commands import evaluating  # noqa: PLC0415

    _set_utf8()
    if file is not None and (stored or since or until):
        _fail("--stored, --since and --until are for judged mentions, not for a file", EXIT_USAGE)
    if file is not None and not file.is_file():
        what = "not a regular file" if file.exists() else "no such file"
        _fail(f"{file}: {what}", EXIT_USAGE)
    bad = 0
    with _explained():
        if file is None:
            report = _evaluate_mentions(config, since, until, stored=stored)
        else:
            report, bad = _evaluate_file(file, config)
    if style is PageFormat.JSON:
        sys.stdout.write(json.dumps(evaluating.as_json(report)) + "\n")
    else:
        from monitor.commands.figures import page  # noqa: PLC0415

        sys.stdout.write(page(report))
    if bad:
        _say(f"{bad} lines could not be read")
        raise typer.Exit(EXIT_FAILURES)


def _evaluate_mentions(
    config: Path | None, since: str | None, until: str | None, *, stored: bool
) -> Report:
    from monitor.commands import evaluating  # noqa: PLC0415

    settings = _load(config)[1]
    begin, end = _moment(since, "--since", settings), _moment(until, "--until", settings)
    store = _open_store(settings, migrate=False)
    judged = evaluating.judged_cases(store, begin, end)
    store.close()
    classifier = _classifier(settings)
    if stored:
        answers = [evaluating.Answer(case, said) for case, said in judged if said is not None]
    else:
        with _progress("classifying", len(judged)) as bar:
            cases = [case for case, _ in judged]
            answers = list(evaluating.classified(cases, classifier, bar))
    return evaluating.measure(
        answers,
        version="the assessments that were judged" if stored else classifier.version,
        thresholds=classifier.leak_thresholds,
        points=_points(settings),
        selected=True,
    )


def _evaluate_file(file: Path, config: Path | None) -> tuple[Report, int]:
    from monitor.commands import evaluating  # noqa: PLC0415

    with _progress("reading", file.stat().st_size) as bar:
        cases, bad = evaluating.read_cases(file, sys.stderr, bar)
    if not cases:
        _fail(
            f"{file}: no labelled posts; merkwacht evaluate --help says what a line looks like",
            EXIT_FAILURES,
        )
    settings = _load(config)[1] if config is not None else None
    classifier = _classifier(settings)
    with _progress("classifying", len(cases)) as bar:
        answers = list(evaluating.classified(cases, classifier, bar))
    report = evaluating.measure(
        answers,
        version=classifier.version,
        thresholds=classifier.leak_thresholds,
        points=_points(settings),
        selected=False,
    )
    return report, bad


def _points(settings: Config | None) -> dict[str, LeakThresholds]:
    from classifiers.embedded import EmbeddedModel  # noqa: PLC0415

    model = EmbeddedModel(settings.classifiers.model if settings else None)
    return {name: point.thresholds for name, point in model.operating_points.items()}


# -- register of secrets ---------------------------------------------------------------------------


@fingerprint_app.command("add")
def fingerprint_add(  # noqa: PLR0917 - the options of the command
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE…", help="txt, md, html, csv, docx, pdf or xlsx; lists: txt, csv, xlsx."
        ),
    ],
    category: Annotated[
        RegisteredCategory, typer.Option(help="What a leak of it is.")
    ] = RegisteredCategory.INTERNAL,
    label: Annotated[
        str,
        typer.Option(
            help="What alerts and lists call it, so nothing secret; with several files numbered.",
            show_default="neutral, as doc-7",
        ),
    ] = "",
    public: Annotated[
        bool,
        typer.Option("--public", help="It is public already: its passages never count."),
    ] = False,
    listing: Annotated[
        ListKind | None,
        typer.Option(
            "--list",
            help="It is a list of exact entries: terms (names of products, projects, codes) or "
            "records (rows on customers, accounts, staff).",
        ),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            "--column",
            metavar="NAME|NUMBER",
            help="A column of the list, by the first row or by number; may be repeated.",
        ),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Register confidential documents and lists as keyed fingerprints.

    Passages of a document are found in posts from about eight words on, through typos, quotes and
    left-out words. Neither text nor file name is kept. A running daemon notices within a second;
    posts that are assessed already stay as they are (see: fingerprint rescan).

    Example: merkwacht fingerprint add --category product launch-plan.docx

    A list: merkwacht fingerprint add --list records --category personal_data --column name
    --column iban customers.csv
    """
    from classifiers.base import LeakCategory  # noqa: PLC0415
    from classifiers.register.items import ItemKind  # noqa: PLC0415
    from monitor.app import open_pseudonyms, utc_now  # noqa: PLC0415
    from monitor.commands import fingerprint  # noqa: PLC0415
    from monitor.register import fingerprints_of  # noqa: PLC0415

    if public and listing:
        _fail("--public is for documents; leave out --list", EXIT_USAGE)
    if column and not listing:
        _fail("--column is for lists; say --list terms or --list records", EXIT_USAGE)
    label = label.strip()
    if len(label) > 80 or not label.isprintable():  # noqa: PLR2004 - a line
        _fail("--label: one line of at most 80 characters, please", EXIT_USAGE)
    missing = [file for file in files if not file.is_file()]
    for file in missing:
        _say(f"{file}: {'not a regular file' if file.exists() else 'no such file'}")
    if missing:
        raise typer.Exit(EXIT_USAGE)
    kind = ItemKind(listing.value) if listing else ItemKind.DOCUMENT
    with _explained():
        settings = _load(config)[1]
        store = _open_store(settings, migrate=True)
        try:
            with _progress("registering", len(files)) as bar:
                failed = fingerprint.add(
                    files,
                    fingerprint.Wanted(
                        kind=ItemKind.PUBLIC if public else kind,
                        category=LeakCategory(category.value),
                        label=label,
                        columns=column or (),
                    ),
                    store=store,
                    fingerprints=fingerprints_of(open_pseudonyms(store)),
                    now=utc_now(),
                    sink=sys.stdout,
                    errors=sys.stderr,
                    progress=bar,
                )
        finally:
            store.close()
    if failed:
        _say(f"{failed} of {len(files)} files were not registered")
        raise typer.Exit(EXIT_FAILURES)


@fingerprint_app.command("list")
def fingerprint_list(
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON Lines.")] = False,
) -> None:
    """List what is registered: labels, kinds and numbers. There is no text to show."""
    from monitor.commands import fingerprint  # noqa: PLC0415

    with _explained():
        settings = _load(config)[1]
        store = _open_store(settings, migrate=False)
        fingerprint.show_list(store, sys.stdout, settings.timezone, as_json=as_json)
        store.close()


@fingerprint_app.command("remove")
def fingerprint_remove(
    labels: Annotated[list[str], typer.Argument(metavar="LABEL…", help="What to forget.")],
    config: ConfigOption = None,
) -> None:
    """Forget documents and lists. A running daemon notices within a second."""
    from monitor.commands import fingerprint  # noqa: PLC0415

    with _explained():
        settings = _load(config)[1]
        store = _open_store(settings, migrate=False)
        missing = fingerprint.remove(store, labels, sys.stderr)
        store.close()
    if missing:
        raise typer.Exit(EXIT_FAILURES)


@fingerprint_app.command("test")
def fingerprint_test(
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON Lines.")] = False,
) -> None:
    """Say what of the register stands in one post, read from standard input.

    Example: echo "the text of a post" | merkwacht fingerprint test
    """
    from monitor.app import open_pseudonyms  # noqa: PLC0415
    from monitor.commands import fingerprint  # noqa: PLC0415
    from monitor.register import open_detector  # noqa: PLC0415

    _set_utf8()
    with _explained():
        settings = _load(config)[1]
        store = _open_store(settings, migrate=False)
        detector = open_detector(store, open_pseudonyms(store))
        hits = fingerprint.hits_in(detector, sys.stdin.read())
        fingerprint.show_hits(hits, sys.stdout, as_json=as_json)
        store.close()


@fingerprint_app.command("rescan")
def fingerprint_rescan(
    days: Annotated[int, typer.Option(min=1, help="Posts published in so many days.")] = 30,
    config: ConfigOption = None,
) -> None:
    """Look for what is registered now in posts that are stored already; prints them as JSON Lines.

    Nothing is assessed anew and nobody is alerted.
    """
    from monitor.app import open_pseudonyms, utc_now  # noqa: PLC0415
    from monitor.commands import fingerprint  # noqa: PLC0415
    from monitor.register import open_detector  # noqa: PLC0415

    with _explained():
        settings = _load(config)[1]
        store = _open_store(settings, migrate=False)
        detector = open_detector(store, open_pseudonyms(store))
        since = utc_now() - timedelta(days=days)
        with store.read() as unit:
            total = unit.mentions.total()
        with _progress("looking", total) as bar:
            found = fingerprint.rescan(store, detector, sys.stdout, since, bar)
        store.close()
    _say(f"{found} posts hold something that is registered")


# -- demo ------------------------------------------------------------------------------------------


@app.command()
def demo(
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for mails and data. Default: ./demo-output."),
    ] = None,
    leave: Annotated[
        bool, typer.Option("--exit", help="End when the week is over instead of staying up.")
    ] = False,
) -> None:
    """Replay a week of an invented brand through the real daemon, with real mails on loopback."""
    from monitor.demo.run import run as play  # noqa: PLC0415

    _quiet_log("error")
    with _explained():
        raise typer.Exit(play(output, exit_at_end=leave))


if __name__ == "__main__":
    main()
