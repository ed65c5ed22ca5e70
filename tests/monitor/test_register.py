"""The register of secrets from the command line to the verdict on a post."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import docx
import pytest
from typer.testing import CliRunner

from classifiers.assessor import Assessor
from classifiers.base import (
    Confidence,
    Finding,
    Leak,
    LeakBand,
    LeakCategory,
    LeakThresholds,
    Text,
)
from classifiers.register.detector import RegisterDetector
from classifiers.register.documents import document
from classifiers.register.items import Item
from monitor.cli import app
from monitor.privacy import Pseudonyms, load_or_create
from monitor.register import StoredRegister, fingerprints_of, open_detector
from monitor.store import Store
from tests.alerts.make import assessment
from tests.classifiers.fakes import FakeLanguage, FakeModel
from tests.classifiers.register.texts import MEMO, MINUTES, item
from tests.monitor.make import NOON, fresh_store, new_mention, sql, write_locked

VALID = Path(__file__).parent / "config" / "valid.toml"
QUOTED = (
    "De marge daarop is 38 procent en de leverancier, een kleine producent uit Oss, mag het tot die tijd "
    "nergens anders aanbieden. Vertel er nog niets over aan de kassamedewerkers: de campagne met de "
    "boswachter begint pas op 12 maart"
)
"""So long that whatever a key samples of it suffices: each installation has a key of its own."""
IBAN = "NL20INGB0001234567"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = fresh_store(tmp_path)
    yield made
    made.close()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration whose database lies in the folder of the test."""
    file = tmp_path / "config.toml"
    file.write_text(VALID.read_text() + f'[store]\npath = "{tmp_path}/merkwacht.db"\n')
    return file


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


def merkwacht(*arguments: str, folder: Path, given: str = "") -> Done:
    """Run a command in this process: what is tested here starts no process of its own."""
    with contextlib.chdir(folder):
        result = CliRunner().invoke(
            app, arguments, input=given, env={"MERKWACHT_CONFIG": None}, catch_exceptions=False
        )
    return Done(result.exit_code, result.stdout, result.stderr)


# -- the shelf -------------------------------------------------------------------------------------


def test_what_is_kept_comes_back_under_a_neutral_label(store: Store) -> None:
    with store.write() as unit:
        kept = unit.register.add(item(MEMO, ""), NOON)
        named = unit.register.add(item(MINUTES, "minutes of the board"), NOON)
    assert kept.label == "doc-1"
    with store.read() as unit:
        assert unit.register.all() == [kept, named]
        listed = unit.register.listed()
    assert [each.label for each in listed] == ["doc-1", "minutes of the board"]
    assert listed[0].bytes == len(kept.prints)
    assert listed[0].added_at == NOON


def test_a_label_is_given_once_and_free_after_removal(store: Store) -> None:
    with store.write() as unit:
        unit.register.add(item(MEMO, "doc-2"), NOON)
        assert unit.register.add(item(MINUTES, ""), NOON).label == "doc-2a"
        with pytest.raises(ValueError, match="taken"):
            unit.register.add(item(MINUTES, "doc-2"), NOON)
        assert unit.register.remove("doc-2")
        assert not unit.register.remove("doc-2")
        assert unit.register.add(item(MINUTES, "doc-2"), NOON).label == "doc-2"


def test_what_is_removed_is_overwritten_in_the_file(store: Store, tmp_path: Path) -> None:
    with store.write() as unit:
        prints = unit.register.add(item(MEMO, "memo"), NOON).prints
    with store.write() as unit:
        assert unit.register.remove("memo")
    store.close()

    left = b"".join(path.read_bytes() for path in tmp_path.glob("*.db*"))
    assert prints[:40] not in left


def test_every_change_has_its_number(store: Store) -> None:
    numbers = []
    for change in ("nothing", "add", "remove"):
        with store.write() as unit:
            if change == "add":
                unit.register.add(item(MEMO, "memo"), NOON)
            elif change == "remove":
                unit.register.remove("memo")
            numbers.append(unit.register.generation())
    assert numbers == sorted(set(numbers))


# -- in the running daemon -------------------------------------------------------------------------


class Seconds:
    """A clock that tests move."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def registered(store: Store, pseudonyms: Pseudonyms, text: str, label: str) -> Item:
    prints = document(text, label, LeakCategory.PRODUCT, fingerprints_of(pseudonyms))
    with store.write() as unit:
        return unit.register.add(prints, NOON)


def test_a_running_assessor_notices_what_another_process_registers(
    store: Store, tmp_path: Path
) -> None:
    pseudonyms = load_or_create(tmp_path / "merkwacht.db.key")
    clock = Seconds()
    detector = RegisterDetector(StoredRegister(store), fingerprints_of(pseudonyms), clock=clock)
    assessor = Assessor(
        FakeModel(),
        language=FakeLanguage(),
        detectors=[detector],
        leak_thresholds=LeakThresholds(0.3, 0.6),
    )
    version = assessor.version
    assert not assessor.classify([Text(QUOTED)])[0].leak.escalate
    other = Store(store.path)
    registered(other, pseudonyms, MEMO, "memo")
    other.close()
    clock.now += 2
    (now,) = assessor.classify([Text(QUOTED)])
    assert now.leak.escalate
    assert now.leak.likely is LeakCategory.PRODUCT
    assert assessor.version == version, "posts that are assessed stay as they are"


def test_a_locked_database_does_not_stop_matching(tmp_path: Path) -> None:
    store = fresh_store(tmp_path, busy_seconds=0.05)
    pseudonyms = load_or_create(tmp_path / "merkwacht.db.key")
    registered(store, pseudonyms, MEMO, "memo")
    clock = Seconds()
    detector = RegisterDetector(StoredRegister(store), fingerprints_of(pseudonyms), clock=clock)
    with write_locked(store.path):
        clock.now += 2
        assert list(detector.find(QUOTED))
    store.close()


def test_another_key_finds_nothing(store: Store, tmp_path: Path) -> None:
    registered(store, load_or_create(tmp_path / "one.key"), MEMO, "memo")
    assert open_detector(store, load_or_create(tmp_path / "one.key")).hits(MEMO)
    assert open_detector(store, load_or_create(tmp_path / "two.key")).hits(MEMO) == []


def test_the_key_of_the_register_is_not_the_key_of_the_pseudonyms(tmp_path: Path) -> None:
    path = tmp_path / "some.key"
    pseudonyms = load_or_create(path)
    derived = pseudonyms.derive("one purpose")
    assert len(derived) == 32
    assert derived == load_or_create(path).derive("one purpose")
    assert derived != pseudonyms.derive("another purpose")
    assert derived.hex() not in path.read_text()


# -- on the command line ---------------------------------------------------------------------------


def test_from_file_to_verdict(config: Path, tmp_path: Path) -> None:
    plan = docx.Document()
    for line in MEMO.strip().splitlines():
        plan.add_paragraph(line)
    plan.save(str(tmp_path / "geheimplan.docx"))

    added = merkwacht(
        "fingerprint", "add", "--category", "product", "geheimplan.docx", folder=tmp_path
    )
    assert added.returncode == 0, added.stderr
    assert added.stdout.startswith("geheimplan.docx: doc-1: document, product, ")

    (listed,) = merkwacht("fingerprint", "list", "--json", folder=tmp_path).stdout.splitlines()
    line = json.loads(listed)
    assert (line["label"], line["kind"], line["category"]) == ("doc-1", "document", "product")
    assert line["entries"] > 100
    assert "doc-1" in merkwacht("fingerprint", "list", folder=tmp_path).stdout

    tested = merkwacht("fingerprint", "test", "--json", folder=tmp_path, given=f"hoor: {QUOTED}!")
    hit = json.loads(tested.stdout)
    assert (hit["label"], hit["confidence"]) == ("doc-1", "high")
    assert 6 <= hit["start"] < 40
    nothing = merkwacht("fingerprint", "test", folder=tmp_path, given="Lekker brood vandaag")
    assert (nothing.returncode, nothing.stdout) == (0, "Nothing in this post is registered.\n")

    verdict = merkwacht(
        "classify", "--plain", "--config", str(config), folder=tmp_path, given=f"{QUOTED}\n"
    )
    leak = json.loads(verdict.stdout)["leak"]
    assert leak["escalate"]
    assert leak["category"] == "product"
    assert ("fingerprint", "doc-1") in {
        (finding["detector"], finding.get("label")) for finding in leak["findings"]
    }
    assert "“doc-1”" in leak["why"]

    removed = merkwacht("fingerprint", "remove", "doc-1", "doc-9", folder=tmp_path)
    assert removed.returncode == 1
    assert removed.stderr == "nothing is registered as doc-9\n"
    assert merkwacht("fingerprint", "list", "--json", folder=tmp_path).stdout == ""


def test_the_database_holds_nothing_of_what_was_registered(config: Path, tmp_path: Path) -> None:
    (tmp_path / "geheimplan.txt").write_text(MEMO)
    (tmp_path / "klanten.csv").write_text(f"naam;iban\nDjoeke Hofstra;{IBAN}\n")
    for arguments in (
        ["geheimplan.txt"],
        ["--list", "records", "--column", "naam", "--column", "iban", "klanten.csv"],
    ):
        done = merkwacht("fingerprint", "add", *arguments, folder=tmp_path)
        assert done.returncode == 0, done.stderr
    content = b"".join(path.read_bytes() for path in tmp_path.glob("merkwacht.db*"))
    for secret in ("geheimplan", "klanten", "Zilvermeeuw", "zilvermeeuw", "Djoeke", IBAN, "naam"):
        assert secret.encode() not in content
    row = sql(tmp_path / "merkwacht.db", "SELECT label, kind, size FROM register ORDER BY id")
    assert row == [("doc-1", "document", 162), ("list-2", "records", 1)]


def test_each_file_that_cannot_be_registered_is_named_and_the_rest_goes_on(
    config: Path, tmp_path: Path
) -> None:
    (tmp_path / "kort.txt").write_text("te kort")
    (tmp_path / "memo.txt").write_text(MEMO)
    (tmp_path / "nog eens.txt").write_text(MEMO.upper())
    (tmp_path / "versie twee.txt").write_text(MEMO.replace("180", "200") + MINUTES)
    files = ["kort.txt", "memo.txt", "nog eens.txt", "versie twee.txt"]
    done = merkwacht("fingerprint", "add", "--label", "memo", *files, folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "kort.txt: 2 words; a document needs 12 at least. Names and numbers belong in a list (--list)",
        "1 of 4 files were not registered",
    ]
    memo, again, version = done.stdout.splitlines()
    assert memo.startswith("memo.txt: memo-2: document, internal")
    same = merkwacht("fingerprint", "add", "memo.txt", folder=tmp_path)
    assert same.stdout == "memo.txt: registered already as memo-2; nothing added\n"
    assert again == "nog eens.txt: registered already as memo-2; nothing added"
    assert version.endswith("a version of memo-2")


def test_a_list_that_is_registered_already_is_not_added_twice(config: Path, tmp_path: Path) -> None:
    (tmp_path / "namen.txt").write_text("Zilvermeeuw\nKwartelkroon 3000\n")
    add = ["fingerprint", "add", "--list", "terms", "--category", "product"]
    first = merkwacht(*add, "namen.txt", "namen.txt", folder=tmp_path)
    assert first.returncode == 0, first.stderr
    assert first.stdout.splitlines()[1] == "namen.txt: registered already as list-1; nothing added"
    again = merkwacht(*add, "namen.txt", folder=tmp_path)
    assert again.stdout == "namen.txt: registered already as list-1; nothing added\n"


@pytest.mark.parametrize("command", [("classify", "--plain"), ("fingerprint", "test")])
def test_without_its_key_the_register_says_so_and_is_not_passed_over(
    config: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    (tmp_path / "memo.txt").write_text(MEMO)
    assert merkwacht("fingerprint", "add", "memo.txt", folder=tmp_path).returncode == 0
    (tmp_path / "merkwacht.db.key").unlink()
    done = merkwacht(*command, "--config", str(config), folder=tmp_path, given=f"{QUOTED}\n")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "merkwacht.db.key" in done.stderr
    assert "what is registered" in done.stderr
    assert not (tmp_path / "merkwacht.db.key").exists()


def test_the_label_is_stored_with_the_finding_and_old_rows_have_none(store: Store) -> None:
    with store.write() as unit:
        unit.mentions.add([new_mention(1, text=QUOTED)], NOON)
        (queued,) = unit.mentions.queue(1)
        found = Finding("fingerprint", LeakCategory.PRODUCT, 0, 9, Confidence.HIGH, label="doc-7")
        iban = Finding("iban", LeakCategory.PERSONAL_DATA, 10, 12, Confidence.LOW)
        leak = Leak(LeakBand.ESCALATE, 0.9, LeakCategory.PRODUCT, (found, iban))
        unit.mentions.assess({queued.mention.id: assessment(leak=leak)}, "v1", NOON)
    (kept,) = sql(store.path, "SELECT findings FROM assessment")[0]
    assert [each.get("label") for each in json.loads(kept)] == ["doc-7", None]
    assert "label" not in json.loads(kept)[1]
    with store.read() as unit:
        ((_, read),) = unit.mentions.each(None, None)
    assert read is not None
    assert read.leak.findings == (found, iban)


def test_names_of_people_are_refused_as_terms(config: Path, tmp_path: Path) -> None:
    (tmp_path / "namen.txt").write_text("Jan de Vries\nFatima el Idrissi\n")
    done = merkwacht("fingerprint", "add", "--list", "terms", "namen.txt", folder=tmp_path)
    assert done.returncode == 1
    assert "lines 1, 2: looks like a person's name" in done.stderr
    assert "Vries" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["missing.docx"], "no such file"),
        (["."], "not a regular file"),
        (["--public", "--list", "terms", "config.toml"], "--public is for documents"),
        (["--column", "1", "config.toml"], "--column is for lists"),
        (["--label", "a\nb", "config.toml"], "--label"),
        (["--label", "a\u202eb", "config.toml"], "--label"),
        (["--label", "a" * 81, "config.toml"], "--label"),
        (["--category", "gossip", "config.toml"], "gossip"),
        ([], "FILE"),
    ],
)
def test_wrong_usage_says_what_is_wrong(
    config: Path, tmp_path: Path, arguments: list[str], says: str
) -> None:
    done = merkwacht("fingerprint", "add", *arguments, folder=tmp_path)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_stored_posts_are_looked_through_for_what_is_registered_now(
    config: Path, tmp_path: Path
) -> None:
    (tmp_path / "memo.txt").write_text(MEMO)
    assert merkwacht("fingerprint", "add", "memo.txt", folder=tmp_path).returncode == 0
    store = Store(tmp_path / "merkwacht.db")
    with store.write() as unit:
        photo = new_mention(3)
        photo = replace(photo, post=replace(photo.post, images=("https://x.example/a.png",)))
        posts = [new_mention(1), new_mention(2, text=f"hoor eens: {QUOTED}"), photo]
        unit.mentions.add(posts, NOON)
        unit.pictures.wait(posts, NOON)
        [picture] = unit.pictures.begin(NOON, 1)
        assert unit.pictures.found(picture, f"Notitie\n{QUOTED}")
    store.close()
    done = merkwacht("fingerprint", "rescan", "--days", "100000", folder=tmp_path)
    found = {line["mention"]: line["hits"] for line in map(json.loads, done.stdout.splitlines())}
    assert {number: hits[0]["label"] for number, hits in found.items()} == {2: "doc-1", 3: "doc-1"}
    assert {number: hits[0]["in_picture"] for number, hits in found.items()} == {2: False, 3: True}
    assert done.stderr == "2 posts hold something that is registered\n"
