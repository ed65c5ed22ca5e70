"""Runs the service under a real systemd and tries what operations will see it do.

    sudo .venv/bin/python tests/deploy/booted.py

To be run by hand, as root, on a machine with systemd-nspawn (Debian: systemd-container) and a Python of the
system of the same version as the one that runs this. A container boots over this machine's /usr;
`merkwacht install-service` writes the unit there; a feed, a page that hangs and a mail server that wants
a password are this script's. Prints a table; exit status 1 when something is not as it should be.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    # This folder's neighbours mirror the packages' names: they must not come before them.
    sys.path[0] = str(ROOT)

from tests.monitor.servers import Answer, GrowingFeed, Item, Mail, MailServer, WebServer  # noqa: E402

PASSWORD = "correct horse battery"
UNIT = "merkwacht"
WATCHDOG_SECONDS = 15
"""Instead of 60, by a drop-in: a test should not take longer than it must."""
LEAK = "Gelekt: het wachtwoord van de beheerder van Zonnehoek is Hx7!qL29z, log in met admin ({n})"
PACKAGES = ("connectors", "classifiers", "alerts", "monitor")

CONFIG = """
[network]
allow_private_addresses = ["127.0.0.1"]
[http]
enabled = false
[[brands]]
name = "Zonnehoek"
query = "zonnehoek"
[[sources]]
kind = "rss"
name = "feed"
url = "{feed}/feed"
interval_seconds = 15
[[channels]]
kind = "email"
name = "mail"
host = "127.0.0.1"
port = {mail}
security = "none"
username = "merkwacht"
password = {{ credential = "smtp-password" }}
from = "merkwacht@zonnehoek.example"
[[receivers]]
name = "press"
channels = [{{ use = "mail", to = ["press@zonnehoek.example"] }}]
[[routes]]
receivers = ["press"]
cooldown_minutes = 0
"""
HANGING = """
[[sources]]
kind = "rss"
name = "hangs"
url = "{hangs}/feed"
interval_seconds = 15
"""


class Hanging(WebServer):
    """Takes a request and does not answer."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = threading.Event()
        self.over = threading.Event()

    def respond(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Wait until all is over."""
        self.asked.set()
        self.over.wait(300)
        return Answer(503)


@dataclass
class Results:
    """What was tried, and what came of it."""

    rows: list[tuple[str, bool, str]] = field(default_factory=list)

    def add(self, what: str, good: bool, figure: str) -> None:
        self.rows.append((what, good, figure))
        sys.stdout.write(f"{'ok  ' if good else 'FAIL'} {what}: {figure}\n")
        sys.stdout.flush()


class Container:
    """A booted systemd over this machine's /usr.

    Args:
        folder: for its root.
    """

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self._leader = 0
        for name in ("usr", "etc", "var/lib", "run", "tmp", "proc", "sys", "dev", "root", "opt"):
            (self.root / name).mkdir(parents=True)
        for name in ("bin", "sbin", "lib", "lib64"):
            (self.root / name).symlink_to(f"usr/{name}")
        for name in ("passwd", "group", "os-release"):
            shutil.copy(Path("/etc") / name, self.root / "etc" / name)
        (self.root / "etc/machine-id").touch()
        self._install()

    def _install(self) -> None:
        """This program with what it needs, in an environment of its own under /opt."""
        home = self.root / "opt/merkwacht"
        python = f"/usr/bin/python3.{sys.version_info.minor}"
        subprocess.run([python, "-m", "venv", "--without-pip", home], check=True)
        site = next(home.glob("lib/python3*/site-packages"))
        for name in PACKAGES:
            shutil.copytree(ROOT / name, site / name, ignore=shutil.ignore_patterns("__pycache__"))
        # What it depends on is shown to the container, not copied.
        (self.root / "opt/libraries").mkdir()
        (site / "libraries.pth").write_text("/opt/libraries\n")
        command = home / "bin/merkwacht"
        command.write_text("#!/opt/merkwacht/bin/python\nfrom monitor.cli import main\n\nmain()\n")
        command.chmod(0o755)
        # As an installer does: the service may not write there.
        subprocess.run([python, "-m", "compileall", "-q", site], check=True)
        for folder in (self.root, self.root / "opt", home):
            folder.chmod(0o755)

    @contextmanager
    def booted(self, log: Path) -> Iterator[None]:
        libraries = next(Path(sys.prefix).glob("lib/python3*/site-packages"))
        with log.open("wb") as sink:
            process = subprocess.Popen(
                [
                    "systemd-nspawn",
                    "--quiet",
                    "-D",
                    self.root,
                    "--bind-ro=/usr",
                    f"--bind-ro={libraries}:/opt/libraries",
                    "--register=no",
                    "--keep-unit",
                    "--console=read-only",
                    "--boot",
                ],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                # With the old hierarchy a systemd in a container is not told that the last process of
                # a unit has gone, and waits until its patience ends.
                env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
            )
            try:
                self._leader = self._find_leader(process)
                await_(lambda: self.state() in ("running", "degraded"), 60, "the container")
                yield
            finally:
                # To the one inside: systemd-nspawn itself would end by it and leave the container running.
                self._tell_leader(signal.SIGRTMIN + 4)  # systemd's word for power off
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    self._tell_leader(signal.SIGKILL)
                    process.kill()
                    process.wait()

    def _tell_leader(self, word: int) -> None:
        if self._leader:
            with suppress(ProcessLookupError):
                os.kill(self._leader, word)

    def _find_leader(self, process: subprocess.Popen[bytes]) -> int:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        found: list[int] = []

        def is_there() -> bool:
            if process.poll() is not None:
                raise RuntimeError("systemd-nspawn ended; see its log")
            for child in map(int, children.read_text().split()):
                # The inner child becomes systemd.
                if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                    found[:] = [child]
            return bool(found)

        await_(is_there, 30, "systemd in the container")
        return found[0]

    def run(self, *words: str, check: bool = True) -> str:
        """Run a command inside; returns what it says."""
        done = subprocess.run(
            ["nsenter", "-t", str(self._leader), "-a", *words],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(words)}: {done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def state(self) -> str:
        return self.run("systemctl", "is-system-running", check=False).strip()

    def show(self, name: str) -> str:
        return self.run("systemctl", "show", UNIT, "-p", name, "--value").strip()

    @property
    def pid(self) -> int:
        """The main process, as the container counts."""
        return int(self.show("MainPID"))

    def journal(self, *words: str) -> list[dict[str, object]]:
        said = self.run("journalctl", "-u", UNIT, "-o", "json", "--no-pager", *words, check=False)
        return [json.loads(line) for line in said.splitlines() if line.startswith("{")]

    def has_said(self, event: str, since: int) -> bool:
        """Whether the service logged an event after so many entries of the journal."""
        return any(each.get("MERKWACHT_EVENT") == event for each in self.journal()[since:])


def await_(what: Callable[[], bool], seconds: float, name: str) -> float:
    """Seconds until it is so."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        if what():
            return time.monotonic() - began
        time.sleep(0.1)
    raise TimeoutError(f"{name}: not within {seconds:.0f} s")


class Trial:
    """One service, from its installation to its end."""

    def __init__(self, box: Container, results: Results) -> None:
        self.box = box
        self.results = results
        self.feed = GrowingFeed()
        self.hangs = Hanging()
        self.slow = threading.Event()
        """Whether the mail server takes its time."""
        self.under_way = threading.Event()
        self.mail = MailServer(self._answer, password=PASSWORD)
        self._number = 0

    def _answer(self, _mail: Mail) -> str:
        if self.slow.is_set():
            self.under_way.set()
            self.hangs.over.wait(120)
        return "250 taken"

    def configure(self, more: str = "") -> None:
        folder = self.box.root / "etc/merkwacht"
        text = CONFIG.format(feed=self.feed.url, mail=self.mail.port) + more
        (folder / "config.toml").write_text(text)

    def leak(self) -> None:
        self._number += 1
        own = " ".join(f"stuk{self._number}deel{part}" for part in range(8))
        text = f"{LEAK.format(n=self._number)} {own}"
        self.feed.publish([Item(f"leak{self._number}", text, datetime.now(UTC))])

    # -- what is tried -------------------------------------------------------------------------

    def install(self) -> None:
        box = self.box
        folder = box.root / "etc/merkwacht"
        folder.mkdir()
        self.configure()
        (folder / "smtp-password").write_text(PASSWORD)
        (folder / "smtp-password").chmod(0o600)
        box.run("/opt/merkwacht/bin/merkwacht", "install-service", "--write",
                "--config", "/etc/merkwacht/config.toml")  # fmt: skip
        box.run("systemd-sysusers", "merkwacht.conf")
        box.run("systemd-tmpfiles", "--create", "merkwacht.conf")
        drop_in = box.root / "etc/systemd/system/merkwacht.service.d"
        drop_in.mkdir()
        (drop_in / "test.conf").write_text(f"[Service]\nWatchdogSec={WATCHDOG_SECONDS}\n")
        box.run("systemctl", "daemon-reload")
        said = box.run("systemd-analyze", "verify", "--man=no", "merkwacht.service", check=False)
        self.results.add("verified where it runs", not said.strip(), said.strip() or "no word")
        lines = box.run("systemd-analyze", "security", "merkwacht.service", check=False)
        level = float(lines.strip().splitlines()[-1].split(":")[1].split()[0])
        self.results.add("exposure of the loaded unit", level <= 1.5, f"{level}")

    def start(self) -> None:
        began = time.monotonic()
        self.box.run("systemctl", "start", UNIT)
        self.results.add(
            "`systemctl start` to ready",
            self.box.show("ActiveState") == "active",
            f"{time.monotonic() - began:.1f} s, status “{self.box.show('StatusText')}”",
        )

    def deliver(self) -> None:
        self.leak()
        seconds = await_(lambda: bool(self.mail.mails), 60, "a mail")
        self.results.add(
            "the password of `LoadCredential=` opens the mail server",
            True,
            f"logged in; a leak in the feed was in the mail after {seconds:.0f} s (polled every 15 s)",
        )

    def confined(self) -> None:
        box = self.box
        files = [f"/var/lib/merkwacht/merkwacht.db{end}" for end in ("", ".key", ".lock", "-wal")]
        said = box.run("stat", "-c", "%a %U %n", "/var/lib/merkwacht", "/etc/merkwacht", *files)
        modes = [line.split()[:2] for line in said.splitlines()]
        good = modes == [["700", UNIT], ["750", "root"], *[["600", UNIT]] * 4]
        self.results.add(
            "modes", good, "state 0700 and its files 0600, of merkwacht" if good else said
        )
        status = box.run("cat", f"/proc/{box.pid}/status")
        wanted = ("CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2")
        self.results.add(
            "confinement of the process",
            all(each in status for each in wanted),
            "no capabilities, no new privileges, system calls filtered",
        )

    def reload(self) -> None:
        box, pid, before = self.box, self.box.pid, len(self.box.journal())
        self.configure("[classifiers]\nthreads = 1\n")
        box.run("systemctl", "reload", UNIT)
        seconds = await_(lambda: box.has_said("reloaded", before), 60, "reloaded")
        self.results.add(
            "reload, good configuration", box.pid == pid, f"{seconds:.1f} s, same process"
        )
        before = len(box.journal())
        self.configure("[nonsense]\nx = 1\n")
        box.run("systemctl", "reload", UNIT)
        seconds = await_(lambda: box.has_said("reload_refused", before), 60, "reload_refused")
        good = box.pid == pid and box.show("ActiveState") == "active"
        self.results.add("reload, broken configuration", good,
                         f"refused after {seconds:.1f} s, “{box.show('StatusText')}”")  # fmt: skip
        self.configure()

    def _restarts(self, what: str, break_it: Callable[[], object], most: float) -> None:
        box, pid, count = self.box, self.box.pid, int(self.box.show("NRestarts"))
        began = time.monotonic()
        break_it()
        await_(lambda: int(box.show("NRestarts")) > count, most, what)
        noticed = time.monotonic() - began
        await_(lambda: box.show("ActiveState") == "active" and box.pid not in (0, pid), 60, what)
        self.results.add(
            what,
            True,
            f"noticed and begun anew after {noticed:.1f} s (5 s of them RestartSec), "
            f"ready after {time.monotonic() - began:.1f} s",
        )

    def killed(self) -> None:
        box, pid = self.box, self.box.pid
        self._restarts("kill -9", lambda: box.run("kill", "-9", str(pid)), 60)

    def hung(self) -> None:
        box, pid, before = self.box, self.box.pid, len(self.box.journal())
        self._restarts(
            f"process stopped (SIGSTOP), WatchdogSec={WATCHDOG_SECONDS}",
            lambda: box.run("kill", "-STOP", str(pid)),
            WATCHDOG_SECONDS + 60,
        )
        said = "Watchdog timeout" in box.run("journalctl", "-u", UNIT, "-o", "cat", "--no-pager")
        self.results.add("the journal names the watchdog", said and before > 0, "Watchdog timeout")

    def stopped(self) -> None:
        box = self.box
        self.configure(HANGING.format(hangs=self.hangs.url))
        box.run("systemctl", "reload", UNIT)
        await_(self.hangs.asked.is_set, 60, "a poll that hangs")
        taken = len(self.mail.mails)
        self.slow.set()
        self.leak()
        await_(self.under_way.is_set, 60, "a mail under way")
        began = time.monotonic()
        box.run("systemctl", "stop", UNIT)
        seconds = time.monotonic() - began
        self.results.add(
            "stop while a poll hangs and a mail is under way",
            seconds <= 10 and box.show("Result") == "success",
            f"{seconds:.1f} s, result {box.show('Result')}",
        )
        if not self.results.rows[-1][1]:
            sys.stderr.write(box.run("journalctl", "-n", "40", "-o", "short-precise", "--no-pager"))
        self.slow.clear()
        self.hangs.over.set()
        await_(lambda: len(self.mail.mails) > taken, 30, "the mail that was under way")
        self.configure()
        box.run("systemctl", "start", UNIT)
        # What was under way is repeated under the same key once its time is over, or was taken.
        self.results.add("started again", box.show("ActiveState") == "active", "ready")

    def logged(self) -> None:
        entries = self.box.journal()
        ready = [each for each in entries if each.get("MERKWACHT_EVENT") == "ready"]
        own = sorted(
            name
            for name in (ready[-1] if ready else {})
            if not name.startswith("_") and name not in ("MESSAGE", "PRIORITY")
        )
        levels = {str(each.get("PRIORITY")) for each in entries}
        self.results.add(
            "`journalctl -o json`",
            bool(ready) and {"6", "3"} <= levels,
            f"{len(entries)} entries, levels {', '.join(sorted(levels))}; "
            f"fields of `ready`: {', '.join(own)}",
        )


def main() -> None:
    if os.geteuid():
        sys.exit("to be run as root: it boots a container")
    results = Results()
    folder = Path(tempfile.mkdtemp(prefix="booted-"))
    try:
        trial = Trial(Container(folder), results)
        with trial.feed, trial.hangs, trial.mail, trial.box.booted(folder / "nspawn.log"):
            try:
                for step in (
                    trial.install, trial.start, trial.deliver, trial.confined, trial.reload,
                    trial.killed, trial.hung, trial.stopped, trial.logged,
                ):  # fmt: skip
                    step()
            except Exception:
                sys.stderr.write(
                    trial.box.run("journalctl", "-o", "cat", "-n", "60", "--no-pager", check=False)
                )
                raise
            finally:
                trial.hangs.over.set()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    sys.stdout.write("\n| tried | came of it |\n| --- | --- |\n")
    for what, good, figure in results.rows:
        sys.stdout.write(f"| {what} | {'' if good else '**WRONG** '}{figure} |\n")
    sys.exit(0 if all(good for _, good, _ in results.rows) else 1)


if __name__ == "__main__":
    main()
