"""A backtest from beginning to end: files read, mentions sorted, each configuration replayed."""

from __future__ import annotations

import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar

from prometheus_client import CollectorRegistry

from classifiers.base import Classifier, Model
from classifiers.register.detector import RegisterDetector
from connectors.base import Cursor, Page
from connectors.options import Options
from monitor.app import build_brand, build_classifier, build_thinking, classifier_part
from monitor.backtest.outcome import Deliveries, Outcome, Span, read_outcome
from monitor.backtest.reading import Read, Reader
from monitor.backtest.remembering import RememberingClassifier, RememberingModel
from monitor.backtest.replay import Feed, Replay, ReplayClock, Work
from monitor.backtest.scratch import ScratchStore
from monitor.backtest.spool import Spool
from monitor.config import Config
from monitor.matching import Brand, match
from monitor.metrics import Metrics
from monitor.polling import Source
from monitor.privacy import Pseudonyms
from monitor.store.mentions import NewMention

STEP = timedelta(minutes=5)
_FOR_EVER_DAYS = 36_500
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Setting:
    """One configuration to try.

    ``register`` is the register of secrets of its installation, where there is one.
    """

    config: Config
    register: RegisterDetector | None = None


@dataclass(slots=True)
class Result:
    """What came of it."""

    outcomes: list[Outcome]
    """Of each setting, in order."""
    read: int
    """Good lines within the span that was asked for."""
    rejected: int
    """Bad lines."""
    passed_over: int
    """Good lines outside that span."""
    seconds: float
    work: list[Work] = field(default_factory=list)
    """Of each setting's replay."""


Progress = Callable[[int], object]
Wrap = Callable[[Model], Model]
Builder = Callable[[Config, RegisterDetector | None, Wrap], Classifier]
"""Makes the classifiers of a configuration; each model is to be asked through the wrap."""


def build(config: Config, register: RegisterDetector | None, wrap: Wrap) -> Classifier:
    """The classifiers as `run` has them."""
    return build_classifier(config, register, wrap=wrap)


def _nothing(_done: int) -> None:
    """Nobody watches."""


def backtest(
    reader: Reader,
    settings: Sequence[Setting],
    *,
    step: timedelta = STEP,
    sorted_out: Callable[[int], Progress] = lambda _mentions: _nothing,
    leaping: bool = True,
    build: Builder = build,
) -> Result:
    """Replay what a reader gives under each setting.

    Args:
        reader: of the mention files.
        settings: the configurations to try; the first is the one that others are held against.
        step: how often the daemon would have looked.
        sorted_out: called once, with how many mentions will be replayed; gives what is called with
            the number replayed so far.
        leaping: see :class:`monitor.backtest.replay.Replay`.
        build: makes the classifiers.

    Raises:
        OSError: a file cannot be read.
        ModelError: a model cannot be used.
        StoreError: the temporary folder cannot be used.
    """
    began = time.perf_counter()
    with (
        tempfile.TemporaryDirectory(prefix="merkwacht-backtest-") as folder,
        Spool(Path(folder) / "mentions.db") as spool,
    ):
        result = Result([], 0, 0, 0, 0.0)
        brands = [_brands(setting.config) for setting in settings]
        _sort(reader, spool, brands)
        result.read, result.rejected = reader.read, reader.rejected
        result.passed_over = reader.passed_over
        totals = [sum(spool.counts(place).values()) for place in range(len(settings))]
        progress = sorted_out(sum(totals))
        span = _span(reader, step)
        done = 0
        for place, classifier in enumerate(_classifiers(settings, spool, build)):
            outcome, work = _replay(
                Path(folder) / f"store-{place}.db",
                setting=settings[place],
                place=place,
                spool=spool,
                brands=brands[place],
                classifier=classifier,
                span=span,
                step=step,
                progress=lambda count, before=done: progress(before + count),  # type: ignore[misc]
                leaping=leaping,
            )
            result.outcomes.append(outcome)
            result.work.append(work)
            done += totals[place]
    result.seconds = time.perf_counter() - began
    return result


def _brands(config: Config) -> dict[str, Brand]:
    return {item.name: build_brand(item) for item in config.brands}


def _sort(reader: Reader, spool: Spool, brands: Sequence[dict[str, Brand]]) -> None:
    """Read everything; what matches goes to the spool under its pseudonym."""
    # Of this backtest only: nothing that is shown may be traced to an author, or to another backtest.
    pseudonyms = Pseudonyms(secrets.token_bytes(32))
    lists = [list(each.values()) for each in brands]
    for read in reader:
        for place, candidates in enumerate(lists):
            for mention in _matched(read, candidates, pseudonyms):
                spool.add(place, mention)
    spool.sort()


def _matched(read: Read, brands: Sequence[Brand], pseudonyms: Pseudonyms) -> Iterator[NewMention]:
    mentions, _ = match([read.post], brands, read.post.platform, pseudonyms)
    if read.official_of is None:
        yield from mentions
        return
    for mention in mentions:
        yield replace(mention, official=mention.official or mention.brand == read.official_of)
    # The handle is covered in an export: what it says of its author stands.
    others = [brand for brand in brands if brand.name == read.official_of]
    if others and all(mention.brand != read.official_of for mention in mentions):
        author = (read.post.platform.casefold(), (read.post.author or "").casefold())
        known = [replace(brand, official=brand.official | {author}) for brand in others]
        yield from match([read.post], known, read.post.platform, pseudonyms)[0]


def _span(reader: Reader, step: timedelta) -> Span | None:
    """From the step before the first mention to the step after the last."""
    if reader.first is None or reader.last is None:
        return None
    begin = reader.first - (reader.first - _EPOCH) % step
    return Span(begin, begin + max(1, -((begin - reader.last) // step)) * step)


def _classifiers(
    settings: Sequence[Setting], spool: Spool, build: Builder
) -> Iterator[RememberingClassifier]:
    """The classifiers of each setting; where two think alike, the second knows what the first thought.

    Where only thresholds or watch words differ, the models' opinions are kept all the same.
    """
    alike = len({_mind(setting) for setting in settings}) == 1

    def wrap(model: Model) -> Model:
        return model if alike else RememberingModel(model, spool)

    shared: Classifier | None = None
    for setting in settings:
        if shared is None or not alike:
            shared = build(setting.config, setting.register, wrap)
        yield RememberingClassifier(shared, spool if alike and len(settings) > 1 else None)


def _mind(setting: Setting) -> str:
    """What an assessment depends on. Two registers may differ in what they hold."""
    store = setting.config.store.path if setting.register is not None else None
    return repr((classifier_part(setting.config), store))


class _Replayed:
    """In place of a connector: everything it could give is in the file."""

    kind: ClassVar[str] = "backtest"
    Options: ClassVar[type[Options]] = Options

    def fetch(self, cursor: Cursor | None) -> Iterator[Page]:
        """Nothing further."""
        del cursor
        yield from ()

    def close(self) -> None:
        """Nothing is open."""


def _replay(
    path: Path,
    *,
    setting: Setting,
    place: int,
    spool: Spool,
    brands: dict[str, Brand],
    classifier: RememberingClassifier,
    span: Span | None,
    step: timedelta,
    progress: Progress,
    leaping: bool,
) -> tuple[Outcome, Work]:
    matched = dict.fromkeys(brands, 0) | spool.counts(place)
    if span is None or not any(matched.values()):
        return Outcome(span, (), matched, {brand: {} for brand in brands}), Work()
    # Nothing is deleted on the way: what an incident was about is wanted in the end.
    kept = setting.config.store.model_copy(update={"retention_days": _FOR_EVER_DAYS})
    config = setting.config.model_copy(update={"store": kept})
    sources = [
        Source(
            name=platform,
            kind=_Replayed.kind,
            connector=_Replayed(),
            brands=list(brands.values()),
            interval=step,
            silent_after=timedelta.max,
            fingerprint="",
        )
        for platform in spool.platforms(place)
    ]
    clock = ReplayClock(span.begin)
    store = ScratchStore(path)
    try:
        _listen(store, sources, span)
        deliveries = Deliveries()
        replay = Replay(
            store=store,
            thinking=build_thinking(
                config,
                brands=brands,
                sources=sources,
                store=store,
                classifier=classifier,
                installation="backtest",
                metrics=Metrics(CollectorRegistry()),
                now=clock,
            ),
            clock=clock,
            feed=Feed(spool.mentions(place), classifier),
            step=step,
            end=span.end,
            keep=deliveries.keep,
            progress=progress,
            leaping=leaping,
        )
        replay.run()
        handles = {name: brand.handles for name, brand in brands.items()}
        outcome = read_outcome(
            store,
            config=config,
            span=span,
            matched=matched,
            deliveries=deliveries,
            handles=handles,
        )
    finally:
        store.close()
    return outcome, replay.work


def _listen(store: ScratchStore, sources: Sequence[Source], span: Span) -> None:
    """The whole span counts as listened to."""
    with store.write() as unit:
        for source in sources:
            unit.sources.ensure(source.name, source.kind, source.fingerprint, span.begin)
            unit.sources.cover(source.name, span.begin, gap=timedelta(0))
            unit.sources.cover(source.name, span.end, gap=span.end - span.begin)
