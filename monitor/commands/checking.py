"""``check --online``: try each source, channel and the model once, storing and alerting nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from alerts.base import Channel, DeliveryError
from classifiers.base import Text
from classifiers.embedded import ModelError
from connectors.base import ConnectorError, Context
from monitor.app import build_brand, build_channels, build_classifier, build_connector, build_http
from monitor.config import Config, SourceBase


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
        for options in config.sources:
            queries = tuple(brands[item.name].query for item in config.brands_of(options))
            context = Context(name=options.name, now=now, http=http, queries=queries)
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


def _source(options: SourceBase, context: Context) -> Finding:
    part = f"source {options.name}"
    connector = build_connector(options, context)
    try:
        page = next(iter(connector.fetch(None)), None)
    except ConnectorError as error:
        return Finding(part, ok=False, detail=f"{error.fault.value}: {error}")
    finally:
        connector.close()
    posts = 0 if page is None else len(page.posts)
    rejects = 0 if page is None else len(page.rejects)
    detail = f"answers, {posts} posts"
    return Finding(part, ok=True, detail=detail + (f", {rejects} unreadable" if rejects else ""))


def _channel(name: str, channel: Channel) -> Finding:
    part = f"channel {name}"
    try:
        channel.check()
    except DeliveryError as error:
        return Finding(part, ok=False, detail=f"{error.fault.value}: {error}")
    return Finding(part, ok=True, detail="reachable, credentials accepted")
