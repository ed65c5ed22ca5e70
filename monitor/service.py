"""Merkwacht as a service: its systemd unit, its user and its folders, as text.

Writes nothing. The unit is one template (``merkwacht.service``, part of the package), filled in with the
paths of an installation; the one in ``deploy/systemd`` is what the usual paths give.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from monitor.places import SYSTEM_FOLDER, SYSTEM_STATE

USUAL_PROGRAM = Path("/opt/merkwacht/bin/merkwacht")
USUAL_CONFIG = SYSTEM_FOLDER / "config.toml"
USER = "merkwacht"

CREDENTIAL_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}"
"""What systemd takes as the name of a credential, and no path."""

_HOMES = (Path("/home"), Path("/root"), Path("/run/user"))
_STATES = Path("/var/lib")

_SYSTEM_ONLY = frozenset(
    {
        "Wants",
        "After",
        "User",
        "Group",
        "ConfigurationDirectory",
        "ConfigurationDirectoryMode",
        "CapabilityBoundingSet",
        "AmbientCapabilities",
        "PrivateDevices",
        "PrivateTmp",
        "PrivateUsers",
        "PrivateMounts",
        "ProtectClock",
        "ProtectControlGroups",
        "ProtectHome",
        "ProtectHostname",
        "ProtectKernelLogs",
        "ProtectKernelModules",
        "ProtectKernelTunables",
        "ProtectProc",
        "ProtectSystem",
        "RemoveIPC",
        "DevicePolicy",
        "KeyringMode",
    }
)
"""What only the system's own manager can do, or means the user that a user's manager runs as anyway."""


@dataclass(frozen=True, slots=True)
class Service:
    """What differs from one installation to another."""

    program: Path = USUAL_PROGRAM
    config: Path = USUAL_CONFIG
    state: Path = SYSTEM_STATE
    credentials: tuple[str, ...] = ()
    """Their names; the secret of each lies beside the configuration, in a file of that name."""
    by_user: bool = False
    """Whether somebody's own manager runs it, with that person's rights."""

    @property
    def remarks(self) -> list[str]:
        """What would keep it from running as it is written."""
        if self.by_user:
            return []
        return [
            f"{path}: the service has no way into people's homes (ProtectHome=yes); "
            f"{remedy}, or use --user"
            for path, remedy in (
                (self.program, "install Merkwacht into /opt/merkwacht"),
                (self.config, "move the configuration to /etc/merkwacht"),
                (self.state, "choose another --state-dir"),
            )
            if any(path.is_relative_to(home) for home in _HOMES)
        ]


@dataclass(frozen=True, slots=True)
class Named:
    """What a configuration says of how it is run."""

    credentials: tuple[str, ...] = ()
    refused: tuple[str, ...] = field(default=())
    """Names of credentials that systemd does not take."""
    state: Path | None = None
    """The folder of the database, where the configuration fixes it."""


def named(config: Path) -> Named:
    """Read it from a configuration, valid or not, as far as it can be read."""
    try:
        raw = tomllib.loads(config.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return Named()
    found = list(dict.fromkeys(_credentials(raw)))
    store = raw.get("store")
    path = store.get("path") if isinstance(store, dict) else None
    fixed = Path(path).parent if isinstance(path, str) and Path(path).is_absolute() else None
    good = tuple(name for name in found if re.fullmatch(CREDENTIAL_NAME, name))
    return Named(good, tuple(name for name in found if name not in good), fixed)


def _credentials(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        name = value.get("credential")
        if isinstance(name, str) and len(value) == 1:
            yield name
        for each in value.values():
            yield from _credentials(each)
    elif isinstance(value, list):
        for each in value:
            yield from _credentials(each)


def unit(service: Service) -> str:
    """The text of the unit."""
    template = (resources.files("monitor") / "merkwacht.service").read_text(encoding="utf-8")
    text = (
        template.replace("@PROGRAM@", _argument(service.program))
        .replace("@CONFIG@", _argument(service.config))
        .replace("@USER@", USER)
        .replace("@STATE@", "\n".join(_state(service)))
        .replace("@CONFIGURATION@", "\n".join(_configuration(service)))
        .replace("@CREDENTIALS@", "\n".join(_loaded(service)))
        .replace("@WANTED@", "default.target" if service.by_user else "multi-user.target")
    )
    lines = text.splitlines()
    if service.by_user:
        lines = [line for line in lines if line.partition("=")[0] not in _SYSTEM_ONLY]
    # A part that has nothing to say leaves no empty line behind.
    kept = [
        line
        for line, before in zip(lines, ["", *lines], strict=False)
        if line or (before and not before.startswith("["))
    ]
    return "\n".join(kept) + "\n"


def sysusers() -> str:
    """The user, for ``sysusers.d``."""
    return (
        "# The daemon's user. It owns /var/lib/merkwacht and may read /etc/merkwacht.\n"
        f'u {USER} - "Merkwacht, brand watch" {SYSTEM_STATE} -\n'
    )


def tmpfiles(service: Service) -> str:
    """The folders, for ``tmpfiles.d``."""
    lines = [
        "# Configuration and secrets: read by the daemon. Its state: nobody else's.",
        f"d {SYSTEM_FOLDER} 0750 root {USER} -",
        f"d {_path(service.state)} 0700 {USER} {USER} -",
    ]
    return "\n".join(lines) + "\n"


def _state(service: Service) -> list[str]:
    if service.by_user and service.state == SYSTEM_STATE:
        return [f"StateDirectory={USER}", "StateDirectoryMode=0700"]
    if not service.by_user and _STATES in service.state.parents:
        name = _specifiers(service.state.relative_to(_STATES))
        if not _quoted(service.state):
            return [f"StateDirectory={name}", "StateDirectoryMode=0700"]
    place = f'"STATE_DIRECTORY={_specifiers(service.state)}"'
    lines = [f"Environment={place}"]
    return lines if service.by_user else [*lines, f"ReadWritePaths={_path(service.state)}"]


def _configuration(service: Service) -> list[str]:
    if service.config.parent != SYSTEM_FOLDER:
        return []
    return [f"ConfigurationDirectory={USER}", "ConfigurationDirectoryMode=0750"]


def _loaded(service: Service) -> list[str]:
    folder = service.config.parent
    if not service.credentials:
        return [f"#LoadCredential=smtp-password:{_specifiers(folder)}/smtp-password"]
    return [f"LoadCredential={name}:{_specifiers(folder)}/{name}" for name in service.credentials]


def _quoted(path: Path) -> bool:
    return re.search(r"[\s\"'\\]", str(path)) is not None


def _specifiers(path: Path) -> str:
    """With signs that systemd would read as specifiers written twice."""
    return str(path).replace("%", "%%")


def _path(path: Path) -> str:
    """One word of a list of paths."""
    text = _specifiers(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"' if _quoted(path) else text


def _argument(path: Path) -> str:
    """One word of a command line: see "Command lines" in systemd.service(5)."""
    return _path(path).replace("$", "$$")
