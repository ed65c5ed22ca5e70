"""The Slack channel: one message as Block Kit, over an incoming webhook or as a bot.

slack-sdk talks to Slack; its own retries are off, because the outbox retries, and its logging is
off, because it would write the webhook's address, which is a secret, and message texts.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from http.client import HTTPException
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from urllib.error import URLError
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from alerts.base import Delivery, DeliveryError, DeliveryFault, Event, Message, Receipt
from alerts.blocks import blocks_of, brief_blocks, escape, fallback_text
from alerts.chart import describe, draw
from alerts.plain import one_line
from alerts.straight import web_client, webhook_client
from alerts.words import words
from connectors.options import Options as BaseOptions

if TYPE_CHECKING:
    from slack_sdk.web import SlackResponse, WebClient
    from slack_sdk.webhook import WebhookClient, WebhookResponse

_SLACK_API = "https://slack.com/api/"
_TOO_MANY = 429
_OK = 200
_CLIENT_ERRORS = frozenset(range(300, 500)) - {301, 302, 303}
"""Without those that lead to a page, such as a proxy's login: that may pass."""

_LOGIN_ERRORS = frozenset(
    {
        "access_denied", "account_inactive", "ekm_access_denied", "invalid_auth", "invalid_token",
        "missing_scope", "no_permission", "not_allowed_token_type", "not_authed",
        "org_login_required", "token_expired", "token_revoked", "two_factor_setup_required",
    }
)  # fmt: skip
_PASSING_ERRORS = frozenset(
    {"fatal_error", "internal_error", "request_timeout", "rollup_error", "service_unavailable"}
)
_RATE_ERRORS = frozenset({"message_limit_exceeded", "rate_limited", "ratelimited"})
_LOST_THREAD = frozenset({"cannot_reply_to_message", "message_not_found", "thread_not_found"})
_FIXED = frozenset({"cant_update_message", "edit_window_closed"})
"""What a workspace answers that lets nobody edit, or not that long afterwards."""
_TOO_LONG = frozenset({"msg_blocks_too_long", "msg_too_long"})
_QUIET = {"unfurl_links": False, "unfurl_media": False}
_HEALTHY_WITHOUT_TEXT = frozenset(
    {"invalid_payload", "missing_text_or_fallback_or_attachments", "no_text"}
)
"""What a working webhook answers to a message without text: it posts nothing."""


class SlackOptions(BaseOptions):
    """A Slack workspace to post in: through an incoming webhook, or as a bot."""

    kind: Literal["slack"] = "slack"
    webhook_url: SecretStr | None = None
    """Address of an incoming webhook. It belongs to one channel and cannot thread its messages."""
    bot_token: SecretStr | None = None
    """Token of a bot (``xoxb-…``) with ``chat:write``: posts in any channel it is a member of,
    keeping an incident in one thread. With ``files:write`` it adds charts."""
    app_token: SecretStr | None = None
    """App-level token (``xapp-…``) with ``connections:write``: puts buttons under the bot's messages
    and hears through Socket Mode, without an open port, when one is pressed."""
    base_url: str = _SLACK_API
    """Address of Slack's Web API, for a gateway in between."""
    timeout_seconds: float = Field(default=10, gt=0, le=120)
    """How long Slack may take over an answer."""

    @field_validator("webhook_url")
    @classmethod
    def _webhook_is_safe(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not _is_safe_address(value.get_secret_value()):
            raise ValueError("must be an address that begins with https://")
        return value

    @field_validator("base_url")
    @classmethod
    def _base_is_safe(cls, value: str) -> str:
        if not _is_safe_address(value):
            raise ValueError("must be an address that begins with https://")
        return value if value.endswith("/") else f"{value}/"

    @model_validator(mode="after")
    def _one_way_in(self) -> SlackOptions:
        if (self.webhook_url is None) == (self.bot_token is None):
            raise ValueError("give either webhook_url or bot_token")
        if self.app_token is not None and self.bot_token is None:
            raise ValueError("app_token needs bot_token: a webhook cannot answer a button")
        return self


class SlackChannel:
    """Posts in one Slack workspace.

    Args:
        options: the webhook or the bot's token.
    """

    kind: ClassVar[str] = "slack"
    Options: ClassVar[type[BaseOptions]] = SlackOptions

    def __init__(self, options: SlackOptions) -> None:
        self._options = options

    def problem_with(self, to: Sequence[str]) -> str | None:
        """What is wrong with the addresses of a receiver, or None."""
        if self._options.webhook_url is not None:
            if to:
                return "a Slack webhook posts in its own channel; leave `to` away"
            return None
        if not to:
            return 'a Slack bot needs to know where to post: to = ["#channel"]'
        odd = [each for each in to if not re.fullmatch(r"[#@]?[^\s#@<>&]{1,80}", each)]
        return f"{one_line(odd[0], 80)!r} is not a Slack channel" if odd else None

    def send(self, delivery: Delivery) -> Receipt:
        """Post one message. Raises DeliveryError.

        A bot posts in each of ``delivery.to``. If some take it and others do not, it counts as
        delivered and the receipt's note names the others.
        """
        if problem := self.problem_with(delivery.to):
            raise DeliveryError(problem, fault=DeliveryFault.REFUSED, permanent=True)
        if self._options.webhook_url is not None:
            blocks = blocks_of(delivery.message, key=delivery.key)
            self._post_to_webhook({"text": fallback_text(delivery.message), "blocks": blocks})
            return Receipt()
        return self._post_as_bot(delivery)

    def check(self) -> None:
        """Ask Slack whether webhook or tokens are good, without posting. Raises DeliveryError."""
        if self._options.webhook_url is not None:
            self._post_to_webhook({"text": ""}, healthy=_HEALTHY_WITHOUT_TEXT)
            return
        self._ask("auth.test", {})
        if self._options.app_token is not None:
            # Opens nothing: it asks for an address, which we do not call.
            self._ask("apps.connections.open", {}, token=self._options.app_token)

    # -- what somebody who pressed a button sees ------------------------------------------------

    @property
    def app_token(self) -> SecretStr | None:
        """The token to hear of pressed buttons with, where there is one."""
        return self._options.app_token

    def new_client(self) -> WebClient:
        """A client of the Web API of one's own."""
        return self._make_client()

    def show(self, posted: Mapping[str, str], message: Message, key: str) -> None:
        """Let a message that was posted say this from now on. Raises DeliveryError."""
        self._put("chat.update", dict(posted), message, key, buttons=self._hears)

    def say(self, posted: Mapping[str, str], text: str) -> None:
        """A line in the thread of a message, ours but for the names in it. Raises DeliveryError."""
        body = {"channel": posted["channel"], "thread_ts": posted["ts"], "text": escape(text)}
        self._ask("chat.postMessage", body | _QUIET)

    def whisper(self, channel: str, user: str, text: str) -> None:
        """A line that only this user sees. Raises DeliveryError."""
        body = {"channel": channel, "user": user, "text": escape(text)}
        self._ask("chat.postEphemeral", body | _QUIET)

    def name_of(self, user: str) -> str:
        """A user's display name; empty where Slack does not tell: that needs ``users:read``."""
        from slack_sdk.errors import SlackApiError, SlackRequestError  # noqa: PLC0415 - lazy

        try:
            found = self._client.users_info(user=user).get("user")
        except (SlackApiError, SlackRequestError, OSError, HTTPException, ValueError):
            return ""
        profile = found.get("profile") if isinstance(found, Mapping) else None
        names = [profile.get("display_name"), profile.get("real_name")] if profile else []
        return next((one_line(each, 80) for each in names if isinstance(each, str) and each), "")

    @property
    def _hears(self) -> bool:
        return self._options.app_token is not None

    def close(self) -> None:
        """Nothing is kept open between messages."""

    def _post_as_bot(self, delivery: Delivery) -> Receipt:
        threads: dict[str, Any] = {}
        failed: dict[str, DeliveryError] = {}
        notes: list[str] = []
        for channel in delivery.to:
            thread = (delivery.thread or {}).get(channel)
            try:
                threads[channel] = self._post_in(channel, thread, delivery, notes)
            except DeliveryError as error:
                failed[channel] = error
            else:
                notes += self._add_chart(threads[channel], delivery.message)
        if not threads:
            # What may still succeed decides: nobody has seen it yet, so all can be tried again.
            raise min(failed.values(), key=lambda error: error.permanent)
        notes += [f"not posted in {each}: {error}" for each, error in failed.items()]
        return Receipt(thread=threads, note="; ".join(notes) or None)

    def _add_chart(self, posted: Mapping[str, str], message: Message) -> list[str]:
        """Put the chart under the message that was posted; what goes wrong is a note.

        The message is out: failing now would post it again.
        """
        if message.chart is None:
            return []
        look = {"language": message.language, "timezone": message.timezone}
        picture = draw(message.chart, **look)
        if picture is None:
            return []
        from slack_sdk.errors import SlackApiError, SlackRequestError  # noqa: PLC0415 - lazy

        try:
            self._client.files_upload_v2(
                channel=posted["channel"],
                thread_ts=posted["ts"],
                file=picture,
                filename="chart.png",
                title=words(message.language).text(
                    "chart.title", step=words(message.language).duration(message.chart.step)
                ),
                alt_txt=describe(message.chart, **look),
            )
        except SlackApiError as error:
            code = error_code(error.response.data)
            advice = "; give the bot files:write" if code == "missing_scope" else ""
            return [f"without its chart in {posted['channel']} ({code or 'refused'}{advice})"]
        except (SlackRequestError, OSError, HTTPException, ValueError, TypeError):
            # TypeError: slack-sdk takes an answer for whole that is not.
            return [f"without its chart in {posted['channel']} (the upload broke off)"]
        return []

    def _post_in(
        self, channel: str, thread: Any, delivery: Delivery, notes: list[str]
    ) -> dict[str, str]:
        """Tell it in one channel; say where the incident's one message stands.

        The first time that message is posted. Later it is edited to say how things are now, and what
        happened goes into its thread. Editing comes first: doing it again does no harm, so
        whatever breaks off in between posts nothing twice.
        """
        message, key = delivery.message, delivery.key
        if isinstance(thread, Mapping) and {"channel", "ts"} <= set(thread):
            root = {"channel": str(thread["channel"]), "ts": str(thread["ts"])}
            # A thread's replies pass unseen; what got worse or is over is shown in the channel too.
            loud = message.event in {Event.WORSENED, Event.RESOLVED}
            reply = {"channel": root["channel"], "thread_ts": root["ts"], "reply_broadcast": loud}
            try:
                notes += self._edit(root, message, key)
                self._put("chat.postMessage", reply, message, key, buttons=False)
            except _LostThreadError:
                pass  # somebody deleted it: it is told anew
            else:
                return root
        answer = self._put(
            "chat.postMessage", {"channel": channel}, message, key, buttons=self._hears
        )
        return {"channel": str(answer.get("channel", channel)), "ts": str(answer.get("ts", ""))}

    def _edit(self, root: Mapping[str, str], message: Message, key: str) -> list[str]:
        """Let the incident's message say how things are now; that it may not is a note."""
        try:
            self.show(root, message, key)
        except _FixedError as error:
            return [f"the first message in {root['channel']} stays as it was ({error})"]
        return []

    def _put(
        self, method: str, place: dict[str, Any], message: Message, key: str, *, buttons: bool
    ) -> Mapping[str, Any]:
        """Post or edit a message; if Slack finds it too long, its most important part."""
        body = place | {
            "text": fallback_text(message),
            "blocks": blocks_of(message, key=key, buttons=buttons),
            "parse": "none",
            "metadata": {
                "event_type": "merkwacht_notification",
                "event_payload": {
                    "key": one_line(key),
                    "incident": message.incident_id,
                    "event": message.event.value,
                },
            },
        }
        if method == "chat.postMessage":
            body |= _QUIET
        try:
            return self._ask(method, body)
        except _TooLongError:
            brief = brief_blocks(message, key=key, buttons=buttons)
            return self._ask(method, body | {"blocks": brief})

    def _post_to_webhook(
        self, body: dict[str, Any], *, healthy: frozenset[str] = frozenset()
    ) -> None:
        where = "the Slack webhook"
        try:
            response: WebhookResponse = self._webhook.send_dict(
                body | {"unfurl_links": False, "unfurl_media": False}
            )
        except (OSError, HTTPException, ValueError) as error:
            # No cause is chained: its message could hold the address.
            raise _connection_error(where, error, self._options.timeout_seconds) from None
        said = one_line(response.body or "", 60)
        if (response.status_code == _OK and said == "ok") or said in healthy:
            return
        raise _refusal(where, response.status_code, _code(said), response.headers)

    def _ask(
        self, method: str, body: dict[str, Any], *, token: SecretStr | None = None
    ) -> Mapping[str, Any]:
        """Call a method of the Web API and give its answer."""
        from slack_sdk.errors import SlackApiError  # noqa: PLC0415 - lazy

        where = f"Slack ({method}, {body['channel']})" if "channel" in body else f"Slack ({method})"
        try:
            response: SlackResponse = self._client.api_call(
                method,
                json=body or None,
                headers=None
                if token is None
                else {"Authorization": f"Bearer {token.get_secret_value()}"},
            )
        except SlackApiError as error:
            code = error_code(error.response.data)
            if special := _special(code, body):
                raise special from None
            raise _refusal(
                where, error.response.status_code, code, error.response.headers
            ) from None
        except (OSError, HTTPException, ValueError) as error:
            raise _connection_error(where, error, self._options.timeout_seconds) from None
        answer = response.data
        return answer if isinstance(answer, Mapping) else {}

    @cached_property
    def _client(self) -> WebClient:
        return self._make_client()

    def _make_client(self) -> WebClient:
        token = self._options.bot_token
        return web_client(
            token=None if token is None else token.get_secret_value(),
            base_url=self._options.base_url,
            timeout=self._options.timeout_seconds,
            logger=silent_logger(),
            retry_handlers=[],
        )

    @cached_property
    def _webhook(self) -> WebhookClient:
        url = self._options.webhook_url
        return webhook_client(
            "" if url is None else url.get_secret_value(),
            timeout=self._options.timeout_seconds,
            logger=silent_logger(),
            retry_handlers=[],
        )


class _LostThreadError(DeliveryError):
    """The message to edit, or to answer under, is gone."""


class _FixedError(DeliveryError):
    """The message is there, and may not be edited."""


class _TooLongError(DeliveryError):
    """Within the limits that Slack documents, and yet too long for it."""


def _special(code: str, body: Mapping[str, Any]) -> DeliveryError | None:
    """The error of an answer for which there is another way."""
    if code in _LOST_THREAD and ("thread_ts" in body or "ts" in body):
        return _LostThreadError(code, fault=DeliveryFault.REFUSED, permanent=True)
    if code in _FIXED:
        return _FixedError(code, fault=DeliveryFault.REFUSED, permanent=True)
    if code in _TOO_LONG and "blocks" in body:
        return _TooLongError(
            f"Slack: refused ({code}); this is a defect of Merkwacht, please report it",
            fault=DeliveryFault.REFUSED,
            permanent=True,
        )
    return None


def _refusal(
    where: str, status: int, code: str, headers: Mapping[str, Any] | None
) -> DeliveryError:
    """What an answer of Slack that is not ok means for the delivery."""
    if status == _TOO_MANY or code in _RATE_ERRORS:
        return DeliveryError(
            f"{where}: asked to slow down",
            fault=DeliveryFault.RATE_LIMITED,
            retry_after=_retry_after(headers),
        )
    shown = code or f"status {status}"
    if code in _LOGIN_ERRORS or status in {401, 403}:
        return DeliveryError(
            f"{where}: refused ({shown}); check the token or webhook and its permissions",
            fault=DeliveryFault.UNAUTHORIZED,
            permanent=True,
        )
    if code in _PASSING_ERRORS or status not in {_OK, *_CLIENT_ERRORS}:
        return DeliveryError(
            f"{where}: failing at the other side ({shown})", fault=DeliveryFault.SERVER_ERROR
        )
    if status == _OK and not code:
        # Something else than Slack answers, such as a proxy's login page: it may pass.
        return DeliveryError(
            f"{where}: the answer is not Slack's", fault=DeliveryFault.SERVER_ERROR
        )
    return DeliveryError(
        f"{where}: refused ({shown}){_ADVICE.get(code, '')}",
        fault=DeliveryFault.REFUSED,
        permanent=True,
    )


_ADVICE: Mapping[str, str] = {
    "channel_not_found": "; check the channel's name or id, and invite the bot if it is private",
    "not_in_channel": "; invite the bot to the channel",
    "is_archived": "; the channel is archived",
    "channel_is_archived": "; the channel is archived",
    "forbidden_socket_mode": "; switch Socket Mode on in the app's settings",
    "no_service": "; the webhook was removed: make a new one",
    "no_active_hooks": "; the webhook was switched off",
    "no_team": "; the webhook's workspace is gone",
    "invalid_blocks": "; this is a defect of Merkwacht, please report it",
}


def _connection_error(where: str, error: Exception, seconds: float) -> DeliveryError:
    reason = error.reason if isinstance(error, URLError) else error
    if isinstance(reason, TimeoutError):
        return DeliveryError(
            f"{where} did not answer within {seconds:g} s", fault=DeliveryFault.TIMEOUT
        )
    if type(reason).__name__.startswith("SSL"):
        return DeliveryError(
            f"no trusted encrypted connection with {where}", fault=DeliveryFault.TLS
        )
    if isinstance(reason, ValueError):
        return DeliveryError(
            f"{where}: the answer is not Slack's", fault=DeliveryFault.SERVER_ERROR
        )
    detail = reason.strerror if isinstance(reason, OSError) else None
    return DeliveryError(
        f"{where} cannot be reached: {detail or 'the connection broke off'}",
        fault=DeliveryFault.UNREACHABLE,
    )


def _retry_after(headers: Mapping[str, Any] | None) -> timedelta | None:
    seconds = retry_seconds(headers)
    return timedelta(seconds=seconds) if seconds else None


def retry_seconds(headers: Mapping[str, Any] | None) -> float:
    """How long Slack wishes us to wait; 0 when it says nothing, or nothing readable."""
    found = {str(name).lower(): value for name, value in (headers or {}).items()}
    value = found.get("retry-after")
    text = str(value[0] if isinstance(value, list) and value else value).strip()
    return float(text) if re.fullmatch(r"\d{1,6}", text) else 0.0


def error_code(answer: object) -> str:
    """Slack's word for what is wrong, if the answer is Slack's at all."""
    return _code(str(answer.get("error", ""))) if isinstance(answer, Mapping) else ""


def _code(text: str) -> str:
    """Slack's word for what is wrong; nothing else of an answer is repeated."""
    return text if re.fullmatch(r"[a-z][a-z_]{2,59}", text) else ""


def silent_logger() -> logging.Logger:
    """A logger that leads nowhere. slack-sdk logs whenever its own level is low, or not set."""
    # Not from getLogger: what is not registered, no logging configuration can turn on.
    logger = logging.Logger("silent", level=logging.CRITICAL + 1)  # noqa: LOG001 - see above
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    return logger


def _is_safe_address(url: str) -> bool:
    """Encrypted, or within this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    if not host or not url.isprintable() or " " in url:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host))


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
