"""The composition root: the only place that constructs things from the configuration."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import random
import secrets
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TextIO

import httpx
from prometheus_client import CollectorRegistry

from alerts import CHANNELS
from alerts.base import Channel
from alerts.links import Links
from alerts.pacing import Pacer, pace_of
from alerts.routes import Via
from alerts.slack import SlackChannel
from classifiers.assessor import Assessor
from classifiers.base import Classifier, LeakThresholds, Model
from classifiers.detectors import default_detectors
from classifiers.embedded import EmbeddedModel
from classifiers.language import LanguageIdentifier
from classifiers.register.detector import RegisterDetector
from classifiers.second_opinion import EndpointOpinion
from classifiers.vision import PictureReader
from connectors import CONNECTORS
from connectors.base import Budget, Connector, Context, Intake
from connectors.http import guarded_client
from connectors.intake import Door, TakesPushes
from connectors.query import Query
from monitor.announcing import Announcer, rulebook_of
from monitor.assessing import AssessStep
from monitor.budget import Purse, Tariff, tariff_of
from monitor.config import (
    BrandOptions,
    ClassifierOptions,
    Config,
    ConfigError,
    PricedBase,
    Problem,
    SourceBase,
    load,
    secrets_of,
)
from monitor.copying import hand_to_owner
from monitor.daemon import PERIODS, Daemon, Listener, Steps
from monitor.database import StoreError
from monitor.delivering import DeliverStep
from monitor.desk import Desk
from monitor.detecting import DetectStep, Watched
from monitor.following import FollowStep
from monitor.guarding import warn
from monitor.heartbeat import Heartbeat
from monitor.inbox import Inbox
from monitor.intake import IntakeDesk
from monitor.log import hide
from monitor.matching import Brand
from monitor.metrics import Metrics
from monitor.outages import OutageWatch
from monitor.picturing import PictureStep
from monitor.polling import PollStep, Source
from monitor.privacy import Pseudonyms, load_or_create
from monitor.register import open_detector
from monitor.release import program_version
from monitor.seconding import Seconding
from monitor.store import Store
from monitor.systemd import Notifier
from monitor.tending import TendStep
from monitor.vouching import Daily, DailyLine, VouchStep

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

    from monitor.site import SiteServer

POLLERS = 16
"""Polls under way at once."""
SENDERS = 4
"""Deliveries under way at once: workers of their own, so that hanging sources hold up no alert."""


def utc_now() -> datetime:
    """The present, aware, in UTC."""
    return datetime.now(UTC)


class App:
    """One installation, put together: configuration, store, model, daemon. A context manager.

    Args:
        file: the configuration; read now, and again at every reload.
        now: the clock.
        notifier: systemd's; silent outside it.
        rng: for jitter.
        wrap: gives what is asked in place of each model, for measurements of everything else.

    Raises:
        ConfigError: the configuration is refused.
        StoreError: the database cannot be used, or another daemon uses it.
        ModelError: the model cannot be used.
    """

    def __init__(
        self,
        file: Path,
        *,
        now: Callable[[], datetime] = utc_now,
        notifier: Notifier | None = None,
        rng: random.Random | None = None,
        wrap: Callable[[Model], Model] = lambda model: model,
    ) -> None:
        self.file = file
        self._wrap = wrap
        self.now = now
        self.config = load(file)
        hide(secrets_of(self.config))
        self._rng = rng or random.Random()  # noqa: S311 - jitter, not secrets
        self._lock = hold(self.config.store.path)
        try:
            self.store = Store(self.config.store.path)
            self.pseudonyms = open_pseudonyms(self.store)
            self._installation = _installation(self.store)
            self._register = open_detector(self.store, self.pseudonyms)
            self._classifier = build_classifier(self.config, self._register, wrap=wrap)
            self.metrics = Metrics(CollectorRegistry())
            self._inbox = Inbox()
            self._pollers = ThreadPoolExecutor(POLLERS, thread_name_prefix="poll")
            # One more than deliver: for signs of life, whatever hangs.
            self._senders = ThreadPoolExecutor(SENDERS + 1, thread_name_prefix="send")
            self._viewers = ThreadPoolExecutor(1, thread_name_prefix="picture")
            self._reader: PictureReader | None = None
            self.site = build_site_server(self.config, self.metrics)
            steps = self._steps(self.config, self._classifier)
            self.daemon = Daemon(
                steps=steps,
                rebuild=self._rebuild,
                inbox=self._inbox,
                pools=(self._pollers, self._senders, self._viewers),
                metrics=self.metrics,
                notifier=notifier or Notifier(""),
                site=self.site,
            )
            steps.assess.warm_up()
            steps.poll.begin()
        except BaseException:
            self._lock.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of everything. The daemon must not be running."""
        self.daemon.close()
        self.store.close()
        self._lock.close()

    def _poke(self) -> None:
        self.daemon.poke()

    def _on_acted(self) -> None:
        self.daemon.acted()

    def _on_delivered(self) -> None:
        self.daemon.delivered()

    def _rebuild(self) -> Steps:
        """New steps from the configuration as it is now; the store stays."""
        config = load(self.file)
        hide([*secrets_of(config), *secrets_of(self.config)])
        if config.store.path != self.config.store.path:
            problem = Problem("store.path", "cannot change while running; restart instead")
            raise ConfigError(self.file, [problem])
        if classifier_part(config) != classifier_part(self.config):
            self._classifier = build_classifier(config, self._register, wrap=self._wrap)
        steps = self._steps(config, self._classifier)
        steps.assess.warm_up()
        warn(self.file, config)
        self.config = config
        return steps

    def _steps(self, config: Config, classifier: Assessor) -> Steps:
        brands = {item.name: build_brand(item) for item in config.brands}
        http = build_http(config)
        channels = build_channels(config)
        pacers = build_pacers(config)
        desk = IntakeDesk(store=self.store, inbox=self._inbox, metrics=self.metrics, now=self.now)
        sources = [
            _source(
                options,
                config,
                brands,
                http,
                now=self.now,
                intake=desk.of(options.name),
                purse=self._purse,
            )
            for options in config.sources
            if options.enabled
        ]
        desk.open(_doors(sources))
        self.metrics.expect(
            sources=[source.name for source in sources],
            brands=list(brands),
            channels=list(channels),
            steps=list(PERIODS),
            clocks=[clock.name for clock in config.clocks],
        )
        self.metrics.build.info({"version": program_version(), "model": classifier.version})
        second = self._second(config, classifier)
        links = build_links(config, self.pseudonyms)
        thinking = build_thinking(
            config,
            brands=brands,
            sources=sources,
            store=self.store,
            classifier=classifier,
            installation=self._installation,
            metrics=self.metrics,
            now=self.now,
            second=second,
            links=links,
        )
        counter = Desk(
            store=self.store,
            inbox=self._inbox,
            links=links,
            rulebook=thinking.announcer.teller.rules,
            announcer=thinking.announcer,
            metrics=self.metrics,
            now=self.now,
            changed=self._on_acted,
        )
        vouch = self._vouch(config, thinking.announcer, channels, pacers)

        def close() -> None:
            if second is not None:
                second.close()
            for source in sources:
                source.connector.close()
            for channel in channels.values():
                channel.close()
            vouch.close()
            http.close()

        return Steps(
            poll=PollStep(
                sources=sources,
                store=self.store,
                inbox=self._inbox,
                pool=self._pollers,
                pseudonyms=self.pseudonyms,
                metrics=self.metrics,
                now=self.now,
                rng=self._rng,
                stored=self._poke,
                with_pictures=config.classifiers.vision,
            ),
            assess=thinking.assess,
            picture=self._picture(config, http),
            detect=thinking.detect,
            deliver=DeliverStep(
                store=self.store,
                channels=channels,
                inbox=self._inbox,
                pool=self._senders,
                metrics=self.metrics,
                now=self.now,
                rng=self._rng,
                delivered=self._on_delivered,
                pacers=pacers,
                stand_ins=stand_ins(config),
                unwanted=thinking.announcer.teller.unwanted,
                workers=SENDERS,
            ),
            tend=thinking.tend,
            vouch=vouch,
            follow=thinking.follow,
            close=close,
            routes=self._routes(desk, counter),
            listeners=build_listeners(channels, counter, self.metrics),
        )

    def _picture(self, config: Config, http: httpx.Client) -> PictureStep | None:
        if not config.classifiers.vision:
            return None
        # One for the life of the program: its models are loaded once.
        self._reader = self._reader or PictureReader()
        return PictureStep(
            store=self.store,
            inbox=self._inbox,
            pool=self._viewers,
            http=http,
            reader=self._reader,
            metrics=self.metrics,
            now=self.now,
            found=self._poke,
        )

    def _purse(self, source: str, tariff: Tariff) -> Budget:
        return Purse(source, tariff, store=self.store, inbox=self._inbox, now=self.now)

    def _vouch(
        self,
        config: Config,
        announcer: Announcer,
        channels: Mapping[str, Channel],
        pacers: Mapping[str, Pacer],
    ) -> VouchStep:
        options = config.heartbeat
        heartbeat = daily = None
        if options.url is not None:
            heartbeat = Heartbeat(
                options,
                stale=self._stale,
                figures=self._figures,
                inbox=self._inbox,
                pool=self._senders,
                metrics=self.metrics,
                now=self.now,
            )
        if options.daily_at is not None:
            line = Daily(
                at=options.daily_at,
                receivers=[each for each in config.receivers if each.name in options.daily_to],
                language=config.language,
                timezone=config.timezone,
                installation=self._installation,
            )
            daily = DailyLine(
                line,
                store=self.store,
                brands=[brand.name for brand in config.brands],
                channels=channels,
                pacers=pacers,
                inbox=self._inbox,
                pool=self._senders,
                metrics=self.metrics,
                now=self.now,
            )
        patience = {
            each.name: timedelta(minutes=each.broken_after_minutes) for each in config.channels
        }
        return VouchStep(
            store=self.store,
            outages=OutageWatch(announcer=announcer, broken_after=patience),
            heartbeat=heartbeat,
            daily=daily,
            now=self.now,
        )

    def _stale(self) -> dict[str, float]:
        """The steps that vouching is about, and that have not come to an end lately."""
        return {name: age for name, age in self.daemon.health().items() if name != "vouch"}

    def _figures(self) -> dict[str, object]:
        """What a heartbeat may tell along."""
        with self.store.read() as unit:
            waiting, oldest = unit.outbox.waiting()
            broken = sum(outage.down for outage in unit.outages.all())
        age = 0.0 if oldest is None else max((self.now() - oldest).total_seconds(), 0)
        return {
            "version": program_version(),
            "waiting": waiting,
            "oldest_seconds": round(age),
            "channels_down": broken,
        }

    def _routes(self, desk: IntakeDesk, counter: Desk) -> Sequence[BaseRoute]:
        """What the public address answers, where there is one."""
        if self.site is None:
            return ()
        # Imported here: only who serves needs a web server.
        from monitor.pages import incident_routes  # noqa: PLC0415
        from monitor.reception import intake_routes  # noqa: PLC0415

        return [*intake_routes(desk), *incident_routes(counter)]

    def _second(self, config: Config, classifier: Assessor) -> Seconding | None:
        options, opinion = config.classifiers.second_opinion, build_opinion(config)
        if options is None or opinion is None:
            return None
        return Seconding(
            opinion,
            options,
            escalate_at=classifier.leak_thresholds.escalate,
            store=self.store,
            metrics=self.metrics,
            now=self.now,
        )


@dataclass(frozen=True, slots=True)
class Thinking:
    """The steps that reach nothing outside: all they know and change is the store."""

    assess: AssessStep
    detect: DetectStep
    tend: TendStep
    follow: FollowStep
    announcer: Announcer
    """What people do with incidents is told by it, too."""


def build_thinking(
    config: Config,
    *,
    brands: Mapping[str, Brand],
    sources: Sequence[Source],
    store: Store,
    classifier: Classifier,
    installation: str,
    metrics: Metrics,
    now: Callable[[], datetime],
    second: Seconding | None = None,
    links: Links | None = None,
) -> Thinking:
    """The steps of a configuration between coming in and going out.

    Args:
        config: rules, routes and time zone.
        brands: by name, every one of the configuration.
        sources: where mentions of the store come from.
        store: what the steps work on.
        classifier: assesses.
        installation: a word that tells notifications of two stores apart.
        metrics: counts.
        now: the clock.
        second: whom to ask about doubtful leaks.
        links: into messages, for people to see and take an incident.
    """
    announcer = Announcer(
        rulebook_of(config, {name: brand.handles for name, brand in brands.items()}),
        installation=installation,
        metrics=metrics,
        links=links,
    )
    return Thinking(
        assess=AssessStep(
            store=store,
            classifier=classifier,
            announcer=announcer,
            timezone=config.timezone,
            metrics=metrics,
            now=now,
            second=second,
        ),
        detect=DetectStep(
            store=store,
            brands=[_watched(item, brands[item.name], sources) for item in config.brands],
            announcer=announcer,
            timezone=config.timezone,
            now=now,
            metrics=metrics,
        ),
        tend=TendStep(
            store=store,
            sources=sources,
            announcer=announcer,
            retention=timedelta(days=config.store.retention_days),
            shorter={
                source.name: timedelta(days=source.retention_days)
                for source in config.sources
                if source.retention_days is not None
            },
            metrics=metrics,
            now=now,
        ),
        follow=FollowStep(store=store, announcer=announcer, now=now),
        announcer=announcer,
    )


def build_opinion(config: Config) -> EndpointOpinion | None:
    """Whom to ask about doubtful leaks, where somebody is configured."""
    options = config.classifiers.second_opinion
    if options is None or not options.enabled:
        return None
    return EndpointOpinion(options, contact=config.network.contact or None)


def build_brand(options: BrandOptions) -> Brand:
    """A brand, ready to match."""
    official = set()
    for account in options.official_accounts:
        platform, _, handle = account.partition(":")
        official.add((platform.strip().casefold(), handle.strip().lstrip("@").casefold()))
    return Brand(options.name, Query.parse(options.query), frozenset(official))


def build_tariff(options: SourceBase) -> Tariff | None:
    """What a source costs and may cost; None where it costs no money."""
    budget = options.budget if isinstance(options, PricedBase) else None
    return tariff_of(CONNECTORS[options.kind], options, budget)


def build_http(config: Config) -> httpx.Client:
    """The one guarded client of all connectors."""
    return guarded_client(
        allow_private_addresses=config.network.allow_private_addresses,
        contact=config.network.contact or None,
    )


def build_site_server(config: Config, metrics: Metrics) -> SiteServer | None:
    """The public address, where one is configured; it listens once bound."""
    # Imported here: only who serves needs a web server.
    from monitor.site import SiteServer  # noqa: PLC0415 - lazy

    web = config.web
    if not web.enabled:
        return None
    return SiteServer(
        web.host,
        web.port,
        certificate=web.certificate_file,
        key=web.key_file,
        metrics=metrics,
    )


def build_links(config: Config, pseudonyms: Pseudonyms) -> Links:
    """What signs tickets; makes links where there is a public address."""
    web = config.web
    return Links(
        pseudonyms.derive("incident tickets"),
        public_url=web.public_url if web.enabled else None,
        lifetime=timedelta(days=web.link_days),
    )


def build_listeners(
    channels: Mapping[str, Channel], desk: Desk, metrics: Metrics
) -> list[Listener]:
    """What hears from people: Slack channels with buttons."""
    hearing = {
        name: channel
        for name, channel in channels.items()
        if isinstance(channel, SlackChannel) and channel.app_token is not None
    }
    if not hearing:
        return []
    # Imported here: its library is large, and few commands listen.
    from monitor.socketmode import SocketMode  # noqa: PLC0415

    return [SocketMode(name, channel, desk, metrics) for name, channel in hearing.items()]


def build_channels(config: Config) -> dict[str, Channel]:
    """The configured channels by name."""
    plugins: dict[str, Any] = dict(CHANNELS)
    return {options.name: plugins[options.kind](options) for options in config.channels}


def build_pacers(config: Config) -> dict[str, Pacer]:
    """How fast messages may leave, by channel."""
    return {
        each.name: Pacer(pace_of(each.kind, each.messages_per_minute)) for each in config.channels
    }


def stand_ins(config: Config) -> dict[tuple[str, str], Via]:
    """Who stands in for a channel that does not deliver, by receiver and channel."""
    return {
        (receiver.name, via.use): way
        for receiver in config.receivers
        for via in receiver.usual
        if (way := receiver.stand_in(via.use)) is not None
    }


def build_connector(options: SourceBase, context: Context) -> Connector:
    """The connector of one configured source."""
    plugins: dict[str, Any] = dict(CONNECTORS)
    connector: Connector = plugins[options.kind](options, context)
    return connector


def leak_thresholds(options: ClassifierOptions, model: EmbeddedModel) -> LeakThresholds:
    """Those of the chosen sensitivity, unless the configuration gives numbers of its own."""
    usual = model.operating_points[options.leak_sensitivity].thresholds
    escalate = options.leak_threshold or usual.escalate
    review = options.review_threshold or usual.review
    return LeakThresholds(min(review, escalate), escalate)


def build_classifier(
    config: Config,
    register: RegisterDetector | None = None,
    *,
    wrap: Callable[[Model], Model] = lambda model: model,
) -> Assessor:
    """Model, language and detectors as configured.

    Args:
        config: which models, thresholds and watch words.
        register: the register of secrets, where there is one.
        wrap: gives what is asked in place of each model: the same, with a memory.

    Raises:
        ModelError: a model cannot be used; the message says what to do.
    """
    options = config.classifiers
    embedded = EmbeddedModel(options.model, threads=options.threads)
    words = [word for brand in config.brands for word in brand.watch_words]
    sentiment = _hub_model(
        options.sentiment_model, "sentiment", options.sentiment_labels, options.threads
    )
    abuse = _hub_model(options.abuse_model, "abuse", options.abuse_labels, options.threads)
    return Assessor(
        wrap(embedded),
        language=LanguageIdentifier(),
        detectors=[*default_detectors(words), *([register] if register else [])],
        leak_thresholds=leak_thresholds(options, embedded),
        sentiment_model=None if sentiment is None else wrap(sentiment),
        abuse_model=None if abuse is None else wrap(abuse),
    )


def _hub_model(
    name: str | None, head: Literal["sentiment", "abuse"], labels: Mapping[str, str], threads: int
) -> Model | None:
    if name is None:
        return None
    from classifiers.hub import HubModel  # noqa: PLC0415 - imports transformers

    return HubModel(name, head, labels=labels or None, threads=threads)


def open_pseudonyms(store: Store) -> Pseudonyms:
    """The pseudonym key of this store, made on the first start.

    Raises:
        StoreError: the key is not the one that the stored authors were covered with.
    """
    path = store.path.with_name(store.path.name + ".key")
    with store.read() as unit:
        known = unit.fact("pseudonym_key")
    if known is not None and not path.exists():
        raise StoreError(
            f"{path}: the pseudonym key is missing though the database was filled with one; "
            "restore it from a backup (it is also the key of what is registered)"
        )
    pseudonyms = load_or_create(path)
    if known is None:
        with store.write() as unit:
            unit.remember("pseudonym_key", pseudonyms.fingerprint)
    elif known != pseudonyms.fingerprint:
        raise StoreError(
            f"{path}: another pseudonym key than the database was filled with; "
            "restore the one that belongs to it"
        )
    return pseudonyms


def _installation(store: Store) -> str:
    """A random id of this installation: keeps idempotency keys of two installations apart."""
    with store.write() as unit:
        known = unit.fact("installation")
        if known is None:
            known = secrets.token_hex(8)
            unit.remember("installation", known)
    return known


def is_running(database: Path) -> bool:
    """Whether a daemon works on this database."""
    path = database.with_name(database.name + ".lock")
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def hold(database: Path) -> TextIO:
    """Hold the installation for this process until the file is closed, whatever happens to us.

    Raises:
        StoreError: another process holds it.
    """
    path = database.with_name(database.name + ".lock")
    try:
        # No link that leads elsewhere: the folder is the daemon's, and root may be asking.
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        hand_to_owner(path)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}; check store.path and its folder") from None
    file = os.fdopen(handle, "r+", encoding="ascii")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        owner = file.read().strip() or "unknown"
        file.close()
        raise StoreError(
            f"{database}: in use by another Merkwacht (process {owner}); stop it first"
        ) from None
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def _source(
    options: SourceBase,
    config: Config,
    brands: dict[str, Brand],
    http: httpx.Client,
    *,
    now: Callable[[], datetime],
    intake: Intake,
    purse: Callable[[str, Tariff], Budget],
) -> Source:
    chosen = [brands[item.name] for item in config.brands_of(options)]
    canary = None if options.canary is None else Query.parse(options.canary)
    queries = (*(brand.query for brand in chosen), *([] if canary is None else [canary]))
    tariff = build_tariff(options)
    budget = None if tariff is None or not tariff.limits else purse(options.name, tariff)
    context = Context(
        name=options.name,
        now=now,
        http=http,
        queries=queries,
        intake=intake,
        budget=budget,
    )
    return Source(
        name=options.name,
        kind=options.kind,
        connector=build_connector(options, context),
        brands=chosen,
        interval=timedelta(seconds=options.interval_seconds),
        silent_after=timedelta(seconds=options.silent_after_seconds),
        fingerprint=_fingerprint(options, queries),
        canary=canary,
        canary_within=timedelta(hours=options.canary_hours),
        tariff=tariff,
    )


def _doors(sources: Sequence[Source]) -> dict[str, Door]:
    """By source, for those that others may push to."""
    doors = {
        source.name: source.connector.door
        for source in sources
        if isinstance(source.connector, TakesPushes)
    }
    return {name: door for name, door in doors.items() if door is not None}


_NO_IDENTITY = {
    "name",
    "interval_seconds",
    "enabled",
    "silent_after_seconds",
    "canary",
    "canary_hours",
    "retention_days",
    "budget",
}


def _fingerprint(options: SourceBase, queries: tuple[Query, ...]) -> str:
    """Of what a cursor belongs to: the options (never their secrets) and the queries."""
    values = options.model_dump(mode="json", exclude=_NO_IDENTITY)
    text = json.dumps([values, [query.source for query in queries]], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _watched(options: BrandOptions, brand: Brand, sources: Sequence[Source]) -> Watched:
    reading = {source.name: source.interval for source in sources if brand in source.brands}
    return Watched(options.name, options.sensitivity, reading, brand.query.terms)


def classifier_part(config: Config) -> tuple[object, ...]:
    """What an assessment depends on: two configurations that are equal in it think alike."""
    return (config.classifiers, [tuple(brand.watch_words) for brand in config.brands])
