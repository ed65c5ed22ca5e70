"""Text in pictures, read for real: needs the extra ``vision``, which is not part of ``dev``."""

from __future__ import annotations

import io
from typing import Any

import pytest

from classifiers.vision import PictureError, PictureReader

pytest.importorskip("rapidocr")
Image = pytest.importorskip("PIL.Image")


def drawn(text: str, *, size: int = 30, mode: str = "RGB", kind: str = "PNG") -> bytes:
    """A picture of a text, as a screenshot shows it."""
    from PIL import ImageDraw, ImageFont

    picture = Image.new(mode, (1_000, 400), "white" if mode == "RGB" else None)
    ink: Any = "black" if mode == "RGB" else (0, 0, 0, 255)
    font = ImageFont.load_default(size)
    ImageDraw.Draw(picture).multiline_text((30, 30), text, fill=ink, font=font, spacing=12)
    out = io.BytesIO()
    picture.save(out, kind)
    return out.getvalue()


@pytest.fixture(scope="module")
def reader() -> PictureReader:
    return PictureReader(threads=2)


def test_a_dutch_list_is_read_with_its_numbers_and_its_spaces(reader: PictureReader) -> None:
    text = reader.read(drawn("VERTROUWELIJK\nalleen voor intern gebruik\nNL91 ABNA 0417 1643 00"))
    lines = text.splitlines()
    assert lines[:2] == ["VERTROUWELIJK", "alleen voor intern gebruik"]
    assert lines[2].replace(" ", "") == "NL91ABNA0417164300"


def test_english_in_a_photo_format_is_read(reader: PictureReader) -> None:
    text = reader.read(drawn("Confidential: do not share outside", kind="JPEG"))
    assert text == "Confidential: do not share outside"


def test_black_letters_on_a_transparent_ground_are_read(reader: PictureReader) -> None:
    assert "Confidential" in reader.read(drawn("Confidential", mode="RGBA"))


def test_a_picture_without_text_says_nothing(reader: PictureReader) -> None:
    assert reader.read(drawn("")) == ""


def test_an_icon_is_not_looked_at(reader: PictureReader) -> None:
    out = io.BytesIO()
    Image.new("RGB", (16, 16)).save(out, "PNG")
    assert reader.read(out.getvalue()) == ""


def bomb() -> bytes:
    out = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize("kind", ["nothing", "html", "cut off", "svg", "tiff", "bomb"])
def test_what_is_no_picture_is_refused(reader: PictureReader, kind: str) -> None:
    tiff = io.BytesIO()
    Image.new("RGB", (100, 100)).save(tiff, "TIFF")
    data = {
        "nothing": b"",
        "html": b"<!doctype html><html>",
        "cut off": drawn("Confidential")[:-2_000],
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        "tiff": tiff.getvalue(),
        "bomb": bomb(),
    }[kind]
    with pytest.raises(PictureError):
        reader.read(data)
