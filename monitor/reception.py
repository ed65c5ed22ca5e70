"""The routes of the public address by which pushes to sources come in.

Nobody logs in here: the source's door checks each push by its signature. What is pushed is read whole
(it is small), checked, and handed to the main thread; a few at a time, so that a flood of pushes keeps
nobody from the other pages.
"""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from typing import Any

from anyio import CapacityLimiter, to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from connectors.intake import NotAdmittedError, Push
from monitor.intake import IntakeDesk, TooMuchError
from monitor.site import read_body

PATH = "/intake/{source}"
"""Where to push to, with the source's name in the configuration."""


def intake_routes(desk: IntakeDesk) -> list[Route]:
    """``POST /intake/{source}`` for pushes, ``GET`` for a platform's question who is there.

    Answers 200 when a push is stored (or was before), 401 or another 4xx when it is not admitted, 429
    and 503 with ``Retry-After`` when it should come again.
    """
    reception = _Reception(desk)
    return [
        Route(PATH, reception.greet, methods=["GET"]),
        Route(PATH, reception.take, methods=["POST"]),
    ]


class _Reception:
    """Requests of one event loop."""

    def __init__(self, desk: IntakeDesk) -> None:
        self._desk = desk
        self._limiter = CapacityLimiter(desk.limits.at_once)
        self._inside = 0

    async def greet(self, request: Request) -> Response:
        """Answer a platform that checks the address."""
        try:
            greeting = self._desk.greet(
                request.path_params["source"], dict(request.query_params.items())
            )
        except NotAdmittedError as error:
            return _refusal(error, error.status)
        return Response(greeting.body, media_type=greeting.media_type)

    async def take(self, request: Request) -> Response:
        """Take a push."""
        if request.headers.get("content-encoding", "identity") != "identity":
            return _refusal("send it uncompressed", HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
        # First of all: whoever feeds it slowly occupies no place of others.
        push = Push(dict(request.headers.items()), await read_body(request))
        if self._inside >= 2 * self._desk.limits.at_once:
            return _later(TooMuchError("busy", HTTPStatus.SERVICE_UNAVAILABLE, 5))
        self._inside += 1
        try:
            take = partial(self._desk.take, request.path_params["source"], push)
            new = await to_thread.run_sync(take, limiter=self._limiter)
        except NotAdmittedError as error:
            return _refusal(error, error.status)
        except TooMuchError as error:
            return _later(error)
        finally:
            self._inside -= 1
        return JSONResponse({"stored": True, "new": new})


def _refusal(why: Any, status: int) -> Response:
    return JSONResponse({"error": str(why)}, status)


def _later(error: TooMuchError) -> Response:
    return JSONResponse(
        {"error": str(error)}, error.status, headers={"Retry-After": str(error.seconds)}
    )
