"""``init``: a configuration to start from."""

from __future__ import annotations

import json
import re
from importlib import resources
from urllib.parse import urlencode

from monitor.config import NAME_PATTERN


def starter(brand: str, language: str) -> str:
    """The text of a commented configuration that ``check`` accepts.

    Raises:
        ValueError: the brand cannot be a name.
    """
    name = " ".join(brand.split())
    plain = re.sub(r"[^A-Za-z0-9 ._-]", "-", name.encode("ascii", "replace").decode())
    plain = plain.lstrip(" ._-")[:64].rstrip()
    if not re.fullmatch(NAME_PATTERN, plain):
        raise ValueError(f'"{brand}" has no letter or digit that a name could begin with')
    phrase = re.sub(r"[\"\\\x00-\x1f]", " ", name).strip()
    feed = "https://news.google.com/rss/search?" + urlencode({"q": f'"{phrase}"', "hl": language})
    text = (resources.files("monitor.commands") / "starter.toml").read_text(encoding="utf-8")
    values = {
        "@LANGUAGE@": language,
        "@NAME@": json.dumps(plain),
        "@QUERY@": json.dumps(f'"{phrase}"', ensure_ascii=False),
        "@FEED@": json.dumps(feed),
    }
    for mark, value in values.items():
        text = text.replace(mark, value)
    return text
