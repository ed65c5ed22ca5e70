"""IMAP servers on loopback: a small one that can misbehave, and Dovecot where it is installed.

The small one speaks the commands of IMAP4rev1 (RFC 3501), MOVE and XOAUTH2 that the connector uses,
and answers everything else with BAD. Both hold the same mails, so that each test shows what a real
server says, and the small one stays honest.
"""

from __future__ import annotations

import base64
import contextlib
import imaplib
import os
import pwd
import re
import shutil
import socket
import socketserver
import ssl
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, Self

from imap_tools.imap_utf7 import utf7_decode
from imap_tools.utils import encode_folder

from tests.connectors.faultserver import unused_port

USER, PASSWORD, TOKEN = "watch@example.com", 'pa"ss\\w0rd', "oauth-t0ken"


class MailServer(Protocol):
    """What the tests do with a server."""

    host: str
    port: int

    def put(self, mail: bytes, received: datetime, folder: str = "INBOX") -> None: ...
    def make(self, folder: str) -> None: ...
    def mails(self, folder: str = "INBOX") -> list[bytes]: ...
    def flags(self) -> set[str]: ...
    def renumber(self) -> None: ...


@dataclass
class _Stored:
    uid: int
    mail: bytes
    received: datetime
    flags: set[str] = field(default_factory=set)


@dataclass
class _Folder:
    validity: int
    mails: list[_Stored] = field(default_factory=list)
    next_uid: int = 1


class StandIn:
    """The small server. ``says`` overrides whole answers by command, to misbehave."""

    host = "127.0.0.1"

    def __init__(self, tls: ssl.SSLContext | None = None, *, starttls: bool = False) -> None:
        self.folders = {"INBOX": _Folder(validity=7)}
        self.says: dict[str, bytes] = {}
        self.greeting = b"* OK ready\r\n"
        self.commands: list[str] = []
        self.capabilities = "IMAP4rev1 AUTH=PLAIN AUTH=XOAUTH2 SASL-IR MOVE UIDPLUS"
        self.closing = threading.Event()
        self.hang = False
        self.drip = False
        self.slip = b""
        """Said in clear just before encryption begins, as somebody in between would."""
        self.tls, self.starttls = tls, starttls
        server = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError):
                    server._converse(self.request)

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *gone: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    # --- what the tests do ---

    def put(self, mail: bytes, received: datetime, folder: str = "INBOX") -> None:
        box = self.folders[folder]
        box.mails.append(_Stored(box.next_uid, mail, received))
        box.next_uid += 1

    def make(self, folder: str) -> None:
        self.folders[folder] = _Folder(validity=len(self.folders) + 20)

    def mails(self, folder: str = "INBOX") -> list[bytes]:
        return [stored.mail for stored in self.folders[folder].mails]

    def flags(self) -> set[str]:
        return {flag for stored in self.folders["INBOX"].mails for flag in stored.flags}

    def renumber(self) -> None:
        box = self.folders["INBOX"]
        box.validity += 1
        for uid, stored in enumerate(box.mails, start=1):
            stored.uid = uid
        box.next_uid = len(box.mails) + 1

    def _converse(self, connection: socket.socket) -> None:
        if self.hang:
            self.closing.wait()
            return
        while self.drip and not self.closing.wait(0.02):
            connection.sendall(b"*")
        session = _Session(self, connection)
        try:
            session.run()
        finally:
            session.close()


class _Session:
    """One connection: a method for each command gives untagged lines and the end of the answer."""

    def __init__(self, server: StandIn, connection: socket.socket) -> None:
        self._server = server
        self._connection = connection
        self._folder = _Folder(0)
        self._readonly = True
        self._stream = self._connection.makefile("rb")

    def close(self) -> None:
        self._stream.close()
        self._connection.close()

    def _encrypt(self) -> None:
        assert self._server.tls is not None
        self._connection = self._server.tls.wrap_socket(self._connection, server_side=True)
        self._stream = self._connection.makefile("rb")

    def run(self) -> None:
        if self._server.tls is not None and not self._server.starttls:
            self._encrypt()
        self._connection.sendall(self._server.greeting)
        while line := self._stream.readline():
            tag, _, rest = line.rstrip(b"\r\n").decode().partition(" ")
            verb, _, told = rest.partition(" ")
            if verb.upper() == "UID":
                verb, _, told = told.partition(" ")
                verb = f"UID {verb}"
            verb = verb.upper()
            self._server.commands.append(verb)
            if verb in self._server.says:
                answer = self._server.says[verb].replace(b"TAG", tag.encode())
            else:
                do = getattr(self, f"do_{verb.lower().replace(' ', '_')}", self.unknown)
                untagged, end = do(told)
                answer = untagged + f"{tag} {end}\r\n".encode()
            self._connection.sendall(answer + (self._server.slip if verb == "STARTTLS" else b""))
            if verb == "STARTTLS":
                self._encrypt()
            if verb == "LOGOUT":
                return

    def unknown(self, told: str) -> tuple[bytes, str]:
        return b"", "BAD unknown command"

    def do_capability(self, told: str) -> tuple[bytes, str]:
        extra = " STARTTLS" if self._server.starttls else ""
        return f"* CAPABILITY {self._server.capabilities}{extra}\r\n".encode(), "OK done"

    def do_starttls(self, told: str) -> tuple[bytes, str]:
        return b"", "OK begin"

    def do_logout(self, told: str) -> tuple[bytes, str]:
        return b"* BYE\r\n", "OK bye"

    def do_login(self, told: str) -> tuple[bytes, str]:
        words = [re.sub(r"\\(.)", r"\1", one) for one in _quoted(told)]
        return b"", "OK done" if words == [USER, PASSWORD] else "NO [AUTHENTICATIONFAILED] wrong"

    def do_authenticate(self, told: str) -> tuple[bytes, str]:
        self._connection.sendall(b"+ \r\n")
        given = base64.b64decode(self._stream.readline()).decode()
        if given == f"user={USER}\1auth=Bearer {TOKEN}\1\1":
            return b"", "OK done"
        self._connection.sendall(b"+ eyJzdGF0dXMiOiI0MDAifQ==\r\n")
        self._stream.readline()
        return b"", "NO AUTHENTICATE failed"

    def do_examine(self, told: str) -> tuple[bytes, str]:
        name = str(utf7_decode(_quoted(told)[0].encode()))
        if name not in self._server.folders:
            return b"", "NO [NONEXISTENT] Mailbox doesn't exist"
        self._folder, self._readonly = self._server.folders[name], True
        return (
            f"* {len(self._folder.mails)} EXISTS\r\n* 0 RECENT\r\n"
            f"* OK [UIDVALIDITY {self._folder.validity}] valid\r\n"
            f"* OK [UIDNEXT {self._folder.next_uid}] next\r\n".encode()
        ), "OK [READ-ONLY] open"

    def do_select(self, told: str) -> tuple[bytes, str]:
        untagged, end = self.do_examine(told)
        self._readonly = False
        return untagged, end.replace("ONLY", "WRITE")

    def do_uid_search(self, told: str) -> tuple[bytes, str]:
        found = " ".join(str(one.uid) for one in _search(self._folder, told))
        return f"* SEARCH {found}\r\n".encode(), "OK done"

    def do_uid_fetch(self, told: str) -> tuple[bytes, str]:
        uid, _, parts = told.partition(" ")
        most = int(re.findall(r"BODY\.PEEK\[\]<0\.(\d+)>", parts)[0])
        for number, stored in enumerate(self._folder.mails, start=1):
            if stored.uid == int(uid):
                body = stored.mail[:most]
                moment = stored.received.astimezone(UTC).strftime("%d-%b-%Y %H:%M:%S +0000")
                head = (
                    f'* {number} FETCH (UID {uid} INTERNALDATE "{moment}" RFC822.SIZE '
                    f"{len(stored.mail)} BODY[]<0> {{{len(body)}}}\r\n"
                )
                return head.encode() + body + b")\r\n", "OK done"
        return b"", "OK done"

    def do_uid_move(self, told: str) -> tuple[bytes, str]:
        uids, _, name = told.partition(" ")
        name = _quoted(name)[0]
        if self._readonly:
            return b"", "NO [READ-ONLY] opened to read"
        if name not in self._server.folders:
            return b"", "NO [TRYCREATE] Mailbox doesn't exist"
        wanted = {int(uid) for uid in uids.split(",")}
        for stored in [one for one in self._folder.mails if one.uid in wanted]:
            self._folder.mails.remove(stored)
            self._server.put(stored.mail, stored.received, name)
        return b"", "OK moved"


def _quoted(told: str) -> list[str]:
    return [one[1:-1] if one[0] == '"' else one for one in re.findall(r'"(?:\\.|[^"])*"|\S+', told)]


def _search(folder: _Folder, criteria: str) -> list[_Stored]:
    if found := re.fullmatch(r"\(?UID (\d+):\*\)?", criteria):
        above = [one for one in folder.mails if one.uid >= int(found[1])]
        return above or folder.mails[-1:]  # "*" is the last mail, whatever its number
    day = datetime.strptime(criteria.strip("()"), "SINCE %d-%b-%Y").replace(tzinfo=UTC)
    return [one for one in folder.mails if one.received.date() >= day.date()]


# --- Dovecot --------------------------------------------------------------------------------------

DOVECOT = shutil.which("dovecot", path="/usr/sbin:/usr/local/sbin") if os.geteuid() == 0 else None
"""The program, where it is installed; its master process wants to be root."""


class Dovecot:
    """A real server in a folder of its own, with one user."""

    host = "127.0.0.1"

    def __init__(self) -> None:
        self.port = unused_port()
        # Not below pytest's own folder, which only root may enter: the server drops its rights.
        self._root = folder = Path(tempfile.mkdtemp(prefix="dovecot-"))
        self._home = folder / "mail"
        self._home.mkdir(mode=0o777)
        folder.chmod(0o755)
        nobody = pwd.getpwnam("nobody")
        os.chown(self._home, nobody.pw_uid, nobody.pw_gid)
        users = folder / "users"
        users.write_text(
            f"{USER}:{{PLAIN}}{PASSWORD}:{nobody.pw_uid}:{nobody.pw_gid}::{self._home}\n"
        )
        users.chmod(0o644)
        self._log = folder / "log"
        config = folder / "dovecot.conf"
        config.write_text(
            f"""
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
first_valid_uid = 1
mail_location = maildir:{self._home}/box
default_internal_user = nobody
default_login_user = nobody
default_internal_group = nogroup
passdb {{
  driver = passwd-file
  args = {users}
}}
userdb {{
  driver = passwd-file
  args = {users}
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {self.port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service anvil {{
  chroot =
}}
"""
        )
        self._process = subprocess.Popen(
            [str(DOVECOT), "-F", "-c", str(config)], stderr=subprocess.DEVNULL
        )
        self._await()

    def _await(self) -> None:
        end = time.monotonic() + 10
        while time.monotonic() < end:
            with contextlib.suppress(OSError, imaplib.IMAP4.error):
                self._log_in().logout()
                return
            threading.Event().wait(0.05)
        log = self._log.read_text()
        self.close()
        raise RuntimeError(f"Dovecot did not start: {log[-500:]}")

    def _log_in(self) -> imaplib.IMAP4:
        client = imaplib.IMAP4(self.host, self.port, 5)
        client.login(USER, PASSWORD)
        return client

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(10)
        shutil.rmtree(self._root, ignore_errors=True)

    def empty(self) -> None:
        """Forget everything."""
        with self._log_in() as client:
            for line in client.list()[1]:
                name = line.decode().rpartition(' "." ')[2] if isinstance(line, bytes) else ""
                if name != "INBOX":
                    client.delete(name)
            if client.select("INBOX")[1] != [b"0"]:
                client.store("1:*", "+FLAGS", "\\Deleted")
                client.expunge()

    def put(self, mail: bytes, received: datetime, folder: str = "INBOX") -> None:
        with self._log_in() as client:
            moment = imaplib.Time2Internaldate(received)
            assert client.append(bytes(encode_folder(folder)).decode(), "", moment, mail)[0] == "OK"

    def make(self, folder: str) -> None:
        with self._log_in() as client:
            assert client.create(bytes(encode_folder(folder)).decode())[0] == "OK"

    def mails(self, folder: str = "INBOX") -> list[bytes]:
        with self._log_in() as client:
            if client.select(bytes(encode_folder(folder)).decode(), readonly=True)[1] == [b"0"]:
                return []
            _, answer = client.fetch("1:*", "(BODY.PEEK[])")
            return [one[1] for one in answer if isinstance(one, tuple)]

    def flags(self) -> set[str]:
        with self._log_in() as client:
            client.select("INBOX", readonly=True)
            _, answer = client.fetch("1:*", "(FLAGS)")
            lines = [one for one in answer if isinstance(one, bytes)]
            return {flag.decode() for line in lines for flag in imaplib.ParseFlags(line)} - {
                "\\Recent"
            }

    def renumber(self) -> None:
        mails = self.mails()
        with self._log_in() as client:
            client.rename("INBOX", "Old")  # RFC 3501: its mails move, INBOX begins anew
        for mail in mails:
            self.put(mail, datetime.now(UTC))
