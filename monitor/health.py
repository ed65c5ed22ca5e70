"""How an installation fares, each thing that is wrong with its remedy: for ``merkwacht doctor``.

Looks only: nothing is stored, sent or mended. Every part is looked at by itself, so that what is
broken hides nothing else.
"""

from __future__ import annotations

import http.client
import json
import os
import platform
import re
import sqlite3
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from alerts.base import DeliveryFault
from alerts.clocks import ClockState
from alerts.plain import one_line
from classifiers.embedded import EmbeddedModel, ModelError
from connectors.base import Darkness
from monitor import copying, modes
from monitor.app import is_running, open_pseudonyms
from monitor.backup import key_of
from monitor.config import (
    Config,
    ConfigError,
    HttpOptions,
    StoreOptions,
    anchored,
    find,
    load,
)
from monitor.copying import in_words, size_of
from monitor.database import HEAD, StoreError, explained, former, newer, schema_of
from monitor.exposure import exposures
from monitor.findings import Finding, Findings, Grade
from monitor.means import budgets, clock, emptiness, free_now, growth, kernel_keeps_time
from monitor.modes import name_of
from monitor.release import program_version
from monitor.store import Store, Unit

_AHEAD = timedelta(minutes=2)
"""A stored moment may be so far ahead of the clock."""
_LATE = timedelta(minutes=15)
"""A poll may be so late, a notification may have waited so long."""
_RECENT = timedelta(days=7)
"""Dead letters of so long ago are history."""
_COPY_AGE = timedelta(days=30)
"""After so long a copy from before an upgrade has done its duty."""
_LOG_LIMIT = 512 * 1024 * 1024
_LINE = 400

_DARK_REMEDIES: Mapping[Darkness, str] = {
    Darkness.REFUSED: "renew its credentials or mend its address in the configuration, then "
    "try: merkwacht check --online",
    Darkness.BLOCKED: "see with a browser whether it answers from this machine; it may refuse "
    "programs, or a firewall or proxy may stand between",
    Darkness.QUOTA: "wait until its allowance is renewed, raise the plan, or lengthen "
    "interval_seconds",
    Darkness.BEHIND: "it catches up by itself; if it lasts, let a poll read longer, or see how fast "
    "this machine and its line are",
    Darkness.ERROR: "try: merkwacht check --online; it goes on by itself once it answers",
    Darkness.DOWN: "start the daemon: systemctl start merkwacht",
}
_DELIVERY_REMEDIES: Mapping[DeliveryFault, str] = {
    DeliveryFault.TIMEOUT: "see whether its server is up and reachable from here",
    DeliveryFault.UNREACHABLE: "see whether its server is up; check host, port, DNS and firewall",
    DeliveryFault.TLS: "renew the server's certificate, or give its authority in the configuration",
    DeliveryFault.UNAUTHORIZED: "renew its password or token in the configuration, then reload",
    DeliveryFault.RATE_LIMITED: "lower messages_per_minute of the channel, or group alerts",
    DeliveryFault.REFUSED: "mend the addresses of its receivers, then reload",
    DeliveryFault.SERVER_ERROR: "ask who runs its server; what waits leaves by itself",
    DeliveryFault.INTERNAL: "see the log, and please report it",
}


@dataclass(frozen=True, slots=True)
class Report:
    """One page on an installation."""

    findings: tuple[Finding, ...]
    valid: bool
    """Whether the configuration is."""
    file: Path | None
    database: Path | None
    timezone: str
    examined_at: datetime

    @property
    def wrong(self) -> tuple[Finding, ...]:
        """What is to be mended."""
        return tuple(each for each in self.findings if each.grade is Grade.WRONG)


def look_at_model(config: Config | None) -> Findings:
    """Load the model of a configuration and have it answer."""
    folder = None if config is None else config.classifiers.model
    try:
        model = EmbeddedModel(folder)
        # Compares every file with what its description says, and loads them.
        model.predict(["Alles is goed."])
    except ModelError as error:
        yield Finding(
            "model",
            Grade.WRONG,
            one_line(str(error), _LINE),
            "install Merkwacht again, or name a whole model folder in classifiers.model",
        )
    else:
        yield Finding("model", Grade.GOOD, f"{model.version}: whole, loads and answers")
    if config is not None and (
        config.classifiers.sentiment_model or config.classifiers.abuse_model
    ):
        yield Finding(
            "model", Grade.NOTE, "models of others are not tried here: merkwacht check --online"
        )


def examine(
    given: Path | None,
    *,
    now: datetime,
    running: Path = Path("/run"),
    model: Callable[[Config | None], Iterable[Finding]] = look_at_model,
) -> Report:
    """Look at everything.

    Args:
        given: the configuration; None: where it usually is.
        now: the present.
        running: where services leave word of themselves (``/run``).
        model: looks at the model, which takes longer than all the rest.
    """
    file, config, found = _configuration(given)
    findings = [*_versions(), *found]
    database = None if file is None else _database(file, modes.as_written(file), config)
    if file is not None:
        findings += _config_modes(file)
    if config is not None:
        findings += _open_ways(config)
    if database is not None:
        findings += _state_modes(database)
        if _shut(database) is None:
            findings += _data(database, config, now)
            findings += _daemon(database, HttpOptions() if config is None else config.http)
    findings += model(config)
    findings += clock(running, kept=kernel_keeps_time())
    return Report(
        findings=tuple(findings),
        valid=config is not None,
        file=file,
        database=database,
        timezone="UTC" if config is None else config.timezone,
        examined_at=now,
    )


def _shut(file: Path) -> Path | None:
    """What keeps whoever asks from reading a file: its folder or itself; None where nothing does."""
    if modes.mode_of(file.parent) is not None and not os.access(file.parent, os.X_OK):
        return file.parent
    return file if modes.mode_of(file) is not None and not os.access(file, os.R_OK) else None


# -- what is configured ----------------------------------------------------------------------------


def _configuration(given: Path | None) -> tuple[Path | None, Config | None, list[Finding]]:
    """The file, where there is one that may be read; what it says, where that is valid."""
    try:
        file = find(given)
    except ConfigError as error:
        return None, None, _problems(error)
    except PermissionError as error:
        return None, None, [_not_for_us(error.filename)]
    if (shut := _shut(file)) is not None:
        return None, None, [_not_for_us(shut)]
    try:
        config = load(file, secrets=False)
    except ConfigError as error:
        return file, None, _problems(error)
    return file, config, [_summary(file, config)]


def _problems(error: ConfigError) -> list[Finding]:
    return [
        Finding(
            "configuration",
            Grade.WRONG,
            one_line(f"{error.file}: {each.path}: {each.message}", _LINE),
            "mend it, then: merkwacht check",
        )
        for each in error.problems
    ]


def _not_for_us(path: Path | str) -> Finding:
    return Finding(
        "configuration",
        Grade.WRONG,
        f"{path}: may not be looked at by {name_of(os.geteuid())}",
        "run this as the user that the daemon runs as: sudo -u merkwacht merkwacht doctor",
    )


def _versions() -> Findings:
    yield Finding(
        "versions",
        Grade.GOOD,
        f"Merkwacht {program_version()}, schema {HEAD}, Python {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}, ONNX Runtime {version('onnxruntime')}, "
        f"{ssl.OPENSSL_VERSION}",
    )


def _summary(file: Path, config: Config) -> Finding:
    tables = ("brands", "sources", "channels", "receivers", "routes")
    counts = ", ".join(f"{name} {len(getattr(config, name))}" for name in tables)
    return Finding("configuration", Grade.GOOD, f"{file}: valid ({counts})")


def _database(file: Path, raw: Mapping[str, Any], config: Config | None) -> Path:
    """Where the database is, as far as a broken configuration says."""
    if config is not None:
        return config.store.path
    store = raw.get("store")
    path = store.get("path") if isinstance(store, dict) else None
    options = StoreOptions(path=Path(path)) if isinstance(path, str) and path else StoreOptions()
    return anchored(options, file).path


# -- who may read and write what -------------------------------------------------------------------


def _config_modes(file: Path) -> Findings:
    for each in modes.of_configuration(file):
        if each.mounted:
            what = f"{each.what}; unless nobody else is in this container, {each.remedy}"
            yield Finding("permissions", Grade.NOTE, what)
        else:
            yield Finding("permissions", Grade.WRONG, each.what, each.remedy)


def _open_ways(config: Config) -> Findings:
    for each in exposures(config):
        grade = Grade.WRONG if each.grave else Grade.NOTE
        remedy = each.remedy if each.grave else ""
        what = each.what if each.grave else f"{each.what}; unless that is meant, {each.remedy}"
        yield Finding("network", grade, f"{each.where}: {what}", remedy)


def _state_modes(database: Path) -> Findings:
    folder = database.parent
    if modes.mode_of(folder) is None:
        yield Finding(
            "permissions",
            Grade.WRONG,
            f"{folder}: no such folder, or it may not be looked into",
            f"install -d -m 0700 {folder}, owned by whom the daemon runs as; or mend store.path",
        )
        return
    if (shut := _shut(database)) is not None:
        whose = name_of(shut.stat().st_uid)
        yield Finding(
            "permissions",
            Grade.WRONG,
            f"{shut}: may not be looked at by {name_of(os.geteuid())}: nothing is known of database, "
            "sources, channels, clocks and the daemon",
            f"run this as {whose}: sudo -u {whose} merkwacht doctor",
        )
        return
    for each in modes.of_state(database):
        yield Finding("permissions", Grade.WRONG, each.what, each.remedy)
    if not os.access(folder, os.W_OK | os.X_OK):
        yield Finding(
            "permissions",
            Grade.WRONG,
            f"the state folder {folder} is not writable for {name_of(os.geteuid())}",
            f"run this as {name_of(folder.stat().st_uid)}, or change its owner",
        )
    owner = folder.stat().st_uid
    for path in (database, *(copying.beside(database, end) for end in (".key", "-wal", "-shm"))):
        if path.exists() and path.stat().st_uid != owner:
            yield Finding(
                "permissions",
                Grade.WRONG,
                f"{path} belongs to {name_of(path.stat().st_uid)}, its folder to {name_of(owner)}: "
                "the daemon may be locked out",
                f"chown {name_of(owner)} {path}; run commands as {name_of(owner)}",
            )


# -- the database, and what it says ----------------------------------------------------------------


def _data(database: Path, config: Config | None, now: datetime) -> Findings:
    try:
        with explained(database):
            schema = schema_of(database)
    except (StoreError, OSError) as error:
        yield Finding("database", Grade.WRONG, one_line(str(error), _LINE), _go_back(database))
        return
    if schema is None:
        yield Finding(
            "database", Grade.NOTE, f"{database}: not there yet; the daemon makes it when it starts"
        )
        yield from free_now(database)
        return
    try:
        with explained(database):
            copying.check(database, quick=True)
    except StoreError as error:
        yield Finding("database", Grade.WRONG, one_line(str(error), _LINE), _go_back(database))
        return
    yield Finding(
        "database",
        Grade.GOOD,
        f"{database}: sound, {in_words(size_of(database))}, schema {schema}",
    )
    try:
        yield from emptiness(database)
    except StoreError as error:
        yield Finding("database", Grade.WRONG, one_line(str(error), _LINE), "try again in a while")
    yield from _log_size(database)
    yield from free_now(database)
    yield from _copies(database, now)
    if schema != HEAD:
        yield _other_schema(database, schema)
        return
    yield from _rows(database, config, now)


def _go_back(database: Path) -> str:
    kept = former(database)
    where = f"; beside it lies {kept[0].name}" if kept else ""
    return (
        f"stop the daemon, then: merkwacht restore BACKUP{where}. Without a backup move {database} "
        "away to start anew"
    )


def _other_schema(database: Path, schema: str) -> Finding:
    if schema > HEAD:
        said, _, remedy = newer(database, schema).partition("; ")
        return Finding("database", Grade.WRONG, said, remedy)
    return Finding(
        "database",
        Grade.WRONG,
        f"{database}: at schema {schema}, this program knows {HEAD}",
        "start the daemon: it upgrades it, and keeps a copy of what is there now",
    )


def _log_size(database: Path) -> Findings:
    log = copying.beside(database, "-wal")
    size = log.stat().st_size if log.exists() else 0
    if size > _LOG_LIMIT:
        yield Finding(
            "database",
            Grade.WRONG,
            f"{log}: {in_words(size)}: something keeps reading, so it cannot be written back",
            f"find it with: fuser {database}; end it, or restart the daemon",
        )
    elif size:
        yield Finding("database", Grade.GOOD, f"write-ahead log {in_words(size)}")


def _copies(database: Path, now: datetime) -> Findings:
    for each in former(database):
        made = datetime.fromtimestamp(each.stat().st_mtime, UTC)
        if now - made > _COPY_AGE:
            yield Finding(
                "database",
                Grade.WRONG,
                f"{each}: kept before the upgrade of {made:%Y-%m-%d}; it still holds what was "
                "deleted since",
                f"when the upgrade has proved itself: rm {each}",
            )


def _rows(database: Path, config: Config | None, now: datetime) -> Findings:
    try:
        store = Store(database, migrate=False)
    except StoreError as error:
        yield Finding(
            "database",
            Grade.WRONG,
            one_line(str(error), _LINE),
            f"run this as {name_of(database.stat().st_uid)}",
        )
        return
    try:
        yield from _key(store)
        with store.read() as unit:
            running = is_running(database)
            yield from _clock(unit, now)
            if config is not None:
                yield from _sources(unit, config, now, running=running)
                yield from _channels(unit, config, now)
                yield from budgets(unit, config, now)
                yield from growth(unit, database, config, now)
            yield from _clocks(unit)
    except StoreError as error:
        yield Finding("database", Grade.WRONG, one_line(str(error), _LINE), "try again in a while")
    finally:
        store.close()


def _key(store: Store) -> Findings:
    with store.read() as unit:
        if unit.fact("pseudonym_key") is None:
            yield Finding("key", Grade.NOTE, "no pseudonym key yet; the daemon makes it")
            return
    try:
        open_pseudonyms(store)
    except StoreError as error:
        yield Finding(
            "key",
            Grade.WRONG,
            one_line(str(error), _LINE),
            f"copy {key_of(store.path).name} from the backup of this database; without it the "
            "daemon does not start",
        )
    else:
        yield Finding("key", Grade.GOOD, "the pseudonym key belongs to the database")


def _sources(unit: Unit, config: Config, now: datetime, *, running: bool) -> Findings:
    states = {each.name: each for each in unit.sources.all()}
    dark = unit.dusk.lasting()
    zone, heard = ZoneInfo(config.timezone), 0
    for options in config.sources:
        if not options.enabled:
            yield Finding("sources", Grade.NOTE, f"{options.name}: not enabled")
            continue
        state, gone = states.get(options.name), dark.get(options.name)
        if gone is not None and gone.reason is not Darkness.PAUSED:
            why = f": {one_line(gone.error, _LINE)}" if gone.error else ""
            yield Finding(
                "sources",
                Grade.WRONG,
                f"{options.name}: not heard since {_at(gone.started_at, zone)} "
                f"({gone.reason.value}){why}",
                _DARK_REMEDIES.get(gone.reason, _DARK_REMEDIES[Darkness.ERROR]),
            )
        elif state is None or state.last_success_at is None:
            yield Finding("sources", Grade.NOTE, f"{options.name}: not polled yet")
        elif running and state.next_due_at < now - _LATE:
            yield Finding(
                "sources",
                Grade.WRONG,
                f"{options.name}: a poll was due at {_at(state.next_due_at, zone)} and was not made",
                "see the log for polls that hang: journalctl -u merkwacht -p warning; restart it",
            )
        else:
            heard += 1
    if heard:
        yield Finding("sources", Grade.GOOD, f"{heard} of {len(config.sources)} heard")


def _channels(unit: Unit, config: Config, now: datetime) -> Findings:
    zone, trouble = ZoneInfo(config.timezone), False
    for each in unit.outages.all():
        if not each.down:
            continue
        trouble = True
        yield Finding(
            "channels",
            Grade.WRONG,
            f"{each.channel}: delivers nothing since {_at(each.since, zone)} "
            f"({each.fault.value}): {one_line(each.error, _LINE)}",
            _DELIVERY_REMEDIES[each.fault],
        )
    dead = [each for each in unit.outbox.dead() if each.created_at >= now - _RECENT]
    if dead:
        trouble, last = True, dead[-1]
        yield Finding(
            "channels",
            Grade.WRONG,
            f"{_count(len(dead), 'notification')} given up in the last {_RECENT.days} days; the last over "
            f"{last.channel} to {last.receiver}: {one_line(last.error or 'no reason kept', _LINE)}",
            f"merkwacht incidents show {last.incident_id}; tell the receiver in person, mend the "
            "channel or its address, reload",
        )
    waiting, oldest = unit.outbox.waiting()
    if oldest is not None and oldest < now - _LATE:
        trouble = True
        yield Finding(
            "channels",
            Grade.WRONG,
            f"{_count(waiting, 'notification')} not delivered yet, the oldest of {_at(oldest, zone)}",
            "mend the channel they wait for, and see that the daemon runs",
        )
    if not trouble:
        yield Finding("channels", Grade.GOOD, f"{len(config.channels)} configured, none broken")


def _clocks(unit: Unit) -> Findings:
    counts = unit.following.unfinished()
    running = sum(n for (_, state), n in counts.items() if state is ClockState.RUNNING)
    for (name, state), count in sorted(counts.items()):
        if state is ClockState.BREACHED:
            numbers = [
                incident.id
                for incident in unit.incidents.burning()
                for clock in unit.following.clocks(incident.id)
                if clock.name == name and clock.outcome is ClockState.BREACHED
            ]
            named = ", ".join(map(str, numbers[:5])) + (" …" if len(numbers) > 5 else "")  # noqa: PLR2004
            yield Finding(
                "clocks",
                Grade.WRONG,
                f"{name}: run out in {_count(count, 'incident')} not over yet ({named})",
                f"merkwacht incidents show {numbers[0] if numbers else 'N'}: do what it waits for "
                "and record it, or resolve it",
            )
    yield Finding("clocks", Grade.GOOD, f"{running} running")


def _clock(unit: Unit, now: datetime) -> Findings:
    newest = unit.looking.newest()
    if not newest:
        return
    name, at = max(newest.items(), key=lambda each: each[1])
    if at > now + _AHEAD:
        yield Finding(
            "time",
            Grade.WRONG,
            f"the newest {name} was written at {at:%Y-%m-%d %H:%M} UTC, and it is "
            f"{now:%Y-%m-%d %H:%M} UTC now: the clock ran ahead then, or is slow now",
            "timedatectl status; set the clock right, then restart the daemon",
        )
    else:
        yield Finding(
            "time", Grade.GOOD, f"the newest {name} is of {at:%Y-%m-%d %H:%M:%S} UTC, not ahead"
        )


# -- what runs -------------------------------------------------------------------------------------


def _daemon(database: Path, options: HttpOptions) -> Findings:
    if not is_running(database):
        yield Finding(
            "daemon",
            Grade.WRONG,
            "does not run: nobody watches",
            "systemctl start merkwacht (or: merkwacht run); why it ended: journalctl -u merkwacht",
        )
        return
    if not options.enabled or not options.port:
        yield Finding("daemon", Grade.GOOD, "runs; it has no address to ask for its health")
        return
    host = "127.0.0.1" if options.host in ("0.0.0.0", "::") else options.host  # noqa: S104 - compared
    try:
        stale, running = _ask_ready(host, options.port), _ask_version(host, options.port)
    except (OSError, ValueError, http.client.HTTPException) as error:
        yield Finding(
            "daemon",
            Grade.WRONG,
            f"runs, and does not answer on {host}:{options.port} ({type(error).__name__})",
            "it is starting, hangs, or runs with another http.port: see journalctl -u merkwacht; "
            "systemctl restart merkwacht",
        )
        return
    if stale:
        named = ", ".join(f"{name} {round(age)} s" for name, age in sorted(stale.items()))
        yield Finding(
            "daemon",
            Grade.WRONG,
            f"runs, and these steps have not come to an end lately: {named}",
            "see journalctl -u merkwacht -p warning; systemctl restart merkwacht",
        )
    else:
        yield Finding("daemon", Grade.GOOD, "runs, and every step has come to an end lately")
    if running is not None and running != program_version():
        yield Finding(
            "versions",
            Grade.WRONG,
            f"what runs is {one_line(running, 40)}, what is installed is {program_version()}",
            "systemctl restart merkwacht: the upgrade takes effect then",
        )


def _ask_version(host: str, port: int) -> str | None:
    """The version of the daemon that answers; None where it does not say."""
    connection = http.client.HTTPConnection(host, port, timeout=3)
    try:
        connection.request("GET", "/metrics")
        for line in connection.getresponse():
            if line.startswith(b"merkwacht_build_info{"):
                found = re.search(r'[{,]version="([^"]*)"', line.decode("utf-8", "replace"))
                return None if found is None else found[1]
    finally:
        connection.close()
    return None


def _ask_ready(host: str, port: int) -> dict[str, float]:
    """The steps that are stale, with the seconds since they came to an end."""
    connection = http.client.HTTPConnection(host, port, timeout=3)
    try:
        connection.request("GET", "/readyz")
        said = json.loads(connection.getresponse().read(65_536))
        return {one_line(str(name), 40): float(age) for name, age in said["stale_steps"].items()}
    except (KeyError, TypeError, AttributeError):
        raise ValueError("not Merkwacht's answer") from None
    finally:
        connection.close()


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _at(moment: datetime, zone: ZoneInfo) -> str:
    return moment.astimezone(zone).strftime("%Y-%m-%d %H:%M")
