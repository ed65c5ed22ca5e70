"""How often words were used, of a vocabulary that never ends, in memory that never grows.

A list of the latest words forgets the ordinary ones of a lively brand within days, and they look new
when they come back. So words share cells: each has one in every row, and the least of its cells is its
count. That is never too small, and too large only by what other words brought to all of its cells
(a count-min sketch with conservative update).
"""

from __future__ import annotations

import sys
import zlib
from array import array
from base64 import b64decode, b64encode
from functools import lru_cache
from hashlib import blake2b

import numpy as np

_ROWS = 2
_WIDTH = 8192
"""Cells of a row: two bytes each."""
_MOST = 0xFFFF
_KNOWN = 32768
"""Words whose cells are kept at hand."""
_FORMAT = "H"


class WordCounts:
    """Counts words."""

    def __init__(self) -> None:
        self._cells = array(_FORMAT, bytes(2 * _ROWS * _WIDTH))
        self._fades = 0

    def add(self, word: str) -> None:
        """Count one use of a word."""
        cells = self._cells
        one, other = _places(word)
        least = min(cells[one], cells[other])
        if least < _MOST:
            cells[one] = max(cells[one], least + 1)
            cells[other] = max(cells[other], least + 1)

    def count(self, word: str) -> int:
        """How often a word was used, never too small."""
        one, other = _places(word)
        return min(self._cells[one], self._cells[other])

    def fade(self) -> None:
        """Let every use so far count half. Odd counts are rounded up and down in turn."""
        self._fades += 1
        counts = np.frombuffer(self._cells, dtype=np.uint16).astype(np.uint32)
        counts[(self._fades + 1) % 2 :: 2] += 1
        self._cells = array(_FORMAT, (counts // 2).astype(np.uint16).tobytes())

    def snapshot(self) -> list[str | int]:
        """All that was counted, for :meth:`load`: JSON, at most about 40,000 characters."""
        packed = zlib.compress(_little(self._cells).tobytes(), 1)
        return [b64encode(packed).decode("ascii"), self._fades]

    def load(self, snapshot: list[str | int]) -> None:
        """Continue where :meth:`snapshot` was taken.

        Raises:
            ValueError: it is no snapshot.
        """
        packed, fades = snapshot
        try:
            cells = array(_FORMAT, zlib.decompress(b64decode(str(packed), validate=True)))
        except zlib.error as error:
            raise ValueError("the counts of the words are damaged: learn them anew") from error
        if len(cells) != _ROWS * _WIDTH:
            raise ValueError(f"{len(cells)} cells of words are not {_ROWS * _WIDTH}")
        self._cells, self._fades = _little(cells), int(fades)


@lru_cache(maxsize=_KNOWN)
def _places(word: str) -> tuple[int, int]:
    """The cells of a word: one in each row."""
    number = int.from_bytes(blake2b(word.encode("utf-8", "surrogatepass"), digest_size=4).digest())
    return number % _WIDTH, _WIDTH + number // _WIDTH % _WIDTH


def _little(cells: array[int]) -> array[int]:
    """The same with the least byte first, whatever the machine; and back."""
    if sys.byteorder == "little":
        return cells
    turned = array(_FORMAT, cells)
    turned.byteswap()
    return turned
