"""What a Slack message looks like, and that it keeps to Slack's limits."""

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.base import Event, Message, Sample, Severity, SignalKind
from alerts.blocks import blocks_of, brief_blocks, escape, fallback_text, pressed
from alerts.links import Action
from alerts.message import Exhibit
from alerts.plain import one_line
from tests.alerts.blockkit import buttons_of, problems, texts_of
from tests.alerts.make import AMSTERDAM, NOON, assessment, leak, mention, message


def shown(blocks) -> str:
    return "\n".join(text["text"] for block in blocks for text in texts_of(block))


@pytest.mark.parametrize("language", ["nl", "en"])
@pytest.mark.parametrize("event", list(Event))
@pytest.mark.parametrize("kind", list(SignalKind))
def test_slack_takes_every_kind_and_event(kind, event, language):
    blocks = blocks_of(message(kind, event, language=language), key="k" * 64)

    assert problems(blocks) == []


def test_a_message_tells_what_shows_posts_says_what_to_do_and_why():
    blocks = blocks_of(message(link="https://merkwacht.example.com/i/12?a=1&b=2"), key="mw-1")

    text = shown(blocks)
    order = [
        "🔴 [Kritiek] Zonnehoek: persoonsgegevens mogelijk op straat",
        "Op X staat een openbaar bericht",
        "Sinds vrijdag 13 november 2026 om 12:00 uur",
        "<https://merkwacht.example.com/i/12?a=1&amp;b=2|Bekijk het incident>",
        "*Het bericht*",
        "“Gisteren bij Zonnehoek geweest.”",
        "<https://x.com/i/status/1|Bekijk het bericht>",
        "*Wat nu te doen*",
        "1. Waarschuw nu de privacyfunctionaris",
        "*Waarom deze melding*",
        "*Zekerheid*\nvrijwel zeker (97%)",
        "kenmerk mw-1",
    ]
    places = [text.index(part) for part in order]
    assert places == sorted(places)


def test_the_sign_follows_severity_and_end():
    heads = [blocks_of(message(severity=severity))[0]["text"]["text"][0] for severity in Severity]

    assert heads == ["⚪", "🔵", "🟠", "🔴"]
    assert blocks_of(message(event=Event.RESOLVED))[0]["text"]["text"][0] == "🟢"


def test_posts_stand_only_where_slack_reads_no_markup():
    blocks = blocks_of(message(exhibits=[Exhibit(mention("*vet* _schuin_ :bom:"), None)]))

    (block,) = [each for each in blocks if "schuin" in str(each)]
    assert block["text"]["type"] == "plain_text"
    assert block["text"]["emoji"] is False


@pytest.mark.parametrize(
    "hostile",
    [
        "<!channel> wakker worden",
        "<!here>",
        "<!everyone>",
        "<!subteam^S0123|team>",
        "<@U012AB3CD> kijk",
        "<#C012AB3CD>",
        "<https://evil.example|klik hier>",
        "<mailto:a@evil.example|mail>",
        "&lt;!channel&gt;",
        "@channel @here @everyone",
        "https://evil.example/x www.evil.example",
    ],
)
def test_nothing_in_a_post_a_brand_or_a_term_notifies_or_links(hostile):
    sent = message(
        brand=hostile,
        exhibits=[Exhibit(mention(hostile, brand=hostile, author=hostile), None)],
    )
    text = shown(blocks_of(sent)) + fallback_text(sent)

    own = re.findall(r"<(https://x\.com/i/status/1)\|Bekijk het bericht>", text)
    rest = text.replace("<https://x.com/i/status/1|Bekijk het bericht>", "")
    assert own
    assert "<" not in rest
    assert ">" not in rest
    assert not re.search(r"@(channel|here|everyone)\b", rest)
    assert not re.search(r"https?://|\bwww\.", rest)


def test_what_was_taken_apart_is_still_readable():
    taken = escape("@channel: kijk op https://a.example & <b>")

    assert taken.replace("\u2060", "") == "@channel: kijk op https://a.example &amp; &lt;b&gt;"


def test_mail_addresses_and_amounts_are_left_alone():
    assert escape("a@b.example kost 3 # 4") == "a@b.example kost 3 # 4"


def test_an_address_that_would_end_its_link_early_is_encoded():
    sent = message()
    sample = Sample("t", "x", "a", NOON, url="https://x.example/a>|b<!channel>")
    blocks = blocks_of(
        Message(**{name: getattr(sent, name) for name in sent.__slots__} | {"samples": (sample,)})
    )

    text = shown(blocks)
    assert "<https://x.example/a%3E%7Cb%3C!channel%3E|Bekijk het bericht>" in text


untrusted = st.text(max_size=200) | st.sampled_from(
    ["&" * 3000, "<" * 900, "é" * 5000, "*_~`" * 600, "@a " * 800, "\n" * 4000, "x" * 9000]
)


@settings(max_examples=80)
@given(
    st.builds(
        Message,
        incident_id=st.integers(0, 2**40),
        brand=untrusted,
        kind=st.sampled_from(SignalKind),
        severity=st.sampled_from(Severity),
        event=st.sampled_from(Event),
        language=st.sampled_from(["nl", "en"]),
        title=untrusted,
        summary=untrusted,
        since=st.just(NOON),
        timezone=st.just(AMSTERDAM),
        why=st.lists(st.tuples(untrusted, untrusted), max_size=25).map(tuple),
        samples=st.lists(
            st.builds(
                Sample,
                text=untrusted,
                platform=untrusted,
                author=untrusted,
                published_at=st.just(NOON),
                url=st.none() | untrusted,
                followers=st.none() | st.integers(0, 2**40),
            ),
            max_size=3,
        ).map(tuple),
        more_samples=st.integers(0, 2**31),
        actions=st.lists(untrusted, max_size=12).map(tuple),
        link=st.none() | untrusted | untrusted.map(lambda text: f"https://a.example/{text}"),
        ticket=st.none() | st.text("AZaz09-_", min_size=1, max_size=100) | untrusted,
        taken_by=st.none() | untrusted,
    ),
    untrusted,
    st.booleans(),
)
def test_slack_takes_any_message_whatever_is_in_it(any_message, key, buttons):
    blocks = blocks_of(any_message, key=key, buttons=buttons)

    assert problems(blocks) == []
    assert problems(brief_blocks(any_message, key=key, buttons=buttons)) == []
    assert buttons or not buttons_of(blocks)
    for button in buttons_of(blocks):
        assert button.get("url", "https://").startswith("https://")
    assert 0 < len(fallback_text(any_message)) <= 1000
    text = shown(blocks)
    for found in re.finditer(r"<([^>]*)>", text):
        assert re.fullmatch(r"[^|<]*\|(Bekijk|View|Open)[^|<]*", found[1]), found[0]
    assert not re.search(r"&(?!amp;|lt;|gt;)", text)


def button_ids(sent: Message) -> list[str]:
    return [
        each["action_id"].removeprefix("merkwacht.")
        for each in buttons_of(blocks_of(sent, buttons=True))
    ]


def test_the_buttons_are_those_that_still_make_sense():
    ticketed = replace(message(link="https://watch.example/i/t"), ticket="t")

    assert button_ids(ticketed) == ["take", "resolve", "open"]
    assert button_ids(replace(ticketed, link=None)) == ["take", "resolve"]
    assert button_ids(replace(ticketed, taken_by="Anna")) == ["resolve", "open"]
    assert button_ids(replace(ticketed, event=Event.RESOLVED)) == []
    assert button_ids(message()) == []


def test_closing_asks_first():
    sent = replace(message(), ticket="t")
    take, close = buttons_of(blocks_of(sent, buttons=True))

    assert take["style"] == "primary"
    assert "confirm" not in take
    assert close["confirm"]["title"]["text"] == "Incident sluiten?"


def test_who_has_it_is_seen_at_once_and_notifies_nobody():
    text = shown(blocks_of(replace(message(), taken_by="<!channel> @here *Anna*")))

    assert "✅ Opgepakt door &lt;!channel&gt;" in text
    assert "@here" not in text


@given(st.text("AZaz09-_", min_size=1, max_size=100), st.text(max_size=100))
def test_a_button_gives_back_what_was_put_in(ticket, key):
    sent = replace(message(), ticket=ticket)
    take = buttons_of(blocks_of(sent, buttons=True, key=key))[0]

    assert pressed(take["action_id"], take["value"]) == (Action.TAKE, ticket, one_line(key, 300))


@pytest.mark.parametrize(
    ("action_id", "value"),
    [
        ("merkwacht.open", "t"),
        ("other.take", "t"),
        (None, "t"),
        (["merkwacht.take"], "t"),
        ("merkwacht.take", None),
        ("merkwacht.take", {"t": 1}),
        ("merkwacht.take", "t" * 2001),
    ],
)
def test_what_is_no_button_of_ours_is_nothing(action_id, value):
    assert pressed(action_id, value) is None


@given(st.text(max_size=120))
def test_a_post_appears_whole_once_what_was_put_in_is_taken_out(text):
    sent = message(
        exhibits=[Exhibit(mention(text), assessment(leak=leak()))], keep_handles=("zonnehoek",)
    )
    (block,) = [
        each
        for each in blocks_of(sent)
        if each["type"] == "section" and each.get("text", {}).get("type") == "plain_text"
    ]

    raw = block["text"]["text"].replace("\u2060", "")
    for entity, char in (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        raw = raw.replace(entity, char)
    assert raw == f"“{sent.samples[0].text}”".replace("\u2060", "")
