"""Installs, runs, upgrades, removes and purges the Debian package on a bare Debian with a booted systemd.

    make deb
    python tests/deploy/debian.py dist/merkwacht_*.deb            # as root; some five minutes

To be run by hand: it needs debootstrap and systemd-container, and the archive that this machine's own apt
uses. Everything happens in a folder that is deleted afterwards (--keep to look around in it). Each line says
what was looked at; exit status 1 when something was not as it must be.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

CONFIGURATION = """\
timezone = "Europe/Amsterdam"
[store]
path = "merkwacht.db"
[http]
port = {port}
[[brands]]
name = "Acme"
query = "acme"
[[sources]]
kind = "file"
name = "drop"
path = "/var/lib/merkwacht/drop.jsonl"
interval_seconds = 15
[[channels]]
kind = "email"
name = "mail"
host = "127.0.0.1"
port = 25
security = "none"
from = "merkwacht@localhost"
[[receivers]]
name = "operations"
channels = [{{ use = "mail", to = ["root@localhost"] }}]
[[routes]]
receivers = ["operations"]
"""
POST = (
    '{"id": "1", "source": "drop", "url": "https://example.org/1", "author": "jo", '
    '"published_at": "%s", "lang": "en", "text": "Acme was closed this morning"}\n'
)
SERVICE = "merkwacht.service"
PYTHON = ("/usr/bin/python3", "-c")


class Trial:
    """What was looked at, and what was not as it must be."""

    def __init__(self) -> None:
        self.wrong: list[str] = []
        self.began = time.monotonic()

    def see(self, what: str, *, holds: bool, said: str = "") -> None:
        """Note one thing."""
        mark = "ok   " if holds else "WRONG"
        sys.stdout.write(f"{time.monotonic() - self.began:6.1f} s  {mark}  {what}\n")
        sys.stdout.flush()
        if not holds:
            self.wrong.append(what)
            sys.stdout.write("".join(f"           | {line}\n" for line in said.splitlines()[-15:]))


class Machine:
    """A root folder as a machine: commands in it, with or without a booted systemd."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.name = root.parent.name.replace("_", "")
        self._inside: list[str] = []

    def run(self, *command: str, typed: str = "") -> tuple[int, str]:
        """Exit status and everything that was said."""
        done = self._run(command, typed)
        return done.returncode, done.stdout + done.stderr

    def says(self, *command: str) -> str:
        """What a command says on standard output."""
        return self._run(command).stdout.strip()

    def _run(self, command: Sequence[str], typed: str = "") -> subprocess.CompletedProcess[str]:
        outside = ["systemd-nspawn", "-q", "-D", str(self.root), f"-M{self.name}",
                   "--register=no", "--keep-unit",
                   "--pipe", "--setenv=DEBIAN_FRONTEND=noninteractive"]  # fmt: skip
        prefix = (
            [*self._inside, "env", "DEBIAN_FRONTEND=noninteractive"] if self._inside else outside
        )
        return subprocess.run(
            [*prefix, *command], input=typed, capture_output=True, text=True, check=False
        )

    def state(self) -> str:
        """What systemd calls the service's state."""
        return self.says("systemctl", "is-active", SERVICE)

    def owner(self, path: str) -> str:
        """Mode, user and group of a file."""
        return self.says("stat", "-c", "%a %U:%G", path)

    @contextmanager
    def booted(self) -> Iterator[None]:
        """Boots systemd, and turns it off at the end."""
        with (self.root.parent / "console.log").open("w") as console:
            shell = subprocess.Popen(
                ["systemd-nspawn", "-q", "-D", str(self.root), f"-M{self.name}",
                   "--register=no", "--keep-unit",
                 "--console=read-only", "--boot"],
                stdout=console, stderr=console, stdin=subprocess.DEVNULL,
            )  # fmt: skip
            try:
                leader = until(lambda: _child(shell.pid), 60)
                self._inside = ["nsenter", "-t", str(leader), "-a"]
                until(
                    lambda: self.says("systemctl", "is-system-running") in {"running", "degraded"},
                    120,
                )
                yield
                self.run("systemctl", "poweroff")
                shell.wait(60)
            finally:
                self._inside = []
                if shell.poll() is None:
                    shell.send_signal(signal.SIGTERM)
                    shell.wait(60)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the trial. Returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("package", type=Path, help="The .deb.")
    parser.add_argument("--base", type=Path, help="Copy this root instead of asking debootstrap.")
    parser.add_argument(
        "--port", type=int, default=19464, help="For /metrics, shared with this machine."
    )
    parser.add_argument("--keep", action="store_true", help="Leave the root where it is.")
    asked = parser.parse_args(arguments)
    missing = [
        tool for tool in ("debootstrap", "systemd-nspawn", "nsenter") if not shutil.which(tool)
    ]
    if missing or os.geteuid():
        parser.error(f"needs root and {', '.join(missing) or 'nothing else'}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # tidying up as after Ctrl-C
    folder = Path(tempfile.mkdtemp(prefix="merkwacht-debian-"))
    trial, machine = Trial(), Machine(folder / "root")
    try:
        _bare(machine, asked.base)
        trial.see("a bare Debian, without Python", holds=machine.run("which", "python3")[0] != 0)
        newer = _newer(asked.package, folder)
        for package in (asked.package, newer):
            shutil.copy(package, machine.root / "var/cache")
        _install(trial, machine, asked.package)
        with machine.booted():
            _serve(trial, machine, asked.port)
            _upgrade(trial, machine, newer)
            _leave(trial, machine, newer)
    finally:
        if asked.keep:
            sys.stdout.write(f"kept: {machine.root}\n")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    sys.stdout.write(f"{len(trial.wrong)} things are wrong\n")
    return 1 if trial.wrong else 0


def until(ask: Callable[[], int], seconds: float) -> int:
    """What is asked for, as soon as it is there."""
    end = time.monotonic() + seconds
    while not (found := ask()):
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds:.0f} seconds")
        time.sleep(0.05)
    return found


def _child(parent: int) -> int:
    """The systemd that a container shell started, once it runs."""
    for each in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = each.read_text().partition(") ")
        except OSError:
            continue
        if name.endswith("(systemd") and int(rest.split()[1]) == parent:
            return int(each.parent.name)
    return 0


def _bare(machine: Machine, base: Path | None) -> None:
    """A root with nothing but Debian, and this machine's way to the archive."""
    if base is not None:
        _host("cp", "-a", str(base), str(machine.root))
    else:
        release = dict(
            line.split("=", 1)
            for line in Path("/etc/os-release").read_text().splitlines()
            if "=" in line
        )["VERSION_CODENAME"]
        targets = _host(
            "apt-get", "indextargets", "--format", "$(SITE) $(CODENAME)", "Created-By: Packages"
        )
        mirror = next(
            line.split()[0] for line in targets.splitlines() if line.split()[1:] == [release]
        )
        _host("debootstrap", "--variant=minbase", release, str(machine.root), mirror)
    options = _host("apt-config", "dump", "Acquire")
    (machine.root / "etc/apt/apt.conf.d/99host").write_text(options)
    (machine.root / "usr/sbin/policy-rc.d").unlink(missing_ok=True)
    machine.run("apt-get", "update", "-q")


def _host(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _newer(package: Path, folder: Path) -> Path:
    """The same package under the next version."""
    tree = folder / "newer"
    _host("dpkg-deb", "--raw-extract", str(package), str(tree))
    control = tree / "DEBIAN/control"
    lines = [
        f"{line}+next" if line.startswith("Version:") else line
        for line in control.read_text().splitlines()
    ]
    control.write_text("\n".join(lines) + "\n")
    target = folder / "merkwacht-newer.deb"
    _host("dpkg-deb", "--root-owner-group", "-Znone", "--build", str(tree), str(target))
    shutil.rmtree(tree)
    return target


def _apt(machine: Machine, *what: str) -> tuple[int, str]:
    return machine.run("apt-get", "-q", "-y", "--no-install-recommends", *what)


def _install(trial: Trial, machine: Machine, package: Path) -> None:
    """Before anything is booted: the package with what it depends on."""
    status, said = _apt(machine, "install", f"/var/cache/{package.name}")
    trial.see("installs with its dependencies", holds=status == 0, said=said)
    trial.see("tells what to do next", holds="systemctl enable --now merkwacht" in said, said=said)
    size = machine.says("du", "-sm", "/opt/merkwacht").split()[0]
    trial.see(f"takes {size} MB in /opt", holds=size.isdigit())
    said = machine.says("merkwacht", "--version")
    trial.see(f"answers: {said}", holds=said.startswith("merkwacht "), said=said)
    for path, wanted in (
        ("/etc/merkwacht", "750 root:merkwacht"),
        ("/etc/merkwacht/config.toml", "640 root:merkwacht"),
        ("/var/lib/merkwacht", "700 merkwacht:merkwacht"),
    ):
        found = machine.owner(path)
        trial.see(f"{path} is {wanted}", holds=found == wanted, said=found)
    status, said = machine.run(
        "merkwacht", "classify", typed='{"id": 1, "text": "our customers\' IBAN list is public"}\n'
    )
    trial.see("reads a post with the model", holds=status == 0 and '"leak"' in said, said=said)
    status, said = machine.run(*PYTHON, "import yaml")
    trial.see("leaves the system's Python alone", holds="ModuleNotFoundError" in said, said=said)


def _serve(trial: Trial, machine: Machine, port: int) -> None:
    """The service under a booted systemd."""
    trial.see("does not run before it is configured", holds=machine.state() != "active")
    config = machine.root / "etc/merkwacht/config.toml"
    config.write_text(CONFIGURATION.format(port=port))
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
    (machine.root / "var/lib/merkwacht/drop.jsonl").write_text(POST % stamp)
    machine.run("chown", "merkwacht:", "/var/lib/merkwacht/drop.jsonl")
    as_user = ("runuser", "-u", "merkwacht", "--", "merkwacht")
    status, said = machine.run(*as_user, "check")
    trial.see("check accepts the configuration", holds=status == 0, said=said)
    began = time.monotonic()
    status, said = machine.run("systemctl", "enable", "--now", SERVICE)
    trial.see(
        f"is READY {time.monotonic() - began:.1f} s after enable --now",
        holds=status == 0 and machine.state() == "active",
        said=said + machine.says("journalctl", "-u", SERVICE, "-o", "cat"),
    )
    said = _eventually(machine, "1", *as_user, "export")
    trial.see("reads a post that was dropped", holds="closed this morning" in said, said=said)
    said = _eventually(machine, "0", *as_user, "doctor")
    trial.see(
        "the doctor finds nothing wrong", holds=machine.run(*as_user, "doctor")[0] == 0, said=said
    )
    process = machine.says("systemctl", "show", SERVICE, "-p", "MainPID", "--value")
    status, said = machine.run("systemctl", "reload", SERVICE)
    same = machine.says("systemctl", "show", SERVICE, "-p", "MainPID", "--value") == process
    trial.see("reloads in the same process", holds=status == 0 and same, said=said)
    began = time.monotonic()
    machine.run("systemctl", "stop", SERVICE)
    seconds = time.monotonic() - began
    result = machine.says("systemctl", "show", SERVICE, "-p", "Result", "--value")
    trial.see(f"stops in {seconds:.1f} s", holds=seconds < 10 and result == "success", said=result)
    machine.run("systemctl", "start", SERVICE)


def _eventually(machine: Machine, wanted: str, *command: str) -> str:
    """What a command says once its answer is there (``1``) or its status is 0 (``0``), or at last."""
    for _ in range(60):
        status, said = machine.run(*command)
        if status == 0 and (wanted == "0" or said.strip()):
            break
        time.sleep(1)
    return said


def _upgrade(trial: Trial, machine: Machine, newer: Path) -> None:
    """To a newer package, with a configuration that it accepts and with one that it does not."""
    before = machine.says("systemctl", "show", SERVICE, "-p", "MainPID", "--value")
    config = machine.root / "etc/merkwacht/config.toml"
    kept = config.read_text()
    config.write_text(kept + "[broken]\n")
    status, said = _apt(machine, "install", f"/var/cache/{newer.name}")
    trial.see(
        "an upgrade that cannot go on watching fails and says why",
        holds=status != 0 and "NOT WATCHING" in said and "broken" in said,
        said=said,
    )
    config.write_text(kept)
    status, said = machine.run("dpkg", "--configure", "merkwacht")
    after = machine.says("systemctl", "show", SERVICE, "-p", "MainPID", "--value")
    trial.see(
        "and goes on once that is mended, in a new process",
        holds=status == 0 and machine.state() == "active" and after not in {"0", before},
        said=said,
    )
    trial.see("an administrator's configuration stays as it was", holds=config.read_text() == kept)
    machine.run("systemctl", "stop", SERVICE)
    _apt(machine, "install", "--reinstall", f"/var/cache/{newer.name}")
    trial.see("what an administrator stopped stays stopped", holds=machine.state() == "inactive")
    machine.run("systemctl", "start", SERVICE)


def _leave(trial: Trial, machine: Machine, package: Path) -> None:
    """Removing, coming back, and purging, without and with the data."""
    data, config = (
        machine.root / "var/lib/merkwacht/merkwacht.db",
        machine.root / "etc/merkwacht/config.toml",
    )
    status, said = _apt(machine, "remove", "merkwacht")
    gone = not (machine.root / "opt/merkwacht/bin").exists() and machine.state() != "active"
    trial.see("remove stops it and takes the program away", holds=status == 0 and gone, said=said)
    trial.see("remove keeps data and configuration", holds=data.exists() and config.exists())
    status, said = _apt(machine, "install", f"/var/cache/{package.name}")
    trial.see(
        "coming back, it watches again",
        holds=status == 0 and machine.state() == "active",
        said=said,
    )
    status, said = _apt(machine, "purge", "merkwacht")
    trial.see("purge takes the configuration", holds=status == 0 and not config.exists(), said=said)
    trial.see(
        "purge keeps the data, and says so", holds=data.exists() and "is kept" in said, said=said
    )
    links = [
        *machine.root.glob("etc/systemd/system/*/merkwacht.service"),
        machine.root / "usr/bin/merkwacht",
    ]
    left = [str(each) for each in links if each.is_symlink()]
    trial.see("purge leaves no links", holds=not left, said="\n".join(left))
    status, said = _apt(machine, "install", f"/var/cache/{package.name}")
    fresh = config.exists() and machine.state() != "active" and "Next, as root" in said
    trial.see("installed anew, it waits to be configured", holds=status == 0 and fresh, said=said)
    (machine.root / "etc/merkwacht/purge-data").touch()
    status, said = _apt(machine, "purge", "merkwacht")
    nothing = not data.parent.exists() and not config.parent.exists()
    trial.see(
        "purge takes everything when it is asked to", holds=status == 0 and nothing, said=said
    )
    rest = machine.says("find", "/opt", "/usr/share", "/lib/systemd", "-name", "*merkwacht*")
    trial.see("nothing is left", holds=not rest, said=rest)


if __name__ == "__main__":
    raise SystemExit(main())
