"""Reads the text of documents and the rows of lists from files.

What the libraries of the extra ``documents`` are for is imported when such a file is read. A file that
cannot be read says what is wrong with it and what to do, never what is in it.
"""

from __future__ import annotations

import csv
import io
import logging
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, time
from html.parser import HTMLParser
from pathlib import Path
from typing import IO, Any, Final

MOST_BYTES: Final = 200_000_000
_MOST_UNPACKED: Final = 1_000_000_000
"""Bytes that an office file may unpack to: what blows up further is no document."""
_LONGEST_CELL: Final = 10_000_000
_OLE: Final = b"\xd0\xcf\x11\xe0"
"""How old Office files begin, and new ones with a password."""
_WITH_WORDS: Final = tuple(
    f"wordprocessingml.{part}+xml"
    for part in ("document.main", "header", "footer", "footnotes", "endnotes", "comments")
)
"""Parts of a docx that hold what people wrote."""
_LIKELY_BINARY: Final = 0.02
_DAMAGED: Final = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
"""What libraries raise over files that are damaged, or not what they seem to be."""


class ReadError(Exception):
    """A file cannot be read; the message says why and what to do."""


def read_text(path: Path) -> str:
    """Return the text of a document.

    Raises:
        ReadError: an unknown, empty, huge, broken, protected or scanned file, or a missing library.
    """
    reader = _TEXT_READERS.get(_kind(path))
    if reader is None:
        raise ReadError(
            f"{path.suffix or 'files without a suffix'}: not a kind that is read "
            f"({', '.join(sorted(_TEXT_READERS))}); save it as one of these, as PDF for example"
        )
    with _readable(path):
        text = reader(path)
    if not text.strip():
        raise ReadError("holds no text")
    return text


def read_rows(path: Path, columns: Sequence[str] = ()) -> list[tuple[int, list[str]]]:
    """Return the rows of a list: number of the line, and its cells.

    Args:
        path: of a ``.txt`` (one entry a line), ``.csv``, ``.tsv`` or ``.xlsx`` file.
        columns: names in the first row, or numbers from 1; none: the only column.

    Raises:
        ReadError: as :func:`read_text`, or a column is not there or must be chosen.
    """
    kind = _kind(path)
    if kind not in _ROW_READERS:
        raise ReadError(
            f"{path.suffix or 'files without a suffix'}: not a kind of list that is read "
            f"({', '.join(sorted(_ROW_READERS))})"
        )
    with _readable(path):
        rows = [
            (line, cells)
            for line, cells in enumerate(_ROW_READERS[kind](path), start=1)
            if any(cell.strip() for cell in cells)
        ]
    if not rows:
        raise ReadError("holds no entries")
    return _chosen(rows, columns)


def _chosen(
    rows: list[tuple[int, list[str]]], columns: Sequence[str]
) -> list[tuple[int, list[str]]]:
    if not columns:
        if max(len(cells) for _, cells in rows) > 1:
            names = ", ".join(cell.strip()[:30] or "?" for cell in rows[0][1])
            raise ReadError(
                "has several columns; say which with --column NAME (of the first row) or "
                f"--column NUMBER (then the first row is an entry, too); the first row has "
                f"{len(rows[0][1])} cells" + (f": {names}" if _is_heading(rows) else "")
            )
        return rows
    if all(column.isdigit() for column in columns):
        places = [int(column) - 1 for column in columns]
    else:
        heading = [cell.strip().casefold() for cell in rows[0][1]]
        rows = rows[1:]
        missing = [column for column in columns if column.strip().casefold() not in heading]
        if missing:
            raise ReadError(f"no column {', '.join(missing)} in its first row")
        places = [heading.index(column.strip().casefold()) for column in columns]
    widest = max((len(cells) for _, cells in rows), default=0)
    if not all(0 <= place < widest for place in places):
        raise ReadError(f"has {widest} columns; --column counts from 1")
    return [
        (line, [cells[place] if place < len(cells) else "" for place in places])
        for line, cells in rows
    ]


def _is_heading(rows: Sequence[tuple[int, Sequence[str]]]) -> bool:
    """Whether the first row can be shown: it has no digits while others have."""
    first = "".join(rows[0][1])
    others = "".join("".join(cells) for _, cells in rows[1:10])
    return not any(c.isdigit() or c == "@" for c in first) and any(c.isdigit() for c in others)


def _kind(path: Path) -> str:
    return path.suffix.lower().lstrip(".")


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn what can go wrong with a file into one kind of error."""
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise ReadError("not a regular file")
        if size == 0:
            raise ReadError("is empty")
        if size > MOST_BYTES:
            raise ReadError(f"{size / 1e6:.0f} MB; at most {MOST_BYTES / 1e6:.0f} MB: split it")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of libraries: they repeat what is in the file
            yield
    except OSError as error:
        raise ReadError(error.strerror or "cannot be read") from None


# -- plain ------------------------------------------------------------------------------------------


def _decoded(path: Path) -> str:
    data = path.read_bytes()
    for mark, encoding in (
        (b"\xef\xbb\xbf", "utf-8-sig"),
        (b"\xff\xfe", "utf-16"),
        (b"\xfe\xff", "utf-16"),
    ):
        if data.startswith(mark):
            return data.decode(encoding, "replace")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("cp1252", "replace")
    controls = sum(text.count(chr(code)) for code in (*range(9), *range(14, 27)))
    if controls > len(text) * _LIKELY_BINARY:
        raise ReadError("is not a text file, whatever its name says")
    return text


class _Visible(HTMLParser):
    """Collects what a page shows."""

    _HIDDEN = frozenset(("script", "style", "template", "noscript"))
    _INLINE = frozenset(
        ("a", "abbr", "b", "em", "i", "mark", "s", "small", "span", "strong", "sub", "sup", "u")
    )

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        self._hidden += tag in self._HIDDEN
        if tag not in self._INLINE:
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in self._HIDDEN:
            self._hidden = max(0, self._hidden - 1)
        if tag not in self._INLINE:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.parts.append(data)


def _html(path: Path) -> str:
    page = _Visible()
    page.feed(_decoded(path))
    page.close()
    return "".join(page.parts)


def _lines(path: Path) -> Iterator[list[str]]:
    for line in _decoded(path).splitlines():
        yield [line]


def _csv(path: Path) -> Iterator[list[str]]:
    text = _decoded(path)
    sample = text[:20_000]
    try:
        dialect: Any = csv.Sniffer().sniff(sample, delimiters=",;\t|")
    except csv.Error:
        dialect = csv.excel  # one column has no delimiter
    csv.field_size_limit(_LONGEST_CELL)
    try:
        yield from csv.reader(io.StringIO(text, newline=""), dialect)
    except csv.Error as error:
        raise ReadError(f"is no well-formed CSV: {error}") from None


def _csv_text(path: Path) -> str:
    return "\n".join(" ".join(cells) for cells in _csv(path))


# -- office -----------------------------------------------------------------------------------------


@contextmanager
def _office(path: Path) -> Iterator[IO[bytes]]:
    """Open an Office file after a look at what it unpacks to."""
    with path.open("rb") as file:
        if file.read(4) == _OLE:
            raise ReadError(
                "is protected by a password, or of the old format before 2007; "
                "save it without a password as .docx or .xlsx"
            )
        try:
            with zipfile.ZipFile(file) as archive:
                unpacked = sum(entry.file_size for entry in archive.infolist())
        except _DAMAGED:
            raise ReadError("is damaged, or not what its name says") from None
        if unpacked > _MOST_UNPACKED:
            raise ReadError(f"unpacks to {unpacked / 1e9:.1f} GB; that is no document")
        file.seek(0)
        try:
            yield file
        except _DAMAGED:
            raise ReadError("is damaged, or not what its name says") from None


def _missing(error: ImportError) -> ReadError:
    return ReadError(f"needs the library {error.name}: pip install 'merkwacht[documents]'")


def _docx(path: Path) -> str:
    try:
        import docx  # noqa: PLC0415 - of the extra `documents`
        from docx.opc.exceptions import PackageNotFoundError  # noqa: PLC0415
        from docx.oxml import parse_xml  # noqa: PLC0415
        from docx.oxml.ns import qn  # noqa: PLC0415
    except ImportError as error:
        raise _missing(error) from None
    with _office(path) as file:
        try:
            document = docx.Document(file)
        except PackageNotFoundError:
            raise ReadError("is damaged, or not what its name says") from None
        roots = [
            part.element if hasattr(part, "element") else parse_xml(part.blob)
            for part in document.part.package.iter_parts()
            if part.content_type.endswith(_WITH_WORDS)
        ]
        # Every paragraph, also in tables, text boxes, headers and notes, in the order of the file.
        paragraphs = (node for root in roots for node in root.iter(qn("w:p")))
        return "\n".join(
            "".join(run.text or "" for run in paragraph.iter(qn("w:t"), qn("w:delText")))
            for paragraph in paragraphs
        )


def _pdf(path: Path) -> str:
    try:
        import pypdf  # noqa: PLC0415 - of the extra `documents`
        from pypdf.errors import DependencyError, PyPdfError  # noqa: PLC0415
    except ImportError as error:
        raise _missing(error) from None
    # Its remarks on odd files repeat pieces of them.
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    try:
        reader = pypdf.PdfReader(path)
        if reader.is_encrypted and not reader.decrypt(""):
            raise ReadError("is protected by a password; save it without one")
        pages = [page.extract_text() for page in reader.pages]
    except DependencyError:
        raise ReadError("is encrypted: pip install 'merkwacht[documents]'") from None
    except (PyPdfError, *_DAMAGED):
        raise ReadError("is damaged, or not a PDF; print it to PDF anew") from None
    if pages and not any(page.strip() for page in pages):
        raise ReadError("holds pictures of pages and no text (a scan?); run it through OCR first")
    # A word broken at the end of a line is one word.
    return "\n".join(pages).replace("\u00ad\n", "").replace("-\n", "")


def _xlsx(path: Path) -> Iterator[list[str]]:
    try:
        import openpyxl  # noqa: PLC0415 - of the extra `documents`
        from openpyxl.utils.exceptions import InvalidFileException  # noqa: PLC0415
    except ImportError as error:
        raise _missing(error) from None
    with _office(path) as file:
        try:
            book = openpyxl.load_workbook(file, read_only=True, data_only=True)
        except InvalidFileException:
            raise ReadError("is damaged, or not what its name says") from None
        try:
            for sheet in book.worksheets:
                for row in sheet.iter_rows(values_only=True):
                    yield [_cell(value) for value in row]
        finally:
            book.close()


def _cell(value: object) -> str:
    """A cell as a person would write it: 1234.0 is 1234, a day has no hour."""
    if value is None:
        return ""
    if isinstance(value, datetime) and value.time() == time.min:
        return value.date().isoformat()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _xlsx_text(path: Path) -> str:
    return "\n".join(" ".join(cells) for cells in _xlsx(path))


_TEXT_READERS: Final[Mapping[str, Callable[[Path], str]]] = {
    "txt": _decoded,
    "text": _decoded,
    "md": _decoded,
    "markdown": _decoded,
    "rst": _decoded,
    "csv": _csv_text,
    "tsv": _csv_text,
    "html": _html,
    "htm": _html,
    "docx": _docx,
    "pdf": _pdf,
    "xlsx": _xlsx_text,
}
_ROW_READERS: Final[Mapping[str, Callable[[Path], Iterator[list[str]]]]] = {
    "txt": _lines,
    "csv": _csv,
    "tsv": _csv,
    "xlsx": _xlsx,
}
