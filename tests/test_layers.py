"""Imports follow the journey: connectors, classifiers, alerts, monitor; never against it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
JOURNEY = ("connectors", "classifiers", "alerts", "monitor")


def modules() -> list[Path]:
    return [path for package in JOURNEY for path in sorted((ROOT / package).rglob("*.py"))]


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_what_comes_before_it(path: Path) -> None:
    place = JOURNEY.index(path.relative_to(ROOT).parts[0])
    later = {*JOURNEY[place + 1 :], "tests"}
    against = [name for name in imported(path) if name.split(".")[0] in later]
    assert not against


def test_only_the_store_knows_the_tables() -> None:
    allowed = {"monitor/tables.py", "monitor/store", "monitor/migrations"}
    knowing = [
        path.relative_to(ROOT).as_posix()
        for path in modules()
        if any(name.startswith("monitor.tables") for name in imported(path))
    ]
    strangers = [name for name in knowing if not any(name.startswith(each) for each in allowed)]
    assert knowing
    assert not strangers


def test_every_module_says_its_place() -> None:
    silent = [
        path.relative_to(ROOT).as_posix()
        for path in modules()
        if "versions" not in path.parts
        and not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not silent


def test_a_start_does_not_import_what_only_some_need() -> None:
    """torch and transformers cost seconds and hundreds of megabytes."""
    heavy = {"torch", "transformers", "tweepy", "slack_sdk", "alembic"}
    at_once = []
    for path in modules():
        if "training" in path.parts or "migrations" in path.parts or "demo" in path.parts:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in tree.body:
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            at_once += [f"{path}: {name}" for name in names if name.split(".")[0] in heavy]
    assert not at_once
