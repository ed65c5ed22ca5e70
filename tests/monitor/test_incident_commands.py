"""`merkwacht incidents …` on real files: acting while a daemon may run, dossiers, and proof."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from typer.testing import CliRunner

from alerts.base import Event, IncidentState, Severity, Signal, SignalKind
from alerts.harmless import harmless
from alerts.plain import one_line
from connectors.base import Post
from monitor.cli import app
from monitor.commands.incidents import _announcer
from monitor.config import load
from monitor.dossier import Evaluation
from monitor.dossier_pages import _still
from monitor.following import FollowStep
from monitor.store import Store
from monitor.store.mentions import NewMention
from tests.monitor.make import fresh_store, sql

CONFIG = """
language = "en"
[[brands]]
name = "Zonnehoek"
query = "zonnehoek"
[[sources]]
kind = "rss"
name = "news"
url = "https://news.example.com/feed"
[[channels]]
kind = "email"
name = "mail"
host = "smtp.example.com"
from = "m@example.com"
[[receivers]]
name = "crisis team"
channels = [{ use = "mail", to = ["crisis@example.com"] }]
[[routes]]
receivers = ["crisis team"]
"""
HOSTILE = (
    "Wachtwoord is Welkom2026! **vet** [klik](javascript:alert(1)) <script>x</script>\n"
    "# kop\n| a | b |\n@channel https://kwaad.example/\x1b[31m rood NL91ABNA0417164300"
)
BEGAN = datetime(2026, 11, 9, 11, 0, tzinfo=UTC)

Run = Callable[..., Result]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.toml").write_text(CONFIG, encoding="utf-8")
    return tmp_path


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    made = fresh_store(folder)
    yield made
    made.close()


@pytest.fixture
def run(folder: Path, store: Store) -> Run:
    def _run(*words: str, status: int = 0) -> Result:
        given = [*words, "--config", str(folder / "config.toml")]
        done = CliRunner(env={"USER": "eva", "SUDO_USER": None}).invoke(app, given)
        assert done.exit_code == status, (done.stdout, done.stderr, done.exception)
        return done

    return _run


def leak(
    store: Store, folder: Path, number: int = 1, *, text: str = HOSTILE, at: datetime = BEGAN
) -> int:
    """A leak that was found and told of, as the daemon does it."""
    post = Post(
        platform="x",
        id=f"p{number}",
        text=text,
        published_at=at,
        url="https://x.com/i/status/1",
        author="3f9c3f9c3f9c3f9c",
        author_followers=120,
    )
    settings = load(folder / "config.toml", secrets=False)
    with store.write() as unit:
        unit.mentions.add([NewMention("Zonnehoek", "news", post, ("zonnehoek",), f"s{number}")], at)
        known = unit.mentions.total()
        signal = Signal(
            SignalKind.LEAK, "Zonnehoek", Severity.HIGH, f"leak:{number}", f"s{number}", at, (known,),
            {"category": "credentials", "platform": "x"},
        )  # fmt: skip
        (told,) = _announcer(settings, "test").announce(unit, [signal], at)
    return told.incident.id


def state(store: Store, number: int) -> IncidentState:
    with store.read() as unit:
        found = unit.incidents.get(number)
    assert found is not None
    return found.state


# -- acting ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (("ack", "1"), "incident 1 is yours, eva"),
        (("resolve", "1"), "incident 1 is resolved; those who were told of it will hear"),
        (("merge", "1", "2"), "incident 2 is part of incident 1 now"),
        (("note", "1", "called"), "noted in incident 1"),
    ],
)
def test_a_command_answers_a_person_and_does_not_log(
    run: Run, store: Store, folder: Path, words: tuple[str, ...], answer: str
) -> None:
    leak(store, folder)
    leak(store, folder, 2, text="Zonnehoek lekt nog iets heel anders, zegt men in Ede")
    done = run("incidents", *words)
    assert (done.stdout, done.stderr) == ("", f"{answer}\n")


def test_a_command_says_what_happens_where_that_is_asked_for(
    run: Run, store: Store, folder: Path
) -> None:
    leak(store, folder)
    done = run("-v", "incidents", "ack", "1")
    assert done.stdout == ""
    assert "event=announced part=announce incident=1" in done.stderr
    assert "announced" not in run("incidents", "resolve", "1").stderr, "that time only"


def test_an_incident_goes_from_hand_to_hand_to_its_end(
    run: Run, store: Store, folder: Path
) -> None:
    number = str(leak(store, folder))
    assert "is yours, eva" in run("incidents", "ack", number).stderr
    run("incidents", "note", number, "Called the help desk.")
    run("incidents", "assign", number, "tom", "--as", "ada", "--note", "my shift ends")
    run("incidents", "tick", number, "convene", "--as", "tom")
    run("incidents", "statement", number, "--as", "tom", "--note", "on the site")
    run("incidents", "resolve", number, "--by", "tom")
    run(
        "incidents", "review", number, "--worked", "Fast.", "--did-not", "Two people rang.",
        "--lessons", "One phone list.",
    )  # fmt: skip
    assert state(store, 1) is IncidentState.REVIEWED
    shown = json.loads(run("incidents", "show", number, "--format", "json").stdout)
    acts = [
        (line["actor"], line["event"]) for line in shown["history"] if line["actor"] != "merkwacht"
    ]
    assert acts == [
        ("eva", "acknowledged"), ("eva", "noted"), ("ada", "assigned"), ("tom", "ticked"),
        ("tom", "first_statement"), ("tom", "resolved"), ("eva", "reviewed"),
    ]  # fmt: skip
    assert shown["evaluation"] == {
        "worked": "Fast.", "did_not": "Two people rang.", "lessons": "One phone list.",
    }  # fmt: skip
    assert run("incidents", "verify").exit_code == 0


def test_who_used_sudo_is_named_not_whom_it_made_them(run: Run, store: Store, folder: Path) -> None:
    number = leak(store, folder)
    words = ["incidents", "ack", str(number), "--config", str(folder / "config.toml")]
    done = CliRunner(env={"USER": "merkwacht", "SUDO_USER": "tom"}).invoke(app, words)
    assert done.exit_code == 0
    with store.read() as unit:
        assert unit.incidents.get(number).acknowledged_by == "tom"  # type: ignore[union-attr]


def test_taking_an_incident_tells_those_who_were_rung(run: Run, store: Store, folder: Path) -> None:
    number = leak(store, folder)
    run("incidents", "ack", str(number))
    assert ("crisis team", "taken") in sql(store.path, "SELECT receiver, reason FROM notification")


def test_whoever_heard_that_it_was_taken_hears_that_it_was_given_back(
    run: Run, store: Store, folder: Path
) -> None:
    number = str(leak(store, folder))
    run("incidents", "ack", number)
    done = run("incidents", "release", number, "--note", "my shift ends")
    assert "those who were told of it will hear" in done.stderr
    told = sql(store.path, "SELECT reason FROM notification ORDER BY id")
    assert told == [("opened",), ("taken",), ("given_back",)]


def test_what_the_command_line_tells_has_links_as_the_daemons_messages_have(
    run: Run, store: Store, folder: Path
) -> None:
    with (folder / "config.toml").open("a", encoding="utf-8") as config:
        config.write('[web]\nenabled = true\npublic_url = "https://merkwacht.example.com"\n')
    number = str(leak(store, folder))
    for act in ("ack", "release", "resolve", "reopen"):
        run("incidents", act, number)
    query = "SELECT reason, message ->> 'link' FROM notification WHERE reason <> 'opened' OR id > 1"
    links = dict(sql(store.path, query))
    assert set(links) == {"taken", "given_back", "resolved", "opened"}
    assert {str(link)[:29] for link in links.values()} == {"https://merkwacht.example.com"}


def test_without_the_key_of_links_somebody_can_take_it_all_the_same(
    run: Run, store: Store, folder: Path
) -> None:
    number = leak(store, folder)
    key = store.path.with_name(store.path.name + ".key")
    key.write_text("no key", encoding="ascii")
    run("incidents", "ack", str(number))
    assert state(store, number) is IncidentState.ACKNOWLEDGED
    assert ("crisis team", "taken") in sql(store.path, "SELECT receiver, reason FROM notification")


def test_the_end_is_told_and_so_is_the_second_beginning(
    run: Run, store: Store, folder: Path
) -> None:
    number = str(leak(store, folder))
    run("incidents", "resolve", number)
    run("incidents", "reopen", number, "--note", "it is back")
    told = sql(store.path, "SELECT event FROM notification ORDER BY id")
    assert [event for (event,) in told] == ["opened", "resolved", "opened"]
    assert state(store, 1) is IncidentState.OPEN


def test_an_act_waits_for_the_daemon_and_both_are_kept(
    run: Run, store: Store, folder: Path
) -> None:
    number = leak(store, folder)
    settings = load(folder / "config.toml", secrets=False)
    later = datetime.now(UTC)
    step = FollowStep(store=store, announcer=_announcer(settings, "test"), now=lambda: later)
    step.run()
    run("incidents", "ack", str(number))
    later = datetime.now(UTC)
    assert step.run()[0] > 0, "the daemon looks at it at once"
    with store.read() as unit:
        assert unit.incidents.chain.verify().flaw is None
        assert [line.event for line in unit.incidents.history(number)].count("acknowledged") == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["ack", "9"], "there is no incident 9"),
        (["release", "1"], "nobody has taken it"),
        (["reopen", "1"], "it is not over"),
        (["review", "1", "--worked", "a", "--did-not", "b"], "resolve it first"),
        (["review", "1", "--worked", "a", "--did-not", " "], "what worked and what did not"),
        (["tick", "1", "dance"], 'no step "dance"; there are leak.look'),
        (["tick", "1", "look", "--undo"], "not ticked off"),
        (["playbook", "1", "fire"], 'no playbook "fire"; there are crisis'),
        (["playbook", "1", "leak"], "has the playbook leak already"),
        (["merge", "1", "1"], "part of itself"),
        (["note", "1", "hello", "--step", "employee.heard"], "there is no step"),
        (["show", "9"], "there is no incident 9"),
    ],
)
def test_what_cannot_be_done_says_why_and_changes_nothing(
    run: Run, store: Store, folder: Path, words: list[str], says: str
) -> None:
    leak(store, folder)
    before = sql(store.path, "SELECT count(*) FROM incident_event")
    done = run("incidents", *words, status=1)
    assert says in done.stderr
    assert sql(store.path, "SELECT count(*) FROM incident_event") == before


def test_taking_twice_names_who_was_first(run: Run, store: Store, folder: Path) -> None:
    number = str(leak(store, folder))
    run("incidents", "ack", number, "--as", "tom")
    assert "taken by tom" in run("incidents", "ack", number, status=1).stderr


def test_merging_closes_without_an_all_clear(run: Run, store: Store, folder: Path) -> None:
    one, other = leak(store, folder), leak(store, folder, 2, text="Nog eens: Welkom2026!")
    done = run("incidents", "merge", str(one), str(other), "--note", "same paste")
    assert "part of incident 1" in done.stderr
    told = sql(store.path, "SELECT event FROM notification WHERE incident_id = ?", other)
    assert [event for (event,) in told] == ["opened"]
    shown = run("incidents", "show", str(one)).stdout
    assert "(incident 2)" in shown
    assert f"part of {one}" in run("incidents", "list").stdout
    assert "became part of incident 1" in run("incidents", "show", str(other)).stdout


def test_whoever_heard_of_what_was_merged_hears_that_it_is_taken_and_over(
    run: Run, store: Store, folder: Path
) -> None:
    two = CONFIG.replace("[[routes]]", '[[receivers]]\nname = "ops"\nchannels = ['
    '{ use = "mail", to = ["ops@example.com"] }]\n[[routes]]')  # fmt: skip
    one = leak(store, folder)
    (folder / "config.toml").write_text(
        two.replace('receivers = ["crisis', 'receivers = ["ops", "crisis')
    )
    other = leak(store, folder, 2, text="Nog eens.")
    run("incidents", "merge", str(one), str(other))
    run("incidents", "ack", str(one))
    takes = sql(store.path, "SELECT receiver, incident_id FROM notification WHERE reason = 'taken'")
    assert sorted(takes) == [("crisis team", one), ("ops", one)]
    run("incidents", "resolve", str(one))
    ends = sql(
        store.path, "SELECT receiver, incident_id FROM notification WHERE event = 'resolved'"
    )
    assert sorted(ends) == [("crisis team", one), ("ops", one)]


def test_merging_several_is_all_or_none(run: Run, store: Store, folder: Path) -> None:
    one, other = leak(store, folder), leak(store, folder, 2, text="Nog eens.")
    run("incidents", "merge", str(one), str(other), "77", status=1)
    assert state(store, other) is IncidentState.OPEN


# -- playbooks -------------------------------------------------------------------------------------


def test_ticks_are_shown_with_who_and_when_and_can_be_taken_back(
    run: Run, store: Store, folder: Path
) -> None:
    number = str(leak(store, folder))
    run("incidents", "tick", number, "convene", "--as", "tom")
    shown = run("incidents", "show", number).stdout
    assert re.search(r"\[x\] convene: Convened the crisis team \(tom, ", shown)
    assert "[ ] contain:" in shown
    assert (
        "ticked off by tom already" in run("incidents", "tick", number, "convene", status=1).stderr
    )
    run("incidents", "tick", number, "convene", "--undo")
    assert "[ ] convene:" in run("incidents", "show", number).stdout


def test_a_breach_by_a_colleague_is_documented_with_reasons_that_few_read(
    run: Run, store: Store, folder: Path
) -> None:
    number = str(leak(store, folder))
    run("incidents", "playbook", number, "employee", "--as", "hr")
    refused = run("incidents", "tick", number, "intent", "--as", "hr", status=1)
    assert "documented with its reason" in refused.stderr
    run("incidents", "tick", number, "intent", "--as", "hr", "--note", "An honest mistake.")
    run("incidents", "note", number, "Was new in the job.", "--step", "mitigating", "--as", "hr")
    for form in ("text", "md", "json"):
        shown = run("incidents", "show", number, "--format", form).stdout
        assert "honest mistake" not in shown
        assert "new in the job" not in shown
        assert "hr" in shown
    assert "confidential" in run("incidents", "show", number).stdout
    whole = run("incidents", "show", number, "--unmasked", "--reason", "the file for HR").stdout
    assert "An honest mistake." in whole
    assert "Was new in the job." in whole


# -- the dossier -----------------------------------------------------------------------------------


def test_a_dossier_shows_no_secret_and_nothing_in_it_formats(
    run: Run, store: Store, folder: Path
) -> None:
    number = str(leak(store, folder))
    run("incidents", "note", number, "See <b>this</b> | *that*\n# heading")
    for form in ("text", "md", "json"):
        shown = run("incidents", "show", number, "--format", form).stdout
        assert "Welkom2026" not in shown
        assert "NL91ABNA0417164300" not in shown
        assert "3f9c3f9c3f9c3f9c" not in shown
        assert "\x1b" not in shown
    page = run("incidents", "show", number, "--format", "md").stdout
    assert "<script>" not in page
    assert "](javascript" not in page
    assert "**vet**" not in page
    assert "<b>" not in page
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert {line.count(" | ") for line in rows if not line.startswith("| ---")} <= {2, 4}
    assert [line for line in page.splitlines() if line.startswith("# ")][1:] == []


def test_what_one_exhibit_hides_its_neighbour_does_not_show(
    run: Run, store: Store, folder: Path
) -> None:
    one = leak(store, folder, text="Het wachtwoord is goosefoot.")
    other = leak(store, folder, 2, text="Goosefoot, wie verzint dat?")
    run("incidents", "merge", str(one), str(other))
    assert "oosefoot" not in run("incidents", "show", str(one)).stdout


def test_a_list_shows_whole_numbers_on_a_narrow_screen_and_marks_drills(
    run: Run, store: Store, folder: Path
) -> None:
    leak(store, folder)
    run("drill", "--no-wait")
    listed = run("incidents", "list").stdout
    assert re.search(r"^ ?1  2026-11-09 12:00  high ", listed, re.MULTILINE)
    assert "(drill)" in listed
    found = [json.loads(line) for line in run("incidents", "list", "--json").stdout.splitlines()]
    assert [each["drill"] for each in found] == [True, False]


def test_a_drill_that_was_taken_and_given_back_was_taken(
    run: Run, store: Store, folder: Path
) -> None:
    run("drill", "--no-wait")
    run("incidents", "ack", "1")
    run("incidents", "release", "1")
    report = json.loads(run("drill", "--report", "1", "--json").stdout)
    assert report["taken_by"] == "eva"
    assert report["seconds_to_take"] >= 0


def test_reading_it_unmasked_takes_a_reason_that_stays(
    run: Run, store: Store, folder: Path
) -> None:
    number = str(leak(store, folder))
    assert "--reason" in run("incidents", "show", number, "--unmasked", status=2).stderr
    assert run("incidents", "show", number, "--reason", "x", status=2)
    page = run(
        "incidents", "show", number, "--unmasked", "--reason", "for the police", "--as", "tom",
        "--format", "md",
    ).stdout  # fmt: skip
    assert (
        "    Wachtwoord is Welkom2026! **vet** [klik](javascript:alert(1)) <script>x</script>"
        in page
    )
    assert "\x1b" not in page
    again = run("incidents", "show", number).stdout
    assert re.search(r"tom\s+evidence looked at unmasked: for the police", again)
    run("incidents", "show", "9", "--unmasked", "--reason", "x", status=1)


def test_evidence_outlives_the_post_and_says_so(run: Run, store: Store, folder: Path) -> None:
    number = str(leak(store, folder))
    run("incidents", "resolve", number)
    with store.write() as unit:
        unit.incidents.evidence.keep_change(1, "Niets te zien.", BEGAN + timedelta(hours=1))
        assert unit.mentions.purge(BEGAN + timedelta(days=1), keep_states=(), limit=9) == 1
    page = run("incidents", "show", number, "--format", "md").stdout
    assert "the post itself is gone" in page
    assert "the post as changed later" in page
    assert "Wachtwoord is" in page
    assert "Niets te zien" in page
    pieces = json.loads(run("incidents", "show", number, "--format", "json").stdout)["evidence"]
    assert [piece["still_there"] for piece in pieces] == [False, False]
    assert all(len(piece["sha256"]) == 64 for piece in pieces)


def test_a_dossier_speaks_dutch_or_english(run: Run, store: Store, folder: Path) -> None:
    number = str(leak(store, folder))
    run("incidents", "ack", number)
    dutch = run("incidents", "show", number, "--language", "nl", "--format", "md").stdout
    assert "## Wat er gebeurde" in dutch
    assert "Het crisisteam bijeengeroepen" in dutch
    assert "maandag 9 november 2026 om 12:00 uur" in dutch
    english = run("incidents", "show", number, "--format", "md").stdout
    assert "## What happened" in english


def test_a_dossier_says_how_the_clocks_were_met_and_who_was_told(
    run: Run, store: Store, folder: Path
) -> None:
    number = leak(store, folder)
    with store.write() as unit:
        unit.incidents.acknowledge(number, "eva", BEGAN + timedelta(minutes=10))
    shown = json.loads(run("incidents", "show", str(number), "--format", "json").stdout)
    (clock,) = shown["clocks"]
    assert (clock["name"], clock["due_at"]) == ("crisis", "2026-11-09T12:00:00+00:00")
    assert shown["told"][0]["receiver"] == "crisis team"
    page = run("incidents", "show", str(number), "--format", "md").stdout
    assert "by eva (after 10 minutes)" in page
    assert "crisis: taken and a statement within an hour" in page
    assert "on its way" in page


def test_the_words_of_a_dossier_are_the_same_in_both_languages() -> None:
    import tomllib
    from importlib import resources

    text = (resources.files("monitor") / "dossier.toml").read_text(encoding="utf-8")
    tables = tomllib.loads(text)

    def shape(table: dict[str, Any]) -> dict[str, Any]:
        return {
            key: shape(value) if isinstance(value, dict) else sorted(re.findall(r"{\w+}", value))
            for key, value in table.items()
        }

    assert shape(tables["nl"]) == shape(tables["en"])
    from alerts.history import Happened

    assert set(tables["nl"]["happened"]) == set(Happened)


def test_an_evaluation_is_read_as_it_was_written() -> None:
    said = Evaluation("Snel.\nEn kalm.", "Te laat: niemand keek.", "")
    assert Evaluation.read(said.text()) == Evaluation(
        "Snel. En kalm.", "Te laat: niemand keek.", ""
    )


# -- proof -----------------------------------------------------------------------------------------


def test_verify_prints_heads_to_note_and_knows_them_later(
    run: Run, store: Store, folder: Path
) -> None:
    number = str(leak(store, folder))
    heads = run("incidents", "verify").stdout.splitlines()
    assert [head.split()[0] for head in heads] == ["history", "evidence"]
    run("incidents", "note", number, "more")
    run("incidents", "verify", "--expect", heads[0], "--expect", heads[1].split()[1])
    forged = f"1:{'0' * 64}"
    assert "written anew" in run("incidents", "verify", "--expect", forged, status=1).stderr
    assert "looks like" in run("incidents", "verify", "--expect", "nonsense", status=2).stderr


def test_verify_names_the_first_line_that_does_not_fit(
    run: Run, store: Store, folder: Path
) -> None:
    number = str(leak(store, folder))
    run("incidents", "note", number, "what really happened")
    sql(store.path, "DROP TRIGGER incident_event_unchanged")
    sql(store.path, "UPDATE incident_event SET note = 'nothing' WHERE note LIKE 'what really%'")
    line = sql(store.path, "SELECT id FROM incident_event WHERE note = 'nothing'")[0][0]
    done = run("incidents", "verify", status=1)
    assert f"line {line} does not follow" in done.stderr
    assert "(incident 1)" in done.stderr
    assert "evidence " in done.stdout
    assert "CAUTION" in run("incidents", "show", number).stdout


def test_a_list_can_be_narrowed_and_read_by_programs(run: Run, store: Store, folder: Path) -> None:
    one, _ = leak(store, folder), leak(store, folder, 2, text="Nog een.")
    run("incidents", "resolve", str(one))
    lines = run("incidents", "list", "--state", "open", "--json").stdout.splitlines()
    assert [json.loads(line)["id"] for line in lines] == [2]
    assert "resolved" in run("incidents", "list").stdout


def test_events_of_messages_have_words() -> None:
    import tomllib
    from importlib import resources

    from alerts.clocks import ClockState

    tables = tomllib.loads(
        (resources.files("monitor") / "dossier.toml").read_text(encoding="utf-8")
    )
    assert set(tables["en"]["events"]) == {event.value for event in Event}
    assert set(tables["en"]["outcomes"]) == {each.value for each in ClockState}
    assert set(tables["en"]["states"]) == {each.value for each in IncidentState}


@given(st.text(alphabet=st.sampled_from("ab1 .)(#*_-+=[]<>!|`~&$@:/\\\"'\n\t"), max_size=60))
def test_nothing_that_people_write_formats_a_dossier(text: str) -> None:
    still = _still(harmless(text))
    for page in (still, f"> {still}".replace("\n", "\n> "), f"- **Label**: {one_line(still)}"):
        seen = set(re.findall(r"<(\w+)", MarkdownIt("commonmark").enable("table").render(page)))
        allowed = {"p"} | ({"blockquote"} if page[:1] == ">" else set())
        assert seen <= allowed | ({"ul", "li", "strong"} if page[:3] == "- *" else set())
    table = f"| a | b |\n| --- | --- |\n| x | {_still(harmless(one_line(text)))} |\n"
    rendered = MarkdownIt("commonmark").enable("table").render(table)
    assert rendered.count("<td>") == 2
    assert set(re.findall(r"<(\w+)", rendered)) == {"table", "thead", "tbody", "tr", "th", "td"}
