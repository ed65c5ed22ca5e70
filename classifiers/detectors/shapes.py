"""Shapes of keys: one short notation for both the pattern that finds and the example that proves.

``ghp_{a:36}`` is the text ``ghp_`` and 36 letters or digits. Written as shapes, no rule file holds
anything that looks like a key: scanners that guard this repository, or yours, stay quiet.

===== ============================ ===== ==============================
``d`` digits                       ``w`` letters, digits, ``_ -``
``h`` lower-case hexadecimal       ``p`` letters, digits, ``+ /``
``x`` hexadecimal                  ``q`` letters, digits, ``= _ -``
``a`` letters, digits              ``s`` letters, digits, ``= _ - .``
``k`` lower-case letters, digits   ``z`` letters
``K`` upper-case letters, digits   ``B`` base32: ``A-Z 2-7``
``t`` as ``w``, and ``. ~``
===== ============================ ===== ==============================

``{a:20}`` is exactly twenty, ``{a:20-60}`` twenty to sixty; ``{uuid}`` is a UUID.
"""

from __future__ import annotations

import random
import re
import string
from typing import Final

_SETS: Final = {
    "d": (r"[0-9]", string.digits),
    "h": (r"[0-9a-f]", "0123456789abcdef"),
    "x": (r"[0-9a-fA-F]", "0123456789abcdefABCDEF"),
    "a": (r"[A-Za-z0-9]", string.ascii_letters + string.digits),
    "k": (r"[a-z0-9]", string.ascii_lowercase + string.digits),
    "K": (r"[A-Z0-9]", string.ascii_uppercase + string.digits),
    "w": (r"[A-Za-z0-9_-]", string.ascii_letters + string.digits),
    "p": (r"[A-Za-z0-9+/]", string.ascii_letters + string.digits),
    "q": (r"[A-Za-z0-9=_-]", string.ascii_letters + string.digits),
    "s": (r"[A-Za-z0-9=_.-]", string.ascii_letters + string.digits),
    "t": (r"[A-Za-z0-9_.~-]", string.ascii_letters + string.digits),
    "z": (r"[A-Za-z]", string.ascii_letters),
    "B": (r"[A-Z2-7]", string.ascii_uppercase + "234567"),
}
_UUID: Final = "{h:8}-{h:4}-{h:4}-{h:4}-{h:12}"
_SLOT: Final = re.compile(r"\{([a-zA-Z]):(\d+)(?:-(\d+))?\}")


def pattern(shape: str) -> str:
    """Return the regular expression of ``shape``, without any boundary around it.

    Raises:
        ValueError: the shape names a set of characters that does not exist.
    """
    parts: list[str] = []
    done = 0
    shape = shape.replace("{uuid}", _UUID)
    for slot in _SLOT.finditer(shape):
        kind, least, most = slot.groups()
        if kind not in _SETS:
            raise ValueError(f"shape {shape!r}: no such set of characters as {kind!r}")
        parts.append(re.escape(shape[done : slot.start()]))
        parts.append(f"{_SETS[kind][0]}{{{least}{',' + most if most else ''}}}")
        done = slot.end()
    parts.append(re.escape(shape[done:]))
    return "".join(parts)


def example(text: str, *, seed: str) -> str:
    """Return ``text`` with its shapes filled in; the same ``seed`` gives the same text."""
    chance = random.Random(seed)  # noqa: S311  examples, nothing to guard

    def fill(slot: re.Match[str]) -> str:
        return "".join(chance.choices(_SETS[slot[1]][1], k=int(slot[2])))

    return _SLOT.sub(fill, text.replace("{uuid}", _UUID))
