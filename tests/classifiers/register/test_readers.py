"""Files are read for their text; what cannot be read says why and what to do."""

from __future__ import annotations

import random
import subprocess
import sys
import zipfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import docx
import openpyxl
import pypdf
import pytest
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

from classifiers.register.readers import ReadError, read_rows, read_text
from classifiers.register.words import words_of


def make_pdf(path: Path, lines: list[str], password: str | None = None) -> Path:
    writer = pypdf.PdfWriter()
    page = writer.add_blank_page(595, 842)
    font = DictionaryObject(
        {
            NameObject("/Type"): NameObject("/Font"),
            NameObject("/Subtype"): NameObject("/Type1"),
            NameObject("/BaseFont"): NameObject("/Helvetica"),
        }
    )
    page[NameObject("/Resources")] = DictionaryObject(
        {NameObject("/Font"): DictionaryObject({NameObject("/F1"): font})}
    )
    shown = b"".join(f"({line}) Tj T*\n".encode("latin-1") for line in lines)
    stream = DecodedStreamObject()
    stream.set_data(b"BT /F1 12 Tf 14 TL 50 800 Td\n" + shown + b"ET")
    page[NameObject("/Contents")] = writer._add_object(stream)
    if password is not None:
        writer.encrypt(password, algorithm="AES-256")
    writer.write(path)
    return path


def make_docx(path: Path) -> Path:
    document = docx.Document()
    document.add_heading("Zilvermeeuw", 1)
    paragraph = document.add_paragraph("De marge is ")
    paragraph.add_run("38 procent").bold = True
    table = document.add_table(1, 2)
    table.cell(0, 0).text = "leverancier"
    table.cell(0, 1).text = "Van Dalen"
    document.sections[0].header.paragraphs[0].text = "Directie"
    document.save(str(path))
    return path


def make_xlsx(path: Path, rows: list[list[object]]) -> Path:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in rows:
        sheet.append(row)
    book.save(path)
    return path


def read(path: Path) -> list[str]:
    return [word.text for word in words_of(read_text(path))]


def test_a_word_document_is_read_with_its_tables_and_headers(tmp_path: Path) -> None:
    found = read(make_docx(tmp_path / "plan.docx"))
    for word in ("zilvermeeuw", "marge", "38", "leverancier", "dalen", "directie"):
        assert word in found
    assert found.index("marge") + 3 == found.index("pct"), "a run is no border of words"


def test_a_pdf_is_read_and_a_word_broken_at_the_line_is_one(tmp_path: Path) -> None:
    found = read(make_pdf(tmp_path / "plan.PDF", ["De marge van Zilver-", "meeuw is 38 procent"]))
    assert found == ["de", "marge", "van", "zilvermeeuw", "is", "38", "pct"]


def test_a_workbook_is_read_cell_by_cell(tmp_path: Path) -> None:
    rows: list[list[object]] = [["naam", "omzet"], ["Oss", 1234.0], ["Goirle", None]]
    assert read(make_xlsx(tmp_path / "omzet.xlsx", rows)) == [
        "naam",
        "omzet",
        "oss",
        "1234",
        "goirle",
    ]


def test_a_page_is_read_without_what_it_does_not_show(tmp_path: Path) -> None:
    page = tmp_path / "plan.html"
    page.write_text(
        "<html><style>p {color: red}</style><p>De mar<b>ge</b> is 38&nbsp;&percnt;</p>"
        "<script>var geheim = 1</script><div>klaar</div></html>",
        encoding="utf-8",
    )
    assert read(page) == ["de", "marge", "is", "38", "pct", "klaar"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_text_is_read_in_the_usual_encodings(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "plan.txt"
    path.write_text("één café – € 5", encoding=encoding)
    assert read(path) == ["een", "cafe", "eur", "5"]


def make_archive(path: Path, *, claims: int | None = None) -> Path:
    """A zip file that is no document, and may claim that what is in it is large."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hello.txt", "hello")
    if claims is not None:
        data = bytearray(path.read_bytes())
        size = data.index(b"PK\x01\x02") + 24
        data[size : size + 4] = claims.to_bytes(4, "little")
        path.write_bytes(data)
    return path


def make_file(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600
BROKEN: dict[str, Callable[[Path], Path]] = {
    "protected.pdf": lambda path: make_pdf(path, ["geheim"], password="geheim"),
    "scan.pdf": lambda path: make_pdf(path, []),
    "protected.docx": lambda path: make_file(path, OLE),
    "old.xlsx": lambda path: make_file(path, OLE),
    "cut.docx": lambda path: make_file(path, make_docx(path).read_bytes()[:900]),
    "other.docx": make_archive,
    "sheet.docx": lambda path: make_xlsx(path.with_suffix(".xlsx"), [["a"]]).rename(path),
    "cut.pdf": lambda path: make_file(path, b"%PDF-1.4 and nothing more"),
    "text.xlsx": lambda path: make_file(path, b"no workbook"),
    "bomb.xlsx": lambda path: make_archive(path, claims=4_000_000_000),
    "blank.txt": lambda path: make_file(path, b" \n "),
    "picture.txt": lambda path: make_file(path, bytes(range(256)) * 20),
    "empty.docx": lambda path: make_file(path, b""),
    "missing.txt": lambda path: path,
    "slides.pptx": lambda path: make_file(path, b"slides"),
    "nothing": lambda path: make_file(path, b"no suffix"),
}


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("protected.pdf", "password"),
        ("scan.pdf", "OCR"),
        ("protected.docx", "password"),
        ("old.xlsx", "2007"),
        ("cut.docx", "damaged"),
        ("other.docx", "damaged"),
        ("sheet.docx", "damaged"),
        ("cut.pdf", "damaged"),
        ("text.xlsx", "damaged"),
        ("blank.txt", "no text"),
        ("picture.txt", "not a text file"),
        ("bomb.xlsx", "unpacks to"),
        ("empty.docx", "empty"),
        ("missing.txt", "No such file"),
        ("slides.pptx", "save it as"),
        ("nothing", "save it as"),
    ],
)
def test_what_cannot_be_read_says_why(tmp_path: Path, name: str, says: str) -> None:
    with pytest.raises(ReadError, match=says):
        read_text(BROKEN[name](tmp_path / name))


def test_a_list_is_one_entry_a_line(tmp_path: Path) -> None:
    path = tmp_path / "codes.txt"
    path.write_text("Zilvermeeuw\n\n  Noorderlicht; X2\n")
    assert read_rows(path) == [(1, ["Zilvermeeuw"]), (3, ["  Noorderlicht; X2"])]


TABLE = 'naam;iban;plaats\n"Vries; Jan";NL91ABNA0417164300;Oss\nHofstra;NL20INGB0001234567\n'


def test_columns_are_chosen_by_name_or_by_number(tmp_path: Path) -> None:
    path = tmp_path / "klanten.csv"
    path.write_text(TABLE)
    by_name = read_rows(path, ["IBAN", "plaats"])
    assert by_name == [(2, ["NL91ABNA0417164300", "Oss"]), (3, ["NL20INGB0001234567", ""])]
    assert read_rows(path, ["1"])[0] == (1, ["naam"])
    book = make_xlsx(tmp_path / "klanten.xlsx", [["naam", "nr"], ["Oss", 88301274465]])
    assert read_rows(book, ["nr"]) == [(2, ["88301274465"])]


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ([], "--column"),
        (["bsn"], "no column bsn"),
        (["4"], "has 3 columns"),
        (["0"], "counts from 1"),
    ],
)
def test_a_column_that_is_not_there_is_named(tmp_path: Path, columns: list[str], says: str) -> None:
    path = tmp_path / "klanten.csv"
    path.write_text(TABLE)
    with pytest.raises(ReadError, match=says) as caught:
        read_rows(path, columns)
    assert "NL91" not in str(caught.value)


def test_a_table_without_heading_is_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "klanten.csv"
    path.write_text("Jan de Vries,NL91ABNA0417164300\nHofstra,NL20INGB0001234567\n")
    with pytest.raises(ReadError) as caught:
        read_rows(path)
    assert "Vries" not in str(caught.value)


def test_a_library_that_is_missing_is_named_with_the_remedy(tmp_path: Path) -> None:
    path = make_docx(tmp_path / "plan.docx")
    # A process in which the library cannot be found, as where the extra was not installed.
    code = (
        "import sys; sys.modules['docx'] = None\n"
        "from pathlib import Path\n"
        "from classifiers.register.readers import read_text\n"
        f"read_text(Path({str(path)!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[3],
    )
    assert "pip install 'merkwacht[documents]'" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("kind", ["docx", "xlsx", "pdf"])
def test_a_damaged_file_is_an_error_that_repeats_nothing_of_it(
    tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    makers: dict[str, Callable[[Path], Path]] = {
        "docx": make_docx,
        "xlsx": lambda path: make_xlsx(path, [["Zilvermeeuw", 38], ["Djoeke", 12]]),
        "pdf": lambda path: make_pdf(path, ["De marge op Zilvermeeuw is 38 procent"]),
    }
    path = tmp_path / f"file.{kind}"
    whole = makers[kind](path).read_bytes()
    chance = random.Random(11)
    refused: list[str] = []
    for number in range(60):
        data = bytearray(whole)
        for _ in range(1 + number % 40):
            data[chance.randrange(len(data))] = chance.randrange(256)
        path.write_bytes(bytes(data))
        try:
            read_text(path)
        except ReadError as error:
            refused.append(str(error))
    assert refused
    assert "Zilvermeeuw" not in "".join(refused)
    assert caplog.text == ""
    assert capfd.readouterr() == ("", "")


def test_a_day_in_a_workbook_has_no_hour(tmp_path: Path) -> None:
    moments = [datetime.fromisoformat(each) for each in ("1984-03-12", "1984-03-12 09:30")]
    path = make_xlsx(tmp_path / "born.xlsx", [[moment] for moment in moments])
    assert read_rows(path) == [(1, ["1984-03-12"]), (2, ["1984-03-12 09:30:00"])]
