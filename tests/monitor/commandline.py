"""Runs ``merkwacht …`` as a process of its own, without paying for its start each time.

A server that has imported the program once forks a process for each command: it has its own streams,
folder and environment and ends with its own exit status, as if a shell had started it. What matters only
at a real start (the entry point, signals, closed streams) is shown by real starts in test_cli.py.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path

WAIT_SECONDS = 100
_IMPORTED_ONCE = ["monitor.cli", "monitor.app", "monitor.rehearsing", "classifiers.embedded"]


def merkwacht(
    *arguments: str, given: str = "", folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command with ``given`` as its input in ``folder``, and return what it said."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_IMPORTED_ONCE)
    environment = {key: value for key, value in os.environ.items() if key != "MERKWACHT_CONFIG"}
    with tempfile.TemporaryDirectory() as made:
        streams = [Path(made, name) for name in ("stdin", "stdout", "stderr")]
        for stream in streams:
            stream.touch()
        streams[0].write_text(given, encoding="utf-8")
        process = context.Process(
            target=_command, args=(arguments, streams, folder or Path.cwd(), environment)
        )
        process.start()
        process.join(WAIT_SECONDS)
        if process.exitcode is None:
            process.kill()
            process.join()
        output, errors = (stream.read_text(encoding="utf-8") for stream in streams[1:])
        status = process.exitcode
        process.close()
    if status is None or status < 0:
        raise TimeoutError(f"merkwacht {' '.join(arguments)} did not end: {errors}")
    return subprocess.CompletedProcess(["merkwacht", *arguments], status, output, errors)


def _command(
    arguments: tuple[str, ...], streams: list[Path], folder: Path, environment: dict[str, str]
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    for number, (path, flags) in enumerate(
        zip(streams, (os.O_RDONLY, os.O_WRONLY, os.O_WRONLY), strict=True)
    ):
        opened = os.open(path, flags)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - a descriptor, for good
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    os.chdir(folder)
    sys.argv = ["merkwacht", *arguments]
    from monitor.cli import main

    main()
