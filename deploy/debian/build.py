"""Builds the Debian package: a virtual environment of its own under /opt/merkwacht, unit, manual, completion.

    make deb                                    # → dist/merkwacht_VERSION_ARCHITECTURE.deb
    make deb ARGS='--extras charts,documents,parquet --constraint versions.txt'

It is built with the distribution's Python (/usr/bin/python3) and depends on that very version of it: build on
the release that it is for. Needs python3-venv and dpkg-dev. The same sources, packages and moment
($SOURCE_DATE_EPOCH, else that of the last commit) give the same package.
"""  # noqa: INP001 - a script, not a package

# ruff: noqa: S603, S607 - it runs the builder's own tools, found where the builder keeps them

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import io
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from email.parser import HeaderParser
from email.utils import format_datetime
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parents[1]
PREFIX: Final = Path("opt/merkwacht")
MAINTAINER: Final = "Merkwacht contributors <root@localhost>"
ENTRY: Final = """\
#!/opt/merkwacht/bin/python -I
from monitor.cli import main

main()
"""
CONTROL: Final = """\
Package: merkwacht
Version: {version}
Architecture: {architecture}
Maintainer: {maintainer}
Installed-Size: {kilobytes}
Depends: {depends}
Recommends: systemd
Suggests: prometheus, sudo
Section: net
Priority: optional
Description: brand watch that wakes the right people in time
 Merkwacht is a small daemon that watches what the public says about an
 organisation and tells the people it names: when a crisis starts to grow, when
 somebody is threatened, and when a post seems to make public what must stay
 inside. It reads official interfaces only and understands Dutch and English on
 the machine itself.
 .
 This package brings its own virtual environment in /opt/merkwacht.
"""
COMPLETIONS: Final = {
    "bash": "usr/share/bash-completion/completions/merkwacht",
    "zsh": "usr/share/zsh/vendor-completions/_merkwacht",
    "fish": "usr/share/fish/vendor_completions.d/merkwacht.fish",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the package. Returns the exit status."""
    asked = _parse(arguments)
    epoch = _epoch()
    environment = {
        **os.environ,
        "SOURCE_DATE_EPOCH": str(epoch),
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "LC_ALL": "C.UTF-8",
    }
    work = asked.work.resolve()
    shutil.rmtree(work, ignore_errors=True)
    stage = work / "root"
    stage.mkdir(parents=True)
    os.umask(0o022)
    try:
        pip = _tools(work, asked.python, environment)
        wheel = asked.wheel or _wheel(work, pip, environment)
        version = f"{debian_version(wheel.name.split('-')[1])}-1"
        _say("installing into the virtual environment")
        _environment(stage, wheel, asked, pip, environment)
        _say("laying out the rest")
        _beside(stage, environment)
        _news(stage, version, epoch)
        _settle(stage, epoch)
        _compile(stage, environment)
        _settle(stage, epoch)
        package = _pack(stage, version, asked, environment)
    except subprocess.CalledProcessError as error:
        command = " ".join(str(word) for word in error.cmd[:4])
        _say(f"failed: {command} … (exit status {error.returncode})")
        return 1
    _say(f"{package} ({package.stat().st_size / 1e6:.1f} MB)")
    return 0


def debian_version(version: str) -> str:
    """A Python version in Debian's words: what comes before a release sorts before it there, too."""
    for before, after in ((".dev", "~~dev"), (".post", "+post"), ("rc", "~rc")):
        version = version.replace(before, after)
    digits = version.partition("~")[0]
    for letter in ("a", "b"):
        if letter in digits:
            version = version.replace(letter, f"~{letter}", 1)
    return version


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--extras",
        default="charts,documents,googleplay",
        help="Extras to include; default %(default)s.",
    )
    parser.add_argument("--constraint", type=Path, help="Versions of packages, as pip reads them.")
    parser.add_argument("--wheel", type=Path, help="Package this wheel instead of building one.")
    parser.add_argument("--output", type=Path, default=ROOT / "dist", help="Folder of the package.")
    parser.add_argument(
        "--work", type=Path, default=ROOT / "build" / "deb", help="Folder to work in; emptied."
    )
    parser.add_argument(
        "--python", type=Path, default=Path("/usr/bin/python3"), help="The distribution's Python."
    )
    parser.add_argument(
        "--compression",
        choices=("zstd", "xz"),
        default="zstd",
        help="zstd is quick; xz is smaller, takes minutes and is what Debian's own archive wants.",
    )
    asked = parser.parse_args(arguments)
    for tool, package in (("dpkg-deb", "dpkg"), ("dpkg-shlibdeps", "dpkg-dev")):
        if shutil.which(tool) is None:
            parser.error(f"{tool} is missing; install {package}")
    if not asked.python.exists():
        parser.error(f"{asked.python} is missing; install python3")
    return asked


def _epoch() -> int:
    """The moment that everything in the package bears."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given:
        return int(given)
    return int(_output(["git", "-C", ROOT, "log", "-1", "--format=%ct"]))


def _tools(work: Path, python: Path, environment: Mapping[str, str]) -> list[str | Path]:
    """A pip to build with, apart from what is packaged."""
    _run([python, "-m", "venv", work / "tools"], environment)
    return [work / "tools/bin/python", "-m", "pip", "--quiet", "--disable-pip-version-check"]


def _wheel(work: Path, pip: list[str | Path], environment: Mapping[str, str]) -> Path:
    _say("building the wheel")
    _run([*pip, "wheel", "--no-deps", "--wheel-dir", work / "wheel", ROOT], environment)
    return next((work / "wheel").glob("merkwacht-*.whl"))


def _environment(
    stage: Path,
    wheel: Path,
    asked: argparse.Namespace,
    pip: list[str | Path],
    environment: Mapping[str, str],
) -> None:
    """The virtual environment, as if it had been made at its place."""
    home = stage / PREFIX
    _run([asked.python, "-m", "venv", "--without-pip", home], environment)
    constraint = ["--constraint", asked.constraint] if asked.constraint else []
    wanted = f"merkwacht[{asked.extras}] @ {wheel.resolve().as_uri()}" if asked.extras else wheel
    _run(
        [*pip, "--python", home / "bin/python", "install", "--no-compile", "--no-warn-script-location",
         *constraint, wanted],
        environment,
    )  # fmt: skip
    for each in home.joinpath("bin").iterdir():
        if not each.name.startswith("python"):
            each.unlink()
    for folder in ("include", "share"):
        shutil.rmtree(home / folder, ignore_errors=True)
    entry = home / "bin/merkwacht"
    entry.write_text(ENTRY, encoding="utf-8")
    entry.chmod(0o755)
    home.joinpath("pyvenv.cfg").write_text(
        "home = /usr/bin\ninclude-system-site-packages = false\n"
        f"version = {'.'.join(str(part) for part in _python_version(asked.python))}\n",
        encoding="utf-8",
    )
    _mend_records(home)


def _mend_records(home: Path) -> None:
    """What pip wrote down of scripts that are gone, and of where the wheel lay, is of no use."""
    for record in home.glob("lib/python*/site-packages/*.dist-info/RECORD"):
        record.with_name("direct_url.json").unlink(missing_ok=True)
        site = record.parents[1]
        with record.open(encoding="utf-8", newline="") as source:
            rows = [row for row in csv.reader(source) if row and (site / row[0]).exists()]
        target = io.StringIO()
        csv.writer(target, lineterminator="\n").writerows(
            row for row in sorted(rows) if not row[0].startswith("..")
        )
        record.write_text(target.getvalue(), encoding="utf-8")


def _beside(stage: Path, environment: Mapping[str, str]) -> None:
    """What the package brings beside the environment."""
    documents = stage / "usr/share/doc/merkwacht"
    _copy(ROOT / "deploy/systemd/merkwacht.service", stage / "lib/systemd/system/merkwacht.service")
    _copy(HERE / "copyright", documents / "copyright")
    _copy(HERE / "lintian-overrides", stage / "usr/share/lintian/overrides/merkwacht")
    _copy(ROOT / "config.example.toml", documents / "examples/config.example.toml")
    for folder in ("prometheus", "grafana/dashboards", "grafana/provisioning"):
        for file in sorted((ROOT / "deploy" / folder).rglob("*")):
            if file.is_file() and ".test." not in file.name:
                _copy(file, documents / "examples" / file.relative_to(ROOT / "deploy"))
    _write(documents / "changelog.gz", (ROOT / "CHANGELOG.md").read_bytes(), compressed=True)
    _write(documents / "bundled.txt", "".join(_bundled(stage)).encode())
    command = stage / "usr/bin/merkwacht"
    command.parent.mkdir(parents=True)
    command.symlink_to(Path("/") / PREFIX / "bin/merkwacht")

    own = [
        stage / PREFIX / "bin/python",
        "-IB",
        "-c",
        "import sys; sys.argv[0] = 'merkwacht'; from monitor.cli import main; main()",
    ]
    users = "from monitor.service import sysusers; import sys; sys.stdout.write(sysusers())"
    _write(
        stage / "usr/lib/sysusers.d/merkwacht.conf",
        _output([*own[:-1], users], environment).encode(),
    )
    starter = _output([*own, "init", "--output", "-", "--brand", "Your Brand"], environment)
    _write(stage / "usr/share/merkwacht/config.toml", starter.encode())
    page = _output([*own, "manual"], environment)
    _write(stage / "usr/share/man/man1/merkwacht.1.gz", page.encode(), compressed=True)
    for shell, place in COMPLETIONS.items():
        asking = {**environment, "_MERKWACHT_COMPLETE": f"source_{shell}"}
        script = _output(own, asking).strip() + "\n"
        if shell == "zsh":
            # Loaded at the first TAB, and that one wants an answer, too.
            script += "\n_merkwacht_completion\n"
        _write(stage / place, script.encode())


def _news(stage: Path, version: str, epoch: int) -> None:
    """Debian's own changelog: this build; what changed stands in that of the project."""
    entry = (
        f"merkwacht ({version}) unstable; urgency=medium\n\n"
        "  * As the project released it: see changelog.gz beside this.\n\n"
        f" -- {_maintainer()}  {format_datetime(datetime.fromtimestamp(epoch, UTC))}\n"
    )
    target = stage / "usr/share/doc/merkwacht/changelog.Debian.gz"
    _write(target, entry.encode(), compressed=True)


def _bundled(stage: Path) -> Iterator[str]:
    """Each Python package in the environment: name, version, licence."""
    for metadata in sorted((stage / PREFIX).glob("lib/python*/site-packages/*.dist-info/METADATA")):
        about = HeaderParser().parsestr(metadata.read_text(encoding="utf-8"))
        licence = about.get("License-Expression") or about.get("License") or ""
        if not licence or "\n" in licence:
            classified = [
                each.rpartition(" :: ")[2]
                for each in about.get_all("Classifier", [])
                if each.startswith("License ::")
            ]
            licence = ", ".join(classified) or licence.partition("\n")[0]
        yield f"{about['Name']} {about['Version']} ({licence or 'see its dist-info folder'})\n"


def _compile(stage: Path, environment: Mapping[str, str]) -> None:
    """Byte code, since nobody may write beside the modules later. What is no Python 3 stays without."""
    home = stage / PREFIX
    command = [home / "bin/python", "-m", "compileall", "-qq", "-f", "-s", stage, "-p", "/"]
    subprocess.run(
        [*command, "--invalidation-mode", "timestamp", home / "lib"],
        env={key: value for key, value in environment.items() if key != "PYTHONDONTWRITEBYTECODE"},
        check=False,
    )


def _settle(stage: Path, epoch: int) -> None:
    """One moment, and the modes of files that everybody may read."""
    for path in sorted(stage.rglob("*"), reverse=True):
        if not path.is_symlink():
            mode = path.stat().st_mode
            runs = path.is_dir() or (mode & stat.S_IXUSR and ".so" not in path.suffixes)
            path.chmod(0o755 if runs else 0o644)
        os.utime(path, (epoch, epoch), follow_symlinks=False)


def _pack(
    stage: Path, version: str, asked: argparse.Namespace, environment: Mapping[str, str]
) -> Path:
    control = stage / "DEBIAN"
    control.mkdir(mode=0o755)
    architecture = _output(["dpkg", "--print-architecture"], environment).strip()
    files = [path for path in sorted(stage.rglob("*")) if path.is_file() and not path.is_symlink()]
    (control / "control").write_text(
        CONTROL.format(
            version=version,
            architecture=architecture,
            maintainer=_maintainer(),
            kilobytes=sum(-(-path.stat().st_size // 1024) for path in files),
            depends=", ".join(_depends(stage, asked, environment)),
        ),
        encoding="utf-8",
    )
    (control / "md5sums").write_text(
        "".join(f"{_md5(path)}  {path.relative_to(stage)}\n" for path in files), encoding="utf-8"
    )
    for script in ("postinst", "prerm", "postrm"):
        shutil.copyfile(HERE / script, control / script)
        (control / script).chmod(0o755)
    asked.output.mkdir(parents=True, exist_ok=True)
    package: Path = asked.output / f"merkwacht_{version}_{architecture}.deb"
    _say("packing")
    packing = ["dpkg-deb", "--root-owner-group", f"-Z{asked.compression}", "--build"]
    _run([*packing, stage, package], environment)
    return package


def _depends(
    stage: Path, asked: argparse.Namespace, environment: Mapping[str, str]
) -> Iterator[str]:
    """Python as it was built for, system libraries that the binaries ask for, and what scripts call."""
    major, minor, _ = _python_version(asked.python)
    yield f"python3 (>= {major}.{minor})"
    yield f"python3 (<< {major}.{minor + 1})"
    yield "ca-certificates"
    yield "systemd | systemd-standalone-sysusers | systemd-sysusers"
    libraries = sorted((stage / PREFIX).rglob("*.so*"))
    own = sorted({path.parent for path in libraries})
    # dpkg-shlibdeps wants to stand in a source package.
    about = stage.parent / "debian/control"
    about.parent.mkdir(exist_ok=True)
    about.write_text(
        "Source: merkwacht\n\nPackage: merkwacht\nArchitecture: any\n", encoding="utf-8"
    )
    found = subprocess.run(
        ["dpkg-shlibdeps", "-O", "--ignore-missing-info", "--warnings=0",
         *(f"-l{folder}" for folder in own), *(f"-e{path}" for path in libraries)],
        cwd=stage.parent, env=dict(environment), check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    yield found.strip().removeprefix("shlibs:Depends=")


def _maintainer() -> str:
    name, address = os.environ.get("DEBFULLNAME"), os.environ.get("DEBEMAIL")
    return f"{name} <{address}>" if name and address else MAINTAINER


def _python_version(python: Path) -> tuple[int, int, int]:
    said = _output([python, "-c", "import sys; print(*sys.version_info[:3])"])
    major, minor, micro = (int(part) for part in said.split())
    return major, minor, micro


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def _copy(source: Path, target: Path) -> None:
    _write(target, source.read_bytes())


def _write(target: Path, content: bytes, *, compressed: bool = False) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(gzip.compress(content, 9, mtime=0) if compressed else content)


def _run(command: Sequence[str | Path], environment: Mapping[str, str]) -> None:
    subprocess.run([str(word) for word in command], env=dict(environment), check=True)


def _output(command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> str:
    return subprocess.run(
        [str(word) for word in command],
        env=dict(environment) if environment else None,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    raise SystemExit(main())
