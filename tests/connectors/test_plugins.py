"""Connectors of other packages, as really installed distributions in a folder of their own."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from connectors.options import Options
from connectors.plugins import GROUP, problem_with

TEMPLATE = Path(__file__).parents[2] / "docs" / "connector-template"

CONFIG = """
[[brands]]
name = "Zonnehoek"
query = "zonnehoek"
[[sources]]
kind = "{kind}"
name = "questions"
url = "https://town.example/questions"
[[channels]]
kind = "email"
name = "mail"
host = "mail.example"
from = "merkwacht@zonnehoek.example"
[[receivers]]
name = "comms"
channels = [{{ use = "mail", to = ["comms@zonnehoek.example"] }}]
[[routes]]
receivers = ["comms"]
"""


def install(folder: Path, name: str, announces: dict[str, str], code: Path | str) -> None:
    """What an installer leaves behind: the module, and the metadata with its entry points."""
    if isinstance(code, Path):
        shutil.copytree(code, folder / code.name)
    else:
        (folder / f"{name}.py").write_text(code)
    metadata = folder / f"{name}-1.2.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    lines = [f"[{GROUP}]", *(f"{kind} = {target}" for kind, target in announces.items())]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")


def check(folder: Path, kind: str) -> subprocess.CompletedProcess[str]:
    """``merkwacht check`` in a process that sees the folder as one of its places for packages."""
    (folder / "config.toml").write_text(CONFIG.format(kind=kind))
    program = (
        f"import sys; sys.path.append({str(folder)!r}); "
        "sys.argv[1:] = ['check', '--config', sys.argv[1]]; from monitor.cli import main; main()"
    )
    return subprocess.run(
        [sys.executable, "-c", program, str(folder / "config.toml")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=TEMPLATE.parents[1],
    )


def test_the_template_adds_its_kind_of_source(tmp_path: Path) -> None:
    project = tomllib.loads((TEMPLATE / "pyproject.toml").read_text())["project"]
    install(
        tmp_path,
        "merkwacht_townhall_dist",
        project["entry-points"][GROUP],
        TEMPLATE / "src" / "merkwacht_townhall",
    )
    done = check(tmp_path, "townhall")
    assert done.returncode == 0, done.stderr


def test_the_template_stands_the_suite_it_comes_with(tmp_path: Path) -> None:
    install(tmp_path, "dist", {}, TEMPLATE / "src" / "merkwacht_townhall")
    tests = tmp_path / "test_townhall.py"
    shutil.copy(TEMPLATE / "tests" / "test_townhall.py", tests)
    (tmp_path / "pytest.ini").write_text(
        f"[pytest]\npythonpath = {tmp_path} {TEMPLATE.parents[1]}\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert " failed" not in done.stdout
    assert "passed" in done.stdout


BROKEN = {
    "raises": ("raise RuntimeError('no licence')", "no licence"),
    "lacks": ("", "cannot be loaded"),
    "is no class": ("Some = 3", "is no class"),
    "has another kind": ("class Some:\n    kind = 'other'", "has to be"),
    "has no options": ("class Some:\n    kind = 'strange'", "Options"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_package_that_cannot_be_loaded_is_named_where_its_kind_is_used(
    how: str, tmp_path: Path
) -> None:
    code, expected = BROKEN[how]
    install(tmp_path, "strangers", {"strange": "strangers:Some"}, code)
    done = check(tmp_path, "strange")
    assert done.returncode == 2
    assert "sources[0].kind" in done.stderr
    assert "strangers 1.2" in done.stderr
    assert expected in done.stderr


def test_a_package_that_cannot_be_loaded_harms_nobody_else(tmp_path: Path) -> None:
    install(tmp_path, "strangers", {"strange": "strangers:Some"}, "raise SystemError('boom')")
    done = check(tmp_path, "rss")
    assert done.returncode == 0, done.stderr


def test_nobody_takes_the_place_of_a_kind_that_is_built_in(tmp_path: Path) -> None:
    install(tmp_path, "strangers", {"rss": "strangers:Some"}, "raise SystemError('boom')")
    done = check(tmp_path, "rss")
    assert done.returncode == 0, done.stderr


def test_two_packages_with_one_kind_are_both_refused(tmp_path: Path) -> None:
    code = TEMPLATE / "src" / "merkwacht_townhall"
    target = {"townhall": "merkwacht_townhall:TownhallConnector"}
    install(tmp_path, "first", target, code)
    install(tmp_path, "second", target, "")
    done = check(tmp_path, "townhall")
    assert done.returncode == 2
    assert "first 1.2" in done.stderr
    assert "uninstall one of them" in done.stderr


def test_methods_are_asked_for() -> None:
    half = type("Half", (), {"kind": "half", "Options": Options, "fetch": print})
    assert "close" in problem_with(half, "half")
