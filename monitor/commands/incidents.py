"""``incidents list|show|ack|resolve``: what is going on, and taking it."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TextIO
from zoneinfo import ZoneInfo

from prometheus_client import CollectorRegistry
from rich.console import Console
from rich.table import Table

from alerts.base import Event, Incident
from classifiers.base import LeakBand
from classifiers.explain import explain
from classifiers.masking import excerpt
from monitor.announcing import Announcer, Rulebook
from monitor.app import build_brand
from monitor.config import Config
from monitor.metrics import Metrics
from monitor.store import Store


def show_list(store: Store, sink: TextIO, timezone: str, *, limit: int, as_json: bool) -> None:
    """Write the newest incidents, as a table or JSON Lines."""
    with store.read() as unit:
        found = unit.incidents.latest(limit)
    if as_json:
        sink.writelines(
            json.dumps(_as_json(incident), ensure_ascii=False) + "\n" for incident in found
        )
        return
    zone = ZoneInfo(timezone)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("no", "opened", "severity", "kind", "brand", "state", "taken by"):
        table.add_column(name, justify="right" if name == "no" else "left", no_wrap=True)
    for incident in found:
        table.add_row(
            str(incident.id),
            _when(incident.opened_at, zone),
            incident.severity.word,
            incident.kind.value,
            incident.brand or "-",
            incident.state.value,
            incident.acknowledged_by or "-",
        )
    Console(file=sink, highlight=False, markup=False).print(table if found else "No incidents yet.")


def show_one(
    store: Store, sink: TextIO, timezone: str, number: int, *, language: str = "en"
) -> bool:
    """Write all there is about one incident; False when there is none of that number.

    ``language`` (``nl`` or ``en``) is that of the sentences that say why a post counts as a leak.
    """
    zone = ZoneInfo(timezone)
    with store.read() as unit:
        incident = unit.incidents.get(number)
        if incident is None:
            return False
        signals = unit.incidents.signals(number)
        history = unit.incidents.history(number)
        pairs, total = unit.incidents.exhibits(number, 10)
        sent = unit.outbox.of_incident(number)
    lines = [
        f"Incident {incident.id}",
        f"  {incident.kind.value}, {incident.severity.word}, {incident.state.value}",
        f"  brand {incident.brand or '-'}, opened {_when(incident.opened_at, zone)}",
        f"  taken by {incident.acknowledged_by or 'nobody'}",
        "",
        f"Signals ({len(signals)})",
        *(
            f"  {_when(each.occurred_at, zone)}  {each.kind.value}  {json.dumps(dict(each.facts))}"
            for each in signals
        ),
        "",
        f"Posts (latest {len(pairs)} of {total})",
    ]
    for mention, assessment in pairs:
        findings = assessment.leak.findings if assessment else ()
        shown = excerpt(mention.post.text, findings, limit=200)
        lines.append(
            f"  {_when(mention.post.published_at, zone)}  {mention.post.platform}  {shown}"
        )
        if assessment and assessment.leak.band is not LeakBand.LOW:
            lines.append(f"    mention {mention.id}: {explain(assessment.leak, language)}")
        if mention.post.url:
            lines.append(f"    {mention.post.url}")
    lines += ["", "History"]
    lines += [
        f"  {_when(each.at, zone)}  {each.actor}: {each.event} {each.note}".rstrip()
        for each in history
    ]
    lines += ["", "Told"]
    lines += [
        f"  {_when(each.created_at, zone)}  {each.receiver} through {each.channel}: {each.event}, "
        f"{each.state}" + (f" ({each.error})" if each.error else "")
        for each in sent
    ] or ["  nobody"]
    sink.write("\n".join(lines) + "\n")
    return True


def change(  # noqa: PLR0917 - the words of the command
    store: Store, settings: Config, number: int, who: str, note: str, what: str, now: datetime
) -> str:
    """Acknowledge or resolve an incident; says what was done.

    Raises:
        LookupError: there is no such incident, or it is past that state.
    """
    with store.write() as unit:
        incident = unit.incidents.get(number)
        if incident is None:
            raise LookupError(f"there is no incident {number}")
        if what == "acknowledge":
            if not unit.incidents.acknowledge(number, who, now, note):
                taken = (
                    f" (taken by {incident.acknowledged_by})" if incident.acknowledged_by else ""
                )
                raise LookupError(f"incident {number} is {incident.state.value} already{taken}")
            return f"incident {number} is yours, {who}"
        if not unit.incidents.resolve(number, who, now, note):
            raise LookupError(f"incident {number} is {incident.state.value} already")
        unit.flush()
        resolved = unit.incidents.get(number) or incident
        _announcer(settings, unit.fact("installation") or "").tell(
            unit, resolved, Event.RESOLVED, now
        )
    return f"incident {number} is resolved; those who were told of it will hear"


def _announcer(settings: Config, installation: str) -> Announcer:
    rulebook = Rulebook(
        routes=settings.routes,
        receivers=settings.receivers,
        language=settings.language,
        timezone=settings.timezone,
        handles={item.name: build_brand(item).handles for item in settings.brands},
    )
    return Announcer(rulebook, installation=installation, metrics=Metrics(CollectorRegistry()))


def _as_json(incident: Incident) -> dict[str, object]:
    return {
        "id": incident.id,
        "brand": incident.brand,
        "kind": incident.kind.value,
        "severity": incident.severity.word,
        "state": incident.state.value,
        "opened_at": incident.opened_at.isoformat(),
        "acknowledged_by": incident.acknowledged_by,
    }


def _when(moment: datetime, zone: ZoneInfo) -> str:
    return moment.astimezone(zone).strftime("%Y-%m-%d %H:%M")
