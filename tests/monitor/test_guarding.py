"""What is looked at before the daemon starts: modes of files, and what the network may read."""

from __future__ import annotations

import io
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from monitor import modes
from monitor.app import hold, open_pseudonyms
from monitor.backup import back_up, key_of
from monitor.cli import app
from monitor.config import ConfigError, load
from monitor.copying import beside
from monitor.exposure import exposures
from monitor.findings import Grade
from monitor.guarding import guard, warn
from monitor.health import examine
from monitor.log import set_up
from monitor.store import Store
from tests.monitor.make import sql

VALID = (Path(__file__).parent / "config" / "valid.toml").read_text()
ROOT = Path(__file__).parents[2]
SECRET = "hunter22-and-more"
LOGIN = f'username = "m"\npassword = "{SECRET}"\nfrom ='


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    sink = io.StringIO()
    set_up(style="text", stream=sink)
    yield sink
    set_up(level="warning")


def write(folder: Path, text: str = VALID, mode: int = 0o600) -> Path:
    file = folder / "config.toml"
    file.write_text(text)
    file.chmod(mode)
    return file


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# -- the configuration -----------------------------------------------------------------------------


@pytest.mark.parametrize("open_to_all", [0o644, 0o604, 0o666])
def test_secrets_that_everybody_may_read_are_refused_before_anything_starts(
    tmp_path: Path, open_to_all: int
) -> None:
    file = write(tmp_path, VALID.replace("from =", LOGIN), open_to_all)
    done = CliRunner().invoke(app, ["run", "--config", str(file)])
    assert done.exit_code == 2
    assert f"chmod 0640 {file}" in done.stderr
    assert "channels[0].password" in done.stderr
    assert SECRET not in done.output
    assert not (tmp_path / "merkwacht.db").exists()


@pytest.mark.parametrize("narrow", [0o600, 0o640, 0o400, 0o440, 0o660])
def test_the_owner_and_the_group_may_read_them(
    tmp_path: Path, log: io.StringIO, narrow: int
) -> None:
    file = write(tmp_path, VALID.replace("from =", LOGIN), narrow)
    guard(file, load(file))
    assert log.getvalue() == ""


def test_a_configuration_without_secrets_may_be_read_by_everybody(
    tmp_path: Path, log: io.StringIO
) -> None:
    file = write(tmp_path, mode=0o644)
    guard(file, load(file))
    assert log.getvalue() == ""


def test_one_that_everybody_may_change_is_warned_of(tmp_path: Path, log: io.StringIO) -> None:
    file = write(tmp_path, mode=0o666)
    guard(file, load(file))
    assert "everybody may change" in log.getvalue()


WHERE_SECRETS_HIDE = {
    "sources[0].url": VALID.replace("https://news", "https://reader:geheim@news"),
    "heartbeat.url": VALID + '[heartbeat]\nurl = "https://hc.example/secret-id"\n',
    "channels[1].headers[0].value": VALID
    + """[[channels]]
kind = "webhook"
name = "hook"
url = { env = "HOME" }
secret = { env = "HOME" }
headers = [{ name = "X-Api-Key", value = "geheim" }]
""",
    "sources[1].oauth.client_secret": VALID
    + """[[sources]]
kind = "imap"
name = "mail"
host = "imap.example"
username = "m"
oauth = { token_url = "https://login.example/t", client_id = "c", client_secret = "geheim" }
""",
    "sources[1].instances[0].access_token": VALID
    + """[[sources]]
kind = "mastodon"
name = "fedi"
instances = [{ url = "https://social.example", access_token = "geheim" }]
""",
}


@pytest.mark.parametrize("where", WHERE_SECRETS_HIDE)
def test_secrets_are_found_wherever_they_are_written(tmp_path: Path, where: str) -> None:
    file = write(tmp_path, WHERE_SECRETS_HIDE[where], 0o644)
    fatal = [each for each in modes.of_configuration(file) if each.fatal]
    assert len(fatal) == 1
    assert f"holds secrets ({where})" in fatal[0].what


@pytest.mark.parametrize("how", ['{ file = "mail.secret" }', None])
def test_a_secret_file_that_everybody_may_read_is_warned_of_at_every_start(
    tmp_path: Path, log: io.StringIO, how: str | None
) -> None:
    (tmp_path / "mail.secret").write_text(SECRET)
    (tmp_path / "mail.secret").chmod(0o644)
    given = 'password_file = "mail.secret"' if how is None else f"password = {how}"
    file = write(tmp_path, VALID.replace("from =", f'username = "m"\n{given}\nfrom ='))
    for _ in range(2):
        guard(file, load(file))
    assert log.getvalue().count("mail.secret") == 4, "what and remedy, twice"
    assert SECRET not in log.getvalue()


def test_a_reload_warns_and_refuses_nothing(tmp_path: Path, log: io.StringIO) -> None:
    file = write(tmp_path, VALID.replace("from =", LOGIN), 0o644)
    config = load(file)
    with pytest.raises(ConfigError):
        guard(file, config)
    warn(file, config)
    assert "holds secrets" in log.getvalue()


def test_a_check_tells_what_a_start_would_refuse_or_warn_of(tmp_path: Path) -> None:
    text = VALID.replace("from =", f'security = "none"\n{LOGIN}').replace("smtp.example.com", "::1")
    file = write(tmp_path, text + '[http]\nhost = "0.0.0.0"\n', 0o644)
    done = CliRunner().invoke(app, ["check", "--config", str(file)])
    assert done.exit_code == 0, "it is valid"
    told = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    assert len(told) == 2
    assert "channels[0].password" in told[0]
    assert "does not start before that is mended: chmod 0640" in told[0]
    assert "http.host: whoever reaches 0.0.0.0:9464" in told[1]
    assert SECRET not in done.output
    file.write_text(VALID)
    assert "warning" not in CliRunner().invoke(app, ["check", "--config", str(file)]).stderr


def test_what_init_writes_may_be_filled_with_secrets_and_started(tmp_path: Path) -> None:
    file, before = tmp_path / "config.toml", os.umask(0o022)
    try:
        assert CliRunner().invoke(app, ["init", "--output", str(file)]).exit_code == 0
    finally:
        os.umask(before)
    assert mode(file) == 0o600
    file.chmod(0o640)
    assert CliRunner().invoke(app, ["init", "--force", "--output", str(file)]).exit_code == 0
    assert mode(file) == 0o640, "whose it is and who may read it was decided"


MOUNTED = (
    'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"',
    """
import sys, pathlib
from monitor.guarding import foreseen, guard
from monitor.config import load
from monitor.health import examine
from monitor.log import set_up
from datetime import UTC, datetime
set_up(style="text", stream=sys.stdout)
file = pathlib.Path(sys.argv[1])
guard(file, load(file))
report = examine(file, now=datetime.now(UTC), model=lambda _: ())
for each in report.findings:
    if each.part == "permissions":
        print("doctor", each.grade.value, each.what)
""",
)
"""What is done in a mount namespace of its own: a folder is mounted read-only, and a program runs."""


def test_on_a_read_only_mount_as_in_a_container_open_secrets_are_told_and_refuse_nothing(
    tmp_path: Path,
) -> None:
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "web.secret").write_text(SECRET)
    (tmp_path / "given" / "web.secret").chmod(0o444)
    text = VALID.replace("from =", LOGIN) + '[store]\npath = "../merkwacht.db"\n'
    text += '[[sources]]\nkind = "x"\nname = "x"\nbearer_token_file = "web.secret"\n'
    file = write(tmp_path / "given", text, 0o644)
    own = ["unshare", "--map-root-user", "--mount", "sh", "-c", MOUNTED[0], str(file.parent)]
    if shutil.which("unshare") is None or subprocess.run([*own, "true"], check=False).returncode:
        pytest.skip("no mount namespaces for us here")
    environment = {name: value for name, value in os.environ.items() if name != "INVOCATION_ID"}
    command = [*own, sys.executable, "-c", MOUNTED[1], str(file)]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True, timeout=60, cwd=ROOT
    )
    lines = done.stdout.splitlines()
    assert [" event=readable " in line for line in lines] == [True, True, False, False]
    for line, named in zip(lines, ["password", "web.secret"] * 2, strict=True):
        assert named in line
        assert "chmod" not in line, "nothing can be changed there"
    assert all(line.startswith("doctor note ") for line in lines[2:]), "it is not ill for that"
    assert SECRET not in done.stdout

    # The sandbox of the service shows the same, and there somebody can mend it.
    environment["INVOCATION_ID"] = "5a" * 16
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=60, cwd=ROOT
    )
    assert done.returncode == 1
    assert "ConfigError" in done.stderr
    assert f"chmod 0640 {file}" in done.stderr


# -- what we write ---------------------------------------------------------------------------------


def test_what_the_daemon_makes_is_its_own_whatever_the_umask(tmp_path: Path) -> None:
    database = tmp_path / "merkwacht.db"
    before = os.umask(0)
    try:
        lock = hold(database)
        store = Store(database)
        open_pseudonyms(store)
        sql(database, "CREATE TABLE filler (x)")
        back_up(database, tmp_path / "backup.db")
        made = {each.name: mode(each) for each in tmp_path.iterdir()}
        store.close()
        lock.close()
    finally:
        os.umask(before)
    assert {"merkwacht.db", "merkwacht.db.key", "merkwacht.db.lock", "merkwacht.db-wal"} < set(made)
    assert {"backup.db", "backup.db.key"} < set(made)
    assert set(made.values()) == {0o600}


def test_what_is_found_wider_is_mended_and_told(tmp_path: Path, log: io.StringIO) -> None:
    file = write(tmp_path)
    config = load(file)
    database = config.store.path
    opened = [database, key_of(database), *(beside(database, e) for e in ("-wal", ".lock"))]
    opened.append(database.with_name("merkwacht.db.before-0009"))
    for each in opened:
        each.touch()
        each.chmod(0o664)
    guard(file, config)
    assert mode(key_of(database)) == 0o600
    assert {mode(each) for each in opened if each != key_of(database)} == {0o660}, (
        "what a group of the operator's may do is the operator's to say"
    )
    assert log.getvalue().count("mended") == len(opened)
    guard(file, config)
    assert log.getvalue().count("mended") == len(opened), "nothing is left to mend"


def test_a_state_folder_that_everybody_may_write_in_is_told_and_left(
    tmp_path: Path, log: io.StringIO
) -> None:
    file = write(tmp_path)
    tmp_path.chmod(0o777)
    guard(file, load(file))
    assert "chmod 0700" in log.getvalue()
    assert mode(tmp_path) == 0o777


# -- the network -----------------------------------------------------------------------------------

PUBLIC = 'public_url = "https://watch.example"'
OPEN = {
    "http.host": (f'{VALID}[http]\nhost = "0.0.0.0"\n', False),
    "web.host": (f'{VALID}[web]\nenabled = true\n{PUBLIC}\nhost = "::"\n', False),
    "channels[0].security": (VALID.replace("from =", 'security = "none"\nfrom ='), False),
    "sources[0].url": (VALID.replace("https://news", "http://news"), False),
    "channels[1].url": (
        f"""{VALID}[[channels]]
kind = "apprise"
name = "phone"
url = "jsons://me:{SECRET}@ntfy.example/x?verify=no"
""",
        True,
    ),
    "channels[1].urls[1]": (
        f"""{VALID}[[channels]]
kind = "alertmanager"
name = "am"
urls = ["https://am.example", "http://am2.example:9093"]
""",
        False,
    ),
    "heartbeat.url": (
        f"""{VALID}[heartbeat]
url = "http://hc.internal/{SECRET}"
allow_private_address = true
""",
        False,
    ),
    "sources[1].base_url": (
        f"""{VALID}[[sources]]
kind = "x"
name = "x"
bearer_token = "{SECRET}"
base_url = "http://gateway.internal"
""",
        True,
    ),
    "sources[1].urls[1]": (
        f"""{VALID}[[sources]]
kind = "jetstream"
name = "stream"
urls = ["wss://stream.example/subscribe", "ws://stream2.example/subscribe"]
""",
        False,
    ),
    "sources[1].instances[0].url": (
        f"""{VALID}[[sources]]
kind = "mastodon"
name = "fedi"
instances = [{{ url = "http://social.example", access_token = "{SECRET}" }}]
""",
        True,
    ),
    "sources[1].oauth.token_url": (
        f"""{VALID}[[sources]]
kind = "imap"
name = "box"
host = "imap.example"
username = "m"
oauth = {{ token_url = "http://login.example/t", client_id = "c", client_secret = "{SECRET}" }}
""",
        True,
    ),
}


@pytest.mark.parametrize("where", OPEN)
def test_what_comes_near_to_an_off_switch_is_told_at_every_start_and_by_the_doctor(
    tmp_path: Path, log: io.StringIO, where: str
) -> None:
    text, grave = OPEN[where]
    file = write(tmp_path, text)
    config = load(file)
    assert [(each.where, each.grave) for each in exposures(config, {})] == [(where, grave)]
    for _ in range(2):
        guard(file, config)
    warn(file, config)
    lines = [line for line in log.getvalue().splitlines() if f"key={where}" in line]
    assert len(lines) == 3, log.getvalue()
    assert all("level=warning" in line and "remedy=" in line for line in lines)
    report = examine(file, now=datetime.now(UTC), running=tmp_path)
    found = [each for each in report.findings if each.part == "network"]
    assert [each.grade for each in found] == [Grade.WRONG if grave else Grade.NOTE]
    assert found[0].what.startswith(where)
    assert SECRET not in log.getvalue() + repr(report)


CLOSED = {
    "all on this machine": f"""{VALID.replace("smtp.example.com", "localhost")}
[http]
host = "::1"
[web]
enabled = true
{PUBLIC}
host = "127.0.0.1"
""",
    "our own certificate": f"""{VALID}
[web]
enabled = true
{PUBLIC}
host = "0.0.0.0"
certificate_file = "chain.pem"
""",
    "a gateway on this machine": VALID.replace("https://news.example.com", "http://127.0.0.1:8080"),
    "nobody listens": f"""{VALID}
[http]
host = "0.0.0.0"
enabled = false
[web]
host = "0.0.0.0"
""",
    "a source that is switched off": VALID.replace("https://news", "http://news").replace(
        "[[channels]]", "enabled = false\n[[channels]]"
    ),
}


@pytest.mark.parametrize("case", CLOSED)
def test_nothing_is_told_where_nothing_is_open(tmp_path: Path, case: str) -> None:
    assert exposures(load(write(tmp_path, CLOSED[case])), {}) == []


def test_whoever_writes_the_keys_of_connections_down_is_told_of() -> None:
    file = Path(__file__).parent / "config" / "valid.toml"
    found = exposures(load(file), {"SSLKEYLOGFILE": "/tmp/keys"})
    assert [(each.where, each.grave) for each in found] == [("$SSLKEYLOGFILE", True)]


def test_everything_listens_on_this_machine_alone_unless_told_otherwise(tmp_path: Path) -> None:
    text = f"{VALID}[web]\nenabled = true\n{PUBLIC}\n"
    config = load(write(tmp_path, text))
    assert {config.http.host, config.web.host} == {"127.0.0.1"}
