"""The systemd unit: what `install-service` makes of an installation, and what systemd says of it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import pytest
from typer.testing import CliRunner

from monitor.cli import app
from monitor.places import SYSTEM_STATE
from monitor.service import USUAL_CONFIG, Service, named, sysusers, tmpfiles, unit

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "deploy/systemd/merkwacht.service"
ANALYZE = shutil.which("systemd-analyze")
EXPOSURE = 15
"""At most 1.5 of 10."""

needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")


def run(*words: object) -> tuple[int, str, str]:
    outcome = CliRunner().invoke(app, ["install-service", *map(str, words)])
    assert outcome.exception is None or isinstance(outcome.exception, SystemExit), outcome.exception
    return outcome.exit_code, outcome.stdout, outcome.stderr


def configuration(folder: Path, text: str = "") -> Path:
    path = folder / "config.toml"
    path.write_text(text)
    return path


def systemd_analyze(*words: object, runtime: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(ANALYZE), *map(str, words)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "XDG_RUNTIME_DIR": str(runtime)},
    )


def test_the_shipped_unit_is_what_the_usual_paths_give() -> None:
    assert SHIPPED.read_text() == unit(Service())


def test_the_template_is_part_of_the_package() -> None:
    assert (resources.files("monitor") / "merkwacht.service").is_file()


SERVICES = [
    Service(),
    Service(
        Path("/srv/my tools/100%/bin/merkwacht"),
        Path('/srv/a "quoted" $HOME/config.toml'),
        Path("/srv/my state/50%"),
        ("smtp-password", "heartbeat"),
    ),
    Service(state=Path("/var/lib/brands/merkwacht"), credentials=("x",)),
    Service(by_user=True),
]


@needs_systemd
@pytest.mark.parametrize("service", SERVICES)
def test_systemd_understands_every_line(service: Service, tmp_path: Path) -> None:
    path = tmp_path / "merkwacht.service"
    # The program is not there on this machine, and that is the one thing that may be said of it.
    path.write_text(unit(service).replace("ExecStart=", "ExecStart=/bin/true "))
    said = systemd_analyze(
        "verify", "--man=no", *(["--user"] * service.by_user), path, runtime=tmp_path
    )
    # An unknown key only warns, with status 0: every word is a failure.
    assert (said.stderr, said.returncode) == ("", 0)


@needs_systemd
@pytest.mark.parametrize("service", SERVICES[:3])
def test_the_unit_gives_nearly_nothing_away(service: Service, tmp_path: Path) -> None:
    path = tmp_path / "merkwacht.service"
    path.write_text(unit(service))
    said = systemd_analyze(
        "security", "--offline=true", f"--threshold={EXPOSURE}", path, runtime=tmp_path
    )
    assert said.returncode == 0, said.stdout.splitlines()[-1]


def test_paths_with_signs_of_systemd_s_own_are_written_so_that_they_mean_themselves() -> None:
    text = unit(SERVICES[1])
    assert (
        'ExecStart="/srv/my tools/100%%/bin/merkwacht" run --config '
        r'"/srv/a \"quoted\" $$HOME/config.toml"' in text
    )
    assert 'Environment="STATE_DIRECTORY=/srv/my state/50%%"' in text
    assert 'ReadWritePaths="/srv/my state/50%%"' in text
    assert 'd "/srv/my state/50%%" 0700 merkwacht merkwacht -' in tmpfiles(SERVICES[1])


def test_a_state_folder_below_var_lib_is_systemd_s_to_make() -> None:
    assert "StateDirectory=brands/merkwacht\n" in unit(SERVICES[2])
    assert "ReadWritePaths" not in unit(SERVICES[2])


def test_a_reload_needs_nothing_but_a_shell() -> None:
    (line,) = re.findall(r"^ExecReload=(.+)$", unit(Service()), re.MULTILINE)
    # As systemd reads it: words, a doubled sign for itself, the process in the environment.
    words = [word.replace("$$", "$") for word in shlex.split(line)]
    with subprocess.Popen(["sleep", "60"]) as process:
        env = {"MAINPID": str(process.pid), "PATH": "/nowhere"}
        subprocess.run(words, env=env, check=True, timeout=60)
        assert process.wait(60) == -signal.SIGHUP


def test_each_credential_that_the_configuration_names_is_loaded_once(tmp_path: Path) -> None:
    file = configuration(
        tmp_path,
        """
[heartbeat]
url = { credential = "heartbeat" }
[[channels]]
kind = "email"
password = { credential = "smtp-password" }
[[channels]]
kind = "email"
password = { credential = "smtp-password" }
username = { file = "user" }
""",
    )
    status, out, err = run("--config", file)
    assert status == 0
    lines = [line for line in out.splitlines() if line.startswith("LoadCredential=")]
    assert lines == [
        f"LoadCredential=heartbeat:{tmp_path}/heartbeat",
        f"LoadCredential=smtp-password:{tmp_path}/smtp-password",
    ]
    assert f"{tmp_path}/heartbeat: not there yet" in err
    assert re.search(rf"sudo -u merkwacht /.*/merkwacht doctor --config {file}\n", err)
    assert "systemctl enable --now merkwacht" in err


@pytest.mark.parametrize("name", ["../shadow", "a:b", "", "two words", "x" * 300])
def test_a_credential_that_systemd_would_not_take_is_refused(name: str, tmp_path: Path) -> None:
    file = configuration(tmp_path, f'[heartbeat]\nurl = {{ credential = "{name}" }}\n')
    status, out, err = run("--config", file)
    assert (status, out) == (2, "")
    assert "systemd takes no credential" in err


def test_a_broken_configuration_is_no_hindrance(tmp_path: Path) -> None:
    file = configuration(tmp_path, "[[brands]\nname = ")
    assert named(file).credentials == ()
    assert run("--config", file)[0] == 0


def test_without_a_configuration_the_usual_place_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MERKWACHT_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    if USUAL_CONFIG.exists():
        pytest.skip(f"there is a {USUAL_CONFIG} here")
    status, out, _ = run()
    assert status == 0
    assert f"run --config {USUAL_CONFIG}\n" in out
    assert f"StateDirectory={SYSTEM_STATE.name}\n" in out


def test_the_folder_of_the_database_is_taken_from_the_configuration(tmp_path: Path) -> None:
    file = configuration(tmp_path, '[store]\npath = "/srv/watch/merkwacht.db"\n')
    assert "ReadWritePaths=/srv/watch\n" in run("--config", file)[1]
    status, _, err = run("--config", file, "--state-dir", "/srv/other")
    assert status == 2
    assert "change store.path" in err


def test_a_state_folder_that_only_the_service_would_know_of_is_told(tmp_path: Path) -> None:
    file = configuration(tmp_path)
    status, out, err = run("--config", file, "--state-dir", "/srv/a/../watch")
    assert status == 0
    assert "ReadWritePaths=/srv/watch\n" in out
    assert 'store.path = "/srv/watch/merkwacht.db"' in err
    assert "store.path" not in run("--config", file)[2]


def test_it_writes_three_files_and_nothing_twice(tmp_path: Path) -> None:
    file, root = configuration(tmp_path), tmp_path / "root"
    words: Sequence[object] = ("--write", "--root", root, "--config", file)
    assert run(*words)[0] == 0
    written = {each: each.read_text() for each in root.rglob("*") if each.is_file()}
    assert {str(each.relative_to(root)) for each in written} == {
        "etc/systemd/system/merkwacht.service",
        "etc/sysusers.d/merkwacht.conf",
        "etc/tmpfiles.d/merkwacht.conf",
    }
    assert all(each.stat().st_mode & 0o777 == 0o644 for each in written)
    status, _, err = run(*words)
    assert status == 0
    assert err.count("is as it should be") == 3


def test_what_somebody_changed_is_shown_and_kept_unless_forced(tmp_path: Path) -> None:
    file, root = configuration(tmp_path), tmp_path / "root"
    words: Sequence[object] = ("--write", "--root", root, "--config", file)
    run(*words)
    installed = root / "etc/systemd/system/merkwacht.service"
    changed = installed.read_text().replace("MemoryMax=1G", "MemoryMax=4G")
    installed.write_text(changed)
    (root / "etc/tmpfiles.d/merkwacht.conf").unlink()
    status, _, err = run(*words)
    assert status == 1
    assert "-MemoryMax=4G" in err
    assert "+MemoryMax=1G" in err
    assert installed.read_text() == changed
    assert not (root / "etc/tmpfiles.d/merkwacht.conf").exists(), "all or nothing"
    assert run(*words, "--force")[0] == 0
    assert "MemoryMax=1G" in installed.read_text()


def test_a_service_that_could_not_reach_its_files_is_not_written(tmp_path: Path) -> None:
    file = configuration(tmp_path, '[store]\npath = "/home/eva/merkwacht.db"\n')
    status, _, err = run("--config", file)
    assert status == 0
    assert "/home/eva: the service has no way into people's homes" in err
    root = tmp_path / "root"
    assert run("--write", "--root", root, "--config", file)[0] == 1
    assert not root.exists()


def test_one_s_own_service_asks_for_nothing_that_only_root_may_do(tmp_path: Path) -> None:
    status, out, err = run("--user", "--config", configuration(tmp_path))
    assert status == 0
    assert "WantedBy=default.target\n" in out
    assert "\nUser=" not in out
    assert "CapabilityBoundingSet" not in out
    assert "systemctl --user" in err


@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="systemd is not installed")
def test_user_and_folders_are_made_by_systemd_s_own_tools(tmp_path: Path) -> None:
    for folder in ("etc", "var/lib"):
        (tmp_path / folder).mkdir(parents=True)
    files = {"sysusers": sysusers(), "tmpfiles": tmpfiles(Service())}
    for name, text in files.items():
        (tmp_path / f"{name}.conf").write_text(text)
    subprocess.run(
        ["systemd-sysusers", f"--root={tmp_path}", tmp_path / "sysusers.conf"],
        check=True,
        capture_output=True,
        timeout=60,
    )
    assert "merkwacht:" in (tmp_path / "etc/passwd").read_text()
    if (tmp_path / "etc/passwd").stat().st_uid != 0:
        pytest.skip("only root makes folders that belong to others")
    subprocess.run(
        ["systemd-tmpfiles", "--create", f"--root={tmp_path}", tmp_path / "tmpfiles.conf"],
        check=True,
        capture_output=True,
        timeout=60,
    )
    assert (tmp_path / "etc/merkwacht").stat().st_mode & 0o7777 == 0o750
    assert (tmp_path / "var/lib/merkwacht").stat().st_mode & 0o7777 == 0o700
