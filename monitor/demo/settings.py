"""The demo's configuration file: written for each run, since its servers take free ports."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

TIMEZONE = "Europe/Amsterdam"
QUICK_SECONDS = 300
SLOW_SECONDS = 1800
SLOW_PLATFORMS = frozenset({"news", "instagram", "linkedin", "mastodon"})
"""Where little is said of the brand, so that a poll every half hour will do."""

# Plain text: nothing that is put in came from outside.
_TEMPLATES = Environment(
    loader=PackageLoader("monitor.demo", "templates"),
    autoescape=False,  # noqa: S701 - TOML, not HTML
    undefined=StrictUndefined,
    keep_trailing_newline=True,
)


def write_settings(
    path: Path, *, url: str, token: str, smtp_port: int, platforms: tuple[str, ...]
) -> None:
    """Write the configuration.

    Args:
        path: of the file.
        url: of the server that plays the sources.
        token: the bearer token that its search wants.
        smtp_port: of the mail server on 127.0.0.1.
        platforms: those that have a feed.

    Raises:
        OSError: the file cannot be written.
    """
    feeds = {
        platform: SLOW_SECONDS if platform in SLOW_PLATFORMS else QUICK_SECONDS
        for platform in platforms
    }
    text = _TEMPLATES.get_template("config.toml").render(
        timezone=TIMEZONE, url=url, token=token, smtp_port=smtp_port, feeds=feeds
    )
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
