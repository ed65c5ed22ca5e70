from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from connectors.opml import ListedFeed
from monitor.cli import app
from monitor.commands.feeds import tables
from monitor.config import parse

EXAMPLE = Path(__file__).parents[2] / "config.example.toml"
LIST = """<opml version="2.0"><body>
  <outline text="Kranten">
    <outline text="De Bode: &quot;nieuws&quot;" xmlUrl="https://bode.example/feed?q=%22a%22"/>
    <outline text="De Bode: nieuws!" xmlUrl="https://bode.example/other"/>
    <outline text="☃" xmlUrl="https://www.sneeuw.example/feed"/>
  </outline>
  <outline text="regional news" xmlUrl="https://news.example.com/feed.xml"/>
  <outline text="Regional News" xmlUrl="https://elders.example/"/>
  <outline text="nog eens" xmlUrl="https://elders.example/#"/>
</body></opml>"""


def test_a_list_becomes_tables_that_the_configuration_takes(tmp_path: Path) -> None:
    (tmp_path / "feeds.opml").write_text(LIST)
    config = tmp_path / "config.toml"
    config.write_text(EXAMPLE.read_text())
    ran = CliRunner().invoke(
        app, ["feeds", "import", str(tmp_path / "feeds.opml"), "--config", str(config)]
    )
    assert ran.exit_code == 0
    added = tomllib.loads(ran.stdout)["sources"]
    assert [(one["name"], one["url"]) for one in added] == [
        ("De Bode nieuws", "https://bode.example/feed?q=%22a%22"),
        ("De Bode nieuws 2", "https://bode.example/other"),
        ("sneeuw.example", "https://www.sneeuw.example/feed"),
        ("Regional News 2", "https://elders.example/"),
    ]
    assert "# Kranten" in ran.stdout
    assert "4 new feeds, 1 in the configuration already, 1 more than once" in ran.stderr
    parse(config.read_text() + ran.stdout, config)


def test_without_a_configuration_every_feed_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MERKWACHT_CONFIG", raising=False)
    (tmp_path / "feeds.opml").write_text(LIST)
    ran = CliRunner().invoke(app, ["feeds", "import", "feeds.opml"])
    assert len(tomllib.loads(ran.stdout)["sources"]) == 5


@pytest.mark.parametrize(
    "content", [b"<html/>", b"\x00\x01", b"<!DOCTYPE a [<!ENTITY b 'c'>]><opml/>"]
)
def test_what_is_no_list_is_refused_with_its_name(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "feeds.opml"
    file.write_bytes(content)
    ran = CliRunner().invoke(app, ["feeds", "import", str(file), "--config", str(EXAMPLE)])
    assert (ran.exit_code, ran.stdout) == (1, "")
    assert "feeds.opml" in ran.stderr


def test_a_feed_without_an_address_is_told_and_ends_in_failure(tmp_path: Path) -> None:
    file = tmp_path / "feeds.opml"
    file.write_text('<opml><body><outline text="Oud" xmlUrl="gopher://a"/></body></opml>')
    ran = CliRunner().invoke(app, ["feeds", "import", str(file), "--config", str(EXAMPLE)])
    assert ran.exit_code == 1
    assert "no address on the web: Oud" in ran.stderr


def test_names_are_free_and_short_enough_however_many_feeds_share_one() -> None:
    feeds = [ListedFeed(f"https://a.example/{n}", "x" * 90) for n in range(12)]
    blocks = [tomllib.loads(block)["sources"][0]["name"] for block in tables(feeds, [])]
    assert len(set(blocks)) == 12
    assert all(len(name) <= 64 for name in blocks)
