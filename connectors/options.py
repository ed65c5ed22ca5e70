"""How every plug-in declares its options: strict pydantic models, and secrets that stay secret.

Lives in the first package of the journey because all later ones need it too. It knows no plug-in.
"""

from __future__ import annotations

import ast
import inspect
import os
import textwrap
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, SecretStr, model_validator
from pydantic_core import PydanticCustomError


@dataclass(frozen=True, slots=True)
class SecretPlaces:
    """Where secrets are read from, while a configuration is parsed."""

    base: Path = Path()
    """Relative secret files count from here."""
    needed: bool = True
    """False: a systemd credential that only the service can read is left out, not an error."""


_DEFAULT_PLACES = SecretPlaces()
SECRET_PLACES: ContextVar[SecretPlaces] = ContextVar("secret_places", default=_DEFAULT_PLACES)


class Options(BaseModel):
    """Base of all configuration tables: unknown keys are refused, values are frozen.

    A field annotated ``SecretStr`` may be written five ways: ``token = "…"``,
    ``token_file = "/path"``, ``token = {file = "/path"}``, ``token = {env = "NAME"}`` and
    ``token = {credential = "name"}`` (a systemd credential, read from ``$CREDENTIALS_DIRECTORY``).
    """

    # Not use_attribute_docstrings: looking for them took half the time in which this program starts.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _resolve_secrets(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        values = dict(data)
        for name in secret_fields(cls):
            twin = f"{name}_file"
            if twin in values:
                if name in values:
                    raise secret_error(name, f"give either this or {twin}, not both")
                values[name] = _read_named(name, {"file": values.pop(twin)})
            elif isinstance(values.get(name), Mapping):
                values[name] = _read_named(name, values[name])
        return values


def secret_fields(model: type[BaseModel]) -> list[str]:
    """Names of the fields of ``model`` that hold a secret."""
    return [
        name for name, field in model.model_fields.items() if "SecretStr" in str(field.annotation)
    ]


def explanations(model: type[BaseModel]) -> dict[str, str]:
    """What is written under each field of ``model`` and of the models that it is made of, by name.

    It is read from the source code each time: for checks and documentation, not for a running daemon.
    """
    found: dict[str, str] = {}
    for part in reversed(model.__mro__):
        if not issubclass(part, BaseModel) or part is BaseModel:
            continue
        try:
            source = inspect.getsource(part)
        except (OSError, TypeError):
            continue  # put together at run time out of those that have a source
        written = ast.parse(textwrap.dedent(source)).body[0]
        if not isinstance(written, ast.ClassDef):
            continue
        for field, text in pairwise(written.body):
            match field, text:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(words))),
                ):
                    found[name] = inspect.cleandoc(words)
                case _:
                    pass
    return found


def _read_named(name: str, where: Mapping[str, Any]) -> SecretStr:
    try:
        return read_secret(where)
    except ValueError as error:
        raise secret_error(name, str(error)) from None


def secret_error(name: str, message: str) -> PydanticCustomError:
    """An error of a whole table that belongs to its key ``name``."""
    return PydanticCustomError("secret", "{message}", {"message": message, "key": name})


def read_secret(where: Mapping[str, Any]) -> SecretStr:
    """Read a secret from ``{file = …}``, ``{env = …}`` or ``{credential = …}``.

    Raises:
        ValueError: the place does not exist or is empty; the message names it, never its content.
    """
    if len(where) != 1 or not set(where) <= {"file", "env", "credential"}:
        raise ValueError('a secret is a text, {file = "…"}, {env = "…"} or {credential = "…"}')
    ((how, place),) = where.items()
    if how == "env":
        value = os.environ.get(str(place))
        if value is None:
            raise ValueError(f"environment variable {place} is not set")
    else:
        if how == "credential":
            folder = os.environ.get("CREDENTIALS_DIRECTORY")
            if folder is None and not SECRET_PLACES.get().needed:
                # Has the form of every secret: a word, a password, an address.
                return SecretStr(f"https://credential.invalid/{place}")
            if folder is None:
                raise ValueError(
                    f"credential {place}: $CREDENTIALS_DIRECTORY is not set; "
                    "systemd sets it for units with LoadCredential="
                )
            path = Path(folder) / str(place)
        else:
            path = SECRET_PLACES.get().base / Path(str(place)).expanduser()
        try:
            value = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            raise ValueError(f"secret file {path}: {reason}") from None
    value = value.strip()
    if not value:
        raise ValueError(f"the secret in {how} {place} is empty")
    return SecretStr(value)


def is_one_word(secret: str) -> bool:
    """Whether a key or token can be one: plain characters without a space, fit for a header."""
    return bool(secret) and secret.isascii() and secret.isprintable() and " " not in secret
