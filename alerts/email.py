"""The e-mail channel: one message as a mail of text and HTML, over SMTP.

One connection per mail: alerts are few, and a fresh connection has no stale state. Retrying is the
outbox's work; a mail sent twice carries the same ``Message-ID`` and ``X-Merkwacht-Key``.
"""

from __future__ import annotations

import contextlib
import smtplib
import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import ConfigDict, Field, SecretStr, field_validator, model_validator

from alerts.base import Delivery, DeliveryError, DeliveryFault, Receipt
from alerts.letter import build_mail, parse_address, thread_of
from alerts.plain import one_line
from connectors.options import Options as BaseOptions

_TEMPORARY_AUTH = 454
_PERMANENT = range(500, 600)
_QUIT_TIMEOUT_SECONDS = 2
_REPLY_LIMIT = 200


class EmailOptions(BaseOptions):
    """A mail server to hand mails to."""

    model_config = ConfigDict(validate_by_alias=True, validate_by_name=True)

    kind: Literal["email"] = "email"
    host: str = Field(min_length=1)
    """Name of the SMTP server."""
    port: int = Field(default=587, ge=1, le=65535)
    """587 for STARTTLS, 465 for TLS from the start, 25 within one's own network."""
    security: Literal["starttls", "tls", "none"] = "starttls"
    """How the connection is encrypted; with ``none`` not at all."""
    username: str | None = None
    """Name to log in with; without it there is no login."""
    password: SecretStr | None = None
    """Password to log in with."""
    from_: str = Field(alias="from")
    """Who the mails come from: ``Merkwacht <merkwacht@example.com>``, or the address alone."""
    reply_to: str | None = None
    """Where answers go, if not to ``from``."""
    ca_file: Path | None = None
    """Certificates (PEM) to trust instead of the system's, for a server with a private one."""
    timeout_seconds: float = Field(default=20, gt=0, le=300)
    """How long the server may take over each answer."""
    hello_hostname: str | None = None
    """How this machine introduces itself (EHLO); without it by its own full name."""

    @field_validator("from_", "reply_to")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        if value is not None:
            parse_address(value)
        return value

    @model_validator(mode="after")
    def _login_is_whole_and_safe(self) -> EmailOptions:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password belong together: give both or neither")
        if self.username is not None and self.security == "none" and not _is_loopback(self.host):
            raise ValueError(
                'security = "none" would send the password readable over the network; '
                'use "starttls" or "tls"'
            )
        return self


class EmailChannel:
    """Sends mails through one SMTP server.

    Args:
        options: server, login, sender.
        hostname: how this machine introduces itself when the options do not say.
    """

    kind: ClassVar[str] = "email"
    Options: ClassVar[type[BaseOptions]] = EmailOptions

    def __init__(self, options: EmailOptions, *, hostname: str | None = None) -> None:
        self._options = options
        self._hostname = options.hello_hostname or hostname
        self._sender = parse_address(options.from_)

    @staticmethod
    def problem_with(to: Sequence[str]) -> str | None:
        """What is wrong with the addresses of a receiver, or None."""
        if not to:
            return "an e-mail channel needs at least one address"
        for address in to:
            try:
                parse_address(address)
            except ValueError as error:
                return str(error)
        return None

    def send(self, delivery: Delivery) -> Receipt:
        """Hand one mail over for all addresses. Raises DeliveryError.

        If the server takes it for some addresses and refuses others, it counts as delivered and the
        receipt's note names the refused ones: a repeat would reach the others twice.
        """
        if problem := self.problem_with(delivery.to):
            raise DeliveryError(problem, fault=DeliveryFault.REFUSED, permanent=True)
        recipients = [parse_address(each) for each in delivery.to]
        mail = build_mail(delivery, self._sender, recipients, reply_to=self._options.reply_to)
        with self._errors(), self._session() as smtp:
            refused = smtp.send_message(
                mail, self._sender.addr_spec, [each.addr_spec for each in recipients]
            )
        return Receipt(thread=thread_of(delivery, mail), note=self._note(refused))

    def check(self) -> None:
        """Connect, encrypt, log in and ask for nothing. Raises DeliveryError."""
        with self._errors(), self._session() as smtp:
            code, reply = smtp.noop()
            if code in _PERMANENT:
                raise smtplib.SMTPResponseException(code, reply)

    def close(self) -> None:
        """Nothing is kept open between mails."""

    @contextlib.contextmanager
    def _session(self) -> Iterator[smtplib.SMTP]:
        """A connection that is encrypted and logged in as the options say."""
        options = self._options
        # ssl.create_default_context verifies certificate and host name: never switched off.
        if options.security == "tls":
            smtp: smtplib.SMTP = smtplib.SMTP_SSL(
                options.host,
                options.port,
                local_hostname=self._hostname or _own_name(),
                timeout=options.timeout_seconds,
                context=self._tls(),
            )
        else:
            smtp = smtplib.SMTP(
                options.host,
                options.port,
                local_hostname=self._hostname or _own_name(),
                timeout=options.timeout_seconds,
            )
        try:
            if options.security == "starttls":
                smtp.starttls(context=self._tls())
            if options.username is not None and options.password is not None:
                smtp.login(options.username, options.password.get_secret_value())
            yield smtp
            _quit(smtp)
        finally:
            smtp.close()

    def _tls(self) -> ssl.SSLContext:
        ca_file = self._options.ca_file
        return ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Put whatever goes wrong with the server in terms of who must act."""
        try:
            yield
        except DeliveryError:
            raise
        except (smtplib.SMTPException, OSError, UnicodeError) as error:
            raise self._translate(error) from error

    def _translate(self, error: Exception) -> DeliveryError:
        where = f"mail server {self._options.host}:{self._options.port}"
        match error:
            case smtplib.SMTPAuthenticationError(smtp_code=code):
                return DeliveryError(
                    f"{where} refused the login of {self._options.username}"
                    f" ({self._reply(code, error.smtp_error)}): check username and password",
                    fault=DeliveryFault.UNAUTHORIZED,
                    permanent=code != _TEMPORARY_AUTH,
                )
            case smtplib.SMTPRecipientsRefused(recipients=refused):
                return self._all_refused(where, refused)
            case smtplib.SMTPResponseException(smtp_code=code):
                return DeliveryError(
                    f"{where} did not take the mail: {self._reply(code, error.smtp_error)}",
                    fault=DeliveryFault.REFUSED
                    if code in _PERMANENT
                    else DeliveryFault.SERVER_ERROR,
                    permanent=code in _PERMANENT,
                )
            case smtplib.SMTPNotSupportedError():
                return self._not_supported(where, error)
        return self._connection_error(where, error)

    def _all_refused(self, where: str, refused: Mapping[str, tuple[int, bytes]]) -> DeliveryError:
        permanent = all(code in _PERMANENT for code, _ in refused.values())
        return DeliveryError(
            f"{where} takes no mail for {self._list(refused)}",
            fault=DeliveryFault.REFUSED if permanent else DeliveryFault.SERVER_ERROR,
            permanent=permanent,
        )

    def _not_supported(self, where: str, error: Exception) -> DeliveryError:
        if "STARTTLS" in str(error):
            return DeliveryError(
                f'{where} offers no STARTTLS; set security to "tls" (often port 465), or to "none"'
                " within your own network",
                fault=DeliveryFault.TLS,
                permanent=True,
            )
        if "SMTPUTF8" in str(error):
            return DeliveryError(
                f"{where} cannot handle an address with letters outside ASCII before the @",
                fault=DeliveryFault.REFUSED,
                permanent=True,
            )
        return DeliveryError(
            f"{where} offers no login; take username and password away, or use another port",
            fault=DeliveryFault.UNAUTHORIZED,
            permanent=True,
        )

    def _connection_error(self, where: str, error: Exception) -> DeliveryError:
        # smtplib wraps a time-out in the middle of a conversation; the cause is in its context.
        causes = (error, error.__context__)
        if any(isinstance(each, TimeoutError) for each in causes):
            return DeliveryError(
                f"{where} did not answer within {self._options.timeout_seconds:g} s",
                fault=DeliveryFault.TIMEOUT,
            )
        if isinstance(error, ssl.SSLCertVerificationError):
            return DeliveryError(
                f"the certificate of {where} is not to be trusted: {error.verify_message};"
                " set ca_file if it has a private certificate",
                fault=DeliveryFault.TLS,
                permanent=True,
            )
        if isinstance(error, ssl.SSLError):
            hint = "" if self._options.security == "starttls" else '; perhaps it wants "starttls"'
            return DeliveryError(
                f"no encrypted connection with {where}: {error.reason or 'it broke off'}{hint}",
                fault=DeliveryFault.TLS,
            )
        if isinstance(error, FileNotFoundError | PermissionError):
            return DeliveryError(
                f"ca_file {self._options.ca_file}: {error.strerror}",
                fault=DeliveryFault.TLS,
                permanent=True,
            )
        reason = error.strerror if isinstance(error, OSError) else None
        return DeliveryError(
            f"no conversation with {where}: {reason or 'it closed the connection'}",
            fault=DeliveryFault.UNREACHABLE,
        )

    def _note(self, refused: Mapping[str, tuple[int, bytes]]) -> str | None:
        return f"not taken for {self._list(refused)}" if refused else None

    def _list(self, refused: Mapping[str, tuple[int, bytes]]) -> str:
        return "; ".join(
            f"{one_line(address)} ({self._reply(code, reply)})"
            for address, (code, reply) in refused.items()
        )

    def _reply(self, code: int, reply: bytes | str) -> str:
        """What the server said, without the password should it repeat that."""
        text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else str(reply)
        password = self._options.password
        if password is not None:
            text = text.replace(password.get_secret_value(), "…")
        return one_line(f"{code} {text}", _REPLY_LIMIT)


def _quit(smtp: smtplib.SMTP) -> None:
    """Say goodbye. The mail was taken before; a server that stumbles now changes nothing."""
    with contextlib.suppress(smtplib.SMTPException, OSError):
        if smtp.sock is not None:
            smtp.sock.settimeout(_QUIT_TIMEOUT_SECONDS)
        smtp.quit()


@cache
def _own_name() -> str:
    """This machine's full name, looked up once: without a resolver that takes long."""
    name = socket.getfqdn()
    return name if "." in name else "[127.0.0.1]"


def _is_loopback(host: str) -> bool:
    return host in {"localhost", "::1"} or host.startswith("127.")
