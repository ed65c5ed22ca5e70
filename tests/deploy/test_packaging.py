"""What is packaged: the wheel's content, the manual page, completion, the Debian package, the container.

The Debian package itself is installed, upgraded and purged on a bare Debian by ``debian.py``, by hand.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from datetime import date
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest
import typer
import yaml
from hatchling.builders.wheel import WheelBuilder
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.version import Version
from typer.testing import CliRunner

from monitor.cli import app
from monitor.commands.manual import page, roff
from monitor.config import HttpOptions
from monitor.places import SYSTEM_FOLDER
from monitor.store import Store

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("connectors", "classifiers", "alerts", "monitor")


# -- the wheel -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel() -> set[str]:
    """Every file that goes into the wheel."""
    return {file.distribution_path for file in WheelBuilder(str(ROOT)).recurse_included_files()}


def test_the_wheel_holds_every_file_of_the_packages_that_is_needed_at_run_time(
    wheel: set[str],
) -> None:
    wanted = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file()
        and path.suffix != ".pyc"
        and not path.is_relative_to(ROOT / "classifiers/training/data")
    }
    assert "classifiers/model/model.onnx" in wanted
    assert wanted <= wheel


def test_the_wheel_holds_neither_tests_nor_posts_to_learn_from(wheel: set[str]) -> None:
    assert not [name for name in wheel if name.startswith(("tests/", "docs/", "deploy/"))]
    assert not [name for name in wheel if name.startswith("classifiers/training/data/")]
    assert {name.partition("/")[0] for name in wheel if "/" in name} == set(PACKAGES)


def test_the_wheel_unpacks_to_less_than_fifty_megabytes(wheel: set[str]) -> None:
    total = sum((ROOT / name).stat().st_size for name in wheel)
    assert total < 50e6  # most of it is the model


# -- the manual page -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def manual() -> str:
    """The page as it is written today."""
    return page(typer.main.get_command(app), version="1.2.3", dated=date(2026, 11, 22))


def test_the_manual_names_every_command_with_every_option(manual: str) -> None:
    text = _plain(manual)
    for words, command in _commands(typer.main.get_command(app), ()):
        section = text.partition(f".SS {' '.join(words)}\n")[2].partition("\n.S")[0]
        assert section, words
        for parameter in command.params:
            for option in (*parameter.opts, *parameter.secondary_opts):
                if option.startswith("-") and not getattr(parameter, "hidden", False):
                    assert option in section, (words, option)


def test_the_manual_has_the_usual_sections_in_their_order(manual: str) -> None:
    assert re.findall(r"^\.SH (.+)$", manual, re.MULTILINE) == [
        "NAME", "SYNOPSIS", "DESCRIPTION", "COMMANDS", "FILES", "ENVIRONMENT", "EXIT STATUS",
        "SIGNALS", "EXAMPLES", "SEE ALSO",
    ]  # fmt: skip


@pytest.mark.skipif(shutil.which("mandoc") is None, reason="needs mandoc")
def test_mandoc_has_nothing_to_say_about_the_manual(manual: str) -> None:
    said = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning"],
        input=manual,
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.stdout + said.stderr == ""


@pytest.mark.skipif(shutil.which("groff") is None, reason="needs groff")
def test_groff_has_nothing_to_say_about_the_manual(manual: str) -> None:
    said = subprocess.run(
        ["groff", "-ww", "-man", "-Tutf8", "-z"],
        input=manual,
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.stdout + said.stderr == ""


@settings(max_examples=30)
@given(text=st.text(max_size=60))
def test_no_help_text_can_speak_to_the_typesetter(text: str) -> None:
    small = typer.Typer()

    @small.command(help=f"Do it.\n\n{text}\n\n.so /etc/passwd\n\n'br {text}")
    def act(name: str = typer.Option("x", help=text)) -> None: ...

    @small.command()
    def rest() -> None: ...

    written = page(typer.main.get_command(small), version="1", dated=date(2026, 1, 1))
    requests = {
        line.split(maxsplit=1)[0] for line in written.splitlines() if line.startswith((".", "'"))
    }
    assert requests <= {
        ".TH", ".SH", ".SS", ".B", ".I", ".PP", ".TP", ".RS", ".RE", ".nf", ".fi", ".ad", ".nh",
    }  # fmt: skip
    assert written.isascii()


def test_a_command_can_be_copied_from_the_manual() -> None:
    assert roff("merkwacht init --brand 'A'") == r"merkwacht init \-\-brand \(aqA\(aq"


def _plain(text: str) -> str:
    return re.sub(r"\\f[BIR]|\\:", "", text).replace("\\-", "-")


def _commands(group: object, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], object]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, (*words, name))
        elif not command.hidden:
            yield (*words, name), command


# -- completion ------------------------------------------------------------------------------------


CONFIGURATION = """
[[brands]]
name = "Acme"
[[brands]]
name = "Zonnehoek"
[[sources]]
name = "news"
kind = "rss"
[[receivers]]
name = "security"
"""


def offered(line: str, folder: Path, shell: str = "bash") -> list[str]:
    """What is offered for the last word of a line."""
    words = line.split(" ")
    asked = {
        "_MERKWACHT_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
        "_TYPER_COMPLETE_ARGS": line,
        "MERKWACHT_CONFIG": str(folder / "config.toml"),
    }
    done = CliRunner().invoke(app, [], prog_name="merkwacht", env=asked)
    assert done.exit_code == 0
    return [word.strip() for word in done.output.splitlines() if word.strip()]


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration, and a database with two incidents and a silence."""
    tmp_path = tmp_path_factory.mktemp("installation")
    (tmp_path / "config.toml").write_text(CONFIGURATION)
    store = Store(tmp_path / "merkwacht.db", migrate=True)
    store.close()
    with sqlite3.connect(tmp_path / "merkwacht.db") as link:
        link.executemany(
            "INSERT INTO incident (id, brand, kind, severity, state, subject, opened_at, "
            "last_signal_at, drill) VALUES (?, 'Acme', 'leak', 3, ?, 'a secret subject', "
            "'2026-11-22 08:00:00', '2026-11-22 08:00:00', 0)",
            [(7, "open"), (12, "resolved")],
        )
        link.execute(
            "INSERT INTO silence (id, author, reason, created_at, starts_at, ends_at, brand, kind, "
            "source, story, up_to) VALUES (3, 'jo', 'a secret reason', '2026-11-22', '2026-11-22', "
            "'9999-01-01 00:00:00', 'Acme', '', '', '', 2)"
        )
    link.close()
    return tmp_path


def test_commands_are_completed(tmp_path: Path) -> None:
    assert offered("merkwacht inc", tmp_path) == ["incidents"]
    assert "ack" in " ".join(offered("merkwacht incidents a", tmp_path))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("merkwacht drill --brand ", {"Acme", "Zonnehoek"}),
        ("merkwacht drill --brand Z", {"Zonnehoek"}),
        ("merkwacht silence add --source ", {"news"}),
        ("merkwacht incidents assign 7 ", {"security"}),
        ("merkwacht incidents ack ", {"7", "12"}),
        ("merkwacht incidents ack 1", {"12"}),
        ("merkwacht silence expire ", {"3"}),
    ],
)
def test_names_and_numbers_are_completed(line: str, words: set[str], installation: Path) -> None:
    assert set(offered(line, installation)) == words


def test_a_number_says_what_it_stands_for_but_no_text(installation: Path) -> None:
    said = "\n".join(offered("merkwacht incidents ack ", installation, "zsh"))
    assert "Acme leak open" in said
    assert "secret" not in said
    assert "secret" not in "\n".join(offered("merkwacht silence expire ", installation, "zsh"))


@pytest.mark.parametrize(
    "text", ["", "brands = 3\nstore = 5", "not [toml", "[store]\npath = 7", "\xff\xfe"]
)
def test_what_cannot_be_read_is_not_offered(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(text, encoding="latin-1")
    assert not offered("merkwacht drill --brand ", tmp_path)
    assert not offered("merkwacht incidents ack ", tmp_path)


def test_completing_makes_no_file(installation: Path, tmp_path: Path) -> None:
    shutil.copy(installation / "config.toml", tmp_path)
    assert not offered("merkwacht incidents ack ", tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["config.toml"]
    shutil.copy(installation / "merkwacht.db", tmp_path)
    assert offered("merkwacht incidents ack ", tmp_path)
    assert {each.name for each in tmp_path.iterdir()} == {"config.toml", "merkwacht.db"}


IN_A_SHUT_FOLDER = """
import os, sys
from monitor.places import configuration
os.chdir(sys.argv[1])
os.chmod(".", 0)
if os.geteuid() == 0:
    os.setuid(65534)
print(configuration(None))
"""


@pytest.mark.skipif(SYSTEM_FOLDER.exists(), reason="there is an installation here")
def test_who_became_another_user_in_a_folder_of_root_s_is_not_asked_about_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "config.toml").touch()
    environment = {name: value for name, value in os.environ.items() if "MERKWACHT" not in name}
    done = subprocess.run(
        [sys.executable, "-c", IN_A_SHUT_FOLDER, tmp_path],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=environment,
    )
    tmp_path.chmod(0o700)
    assert (done.stderr, done.stdout) == ("", "None\n")


def test_help_and_completion_load_neither_model_nor_database() -> None:
    asked = "import sys, typer, monitor.cli; typer.main.get_command(monitor.cli.app); print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", asked], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.split()
    heavy = {"numpy", "onnxruntime", "tokenizers", "pydantic", "sqlalchemy", "sqlmodel", "httpx",
             "rich.console", "jinja2"}  # fmt: skip
    assert not heavy & set(loaded)


# -- the Debian package ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def build() -> ModuleType:
    """deploy/debian/build.py."""
    spec = importlib.util.spec_from_file_location("build", ROOT / "deploy/debian/build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


VERSIONS = ["0.1.0.dev0", "0.1.0a1.dev2", "0.1.0a1", "0.1.0b2", "0.1.0rc1", "0.1.0", "0.1.0.post1",
            "0.1.1.dev0", "0.10.0"]  # fmt: skip


@pytest.mark.skipif(shutil.which("dpkg") is None, reason="needs dpkg")
def test_debian_sorts_versions_as_python_does(build: ModuleType) -> None:
    assert sorted(VERSIONS, key=Version) == VERSIONS
    for earlier, later in pairwise(VERSIONS):
        told = [f"{build.debian_version(each)}-1" for each in (earlier, later)]
        subprocess.run(["dpkg", "--compare-versions", told[0], "lt", told[1]], check=True)


@pytest.mark.parametrize("script", ["postinst", "prerm", "postrm"])
def test_the_package_scripts_are_shell_and_refuse_what_they_do_not_know(script: str) -> None:
    path = ROOT / "deploy/debian" / script
    subprocess.run(["sh", "-n", path], check=True)
    done = subprocess.run(["sh", path, "nonsense"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "nonsense" in done.stderr


def test_the_package_starts_what_the_unit_starts(build: ModuleType) -> None:
    unit = (ROOT / "deploy/systemd/merkwacht.service").read_text()
    command = re.findall(r"^ExecStart=(\S+)", unit, re.MULTILINE)
    assert command == [f"/{build.PREFIX}/bin/merkwacht"]
    assert build.ENTRY.startswith(f"#!/{build.PREFIX}/bin/python")


def test_what_is_packaged_bears_one_moment_and_may_be_read(
    build: ModuleType, tmp_path: Path
) -> None:
    (tmp_path / "lib").mkdir(mode=0o700)
    (tmp_path / "lib/a.py").write_text("")
    (tmp_path / "lib/a.py").chmod(0o600)
    (tmp_path / "run").write_text("#!/bin/sh\n")
    (tmp_path / "run").chmod(0o700)
    (tmp_path / "link").symlink_to("run")
    build._settle(tmp_path, 1_700_000_000)
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in tmp_path.rglob("*")} == {
        "lib": "0o755", "a.py": "0o644", "run": "0o755", "link": "0o755",
    }  # fmt: skip
    moments = {os.lstat(path).st_mtime for path in tmp_path.rglob("*")}
    assert moments == {1_700_000_000}


# -- the container ---------------------------------------------------------------------------------


def test_the_image_is_built_from_files_that_are_there_and_every_package() -> None:
    text = (ROOT / "deploy/container/Containerfile").read_text().replace("\\\n", " ")
    copied = [
        word
        for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE)
        for word in line.split()[:-1]
    ]
    assert all((ROOT / name).exists() for name in copied)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) <= set(copied)


def test_the_image_runs_without_root_and_asks_the_port_that_is_listened_on() -> None:
    text = (ROOT / "deploy/container/Containerfile").read_text()
    final = text.rpartition("\nFROM ")[2]
    assert re.findall(r"^USER (.+)$", final, re.MULTILINE) == ["merkwacht"]
    assert f"127.0.0.1:{HttpOptions().port}/readyz" in final


def test_the_compose_example_names_only_what_it_defines() -> None:
    told = yaml.safe_load((ROOT / "deploy/container/compose.yaml").read_text())
    service = told["services"]["merkwacht"]
    assert (ROOT / service["build"]["dockerfile"]).is_file()
    named = {volume.partition(":")[0] for volume in service["volumes"] if volume[0] not in "./"}
    assert named == set(told["volumes"])
    assert set(service["secrets"]) == set(told["secrets"])
