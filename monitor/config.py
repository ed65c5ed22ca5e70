"""The configuration: one TOML file, read once, checked whole, every error in the reader's terms.

The options of each plug-in live beside the plug-in; this module joins them in unions told apart by
``kind``, adds what all sources and channels share, and checks that names refer to something.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, Union, cast
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    SecretStr,
    ValidationError,
    create_model,
    field_validator,
    model_validator,
)

from alerts import CHANNELS
from alerts.clocks import DEFAULT_CLOCKS, ClockOptions
from alerts.escalation import ChainOptions, StepOptions
from alerts.grouping import GroupOptions
from alerts.quiet import QuietOptions
from alerts.rota import OverrideOptions, RotaOptions, ShiftOptions
from alerts.routes import RULES, BranchOptions, ReceiverOptions, RouteOptions, Via
from alerts.silences import InhibitionOptions, SilenceLimits
from alerts.spikes import Sensitivity
from alerts.worktime import OfficeOptions
from classifiers import vision
from classifiers.second_opinion import SecondOpinionOptions
from connectors import CONNECTORS, FOUND
from connectors.addresses import AddressPolicy
from connectors.base import Priced
from connectors.options import SECRET_PLACES, Options, SecretPlaces
from connectors.query import Query, QuerySyntaxError
from connectors.queryx import XQueryError
from connectors.x import XOptions
from monitor.budget import BudgetOptions, budget_problems
from monitor.heartbeat import HeartbeatOptions
from monitor.places import SEARCH_PATH, configuration, database
from monitor.references import references, tables

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}$"


def _timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError("not an IANA time zone; write it like Europe/Amsterdam or UTC") from None
    return name


def _query(source: str) -> str:
    try:
        Query.parse(source)
    except QuerySyntaxError as error:
        raise ValueError(str(error)) from None
    return source


def _reachable(places: list[str]) -> list[str]:
    AddressPolicy(places)
    return places


Name = Annotated[str, Field(pattern=NAME_PATTERN)]
QueryText = Annotated[str, AfterValidator(_query)]


class StoreOptions(Options):
    """Where mentions, incidents and the outbox live."""

    path: Path = Path("merkwacht.db")
    """The SQLite file. Relative to $STATE_DIRECTORY where systemd sets it, else to this file."""
    retention_days: int = Field(default=365, ge=1, le=3650)
    """Mentions older than this are deleted, save those of incidents that still burn; so is what messages
    said of incidents that ended before."""


class ClassifierOptions(Options):
    """The models and their rules."""

    model: Path | None = None
    """Folder of a model to use instead of the embedded one."""
    threads: int = Field(default=2, ge=1, le=64)
    """Processor threads for the model."""
    leak_sensitivity: Literal["strict", "balanced", "wide"] = "balanced"
    """How sure a leak must be before people are woken: ``strict`` wakes least, ``wide`` most."""
    leak_threshold: float | None = Field(default=None, gt=0, lt=1)
    """Score from which a leak is escalated, instead of the one that the sensitivity stands for."""
    review_threshold: float | None = Field(default=None, gt=0, lt=1)
    """Score from which a post is put up for review, likewise."""
    sentiment_model: str | None = None
    """Hugging Face id or folder of a sequence-classification model for sentiment instead of ours."""
    abuse_model: str | None = None
    """The same for abuse."""
    sentiment_labels: dict[str, Literal["negative", "neutral", "positive"]] = Field(
        default_factory=dict
    )
    """What the labels of ``sentiment_model`` mean, where their names do not say."""
    abuse_labels: dict[str, Literal["none", "abusive", "threat"]] = Field(default_factory=dict)
    """The same for ``abuse_model``."""
    vision: bool = False
    """Whether to fetch pictures that are attached to mentions and to look for leaks in what they say.
    Needs the extra ``vision``."""
    second_opinion: SecondOpinionOptions | None = None
    """Whom to ask about doubtful leaks. Default: nobody."""

    @field_validator("vision")
    @classmethod
    def _has_its_extra(cls, wanted: bool) -> bool:  # noqa: FBT001 - pydantic's own signature
        if wanted and not vision.is_installed():
            raise ValueError(vision.MISSING)
        return wanted


class HttpOptions(Options):
    """The daemon's own address for Prometheus and health checks."""

    host: str = "127.0.0.1"
    """Address to listen on. Anything but loopback shows the figures to the network."""
    port: int = Field(default=9464, ge=0, le=65535)
    """Port for /metrics, /healthz and /readyz; 0 takes any free one."""
    enabled: bool = True
    """Whether to listen at all."""


class WebOptions(Options):
    """The public address: where people open an incident from a mail, and platforms deliver."""

    enabled: bool = False
    """Whether to listen, and to put links into messages."""
    host: str = "127.0.0.1"
    """Address to listen on: loopback behind a proxy of your own, or one that is reached directly."""
    port: int = Field(default=9465, ge=0, le=65535)
    """Its port; 0 takes any free one."""
    public_url: str | None = None
    """How people reach it, as "https://watch.example.com". Links in messages begin with it."""
    certificate_file: Path | None = None
    """Certificate chain (PEM) to serve TLS with. Without it a proxy in front must do that."""
    key_file: Path | None = None
    """Its key (PEM), where that is another file."""
    link_days: int = Field(default=7, ge=1, le=90)
    """Days after which a link in a message is no longer good."""

    @field_validator("public_url")
    @classmethod
    def _public_url_is_safe(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        plain = not (parts.query or parts.fragment or parts.username or parts.password)
        local = parts.hostname in {"localhost", "127.0.0.1", "::1"}
        good = parts.scheme == "https" or (parts.scheme == "http" and local)
        if not (good and plain and parts.hostname and re.fullmatch(r"[!-~]{1,200}", value)):
            raise ValueError('not an address like "https://watch.example.com"')
        return value.rstrip("/")

    @model_validator(mode="after")
    def _whole(self) -> WebOptions:
        if self.enabled and self.public_url is None:
            raise ValueError(
                'public_url is needed: how people reach it, as "https://watch.example.com"'
            )
        if self.key_file is not None and self.certificate_file is None:
            raise ValueError("key_file belongs to certificate_file: give both")
        return self


class LogOptions(Options):
    """What the daemon logs, to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Lowest level that is logged."""
    format: Literal["auto", "text", "json"] = "auto"
    """auto: entries with fields in the journal under systemd, colourful on a terminal."""
    repeat_seconds: float = Field(default=300, ge=0, le=86_400)
    """How long a line that comes again and again is counted instead of told; 0: told each time."""


class NetworkOptions(Options):
    """What sources may reach."""

    allow_private_addresses: Annotated[list[str], AfterValidator(_reachable)] = Field(
        default_factory=list
    )
    """Hosts or networks inside the organisation that sources may reach, such as "10.1.0.0/16" or
    "intranet.example.org". Everything private is refused otherwise."""
    contact: str = ""
    """Address that operators of sources find in our User-Agent."""


class BrandOptions(Options):
    """One brand to watch."""

    name: Name
    """How alerts and metrics call it."""
    query: QueryText
    """What a post must say to be a mention: see docs/queries.md."""
    official_accounts: list[str] = Field(default_factory=list)
    """The brand's own accounts as "platform:handle". No other account may be named."""
    watch_words: list[QueryText] = Field(default_factory=list)
    """Names that must not be public yet: projects, products. Each is a query."""
    sensitivity: Sensitivity = Sensitivity.BALANCED
    """How soon a spike rings: calm, balanced or alert."""

    @field_validator("official_accounts")
    @classmethod
    def _platform_and_handle(cls, accounts: list[str]) -> list[str]:
        for account in accounts:
            platform, _, handle = account.partition(":")
            if not platform.strip() or not handle.strip("@ "):
                raise ValueError(f'"{account}" is not of the form "platform:handle", as "x:acme"')
        return accounts


class SourceBase(Options):
    """What every source has besides the options of its kind."""

    kind: str
    """Which connector: see docs/connectors.md."""
    name: Name
    """How logs and metrics call it."""
    interval_seconds: int = Field(default=300, ge=15, le=86400)
    """Pause between polls, in seconds."""
    brands: list[str] = Field(default_factory=list)
    """The brands this source is read for. Default: all."""
    enabled: bool = True
    """Whether it is polled."""
    silent_after_seconds: int = Field(default=3600, ge=60)
    """Dark for longer than this, in seconds, it raises a silent_source signal."""
    canary: QueryText | None = None
    """A query that surely finds something here every day, such as a newspaper's own name. While it
    finds nothing the source counts as blocked, whatever it answers. It is searched for with the
    brands' queries and counts for no brand."""
    canary_hours: float = Field(default=24, gt=0, le=24 * 30)
    """Hours of listening in which the canary may find nothing."""
    retention_days: int | None = Field(default=None, ge=1, le=3650)
    """Days after which its posts are deleted, counted from when they were read, where the platform's terms
    allow less than store.retention_days. Default: as the store."""


class PricedBase(SourceBase):
    """What every source that costs money has besides."""

    budget: BudgetOptions | None = None
    """What it may cost in a day and a month. Default: no limit."""


class ChannelBase(Options):
    """What every channel has besides the options of its kind."""

    kind: str
    """Which channel: email, slack, webhook, alertmanager or apprise."""
    name: Name
    """How receivers refer to it."""
    messages_per_minute: int | None = Field(default=None, ge=1, le=6000)
    """Messages handed over within any minute at most. Default: 30 mails; for Slack one a second in
    each of its channels; for others as they come."""
    broken_after_minutes: float = Field(default=10, ge=1, le=1440)
    """After how long without delivering anything it raises a broken_channel signal."""


_Base = TypeVar("_Base", bound=BaseModel)


def _union(table: Mapping[str, Any], base: type[_Base], suffix: str) -> Any:
    """The options of every plug-in joined with what all share, told apart by ``kind``."""
    make: Any = create_model
    members = [
        make(
            f"{kind.capitalize()}{suffix}",
            __base__=(_base_of(plugin, base), plugin.Options),
            __doc__=plugin.Options.__doc__,
            kind=(Literal[kind], ...),
        )
        for kind, plugin in table.items()
    ]
    return Annotated[Union[tuple(members)], Field(discriminator="kind")]  # noqa: UP007 - built at run time


def _base_of(plugin: Any, base: type[BaseModel]) -> type[BaseModel]:
    """What all plug-ins share, and what those that cost money do."""
    return PricedBase if base is SourceBase and isinstance(plugin, Priced) else base


if TYPE_CHECKING:
    SourceOptions = SourceBase
    ChannelOptions = ChannelBase
else:
    SourceOptions = _union(CONNECTORS, SourceBase, "Source")
    ChannelOptions = _union(CHANNELS, ChannelBase, "Channel")


class Config(Options):
    """A whole configuration that makes sense."""

    language: Literal["nl", "en"] = "nl"
    """Language of alerts."""
    timezone: Annotated[str, AfterValidator(_timezone)] = "Europe/Amsterdam"
    """Time zone of alerts, and of the daily and weekly rhythm of the spike detector."""
    store: StoreOptions = StoreOptions()
    classifiers: ClassifierOptions = ClassifierOptions()
    network: NetworkOptions = NetworkOptions()
    http: HttpOptions = HttpOptions()
    web: WebOptions = WebOptions()
    log: LogOptions = LogOptions()
    heartbeat: HeartbeatOptions = HeartbeatOptions()
    brands: list[BrandOptions] = Field(min_length=1)
    sources: list[SourceOptions] = Field(min_length=1)
    channels: list[ChannelOptions] = Field(min_length=1)
    receivers: list[ReceiverOptions] = Field(min_length=1)
    routes: list[RouteOptions] = Field(min_length=1)
    office: OfficeOptions = OfficeOptions()
    clocks: tuple[ClockOptions, ...] = DEFAULT_CLOCKS
    """The promises that are watched. Default: a crisis within the hour, feedback within 24 hours."""
    escalations: tuple[ChainOptions, ...] = ()
    rotas: tuple[RotaOptions, ...] = ()
    inhibition: InhibitionOptions = InhibitionOptions()
    silences: SilenceLimits = SilenceLimits()

    def brands_of(self, source: SourceBase) -> list[BrandOptions]:
        """The brands a source is read for."""
        return [brand for brand in self.brands if not source.brands or brand.name in source.brands]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a configuration."""

    path: str
    """``sources[2].interval_seconds``, or ``line 3, column 7`` for TOML syntax."""
    message: str


class ConfigError(Exception):
    """A configuration that is refused; ``str()`` has one problem a line, each with its file."""

    def __init__(self, file: Path, problems: Sequence[Problem]) -> None:
        self.file = file
        self.problems = tuple(problems)
        lines = (f"{file}: {item.path}: {item.message}" for item in problems)
        super().__init__("\n".join(lines))


def find(given: Path | None) -> Path:
    """The configuration to use: given, ``$MERKWACHT_CONFIG``, ``./config.toml``, ``/etc/merkwacht``.

    Raises:
        ConfigError: none of them exists.
    """
    found = configuration(given)
    if found is not None:
        return found
    places = ", ".join(str(path) for path in SEARCH_PATH)
    raise ConfigError(
        SEARCH_PATH[0],
        [
            Problem(
                "(file)",
                f"no configuration found: looked at $MERKWACHT_CONFIG, {places}; "
                "make one with: merkwacht init",
            )
        ],
    )


def load(file: Path, *, secrets: bool = True) -> Config:
    """Read and check a configuration.

    Args:
        file: the file.
        secrets: False for commands that send and fetch nothing: they can do without the systemd
            credentials that only the service may read.

    Raises:
        ConfigError: with every problem at once.
    """
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(
            file, [Problem("(file)", "no such file; make one with: merkwacht init")]
        ) from None
    except PermissionError:
        who = "run it as the user that the daemon runs as: sudo -u merkwacht merkwacht …"
        raise ConfigError(file, [Problem("(file)", f"you may not read it; {who}")]) from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            file, [Problem(f"byte {error.start}", "not UTF-8; save the file as UTF-8")]
        ) from None
    except OSError as error:
        raise ConfigError(file, [Problem("(file)", error.strerror or "cannot be read")]) from None
    return parse(text, file, secrets=secrets)


def parse(text: str, file: Path, *, secrets: bool = True) -> Config:
    """Check the text of a configuration; ``file`` is for messages and relative paths.

    Raises:
        ConfigError: with every problem at once.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(file, [_syntax_problem(error)]) from None
    problems: list[Problem] = []
    config: Config | None = None
    places = SECRET_PLACES.set(SecretPlaces(file.absolute().parent, secrets))
    try:
        config = Config.model_validate(data)
    except ValidationError as error:
        problems += [_problem(item) for item in error.errors(include_url=False)]
    finally:
        SECRET_PLACES.reset(places)
    problems += _name_problems(data)
    if config is not None and not problems:
        problems += [
            *_address_problems(config),
            *_search_problems(config),
            *_push_problems(config),
            *_budget_problems(config),
            *_threshold_problems(config.classifiers),
        ]
    if problems or config is None:
        raise ConfigError(file, problems)
    return _at_home(config).model_copy(update={"store": anchored(config.store, file)})


def secrets_of(options: object) -> Iterator[str]:
    """Every secret in some options, and in those within them."""
    if isinstance(options, SecretStr):
        yield options.get_secret_value()
    elif isinstance(options, BaseModel):
        for name in type(options).model_fields:
            yield from secrets_of(getattr(options, name))
    elif isinstance(options, Mapping):
        for each in options.values():
            yield from secrets_of(each)
    elif isinstance(options, list | tuple):
        for each in options:
            yield from secrets_of(each)


def _at_home(config: Config) -> Config:
    """Office hours, quiet hours and rotas that name no time zone are meant in the installation's."""

    def home(options: _Base) -> _Base:
        if "timezone" in options.model_fields_set:
            return options
        return options.model_copy(update={"timezone": config.timezone})

    receivers = [
        each.model_copy(update={"quiet": home(each.quiet)}) if each.quiet else each
        for each in config.receivers
    ]
    rotas = tuple(home(each) for each in config.rotas)
    changed = {"office": home(config.office), "receivers": receivers, "rotas": rotas}
    return config.model_copy(update=changed)


def anchored(options: StoreOptions, file: Path) -> StoreOptions:
    """The same with an absolute path to the database: one that is relative counts from its place."""
    if options.path.is_absolute():
        return options
    return options.model_copy(update={"path": database(options.path, file)})


def _syntax_problem(error: tomllib.TOMLDecodeError) -> Problem:
    found = re.search(r"\(at (?:line (\d+), column (\d+)|end of document)\)", str(error))
    where = "end of file"
    if found and found.group(1):
        where = f"line {found.group(1)}, column {found.group(2)}"
    what = re.sub(r" \(at .*\)$", "", str(error))
    return Problem(where, f"not valid TOML: {what[:1].lower()}{what[1:]}")


def _problem(item: Mapping[str, Any]) -> Problem:
    """One error of pydantic in the reader's terms."""
    location = list(item["loc"])
    context = item.get("ctx", {})
    path, known = _path(location)
    match str(item["type"]):
        case "extra_forbidden":
            near = difflib.get_close_matches(str(location[-1]), known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"allowed: {', '.join(sorted(known))}"
            message = f"unknown key; {hint}"
        case "secret":
            path, message = f"{path}.{context['key']}", str(item["msg"])
        case "missing":
            message = "is missing; it has no default"
        case "path_type":
            message = "is not a path; write it as a text in quotes"
        case "union_tag_invalid":
            message = _unknown_kind(path, context)
            path = f"{path}.kind"
        case "union_tag_not_found":
            path, message = f"{path}.kind", "is missing; it says which kind this is"
        case "literal_error" | "enum":
            message = f"not a known value; allowed: {context.get('expected')}"
        case _:
            message = str(item["msg"]).removeprefix("Value error, ")
            message = f"{message[:1].lower()}{message[1:]}"
    return Problem(path, message)


def _unknown_kind(path: str, context: Mapping[str, Any]) -> str:
    broken = FOUND.broken.get(str(context.get("tag"))) if path.startswith("sources") else None
    if broken is not None:
        return f"the package {broken.package} brings this kind, but it is unusable: {broken.why}"
    return f"unknown kind; allowed: {context.get('expected_tags')}"


def _path(location: Sequence[str | int]) -> tuple[str, list[str]]:
    """The key path as the user would write it, and the keys known at its level.

    pydantic puts the chosen member of a union into the location; the file has no such key.
    """
    parts = ""
    model: Any = Config
    rest = list(location)
    known = _keys(model)
    table = ""
    while rest:
        step = rest.pop(0)
        if isinstance(step, int):
            parts += f"[{step}]"
            if (
                table in ("sources", "channels")
                and rest
                and rest[0]
                in (
                    *CONNECTORS,
                    *CHANNELS,
                )
            ):
                kind = str(rest.pop(0))
                plugins: Mapping[str, Any] = CONNECTORS if table == "sources" else CHANNELS
                shared: type[BaseModel] = SourceBase if table == "sources" else ChannelBase
                base = _base_of(plugins[kind], shared)
                known = [*_keys(base), *_keys(plugins[kind].Options), "kind"]
            continue
        parts += f".{step}" if parts else str(step)
        table = f"{table}.{step}" if table else str(step)
        # Routes may lie in routes, and those in others.
        table = re.sub(r"^routes\.routes(\.routes)+", "routes.routes", table)
        known = _keys(_TABLES[table]) if table in _TABLES and rest else known
    return parts, known


_NAMED = (
    "brands",
    "sources",
    "channels",
    "receivers",
    "clocks",
    "escalations",
    "rotas",
)
"""Tables whose names others refer to."""

_TABLES: dict[str, type[BaseModel]] = {
    "store": StoreOptions,
    "classifiers": ClassifierOptions,
    "classifiers.second_opinion": SecondOpinionOptions,
    "network": NetworkOptions,
    "http": HttpOptions,
    "log": LogOptions,
    "heartbeat": HeartbeatOptions,
    "brands": BrandOptions,
    "sources.budget": BudgetOptions,
    "receivers": ReceiverOptions,
    "receivers.channels": Via,
    "receivers.quiet": QuietOptions,
    "routes": RouteOptions,
    "routes.group": GroupOptions,
    "routes.routes": BranchOptions,
    "routes.routes.group": GroupOptions,
    "office": OfficeOptions,
    "clocks": ClockOptions,
    "escalations": ChainOptions,
    "escalations.steps": StepOptions,
    "rotas": RotaOptions,
    "rotas.shifts": ShiftOptions,
    "rotas.overrides": OverrideOptions,
    "inhibition": InhibitionOptions,
    "silences": SilenceLimits,
}


def _keys(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _name_problems(data: Mapping[str, Any]) -> list[Problem]:
    """Names used twice, and names that refer to nothing. Works on raw data: reports what it can."""
    problems: list[Problem] = []
    known: dict[str, Sequence[str]] = {"rules": RULES}
    for table in _NAMED:
        names: list[str] = []
        for path, item in tables(data, table):
            name = item.get("name")
            if not isinstance(name, str):
                continue
            if name in names:
                problems.append(Problem(f"{path}.name", f'"{name}" is used twice'))
            names.append(name)
        known[table] = names
    for path, table, name in references(data):
        if name not in known[table]:
            near = difflib.get_close_matches(name, known[table], n=1)
            hint = (
                f'did you mean "{near[0]}"?'
                if near
                else f"known: {', '.join(known[table]) or 'none'}"
            )
            problems.append(Problem(path, f'"{name}" is not among the {table}; {hint}'))
    return problems


def _address_problems(config: Config) -> list[Problem]:
    """Addresses that their channel cannot reach. Building a channel opens nothing."""
    plugins: dict[str, Any] = dict(CHANNELS)
    channels = {item.name: plugins[item.kind](item) for item in config.channels}
    problems = []
    for number, receiver in enumerate(config.receivers):
        for place, via in enumerate(receiver.channels):
            what = channels[via.use].problem_with(via.to)
            if what is not None:
                problems.append(Problem(f"receivers[{number}].channels[{place}].to", what))
    return problems


def _threshold_problems(options: ClassifierOptions) -> list[Problem]:
    """A review band that would begin above the one that wakes people."""
    review, escalate = options.review_threshold, options.leak_threshold
    if review is None:
        return []
    whose = "leak_threshold"
    if escalate is None:
        # Imported here: only who gives one number and not the other needs the model's.
        from classifiers.embedded import EmbeddedModel, ModelError  # noqa: PLC0415

        try:
            points = EmbeddedModel(options.model).operating_points
        except ModelError:
            return []  # told, and better, by whatever needs the model
        escalate = points[options.leak_sensitivity].thresholds.escalate
        whose = f"the leak_threshold that {options.leak_sensitivity} stands for"
    if review <= escalate:
        return []
    what = (
        f"{review} is above {whose} ({escalate}): a post is put up for review before it wakes "
        f"anybody; choose at most {escalate}, or a higher leak_threshold"
    )
    return [Problem("classifiers.review_threshold", what)]


def _push_problems(config: Config) -> list[Problem]:
    """Sources that only take pushes, where nobody could push anything."""
    if config.web.enabled:
        return []
    what = "takes pushes, and nothing listens for them: set enabled = true under [web]"
    return [
        Problem(f"sources[{number}]", what)
        for number, source in enumerate(config.sources)
        if source.kind == "webhook" and source.enabled
    ]


def _budget_problems(config: Config) -> list[Problem]:
    """Budgets that buy nothing, or that nobody can reckon with."""
    return [
        Problem(f"sources[{number}].budget.{key}", what)
        for number, source in enumerate(config.sources)
        if isinstance(source, PricedBase) and source.budget is not None
        for key, what in budget_problems(CONNECTORS[source.kind], source, source.budget)
    ]


def _search_problems(config: Config) -> list[Problem]:
    """Brand queries that a searching source cannot express: better told now than at the first poll."""
    problems = []
    for number, source in enumerate(config.sources):
        if source.kind != "x" or not source.enabled:
            continue
        options = cast("XOptions", source)
        for brand in config.brands_of(source):
            try:
                Query.parse(brand.query).search_x(
                    options.max_query_characters, approximate=options.approximate
                )
            except XQueryError as error:
                problems.append(
                    Problem(f"sources[{number}]", f'X cannot search for "{brand.name}": {error}')
                )
    return problems
