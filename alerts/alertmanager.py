"""The Alertmanager channel: incidents as alerts of Prometheus Alertmanager, for those who route there.

An alert there is a set of labels. Severity and kind are among them, because that is what its routes
match; so an incident that changes them is another alert there, and what burns under the former
labels is ended in the same request. No text of a post goes along.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from alerts.base import Delivery, DeliveryError, DeliveryFault, Event, Message, Receipt
from alerts.harmless import harmless
from alerts.plain import one_line
from alerts.posting import Answer, PostingOptions, Web, is_loopback, refusal, web_address
from connectors.options import Options as BaseOptions

ALERT_NAME = "MerkwachtIncident"
"""``alertname`` of all our alerts."""

_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,99}")
_OUR_LABELS = frozenset({"alertname", "brand", "drill", "incident", "kind", "severity"})
_LABEL_LIMIT = 200
_LIST_LIMIT = 2**20
_WORDS_LIMIT = 4096
_SHOWN = 200

Labels = dict[str, str]


class AlertmanagerOptions(PostingOptions):
    """One Alertmanager, or all members of its cluster."""

    kind: Literal["alertmanager"] = "alertmanager"
    urls: tuple[str, ...] = Field(min_length=1, max_length=5)
    """Where it is, up to the path before ``/api``; of a cluster, every member."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Labels to add to every alert, such as a team or the name of this installation."""
    expire_hours: float = Field(default=168, gt=0, le=8760)
    """After how long Alertmanager takes an incident for over that we say nothing more about."""

    @field_validator("urls")
    @classmethod
    def _are_addresses(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        for url in urls:
            if web_address(url) is None or urlsplit(url).query:
                raise ValueError(
                    f"{one_line(_without_login(url), 100)!r} is not an address; write it like "
                    "http://alertmanager.example:9093, and username and password as options"
                )
        return tuple(url.rstrip("/").removesuffix("/api/v2") for url in urls)

    @field_validator("labels")
    @classmethod
    def _are_labels(cls, labels: dict[str, str]) -> dict[str, str]:
        for name, value in labels.items():
            if not _LABEL_NAME.fullmatch(name) or name in _OUR_LABELS:
                raise ValueError(
                    f"{one_line(name, 60)!r} cannot be a label: letters, digits and _, and none of "
                    f"{', '.join(sorted(_OUR_LABELS))}"
                )
            if not _label(value):
                raise ValueError(f"the label {name} is empty; Alertmanager drops empty labels")
        return labels

    @model_validator(mode="after")
    def _way_is_safe(self) -> AlertmanagerOptions:
        for url in self.urls:
            inside = is_loopback(web_address(url) or "")
            if self.has_credentials and url.startswith("http://") and not inside:
                raise ValueError(
                    f"{url}: the credentials would be readable on the network; use https://"
                )
        return self


class AlertmanagerChannel:
    """Keeps the alerts of one Alertmanager, or of all members of its cluster, true.

    Args:
        options: addresses, labels, login.
        now: the wall clock.
    """

    kind: ClassVar[str] = "alertmanager"
    Options: ClassVar[type[BaseOptions]] = AlertmanagerOptions

    def __init__(
        self,
        options: AlertmanagerOptions,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._options = options
        self._now = now
        # Named by whoever runs the daemon, as a mail server is, and usually inside.
        hosts = [web_address(url) or "" for url in options.urls]
        self._web = Web(options, private_hosts=hosts)

    @staticmethod
    def problem_with(to: Sequence[str]) -> str | None:
        """What is wrong with the addresses of a receiver, or None."""
        return "Alertmanager's own routes say who is told; leave `to` away" if to else None

    def send(self, delivery: Delivery) -> Receipt:
        """Set the incident's alert in every member. Raises DeliveryError.

        If some take it and others do not, it counts as delivered, because members tell each other
        what they have sent, and the receipt's note names the others.
        """
        if problem := self.problem_with(delivery.to):
            raise DeliveryError(problem, fault=DeliveryFault.REFUSED, permanent=True)
        if delivery.message.bulletin:
            raise DeliveryError(
                "Alertmanager keeps incidents; this is about none",
                fault=DeliveryFault.REFUSED,
                permanent=True,
            )
        current = self._alert(delivery)
        failed: dict[str, DeliveryError] = {}
        for url in self._options.urls:
            try:
                self._set(url, current, delivery)
            except DeliveryError as error:
                failed[url] = error
        if len(failed) == len(self._options.urls):
            # What may still succeed decides: nobody has it yet, so all can be tried again.
            raise min(failed.values(), key=lambda error: error.permanent)
        # The latest labels: where we may not read, they are what has to be ended next.
        return Receipt(
            {"labels": current["labels"]},
            note="; ".join(str(each) for each in failed.values()) or None,
        )

    def check(self) -> None:
        """Ask every member for its state, which changes nothing. Raises DeliveryError."""
        for url in self._options.urls:
            where = f"Alertmanager {url}"
            answer = self._web.ask("GET", f"{url}/api/v2/status", where=where, keep=_LIST_LIMIT)
            if not answer.ok:
                raise self._refusal(where, answer)
            state = _json(answer.body)
            if not isinstance(state, Mapping) or "versionInfo" not in state:
                raise DeliveryError(
                    f"{where} answers, but not as an Alertmanager: check the address",
                    fault=DeliveryFault.REFUSED,
                    permanent=True,
                )

    def close(self) -> None:
        """Let go of the client; no connection is kept open between messages."""
        self._web.close()

    def _set(self, url: str, current: Mapping[str, Any], delivery: Delivery) -> None:
        where = f"Alertmanager {url}"
        alerts = [current, *self._ended(url, current["labels"], delivery)]
        answer = self._web.ask(
            "POST",
            f"{url}/api/v2/alerts",
            where=where,
            content=json.dumps(alerts).encode("ascii"),
            headers={"Content-Type": "application/json"},
            keep=_WORDS_LIMIT,
        )
        if not answer.ok:
            raise self._refusal(where, answer)

    def _alert(self, delivery: Delivery) -> dict[str, Any]:
        message, now = delivery.message, self._now()
        over = message.event is Event.RESOLVED
        alert = {
            "labels": self._labels(message),
            "annotations": _annotations(delivery),
            "startsAt": _moment(min(message.since, now)),
            "endsAt": _moment(now if over else now + self._patience),
        }
        return alert | ({"generatorURL": message.link} if message.link else {})

    @property
    def _patience(self) -> timedelta:
        return timedelta(hours=self._options.expire_hours)

    def _labels(self, message: Message) -> Labels:
        ours = {
            "alertname": ALERT_NAME,
            "brand": _brand(message.brand),
            "incident": str(message.incident_id),
            "kind": message.kind.value,
            "severity": message.severity.word,
            "drill": "true" if message.drill else "",
        }
        added = {name: _label(value) for name, value in self._options.labels.items()}
        return {name: value for name, value in {**added, **ours}.items() if value}

    def _ended(self, url: str, labels: Labels, delivery: Delivery) -> list[dict[str, Any]]:
        """What burns for this incident under labels that hold no longer, as ended now."""
        if delivery.message.event is Event.OPENED and delivery.thread is None:
            return []
        burning = self._burning(url, labels)
        if burning is None:
            burning = [(delivery.thread or {}).get("labels")]
        same = ("alertname", "brand", "incident", *self._options.labels)
        moment = _moment(self._now())
        return [
            {"labels": dict(each), "startsAt": moment, "endsAt": moment}
            for each in burning
            if isinstance(each, Mapping)
            and each != labels
            and all(each.get(name) == labels.get(name) for name in same)
        ]

    def _burning(self, url: str, labels: Labels) -> Iterable[Any] | None:
        """The labels of the alerts that burn for an incident; None if that was not to be had."""
        known = {"alertname": labels["alertname"], "incident": labels["incident"]}
        query = "&".join(f"filter={name}%3D%22{value}%22" for name, value in known.items())
        answer = self._web.ask(
            "GET", f"{url}/api/v2/alerts?{query}", where=f"Alertmanager {url}", keep=_LIST_LIMIT
        )
        found = _json(answer.body) if answer.ok else None
        if not isinstance(found, list):
            return None
        return [each.get("labels") for each in found if isinstance(each, Mapping)]

    def _refusal(self, where: str, answer: Answer) -> DeliveryError:
        said = _json(answer.body)
        if isinstance(said, Mapping):
            said = said.get("message")
        words = one_line(said, _SHOWN) if isinstance(said, str) else ""
        for secret in (self._options.bearer_token, self._options.password):
            if secret is not None:
                words = words.replace(secret.get_secret_value(), "…")
        return refusal(where, answer, detail=words)


def _annotations(delivery: Delivery) -> dict[str, str]:
    """What people read of it, where nothing escapes for the place where they read it."""
    message = delivery.message
    actions = (f"{place}. {harmless(each)}" for place, each in enumerate(message.actions, start=1))
    why = (f"{harmless(label)}: {harmless(value)}" for label, value in message.why)
    return {
        "title": one_line(harmless(message.title)),
        "summary": harmless(message.summary),
        "actions": "\n".join(actions),
        "why": "\n".join(why),
        "event": message.event.value,
        "key": one_line(harmless(delivery.key)),
    }


def _label(text: str) -> str:
    """A label's value, as written: routes match it."""
    return one_line(text, _LABEL_LIMIT)


def _brand(name: str) -> str:
    """A brand as it is written in the configuration, which allows nothing that would be active."""
    return _label(name if re.fullmatch(r"[\w .-]+", name) else harmless(name))


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None


def _without_login(url: str) -> str:
    """An address as it may be shown: what stands before an ``@`` may be a password."""
    scheme, mark, rest = url.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}" if mark else rest.rpartition("@")[2] or scheme
