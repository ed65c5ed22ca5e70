"""The configuration: every error at once, in the reader's terms; the example complete and true."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr
from pydantic_core import PydanticUndefined

from alerts import CHANNELS
from alerts.clocks import ClockOptions
from alerts.escalation import ChainOptions, StepOptions
from alerts.grouping import GroupOptions
from alerts.quiet import QuietOptions
from alerts.rota import OverrideOptions, RotaOptions, ShiftOptions
from alerts.routes import BranchOptions, ReceiverOptions, RouteOptions, Via
from alerts.silences import InhibitionOptions, SilenceLimits
from alerts.worktime import OfficeOptions
from classifiers.second_opinion import SecondOpinionOptions
from connectors import BUILT_IN
from connectors.options import explanations, secret_fields
from monitor import config
from monitor.budget import BudgetOptions
from monitor.heartbeat import HeartbeatOptions

HERE = Path(__file__).parent / "config"
ROOT = Path(__file__).parent.parent.parent
EXAMPLE = ROOT / "config.example.toml"


@pytest.mark.parametrize("fault", sorted(HERE.glob("*.expected")), ids=lambda path: path.stem)
def test_a_fault_is_named_with_file_and_key(fault: Path) -> None:
    file = fault.with_suffix(".toml")
    with pytest.raises(config.ConfigError) as refused:
        config.load(file)
    for line in fault.read_text().splitlines():
        assert f"{file}: {line}" in str(refused.value)


def test_every_problem_is_told_at_once() -> None:
    text = (HERE / "valid.toml").read_text()
    text = text.replace('"acme"', '"(acme"').replace('["team"]', '["nobody"]')
    text = 'language = "xx"\nshoe_size = 43\n' + text
    with pytest.raises(config.ConfigError) as refused:
        config.parse(text, Path("c.toml"))
    paths = {problem.path for problem in refused.value.problems}
    assert paths == {"language", "shoe_size", "brands[0].query", "routes[0].receivers[0]"}


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(config.ConfigError, match="merkwacht init"):
        config.load(tmp_path / "none.toml")


def test_a_file_that_is_not_utf8_says_so(tmp_path: Path) -> None:
    file = tmp_path / "latin1.toml"
    file.write_bytes('language = "né"'.encode("latin-1"))
    with pytest.raises(config.ConfigError, match=r"byte 13: not UTF-8"):
        config.load(file)


def test_a_relative_database_lies_beside_the_configuration(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text((HERE / "valid.toml").read_text())
    assert config.load(file).store.path == tmp_path / "merkwacht.db"


def test_under_systemd_the_database_lies_in_the_state_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/merkwacht")
    loaded = config.parse((HERE / "valid.toml").read_text(), tmp_path / "config.toml")
    assert loaded.store.path == Path("/var/lib/merkwacht/merkwacht.db")


def test_the_configuration_is_looked_for_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MERKWACHT_CONFIG", raising=False)
    with pytest.raises(config.ConfigError, match="no configuration found"):
        config.find(None)
    (tmp_path / "config.toml").touch()
    assert config.find(None) == Path("config.toml")
    monkeypatch.setenv("MERKWACHT_CONFIG", "/elsewhere.toml")
    assert config.find(None) == Path("/elsewhere.toml")
    assert config.find(Path("given.toml")) == Path("given.toml")


# -- secrets ---------------------------------------------------------------------------------------

SECRET = "hunter2-but-longer"


def _with_password(line: str) -> config.Config:
    text = (HERE / "valid.toml").read_text()
    text = text.replace('from = "m@example.com"', f'from = "m@example.com"\nusername = "u"\n{line}')
    return config.parse(text, Path("c.toml"))


@pytest.mark.parametrize("way", ["value", "twin", "file", "env", "credential"])
def test_a_secret_comes_from_where_it_is_kept(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "smtp").write_text(f"{SECRET}\n")
    monkeypatch.setenv("SMTP_PASSWORD", SECRET)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    line = {
        "value": f'password = "{SECRET}"',
        "twin": f'password_file = "{tmp_path}/smtp"',
        "file": f'password = {{ file = "{tmp_path}/smtp" }}',
        "env": 'password = { env = "SMTP_PASSWORD" }',
        "credential": 'password = { credential = "smtp" }',
    }[way]
    loaded: Any = _with_password(line)
    assert loaded.channels[0].password.get_secret_value() == SECRET
    assert SECRET not in repr(loaded)


def test_a_secret_never_stands_in_an_error() -> None:
    with pytest.raises(config.ConfigError) as refused:
        _with_password(f'password = "{SECRET}"\nport = "{SECRET}"\nnonsense = "{SECRET}"')
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('password = { env = "NOT_SET_ANYWHERE" }', "NOT_SET_ANYWHERE is not set"),
        ('password = { vault = "x" }', "a secret is a text"),
        ('password = { credential = "x" }', "CREDENTIALS_DIRECTORY is not set"),
    ],
)
def test_a_secret_that_cannot_be_read_says_why(
    line: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(config.ConfigError, match=re.escape(message)):
        _with_password(line)


def test_a_command_beside_the_service_does_without_its_credentials(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    text = (HERE / "valid.toml").read_text()
    text = text.replace(
        'from = "m@example.com"',
        'from = "m@example.com"\nusername = "u"\npassword = { credential = "smtp" }',
    )
    assert config.parse(text, Path("c.toml"), secrets=False).channels[0].name == "mail"
    with pytest.raises(config.ConfigError, match=r"channels\[0\].password: credential smtp"):
        config.parse(text, Path("c.toml"))


def test_a_relative_secret_file_lies_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "smtp").write_text(SECRET)
    text = (HERE / "valid.toml").read_text()
    text = text.replace(
        'from = "m@example.com"', 'from = "m@example.com"\nusername = "u"\npassword_file = "smtp"'
    )
    loaded: Any = config.parse(text, tmp_path / "c.toml")
    assert loaded.channels[0].password.get_secret_value() == SECRET


def test_a_command_beside_the_service_finds_its_database() -> None:
    text = (HERE / "valid.toml").read_text()
    found = config.parse(text, Path("/etc/merkwacht/config.toml")).store.path
    assert found == Path("/var/lib/merkwacht/merkwacht.db")


# -- the example -----------------------------------------------------------------------------------


def test_the_example_is_valid_as_shipped() -> None:
    loaded = config.load(EXAMPLE)
    assert len(loaded.sources) == len(BUILT_IN)


def _example_tables() -> dict[str, list[str]]:
    """Lines of the example by table; tables of plug-ins also by their kind."""
    tables: dict[str, list[str]] = {"": []}
    name = ""
    for line in EXAMPLE.read_text().splitlines():
        if found := re.fullmatch(r"\[+([a-z_.]+)\]+", line):
            parent, _, own = found[1].rpartition(".")
            # A table within a plug-in's belongs to its kind.
            name = f"{name}.{own}" if parent and name.startswith(f"{parent}:") else found[1]
            tables.setdefault(name, [])
        elif found := re.fullmatch(r'kind = "(\w+)"', line):
            name = f"{name}:{found[1]}"
            tables.setdefault(name, [])
        tables[name].append(line)
    return tables


def _models() -> list[tuple[str, type[BaseModel]]]:
    models: list[tuple[str, type[BaseModel]]] = [
        ("store", config.StoreOptions),
        ("classifiers", config.ClassifierOptions),
        ("classifiers.second_opinion", SecondOpinionOptions),
        ("network", config.NetworkOptions),
        ("http", config.HttpOptions),
        ("web", config.WebOptions),
        ("log", config.LogOptions),
        ("heartbeat", HeartbeatOptions),
        ("brands", config.BrandOptions),
        ("sources:x", config.PricedBase),
        ("sources:x.budget", BudgetOptions),
        ("receivers", ReceiverOptions),
        ("routes", RouteOptions),
        ("office", OfficeOptions),
        ("clocks", ClockOptions),
        ("escalations", ChainOptions),
        ("rotas", RotaOptions),
        ("inhibition", InhibitionOptions),
        ("silences", SilenceLimits),
    ]
    for kind, connector in BUILT_IN.items():
        models += [(f"sources:{kind}", config.SourceBase), (f"sources:{kind}", connector.Options)]
    for kind, channel in CHANNELS.items():
        models += [(f"channels:{kind}", config.ChannelBase), (f"channels:{kind}", channel.Options)]
    return models


def _options() -> list[tuple[str, str, Any, bool]]:
    return [
        (table, field.alias or name, field.default, name in secret_fields(model))
        for table, model in _models()
        for name, field in model.model_fields.items()
        if f"{table}.{name}" not in dict(_models())  # a table of its own
    ]


@pytest.mark.parametrize(
    ("table", "key", "default", "secret"), _options(), ids=lambda value: str(value)[:40]
)
def test_the_example_shows_every_option_with_its_default(
    table: str, key: str, default: Any, secret: bool
) -> None:
    lines = _example_tables()[table]
    shown = [line for line in lines if re.match(rf"(# )?{key} = ", line)]
    assert shown, f"[{table}] does not show {key}"
    if default is PydanticUndefined or default is None or secret or key == "kind":
        return
    commented = [line.removeprefix("# ") for line in shown if line.startswith("# ")]
    assert commented, f"[{table}] does not show the default of {key}"
    value = tomllib.loads(commented[0])[key]
    plain = str(default) if isinstance(default, Path) else default
    assert value == json.loads(json.dumps(plain))


def test_every_option_is_explained() -> None:
    further = [
        ("via", Via),
        ("routes.routes", BranchOptions),
        ("receivers.quiet", QuietOptions),
        ("routes.group", GroupOptions),
        ("escalations.steps", StepOptions),
        ("rotas.shifts", ShiftOptions),
        ("rotas.overrides", OverrideOptions),
    ]
    silent = [
        f"{table}.{name}"
        for table, model in [*_models(), *further]
        for name in model.model_fields.keys() - explanations(model).keys() - {"kind"}
    ]
    assert not silent


def test_secrets_are_secret() -> None:
    """A field that sounds like a secret is one."""
    telling = ("password", "token", "secret", "webhook")
    open_ones = [
        f"{table}.{name}"
        for table, model in _models()
        for name, field in model.model_fields.items()
        if any(word in name for word in telling) and SecretStr.__name__ not in str(field.annotation)
    ]
    assert not open_ones
