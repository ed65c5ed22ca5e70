"""Text in pictures: what a photo of a list or a screenshot says, so that it can be judged as text.

Needs the extra ``vision`` (rapidocr, on the ONNX Runtime that the embedded model uses; its models
come with the package). A picture is decoded, read and let go; nothing is kept of it but the text.
"""

from __future__ import annotations

import io
import logging
from importlib.util import find_spec
from threading import Lock
from typing import Any, Final

from connectors.plaintext import clean

MISSING: Final = "needs the extra vision: pip install 'merkwacht[vision]'"
LONGEST_TEXT: Final = 10_000
"""Characters of one picture that are kept."""

_FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF")
_MOST_PIXELS: Final = 50_000_000
_LONGEST_SIDE: Final = 2_000
"""Pixels. What is larger is scaled down: time grows with the area, and screens are no larger."""

_LEAST_SIDE: Final = 40
"""Smaller ones are icons and pixels that count visitors."""


class PictureError(Exception):
    """What was fetched is no picture that can be read; the message says why."""


def is_installed() -> bool:
    """Whether the extra is there."""
    return find_spec("rapidocr") is not None


class PictureReader:
    """Reads text out of pictures. Its models are loaded with the first one.

    Args:
        threads: of the processor.

    Raises:
        ModelError: the extra is not installed.
    """

    def __init__(self, *, threads: int = 1) -> None:
        if not is_installed():
            # Imported here: what only asks whether the extra is there needs no model.
            from classifiers.embedded import ModelError  # noqa: PLC0415 - lazy

            raise ModelError(f"classifiers.vision {MISSING}")
        self._threads = threads
        self._engine: Any = None
        self._lock = Lock()

    def read(self, data: bytes) -> str:
        """Give the text in a picture, line by line from the top; "" for none.

        Raises:
            PictureError: it is no picture, or one that is larger or stranger than we read.
        """
        pixels = _decode(data)
        if pixels is None:
            return ""
        with self._lock:
            found = self._loaded()(pixels)
        lines = found.txts or ()
        return clean("\n".join(str(line) for line in lines))[:LONGEST_TEXT]

    def _loaded(self) -> Any:
        if self._engine is None:
            # Imported here: half a second and 300 MB that only users of the extra should pay.
            from rapidocr import RapidOCR  # noqa: PLC0415 - lazy

            self._engine = RapidOCR(
                params={
                    "Global.log_level": "critical",
                    "Global.max_side_len": _LONGEST_SIDE,
                    "EngineConfig.onnxruntime.intra_op_num_threads": self._threads,
                    "EngineConfig.onnxruntime.inter_op_num_threads": 1,
                }
            )
            logging.getLogger("RapidOCR").setLevel(logging.CRITICAL)
        return self._engine


def _decode(data: bytes) -> Any:
    """The pixels as rapidocr wants them; None for what is too small to show a text."""
    import numpy as np  # noqa: PLC0415 - with the extra
    from PIL import Image  # noqa: PLC0415 - comes with the extra

    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
            width, height = picture.size
            if width * height > _MOST_PIXELS:
                raise PictureError(f"a picture of {width} by {height} pixels is too large")
            if min(width, height) < _LEAST_SIDE:
                return None
            picture.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
            plain = picture.convert("RGBA")
            # Letters on a transparent ground are most often dark: shown on white, as apps do.
            ground = Image.new("RGBA", plain.size, "white")
            ground.alpha_composite(plain)
            return np.asarray(ground.convert("RGB"))[:, :, ::-1].copy()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise PictureError(f"no picture that can be read ({type(error).__name__})") from error
