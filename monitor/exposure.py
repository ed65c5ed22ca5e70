"""What an installation lets others read on the way, by its configuration: told at every start.

Encryption and its verification have no switch of ours; what comes near to one is a plain address, a
mail server without encryption, a service that is told not to look at certificates, or a port that the
network can reach. Each may be meant, so none is refused here, and none is ever silent.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import SplitResult, urlsplit

from pydantic import BaseModel, SecretStr

from alerts.apprise import AppriseOptions, unprotected
from alerts.email import EmailOptions
from connectors.http import redact_url
from monitor.config import Config

_NEVER_SENT = frozenset({"secret", "previous_secret", "app_secret", "verify_token"})
"""Secrets that prove something by a signature: they stay here."""


@dataclass(frozen=True, slots=True)
class Exposure:
    """One thing that others can read or change on the way."""

    where: str
    """The key of the configuration: ``channels[1].security``."""
    what: str
    remedy: str
    grave: bool = False
    """Whether a secret goes over the network that way: never meant."""


def exposures(config: Config, environment: Mapping[str, str] = os.environ) -> list[Exposure]:
    """Everything of a configuration that others may read on the way, or reach.

    Args:
        config: the configuration.
        environment: of the process.
    """
    return [
        *_endpoints(config),
        *_channels(config),
        *_addresses(config),
        *_environment(environment),
    ]


def _endpoints(config: Config) -> Iterator[Exposure]:
    http, web = config.http, config.web
    if http.enabled and not _is_loopback(http.host):
        yield Exposure(
            "http.host",
            f"whoever reaches {http.host}:{http.port} reads /metrics: the names of brands, sources "
            "and channels, and how busy they are; without encryption or login",
            'set http.host = "127.0.0.1", or let a firewall admit only Prometheus',
        )
    if web.enabled and web.certificate_file is None and not _is_loopback(web.host):
        yield Exposure(
            "web.host",
            f"{web.host}:{web.port} speaks no TLS: who listens on the network before it reads the "
            "links that admit people, and the pages behind them",
            "set web.certificate_file; or let only a proxy that serves TLS reach this port",
        )


def _is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address to listen on."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def _channels(config: Config) -> Iterator[Exposure]:
    channels: list[Any] = list(config.channels)
    for number, options in enumerate(channels):
        where = f"channels[{number}]"
        if isinstance(options, EmailOptions) and options.security == "none":
            if not _is_loopback(options.host):
                yield Exposure(
                    f"{where}.security",
                    f"mails go to {options.host} unencrypted, with the links in them",
                    'set security = "starttls" or "tls"',
                )
        elif isinstance(options, AppriseOptions) and (found := unprotected(options)):
            yield Exposure(
                f"{where}.url",
                f"{found[0]}: credentials and messages can be read on the way",
                found[1],
                grave=True,
            )


def _addresses(config: Config) -> Iterator[Exposure]:
    """Plain http or WebSocket to somewhere else, wherever a plug-in has an address."""
    tables: list[tuple[str, BaseModel]] = [
        *((f"sources[{number}]", each) for number, each in enumerate(config.sources)),
        *((f"channels[{number}]", each) for number, each in enumerate(config.channels)),
        ("heartbeat", config.heartbeat),
    ]
    if config.classifiers.second_opinion is not None:
        tables.append(("classifiers.second_opinion", config.classifiers.second_opinion))
    for where, table in tables:
        if getattr(table, "enabled", True):
            yield from _plain(where, table, secret=False)


def _plain(where: str, table: BaseModel, *, secret: bool) -> Iterator[Exposure]:
    """Plain addresses of a table and of those within it, whose secrets go along."""
    values = {name: getattr(table, name) for name in type(table).model_fields}
    secret = secret or any(
        isinstance(value, SecretStr) and name not in _NEVER_SENT and "url" not in name
        for name, value in values.items()
    )
    for name, value in values.items():
        for place, each in _leaves(f"{where}.{name}", value):
            if isinstance(each, BaseModel):
                yield from _plain(place, each, secret=secret)
            elif parts := _unencrypted(each):
                login = secret or parts.password is not None
                # An address that is a secret is shown by its host.
                hidden = isinstance(each, SecretStr)
                shown = parts.hostname if hidden else redact_url(parts.geturl())
                risk = "the credentials" if login else "what is said"
                safe = "wss" if parts.scheme == "ws" else "https"
                yield Exposure(
                    place,
                    f"{shown} is asked without encryption: {risk} can be read on the way",
                    f"write the address with {safe}://",
                    grave=login,
                )


def _leaves(place: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, list | tuple):
        for number, each in enumerate(value):
            yield f"{place}[{number}]", each
    else:
        yield place, value


def _unencrypted(value: Any) -> SplitResult | None:
    """An address that begins with http:// or ws:// and leads off this machine."""
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if not isinstance(text, str) or not text.lower().startswith(("http://", "ws://")):
        return None
    try:
        parts = urlsplit(text)
    except ValueError:
        return None
    return None if _is_loopback(parts.hostname or "") else parts


def _environment(environment: Mapping[str, str]) -> Iterator[Exposure]:
    if environment.get("SSLKEYLOGFILE"):
        yield Exposure(
            "$SSLKEYLOGFILE",
            "the keys of encrypted connections are written to a file, for whoever listens",
            "take SSLKEYLOGFILE out of the daemon's environment",
            grave=True,
        )
