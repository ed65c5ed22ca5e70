"""The command line: exit statuses, streams, and words that help."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.monitor.commandline import merkwacht

MERKWACHT = [sys.executable, "-c", "from monitor.cli import main; main()"]
ROOT = Path(__file__).parent.parent.parent
VALID = Path(__file__).parent / "config" / "valid.toml"


def test_init_writes_what_check_accepts(tmp_path: Path) -> None:
    for brand, language in (("Zonnehoek", "nl"), ("Café 't Hoekje", "en"), ('A "B" \\ C', "nl")):
        done = merkwacht(
            "init", "--brand", brand, "--language", language, "--force", folder=tmp_path
        )
        assert done.returncode == 0, done.stderr
        assert "merkwacht check" in done.stderr
        checked = merkwacht("check", folder=tmp_path)
        assert checked.returncode == 0, checked.stderr


def test_init_does_not_overwrite(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("mine")
    done = merkwacht("init", folder=tmp_path)
    assert done.returncode == 2
    assert "exists already" in done.stderr
    assert (tmp_path / "config.toml").read_text() == "mine"


def test_check_names_each_problem_on_its_line(tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(VALID.read_text().replace('["team"]', '["tea"]').replace('"rss"', '"rsss"'))
    done = merkwacht("check", "--config", str(file))
    assert done.returncode == 2
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    assert all(line.startswith(f"{file}: ") for line in lines)


def test_a_missing_configuration_says_how_to_make_one(tmp_path: Path) -> None:
    done = merkwacht("run", folder=tmp_path)
    assert done.returncode == 2
    assert "merkwacht init" in done.stderr
    assert "Traceback" not in done.stderr


def test_match_prints_what_matched() -> None:
    lines = [
        {"id": "1", "text": "Acme is top"},
        {"id": "2", "text": "Main Street is dicht"},
        {"id": "3", "text": "#ACME bezorgt"},
    ]
    given = "\n".join(map(json.dumps, lines)) + "\nnot json\n"
    done = merkwacht("match", "--query", "acme", given=given)
    assert done.returncode == 1
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [item["id"] for item in found] == ["1", "3"]
    assert found[0]["matched"] == ["acme"]
    bad, count = done.stderr.splitlines()
    assert json.loads(bad)["line"] == 4
    assert count == "2 of 3 posts match"


def test_match_explains_what_every_source_is_asked() -> None:
    done = merkwacht("match", "--explain", "-q", 'zonnehoek AND (lek* OR "brand in")')
    assert done.returncode == 0
    assert "all of:" in done.stdout
    assert "On X, searched as: zonnehoek\n  wider, the rest is matched here: lek*" in done.stdout
    assert "On mastodon, searched as: #zonnehoek; zonnehoek\n" in done.stdout
    assert 'On reddit, searched as: "zonnehoek"\n' in done.stdout
    done = merkwacht("match", "--explain", "-q", "zon*ehoek OR maanhoek")
    assert "On bluesky, searched as: maanhoek\n  not found on bluesky: zon*ehoek" in done.stdout
    assert "On hackernews, searched as: zon*; maanhoek" in done.stdout
    assert "On reddit: it has no wildcards." in done.stdout


def test_match_shows_where_a_query_is_wrong() -> None:
    done = merkwacht("match", "--query", "acme AND (", given="")
    assert done.returncode == 2
    assert "^" in done.stderr


def test_classify_writes_one_object_a_line_in_order() -> None:
    given = (
        '{"id": "a", "text": "Geweldige winkel, heel blij mee!", "lang": "nl"}\n'
        '{"id": 7}\n'
        "[]\n"
        '{"id": "b", "text": "worst service ever, I am furious"}\n'
        '{"id": "c", "text": ""}'
    )
    done = merkwacht("classify", given=given)
    assert done.returncode == 1
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["id"] for answer in answers] == ["a", "b", "c"]
    assert [json.loads(line)["line"] for line in done.stderr.splitlines()] == [2, 3]
    first = answers[0]
    assert set(first) == {"id", "language", "sentiment", "leak", "abuse"}
    assert first["language"] == "nl"
    assert set(first["sentiment"]["scores"]) == {"negative", "neutral", "positive"}
    assert abs(sum(first["sentiment"]["scores"].values()) - 1) < 0.01
    assert set(first["leak"]) == {
        "escalate",
        "band",
        "score",
        "category",
        "likely",
        "why",
        "findings",
    }
    assert set(first["abuse"]) == {"label", "score"}
    assert first["sentiment"]["label"] == "positive"
    assert answers[1]["sentiment"]["label"] == "negative"


def test_classify_takes_a_byte_order_mark_and_refuses_odd_ids() -> None:
    given = (
        '\ufeff{"id": "a", "text": "hallo"}\n{"id": 1e400, "text": "x"}\n{"id": true, "text": "x"}\n'
        '{"text": "zonder id"}\n{"id": 5, "text": "vijf"}\n'
    )
    done = merkwacht("classify", given=given)
    assert done.returncode == 1
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == ["a", "line-4", 5]
    assert [json.loads(line)["line"] for line in done.stderr.splitlines()] == [2, 3]


def test_a_closed_stream_is_an_empty_one() -> None:
    shell = f"exec {sys.executable} -c 'from monitor.cli import main; main()' match -q acme <&-"
    done = subprocess.run(
        ["bash", "-c", shell],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "0 of 0 posts match\n")


def test_a_full_disk_is_said_in_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*MERKWACHT, "match", "-q", "acme", "--plain"],
            input="acme\n" * 5000,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "merkwacht: No space left on device"
    assert "Traceback" not in done.stderr


def test_classify_reads_plain_lines() -> None:
    done = merkwacht("classify", "--plain", given="wat een fijne dag\n\nniet leuk\n")
    assert done.returncode == 0
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == ["1", "3"]


def test_spikes_reads_and_writes_csv() -> None:
    rows = "".join(
        f"2026-11-{1 + n // 288:02d} {n // 12 % 24:02d}:{n % 12 * 5:02d}:00,5\n" for n in range(900)
    )
    burst = "".join(f"2026-11-04 03:{minute:02d}:00,90\n" for minute in (0, 5, 10))
    done = merkwacht("spikes", "--bucket", "5m", given=f"timestamp,value\n{rows}{burst}")
    assert done.returncode == 0, done.stderr
    written = list(csv.DictReader(io.StringIO(done.stdout)))
    assert len(written) == 903
    assert list(written[0]) == ["timestamp", "value", "expected", "score", "alert"]
    rang = [row["timestamp"] for row in written if row["alert"] == "1"]
    assert rang == ["2026-11-04 03:05:00"], "a burst rings once, a single bucket never"


def test_spikes_refuses_an_odd_bucket() -> None:
    done = merkwacht("spikes", "--bucket", "5 bananas", given="")
    assert done.returncode == 2
    assert "5m" in done.stderr


POSTS = [
    {
        "id": f"zh-{number}",
        "source": "x",
        "url": f"https://x.example.com/{number}",
        "author": "piet",
        "author_followers": 3,
        "published_at": f"2026-11-09T0{number}:00:00+01:00",
        "lang": "nl",
        "text": text,
        "likes": 1,
        "shares": 0,
        "replies": 0,
    }
    for number, text in enumerate(
        ["acme is fijn", "iets anders", "=ACME() in een cel", "geen merk"]
    )
]


def test_what_is_imported_is_exported_once(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(VALID.read_text())
    lines = "".join(json.dumps(post) + "\n" for post in POSTS)
    (tmp_path / "posts.jsonl").write_text(lines + '{"id": 1}\n')
    for new in (2, 0):
        done = merkwacht("import", "posts.jsonl", folder=tmp_path)
        assert done.returncode == 1
        assert json.loads(done.stderr.splitlines()[0])["line"] == 5
        assert f"2 mentions, {new} new, 1 unreadable" in done.stderr

    done = merkwacht("export", folder=tmp_path)
    assert done.returncode == 0
    out = [json.loads(line) for line in done.stdout.splitlines()]
    assert [item["id"] for item in out] == ["zh-0", "zh-2"]
    assert out[0]["author"] != "piet"
    assert out[0]["assessment"]["sentiment"]["label"] in ("negative", "neutral", "positive")

    done = merkwacht("export", "--since", "2026-11-09T01:30", "--format", "csv", folder=tmp_path)
    (row,) = csv.DictReader(io.StringIO(done.stdout))
    assert row["text"] == "'=ACME() in een cel"
    assert (row["leak_band"], row["leak_likely"]) == ("low", "none")

    (tmp_path / "kept.parquet").write_text("mine")
    done = merkwacht("export", "--output", "nowhere/x.csv", folder=tmp_path)
    assert done.returncode == 1
    assert "No such file or directory" in done.stderr
    assert "Traceback" not in done.stderr

    done = merkwacht("export", "--since", "yesterday", folder=tmp_path)
    assert done.returncode == 2


def test_run_once_lists_what_failed(tmp_path: Path) -> None:
    text = VALID.read_text().replace("https://news.example.com/feed", "http://127.0.0.1:9/feed")
    (tmp_path / "config.toml").write_text(text)
    done = merkwacht("run", "--once", folder=tmp_path)
    assert done.returncode == 1
    assert "failed: source news: " in done.stderr
    assert "private" in done.stderr
    assert "allow_private_addresses" in done.stderr


def test_incidents_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(VALID.read_text())
    done = merkwacht("incidents", "list", folder=tmp_path)
    assert done.returncode == 1
    assert "start the daemon once" in done.stderr
    merkwacht("import", "posts.jsonl", folder=tmp_path)
    (tmp_path / "posts.jsonl").write_text("")
    merkwacht("import", "posts.jsonl", folder=tmp_path)
    assert merkwacht("incidents", "list", folder=tmp_path).stdout == "No incidents yet.\n"
    done = merkwacht("incidents", "ack", "5", "--by", "Anna", folder=tmp_path)
    assert done.returncode == 1
    assert "there is no incident 5" in done.stderr


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.timeout(90)
def test_the_daemon_says_when_it_is_ready_and_ends_in_order(tmp_path: Path) -> None:
    port = _free_port()
    posts = tmp_path / "posts.jsonl"
    posts.write_text(json.dumps(POSTS[0]) + "\n")
    text = (
        VALID.read_text()
        .replace('kind = "rss"', 'kind = "file"')
        .replace('url = "https://news.example.com/feed"', f'path = "{posts}"')
    )
    (tmp_path / "config.toml").write_text(f"{text}\n[http]\nport = {port}\n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(tmp_path / "notify"))
        notify.settimeout(60)
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "NOTIFY_SOCKET": str(tmp_path / "notify"),
        }
        daemon = subprocess.Popen(
            [*MERKWACHT, "run"], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
        )
        try:
            assert notify.recv(4096).decode().startswith("READY=1")
            assert urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz").status == 200
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
                metrics = answer.read().decode()
            assert 'merkwacht_polls_total{outcome="ok",source="news"}' in metrics
            assert "WATCHDOG=1" in notify.recv(4096).decode()

            (tmp_path / "config.toml").write_text("nonsense")
            daemon.send_signal(signal.SIGHUP)
            assert notify.recv(4096).decode().startswith("RELOADING=1")
            assert "refused" in notify.recv(4096).decode()

            began = time.monotonic()
            daemon.send_signal(signal.SIGTERM)
            _, log = daemon.communicate(timeout=30)
        finally:
            daemon.kill()
    assert daemon.returncode == 0
    assert time.monotonic() - began < 15
    assert "reload_refused" in log
    assert "stopped" in log
    assert "Traceback" not in log
    assert (tmp_path / "merkwacht.db").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "merkwacht.db.key").stat().st_mode & 0o777 == 0o600
