"""The pages behind a link in a message: show an incident, take it, close it.

Showing changes nothing, however often and by whatever program it is asked for. Acting is a form that
is posted, with a ticket of its own that only the page holds. No cookies, no scripts, nothing from outside.
"""

from __future__ import annotations

import base64
import hashlib
import tomllib
from collections.abc import Callable, Mapping
from functools import cache
from http import HTTPStatus
from importlib import resources
from typing import Any
from urllib.parse import parse_qs
from zoneinfo import ZoneInfo

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from alerts.links import Action, Refusal, Ticket, TicketError
from alerts.message import marker, sample_line, since_line
from alerts.words import words
from monitor.database import StoreError
from monitor.desk import NAME_LIMIT, Case, Desk, Outcome, Step, Way, name_of
from monitor.inbox import LateError, StoppedError
from monitor.site import read_body

FORM_BYTES = 4096
_FIELDS = 4

_STATUS: Mapping[str, HTTPStatus] = {
    "forged": HTTPStatus.NOT_FOUND,
    "expired": HTTPStatus.GONE,
    "gone": HTTPStatus.NOT_FOUND,
    "busy": HTTPStatus.SERVICE_UNAVAILABLE,
}
_OUTCOME_STATUS: Mapping[Outcome, HTTPStatus] = {
    Outcome.DONE: HTTPStatus.OK,
    Outcome.ALREADY: HTTPStatus.CONFLICT,
}


def incident_routes(desk: Desk) -> list[Route]:
    """The routes of incidents, for the public address."""
    pages = _Pages(desk)
    return [
        Route("/i/{ticket}", pages.show, methods=["GET"]),
        Route("/i/{ticket}", pages.post, methods=["POST"]),
    ]


class _Pages:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def show(self, request: Request) -> Response:
        """The incident, as it is now."""
        return self._or_trouble(lambda: self._shown(str(request.path_params["ticket"])))

    async def post(self, request: Request) -> Response:
        """Act on it."""
        form = _form(await read_body(request, FORM_BYTES))
        return await run_in_threadpool(
            lambda: self._or_trouble(lambda: self._acted(str(request.path_params["ticket"]), form))
        )

    def _shown(self, text: str) -> Response:
        ticket = self._desk.links.read(text, self._desk.now)
        case = self._desk.show(ticket)
        if case is None:
            return _trouble("gone", self._desk.language)
        return self._page(case, ticket)

    def _acted(self, text: str, form: Mapping[str, str]) -> Response:
        seen = self._desk.links.read(text, self._desk.now)
        ticket = self._desk.links.read(form.get("ticket", ""), self._desk.now)
        if ticket.action is Action.SEE or ticket.incident_id != seen.incident_id:
            raise TicketError(Refusal.FORGED)
        who = name_of(form.get("name", ""))
        if who is None:
            case = self._desk.show(ticket)
            if case is None:
                return _trouble("gone", self._desk.language)
            return self._page(case, ticket, missing=True, status=HTTPStatus.BAD_REQUEST)
        outcome, case = self._desk.act(ticket, ticket.action, who, Way.LINK)
        if case is None:
            return _trouble("gone", self._desk.language)
        return self._page(
            case,
            ticket,
            news=_news(case, ticket.action, outcome),
            good=outcome is Outcome.DONE,
            who=who,
            status=_OUTCOME_STATUS[outcome],
        )

    def _or_trouble(self, answer: Callable[[], Response]) -> Response:
        """What is wrong with a link is said on a page that says what to do."""
        try:
            return answer()
        except TicketError as error:
            return _trouble(error.refusal.value, self._desk.language)
        except (StoppedError, LateError, StoreError):
            return _trouble("busy", self._desk.language)

    def _page(
        self,
        case: Case,
        ticket: Ticket,
        *,
        news: str = "",
        good: bool = False,
        who: str = "",
        missing: bool = False,
        status: HTTPStatus = HTTPStatus.OK,
    ) -> Response:
        links = self._desk.links
        forms = {}
        if not case.over:
            action = Action.TAKE if case.taken is None else Action.RESOLVE
            forms[action.name.lower()] = links.turned(ticket, action)
        message = case.message
        catalogue, say = words(message.language), _words(message.language)
        zone = ZoneInfo(message.timezone)
        one = len(message.samples) == 1 and not message.more_samples
        values = {
            "message": message,
            # Why now is of the message that led here, not of the page.
            "why": [pair for pair in message.why if pair[0] != catalogue.text("why.now")],
            "marker": marker(message),
            "kind": catalogue.text(f"kind.{message.kind.value}"),
            "incident": catalogue.text("label.incident", id=message.incident_id),
            "since": f"{catalogue.text('label.since')} {since_line(message)}",
            "samples": [
                {"line": sample_line(each, message), "text": each.text, "url": each.url}
                for each in message.samples
            ],
            "more": catalogue.count("label.more", message.more_samples)
            if message.more_samples
            else "",
            "label": {
                name: catalogue.text(f"label.{name}")
                for name in ("actions", "aftercare", "why", "view", "masked", "watched")
            }
            | {"samples": catalogue.text("label.sample" if one else "label.samples")}
            | {"times": catalogue.text("label.times", timezone=message.timezone)},
            "say": say,
            "stands": _stands(case),
            "forms": forms,
            "news": news,
            "good": good,
            "who": who,
            "missing": missing,
            "limit": NAME_LIMIT,
            "good_until": say["good_until"].format(at=catalogue.moment(ticket.expires_at, zone)),
        }
        return _html("incident.html", values, message.language, status)


def _form(raw: bytes) -> dict[str, str]:
    """The fields of a posted form, each once; what is not one has none."""
    try:
        found = parse_qs(raw.decode("utf-8", "replace"), max_num_fields=_FIELDS)
    except ValueError:
        return {}
    return {name: values[0] for name, values in found.items()}


def _stands(case: Case) -> str:
    """Who has it, or that it is over."""
    if case.resolved is not None:
        return _by(case, "resolved", case.resolved)
    return "" if case.taken is None else _by(case, "taken", case.taken)


def _news(case: Case, action: Action, outcome: Outcome) -> str:
    """What came of the form that was posted."""
    say = _words(case.message.language)
    if outcome is Outcome.DONE:
        return str(say[f"done_{action.name.lower()}"])
    if case.over or case.taken is None:
        return str(say["already_over"])
    return _by(case, "already_take", case.taken)


def _by(case: Case, key: str, step: Step) -> str:
    message = case.message
    at = words(message.language).short_moment(step.at, ZoneInfo(message.timezone))
    by_itself = key == "resolved" and name_of(step.who) is None
    text = _words(message.language)["resolved_self" if by_itself else key]
    return str(text.format(who=step.who, at=at))


def _trouble(what: str, language: str) -> Response:
    say = _words(language)
    values = {"say": say, "trouble": say["trouble"][what]}
    return _html("trouble.html", values, language, _STATUS[what])


def _html(template: str, values: Mapping[str, Any], language: str, status: HTTPStatus) -> Response:
    text = (
        _templates()
        .get_template(template)
        .render({**values, "language": language, "style": _style()})
    )
    headers = {"Content-Security-Policy": _policy(), "Content-Language": language}
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = "30"
    return HTMLResponse(text, status, headers)


@cache
def _policy() -> str:
    """Our own style sheet and forms to ourselves; nothing else."""
    digest = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    )


@cache
def _style() -> str:
    return (resources.files("monitor.pages") / "style.css").read_text(encoding="utf-8")


@cache
def _words(language: str) -> dict[str, Any]:
    text = (resources.files("monitor.pages") / "words.toml").read_text(encoding="utf-8")
    found: dict[str, Any] = tomllib.loads(text)[language]
    return found


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("monitor.pages", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
