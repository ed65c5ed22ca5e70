"""Asks whether anything that is installed has a known vulnerability; never says yes to what it did not hear.

    make audit

pip-audit ends well when the advisory service knows a package *not at all*, as behind a mirror or without a
network. So every package must have been judged, and a package with a hole that has long been known must be
found to have it: only then is silence an all-clear.

Exit status: 0 nothing is known against what is installed, 1 vulnerabilities, 3 it cannot be told.
"""  # noqa: INP001 - a script, not a package

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

CANARY = "jinja2==2.4.1"
"""Has been known to be vulnerable since 2014."""
OURS = frozenset({"merkwacht"})
_SECONDS = 300


class Verdict(IntEnum):
    """What an audit comes to; the exit status."""

    CLEAR = 0
    VULNERABLE = 1
    UNKNOWN = 3


@dataclass(frozen=True)
class Audit:
    """What the advisory service said of a set of packages."""

    judged: int
    holes: tuple[str, ...]
    """One line each."""
    unjudged: tuple[str, ...]
    """Packages that it knows nothing of, good or bad."""


def read(report: Mapping[str, Any]) -> Audit:
    """Read pip-audit's report. Raises KeyError, TypeError or ValueError where it is none."""
    judged, holes, unjudged = 0, [], []
    for each in report["dependencies"]:
        name = str(each["name"])
        if name.lower() in OURS:
            continue
        if "skip_reason" in each:
            unjudged.append(name)
            continue
        judged += 1
        for hole in each["vulns"]:
            mended = ", ".join(hole.get("fix_versions") or ()) or "none yet"
            known_as = ", ".join([hole["id"], *hole.get("aliases", ())])
            holes.append(f"{name} {each['version']}: {known_as}; mended in: {mended}")
    return Audit(judged, tuple(sorted(holes)), tuple(sorted(unjudged)))


def judge(canary: Audit | None, installed: Audit | None) -> tuple[Verdict, list[str]]:
    """Come to a verdict, with what to say.

    Args:
        canary: of the package that is known to be vulnerable; None: no report.
        installed: of what is installed; None: no report.
    """
    if installed is not None and installed.holes:
        lines = [f"VULNERABLE {each}" for each in installed.holes]
        if installed.unjudged:
            lines.append(f"not judged besides: {', '.join(installed.unjudged)}")
        return Verdict.VULNERABLE, lines
    if canary is None or installed is None:
        return Verdict.UNKNOWN, [
            "UNKNOWN: the advisory service cannot be reached; nothing was judged"
        ]
    if not canary.holes:
        what = (
            f"UNKNOWN: asked about {CANARY}, which is vulnerable, the service knows nothing of it: it "
            "is a mirror without advisories, or something stands between; nothing can be told"
        )
        return Verdict.UNKNOWN, [what]
    if installed.unjudged:
        names = ", ".join(installed.unjudged)
        return Verdict.UNKNOWN, [
            f"UNKNOWN: {len(installed.unjudged)} packages were not judged: {names}"
        ]
    if not installed.judged:
        return Verdict.UNKNOWN, [
            "UNKNOWN: there is nothing to judge: is this the right environment?"
        ]
    return Verdict.CLEAR, [f"clear: nothing is known against {installed.judged} packages"]


def _ask(tool: Sequence[str], *what: str) -> Audit | None:
    command = [*tool, *what, "--format=json", "--progress-spinner=off", "--timeout=15"]
    try:
        done = subprocess.run(  # noqa: S603 - our own words
            command, capture_output=True, text=True, check=False, timeout=_SECONDS
        )
        return read(json.loads(done.stdout))
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        return None


def main() -> int:
    """Audit one environment."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("packages", type=Path, help="folder site-packages of the environment")
    packages = parser.parse_args().packages
    tool = [sys.executable, "-m", "pip_audit"]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(f"{CANARY}\n")
        file.flush()
        canary = _ask(tool, "--requirement", file.name, "--no-deps", "--disable-pip")
    installed = _ask(tool, "--path", str(packages)) if packages.is_dir() else None
    verdict, lines = judge(canary, installed)
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return verdict


if __name__ == "__main__":
    sys.exit(main())
