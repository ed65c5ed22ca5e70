"""``check --online``: try each source, channel and model once, storing and alerting nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from alerts.base import Channel, DeliveryError
from classifiers.base import Text
from classifiers.embedded import ModelError
from classifiers.second_opinion import Question, Unanswered
from connectors.base import ConnectorError, Context
from connectors.guides import advised
from monitor.app import (
    build_brand,
    build_channels,
    build_classifier,
    build_connector,
    build_http,
    build_opinion,
    build_tariff,
)
from monitor.budget import NoMoney
from monitor.config import Config, SourceBase

_MADE_UP = (
    "Net uit de vergadering: de directie sluit in maart drie filialen, het personeel hoort het pas na de "
    "feestdagen. Dit mocht ik eigenlijk niet zeggen."
)


@dataclass(frozen=True, slots=True)
class Finding:
    """How one part fared."""

    part: str
    """``source news``, ``channel mail``, ``model``."""
    ok: bool
    detail: str


def check_online(config: Config, now: Callable[[], datetime]) -> Iterator[Finding]:
    """Try everything at once, and tell each as it is known."""
    channels = build_channels(config)
    brands = {item.name: build_brand(item) for item in config.brands}
    with ThreadPoolExecutor(16) as pool, build_http(config) as http:
        jobs = [pool.submit(_model, config)]
        second = config.classifiers.second_opinion
        if second is not None and second.enabled:
            jobs.append(pool.submit(_second_opinion, config))
        for options in config.sources:
            queries = tuple(brands[item.name].query for item in config.brands_of(options))
            tariff = build_tariff(options)
            # Where there is a budget a check costs nothing: what it read would not be kept.
            budget = NoMoney(tariff) if tariff is not None and tariff.limits else None
            context = Context(name=options.name, now=now, http=http, queries=queries, budget=budget)
            jobs.append(pool.submit(_source, options, context))
        for name, channel in channels.items():
            jobs.append(pool.submit(_channel, name, channel))
        for job in jobs:
            yield job.result()
    for channel in channels.values():
        channel.close()


def _model(config: Config) -> Finding:
    try:
        classifier = build_classifier(config)
        classifier.classify([Text("hallo wereld")])
    except ModelError as error:
        return Finding("model", ok=False, detail=str(error))
    return Finding("model", ok=True, detail=classifier.version)


def _second_opinion(config: Config) -> Finding:
    """Ask about a made-up leak. Counts for no allowance."""
    part = "second opinion"
    opinion = build_opinion(config)
    if opinion is None:
        return Finding(part, ok=True, detail="off")
    began = time.monotonic()
    try:
        (answer,) = opinion.ask([Question(_MADE_UP, language="nl")], grant=lambda wanted: wanted)
    finally:
        opinion.close()
    seconds = time.monotonic() - began
    if isinstance(answer, Unanswered):
        status = f" (HTTP {opinion.refused_with})" if answer is Unanswered.REFUSED else ""
        return Finding(part, ok=False, detail=f"{answer.value}{status}; see docs/second-opinion.md")
    detail = f"answers in {seconds:.1f} s; of a made-up leak it says {answer.category.value}"
    return Finding(part, ok=True, detail=detail)


def _source(options: SourceBase, context: Context) -> Finding:
    part = f"source {options.name}"
    connector = build_connector(options, context)
    try:
        page = next(iter(connector.fetch(None)), None)
    except ConnectorError as error:
        told = advised(error, options.kind)
        return Finding(part, ok=False, detail=f"{error.fault.value}: {told}")
    finally:
        connector.close()
    posts = 0 if page is None else len(page.posts)
    rejects = 0 if page is None else len(page.rejects)
    detail = f"answers, {posts} posts"
    if page is not None and page.counts and not posts:
        detail = f"answers, {sum(count.number for count in page.counts)} posts counted, none read"
    return Finding(part, ok=True, detail=detail + (f", {rejects} unreadable" if rejects else ""))


def _channel(name: str, channel: Channel) -> Finding:
    part = f"channel {name}"
    try:
        said = channel.check()
    except DeliveryError as error:
        return Finding(part, ok=False, detail=f"{error.fault.value}: {error}")
    return Finding(part, ok=True, detail=said or "reachable, credentials accepted")
