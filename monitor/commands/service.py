"""``install-service``: Merkwacht as a systemd service, with the paths of this installation."""

# Typer reads commands from signatures; a flag is a boolean with a default there.

from __future__ import annotations

import difflib
import os
import shlex
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from monitor.commands.frame import EXIT_FAILURES, EXIT_USAGE, ConfigOption, explained, fail, say

if TYPE_CHECKING:
    from monitor.service import Service

_MODE = 0o644


def install_service(
    *,
    write: Annotated[
        bool, typer.Option("--write/--print", help="Write the files, or only show them.")
    ] = False,
    user: Annotated[
        bool, typer.Option("--user", help="For your own service manager, without root.")
    ] = False,
    state_dir: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the database.", show_default="that of store.path, /var/lib/merkwacht"
        ),
    ] = None,
    root: Annotated[
        Path, typer.Option(help="Write below this folder: for images and packages.")
    ] = Path("/"),
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite files that say something else.")
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Show or write a systemd unit for this installation, its user and its folders.

    The unit runs this program with this configuration, sandboxed, and hands it the credentials that the
    configuration names. Shown on standard output unless --write is given; what is there already and
    says something else is overwritten with --force only.

    Example: sudo /opt/merkwacht/bin/merkwacht install-service --write
    """
    with explained():
        service = _service(config, state_dir, by_user=user)
        files = _files(service, root)
        if write:
            if service.remarks:
                fail("\n".join(f"merkwacht: {each}" for each in service.remarks), EXIT_FAILURES)
            _write(files, force=force)
        else:
            _show(files)
    for each in service.remarks:
        say(f"Mind: {each}")
    for path in _missing(service):
        say(f"Mind: {path}: not there yet; without it the service does not start")
    _say_next(service, written=write)


def _service(config: Path | None, state_dir: Path | None, *, by_user: bool) -> Service:
    from monitor.places import SYSTEM_STATE, configuration  # noqa: PLC0415
    from monitor.service import USUAL_CONFIG, Service, named  # noqa: PLC0415

    program = Path(sysconfig.get_path("scripts")) / "merkwacht"
    if not program.exists():
        fail(f"merkwacht: {program}: not there; install Merkwacht with pip or pipx", EXIT_FAILURES)
    file = (configuration(config) or USUAL_CONFIG).absolute()
    found = named(file)
    if found.refused:
        names = ", ".join(repr(each) for each in found.refused)
        fail(
            f"{file}: systemd takes no credential called {names}: use letters, digits, . _ -",
            EXIT_USAGE,
        )
    if state_dir is not None and found.state is not None and state_dir.resolve() != found.state:
        fail(
            f"--state-dir: {file} has the database in {found.state}; change store.path, or leave "
            "the option out",
            EXIT_USAGE,
        )
    state: Path = state_dir.resolve() if state_dir is not None else found.state or SYSTEM_STATE
    if not by_user and state not in (found.state, SYSTEM_STATE):
        say(
            f"Mind: commands beside the service look for the database in {SYSTEM_STATE}; better "
            f'write store.path = "{state}/merkwacht.db" than give --state-dir'
        )
    return Service(program, file, state, found.credentials, by_user)


def _files(service: Service, root: Path) -> dict[Path, str]:
    """What to write where."""
    from monitor.service import sysusers, tmpfiles, unit  # noqa: PLC0415

    if service.by_user:
        home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
        return {_below(root, home / "systemd/user/merkwacht.service"): unit(service)}
    return {
        _below(root, Path("/etc/systemd/system/merkwacht.service")): unit(service),
        _below(root, Path("/etc/sysusers.d/merkwacht.conf")): sysusers(),
        _below(root, Path("/etc/tmpfiles.d/merkwacht.conf")): tmpfiles(service),
    }


def _below(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")


def _show(files: dict[Path, str]) -> None:
    for number, (path, text) in enumerate(files.items()):
        sys.stdout.write(f"{'' if number == 0 else chr(10)}# {path}\n{text}")
    sys.stdout.flush()


def _write(files: dict[Path, str], *, force: bool) -> None:
    """Write all of them, or none where one is there and differs."""
    there = {
        path: path.read_text(encoding="utf-8", errors="replace") for path in files if path.exists()
    }
    other = [path for path, text in there.items() if text != files[path]]
    if other and not force:
        for path in other:
            difference = difflib.unified_diff(
                there[path].splitlines(), files[path].splitlines(), str(path), "new", lineterm=""
            )
            for line in difference:
                say(line)
        fail(
            "merkwacht: nothing was written: what is there says something else (above); keep "
            "changes of your own in a drop-in (systemctl edit merkwacht), then use --force",
            EXIT_FAILURES,
        )
    for path, text in files.items():
        if there.get(path) == text:
            say(f"{path}: is as it should be")
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.new")
        fresh.write_text(text, encoding="utf-8")
        fresh.chmod(_MODE)
        fresh.replace(path)
        say(f"{path}: written")


def _missing(service: Service) -> list[Path]:
    """Files that the unit needs and that are not there, as far as one may look."""
    needed = [
        service.config,
        *(service.config.parent / name for name in service.credentials),
    ]
    return [path for path in needed if os.access(path.parent, os.X_OK) and not path.exists()]


def _say_next(service: Service, *, written: bool) -> None:
    from monitor.service import USER, USUAL_CONFIG  # noqa: PLC0415

    say("")
    say("Next:" if written else "To write these files: merkwacht install-service --write. Next:")
    if service.by_user:
        say("  systemctl --user daemon-reload && systemctl --user enable --now merkwacht")
        say("  loginctl enable-linger    # it runs while you are logged out, too")
        return
    say("  systemd-sysusers merkwacht.conf && systemd-tmpfiles --create merkwacht.conf")
    say("  systemctl daemon-reload && systemctl enable --now merkwacht")
    elsewhere = [] if service.config == USUAL_CONFIG else ["--config", str(service.config)]
    say(f"  sudo -u {USER} {shlex.join([str(service.program), 'doctor', *elsewhere])}")
