from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.base import ConnectorError, Context, Cursor, Page, SourceFault
from connectors.file import FileConnector, FileOptions


def line(ident: str, text: str = "Zonnehoek zit dicht") -> str:
    return json.dumps(
        {"id": ident, "source": "x", "text": text, "published_at": "2026-11-10T12:00:00+01:00"}
    )


class Follower:
    """Polls a path as the daemon does, keeping the cursor of the last page as JSON."""

    def __init__(self, path: Path, context: Context, **options: int) -> None:
        self.connector = FileConnector(FileOptions(path=path, **options), context)
        self.cursor: Cursor | None = None
        self.rejects: list[str] = []

    def pages(self) -> list[Page]:
        pages = []
        for page in self.connector.fetch(self.cursor):
            self.cursor = json.loads(json.dumps(page.cursor))
            self.rejects += [reject.reason for reject in page.rejects]
            pages.append(page)
        return pages

    def ids(self) -> list[str]:
        return [post.id for page in self.pages() for post in page.posts]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mentions.jsonl"


def test_lines_become_posts_once(path: Path, context: Context) -> None:
    path.write_text(f"{line('1')}\n\n{line('2')}\r\n")
    follower = Follower(path, context)
    [page, last] = follower.pages()
    assert [post.id for post in page.posts] == ["1", "2"]
    assert page.posts[0].published_at == datetime(2026, 11, 10, 11, 0, tzinfo=UTC)
    assert last.cursor == page.cursor
    assert follower.ids() == []


def test_a_line_that_says_deleted_is_handed_on(path: Path, context: Context) -> None:
    gone = '{"id": "1", "source": "x", "deleted": true}'
    path.write_text(f"{line('1')}\n{gone}\n{gone}\n")
    pages = Follower(path, context, page_lines=2).pages()
    assert [len(page.posts) for page in pages] == [1, 0, 0]
    assert [list(page.deleted) for page in pages] == [[("x", "1")], [("x", "1")], []]


def test_a_growing_file_is_followed(path: Path, context: Context) -> None:
    follower = Follower(path, context)
    path.write_text(line("1") + "\n")
    assert follower.ids() == ["1"]
    with path.open("a") as file:
        file.write(line("2") + "\n" + line("3") + "\n")
    assert follower.ids() == ["2", "3"]


def test_a_line_that_is_still_being_written_waits(path: Path, context: Context) -> None:
    follower = Follower(path, context)
    whole = line("2")
    path.write_text(line("1") + "\n" + whole[:30])
    assert follower.ids() == ["1"]
    with path.open("a") as file:
        file.write(whole[30:] + "\n")
    assert follower.ids() == ["2"]
    assert not follower.rejects


def test_a_whole_last_line_without_line_break_does_not_wait(path: Path, context: Context) -> None:
    follower = Follower(path, context)
    path.write_text(line("1"))
    assert follower.ids() == ["1"]
    with path.open("a") as file:
        file.write("\n" + line("2"))
    assert follower.ids() == ["2"]


@given(cut=st.integers(min_value=0))
@settings(max_examples=30, deadline=None)
def test_wherever_a_writer_pauses_every_line_comes_once(
    cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = "".join(line(str(number), "één ☂") + "\n" for number in range(4)).encode()
    cut %= len(data) + 1
    path = tmp_path_factory.mktemp("cut") / "m.jsonl"
    follower = Follower(path, Context("t", lambda: datetime.now(UTC), None))  # type: ignore[arg-type] # no network here
    path.write_bytes(data[:cut])
    first = follower.ids()
    path.write_bytes(data)
    assert first + follower.ids() == ["0", "1", "2", "3"]
    assert not follower.rejects


@pytest.mark.parametrize("longer", [False, True], ids=["shorter", "longer"])
def test_a_file_written_anew_is_read_from_its_start(
    path: Path, context: Context, longer: bool
) -> None:
    follower = Follower(path, context)
    path.write_text("".join(line(f"old-{number}") + "\n" for number in range(5)))
    assert len(follower.ids()) == 5
    count = 50 if longer else 2
    path.write_text("".join(line(f"new-{number}") + "\n" for number in range(count)))
    assert len(follower.ids()) == count


def test_a_file_of_which_only_the_middle_changed_is_read_anew(path: Path, context: Context) -> None:
    follower = Follower(path, context)
    head = line("same") + "\n"
    path.write_text(head * 10 + line("a") + "\n")
    follower.ids()
    path.write_text(head * 10 + line("b") + "\n" + line("c") + "\n")
    assert follower.ids()[-2:] == ["b", "c"]


def test_a_file_put_in_place_as_a_copy_is_not_read_again(path: Path, context: Context) -> None:
    follower = Follower(path, context)
    path.write_text(line("1") + "\n")
    follower.ids()
    copy = path.with_suffix(".tmp")
    copy.write_text(path.read_text() + line("2") + "\n")
    copy.replace(path)
    assert follower.ids() == ["2"]


def test_pages_are_bounded_and_each_cursor_continues_after_its_page(
    path: Path, context: Context
) -> None:
    path.write_text("".join(line(str(number)) + "\n" for number in range(25)))
    follower = Follower(path, context, page_lines=10)
    pages = follower.pages()
    assert [len(page.posts) for page in pages] == [10, 10, 5, 0]
    follower.cursor = pages[0].cursor  # as if the daemon had died after the first page
    assert follower.ids() == [str(number) for number in range(10, 25)]


def test_a_bad_line_is_set_aside_and_the_rest_goes_on(path: Path, context: Context) -> None:
    path.write_bytes(
        b"\n".join(
            [
                line("1").encode(),
                b"{broken",
                b'{"id": "x"}',
                b"\xff\xfe\x00",
                line("2").encode(),
                b"",
            ]
        )
    )
    follower = Follower(path, context)
    pages = follower.pages()
    assert [post.id for page in pages for post in page.posts] == ["1", "2"]
    assert [reject.reason.split(":")[0] for reject in pages[0].rejects] == [
        "not JSON",
        "source",
        "not UTF-8 text",
    ]
    assert all(len(reject.excerpt) <= 500 for reject in pages[0].rejects)


def test_a_gigantic_line_is_skipped_also_while_it_still_grows(path: Path, context: Context) -> None:
    follower = Follower(path, context, max_line_bytes=2048)
    path.write_text(line("1") + "\n" + "x" * 10_000)
    assert follower.ids() == ["1"]
    assert follower.rejects == ["a line of more than 2048 bytes"]
    with path.open("a") as file:
        file.write("x" * 10_000)
    assert follower.ids() == []
    with path.open("a") as file:
        file.write("x\n" + line("2") + "\n")
    assert follower.ids() == ["2"]
    assert len(follower.rejects) == 1


def test_a_line_of_exactly_the_limit_is_read(path: Path, context: Context) -> None:
    text = line("1")
    path.write_text(text + " " * (2048 - len(text)) + "\n")
    assert Follower(path, context, max_line_bytes=2048).ids() == ["1"]


def test_a_directory_is_read_in_order_of_names_and_may_grow(
    tmp_path: Path, context: Context
) -> None:
    (tmp_path / "b.jsonl").write_text(line("b1") + "\n")
    (tmp_path / "a.jsonl").write_text(line("a1") + "\n")
    (tmp_path / "notes.txt").write_text("no mentions")
    (tmp_path / "folder.jsonl").mkdir()
    follower = Follower(tmp_path, context)
    assert follower.ids() == ["a1", "b1"]
    (tmp_path / "c.jsonl").write_text(line("c1") + "\n")
    with (tmp_path / "a.jsonl").open("a") as file:
        file.write(line("a2") + "\n")
    assert follower.ids() == ["a2", "c1"]


def test_a_file_that_is_gone_is_forgotten(tmp_path: Path, context: Context) -> None:
    follower = Follower(tmp_path, context)
    (tmp_path / "a.jsonl").write_text(line("a1") + "\n")
    follower.ids()
    (tmp_path / "a.jsonl").unlink()
    assert follower.ids() == []
    assert follower.cursor == {"files": {}}


def test_one_unreadable_file_does_not_hold_up_the_others(tmp_path: Path, context: Context) -> None:
    # A file that is unlinked between listing and reading, which also root cannot open.
    (tmp_path / "a.jsonl").write_text(line("a1") + "\n")
    (tmp_path / "b.jsonl").write_text(line("b1") + "\n")
    (tmp_path / "c.jsonl").write_text(line("c1") + "\n")
    ids: list[str] = []

    def read_all() -> None:
        for page in FileConnector(FileOptions(path=tmp_path), context).fetch(None):
            ids.extend(post.id for post in page.posts)
            (tmp_path / "b.jsonl").unlink(missing_ok=True)

    with pytest.raises(ConnectorError, match=r"b\.jsonl") as caught:
        read_all()
    assert ids == ["a1", "c1"]
    assert caught.value.fault is SourceFault.NOT_FOUND


def test_a_missing_file_is_named_and_read_once_it_is_there(path: Path, context: Context) -> None:
    follower = Follower(path, context)
    with pytest.raises(ConnectorError, match=r"mentions\.jsonl") as caught:
        follower.ids()
    assert caught.value.fault is SourceFault.NOT_FOUND
    assert not caught.value.permanent
    path.write_text(line("1") + "\n")
    assert follower.ids() == ["1"]


def test_a_device_is_refused(context: Context) -> None:
    with pytest.raises(ConnectorError) as caught:
        Follower(Path("/dev/zero"), context).ids()
    assert caught.value.fault is SourceFault.BAD_RESPONSE
    assert caught.value.permanent
