"""slack-sdk's clients, but what they send goes where it was meant for and nowhere else.

By themselves they follow a redirect, and take the token along: to another host, and in clear if that is
what the answer says. Slack redirects no call; whatever does is a gateway or a login page in between.
"""

from __future__ import annotations

import ssl
from http.client import HTTPResponse
from typing import TYPE_CHECKING, Any
from urllib.request import (
    HTTPRedirectHandler,
    HTTPSHandler,
    ProxyHandler,
    Request,
    build_opener,
)

if TYPE_CHECKING:
    from slack_sdk.web import WebClient
    from slack_sdk.webhook import WebhookClient, WebhookResponse

_LONGEST_ANSWER = 10 * 2**20


def web_client(**options: Any) -> WebClient:
    """A client of the Web API; takes what slack-sdk's takes."""
    # Imported here: few commands speak to Slack.
    from slack_sdk.web import WebClient  # noqa: PLC0415 - lazy

    class Straight(WebClient):
        def _perform_urllib_http_request_internal(
            self,
            url: str,  # noqa: ARG002 - slack-sdk's signature
            req: Request,
        ) -> dict[str, Any]:
            with _asked(req, self.proxy, self.ssl, self.timeout) as answer:
                return {"status": answer.status, "headers": answer.headers, "body": _text(answer)}

    return Straight(**options)


def webhook_client(url: str, **options: Any) -> WebhookClient:
    """A client of an incoming webhook; takes what slack-sdk's takes."""
    from slack_sdk.webhook import WebhookClient, WebhookResponse  # noqa: PLC0415 - lazy

    class Straight(WebhookClient):
        def _perform_http_request_internal(self, url: str, req: Request) -> WebhookResponse:
            with _asked(req, self.proxy, self.ssl, self.timeout) as answer:
                headers: Any = answer.headers
                return WebhookResponse(
                    url=url, status_code=answer.status, body=_text(answer), headers=headers
                )

    return Straight(url, **options)


class _Never(HTTPRedirectHandler):
    """A redirect is an answer like any other: not what was asked for."""

    def redirect_request(self, *_: Any) -> None:
        """None: nothing is asked instead."""


def _asked(
    request: Request, proxy: str | None, context: ssl.SSLContext | None, seconds: float
) -> HTTPResponse:
    handlers: list[Any] = [_Never, HTTPSHandler(context=context)]
    if proxy:
        handlers.append(ProxyHandler({"http": proxy, "https": proxy}))
    answer: HTTPResponse = build_opener(*handlers).open(request, timeout=seconds)
    return answer


def _text(answer: HTTPResponse) -> str:
    return answer.read(_LONGEST_ANSWER).decode(answer.headers.get_content_charset() or "utf-8")
